//! What a stranger may write into a declaration: it changes nothing but its own tables, ends, and comes out alike each time.

use quipu_domain::projection::Projection;
use quipu_projections::{NotDone, Phase, ReadModelRefusal, SqlQuery};
use serde_json::json;

use super::in_postgres;
use crate::cluster::Cluster;
use crate::support::{Shop, declared, event};

fn with_tables(tables: &str, cluster: &Cluster) -> Projection {
    let declaration = json!({ "projection": "p", "tables": tables, "on": { "x": "insert into t values (1)" } });
    in_postgres(&declared(declaration), cluster)
}

fn with_statement(sql: &str, cluster: &Cluster) -> Projection {
    let tables = "create table t (a text, b integer, at timestamptz); create view v as select a from t";
    in_postgres(&declared(json!({ "projection": "p", "tables": tables, "on": { "x": sql } })), cluster)
}

#[test]
fn tables_are_tables_and_nothing_else() {
    let cluster = Cluster::start_on_port(&[]);
    cluster.sql("create table public.theirs (a text primary key); create function public.now_too() returns timestamptz language sql as 'select now()'");
    let shop = Shop::open();
    for refused in [
        "create table public.t (a text)",
        "create table t (a text); insert into public.theirs values ('x')",
        "create table t (a text references public.theirs)",
        "create table t (a integer); create view v as select * from public.theirs",
        "create temp table t (a text)",
        "create unlogged table t (a text)",
        "create table t (a serial)",
        "create table t (a bigint generated always as identity)",
        "create table t (a text default gen_random_uuid())",
        "create table t (a timestamptz default now())",
        "create table t (a timestamptz default current_timestamp)",
        "create table t (a timestamptz default 'now')",
        "create table t (a timestamptz default public.now_too())",
        "create table t (a text); create function f() returns integer language sql as 'select 1'",
        "create table t (a text); commit",
        "create table t (a text); drop table t",
        "create table t (a text); set search_path = public",
        "create table t (a text); grant all on t to public",
        "create table t (a text); copy t from program 'id'",
        "create table t (a integer); alter table t set schema public",
        "create table _quipu (a text)",
        "create table \"_QUIPU_x\" (a text)",
        "create table a (id text primary key); create table t (a text references a deferrable initially deferred)",
        "create table t (a text); do $$ begin end $$",
        "create extension dblink",
        "create schema other",
        "create table t (a integer); comment on schema public is 'x'",
        "create type s as enum ('a')",
        "create table t (a text); create domain public.d as text",
        "create table t (a text); create type public.e as enum ('a')",
        "create type r as range (subtype = integer, multirange_type_name = public.m); create table t (a text)",
        "create table t (a text); -- \r commit; drop table public.theirs",
        "create table t (a text default E'a'\n'\\'); commit; drop table public.theirs; --')",
        "create table t (a text default 1 ` '); commit; drop table public.theirs; --' `)",
        "create table t (a text default $é$ ' $é$); commit; drop table public.theirs; --')",
        "create table t (a text default U&\"r\\0061ndom\"()::text)",
        "create table t (a text); create view v as select * from pg_stat_activity",
        "create table t (a text); create view v as select * from \"pg_catalog\".\"pg_user\"",
        "create table t (a text); create view v as select * from information_schema.tables",
        "create table t (a text); create view v as select table_to_xml('public.theirs', true, true, '') as x",
        "select 1",
        "create table",
        "",
    ] {
        let mut declaration = with_tables("create table t (a text)", &cluster);
        declaration.tables = refused.to_owned();
        let answer = shop.projections.apply(declaration);
        let is_refused = match refused {
            "" => matches!(answer, Err(NotDone::Engine(_))),
            _ => matches!(answer, Err(NotDone::Refused(ReadModelRefusal::Tables { .. }))),
        };
        assert!(is_refused, "{refused}: {answer:?}");
    }
    for reserved in ["sql", "releases", "skips", "resume", "verify", "verdicts", "baselines"] {
        let tables = format!("create table t (a text); create table {reserved} (a text)");
        let answer = shop.projections.apply(with_tables(&tables, &cluster));
        assert!(matches!(answer, Err(NotDone::Refused(ReadModelRefusal::ReservedTable { .. }))), "{answer:?}");
    }
    let mut long = with_tables("create table t (a text)", &cluster);
    long.name = "p".repeat(41);
    let answer = shop.projections.apply(long);
    assert!(matches!(answer, Err(NotDone::Refused(ReadModelRefusal::Store { .. }))), "{answer:?}");
    assert!(shop.projections.list().is_empty());
    assert_eq!((cluster.schemas(), cluster.ask("select * from public.theirs")), (vec![], vec![]));
    assert!(cluster.ask("select typname from pg_type where typname in ('d', 'e', 'm')").is_empty());
    for taken in [
        "-- a table;\r\ncreate table t (a text default 'x;y'); /* ; */ ; create index on t (a); -- the end;",
        "create type e as enum ('a.b'); create domain d as numeric check (value > 0.5); create table t (a integer, b e, c d);
         create view v as select t.a from t; comment on column t.a is 'of theirs; or ours'; insert into t values (1, 'a.b', 0.75)",
    ] {
        let declaration = with_tables(taken, &cluster);
        shop.projections.check(&declaration).unwrap_or_else(|refused| panic!("{taken}: {refused}"));
    }
}

