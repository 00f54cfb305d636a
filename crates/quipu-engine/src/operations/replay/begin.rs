//! Beginning a replay that was confirmed: the shadow is made that it goes to, and its place stands beside the deliveries.

use std::sync::Arc;

use quipu_domain::Subscription;

use super::preview::{check_target, refused};
use super::{FoldedReplay, REPLAYS_MAX, Replay, ReplayRefusal};
use crate::operations::records::OperationState;
use crate::operations::{OperationRefusal, Operations, Work};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

impl Operations {
    /// The replay that is previewed under a number, if that is one.
    pub(in crate::operations) fn previewed_replay(&self, id: u64) -> Option<Replay> {
        let one = self.get(id).ok().filter(|one| one.state() == OperationState::Previewed)?;
        match &one.folded.work {
            Work::Replay(replay) => Some(replay.as_ref().clone()),
            Work::Redrive { .. } | Work::Discard { .. } | Work::Saga { .. } => None,
        }
    }

    pub(in crate::operations) fn has_room_for_replay(&mut self) -> Result<(), OperationRefusal> {
        let count = self.running().filter(|(_, one)| one.replay.is_some()).count();
        match count < REPLAYS_MAX {
            true => Ok(()),
            false => Err(OperationRefusal::Replay(ReplayRefusal::TooMany { limit: REPLAYS_MAX })),
        }
    }
}

impl Tenant {
    /// Makes the shadow that a replay goes to, if there is to be one. Not while operations are locked: it writes a definition.
    /// Whether it was not there.
    pub(in crate::operations) fn make_shadow(self: &Arc<Self>, replay: &Replay) -> Result<bool, NotDone> {
        let Some(text) = &replay.shadow else { return Ok(false) };
        let definition = serde_json::from_str::<Subscription>(text).map_err(|error| {
            let detail = format!("expected the definition of a shadow, found {error}");
            refused(ReplayRefusal::InvalidShadow { detail })
        })?;
        self.create_subscription(&replay.to, definition)
    }

    /// Puts its place beside the deliveries. From then on the subscription cannot become one that it must not go to.
    pub(in crate::operations) fn enter_replay(&self, id: u64, replay: &Replay) -> Result<(), NotDone> {
        let FoldedReplay { counts, .. } = FoldedReplay::begun(replay);
        self.begin_replay(id, &replay.to, counts, replay.webhooks, |compiled| {
            check_target(&replay.to, compiled, replay.webhooks)
        })
    }
}
