//! `quipu subscription show`: all that is known of a subscription.

use quipu_api::SubscriptionAnswer;

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::indent::indent;
use super::super::output::{Format, Out};
use super::Named;
use super::list::state;

pub fn run(which: &Named, client: &Client, out: &mut Out) -> Outcome {
    let text = client.json(&which.path(""), &Query::new())?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => out.pairs(&pairs(&client.parse(&text)?)?)?,
    }
    Ok(Exit::Ok)
}

fn pairs(subscription: &SubscriptionAnswer) -> Result<[(&'static str, String); 7], Failure> {
    let (sums, counts) = (subscription.deliveries, subscription.counts);
    let unfinished = format!(
        "{} ready, {} in flight, {} waiting, {} parked, of {} keys",
        sums.ready, sums.in_flight, sums.waiting, sums.parked, sums.keys
    );
    let counts = format!(
        "{} handed out, {} acknowledged, {} failed, {} dead-lettered, {} expired, since it was made",
        counts.handed_out, counts.acknowledged, counts.failed, counts.dead_lettered, counts.expired
    );
    let definition = serde_json::to_string(&subscription.definition);
    let definition = definition.map_err(|error| Failure::failed(format!("cannot write the definition: {error}")))?;
    Ok([
        ("name", subscription.name.clone()),
        (
            "state",
            subscription.paused_reason.as_ref().map_or(state(subscription).into(), |why| format!("paused: {why}")),
        ),
        ("position", subscription.position.to_string()),
        ("deliveries", unfinished),
        ("counts", counts),
        ("deadletters", format!("{} open", subscription.dead_letters)),
        ("definition", indent(&definition)),
    ])
}
