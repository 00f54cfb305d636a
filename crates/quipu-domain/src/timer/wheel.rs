//! A hierarchical timing wheel (Varghese and Lauck: "Hashed and Hierarchical Timing Wheels", 1987): setting a time, taking it back
//! and finding the next are as many steps with a million waiting as with a thousand.
//!
//! A tick is a millisecond. Each level cuts time into slots, 64 times as long as those of the level below, and knows 128 of them: the
//! current one and those that follow. A time waits on the lowest level that reaches it:
//!
//! ```text
//! level 0   slots of 1 ms        128 ms ahead
//! level 1   slots of 64 ms       8 s
//! level 2   slots of 4 s         8 min
//! …
//! level 8   slots of 8,900 years
//! ```
//!
//! so no `Timestamp` is too far. Before the wheel comes to a slot of an upper level, its times move down: at most 8 times for each.
//! The textbook does that when it comes to the slot, in one go, which for a million is a step of 27 ms and more. Here levels overlap
//! (64 slots of a level would do to reach one slot of the next), so a slot is emptied while the one before it lasts, at most
//! [`MOVED_MAX`] times in a call.

use std::collections::BTreeSet;

use crate::Timestamp;
use crate::pieces::Pieces;

const LEVELS: usize = 9;
/// Slots that a level knows.
const SLOTS: usize = 128;
/// How many times longer the slots of a level are than those below, as a power of two.
const LEVEL_BITS: u32 = 6;
/// Most times that one call moves down ahead of their slot: up to 200 µs. A million take a second, in calls 1 ms apart.
const MOVED_MAX: usize = 1_000;
/// No node.
const NONE: u32 = u32::MAX;
/// Every number but that one.
const NODES_MAX: usize = NONE as usize;
/// In place of the slot of a node: it waits in `ready`.
const READY: u16 = u16::MAX;
/// In place of the slot of a node: nothing waits in it.
const FREE: u16 = u16::MAX - 1;

/// Who waits: a number that means something to who set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

/// Where a time waits in the wheel. It is for who set the time and for nobody else, and it is over once the time was taken back or
/// came; [`Wheel::clear`] ends all of them. It carries no generation: that would make it twice as long, and the owner, who is
/// asked for with it, tells an old one from a new one already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(u32);

/// A time that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When it was to come.
    pub at: Timestamp,
    /// Who waited for it.
    pub owner: Owner,
}

/// Times to come, each with its owner. An owner may wait for several.
///
/// ```
/// use quipu_domain::Timestamp;
/// use quipu_domain::timer::{Due, Owner, Wheel};
/// let mut wheel = Wheel::new(Timestamp(0));
/// let lunch = wheel.insert(Timestamp(2_000_000), Owner(1));
/// wheel.insert(Timestamp(1_000_000), Owner(2));
/// assert!(wheel.remove(lunch, Owner(1)));
/// let mut due = Vec::new();
/// wheel.advance(Timestamp(3_000_000), 10, &mut due);
/// assert_eq!(due, [Due { at: Timestamp(1_000_000), owner: Owner(2) }]);
/// ```
#[derive(Debug)]
pub struct Wheel {
    /// The tick that it has come to, milliseconds. It never goes down: by a clock that is set back what is left of `ready` waits
    /// longer, and nothing else changes.
    tick: i64,
    nodes: Pieces<Node>,
    /// The first of the free nodes.
    free: u32,
    /// The first node of each slot, level by level.
    slots: Box<[u32; LEVELS * SLOTS]>,
    /// Which slots of a level have nodes, a bit each.
    taken: [u128; LEVELS],
    /// What has no slot, since its tick is not after the current one: it was set for the past, or it was due when `advance` had
    /// given as many as it was asked for. The numbers are of nodes.
    ready: BTreeSet<(Due, u32)>,
    len: usize,
}

/// 32 bytes.
#[derive(Clone, Copy, Debug)]
struct Node {
    due: Due,
    previous: u32,
    next: u32,
    slot: u16,
}

/// The first tick at which a time has come: never early, and less than a millisecond late.
fn tick_of(due: Timestamp) -> i64 {
    due.0.div_euclid(1_000) + i64::from(due.0.rem_euclid(1_000) > 0)
}

