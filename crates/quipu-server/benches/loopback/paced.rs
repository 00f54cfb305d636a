//! A publisher that sends each event when it is due, whatever became of those before.

use std::io::Write as _;
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use crate::loopback::event::Template;
use crate::loopback::input::{Input, connect};
use crate::loopback::wire;

/// Connections that are taken in turn, so that no event waits for the answer to the one before.
const CONNECTIONS: usize = 16;

/// Publishes `count` events from this number on, the i-th at `due(i)`; one that is late is not taken for late anew.
pub fn publish_paced(address: SocketAddr, template: &Template, first: u64, count: u64, due: impl Fn(u64) -> Instant) {
    let head = wire::head(address, "/v1/events", wire::EVENT, template.bytes(), "");
    let mut connections: Vec<Input> = (0..CONNECTIONS).map(|_| Input::new(connect(address))).collect();
    let mut request = Vec::new();
    let finish = |connection: &mut Input| connection.answer(|body| assert!(body.starts_with(wire::RECORDED)));
    for i in 0..count {
        let turn = i as usize % CONNECTIONS;
        if i >= CONNECTIONS as u64 {
            finish(&mut connections[turn]);
        }
        request.clear();
        request.extend_from_slice(&head);
        template.write(&mut request, first + i);
        thread::sleep(due(i).saturating_duration_since(Instant::now()));
        connections[turn].stream.write_all(&request).expect("written");
    }
    let sent = count.min(CONNECTIONS as u64) as usize;
    connections[..sent].iter_mut().for_each(finish);
}
