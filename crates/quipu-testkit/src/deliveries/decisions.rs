//! Somebody looks at dead letters and decides about them.

use quipu_engine::{DeadLetterFilter, DeadLetterLine, DeadLetterState, Fault, NotDone, SubscriptionRefusal};

use super::{DeliverySimulation, Step};
use crate::checker::deliveries::{Letter, Story};
use crate::checker::{Violation, violated};

/// As long as dead letters are kept whose subscription was deleted.
const DEFAULT_RETENTION_MS: u64 = 14 * 86_400_000;
/// One that does not come is noticed; more take longer only.
const REDRIVEN_IN_THE_END: usize = 5;

fn all() -> DeadLetterFilter {
    DeadLetterFilter { with_decided: true, ..DeadLetterFilter::default() }
}

fn letter_of(line: &DeadLetterLine) -> Letter {
    Letter {
        number: line.id,
        subscription: line.subscription.clone(),
        position: line.position,
        redriven_from: line.redriven_from,
        reason: line.reason,
        parks_key: line.parks_key,
        copy_of: line.copy_of,
        time: line.time,
    }
}

impl DeliverySimulation {
    /// Shows new dead letters to the ledger.
    pub(super) fn look_at_letters(&mut self) -> Step {
        for line in self.machine.tenant().dead_letters(&all(), self.last_letter + 1, usize::MAX) {
            self.last_letter = line.id;
            // An edited copy is the ledger's already, or the process ended while it was made.
            if self.ledger.knows(line.id) || line.attempts == 0 {
                continue;
            }
            self.dead_letters += 1;
            self.machine.say(|| format!("dead letter {line:?}"));
            self.ledger.lettered(&letter_of(&line))?;
            match self.without_faults(|tenant| tenant.dead_letter(line.id)) {
                Ok((letter, _)) => {
                    let (number, attempts, history) = (letter.id, letter.attempts, letter.history);
                    self.ledger.told(&Story { number, attempts, history })?;
                }
                Err(NotDone::Failed(fault)) => self.machine.tolerate("dead letter", &fault)?,
                Err(refused) => return Err(violated("dead letter", refused.to_string())),
            }
        }
        Ok(())
    }

    /// Dead letters go only when they were kept long enough.
    pub(super) fn look_for_lost_letters(&mut self) -> Step {
        let there = self.machine.tenant().dead_letters(&all(), 0, usize::MAX);
        let now = self.now();
        for letter in self.ledger.undecided() {
            if there.binary_search_by_key(&letter.number, |line| line.id).is_err() {
                self.machine.say(|| format!("dead letter {} is gone", letter.number));
                let retention_ms = self.retention_ms.get(&letter.subscription).copied();
                self.ledger.forgotten(letter.number, now, retention_ms.unwrap_or(DEFAULT_RETENTION_MS))?;
            }
        }
        Ok(())
    }

    pub(super) fn decide(&mut self) -> Step {
        let undecided = self.ledger.undecided();
        if undecided.is_empty() {
            return Ok(());
        }
        let letter = self.machine.dice.pick(&undecided).clone();
        match self.machine.dice.below(4) {
            0 => self.discard(letter.number),
            1 => self.redrive_edited(&letter),
            2 => {
                let names = self.ledger.names();
                let to = (!names.is_empty()).then(|| self.machine.dice.pick(&names).clone());
                self.redrive(&letter, to.as_deref())
            }
            _ => self.redrive(&letter, None),
        }
    }

    fn redrive(&mut self, letter: &Letter, to: Option<&str>) -> Step {
        self.machine.say(|| format!("redrive {} to {to:?}", letter.number));
        let outcome = self.machine.tenant().redrive(letter.number, to);
        let to = to.unwrap_or(&letter.subscription).to_owned();
        match outcome {
            Ok(()) => {
                self.written()?;
                self.ledger.redriven(letter.number, &to)
            }
            Err(not_done) => self.not_decided(letter, &to, not_done, None),
        }
    }

