//! One simulation of timers: the real tenant on a faulty disk with a clock that jumps, and clients that set timers, put them off,
//! cancel them, alone and in appends, again and again, and do not wait for one answer before they ask for the next thing. The seed
//! decides every step; a [`Ledger`] decides whether what is on the disk and what was answered is right.

mod asking;
mod process;

use std::sync::Arc;

use parking_lot::Mutex;
use quipu_domain::Timestamp;
use quipu_engine::{Clock, Options};

use crate::RawLog;
use crate::checker::timers::{Asked, Ledger, Told};
use crate::checker::{caught, violated};
use crate::machine::{Failure, Machine, Step, Voice};

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimerReport {
    /// The seed that repeats it.
    pub seed: u64,
    /// Steps of the scheduler.
    pub steps: u64,
    /// Events in the log in the end.
    pub events: u64,
    /// Timers that were set.
    pub set: u64,
    /// Those that fired.
    pub fired: u64,
    /// How often the tenant was opened.
    pub opens: u64,
    /// How many of them followed a power cut.
    pub power_cuts: u64,
    /// Injected errors.
    pub faults: u64,
    /// Storage calls of the first disk: so many places to cut the power at.
    pub calls: u64,
}

type Replies = Arc<Mutex<Vec<(usize, Result<Told, String>)>>>;

/// A run in the making.
pub struct TimerSimulation {
    machine: Machine,
    ledger: Ledger,
    raw: RawLog,
    replies: Replies,
    /// Operations that may be asked once more.
    recent: Vec<Asked>,
    next_id: u64,
    /// The one call at which the power is cut, if nothing else is to fail.
    cut_at: Option<u64>,
    /// Storage calls of the first disk.
    calls: Option<u64>,
}

impl TimerSimulation {
    /// Runs one seed to its end.
    ///
    /// # Errors
    /// What was wrong, with the seed.
    pub fn run(seed: u64, voice: Voice) -> Result<TimerReport, Failure> {
        Self::new(seed, voice, None).finish()
    }

    /// Runs some steps of a seed on a disk that fails once: the power is cut at a call, counted from 1.
    ///
    /// # Errors
    /// What was wrong.
    pub fn run_and_cut(seed: u64, call: u64) -> Result<TimerReport, Failure> {
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
        let ledger = Ledger::new(machine.clock.now());
        let (raw, replies, recent) = (RawLog::default(), Replies::default(), Vec::new());
        Self { machine, ledger, raw, replies, recent, next_id: 0, cut_at, calls: None }
    }

    fn finish(mut self) -> Result<TimerReport, Failure> {
        let outcome = caught(|| self.drive());
        self.machine.judged(outcome, "--timers")?;
        let Machine { seed, steps, opens, power_cuts, faults, .. } = self.machine;
        let (set, fired, calls) = (self.ledger.set(), self.ledger.fired(), self.calls.unwrap_or_default());
        let events = self.ledger.events();
        Ok(TimerReport { seed, steps, events, set, fired, opens, power_cuts, faults, calls })
    }

