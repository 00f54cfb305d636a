//! The life of the process: injected errors, power cuts, kills and stops, and what the next process finds.

use std::sync::Arc;

use quipu_domain::{Direction, Filter};
use quipu_engine::Tenant;

use super::{DeliverySimulation, Step};
use crate::checker::deliveries::Fact;
use crate::checker::violated;
use crate::{Kind, Trigger};

impl DeliverySimulation {
    /// Ends the process in one way or another, and starts the next one.
    pub(super) fn restart(&mut self) -> Step {
        match self.machine.dice.below(3) {
            1 if !self.machine.disk.is_dead() => {
                self.machine.kill();
            }
            2 if !self.machine.disk.is_dead() => self.close()?,
            _ => self.machine.cut_power(),
        }
        self.machine.between_processes()?;
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
        self.look_at_log_from(1)?;
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
        self.look_at_log_from(self.ledger.log().len() as u64 + 1)
    }

    /// Reads the log from a position on: what is known is still there, in the same place, and what is new is for the ledger.
    fn look_at_log_from(&mut self, first: u64) -> Step {
        let (known, end) = (self.ledger.log().len() as u64, self.machine.tenant().position());
        if end < known {
            return Err(violated("open", format!("{known} events were read before, now there are {end}")));
        }
        let mut next = first;
        while next <= end {
            // What was injected is meant for the engine's work, not for this.
            let page =
                self.without_faults(|tenant| tenant.read(&Filter::default(), Direction::Forward, Some(next), 500));
            let page = match page {
                Ok(page) if !page.events.is_empty() => page,
                Ok(_) => return Err(violated("read", format!("expected an event at {next}, the log ends at {end}"))),
                Err(fault) if self.machine.disk.is_dead() => return self.machine.tolerate("read", &fault),
                Err(fault) => return Err(violated("read", fault.to_string())),
            };
            for one in &page.events {
                let found = Fact::of(&one.event(), &one.stamp);
                match self.ledger.log().get(next as usize - 1) {
                    Some(expected) if found != *expected => {
                        return Err(violated("open", format!("expected {expected:?}, found {found:?}")));
                    }
                    Some(_) => {}
                    None => self.ledger.published(found),
                }
                next += 1;
            }
        }
        Ok(())
    }

    /// Reads without injected errors; what was injected into reads is gone then.
    pub(super) fn without_faults<T>(&self, read: impl FnOnce(&Arc<Tenant>) -> T) -> T {
        self.machine.disk.fail(Kind::Read, Trigger::Never);
        read(&self.machine.tenant())
    }
}
