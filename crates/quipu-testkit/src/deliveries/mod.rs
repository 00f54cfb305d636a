//! One simulation of deliveries: the real tenant on a faulty disk with virtual time, random subscriptions, and workers
//! that pull, answer, dawdle, die and come back too late. The seed decides every step; a [`Ledger`] decides whether what
//! happened was right.
//!
//! It drives one tenant without threads, as the server's thread for deliveries would: what is due becomes due, and what
//! changed is written down, at least every 100 ms of virtual time while the process lives.

mod changes;
mod decisions;
mod ending;
mod process;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quipu_domain::delivery::DeliveryId;
use quipu_domain::{Event, Timestamp, Value};
use quipu_engine::{CHECKPOINT_MS, Clock, NotDone, Options, Published, WatchGuard};

use crate::checker::deliveries::Ledger;
use crate::checker::{caught, violated};
use crate::machine::{Failure, Machine, Step, Voice};

const KINDS: [&str; 5] = ["order.placed", "order.paid", "order.line.added", "stock.moved", "ping"];
const SUBJECTS: [&str; 6] = ["order/1", "order/2", "order/3", "stock/a", "user/1", "user/2"];
const GROUPS: [&str; 3] = ["red", "green", "blue"];

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryReport {
    /// The seed that repeats it.
    pub seed: u64,
    /// Steps of the scheduler.
    pub steps: u64,
    /// Events in the log in the end.
    pub events: u64,
    /// Deliveries handed out, attempts counted each.
    pub deliveries: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// How often the tenant was opened.
    pub opens: u64,
    /// How many of them followed a power cut.
    pub power_cuts: u64,
    /// Injected errors.
    pub faults: u64,
}

/// A run in the making.
pub struct DeliverySimulation {
    machine: Machine,
    ledger: Ledger,
    /// Deliveries that consumers have, by subscription.
    held: BTreeMap<String, Vec<(DeliveryId, u64)>>,
    /// Those that they had.
    old: Vec<(String, DeliveryId, u64)>,
    /// Whether consumers of a subscription were told to ask.
    woken: BTreeMap<String, (Arc<AtomicBool>, WatchGuard)>,
    /// The shortest retention of a subscription's dead letters so far.
    retention_ms: BTreeMap<String, u64>,
    /// The newest dead letter that was looked at.
    last_letter: u64,
    next_id: u64,
    /// Where events were acknowledged that were not read since.
    unseen: Vec<(u64, String)>,
    /// Most events in one publish.
    publish_max: u64,
    /// Whether workers give back what they have not tried, and ask for so many bytes at most.
    gives_back: bool,
    deliveries: u64,
    dead_letters: u64,
}

impl DeliverySimulation {
    /// Runs one seed to its end.
    ///
    /// # Errors
    /// What was wrong, with the seed.
    pub fn run(seed: u64, voice: Voice) -> Result<DeliveryReport, Failure> {
        let mut simulation = Self::new(seed, voice);
        let outcome = caught(|| simulation.drive());
        simulation.machine.judged(outcome, "--deliveries")?;
        Ok(simulation.report())
    }

    fn new(seed: u64, voice: Voice) -> Self {
        let mut machine = Machine::new(seed, voice, |dice| Options {
            event_bytes_max: 64 << 10,
            segment_bytes: dice.between(16, 256) << 10,
            run_events: dice.between(50, 1_000) as usize,
            threads: 1,
            ..Options::default()
        });
        Self {
            publish_max: *machine.dice.pick(&[3, 10, 40]),
            // Half of the runs, which the next roll decides without being rolled: the others stay what they were.
            gives_back: machine.own_dice.clone().chance(50),
            machine,
            ledger: Ledger::default(),
            held: BTreeMap::new(),
            old: Vec::new(),
            woken: BTreeMap::new(),
            retention_ms: BTreeMap::new(),
            last_letter: 0,
            next_id: 0,
            unseen: Vec::new(),
            deliveries: 0,
            dead_letters: 0,
        }
    }

