//! The ledger of deliveries can fail: it accepts a right history, and refuses each that breaks one rule.

use quipu_domain::Timestamp;
use quipu_domain::delivery::{Attempt, DeliveryId, Failure, NotInFlight, Reason};
use quipu_testkit::checker::Verdict;
use quipu_testkit::checker::deliveries::{
    Answered, Choice, Fact, Figures, Handing, KeyChoice, Ledger, Letter, Pause, Said, Story, Terms,
};

fn at(ms: i64) -> Timestamp {
    Timestamp(ms * 1_000)
}

fn terms() -> Terms {
    Terms {
        choice: Choice::All,
        key: KeyChoice::Subject,
        parks: false,
        max_attempts: 2,
        max_age_ms: None,
        pause: Pause::List(vec![100]),
        ack_deadline_ms: 1_000,
        max_in_flight: 3,
        rate: None,
        retention_ms: 60_000,
        is_paused: false,
    }
}

/// Events 1, 3, 5 of `a`, 2 and 4 of `b`; 5 is over at 5 s.
fn ledger(terms: Terms) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.defined("s", terms, 0);
    for (position, subject) in [(1, "a"), (2, "b"), (3, "a"), (4, "b"), (5, "a")] {
        ledger.published(Fact {
            position,
            id: format!("e{position}"),
            kind: "k".into(),
            subject: Some(subject.into()),
            expires: (position == 5).then_some(at(5_000)),
            ..Fact::default()
        });
    }
    ledger
}

fn id(position: u64) -> DeliveryId {
    DeliveryId::routed(position)
}

fn handing(position: u64, attempt: u32, ms: i64) -> Handing {
    let event = format!("e{position}");
    Handing { id: id(position), token: position * 10, attempt, deadline: at(ms + 1_000), event, edited: None }
}

fn hand(ledger: &mut Ledger, ms: i64, positions: &[u64]) -> Verdict {
    let batch: Vec<Handing> = positions.iter().map(|position| handing(*position, 1, ms)).collect();
    ledger.handed("s", at(ms), &batch)
}

fn say(ledger: &mut Ledger, ms: i64, position: u64, said: Said, taken: Result<(), NotInFlight>) -> Verdict {
    ledger.answered("s", at(ms), &Answered { id: id(position), token: position * 10, said, taken })
}

fn ack(ledger: &mut Ledger, ms: i64, position: u64) {
    say(ledger, ms, position, Said::Ack, Ok(())).unwrap();
}

fn nack() -> Said {
    Said::Nack("no".into(), None)
}

fn letter(number: u64, position: u64, reason: Reason, parks_key: bool) -> Letter {
    let (subscription, time) = ("s".into(), at(0));
    Letter { number, subscription, position, redriven_from: None, reason, parks_key, copy_of: None, time }
}

#[track_caller]
fn refused(verdict: Verdict, words: &str) {
    let violation = verdict.unwrap_err();
    assert!(violation.detail.contains(words), "expected {words}, found {violation}");
}

#[test]
fn a_right_history_passes() {
    let mut ledger = ledger(terms());
    hand(&mut ledger, 0, &[1, 3, 2]).unwrap();
    say(&mut ledger, 1, 3, Said::Ack, Err(NotInFlight::OutOfOrder { first: 1 })).unwrap();
    [1, 3, 2].into_iter().for_each(|position| ack(&mut ledger, 1, position));
    say(&mut ledger, 2, 1, Said::Ack, Err(NotInFlight::Late)).unwrap();
    hand(&mut ledger, 2, &[4]).unwrap();
    say(&mut ledger, 2, 4, nack(), Ok(())).unwrap();
    ledger.handed("s", at(102), &[handing(4, 2, 102)]).unwrap();
    ledger.ticked(at(1_102));
    ledger.lettered(&letter(1, 4, Reason::AttemptsExhausted, false)).unwrap();
    ledger.saved().unwrap();
    ledger.ended(at(5_000)).unwrap();
}

