//! A command from the state that it is decided on to the events that it leads to.

use quipu_domain::{Direction, Event, Query, Refusal};
use quipu_engine::{Place, Random};

use super::load::{Known, Scope};
use super::shape::variants;
use super::{Aggregate, Aggregates, Handled, NotHandled, read, write};
use crate::{Append, Error, SystemRandom};

/// What came of a decision: the events of the user, and the same as they are to be recorded.
struct Decided<E> {
    events: Vec<E>,
    written: Vec<Event<'static>>,
}

impl<A: Aggregate> Aggregates<A> {
    /// Decides a command on the state of one aggregate, and appends what it leads to if nothing has happened to it since. If
    /// something has, decides again on what is there then.
    ///
    /// # Errors
    /// [`NotHandled::Refused`] by the aggregate, [`NotHandled::Conflict`] if others were faster each time.
    pub fn execute(&self, id: &str, command: &A::Command) -> Result<Handled<A::Event>, NotHandled<A::Refusal>> {
        self.handle(&Scope::Stream(self.stream(id)), command)
    }

    /// Decides a command on all events that match a query, across streams, and appends what it leads to if no further event
    /// matches. [`Aggregates::tagged`] makes a query of tags. All that matches is read: there is no snapshot of it.
    ///
    /// ```
    /// # use quipu::{Aggregate, Quipu};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Default, Serialize, Deserialize)]
    /// struct Course {
    ///     taken: u32,
    /// }
    /// #[derive(Debug, Serialize, Deserialize)]
    /// enum Happened {
    ///     #[serde(rename = "seat.taken")]
    ///     Taken { course: String, student: String },
    /// }
    /// impl Aggregate for Course {
    ///     const NAME: &'static str = "course";
    ///     type Command = (&'static str, &'static str);
    ///     type Event = Happened;
    ///     type Refusal = &'static str;
    ///     fn decide(&self, (course, student): &Self::Command) -> Result<Vec<Happened>, &'static str> {
    ///         if self.taken == 2 {
    ///             return Err("full");
    ///         }
    ///         Ok(vec![Happened::Taken { course: (*course).into(), student: (*student).into() }])
    ///     }
    ///     fn evolve(&mut self, Happened::Taken { .. }: Happened) {
    ///         self.taken += 1;
    ///     }
    ///     fn tags(Happened::Taken { course, student }: &Happened) -> Vec<String> {
    ///         vec![format!("course:{course}"), format!("student:{student}")]
    ///     }
    /// }
    ///
    /// let courses = Quipu::in_memory()?.aggregates::<Course>();
    /// let databases = courses.tagged(["course:db"]);
    /// courses.execute_where(&databases, &("db", "ada"))?;
    /// courses.execute_where(&databases, &("db", "bob"))?;
    /// assert_eq!(courses.execute_where(&databases, &("db", "eve")).unwrap_err().refusal(), Some(&"full"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Aggregates::execute`], and [`NotHandled::InvalidQuery`]: one that says nothing would match nothing, and let everything
    /// through.
    pub fn execute_where(
        &self,
        query: &Query,
        command: &A::Command,
    ) -> Result<Handled<A::Event>, NotHandled<A::Refusal>> {
        if query.items.is_empty() {
            return Err(NotHandled::InvalidQuery("expected at least one item, found none".into()));
        }
        query.check().map_err(NotHandled::InvalidQuery)?;
        self.handle(&Scope::Query(query.clone()), command)
    }

