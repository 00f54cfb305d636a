//! Operations about patterns.

use super::*;
use crate::{MEDIA_JSON, PatternTestAnswer, PatternTestRequest};

pub(super) const TEST: Operation = Operation {
    name: "pattern.test",
    summary: "Test a pattern against an event",
    description: "Says whether an event pattern matches an event and, if not, which field failed: its path, what the \
        pattern accepts there, and what the event has. The event is any JSON object of at most the size of an event; it \
        is not recorded, and no rule of the envelope is checked. A pattern that is none is refused with the place and the \
        reason.",
    method: Method::Post,
    path: "/v1/patterns/test",
    parameters: &[],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<PatternTestRequest<'_>>()), "The pattern and the event.")],
    answers: &[content(
        MEDIA_JSON,
        Some(|g| g.subschema_for::<PatternTestAnswer>()),
        "Whether it matches, and why not.",
    )],
    needs: Needs::Credential,
    refusals: &[
        BODY,
        &[
            Code::MalformedJson,
            Code::InvalidRequest,
            Code::InvalidPattern,
            Code::InvalidEvent,
            Code::EventTooLarge,
            Code::Overloaded,
            Code::Internal,
        ],
    ],
    example: Example {
        target: "/v1/patterns/test",
        body: Some((
            MEDIA_JSON,
            r#"{"pattern":{"type":[{"prefix":"order."}],"data":{"total":[{"numeric":[">",100]}]}},"event":{"type":"order.placed","data":{"total":20}}}"#,
        )),
        answer: r#"{"match":false,"failures":[{"path":"data.total","reason":"value","expected":[{"numeric":[">",100]}],"found":[20]}]}"#,
    },
    command: Some("pattern test"),
};
