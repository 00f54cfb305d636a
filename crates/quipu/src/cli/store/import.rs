//! `quipu store import`: events from JSON lines, such as an export. What the server added to an exported event is
//! taken off, since whoever records it adds its own. Events of the server's own are left out: no server takes them from
//! a client.

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
            bulk::load(input, &Target::Server(&client(global)?), edit, out)
        }
        Some(folder) => {
            let quipu = open(folder, &import.tenant, &import.settings)?;
            let exit = bulk::load(input, &Target::Folder(&quipu), edit, out)?;
            quipu.close()?;
            Ok(exit)
        }
    }
}

/// What the server adds when it records an event.
const STAMP: [&str; 3] = ["position", "streamversion", "recordedtime"];

/// What the types of a server's own events begin with: what became of deliveries, for subscriptions that report it.
const OWN_TYPES: &str = "quipu.";

/// The event without these members; every other one as it stands. Nothing of an event that a server recorded of its own
/// accord. What has no stamp was recorded by nobody, and what is no object is none: that is left for others to refuse.
fn edit(item: Item) -> Option<Item> {
    let Ok(members) = serde_json::from_slice::<Members<'_>>(&item.json) else { return Some(item) };
    if !members.0.iter().any(|(name, _)| STAMP.contains(&name.as_str())) {
        return Some(item);
    }
    let kind = members.0.iter().find(|(name, _)| name.as_str() == "type");
    let kind = kind.and_then(|(_, value)| serde_json::from_str::<String>(value.get()).ok());
    if kind.is_some_and(|kind| kind.starts_with(OWN_TYPES)) {
        return None;
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
    Some(Item { number: item.number, json })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(json: &str) -> Option<String> {
        edit(Item { number: 1, json: json.into() }).map(|item| String::from_utf8(item.json).unwrap())
    }

    #[test]
    fn only_what_the_server_added_is_taken_off() {
        let exported = r#"{"id":"1","position":7,"streamversion":2,"recordedtime":"x","data":{"position": 1.50}}"#;
        assert_eq!(edited(exported).unwrap(), r#"{"id":"1","data":{"position": 1.50}}"#);
        for untouched in [r#"{"id":"1", "data":{"position":1}}"#, "not json", "[1]"] {
            assert_eq!(edited(untouched).unwrap(), untouched);
        }
    }

    #[test]
    fn what_a_server_recorded_of_its_own_accord_is_left_out() {
        assert_eq!(edited(r#"{"id":"1","type":"quipu.delivery.acknowledged","position":7}"#), None);
        // As it could not be from a server, it is refused like any other.
        assert!(edited(r#"{"id":"1","type":"quipu.delivery.acknowledged"}"#).is_some());
        assert!(edited(r#"{"id":"1","type":"quipus.sold","position":7}"#).is_some());
    }
}
