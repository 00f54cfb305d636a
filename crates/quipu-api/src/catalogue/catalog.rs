//! Operations on the catalog of event types.

use super::*;
use crate::catalog::{CatalogPage, DeclarationBody, ImportAnswer, WithdrawnAnswer};
use crate::parameter::{Kind, Place};
use crate::request::FINDINGS;
use crate::{MEDIA_JSON, MEDIA_TEXT, MEDIA_YAML};

const TYPE: &[Parameter] =
    &[Parameter { name: "type", description: "The type, without a version.", kind: Kind::Text, place: Place::Path }];
const LISTED: &[Parameter] = &[
    Parameter {
        name: "prefix",
        description: "What the names of the types begin with.",
        kind: Kind::Text,
        place: Place::Optional,
    },
    Parameter {
        name: "finding",
        description: "Only types of which this was found.",
        kind: Kind::Word(FINDINGS),
        place: Place::Optional,
    },
    Parameter { name: "limit", description: "How many types.", kind: Kind::Limit, place: Place::Optional },
    Parameter {
        name: "cursor",
        description: "The cursor of the page before.",
        kind: Kind::Text,
        place: Place::Optional,
    },
];
const DECLARATION: &[Code] = &[Code::MalformedJson, Code::InvalidRequest, Code::InvalidDeclaration];

pub(super) const GET: Operation = Operation {
    name: "catalog.get",
    summary: "See the event types",
    description: "Returns a page of the event types by their names: their versions, who publishes and who reads them, how many events \
        there are, and where what is declared and what was observed differ. A type is listed if it was declared, has a schema, \
        was published, or if a subscription asks for it by name.",
    method: Method::Get,
    path: "/v1/catalog",
    parameters: &[LISTED],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<CatalogPage>()), "The types.")],
    needs: Needs::Permission(Permission::Observe),
    refusals: &[&[Code::InvalidParameter, Code::InvalidCursor], READING],
    example: Example {
        target: "/v1/catalog?prefix=order.",
        body: None,
        answer: r#"{"types":[{"type":"order.placed","findings":["unconsumed"],"declared":false,"versions":[{"version":1,"registered":true,"events":2}],"publishers":[{"name":"/shop","declared":false,"events":2}],"consumers":[],"events":2,"lasthour":2,"lastday":2,"first":{"position":1,"recordedtime":"2026-01-31T09:30:00.000Z"},"last":{"position":2,"recordedtime":"2026-01-31T09:31:00.000Z"},"marked":0,"refused":0}],"cursor":null,"position":2,"otherevents":0}"#,
    },
    command: Some("catalog list"),
};

pub(super) const DECLARE: Operation = Operation {
    name: "catalog.declare",
    summary: "Declare an event type",
    description: "Says what a type is, who is meant to publish it and who is meant to read it, in the place of what was said before.",
    method: Method::Put,
    path: "/v1/catalog/types/{type}",
    parameters: &[TYPE],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<DeclarationBody>()), "The declaration.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<DeclarationBody>()), "The declaration.")],
    needs: Needs::Permission(Permission::Schema),
    refusals: &[DECLARATION, &[Code::TooManyDeclarations], BODY, APPENDING],
    example: Example {
        target: "/v1/catalog/types/order.placed",
        body: Some((MEDIA_JSON, r#"{"publishers":["/shop"],"consumers":["billing"],"owner":"shop"}"#)),
        answer: r#"{"publishers":["/shop"],"consumers":["billing"],"owner":"shop"}"#,
    },
    command: Some("catalog declare"),
};

pub(super) const WITHDRAW: Operation = Operation {
    name: "catalog.withdraw",
    summary: "Withdraw a declaration",
    description: "Takes back what was declared of a type. Its schemas and events stay as they are.",
    method: Method::Delete,
    path: "/v1/catalog/types/{type}",
    parameters: &[TYPE],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<WithdrawnAnswer>()), "The type.")],
    needs: Needs::Permission(Permission::Schema),
    refusals: &[&[Code::DeclarationNotFound], APPENDING],
    example: Example {
        target: "/v1/catalog/types/order.placed",
        body: None,
        answer: r#"{"withdrawn":"order.placed"}"#,
    },
    command: Some("catalog withdraw"),
};

