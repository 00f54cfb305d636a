//! The flags of `subscription create` that make up a definition. What is not given stays as the file of `--file`, or the
//! default, has it.

use std::fs;
use std::io::{self, Read};

use clap::{Args, ValueEnum};
use quipu_domain::delivery::{Backoff, RateLimit, RetryPolicy};
use quipu_domain::schema::SchemaVersion;
use quipu_domain::{DataForm, OnGivenUp, Ordering, Push, StartAt, Subscription};
use serde_json::value::RawValue;

use super::super::duration::milliseconds;
use super::super::exit::Failure;
use super::super::filter::schema_version;
use super::start::start_at;

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "The definition")]
pub struct DefinitionFlags {
    /// Which events, an EventBridge event pattern as JSON or from a file; all without one
    #[arg(long, value_name = "JSON|@FILE")]
    pattern: Option<String>,
    /// Where it begins: beginning, now, a position or a time [default: now]
    #[arg(long, value_parser = start_at)]
    start: Option<StartAt>,
    /// Which events wait for each other [default: per-key]
    #[arg(long, value_enum)]
    ordering: Option<OrderingWord>,
    /// Where the key stands, such as source or data.customer.id [default: subject]
    #[arg(long)]
    key: Option<String>,
    /// In which version of its schema an event is delivered: stored, newest or a number [default: stored]
    #[arg(long, value_name = "VERSION", value_parser = schema_version)]
    schema_version: Option<SchemaVersion>,
    /// Deliveries that may be with consumers at once [default: 1000]
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u32>,
    /// How long a consumer has to answer [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    ack_deadline: Option<u64>,
    /// Attempts in all, the first included [default: 10]
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// How long after the first attempt others are made [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    max_age: Option<u64>,
    /// How long to wait between attempts, any of first=1s,factor=2,max=5m,jitter=0.2
    #[arg(long, value_parser = backoff, conflicts_with = "delays")]
    backoff: Option<Backoff>,
    /// How long to wait between attempts, one by one, such as 1s,5s; the last again and again
    #[arg(long, value_name = "DURATIONS", value_parser = milliseconds, value_delimiter = ',')]
    delays: Option<Vec<u64>>,
    /// How many deliveries a second, minute or hour, such as 100/s [default: no limit]
    #[arg(long, value_name = "N/s", value_parser = per_second)]
    rate: Option<f64>,
    /// How many of them at once [default: those of a second]
    #[arg(long, value_name = "N", requires = "rate")]
    burst: Option<u32>,
    /// What later events of a key do when one was given up [default: continue]
    #[arg(long, value_enum)]
    on_given_up: Option<OnGivenUpWord>,
    /// How long dead letters are kept [default: 14d]
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    dead_letter_retention: Option<u64>,
    /// Deliver the data of events that keep it beside the log, not the reference to it
    #[arg(long)]
    resolve: bool,
    /// The endpoint that events are sent to; without one, consumers fetch them
    #[arg(long, value_name = "URL")]
    push: Option<String>,
    /// Hold deliveries back until it is resumed
    #[arg(long)]
    paused: bool,
}

/// Which events wait for each other.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum OrderingWord {
    /// Those of one key
    PerKey,
    /// None
    None,
    /// All
    Strict,
}

/// What later events of a key do when one was given up.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnGivenUpWord {
    /// Go on without it
    Continue,
    /// Wait until somebody redrives or discards it
    Park,
}

