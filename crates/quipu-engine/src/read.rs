//! Reading: what is durable is immutable, so any thread reads it and none of this enters the loop.
//!
//! The index says which positions may match; the events are read and checked against the filter. The work of one
//! page is bounded, so a filter that matches next to nothing costs many pages and not one long one.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use quipu_domain::{Direction, Event, Filter, Stamp, StreamState, Timestamp, write_event};
use quipu_store::{Fault, Fetched, FramedRecord, RecordKind, Term, body};

use crate::payloads::looks;
use crate::query::expr_of_filter;
use crate::tenant::Tenant;

/// Events looked at for one page, at least; the stretch at hand is finished.
const EXAMINED_MAX: usize = 20_000;
/// Bytes on one page, roughly.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// Candidates fetched one by one between two questions to the index.
const BATCH: usize = 512;

/// One recorded event: a slice of the log and what the server added.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Position, version and time.
    pub stamp: Stamp,
    body: Bytes,
}

impl Recorded {
    fn new(position: u64, event: Fetched) -> Self {
        let stream_version = (event.stream_version > 0).then_some(event.stream_version);
        Self { stamp: Stamp { position, stream_version, recorded_time: event.recorded_time }, body: event.body }
    }

    /// The event that a record is.
    pub(crate) fn of_record(position: u64, recorded_time: Timestamp, record: FramedRecord) -> Self {
        let stream_version = (record.stream_version > 0).then_some(record.stream_version);
        Self { stamp: Stamp { position, stream_version, recorded_time }, body: record.body }
    }

    /// The event.
    pub fn event(&self) -> Event<'_> {
        body::decode(&self.body).expect("its checksum was checked when it was read")
    }

    /// The same one, as whoever reads it is to see it.
    pub(crate) fn with_event(&self, event: &Event<'_>) -> Self {
        let mut bytes = Vec::with_capacity(self.body.len());
        body::encode(&mut bytes, event);
        Self { stamp: self.stamp, body: bytes.into() }
    }

    /// Appends the event as one line of JSON: a CloudEvent with `position`, `streamversion` and `recordedtime`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        write_event(out, &self.event(), Some(&self.stamp));
    }

    /// Whether its data is kept beside the log, and is not in it.
    pub fn has_payload(&self) -> bool {
        self.event().payload().is_some()
    }

    /// Roughly the bytes it takes.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }
}

/// Some events, and where to go on. Whoever decides by them what to append asks for the tenant's position before it reads: a
/// condition on a position that was asked for afterwards would let through what nobody has seen.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The events, in the direction of reading.
    pub events: Vec<Recorded>,
    /// Where the next page begins; nothing at the end. A page may be short, even empty, and have a next one.
    pub next: Option<u64>,
}

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub subject: String,
    /// The version of its newest event.
    pub version: u64,
    /// The position of its newest event.
    pub position: u64,
    /// The position of its first event.
    pub first_position: u64,
}

/// Numbers about a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Events recorded.
    pub events: u64,
    /// Commits, counting those of system records.
    pub commits: u64,
    /// Streams.
    pub streams: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes in segment files.
    pub log_bytes: u64,
    /// Bytes in index files.
    pub index_bytes: u64,
    /// Bytes in snapshots.
    pub snapshot_bytes: u64,
    /// Payloads beside the log.
    pub payloads: u64,
    /// Bytes in them.
    pub payload_bytes: u64,
    /// When the first event was recorded.
    pub oldest: Option<Timestamp>,
    /// When the newest event was recorded.
    pub newest: Option<Timestamp>,
}

/// A page in the making.
struct Reading<'a> {
    filter: &'a Filter,
    matches_all: bool,
    /// What the reader may see depends on the data.
    looks_at_data: bool,
    limit: usize,
    page: Page,
    examined: usize,
    bytes: usize,
}

