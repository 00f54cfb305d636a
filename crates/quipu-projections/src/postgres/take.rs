//! Takes commits in: all that they change, the place in the log and its hash in one transaction. Statements are sent one behind the other
//! without waiting for each answer; the first one that fails is the one to blame, since none behind it is carried out.

use std::collections::{BTreeMap, VecDeque};
use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use quipu_domain::projection::{Parameter, Projection, Subject};
use quipu_engine::{FollowedCommit, Recorded, Tenant};
use tokio_postgres::{Client, Error, Statement};

use super::link::{ANSWER_MAX, Link, Trouble, within};
use super::parameter::Param;
use super::watch::Watch;
use super::{Model, Schema};
use crate::status::FailedEvent;
use crate::step::{Reacting, Unreadable};
use crate::store::NotTaken;
use crate::table::{OWN_TABLE, quoted};

/// How long a batch may take.
const TAKE_MAX: Duration = Duration::from_secs(60);
/// Statements that are on their way at once: enough that neither side waits for the other.
const WINDOW: usize = 256;

/// What is done for events, as the database has prepared it.
pub(super) struct Statements {
    reacting: Reacting,
    /// By reaction.
    prepared: Vec<Vec<Prepared>>,
    /// Puts the new place there if the old one is there still.
    advance: Statement,
}

struct Prepared {
    statement: Statement,
    parameters: Vec<Parameter>,
    /// As its author wrote it.
    text: String,
}

/// An event that cannot be taken in: the statement, if it is to blame, and why.
struct BadEvent {
    statement: Option<String>,
    error: String,
}

/// Why it ends.
enum Stop {
    Event { commit: usize, event: Box<FailedEvent> },
    Store(Trouble),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Store(trouble)
    }
}

impl From<Unreadable> for BadEvent {
    fn from(unreadable: Unreadable) -> Self {
        Self { statement: None, error: unreadable.0 }
    }
}

impl Statements {
    pub fn prepare(link: &Link, schema: &Schema, declaration: &Projection) -> Result<Self, Trouble> {
        let reacting = Reacting::of(declaration).map_err(|invalid| Trouble::Lost(invalid.to_string()))?;
        let prepare = |statement: &quipu_domain::projection::Statement| {
            let (sql, parameters) = statement.place_by_place();
            let parameters = parameters.into_iter().cloned().collect();
            let prepared = link.ask(link.client.prepare(&sql))?;
            Ok(Prepared { statement: prepared, parameters, text: statement.text().to_owned() })
        };
        let of = |reaction: &quipu_domain::projection::Reaction| reaction.statements().iter().map(prepare).collect();
        let prepared = declaration.on.0.iter().map(|(_, reaction)| of(reaction)).collect::<Result<_, Trouble>>()?;
        let sql = format!("update {}.{OWN_TABLE} set head = $1, position = $2 where head = $3", quoted(&schema.name));
        let advance = link.ask(link.client.prepare(&sql))?;
        Ok(Self { reacting, prepared, advance })
    }
}

impl Prepared {
    fn bind(&self, subject: &Subject<'_>) -> Result<Vec<Param>, BadEvent> {
        let bind = |(parameter, kind): (&Parameter, _)| {
            let bad = |error| BadEvent { statement: Some(self.text.clone()), error };
            Param::of(parameter.of(subject), kind).map_err(bad)
        };
        self.parameters.iter().zip(self.statement.params()).map(bind).collect()
    }
}

impl Model {
    /// Takes commits in, all or nothing.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn take(
        &mut self,
        tenant: &Tenant,
        commits: &[FollowedCommit],
        skipped: &BTreeMap<u64, String>,
    ) -> Result<(), NotTaken> {
        let Some(last) = commits.last() else { return Ok(()) };
        let events = commits.iter().rev().find_map(|commit| commit.events.last());
        let (head, position) = (last.head, events.map_or(self.position, |event| event.stamp.position));
        let places = [Some(head.to_string()), Some(position.to_string()), Some(self.head.to_string())].map(Param);
        let Self { link, statements, watch, .. } = self;
        let taking = Taking { tenant, commits, skipped, places };
        let taken = link.run(async {
            let taking = take_in(&link.client, link, statements, watch.as_mut(), taking);
            let late = || Trouble::Lost(format!("a batch is not taken in within {} s", TAKE_MAX.as_secs()));
            // Each answer may come in time, and all of them never.
            tokio::time::timeout(TAKE_MAX, taking).await.unwrap_or_else(|_| Err(late().into()))
        });
        match taken {
            Ok(()) => link.ask(link.client.batch_execute("commit")).map_err(|trouble| self.schema.broken(trouble))?,
            Err(Stop::Store(trouble)) => return Err(self.schema.broken(trouble).into()),
            Err(Stop::Event { commit, event }) => {
                link.ask(link.client.batch_execute("rollback")).map_err(|trouble| self.schema.broken(trouble))?;
                return Err(NotTaken::Event { commit, event });
            }
        }
        (self.head, self.position) = (head, position);
        self.measure().map_err(|trouble| self.schema.broken(trouble).into())
    }
}

