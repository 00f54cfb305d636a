//! Followers of the simulated log, with filters and positions of their own.

use std::sync::Arc;

use quipu_domain::Filter;
use quipu_engine::{Follower, Tenant};

use super::Simulation;
use crate::checker::{self, violated};
use crate::machine::Step;
use crate::{Logged, workload};

pub(super) struct Following {
    pub filter: Filter,
    after: u64,
    pub position: u64,
    seen: Vec<u64>,
    pub follower: Option<Follower>,
}

impl Simulation {
    pub(super) fn follow(&mut self) -> Step {
        let tenant = self.machine.tenant();
        if self.followers.len() < 4 && self.machine.dice.chance(20) {
            let filter = workload::filter(&mut self.machine.dice, tenant.position());
            let after = self.machine.dice.below(tenant.position() + 1);
            self.followers.push(Following { filter, after, position: after, seen: Vec::new(), follower: None });
        }
        if self.followers.is_empty() {
            return Ok(());
        }
        let at = self.machine.dice.below(self.followers.len() as u64) as usize;
        let limit = *self.machine.dice.pick(&[1, 5, 100]);
        self.followers[at].advance(&tenant, limit)
    }
}

impl Following {
    pub(super) fn advance(&mut self, tenant: &Arc<Tenant>, limit: usize) -> Step {
        let position = self.position;
        let follower = self.follower.get_or_insert_with(|| tenant.follow(self.filter.clone(), position));
        let events = follower.next(limit).map_err(|fault| violated("followers", fault.to_string()))?;
        if events.len() > limit {
            return Err(violated("followers", format!("expected at most {limit} events, found {}", events.len())));
        }
        self.seen.extend(events.iter().map(|event| event.stamp.position));
        if follower.position() < position || follower.position() == position && position < tenant.position() {
            return Err(violated("followers", format!("from {position} it came to {}", follower.position())));
        }
        self.position = follower.position();
        Ok(())
    }

    pub(super) fn check(&self, log: &[Logged]) -> Step {
        checker::followers::check(&self.filter, self.after, self.position, &self.seen, log)
    }
}
