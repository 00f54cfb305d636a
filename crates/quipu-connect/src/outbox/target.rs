//! Where the events of an outbox go: a server, or a folder in this process. The one seam of the relay.

/// An append that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is on disk, and its checkpoint with it.
    Recorded,
    /// Its events had been recorded before. Its checkpoint was not, then or now.
    Repeated,
}

/// Why an append was not taken, or a checkpoint not said. Nothing was written, unless it is [`NotTaken::Interrupted`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The checkpoint is this far already, or further.
    Behind,
    /// One event is refused.
    Event {
        /// Which of the append, from 0.
        index: usize,
        /// What was expected and what was found.
        reason: String,
    },
    /// It will not be taken, however often it is tried.
    Refused(String),
    /// Nobody knows whether it was written: it is to be tried again.
    Interrupted(String),
}

/// Where events go.
pub trait Target {
    /// The number that is recorded for a source; 0 if there is none.
    ///
    /// # Errors
    /// [`NotTaken::Refused`] or [`NotTaken::Interrupted`].
    fn checkpoint(&mut self, source: &str) -> Result<u64, NotTaken>;

    /// Appends events, in their order and all or nothing, and with them that the source is at this number. None is
    /// allowed: the number alone.
    ///
    /// # Errors
    /// [`NotTaken`].
    fn append(&mut self, events: &[&str], source: &str, number: u64) -> Result<Done, NotTaken>;
}
