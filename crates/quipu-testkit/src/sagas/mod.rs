//! One simulation of sagas: the real tenant on a faulty disk with random declarations, participants that follow the log and do what
//! they are asked, refuse it, ignore it, answer late, twice and in any order, endpoints that are called, people that intervene, and a
//! clock that jumps. The seed decides every step; a [`Ledger`] that knows the files of the log and what the participants did decides
//! whether that was right.

mod participants;
mod people;
mod plans;
mod process;

use std::sync::Arc;

use parking_lot::Mutex;
use quipu_domain::saga::{Answer, Attempt};
use quipu_domain::{Event, Timestamp};
use quipu_engine::{Clock, NotDone, Options, Published};

use crate::RawLog;
use crate::checker::sagas::{Command, Ledger};
use crate::checker::{caught, violated};
use crate::machine::{Failure, Machine, Step, Voice};

/// Sagas that come and change; the one that their steps begin is not counted.
const SAGAS: [&str; 2] = ["s0", "s1"];

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SagaReport {
    /// The seed that repeats it.
    pub seed: u64,
    /// Steps of the scheduler.
    pub steps: u64,
    /// Events in the log in the end.
    pub events: u64,
    /// Instances that began.
    pub instances: u64,
    /// Events that sagas published.
    pub commands: u64,
    /// How often the tenant was opened.
    pub opens: u64,
    /// How many of them followed a power cut.
    pub power_cuts: u64,
    /// Injected errors.
    pub faults: u64,
    /// Storage calls of the first disk: so many places to cut the power at.
    pub calls: u64,
}

/// A run in the making.
pub struct SagaSimulation {
    machine: Machine,
    ledger: Ledger,
    raw: RawLog,
    /// Commands on their way to participants.
    messages: Vec<Command>,
    /// Events that participants and others want to publish, each with an id of its own.
    replies: Vec<Event<'static>>,
    /// Calls that endpoints have, and answers on their way.
    calls: Vec<(u64, Attempt)>,
    answers: Vec<(u64, Attempt, Answer)>,
    /// Answers that were not taken: they are told again.
    untold: Arc<Mutex<Vec<(u64, Attempt, Answer)>>>,
    /// What an endpoint refused, it refuses for ever under the same key.
    refused: Vec<(u64, String)>,
    next_id: u64,
    /// How often people decided about an instance: they give up in the end.
    decisions: u64,
    is_draining: bool,
    /// Answers name their commands; where a step may be meant by the same words as another, they do in any case.
    cut_at: Option<u64>,
    disk_calls: Option<u64>,
}

impl SagaSimulation {
    /// Runs one seed to its end.
    ///
    /// # Errors
    /// What was wrong, with the seed.
    pub fn run(seed: u64, voice: Voice) -> Result<SagaReport, Failure> {
        Self::new(seed, voice, None).finish()
    }

    /// Runs some steps of a seed on a disk that fails once: the power is cut at a call, counted from 1.
    ///
    /// # Errors
    /// What was wrong.
    pub fn run_and_cut(seed: u64, call: u64) -> Result<SagaReport, Failure> {
        Self::new(seed, Voice::Quiet, Some(call)).finish()
    }

    fn new(seed: u64, voice: Voice, cut_at: Option<u64>) -> Self {
        let machine = Machine::new(seed, voice, |dice| Options {
            event_bytes_max: 64 << 10,
            segment_bytes: dice.between(8, 64) << 10,
            run_events: dice.between(20, 300) as usize,
            threads: 1,
            ..Options::default()
        });
        let mut ledger = Ledger::default();
        ledger.clock(machine.clock.now());
        Self {
            machine,
            ledger,
            raw: RawLog::default(),
            messages: Vec::new(),
            replies: Vec::new(),
            calls: Vec::new(),
            answers: Vec::new(),
            untold: Arc::default(),
            refused: Vec::new(),
            next_id: 0,
            decisions: 0,
            is_draining: false,
            cut_at,
            disk_calls: None,
        }
    }

    fn finish(mut self) -> Result<SagaReport, Failure> {
        let outcome = caught(|| self.drive());
        self.machine.judged(outcome, "--sagas")?;
        let Machine { seed, steps, opens, power_cuts, faults, .. } = self.machine;
        let (events, commands) = (self.ledger.events().len() as u64, self.ledger.commands());
        let (instances, calls) = (self.ledger.instances().len() as u64, self.disk_calls.unwrap_or_default());
        Ok(SagaReport { seed, steps, events, instances, commands, opens, power_cuts, faults, calls })
    }

    fn drive(&mut self) -> Step {
        self.open()?;
        self.declare(plans::child)?;
        self.declare(|dice| plans::saga(SAGAS[0], dice))?;
        self.declare(|_| plans::rule())?;
        let steps = if self.cut_at.is_some() { 60 } else { self.machine.dice.between(100, 800) };
        for _ in 0..steps {
            self.machine.steps += 1;
            self.step()?;
        }
        self.end()
    }

    fn now(&self) -> Timestamp {
        self.machine.clock.now()
    }

    /// Nobody can be asked before the next process.
    fn is_down(&self) -> bool {
        self.machine.disk.is_dead() || self.machine.tenant().refuses_appends().is_some()
    }

