//! Read models in PostgreSQL: a schema for each release, in the database that the declaration names, and one with the name of the
//! projection, whose views show the release that is live.
//!
//! ```text
//! quipu$orders$1   _quipu (place in the log), orders, …   written by one connection, which has the lock of the schema
//! quipu$orders$2   the release that is built beside it
//! orders           views of the tables of the live one; replaced in one transaction
//! ```
//!
//! Each schema says in its comment whose it is: the first commit of the tenant's log. Whoever finds another's touches nothing.

mod check;
mod link;
mod parameter;
mod reach;
mod read;
mod take;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quipu_domain::projection::{Password, PostgresUrl, ReadModelStore};
use quipu_engine::{Head, Since};
use tokio_postgres::error::SqlState;

pub(crate) use self::check::check;
pub use self::link::{Dial, Dialed, Dialing};
use self::link::{Link, SCAN_MAX, Trouble};
pub(crate) use self::reach::Elsewhere;
use self::read::Idle;
pub(crate) use self::read::Reader;
use self::take::Statements;
use self::watch::Watch;
use crate::compare::RowKey;
use crate::step::Source;
use crate::store::{Broken, Wanted};
use crate::table::{OWN_TABLE, quoted};

/// Longest name of a projection in PostgreSQL, bytes: an identifier has 63, and a release has some around the name.
const NAME_BYTES_MAX: usize = 40;
/// How long a lock is waited for, milliseconds.
const LOCK_MAX_MS: u64 = 2_000;
/// How often its bytes are asked for.
const MEASURED_EVERY: Duration = Duration::from_secs(10);

/// A projection in a database.
#[derive(Clone)]
pub(crate) struct Projected {
    url: Arc<PostgresUrl>,
    name: Arc<str>,
    reach: Arc<reach::Reach>,
}

/// Where the read model of a release is.
#[derive(Clone)]
pub(crate) struct Schema {
    projected: Projected,
    name: String,
    bytes: Arc<AtomicU64>,
    idle: Arc<Idle>,
}

/// The read model of a release, as whoever changes it has it.
pub(crate) struct Model {
    link: Link,
    schema: Schema,
    statements: Statements,
    watch: Option<Watch>,
    measured: Option<Instant>,
    /// The place in the log that it is behind.
    pub head: Head,
    /// The position of the last event before that.
    pub position: u64,
}

/// Whose a schema is.
enum Owner {
    Nobody,
    Us,
    /// Somebody else's, or nobody's that we know.
    Other,
}

impl Projected {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, with the password that is kept for it now.
    pub fn with_password(mut self) -> Self {
        let mut url = self.url.as_ref().clone();
        url.password = self.reach.password(&url).and_then(|password| Password::new(&password).ok());
        self.url = Arc::new(url);
        self
    }

    /// Whether this is the database of a store.
    pub fn is_in(&self, store: &ReadModelStore) -> bool {
        matches!(store, ReadModelStore::Postgres(url) if url.as_str() == self.url.as_str())
    }

    /// Where a release is.
    pub fn release(&self, number: u64) -> Schema {
        self.schema(format!("{}{number}", self.prefix()))
    }

    /// Where a read model is built that is looked at once.
    pub fn sandbox(&self, number: u64) -> Schema {
        self.schema(format!("{}verify${number}", self.prefix()))
    }

    fn schema(&self, name: String) -> Schema {
        Schema { projected: self.clone(), name, bytes: Arc::default(), idle: Arc::default() }
    }

    fn prefix(&self) -> String {
        // No name of a projection has a $: no release of one is the views or the sandbox of another.
        format!("quipu${}$", self.name)
    }

    fn connect(&self, schema: &str) -> Result<Link, Trouble> {
        Link::open(&self.url, self.reach.password(&self.url).as_deref(), self.reach.dial(), schema)
    }

