//! Questions to a read model, each in one transaction that changes nothing, so that all of an answer and the position beside it are of one
//! moment. Columns are asked for as text, whatever their types are.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use parking_lot::{Condvar, Mutex};
use quipu_domain::projection::{Token, Tokens};
use serde_json::{Map, Value as Json};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{RowStream, Statement};

use super::Schema;
use super::link::{ANSWER_MAX, Link, SCAN_MAX, Trouble};
use super::parameter::{Param, read};
use crate::compare::{Next, Tables};
use crate::query::{
    BYTES_MAX, Place, ROW_BYTES_MAX, Rows, SQL_BYTES_MAX, SqlQuery, TIME_MAX, TableQuery, Test, behind, foreign_cursor,
    invalid, read_cursor, row_too_large, write_cursor,
};
use crate::refusal::{NotDone, ReadModelRefusal};
use crate::store::Broken;
use crate::table::{self, OWN_TABLE, Table, quoted};
use crate::value::Value;

/// Connections that a release has for questions at once; whoever comes then waits.
const LINKS_MAX: usize = 8;
/// What is wrong with a question and not with the database: what we refuse ourselves, what changes something, and what the user of the URL may
/// not read.
const REFUSED: [SqlState; 4] = [
    SqlState::SUCCESSFUL_COMPLETION,
    SqlState::READ_ONLY_SQL_TRANSACTION,
    SqlState::INSUFFICIENT_PRIVILEGE,
    SqlState::PROGRAM_LIMIT_EXCEEDED,
];
/// How long an answer is waited for: the server ends a question before.
const QUESTION_MAX: Duration = Duration::from_secs(8);

/// Connections for questions that nobody uses now.
#[derive(Default)]
pub(super) struct Idle {
    links: Mutex<Links>,
    freed: Condvar,
}

#[derive(Default)]
struct Links {
    idle: VecDeque<Link>,
    /// How many are in use.
    used: usize,
}

/// Somebody who asks a read model.
pub(crate) struct Reader {
    /// There until it is dropped.
    link: Option<Link>,
    schema: Schema,
    position: u64,
    /// Whether the connection is as it was when all is over.
    is_clean: std::cell::Cell<bool>,
}

/// A column of a table or of an answer.
struct Column {
    name: String,
    kind: Type,
}

impl Reader {
    /// For one question, which may take only so long.
    pub fn open(schema: &Schema) -> Result<Self, NotDone> {
        Self::begin(schema, TIME_MAX).map_err(|trouble| not_done(schema, trouble))
    }

    /// For what looks at all rows, as they are now.
    pub fn open_now(schema: &Schema) -> Result<Self, NotDone> {
        Self::begin(schema, SCAN_MAX).map_err(|trouble| not_done(schema, trouble))
    }

    fn begin(schema: &Schema, time: Duration) -> Result<Self, Trouble> {
        let taken = schema.idle.take()?;
        let is_old = taken.is_some();
        let begin = |link: Link| {
            let mut reader = Self { link: Some(link), schema: schema.clone(), position: 0, is_clean: true.into() };
            let sql = format!(
                "begin isolation level repeatable read, read only; set local statement_timeout = {}",
                time.as_millis()
            );
            reader.ask(reader.link().client.batch_execute(&sql))?;
            let sql = format!("select position from {}.{OWN_TABLE}", quoted(&schema.name));
            let position: i64 = reader.ask(reader.link().client.query_one(&sql, &[]))?.get(0);
            reader.position = position as u64;
            Ok(reader)
        };
        let new = || match schema.projected.connect(&schema.name) {
            Ok(link) => begin(link),
            Err(trouble) => {
                schema.idle.give(None);
                Err(trouble)
            }
        };
        match taken {
            None => new(),
            Some(link) => match begin(link) {
                // The server has ended it meanwhile.
                Err(Trouble::Lost(_)) if is_old => {
                    schema.idle.take_place()?;
                    new()
                }
                begun => begun,
            },
        }
    }

