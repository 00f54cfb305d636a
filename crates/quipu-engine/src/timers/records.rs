//! The records of timers, and the fold of them. All are postcard.

use quipu_domain::Timestamp;
use quipu_domain::timer::{Handle, Owner, Wheel};
use quipu_store::snapshot::Sink;
use quipu_store::{Fault, Locator, Reader, Record, RecordKind, put, put_bytes};
use serde::{Deserialize, Serialize};

use crate::sharded::{Pair, Sharded};

/// A record of timers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum TimerRecord<'a> {
    /// A timer was set. Its number is one more than that of the timer that was set before it.
    Set {
        /// When its event is published.
        due: Timestamp,
        /// When it was set, if it is to wait so long and not until then: a clock that is set back does not put it off.
        since: Option<Timestamp>,
        /// The name by which it can be cancelled.
        key: Option<&'a str>,
        /// The hash of its event's source and id.
        pair: u64,
        /// The hash of its event's data, if that is kept beside the log.
        payload: Option<[u8; 32]>,
        /// The event, as the body of an event record.
        event: &'a [u8],
    },
    /// Their events are in this commit.
    Fired { timers: Vec<u64> },
    /// They will not fire.
    Cancelled { timers: Vec<u64> },
}

impl<'a> TimerRecord<'a> {
    pub fn read(body: &'a [u8]) -> Option<Self> {
        postcard::from_bytes(body).ok()
    }

    pub fn record(&self) -> Record {
        Record::new(RecordKind::Timer, postcard::to_stdvec(self).expect("it has no map with keys unknown"))
    }

    /// Whether such a record is of a timer that was set, without reading it.
    pub fn is_set(body: &[u8]) -> bool {
        body.first() == Some(&0)
    }
}

/// A timer that waits. A million of them take some 200 MB with their keys and the wheel, so it is kept small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pending {
    pub due: Timestamp,
    /// The smallest of all times for none.
    since: Timestamp,
    /// Where its record is; 0 until that is written.
    pub locator: Locator,
    /// The hash of its key; 0 for none.
    key: u128,
    pair: u64,
    /// Where it waits in the wheel; nothing in what is read from a log or a snapshot.
    handle: Option<Handle>,
}

impl Pending {
    /// When it is to fire as the clock of now says: what waits for so long waits no longer than that from now on.
    pub fn due_at(&self, now: Timestamp) -> Timestamp {
        if self.since > now {
            return Timestamp(now.0.saturating_add(self.due.0.saturating_sub(self.since.0).max(0))).min(self.due);
        }
        self.due
    }
}

impl Pending {
    /// Takes the timer out of the wheel, if it is still in it.
    pub fn unwind(&self, timer: u64, wheel: &mut Wheel) {
        self.handle.into_iter().for_each(|handle| _ = wheel.remove(handle, Owner(timer)));
    }
}

/// The timers of a log.
#[derive(Clone, Default)]
pub(crate) struct FoldedTimers {
    /// The number of the newest; they are never given twice.
    pub last: u64,
    /// The newest whose record has its place.
    placed: u64,
    pending: Sharded<u64, Pending>,
    keys: Sharded<u128, u64>,
    pairs: Sharded<Pair, u64>,
    /// The hashes of data that is kept beside the log: few timers have such.
    payloads: Sharded<u64, [u8; 32]>,
}

impl FoldedTimers {
    /// Takes in a record. Nothing if it cannot be read.
    pub fn apply(&mut self, body: &[u8], locator: Locator) -> Option<()> {
        match TimerRecord::read(body)? {
            TimerRecord::Set { due, since, key, pair, payload, .. } => {
                let timer = self.set(due, since, key, pair, payload);
                self.pending.get_mut(timer)?.locator = locator;
                self.placed = self.last;
            }
            TimerRecord::Fired { timers } | TimerRecord::Cancelled { timers } => {
                timers.into_iter().for_each(|timer| _ = self.remove(timer));
            }
        }
        Some(())
    }

    /// Takes in a timer; its number.
    pub fn set(
        &mut self,
        due: Timestamp,
        since: Option<Timestamp>,
        key: Option<&str>,
        pair: u64,
        payload: Option<[u8; 32]>,
    ) -> u64 {
        self.last += 1;
        let (timer, key) = (self.last, key.map_or(0, hash_of_key));
        let since = since.unwrap_or(Timestamp(i64::MIN));
        self.pending.insert(timer, Pending { due, since, locator: 0, key, pair, handle: None });
        if key != 0 {
            self.keys.insert(key, timer);
        }
        self.pairs.insert(Pair(pair), timer);
        payload.into_iter().for_each(|hash| _ = self.payloads.insert(timer, hash));
        timer
    }

    /// A timer fires or is cancelled: where it waited, and the hash of its data if that is kept beside the log. Nothing if it does
    /// not wait.
    pub fn remove(&mut self, timer: u64) -> Option<(Pending, Option<[u8; 32]>)> {
        let pending = self.pending.remove(timer)?;
        if self.keys.get(pending.key) == Some(&timer) {
            self.keys.remove(pending.key);
        }
        if self.pairs.get(Pair(pending.pair)) == Some(&timer) {
            self.pairs.remove(Pair(pending.pair));
        }
        Some((pending, self.payloads.remove(timer)))
    }

    /// The next timer that was set and whose record had no place yet has this one.
    pub fn place(&mut self, locator: Locator) {
        self.placed += 1;
        if let Some(pending) = self.pending.get_mut(self.placed) {
            pending.locator = locator;
        }
    }

    /// Puts a timer into a wheel, where it was if it is in one.
    pub fn wind(&mut self, timer: u64, wheel: &mut Wheel, at: Timestamp) {
        if let Some(pending) = self.pending.get_mut(timer) {
            if let Some(handle) = pending.handle {
                wheel.remove(handle, Owner(timer));
            }
            pending.handle = Some(wheel.insert(at, Owner(timer)));
        }
    }

