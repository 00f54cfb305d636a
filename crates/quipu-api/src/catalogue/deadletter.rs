//! Operations on dead letters. Looking at them changes nothing.

use super::*;
use crate::deadletter::{DecidedAnswer, DiscardRequest, RedriveRequest};
use crate::parameter::{Kind, Place};
use crate::request::DeadLettersRequest;
use crate::{DeadLetterAnswer, DeadLetterGroupsAnswer, DeadLettersPage, MEDIA_JSON};

const fn optional(name: &'static str, kind: Kind, description: &'static str) -> Parameter {
    Parameter { name, description, kind, place: Place::Optional }
}

const LIMIT: Parameter = optional("limit", Kind::Limit, "Most entries, 1 to 10,000; 100 if not given.");
const FILTER: &[Parameter] = &[
    optional("subscription", Kind::Text, "Whose deliveries."),
    optional("type", Kind::Text, "Events of exactly this type."),
    optional("fingerprint", Kind::Text, "Failures of this kind, as a group or a dead letter names it."),
];
const STATE: Parameter =
    optional("state", Kind::Word(DeadLettersRequest::STATES), "What became of them; those that are open if not given.");
const CURSOR: Parameter =
    optional("cursor", Kind::Text, "The cursor of the page before, with the same other parameters as there.");
const ID: &[Parameter] =
    &[Parameter { name: "id", description: "Its number.", kind: Kind::Number, place: Place::Path }];
/// What can stand against a decision.
const DECIDING: &[Code] = &[Code::DeadLetterNotFound, Code::DeadLetterDecided, Code::InvalidParameter];
const REQUEST: &[Code] = &[Code::MalformedJson, Code::InvalidRequest];

pub(super) const LIST: Operation = Operation {
    name: "deadletter.list",
    summary: "List dead letters",
    description: "Returns a page of dead letters that match every given parameter, the oldest first. They are kept for 14 \
        days if their subscription says nothing else; one that parks its key is kept until somebody decides.",
    method: Method::Get,
    path: "/v1/deadletters",
    parameters: &[FILTER, &[STATE, LIMIT, CURSOR]],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<DeadLettersPage>()), "A page of dead letters.")],
    needs: Needs::Part(Permission::Redrive),
    refusals: &[&[Code::InvalidParameter, Code::InvalidCursor, Code::Internal]],
    example: Example {
        target: "/v1/deadletters?subscription=billing",
        body: None,
        answer: r##"{"deadletters":[{"id":1,"subscription":"billing","position":1,"type":"order.placed","reason":"attempts-exhausted","attempts":10,"time":"2026-01-31T09:47:00.000Z","fingerprint":"no customer #","parkskey":false,"state":"open"}],"cursor":null}"##,
    },
    command: Some("deadletter list"),
};

pub(super) const GROUPS: Operation = Operation {
    name: "deadletter.groups",
    summary: "Group dead letters",
    description: "Counts open dead letters that match every given parameter by subscription, type and fingerprint of the \
        last error; the largest group first.",
    method: Method::Get,
    path: "/v1/deadletters/groups",
    parameters: &[FILTER, &[LIMIT]],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<DeadLetterGroupsAnswer>()), "The groups.")],
    needs: Needs::Permission(Permission::Redrive),
    refusals: &[&[Code::InvalidParameter, Code::Internal]],
    example: Example {
        target: "/v1/deadletters/groups",
        body: None,
        answer: r##"{"groups":[{"subscription":"billing","type":"order.placed","fingerprint":"no customer #","count":1,"oldest":{"id":1,"time":"2026-01-31T09:47:00.000Z"},"newest":{"id":1,"time":"2026-01-31T09:47:00.000Z"}}],"cut":false}"##,
    },
    command: Some("deadletter groups"),
};

