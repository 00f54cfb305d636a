//! Replays: counted first, then delivered in order beside what is new, held back by their pace, taken back when they are
//! cancelled, gone on with after a crash, and told of in a verdict.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::delivery::{DeliveryId, Failure, RateLimit};
use quipu_domain::schema::{SchemaRules, UnknownTypes};
use quipu_domain::{StartAt, Subscription};
use quipu_engine::{
    Answer, Head, NewReplay, NewSchema, NotDone, OperationInfo, OperationRefusal, OperationState, REPLAY_WINDOW,
    REPLAYS_MAX, ReplayOutcome, ReplayRefusal, ReplayReport, ReplayVerdict, Shadow, SubscriptionRefusal, Tenant,
};
use tempfile::TempDir;

use crate::support::*;

struct World {
    folder: TempDir,
    clock: Arc<Hands>,
    tenant: Option<Arc<Tenant>>,
}

impl World {
    /// With as many events of types `t.even` and `t.odd` in turn, a millisecond apart, of three subjects.
    fn with_events(count: u64) -> Self {
        let mut world = Self { folder: TempDir::new().unwrap(), clock: Arc::default(), tenant: None };
        world.reopen();
        for i in 1..=count {
            world.clock.0.fetch_add(1_000, Ordering::Relaxed);
            world.publish(i);
        }
        world
    }

    fn publish(&self, i: u64) {
        let kind = ["t.even", "t.odd"][(i % 2) as usize];
        publish(self.tenant(), &event_of(kind, &i.to_string(), &format!("s{}", i % 3), &format!("{{\"n\":{i}}}")));
    }

    fn reopen(&mut self) {
        self.tenant = None;
        self.tenant = Some(open_at(self.folder.path(), small(), Arc::clone(&self.clock)).unwrap());
    }

    fn tenant(&self) -> &Arc<Tenant> {
        self.tenant.as_ref().unwrap()
    }

    fn subscribe(&self, name: &str, definition: &str) {
        let definition = serde_json::from_str::<Subscription>(definition).unwrap();
        self.tenant().create_subscription(name, definition).unwrap();
    }

    fn tick(&self, ms: i64) {
        self.clock.0.fetch_add(ms * 1_000, Ordering::Relaxed);
        self.tenant().deliver().unwrap();
        self.tenant().checkpoint_deliveries().unwrap();
    }

    fn preview(&self, asked: &NewReplay) -> Result<(OperationInfo, ReplayReport), NotDone> {
        self.tenant().preview_replay(asked, None, &|| true)
    }

    /// Begins it.
    fn begin(&self, asked: &NewReplay) -> u64 {
        self.begin_at(asked, None)
    }

    fn begin_at(&self, asked: &NewReplay, rate: Option<RateLimit>) -> u64 {
        let (info, _) = self.tenant().preview_replay(asked, rate, &|| true).unwrap();
        self.tenant().confirm_operation(info.id).unwrap();
        info.id
    }

    fn pull(&self, name: &str) -> Vec<(DeliveryId, u64)> {
        self.tenant().pull(name, 1_000).unwrap().iter().map(|one| (one.id, one.token)).collect()
    }

    fn say(&self, name: &str, handed: &[(DeliveryId, u64)], answer: &Answer) {
        let answers = handed.iter().map(|(id, token)| (*id, *token, answer.clone())).collect();
        self.tenant().answer(name, answers).unwrap().into_iter().for_each(|result| result.unwrap());
    }

    /// Acknowledges whatever comes until nothing does. The positions.
    fn drain(&self, name: &str) -> Vec<u64> {
        let mut positions = Vec::new();
        for _ in 0..500 {
            self.tick(10);
            let handed = self.pull(name);
            self.say(name, &handed, &Answer::Ack);
            positions.extend(handed.iter().map(|(id, _)| id.position));
        }
        positions
    }

    fn verdict(&self, id: u64) -> ReplayVerdict {
        self.tenant().operation(id).unwrap().replay.unwrap().verdict.expect("it has ended")
    }
}

fn to(name: &str) -> NewReplay {
    NewReplay {
        to: name.into(),
        shadow: None,
        from: StartAt::Beginning,
        until: StartAt::Now,
        pattern: None,
        is_strict: false,
        speed: None,
        webhooks: false,
    }
}

