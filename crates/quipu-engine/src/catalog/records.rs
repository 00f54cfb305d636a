//! The records of declarations, and the fold of them. All are JSON.

use std::collections::{BTreeMap, BTreeSet};

use quipu_store::{Record, RecordKind};
use serde::{Deserialize, Serialize};

/// What somebody says of an event type: who publishes and who reads it, and what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    /// The sources of events that are meant to publish it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub publishers: BTreeSet<String>,
    /// Who is meant to read it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub consumers: BTreeSet<String>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What people should know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The address of the channel that it goes over, where other systems have one for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

/// What was declared of a type; nothing any more without it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeclarationRecord {
    pub kind: String,
    pub declaration: Option<Declaration>,
}

/// The fold of all declarations, by type.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FoldedCatalog {
    pub types: BTreeMap<String, Declaration>,
}

impl Declaration {
    /// What both say; of what can be said once, what the other one says.
    pub(super) fn and(mut self, other: Self) -> Self {
        let Self { publishers, consumers, owner, description, channel } = other;
        self.publishers.extend(publishers);
        self.consumers.extend(consumers);
        self.owner = owner.or(self.owner);
        self.description = description.or(self.description);
        self.channel = channel.or(self.channel);
        self
    }

    /// What it takes in memory and in each snapshot, about.
    pub(super) fn bytes(&self) -> usize {
        let names = self.publishers.iter().chain(&self.consumers);
        let texts = [&self.owner, &self.description, &self.channel];
        256 + names.map(|name| name.len() + 32).sum::<usize>()
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

impl DeclarationRecord {
    pub fn record(&self) -> Record {
        Record::new(RecordKind::Declaration, serde_json::to_vec(self).expect("it is plain data"))
    }
}

impl FoldedCatalog {
    /// Takes a record in. Nothing if it cannot be read.
    pub fn apply(&mut self, body: &[u8]) -> Option<()> {
        self.take(serde_json::from_slice(body).ok()?);
        Some(())
    }

    pub fn take(&mut self, DeclarationRecord { kind, declaration }: DeclarationRecord) {
        match declaration {
            Some(declaration) => self.types.insert(kind, declaration),
            None => self.types.remove(&kind),
        };
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it is plain data")
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
