//! Places that are few and wanted by many who do not know of each other: webhooks on their way by endpoint, look-ups by
//! name. Whoever asks may take another place as long as it has less than an eighth of what is free then.
//!
//! So one alone gets a ninth of all, and the more there are that keep theirs, the less each gets: after twenty that took
//! all they could 45 of 512 are free still, and whoever comes takes the first of them at once. It is no guarantee: forty
//! that keep their places can fill them up. That they do not for ever is the business of timeouts and circuits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Who has one in so many of the free places gets no more. A half would let nine who come one after the other take all
/// of 512; of a sixteenth one that is alone would have too little.
const PART: usize = 8;

/// A number of places.
#[derive(Clone)]
pub(crate) struct Places(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Tells those who wait that there is one more.
    freed: Notify,
}

struct State {
    free: usize,
    /// How many each has who has any.
    taken: HashMap<Arc<str>, usize>,
}

/// One place, given back when it is dropped.
pub(crate) struct Place {
    places: Arc<Inner>,
    taker: Arc<str>,
}

impl Places {
    pub fn new(count: usize) -> Self {
        let state = State { free: count, taken: HashMap::new() };
        Self(Arc::new(Inner { state: Mutex::new(state), freed: Notify::new() }))
    }

    /// A place, if this one may have another now.
    pub fn try_take(&self, taker: &str) -> Option<Place> {
        let mut state = self.0.state();
        let (taker, own) = match state.taken.get_key_value(taker) {
            Some((taker, own)) => (Arc::clone(taker), *own),
            None => (Arc::from(taker), 0),
        };
        if own * PART >= state.free {
            return None;
        }
        state.free -= 1;
        state.taken.insert(Arc::clone(&taker), own + 1);
        Some(Place { places: Arc::clone(&self.0), taker })
    }

    /// A place, as soon as this one may have another.
    pub async fn take(&self, taker: &str) -> Place {
        loop {
            // Before the look, so that nothing is missed in between.
            let freed = self.0.freed.notified();
            if let Some(place) = self.try_take(taker) {
                return place;
            }
            freed.await;
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut state = self.places.state();
            state.free += 1;
            match state.taken.get_mut(&self.taker) {
                Some(own) if *own > 1 => *own -= 1,
                _ => _ = state.taken.remove(&self.taker),
            }
        }
        self.places.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_that(places: &Places, taker: &str, most: usize) -> Vec<Place> {
        std::iter::from_fn(|| places.try_take(taker)).take(most).collect()
    }

    #[test]
    fn one_alone_gets_a_ninth_and_what_it_gives_back_is_free_again() {
        for (count, expected) in [(512, 57), (64, 8), (1, 1)] {
            let places = Places::new(count);
            for _ in 0..3 {
                assert_eq!(all_that(&places, "a", usize::MAX).len(), expected);
            }
            assert!(places.0.state().taken.is_empty());
            assert_eq!(places.0.state().free, count);
        }
    }

    #[test]
    fn however_much_others_keep_one_that_comes_gets_a_place_at_once() {
        for (keepers, most, expected) in [(16, 32, 11), (16, usize::MAX, 8), (30, usize::MAX, 1)] {
            let places = Places::new(512);
            let kept: Vec<_> = (0..keepers).map(|n| all_that(&places, &n.to_string(), most)).collect();
            assert!(kept.iter().all(|kept| !kept.is_empty()));
            let got = all_that(&places, "late", usize::MAX).len();
            assert!(got >= expected, "{keepers} keepers with at most {most}: {got}");
        }
    }

    #[test]
    fn one_that_has_much_gets_no_more_before_one_that_has_little() {
        let places = Places::new(512);
        let kept: Vec<_> = (0..10).map(|n| all_that(&places, &n.to_string(), usize::MAX)).collect();
        assert!(places.try_take("0").is_none());
        drop(all_that(&places, "late", 1));
        assert!(places.try_take("0").is_none() && places.try_take("late").is_some());
        drop(kept);
        assert!(places.try_take("0").is_some());
    }

    #[tokio::test]
    async fn who_waits_gets_a_place_when_one_is_given_back() {
        let places = Places::new(1);
        let place = places.take("a").await;
        let mut waiting = std::pin::pin!(places.take("b"));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("there is none"),
            () = std::future::ready(()) => {}
        }
        drop(place);
        waiting.await;
    }
}