    fn link(&self) -> &Link {
        self.link.as_ref().expect("it is there until it is dropped")
    }

    /// Waits for an answer; after none the connection is of no use.
    fn ask<T, E: Into<Trouble>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, Trouble> {
        self.wait(ANSWER_MAX, work)
    }

    fn wait<T, E: Into<Trouble>>(
        &self,
        time: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Trouble> {
        let answer = self.link().wait(time, work);
        if matches!(answer, Err(Trouble::Lost(_))) || self.link().is_spent() {
            self.is_clean.set(false);
        }
        answer
    }

    /// Rows of a table.
    pub fn rows(&self, table: &str, query: &TableQuery) -> Result<Rows, NotDone> {
        let failed = |trouble| not_done(&self.schema, trouble);
        let all = names(self.link(), &self.schema.name, true).map_err(failed)?;
        let (mut table, columns, is_keyed) = self.describe(table::find(&all, table)?).map_err(failed)?;
        if !is_keyed {
            // Where a row is, so that those that are alike have an order too.
            table.key = vec!["ctid".to_owned()];
        }
        let order = query.places(&table)?;
        let (mut params, mut conditions) = (Vec::new(), Vec::new());
        let mut put = |param| {
            params.push(param);
            format!("${}", params.len())
        };
        for (column, test, value) in &query.filters {
            let column = quoted(table.column(column)?);
            conditions.push(match (value.as_str(), test) {
                ("null", Test::Is) => format!("{column} is null"),
                ("null", Test::IsNot) => format!("{column} is not null"),
                ("null", _) => "false".to_owned(),
                (value, Test::IsNot) => format!("{column} is distinct from {}", put(Param(Some(value.to_owned())))),
                (value, Test::Is) => format!("{column} = {}", put(Param(Some(value.to_owned())))),
                (value, test) => format!("{column} {} {}", test.sql(), put(Param(Some(value.to_owned())))),
            });
        }
        if let Some(cursor) = &query.cursor {
            let after: Option<Vec<Json>> = read_cursor(cursor, &order);
            let after = after.filter(|after| after.iter().all(|json| json.is_null() || json.is_string()));
            let after = after.ok_or_else(foreign_cursor)?;
            let nulls: Vec<bool> = after.iter().map(Json::is_null).collect();
            conditions.push(behind(&order, "is not distinct from", &nulls, |number| {
                put(Param(after[number].as_str().map(str::to_owned)))
            }));
        }
        let limit = query.rows_max();
        let shown = columns.iter().map(|column| quoted(&column.name)).chain(order.iter().map(|(name, _)| name.clone()));
        let list = |(column, is_descending): &Place| {
            // Of the table: without that it would be the text that is shown.
            format!("t.{column}{}", if *is_descending { " desc nulls last" } else { " nulls first" })
        };
        let sql = format!(
            "select {} from {}.{} t{} order by {} limit {}",
            shown.map(|name| format!("{name}::text")).collect::<Vec<_>>().join(", "),
            quoted(&self.schema.name),
            quoted(&table.name),
            if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(" and ")) },
            order.iter().map(list).collect::<Vec<_>>().join(", "),
            limit + 1
        );
        let kinds: Vec<&Type> = columns.iter().map(|column| &column.kind).collect();
        let answered = self.wait(QUESTION_MAX, async {
            let mut found = std::pin::pin!(self.link().client.query_raw(sql.as_str(), params).await?);
            let (mut rows, mut bytes, mut next, mut place) = (Vec::new(), 0, None, None);
            while let Some(row) = found.try_next().await? {
                if rows.len() == limit || bytes > BYTES_MAX {
                    next = place;
                    self.is_clean.set(false);
                    break;
                }
                rows.push(named(&columns, values(&row, &kinds)?, &mut bytes)?);
                let text = |number: usize| {
                    Ok(row.try_get::<_, Option<&str>>(kinds.len() + number)?.map_or(Json::Null, Json::from))
                };
                let of_order = (0..order.len()).map(text).collect::<Result<_, Trouble>>()?;
                place = Some(write_cursor(&order, of_order));
            }
            Ok::<_, Unanswered>((rows, next))
        });
        let (rows, next) = self.answered(answered, invalid)?;
        Ok(Rows { columns: table.columns, rows, next, is_cut: false, position: self.position })
    }

    /// What SQL gives. The connection is not used again: SQL may have left something there.
    pub fn sql(&self, query: &SqlQuery) -> Result<Rows, NotDone> {
        let refused = |error: String| NotDone::from(ReadModelRefusal::Sql { error });
        if query.sql.len() > SQL_BYTES_MAX {
            return Err(refused(format!("more than {SQL_BYTES_MAX} bytes")));
        }
        self.is_clean.set(false);
        let (sql, parameters) = numbered(&query.sql).map_err(refused)?;
        if let Some(name) = query.parameters.keys().find(|name| !parameters.contains(&name.as_str())) {
            return Err(refused(format!("a parameter :{name} that the statement does not have")));
        }
        let checked = super::check::check_question(self.link(), &query.sql);
        self.answered(checked, refused)?;
        let limit = query.rows_max();
        let answered = self.wait(QUESTION_MAX, async {
            let client = &self.link().client;
            let prepared = client.prepare(&sql).await?;
            let columns: Vec<Column> = columns_of(&prepared);
            if columns.is_empty() {
                return Err(Unanswered::Refused("a statement that gives no rows".to_owned()));
            }
            let bind =
                |(name, kind): (&&str, &Type)| Param::asked(query.parameters.get(*name).unwrap_or(&Json::Null), kind);
            let params: Vec<Param> = parameters.iter().zip(prepared.params()).map(bind).collect();
            let names: Vec<String> = (0..columns.len()).map(|number| format!("c{number}")).collect();
            let shown: Vec<String> = names.iter().map(|name| format!("{name}::text")).collect();
            // As a part of a SELECT nothing but a SELECT is taken.
            let asked = format!(
                "select {} from (\n{sql}\n) asked ({}) limit {}",
                shown.join(", "),
                names.join(", "),
                limit + 1
            );
            let asked = client.prepare_typed(&asked, prepared.params()).await?;
            let mut found = std::pin::pin!(client.query_raw(&asked, params).await?);
            let kinds: Vec<&Type> = columns.iter().map(|column| &column.kind).collect();
            let (mut rows, mut bytes, mut is_cut) = (Vec::new(), 0, false);
            while let Some(row) = found.try_next().await? {
                if rows.len() == limit || bytes > BYTES_MAX {
                    is_cut = true;
                    break;
                }
                rows.push(named(&columns, values(&row, &kinds)?, &mut bytes)?);
            }
            let columns = columns.into_iter().map(|column| column.name).collect();
            Ok((columns, rows, is_cut))
        });
        let (columns, rows, is_cut) = self.answered(answered, refused)?;
        Ok(Rows { columns, rows, next: None, is_cut, position: self.position })
    }

    fn answered<T>(&self, answered: Result<T, Trouble>, refused: impl FnOnce(String) -> NotDone) -> Result<T, NotDone> {
        answered.map_err(|trouble| match trouble {
            Trouble::Said { code, text } if REFUSED.contains(&code) => refused(text),
            trouble if trouble.is(&SqlState::QUERY_CANCELED) || trouble.is_of_store() => {
                not_done(&self.schema, trouble)
            }
            trouble => refused(trouble.text()),
        })
    }

    /// A table, its columns, and whether a key tells its rows apart.
    fn describe(&self, name: &str) -> Result<(Table, Vec<Column>, bool), Trouble> {
        let sql = format!("select * from {}.{} limit 0", quoted(&self.schema.name), quoted(name));
        let prepared = self.ask(self.link().client.prepare(&sql))?;
        let columns = columns_of(&prepared);
        let sql = "select a.attname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                   join pg_index i on i.indrelid = c.oid and i.indisprimary, \
                   unnest(i.indkey) with ordinality k (number, place) join pg_attribute a on a.attnum = k.number \
                   where n.nspname = $1 and c.relname = $2 and a.attrelid = c.oid order by k.place";
        let key = self.ask(self.link().client.query(sql, &[&self.schema.name, &name]))?;
        let key: Vec<String> = key.iter().map(|row| row.get(0)).collect();
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let sql = "select c.relkind in ('v', 'p') from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                   where n.nspname = $1 and c.relname = $2";
        let has_no_places = self.ask(self.link().client.query_opt(sql, &[&self.schema.name, &name]))?;
        let is_keyed = !key.is_empty() || has_no_places.is_none_or(|row| row.get(0));
        // Rows that are alike in all columns are the same.
        let key = if key.is_empty() { names.clone() } else { key };
        Ok((Table { name: name.to_owned(), columns: names, key }, columns, is_keyed))
    }

    fn scan(
        &self,
        table: &Table,
        shown: &[&String],
        each: &mut dyn FnMut(&mut Next<'_>) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let broken = |trouble| self.schema.broken(trouble);
        let (_, columns, _) = self.describe(&table.name).map_err(broken)?;
        let kind = |name: &&String| {
            columns.iter().find(|column| column.name == **name).map_or(Type::TEXT, |of| of.kind.clone())
        };
        let kinds: Vec<Type> = shown.iter().map(kind).collect();
        let in_order = |column: &String| {
            let is_plain =
                [Type::BOOL, Type::INT2, Type::INT4, Type::INT8, Type::OID, Type::FLOAT4, Type::FLOAT8, Type::BYTEA]
                    .contains(&kind(&column));
            match is_plain {
                true => format!("t.{} nulls first", quoted(column)),
                false => format!("t.{}::text collate \"C\" nulls first", quoted(column)),
            }
        };
        let order: Vec<String> = table.key.iter().map(in_order).collect();
        let columns: Vec<String> = shown.iter().map(|column| format!("{}::text", quoted(column))).collect();
        let sql = format!(
            "select {} from {}.{} t order by {}",
            columns.join(", "),
            quoted(&self.schema.name),
            quoted(&table.name),
            order.join(", ")
        );
        let none: [Param; 0] = [];
        let found: RowStream = self.wait(SCAN_MAX, self.link().client.query_raw(sql.as_str(), none)).map_err(broken)?;
        let mut found = Box::pin(found);
        let kinds: Vec<&Type> = kinds.iter().collect();
        each(&mut || {
            let row = self.wait(SCAN_MAX, found.try_next()).map_err(broken)?;
            row.map(|row| values(&row, &kinds).map_err(broken)).transpose()
        })
    }
}

