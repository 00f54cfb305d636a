//! Subscriptions: durable, named followers that deliver to somebody. What is here meets the rules of
//! `quipu_domain::delivery` with the log: definitions, routing, consumers, dead letters, and why nothing moves.
//!
//! Acknowledgements and attempts are in memory first and in the log at most [`CHECKPOINT_MS`] later, in one commit for
//! all subscriptions of a tenant: after a crash at most those are repeated, and nothing is skipped.

mod checkpoint;
mod consume;
mod dead_letter;
mod define;
mod due;
mod explain;
mod fill;
mod key;
mod letters;
mod outcome;
mod pace;
mod records;
mod refusal;
mod replaying;
mod router;
mod running;
mod scalar;
mod seek;
mod standstill;
mod stored;
mod watch;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use quipu_domain::PatternSet;
use quipu_store::Record;

use crate::options::Random;

pub use consume::{Answer, Handed, Transformed};
pub use dead_letter::{DeadLetterFilter, DeadLetterGroup};
pub use define::{SubscriptionInfo, WatchGuard};
pub(crate) use due::Due;
pub use explain::{Explained, Lag};
pub use records::{DeadLetter, DeadLetterLine, DeadLetterState};
pub use refusal::{NotDone, SubscriptionRefusal};
pub use replaying::ReplayCounts;
pub(crate) use replaying::Standing;
pub use running::Counts;
pub(crate) use scalar::scalar_at;
pub use seek::SeekPreview;
pub use standstill::Standstill;
pub use watch::DefinitionGuard;

pub(crate) use pace::{Done, Pace};
pub(crate) use records::{DecidedBy, FoldedSubscriptions};
pub(crate) use running::{Compiled, Running};

use letters::Letters;
use router::Router;

/// How long acknowledgements and attempts may be in memory only, milliseconds.
pub const CHECKPOINT_MS: u64 = 100;
/// A commit of progress takes up no further subscription when it has this many bytes.
const COMMIT_BYTES: usize = 4 << 20;
/// Most bytes that are kept together: half of what a commit has room for.
const TOGETHER_BYTES_MAX: usize = 64 << 20;

/// The subscriptions of a tenant while they run.
pub(crate) struct Subscriptions {
    running: RwLock<BTreeMap<String, Arc<Running>>>,
    /// Compiled anew by whoever changes a definition, while the router goes on with those that it has.
    patterns: Mutex<PatternSet<Arc<str>>>,
    router: Mutex<Router>,
    /// As in the router, for those who do not have its lock.
    routed_to: AtomicU64,
    /// How many the router feeds.
    attached: AtomicUsize,
    /// Those that are durable.
    dead_letters: RwLock<Letters>,
    last_dead_letter: AtomicU64,
    /// Dead letters that were decided about, and are shown as such when that is durable.
    claimed: Mutex<HashSet<u64>>,
    /// Edited copies that are not durable yet.
    copies: Mutex<HashMap<u64, DeadLetter>>,
    /// Decisions about dead letters whose subscription is gone.
    drafts: Mutex<Vec<Record>>,
    /// Changes of definitions and commits of progress are made one at a time.
    changing: Mutex<Unsent>,
    /// When progress is written down next, microseconds.
    checkpoint_due: Due,
    /// When the places of those are written next that found nothing, microseconds.
    places_due: Due,
    /// When dead letters are looked for next that were kept long enough, microseconds.
    retention_due: Due,
    chance: AtomicU64,
    next_watcher: AtomicU64,
    definition_watchers: Mutex<Vec<(u64, watch::DefinitionWatcher)>>,
}

/// Records of progress that the log did not take yet, commit by commit.
#[derive(Default)]
pub(crate) struct Unsent(VecDeque<Vec<Record>>);

