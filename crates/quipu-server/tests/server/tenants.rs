//! Tenants as operators and their users see them over real sockets: made, suspended, resumed, limited, exported and deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quipu_api::OPERATIONS;
use quipu_api::catalogue::Needs;
use quipu_domain::{Direction, Permission};
use quipu_engine::{ActOutcome, AuditQuery, Engine, Options, TENANT_SYSTEM, World};
use quipu_server::{Anybody, Server};
use quipu_store::DiskStorage;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::access::{ask, closed, code, everything, key_of, permissions, send};
use crate::auditing::actor;
use crate::client::{Answer, Client};
use crate::host::{Dice, Host, event, within};
use crate::platform::Platform;
use crate::receiver::Receiver;
use crate::websocket::Socket;

const JSON: &str = "application/json";
const EVENT: &str = "application/cloudevents+json";

/// A server, and the key of an operator.
async fn operated() -> (Host, String) {
    let host = closed().await;
    // It answers when it knows all tenants.
    assert_eq!(send(&host, "GET", "/health/live", None, None).await.status, 200);
    let system = host.engine.tenant(TENANT_SYSTEM).unwrap();
    let operator = key_of(&system, TENANT_SYSTEM, permissions([Permission::Operate].into_iter()), None);
    (host, operator)
}

async fn act(host: &Host, operator: &str, method: &str, target: &str, body: Option<Value>) -> Answer {
    let body = body.map(|body| body.to_string());
    send(host, method, target, Some(operator), body.as_deref().map(|body| (JSON, body))).await
}

/// Makes a tenant with these quotas; a key that may do everything in it.
async fn make(host: &Host, operator: &str, name: &str, quotas: Value) -> String {
    let made = act(host, operator, "POST", "/v1/tenants", Some(json!({ "name": name, "quotas": quotas }))).await;
    assert_eq!(made.status, 201, "{made:?}");
    key_of(&host.engine.tenant(name).unwrap(), name, everything(), None)
}

async fn suspend(host: &Host, operator: &str, name: &str) {
    let target = format!("/v1/tenants/{name}/suspend");
    let suspended = act(host, operator, "POST", &target, Some(json!({"reason":"unpaid"}))).await;
    assert_eq!((suspended.status, &suspended.json()["reason"]), (200, &json!("unpaid")), "{suspended:?}");
}