impl Tables for Reader {
    fn names(&self) -> Result<Vec<String>, Broken> {
        names(self.link(), &self.schema.name, false).map_err(|trouble| self.schema.broken(trouble))
    }

    fn table(&self, name: &str) -> Result<Table, Broken> {
        let described = self.describe(name).map_err(|trouble| self.schema.broken(trouble))?;
        Ok(described.0)
    }

    fn rows(
        &self,
        table: &Table,
        columns: &[&String],
        read: &mut dyn FnMut(&mut Next<'_>) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        self.scan(table, columns, read)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(link) = self.link.take() else { return };
        let is_clean = self.is_clean.get() && link.ask(link.client.batch_execute("rollback")).is_ok();
        self.schema.idle.give(is_clean.then_some(link));
    }
}

impl Idle {
    /// One that is there, or the place for one.
    fn take(&self) -> Result<Option<Link>, Trouble> {
        self.take_place()?;
        Ok(self.links.lock().idle.pop_front())
    }

    fn take_place(&self) -> Result<(), Trouble> {
        let (mut links, until) = (self.links.lock(), Instant::now() + TIME_MAX);
        while links.used >= LINKS_MAX {
            if self.freed.wait_until(&mut links, until).timed_out() {
                return Err(Trouble::Lost(format!("{LINKS_MAX} questions are being answered; try again later")));
            }
        }
        links.used += 1;
        Ok(())
    }

