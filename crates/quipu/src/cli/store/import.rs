//! `quipu store import`: events from JSON lines, such as an export. What the server added to an exported event is
//! taken off, since whoever records it adds its own.

use std::path::PathBuf;

use clap::Args;

use super::super::Global;
use super::super::bulk::{self, Target};
use super::super::config::Settings;
use super::super::event::client;
use super::super::exit::Outcome;
use super::super::folder::{TENANT_DEFAULT, open};
use super::super::input::{Input, Item};
use super::super::members::Members;
use super::super::output::Out;

#[derive(Debug, Args)]
pub struct Import {
    /// NDJSON or JSON; - for standard input
    file: String,
    /// Record in this data folder, which no server may use; without it the server records
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A tenant of the folder
    #[arg(long, default_value = TENANT_DEFAULT, requires = "data")]
    tenant: String,
    #[command(flatten)]
    settings: Settings,
}

pub fn run(import: &Import, global: &Global, out: &mut Out) -> Outcome {
    let input = Input::open(&import.file)?;
    match &import.data {
        None => {
            import.settings.refuse()?;
            bulk::load(input, &Target::Server(&client(global)?), without_stamp, out)
        }
        Some(folder) => {
            let quipu = open(folder, &import.tenant, &import.settings)?;
            let exit = bulk::load(input, &Target::Folder(&quipu), without_stamp, out)?;
            quipu.close()?;
            Ok(exit)
        }
    }
}

/// What the server adds when it records an event.
const STAMP: [&str; 3] = ["position", "streamversion", "recordedtime"];

/// The event without these members; every other one as it stands. What is no object is left for others to refuse.
fn without_stamp(item: Item) -> Item {
    let Ok(members) = serde_json::from_slice::<Members<'_>>(&item.json) else { return item };
    if !members.0.iter().any(|(name, _)| STAMP.contains(&name.as_str())) {
        return item;
    }
    let mut json = b"{".to_vec();
    for (name, value) in members.0.iter().filter(|(name, _)| !STAMP.contains(&name.as_str())) {
        if json.len() > 1 {
            json.push(b',');
        }
        let name = serde_json::Value::from(name.as_str());
        json.extend_from_slice(format!("{name}:{}", value.get()).as_bytes());
    }
    json.push(b'}');
    Item { number: item.number, json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_added_is_taken_off() {
        let edited = |json: &str| String::from_utf8(without_stamp(Item { number: 1, json: json.into() }).json).unwrap();
        let exported = r#"{"id":"1","position":7,"streamversion":2,"recordedtime":"x","data":{"position": 1.50}}"#;
        assert_eq!(edited(exported), r#"{"id":"1","data":{"position": 1.50}}"#);
        for untouched in [r#"{"id":"1", "data":{"position":1}}"#, "not json", "[1]"] {
            assert_eq!(edited(untouched), untouched);
        }
    }
}
