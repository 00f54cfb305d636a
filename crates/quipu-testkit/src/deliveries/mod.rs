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
use quipu_engine::{CHECKPOINT_MS, Clock, Fault, NotDone, Options, Tenant, WatchGuard};

use crate::checker::deliveries::Ledger;
use crate::checker::{self, Violation, caught, violated};
use crate::{Dice, Failure, FaultyDisk, VirtualClock};

/// 2026-01-01T00:00:00Z.
const BEGIN: Timestamp = Timestamp(1_767_225_600_000_000);
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
    dice: Dice,
    is_verbose: bool,
    disk: FaultyDisk,
    clock: Arc<VirtualClock>,
    options: Options,
    tenant: Option<Arc<Tenant>>,
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
    /// Most events in one publish.
    publish_max: u64,
    report: DeliveryReport,
}

type Step = Result<(), Violation>;

impl DeliverySimulation {
    /// Runs one seed to its end.
    ///
    /// # Errors
    /// What was wrong, with the seed.
    pub fn run(seed: u64) -> Result<DeliveryReport, Failure> {
        Self::run_with(seed, false)
    }

    /// The same, printing every step to standard error.
    ///
    /// # Errors
    /// What was wrong, with the seed.
    pub fn run_verbose(seed: u64) -> Result<DeliveryReport, Failure> {
        Self::run_with(seed, true)
    }

    fn run_with(seed: u64, is_verbose: bool) -> Result<DeliveryReport, Failure> {
        let mut simulation = Self::new(seed, is_verbose);
        match caught(|| simulation.drive()) {
            Ok(()) => Ok(simulation.report),
            Err(violation) => Err(Failure { seed, step: simulation.report.steps, violation, options: "--deliveries " }),
        }
    }

    fn new(seed: u64, is_verbose: bool) -> Self {
        let mut dice = Dice::new(seed);
        let options = Options {
            event_bytes_max: 64 << 10,
            segment_bytes: dice.between(16, 256) << 10,
            run_events: dice.between(50, 1_000) as usize,
            threads: 1,
            ..Options::default()
        };
        Self {
            is_verbose,
            disk: FaultyDisk::new(dice.roll()),
            clock: Arc::new(VirtualClock::new(BEGIN)),
            options,
            tenant: None,
            ledger: Ledger::default(),
            held: BTreeMap::new(),
            old: Vec::new(),
            woken: BTreeMap::new(),
            retention_ms: BTreeMap::new(),
            last_letter: 0,
            next_id: 0,
            publish_max: *dice.pick(&[3, 10, 40]),
            report: DeliveryReport { seed, ..DeliveryReport::default() },
            dice,
        }
    }

