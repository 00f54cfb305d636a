//! Proof that what decisions rest on is what the log says: every state is made again from the first event on, and held against
//! the snapshot that a load would begin with. What comes of it is kept in the log, as it is of projections.

use std::collections::BTreeMap;

use quipu_domain::{Direction, Filter};
use quipu_engine::{
    Baseline, Followed, Head, Recorded, RowVerdict, STATE_BYTES_MAX, Since, TableState, TableVerdict, Tampered,
    VERDICT_ROWS_MAX, Verdict, VerdictOutcome, name_of_aggregates,
};
use serde_json::{Map, Value, json};

use super::{Aggregate, Aggregates, NotHandled};
use crate::Error;
use crate::quipu::PAGE_EVENTS;

/// States that are made at a time, each three times; with more of them the log is read more than once.
const STATES_AT_ONCE: usize = 50_000;
/// Bytes of events that they are made of, of a stream no more than [`STATE_BYTES_MAX`]: what they take themselves is not known.
const BYTES_AT_ONCE: usize = 256 << 20;
/// Bytes of the log that are read at a time.
const STRETCH_BYTES: usize = 1 << 20;
/// Longest text of a member of a state that a verdict shows, characters: its key is what matters.
const SHOWN_CHARS_MAX: usize = 256;
/// Most members of a state that a verdict shows.
const SHOWN_MEMBERS_MAX: usize = 4;
/// Who is said to have asked.
const ASKED_BY: &str = "library";

/// How far it is, in positions, and where it ends; whether to go on.
type Tell<'t> = &'t mut dyn FnMut(u64, u64) -> bool;

/// By stream.
type States<A> = BTreeMap<String, Rebuilt<A>>;

/// What states are made of: the range of the log, and whether snapshots are looked at.
#[derive(Clone, Copy)]
struct Wanted {
    end: Head,
    position: u64,
    snapshots: Snapshots,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Snapshots {
    Compared,
    Ignored,
}

/// One aggregate as its events make it.
struct Rebuilt<A> {
    state: A,
    /// The same events, evolved a second time: what is not the same depends on something else.
    again: A,
    /// What a load makes of it, if there is a snapshot: from there on.
    kept: Option<Kept<A>>,
    version: u64,
    /// Bytes of its events.
    bytes: usize,
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
    position: u64,
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
    /// An event cannot be read, or a state cannot be written.
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
    /// Makes all states again from the log, and holds them against the snapshots that loads begin with. Each event is evolved twice, so
    /// that an `evolve` that depends on something else than the events is found. The verdict is recorded in the log with the
    /// hashes of its range; `quipu projection verdicts aggregates:NAME` lists it.
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
    /// assert_eq!(lights.verify()?.outcome, VerdictOutcome::Equal);
    /// assert_eq!(lights.verify_against("before-the-move")?.outcome, VerdictOutcome::Equal);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The disk failed, or [`Error::NotRebuilt`] if upcasters were changed meanwhile. What is found to be wrong is in the verdict.
    pub fn verify(&self) -> Result<Verdict, Error> {
        Ok(self.verify_telling(None, &mut |_, _| true)?.expect("nobody cancels it"))
    }

    /// As [`Aggregates::verify`], against what the states were when a baseline was made of them. It knows how many there were and a
    /// BLAKE3 of all, and so names none.
    ///
    /// # Errors
    /// As [`Aggregates::verify`], and if there is no such baseline.
    pub fn verify_against(&self, baseline: &str) -> Result<Verdict, Error> {
        Ok(self.verify_telling(Some(baseline), &mut |_, _| true)?.expect("nobody cancels it"))
    }

