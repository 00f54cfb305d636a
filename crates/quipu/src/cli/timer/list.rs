//! `quipu timer list`. A table or a JSON document is one page and says how to go on; JSON lines are everything, page by page, unless
//! a limit is given.

use quipu_api::TimersPage;
use quipu_api::timer::TimerBody;
use serde_json::Value;

use super::super::client::Client;
use super::super::exit::Outcome;
use super::super::output::{Out, member};
use super::super::paging::{Listed, Paged, Part};

const TIMERS: Listed<TimersPage, TimerBody> = Listed {
    path: "/v1/timers",
    noun: "timer",
    header: &["TIMER", "DUE", "SET", "KEY", "TYPE", "SUBJECT"],
    part: |TimersPage { timers, total, cursor }| Part { entries: timers, total, cursor },
    page: |Part { entries, total, cursor }| TimersPage { timers: entries, total, cursor },
    row,
};

pub fn run(list: Paged, client: &Client, out: &mut Out) -> Outcome {
    TIMERS.run(list, client, out)
}

fn row(timer: &TimerBody) -> Vec<String> {
    let event = timer.event.as_ref().and_then(|event| serde_json::from_str::<Value>(event.get()).ok());
    let subject = event.map(|event| member(&event, "subject")).unwrap_or_default();
    let key = timer.key.clone().unwrap_or_default();
    vec![timer.timer.to_string(), timer.due.clone(), timer.set.clone(), key, timer.kind.clone(), subject]
}