fn pattern(text: &str) -> Option<Box<serde_json::value::RawValue>> {
    Some(serde_json::from_str(text).unwrap())
}

fn refusal(result: Result<impl Sized, NotDone>) -> ReplayRefusal {
    match result.err().expect("it is refused") {
        NotDone::RefusedOperation(OperationRefusal::Replay(refusal)) => refusal,
        other => panic!("{other}"),
    }
}

#[test]
fn a_preview_counts_each_type_of_the_range_that_both_patterns_want_and_does_nothing() {
    let world = World::with_events(30);
    world.subscribe("s", r#"{"pattern":{"subject":["s1","s2"]}}"#);
    let asked = NewReplay {
        from: StartAt::Position(4),
        until: StartAt::Position(27),
        pattern: pattern(r#"{"data":{"n":[{"numeric":[">",6]}]}}"#),
        ..to("s")
    };
    let (info, report) = world.preview(&asked).unwrap();
    let wanted = |parity: u64| (7..=27u64).filter(|n| n % 3 > 0 && n % 2 == parity).count() as u64;
    assert_eq!(report.types.of, BTreeMap::from([("t.even".to_owned(), wanted(0)), ("t.odd".to_owned(), wanted(1))]));
    assert_eq!((info.total, report.events, info.state), (14, 14, OperationState::Previewed));
    assert_eq!((report.failing, report.types.others, report.calls_endpoint), (0, 0, false));
    world.tick(100);
    assert!(world.pull("s").is_empty());
}

#[test]
fn what_is_replayed_is_marked_comes_in_order_and_ends_in_a_verdict_with_the_heads_of_its_range() {
    let mut world = World::with_events(700);
    world.subscribe("s", "{}");
    let asked = NewReplay { from: StartAt::Position(101), until: StartAt::Position(650), ..to("s") };
    let id = world.begin(&asked);
    world.tick(10);
    let handed = world.tenant().pull("s", 1_000).unwrap();
    assert_eq!(handed.len() as u64, REPLAY_WINDOW, "no more are unfinished at once");
    assert!(handed.iter().all(|one| one.id.replay == id && one.attempt == 1));
    assert!(handed[0].idempotency_key("s").ends_with(&format!("/101/replay-{id}")));
    let first: Vec<_> = handed.iter().map(|one| (one.id, one.token)).collect();
    world.say("s", &first, &Answer::Ack);
    let mut positions: Vec<u64> = first.iter().map(|(id, _)| id.position).collect();
    positions.extend(world.drain("s"));
    let mut of_subjects: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    positions.iter().for_each(|position| of_subjects.entry(position % 3).or_default().push(*position));
    assert!(of_subjects.values().all(|positions| positions.is_sorted()), "each key is in order");
    positions.sort_unstable();
    assert_eq!(positions, (101..=650).collect::<Vec<_>>(), "each once");
    let info = world.tenant().operation(id).unwrap();
    assert_eq!((info.state, info.done, info.refused, info.total), (OperationState::Finished, 550, 0, 550));
    let verdict = world.verdict(id);
    assert_eq!((verdict.outcome, verdict.withdrawn, &verdict.reason), (ReplayOutcome::Acknowledged, 0, &None));
    assert_eq!((verdict.counts.handed, verdict.counts.acknowledged, verdict.counts.looked_to), (550, 550, 650));
    // Every event is a commit of its own; the heads are those that whoever follows commits finds there.
    let mut heads: BTreeMap<u64, (Head, Head)> = BTreeMap::new();
    let (mut follower, mut before) = (world.tenant().follow_commits(Head::START), Head::START);
    while let quipu_engine::Followed::Commits(commits) = follower.next(world.tenant().head(), 1 << 20).unwrap() {
        for commit in commits {
            commit.events.iter().for_each(|event| _ = heads.insert(event.stamp.position, (before, commit.head)));
            before = commit.head;
        }
    }
    assert_eq!((verdict.from, verdict.to), (heads[&101].0, heads[&650].1));
    drop(follower);
    world.reopen();
    assert_eq!(world.verdict(id), verdict, "the log has it");
    assert_eq!(world.tenant().operation(id).unwrap().state, OperationState::Finished);
}

#[test]
fn a_crash_at_any_time_skips_nothing_and_keeps_the_order() {
    for crash_after in 1..25 {
        let mut world = World::with_events(450);
        world.subscribe("s", r#"{"ordering":"strict","ackdeadlinems":1000}"#);
        let id = world.begin(&to("s"));
        let mut newest = 0;
        let mut all = std::collections::BTreeSet::new();
        for turn in 0..60 {
            world.clock.0.fetch_add(10_000, Ordering::Relaxed);
            world.tenant().deliver().unwrap();
            let handed = world.pull("s");
            let part = &handed[..handed.len().min(30 + turn)];
            world.say("s", part, &Answer::Ack);
            for (id, _) in part {
                assert!(id.position <= newest + 1, "{} comes after {newest}", id.position);
                newest = id.position;
                all.insert(id.position);
            }
            let rest: Vec<_> = handed[part.len()..].to_vec();
            world.tenant().give_back("s", &rest);
            if turn % 3 == 0 {
                world.tenant().checkpoint_deliveries().unwrap();
            }
            if turn == crash_after {
                world.reopen();
            }
        }
        world.tick(100);
        world.tick(100);
        assert_eq!(all, (1..=450).collect(), "crash after {crash_after}");
        let info = world.tenant().operation(id).unwrap();
        assert_eq!((info.state, info.done), (OperationState::Finished, 450), "crash after {crash_after}: {info:?}");
        assert_eq!(world.verdict(id).outcome, ReplayOutcome::Acknowledged);
    }
}

#[test]
fn what_is_given_up_is_a_dead_letter_with_the_mark_parks_no_key_and_stands_in_the_verdict() {
    let world = World::with_events(9);
    world.subscribe("s", r#"{"retry":{"maxattempts":1},"deadletter":{"key":"park"}}"#);
    let id = world.begin(&to("s"));
    world.tick(10);
    // Of three keys the first of one fails.
    let handed = world.pull("s");
    let (bad, good): (Vec<_>, Vec<_>) = handed.into_iter().partition(|(id, _)| id.position == 1);
    world.say("s", &bad, &Answer::Nack { failure: Failure::new("no"), delay_ms: None });
    let left: Vec<_> = good.into_iter().filter(|(id, _)| id.position % 3 != 1).collect();
    world.say("s", &left, &Answer::Ack);
    let rest = world.drain("s");
    assert_eq!(rest, [4, 7], "its key goes on");
    let (letter, _) = world.tenant().dead_letter(1).unwrap();
    assert_eq!((letter.position, letter.replay, letter.parks_key), (1, Some(id), false));
    let verdict = world.verdict(id);
    assert_eq!(verdict.outcome, ReplayOutcome::DeadLettered);
    assert_eq!((verdict.counts.acknowledged, verdict.counts.dead_lettered), (8, 1));
    assert_eq!(world.tenant().operation(id).unwrap().refused, 1);
}

#[test]
fn a_cancelled_replay_takes_back_what_is_unfinished_for_good() {
    let mut world = World::with_events(50);
    world.subscribe("s", "{}");
    let id = world.begin(&to("s"));
    world.tick(10);
    let handed = world.pull("s");
    // The oldest of each of the three keys.
    world.say(
        "s",
        &handed[..3.min(handed.len())].iter().filter(|(id, _)| id.position == 1).copied().collect::<Vec<_>>(),
        &Answer::Ack,
    );
    let info = world.tenant().cancel_operation(id).unwrap();
    assert_eq!((info.state, info.done), (OperationState::Cancelled, 1));
    let verdict = world.verdict(id);
    assert_eq!((verdict.outcome, verdict.withdrawn), (ReplayOutcome::Incomplete, 49));
    assert_eq!(verdict.reason.as_deref(), Some("it was cancelled"));
    let (late, token) = *handed.iter().find(|(id, _)| id.position == 2).unwrap();
    let result = world.tenant().answer("s", vec![(late, token, Answer::Ack)]).unwrap().remove(0);
    assert!(matches!(result, Err(SubscriptionRefusal::NotInFlight { .. })));
    world.reopen();
    assert!(world.drain("s").is_empty(), "nothing comes back");
    assert_eq!(world.verdict(id), verdict);
    assert!(world.tenant().cancel_operation(id).is_err());
}

#[test]
fn new_events_go_before_replayed_ones_whatever_a_replay_has_waiting() {
    let world = World::with_events(1_000);
    world.subscribe("s", "{}");
    (0..REPLAYS_MAX).for_each(|_| _ = world.begin(&to("s")));
    world.tick(10);
    for i in 1_001..=1_003 {
        world.publish(i);
    }
    world.tick(10);
    let handed = world.tenant().pull("s", 5).unwrap();
    let positions: Vec<_> = handed.iter().map(|one| (one.id.position, one.id.replay > 0)).collect();
    assert_eq!(positions[..3], [(1_001, false), (1_002, false), (1_003, false)]);
    assert!(positions[3].1 && positions[4].1);
    let unfinished = world.tenant().subscription("s").unwrap().summary;
    assert_eq!(unfinished.ready + unfinished.in_flight, REPLAYS_MAX * REPLAY_WINDOW as usize + 3);
    let (info, _) = world.preview(&to("s")).unwrap();
    let limit = REPLAYS_MAX;
    assert_eq!(refusal(world.tenant().confirm_operation(info.id)), ReplayRefusal::TooMany { limit });
}

#[test]
fn a_strict_replay_goes_one_after_the_other_whatever_the_order_of_its_subscription() {
    let world = World::with_events(20);
    world.subscribe("s", r#"{"ordering":"none","retry":{"maxattempts":9,"backoff":{"delaysms":[1000]}}}"#);
    world.begin(&NewReplay { is_strict: true, ..to("s") });
    world.tick(10);
    let handed = world.pull("s");
    assert_eq!(handed.iter().map(|(id, _)| id.position).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>(), "a run");
    world.say("s", &handed[..4], &Answer::Ack);
    world.say("s", &handed[4..5], &Answer::Nack { failure: Failure::new("busy"), delay_ms: None });
    world.tick(500);
    assert!(world.pull("s").is_empty(), "the fifth waits for its retry, and all behind it");
    world.tick(600);
    assert_eq!(world.drain("s"), (5..=20).collect::<Vec<_>>());
}

#[test]
fn a_rate_and_a_speed_hold_a_replay_back() {
    let world = World::with_events(1_000);
    for (name, rate, speed) in [
        ("rate", Some(RateLimit { per_second: 100.0, burst: 10 }), None),
        // A millisecond apart when they were recorded.
        ("speed", None, Some(0.1)),
    ] {
        world.subscribe(name, "{}");
        let id = world.begin_at(&NewReplay { speed, ..to(name) }, rate);
        let mut count = 0;
        for _ in 0..200 {
            world.tick(10);
            let handed = world.pull(name);
            world.say(name, &handed, &Answer::Ack);
            count += handed.len();
        }
        assert!((195..=212).contains(&count), "{name}: {count} in two seconds");
        let info = world.tenant().operation(id).unwrap();
        let left_ms = info.remaining_ms.expect("it is known");
        assert!((7_700..=8_200).contains(&left_ms), "{name}: {left_ms} ms");
        let per_second = info.replay.unwrap().per_second.unwrap();
        assert!((90.0..=110.0).contains(&per_second), "{name}: {per_second}");
        world.tenant().cancel_operation(id).unwrap();
    }
}

#[test]
fn a_seek_forgets_what_was_replayed_and_the_verdict_says_so() {
    for is_crash in [false, true] {
        let mut world = World::with_events(10);
        world.subscribe("s", "{}");
        let id = world.begin(&to("s"));
        world.tick(10);
        world.tenant().seek_subscription("s", &StartAt::Now).unwrap();
        if is_crash {
            world.reopen();
        }
        world.tick(10);
        world.tick(10);
        let verdict = world.verdict(id);
        assert_eq!((verdict.outcome, verdict.counts.forgotten), (ReplayOutcome::Incomplete, 10), "{is_crash}");
    }
}

#[test]
fn a_replay_ends_when_its_subscription_is_deleted_and_does_not_go_to_another_of_its_name() {
    for is_reopened in [false, true] {
        let mut world = World::with_events(500);
        world.subscribe("s", "{}");
        let id = world.begin(&to("s"));
        world.tick(10);
        let handed = world.pull("s");
        world.say("s", &handed[..3], &Answer::Ack);
        world.tenant().delete_subscription("s").unwrap();
        world.subscribe("s", "{}");
        if is_reopened {
            world.reopen();
        }
        assert!(world.drain("s").is_empty());
        let verdict = world.verdict(id);
        assert_eq!(
            (verdict.outcome, verdict.reason.as_deref(), verdict.counts.acknowledged),
            (ReplayOutcome::Incomplete, Some("its subscription was deleted"), 3)
        );
    }
}

#[test]
fn a_replay_to_a_subscription_that_wants_less_meanwhile_is_not_whole() {
    let world = World::with_events(500);
    world.subscribe("s", "{}");
    let id = world.begin(&to("s"));
    world.tick(10);
    let definition = serde_json::from_str::<Subscription>(r#"{"pattern":{"type":["t.odd"]}}"#).unwrap();
    world.tenant().update_subscription("s", definition).unwrap();
    let handed = world.drain("s").len();
    assert!((200..500).contains(&handed), "{handed}");
    let verdict = world.verdict(id);
    let reason = format!("{handed} of 500 events: what its subscription wants was changed");
    assert_eq!((verdict.outcome, verdict.reason), (ReplayOutcome::Incomplete, Some(reason)));
}

#[test]
fn a_subscription_becomes_no_shadow_and_a_shadow_no_other() {
    let world = World::with_events(1);
    world.subscribe("s", "{}");
    world.subscribe("shadow", r#"{"shadow":true}"#);
    for (name, changed) in [("s", r#"{"shadow":true}"#), ("shadow", "{}")] {
        match world.tenant().update_subscription(name, serde_json::from_str(changed).unwrap()) {
            Err(NotDone::Refused(SubscriptionRefusal::Invalid(invalid))) => assert_eq!(invalid.pointer, "/shadow"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_shadow_that_was_made_for_a_replay_which_could_not_begin_is_not_left() {
    let world = World::with_events(2_000);
    world.subscribe("s", "{}");
    for _ in 0..4 {
        world.begin(&to("s"));
    }
    let shadow = NewReplay { shadow: Some(Shadow { of: Some("s".into()) }), ..to("copy") };
    let (info, _) = world.preview(&shadow).unwrap();
    assert_eq!(refusal(world.tenant().confirm_operation(info.id)), ReplayRefusal::TooMany { limit: 4 });
    assert!(world.tenant().definition("copy").is_err());
}

#[test]
fn a_clock_that_was_set_back_holds_no_replay_for_as_long() {
    let world = World::with_events(20);
    world.subscribe("s", "{}");
    let id = world.begin(&NewReplay { speed: Some(1.0), ..to("s") });
    world.tick(10);
    world.clock.0.fetch_sub(3_600_000_000, Ordering::Relaxed);
    for _ in 0..100 {
        world.tick(1_000);
        world.drain("s");
    }
    assert_eq!(world.verdict(id).outcome, ReplayOutcome::Acknowledged);
}

#[test]
fn an_endpoint_is_called_only_where_that_is_allowed_and_one_whose_answers_are_appended_never() {
    let world = World::with_events(10);
    let push = r#""push":{"url":"https://a.example/in"}"#;
    world.subscribe("pull", "{}");
    world.subscribe("push", &format!("{{{push}}}"));
    world.subscribe("answers", &format!("{{{push},\"answers\":true}}"));
    let name = || "push".to_owned();
    assert_eq!(refusal(world.preview(&to("push"))), ReplayRefusal::WebhooksBlocked { name: name() });
    let allowed = |name: &str| NewReplay { webhooks: true, ..to(name) };
    assert!(world.preview(&allowed("push")).unwrap().1.calls_endpoint);
    assert_eq!(refusal(world.preview(&allowed("answers"))), ReplayRefusal::Answers { name: "answers".into() });
    // Neither does it become one between its preview and its beginning, nor while it is at work.
    let (info, _) = world.preview(&to("pull")).unwrap();
    let with = |members: &str| serde_json::from_str::<Subscription>(&format!("{{{members}}}")).unwrap();
    world.tenant().update_subscription("pull", with(push)).unwrap();
    let blocked = ReplayRefusal::WebhooksBlocked { name: "pull".into() };
    assert_eq!(refusal(world.tenant().confirm_operation(info.id)), blocked);
    world.tenant().update_subscription("pull", with("")).unwrap();
    world.tenant().confirm_operation(info.id).unwrap();
    for (members, pointer) in [(push.to_owned(), "/push"), (format!("{push},\"answers\":true"), "/answers")] {
        match world.tenant().update_subscription("pull", with(&members)) {
            Err(NotDone::Refused(SubscriptionRefusal::Invalid(invalid))) => assert_eq!(invalid.pointer, pointer),
            other => panic!("{other:?}"),
        }
    }
    world.drain("pull");
    world.tenant().update_subscription("pull", with(push)).unwrap();
}

#[test]
fn a_shadow_gets_nothing_but_what_is_replayed() {
    let mut world = World::with_events(20);
    let of =
        r#"{"pattern":{"type":["t.odd"]},"ordering":"strict","push":{"url":"https://a.example/in"},"paused":true}"#;
    world.subscribe("of", of);
    let shadow = |of: Option<&str>| Some(Shadow { of: of.map(str::to_owned) });
    let (info, report) = world.preview(&NewReplay { shadow: shadow(Some("of")), ..to("copy") }).unwrap();
    assert_eq!((report.events, report.calls_endpoint), (10, false));
    assert!(world.tenant().definition("copy").is_err(), "a preview makes nothing");
    world.tenant().confirm_operation(info.id).unwrap();
    let definition = world.tenant().definition("copy").unwrap();
    assert!(definition.shadow && definition.push.is_none() && !definition.paused);
    world.publish(21);
    assert_eq!(world.drain("copy"), (1..=20).step_by(2).collect::<Vec<_>>());
    assert_eq!(world.verdict(info.id).outcome, ReplayOutcome::Acknowledged);
    world.reopen();
    world.publish(23);
    assert!(world.drain("copy").is_empty(), "nothing is routed to it, after a restart either");
    // It can be replayed to once more, and is no other's to make.
    world.begin(&NewReplay { until: StartAt::Position(4), ..to("copy") });
    assert_eq!(world.drain("copy"), [1, 3]);
    let taken = world.preview(&NewReplay { shadow: shadow(None), ..to("copy") });
    assert!(matches!(taken, Err(NotDone::Refused(SubscriptionRefusal::Exists { .. }))));
    let missing = world.preview(&NewReplay { shadow: shadow(Some("none")), ..to("other") });
    assert_eq!(refusal(missing), ReplayRefusal::NoSuchSubscription { name: "none".into() });
}

#[test]
fn a_preview_names_the_events_that_their_schema_would_not_take_now() {
    let world = World::with_events(60);
    world.subscribe("s", "{}");
    let text = r#"{"type":"object","properties":{"n":{"type":"integer","maximum":9}}}"#.to_owned();
    world.tenant().register_schema("t.odd", NewSchema { text, ..NewSchema::default() }).unwrap();
    let (_, report) = world.preview(&to("s")).unwrap();
    assert_eq!((report.events, report.failing, report.failures.len()), (60, 25, 20));
    let first = &report.failures[0];
    assert_eq!((first.position, first.kind.as_str()), (11, "t.odd"));
    assert!(first.detail.contains("/n"), "{}", first.detail);
    let rules = SchemaRules { unknown: Some(UnknownTypes::Refuse), ..SchemaRules::default() };
    world.tenant().set_schema_rules(None, rules).unwrap();
    assert_eq!(world.preview(&to("s")).unwrap().1.failing, 25 + 30);
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    let world = World::with_events(10);
    world.subscribe("s", "{}");
    let range = |from, until| NewReplay { from, until, ..to("s") };
    for (asked, expected) in [
        (range(StartAt::Position(5), StartAt::Position(4)), ReplayRefusal::EmptyRange { from: 5, until: 4 }),
        (range(StartAt::Now, StartAt::Now), ReplayRefusal::EmptyRange { from: 11, until: 10 }),
        (NewReplay { speed: Some(0.0), ..to("s") }, ReplayRefusal::InvalidSpeed),
        (NewReplay { speed: Some(f64::NAN), ..to("s") }, ReplayRefusal::InvalidSpeed),
    ] {
        assert_eq!(refusal(world.preview(&asked)), expected);
    }
    for (asked, place) in [
        (range(StartAt::Position(0), StartAt::Now), "/from/position"),
        (range(StartAt::Beginning, StartAt::Position(12)), "/until/position"),
        (range(StartAt::Beginning, StartAt::Time("soon".into())), "/until/time"),
    ] {
        let refused = refusal(world.preview(&asked));
        assert!(matches!(&refused, ReplayRefusal::InvalidPlace { pointer, .. } if pointer == place), "{refused:?}");
    }
    let both = world.tenant().preview_replay(
        &NewReplay { speed: Some(1.0), ..to("s") },
        Some(RateLimit { per_second: 1.0, burst: 1 }),
        &|| true,
    );
    assert_eq!(refusal(both), ReplayRefusal::InvalidSpeed);
    let invalid = NewReplay { pattern: pattern(r#"{"type":1}"#), ..to("s") };
    assert!(matches!(refusal(world.preview(&invalid)), ReplayRefusal::InvalidPattern(_)));
    let missing = world.preview(&to("none"));
    assert!(matches!(missing, Err(NotDone::Refused(SubscriptionRefusal::NotFound { .. }))));
    let left = world.tenant().preview_replay(&to("s"), None, &|| false);
    assert_eq!(refusal(left), ReplayRefusal::Abandoned);
    assert!(world.tenant().operations().is_empty());
}

#[test]
fn a_range_may_be_one_of_time() {
    let world = World::with_events(10);
    world.subscribe("s", "{}");
    // Event n was recorded n ms after the epoch.
    let time = |ms: u64| StartAt::Time(format!("1970-01-01T00:00:00.{ms:03}Z"));
    world.begin(&NewReplay { from: time(4), until: time(8), ..to("s") });
    let mut positions = world.drain("s");
    positions.sort_unstable();
    assert_eq!(positions, [4, 5, 6, 7]);
}

#[test]
fn a_paused_subscription_is_replayed_to_when_it_goes_on() {
    let world = World::with_events(10);
    world.subscribe("s", r#"{"paused":true}"#);
    let id = world.begin(&to("s"));
    world.tick(10);
    let replay = world.tenant().operation(id).unwrap().replay.unwrap();
    assert_eq!((replay.counts.handed, replay.counts.looked_to), (0, 0));
    world.tenant().pause_subscription("s", false).unwrap();
    assert_eq!(world.drain("s").len(), 10);
}

#[test]
fn an_event_whose_time_is_over_is_replayed_all_the_same() {
    let world = World::with_events(0);
    let event = quipu_domain::Event::builder("1", "/test", "t")
        .attribute("expirytime", quipu_domain::Value::Text("1970-01-01T00:00:00.001Z".into()))
        .build()
        .unwrap();
    publish(world.tenant(), &event);
    world.subscribe("s", "{}");
    world.tick(5_000);
    let id = world.begin(&to("s"));
    assert_eq!(world.drain("s"), [1]);
    assert_eq!(world.verdict(id).outcome, ReplayOutcome::Acknowledged);
}

#[test]
fn a_replay_that_cannot_read_keeps_no_other_delivery_and_goes_on_when_it_can() {
    let (folder, clock) = (TempDir::new().unwrap(), Arc::new(Hands::default()));
    let log = BlindLog::open(folder.path());
    let tenant = Arc::clone(&log).tenant(folder.path(), Arc::clone(&clock));
    publish_all(&tenant, &(1..=5).map(|i| event_of("t", &i.to_string(), "s", "{}")).collect::<Vec<_>>());
    tenant.create_subscription("s", Subscription::default()).unwrap();
    let (info, _) = tenant.preview_replay(&to("s"), None, &|| true).unwrap();
    tenant.confirm_operation(info.id).unwrap();
    log.is_scan_blind.store(true, Ordering::Relaxed);
    clock.0.fetch_add(10_000, Ordering::Relaxed);
    tenant.deliver().expect("it keeps nobody else");
    assert!(tenant.operation(info.id).unwrap().replay.unwrap().problem.is_some());
    log.is_scan_blind.store(false, Ordering::Relaxed);
    clock.0.fetch_add(2_000_000, Ordering::Relaxed);
    tenant.deliver().unwrap();
    let replay = tenant.operation(info.id).unwrap().replay.unwrap();
    assert_eq!((replay.counts.handed, replay.problem), (5, None));
}
