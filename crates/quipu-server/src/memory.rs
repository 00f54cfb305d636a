//! The memory that requests may take, over all connections: one budget in bytes. Whatever is read from clients and not
//! yet handed to the engine is taken from it: bodies, bulk loads, heads and WebSocket frames. When it is spent, who
//! needs more waits for a moment and is refused then; nothing that is under way is thrown out.
//!
//! It counts bytes as they came. What parsing makes of them is about as large again, for as long as it takes.

use std::sync::Arc;
use std::time::Duration;

use quipu_api::{Code, Problem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is not counted: a connection costs as much anyway, and a small request should neither pay for the budget nor
/// wait because of large ones.
pub(crate) const FREE_BYTES: usize = 8 << 10;
/// Bytes are taken in multiples of this, so that a body that grows in small pieces asks seldom.
const GRAIN_BYTES: usize = 16 << 10;

/// The budget.
pub(crate) struct Memory {
    budget: Arc<Semaphore>,
    limit: usize,
    wait: Duration,
}

/// Bytes that were taken from the budget; given back when it is dropped.
#[derive(Default)]
pub(crate) struct Held(Option<OwnedSemaphorePermit>);

impl Memory {
    /// A budget of so many bytes, and how long to wait for others to give theirs back.
    pub(crate) fn new(limit: usize, wait: Duration) -> Self {
        // In whole grains, so that a body as large as the limit fits.
        let limit = limit.min(Semaphore::MAX_PERMITS - GRAIN_BYTES).next_multiple_of(GRAIN_BYTES);
        Self { budget: Arc::new(Semaphore::new(limit)), limit, wait }
    }

    /// Takes what is missing for so many bytes in all, and waits for it if need be.
    pub(crate) async fn cover(&self, held: &mut Held, bytes: usize) -> Result<(), Problem> {
        if self.try_cover(held, bytes) {
            return Ok(());
        }
        let missing = held.missing(bytes);
        let taken = tokio::time::timeout(self.wait, Arc::clone(&self.budget).acquire_many_owned(missing)).await;
        let Ok(Ok(taken)) = taken else { return Err(self.spent()) };
        held.add(taken);
        Ok(())
    }

    /// Takes what is missing for so many bytes in all, if it is there.
    pub(crate) fn try_cover(&self, held: &mut Held, bytes: usize) -> bool {
        let missing = held.missing(bytes);
        if missing == 0 {
            return true;
        }
        let taken = Arc::clone(&self.budget).try_acquire_many_owned(missing);
        taken.map(|taken| held.add(taken)).is_ok()
    }

    /// Why more cannot be read.
    pub(crate) fn spent(&self) -> Problem {
        let (limit, wait) = (self.limit, self.wait.as_millis());
        let detail = format!(
            "expected room in the {limit} bytes that requests may take in memory, found none within {wait} ms; try again"
        );
        Problem::new(Code::Overloaded, detail).with("limit", limit)
    }
}

impl Held {
    /// How many there are.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn missing(&self, bytes: usize) -> u32 {
        let held = self.bytes();
        if bytes <= FREE_BYTES || bytes <= held {
            return 0;
        }
        u32::try_from((bytes - held).next_multiple_of(GRAIN_BYTES)).unwrap_or(u32::MAX)
    }

    fn add(&mut self, taken: OwnedSemaphorePermit) {
        match &mut self.0 {
            Some(held) => held.merge(taken),
            None => self.0 = Some(taken),
        }
    }

    /// Adds what another one holds.
    pub(crate) fn join(&mut self, other: Self) {
        if let Some(taken) = other.0 {
            self.add(taken);
        }
    }

    /// Gives back what is not needed for so many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let needed = if bytes <= FREE_BYTES { 0 } else { bytes.next_multiple_of(GRAIN_BYTES) };
        match &mut self.0 {
            Some(held) if needed > 0 => drop(held.num_permits().checked_sub(needed).and_then(|rest| held.split(rest))),
            _ if needed == 0 => self.0 = None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_waits_and_is_refused() {
        let memory = Memory::new(4 * GRAIN_BYTES, Duration::from_millis(5));
        let (mut first, mut second) = (Held::default(), Held::default());
        assert_eq!(memory.cover(&mut first, 3 * GRAIN_BYTES).await, Ok(()));
        let refused = memory.cover(&mut second, 2 * GRAIN_BYTES).await.unwrap_err();
        assert_eq!((refused.code(), refused.status), (Some(Code::Overloaded), 503));
        assert_eq!(memory.cover(&mut second, FREE_BYTES).await, Ok(()), "small requests are not counted");
        drop(first);
        assert_eq!(memory.cover(&mut second, 2 * GRAIN_BYTES).await, Ok(()));
    }

    #[tokio::test]
    async fn who_waits_gets_what_others_give_back() {
        let memory = Arc::new(Memory::new(GRAIN_BYTES, Duration::from_secs(20)));
        let mut first = Held::default();
        assert!(memory.try_cover(&mut first, GRAIN_BYTES));
        let waiting = tokio::spawn({
            let memory = Arc::clone(&memory);
            async move { memory.cover(&mut Held::default(), GRAIN_BYTES).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        first.shrink(0);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[test]
    fn only_what_is_missing_is_taken_and_what_is_left_over_is_given_back() {
        let memory = Memory::new(4 * GRAIN_BYTES, Duration::ZERO);
        let mut held = Held::default();
        assert!(memory.try_cover(&mut held, GRAIN_BYTES + 1));
        assert!(memory.try_cover(&mut held, 2 * GRAIN_BYTES));
        assert_eq!(memory.budget.available_permits(), 2 * GRAIN_BYTES);
        let mut more = Held::default();
        assert!(memory.try_cover(&mut more, 2 * GRAIN_BYTES));
        held.join(more);
        assert_eq!(memory.budget.available_permits(), 0);
        held.shrink(3 * GRAIN_BYTES - 1);
        assert_eq!(memory.budget.available_permits(), GRAIN_BYTES);
        held.shrink(FREE_BYTES);
        assert_eq!(memory.budget.available_permits(), 4 * GRAIN_BYTES);
    }
}
