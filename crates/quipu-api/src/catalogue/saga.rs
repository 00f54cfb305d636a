//! Operations on sagas, rules and expectations, and on their instances.

use quipu_domain::saga::{Expectation, Rule, Saga};

use super::*;
use crate::intervention::{InterventionPreview, InterventionRequest};
use crate::parameter::{Kind, Place};
use crate::request::InstancesRequest;
use crate::saga::{
    ActRequest, AppliedSaga, DeclaredSaga, DeclaredSagas, InstanceAnswer, InstancesPage, RemovedSaga, TimelineAnswer,
};
use crate::what_if::{WhatIfAnswer, WhatIfRequest};
use crate::{MEDIA_JSON, MEDIA_TEXT, MEDIA_YAML};

const fn named(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, description, kind: Kind::Text, place: Place::Path }
}

const fn optional(name: &'static str, kind: Kind, description: &'static str) -> Parameter {
    Parameter { name, description, kind, place: Place::Optional }
}

const SAGA: &[Parameter] = &[named("saga", "The saga.")];
const RULE: &[Parameter] = &[named("rule", "The rule.")];
const EXPECTATION: &[Parameter] = &[named("expectation", "The expectation.")];
const NUMBER: &[Parameter] =
    &[Parameter { name: "number", description: "The number of the instance.", kind: Kind::Number, place: Place::Path }];
const APPLYING: &[Parameter] = &[
    optional(
        "dryrun",
        Kind::Word(&["true", "false"]),
        "With `true`, nothing is changed; the answer says what was found and which version it would be.",
    ),
    optional("strict", Kind::Word(&["true", "false"]), "With `true`, what is only warned of is refused too."),
];
const ASKED: &[Parameter] = &[
    optional("saga", Kind::Text, "Of this saga."),
    optional("rule", Kind::Text, "Of this rule: an instance is kept of an event that it could not publish for."),
    optional("expectation", Kind::Text, "Of this expectation."),
    Parameter {
        name: "state",
        description: "That stand so; repeated, any of these.",
        kind: Kind::Word(InstancesRequest::STATES),
        place: Place::Repeated,
    },
    optional("key", Kind::Text, "With this key."),
    optional("search", Kind::Text, "With this somewhere in the key."),
    optional("older", Kind::Text, "That began longer ago: 30s, 5m, 4h, 1d."),
    optional("stuck", Kind::Text, "That are open, and ask a person or have not changed for so long: 30s, 5m, 4h, 1d."),
    optional("limit", Kind::Limit, "Most entries on the page, 1 to 10,000; 100 if not given."),
    optional("cursor", Kind::Text, "The cursor of the page before."),
];
const OBSERVE: Needs = Needs::Permission(Permission::Observe);
const ORCHESTRATE: Needs = Needs::Permission(Permission::Orchestrate);
const INTERVENE: Needs = Needs::Permission(Permission::Intervene);
/// What can stand against looking at a declaration.
const THERE: &[Code] = &[Code::SagaNotFound];
/// What can stand against applying one.
const APPLIED: &[Code] =
    &[Code::InvalidParameter, Code::MalformedJson, Code::InvalidSaga, Code::TooManySagas, Code::Damaged];
const GONE: &[Code] = &[Code::SagaNotFound, Code::SagaInUse];
/// What can stand against looking at an instance: what is said of it is on the disk first.
const INSTANCE_THERE: &[Code] = &[Code::InvalidParameter, Code::InstanceNotFound, Code::Unavailable, Code::DiskFull];
const ACT: &[Code] = &[
    Code::InvalidParameter,
    Code::MalformedJson,
    Code::InvalidRequest,
    Code::InstanceNotFound,
    Code::SagaState,
    Code::Damaged,
];
const LOOKING: &[Code] = &[Code::Unavailable, Code::DiskFull, Code::Internal];

const DECLARED: Content =
    content(MEDIA_JSON, Some(|g| g.subschema_for::<DeclaredSaga>()), "What was declared, and how it is doing.");
