//! The life of the process: injected errors, power cuts, kills and stops, and what the next process finds.

use std::sync::Arc;

use quipu_domain::{Direction, Filter};
use quipu_engine::Tenant;

use super::{DeliverySimulation, Step};
use crate::checker::deliveries::Fact;
use crate::checker::violated;
use crate::{FailedSync, Kind, Trigger};

impl DeliverySimulation {
    pub(super) fn inject(&mut self) {
        self.machine.faults += 1;
        self.machine.disk.heal();
        let call = self.machine.dice.between(1, 20);
        match self.machine.dice.below(5) {
            0 => {
                let outcome = *self.machine.dice.pick(&FailedSync::ALL);
                self.machine.say(|| format!("inject: sync {call} fails, {outcome:?}"));
                self.machine.disk.failed_sync(outcome);
                self.machine.disk.fail(Kind::Sync, Trigger::At(call));
            }
            1 => {
                self.machine.say(|| format!("inject: write {call} fails"));
                self.machine.disk.fail(Kind::Write, Trigger::At(call));
            }
            2 => {
                self.machine.say(|| format!("inject: read {call} fails"));
                self.machine.disk.fail(Kind::Read, Trigger::At(call));
            }
            3 => {
                let bytes = self.machine.disk.bytes() + self.machine.dice.below(8_000);
                self.machine.say(|| format!("inject: room for {bytes} bytes"));
                self.machine.disk.limit_bytes(Some(bytes));
            }
            _ => {
                self.machine.say(|| format!("inject: a power cut at call {call}"));
                self.machine.disk.crash_at(self.machine.disk.calls() + call);
            }
        }
    }

    /// Ends the process in one way or another, and starts the next one.
    pub(super) fn restart(&mut self) -> Step {
        match self.machine.dice.below(3) {
            1 if !self.machine.disk.is_dead() => {
                self.machine.kill();
            }
            2 if !self.machine.disk.is_dead() => self.close()?,
            _ => self.machine.cut_power(),
        }
        if self.machine.own_dice.chance(10) {
            self.machine.tenant = None;
            self.machine.spoil_caches();
        }
        // Sometimes the power fails again while the store recovers.
        self.machine.die_while_opening(20)?;
        self.machine.fail_while_opening(15)?;
        self.open()
    }

    /// Stops the process as it should be stopped.
    pub(super) fn close(&mut self) -> Step {
        self.machine.say(|| "close".into());
        self.checkpoint()?;
        let tenant = self.machine.tenant();
        tenant.settle_deliveries().or_else(|fault| self.machine.tolerate("close", &fault))?;
        self.machine.tenant = None;
        tenant.close().or_else(|fault| self.machine.tolerate("close", &fault))?;
        drop(tenant);
        if self.machine.disk.is_dead() {
            self.machine.cut_power();
        }
        self.machine.disk.heal();
        Ok(())
    }

    pub(super) fn open(&mut self) -> Step {
        let tenant = self.machine.open()?;
        self.machine.say(|| format!("open: {} events", tenant.position()));
        for (name, held) in std::mem::take(&mut self.held) {
            self.old.extend(held.into_iter().map(|(id, token)| (name.clone(), id, token)));
        }
        self.ledger.restarted();
        self.look_at_log()?;
        self.look_at_log_again()?;
        for (position, id) in std::mem::take(&mut self.unseen) {
            self.is_there(position, &id)?;
        }
        self.look_at_letters()?;
        self.look_for_lost_letters()?;
        self.woken.clear();
        self.ledger.names().iter().for_each(|name| self.watch(name));
        Ok(())
    }

    /// Takes what is new in the log to the ledger.
    pub(super) fn look_at_log(&mut self) -> Step {
        let tenant = self.machine.tenant();
        while (self.ledger.log().len() as u64) < tenant.position() {
            let from = self.ledger.log().len() as u64 + 1;
            // What was injected is meant for the engine's work, not for this.
            let page =
                self.without_faults(|tenant| tenant.read(&Filter::default(), Direction::Forward, Some(from), 500));
            match page {
                Ok(page) => {
                    page.events.iter().for_each(|one| self.ledger.published(Fact::of(&one.event(), &one.stamp)));
                }
                Err(fault) if self.machine.disk.is_dead() => return self.machine.tolerate("read", &fault),
                Err(fault) => return Err(violated("read", fault.to_string())),
            }
        }
        Ok(())
    }

    /// What was read before a restart is there after it, in the same place.
    fn look_at_log_again(&mut self) -> Step {
        let (known, position) = (self.ledger.log(), self.machine.tenant().position());
        if position < known.len() as u64 {
            return Err(violated("open", format!("{} events were read before, now there are {position}", known.len())));
        }
        let (mut from, mut compared) = (Some(1), 0);
        while let Some(position) = from {
            let page =
                self.without_faults(|tenant| tenant.read(&Filter::default(), Direction::Forward, Some(position), 500));
            let page = page.map_err(|fault| violated("read", fault.to_string()))?;
            for (one, expected) in page.events.iter().zip(&known[position as usize - 1..]) {
                let found = Fact::of(&one.event(), &one.stamp);
                if found != *expected {
                    return Err(violated("open", format!("expected {expected:?}, found {found:?}")));
                }
                compared += 1;
            }
            from = page.next;
        }
        match compared == known.len() {
            true => Ok(()),
            false => Err(violated("open", format!("expected {} events to read, found {compared}", known.len()))),
        }
    }

    /// Reads without injected errors; what was injected into reads is gone then.
    pub(super) fn without_faults<T>(&self, read: impl FnOnce(&Arc<Tenant>) -> T) -> T {
        self.machine.disk.fail(Kind::Read, Trigger::Never);
        read(&self.machine.tenant())
    }
}
