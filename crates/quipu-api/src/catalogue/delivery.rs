//! Operations of consumers: fetching deliveries and answering them.

use super::subscription::NAME;
use super::*;
use crate::{AnswersAnswer, AnswersRequest, MEDIA_JSON, PullAnswer, PullRequest};

pub(super) const PULL: Operation = Operation {
    name: "delivery.pull",
    summary: "Fetch deliveries",
    description: "Hands out up to `max` deliveries (1 to 1,000; 100 if not given) of a subscription, and waits up to \
        `waitms` (at most 30,000) for the first one. An answer ends after 4 MiB of events, but has at least one if there \
        is one. Each delivery is with this consumer until its deadline: answer it by then, with the token of the attempt, \
        or it is tried again. Events of one key come in order and may come together; then they are answered in that \
        order, and later ones wait. Any number of consumers may pull from a subscription; an event goes to one of them. \
        Deliveries that carry the same `key` are those of one key. A subscription that transforms delivers `transformed` \
        in the place of `event`, and beside it `attributes`, the event without its data. \
        Every delivery has an idempotency key, the same for each attempt, since any may come more than once. What a \
        client that has gone does not fetch any more is handed to the next one.",
    method: Method::Post,
    path: "/v1/subscriptions/{name}/pull",
    parameters: &[NAME],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<PullRequest>()), "How many, and how long to wait.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<PullAnswer>()), "The deliveries.")],
    needs: Needs::Permission(Permission::Consume),
    refusals: &[
        &[Code::MalformedJson, Code::InvalidRequest, Code::SubscriptionNotFound],
        BODY,
        READING,
        &[Code::Overloaded, Code::Unavailable],
    ],
    example: Example {
        target: "/v1/subscriptions/billing/pull",
        body: Some((MEDIA_JSON, r#"{"max":10,"waitms":30000}"#)),
        answer: r#"{"deliveries":[{"event":{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","subject":"order/17","position":1,"streamversion":1,"recordedtime":"2026-01-31T09:30:00.000Z","data":{"total":9}},"delivery":{"position":1,"token":"9a3c51f0e2b46d78","attempt":1,"deadline":"2026-01-31T09:30:30.000Z","idempotencykey":"billing/5be1c04a97f3d268/1","key":"6e1b3f0c9d27a8545c02b7e91f4d3a68","redriven":false}}]}"#,
    },
    command: Some("subscription pull"),
};

pub(super) const ANSWER: Operation = Operation {
    name: "delivery.answer",
    summary: "Answer deliveries",
    description: "Says what became of deliveries, 1 to 10,000 at once, each with the token of its attempt: `ack` (it was \
        processed), `nack` (try again, after `delayms` or as the retry policy says), `extend` (the consumer needs `ms` \
        milliseconds more from now on), `giveup` (trying again is of no use: it becomes a dead letter), or `release` (it \
        was not tried: it goes back, with what came behind it in its key, and counts as no attempt). Each answer \
        stands for itself: one that comes too late, or whose token is not that of the attempt in flight, is refused \
        with `delivery-not-in-flight`, and one that comes before that of an earlier event of its key with \
        `answer-out-of-order`. An answer is taken in memory and on disk at most 100 ms later: after a crash of the server \
        those of the last moment are delivered once more.",
    method: Method::Post,
    path: "/v1/subscriptions/{name}/answers",
    parameters: &[NAME],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<AnswersRequest>()), "The answers, in order.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<AnswersAnswer>()), "What became of each.")],
    needs: Needs::Permission(Permission::Consume),
    refusals: &[
        &[Code::MalformedJson, Code::InvalidRequest, Code::SubscriptionNotFound],
        BODY,
        &[Code::DeliveryNotInFlight, Code::AnswerOutOfOrder, Code::Overloaded, Code::Internal],
    ],
    example: Example {
        target: "/v1/subscriptions/billing/answers",
        body: Some((MEDIA_JSON, r#"{"answers":[{"position":1,"token":"9a3c51f0e2b46d78","outcome":"ack"}]}"#)),
        answer: r#"{"done":1,"refused":0,"results":[{"status":"done"}]}"#,
    },
    command: Some("subscription ack"),
};
