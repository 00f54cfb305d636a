//! The records of keys, and the fold of them. All are JSON, as grants are. Secrets are not in them: only their hashes.

use std::collections::BTreeMap;

use quipu_domain::access::Fingerprint;
use quipu_domain::{Grant, Timestamp};
use quipu_store::{Record, RecordKind};
use serde::{Deserialize, Serialize};

use super::hash::SecretHash;

/// Most secrets of a key that are good at the same time.
const SECRETS_MAX: usize = 4;

/// A record of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyRecord {
    /// It was made.
    Made { id: String, key: FoldedKey },
    /// It has a new secret; those before are good until then.
    Rotated { id: String, hash: SecretHash, time: Timestamp, until: Timestamp },
    /// It is good for nothing any more.
    Revoked { id: String },
    /// It was used, last at this time or a little before.
    Used { id: String, time: Timestamp },
}

/// A key as the log has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FoldedKey {
    pub name: String,
    pub grants: Vec<Grant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Fingerprint>,
    pub made: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The newest first; each with the time until which it is good, if there is one.
    pub secrets: Vec<FoldedSecret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Timestamp>,
}

/// The hash of a secret.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct FoldedSecret {
    pub hash: SecretHash,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// The fold of all records of keys.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FoldedKeys {
    pub keys: BTreeMap<String, FoldedKey>,
}

impl KeyRecord {
    pub fn record(&self) -> Record {
        Record::new(RecordKind::Key, serde_json::to_vec(self).expect("it is plain data"))
    }
}

impl FoldedKey {
    /// A new secret, made at a time, beside the one before, which is good until then. Others that are still good stay so: whoever
    /// rotates twice locks out nobody. None of them is good any more if the one before is not.
    pub fn rotate(&mut self, hash: SecretHash, time: Timestamp, until: Timestamp) {
        if let Some(before) = self.secrets.first_mut() {
            before.until = Some(until);
        }
        self.secrets.retain(|secret| time < until && secret.until.is_some_and(|until| time < until));
        self.secrets.insert(0, FoldedSecret { hash, until: None });
        self.secrets.truncate(SECRETS_MAX);
    }
}

impl FoldedKeys {
    /// Takes a record in. Nothing if it cannot be read.
    pub fn apply(&mut self, body: &[u8]) -> Option<()> {
        match serde_json::from_slice(body).ok()? {
            KeyRecord::Made { id, key } => _ = self.keys.insert(id, key),
            KeyRecord::Rotated { id, hash, time, until } => {
                if let Some(key) = self.keys.get_mut(&id) {
                    key.rotate(hash, time, until);
                }
            }
            KeyRecord::Revoked { id } => _ = self.keys.remove(&id),
            KeyRecord::Used { id, time } => {
                if let Some(key) = self.keys.get_mut(&id) {
                    key.used = Some(time);
                }
            }
        }
        Some(())
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it is plain data")
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(byte: u8) -> SecretHash {
        SecretHash::of(&quipu_domain::access::KeySecret::new([byte; 32]))
    }

    fn made(id: &str) -> KeyRecord {
        let grants = serde_json::from_str(r#"[{"permissions":["read"],"pattern":{"type":["a"]}}]"#).unwrap();
        let secrets = vec![FoldedSecret { hash: hash(1), until: None }];
        let (name, made) = ("a key".into(), Timestamp(7));
        let key = FoldedKey {
            name,
            grants,
            user: Some("ada".into()),
            certificate: None,
            made,
            expires: None,
            secrets,
            used: None,
        };
        KeyRecord::Made { id: id.into(), key }
    }

    #[test]
    fn the_fold_of_records_is_read_back() {
        let mut folded = FoldedKeys::default();
        for record in [
            made("1"),
            made("2"),
            KeyRecord::Rotated { id: "2".into(), hash: hash(2), time: Timestamp(8), until: Timestamp(9) },
            KeyRecord::Rotated { id: "2".into(), hash: hash(3), time: Timestamp(8), until: Timestamp(11) },
            KeyRecord::Used { id: "2".into(), time: Timestamp(8) },
            KeyRecord::Revoked { id: "1".into() },
            KeyRecord::Revoked { id: "1".into() },
        ] {
            folded.apply(&record.record().body).unwrap();
        }
        assert!(folded.apply(br#"{"made":{"id":"3"}}"#).is_none());
        let read = FoldedKeys::decode(&folded.encode()).unwrap();
        assert_eq!(read.encode(), folded.encode());
        let (id, key) = read.keys.first_key_value().unwrap();
        assert_eq!((read.keys.len(), id.as_str(), key.used), (1, "2", Some(Timestamp(8))));
        let untils: Vec<_> = key.secrets.iter().map(|secret| secret.until).collect();
        assert_eq!(untils, [None, Some(Timestamp(11)), Some(Timestamp(9))]);
        assert_eq!(key.grants[0].pattern.as_ref().unwrap().get(), r#"{"type":["a"]}"#);
    }
}
