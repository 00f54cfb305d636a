//! One simulation: the real tenant, driven step by step on a faulty disk with virtual time. The seed decides every step,
//! so a run can be repeated; the checkers decide whether it was right.
//!
//! It drives one tenant without threads. What threads do to each other is not its business.

mod backup;
mod ending;
mod following;
mod process;
mod rot;

use std::sync::Arc;

use parking_lot::Mutex;
use quipu_engine::{Options, Tenant};

use self::following::Following;
use crate::checker::pages::read_log;
use crate::checker::{self, Violation, caught};
use crate::machine::{Failure, Machine, Step, Voice};
use crate::submit::{prepare, submit};
use crate::workload::{self, Workload};
use crate::{Answer, Entry, FaultyDisk, Kind, Logged, Model, Operation, Trigger};

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The seed that repeats it.
    pub seed: u64,
    /// Steps of the scheduler.
    pub steps: u64,
    /// Operations that clients asked for.
    pub operations: u64,
    /// Events in the log in the end.
    pub events: u64,
    /// How often the tenant was opened.
    pub opens: u64,
    /// How many of them followed a power cut.
    pub power_cuts: u64,
    /// Injected errors that closed the tenant to appends.
    pub faults: u64,
    /// Segments in the end.
    pub segments: u64,
    /// Storage calls on the last disk.
    pub calls: u64,
}

/// A run in the making.
pub struct Simulation {
    /// Whether indexes or snapshots were damaged in this run.
    has_spoiled: bool,
    machine: Machine,
    workload: Workload,
    /// What the log held when the process began, after everything that is settled.
    begin: Model,
    /// The same with everything asked since.
    model: Model,
    history: Vec<Entry>,
    /// Where in the history the present process begins.
    session: usize,
    replies: Arc<Mutex<Vec<(usize, Answer)>>>,
    /// Moves on with every question and every round of answers.
    now: u64,
    followers: Vec<Following>,
    /// What was read last: it must never change.
    log: Vec<Logged>,
    operations: u64,
    segments: u64,
}

impl Simulation {
    /// Runs one seed to its end.
    ///
    /// # Errors
    /// What was wrong, with the seed.
    pub fn run(seed: u64, voice: Voice) -> Result<Report, Failure> {
        let mut simulation = Self::new(seed, voice);
        let outcome = caught(|| simulation.drive());
        simulation.machine.judged(outcome, "--appends")?;
        Ok(simulation.report())
    }

    fn new(seed: u64, voice: Voice) -> Self {
        // Half of the runs forget pairs after a few events. No age keeps them: the model knows no times.
        let mut own_dice = Machine::own_dice(seed);
        let window = own_dice.chance(50).then(|| own_dice.between(3, 40));
        let model = Model { window, ..Model::default() };
        // Of few events the data is kept beside the log, of most, or of all.
        let claim_check_bytes = [2_000, 300, 0][(seed % 3) as usize];
        let mut machine = Machine::new(seed, voice, |dice| Options {
            dedup_window_events: window.unwrap_or(1_000_000),
            dedup_window_ms: if window.is_some() { -1 } else { 24 * 60 * 60 * 1_000 },
            event_bytes_max: 64 << 10,
            claim_check_bytes,
            segment_bytes: dice.between(4, 16) << 10,
            run_events: dice.between(5, 60) as usize,
            mailbox_bytes_max: *dice.pick(&[16 << 10, 64 << 10, 1 << 20]),
            threads: 1,
            ..Options::default()
        });
        machine.own_dice = own_dice;
        let slowest_ms = *machine.own_dice.pick(&[0, 0, 5, 2_000]);
        if slowest_ms > 0 {
            machine.disk.slow(&machine.clock, slowest_ms);
        }
        Self {
            workload: Workload::new(&mut machine.dice),
            machine,
            begin: model.clone(),
            model,
            history: Vec::new(),
            session: 0,
            replies: Arc::default(),
            now: 0,
            followers: Vec::new(),
            has_spoiled: false,
            log: Vec::new(),
            operations: 0,
            segments: 0,
        }
    }

    fn report(&self) -> Report {
        let Machine { seed, steps, opens, power_cuts, faults, .. } = self.machine;
        let (events, calls) = (self.log.len() as u64, self.machine.disk.calls());
        let (operations, segments) = (self.operations, self.segments);
        Report { seed, steps, operations, events, opens, power_cuts, faults, segments, calls }
    }

    fn drive(&mut self) -> Step {
        self.open()?;
        let steps = self.machine.dice.between(100, 500);
        for _ in 0..steps {
            self.machine.steps += 1;
            self.step()?;
            self.collect()?;
        }
        self.finish()
    }

