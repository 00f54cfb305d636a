//! A server that pushes is killed in the middle of it, and goes on when it is started again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use quipu_server::webhook::{Secret, sign};
use serde_json::Value;

use crate::process::{DEADLINE, User, events};

const EVENTS: u64 = 300;

struct Webhook {
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// Reads one message: its headers and body.
fn read(stream: &mut BufReader<TcpStream>) -> Option<(String, Webhook)> {
    let (mut first, mut headers) = (String::new(), HashMap::new());
    stream.read_line(&mut first).ok().filter(|length| *length > 0)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some((first, Webhook { headers, body }))
}

/// An endpoint that takes everything, a little slowly.
fn endpoint() -> (String, Receiver<Webhook>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, received) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            thread::spawn(move || take(stream.unwrap(), &sender));
        }
    });
    (url, received)
}

fn take(stream: TcpStream, sender: &Sender<Webhook>) {
    let mut stream = BufReader::new(stream);
    while let Some((_, webhook)) = read(&mut stream) {
        thread::sleep(Duration::from_millis(5));
        // The test may be over.
        let _ = sender.send(webhook);
        if stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

fn make_secret(address: &str) -> Secret {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "POST /v1/subscriptions/s/secrets HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2";
    stream.write_all(format!("{head}\r\n\r\n{{}}").as_bytes()).unwrap();
    let (status, answer) = read(&mut BufReader::new(stream)).unwrap();
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(status.contains(" 200 "), "{status} {body}");
    Secret::parse(body["secret"].as_str().unwrap()).unwrap()
}

#[test]
fn a_server_that_is_killed_while_it_pushes_goes_on_in_order_and_loses_nothing() {
    let user = User::new();
    let data = user.path("data");
    let (url, webhooks) = endpoint();
    {
        let quipu = quipu::Quipu::open(&data).unwrap();
        let definition = format!(r#"{{"start":"beginning","push":{{"url":"{url}"}}}}"#);
        let tenant = quipu.engine().tenant("default").unwrap();
        tenant.create_subscription("s", serde_json::from_str(&definition).unwrap()).unwrap();
        drop(tenant);
        quipu.close().unwrap();
    }
    let flags = ["--data", &data, "--set", "webhook_allowed_networks=127.0.0.1"];
    let server = user.serve(&flags);
    let secret = make_secret(server.address());
    user.run_with(&["event", "publish", "-", "--url", &server.url], &events(EVENTS as usize)).ok();
    let (mut positions, mut keys, mut count) = (BTreeSet::new(), BTreeMap::<String, u64>::new(), 0);
    let mut take_until = |wanted: usize| {
        while positions.len() < wanted {
            let Webhook { headers, body } = webhooks.recv_timeout(DEADLINE).expect("a webhook");
            let (id, at) = (&headers["webhook-id"], headers["webhook-timestamp"].parse().unwrap());
            let signature = sign(std::slice::from_ref(&secret), id, at, &body);
            assert_eq!(headers["webhook-signature"], signature.to_str().unwrap());
            let position: u64 = headers["ce-position"].parse().unwrap();
            count += 1;
            if positions.insert(position) {
                let before = keys.insert(headers["ce-subject"].clone(), position);
                assert!(before.is_none_or(|before| before < position), "{position} came after {before:?}");
            }
        }
        count
    };
    take_until(100);
    // Killed, not stopped.
    drop(server);
    let _again = user.serve(&flags);
    let count = take_until(EVENTS as usize);
    assert!(count < 2 * EVENTS, "only the last of what was acknowledged comes again: {count}");
}
