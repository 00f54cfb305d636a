//! The server as its clients see it: a real engine on a real folder, real sockets, and time that is handed in.

// Clippy exempts test functions only; what they share is test code too.
#![allow(clippy::unwrap_used)]

mod access;
mod auditing;
mod authority;
mod bad_input;
mod calls;
mod catalog;
mod circuits;
mod client;
mod commands;
mod connections;
mod consumers;
mod consuming;
mod deadletters;
mod disk;
mod explaining;
mod gone;
mod heads;
mod health;
mod host;
mod identity;
mod memory;
mod operations;
mod origins;
mod others;
mod payloads;
mod platform;
mod pushing;
mod receiver;
mod registry;
mod replays;
mod sagas;
mod schedules;
mod secret_bodies;
mod secrets;
mod security_headers;
mod shutdown;
mod tail;
mod tenants;
mod threads;
mod timers;
mod tls;
mod transcripts;
mod transforming;
mod upcasting;
mod webhook_examples;
mod webhook_tls;
mod webhooks;
mod websocket;