/// How many slots of a level have begun at a tick.
fn slots_until(level: usize, tick: i64) -> i64 {
    tick >> (level as u32 * LEVEL_BITS)
}

impl Wheel {
    /// A wheel in which nothing waits, at a time: what is set for the past comes too, and is dearer than what is set for later.
    pub fn new(now: Timestamp) -> Self {
        Self {
            tick: now.0.div_euclid(1_000),
            nodes: Pieces::default(),
            free: NONE,
            slots: Box::new([NONE; LEVELS * SLOTS]),
            taken: [0; LEVELS],
            ready: BTreeSet::new(),
            len: 0,
        }
    }

    /// Sets a time.
    ///
    /// # Panics
    /// With 4,294,967,295 times waiting: limits end far before.
    pub fn insert(&mut self, at: Timestamp, owner: Owner) -> Handle {
        let node = Node { due: Due { at, owner }, previous: NONE, next: NONE, slot: FREE };
        let number = self.free;
        let number = match self.nodes.get_mut(number as usize) {
            Some(free) => {
                self.free = free.next;
                *free = node;
                number
            }
            None => {
                assert!(self.nodes.len() < NODES_MAX, "expected fewer times in a wheel");
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        self.len += 1;
        if tick_of(at) <= self.tick {
            self.nodes[number as usize].slot = READY;
            self.ready.insert((node.due, number));
        } else {
            self.link(number);
        }
        Handle(number)
    }

    /// Takes a time back. Whether it was waiting: false for a handle that is over, unless its owner waits in the same place
    /// again.
    pub fn remove(&mut self, handle: Handle, owner: Owner) -> bool {
        let number = handle.0;
        let Some(&Node { due, slot, .. }) = self.nodes.get(number as usize) else { return false };
        if slot == FREE || due.owner != owner {
            return false;
        }
        match slot {
            READY => drop(self.ready.remove(&(due, number))),
            _ => self.unlink(number),
        }
        self.release(number);
        true
    }

    /// When to look again: not later than the first time comes. It may be earlier, about 8 times for each time that comes: then
    /// looking moves it down. None while nothing waits.
    pub fn next(&self) -> Option<Timestamp> {
        let tick = match self.ready.first() {
            Some((due, _)) => tick_of(due.at),
            None => (0..LEVELS).filter_map(|level| self.look_at(level)).min()?,
        };
        Some(Timestamp(tick.saturating_mul(1_000)))
    }

    /// Appends the times that have come, at most `limit`, those first that were to come first, and of one time by the owner. What is
    /// left of them comes with the next call.
    pub fn advance(&mut self, now: Timestamp, limit: usize, out: &mut Vec<Due>) {
        let now = now.0.div_euclid(1_000);
        let end = out.len().saturating_add(limit);
        while out.len() < end
            && let Some(&(due, number)) = self.ready.first()
            && tick_of(due.at) <= now
        {
            self.ready.pop_first();
            self.release(number);
            out.push(due);
        }
        // All that is ready is earlier than what has a slot, so there is nothing of it here unless the limit is reached or
        // nothing else has come.
        let mut come = Vec::new();
        while out.len() < end {
            let begin = |level| self.first_slot(level).map(|slot| slot << (level as u32 * LEVEL_BITS));
            let Some(tick) = (0..LEVELS).filter_map(begin).min().filter(|tick| *tick <= now) else {
                self.tick = self.tick.max(now);
                break;
            };
            self.come_to(tick, &mut come);
            let taken = come.len().min(end - out.len());
            for (due, number) in come.drain(..taken) {
                self.release(number);
                out.push(due);
            }
            for (_, number) in &come {
                self.nodes[*number as usize].slot = READY;
            }
            // They are in order, so the tree is made of them without a search for each.
            self.ready.append(&mut come.drain(..).collect());
        }
        self.move_down();
    }

    /// How many times wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes all times back, and begins at another time. The memory is kept.
    pub fn clear(&mut self, now: Timestamp) {
        self.nodes.clear();
        self.slots.fill(NONE);
        self.ready.clear();
        (self.tick, self.free, self.taken, self.len) = (now.0.div_euclid(1_000), NONE, [0; LEVELS], 0);
    }

    /// Puts a node into the slot of its tick, which is not before the current one.
    fn link(&mut self, number: u32) {
        let tick = tick_of(self.nodes[number as usize].due.at);
        let reaches = |level: &usize| slots_until(*level, tick) - slots_until(*level, self.tick) < SLOTS as i64;
        let level = (0..LEVELS).find(reaches).expect("the last level reaches every time");
        let bit = slots_until(level, tick) as usize % SLOTS;
        self.taken[level] |= 1 << bit;
        let slot = level * SLOTS + bit;
        let first = std::mem::replace(&mut self.slots[slot], number);
        if let Some(first) = self.nodes.get_mut(first as usize) {
            first.previous = number;
        }
        let node = &mut self.nodes[number as usize];
        (node.previous, node.next, node.slot) = (NONE, first, slot as u16);
    }

    /// Takes a node out of its slot.
    fn unlink(&mut self, number: u32) {
        let Node { previous, next, slot, .. } = self.nodes[number as usize];
        let slot = slot as usize;
        match self.nodes.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => self.slots[slot] = next,
        }
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.previous = previous;
        }
        if self.slots[slot] == NONE {
            self.taken[slot / SLOTS] &= !(1 << (slot % SLOTS));
        }
    }

