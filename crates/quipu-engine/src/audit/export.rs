//! A trail as JSON lines that stand for themselves: whoever has them can check the hash chain without the server.
//!
//! ```text
//! {"quipu":"audit","format":1,"tenant":"default"}
//! {"commit":1,"epoch":1,"recordedus":…,"position":1,"chainbefore":"00…","records":[{"kind":2,"streamversion":0,"digest":"…"}]}
//! {"commit":2,…,"records":[{"kind":1,"streamversion":1,"body":"…","event":{…}}]}
//! {"end":"2:…"}
//! ```
//! `body` is what the chain is over, in base64, and `event` the same to read; of what is no event there is the BLAKE3 digest of
//! its body. The chain is that of [`Commit::chain_after`].

use std::io::{self, BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quipu_domain::{Timestamp, write_event};
use quipu_store::commit::Chain;
use quipu_store::frame::FramedCommit;
use quipu_store::{Digest, RecordKind, body};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Head;

const FORMAT: u32 = 1;
/// Longest line that is read, bytes: far more than a commit of acts takes.
const LINE_BYTES_MAX: u64 = 16 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    quipu: String,
    format: u32,
    tenant: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    end: Head,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    commit: u64,
    epoch: u64,
    recordedus: i64,
    position: u64,
    chainbefore: String,
    records: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    kind: u8,
    streamversion: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
}

/// What an export holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedExport {
    /// Of which tenant it says it is.
    pub tenant: String,
    /// How many events are in it.
    pub events: u64,
    /// Where its sound part ends.
    pub head: Head,
    /// The first place where it breaks.
    pub problem: Option<String>,
}

/// Appends the first line of an export.
pub fn export_begin(out: &mut Vec<u8>, tenant: &str) {
    line(out, &Begin { quipu: "audit".into(), format: FORMAT, tenant: tenant.to_owned() });
}

/// Appends the line of a commit.
pub fn export_commit(out: &mut Vec<u8>, commit: &FramedCommit) {
    let part = |record: &quipu_store::frame::FramedRecord| {
        let event = (record.kind == RecordKind::Event).then(|| body::decode(&record.body)).flatten();
        let event = event.map(|event| {
            let mut text = Vec::new();
            write_event(&mut text, &event, None);
            RawValue::from_string(String::from_utf8(text).expect("JSON is UTF-8")).expect("it is JSON")
        });
        let digest = event.is_none().then(|| blake3::hash(&record.body).to_hex().to_string());
        let body = event.is_some().then(|| STANDARD.encode(&record.body));
        Part { kind: record.kind as u8, streamversion: record.stream_version, digest, body, event }
    };
    line(
        out,
        &Line {
            commit: commit.number,
            epoch: commit.epoch,
            recordedus: commit.recorded_time.0,
            position: commit.first_position,
            chainbefore: hex(&commit.chain_before),
            records: commit.records.iter().map(part).collect(),
        },
    );
}

/// Appends the last line of an export.
pub fn export_end(out: &mut Vec<u8>, end: Head) {
    line(out, &End { end });
}

fn line(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(&mut *out, value).expect("it is plain data");
    out.write_all(b"\n").expect("a Vec takes it");
}

fn hex(digest: &Digest) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}

/// Where the export stands.
struct Standing {
    head: Head,
    position: u64,
    recordedus: i64,
    events: u64,
}

/// Verifies an export, up to the first place where it breaks. `kept` is a head that was noted elsewhere before: what was there
/// then must be there still.
///
/// # Errors
/// It cannot be read.
pub fn verify_export(mut from: impl BufRead, kept: Option<Head>) -> io::Result<VerifiedExport> {
    let mut standing =
        Standing { head: Head { commit: 0, chain: [0; 32] }, position: 1, recordedus: i64::MIN, events: 0 };
    let mut tenant = String::new();
    let mut text = Vec::new();
    let mut is_ended = false;
    let mut problem = None;
    for number in 1_u64.. {
        text.clear();
        let read = io::Read::take(&mut from, LINE_BYTES_MAX).read_until(b'\n', &mut text)?;
        let is_line = text.last() == Some(&b'\n');
        let found = match read {
            0 if is_ended => break,
            0 => Err("expected the last line, which says where the trail ends, found the end of the file".to_owned()),
            _ if !is_line => Err("expected a whole line, found its beginning".to_owned()),
            _ if is_ended => Err("expected nothing after the last line, found more".to_owned()),
            _ if number == 1 => begin(&text).map(|name| tenant = name),
            _ => match serde_json::from_slice::<End>(&text) {
                Ok(End { end }) => {
                    is_ended = true;
                    ended(&standing.head, end)
                }
                Err(_) => standing.go_on(&text),
            },
        };
        if let Err(found) = found.and_then(|()| fits(&standing.head, kept)) {
            problem = Some(format!("line {number}: {found}"));
            break;
        }
    }
    if let Some(kept) = kept.filter(|kept| problem.is_none() && kept.commit > standing.head.commit) {
        problem = Some(format!("commits {} to {} were there and are not", standing.head.commit + 1, kept.commit));
    }
    Ok(VerifiedExport { tenant, events: standing.events, head: standing.head, problem })
}