    fn report(&self) -> DeliveryReport {
        let Machine { seed, steps, opens, power_cuts, faults, .. } = self.machine;
        let events = self.ledger.log().len() as u64;
        let (deliveries, dead_letters) = (self.deliveries, self.dead_letters);
        DeliveryReport { seed, steps, events, deliveries, dead_letters, opens, power_cuts, faults }
    }

    fn drive(&mut self) -> Step {
        self.open()?;
        let steps = self.machine.dice.between(200, 1_500);
        for _ in 0..steps {
            self.machine.steps += 1;
            self.step()?;
        }
        self.end()
    }

    fn now(&self) -> Timestamp {
        self.machine.clock.now()
    }

    fn step(&mut self) -> Step {
        let refuses = self.machine.tenant().refuses_appends().is_some();
        if self.machine.disk.is_dead() || refuses && self.machine.dice.chance(30) {
            return self.restart();
        }
        if self.machine.own_dice.chance(1) {
            self.machine.fail_a_change();
        }
        if self.machine.own_dice.chance(1) {
            self.set_back();
        }
        match self.machine.dice.below(1_000) {
            0..130 => self.publish(),
            130..420 => self.pull(),
            420..800 => self.answer(),
            800..900 => {
                let ms = *self.machine.dice.pick(&[1, 20, 99, 100, 300, 1_000, 10_000, 120_000]);
                self.advance(ms)
            }
            900..935 => self.change(),
            935..965 => self.decide(),
            965..975 => self.maintain(),
            975..988 => {
                self.machine.inject();
                Ok(())
            }
            988..992 => self.restart(),
            _ => self.explain(),
        }
    }

    fn publish(&mut self) -> Step {
        let tenant = self.machine.tenant();
        let count = self.machine.dice.between(1, self.publish_max);
        let events: Vec<Event<'static>> = (0..count).map(|_| self.event()).collect();
        let prepared = events.iter().map(|event| tenant.prepare(event, None)).collect::<Result<Vec<_>, _>>();
        let prepared = prepared.map_err(|invalid| violated("prepare", invalid.to_string()))?;
        let outcome = tenant.publish_wait(prepared);
        self.machine.say(|| format!("publish {count}: {:?}", outcome.as_ref().map(Vec::len)));
        self.look_at_log()?;
        match outcome {
            Ok(published) => self.acknowledged(&events, &published),
            Err(fault) => self.machine.tolerate("publish", &fault),
        }
    }