impl<'a> Reading<'a> {
    fn new(filter: &'a Filter, matches_all: bool, limit: usize) -> Self {
        let looks_at_data = filter.visible.as_ref().is_some_and(|visible| visible.looks_at_data());
        Self { filter, matches_all, looks_at_data, limit, page: Page::default(), examined: 0, bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.page.events.len() >= self.limit || self.bytes >= PAGE_BYTES_MAX
    }

    fn is_spent(&self) -> bool {
        self.is_full() || self.examined >= EXAMINED_MAX
    }

    fn offer(&mut self, recorded: Recorded, tenant: &Tenant) -> Result<(), Fault> {
        self.examined += 1 + looks(&recorded, self.looks_at_data);
        if self.matches_all || self.filter.matches(&tenant.seen(&recorded, self.looks_at_data)?, &recorded.stamp) {
            self.bytes += recorded.bytes();
            self.page.events.push(recorded);
        }
        Ok(())
    }
}

impl Tenant {
    /// Reads events that match, from position `from` (included) in a direction; without `from`, from the end that
    /// the direction starts at.
    ///
    /// # Errors
    /// [`Fault::Damaged`] and [`Fault::Io`].
    pub fn read(&self, filter: &Filter, direction: Direction, from: Option<u64>, limit: usize) -> Result<Page, Fault> {
        self.read_to(filter, direction, from, limit, self.position())
    }

    /// As [`Tenant::read`], up to a position.
    pub(crate) fn read_to(
        &self,
        filter: &Filter,
        direction: Direction,
        from: Option<u64>,
        limit: usize,
        durable: u64,
    ) -> Result<Page, Fault> {
        let mut low = filter.positions.from.unwrap_or(1).max(1);
        let mut high = filter.positions.to.unwrap_or(u64::MAX).min(durable);
        match (direction, from) {
            (Direction::Forward, Some(from)) => low = low.max(from),
            (Direction::Backward, Some(from)) => high = high.min(from),
            (_, None) => {}
        }
        let expr = expr_of_filter(filter, &self.hasher);
        let without_positions = Filter { positions: Default::default(), ..filter.clone() };
        let matches_all = without_positions == Filter::default();
        let mut reading = Reading::new(filter, matches_all, limit.max(1));
        while low <= high {
            let batch = reading.limit.clamp(1, BATCH);
            let Some(selection) = self.index.select(&expr, low..=high, direction, batch)? else { break };
            let stretch = selection.stretch;
            let last = match selection.positions {
                Some(positions) => self.read_positions(&positions, &mut reading)?,
                None if direction == Direction::Forward => self.read_forward(stretch.clone(), &mut reading)?,
                None => self.read_backward(stretch.clone(), &mut reading)?,
            };
            match direction {
                Direction::Forward => low = last.unwrap_or(*stretch.end()) + 1,
                Direction::Backward => high = last.unwrap_or(*stretch.start()) - 1,
            }
            if reading.is_spent() && low <= high {
                reading.page.next = Some(if direction == Direction::Forward { low } else { high });
                break;
            }
        }
        Ok(reading.page)
    }

    /// Reads candidates one by one. Returns the last one looked at if the page was full before the end.
    fn read_positions(&self, positions: &[u64], reading: &mut Reading<'_>) -> Result<Option<u64>, Fault> {
        for (i, position) in positions.iter().enumerate() {
            reading.offer(self.fetch(*position)?, self)?;
            if reading.is_full() && i + 1 < positions.len() {
                return Ok(Some(*position));
            }
        }
        Ok(None)
    }

    /// Reads a stretch of the log in order. Returns the last position looked at if that is not the stretch's last.
    fn read_forward(&self, stretch: RangeInclusive<u64>, reading: &mut Reading<'_>) -> Result<Option<u64>, Fault> {
        let mut at = self.index.scan_start(*stretch.start())?;
        let wanted = reading.limit.saturating_sub(reading.page.events.len());
        let bytes = wanted.saturating_mul(512).clamp(16 << 10, 1 << 20);
        let mut last = None;
        loop {
            let chunk = self.log.scan(at, bytes)?;
            if chunk.commits.is_empty() {
                return Ok(last);
            }
            at = chunk.next;
            for (_, commit) in chunk.commits {
                let events = commit.records.into_iter().filter(|record| record.kind == RecordKind::Event);
                for (position, record) in (commit.first_position..).zip(events) {
                    if position < *stretch.start() {
                        continue;
                    }
                    if position > *stretch.end() {
                        return Ok(None);
                    }
                    reading.offer(Recorded::of_record(position, commit.recorded_time, record), self)?;
                    last = Some(position);
                    if position == *stretch.end() {
                        return Ok(None);
                    }
                    if reading.is_spent() {
                        return Ok(last);
                    }
                }
            }
        }
    }

