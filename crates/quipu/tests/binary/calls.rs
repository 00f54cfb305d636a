//! The example of an order that is paid over HTTP, with a bank that is a server of its own: what it answers, what it refuses, and kills of
//! `quipu` while a call is open. Every order is charged once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Server, User};

/// What a bank is asked, and does once for each key.
#[derive(Default)]
struct Bank {
    /// The path, the key and the body of each request.
    calls: Vec<(String, String, Value)>,
    charged: BTreeMap<String, Value>,
    refunded: BTreeSet<String>,
    /// It does what it is asked and does not say so, so often.
    silent: usize,
    declines: bool,
}

impl Bank {
    /// The status and the body of an answer; nothing if it says none.
    fn take(&mut self, path: &str, key: &str, body: Value) -> Option<(u16, Value)> {
        let order = body["order"].as_str().unwrap().to_owned();
        self.calls.push((path.to_owned(), key.to_owned(), body));
        let answer = match path {
            "/charges" if self.declines => (402, json!({"reason": "no money"})),
            "/charges" => {
                let number = self.charged.len() + 1;
                let charge = json!({"id": format!("ch_{number}"), "order": order, "receipt": format!("r-{number}")});
                (201, self.charged.entry(key.to_owned()).or_insert(charge).clone())
            }
            _ => {
                self.refunded.insert(order);
                (200, json!({}))
            }
        };
        if self.silent > 0 {
            self.silent -= 1;
            return None;
        }
        Some(answer)
    }
}

/// A bank on a port of its own.
fn open() -> (String, Arc<Mutex<Bank>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, bank) = (format!("http://{}", listener.local_addr().unwrap()), Arc::<Mutex<Bank>>::default());
    let of_threads = Arc::clone(&bank);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let bank = Arc::clone(&of_threads);
            thread::spawn(move || serve(stream.unwrap(), &bank));
        }
    });
    (url, bank)
}

fn serve(stream: TcpStream, bank: &Mutex<Bank>) {
    let mut stream = BufReader::new(stream);
    while let Some((path, key, body)) = read(&mut stream) {
        let answer = bank.lock().unwrap().take(&path, &key, body);
        let Some((status, body)) = answer else {
            // Until whoever called is gone.
            let _ = stream.read(&mut [0]);
            return;
        };
        let body = body.to_string();
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.get_mut().write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}

/// The path, the key and the body of a request.
fn read(stream: &mut BufReader<TcpStream>) -> Option<(String, String, Value)> {
    let (mut first, mut key, mut length) = (String::new(), String::new(), 0);
    stream.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "idempotency-key" => key = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first.split(' ').nth(1)?.to_owned(), key, serde_json::from_slice(&body).unwrap()))
}

struct Shop {
    user: User,
    data: String,
    bank: Arc<Mutex<Bank>>,
    url: String,
}

impl Shop {
    fn new() -> Self {
        let (user, (url, bank)) = (User::new(), open());
        let data = user.path("data");
        Self { user, data, bank, url }
    }

    fn serve(&self) -> Server {
        self.user.serve(&["--data", &self.data, "--set", "webhook_allowed_networks=127.0.0.1"])
    }

    fn run(&self, server: &Server, args: &[&str]) -> crate::process::Ran {
        self.user.run(&[&["--url", &server.url], args].concat())
    }

    /// Declares the example with this bank, and places an order.
    fn order(&self, server: &Server, timeout: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/sagas/order_payment.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let text = text.replace("https://bank.example", &self.url).replace("timeout: 20s", timeout);
        let text = text.replace("backoff: exponential", "backoff: [100ms]");
        let file = self.user.write("payment.yaml", &text);
        self.run(server, &["saga", "apply", &file]).ok();
        self.publish(server, "order.placed", &json!({"total": 79}));
    }

    fn publish(&self, server: &Server, kind: &str, data: &Value) {
        let event = json!({"specversion": "1.0", "id": kind, "source": "/shop", "type": kind, "correlationid": "o1", "data": data});
        self.user.run_with(&["--url", &server.url, "event", "publish", "-"], &format!("{event}\n")).ok();
    }

    /// Waits until the instance stands so that this holds.
    fn until(&self, server: &Server, holds: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..400 {
            let all = self.run(server, &["saga", "instances", "-o", "json"]).ok().json();
            if holds(&all["instances"][0]) {
                return all["instances"][0].clone();
            }
            thread::sleep(Duration::from_millis(25));
        }
        panic!("expected something else, found {:?}", self.run(server, &["saga", "timeline", "1", "-o", "json"]));
    }

    fn waits_for_parcel(&self, server: &Server) {
        self.until(server, |instance| {
            instance["waiting"][0]["sentence"].as_str().is_some_and(|text| text.starts_with("ship, attempt 1"))
        });
    }

    /// The paths and keys of what the bank was asked.
    fn called(&self) -> Vec<(String, String)> {
        let bank = self.bank.lock().unwrap();
        bank.calls.iter().map(|(path, key, _)| (path.clone(), key.clone())).collect()
    }
}

