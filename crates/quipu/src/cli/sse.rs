//! Server-sent events, read line by line: the part of the format (HTML Living Standard, section 9.2) that
//! `GET /v1/tail` uses, which is ids, data and comments.

use std::io::{self, BufRead};

/// One message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The last id that was seen, this message's or an earlier one's.
    pub id: Option<String>,
    /// Its data; several `data` lines joined by a line break.
    pub data: String,
}

/// Reads the next message; nothing at the end of the connection. A message that is cut off is dropped, as the
/// format demands.
pub fn next(reader: &mut impl BufRead) -> io::Result<Option<Message>> {
    let mut message = Message::default();
    let mut has_data = false;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            if has_data {
                return Ok(Some(message));
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => message.id = Some(value.to_owned()),
            "data" => {
                if has_data {
                    message.data.push('\n');
                }
                has_data = true;
                message.data.push_str(value);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_skipped_and_a_cut_message_is_dropped() {
        let mut stream = ":beat\n\nid: 7\ndata: {\"a\":\r\ndata:1}\n\n:beat\n\nid: 8\ndata: cut".as_bytes();
        let message = next(&mut stream).unwrap();
        assert_eq!(message, Some(Message { id: Some("7".into()), data: "{\"a\":\n1}".into() }));
        assert_eq!(next(&mut stream).unwrap(), None);
    }
}