    /// As [`Aggregates::verify`] or [`Aggregates::verify_against`]. `tell` is told how far it is and where it ends, in positions, from
    /// the beginning for every 50,000 states, and says whether to go on: nothing comes of it if not.
    ///
    /// # Errors
    /// As those.
    pub fn verify_telling(&self, baseline: Option<&str>, tell: Tell<'_>) -> Result<Option<Verdict>, Error> {
        let (tenant, name) = (&self.quipu.tenant, name_of_aggregates(A::NAME));
        let (asked, code) = (tenant.now(), self.code());
        let baseline = baseline.map(|baseline| tenant.baseline(&name, baseline)).transpose()?;
        let wanted = match &baseline {
            Some(Baseline { head, position, .. }) => {
                Wanted { end: *head, position: *position, snapshots: Snapshots::Ignored }
            }
            None => Wanted { end: tenant.head(), position: tenant.position(), snapshots: Snapshots::Compared },
        };
        let (mut to, mut position) = (wanted.end, wanted.position);
        let mut tables = Vec::new();
        let (outcome, problem, rows) = match self.rebuild(wanted, tell) {
            Ok(found) => {
                let kept = match &baseline {
                    Some(baseline) => baseline.tables.first().cloned(),
                    None => Some(found.kept.state(A::NAME)),
                };
                let rebuilt = Some(found.rebuilt.state(A::NAME));
                let is_equal = kept == rebuilt && found.differing == 0;
                let is_other = baseline.as_ref().is_some_and(|baseline| baseline.declaration != code);
                let other =
                    (is_other && !is_equal).then(|| "the code is not the one that the baseline was made with".into());
                let differing = baseline.is_none().then_some(found.differing);
                tables.push(TableVerdict { table: A::NAME.to_owned(), kept, rebuilt, differing });
                position = found.position;
                let outcome = if is_equal { VerdictOutcome::Equal } else { VerdictOutcome::Differs };
                (outcome, found.problem.or(other), found.rows)
            }
            Err(NotRebuilt::Tampered(tampered)) => {
                (to, position) = (tampered.sound, tampered.position);
                (VerdictOutcome::Tampered, Some(tampered.problem), Vec::new())
            }
            Err(NotRebuilt::Stopped(problem)) => (VerdictOutcome::Stopped, Some(problem), Vec::new()),
            Err(NotRebuilt::Cancelled) => return Ok(None),
            Err(NotRebuilt::Failed(error)) => return Err(error),
        };
        self.is_still(&code)?;
        let verdict = Verdict {
            number: 0,
            asked,
            found: asked,
            by: ASKED_BY.into(),
            release: 0,
            declaration: code,
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
    /// The name is none or is taken, or [`Error::NotRebuilt`]: the log is not what was written, an event cannot be read, or the states
    /// are not the same each time.
    pub fn create_baseline(&self, baseline: &str) -> Result<Baseline, Error> {
        let (tenant, name, code) = (&self.quipu.tenant, name_of_aggregates(A::NAME), self.code());
        tenant.check_baseline(&name, baseline)?;
        let (end, position) = (tenant.head(), tenant.position());
        let wanted = Wanted { end, position, snapshots: Snapshots::Ignored };
        let found = match self.rebuild(wanted, &mut |_, _| true) {
            Ok(Found { problem: Some(problem), .. }) | Err(NotRebuilt::Stopped(problem)) => {
                return Err(Error::NotRebuilt(problem));
            }
            Ok(found) => found,
            Err(NotRebuilt::Tampered(tampered)) => return Err(Error::NotRebuilt(tampered.problem)),
            Err(NotRebuilt::Failed(error)) => return Err(error),
            Err(NotRebuilt::Cancelled) => unreachable!("nobody cancels it"),
        };
        self.is_still(&code)?;
        let baseline = Baseline {
            name: baseline.to_owned(),
            at: tenant.now(),
            by: ASKED_BY.into(),
            release: 0,
            declaration: code,
            head: end,
            position: found.position,
            tables: vec![found.rebuilt.state(A::NAME)],
        };
        tenant.keep_baseline(&name, baseline.clone())?;
        Ok(baseline)
    }

    /// The baselines, by their names.
    pub fn baselines(&self) -> Vec<Baseline> {
        // Nobody declares aggregates: before the first there is none.
        self.quipu.tenant.baselines(&name_of_aggregates(A::NAME)).unwrap_or_default()
    }

    /// Forgets a baseline.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn remove_baseline(&self, baseline: &str) -> Result<(), Error> {
        Ok(self.quipu.tenant.remove_baseline(&name_of_aggregates(A::NAME), baseline)?)
    }

    /// What verifications came to, the newest first.
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.quipu.tenant.verdicts(&name_of_aggregates(A::NAME)).unwrap_or_default()
    }

