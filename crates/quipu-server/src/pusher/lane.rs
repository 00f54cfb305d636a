//! One subscription that pushes: takes deliveries as the gate of its endpoint has room and as many as may be in hand, and
//! sends them. It sleeps until the engine has something, the gate changes or the definition does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quipu_domain::Timestamp;
use quipu_engine::{Handed, NotDone, Tenant};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;

use super::attempt::attempt;
use super::gone::{self, HeldBack};
use super::plan::Plan;
use super::shared::{NotAnswered, Shared, blocking};
use crate::gate::Room;
use crate::places::Place;

/// Longest sleep until a time: a clock that was set is noticed after this.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// How long to wait after the log could not be read.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

/// Plans as they come; none for a subscription that does not push any more.
pub(super) type Plans = watch::Receiver<Option<Arc<Plan>>>;

/// The plan whose endpoint is gone. Nothing more is sent before that was seen to.
type Gone = (Arc<Plan>, HeldBack);

/// What is on its way.
#[derive(Default)]
struct Sends {
    /// Each ends with its plan if its endpoint is gone.
    tasks: JoinSet<Option<Gone>>,
    /// An endpoint is gone, and that was not seen to yet: nothing more is sent, by whatever plan.
    is_gone: Arc<AtomicBool>,
}

impl Sends {
    /// Forgets what has ended. One whose endpoint is gone, if there is one.
    fn ended(&mut self) -> Option<Gone> {
        std::iter::from_fn(|| self.tasks.try_join_next()).find_map(|ended| ended.ok().flatten())
    }

    fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Sees to an endpoint that is gone. After that it is the engine that hands out nothing.
    async fn pause(&self, shared: &Shared, (plan, held_back): Gone) {
        gone::pause(shared, &plan).await;
        plan.end();
        drop(held_back);
    }
}

/// What a lane waits for next.
enum Wait {
    /// Anything that wakes it.
    ForWork,
    /// A time as well.
    Until(Timestamp),
    /// A delivery in hand to be answered, whatever else there is.
    ForRoom,
    /// A while.
    APause,
    /// What is on its way, or another plan: nothing more is sent now.
    ForAnEnd,
    /// Nothing: the endpoint of this plan is gone, and the subscription has to be paused first.
    Gone(Gone),
}

/// Pushes by each plan until there is none.
pub(super) async fn run(shared: Arc<Shared>, mut plans: Plans) {
    let mut sends = Sends::default();
    loop {
        let plan = plans.borrow_and_update().clone();
        let Some(plan) = plan else { break };
        if push(&shared, &plan, &mut plans, &mut sends).await.is_none() {
            break;
        }
    }
    // Each is over when its endpoint has answered or its time is.
    while let Some(ended) = sends.tasks.join_next().await {
        if let Ok(Some(gone)) = ended {
            sends.pause(&shared, gone).await;
        }
    }
}

/// Pushes by one plan. Nothing when there will be no other. An endpoint that is gone is seen to here, so that by no other plan
/// anything is sent before the subscription is paused.
async fn push(shared: &Arc<Shared>, plan: &Arc<Plan>, plans: &mut Plans, sends: &mut Sends) -> Option<()> {
    let available = Arc::new(Notify::new());
    let mut gate = plan.gate().changes();
    // Anew for each plan: the subscription may be another one of the same name.
    let _wakes = {
        let available = Arc::clone(&available);
        let watch = move || available.notify_one();
        shared.tenant.on_available(&plan.name, watch)
    };
    loop {
        if plans.has_changed().ok()? {
            return Some(());
        }
        let Some(wait) = step(shared, plan, plans, sends).await else { continue };
        let (is_for_room, is_over) = (matches!(wait, Wait::ForRoom), matches!(wait, Wait::ForAnEnd));
        let sleep = match wait {
            Wait::Gone(gone) => {
                sends.pause(shared, gone).await;
                return Some(());
            }
            Wait::ForWork | Wait::ForRoom | Wait::ForAnEnd => None,
            Wait::Until(until) => {
                let us = until.0.saturating_sub(shared.tenant.now().0).max(0).unsigned_abs();
                Some(Duration::from_micros(us).clamp(Duration::from_millis(1), SLEEP_MAX))
            }
            Wait::APause => Some(FAULT_PAUSE),
        };
        loop {
            tokio::select! {
                () = available.notified(), if !is_for_room && !is_over => break,
                Ok(()) = gate.changed(), if !is_over => break,
                _ = plan.width.acquire(), if is_for_room => break,
                Some(ended) = sends.tasks.join_next() => match ended {
                    Ok(None) => {}
                    Ok(Some(gone)) => {
                        sends.pause(shared, gone).await;
                        return Some(());
                    }
                    // It panicked. Whatever it knew is forgotten, and found out again.
                    Err(_) => break,
                },
                () = tokio::time::sleep(sleep.unwrap_or_default()), if sleep.is_some() => break,
                changed = plans.changed() => {
                    changed.ok()?;
                    return Some(());
                }
            }
        }
    }
}

