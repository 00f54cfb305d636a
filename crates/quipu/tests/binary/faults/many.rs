//! Ten thousand connections to one server process while writers write. Each connection is served before it rests, and
//! some of them again afterwards. The other end of all of them is this process.

use std::thread;

use rustix::process::{Resource, getrlimit, setrlimit};

use super::ledger::Ledger;
use super::load::{Connection, End, Load};
use super::server::Serving;
use crate::process::User;

const CONNECTIONS: usize = 10_000;
/// Threads that open them.
const OPENERS: usize = 8;
/// One in so many of them asks again at last.
const STEP: usize = 100;
/// Most memory for one of them, KiB: half of it goes, in a debug build, and the load takes some as well.
const KIB_MAX: u64 = 64;

fn allow_files(count: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    assert!(
        allowed >= count as u64,
        "this test needs {count} open files, a process may have {allowed}: see ulimit -Hn"
    );
}

fn open(address: &str, count: usize) -> Vec<Connection> {
    let served = || {
        let mut connection = Connection::open(address).unwrap();
        assert_eq!(connection.get("/health/live").unwrap().status, 200);
        connection
    };
    (0..count).map(|_| served()).collect()
}

#[test]
fn ten_thousand_connections_rest_while_writers_write_and_are_served_again() {
    allow_files(CONNECTIONS + 200);
    let user = User::new();
    let server = Serving::start(&user, &[]);
    let address = server.address();
    let (mut ledger, mut load) = (Ledger::default(), Load::default());
    let before = server.resident_kib();
    let ends = load.run(&address, &mut ledger, |progress| {
        let mut connections = thread::scope(|scope| {
            let opening: Vec<_> = (0..OPENERS).map(|_| scope.spawn(|| open(&address, CONNECTIONS / OPENERS))).collect();
            opening.into_iter().flat_map(|opened| opened.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(connections.len(), CONNECTIONS);
        progress.wait_for(500);
        for connection in connections.iter_mut().step_by(STEP) {
            assert_eq!(connection.get("/health/ready").unwrap().status, 200);
        }
        let grown = server.resident_kib() - before;
        println!("{CONNECTIONS} connections, {grown} KiB more in memory with the load of writers");
        assert!(grown < KIB_MAX * CONNECTIONS as u64, "{grown} KiB for {CONNECTIONS} connections");
        // They go all at once, which must not disturb the writers either.
        drop(connections);
        progress.wait_for(100);
    });
    assert!(ends.iter().all(|end| matches!(end, End::Enough)), "{ends:?}");
    ledger.read(&address);
    assert_eq!(server.stop(), 0);
}
