//! Operations on schemas.

use super::*;
use crate::MEDIA_JSON;
use crate::parameter::{Kind, Place};
use crate::schema::{
    CompatibilityAnswer, DeprecateSchema, InferredAnswer, RegisterSchema, RegisteredAnswer, RemovedSchemaAnswer,
    SchemaAnswer, SchemaDiffAnswer, SchemaTypeAnswer, SchemasPage, SetUpcaster, UpcasterSetAnswer, VerifiedAnswer,
};
use quipu_domain::schema::SchemaRules;

const TYPE: Parameter =
    Parameter { name: "type", description: "The type, without a version.", kind: Kind::Text, place: Place::Path };
const VERSION: Parameter =
    Parameter { name: "version", description: "The version.", kind: Kind::Number, place: Place::Path };
const ONE: &[Parameter] = &[TYPE];
const ONE_VERSION: &[Parameter] = &[TYPE, VERSION];
const BUNDLED: &[Parameter] = &[Parameter {
    name: "bundled",
    description: "With `true`, the schemas that it refers to stand inside of it.",
    kind: Kind::Word(&["true", "false"]),
    place: Place::Optional,
}];
const FROM_TO: &[Parameter] = &[
    Parameter {
        name: "from",
        description: "The version before; the one before `to` without it.",
        kind: Kind::Number,
        place: Place::Optional,
    },
    Parameter {
        name: "to",
        description: "The version after; the newest without it.",
        kind: Kind::Number,
        place: Place::Optional,
    },
];
const LISTED: &[Parameter] = &[
    Parameter { name: "limit", description: "How many types.", kind: Kind::Limit, place: Place::Optional },
    Parameter {
        name: "cursor",
        description: "The cursor of the page before.",
        kind: Kind::Text,
        place: Place::Optional,
    },
];
const SCHEMA: &[Code] = &[Code::MalformedJson, Code::InvalidRequest, Code::InvalidSchema];

pub(super) const REGISTER: Operation = Operation {
    name: "schema.register",
    summary: "Register a schema",
    description: "Registers a version of the schema of a type. The same again is answered with what is there. A new version must be \
        compatible with those before it, as the rules of the type or the tenant say, `backward` if they do not: whoever reads it \
        reads what was written by the old one. Where it does not as it is, an upcaster makes of the data of the version before what \
        it reads; that is held against the examples and the stored events of earlier versions. A refusal names the fields that break, shows data that one version accepts and \
        the other refuses, and counts the stored events that would break.",
    method: Method::Post,
    path: "/v1/schemas/{type}",
    parameters: &[ONE],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RegisterSchema>()), "The schema.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RegisteredAnswer>()), "What is registered.")],
    needs: Needs::Permission(Permission::Schema),
    refusals: &[
        SCHEMA,
        &[
            Code::SchemaExists,
            Code::IncompatibleSchema,
            Code::UpcasterFails,
            Code::TooManySchemas,
            Code::Damaged,
            Code::StorageQuotaExceeded,
        ],
        BODY,
        APPENDING,
    ],
    example: Example {
        target: "/v1/schemas/order.placed",
        body: Some((
            MEDIA_JSON,
            r#"{"schema":{"type":"object","properties":{"total":{"type":"number"}},"required":["total"]},"owner":"shop"}"#,
        )),
        answer: r#"{"schema":{"type":"order.placed","version":1,"id":1,"schema":{"type":"object","properties":{"total":{"type":"number"}},"required":["total"]},"owner":"shop","made":"2026-01-31T09:30:00.000Z"},"known":false,"compatibility":{"compatible":true,"level":"backward","verdict":"yes"}}"#,
    },
    command: Some("schema register"),
};

