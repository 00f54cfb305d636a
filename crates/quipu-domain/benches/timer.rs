//! What it costs to wait: `cargo bench -p quipu-domain --bench timer`, the wheel beside a sorted map.
//!
//! With so many times waiting, spread over an hour: setting one and taking one back, at random places, and letting time pass in steps
//! in which about a hundred come, each of which is set anew. ns of CPU of the one thread for each time; and µs of the longest step
//! where all wait for the same 100 s an hour ahead: a thousand are set, or 1 ms passes. The best of five rounds.

use std::collections::BTreeSet;
use std::hint::black_box;

use quipu_domain::Timestamp;
use quipu_domain::timer::{Due, Handle, Owner, Wheel};
use rustix::time::{ClockId, clock_gettime};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const CALLS: usize = 200_000;
const COME: usize = 20_000;
const HOUR_US: u64 = 3_600_000_000;
const START: Timestamp = Timestamp(1_790_000_000_000_000);

/// What both can do.
trait Waiting {
    type Key: Copy;
    fn new(now: Timestamp) -> Self;
    fn insert(&mut self, due: Due) -> Self::Key;
    fn remove(&mut self, key: Self::Key, owner: Owner) -> bool;
    fn next(&self) -> Option<Timestamp>;
    fn advance(&mut self, now: Timestamp, limit: usize, out: &mut Vec<Due>);
}

impl Waiting for Wheel {
    type Key = Handle;

    fn new(now: Timestamp) -> Self {
        Wheel::new(now)
    }

    fn insert(&mut self, due: Due) -> Handle {
        Wheel::insert(self, due.at, due.owner)
    }

    fn remove(&mut self, key: Handle, owner: Owner) -> bool {
        Wheel::remove(self, key, owner)
    }

    fn next(&self) -> Option<Timestamp> {
        Wheel::next(self)
    }

    fn advance(&mut self, now: Timestamp, limit: usize, out: &mut Vec<Due>) {
        Wheel::advance(self, now, limit, out);
    }
}

struct Sorted(BTreeSet<Due>);

impl Waiting for Sorted {
    type Key = Due;

    fn new(_now: Timestamp) -> Self {
        Self(BTreeSet::new())
    }

    fn insert(&mut self, due: Due) -> Due {
        self.0.insert(due);
        due
    }

    fn remove(&mut self, key: Due, _owner: Owner) -> bool {
        self.0.remove(&key)
    }

    fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|due| due.at)
    }

    fn advance(&mut self, now: Timestamp, limit: usize, out: &mut Vec<Due>) {
        let end = out.len() + limit;
        while out.len() < end && self.0.first().is_some_and(|due| due.at <= now) {
            out.extend(self.0.pop_first());
        }
    }
}

fn main() {
    println!(
        "{:>7} {:>9} {:>10} {:>10} {:>10} {:>14}",
        "", "waiting", "insert ns", "remove ns", "come ns", "longest µs"
    );
    for waiting in [1_000, 100_000, 1_000_000] {
        report::<Wheel>("wheel", waiting);
        report::<Sorted>("sorted", waiting);
    }
}

fn report<W: Waiting>(name: &str, waiting: usize) {
    let mut best = [f64::MAX; 4];
    for round in 0..ROUNDS {
        for (best, found) in best.iter_mut().zip(measure::<W>(waiting, round as u64)) {
            *best = best.min(found);
        }
    }
    let [insert, remove, come, longest] = best;
    println!("{name:>7} {waiting:>9} {insert:>10.0} {remove:>10.0} {come:>10.0} {longest:>14.0}");
}

