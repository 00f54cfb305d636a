//! Takes the rows of an outbox to Quipu, in order and each once, whatever crashes and however many relays there are.
//!
//! A batch is planned before it is appended: its number and the ids of its rows are committed to `quipu_outbox_place`,
//! and a number is given once, by whoever finds the number before it (`UPDATE … WHERE number =`). The append carries the
//! number as a checkpoint, which must advance. So of all who try the same batch one succeeds, and what the log has
//! recorded says what becomes of the rows:
//!
//! ```text
//! recorded == number       the batch is recorded: its rows are deleted, and the next one is planned
//! recorded == number - 1   it is not: it is appended
//! anything else            the log or the database is not the one that the other knows: a person must look
//! ```
//!
//! A plan never changes, except that a refused row leaves it. Were one made shorter, a slower relay that still holds the
//! longer one could append all of it under the same number.
//!
//! **Order** is that of ids, as far as the first row whose transaction is not older than every one that still runs. By
//! transaction ids first, two changes of one row could swap: a transaction may get its id early, wait for the lock of the
//! other, and change the row last.

use std::fmt;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::database::Database;
use super::target::{Done, NotTaken, Target};

/// Rows in one batch: the cost of a turn does not show any more, and its ids are 4 KB.
const BATCH_ROWS: i64 = 500;
/// Bytes of events in one batch, if that comes first; one event may be larger.
const BATCH_BYTES: i64 = 4 << 20;
/// A row whose transaction has ended may have to wait for another's, and no notification tells of that one's end.
const UNSETTLED_WAIT: Duration = Duration::from_millis(10);
/// A notification is there sooner; this is for one that got lost, and notices a connection that is gone.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// A database that does not answer for so long is gone. Nothing that a relay asks takes as long.
const ANSWER_MAX: Duration = Duration::from_secs(15);

const PLACE: &str = "SELECT source, number, ids FROM quipu_outbox_place";
const ROWS: &str = "SELECT id, event::text FROM quipu_outbox WHERE id = ANY($1) ORDER BY id";
// What is planned is never empty, so an empty plan says that its rows are recorded and gone.
const CLEAN: &str = "WITH gone AS (DELETE FROM quipu_outbox WHERE id = ANY($1)) \
     UPDATE quipu_outbox_place SET ids = '{}' WHERE number = $2";
const HEAD: &str = "SELECT id, octet_length(event::text)::bigint, transaction < pg_snapshot_xmin(pg_current_snapshot()), \
     transaction >= pg_snapshot_xmax(pg_current_snapshot()) FROM quipu_outbox ORDER BY id LIMIT $1";
const PLAN: &str = "UPDATE quipu_outbox_place SET number = number + 1, ids = $2 WHERE number = $1";
const SET_ASIDE: &str = "WITH refused AS (DELETE FROM quipu_outbox WHERE id = $1 RETURNING id, time, event) \
     INSERT INTO quipu_outbox_refused (id, time, event, reason) SELECT id, time, event, $2 FROM refused";
// A plan that a power cut takes back, after Quipu has recorded it, would be a number given twice.
const SESSION: &str = "SET synchronous_commit = on; LISTEN quipu_outbox";

/// What becomes of an event that Quipu refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefused {
    /// The relay stops and names its row.
    Stop,
    /// It goes to the table `quipu_outbox_refused`, with the reason.
    SetAside,
}

/// When a relay has done its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When the outbox is empty.
    Empty,
    /// Never: it waits for more.
    Stopped,
}

/// Why a relay does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRelayed {
    /// The database or Quipu cannot be reached just now. Running it again goes on where it was.
    Interrupted(String),
    /// Quipu refuses an event.
    RowRefused {
        /// The row's id.
        id: i64,
        /// What was expected and what was found.
        reason: String,
    },
    /// Quipu refuses appends of this relay altogether.
    Refused(String),
    /// The tables are not there.
    NotInstalled,
    /// The log has recorded more than the outbox has planned: the database is a copy, or older than the log knows it.
    OutboxBehind {
        /// What the checkpoint is of.
        source: String,
        /// The number in the log.
        recorded: u64,
        /// The number in the database.
        planned: u64,
    },
    /// The log has not recorded what was deleted from the outbox as recorded: it is another one, or an older copy.
    LogBehind {
        /// What the checkpoint is of.
        source: String,
        /// The number in the log.
        recorded: u64,
        /// The number in the database.
        planned: u64,
    },
    /// A row has a transaction that this database server has not had: it was restored from another's dump.
    ForeignRow {
        /// The row's id.
        id: i64,
    },
    /// The database refuses, or says what was not expected.
    Database(String),
}

/// Takes rows to a target. It holds nothing that a crash could lose.
#[derive(Debug)]
pub struct Relay<T> {
    database: Database,
    target: T,
    on_refused: OnRefused,
    /// Events that this relay has appended.
    pub relayed: u64,
    /// Rows that it has set aside.
    pub set_aside: u64,
    /// Whether it has reached the database yet.
    pub has_connected: bool,
}

