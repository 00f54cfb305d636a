use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use quipu_domain::{Direction, Range};
use quipu_store::{DiskStorage, check};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::options::Options;
use crate::still;

/// Different refusals that have room in a minute.
const KINDS: u64 = 100;

fn open(folder: &TempDir) -> Arc<Tenant> {
    still::tenant(folder.path(), Options::default())
}

fn close(tenant: &Tenant) {
    tenant.close_trail().unwrap();
    tenant.close().unwrap();
    tenant.seal_trail().unwrap();
}

fn act(tenant: &Tenant, actor: &str, operation: &str, subject: &str) -> Act {
    Act {
        address: Some("192.0.2.1".into()),
        correlation: Some("c-1".into()),
        details: json!({"grants":["read"]}),
        ..tenant.act(operation, Actor { id: actor.into(), name: Some("somebody".into()) }, subject)
    }
}

fn found(tenant: &Tenant, query: &AuditQuery) -> Vec<AuditEntry> {
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let page = tenant.audited_acts(query, Direction::Forward, from, 2).unwrap();
        found.extend(page.entries);
        from = page.next;
        if from.is_none() {
            return found;
        }
    }
}

#[test]
fn an_act_is_told_once_with_its_outcome_and_is_found_by_each_of_its_parts() {
    let folder = TempDir::new().unwrap();
    let mut tenant = open(&folder);
    let done = act(&tenant, "key:1", "key.create", "keys/7");
    tenant.begin_act(&done).unwrap();
    tenant.end_act(&done, &Ended::done()).unwrap();
    let refused = Act { correlation: None, ..act(&tenant, "key:2", "key.revoke", "keys/8") };
    tenant.begin_act(&refused).unwrap();
    tenant.end_act(&refused, &Ended::refused(Some("key-not-found"), "there is none")).unwrap();
    let open_end = act(&tenant, "key:1", "subscription.seek", "subscriptions/a");
    tenant.begin_act(&open_end).unwrap();
    for _ in 0..2 {
        let all = found(&tenant, &AuditQuery::default());
        let outcomes: Vec<_> = all.iter().map(|entry| (entry.act.as_str(), entry.outcome)).collect();
        let expected = [(&done, ActOutcome::Done), (&refused, ActOutcome::Refused), (&open_end, ActOutcome::Begun)];
        assert_eq!(outcomes, expected.map(|(act, outcome)| (act.id.as_str(), outcome)));
        let first = &all[0];
        assert_eq!((first.operation.as_str(), first.subject.as_str()), ("key.create", "keys/7"));
        assert_eq!((&first.actor, first.address.as_deref()), (&done.actor, Some("192.0.2.1")));
        assert_eq!((first.correlation.as_deref(), &first.details), (Some("c-1"), &json!({"grants":["read"]})));
        assert_eq!((all[1].code.as_deref(), all[1].detail.as_deref()), (Some("key-not-found"), Some("there is none")));
        let text = |text: &str| Some(text.to_owned());
        for (query, expected) in [
            (AuditQuery { subject: text("keys/7"), ..AuditQuery::default() }, vec![0]),
            (AuditQuery { actor: text("key:1"), ..AuditQuery::default() }, vec![0, 2]),
            (AuditQuery { actor: text("key:3"), ..AuditQuery::default() }, vec![]),
            (AuditQuery { operation: text("key.revoke"), ..AuditQuery::default() }, vec![1]),
            (AuditQuery { correlation: text("c-1"), ..AuditQuery::default() }, vec![0, 2]),
            (AuditQuery { outcome: Some(ActOutcome::Refused), ..AuditQuery::default() }, vec![1]),
            (AuditQuery { outcome: Some(ActOutcome::Begun), ..AuditQuery::default() }, vec![2]),
            (AuditQuery { time: Range { from: Some(Timestamp(2)), to: None }, ..AuditQuery::default() }, vec![]),
            (AuditQuery { actor: text("key:1"), subject: text("keys/8"), ..AuditQuery::default() }, vec![]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|at: usize| all[at].clone()).collect();
            assert_eq!(found(&tenant, &query), expected, "{query:?}");
        }
        close(&tenant);
        drop(tenant);
        tenant = open(&folder);
    }
}

