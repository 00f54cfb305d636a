//! The keys of one provider as they were got last. Whoever finds them old has newer ones got beside his request; who needs a
//! key that is not among them waits for that, and however many ask, a provider is asked once in [`EACH_MS`].
//!
//! While a provider cannot be reached its keys stay good for [`GOOD_MS`]; after that none of its tokens is.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use quipu_domain::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::fetch::{Fetcher, Source};
use super::jwk::{Jwk, Jwks};

/// How old keys may be before newer ones are asked for: a key that the provider has taken back is good for so long.
const FRESH_MS: i64 = 10 * 60 * 1_000;
/// How old they may be at most: an outage of a night's part, and no more than a thief may use a key that was taken back.
const GOOD_MS: i64 = 6 * 60 * 60 * 1_000;
/// How often a provider is asked at most.
const EACH_MS: i64 = 10 * 1_000;

/// The keys of one provider.
pub(super) struct Keyring {
    source: Source,
    fetcher: Fetcher,
    /// Where asking goes on: those who find keys old are on any thread.
    runtime: Handle,
    /// The keys and when they were got.
    known: RwLock<Option<(Arc<Jwks>, Timestamp)>>,
    asking: Mutex<Asking>,
    /// Counts how often the provider was asked.
    asked: watch::Sender<u64>,
}

#[derive(Default)]
struct Asking {
    is_under_way: bool,
    last: Option<Timestamp>,
}

impl Keyring {
    /// Within a runtime, in which the provider is asked.
    pub fn new(source: Source, fetcher: Fetcher) -> Arc<Self> {
        let runtime = Handle::current();
        let (known, asking, (asked, _)) = (RwLock::default(), Mutex::default(), watch::channel(0));
        Arc::new(Self { source, fetcher, runtime, known, asking, asked })
    }

    /// The keys, if they are not too old; where they are old, newer ones are asked for.
    pub fn current(self: &Arc<Self>, now: Timestamp) -> Option<Arc<Jwks>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        let age_ms = known.as_ref().map(|(_, got)| age_ms(*got, now));
        if !age_ms.is_some_and(|age| (0..FRESH_MS).contains(&age)) {
            self.ask(now);
        }
        // A clock that was set back makes them no older than one that was set forward.
        known.filter(|_| age_ms.is_some_and(|age| age.abs() < GOOD_MS)).map(|(keys, _)| keys)
    }

    /// Waits until the provider was asked once more, if it may be by now.
    pub async fn renewed(self: &Arc<Self>, now: Timestamp) {
        let mut asked = self.asked.subscribe();
        if self.ask(now) {
            // The sender is ours, and asking has a time limit.
            let _ = asked.changed().await;
        }
    }

    /// Whether a key is still the provider's.
    pub fn has(self: &Arc<Self>, key: &Arc<Jwk>, now: Timestamp) -> bool {
        self.current(now).is_some_and(|keys| keys.has(key))
    }

    /// Has newer keys got; whether that is under way.
    fn ask(self: &Arc<Self>, now: Timestamp) -> bool {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if asking.is_under_way {
            return true;
        }
        if asking.last.is_some_and(|last| (0..EACH_MS).contains(&age_ms(last, now))) {
            return false;
        }
        *asking = Asking { is_under_way: true, last: Some(now) };
        let this = Arc::clone(self);
        // On its own, since whoever asks may go away.
        self.runtime.spawn(async move {
            let asked = Asked(this);
            asked.0.get(now).await;
        });
        true
    }

    async fn get(&self, now: Timestamp) {
        match self.fetcher.jwks(&self.source).await {
            Ok(keys) => {
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some((Arc::new(keys), now));
            }
            Err(error) => {
                tracing::warn!(issuer = self.source.issuer, error, "the keys of an identity provider cannot be got");
            }
        }
    }
}

/// The end of asking, also of one that fails in a way that nobody thought of: else nobody would ask again.
struct Asked(Arc<Keyring>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.asking.lock().unwrap_or_else(PoisonError::into_inner).is_under_way = false;
        self.0.asked.send_modify(|count| *count += 1);
    }
}

fn age_ms(since: Timestamp, now: Timestamp) -> i64 {
    now.0.saturating_sub(since.0) / 1_000
}
