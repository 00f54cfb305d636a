//! The states that decisions rest on are what the log says, or it is said which are not and since when.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use quipu::{Aggregate, Append, Error, Event, Quipu, Verdict, VerdictOutcome};
use quipu_testkit::tamper;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::account::{Account, Ask};

fn verify<A: Aggregate>(quipu: &Quipu, baseline: Option<&str>) -> Verdict {
    quipu.aggregates::<A>().verify(baseline, &mut |_, _| true).unwrap().unwrap()
}

fn deposit(quipu: &Quipu, id: &str, times: usize) {
    for _ in 0..times {
        quipu.aggregates::<Account>().execute(id, &Ask::Deposit(1.0)).unwrap();
    }
}

#[test]
fn states_that_are_what_the_log_says_are_equal_and_the_verdict_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let quipu = Quipu::open(folder.path()).unwrap();
    deposit(&quipu, "ada", 25);
    deposit(&quipu, "bob", 3);
    let verdict = verify::<Account>(&quipu, None);
    assert_eq!((verdict.outcome, verdict.number, verdict.position), (VerdictOutcome::Equal, 1, 28), "{verdict:?}");
    assert_eq!(verdict.tables[0].rebuilt.as_ref().unwrap().rows, 2);
    quipu.close().unwrap();
    drop(quipu);

    let quipu = Quipu::open(folder.path()).unwrap();
    assert_eq!(quipu.aggregates::<Account>().verdicts(), std::slice::from_ref(&verdict));
    deposit(&quipu, "ada", 1);
    let again = verify::<Account>(&quipu, None);
    assert_eq!((again.outcome, again.number), (VerdictOutcome::Equal, 2));
    assert_ne!(again.tables, verdict.tables);
    assert!(quipu.aggregates::<Account>().verify(None, &mut |_, _| false).unwrap().is_none(), "cancelled");
    assert_eq!(quipu.aggregates::<Account>().verdicts().len(), 2);
    quipu.close().unwrap();
}

/// Code that somebody changed without saying so.
static IS_CHANGED: AtomicBool = AtomicBool::new(false);

#[derive(Default, Serialize, Deserialize)]
struct Silent {
    total: u64,
    events: u64,
}

#[derive(Serialize, Deserialize)]
enum Added {
    #[serde(rename = "silent.added")]
    Added(u64),
}

impl Aggregate for Silent {
    const NAME: &'static str = "silent";
    const SNAPSHOT_EVERY: u64 = 10;
    type Command = u64;
    type Event = Added;
    type Refusal = ();
    fn decide(&self, number: &u64) -> Result<Vec<Added>, ()> {
        Ok(vec![Added::Added(*number)])
    }
    fn evolve(&mut self, Added::Added(number): Added) {
        self.events += 1;
        self.total += if IS_CHANGED.load(Relaxed) { 2 * number } else { number };
    }
}

#[test]
fn a_snapshot_of_code_that_was_changed_is_found_by_its_stream_and_event() {
    let quipu = Quipu::in_memory().unwrap();
    let all = quipu.aggregates::<Silent>();
    for (id, times) in [("a", 9), ("b", 23), ("c", 5)] {
        (0..times).for_each(|_| drop(all.execute(id, &1).unwrap()));
    }
    let made = all.create_baseline("before").unwrap();
    assert_eq!((made.position, made.tables[0].rows), (37, 3));
    assert!(all.create_baseline("before").is_err());
    assert_eq!(verify::<Silent>(&quipu, None).outcome, VerdictOutcome::Equal);
    IS_CHANGED.store(true, Relaxed);
    all.execute("b", &1).unwrap();
    let verdict = verify::<Silent>(&quipu, None);
    assert_eq!((verdict.outcome, verdict.tables[0].differing), (VerdictOutcome::Differs, Some(1)), "{verdict:?}");
    let row = &verdict.rows[0];
    assert_eq!(row.key["stream"], "silent/b");
    // 20 that were counted once, and four twice; the snapshot was made after the 20th of the stream, the 29th of the log.
    assert_eq!(json!([row.kept, row.rebuilt]), json!([{"total": 28}, {"total": 48}]));
    assert_eq!(row.since.as_ref().unwrap().position, 29);
    // All three are other states than those of the baseline.
    let verdict = verify::<Silent>(&quipu, Some("before"));
    assert_eq!((verdict.outcome, verdict.position), (VerdictOutcome::Differs, 37));
    IS_CHANGED.store(false, Relaxed);
    assert_eq!(verify::<Silent>(&quipu, Some("before")).outcome, VerdictOutcome::Equal);
    assert!(matches!(all.verify(Some("none"), &mut |_, _| true), Err(Error::Projection(_))));
    // They are no projection that somebody could apply, list or remove.
    assert!(quipu.aggregates::<Account>().verdicts().is_empty());
}

