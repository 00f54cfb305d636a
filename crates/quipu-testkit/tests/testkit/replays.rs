//! A power cut at every storage call while a replay is at work: what was acknowledged is not asked for by the verdict again, nothing
//! is skipped, and the order is kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use quipu_domain::{Event, StartAt, Subscription, Timestamp};
use quipu_engine::{Answer, NewReplay, NotDone, OperationState, Options, ReplayOutcome, Tenant, World};
use quipu_store::Storage;
use quipu_testkit::{FaultyDisk, SeededRandom, VirtualClock};

const EVENTS: u64 = 300;

fn open(disk: &FaultyDisk, clock: &Arc<VirtualClock>) -> Arc<Tenant> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let options = Options { segment_bytes: 16 << 10, run_events: 100, ..Options::default() };
    let clock = Arc::clone(clock) as Arc<dyn quipu_engine::Clock>;
    Tenant::open(&World { storage, clock, random: Arc::new(SeededRandom::new(1)) }, "t", options).unwrap()
}

/// A replay to a strict subscription that was begun, and its number.
fn begun(disk: &FaultyDisk, clock: &Arc<VirtualClock>) -> (Arc<Tenant>, u64) {
    let tenant = open(disk, clock);
    let events = (1..=EVENTS).map(|id| {
        let event = Event::builder(id.to_string(), "/s", "t").subject("s").build().unwrap();
        tenant.prepare(&event, None).unwrap()
    });
    tenant.publish_wait(events.collect()).unwrap();
    let definition: Subscription = serde_json::from_str(r#"{"ordering":"strict","ackdeadlinems":500}"#).unwrap();
    tenant.create_subscription("s", definition).unwrap();
    let asked = NewReplay {
        to: "s".into(),
        shadow: None,
        from: StartAt::Beginning,
        until: StartAt::Now,
        pattern: None,
        is_strict: false,
        speed: None,
        webhooks: false,
    };
    let (info, _) = tenant.preview_replay(&asked, None, &|| true).unwrap();
    tenant.confirm_operation(info.id).unwrap();
    (tenant, info.id)
}

/// One turn of a consumer that takes at most so many. The positions that it has acknowledged.
fn turn(tenant: &Arc<Tenant>, clock: &VirtualClock, most: usize) -> Result<Vec<u64>, NotDone> {
    clock.jump_ms(100);
    tenant.deliver()?;
    let handed = tenant.pull("s", most)?;
    let positions = handed.iter().map(|one| one.id.position).collect();
    let answers = handed.iter().map(|one| (one.id, one.token, Answer::Ack)).collect();
    tenant.answer("s", answers)?.into_iter().for_each(|taken| taken.unwrap());
    tenant.checkpoint_deliveries()?;
    Ok(positions)
}

fn is_ended(tenant: &Tenant, id: u64) -> bool {
    tenant.operation(id).unwrap().state != OperationState::Running
}

#[test]
fn a_power_cut_at_any_call_skips_nothing_of_a_replay_and_keeps_its_order() {
    let mut is_through = false;
    let mut cuts = 0;
    for call in (1..).step_by(3) {
        let (disk, clock) = (FaultyDisk::new(7), Arc::new(VirtualClock::new(Timestamp(1))));
        let (tenant, id) = begun(&disk, &clock);
        disk.crash_at(disk.calls() + call);
        let (mut before, mut all) = (0, BTreeSet::new());
        for _ in 0..20 {
            let Ok(positions) = turn(&tenant, &clock, 40) else { break };
            for position in positions {
                assert_eq!(position, before + 1, "call {call}");
                before = position;
                all.insert(position);
            }
        }
        is_through |= !disk.is_dead();
        cuts += u64::from(disk.is_dead());
        drop(tenant);
        let disk = disk.crash_and_recover(call);
        let tenant = open(&disk, &clock);
        let mut again = None;
        for _ in 0..40 {
            for position in turn(&tenant, &clock, 100).unwrap() {
                // What was acknowledged a moment before may come again, and from there on each once.
                let expected = again.map_or(position.min(before + 1), |again| again + 1);
                assert_eq!(position, expected, "call {call}, after {before}");
                again = Some(position);
                all.insert(position);
            }
        }
        assert!(is_ended(&tenant, id), "call {call}: {:?}", tenant.operation(id));
        assert_eq!(all, (1..=EVENTS).collect(), "call {call}");
        let verdict = tenant.operation(id).unwrap().replay.unwrap().verdict.unwrap();
        assert_eq!(
            (verdict.outcome, verdict.counts.acknowledged),
            (ReplayOutcome::Acknowledged, EVENTS),
            "call {call}"
        );
        if is_through {
            break;
        }
    }
    assert!(cuts > 10, "{cuts} cuts");
}

#[test]
fn what_a_cancelled_replay_has_taken_back_does_not_come_again_whenever_the_power_is_cut() {
    for call in 1.. {
        let (disk, clock) = (FaultyDisk::new(7), Arc::new(VirtualClock::new(Timestamp(1))));
        let (tenant, id) = begun(&disk, &clock);
        let first = turn(&tenant, &clock, 40).unwrap();
        assert_eq!(first, (1..=40).collect::<Vec<_>>());
        disk.crash_at(disk.calls() + call);
        let cancelled = tenant.cancel_operation(id);
        let is_dead = disk.is_dead();
        drop(tenant);
        let tenant = open(&disk.crash_and_recover(call), &clock);
        let mut after = Vec::new();
        (0..20).for_each(|_| after.extend(turn(&tenant, &clock, 100).unwrap()));
        let verdict = tenant.operation(id).unwrap().replay.unwrap().verdict.unwrap();
        match tenant.operation(id).unwrap().state {
            OperationState::Cancelled => {
                assert!(after.is_empty(), "call {call}: {after:?}");
                assert_eq!((verdict.counts.acknowledged, verdict.withdrawn), (40, 160), "call {call}");
            }
            // The end was not written: it goes on as if nobody had asked.
            OperationState::Finished => {
                assert!(cancelled.is_err(), "call {call}");
                assert_eq!(after, (41..=EVENTS).collect::<Vec<_>>(), "call {call}");
                assert_eq!(verdict.outcome, ReplayOutcome::Acknowledged);
            }
            other => panic!("call {call}: {other}"),
        }
        if !is_dead {
            return;
        }
    }
}
