//! Steps of sagas that call endpoints: what goes over the wire, what each answer comes to, and that a call is lost neither by an endpoint
//! that is down nor by a server that is.

use std::sync::Arc;

use quipu_engine::{CALL_ANSWERED, Tenant};
use quipu_server::Server;
use quipu_server::webhook::Secret;
use serde_json::{Value, json};

use crate::access::send;
use crate::host::within;
use crate::platform::{Platform, allowing, copy_as_killed, eventually, signed_by};
use crate::receiver::{Receiver, Reply, answer};

const JSON: &str = "content-type: application/json\r\n";

/// A saga of these steps, in JSON.
fn saga(name: &str, steps: &Value) -> Value {
    json!({"saga": name, "starts_on": "order.placed", "steps": steps, "completes_with": "order.paid", "fails_with": "order.failed"})
}

/// One step that charges, and what undoes it.
fn charge(url: &str, more: &Value) -> Value {
    let mut step = json!({"http": url, "timeout": "10s", "compensate": "none"});
    for (member, value) in more.as_object().unwrap() {
        step[member] = value.clone();
    }
    json!([{ "charge": step }])
}

async fn apply(platform: &Platform, saga: &Value) -> (u16, Value) {
    let target = format!("/v1/sagas/{}", saga["saga"].as_str().unwrap());
    let answer = send(&platform.host, "PUT", &target, None, Some(("application/json", &saga.to_string()))).await;
    (answer.status, answer.json())
}

async fn applied(platform: &Platform, saga: &Value) {
    let (status, answer) = apply(platform, saga).await;
    assert_eq!(status, 201, "{answer}");
}

async fn place(platform: &Platform, order: &str) {
    let event = json!({"specversion": "1.0", "id": order, "source": "/shop", "type": "order.placed", "correlationid": order,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "data": {"total": 79}});
    let mut client = platform.host.client().await;
    assert_eq!(client.post("/v1/events", "application/cloudevents+json", &event.to_string()).await.status, 200);
}

async fn instance(platform: &Platform, number: u64) -> Value {
    platform.host.client().await.get(&format!("/v1/saga-instances/{number}")).await.json()
}

/// Waits until an instance stands so.
async fn until(platform: &Platform, number: u64, state: &str) -> Value {
    let mut last = Value::Null;
    let found = async {
        eventually(async || {
            last = instance(platform, number).await;
            (last["state"] == state).then(|| last.clone())
        })
        .await
    };
    within(found).await
}

/// What happened to an instance: words, with the text where there is one.
async fn timeline(platform: &Platform, number: u64) -> Vec<String> {
    let found = platform.host.client().await.get(&format!("/v1/saga-instances/{number}/timeline")).await.json();
    let line = |entry: &Value| match entry["text"].as_str() {
        Some(text) => format!("{} {}: {text}", entry["what"].as_str().unwrap(), entry["step"].as_str().unwrap()),
        None => format!("{} {}", entry["what"].as_str().unwrap(), entry["step"].as_str().unwrap()),
    };
    found["entries"].as_array().unwrap().iter().map(line).collect()
}

fn types(tenant: &Tenant) -> Vec<String> {
    let events = (1..=tenant.position()).map(|position| tenant.event_at(position).unwrap().unwrap());
    events.map(|recorded| recorded.event().kind().to_owned()).collect()
}

