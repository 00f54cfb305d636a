//! How an operation is asked of the real tenant, as a client's thread does it: the answer comes when it comes.

use std::sync::Arc;

use quipu_engine::{Append, NotAppended, Prepared, Tenant};

use crate::checker::{Violation, violated};
use crate::{Answer, Draft, Operation};

/// Encodes events, as a client's thread does.
///
/// # Errors
/// The engine refused an event that keeps to every limit.
pub(crate) fn prepare(tenant: &Arc<Tenant>, drafts: &[Draft]) -> Result<Vec<Prepared>, Violation> {
    drafts
        .iter()
        .map(|draft| tenant.prepare(&draft.event, draft.stream_version))
        .collect::<Result<_, _>>()
        .map_err(|invalid| violated("prepare", invalid.to_string()))
}

/// Asks for an operation whose events are prepared.
pub(crate) fn submit(
    tenant: &Arc<Tenant>,
    operation: &Operation,
    prepared: Vec<Prepared>,
    reply: impl FnOnce(Answer) + Send + 'static,
) {
    match operation {
        Operation::Publish(_) => tenant.publish(prepared, move |outcome| {
            reply(outcome.map_or_else(|fault| Answer::Unknown(fault.to_string()), Answer::Published));
        }),
        Operation::Append(proposal) => {
            let (conditions, checkpoint) = (proposal.conditions.clone(), proposal.checkpoint.clone());
            let append = Append { events: prepared, conditions, checkpoint, ..Append::default() };
            tenant.append(append, move |outcome| {
                reply(match outcome {
                    Ok(appended) => Answer::Appended(appended),
                    Err(NotAppended::Refused(refusal)) => Answer::Refused(refusal),
                    Err(NotAppended::Fault(fault)) => Answer::Unknown(fault.to_string()),
                });
            });
        }
    }
}
