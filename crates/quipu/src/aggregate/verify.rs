//! Proof that what decisions rest on is what the log says: every state is made again from the first event on, and held against
//! the snapshot that a load would begin with. What comes of it is kept in the log, as it is of projections.

use std::collections::BTreeMap;

use quipu_domain::{Direction, Filter};
use quipu_engine::{
    Baseline, Followed, Head, Recorded, RowVerdict, Since, StateOf, TableState, TableVerdict, Tampered,
    VERDICT_ROWS_MAX, Verdict, VerdictOutcome, name_of_aggregates,
};
use serde_json::{Map, Value, json};

use super::{Aggregate, Aggregates, NotHandled};
use crate::Error;
use crate::quipu::PAGE_EVENTS;

/// States that are made at a time: with more of them the log is read more than once. 100 MB of states of 1 KiB.
const STATES_AT_ONCE: usize = 50_000;
/// Bytes of the log that are read at a time.
const STRETCH_BYTES: usize = 1 << 20;
/// Who is said to have asked.
const ASKED_BY: &str = "library";

/// A state as it is compared.
type Written = rmpv::Value;

/// How far it is, in positions, and where it ends; whether to go on.
type Tell<'t> = &'t mut dyn FnMut(u64, u64) -> bool;

/// By stream.
type States<A> = BTreeMap<String, Rebuilt<A>>;

/// One aggregate as its events make it.
struct Rebuilt<A> {
    state: A,
    /// The same events, evolved a second time: what is not the same depends on something else.
    again: A,
    /// What a load makes of it, if there is a snapshot: from there on.
    kept: Option<Kept<A>>,
    version: u64,
    last: Since,
}

/// A snapshot, and the state from there on.
struct Kept<A> {
    state: A,
    version: u64,
    /// The event that it was made after, once that has been read.
    since: Option<Since>,
}

/// What is wrong with the states, and what they are in short.
#[derive(Default)]
struct Found {
    kept: Digest,
    rebuilt: Digest,
    differing: u64,
    rows: Vec<RowVerdict>,
    problem: Option<String>,
}

/// States in the order of their streams, in short.
#[derive(Default)]
struct Digest {
    rows: u64,
    hasher: blake3::Hasher,
}

