//! What goes over the wire: events, requests and frames, made by copying a text and writing digits into it; and
//! answers, of which only the length and the first bytes are looked at.

use std::net::SocketAddr;

/// Streams that the events go to.
const STREAMS: u64 = 100_000;
/// How the answer to one event that was recorded begins, and the acknowledgement of one over a WebSocket.
pub const RECORDED: &[u8] = b"{\"recorded\":1,";
const ACKNOWLEDGED: &[u8] = b"\"status\":\"recorded\"";

/// Gives every event of a store a number of its own.
#[derive(Default)]
pub struct Numbers(u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// The JSON of an event that the store keeps in some 256 bytes, and where its digits stand.
pub struct Template {
    text: Vec<u8>,
    number: usize,
    streams: [usize; 2],
}

impl Template {
    pub fn new() -> Self {
        let text = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"0123456789abcdef-NNNNNNNNNNN\",\"source\":\"/bench/orders\",\
             \"type\":\"order.placed\",\"subject\":\"order/SSSSSSSSSS\",\"time\":\"2026-01-01T00:00:00.000Z\",\
             \"datacontenttype\":\"application/json\",\
             \"data\":{{\"orderId\":\"SSSSSSSSSS\",\"total\":12345678,\"note\":\"{}\"}}}}",
            "x".repeat(73)
        );
        let number = text.find("NNNNNNNNNNN").expect("it is there");
        let first = text.find("SSSSSSSSSS").expect("it is there");
        let second = text.rfind("SSSSSSSSSS").expect("it is there");
        Self { text: text.into_bytes(), number, streams: [first, second] }
    }

    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Appends the event of this number.
    pub fn write(&self, out: &mut Vec<u8>, n: u64) {
        let start = out.len();
        out.extend_from_slice(&self.text);
        let event = &mut out[start..];
        digits(&mut event[self.number..self.number + 11], n);
        let stream = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % STREAMS;
        for at in self.streams {
            digits(&mut event[at..at + 10], stream);
        }
    }

    /// The number of an event, from its JSON as it was delivered.
    pub fn number_of(json: &[u8]) -> Option<u64> {
        let at = find(json, b"\"0123456789abcdef-")? + 18;
        std::str::from_utf8(json.get(at..at + 11)?).ok()?.parse().ok()
    }
}

fn digits(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The head of a request with a body of this length.
pub fn head(address: SocketAddr, path: &str, media_type: &str, length: usize, more: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n{more}\r\n"
    )
    .into_bytes()
}

/// The request that opens a WebSocket.
pub fn upgrade(address: SocketAddr) -> Vec<u8> {
    format!(
        "GET /v1/ws HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: cloudevents.json\r\n\r\n"
    )
    .into_bytes()
}

/// The beginning of a text frame from a client. The mask is zero, so that the text stays as it is; the server has to
/// apply it all the same.
pub fn frame_head(out: &mut Vec<u8>, length: usize) {
    out.push(0x81);
    match u16::try_from(length) {
        Ok(short) if short < 126 => out.push(0x80 | short as u8),
        Ok(long) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&long.to_be_bytes());
        }
        Err(_) => unreachable!("no frame here is so long"),
    }
    out.extend_from_slice(&[0; 4]);
}

/// The payload of the first frame from a server and how many bytes the frame takes; nothing if it is not whole yet.
pub fn frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (start, length) = match bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        short => (2, usize::from(*short)),
    };
    assert!(length < 127 || start == 4, "no frame here is so long");
    Some((bytes.get(start..start + length)?, start + length))
}

pub fn is_acknowledgement(payload: &[u8]) -> bool {
    payload.starts_with(b"{\"ack\"") && find(payload, ACKNOWLEDGED).is_some()
}

/// The body of the first answer and how many bytes the answer takes; nothing if it is not whole yet.
pub fn answer(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    assert!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(bytes));
    let at = find(&bytes[..head], b"content-length: ").expect("an answer says its length") + 16;
    let length = bytes[at..].iter().take_while(|c| c.is_ascii_digit());
    let length = length.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    Some((bytes.get(head..head + length)?, head + length))
}

pub fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        from += bytes.get(from..)?.iter().position(|byte| *byte == part[0])?;
        if bytes[from..].starts_with(part) {
            return Some(from);
        }
        from += 1;
    }
}
