//! Where a tenant's log and its trail ended, in a file beside both. A hash chain shows what was changed in the middle, but not
//! that its end was cut off: that shows against the heads. Whoever keeps one elsewhere can also tell when everything was made
//! anew.

use std::fmt;

use quipu_store::{Digest, Fault, OpenMode, snapshot};
use serde::{Deserialize, Serialize};

use super::act::{Act, Actor, Ended};
use crate::tenant::Tenant;

/// The name of the file in the tenant's folder.
pub(super) const FILE: &str = "heads";
/// Largest such file that is read, bytes.
const FILE_BYTES_MAX: u64 = 4_096;

/// A commit, and the hash chain up to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the commit.
    pub commit: u64,
    /// The hash after it.
    pub chain: Digest,
}

/// The heads of a tenant's logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /// Of its log.
    pub log: Option<Head>,
    /// Of its trail.
    pub audit: Option<Head>,
}

impl Head {
    /// A head as it is shown: the number, a colon and the hash in hexadecimal.
    ///
    /// ```
    /// let text = format!("7:{}", "00".repeat(32));
    /// assert_eq!(quipu_engine::Head::parse(&text).unwrap().to_string(), text);
    /// assert!(quipu_engine::Head::parse("7:00").is_none());
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let (commit, chain) = text.split_once(':')?;
        Some(Self { commit: commit.parse().ok()?, chain: *blake3::Hash::from_hex(chain).ok()?.as_bytes() })
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.commit, blake3::Hash::from_bytes(self.chain).to_hex())
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Head {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = || serde::de::Error::custom("expected a number, a colon and 64 hexadecimal digits");
        Self::parse(&text).ok_or_else(expected)
    }
}

impl Heads {
    /// The heads that stand beside the logs of a tenant's folder; none of one whose trail was never opened.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if the file is not what was written.
    pub fn read(storage: &dyn quipu_store::Storage, folder: &str) -> Result<Option<Self>, Fault> {
        let path = format!("{folder}/{FILE}");
        let fault = |action, e| Fault::io(action, storage.display(&path), e);
        let file = match storage.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fault("open", e)),
        };
        let mut bytes = vec![0; file.len().map_err(|e| fault("read", e))?.min(FILE_BYTES_MAX) as usize];
        let read = file.read_at(&mut bytes, 0).map_err(|e| fault("read", e))?;
        serde_json::from_slice(&bytes[..read]).map(Some).map_err(|error| Fault::Damaged {
            path: storage.display(&path),
            offset: 0,
            detail: format!("expected the heads of the logs, found {error}"),
        })
    }
}

impl Tenant {
    /// What is durable of its log.
    pub(crate) fn head(&self) -> Head {
        *self.durable_head.lock()
    }

    /// Where the logs end now.
    ///
    /// # Errors
    /// The trail cannot be opened.
    pub fn heads(&self) -> Result<Heads, Fault> {
        let trail = self.trail()?;
        Ok(Heads { log: Some(self.head()), audit: Some(trail.head()) })
    }

    /// Writes down where the logs end, if that is elsewhere than before.
    pub(super) fn write_heads(&self) -> Result<(), Fault> {
        let mut written = self.audit.heads.lock();
        let heads = self.heads()?;
        if *written != heads {
            let (storage, path) = (self.world.storage.as_ref(), format!("{}/{FILE}", self.folder()));
            let text = serde_json::to_vec(&heads).expect("it is plain data");
            snapshot::write_whole(storage, self.folder(), &path, &text)?;
            *written = heads;
        }
        Ok(())
    }

    /// Compares a trail that was opened just now with the heads. One that lacks its end goes on all the same, or nobody could
    /// do anything any more; but it says so, and the check of the folder finds it.
    pub(super) fn look_at_heads(&self, trail: &Tenant) -> Result<(), Fault> {
        let found = trail.head();
        let problem = match Heads::read(self.world.storage.as_ref(), self.folder()) {
            Ok(heads) => heads.and_then(|heads| heads.audit).and_then(|known| {
                let is_cut = known.commit > found.commit || known.commit == found.commit && known != found;
                is_cut.then(|| format!("expected the trail to end with {known} or later, found {found}"))
            }),
            Err(Fault::Damaged { detail, .. }) => Some(detail),
            Err(fault) => return Err(fault),
        };
        let Some(problem) = problem else { return Ok(()) };
        let actor = Actor { id: "server".into(), name: None };
        let act = Act {
            id: self.act_id(),
            operation: "audit.open".into(),
            actor,
            address: None,
            subject: "audit".into(),
            correlation: None,
            details: serde_json::Value::Null,
        };
        self.end_act(&act, &Ended::failed(Some("damaged"), problem))
    }
}
