//! The loop's rules: given what memory knows, is an event new, a repeat or refused, and may an append be made? Every
//! input is decided against the state that all inputs before it have left, durable or not; the answer waits until
//! everything it rests on is durable.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::limits::{CHECKPOINT_SOURCES_MAX, TIMERS_MAX};
use quipu_domain::{Condition, ConditionFailure, Event, Refusal, Timestamp};
use quipu_store::{Commit, Fault, Index, Log, Payloads, Record, RecordKind, TermHasher, body};

use crate::append::{Append, Appended, NotAppended, Place, Prepared, Published};
use crate::fold::Fold;
use crate::options::Options;
use crate::payloads::Moved;
use crate::query::{expr_of_query, first_match};
use crate::sagas::StepCommit;
use crate::schedules::{Come, FoldedSchedule, ScheduleRecord, Tick, TickError, Ticked};
use crate::schemas::{Registry, SCHEMA_MARK, has_mark};
use crate::timers::{DELIVER_AT, Scheduled, TimerName, TimerRecord, Timers, Waits};

/// A commit is closed when it would grow beyond this, so that one publish of many events stays readable in pieces.
/// Only for publishing: an append is always one commit.
pub(crate) const COMMIT_BYTES: usize = 4 << 20;

/// One turn of the loop.
pub(crate) struct Turn<'a> {
    pub fold: &'a mut Fold,
    pub index: &'a Index,
    pub log: &'a dyn Log,
    pub payloads: &'a Payloads,
    pub hasher: &'a TermHasher,
    /// Never before the last commit's.
    pub now: Timestamp,
    pub window: Window,
    pub schemas: &'a Registry,
    pub timers: &'a Timers,
    /// The newest timer before this turn.
    pub timers_before: u64,
    /// The first position that this turn gives away.
    pub first_position: u64,
    pub commits: Vec<Commit>,
}

/// Which repeats are recognised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub ms: i64,
    pub events: u64,
}

impl Window {
    pub fn of(options: &Options) -> Self {
        Self { ms: options.dedup_window_ms, events: options.dedup_window_events }
    }

    /// Whether an event is in the window at `now`, before the event at `next_position`.
    pub fn holds(self, position: u64, recorded_time: Timestamp, next_position: u64, now: Timestamp) -> bool {
        position + self.events >= next_position || recorded_time.plus_ms(self.ms) >= now
    }
}

/// Something recorded, or decided earlier in this turn.
struct Found {
    position: u64,
    commit: u64,
    stream_version: u64,
    body: bytes::Bytes,
}

/// What pre-checks found for a condition of the kind "none after": a match, and the position they looked up to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checked {
    pub found: Option<u64>,
    pub to: u64,
}