#[test]
fn nothing_of_the_trail_is_in_the_log() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    still::publish(&tenant, "order.placed", "1").unwrap();
    let before = (tenant.position(), tenant.commit(), tenant.stream_count());
    let done = act(&tenant, "key:1", "key.create", "keys/7");
    tenant.begin_act(&done).unwrap();
    tenant.end_act(&done, &Ended::done()).unwrap();
    assert_eq!((tenant.position(), tenant.commit(), tenant.stream_count()), before);
    assert_eq!(tenant.trail().unwrap().position(), 2);
}

#[test]
fn a_refusal_stands_there_when_writing_is_done_whoever_has_written_it() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // As what happens by itself.
        scope.spawn(|| {
            while !is_done.load(Relaxed) {
                tenant.write_refusals().unwrap();
            }
        });
        let missing = (0..KINDS).find(|number| {
            let (id, actor) = (number.to_string(), format!("key:{number}"));
            let refused = Act { id, ..act(&tenant, &actor, "event.get", "events/1") };
            tenant.note_refusal(refused, Ended::refused(Some("forbidden"), "no"));
            tenant.write_refusals().unwrap();
            tenant.trail().unwrap().position() <= *number
        });
        is_done.store(true, Relaxed);
        assert_eq!(missing, None);
    });
}

#[test]
fn an_act_that_cannot_be_written_down_is_not_done() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    tenant.trail().unwrap().close().unwrap();
    let mut is_done = false;
    let outcome = tenant.audited(act(&tenant, "local", "key.create", "keys"), |_, _| {
        is_done = true;
        Ok(())
    });
    assert!(outcome.is_err() && !is_done);
}

#[test]
fn what_strangers_send_is_cut_and_found_all_the_same() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    let long = "ä\u{1b}[2J\u{fffe}\u{fdd0}\u{10ffff}".repeat(3_000);
    let mut strange = act(&tenant, &long, "key.create", &long);
    (strange.correlation, strange.details) = (Some(long.clone()), Value::String(long.repeat(10)));
    tenant.end_act(&strange, &Ended::refused(None, long.clone())).unwrap();
    let empty = act(&tenant, "", "key.create", "");
    tenant.end_act(&empty, &Ended::done()).unwrap();
    let query = AuditQuery {
        subject: Some(long.clone()),
        actor: Some(long.clone()),
        correlation: Some(long.clone()),
        ..AuditQuery::default()
    };
    let found = found(&tenant, &query);
    assert_eq!(found.len(), 1);
    assert!(found[0].subject.len() <= 512 && found[0].actor.id.len() <= 512);
    assert!(!format!("{found:?}").contains("\\u{1b}"));
}

#[test]
fn refusals_are_written_before_they_are_asked_for_and_when_the_tenant_is_closed() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    let refused = || Ended::refused(Some("forbidden"), "no");
    for _ in 0..3 {
        tenant.note_refusal(act(&tenant, "key:1", "event.publish", "events"), refused());
    }
    let outcomes = |tenant: &Tenant| -> Vec<_> {
        let entries = found(tenant, &AuditQuery::default());
        entries.into_iter().map(|entry| (entry.outcome, entry.count)).collect()
    };
    assert_eq!(outcomes(&tenant), [(ActOutcome::Refused, None)]);
    close(&tenant);
    drop(tenant);
    let tenant = open(&folder);
    assert_eq!(outcomes(&tenant), [(ActOutcome::Refused, None), (ActOutcome::Repeated, Some(2))]);
}

