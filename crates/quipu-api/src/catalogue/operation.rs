//! Operations on many dead letters or instances of sagas: previewed, confirmed, tracked.

use super::*;
use crate::MEDIA_JSON;
use crate::operation::{ItemsAnswer, OperationAnswer, OperationsAnswer, PreviewAnswer, PreviewRequest};
use crate::parameter::{Kind, Place};

const ID: &[Parameter] =
    &[Parameter { name: "id", description: "Its number.", kind: Kind::Number, place: Place::Path }];
const PAGE: &[Parameter] = &[
    Parameter {
        name: "from",
        description: "The first item, counted from 0, as `next` of the page before says.",
        kind: Kind::Number,
        place: Place::Optional,
    },
    Parameter {
        name: "limit",
        description: "Most items, 1 to 10,000; 100 if not given.",
        kind: Kind::Limit,
        place: Place::Optional,
    },
];
const ONE: Content = content(MEDIA_JSON, Some(|g| g.subschema_for::<OperationAnswer>()), "The operation as it is now.");
/// `redrive` for operations on dead letters and replays, `intervene` for acts on instances of sagas.
const EITHER: Needs = Needs::Either(Permission::Redrive, Permission::Intervene);
/// What can stand against a step of an operation.
const STEP: &[Code] = &[Code::OperationNotFound, Code::OperationState, Code::InvalidParameter];

pub(super) const PREVIEW: Operation = Operation {
    name: "operation.preview",
    summary: "Preview an operation on dead letters",
    description: "Counts, exactly, the open dead letters that are selected, by their numbers (`ids`) or as all that match \
        `subscription`, `type` and `fingerprint` (none of them: all), and shows the first of them. Nothing is done before \
        it is confirmed, within 15 minutes; what comes to match later is not touched. An operation has at most 1,000,000 \
        dead letters, and all that are previewed or running 4,000,000; `ratepersecond` holds it back.",
    method: Method::Post,
    path: "/v1/operations",
    parameters: &[],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<PreviewRequest>()), "What to do to which dead letters.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<PreviewAnswer>()), "The count and a sample.")],
    needs: Needs::Permission(Permission::Redrive),
    refusals: &[
        &[Code::MalformedJson, Code::InvalidRequest, Code::InvalidOperation, Code::TooManyOperations],
        BODY,
        &[Code::Overloaded, Code::Unavailable, Code::DiskFull, Code::Internal],
    ],
    example: Example {
        target: "/v1/operations",
        body: Some((
            MEDIA_JSON,
            r##"{"work":{"redrive":{}},"select":{"subscription":"billing","fingerprint":"no customer #"},"ratepersecond":10}"##,
        )),
        answer: r##"{"id":1,"state":"previewed","work":{"redrive":{}},"ratepersecond":10.0,"total":1,"done":0,"refused":0,"time":"2026-01-31T10:00:00.000Z","remainingseconds":1,"confirmbefore":"2026-01-31T10:15:00.000Z","sample":[{"id":1,"subscription":"billing","position":1,"type":"order.placed","reason":"attempts-exhausted","attempts":10,"time":"2026-01-31T09:47:00.000Z","fingerprint":"no customer #","parkskey":false,"state":"open"}]}"##,
    },
    command: Some("deadletter redrive"),
};

pub(super) const CONFIRM: Operation = Operation {
    name: "operation.confirm",
    summary: "Begin an operation that was previewed",
    description: "Begins it, durably: it goes on after a restart. It does to each dead letter what redrive and discard do \
        to one; a dead letter that somebody else has decided about meanwhile is refused, and the others go on. With instances of sagas it is the \
        same: one that the act does not fit any more, or that is gone, is refused. One on dead letters, and a replay, needs `redrive`, an act on \
        instances `intervene`; so do looking at it and cancelling it.",
    method: Method::Post,
    path: "/v1/operations/{id}/confirm",
    parameters: &[ID],
    bodies: &[],
    answers: &[ONE],
    needs: EITHER,
    refusals: &[STEP, APPENDING],
    example: Example {
        target: "/v1/operations/1/confirm",
        body: None,
        answer: r#"{"id":1,"state":"running","work":{"redrive":{}},"ratepersecond":10.0,"total":1,"done":0,"refused":0,"time":"2026-01-31T10:00:09.000Z","remainingseconds":1}"#,
    },
    command: Some("deadletter redrive"),
};

