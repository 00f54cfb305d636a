//! Whether a declaration can be one in PostgreSQL. Its tables are made in a schema of their own and its statements prepared against them, in
//! a transaction that is taken back. Which tables they touch is asked of the server, by the locks that they take; which functions they call
//! is read from their text and looked up. What comes out otherwise whenever it is done again and hides from that is found by a
//! verification.

use quipu_domain::projection::{Projection, Statement, Token, Tokens};

use super::link::{Link, Trouble};
use super::parameter::{CURRENT_TIME, is_current};
use super::{NAME_BYTES_MAX, Owner, Projected, read};
use crate::refusal::ReadModelRefusal;
use crate::table::{OWN_TABLE, check_names, quoted};

/// How the script that makes the tables may begin its statements.
const MAKING: [&[&str]; 12] = [
    &["create", "table"],
    &["create", "index"],
    &["create", "unique", "index"],
    &["create", "view"],
    &["create", "or", "replace", "view"],
    &["create", "type"],
    &["create", "domain"],
    &["comment", "on", "column"],
    &["comment", "on", "table"],
    &["comment", "on", "view"],
    &["alter", "table"],
    &["insert", "into"],
];
/// How a statement may begin.
const CHANGING: [&[&str]; 5] = [&["insert"], &["update"], &["delete"], &["merge"], &["with"]];
/// Words that stand for something that is another each time, or where a row is and when it came.
const NOT_DETERMINISTIC: [&str; 16] = [
    "cmax",
    "cmin",
    "ctid",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "tablesample",
    "xmax",
    "xmin",
];
/// Functions that PostgreSQL calls stable, and that are others in another transaction, session or server.
const NOT_STABLE: [&str; 16] = [
    "current_database",
    "current_setting",
    "now",
    "pg_backend_pid",
    "pg_current_snapshot",
    "pg_current_wal_lsn",
    "pg_is_in_recovery",
    "pg_postmaster_start_time",
    "pg_relation_size",
    "pg_snapshot_xmin",
    "pg_total_relation_size",
    "query_to_xml",
    "statement_timestamp",
    "transaction_timestamp",
    "txid_current_snapshot",
    "version",
];
/// Relations of the server that our own questions touch, since a driver asks for types.
const OF_TYPES: [&str; 5] = ["pg_attribute", "pg_enum", "pg_namespace", "pg_range", "pg_type"];

/// Looks whether a declaration can be one.
///
/// # Errors
/// What is wrong, and where; the database does not answer, or has something of that name that is not ours.
pub(crate) fn check(declaration: &Projection, projected: &Projected) -> Result<(), ReadModelRefusal> {
    let store = |error: String| ReadModelRefusal::Store { error };
    if declaration.name.len() > NAME_BYTES_MAX {
        let found = declaration.name.len();
        return Err(store(format!(
            "expected a projection in PostgreSQL to have a name of at most {NAME_BYTES_MAX} bytes, found {found}"
        )));
    }
    check_script(&declaration.tables)?;
    for (kind, reaction) in &declaration.on.0 {
        for statement in reaction.statements() {
            check_text(statement.text(), &CHANGING).map_err(|error| refused(kind, statement, error))?;
        }
    }
    let unreachable = |trouble: Trouble| {
        store(format!(
            "expected a PostgreSQL database that can be reached, found {}: {}",
            projected.url,
            trouble.text()
        ))
    };
    let link = projected.connect("pg_catalog").map_err(unreachable)?;
    check_owner(&link, projected)?;
    let schema: String =
        link.ask(link.client.query_one("select 'quipu_check_' || pg_backend_pid()", &[])).map_err(unreachable)?.get(0);
    let begin = format!(
        "begin; create schema {name}; set local search_path = {name}; set local statement_timeout = 10000",
        name = quoted(&schema)
    );
    link.ask(link.client.batch_execute(&begin)).map_err(unreachable)?;
    let checking = Checking { link: &link, schema: &schema };
    checking.tables(&declaration.tables)?;
    for (kind, reaction) in &declaration.on.0 {
        for statement in reaction.statements() {
            checking.statement(statement).map_err(|error| refused(kind, statement, error))?;
        }
    }
    // Whether it is taken back or the connection ends is the same.
    drop(link.ask(link.client.batch_execute("rollback")));
    Ok(())
}

fn refused(kind: &str, statement: &Statement, error: String) -> ReadModelRefusal {
    ReadModelRefusal::Statement { kind: kind.to_owned(), statement: statement.text().to_owned(), error }
}

