//! `quipu schedule list`. A table or a JSON document is one page and says how to go on; JSON lines are everything, page by page, unless
//! a limit is given.

use quipu_api::schedule::{ScheduleBody, SchedulesPage};

use super::super::client::Client;
use super::super::exit::Outcome;
use super::super::output::Out;
use super::super::paging::{Listed, Paged, Part};

const SCHEDULES: Listed<SchedulesPage, ScheduleBody> = Listed {
    path: "/v1/schedules",
    noun: "schedule",
    header: &["NAME", "STATE", "NEXT", "NEWEST", "PUBLISHED", "DROPPED", "REFUSED", "TYPE"],
    part: |SchedulesPage { schedules, total, cursor }| Part { entries: schedules, total, cursor },
    page: |Part { entries, total, cursor }| SchedulesPage { schedules: entries, total, cursor },
    row,
};

pub fn run(list: Paged, client: &Client, out: &mut Out) -> Outcome {
    SCHEDULES.run(list, client, out)
}

fn row(one: &ScheduleBody) -> Vec<String> {
    vec![
        one.name.clone(),
        one.state.as_str().to_owned(),
        one.next_ticks.first().cloned().unwrap_or_default(),
        one.newest.as_ref().map(|newest| newest.tick.clone()).unwrap_or_default(),
        one.published.to_string(),
        one.dropped.to_string(),
        one.refused.to_string(),
        one.kind.clone(),
    ]
}
