//! `quipu subscription pull`: deliveries, one a line of JSON, since what a person would have in a table leaves out what a
//! handler needs. `ack` reads these lines.

use std::io;
use std::time::{Duration, Instant};

use clap::Args;
use quipu_api::delivery::{AnswerBody, AnswerOutcome, Delivery, PULL_MAX, PULL_WAIT_MS_MAX};
use quipu_api::{PullAnswer, PullRequest};

use super::super::client::Client;
use super::super::duration::milliseconds;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Format, Out};
use super::Named;
use super::ack::{answer, refusals};

#[derive(Debug, Args)]
pub struct Pull {
    #[command(flatten)]
    which: Named,
    /// At most so many deliveries
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=i64::from(PULL_MAX)))]
    max: u32,
    /// How long to wait for the first one
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = milliseconds)]
    wait: u64,
    /// Acknowledge them once they are printed
    #[arg(long)]
    ack: bool,
}

pub fn run(pull: &Pull, client: &Client, out: &mut Out) -> Outcome {
    let fetched = fetch(pull, client)?;
    if fetched.deliveries.is_empty() {
        eprintln!("nothing to deliver; quipu subscription explain {} says why", pull.which.name);
    }
    print(&fetched, out)?;
    // Whoever reads them has them before they count as processed.
    out.flush()?;
    if !pull.ack || fetched.deliveries.is_empty() {
        return Ok(Exit::Ok);
    }
    let acks = fetched.deliveries.iter().map(|delivery| answer_to(delivery, AnswerOutcome::Ack)).collect();
    let answered = answer(&pull.which, acks, client)?;
    Ok(refusals(&answered))
}

/// Waits longer than one request may, if that is wanted.
fn fetch(pull: &Pull, client: &Client) -> Result<PullAnswer, Failure> {
    let path = pull.which.path("/pull");
    let (started, wait) = (Instant::now(), Duration::from_millis(pull.wait));
    loop {
        let left = wait.saturating_sub(started.elapsed()).as_millis();
        let wait_ms = u64::try_from(left).map_or(PULL_WAIT_MS_MAX, |left| left.min(PULL_WAIT_MS_MAX));
        let fetched: PullAnswer = client.parse(&client.send(&path, &PullRequest { max: pull.max, wait_ms })?)?;
        if !fetched.deliveries.is_empty() || started.elapsed() >= wait {
            return Ok(fetched);
        }
    }
}

fn print(fetched: &PullAnswer, out: &mut Out) -> io::Result<()> {
    if out.format == Format::Json {
        return out.document(fetched);
    }
    fetched.deliveries.iter().try_for_each(|delivery| out.json_line(&serde_json::to_string(delivery)?))
}

/// An answer to a delivery, without what its outcome may add.
pub fn answer_to(delivery: &Delivery, outcome: AnswerOutcome) -> AnswerBody {
    let handle = &delivery.delivery;
    AnswerBody {
        position: handle.position,
        dead_letter: handle.dead_letter,
        replay: handle.replay,
        token: handle.token.clone(),
        outcome,
        delay_ms: None,
        ms: None,
        error: None,
    }
}