const PREFIX: &[Parameter] = &[LISTED[0]];
const DRY_RUN: &[Parameter] = &[Parameter {
    name: "dryrun",
    description: "With `true`, nothing is changed; the answer says what would become of the document.",
    kind: Kind::Word(&["true", "false"]),
    place: Place::Optional,
}];

pub(super) const ASYNCAPI: Operation = Operation {
    name: "catalog.asyncapi",
    summary: "Export the catalog as AsyncAPI",
    description: "Returns the event types as an AsyncAPI 3.0 document: channels, messages with their schemas, and who sends and receives \
        them. The same catalog gives the same document. `Accept: application/yaml` asks for YAML.",
    method: Method::Get,
    path: "/v1/catalog/asyncapi",
    parameters: &[PREFIX],
    bodies: &[],
    answers: &[content(MEDIA_JSON, None, "An AsyncAPI document."), content(MEDIA_YAML, None, "The same in YAML.")],
    needs: Needs::Permission(Permission::Observe),
    refusals: &[&[Code::InvalidParameter, Code::NotAcceptable], READING],
    example: Example {
        target: "/v1/catalog/asyncapi?prefix=order.",
        body: None,
        answer: r#"{"asyncapi":"3.0.0","info":{"title":"Event types","version":"5fd2b8b9a0b3c7e1"}}"#,
    },
    command: Some("catalog export"),
};

pub(super) const IMPORT: Operation = Operation {
    name: "catalog.import",
    summary: "Import an AsyncAPI document",
    description: "Makes types, schemas and declarations of the channels, messages, schemas and operations of an AsyncAPI document of version \
        3.0 or 3.1. Each schema and each declaration is for itself, and the answer says what became of it; all that is taken is one \
        commit. What is declared is added to what was declared before. Nothing is fetched: what refers to another document is left \
        out, and named.",
    method: Method::Post,
    path: "/v1/catalog/asyncapi",
    parameters: &[DRY_RUN],
    bodies: &[content(MEDIA_JSON, None, "The document."), content(MEDIA_YAML, None, "The document.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<ImportAnswer>()), "What became of it.")],
    needs: Needs::Permission(Permission::Schema),
    refusals: &[&[Code::InvalidParameter, Code::InvalidAsyncApi, Code::Damaged], BODY, APPENDING],
    example: Example {
        target: "/v1/catalog/asyncapi?dryrun=true",
        body: Some((
            MEDIA_JSON,
            r#"{"asyncapi":"3.0.0","info":{"title":"Shop","version":"1"},"components":{"messages":{"order.placed":{"payload":{"type":"object"}}}}}"#,
        )),
        answer: r#"{"dryrun":true,"items":[{"type":"order.placed","version":1,"outcome":"new"},{"type":"order.placed","outcome":"new"}]}"#,
    },
    command: Some("catalog import"),
};

pub(super) const MERMAID: Operation = Operation {
    name: "catalog.mermaid",
    summary: "Export the catalog as a flowchart",
    description: "Returns a flowchart of Mermaid: sources, event types and those who read them. What was declared and not observed is dotted.",
    method: Method::Get,
    path: "/v1/catalog/mermaid",
    parameters: &[PREFIX],
    bodies: &[],
    answers: &[content(MEDIA_TEXT, None, "A flowchart.")],
    needs: Needs::Permission(Permission::Observe),
    refusals: &[&[Code::InvalidParameter], READING],
    example: Example { target: "/v1/catalog/mermaid", body: None, answer: "flowchart LR" },
    command: Some("catalog export"),
};
