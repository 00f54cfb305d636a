//! The catalogue: everything that a user can do, one entry an operation. Routes, the OpenAPI document, the reference
//! page and the names of commands are made from it, so they cannot drift apart.

mod audit;
mod catalog;
mod deadletter;
mod delivery;
mod follow;
mod key;
mod operation;
mod pattern;
mod projection;
mod publish;
mod read;
mod replay;
mod saga;
mod schedule;
mod schema;
mod secret;
mod state;
mod subscription;
mod tenant;
mod timer;
mod verification;

use quipu_domain::Permission;
use schemars::{Schema, SchemaGenerator};

use crate::Code;
use crate::parameter::Parameter;

/// Everything that a user can do.
pub const OPERATIONS: &[Operation] = &[
    publish::PUBLISH,
    publish::APPEND,
    timer::SET,
    timer::LIST,
    timer::GET,
    timer::CANCEL,
    timer::CANCEL_KEY,
    read::LIST,
    read::GET,
    read::TRACE,
    read::POSITION_GET,
    read::POSITION_TRACE,
    read::STREAM_LIST,
    read::STREAM_READ,
    follow::TAIL,
    follow::CONNECT,
    pattern::TEST,
    subscription::CREATE,
    subscription::LIST,
    subscription::GET,
    subscription::CHANGE,
    subscription::DELETE,
    subscription::PAUSE,
    subscription::RESUME,
    subscription::SEEK,
    subscription::EXPLAIN,
    delivery::PULL,
    delivery::ANSWER,
    deadletter::LIST,
    deadletter::GROUPS,
    deadletter::GET,
    deadletter::REDRIVE,
    deadletter::DISCARD,
    operation::PREVIEW,
    operation::CONFIRM,
    operation::CANCEL,
    operation::LIST,
    operation::GET,
    operation::ITEMS,
    replay::PREVIEW,
    saga::PREVIEW,
    saga::WHAT_IF,
    schema::REGISTER,
    schema::CHECK,
    schema::LIST,
    schema::GET,
    schema::VERSION_GET,
    schema::DIFF,
    schema::DEPRECATE,
    schema::REMOVE,
    schema::RULES,
    schema::DEFAULTS,
    schema::DEFAULT_RULES,
    schema::INFER,
    schema::UPCAST,
    schema::VERIFY,
    catalog::GET,
    catalog::DECLARE,
    catalog::WITHDRAW,
    catalog::ASYNCAPI,
    catalog::IMPORT,
    catalog::MERMAID,
    projection::LIST,
    projection::APPLY,
    projection::GET,
    projection::REMOVE,
    projection::ROWS,
    projection::SQL,
    projection::SKIP,
    projection::RESUME,
    projection::COMPARE,
    projection::DIGEST,
    projection::SWITCH,
    projection::REVERT,
    projection::DROP,
    saga::LIST,
    saga::APPLY,
    saga::GET,
    saga::REMOVE,
    saga::DIAGRAM,
    saga::RULE_LIST,
    saga::RULE_APPLY,
    saga::RULE_GET,
    saga::RULE_REMOVE,
    saga::EXPECTATION_LIST,
    saga::EXPECTATION_APPLY,
    saga::EXPECTATION_GET,
    saga::EXPECTATION_REMOVE,
    saga::INSTANCES,
    saga::INSTANCE,
    saga::TIMELINE,
    saga::CANCEL,
    saga::PAUSE,
    saga::RESUME,
    saga::RETRY,
    saga::SKIP,
    saga::RESOLVE,
    schedule::LIST,
    schedule::APPLY,
    schedule::GET,
    schedule::REMOVE,
    schedule::PAUSE,
    schedule::RESUME,
    verification::VERIFY,
    verification::VERDICTS,
    verification::CREATE,
    verification::LIST,
    verification::REMOVE,
    secret::LIST,
    secret::ROTATE,
    secret::SAGA_LIST,
    secret::SAGA_ROTATE,
    secret::ENDPOINT,
    key::CREATE,
    key::LIST,
    key::GET,
    key::ROTATE,
    key::REVOKE,
    key::ACCESS,
    audit::LIST,
    audit::REPORT,
    audit::EXPORT,
    key::TICKET,
    tenant::CREATE,
    tenant::LIST,
    tenant::GET,
    tenant::SUSPEND,
    tenant::RESUME,
    tenant::QUOTAS,
    tenant::EXPORT,
    tenant::DELETE,
    state::CHECKPOINT,
    state::STATS,
    state::LIVE,
    state::READY,
    state::OPENAPI,
    state::EXPLAIN,
    state::INDEX,
];

