//! What went wrong with deliveries once, in as few steps as show it.

use std::sync::Arc;

use quipu_domain::delivery::{Failure, Reason};
use quipu_domain::{Event, Subscription, Timestamp, Value};
use quipu_engine::{Answer, Clock, DeadLetterFilter, Handed, NotDone, Options, SubscriptionRefusal, Tenant, World};
use quipu_testkit::{FOLDER, FaultyDisk, Kind, SeededRandom, Trigger, VirtualClock};

struct Case {
    disk: FaultyDisk,
    clock: Arc<VirtualClock>,
    tenant: Option<Arc<Tenant>>,
    next_id: u64,
}

impl Case {
    fn new() -> Self {
        let clock = Arc::new(VirtualClock::new(Timestamp(1_767_225_600_000_000)));
        let mut case = Self { disk: FaultyDisk::new(1), clock, tenant: None, next_id: 0 };
        case.reopen();
        case
    }

    fn tenant(&self) -> &Arc<Tenant> {
        self.tenant.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.tenant = None;
        self.disk = self.disk.kill();
        let world = World {
            storage: Arc::new(self.disk.clone()),
            clock: Arc::<VirtualClock>::clone(&self.clock),
            random: Arc::new(SeededRandom::new(1)),
        };
        let options = Options { threads: 1, ..Options::default() };
        self.tenant = Some(Tenant::open(&world, FOLDER, options).unwrap());
    }

    fn create(&self, name: &str, definition: &str) {
        self.tenant().create_subscription(name, subscription(definition)).unwrap();
    }

    fn publish(&mut self, subject: &'static str) {
        self.publish_for(subject, None);
    }