const ALL: Content = content(MEDIA_JSON, Some(|g| g.subschema_for::<DeclaredSagas>()), "What is declared.");
const TAKEN: Content =
    content(MEDIA_JSON, Some(|g| g.subschema_for::<AppliedSaga>()), "What became of it, and what was found.");
const REMOVED: Content = content(MEDIA_JSON, Some(|g| g.subschema_for::<RemovedSaga>()), "What is gone.");
const YAML: Content = content(MEDIA_YAML, None, "The declaration.");
const WHY: Content = content(MEDIA_JSON, Some(|g| g.subschema_for::<ActRequest>()), "Why.");
const ONE: Content = content(MEDIA_JSON, Some(|g| g.subschema_for::<InstanceAnswer>()), "The instance as it is now.");

/// Looks at what is declared of one kind.
const fn list(
    name: &'static str,
    summary: &'static str,
    path: &'static str,
    answer: &'static str,
    command: &'static str,
) -> Operation {
    Operation {
        name,
        summary,
        description: "Returns all of them by their names: which version new instances begin with, how many instances are open and \
            remembered, and how many events it has still to look at.",
        method: Method::Get,
        path,
        parameters: &[],
        bodies: &[],
        answers: &[ALL],
        needs: OBSERVE,
        refusals: &[LOOKING],
        example: Example { target: path, body: None, answer },
        command: Some(command),
    }
}

pub(super) const LIST: Operation = list(
    "saga.list",
    "List sagas",
    "/v1/sagas",
    r#"{"declared":[{"kind":"saga","name":"order_fulfilment","version":1,"declaredtime":"2026-01-31T09:30:00.000Z","open":2,"instances":9,"behind":0}]}"#,
    "saga list",
);

pub(super) const APPLY: Operation = Operation {
    name: "saga.apply",
    summary: "Declare a saga",
    description: "Declares a long business transaction that is finished or undone: which events begin it, its steps with what undoes \
        each, and the events of its end. New instances begin with it; those that are open go on with what they began with. The same \
        declaration changes nothing. What is found is returned with its path: what cannot work is refused, what may not be meant so \
        (a step without a timeout, a side effect without a compensation, an awaited event that nobody publishes) is warned of.",
    method: Method::Put,
    path: "/v1/sagas/{saga}",
    parameters: &[SAGA, APPLYING],
    bodies: &[
        content(MEDIA_JSON, Some(|g| g.subschema_for::<Saga>()), "The declaration; its name is that of the path."),
        YAML,
    ],
    answers: &[TAKEN],
    needs: ORCHESTRATE,
    refusals: &[APPLIED, BODY, APPENDING],
    example: Example {
        target: "/v1/sagas/order_fulfilment",
        body: Some((
            MEDIA_JSON,
            r#"{"saga":"order_fulfilment","starts_on":"order.placed","steps":[{"pay":{"send":"payment.charge","await":"payment.charged","fail_on":"payment.declined","timeout":"2m","compensate":"payment.refund"}}],"completes_with":"order.fulfilled","fails_with":"order.failed"}"#,
        )),
        answer: r#"{"version":1,"outcome":"new","findings":[{"level":"warned","path":"/steps/pay","sentence":"expected somebody who follows payment.charge, found nobody: it is published to no one"}]}"#,
    },
    command: Some("saga apply"),
};

/// Looks at a declaration.
const fn get(
    name: &'static str,
    summary: &'static str,
    path: &'static str,
    parameters: &'static [&'static [Parameter]],
    example: Example,
    command: &'static str,
) -> Operation {
    Operation {
        name,
        summary,
        description: "Returns what was declared last, which version that is, how many instances are open and remembered, and how many \
            events it has still to look at.",
        method: Method::Get,
        path,
        parameters,
        bodies: &[],
        answers: &[DECLARED],
        needs: OBSERVE,
        refusals: &[THERE, LOOKING],
        example,
        command: Some(command),
    }
}

