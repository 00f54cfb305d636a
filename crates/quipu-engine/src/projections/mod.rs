//! Which projections a tenant has, in which releases. Who keeps their read models is somebody else: all that is known here is
//! what the log says.

mod records;
mod refusal;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use quipu_domain::projection::Projection;
use quipu_domain::{REASON_BYTES_MAX, Timestamp};

use crate::subscriptions::NotDone;
use crate::tenant::Tenant;
use records::{Change, FoldedProjection};
pub(crate) use records::{FoldedProjections, ProjectionRecord};
pub use refusal::{ProjectionRefusal, WantedRelease};
use verdict::is_of_aggregates;
pub use verdict::{
    Baseline, RowVerdict, Since, TableState, TableVerdict, VERDICT_ROWS_MAX, Verdict, VerdictOutcome,
    name_of_aggregates,
};

/// Most projections of a tenant: each has files that are open, and reads the log.
const PROJECTIONS_MAX: usize = 100;
/// Most events that a projection passes over: whoever needs more has another mistake.
const SKIPPED_MAX: usize = 1_000;

/// The projections of a tenant in memory.
pub(crate) struct Projections(Mutex<FoldedProjections>);

/// A projection, with its releases.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionInfo {
    /// Its name.
    pub name: String,
    /// The release that answers queries.
    pub live: u64,
    /// The one that did before the last switch.
    pub before: Option<u64>,
    /// Those that are kept, by their numbers.
    pub releases: BTreeMap<u64, ReleaseInfo>,
    /// Events that are passed over, each with the reason.
    pub skipped: BTreeMap<u64, String>,
}

/// A release: one declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseInfo {
    /// What was declared.
    pub declaration: Arc<Projection>,
    /// When.
    pub at: Timestamp,
}

/// What became of a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// The number of its release.
    pub release: u64,
    /// Whether it is the one that answers queries.
    pub is_live: bool,
    /// Whether it was there before.
    pub is_known: bool,
}

impl Projections {
    pub fn new(folded: &FoldedProjections) -> Self {
        Self(Mutex::new(folded.clone()))
    }
}

impl ProjectionInfo {
    fn of(name: &str, folded: &FoldedProjection) -> Self {
        let releases = folded.releases.iter().map(|(number, release)| {
            (*number, ReleaseInfo { declaration: Arc::clone(&release.declaration), at: release.at })
        });
        let (releases, skipped) = (releases.collect(), folded.skipped.clone());
        Self { name: name.to_owned(), live: folded.live, before: folded.before, releases, skipped }
    }

    /// The release that is built to come after the one that is live.
    pub fn next(&self) -> Option<u64> {
        self.releases.range(self.live + 1..).next_back().map(|(number, _)| *number)
    }

    /// The release that was before the one that is live.
    pub fn previous(&self) -> Option<u64> {
        self.before.filter(|number| *number != self.live && self.releases.contains_key(number))
    }
}

impl Tenant {
    /// Declares a projection. The first release answers queries from the beginning; a further one is built beside it, in the place
    /// of another that was, until somebody switches. The same declaration as the newest one changes nothing.
    ///
    /// # Errors
    /// [`ProjectionRefusal::Invalid`] and [`ProjectionRefusal::TooMany`].
    pub fn release_projection(self: &Arc<Self>, declaration: Projection) -> Result<Released, NotDone> {
        declaration.check().map_err(ProjectionRefusal::Invalid)?;
        let name = declaration.name.clone();
        let at = self.world.clock.now();
        self.change_projections(|all| {
            let Some(folded) = all.all.get(&name) else {
                if all.all.keys().filter(|name| !is_of_aggregates(name)).count() >= PROJECTIONS_MAX {
                    return Err(ProjectionRefusal::TooMany { what: "projections of a tenant", limit: PROJECTIONS_MAX });
                }
                let release = all.newest_gone + 1;
                let changes = vec![
                    Change::Released { release, declaration: Box::new(declaration), at },
                    Change::Live { release },
                ];
                return Ok((name, changes, Released { release, is_live: true, is_known: false }));
            };
            let info = ProjectionInfo::of(&name, folded);
            let newest = info.next().unwrap_or(info.live);
            if *folded.releases[&newest].declaration == declaration {
                return Ok((
                    name,
                    Vec::new(),
                    Released { release: newest, is_live: newest == info.live, is_known: true },
                ));
            }
            let release = folded.newest + 1;
            let mut changes: Vec<Change> = info.next().map(|release| Change::Dropped { release }).into_iter().collect();
            // What is live may be wanted back as it is: then there is nothing to come after it.
            if *folded.releases[&info.live].declaration == declaration {
                return Ok((name, changes, Released { release: info.live, is_live: true, is_known: true }));
            }
            changes.push(Change::Released { release, declaration: Box::new(declaration), at });
            Ok((name, changes, Released { release, is_live: false, is_known: false }))
        })
    }