#[test]
fn what_is_given_back_was_no_attempt() {
    let mut given_back = ledger(Terms { rate: Some((1, 3)), ..terms() });
    hand(&mut given_back, 0, &[1, 3, 5]).unwrap();
    // Out of turn, and with what is behind it: the first stays where it is.
    say(&mut given_back, 1, 3, Said::Release, Ok(())).unwrap();
    say(&mut given_back, 1, 5, Said::Ack, Err(NotInFlight::Late)).unwrap();
    refused(hand(&mut given_back, 1, &[3]), "overtakes position 1");
    ack(&mut given_back, 1, 1);
    // At once, as the first attempt, and none of it counts against the rate.
    hand(&mut given_back, 1, &[3, 5]).unwrap();
    refused(hand(&mut given_back, 1, &[2]), "expected at most");
    let mut counted = ledger(terms());
    hand(&mut counted, 0, &[1]).unwrap();
    say(&mut counted, 1, 1, Said::Release, Ok(())).unwrap();
    refused(counted.handed("s", at(1), &[handing(1, 2, 1)]), "as attempt 2");
    let mut late = ledger(terms());
    refused(say(&mut late, 1, 1, Said::Release, Ok(())), "expected Err(Late)");
}

#[test]
fn what_is_skipped_is_seen() {
    let mut ledger = ledger(terms());
    hand(&mut ledger, 0, &[1, 3, 2]).unwrap();
    [1, 3, 2].into_iter().for_each(|position| ack(&mut ledger, 1, position));
    refused(ledger.ended(at(6_000)), "never finished");
    hand(&mut ledger, 1, &[4]).unwrap();
    refused(ledger.ended_but_parked(at(6_000)), "never finished");
    ack(&mut ledger, 1, 4);
    // The last one has expired by now, and not before.
    refused(ledger.ended(at(4_999)), "never finished");
    ledger.ended(at(6_000)).unwrap();
}

#[test]
fn an_event_that_overtakes_its_key_is_seen() {
    refused(hand(&mut ledger(terms()), 0, &[3]), "overtakes position 1");
    refused(hand(&mut ledger(terms()), 0, &[3, 1]), "overtakes position 1");
    // With another consumer.
    let mut busy = ledger(terms());
    hand(&mut busy, 0, &[1]).unwrap();
    refused(hand(&mut busy, 0, &[3]), "overtakes position 1");
    // Without keys nothing waits, and strictly everything does.
    hand(&mut ledger(Terms { key: KeyChoice::Nothing, ..terms() }), 0, &[3]).unwrap();
    refused(hand(&mut ledger(Terms { key: KeyChoice::Same, ..terms() }), 0, &[2]), "overtakes position 1");
}

#[test]
fn an_earlier_event_that_comes_after_a_later_one_is_seen() {
    let mut ledger = ledger(terms());
    hand(&mut ledger, 0, &[1]).unwrap();
    ack(&mut ledger, 0, 1);
    // Whether it was forgotten is not known: it may come again, but not behind its successor.
    ledger.restarted();
    hand(&mut ledger, 1, &[3]).unwrap();
    ack(&mut ledger, 1, 3);
    refused(hand(&mut ledger, 2, &[1]), "came before");
}

#[test]
fn what_comes_twice_is_seen() {
    let mut twice = ledger(terms());
    hand(&mut twice, 0, &[1]).unwrap();
    refused(hand(&mut twice, 0, &[1]), "not to be");
    ack(&mut twice, 0, 1);
    refused(twice.handed("s", at(0), &[handing(1, 2, 0)]), "not to be");
    // After a restart what was written down does not come again, and what was not may.
    let mut forgotten = ledger(terms());
    hand(&mut forgotten, 0, &[1, 2]).unwrap();
    ack(&mut forgotten, 0, 1);
    forgotten.saved().unwrap();
    ack(&mut forgotten, 0, 2);
    forgotten.restarted();
    refused(forgotten.handed("s", at(0), &[handing(1, 2, 0)]), "not to be");
    forgotten.handed("s", at(0), &[handing(2, 2, 0)]).unwrap();
}

