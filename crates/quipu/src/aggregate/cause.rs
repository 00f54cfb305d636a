//! Why a command was given: what its events say of where they come from.

use quipu_domain::Event;

/// What caused a command. Its events carry it, so that a trace leads from them to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    pub(super) command_id: Option<String>,
    pub(super) correlation_id: Option<String>,
    pub(super) causation_id: Option<String>,
}

impl Cause {
    /// A command with an id: a second one with the same id, for the same aggregate, is answered with what the first one led to.
    /// Its events name it as their cause and, unless it is part of something larger, as their correlation.
    ///
    /// The ids of the events are made from it, `<command id>/1` and so on; with the source, `/NAME`, they have to be unique.
    pub fn command(id: impl Into<String>) -> Self {
        let id = Some(id.into());
        Self { command_id: id.clone(), correlation_id: id.clone(), causation_id: id }
    }

    /// An event: what follows from it names it as the cause, and belongs to the same correlation. Whoever may see an event twice,
    /// as every subscriber may, gives the command an id with it: [`Cause::with_command_id`].
    pub fn event(event: &Event<'_>) -> Self {
        Self {
            command_id: None,
            correlation_id: Some(event.correlation_id().unwrap_or(event.id()).to_owned()),
            causation_id: Some(event.id().to_owned()),
        }
    }

    /// The same, with an id of the command.
    #[must_use]
    pub fn with_command_id(self, id: impl Into<String>) -> Self {
        Self { command_id: Some(id.into()), ..self }
    }

    /// The same, as part of this business transaction.
    #[must_use]
    pub fn with_correlation_id(self, id: impl Into<String>) -> Self {
        Self { correlation_id: Some(id.into()), ..self }
    }
}
