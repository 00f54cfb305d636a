//! A backup is taken while the tenant runs, which goes on meanwhile, whatever is in the making. The copy opens, and holds
//! the log as it was at one commit: no less than what was durable when it began.

use std::sync::Arc;

use quipu_engine::{Tenant, World};

use super::Simulation;
use crate::checker::pages::read_log;
use crate::checker::violated;
use crate::machine::Step;
use crate::{FOLDER, FaultyDisk, SeededRandom, VirtualClock};

const NAME: &str = "backup";

impl Simulation {
    pub(super) fn backup(&mut self) -> Step {
        let durable = self.machine.tenant().position();
        let target = FaultyDisk::new(self.machine.own_dice.roll());
        let (source, mut meanwhile) = (self.machine.disk.clone(), Ok(()));
        let report = quipu_store::backup(&source, FOLDER, &target, &mut |_, _| {
            if meanwhile.is_ok() && self.machine.own_dice.chance(30) {
                meanwhile = self.go_on();
            }
        })
        .map_err(|fault| violated(NAME, fault.to_string()))?;
        meanwhile?;
        self.machine.say(|| format!("backup: {} events", report.check.events));
        if let Some(problem) = report.check.problems.first() {
            return Err(violated(NAME, format!("the copy is damaged: {problem}")));
        }
        // Whoever has a backup has it on a disk that may lose its power.
        let world = World {
            storage: Arc::new(target.crash_and_recover(self.machine.own_dice.roll())),
            clock: Arc::<VirtualClock>::clone(&self.machine.clock),
            random: Arc::new(SeededRandom::new(self.machine.own_dice.roll())),
        };
        let copy = Tenant::open(&world, FOLDER, self.machine.options.clone())
            .map_err(|fault| violated(NAME, format!("the copy does not open: {fault}")))?;
        let log = read_log(&copy)?;
        let known = self.whole_log(&self.machine.tenant())?;
        let begins_alike = log.iter().zip(&known).all(|(copied, known)| copied == known);
        if (log.len() as u64) < durable || log.len() as u64 != report.check.events || !begins_alike {
            return Err(violated(NAME, format!("{durable} events were durable, the copy has {}", log.len())));
        }
        Ok(())
    }

    /// What the tenant does between two pieces of a backup. Errors that are injected into it are of writing, which the
    /// backup does elsewhere, but for a power cut, which ends both.
    fn go_on(&mut self) -> Step {
        for _ in 0..self.machine.own_dice.below(5) {
            match self.machine.own_dice.below(40) {
                0..20 => self.submit()?,
                20..30 => _ = self.machine.tenant().decide(),
                30..35 => _ = self.machine.tenant().flush(),
                35..38 => self.unless_failed(FaultyDisk::failed, Self::maintain)?,
                38 => self.machine.cut_power_soon(),
                _ => self.inject(),
            }
            self.collect()?;
        }
        Ok(())
    }
}