/// Why the states were not made.
enum NotRebuilt {
    Tampered(Tampered),
    /// An event cannot be read.
    Stopped(String),
    Cancelled,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for NotRebuilt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl<A: Aggregate> Aggregates<A> {
    /// Makes all states again from the log, and holds them against what a load gives, or against a baseline. Each event is evolved
    /// twice, so that an `evolve` that depends on something else than the events is found. `tell` is told how far it is, in
    /// positions, and says whether to go on: nothing comes of it if not. The verdict is recorded in the log with the hashes of
    /// its range; `quipu projection verdicts aggregates:NAME` lists it.
    ///
    /// ```
    /// # use quipu::{Aggregate, Quipu};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # struct Light(bool);
    /// # #[derive(Serialize, Deserialize)]
    /// # enum Event {
    /// #     #[serde(rename = "light.switched")]
    /// #     Switched,
    /// # }
    /// # impl Aggregate for Light {
    /// #     const NAME: &'static str = "light";
    /// #     type Command = ();
    /// #     type Event = Event;
    /// #     type Refusal = ();
    /// #     fn decide(&self, (): &()) -> Result<Vec<Event>, ()> {
    /// #         Ok(vec![Event::Switched])
    /// #     }
    /// #     fn evolve(&mut self, _: Event) {
    /// #         self.0 = !self.0;
    /// #     }
    /// # }
    /// use quipu::VerdictOutcome;
    ///
    /// let lights = Quipu::in_memory()?.aggregates::<Light>();
    /// lights.execute("hall", &()).unwrap();
    /// lights.create_baseline("before-the-move")?;
    /// lights.execute("hall", &()).unwrap();
    /// for baseline in [None, Some("before-the-move")] {
    ///     let verdict = lights.verify(baseline, &mut |_, _| true)?.expect("nobody cancels it");
    ///     assert_eq!(verdict.outcome, VerdictOutcome::Equal);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// There is no such baseline, or the disk failed. What is found to be wrong is in the verdict.
    pub fn verify(&self, baseline: Option<&str>, tell: Tell<'_>) -> Result<Option<Verdict>, Error> {
        let (tenant, name) = (&self.quipu.tenant, name_of_aggregates(A::NAME));
        let asked = tenant.now();
        let baseline = baseline.map(|baseline| tenant.baseline(&name, baseline)).transpose()?;
        let (mut to, mut position) = match &baseline {
            Some(baseline) => (baseline.head, baseline.position),
            None => (tenant.head(), tenant.position()),
        };
        let mut tables = Vec::new();
        let (outcome, problem, rows) = match self.rebuild(to, position, baseline.is_none(), tell) {
            Ok(found) => {
                let state = |digest: &Digest| digest.state(A::NAME);
                let kept = baseline.as_ref().map_or_else(|| Some(state(&found.kept)), |of| of.tables.first().cloned());
                let rebuilt = Some(state(&found.rebuilt));
                let is_equal = kept == rebuilt && found.problem.is_none();
                let differing = baseline.is_none().then_some(found.differing);
                tables.push(TableVerdict { table: A::NAME.to_owned(), kept, rebuilt, differing });
                let outcome = if is_equal { VerdictOutcome::Equal } else { VerdictOutcome::Differs };
                (outcome, found.problem, found.rows)
            }
            Err(NotRebuilt::Tampered(tampered)) => {
                (to, position) = (tampered.sound, tampered.position);
                (VerdictOutcome::Tampered, Some(tampered.problem), Vec::new())
            }
            Err(NotRebuilt::Stopped(problem)) => (VerdictOutcome::Stopped, Some(problem), Vec::new()),
            Err(NotRebuilt::Cancelled) => return Ok(None),
            Err(NotRebuilt::Failed(error)) => return Err(error),
        };
        let verdict = Verdict {
            number: 0,
            asked,
            found: asked,
            by: ASKED_BY.into(),
            release: 0,
            declaration: self.code(),
            baseline: baseline.map(|baseline| baseline.name),
            from: Head::START,
            to,
            position,
            outcome,
            problem,
            tables,
            rows,
        };
        Ok(Some(tenant.keep_verdict(&name, verdict)?))
    }

    /// Keeps what the states are now under a name: how many there are, and a BLAKE3 of all.
    ///
    /// # Errors
    /// The name is none or is taken, the log is not what was written, an event cannot be read, or the disk failed.
    pub fn create_baseline(&self, baseline: &str) -> Result<Baseline, Error> {
        let (tenant, name) = (&self.quipu.tenant, name_of_aggregates(A::NAME));
        let (head, position) = (tenant.head(), tenant.position());
        let found = match self.rebuild(head, position, false, &mut |_, _| true) {
            Ok(found) => found,
            Err(NotRebuilt::Failed(error)) => return Err(error),
            Err(NotRebuilt::Tampered(tampered)) => return Err(Error::NotRebuilt(tampered.problem)),
            Err(NotRebuilt::Stopped(problem)) => return Err(Error::NotRebuilt(problem)),
            Err(NotRebuilt::Cancelled) => unreachable!("nobody cancels it"),
        };
        if let Some(problem) = found.problem {
            return Err(Error::NotRebuilt(problem));
        }
        let baseline = Baseline {
            name: baseline.to_owned(),
            at: tenant.now(),
            by: ASKED_BY.into(),
            release: 0,
            declaration: self.code(),
            head,
            position,
            tables: vec![found.rebuilt.state(A::NAME)],
        };
        tenant.keep_baseline(&name, baseline.clone())?;
        Ok(baseline)
    }

    /// What verifications came to, the newest first.
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.quipu.tenant.verdicts(&name_of_aggregates(A::NAME)).unwrap_or_default()
    }

    /// Tells the code from other code as far as can be told.
    fn code(&self) -> String {
        blake3::hash(self.fingerprint().as_bytes()).to_hex().to_string()
    }

    /// Makes all states again, some of them at a time, in the order of their streams.
    fn rebuild(&self, end: Head, position: u64, with_kept: bool, tell: Tell<'_>) -> Result<Found, NotRebuilt> {
        let (mut found, mut from) = (Found::default(), String::new());
        loop {
            let (states, next) = self.states_from(&from, end, position, with_kept, tell)?;
            for (stream, rebuilt) in states {
                self.judge(&mut found, &stream, rebuilt)?;
            }
            match next {
                Some(next) => from = next,
                None => return Ok(found),
            }
        }
    }