    /// What the comment of a schema of ours says.
    fn mark(&self) -> Result<String, Trouble> {
        let owner = self.reach.owner().ok_or_else(|| Trouble::Lost("the log has no commit yet".to_owned()))?;
        Ok(format!("quipu read model of the log {owner}"))
    }

    fn owner(&self, link: &Link, schema: &str) -> Result<Owner, Trouble> {
        let sql = "select obj_description(oid, 'pg_namespace') from pg_namespace where nspname = $1";
        let found = link.ask(link.client.query_opt(sql, &[&schema]))?;
        Ok(match found.map(|row| row.get::<_, Option<String>>(0)) {
            None => Owner::Nobody,
            Some(Some(mark)) if self.mark().is_ok_and(|ours| ours == mark) => Owner::Us,
            Some(_) => Owner::Other,
        })
    }

    fn other(&self, schema: &str) -> Trouble {
        Trouble::Lost(format!(
            "expected a schema {schema} that this tenant made, or none, found one that it did not; give the projection another name, another \
             database, or drop that schema"
        ))
    }

    /// Removes what is there and not kept: releases, sandboxes that nobody builds, and the views, if nothing is.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn sweep(&self, is_kept: impl Fn(u64) -> bool, is_gone: impl Fn() -> bool) -> Result<(), Broken> {
        let swept = || {
            let (link, prefix) = (self.connect("pg_catalog")?, self.prefix());
            let sql = "select nspname::text from pg_namespace where starts_with(nspname, $1)";
            let found = link.ask(link.client.query(sql, &[&prefix]))?;
            let names = found.iter().map(|row| row.get::<_, String>(0));
            for name in names.filter(|name| self.number(name).is_none_or(|number| !is_kept(number))) {
                self.drop_schema(&link, &name)?;
            }
            if matches!(self.owner(&link, &self.name)?, Owner::Us) && is_gone() {
                self.drop_views(&link)?;
            }
            Ok(())
        };
        swept().map_err(|trouble: Trouble| trouble.of(&self.url))
    }

    /// The release that a schema is of.
    fn number(&self, schema: &str) -> Option<u64> {
        schema.strip_prefix(&self.prefix())?.parse().ok()
    }

    /// Drops a schema of ours that nobody has open.
    fn drop_schema(&self, link: &Link, name: &str) -> Result<(), Trouble> {
        let is_of_us = self.number(name).is_some() || name.starts_with(&format!("{}verify$", self.prefix()));
        if !is_of_us || !matches!(self.owner(link, name)?, Owner::Us) || !lock(link, name)? {
            return Ok(());
        }
        let sql = format!("drop schema if exists {} cascade", quoted(name));
        link.ask(link.client.batch_execute(&sql))?;
        let unlock = format!("select pg_advisory_unlock(hashtextextended('quipu ' || {}, 0))", literal(name));
        link.ask(link.client.batch_execute(&unlock))
    }

    /// Drops our views, and their schema if nothing of others is in it.
    fn drop_views(&self, link: &Link) -> Result<(), Trouble> {
        let face = quoted(&self.name);
        let views: Vec<String> = views_of(link, &self.name)?;
        let views: Vec<String> = views.iter().map(|view| format!("drop view {face}.{};", quoted(view))).collect();
        let sql = format!("begin; {} drop schema {face}; commit", views.concat());
        match link.ask(link.client.batch_execute(&sql)) {
            // Something of others is in it, or rests on it: it is theirs now.
            Err(trouble) if trouble.is(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => Ok(()),
            dropped => dropped,
        }
    }
}

