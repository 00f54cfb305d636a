//! `quipu subscription pause` and `resume`.

use quipu_api::SubscriptionAnswer;

use super::super::client::Client;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Format, Out};
use super::Named;

pub fn pause(which: &Named, client: &Client, out: &mut Out) -> Outcome {
    let text = client.act(&which.path("/pause"))?;
    say(&text, "is paused", client, out)?;
    Ok(Exit::Ok)
}

pub fn resume(which: &Named, client: &Client, out: &mut Out) -> Outcome {
    let text = client.act(&which.path("/resume"))?;
    say(&text, "goes on", client, out)?;
    Ok(Exit::Ok)
}

fn say(text: &str, what: &str, client: &Client, out: &mut Out) -> Result<(), Failure> {
    if out.format != Format::Table {
        return Ok(out.json(text)?);
    }
    let held: SubscriptionAnswer = client.parse(text)?;
    Ok(out.line(&format!("{} {what} after position {}", held.name, held.position))?)
}
