//! The log commit by commit, from one that somebody knows on: for those whose place must be of this very log, and not of one
//! that was restored in its stead. The chain is computed from what is read, so what was tampered with does not go on.

use std::sync::Arc;

use quipu_store::{Digest, Fault, FramedCommit, Locator, Log, RecordKind};

use crate::audit::Head;
use crate::read::Recorded;
use crate::tenant::Tenant;

/// Before the first commit of any log.
const BEGINNING: Digest = [0; 32];

const BEGINS_OTHERWISE: &str = "the log does not begin with the commit that it began with; check the store";

/// A place between two commits.
pub(crate) struct Walk {
    head: Head,
    /// Where the next commit is, or some before it.
    at: Locator,
}

/// Commits in order, as long as the log goes on where the walk is.
pub(crate) enum Stretch {
    /// The next commits, at least one.
    Commits(Vec<FramedCommit>),
    /// There are no more up to the end that was given.
    End,
    /// The commit after this one is not of a log that goes on there.
    Apart,
}

impl Walk {
    /// A walk from behind a commit.
    pub fn from(log: &dyn Log, head: Head) -> Self {
        Self { head, at: log.seek(head.commit + 1) }
    }

    /// How far it is: behind this commit.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The next commits up to `end`, about `bytes_max` bytes of them.
    pub fn next(&mut self, log: &dyn Log, end: Head, bytes_max: usize) -> Result<Stretch, Fault> {
        let mut walked = Vec::new();
        while walked.is_empty() {
            if self.head.commit >= end.commit {
                return Ok(if self.head == end { Stretch::End } else { Stretch::Apart });
            }
            let chunk = log.scan(self.at, bytes_max)?;
            if chunk.commits.is_empty() {
                return Ok(Stretch::Apart);
            }
            self.at = chunk.next;
            for (at, commit) in chunk.commits {
                // What is behind the end comes another time: it may not be durable yet.
                if commit.number > end.commit {
                    self.at = at;
                    break;
                }
                // A place to scan from is at the commit or some before.
                if commit.number <= self.head.commit {
                    continue;
                }
                if commit.number != self.head.commit + 1 || commit.chain_before != self.head.chain {
                    // What comes before it is of this log all the same, and is given first.
                    return Ok(if walked.is_empty() { Stretch::Apart } else { Stretch::Commits(walked) });
                }
                self.head = Head { commit: commit.number, chain: commit.chain_after() };
                walked.push(commit);
            }
        }
        Ok(Stretch::Commits(walked))
    }
}

/// Reads a tenant's log from a commit on, each commit as a whole.
pub struct CommitFollower {
    tenant: Arc<Tenant>,
    walk: Walk,
    last: Last,
}

/// The last commit that was read: the next one says whether it is the one that was written.
#[derive(Clone, Copy)]
struct Last {
    /// The place before it.
    before: Head,
    /// The position there.
    position: u64,
    /// How many events it has.
    events: u64,
}

/// A log that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tampered {
    /// The last place where it was.
    pub sound: Head,
    /// The position there.
    pub position: u64,
    /// What does not fit.
    pub problem: String,
}

/// One commit, as a follower of commits sees it.
#[derive(Debug)]
pub struct FollowedCommit {
    /// The place behind it.
    pub head: Head,
    /// Its events; none if it has only system records.
    pub events: Vec<Recorded>,
}

/// What a follower of commits finds.
#[derive(Debug)]
pub enum Followed {
    /// The next commits, at least one.
    Commits(Vec<FollowedCommit>),
    /// It has seen everything up to the end.
    End,
    /// The log does not go on where the follower is: it is another, or an end of it was lost, or it was tampered with.
    Apart,
}

impl Head {
    /// Before the first commit of any log.
    pub const START: Self = Self { commit: 0, chain: BEGINNING };
}

impl Tenant {
    /// Follows the log from behind a commit.
    pub fn follow_commits(self: &Arc<Self>, from: Head) -> CommitFollower {
        let last = Last { before: from, position: 0, events: 0 };
        CommitFollower { tenant: Arc::clone(self), walk: Walk::from(self.log.as_ref(), from), last }
    }
}

impl CommitFollower {
    /// Behind the last commit that was given.
    pub fn head(&self) -> Head {
        self.walk.head()
    }

    /// The next commits up to `end`, which is [`Tenant::head`] of now or earlier, about `bytes_max` bytes of them.
    ///
    /// # Errors
    /// [`Fault::Damaged`] and [`Fault::Io`].
    pub fn next(&mut self, end: Head, bytes_max: usize) -> Result<Followed, Fault> {
        let at = self.head();
        Ok(match self.walk.next(self.tenant.log.as_ref(), end, bytes_max)? {
            Stretch::Commits(commits) => Followed::Commits(self.follow(at, commits)),
            Stretch::End => Followed::End,
            Stretch::Apart => Followed::Apart,
        })
    }

    /// What is wrong where the log does not go on to `end` from here, if it was followed from its beginning: the last commit that was
    /// read is not the one that it goes on from.
    pub fn tampered(&self, end: Head) -> Tampered {
        let Last { before, position, events } = self.last;
        let read = self.head();
        let what = match (read.commit, events) {
            (0, _) => return Tampered { sound: before, position, problem: BEGINS_OTHERWISE.into() },
            (commit, 0) => format!("commit {commit}, which has no events,"),
            (commit, 1) => format!("commit {commit}, with the event at position {},", position + 1),
            (commit, events) => {
                format!("commit {commit}, with the events at positions {} to {},", position + 1, position + events)
            }
        };
        let behind = match read.commit < end.commit {
            true => format!("commit {} was written behind it", read.commit + 1),
            false => format!("it was the end of the log, {end}"),
        };
        let problem = format!(
            "{what} is not the one that was there when {behind}: its bytes or its order were changed; check the store"
        );
        Tampered { sound: before, position, problem }
    }

    fn follow(&mut self, at: Head, commits: Vec<FramedCommit>) -> Vec<FollowedCommit> {
        let chains: Vec<Digest> = commits.iter().skip(1).map(|commit| commit.chain_before).collect();
        let last = self.walk.head();
        let heads = commits.iter().zip(chains.into_iter().chain([last.chain]));
        let heads: Vec<Head> = heads.map(|(commit, chain)| Head { commit: commit.number, chain }).collect();
        if let Some(last) = commits.last() {
            let before = heads.len().checked_sub(2).map_or(at, |index| heads[index]);
            let events = last.records.iter().filter(|record| record.kind == RecordKind::Event).count() as u64;
            self.last = Last { before, position: last.first_position.saturating_sub(1), events };
        }
        let followed = heads.into_iter().zip(commits).map(|(head, commit)| {
            let (first, time) = (commit.first_position, commit.recorded_time);
            let events = commit.records.into_iter().filter(|record| record.kind == RecordKind::Event);
            let events = (first..).zip(events).map(|(position, record)| Recorded::of_record(position, time, record));
            FollowedCommit { head, events: events.collect() }
        });
        followed.collect()
    }
}
