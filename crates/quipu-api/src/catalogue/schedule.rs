//! Operations on schedules: events that are published again and again.

use quipu_domain::schedule::Schedule;

use super::*;
use crate::parameter::{Kind, Place};
use crate::schedule::{AppliedScheduleAnswer, RemovedSchedule, ScheduleBody, SchedulesPage};
use crate::{MEDIA_JSON, MEDIA_YAML};

const NAME: &[Parameter] =
    &[Parameter { name: "schedule", description: "The schedule.", kind: Kind::Text, place: Place::Path }];
const PAGE: &[Parameter] = &[
    Parameter {
        name: "limit",
        description: "Most entries, 1 to 10,000; 100 if not given.",
        kind: Kind::Limit,
        place: Place::Optional,
    },
    Parameter {
        name: "cursor",
        description: "The cursor of the page before.",
        kind: Kind::Text,
        place: Place::Optional,
    },
];
const TICKS: Parameter = Parameter {
    name: "ticks",
    description: "How many ticks to come are told, 1 to 100; 5 if not given.",
    kind: Kind::Number,
    place: Place::Optional,
};
const TOLD: &[Parameter] = &[TICKS];
const APPLYING: &[Parameter] = &[
    Parameter {
        name: "dryrun",
        description: "With `true`, nothing is changed; the answer says which version it would be, and its ticks to come.",
        kind: Kind::Word(&["true", "false"]),
        place: Place::Optional,
    },
    TICKS,
];
const OBSERVE: Needs = Needs::Permission(Permission::Observe);
const ORCHESTRATE: Needs = Needs::Permission(Permission::Orchestrate);
const LOOKING: &[Code] = &[Code::Unavailable, Code::DiskFull, Code::Internal];
const ONE: Content = content(MEDIA_JSON, Some(|g| g.subschema_for::<ScheduleBody>()), "The schedule as it is now.");

pub(super) const LIST: Operation = Operation {
    name: "schedule.list",
    summary: "List schedules",
    description: "Returns a page of schedules by their names, each with its next tick, the newest tick that was published, how many \
        were published, dropped and refused, and why it stands still if it does.",
    method: Method::Get,
    path: "/v1/schedules",
    parameters: &[PAGE],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SchedulesPage>()), "A page of schedules.")],
    needs: OBSERVE,
    refusals: &[&[Code::InvalidParameter, Code::InvalidCursor], LOOKING],
    example: Example {
        target: "/v1/schedules?limit=1",
        body: None,
        answer: r#"{"schedules":[{"name":"nightly","version":1,"declaredtime":"2026-01-31T09:30:00.000Z","state":"active","type":"report.due","nextticks":["2026-02-03T01:30:00.000Z"],"newest":{"tick":"2026-02-02T01:30:00.000Z","position":41},"published":2,"dropped":0,"refused":0}],"total":1,"cursor":null}"#,
    },
    command: Some("schedule list"),
};

pub(super) const APPLY: Operation = Operation {
    name: "schedule.apply",
    summary: "Declare a schedule",
    description: "Declares that an event is published again and again: at times of a clock in a time zone, or at a rate. Each tick is \
        published once, also over a crash. The same declaration changes nothing. One with the same times goes on where the one before \
        was; one with others, and one that was paused, begins with the first tick after now. `missed` says what becomes of ticks that \
        came while nobody could publish them. Answers 201, or 200 if it was declared already or nothing was to be changed.",
    method: Method::Put,
    path: "/v1/schedules/{schedule}",
    parameters: &[NAME, APPLYING],
    bodies: &[
        content(MEDIA_JSON, Some(|g| g.subschema_for::<Schedule>()), "The declaration; its name is that of the path."),
        content(MEDIA_YAML, None, "The declaration."),
    ],
    answers: &[content(
        MEDIA_JSON,
        Some(|g| g.subschema_for::<AppliedScheduleAnswer>()),
        "What became of it, and its ticks to come.",
    )],
    needs: ORCHESTRATE,
    refusals: &[
        &[Code::InvalidParameter, Code::MalformedJson, Code::InvalidSchedule, Code::TooManySchedules],
        BODY,
        APPENDING,
    ],
    example: Example {
        target: "/v1/schedules/nightly?ticks=1",
        body: Some((
            MEDIA_JSON,
            r#"{"schedule":"nightly","cron":"30 2 * * *","zone":"Europe/Berlin","event":{"type":"report.due","subject":"sales","data":{"kind":"daily"}}}"#,
        )),
        answer: r#"{"version":1,"outcome":"new","nextticks":["2026-02-01T01:30:00.000Z"]}"#,
    },
    command: Some("schedule apply"),
};