    /// The same from the stretch's end, in blocks that are read forward and turned around. Blocks begin with what is
    /// wanted, grow, and shrink where events are so large that one would not be held in memory.
    fn read_backward(&self, stretch: RangeInclusive<u64>, reading: &mut Reading<'_>) -> Result<Option<u64>, Fault> {
        let (first, mut end) = stretch.into_inner();
        let all = Filter::default();
        let mut size = reading.limit.saturating_sub(reading.page.events.len()).clamp(1, BATCH);
        loop {
            let start = first.max((end + 1).saturating_sub(size as u64));
            let mut block = Reading::new(&all, true, size);
            if self.read_forward(start..=end, &mut block)?.is_some() && start < end {
                size = (size / 2).max(1);
                continue;
            }
            for recorded in block.page.events.into_iter().rev() {
                let position = recorded.stamp.position;
                reading.offer(recorded, self)?;
                if reading.is_spent() && position > first {
                    return Ok(Some(position));
                }
            }
            if start == first {
                return Ok(None);
            }
            end = start - 1;
            if block.bytes < PAGE_BYTES_MAX / 4 {
                size = (size * 2).min(BATCH);
            }
        }
    }

    /// The event at a position that an index named.
    fn fetch(&self, position: u64) -> Result<Recorded, Fault> {
        self.event_at_any(position)?.ok_or_else(|| Fault::Damaged {
            path: "index".into(),
            offset: 0,
            detail: format!("it names position {position}, which the log does not have"),
        })
    }

    fn event_at_any(&self, position: u64) -> Result<Option<Recorded>, Fault> {
        let Some(locator) = self.index.locator(position)? else { return Ok(None) };
        Ok(Some(Recorded::new(position, self.log.fetch(locator, RecordKind::Event)?)))
    }

    /// The event at a position; nothing if there is none.
    pub fn event_at(&self, position: u64) -> Result<Option<Recorded>, Fault> {
        if position == 0 || position > self.position() { Ok(None) } else { self.event_at_any(position) }
    }

    /// The events at positions, by these. Of a large commit no more is read than they are.
    pub(crate) fn events_at(&self, positions: &[u64]) -> Result<HashMap<u64, Recorded>, Fault> {
        let durable = self.position();
        let mut sorted = positions.to_vec();
        sorted.retain(|position| (1..=durable).contains(position));
        sorted.sort_unstable();
        sorted.dedup();
        let (mut there, mut locators) = (Vec::with_capacity(sorted.len()), Vec::with_capacity(sorted.len()));
        for position in sorted {
            if let Some(locator) = self.index.locator(position)? {
                there.push(position);
                locators.push(locator);
            }
        }
        let events = self.log.fetch_all(&locators, RecordKind::Event, usize::MAX)?;
        Ok(there.into_iter().zip(events).map(|(position, event)| (position, Recorded::new(position, event))).collect())
    }