#[test]
fn what_is_finished_and_written_down_counts_as_before() {
    let mut ledger = ledger(terms());
    hand(&mut ledger, 0, &[1]).unwrap();
    ack(&mut ledger, 0, 1);
    // That was perhaps forgotten, so it may come again.
    ledger.restarted();
    hand(&mut ledger, 1, &[3]).unwrap();
    ack(&mut ledger, 1, 3);
    ledger.saved().unwrap();
    refused(ledger.handed("s", at(2), &[handing(3, 2, 2)]), "not to be");
    refused(say(&mut ledger, 2, 3, Said::Ack, Ok(())), "Late");
    refused(ledger.lettered(&letter(1, 3, Reason::AttemptsExhausted, false)), "is finished");
    refused(hand(&mut ledger, 2, &[1]), "came before");
    // Another process does not know any more which came first, and with another key nobody asks.
    ledger.updated("s", Terms { key: KeyChoice::Same, ..terms() });
    refused(ledger.handed("s", at(2), &[handing(3, 2, 2)]), "not to be");
    ledger.restarted();
    hand(&mut ledger, 3, &[1]).unwrap();
    refused(ledger.handed("s", at(3), &[handing(3, 2, 3)]), "not to be");
}

#[test]
fn attempts_that_do_not_count_on_are_seen() {
    let mut ledger = ledger(terms());
    refused(ledger.handed("s", at(0), &[handing(1, 2, 0)]), "as attempt 2");
    hand(&mut ledger, 0, &[1]).unwrap();
    say(&mut ledger, 0, 1, nack(), Ok(())).unwrap();
    refused(ledger.handed("s", at(99), &[handing(1, 2, 99)]), "before its pause");
    refused(ledger.handed("s", at(100), &[handing(1, 1, 100)]), "as attempt 1");
    ledger.handed("s", at(100), &[handing(1, 2, 100)]).unwrap();
    // Both attempts were made: a restart may repeat one, and only one.
    ledger.saved().unwrap();
    ledger.restarted();
    ledger.handed("s", at(100), &[handing(1, 3, 100)]).unwrap();
    say(&mut ledger, 100, 1, nack(), Ok(())).unwrap();
    refused(ledger.handed("s", at(900), &[handing(1, 4, 900)]), "not to be");
}

#[test]
fn answers_that_are_wrongly_taken_or_refused_are_seen() {
    let mut ledger = ledger(terms());
    refused(say(&mut ledger, 0, 1, Said::Ack, Ok(())), "expected Err(Late)");
    hand(&mut ledger, 0, &[1, 3]).unwrap();
    refused(say(&mut ledger, 0, 3, Said::Ack, Ok(())), "OutOfOrder");
    refused(say(&mut ledger, 0, 1, Said::Ack, Err(NotInFlight::Late)), "expected Ok");
    ledger.ticked(at(1_000));
    refused(say(&mut ledger, 1_000, 1, Said::Ack, Ok(())), "expected Err(Late)");
    refused(say(&mut ledger, 1_000, 3, Said::Ack, Ok(())), "expected Err(Late)");
}

#[test]
fn too_many_too_fast_too_late_or_while_paused_are_seen() {
    let none = || Terms { key: KeyChoice::Nothing, ..terms() };
    refused(hand(&mut ledger(none()), 0, &[1, 2, 3, 4]), "expected at most 3");
    let mut limited = ledger(Terms { rate: Some((10, 2)), ..none() });
    refused(hand(&mut limited, 0, &[1, 2, 3]), "handed out in");
    let mut limited = ledger(Terms { rate: Some((10, 2)), ..none() });
    hand(&mut limited, 0, &[1, 2]).unwrap();
    refused(hand(&mut limited, 99, &[3]), "handed out in");
    refused(hand(&mut ledger(none()), 5_000, &[5]), "after its time");
    refused(hand(&mut ledger(Terms { is_paused: true, ..none() }), 0, &[1]), "paused");
    let mut wrong = handing(1, 1, 0);
    wrong.deadline = at(999);
    refused(ledger(none()).handed("s", at(0), &[wrong]), "its deadline");
    let wrong = Handing { event: "e2".into(), ..handing(1, 1, 0) };
    refused(ledger(none()).handed("s", at(0), &[wrong]), "with the event e2");
}