    fn drive(&mut self) -> Step {
        self.open()?;
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

    fn step(&mut self) -> Step {
        let refuses = self.machine.tenant().refuses_appends().is_some();
        if self.machine.disk.is_dead() || refuses && self.machine.dice.chance(30) {
            return self.restart();
        }
        match self.machine.dice.below(1_000) {
            0..400 => {
                self.ask()?;
                if self.machine.dice.chance(50) { self.flush() } else { Ok(()) }
            }
            400..500 => {
                self.machine.say(|| "fire".into());
                self.fire();
                if self.machine.dice.chance(50) { self.flush() } else { Ok(()) }
            }
            500..560 => self.flush(),
            560..600 => {
                self.machine.say(|| "decide".into());
                self.machine.tenant().decide();
                Ok(())
            }
            600..820 => {
                let ms = *self.machine.dice.pick(&[1, 20, 100, 700, 1_000, 5_000, 30_000, 600_000]);
                self.advance(ms)
            }
            820..850 => self.set_back(),
            850..890 => self.maintain(),
            890..950 => self.list(),
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

    /// Moves the time on, and lets fire what is due.
    fn advance(&mut self, ms: i64) -> Step {
        self.machine.say(|| format!("{ms} ms pass"));
        self.machine.clock.jump_ms(ms);
        self.ledger.clock(self.now());
        self.fire_all()
    }

    /// Sets the clock back. Nobody is told.
    fn set_back(&mut self) -> Step {
        // What is on its way was given its time by the clock as it was.
        self.flush()?;
        let ms = *self.machine.dice.pick(&[500, 5_000, 60_000, 86_400_000]);
        self.machine.say(|| format!("the clock is set back by {ms} ms"));
        self.machine.clock.jump_ms(-ms);
        // Those that wait for so long are due at other times than they were set for.
        self.ledger.is_ordered = false;
        self.ledger.clock(self.now());
        Ok(())
    }

    /// Looks once whether something is due.
    fn fire(&mut self) -> Option<Timestamp> {
        let next = self.machine.tenant().fire_timers();
        self.ledger.looked(self.now());
        next
    }

    /// Looks until nothing is due any more.
    fn fire_all(&mut self) -> Step {
        let now = self.now();
        // Each look may turn the wheel a little only.
        let mut quiet = 0;
        while quiet < 3 && !self.machine.disk.is_dead() {
            let before = self.ledger.commits();
            let next = self.fire();
            self.flush()?;
            let is_done = next.is_some_and(|next| next > now);
            quiet = if self.ledger.commits() > before { 0 } else { quiet + 1 };
            if is_done && self.machine.tenant().fire_timers().is_some_and(|next| next > now) {
                break;
            }
        }
        let is_sound = !self.machine.has_failed() && self.machine.tenant().refuses_appends().is_none();
        if is_sound { self.ledger.had_their_chance(now) } else { Ok(()) }
    }

    /// Decides what was asked, makes it durable, and holds the answers against the disk.
    fn flush(&mut self) -> Step {
        let tenant = self.machine.tenant();
        tenant.decide();
        tenant.flush();
        self.look()
    }

    /// Everything on the disk, and all answers so far. What is there after a fault may not be durable: the next process tells.
    fn look(&mut self) -> Step {
        if self.machine.disk.is_dead() || self.machine.tenant().refuses_appends().is_some() {
            return Ok(());
        }
        // What could not be read is tried again later.
        self.ledger.is_calm = !self.machine.has_failed();
        self.look_at_all()
    }

    fn look_at_all(&mut self) -> Step {
        let replies = std::mem::take(&mut *self.replies.lock());
        replies.iter().for_each(|(at, told)| told.iter().for_each(|told| self.ledger.told(*at, told)));
        for written in self.raw.read_on(&self.machine.disk)? {
            self.machine.say(|| format!("commit {}: {} records", written.number, written.parts.len()));
            self.ledger.written(written)?;
        }
        self.ledger.read(self.now());
        for (at, told) in replies {
            self.machine.say(|| format!("operation {at}: {told:?}"));
            match told {
                Ok(told) => self.ledger.answered(at, &told)?,
                Err(why) if crate::checker::is_injected(&why) => {}
                Err(why) => return Err(violated("timers", format!("operation {at} failed: {why}"))),
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

    /// What the tenant says that waits does.
    fn list(&mut self) -> Step {
        self.flush()?;
        if self.machine.disk.is_dead() || self.machine.tenant().refuses_appends().is_some() {
            return Ok(());
        }
        let (mut found, mut after) = (Vec::new(), None);
        let limit = *self.machine.dice.pick(&[1, 7, 1_000]);
        loop {
            match self.machine.tenant().timers(after, limit) {
                Ok(page) => {
                    found.extend(page.timers);
                    after = page.next;
                }
                Err(fault) => return self.machine.tolerate("list", &fault),
            }
            if after.is_none() {
                return self.ledger.listed(&found);
            }
        }
    }
}
