//! The layer of web applications, over real sockets and a real database: a request's changes and events are there when its answer is a
//! success, and never otherwise.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Router};
use deadpool_postgres::{Manager, Pool};
use quipu::Event;
use quipu::outbox::layer::{Changes, NoTransaction, OutboxLayer, Transacting};
use tokio::sync::Notify;
use tokio_postgres::NoTls;

use super::{Shop, until};
use crate::process::DEADLINE;

/// What handlers leave behind: a transaction, what one was in, and that one has begun.
type Kept = Arc<(Mutex<Option<(Changes, Transacting)>>, Mutex<Option<Changes>>, Notify)>;

/// An application with one connection: a request that leaves it unusable leaves none to the next.
struct Application {
    address: SocketAddr,
    pool: Pool,
    kept: Kept,
    runtime: tokio::runtime::Runtime,
}

fn failed(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// Places an order and says so.
async fn place(changes: &Changes, id: &'static str) -> Result<(), NoTransaction> {
    let insert = "INSERT INTO orders (id) VALUES ($1)";
    let transaction = changes.transaction().await?;
    transaction.execute(insert, &[&id]).await?;
    let placed = Event::builder(id, "/shop", "order.placed").subject(format!("order/{id}")).build().unwrap();
    Ok(transaction.publish(&placed).await?)
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

async fn endless(Extension(changes): Extension<Changes>, State(kept): State<Kept>) -> &'static str {
    place(&changes, "endless").await.unwrap();
    *kept.1.lock().unwrap() = Some(changes);
    kept.2.notify_one();
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

/// Somebody has the transaction still when the request is answered.
async fn kept_open(Extension(changes): Extension<Changes>, State(kept): State<Kept>) -> &'static str {
    place(&changes, "kept").await.unwrap();
    let transaction = changes.transaction().await.unwrap();
    assert!(matches!(changes.transaction().await, Err(NoTransaction::InUse)));
    *kept.0.lock().unwrap() = Some((changes, transaction));
    "all is well"
}

/// Answers, and somebody has what the transaction was in.
async fn cloned(Extension(changes): Extension<Changes>, State(kept): State<Kept>) -> StatusCode {
    place(&changes, "cloned").await.unwrap();
    *kept.1.lock().unwrap() = Some(changes);
    StatusCode::BAD_REQUEST
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
        let kept = Kept::default();
        let routes = Router::new()
            .route("/placed", post(placed))
            .route("/refused", post(refused))
            .route("/panicked", post(panicked))
            .route("/endless", post(endless))
            .route("/careless", post(careless))
            .route("/deferred", post(deferred))
            .route("/kept", post(kept_open))
            .route("/cloned", post(cloned))
            .route("/untouched", get(async || "done"))
            .with_state(Arc::clone(&kept))
            .layer(OutboxLayer::new(pool.clone()))
            .layer(OutboxLayer::new(pool.clone()));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { address, pool, kept, runtime }
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
    application.runtime.block_on(application.kept.2.notified());
    drop(client);
    until("its connection is closed", || application.pool.status().size == 0);
    let ended = |changes: &Changes| {
        let again = application.runtime.block_on(changes.transaction());
        assert!(matches!(again, Err(NoTransaction::Ended)));
    };
    ended(&application.kept.1.lock().unwrap().take().unwrap());
    assert_eq!(status("POST", "/cloned"), Some(400));
    ended(&application.kept.1.lock().unwrap().take().unwrap());
    not_committed("/kept");
    let (changes, transaction) = application.kept.0.lock().unwrap().take().unwrap();
    ended(&changes);
    drop(transaction);
    until("it is closed by who has it", || application.pool.status().size == 0);
    assert_eq!((orders(&shop), shop.count("quipu_outbox")), (Vec::new(), 0));

    assert_eq!(status("POST", "/placed"), Some(200));
    assert_eq!(orders(&shop), ["placed"], "before the answer");
    // A second order of that name is refused by the database, and said by the handler.
    let (code, body) = application.ask("POST", "/placed").unwrap();
    assert!(code == 500 && !body.contains("not committed"), "{body}");
    assert_eq!(shop.relay(&[]).ok().stdout, "1 relayed, 0 set aside\n");
    assert_eq!(shop.recorded(), ["placed"]);
    assert_eq!(orders(&shop), ["placed"]);
}
