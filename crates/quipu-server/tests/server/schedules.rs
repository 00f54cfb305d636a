//! Schedules over HTTP: ticks are published at their times, who sees and changes what, what the trail says, and that tenants are apart.

use quipu_domain::{Direction, Filter, Permission};
use quipu_engine::Tenant;
use serde_json::{Value, json};

use crate::access::{closed, code, everything, key, key_of, permissions, send};
use crate::client::Answer;
use crate::host::Host;
use crate::platform::eventually;

const HOURLY: &str = r#"{"schedule":"hourly","cron":"@hourly","event":{"type":"hour.struck","data":{"secret":"pi"}}}"#;

async fn put(host: &Host, key: Option<&str>, name: &str, body: &str) -> Answer {
    send(host, "PUT", &format!("/v1/schedules/{name}"), key, Some(("application/json", body))).await
}

fn ids(tenant: &Tenant) -> Vec<String> {
    let page = tenant.read(&Filter::default(), Direction::Forward, None, 100).unwrap();
    page.events.iter().map(|recorded| recorded.event().id().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_are_published_at_their_times_and_shown() {
    let host = Host::start().await;
    assert_eq!(put(&host, None, "hourly", HOURLY).await.status, 201);
    // It is half past nine.
    for (ms, expected) in [
        (1_799_999, &[][..]),
        (1, &["hourly/2026-01-31T10:00:00.000Z"]),
        (3_600_000, &["hourly/2026-01-31T10:00:00.000Z", "hourly/2026-01-31T11:00:00.000Z"]),
    ] {
        host.advance(ms);
        eventually(async || (ids(&host.tenant) == expected).then_some(())).await;
    }
    let shown = send(&host, "GET", "/v1/schedules/hourly?ticks=1", None, None).await.json();
    assert_eq!((&shown["state"], &shown["published"], &shown["dropped"]), (&json!("active"), &json!(2), &json!(0)));
    assert_eq!(shown["newest"], json!({"tick": "2026-01-31T11:00:00.000Z", "position": 2}));
    assert_eq!(shown["nextticks"], json!(["2026-01-31T12:00:00.000Z"]));
    let event = send(&host, "GET", "/v1/positions/1", None, None).await.json();
    assert_eq!(
        (&event["source"], &event["scheduledtime"]),
        (&json!("/quipu/schedules/hourly"), &json!("2026-01-31T10:00:00.000Z"))
    );
    // The clock jumps ahead by four hours: one for all.
    host.advance(4 * 3_600_000 + 120_000);
    eventually(async || (host.tenant.position() == 3).then_some(())).await;
    let event = send(&host, "GET", "/v1/positions/3", None, None).await.json();
    assert_eq!((&event["id"], &event["missedticks"]), (&json!("hourly/2026-01-31T15:00:00.000Z"), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_observes_sees_schedules_and_who_orchestrates_changes_them() {
    let host = closed().await;
    let admin = key(&host, everything());
    let observer = key(&host, permissions([Permission::Observe].into_iter()));
    let orchestrator = key(&host, permissions([Permission::Orchestrate].into_iter()));
    let publisher = key(&host, permissions([Permission::Publish, Permission::Read].into_iter()));
    let strict = r#"{"type":"object","required":["n"]}"#;
    let text = json!({ "schema": serde_json::from_str::<Value>(strict).unwrap() }).to_string();
    let registered =
        send(&host, "POST", "/v1/schemas/hour.struck", Some(&admin), Some(("application/json", &text))).await;
    assert!(registered.status < 300, "{registered:?}");
    let rules = r#"{"enforcement":"enforce"}"#;
    let ruled =
        send(&host, "PUT", "/v1/schemas/hour.struck/rules", Some(&admin), Some(("application/json", rules))).await;
    assert!(ruled.status < 300, "{ruled:?}");

    assert_eq!(put(&host, Some(&orchestrator), "hourly", HOURLY).await.status, 201);
    for stranger in [&observer, &publisher] {
        for (method, target) in [
            ("PUT", "/v1/schedules/hourly"),
            ("DELETE", "/v1/schedules/hourly"),
            ("POST", "/v1/schedules/hourly/pause"),
            ("POST", "/v1/schedules/hourly/resume"),
        ] {
            let body = (method == "PUT").then_some(("application/json", HOURLY));
            let refused = send(&host, method, target, Some(stranger), body).await;
            assert_eq!((refused.status, code(&refused).as_str()), (403, "forbidden"), "{method} {target}");
        }
    }
    for stranger in [&orchestrator, &publisher] {
        for target in ["/v1/schedules", "/v1/schedules/hourly"] {
            assert_eq!(send(&host, "GET", target, Some(stranger), None).await.status, 403, "{target}");
        }
    }
    host.advance(1_800_000);
    let failing = async |who: &str| {
        eventually(async || {
            let shown = send(&host, "GET", "/v1/schedules/hourly", Some(who), None).await.json();
            (shown["state"] == "failing").then_some(shown)
        })
        .await
    };
    let shown = failing(&admin).await;
    assert_eq!((&shown["refused"], &shown["published"]), (&json!(1), &json!(0)));
    let reason = shown["error"]["reason"].as_str().unwrap();
    assert!(reason.contains("hour.struck"), "{reason}");
    // What it says may quote data.
    let shown = failing(&observer).await;
    assert_eq!(shown["error"], json!({"tick": "2026-01-31T10:00:00.000Z"}));
    let listed = send(&host, "GET", "/v1/schedules", Some(&observer), None).await.json();
    assert_eq!((&listed["total"], listed["schedules"][0].get("declaration")), (&json!(1), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_schedules_stands_in_the_trail() {
    let host = closed().await;
    let admin = key(&host, everything());
    assert_eq!(put(&host, Some(&admin), "hourly", HOURLY).await.status, 201);
    for target in ["/v1/schedules/hourly/pause", "/v1/schedules/hourly/resume"] {
        assert_eq!(send(&host, "POST", target, Some(&admin), None).await.status, 200);
    }
    assert_eq!(send(&host, "DELETE", "/v1/schedules/hourly", Some(&admin), None).await.status, 200);
    let trail = send(&host, "GET", "/v1/audit", Some(&admin), None).await.json();
    let entries = trail["acts"].as_array().unwrap_or_else(|| panic!("{trail}"));
    let of = |word: &str| entries.iter().filter(|entry| entry.to_string().contains(word)).count();
    for word in ["schedule.apply", "schedule.pause", "schedule.resume", "schedule.remove"] {
        assert_eq!(of(word), 1, "{word}: {trail}");
    }
    assert!(of("hour.struck") == 1, "what was declared is told: {trail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_schedules_of_its_own() {
    let host = closed().await;
    let admin = key(&host, everything());
    assert_eq!(put(&host, Some(&admin), "hourly", HOURLY).await.status, 201);
    let other = host.engine.tenant("other").unwrap();
    let stranger = key_of(&other, "other", everything(), None);
    assert_eq!(send(&host, "GET", "/v1/schedules", Some(&stranger), None).await.json()["total"], 0);
    for (method, target) in [
        ("GET", "/v1/schedules/hourly"),
        ("DELETE", "/v1/schedules/hourly"),
        ("POST", "/v1/schedules/hourly/pause"),
        ("POST", "/v1/schedules/hourly/resume"),
    ] {
        assert_eq!(send(&host, method, target, Some(&stranger), None).await.status, 404, "{method} {target}");
    }
    // One of the same name is another.
    let daily = r#"{"schedule":"hourly","cron":"@daily","event":{"type":"day.begun"}}"#;
    assert_eq!(put(&host, Some(&stranger), "hourly", daily).await.json()["version"], 1);
    host.advance(1_800_000);
    eventually(async || (host.tenant.position() == 1).then_some(())).await;
    assert_eq!(other.position(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_names_schedules_as_publishers() {
    let host = Host::start().await;
    assert_eq!(put(&host, None, "hourly", HOURLY).await.status, 201);
    let found = send(&host, "GET", "/v1/catalog", None, None).await.json();
    let one = found["types"].as_array().and_then(|types| types.iter().find(|one| one["type"] == "hour.struck"));
    let one = one.unwrap_or_else(|| panic!("{found}"));
    assert!(one.to_string().contains("schedules/hourly"), "{one}");
}
