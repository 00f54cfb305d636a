//! Webhooks: one event sent to one endpoint, once; and the calls of sagas, which go out the same way. Whether, when and how often is
//! decided by whoever calls [`Webhooks::send`]; here is what goes over the wire, to which addresses, and what the answer means.
//!
//! Sources: Standard Webhooks 1.0.0 (signature, headers, statuses) and CloudEvents HTTP protocol binding 1.0.2.

mod address;
mod answer;
mod block;
mod connector;
mod endpoint;
mod invoke;
mod message;
mod resolver;
mod send;
mod signature;
pub(crate) mod trust;

pub use address::{Addresses, RefusedAddress};
pub use answer::Answer;
/// Reads `Retry-After`; for the fuzz targets.
#[doc(hidden)]
pub use answer::retry_after;
pub use block::{Block, InvalidBlock};
pub use endpoint::{Endpoint, InvalidUrl};
pub(crate) use invoke::{Invocation, Invoked};
pub use message::Transformed;
pub use resolver::Resolver;
pub use send::{Call, Options, RefusedEndpoint, Webhooks};
pub use signature::{InvalidSecret, Secret, sign};
pub use trust::InvalidAuthorities;

/// Identity providers are called by the same means, but by no rule about whose addresses may be.
pub(crate) use connector::{Checked, Connector};
pub(crate) use send::in_words;
pub(crate) use trust::configuration as trusted;
