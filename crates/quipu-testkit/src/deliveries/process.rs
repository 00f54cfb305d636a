//! The life of the process: injected errors, power cuts, kills and stops, and what the next process finds.

use std::sync::Arc;

use quipu_domain::{Direction, Filter};
use quipu_engine::{Fault, Tenant, World};

use super::{DeliverySimulation, Step};
use crate::checker::deliveries::Fact;
use crate::checker::violated;
use crate::{FOLDER, FailedSync, Kind, Trigger, VirtualClock};

impl DeliverySimulation {
    pub(super) fn inject(&mut self) {
        self.report.faults += 1;
        self.heal();
        let call = self.dice.between(1, 20);
        match self.dice.below(5) {
            0 => {
                let outcome = *self.dice.pick(&[FailedSync::StayDirty, FailedSync::Dropped, FailedSync::Clean]);
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

    pub(super) fn heal(&self) {
        for kind in [Kind::Read, Kind::Write, Kind::Sync] {
            self.disk.fail(kind, Trigger::Never);
        }
        self.disk.limit_bytes(None);
        self.disk.crash_at(u64::MAX);
    }

    /// Ends the process in one way or another, and starts the next one.
    pub(super) fn restart(&mut self) -> Step {
        match self.dice.below(3) {
            1 if !self.disk.is_dead() => {
                self.say(|| "kill".into());
                self.disk = self.disk.kill();
            }
            2 if !self.disk.is_dead() => self.close()?,
            _ => self.cut_power(),
        }
        self.tenant = None;
        // Sometimes the power fails again while the store recovers.
        while self.dice.chance(20) {
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

    /// Stops the process as it should be stopped.
    pub(super) fn close(&mut self) -> Step {
        self.say(|| "close".into());
        self.checkpoint()?;
        let tenant = self.tenant();
        self.tenant = None;
        tenant.close().or_else(|fault| self.tolerate("close", &fault))?;
        drop(tenant);
        if self.disk.is_dead() {
            self.cut_power();
        }
        self.heal();
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

    pub(super) fn open(&mut self) -> Step {
        self.heal();
        self.report.opens += 1;
        let tenant = self.open_tenant().map_err(|fault| violated("open", fault.to_string()))?;
        self.say(|| format!("open: {} events", tenant.position()));
        self.tenant = Some(tenant);
        for (name, held) in std::mem::take(&mut self.held) {
            self.old.extend(held.into_iter().map(|(id, token)| (name.clone(), id, token)));
        }
        self.ledger.restarted();
        self.look_at_log()?;
        self.look_at_letters()?;
        self.look_for_lost_letters()?;
        self.woken.clear();
        self.ledger.names().iter().for_each(|name| self.watch(name));
        Ok(())
    }

    /// Takes what is new in the log to the ledger.
    pub(super) fn look_at_log(&mut self) -> Step {
        let tenant = self.tenant();
        while (self.ledger.log().len() as u64) < tenant.position() {
            let from = self.ledger.log().len() as u64 + 1;
            // What was injected is meant for the engine's work, not for this.
            let page =
                self.without_faults(|tenant| tenant.read(&Filter::default(), Direction::Forward, Some(from), 500));
            match page {
                Ok(page) => {
                    page.events.iter().for_each(|one| self.ledger.published(Fact::of(&one.event(), &one.stamp)));
                }
                Err(fault) if self.disk.is_dead() => return self.tolerate("read", &fault),
                Err(fault) => return Err(violated("read", fault.to_string())),
            }
        }
        Ok(())
    }

    /// Reads without injected errors; what was injected into reads is gone then.
    pub(super) fn without_faults<T>(&self, read: impl FnOnce(&Arc<Tenant>) -> T) -> T {
        self.disk.fail(Kind::Read, Trigger::Never);
        read(&self.tenant())
    }
}