impl DefinitionFlags {
    /// Puts what was given into a definition.
    pub fn apply(self, definition: &mut Subscription) -> Result<(), Failure> {
        if let Some(pattern) = &self.pattern {
            definition.pattern = Some(self::pattern(pattern)?);
        }
        set(&mut definition.start, self.start);
        set(
            &mut definition.ordering,
            self.ordering.map(|ordering| match ordering {
                OrderingWord::PerKey => Ordering::PerKey,
                OrderingWord::None => Ordering::None,
                OrderingWord::Strict => Ordering::Strict,
            }),
        );
        set(&mut definition.key, self.key);
        set(&mut definition.schema_version, self.schema_version);
        set(&mut definition.data, self.resolve.then_some(DataForm::Resolved));
        set(&mut definition.max_in_flight, self.max_in_flight);
        set(&mut definition.ack_deadline_ms, self.ack_deadline);
        set(&mut definition.retry.max_attempts, self.max_attempts);
        definition.retry.max_age_ms = self.max_age.or(definition.retry.max_age_ms);
        set(&mut definition.retry.backoff, self.backoff);
        set(&mut definition.retry.backoff, self.delays.map(|delays_ms| Backoff::Delays { delays_ms }));
        if let Some(per_second) = self.rate {
            // A float above what an integer holds becomes its largest value.
            let burst = self.burst.unwrap_or((per_second.ceil() as u32).max(1));
            definition.rate_limit = Some(RateLimit { per_second, burst });
        }
        set(
            &mut definition.dead_letter.on_key,
            self.on_given_up.map(|word| match word {
                OnGivenUpWord::Continue => OnGivenUp::Continue,
                OnGivenUpWord::Park => OnGivenUp::Park,
            }),
        );
        set(&mut definition.dead_letter.retention_ms, self.dead_letter_retention);
        if let Some(url) = self.push {
            push_to(definition, url)?;
        }
        definition.paused |= self.paused;
        Ok(())
    }
}

fn set<T>(member: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *member = given;
    }
}

/// The other members of an endpoint stay, or are their defaults.
fn push_to(definition: &mut Subscription, url: String) -> Result<(), Failure> {
    match &mut definition.push {
        Some(push) => push.url = url,
        None => {
            let push: Push = serde_json::from_value(serde_json::json!({ "url": url }))
                .map_err(|error| Failure::usage(format!("--push: {error}")))?;
            definition.push = Some(push);
        }
    }
    Ok(())
}

/// A pattern as it was given, or from a file.
fn pattern(given: &str) -> Result<Box<RawValue>, Failure> {
    let text = match given.strip_prefix('@') {
        Some(path) => read(path)?,
        None => given.to_owned(),
    };
    let expected = |error| Failure::usage(format!("--pattern: expected JSON such as {{\"type\": [\"a.b\"]}}: {error}"));
    RawValue::from_string(text.trim().to_owned()).map_err(expected)
}

/// The text of a file, or of standard input for `-`.
pub fn read(path: &str) -> Result<String, Failure> {
    if path == "-" {
        let mut text = String::new();
        let read = io::stdin().read_to_string(&mut text);
        return read.map(|_| text).map_err(|error| Failure::file("read", "standard input", &error));
    }
    fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))
}

/// `first=1s,factor=2,max=5m,jitter=0.2`, what is left out as the default has it.
fn backoff(text: &str) -> Result<Backoff, String> {
    let Backoff::Exponential { mut first_ms, mut factor, mut max_ms, mut jitter } = RetryPolicy::default().backoff
    else {
        return Err("the default is no backoff; use --delays".to_owned());
    };
    for part in text.split(',') {
        let number = |value: &str| value.parse::<f64>().map_err(|_| format!("expected a number, found {value}"));
        match part.split_once('=') {
            Some(("first", value)) => first_ms = milliseconds(value)?,
            Some(("factor", value)) => factor = number(value)?,
            Some(("max", value)) => max_ms = milliseconds(value)?,
            Some(("jitter", value)) => jitter = number(value)?,
            _ => return Err(format!("expected first, factor, max or jitter with a value, found {part}")),
        }
    }
    Ok(Backoff::Exponential { first_ms, factor, max_ms, jitter })
}

