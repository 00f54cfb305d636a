//! One simulation: the real tenant, driven step by step on a faulty disk with virtual time. The seed decides every step,
//! so a run can be repeated; the checkers decide whether it was right.
//!
//! It drives one tenant without threads. What threads do to each other is not its business.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use quipu_domain::{Filter, Timestamp};
use quipu_engine::{Append, Fault, Follower, NotAppended, Options, Prepared, Tenant, World};

use crate::checker::answers::{Left, settle};
use crate::checker::pages::{read_log, to_logged};
use crate::checker::{self, Violation, caught, violated};
use crate::workload::{self, Workload};
use crate::{
    Answer, Dice, Draft, Entry, FailedSync, FaultyDisk, Kind, Logged, Model, Operation, Trigger, VirtualClock,
};

/// The folder of the tenant that is simulated.
pub const FOLDER: &str = "tenants/main";
/// 2026-01-01T00:00:00Z.
const BEGIN: Timestamp = Timestamp(1_767_225_600_000_000);

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

/// What was wrong, and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that repeats it.
    pub seed: u64,
    /// At which step.
    pub step: u64,
    /// What was wrong.
    pub violation: Violation,
    /// What tells `simulate` which kind of run it was.
    pub options: &'static str,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {} at step {}: {}\nrepeat with: cargo run -p quipu-testkit --bin simulate -- {}--seed {} -v",
            self.seed, self.step, self.violation, self.options, self.seed
        )
    }
}

/// A run in the making.
pub struct Simulation {
    dice: Dice,
    is_verbose: bool,
    disk: FaultyDisk,
    clock: Arc<VirtualClock>,
    options: Options,
    tenant: Option<Arc<Tenant>>,
    workload: Workload,
    /// What the log held when the process began, after everything that is settled.
    begin: Model,
    /// The same with everything asked since.
    model: Model,
    history: Vec<Entry>,
    /// Where in the history the present process begins.
    session: usize,
    replies: Arc<Mutex<Vec<(usize, Answer)>>>,
    followers: Vec<Following>,
    /// What was read last: it must never change.
    log: Vec<Logged>,
    report: Report,
}

struct Following {
    filter: Filter,
    after: u64,
    position: u64,
    seen: Vec<u64>,
    follower: Option<Follower>,
}

type Step = Result<(), Violation>;

impl Simulation {
    /// Runs one seed to its end.
    ///
    /// # Errors
    /// What was wrong, with the seed.
    pub fn run(seed: u64) -> Result<Report, Failure> {
        Self::run_with(seed, false)
    }

    /// The same, printing every step to standard error.
    ///
    /// # Errors
    /// What was wrong, with the seed.
    pub fn run_verbose(seed: u64) -> Result<Report, Failure> {
        Self::run_with(seed, true)
    }

    fn run_with(seed: u64, is_verbose: bool) -> Result<Report, Failure> {
        let mut simulation = Self::new(seed, is_verbose);
        match caught(|| simulation.drive()) {
            Ok(()) => Ok(simulation.report),
            Err(violation) => Err(Failure { seed, step: simulation.report.steps, violation, options: "" }),
        }
    }

    fn new(seed: u64, is_verbose: bool) -> Self {
        let mut dice = Dice::new(seed);
        // Half of the runs forget pairs after a few events. No age keeps them: the model knows no times.
        // From dice of their own, so that seeds of failures that were found stay what they were.
        let mut own_dice = Dice::new(!seed);
        let window = own_dice.chance(50).then(|| own_dice.between(3, 40));
        let model = Model { window, ..Model::default() };
        let options = Options {
            dedup_window_events: window.unwrap_or(1_000_000),
            dedup_window_ms: if window.is_some() { -1 } else { 24 * 60 * 60 * 1_000 },
            event_bytes_max: 64 << 10,
            segment_bytes: dice.between(4, 16) << 10,
            run_events: dice.between(5, 60) as usize,
            mailbox_bytes_max: *dice.pick(&[16 << 10, 64 << 10, 1 << 20]),
            threads: 1,
            ..Options::default()
        };
        Self {
            is_verbose,
            disk: FaultyDisk::new(dice.roll()),
            clock: Arc::new(VirtualClock::new(BEGIN)),
            options,
            tenant: None,
            workload: Workload::new(&mut dice),
            begin: model.clone(),
            model,
            history: Vec::new(),
            session: 0,
            replies: Arc::default(),
            followers: Vec::new(),
            log: Vec::new(),
            report: Report { seed, ..Report::default() },
            dice,
        }
    }