pub(super) const CANCEL: Operation = Operation {
    name: "operation.cancel",
    summary: "Cancel an operation",
    description: "Ends an operation that is running; what it has done stays done. One that was only previewed is forgotten.",
    method: Method::Post,
    path: "/v1/operations/{id}/cancel",
    parameters: &[ID],
    bodies: &[],
    answers: &[ONE],
    needs: EITHER,
    refusals: &[STEP, APPENDING],
    example: Example {
        target: "/v1/operations/1/cancel",
        body: None,
        answer: r#"{"id":1,"state":"cancelled","work":{"discard":{"reason":"a test order"}},"total":500,"done":120,"refused":0,"time":"2026-01-31T10:00:09.000Z","ended":"2026-01-31T10:00:10.000Z","remainingseconds":null}"#,
    },
    command: Some("operation cancel"),
};

pub(super) const LIST: Operation = Operation {
    name: "operation.list",
    summary: "List operations",
    description: "Returns every operation that is known, the newest first: at most 100. The oldest that ended are forgotten \
        first. Who may not redrive sees no operations on dead letters and no replays, who may not intervene no acts on instances.",
    method: Method::Get,
    path: "/v1/operations",
    parameters: &[],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<OperationsAnswer>()), "The operations.")],
    needs: EITHER,
    refusals: &[&[Code::Internal]],
    example: Example {
        target: "/v1/operations",
        body: None,
        answer: r#"{"operations":[{"id":1,"state":"running","work":{"redrive":{}},"ratepersecond":10.0,"total":500,"done":120,"refused":1,"time":"2026-01-31T10:00:09.000Z","remainingseconds":38}]}"#,
    },
    command: Some("operation list"),
};

pub(super) const GET: Operation = Operation {
    name: "operation.get",
    summary: "See an operation",
    description: "Returns an operation and how far it is.",
    method: Method::Get,
    path: "/v1/operations/{id}",
    parameters: &[ID],
    bodies: &[],
    answers: &[ONE],
    needs: EITHER,
    refusals: &[&[Code::OperationNotFound, Code::InvalidParameter, Code::Internal]],
    example: Example {
        target: "/v1/operations/1",
        body: None,
        answer: r#"{"id":1,"state":"finished","work":{"redrive":{"to":"billing-2"}},"total":500,"done":500,"refused":1,"time":"2026-01-31T10:00:09.000Z","ended":"2026-01-31T10:00:10.000Z","remainingseconds":null}"#,
    },
    command: Some("operation show"),
};

pub(super) const ITEMS: Operation = Operation {
    name: "operation.items",
    summary: "See what became of each dead letter or instance",
    description: "Returns a page of the dead letters or instances of an operation in its order: waiting, done, or refused; with the \
        reason for the first 1,000 that were refused.",
    method: Method::Get,
    path: "/v1/operations/{id}/items",
    parameters: &[ID, PAGE],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<ItemsAnswer>()), "A page of dead letters.")],
    needs: EITHER,
    refusals: &[&[Code::OperationNotFound, Code::InvalidParameter, Code::Internal]],
    example: Example {
        target: "/v1/operations/1/items?limit=2",
        body: None,
        answer: r#"{"items":[{"id":1,"outcome":"done"},{"id":4,"outcome":"refused","error":"dead letter 4 was redriven or discarded before"}],"next":2}"#,
    },
    command: Some("operation items"),
};
