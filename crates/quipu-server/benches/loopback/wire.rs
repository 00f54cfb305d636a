//! What goes over the wire: the heads of requests and frames, and answers, of which only the length is looked at.

use std::net::SocketAddr;

/// The media type of one event.
pub const EVENT: &str = "application/cloudevents+json";
/// How the answer to one event that was recorded begins.
pub const RECORDED: &[u8] = b"{\"recorded\":1,";

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
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().expect("eight bytes")) as usize),
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        short => (2, usize::from(*short)),
    };
    Some((bytes.get(start..start + length)?, start + length))
}

/// The body of the first answer and how many bytes the answer takes; nothing if it is not whole yet.
pub fn answer(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let answer = any_answer(bytes)?;
    assert!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(bytes));
    Some(answer)
}

/// The same, whatever its status.
pub fn any_answer(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
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
