//! Operations that prove what a read model is: verifications, and baselines to hold one against.

use super::*;
use crate::parameter::{Kind, Place};
use crate::projection::RemovedAnswer;
use crate::verification::{BaselineBody, BaselineRequest, BaselinesAnswer, VerdictsAnswer, VerificationLine};
use crate::{MEDIA_JSON, MEDIA_LINES};

const NAME: &[Parameter] =
    &[Parameter { name: "name", description: "The projection.", kind: Kind::Text, place: Place::Path }];
const BASELINE: &[Parameter] =
    &[Parameter { name: "baseline", description: "The baseline.", kind: Kind::Text, place: Place::Path }];
const AGAINST: &[Parameter] = &[Parameter {
    name: "baseline",
    description: "The baseline to hold it against; the live read model without it.",
    kind: Kind::Text,
    place: Place::Optional,
}];
const PROJECT: Needs = Needs::Permission(Permission::Project);
const THERE: &[Code] = &[Code::ProjectionNotFound];
const BUILT: &[Code] = &[Code::ReadModelBehind, Code::ReadModelFailed];

pub(super) const VERIFY: Operation = Operation {
    name: "projection.verify",
    summary: "Verify a projection",
    description: "Builds the live release again from the first event in a place of its own, checks the hash chain of the log on the way, and holds \
        the result against the live read model at the same position, or against a baseline. Lines say how far it is; the last one has the \
        verdict, which is recorded. Who goes away cancels it.",
    method: Method::Post,
    path: "/v1/projections/{name}/verify",
    parameters: &[NAME, AGAINST],
    bodies: &[],
    answers: &[content(
        MEDIA_LINES,
        Some(|g| g.subschema_for::<VerificationLine>()),
        "Lines with `progress`, and a last one with `verdict` or `error`.",
    )],
    needs: PROJECT,
    refusals: &[THERE, &[Code::BaselineNotFound, Code::InvalidParameter, Code::Damaged], BUILT, APPENDING],
    example: Example {
        target: "/v1/projections/orders/verify",
        body: None,
        answer: r#"{"verdict":{"number":1,"projection":"orders","outcome":"differs","asked":"2026-01-31T10:00:00.000Z","found":"2026-01-31T10:00:01.000Z","by":"anybody","release":1,"declaration":"9f","from":"0:00","to":"9:4d","position":3,"tables":[{"table":"orders","equal":false,"kept":{"table":"orders","rows":2,"digest":"5f"},"rebuilt":{"table":"orders","rows":2,"digest":"7a"},"differing":1}],"rows":[{"table":"orders","key":{"id":"order/2"},"kept":{"total":0.0},"rebuilt":{"total":2.5},"since":{"position":2,"type":"order.placed"}}]}}"#,
    },
    command: Some("projection verify"),
};

pub(super) const VERDICTS: Operation = Operation {
    name: "projection.verdicts",
    summary: "List what verifications came to",
    description: "Returns the newest 100 verdicts of a projection, the newest first, each with the heads of the log between which it was read, the \
        digests, the hash of the declaration, and who asked when.",
    method: Method::Get,
    path: "/v1/projections/{name}/verdicts",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<VerdictsAnswer>()), "The verdicts.")],
    needs: Needs::Permission(Permission::Query),
    refusals: &[THERE, &[Code::Internal]],
    example: Example {
        target: "/v1/projections/orders/verdicts",
        body: None,
        answer: r#"{"verdicts":[{"number":1,"projection":"orders","outcome":"equal","asked":"2026-01-31T10:00:00.000Z","found":"2026-01-31T10:00:01.000Z","by":"anybody","release":1,"declaration":"9f","from":"0:00","to":"9:4d","position":3,"tables":[{"table":"orders","equal":true,"kept":{"table":"orders","rows":2,"digest":"5f"},"rebuilt":{"table":"orders","rows":2,"digest":"5f"},"differing":0}],"rows":[]}]}"#,
    },
    command: Some("projection verdicts"),
};

pub(super) const CREATE: Operation = Operation {
    name: "baseline.create",
    summary: "Make a baseline of a projection",
    description: "Records under a name what the live release is now: a digest of each table, the position, and the hash chain there. A later \
        verification can be held against it.",
    method: Method::Post,
    path: "/v1/projections/{name}/baselines",
    parameters: &[NAME],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<BaselineRequest>()), "Its name.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<BaselineBody>()), "The baseline.")],
    needs: PROJECT,
    refusals: &[
        THERE,
        &[
            Code::MalformedJson,
            Code::InvalidRequest,
            Code::InvalidProjection,
            Code::BaselineExists,
            Code::TooManyProjections,
        ],
        BUILT,
        BODY,
        APPENDING,
    ],
    example: Example {
        target: "/v1/projections/orders/baselines",
        body: Some((MEDIA_JSON, r#"{"name":"end-of-2025"}"#)),
        answer: r#"{"name":"end-of-2025","time":"2026-01-31T10:00:00.000Z","by":"anybody","release":1,"declaration":"9f","head":"9:4d","position":3,"tables":[{"table":"orders","rows":2,"digest":"5f"}]}"#,
    },
    command: Some("baseline create"),
};

pub(super) const LIST: Operation = Operation {
    name: "baseline.list",
    summary: "List baselines of a projection",
    description: "Returns all baselines of a projection by their names.",
    method: Method::Get,
    path: "/v1/projections/{name}/baselines",
    parameters: &[NAME],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<BaselinesAnswer>()), "The baselines.")],
    needs: Needs::Permission(Permission::Query),
    refusals: &[THERE, &[Code::Internal]],
    example: Example {
        target: "/v1/projections/orders/baselines",
        body: None,
        answer: r#"{"baselines":[{"name":"end-of-2025","time":"2026-01-31T10:00:00.000Z","by":"anybody","release":1,"declaration":"9f","head":"9:4d","position":3,"tables":[{"table":"orders","rows":2,"digest":"5f"}]}]}"#,
    },
    command: Some("baseline list"),
};

pub(super) const REMOVE: Operation = Operation {
    name: "baseline.remove",
    summary: "Remove a baseline of a projection",
    description: "Forgets a baseline. Verdicts that name it stay.",
    method: Method::Delete,
    path: "/v1/projections/{name}/baselines/{baseline}",
    parameters: &[NAME, BASELINE],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RemovedAnswer>()), "Its name.")],
    needs: PROJECT,
    refusals: &[THERE, &[Code::BaselineNotFound], APPENDING],
    example: Example {
        target: "/v1/projections/orders/baselines/end-of-2025",
        body: None,
        answer: r#"{"removed":"end-of-2025"}"#,
    },
    command: Some("baseline remove"),
};