    fn drive(&mut self) -> Step {
        self.open()?;
        let steps = self.dice.between(200, 1_500);
        for _ in 0..steps {
            self.report.steps += 1;
            self.step()?;
        }
        self.end()?;
        self.report.events = self.ledger.log().len() as u64;
        Ok(())
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.is_verbose {
            eprintln!("{:>4} {}", self.report.steps, text());
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn tenant(&self) -> Arc<Tenant> {
        Arc::clone(self.tenant.as_ref().expect("a tenant is open between two steps"))
    }

    fn step(&mut self) -> Step {
        let refuses = self.tenant().refuses_appends().is_some();
        if self.disk.is_dead() || refuses && self.dice.chance(30) {
            return self.restart();
        }
        match self.dice.below(1_000) {
            0..130 => self.publish(),
            130..420 => self.pull(),
            420..800 => self.answer(),
            800..900 => {
                let ms = *self.dice.pick(&[1, 20, 99, 100, 300, 1_000, 10_000, 120_000]);
                self.advance(ms)
            }
            900..935 => self.change(),
            935..965 => self.decide(),
            965..975 => self.maintain(),
            975..988 => {
                self.inject();
                Ok(())
            }
            988..992 => self.restart(),
            _ => self.explain(),
        }
    }

    fn publish(&mut self) -> Step {
        let tenant = self.tenant();
        let count = self.dice.between(1, self.publish_max);
        let events: Vec<Event<'static>> = (0..count).map(|_| self.event()).collect();
        let prepared = events.iter().map(|event| tenant.prepare(event, None)).collect::<Result<Vec<_>, _>>();
        let prepared = prepared.map_err(|invalid| violated("prepare", invalid.to_string()))?;
        let outcome = tenant.publish_wait(prepared);
        self.say(|| format!("publish {count}: {:?}", outcome.as_ref().map(Vec::len)));
        if let Err(fault) = outcome {
            self.tolerate("publish", &fault)?;
        }
        self.look_at_log()
    }

    fn event(&mut self) -> Event<'static> {
        self.next_id += 1;
        let mut builder = Event::builder(format!("e{}", self.next_id), "/shop", *self.dice.pick(&KINDS));
        if self.dice.chance(85) {
            builder = builder.subject(*self.dice.pick(&SUBJECTS));
        }
        if self.dice.chance(8) {
            let ms = *self.dice.pick(&[0, 50, 500, 5_000, 60_000]);
            builder = builder.attribute("expirytime", Value::Text(self.now().plus_ms(ms).to_string().into()));
        }
        let group = match self.dice.chance(70) {
            true => format!(r#","group":"{}""#, self.dice.pick(&GROUPS)),
            false => String::new(),
        };
        let event = builder.json(format!(r#"{{"n":{}{group}}}"#, self.dice.below(20)));
        event.build().expect("the workload makes valid events")
    }

    /// Moves the time as a living process sees it.
    fn advance(&mut self, ms: i64) -> Step {
        self.say(|| format!("{ms} ms pass"));
        // Longer ones stand for a process that was suspended.
        let slice = if ms <= 1_000 { CHECKPOINT_MS as i64 } else { ms };
        let mut left = ms;
        while left > 0 && !self.disk.is_dead() {
            let now = left.min(slice);
            self.clock.jump_ms(now);
            left -= now;
            self.deliver()?;
            self.checkpoint()?;
        }
        Ok(())
    }

    fn deliver(&mut self) -> Step {
        let outcome = self.tenant().deliver();
        self.ledger.ticked(self.now());
        outcome.or_else(|fault| self.tolerate("deliver", &fault))
    }

    fn checkpoint(&mut self) -> Step {
        match self.tenant().checkpoint_deliveries() {
            Ok(something) => {
                if something {
                    self.say(|| "checkpoint".into());
                }
                self.saved()
            }
            Err(fault) => {
                self.tolerate("checkpoint", &fault)?;
                // Those of other subscriptions may be written all the same, and too old by the next time.
                self.look_at_letters()
            }
        }
    }

    /// Everything so far is written down.
    fn saved(&mut self) -> Step {
        self.look_at_letters()?;
        self.ledger.saved()?;
        if self.dice.chance(5) { self.look_for_lost_letters() } else { Ok(()) }
    }

    fn maintain(&mut self) -> Step {
        let tenant = self.tenant();
        if self.dice.chance(50) {
            self.say(|| "idle".into());
            tenant.idle();
            return Ok(());
        }
        self.say(|| "maintain".into());
        tenant.maintain().map(|_| ()).or_else(|fault| self.tolerate("maintain", &fault))
    }

    fn explain(&mut self) -> Step {
        for name in self.ledger.names() {
            match self.tenant().explain_subscription(&name) {
                Ok(explained) => self.say(|| format!("{name}: {}", explained.standstill)),
                Err(NotDone::Failed(fault)) => self.tolerate("explain", &fault)?,
                Err(refused) => return Err(violated("explain", format!("{name}: {refused}"))),
            }
        }
        Ok(())
    }

    /// An error is fine where one was injected.
    fn tolerate(&self, what: &'static str, fault: &Fault) -> Step {
        self.say(|| format!("{what}: {fault}"));
        checker::simulated(what, fault)
    }

    /// Has a flag set whenever a subscription's consumers are told to ask.
    fn watch(&mut self, name: &str) {
        let flag = Arc::new(AtomicBool::new(true));
        let set = Arc::clone(&flag);
        if let Ok(guard) = self.tenant().on_available(name, move || set.store(true, Ordering::Relaxed)) {
            self.woken.insert(name.to_owned(), (flag, guard));
        }
    }
}