static CALLS: AtomicU64 = AtomicU64::new(0);

#[derive(Default, Serialize, Deserialize)]
struct Fickle {
    seen: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
enum Seen {
    #[serde(rename = "fickle.seen")]
    Seen,
    #[serde(rename = "fickle.timed")]
    Timed,
}

impl Aggregate for Fickle {
    const NAME: &'static str = "fickle";
    type Command = bool;
    type Event = Seen;
    type Refusal = ();
    fn decide(&self, is_timed: &bool) -> Result<Vec<Seen>, ()> {
        Ok(vec![if *is_timed { Seen::Timed } else { Seen::Seen }])
    }
    fn evolve(&mut self, event: Seen) {
        match event {
            Seen::Seen => self.seen.push(1),
            Seen::Timed => self.seen.push(CALLS.fetch_add(1, Relaxed)),
        }
    }
}

#[test]
fn an_evolve_that_depends_on_more_than_its_events_is_found_with_the_event() {
    let quipu = Quipu::in_memory().unwrap();
    let all = quipu.aggregates::<Fickle>();
    for is_timed in [false, false, true, false] {
        all.execute("x", &is_timed).unwrap();
    }
    let verdict = verify::<Fickle>(&quipu, None);
    assert_eq!(verdict.outcome, VerdictOutcome::Differs);
    assert_eq!(verdict.rows[0].since.as_ref().unwrap().position, 3);
    let problem = verdict.problem.unwrap();
    assert!(problem.contains("position 3 (fickle.timed)"), "{problem}");
    assert!(matches!(all.create_baseline("b"), Err(Error::NotRebuilt(_))));
}

#[test]
fn an_event_that_was_tampered_with_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let quipu = Quipu::open(folder.path()).unwrap();
    let accounts = quipu.aggregates::<Account>();
    for amount in [100.0, 200.0, 300.0] {
        accounts.execute("ada", &Ask::Deposit(amount)).unwrap();
    }
    tamper(&folder.path().join("tenants/default/log"), "200.0", "200.0", "900.0");
    let verdict = verify::<Account>(&quipu, None);
    assert_eq!((verdict.outcome, verdict.position), (VerdictOutcome::Tampered, 1), "{verdict:?}");
    assert!(verdict.problem.unwrap().contains("the event at position 2,"));
    quipu.close().unwrap();
}

#[test]
fn an_event_that_nobody_can_read_stops_it_and_is_named() {
    let quipu = Quipu::in_memory().unwrap();
    deposit(&quipu, "ada", 1);
    let other = Event::builder("1", "/other", "account.merged").subject("account/ada").build().unwrap();
    quipu.publish(&other).unwrap();
    let verdict = verify::<Account>(&quipu, None);
    assert_eq!(verdict.outcome, VerdictOutcome::Stopped);
    assert!(verdict.problem.unwrap().contains("position 2 cannot be read"));
}

#[test]
fn more_states_than_are_made_at_a_time_are_all_looked_at() {
    let quipu = Quipu::in_memory().unwrap();
    let event = |number: u32| {
        let event = Event::builder(number.to_string(), "/import", "silent.added").json("1");
        event.subject(format!("silent/{number:06}")).build().unwrap()
    };
    // Those that come first in the log come last in the order of their names.
    for batch in (0..51_000).rev().collect::<Vec<u32>>().chunks(1_000) {
        quipu.append(Append::of(batch.iter().map(|number| event(*number)))).unwrap();
    }
    let verdict = verify::<Plain>(&quipu, None);
    assert_eq!(verdict.outcome, VerdictOutcome::Equal);
    assert_eq!(verdict.tables[0].rebuilt.as_ref().unwrap().rows, 51_000);
}

/// The same events, without a switch and without snapshots.
#[derive(Default, Serialize, Deserialize)]
struct Plain(u64);

impl Aggregate for Plain {
    const NAME: &'static str = "silent";
    const SNAPSHOT_EVERY: u64 = 0;
    type Command = u64;
    type Event = Added;
    type Refusal = ();
    fn decide(&self, _: &u64) -> Result<Vec<Added>, ()> {
        Ok(Vec::new())
    }
    fn evolve(&mut self, Added::Added(number): Added) {
        self.0 += number;
    }
}
