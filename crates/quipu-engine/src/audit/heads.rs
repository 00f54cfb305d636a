//! Where a tenant's log and its trail ended, in a file beside both. A hash chain shows what was changed in the middle, but not
//! that its end was cut off: that shows against the heads. Whoever keeps one elsewhere can also tell when everything was made
//! anew.

use std::fmt;
use std::sync::Arc;

use quipu_store::{Digest, Fault, OpenMode, snapshot};
use serde::{Deserialize, Serialize};

use super::act::{Actor, Ended};
use crate::tenant::Tenant;

/// The name of the file in the tenant's folder.
const FILE: &str = "heads";
/// Bytes of a log that are read at once to find a commit.
const SCAN_BYTES: usize = 256 << 10;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heads {
    /// Of its log.
    pub log: Head,
    /// Of its trail.
    pub audit: Head,
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

    /// Puts them beside the logs.
    pub(super) fn write(&self, storage: &dyn quipu_store::Storage, folder: &str) -> Result<(), Fault> {
        let text = serde_json::to_vec(self).expect("it is plain data");
        snapshot::write_whole(storage, folder, &format!("{folder}/{FILE}"), &text)
    }
}

impl Tenant {
    /// What is durable of its log.
    pub fn head(&self) -> Head {
        *self.durable_head.lock()
    }

    /// The hash after a commit, if it is there.
    fn chain_at(&self, number: u64) -> Result<Option<Digest>, Fault> {
        let mut at = self.log.seek(number);
        loop {
            let chunk = self.log.scan(at, SCAN_BYTES)?;
            let Some((_, last)) = chunk.commits.last() else { return Ok(None) };
            if last.number >= number {
                let found = chunk.commits.iter().find(|(_, commit)| commit.number == number);
                return Ok(found.map(|(_, commit)| commit.chain_after()));
            }
            at = chunk.next;
        }
    }

    /// Writes down where the logs end, if that is elsewhere than before.
    pub(super) fn write_heads(&self, trail: &Tenant) -> Result<(), Fault> {
        let mut written = self.audit.heads.lock();
        let heads = Heads { log: self.head(), audit: trail.head() };
        if *written != Some(heads) {
            heads.write(self.world.storage.as_ref(), self.folder())?;
            *written = Some(heads);
        }
        Ok(())
    }

    /// Compares the logs with the heads, before anything replaces those. Logs that lack what was there go on all the same, or
    /// nobody could do anything any more; but the trail says so from now on.
    pub(super) fn look_at_heads(&self, trail: &Arc<Tenant>) -> Result<(), Fault> {
        let mut problems = Vec::new();
        match Heads::read(self.world.storage.as_ref(), self.folder()) {
            Ok(Some(heads)) => {
                for (name, tenant, known) in [("log", self, heads.log), ("trail", trail.as_ref(), heads.audit)] {
                    if tenant.chain_at(known.commit)? != Some(known.chain) {
                        let found = tenant.head();
                        problems.push(format!(
                            "expected the {name} to go on after {known}, found that it ends with {found}"
                        ));
                    }
                }
            }
            Ok(None) if trail.position() > 0 => problems.push("expected the file heads, found none".to_owned()),
            Ok(None) => {}
            Err(Fault::Damaged { detail, .. }) => problems.push(detail),
            Err(fault) => return Err(fault),
        }
        if problems.is_empty() {
            return Ok(());
        }
        let act = self.act("audit.open", Actor { id: "server".into(), name: None }, "audit");
        trail.take_acts(&[act.ended(&Ended::failed(Some("damaged"), problems.join("; ")), self.now())])
    }
}
