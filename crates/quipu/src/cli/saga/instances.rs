//! `quipu saga instances`: which there are and how each stands.

use clap::Args;
use quipu_api::request::InstancesRequest;
use quipu_api::saga::{InstanceAnswer, InstancesPage};
use quipu_domain::saga::Span;

use super::super::client::{Client, Query};
use super::super::count::counted;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::super::paging::{limit, pages};

pub const HEADER: [&str; 7] = ["NUMBER", "NAME", "KEY", "STATE", "OPENED", "UPDATED", "WAITS FOR"];

/// Which instances: all that match every flag.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Which instances")]
pub struct Which {
    /// Of this saga
    #[arg(long, value_name = "NAME", conflicts_with_all = ["rule", "expectation"])]
    saga: Option<String>,
    /// Of this rule: events that it could not publish for
    #[arg(long, value_name = "NAME", conflicts_with = "expectation")]
    rule: Option<String>,
    /// Of this expectation
    #[arg(long, value_name = "NAME")]
    expectation: Option<String>,
    /// That stand so; may be given several times
    #[arg(long = "state", value_name = "STATE", value_parser = clap::builder::PossibleValuesParser::new(InstancesRequest::STATES))]
    states: Vec<String>,
    /// With this key
    #[arg(long)]
    key: Option<String>,
    /// With this somewhere in the key
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// That began longer ago, such as 1d
    #[arg(long, value_name = "TIME")]
    older: Option<Span>,
    /// That ask a person, or have not changed for so long
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "1h")]
    stuck: Option<Span>,
    /// That are being undone: short for --state compensating
    #[arg(long)]
    compensating: bool,
}

#[derive(Debug, Args)]
pub struct Instances {
    #[command(flatten)]
    which: Which,
    /// At most so many [default: 20 in a table, 100 in JSON, all as NDJSON]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on where an earlier page ended, with the same flags
    #[arg(long)]
    cursor: Option<String>,
}

impl Which {
    /// As a list of them is asked for.
    pub fn request(self) -> InstancesRequest {
        let Self { saga, rule, expectation, mut states, key, search, older, stuck, compensating } = self;
        states.extend(compensating.then(|| "compensating".to_owned()));
        InstancesRequest { saga, rule, expectation, states, key, search, older, stuck, ..InstancesRequest::default() }
    }
}

pub fn run(asked: Instances, client: &Client, out: &mut Out) -> Outcome {
    let question = asked.which.request().to_query();
    let path = match question.as_str() {
        "" => "/v1/saga-instances".to_owned(),
        question => format!("/v1/saga-instances?{question}"),
    };
    let (mut found, mut total) = (Vec::new(), 0);
    let limit = limit(asked.limit, out.format);
    let next = pages(client, &path, &Query::new(), asked.cursor, limit, |page: InstancesPage| {
        total = page.total;
        let count = page.instances.len();
        match out.format {
            Format::Ndjson => page.instances.iter().try_for_each(|one| out.document(one))?,
            _ => found.extend(page.instances),
        }
        Ok((count, page.cursor))
    })?;
    match out.format {
        Format::Json => out.document(&InstancesPage { instances: found, cursor: next, total })?,
        Format::Ndjson => {}
        Format::Table => {
            out.table(&HEADER, &found.iter().map(row).collect::<Vec<_>>())?;
            out.flush()?;
            let count = counted(found.len() as u64, "instance");
            match next {
                None => eprintln!("{count}"),
                Some(cursor) => eprintln!("{count}, more follow: the same command with --cursor {cursor}"),
            }
        }
    }
    Ok(Exit::Ok)
}

pub fn row(one: &InstanceAnswer) -> Vec<String> {
    vec![
        one.number.to_string(),
        one.name.clone(),
        one.key.clone(),
        one.state.as_str().to_owned(),
        one.opened_time.clone(),
        one.updated_time.clone(),
        one.waiting.first().map(|waiting| waiting.sentence.clone()).unwrap_or_default(),
    ]
}