    /// Tells the code from other code as far as can be told.
    fn code(&self) -> String {
        blake3::hash(self.fingerprint().as_bytes()).to_hex().to_string()
    }

    /// What is read by two upcasters is none of them, and no fault of `evolve`.
    fn is_still(&self, code: &str) -> Result<(), Error> {
        match self.code() == code {
            true => Ok(()),
            false => {
                Err(Error::NotRebuilt("expected the same upcasters all the time, found changed ones; ask again".into()))
            }
        }
    }

    /// Makes all states again, some of them at a time, in the order of their streams.
    fn rebuild(&self, wanted: Wanted, tell: Tell<'_>) -> Result<Found, NotRebuilt> {
        let (mut found, mut from) = (Found::default(), String::new());
        loop {
            let (states, next) = self.states_from(&from, wanted, &mut found.position, tell)?;
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
        wanted: Wanted,
        position: &mut u64,
        tell: Tell<'_>,
    ) -> Result<(States<A>, Option<String>), NotRebuilt> {
        let (mut states, mut next, mut bytes) = (States::new(), None::<String>, 0);
        let (prefix, fingerprint) = (self.stream(""), self.fingerprint());
        let mut follower = self.quipu.tenant.follow_commits(Head::START);
        *position = 0;
        loop {
            if !tell(*position, wanted.position) {
                return Err(NotRebuilt::Cancelled);
            }
            let commits = match follower.next(wanted.end, STRETCH_BYTES)? {
                Followed::Commits(commits) => commits,
                Followed::End => return Ok((states, next)),
                Followed::Apart => return Err(NotRebuilt::Tampered(follower.tampered(wanted.end))),
            };
            for recorded in commits.into_iter().flat_map(|commit| commit.events) {
                *position = recorded.stamp.position;
                let stream = match recorded.event().subject() {
                    Some(stream) if stream.starts_with(&prefix) && stream >= from => stream.to_owned(),
                    _ => continue,
                };
                if next.as_ref().is_some_and(|next| stream >= *next) {
                    continue;
                }
                if !states.contains_key(&stream) {
                    let kept = match wanted.snapshots {
                        Snapshots::Compared => self.kept(&stream, &fingerprint)?,
                        Snapshots::Ignored => None,
                    };
                    states.insert(stream.clone(), Rebuilt::new(kept, &recorded));
                }
                let rebuilt = states.get_mut(&stream).expect("it is there");
                bytes -= rebuilt.weight();
                match self.take(rebuilt, recorded) {
                    Ok(()) => bytes += rebuilt.weight(),
                    // What cannot be read may be so because somebody changed it: then the chain says it further on.
                    Err(NotRebuilt::Stopped(problem)) => loop {
                        match follower.next(wanted.end, STRETCH_BYTES)? {
                            Followed::Commits(_) => {}
                            Followed::End => return Err(NotRebuilt::Stopped(problem)),
                            Followed::Apart => return Err(NotRebuilt::Tampered(follower.tampered(wanted.end))),
                        }
                    },
                    Err(failed) => return Err(failed),
                }
                while states.len() > STATES_AT_ONCE || (bytes > BYTES_AT_ONCE && states.len() > 1) {
                    let (stream, last) = states.pop_last().expect("there are some");
                    bytes -= last.weight();
                    next = Some(stream);
                }
            }
        }
    }

    /// The snapshot that a load begins with.
    fn kept(&self, stream: &str, fingerprint: &str) -> Result<Option<Kept<A>>, Error> {
        let kept = self.snapshot(stream, fingerprint)?;
        Ok(kept.map(|(state, kept)| Kept { state, version: kept.version, since: None }))
    }

    /// Evolves a state by an event.
    fn take(&self, rebuilt: &mut Rebuilt<A>, recorded: Recorded) -> Result<(), NotRebuilt> {
        rebuilt.state.evolve(self.evolved(&recorded)?);
        rebuilt.again.evolve(self.evolved(&recorded)?);
        rebuilt.version = recorded.stamp.stream_version.unwrap_or_default();
        rebuilt.bytes += recorded.bytes();
        rebuilt.last = since(&recorded);
        if let Some(kept) = &mut rebuilt.kept {
            if kept.version < rebuilt.version {
                kept.state.evolve(self.evolved(&recorded)?);
            } else if kept.version == rebuilt.version {
                kept.since = Some(since(&recorded));
            }
        }
        Ok(())
    }

    /// An event, to be evolved.
    fn evolved(&self, recorded: &Recorded) -> Result<A::Event, NotRebuilt> {
        self.as_event(recorded).map_err(|unread| match unread {
            NotHandled::Unreadable { position, reason } => {
                NotRebuilt::Stopped(format!("the event at position {position} cannot be read: {reason}"))
            }
            NotHandled::Failed(Error::Schema(refusal)) => NotRebuilt::Stopped(refusal.to_string()),
            NotHandled::Failed(error) => NotRebuilt::Failed(error),
            _ => unreachable!("reading decides nothing"),
        })
    }

    /// Takes a state that is whole into what is found.
    fn judge(&self, found: &mut Found, stream: &str, mut rebuilt: Rebuilt<A>) -> Result<(), NotRebuilt> {
        let written = |state: &A| written(state).map_err(|error| unwritable(stream, &error));
        let (state, version) = (written(&rebuilt.state)?, rebuilt.version);
        let is_determined = written(&rebuilt.again)? == state;
        found.rebuilt.add(stream, version, &state);
        // A snapshot that was made behind the end is what loads begin with from then on: the stream is read up to there.
        if rebuilt.kept.as_ref().is_some_and(|kept| kept.since.is_none()) {
            self.read_on(&mut rebuilt, stream)?;
        }
        let (whole, kept) = match rebuilt.kept.filter(|kept| kept.since.is_some()) {
            Some(kept) => (written(&rebuilt.state)?, Some((written(&kept.state)?, kept.since))),
            None => (state.clone(), None),
        };
        let (kept, since) = kept.unwrap_or_else(|| (whole.clone(), None));
        let is_kept_so = kept == whole;
        found.kept.add(stream, version, if is_kept_so { &state } else { &kept });
        if is_determined && is_kept_so {
            return Ok(());
        }
        found.differing += 1;
        if found.rows.len() >= VERDICT_ROWS_MAX {
            return Ok(());
        }
        let (other, since) = match is_determined {
            true => (kept, since.unwrap_or(rebuilt.last)),
            false => {
                let first = self.first_undetermined(stream, version)?.unwrap_or(rebuilt.last);
                found.problem.get_or_insert_with(|| {
                    format!(
                        "evolve does not make one state of the same events: {stream} differs from itself behind the event at \
                         position {} ({}). It may look at nothing but the state and the event: no time of day, no random \
                         numbers, and no HashSet, which is written in an order of its own",
                        first.position, first.kind
                    )
                });
                (written(&rebuilt.again)?, first)
            }
        };
        let (kept, rebuilt) = differing(&shown(&other), &shown(&whole));
        let key = Map::from_iter([("stream".to_owned(), json!(stream))]);
        let table = A::NAME.to_owned();
        found.rows.push(RowVerdict { table, key, kept: Some(kept), rebuilt: Some(rebuilt), since: Some(since) });
        Ok(())
    }

    /// Goes on with a stream behind the end, up to the event that its snapshot was made after.
    fn read_on(&self, rebuilt: &mut Rebuilt<A>, stream: &str) -> Result<(), NotRebuilt> {
        let filter = Filter { subjects: vec![stream.to_owned()], ..Filter::default() };
        let mut next = Some(rebuilt.last.position + 1);
        while let Some(from) = next {
            let page = self.quipu.read(&filter, Direction::Forward, Some(from), PAGE_EVENTS)?;
            for recorded in page.events {
                self.take(rebuilt, recorded)?;
                if rebuilt.kept.as_ref().is_none_or(|kept| kept.since.is_some()) {
                    return Ok(());
                }
            }
            next = page.next;
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
                state.evolve(self.evolved(&recorded)?);
                again.evolve(self.evolved(&recorded)?);
                if written(&state) != written(&again) {
                    return Ok(Some(since(&recorded)));
                }
            }
            next = page.next;
        }
        Ok(None)
    }
}

impl<A: Aggregate> Rebuilt<A> {
    fn new(kept: Option<Kept<A>>, first: &Recorded) -> Self {
        let (state, again) = (A::default(), A::default());
        Self { state, again, kept, version: 0, bytes: 0, last: since(first) }
    }