    /// The first slot of a level in which something waits, counted from the beginning of time.
    fn first_slot(&self, level: usize) -> Option<i64> {
        let current = slots_until(level, self.tick);
        let ahead = self.taken[level].rotate_right(current as u32 % SLOTS as u32).trailing_zeros();
        (ahead < SLOTS as u32).then(|| current + i64::from(ahead))
    }

    /// The tick at which something on a level is to be done: it comes, or it can move down.
    fn look_at(&self, level: usize) -> Option<i64> {
        let slot = self.first_slot(level)?;
        Some(match level {
            0 => slot,
            _ => ((slot - 1) << (level as u32 * LEVEL_BITS)).max(self.tick + 1),
        })
    }

    /// Goes to a tick before which nothing waits. What comes at it is added to the list in its order; of upper levels, what waits in
    /// a slot that has begun moves down.
    fn come_to(&mut self, tick: i64, come: &mut Vec<(Due, u32)>) {
        self.tick = tick;
        for level in (0..LEVELS).rev() {
            let slot = level * SLOTS + slots_until(level, tick) as usize % SLOTS;
            while let Some(&Node { due, .. }) = self.nodes.get(self.slots[slot] as usize) {
                let number = self.slots[slot];
                self.unlink(number);
                match level {
                    0 => come.push((due, number)),
                    _ => self.link(number),
                }
            }
        }
        come.sort_unstable();
    }

    /// Moves times of the slots that come next to lower levels, which reach all of them by now.
    fn move_down(&mut self) {
        let mut left = MOVED_MAX;
        for level in 1..LEVELS {
            let slot = level * SLOTS + (slots_until(level, self.tick) + 1) as usize % SLOTS;
            while left > 0 && self.slots[slot] != NONE {
                let number = self.slots[slot];
                self.unlink(number);
                self.link(number);
                left -= 1;
            }
        }
    }

