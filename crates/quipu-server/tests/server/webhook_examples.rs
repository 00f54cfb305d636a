//! The receivers of `docs/webhooks.md`, which know nothing of our code, judge what is sent.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quipu_domain::{Event, PushMode, Timestamp};
use quipu_server::webhook::{Answer, Call, Endpoint, Options, Secret, Webhooks, sign};
use serde_json::{Value, json};

use crate::host::{DEADLINE, within};
use crate::receiver::{Received, Receiver};

/// Reads lines of secret, headers and body, and writes what the example says to each.
const PYTHON: &str = r#"
import json, sys
for line in sys.stdin:
    case = json.loads(line)
    print(json.dumps(is_genuine(case["secret"], case["headers"], bytes(case["body"]))))
"#;
const JAVASCRIPT: &str = r#"
import { readFileSync } from "node:fs";
for (const line of readFileSync(0, "utf8").trim().split("\n")) {
  const request = JSON.parse(line);
  console.log(isGenuine(request.secret, request.headers, Buffer.from(request.body)));
}
"#;

/// The one example in this language.
fn example(language: &str) -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/webhooks.md")).unwrap();
    let mut blocks = page.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix(language));
    let block = blocks.next().unwrap().to_owned();
    assert!(blocks.next().is_none(), "expected one example in {language}, found more");
    block
}

/// What an example says to each case.
fn judged(program: &str, arguments: &[&str], code: &str, cases: &[Value]) -> Vec<bool> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("receiver.mjs");
    std::fs::write(&file, code).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("expected {program} to run the example: {error}"));
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} failed");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

/// A webhook as it was sent with these secrets.
async fn sent(secrets: &[Secret], mode: PushMode, now: Timestamp) -> Received {
    let mut receiver = Receiver::answering(204).await;
    let options = Options { allowed: vec!["127.0.0.1".parse().unwrap()], ..Options::default() };
    let endpoint = Endpoint::parse(&receiver.url()).unwrap();
    let event = Event::builder("1", "/shop", "order.placed").json("{\"name\": \"Zoë €\"}").build().unwrap();
    let call = Call {
        endpoint: &endpoint,
        subscription: "billing.v2",
        idempotency_key: "7@billing.v2",
        attempt: 1,
        replay: None,
        secrets,
        now,
        timeout: DEADLINE,
        mode,
        event: &event,
        stamp: None,
        transformed: None,
    };
    let answer = within(Webhooks::new(options).unwrap().send(call)).await;
    assert!(matches!(answer, Answer::Delivered { .. }), "{answer:?}");
    receiver.next().await
}

fn case(secret: &Secret, received: &Received, change: impl Fn(&mut Value)) -> Value {
    let mut case = json!({ "secret": secret.expose().as_str(), "headers": received.headers, "body": received.body });
    change(&mut case);
    case
}

#[tokio::test]
async fn the_examples_accept_what_is_sent_and_nothing_else() {
    let secrets = [Secret::generate([0xA5; 32]), Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()];
    let [new, old] = &secrets;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = |since: Duration| Timestamp(i64::try_from(since.as_micros()).unwrap());
    let binary = sent(&secrets, PushMode::Binary, at(now)).await;
    let structured = sent(&secrets, PushMode::Structured, at(now)).await;
    let stale = sent(&secrets, PushMode::Binary, at(now - Duration::from_secs(301))).await;
    let early = sent(&secrets, PushMode::Binary, at(now + Duration::from_secs(600))).await;
    let unsigned = sent(&[], PushMode::Binary, at(now)).await;
    let stranger = Secret::generate([3; 32]);
    let without_end = sign(std::slice::from_ref(new), "7@billing%2Ev2", now.as_secs() as i64, &binary.body[1..]);

    let same = |_: &mut Value| {};
    let genuine = [case(new, &binary, same), case(old, &binary, same), case(new, &structured, same)];
    let set = |name: &'static str, value: Value| move |case: &mut Value| case["headers"][name] = value.clone();
    let forged = [
        case(&stranger, &binary, same),
        case(new, &stale, same),
        case(new, &early, same),
        case(new, &unsigned, same),
        case(new, &binary, |case| case["body"][0] = json!(b'[')),
        case(new, &binary, set("webhook-id", json!("8@billing%2Ev2"))),
        case(new, &binary, set("webhook-timestamp", json!((now.as_secs() + 1).to_string()))),
        case(new, &binary, set("webhook-timestamp", json!("yesterday"))),
        case(new, &binary, set("webhook-signature", json!(without_end.to_str().unwrap()))),
        case(new, &binary, set("webhook-signature", json!("v1,é"))),
        case(new, &binary, |case| case["headers"] = json!({})),
    ];
    let expected: Vec<bool> = genuine.iter().map(|_| true).chain(forged.iter().map(|_| false)).collect();
    let cases = [&genuine[..], &forged].concat();
    let python = example("python") + PYTHON;
    assert_eq!(judged("python3", &["-B"], &python, &cases), expected);
    let javascript = example("javascript") + JAVASCRIPT;
    assert_eq!(judged("node", &[], &javascript, &cases), expected);
}