#[test]
fn statements_change_tables_and_nothing_else() {
    let cluster = Cluster::start_on_port(&[]);
    cluster.sql("create table public.theirs (a text)");
    let shop = Shop::open();
    for refused in [
        "select a from t",
        "insert into t values ('1', 2) returning a",
        "with gone as (delete from t returning a) select a from gone",
        "insert into public.theirs values ('x')",
        "insert into t select a from public.theirs",
        "insert into t select relname from pg_class",
        "insert into t select name from pg_settings",
        "insert into t select usename from pg_catalog.pg_user",
        "update _quipu set position = 0",
        "create table u (a text)",
        "drop table t",
        "truncate t",
        "copy t from program 'id'",
        "insert into u values (1)",
        "insert into t values ('a', 1, null, 4)",
        "insert into t values (\"a\", 1)",
        "insert into t values (pg_notify('a', 'b')::text)",
        "insert into t values (set_config('search_path', 'public', false))",
        "insert into t values (pg_read_file('/etc/passwd'))",
        "commit",
        "savepoint a",
        "listen a",
        "set timezone = 'CET'",
        "call p()",
        "do 'begin end'",
        "insert into t values ('a') -- \r, (random()::text)",
        "insert into t values (E'a'\n'\\'), (random()::text) --')",
        "insert into t select `random()` from v",
        "insert into t values (U&\"r\\0061ndom\"()::text)",
        "insert into t values (u&'\\0061')",
        "insert into t (at) values ('n'\n'ow')",
        "update t set b = (array[1, 2])[1:n]",
        "update t set b = (array[1, 2])[:n]",
        "insert into t select typname from pg_type",
        "insert into t select query from pg_stat_get_activity(null)",
        "insert into t values (table_to_xml('public.theirs', true, true, '')::text)",
    ] {
        let answer = shop.projections.apply(with_statement(refused, &cluster));
        assert!(matches!(answer, Err(NotDone::Refused(ReadModelRefusal::Statement { .. }))), "{refused}: {answer:?}");
    }
    for taken in [
        "insert into t select :subject, :data.n, :time where not exists (select from v where a = :subject)",
        "with old as (select max(b) as b from t) update t set b = old.b + :data.n::integer from old where a = :subject",
        "delete from t where a = any(array['x', :subject]) and b @> :data.n is null",
        "merge into t using (select :subject::text as a) s on t.a = s.a when matched then update set b = b + 1",
        "update t set a = 'now or never', b = (date '2026-01-31' - date '2026-01-01')",
        "update t set b = (array[1, 2])[(:data.n)::integer]",
    ] {
        let mut declaration = with_statement(taken, &cluster);
        if taken.contains("@>") {
            declaration = with_statement("delete from t where array[a] @> array[:subject]", &cluster);
        }
        shop.projections.check(&declaration).unwrap_or_else(|refused| panic!("{taken}: {refused}"));
    }
    assert!(cluster.schemas().is_empty());
}

