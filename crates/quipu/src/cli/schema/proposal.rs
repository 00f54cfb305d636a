//! A schema that is to be registered or checked: a file, and what it calls other schemas.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};

use clap::Args;
use quipu_api::schema::JqUpcaster;
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::exit::Failure;
use super::Named;

#[derive(Debug, Args)]
pub struct Proposal {
    #[command(flatten)]
    pub which: Named,
    /// The schema, JSON; - for standard input
    pub file: String,
    /// The version [default: the next one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    version: Option<u32>,
    /// What the schema calls another one, and which that is, such as address=order.address.v1
    #[arg(long = "reference", value_name = "NAME=TYPE.vN", value_parser = reference)]
    references: Vec<(String, String)>,
    /// A file with data that the schema accepts, JSON
    #[arg(long = "example", value_name = "FILE")]
    examples: Vec<String>,
    /// A jq expression that makes its data of that of the version before
    #[arg(long, value_name = "JQ")]
    upcaster: Option<String>,
}

/// The body of the request.
#[derive(Serialize)]
pub struct Body {
    /// As it stands in the file, white space too: what is registered is what was written.
    pub schema: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    references: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    examples: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upcaster: Option<JqUpcaster>,
}

/// A proposal that was read.
pub struct Read {
    pub body: Body,
    /// The file as it is; the schema begins at the first character of it that is no white space.
    pub text: String,
}

impl Proposal {
    pub fn read(&self) -> Result<Read, Failure> {
        let text = text(&self.file)?;
        let body = Body {
            schema: json(&self.file, &text)?,
            version: self.version,
            references: self.references.iter().cloned().collect(),
            owner: None,
            description: None,
            examples: self.examples.iter().map(|path| json(path, &text_of(path)?)).collect::<Result<_, _>>()?,
            upcaster: self.upcaster.clone().map(|jq| JqUpcaster { jq }),
        };
        Ok(Read { body, text })
    }
}

fn text(path: &str) -> Result<String, Failure> {
    if path != "-" {
        return text_of(path);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| Failure::file("read", "standard input", &error))?;
    Ok(text)
}

fn text_of(path: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))
}

fn json(path: &str, text: &str) -> Result<Box<RawValue>, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::failed(format!("{path}: expected JSON, found {error}")))
}

fn reference(text: &str) -> Result<(String, String), String> {
    // What a schema calls another may be a URL with any character; the name of a type has no equals sign.
    match text.rsplit_once('=') {
        Some((name, kind)) if !name.is_empty() && !kind.is_empty() => Ok((name.to_owned(), kind.to_owned())),
        _ => Err("expected NAME=TYPE.vN, such as address=order.address.v1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_ends_with_a_type() {
        let both = |name: &str, kind: &str| Ok((name.to_owned(), kind.to_owned()));
        assert_eq!(reference("address=order.address.v1"), both("address", "order.address.v1"));
        assert_eq!(reference("https://e.com/?a=b=c.v2"), both("https://e.com/?a=b", "c.v2"));
        for text in ["", "a", "=a.v1", "a="] {
            assert!(reference(text).is_err(), "{text}");
        }
    }
}