/// What is taken in.
struct Taking<'a> {
    tenant: &'a Tenant,
    commits: &'a [FollowedCommit],
    skipped: &'a BTreeMap<u64, String>,
    /// The new head and position, and the old head.
    places: [Param; 3],
}

async fn take_in(
    client: &Client,
    link: &Link,
    Statements { reacting, prepared, advance }: &mut Statements,
    mut watch: Option<&mut Watch>,
    Taking { tenant, commits, skipped, places }: Taking<'_>,
) -> Result<(), Stop> {
    let mut line = Line { link, waiting: VecDeque::with_capacity(WINDOW) };
    line.put(async { client.batch_execute("begin").await.map(|()| 1) }, For::Us).await?;
    // Waited for: behind one that failed, each statement would be a transaction of its own.
    line.settle_all().await?;
    // First of all: it has the row until the end, so that of two servers one waits, and finds out.
    line.put(client.execute_raw(&*advance, places), For::Place).await?;
    for (commit, followed) in commits.iter().enumerate() {
        for recorded in followed.events.iter().filter(|recorded| !skipped.contains_key(&recorded.stamp.position)) {
            let mut bound = Vec::new();
            let taken = reacting.take(tenant, recorded, |chosen, subject| {
                for prepared in chosen.iter().flat_map(|reaction| &prepared[*reaction]) {
                    bound.push((prepared, prepared.bind(subject)?));
                }
                Ok::<_, BadEvent>(())
            });
            for (Prepared { statement, text, .. }, params) in bound {
                line.put(client.execute_raw(statement, params), For::Event { commit, recorded, text }).await?;
            }
            match taken {
                Ok(has_changed) => {
                    if let Some(watch) = watch.as_deref_mut().filter(|_| has_changed) {
                        line.settle_all().await?;
                        watch.look(client, recorded.stamp.position, recorded.event().kind()).await?;
                    }
                }
                Err(BadEvent { statement, error }) => {
                    // An earlier one that fails is to blame.
                    line.settle_all().await?;
                    return Err(stop(commit, recorded, statement, error));
                }
            }
        }
    }
    line.settle_all().await
}

fn stop(commit: usize, recorded: &Recorded, statement: Option<String>, error: String) -> Stop {
    let event = recorded.event();
    let (source, id, kind) = (event.source().to_owned(), event.id().to_owned(), event.kind().to_owned());
    let position = recorded.stamp.position;
    Stop::Event { commit, event: Box::new(FailedEvent { position, source, id, kind, statement, error }) }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<u64, Error>> + 'a>>;

/// Whom a statement is for.
enum For<'a> {
    Us,
    /// The place in the log: one row has to change.
    Place,
    Event {
        commit: usize,
        recorded: &'a Recorded,
        text: &'a str,
    },
}

/// Statements that were sent, in their order.
struct Line<'a> {
    link: &'a Link,
    waiting: VecDeque<(Answer<'a>, For<'a>)>,
}

impl<'a> Line<'a> {
    async fn put(&mut self, sent: impl Future<Output = Result<u64, Error>> + 'a, whom: For<'a>) -> Result<(), Stop> {
        let mut answer: Answer<'a> = Box::pin(sent);
        // Asked once it is on its way, and so in this order.
        let answer = match poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await {
            Poll::Ready(answered) => Box::pin(ready(answered)),
            Poll::Pending => answer,
        };
        self.waiting.push_back((answer, whom));
        if self.waiting.len() >= WINDOW { self.settle().await } else { Ok(()) }
    }

    async fn settle_all(&mut self) -> Result<(), Stop> {
        while !self.waiting.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits for the answer to the one that was sent first.
    async fn settle(&mut self) -> Result<(), Stop> {
        let Some((answer, whom)) = self.waiting.pop_front() else { return Ok(()) };
        self.link.renew();
        match (within(ANSWER_MAX, answer).await, whom) {
            (Ok(0), For::Place) => {
                Err(Trouble::Lost("another server has taken events in meanwhile; it is looked at anew".to_owned())
                    .into())
            }
            (Ok(_), _) => Ok(()),
            (Err(trouble), For::Event { commit, recorded, text }) if !trouble.is_of_store() => {
                Err(stop(commit, recorded, Some(text.to_owned()), trouble.text()))
            }
            (Err(trouble), _) => Err(trouble.into()),
        }
    }
}