    fn drive(&mut self) -> Step {
        self.open()?;
        let steps = self.dice.between(100, 500);
        for _ in 0..steps {
            self.report.steps += 1;
            self.step()?;
            self.collect();
        }
        self.finish()
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.is_verbose {
            eprintln!("{:>4} {}", self.report.steps, text());
        }
    }

    fn tenant(&self) -> Arc<Tenant> {
        Arc::clone(self.tenant.as_ref().expect("a tenant is open between two steps"))
    }

    fn step(&mut self) -> Step {
        if self.tenant().refuses_appends().is_some() && self.dice.chance(30) {
            return self.restart();
        }
        match self.dice.below(1_000) {
            0..380 => self.submit(),
            380..540 => {
                let decided = self.tenant().decide();
                self.say(|| format!("decide: {decided}"));
                Ok(())
            }
            540..700 => {
                let replies = self.tenant().flush();
                self.say(|| format!("flush: {replies}"));
                Ok(())
            }
            700..770 => self.maintain(),
            770..800 => {
                self.say(|| "idle".into());
                self.tenant().idle();
                Ok(())
            }
            800..840 => {
                let ms = *self.dice.pick(&[1, 1_000, 86_400_000, -1, -5_000, -86_400_000]);
                self.say(|| format!("clock: {ms} ms"));
                self.clock.jump_ms(ms);
                Ok(())
            }
            840..880 => self.read(),
            880..960 => self.follow(),
            960..985 => self.restart(),
            _ => {
                self.inject();
                Ok(())
            }
        }
    }

    fn submit(&mut self) -> Step {
        let tenant = self.tenant();
        let operation = self.workload.operation(&mut self.dice, &self.model, &self.history);
        let index = self.history.len();
        self.say(|| format!("operation {index}: {}", brief(&operation)));
        self.report.operations += 1;
        let prepared = prepare(&tenant, operation.drafts())?;
        self.history.push(Entry { operation: operation.clone(), answer: None, is_kept: false });
        let replies = Arc::clone(&self.replies);
        match operation.clone() {
            Operation::Publish(_) => tenant.publish(prepared, move |outcome| {
                let answer = match outcome {
                    Ok(outcomes) => Answer::Published(outcomes),
                    Err(fault) => Answer::Unknown(fault.to_string()),
                };
                replies.lock().push((index, answer));
            }),
            Operation::Append(proposal) => {
                let (conditions, checkpoint) = (proposal.conditions, proposal.checkpoint);
                let append = Append { events: prepared, conditions, checkpoint };
                tenant.append(append, move |outcome| {
                    let answer = match outcome {
                        Ok(appended) => Answer::Appended(appended),
                        Err(NotAppended::Refused(refusal)) => Answer::Refused(refusal),
                        Err(NotAppended::Fault(fault)) => Answer::Unknown(fault.to_string()),
                    };
                    replies.lock().push((index, answer));
                });
            }
        }
        // What is answered at once was refused at the mailbox: it never was in line.
        if let Some((_, answer)) = self.replies.lock().pop_if(|(at, _)| *at == index) {
            self.say(|| format!("  not taken: {answer:?}"));
            self.history.pop();
        } else {
            self.model.apply(&operation);
        }
        Ok(())
    }

    /// Takes the replies that came.
    fn collect(&mut self) {
        let replies: Vec<(usize, Answer)> = std::mem::take(&mut self.replies.lock());
        for (index, answer) in replies {
            self.say(|| format!("  answer {index}: {answer:?}"));
            self.history[index].answer = Some(answer);
        }
    }

    fn maintain(&mut self) -> Step {
        match self.tenant().maintain() {
            Ok(worked) => {
                self.say(|| format!("maintain: {worked}"));
                Ok(())
            }
            Err(fault) => self.tolerate("maintain", &fault),
        }
    }

    /// An error is fine where one was injected.
    fn tolerate(&self, what: &'static str, fault: &Fault) -> Step {
        self.say(|| format!("{what}: {fault}"));
        checker::simulated(what, fault)
    }

    /// Reads something; what was read earlier must not have changed.
    fn read(&mut self) -> Step {
        let tenant = self.tenant();
        let log = self.whole_log(&tenant)?;
        self.say(|| format!("read: {} events", log.len()));
        if log.len() < self.log.len() || log[..self.log.len()] != self.log {
            return Err(violated("read", format!("{} events were read, now others are", self.log.len())));
        }
        if log.len() as u64 != tenant.position() {
            return Err(violated("read", format!("{} events below position {}", log.len(), tenant.position())));
        }
        let filter = workload::filter(&mut self.dice, log.len() as u64);
        checker::indexes::check_filter(&tenant, &log, &filter, &mut self.dice)?;
        self.log = log;
        Ok(())
    }

