//! A failure that another event store has published, replayed over the wire. Its mutation is in the testkit's
//! `mutations/others.toml`, with those of the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use quipu_domain::Event;
use serde_json::{Value, json};

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
    let (mut pages, mut last_pages) = (0, 0);
    while pages < 300 || last_pages < 100 || position < 300 {
        let page = client.get(&format!("/v1/events?positionfrom={}&limit=1000", position + 1)).await.json();
        let seen = page["events"].as_array().unwrap().len() as u64;
        if page["cursor"].is_null() {
            last_pages += 1;
            let named = page["position"].as_u64().unwrap();
            assert!(position + seen >= named, "{seen} events behind {position}, and it names {named}");
        }
        position += seen;
        pages += 1;
    }
    is_done.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}

/// The same as its users met it: of clients that look whether a seat is free, and take it on the condition that nothing came
/// behind the position that they were told, one gets it.
#[tokio::test(flavor = "multi_thread")]
async fn marten_5300_of_clients_that_saw_a_free_seat_one_takes_it() {
    let host = Host::start().await;
    let mut racers = Vec::new();
    for _ in 0..16 {
        racers.push(host.client().await);
    }
    let mut refused = 0;
    for seat in 0..100 {
        let races = racers.drain(..).enumerate().map(|(racer, mut client)| {
            tokio::spawn(async move {
                // They look for as long as it takes the first one to have its seat, so that some look just then.
                let mut page = Value::Null;
                for _ in 0..=racer {
                    page = client.get(&format!("/v1/events?tag=seat:{seat}")).await.json();
                }
                let is_free = page["events"].as_array().unwrap().is_empty();
                let append = json!({
                    "events": [{"specversion": "1.0", "id": format!("{seat}.{racer}"), "source": "/s", "type": "seat.taken",
                        "subject": format!("guest/{racer}"), "tags": format!("seat:{seat}")}],
                    "conditions": [{"after": page["position"], "query": {"items": [{"tags": [format!("seat:{seat}")]}]}}],
                });
                let status = match is_free {
                    true => client.post("/v1/append", "application/json", &append.to_string()).await.status,
                    false => 0,
                };
                (client, status)
            })
        });
        let mut taken = 0;
        for race in races.collect::<Vec<_>>() {
            let (client, status) = race.await.unwrap();
            racers.push(client);
            assert!([0, 200, 409].contains(&status), "{status}");
            taken += u32::from(status == 200);
            refused += u32::from(status == 409);
        }
        assert_eq!(taken, 1, "seat {seat}");
    }
    assert!(refused > 0, "nobody met anybody");
}
