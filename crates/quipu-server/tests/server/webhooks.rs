//! Webhooks as their receivers see them: what arrives, what each answer means, and who is never called.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quipu_domain::{Event, PushMode, Stamp, Timestamp};
use quipu_server::webhook::{Answer, Call, Endpoint, Options, Resolver, Secret, Transformed, Webhooks, sign};

use crate::host::{DEADLINE, within};
use crate::receiver::{Receiver, Reply, answer};

fn sender() -> Webhooks {
    Webhooks::new(Options { allowed: vec!["127.0.0.1".parse().unwrap()], ..Options::default() }).unwrap()
}

/// With names that lead where a function says.
fn sender_resolving(lookup: impl Fn(&str) -> Vec<&'static str> + Send + Sync + 'static) -> Webhooks {
    let resolver = Resolver::new(move |name| {
        let addresses: Vec<IpAddr> = lookup(&name).iter().map(|address| address.parse().unwrap()).collect();
        async { Ok(addresses) }
    });
    Webhooks::new(Options { allowed: vec!["127.0.0.1".parse().unwrap()], resolver, ..Options::default() }).unwrap()
}

fn an_event() -> Event<'static> {
    let builder = Event::builder("e.1", "/shop", "order.placed").subject("order 17").data_content_type("text/json");
    builder.json(r#"{"total": 9}"#).build().unwrap()
}

fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64)
}

fn call<'a>(endpoint: &'a Endpoint, event: &'a Event<'a>) -> Call<'a> {
    Call {
        endpoint,
        subscription: "billing",
        idempotency_key: "key",
        attempt: 1,
        replay: None,
        secrets: &[],
        now: now(),
        timeout: DEADLINE,
        mode: PushMode::Binary,
        event,
        stamp: None,
        transformed: None,
    }
}

/// Sends an event there and expects an answer in time.
async fn send(webhooks: &Webhooks, url: &str) -> Answer {
    let (endpoint, event) = (Endpoint::parse(url).unwrap(), an_event());
    within(webhooks.send(call(&endpoint, &event))).await
}

/// The error, status and body of a failure.
fn failure(answer: Answer) -> (String, Option<u16>, Option<String>) {
    match answer {
        Answer::Failed { failure, .. } | Answer::Gone { failure, .. } => (failure.error, failure.status, failure.body),
        delivered => panic!("expected a failure, found {delivered:?}"),
    }
}

fn is_delivered(answer: &Answer) -> bool {
    matches!(answer, Answer::Delivered { .. })
}

