//! Operations that stay open: the tail as server-sent events, and the WebSocket.

use super::read::VIEW;
use super::*;
use crate::MEDIA_SSE;
use crate::frame::ServerFrame;
use crate::parameter::{FILTER, Kind, Place};

const FROM: Parameter = Parameter {
    name: "from",
    description: "Where to begin: start, end (the default), or the position of the first event, which is at most the next one \
        to be recorded.",
    kind: Kind::Text,
    place: Place::Optional,
};
const LAST_EVENT_ID: Parameter = Parameter {
    name: "lastEventId",
    description: "Resume after this position, which is there, as the header Last-Event-ID does.",
    kind: Kind::Number,
    place: Place::Optional,
};

/// In place of a credential.
pub(super) const TICKET: Parameter = Parameter {
    name: "ticket",
    description: "A ticket of POST /v1/access/ticket, in place of the header Authorization: for browsers, whose EventSource and \
        WebSocket cannot send one.",
    kind: Kind::Text,
    place: Place::Optional,
};

pub(super) const TAIL: Operation = Operation {
    name: "event.tail",
    summary: "Follow events as server-sent events",
    description: "Sends every event that matches, from a position on and then as they are recorded, until either side \
        ends the connection. A plain EventSource works: the id of a message is the event's position, its data is the \
        CloudEvent in JSON, and the header Last-Event-ID (which EventSource sends by itself) resumes without gap or \
        repeat. Every 15 seconds without an event a message without data, which EventSource does not show, keeps \
        proxies from closing the connection and moves the id on to what was looked at: a client that reconnects after \
        a long silence does not begin where its last event was. A slow reader is served from the log at its own pace. A \
        position beyond the end of the log is refused with `position-not-found`: it was seen in another log.",
    method: Method::Get,
    path: "/v1/tail",
    parameters: &[FILTER, VIEW, &[FROM, LAST_EVENT_ID, TICKET]],
    bodies: &[],
    answers: &[content(MEDIA_SSE, None, "Messages with id (the position) and data (the event).")],
    needs: Needs::Part(Permission::Read),
    refusals: &[&[Code::InvalidParameter, Code::PositionNotFound, Code::NotAcceptable, Code::Unavailable]],
    example: Example {
        target: "/v1/tail?type=order.*&from=start",
        body: None,
        answer: "id: 1\ndata: {\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/shop\",\"type\":\"order.placed\",\"subject\":\"order/17\",\"position\":1,\"streamversion\":1,\"recordedtime\":\"2026-01-31T09:30:00.000Z\",\"data\":{\"total\":9}}\n",
    },
    command: Some("event tail"),
};

pub(super) const CONNECT: Operation = Operation {
    name: "event.connect",
    summary: "Publish and follow over a WebSocket",
    description: "Opens a WebSocket with the subprotocol cloudevents.json. Each text frame from the client is one \
        CloudEvent to publish, or a control object: {\"subscribe\":{…}} with the parameters of the tail, or \
        {\"unsubscribe\":true}. The server answers every published event in order with {\"ack\":{\"id\",\"source\",\
        \"status\",…}}, a frame that it cannot read with {\"error\":…}, a control object with {\"subscribed\":{\"after\"}} \
        or {\"unsubscribed\":{\"after\"}}, and delivers events as plain CloudEvents. Many events may be in flight; those \
        that have arrived are written together. A durable subscription is consumed with {\"consume\":{\"subscription\",\
        \"credits\"}} (answered with `consuming`): its deliveries are pushed as {\"deliveries\":{\"subscription\",\
        \"deliveries\":[…]}}, each takes a credit, and none is pushed without one; {\"credit\":{\"subscription\",\
        \"credits\"}} adds some, up to 10,000 at once. {\"answer\":{\"subscription\",\"answers\":[…],\"credits\"}} answers \
        deliveries as POST /v1/subscriptions/{name}/answers does (with `answered`) and may add credits in the same frame; \
        {\"stop\":\"name\"} ends it (with `stopped`). A connection consumes up to 16 subscriptions. A frame has up to 256 \
        KiB of events, or a single one that is larger. What a connection leaves unanswered when it ends stays in flight \
        until its deadline, and may be answered from another. To a client that closes, what is in flight is still answered if \
        that takes less than two seconds; then the server closes too. A page of another origin is refused.",
    method: Method::Get,
    path: "/v1/ws",
    parameters: &[&[TICKET]],
    bodies: &[],
    answers: &[content(
        "application/json",
        Some(|g| g.subschema_for::<ServerFrame>()),
        "Status 101; then text frames, CloudEvents and these.",
    )],
    needs: Needs::Credential,
    refusals: &[&[
        Code::InvalidRequest,
        Code::ForeignOrigin,
        Code::PositionNotFound,
        Code::SubscriptionNotFound,
        Code::Overloaded,
        Code::TooManyConnections,
        Code::Unavailable,
    ]],
    example: Example {
        target: "/v1/ws",
        body: None,
        answer: r#"{"ack":{"id":"1","source":"/shop","status":"recorded","position":1,"streamversion":1}}"#,
    },
    command: None,
};
