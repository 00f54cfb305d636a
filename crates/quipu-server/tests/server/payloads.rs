//! Data that is kept beside the log, over every face: it goes in as any other, is shown as a reference, and comes back as it was
//! sent for whoever asks.

use quipu_engine::Options;
use quipu_server::Server;
use quipu_store::{DiskStorage, check};
use serde_json::{Value, json};

use crate::access::key;
use crate::host::Host;
use crate::receiver::Receiver;
use crate::tail::Tail;
use crate::websocket::Socket;

async fn host() -> Host {
    let options = Options { claim_check_bytes: 2_000, payload_bytes_max: 200_000, ..Options::default() };
    let allowed = vec!["127.0.0.1".parse().unwrap()];
    Host::start_limited(Server { webhook_allowed: allowed, ..Server::default() }, options).await
}

/// An event with some 3 KB of data.
fn large(id: &str) -> String {
    let data = json!({"total": 9.50, "id": id, "pad": "x".repeat(3_000)});
    json!({"specversion":"1.0","id":id,"source":"/test","type":"report.made","subject":"s","data":data}).to_string()
}

fn data_of(event: &str) -> Value {
    serde_json::from_str::<Value>(event).unwrap()["data"].clone()
}

/// An event as it is shown by default: with a reference, and no data.
fn is_reference(event: &Value) -> bool {
    let uri = event["dataref"].as_str().unwrap_or_default();
    uri.starts_with("quipu:payload/blake3/") && event.get("data").is_none() && event.get("data_base64").is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_data_goes_in_by_every_way_and_comes_back_as_it_was_sent() {
    let host = host().await;
    let mut client = host.client().await;
    assert_eq!(client.publish(&large("1")).await.json()["results"][0]["position"], 1);
    let batch = format!("[{},{}]", large("2"), crate::host::event("3", "t", "s"));
    assert_eq!(client.post("/v1/events", "application/json", &batch).await.json()["recorded"], 2);
    let lines = format!("{}\n{}\n", large("4"), large("5"));
    assert!(client.post("/v1/events", "application/x-ndjson", &lines).await.text().contains(r#""recorded":2"#));
    let append = format!(r#"{{"events":[{}]}}"#, large("6"));
    assert_eq!(client.post("/v1/append", "application/json", &append).await.json()["events"][0]["position"], 6);
    let mut socket = Socket::open(&host).await;
    socket.send(large("7")).await;
    assert_eq!(socket.receive().await["ack"]["position"], 7);
    let bytes: Vec<u8> = (0..=255).cycle().take(4_000).collect();
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "8"),
        ("ce-source", "/test"),
        ("ce-type", "report.made"),
        ("content-type", "image/png"),
    ];
    assert_eq!(client.request("POST", "/v1/events", &headers, &bytes).await.json()["results"][0]["position"], 8);

    let page = client.get("/v1/events?type=report.made").await.json();
    assert!(page["events"].as_array().unwrap().iter().all(is_reference), "{page}");
    assert_eq!(page["events"].as_array().unwrap().len(), 7);
    let page = client.get("/v1/events?type=report.made&data=resolved").await.json();
    for event in page["events"].as_array().unwrap().iter().take(6) {
        assert_eq!(event["data"], data_of(&large(event["id"].as_str().unwrap())), "{event}");
        assert!(event.get("dataref").is_none());
    }
    let headers = [("accept", "application/x-ndjson")];
    let lines = client.request("GET", "/v1/events?data=resolved", &headers, b"").await;
    assert_eq!(lines.text().lines().count(), 8);
    assert!(!lines.text().contains("dataref"));
    for (target, id) in [("/v1/positions/4?data=resolved", "4"), ("/v1/event?source=/test&id=6&data=resolved", "6")] {
        assert_eq!(client.get(target).await.json()["data"], data_of(&large(id)), "{target}");
        let reference = target.replace("data=resolved", "data=reference");
        assert!(is_reference(&client.get(&reference).await.json()), "{reference}");
    }
    // Byte for byte: a number as it was written.
    assert!(client.get("/v1/positions/1?data=resolved").await.text().contains(r#""total":9.5"#));
    let binary = client.get("/v1/positions/8?data=resolved").await.json();
    assert_eq!(binary["data_base64"].as_str().unwrap().len(), 4_000_usize.div_ceil(3) * 4);
    let stream = client.get("/v1/streams/s?data=resolved&direction=backward&limit=1").await.json();
    assert_eq!(stream["events"][0]["data"], data_of(&large("7")));
    let stats = client.get("/v1/stats").await.json();
    assert_eq!(stats["payloads"], 7);
    let refused = client.get("/v1/positions/1?data=all").await.json();
    assert_eq!((refused["code"].as_str(), refused["parameter"].as_str()), (Some("invalid-parameter"), Some("data")));
}

#[tokio::test(flavor = "multi_thread")]
async fn tails_send_the_data_to_who_asks_in_order_and_once() {
    let host = host().await;
    let mut client = host.client().await;
    let mut live = Tail::open(&host, "/v1/tail?data=resolved", "").await;
    let mut socket = Socket::open(&host).await;
    socket.send(json!({"subscribe":{"from":"start","data":"resolved"}}).to_string()).await;
    assert_eq!(socket.receive().await["subscribed"]["after"], 0);
    for n in 1..=30 {
        let text = if n % 3 == 0 { large(&n.to_string()) } else { crate::host::event(&n.to_string(), "t", "s") };
        assert_eq!(client.publish(&text).await.status, 200);
    }
    let mut behind = Tail::open(&host, "/v1/tail?from=start&data=resolved", "").await;
    for n in 1..=30 {
        let sent = if n % 3 == 0 { data_of(&large(&n.to_string())) } else { json!({"n":1}) };
        let (first, second, third) = (live.event().await, behind.event().await, socket.receive().await);
        for event in [first, second, third] {
            assert_eq!((&event["position"], &event["data"]), (&json!(n), &sent));
        }
    }
    let mut plain = Tail::open(&host, "/v1/tail?from=3", "").await;
    assert!(is_reference(&plain.event().await));
}

#[tokio::test]
async fn nobody_refers_to_a_payload_that_they_did_not_send() {
    let host = host().await;
    let mut client = host.client().await;
    client.publish(&large("1")).await;
    let uri = client.get("/v1/positions/1").await.json()["dataref"].as_str().unwrap().to_owned();
    let with = |uri: &str| {
        json!({"specversion":"1.0","id":"2","source":"/test","type":"report.made","dataref":uri}).to_string()
    };
    for forged in [uri.as_str(), &uri.replace("quipu:", "QUIPU:"), "quipu:payload/blake3/00", "quipu:"] {
        let refused = client.publish(&with(forged)).await;
        assert_eq!((refused.status, refused.json()["attribute"].as_str()), (400, Some("dataref")), "{refused:?}");
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", "2"),
            ("ce-source", "/test"),
            ("ce-type", "report.made"),
            ("ce-dataref", forged),
        ];
        assert_eq!(client.request("POST", "/v1/events", &headers, b"").await.status, 400);
    }
    // Kept elsewhere by who sends it: passed on, and never fetched.
    let elsewhere = "https://bucket.example/report";
    assert_eq!(client.publish(&with(elsewhere)).await.status, 200);
    let shown = client.get("/v1/positions/2?data=resolved").await.json();
    assert_eq!((shown["dataref"].as_str(), shown.get("data")), (Some(elsewhere), None));
}

#[tokio::test]
async fn data_over_the_limit_is_refused_and_leaves_nothing() {
    let host = host().await;
    let mut client = host.client().await;
    let sent = |bytes: usize| {
        json!({"specversion":"1.0","id":bytes.to_string(),"source":"/test","type":"t","data":"x".repeat(bytes - 2)})
            .to_string()
    };
    assert_eq!(client.publish(&sent(200_000)).await.status, 200);
    let refused = client.publish(&sent(200_001)).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (413, Some("event-too-large")));
    assert_eq!(refused.json()["limit"], 200_000);
    let conflict = client.publish(&sent(200_000).replace("xxx", "xyx")).await;
    assert_eq!(conflict.status, 409);
    assert_eq!(client.get("/v1/stats").await.json()["payloads"], 1);
}

#[tokio::test]
async fn a_payload_that_is_gone_is_named_and_nothing_else_fails() {
    let host = host().await;
    let mut client = host.client().await;
    client.publish(&large("1")).await;
    client.publish(&crate::host::event("2", "t", "s")).await;
    let payloads = host.folder().join("tenants/test/payloads");
    std::fs::rename(&payloads, host.folder().join("away")).unwrap();
    for target in ["/v1/positions/1?data=resolved", "/v1/events?data=resolved", "/v1/streams/s?data=resolved"] {
        let refused = client.get(target).await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (500, Some("damaged")), "{target}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("position 1") && detail.contains("payloads/"), "{detail}");
    }
    assert_eq!(client.get("/v1/events").await.status, 200);
    assert_eq!(client.get("/v1/positions/2?data=resolved").await.status, 200);
    let report = check(&DiskStorage::new(host.folder()), "tenants/test", &mut |_, _| ()).unwrap();
    assert!(report.problems[0].contains("position 1"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_deliver_what_their_definition_says() {
    let host = host().await;
    let mut client = host.client().await;
    let mut receivers = Vec::new();
    for (name, data) in [("reference", "reference"), ("resolved", "resolved")] {
        let receiver = Receiver::answering(204).await;
        for (name, push) in [(format!("{name}-push"), json!({"url":receiver.url()})), (name.to_owned(), Value::Null)] {
            let mut definition = json!({"name":name,"data":data,"pattern":{"data":{"total":[9.5]}}});
            if !push.is_null() {
                definition["push"] = push;
            }
            let made = client.post("/v1/subscriptions", "application/json", &definition.to_string()).await;
            assert_eq!(made.status, 201, "{made:?}");
        }
        receivers.push(receiver);
    }
    assert_eq!(client.publish(&large("1")).await.status, 200);
    let (reference, resolved) = (receivers[0].next().await, receivers[1].next().await);
    assert!(reference.header("ce-dataref").starts_with("quipu:payload/blake3/") && reference.body.is_empty());
    assert_eq!(resolved.header("ce-dataref"), "");
    assert_eq!(serde_json::from_slice::<Value>(&resolved.body).unwrap(), data_of(&large("1")));
    for (name, is_resolved) in [("reference", false), ("resolved", true)] {
        let target = format!("/v1/subscriptions/{name}/pull");
        let pulled = client.post(&target, "application/json", r#"{"max":10,"waitms":5000}"#).await.json();
        let event = &pulled["deliveries"][0]["event"];
        assert_eq!(
            (is_reference(event), event["data"] == data_of(&large("1"))),
            (!is_resolved, is_resolved),
            "{event}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_pattern_is_about_data_sees_no_payload_that_it_may_not() {
    let host = host().await;
    let mut client = host.client().await;
    client.publish(&large("1")).await;
    client.publish(&large("2").replace("\"total\":9.5", "\"total\":8")).await;
    for (pattern, own) in [
        (json!({"data":{"total":[9.5]}}), 1),
        (json!({"data":{"total":[{"anything-but":[9.5]}]}}), 2),
        (json!({"data":{"id":[{"anything-but":["1"]}]}}), 2),
    ] {
        let key = key(&host, json!([{"permissions":["read"],"pattern":pattern}]));
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let page = client.request("GET", "/v1/events", &headers, b"").await.json();
        let seen: Vec<_> = page["events"].as_array().unwrap().iter().map(|event| event["position"].as_u64()).collect();
        assert_eq!(seen, [Some(own)], "{pattern}");
        for position in 1..=2 {
            for target in [
                format!("/v1/positions/{position}?data=resolved"),
                format!("/v1/event?source=/test&id={position}&data=resolved"),
            ] {
                let expected = if position == own { 200 } else { 404 };
                assert_eq!(client.request("GET", &target, &headers, b"").await.status, expected, "{pattern} {target}");
            }
        }
    }
}