    /// The newest event with this `source` and `id`.
    pub fn event_by_id(&self, source: &str, id: &str) -> Result<Option<Recorded>, Fault> {
        for position in self.index.pairs(self.hasher.pair(source, id))? {
            let found = self.event_at(position)?;
            if let Some(found) = found.filter(|found| is_pair(&found.event(), source, id)) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What a stream is: its version and the position of its newest event, all zero if it has none.
    pub fn stream(&self, subject: &str) -> Result<StreamState, Fault> {
        let newest = self.read_stream(subject, Direction::Backward, None, 1)?.events.pop();
        Ok(newest.map_or_else(StreamState::default, |newest| StreamState {
            version: newest.stamp.stream_version.unwrap_or_default(),
            position: newest.stamp.position,
        }))
    }

    /// Reads a stream from a version (included) in a direction; without it, from the end that the direction starts
    /// at. The page's `next` is a version; it may be short of its `limit` where events are large.
    pub fn read_stream(
        &self,
        subject: &str,
        direction: Direction,
        from_version: Option<u64>,
        limit: usize,
    ) -> Result<Page, Fault> {
        let filter = Filter { subjects: vec![subject.to_owned()], ..Filter::default() };
        let from = match from_version {
            Some(0) if direction == Direction::Forward => None,
            Some(version) => match self.position_of_version(subject, version, direction)? {
                Some(position) => Some(position),
                None => return Ok(Page::default()),
            },
            None => None,
        };
        let mut page = Page::default();
        let mut next = from;
        // A page of the log may be short without being the last; a page of a stream is short only for its bytes.
        let mut bytes = 0;
        loop {
            let more = self.read(&filter, direction, next, limit - page.events.len())?;
            bytes += more.events.iter().map(Recorded::bytes).sum::<usize>();
            page.events.extend(more.events);
            next = more.next;
            if next.is_none() || page.events.len() >= limit || bytes >= PAGE_BYTES_MAX {
                break;
            }
        }
        let last = page.events.last().and_then(|event| event.stamp.stream_version);
        page.next = match (next, direction, last) {
            (Some(_), Direction::Forward, Some(last)) => Some(last + 1),
            (Some(_), Direction::Backward, Some(last)) => Some(last - 1).filter(|version| *version > 0),
            _ => None,
        };
        Ok(page)
    }

    /// Where version `version` of a stream is; if the stream ends before it, its last event for reading backward and
    /// nothing for reading forward.
    fn position_of_version(&self, subject: &str, version: u64, direction: Direction) -> Result<Option<u64>, Fault> {
        let expr = self.term(Term::Stream(subject));
        let durable = self.position();
        let mut low = 1;
        let mut newest = None;
        while low <= durable {
            let Some(selection) = self.index.select(&expr, low..=durable, Direction::Forward, usize::MAX)? else {
                break;
            };
            low = *selection.stretch.end() + 1;
            let positions: Vec<u64> = selection.positions.unwrap_or_else(|| selection.stretch.collect());
            // Versions grow with positions, so the place is found by halving; a candidate of another stream (its
            // name's hash is the same) is stepped over.
            let (mut from, mut to) = (0, positions.len());
            while from < to {
                let middle = from + (to - from) / 2;
                let Some((at, found)) = self.next_of_stream(subject, &positions, middle, to)? else {
                    to = middle;
                    continue;
                };
                if found < version {
                    newest = Some(positions[at]);
                    from = at + 1;
                } else if found == version {
                    return Ok(Some(positions[at]));
                } else {
                    to = middle;
                }
            }
        }
        Ok(newest.filter(|_| direction == Direction::Backward))
    }

    /// The first candidate from `from` on that really is of the stream, with its version.
    fn next_of_stream(
        &self,
        subject: &str,
        positions: &[u64],
        from: usize,
        to: usize,
    ) -> Result<Option<(usize, u64)>, Fault> {
        for (at, position) in positions.iter().enumerate().take(to).skip(from) {
            let found = self.fetch(*position)?;
            if found.event().subject() == Some(subject) {
                return Ok(found.stamp.stream_version.map(|version| (at, version)));
            }
        }
        Ok(None)
    }

    /// Streams whose names begin with `prefix`, in the order in which they began, from the one that began at
    /// position `from` (or after) on; and where to go on.
    pub fn streams(&self, prefix: &str, from: u64, limit: usize) -> Result<(Vec<StreamInfo>, Option<u64>), Fault> {
        let expr = self.term(Term::StreamStart);
        let durable = self.position();
        let (mut low, mut examined) = (from.max(1), 0);
        let mut streams = Vec::new();
        while low <= durable {
            let Some(selection) = self.index.select(&expr, low..=durable, Direction::Forward, BATCH)? else { break };
            let end = *selection.stretch.end();
            for position in selection.positions.unwrap_or_else(|| selection.stretch.collect()) {
                if streams.len() >= limit || examined >= EXAMINED_MAX {
                    return Ok((streams, Some(position)));
                }
                examined += 1;
                let first = self.fetch(position)?;
                let event = first.event();
                let Some(subject) = event.subject().filter(|_| first.stamp.stream_version == Some(1)) else { continue };
                if subject.starts_with(prefix) {
                    let StreamState { version, position: newest } = self.stream(subject)?;
                    let subject = subject.to_owned();
                    streams.push(StreamInfo { subject, version, position: newest, first_position: position });
                }
            }
            low = end + 1;
        }
        Ok((streams, None))
    }

    /// Numbers about the tenant.
    pub fn stats(&self) -> Result<Stats, Fault> {
        let size = self.log.size();
        let events = self.position();
        let (payloads, payload_bytes) = self.payloads.size();
        let time = |position| Ok(self.event_at(position)?.map(|event| event.stamp.recorded_time));
        Ok(Stats {
            events,
            commits: self.commit(),
            streams: self.stream_count(),
            segments: size.segments,
            log_bytes: size.bytes,
            index_bytes: self.index.run_bytes(),
            snapshot_bytes: self.snapshot_bytes(),
            payloads,
            payload_bytes,
            oldest: time(1)?,
            newest: time(events)?,
        })
    }
}

fn is_pair(event: &Event<'_>, source: &str, id: &str) -> bool {
    event.id() == id && event.source() == source
}