pub(super) const CHECK: Operation = Operation {
    name: "schema.check",
    summary: "See whether a schema could be registered",
    description: "Compares a schema with the versions that are there, and with stored events where that cannot tell. Registers \
        nothing; what is not compatible is an answer and no refusal.",
    method: Method::Post,
    path: "/v1/schemas/{type}/check",
    parameters: &[ONE],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RegisterSchema>()), "The schema.")],
    answers: &[content(
        MEDIA_JSON,
        Some(|g| g.subschema_for::<CompatibilityAnswer>()),
        "How it goes with what is there.",
    )],
    needs: Needs::Permission(Permission::Schema),
    refusals: &[SCHEMA, BODY, READING],
    example: Example {
        target: "/v1/schemas/order.placed/check",
        body: Some((
            MEDIA_JSON,
            r#"{"schema":{"type":"object","properties":{"total":{"type":"string"}},"required":["total"]}}"#,
        )),
        answer: r#"{"compatible":false,"level":"backward","verdict":"no","breaks":[{"direction":"backward","version":1,"pointer":"/total","detail":"expected a string, found a number"}],"counterexamples":[{"direction":"backward","version":1,"data":{"total":0},"pointer":"/total"}],"stored":{"events":0,"breaking":0}}"#,
    },
    command: Some("schema check"),
};

pub(super) const LIST: Operation = Operation {
    name: "schema.list",
    summary: "List the schemas",
    description: "Returns a page of the types that have schemas or rules of their own, by their names, with the rules of the tenant. \
        Of each version it says what it is, without its text and its examples: those are read one by one.",
    method: Method::Get,
    path: "/v1/schemas",
    parameters: &[LISTED],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SchemasPage>()), "The types.")],
    needs: Needs::Credential,
    refusals: &[&[Code::InvalidParameter, Code::InvalidCursor, Code::Internal]],
    example: Example {
        target: "/v1/schemas",
        body: None,
        answer: r#"{"rules":{"enforcement":"enforce"},"types":[{"type":"order.placed","rules":{},"versions":[{"version":1,"id":1,"owner":"shop","made":"2026-01-31T09:30:00.000Z"}],"refused":0,"marked":0}],"cursor":null}"#,
    },
    command: Some("schema list"),
};

pub(super) const GET: Operation = Operation {
    name: "schema.get",
    summary: "Read the schemas of a type",
    description: "Returns the versions of the schema of a type without their texts, its rules, and how many events were refused or \
        marked for it.",
    method: Method::Get,
    path: "/v1/schemas/{type}",
    parameters: &[ONE],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SchemaTypeAnswer>()), "The type.")],
    needs: Needs::Credential,
    refusals: &[&[Code::SchemaNotFound, Code::Internal]],
    example: Example {
        target: "/v1/schemas/order.placed",
        body: None,
        answer: r#"{"type":"order.placed","rules":{},"versions":[{"version":1,"id":1,"owner":"shop","made":"2026-01-31T09:30:00.000Z"}],"refused":0,"marked":0}"#,
    },
    command: Some("schema show"),
};

pub(super) const VERSION_GET: Operation = Operation {
    name: "schema.version",
    summary: "Read a version of a schema",
    description: "Returns one version of the schema of a type, as it was registered or in one text with those that it refers to.",
    method: Method::Get,
    path: "/v1/schemas/{type}/versions/{version}",
    parameters: &[ONE_VERSION, BUNDLED],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SchemaAnswer>()), "The version.")],
    needs: Needs::Credential,
    refusals: &[&[Code::InvalidParameter, Code::SchemaNotFound, Code::Internal]],
    example: Example {
        target: "/v1/schemas/order.placed/versions/1",
        body: None,
        answer: r#"{"type":"order.placed","version":1,"id":1,"schema":{"type":"object"},"made":"2026-01-31T09:30:00.000Z"}"#,
    },
    command: Some("schema show"),
};

pub(super) const DIFF: Operation = Operation {
    name: "schema.diff",
    summary: "See what a version changed",
    description: "Returns what differs between two versions of the schema of a type, field by field.",
    method: Method::Get,
    path: "/v1/schemas/{type}/diff",
    parameters: &[ONE, FROM_TO],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SchemaDiffAnswer>()), "The changes.")],
    needs: Needs::Credential,
    refusals: &[&[Code::InvalidParameter, Code::SchemaNotFound, Code::Internal]],
    example: Example {
        target: "/v1/schemas/order.placed/diff?from=1&to=2",
        body: None,
        answer: r#"{"type":"order.placed","from":1,"to":2,"changes":[]}"#,
    },
    command: Some("schema diff"),
};

