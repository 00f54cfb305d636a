//! What clients ask for.

use quipu_domain::{Condition, Event, StreamExpectation, Timestamp, Value};
use quipu_engine::{Append, Appended, DELIVER_AT, FireAt, NotAppended, Prepared, Published, TimerName};

use super::{Step, TimerSimulation};
use crate::checker::timers::{Asked, Item, Told, Wait};
use crate::checker::violated;

const KEYS: [&str; 6] = ["pay/1", "pay/2", "pay/3", "ship/1", "ship/2", "x"];
/// How far ahead, milliseconds.
const AHEAD_MS: [i64; 9] = [0, 1, 30, 500, 999, 4_000, 25_000, 300_000, 3_000_000];
/// Operations that are remembered, to be asked again.
const RECENT_MAX: usize = 12;

impl TimerSimulation {
    /// One operation, whose answer comes when it comes.
    pub(super) fn ask(&mut self) -> Step {
        let asked = match self.machine.dice.below(100) {
            0..10 if !self.recent.is_empty() => {
                let at = self.machine.dice.below(self.recent.len() as u64) as usize;
                self.again(at)
            }
            0..35 => self.publish(),
            _ => self.append(),
        };
        if self.recent.len() == RECENT_MAX {
            self.recent.remove(0);
        }
        self.recent.push(asked.clone());
        self.submit(asked)
    }

    /// An operation once more, as a client asks that was not answered. What waits for so long counts from now on.
    fn again(&mut self, at: usize) -> Asked {
        let now = self.now();
        let mut asked = self.recent[at].clone();
        for wait in asked.items.iter_mut().filter_map(|item| item.waits.as_mut()) {
            if let Some(since) = wait.since {
                (wait.since, wait.due) = (Some(now), now.plus_ms((wait.due.0 - since.0) / 1_000));
            }
        }
        asked
    }

    fn id(&mut self) -> String {
        self.next_id += 1;
        format!("e{}", self.next_id)
    }

