//! Workers: they pull, and answer in time, in order, too late, not at all, or nonsense.

use quipu_domain::delivery::{DeliveryId, Failure, Reason};
use quipu_engine::{Answer, NotDone, SubscriptionRefusal};

use super::{DeliverySimulation, Step};
use crate::checker::deliveries::{Answered, Handing, Said};
use crate::checker::violated;

/// Tokens of the past that are remembered.
const OLD_MAX: usize = 60;

/// What a worker asks for at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    events: usize,
    bytes: usize,
}

impl Most {
    /// So many, however large they are.
    pub fn events(events: usize) -> Self {
        Self { events, bytes: usize::MAX }
    }
}

impl DeliverySimulation {
    fn any_name(&mut self) -> Option<String> {
        let names = self.ledger.names();
        (!names.is_empty()).then(|| self.machine.dice.pick(&names).clone())
    }

    pub(super) fn pull(&mut self) -> Step {
        let Some(name) = self.any_name() else { return Ok(()) };
        let mut most = Most::events(*self.machine.dice.pick(&[1, 2, 5, 20, 100]));
        if self.gives_back && self.machine.own_dice.chance(30) {
            most.bytes = *self.machine.own_dice.pick(&[1, 100, 300, 2_000]);
        }
        self.pull_from(&name, most).map(|_| ())
    }

    /// How many came.
    pub(super) fn pull_from(&mut self, name: &str, most: Most) -> Result<usize, crate::checker::Violation> {
        let handed = match self.machine.tenant().pull_within(name, most.events, most.bytes) {
            Ok(handed) => handed,
            Err(NotDone::Failed(fault)) => {
                // What was too late for another attempt was given up all the same.
                if self.ledger.is_set_back(name) {
                    // Whether it looked at the time before it failed is not told: now it has.
                    self.deliver()?;
                }
                self.ledger.handed(name, self.now(), &[])?;
                return self.machine.tolerate("pull", &fault).map(|()| 0);
            }
            Err(refused) => return Err(violated("pull", format!("{name}: {refused}"))),
        };
        let batch: Vec<Handing> = handed
            .iter()
            .map(|one| Handing {
                id: one.id,
                token: one.token,
                attempt: one.attempt,
                deadline: one.deadline,
                event: one.recorded.event().id().to_owned(),
                edited: one.edited.as_ref().map(|text| text.get().to_owned()),
            })
            .collect();
        let brief = |one: &Handing| (one.id.position, one.id.dead_letter, one.attempt);
        self.machine
            .say(|| format!("{name}: {most:?} asked, handed out {:?}", batch.iter().map(brief).collect::<Vec<_>>()));
        let bytes: usize = handed.iter().map(|one| one.recorded.bytes()).sum();
        if batch.len() > most.events || batch.len() > 1 && bytes > most.bytes {
            let found = format!("{} of {bytes} bytes handed out, asked for {most:?}", batch.len());
            return Err(violated("pull", format!("{name}: {found}")));
        }
        self.deliveries += batch.len() as u64;
        if batch.is_empty() && self.ledger.is_set_back(name) {
            // One that is paused, for one, hands out nothing without a look at the time: now it has.
            self.deliver()?;
        }
        let now = self.now();
        self.ledger.handed(name, now, &batch)?;
        let held = self.held.entry(name.to_owned()).or_default();
        // A loose one may be handed out again while its worker does not know yet.
        held.retain(|(id, _)| !batch.iter().any(|one| one.id == *id));
        held.extend(batch.iter().map(|one| (one.id, one.token)));
        Ok(batch.len())
    }

