//! HTTP: commands are posted, tables are read. An answer to a command says its position, and whoever asks for `?at_least=` that
//! position reads what it wrote.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use quipu::projections::{Order as By, Projections, SqlQuery, TableQuery, Test};
use quipu::{NotHandled, Quipu};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::order::{Command, Order};
use crate::revenue::Revenue;

/// What a handler needs.
struct Shop {
    quipu: Quipu,
    projections: Arc<Projections>,
}

#[derive(Deserialize)]
struct NewOrder {
    customer: String,
}

#[derive(Deserialize)]
struct NewItem {
    sku: String,
    cents: u64,
    quantity: u64,
}

/// The shop of a store.
///
/// # Errors
/// The projections cannot be kept.
pub fn router(quipu: Quipu) -> Result<Router, Box<dyn std::error::Error>> {
    let projections = quipu.projections()?;
    projections.apply(serde_saphyr::from_str(include_str!("../orders.yaml"))?)?;
    projections.attach("revenue", Revenue)?;
    let routes = Router::new()
        .route("/orders/{id}", post(create).get(show))
        .route("/orders/{id}/items", post(add_item))
        .route("/orders/{id}/pay", post(pay))
        .route("/orders/{id}/ship", post(ship))
        .route("/customers/{name}", get(customer))
        .route("/revenue", get(revenue));
    Ok(routes.with_state(Arc::new(Shop { quipu, projections })))
}

type Answer = Result<Response, Response>;

async fn create(State(shop): State<Arc<Shop>>, Path(id): Path<String>, body: Bytes) -> Answer {
    let NewOrder { customer } = serde_json::from_slice(&body).map_err(invalid)?;
    execute(shop, id, Command::Create { customer }).await
}

async fn add_item(State(shop): State<Arc<Shop>>, Path(id): Path<String>, body: Bytes) -> Answer {
    let NewItem { sku, cents, quantity } = serde_json::from_slice(&body).map_err(invalid)?;
    execute(shop, id, Command::AddItem { sku, cents, quantity }).await
}

async fn pay(State(shop): State<Arc<Shop>>, Path(id): Path<String>) -> Answer {
    execute(shop, id, Command::Pay).await
}

async fn ship(State(shop): State<Arc<Shop>>, Path(id): Path<String>) -> Answer {
    execute(shop, id, Command::Ship).await
}

async fn show(State(shop): State<Arc<Shop>>, Path(id): Path<String>, RawQuery(query): RawQuery) -> Answer {
    let filters = vec![("id".to_owned(), Test::Is, format!("order/{id}"))];
    let asked = TableQuery { filters, limit: 1, ..TableQuery::default() };
    let mut rows = ask(shop, query, move |tables| tables.rows("orders", "orders", &asked), "orders").await?;
    match rows.pop() {
        Some(order) => Ok(answer(StatusCode::OK, &order)),
        None => Err(answer(StatusCode::NOT_FOUND, &json!({ "error": "there is no such order" }))),
    }
}

async fn customer(State(shop): State<Arc<Shop>>, Path(name): Path<String>, RawQuery(query): RawQuery) -> Answer {
    let sql =
        "select status, count(*) as orders, sum(cents) as cents from orders where customer = :name group by status";
    let parameters = BTreeMap::from([("name".to_owned(), Value::String(name))]);
    let asked = SqlQuery { sql: sql.to_owned(), parameters, limit: 100 };
    let rows = ask(shop, query, move |tables| tables.sql("orders", &asked), "orders").await?;
    Ok(answer(StatusCode::OK, &rows.into()))
}

async fn revenue(State(shop): State<Arc<Shop>>, RawQuery(query): RawQuery) -> Answer {
    let asked = TableQuery { order: vec![By::parse("-day")], limit: 31, ..TableQuery::default() };
    let rows = ask(shop, query, move |tables| tables.rows("revenue", "revenue", &asked), "revenue").await?;
    Ok(answer(StatusCode::OK, &rows.into()))
}

/// Decides a command and appends what happens. It waits for the disk, so it has a thread of its own.
async fn execute(shop: Arc<Shop>, id: String, command: Command) -> Answer {
    let done = tokio::task::spawn_blocking(move || shop.quipu.aggregates::<Order>().execute(&id, &command));
    match done.await {
        Ok(Ok(handled)) => {
            let position = handled.places.last().map(|place| place.position);
            Ok(answer(StatusCode::OK, &json!({ "position": position })))
        }
        Ok(Err(NotHandled::Refused(refusal))) => {
            Err(answer(StatusCode::CONFLICT, &json!({ "error": refusal.to_string() })))
        }
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

/// Asks a projection, once it is as far as the query wants it to be.
async fn ask(
    shop: Arc<Shop>,
    query: Option<String>,
    question: impl FnOnce(&Projections) -> Result<quipu::projections::Rows, quipu::projections::NotDone> + Send + 'static,
    projection: &'static str,
) -> Result<Vec<Value>, Response> {
    let at_least = query.as_deref().and_then(|query| query.strip_prefix("at_least=")?.parse().ok()).unwrap_or(0);
    let asked = tokio::task::spawn_blocking(move || {
        shop.projections.wait(projection, at_least, Duration::from_secs(5))?;
        question(&shop.projections)
    });
    match asked.await {
        Ok(Ok(found)) => Ok(found.rows.into_iter().map(Value::Object).collect()),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

fn invalid(error: serde_json::Error) -> Response {
    answer(StatusCode::BAD_REQUEST, &json!({ "error": error.to_string() }))
}

fn failed(error: &dyn std::fmt::Display) -> Response {
    eprintln!("{error}");
    answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": "try again later" }))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
