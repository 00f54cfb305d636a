//! Operations on projections and their read models.

use quipu_domain::projection::Projection;

use super::*;
use crate::parameter::{Kind, Place};
use crate::projection::{
    AppliedAnswer, ComparisonAnswer, DigestAnswer, DroppedAnswer, ProjectionAnswer, ProjectionsAnswer, RemovedAnswer,
    RowsAnswer, SkippedBody, SqlRequest, SwitchedAnswer,
};
use crate::{MEDIA_JSON, MEDIA_YAML};

const NAME: &[Parameter] =
    &[Parameter { name: "name", description: "The projection.", kind: Kind::Text, place: Place::Path }];
const TABLE: &[Parameter] =
    &[Parameter { name: "table", description: "The table or view.", kind: Kind::Text, place: Place::Path }];
const DRY_RUN: &[Parameter] = &[Parameter {
    name: "dryrun",
    description: "With `true`, nothing is changed; the answer says whether the declaration can be one.",
    kind: Kind::Word(&["true", "false"]),
    place: Place::Optional,
}];
const ROWS_ASKED: &[Parameter] = &[
    Parameter {
        name: "where",
        description: "A filter such as status=shipped or total>=10, with =, !=, <, <=, > or >=; status=null asks for what is not there. All of them hold.",
        kind: Kind::Text,
        place: Place::Repeated,
    },
    Parameter {
        name: "order",
        description: "Columns, with commas between them; - before one of which the greatest comes first. By the key of the table at the end.",
        kind: Kind::Text,
        place: Place::Optional,
    },
    Parameter { name: "limit", description: "How many rows, up to 1,000.", kind: Kind::Limit, place: Place::Optional },
    Parameter {
        name: "cursor",
        description: "The cursor of the page before.",
        kind: Kind::Text,
        place: Place::Optional,
    },
    Parameter {
        name: "at_least",
        description: "Wait until every event up to this position is in: whoever writes reads what it wrote.",
        kind: Kind::Number,
        place: Place::Optional,
    },
    Parameter {
        name: "waitms",
        description: "How long to wait for that, milliseconds, up to 30,000; 5,000 if it is not said.",
        kind: Kind::Number,
        place: Place::Optional,
    },
];
const PROJECT: Needs = Needs::Permission(Permission::Project);
const QUERY: Needs = Needs::Permission(Permission::Query);
const THERE: &[Code] = &[Code::ProjectionNotFound];
const ASKING: &[Code] =
    &[Code::InvalidQuery, Code::QueryTooLong, Code::ReadModelBehind, Code::ReadModelFailed, Code::Internal];
const DECLARED: &str = r#"{"projection":"orders","tables":"create table orders (id text primary key, status text)","on":{"order.placed":"insert into orders values (:subject, 'placed')"}}"#;

pub(super) const LIST: Operation = Operation {
    name: "projection.list",
    summary: "List projections",
    description: "Returns all projections by their names: which release answers, how far each is, and why one stands still.",
    method: Method::Get,
    path: "/v1/projections",
    parameters: &[],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<ProjectionsAnswer>()), "The projections.")],
    needs: Needs::Permission(Permission::Observe),
    refusals: &[&[Code::Internal]],
    example: Example {
        target: "/v1/projections",
        body: None,
        answer: r#"{"projections":[{"name":"orders","live":1,"end":2,"releases":[{"release":1,"declaredtime":"2026-01-31T09:30:00.000Z","state":"following","position":2,"behind":0,"bytes":20480}],"skipped":[]}]}"#,
    },
    command: Some("projection list"),
};

pub(super) const APPLY: Operation = Operation {
    name: "projection.apply",
    summary: "Declare a projection",
    description: "Declares which tables there are and what events do to them, in SQL. The first release answers at once, while it is \
        built; a changed one is built beside the one that answers until it is switched to. The same declaration changes nothing. SQL that \
        does not stand up to the tables, reaches out of them, or would come out otherwise the next time is refused.",
    method: Method::Put,
    path: "/v1/projections/{name}",
    parameters: &[NAME, DRY_RUN],
    bodies: &[
        content(
            MEDIA_JSON,
            Some(|g| g.subschema_for::<Projection>()),
            "The declaration; its name is that of the path.",
        ),
        content(MEDIA_YAML, None, "The declaration."),
    ],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<AppliedAnswer>()), "What became of it.")],
    needs: PROJECT,
    refusals: &[
        &[
            Code::InvalidParameter,
            Code::MalformedJson,
            Code::InvalidProjection,
            Code::TooManyProjections,
            Code::ReadModelFailed,
        ],
        BODY,
        APPENDING,
    ],
    example: Example {
        target: "/v1/projections/orders",
        body: Some((MEDIA_JSON, DECLARED)),
        answer: r#"{"release":1,"live":true,"outcome":"new"}"#,
    },
    command: Some("projection apply"),
};