/// The newest batch that was planned.
struct Place {
    source: String,
    number: u64,
    ids: Vec<i64>,
}

/// What came of a turn.
enum Turn {
    Moved,
    Empty,
    Unsettled,
}

impl<T: Target> Relay<T> {
    /// A relay from a database to a target.
    pub fn new(database: Database, target: T, on_refused: OnRefused) -> Self {
        Self { database, target, on_refused, relayed: 0, set_aside: 0, has_connected: false }
    }

    /// Its database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Relays over one connection. It may be dropped at any moment, and run again.
    ///
    /// # Errors
    /// [`NotRelayed`]; after [`NotRelayed::Interrupted`] run it again.
    pub async fn run(&mut self, until: Until) -> Result<(), NotRelayed> {
        let (connected, notified) = self.database.connect().await?;
        let client = connected.client();
        answered(client.batch_execute(SESSION)).await?;
        self.has_connected = true;
        loop {
            let wait = match self.turn(client).await? {
                Turn::Moved => continue,
                Turn::Empty if until == Until::Empty => return Ok(()),
                Turn::Empty => IDLE_WAIT,
                Turn::Unsettled => UNSETTLED_WAIT,
            };
            // Woken or not: the next turn looks.
            let _ = tokio::time::timeout(wait, notified.notified()).await;
        }
    }

    async fn turn(&mut self, client: &Client) -> Result<Turn, NotRelayed> {
        let source = place(client).await?.source;
        // The log is asked before the database: a number is planned before it is recorded, so what is recorded by now
        // was planned by then.
        let before = self.target.checkpoint(&source).map_err(NotRelayed::of)?;
        let place = place(client).await?;
        let planned = place.number;
        if before > planned {
            return Err(NotRelayed::OutboxBehind { source, recorded: before, planned });
        }
        // Another relay may have recorded and planned between the two questions.
        let recorded = match before + 1 < planned {
            true => self.target.checkpoint(&source).map_err(NotRelayed::of)?,
            false => before,
        };
        if recorded + 1 < planned {
            return Err(NotRelayed::LogBehind { source, recorded, planned });
        }
        match recorded < planned {
            true => self.append(client, &place).await,
            false => self.plan(client, &place).await,
        }
    }

    async fn append(&mut self, client: &Client, place: &Place) -> Result<Turn, NotRelayed> {
        if place.ids.is_empty() {
            // It was recorded, and its rows are gone: a log that has not got it is another one, or has lost its end.
            let recorded = self.target.checkpoint(&place.source).map_err(NotRelayed::of)?;
            let (source, planned) = (place.source.clone(), place.number);
            return match recorded >= planned {
                true => Ok(Turn::Moved),
                false => Err(NotRelayed::LogBehind { source, recorded, planned }),
            };
        }
        let rows = answered(client.query_typed(ROWS, &[(&place.ids, Type::INT8_ARRAY)])).await?;
        let mut events: Vec<(i64, String)> = Vec::with_capacity(rows.len());
        for row in &rows {
            events.push((row.try_get(0)?, row.try_get(1)?));
        }
        for (id, event) in &events {
            if let Err(reason) = check(event) {
                return self.refused(client, place, *id, reason).await;
            }
        }
        let texts: Vec<&str> = events.iter().map(|(_, event)| event.as_str()).collect();
        let taken = match self.target.append(&texts, &place.source, place.number) {
            // Somebody else has published the very same: the number is still to be recorded.
            Ok(Done::Repeated) => self.target.append(&[], &place.source, place.number),
            other => {
                self.relayed += if other.is_ok() { texts.len() as u64 } else { 0 };
                other
            }
        };
        match taken {
            // If it is behind, another relay was faster.
            Ok(_) | Err(NotTaken::Behind) => Ok(Turn::Moved),
            Err(NotTaken::Event { index, reason }) => match events.get(index) {
                Some((id, _)) => self.refused(client, place, *id, reason).await,
                None => Err(NotRelayed::Refused(reason)),
            },
            Err(other) => Err(NotRelayed::of(other)),
        }
    }

    async fn refused(&mut self, client: &Client, place: &Place, id: i64, reason: String) -> Result<Turn, NotRelayed> {
        // What another relay has recorded meanwhile looks like a repetition to this one.
        if self.target.checkpoint(&place.source).map_err(NotRelayed::of)? >= place.number {
            return Ok(Turn::Moved);
        }
        if self.on_refused == OnRefused::Stop {
            return Err(NotRelayed::RowRefused { id, reason });
        }
        // PostgreSQL takes no text with it.
        let reason = reason.replace('\0', "\u{FFFD}");
        self.set_aside +=
            answered(client.execute_typed(SET_ASIDE, &[(&id, Type::INT8), (&reason, Type::TEXT)])).await?;
        Ok(Turn::Moved)
    }

