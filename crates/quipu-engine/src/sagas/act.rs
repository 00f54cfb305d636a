//! What people do to an instance.

use std::sync::Arc;

use quipu_domain::REASON_BYTES_MAX;
use quipu_domain::saga::{ActKind, Plan, State, may};

use super::SagaRefusal;
use super::records::InstanceState;
use super::stage::Asked;
use crate::mailbox::Slot;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// What somebody may do to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        let from = match intervention {
            Intervention::Retry { from: Some(step) } => Some(self.step_of_instance(number, step)?),
            _ => None,
        };
        self.act_on_instance(number, intervention.kind(from), reason, 0)
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
        let needs_reason = matches!(act, ActKind::Skip | ActKind::Resolve);
        if reason.len() > REASON_BYTES_MAX || (needs_reason && reason.trim().is_empty()) {
            return Err(SagaRefusal::InvalidReason { limit: REASON_BYTES_MAX }.into());
        }
        let (slot, answer) = Slot::pair();
        let reply = Box::new(move |result| slot.put(result));
        self.ask_sagas(Asked::Act { number, act, reason: reason.to_owned(), operation, reply });
        self.drive_round(&answer);
        answer.take()
    }

    /// The step of an instance's plan that has a name.
    ///
    /// # Errors
    /// [`SagaRefusal::NoInstance`] and [`SagaRefusal::NoStep`].
    pub fn step_of_instance(self: &Arc<Self>, number: u64, step: &str) -> Result<u16, NotDone> {
        let (_, _, ready) = self.instance_and_plan(number)?;
        let found = ready.and_then(|ready| ready.plan.step_named(step));
        found.ok_or_else(|| SagaRefusal::NoStep { step: step.to_owned() }.into())
    }
}
