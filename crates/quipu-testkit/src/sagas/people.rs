//! Those who look: they intervene now and then, and decide about what they are asked.

use quipu_domain::saga::{ActKind, Status, may};
use quipu_engine::{InstanceState, NotDone};

use super::{SagaSimulation, Step};
use crate::checker::violated;

/// So often do people try, then they settle it.
const PATIENCE: u64 = 40;

impl SagaSimulation {
    /// Somebody does something to an instance, whether it fits or not.
    pub(super) fn intervene(&mut self) -> Step {
        let open: Vec<u64> = self.open_instances();
        if open.is_empty() || self.is_down() {
            return Ok(());
        }
        let number = *self.machine.dice.pick(&open);
        let act = match self.machine.dice.below(12) {
            0 => ActKind::Cancel,
            1 => ActKind::Pause { place: 0 },
            2..6 => ActKind::Resume,
            _ => return self.decide(number),
        };
        self.act(number, act)
    }

    pub(super) fn open_instances(&self) -> Vec<u64> {
        let open = self.ledger.instances().iter().filter(|(_, account)| !account.status.is_ended());
        open.map(|(number, _)| *number).collect()
    }

    /// A person decides about what is asked first.
    pub(super) fn decide(&mut self, number: u64) -> Step {
        if self.ledger.instances()[&number].state.status() != Some(Status::NeedsPerson) {
            return Ok(());
        }
        self.decisions += 1;
        let choice =
            if self.is_draining && self.decisions > PATIENCE { self.decisions % 2 } else { self.machine.dice.below(5) };
        let act = match choice {
            0 => ActKind::Skip,
            1 => ActKind::Resolve,
            2 => {
                let nodes = self.ledger.plan_of(number).expect("it is there").plan.len() as u64;
                ActKind::Retry { from: Some(self.machine.dice.below(nodes) as u16) }
            }
            _ => ActKind::Retry { from: None },
        };
        self.act(number, act)
    }

    pub(super) fn act(&mut self, number: u64, act: ActKind) -> Step {
        // What was decided and is not durable is not known here.
        self.settle()?;
        if self.is_down() {
            return Ok(());
        }
        let account = &self.ledger.instances()[&number];
        let plan = &self.ledger.plan_of(number).expect("it is there").plan;
        let fits = may(plan, &account.state, act);
        let outcome = self.machine.tenant().act_on_instance(number, act, "as somebody decided", 0);
        self.machine.say(|| format!("instance {number}, {act:?}: {:?}", outcome.as_ref().map_err(ToString::to_string)));
        self.flush()?;
        match (outcome, fits) {
            // The disk that died since cannot be read.
            (Ok(_), Ok(())) if self.is_down() => Ok(()),
            (Ok(state), Ok(())) => self.stands_at_least(number, state),
            (Err(NotDone::RefusedSaga(_)), Err(_)) => Ok(()),
            (Err(NotDone::Failed(fault)), _) => self.machine.tolerate("act", &fault),
            (outcome, fits) => {
                let detail = format!("instance {number}: {act:?} fits: {fits:?}, and came to {outcome:?}");
                Err(violated("sagas", detail))
            }
        }
    }

    /// What was answered is on the disk.
    fn stands_at_least(&self, number: u64, state: InstanceState) -> Step {
        let found = self.ledger.instances()[&number].status;
        // More may have come in the same round or the next.
        let is_over = state.is_ended() && !found.is_ended() && found != InstanceState::Compensating;
        match is_over {
            true => Err(violated("sagas", format!("instance {number} is said to be {state:?}, and is {found:?}"))),
            false => Ok(()),
        }
    }
}
