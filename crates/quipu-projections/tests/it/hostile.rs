//! What a stranger may write into a declaration: it reaches nothing but its own tables, ends, and comes out alike each time.

use quipu_projections::{NotDone, Phase, ReadModelRefusal};
use serde_json::json;

use crate::support::{Shop, declared, event, placed};

fn with_tables(tables: &str) -> quipu_domain::projection::Projection {
    declared(json!({ "projection": "p", "tables": tables, "on": { "x": "insert into t values (1)" } }))
}

fn with_statement(sql: &str) -> quipu_domain::projection::Projection {
    declared(json!({ "projection": "p", "tables": "create table t (a, b)", "on": { "order.placed": sql } }))
}

#[test]
fn tables_are_tables_and_nothing_else() {
    let shop = Shop::open();
    for refused in [
        "attach 'x' as x",
        "create table t (a); pragma journal_mode = off",
        "create temp table t (a)",
        "create virtual table t using fts5(a)",
        "create table t (a); create trigger x after insert on t begin delete from t; end",
        "create table _quipu (a)",
        "create table _QUIPU_x (a)",
        "create table t (a); commit",
        "create table t (a); drop table t",
        "create table t (a default (random()))",
        "create table t (a default current_timestamp); insert into t default values",
        "select 1",
        "create view v as select 1",
        "create table",
        "create table t (a); insert into sqlite_master values (1,2,3,4,5)",
        "vacuum into 'x'",
        "create table a (id primary key); create table t (b references a deferrable  initially deferred)",
    ] {
        let answer = shop.projections.apply(with_tables(refused));
        assert!(matches!(answer, Err(NotDone::Refused(ReadModelRefusal::Tables { .. }))), "{refused}: {answer:?}");
    }
    for reserved in ["sql", "Releases", "skips", "resume", "Verify", "verdicts", "baselines"] {
        let answer = shop.projections.apply(with_tables(&format!("create table t (a); create table {reserved} (a)")));
        assert!(
            matches!(answer, Err(NotDone::Refused(ReadModelRefusal::ReservedTable { .. }))),
            "{reserved}: {answer:?}"
        );
    }
    assert!(shop.projections.list().is_empty());
}

#[test]
fn statements_change_tables_and_nothing_else() {
    let shop = Shop::open();
    for refused in [
        "select a from t",
        "insert into t values (1, 2) returning a",
        "attach 'x' as x",
        "pragma user_version = 1",
        "create table u (a)",
        "drop table t",
        "update _quipu set position = 0",
        "insert into t select position, 1 from _quipu",
        "insert into t select name, 1 from sqlite_master",
        "insert into t values (load_extension('x'), 1)",
        "insert into t values (readfile('/etc/passwd'), 1)",
        "insert into u values (1)",
        "insert into t values (1)",
        "commit",
        "savepoint a",
        "vacuum",
        "analyze",
        "insert into t values (\"a\", 1)",
    ] {
        let answer = shop.projections.apply(with_statement(refused));
        assert!(matches!(answer, Err(NotDone::Refused(ReadModelRefusal::Statement { .. }))), "{refused}: {answer:?}");
    }
}

#[test]
fn what_comes_out_otherwise_each_time_is_found_and_named() {
    let shop = Shop::open();
    for (sql, named) in [
        ("insert into t values (random(), 1)", "random()"),
        ("insert into t values (hex(randomblob(8)), 1)", "randomblob()"),
        ("insert into t values (current_timestamp, 1)", "current_timestamp"),
        ("insert into t values (CURRENT_DATE, 1)", "current_date"),
        ("insert into t values (datetime('now'), 1)", "current time"),
        ("insert into t values (date(), 1)", "current time"),
        ("insert into t values (strftime('%s'), 1)", "current time"),
        ("insert into t values (strftime('%s', 'NOW'), 1)", "current time"),
        ("insert into t values (unixepoch('subsec'), 1)", "current time"),
        ("insert into t values (timediff('2026-01-01', 'now'), 1)", "current time"),
        ("insert into t values (datetime('2026-01-01', 'localtime'), 1)", "time zone"),
        ("insert into t values (sqlite_version(), 1)", "sqlite_version()"),
        ("update t set a = changes()", "changes()"),
        ("insert into t values (last_insert_rowid(), 1)", "last_insert_rowid()"),
        ("insert into t values (datetime(cast('now' as blob)), 1)", "current time"),
        ("insert into t values (datetime(cast(x'6e6f770041' as text)), 1)", "current time"),
        ("insert into t values (timediff('2026-01-01', 'subsec'), 1)", "current time"),
    ] {
        let refused = shop.projections.apply(with_statement(sql)).unwrap_err().to_string();
        assert!(refused.contains(named) && refused.contains(sql), "{sql}: {refused}");
    }
    // What an event says is found when it comes.
    shop.projections.apply(with_statement("insert into t values (date(:data.when), 1)")).unwrap();
    let at = |number: u64, when: &str| event("order.placed", number, number, json!({"when": when}));
    shop.publish_and_wait(&[at(1, "2026-01-31T23:00:00Z")]);
    assert_eq!(shop.rows("p", "t")[0]["a"], "2026-01-31");
    shop.publish(&[at(2, "now")]);
    let stopped = shop.until("p", |release| matches!(release.phase, Phase::Stopped(_)));
    let Phase::Stopped(failed) = stopped.phase else { unreachable!() };
    assert!(failed.position == 2 && failed.error.contains("current time"), "{failed:?}");
}

