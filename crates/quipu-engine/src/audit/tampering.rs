//! Somebody with the disk, or with an export on its way: whatever he changes, drops, inserts, puts in another order or cuts off
//! is found, and the first place of it is named.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quipu_store::DiskStorage;
use quipu_store::frame::FramedCommit;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::options::Options;
use crate::still;

/// A folder with some acts and events, cleanly closed; its heads, and the trail as an export.
struct Told {
    folder: TempDir,
    heads: Heads,
    export: String,
}

fn told() -> Told {
    let folder = TempDir::new().unwrap();
    let tenant = still::tenant(folder.path(), Options::default());
    for n in 0..2 {
        still::publish(&tenant, "order.placed", &n.to_string()).unwrap();
        act(&tenant, &format!("keys/{n}"));
    }
    let heads = Heads { log: tenant.head(), audit: tenant.audit_head().unwrap() };
    let mut export = Vec::new();
    export_begin(&mut export, "t");
    let (commits, next) = tenant.scan_trail(None, heads.audit).unwrap();
    assert_eq!(next, None);
    commits.iter().for_each(|commit: &FramedCommit| export_commit(&mut export, commit));
    export_end(&mut export, heads.audit);
    close(&tenant);
    Told { folder, heads, export: String::from_utf8(export).unwrap() }
}

fn act(tenant: &Arc<Tenant>, subject: &str) {
    let act = tenant.act("key.create", Actor { id: "key:1".into(), name: None }, subject);
    let act = Act { details: json!({"n": 1}), ..act };
    tenant.audited(act, |_, _| Ok(())).unwrap();
}

fn close(tenant: &Tenant) {
    tenant.close_trail().unwrap();
    tenant.close().unwrap();
    tenant.seal_trail().unwrap();
}

impl Told {
    fn verify(&self, kept: Kept) -> Verified {
        verify(&DiskStorage::new(self.folder.path()), "t", kept, &mut |_, _| ()).unwrap()
    }

    fn kept(&self) -> Kept {
        Kept { log: Some(self.heads.log), audit: Some(self.heads.audit) }
    }

    fn problems(&self) -> Vec<String> {
        self.verify(Kept::default()).problems()
    }

    fn segment(&self, log: &str) -> PathBuf {
        let mut files = fs::read_dir(self.folder.path().join(log)).unwrap();
        files.next().unwrap().unwrap().path()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { _ = fs::copy(&path, &target).unwrap() }
    }
}

#[test]
fn what_was_not_touched_is_sound_and_ends_where_its_heads_say() {
    let told = told();
    let verified = told.verify(told.kept());
    assert_eq!(verified.problems(), Vec::<String>::new());
    let audit = verified.audit.unwrap();
    assert_eq!((verified.log.head, audit.head), (Some(told.heads.log), Some(told.heads.audit)));
    assert_eq!(audit.report.events, 4);
    let verified = verify_export(told.export.as_bytes(), Some(told.heads.audit)).unwrap();
    assert_eq!((verified.problem, verified.head), (None, told.heads.audit));
    assert_eq!((verified.tenant.as_str(), verified.events), ("t", 4));
}

#[test]
fn every_byte_of_a_log_that_is_changed_is_found() {
    let told = told();
    for log in ["t/log", "t/audit/log"] {
        let path = told.segment(log);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            let problems = told.problems();
            // The mark at the end says that what is before it is durable, which the heads say too.
            let is_of_mark = at + 64 > whole.len();
            assert!(!problems.is_empty() || is_of_mark, "{log}: byte {at} of {}", whole.len());
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(told.problems().is_empty());
}

#[test]
fn wherever_a_log_is_cut_it_is_found() {
    let told = told();
    for log in ["t/log", "t/audit/log"] {
        let path = told.segment(log);
        let whole = fs::read(&path).unwrap();
        let mut found = 0;
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let verified = told.verify(Kept::default());
            let problems = verified.problems();
            let is_whole = match log {
                "t/log" => verified.log.head == Some(told.heads.log),
                _ => verified.audit.and_then(|audit| audit.head) == Some(told.heads.audit),
            };
            // Of the mark after the last commit nothing is missed.
            assert_eq!(problems.is_empty(), is_whole, "{log}: {len} of {}: {problems:?}", whole.len());
            found += usize::from(!is_whole);
        }
        assert!(found + 100 > whole.len(), "{found} of {}", whole.len());
        fs::write(&path, &whole).unwrap();
    }
    fs::remove_dir_all(told.folder.path().join("t/audit")).unwrap();
    assert!(told.problems()[0].contains("expected a trail up to commit"), "{:?}", told.problems());
}

