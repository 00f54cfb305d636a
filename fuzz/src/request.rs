//! The JSON that requests bring beside events: definitions of subscriptions, answers, operations, frames of a WebSocket,
//! and the bytes that these frames come in.

use quipu_api::deadletter::{DiscardRequest, RedriveRequest};
use quipu_api::frame::{Command, ControlFrame};
use quipu_api::subscription::{SeekRequest, read_definition};
use quipu_api::{
    AnswersRequest, CreateSubscription, PatternTestRequest, PreviewRequest, Problem, PullRequest, RotateRequest,
    TailRequest,
};
use serde::Serialize;

/// The bodies of requests that change something but append nothing; of one that asks; and a problem document, which
/// clients read.
pub fn request(bytes: &[u8]) -> bool {
    let asks_about_pattern = serde_json::from_slice::<PatternTestRequest<'_>>(bytes).is_ok();
    let rotates = serde_json::from_slice::<RotateRequest>(bytes).is_ok();
    let read_again = [
        reads_again(bytes, AnswersRequest::from_json),
        reads_again(bytes, PullRequest::from_json),
        reads_again(bytes, SeekRequest::from_json),
        reads_again(bytes, PreviewRequest::from_json),
        reads_again(bytes, RedriveRequest::from_json),
        reads_again(bytes, DiscardRequest::from_json),
        reads_again(bytes, |bytes| serde_json::from_slice::<Problem>(bytes)),
    ];
    asks_about_pattern || rotates || read_again.contains(&true)
}

/// A definition of a subscription: what is shown of it can be sent again.
pub fn subscription(bytes: &[u8]) -> bool {
    reads_again(bytes, read_definition);
    let Ok(create) = CreateSubscription::from_json(bytes) else { return false };
    reads_again(&json(&create), CreateSubscription::from_json);
    if create.definition.check().is_err() {
        return false;
    }
    let _ = create.definition.rules();
    true
}

/// What a client asks for over a WebSocket.
pub fn control(bytes: &[u8]) -> bool {
    reads_again(bytes, |bytes| serde_json::from_slice::<ControlFrame>(bytes));
    let Ok(frame) = serde_json::from_slice::<ControlFrame>(bytes) else { return false };
    let Ok(command) = frame.command() else { return false };
    let Command::Subscribe(members) = command else { return true };
    let Ok(pairs) = quipu_api::filter_from_json(&members) else { return false };
    let Ok(request) = TailRequest::from_pairs(pairs) else { return false };
    assert_eq!(TailRequest::from_query(&request.to_query()).ok().as_ref(), Some(&request));
    true
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("it is plain data")
}

/// What is read is written, and read the same.
fn reads_again<T: Serialize, E: std::fmt::Debug>(bytes: &[u8], read: impl Fn(&[u8]) -> Result<T, E>) -> bool {
    let Ok(value) = read(bytes) else { return false };
    let written = json(&value);
    assert_eq!(json(&read(&written).expect("what is written can be read")), written);
    true
}

/// The bytes of a WebSocket: in whatever pieces they come, as many of them are held as a parser of the whole says.
pub fn socket(bytes: &[u8]) -> bool {
    let whole = quipu_server::count_frames(std::iter::once(bytes));
    assert_eq!(quipu_server::count_frames(bytes.chunks(1)), whole);
    assert_eq!(quipu_server::count_frames(bytes.chunks(5)), whole);
    assert_eq!(held(bytes), whole);
    whole.1 > 0
}

/// The same read off RFC 6455, section 5.2: the bytes that are held, and how many messages were whole.
fn held(mut bytes: &[u8]) -> (usize, u64) {
    let (mut whole, mut fragments, mut messages) = (0, 0, 0);
    while let Some((head, payload)) = frame(bytes).filter(|(head, payload)| bytes.len() as u64 - head >= *payload) {
        let length = (head + payload) as usize;
        match (bytes[0] & 0x08 != 0, bytes[0] & 0x80 != 0) {
            (true, _) => whole += length,
            (false, true) => (whole, fragments, messages) = (whole + length + fragments, 0, messages + 1),
            (false, false) => fragments += payload as usize,
        }
        bytes = &bytes[length..];
    }
    (whole + fragments + bytes.len(), messages)
}

/// The lengths of the head and the payload of a frame, if its head is whole.
fn frame(bytes: &[u8]) -> Option<(u64, u64)> {
    let second = *bytes.get(1)?;
    let (extended, length) = match second & 0x7f {
        126 => (2, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (8, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (0, u64::from(short)),
    };
    let head = 2 + extended + u64::from(second >> 7) * 4;
    (bytes.len() as u64 >= head).then_some((head, length))
}
