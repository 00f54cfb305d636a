//! Operations that read: events, streams and traces.

use super::*;
use crate::openapi::RecordedEvent;
use crate::parameter::{FILTER, Kind, Place};
use crate::request::DATA_FORMS;
use crate::{EventsPage, MEDIA_EVENT, MEDIA_JSON, MEDIA_LINES, StreamEventsPage, StreamsPage, TraceAnswer};

pub(super) const fn optional(name: &'static str, kind: Kind, description: &'static str) -> Parameter {
    Parameter { name, description, kind, place: Place::Optional }
}

const DIRECTION: Parameter = optional(
    "direction",
    Kind::Word(&["forward", "backward"]),
    "Oldest first (forward, the default) or newest first; a cursor keeps its own.",
);
const LIMIT: Parameter = optional("limit", Kind::Limit, "Most entries on the page, 1 to 10,000; 100 if not given.");
const CURSOR: Parameter =
    optional("cursor", Kind::Text, "The cursor of the page before, with the same other parameters as there.");
/// How data that is kept beside the log is shown.
const DATA: Parameter = optional(
    "data",
    Kind::Word(DATA_FORMS),
    "Data that is kept beside the log: as `dataref` (reference, the default), or as the data that was sent (resolved).",
);
const KEY: &[Parameter] = &[
    Parameter { name: "source", description: "Its source.", kind: Kind::Text, place: Place::Required },
    Parameter { name: "id", description: "Its id.", kind: Kind::Text, place: Place::Required },
];
const POSITION: &[Parameter] =
    &[Parameter { name: "position", description: "Its position.", kind: Kind::Number, place: Place::Path }];
const SCHEMA_VERSION: Parameter = optional(
    "schemaversion",
    Kind::Text,
    "In which version of their schema events are given: stored (the default, as they were recorded), newest, or a number. Upcasters \
     turn those of earlier versions; those of later ones stay as they are.",
);
pub(super) const VIEW: &[Parameter] = &[SCHEMA_VERSION, DATA];
pub(super) const PAGE: &[Parameter] = &[DIRECTION, LIMIT, CURSOR];
const EVENT_ANSWER: &[Content] =
    &[content(MEDIA_EVENT, Some(|g| g.subschema_for::<RecordedEvent>()), "The event as it was recorded.")];
const TRACE_ANSWER: &[Content] = &[content(
    MEDIA_JSON,
    Some(|g| g.subschema_for::<TraceAnswer>()),
    "The tree, in the order in which it is printed.",
)];
const TRACE_EXAMPLE: &str = r#"{"cut":false,"nodes":[{"depth":0,"position":1,"id":"1","source":"/shop","type":"order.placed","subject":"order/17"}]}"#;
const EVENT_EXAMPLE: &str = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","subject":"order/17","position":1,"streamversion":1,"recordedtime":"2026-01-31T09:30:00.000Z","data":{"total":9}}"#;

pub(super) const LIST: Operation = Operation {
    name: "event.list",
    summary: "Read events by a filter",
    description: "Returns a page of the events that match every given parameter, in the order of the log or against \
        it. The cursor leads to the next page and is null at the end; a page may be short or even empty and still have \
        one, since the work a page may cost is bounded. With `Accept: application/x-ndjson` the answer is one event a \
        line, and the cursor is in the header quipu-cursor.",
    method: Method::Get,
    path: "/v1/events",
    parameters: &[FILTER, VIEW, PAGE],
    bodies: &[],
    answers: &[
        content(MEDIA_JSON, Some(|g| g.subschema_for::<EventsPage>()), "A page of events."),
        content(MEDIA_LINES, Some(|g| g.subschema_for::<RecordedEvent>()), "One event a line."),
    ],
    needs: Needs::Part(Permission::Read),
    refusals: &[READING, &[Code::InvalidParameter, Code::InvalidCursor, Code::NotAcceptable, Code::NotUpcast]],
    example: Example {
        target: "/v1/events?type=order.*&limit=1",
        body: None,
        answer: r#"{"events":[{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","subject":"order/17","position":1,"streamversion":1,"recordedtime":"2026-01-31T09:30:00.000Z","data":{"total":9}}],"cursor":null,"position":1}"#,
    },
    command: Some("event list"),
};

pub(super) const GET: Operation = Operation {
    name: "event.get",
    summary: "Read one event by source and id",
    description: "Returns the newest event with that source and id.",
    method: Method::Get,
    path: "/v1/event",
    parameters: &[KEY, VIEW],
    bodies: &[],
    answers: EVENT_ANSWER,
    needs: Needs::Part(Permission::Read),
    refusals: &[READING, &[Code::InvalidParameter, Code::EventNotFound, Code::NotUpcast]],
    example: Example { target: "/v1/event?source=/shop&id=1", body: None, answer: EVENT_EXAMPLE },
    command: Some("event get"),
};

