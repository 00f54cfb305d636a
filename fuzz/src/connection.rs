//! What comes over a connection in whatever pieces: lines of a bulk load, requests of which HTTP reads too much at once, and
//! server-sent events.

use std::io::BufReader;

use quipu_server::{Ahead, split_lines};

/// Sizes of pieces; the last is larger than any input.
const PIECES: [usize; 5] = [1, 2, 3, 7, usize::MAX];

/// A bulk load: in whatever pieces, and with whatever room for lines at once, it has the lines that the text has.
pub fn lines(bytes: &[u8]) -> bool {
    for limit in [8, 1 << 20] {
        let expected = lines_of(bytes, limit);
        for size in PIECES {
            for room in [1, 2, usize::MAX] {
                let found = split_lines(bytes.chunks(size), limit, room);
                let found: Vec<_> = found.into_iter().map(|(number, line)| (number, line.ok())).collect();
                assert_eq!(found, expected, "pieces of {size}, room for {room}, at most {limit}");
            }
        }
    }
    lines_of(bytes, 1 << 20).iter().any(|(_, line)| line.is_some())
}

/// The same at once: a line over the limit is there without its text, a blank one is not there.
fn lines_of(bytes: &[u8], limit: usize) -> Vec<(u64, Option<Vec<u8>>)> {
    let numbered = (1..).zip(bytes.split(|byte| *byte == b'\n'));
    let read = numbered.map(|(number, line)| (number, (line.len() <= limit).then(|| line.trim_ascii().to_vec())));
    read.filter(|(_, line)| line.as_ref().is_none_or(|line| !line.is_empty())).collect()
}

/// Requests, one behind the other: when HTTP waits for a head, no more of it is there than was counted, but for
/// what one read brought: a client that sends the end of a body as if it were a head has so much for nothing. Of a client
/// that waits for each answer, and says how long its bodies are, it is known that nothing is.
pub fn ahead(bytes: &[u8]) -> bool {
    let mut alone = Vec::new();
    let mut rest = bytes;
    while let Some(end) = request_end(rest) {
        alone.push(&rest[..end]);
        rest = &rest[end..];
    }
    for size in PIECES {
        Wire::new(bytes.chunks(size)).follow(false);
        Wire::new(alone.iter().flat_map(|request| request.chunks(size))).follow(true);
    }
    !alone.is_empty()
}

/// Server-sent events, as the command line reads those of `GET /v1/tail`: the same messages and ids in whatever pieces.
pub fn messages(bytes: &[u8]) -> bool {
    let read = |size: usize| {
        let (mut reader, mut last_id, mut found) = (BufReader::with_capacity(size, bytes), None, Vec::new());
        while let Ok(Some(data)) = super::sse::next(&mut reader, &mut last_id) {
            found.push((last_id.clone(), data));
        }
        (found, last_id)
    };
    let (found, last_id) = read(bytes.len() + 1);
    for size in [1, 2, 3, 7] {
        assert_eq!(read(size), (found.clone(), last_id.clone()), "pieces of {size}");
    }
    !found.is_empty()
}

/// HTTP as far as it concerns what it reads, and what it has read and not used.
struct Wire<I> {
    pieces: I,
    unused: Vec<u8>,
    /// Bytes of the last read.
    last: usize,
    ahead: Ahead,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Wire<I> {
    fn new(pieces: I) -> Self {
        Self { pieces, unused: Vec::new(), last: 0, ahead: Ahead::default() }
    }

    fn read(&mut self) -> Option<()> {
        let piece = self.pieces.next()?;
        self.ahead.read(piece);
        self.last = piece.len();
        self.unused.extend_from_slice(piece);
        Some(())
    }

    /// Takes requests until nothing more comes.
    fn follow(mut self, is_alone: bool) {
        while self.request(is_alone).is_some() {}
    }

    fn request(&mut self, is_alone: bool) -> Option<()> {
        let counted = self.ahead.waits();
        // It does not wait for a head that it has.
        if head_end(&self.unused).is_none() {
            assert!(counted + self.last >= self.unused.len(), "{counted} of {:?}", self.unused);
        }
        assert!(!is_alone || counted == 0, "{counted} of a request that did not come yet");
        let end = loop {
            match head_end(&self.unused) {
                Some(end) => break end,
                None => self.read()?,
            }
        };
        let head: Vec<u8> = self.unused.drain(..end).collect();
        let length = body_length(&head);
        self.ahead.begins(length.map(|length| length as u64));
        let mut body = Vec::new();
        loop {
            let used = body_end(length, &body, &self.unused);
            body.extend(self.unused.drain(..used.unwrap_or(self.unused.len())));
            if is_alone {
                assert_eq!(self.ahead.has_ended(), used.is_some(), "after {} bytes of {length:?}", body.len());
            }
            match used {
                Some(_) => return Some(()),
                None => self.read()?,
            }
        }
    }
}

/// Where a request ends whose body is of known length, if it does.
fn request_end(bytes: &[u8]) -> Option<usize> {
    let head = head_end(bytes)?;
    let length = body_length(&bytes[..head])?;
    Some(head + body_end(Some(length), &[], &bytes[head..])?)
}

/// Behind the first empty line that has text before it.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let first = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let is_end = |end: &usize| bytes[first..*end].ends_with(b"\n\n") || bytes[first..*end].ends_with(b"\n\r\n");
    (first..=bytes.len()).find(is_end)
}

/// What a head says of its body; nothing of one in chunks.
fn body_length(head: &[u8]) -> Option<usize> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if value("transfer-encoding:").is_some() {
        return None;
    }
    Some(value("content-length:").and_then(|length| length.parse::<u8>().ok()).map_or(0, usize::from))
}

/// How many of these bytes end a body of which some came before; nothing if they do not. Chunks end with an empty line.
fn body_end(length: Option<usize>, before: &[u8], bytes: &[u8]) -> Option<usize> {
    match length {
        Some(length) => Some(length - before.len()).filter(|left| *left <= bytes.len()),
        None => {
            let all = [before, bytes].concat();
            (before.len()..=all.len()).find(|end| all[..*end].ends_with(b"\r\n\r\n")).map(|end| end - before.len())
        }
    }
}
