//! What is appended: the same JSON of a given size for every system. What a system wants beside it (an envelope, a subject,
//! a stream and version) is made by its client of the event's numbers.

use bytes::Bytes;

/// Streams that one client appends to; no other client does, so it knows their versions.
const STREAMS: u64 = 1_000;
/// Where the digits of the number stand in the JSON.
const NUMBER: std::ops::Range<usize> = 11..27;

/// One event that is to be appended.
#[derive(Clone, Debug)]
pub struct Event {
    /// The stream, subject or key.
    pub stream: u64,
    /// What it will be the number of in its stream.
    pub version: u64,
    /// Its own number among all.
    pub number: u64,
    /// The JSON.
    pub data: Bytes,
}

/// Makes the events of one client.
pub struct Events {
    client: u64,
    made: u64,
    text: Vec<u8>,
}

impl Events {
    /// Events whose JSON takes so many bytes.
    pub fn new(client: usize, bytes: usize) -> Self {
        let mut text =
            b"{\"number\":\"0000000000000000\",\"customer\":\"customer-4711\",\"total\":12345678,\"note\":\"".to_vec();
        // Letters without a pattern: some systems compress, and real notes are not one letter a thousand times.
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        while text.len() < bytes - 2 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"[(seed >> 58) as usize]);
        }
        text.extend_from_slice(b"\"}");
        Self { client: client as u64, made: 0, text }
    }

    /// The next one.
    pub fn make(&mut self) -> Event {
        let (stream, version) = (self.client * STREAMS + self.made % STREAMS, self.made / STREAMS + 1);
        let event = self.of(stream, version);
        self.made += 1;
        event
    }

    /// The next one, of another stream than its own; the version is for the caller to know.
    pub fn make_for(&mut self, stream: u64, version: u64) -> Event {
        let event = self.of(stream, version);
        self.made += 1;
        event
    }

    /// So many of them.
    pub fn batch(&mut self, count: usize) -> Vec<Event> {
        (0..count).map(|_| self.make()).collect()
    }

    fn of(&self, stream: u64, version: u64) -> Event {
        let number = self.client * 1_000_000_000 + self.made;
        let mut text = self.text.clone();
        let mut rest = number;
        for digit in text[NUMBER].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        Event { stream, version, number, data: Bytes::from(text) }
    }
}

/// The number of an event, from its JSON as it came back.
pub fn number_of(data: &[u8]) -> Option<u64> {
    std::str::from_utf8(data.get(NUMBER)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_of_its_size_and_keeps_its_number() {
        for bytes in [256, 4_096] {
            let mut events = Events::new(3, bytes);
            events.make();
            let event = events.make();
            assert_eq!(event.data.len(), bytes);
            serde_json::from_slice::<serde_json::Value>(&event.data).expect("JSON");
            assert_eq!(number_of(&event.data), Some(event.number));
        }
    }

    #[test]
    fn a_stream_gets_its_versions_one_after_the_other() {
        let mut events = Events::new(1, 256);
        let made = events.batch(2 * STREAMS as usize + 1);
        let of_first: Vec<u64> =
            made.iter().filter(|event| event.stream == STREAMS).map(|event| event.version).collect();
        assert_eq!(of_first, [1, 2, 3]);
    }
}
