//! The life of the process, and the end of a run.

use super::{Step, TimerSimulation};
use crate::RawLog;
use crate::checker::{folder, violated};
use crate::machine::FOLDER;

impl TimerSimulation {
    /// Ends the process in one way or another, and starts the next one.
    pub(super) fn restart(&mut self) -> Step {
        self.calls = self.calls.or_else(|| Some(self.machine.disk.calls()));
        self.machine.end_process()?;
        if self.cut_at.is_none() {
            self.machine.between_processes()?;
        }
        self.open()
    }

    pub(super) fn open(&mut self) -> Step {
        if let Some(call) = self.cut_at.filter(|_| self.machine.opens == 0) {
            match self.machine.open_and_cut(call) {
                Ok(()) => return self.opened(),
                Err(fault) => self.machine.tolerate("open", &fault)?,
            }
            self.calls = Some(self.machine.disk.calls());
            self.machine.cut_power();
        }
        self.machine.open()?;
        self.opened()
    }

    /// What was known is there as it was, and what was answered before too.
    fn opened(&mut self) -> Step {
        self.machine.say(|| format!("open: {} events", self.machine.tenant().position()));
        self.raw = RawLog::default();
        let known = self.ledger.commits();
        self.look_at_all()?;
        if self.raw.commits() < known {
            let found = self.raw.commits();
            return Err(violated("timers", format!("{known} commits were read before, now there are {found}")));
        }
        self.ledger.opened(self.now());
        Ok(())
    }

    /// A stop and a start that knows nothing but the log.
    fn without_caches(&mut self) -> Step {
        self.machine.close()?;
        self.machine.caches().iter().for_each(|path| self.machine.disk.delete(path));
        self.machine.open()?;
        self.opened()
    }

    /// Nothing fails any more, and time passes until nothing waits.
    pub(super) fn end(&mut self) -> Step {
        self.machine.say(|| "the end: everything fires".into());
        if self.cut_at.is_none() && !self.machine.disk.is_dead() {
            self.machine.disk.heal();
            self.flush()?;
        }
        self.restart()?;
        self.list()?;
        if self.machine.dice.chance(50) {
            self.without_caches()?;
            self.list()?;
        }
        self.fire_all()?;
        while let Some(due) = self.ledger.last_due() {
            let ms = (due.0 - self.now().0).max(0) / 1_000 + 1;
            self.advance(ms)?;
        }
        self.ledger.ended()?;
        self.without_caches()?;
        self.advance(3_600_000)?;
        self.list()?;
        self.ledger.ended()?;
        let (events, commits) = (self.ledger.events(), self.ledger.commits());
        self.machine.close()?;
        folder::check(&self.machine.disk, FOLDER, events, commits)
    }
}
