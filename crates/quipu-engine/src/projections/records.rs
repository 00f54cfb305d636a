//! The records of projections, and the fold of them. All are JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::projection::Projection;
use quipu_store::{Record, RecordKind};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::verdict::{Baseline, VERDICTS_MAX, Verdict, is_of_aggregates};

/// What changed in a projection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProjectionRecord {
    pub name: String,
    pub changes: Vec<Change>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    /// It was declared anew.
    Released { release: u64, declaration: Box<Projection>, at: Timestamp },
    /// Queries are answered by this release from now on.
    Live { release: u64 },
    /// A release is not kept any more.
    Dropped { release: u64 },
    /// An event is passed over, by every release.
    Skipped { position: u64, reason: String },
    /// It was verified.
    Verified(Box<Verdict>),
    /// What it is was kept under a name.
    Baseline(Box<Baseline>),
    /// A baseline is not kept any more.
    Forgotten { baseline: String },
    /// All of it is gone.
    Removed,
}

/// A projection as the log has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FoldedProjection {
    /// The number of the newest release that there ever was.
    pub newest: u64,
    /// The release that answers queries.
    pub live: u64,
    /// The one that did before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Those that are kept: what is live, what was before it, and what is made to come after it.
    pub releases: BTreeMap<u64, FoldedRelease>,
    /// Events that are passed over, each with the reason.
    pub skipped: BTreeMap<u64, String>,
    /// What it was at some places, by name.
    #[serde(default)]
    pub baselines: BTreeMap<String, Baseline>,
    /// What verifications came to, the newest last.
    #[serde(default)]
    pub verdicts: Vec<Verdict>,
}

/// One declaration of a projection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FoldedRelease {
    #[serde(serialize_with = "write_shared", deserialize_with = "read_shared")]
    pub declaration: Arc<Projection>,
    pub at: Timestamp,
}

/// The fold of all projections, by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FoldedProjections {
    pub all: BTreeMap<String, FoldedProjection>,
    /// The number of the newest release that there ever was of any that is gone: files of it may be left.
    pub newest_gone: u64,
}

fn write_shared<S: Serializer>(declaration: &Arc<Projection>, serializer: S) -> Result<S::Ok, S::Error> {
    declaration.serialize(serializer)
}

fn read_shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Projection>, D::Error> {
    Projection::deserialize(deserializer).map(Arc::new)
}

impl ProjectionRecord {
    pub fn record(&self) -> Record {
        Record::new(RecordKind::Projection, serde_json::to_vec(self).expect("it is plain data"))
    }
}

impl FoldedProjections {
    /// Takes a record in. Nothing if it cannot be read.
    pub fn apply(&mut self, body: &[u8]) -> Option<()> {
        self.take(serde_json::from_slice(body).ok()?);
        Some(())
    }

    pub fn take(&mut self, ProjectionRecord { name, changes }: ProjectionRecord) {
        for change in changes {
            let folded = self
                .all
                .entry(name.clone())
                .or_insert_with(|| FoldedProjection { newest: self.newest_gone, ..FoldedProjection::default() });
            match change {
                Change::Released { release, declaration, at } => {
                    folded.newest = folded.newest.max(release);
                    folded.releases.insert(release, FoldedRelease { declaration: Arc::from(declaration), at });
                }
                Change::Live { release } => {
                    folded.before = (folded.live != 0).then_some(folded.live);
                    folded.live = release;
                }
                Change::Dropped { release } => _ = folded.releases.remove(&release),
                Change::Skipped { position, reason } => _ = folded.skipped.insert(position, reason),
                Change::Verified(verdict) => {
                    if folded.verdicts.len() >= VERDICTS_MAX {
                        folded.verdicts.remove(0);
                    }
                    folded.verdicts.push(*verdict);
                }
                Change::Baseline(baseline) => {
                    folded.baselines.insert(baseline.name.clone(), *baseline);
                }
                Change::Forgotten { baseline } => _ = folded.baselines.remove(&baseline),
                Change::Removed => {
                    self.newest_gone = self.newest_gone.max(folded.newest);
                    self.all.remove(&name);
                }
            }
        }
    }

    /// A projection that somebody declared.
    pub fn declared(&self, name: &str) -> Option<&FoldedProjection> {
        self.all.get(name).filter(|_| !is_of_aggregates(name))
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it is plain data")
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