    fn whole_log(&self, tenant: &Arc<Tenant>) -> Result<Vec<Logged>, Violation> {
        let log = read_log(tenant)?;
        checker::gapless::check(&log)?;
        Ok(log)
    }

    fn follow(&mut self) -> Step {
        let tenant = self.tenant();
        if self.followers.len() < 4 && self.dice.chance(20) {
            let filter = workload::filter(&mut self.dice, tenant.position());
            let after = self.dice.below(tenant.position() + 1);
            self.followers.push(Following { filter, after, position: after, seen: Vec::new(), follower: None });
        }
        if self.followers.is_empty() {
            return Ok(());
        }
        let at = self.dice.below(self.followers.len() as u64) as usize;
        let limit = *self.dice.pick(&[1, 5, 100]);
        self.followers[at].advance(&tenant, limit)
    }

    fn inject(&mut self) {
        self.report.faults += 1;
        self.heal();
        match self.dice.below(5) {
            0 | 1 => {
                let outcome = *self.dice.pick(&[FailedSync::StayDirty, FailedSync::Dropped, FailedSync::Clean]);
                let call = self.dice.between(1, 3);
                self.say(|| format!("inject: sync {call} fails, {outcome:?}"));
                self.disk.failed_sync(outcome);
                self.disk.fail(Kind::Sync, Trigger::At(call));
            }
            2 => {
                let call = self.dice.between(1, 3);
                self.say(|| format!("inject: write {call} fails"));
                self.disk.fail(Kind::Write, Trigger::At(call));
            }
            3 => {
                // Its answers are awaited at once: which operations were given up must be known before another fault.
                let call = self.dice.between(1, 10);
                self.say(|| format!("inject: read {call} of this turn fails"));
                self.disk.fail(Kind::Read, Trigger::At(call));
                self.tenant().decide();
                self.disk.fail(Kind::Read, Trigger::Never);
                self.tenant().flush();
            }
            _ => {
                let bytes = self.disk.bytes() + self.dice.below(4_000);
                self.say(|| format!("inject: room for {bytes} bytes"));
                self.disk.limit_bytes(Some(bytes));
            }
        }
    }

    fn heal(&self) {
        for kind in [Kind::Read, Kind::Write, Kind::Sync] {
            self.disk.fail(kind, Trigger::Never);
        }
        self.disk.limit_bytes(None);
    }

    /// Ends the process in one way or another, and starts the next one.
    fn restart(&mut self) -> Step {
        match self.dice.below(3) {
            0 => self.cut_power(),
            1 => {
                self.say(|| "kill".into());
                self.disk = self.disk.kill();
            }
            _ => self.close()?,
        }
        self.collect();
        self.tenant = None;
        // Sometimes the power fails again while the store recovers.
        while self.dice.chance(25) {
            self.disk.crash_at(self.disk.calls() + self.dice.between(1, 60));
            let opened = self.open_tenant();
            self.say(|| format!("open, dying: {:?}", opened.as_ref().err().map(ToString::to_string)));
            if let Err(fault) = &opened {
                self.tolerate("open", fault)?;
            }
            drop(opened);
            self.cut_power();
        }
        self.open()
    }

    fn cut_power(&mut self) {
        self.report.power_cuts += 1;
        let seed = self.dice.roll();
        self.say(|| "power cut".into());
        self.disk = self.disk.crash_and_recover(seed);
    }

    fn close(&mut self) -> Step {
        let tenant = self.tenant();
        match tenant.close() {
            Ok(()) => self.say(|| "close".into()),
            Err(fault) => self.tolerate("close", &fault)?,
        }
        drop(tenant);
        self.tenant = None;
        for following in &mut self.followers {
            following.follower = None;
        }
        self.heal();
        if self.dice.chance(50) {
            self.cut_power();
        }
        Ok(())
    }

    fn open_tenant(&mut self) -> Result<Arc<Tenant>, Fault> {
        let world = World {
            storage: Arc::new(self.disk.clone()),
            clock: Arc::<VirtualClock>::clone(&self.clock),
            random: Arc::new(crate::SeededRandom::new(self.dice.roll())),
        };
        Tenant::open(&world, FOLDER, self.options.clone())
    }

