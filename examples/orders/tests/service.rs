//! The shop over real sockets: commands, refusals, reads of what was written, and tables that are the same after a rebuild.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use quipu::Quipu;
use serde_json::{Value, json};

/// A shop on a free port, until it is dropped.
struct Shop {
    address: SocketAddr,
    quipu: Quipu,
    _runtime: tokio::runtime::Runtime,
}

impl Shop {
    fn open(folder: &Path) -> Self {
        let quipu = Quipu::open(folder).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let router = orders::front::router(quipu.clone()).unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, quipu, _runtime: runtime }
    }

    fn ask(&self, method: &str, target: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    #[track_caller]
    fn post(&self, target: &str, body: &Value) -> u64 {
        let (status, answer) = self.ask("POST", target, &body.to_string());
        assert_eq!(status, 200, "{answer}");
        answer["position"].as_u64().unwrap()
    }

    #[track_caller]
    fn get(&self, target: &str, at_least: u64) -> Value {
        let (status, answer) = self.ask("GET", &format!("{target}?at_least={at_least}"), "");
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

#[test]
fn an_order_from_its_beginning_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Shop::open(folder.path());
    shop.post("/orders/17", &json!({ "customer": "ada" }));
    shop.post("/orders/17/items", &json!({ "sku": "pen", "cents": 150, "quantity": 2 }));
    let position = shop.post("/orders/17/items", &json!({ "sku": "ink", "cents": 700, "quantity": 1 }));
    let order = shop.get("/orders/17", position);
    assert_eq!((&order["status"], &order["cents"]), (&json!("open"), &json!(1_000)));
    let (status, refused) = shop.ask("POST", "/orders/17/ship", "");
    assert_eq!((status, &refused["error"]), (409, &json!("expected an order that is paid")));
    assert_eq!(shop.ask("POST", "/orders/18/pay", "").0, 409);
    assert_eq!(shop.ask("POST", "/orders/18", "{}").0, 400);
    assert_eq!(shop.ask("GET", "/orders/18", "").0, 404);
    shop.post("/orders/17/pay", &json!(null));
    let end = shop.post("/orders/17/ship", &json!(null));
    assert_eq!(shop.get("/orders/17", end)["status"], "shipped");
    assert_eq!(shop.get("/customers/ada", end), json!([{ "status": "shipped", "orders": 1, "cents": 1_000 }]));
    assert_eq!(shop.get("/revenue", end)[0]["cents"], 1_000);

    // The tables are a cache: without them the same ones are built again.
    shop.quipu.close().unwrap();
    drop(shop);
    for models in ["read-models", "read-models-of-code"] {
        std::fs::remove_dir_all(folder.path().join("tenants/default").join(models)).unwrap();
    }
    let shop = Shop::open(folder.path());
    assert_eq!(shop.get("/orders/17", end)["status"], "shipped");
    assert_eq!(shop.get("/revenue", end)[0]["cents"], 1_000);
}