    pub(super) fn answer(&mut self) -> Step {
        if !self.old.is_empty() && self.machine.dice.chance(5) {
            return self.answer_late();
        }
        let names: Vec<String> =
            self.held.iter().filter(|(_, held)| !held.is_empty()).map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let name = self.machine.dice.pick(&names).clone();
        let held = self.held.get_mut(&name).expect("it was just there");
        let count = self.machine.dice.between(1, 30).min(held.len() as u64) as usize;
        let mut chosen: Vec<_> = held.drain(..count).collect();
        match self.machine.dice.below(20) {
            // The worker dies with what it has.
            0 => {
                self.machine.say(|| format!("{name}: a worker dies with {count}"));
                self.old.extend(chosen.into_iter().map(|(id, token)| (name.clone(), id, token)));
                self.old.drain(..self.old.len().saturating_sub(OLD_MAX));
                return Ok(());
            }
            1 => self.machine.dice.shuffle(&mut chosen),
            _ => {}
        }
        let mood = self.machine.dice.below(4);
        let answers: Vec<_> = chosen.into_iter().map(|(id, token)| (id, token, self.word(mood))).collect();
        self.send(&name, answers)
    }

    fn word(&mut self, mood: u64) -> Said {
        let bad = match mood {
            0 => 60,
            1 => 10,
            _ => 1,
        };
        if !self.machine.dice.chance(bad) {
            return match self.gives_back && self.machine.own_dice.chance(3) {
                true => Said::Release,
                false => Said::Ack,
            };
        }
        let error = format!("error {}", self.machine.dice.below(1_000_000));
        match self.machine.dice.below(10) {
            0 => Said::GiveUp(error),
            1 | 2 => Said::Extend(*self.machine.dice.pick(&[1, 100, 10_000])),
            3 | 4 => Said::Nack(error, Some(*self.machine.dice.pick(&[0, 1, 250, 5_000]))),
            _ => Said::Nack(error, None),
        }
    }

    fn answer_late(&mut self) -> Step {
        let at = self.machine.dice.below(self.old.len() as u64) as usize;
        let (name, id, token) = self.old.swap_remove(at);
        let said = self.word(0);
        self.send(&name, vec![(id, token, said)])
    }

    /// Answers, and tells the ledger what was taken.
    pub(super) fn send(&mut self, name: &str, said: Vec<(DeliveryId, u64, Said)>) -> Step {
        let now = self.now();
        let answers = said.iter().map(|(id, token, said)| (*id, *token, answer_of(said))).collect();
        let results = match self.machine.tenant().answer(name, answers) {
            Ok(results) => results,
            Err(NotDone::Refused(SubscriptionRefusal::NotFound { .. })) if self.ledger.terms(name).is_none() => {
                return Ok(());
            }
            Err(refused) => return Err(violated("answer", format!("{name}: {refused}"))),
        };
        if results.len() != said.len() {
            return Err(violated("answer", format!("{} answers, {} results", said.len(), results.len())));
        }
        for ((id, token, said), result) in said.into_iter().zip(results) {
            let taken = match result {
                Ok(()) => Ok(()),
                Err(SubscriptionRefusal::NotInFlight { why, .. }) => Err(why),
                Err(refused) => return Err(violated("answer", format!("{name}: {refused}"))),
            };
            self.machine.say(|| format!("{name}: {} {} {said:?}: {taken:?}", id.position, id.dead_letter));
            let goes_on = taken.is_ok() && matches!(said, Said::Extend(_));
            let is_too_early = matches!(taken, Err(quipu_domain::delivery::NotInFlight::OutOfOrder { .. }));
            self.ledger.answered(name, now, &Answered { id, token, said, taken })?;
            match goes_on || is_too_early {
                true => self.held.entry(name.to_owned()).or_default().push((id, token)),
                false if self.old.len() < OLD_MAX => self.old.push((name.to_owned(), id, token)),
                false => {}
            }
        }
        Ok(())
    }
}

fn answer_of(said: &Said) -> Answer {
    match said {
        Said::Ack => Answer::Ack,
        Said::Nack(error, delay_ms) => Answer::Nack { failure: Failure::new(error.clone()), delay_ms: *delay_ms },
        Said::Extend(ms) => Answer::Extend { ms: *ms },
        Said::Release => Answer::Release,
        Said::GiveUp(error) => {
            Answer::GiveUp { failure: Failure::new(error.clone()), reason: Reason::GivenUpByConsumer }
        }
    }
}
