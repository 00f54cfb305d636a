//! Replays: events of the log delivered once more.

use super::*;
use crate::MEDIA_JSON;
use crate::replay::{ReplayPreviewAnswer, ReplayRequest};

pub(super) const PREVIEW: Operation = Operation {
    name: "replay.preview",
    summary: "Preview a replay",
    description: "Counts, exactly, the events between two places of the log that match `pattern` and that the subscription `to` wants, \
        for each type, and finds those that are not as their schema wants them now. Nothing is done before it is confirmed, within 15 \
        minutes, as an operation: `POST /v1/operations/{id}/confirm` begins it, which needs the permissions `redrive` and `replay`. Then each \
        of the events is delivered once more, marked with the number of the operation, in the order of the subscription or, with \
        `strict`, one after the other. `ratepersecond` or `speed` holds it back. A subscription with an endpoint is refused \
        unless `webhooks` allows it, one whose answers are appended always. With `shadow` a subscription is made that gets nothing \
        else, which needs the permission `manage` for it. The answer is a verdict: see `GET /v1/operations/{id}`. Counting reads \
        the whole range.",
    method: Method::Post,
    path: "/v1/replays",
    parameters: &[],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<ReplayRequest>()), "Which events, to whom, how fast.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<ReplayPreviewAnswer>()), "What it would do.")],
    // Counting by a pattern tells of events what they have, and whether there is such a subscription.
    needs: Needs::Permission(Permission::Redrive),
    refusals: &[
        &[
            Code::MalformedJson,
            Code::InvalidRequest,
            Code::InvalidOperation,
            Code::InvalidPattern,
            Code::InvalidSubscription,
            Code::SubscriptionNotFound,
            Code::SubscriptionExists,
            Code::TooManyOperations,
            Code::Damaged,
        ],
        BODY,
        &[Code::Overloaded, Code::Unavailable, Code::DiskFull, Code::Internal],
    ],
    example: Example {
        target: "/v1/replays",
        body: Some((
            MEDIA_JSON,
            r#"{"to":"billing","until":{"position":1},"pattern":{"type":["order.placed"]},"ratepersecond":500}"#,
        )),
        answer: r#"{"id":1,"state":"previewed","work":{"replay":{"to":"billing","from":1,"until":1,"pattern":{"type":["order.placed"]}}},"ratepersecond":500.0,"total":1,"done":0,"refused":0,"time":"2026-01-31T10:00:00.000Z","remainingseconds":1,"replay":{"position":0,"handed":0,"waiting":0,"acknowledged":0,"deadlettered":0,"forgotten":0,"persecond":null},"confirmbefore":"2026-01-31T10:15:00.000Z","types":[{"type":"order.placed","events":1}],"othertypes":0,"failing":0,"failures":[],"callsendpoint":false}"#,
    },
    command: Some("replay"),
};