fn begin(text: &[u8]) -> Result<String, String> {
    let expected = |found: String| format!("expected the first line of the export of a trail, found {found}");
    let begin: Begin = serde_json::from_slice(text).map_err(|error| expected(error.to_string()))?;
    match (begin.quipu.as_str(), begin.format) {
        ("audit", FORMAT) => Ok(begin.tenant),
        (what, format) => Err(expected(format!("{what} of format {format}"))),
    }
}

fn ended(head: &Head, end: Head) -> Result<(), String> {
    if *head == end { Ok(()) } else { Err(format!("expected the trail to end with {end}, found {head}")) }
}

fn fits(head: &Head, kept: Option<Head>) -> Result<(), String> {
    match kept.filter(|kept| kept.commit == head.commit && kept != head) {
        Some(kept) => Err(format!("the trail up to it is another than the one that was there: expected {kept}")),
        None => Ok(()),
    }
}

impl Standing {
    fn go_on(&mut self, text: &[u8]) -> Result<(), String> {
        let line: Line = serde_json::from_slice(text).map_err(|error| format!("expected a commit, found {error}"))?;
        let number = line.commit;
        if number != self.head.commit + 1 {
            return Err(format!("expected commit {}, found {number}", self.head.commit + 1));
        }
        let at = |found: String| format!("commit {number}: {found}");
        if line.chainbefore != hex(&self.head.chain) {
            let found = "the hash chain is broken: it or the commit before it is not the one that was there";
            return Err(at(found.to_owned()));
        }
        if line.position != self.position {
            return Err(at(format!("expected position {}, found {}", self.position, line.position)));
        }
        if line.recordedus < self.recordedus {
            return Err(at("it was recorded before the commit before it".to_owned()));
        }
        let recorded = Timestamp(line.recordedus);
        let mut chain = Chain::new(number, line.epoch, recorded, line.position, &self.head.chain);
        let mut events = 0;
        for part in &line.records {
            let is_event = part.kind == RecordKind::Event as u8;
            let digest = if is_event { digest_of_event(part) } else { digest_of_other(part) };
            chain.add(part.kind, part.streamversion, &digest.map_err(at)?);
            events += u64::from(is_event);
        }
        self.head = Head { commit: number, chain: chain.finish() };
        (self.position, self.recordedus) = (self.position + events, line.recordedus);
        self.events += events;
        Ok(())
    }
}

/// What is read must be what the chain is over.
fn digest_of_event(part: &Part) -> Result<Digest, String> {
    let (Some(text), Some(shown)) = (&part.body, &part.event) else {
        return Err("expected an event and its body, found less".to_owned());
    };
    let bytes = STANDARD.decode(text).map_err(|error| format!("expected a body in base64, found {error}"))?;
    let event = body::decode(&bytes).ok_or("expected the body of an event, found other bytes")?;
    let mut known = Vec::new();
    write_event(&mut known, &event, None);
    // As it is written, to the byte: of a member that stands there twice somebody may read the other.
    if known != shown.get().as_bytes() {
        return Err("the event is not the one of its body".to_owned());
    }
    Ok(*blake3::hash(&bytes).as_bytes())
}

fn digest_of_other(part: &Part) -> Result<Digest, String> {
    let hash = part.digest.as_deref().and_then(|text| blake3::Hash::from_hex(text).ok());
    hash.map(|hash| *hash.as_bytes()).ok_or_else(|| "expected the digest of a record, found none".to_owned())
}
