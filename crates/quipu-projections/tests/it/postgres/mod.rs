//! Read models in PostgreSQL, in a real server: what those in SQLite promise, and what only a database elsewhere can do wrong.

mod declare;
mod follow;
mod kill;
mod questions;
mod reach;
mod release;

use quipu_domain::projection::{Projection, ReadModelStore};
use serde_json::Value;

use crate::cluster::{Cluster, block_on};
use crate::support::{declared, orders};

/// The same declaration in PostgreSQL.
pub fn in_postgres(declaration: &Projection, cluster: &Cluster) -> Projection {
    let mut value = serde_json::to_value(declaration).unwrap();
    value["store"] = cluster.url_of("shop").into();
    declared(value)
}

/// A server, and the projection of the documentation in it.
pub fn orders_in_postgres() -> (Cluster, Projection) {
    let cluster = Cluster::start_on_port(&[]);
    let declaration = in_postgres(&orders(), &cluster);
    assert!(matches!(declaration.store, ReadModelStore::Postgres(_)));
    (cluster, declaration)
}

impl Cluster {
    /// What a question gives, row by row, each as JSON.
    pub fn ask(&self, sql: &str) -> Vec<Value> {
        let sql = format!("select to_json(asked)::text from ({sql}) asked");
        let rows = block_on(async { self.client().await.unwrap().query(&sql, &[]).await.unwrap() });
        rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect()
    }

    /// The schemas that are not PostgreSQL's own.
    pub fn schemas(&self) -> Vec<String> {
        let sql = "select nspname from pg_namespace where nspname !~ '^pg_' and nspname not in ('public', 'information_schema') order by 1";
        self.ask(sql).iter().map(|row| row["nspname"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until there are these and no others.
    pub fn until_schemas(&self, expected: &[&str]) {
        let until = std::time::Instant::now() + crate::support::LONG;
        while self.schemas() != expected {
            assert!(std::time::Instant::now() < until, "{:?}", self.schemas());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