    fn handle(&self, scope: &Scope, command: &A::Command) -> Result<Handled<A::Event>, NotHandled<A::Refusal>> {
        if let Some(first) = self.first_outcome(scope)? {
            return Ok(first);
        }
        let mut known = self.know(scope)?;
        let mut tries = 0;
        loop {
            tries += 1;
            let decided = match self.decide(scope, &known, command) {
                Ok(decided) if !decided.events.is_empty() => decided,
                // The same command may have been handled while this one was loading: what it led to is in the state then.
                nothing => {
                    let nothing =
                        nothing.map(|_| Handled { events: Vec::new(), places: Vec::new(), is_duplicate: false });
                    return self.first_outcome(scope)?.map_or(nothing, Ok);
                }
            };
            let append = Append::of(decided.written.iter().cloned());
            let append = match scope {
                Scope::Stream(stream) => append.expect_version(stream.clone(), known.version),
                Scope::Query(query) => append.expect_none_after(known.position, query.clone()),
            };
            match self.quipu.append(append) {
                Ok(appended) => {
                    if !appended.is_duplicate {
                        self.remember(scope, known, &decided.written, &appended.events)?;
                    }
                    let (places, is_duplicate) = (appended.events, appended.is_duplicate);
                    return Ok(Handled { events: decided.events, places, is_duplicate });
                }
                Err(Error::Refused(Refusal::ConditionsFailed(failures))) if tries >= self.tries_max => {
                    return Err(NotHandled::Conflict { tries, failures });
                }
                Err(Error::Refused(Refusal::ConditionsFailed(_))) => self.catch_up(scope, &mut known)?,
                // The same command, handled by somebody else meanwhile, on another state.
                Err(Error::Refused(refusal @ (Refusal::IdConflict { .. } | Refusal::PartlyRepeated { .. }))) => {
                    return self.first_outcome(scope)?.ok_or(NotHandled::Failed(Error::Refused(refusal)));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn decide(
        &self,
        scope: &Scope,
        known: &Known<A>,
        command: &A::Command,
    ) -> Result<Decided<A::Event>, NotHandled<A::Refusal>> {
        let events = known.state.decide(command).map_err(NotHandled::Refused)?;
        let written = events.iter().enumerate().map(|(index, event)| self.written(scope, index, event));
        Ok(Decided { written: written.collect::<Result<_, _>>()?, events })
    }

    /// An event of the aggregate as it is to be recorded.
    fn written(&self, scope: &Scope, index: usize, event: &A::Event) -> Result<Event<'static>, NotHandled<A::Refusal>> {
        let (kind, data) = write(event).map_err(|reason| NotHandled::Unwritable { index, reason })?;
        let id = match &self.cause.command_id {
            Some(command_id) => derived_id(command_id, index),
            None => random_id(),
        };
        let stream = match scope {
            Scope::Stream(stream) => Some(stream.clone()),
            Scope::Query(_) => A::stream(event),
        };
        let mut builder = Event::builder(id, self.source(), kind);
        if let Some(stream) = stream {
            builder = builder.subject(stream);
        }
        if let Some(data) = data {
            builder = builder.json(data);
        }
        if let Some(id) = &self.cause.correlation_id {
            builder = builder.correlation_id(id.clone());
        }
        if let Some(id) = &self.cause.causation_id {
            builder = builder.causation_id(id.clone());
        }
        let event = A::tags(event).into_iter().fold(builder, |builder, tag| builder.tag(tag)).build();
        let event = event.map_err(|reason| NotHandled::Failed(Error::Invalid { index, reason }))?;
        // JSON has no NaN, and a field may be left out when it is written: what nobody can read back stops the aggregate for ever.
        let read_back = read::<A::Event>(&event, variants::<A::Event>()).map(drop);
        read_back
            .map_err(|reason| NotHandled::Unwritable { index, reason: format!("it cannot be read back: {reason}") })?;
        Ok(event)
    }

    /// Keeps a snapshot of what the aggregate is now, if it is time for one.
    fn remember(
        &self,
        scope: &Scope,
        mut known: Known<A>,
        written: &[Event<'static>],
        places: &[Place],
    ) -> Result<(), NotHandled<A::Refusal>> {
        let Some(last) = places.last().filter(|_| matches!(scope, Scope::Stream(_))) else { return Ok(()) };
        let version = last.stream_version.unwrap_or_default();
        if !known.is_due(version) {
            return Ok(());
        }
        for event in written {
            // As it will be read, which is how every other state is made: JSON may not give back the same number.
            let Ok(event) = read(event, variants::<A::Event>()) else { return Ok(()) };
            known.state.evolve(event);
        }
        (known.version, known.position) = (version, last.position);
        self.keep(scope, &mut known);
        Ok(())
    }

    /// What the command of this cause has led to, if it was handled before.
    fn first_outcome(&self, scope: &Scope) -> Result<Option<Handled<A::Event>>, NotHandled<A::Refusal>> {
        let Some(command_id) = &self.cause.command_id else { return Ok(None) };
        let source = self.source();
        let Some(first) = self.quipu.event_by_id(&source, &derived_id(command_id, 0))? else { return Ok(None) };
        let position = first.stamp.position;
        if let Scope::Stream(stream) = scope
            && first.event().subject() != Some(stream)
        {
            return Err(NotHandled::Failed(Error::Refused(Refusal::IdConflict { index: 0, position })));
        }
        let (mut events, mut places) = (Vec::new(), Vec::new());
        let mut next = Some(position);
        // One commit has them side by side.
        'all: while let Some(from) = next {
            let page = self.quipu.read(&Default::default(), Direction::Forward, Some(from), 16)?;
            for recorded in page.events {
                let is_next = recorded.event().source() == source
                    && recorded.event().id() == derived_id(command_id, events.len());
                if !is_next {
                    break 'all;
                }
                let (position, stream_version) = (recorded.stamp.position, recorded.stamp.stream_version);
                places.push(Place { position, stream_version });
                events.push(self.as_event(&recorded)?);
            }
            next = page.next;
        }
        Ok(Some(Handled { events, places, is_duplicate: true }))
    }

    fn source(&self) -> String {
        format!("/{}", A::NAME)
    }
}

/// The id of an event of a command that has one.
fn derived_id(command_id: &str, index: usize) -> String {
    format!("{command_id}/{}", index + 1)
}

/// 128 random bits: nobody meets the same twice.
fn random_id() -> String {
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}
