//! A timer in the making: an event, and when it is published.

use std::sync::Arc;
use std::time::Duration;

use quipu_domain::{Event, Timestamp};
use quipu_engine::{FireAt, Prepared, Tenant};

use crate::Error;

/// An event that is published later: once, also over a crash. For [`Quipu::set_timer`](crate::Quipu::set_timer) and
/// [`Append::timer`](crate::Append::timer). The page docs/timers.md says what a timer is.
#[derive(Clone, Debug)]
#[must_use = "a timer does nothing until it is given to Quipu::set_timer or Append::timer"]
pub struct Timer {
    event: Event<'static>,
    fires: FireAt,
    key: Option<String>,
    replaces: bool,
}

impl Timer {
    /// Publishes the event when the clock shows this time; at once, if it is past.
    pub fn at(time: Timestamp, event: Event<'static>) -> Self {
        Self { event, fires: FireAt::Time(time), key: None, replaces: false }
    }

    /// Publishes the event after this time, in whole milliseconds; no later, if the clock is set back meanwhile.
    pub fn after(time: Duration, event: Event<'static>) -> Self {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self { event, fires: FireAt::AfterMs(ms), key: None, replaces: false }
    }

    /// Names it: whoever has the key can cancel it without its number. One timer that waits has it.
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Takes the place of the timer with the same key, if there is one. Without this that is a refusal.
    pub fn replacing(self) -> Self {
        Self { replaces: true, ..self }
    }

    pub(crate) fn prepare(self, index: usize, tenant: &Arc<Tenant>) -> Result<Prepared, Error> {
        let prepared = tenant.prepare_timer(&self.event, self.fires, self.key, self.replaces);
        prepared.map_err(|reason| Error::InvalidTimer { index, reason })
    }
}