/// `100/s`, `30/m` or `5/h`, a second.
fn per_second(text: &str) -> Result<f64, String> {
    let seconds = |unit: &str| match unit {
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3_600.0),
        _ => None,
    };
    let rate = text.split_once('/').and_then(|(number, unit)| Some(number.parse::<f64>().ok()? / seconds(unit)?));
    let rate = rate.filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "expected a number above 0 and its unit, such as 100/s, 30/m or 5/h".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        flags: DefinitionFlags,
    }

    fn applied(definition: &str, args: &[&str]) -> Result<serde_json::Value, String> {
        let flags = Flags::try_parse_from([&["create"], args].concat()).map_err(|error| error.to_string())?;
        let mut definition: Subscription = serde_json::from_str(definition).unwrap();
        flags.flags.apply(&mut definition).map_err(|failure| format!("{failure:?}"))?;
        Ok(serde_json::to_value(&definition).unwrap())
    }

    #[test]
    fn every_flag_has_its_member() {
        let args = "--start 17 --ordering strict --key data.customer.id --max-in-flight 5 --ack-deadline 2m \
                    --max-attempts 3 --max-age 1h --backoff first=500ms,factor=3,max=10m,jitter=0 --rate 30/m --burst 4 \
                    --on-given-up park --dead-letter-retention 30d --push https://a.example/in --paused";
        let pattern = ["--pattern", r#"{"type": ["a.b"]}"#];
        let found = applied("{}", &[&pattern[..], &args.split_whitespace().collect::<Vec<_>>()].concat()).unwrap();
        let expected = serde_json::json!({
            "pattern": {"type": ["a.b"]}, "start": {"position": 17}, "ordering": "strict", "key": "data.customer.id",
            "maxinflight": 5, "ackdeadlinems": 120_000,
            "retry": {"maxattempts": 3, "maxagems": 3_600_000,
                "backoff": {"firstms": 500, "factor": 3.0, "maxms": 600_000, "jitter": 0.0}},
            "ratelimit": {"persecond": 0.5, "burst": 4}, "deadletter": {"key": "park", "retentionms": 2_592_000_000_u64},
            "push": {"url": "https://a.example/in", "mode": "binary", "timeoutms": 15_000},
            "reportsoutcomes": false, "paused": true,
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_given_stays_as_it_was() {
        let file = r#"{"maxinflight":7,"retry":{"maxagems":9},"push":{"url":"http://a","timeoutms":5},"paused":true}"#;
        let same = applied(file, &[]).unwrap();
        assert_eq!(same, serde_json::to_value(serde_json::from_str::<Subscription>(file).unwrap()).unwrap());
        let pushed = applied(file, &["--push", "http://b", "--rate", "2.5/s"]).unwrap();
        assert_eq!(pushed["push"], serde_json::json!({"url": "http://b", "mode": "binary", "timeoutms": 5}));
        assert_eq!(pushed["ratelimit"], serde_json::json!({"persecond": 2.5, "burst": 3}));
        let delays = applied(file, &["--delays", "1s,5s"]).unwrap();
        assert_eq!(delays["retry"]["backoff"], serde_json::json!({"delaysms": [1_000, 5_000]}));
        let backoff = applied(file, &["--backoff", "max=1m"]).unwrap();
        let expected = serde_json::json!({"firstms": 1_000, "factor": 2.0, "maxms": 60_000, "jitter": 0.2});
        assert_eq!(backoff["retry"]["backoff"], expected);
    }

    #[test]
    fn a_flag_of_another_form_is_named() {
        for args in [
            &["--pattern", "{"][..],
            &["--pattern", "@/nowhere/pattern.json"],
            &["--start", "soon"],
            &["--ordering", "perkey"],
            &["--ack-deadline", "30"],
            &["--backoff", "1s"],
            &["--backoff", "first=1"],
            &["--delays", "1s,"],
            &["--backoff", "max=1m", "--delays", "1s"],
            &["--rate", "10"],
            &["--rate", "0/s"],
            &["--rate", "NaN/s"],
            &["--burst", "3"],
            &["--on-given-up", "stop"],
        ] {
            let said = applied("{}", args).expect_err(&args.join(" "));
            assert!(said.contains(args[0].trim_start_matches('-')) || said.contains("/nowhere"), "{said}");
        }
    }
}
