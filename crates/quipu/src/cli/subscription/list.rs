//! `quipu subscription list`: every subscription, where it is, and how many of its deliveries wait for what.

use quipu_api::{SubscriptionAnswer, SubscriptionsAnswer};

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};

const HEADER: [&str; 8] = ["NAME", "STATE", "POSITION", "READY", "INFLIGHT", "WAITING", "PARKED", "DEADLETTERS"];

pub fn run(client: &Client, out: &mut Out) -> Outcome {
    let text = client.json("/v1/subscriptions", &Query::new())?;
    if out.format == Format::Json {
        out.json(&text)?;
        return Ok(Exit::Ok);
    }
    let SubscriptionsAnswer { subscriptions } = client.parse(&text)?;
    match out.format {
        Format::Ndjson => subscriptions.iter().try_for_each(|subscription| out.document(subscription))?,
        Format::Table | Format::Json => out.table(&HEADER, &subscriptions.iter().map(row).collect::<Vec<_>>())?,
    }
    Ok(Exit::Ok)
}

fn row(subscription: &SubscriptionAnswer) -> Vec<String> {
    let sums = subscription.deliveries;
    let numbers =
        [subscription.position, sums.ready, sums.in_flight, sums.waiting, sums.parked, subscription.dead_letters];
    let words = [subscription.name.clone(), state(subscription).to_owned()];
    words.into_iter().chain(numbers.map(|number| number.to_string())).collect()
}

/// Whether deliveries are held back, or only replays deliver anything.
pub fn state(subscription: &SubscriptionAnswer) -> &'static str {
    match (subscription.definition.paused, subscription.definition.shadow) {
        (true, _) => "paused",
        (false, true) => "shadow",
        (false, false) => "active",
    }
}