#[tokio::test]
async fn a_webhook_says_which_delivery_it_is_of_which_subscription_and_which_attempt() {
    let mut receiver = Receiver::answering(204).await;
    let (endpoint, event) = (Endpoint::parse(&receiver.url()).unwrap(), an_event());
    let secrets = [Secret::generate([1; 32]), Secret::generate([2; 32])];
    let at = Timestamp(1_674_087_231_999_999);
    let call =
        Call { secrets: &secrets, idempotency_key: "1@billing.v2", attempt: 3, now: at, ..call(&endpoint, &event) };
    assert!(is_delivered(&sender().send(call).await));
    let received = receiver.next().await;
    assert_eq!(received.line, "POST /hook?token=hunter2 HTTP/1.1");
    assert_eq!(received.header("host"), receiver.address.to_string());
    let signatures = sign(&secrets, "1@billing%2Ev2", 1_674_087_231, &received.body);
    for (name, value) in [
        ("webhook-id", "1@billing%2Ev2"),
        ("webhook-timestamp", "1674087231"),
        ("webhook-signature", signatures.to_str().unwrap()),
        ("quipu-subscription", "billing"),
        ("quipu-attempt", "3"),
        ("user-agent", concat!("Quipu/", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(received.header(name), value);
    }
    assert_eq!(signatures.to_str().unwrap().split(' ').count(), 2);
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let mut receiver = Receiver::answering(200).await;
    send(&sender(), &receiver.url()).await;
    let received = receiver.next().await;
    assert_eq!((received.header("webhook-id"), received.headers.get("webhook-signature")), ("key", None));
}

#[tokio::test]
async fn an_event_arrives_in_the_mode_that_was_chosen_or_transformed() {
    let mut receiver = Receiver::answering(200).await;
    let (endpoint, event, webhooks) = (Endpoint::parse(&receiver.url()).unwrap(), an_event(), sender());
    let stamp = Stamp { position: 7, stream_version: Some(2), recorded_time: Timestamp(0) };
    let binary = Call { stamp: Some(&stamp), ..call(&endpoint, &event) };
    assert!(is_delivered(&webhooks.send(binary).await));
    let received = receiver.next().await;
    assert_eq!((&received.body[..], received.header("content-type")), (&br#"{"total": 9}"#[..], "text/json"));
    assert_eq!(received.header("content-length"), "12");
    for (name, value) in [("ce-id", "e.1"), ("ce-subject", "order%2017"), ("ce-position", "7")] {
        assert_eq!(received.header(name), value);
    }

    let structured = Call { mode: PushMode::Structured, ..call(&endpoint, &event) };
    assert!(is_delivered(&webhooks.send(structured).await));
    let received = receiver.next().await;
    assert_eq!(received.header("content-type"), "application/cloudevents+json; charset=utf-8");
    assert_eq!(quipu_domain::parse_event(&received.body).unwrap().event, event);

    let outcome = Transformed { content_type: "application/json", body: b"[1]" };
    let transformed = Call { mode: PushMode::Structured, transformed: Some(outcome), ..call(&endpoint, &event) };
    assert!(is_delivered(&webhooks.send(transformed).await));
    let received = receiver.next().await;
    assert_eq!((&received.body[..], received.header("content-type")), (&b"[1]"[..], "application/json"));
    assert_eq!((received.header("ce-id"), received.header("ce-type")), ("e.1", "order.placed"));
}

#[tokio::test]
async fn an_event_with_the_largest_attributes_arrives() {
    let mut receiver = Receiver::answering(200).await;
    let mut builder = Event::builder("1", "/s", "t").json(format!("\"{}\"", "é".repeat(500_000)));
    for n in 0..64 {
        builder = builder.attribute(format!("a{n}"), quipu_domain::Value::Text("é".repeat(4_096).into()));
    }
    let (endpoint, event) = (Endpoint::parse(&receiver.url()).unwrap(), builder.build().unwrap());
    assert!(is_delivered(&within(sender().send(call(&endpoint, &event))).await));
    let received = receiver.next().await;
    assert_eq!((received.header("ce-a63").len(), received.body.len()), (6 * 4_096, 1_000_002));
}

#[tokio::test]
async fn only_a_status_of_200_to_299_is_a_delivery_and_only_410_is_gone() {
    let webhooks = sender();
    for status in [200, 201, 202, 204, 226, 299] {
        let receiver = Receiver::answering(status).await;
        match send(&webhooks, &receiver.url()).await {
            Answer::Delivered { status: found, .. } => assert_eq!(found, status),
            failed => panic!("{status}: {failed:?}"),
        }
    }
    for status in [300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 409, 410, 413, 429, 500, 502, 503, 504, 599] {
        let body = if status == 304 { "" } else { "no, thank you" };
        let receiver = Receiver::start(vec![Reply::Bytes(answer(status, "", body))]).await;
        let answer = send(&webhooks, &receiver.url()).await;
        assert_eq!(matches!(answer, Answer::Gone { .. }), status == 410, "{answer:?}");
        assert!(!matches!(answer, Answer::Failed { retry_after: Some(_), .. }), "{answer:?}");
        let (error, found, head) = failure(answer);
        assert_eq!((found, head.as_deref()), (Some(status), Some(body)));
        assert!(error.contains(&status.to_string()), "{error}");
    }
}

#[tokio::test]
async fn an_endpoint_says_when_it_wants_to_be_called_again_in_seconds_or_with_a_date() {
    let asked = now();
    let date = httpdate(asked.0 / 1_000_000 + 600);
    for (status, value) in [(429, "600"), (503, "600"), (429, &date), (503, &date)] {
        let headers = format!("retry-after: {value}\r\n");
        let receiver = Receiver::start(vec![Reply::Bytes(answer(status, &headers, ""))]).await;
        let Answer::Failed { retry_after: Some(at), .. } = send(&sender(), &receiver.url()).await else {
            panic!("expected a time for {status} {value}");
        };
        let seconds = (at.0 - asked.0) / 1_000_000;
        assert!((599..=600 + DEADLINE.as_secs() as i64).contains(&seconds), "{seconds} s for {status} {value}");
    }
}

/// RFC 9110, 5.6.7, from seconds since 1970.
fn httpdate(seconds: i64) -> String {
    let text = Timestamp(seconds * 1_000_000).to_string();
    let days = (seconds / 86_400) as usize;
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days % 7];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[text[5..7].parse::<usize>().unwrap() - 1];
    format!("{weekday}, {} {month} {} {} GMT", &text[8..10], &text[..4], &text[11..19])
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_in_time_has_failed() {
    let silent = Receiver::start(vec![Reply::Silence]).await;
    let slow = Receiver::start(vec![Reply::Drip(answer(200, "", ""))]).await;
    let unresolved =
        Webhooks::new(Options { resolver: Resolver::new(|_| std::future::pending()), ..Options::default() });
    let tls = silent.url().replace("http:", "https:");
    for (webhooks, url) in [
        (sender(), silent.url()),
        (sender(), slow.url()),
        (sender(), tls),
        (unresolved.unwrap(), "http://silent-names.example/".to_owned()),
    ] {
        let (endpoint, event) = (Endpoint::parse(&url).unwrap(), an_event());
        let late = Call { timeout: Duration::from_millis(100), ..call(&endpoint, &event) };
        let (error, status, body) = failure(within(webhooks.send(late)).await);
        assert_eq!((error.as_str(), status, body), ("no answer within 100 ms", None, None), "{url}");
    }
}

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_has_failed_as_such() {
    let silent = Receiver::start(vec![Reply::Silence]).await;
    let names = Resolver::new(|_| std::future::pending());
    let (allowed, connect_timeout) = (vec!["127.0.0.1".parse().unwrap()], Duration::from_millis(100));
    let webhooks = Webhooks::new(Options { allowed, resolver: names, connect_timeout, ..Options::default() }).unwrap();
    // One that accepts but never speaks TLS, and one whose name servers are silent.
    for url in [silent.url().replace("http:", "https:"), "http://silent-names.example/".to_owned()] {
        let (error, status, _) = failure(send(&webhooks, &url).await);
        assert!(error.starts_with("could not connect to http"), "{error}");
        assert!(error.ends_with(": no connection within 100 ms") && status.is_none(), "{error}");
    }
}

#[tokio::test]
async fn a_body_that_drips_is_not_waited_for_since_the_status_has_decided() {
    let body = "a".repeat(10_000);
    for (status, expected) in [(200, true), (500, false)] {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 1000000\r\n\r\n");
        let receiver = Receiver::start(vec![Reply::Drip([head.as_bytes(), body.as_bytes()].concat())]).await;
        let answer = send(&sender(), &receiver.url()).await;
        assert_eq!(is_delivered(&answer), expected);
        if !expected {
            let (_, status, body) = failure(answer);
            let body = body.unwrap();
            assert!(status == Some(500) && !body.is_empty() && body.len() < 512, "{status:?} {body}");
        }
    }
}

#[tokio::test]
async fn of_a_huge_body_only_the_head_is_read_and_the_connection_is_dropped() {
    for (status, expected) in [(200, true), (500, false)] {
        let head = format!("HTTP/1.1 {status} X\r\ntransfer-encoding: identity\r\n\r\n");
        let head = head.replace("transfer-encoding: identity", "content-length: 1000000000000");
        let receiver = Receiver::start(vec![Reply::Endless(head.into_bytes())]).await;
        let webhooks = sender();
        let answer = send(&webhooks, &receiver.url()).await;
        assert_eq!(is_delivered(&answer), expected);
        if !expected {
            assert_eq!(failure(answer).2.unwrap(), "x".repeat(512));
        }
        send(&webhooks, &receiver.url()).await;
        assert_eq!(receiver.connections(), 2);
    }
}

#[tokio::test]
async fn a_body_that_is_no_text_is_kept_as_far_as_it_can_be_shown() {
    let mut reply = answer(500, "", &"x".repeat(600));
    let at = reply.len() - 600;
    reply[at..].fill(0xff);
    let receiver = Receiver::start(vec![Reply::Bytes(reply)]).await;
    let body = failure(send(&sender(), &receiver.url()).await).2.unwrap();
    assert!(body.len() <= 512 && body.chars().all(|c| c == '\u{fffd}'), "{body}");
}

#[tokio::test]
async fn an_answer_that_is_no_http_or_has_a_huge_head_is_a_failure() {
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(1_000_000));
    for reply in [&b"SSH-2.0-OpenSSH_9.6\r\n\r\n"[..], b"", huge.as_bytes()] {
        let receiver = Receiver::start(vec![Reply::Last(reply.to_vec())]).await;
        let (error, status, _) = failure(send(&sender(), &receiver.url()).await);
        let beginning = format!("the connection to http://{} failed: ", receiver.address);
        assert!(error.starts_with(&beginning) && !error.contains("hunter2"), "{error}");
        assert_eq!(status, None);
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_nobody_is_called_there() {
    let target = Receiver::start_at("127.0.0.2:0", None, vec![Reply::Silence]).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: http://{}/\r\n", target.address);
        let receiver = Receiver::start(vec![Reply::Bytes(answer(status, &location, ""))]).await;
        let (error, found, _) = failure(send(&sender(), &receiver.url()).await);
        assert_eq!(found, Some(status));
        assert!(error.contains("redirects are not followed"), "{error}");
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_never_connected_to_however_it_is_written() {
    let target = Receiver::start_at("0.0.0.0:0", None, vec![Reply::Silence]).await;
    let port = target.address.port();
    let webhooks = Webhooks::new(Options::default()).unwrap();
    for host in [
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "127.255.255.254",
        "[::1]",
        "[::]",
        "[::127.0.0.1]",
        "[0:0:0:0:0:ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::127.0.0.1]",
        "[2002:7f00:1::]",
        "[::ffff:0:127.0.0.1]",
    ] {
        let url = format!("http://{host}:{port}/");
        let error = webhooks.endpoint(&url).expect_err(host).to_string();
        assert!(error.contains("expected a public address"), "{host}: {error}");
        let (error, status, _) = failure(send(&webhooks, &url).await);
        assert!(error.contains("expected a public address") && status.is_none(), "{host}: {error}");
    }
    // Forms that are names to a URL and numbers to the machine's resolver.
    for host in [
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "localhost.",
        "LOCALHOST",
        "127.0.0.1.",
        "0x7f.1",
        "017700000001",
        "127.0.1",
        "0x7f.0.0.0x1",
    ] {
        let url = format!("http://{host}:{port}/");
        assert!(webhooks.endpoint(&url).is_ok(), "{host}");
        let (error, status, _) = failure(send(&webhooks, &url).await);
        assert!(error.starts_with("could not connect") && status.is_none(), "{host}: {error}");
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_refused() {
    let target = Receiver::start_at("127.0.0.2:0", None, vec![Reply::Silence]).await;
    let port = target.address.port();
    for address in ["127.0.0.2", "::ffff:127.0.0.2", "10.0.0.1", "169.254.169.254", "fd00:ec2::254", "64:ff9b::7f00:2"]
    {
        let webhooks = sender_resolving(move |_| vec![address]);
        let (error, _, _) = failure(send(&webhooks, &format!("http://innocent.example:{port}/")).await);
        assert!(error.contains("expected a public address"), "{address}: {error}");
    }
    let nowhere = sender_resolving(|_| vec![]);
    let (error, _, _) = failure(send(&nowhere, "http://innocent.example/").await);
    assert!(error.contains("expected an address of innocent.example, found none"), "{error}");
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn of_several_addresses_only_those_are_tried_that_may_be_called_until_one_answers() {
    let target = Receiver::answering(200).await;
    let port = target.address.port();
    let forbidden = Receiver::start_at(&format!("127.0.0.2:{port}"), None, vec![Reply::Silence]).await;
    let both = ["127.0.0.1".parse().unwrap(), "127.0.0.3".parse().unwrap()].to_vec();
    let resolver = Resolver::new(|_| async {
        Ok(["127.0.0.2", "127.0.0.3", "127.0.0.1"].map(|address| address.parse().unwrap()).to_vec())
    });
    // Nobody listens at 127.0.0.3.
    let webhooks = Webhooks::new(Options { allowed: both, resolver, ..Options::default() }).unwrap();
    assert!(is_delivered(&send(&webhooks, &format!("http://several.example:{port}/")).await));
    assert_eq!((target.connections(), forbidden.connections()), (1, 0));
}

#[tokio::test]
async fn a_name_that_changes_is_checked_at_each_connection() {
    let target = Receiver::start(vec![Reply::Last(answer(200, "connection: close\r\n", ""))]).await;
    let port = target.address.port();
    let forbidden = Receiver::start_at(&format!("127.0.0.2:{port}"), None, vec![Reply::Silence]).await;
    let lookups = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&lookups);
    let webhooks = sender_resolving(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => vec!["127.0.0.1"],
        _ => vec!["127.0.0.2"],
    });
    let url = format!("http://rebound.example:{port}/");
    assert!(is_delivered(&send(&webhooks, &url).await));
    let (error, _, _) = failure(send(&webhooks, &url).await);
    assert!(error.contains("127.0.0.2 (loopback)"), "{error}");
    // One look-up for each connection: none between the check and the connect.
    assert_eq!(lookups.load(Ordering::SeqCst), 2);
    assert_eq!((target.connections(), forbidden.connections()), (1, 0));
}

#[tokio::test]
async fn a_connection_that_is_refused_is_a_failure_that_says_so() {
    let address = {
        let receiver = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        receiver.local_addr().unwrap()
    };
    let (error, status, body) = failure(send(&sender(), &format!("http://{address}/hook?token=hunter2")).await);
    assert!(error.starts_with(&format!("could not connect to http://{address}: ")), "{error}");
    assert!(error.contains("refused") && !error.contains("hunter2"), "{error}");
    assert_eq!((status, body), (None, None));
}

#[tokio::test]
async fn a_connection_is_used_again_for_every_kind_of_body() {
    let (short, long) = ("ok", "y".repeat(10_000));
    let chunked = format!("HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n2710\r\n{long}\r\n0\r\n\r\n");
    for reply in [answer(204, "", ""), answer(200, "", short), answer(500, "", &long), chunked.into_bytes()] {
        let name = String::from_utf8_lossy(&reply[..50.min(reply.len())]).into_owned();
        let mut receiver = Receiver::start(vec![Reply::Bytes(reply)]).await;
        let webhooks = sender();
        for n in 0..20 {
            send(&webhooks, &receiver.url()).await;
            assert_eq!(receiver.next().await.connection, 1, "{n} {name}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_endpoint_has_closed_is_replaced() {
    let mut receiver = Receiver::start(vec![Reply::Last(answer(200, "", ""))]).await;
    let webhooks = sender();
    for connection in 1..=20 {
        assert!(is_delivered(&send(&webhooks, &receiver.url()).await), "{connection}");
        assert_eq!(receiver.next().await.connection, connection);
        // The close is on its way: both ends are on this thread, which gets to it before it goes on.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_all_arrive() {
    let mut receiver = Receiver::answering(200).await;
    let (webhooks, url) = (sender(), receiver.url());
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let (webhooks, url) = (webhooks.clone(), url.clone());
            tokio::spawn(async move { is_delivered(&send(&webhooks, &url).await) })
        })
        .collect();
    for call in calls {
        assert!(within(call).await.unwrap());
        receiver.next().await;
    }
}
