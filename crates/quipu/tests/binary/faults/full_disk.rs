//! A full disk: a small file system of its own, which another file fills up while the server is under load.

use super::ledger::Ledger;
use super::load::{Connection, End, Load};
use super::mounted::Mounted;
use super::server::{Serving, behind};
use crate::process::{User, finish};

const MIB: u64 = 24;
/// The log takes room in small steps, so that the load reaches the end of it soon.
const SETTINGS: &[&str] = &["segment_bytes=1048576"];

fn disk_full() -> (u16, String) {
    (507, "disk-full".to_owned())
}

/// Writes until the disk is full.
fn fills_up(load: &mut Load, ledger: &mut Ledger, address: &str, disk: &Mounted) {
    let ends = load.run(address, ledger, |progress| {
        progress.wait_for(200);
        // It ends where there is no room left, which is what it is for.
        disk.run(r#"cat /dev/zero > "$0/ballast""#).ended(1);
        progress.until_the_end();
    });
    for end in ends {
        let End::Refused(answer) = end else { panic!("expected a refusal, found {end:?}") };
        assert_eq!((answer.problem(), &answer.json()["retryable"]), (disk_full(), &true.into()));
    }
}

#[test]
fn on_a_full_disk_appends_are_refused_as_such_reads_go_on_and_room_and_a_restart_mend_it() {
    let user = User::new();
    let disk = Mounted::any(&user, MIB);
    let (mut ledger, mut load) = (Ledger::default(), Load::default());
    let server = Serving::start_behind(&user, &disk.enter(), SETTINGS);
    let address = server.address();
    fills_up(&mut load, &mut ledger, &address, &disk);
    let mut connection = Connection::open(&address).unwrap();
    assert_eq!(connection.get("/health/ready").unwrap().problem(), disk_full());
    assert_eq!(connection.get("/health/live").unwrap().status, 200);
    ledger.read(&address);

    // Room alone is not enough, since it is not known what reached the disk.
    disk.run(r#"rm "$0/ballast""#).ok();
    let ends = load.run(&address, &mut ledger, |progress| progress.until_the_end());
    assert!(ends.iter().all(|end| matches!(end, End::Refused(answer) if answer.status == 507)), "{ends:?}");
    assert_eq!(server.stop(), 0);
    let server = Serving::start_behind(&user, &disk.enter(), SETTINGS);
    let address = server.address();
    ledger.read(&address);
    let ends = load.run(&address, &mut ledger, |progress| progress.wait_for(200));
    assert!(ends.iter().all(|end| matches!(end, End::Enough)), "{ends:?}");
    ledger.read_again(&address);
    assert_eq!(server.stop(), 0);
    finish(&mut behind(&disk.enter(), user.command(&["store", "check", &user.path("data")]))).ok();
}

#[test]
fn a_server_that_was_killed_on_a_full_disk_opens_on_it_reads_and_refuses_appends() {
    let user = User::new();
    let disk = Mounted::any(&user, MIB);
    let (mut ledger, mut load) = (Ledger::default(), Load::default());
    let server = Serving::start_behind(&user, &disk.enter(), SETTINGS);
    fills_up(&mut load, &mut ledger, &server.address(), &disk);
    drop(server);
    let server = Serving::start_behind(&user, &disk.enter(), SETTINGS);
    let address = server.address();
    ledger.read_again(&address);
    let ends = load.run(&address, &mut ledger, |progress| progress.until_the_end());
    assert!(ends.iter().all(|end| matches!(end, End::Refused(answer) if answer.problem() == disk_full())), "{ends:?}");
    ledger.read(&address);
    drop(server);
    disk.run(r#"rm "$0/ballast""#).ok();
    let server = Serving::start_behind(&user, &disk.enter(), SETTINGS);
    let address = server.address();
    let ends = load.run(&address, &mut ledger, |progress| progress.wait_for(200));
    assert!(ends.iter().all(|end| matches!(end, End::Enough)), "{ends:?}");
    ledger.read_again(&address);
}