pub(super) const DEPRECATE: Operation = Operation {
    name: "schema.deprecate",
    summary: "Deprecate a version of a schema",
    description: "Says that nobody should begin with a version any more, and why; without a reason that is taken back. Events of \
        it are taken as before.",
    method: Method::Post,
    path: "/v1/schemas/{type}/versions/{version}/deprecate",
    parameters: &[ONE_VERSION],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<DeprecateSchema>()), "The reason.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SchemaAnswer>()), "The version.")],
    needs: Needs::Permission(Permission::Schema),
    refusals: &[SCHEMA, &[Code::InvalidParameter, Code::SchemaNotFound], BODY, APPENDING],
    example: Example {
        target: "/v1/schemas/order.placed/versions/1/deprecate",
        body: Some((MEDIA_JSON, r#"{"reason":"version 2 has the currency"}"#)),
        answer: r#"{"type":"order.placed","version":1,"id":1,"schema":{"type":"object"},"deprecated":"version 2 has the currency","made":"2026-01-31T09:30:00.000Z"}"#,
    },
    command: Some("schema deprecate"),
};

pub(super) const REMOVE: Operation = Operation {
    name: "schema.remove",
    summary: "Remove a version of a schema",
    description: "Removes a version that no event has and no other schema refers to.",
    method: Method::Delete,
    path: "/v1/schemas/{type}/versions/{version}",
    parameters: &[ONE_VERSION],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<RemovedSchemaAnswer>()), "What was removed.")],
    needs: Needs::Permission(Permission::Schema),
    refusals: &[&[Code::InvalidParameter, Code::SchemaNotFound, Code::SchemaInUse, Code::Damaged], APPENDING],
    example: Example {
        target: "/v1/schemas/order.placed/versions/2",
        body: None,
        answer: r#"{"removed":"order.placed.v2"}"#,
    },
    command: Some("schema remove"),
};

pub(super) const RULES: Operation = Operation {
    name: "schema.rules",
    summary: "Say how a type is held to its schemas",
    description: "Replaces the rules of a type: `compatibility` says what a new version may change, `enforcement` what becomes of \
        data that breaks the schema, `unknown` what becomes of versions that have none. What they do not say the tenant's \
        rules do.",
    method: Method::Put,
    path: "/v1/schemas/{type}/rules",
    parameters: &[ONE],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SchemaRules>()), "The rules.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SchemaRules>()), "The rules.")],
    needs: Needs::Permission(Permission::Schema),
    refusals: &[SCHEMA, &[Code::TooManySchemas], BODY, APPENDING],
    example: Example {
        target: "/v1/schemas/order.placed/rules",
        body: Some((MEDIA_JSON, r#"{"compatibility":"full","enforcement":"enforce"}"#)),
        answer: r#"{"compatibility":"full","enforcement":"enforce"}"#,
    },
    command: Some("schema rules"),
};

pub(super) const DEFAULTS: Operation = Operation {
    name: "schema.defaults",
    summary: "Say how types are held to their schemas",
    description: "Replaces the rules of the tenant, which are those of every type that has none of its own.",
    method: Method::Put,
    path: "/v1/schemarules",
    parameters: &[],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SchemaRules>()), "The rules.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SchemaRules>()), "The rules.")],
    needs: Needs::Permission(Permission::Schema),
    refusals: &[SCHEMA, BODY, APPENDING],
    example: Example {
        target: "/v1/schemarules",
        body: Some((MEDIA_JSON, r#"{"enforcement":"enforce","unknown":"warn"}"#)),
        answer: r#"{"enforcement":"enforce","unknown":"warn"}"#,
    },
    command: Some("schema rules"),
};

pub(super) const DEFAULT_RULES: Operation = Operation {
    name: "schema.defaultrules",
    summary: "See how types are held to their schemas",
    description: "Returns the rules of the tenant, which are those of every type that has none of its own. What they do not say is \
        `backward`, `off` and `allow`.",
    method: Method::Get,
    path: "/v1/schemarules",
    parameters: &[],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SchemaRules>()), "The rules.")],
    needs: Needs::Credential,
    refusals: &[&[Code::Internal]],
    example: Example { target: "/v1/schemarules", body: None, answer: r#"{"enforcement":"enforce","unknown":"warn"}"# },
    command: Some("schema rules"),
};

