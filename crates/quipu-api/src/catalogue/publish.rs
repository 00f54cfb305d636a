//! Operations that write: publish and append.

use super::*;
use crate::openapi::{CloudEvent, IncomingEvent};
use crate::{
    AppendAnswer, AppendRequest, LineResult, MEDIA_BATCH, MEDIA_EVENT, MEDIA_JSON, MEDIA_LINES, PublishAnswer,
};

pub(super) const PUBLISH: Operation = Operation {
    name: "event.publish",
    summary: "Publish events, each for itself",
    description: "Records one event, a batch, or a bulk load of any length. Each event stands for itself: the answer \
        says of each whether it was recorded, was recorded before with the same content (a duplicate, answered with its \
        first position), or was refused and why. An event that is acknowledged is on disk. All content modes of the \
        CloudEvents 1.0.2 HTTP binding are taken: structured, batched, and binary (attributes in ce- headers, data in \
        the body). A bulk load is one event a line; its answer is one result a line, written while the body is read; \
        with `Prefer: return=minimal` it is one summary with the first 100 refusals. The older domain envelope \
        (eventType, eventId, …) is taken wherever an event is; a member that it does not have is refused. One whose \
        `deliverat` is still to come is on disk too, and recorded when its time comes: its result is `scheduled`, with the \
        number of its timer.",
    method: Method::Post,
    path: "/v1/events",
    parameters: &[],
    bodies: &[
        content(MEDIA_EVENT, Some(|g| g.subschema_for::<CloudEvent>()), "One event, structured mode."),
        content(MEDIA_BATCH, Some(|g| g.subschema_for::<Vec<CloudEvent>>()), "A batch of at most 10,000 events."),
        content(MEDIA_LINES, Some(|g| g.subschema_for::<IncomingEvent>()), "A bulk load, one event a line."),
        content(
            MEDIA_JSON,
            Some(|g| g.subschema_for::<IncomingEvent>()),
            "One event or an array of at most 10,000 events, in either envelope.",
        ),
        content("*/*", None, "With a ce-specversion header: the data of one event, binary mode."),
    ],
    answers: &[
        content(MEDIA_JSON, Some(|g| g.subschema_for::<PublishAnswer>()), "What became of each event, in order."),
        content(
            MEDIA_LINES,
            Some(|g| g.subschema_for::<LineResult>()),
            "For a bulk load: one result a line, then the sums.",
        ),
    ],
    needs: Needs::Part(Permission::Publish),
    refusals: &[EVENT, BODY, APPENDING, &[Code::TooManyTimers]],
    example: Example {
        target: "/v1/events",
        body: Some((
            MEDIA_EVENT,
            r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","subject":"order/17","data":{"total":9}}"#,
        )),
        answer: r#"{"recorded":1,"duplicates":0,"scheduled":0,"refused":0,"results":[{"status":"recorded","position":1,"streamversion":1}]}"#,
    },
    command: Some("event publish"),
};

pub(super) const APPEND: Operation = Operation {
    name: "event.append",
    summary: "Append events, all or nothing, under conditions",
    description: "Records several events to several streams in one commit, if every condition holds: a stream is at a \
        version, exists, does not exist, or is as it may be; or no event after a position matches a query of types and \
        tags (a dynamic consistency boundary). A refusal names every condition that failed, with what was expected and \
        what was found. An append may carry a checkpoint of an outside source, which must advance. It may \
        set timers and cancel others (`timers`, `cancel`): they wait, or do not, exactly if the events are recorded. A repeated append is \
        answered as it was the first time, whatever its conditions say by then. A worker that decides commands names the \
        delivery in `acknowledge` (needs the permission `consume` for its subscription): if its time is over, nothing is \
        appended; if a condition fails, it stays with the worker, who decides anew; and once the events are recorded it is \
        acknowledged. The events' ids begin with the delivery's idempotency key, so one that is answered twice keeps its \
        first answer: another one is refused with `id-conflict` or `partly-repeated`, and acknowledged.",
    method: Method::Post,
    path: "/v1/append",
    parameters: &[],
    bodies: &[content(
        MEDIA_JSON,
        Some(|g| g.subschema_for::<AppendRequest>()),
        "Events, conditions, checkpoint and timers.",
    )],
    answers: &[content(
        MEDIA_JSON,
        Some(|g| g.subschema_for::<AppendAnswer>()),
        "The commit and where the events are.",
    )],
    needs: Needs::Part(Permission::Publish),
    refusals: &[
        EVENT,
        BODY,
        APPENDING,
        &[
            Code::InvalidRequest,
            Code::ConditionFailed,
            Code::PartlyRepeated,
            Code::RepeatedWithin,
            Code::CheckpointBehind,
            Code::TooManyCheckpoints,
            Code::InvalidTimer,
            Code::TimerExists,
            Code::TooManyTimers,
            Code::SubscriptionNotFound,
            Code::DeliveryNotInFlight,
            Code::AnswerOutOfOrder,
        ],
    ],
    example: Example {
        target: "/v1/append",
        body: Some((
            MEDIA_JSON,
            r#"{"events":[{"specversion":"1.0","id":"2","source":"/shop","type":"order.paid","subject":"order/17"}],"conditions":[{"stream":"order/17","version":1}]}"#,
        )),
        answer: r#"{"commit":2,"duplicate":false,"events":[{"position":2,"streamversion":2}]}"#,
    },
    command: None,
};