pub(super) const GET: Operation = Operation {
    name: "projection.get",
    summary: "See a projection",
    description: "Returns its releases with their declarations, how far each is, how fast it goes and when it will be as far as the log, \
        the event that it cannot take in, and the events that it passes over.",
    method: Method::Get,
    path: "/v1/projections/{name}",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<ProjectionAnswer>()), "The projection.")],
    needs: Needs::Permission(Permission::Observe),
    refusals: &[THERE, &[Code::Internal]],
    example: Example {
        target: "/v1/projections/orders",
        body: None,
        answer: r#"{"name":"orders","live":1,"end":9,"releases":[{"release":1,"declaredtime":"2026-01-31T09:30:00.000Z","state":"stopped","position":6,"behind":3,"bytes":20480,"failed":{"position":7,"source":"/shop","id":"7","type":"order.placed","statement":"insert into orders values (:subject, 'placed')","error":"UNIQUE constraint failed: orders.id"}}],"skipped":[]}"#,
    },
    command: Some("projection show"),
};

pub(super) const REMOVE: Operation = Operation {
    name: "projection.remove",
    summary: "Remove a projection",
    description: "Forgets a projection with all its releases, and removes their read models. Events stay as they are.",
    method: Method::Delete,
    path: "/v1/projections/{name}",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RemovedAnswer>()), "Its name.")],
    needs: PROJECT,
    refusals: &[THERE, &[Code::ReadModelFailed], APPENDING],
    example: Example { target: "/v1/projections/orders", body: None, answer: r#"{"removed":"orders"}"# },
    command: Some("projection remove"),
};

pub(super) const ROWS: Operation = Operation {
    name: "projection.rows",
    summary: "Read a table of a projection",
    description: "Returns rows of a table of the live release, filtered, in an order, page by page. `position` says which events are in them. \
        With `at_least` the answer waits for a position, such as the one that an append gave.",
    method: Method::Get,
    path: "/v1/projections/{name}/{table}",
    parameters: &[NAME, TABLE, ROWS_ASKED],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RowsAnswer>()), "The rows.")],
    needs: QUERY,
    refusals: &[THERE, &[Code::TableNotFound, Code::InvalidParameter], ASKING],
    example: Example {
        target: "/v1/projections/orders/orders?where=status%3Dplaced&order=-id&limit=1&at_least=2",
        body: None,
        answer: r#"{"columns":["id","status"],"rows":[{"id":"order/17","status":"placed"}],"cursor":null,"more":false,"position":2}"#,
    },
    command: Some("projection rows"),
};

pub(super) const SQL: Operation = Operation {
    name: "projection.sql",
    summary: "Ask a projection in SQL",
    description: "Answers one `SELECT` over the tables of the live release, within 5 seconds and up to 1,000 rows. Nothing else can be \
        reached from it.",
    method: Method::Post,
    path: "/v1/projections/{name}/sql",
    parameters: &[NAME],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SqlRequest>()), "The question.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RowsAnswer>()), "The rows.")],
    needs: QUERY,
    refusals: &[THERE, &[Code::MalformedJson, Code::InvalidRequest], ASKING, BODY],
    example: Example {
        target: "/v1/projections/orders/sql",
        body: Some((
            MEDIA_JSON,
            r#"{"sql":"select status, count(*) as orders from orders where id <> :id group by status","parameters":{"id":"order/3"}}"#,
        )),
        answer: r#"{"columns":["status","orders"],"rows":[{"status":"placed","orders":2}],"cursor":null,"more":false,"position":3}"#,
    },
    command: Some("projection sql"),
};

