//! Endpoints that are gone: one that answered 410 wants no more webhooks, so its subscription is paused until somebody
//! resumes it. Where that cannot be recorded it is tried again until it can; the lane sends nothing meanwhile.
//!
//! It is kept in memory only: after a restart the endpoint is asked once more, and says so again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quipu_domain::Subscription;
use quipu_engine::SubscriptionRefusal;

use super::plan::Plan;
use super::shared::{NotAnswered, Shared, blocking};

/// How long to wait after it could not be paused.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

/// An endpoint is gone, and that was not seen to yet: nothing is sent before this is dropped, whoever has it and whatever
/// becomes of him.
pub(super) struct HeldBack(Arc<AtomicBool>);

impl HeldBack {
    pub fn new(is_held: &Arc<AtomicBool>) -> Self {
        is_held.store(true, Ordering::Release);
        Self(Arc::clone(is_held))
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Pauses the subscription of a plan, if it still pushes there. Ends without only if the server does.
pub(super) async fn pause(shared: &Shared, plan: &Plan) {
    let (name, endpoint) = (&plan.name, &plan.endpoint);
    for failed in 0.. {
        match paused(shared, plan).await {
            Ok(true) => {
                tracing::warn!(subscription = %name, %endpoint, failed, "paused: the endpoint is gone (410)");
                return;
            }
            Ok(false) | Err(NotAnswered::Refused(SubscriptionRefusal::NotFound { .. })) => {
                if failed > 0 {
                    tracing::info!(subscription = %name, %endpoint, failed, "not paused: it pushes elsewhere, or is deleted");
                }
                return;
            }
            Err(error) if is_told(failed) => {
                let failed = failed + 1;
                tracing::error!(
                    subscription = %name, %endpoint, %error, failed,
                    "the endpoint is gone (410), and pausing failed; trying again every second"
                );
            }
            Err(_) => {}
        }
        if shared.is_stopping() {
            return;
        }
        tokio::time::sleep(FAULT_PAUSE).await;
    }
}

/// Whether one more failure is worth a word: the first, and each that makes them twice as many.
fn is_told(failed: u64) -> bool {
    (failed + 1).is_power_of_two()
}

async fn paused(shared: &Shared, plan: &Plan) -> Result<bool, NotAnswered> {
    let (tenant, name, url) = (Arc::clone(&shared.tenant), Arc::clone(&plan.name), plan.url.clone());
    let reason =
        format!("{} answered 410, it wants no more webhooks; resume the subscription to try again", plan.endpoint);
    blocking(move || {
        // The endpoint that answered: another one has not said anything yet.
        let is_there = |definition: &Subscription| definition.push.as_ref().is_some_and(|push| push.url == url);
        tenant.pause_subscription_because(&name, &reason, is_there)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_every_second_is_told_at_once_and_a_dozen_times_in_an_hour() {
        let told: Vec<u64> = (0..3_600).filter(|failed| is_told(*failed)).collect();
        assert_eq!(told[..4], [0, 1, 3, 7]);
        assert_eq!(told.len(), 12);
    }
}