/// The operation of that name.
pub fn operation(name: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.name == name)
}

/// One thing that a user can do.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Noun and verb, `event.publish`.
    pub name: &'static str,
    /// A few words.
    pub summary: &'static str,
    /// One paragraph.
    pub description: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// The path; `{name}` is a parameter.
    pub path: &'static str,
    /// What is given in path and query, in groups.
    pub parameters: &'static [&'static [Parameter]],
    /// What the body may be; nothing for no body.
    pub bodies: &'static [Content],
    /// What the answer may be.
    pub answers: &'static [Content],
    /// Who may do it.
    pub needs: Needs,
    /// Why it may not be done, in groups.
    pub refusals: &'static [&'static [Code]],
    /// One example.
    pub example: Example,
    /// The command that does it.
    pub command: Option<&'static str>,
}

/// The HTTP method of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads; changes nothing.
    Get,
    /// Writes.
    Post,
    /// Puts something in the place of what was there.
    Put,
    /// Deletes.
    Delete,
}

/// What a client needs for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: health and documents.
    Nothing,
    /// To be known, whatever it may do: what it asks for is decided by itself.
    Credential,
    /// This permission: for the subscription in the path, or else whole.
    Permission(Permission),
    /// One of these permissions, whole: which of them, what it is about decides.
    Either(Permission, Permission),
    /// This permission, however narrow: what it is narrowed to decides about each event and each subscription.
    Part(Permission),
}

/// A body or an answer in one media type.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    /// The media type.
    pub media_type: &'static str,
    /// What it is.
    pub description: &'static str,
    /// Its JSON Schema; nothing for what is no JSON.
    pub schema: Option<fn(&mut SchemaGenerator) -> Schema>,
}

/// An example: what is sent and what comes back.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// The path and query.
    pub target: &'static str,
    /// The media type and text of the body, if there is one.
    pub body: Option<(&'static str, &'static str)>,
    /// The answer.
    pub answer: &'static str,
}

impl Operation {
    /// All parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        self.parameters.iter().copied().flatten()
    }

    /// Whether each time that it is done is written down in the audit trail: whatever administers, and reading the trail.
    pub fn is_audited(&self) -> bool {
        // Of two permissions both are of the same kind.
        let (Needs::Permission(permission) | Needs::Either(permission, _) | Needs::Part(permission)) = self.needs
        else {
            return false;
        };
        match permission {
            Permission::Audit | Permission::Operate => true,
            Permission::Manage
            | Permission::Redrive
            | Permission::Edit
            | Permission::Replay
            | Permission::Schema
            | Permission::Project
            | Permission::Orchestrate
            | Permission::Intervene
            | Permission::Administer => self.method != Method::Get,
            Permission::Publish | Permission::Read | Permission::Consume | Permission::Observe | Permission::Query => {
                false
            }
        }
    }

    /// Whether a ticket will do in place of a credential: where a browser cannot send a header.
    pub fn takes_ticket(&self) -> bool {
        self.method == Method::Get && self.parameters().any(|parameter| parameter.name == follow::TICKET.name)
    }

    /// All refusals, those of whoever may not do it first.
    pub fn refusals(&self) -> impl Iterator<Item = Code> {
        let access = if self.needs == Needs::Nothing { &[] } else { ACCESS };
        access.iter().chain(self.refusals.iter().copied().flatten()).copied()
    }
}

impl Method {
    /// As HTTP writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

impl std::fmt::Display for Needs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("none"),
            Self::Credential => f.write_str("any"),
            Self::Permission(permission) | Self::Part(permission) => f.write_str(permission.as_str()),
            Self::Either(one, other) => write!(f, "{one} or {other}"),
        }
    }
}

const fn content(
    media_type: &'static str,
    schema: Option<fn(&mut SchemaGenerator) -> Schema>,
    description: &'static str,
) -> Content {
    Content { media_type, description, schema }
}

