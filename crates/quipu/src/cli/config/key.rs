//! The table of configuration keys. The file, the variables, the flags, `--print-config` and the help are all made
//! from it.

use std::fmt::Write as _;

/// One key.
#[derive(Debug)]
pub struct Key {
    /// As it stands in the file.
    pub name: &'static str,
    /// What a number counts; empty for texts.
    pub unit: &'static str,
    /// The value if nobody gives one.
    pub default: &'static str,
    /// What the value may be.
    pub kind: Kind,
    /// Why the default is what it is.
    pub reason: &'static str,
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Switch,
    Number { min: u64, max: u64 },
}

impl Key {
    /// The variable that sets it.
    pub fn variable(&self) -> String {
        format!("QUIPU_{}", self.name.to_ascii_uppercase())
    }
}

/// A day: the longest time for which a client can hold a connection or a stop.
const DAY_MS: u64 = 86_400_000;

const fn number(min: u64, max: u64) -> Kind {
    Kind::Number { min, max }
}

macro_rules! keys {
    ($($name:literal $unit:literal $default:literal $kind:expr => $reason:literal;)*) => {
        /// All keys.
        pub const KEYS: &[Key] =
            &[$(Key { name: $name, unit: $unit, default: $default, kind: $kind, reason: $reason },)*];
    };
}

keys! {
    "data" "" "quipu-data" Kind::Text => "beside where it is started, so that a first try needs no rights";
    "listen" "" "127.0.0.1:7070" Kind::Text => "only this machine: other addresses take TLS, since a key that goes over a network in the clear is everybody's";
    "insecure_listen_anywhere" "" "false" Kind::Switch => "without TLS whoever listens on the network sees keys and events: for a network of which only a proxy with TLS is reached; `quipu dev` then needs no keys either";
    "needs_keys" "" "false" Kind::Switch => "also on an address that only this machine reaches: for a machine with several users, and behind a proxy that is not named in public_hosts";
    "tls_certificate_file" "" "none" Kind::Text => "PEM, the certificate of the server first, then those that lead to an authority; with it the server speaks TLS and nothing else";
    "tls_key_file" "" "none" Kind::Text => "PEM, the private key of that certificate: a file of its own, which at most its owner and a group may read";
    "tls_client_authorities_file" "" "none" Kind::Text => "PEM; with it nobody connects without a certificate of one of these authorities, beside the key that a request needs";
    "log" "" "info" Kind::Text => "error, warn, info, debug or trace, on standard error";
    "event_bytes_max" "bytes" "1048576" number(1_024, 1 << 26) => "an event is a fact, not a file; the data of a larger one goes beside the log";
    "claim_check_bytes" "bytes" "1048576" number(512, 1 << 27) => "of a larger event the data is kept beside the log, and readers get dataref; as large as any event was before; above event_bytes_max nothing is kept there and larger events are refused";
    "payload_bytes_max" "bytes" "16777216" number(1_024, 1 << 28) => "data beside the log: held in memory while it is taken and while it is read";
    "body_bytes_max" "bytes" "67108864" number(1_024, 1 << 30) => "one event or batch is held in memory; bulk lines have no limit";
    "request_memory_bytes_max" "bytes" "268435456" number(1 << 20, 1 << 40) => "bodies, bulk loads and frames of all connections that are not recorded yet; four of the largest bodies";
    "connections_max" "connections" "20000" number(1, 1 << 20) => "10,000 idle connections and as many again";
    "tenants_max" "tenants" "10000" number(1, 1 << 20) => "each that is open takes some hundred KiB of memory and a few files";
    "quota_events_per_second" "events/s" "0" number(0, 1 << 40) => "of each tenant that has no quota of its own; 0 is none";
    "quota_bytes_per_second" "bytes/s" "0" number(0, 1 << 50) => "the same for bytes of events";
    "quota_subscriptions" "subscriptions" "0" number(0, 1 << 20) => "the same for subscriptions";
    "quota_connections" "requests" "0" number(0, 1 << 20) => "the same for requests under way, tails and WebSockets among them";
    "quota_storage_bytes" "bytes" "0" number(0, 1 << 60) => "the same for bytes of the log";
    "dedup_window_hours" "hours" "24" number(1, 24 * 365) => "a client that retries gives up within a day";
    "dedup_window_events" "events" "1000000" number(1_000, 1 << 32) => "whichever of the two windows is larger counts";
    "segment_bytes" "bytes" "268435456" number(1 << 20, 1 << 31) => "sealed about once in a million events, small enough to copy and to index at once";
    "mailbox_bytes_max" "bytes" "67108864" number(1 << 20, 1 << 32) => "what waits beyond a tenth of a second of disk is refused as overloaded rather than queued";
    "threads" "threads" "0" number(0, 1_024) => "0 is twice the cores: engine threads mostly wait for the disk";
    "header_timeout_ms" "ms" "10000" number(100, DAY_MS) => "a client that sends the head of a request slower than this keeps a connection from others";
    "idle_timeout_ms" "ms" "75000" number(100, DAY_MS) => "between two requests: longer than the 60 s for which proxies keep a connection, so that they close it first";
    "body_idle_timeout_ms" "ms" "30000" number(100, DAY_MS) => "a bulk load may last for hours, but not stand still; nor may a client that is sent something";
    "drain_timeout_ms" "ms" "10000" number(0, DAY_MS) => "as long as container platforms wait before they kill";
    "webhook_allowed_networks" "" "none" Kind::Text => "blocks such as 10.1.0.0/16, separated by commas, that webhooks and calls of sagas may go to beside public addresses: whoever makes a subscription or a saga names the address";
    "database_allowed_hosts" "" "none" Kind::Text => "hosts of PostgreSQL databases that projections may be kept in, such as db.example or 127.0.0.1:5432, separated by commas: whoever declares a projection sends SQL of his own there";
    "identity_providers" "" "none" Kind::Text => "a file of JSON that lists the providers whose tokens are taken beside keys: whom to believe is for the operator to say";
    "public_hosts" "" "none" Kind::Text => "names by which a proxy on this machine is called, such as quipu.example.com: without one, a server on a loopback address answers to names of this machine alone, against pages that rebind theirs";
}

/// The nearest known name, if one is near enough to be what was meant.
pub fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let near = names.map(|known| (strsim::damerau_levenshtein(name, known), known)).min()?;
    (near.0 <= near.1.len() / 2).then_some(near.1)
}

/// The table, as the help shows it.
pub fn help() -> String {
    let mut text = "Configuration keys, in quipu.toml, as QUIPU_<KEY> or as --set key=value:\n".to_owned();
    for key in KEYS {
        let unit = if key.unit.is_empty() { String::new() } else { format!(" {}", key.unit) };
        let _ = writeln!(text, "  {} = {}{unit}\n      {}", key.name, key.default, key.reason);
    }
    text
}
