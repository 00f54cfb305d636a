//! Places that are few and wanted by many who do not know of each other: webhooks on their way by endpoint, look-ups by
//! name. Whoever asks may take another place as long as it has less than an eighth of what is free then; of those that wait
//! the first that may gets the next.
//!
//! So one alone gets a ninth of all, and the more there are that keep theirs, the less each gets: after twenty that took
//! all they could 45 of 512 are free still, and whoever comes takes the first of them at once. It is no guarantee: forty
//! that keep their places can fill them up. That they do not for ever is the business of timeouts and circuits.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Who has one in so many of the free places gets no more. A half would let nine who come one after the other take all
/// of 512; of a sixteenth one that is alone would have too little.
const PART: usize = 8;

/// A number of places.
#[derive(Clone)]
pub(crate) struct Places(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// How many each has who has any.
    taken: HashMap<Arc<str>, usize>,
    /// Those who may have none now, in the order in which they came.
    waiting: VecDeque<Waiting>,
}

/// Somebody who gets a place when he may.
struct Waiting {
    taker: Arc<str>,
    place: oneshot::Sender<Place>,
}

/// One place, given back when it is dropped.
pub(crate) struct Place {
    places: Arc<Inner>,
    taker: Arc<str>,
}

impl Places {
    pub fn new(count: usize) -> Self {
        let state = State { free: count, taken: HashMap::new(), waiting: VecDeque::new() };
        Self(Arc::new(Inner { state: Mutex::new(state) }))
    }

    /// Whether this one may have another place now.
    pub fn may_take(&self, taker: &str) -> bool {
        self.0.state().may_take(taker)
    }

    /// A place, if this one may have another now.
    pub fn try_take(&self, taker: &str) -> Option<Place> {
        let mut state = self.0.state();
        state.may_take(taker).then(|| self.0.take(&mut state, &Arc::from(taker)))
    }

    /// A place, as soon as this one may have another.
    pub async fn take(&self, taker: &str) -> Place {
        let given = {
            let mut state = self.0.state();
            if state.may_take(taker) {
                return self.0.take(&mut state, &Arc::from(taker));
            }
            state.forget_who_left();
            let (place, given) = oneshot::channel();
            state.waiting.push_back(Waiting { taker: Arc::from(taker), place });
            given
        };
        given.await.expect("who waits is forgotten only when nobody waits any more")
    }
}

impl State {
    fn may_take(&self, taker: &str) -> bool {
        self.taken.get(taker).map_or(0, |own| own * PART) < self.free
    }

    fn forget_who_left(&mut self) {
        self.waiting.retain(|waiting| !waiting.place.is_closed());
    }

    /// The first of those that wait who may have a place now.
    fn next(&mut self) -> Option<Waiting> {
        let at = self.waiting.iter().position(|waiting| self.may_take(&waiting.taker))?;
        self.waiting.remove(at)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, state: &mut State, taker: &Arc<str>) -> Place {
        state.free -= 1;
        *state.taken.entry(Arc::clone(taker)).or_default() += 1;
        Place { places: Arc::clone(self), taker: Arc::clone(taker) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut given = Vec::new();
        {
            let mut state = self.places.state();
            state.free += 1;
            match state.taken.get_mut(&self.taker) {
                Some(own) if *own > 1 => *own -= 1,
                _ => _ = state.taken.remove(&self.taker),
            }
            state.forget_who_left();
            while let Some(Waiting { taker, place }) = state.next() {
                given.push((place, self.places.take(&mut state, &taker)));
            }
        }
        // Unlocked: one whose waiter has left by now comes back here at once.
        given.into_iter().for_each(|(waiting, place)| drop(waiting.send(place)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

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

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_place_that_is_given_back_goes_to_who_came_first_and_nobody_else_is_woken() {
        let places = Places::new(1);
        let place = places.try_take("a").unwrap();
        let mut waiting: Vec<_> = ["b", "c", "d"].map(|taker| Box::pin(places.take(taker))).into_iter().collect();
        let woken: Vec<Arc<Woken>> = waiting.iter().map(|_| Arc::default()).collect();
        for (waits, woken) in waiting.iter_mut().zip(&woken) {
            assert!(waits.as_mut().poll(&mut Context::from_waker(&Arc::clone(woken).into())).is_pending());
        }
        // The first does not wait any more.
        drop(waiting.remove(0));
        drop(place);
        let counts: Vec<usize> = woken.iter().map(|woken| woken.0.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [0, 1, 0]);
        assert!(places.try_take("e").is_none(), "it is taken already");
        // Given, and not fetched.
        drop(waiting.remove(0));
        assert!(waiting[0].as_mut().poll(&mut Context::from_waker(&Arc::clone(&woken[2]).into())).is_ready());
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
