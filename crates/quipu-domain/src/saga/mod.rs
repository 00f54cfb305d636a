//! Sagas: long business transactions that are finished or undone.
//!
//! A [`Saga`] is what its owner writes; [`Plan::compile`] makes of it what can be stepped; [`step`] moves one instance by one
//! [`Input`] and says what is to be done about it. All of it is pure: no clock, no jq, no log. Whoever drives it
//!
//! 1. puts the patterns of [`Plan::listens`] beside those of all plans, and for each event that one takes reads the key where
//!    [`Listen::key`] says. [`Role::Start`] of a key that has no open instance begins one ([`Input::Start`] on a default
//!    [`State`]); all other roles that one event has are fed at once as one [`Input::Event`], to the open or remembered
//!    instance of that key;
//! 2. carries out the [`Effect`]s in their order, and then feeds back, in the same order and before anything else, the
//!    [`Input::Sent`] or [`Input::NotSent`] of each [`Effect::Send`] and the [`Input::Told`] of each [`Effect::Ask`], whose effects
//!    come after those; all of that is one commit together with the state that is left;
//! 3. asks [`State::due`] after each commit, and feeds [`Input::Due`] when that has come;
//! 4. feeds nothing but acts to what is paused, and after [`ActKind::Resume`] the events behind [`Paused::place`] first.
//!
//! Two kinds of mapping are asked for: data and subjects are jq that stands in the [`Message`] or [`Call`] itself, conditions
//! and variables are asked by [`Effect::Ask`]. What jq sees is found by [`State::start`], [`State::last`], [`State::event_of`] and
//! [`State::variables`]: positions, so that an instance weighs the same whatever its events weigh.

mod act;
mod attempt;
mod check;
mod circle;
mod compensate;
mod compile;
mod declaration;
mod effect;
mod expectation;
mod explain;
mod finding;
mod forward;
mod header;
mod input;
mod instance_state;
mod key;
mod mermaid;
mod plan;
#[cfg(test)]
mod property;
mod publishes;
mod retry;
mod rule;
mod settle;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod which;
mod written;

pub use crate::span::Span;
pub use act::{NotPossible, may};
pub use attempt::{Attempt, NotAnAttempt, Purpose};
pub use check::{Catalog, Checked, check};
pub use circle::circles;
pub use declaration::{
    Again, Announce, Compensate, Ending, Http, HttpCall, Matching, Method, Named, Need, NeedName, OnFailure, Publish,
    Repeat, Saga, StepBody, Steps, Undo, When,
};
pub use effect::{Effect, NOTE_BYTES_MAX, Note, Step, What};
pub use expectation::{Expectation, MISSED};
pub use explain::{Waiting, explain};
pub use finding::{Finding, Level};
pub use input::{Act, ActKind, Answer, Input, Told};
pub use instance_state::InstanceState;
pub use key::Key;
pub use plan::{
    Action, CALL_ANSWERED, Call, Child, DEPTH_MAX, JQ_BYTES_MAX, Kind, Listen, Message, NODES_MAX, NodeId, Plan,
    Question, RUNS_MAX, Role, TIMEOUT_MS_DEFAULT, WAIT_MS_MAX,
};
pub use retry::{Backoff, BackoffName, Cause, Growing, Retry};
pub use rule::{HOPS_MAX, Rule};
pub use state::{Due, EARLY_MAX, Failure, Outcome, Parent, Paused, State, Status, VARIABLES_BYTES_MAX, Why};
pub use step::step;
pub use which::Which;
pub use written::{
    Asked, Sending, WRITTEN_SENDS_MAX, WRITTEN_TIMER_NAME_BYTES_MAX, WRITTEN_TIMERS_MAX, Wait, Wanted, Written,
};