    fn release(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        (node.next, node.slot) = (self.free, FREE);
        self.free = number;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    /// What a wheel is to do, in a few lines: the oracle.
    #[derive(Default)]
    struct Model {
        waiting: BTreeMap<(Due, usize), Handle>,
        inserted: usize,
    }

    impl Model {
        fn advance(&mut self, now: Timestamp, limit: usize) -> Vec<Due> {
            let come = self.waiting.keys().filter(|(due, _)| tick_of(due.at) * 1_000 <= now.0).take(limit);
            let come: Vec<_> = come.copied().collect();
            self.waiting.retain(|key, _| !come.contains(key));
            come.into_iter().map(|(due, _)| due).collect()
        }
    }

    #[derive(Clone, Debug)]
    enum Act {
        Insert { ahead_us: i64, owner: u64 },
        Remove { nth: usize },
        Advance { by_us: i64, limit: usize },
        Next,
        Clear,
    }

    /// A time that fits with its rounding.
    fn after(now: Timestamp, us: i64) -> Timestamp {
        Timestamp(now.0.saturating_add(us).clamp(-1 << 62, 1 << 62))
    }

    /// From a part of a tick to centuries, both ways: every level is met, also its edges.
    fn distance() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => -3_000i64..3_000,
            4 => 0i64..200_000,
            2 => -10_000_000i64..5_000_000_000,
            1 => 0i64..400 * 365 * 86_400 * 1_000_000,
            2 => (0u32..54, -1i64..=1).prop_map(|(bit, off)| ((1i64 << bit) + off).saturating_mul(1_000)),
        ]
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            8 => (distance(), 0u64..8).prop_map(|(ahead_us, owner)| Act::Insert { ahead_us, owner }),
            3 => any::<usize>().prop_map(|nth| Act::Remove { nth }),
            4 => (distance(), prop_oneof![Just(usize::MAX), 0usize..4]).prop_map(|(by_us, limit)| Act::Advance { by_us, limit }),
            2 => Just(Act::Next),
            // Rare, or nothing would ever wait.
            1 => any::<u8>().prop_map(|chance| if chance < 8 { Act::Clear } else { Act::Next }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn a_wheel_gives_what_a_sorted_map_would(
            start in prop_oneof![Just(0i64), Just(1_790_000_000_000_000), -5_000_000i64..5_000_000],
            acts in prop::collection::vec(act(), 1..120),
        ) {
            let mut now = Timestamp(start);
            let (mut wheel, mut model) = (Wheel::new(now), Model::default());
            for act in acts {
                match act {
                    Act::Insert { ahead_us, owner } => {
                        let (at, owner) = (after(now, ahead_us), Owner(owner));
                        let handle = wheel.insert(at, owner);
                        model.waiting.insert((Due { at, owner }, model.inserted), handle);
                        model.inserted += 1;
                    }
                    Act::Remove { nth } => {
                        let nth = nth.checked_rem(model.waiting.len()).unwrap_or(0);
                        if let Some((key, handle)) = model.waiting.iter().nth(nth).map(|(key, handle)| (*key, *handle)) {
                            model.waiting.remove(&key);
                            prop_assert!(!wheel.remove(handle, Owner(99)));
                            prop_assert!(wheel.remove(handle, key.0.owner));
                            prop_assert!(!wheel.remove(handle, key.0.owner));
                        }
                    }
                    Act::Advance { by_us, limit } => {
                        now = after(now, by_us);
                        let mut due = Vec::new();
                        wheel.advance(now, limit, &mut due);
                        prop_assert_eq!(due, model.advance(now, limit));
                    }
                    Act::Next => match (wheel.next(), model.waiting.first_key_value()) {
                        (None, None) => {}
                        (Some(next), Some(((first, _), _))) => prop_assert!(next.0 <= tick_of(first.at) * 1_000),
                        other => prop_assert!(false, "{other:?}"),
                    },
                    Act::Clear => {
                        wheel.clear(now);
                        model.waiting.clear();
                    }
                }
                prop_assert_eq!(wheel.len(), model.waiting.len());
                prop_assert_eq!(wheel.is_empty(), model.waiting.is_empty());
            }
            let mut rest = Vec::new();
            wheel.advance(Timestamp(i64::MAX), usize::MAX, &mut rest);
            prop_assert_eq!(rest, model.advance(Timestamp(i64::MAX), usize::MAX));
            prop_assert!(wheel.is_empty());
        }

        /// Who sleeps until `next` and then advances meets each time when it comes, and is not woken much more often.
        #[test]
        fn who_looks_when_told_to_meets_every_time(
            start in 0i64..4_000_000_000_000_000,
            ahead in prop::collection::vec(distance(), 1..40),
        ) {
            let mut now = Timestamp(start);
            let mut wheel = Wheel::new(now);
            for (owner, ahead_us) in ahead.iter().enumerate() {
                wheel.insert(Timestamp(start + ahead_us.abs()), Owner(owner as u64));
            }
            let (mut looks, mut came) = (0, Vec::new());
            while let Some(next) = wheel.next() {
                prop_assert!(next > now || came.is_empty(), "{next:?} {now:?}");
                now = now.max(next);
                let before = came.len();
                wheel.advance(now, usize::MAX, &mut came);
                for due in &came[before..] {
                    prop_assert!(tick_of(due.at) * 1_000 == next.0 || due.at.0 <= start, "{due:?} came at {next:?}");
                }
                looks += 1;
            }
            prop_assert_eq!(came.len(), ahead.len());
            prop_assert!(looks <= LEVELS * ahead.len(), "{looks} looks for {} times", ahead.len());
        }
    }

