//! Projections in PostgreSQL, over a real server of it and a real server of Quipu.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::{ORDERS, dice, load_and_kill, run, run_with};
use crate::cluster::Cluster;
use crate::process::{Server, User};

const ALLOWED: [&str; 2] = ["--set", "database_allowed_hosts=127.0.0.1,localhost"];

/// As the other one, as PostgreSQL wants it.
fn orders(url: &str) -> String {
    let upsert = "on conflict (id) do update set n = orders.n + excluded.n, events = orders.events + 1";
    let (declaration, _) = ORDERS.split_once("on conflict").unwrap();
    format!("store: {url}\n{declaration}{upsert}\n")
}

fn serve(user: &User, data: &str) -> Server {
    user.serve(&[&["--data", data], &ALLOWED[..]].concat())
}

#[test]
fn a_projection_is_declared_with_its_password_and_asked() {
    let cluster = Cluster::start_on_port(&["password_encryption=scram-sha-256"]);
    cluster.sql("create role careful login password 'hunter2'; grant create on database postgres to careful");
    let hba = cluster.folder.path().join("postgres/data/pg_hba.conf");
    std::fs::write(&hba, "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n").unwrap();
    cluster.sql("select pg_reload_conf()");
    let user = User::new();
    let url = cluster.url_of("careful");
    let (file, password) = (user.write("orders.yaml", &orders(&url)), user.write("password", "hunter2\n"));
    let apply = ["projection", "apply", &file];
    let with_password = [&apply[..], &["--password-file", &password]].concat();

    // Which databases a server connects to, its operator says.
    let cautious = user.serve(&["--temporary"]);
    let refused = run(&user, &cautious, &with_password).ended(1).stderr;
    assert!(refused.contains("/store") && refused.contains("database_allowed_hosts, found 127.0.0.1"), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
    cautious.stop();

    let data = user.path("data");
    let server = serve(&user, &data);
    let said = "expected a PostgreSQL database that can be reached, found the database postgres at 127.0.0.1:";
    for _ in 0..600 {
        // Until the database has read its files.
        if run(&user, &server, &["projection", "check", &file]).stderr.contains(said) {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let refused = run(&user, &server, &apply).ended(1).stderr;
    assert!(refused.contains(said) && refused.contains("password"), "{refused}");
    let inside = user.write("inside.yaml", &orders(&url.replace("careful@", "careful:hunter2@")));
    let refused = run(&user, &server, &["projection", "apply", &inside]).ended(2).stderr;
    assert!(refused.contains("expected a URL without a password") && !refused.contains("hunter2"), "{refused}");

    let applied = run(&user, &server, &with_password).ok().stdout;
    assert_eq!(applied, "release 1 of orders answers, and takes events in\n");
    run_with(&user, &server, &["event", "publish", "-"], &crate::process::events(25)).ok();
    let rows = ["projection", "rows", "orders", "orders", "--at-least", "25", "--order", "-events,id"];
    let rows = run(&user, &server, &rows).ok().stdout;
    let table: Vec<Vec<&str>> = rows.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(table[1..], [["order/0", "45", "10"], ["order/1", "145", "10"], ["order/2", "110", "5"]]);
    run(&user, &server, &["projection", "verify", "orders"]).ok();
    let shown = run(&user, &server, &["projection", "show", "orders", "-o", "json"]).ok().stdout;
    assert!(shown.contains(&url) && !shown.contains("hunter2"), "{shown}");
    server.stop();
    // It is not asked for again, neither by a restart nor by the same declaration.
    let server = serve(&user, &data);
    assert!(run(&user, &server, &apply).ok().stdout.contains("nothing was changed"));
    let sql = ["projection", "sql", "orders", "select sum(n) as n from orders where events = :e", "--param", "e=10"];
    assert_eq!(run(&user, &server, &[&sql[..], &["-o", "json"]].concat()).ok().json()["rows"][0]["n"], 190);
    let holding = std::process::Command::new("grep").args(["-rl", "hunter2", &data]).output().unwrap().stdout;
    let holding = String::from_utf8(holding).unwrap();
    assert!(holding.lines().count() == 1 && holding.trim().ends_with("/secrets/databases.json"), "{holding}");
    assert_eq!(run(&user, &server, &["projection", "remove", "orders"]).ok().stdout, "orders was removed\n");
}

#[test]
fn whatever_is_killed_and_when_the_tables_are_those_of_a_rebuild() {
    const EVENTS: usize = 3_000;
    const ROUNDS: usize = 9;
    let mut cluster = Cluster::start_on_port(&[]);
    let user = User::new();
    let data = user.path("data");
    let file = user.write("orders.yaml", &orders(&cluster.url_of("shop")));
    run(&user, &serve(&user, &data), &["projection", "apply", &file]).ok();
    let mut seed = 20_261_123;
    for round in 0..ROUNDS {
        let server = serve(&user, &data);
        if round % 3 == 2 {
            cluster.crash(if round % 2 == 0 { Signal::KILL } else { Signal::QUIT });
        }
        load_and_kill(&user, server, 0, EVENTS * (round + 1) / ROUNDS, dice(&mut seed, 250));
    }
    let server = serve(&user, &data);
    run_with(&user, &server, &["event", "publish", "-"], &crate::process::events(EVENTS)).ok();
    let end = EVENTS.to_string();
    let sum = ["projection", "sql", "orders", "select sum(events)::integer as events from orders", "--at-least", &end];
    let sum = run(&user, &server, &[&sum[..], &["--wait-ms", "30000", "-o", "json"]].concat()).ok().json();
    assert_eq!((&sum["rows"][0]["events"], &sum["position"]), (&EVENTS.into(), &EVENTS.into()));
    let verified = run(&user, &server, &["projection", "verify", "orders"]).ok();
    assert!(verified.stderr.contains("is equal to the live read model at position 3000"), "{verified:?}");
}
