//! The end of a run: everything is checked on what is there.

use super::Simulation;
use crate::FOLDER;
use crate::checker::{self, violated};
use crate::machine::{Step, any_bit};

impl Simulation {
    /// Stops cleanly, and checks everything on what is there: with indexes and snapshots, with damaged ones, and
    /// without.
    pub(super) fn finish(&mut self) -> Step {
        self.machine.disk.heal();
        self.close()?;
        self.open()?;
        self.check_all()?;
        self.close_for_good()?;
        // A spoiled snapshot stays where it is until two newer ones are written.
        if !self.has_spoiled {
            self.check_folder()?;
        }
        for path in self.machine.caches() {
            let len = self.machine.len_of(&path);
            let (offset, bit) = any_bit(&mut self.machine.dice, len);
            self.machine.say(|| format!("flipping bit {bit} at {offset} of {path}"));
            self.machine.disk.flip(&path, offset, bit);
        }
        self.open()?;
        self.check_all()?;
        self.segments = self.machine.tenant().stats().map_or(0, |stats| stats.segments);
        self.close_for_good()?;
        self.machine.say(|| "deleting indexes and snapshots".into());
        self.machine.caches().iter().for_each(|path| self.machine.disk.delete(path));
        self.open()?;
        self.check_all()?;
        self.close_for_good()?;
        self.check_folder()
    }

    fn check_folder(&self) -> Step {
        checker::folder::check(&self.machine.disk, FOLDER, self.log.len() as u64, self.model.commits)
    }

    /// Nothing is injected any more: the stop must succeed.
    pub(super) fn close_for_good(&mut self) -> Step {
        let tenant = self.machine.tenant();
        for following in &mut self.followers {
            following.follower = None;
        }
        self.machine.tenant = None;
        tenant.search_payloads(usize::MAX).map_err(|fault| violated("payloads", fault.to_string()))?;
        tenant.close().map_err(|fault| violated("close", fault.to_string()))
    }

    pub(super) fn check_all(&mut self) -> Step {
        let tenant = self.machine.tenant();
        checker::indexes::check(&tenant, &self.log, &mut self.machine.dice)?;
        for following in &mut self.followers {
            while following.position < tenant.position() {
                following.advance(&tenant, 10)?;
            }
            following.check(&self.log)?;
        }
        Ok(())
    }
}
