//! Configuration: raw values and where each came from, checked once. Later sources win: defaults, the file, variables,
//! flags.
//!
//! The file is `--config`, else `QUIPU_CONFIG`, else `quipu.toml` in the current folder if there is one. It is not
//! looked for in the data folder, since where that is, is a key of the file.

mod key;
mod raw;
mod settings;

pub use key::{KEYS, Key, Kind, help};
pub use raw::{Origin, Raw, Sources};
pub use settings::Settings;

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use quipu_domain::Quotas;
use quipu_server::webhook::Block;
use quipu_server::{DatabaseHost, PublicHost};
use serde_json::{Value, json};

use super::exit::Failure;
use super::output::{Format, Out};
use super::tls::Files;

/// Checked configuration: what exists is valid.
#[derive(Clone, Debug)]
pub struct Config {
    pub data: PathBuf,
    pub listen: SocketAddr,
    pub insecure_listen_anywhere: bool,
    pub needs_keys: bool,
    pub tls: Option<Files>,
    pub log: tracing::Level,
    pub event_bytes_max: usize,
    pub body_bytes_max: usize,
    pub claim_check_bytes: usize,
    pub payload_bytes_max: usize,
    pub request_memory_bytes_max: usize,
    pub connections_max: usize,
    pub tenants_max: usize,
    pub quotas: Quotas,
    pub dedup_window: Duration,
    pub dedup_window_events: u64,
    pub segment_bytes: u64,
    pub mailbox_bytes_max: usize,
    pub threads: usize,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    pub body_idle_timeout: Duration,
    pub drain_timeout: Duration,
    pub webhook_allowed_networks: Vec<Block>,
    pub database_allowed_hosts: Vec<DatabaseHost>,
    pub public_hosts: Vec<PublicHost>,
    /// A file of them.
    pub identity_providers: Option<PathBuf>,
}

impl Config {
    /// Checks every value; the first that is wrong is named with where it came from.
    pub fn check(raw: &Raw) -> Result<Self, Failure> {
        let number = |name| raw.number(name);
        let size = |name| Ok::<_, Failure>(usize::try_from(raw.number(name)?).unwrap_or(usize::MAX));
        let file = |name| Ok::<_, Failure>(Some(raw.text(name)?).filter(|path| *path != "none").map(PathBuf::from));
        let duration = |name| Ok::<_, Failure>(Duration::from_millis(raw.number(name)?));
        let config = Self {
            data: PathBuf::from(raw.text("data")?),
            listen: raw.parsed("listen", "an address such as 127.0.0.1:7070")?,
            insecure_listen_anywhere: raw.parsed("insecure_listen_anywhere", "true or false")?,
            needs_keys: raw.parsed("needs_keys", "true or false")?,
            tls: Files::of(file("tls_certificate_file")?, file("tls_key_file")?, file("tls_client_authorities_file")?)?,
            log: raw.parsed("log", "error, warn, info, debug or trace")?,
            event_bytes_max: size("event_bytes_max")?,
            claim_check_bytes: size("claim_check_bytes")?,
            payload_bytes_max: size("payload_bytes_max")?,
            body_bytes_max: size("body_bytes_max")?,
            request_memory_bytes_max: size("request_memory_bytes_max")?,
            connections_max: size("connections_max")?,
            tenants_max: size("tenants_max")?,
            quotas: Quotas {
                events_per_second: NonZeroU64::new(number("quota_events_per_second")?),
                bytes_per_second: NonZeroU64::new(number("quota_bytes_per_second")?),
                subscriptions: NonZeroU64::new(number("quota_subscriptions")?),
                connections: NonZeroU64::new(number("quota_connections")?),
                storage_bytes: NonZeroU64::new(number("quota_storage_bytes")?),
            },
            dedup_window: Duration::from_secs(number("dedup_window_hours")?.saturating_mul(3_600)),
            dedup_window_events: number("dedup_window_events")?,
            segment_bytes: number("segment_bytes")?,
            mailbox_bytes_max: size("mailbox_bytes_max")?,
            threads: size("threads")?,
            header_timeout: duration("header_timeout_ms")?,
            idle_timeout: duration("idle_timeout_ms")?,
            body_idle_timeout: duration("body_idle_timeout_ms")?,
            drain_timeout: duration("drain_timeout_ms")?,
            webhook_allowed_networks: raw
                .list("webhook_allowed_networks", "blocks of addresses such as 10.1.0.0/16,fd00::/8")?,
            database_allowed_hosts: raw
                .list("database_allowed_hosts", "hosts of databases such as db.example,127.0.0.1:5432")?,
            identity_providers: match raw.text("identity_providers")? {
                "none" => None,
                path => Some(PathBuf::from(path)),
            },
            public_hosts: raw.list("public_hosts", "names of hosts without ports such as quipu.example.com")?,
        };
        config.check_limits()?;
        Ok(config)
    }