    #[test]
    fn a_time_never_comes_early_and_less_than_a_millisecond_late() {
        for at in [-1_001, -1_000, -1, 0, 1, 999, 1_000, 1_001, 64_000, 64_001] {
            let late = tick_of(Timestamp(at)) * 1_000 - at;
            assert!((0..1_000).contains(&late), "{at}: {late}");
        }
    }

    #[test]
    fn a_million_of_one_time_come_in_portions_in_their_order() {
        let mut wheel = Wheel::new(Timestamp(0));
        for owner in (0..1_000_000).rev() {
            wheel.insert(Timestamp(5_000_000), Owner(owner));
        }
        let mut due = Vec::new();
        for portion in 1..=1_000 {
            wheel.advance(Timestamp(5_000_000), 1_000, &mut due);
            assert_eq!(due.len(), portion * 1_000);
        }
        assert!(due.iter().map(|due| due.owner.0).eq(0..1_000_000));
        assert_eq!(wheel.next(), None);
    }

    /// The promise that no step is long: 10,000 times of one slot, 12 days ahead, and however far they move down.
    #[test]
    fn many_times_of_one_slot_move_down_in_portions() {
        let (mut wheel, day_us) = (Wheel::new(Timestamp(0)), 86_400_000_000);
        for owner in 0..10_000 {
            wheel.insert(Timestamp(12 * day_us + owner * 7_001), Owner(owner as u64));
        }
        let (mut came, mut before) = (Vec::new(), wheel.nodes.clone());
        while let Some(next) = wheel.next() {
            let already = came.len();
            wheel.advance(next, usize::MAX, &mut came);
            assert!(came[already..].iter().all(|due| tick_of(due.at) * 1_000 == next.0), "at {next}");
            let moved = wheel.nodes.iter().zip(before.iter()).filter(|(now, before)| now.slot != before.slot).count();
            assert!(moved <= MOVED_MAX + came.len() - already, "{moved} at {next}");
            before = wheel.nodes.clone();
        }
        assert_eq!(came.len(), 10_000);
    }

    #[test]
    fn those_of_one_time_come_in_their_order_from_whichever_level() {
        let (mut wheel, at) = (Wheel::new(Timestamp(0)), Timestamp(6_400_000));
        wheel.insert(at, Owner(1));
        wheel.advance(at.plus_ms(-100), 1, &mut Vec::new());
        wheel.insert(at, Owner(0));
        wheel.insert(at, Owner(2));
        let levels: Vec<_> = wheel.nodes.iter().map(|node| node.slot as usize / SLOTS).collect();
        assert_eq!(levels, [1, 0, 0]);
        let mut due = Vec::new();
        wheel.advance(at, 2, &mut due);
        // Set while one of them is left.
        wheel.insert(at, Owner(1));
        wheel.advance(at, 2, &mut due);
        let owners: Vec<_> = due.iter().map(|due| due.owner.0).collect();
        assert_eq!(owners, [0, 1, 1, 2]);
    }

    #[test]
    fn places_are_used_again() {
        let mut wheel = Wheel::new(Timestamp(0));
        for round in 0..1_000 {
            let handles: Vec<_> =
                (0..10).map(|n| wheel.insert(Timestamp(round * 7_777 + n), Owner(n as u64))).collect();
            assert!(wheel.remove(handles[3], Owner(3)));
            wheel.advance(Timestamp(round * 7_777 + 1_000), usize::MAX, &mut Vec::new());
        }
        assert!(wheel.is_empty() && wheel.nodes.len() <= 20, "{}", wheel.nodes.len());
        assert_eq!(size_of::<Node>(), 32);
    }
}