    /// The first states from a stream on, and the stream behind them.
    fn states_from(
        &self,
        from: &str,
        end: Head,
        end_position: u64,
        with_kept: bool,
        tell: Tell<'_>,
    ) -> Result<(States<A>, Option<String>), NotRebuilt> {
        let (mut states, mut next) = (States::new(), None::<String>);
        let (prefix, mut position) = (self.stream(""), 0);
        let mut follower = self.quipu.tenant.follow_commits(Head::START);
        loop {
            if !tell(position, end_position) {
                return Err(NotRebuilt::Cancelled);
            }
            let commits = match follower.next(end, STRETCH_BYTES)? {
                Followed::Commits(commits) => commits,
                Followed::End => return Ok((states, next)),
                Followed::Apart => return Err(NotRebuilt::Tampered(follower.tampered(end))),
            };
            for recorded in commits.into_iter().flat_map(|commit| commit.events) {
                position = recorded.stamp.position;
                let stream = match recorded.event().subject() {
                    Some(stream) if stream.starts_with(&prefix) && stream >= from => stream.to_owned(),
                    _ => continue,
                };
                if next.as_ref().is_some_and(|next| stream >= *next) {
                    continue;
                }
                if !states.contains_key(&stream) {
                    let kept = if with_kept { self.kept(&stream)? } else { None };
                    states.insert(stream.clone(), Rebuilt::new(kept, &recorded));
                }
                if let Err(problem) = self.take(states.get_mut(&stream).expect("it is there"), recorded) {
                    // What cannot be read may be so because somebody changed it: then the chain says it further on.
                    loop {
                        match follower.next(end, STRETCH_BYTES)? {
                            Followed::Commits(_) => {}
                            Followed::End => return Err(NotRebuilt::Stopped(problem)),
                            Followed::Apart => return Err(NotRebuilt::Tampered(follower.tampered(end))),
                        }
                    }
                }
                if states.len() > STATES_AT_ONCE {
                    next = states.pop_last().map(|(stream, _)| stream);
                }
            }
        }
    }

    /// The snapshot that a load begins with.
    fn kept(&self, stream: &str) -> Result<Option<Kept<A>>, Error> {
        if A::SNAPSHOT_EVERY == 0 {
            return Ok(None);
        }
        let fingerprint = self.fingerprint();
        let of = StateOf { name: A::NAME, stream, fingerprint: &fingerprint };
        let kept = self.quipu.tenant.kept_state(of)?;
        Ok(kept.and_then(|kept| {
            let state = rmp_serde::from_slice(&kept.state).ok()?;
            Some(Kept { state, version: kept.version, since: None })
        }))
    }

    /// Evolves a state by an event. What cannot be read of it, if something cannot.
    fn take(&self, rebuilt: &mut Rebuilt<A>, recorded: Recorded) -> Result<(), String> {
        let read = || {
            let unread = |unread| match unread {
                NotHandled::Unreadable { position, reason } => {
                    format!("the event at position {position} cannot be read: {reason}")
                }
                NotHandled::Failed(error) => error.to_string(),
                _ => unreachable!("reading decides nothing"),
            };
            self.as_event(recorded.clone()).map_err(unread)
        };
        rebuilt.state.evolve(read()?);
        rebuilt.again.evolve(read()?);
        rebuilt.version = recorded.stamp.stream_version.unwrap_or_default();
        rebuilt.last = since(&recorded);
        if let Some(kept) = &mut rebuilt.kept {
            if kept.version < rebuilt.version {
                kept.state.evolve(read()?);
            } else if kept.version == rebuilt.version {
                kept.since = Some(since(&recorded));
            }
        }
        Ok(())
    }

    /// Takes a state that is whole into what is found.
    fn judge(&self, found: &mut Found, stream: &str, rebuilt: Rebuilt<A>) -> Result<(), NotRebuilt> {
        let state = written(&rebuilt.state);
        // A snapshot that was made behind the end says nothing of what is before it.
        let kept = rebuilt.kept.filter(|kept| kept.since.is_some());
        let (kept_state, kept_since) = match kept {
            Some(kept) => (written(&kept.state), kept.since),
            None => (state.clone(), None),
        };
        found.rebuilt.add(stream, rebuilt.version, &state);
        found.kept.add(stream, rebuilt.version, &kept_state);
        let is_determined = written(&rebuilt.again) == state;
        if is_determined && kept_state == state {
            return Ok(());
        }
        found.differing += 1;
        let since = match is_determined {
            true => kept_since.unwrap_or(rebuilt.last),
            false => {
                let first = self.first_undetermined(stream, rebuilt.version)?.unwrap_or(rebuilt.last);
                found.problem.get_or_insert_with(|| {
                    format!(
                        "evolve does not make one state of the same events: {stream} differs from itself behind the event at \
                         position {} ({}). It may look at nothing but the state and the event: no time of day, no random \
                         numbers, and no HashSet, which is written in an order of its own",
                        first.position, first.kind
                    )
                });
                first
            }
        };
        if found.rows.len() < VERDICT_ROWS_MAX {
            let other = if is_determined { kept_state } else { written(&rebuilt.again) };
            let (kept, rebuilt) = differing(&shown(&other), &shown(&state));
            let key = Map::from_iter([("stream".to_owned(), json!(stream))]);
            let table = A::NAME.to_owned();
            found.rows.push(RowVerdict { table, key, kept: Some(kept), rebuilt: Some(rebuilt), since: Some(since) });
        }
        Ok(())
    }

