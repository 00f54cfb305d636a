//! The records of tenants, and the fold of them: in the log of the tenant `system` only. All are JSON.

use std::collections::BTreeMap;

use quipu_domain::{Quotas, Timestamp};
use quipu_store::{Record, RecordKind};
use serde::{Deserialize, Serialize};

use super::TENANT_SYSTEM;
use crate::engine::is_tenant_name;

/// A record of a tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TenantRecord {
    /// It is being made. Whoever finds this at the end of the log undoes it: nobody was told of its key.
    Making { name: String, quotas: Quotas, time: Timestamp },
    /// It was made, found in the folder, or resumed.
    Active { name: String, time: Timestamp },
    /// Nobody is let in.
    Suspended { name: String, reason: String, time: Timestamp },
    /// Its quotas are others.
    Quotas { name: String, quotas: Quotas },
    /// It is being deleted. Whoever finds this at the end of the log goes on with it.
    Deleting { name: String, time: Timestamp },
    /// There is nothing of it any more.
    Gone { name: String },
}

/// What a tenant is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantState {
    /// Not yet there for anybody.
    Making,
    /// It is served.
    Active,
    /// Nobody is let in; its data stays.
    Suspended {
        /// Why, as whoever suspended it says.
        reason: String,
    },
    /// It goes away.
    Deleting,
}

/// A tenant as the log has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FoldedTenant {
    pub state: TenantState,
    pub made: Timestamp,
    /// Since when it is in this state.
    pub since: Timestamp,
    #[serde(default)]
    pub quotas: Quotas,
}

/// The fold of all records of tenants.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FoldedTenants {
    pub tenants: BTreeMap<String, FoldedTenant>,
}

impl TenantState {
    /// In one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Making => "making",
            Self::Active => "active",
            Self::Suspended { .. } => "suspended",
            Self::Deleting => "deleting",
        }
    }
}

/// Whether a tenant that operators have may be called so.
pub(super) fn is_name(name: &str) -> bool {
    is_tenant_name(name) && name != TENANT_SYSTEM
}

impl TenantRecord {
    fn name(&self) -> &str {
        match self {
            Self::Making { name, .. }
            | Self::Active { name, .. }
            | Self::Suspended { name, .. }
            | Self::Quotas { name, .. }
            | Self::Deleting { name, .. }
            | Self::Gone { name } => name,
        }
    }

    pub fn record(&self) -> Record {
        Record::new(RecordKind::Tenant, serde_json::to_vec(self).expect("it is plain data"))
    }
}

impl FoldedTenants {
    /// Takes a record in. Nothing if it cannot be read, or is of a name that no tenant can have: what is done to folders rests on
    /// names, and a log may come from elsewhere.
    pub fn apply(&mut self, body: &[u8]) -> Option<()> {
        let record: TenantRecord = serde_json::from_slice(body).ok()?;
        is_name(record.name()).then(|| self.take(record))
    }

    /// Takes a record in that was read or is to be written.
    pub fn take(&mut self, record: TenantRecord) {
        match record {
            TenantRecord::Making { name, quotas, time } => {
                let making = FoldedTenant { state: TenantState::Making, made: time, since: time, quotas };
                self.tenants.insert(name, making);
            }
            TenantRecord::Active { name, time } => self.enter(name, TenantState::Active, time),
            TenantRecord::Suspended { name, reason, time } => {
                self.enter(name, TenantState::Suspended { reason }, time);
            }
            TenantRecord::Quotas { name, quotas } => {
                if let Some(tenant) = self.tenants.get_mut(&name) {
                    tenant.quotas = quotas;
                }
            }
            TenantRecord::Deleting { name, time } => self.enter(name, TenantState::Deleting, time),
            TenantRecord::Gone { name } => _ = self.tenants.remove(&name),
        }
    }

    /// A tenant of which there was no record was found in the folder.
    fn enter(&mut self, name: String, state: TenantState, time: Timestamp) {
        let found = FoldedTenant { state: TenantState::Active, made: time, since: time, quotas: Quotas::default() };
        let tenant = self.tenants.entry(name).or_insert(found);
        (tenant.state, tenant.since) = (state, time);
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it is plain data")
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let folded: Self = serde_json::from_slice(bytes).ok()?;
        folded.tenants.keys().all(|name| is_name(name)).then_some(folded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fold_of_records_is_read_back() {
        let (name, quotas) = (|| "acme".to_owned(), serde_json::from_str::<Quotas>(r#"{"connections":3}"#).unwrap());
        let mut folded = FoldedTenants::default();
        for (record, state) in [
            (TenantRecord::Making { name: name(), quotas: Quotas::default(), time: Timestamp(1) }, "making"),
            (TenantRecord::Active { name: name(), time: Timestamp(2) }, "active"),
            (TenantRecord::Quotas { name: name(), quotas }, "active"),
            (TenantRecord::Active { name: "found".into(), time: Timestamp(3) }, "active"),
            (TenantRecord::Suspended { name: name(), reason: "unpaid".into(), time: Timestamp(4) }, "suspended"),
        ] {
            folded.apply(&record.record().body).unwrap();
            assert_eq!(folded.tenants["acme"].state.as_str(), state);
        }
        assert!(folded.apply(br#"{"making":{"name":"x"}}"#).is_none());
        for name in ["../acme", "", "a/b", "..", "system"] {
            let record = TenantRecord::Deleting { name: name.into(), time: Timestamp(1) };
            assert!(folded.apply(&record.record().body).is_none(), "{name}");
            let snapshot = format!(r#"{{"tenants":{{"{name}":{{"state":"deleting","made":1,"since":1}}}}}}"#);
            assert!(FoldedTenants::decode(snapshot.as_bytes()).is_none(), "{name}");
        }
        let read = FoldedTenants::decode(&folded.encode()).unwrap();
        assert_eq!(read.encode(), folded.encode());
        let acme = &read.tenants["acme"];
        assert_eq!((acme.made, acme.since, acme.quotas), (Timestamp(1), Timestamp(4), quotas));
        assert_eq!(acme.state, TenantState::Suspended { reason: "unpaid".into() });
        for (record, left) in [
            (TenantRecord::Deleting { name: name(), time: Timestamp(5) }, 2),
            (TenantRecord::Gone { name: name() }, 1),
            (TenantRecord::Gone { name: name() }, 1),
            (TenantRecord::Quotas { name: name(), quotas }, 1),
        ] {
            folded.apply(&record.record().body).unwrap();
            assert_eq!(folded.tenants.len(), left);
        }
    }
}
