//! `cargo run -p quipu-orders`: a shop on http://127.0.0.1:8080, whose events are in the folder `orders-data`. With `verify`: whether
//! its orders are what the log says.

use std::process::ExitCode;

use orders::order::Order;
use quipu::{Quipu, VerdictOutcome};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let quipu = Quipu::open("orders-data")?;
    if std::env::args().nth(1).as_deref() == Some("verify") {
        let verdict = quipu.aggregates::<Order>().verify()?;
        println!("{}", serde_json::to_string_pretty(&verdict)?);
        return Ok(if verdict.outcome == VerdictOutcome::Equal { ExitCode::SUCCESS } else { ExitCode::from(2) });
    }
    let router = orders::front::router(quipu.clone())?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    quipu.close()?;
    Ok(ExitCode::SUCCESS)
}
