//! What a verification of a projection came to, and the baselines that one may be held against. Both are in the log: whoever audits
//! asks for them later, and nobody changes them.

use std::sync::Arc;

use quipu_domain::{Timestamp, is_subscription_name};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ProjectionRefusal;
use super::records::{Change, FoldedProjection, FoldedProjections, ProjectionRecord};
use crate::audit::Head;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// Most verdicts that are kept of a projection: the newest.
pub(super) const VERDICTS_MAX: usize = 100;
/// Most baselines of a projection.
const BASELINES_MAX: usize = 100;
/// Most rows that a verdict names.
pub const VERDICT_ROWS_MAX: usize = 20;
/// Most bytes of them: what goes over is only counted.
const ROWS_BYTES_MAX: usize = 32 << 10;
/// Longest text of what is wrong, characters.
const PROBLEM_CHARS_MAX: usize = 2_048;

/// What stands before the name of a kind of aggregates, whose verdicts are kept as those of projections are. No projection's name
/// has a colon.
const AGGREGATES: &str = "aggregates:";

/// The name that the verdicts and baselines of a kind of aggregates are kept under: `aggregates:order`.
pub fn name_of_aggregates(kind: &str) -> String {
    format!("{AGGREGATES}{kind}")
}

/// Whether this is the name of a kind of aggregates, and not of a projection.
pub(super) fn is_of_aggregates(name: &str) -> bool {
    name.starts_with(AGGREGATES)
}

/// What a table was, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState {
    /// Its name.
    pub table: String,
    /// How many rows it had.
    pub rows: u64,
    /// BLAKE3 of its rows in the order of its key, hexadecimal.
    pub digest: String,
}

/// What a read model was at a place in the log, under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Its name.
    pub name: String,
    /// When it was taken.
    pub at: Timestamp,
    /// Who asked for it.
    pub by: String,
    /// The release it was taken of; 0 of aggregates.
    pub release: u64,
    /// BLAKE3 of what was declared, hexadecimal; of aggregates, of what is known of their code.
    pub declaration: String,
    /// The place in the log.
    pub head: Head,
    /// The last position before that.
    pub position: u64,
    /// The tables.
    pub tables: Vec<TableState>,
}

/// What a verification came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// 1, 2, 3 …
    pub number: u64,
    /// When it was asked for.
    pub asked: Timestamp,
    /// When it was found.
    pub found: Timestamp,
    /// Who asked.
    pub by: String,
    /// The live release; 0 of aggregates.
    pub release: u64,
    /// BLAKE3 of what was declared, hexadecimal; of aggregates, of what is known of their code.
    pub declaration: String,
    /// What it was held against; nothing for the live read model.
    pub baseline: Option<String>,
    /// Where the log was read from.
    pub from: Head,
    /// Up to where it was read, and was what was written.
    pub to: Head,
    /// The last position before that.
    pub position: u64,
    /// In a word.
    pub outcome: VerdictOutcome,
    /// What is wrong, where there is more to say.
    pub problem: Option<String>,
    /// The tables, as they were and as they were rebuilt.
    pub tables: Vec<TableVerdict>,
    /// The first rows that differ.
    pub rows: Vec<RowVerdict>,
}

/// What a verification came to, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerdictOutcome {
    /// The log gives what is there.
    Equal,
    /// It gives something else.
    Differs,
    /// It is not what was written.
    Tampered,
    /// An event of it cannot be taken in.
    Stopped,
}

/// A table, as it was and as it was rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableVerdict {
    /// Its name.
    pub table: String,
    /// As it was; nothing if it was not there.
    pub kept: Option<TableState>,
    /// As it was rebuilt.
    pub rebuilt: Option<TableState>,
    /// How many rows differ; nothing where only digests are known.
    pub differing: Option<u64>,
}

/// A row that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowVerdict {
    /// Its table.
    pub table: String,
    /// What tells it from others.
    pub key: Map<String, Value>,
    /// What was there in the columns that differ; nothing without such a row.
    pub kept: Option<Map<String, Value>>,
    /// What was rebuilt there.
    pub rebuilt: Option<Map<String, Value>>,
    /// The last event that changed it while it was rebuilt; nothing if none did.
    pub since: Option<Since>,
}

/// An event that changed a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// Its position.
    pub position: u64,
    /// Its type.
    pub kind: String,
}

impl Verdict {
    /// So that no row and no text makes it as large as it likes.
    fn limited(mut self) -> Self {
        let mut bytes = 0;
        self.rows.truncate(VERDICT_ROWS_MAX);
        self.rows.retain(|row| {
            let more = serde_json::to_vec(row).map_or(ROWS_BYTES_MAX, |json| json.len());
            let fits = bytes + more <= ROWS_BYTES_MAX;
            bytes += if fits { more } else { 0 };
            fits
        });
        self.problem = self.problem.map(|text| text.chars().take(PROBLEM_CHARS_MAX).collect());
        self
    }
}

