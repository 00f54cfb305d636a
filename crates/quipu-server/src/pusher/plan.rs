//! What a subscription pushes and how, as its definition says: checked, and with a seat at its endpoint's gate. A changed
//! definition is another plan; what an old one has not sent yet goes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quipu_domain::{PushMode, Subscription};
use quipu_engine::Tenant;
use tokio::sync::Semaphore;

use crate::gate::{Gate, Gates, Seat};
use crate::webhook::{Endpoint, Webhooks};

/// Webhooks of one subscription that are on their way at once. Enough for 1,000 a second at an answer in 32 ms; how many
/// of those an endpoint may take from the others is said by [`crate::places`].
const WIDTH_MAX: usize = 32;

pub(super) struct Plan {
    pub name: Arc<str>,
    /// By which deliveries have to be handed out to be sent by this plan.
    definition: Arc<Subscription>,
    pub endpoint: Endpoint,
    /// What places are shared by, and gates.
    pub origin: String,
    /// As the definition has it.
    pub url: String,
    pub mode: PushMode,
    pub timeout: Duration,
    /// Whether what the endpoint answers is appended.
    pub answers: bool,
    /// A permit for each delivery that may be in hand.
    pub width: Arc<Semaphore>,
    pub width_max: usize,
    seat: Seat,
    is_over: AtomicBool,
}

impl Plan {
    /// Nothing for a subscription that does not push now.
    ///
    /// # Errors
    /// Why this server cannot push it, in words.
    pub fn new(
        name: &str,
        definition: &Arc<Subscription>,
        webhooks: &Webhooks,
        gates: &Gates,
    ) -> Result<Option<Self>, String> {
        let Some(push) = definition.push.as_ref().filter(|_| !definition.paused) else { return Ok(None) };
        let endpoint = webhooks.endpoint(&push.url).map_err(|refused| refused.to_string())?;
        let width_max = WIDTH_MAX.min(definition.max_in_flight as usize).max(1);
        let origin = endpoint.origin();
        Ok(Some(Self {
            name: name.into(),
            definition: Arc::clone(definition),
            seat: gates.seat(&origin, push.rate_limit),
            endpoint,
            origin,
            url: push.url.clone(),
            mode: push.mode,
            timeout: Duration::from_millis(push.timeout_ms),
            answers: definition.answers,
            width: Arc::new(Semaphore::new(width_max)),
            width_max,
            is_over: AtomicBool::new(false),
        }))
    }

    /// Whether this is still what the subscription's definition says. It is another as soon as somebody was told that he
    /// changed it, and another subscription may have the name; the next plan comes a little later.
    pub fn is_current(&self, tenant: &Tenant) -> bool {
        tenant.definition(&self.name).is_ok_and(|definition| Arc::ptr_eq(&definition, &self.definition))
    }

    pub fn gate(&self) -> &Arc<Gate> {
        self.seat.gate()
    }

    /// Deliveries that were taken and are not answered yet.
    pub fn in_hand(&self) -> usize {
        self.width_max - self.width.available_permits()
    }

    /// From now on nothing more is sent by it.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plan({} to {})", self.name, self.endpoint)
    }
}