pub(super) const GET: Operation = Operation {
    name: "schedule.get",
    summary: "See a schedule and its ticks to come",
    description: "Returns what was declared last, the ticks to come, the newest tick that was published and where its event is, and why \
        the last one was not published, if so.",
    method: Method::Get,
    path: "/v1/schedules/{schedule}",
    parameters: &[NAME, TOLD],
    bodies: &[],
    answers: &[ONE],
    needs: OBSERVE,
    refusals: &[&[Code::InvalidParameter, Code::ScheduleNotFound], LOOKING],
    example: Example {
        target: "/v1/schedules/nightly?ticks=2",
        body: None,
        answer: r#"{"name":"nightly","version":1,"declaredtime":"2026-01-31T09:30:00.000Z","state":"failing","type":"report.due","nextticks":["2026-02-02T01:30:00.000Z","2026-02-03T01:30:00.000Z"],"published":0,"dropped":0,"refused":1,"error":{"tick":"2026-02-01T01:30:00.000Z","reason":"expected data that report.due.v1 allows: /kind: expected a number, found \"daily\""},"declaration":{"schedule":"nightly","cron":"30 2 * * *","zone":"Europe/Berlin","event":{"type":"report.due","subject":"sales","data":{"kind":"daily"}},"missed":"latest","paused":false}}"#,
    },
    command: Some("schedule show"),
};

pub(super) const REMOVE: Operation = Operation {
    name: "schedule.remove",
    summary: "Remove a schedule",
    description: "Removes a schedule. What it has published stays.",
    method: Method::Delete,
    path: "/v1/schedules/{schedule}",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RemovedSchedule>()), "What is gone.")],
    needs: ORCHESTRATE,
    refusals: &[&[Code::ScheduleNotFound], APPENDING],
    example: Example { target: "/v1/schedules/nightly", body: None, answer: r#"{"removed":"nightly"}"# },
    command: Some("schedule remove"),
};

/// Stops a schedule for a while, or lets it go on.
const fn act(
    name: &'static str,
    summary: &'static str,
    description: &'static str,
    path: &'static str,
    example: Example,
    command: &'static str,
) -> Operation {
    Operation {
        name,
        summary,
        description,
        method: Method::Post,
        path,
        parameters: &[NAME],
        bodies: &[],
        answers: &[ONE],
        needs: ORCHESTRATE,
        refusals: &[&[Code::ScheduleNotFound], APPENDING],
        example,
        command: Some(command),
    }
}

pub(super) const PAUSE: Operation = act(
    "schedule.pause",
    "Pause a schedule",
    "Publishes nothing until the schedule is resumed, or declared anew without `paused`. Ticks that come meanwhile are left out. \
        Pausing one that is paused changes nothing.",
    "/v1/schedules/{schedule}/pause",
    Example {
        target: "/v1/schedules/nightly/pause",
        body: None,
        answer: r#"{"name":"nightly","version":1,"declaredtime":"2026-01-31T09:30:00.000Z","state":"paused","type":"report.due","nextticks":[],"published":0,"dropped":0,"refused":0,"declaration":{"schedule":"nightly","cron":"30 2 * * *","event":{"type":"report.due"},"missed":"latest","paused":true}}"#,
    },
    "schedule pause",
);

pub(super) const RESUME: Operation = act(
    "schedule.resume",
    "Resume a schedule",
    "Lets a paused schedule go on with its first tick after now. Resuming one that is not paused changes nothing.",
    "/v1/schedules/{schedule}/resume",
    Example {
        target: "/v1/schedules/nightly/resume",
        body: None,
        answer: r#"{"name":"nightly","version":1,"declaredtime":"2026-01-31T09:30:00.000Z","state":"active","type":"report.due","nextticks":["2026-02-01T02:30:00.000Z"],"published":0,"dropped":0,"refused":0,"declaration":{"schedule":"nightly","cron":"30 2 * * *","event":{"type":"report.due"},"missed":"latest","paused":false}}"#,
    },
    "schedule resume",
);
