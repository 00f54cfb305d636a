//! Server-sent events, read line by line: the part of the format (HTML Living Standard, section 9.2) that
//! `GET /v1/tail` uses, which is ids, data and comments.

use std::io::{self, BufRead};

/// Reads the data of the next message; nothing at the end of the connection. `last_id` becomes the id of every message
/// that is whole, also of one without data, which is not shown. A message that is cut off is dropped with its id, as the
/// format demands.
pub fn next(reader: &mut impl BufRead, last_id: &mut Option<String>) -> io::Result<Option<String>> {
    let mut data: Option<String> = None;
    let mut id = None;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            if id.is_some() {
                *last_id = id.take();
            }
            if data.is_some() {
                return Ok(data);
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (field, &mut data) {
            ("id", _) => id = Some(value.to_owned()),
            ("data", Some(data)) => {
                data.push('\n');
                data.push_str(value);
            }
            ("data", None) => data = Some(value.to_owned()),
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
        let mut last_id = None;
        assert_eq!(next(&mut stream, &mut last_id).unwrap().as_deref(), Some("{\"a\":\n1}"));
        assert_eq!(next(&mut stream, &mut last_id).unwrap(), None);
        assert_eq!(last_id.as_deref(), Some("7"));
    }

    #[test]
    fn the_id_of_a_message_without_data_counts() {
        let mut stream = "id: 7\n\nid: 9\n\n".as_bytes();
        let mut last_id = None;
        assert_eq!(next(&mut stream, &mut last_id).unwrap(), None);
        assert_eq!(last_id.as_deref(), Some("9"));
    }
}
