//! Operations on tenants, for operators: whoever has the permission operate in the tenant `system`.

use super::*;
use crate::openapi::RecordedEvent;
use crate::parameter::{Kind, Place};
use crate::tenant::{
    CreateTenant, CreatedTenantAnswer, DeletedTenantAnswer, SuspendTenant, TenantAnswer, TenantsAnswer,
};
use crate::{MEDIA_JSON, MEDIA_LINES};
use quipu_domain::Quotas;

/// The name in the path.
const TENANT: &[Parameter] =
    &[Parameter { name: "tenant", description: "The name of the tenant.", kind: Kind::Text, place: Place::Path }];
/// The name once more, since nothing brings back what is deleted.
const CONFIRM: &[Parameter] = &[Parameter {
    name: "confirm",
    description: "The name of the tenant once more.",
    kind: Kind::Text,
    place: Place::Required,
}];
const OPERATE: Needs = Needs::Permission(Permission::Operate);
const ONE: &[Content] = &[content(MEDIA_JSON, Some(|g| g.subschema_for::<TenantAnswer>()), "The tenant.")];
const KNOWN: &[Code] = &[Code::TenantNotFound, Code::TenantState];
const JSON: &[Code] = &[Code::MalformedJson, Code::InvalidRequest];

pub(super) const CREATE: Operation = Operation {
    name: "tenant.create",
    summary: "Make a tenant",
    description: "Makes a tenant and its first key, which may administer it. The text of the key is in this answer only: the \
        server keeps a hash of it. If the server stops before it answers, the tenant is there with all of this or not at all.",
    method: Method::Post,
    path: "/v1/tenants",
    parameters: &[],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<CreateTenant>()), "The tenant.")],
    answers: &[content(
        MEDIA_JSON,
        Some(|g| g.subschema_for::<CreatedTenantAnswer>()),
        "The tenant and its first key.",
    )],
    needs: OPERATE,
    refusals: &[JSON, &[Code::InvalidTenant, Code::TenantExists, Code::TooManyTenants], BODY, APPENDING],
    example: Example {
        target: "/v1/tenants",
        body: Some((MEDIA_JSON, r#"{"name":"acme","quotas":{"eventspersecond":1000,"storagebytes":10000000000}}"#)),
        answer: r#"{"tenant":{"name":"acme","state":"active","since":"2026-01-31T09:30:00.000Z","made":"2026-01-31T09:30:00.000Z","quotas":{"eventspersecond":1000,"storagebytes":10000000000}},"key":{"id":"5f0c2a91d4e7b836","name":"admin","grants":[{"permissions":["administer"]}],"made":"2026-01-31T09:30:00.000Z","key":"qp_acme_5f0c2a91d4e7b836_…"}}"#,
    },
    command: Some("tenant create"),
};

pub(super) const LIST: Operation = Operation {
    name: "tenant.list",
    summary: "List the tenants",
    description: "Returns all tenants with their states and quotas, also those that are suspended or on their way out.",
    method: Method::Get,
    path: "/v1/tenants",
    parameters: &[],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<TenantsAnswer>()), "The tenants.")],
    needs: OPERATE,
    refusals: &[&[Code::Internal]],
    example: Example {
        target: "/v1/tenants",
        body: None,
        answer: r#"{"tenants":[{"name":"acme","state":"active","since":"2026-01-31T09:30:00.000Z","made":"2026-01-31T09:30:00.000Z","quotas":{}}]}"#,
    },
    command: Some("tenant list"),
};

pub(super) const GET: Operation = Operation {
    name: "tenant.get",
    summary: "Read a tenant",
    description: "Returns the state of a tenant, its quotas, and what it uses of them.",
    method: Method::Get,
    path: "/v1/tenants/{tenant}",
    parameters: &[TENANT],
    bodies: &[],
    answers: ONE,
    needs: OPERATE,
    refusals: &[&[Code::TenantNotFound, Code::Internal]],
    example: Example {
        target: "/v1/tenants/acme",
        body: None,
        answer: r#"{"name":"acme","state":"suspended","reason":"unpaid","since":"2026-02-28T12:00:00.000Z","made":"2026-01-31T09:30:00.000Z","quotas":{},"usage":{"position":1200,"storagebytes":524288,"subscriptions":2,"keys":3,"connections":0}}"#,
    },
    command: Some("tenant show"),
};