impl Tenant {
    /// Keeps what a verification came to, and gives it its number. Of many the newest 100 are kept.
    ///
    /// # Errors
    /// [`ProjectionRefusal::NotFound`].
    pub fn keep_verdict(self: &Arc<Self>, name: &str, verdict: Verdict) -> Result<Verdict, NotDone> {
        self.change_folded(name, |folded| {
            let number = folded.verdicts.last().map_or(0, |verdict| verdict.number) + 1;
            let verdict = Verdict { number, found: self.now(), ..verdict }.limited();
            Ok((Change::Verified(Box::new(verdict.clone())), verdict))
        })
    }

    /// Keeps what a read model was under a name.
    ///
    /// # Errors
    /// [`ProjectionRefusal`].
    pub fn keep_baseline(self: &Arc<Self>, name: &str, baseline: Baseline) -> Result<(), NotDone> {
        self.change_folded(name, |folded| {
            folded.takes_baseline(&baseline.name)?;
            Ok((Change::Baseline(Box::new(baseline)), ()))
        })
    }

    /// Whether a baseline of this name could be kept.
    ///
    /// # Errors
    /// [`ProjectionRefusal`].
    pub fn check_baseline(&self, name: &str, baseline: &str) -> Result<(), NotDone> {
        let all = self.projections.0.lock();
        match all.folded(name) {
            Err(_) if is_of_aggregates(name) => Ok(FoldedProjection::default().takes_baseline(baseline)?),
            folded => Ok(folded?.takes_baseline(baseline)?),
        }
    }

    /// Forgets a baseline.
    ///
    /// # Errors
    /// [`ProjectionRefusal::NotFound`] and [`ProjectionRefusal::NoBaseline`].
    pub fn remove_baseline(self: &Arc<Self>, name: &str, baseline: &str) -> Result<(), NotDone> {
        self.change_folded(name, |folded| {
            folded.baseline(baseline)?;
            Ok((Change::Forgotten { baseline: baseline.to_owned() }, ()))
        })
    }

    /// A baseline of a projection.
    ///
    /// # Errors
    /// [`ProjectionRefusal::NotFound`] and [`ProjectionRefusal::NoBaseline`].
    pub fn baseline(&self, name: &str, baseline: &str) -> Result<Baseline, NotDone> {
        let all = self.projections.0.lock();
        Ok(all.folded(name)?.baseline(baseline)?.clone())
    }

    /// The baselines of a projection, by their names.
    ///
    /// # Errors
    /// [`ProjectionRefusal::NotFound`].
    pub fn baselines(&self, name: &str) -> Result<Vec<Baseline>, NotDone> {
        let all = self.projections.0.lock();
        Ok(all.folded(name)?.baselines.values().cloned().collect())
    }

    /// What verifications of a projection came to, the newest first.
    ///
    /// # Errors
    /// [`ProjectionRefusal::NotFound`].
    pub fn verdicts(&self, name: &str) -> Result<Vec<Verdict>, NotDone> {
        let all = self.projections.0.lock();
        Ok(all.folded(name)?.verdicts.iter().rev().cloned().collect())
    }

    fn change_folded<T>(
        self: &Arc<Self>,
        name: &str,
        change: impl FnOnce(&FoldedProjection) -> Result<(Change, T), ProjectionRefusal>,
    ) -> Result<T, NotDone> {
        let mut all = self.projections.0.lock();
        let (change, done) = match all.folded(name) {
            // Nobody declares them: the first thing that is kept of them is the first that is known.
            Err(_) if is_of_aggregates(name) => change(&FoldedProjection::default())?,
            folded => change(folded?)?,
        };
        let record = ProjectionRecord { name: name.to_owned(), changes: vec![change] };
        self.write_records_wait(vec![record.record()])?;
        all.take(record);
        Ok(done)
    }
}

impl FoldedProjections {
    fn folded(&self, name: &str) -> Result<&FoldedProjection, ProjectionRefusal> {
        self.all.get(name).ok_or_else(|| ProjectionRefusal::NotFound { name: name.chars().take(300).collect() })
    }
}

impl FoldedProjection {
    fn baseline(&self, name: &str) -> Result<&Baseline, ProjectionRefusal> {
        self.baselines.get(name).ok_or_else(|| ProjectionRefusal::NoBaseline { name: name.chars().take(300).collect() })
    }

    fn takes_baseline(&self, name: &str) -> Result<(), ProjectionRefusal> {
        if !is_subscription_name(name) {
            return Err(ProjectionRefusal::InvalidBaseline { name: name.chars().take(64).collect() });
        }
        if self.baselines.contains_key(name) {
            return Err(ProjectionRefusal::BaselineExists { name: name.to_owned() });
        }
        if self.baselines.len() >= BASELINES_MAX {
            return Err(ProjectionRefusal::TooMany { what: "baselines of a projection", limit: BASELINES_MAX });
        }
        Ok(())
    }
}
