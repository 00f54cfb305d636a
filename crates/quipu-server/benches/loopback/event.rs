//! Events of order fulfilment that differ in a few digits, so that making one is a copy.

use crate::loopback::wire;

/// The JSON of an event that the store keeps in some 256 bytes, and where its digits stand.
pub struct Template {
    text: Vec<u8>,
    number: usize,
    /// How many streams there are, and where the one of an event is named.
    streams: u64,
    places: [usize; 2],
}

impl Template {
    /// For events of so many streams.
    pub fn new(streams: u64) -> Self {
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
        Self { text: text.into_bytes(), number, streams, places: [first, second] }
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
        let stream = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.streams;
        for at in self.places {
            digits(&mut event[at..at + 10], stream);
        }
    }

    /// The number of an event, from its JSON as it was delivered.
    pub fn number_of(json: &[u8]) -> Option<u64> {
        let at = wire::find(json, b"\"0123456789abcdef-")? + 18;
        std::str::from_utf8(json.get(at..at + 11)?).ok()?.parse().ok()
    }
}

fn digits(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
