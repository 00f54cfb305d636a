//! Sagas, rules and expectations: followers whose states, outgoing events and place are in one commit, so that no crash can split
//! them.
//!
//! Beside the loop stands one *stage* a tenant. It reads events that are durable, asks the plans, and hands the loop what a round
//! came to: places, states and commands, which the loop writes as one commit ([`crate::mailbox::Input::Step`]). One round is between
//! the mailbox and the disk at most, so no instance is stepped twice at once. What memory knows of instances is the fold; whatever
//! else the stage remembers is made from it and may be dropped at any time.

mod act;
mod call;
mod catch_up;
mod check;
mod code;
mod define;
mod follow;
mod list;
mod many;
mod mapping;
mod origin;
mod ready;
mod records;
mod refusal;
mod round;
mod stage;
mod whatif;

pub use act::Intervention;
pub use call::{CallAnswer, CallRequest, CallState, Calls, CallsGuard, SagaCall};
pub use code::{CodeInput, SagaCode};
pub use define::Applied;
pub use list::{InstanceFilter, InstanceInfo, InstancePage, PlanInfo, SentEvent, TimelineEntry};
pub(crate) use many::HandedOver;
pub use quipu_domain::saga::{CALL_ANSWERED, InstanceState};
pub(crate) use records::FoldedSagas;
pub use records::{Declaration, DeclarationKind, PlanName};
pub use refusal::SagaRefusal;
pub(crate) use stage::{Sagas, StepCommit};
pub use whatif::{
    WHAT_IF_BYTES_MAX, WHAT_IF_INSTANCES_MAX, WHAT_IF_LISTED_MAX, WhatIf, WhatIfDifference, WhatIfVerdict,
};

/// Most sagas, rules and expectations of a tenant: each event is asked whether one of them wants it.
const PLANS_MAX: usize = 1_000;
/// Most plans of one name that are kept since instances are open that began with them.
const VERSIONS_MAX: usize = 100;
/// Most open instances: beyond it the stage waits before an event that would begin another. About 300 bytes of memory each.
pub const SAGA_INSTANCES_MAX: u64 = 1_000_000;
/// Most ended instances that are remembered, and for how long, milliseconds: what comes late is recognised for as long.
pub const SAGA_ENDED_MAX: usize = 200_000;
/// See [`SAGA_ENDED_MAX`].
pub const SAGA_ENDED_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
