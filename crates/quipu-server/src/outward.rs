//! What all that goes out to endpoints has in common, for a tenant: the sender, the gates, and how much may be on its way at once.
//! Webhooks and the calls of sagas share it, so that an endpoint is one whoever calls it.

use std::sync::OnceLock;

use crate::gate::Gates;
use crate::places::Places;
use crate::webhook::{Block, Options, Webhooks};

/// Webhooks and calls in hand at once: each is an event or a body in memory and a connection. Shared by endpoint: one alone has at most
/// 57 of them. Each tenant has as many, so that none stands behind another.
const IN_HAND_MAX: usize = 512;

pub(crate) struct Outward {
    pub gates: Gates,
    pub in_hand: Places,
    allowed: Vec<Block>,
    webhooks: OnceLock<Webhooks>,
}

impl Outward {
    /// Beside public addresses those of the blocks may be called.
    pub fn new(allowed: Vec<Block>) -> Self {
        Self { gates: Gates::default(), in_hand: Places::new(IN_HAND_MAX), allowed, webhooks: OnceLock::new() }
    }

    /// The sender, made when it is needed first: it reads the certificates of the machine, which most servers never use.
    pub fn webhooks(&self) -> &Webhooks {
        self.webhooks.get_or_init(|| {
            let options = Options { allowed: self.allowed.clone(), ..Options::default() };
            Webhooks::new(options).expect("only certificates that were given can be wrong")
        })
    }
}
