//! States of aggregates that are kept beside the log: used if they are this code's, of this stream and of this log, and never else.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use quipu_engine::{KeptState, STATE_BYTES_MAX, StateOf, Tenant};

use crate::support::*;

fn of(stream: &str) -> StateOf<'_> {
    StateOf { name: "order", stream, fingerprint: "1 order(total)" }
}

fn state(version: u64, position: u64) -> KeptState {
    KeptState { version, position, state: format!("state {version}").into_bytes() }
}

/// A tenant with so many events in the stream `order/1`, each a commit of its own and named after the number and a text.
fn tenant(folder: &Path, events: u64, text: &str) -> Arc<Tenant> {
    let tenant = open(folder, small()).unwrap();
    for number in tenant.position() + 1..=events {
        publish(&tenant, &event(&format!("{text}{number}"), "order/1"));
    }
    tenant
}

/// The files of states in a tenant's folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let inside =
        |path: PathBuf| fs::read_dir(path).map(|all| all.map(|entry| entry.unwrap().path()).collect::<Vec<_>>());
    let folders = inside(folder.join("t/aggregates/order")).unwrap_or_default();
    folders.into_iter().flat_map(|folder| inside(folder).unwrap()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.as_ref().unwrap(), to.join(entry.as_ref().unwrap().file_name()));
        if entry.file_type().unwrap().is_dir() { copy(&entry.path(), &to) } else { drop(fs::copy(entry.path(), to)) }
    }
}

#[test]
fn a_state_is_found_again_after_a_restart_and_replaced_by_a_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = tenant(folder.path(), 3, "a");
    assert_eq!(store.kept_state(of("order/1")).unwrap(), None);
    for version in [2, 3] {
        store.keep_state(of("order/1"), &state(version, version)).unwrap();
        assert_eq!(store.kept_state(of("order/1")).unwrap(), Some(state(version, version)));
    }
    drop(store);
    let store = tenant(folder.path(), 9, "a");
    assert_eq!(store.kept_state(of("order/1")).unwrap(), Some(state(3, 3)));
    assert_eq!(files(folder.path()).len(), 1);
    fs::remove_dir_all(folder.path().join("t/aggregates")).unwrap();
    assert_eq!(store.kept_state(of("order/1")).unwrap(), None);
}

#[test]
fn a_state_of_other_code_or_of_another_stream_or_kind_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = tenant(folder.path(), 2, "a");
    store.keep_state(of("order/1"), &state(2, 2)).unwrap();
    for other in [
        StateOf { fingerprint: "2 order(total)", ..of("order/1") },
        StateOf { name: "invoice", ..of("order/1") },
        of("order/2"),
    ] {
        assert_eq!(store.kept_state(other).unwrap(), None, "{other:?}");
    }
    // In the slot of another stream: two whose names' hashes begin alike.
    let (own, other) = (files(folder.path()).remove(0), of("order/2"));
    store.keep_state(other, &state(1, 1)).unwrap();
    let theirs = files(folder.path()).into_iter().find(|path| *path != own).unwrap();
    fs::copy(&own, theirs).unwrap();
    assert_eq!(store.kept_state(other).unwrap(), None);
}

#[test]
fn a_state_of_what_the_log_has_lost_is_none_also_when_the_log_has_grown_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(tenant(folder.path(), 2, "a"));
    let older = tempfile::tempdir().unwrap();
    copy(folder.path(), older.path());

    let store = tenant(folder.path(), 5, "a");
    store.keep_state(of("order/1"), &state(5, 5)).unwrap();
    drop(store);
    copy(&folder.path().join("t/aggregates"), &older.path().join("t/aggregates"));

    // Shorter than the state; as long, with other events; longer, with other events.
    for events in [2, 5, 9] {
        let store = tenant(older.path(), events, "b");
        assert_eq!(store.kept_state(of("order/1")).unwrap(), None, "{events} events");
        drop(store);
    }
    // One of what both logs have is good in both.
    let store = tenant(folder.path(), 5, "a");
    store.keep_state(of("order/1"), &state(2, 2)).unwrap();
    drop(store);
    copy(&folder.path().join("t/aggregates"), &older.path().join("t/aggregates"));
    assert_eq!(tenant(older.path(), 9, "b").kept_state(of("order/1")).unwrap(), Some(state(2, 2)));
}

#[test]
fn a_state_of_other_events_in_the_same_commit_is_none() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // The last event is the same, and so is all that was before the commit.
    for (folder, first) in [(&one, "x"), (&other, "y")] {
        let store = open(folder.path(), small()).unwrap();
        let append = append_of(&store, &[event(first, "order/1"), event("last", "order/1")]);
        store.append_wait(append).unwrap();
        if first == "x" {
            store.keep_state(of("order/1"), &state(2, 2)).unwrap();
            assert_eq!(store.kept_state(of("order/1")).unwrap(), Some(state(2, 2)));
        }
    }
    copy(&one.path().join("t/aggregates"), &other.path().join("t/aggregates"));
    assert_eq!(tenant(other.path(), 2, "").kept_state(of("order/1")).unwrap(), None);
}

#[test]
fn what_would_be_dear_to_read_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = tenant(folder.path(), 2, "a");
    let large = |bytes| KeptState { state: vec![7; bytes], ..state(2, 2) };
    store.keep_state(of("order/1"), &large(STATE_BYTES_MAX + 1)).unwrap();
    assert_eq!(files(folder.path()).len(), 0);
    store.keep_state(of("order/1"), &large(STATE_BYTES_MAX)).unwrap();
    assert_eq!(store.kept_state(of("order/1")).unwrap(), Some(large(STATE_BYTES_MAX)));
    // In a commit that would have to be read each time.
    let text = format!("\"{}\"", "x".repeat(70_000));
    publish(&store, &event_of("order.placed", "large", "order/1", &text));
    store.keep_state(of("order/1"), &state(3, 3)).unwrap();
    assert_eq!(store.kept_state(of("order/1")).unwrap(), Some(large(STATE_BYTES_MAX)));
    // Of an event that is not there.
    store.keep_state(of("order/1"), &state(9, 9)).unwrap();
    assert_eq!(store.kept_state(of("order/1")).unwrap(), Some(large(STATE_BYTES_MAX)));
}

#[test]
fn any_change_of_a_kept_state_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = tenant(folder.path(), 2, "a");
    store.keep_state(of("order/1"), &state(2, 2)).unwrap();
    let path = files(folder.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    proptest!(|(at in 0..whole.len(), bit in 0..8u32, cuts in any::<bool>())| {
        let mut changed = whole.clone();
        if cuts { changed.truncate(at) } else { changed[at] ^= 1 << bit }
        fs::write(&path, changed).unwrap();
        prop_assert_eq!(store.kept_state(of("order/1")).unwrap(), None);
    });
    fs::write(&path, whole).unwrap();
    assert_eq!(store.kept_state(of("order/1")).unwrap(), Some(state(2, 2)));
}