#[test]
fn a_log_that_was_made_anew_is_found_by_heads_that_were_kept() {
    let (told, other) = (told(), TempDir::new().unwrap());
    // Another history, longer, with everything that belongs to it.
    let tenant = still::tenant(other.path(), Options::default());
    for n in 0..9 {
        still::publish(&tenant, "order.cancelled", &n.to_string()).unwrap();
        act(&tenant, "keys/9");
    }
    close(&tenant);
    drop(tenant);
    fs::remove_dir_all(told.folder.path().join("t")).unwrap();
    copy(&other.path().join("t"), &told.folder.path().join("t"));
    assert!(told.problems().is_empty(), "it is sound in itself");
    let verified = told.verify(told.kept());
    for log in [&verified.log, verified.audit.as_ref().unwrap()] {
        assert!(log.problems[0].contains("another than the one that was there"), "{log:?}");
    }
    let beyond = Head { commit: 99, chain: [7; 32] };
    let problems = told.verify(Kept { log: Some(beyond), ..Kept::default() }).problems();
    assert!(problems[0].contains("to 99 were there and are not"), "{problems:?}");
}

#[test]
fn every_byte_of_the_heads_that_is_changed_is_found_and_so_is_what_says_nothing() {
    let told = told();
    let path = told.folder.path().join("t/heads");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        fs::write(&path, &bytes).unwrap();
        assert!(!told.problems().is_empty(), "byte {at}");
    }
    for text in ["", "{}", "null", "[]"] {
        fs::write(&path, text).unwrap();
        assert!(!told.problems().is_empty(), "{text}");
    }
}

#[test]
fn an_export_with_lines_changed_dropped_inserted_reordered_or_cut_is_found_with_its_line() {
    let told = told();
    let lines: Vec<&str> = told.export.lines().collect();
    let problem = |lines: &[&str]| {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        verify_export(text.as_bytes(), None).unwrap().problem
    };
    let at = |line: usize| Some(format!("line {line}:"));
    let place = |problem: Option<String>| problem.map(|text| text[..=text.find(':').unwrap()].to_owned());
    assert_eq!(problem(&lines), None);
    for n in 0..lines.len() {
        let mut dropped = lines.clone();
        dropped.remove(n);
        // Without the last line the end is missed where it should stand.
        assert_eq!(place(problem(&dropped)), at(n + 1), "dropped {n}");
        let mut twice = lines.clone();
        twice.insert(n, lines[n]);
        assert_eq!(place(problem(&twice)), at(n + 2), "twice {n}");
        if n + 1 < lines.len() {
            let mut turned = lines.clone();
            turned.swap(n, n + 1);
            assert_eq!(place(problem(&turned)), at(n + 1), "turned {n}");
        }
    }
    for cut in 0..told.export.len() {
        assert!(verify_export(&told.export.as_bytes()[..cut], None).unwrap().problem.is_some(), "cut at {cut}");
    }
    let begin = lines[0].len() + 1;
    for at in begin..told.export.len() {
        let mut bytes = told.export.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        assert!(verify_export(bytes.as_slice(), None).unwrap().problem.is_some(), "byte {at}");
    }
    // What a reader sees is what the chain is over.
    let shown = told.export.replacen("key.create", "key.revoke", 1);
    assert!(verify_export(shown.as_bytes(), None).unwrap().problem.unwrap().contains("not the one of its body"));
    let kept = Head { commit: 4, chain: [7; 32] };
    let problem = verify_export(told.export.as_bytes(), Some(kept)).unwrap().problem;
    assert!(problem.unwrap().contains("another than the one that was there"));
    let kept = Head { commit: 40, chain: [7; 32] };
    let problem = verify_export(told.export.as_bytes(), Some(kept)).unwrap().problem;
    assert!(problem.unwrap().contains("were there and are not"));
}