    /// The first event of a stream behind which two states of the same events differ.
    fn first_undetermined(&self, stream: &str, version: u64) -> Result<Option<Since>, NotRebuilt> {
        let filter = Filter { subjects: vec![stream.to_owned()], ..Filter::default() };
        let (mut state, mut again, mut next) = (A::default(), A::default(), Some(1));
        while let Some(from) = next {
            let page = self.quipu.read(&filter, Direction::Forward, Some(from), PAGE_EVENTS)?;
            for recorded in page.events {
                if recorded.stamp.stream_version.unwrap_or_default() > version {
                    return Ok(None);
                }
                let at = since(&recorded);
                for state in [&mut state, &mut again] {
                    let Ok(event) = self.as_event(recorded.clone()) else { return Ok(None) };
                    state.evolve(event);
                }
                if written(&state) != written(&again) {
                    return Ok(Some(at));
                }
            }
            next = page.next;
        }
        Ok(None)
    }
}

impl<A: Aggregate> Rebuilt<A> {
    fn new(kept: Option<Kept<A>>, first: &Recorded) -> Self {
        Self { state: A::default(), again: A::default(), kept, version: 0, last: since(first) }
    }
}

impl Digest {
    fn add(&mut self, stream: &str, version: u64, state: &Written) {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, state).expect("memory takes what is written");
        self.rows += 1;
        self.hasher.update(&(stream.len() as u64).to_le_bytes()).update(stream.as_bytes());
        self.hasher.update(&version.to_le_bytes()).update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
    }

    fn state(&self, table: &str) -> TableState {
        TableState { table: table.to_owned(), rows: self.rows, digest: self.hasher.finalize().to_hex().to_string() }
    }
}

fn since(recorded: &Recorded) -> Since {
    Since { position: recorded.stamp.position, kind: recorded.event().kind().to_owned() }
}

/// A state as snapshots have it, with the entries of maps in order: a HashMap has none, and says the same all the same.
fn written<A: Aggregate>(state: &A) -> Written {
    let written = rmp_serde::to_vec_named(state).map_err(|error| error.to_string());
    let read = |bytes: Vec<u8>| rmpv::decode::read_value(&mut bytes.as_slice()).map_err(|error| error.to_string());
    written
        .and_then(read)
        .map_or_else(|error| Written::from(format!("a state that cannot be written: {error}")), in_order)
}

fn in_order(written: Written) -> Written {
    match written {
        Written::Array(values) => Written::Array(values.into_iter().map(in_order).collect()),
        Written::Map(entries) => {
            let entries = entries.into_iter().map(|(key, value)| (in_order(key), in_order(value)));
            let mut entries: Vec<_> = entries.collect();
            entries.sort_by_cached_key(|(key, _)| key.to_string());
            Written::Map(entries)
        }
        other => other,
    }
}

/// A state as a verdict shows it. Keys that are no texts become some.
fn shown(written: &Written) -> Value {
    match written {
        Written::Array(values) => values.iter().map(shown).collect(),
        Written::Map(entries) => {
            let text = |key: &Written| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            Value::Object(entries.iter().map(|(key, value)| (text(key), shown(value))).collect())
        }
        other => serde_json::to_value(other).unwrap_or_else(|_| json!(other.to_string())),
    }
}

/// The members in which two states differ.
fn differing(one: &Value, other: &Value) -> (Map<String, Value>, Map<String, Value>) {
    let members = |of: &Value, beside: &Value| match (of, beside) {
        (Value::Object(of), Value::Object(beside)) => {
            let differs = |(name, value): &(&String, &Value)| beside.get(*name) != Some(*value);
            of.iter().filter(differs).map(|(name, value)| (name.clone(), value.clone())).collect()
        }
        (of, _) => Map::from_iter([("state".to_owned(), of.clone())]),
    };
    (members(one, other), members(other, one))
}
