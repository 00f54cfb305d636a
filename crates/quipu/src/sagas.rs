//! Sagas, rules and expectations on the handle: declare them or write them in Rust ([`StateMachine`]), see their instances, and intervene. What a declaration may have is on the
//! [page of sagas](https://github.com/quipu/quipu/blob/main/docs/sagas.md).

pub(crate) mod machine;

pub use machine::{Effects, Input, NotStepped, StateMachine};
pub use quipu_domain::saga::{Expectation, Finding, Level, Note, Rule, Saga, What};
pub use quipu_engine::{
    Applied, DeclarationKind, InstanceFilter, InstanceInfo, InstancePage, InstanceState, Intervention, PlanInfo,
    PlanName, SAGA_ENDED_MAX, SAGA_ENDED_MS, SAGA_INSTANCES_MAX, SagaDeclaration, SagaRefusal, SentEvent,
    TimelineEntry, WHAT_IF_BYTES_MAX, WHAT_IF_INSTANCES_MAX, WHAT_IF_LISTED_MAX, WhatIf, WhatIfDifference,
    WhatIfVerdict,
};

use quipu_domain::StartAt;

use crate::{Error, Quipu};

impl Quipu {
    /// Declares a saga, a rule or an expectation. What is declared already changes nothing; a changed declaration is a new version, with
    /// which new instances begin. What was found and does not stand against it is in the answer.
    ///
    /// ```
    /// # let quipu = quipu::Quipu::in_memory()?;
    /// use quipu::Event;
    /// use quipu::sagas::{InstanceFilter, InstanceState, Intervention, Saga};
    ///
    /// let saga: Saga = serde_json::from_str(r#"{
    ///     "saga": "order_fulfilment",
    ///     "starts_on": "order.placed",
    ///     "steps": [{"pay": {"send": "payment.charge", "await": "payment.charged", "timeout": "2m", "compensate": "payment.refund"}}],
    ///     "completes_with": "order.fulfilled"
    /// }"#)?;
    /// assert_eq!(quipu.apply_saga(saga)?.version, 1);
    ///
    /// quipu.publish(&Event::builder("1", "/shop", "order.placed").correlation_id("o1").build()?)?;
    /// let all = InstanceFilter::default();
    /// let number = loop {
    ///     if let [instance] = quipu.instances(&all, None, 10)?.instances.as_slice() {
    ///         break instance.number;
    ///     }
    ///     std::thread::sleep(std::time::Duration::from_millis(1));
    /// };
    /// let stands = quipu.intervene(number, &Intervention::Cancel, "the customer called")?;
    /// assert_eq!(stands, InstanceState::Cancelled);
    /// let (entries, _) = quipu.timeline(number)?;
    /// let sent: Vec<_> = entries.iter().filter_map(|entry| entry.sent.as_ref()).map(|sent| sent.kind.as_str()).collect();
    /// assert_eq!(sent, ["payment.charge", "payment.refund"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SagaRefusal::Invalid`] with all that was found, and [`SagaRefusal::TooMany`].
    pub fn apply_saga(&self, declaration: impl Into<SagaDeclaration>) -> Result<Applied, Error> {
        Ok(self.tenant.apply_saga(declaration.into(), false, false)?)
    }

    /// Looks at a declaration without applying it: what was found, and which version it would be.
    ///
    /// # Errors
    /// As [`Quipu::apply_saga`].
    pub fn check_saga(&self, declaration: impl Into<SagaDeclaration>) -> Result<Applied, Error> {
        Ok(self.tenant.apply_saga(declaration.into(), false, true)?)
    }

    /// Removes a saga, a rule or an expectation with all its versions, and what is remembered of instances that have ended.
    ///
    /// # Errors
    /// [`SagaRefusal::NotFound`], and [`SagaRefusal::InUse`] while it has open instances.
    pub fn remove_saga(&self, name: &PlanName) -> Result<(), Error> {
        Ok(self.tenant.remove_saga(name)?)
    }

