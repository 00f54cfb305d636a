//! Operations on timers: events that are published later.

use super::*;
use crate::MEDIA_JSON;
use crate::parameter::{Kind, Place};
use crate::timer::{CancelledTimerAnswer, SetTimerRequest, TimerAnswer, TimerBody, TimersPage};

const NUMBER: &[Parameter] =
    &[Parameter { name: "number", description: "Its number.", kind: Kind::Number, place: Place::Path }];
const PAGE: &[Parameter] = &[
    Parameter {
        name: "limit",
        description: "Most entries, 1 to 10,000; 100 if not given. Fewer, if their events are large.",
        kind: Kind::Limit,
        place: Place::Optional,
    },
    Parameter {
        name: "cursor",
        description: "The cursor of the page before.",
        kind: Kind::Text,
        place: Place::Optional,
    },
];
const KEY: &[Parameter] =
    &[Parameter { name: "key", description: "Its key.", kind: Kind::Text, place: Place::Required }];
/// What can stand against a cancellation.
const CANCELLING: &[Code] = &[Code::TimerNotFound, Code::InvalidParameter, Code::Damaged];

pub(super) const SET: Operation = Operation {
    name: "timer.set",
    summary: "Publish an event later",
    description: "Sets a timer: the event is on disk when this is answered, has no position until its time comes, and is then \
        recorded like any other, once, also over a crash. `at` waits for the clock, `afterms` for so long. A key, such as \
        the order that waits for its payment, names one timer that waits: with it the timer is cancelled, or replaced by \
        one that says `replace`. An event that is sent again, with its source and id, is no second timer: it is answered \
        with the first, or with the place where its event was recorded meanwhile. What its schema says is asked now, not \
        when it fires. Answers 201, or 200 for a duplicate.",
    method: Method::Post,
    path: "/v1/timers",
    parameters: &[],
    bodies: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<SetTimerRequest>()), "The event, and when.")],
    answers: &[content(
        MEDIA_JSON,
        Some(|g| g.subschema_for::<TimerAnswer>()),
        "The timer, or where its event was recorded.",
    )],
    needs: Needs::Part(Permission::Publish),
    refusals: &[
        EVENT,
        BODY,
        APPENDING,
        &[Code::InvalidRequest, Code::InvalidTimer, Code::TimerExists, Code::TooManyTimers, Code::Damaged],
    ],
    example: Example {
        target: "/v1/timers",
        body: Some((
            MEDIA_JSON,
            r#"{"key":"payment/order/17","afterms":1800000,"event":{"specversion":"1.0","id":"late-17","source":"/shop","type":"payment.missed","subject":"order/17"}}"#,
        )),
        answer: r#"{"timer":1,"due":"2026-01-31T10:00:00.000Z","duplicate":false}"#,
    },
    command: Some("timer set"),
};

pub(super) const LIST: Operation = Operation {
    name: "timer.list",
    summary: "List timers",
    description: "Returns a page of timers that wait, those first that fire first, and how many there are in all. Their events \
        are there for who may read them.",
    method: Method::Get,
    path: "/v1/timers",
    parameters: &[PAGE],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<TimersPage>()), "A page of timers.")],
    needs: Needs::Permission(Permission::Observe),
    refusals: &[
        READING,
        &[Code::InvalidParameter, Code::InvalidCursor, Code::Overloaded, Code::Unavailable, Code::DiskFull],
    ],
    example: Example {
        target: "/v1/timers?limit=1",
        body: None,
        answer: r#"{"timers":[{"timer":1,"key":"payment/order/17","due":"2026-01-31T10:00:00.000Z","set":"2026-01-31T09:30:00.000Z","type":"payment.missed","event":{"specversion":"1.0","id":"late-17","source":"/shop","type":"payment.missed","subject":"order/17"}}],"total":1,"cursor":null}"#,
    },
    command: Some("timer list"),
};

pub(super) const GET: Operation = Operation {
    name: "timer.get",
    summary: "See a timer",
    description: "Returns a timer that waits, with its event for who may read that. One that has fired or was cancelled is not \
        there any more; what it published is found by its source and id.",
    method: Method::Get,
    path: "/v1/timers/{number}",
    parameters: &[NUMBER],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<TimerBody>()), "The timer.")],
    needs: Needs::Permission(Permission::Observe),
    refusals: &[
        READING,
        &[Code::InvalidParameter, Code::TimerNotFound, Code::Overloaded, Code::Unavailable, Code::DiskFull],
    ],
    example: Example {
        target: "/v1/timers/1",
        body: None,
        answer: r#"{"timer":1,"key":"payment/order/17","due":"2026-01-31T10:00:00.000Z","set":"2026-01-31T09:30:00.000Z","type":"payment.missed","event":{"specversion":"1.0","id":"late-17","source":"/shop","type":"payment.missed","subject":"order/17"}}"#,
    },
    command: Some("timer show"),
};

pub(super) const CANCEL: Operation = Operation {
    name: "timer.cancel",
    summary: "Cancel a timer",
    description: "Cancels a timer by its number: once this is answered it does not fire. One that has fired, was cancelled or \
        never was is not found, and neither is one whose event the caller may not publish.",
    method: Method::Delete,
    path: "/v1/timers/{number}",
    parameters: &[NUMBER],
    bodies: &[],
    answers: &[content(MEDIA_JSON, Some(|g| g.subschema_for::<CancelledTimerAnswer>()), "Its number.")],
    needs: Needs::Part(Permission::Publish),
    refusals: &[CANCELLING, APPENDING],
    example: Example { target: "/v1/timers/1", body: None, answer: r#"{"timer":1}"# },
    command: Some("timer cancel"),
};

pub(super) const CANCEL_KEY: Operation = Operation {
    name: "timer.cancelkey",
    summary: "Cancel the timer with a key",
    description: "As cancelling it by its number, for who knows its key.",
    path: "/v1/timers",
    parameters: &[KEY],
    example: Example { target: "/v1/timers?key=payment%2Forder%2F17", ..CANCEL.example },
    ..CANCEL
};
