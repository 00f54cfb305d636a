//! What each fuzz target does with bytes from a stranger or from a damaged disk: decode them without a panic, and where
//! they mean something, write them and read them back. Plain functions, so that the tests of `quipu-testkit` replay
//! the corpus on a stable compiler. Each answers whether the bytes meant something: a corpus of which nothing does, since
//! a format changed, tests nothing any more.

mod asyncapi;
mod connection;
mod credential;
mod folder;
mod head;
mod pattern;
mod request;
#[path = "../../crates/quipu/src/cli/sse.rs"]
mod sse;
mod webhook;

pub use asyncapi::asyncapi;
pub use connection::{ahead, lines, messages};
pub use credential::{credential, grants, token};
pub use folder::{records, run, segment, snapshot};
pub use head::{headers, negotiation, retry};
pub use pattern::{pattern, transform};
pub use request::{control, request, socket, subscription};
pub use webhook::{secrets, webhook};

use bytes::Bytes;
use quipu_domain::{Data, Event, Timestamp, parse_event, parse_events, write_event};
use quipu_store::commit::{Commit, Record, RecordKind};
use quipu_store::frame::{self, Frame, FrameContext};

/// One event as JSON: what is read is written, and means the same.
pub fn envelope(bytes: &[u8]) -> bool {
    let Ok(incoming) = parse_event(bytes) else { return false };
    let written = write(&incoming.event);
    assert!(!written.contains(&b'\n'), "an event is one line");
    let again = parse_event(&written).expect("what is written can be read").event;
    assert_eq!(on_one_line(incoming.event), again);
    assert_eq!(write(&again), written);
    true
}

/// An array of events.
pub fn events(bytes: &[u8]) -> bool {
    let Ok(list) = parse_events(bytes) else { return false };
    // Counted, so that those behind one that means something are read too.
    list.iter().filter(|raw| envelope(raw.get().as_bytes())).count() > 0
}

fn write(event: &Event<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_event(&mut out, event, None);
    out
}

