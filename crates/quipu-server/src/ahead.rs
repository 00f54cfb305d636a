//! How much HTTP has read ahead: bytes that are behind the request it deals with, which are the beginning of the next
//! one. HTTP does not tell, so it is reckoned here from what goes by: where heads end, how long bodies are.
//!
//! This only counts. What a head means, and whether it is one, is the business of HTTP.

/// What was read of one connection, from the view of the next head.
#[derive(Debug, Default)]
pub struct Ahead {
    stage: Stage,
    line: Line,
    /// Bytes behind the end of the head that is being read, or behind the request. Too many where several requests
    /// came at once: only the first head of these was seen to end.
    behind: usize,
}

#[derive(Debug, Default, PartialEq)]
enum Stage {
    #[default]
    Head,
    /// The head has ended; HTTP has not said yet what it makes of it.
    Ended,
    /// Of a body of known length so much has to come yet.
    Body(u64),
    /// A body of which only HTTP knows the end.
    Chunks,
}

/// Where in a line the last byte was. A head ends with a line that is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Line {
    /// Before the first line: breaks count for nothing here.
    #[default]
    First,
    Text,
    Broken,
    BrokenAndReturned,
    /// Behind an empty line.
    Empty,
}

impl Line {
    fn step(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::First | Self::Empty, b'\r' | b'\n') => Self::First,
            (Self::Text, b'\n') => Self::Broken,
            (Self::Broken, b'\r') => Self::BrokenAndReturned,
            (Self::Broken | Self::BrokenAndReturned, b'\n') => Self::Empty,
            _ => Self::Text,
        }
    }
}

impl Ahead {
    /// These bytes were read. While a body is read HTTP reads only when it has nothing left.
    pub fn read(&mut self, bytes: &[u8]) {
        match &mut self.stage {
            Stage::Head => self.read_head(bytes),
            Stage::Ended => self.behind += bytes.len(),
            Stage::Body(left) => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= used as u64;
                self.behind = bytes.len() - used;
                self.skip(bytes);
            }
            Stage::Chunks => {
                self.behind = bytes.len();
                self.skip(bytes);
            }
        }
    }

    fn read_head(&mut self, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            self.line = self.line.step(*byte);
            if self.line == Line::Empty {
                self.stage = Stage::Ended;
                self.behind = bytes.len() - index - 1;
                self.skip(&bytes[index + 1..]);
                return;
            }
        }
        self.behind += bytes.len();
    }

    /// An empty line shows in the breaks at the end; more breaks than that are what may stand before a head.
    fn skip(&mut self, bytes: &[u8]) {
        let breaks = bytes.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let (text, breaks) = bytes.split_at(bytes.len() - breaks);
        let line = if text.is_empty() { self.line } else { Line::Text };
        self.line = breaks.iter().fold(line, |line, byte| line.step(*byte));
    }

    /// HTTP has a whole head, with a body of this length if that is known.
    pub fn begins(&mut self, length: Option<u64>) {
        self.stage = match length {
            Some(length) => {
                let used = self.behind.min(usize::try_from(length).unwrap_or(usize::MAX));
                self.behind -= used;
                Stage::Body(length - used as u64)
            }
            None => Stage::Chunks,
        };
        let ends_empty = length == Some(0) || length.is_none();
        if ends_empty && self.line == Line::Empty {
            self.behind = 0;
        }
    }

    /// Whether the client has sent no more than the whole request. Of one in chunks it is not known.
    pub fn has_ended(&self) -> bool {
        self.stage == Stage::Body(0) && self.behind == 0
    }

    /// HTTP waits for the next head. Says how many bytes of that may be there: none if it is certain that there are none.
    pub fn waits(&mut self) -> usize {
        // What is behind an empty line would be a whole head, which HTTP would not wait for.
        if self.stage == Stage::Chunks && self.line == Line::Empty {
            self.behind = 0;
        }
        if self.behind == 0 {
            self.line = Line::First;
        }
        self.stage = Stage::Head;
        self.behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    const POST: &str = "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";

    #[test]
    fn what_is_behind_a_request_is_known_however_it_was_read() {
        for (name, first, length, rest, expected) in [
            ("nothing", GET.to_owned(), Some(0), "", 0),
            ("the next head", format!("{GET}GET"), Some(0), "", 3),
            ("the next head, later", GET.to_owned(), Some(0), "GET", 3),
            ("bare breaks", "GET / HTTP/1.1\n\nGE".to_owned(), Some(0), "", 2),
            ("breaks before", format!("\r\n\r\n{GET}"), Some(0), "", 0),
            ("breaks behind", format!("{GET}\r\n\r\n\r\n"), Some(0), "", 6),
            ("breaks behind chunks, at most", format!("{CHUNKED}0\r\n\r\n\r\n\r\n"), None, "", 9),
            ("a body at once", format!("{POST}12345"), Some(5), "", 0),
            ("a body and more", format!("{POST}12345GET"), Some(5), "", 3),
            ("a body in two parts", format!("{POST}12"), Some(5), "345", 0),
            ("a body in two parts and more", format!("{POST}12"), Some(5), "345GET /", 5),
            ("a body that ends with an empty line", format!("{POST}1\r\n\r\n"), Some(5), "", 0),
            ("chunks", format!("{CHUNKED}0\r\n\r\n"), None, "", 0),
            ("chunks later", CHUNKED.to_owned(), None, "0\r\n\r\n", 0),
            ("at most what was read with the last chunk", CHUNKED.to_owned(), None, "0\r\n\r\nGET", 8),
        ] {
            let mut ahead = Ahead::default();
            assert_eq!(ahead.waits(), 0);
            ahead.read(first.as_bytes());
            ahead.begins(length);
            if !rest.is_empty() {
                ahead.read(rest.as_bytes());
            }
            assert_eq!(ahead.waits(), expected, "{name}");
        }
    }

    #[test]
    fn a_head_that_was_begun_early_ends_where_it_ends() {
        let mut ahead = Ahead::default();
        ahead.read(format!("{POST}12345GET / HTTP/1.1\r\n").as_bytes());
        ahead.begins(Some(5));
        assert_eq!(ahead.waits(), 16);
        ahead.read(b"\r\n");
        ahead.begins(Some(0));
        assert_eq!(ahead.waits(), 0);
    }

    #[test]
    fn after_several_requests_at_once_it_is_certain_again_with_the_next() {
        let mut ahead = Ahead::default();
        ahead.read(format!("{POST}12345{POST}12345").as_bytes());
        ahead.begins(Some(5));
        assert_eq!(ahead.waits(), POST.len() + 5);
        ahead.begins(Some(5));
        assert_eq!(ahead.waits(), POST.len(), "at most");
        ahead.read(format!("{POST}12345").as_bytes());
        ahead.begins(Some(5));
        assert_eq!(ahead.waits(), 0);
    }
}
