//! `quipu schema rules`: shows what a type is held to, or changes what is named and leaves the rest. The server replaces rules as
//! a whole, so they are read first; of two people who change them at the same time the later one wins.

use clap::Args;
use quipu_api::schema::SchemaTypeAnswer;
use quipu_domain::schema::compatibility::Level;
use quipu_domain::schema::{Enforcement, SchemaRules, UnknownTypes};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::client::{Client, Query, encode};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Format, Out, text};

const HEADER: [&str; 4] = ["RULE", "TYPE", "TENANT", "IN FORCE"];

#[derive(Debug, Args)]
pub struct Rules {
    /// The type, without a version [default: the rules of the tenant, for every type that has none of its own]
    #[arg(value_name = "TYPE")]
    kind: Option<String>,
    /// What a new version may change: none, backward, forward or full, or one of these with -transitive; or default
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    compatibility: Option<Own<Level>>,
    /// What becomes of data that breaks its schema: off, warn or enforce; or default
    #[arg(long, value_name = "WORD", value_parser = enforcement)]
    enforcement: Option<Own<Enforcement>>,
    /// What becomes of events that have no schema: allow, warn or refuse; or default
    #[arg(long, value_name = "WORD", value_parser = unknown)]
    unknown: Option<Own<UnknownTypes>>,
}

/// A rule, or none of one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Own<T>(Option<T>);

impl Rules {
    fn is_change(&self) -> bool {
        self.compatibility.is_some() || self.enforcement.is_some() || self.unknown.is_some()
    }

    /// These, and what was there before where none was given.
    fn over(&self, before: SchemaRules) -> SchemaRules {
        SchemaRules {
            compatibility: self.compatibility.map_or(before.compatibility, |Own(own)| own),
            enforcement: self.enforcement.map_or(before.enforcement, |Own(own)| own),
            unknown: self.unknown.map_or(before.unknown, |Own(own)| own),
        }
    }
}

pub fn run(rules: &Rules, client: &Client, out: &mut Out) -> Outcome {
    let of_tenant: SchemaRules = client.parsed("/v1/schemarules", &Query::new())?;
    let mut now = rules.kind.as_ref().map_or(Ok(of_tenant), |kind| of_type(kind, client))?;
    if rules.is_change() {
        let path = match &rules.kind {
            Some(kind) => format!("/v1/schemas/{}/rules", encode(kind)),
            None => "/v1/schemarules".to_owned(),
        };
        now = client.parse(&client.put(&path, &rules.over(now))?)?;
    }
    let (own, tenant) = if rules.kind.is_some() { (Some(now), of_tenant) } else { (None, now) };
    match out.format {
        Format::Json | Format::Ndjson => out.document(&now)?,
        Format::Table => out.table(&HEADER, &rows(own, tenant))?,
    }
    Ok(Exit::Ok)
}

/// A type that nobody has said anything of has no rules of its own.
fn of_type(kind: &str, client: &Client) -> Result<SchemaRules, Failure> {
    match client.parsed::<SchemaTypeAnswer>(&format!("/v1/schemas/{}", encode(kind)), &Query::new()) {
        Ok(found) => Ok(found.rules),
        Err(Failure::Said { exit: Exit::NotFound, .. }) => Ok(SchemaRules::default()),
        Err(failure) => Err(failure),
    }
}

fn rows(own: Option<SchemaRules>, tenant: SchemaRules) -> Vec<Vec<String>> {
    let built_in = SchemaRules {
        compatibility: Some(Level::default()),
        enforcement: Some(Enforcement::default()),
        unknown: Some(UnknownTypes::default()),
    };
    let in_force = own.unwrap_or_default().or(tenant).or(built_in);
    let columns = [own.unwrap_or_default(), tenant, in_force].map(words);
    let names = ["compatibility", "enforcement", "unknown"];
    let row = |(at, name): (usize, &str)| {
        let said = columns.iter().map(|column| column[at].clone().unwrap_or_else(|| "-".to_owned()));
        std::iter::once(name.to_owned()).chain(said).collect()
    };
    names.into_iter().enumerate().map(row).collect()
}

/// Compatibility, enforcement and unknown types, in the words of the wire.
pub fn words(rules: SchemaRules) -> [Option<String>; 3] {
    let rules = serde_json::to_value(rules).unwrap_or(Value::Null);
    ["compatibility", "enforcement", "unknown"].map(|name| rules.get(name).map(text))
}

fn level(word: &str) -> Result<Own<Level>, String> {
    own(word, "none, backward, forward or full, one of the last three also with -transitive")
}

fn enforcement(word: &str) -> Result<Own<Enforcement>, String> {
    own(word, "off, warn or enforce")
}

fn unknown(word: &str) -> Result<Own<UnknownTypes>, String> {
    own(word, "allow, warn or refuse")
}

fn own<T: DeserializeOwned>(word: &str, expected: &str) -> Result<Own<T>, String> {
    if word == "default" {
        return Ok(Own(None));
    }
    let known = serde_json::from_value(Value::String(word.to_owned()));
    known.map(|known| Own(Some(known))).map_err(|_| format!("expected {expected}; or default"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays_and_default_is_none_of_ones_own() {
        let before: SchemaRules = serde_json::from_str(r#"{"compatibility":"full","unknown":"warn"}"#).unwrap();
        let rules = Rules {
            kind: None,
            compatibility: None,
            enforcement: enforcement("enforce").ok(),
            unknown: unknown("default").ok(),
        };
        assert_eq!(words(rules.over(before)), [Some("full".to_owned()), Some("enforce".to_owned()), None]);
        assert!(level("sideways").is_err() && enforcement("refuse").is_err() && unknown("").is_err());
        assert_eq!(level("full-transitive"), Ok(Own(Some(Level::FullTransitive))));
    }
}
