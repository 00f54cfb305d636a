//! Whether a declaration can be one in PostgreSQL. Its tables are made in a schema of their own and its statements prepared against them, in
//! a transaction that is taken back. Which tables they touch is asked of the server, by the locks that they take; which functions they call
//! is read from their text and looked up. What comes out otherwise whenever it is done again and hides from that is found by a
//! verification.

use std::ops::Range;
use std::time::Duration;

use quipu_domain::projection::{Projection, Statement, Token, Tokens};
use tokio_postgres::error::SqlState;

use super::link::{ANSWER_MAX, Link, Trouble};
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

/// Runs the script that makes tables, altogether within this time. Each statement is sent by itself, as one that has parameters: the server
/// takes no more than one then, wherever we think that it ends, and so none that was not looked at, such as a COMMIT.
pub(super) fn run_script(link: &Link, time: Duration, script: &str) -> Result<(), Trouble> {
    let no_sql = |text| Trouble::Said { code: SqlState::SYNTAX_ERROR, text };
    let statements = statements(script).map_err(no_sql)?;
    link.wait(time, async {
        for statement in statements {
            link.client.execute(statement, &[]).await?;
        }
        Ok::<_, tokio_postgres::Error>(())
    })
}

/// Looks whether a question, which is asked in a transaction that changes nothing, does nothing else either: it waits for nobody, stops
/// nobody, and reads no files and nothing of the server's own.
///
/// # Errors
/// What is wrong, with the code of what we refuse ourselves, `SUCCESSFUL_COMPLETION`; the database does not answer.
pub(super) fn check_question(link: &Link, sql: &str) -> Result<(), Trouble> {
    let refused = |text| Trouble::Said { code: SqlState::SUCCESSFUL_COMPLETION, text };
    let tokens = tokens(sql).map_err(refused)?;
    check_names_of_server(&tokens).map_err(refused)?;
    match volatile(link, &tokens)? {
        None => Ok(()),
        Some(name) => Err(refused(format!(
            "it uses {name}(), which may do more than give a value, or gives another each time, as random() does (it is volatile); ask \
             without it"
        ))),
    }
}

/// The statements of a script, without those that are none.
fn statements(script: &str) -> Result<Vec<&str>, String> {
    let (mut begin, mut has_some, mut statements) = (0, false, Vec::new());
    for (at, token) in places(script)? {
        if token == Token::Sign(b';') {
            statements.extend(has_some.then(|| &script[begin..at.start]));
            (begin, has_some) = (at.end, false);
        } else {
            has_some = true;
        }
    }
    statements.extend(has_some.then(|| &script[begin..]));
    Ok(statements)
}

/// The script, statement by statement, as far as its text tells.
fn check_script(script: &str) -> Result<(), ReadModelRefusal> {
    let tables = |error: String| ReadModelRefusal::Tables { error };
    for statement in statements(script).map_err(tables)? {
        check_text(statement, &MAKING).map_err(tables)?;
        let tokens = tokens(statement).map_err(tables)?;
        check_made_name(&tokens).map_err(tables)?;
        // What views are of, too: whoever asks a view asks that.
        check_names_of_server(&tokens).map_err(tables)?;
    }
    Ok(())
}

