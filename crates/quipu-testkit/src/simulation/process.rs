//! The life of the process: injected errors, power cuts, kills and stops, and what the next process finds.

use super::Simulation;
use crate::checker::answers::{Left, settle};
use crate::checker::{self, violated};
use crate::machine::Step;
use crate::{FailedSync, Kind, Trigger};

impl Simulation {
    pub(super) fn inject(&mut self) {
        self.machine.faults += 1;
        self.machine.disk.heal();
        match self.machine.dice.below(5) {
            0 | 1 => {
                let outcome = *self.machine.dice.pick(&FailedSync::ALL);
                let call = self.machine.dice.between(1, 3);
                self.machine.say(|| format!("inject: sync {call} fails, {outcome:?}"));
                self.machine.disk.failed_sync(outcome);
                self.machine.disk.fail(Kind::Sync, Trigger::At(call));
            }
            2 => {
                let call = self.machine.dice.between(1, 3);
                self.machine.say(|| format!("inject: write {call} fails"));
                self.machine.disk.fail(Kind::Write, Trigger::At(call));
            }
            3 => {
                // Its answers are awaited at once: which operations were given up must be known before another fault.
                let call = self.machine.dice.between(1, 10);
                self.machine.say(|| format!("inject: read {call} of this turn fails"));
                self.machine.disk.fail(Kind::Read, Trigger::At(call));
                self.machine.tenant().decide();
                self.machine.disk.fail(Kind::Read, Trigger::Never);
                self.machine.tenant().flush();
            }
            _ => {
                let bytes = self.machine.disk.bytes() + self.machine.dice.below(4_000);
                self.machine.say(|| format!("inject: room for {bytes} bytes"));
                self.machine.disk.limit_bytes(Some(bytes));
            }
        }
    }

    /// Ends the process in one way or another, and starts the next one.
    pub(super) fn restart(&mut self) -> Step {
        match self.machine.dice.below(3) {
            1 if !self.machine.disk.is_dead() => self.machine.kill(),
            2 if !self.machine.disk.is_dead() => self.close()?,
            _ => self.machine.cut_power(),
        }
        if self.machine.own_dice.chance(20) {
            self.machine.tenant = None;
            self.rot()?;
        }
        if self.machine.own_dice.chance(10) {
            self.machine.tenant = None;
            self.has_spoiled = true;
            self.machine.spoil_caches();
        }
        // Sometimes the power fails again while the store recovers.
        self.machine.die_while_opening(25)?;
        self.machine.fail_while_opening(15)?;
        self.open()
    }

    pub(super) fn close(&mut self) -> Step {
        let tenant = self.machine.tenant();
        match tenant.close() {
            Ok(()) => self.machine.say(|| "close".into()),
            Err(fault) => self.machine.tolerate("close", &fault)?,
        }
        self.collect()?;
        checker::answered::check(&self.history[self.session..])?;
        drop(tenant);
        self.machine.tenant = None;
        for following in &mut self.followers {
            following.follower = None;
        }
        self.machine.disk.heal();
        if self.machine.dice.chance(50) || self.machine.disk.is_dead() {
            self.machine.cut_power();
        }
        Ok(())
    }

    /// Opens the tenant, finds out what the process before left, and whether that is right.
    pub(super) fn open(&mut self) -> Step {
        for following in &mut self.followers {
            following.follower = None;
        }
        let tenant = self.machine.open()?;
        let log = self.whole_log(&tenant)?;
        let commits = tenant.stats().map_err(|fault| violated("stats", fault.to_string()))?.commits;
        if self.machine.opens == 1 {
            // Those of the store itself.
            self.begin.commits = commits;
        }
        self.machine.say(|| format!("open: {} events, {commits} commits", log.len()));
        if log.len() < self.log.len() || log[..self.log.len()] != self.log {
            return Err(violated("open", format!("{} events were read before, now {}", self.log.len(), log.len())));
        }
        checker::acknowledged::check(&self.history, &log)?;
        checker::whole::check(&self.history, &log)?;
        checker::duplicates::check(&self.history, &log, self.model.window)?;
        checker::linearizable::check(&self.history, &log)?;
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
        if self.machine.dice.chance(20) {
            checker::indexes::check(&tenant, &self.log, &mut self.machine.dice)?;
        }
        Ok(())
    }
}