/// Nothing of another owner is where this one would be.
fn check_owner(link: &Link, projected: &Projected) -> Result<(), ReadModelRefusal> {
    let found = || {
        let sql = "select nspname::text from pg_namespace where nspname = $1 or starts_with(nspname, $2) order by 1";
        let names = link.ask(link.client.query(sql, &[&projected.name(), &projected.prefix()]))?;
        for name in names.iter().map(|row| row.get::<_, String>(0)) {
            let is_of_us = name == projected.name() || projected.number(&name).is_some();
            if is_of_us && matches!(projected.owner(link, &name)?, Owner::Other) {
                return Ok(Some(name));
            }
        }
        Ok::<_, Trouble>(None)
    };
    match found() {
        Ok(None) => Ok(()),
        Ok(Some(name)) => Err(ReadModelRefusal::Store { error: projected.other(&name).text() }),
        Err(trouble) => Err(ReadModelRefusal::Store { error: trouble.text() }),
    }
}

/// The script, statement by statement, as far as its text tells.
fn check_script(script: &str) -> Result<(), ReadModelRefusal> {
    let tables = |error: String| ReadModelRefusal::Tables { error };
    let mut begin = 0;
    let mut statements = Vec::new();
    for token in Tokens::of(script) {
        if let (at, Token::Sign(b';')) = token.map_err(|invalid| tables(invalid.to_string()))? {
            statements.push(&script[begin..at.start]);
            begin = at.end;
        }
    }
    statements.push(&script[begin..]);
    let is_empty = |statement: &&&str| Tokens::of(statement).next().is_none();
    for statement in statements.iter().filter(|statement| !is_empty(statement)) {
        check_text(statement, &MAKING).map_err(tables)?;
    }
    Ok(())
}

/// What the text of one statement tells: how it begins, and whether something in it is another each time.
fn check_text(text: &str, beginnings: &[&[&str]]) -> Result<(), String> {
    let tokens = tokens(text)?;
    let begins = |words: &&[&str]| {
        let is = |(word, token): (&&str, &Token<'_>)| matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word));
        words.len() <= tokens.len() && words.iter().zip(&tokens).all(is)
    };
    if !beginnings.iter().any(begins) {
        let all: Vec<String> = beginnings.iter().map(|words| words.join(" ")).collect();
        return Err(format!("a statement that begins with none of {}", all.join(", ")));
    }
    for token in &tokens {
        match token {
            Token::Word(word) if is_of(&NOT_DETERMINISTIC, word) => {
                let word = word.to_ascii_lowercase();
                return Err(match word.contains("time") || word == "current_date" {
                    true => format!("it uses {word}: {CURRENT_TIME}"),
                    false => format!("it uses {word}, which differs whenever the read model is built again"),
                });
            }
            Token::Text(text) if is_current(text.trim()) => {
                return Err(format!("it has the text '{}', which may stand for a time: {CURRENT_TIME}", text.trim()));
            }
            _ => {}
        }
    }
    let called = called(&tokens);
    if let Some(name) = called.iter().find(|name| is_of(&NOT_STABLE, name)) {
        return Err(match name.contains("time") || name == "now" {
            true => format!("it uses {name}(): {CURRENT_TIME}"),
            false => format!("it uses {name}(), whose value differs whenever the read model is built again"),
        });
    }
    Ok(())
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    Tokens::of(text)
        .map(|token| token.map(|(_, token)| token))
        .collect::<Result<_, _>>()
        .map_err(|invalid| invalid.to_string())
}

/// The names before an opening bracket: functions, and some that are none.
fn called(tokens: &[Token<'_>]) -> Vec<String> {
    let name = |pair: &[Token<'_>]| match pair {
        [Token::Word(name), Token::Sign(b'(')] => Some(name.to_ascii_lowercase()),
        [Token::Name(name), Token::Sign(b'(')] => Some(name.replace("\"\"", "\"")),
        _ => None,
    };
    tokens.windows(2).filter_map(name).collect()
}

fn is_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|other| name.eq_ignore_ascii_case(other))
}

struct Checking<'a> {
    link: &'a Link,
    /// With the tables in it.
    schema: &'a str,
}