async fn publish(host: &Host, key: &str, id: &str) -> Answer {
    send(host, "POST", "/v1/events", Some(key), Some((EVENT, &event(id, "a.b", "s")))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_makes_a_tenant_and_its_administrator_goes_on() {
    let (host, operator) = operated().await;
    let asked = json!({"name":"acme","quotas":{"connections":50}});
    let made = act(&host, &operator, "POST", "/v1/tenants", Some(asked.clone())).await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"), "{made:?}");
    let made = made.json();
    let admin = made["key"]["key"].as_str().unwrap();
    assert_eq!((&made["tenant"]["name"], &made["tenant"]["state"]), (&json!("acme"), &json!("active")));
    let grants = json!({"name":"shop","grants":[{"permissions":["publish"]}]});
    let shop = act(&host, admin, "POST", "/v1/keys", Some(grants)).await.json();
    let shop = shop["key"].as_str().unwrap();
    assert_eq!(publish(&host, shop, "1").await.status, 200);
    let again = act(&host, &operator, "POST", "/v1/tenants", Some(asked)).await;
    assert_eq!((again.status, code(&again).as_str()), (409, "tenant-exists"));
    for (body, expected) in [
        (json!({"name":"system"}), "invalid-tenant"),
        (json!({"name":"A"}), "invalid-tenant"),
        (json!({"name":"b","quotas":{"connections":0}}), "invalid-request"),
        (json!({"name":"b","retention":1}), "invalid-request"),
    ] {
        let refused = act(&host, &operator, "POST", "/v1/tenants", Some(body)).await;
        assert_eq!((refused.status, code(&refused).as_str()), (400, expected), "{refused:?}");
    }
    let listed = act(&host, &operator, "GET", "/v1/tenants", None).await.json();
    let names: Vec<_> = listed["tenants"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["acme", "other", "test"]);
    let shown = act(&host, &operator, "GET", "/v1/tenants/acme", None).await.json();
    assert_eq!((&shown["usage"]["position"], &shown["usage"]["keys"]), (&json!(1), &json!(2)), "{shown}");
    assert!(!shown.to_string().contains(&admin[admin.len() - 20..]));
    // The operator is in no tenant but system.
    assert_eq!(act(&host, &operator, "GET", "/v1/events", None).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_no_operator_learns_nothing_of_tenants() {
    let (host, operator) = operated().await;
    make(&host, &operator, "acme", json!({})).await;
    let system = host.engine.tenant(TENANT_SYSTEM).unwrap();
    let others = [key_of(&host.tenant, "test", everything(), None), key_of(&system, TENANT_SYSTEM, everything(), None)];
    for operation in OPERATIONS.iter().filter(|one| one.needs == Needs::Permission(Permission::Operate)) {
        assert!(operation.example.target.starts_with("/v1/tenants"), "{}", operation.name);
        for key in &others {
            let there = ask(&host, operation, Some(key)).await;
            let target = operation.example.target.replace("acme", "nobody");
            let absent = send(&host, operation.method.as_str(), &target, Some(key), operation.example.body).await;
            assert_eq!((there.status, code(&there).as_str()), (403, "forbidden"), "{}", operation.name);
            assert_eq!((there.status, there.body), (absent.status, absent.body), "{}", operation.name);
        }
    }
    let grants = json!({"name":"op","grants":[{"permissions":["operate"]}]});
    let refused = act(&host, &others[0], "POST", "/v1/keys", Some(grants)).await;
    assert_eq!((refused.status, code(&refused).as_str()), (400, "invalid-key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_tenant_lets_nobody_in_until_it_is_resumed() {
    let (host, operator) = operated().await;
    let key = make(&host, &operator, "acme", json!({})).await;
    assert_eq!(publish(&host, &key, "1").await.status, 200);
    let wrong = key.replace("qp_acme_", "qp_acmes_");
    let before = publish(&host, &wrong, "2").await;
    suspend(&host, &operator, "acme").await;
    for operation in OPERATIONS.iter().filter(|one| one.needs != Needs::Nothing) {
        let refused = ask(&host, operation, Some(&key)).await;
        let expected = match operation.needs {
            Needs::Permission(Permission::Operate) => "forbidden",
            _ => "tenant-suspended",
        };
        assert_eq!((refused.status, code(&refused).as_str()), (403, expected), "{}", operation.name);
        assert!(!refused.text().contains("unpaid"), "{}", operation.name);
    }
    // Who has no valid credential learns nothing of it.
    let mut other = key.clone();
    other.replace_range(key.len() - 4.., "0000");
    for stranger in [&wrong, &other] {
        let refused = publish(&host, stranger, "2").await;
        assert_eq!((refused.status, &refused.body), (401, &before.body), "{refused:?}");
    }
    // Nobody else is touched.
    let neighbour = key_of(&host.tenant, "test", everything(), None);
    assert_eq!(publish(&host, &neighbour, "1").await.status, 200);
    let shown = act(&host, &operator, "GET", "/v1/tenants/acme", None).await.json();
    assert_eq!((&shown["state"], &shown["usage"]["position"]), (&json!("suspended"), &json!(1)));
    let resumed = act(&host, &operator, "POST", "/v1/tenants/acme/resume", None).await;
    assert_eq!((resumed.status, &resumed.json()["state"]), (200, &json!("active")));
    assert_eq!(publish(&host, &key, "2").await.json()["results"][0]["position"], 2);
    let gone = act(&host, &operator, "POST", "/v1/tenants/nobody/resume", None).await;
    assert_eq!((gone.status, code(&gone).as_str()), (404, "tenant-not-found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_for_long_ends_when_its_tenant_is_suspended() {
    let (host, operator) = operated().await;
    let key = make(&host, &operator, "acme", json!({})).await;
    let made = act(&host, &key, "POST", "/v1/subscriptions", Some(json!({"name":"s","start":"beginning"}))).await;
    assert_eq!(made.status, 201, "{made:?}");
    let mut socket = Socket::open_with(&host, Some(&key)).await;
    socket.send(r#"{"subscribe":{}}"#).await;
    socket.receive().await;
    let mut tail = Client::connect(host.address).await;
    let head = format!("GET /v1/tail HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n");
    tail.write(head.as_bytes()).await;
    assert_eq!(tail.head().await.0, 200);
    assert!(tail.chunk().await.is_some(), "the mark at the beginning");
    let pull = async { act(&host, &key, "POST", "/v1/subscriptions/s/pull", Some(json!({"waitms":20_000}))).await };
    let suspending = async {
        // When all of these are under way.
        while act(&host, &operator, "GET", "/v1/tenants/acme", None).await.json()["usage"]["connections"] != 3 {
            tokio::task::yield_now().await;
        }
        suspend(&host, &operator, "acme").await;
    };
    let begun = Instant::now();
    let (pulled, ()) = within(async { tokio::join!(pull, suspending) }).await;
    assert_eq!((pulled.status, code(&pulled).as_str()), (403, "tenant-suspended"));
    assert_eq!(within(tail.chunk()).await, None, "the tail ends");
    assert_eq!(socket.receive().await["error"]["code"], "tenant-suspended");
    assert!(matches!(socket.message().await, Some(Message::Close(_)) | None));
    assert!(begun.elapsed() < Duration::from_secs(10), "none of them waits for a sign of life");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_under_way_is_not_recorded_on_after_a_suspension() {
    let (host, operator) = operated().await;
    let key = make(&host, &operator, "acme", json!({})).await;
    let mut client = Client::connect(host.address).await;
    let line = |id: &str| format!("{}\n", event(id, "a.b", "s"));
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-type: application/x-ndjson\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    client.write((head + &chunk(&line("1"))).as_bytes()).await;
    assert_eq!(client.head().await.0, 200);
    assert!(client.chunk().await.is_some(), "the first one is answered");
    suspend(&host, &operator, "acme").await;
    client.write(chunk(&line("2")).as_bytes()).await;
    let rest = String::from_utf8(within(client.chunk()).await.unwrap()).unwrap();
    assert!(rest.contains("tenant-suspended"), "{rest}");
    assert_eq!(host.engine.tenant("acme").unwrap().position(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tenant_leaves_nothing_to_the_next_of_its_name() {
    let (host, operator) = operated().await;
    let key = make(&host, &operator, "acme", json!({})).await;
    assert_eq!(publish(&host, &key, "1").await.status, 200);
    let delete = async |confirm: &str| {
        act(&host, &operator, "DELETE", &format!("/v1/tenants/acme?confirm={confirm}"), None).await
    };
    let early = delete("acme").await;
    assert_eq!((early.status, code(&early).as_str(), &early.json()["state"]), (409, "tenant-state", &json!("active")));
    // One who holds a connection does not hold the tenant.
    let mut socket = Socket::open_with(&host, Some(&key)).await;
    suspend(&host, &operator, "acme").await;
    assert_eq!(socket.receive().await["error"]["code"], "tenant-suspended");
    for (target, status) in [("?confirm=acm", 400), ("", 400), ("?confirm=acme&force=1", 400)] {
        let refused = act(&host, &operator, "DELETE", &format!("/v1/tenants/acme{target}"), None).await;
        assert_eq!((refused.status, code(&refused).as_str()), (status, "invalid-parameter"), "{refused:?}");
    }
    assert_eq!(publish(&host, &key, "2").await.status, 403, "nothing was deleted yet");
    let deleted = delete("acme").await;
    assert_eq!((deleted.status, &deleted.json()["deleted"]), (200, &json!("acme")), "{deleted:?}");
    assert!(!host.engine.tenant_names().unwrap().contains(&"acme".to_owned()));
    let unknown = publish(&host, &key.replace("qp_acme_", "qp_nobody_"), "2").await;
    let refused = publish(&host, &key, "2").await;
    assert_eq!((refused.status, refused.body), (401, unknown.body));
    assert_eq!(delete("acme").await.status, 404);
    let next = make(&host, &operator, "acme", json!({})).await;
    assert_eq!(publish(&host, &key, "2").await.status, 401);
    let events = send(&host, "GET", "/v1/events", Some(&next), None).await.json();
    assert_eq!((&events["events"], &events["position"]), (&json!([]), &json!(0)));
    assert_eq!(publish(&host, &next, "1").await.json()["results"][0]["position"], 1);
    // The tenant of requests without a credential is always there.
    suspend(&host, &operator, "test").await;
    let kept = act(&host, &operator, "DELETE", "/v1/tenants/test?confirm=test", None).await;
    assert_eq!((kept.status, code(&kept).as_str()), (409, "tenant-state"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_needs_no_key_operates_also_while_his_own_tenant_is_suspended() {
    let host = Host::start().await;
    let ask =
        async |method: &str, target: &str, body: Option<(&str, &str)>| send(&host, method, target, None, body).await;
    assert_eq!(ask("GET", "/v1/tenants", None).await.json()["tenants"][0]["name"], "test");
    let reason = Some((JSON, r#"{"reason":"a test"}"#));
    assert_eq!(ask("POST", "/v1/tenants/test/suspend", reason).await.status, 200);
    assert_eq!(code(&ask("GET", "/v1/events", None).await), "tenant-suspended");
    assert_eq!(ask("POST", "/v1/tenants/test/resume", None).await.status, 200);
    assert_eq!(ask("GET", "/v1/events", None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_outlives_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let engine = || {
        let clock = Arc::new(machine::Now);
        let world = World { storage: Arc::new(DiskStorage::new(folder.path())), clock, random: Arc::new(Dice) };
        Arc::new(Engine::open(world, Options::default()).unwrap())
    };
    let server = || Server { anybody: Anybody::None, ..Server::default() };
    let key = {
        let mut host = Host::start_over(engine(), server()).await;
        assert_eq!(send(&host, "GET", "/health/live", None, None).await.status, 200);
        let system = host.engine.tenant(TENANT_SYSTEM).unwrap();
        let operator = key_of(&system, TENANT_SYSTEM, permissions([Permission::Operate].into_iter()), None);
        let key = make(&host, &operator, "acme", json!({})).await;
        suspend(&host, &operator, "acme").await;
        host.begin_shutdown();
        host.stopped().await;
        host.engine.close().unwrap();
        key
    };
    let host = Host::start_over(engine(), server()).await;
    let refused = publish(&host, &key, "1").await;
    assert_eq!(code(&refused), "tenant-suspended", "{refused:?}");
}

/// The time of the machine.
mod machine {
    pub struct Now;

    impl quipu_engine::Clock for Now {
        fn now(&self) -> quipu_domain::Timestamp {
            let since = std::time::UNIX_EPOCH.elapsed().unwrap();
            quipu_domain::Timestamp(since.as_micros() as i64)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_over_the_quota_are_refused_in_every_dialect_and_lines_are_slowed_down() {
    let (host, operator) = operated().await;
    let few = json!({"eventspersecond":1});
    let over = |answer: &Answer| {
        assert_eq!((answer.status, code(answer).as_str()), (429, "quota-exceeded"), "{answer:?}");
        assert_eq!((&answer.json()["quota"], &answer.json()["limit"]), (&json!("eventspersecond"), &json!(1)));
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    };
    let batch = |ids: std::ops::Range<u32>| {
        let all: Vec<_> = ids.map(|id| event(&id.to_string(), "a.b", "s")).collect();
        format!("[{}]", all.join(","))
    };
    let append = |ids: std::ops::Range<u32>| format!(r#"{{"events":{}}}"#, batch(ids));
    // One request is taken as a whole and paid for afterwards; the next has to wait.
    let key = make(&host, &operator, "appends", few.clone()).await;
    let appended = send(&host, "POST", "/v1/append", Some(&key), Some((JSON, &append(0..20)))).await;
    assert_eq!(appended.status, 200, "{appended:?}");
    over(&send(&host, "POST", "/v1/append", Some(&key), Some((JSON, &append(20..21)))).await);
    over(&publish(&host, &key, "99").await);
    assert_eq!(host.engine.tenant("appends").unwrap().position(), 20);
    // Of a batch the rest is refused.
    let key = make(&host, &operator, "batches", few.clone()).await;
    let media = "application/cloudevents-batch+json";
    let sent = send(&host, "POST", "/v1/events", Some(&key), Some((media, &batch(0..20)))).await.json();
    let refused = |one: &&Value| one["error"]["code"] == "quota-exceeded";
    let refused = sent["results"].as_array().unwrap().iter().filter(refused).count();
    assert!((18..20).contains(&refused), "{sent}");
    // So is a frame.
    let key = make(&host, &operator, "sockets", few.clone()).await;
    let mut socket = Socket::open_with(&host, Some(&key)).await;
    socket.send(event("1", "a.b", "s")).await;
    assert_eq!(socket.receive().await["ack"]["position"], 1);
    socket.send(event("2", "a.b", "s")).await;
    assert_eq!(socket.receive().await["ack"]["error"]["code"], "quota-exceeded");
    // What is no event costs as much as one.
    let key = make(&host, &operator, "errors", json!({"bytespersecond":10})).await;
    let nonsense = format!("{{{}", "x".repeat(100));
    assert_eq!(send(&host, "POST", "/v1/events", Some(&key), Some((EVENT, &nonsense))).await.status, 400);
    let refused = publish(&host, &key, "1").await;
    assert_eq!((refused.status, &refused.json()["quota"]), (429, &json!("bytespersecond")), "{refused:?}");
    // A load gets through, at its rate.
    let key = make(&host, &operator, "loads", json!({"eventspersecond":400})).await;
    let lines: String = (0..1_000).map(|id| event(&id.to_string(), "a.b", "s") + "\n").collect();
    let mut client = Client::connect(host.address).await;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-type: application/x-ndjson\r\n\
         prefer: return=minimal\r\ncontent-length: {}\r\n\r\n{lines}",
        lines.len()
    );
    let begun = Instant::now();
    client.write(head.as_bytes()).await;
    let loaded = within(client.answer("POST")).await;
    assert_eq!((loaded.status, &loaded.json()["recorded"]), (200, &json!(1_000)), "{loaded:?}");
    assert!(begun.elapsed() > Duration::from_millis(700), "1,000 events at 400 a second took {:?}", begun.elapsed());
    // A quota that is changed holds at once.
    let lifted = act(&host, &operator, "PUT", "/v1/tenants/appends/quotas", Some(json!({}))).await;
    assert_eq!((lifted.status, &lifted.json()["quotas"]), (200, &json!({})));
    let key = key_of(&host.engine.tenant("appends").unwrap(), "appends", everything(), None);
    assert_eq!(publish(&host, &key, "99").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_the_quota_are_refused_until_others_end() {
    let (host, operator) = operated().await;
    let key = make(&host, &operator, "acme", json!({"connections":2})).await;
    let first = Socket::open_with(&host, Some(&key)).await;
    let second = Socket::open_with(&host, Some(&key)).await;
    for target in ["/v1/events", "/v1/tail", "/v1/access"] {
        let refused = send(&host, "GET", target, Some(&key), None).await;
        assert_eq!((refused.status, code(&refused).as_str()), (429, "quota-exceeded"), "{target}: {refused:?}");
        assert_eq!((&refused.json()["quota"], refused.header("retry-after")), (&json!("connections"), "1"));
    }
    let neighbour = key_of(&host.tenant, "test", everything(), None);
    assert_eq!(send(&host, "GET", "/v1/events", Some(&neighbour), None).await.status, 200);
    // Whoever takes all of them with a key is got rid of by revoking it.
    let other = key_of(&host.engine.tenant("acme").unwrap(), "acme", everything(), None);
    let revoked =
        send(&host, "DELETE", &format!("/v1/keys/{}", actor(&other).trim_start_matches("key:")), Some(&key), None)
            .await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    drop((first, second));
    let freed = async {
        while send(&host, "GET", "/v1/events", Some(&key), None).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    within(freed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acts_are_held_to_the_rate_of_events_and_stand_in_the_trail_when_they_are_over_it() {
    let (host, operator) = operated().await;
    let key = make(&host, &operator, "acme", json!({"eventspersecond":2})).await;
    let refused = async {
        loop {
            let answer = send(&host, "DELETE", "/v1/subscriptions/none", Some(&key), None).await;
            if answer.status != 404 {
                return answer;
            }
        }
    };
    let refused = within(refused).await;
    assert_eq!((refused.status, &refused.json()["quota"]), (429, &json!("eventspersecond")), "{refused:?}");
    // Events have a rate of their own, and whoever administers has none.
    for _ in 0..10 {
        let answer = send(&host, "DELETE", "/v1/keys/0123456789abcdef", Some(&key), None).await;
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    assert_eq!(publish(&host, &key, "1").await.status, 200);
    let acme = host.engine.tenant("acme").unwrap();
    let query = AuditQuery { operation: Some("subscription.delete".into()), ..AuditQuery::default() };
    let found = acme.audited_acts(&query, Direction::Backward, None, 1).unwrap().entries;
    assert_eq!((found[0].outcome, found[0].code.as_deref()), (ActOutcome::Refused, Some("quota-exceeded")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_at_its_storage_quota_reads_on() {
    let (host, operator) = operated().await;
    let key = make(&host, &operator, "acme", json!({"storagebytes":1})).await;
    let refused = publish(&host, &key, "1").await;
    assert_eq!((refused.status, code(&refused).as_str()), (507, "storage-quota-exceeded"), "{refused:?}");
    assert_eq!(refused.json()["limit"], 1);
    assert_eq!(send(&host, "GET", "/v1/events", Some(&key), None).await.status, 200);
    assert_eq!(act(&host, &operator, "PUT", "/v1/tenants/acme/quotas", Some(json!({}))).await.status, 200);
    assert_eq!(publish(&host, &key, "1").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_every_event_also_of_a_suspended_tenant() {
    let (host, operator) = operated().await;
    let key = make(&host, &operator, "acme", json!({})).await;
    let lines: String = (1..=1_500).map(|id| event(&id.to_string(), "a.b", "s") + "\n").collect();
    assert_eq!(send(&host, "POST", "/v1/events", Some(&key), Some(("application/x-ndjson", &lines))).await.status, 200);
    suspend(&host, &operator, "acme").await;
    let exported = act(&host, &operator, "GET", "/v1/tenants/acme/export", None).await;
    assert_eq!((exported.status, exported.header("quipu-position")), (200, "1500"), "{:?}", exported.headers);
    let ids: Vec<_> = exported.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    assert_eq!(ids.len(), 1_500);
    assert!(
        ids.iter()
            .enumerate()
            .all(|(at, event)| event["position"] == at + 1 && event["id"] == json!((at + 1).to_string()))
    );
    let empty = act(&host, &operator, "GET", "/v1/tenants/other/export", None).await;
    assert_eq!((empty.status, empty.header("quipu-position"), empty.text()), (200, "0", ""));
    assert_eq!(act(&host, &operator, "GET", "/v1/tenants/nobody/export", None).await.status, 404);
    // Whoever goes away lets go of the tenant, so that it can be deleted.
    let mut client = Client::connect(host.address).await;
    let head =
        format!("GET /v1/tenants/acme/export HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {operator}\r\n\r\n");
    client.write(head.as_bytes()).await;
    assert_eq!(client.head().await.0, 200);
    drop(client);
    let deleted = act(&host, &operator, "DELETE", "/v1/tenants/acme?confirm=acme", None).await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_pushed_for_a_tenant_while_it_is_suspended() {
    let (platform, mut receiver) = (Platform::start().await, Receiver::answering(204).await);
    platform.push("s", &receiver.url(), "").await;
    platform.publish(["a".to_owned()]);
    receiver.next().await;
    platform.acknowledged("s", 1).await;
    let ask = async |target: &str, body: Option<(&str, &str)>| send(&platform.host, "POST", target, None, body).await;
    let reason = Some((JSON, r#"{"reason":"a test"}"#));
    assert_eq!(ask("/v1/tenants/test/suspend", reason).await.status, 200);
    platform.publish(["b", "c"].map(str::to_owned));
    for _ in 0..50 {
        assert_eq!(ask("/v1/tenants/test/suspend", reason).await.status, 200);
        assert_eq!((receiver.waiting(), platform.info("s").counts.handed_out), (0, 1));
    }
    assert_eq!(ask("/v1/tenants/test/resume", None).await.status, 200);
    receiver.next().await;
    receiver.next().await;
    platform.acknowledged("s", 3).await;
}