/// What can refuse any operation that needs a credential.
const ACCESS: &[Code] = &[
    Code::Unauthenticated,
    Code::Forbidden,
    Code::TooManyAttempts,
    Code::ProviderUnreachable,
    Code::TenantSuspended,
    Code::QuotaExceeded,
];
/// What can refuse any operation that reads the log.
const READING: &[Code] = &[Code::Damaged, Code::Internal];
/// What can refuse any operation that appends to the log.
const APPENDING: &[Code] = &[Code::Overloaded, Code::Unavailable, Code::DiskFull, Code::Internal];
/// What can be wrong with an event.
const EVENT: &[Code] = &[
    Code::MalformedJson,
    Code::InvalidEvent,
    Code::ReservedName,
    Code::EventTooLarge,
    Code::IdConflict,
    Code::WrongVersion,
    Code::SchemaViolated,
    Code::NoSchema,
    Code::ForeignTenant,
    Code::StorageQuotaExceeded,
];
/// What can be wrong with a body.
const BODY: &[Code] = &[Code::BodyTooLarge, Code::UnsupportedMediaType, Code::RequestTimeout];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::parameter::Place;

    #[test]
    fn names_and_routes_are_unique() {
        let names: HashSet<_> = OPERATIONS.iter().map(|o| o.name).collect();
        let routes: HashSet<_> = OPERATIONS.iter().map(|o| (o.method.as_str(), o.path)).collect();
        assert_eq!((names.len(), routes.len()), (OPERATIONS.len(), OPERATIONS.len()));
    }

    #[test]
    fn every_operation_says_what_it_is() {
        for operation in OPERATIONS {
            let name = operation.name;
            assert!(name.split('.').count() == 2, "{name}");
            assert!(!operation.summary.is_empty() && operation.description.ends_with('.'), "{name}");
            assert!(!operation.answers.is_empty() && !operation.example.answer.is_empty(), "{name}");
            let is_open = ["health", "api", "error"].contains(&name.split('.').next().unwrap());
            assert_eq!(operation.needs == Needs::Nothing, is_open, "{name} needs {:?}", operation.needs);
            match operation.method {
                Method::Get | Method::Delete => assert!(operation.bodies.is_empty(), "{name}"),
                Method::Put => assert!(!operation.bodies.is_empty(), "{name}"),
                Method::Post => {}
            }
            assert_eq!(operation.example.body.is_some(), !operation.bodies.is_empty(), "{name}");
        }
    }

    #[test]
    fn every_example_is_of_its_route() {
        for Operation { name, path, example, .. } in OPERATIONS {
            let head = path.split('{').next().unwrap();
            assert!(example.target.starts_with(head), "{name}");
            if let Some((_, body)) = example.body {
                serde_json::from_str::<serde_json::Value>(body).expect(name);
            }
        }
    }

    #[test]
    fn path_parameters_stand_in_the_path() {
        for operation in OPERATIONS {
            let declared: Vec<_> = operation.parameters().filter(|p| p.place == Place::Path).collect();
            assert_eq!(declared.len(), operation.path.matches('{').count(), "{}", operation.name);
            for parameter in declared {
                assert!(operation.path.contains(&format!("{{{}}}", parameter.name)), "{}", operation.name);
            }
        }
    }

    #[test]
    fn refusals_are_named_once() {
        for operation in OPERATIONS {
            let codes: Vec<_> = operation.refusals().collect();
            assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len(), "{}", operation.name);
            assert!(codes.iter().all(|code| Code::ALL.contains(code)), "{}", operation.name);
        }
    }

    #[test]
    fn every_code_belongs_to_an_operation_or_to_every_connection() {
        let anywhere = [
            Code::MalformedHttp,
            Code::TlsRequired,
            Code::ForeignOrigin,
            Code::ForeignHost,
            Code::RouteNotFound,
            Code::MethodNotAllowed,
            Code::UriTooLong,
            Code::HeadTooLarge,
            Code::TooManyConnections,
        ];
        for code in Code::ALL {
            let named = OPERATIONS.iter().any(|operation| operation.refusals().any(|c| c == *code));
            assert!(named || anywhere.contains(code), "{}", code.slug());
        }
    }
}
