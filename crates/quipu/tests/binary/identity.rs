//! Tokens of an identity provider on the command line, and what a server logs of them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::process::{User, finish};

/// Signed with the key of `jwks.json`, for the year 2999 and before.
const TOKEN: &str = include_str!("identity/token.jwt");
const JWKS: &str = include_str!("identity/jwks.json");

/// Publishes the keys for as long as the process lives.
fn provider() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4_096]);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{JWKS}", JWKS.len());
        }
    });
    format!("http://{address}/keys")
}

/// The settings for it.
fn settings() -> Value {
    json!([{
        "issuer": "https://login.example.com/realms/shop",
        "jwks": provider(),
        "audiences": ["quipu"],
        "tenant": {"name": "default"},
        "roles": {"claim": "realm_access.roles", "grants": {"reader": [{"permissions": ["read"]}]}},
    }])
}

/// What is answered to a request, or the beginning of it.
fn send(address: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{head}host: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    let mut bytes = vec![0; 4_096];
    let mut length = 0;
    while !bytes[..length].windows(4).any(|window| window == b"\r\n\r\n") || bytes[..length].ends_with(b"\r\n\r\n") {
        match stream.read(&mut bytes[length..]).unwrap() {
            0 => break,
            count => length += count,
        }
    }
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn a_token_is_a_credential_and_neither_it_nor_a_ticket_reaches_a_log() {
    let user = User::new();
    let path = user.write("providers.json", &settings().to_string());
    let providers = format!("identity_providers={path}");
    let server = user.serve(&["--temporary", "--set", "needs_keys=true", "--set", "log=trace", "--set", &providers]);
    let (url, token) = (server.url.as_str(), TOKEN.trim());
    let run = |args: &[&str]| {
        let file = user.write("token", TOKEN);
        user.run(&[&["--url", url, "--key-file", &file], args].concat())
    };
    let shown = run(&["key", "access"]).ok();
    for part in ["ada of https://login.example.com/realms/shop", "default", "read", "3000-01-01T00:00:30"] {
        assert!(shown.stdout.contains(part), "{shown:?}");
    }
    let access = run(&["key", "access", "-o", "json"]).ok().json();
    assert_eq!((&access["subject"], &access["grants"]), (&json!("ada"), &json!([{"permissions": ["read"]}])));
    run(&["event", "list"]).ok();
    assert!(run(&["key", "list"]).ended(1).stderr.contains("[forbidden]"));
    let by_variable =
        finish(user.command(&["--url", url, "event", "list"]).env("QUIPU_KEY", token).stdin(Stdio::null()));
    by_variable.ok();
    assert!(user.run(&["--url", url, "event", "list"]).ended(1).stderr.contains("[unauthenticated]"));
    let changed = user.write("changed", &TOKEN.replacen("eyJ", "eyK", 1));
    let refused = user.run(&["--url", url, "--key-file", &changed, "event", "list"]).ended(1);
    assert!(refused.stderr.contains("[unauthenticated]") && !refused.stderr.contains(&token[..40]), "{refused:?}");

    let bearer = format!("authorization: Bearer {token}\r\n");
    let given = send(server.address(), &format!("POST /v1/access/ticket HTTP/1.1\r\n{bearer}"));
    let ticket = given.split('"').find(|part| part.starts_with("qt_")).unwrap_or_else(|| panic!("{given}")).to_owned();
    for expected in ["200", "401"] {
        let opened = send(server.address(), &format!("GET /v1/tail?from=start&ticket={ticket} HTTP/1.1\r\n"));
        assert!(opened.starts_with(&format!("HTTP/1.1 {expected}")), "{opened}");
    }
    let said = server.all_said().join("\n");
    for secret in [&ticket, &ticket[3..20], token, &token[token.len() - 40..], "ticket="] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn a_list_of_providers_that_makes_no_sense_is_named_before_anything_is_touched() {
    let user = User::new();
    let mut wrong = settings();
    wrong[0]["issuer"] = json!("http://login.example.com");
    let path = user.write("providers.json", &wrong.to_string());
    for (path, parts) in [(path.as_str(), ["/0/issuer", "https"]), ("absent.json", ["absent.json", "read"])] {
        for command in ["serve", "dev"] {
            let providers = format!("identity_providers={path}");
            let ran = user.run(&[command, "--listen", "127.0.0.1:0", "--data", "data", "--set", &providers]);
            assert!(ran.code != 0 && parts.iter().all(|part| ran.stderr.contains(part)), "{ran:?}");
        }
    }
    assert!(!user.home.path().join("data").exists(), "nothing was made");
}
