//! Operations on subscriptions: making, changing, moving and explaining them.

use quipu_domain::Subscription;

use super::*;
use crate::MEDIA_JSON;
use crate::parameter::{Kind, Place};
use crate::subscription::{DeletedAnswer, ExplainAnswer, SeekAnswer, SeekRequest};
use crate::{CreateSubscription, SubscriptionAnswer, SubscriptionsAnswer};

/// The name in the path.
pub(super) const NAME: &[Parameter] =
    &[Parameter { name: "name", description: "The name of the subscription.", kind: Kind::Text, place: Place::Path }];
const ANSWER: &[Content] =
    &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SubscriptionAnswer>()), "The subscription as it is now.")];
const ANSWER_EXAMPLE: &str = r#"{"name":"billing","definition":{"pattern":{"type":["order.placed"]},"start":"now","ordering":"per-key","key":"subject","maxinflight":1000,"ackdeadlinems":30000,"retry":{"maxattempts":10,"backoff":{"firstms":1000,"factor":2.0,"maxms":300000,"jitter":0.2}},"deadletter":{"key":"continue","retentionms":1209600000},"reportsoutcomes":false,"paused":false},"position":2,"deliveries":{"ready":0,"inflight":0,"waiting":0,"parked":0,"keys":0},"counts":{"handedout":0,"acknowledged":0,"failed":0,"deadlettered":0,"expired":0},"deadletters":0}"#;
/// What can be wrong with a definition.
const DEFINITION: &[Code] =
    &[Code::MalformedJson, Code::InvalidRequest, Code::InvalidSubscription, Code::InvalidPattern];
/// What is refused of an endpoint and its secret.
const ENDPOINT: &[Code] = &[Code::InvalidUrl, Code::AddressRefused, Code::InvalidSecret];

pub(super) const CREATE: Operation = Operation {
    name: "subscription.create",
    summary: "Make a subscription",
    description: "Makes a durable, named subscription: which events (an EventBridge event pattern; all without one), \
        where it begins, which of them wait for each other, how many may be with consumers at once, how long these have \
        to answer, when failed deliveries are tried again, and what becomes of those that are given up. Every member but \
        the name has a default. Answers 201; the same definition again, paused meanwhile or not, changes \
        nothing and is answered with 200. A tenant has at most 10,000 subscriptions.",
    method: Method::Post,
    path: "/v1/subscriptions",
    parameters: &[],
    bodies: &[content(
        MEDIA_JSON,
        Some(|g| g.subschema_for::<CreateSubscription>()),
        "The name, and the members of the definition beside it.",
    )],
    answers: ANSWER,
    needs: Needs::Part(Permission::Manage),
    refusals: &[
        DEFINITION,
        ENDPOINT,
        BODY,
        APPENDING,
        &[Code::SubscriptionExists, Code::TooManySubscriptions, Code::Damaged],
    ],
    example: Example {
        target: "/v1/subscriptions",
        body: Some((MEDIA_JSON, r#"{"name":"billing","pattern":{"type":["order.placed"]}}"#)),
        answer: ANSWER_EXAMPLE,
    },
    command: Some("subscription create"),
};

pub(super) const LIST: Operation = Operation {
    name: "subscription.list",
    summary: "List subscriptions",
    description: "Returns every subscription by name: its definition, where it is, and how many of its deliveries wait \
        for what.",
    method: Method::Get,
    path: "/v1/subscriptions",
    parameters: &[],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SubscriptionsAnswer>()), "The subscriptions.")],
    needs: Needs::Part(Permission::Observe),
    refusals: &[&[Code::Internal]],
    example: Example { target: "/v1/subscriptions", body: None, answer: r#"{"subscriptions":[]}"# },
    command: Some("subscription list"),
};

pub(super) const GET: Operation = Operation {
    name: "subscription.get",
    summary: "See a subscription",
    description: "Returns a subscription: its definition, where it is, how many of its deliveries wait for what, what \
        happened since it was made, and how many of its dead letters are open.",
    method: Method::Get,
    path: "/v1/subscriptions/{name}",
    parameters: &[NAME],
    bodies: &[],
    answers: ANSWER,
    needs: Needs::Permission(Permission::Observe),
    refusals: &[&[Code::SubscriptionNotFound, Code::Internal]],
    example: Example { target: "/v1/subscriptions/billing", body: None, answer: ANSWER_EXAMPLE },
    command: Some("subscription show"),
};