    /// Opens the tenant, finds out what the process before left, and whether that is right.
    fn open(&mut self) -> Step {
        self.heal();
        self.report.opens += 1;
        for following in &mut self.followers {
            following.follower = None;
        }
        let tenant = self.open_tenant().map_err(|fault| violated("open", fault.to_string()))?;
        self.tenant = Some(Arc::clone(&tenant));
        let log = self.whole_log(&tenant)?;
        let commits = tenant.stats().map_err(|fault| violated("stats", fault.to_string()))?.commits;
        if self.report.opens == 1 {
            // Those of the store itself.
            self.begin.commits = commits;
        }
        self.say(|| format!("open: {} events, {commits} commits", log.len()));
        if log.len() < self.log.len() || log[..self.log.len()] != self.log {
            return Err(violated("open", format!("{} events were read before, now {}", self.log.len(), log.len())));
        }
        checker::acknowledged::check(&self.history, &log)?;
        checker::whole::check(&self.history, &log)?;
        let left = Left { log: &log, commits };
        self.model = settle(&self.begin, &mut self.history[self.session..], left)?;
        for (source, number) in &self.model.checkpoints {
            if tenant.checkpoint(source) != Some(*number) {
                let found = tenant.checkpoint(source);
                return Err(violated("checkpoint", format!("{source}: expected {number}, found {found:?}")));
            }
        }
        self.begin = self.model.clone();
        self.session = self.history.len();
        self.log = log;
        for following in &self.followers {
            following.check(&self.log)?;
        }
        if self.dice.chance(20) {
            checker::indexes::check(&tenant, &self.log, &mut self.dice)?;
        }
        Ok(())
    }

    /// Stops cleanly, and checks everything on what is there: with indexes and snapshots, with damaged ones, and
    /// without.
    fn finish(&mut self) -> Step {
        self.heal();
        self.close()?;
        self.collect();
        self.open()?;
        self.check_all()?;
        self.close_for_good()?;
        for path in self.caches() {
            let len = self.disk.contents(&path).map_or(1, |bytes| bytes.len() as u64);
            let (offset, bit) = (self.dice.below(len), self.dice.below(8) as u8);
            self.say(|| format!("flipping bit {bit} at {offset} of {path}"));
            self.disk.flip(&path, offset, bit);
        }
        self.open()?;
        self.check_all()?;
        self.report.segments = self.tenant().stats().map_or(0, |stats| stats.segments);
        self.close_for_good()?;
        self.say(|| "deleting indexes and snapshots".into());
        self.caches().iter().for_each(|path| self.disk.delete(path));
        self.open()?;
        self.check_all()?;
        self.close_for_good()?;
        checker::folder::check(&self.disk, FOLDER, self.log.len() as u64, self.model.commits)?;
        self.report.events = self.log.len() as u64;
        self.report.calls = self.disk.calls();
        Ok(())
    }

    /// Nothing is injected any more: the stop must succeed.
    fn close_for_good(&mut self) -> Step {
        let tenant = self.tenant();
        for following in &mut self.followers {
            following.follower = None;
        }
        self.tenant = None;
        tenant.close().map_err(|fault| violated("close", fault.to_string()))
    }

    fn caches(&self) -> Vec<String> {
        self.disk.files().into_iter().filter(|path| is_cache(path)).collect()
    }

    fn check_all(&mut self) -> Step {
        let tenant = self.tenant();
        checker::duplicates::check(&self.history, &self.log, self.model.window)?;
        checker::indexes::check(&tenant, &self.log, &mut self.dice)?;
        for following in &mut self.followers {
            while following.position < tenant.position() {
                following.advance(&tenant, 10)?;
            }
            following.check(&self.log)?;
        }
        Ok(())
    }
}

impl Following {
    fn advance(&mut self, tenant: &Arc<Tenant>, limit: usize) -> Step {
        let position = self.position;
        let follower = self.follower.get_or_insert_with(|| tenant.follow(self.filter.clone(), position));
        let events = follower.next(limit).map_err(|fault| violated("followers", fault.to_string()))?;
        if events.len() > limit {
            return Err(violated("followers", format!("expected at most {limit} events, found {}", events.len())));
        }
        self.seen.extend(events.iter().map(|event| to_logged(event).stamp.position));
        if follower.position() < position || follower.position() == position && position < tenant.position() {
            return Err(violated("followers", format!("from {position} it came to {}", follower.position())));
        }
        self.position = follower.position();
        Ok(())
    }

    fn check(&self, log: &[Logged]) -> Step {
        checker::followers::check(&self.filter, self.after, self.position, &self.seen, log)
    }
}

/// Whether the file may be deleted at any time: an index or a snapshot.
pub fn is_cache(path: &str) -> bool {
    path.ends_with(".run") || path.ends_with(".snapshot")
}

/// Encodes events, as a client's thread does.
///
/// # Errors
/// The engine refused an event that keeps to every limit.
pub fn prepare(tenant: &Arc<Tenant>, drafts: &[Draft]) -> Result<Vec<Prepared>, Violation> {
    drafts
        .iter()
        .map(|draft| tenant.prepare(&draft.event, draft.stream_version))
        .collect::<Result<_, _>>()
        .map_err(|invalid| violated("prepare", invalid.to_string()))
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