    fn step(&mut self) -> Step {
        let refuses = self.machine.tenant().refuses_appends().is_some();
        if self.machine.disk.is_dead() || refuses && self.machine.dice.chance(30) {
            return self.restart();
        }
        match self.machine.own_dice.below(100) {
            0 => self.machine.fail_a_change(),
            1 => self.machine.cut_power_soon(),
            _ => {}
        }
        match self.machine.dice.below(1_000) {
            0..380 => self.submit(),
            380..540 => {
                let decided = self.machine.tenant().decide();
                self.machine.say(|| format!("decide: {decided}"));
                Ok(())
            }
            540..700 => {
                let replies = self.machine.tenant().flush();
                self.machine.say(|| format!("flush: {replies}"));
                Ok(())
            }
            700..770 => self.unless_failed(FaultyDisk::failed, Self::maintain),
            770..800 => {
                self.machine.say(|| "idle".into());
                self.machine.tenant().idle();
                Ok(())
            }
            800..840 => {
                let ms = *self.machine.dice.pick(&[1, 1_000, 86_400_000, -1, -5_000, -86_400_000]);
                self.machine.say(|| format!("clock: {ms} ms"));
                self.machine.clock.jump_ms(ms);
                Ok(())
            }
            // A damaged index is made again where it is met, but to read needs nothing to be written.
            840..880 => self.unless_failed(FaultyDisk::failed_reads, Self::read),
            880..960 => self.unless_failed(FaultyDisk::failed_reads, Self::follow),
            960..982 => self.restart(),
            982..985 => self.unless_cut(Self::backup),
            _ => {
                self.inject();
                Ok(())
            }
        }
    }

    fn submit(&mut self) -> Step {
        let tenant = self.machine.tenant();
        let operation = self.workload.operation(&mut self.machine.dice, &self.model, &self.history);
        let index = self.history.len();
        self.machine.say(|| format!("operation {index}: {}", brief(&operation)));
        self.operations += 1;
        let prepared = prepare(&tenant, operation.drafts())?;
        self.now += 1;
        self.history.push(Entry::asked(operation.clone(), self.now));
        let replies = Arc::clone(&self.replies);
        submit(&tenant, &operation, prepared, move |answer| replies.lock().push((index, answer)));
        // What is answered at once was refused at the mailbox: it never was in line.
        if let Some((_, answer)) = self.replies.lock().pop_if(|(at, _)| *at == index) {
            self.machine.say(|| format!("  not taken: {answer:?}"));
            self.history.pop();
            let is_busy = self.history[self.session..].iter().any(|entry| entry.answer.is_none());
            checker::answered::check_at_once(&answer, self.machine.has_failed(), is_busy)?;
        } else {
            self.model.apply(&operation);
        }
        Ok(())
    }

    /// Takes the replies that came.
    fn collect(&mut self) -> Step {
        let replies: Vec<(usize, Answer)> = std::mem::take(&mut self.replies.lock());
        self.now += u64::from(!replies.is_empty());
        for (index, answer) in replies {
            self.machine.say(|| format!("  answer {index}: {answer:?}"));
            checker::answered::check_answer(&answer, self.machine.has_failed())?;
            self.history[index].answered = Some(self.now);
            self.history[index].answer = Some(answer);
        }
        Ok(())
    }

    /// Does work in which a read may fail. What then says that the disk failed is right, if a call failed that counts.
    fn unless_failed(&mut self, failed: fn(&FaultyDisk) -> u64, work: fn(&mut Self) -> Step) -> Step {
        let before = failed(&self.machine.disk);
        if self.machine.own_dice.chance(10) {
            let call = self.machine.own_dice.between(1, 10);
            self.machine.say(|| format!("inject: read {call} of this step fails"));
            self.machine.disk.fail(Kind::Read, Trigger::At(call));
        }
        let outcome = work(self);
        self.machine.disk.fail(Kind::Read, Trigger::Never);
        match outcome {
            Err(violation) if failed(&self.machine.disk) > before && checker::is_injected(&violation.detail) => {
                self.machine.say(|| violation.to_string());
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Does work in which no read fails unless the power is cut.
    fn unless_cut(&mut self, work: fn(&mut Self) -> Step) -> Step {
        match work(self) {
            Err(violation) if self.machine.disk.is_dead() && checker::is_injected(&violation.detail) => {
                self.machine.say(|| violation.to_string());
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn maintain(&mut self) -> Step {
        let tenant = self.machine.tenant();
        // A few at a time: what goes on beside it is on its way in every stage.
        match tenant.maintain().and_then(|worked| Ok((worked, tenant.search_payloads(1)?))) {
            Ok((worked, left)) => {
                self.machine.say(|| format!("maintain: {worked}, payloads: {left}"));
                Ok(())
            }
            Err(fault) => self.machine.tolerate("maintain", &fault),
        }
    }

    /// Reads something; what was read earlier must not have changed.
    fn read(&mut self) -> Step {
        let tenant = self.machine.tenant();
        let log = self.whole_log(&tenant)?;
        self.machine.say(|| format!("read: {} events", log.len()));
        checker::read::check(&self.log, &log, tenant.position())?;
        let filter = workload::filter(&mut self.machine.dice, log.len() as u64);
        checker::indexes::check_filter(&tenant, &log, &filter, &mut self.machine.dice)?;
        self.log = log;
        Ok(())
    }

    fn whole_log(&self, tenant: &Arc<Tenant>) -> Result<Vec<Logged>, Violation> {
        let log = read_log(tenant)?;
        checker::gapless::check(&log)?;
        Ok(log)
    }
}

fn brief(operation: &Operation) -> String {
    let ids: Vec<String> = operation
        .drafts()
        .iter()
        .map(|draft| format!("{}@{}", draft.event.id(), draft.event.subject().unwrap_or("-")))
        .collect();
    match operation {
        Operation::Publish(_) => format!("publish {}", ids.join(" ")),
        Operation::Append(proposal) => {
            format!("append {} if {:?} {:?}", ids.join(" "), proposal.conditions, proposal.checkpoint)
        }
    }
}