    /// It is not used any more, and may be used again if it is given back.
    fn give(&self, link: Option<Link>) {
        let mut links = self.links.lock();
        links.used -= 1;
        links.idle.extend(link);
        drop(links);
        self.freed.notify_one();
    }
}

/// The names of the tables of a schema, without ours.
pub(super) fn names(link: &Link, schema: &str, with_views: bool) -> Result<Vec<String>, Trouble> {
    let sql = "select c.relname::text collate \"C\" from pg_class c join pg_namespace n on n.oid = c.relnamespace \
               where n.nspname = $1 and not c.relispartition and c.relname <> $2 \
               and (c.relkind in ('r', 'p') or ($3 and c.relkind in ('v', 'm'))) order by 1";
    let rows = link.ask(link.client.query(sql, &[&schema, &OWN_TABLE, &with_views]))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Why a question has no answer.
enum Unanswered {
    Refused(String),
    Trouble(Trouble),
}

impl From<tokio_postgres::Error> for Unanswered {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<Trouble> for Unanswered {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// What we refuse ourselves is told from what the server says by a code that no error has.
impl From<Unanswered> for Trouble {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Refused(text) => Self::Said { code: SqlState::SUCCESSFUL_COMPLETION, text },
            Unanswered::Trouble(trouble) => trouble,
        }
    }
}

fn not_done(schema: &Schema, trouble: Trouble) -> NotDone {
    if trouble.is(&SqlState::QUERY_CANCELED) {
        return ReadModelRefusal::TooLong { limit_ms: TIME_MAX.as_millis() as u64 }.into();
    }
    NotDone::Failed { place: schema.to_string(), error: schema.broken(trouble).said }
}

fn columns_of(prepared: &Statement) -> Vec<Column> {
    let column = |of: &tokio_postgres::Column| Column { name: of.name().to_owned(), kind: of.type_().clone() };
    prepared.columns().iter().map(column).collect()
}

fn values(row: &tokio_postgres::Row, kinds: &[&Type]) -> Result<Vec<Value>, Trouble> {
    let value = |(number, kind): (usize, &&Type)| Ok(read(row.try_get(number)?, kind));
    kinds.iter().enumerate().map(value).collect()
}

/// A row as answers have it.
fn named(columns: &[Column], values: Vec<Value>, bytes: &mut usize) -> Result<Map<String, Json>, Unanswered> {
    let weight: usize = values.iter().map(Value::weight).sum();
    if weight > ROW_BYTES_MAX {
        return Err(Unanswered::Refused(row_too_large(weight)));
    }
    *bytes += weight + columns.iter().map(|column| column.name.len() + 16).sum::<usize>();
    Ok(columns.iter().zip(values).map(|(column, value)| (column.name.clone(), value.json())).collect())
}

/// SQL with numbered parameters, and their names.
fn numbered(sql: &str) -> Result<(String, Vec<&str>), String> {
    let (mut out, mut names, mut done): (String, Vec<&str>, usize) = (String::new(), Vec::new(), 0);
    for token in Tokens::of(sql) {
        let (at, token) = token.map_err(|invalid| invalid.to_string())?;
        if let Token::Parameter(name) = token {
            let number = names.iter().position(|other| *other == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
            out.push_str(&sql[done..at.start]);
            out.push_str(&format!("${}", number + 1));
            done = at.end;
        }
    }
    out.push_str(&sql[done..]);
    let end = out.trim_end().trim_end_matches(';').len();
    out.truncate(end);
    Ok((out, names))
}
