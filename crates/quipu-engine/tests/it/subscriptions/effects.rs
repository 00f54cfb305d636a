//! What others see of a delivery: its outcome as an event, and the key of its effect.

use super::*;

#[test]
fn outcomes_are_events_for_those_who_ask_for_them_and_have_an_end() {
    let mut world = World::new();
    world.subscribe("loud", r#"{"reportsoutcomes":true,"retry":{"maxattempts":2,"backoff":{"delaysms":[0]}}}"#);
    world.subscribe("quiet", "{}");
    world.subscribe("watch", r#"{"pattern":{"type":[{"prefix":"quipu.delivery."}]}}"#);
    world.publish("t.a", "1", "x");
    world.publish("t.a", "2", "y");
    world.ack("quiet", &world.pull("quiet"));
    let handed = world.pull("loud");
    world.ack("loud", &handed[1..]);
    world.nack("loud", &handed[0], "no");
    world.wait_ms(1);
    let again = world.pull("loud");
    world.nack("loud", &again[0], "no");
    world.tenant().checkpoint_deliveries().unwrap();
    world.crash();
    let told = world.pull("watch");
    let texts: Vec<String> = told
        .iter()
        .map(|one| {
            let event = one.recorded.event();
            let quipu_domain::Data::Json(data) = event.data() else { panic!("no data") };
            let data: serde_json::Value = serde_json::from_str(data).unwrap();
            assert_eq!((data["subscription"].as_str(), data["event"]["type"].as_str()), (Some("loud"), Some("t.a")));
            let word = event.kind().trim_start_matches("quipu.delivery.");
            format!("{word} {} {} {}", data["position"], data["attempt"], data["error"])
        })
        .collect();
    assert_eq!(texts, ["acknowledged 2 1 null", "failed 1 1 \"no\"", "failed 1 2 \"no\"", "deadlettered 1 2 \"no\""]);
    // What it is told of itself is delivered like any event, and not told of again.
    let handed = world.pull("loud");
    assert_eq!(handed.len(), 4);
    world.ack("loud", &handed);
    world.tenant().checkpoint_deliveries().unwrap();
    assert_eq!(world.tenant().position(), 6);
}

#[test]
fn the_key_of_an_effect_is_that_of_one_log_and_stays_so() {
    let folder = TempDir::new().unwrap();
    let keys = |engine: &quipu_engine::Engine| {
        ["a", "b"].map(|name| {
            let tenant = engine.tenant(name).unwrap();
            _ = tenant.create_subscription("s", definition_of(FROM_BEGINNING)).unwrap();
            publish(&tenant, &event("1", "order/1"));
            tenant.pull("s", 1).unwrap()[0].idempotency_key("s")
        })
    };
    let one = engine(folder.path(), small());
    let [a, b] = keys(&one);
    one.close().unwrap();
    assert_ne!(a, b, "tenants have the same positions and names");
    assert!(a.starts_with("s/") && a.ends_with("/1"), "{a}");
    assert_eq!(keys(&engine(folder.path(), small())), [a, b]);
}
