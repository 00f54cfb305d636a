//! Operations on the audit trail. They are written down in it themselves.

use super::read::{PAGE, optional};
use super::*;
use crate::audit::{ActsPage, ReportAnswer};
use crate::parameter::Kind;
use crate::request::AuditRequest;
use crate::{MEDIA_HTML, MEDIA_JSON, MEDIA_LINES};

/// Which acts: all given ones must match.
const QUESTION: &[Parameter] = &[
    optional("subject", Kind::Text, "What they were done to, such as keys/5f0c2a91d4e7b836 or subscriptions/billing."),
    optional("actor", Kind::Text, "Who did them, such as key:5f0c2a91d4e7b836."),
    optional("operation", Kind::Text, "The name of an operation, such as key.create."),
    optional("correlationid", Kind::Text, "Their correlation id."),
    optional("outcome", Kind::Word(AuditRequest::OUTCOMES), "How they ended."),
    optional("timefrom", Kind::Time, "Not before this time."),
    optional("timeto", Kind::Time, "Not after this time."),
];

pub(super) const LIST: Operation = Operation {
    name: "audit.list",
    summary: "Read the audit trail",
    description: "Returns a page of acts: what was administered or refused, by whom, from where, with which outcome. An act \
        that began and whose outcome is not known is there as begun. A page may be short or even empty and have a cursor.",
    method: Method::Get,
    path: "/v1/audit",
    parameters: &[QUESTION, PAGE],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<ActsPage>()), "A page of acts.")],
    needs: Needs::Permission(Permission::Audit),
    refusals: &[APPENDING, &[Code::Damaged, Code::InvalidParameter, Code::InvalidCursor]],
    example: Example {
        target: "/v1/audit?actor=key:5f0c2a91d4e7b836&outcome=refused",
        body: None,
        answer: r#"{"acts":[{"position":7,"time":"2026-01-31T09:30:00.000Z","act":"9b1c03f52e6d8a40","operation":"event.publish","actor":{"id":"key:5f0c2a91d4e7b836","name":"shop"},"address":"192.0.2.7","subject":"events","outcome":"refused","code":"forbidden","detail":"expected a credential with the permission publish, found it for other events only"}],"cursor":null}"#,
    },
    command: Some("audit list"),
};

pub(super) const REPORT: Operation = Operation {
    name: "audit.report",
    summary: "Make a report of the audit trail",
    description: "Returns everything about one subject, one actor, one correlation, in a range of time, as one document: as \
        JSON, or with `Accept: text/html` to print. It says where the trail ended when it was made.",
    method: Method::Get,
    path: "/v1/audit/report",
    parameters: &[QUESTION],
    bodies: &[],
    answers: &[
        content(MEDIA_JSON, Some(|g| g.subschema_for::<ReportAnswer>()), "The report."),
        content(MEDIA_HTML, None, "The report, to print."),
    ],
    needs: Needs::Permission(Permission::Audit),
    refusals: &[APPENDING, &[Code::Damaged, Code::InvalidParameter, Code::NotAcceptable]],
    example: Example {
        target: "/v1/audit/report?subject=keys/5f0c2a91d4e7b836",
        body: None,
        answer: r#"{"tenant":"default","made":"2026-01-31T10:00:00.000Z","question":"subject=keys%2F5f0c2a91d4e7b836","head":"9:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0","complete":true,"acts":[{"position":2,"time":"2026-01-31T09:30:00.000Z","act":"9b1c03f52e6d8a40","operation":"key.revoke","actor":{"id":"anybody"},"address":"127.0.0.1","subject":"keys/5f0c2a91d4e7b836","outcome":"done"}]}"#,
    },
    command: Some("audit report"),
};

pub(super) const EXPORT: Operation = Operation {
    name: "audit.export",
    summary: "Export the audit trail",
    description: "Returns the whole trail as JSON lines with its hash chain, which `quipu audit verify` checks without the \
        server.",
    method: Method::Get,
    path: "/v1/audit/export",
    parameters: &[],
    bodies: &[],
    answers: &[content(
        MEDIA_LINES,
        None,
        "A line that says what it is, one a commit, and one that says where it ends.",
    )],
    needs: Needs::Permission(Permission::Audit),
    refusals: &[APPENDING, &[Code::Damaged]],
    example: Example {
        target: "/v1/audit/export",
        body: None,
        answer: r#"{"quipu":"audit","format":1,"tenant":"default"}"#,
    },
    command: Some("audit export"),
};
