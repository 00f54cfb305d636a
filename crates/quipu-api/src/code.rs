//! The one table of error codes: slug, status, title, whether a repeat can help, and the page that explains it.
//! Whoever refuses something picks a code here; nothing else in the product names a status for an error.

macro_rules! codes {
    ($($name:ident $slug:literal $status:literal $retryable:literal $title:literal;)*) => {
        /// What went wrong, as the public sees it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// All codes, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name, as it stands in `code` and in the URL of the page.
            pub fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)* }
            }

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Whether the same request can succeed later without being changed.
            pub fn is_retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }

            /// A short summary, the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// The page that explains it, markdown.
            pub fn page(self) -> &'static str {
                match self { $(Self::$name => include_str!(concat!("../../../docs/errors/", $slug, ".md")),)* }
            }
        }
    };
}

codes! {
    MalformedHttp "malformed-http" 400 false "The request is no HTTP";
    TlsRequired "tls-required" 400 false "The server speaks TLS only";
    MalformedJson "malformed-json" 400 false "The body is not JSON";
    InvalidEvent "invalid-event" 400 false "The event breaks a rule";
    ReservedName "reserved-name" 400 false "The name is reserved for the server";
    InvalidParameter "invalid-parameter" 400 false "A parameter is not valid";
    InvalidCursor "invalid-cursor" 400 false "The cursor is not valid here";
    InvalidPattern "invalid-pattern" 400 false "The pattern is not valid";
    InvalidRequest "invalid-request" 400 false "The request is not as it must be";
    InvalidSubscription "invalid-subscription" 400 false "The subscription makes no sense";
    InvalidSecret "invalid-secret" 400 false "The secret is not fit to sign with";
    InvalidUrl "invalid-url" 400 false "The URL is not that of an endpoint";
    AddressRefused "address-refused" 400 false "The address may not be called";
    InvalidOperation "invalid-operation" 400 false "The operation makes no sense";
    RepeatedWithin "repeated-within" 400 false "The same event stands twice in one append";
    InvalidKey "invalid-key" 400 false "The key makes no sense";
    InvalidAsyncApi "invalid-asyncapi" 400 false "The document is no AsyncAPI document";
    InvalidDeclaration "invalid-declaration" 400 false "The declaration makes no sense";
    InvalidProjection "invalid-projection" 400 false "The projection makes no sense";
    InvalidQuery "invalid-query" 400 false "The question to the read model makes no sense";
    InvalidSaga "invalid-saga" 400 false "The declaration cannot be applied";
    InvalidSchema "invalid-schema" 400 false "The schema makes no sense";
    InvalidSchedule "invalid-schedule" 400 false "The schedule makes no sense";
    InvalidTimer "invalid-timer" 400 false "The timer makes no sense";
    InvalidTenant "invalid-tenant" 400 false "The tenant makes no sense";
    Unauthenticated "unauthenticated" 401 false "There is no valid credential";
    Forbidden "forbidden" 403 false "The credential does not allow this";
    TenantSuspended "tenant-suspended" 403 false "The tenant is suspended";
    ForeignTenant "foreign-tenant" 403 false "The event names another tenant";
    ForeignOrigin "foreign-origin" 403 false "The request comes from a page of another origin";
    EventNotFound "event-not-found" 404 false "There is no such event";
    PositionNotFound "position-not-found" 404 false "There is no event at this position";
    StreamNotFound "stream-not-found" 404 false "There is no such stream";
    TenantNotFound "tenant-not-found" 404 false "There is no such tenant";
    DeclarationNotFound "declaration-not-found" 404 false "Nothing is declared of the type";
    ProjectionNotFound "projection-not-found" 404 false "There is no such projection";
    BaselineNotFound "baseline-not-found" 404 false "The projection has no such baseline";
    ReleaseNotFound "release-not-found" 404 false "The projection has no such release";
    TableNotFound "table-not-found" 404 false "The read model has no such table";
    SagaNotFound "saga-not-found" 404 false "There is no such saga, rule or expectation";
    InstanceNotFound "instance-not-found" 404 false "There is no such instance";
    SchemaNotFound "schema-not-found" 404 false "There is no such schema";
    KeyNotFound "key-not-found" 404 false "There is no such key";
    SubscriptionNotFound "subscription-not-found" 404 false "There is no such subscription";
    DeadLetterNotFound "dead-letter-not-found" 404 false "There is no such dead letter";
    ScheduleNotFound "schedule-not-found" 404 false "There is no such schedule";
    TimerNotFound "timer-not-found" 404 false "There is no such timer";
    OperationNotFound "operation-not-found" 404 false "There is no such operation";
    RouteNotFound "route-not-found" 404 false "There is nothing at this path";
    MethodNotAllowed "method-not-allowed" 405 false "The path knows other methods";
    NotAcceptable "not-acceptable" 406 false "The answer has no such media type";
    RequestTimeout "request-timeout" 408 true "The request took too long to arrive";
    ConditionFailed "condition-failed" 409 false "A condition of the append did not hold";
    WrongVersion "wrong-version" 409 false "The stream is at another version";
    IdConflict "id-conflict" 409 false "The source and id are taken";
    PartlyRepeated "partly-repeated" 409 false "Only a part of the append is recorded";
    CheckpointBehind "checkpoint-behind" 409 false "The checkpoint does not advance";
    TooManyCheckpoints "too-many-checkpoints" 409 false "There are checkpoints of too many sources";
    TimerExists "timer-exists" 409 false "A timer has this key";
    TooManySchedules "too-many-schedules" 409 false "There are too many schedules";
    TooManyTimers "too-many-timers" 409 false "There are too many timers";
    SubscriptionExists "subscription-exists" 409 false "The name belongs to another subscription";
    TooManySubscriptions "too-many-subscriptions" 409 false "There are too many subscriptions";
    DeliveryNotInFlight "delivery-not-in-flight" 409 false "The delivery is not in flight under this token";
    AnswerOutOfOrder "answer-out-of-order" 409 false "An earlier event of the key is not answered yet";
    DeadLetterDecided "dead-letter-decided" 409 false "The dead letter was decided about before";
    OperationState "operation-state" 409 false "The operation is not in the state for this";
    TooManyOperations "too-many-operations" 409 false "There are too many operations";
    SchemaExists "schema-exists" 409 false "The version belongs to another schema";
    IncompatibleSchema "incompatible-schema" 409 false "The schema breaks readers or writers";
    UpcasterFails "upcaster-fails" 409 false "The upcaster does not turn all that there is";
    NotUpcast "not-upcast" 409 false "The event cannot be read in that version";
    SchemaInUse "schema-in-use" 409 false "Something uses the schema";
    TooManyDeclarations "too-many-declarations" 409 false "There are too many declarations";
    TooManyProjections "too-many-projections" 409 false "There are too many projections";
    BaselineExists "baseline-exists" 409 false "The name belongs to another baseline";
    ReadModelBehind "read-model-behind" 409 true "The read model is not as far as was asked for";
    SagaInUse "saga-in-use" 409 false "The saga has open instances";
    SagaState "saga-state" 409 false "The instance is not in the state for this";
    TooManySagas "too-many-sagas" 409 false "There are too many sagas, rules and expectations";
    TooManySchemas "too-many-schemas" 409 false "There are too many schemas";
    TooManyKeys "too-many-keys" 409 false "There are too many keys";
    TenantExists "tenant-exists" 409 false "The name belongs to another tenant";
    TenantState "tenant-state" 409 false "The tenant is not in the state for this";
    TooManyTenants "too-many-tenants" 409 false "There are too many tenants";
    EventTooLarge "event-too-large" 413 false "The event is too large";
    BodyTooLarge "body-too-large" 413 false "The body is too large";
    UriTooLong "uri-too-long" 414 false "The path and query are too long";
    UnsupportedMediaType "unsupported-media-type" 415 false "The body has an unknown media type";
    ForeignHost "foreign-host" 421 false "The host is not this machine";
    TooManyAttempts "too-many-attempts" 429 true "Too many credentials were not valid";
    TooManyTickets "too-many-tickets" 429 true "Too many tickets were asked for";
    QuotaExceeded "quota-exceeded" 429 true "The tenant uses more than it may";
    SchemaViolated "schema-violated" 422 false "The data breaks its schema";
    QueryTooLong "query-too-long" 422 false "The question to the read model takes too long";
    NoSchema "no-schema" 422 false "The type has no schema";
    HeadTooLarge "head-too-large" 431 false "The head of the request is too large";
    Internal "internal" 500 false "The server failed";
    Damaged "damaged" 500 false "Recorded data is damaged";
    ProviderUnreachable "provider-unreachable" 503 true "The identity provider cannot be reached";
    ReadModelFailed "read-model-failed" 503 true "The database of the read model fails";
    Overloaded "overloaded" 503 true "Too much is waiting";
    TooManyConnections "too-many-connections" 503 true "Too many connections";
    Unavailable "unavailable" 503 true "Appends are not possible now";
    DiskFull "disk-full" 507 true "The disk is full";
    StorageQuotaExceeded "storage-quota-exceeded" 507 true "The tenant has used up its storage";
}