    /// Limits that hold each other.
    fn check_limits(&self) -> Result<(), Failure> {
        let Self { event_bytes_max: event, body_bytes_max: body, request_memory_bytes_max: memory, .. } = self;
        if body < event {
            return Err(Failure::usage(format!(
                "body_bytes_max ({body}): expected at least event_bytes_max ({event}), since a body holds an event"
            )));
        }
        let payload = self.payload_bytes_max;
        if self.options().has_payloads() && *body < payload {
            return Err(Failure::usage(format!(
                "body_bytes_max ({body}): expected at least payload_bytes_max ({payload}), since a body holds the data; or set \
                 claim_check_bytes above event_bytes_max ({event}), so that none is kept beside the log"
            )));
        }
        if memory < body {
            return Err(Failure::usage(format!(
                "request_memory_bytes_max ({memory}): expected at least body_bytes_max ({body}), since a body is held in memory"
            )));
        }
        Ok(())
    }

    /// What the engine is given.
    pub fn options(&self) -> quipu::Options {
        let default = quipu::Options::default();
        quipu::Options {
            event_bytes_max: self.event_bytes_max,
            claim_check_bytes: self.claim_check_bytes,
            payload_bytes_max: self.payload_bytes_max,
            tenants_max: self.tenants_max,
            quotas: self.quotas,
            dedup_window_ms: i64::try_from(self.dedup_window.as_millis()).unwrap_or(i64::MAX),
            dedup_window_events: self.dedup_window_events,
            segment_bytes: self.segment_bytes,
            mailbox_bytes_max: self.mailbox_bytes_max,
            threads: if self.threads == 0 { default.threads } else { self.threads },
            ..default
        }
    }
}

/// Every key with its value and where that came from.
pub fn print(raw: &Raw, out: &mut Out) -> Result<(), Failure> {
    let entries = KEYS.iter().map(|key| (key, raw.get(key.name)));
    match out.format {
        Format::Table => {
            let row = |(key, (value, origin)): (&Key, (&str, &Origin))| {
                vec![key.name.to_owned(), value.to_owned(), key.unit.to_owned(), origin.to_string()]
            };
            out.table(&["KEY", "VALUE", "UNIT", "FROM"], &entries.map(row).collect::<Vec<_>>())?;
        }
        Format::Json => out.document(&Value::Array(entries.map(entry).collect()))?,
        Format::Ndjson => entries.map(entry).try_for_each(|entry| out.document(&entry))?,
    }
    Ok(())
}