#[test]
fn dead_letters_without_reason_or_missing_ones_are_seen() {
    let mut ledger = ledger(terms());
    refused(ledger.lettered(&letter(1, 1, Reason::GivenUpByConsumer, false)), "was not given up");
    hand(&mut ledger, 0, &[1]).unwrap();
    say(&mut ledger, 7, 1, Said::GiveUp("never".into()), Ok(())).unwrap();
    refused(ledger.saved(), "no dead letter");
    refused(ledger.lettered(&letter(1, 1, Reason::TooOld, false)), "expected GivenUpByConsumer");
    refused(ledger.lettered(&letter(1, 1, Reason::GivenUpByConsumer, true)), "parking: false");
    ledger.lettered(&letter(1, 1, Reason::GivenUpByConsumer, false)).unwrap();
    ledger.saved().unwrap();
    let told = |number, error: &str| {
        let failure = Failure::new(error);
        Story { number: 1, attempts: 1, history: vec![Attempt { number, time: at(0), duration_ms: 7, failure }] }
    };
    ledger.told(&told(1, "never")).unwrap();
    refused(ledger.told(&told(1, "other")), "attempt 1 was none");
    refused(ledger.told(&told(2, "never")), "attempt 2 was none");
    refused(ledger.told(&Story { number: 1, attempts: 1, history: Vec::new() }), "attempt 1 is missing");
    refused(ledger.told(&Story { attempts: 2, ..told(1, "never") }), "expected 1 to 1 attempts");
    refused(ledger.forgotten(1, at(59_999), 60_000), "before its time");
}

#[test]
fn a_parked_key_waits_and_holds_nobody_else() {
    let mut ledger = ledger(Terms { parks: true, ..terms() });
    hand(&mut ledger, 0, &[1]).unwrap();
    say(&mut ledger, 0, 1, Said::GiveUp("never".into()), Ok(())).unwrap();
    ledger.lettered(&letter(1, 1, Reason::GivenUpByConsumer, true)).unwrap();
    refused(hand(&mut ledger, 0, &[3]), "overtakes position 1");
    refused(ledger.forgotten(1, at(60_000), 60_000), "its key waits for it");
    // Events of `b` are owed all the same.
    refused(ledger.ended_but_parked(at(6_000)), "position 2");
    hand(&mut ledger, 0, &[2, 4]).unwrap();
    [2, 4].into_iter().for_each(|position| ack(&mut ledger, 0, position));
    ledger.ended_but_parked(at(6_000)).unwrap();
    refused(ledger.ended(at(6_000)), "never finished");
}

#[test]
fn an_edited_copy_that_is_lost_or_comes_elsewhere_is_seen() {
    let mut ledger = ledger(terms());
    ledger.defined("other", terms(), 0);
    hand(&mut ledger, 0, &[1]).unwrap();
    say(&mut ledger, 0, 1, Said::GiveUp("never".into()), Ok(())).unwrap();
    ledger.lettered(&letter(1, 1, Reason::GivenUpByConsumer, false)).unwrap();
    ledger.edited(1, 2, "{}").unwrap();
    refused(ledger.edited(1, 3, "{}"), "once more");
    let copy = |edited: Option<&str>| Handing {
        id: DeliveryId { dead_letter: 2, ..DeliveryId::routed(1) },
        edited: edited.map(str::to_owned),
        ..handing(1, 1, 0)
    };
    refused(ledger.handed("s", at(0), &[copy(None)]), "expected the edited copy");
    refused(ledger.handed("other", at(0), &[copy(Some("{}"))]), "expected the edited copy None");
    refused(ledger.handed("other", at(0), &[copy(None)]), "nobody is owed it");
    refused(ledger.ended_but_parked(at(0)), "never finished");
    ledger.handed("s", at(0), &[copy(Some("{}"))]).unwrap();
}