/// What is made has a name without a schema, which would be another one. Tables and views are told by their locks as well; types have none.
fn check_made_name(tokens: &[Token<'_>]) -> Result<(), String> {
    let is = |token: &Token<'_>, words: &[&str]| matches!(token, Token::Word(word) if is_of(words, word));
    let is_kind = |token: &Token<'_>| is(token, &["table", "index", "view", "type", "domain"]);
    let (Some(first), Some(kind)) = (tokens.first(), tokens.iter().position(is_kind)) else { return Ok(()) };
    if !is(first, &["create"]) {
        return Ok(());
    }
    let between = ["concurrently", "if", "not", "exists"];
    let name = tokens[kind + 1..].iter().skip_while(|token| is(token, &between));
    let has_schema = match is(&tokens[kind], &["type"]) {
        // There are no expressions in it, but other names: that of a multirange is made, too.
        true => tokens.contains(&Token::Sign(b'.')),
        false => name.skip(1).take(1).any(|token| *token == Token::Sign(b'.')),
    };
    match has_schema {
        true => {
            Err("a name with a schema; write the name alone: everything is made in the read model's own schema"
                .to_owned())
        }
        false => Ok(()),
    }
}

/// Nothing of the server's own is named: its catalog, its views, its functions, or functions that read what stands in a text.
fn check_names_of_server(tokens: &[Token<'_>]) -> Result<(), String> {
    let is_of_server = |name: &str| {
        name.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("pg_"))
            || name.eq_ignore_ascii_case("information_schema")
    };
    let mut names = tokens.iter().filter_map(|token| match token {
        Token::Word(name) | Token::Name(name) => Some(*name),
        _ => None,
    });
    if let Some(name) = names.find(|name| is_of_server(name)) {
        return Err(format!(
            "the name {name}, which is the server's own; use the tables of the read model only, and functions without pg_catalog before \
             them, and rename what is yours"
        ));
    }
    let reads_anything = |name: &&String| name.contains("_to_xml") && !name.starts_with("xml");
    match called(tokens).iter().find(reads_anything) {
        Some(name) => Err(format!("it uses {name}(), which reads what a text names; name the tables in SQL")),
        None => Ok(()),
    }
}

/// The first function of those that a text calls that may be another each time it is called, or does more than give a value.
fn volatile(link: &Link, tokens: &[Token<'_>]) -> Result<Option<String>, Trouble> {
    let called = called(tokens);
    let sql =
        "select proname::text from pg_catalog.pg_proc where proname = any($1) and provolatile = 'v' order by 1 limit 1";
    let found = link.ask(link.client.query_opt(sql, &[&called]))?;
    Ok(found.map(|row| row.get(0)))
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
    Ok(places(text)?.into_iter().map(|(_, token)| token).collect())
}

/// The pieces of a text and where they stand. What PostgreSQL reads otherwise than we do is refused: something could hide in it.
fn places(text: &str) -> Result<Vec<(Range<usize>, Token<'_>)>, String> {
    let refused = |found: &str| Err(found.to_owned());
    // It ends a comment for the server.
    if text.bytes().zip(text.bytes().skip(1).chain([b'\n'])).any(|(byte, next)| byte == b'\r' && next != b'\n') {
        return refused("a carriage return without a line feed behind it; end lines with \\n or \\r\\n");
    }
    let tokens: Vec<(Range<usize>, Token<'_>)> =
        Tokens::of(text).collect::<Result<_, _>>().map_err(|invalid| invalid.to_string())?;
    // Whether the square brackets that are open are behind a value.
    let mut subscripts = Vec::new();
    for (number, (at, token)) in tokens.iter().enumerate() {
        let before = number.checked_sub(1).map(|number| &tokens[number]);
        let is_adjacent = before.is_some_and(|(before, _)| before.end == at.start);
        let before = before.map(|(_, token)| token);
        let is_behind_value = match before {
            Some(Token::Word(word)) => !word.eq_ignore_ascii_case("array"),
            Some(Token::Sign(sign)) => b")]".contains(sign),
            before => before.is_some(),
        };
        match token {
            Token::Name(_) if text.as_bytes()[at.start] == b'`' => {
                return refused("a backtick, which is an operator in PostgreSQL; write names in double quotes");
            }
            // On another line it goes on with the first, and with its backslashes.
            Token::Text(_) if matches!(before, Some(Token::Text(_))) => {
                return refused("a text directly behind another; write both as one, or || between them");
            }
            Token::Text(_) | Token::Name(_) if is_adjacent => {
                let name = |number: usize| match tokens.get(number) {
                    Some((_, Token::Word(word))) => *word,
                    _ => "",
                };
                let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
                // A number ends where older servers see a letter: 1e'…' is 1 and a text with backslashes.
                if name(number - 1).starts_with(|first: char| first.is_ascii_digit()) {
                    return refused("a quote directly behind a number; write a space between them");
                }
                let behind = number.checked_sub(2).filter(|word| tokens[*word].0.end == tokens[number - 1].0.start);
                let word = behind.map_or("", name);
                if before == Some(&Token::Sign(b'&')) && word.strip_suffix(['u', 'U']).is_some_and(is_number) {
                    return refused(
                        "U& before a quote, which hides what stands in it; write the characters themselves",
                    );
                }
            }
            Token::Sign(b'[') => subscripts.push(is_behind_value),
            Token::Sign(b']') => drop(subscripts.pop()),
            Token::Parameter(name)
                if subscripts.last() == Some(&true) && (is_behind_value || before == Some(&Token::Sign(b'['))) =>
            {
                return Err(format!(
                    ":{name} in square brackets, which may be a parameter or the end of a slice; write (:{name}) for the parameter, and a \
                     space behind the colon for a slice"
                ));
            }
            _ => {}
        }
    }
    Ok(tokens)
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
        run_script(self.link, ANSWER_MAX, script).map_err(of)?;
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
        check_names_of_server(&tokens(statement.text())?)?;
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
        match volatile(self.link, &tokens(text)?).map_err(|trouble| trouble.text())? {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_reads_otherwise_is_refused() {
        for (sql, named) in [
            ("select 1 -- a\r, random()", "carriage return"),
            ("select 1 -- a\r\r\n", "carriage return"),
            ("select e'a'\n'\\', random() --'", "directly behind another"),
            ("select 'n' -- a\n'ow'", "directly behind another"),
            ("select `; commit; --`", "backtick"),
            ("select 1e'\\', random() --'", "behind a number"),
            ("select U&\"r\\0061ndom\"()", "U&"),
            ("select u&'\\0061'", "U&"),
            ("select 1u&'\\0061'", "U&"),
            ("select a[1:n]", ":n in square brackets"),
            ("select a[:n]", ":n in square brackets"),
            ("select (a)[b:n]", ":n in square brackets"),
            ("select a[b[1]:n]", ":n in square brackets"),
            ("select $é$ ' $é$, random(), $é$ ' $é$", "named parameters"),
            ("select 'a", "an end of a quote"),
        ] {
            let refused = tokens(sql).unwrap_err();
            assert!(refused.contains(named), "{sql}: {refused}");
        }
        for taken in [
            "select 1 -- a\r\n, 2 /* b\r\n */\r\n",
            "select 1 -- a\r",
            "select e'a\\'b', 'c' || 'd', \"e\"",
            "select a & 'b', u & 'c', menu&'d', 1 'e'",
            "select a[1 : n], a[(:n)], a[1 : (:n)], a[1 + :n], a[f(b, :n)]",
            "select array[:a, :b], array[[:a], [:b]], ARRAY [ :a ]",
        ] {
            assert!(tokens(taken).is_ok(), "{taken}: {:?}", tokens(taken));
        }
    }

    #[test]
    fn a_script_is_taken_apart() {
        let script = "-- a;\ncreate table t (a text default 'b;c'); /* ; */ ;; create index on t (\";\") ; -- end;";
        assert_eq!(
            statements(script).unwrap(),
            ["-- a;\ncreate table t (a text default 'b;c')", " create index on t (\";\") "]
        );
        assert!(statements(" ; -- none").unwrap().is_empty());
        assert!(statements("create table t (a text) -- \r; commit").is_err());
    }

    #[test]
    fn what_is_made_is_made_in_its_own_schema() {
        for refused in [
            "create domain public.d as text",
            "create type public.e as enum ('a')",
            "create type public . e",
            "create type \"public\".\"e\" as enum ('a')",
            "create type r as range (subtype = integer, multirange_type_name = public.m)",
            "create table if not exists public.t (a text)",
            "create unique index concurrently if not exists public.i on t (a)",
            "create or replace view public.v as select 1",
        ] {
            assert!(check_made_name(&tokens(refused).unwrap()).is_err(), "{refused}");
        }
        for taken in [
            "create domain d as numeric check (value > 0.5)",
            "create type e as enum ('a.b')",
            "create table t (a numeric default 0.5)",
            "create view v as select t.a from t",
            "create index on t (a)",
            "comment on column t.a is 'b'",
        ] {
            assert_eq!(check_made_name(&tokens(taken).unwrap()), Ok(()), "{taken}");
        }
    }

    #[test]
    fn nothing_of_the_server_is_named() {
        for refused in [
            "select * from pg_stat_activity",
            "select * from PG_CATALOG.x",
            "select * from \"pg_authid\"",
            "select * from Information_Schema.tables",
            "select pg_cancel_backend(1), pg_sleep(60)",
            "select table_to_xml('a', true, true, '')",
            "select query_to_xml_and_xmlschema('select 1', true, true, '')",
        ] {
            assert!(check_names_of_server(&tokens(refused).unwrap()).is_err(), "{refused}");
        }
        for taken in ["select 'pg_class', pgs, a_pg_b, :pg_a, é", "select now(), count(*), xmlelement(name a) from t"]
        {
            assert_eq!(check_names_of_server(&tokens(taken).unwrap()), Ok(()), "{taken}");
        }
    }
}