    fn event(&mut self, due: Option<Timestamp>) -> Event<'static> {
        let id = self.id();
        let mut builder = Event::builder(id, "/shop", *self.machine.dice.pick(&["payment.missed", "ping"]));
        if self.machine.dice.chance(70) {
            builder = builder.subject(format!("order/{}", self.machine.dice.below(4)));
        }
        if let Some(due) = due {
            builder = builder.attribute(DELIVER_AT, Value::Text(due.to_string().into()));
        }
        let fill = "x".repeat(self.machine.dice.below(60) as usize);
        builder.json(format!(r#"{{"n":{},"fill":"{fill}"}}"#, self.next_id)).build().expect("it is valid").into_owned()
    }

    /// Some events, of which some wait because they say so.
    fn publish(&mut self) -> Asked {
        let count = self.machine.dice.between(1, 4);
        let items = (0..count).map(|_| {
            let ahead = *self.machine.dice.pick(&AHEAD_MS);
            let due = self.machine.dice.chance(60).then(|| self.now().plus_ms(ahead));
            Item { event: self.event(due), waits: None }
        });
        Asked { is_publish: true, items: items.collect(), ..Asked::default() }
    }

    /// Timers that are set or cancelled, alone or with events.
    fn append(&mut self) -> Asked {
        let mut asked = Asked::default();
        if self.machine.dice.chance(35) {
            let count = self.machine.dice.between(1, 3);
            asked.items.extend((0..count).map(|_| Item { event: self.event(None), waits: None }));
        }
        let timers = if self.machine.dice.chance(70) { self.machine.dice.between(1, 3) } else { 0 };
        for _ in 0..timers {
            let wait = self.wait();
            let is_taken = asked
                .items
                .iter()
                .filter_map(|item| item.waits.as_ref())
                .any(|other| other.key.is_some() && other.key == wait.key);
            if !is_taken {
                asked.items.push(Item { event: self.event(None), waits: Some(wait) });
            }
        }
        if asked.items.is_empty() || self.machine.dice.chance(20) {
            let count = self.machine.dice.between(1, 3);
            for _ in 0..count {
                let name = match self.machine.dice.chance(70) {
                    true => TimerName::Key((*self.machine.dice.pick(&KEYS)).to_owned()),
                    false => TimerName::Number(self.machine.dice.between(1, self.ledger.set() + 2)),
                };
                asked.cancels.push(name);
            }
        }
        asked.fails = self.machine.dice.chance(5);
        asked
    }

    fn wait(&mut self) -> Wait {
        let now = self.now();
        let (ahead, dice) = (*self.machine.dice.pick(&AHEAD_MS), &mut self.machine.dice);
        let key = dice.chance(60).then(|| (*dice.pick(&KEYS)).to_owned());
        let replaces = key.is_some() && dice.chance(50);
        let (due, since) = match dice.chance(50) {
            true => (now.plus_ms(ahead), Some(now)),
            // A part of a millisecond too, and what is past already.
            false => (Timestamp(now.plus_ms(ahead - 20).0 + dice.below(1_000) as i64), None),
        };
        Wait { due, since, key, replaces }
    }

    /// What an event waits for that says itself when it is due.
    fn delayed(&self, event: &Event<'_>) -> Option<Wait> {
        let due = event.attribute(DELIVER_AT).and_then(Timestamp::parse)?;
        (due > self.now()).then_some(Wait { due, since: None, key: None, replaces: false })
    }

    fn submit(&mut self, asked: Asked) -> Step {
        let tenant = self.machine.tenant();
        let mut prepared = Vec::with_capacity(asked.items.len());
        for item in &asked.items {
            let made = match &item.waits {
                Some(wait) if !asked.is_publish => {
                    let fires = match wait.since {
                        Some(since) => FireAt::AfterMs(((wait.due.0 - since.0) / 1_000) as u64),
                        None => FireAt::Time(wait.due),
                    };
                    tenant.prepare_timer(&item.event, fires, wait.key.clone(), wait.replaces).map_err(|e| e.to_string())
                }
                _ => tenant.prepare(&item.event, None).map_err(|e| e.to_string()),
            };
            prepared.push(made.map_err(|invalid| violated("prepare", invalid))?);
        }
        let mut asked = asked;
        if asked.is_publish {
            // Asked again, what was to come may be past, and what was past to come.
            asked.items.iter_mut().for_each(|item| item.waits = self.delayed(&item.event));
        }
        self.machine.say(|| {
            let items: Vec<_> = asked.items.iter().map(|item| (item.event.id(), item.waits.as_ref())).collect();
            format!("ask {items:?}, cancel {:?}, fails {}", asked.cancels, asked.fails)
        });
        let (is_publish, fails, cancels) = (asked.is_publish, asked.fails, asked.cancels.clone());
        let events = asked.items.iter().filter(|item| item.waits.is_none()).count();
        let at = self.ledger.asked(asked);
        let replies = std::sync::Arc::clone(&self.replies);
        if is_publish {
            tenant.publish(prepared, move |outcome| {
                let told = outcome.map(|items| Told::Done {
                    commit: 0,
                    items: items.into_iter().map(Some).collect(),
                    cancelled: Vec::new(),
                    is_duplicate: false,
                });
                replies.lock().push((at, told.map_err(|fault| fault.to_string())));
            });
            return Ok(());
        }
        let timers: Vec<Prepared> = prepared.split_off(events);
        let never = Condition::Stream { stream: "never".into(), expected: StreamExpectation::Exists };
        let conditions = fails.then_some(never).into_iter().collect();
        let append = Append { events: prepared, timers, cancels, conditions, ..Append::default() };
        tenant.append(append, move |outcome| replies.lock().push((at, told(outcome))));
        Ok(())
    }
}

fn told(outcome: Result<Appended, NotAppended>) -> Result<Told, String> {
    match outcome {
        Ok(Appended { commit, events, timers, cancelled, is_duplicate }) => {
            let items = events.into_iter().map(|place| Some(Published::Recorded(place))).chain(timers).collect();
            Ok(Told::Done { commit, items, cancelled, is_duplicate })
        }
        Err(NotAppended::Refused(refusal)) => Ok(Told::Refused(refusal)),
        Err(NotAppended::Fault(fault)) => Err(fault.to_string()),
    }
}
