//! The flags that say which events: the same on `event list` and `event tail`, named like the query parameters.

use clap::Args;
use quipu_domain::schema::SchemaVersion;

use super::client::Query;

/// Which events. A flag given twice means any of its values; for `--tag`, all of them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which events")]
pub struct FilterFlags {
    /// A type, or a prefix such as 'order.*'; without .vN all its versions
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// A stream
    #[arg(long)]
    subject: Vec<String>,
    /// Who said so
    #[arg(long)]
    source: Vec<String>,
    /// A tag, key:value; given twice, both
    #[arg(long, value_name = "KEY:VALUE")]
    tag: Vec<String>,
    /// A business transaction
    #[arg(long, value_name = "ID")]
    correlation_id: Vec<String>,
    /// The id of the event that caused it
    #[arg(long, value_name = "ID")]
    causation_id: Vec<String>,
    /// A user
    #[arg(long, value_name = "ID")]
    user_id: Vec<String>,
    /// An organization
    #[arg(long, value_name = "ID")]
    organization_id: Vec<String>,
    /// low, medium, high or urgent
    #[arg(long)]
    priority: Vec<String>,
    /// No earlier than this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    time_from: Option<String>,
    /// No later than this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    time_to: Option<String>,
    /// In which version of their schema: stored, newest or a number [default: stored]
    #[arg(long, value_name = "VERSION", value_parser = schema_version)]
    schema_version: Option<SchemaVersion>,
    /// From this position on
    #[arg(long, value_name = "POSITION")]
    position_from: Option<u64>,
    /// Up to this position
    #[arg(long, value_name = "POSITION")]
    position_to: Option<u64>,
}

impl FilterFlags {
    /// The query parameters of `GET /v1/events` and `GET /v1/tail`.
    pub fn query(&self) -> Query {
        let mut query = Query::new();
        for (name, values) in [
            ("type", &self.types),
            ("subject", &self.subject),
            ("source", &self.source),
            ("tag", &self.tag),
            ("correlationid", &self.correlation_id),
            ("causationid", &self.causation_id),
            ("userid", &self.user_id),
            ("organizationid", &self.organization_id),
            ("priority", &self.priority),
        ] {
            query.extend(values.iter().map(|value| (name, value.clone())));
        }
        for (name, value) in [
            ("timefrom", self.time_from.clone()),
            ("timeto", self.time_to.clone()),
            ("schemaversion", self.schema_version.map(|version| version.to_string())),
            ("positionfrom", self.position_from.map(|position| position.to_string())),
            ("positionto", self.position_to.map(|position| position.to_string())),
        ] {
            query.extend(value.map(|value| (name, value)));
        }
        query
    }
}

/// In which version of its schema an event is wanted.
pub fn schema_version(text: &str) -> Result<SchemaVersion, String> {
    SchemaVersion::parse(text).ok_or_else(|| "expected stored, newest or a version from 1".to_owned())
}