fn entry((key, (value, origin)): (&Key, (&str, &Origin))) -> Value {
    let typed = |text: &str| match key.kind {
        Kind::Number { .. } => text.parse::<u64>().map_or(Value::from(text), Value::from),
        Kind::Switch => text.parse::<bool>().map_or(Value::from(text), Value::from),
        Kind::Text => Value::from(text),
    };
    json!({
        "key": key.name,
        "value": typed(value),
        "unit": key.unit,
        "from": origin.to_string(),
        "default": typed(key.default),
        "variable": key.variable(),
        "reason": key.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Raw, Failure> {
        let own = |list: &[(&str, &str)]| list.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let sources =
            Sources { file: Some(("q.toml".into(), file.into())), variables: own(variables), flags: own(flags) };
        sources.merge().map(|(raw, _)| raw)
    }

    fn message(failure: Failure) -> String {
        match failure {
            Failure::Said { message, .. } => message,
            Failure::BrokenPipe => String::new(),
        }
    }

    #[test]
    fn later_sources_win() {
        let file = "listen = \"127.0.0.1:1\"";
        let variable = [("QUIPU_LISTEN", "127.0.0.1:2")];
        let flag = [("listen", "127.0.0.1:3")];
        for (file, variables, flags, value, origin) in [
            ("", &[][..], &[][..], "127.0.0.1:7070", "default"),
            (file, &[][..], &[][..], "127.0.0.1:1", "q.toml"),
            (file, &variable[..], &[][..], "127.0.0.1:2", "QUIPU_LISTEN"),
            (file, &variable[..], &flag[..], "127.0.0.1:3", "flag"),
            ("", &variable[..], &[][..], "127.0.0.1:2", "QUIPU_LISTEN"),
            ("", &[][..], &flag[..], "127.0.0.1:3", "flag"),
        ] {
            let raw = raw(file, variables, flags).unwrap();
            let (found, from) = raw.get("listen");
            assert_eq!((found, from.to_string().as_str()), (value, origin));
        }
    }

    #[test]
    fn the_defaults_are_valid() {
        let config = Config::check(&raw("", &[], &[]).unwrap()).unwrap();
        let (ours, engine) = (config.options(), quipu::Options::default());
        assert_eq!(format!("{ours:?}"), format!("{engine:?}"), "both have the same defaults");
        assert!(config.listen.ip().is_loopback());
    }

    #[test]
    fn what_is_unknown_or_wrong_is_named_with_its_source() {
        for (file, variables, flags, parts) in [
            ("lisen = \"x\"", &[][..], &[][..], &["q.toml", "lisen", "listen"][..]),
            ("", &[][..], &[("event_byte_max", "1")][..], &["event_byte_max", "event_bytes_max"][..]),
            ("listen = 3", &[][..], &[][..], &["q.toml", "listen"][..]),
            ("threads = \"many\"", &[][..], &[][..], &["q.toml", "threads"][..]),
            ("threads = -1", &[][..], &[][..], &["q.toml", "threads"][..]),
            ("= 3", &[][..], &[][..], &["q.toml"][..]),
            ("", &[("QUIPU_THREADS", "x")][..], &[][..], &["QUIPU_THREADS", "found x"][..]),
            ("", &[][..], &[("listen", "here")][..], &["listen", "found here"][..]),
            ("", &[][..], &[("event_bytes_max", "1")][..], &["event_bytes_max", "at least 1024"][..]),
            ("", &[][..], &[("log", "loud")][..], &["log", "found loud"][..]),
            (
                "request_memory_bytes_max = 1048576",
                &[][..],
                &[][..],
                &["request_memory_bytes_max", "body_bytes_max"][..],
            ),
            (
                "webhook_allowed_networks = \"10.0.0.0/8, intranet\"",
                &[][..],
                &[][..],
                &["q.toml", "webhook_allowed_networks", "found 10.0.0.0/8, intranet"][..],
            ),
            ("body_bytes_max = 4096", &[][..], &[][..], &["body_bytes_max", "event_bytes_max"][..]),
        ] {
            let checked = raw(file, variables, flags).and_then(|raw| Config::check(&raw));
            let message = message(checked.expect_err(parts[0]));
            for part in parts {
                assert!(message.contains(part), "expected {part} in {message}");
            }
        }
    }

    #[test]
    fn networks_are_separated_by_commas_and_none_is_the_default() {
        let of = |file: &str| Config::check(&raw(file, &[], &[]).unwrap()).unwrap().webhook_allowed_networks;
        assert_eq!(of(""), []);
        let shown: Vec<String> =
            of("webhook_allowed_networks = \"10.1.0.0/16, fd00::/8\"").iter().map(Block::to_string).collect();
        assert_eq!(shown, ["10.1.0.0/16", "fd00::/8"]);
    }

    #[test]
    fn an_unknown_variable_is_a_warning() {
        let sources = Sources { variables: vec![("QUIPU_LISTN".into(), "x".into())], ..Sources::default() };
        let (_, warnings) = sources.merge().unwrap();
        assert!(warnings[0].contains("QUIPU_LISTEN"), "{warnings:?}");
    }
}