    /// Puts all timers into a wheel, as the clock of now says.
    pub fn wind_all(&mut self, wheel: &mut Wheel, now: Timestamp) {
        wheel.clear(now);
        let all: Vec<(u64, Timestamp)> = self.pending.iter().map(|(timer, one)| (timer, one.due_at(now))).collect();
        for (timer, at) in all {
            let pending = self.pending.get_mut(timer).expect("it was there");
            pending.handle = Some(wheel.insert(at, Owner(timer)));
        }
    }

    pub fn len(&self) -> usize {
        self.pending.len()
    }

    pub fn get(&self, timer: u64) -> Option<&Pending> {
        self.pending.get(timer)
    }

    /// The timer with this key.
    pub fn of_key(&self, key: &str) -> Option<u64> {
        self.keys.get(hash_of_key(key)).copied()
    }

    /// The timer whose event may have the source and id with this hash.
    pub fn of_pair(&self, pair: u64) -> Option<u64> {
        self.pairs.get(Pair(pair)).copied()
    }

    /// The hashes of data that is kept beside the log.
    pub fn payloads(&self) -> impl Iterator<Item = [u8; 32]> {
        self.payloads.iter().map(|(_, hash)| *hash)
    }

    /// Those that wait, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Pending)> {
        self.pending.iter()
    }

    /// Writes them for a snapshot, in order: the same timers are the same bytes.
    pub fn write(&self, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by_key(|(timer, _)| *timer);
        self.write_each(sink, all.into_iter())
    }

    /// How many bytes that writes.
    pub fn written_bytes(&self) -> Result<u64, Fault> {
        Sink::measure(|sink| self.write_each(sink, self.iter()))
    }

    fn write_each<'a>(&self, sink: &mut Sink<'_>, all: impl Iterator<Item = (u64, &'a Pending)>) -> Result<(), Fault> {
        let out = sink.room()?;
        put(out, self.last);
        put(out, self.len() as u64);
        for (timer, pending) in all {
            let out = sink.room()?;
            put(out, timer);
            put(out, pending.due.0 as u64);
            put(out, pending.since.0.wrapping_sub(i64::MIN) as u64);
            put(out, pending.locator);
            out.extend_from_slice(&pending.key.to_le_bytes());
            out.extend_from_slice(&pending.pair.to_le_bytes());
            put_bytes(out, self.payloads.get(timer).map_or(&[], |hash| hash.as_slice()));
        }
        Ok(())
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let mut timers = Self { last: reader.varint()?, ..Self::default() };
        timers.placed = timers.last;
        let count = reader.varint()?;
        let room = usize::try_from(count).ok()?.min(bytes.len() / 29);
        timers.pending.reserve(room);
        timers.pairs.reserve(room);
        for _ in 0..count {
            let timer = reader.varint()?;
            let due = Timestamp(reader.varint()? as i64);
            let since = Timestamp((reader.varint()? as i64).wrapping_add(i64::MIN));
            let locator = reader.varint()?;
            let (key, pair) = (u128::from_le_bytes(reader.array()?), reader.u64()?);
            if timer > timers.last {
                return None;
            }
            match reader.bytes()? {
                [] => {}
                hash => _ = timers.payloads.insert(timer, hash.try_into().ok()?),
            }
            timers.pending.insert(timer, Pending { due, since, locator, key, pair, handle: None });
            if key != 0 {
                timers.keys.insert(key, timer);
            }
            timers.pairs.insert(Pair(pair), timer);
        }
        reader.rest().is_empty().then_some(timers)
    }
}

/// The hash of a timer's key: never 0.
fn hash_of_key(key: &str) -> u128 {
    let hash = blake3::hash(key.as_bytes());
    u128::from_le_bytes(hash.as_bytes()[..16].try_into().expect("it has 32 bytes")).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_of_so_long_waits_no_longer_by_a_clock_that_is_set_back() {
        let mut timers = FoldedTimers::default();
        let after = timers.set(Timestamp(1_100), Some(Timestamp(1_000)), None, 1, None);
        let at = timers.set(Timestamp(1_100), None, None, 2, None);
        let due = |timer, now| timers.get(timer).unwrap().due_at(Timestamp(now)).0;
        assert_eq!([due(after, 2_000), due(after, 1_000), due(after, 990), due(after, 0)], [1_100, 1_100, 1_090, 100]);
        assert_eq!([due(at, 2_000), due(at, 0)], [1_100, 1_100]);
    }

    #[test]
    fn timers_are_read_back_from_a_snapshot() {
        let mut timers = FoldedTimers::default();
        timers.set(Timestamp(-5), Some(Timestamp(3)), Some("a"), 7, Some([9; 32]));
        timers.set(Timestamp(9), None, None, 8, None);
        timers.set(Timestamp(11), None, Some("gone"), 9, None);
        (5..=7).for_each(|locator| timers.place(locator));
        timers.remove(3);
        let encoded = Sink::collect(|sink| timers.write(sink)).unwrap();
        let read = FoldedTimers::decode(&encoded).unwrap();
        assert_eq!(
            (read.last, read.len(), read.of_key("a"), read.of_key("gone"), read.of_pair(8)),
            (3, 2, Some(1), None, Some(2))
        );
        assert!(timers.iter().all(|(timer, pending)| read.get(timer) == Some(pending)));
        assert_eq!((read.payloads().collect::<Vec<_>>(), read.get(1).unwrap().locator), (vec![[9; 32]], 5));
        assert!(FoldedTimers::decode(&encoded[1..]).is_none());
    }
}
