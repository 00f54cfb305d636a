//! The layer of web applications, over real sockets and a real database: a request's changes and events are there when its answer is a
//! success, and never otherwise.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Router};
use deadpool_postgres::{Manager, Pool};
use quipu::Event;
use quipu::outbox::layer::{Changes, NoTransaction, OutboxLayer};
use tokio::sync::Notify;
use tokio_postgres::NoTls;

use super::{Shop, until};
use crate::process::DEADLINE;

/// An application with one connection: a request that leaves it unusable leaves none to the next.
struct Application {
    address: SocketAddr,
    pool: Pool,
    begun: Arc<Notify>,
    runtime: tokio::runtime::Runtime,
}

fn failed(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// Places an order and says so.
async fn place(changes: &Changes, id: &'static str) -> Result<(), NoTransaction> {
    let insert = "INSERT INTO orders (id) VALUES ($1)";
    changes.transaction().await?.execute(insert, &[&id]).await?;
    let placed = Event::builder(id, "/shop", "order.placed").subject(format!("order/{id}")).build().unwrap();
    changes.publish(&placed).await
}

async fn placed(Extension(changes): Extension<Changes>) -> Result<&'static str, (StatusCode, String)> {
    place(&changes, "placed").await.map_err(failed)?;
    Ok("done")
}

async fn refused(Extension(changes): Extension<Changes>) -> Result<StatusCode, (StatusCode, String)> {
    place(&changes, "refused").await.map_err(failed)?;
    Ok(StatusCode::CONFLICT)
}

async fn panicked(Extension(changes): Extension<Changes>) -> &'static str {
    place(&changes, "panicked").await.unwrap();
    panic!("a mistake in a handler")
}

async fn endless(Extension(changes): Extension<Changes>, State(begun): State<Arc<Notify>>) -> &'static str {
    place(&changes, "endless").await.unwrap();
    begun.notify_one();
    std::future::pending().await
}

/// Passes over that a statement has failed.
async fn careless(Extension(changes): Extension<Changes>) -> &'static str {
    place(&changes, "careless").await.unwrap();
    changes.transaction().await.unwrap().execute("SELECT 1 / 0", &[]).await.unwrap_err();
    "all is well"
}

/// What is wrong shows at the commit.
async fn deferred(Extension(changes): Extension<Changes>) -> &'static str {
    place(&changes, "deferred").await.unwrap();
    let insert = "INSERT INTO lines (of_order) VALUES ('nobody')";
    changes.transaction().await.unwrap().execute(insert, &[]).await.unwrap();
    "all is well"
}

/// Somebody keeps the transaction for later.
async fn late(Extension(changes): Extension<Changes>, State(begun): State<Arc<Notify>>) -> &'static str {
    tokio::spawn(async move {
        begun.notified().await;
        assert!(matches!(place(&changes, "late").await, Err(NoTransaction::Ended)));
        begun.notify_one();
    });
    "done"
}

impl Application {
    fn start(shop: &Shop) -> Self {
        shop.with(async |client| {
            let tables = "CREATE TABLE orders (id text PRIMARY KEY);
                CREATE TABLE lines (of_order text REFERENCES orders DEFERRABLE INITIALLY DEFERRED)";
            client.batch_execute(tables).await.unwrap();
        });
        let manager = Manager::new(shop.cluster.url().parse().unwrap(), NoTls);
        let pool = Pool::builder(manager).max_size(1).build().unwrap();
        let begun = Arc::new(Notify::new());
        let routes = Router::new()
            .route("/placed", post(placed))
            .route("/refused", post(refused))
            .route("/panicked", post(panicked))
            .route("/endless", post(endless))
            .route("/careless", post(careless))
            .route("/deferred", post(deferred))
            .route("/late", post(late))
            .route("/untouched", get(async || "done"))
            .with_state(Arc::clone(&begun))
            .layer(OutboxLayer::new(pool.clone()));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { address, pool, begun, runtime }
    }

    fn send(&self, method: &str, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    /// The status; nothing if the connection ends without one.
    fn ask(&self, method: &str, path: &str) -> Option<(u16, String)> {
        let mut answer = String::new();
        self.send(method, path).read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
    }
}

fn orders(shop: &Shop) -> Vec<String> {
    shop.with(async |client| {
        let rows = client.query("SELECT id FROM orders", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    })
}

#[test]
fn the_changes_of_a_request_and_its_events_are_there_if_it_succeeds_and_not_otherwise() {
    let shop = Shop::open();
    let application = Application::start(&shop);
    let status = |method: &str, path: &str| application.ask(method, path).map(|(status, _)| status);
    assert_eq!(status("GET", "/untouched"), Some(200));
    assert_eq!(application.pool.status().size, 0, "nobody asked for a transaction");
    assert_eq!(status("POST", "/refused"), Some(409));
    assert_eq!(status("POST", "/panicked"), None);
    let not_committed = |path: &str| {
        let (status, body) = application.ask("POST", path).unwrap();
        assert_eq!(status, 500, "{path}");
        assert!(body.contains("not committed"), "{path}: {body}");
    };
    not_committed("/careless");
    not_committed("/deferred");
    // A client that goes away in the middle.
    let client = application.send("POST", "/endless");
    application.runtime.block_on(application.begun.notified());
    drop(client);
    until("its connection is free", || application.pool.status().size == 0);
    assert_eq!((orders(&shop), shop.count("quipu_outbox")), (Vec::new(), 0));

    assert_eq!(status("POST", "/placed"), Some(200));
    assert_eq!(orders(&shop), ["placed"], "before the answer");
    // A second order of that name is refused by the database, and said by the handler.
    let (code, body) = application.ask("POST", "/placed").unwrap();
    assert!(code == 500 && !body.contains("not committed"), "{body}");
    assert_eq!(status("POST", "/late"), Some(200));
    application.begun.notify_one();
    application.runtime.block_on(application.begun.notified());
    assert_eq!(shop.relay(&[]).ok().stdout, "1 relayed, 0 set aside\n");
    assert_eq!(shop.recorded(), ["placed"]);
    assert_eq!(orders(&shop), ["placed"]);
}
