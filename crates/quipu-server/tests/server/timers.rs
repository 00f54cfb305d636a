//! Events that are published later, over HTTP: they fire once, and who may publish some has the timers of those only.

use std::sync::Arc;

use quipu_domain::{Direction, Filter, Permission};
use quipu_engine::Tenant;
use serde_json::{Value, json};

use crate::access::{closed, code, everything, key, key_of, permissions, send};
use crate::client::Answer;
use crate::host::{Host, event};
use crate::platform::eventually;

fn json_event(id: &str, kind: &str) -> Value {
    serde_json::from_str(&event(id, kind, "s")).unwrap()
}

/// One that waits for an hour.
fn timer(id: &str, kind: &str, key: &str) -> Value {
    json!({ "key": key, "afterms": 3_600_000, "event": json_event(id, kind) })
}

async fn post(host: &Host, target: &str, key: Option<&str>, body: &Value) -> Answer {
    send(host, "POST", target, key, Some(("application/json", &body.to_string()))).await
}

fn ids(tenant: &Tenant) -> Vec<String> {
    let page = tenant.read(&Filter::default(), Direction::Forward, None, 100).unwrap();
    page.events.iter().map(|recorded| recorded.event().id().to_owned()).collect()
}

/// The keys of the timers that wait.
fn keys(tenant: &Arc<Tenant>) -> Vec<String> {
    let page = tenant.timers(None, 100).unwrap();
    page.timers.iter().map(|timer| timer.key().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_recorded_when_its_time_has_come_and_not_before() {
    let host = Host::start().await;
    assert_eq!(post(&host, "/v1/timers", None, &timer("late", "a.b", "k")).await.status, 201);
    let mut delayed = json_event("later", "a.b");
    delayed["deliverat"] = json!("2026-01-31T10:30:00.001Z");
    let body = delayed.to_string();
    let published = send(&host, "POST", "/v1/events", None, Some(("application/cloudevents+json", &body))).await;
    assert_eq!(published.json()["scheduled"], 1, "{published:?}");
    for (ms, expected) in [(3_599_999, vec![]), (1, vec!["late"]), (1, vec!["late", "later"])] {
        host.advance(ms);
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        eventually(async || (ids(&host.tenant) == expected).then_some(())).await;
        // What is due first is recorded first, so what is not due is not on its way either.
        assert_eq!(host.tenant.timers(None, 10).unwrap().total, 2 - expected.len() as u64);
    }
    // Sent once more, it is answered with its place.
    let again = post(&host, "/v1/timers", None, &timer("late", "a.b", "k")).await;
    let expected = json!({"position": 1, "streamversion": 1, "duplicate": true});
    assert_eq!((again.status, again.json()), (200, expected));
    let gone = send(&host, "DELETE", "/v1/timers/1", None, None).await;
    assert_eq!((gone.status, code(&gone).as_str()), (404, "timer-not-found"));
    let recorded = send(&host, "GET", "/v1/positions/2", None, None).await.json();
    assert_eq!((&recorded["deliverat"], &recorded["position"]), (&delayed["deliverat"], &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_publish_some_events_has_the_timers_of_those_only() {
    let host = closed().await;
    let whole = key(&host, permissions([Permission::Publish].into_iter()));
    let orders = json!([{"permissions": ["publish"], "pattern": {"type": [{"prefix": "order."}]}}]);
    let narrow = key(&host, orders.clone());
    for (id, kind, name) in [("1", "user.left", "theirs"), ("2", "order.late", "own"), ("3", "order.late", "own too")] {
        assert_eq!(post(&host, "/v1/timers", Some(&whole), &timer(id, kind, name)).await.status, 201);
    }
    // An answer to a command is nobody's who may publish some events.
    let mut answer = timer("4", "order.late", "an answer");
    answer["event"]["source"] = json!("/subscriptions/billing");
    assert_eq!(post(&host, "/v1/timers", Some(&whole), &answer).await.status, 201);
    assert_eq!(post(&host, "/v1/timers", Some(&narrow), &answer).await.status, 403);
    let refused = post(&host, "/v1/timers", Some(&narrow), &timer("5", "user.left", "x")).await;
    assert_eq!((refused.status, code(&refused).as_str()), (403, "forbidden"), "{refused:?}");

    // Of another's number and key one is told what one is told of those that nobody has.
    let cancel = async |target: &str| send(&host, "DELETE", target, Some(&narrow), None).await;
    for (hidden, absent) in [
        ("/v1/timers/1", "/v1/timers/9"),
        ("/v1/timers/4", "/v1/timers/9"),
        ("/v1/timers?key=theirs", "/v1/timers?key=nobody"),
    ] {
        let answers = [cancel(hidden).await, cancel(absent).await];
        assert_eq!((answers[0].status, code(&answers[0])), (404, "timer-not-found".into()), "{hidden}");
        let without_name = |answer: &Answer| {
            let text = answer.text().replace("nobody", "_").replace("theirs", "_");
            text.replace(['1', '4', '9'], "_")
        };
        assert_eq!(without_name(&answers[0]), without_name(&answers[1]));
    }
    // Nor does one cancel it by taking its key, or learn its number.
    for replace in [false, true] {
        let mut taking = timer("6", "order.late", "theirs");
        taking["replace"] = json!(replace);
        for (target, body) in
            [("/v1/timers", taking.clone()), ("/v1/append", json!({"events": [], "timers": [taking.clone()]}))]
        {
            let refused = post(&host, target, Some(&narrow), &body).await;
            assert_eq!((refused.status, code(&refused).as_str()), (409, "timer-exists"), "{refused:?}");
            assert_eq!(refused.json().get("timer"), None);
            assert!(!refused.json()["detail"].to_string().contains('1'), "{refused:?}");
        }
    }
    let append = json!({"events": [json_event("7", "order.placed")], "cancel":
        [{"timer": 1}, {"key": "theirs"}, {"timer": 9}, {"key": "nobody"}, {"timer": 4}, {"key": "own"}]});
    let appended = post(&host, "/v1/append", Some(&narrow), &append).await.json();
    assert_eq!(appended["cancelled"], json!([null, null, null, null, null, 2]), "{appended}");
    assert_eq!(keys(&host.tenant), ["theirs", "own too", "an answer"]);

    // One's own are replaced in one step, and once: the same event again is the same timer.
    let mut moved = timer("8", "order.late", "own too");
    moved["replace"] = json!(true);
    let replaced = post(&host, "/v1/timers", Some(&narrow), &moved).await;
    let again = post(&host, "/v1/timers", Some(&narrow), &moved).await;
    assert_eq!((replaced.status, again.status), (201, 200), "{replaced:?} {again:?}");
    assert_eq!((&again.json()["timer"], &again.json()["duplicate"]), (&replaced.json()["timer"], &json!(true)));
    let appended = post(&host, "/v1/append", Some(&narrow), &json!({"events": [], "timers": [moved]})).await.json();
    assert_eq!((&appended["duplicate"], appended.get("cancelled")), (&json!(true), None), "{appended}");
    assert_eq!(cancel("/v1/timers?key=own%20too").await.status, 200);
    assert_eq!(keys(&host.tenant), ["theirs", "an answer"]);

    // A personal key has those of its user.
    let personal = key_of(&host.tenant, "test", permissions([Permission::Publish].into_iter()), Some("ada"));
    for (user, key, status) in [("bob", "of bob", 404), ("ada", "of ada", 200)] {
        let mut of_user = timer(user, "a.b", key);
        of_user["event"]["userid"] = json!(user);
        assert_eq!(post(&host, "/v1/timers", Some(&whole), &of_user).await.status, 201);
        let target = format!("/v1/timers?key={}", key.replace(' ', "%20"));
        assert_eq!(send(&host, "DELETE", &target, Some(&personal), None).await.status, status, "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_are_seen_by_who_observes_and_their_events_by_who_reads_them() {
    let host = closed().await;
    let all = key(&host, everything());
    for (id, kind) in [("1", "user.left"), ("2", "order.late")] {
        assert_eq!(post(&host, "/v1/timers", Some(&all), &timer(id, kind, id)).await.status, 201);
    }
    let orders = json!({"permissions": ["read"], "pattern": {"type": [{"prefix": "order."}]}});
    let small = json!({"permissions": ["read"], "pattern": {"data": {"n": [{"numeric": ["<", 1]}]}}});
    let observe = json!({"permissions": ["observe"]});
    for (grants, seen) in [
        (json!([observe]), vec![]),
        (json!([observe, orders]), vec!["2"]),
        (json!([observe, small]), vec![]),
        (json!([observe, {"permissions": ["read"]}]), vec!["1", "2"]),
    ] {
        let key = key(&host, grants.clone());
        let page = send(&host, "GET", "/v1/timers", Some(&key), None).await.json();
        assert_eq!((&page["total"], page["timers"].as_array().unwrap().len()), (&json!(2), 2), "{page}");
        let of_list = page["timers"].as_array().unwrap().clone();
        let mut found = Vec::new();
        for (number, listed) in of_list.iter().enumerate() {
            let shown = send(&host, "GET", &format!("/v1/timers/{}", number + 1), Some(&key), None).await.json();
            assert_eq!(&shown, listed);
            found.extend(shown["event"]["id"].as_str().map(str::to_owned));
        }
        assert_eq!(found, seen, "{grants}");
    }
    for (grants, status) in [
        (json!([{"permissions": ["publish", "read"]}]), 403),
        (json!([{"permissions": ["observe"], "subscriptions": ["billing"]}]), 403),
    ] {
        let key = key(&host, grants);
        for target in ["/v1/timers", "/v1/timers/1"] {
            assert_eq!(send(&host, "GET", target, Some(&key), None).await.status, status, "{target}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_no_timer_of_another() {
    let host = closed().await;
    let own = key(&host, everything());
    let others = key_of(&host.engine.tenant("other").unwrap(), "other", everything(), None);
    assert_eq!(post(&host, "/v1/timers", Some(&own), &timer("1", "a.b", "k")).await.status, 201);
    for target in ["/v1/timers/1", "/v1/timers?key=k"] {
        assert_eq!(send(&host, "DELETE", target, Some(&others), None).await.status, 404, "{target}");
    }
    assert_eq!(send(&host, "GET", "/v1/timers/1", Some(&others), None).await.status, 404);
    let page = send(&host, "GET", "/v1/timers", Some(&others), None).await.json();
    assert_eq!(page, json!({"timers": [], "total": 0, "cursor": null}));
    // The same key, source and id are another timer there, with a number of its own.
    let set = post(&host, "/v1/timers", Some(&others), &timer("1", "a.b", "k")).await;
    assert_eq!((set.status, &set.json()["timer"]), (201, &json!(1)));
    assert_eq!(keys(&host.tenant), ["k"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_are_listed_page_by_page_while_some_come_and_go() {
    let host = Host::start().await;
    for n in 0..7_u64 {
        let mut body = timer(&n.to_string(), "a.b", &n.to_string());
        // Two at a time are due at once.
        body["afterms"] = json!(60_000 - n / 2 * 1_000);
        assert_eq!(post(&host, "/v1/timers", None, &body).await.status, 201);
    }
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = send(&host, "GET", &format!("/v1/timers?limit=2{cursor}"), None, None).await.json();
        seen.extend(page["timers"].as_array().unwrap().iter().map(|timer| timer["timer"].as_u64().unwrap()));
        // What was listed may go, and the next page begins where it would have.
        let last = seen.last().unwrap();
        assert_eq!(send(&host, "DELETE", &format!("/v1/timers/{last}"), None, None).await.status, 200);
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, [7, 5, 6, 3, 4, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_of_too_many_timers_is_refused_with_the_limit() {
    let host = Host::start().await;
    let timers: Vec<Value> = (0..1_001).map(|n| timer(&n.to_string(), "a.b", &n.to_string())).collect();
    let cancels: Vec<Value> = (0..1_001).map(|n| json!({"timer": n})).collect();
    for (body, pointer) in
        [(json!({"events": [], "timers": timers}), "/timers"), (json!({"events": [], "cancel": cancels}), "/cancel")]
    {
        let refused = post(&host, "/v1/append", None, &body).await;
        assert_eq!((refused.status, &refused.json()["pointer"]), (400, &json!(pointer)), "{refused:?}");
    }
    let most = post(&host, "/v1/append", None, &json!({"events": [], "timers": timers[1..]})).await;
    assert_eq!((most.status, host.tenant.timers(None, 1).unwrap().total), (200, 1_000));
}