/// Takes what can be sent now, and begins to send it. What to wait for, if there is nothing more to do.
async fn step(shared: &Arc<Shared>, plan: &Arc<Plan>, plans: &mut Plans, sends: &mut Sends) -> Option<Wait> {
    if let Some(gone) = sends.ended() {
        return Some(Wait::Gone(gone));
    }
    if plan.is_over() || sends.is_gone() {
        return Some(Wait::ForAnEnd);
    }
    if shared.is_stopping() || shared.secrets.valid(&plan.name).is_empty() {
        return Some(Wait::ForWork);
    }
    let room = match plan.gate().room(shared.tenant.now()) {
        Room::Now(room) => room.min(plan.width_max),
        Room::At(time) => return Some(Wait::Until(time)),
        Room::Probing => return Some(Wait::ForWork),
    };
    let Some(shares) = shares(shared, plan, plans, room).await else { return Some(Wait::ForRoom) };
    let (tenant, taking, count) = (Arc::clone(&shared.tenant), Arc::clone(plan), shares.len());
    match blocking(move || take(&tenant, &taking, count)).await {
        Ok(handed) if handed.is_empty() && plan.is_over() => Some(Wait::ForAnEnd),
        Ok(handed) if handed.is_empty() => Some(Wait::ForWork),
        Ok(handed) => {
            for (handed, share) in handed.into_iter().zip(shares) {
                let (shared, plan, is_known) = (Arc::clone(shared), Arc::clone(plan), Arc::clone(&sends.is_gone));
                sends.tasks.spawn(async move {
                    let held_back = attempt(&shared, &plan, &handed, &is_known).await;
                    drop(share);
                    held_back.map(|held_back| (plan, held_back))
                });
            }
            None
        }
        // It was deleted: there will be another plan, or none.
        Err(NotAnswered::Refused(_)) => Some(Wait::ForWork),
        Err(error) => {
            tracing::warn!(subscription = %plan.name, %error, "cannot take what is to be pushed; trying again");
            Some(Wait::APause)
        }
    }
}

/// What a delivery in hand takes: one of its subscription's, and one of all.
type Share = (OwnedSemaphorePermit, Place);

/// Shares of what may be in hand: at least one, at most `most`. Nothing while this subscription has all of its own; none if
/// there is another plan.
async fn shares(shared: &Shared, plan: &Plan, plans: &mut Plans, most: usize) -> Option<Vec<Share>> {
    let own = Arc::clone(&plan.width).try_acquire_owned().ok()?;
    let all = tokio::select! {
        all = shared.outward.in_hand.take(&plan.origin) => all,
        // Seen once more by whoever called.
        _ = async { plans.clone().changed().await } => return Some(Vec::new()),
    };
    let mut shares = vec![(own, all)];
    while shares.len() < most
        && let Ok(own) = Arc::clone(&plan.width).try_acquire_owned()
        && let Some(all) = shared.outward.in_hand.try_take(&plan.origin)
    {
        shares.push((own, all));
    }
    Some(shares)
}

/// Takes at most `count` deliveries, one by one: several at once would be a run of one key, which has to be sent one after
/// the other, while other keys wait. If the plan is not what the definition says any more, they go back and it is over.
fn take(tenant: &Tenant, plan: &Plan, count: usize) -> Result<Vec<Handed>, NotDone> {
    let taken = pull(tenant, &plan.name, count);
    if !plan.is_current(tenant) {
        plan.end();
        let taken: Vec<_> = taken.iter().flatten().map(|handed| (handed.id, handed.token)).collect();
        tenant.give_back(&plan.name, &taken);
        return Ok(Vec::new());
    }
    taken
}

fn pull(tenant: &Tenant, name: &str, count: usize) -> Result<Vec<Handed>, NotDone> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        match tenant.pull(name, 1) {
            Ok(handed) if handed.is_empty() => break,
            Ok(handed) => taken.extend(handed),
            Err(not_done) if taken.is_empty() => return Err(not_done),
            // What was taken is sent; the next time will tell.
            Err(_) => break,
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_panics_after_its_endpoint_said_that_it_is_gone_holds_nothing_back() {
        let mut sends = Sends::default();
        let is_known = Arc::clone(&sends.is_gone);
        sends.tasks.spawn(async move {
            let _held_back = HeldBack::new(&is_known);
            panic!("a test");
        });
        assert!(sends.tasks.join_next().await.unwrap().is_err());
        assert!(!sends.is_gone());
    }
}
