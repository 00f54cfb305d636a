//! A backup is taken while the tenant runs, whatever is in the making. The copy opens, and holds the log as it was at
//! one commit: no less than what was durable when it began.

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
        self.machine.disk.heal();
        let report = quipu_store::backup(&self.machine.disk, FOLDER, &target, &mut |_, _| {})
            .map_err(|fault| violated(NAME, fault.to_string()))?;
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
        let begins_alike = log.iter().zip(&self.log).all(|(copied, known)| copied == known);
        if (log.len() as u64) < durable || log.len() as u64 != report.check.events || !begins_alike {
            return Err(violated(NAME, format!("{durable} events were durable, the copy has {}", log.len())));
        }
        Ok(())
    }
}
