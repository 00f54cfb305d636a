//! A failure that another event store has published, replayed over the wire. Its mutation is in the testkit's
//! `mutations/others.toml`, with those of the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use quipu_domain::Event;

use crate::host::Host;

/// Marten 5300: the events of a tag were read first and the position after them, as two statements. An event that came
/// between the two was not seen, and the condition on the position let a decision through that had not seen it.
#[tokio::test(flavor = "multi_thread")]
async fn marten_5300_a_page_has_every_event_up_to_the_position_that_it_names() {
    let host = Host::start().await;
    let is_done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (tenant, is_done) = (Arc::clone(&host.tenant), Arc::clone(&is_done));
        thread::spawn(move || {
            let mut number = 0;
            while !is_done.load(Ordering::Relaxed) {
                number += 1;
                let event = Event::builder(number.to_string(), "/s", "seat.taken").json("{}").build().unwrap();
                tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()]).unwrap();
            }
        })
    };
    let mut client = host.client().await;
    let mut position = 0;
    let mut pages = 0;
    while pages < 300 || position < 300 {
        let page = client.get(&format!("/v1/events?positionfrom={}&limit=1000", position + 1)).await.json();
        let seen = page["events"].as_array().unwrap().len() as u64;
        if page["cursor"].is_null() {
            let named = page["position"].as_u64().unwrap();
            assert!(position + seen >= named, "{seen} events behind {position}, and it names {named}");
        }
        position += seen;
        pages += 1;
    }
    is_done.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}