pub(super) const GET: Operation = Operation {
    name: "deadletter.get",
    summary: "See a dead letter",
    description: "Returns a dead letter with its event, every attempt (when, how long, what went wrong; the first and the \
        newest 19, if there were more) and why there was no further one.",
    method: Method::Get,
    path: "/v1/deadletters/{id}",
    parameters: &[ID],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<DeadLetterAnswer>()), "All of it.")],
    needs: Needs::Part(Permission::Redrive),
    refusals: &[READING, &[Code::InvalidParameter, Code::DeadLetterNotFound]],
    example: Example {
        target: "/v1/deadletters/1",
        body: None,
        answer: r##"{"id":1,"subscription":"billing","position":1,"type":"order.placed","reason":"given-up-by-consumer","attempts":1,"time":"2026-01-31T09:30:01.000Z","fingerprint":"no customer #","parkskey":false,"state":"open","event":{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","subject":"order/17","position":1,"streamversion":1,"recordedtime":"2026-01-31T09:30:00.000Z","data":{"total":9}},"history":[{"number":1,"time":"2026-01-31T09:30:00.000Z","durationms":12,"error":"no customer 4711"}]}"##,
    },
    command: Some("deadletter show"),
};

pub(super) const REDRIVE: Operation = Operation {
    name: "deadletter.redrive",
    summary: "Deliver a dead letter once more",
    description: "Delivers the event once more, from the first attempt on: to its own subscription, to another one (`to`), \
        or an edited copy of it (`event`) to its own. It comes out of order and says so, unless it parks its key, which \
        then goes on with it. An edited copy is a dead letter of its own that refers to the original, and reaches only \
        this subscription; the event in the log stays as it is. One that fails again is a new dead letter that says \
        where it comes from.",
    method: Method::Post,
    path: "/v1/deadletters/{id}/redrive",
    parameters: &[ID],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RedriveRequest>()), "Where to, or the edited copy.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<DecidedAnswer>()), "The dead letter as it is now.")],
    needs: Needs::Part(Permission::Redrive),
    refusals: &[
        DECIDING,
        REQUEST,
        BODY,
        APPENDING,
        &[Code::SubscriptionNotFound, Code::InvalidEvent, Code::ReservedName, Code::EventTooLarge, Code::Damaged],
    ],
    example: Example {
        target: "/v1/deadletters/1/redrive",
        body: Some((MEDIA_JSON, r#"{"to":"billing"}"#)),
        answer: r##"{"deadletter":{"id":1,"subscription":"billing","position":1,"type":"order.placed","reason":"attempts-exhausted","attempts":10,"time":"2026-01-31T09:47:00.000Z","fingerprint":"no customer #","parkskey":false,"state":"redriven","decidedtime":"2026-01-31T10:00:00.000Z","redrivento":"billing"}}"##,
    },
    command: Some("deadletter redrive"),
};

pub(super) const DISCARD: Operation = Operation {
    name: "deadletter.discard",
    summary: "Discard a dead letter",
    description: "Decides, with a reason of 1 to 1,024 bytes, that a dead letter need not be delivered. A key that it \
        parks goes on. It stays to be seen until it was kept long enough.",
    method: Method::Post,
    path: "/v1/deadletters/{id}/discard",
    parameters: &[ID],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<DiscardRequest>()), "Why.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<DecidedAnswer>()), "The dead letter as it is now.")],
    needs: Needs::Part(Permission::Redrive),
    refusals: &[DECIDING, REQUEST, BODY, APPENDING, &[Code::Damaged]],
    example: Example {
        target: "/v1/deadletters/1/discard",
        body: Some((MEDIA_JSON, r#"{"reason":"a test order"}"#)),
        answer: r##"{"deadletter":{"id":1,"subscription":"billing","position":1,"type":"order.placed","reason":"attempts-exhausted","attempts":10,"time":"2026-01-31T09:47:00.000Z","fingerprint":"no customer #","parkskey":false,"state":"discarded","decidedtime":"2026-01-31T10:00:00.000Z","discardreason":"a test order"}}"##,
    },
    command: Some("deadletter discard"),
};
