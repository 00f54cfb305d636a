//! Operations about the store and the server themselves.

use super::*;
use crate::parameter::{Kind, Place};
use crate::{CheckpointAnswer, HealthAnswer, MEDIA_JSON, StatsAnswer};

pub(super) const CHECKPOINT: Operation = Operation {
    name: "checkpoint.get",
    summary: "Read the checkpoint of an outside source",
    description: "Returns the number that appends have recorded for an outside source, or null. Whoever copies events \
        from elsewhere reads it on start and goes on behind it.",
    method: Method::Get,
    path: "/v1/checkpoints",
    parameters: &[&[Parameter {
        name: "source",
        description: "Who numbers.",
        kind: Kind::Text,
        place: Place::Required,
    }]],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<CheckpointAnswer>()), "The number.")],
    needs: Needs::Part(Permission::Publish),
    refusals: &[&[Code::InvalidParameter]],
    example: Example {
        target: "/v1/checkpoints?source=orders-table",
        body: None,
        answer: r#"{"source":"orders-table","number":9}"#,
    },
    command: None,
};

pub(super) const STATS: Operation = Operation {
    name: "store.stats",
    summary: "See what is in the store",
    description: "Returns how many events, commits and streams there are, and how many bytes they take.",
    method: Method::Get,
    path: "/v1/stats",
    parameters: &[],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<StatsAnswer>()), "The numbers.")],
    needs: Needs::Permission(Permission::Observe),
    refusals: &[READING],
    example: Example {
        target: "/v1/stats",
        body: None,
        answer: r#"{"events":2,"commits":2,"streams":1,"position":2,"segments":1,"logbytes":512,"indexbytes":0,"snapshotbytes":0,"oldest":"2026-01-31T09:30:00.000Z","newest":"2026-01-31T09:30:01.000Z"}"#,
    },
    command: Some("store stats"),
};

pub(super) const LIVE: Operation = Operation {
    name: "health.live",
    summary: "Ask whether the process runs",
    description: "Answers as long as the process serves requests.",
    method: Method::Get,
    path: "/health/live",
    parameters: &[],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<HealthAnswer>()), "It runs.")],
    needs: Needs::Nothing,
    refusals: &[],
    example: Example { target: "/health/live", body: None, answer: r#"{"status":"live"}"# },
    command: None,
};

pub(super) const READY: Operation = Operation {
    name: "health.ready",
    summary: "Ask whether events can be appended",
    description: "Answers 200 while appends are possible, else with the reason why they are not. Reads may go on all \
        the same.",
    method: Method::Get,
    path: "/health/ready",
    parameters: &[],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<HealthAnswer>()), "Appends are possible.")],
    needs: Needs::Nothing,
    refusals: &[&[Code::Unavailable, Code::DiskFull]],
    example: Example { target: "/health/ready", body: None, answer: r#"{"status":"ready"}"# },
    command: None,
};

pub(super) const OPENAPI: Operation = Operation {
    name: "api.openapi",
    summary: "Read the OpenAPI document",
    description: "Returns the OpenAPI 3.1 document of this server, made from the catalogue of its operations.",
    method: Method::Get,
    path: "/openapi.json",
    parameters: &[],
    bodies: &[],
    answers: &[content(MEDIA_JSON, None, "An OpenAPI 3.1 document.")],
    needs: Needs::Nothing,
    refusals: &[],
    example: Example { target: "/openapi.json", body: None, answer: r#"{"openapi":"3.1.0"}"# },
    command: None,
};

pub(super) const EXPLAIN: Operation = Operation {
    name: "error.explain",
    summary: "Read what an error code means",
    description: "Returns the page of an error code: what it means and what to do. The type of every problem document \
        leads here.",
    method: Method::Get,
    path: "/errors/{code}",
    parameters: &[&[Parameter { name: "code", description: "The code.", kind: Kind::Text, place: Place::Path }]],
    bodies: &[],
    answers: &[content("text/markdown", None, "The page.")],
    needs: Needs::Nothing,
    refusals: &[&[Code::RouteNotFound]],
    example: Example { target: "/errors/wrong-version", body: None, answer: "# wrong-version\n" },
    command: None,
};

pub(super) const INDEX: Operation = Operation {
    name: "api.index",
    summary: "See where everything is",
    description: "Returns a short list of the routes, as text.",
    method: Method::Get,
    path: "/",
    parameters: &[],
    bodies: &[],
    answers: &[content("text/plain", None, "The routes.")],
    needs: Needs::Nothing,
    refusals: &[],
    example: Example { target: "/", body: None, answer: "POST /v1/events  Publish events, each for itself\n" },
    command: None,
};
