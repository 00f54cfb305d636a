//! A disk that takes nothing more while the server runs: the folder becomes read-only, or the server may not write into it
//! any more. Files that are open stay writable then, as on a real machine; the next segment cannot be made.
//!
//! A file system that turns read-only under its open files (ext4 after an error of the disk) needs root and a loop
//! device; without them the test says on standard error that it did not run.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::ledger::Ledger;
use super::load::{Connection, End, Load, Progress};
use super::mounted::{MOUNT_EXT4, Mounted, is_root};
use super::server::Serving;
use crate::process::User;

/// So small that the next one is soon needed.
const SETTINGS: &[&str] = &["segment_bytes=1048576"];

/// Writes until the server refuses, for what is done to its folder meanwhile.
fn refuses(load: &mut Load, ledger: &mut Ledger, address: &str, fault: impl FnOnce(&mut Progress)) {
    let ends = load.run(address, ledger, |progress| {
        fault(progress);
        progress.until_the_end();
    });
    let unavailable = (503, "unavailable".to_owned());
    for end in ends {
        let End::Refused(answer) = end else { panic!("expected a refusal, found {end:?}") };
        assert_eq!((answer.problem(), &answer.json()["retryable"]), (unavailable.clone(), &true.into()));
    }
    let mut connection = Connection::open(address).unwrap();
    assert_eq!(connection.get("/health/ready").unwrap().problem(), unavailable);
    assert_eq!(connection.get("/health/live").unwrap().status, 200);
    ledger.read(address);
}

/// After a restart everything is there, and it goes on.
fn goes_on(load: &mut Load, ledger: &mut Ledger, server: Serving) {
    let address = server.address();
    ledger.read_again(&address);
    let ends = load.run(&address, ledger, |progress| progress.wait_for(200));
    assert!(ends.iter().all(|end| matches!(end, End::Enough)), "{ends:?}");
    ledger.read_again(&address);
    assert_eq!(server.stop(), 0);
}

#[test]
fn when_the_folder_becomes_read_only_appends_are_refused_and_reads_go_on_until_a_restart() {
    let user = User::new();
    let disk = Mounted::any(&user, 64);
    let (mut ledger, mut load) = (Ledger::default(), Load::default());
    let server = Serving::start_behind(&user, &disk.enter(), SETTINGS);
    refuses(&mut load, &mut ledger, &server.address(), |progress| {
        progress.wait_for(200);
        disk.run(r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0""#).ok();
        disk.run(r#"touch "$0/file""#).ended(1);
    });
    assert_eq!(server.stop(), 0);
    disk.run(r#"umount "$0""#).ok();
    goes_on(&mut load, &mut ledger, Serving::start_behind(&user, &disk.enter(), SETTINGS));
}

/// What takes from root the right to write where permissions forbid it.
fn bound_by_permissions() -> Vec<String> {
    let rights = "-dac_override,-dac_read_search";
    let words = ["setpriv", "--bounding-set", rights, "--inh-caps", rights, "--"];
    if is_root() { words.map(str::to_owned).to_vec() } else { Vec::new() }
}

#[test]
fn when_the_permission_to_write_is_lost_appends_are_refused_and_reads_go_on_until_a_restart() {
    let user = User::new();
    let (mut ledger, mut load) = (Ledger::default(), Load::default());
    let server = Serving::start_behind(&user, &bound_by_permissions(), SETTINGS);
    let log = user.path("data/tenants/default/log");
    refuses(&mut load, &mut ledger, &server.address(), |progress| {
        progress.wait_for(200);
        fs::set_permissions(&log, Permissions::from_mode(0o500)).unwrap();
    });
    assert_eq!(server.stop(), 0);
    fs::set_permissions(&log, Permissions::from_mode(0o700)).unwrap();
    goes_on(&mut load, &mut ledger, Serving::start_behind(&user, &bound_by_permissions(), SETTINGS));
}

/// Nobody writes at the moment itself: ext4 then answers a sync that is under way as done although it is not (Linux 6.18;
/// a program that does nothing but write and sync shows it in two of 25 tries).
#[test]
fn when_the_file_system_turns_read_only_under_open_files_appends_are_refused_and_reads_go_on_until_a_restart() {
    let user = User::new();
    let Some(disk) = Mounted::ext4(&user, 64) else {
        eprintln!("NOT RUN: an ext4 that turns read-only takes root and a loop device");
        return;
    };
    let (mut ledger, mut load) = (Ledger::default(), Load::default());
    let server = Serving::start_behind(&user, &disk.enter(), SETTINGS);
    let address = server.address();
    load.run(&address, &mut ledger, |progress| progress.wait_for(200));
    disk.run(r#"mount -o remount,abort "$0""#).ok();
    refuses(&mut load, &mut ledger, &address, |_| {});
    assert_eq!(server.stop(), 0);
    disk.run(&format!(r#"umount "$0" && {MOUNT_EXT4}"#)).ok();
    goes_on(&mut load, &mut ledger, Serving::start_behind(&user, &disk.enter(), SETTINGS));
}
