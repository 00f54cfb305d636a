//! Requests and answers with the secret of a webhook in them: nobody on the way keeps the answer, and whatever is wrong with
//! the request, neither the refusal nor the log repeats the secret.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::client::Answer;
use crate::host::Host;

const SUBSCRIPTIONS: &str = "/v1/subscriptions";
const PUSH: &str = r#""push":{"url":"https://a.example/""#;

async fn send(host: &Host, method: &str, target: &str, body: &str) -> Answer {
    host.client().await.send(method, target, "application/json", body).await
}

#[tokio::test]
async fn an_answer_with_a_secret_is_kept_by_nobody_on_the_way() {
    let host = Host::start().await;
    let made = send(&host, "POST", SUBSCRIPTIONS, &format!(r#"{{"name":"s",{PUSH}}}}}"#)).await;
    assert_eq!(send(&host, "POST", SUBSCRIPTIONS, r#"{"name":"later"}"#).await.status, 201);
    let changed = send(&host, "PUT", "/v1/subscriptions/later", &format!("{{{PUSH}}}}}")).await;
    let rotated = send(&host, "POST", "/v1/subscriptions/s/secrets", "{}").await;
    for (answer, status) in [(made, 201), (changed, 200), (rotated, 200)] {
        assert_eq!((answer.status, answer.header("cache-control")), (status, "no-store"), "{answer:?}");
        assert!(answer.json()["secret"].as_str().unwrap().starts_with("whsec_"));
    }
}

/// Everything that is logged.
#[derive(Clone, Default)]
pub struct Log(pub Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("quipu") || metadata.target() == "test"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn neither_a_refusal_nor_the_log_repeats_a_secret_wherever_it_stands() {
    let log = Log::default();
    // On this thread, which is the one that serves.
    let _guard = tracing::subscriber::set_default(log.clone());
    tracing::error!(target: "test", "is heard");
    let host = Host::start().await;
    send(&host, "POST", SUBSCRIPTIONS, r#"{"name":"s"}"#).await;
    let secret = "whsec_aHVudGVyMmh1bnRlcjI=";
    for members in [
        r#""push":"SECRET""#,
        r#""push":["SECRET"]"#,
        r#""push":{"SECRET":1}"#,
        r#""push":{"url":"SECRET"}"#,
        r#""push":{"url":"https://SECRET@a.example/"}"#,
        r#""push":{"url":"https://a.example/","secret":"xSECRET"}"#,
        r#""push":{"url":"https://a.example/","secret":"SECRET","secret":"SECRET"}"#,
        r#""push":{"url":"https://a.example/","secret":["SECRET"]}"#,
        r#""push":{"url":"https://a.example/","secret":{"SECRET":"SECRET"}}"#,
        r#""push":{"url":"https://a.example/","mode":"SECRET"}"#,
        r#""push":{"url":"https://a.example/","mode":{"SECRET":1}}"#,
        r#""push":{"url":"https://a.example/","timeoutms":"SECRET"}"#,
        r#""push":{"url":"https://a.example/","secret":"SECRET""#,
        r#""secret":"SECRET""#,
        r#""SECRET":1"#,
        r#""SECRET":1,"SECRET":1"#,
        r#""ordering":"SECRET""#,
        r#""key":["SECRET"]"#,
        r#""maxinflight":"SECRET""#,
        r#""start":{"time":"SECRET"}"#,
        r#""start":"SECRET""#,
        r#""pattern":"SECRET""#,
        r#""pattern":{"type":"SECRET"}"#,
        r#""pattern":{"SECRET":[{"SECRET":"SECRET"}]}"#,
        r#""transform":{"path":"SECRET"}"#,
        r#""transform":{"jq":"SECRET ("}"#,
        r#""transform":{"template":{"template":"x","paths":{"a":"SECRET"}}}"#,
    ] {
        // What has not the form of a secret may be one only where one belongs.
        let texts = [secret, "hunter2"].into_iter().take(if members.contains("push") { 2 } else { 1 });
        for secret in texts {
            let members = members.replace("SECRET", secret);
            let made = send(&host, "POST", SUBSCRIPTIONS, &format!(r#"{{"name":"new",{members}}}"#)).await;
            let changed = send(&host, "PUT", "/v1/subscriptions/s", &format!("{{{members}}}")).await;
            for answer in [made, changed] {
                assert_eq!(answer.status, 400, "{members}");
                let text = answer.text();
                assert!(!text.contains("hunter2") && !text.contains("aHVudG"), "{members}: {text}");
            }
        }
    }
    for (method, target) in
        [("POST", SUBSCRIPTIONS), ("PUT", "/v1/subscriptions/s"), ("POST", "/v1/subscriptions/s/secrets")]
    {
        for body in
            [format!("{secret:?}"), format!("[{secret:?}]"), secret.to_owned(), format!("{{\"name\":{secret:?}}}")]
        {
            let answer = send(&host, method, target, &body).await;
            assert_eq!(answer.status, 400, "{body}");
            assert!(!answer.text().contains("aHVudG"), "{body}: {}", answer.text());
        }
    }
    let log = log.0.lock().unwrap();
    assert!(log.contains("is heard"));
    assert!(!log.contains("hunter2") && !log.contains("aHVudG"), "{log}");
}
