//! Faults that worlds of a whole tenant have in common.

use super::{Machine, Step};
use crate::{FailedSync, Kind, Trigger};

impl Machine {
    /// Injects one fault that comes some calls ahead.
    pub fn inject(&mut self) {
        self.faults += 1;
        self.disk.heal();
        let call = self.dice.between(1, 20);
        match self.dice.below(5) {
            0 => {
                let outcome = *self.dice.pick(&FailedSync::ALL);
                self.say(|| format!("inject: sync {call} fails, {outcome:?}"));
                self.disk.failed_sync(outcome);
                self.disk.fail(Kind::Sync, Trigger::At(call));
            }
            1 => {
                self.say(|| format!("inject: write {call} fails"));
                self.disk.fail(Kind::Write, Trigger::At(call));
            }
            2 => {
                self.say(|| format!("inject: read {call} fails"));
                self.disk.fail(Kind::Read, Trigger::At(call));
            }
            3 => {
                let bytes = self.disk.bytes() + self.dice.below(8_000);
                self.say(|| format!("inject: room for {bytes} bytes"));
                self.disk.limit_bytes(Some(bytes));
            }
            _ => {
                self.say(|| format!("inject: a power cut at call {call}"));
                self.disk.crash_at(self.disk.calls() + call);
            }
        }
    }

    /// What may happen between two processes: somebody spoils caches, and some begin that die or fail while they open.
    pub fn between_processes(&mut self) -> Step {
        if self.own_dice.chance(10) {
            self.tenant = None;
            self.spoil_caches();
        }
        // Sometimes the power fails again while the store recovers.
        self.die_while_opening(20)?;
        self.fail_while_opening(15)
    }

    /// Ends the process in one way or another.
    pub fn end_process(&mut self) -> Step {
        match self.dice.below(3) {
            1 if !self.disk.is_dead() => self.kill(),
            2 if !self.disk.is_dead() => return self.close(),
            _ => self.cut_power(),
        }
        Ok(())
    }

    /// Stops the process as it should be stopped.
    pub fn close(&mut self) -> Step {
        self.say(|| "close".into());
        let tenant = self.tenant();
        self.tenant = None;
        tenant.close().or_else(|fault| self.tolerate("close", &fault))?;
        drop(tenant);
        if self.disk.is_dead() {
            self.cut_power();
        }
        self.disk.heal();
        Ok(())
    }
}
