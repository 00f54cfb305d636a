//! What an operation may ask for.

use serde::{Deserialize, Serialize};

/// What somebody may be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Permission {
    /// To publish and append events; may be narrowed by a pattern.
    Publish,
    /// To read and follow events; may be narrowed by a pattern.
    Read,
    /// To take deliveries of subscriptions and answer them; may be narrowed to some by name. What they deliver was decided
    /// by whoever made them.
    Consume,
    /// To make, change, move and delete subscriptions; may be narrowed to some by name. A subscription delivers any event, so
    /// this is to see all of them.
    Manage,
    /// To look at dead letters, redrive and discard them; may be narrowed to subscriptions by name.
    Redrive,
    /// To redrive a dead letter with other data than it had; may be narrowed to subscriptions by name.
    Edit,
    /// To have recorded events processed again.
    Replay,
    /// To see how subscriptions and the tenant are, and why they stand still; may be narrowed to subscriptions by name.
    Observe,
    /// To register, deprecate and remove schemas, and to say how events are held to them. Who proposes one sees what stored
    /// events have.
    Schema,
    /// To declare, release and remove projections, and to pass over events in them. A projection reads any event, so this is to see
    /// all of them.
    Project,
    /// To ask read models, which have of all events what their projections take from them.
    Query,
    /// To declare and remove sagas, rules, expectations and schedules. They take any event and publish others, so this is to see all of
    /// them and to publish.
    Orchestrate,
    /// To cancel, pause and resume instances of sagas, and to decide what they ask a person about.
    Intervene,
    /// To make and revoke keys, and to change secrets and settings of the tenant.
    Administer,
    /// To read the audit trail.
    Audit,
    /// To make, suspend, export and delete tenants. Only in the tenant `system`.
    Operate,
}

/// What a permission can be narrowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrowing {
    /// Events that match a pattern.
    Events,
    /// Subscriptions by their names.
    Subscriptions,
    /// It cannot.
    Nothing,
}

impl Permission {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Publish,
        Self::Read,
        Self::Consume,
        Self::Manage,
        Self::Redrive,
        Self::Edit,
        Self::Replay,
        Self::Observe,
        Self::Schema,
        Self::Project,
        Self::Query,
        Self::Orchestrate,
        Self::Intervene,
        Self::Administer,
        Self::Audit,
        Self::Operate,
    ];

    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Consume => "consume",
            Self::Manage => "manage",
            Self::Redrive => "redrive",
            Self::Edit => "edit",
            Self::Replay => "replay",
            Self::Observe => "observe",
            Self::Schema => "schema",
            Self::Project => "project",
            Self::Query => "query",
            Self::Orchestrate => "orchestrate",
            Self::Intervene => "intervene",
            Self::Administer => "administer",
            Self::Audit => "audit",
            Self::Operate => "operate",
        }
    }

    /// The permission of that word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.as_str() == text)
    }

    /// What it can be narrowed to.
    pub fn narrowing(self) -> Narrowing {
        match self {
            Self::Publish | Self::Read => Narrowing::Events,
            Self::Consume | Self::Manage | Self::Observe | Self::Redrive | Self::Edit => Narrowing::Subscriptions,
            Self::Replay
            | Self::Schema
            | Self::Project
            | Self::Query
            | Self::Orchestrate
            | Self::Intervene
            | Self::Administer
            | Self::Audit
            | Self::Operate => Narrowing::Nothing,
        }
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_json() {
        for permission in Permission::ALL {
            assert_eq!(Permission::parse(permission.as_str()), Some(*permission));
            assert_eq!(serde_json::to_string(permission).unwrap(), format!("\"{permission}\""));
        }
        assert_eq!(Permission::parse("Read"), None);
    }
}