impl Turn<'_> {
    /// Decides events that stand for themselves.
    pub fn publish(&mut self, events: Vec<Prepared>) -> Result<Vec<Published>, Fault> {
        let mut answers = Vec::with_capacity(events.len());
        let mut open = Vec::new();
        let mut bytes = 0;
        for event in events {
            let event = self.held(event);
            if bytes > COMMIT_BYTES {
                self.commit(std::mem::take(&mut open));
                bytes = 0;
            }
            let known = match self.known(&event, 0, &open) {
                Ok(known) => known,
                Err(fault) => {
                    // What was recorded so far has its places already: it is committed, and the answer for all is
                    // that the outcome is unknown.
                    self.commit(open);
                    return Err(fault);
                }
            };
            let refused = || self.breaks_schema(&event, 0).or_else(|| self.wrong_version(&event, 0));
            answers.push(match known.or_else(|| refused().map(Published::Refused)) {
                Some(answer) => answer,
                None => {
                    bytes += event.bytes();
                    self.take(event, &mut open)
                }
            });
        }
        self.commit(open);
        Ok(answers)
    }

    /// Decides an append. `checked` has an entry for each condition.
    pub fn append(&mut self, append: Append, checked: &[Checked]) -> Result<Appended, NotAppended> {
        let append = Append { events: append.events.into_iter().map(|event| self.held(event)).collect(), ..append };
        let timers: Vec<Prepared> = append.timers.into_iter().map(|event| self.held(event)).collect();
        let known = self.known_timers(&append.events, &timers)?;
        if let Some(answer) = self.repeated(&append.events)? {
            return Ok(Appended { timers: known, cancelled: vec![None; append.cancels.len()], ..answer });
        }
        let new_timers = timers.iter().enumerate().filter(|(at, _)| known[*at].is_none());
        let new_timers = new_timers.map(|(at, event)| (append.events.len() + at, event));
        let mut events = append.events.iter().enumerate().chain(new_timers);
        if let Some(refusal) = events.find_map(|(index, event)| self.breaks_schema(event, index)) {
            return Err(refusal.into());
        }
        let failures = self.failures(&append.conditions, checked)?;
        if !failures.is_empty() {
            return Err(Refusal::ConditionsFailed(failures).into());
        }
        if let Some(checkpoint) = &append.checkpoint {
            let recorded = self.fold.checkpoints.get(&checkpoint.source).copied();
            if let Some(recorded) = recorded.filter(|recorded| *recorded >= checkpoint.number) {
                let (source, given) = (checkpoint.source.clone(), checkpoint.number);
                return Err(Refusal::CheckpointBehind { source, recorded, given }.into());
            }
            if recorded.is_none() && self.fold.checkpoints.len() >= CHECKPOINT_SOURCES_MAX {
                return Err(Refusal::TooManyCheckpoints { limit: CHECKPOINT_SOURCES_MAX }.into());
            }
        }
        let mut earlier: HashMap<u128, u64> = HashMap::new();
        for event in &append.events {
            let before = event.stream.map_or(0, |stream| {
                let count = earlier.entry(stream).or_default();
                *count += 1;
                *count - 1
            });
            if let Some(refusal) = self.wrong_version(event, before) {
                return Err(refusal.into());
            }
        }
        let cancels: Vec<Option<u64>> = append.cancels.iter().map(|name| self.waiting(name)).collect();
        for (index, event) in append.events.iter().enumerate() {
            // An append tells the position of its events at once: none of them waits.
            let timer = match self.waits_already(event, index, &[])? {
                Some(Published::Refused(Refusal::WaitsAlready { timer, .. })) => timer,
                Some(Published::Scheduled(Scheduled { timer, .. })) => timer,
                _ => continue,
            };
            if !cancels.contains(&Some(timer)) {
                return Err(Refusal::WaitsAlready { index, timer }.into());
            }
        }
        let known = self.refused_timers(&timers, known, &cancels)?;
        let is_duplicate = append.events.is_empty()
            && cancels.iter().all(Option::is_none)
            && append.checkpoint.is_none()
            && !known.is_empty()
            && known.iter().all(Option::is_some);
        let mut open = Vec::with_capacity(append.events.len() + 1);
        self.cancel(cancels.iter().flatten().copied().collect(), &mut open);
        let events = append.events.into_iter().map(|event| self.record(event, &mut open)).collect();
        if let Some(checkpoint) = append.checkpoint {
            open.push(Record::checkpoint(&checkpoint.source, checkpoint.number));
            self.fold.checkpoints.insert(checkpoint.source, checkpoint.number);
        }
        let set = timers.into_iter().zip(known);
        let timers = set.map(|(event, known)| Some(known.unwrap_or_else(|| self.take(event, &mut open)))).collect();
        self.commit(open);
        Ok(Appended { commit: self.fold.tail.number, events, timers, cancelled: cancels, is_duplicate })
    }

    /// Records the events of timers whose time has come, with the end of their timers. Those that were cancelled meanwhile are passed over.
    pub fn fire(&mut self, fires: Vec<(u64, Prepared)>) {
        let (mut open, mut timers) = (Vec::with_capacity(fires.len() + 1), Vec::with_capacity(fires.len()));
        for (timer, event) in fires {
            if self.fold.timers.get(timer).is_some() {
                // Behind this the index knows of a payload.
                self.record(event, &mut open);
                self.end_timer(timer);
                timers.push(timer);
            }
        }
        if !timers.is_empty() {
            open.push(TimerRecord::Fired { timers }.record());
        }
        self.commit(open);
    }

    /// Records the events of ticks, and how far their schedules have come. Those of schedules that were changed meanwhile are passed
    /// over.
    ///
    /// # Errors
    /// The index cannot be read: what cannot be told from a repeat, and what comes after it in its schedule, was not recorded.
    pub fn tick(&mut self, come: Vec<Come>) -> Result<(), Fault> {
        let (mut open, mut ticks) = (Vec::new(), Vec::with_capacity(come.len()));
        let mut result = Ok(());
        for come in come {
            let folded = self.fold.schedules.all.get(&come.declaration.name);
            let is_it =
                |one: &&FoldedSchedule| one.last == come.after && Arc::ptr_eq(&one.declaration, &come.declaration);
            if let Some(folded) = folded.filter(is_it) {
                let missed = folded.missed;
                let (ticked, seen) = self.ticked(come, missed, &mut open);
                result = result.and(seen);
                if let Some(ticked) = ticked {
                    self.fold.schedules.tick(&ticked);
                    ticks.push(ticked);
                }
            }
        }
        if !ticks.is_empty() {
            open.push(ScheduleRecord::Ticked { ticks }.record());
        }
        self.commit(open);
        result
    }

    /// Records the events of the ticks of one schedule. Up to the first that cannot be told from a repeat, since the index cannot
    /// be read: it and the others come again.
    fn ticked(&mut self, come: Come, missed: u64, open: &mut Vec<Record>) -> (Option<Ticked>, Result<(), Fault>) {
        let Come { declaration, after, ticks, dropped, last } = come;
        let mut ticked = Ticked {
            schedule: declaration.name.clone(),
            last: after,
            published: 0,
            dropped,
            refused: 0,
            missed: missed.saturating_add(dropped),
            newest: None,
            error: None,
        };
        for Tick { at, event } in ticks {
            match event.map(|event| self.publish_tick(event, open)) {
                // Those that were dropped are before the first, and come again with it.
                Ok(Err(fault)) => return ((ticked.last > after).then_some(ticked), Err(fault)),
                Ok(Ok(Ok(position))) => {
                    (ticked.published, ticked.missed) = (ticked.published + 1, 0);
                    (ticked.newest, ticked.error) = (Some((at, position)), None);
                }
                Ok(Ok(Err(reason))) | Err(reason) => {
                    ticked.refused += 1;
                    ticked.error = Some(TickError::new(at, &reason));
                }
            }
            ticked.last = at;
        }
        (Some(Ticked { last, ..ticked }), Ok(()))
    }

    /// The position of the event of a tick, which may be recorded already; or why it is refused.
    fn publish_tick(&mut self, event: Prepared, open: &mut Vec<Record>) -> Result<Result<u64, String>, Fault> {
        let event = self.held(event);
        match self.known(&event, 0, open)? {
            // Of a schedule that was removed and declared again, by a clock that was set back.
            Some(Published::Duplicate(place) | Published::Recorded(place)) => return Ok(Ok(place.position)),
            Some(Published::Refused(refusal)) => return Ok(Err(refusal.to_string())),
            Some(Published::Scheduled(one)) => {
                return Ok(Err(Refusal::WaitsAlready { index: 0, timer: one.timer }.to_string()));
            }
            None => {}
        }
        Ok(match self.breaks_schema(&event, 0) {
            Some(refusal) => Err(refusal.to_string()),
            None => Ok(self.record(event, open).position),
        })
    }

    /// Records what a round of sagas came to, as one commit: events that it publishes, and the states that published them.
    pub fn step(&mut self, step: StepCommit) {
        let mut open = Vec::with_capacity(step.commands.len() + step.records.len() + 1);
        for command in step.commands {
            self.record(command, &mut open);
        }
        for (record, declared) in step.records {
            self.fold.sagas.take(declared);
            open.push(record);
        }
        if let Some((record, stepped)) = step.step {
            self.fold.sagas.take_step(&stepped);
            open.push(record);
        }
        self.commit(open);
    }

    /// Records an event, or sets its timer.
    fn take(&mut self, mut event: Prepared, open: &mut Vec<Record>) -> Published {
        let Some(waits) = event.waits.take() else { return Published::Recorded(self.record(event, open)) };
        let refused = self.refused_timer(&waits, self.fold.timers.len());
        let before = waits.key.as_deref().and_then(|key| self.fold.timers.of_key(key));
        if let Some(refusal) = refused {
            return Published::Refused(refusal);
        }
        self.cancel(before.into_iter().collect(), open);
        let Waits { due, since, key, record, .. } = *waits;
        let payload = event.event().payload().map(|payload| payload.hash);
        let timer = self.fold.timers.set(due, since, key.as_deref(), event.pair, payload);
        self.timers.set(&mut self.fold.timers, timer, due, since);
        payload.into_iter().for_each(|hash| self.timers.refer(hash));
        event.moved.into_iter().for_each(Moved::keep);
        open.push(record);
        Published::Scheduled(Scheduled { timer, due, is_duplicate: false })
    }

    /// Why a timer cannot be set beside so many.
    fn refused_timer(&self, waits: &Waits, waiting: usize) -> Option<Refusal> {
        let before = waits.key.as_deref().and_then(|key| Some((key, self.fold.timers.of_key(key)?)));
        match before {
            Some((key, timer)) if !waits.replaces => Some(Refusal::TimerExists { key: key.to_owned(), timer }),
            None if waiting >= TIMERS_MAX => Some(Refusal::TooManyTimers { limit: TIMERS_MAX }),
            _ => None,
        }
    }

    /// What is known already of the timers of an append; refused, if it has a pair or a key twice.
    fn known_timers(&self, events: &[Prepared], timers: &[Prepared]) -> Result<Vec<Option<Published>>, NotAppended> {
        let (mut pairs, mut keys) = (HashSet::new(), HashSet::new());
        if !timers.is_empty() {
            pairs.extend(events.iter().map(|event| event.pair));
        }
        let mut known = Vec::with_capacity(timers.len());
        for (at, event) in timers.iter().enumerate() {
            let index = events.len() + at;
            let key = event.waits.as_ref().and_then(|waits| waits.key.as_deref());
            if !pairs.insert(event.pair) || key.is_some_and(|key| !keys.insert(key)) {
                return Err(Refusal::RepeatedWithin { index }.into());
            }
            match self.known(event, index, &[])? {
                Some(Published::Refused(refusal)) => return Err(refusal.into()),
                answer => known.push(answer),
            }
        }
        Ok(known)
    }

    /// Refuses timers that cannot be set once others are cancelled.
    fn refused_timers(
        &self,
        timers: &[Prepared],
        known: Vec<Option<Published>>,
        cancels: &[Option<u64>],
    ) -> Result<Vec<Option<Published>>, Refusal> {
        let cancelled: HashSet<u64> = cancels.iter().flatten().copied().collect();
        let mut waiting = self.fold.timers.len() - cancelled.len();
        for (event, _) in timers.iter().zip(&known).filter(|(_, known)| known.is_none()) {
            let Some(waits) = event.waits.as_deref() else { continue };
            match self.refused_timer(waits, waiting) {
                Some(Refusal::TimerExists { timer, .. }) if cancelled.contains(&timer) => {}
                Some(refusal) => return Err(refusal),
                None => {}
            }
            // One that takes the place of another is counted too: who is that near the limit is told a little early.
            waiting += 1;
        }
        // What is cancelled with this append does not answer for it.
        let is_gone = |known: &Published| matches!(known, Published::Scheduled(one) if cancelled.contains(&one.timer));
        Ok(known.into_iter().map(|known| known.filter(|known| !is_gone(known))).collect())
    }

    /// The timer with this name, if it waits.
    fn waiting(&self, name: &TimerName) -> Option<u64> {
        match name {
            TimerName::Number(timer) => self.fold.timers.get(*timer).map(|_| *timer),
            TimerName::Key(key) => self.fold.timers.of_key(key),
        }
    }

    fn cancel(&mut self, timers: Vec<u64>, open: &mut Vec<Record>) {
        let timers: Vec<u64> = timers.into_iter().filter(|timer| self.end_timer(*timer)).collect();
        if !timers.is_empty() {
            open.push(TimerRecord::Cancelled { timers }.record());
        }
    }

    /// A timer does not wait any more. Whether it did.
    fn end_timer(&mut self, timer: u64) -> bool {
        let Some((pending, payload)) = self.fold.timers.remove(timer) else { return false };
        self.timers.unset(timer, &pending);
        if let Some(hash) = payload.filter(|hash| self.timers.let_go(*hash)) {
            self.payloads.let_go(hash);
        }
        true
    }

    /// What is known of an event already: it is recorded or waits, or something else with its source and id does.
    fn known(&self, event: &Prepared, index: usize, open: &[Record]) -> Result<Option<Published>, Fault> {
        if let Some((found, is_repeat)) = self.find(event, open).and_then(|found| self.compare(event, found))? {
            return Ok(Some(match is_repeat {
                true => Published::Duplicate(found.place()),
                false => Published::Refused(Refusal::IdConflict { index, position: found.position }),
            }));
        }
        self.waits_already(event, index, open)
    }

    /// What is known of an event that waits, or of another one with its source and id that does.
    fn waits_already(&self, event: &Prepared, index: usize, open: &[Record]) -> Result<Option<Published>, Fault> {
        let Some(timer) = self.fold.timers.of_pair(event.pair) else { return Ok(None) };
        let Some(pending) = self.fold.timers.get(timer) else { return Ok(None) };
        let body = match pending.locator {
            0 => self.set_in_turn(timer, open),
            locator => Some(self.log.fetch(locator, RecordKind::Timer)?.body),
        };
        let waiting = body.as_deref().and_then(TimerRecord::read);
        let Some(TimerRecord::Set { event: waiting, .. }) = waiting else { return Ok(None) };
        let Some(waiting) = body::decode(waiting).filter(|waiting| same_identity(waiting, &event.event())) else {
            return Ok(None);
        };
        let is_meant = match event.waits.as_deref() {
            // One that waits for so long would wait until a later time each time it is sent.
            Some(waits) => waits.since.is_some() || waits.due == pending.due,
            // Its time has come, and its timer is about to fire.
            None => event.event().attribute(DELIVER_AT).and_then(Timestamp::parse) == Some(pending.due),
        };
        let is_repeat = is_meant && self.is_repeat(event, &waiting, 0)?;
        Ok(Some(match is_repeat {
            true => Published::Scheduled(Scheduled { timer, due: pending.due, is_duplicate: true }),
            false => Published::Refused(Refusal::WaitsAlready { index, timer }),
        }))
    }

    /// The record of a timer that was set in this turn.
    fn set_in_turn(&self, timer: u64, open: &[Record]) -> Option<bytes::Bytes> {
        let records = self.commits.iter().flat_map(|commit| &commit.records).chain(open);
        let mut set = records.filter(|record| record.kind == RecordKind::Timer && TimerRecord::is_set(&record.body));
        let at = usize::try_from(timer.checked_sub(self.timers_before + 1)?).ok()?;
        set.nth(at).map(|record| bytes::Bytes::copy_from_slice(&record.body))
    }

    /// Takes system records as they are, and events among them that tell of them: whoever made them has decided.
    pub fn take_records(&mut self, records: Vec<Record>) {
        let mut open = Vec::with_capacity(records.len());
        for record in records {
            if record.kind == RecordKind::Event {
                let event = body::decode(&record.body).expect("it was encoded in this process").into_owned();
                self.record(Prepared::of(&event, record, None, self.hasher), &mut open);
            } else {
                let applied = self.fold.apply(record.kind, &record.body, 0);
                assert!(applied.is_some(), "it was encoded in this process");
                open.push(record);
            }
        }
        self.commit(open);
    }

    /// An event as the schemas of now say: as it was found before the mailbox, unless they have changed since.
    fn held(&self, event: Prepared) -> Prepared {
        if event.schemas == self.schemas.revision {
            return event;
        }
        let (mark, refused) = self.schemas.hold(&event.sent());
        let logged = event.event();
        if mark.is_none() && !has_mark(&logged) {
            return Prepared { refused, ..event };
        }
        let logged = logged.with_attribute(SCHEMA_MARK, mark);
        let (is_marked, mut bytes) = (has_mark(&logged), Vec::with_capacity(event.record.body.len()));
        body::encode(&mut bytes, &logged);
        let mut event = Prepared { refused, is_marked, record: Record::new(RecordKind::Event, bytes), ..event };
        if let Some(Waits { due, since, key, replaces, .. }) = event.waits.take().map(|waits| *waits) {
            event.waits = Some(Box::new(Waits::of(&event, due, since, key, replaces)));
        }
        event
    }

    /// What the schema of its type says against an event.
    fn breaks_schema(&self, event: &Prepared, index: usize) -> Option<Refusal> {
        let refused = event.refused.clone()?;
        self.schemas.counts(event.event().kind()).refused.fetch_add(1, Ordering::Relaxed);
        Some(refused.at(index))
    }

    /// The first answer to an append that is repeated. A part of it that is recorded is a refusal.
    fn repeated(&mut self, events: &[Prepared]) -> Result<Option<Appended>, NotAppended> {
        let mut found = Vec::with_capacity(events.len());
        let mut pairs: HashMap<u64, Vec<usize>> = HashMap::new();
        for (index, event) in events.iter().enumerate() {
            let same = pairs.entry(event.pair).or_default();
            if same.iter().any(|earlier| same_identity(&events[*earlier].event(), &event.event())) {
                return Err(Refusal::RepeatedWithin { index }.into());
            }
            same.push(index);
            let known = self.find(event, &[])?;
            match self.compare(event, known)? {
                Some((known, false)) => {
                    return Err(Refusal::IdConflict { index, position: known.position }.into());
                }
                known => found.push(known.map(|(known, _)| known)),
            }
        }
        let Some((index, first)) = found.iter().enumerate().find_map(|(i, known)| Some((i, known.as_ref()?))) else {
            return Ok(None);
        };
        let partly = Refusal::PartlyRepeated { index, position: first.position };
        let (commit, position) = (first.commit, first.position);
        let in_order = (position..).zip(&found).all(|(position, known)| {
            known.as_ref().is_some_and(|known| known.position == position && known.commit == commit)
        });
        let is_alone = |position: u64| -> Result<bool, Fault> {
            Ok(self.at(position, &[])?.is_none_or(|neighbour| neighbour.commit != commit))
        };
        if !in_order || !is_alone(position - 1)? || !is_alone(position + events.len() as u64)? {
            return Err(partly.into());
        }
        let events = found.iter().flatten().map(Found::place).collect();
        Ok(Some(Appended { commit, events, is_duplicate: true, ..Appended::default() }))
    }

    fn failures(&self, conditions: &[Condition], checked: &[Checked]) -> Result<Vec<ConditionFailure>, Fault> {
        let mut failures = Vec::new();
        for (index, (condition, checked)) in conditions.iter().zip(checked).enumerate() {
            match condition {
                Condition::Stream { stream, expected } => {
                    let actual = self.fold.version(self.hasher.stream(stream));
                    if !expected.holds(actual) {
                        let (stream, expected) = (stream.clone(), *expected);
                        failures.push(ConditionFailure::Stream { index, stream, expected, actual });
                    }
                }
                Condition::NoneAfter { position, .. } if *position >= self.fold.tail.next_position => {
                    let newest = self.fold.tail.next_position - 1;
                    failures.push(ConditionFailure::AfterEnd { index, position: *position, newest });
                }
                Condition::NoneAfter { position, query } => {
                    let found = match checked.found {
                        Some(found) => Some(found),
                        None => {
                            // Only what came after the pre-check; it is in memory.
                            let expr = expr_of_query(query, self.hasher);
                            let range = (*position).max(checked.to).saturating_add(1)..=u64::MAX;
                            first_match(self.index, &expr, range, |position| {
                                let found = self.at(position, &[])?;
                                Ok(found.is_some_and(|found| query.matches(&found.event())))
                            })?
                        }
                    };
                    if let Some(found) = found {
                        failures.push(ConditionFailure::NoneAfter { index, position: *position, found });
                    }
                }
            }
        }
        Ok(failures)
    }

    /// Whether the event says that it is another version of its stream than it would become. `before` events of
    /// the same append go to the stream first.
    fn wrong_version(&self, event: &Prepared, before: u64) -> Option<Refusal> {
        let (stream, expected) = (event.stream?, event.stream_version?);
        let actual = self.fold.version(stream) + before + 1;
        let subject = || event.event().subject().unwrap_or_default().to_owned();
        (actual != expected).then(|| Refusal::WrongVersion { stream: subject(), expected, actual })
    }

    /// The newest event with this one's source and id in the deduplication window. `open` is the commit in the
    /// making.
    fn find(&self, event: &Prepared, open: &[Record]) -> Result<Option<Found>, Fault> {
        let newer = self.index.pairs_since(event.pair, event.known_to)?;
        if newer.is_empty() && event.known.is_empty() {
            return Ok(None);
        }
        for position in newer.iter().chain(event.known.iter().filter(|known| **known < event.known_to)) {
            let Some((found, recorded_time)) = self.at_time(*position, open)? else { continue };
            if !self.window.holds(*position, recorded_time, self.fold.tail.next_position, self.now) {
                break;
            }
            if same_identity(&found.event(), &event.event()) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What was found, and whether the event repeats it. Data is compared where it is kept, if its bytes are others: JSON that
    /// was written anew says the same. That reads a payload in the loop; its sender had to send as much again.
    fn compare(&self, event: &Prepared, found: Option<Found>) -> Result<Option<(Found, bool)>, Fault> {
        let Some(found) = found else { return Ok(None) };
        let is_repeat = self.is_repeat(event, &found.event(), found.position)?;
        Ok(Some((found, is_repeat)))
    }

    fn is_repeat(&self, event: &Prepared, recorded: &Event<'_>, position: u64) -> Result<bool, Fault> {
        Ok(match recorded.payload() {
            Some(payload) if event.event().payload() != Some(payload) => {
                let data = payload.data(self.payloads.read(&payload, position)?);
                data.is_some_and(|data| event.sent().same_content(&recorded.clone().with_data(data)))
            }
            Some(_) => event.event().same_content(recorded),
            None => event.sent().same_content(recorded),
        })
    }

    fn at(&self, position: u64, open: &[Record]) -> Result<Option<Found>, Fault> {
        Ok(self.at_time(position, open)?.map(|(found, _)| found))
    }

    /// The event at a position: in the log, or decided earlier in this turn and not written yet.
    fn at_time(&self, position: u64, open: &[Record]) -> Result<Option<(Found, Timestamp)>, Fault> {
        if position == 0 {
            return Ok(None);
        }
        if position >= self.first_position {
            return Ok(self.undelivered(position, open).map(|found| (found, self.now)));
        }
        let Some(locator) = self.index.locator(position)? else { return Ok(None) };
        let event = self.log.fetch(locator, RecordKind::Event)?;
        let (commit, stream_version, body) = (event.commit, event.stream_version, event.body);
        Ok(Some((Found { position, commit, stream_version, body }, event.recorded_time)))
    }

    fn undelivered(&self, position: u64, open: &[Record]) -> Option<Found> {
        let of_record = |record: &Record, commit| Found {
            position,
            commit,
            stream_version: record.stream_version,
            body: bytes::Bytes::copy_from_slice(&record.body),
        };
        let events = |records: &[Record], at: u64| {
            records.iter().filter(|record| record.kind == RecordKind::Event).nth(at as usize).cloned()
        };
        let after = self.commits.partition_point(|commit| commit.first_position <= position);
        if let Some(commit) = after.checked_sub(1).map(|at| &self.commits[at])
            && let Some(record) = events(&commit.records, position - commit.first_position)
        {
            return Some(of_record(&record, commit.number));
        }
        let open_from = self.fold.tail.next_position - open.len() as u64;
        let at = position.checked_sub(open_from)?;
        events(open, at).map(|record| of_record(&record, self.fold.tail.number + 1))
    }

    /// Accepts an event: gives it its place and puts it into the index and the commit in the making.
    fn record(&mut self, event: Prepared, open: &mut Vec<Record>) -> Place {
        let position = self.fold.tail.next_position;
        self.fold.tail.next_position += 1;
        let version = self.fold.record(event.stream, position);
        if event.is_marked {
            self.schemas.counts(event.event().kind()).marked.fetch_add(1, Ordering::Relaxed);
        }
        let mut terms = event.terms;
        if version == 1 {
            terms.push(self.hasher.term(quipu_store::Term::StreamStart));
        }
        self.index.insert(event.pair, &terms);
        // Behind the index, which knows of the payload now.
        event.moved.into_iter().for_each(Moved::keep);
        let mut record = event.record;
        record.stream_version = version;
        open.push(record);
        Place { position, stream_version: event.stream.map(|_| version) }
    }

    /// Closes a commit.
    fn commit(&mut self, records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let events = records.iter().filter(|record| record.kind == RecordKind::Event).count() as u64;
        let tail = &mut self.fold.tail;
        tail.number += 1;
        tail.recorded_time = self.now;
        let commit = Commit {
            number: tail.number,
            epoch: tail.epoch,
            recorded_time: self.now,
            first_position: tail.next_position - events,
            chain_before: tail.chain,
            records,
        };
        tail.chain = commit.chain_after();
        self.commits.push(commit);
    }
}

impl Found {
    fn event(&self) -> Event<'_> {
        body::decode(&self.body).expect("its checksum was checked when it was read")
    }

    fn place(&self) -> Place {
        Place { position: self.position, stream_version: (self.stream_version > 0).then_some(self.stream_version) }
    }
}

fn same_identity(a: &Event<'_>, b: &Event<'_>) -> bool {
    a.id() == b.id() && a.source() == b.source()
}