/// ns of an insert, of a removal and of a time that comes, and µs of the longest step.
fn measure<W: Waiting>(waiting: usize, seed: u64) -> [f64; 4] {
    let mut numbers = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut within = |limit: u64| {
        numbers = numbers.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (numbers >> 33) % limit
    };
    let mut wheel = W::new(START);
    let mut due = |owner: usize, now: Timestamp| {
        let us = (within(1 << 31) * HOUR_US) >> 31;
        Due { at: Timestamp(now.0 + 1 + us as i64), owner: Owner(owner as u64) }
    };
    let mut keys: Vec<_> = (0..waiting).map(|owner| wheel.insert(due(owner, START))).collect();
    // Time has passed, so that they wait on all levels.
    let mut out = Vec::new();
    wheel.advance(Timestamp(START.0 + 1_000_000), usize::MAX, &mut out);
    let now = Timestamp(START.0 + 1_000_000);
    for gone in out.drain(..) {
        keys[gone.owner.0 as usize] = wheel.insert(due(gone.owner.0 as usize, now));
    }

    // In portions of which each is taken back in another order, and as many wait at the end as at the beginning.
    let portion = waiting.min(10_000);
    let (mut insert_ns, mut remove_ns) = (0.0, 0.0);
    for at in 0..CALLS / portion {
        let chosen: Vec<usize> = (0..portion).map(|n| (at + n * 7_919) % waiting).collect();
        let unique: std::collections::BTreeSet<_> = chosen.iter().copied().collect();
        let mut chosen: Vec<usize> = unique.into_iter().collect();
        chosen.sort_unstable_by_key(|n| (*n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let fresh: Vec<Due> = chosen.iter().map(|owner| due(*owner, now)).collect();
        remove_ns += cpu_ns(|| {
            for owner in &chosen {
                assert!(wheel.remove(keys[*owner], Owner(*owner as u64)));
            }
        }) / chosen.len() as f64;
        insert_ns += cpu_ns(|| {
            for due in &fresh {
                keys[due.owner.0 as usize] = wheel.insert(*due);
            }
        }) / chosen.len() as f64;
    }
    let portions = (CALLS / portion) as f64;

    // Steps in which about a hundred come.
    let step_ms = (100 * HOUR_US as usize / waiting / 1_000).max(1) as i64;
    let (mut come, mut come_ns, mut now) = (0, 0.0, now);
    while come < COME {
        now = now.plus_ms(step_ms);
        out.clear();
        come_ns += cpu_ns(|| {
            if black_box(wheel.next()).is_some_and(|next| next <= now) {
                wheel.advance(now, usize::MAX, &mut out);
            }
        });
        come += out.len();
        for gone in &out {
            wheel.insert(due(gone.owner.0 as usize, now));
        }
    }
    [insert_ns / portions, remove_ns / portions, come_ns / come as f64, longest_us::<W>(waiting)]
}

/// µs of the longest step, in which a thousand come to wait or at most 10 come. All are for the same 100 s, an hour ahead, so in a
/// wheel they move down together.
fn longest_us<W: Waiting>(waiting: usize) -> f64 {
    let mut wheel = W::new(START);
    let (mut now, mut longest, mut out) = (START, 0.0f64, Vec::new());
    // A thousand come to wait in 1 ms.
    for thousand in 0..waiting as u64 / 1_000 {
        let ns = cpu_ns(|| {
            for n in thousand * 1_000..(thousand + 1) * 1_000 {
                let us = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                let at = START.0 + HOUR_US as i64 + ((us * 100_000_000) >> 32) as i64;
                wheel.insert(Due { at: Timestamp(at), owner: Owner(n) });
            }
        });
        longest = longest.max(ns / 1_000.0);
    }
    while let Some(next) = wheel.next() {
        // Who sleeps until then, for not less than 1 ms.
        now = now.plus_ms(1).max(next);
        out.clear();
        let ns = cpu_ns(|| wheel.advance(now, 10, &mut out));
        longest = longest.max(ns / 1_000.0);
        if now.0 > START.0 + HOUR_US as i64 + 20_000_000 {
            break;
        }
    }
    longest
}

fn cpu_ns(run: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let before = now();
    run();
    now() - before
}