impl Code {
    /// The code of that slug.
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.slug() == slug)
    }

    /// The `type` of the problem document: where the page is, relative to the server.
    pub fn type_path(self) -> String {
        format!("/errors/{}", self.slug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_unique_and_lead_back_to_their_code() {
        for code in Code::ALL {
            assert_eq!(Code::from_slug(code.slug()), Some(*code));
        }
    }

    #[test]
    fn every_page_names_its_code_shows_a_problem_and_says_what_to_do() {
        for code in Code::ALL {
            let page = code.page();
            assert!(page.starts_with(&format!("# {}\n", code.slug())), "{}", code.slug());
            assert!(page.contains("## What to do"), "{}", code.slug());
            let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
            let problem: crate::Problem = serde_json::from_str(example).unwrap();
            assert_eq!(problem.code, code.slug());
            assert_eq!(problem.status, code.status(), "{}", code.slug());
            assert_eq!(problem.title, code.title(), "{}", code.slug());
            assert_eq!(problem.retryable, code.is_retryable(), "{}", code.slug());
            assert_eq!(*problem.kind, *code.type_path());
        }
    }

    #[test]
    fn every_page_belongs_to_a_code() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let slug = name.strip_suffix(".md").expect("only pages are here");
            assert!(slug == "README" || Code::from_slug(slug).is_some(), "{name}");
        }
    }
}
