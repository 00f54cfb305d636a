//! How the pushing of a subscription is, for whoever asks why nothing moves; and why one that pushes is not made.

use std::fmt;

use quipu_api::{Code, Problem};
use quipu_domain::Timestamp;
use quipu_domain::delivery::CircuitState;
use quipu_engine::{Fault, NotDone};

use super::plan::Plan;
use super::shared::Shared;
use crate::refusal;
use crate::webhook::{InvalidSecret, RefusedEndpoint, Secret};

/// How the pushing of a subscription is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Scheme, host and port of the endpoint; unknown if it is not called.
    pub endpoint: Option<String>,
    /// Whether it is tried.
    pub circuit: CircuitState,
    /// When the rate limit of the endpoint lets the next one go, if it holds one back.
    pub limited_until: Option<Timestamp>,
    /// Deliveries that were taken and are not answered yet.
    pub in_hand: usize,
    /// Whether as many webhooks are on their way to the endpoint, from whatever subscription, as may be.
    pub is_crowded: bool,
    /// Why this server does not push it, if it does not: a sentence.
    pub held: Option<String>,
}

impl Standing {
    fn still(sentence: String) -> Self {
        Self {
            endpoint: None,
            circuit: CircuitState::Closed,
            limited_until: None,
            in_hand: 0,
            is_crowded: false,
            held: Some(sentence),
        }
    }

    pub(super) fn held(reason: &str) -> Self {
        Self::still(format!("It is not pushed: {reason}."))
    }

    pub(super) fn paused(reason: Option<&str>) -> Self {
        Self::still(reason.map_or("It is paused; resume it.".into(), |reason| format!("It is paused: {reason}.")))
    }

    pub(super) fn of(plan: &Plan, shared: &Shared) -> Self {
        let has_secret = !shared.secrets.list(&plan.name).is_empty();
        let no_secret = "It is not pushed: it has no secret, and nothing is sent unsigned; make one.";
        Self {
            endpoint: Some(plan.endpoint.to_string()),
            circuit: plan.gate().circuit(),
            limited_until: plan.gate().limited(shared.tenant.now()),
            in_hand: plan.in_hand(),
            is_crowded: !shared.outward.in_hand.may_take(&plan.origin),
            held: (!has_secret).then(|| no_secret.to_owned()),
        }
    }

    /// Why nothing is pushed now, in one sentence; nothing if nothing stands against it.
    pub fn sentence(&self) -> Option<String> {
        let endpoint = self.endpoint.as_deref().unwrap_or("the endpoint");
        if let Some(held) = &self.held {
            return Some(held.clone());
        }
        match (self.circuit, self.limited_until) {
            (CircuitState::Open { until }, _) => {
                Some(format!("The circuit of {endpoint} is open: it failed, and is tried again at {until}."))
            }
            (CircuitState::Probing, _) => {
                Some(format!("The circuit of {endpoint} is probing: one webhook is on its way and decides."))
            }
            (CircuitState::Closed, Some(until)) => {
                Some(format!("The rate limit of {endpoint} lets the next webhook go at {until}."))
            }
            (CircuitState::Closed, None) => None,
        }
    }
}

/// What became of making a subscription.
#[derive(Clone, Debug)]
pub struct Created {
    /// Whether it was not there before.
    pub is_new: bool,
    /// The secret that was made for it, to be shown once.
    pub secret: Option<Secret>,
}

/// Why a subscription that pushes is not made or changed.
#[derive(Debug)]
pub enum NotMade {
    /// The secret is none.
    Secret(InvalidSecret),
    /// The endpoint may not be called.
    Endpoint(RefusedEndpoint),
    /// The subscription does not push.
    DoesNotPush,
    /// The subscription is there, and its newest secret is another than the one that was given.
    OtherSecret {
        /// Its name.
        name: String,
    },
    /// The engine refuses, or fails.
    NotDone(NotDone),
}

impl NotMade {
    /// What the public is told of it; `prefix` is where `push` stands in the body.
    pub fn problem(self, prefix: &str) -> Problem {
        let of = |code, detail: String, member: &str| {
            Problem::new(code, detail).with("pointer", format!("{prefix}/{member}"))
        };
        match self {
            Self::Secret(invalid) => of(Code::InvalidSecret, invalid.to_string(), "secret"),
            Self::Endpoint(RefusedEndpoint::Url(invalid)) => of(Code::InvalidUrl, invalid.to_string(), "url"),
            Self::Endpoint(RefusedEndpoint::Address(refused)) => of(Code::AddressRefused, refused.to_string(), "url"),
            Self::OtherSecret { ref name } => {
                of(Code::SubscriptionExists, self.to_string(), "secret").with("name", name.as_str())
            }
            Self::DoesNotPush => {
                Problem::new(Code::InvalidRequest, "expected a subscription that pushes, found one without push")
            }
            Self::NotDone(not_done) => refusal::not_done(&not_done),
        }
    }
}

impl fmt::Display for NotMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(invalid) => invalid.fmt(f),
            Self::Endpoint(refused) => refused.fmt(f),
            Self::DoesNotPush => f.write_str("expected a subscription that pushes, found one without push"),
            Self::OtherSecret { name } => {
                write!(f, "a subscription {name} exists and has another secret; leave it out, or replace the secret")
            }
            Self::NotDone(not_done) => not_done.fmt(f),
        }
    }
}

impl std::error::Error for NotMade {}

impl From<InvalidSecret> for NotMade {
    fn from(invalid: InvalidSecret) -> Self {
        Self::Secret(invalid)
    }
}

impl From<RefusedEndpoint> for NotMade {
    fn from(refused: RefusedEndpoint) -> Self {
        Self::Endpoint(refused)
    }
}

impl From<NotDone> for NotMade {
    fn from(not_done: NotDone) -> Self {
        Self::NotDone(not_done)
    }
}

impl From<Fault> for NotMade {
    fn from(fault: Fault) -> Self {
        Self::NotDone(fault.into())
    }
}
