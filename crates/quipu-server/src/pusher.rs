//! Subscriptions that push: one lane each, that takes deliveries from the engine and sends them to the subscription's
//! endpoint. The engine decides what is next, when it is tried again and when it is given up; `webhook` says what goes over
//! the wire. Here they meet: how much at once, when an endpoint is left alone, and with which secrets.
//!
//! Lanes follow definitions: one begins when a subscription with `push` is made or resumed, and ends with it.

mod attempt;
mod command;
mod gone;
mod lane;
mod plan;
mod shared;
mod standing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quipu_domain::delivery::CircuitState;
use quipu_domain::{Subscription, is_subscription_name};
use quipu_engine::{DefinitionGuard, Fault, NotDone, PlanName, SagaRefusal, SubscriptionRefusal, Tenant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use standing::{Created, NotMade, Standing};

use crate::outward::Outward;
use crate::secrets::{OF_SAGA, SecretInfo, Secrets};
use crate::webhook::{Block, Endpoint, Secret};
use plan::Plan;
use shared::Shared;

/// Pushes for a tenant, and makes the subscriptions that push.
pub struct Pushers {
    shared: Arc<Shared>,
    lanes: Mutex<HashMap<String, Lane>>,
    /// A subscription and its secret are made and deleted together.
    changing: Mutex<()>,
    /// Subscriptions whose lane has to be looked at.
    changed: mpsc::UnboundedSender<String>,
    begin: Mutex<Option<Begin>>,
    _follows: DefinitionGuard,
}

/// What there is to begin with, and what comes after it.
struct Begin {
    definitions: Vec<(String, Arc<Subscription>)>,
    changes: mpsc::UnboundedReceiver<String>,
}

/// A subscription that pushes, or would.
enum Lane {
    Pushing(watch::Sender<Option<Arc<Plan>>>),
    /// This server cannot push it, and why.
    Held(String),
}

impl Pushers {
    /// Makes ready to push for a tenant; beside public addresses those of the blocks may be called. [`Pushers::run`]
    /// begins to.
    ///
    /// # Errors
    /// The secrets of the tenant cannot be read.
    pub fn open(tenant: Arc<Tenant>, allowed: Vec<Block>) -> Result<Arc<Self>, Fault> {
        let secrets = Arc::new(Secrets::open(Arc::clone(&tenant))?);
        let (changed, changes) = mpsc::unbounded_channel();
        let told = changed.clone();
        // Before the first look, so that nothing is missed in between.
        let follows = tenant.on_definition(move |name| {
            // Nobody looks at it any more when the server stops.
            let _ = told.send(name.to_owned());
        });
        // Whoever deleted a subscription or a saga may have been killed before its secrets were forgotten.
        let is_there = |name: &str| match name.strip_prefix(OF_SAGA) {
            Some(saga) => {
                !matches!(tenant.saga(&PlanName::saga(saga)), Err(NotDone::RefusedSaga(SagaRefusal::NotFound { .. })))
            }
            None => tenant.definition(name).is_ok(),
        };
        if let Err(fault) = secrets.keep(is_there) {
            tracing::warn!(%fault, "cannot forget the secrets of what was deleted");
        }
        let definitions = tenant.subscriptions().into_iter().map(|info| (info.name, info.definition)).collect();
        Ok(Arc::new(Self {
            shared: Arc::new(Shared::new(tenant, secrets, Arc::new(Outward::new(allowed)))),
            lanes: Mutex::default(),
            changing: Mutex::default(),
            changed,
            begin: Mutex::new(Some(Begin { definitions, changes })),
            _follows: follows,
        }))
    }

    /// Pushes until `stopping` is ready; then takes nothing more, and waits at most `patience` for what is on its way.
    /// What has no answer then is sent again after a restart. Called once.
    pub async fn run(self: Arc<Self>, stopping: impl Future<Output = ()>, patience: Duration) {
        let Some(Begin { definitions, mut changes }) = lock(&self.begin).take() else { return };
        let mut lanes = JoinSet::new();
        definitions.iter().for_each(|(name, definition)| self.follow(name, Some(definition), &mut lanes));
        let mut stopping = std::pin::pin!(stopping);
        loop {
            tokio::select! {
                () = &mut stopping => break,
                Some(name) = changes.recv() => {
                    let definition = self.definition(&name).await;
                    self.follow(&name, definition.as_ref(), &mut lanes);
                }
                Some(_) = lanes.join_next() => {}
            }
        }
        self.shared.stop();
        lock(&self.lanes).clear();
        let finished = async { while lanes.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, finished).await.is_err() {
            tracing::warn!("webhooks were still on their way at the end of the drain timeout; they are sent again");
        }
    }

    async fn definition(&self, name: &str) -> Option<Arc<Subscription>> {
        let (tenant, name) = (Arc::clone(&self.shared.tenant), name.to_owned());
        shared::blocking(move || Ok(tenant.definition(&name)?)).await.ok()
    }

    /// Begins, changes or ends the lane of a subscription, as its definition says.
    fn follow(&self, name: &str, definition: Option<&Arc<Subscription>>, tasks: &mut JoinSet<()>) {
        let shared = &self.shared;
        // Without one that pushes, nobody needs the sender.
        let definition = definition.filter(|definition| definition.push.is_some() && !definition.paused);
        let planned = match definition {
            Some(definition) => Plan::new(name, definition, shared.webhooks(), &shared.outward.gates),
            None => Ok(None),
        };
        let mut lanes = lock(&self.lanes);
        if let Some(Lane::Pushing(plans)) = lanes.get(name) {
            plans.borrow().iter().for_each(|plan| plan.end());
        }
        match planned {
            Ok(Some(plan)) => {
                let plan = Some(Arc::new(plan));
                match lanes.get(name) {
                    Some(Lane::Pushing(plans)) => _ = plans.send_replace(plan),
                    _ => {
                        let (sender, plans) = watch::channel(plan);
                        tasks.spawn(lane::run(Arc::clone(shared), plans));
                        lanes.insert(name.to_owned(), Lane::Pushing(sender));
                    }
                }
            }
            // A lane ends when its sender is gone.
            Ok(None) => _ = lanes.remove(name),
            Err(reason) => {
                tracing::warn!(subscription = name, reason, "cannot be pushed");
                lanes.insert(name.to_owned(), Lane::Held(reason));
            }
        }
    }

    /// Makes a subscription. A secret in the definition never reaches the engine: it is kept with the secrets; without
    /// one, a subscription that pushes gets one, which is returned once. One that is there is the same if its newest
    /// secret is, or none is given.
    ///
    /// # Errors
    /// The engine refuses, the secret or the endpoint is not fit, or the subscription is there with another secret.
    pub fn create(&self, name: &str, mut definition: Subscription) -> Result<Created, NotMade> {
        let _one = lock(&self.changing);
        let given = self.check(&mut definition)?;
        let tenant = &self.shared.tenant;
        // One that is there keeps its secrets, whether or not it is the same.
        if definition.push.is_none() || tenant.definition(name).is_ok() {
            let is_new = tenant.create_subscription(name, definition)?;
            return match given {
                Some(given) if !self.shared.secrets.is_newest(name, &given) => {
                    Err(NotMade::OtherSecret { name: name.to_owned() })
                }
                _ => Ok(Created { is_new, secret: None }),
            };
        }
        // Before anything is kept under it: what is no name of a subscription may be what secrets of others are kept by.
        if !is_subscription_name(name) {
            return Err(SubscriptionRefusal::InvalidName { name: name.chars().take(200).collect() }.into());
        }
        let is_given = given.is_some();
        let secret = self.shared.secrets.begin(name, given)?;
        match tenant.create_subscription(name, definition) {
            Ok(is_new) => Ok(Created { is_new, secret: Some(secret).filter(|_| !is_given) }),
            Err(not_done) => {
                self.shared.secrets.keep(|other| other != name)?;
                Err(not_done.into())
            }
        }
    }

    /// Changes a subscription. A secret in the definition becomes its newest; one that pushes for the first time gets one,
    /// which is returned once.
    ///
    /// # Errors
    /// As [`Pushers::create`].
    pub fn change(&self, name: &str, mut definition: Subscription) -> Result<Option<Secret>, NotMade> {
        let _one = lock(&self.changing);
        let given = self.check(&mut definition)?;
        let is_given = given.is_some();
        let pushes = definition.push.is_some();
        self.shared.tenant.update_subscription(name, definition)?;
        if !pushes || (!is_given && !self.shared.secrets.list(name).is_empty()) {
            return Ok(None);
        }
        let (_, secret) = self.shared.secrets.rotate(name, given)?;
        self.look_again(name);
        Ok(Some(secret).filter(|_| !is_given))
    }

    /// Deletes a subscription and its secrets.
    ///
    /// # Errors
    /// As [`Pushers::create`].
    pub fn delete(&self, name: &str) -> Result<(), NotMade> {
        let _one = lock(&self.changing);
        self.shared.tenant.delete_subscription(name)?;
        Ok(self.shared.secrets.keep(|other| other != name)?)
    }

    /// A new secret for a subscription that pushes, made by chance if none is given; the one before is good for a while
    /// more.
    ///
    /// # Errors
    /// There is no such subscription, it does not push, or the disk refuses.
    pub fn rotate(&self, name: &str, given: Option<Secret>) -> Result<(SecretInfo, Secret), NotMade> {
        let _one = lock(&self.changing);
        self.pushing(name)?;
        let rotated = self.shared.secrets.rotate(name, given)?;
        self.look_again(name);
        Ok(rotated)
    }

    /// What may be known of the secrets of a subscription that pushes, newest first.
    ///
    /// # Errors
    /// There is no such subscription, or it does not push.
    pub fn secrets(&self, name: &str) -> Result<Vec<SecretInfo>, NotMade> {
        self.pushing(name)?;
        Ok(self.shared.secrets.list(name))
    }

    /// The way out and the secrets, which others share.
    pub(crate) fn shared(&self) -> (Arc<Outward>, Arc<Secrets>) {
        (Arc::clone(&self.shared.outward), Arc::clone(&self.shared.secrets))
    }

    /// Whether the endpoint of a URL is tried, if a subscription pushes there now.
    pub fn circuit(&self, url: &str) -> Option<CircuitState> {
        self.shared.outward.gates.circuit(&Endpoint::parse(url).ok()?.origin())
    }

    /// How the pushing of a subscription is, and why nothing is sent.
    ///
    /// # Errors
    /// There is no such subscription, or it does not push.
    pub fn standing(&self, name: &str) -> Result<Standing, NotMade> {
        let definition = self.pushing(name)?;
        if definition.paused {
            return Ok(Standing::paused(definition.paused_reason.as_deref()));
        }
        let plan = match lock(&self.lanes).get(name) {
            Some(Lane::Held(reason)) => return Ok(Standing::held(reason)),
            Some(Lane::Pushing(plans)) => plans.borrow().clone(),
            None => None,
        };
        let begins = || Standing::held("the server has not begun to");
        Ok(plan.map_or_else(begins, |plan| Standing::of(&plan, &self.shared)))
    }

    fn pushing(&self, name: &str) -> Result<Arc<Subscription>, NotMade> {
        let definition = self.shared.tenant.definition(name)?;
        Some(definition).filter(|definition| definition.push.is_some()).ok_or(NotMade::DoesNotPush)
    }

    /// Takes the secret out of a definition, and checks its endpoint.
    fn check(&self, definition: &mut Subscription) -> Result<Option<Secret>, NotMade> {
        let Some(push) = &mut definition.push else { return Ok(None) };
        let given = push.secret.take().map(|text| Secret::parse(text.expose())).transpose()?;
        self.shared.webhooks().endpoint(&push.url)?;
        Ok(given)
    }

    fn look_again(&self, name: &str) {
        // Nobody looks at it any more when the server stops.
        let _ = self.changed.send(name.to_owned());
    }
}

impl std::fmt::Debug for Pushers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pushers")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<SubscriptionRefusal> for NotMade {
    fn from(refusal: SubscriptionRefusal) -> Self {
        Self::NotDone(refusal.into())
    }
}
