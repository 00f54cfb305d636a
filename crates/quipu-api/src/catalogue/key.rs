//! Operations on the keys of a tenant, and on what a credential may do.

use super::*;
use crate::MEDIA_JSON;
use crate::key::{AccessAnswer, CreateKey, KeyAnswer, KeysAnswer, RevokedAnswer, RotateKey, TicketAnswer};
use crate::parameter::{Kind, Place};

/// The id in the path.
const ID: &[Parameter] =
    &[Parameter { name: "id", description: "The id of the key.", kind: Kind::Text, place: Place::Path }];

pub(super) const CREATE: Operation = Operation {
    name: "key.create",
    summary: "Make a key",
    description: "Makes a key and returns its text, in this answer only: the server keeps a hash of it. What the key may do \
        is said by grants: permissions, narrowed to events that match a pattern (publish, read) or to subscriptions by name \
        (consume, manage, observe, redrive, edit). With a user it sees and publishes events of this userid only.",
    method: Method::Post,
    path: "/v1/keys",
    parameters: &[],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<CreateKey>()), "The key.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<KeyAnswer>()), "The key and its text.")],
    needs: Needs::Permission(Permission::Administer),
    refusals: &[&[Code::MalformedJson, Code::InvalidRequest, Code::InvalidKey, Code::TooManyKeys], BODY, APPENDING],
    example: Example {
        target: "/v1/keys",
        body: Some((
            MEDIA_JSON,
            r#"{"name":"shop","grants":[{"permissions":["publish"],"pattern":{"type":[{"prefix":"order."}],"source":["/shop"]}}]}"#,
        )),
        answer: r#"{"id":"5f0c2a91d4e7b836","name":"shop","grants":[{"permissions":["publish"],"pattern":{"type":[{"prefix":"order."}],"source":["/shop"]}}],"made":"2026-01-31T09:30:00.000Z","key":"qp_default_5f0c2a91d4e7b836_…"}"#,
    },
    command: None,
};

pub(super) const LIST: Operation = Operation {
    name: "key.list",
    summary: "List the keys",
    description: "Returns all keys of the tenant with what they may do and when they were used last; never their secrets.",
    method: Method::Get,
    path: "/v1/keys",
    parameters: &[],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<KeysAnswer>()), "The keys.")],
    needs: Needs::Permission(Permission::Administer),
    refusals: &[&[Code::Internal]],
    example: Example {
        target: "/v1/keys",
        body: None,
        answer: r#"{"keys":[{"id":"5f0c2a91d4e7b836","name":"billing","grants":[{"permissions":["consume","observe"],"subscriptions":["billing"]}],"made":"2026-01-31T09:30:00.000Z","used":"2026-02-01T08:00:00.000Z"}]}"#,
    },
    command: None,
};

pub(super) const GET: Operation = Operation {
    name: "key.get",
    summary: "Read a key",
    description: "Returns what a key may do and when it was used last; never its secret.",
    method: Method::Get,
    path: "/v1/keys/{id}",
    parameters: &[ID],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<KeyAnswer>()), "The key.")],
    needs: Needs::Permission(Permission::Administer),
    refusals: &[&[Code::KeyNotFound, Code::Internal]],
    example: Example {
        target: "/v1/keys/5f0c2a91d4e7b836",
        body: None,
        answer: r#"{"id":"5f0c2a91d4e7b836","name":"reports","grants":[{"permissions":["read"]}],"made":"2026-01-31T09:30:00.000Z"}"#,
    },
    command: None,
};

pub(super) const ROTATE: Operation = Operation {
    name: "key.rotate",
    summary: "Give a key another secret",
    description: "Makes another secret for a key and returns its text, in this answer only. The one before is good for a day \
        more, or for as long as is said, so that nobody is locked out while it is replaced; with keepms 0 it ends at once.",
    method: Method::Post,
    path: "/v1/keys/{id}/rotate",
    parameters: &[ID],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RotateKey>()), "How long the one before is good.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<KeyAnswer>()), "The key and its new text.")],
    needs: Needs::Permission(Permission::Administer),
    refusals: &[&[Code::MalformedJson, Code::InvalidRequest, Code::InvalidKey, Code::KeyNotFound], BODY, APPENDING],
    example: Example {
        target: "/v1/keys/5f0c2a91d4e7b836/rotate",
        body: Some((MEDIA_JSON, r#"{"keepms":3600000}"#)),
        answer: r#"{"id":"5f0c2a91d4e7b836","name":"reports","grants":[{"permissions":["read"]}],"made":"2026-01-31T09:30:00.000Z","rotatinguntil":"2026-03-01T10:30:00.000Z","key":"qp_default_5f0c2a91d4e7b836_…"}"#,
    },
    command: None,
};

pub(super) const REVOKE: Operation = Operation {
    name: "key.revoke",
    summary: "Revoke a key",
    description: "Makes a key good for nothing, at once. Connections that were opened with it get no more events and can \
        publish none.",
    method: Method::Delete,
    path: "/v1/keys/{id}",
    parameters: &[ID],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RevokedAnswer>()), "What was revoked.")],
    needs: Needs::Permission(Permission::Administer),
    refusals: &[&[Code::KeyNotFound], APPENDING],
    example: Example { target: "/v1/keys/5f0c2a91d4e7b836", body: None, answer: r#"{"revoked":"5f0c2a91d4e7b836"}"# },
    command: None,
};

pub(super) const ACCESS: Operation = Operation {
    name: "access.get",
    summary: "See what the credential may do",
    description: "Returns the tenant that requests with this credential run in, and what they may do there.",
    method: Method::Get,
    path: "/v1/access",
    parameters: &[],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<AccessAnswer>()), "The tenant and the grants.")],
    needs: Needs::Credential,
    refusals: &[&[Code::Internal]],
    example: Example {
        target: "/v1/access",
        body: None,
        answer: r#"{"tenant":"default","id":"5f0c2a91d4e7b836","name":"reports","grants":[{"permissions":["read"]}]}"#,
    },
    command: None,
};

pub(super) const TICKET: Operation = Operation {
    name: "access.ticket",
    summary: "Get a ticket for a stream",
    description: "Returns a ticket with which a page opens one stream, GET /v1/tail or GET /v1/ws, within a minute: as the \
        parameter `ticket`, since EventSource and WebSocket cannot send a header. The stream may do what the credential of \
        this request may, and ends when that does. A ticket is good once.",
    method: Method::Post,
    path: "/v1/access/ticket",
    parameters: &[],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<TicketAnswer>()), "The ticket.")],
    needs: Needs::Credential,
    refusals: &[&[Code::TooManyTickets]],
    example: Example {
        target: "/v1/access/ticket",
        body: None,
        answer: r#"{"ticket":"qt_…","expires":"2026-01-31T09:31:00.000Z"}"#,
    },
    command: None,
};
