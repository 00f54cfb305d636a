//! The states that decisions rest on are what the log says, or it is said which are not and since when.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use quipu::{Aggregate, Append, Error, Event, Quipu, Verdict, VerdictOutcome};
use quipu_testkit::tamper;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::account::{Account, Ask, Entry};
use crate::process::User;

fn verify<A: Aggregate>(quipu: &Quipu, baseline: Option<&str>) -> Verdict {
    let all = quipu.aggregates::<A>();
    baseline.map_or_else(|| all.verify(), |baseline| all.verify_against(baseline)).unwrap()
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
    assert!(quipu.aggregates::<Account>().verify_telling(None, &mut |_, _| false).unwrap().is_none(), "cancelled");
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
    assert!(verdict.rows.is_empty(), "a baseline knows no rows");
    IS_CHANGED.store(false, Relaxed);
    assert_eq!(verify::<Silent>(&quipu, Some("before")).outcome, VerdictOutcome::Equal);
    assert!(matches!(all.verify_against("none"), Err(Error::Projection(_))));
    assert_eq!(all.baselines(), [made]);
    all.remove_baseline("before").unwrap();
    assert!(all.baselines().is_empty() && all.remove_baseline("before").is_err());
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

/// What is asked of a snapshot that is made while the states are.
static IS_CHANGED_MEANWHILE: AtomicBool = AtomicBool::new(false);

#[derive(Default, Serialize, Deserialize)]
struct Busy {
    total: u64,
    /// Large, and different: a verdict shows a part of it.
    texts: Vec<String>,
}

impl Aggregate for Busy {
    const NAME: &'static str = "busy";
    const SNAPSHOT_EVERY: u64 = 10;
    type Command = u64;
    type Event = BusyAdded;
    type Refusal = ();
    fn decide(&self, number: &u64) -> Result<Vec<BusyAdded>, ()> {
        Ok(vec![BusyAdded::Added(*number)])
    }
    fn evolve(&mut self, BusyAdded::Added(number): BusyAdded) {
        let number = if IS_CHANGED_MEANWHILE.load(Relaxed) { 2 * number } else { number };
        self.total += number;
        self.texts.push(number.to_string().repeat(1_000));
    }
}

#[derive(Serialize, Deserialize)]
enum BusyAdded {
    #[serde(rename = "busy.added")]
    Added(u64),
}

#[test]
fn a_snapshot_that_is_newer_than_the_end_is_held_against_the_events_up_to_it() {
    let quipu = Quipu::in_memory().unwrap();
    let all = quipu.aggregates::<Busy>();
    (0..15).for_each(|_| drop(all.execute("a", &1).unwrap()));
    for (is_changed, outcome) in [(false, VerdictOutcome::Equal), (true, VerdictOutcome::Differs)] {
        let mut is_first = true;
        let verdict = all.verify_telling(None, &mut |_, _| {
            if std::mem::take(&mut is_first) {
                // The snapshot of the 10th event gives way to one of an event that is not looked at otherwise.
                IS_CHANGED_MEANWHILE.store(is_changed, Relaxed);
                (0..10).for_each(|_| drop(all.execute("a", &1).unwrap()));
                IS_CHANGED_MEANWHILE.store(false, Relaxed);
            }
            true
        });
        let verdict = verdict.unwrap().unwrap();
        assert_eq!((verdict.outcome, verdict.position), (outcome, if is_changed { 25 } else { 15 }), "{verdict:?}");
        for row in &verdict.rows {
            assert_eq!((row.key["stream"].as_str(), row.since.as_ref().unwrap().position), (Some("busy/a"), 30));
            assert!(serde_json::to_string(row).unwrap().len() < 2_000);
        }
        assert_eq!(verdict.rows.len(), usize::from(is_changed));
    }
}

#[test]
fn states_of_many_passes_are_those_of_one() {
    let quipu = Quipu::in_memory().unwrap();
    // 128 KiB an event, so that some streams are as much as is made at a time.
    let event = |stream: u32, number: u32| {
        let text = "x".repeat(128 << 10);
        let event = Event::builder(format!("{stream}-{number}"), "/import", "account.noted").json(format!("{text:?}"));
        event.subject(format!("account/{stream}")).build().unwrap()
    };
    for number in 0..3 {
        for streams in (0..1_100).collect::<Vec<u32>>().chunks(50) {
            let events: Vec<_> = streams.iter().map(|stream| event(*stream, number)).collect();
            quipu.append(Append::of(events)).unwrap();
        }
    }
    let (mut passes, mut last) = (1, 0);
    let told = &mut |position: u64, _: u64| {
        passes += u32::from(position < last);
        last = position;
        true
    };
    let verdict = quipu.aggregates::<Lengths>().verify_telling(None, told).unwrap().unwrap();
    assert_eq!(verdict.outcome, VerdictOutcome::Equal, "{verdict:?}");
    assert_eq!((passes, verdict.tables[0].rebuilt.as_ref().unwrap().rows), (2, 1_100));
}

/// Small states of the same events.
#[derive(Default, Serialize, Deserialize)]
struct Lengths(u64);

impl Aggregate for Lengths {
    const NAME: &'static str = Account::NAME;
    const SNAPSHOT_EVERY: u64 = 2;
    type Command = ();
    type Event = Entry;
    type Refusal = ();
    fn decide(&self, (): &()) -> Result<Vec<Entry>, ()> {
        Ok(Vec::new())
    }
    fn evolve(&mut self, event: Entry) {
        if let Entry::Noted(text) = event {
            self.0 += text.len() as u64;
        }
    }
}

#[test]
fn verdicts_are_listed_by_the_command_line_and_are_those_of_no_projection() {
    let user = User::new();
    let server = {
        let quipu = Quipu::open(user.path("quipu-data")).unwrap();
        deposit(&quipu, "ada", 12);
        verify::<Account>(&quipu, None);
        quipu.close().unwrap();
        drop(quipu);
        user.serve(&[])
    };
    let run = |args: &[&str]| user.run(&[args, &["--url", &server.url]].concat());
    let listed = run(&["projection", "verdicts", "aggregates:account", "-o", "json"]).ok().json();
    assert_eq!(listed["verdicts"][0]["outcome"], "equal", "{listed}");
    assert_eq!(run(&["projection", "list", "-o", "json"]).ok().json()["projections"], json!([]));
    for command in ["show", "remove", "verify", "digest"] {
        let ran = run(&["projection", command, "aggregates:account"]);
        assert!(ran.stderr.contains("projection-not-found"), "{command}: {}", ran.stderr);
    }
    assert_eq!(run(&["projection", "verdicts", "aggregates:account", "-o", "json"]).ok().json(), listed);
}