#[test]
fn what_comes_out_otherwise_each_time_is_found_and_named() {
    let cluster = Cluster::start_on_port(&[]);
    cluster.sql(
        "create function public.chance() returns integer language sql as 'select 4'; create sequence public.numbers",
    );
    let shop = Shop::open();
    for (sql, named) in [
        ("insert into t values (random()::text)", "random()"),
        ("insert into t values (RANDOM ( )::text)", "random()"),
        ("insert into t values (\"random\"()::text)", "random()"),
        ("insert into t values (pg_catalog.random()::text)", "random()"),
        ("insert into t values (gen_random_uuid()::text)", "gen_random_uuid()"),
        ("insert into t values (nextval('public.numbers')::text)", "nextval()"),
        ("insert into t values (clock_timestamp()::text)", "clock_timestamp()"),
        ("insert into t values (timeofday())", "timeofday()"),
        ("insert into t values (public.chance()::text)", "chance()"),
        ("insert into t (at) values (now())", "now()"),
        ("insert into t (at) values (statement_timestamp())", "statement_timestamp()"),
        ("insert into t (at) values (current_timestamp)", "current_timestamp"),
        ("insert into t (at) values (CURRENT_DATE)", "current_date"),
        ("insert into t (at) values (localtimestamp(0))", "localtimestamp"),
        ("insert into t (at) values ('now')", "'now'"),
        ("insert into t (at) values (timestamptz ' Tomorrow ')", "'Tomorrow'"),
        ("insert into t values (current_user)", "current_user"),
        ("insert into t values (version())", "version()"),
        ("insert into t values (current_setting('timezone'))", "current_setting()"),
        ("insert into t select a from t tablesample system (50)", "tablesample"),
        ("update t set b = 1 where ctid = '(0,1)'", "ctid"),
        ("insert into t select xmin::text from t", "xmin"),
        ("insert into t values (pg_backend_pid()::text)", "pg_backend_pid()"),
    ] {
        let refused = shop.projections.apply(with_statement(sql, &cluster)).unwrap_err();
        assert!(matches!(refused, NotDone::Refused(ReadModelRefusal::Statement { .. })), "{sql}: {refused:?}");
        let said = refused.to_string();
        assert!(said.contains(&format!(" {named}")) && said.contains(sql), "{sql}: {said}");
    }
}

#[test]
fn a_question_does_nothing_but_ask() {
    let cluster = Cluster::start_on_port(&[]);
    let shop = Shop::open();
    shop.projections.apply(with_statement("insert into t values (:subject)", &cluster)).unwrap();
    shop.publish_and_wait(&[event("x", 1, 1, json!({}))]);
    let ask = |sql: &str| {
        let sql = sql.to_owned();
        shop.projections.sql("p", &SqlQuery { sql, parameters: Default::default(), limit: 9 })
    };
    for (refused, named) in [
        ("select pg_cancel_backend(1)", "pg_cancel_backend"),
        ("select PG_Terminate_Backend (1)", "PG_Terminate_Backend"),
        ("select pg_advisory_lock(7)::text", "pg_advisory_lock"),
        ("select pg_sleep(1)::text", "pg_sleep"),
        ("select pg_read_file('/etc/passwd')", "pg_read_file"),
        ("select * from \"pg_stat_activity\"", "pg_stat_activity"),
        ("select table_name from information_schema.tables", "information_schema"),
        ("select set_config('search_path', 'public', false)", "set_config()"),
        ("select \"set_config\"('search_path', 'public', false)", "set_config()"),
        ("select lo_get(1)", "lo_get()"),
        ("select ts_stat('select 1')", "ts_stat()"),
        ("select query_to_xml('select 1', true, true, '')", "query_to_xml()"),
        ("select random()", "random()"),
        ("select U&\"r\\0061ndom\"()", "U&"),
        ("select 1 as a -- \r, random()", "carriage return"),
        ("select (array[1, 2])[1:n]", ":n"),
    ] {
        let answer = ask(refused);
        let Err(NotDone::Refused(ReadModelRefusal::Sql { error })) = answer else { panic!("{refused}: {answer:?}") };
        assert!(error.contains(named), "{refused}: {error}");
    }
    for taken in ["select a, now() as at, 'pg_class' as named from t", "select (array[a, 'x'])[1 : 1] as list from v"] {
        assert_eq!(ask(taken).unwrap().rows.len(), 1, "{taken}");
    }
}

#[test]
fn a_statement_that_does_not_end_stops_its_projection() {
    let cluster = Cluster::start_on_port(&[]);
    let shop = Shop::open();
    let endless = "insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < :data.n::bigint) select max(i)::text, 1 from n";
    shop.projections.apply(with_statement(endless, &cluster)).unwrap();
    let counting_to = |number: u64, to: u64| event("x", number, number, json!({ "n": to }));
    shop.publish_and_wait(&[counting_to(1, 1_000)]);
    shop.publish(&[counting_to(2, u64::from(u32::MAX))]);
    let stopped = shop.until("p", |release| matches!(release.phase, Phase::Stopped(_)));
    let Phase::Stopped(failed) = stopped.phase else { unreachable!() };
    assert!(failed.position == 2 && failed.error.contains("longer than 10000 ms"), "{failed:?}");
    assert_eq!(shop.rows("p", "t").len(), 1);
}