pub(super) const SKIP: Operation = Operation {
    name: "projection.skip",
    summary: "Pass over an event in a projection",
    description: "Passes over an event that cannot be taken in, in every release and whenever one is built, and goes on. The reason is recorded.",
    method: Method::Post,
    path: "/v1/projections/{name}/skips",
    parameters: &[NAME],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SkippedBody>()), "The event.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<ProjectionAnswer>()), "The projection.")],
    needs: PROJECT,
    refusals: &[
        THERE,
        &[
            Code::MalformedJson,
            Code::InvalidRequest,
            Code::InvalidProjection,
            Code::PositionNotFound,
            Code::TooManyProjections,
        ],
        BODY,
        APPENDING,
    ],
    example: Example {
        target: "/v1/projections/orders/skips",
        body: Some((MEDIA_JSON, r#"{"position":7,"reason":"placed twice by the old shop"}"#)),
        answer: r#"{"name":"orders","live":1,"end":9,"releases":[],"skipped":[{"position":7,"reason":"placed twice by the old shop"}]}"#,
    },
    command: Some("projection skip"),
};

pub(super) const RESUME: Operation = Operation {
    name: "projection.resume",
    summary: "Try a projection again",
    description: "Tries once more what stands still, after what was wrong was mended.",
    method: Method::Post,
    path: "/v1/projections/{name}/resume",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<ProjectionAnswer>()), "The projection.")],
    needs: PROJECT,
    refusals: &[THERE, &[Code::Internal]],
    example: Example {
        target: "/v1/projections/orders/resume",
        body: None,
        answer: r#"{"name":"orders","live":1,"end":9,"releases":[],"skipped":[]}"#,
    },
    command: Some("projection resume"),
};

pub(super) const COMPARE: Operation = Operation {
    name: "projection.compare",
    summary: "Compare a release with the live one",
    description: "Holds the release that is built beside the live one against it, both at the same position: rows and a digest of each table, \
        and the first rows that differ, column by column.",
    method: Method::Get,
    path: "/v1/projections/{name}/releases/diff",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<ComparisonAnswer>()), "What differs.")],
    needs: QUERY,
    refusals: &[THERE, &[Code::ReleaseNotFound, Code::ReadModelBehind, Code::ReadModelFailed], READING],
    example: Example {
        target: "/v1/projections/orders/releases/diff",
        body: None,
        answer: r#"{"equal":false,"live":1,"next":2,"position":3,"tables":[{"table":"orders","equal":false,"live":{"table":"orders","rows":2,"digest":"5f"},"next":{"table":"orders","rows":2,"digest":"7a"},"columnsgone":[],"columnsnew":[],"differing":1,"differences":[{"key":{"id":"order/2"},"live":{"total":2.5},"next":{"total":0.0}}]}]}"#,
    },
    command: Some("projection diff"),
};

pub(super) const DIGEST: Operation = Operation {
    name: "projection.digest",
    summary: "See what a read model is, in short",
    description: "Returns the number of rows and a digest of each table of the live release, and the position that they are of. Two read models \
        with the same digests have the same rows.",
    method: Method::Get,
    path: "/v1/projections/{name}/releases/digest",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<DigestAnswer>()), "The digests.")],
    needs: QUERY,
    refusals: &[THERE, &[Code::ReadModelFailed], READING],
    example: Example {
        target: "/v1/projections/orders/releases/digest",
        body: None,
        answer: r#"{"position":3,"tables":[{"table":"orders","rows":2,"digest":"5f"}]}"#,
    },
    command: Some("projection digest"),
};

pub(super) const SWITCH: Operation = Operation {
    name: "projection.switch",
    summary: "Switch to the next release",
    description: "Lets the release that was built beside the live one answer from now on. What was live goes on following the log, as the way \
        back.",
    method: Method::Post,
    path: "/v1/projections/{name}/releases/switch",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SwitchedAnswer>()), "The release that answers.")],
    needs: PROJECT,
    refusals: &[THERE, &[Code::ReleaseNotFound, Code::ReadModelBehind, Code::ReadModelFailed], APPENDING],
    example: Example { target: "/v1/projections/orders/releases/switch", body: None, answer: r#"{"live":2}"# },
    command: Some("projection switch"),
};

pub(super) const REVERT: Operation = Operation {
    name: "projection.revert",
    summary: "Go back to the release before",
    description: "Lets the release answer that was live before the last switch. The other one is kept, so that it can be switched to again.",
    method: Method::Post,
    path: "/v1/projections/{name}/releases/revert",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SwitchedAnswer>()), "The release that answers.")],
    needs: PROJECT,
    refusals: &[THERE, &[Code::ReleaseNotFound, Code::ReadModelFailed], APPENDING],
    example: Example { target: "/v1/projections/orders/releases/revert", body: None, answer: r#"{"live":1}"# },
    command: Some("projection revert"),
};

pub(super) const DROP: Operation = Operation {
    name: "projection.drop",
    summary: "Give up the next release",
    description: "Gives up the release that is built beside the live one, and removes its read model.",
    method: Method::Delete,
    path: "/v1/projections/{name}/releases/next",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<DroppedAnswer>()), "The release.")],
    needs: PROJECT,
    refusals: &[THERE, &[Code::ReleaseNotFound, Code::ReadModelFailed], APPENDING],
    example: Example { target: "/v1/projections/orders/releases/next", body: None, answer: r#"{"dropped":2}"# },
    command: Some("projection drop"),
};