#[test]
fn an_order_is_charged_once_and_refunded_over_http() {
    let shop = Shop::new();
    let server = shop.serve();
    shop.order(&server, "timeout: 20s");
    shop.waits_for_parcel(&server);
    let sent = shop.run(&server, &["event", "list", "--type", "parcel.ship", "-o", "ndjson"]).ok().lines();
    assert_eq!((sent.len(), &sent[0]["data"]), (1, &json!({"receipt": "r-1"})));
    shop.publish(&server, "parcel.lost", &json!({}));
    shop.until(&server, |instance| instance["state"] == "compensated");
    let calls = shop.bank.lock().unwrap().calls.clone();
    let [(charges, key, charge), (refunds, other, refund)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!((charges.as_str(), refunds.as_str()), ("/charges", "/refunds"));
    assert_eq!(*other, format!("{key}/c"));
    assert_eq!((charge, refund), (&json!({"order": "o1", "cents": 7900}), &json!({"order": "o1", "charge": "ch_1"})));
    let timeline = shop.run(&server, &["saga", "timeline", "1"]).ok().stdout;
    let said = format!("{} answered 201 Created", shop.url);
    assert!(timeline.contains(&said) && timeline.contains("saga.call.answered"), "{timeline}");
}

#[test]
fn an_order_that_the_bank_declines_is_not_refunded() {
    let shop = Shop::new();
    shop.bank.lock().unwrap().declines = true;
    let server = shop.serve();
    shop.order(&server, "timeout: 20s");
    shop.until(&server, |instance| instance["state"] == "compensated");
    assert_eq!(shop.called().len(), 1);
    let explained = shop.run(&server, &["saga", "explain", "1"]).ok().stdout;
    assert!(explained.starts_with("It failed at charge: it was refused."), "{explained}");
}

#[test]
fn a_charge_that_nobody_answers_is_tried_again_and_is_one_charge() {
    let shop = Shop::new();
    shop.bank.lock().unwrap().silent = 2;
    let server = shop.serve();
    shop.order(&server, "timeout: 300ms");
    shop.waits_for_parcel(&server);
    let called = shop.called();
    assert_eq!(called.len(), 3, "{called:?}");
    assert!(called.iter().all(|call| *call == called[0]), "{called:?}");
    assert_eq!(shop.bank.lock().unwrap().charged.len(), 1);
}

/// Killed while the charge is open, and while the refund is.
#[test]
fn a_call_that_was_open_at_a_kill_is_made_again_under_its_key() {
    let shop = Shop::new();
    shop.bank.lock().unwrap().silent = 1;
    let mut server = shop.serve();
    shop.order(&server, "timeout: 1m");
    while shop.called().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    server.kill();
    let mut server = shop.serve();
    shop.waits_for_parcel(&server);
    shop.bank.lock().unwrap().silent = 1;
    shop.publish(&server, "parcel.lost", &json!({}));
    while shop.called().len() < 3 {
        thread::sleep(Duration::from_millis(5));
    }
    server.kill();
    let server = shop.serve();
    shop.until(&server, |instance| instance["state"] == "compensated");
    let called = shop.called();
    let [first, second, third, fourth] = &called[..] else { panic!("{called:?}") };
    assert_eq!((first, third), (second, fourth));
    assert_eq!((third.0.as_str(), &third.1), ("/refunds", &format!("{}/c", first.1)));
    let bank = shop.bank.lock().unwrap();
    assert_eq!((bank.charged.len(), bank.refunded.len()), (1, 1));
}

/// 32 bytes each.
const SECRETS: [&str; 2] =
    ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "whsec_HxwdGhsZGBcWFRQTEhEQDw4NDAsKCQgHBgUEAwIBAB4="];

#[test]
fn secrets_are_made_and_printed_once_or_come_from_a_file_or_standard_input() {
    let user = User::new();
    let server = user.serve(&["--data", &user.path("data")]);
    let run = |args: &[&str], stdin: &str| user.run_with(&[&["--url", &server.url], args].concat(), stdin);
    let file = user.write("saga.json", r#"{"saga":"s","starts_on":"a.b","steps":[{"c":{"wait":"c.d"}}]}"#);
    run(&["saga", "apply", &file], "").ok();
    let push = user.write("push.json", r#"{"push":{"url":"https://example.com/in"},"paused":true}"#);
    run(&["subscription", "create", "s", "--file", &push], "").ok();
    let own = user.write("secret", &format!("{}\n", SECRETS[0]));
    for noun in ["saga", "subscription"] {
        let made = run(&[noun, "secret", "set", "s"], "").ok().stdout;
        let secret = made.split_whitespace().find(|word| word.starts_with("whsec_")).map(|word| word.trim_matches(','));
        let secret = secret.unwrap_or_else(|| panic!("{made}"));
        run(&[noun, "secret", "set", "s", "--secret-file", &own], "").ok();
        let given = run(&[noun, "secret", "set", "s", "--secret-file", "-", "-o", "json"], SECRETS[1]).ok();
        assert_eq!(given.json().get("secret"), None, "it is known to who gave it");
        let listed = run(&[noun, "secret", "list", "s", "-o", "json"], "").ok();
        let of_subscription = usize::from(noun == "subscription");
        assert_eq!(listed.json()["secrets"].as_array().unwrap().len(), 3 + of_subscription, "{listed:?}");
        let table = run(&[noun, "secret", "list", "s"], "").ok();
        for shown in [&given, &listed, &table] {
            let is_told = |secret: &str| shown.stdout.contains(secret) || shown.stderr.contains(secret);
            assert!(![secret, SECRETS[0], SECRETS[1]].into_iter().any(is_told), "{shown:?}");
        }
        // Kept as it is: giving the newest once more changes nothing.
        let again = run(&[noun, "secret", "set", "s", "--secret-file", "-", "-o", "json"], SECRETS[1]).ok();
        assert_eq!(again.json()["secrets"].as_array().unwrap().len(), 3 + of_subscription);
        let empty = run(&[noun, "secret", "set", "s", "--secret-file", "-"], "\n").ended(2);
        assert!(empty.stderr.contains("expected a secret, found nothing"), "{empty:?}");
        let refused = run(&[noun, "secret", "set", "s", "--secret-file", "-"], "whsec_hunter2").ended(1);
        assert!(refused.stderr.contains("[invalid-secret]") && !refused.stderr.contains("hunter2"), "{refused:?}");
        assert!(run(&[noun, "secret", "list", "none"], "").code == 3);
    }
}
