//! A power cut at every storage call of what is done to tenants: what was acknowledged holds, what was under way is done or is
//! not, and of a tenant that is gone nothing is left.

use std::sync::Arc;

use quipu_domain::access::KeySecret;
use quipu_domain::{Event, Quotas, Timestamp};
use quipu_engine::{Engine, Fault, NotDone, Options, TenantRefusal, World};
use quipu_store::Storage;
use quipu_testkit::{FaultyDisk, Kind, SeededRandom, Trigger, VirtualClock};

/// How many ways to recover from each crash.
const SEEDS: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Create(&'static str),
    Publish(&'static str),
    Suspend(&'static str),
    Resume(&'static str),
    Limit(&'static str),
    Delete(&'static str),
}

use Act::{Create, Delete, Limit, Publish, Resume, Suspend};

/// A name is used again with nothing of the tenant that had it before.
const SCRIPT: [Act; 14] = [
    Create("acme"),
    Publish("acme"),
    Create("beta"),
    Publish("beta"),
    Publish("beta"),
    Suspend("acme"),
    Limit("acme"),
    Suspend("beta"),
    Delete("beta"),
    Resume("acme"),
    Create("beta"),
    Publish("beta"),
    Suspend("beta"),
    Delete("beta"),
];

/// What a tenant should be: its state, whether it has a quota, and how many events.
type Expected = Option<(&'static str, bool, u64)>;

/// What a tenant should be after these acts.
fn expected(name: &str, acts: &[Act]) -> Expected {
    acts.iter().fold(None, |before: Expected, act| match (act, before) {
        (Create(of), _) if *of == name => Some(("active", false, 0)),
        (Publish(of), Some((state, limited, events))) if *of == name => Some((state, limited, events + 1)),
        (Suspend(of), Some((_, limited, events))) if *of == name => Some(("suspended", limited, events)),
        (Resume(of), Some((_, limited, events))) if *of == name => Some(("active", limited, events)),
        (Limit(of), Some((state, _, events))) if *of == name => Some((state, true, events)),
        (Delete(of), _) if *of == name => None,
        (_, before) => before,
    })
}

fn open(disk: &FaultyDisk, seed: u64) -> Result<Engine, Fault> {
    let options = Options { segment_bytes: 4 << 10, run_events: 20, threads: 2, ..Options::default() };
    let (clock, random) = (Arc::new(VirtualClock::new(Timestamp(1))), Arc::new(SeededRandom::new(seed)));
    let engine = Engine::open(World { storage: Arc::new(disk.clone()), clock, random }, options)?;
    engine.adopt_tenants()?;
    Ok(engine)
}

type Keys = Vec<(&'static str, String, KeySecret)>;

fn act(engine: &Engine, act: Act, number: usize, keys: &mut Keys) -> Result<(), NotDone> {
    match act {
        Create(name) => {
            let (_, info, secret) = engine.create_tenant(name, Quotas::default())?;
            keys.push((name, info.id, secret));
        }
        Publish(name) => {
            let tenant = engine.tenant(name)?;
            let event = Event::builder(number.to_string(), "/t", "a.b").json("1").build().unwrap();
            tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()])?;
        }
        Suspend(name) => _ = engine.suspend_tenant(name, "a test")?,
        Resume(name) => _ = engine.resume_tenant(name)?,
        Limit(name) => _ = engine.set_tenant_quotas(name, serde_json::from_str(r#"{"connections":7}"#).unwrap())?,
        Delete(name) => {
            engine.begin_to_delete_tenant(name)?;
            // Threads of the engine may hold it for a moment.
            while let Err(refused) = engine.finish_deleting_tenant(name) {
                match refused {
                    NotDone::RefusedTenant(TenantRefusal::Busy { .. }) => std::thread::yield_now(),
                    other => return Err(other),
                }
            }
        }
    }
    Ok(())
}

/// How many acts were acknowledged, the keys that were made, and why the next act was refused.
fn run(disk: &FaultyDisk) -> (usize, Keys, Option<NotDone>) {
    let mut keys = Vec::new();
    let engine = match open(disk, 1) {
        Ok(engine) => engine,
        Err(fault) => return (0, keys, Some(fault.into())),
    };
    let acts = SCRIPT.iter().enumerate();
    let refused = acts.map(|(number, one)| act(&engine, *one, number, &mut keys).map_err(|refused| (number, refused)));
    let (done, refused) = match refused.collect::<Result<(), _>>() {
        Ok(()) => (SCRIPT.len(), None),
        Err((done, refused)) => (done, Some(refused)),
    };
    // The fault, if there was one, is seen by what was answered.
    let _ = engine.close();
    (done, keys, refused)
}

fn check(disk: &FaultyDisk, done: usize, keys: &Keys, at: &str) {
    let engine = open(disk, 2).unwrap_or_else(|fault| panic!("{at}: {fault}"));
    for name in ["acme", "beta"] {
        let found: Expected = engine.tenant_info(name).ok().map(|info| {
            let position = engine.tenant(name).unwrap().position();
            (info.state.as_str(), info.quotas.connections.is_some(), position)
        });
        let (before, after) = (expected(name, &SCRIPT[..done]), expected(name, &SCRIPT[..SCRIPT.len().min(done + 1)]));
        assert!(found == before || found == after, "{at}: {name}: found {found:?}, expected {before:?} or {after:?}");
        if found.is_none() {
            assert!(disk.list(&format!("tenants/{name}")).is_err(), "{at}: something of {name} is left");
        }
        // Of all keys ever made for the name only the last one may be good, and only if its tenant is there.
        let made: Vec<_> = keys.iter().filter(|(of, ..)| *of == name).collect();
        for (index, (_, id, secret)) in made.iter().enumerate() {
            let is_good =
                engine.tenant_info(name).is_ok() && engine.tenant(name).unwrap().authenticate(id, secret).is_some();
            let is_last = index + 1 == made.len();
            assert!(!is_good || is_last, "{at}: an old key of {name} is good again");
            if is_last && found.is_some() && found == before && SCRIPT.get(done) != Some(&Create(name)) {
                assert!(is_good, "{at}: the key of {name} is lost");
            }
        }
    }
    // Whatever happened, one can go on.
    for name in ["acme", "beta"].iter().filter(|name| engine.tenant_info(name).is_err()) {
        engine.create_tenant(name, Quotas::default()).unwrap_or_else(|error| panic!("{at}: {name}: {error}"));
        assert_eq!(engine.tenant(name).unwrap().position(), 0, "{at}");
    }
    engine.close().unwrap_or_else(|fault| panic!("{at}: {fault}"));
}

#[test]
fn a_power_cut_at_any_call_leaves_each_tenant_as_it_was_or_as_it_was_to_be() {
    let mut seen = 0;
    for call in 1.. {
        let disk = FaultyDisk::new(call);
        disk.crash_at(call);
        let (done, keys, refused) = run(&disk);
        if !disk.is_dead() {
            assert_eq!(done, SCRIPT.len(), "without a crash all is done: {refused:?}");
            check(&disk.kill(), done, &keys, "without a crash");
            break;
        }
        for seed in 0..SEEDS {
            check(&disk.crash_and_recover(seed), done, &keys, &format!("power cut at call {call}, seed {seed}"));
        }
        check(&disk.kill(), done, &keys, &format!("killed at call {call}"));
        seen = call;
    }
    assert!(seen > 100, "the script must have many calls, it has {seen}");
}

#[test]
fn an_error_of_any_call_leaves_each_tenant_as_it_was_or_as_it_was_to_be() {
    for kind in [Kind::Change, Kind::Write, Kind::Sync, Kind::SyncDir] {
        for call in 1.. {
            let disk = FaultyDisk::new(call);
            disk.fail(kind, Trigger::At(call));
            let (done, keys, refused) = run(&disk);
            if disk.failed() == 0 {
                assert!(refused.is_none(), "without an error all is done: {refused:?}");
                assert!(call > 10, "the script must have many calls of {kind:?}");
                break;
            }
            check(&disk.kill(), done, &keys, &format!("an error at call {call} of {kind:?}"));
        }
    }
}

/// A thread that lets go of a tenant last takes it apart, and only then is its folder nobody's.
#[test]
fn the_name_of_a_tenant_that_was_deleted_can_be_used_again_at_once() {
    let engine = open(&FaultyDisk::new(1), 1).unwrap();
    let mut keys = Vec::new();
    for round in 0..1_000 {
        for one in [Create("acme"), Publish("acme"), Suspend("acme"), Delete("acme")] {
            act(&engine, one, round, &mut keys).unwrap_or_else(|refused| panic!("{one:?} in round {round}: {refused}"));
        }
    }
}