pub(super) const INFER: Operation = Operation {
    name: "schema.infer",
    summary: "Propose a schema from what was published",
    description: "Learns a schema from all stored events of a type: what fields there are, how often each is there, and of what \
        form they are. It accepts each of them. Nothing is registered.",
    method: Method::Get,
    path: "/v1/schemas/{type}/inferred",
    parameters: &[ONE],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<InferredAnswer>()), "The proposal.")],
    needs: Needs::Permission(Permission::Schema),
    refusals: &[SCHEMA_NONE, READING],
    example: Example {
        target: "/v1/schemas/order.placed/inferred",
        body: None,
        answer: r#"{"type":"order.placed","events":2,"schema":{"type":"object","properties":{"total":{"type":"number","x-observed":{"count":2,"of":2}}},"required":["total"]}}"#,
    },
    command: Some("schema infer"),
};
const SCHEMA_NONE: &[Code] = &[Code::InvalidSchema, Code::SchemaNotFound];

pub(super) const UPCAST: Operation = Operation {
    name: "schema.upcast",
    summary: "Say how data of a version is made of that of the one before",
    description: "Sets the upcaster of a version, or removes it. It is held against the examples and the stored events of earlier \
        versions: what it makes of each must fit the schema, and what later upcasters make of that theirs. Without one the version \
        must read what earlier ones wrote, as the rules of the type say. What is stored never changes: readers and subscriptions \
        that ask for a version are given what the upcasters make of it.",
    method: Method::Put,
    path: "/v1/schemas/{type}/versions/{version}/upcaster",
    parameters: &[ONE_VERSION],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SetUpcaster>()), "The upcaster.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<UpcasterSetAnswer>()), "The version, as it is now.")],
    needs: Needs::Permission(Permission::Schema),
    refusals: &[
        SCHEMA,
        &[
            Code::InvalidParameter,
            Code::SchemaNotFound,
            Code::IncompatibleSchema,
            Code::UpcasterFails,
            Code::TooManySchemas,
            Code::Damaged,
            Code::StorageQuotaExceeded,
        ],
        BODY,
        APPENDING,
    ],
    example: Example {
        target: "/v1/schemas/order.placed/versions/2/upcaster",
        body: Some((MEDIA_JSON, r#"{"jq":"{cents: (.total * 100 | round)}"}"#)),
        answer: r#"{"schema":{"type":"order.placed","version":2,"id":2,"schema":{"type":"object"},"upcaster":{"jq":"{cents: (.total * 100 | round)}"},"made":"2026-01-31T09:30:00.000Z"},"compatibility":{"compatible":true,"level":"backward","verdict":"yes","upcaster":{"events":1,"failed":0,"examples":0,"examplesfailed":0}}}"#,
    },
    command: Some("schema upcast"),
};

pub(super) const VERIFY: Operation = Operation {
    name: "schema.verify",
    summary: "Read stored events as a version of their type",
    description: "Reads stored events of a type as its newest version, or another one, and holds them against its schema. Looks at \
        some 100,000 events: where `to` is smaller than `position`, the next request goes on with `after`.",
    method: Method::Get,
    path: "/v1/schemas/{type}/verification",
    parameters: &[
        ONE,
        &[
            Parameter {
                name: "version",
                description: "The version; the newest without it.",
                kind: Kind::Number,
                place: Place::Optional,
            },
            Parameter {
                name: "after",
                description: "The position behind which to begin; 0 without it.",
                kind: Kind::Number,
                place: Place::Optional,
            },
        ],
    ],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<VerifiedAnswer>()), "What was found.")],
    needs: Needs::Permission(Permission::Read),
    refusals: &[READING, &[Code::InvalidParameter, Code::SchemaNotFound]],
    example: Example {
        target: "/v1/schemas/order.placed/verification?after=100000",
        body: None,
        answer: r#"{"type":"order.placed","version":2,"events":2,"earlier":1,"failed":1,"first":[{"link":"/v1/positions/100007","position":100007,"version":2,"reason":"failed","detail":"the upcaster into version 2 failed: cannot use null as number"}],"to":100009,"position":100009}"#,
    },
    command: Some("schema verify"),
};
