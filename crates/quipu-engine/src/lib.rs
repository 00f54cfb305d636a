//! Rules meet the store: one loop, the folds, the reads and the followers.
//!
//! The engine is synchronous and is handed time, randomness and storage, so that the server drives it with the real
//! ones and the simulator with virtual ones. It knows no sockets. [`Engine`] holds the tenants of a data folder;
//! [`Tenant`] is one log with all that follows from it.

mod append;
mod audit;
mod catalog;
mod decide;
mod drive;
mod engine;
mod fold;
mod follower;
mod keys;
mod mailbox;
mod member;
mod opening;
mod operations;
mod options;
mod payloads;
mod private;
mod projections;
mod query;
mod read;
mod sagas;
mod schedules;
mod schemas;
mod sharded;
mod stages;
mod states;
#[cfg(test)]
mod still;
mod streams;
mod subscriptions;
mod tenant;
mod tenants;
mod threads;
mod timers;
mod trace;
pub mod transform;
mod walk;

pub use append::{Append, Appended, NotAppended, Place, Prepared, Published};
pub use audit::{
    AUDIT_FOLDER, Act, ActOutcome, Actor, AuditEntry, AuditPage, AuditQuery, Ended, Head, Heads, Kept, Verified,
    VerifiedExport, VerifiedLog, backup, export_begin, export_commit, export_end, verify, verify_export,
};
pub use catalog::{
    CatalogAsked, CatalogInfo, CatalogRefusal, CatalogType, CatalogVersion, Consumer, Declaration, Finding,
    ImportOutcome, ImportedPart, ImportedType, ImportedVersion, Publisher,
};
pub use engine::{Engine, is_tenant_name};
/// What memory makes of records and snapshots; for the fuzz targets.
#[doc(hidden)]
pub use fold::{fold_records, read_snapshot};
pub use follower::Follower;
pub use keys::{KEYS_MAX, Key, KeyInfo, KeyRefusal, NewKey, Shown};
pub use operations::{
    Item, ItemOutcome, NewReplay, OPERATION_ITEMS_MAX, OPERATIONS_ITEMS_MAX, OPERATIONS_MAX, OperationInfo,
    OperationRefusal, OperationState, PREVIEW_MS, REFUSED_REASONS_MAX, REPLAY_FAILURES_MAX, REPLAY_TYPES_MAX,
    REPLAY_WINDOW, REPLAYS_MAX, Replay, ReplayFailure, ReplayInfo, ReplayOutcome, ReplayRefusal, ReplayReport,
    ReplayVerdict, SPEED_MAX, SPEED_MIN, Selection, Shadow, TypeCounts, Work,
};
pub use options::{Clock, Options, Random, World};
pub use projections::{
    Baseline, ProjectionInfo, ProjectionRefusal, ReleaseInfo, Released, RowVerdict, Since, TableState, TableVerdict,
    VERDICT_ROWS_MAX, Verdict, VerdictOutcome, WantedRelease, name_of_aggregates,
};
pub use quipu_store::{Fault, TornTail};
pub use read::{Page, Recorded, Stats, StreamInfo};
pub use sagas::{
    Applied, CALL_ANSWERED, CallAnswer, CallRequest, CallState, Calls, CallsGuard, CodeInput,
    Declaration as SagaDeclaration, DeclarationKind, InstanceFilter, InstanceInfo, InstancePage, InstanceState,
    Intervention, PlanInfo, PlanName, SAGA_ENDED_MAX, SAGA_ENDED_MS, SAGA_INSTANCES_MAX, SagaCall, SagaCode,
    SagaRefusal, SentEvent, TimelineEntry, WHAT_IF_BYTES_MAX, WHAT_IF_INSTANCES_MAX, WHAT_IF_LISTED_MAX, WhatIf,
    WhatIfDifference, WhatIfVerdict,
};
pub use schedules::{
    AppliedSchedule, SCHEDULES_MAX, ScheduleInfo, SchedulePage, ScheduleRefusal, ScheduleState, TickError,
};
pub use schemas::{
    CheckedSchema, CheckedUpcaster, Incompatible, NewSchema, NotUpcast, REASON_BYTES_MAX, Registered, SCHEMA_MARK,
    SchemaEntry, SchemaInfo, SchemaReference, SchemaRefusal, SchemaSummary, SchemasInfo, Stored, TypeInfo,
    UpcastFunction, UpcastReason, Upcaster, VERSION_UNSAID, VerifiedSchema,
};
pub use states::{KeptState, STATE_BYTES_MAX, StateOf};
pub use subscriptions::{
    Answer, CHECKPOINT_MS, Counts, DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetterLine, DeadLetterState,
    DefinitionGuard, Explained, Handed, Lag, NotDone, ReplayCounts, SeekPreview, Standstill, SubscriptionInfo,
    SubscriptionRefusal, Transformed, WatchGuard,
};
pub use tenant::{CommitGuard, Tenant};
pub use tenants::{TENANT_SYSTEM, TenantInfo, TenantRefusal, TenantState, TenantUsage};
pub use timers::{DELIVER_AT, FireAt, InvalidTimer, Scheduled, TimerInfo, TimerName, TimerPage};
pub use walk::{CommitFollower, Followed, FollowedCommit, Tampered};