#[test]
fn a_statement_that_does_not_end_stops_its_projection() {
    let shop = Shop::open();
    let endless = "insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < :data.n) select max(i), 1 from n";
    shop.projections.apply(with_statement(endless)).unwrap();
    let counting_to = |number: u64, to: u64| event("order.placed", number, number, json!({ "n": to }));
    shop.publish_and_wait(&[counting_to(1, 1_000)]);
    shop.publish(&[counting_to(2, u64::from(u32::MAX))]);
    let stopped = shop.until("p", |release| matches!(release.phase, Phase::Stopped(_)));
    let Phase::Stopped(failed) = stopped.phase else { unreachable!() };
    assert!(failed.error.contains("steps"), "{failed:?}");
    assert_eq!(shop.rows("p", "t").len(), 1);
}

#[test]
fn a_pattern_that_would_be_compared_for_minutes_is_refused() {
    let shop = Shop::open();
    shop.projections.apply(with_statement("insert into t values (:data.text like :data.pattern, 1)")).unwrap();
    let like = |number: u64, stars: usize| {
        let (text, pattern) = ("a".repeat(200_000), "%a".repeat(stars) + "b");
        event("order.placed", number, number, json!({ "text": text, "pattern": pattern }))
    };
    shop.publish_and_wait(&[like(1, 100)]);
    shop.publish(&[like(2, 1_000)]);
    let stopped = shop.until("p", |release| matches!(release.phase, Phase::Stopped(_)));
    let Phase::Stopped(failed) = stopped.phase else { unreachable!() };
    assert!(failed.error.contains("pattern too complex"), "{failed:?}");
}

#[test]
fn texts_that_would_be_held_against_each_other_for_minutes_are_refused() {
    let shop = Shop::open();
    shop.projections
        .apply(with_statement("insert into t values (instr(:data.text, :data.part), replace('aXb', 'X', '-'))"))
        .unwrap();
    let of = |number: u64, text: usize, part: usize| {
        let data = json!({ "text": "a".repeat(text) + "b", "part": "a".repeat(part) + "b" });
        event("order.placed", number, number, data)
    };
    shop.publish_and_wait(&[of(1, 100, 10)]);
    let row = &shop.rows("p", "t")[0];
    assert_eq!((&row["a"], &row["b"]), (&json!(91), &json!("a-b")));
    shop.publish(&[of(2, 200_000, 100_000)]);
    let stopped = shop.until("p", |release| matches!(release.phase, Phase::Stopped(_)));
    let Phase::Stopped(failed) = stopped.phase else { unreachable!() };
    assert!(failed.error.contains("too much against too much"), "{failed:?}");
}

#[test]
fn a_read_model_grows_no_further_than_its_tenant_may() {
    let shop = Shop::open();
    // Each event doubles the rows.
    let doubling = declared(json!({
        "projection": "p", "tables": "create table t (a); insert into t values (1)",
        "on": { "order.placed": "insert into t select zeroblob(20000) from t" }
    }));
    let quotas = quipu_domain::Quotas { storage_bytes: std::num::NonZeroU64::new(4 << 20), ..Default::default() };
    shop.engine.set_tenant_quotas("shop", quotas).unwrap();
    shop.projections.apply(doubling).unwrap();
    let events: Vec<_> = (1..30).map(placed).collect();
    shop.publish(&events);
    let failing = shop.until("p", |release| matches!(release.phase, Phase::Failing { .. }));
    let Phase::Failing { error } = &failing.phase else { unreachable!() };
    assert!(error.contains("full"), "{error}");
    assert!(failing.bytes < 32 << 20, "{failing:?}");
}