    fn step(&mut self) -> Step {
        if self.machine.disk.is_dead() || self.is_down() && self.machine.dice.chance(30) {
            return self.restart();
        }
        match self.machine.dice.below(1_000) {
            0..120 => self.begin(),
            120..300 => self.deliver(),
            300..430 => self.publish(),
            430..500 => self.call(),
            500..570 => self.answer(),
            570..600 => self.outside(),
            600..740 => self.settle(),
            740..800 => {
                self.machine.tenant().step_sagas();
                if self.machine.dice.chance(50) { self.flush() } else { Ok(()) }
            }
            800..870 => {
                let ms = *self.machine.dice.pick(&[1, 900, 1_000, 3_000, 5_000, 20_000]);
                self.advance(ms)
            }
            870..880 => {
                let ms = *self.machine.dice.pick(&[500, 4_000, 60_000]);
                self.advance(-ms)
            }
            880..925 => self.intervene(),
            925..930 => {
                let name = *self.machine.dice.pick(&SAGAS);
                self.declare(|dice| plans::saga(name, dice))
            }
            930..950 => self.maintain(),
            // One fault that was chosen, and no other.
            _ if self.cut_at.is_some() => Ok(()),
            950..975 => {
                self.machine.inject();
                Ok(())
            }
            975..980 => {
                self.machine.fail_a_change();
                Ok(())
            }
            _ => self.restart(),
        }
    }

    /// The clock goes on or back, and what is due comes.
    fn advance(&mut self, ms: i64) -> Step {
        self.machine.say(|| format!("{ms} ms pass"));
        self.machine.clock.jump_ms(ms);
        self.ledger.clock(self.now());
        self.settle()
    }

    /// Rounds, until one comes to nothing.
    fn settle(&mut self) -> Step {
        // An answer is recorded before its instance hears of it.
        loop {
            self.flush()?;
            if self.is_down() || !self.machine.tenant().step_sagas() {
                return Ok(());
            }
        }
    }

    /// Decides what was asked, makes it durable, and reads what is on the disk.
    fn flush(&mut self) -> Step {
        let tenant = self.machine.tenant();
        tenant.decide();
        tenant.flush();
        if self.is_down() { Ok(()) } else { self.look_at_all() }
    }

    fn look_at_all(&mut self) -> Step {
        for written in self.raw.read_on(&self.machine.disk)? {
            let number = written.number;
            let commands = self.ledger.written(written)?;
            for command in commands {
                self.machine.say(|| format!("commit {number}: {} {}", command.heard.kind, command.heard.id));
                if command.attempt.purpose != quipu_domain::saga::Purpose::End {
                    self.messages.push(command);
                }
            }
        }
        Ok(())
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

    /// Declares something, for the first time or anew.
    fn declare(&mut self, make: impl FnOnce(&mut crate::Dice) -> quipu_engine::SagaDeclaration) -> Step {
        let declaration = make(&mut self.machine.dice);
        let name = declaration.name();
        let text = || serde_json::to_string(&declaration).unwrap_or_default();
        self.machine.say(|| format!("declare {}", text()));
        let applied = self.machine.tenant().apply_saga(declaration.clone(), false, false);
        self.flush()?;
        match applied {
            Ok(_) => Ok(()),
            Err(NotDone::Failed(fault)) => self.machine.tolerate("declare", &fault),
            Err(refused) => Err(violated("declare", format!("{name}: {refused}: {}", text()))),
        }
    }

    /// Something begins, perhaps once more.
    fn begin(&mut self) -> Step {
        let (saga, key) = (*self.machine.dice.pick(&SAGAS), self.machine.dice.below(60));
        let [flag, other, bad] = [80, 80, 10].map(|chance| self.machine.dice.chance(chance));
        let (flag, other) = match self.machine.dice.below(20) {
            0 => ("null".to_owned(), other.to_string()),
            _ => (flag.to_string(), other.to_string()),
        };
        let data = format!(r#"{{"n":{key},"flag":{flag},"other":{other},"bad":{bad}}}"#);
        let event = self.event(&format!("start.{saga}"), Some(&format!("o{key}")), None, &data);
        self.send(event)
    }

    fn event(&mut self, kind: &str, correlation: Option<&str>, cause: Option<&str>, data: &str) -> Event<'static> {
        self.next_id += 1;
        let mut builder = Event::builder(format!("p{}", self.next_id), "/world", kind.to_owned()).json(data.to_owned());
        if let Some(correlation) = correlation {
            builder = builder.correlation_id(correlation.to_owned());
        }
        if let Some(cause) = cause {
            builder = builder.causation_id(cause.to_owned());
        }
        builder.build().expect("it is valid").into_owned()
    }

    /// Publishes an event. What fails is sent again, with the same id, until it is there.
    fn send(&mut self, event: Event<'static>) -> Step {
        let tenant = self.machine.tenant();
        let prepared = tenant.prepare(&event, None).map_err(|invalid| violated("prepare", invalid.to_string()))?;
        let outcome = tenant.publish_wait(vec![prepared]);
        self.machine.say(|| {
            let told = outcome.as_ref().map(|published| format!("{published:?}")).map_err(ToString::to_string);
            format!(
                "publish {} {} of {:?}, cause {:?}: {told:?}",
                event.id(),
                event.kind(),
                event.correlation_id(),
                event.causation_id()
            )
        });
        self.flush()?;
        match outcome.as_deref() {
            Ok([Published::Recorded(_) | Published::Duplicate(_)]) => Ok(()),
            Ok(other) => Err(violated("sagas", format!("{} is {other:?}", event.id()))),
            Err(_) => {
                self.replies.push(event);
                outcome.map(drop).or_else(|fault| self.machine.tolerate("publish", &fault))
            }
        }
    }
}