pub(super) const SUSPEND: Operation = Operation {
    name: "tenant.suspend",
    summary: "Suspend a tenant",
    description: "Lets nobody into a tenant: requests with a valid credential of it are answered with tenant-suspended, tails, \
        long polls and WebSockets end, and webhooks that are on their way are the last. Its data stays. When the answer comes, \
        this is so; after a failure to write it down nothing has changed.",
    method: Method::Post,
    path: "/v1/tenants/{tenant}/suspend",
    parameters: &[TENANT],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SuspendTenant>()), "Why.")],
    answers: ONE,
    needs: OPERATE,
    refusals: &[JSON, &[Code::InvalidTenant], KNOWN, BODY, APPENDING],
    example: Example {
        target: "/v1/tenants/acme/suspend",
        body: Some((MEDIA_JSON, r#"{"reason":"unpaid"}"#)),
        answer: r#"{"name":"acme","state":"suspended","reason":"unpaid","since":"2026-02-28T12:00:00.000Z","made":"2026-01-31T09:30:00.000Z","quotas":{}}"#,
    },
    command: Some("tenant suspend"),
};

pub(super) const RESUME: Operation = Operation {
    name: "tenant.resume",
    summary: "Resume a tenant",
    description: "Lets everybody in again who has a key, and goes on to push.",
    method: Method::Post,
    path: "/v1/tenants/{tenant}/resume",
    parameters: &[TENANT],
    bodies: &[],
    answers: ONE,
    needs: OPERATE,
    refusals: &[KNOWN, APPENDING],
    example: Example {
        target: "/v1/tenants/acme/resume",
        body: None,
        answer: r#"{"name":"acme","state":"active","since":"2026-03-01T08:00:00.000Z","made":"2026-01-31T09:30:00.000Z","quotas":{}}"#,
    },
    command: Some("tenant resume"),
};

pub(super) const QUOTAS: Operation = Operation {
    name: "tenant.limit",
    summary: "Change the quotas of a tenant",
    description: "Puts quotas in the place of those that a tenant had, at once. Where nothing is said, that holds what the server \
        says for all; a very large number lifts it.",
    method: Method::Put,
    path: "/v1/tenants/{tenant}/quotas",
    parameters: &[TENANT],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<Quotas>()), "All quotas.")],
    answers: ONE,
    needs: OPERATE,
    refusals: &[JSON, KNOWN, BODY, APPENDING],
    example: Example {
        target: "/v1/tenants/acme/quotas",
        body: Some((MEDIA_JSON, r#"{"eventspersecond":1000,"connections":200}"#)),
        answer: r#"{"name":"acme","state":"active","since":"2026-01-31T09:30:00.000Z","made":"2026-01-31T09:30:00.000Z","quotas":{"eventspersecond":1000,"connections":200}}"#,
    },
    command: Some("tenant quota"),
};

pub(super) const EXPORT: Operation = Operation {
    name: "tenant.export",
    summary: "Export the events of a tenant",
    description: "Returns all events that the tenant has when it is asked for, one a line, oldest first, as `quipu store import` \
        reads them; also of a suspended one. The last line is the newest of them: the header quipu-position says which position \
        that has, so that an export that was cut off is told from a whole one.",
    method: Method::Get,
    path: "/v1/tenants/{tenant}/export",
    parameters: &[TENANT],
    bodies: &[],
    answers: &[content(MEDIA_LINES, Some(|g| g.subschema_for::<RecordedEvent>()), "One event a line.")],
    needs: OPERATE,
    refusals: &[KNOWN, READING, &[Code::Unavailable]],
    example: Example {
        target: "/v1/tenants/acme/export",
        body: None,
        answer: r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","subject":"order/17","position":1,"streamversion":1,"recordedtime":"2026-01-31T09:30:00.000Z","data":{"total":9}}"#,
    },
    command: Some("tenant export"),
};

pub(super) const DELETE: Operation = Operation {
    name: "tenant.delete",
    summary: "Delete a tenant",
    description: "Removes a suspended tenant with everything of it, for good: events, subscriptions, keys, secrets. Its name must \
        be said twice. If the server stops before it answers, it goes on when it starts again.",
    method: Method::Delete,
    path: "/v1/tenants/{tenant}",
    parameters: &[TENANT, CONFIRM],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<DeletedTenantAnswer>()), "What was deleted.")],
    needs: OPERATE,
    refusals: &[&[Code::InvalidParameter], KNOWN, APPENDING],
    example: Example { target: "/v1/tenants/acme?confirm=acme", body: None, answer: r#"{"deleted":"acme"}"# },
    command: Some("tenant delete"),
};
