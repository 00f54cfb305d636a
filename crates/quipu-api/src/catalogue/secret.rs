//! Operations on the endpoint of a subscription that pushes: its secrets, and whether it is tried. And on the secrets of a saga that calls.

use super::*;
use crate::MEDIA_JSON;
use crate::parameter::{Kind, Place};
use crate::secret::{EndpointAnswer, RotateAnswer, RotateRequest, SecretsAnswer};

/// The name in the path.
const NAME: &[Parameter] =
    &[Parameter { name: "name", description: "The name of the subscription.", kind: Kind::Text, place: Place::Path }];

pub(super) const LIST: Operation = Operation {
    name: "secret.list",
    summary: "List the secrets of a webhook",
    description: "Returns the numbers and ages of the secrets that webhooks of a subscription are signed with now, newest \
        first; never the secrets. One that was replaced has an end.",
    method: Method::Get,
    path: "/v1/subscriptions/{name}/secrets",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SecretsAnswer>()), "What may be known of them.")],
    needs: Needs::Permission(Permission::Administer),
    refusals: &[&[Code::SubscriptionNotFound, Code::InvalidRequest, Code::Internal]],
    example: Example {
        target: "/v1/subscriptions/billing/secrets",
        body: None,
        answer: r#"{"name":"billing","secrets":[{"id":1,"created":"2026-01-31T09:30:00.000Z","ageseconds":60}]}"#,
    },
    command: Some("subscription secret list"),
};

pub(super) const ROTATE: Operation = Operation {
    name: "secret.rotate",
    summary: "Replace the secret of a webhook",
    description: "Adds a secret that webhooks of a subscription are signed with: the one that is given, or one that is made \
        and shown in this answer only. For 24 hours more they are signed with the one before as well, so that the receiver \
        can be changed without a gap. Of more than four the oldest ends at once. The secret that is the newest already \
        changes nothing. A backup has no secrets: after it was restored, this makes a new one.",
    method: Method::Post,
    path: "/v1/subscriptions/{name}/secrets",
    parameters: &[NAME],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RotateRequest>()), "The secret, or an empty object.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RotateAnswer>()), "The secret that was made.")],
    needs: Needs::Permission(Permission::Administer),
    refusals: &[
        &[Code::MalformedJson, Code::InvalidRequest, Code::InvalidSecret, Code::SubscriptionNotFound],
        BODY,
        &[Code::Overloaded, Code::DiskFull, Code::Internal],
    ],
    example: Example {
        target: "/v1/subscriptions/billing/secrets",
        body: Some((MEDIA_JSON, "{}")),
        answer: r#"{"name":"billing","secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","secrets":[{"id":2,"created":"2026-02-01T09:30:00.000Z","ageseconds":0},{"id":1,"created":"2026-01-31T09:30:00.000Z","ageseconds":86400,"until":"2026-02-02T09:30:00.000Z"}]}"#,
    },
    command: Some("subscription secret set"),
};

/// The saga in the path.
const SAGA: &[Parameter] =
    &[Parameter { name: "saga", description: "The saga.", kind: Kind::Text, place: Place::Path }];

pub(super) const SAGA_LIST: Operation = Operation {
    name: "saga.secrets",
    summary: "List the secrets of a saga",
    description: "Returns the numbers and ages of the secrets that calls of a saga with `sign: true` are signed with now, newest \
        first; never the secrets. One that was replaced has an end.",
    method: Method::Get,
    path: "/v1/sagas/{saga}/secrets",
    parameters: &[SAGA],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SecretsAnswer>()), "What may be known of them.")],
    needs: Needs::Permission(Permission::Administer),
    refusals: &[&[Code::SagaNotFound, Code::InvalidRequest, Code::Internal]],
    example: Example {
        target: "/v1/sagas/order_payment/secrets",
        body: None,
        answer: r#"{"name":"order_payment","secrets":[{"id":1,"created":"2026-01-31T09:30:00.000Z","ageseconds":60}]}"#,
    },
    command: Some("saga secret list"),
};

pub(super) const SAGA_ROTATE: Operation = Operation {
    name: "saga.rotate",
    summary: "Replace the secret of a saga",
    description: "Adds a secret that calls of a saga with `sign: true` are signed with: the one that is given, or one that is made and \
        shown in this answer only. For 24 hours more they are signed with the one before as well. Of more than four the oldest \
        ends at once. The secret that is the newest already changes nothing. A backup has no secrets: after it was restored, this \
        makes a new one.",
    method: Method::Post,
    path: "/v1/sagas/{saga}/secrets",
    parameters: &[SAGA],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RotateRequest>()), "The secret, or an empty object.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RotateAnswer>()), "The secret that was made.")],
    needs: Needs::Permission(Permission::Administer),
    refusals: &[
        &[Code::MalformedJson, Code::InvalidRequest, Code::InvalidSecret, Code::SagaNotFound],
        BODY,
        &[Code::Overloaded, Code::DiskFull, Code::Internal],
    ],
    example: Example {
        target: "/v1/sagas/order_payment/secrets",
        body: Some((MEDIA_JSON, "{}")),
        answer: r#"{"name":"order_payment","secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","secrets":[{"id":1,"created":"2026-02-01T09:30:00.000Z","ageseconds":0}]}"#,
    },
    command: Some("saga secret set"),
};

pub(super) const ENDPOINT: Operation = Operation {
    name: "endpoint.get",
    summary: "See whether an endpoint is tried",
    description: "Returns how the endpoint of a subscription that pushes is: its circuit is closed (everything goes), open \
        (it failed five times in a row or asked to be left alone, and nothing goes for a while) or probing (one webhook is \
        on its way and decides). Subscriptions that push to the same scheme, host and port share it. What is not sent \
        because of it counts as no attempt.",
    method: Method::Get,
    path: "/v1/subscriptions/{name}/endpoint",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<EndpointAnswer>()), "How it is.")],
    needs: Needs::Permission(Permission::Observe),
    refusals: &[&[Code::SubscriptionNotFound, Code::InvalidRequest, Code::Internal]],
    example: Example {
        target: "/v1/subscriptions/billing/endpoint",
        body: None,
        answer: r#"{"name":"billing","endpoint":"https://example.com","circuit":"closed","inhand":0,"sentence":null}"#,
    },
    command: None,
};
