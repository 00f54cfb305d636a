//! `quipu saga instance` and `explain`: how an instance stands, and why it stands still.

use clap::Args;
use quipu_api::saga::InstanceAnswer;
use quipu_domain::saga::InstanceState;

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Format, Out, escape};

/// Which instance.
#[derive(Clone, Copy, Debug, Args)]
pub struct Numbered {
    /// The number of the instance
    #[arg(value_name = "NUMBER")]
    pub number: u64,
}

impl Numbered {
    /// Its route; `tail` is "" or begins with a slash.
    pub fn path(self, tail: &str) -> String {
        format!("/v1/saga-instances/{}{tail}", self.number)
    }
}

pub fn run(which: Numbered, client: &Client, out: &mut Out) -> Outcome {
    show(&client.json(&which.path(""), &Query::new())?, client, out)
}

/// Shows the text of an instance.
pub fn show(text: &str, client: &Client, out: &mut Out) -> Outcome {
    let instance: InstanceAnswer = client.parse(text)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(text)?,
        Format::Table => {
            let mut pairs = vec![
                ("instance", format!("{} of {} {}", instance.number, instance.name, instance.version)),
                ("key", escape(&instance.key)),
                ("state", instance.state.as_str().to_owned()),
                ("opened", instance.opened_time.clone()),
                ("updated", instance.updated_time.clone()),
                ("started by", format!("position {}", instance.start)),
            ];
            pairs.extend(instance.parent.map(|parent| ("begun by", format!("instance {parent}"))));
            pairs.extend(instance.variables.as_ref().map(|variables| ("variables", escape(&variables.to_string()))));
            out.pairs(&pairs)?;
            why(&instance, out)?;
        }
    }
    Ok(Exit::Ok)
}

pub fn explain(which: Numbered, client: &Client, out: &mut Out) -> Outcome {
    let text = client.json(&which.path(""), &Query::new())?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => why(&client.parse(&text)?, out)?,
    }
    Ok(Exit::Ok)
}

fn why(instance: &InstanceAnswer, out: &mut Out) -> Result<(), Failure> {
    if let Some(failure) = &instance.failure {
        out.line(&escape(&format!("It failed at {}: {}.", failure.step, failure.reason)))?;
    }
    for waiting in &instance.waiting {
        let time = match (&waiting.time, instance.state) {
            (Some(time), InstanceState::Paused) if waiting.sentence.contains("resume") => format!(", since {time}"),
            (Some(time), _) => format!(", until {time}"),
            (None, _) => String::new(),
        };
        out.line(&escape(&format!("{}{time}.", waiting.sentence)))?;
    }
    match instance.acts.as_slice() {
        [] if instance.waiting.is_empty() => out.line("It has ended.")?,
        [] => {}
        acts => out.line(&format!("What may be done: {}.", acts.join(", ")))?,
    }
    Ok(())
}
