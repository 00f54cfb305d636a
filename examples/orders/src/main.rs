//! `cargo run -p quipu-orders`: a shop on http://127.0.0.1:8080, whose events are in the folder `orders-data`.

use quipu::Quipu;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quipu = Quipu::open("orders-data")?;
    let router = orders::front::router(quipu.clone())?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    quipu.close()?;
    Ok(())
}
