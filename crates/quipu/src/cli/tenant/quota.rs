//! Quotas as flags: a number, or `default` for what the server says for all.

use std::num::NonZeroU64;

use clap::Args;
use quipu_domain::Quotas;

#[derive(Debug, Args)]
pub struct Flags {
    /// Events a second that are sent to be recorded; or default, for what the server says for all
    #[arg(long, value_name = "N", value_parser = number)]
    events_per_second: Option<Quota>,
    /// Bytes a second of such events; or default
    #[arg(long, value_name = "BYTES", value_parser = number)]
    bytes_per_second: Option<Quota>,
    /// Subscriptions; or default
    #[arg(long, value_name = "N", value_parser = number)]
    subscriptions: Option<Quota>,
    /// Requests under way at the same time, tails and WebSockets among them; or default
    #[arg(long, value_name = "N", value_parser = number)]
    connections: Option<Quota>,
    /// Bytes of the log; or default
    #[arg(long, value_name = "BYTES", value_parser = number)]
    storage_bytes: Option<Quota>,
}

/// A number, or none of one's own.
#[derive(Clone, Copy, Debug)]
struct Quota(Option<NonZeroU64>);

impl Flags {
    /// These, and what was there before where none was given.
    pub fn over(&self, before: Quotas) -> Quotas {
        let of = |given: Option<Quota>, before| given.map_or(before, |Quota(own)| own);
        Quotas {
            events_per_second: of(self.events_per_second, before.events_per_second),
            bytes_per_second: of(self.bytes_per_second, before.bytes_per_second),
            subscriptions: of(self.subscriptions, before.subscriptions),
            connections: of(self.connections, before.connections),
            storage_bytes: of(self.storage_bytes, before.storage_bytes),
        }
    }
}

fn number(text: &str) -> Result<Quota, String> {
    if text == "default" {
        return Ok(Quota(None));
    }
    text.parse().map(|number| Quota(Some(number))).map_err(|_| "expected a whole number from 1, or default".to_owned())
}

/// Quotas in a few words.
pub fn shown(quotas: Quotas) -> String {
    let Quotas { events_per_second, bytes_per_second, subscriptions, connections, storage_bytes } = quotas;
    let all = [
        (events_per_second, "events/s"),
        (bytes_per_second, "bytes/s"),
        (subscriptions, "subscriptions"),
        (connections, "connections"),
        (storage_bytes, "bytes"),
    ];
    let own: Vec<_> = all.iter().filter_map(|(quota, unit)| quota.map(|quota| format!("{quota} {unit}"))).collect();
    if own.is_empty() { "none of its own".into() } else { own.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_a_number_from_one_or_the_servers() {
        assert!(matches!(number("5"), Ok(Quota(Some(five))) if five.get() == 5));
        assert!(matches!(number("default"), Ok(Quota(None))));
        for text in ["0", "-1", "1.5", "none", ""] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_named_stays() {
        let before: Quotas = serde_json::from_str(r#"{"connections":3,"storagebytes":9}"#).unwrap();
        let none = Quota(None);
        let flags = Flags {
            events_per_second: number("7").ok(),
            bytes_per_second: None,
            subscriptions: None,
            connections: Some(none),
            storage_bytes: None,
        };
        let after = flags.over(before);
        assert_eq!(shown(after), "7 events/s, 9 bytes");
        assert_eq!(shown(Quotas::default()), "none of its own");
    }
}