/// The names of the views of a schema.
fn views_of(link: &Link, schema: &str) -> Result<Vec<String>, Trouble> {
    let sql = "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 \
               and c.relkind = 'v' order by 1";
    let rows = link.ask(link.client.query(sql, &[&schema]))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Takes the lock of a schema for as long as the connection lasts. Whether nobody else has it: a connection that has just ended may have it
/// for a moment more.
fn lock(link: &Link, schema: &str) -> Result<bool, Trouble> {
    let sql = format!("select pg_advisory_lock(hashtextextended('quipu ' || {}, 0))", literal(schema));
    let locked = link
        .ask(link.client.batch_execute(&format!("set lock_timeout = {LOCK_MAX_MS}; {sql}; set lock_timeout = 5000")));
    match locked {
        Err(trouble) if trouble.is(&SqlState::LOCK_NOT_AVAILABLE) => Ok(false),
        locked => locked.map(|()| true),
    }
}

/// A text as SQL has it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Removes a read model that nobody has open. What cannot be removed now is swept later.
pub(crate) fn remove(schema: &Schema) {
    let removed = || schema.projected.drop_schema(&schema.projected.connect("pg_catalog")?, &schema.name);
    if let Err(trouble) = removed() {
        let error = trouble.of(&schema.projected.url).said;
        tracing::warn!(schema = schema.name, error, "a read model is not removed yet");
    }
}

impl Schema {
    pub fn projection(&self) -> &Projected {
        &self.projected
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn broken(&self, trouble: Trouble) -> Broken {
        trouble.of(&self.projected.url)
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.name, self.projected.url)
    }
}

impl Model {
    /// Opens the read model of a release, or makes it. One that was made of another declaration is made anew.
    ///
    /// # Errors
    /// The database does not answer, or the schema is somebody else's.
    pub fn open(schema: &Schema, source: &Source, wanted: Wanted) -> Result<Self, Broken> {
        Self::try_open(schema, source, wanted).map_err(|trouble| schema.broken(trouble))
    }

    fn try_open(schema: &Schema, source: &Source, wanted: Wanted) -> Result<Self, Trouble> {
        let Source::Declared(declaration) = source else {
            return Err(Trouble::Lost("expected a declaration, found code, which is kept in SQLite".to_owned()));
        };
        let link = schema.projected.connect(&schema.name)?;
        if !lock(&link, &schema.name)? {
            return Err(Trouble::Lost(format!("another server keeps {} now", schema.name)));
        }
        let digest = source.digest();
        let place = match schema.projected.owner(&link, &schema.name)? {
            Owner::Nobody => None,
            Owner::Us if wanted == Wanted::Anew => None,
            Owner::Us => place(&link, schema)?.filter(|(declaration, ..)| *declaration == digest),
            Owner::Other => return Err(schema.projected.other(&schema.name)),
        };
        let (head, position) = match place {
            Some((_, head, position)) => (head, position),
            None => {
                make(&link, schema, &declaration.tables, &digest)?;
                (Head::START, 0)
            }
        };
        let statements = Statements::prepare(&link, schema, declaration)?;
        let schema = schema.clone();
        Ok(Self { link, schema, statements, watch: None, measured: None, head, position })
    }

    /// Puts views of its tables in the place of those of the release that was live before, all at once.
    ///
    /// # Errors
    /// The database does not answer, the schema of the views is somebody else's, or somebody's own views rest on ours.
    pub fn show(&mut self) -> Result<(), Broken> {
        self.try_show().map_err(|trouble| self.schema.broken(trouble))
    }

    fn try_show(&self) -> Result<(), Trouble> {
        let (link, projected) = (&self.link, &self.schema.projected);
        let (face, from) = (quoted(&projected.name), quoted(&self.schema.name));
        let mut sql = String::from("begin;");
        match projected.owner(link, &projected.name)? {
            Owner::Us => {}
            Owner::Other => return Err(projected.other(&projected.name)),
            Owner::Nobody => {
                sql += &format!("create schema {face}; comment on schema {face} is '{}';", projected.mark()?);
            }
        }
        let tables = read::names(link, &self.schema.name, true)?;
        let shown: Vec<&str> = tables.iter().map(String::as_str).chain([OWN_TABLE]).collect();
        for view in views_of(link, &projected.name)?.iter().filter(|view| !shown.contains(&view.as_str())) {
            sql += &format!("drop view {face}.{};", quoted(view));
        }
        let columns = |table: &str| if table == OWN_TABLE { "head, position" } else { "*" };
        let view = |table: &&str| {
            let (name, columns) = (quoted(table), columns(table));
            (
                format!("drop view if exists {face}.{name};"),
                format!("create or replace view {face}.{name} as select {columns} from {from}.{name};"),
            )
        };
        let views: Vec<(String, String)> = shown.iter().map(view).collect();
        let replace: String = views.iter().map(|(_, create)| create.as_str()).collect();
        let commit = |sql: &str| {
            let done = link.ask(link.client.batch_execute(&format!("{sql} commit")));
            done.inspect_err(|_| drop(link.ask(link.client.batch_execute("rollback"))))
        };
        match commit(&(sql.clone() + &replace)) {
            // Other columns than before: then they are made anew, which nobody else's views may rest on.
            Err(Trouble::Said { .. }) => {
                let anew: String = views.iter().flat_map(|(drop, create)| [drop.as_str(), create]).collect();
                commit(&(sql + &anew))
            }
            shown => shown,
        }
    }

    /// Looks at some rows from now on.
    pub fn watch(&mut self, rows: Vec<RowKey>) -> Result<(), Broken> {
        let watch = Watch::begin(&self.link, &self.schema.name, rows);
        self.watch = Some(watch.map_err(|trouble| self.schema.broken(trouble))?);
        Ok(())
    }

    /// The last event that changed each of the rows that are looked at.
    pub fn watched(&mut self) -> Vec<Option<Since>> {
        self.watch.take().map(Watch::end).unwrap_or_default()
    }

    /// Asks for its bytes, now and then.
    fn measure(&mut self) -> Result<(), Trouble> {
        if self.measured.is_some_and(|at| at.elapsed() < MEASURED_EVERY) {
            return Ok(());
        }
        self.measured = Some(Instant::now());
        let sql = "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c \
                   join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relkind in ('r', 'm')";
        let bytes: i64 = self.link.ask(self.link.client.query_one(sql, &[&self.schema.name]))?.get(0);
        self.schema.bytes.store(bytes as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// What a read model was made of, and how far it is; nothing if there is no such table, or nothing in it that can be read.
fn place(link: &Link, schema: &Schema) -> Result<Option<(String, Head, u64)>, Trouble> {
    let sql = format!("select declaration, head, position from {}.{OWN_TABLE}", quoted(&schema.name));
    let row = match link.ask(link.client.query_opt(&sql, &[])) {
        Err(trouble) if [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN].iter().any(|no| trouble.is(no)) => {
            return Ok(None);
        }
        found => found?,
    };
    let read = |row: tokio_postgres::Row| {
        let (declaration, head, position): (String, String, i64) =
            (row.try_get(0).ok()?, row.try_get(1).ok()?, row.try_get(2).ok()?);
        Some((declaration, Head::parse(&head)?, position as u64))
    };
    Ok(row.and_then(read))
}

/// Makes its tables: all of them and the place, or nothing. What was there before is gone then.
fn make(link: &Link, schema: &Schema, tables: &str, digest: &str) -> Result<(), Trouble> {
    let (name, mark) = (quoted(&schema.name), schema.projected.mark()?);
    let begin = format!(
        "begin; drop schema if exists {name} cascade; create schema {name}; comment on schema {name} is '{mark}'"
    );
    let end = format!(
        "create table {name}.{OWN_TABLE} (declaration text not null, head text not null, position bigint not null);
         insert into {name}.{OWN_TABLE} values ('{digest}', '{}', 0); commit",
        Head::START
    );
    let made = link
        .wait(SCAN_MAX, link.client.batch_execute(&begin))
        .and_then(|()| check::run_script(link, SCAN_MAX, tables))
        .and_then(|()| link.wait(SCAN_MAX, link.client.batch_execute(&end)));
    made.inspect_err(|_| drop(link.ask(link.client.batch_execute("rollback"))))
}