pub(super) const TRACE: Operation = Operation {
    name: "event.trace",
    summary: "Trace one event by source and id",
    description: "Returns the tree of causes and effects around the event: what its causationid leads to in both \
        directions, and what shares its correlationid.",
    method: Method::Get,
    path: "/v1/event/trace",
    parameters: &[KEY],
    bodies: &[],
    answers: TRACE_ANSWER,
    needs: Needs::Permission(Permission::Read),
    refusals: &[READING, &[Code::InvalidParameter, Code::EventNotFound]],
    example: Example { target: "/v1/event/trace?source=/shop&id=1", body: None, answer: TRACE_EXAMPLE },
    command: Some("event trace"),
};

pub(super) const POSITION_GET: Operation = Operation {
    name: "position.get",
    summary: "Read the event at a position",
    description: "Returns the event at that position of the log.",
    method: Method::Get,
    path: "/v1/positions/{position}",
    parameters: &[POSITION, VIEW],
    bodies: &[],
    answers: EVENT_ANSWER,
    needs: Needs::Part(Permission::Read),
    refusals: &[READING, &[Code::InvalidParameter, Code::PositionNotFound, Code::NotUpcast]],
    example: Example { target: "/v1/positions/1", body: None, answer: EVENT_EXAMPLE },
    command: Some("event get"),
};

pub(super) const POSITION_TRACE: Operation = Operation {
    name: "position.trace",
    summary: "Trace the event at a position",
    description: "Returns the tree of causes and effects around the event at that position.",
    method: Method::Get,
    path: "/v1/positions/{position}/trace",
    parameters: &[POSITION],
    bodies: &[],
    answers: TRACE_ANSWER,
    needs: Needs::Permission(Permission::Read),
    refusals: &[READING, &[Code::InvalidParameter, Code::PositionNotFound]],
    example: Example { target: "/v1/positions/1/trace", body: None, answer: TRACE_EXAMPLE },
    command: Some("event trace"),
};

pub(super) const STREAM_LIST: Operation = Operation {
    name: "stream.list",
    summary: "List streams",
    description: "Returns a page of streams in the order in which they began, all of them or those whose names begin \
        with a prefix.",
    method: Method::Get,
    path: "/v1/streams",
    parameters: &[&[optional("prefix", Kind::Text, "What the names begin with."), LIMIT, CURSOR]],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<StreamsPage>()), "A page of streams.")],
    needs: Needs::Permission(Permission::Read),
    refusals: &[READING, &[Code::InvalidParameter, Code::InvalidCursor]],
    example: Example {
        target: "/v1/streams?prefix=order/",
        body: None,
        answer: r#"{"streams":[{"subject":"order/17","version":2,"position":2,"firstposition":1}],"cursor":null}"#,
    },
    command: Some("stream list"),
};

pub(super) const STREAM_READ: Operation = Operation {
    name: "stream.read",
    summary: "Read a stream",
    description: "Returns a page of the events of one stream, from a version on, oldest or newest first. The subject \
        is the rest of the path: slashes may stand as they are or percent-encoded, every other character that a path \
        cannot hold is percent-encoded. With `Accept: application/x-ndjson` the answer is one event a line, and the \
        cursor is in the header quipu-cursor.",
    method: Method::Get,
    path: "/v1/streams/{subject}",
    parameters: &[
        &[
            Parameter { name: "subject", description: "The stream.", kind: Kind::Text, place: Place::Path },
            optional("fromversion", Kind::Number, "The first version to read, in the direction of reading."),
        ],
        VIEW,
        PAGE,
    ],
    bodies: &[],
    answers: &[
        content(MEDIA_JSON, Some(|g| g.subschema_for::<StreamEventsPage>()), "A page of events."),
        content(MEDIA_LINES, Some(|g| g.subschema_for::<RecordedEvent>()), "One event a line."),
    ],
    needs: Needs::Permission(Permission::Read),
    refusals: &[
        READING,
        &[Code::InvalidParameter, Code::InvalidCursor, Code::NotAcceptable, Code::StreamNotFound, Code::NotUpcast],
    ],
    example: Example {
        target: "/v1/streams/order/17?limit=1",
        body: None,
        answer: r#"{"events":[{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","subject":"order/17","position":1,"streamversion":1,"recordedtime":"2026-01-31T09:30:00.000Z","data":{"total":9}}],"cursor":null,"position":1,"version":1}"#,
    },
    command: Some("stream read"),
};