impl Checking<'_> {
    fn tables(&self, script: &str) -> Result<(), ReadModelRefusal> {
        let refused = |error: String| ReadModelRefusal::Tables { error };
        let of = |trouble: Trouble| refused(trouble.text());
        self.aside(|| self.functions(script).map_err(Trouble::Lost)).map_err(of)?;
        self.link.ask(self.link.client.batch_execute(script)).map_err(of)?;
        let (foreign, wrong, tables) = self
            .aside(|| {
                let foreign = self.foreign(&self.touched()?, true)?;
                Ok((foreign, self.wrong_relation()?, read::names(self.link, self.schema, false)?))
            })
            .map_err(of)?;
        if let Some(name) = foreign {
            return Err(refused(format!("{name}, which is not of the read model")));
        }
        match wrong {
            Some(wrong) => Err(refused(wrong)),
            None => check_names(&tables),
        }
    }

    /// Asks something, and gives back the locks that this takes: what a statement touches would not be told from it.
    fn aside<T>(&self, ask: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
        self.link.ask(self.link.client.batch_execute("savepoint aside"))?;
        let answer = ask()?;
        self.link.ask(self.link.client.batch_execute("rollback to savepoint aside"))?;
        Ok(answer)
    }

    /// What no read model may have, of what the script made.
    fn wrong_relation(&self) -> Result<Option<String>, Trouble> {
        let sql = "select c.relname::text, c.relkind = 'S', c.relpersistence <> 'p', starts_with(lower(c.relname), $2), \
                   exists (select from pg_constraint k where k.conrelid = c.oid and k.condeferred) \
                   from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 order by 1";
        let rows = self.link.ask(self.link.client.query(sql, &[&self.schema, &OWN_TABLE]))?;
        Ok(rows.iter().find_map(|row| {
            let name: String = row.get(0);
            let is = |number: usize| row.get::<_, bool>(number);
            match () {
                () if is(1) => Some(format!(
                    "the sequence {name}, whose numbers have other gaps whenever the read model is built again; use :position or :streamversion"
                )),
                () if is(2) => Some(format!("{name}, which a crash of the database empties; let it be logged")),
                () if is(3) => Some(format!("{name}, a name that is ours; rename it")),
                () if is(4) => Some(format!("{name} with a key that is held back (initially deferred); let keys be checked at once")),
                () => None,
            }
        }))
    }

    fn statement(&self, statement: &Statement) -> Result<(), String> {
        let of = |trouble: Trouble| trouble.text();
        self.aside(|| self.functions(statement.text()).map_err(Trouble::Lost)).map_err(of)?;
        let (sql, _) = statement.place_by_place();
        let checked = self.aside(|| {
            let before = self.touched()?;
            let prepared = self.link.ask(self.link.client.prepare(&sql))?;
            let mut touched = self.touched()?;
            touched.retain(|relation| !before.contains(relation));
            Ok((self.foreign(&touched, false)?, prepared.columns().is_empty()))
        });
        match checked.map_err(of)? {
            (Some(name), _) => Err(format!("{name}, which is not of the read model")),
            (None, false) => Err("it gives rows".to_owned()),
            (None, true) => Ok(()),
        }
    }

    /// Whether a function of those that a text calls may be another each time it is called.
    fn functions(&self, text: &str) -> Result<(), String> {
        let called = called(&tokens(text)?);
        let sql = "select proname::text from pg_proc where proname = any($1) and provolatile = 'v' order by 1 limit 1";
        let found = self.link.ask(self.link.client.query_opt(sql, &[&called])).map_err(|trouble| trouble.text())?;
        match found.map(|row| row.get::<_, String>(0)) {
            None => Ok(()),
            Some(name) => Err(format!(
                "it uses {name}(), whose value differs whenever the read model is built again, or which does more than give one (it is volatile)"
            )),
        }
    }

    /// The relations that the transaction has touched. It is asked of a function, which touches none.
    fn touched(&self) -> Result<Vec<u32>, Trouble> {
        let sql = "select distinct relation from pg_lock_status() where pid = pg_backend_pid() and locktype = 'relation' \
                   and relation is not null";
        let rows = self.link.ask(self.link.client.query(sql, &[]))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// The first of these that is not of the read model.
    fn foreign(&self, touched: &[u32], may_use_catalog: bool) -> Result<Option<String>, Trouble> {
        let sql = "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                   left join pg_index i on i.indexrelid = c.oid left join pg_class t on t.oid = i.indrelid \
                   where c.oid = any($1) and n.nspname not in ($2, 'pg_toast') \
                   and not (n.nspname = 'pg_catalog' and ($3 or coalesce(t.relname, c.relname) = any($4))) order by 1 limit 1";
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&touched, &self.schema, &may_use_catalog, &&OF_TYPES[..]];
        let found = self.link.ask(self.link.client.query_opt(sql, &params))?;
        Ok(found.map(|row| row.get(0)))
    }
}
