//! What people do to an instance.

use std::sync::Arc;

use quipu_domain::REASON_BYTES_MAX;
use quipu_domain::saga::{ActKind, InstanceState, Plan, State, may};
use serde::{Deserialize, Serialize};

use super::SagaRefusal;
use super::stage::{ActAsked, Asked};
use crate::mailbox::Slot;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// What somebody may do to an instance. New ones are added at the end, since operations are written with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intervention {
    /// Undoes what was done, and ends.
    Cancel,
    /// Stops it for a while.
    Pause,
    /// Lets it go on.
    Resume,
    /// Tries again what a person is asked about, or goes on again from a step.
    Retry {
        /// The name of the step.
        from: Option<String>,
    },
    /// Goes on without what a person is asked about. It needs a reason.
    Skip,
    /// Takes what a person is asked about as done by hand. It needs a reason.
    Resolve,
}

impl Intervention {
    const ALL: [Self; 6] =
        [Self::Cancel, Self::Pause, Self::Resume, Self::Retry { from: None }, Self::Skip, Self::Resolve];

    /// The word of it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry { .. } => "retry",
            Self::Skip => "skip",
            Self::Resolve => "resolve",
        }
    }

    /// The words of those that fit how an instance stands.
    pub(super) fn that_fit(plan: &Plan, state: &State) -> Vec<&'static str> {
        let fits = |one: &&Self| may(plan, state, one.kind(None)).is_ok();
        Self::ALL.iter().filter(fits).map(Self::as_str).collect()
    }

    /// Whether it fits how an instance stands.
    pub(super) fn fits(&self, plan: &Plan, state: &State) -> bool {
        self.of_plan(plan).is_ok_and(|act| may(plan, state, act).is_ok())
    }

    /// What it is to instances of a plan.
    pub(super) fn of_plan(&self, plan: &Plan) -> Result<ActKind, SagaRefusal> {
        let Self::Retry { from: Some(step) } = self else { return Ok(self.kind(None)) };
        let from = plan.step_named(step).ok_or_else(|| SagaRefusal::NoStep { step: step.clone() })?;
        Ok(self.kind(Some(from)))
    }

    /// Whether it has a reason, if it needs one, and none that is too long.
    pub(crate) fn check_reason(&self, reason: &str) -> Result<(), SagaRefusal> {
        check_reason(self.kind(None), reason)
    }

    fn kind(&self, from: Option<u16>) -> ActKind {
        match self {
            Self::Cancel => ActKind::Cancel,
            // The stage says where it is.
            Self::Pause => ActKind::Pause { place: 0 },
            Self::Resume => ActKind::Resume,
            Self::Retry { .. } => ActKind::Retry { from },
            Self::Skip => ActKind::Skip,
            Self::Resolve => ActKind::Resolve,
        }
    }
}

fn check_reason(act: ActKind, reason: &str) -> Result<(), SagaRefusal> {
    let needs_reason = matches!(act, ActKind::Skip | ActKind::Resolve);
    if reason.len() > REASON_BYTES_MAX || (needs_reason && reason.trim().is_empty()) {
        return Err(SagaRefusal::InvalidReason { limit: REASON_BYTES_MAX });
    }
    Ok(())
}

impl Tenant {
    /// Intervenes in an instance. How it stands then.
    ///
    /// # Errors
    /// [`SagaRefusal::NoInstance`], [`SagaRefusal::NoStep`], [`SagaRefusal::NotPossible`] and [`SagaRefusal::InvalidReason`].
    pub fn intervene(
        self: &Arc<Self>,
        number: u64,
        intervention: &Intervention,
        reason: &str,
    ) -> Result<InstanceState, NotDone> {
        let act = self.act_of(number, intervention)?;
        self.act_on_instance(number, act, reason, 0)
    }

    /// The same; `operation` is that which does it for many, 0 without one.
    ///
    /// # Errors
    /// [`SagaRefusal::NoInstance`], [`SagaRefusal::NotPossible`] and [`SagaRefusal::InvalidReason`].
    pub fn act_on_instance(
        self: &Arc<Self>,
        number: u64,
        act: ActKind,
        reason: &str,
        operation: u64,
    ) -> Result<InstanceState, NotDone> {
        check_reason(act, reason)?;
        let (slot, answer) = Slot::pair();
        let reply = Box::new(move |result| slot.put(result));
        self.ask_sagas(Asked::Act(ActAsked { number, act, reason: reason.to_owned(), operation, reply }));
        self.drive_round(&answer);
        answer.take()
    }

    /// What an intervention is to an instance.
    pub(super) fn act_of(self: &Arc<Self>, number: u64, intervention: &Intervention) -> Result<ActKind, NotDone> {
        let Intervention::Retry { from: Some(step) } = intervention else { return Ok(intervention.kind(None)) };
        let (_, _, ready) = self.instance_and_plan(number)?;
        let no_step = || SagaRefusal::NoStep { step: step.clone() };
        Ok(intervention.of_plan(&ready.ok_or_else(no_step)?.plan)?)
    }
}
