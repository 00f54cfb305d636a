//! Transcripts: what a client sends and what it is answered, one file a case. A file is a list of exchanges, each a
//! request, a line `---`, and the answer: status, the headers that matter, and the body to the last byte (time stands
//! still here). `QUIPU_WRITE_GOLDEN=1` writes the answers anew.

use std::path::Path;

use crate::client::Answer;
use crate::host::Host;

/// Headers that are part of the contract.
const HEADERS: [&str; 5] = ["content-type", "allow", "retry-after", "quipu-cursor", "preference-applied"];

#[tokio::test(flavor = "multi_thread")]
async fn every_transcript_is_answered_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let expected = std::fs::read_to_string(&file).unwrap();
        let found = replay(&expected).await;
        if std::env::var_os("QUIPU_WRITE_GOLDEN").is_some() {
            std::fs::write(&file, &found).unwrap();
        } else {
            assert_eq!(found, expected, "{}", file.display());
        }
    }
}

/// The transcript with the answers that a new server gives.
async fn replay(transcript: &str) -> String {
    let host = Host::start().await;
    let mut client = host.client().await;
    let mut found = String::new();
    for exchange in transcript.split("\n###\n") {
        let request = exchange.split("\n---").next().unwrap().trim_end_matches('\n');
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let mut lines = head.lines().filter(|line| !line.starts_with('#'));
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let headers: Vec<_> = lines.map(|line| line.split_once(": ").unwrap()).collect();
        let answer = client.request(method, target, &headers, body.as_bytes()).await;
        if !found.is_empty() {
            found.push_str("\n###\n");
        }
        found.push_str(&format!("{request}\n---\n{}", write(&answer)));
    }
    found
}

fn write(answer: &Answer) -> String {
    let mut text = format!("{}\n", answer.status);
    for name in HEADERS {
        if let Some(value) = answer.headers.get(name) {
            text.push_str(&format!("{name}: {value}\n"));
        }
    }
    if !answer.body.is_empty() {
        text.push_str(&format!("\n{}\n", answer.text().trim_end()));
    }
    text
}