#[test]
fn a_trail_that_lost_its_end_says_so_and_goes_on() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    for n in 0..3 {
        let done = act(&tenant, "key:1", "key.create", &format!("keys/{n}"));
        tenant.audited(done, |_, _| Ok(())).unwrap();
    }
    let storage = DiskStorage::new(folder.path());
    tenant.keep_audit().unwrap();
    let heads = Heads::read(&storage, "t").unwrap().unwrap();
    close(&tenant);
    assert_eq!(heads.audit, tenant.trail().unwrap().head());
    assert_eq!(heads.log, tenant.head());
    drop(tenant);
    std::fs::remove_dir_all(folder.path().join("t/audit")).unwrap();
    let tenant = open(&folder);
    let entries = found(&tenant, &AuditQuery::default());
    assert_eq!((entries[0].operation.as_str(), entries[0].outcome), ("audit.open", ActOutcome::Failed));
    assert!(entries[0].detail.as_ref().unwrap().contains(&heads.audit.to_string()));
    close(&tenant);
    drop(tenant);
    // Only once: what is there now is what goes on.
    assert_eq!(found(&open(&folder), &AuditQuery::default()).len(), 1);
    assert!(check(&storage, "t/audit", &mut |_, _| ()).unwrap().problems.is_empty());
}

#[test]
fn a_log_that_lost_its_end_is_told_in_the_trail_before_its_heads_are_forgotten() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    tenant.audited(act(&tenant, "key:1", "key.create", "keys/1"), |_, _| Ok(())).unwrap();
    still::publish(&tenant, "order.placed", "1").unwrap();
    close(&tenant);
    let known = tenant.head();
    drop(tenant);
    // The log as it was made, without what was published.
    let mut files = std::fs::read_dir(folder.path().join("t/log")).unwrap();
    std::fs::remove_file(files.next().unwrap().unwrap().path()).unwrap();
    for cache in ["index", "snapshots"] {
        _ = std::fs::remove_dir_all(folder.path().join("t").join(cache));
    }
    let tenant = open(&folder);
    tenant.open_audit().unwrap();
    let entries = found(&tenant, &AuditQuery::default());
    let detail = entries.last().unwrap().detail.clone().unwrap();
    assert!(detail.contains(&format!("expected the log to go on after {known}")), "{detail}");
    close(&tenant);
    drop(tenant);
    // Told once.
    assert_eq!(found(&open(&folder), &AuditQuery::default()).len(), entries.len());
}

#[test]
fn wherever_a_server_dies_its_folder_is_sound() {
    let folder = TempDir::new().unwrap();
    let storage = DiskStorage::new(folder.path());
    let sound = |at: &str| {
        let verified = verify(&storage, "t", Kept::default(), &mut |_, _| ()).unwrap();
        assert_eq!(verified.problems(), Vec::<String>::new(), "{at}");
    };
    let tenant = open(&folder);
    sound("before the trail");
    tenant.trail().unwrap();
    sound("an empty trail");
    let one = act(&tenant, "key:1", "key.create", "keys/1");
    tenant.begin_act(&one).unwrap();
    sound("begun");
    still::publish(&tenant, "order.placed", "1").unwrap();
    tenant.end_act(&one, &Ended::done()).unwrap();
    sound("ended");
    tenant.keep_audit().unwrap();
    sound("heads");
    let copy = TempDir::new().unwrap();
    backup(&storage, "t", &DiskStorage::new(copy.path()), &mut |_, _| ()).unwrap();
    let verified = verify(&DiskStorage::new(copy.path()), "t", Kept::default(), &mut |_, _| ()).unwrap();
    assert!(verified.problems().is_empty() && verified.audit.is_some());
    std::fs::remove_file(folder.path().join("t/heads")).unwrap();
    let verified = verify(&storage, "t", Kept::default(), &mut |_, _| ()).unwrap();
    assert!(verified.problems()[0].contains("expected the file heads"));
    let told = Heads::read(&storage, "t").unwrap();
    assert_eq!(told, None);
}

#[test]
fn an_act_is_as_long_as_it_is_whatever_events_may_have() {
    let folder = TempDir::new().unwrap();
    let tenant = still::tenant(folder.path(), Options { event_bytes_max: 1_024, ..Options::default() });
    let long = Act { details: json!("x".repeat(30_000)), ..act(&tenant, "key:1", "key.create", &"s".repeat(9_000)) };
    tenant.begin_act(&long).unwrap();
    tenant.end_act(&long, &Ended::refused(None, "y".repeat(9_000))).unwrap();
    assert_eq!(found(&tenant, &AuditQuery::default()).len(), 1);
}
