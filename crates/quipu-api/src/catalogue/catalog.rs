//! Operations on the catalog of event types.

use super::*;
use crate::MEDIA_JSON;
use crate::catalog::{CatalogPage, DeclarationBody, WithdrawnAnswer};
use crate::parameter::{Kind, Place};
use crate::request::FINDINGS;

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