    /// About what the state takes: it is hardly larger than its events, and a larger one than this has no snapshot either.
    fn weight(&self) -> usize {
        self.bytes.min(STATE_BYTES_MAX)
    }
}

impl Digest {
    fn add(&mut self, stream: &str, version: u64, state: &[u8]) {
        self.rows += 1;
        self.hasher.update(&(stream.len() as u64).to_le_bytes()).update(stream.as_bytes());
        self.hasher.update(&version.to_le_bytes()).update(&(state.len() as u64).to_le_bytes()).update(state);
    }

    fn state(&self, table: &str) -> TableState {
        TableState { table: table.to_owned(), rows: self.rows, digest: self.hasher.finalize().to_hex().to_string() }
    }
}

fn since(recorded: &Recorded) -> Since {
    Since { position: recorded.stamp.position, kind: recorded.event().kind().to_owned() }
}

fn unwritable(stream: &str, error: &str) -> NotRebuilt {
    NotRebuilt::Stopped(format!("the state of {stream} cannot be written: {error}"))
}

/// A state as it is compared: as snapshots have it, with the entries of maps in order. A HashMap has none, and says the same all the
/// same.
fn written<A: Aggregate>(state: &A) -> Result<Vec<u8>, String> {
    let written = rmp_serde::to_vec_named(state).map_err(|error| error.to_string())?;
    let value = rmpv::decode::read_value(&mut written.as_slice()).map_err(|error| error.to_string())?;
    let mut bytes = Vec::with_capacity(written.len());
    rmpv::encode::write_value(&mut bytes, &in_order(value)).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn in_order(value: rmpv::Value) -> rmpv::Value {
    match value {
        rmpv::Value::Array(values) => rmpv::Value::Array(values.into_iter().map(in_order).collect()),
        rmpv::Value::Map(entries) => {
            let entries = entries.into_iter().map(|(key, value)| (in_order(key), in_order(value)));
            let mut entries: Vec<_> = entries.collect();
            entries.sort_by_cached_key(|(key, _)| key.to_string());
            rmpv::Value::Map(entries)
        }
        other => other,
    }
}

/// A state as a verdict shows it.
fn shown(mut written: &[u8]) -> Value {
    rmpv::decode::read_value(&mut written).map_or(Value::Null, |value| json_of(&value))
}

/// Keys that are no texts become some.
fn json_of(value: &rmpv::Value) -> Value {
    match value {
        rmpv::Value::Array(values) => values.iter().map(json_of).collect(),
        rmpv::Value::Map(entries) => {
            let text = |key: &rmpv::Value| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            Value::Object(entries.iter().map(|(key, value)| (text(key), json_of(value))).collect())
        }
        other => serde_json::to_value(other).unwrap_or_else(|_| json!(other.to_string())),
    }
}

/// The first members in which two states differ. Of large ones the beginning: a verdict has many keys.
fn differing(one: &Value, other: &Value) -> (Map<String, Value>, Map<String, Value>) {
    let members = |of: &Value, beside: &Value| match (of, beside) {
        (Value::Object(of), Value::Object(beside)) => {
            let differs = |(name, value): &(&String, &Value)| beside.get(*name) != Some(*value);
            let short =
                |(name, value): (&String, &Value)| (name.chars().take(SHOWN_CHARS_MAX).collect(), in_short(value));
            of.iter().filter(differs).take(SHOWN_MEMBERS_MAX).map(short).collect()
        }
        (of, _) => Map::from_iter([("state".to_owned(), in_short(of))]),
    };
    (members(one, other), members(other, one))
}

fn in_short(value: &Value) -> Value {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => value.clone(),
        Some((end, _)) => json!(format!("{}…", &text[..end])),
    }
}