    /// Lets the release that was built beside the live one answer queries, if it is the one that is expected. What was live before is kept
    /// as the way back.
    ///
    /// # Errors
    /// [`ProjectionRefusal::NotFound`] and [`ProjectionRefusal::NoRelease`].
    pub fn switch_projection(
        self: &Arc<Self>,
        name: &str,
        to: WantedRelease,
        expected: Option<u64>,
    ) -> Result<u64, NotDone> {
        self.change_projection(name, |info| {
            let wanted = match to {
                WantedRelease::Next => info.next(),
                WantedRelease::Previous => info.previous(),
            };
            let wanted = wanted.filter(|release| expected.is_none_or(|expected| *release == expected));
            let release = wanted.ok_or_else(|| ProjectionRefusal::NoRelease { name: name.to_owned(), wanted: to })?;
            let mut changes = vec![Change::Live { release }];
            if to == WantedRelease::Next {
                // One way back is enough.
                let others = info.releases.keys().filter(|number| **number != info.live && **number != release);
                changes.extend(others.map(|release| Change::Dropped { release: *release }));
            }
            Ok((changes, release))
        })
    }

    /// Gives up the release that is built beside the live one.
    ///
    /// # Errors
    /// [`ProjectionRefusal::NotFound`] and [`ProjectionRefusal::NoRelease`].
    pub fn drop_release(self: &Arc<Self>, name: &str) -> Result<u64, NotDone> {
        self.change_projection(name, |info| {
            let wanted = WantedRelease::Next;
            let release = info.next().ok_or_else(|| ProjectionRefusal::NoRelease { name: name.to_owned(), wanted })?;
            Ok((vec![Change::Dropped { release }], release))
        })
    }

    /// Passes over an event from now on, in every release and whenever one is built.
    ///
    /// # Errors
    /// [`ProjectionRefusal`].
    pub fn skip_in_projection(self: &Arc<Self>, name: &str, position: u64, reason: &str) -> Result<(), NotDone> {
        if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX {
            return Err(ProjectionRefusal::InvalidReason { limit: REASON_BYTES_MAX }.into());
        }
        if position == 0 || position > self.position() {
            return Err(ProjectionRefusal::NoEvent { position }.into());
        }
        self.change_projection(name, |info| {
            if info.skipped.len() >= SKIPPED_MAX {
                return Err(ProjectionRefusal::TooMany { what: "skipped events of a projection", limit: SKIPPED_MAX });
            }
            Ok((vec![Change::Skipped { position, reason: reason.to_owned() }], ()))
        })
    }

    /// Forgets a projection.
    ///
    /// # Errors
    /// [`ProjectionRefusal::NotFound`].
    pub fn remove_projection(self: &Arc<Self>, name: &str) -> Result<(), NotDone> {
        self.change_projection(name, |_| Ok((vec![Change::Removed], ())))
    }

    /// The events that a projection passes over, each with the reason: asked for with each batch, so without the rest of it.
    pub fn skipped_in_projection(&self, name: &str) -> BTreeMap<u64, String> {
        self.projections.0.lock().all.get(name).map(|folded| folded.skipped.clone()).unwrap_or_default()
    }

    /// The projection of this name.
    pub fn projection(&self, name: &str) -> Option<ProjectionInfo> {
        self.projections.0.lock().declared(name).map(|folded| ProjectionInfo::of(name, folded))
    }

    /// All projections, by their names.
    pub fn projections(&self) -> Vec<ProjectionInfo> {
        let all = self.projections.0.lock();
        let declared = all.all.iter().filter(|(name, _)| !is_of_aggregates(name));
        declared.map(|(name, folded)| ProjectionInfo::of(name, folded)).collect()
    }

    fn change_projection<T>(
        self: &Arc<Self>,
        name: &str,
        change: impl FnOnce(&ProjectionInfo) -> Result<(Vec<Change>, T), ProjectionRefusal>,
    ) -> Result<T, NotDone> {
        self.change_projections(|all| {
            let folded = all
                .declared(name)
                .ok_or_else(|| ProjectionRefusal::NotFound { name: name.chars().take(300).collect() })?;
            let (changes, done) = change(&ProjectionInfo::of(name, folded))?;
            Ok((name.to_owned(), changes, done))
        })
    }

    /// One after the other: what is decided rests on what was written before.
    fn change_projections<T>(
        self: &Arc<Self>,
        decide: impl FnOnce(&FoldedProjections) -> Result<(String, Vec<Change>, T), ProjectionRefusal>,
    ) -> Result<T, NotDone> {
        let mut all = self.projections.0.lock();
        let (name, changes, done) = decide(&all)?;
        if !changes.is_empty() {
            let record = ProjectionRecord { name, changes };
            self.write_records_wait(vec![record.record()])?;
            all.take(record);
        }
        Ok(done)
    }
}