    /// Every saga, rule and expectation, by its name.
    ///
    /// # Errors
    /// What has happened cannot be made durable.
    pub fn sagas(&self) -> Result<Vec<PlanInfo>, Error> {
        Ok(self.tenant.sagas()?)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`SagaRefusal::NotFound`].
    pub fn saga(&self, name: &PlanName) -> Result<PlanInfo, Error> {
        Ok(self.tenant.saga(name)?)
    }

    /// A saga as a flowchart of Mermaid.
    ///
    /// # Errors
    /// [`SagaRefusal::NotFound`].
    pub fn saga_diagram(&self, name: &PlanName) -> Result<String, Error> {
        Ok(self.tenant.plan_of(name)?.mermaid())
    }

    /// Instances with smaller numbers than one, the newest first, at most so many.
    ///
    /// # Errors
    /// What has happened cannot be made durable.
    pub fn instances(&self, filter: &InstanceFilter, before: Option<u64>, limit: usize) -> Result<InstancePage, Error> {
        Ok(self.tenant.instances(filter, before, limit)?)
    }

    /// One instance: how it stands, what it waits for, and what may be done to it.
    ///
    /// # Errors
    /// [`SagaRefusal::NoInstance`].
    pub fn instance(&self, number: u64) -> Result<InstanceInfo, Error> {
        Ok(self.tenant.instance(number)?)
    }

    /// What made an instance what it is, the first first, and how many entries between the first and the last were not kept.
    ///
    /// # Errors
    /// [`SagaRefusal::NoInstance`]; the log cannot be read.
    pub fn timeline(&self, number: u64) -> Result<(Vec<TimelineEntry>, u64), Error> {
        Ok(self.tenant.timeline(number)?)
    }

    /// Intervenes in an instance. How it stands then.
    ///
    /// # Errors
    /// [`SagaRefusal::NoInstance`], [`SagaRefusal::NoStep`], [`SagaRefusal::NotPossible`], and [`SagaRefusal::InvalidReason`].
    pub fn intervene(&self, number: u64, intervention: &Intervention, reason: &str) -> Result<InstanceState, Error> {
        Ok(self.tenant.intervene(number, intervention, reason)?)
    }

    /// What would have become of the instances of a range if the saga of this name had been this one: which would have ended otherwise,
    /// at which step, and why. Nothing is published. Whatever depends on the answer to what nobody was ever asked is unknown.
    ///
    /// ```
    /// # let quipu = quipu::Quipu::in_memory()?;
    /// use quipu::{Event, StartAt, sagas::Saga};
    /// let saga = |timeout: &str| -> Saga {
    ///     serde_json::from_value(serde_json::json!({"saga": "greeting", "starts_on": "guest.came", "steps": [
    ///         {"greet": {"send": "guest.greet", "await": "guest.greeted", "timeout": timeout, "compensate": "none"}}
    ///     ]})).unwrap()
    /// };
    /// quipu.apply_saga(saga("1h"))?;
    /// quipu.publish(&Event::builder("1", "/door", "guest.came").build()?)?;
    /// // Sagas follow the log: what they have not seen yet did not become anything.
    /// while quipu.sagas()?.iter().any(|saga| saga.behind > 0) {
    ///     std::thread::sleep(std::time::Duration::from_millis(1));
    /// }
    /// let found = quipu.what_if(saga("1h"), &StartAt::Beginning, &StartAt::Now)?;
    /// assert!(found.is_same());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SagaRefusal::Invalid`]; a range without an event; the log cannot be read.
    pub fn what_if(&self, saga: Saga, from: &StartAt, until: &StartAt) -> Result<WhatIf, Error> {
        let found = self.tenant.what_if(saga, from, until, &|| true)?;
        Ok(found.expect("it is wanted to its end"))
    }
}