pub(super) const GET: Operation = get(
    "saga.get",
    "See a saga",
    "/v1/sagas/{saga}",
    &[SAGA],
    Example {
        target: "/v1/sagas/order_fulfilment",
        body: None,
        answer: r#"{"kind":"saga","name":"order_fulfilment","version":1,"declaredtime":"2026-01-31T09:30:00.000Z","open":2,"instances":9,"behind":0,"declaration":{"saga":"order_fulfilment","starts_on":"order.placed","steps":[{"pay":{"send":"payment.charge","await":"payment.charged","compensate":"payment.refund"}}]}}"#,
    },
    "saga show",
);

/// Removes a declaration.
const fn remove(
    name: &'static str,
    summary: &'static str,
    path: &'static str,
    parameters: &'static [&'static [Parameter]],
    example: Example,
    command: &'static str,
) -> Operation {
    Operation {
        name,
        summary,
        description: "Removes it with all its versions, and what is remembered of instances that have ended. While there are open \
            instances it is refused: let them end, or cancel them.",
        method: Method::Delete,
        path,
        parameters,
        bodies: &[],
        answers: &[REMOVED],
        needs: ORCHESTRATE,
        refusals: &[GONE, APPENDING],
        example,
        command: Some(command),
    }
}

pub(super) const REMOVE: Operation = remove(
    "saga.remove",
    "Remove a saga",
    "/v1/sagas/{saga}",
    &[SAGA],
    Example { target: "/v1/sagas/order_fulfilment", body: None, answer: r#"{"removed":"order_fulfilment"}"# },
    "saga remove",
);

pub(super) const DIAGRAM: Operation = Operation {
    name: "saga.diagram",
    summary: "Draw a saga",
    description: "Returns the saga as a flowchart of Mermaid: its steps in their order, and dotted, what undoes them.",
    method: Method::Get,
    path: "/v1/sagas/{saga}/diagram",
    parameters: &[SAGA],
    bodies: &[],
    answers: &[content(MEDIA_TEXT, None, "A flowchart.")],
    needs: OBSERVE,
    refusals: &[THERE, &[Code::Internal]],
    example: Example {
        target: "/v1/sagas/order_fulfilment/diagram",
        body: None,
        answer: "flowchart TD\n    start([\"order.placed\"])\n    n1[\"pay: payment.charge\"]\n    start --> n1\n    …",
    },
    command: Some("saga diagram"),
};

pub(super) const RULE_LIST: Operation = list(
    "rule.list",
    "List rules",
    "/v1/rules",
    r#"{"declared":[{"kind":"rule","name":"welcome","version":1,"declaredtime":"2026-01-31T09:30:00.000Z","open":0,"instances":0,"behind":0}]}"#,
    "rule list",
);

pub(super) const RULE_APPLY: Operation = Operation {
    name: "rule.apply",
    summary: "Declare a rule",
    description: "Declares that an event is published for each event of a kind, with the data and the subject of that one or with what jq \
        makes of it. It is published exactly once. Rules that set each other off for ever are refused; what was led to by 16 \
        rules one after the other is led no further.",
    method: Method::Put,
    path: "/v1/rules/{rule}",
    parameters: &[RULE, APPLYING],
    bodies: &[
        content(MEDIA_JSON, Some(|g| g.subschema_for::<Rule>()), "The declaration; its name is that of the path."),
        YAML,
    ],
    answers: &[TAKEN],
    needs: ORCHESTRATE,
    refusals: &[APPLIED, BODY, APPENDING],
    example: Example {
        target: "/v1/rules/welcome",
        body: Some((
            MEDIA_JSON,
            r#"{"rule":"welcome","on":"customer.signed","publish":{"type":"mail.send","data":"{to: .start.data.email}"}}"#,
        )),
        answer: r#"{"version":1,"outcome":"new","findings":[]}"#,
    },
    command: Some("rule apply"),
};

pub(super) const RULE_GET: Operation = get(
    "rule.get",
    "See a rule",
    "/v1/rules/{rule}",
    &[RULE],
    Example {
        target: "/v1/rules/welcome",
        body: None,
        answer: r#"{"kind":"rule","name":"welcome","version":1,"declaredtime":"2026-01-31T09:30:00.000Z","open":0,"instances":0,"behind":0,"declaration":{"rule":"welcome","on":"customer.signed","publish":{"type":"mail.send"}}}"#,
    },
    "rule show",
);

pub(super) const RULE_REMOVE: Operation = remove(
    "rule.remove",
    "Remove a rule",
    "/v1/rules/{rule}",
    &[RULE],
    Example { target: "/v1/rules/welcome", body: None, answer: r#"{"removed":"welcome"}"# },
    "rule remove",
);

pub(super) const EXPECTATION_LIST: Operation = list(
    "expectation.list",
    "List expectations",
    "/v1/expectations",
    r#"{"declared":[{"kind":"expectation","name":"shipped","version":1,"declaredtime":"2026-01-31T09:30:00.000Z","open":3,"instances":5,"behind":0}]}"#,
    "expect list",
);

pub(super) const EXPECTATION_APPLY: Operation = Operation {
    name: "expectation.apply",
    summary: "Declare an expectation",
    description: "Declares that an event has to follow another with the same key in time. If it does not come, an event says so: \
        `expectation.missed`, or what `otherwise` says.",
    method: Method::Put,
    path: "/v1/expectations/{expectation}",
    parameters: &[EXPECTATION, APPLYING],
    bodies: &[
        content(
            MEDIA_JSON,
            Some(|g| g.subschema_for::<Expectation>()),
            "The declaration; its name is that of the path.",
        ),
        YAML,
    ],
    answers: &[TAKEN],
    needs: ORCHESTRATE,
    refusals: &[APPLIED, BODY, APPENDING],
    example: Example {
        target: "/v1/expectations/shipped",
        body: Some((MEDIA_JSON, r#"{"expect":"shipped","after":"order.paid","then":"order.shipped","within":"5m"}"#)),
        answer: r#"{"version":1,"outcome":"new","findings":[]}"#,
    },
    command: Some("expect apply"),
};

pub(super) const EXPECTATION_GET: Operation = get(
    "expectation.get",
    "See an expectation",
    "/v1/expectations/{expectation}",
    &[EXPECTATION],
    Example {
        target: "/v1/expectations/shipped",
        body: None,
        answer: r#"{"kind":"expectation","name":"shipped","version":1,"declaredtime":"2026-01-31T09:30:00.000Z","open":3,"instances":5,"behind":0,"declaration":{"expect":"shipped","after":"order.paid","then":"order.shipped","within":"5m"}}"#,
    },
    "expect show",
);

pub(super) const EXPECTATION_REMOVE: Operation = remove(
    "expectation.remove",
    "Remove an expectation",
    "/v1/expectations/{expectation}",
    &[EXPECTATION],
    Example { target: "/v1/expectations/shipped", body: None, answer: r#"{"removed":"shipped"}"# },
    "expect remove",
);

pub(super) const INSTANCES: Operation = Operation {
    name: "instance.list",
    summary: "List instances",
    description: "Returns instances of sagas and expectations, and of rules those that could not publish, the newest first, with \
        what each waits for. All that is asked has to hold. Instances that have ended are remembered for 7 days, at most 200,000 of them.",
    method: Method::Get,
    path: "/v1/saga-instances",
    parameters: &[ASKED],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<InstancesPage>()), "The instances.")],
    needs: OBSERVE,
    refusals: &[&[Code::InvalidParameter, Code::InvalidCursor], LOOKING],
    example: Example {
        target: "/v1/saga-instances?saga=order_fulfilment&stuck=1h",
        body: None,
        answer: r#"{"instances":[{"number":7,"kind":"saga","name":"order_fulfilment","version":1,"key":"o7","state":"needsperson","openedtime":"2026-01-31T09:30:00.000Z","updatedtime":"2026-01-31T09:40:00.000Z","start":41,"failure":{"step":"pay","reason":"it was refused"},"waiting":[{"sentence":"undoing reserve, attempt 10: it was refused; waits for a person to retry, skip or resolve it"}],"acts":["pause","retry","skip","resolve"]}],"cursor":null,"total":9}"#,
    },
    command: Some("saga instances"),
};

pub(super) const INSTANCE: Operation = Operation {
    name: "instance.get",
    summary: "See an instance, and why it stands still",
    description: "Returns how an instance stands, what it failed by, what it waits for and until when, and what may be done to it. An \
        instance that is open always waits for something.",
    method: Method::Get,
    path: "/v1/saga-instances/{number}",
    parameters: &[NUMBER],
    bodies: &[],
    answers: &[ONE],
    needs: OBSERVE,
    refusals: &[INSTANCE_THERE, &[Code::Internal]],
    example: Example {
        target: "/v1/saga-instances/7",
        body: None,
        answer: r#"{"number":7,"kind":"saga","name":"order_fulfilment","version":1,"key":"o7","state":"running","openedtime":"2026-01-31T09:30:00.000Z","updatedtime":"2026-01-31T09:30:00.000Z","duetime":"2026-01-31T09:32:00.000Z","start":41,"waiting":[{"sentence":"pay, attempt 1: waits for the answer payment.charged","time":"2026-01-31T09:32:00.000Z"}],"acts":["cancel","pause"]}"#,
    },
    command: Some("saga instance"),
};

pub(super) const TIMELINE: Operation = Operation {
    name: "instance.timeline",
    summary: "See what made an instance what it is",
    description: "Returns what happened to an instance, the first first: the events that it took with their positions, its attempts with \
        what they published and the timers that they set, and who intervened and why. Events stand in it whole for who may read them. The \
        first 64 and the last 128 entries are kept.",
    method: Method::Get,
    path: "/v1/saga-instances/{number}/timeline",
    parameters: &[NUMBER],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<TimelineAnswer>()), "What happened.")],
    needs: OBSERVE,
    refusals: &[INSTANCE_THERE, READING],
    example: Example {
        target: "/v1/saga-instances/7/timeline",
        body: None,
        answer: r#"{"number":7,"entries":[{"time":"2026-01-31T09:30:00.000Z","what":"begun","step":"order_fulfilment","iteration":0,"event":{"position":41,"type":"order.placed","id":"o7-1"}},{"time":"2026-01-31T09:30:00.000Z","what":"tried","step":"pay","iteration":0,"attempt":1,"untiltime":"2026-01-31T09:32:00.000Z","sent":{"position":42,"type":"payment.charge","id":"00c4a1d9e02b7f35/7/1.0/1"}}],"skipped":0}"#,
    },
    command: Some("saga timeline"),
};