    /// Publishes an event whose time is over after so many milliseconds.
    fn publish_for(&mut self, subject: &'static str, ms: Option<i64>) {
        self.next_id += 1;
        let mut event = Event::builder(self.next_id.to_string(), "/s", "a.b").subject(subject);
        if let Some(ms) = ms {
            event = event.attribute("expirytime", Value::Text(self.clock.now().plus_ms(ms).to_string().into()));
        }
        let event = event.json(format!(r#"{{"n":{}}}"#, self.next_id)).build().unwrap();
        let prepared = self.tenant().prepare(&event, None).unwrap();
        self.tenant().publish_wait(vec![prepared]).unwrap();
    }

    fn pull(&self, name: &str) -> Vec<Handed> {
        self.tenant().pull(name, 100).unwrap()
    }

    fn answer(&self, name: &str, handed: &Handed, answer: Answer) {
        let results = self.tenant().answer(name, vec![(handed.id, handed.token, answer)]).unwrap();
        results.into_iter().for_each(|result| result.unwrap());
    }

    fn give_up(&self, name: &str, handed: &Handed) {
        let (failure, reason) = (Failure::new("never"), Reason::GivenUpByConsumer);
        self.answer(name, handed, Answer::GiveUp { failure, reason });
    }

    /// Acknowledges all there is, and says the positions.
    fn drain(&self, name: &str) -> Vec<u64> {
        let mut positions = Vec::new();
        loop {
            let handed = self.pull(name);
            if handed.is_empty() {
                return positions;
            }
            for one in handed {
                self.answer(name, &one, Answer::Ack);
                positions.push(one.id.position);
            }
        }
    }

    fn checkpoint(&self) {
        self.tenant().checkpoint_deliveries().unwrap();
    }

    fn letters(&self) -> Vec<(u64, bool)> {
        let letters = self.tenant().dead_letters(&DeadLetterFilter::default(), 0, 100);
        letters.iter().map(|line| (line.id, line.parks_key)).collect()
    }

    fn wait_ms(&self, ms: i64) {
        self.clock.jump_ms(ms);
        self.tenant().deliver().unwrap();
        self.checkpoint();
    }
}

fn subscription(definition: &str) -> Subscription {
    serde_json::from_str(definition).unwrap()
}

fn retry_later() -> Answer {
    Answer::Nack { failure: Failure::new("later"), delay_ms: Some(1_000) }
}

/// A first event of `a` that waits for its retry, and many of `a` and `b` after it, by turns.
fn busy(events: u64) -> Case {
    let mut case = Case::new();
    case.create("s", r#"{"start":"beginning"}"#);
    case.publish("a");
    let first = case.pull("s").remove(0);
    case.answer("s", &first, retry_later());
    for _ in 0..events {
        case.publish("b");
        case.publish("a");
    }
    assert_eq!(case.drain("s").len() as u64, events);
    case.checkpoint();
    case
}

#[test]
fn a_key_with_more_waiting_events_than_are_read_at_once_skips_none() {
    let mut case = busy(600);
    case.reopen();
    case.wait_ms(2_000);
    let expected: Vec<u64> = (0..=600).map(|n| n * 2 + 1).collect();
    assert_eq!(case.drain("s"), expected);
}

#[test]
fn the_key_does_not_change_while_events_wait_behind_theirs() {
    let mut case = busy(70);
    let rekey = |case: &Case| case.tenant().update_subscription("s", subscription(r#"{"key":"data.n"}"#));
    assert!(matches!(rekey(&case), Err(NotDone::Refused(SubscriptionRefusal::Invalid(_)))));
    case.wait_ms(2_000);
    assert_eq!(case.drain("s").len(), 71);
    rekey(&case).unwrap();
    case.publish("a");
    assert_eq!(case.drain("s").len(), 1);
}

#[test]
fn a_key_that_was_parked_before_its_policy_changed_can_be_decided_about() {
    let mut case = Case::new();
    case.create("s", r#"{"start":"beginning","deadletter":{"key":"park"}}"#);
    case.publish("a");
    case.publish("a");
    let handed = case.tenant().pull("s", 1).unwrap();
    case.give_up("s", &handed[0]);
    case.tenant().update_subscription("s", subscription(r#"{"deadletter":{"key":"continue"}}"#)).unwrap();
    case.checkpoint();
    assert_eq!(case.letters(), [(1, true)]);
    assert!(case.drain("s").is_empty());
    case.tenant().discard(1, "no longer wanted").unwrap();
    assert_eq!(case.drain("s"), [2]);
}

#[test]
fn an_edited_copy_that_fails_again_stays_edited_for_its_subscription_only() {
    let mut case = Case::new();
    case.create("s", r#"{"start":"beginning"}"#);
    case.create("other", r#"{"start":"now"}"#);
    case.publish("a");
    case.give_up("s", &case.pull("s")[0]);
    case.checkpoint();
    let edited = || serde_json::value::RawValue::from_string(r#"{"edited":1}"#.into()).unwrap();
    case.tenant().redrive_edited(1, edited()).unwrap();
    let text = |handed: &[Handed]| handed[0].edited.as_ref().map(|text| text.get().to_owned());
    for _ in 0..2 {
        let handed = case.pull("s");
        assert_eq!(text(&handed).as_deref(), Some(edited().get()));
        case.give_up("s", &handed[0]);
        case.checkpoint();
        let again = case.letters()[0].0;
        case.tenant().redrive(again, None).unwrap();
    }
    case.give_up("s", &case.pull("s")[0]);
    case.checkpoint();
    case.tenant().redrive(case.letters()[0].0, Some("other")).unwrap();
    assert_eq!(text(&case.pull("other")), None);
}

#[test]
fn an_edited_copy_outlives_the_retention_of_its_dead_letter() {
    let mut case = Case::new();
    case.create("s", r#"{"start":"beginning","deadletter":{"key":"continue","retentionms":1000}}"#);
    case.publish("a");
    case.give_up("s", &case.pull("s")[0]);
    case.checkpoint();
    let edited = serde_json::value::RawValue::from_string("{}".into()).unwrap();
    case.tenant().redrive_edited(1, edited).unwrap();
    case.wait_ms(60_000);
    assert!(case.pull("s")[0].edited.is_some());
}

#[test]
fn what_is_given_up_has_its_dead_letter_although_its_subscription_goes() {
    let mut case = Case::new();
    for name in ["moved", "deleted"] {
        case.create(name, r#"{"start":"beginning"}"#);
    }
    case.publish("a");
    for name in ["moved", "deleted"] {
        case.give_up(name, &case.pull(name)[0]);
    }
    case.tenant().seek_subscription("moved", &quipu_domain::StartAt::Now).unwrap();
    case.tenant().delete_subscription("deleted").unwrap();
    assert_eq!(case.letters().len(), 2);
}

#[test]
fn dead_letters_are_seen_in_the_order_of_their_numbers_although_one_cannot_be_made_yet() {
    let mut case = Case::new();
    for name in ["early", "late"] {
        case.create(name, "{}");
    }
    ["a", "b"].into_iter().for_each(|subject| case.publish(subject));
    for name in ["early", "late"] {
        case.pull(name).iter().for_each(|handed| case.give_up(name, handed));
    }
    case.disk.fail(Kind::Read, Trigger::At(2));
    case.tenant().checkpoint_deliveries().unwrap_err();
    case.disk.fail(Kind::Read, Trigger::Never);
    let ids = |case: &Case| case.letters().iter().map(|(id, _)| *id).collect::<Vec<_>>();
    let seen = ids(&case);
    assert_eq!(seen.len(), 2, "those of the other subscription");
    case.checkpoint();
    let all = ids(&case);
    assert_eq!((all.len(), &all[..2]), (4, &seen[..]), "later ones have higher numbers");
}

#[test]
fn one_event_comes_for_each_of_its_deliveries() {
    let mut case = Case::new();
    case.create("s", r#"{"start":"beginning"}"#);
    case.create("other", r#"{"start":"beginning"}"#);
    case.publish("a");
    case.give_up("other", &case.pull("other")[0]);
    case.checkpoint();
    case.tenant().redrive(1, Some("s")).unwrap();
    assert_eq!(case.drain("s"), [1, 1]);
}

#[test]
fn an_event_that_expires_behind_others_of_its_key_expires_once() {
    // Expired before it is looked at; expired when it is read, from where it waited in the log.
    for waits in [false, true] {
        let mut case = Case::new();
        case.create("s", r#"{"start":"beginning","deadletter":{"key":"park"}}"#);
        let parked = |case: &Case, letter| {
            case.give_up("s", &case.pull("s")[0]);
            case.checkpoint();
            assert_eq!(case.letters(), [(letter, true)]);
        };
        case.publish("a");
        if waits {
            parked(&case, 1);
        }
        ["a", "a"].into_iter().for_each(|subject| case.publish(subject));
        case.publish_for("a", Some(50));
        case.publish("a");
        case.wait_ms(50);
        if waits {
            case.tenant().discard(1, "no").unwrap();
        }
        parked(&case, 1 + u64::from(waits));
        case.tenant().discard(1 + u64::from(waits), "no").unwrap();
        assert_eq!(case.drain("s"), if waits { vec![3, 5] } else { vec![2, 3, 5] }, "{waits}");
        assert_eq!(case.tenant().subscription("s").unwrap().counts.expired, 1, "{waits}");
    }
}