impl Unsent {
    /// Adds what belongs together: to the last commit, unless that has enough. What no commit has room for goes into several, in its
    /// order: dead letters stand before the progress, so that a crash in between makes some of them again and loses none.
    fn push(&mut self, records: Vec<Record>) {
        let mut left = TOGETHER_BYTES_MAX;
        let mut begins = true;
        for record in records {
            let bytes = record.body.len();
            let last = self.0.back_mut().filter(|last| match begins {
                true => bytes_of(last) < COMMIT_BYTES,
                false => bytes <= left,
            });
            match last {
                Some(last) => last.push(record),
                None => {
                    left = TOGETHER_BYTES_MAX;
                    self.0.push_back(vec![record]);
                }
            }
            left = left.saturating_sub(bytes);
            begins = false;
        }
    }
}

fn bytes_of(records: &[Record]) -> usize {
    records.iter().map(|record| record.body.len()).sum()
}

impl Subscriptions {
    /// As the log left them. `position` is the newest event's.
    pub fn new(folded: &FoldedSubscriptions, position: u64, random: &dyn Random) -> Self {
        let (mut patterns, mut unfiltered) = (Vec::new(), Vec::new());
        let mut running = BTreeMap::new();
        let letters = &folded.dead_letters;
        for (name, folded) in &folded.subscriptions {
            let compiled = Compiled::stored(name, &folded.definition);
            let one = Running::new(name, compiled, &folded.saved, folded.counts);
            one.let_decided_keys_go(letters);
            match one.compiled().shared_pattern() {
                Some(pattern) => patterns.push((Arc::clone(&one.name), pattern.clone())),
                None => unfiltered.push(Arc::clone(&one.name)),
            }
            running.insert(name.clone(), one);
        }
        let patterns: PatternSet<Arc<str>> = patterns.into_iter().collect();
        let mut seed = [0; 8];
        random.fill(&mut seed);
        Self {
            running: RwLock::new(running),
            router: Mutex::new(Router::after(position, patterns.snapshot(), unfiltered)),
            patterns: Mutex::new(patterns),
            routed_to: AtomicU64::new(position),
            attached: AtomicUsize::new(0),
            dead_letters: RwLock::new(Letters::new(&folded.dead_letters)),
            last_dead_letter: AtomicU64::new(folded.last_dead_letter),
            changing: Mutex::default(),
            claimed: Mutex::default(),
            copies: Mutex::default(),
            drafts: Mutex::default(),
            checkpoint_due: Due::default(),
            places_due: Due::default(),
            retention_due: Due::default(),
            chance: AtomicU64::new(u64::from_le_bytes(seed)),
            next_watcher: AtomicU64::new(0),
            definition_watchers: Mutex::default(),
        }
    }

    pub fn all(&self) -> Vec<Arc<Running>> {
        self.running.read().values().cloned().collect()
    }

    /// A number that nobody guesses who has not seen the ones before: names an attempt (SplitMix64 of a random start).
    fn token(&self) -> u64 {
        let mut z = self.chance.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in 0 to 1.
    fn chance(&self) -> f64 {
        (self.token() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use quipu_store::RecordKind;

    use super::*;

    #[test]
    fn what_belongs_together_is_one_commit_unless_no_commit_has_room_for_it() {
        let records = |bytes: &[usize]| -> Vec<Record> {
            let body = |(at, mib): (usize, &usize)| vec![at as u8; mib << 20];
            bytes.iter().enumerate().map(|one| Record::new(RecordKind::DeadLetter, body(one))).collect()
        };
        let mut unsent = Unsent::default();
        for together in [&[1, 2][..], &[2, 20], &[30, 30, 30, 5], &[60, 1]] {
            unsent.push(records(together));
        }
        let commits: Vec<Vec<usize>> =
            unsent.0.iter().map(|commit| commit.iter().map(|record| record.body.len() >> 20).collect()).collect();
        assert_eq!(commits, [vec![1, 2, 2, 20], vec![30, 30], vec![30, 5], vec![60, 1]]);
    }
}
