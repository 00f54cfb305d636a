//! What a tenant may use of what all tenants share.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// Limits of a tenant; what is not said is not limited, or limited by what the server says for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Quotas {
    /// Events a second that are sent to be recorded, whatever becomes of them; as many at once.
    #[serde(rename = "eventspersecond", default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<NonZeroU64>,
    /// Bytes a second of such events, as they were sent; as many at once.
    #[serde(rename = "bytespersecond", default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<NonZeroU64>,
    /// Subscriptions. Those that are there stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<NonZeroU64>,
    /// Requests that are under way at the same time, open tails, long polls and WebSockets among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<NonZeroU64>,
    /// Bytes of the log. With as many no events are taken; reads and deliveries go on.
    #[serde(rename = "storagebytes", default, skip_serializing_if = "Option::is_none")]
    pub storage_bytes: Option<NonZeroU64>,
}

impl Quotas {
    /// These, and where they say nothing what others say.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            events_per_second: self.events_per_second.or(others.events_per_second),
            bytes_per_second: self.bytes_per_second.or(others.bytes_per_second),
            subscriptions: self.subscriptions.or(others.subscriptions),
            connections: self.connections.or(others.connections),
            storage_bytes: self.storage_bytes.or(others.storage_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_own_quota_goes_before_that_of_all() {
        let of = |text: &str| serde_json::from_str::<Quotas>(text).unwrap();
        let own = of(r#"{"eventspersecond":5,"connections":1}"#);
        let all = of(r#"{"eventspersecond":9,"bytespersecond":8,"subscriptions":7,"storagebytes":6}"#);
        let both = r#"{"eventspersecond":5,"bytespersecond":8,"subscriptions":7,"connections":1,"storagebytes":6}"#;
        assert_eq!(own.or(all), of(both));
        assert_eq!(serde_json::to_string(&own.or(all)).unwrap(), both);
        assert_eq!(serde_json::to_string(&Quotas::default()).unwrap(), "{}");
    }

    #[test]
    fn a_quota_of_nothing_and_an_unknown_one_are_refused() {
        for text in
            [r#"{"eventspersecond":0}"#, r#"{"connections":-1}"#, r#"{"retention":1}"#, r#"{"storagebytes":1.5}"#]
        {
            assert!(serde_json::from_str::<Quotas>(text).is_err(), "{text}");
        }
    }
}