#[test]
fn by_a_clock_that_was_set_back_leases_and_pauses_are_as_long_as_before() {
    let begun = || {
        let mut ledger = ledger(Terms { rate: Some((10, 2)), ..terms() });
        hand(&mut ledger, 10_000, &[1, 2]).unwrap();
        say(&mut ledger, 10_000, 1, nack(), Ok(())).unwrap();
        ledger.set_back(at(10_050), 10_050);
        // Of the pause 50 ms have passed; the lease lasts for a second from now on.
        ledger.ticked(at(0));
        ledger
    };
    refused(begun().handed("s", at(49), &[handing(1, 2, 49)]), "before its pause is over");
    begun().handed("s", at(50), &[handing(1, 2, 50)]).unwrap();
    refused(begun().handed("s", at(50), &[handing(1, 2, 50), handing(3, 1, 50)]), "expected at most 3");
    let (mut in_time, mut late) = (begun(), begun());
    in_time.ticked(at(999));
    ack(&mut in_time, 999, 2);
    late.ticked(at(1_000));
    refused(say(&mut late, 1_000, 2, Said::Ack, Ok(())), "expected Err(Late)");
}

#[test]
fn what_was_over_before_the_clock_was_set_back_may_have_ended_and_need_not() {
    let terms = Terms { key: KeyChoice::Nothing, ..terms() };
    let mut ledger = ledger(terms);
    hand(&mut ledger, 0, &[1, 2, 3]).unwrap();
    [1, 2, 3].into_iter().for_each(|position| ack(&mut ledger, 0, position));
    hand(&mut ledger, 0, &[4]).unwrap();
    ack(&mut ledger, 0, 4);
    refused(ledger.ended(at(0)), "never finished");
    ledger.set_back(at(5_000), 5_000);
    ledger.ended(at(0)).unwrap();
    hand(&mut ledger, 0, &[5]).unwrap();
    refused(ledger.ended(at(6_000)), "never finished");
}

#[test]
fn figures_that_are_not_what_happened_are_seen() {
    let mut ledger = ledger(Terms { max_attempts: 1, ..terms() });
    hand(&mut ledger, 0, &[1, 3, 2]).unwrap();
    [1, 3].into_iter().for_each(|position| ack(&mut ledger, 1, position));
    say(&mut ledger, 1, 2, nack(), Ok(())).unwrap();
    ledger.lettered(&letter(1, 2, Reason::AttemptsExhausted, false)).unwrap();
    hand(&mut ledger, 2, &[4]).unwrap();
    ack(&mut ledger, 2, 4);
    ledger.saved().unwrap();
    ledger.ended(at(6_000)).unwrap();
    let right = Figures { acknowledged: 3, dead_lettered: 1, expired: 1, unfinished: 0 };
    ledger.accounted("s", &right).unwrap();
    let wrong = [
        Figures { acknowledged: 4, ..right },
        Figures { acknowledged: 2, ..right },
        Figures { dead_lettered: 0, ..right },
        Figures { expired: 0, ..right },
        Figures { expired: 2, ..right },
        Figures { unfinished: 1, ..right },
        // As many in all.
        Figures { acknowledged: 4, dead_lettered: 0, ..right },
        Figures { acknowledged: 2, expired: 2, ..right },
    ];
    wrong.iter().for_each(|figures| refused(ledger.accounted("s", figures), "expected Count"));
    // What it said before it was moved is not said of what comes after.
    ledger.sought("s", 5, right).unwrap();
    ledger.accounted("s", &right).unwrap();
    refused(ledger.accounted("s", &Figures { acknowledged: 4, ..right }), "expected Count");
}