    /// What was acknowledged is in the log, where the answer says.
    fn acknowledged(&mut self, events: &[Event<'_>], published: &[Published]) -> Step {
        if published.len() != events.len() {
            return Err(violated("acknowledged", format!("{} events, and answers {published:?}", events.len())));
        }
        for (event, published) in events.iter().zip(published) {
            match published {
                // The log cannot be read before the next process: the power was cut meanwhile.
                Published::Recorded(place) if self.machine.disk.is_dead() => {
                    self.unseen.push((place.position, event.id().to_owned()));
                }
                Published::Recorded(place) => self.is_there(place.position, event.id())?,
                other => return Err(violated("acknowledged", format!("{}: {other:?}", event.id()))),
            }
        }
        Ok(())
    }

    fn is_there(&self, position: u64, id: &str) -> Step {
        match self.ledger.log().get(position as usize - 1) {
            Some(fact) if fact.id == id => Ok(()),
            other => Err(violated("acknowledged", format!("expected {id} at {position}, found {other:?}"))),
        }
    }

    fn event(&mut self) -> Event<'static> {
        self.next_id += 1;
        let mut builder = Event::builder(format!("e{}", self.next_id), "/shop", *self.machine.dice.pick(&KINDS));
        if self.machine.dice.chance(85) {
            builder = builder.subject(*self.machine.dice.pick(&SUBJECTS));
        }
        if self.machine.dice.chance(8) {
            let ms = *self.machine.dice.pick(&[0, 50, 500, 5_000, 60_000]);
            builder = builder.attribute("expirytime", Value::Text(self.now().plus_ms(ms).to_string().into()));
        }
        let group = match self.machine.dice.chance(70) {
            true => format!(r#","group":"{}""#, self.machine.dice.pick(&GROUPS)),
            false => String::new(),
        };
        let event = builder.json(format!(r#"{{"n":{}{group}}}"#, self.machine.dice.below(20)));
        event.build().expect("the workload makes valid events")
    }

    /// Moves the time as a living process sees it.
    fn advance(&mut self, ms: i64) -> Step {
        self.machine.say(|| format!("{ms} ms pass"));
        // Longer ones stand for a process that was suspended.
        let slice = if ms <= 1_000 { CHECKPOINT_MS as i64 } else { ms };
        let mut left = ms;
        while left > 0 && !self.machine.disk.is_dead() {
            let now = left.min(slice);
            self.machine.clock.jump_ms(now);
            left -= now;
            self.deliver()?;
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Sets the clock back. Nobody is told: the engine sees it when it looks at the time for its next reason.
    fn set_back(&mut self) {
        let ms = *self.machine.own_dice.pick(&[1, 500, 5_000, 86_400_000]);
        self.machine.say(|| format!("the clock is set back by {ms} ms"));
        self.ledger.set_back(self.now(), ms);
        self.machine.clock.jump_ms(-ms);
    }

    fn deliver(&mut self) -> Step {
        let outcome = self.machine.tenant().deliver();
        self.ledger.ticked(self.now());
        outcome.or_else(|fault| self.machine.tolerate("deliver", &fault))
    }

    fn checkpoint(&mut self) -> Step {
        match self.machine.tenant().checkpoint_deliveries() {
            Ok(something) => {
                if something {
                    self.machine.say(|| "checkpoint".into());
                }
                self.saved()
            }
            Err(fault) => {
                self.machine.tolerate("checkpoint", &fault)?;
                // Those of other subscriptions may be written all the same, and too old by the next time.
                self.look_at_letters()
            }
        }
    }

    /// Everything so far is written down. What is decided about just now may be gone already.
    fn written(&mut self) -> Step {
        self.look_at_letters()?;
        self.ledger.saved()
    }

    /// Everything so far is written down and decided about.
    fn saved(&mut self) -> Step {
        self.written()?;
        if self.machine.dice.chance(5) { self.look_for_lost_letters() } else { Ok(()) }
    }

    fn maintain(&mut self) -> Step {
        let tenant = self.machine.tenant();
        if self.machine.dice.chance(50) {
            self.machine.say(|| "idle".into());
            tenant.idle();
            return Ok(());
        }
        self.machine.say(|| "maintain".into());
        tenant.maintain().map(|_| ()).or_else(|fault| self.machine.tolerate("maintain", &fault))
    }

    fn explain(&mut self) -> Step {
        for name in self.ledger.names() {
            match self.machine.tenant().explain_subscription(&name) {
                Ok(explained) => self.machine.say(|| format!("{name}: {}", explained.standstill)),
                Err(NotDone::Failed(fault)) => self.machine.tolerate("explain", &fault)?,
                Err(refused) => return Err(violated("explain", format!("{name}: {refused}"))),
            }
        }
        Ok(())
    }

    /// Has a flag set whenever a subscription's consumers are told to ask.
    fn watch(&mut self, name: &str) {
        let flag = Arc::new(AtomicBool::new(true));
        let set = Arc::clone(&flag);
        if let Ok(guard) = self.machine.tenant().on_available(name, move || set.store(true, Ordering::Relaxed)) {
            self.woken.insert(name.to_owned(), (flag, guard));
        }
    }
}
