//! The life of the process, and the end of a run.

use std::sync::Arc;

use quipu_domain::saga::ActKind;
use quipu_engine::{Calls, InstanceState};

use super::{SagaSimulation, Step};
use crate::RawLog;
use crate::checker::{folder, violated};
use crate::machine::FOLDER;

/// Far more turns than any run needs.
const TURNS_MAX: u32 = 50_000;

/// They are asked by the simulation.
struct Endpoints;

impl Calls for Endpoints {
    fn may_call(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn wake(&self) {}
}

impl SagaSimulation {
    /// Ends the process in one way or another, and starts the next one.
    pub(super) fn restart(&mut self) -> Step {
        self.disk_calls = self.disk_calls.or_else(|| Some(self.machine.disk.calls()));
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
            self.disk_calls = Some(self.machine.disk.calls());
            self.machine.cut_power();
        }
        self.machine.open()?;
        self.opened()
    }

    /// What was known is there as it was. What endpoints have of the process before is asked for again.
    fn opened(&mut self) -> Step {
        self.machine.say(|| format!("open: {} events", self.machine.tenant().position()));
        self.raw = RawLog::default();
        let known = self.ledger.commits();
        self.look_at_all()?;
        if self.raw.commits() < known {
            let found = self.raw.commits();
            return Err(violated("sagas", format!("{known} commits were read before, now there are {found}")));
        }
        self.calls.clear();
        self.answers.clear();
        self.untold = Arc::default();
        // Whoever makes calls is told of those that are open.
        match self.machine.tenant().on_calls(Arc::new(Endpoints)) {
            Ok(guard) => drop(guard),
            Err(fault) => self.machine.tolerate("calls", &fault)?,
        }
        Ok(())
    }

    /// A stop and a start that knows nothing but the log.
    fn without_caches(&mut self) -> Step {
        self.machine.close()?;
        self.machine.caches().iter().for_each(|path| self.machine.disk.delete(path));
        self.machine.open()?;
        self.opened()
    }

    /// Nothing fails any more, and everybody does what they are asked until nothing moves.
    pub(super) fn end(&mut self) -> Step {
        self.machine.say(|| "the end: everybody does what they are asked".into());
        if self.cut_at.is_none() && !self.machine.disk.is_dead() {
            self.machine.disk.heal();
            self.flush()?;
        }
        self.restart()?;
        if self.machine.dice.chance(50) {
            self.without_caches()?;
        }
        (self.is_draining, self.decisions) = (true, 0);
        self.drain()?;
        self.ledger.ended()?;
        self.told()?;
        let (events, commits) = (self.ledger.events().len() as u64, self.ledger.commits());
        self.without_caches()?;
        self.settle()?;
        if self.ledger.commits() > commits {
            return Err(violated("sagas", "everything had ended, and a start does something".to_owned()));
        }
        self.told()?;
        self.machine.close()?;
        folder::check(&self.machine.disk, FOLDER, events, commits)
    }

    fn drain(&mut self) -> Step {
        for _ in 0..TURNS_MAX {
            self.settle()?;
            let taken = self.machine.tenant().take_calls(usize::MAX);
            self.calls.extend(taken.into_iter().map(|call| (call.number, call.attempt)));
            let open = self.open_instances();
            let of = |state: InstanceState| {
                open.iter().copied().find(|number| self.ledger.instances()[number].status == state)
            };
            let due =
                || open.iter().filter_map(|number| self.ledger.instances()[number].state.due()).map(|due| due.at).min();
            match () {
                () if of(InstanceState::Paused).is_some() => {
                    let number = of(InstanceState::Paused).expect("it is");
                    self.act(number, ActKind::Resume)?;
                }
                () if !self.messages.is_empty() => self.deliver()?,
                () if !self.replies.is_empty() => self.publish()?,
                () if !self.calls.is_empty() => self.call()?,
                () if !self.answers.is_empty() || !self.untold.lock().is_empty() => self.answer()?,
                () if open.is_empty() => return Ok(()),
                () if of(InstanceState::NeedsPerson).is_some() => {
                    let number = of(InstanceState::NeedsPerson).expect("it is");
                    self.decide(number)?;
                }
                () => {
                    let Some(due) = due() else {
                        let states: Vec<_> = open.iter().map(|number| &self.ledger.instances()[number]).collect();
                        return Err(violated("sagas", format!("nothing moves {open:?}: {:?}", states.first())));
                    };
                    let ms = (due.0 - self.now().0).max(0) / 1_000 + 1;
                    let before = self.ledger.commits();
                    self.advance(ms)?;
                    if self.ledger.commits() == before {
                        return Err(violated("sagas", format!("what was due at {due} did not come: {open:?}")));
                    }
                }
            }
        }
        Err(violated("sagas", format!("there is no end: {:?}", self.open_instances())))
    }

    /// What the tenant says of each instance is what the commits say.
    fn told(&mut self) -> Step {
        let tenant = self.machine.tenant();
        for (number, account) in self.ledger.instances() {
            let told = tenant.instance(*number).map_err(|refused| violated("sagas", refused.to_string()))?;
            if told.state != account.status || told.key != account.key {
                let found = (told.state, told.key);
                return Err(violated(
                    "sagas",
                    format!("instance {number} is said to be {found:?}, is {:?}", account.status),
                ));
            }
            let (timeline, skipped) =
                tenant.timeline(*number).map_err(|refused| violated("sagas", refused.to_string()))?;
            if skipped == 0 {
                self.ledger.told(*number, &timeline)?;
            }
        }
        Ok(())
    }
}