pub(super) const CHANGE: Operation = Operation {
    name: "subscription.change",
    summary: "Change a subscription",
    description: "Puts another definition in the place of the one it has: a member that is not given is its default, so \
        read it first and send all of it. Where the subscription is stays as it is, and `start` says nothing; what was \
        handed out can still be answered. A new pattern counts for events that were not looked at yet.",
    method: Method::Put,
    path: "/v1/subscriptions/{name}",
    parameters: &[NAME],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<Subscription>()), "The whole definition.")],
    answers: ANSWER,
    needs: Needs::Permission(Permission::Manage),
    refusals: &[DEFINITION, ENDPOINT, BODY, APPENDING, &[Code::SubscriptionNotFound]],
    example: Example {
        target: "/v1/subscriptions/billing",
        body: Some((MEDIA_JSON, r#"{"pattern":{"type":["order.placed"]}}"#)),
        answer: ANSWER_EXAMPLE,
    },
    command: None,
};

pub(super) const DELETE: Operation = Operation {
    name: "subscription.delete",
    summary: "Delete a subscription",
    description: "Deletes a subscription and where it is. Answers to its deliveries are refused from then on. Its dead \
        letters stay until they have been kept for 14 days; they can be redriven to another subscription.",
    method: Method::Delete,
    path: "/v1/subscriptions/{name}",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<DeletedAnswer>()), "Its name.")],
    needs: Needs::Permission(Permission::Manage),
    refusals: &[APPENDING, &[Code::SubscriptionNotFound]],
    example: Example { target: "/v1/subscriptions/billing", body: None, answer: r#"{"deleted":"billing"}"# },
    command: Some("subscription delete"),
};

const fn change(
    name: &'static str,
    summary: &'static str,
    description: &'static str,
    path: &'static str,
    target: &'static str,
    command: &'static str,
    refusals: &'static [&'static [Code]],
) -> Operation {
    Operation {
        name,
        summary,
        description,
        method: Method::Post,
        path,
        parameters: &[NAME],
        bodies: &[],
        answers: ANSWER,
        needs: Needs::Permission(Permission::Manage),
        refusals,
        example: Example { target, body: None, answer: ANSWER_EXAMPLE },
        command: Some(command),
    }
}

pub(super) const PAUSE: Operation = change(
    "subscription.pause",
    "Pause a subscription",
    "Hands out nothing more until it is resumed. What consumers have can be answered meanwhile. Pausing what is paused \
     changes nothing.",
    "/v1/subscriptions/{name}/pause",
    "/v1/subscriptions/billing/pause",
    "subscription pause",
    &[APPENDING, &[Code::SubscriptionNotFound]],
);

pub(super) const RESUME: Operation = change(
    "subscription.resume",
    "Resume a subscription",
    "Goes on where it was paused. Resuming what is not paused changes nothing. One whose stored definition is not accepted \
     any more is refused, with the member and the reason, until it is changed.",
    "/v1/subscriptions/{name}/resume",
    "/v1/subscriptions/billing/resume",
    "subscription resume",
    &[APPENDING, &[Code::SubscriptionNotFound, Code::InvalidSubscription, Code::InvalidPattern]],
);

pub(super) const SEEK: Operation = Operation {
    name: "subscription.seek",
    summary: "Move a subscription",
    description: "Goes on with the event at `to`, whatever was done before: \"beginning\", \"now\", {\"position\":n} up to \
        the next one to be recorded, or {\"time\":\"…\"} for the first event recorded then or later. Unfinished deliveries \
        and parked keys are forgotten, redriven dead letters that were not delivered yet too, and answers to what is in flight \
        come too late. With `preview` nothing is changed: the answer says how many events would come again, how many would \
        never come that nobody was handed, and how many unfinished deliveries would be forgotten; counting reads everything \
        in between.",
    method: Method::Post,
    path: "/v1/subscriptions/{name}/seek",
    parameters: &[NAME],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SeekRequest>()), "Where to go on.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SeekAnswer>()), "What was done or would be.")],
    needs: Needs::Permission(Permission::Manage),
    refusals: &[DEFINITION, BODY, APPENDING, &[Code::SubscriptionNotFound, Code::Damaged]],
    example: Example {
        target: "/v1/subscriptions/billing/seek",
        body: Some((MEDIA_JSON, r#"{"to":{"position":1},"preview":true}"#)),
        answer: r#"{"preview":true,"again":2,"skipped":0,"forgotten":0,"position":2}"#,
    },
    command: Some("subscription seek"),
};

pub(super) const EXPLAIN: Operation = Operation {
    name: "subscription.explain",
    summary: "Ask why a subscription is not moving",
    description: "Answers in one sentence and in data: it is paused, nothing that matches came, consumers have to answer, \
        a key is parked, the next attempt is due later, the rate limit holds, it is catching up, or no consumer asks. The \
        lag says how many matching events are not finished and how old the oldest is; what is not known is null, never 0.",
    method: Method::Get,
    path: "/v1/subscriptions/{name}/explain",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<ExplainAnswer>()), "Why.")],
    needs: Needs::Permission(Permission::Observe),
    refusals: &[READING, &[Code::SubscriptionNotFound]],
    example: Example {
        target: "/v1/subscriptions/billing/explain",
        body: None,
        answer: r#"{"name":"billing","sentence":"It is paused; resume it.","reason":"paused","lag":{"events":null,"unseen":3,"seconds":1.5}}"#,
    },
    command: Some("subscription explain"),
};