    fn redrive_edited(&mut self, letter: &Letter) -> Step {
        let text = format!(r#"{{"edited":{}}}"#, self.machine.dice.below(1_000));
        self.machine.say(|| format!("redrive {} as {text}", letter.number));
        let event = serde_json::value::RawValue::from_string(text.clone()).expect("it is JSON");
        let outcome = self.machine.tenant().redrive_edited(letter.number, event);
        match outcome {
            Ok(copy) => {
                self.written()?;
                self.ledger.edited(letter.number, copy, &text)
            }
            Err(not_done) => self.not_decided(letter, &letter.subscription, not_done, Some(&text)),
        }
    }

    pub(super) fn discard(&mut self, number: u64) -> Step {
        self.machine.say(|| format!("discard {number}"));
        let outcome = self.machine.tenant().discard(number, "no longer wanted");
        match outcome {
            Ok(()) => {
                // Of a subscription that was deleted nothing else is written.
                self.look_at_letters()?;
                self.ledger.discarded(number)
            }
            Err(not_done) => {
                let letter = self.ledger.undecided().into_iter().find(|letter| letter.number == number);
                let letter = letter.expect("only those that are undecided are discarded");
                self.not_decided(&letter, "", not_done, None)
            }
        }
    }

    /// A refusal has its reason; what a fault left is known after a restart.
    fn not_decided(&mut self, letter: &Letter, to: &str, not_done: NotDone, edited: Option<&str>) -> Step {
        match not_done {
            NotDone::Failed(fault) => self.settle(letter, &fault, edited),
            NotDone::Refused(SubscriptionRefusal::NotFound { .. }) if self.ledger.terms(to).is_none() => Ok(()),
            // It was kept long enough meanwhile.
            NotDone::Refused(SubscriptionRefusal::DeadLetterNotFound { .. }) => self.look_for_lost_letters(),
            refused => Err(violated("dead letter", format!("{}: {refused}: {refused:?}", letter.number))),
        }
    }

    fn settle(&mut self, letter: &Letter, fault: &Fault, edited: Option<&str>) -> Step {
        self.end_process("dead letter", fault)?;
        let lines = self.machine.tenant().dead_letters(&all(), letter.number, usize::MAX);
        let Some(line) = lines.iter().find(|line| line.id == letter.number) else { return Ok(()) };
        match (&line.state, edited) {
            (DeadLetterState::Open | DeadLetterState::Expired, _) => Ok(()),
            (DeadLetterState::Discarded { .. }, _) => self.ledger.discarded(letter.number),
            (DeadLetterState::Redriven { to, .. }, None) => self.ledger.redriven(letter.number, to),
            (DeadLetterState::Redriven { .. }, Some(text)) => {
                let is_copy =
                    |line: &&std::sync::Arc<DeadLetterLine>| line.copy_of == Some(letter.number) && line.attempts == 0;
                let copy = lines.iter().find(is_copy).ok_or_else(|| lost_copy(letter.number))?;
                self.ledger.edited(letter.number, copy.id, text)
            }
        }
    }

    /// Decides about every key that waits. Whether there was one.
    pub(super) fn decide_all(&mut self) -> Result<bool, Violation> {
        let mut is_any = false;
        for letter in self.ledger.undecided().into_iter().filter(|letter| letter.parks_key) {
            if self.ledger.is_parked(&letter.subscription, letter.position) {
                is_any = true;
                match self.machine.dice.chance(50) {
                    true => self.discard(letter.number)?,
                    false => self.redrive(&letter, None)?,
                }
            }
        }
        Ok(is_any)
    }

    /// Redrives a few dead letters that no key waits for: no restart puts back in order what goes wrong with them.
    pub(super) fn redrive_some(&mut self) -> Step {
        let names = self.ledger.names();
        let mut letters = self.ledger.undecided();
        letters.retain(|letter| !letter.parks_key && names.contains(&letter.subscription));
        letters.iter().take(REDRIVEN_IN_THE_END).try_for_each(|letter| self.redrive(letter, None))
    }
}

fn lost_copy(number: u64) -> Violation {
    violated("dead letter", format!("{number} was redriven as an edited copy, which is not there"))
}