fn replies(answers: &[(u16, &str, &str)]) -> Vec<Reply> {
    answers.iter().map(|(status, headers, body)| Reply::Bytes(answer(*status, headers, body))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_out_under_its_key_and_what_it_is_answered_is_an_event_that_later_steps_see() {
    let mut receiver = Receiver::start(replies(&[(201, JSON, r#"{"charge": {"id": "ch_1", "cents": 7900.0}}"#)])).await;
    let platform = Platform::start().await;
    let step = json!({"data": "{cents: (.start.data.total * 100)}", "http": {"url": receiver.url(), "method": "PUT", "headers": {"x-api-version": "2"}}});
    let mut steps = charge(&receiver.url(), &step);
    let send = json!({"book": {"send": "charge.book", "data": ".steps.charge", "compensate": "none"}});
    steps.as_array_mut().unwrap().push(send);
    applied(&platform, &saga("pay", &steps)).await;
    place(&platform, "o1").await;
    let received = receiver.next().await;
    assert_eq!(received.line, "PUT /hook?token=hunter2 HTTP/1.1");
    assert_eq!(received.body, br#"{"cents":7900}"#);
    let key = received.header("idempotency-key");
    assert!(key.ends_with("/1/1.0"), "{key}");
    for (name, value) in [
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("quipu-saga", "pay/1"),
        ("quipu-attempt", "1"),
        ("quipu-correlationid", "o1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-api-version", "2"),
        ("webhook-signature", ""),
    ] {
        assert_eq!(received.header(name), value, "{name}");
    }
    until(&platform, 1, "completed").await;
    assert_eq!(types(platform.tenant()), ["order.placed", CALL_ANSWERED, "charge.book", "order.paid"]);
    let booked = platform.tenant().event_at(3).unwrap().unwrap();
    let mut text = Vec::new();
    booked.write_json(&mut text);
    let booked: Value = serde_json::from_slice(&text).unwrap();
    let answered = &booked["data"];
    assert_eq!(answered["data"], json!({"charge": {"id": "ch_1", "cents": 7900.0}}));
    assert_eq!((&answered["type"], &answered["source"]), (&json!(CALL_ANSWERED), &json!("/quipu/sagas/pay")));
    assert_eq!((&answered["httpstatus"], &answered["idempotencykey"]), (&json!(201), &json!(key)));
    assert_eq!((&answered["correlationid"], &answered["causationid"]), (&json!("o1"), &json!("o1")));
    assert_eq!((&booked["causationid"], &booked["correlationid"]), (&answered["id"], &json!("o1")));
    let lines = timeline(&platform, 1).await;
    let endpoint = format!("http://{}", receiver.address);
    assert_eq!(lines[..3], ["begun pay", "tried charge", &format!("finished charge: {endpoint} answered 201 Created")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_fails_the_step_which_is_not_undone() {
    let refusals = [
        (402, "", "no money hunter2", "402 Payment Required"),
        (404, "", "", "404 Not Found"),
        (410, "", "", "410 Gone"),
        (307, "location: http://127.0.0.1:1/elsewhere\r\n", "", "307 Temporary Redirect (redirects are not followed)"),
    ];
    for (status, headers, body, said) in refusals {
        let platform = Platform::start().await;
        let (mut receiver, undone) =
            (Receiver::start(replies(&[(status, headers, body)])).await, Receiver::answering(200).await);
        let more = json!({"compensate": {"http": undone.url()}, "retry": {"max": 3, "backoff": "none"}});
        applied(&platform, &saga("pay", &charge(&receiver.url(), &more))).await;
        place(&platform, "o1").await;
        receiver.next().await;
        until(&platform, 1, "compensated").await;
        assert_eq!((receiver.waiting(), undone.waiting()), (0, 0));
        let lines = timeline(&platform, 1).await;
        assert_eq!(lines[2], format!("refused charge: http://{} answered {said}", receiver.address));
        assert_eq!(types(platform.tenant()), ["order.placed", "order.failed"]);
        assert!(!lines.concat().contains("hunter2"), "{lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_is_called_again_under_the_same_key() {
    for status in [408, 409, 425, 429, 500, 503] {
        let platform = Platform::start().await;
        let mut receiver = Receiver::start(replies(&[(status, "", "busy"), (200, JSON, "{}")])).await;
        let more = json!({"retry": {"max": 2, "backoff": "none"}});
        applied(&platform, &saga("pay", &charge(&receiver.url(), &more))).await;
        place(&platform, "o1").await;
        let (first, second) = (receiver.next().await, receiver.next().await);
        assert_eq!(first.header("idempotency-key"), second.header("idempotency-key"));
        assert_eq!((first.header("quipu-attempt"), second.header("quipu-attempt")), ("1", "2"));
        assert_eq!(first.body, second.body);
        until(&platform, 1, "completed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_answered_is_in_doubt_and_is_undone_by_a_call_under_another_key() {
    let broken =
        Reply::Last(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\ncontent-type: application/json\r\n\r\n{\"a\":".to_vec());
    let endless = Reply::Endless(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\n\r\n\"".to_vec());
    let large = Reply::Bytes(answer(200, JSON, &format!("\"{}\"", "x".repeat(64 << 10))));
    let none = Reply::Bytes(answer(200, JSON, "{hunter2}"));
    for (reply, said) in [
        (Reply::Silence, "did not answer in time"),
        (broken, "answered 200 OK, and the connection failed in the middle of it"),
        (endless, "answered 200 OK, with more than 65536 bytes"),
        (large, "answered 200 OK, with more than 65536 bytes"),
        (none, "answered 200 OK, with JSON that is none"),
    ] {
        let platform = Platform::start().await;
        let (mut receiver, mut bank) =
            (Receiver::start(vec![reply]).await, Receiver::start(replies(&[(500, "", ""), (204, "", "")])).await);
        let undo = json!({"http": {"url": bank.url(), "method": "DELETE"}, "data": "{total: .start.data.total}", "retry": {"max": 2, "backoff": "none"}});
        let more = json!({"timeout": "300ms", "compensate": undo});
        applied(&platform, &saga("pay", &charge(&receiver.url(), &more))).await;
        place(&platform, "o1").await;
        let (called, first, second) = (receiver.next().await, bank.next().await, bank.next().await);
        let key = called.header("idempotency-key");
        assert_eq!(first.header("idempotency-key"), format!("{key}/c"));
        assert_eq!(second.header("idempotency-key"), format!("{key}/c"));
        assert_eq!((&*second.line, &*second.body), ("DELETE /hook?token=hunter2 HTTP/1.1", &br#"{"total":79}"#[..]));
        until(&platform, 1, "compensated").await;
        let lines = timeline(&platform, 1).await;
        assert!(lines[2].starts_with("timedout charge: ") && lines[2].ends_with(said), "{lines:?}");
        assert!(
            lines.iter().any(|line| line.starts_with("undone charge: ") && line.ends_with(" answered 204 No Content")),
            "{lines:?}"
        );
        assert!(!lines.concat().contains("hunter2"), "{lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_is_a_success_that_nothing_is_kept_of() {
    for (headers, body) in [("content-type: text/html\r\n", "<p>hunter2"), ("", ""), (JSON, "  ")] {
        let platform = Platform::start().await;
        let receiver = Receiver::start(replies(&[(200, headers, body)])).await;
        applied(&platform, &saga("pay", &charge(&receiver.url(), &json!({})))).await;
        place(&platform, "o1").await;
        until(&platform, 1, "completed").await;
        let answered = platform.tenant().event_at(2).unwrap().unwrap();
        assert_eq!(
            (answered.event().kind(), answered.event().data().clone()),
            (CALL_ANSWERED, quipu_domain::Data::None)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_says_when_is_called_then_and_no_sooner() {
    let platform = Platform::start().await;
    let mut receiver = Receiver::start(replies(&[(503, "retry-after: 60\r\n", ""), (200, "", "")])).await;
    let more = json!({"retry": {"max": 2, "backoff": "none"}});
    applied(&platform, &saga("pay", &charge(&receiver.url(), &more))).await;
    place(&platform, "o1").await;
    receiver.next().await;
    let waits = |found: &Value| {
        found["waiting"][0]["sentence"].as_str().is_some_and(|text| text.contains("waits for the next attempt"))
    };
    eventually(async || Some(instance(&platform, 1).await).filter(waits)).await;
    platform.clock.wait_ms(59_000);
    assert!(waits(&instance(&platform, 1).await));
    assert_eq!(receiver.waiting(), 0);
    platform.clock.wait_ms(2_000);
    receiver.next().await;
    until(&platform, 1, "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_down_is_left_alone_and_holds_up_nobody_else() {
    let platform = Platform::start().await;
    let mut down = Receiver::answering(500).await;
    let mut works = Receiver::answering(200).await;
    let more = json!({"timeout": "500ms"});
    applied(&platform, &saga("down", &charge(&down.url(), &more))).await;
    for n in 0..5 {
        place(&platform, &format!("o{n}")).await;
        down.next().await;
        until(&platform, n + 1, "compensated").await;
    }
    applied(&platform, &saga("works", &charge(&works.url(), &more))).await;
    place(&platform, "o5").await;
    works.next().await;
    until(&platform, 7, "completed").await;
    // The time of a step goes on while its endpoint is left alone; a call that was not made is no attempt of the endpoint's.
    until(&platform, 6, "compensated").await;
    let lines = timeline(&platform, 6).await;
    assert!(lines[2].contains("was not called in time, of 500 ms"), "{lines:?}");
    assert_eq!(down.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_a_circuit_that_closes_in_its_time() {
    let platform = Platform::start().await;
    let mut receiver = Receiver::start(replies(&[(503, "retry-after: 30\r\n", ""), (200, "", "")])).await;
    applied(&platform, &saga("pay", &charge(&receiver.url(), &json!({})))).await;
    place(&platform, "o1").await;
    receiver.next().await;
    until(&platform, 1, "compensated").await;
    place(&platform, "o2").await;
    let expected = format!(
        "charge, attempt 1: waits for the endpoint (the circuit of http://{} is open: it failed, and is tried again then)",
        receiver.address
    );
    let found = eventually(async || {
        Some(instance(&platform, 2).await).filter(|found| found["waiting"][0]["sentence"] == expected.as_str())
    })
    .await;
    assert!(found["waiting"][0]["time"].as_str().unwrap().starts_with("2026-01-31T09:30:30."), "{found}");
    assert_eq!(receiver.waiting(), 0);
    platform.clock.wait_ms(31_000);
    receiver.next().await;
    until(&platform, 2, "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_not_called() {
    let platform = Platform::start_with(Server::default()).await;
    let receiver = Receiver::answering(200).await;
    let (status, refused) = apply(&platform, &saga("pay", &charge(&receiver.url(), &json!({})))).await;
    assert_eq!((status, &refused["code"]), (400, &json!("invalid-saga")), "{refused}");
    let sentence = refused["findings"][0]["sentence"].as_str().unwrap();
    assert!(sentence.contains("found 127.0.0.1 (loopback)"), "{sentence}");
    // Where a name leads is seen when it is called.
    let url = format!("http://localhost:{}/hook?token=hunter2", receiver.address.port());
    applied(&platform, &saga("pay", &charge(&url, &json!({})))).await;
    place(&platform, "o1").await;
    until(&platform, 1, "compensated").await;
    let lines = timeline(&platform, 1).await;
    assert!(lines[2].contains("(loopback)") && !lines[2].contains("hunter2"), "{lines:?}");
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_open_when_the_server_was_killed_is_made_again_under_its_key() {
    let mut receiver = Receiver::start(vec![Reply::Silence, Reply::Bytes(answer(200, JSON, "{\"n\":1}"))]).await;
    let platform = Platform::start().await;
    applied(&platform, &saga("pay", &charge(&receiver.url(), &json!({"timeout": "1m"})))).await;
    place(&platform, "o1").await;
    let first = receiver.next().await;
    let folder = copy_as_killed(platform.folder.path());
    let again = Platform::start_in(Arc::new(folder), Arc::clone(&platform.clock), allowing()).await;
    let second = receiver.next().await;
    assert_eq!(first.header("idempotency-key"), second.header("idempotency-key"));
    assert_eq!((second.header("quipu-attempt"), &second.body), ("1", &first.body));
    until(&again, 1, "completed").await;
    // What was answered is recorded once; a server that is started once more calls nobody.
    let (folder, clock) = again.stop().await;
    let last = Platform::start_in(folder, clock, allowing()).await;
    assert_eq!(until(&last, 1, "completed").await["state"], "completed");
    assert_eq!(receiver.waiting(), 0);
    assert_eq!(types(last.tenant()), ["order.placed", CALL_ANSWERED, "order.paid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_undoes_a_step_waits_until_its_call_is_over() {
    let slow = Reply::Drip(answer(200, JSON, "{}"));
    let (mut receiver, mut bank) = (Receiver::start(vec![slow]).await, Receiver::answering(200).await);
    let platform = Platform::start().await;
    let more = json!({"timeout": "20s", "compensate": {"http": bank.url()}});
    applied(&platform, &saga("pay", &charge(&receiver.url(), &more))).await;
    place(&platform, "o1").await;
    receiver.next().await;
    let mut client = platform.host.client().await;
    let cancelled = client.post("/v1/saga-instances/1/cancel", "application/json", "{}").await;
    assert_eq!((cancelled.status, bank.waiting()), (200, 0), "{cancelled:?}");
    // It succeeded after it was given up, and is undone once for that: the first compensation was not called before.
    assert!(bank.next().await.header("idempotency-key").ends_with("/1.0/late"));
    until(&platform, 1, "cancelled").await;
    assert_eq!(bank.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_paused_is_made_again_and_what_it_was_answered_meanwhile_is_taken() {
    let slow = Reply::Drip(answer(200, JSON, r#"{"n":1}"#));
    let mut receiver = Receiver::start(vec![slow, Reply::Silence]).await;
    let platform = Platform::start().await;
    applied(&platform, &saga("pay", &charge(&receiver.url(), &json!({"timeout": "20s"})))).await;
    place(&platform, "o1").await;
    receiver.next().await;
    let mut client = platform.host.client().await;
    assert_eq!(client.post("/v1/saga-instances/1/pause", "application/json", "{}").await.status, 200);
    eventually(async || (types(platform.tenant()).len() == 2).then_some(())).await;
    assert_eq!(instance(&platform, 1).await["state"], "paused");
    assert_eq!(client.post("/v1/saga-instances/1/resume", "application/json", "{}").await.status, 200);
    until(&platform, 1, "completed").await;
    assert_eq!(receiver.waiting(), 0, "its answer is recorded, so it is not called again");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_after_a_suspension() {
    let mut receiver = Receiver::start(vec![Reply::Silence, Reply::Bytes(answer(200, "", ""))]).await;
    let mut server = allowing();
    server.drain_timeout = std::time::Duration::from_millis(100);
    let platform = Platform::start_with(server).await;
    applied(&platform, &saga("pay", &charge(&receiver.url(), &json!({"timeout": "1m"})))).await;
    place(&platform, "o1").await;
    let first = receiver.next().await;
    let mut client = platform.host.client().await;
    let suspended = client.post("/v1/tenants/test/suspend", "application/json", r#"{"reason":"a test"}"#).await;
    assert_eq!(suspended.status, 200, "{suspended:?}");
    assert_eq!(client.post("/v1/tenants/test/resume", "application/json", "{}").await.status, 200);
    assert_eq!(receiver.next().await.header("idempotency-key"), first.header("idempotency-key"));
    until(&platform, 1, "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_signed_with_the_secrets_of_its_saga_which_stand_nowhere_else() {
    let (platform, mut receiver) = (Platform::start().await, Receiver::answering(200).await);
    let step = json!({"http": {"url": receiver.url(), "sign": true}, "timeout": "10s"});
    let pay = saga("pay", &charge(&receiver.url(), &step));
    let rotate =
        async || send(&platform.host, "POST", "/v1/sagas/pay/secrets", None, Some(("application/json", "{}"))).await;
    assert_eq!((rotate().await.status, rotate().await.json()["code"].clone()), (404, json!("saga-not-found")));
    applied(&platform, &pay).await;
    // Nothing is sent unsigned.
    place(&platform, "o1").await;
    until(&platform, 1, "compensated").await;
    let lines = timeline(&platform, 1).await;
    assert!(lines[2].contains("pay has no secret to sign with"), "{lines:?}");
    assert_eq!(receiver.connections(), 0);
    let made = [rotate().await, rotate().await];
    let secrets = made.each_ref().map(|answer| Secret::parse(answer.json()["secret"].as_str().unwrap()).unwrap());
    assert_eq!(made[1].header("cache-control"), "no-store");
    place(&platform, "o2").await;
    let received = receiver.next().await;
    assert_eq!(
        signed_by(&received, &[&secrets[0], &secrets[1]]),
        (vec![true, true], 2),
        "the one before is good for a while"
    );
    assert_eq!(received.header("webhook-id"), received.header("idempotency-key").replace('.', "%2E"));
    until(&platform, 2, "completed").await;
    let listed = platform.host.client().await.get("/v1/sagas/pay/secrets").await.json();
    assert_eq!(listed["secrets"].as_array().unwrap().len(), 2, "{listed}");
    // Neither what is shown nor what is written shows one, but for the file that only its owner reads.
    let shown = [
        "/v1/sagas/pay",
        "/v1/sagas/pay/secrets",
        "/v1/saga-instances/2",
        "/v1/saga-instances/2/timeline",
        "/v1/events",
    ];
    let mut texts = Vec::new();
    for target in shown {
        texts.push(platform.host.client().await.get(target).await.body);
    }
    for entry in std::fs::read_dir(platform.folder.path().join("tenants/test/log")).unwrap() {
        let path = entry.unwrap().path();
        texts.extend(path.is_file().then(|| std::fs::read(path).unwrap()));
    }
    for secret in &secrets {
        let secret = secret.expose();
        let secret = secret.strip_prefix("whsec_").unwrap().as_bytes();
        assert!(texts.iter().all(|text| !text.windows(secret.len()).any(|part| part == secret)));
    }
    // They outlive the server, and not the saga.
    let (folder, clock) = platform.stop().await;
    let platform = Platform::start_in(folder, clock, allowing()).await;
    place(&platform, "o3").await;
    assert_eq!(signed_by(&receiver.next().await, &[&secrets[1]]), (vec![true], 2));
    until(&platform, 3, "completed").await;
    let removed = send(&platform.host, "DELETE", "/v1/sagas/pay", None, None).await;
    assert_eq!(removed.status, 200, "{removed:?}");
    applied(&platform, &pay).await;
    let listed = platform.host.client().await.get("/v1/sagas/pay/secrets").await.json();
    assert_eq!(listed["secrets"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_cannot_be_made_under_what_the_secrets_of_a_saga_are_kept_by() {
    let (platform, mut receiver) = (Platform::start().await, Receiver::answering(200).await);
    let step = json!({"http": {"url": receiver.url(), "sign": true}, "timeout": "10s"});
    applied(&platform, &saga("pay", &charge(&receiver.url(), &step))).await;
    let made = send(&platform.host, "POST", "/v1/sagas/pay/secrets", None, Some(("application/json", "{}"))).await;
    let secret = Secret::parse(made.json()["secret"].as_str().unwrap()).unwrap();
    let mut client = platform.host.client().await;
    for given in ["", r#","secret":"whsec_AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=""#] {
        let body = format!(r#"{{"name":"sagas/pay","push":{{"url":"{}"{given}}}}}"#, receiver.url());
        let refused = client.post("/v1/subscriptions", "application/json", &body).await;
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid-subscription")), "{refused:?}");
    }
    place(&platform, "o1").await;
    assert_eq!(signed_by(&receiver.next().await, &[&secret]), (vec![true], 1));
    until(&platform, 1, "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_call_for_themselves() {
    let mut platform = Platform::start().await;
    let url = platform.host.engine.tenant("other").unwrap();
    drop(url);
    let (folder, clock) = platform.stop().await;
    platform = Platform::start_in(folder, clock, allowing()).await;
    let other = Arc::clone(&platform.host.engine.tenant("other").unwrap());
    let (mut own, mut others) = (
        Receiver::start(replies(&[(200, JSON, "\"own\"")])).await,
        Receiver::start(replies(&[(200, JSON, "\"other\"")])).await,
    );
    applied(&platform, &saga("pay", &charge(&own.url(), &json!({})))).await;
    let declared: quipu_domain::saga::Saga =
        serde_json::from_value(saga("pay", &charge(&others.url(), &json!({})))).unwrap();
    other.apply_saga(declared.into(), false, false).unwrap();
    place(&platform, "o1").await;
    let event =
        quipu_domain::Event::builder("o1", "/shop", "order.placed").correlation_id("o1").json("{}").build().unwrap();
    other.publish_wait(vec![other.prepare(&event, None).unwrap()]).unwrap();
    let (mine, theirs) = (own.next().await, others.next().await);
    assert_ne!(mine.header("idempotency-key"), theirs.header("idempotency-key"));
    for (tenant, data) in [(platform.tenant(), "\"own\""), (&other, "\"other\"")] {
        eventually(async || (types(tenant).len() == 3).then_some(())).await;
        let answered = tenant.event_at(2).unwrap().unwrap();
        assert_eq!(answered.event().data().clone(), quipu_domain::Data::Json(data.into()));
    }
    assert_eq!((own.waiting(), others.waiting()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_made_is_told_before_anything_is_called() {
    let (platform, receiver) = (Platform::start().await, Receiver::answering(200).await);
    let more = json!({"data": ".start.data.total.cents"});
    applied(&platform, &saga("pay", &charge(&receiver.url(), &more))).await;
    place(&platform, "o1").await;
    until(&platform, 1, "compensated").await;
    let lines = timeline(&platform, 1).await;
    assert!(lines[2].starts_with("notsent charge: "), "{lines:?}");
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_leaves_places_to_others() {
    let platform = Platform::start().await;
    let (hanging, mut works) = (Receiver::start(vec![Reply::Silence]).await, Receiver::answering(200).await);
    applied(&platform, &saga("hanging", &charge(&hanging.url(), &json!({"timeout": "1m"})))).await;
    for n in 0..70 {
        place(&platform, &format!("o{n}")).await;
    }
    // An eighth of what is free, and 13 wait.
    eventually(async || (hanging.waiting() == 57).then_some(())).await;
    applied(&platform, &saga("works", &charge(&works.url(), &json!({})))).await;
    place(&platform, "last").await;
    works.next().await;
    until(&platform, 72, "completed").await;
    assert_eq!(hanging.waiting(), 57);
}