    async fn plan(&mut self, client: &Client, place: &Place) -> Result<Turn, NotRelayed> {
        let number = i64::try_from(place.number).unwrap_or(i64::MAX);
        if !place.ids.is_empty() {
            answered(client.execute_typed(CLEAN, &[(&place.ids, Type::INT8_ARRAY), (&number, Type::INT8)])).await?;
        }
        let head = answered(client.query_typed(HEAD, &[(&BATCH_ROWS, Type::INT8)])).await?;
        let (mut ids, mut bytes) = (Vec::new(), 0);
        for row in &head {
            let (id, size, is_settled, is_foreign): (i64, i64, bool, bool) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            if is_foreign {
                return Err(NotRelayed::ForeignRow { id });
            }
            bytes += size;
            if !is_settled || (bytes > BATCH_BYTES && !ids.is_empty()) {
                break;
            }
            ids.push(id);
        }
        if ids.is_empty() {
            return Ok(if head.is_empty() { Turn::Empty } else { Turn::Unsettled });
        }
        // If it changes nothing, another relay has planned, and the next turn sees what.
        answered(client.execute_typed(PLAN, &[(&number, Type::INT8), (&ids, Type::INT8_ARRAY)])).await?;
        Ok(Turn::Moved)
    }
}

/// What the database answers, in time: one that is frozen takes what is sent to it, and says nothing.
pub(super) async fn answered<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, NotRelayed> {
    let late = || NotRelayed::Interrupted(format!("no answer of the database within {} s", ANSWER_MAX.as_secs()));
    Ok(tokio::time::timeout(ANSWER_MAX, answer).await.map_err(|_| late())??)
}

async fn place(client: &Client) -> Result<Place, NotRelayed> {
    let rows = answered(client.query_typed(PLACE, &[])).await?;
    let row = rows.first().ok_or(NotRelayed::NotInstalled)?;
    let number: i64 = row.try_get(1)?;
    let number = u64::try_from(number)
        .map_err(|_| NotRelayed::Database(format!("quipu_outbox_place: expected a number from 0, found {number}")))?;
    Ok(Place { source: row.try_get(0)?, number, ids: row.try_get(2)? })
}

/// What can be said of an event without asking Quipu.
fn check(event: &str) -> Result<(), String> {
    let incoming = quipu_domain::parse_event_text(event).map_err(|invalid| invalid.to_string())?;
    match incoming.stream_version {
        None => Ok(()),
        // The log alone numbers what comes from an outbox: others may publish to the stream between commit and relay.
        Some(version) => Err(format!("expected an event that leaves its version to Quipu, found version {version}")),
    }
}

impl NotRelayed {
    fn of(not_taken: NotTaken) -> Self {
        match not_taken {
            NotTaken::Interrupted(reason) => Self::Interrupted(reason),
            NotTaken::Refused(reason) | NotTaken::Event { reason, .. } => Self::Refused(reason),
            NotTaken::Behind => Self::Refused("expected a number, found a checkpoint that is behind".into()),
        }
    }
}

impl From<Error> for NotRelayed {
    fn from(error: Error) -> Self {
        let Some(said) = error.as_db_error() else {
            // The connection; its cause says more than the error itself, and no more than an address.
            let cause = std::error::Error::source(&error).map(|cause| format!(" ({cause})")).unwrap_or_default();
            return Self::Interrupted(format!("{error}{cause}"));
        };
        let reason = format!("{} [{}]", said.message(), said.code().code());
        // Connections, resources, an operator's act, and a transaction that is to be repeated.
        match said.code().code().get(..2) {
            _ if *said.code() == SqlState::UNDEFINED_TABLE => Self::NotInstalled,
            Some("08" | "53" | "57" | "40") => Self::Interrupted(reason),
            _ => Self::Database(reason),
        }
    }
}

impl fmt::Display for NotRelayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted(reason) | Self::Refused(reason) | Self::Database(reason) => f.write_str(reason),
            Self::RowRefused { id, reason } => write!(
                f,
                "row {id} of quipu_outbox is refused, and no row after it is relayed: {reason}. Mend or delete it, or \
                 move such rows to quipu_outbox_refused: --skip-refused"
            ),
            Self::NotInstalled => f.write_str("expected the tables of an outbox, found none: quipu outbox install"),
            Self::OutboxBehind { source, recorded, planned } => write!(
                f,
                "{source}: expected a log that has recorded at most batch {planned}, found {recorded}: the database is a \
                 copy, or was restored from one. See docs/outbox.md#after-a-restore"
            ),
            Self::LogBehind { source, recorded, planned } => write!(
                f,
                "{source}: expected a log that has recorded batch {} at least, found {recorded}: it is another log, or \
                 was restored from an older copy. See docs/outbox.md#after-a-restore",
                planned.saturating_sub(1)
            ),
            Self::ForeignRow { id } => write!(
                f,
                "row {id} of quipu_outbox: expected a transaction of this database server, found a later one: the table \
                 was restored from a dump. See docs/outbox.md#after-a-restore"
            ),
        }
    }
}

impl std::error::Error for NotRelayed {}