/// Intervenes in an instance.
const fn act(
    name: &'static str,
    summary: &'static str,
    description: &'static str,
    path: &'static str,
    example: Example,
    command: &'static str,
) -> Operation {
    Operation {
        name,
        summary,
        description,
        method: Method::Post,
        path,
        parameters: &[NUMBER],
        bodies: &[WHY],
        answers: &[ONE],
        needs: INTERVENE,
        refusals: &[ACT, BODY, APPENDING],
        example,
        command: Some(command),
    }
}

pub(super) const CANCEL: Operation = act(
    "instance.cancel",
    "Cancel an instance",
    "Has an instance undo what it did and what is in doubt, in reverse order, and end as cancelled. One that is being undone already is not \
        cancelled.",
    "/v1/saga-instances/{number}/cancel",
    Example {
        target: "/v1/saga-instances/7/cancel",
        body: Some((MEDIA_JSON, r#"{"reason":"the customer called"}"#)),
        answer: r#"{"number":7,"kind":"saga","name":"order_fulfilment","version":1,"key":"o7","state":"cancelled","openedtime":"2026-01-31T09:30:00.000Z","updatedtime":"2026-01-31T09:31:00.000Z","start":41,"failure":{"step":"order_fulfilment","reason":"somebody cancelled it"},"waiting":[],"acts":[]}"#,
    },
    "saga cancel",
);

pub(super) const PAUSE: Operation = act(
    "instance.pause",
    "Pause an instance",
    "Stops an instance: events that come for it are taken in when it goes on, and its timers stand still.",
    "/v1/saga-instances/{number}/pause",
    Example {
        target: "/v1/saga-instances/7/pause",
        body: Some((MEDIA_JSON, r#"{"reason":"the warehouse moves"}"#)),
        answer: r#"{"number":7,"kind":"saga","name":"order_fulfilment","version":1,"key":"o7","state":"paused","openedtime":"2026-01-31T09:30:00.000Z","updatedtime":"2026-01-31T09:31:00.000Z","start":41,"waiting":[{"sentence":"it is paused: resume it","time":"2026-01-31T09:31:00.000Z"}],"acts":["cancel","resume"]}"#,
    },
    "saga pause",
);

pub(super) const RESUME: Operation = act(
    "instance.resume",
    "Let an instance go on",
    "Lets a paused instance go on: what came meanwhile is taken in first, and timeouts move by as long as it was paused.",
    "/v1/saga-instances/{number}/resume",
    Example {
        target: "/v1/saga-instances/7/resume",
        body: Some((MEDIA_JSON, "{}")),
        answer: r#"{"number":7,"kind":"saga","name":"order_fulfilment","version":1,"key":"o7","state":"running","openedtime":"2026-01-31T09:30:00.000Z","updatedtime":"2026-01-31T09:32:00.000Z","duetime":"2026-01-31T09:33:00.000Z","start":41,"waiting":[{"sentence":"pay, attempt 1: waits for the answer payment.charged","time":"2026-01-31T09:33:00.000Z"}],"acts":["cancel","pause"]}"#,
    },
    "saga resume",
);

pub(super) const RETRY: Operation = act(
    "instance.retry",
    "Have an instance try again",
    "Tries again what an instance asks a person about; with `from`, it goes on again from that step of the saga, as long as nothing \
        was undone.",
    "/v1/saga-instances/{number}/retry",
    Example {
        target: "/v1/saga-instances/7/retry",
        body: Some((MEDIA_JSON, r#"{"reason":"the provider is back"}"#)),
        answer: r#"{"number":7,"kind":"saga","name":"order_fulfilment","version":1,"key":"o7","state":"running","openedtime":"2026-01-31T09:30:00.000Z","updatedtime":"2026-01-31T09:45:00.000Z","duetime":"2026-01-31T09:47:00.000Z","start":41,"waiting":[{"sentence":"pay, attempt 2: waits for the answer payment.charged","time":"2026-01-31T09:47:00.000Z"}],"acts":["cancel","pause"]}"#,
    },
    "saga retry",
);

pub(super) const SKIP: Operation = act(
    "instance.skip",
    "Go on without what an instance asks about",
    "Goes on without what an instance asks a person about: a step counts as given up and is undone if the saga fails; a compensation is left \
        out, and the instance ends as failed. A reason is needed.",
    "/v1/saga-instances/{number}/skip",
    Example {
        target: "/v1/saga-instances/7/skip",
        body: Some((MEDIA_JSON, r#"{"reason":"the goods were never there"}"#)),
        answer: r#"{"number":7,"kind":"saga","name":"order_fulfilment","version":1,"key":"o7","state":"failed","openedtime":"2026-01-31T09:30:00.000Z","updatedtime":"2026-01-31T09:45:00.000Z","start":41,"failure":{"step":"pay","reason":"it was refused"},"waiting":[],"acts":[]}"#,
    },
    "saga skip",
);

pub(super) const RESOLVE: Operation = act(
    "instance.resolve",
    "Settle by hand what an instance asks about",
    "Takes what an instance asks a person about as done by hand: a step as finished, a compensation as undone. A reason is needed.",
    "/v1/saga-instances/{number}/resolve",
    Example {
        target: "/v1/saga-instances/7/resolve",
        body: Some((MEDIA_JSON, r#"{"reason":"refunded at the counter"}"#)),
        answer: r#"{"number":7,"kind":"saga","name":"order_fulfilment","version":1,"key":"o7","state":"resolved","openedtime":"2026-01-31T09:30:00.000Z","updatedtime":"2026-01-31T09:45:00.000Z","start":41,"failure":{"step":"pay","reason":"it was refused"},"waiting":[],"acts":[]}"#,
    },
    "saga resolve",
);

pub(super) const PREVIEW: Operation = Operation {
    name: "instance.preview",
    summary: "Preview an act on many instances",
    description: "Counts, exactly, the instances that are selected and that the act fits as they stand, and shows the first of them. Nothing \
        is done before it is confirmed, within 15 minutes, as an operation: `POST /v1/operations/{id}/confirm` begins it. Then the act is done \
        to each of them once, in the order of their numbers, over any crash; what comes to match later is not touched, and one that it does not \
        fit any more is refused. Unless a saga, a rule, an expectation or a key is named, it is about sagas that no other saga began: \
        what is within them follows. At most 1,000,000 instances; `ratepersecond` holds it back.",
    method: Method::Post,
    path: "/v1/saga-operations",
    parameters: &[],
    bodies: &[content(
        MEDIA_JSON,
        Some(|g| g.subschema_for::<InterventionRequest>()),
        "What to do to which instances.",
    )],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<InterventionPreview>()), "The count and a sample.")],
    needs: INTERVENE,
    refusals: &[
        &[Code::MalformedJson, Code::InvalidRequest, Code::InvalidOperation, Code::TooManyOperations],
        BODY,
        APPENDING,
    ],
    example: Example {
        target: "/v1/saga-operations",
        body: Some((
            MEDIA_JSON,
            r#"{"work":{"act":"cancel","reason":"the warehouse burnt down"},"select":{"saga":"order_fulfilment","states":["running"]},"ratepersecond":50}"#,
        )),
        answer: r#"{"id":1,"state":"previewed","work":{"saga":{"act":"cancel","reason":"the warehouse burnt down"}},"ratepersecond":50.0,"total":1,"done":0,"refused":0,"time":"2026-01-31T10:00:00.000Z","remainingseconds":1,"confirmbefore":"2026-01-31T10:15:00.000Z","sample":[{"number":7,"kind":"saga","name":"order_fulfilment","version":1,"key":"o7","state":"running","openedtime":"2026-01-31T09:30:00.000Z","updatedtime":"2026-01-31T09:30:00.000Z","duetime":"2026-01-31T10:30:00.000Z","start":41,"waiting":[{"sentence":"pay, attempt 1: waits for the answer payment.charged","time":"2026-01-31T10:30:00.000Z"}],"acts":["cancel","pause"]}]}"#,
    },
    command: Some("saga cancel"),
};

pub(super) const WHAT_IF: Operation = Operation {
    name: "saga.whatif",
    summary: "Ask what a changed saga would have made of history",
    description: "Feeds the events of a range once more, in memory, to instances of the declaration, and holds each against the instance of the \
        same key that there was: which would have ended otherwise or done something else, and at which step. Nothing is published and nothing \
        is written. Commands are taken as sent when they were sent, and answers are those that came; calls and sagas within it come to what \
        they came to if the same was asked. Whatever depends on the answer to what nobody was ever asked is `unknown`, and never guessed. \
        Reads the whole range. Who goes away cancels it.",
    method: Method::Post,
    path: "/v1/saga-what-if",
    parameters: &[],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<WhatIfRequest>()), "The declaration, and which events.")],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<WhatIfAnswer>()), "What it would have made of them.")],
    needs: ORCHESTRATE,
    refusals: &[
        &[Code::MalformedJson, Code::InvalidRequest, Code::InvalidSaga, Code::InvalidOperation, Code::Damaged],
        BODY,
        APPENDING,
    ],
    example: Example {
        target: "/v1/saga-what-if",
        body: Some((
            MEDIA_JSON,
            r#"{"declaration":{"saga":"order_fulfilment","starts_on":"order.placed","steps":[{"pay":{"send":"payment.charge","await":"payment.charged","fail_on":"payment.declined","timeout":"10m","compensate":"payment.refund"}}]},"until":{"position":1}}"#,
        )),
        answer: r#"{"from":1,"until":900,"untiltime":"2026-01-31T10:00:00.000Z","same":297,"otherwise":1,"onlynew":0,"onlyold":0,"unknown":0,"intervened":0,"open":2,"before":0,"leftout":0,"differences":[{"verdict":"otherwise","key":"o7","number":7,"was":"compensated","wouldbe":"completed","step":"pay","why":"it would not fail at pay, as it did: nobody answered in time"}]}"#,
    },
    command: Some("saga what-if"),
};