/// Line breaks between the tokens of JSON data become spaces when it is written.
fn on_one_line(event: Event<'_>) -> Event<'_> {
    let Data::Json(text) = event.data() else { return event };
    let text = text.replace(['\n', '\r'], " ");
    let mut builder = Event::builder(event.id().to_owned(), event.source().to_owned(), event.kind().to_owned());
    if let Some(subject) = event.subject() {
        builder = builder.subject(subject.to_owned());
    }
    if let Some(time) = event.time_text() {
        builder = builder.time(time.to_owned());
    }
    if let Some(media_type) = event.data_content_type() {
        builder = builder.data_content_type(media_type.to_owned());
    }
    if let Some(schema) = event.data_schema() {
        builder = builder.data_schema(schema.to_owned());
    }
    for (name, value) in event.attributes() {
        builder = builder.attribute(name.clone(), value.clone());
    }
    builder.json(text).build_trusted().into_owned()
}

/// A frame of a segment: what is read is written, and read the same. The checksum would keep nearly all bytes out, so it
/// is made to fit.
pub fn frame(bytes: &[u8]) -> bool {
    let context = FrameContext { nonce: 7, base_time: Timestamp(0) };
    frame::decode(&Bytes::copy_from_slice(bytes), context);
    let mut framed = Vec::with_capacity(bytes.len() + frame::HEAD_BYTES);
    framed.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    let crc = crc32c(&context.nonce.to_le_bytes(), bytes);
    framed.extend_from_slice(&crc.to_le_bytes());
    framed.extend_from_slice(bytes);
    let len = framed.len();
    let Some((decoded, read)) = frame::decode(&Bytes::from(framed), context) else { return false };
    assert_eq!(read, len);
    let written = Bytes::from(write_frame(&decoded, context));
    let (again, _) = frame::decode(&written, context).expect("what is written can be read");
    assert_eq!(write_frame(&again, context), written);
    let (Frame::Commit { commit, .. }, Frame::Commit { commit: again, .. }) = (decoded, again) else { return true };
    assert_eq!(commit.chain_after(), again.chain_after());
    assert!(again.rotten_record().is_none());
    for record in &commit.records {
        if record.kind == RecordKind::Event {
            body(&record.body);
        }
    }
    true
}

/// The frame as the store writes it, whose numbers are as short as they can be.
fn write_frame(frame: &Frame, context: FrameContext) -> Vec<u8> {
    let mut out = Vec::new();
    match frame {
        Frame::Mark { durable } => frame::encode_mark(&mut out, context, *durable),
        Frame::Commit { commit, durable } => {
            let record = |framed: &frame::FramedRecord| {
                let mut record = Record::new(framed.kind, framed.body.clone());
                record.stream_version = framed.stream_version;
                record
            };
            let commit = Commit {
                number: commit.number,
                epoch: commit.epoch,
                recorded_time: commit.recorded_time,
                first_position: commit.first_position,
                chain_before: commit.chain_before,
                records: commit.records.iter().map(record).collect(),
            };
            frame::encode(&mut out, context, &commit, *durable, &mut Vec::new());
        }
    }
    out
}

/// CRC32C (Castagnoli, RFC 3720, appendix B.4) bit by bit: an independent one, so that the store's is checked too.
fn crc32c(nonce: &[u8], bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in nonce.iter().chain(bytes) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    !crc
}

/// The body of an event on disk.
pub fn body(bytes: &[u8]) -> bool {
    let Some(event) = quipu_store::body::decode(bytes) else { return false };
    let mut out = Vec::new();
    quipu_store::body::encode(&mut out, &event);
    assert_eq!(quipu_store::body::decode(&out), Some(event));
    true
}

/// Every kind of query string: what is read is written, and read the same.
pub fn query(bytes: &[u8]) -> bool {
    use quipu_api::operation::ItemsRequest;
    use quipu_api::{DeadLettersRequest, EventKey, ReadRequest, StreamRequest, StreamsRequest, TailRequest};
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut means = ItemsRequest::from_query(text).is_ok();
    if let Ok(request) = ReadRequest::from_query(text) {
        assert_eq!(ReadRequest::from_query(&request.to_query()).ok().as_ref(), Some(&request));
        means |= request.start().is_ok();
    }
    if let Ok(request) = StreamRequest::from_query(text) {
        assert_eq!(StreamRequest::from_query(&request.to_query()).ok().as_ref(), Some(&request));
        means |= request.start("order/1").is_ok();
    }
    if let Ok(request) = StreamsRequest::from_query(text) {
        assert_eq!(StreamsRequest::from_query(&request.to_query()).ok().as_ref(), Some(&request));
        means |= request.start().is_ok();
    }
    if let Ok(request) = TailRequest::from_query(text) {
        assert_eq!(TailRequest::from_query(&request.to_query()).ok().as_ref(), Some(&request));
        means = true;
    }
    if let Ok(request) = DeadLettersRequest::from_query(text) {
        assert_eq!(DeadLettersRequest::from_query(&request.to_query()).ok().as_ref(), Some(&request));
        means = true;
    }
    if let Ok(key) = EventKey::from_query(text) {
        assert_eq!(EventKey::from_query(&key.to_query()).ok().as_ref(), Some(&key));
        means = true;
    }
    means
}

/// A cursor, which a client should not make but may.
pub fn cursor(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let question = quipu_api::Cursor::digest("/v1/events?");
    let Ok(cursor) = quipu_api::Cursor::decode(text, question) else { return false };
    assert_eq!(cursor.encode(), text);
    true
}

/// The body of `POST /v1/append`.
pub fn append(bytes: &[u8]) -> bool {
    let Ok(request) = serde_json::from_slice::<quipu_api::AppendRequest>(bytes) else { return false };
    let _ = (request.check_counts(), request.checkpoint());
    request.conditions().is_ok()
}
