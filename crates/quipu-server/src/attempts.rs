//! Credentials that were not valid, by the address that they came from. Beyond some a minute each answer takes a second, so
//! that trying costs time. Who has a valid one never waits, whoever else is behind the same address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Failures of one address that are answered at once.
const BURST: u32 = 10;
/// After so long one more is.
const EACH: Duration = Duration::from_secs(6);
/// How long the answer to another takes.
const PENALTY: Duration = Duration::from_secs(1);
/// Answers that are held back at the same time; more are refused without being held.
const HELD_MAX: usize = 1_024;
/// Most addresses that are remembered. All others together are one.
const ADDRESSES_MAX: usize = 10_000;

/// Who has tried how often.
pub(crate) struct Attempts {
    recent: Mutex<Addresses>,
    held: Semaphore,
}

/// Addresses, and when those without failures were forgotten last.
struct Addresses {
    all: HashMap<IpAddr, Recent>,
    pruned: Instant,
}

/// The failures of an address.
#[derive(Clone, Copy)]
struct Recent {
    count: u32,
    /// Since when one was forgiven last.
    since: Instant,
}

impl Recent {
    /// What is left of it at a time.
    fn at(self, now: Instant) -> Self {
        let forgiven = (now.saturating_duration_since(self.since).as_secs() / EACH.as_secs()) as u32;
        Self { count: self.count.saturating_sub(forgiven), since: self.since + EACH * forgiven }
    }
}

impl Attempts {
    pub fn new() -> Self {
        let recent = Addresses { all: HashMap::new(), pruned: Instant::now() };
        Self { recent: Mutex::new(recent), held: Semaphore::new(HELD_MAX) }
    }

    /// Takes note of a failure, and waits if there were too many. Whether it may be answered as what it is; otherwise too many
    /// wait already.
    pub async fn failed(&self, address: IpAddr) -> bool {
        if !self.note(address, Instant::now()) {
            return true;
        }
        let Ok(_permit) = self.held.try_acquire() else { return false };
        tokio::time::sleep(PENALTY).await;
        true
    }

    /// Whether there were too many.
    fn note(&self, address: IpAddr, now: Instant) -> bool {
        let mut addresses = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let Addresses { all, pruned } = &mut *addresses;
        let mut address = network(address);
        if all.len() >= ADDRESSES_MAX && !all.contains_key(&address) {
            // Not for each of them: that would be work that a stranger makes.
            if now.saturating_duration_since(*pruned) >= EACH {
                *pruned = now;
                all.retain(|_, recent| recent.at(now).count > 0);
            }
            if all.len() >= ADDRESSES_MAX {
                address = IpAddr::from([0, 0, 0, 0]);
            }
        }
        let entry = all.entry(address).or_insert(Recent { count: 0, since: now });
        *entry = entry.at(now);
        if entry.count == 0 {
            entry.since = now;
        }
        // No more than are forgiven within an hour, however many there were.
        entry.count = (entry.count + 1).min(600);
        entry.count > BURST
    }
}

/// Whoever has one IPv6 address has all of its network.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn some_failures_are_answered_at_once_and_one_more_every_six_seconds() {
        let (attempts, begin) = (Attempts::new(), Instant::now());
        let slow = |from: &str, at: u64| attempts.note(address(from), begin + Duration::from_secs(at));
        assert!((0..10).all(|_| !slow("1.2.3.4", 0)));
        assert!(slow("1.2.3.4", 0) && slow("1.2.3.4", 5));
        assert!(!slow("1.2.3.5", 5));
        // Twelve failures, of which two are forgiven.
        assert!(slow("1.2.3.4", 12));
        assert!(!slow("1.2.3.4", 24));
        assert!((0..10).all(|_| !slow("1.2.3.4", 24 * 60)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_a_mapped_address_is_what_it_stands_for() {
        let attempts = Attempts::new();
        let now = Instant::now();
        for n in 0..10 {
            assert!(!attempts.note(address(&format!("2001:db8:1:2::{n}")), now));
        }
        assert!(attempts.note(address("2001:db8:1:2:ffff::1"), now));
        assert!(!attempts.note(address("2001:db8:1:3::1"), now));
        assert_eq!(network(address("::ffff:1.2.3.4")), address("1.2.3.4"));
    }

    #[test]
    fn strangers_do_not_grow_the_memory() {
        let attempts = Attempts::new();
        let now = Instant::now();
        for n in 0..ADDRESSES_MAX as u32 + 100 {
            attempts.note(IpAddr::from((n + 0x0100_0000).to_be_bytes()), now);
        }
        assert!(attempts.recent.lock().unwrap().all.len() <= ADDRESSES_MAX + 1);
        // Those that did not fit are one, and were too many.
        assert!(attempts.note(address("9.9.9.9"), now));
        // With time there is room again.
        assert!(!attempts.note(address("9.9.9.9"), now + Duration::from_secs(3_600)));
        assert!(attempts.recent.lock().unwrap().all.len() <= 2);
    }

    #[tokio::test]
    async fn what_waits_is_limited_too() {
        let attempts = Attempts::new();
        for _ in 0..BURST {
            assert!(attempts.failed(address("1.2.3.4")).await);
        }
        let _held: Vec<_> = (0..HELD_MAX).map(|_| attempts.held.try_acquire().unwrap()).collect();
        assert!(!attempts.failed(address("1.2.3.4")).await);
        assert!(attempts.failed(address("1.2.3.5")).await);
    }
}
