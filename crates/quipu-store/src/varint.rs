//! Unsigned LEB128 numbers and length-prefixed bytes, the two primitives of every format here. Reading never panics:
//! what is short or too long is `None`.

/// Appends a number in 1 to 10 bytes.
pub fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends bytes with their length before them.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A cursor over bytes that are not trusted.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    /// `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// A little-endian number of four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A little-endian number of eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number written by [`put`].
    pub fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for (i, byte) in self.rest.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7F) << (7 * i);
            if byte & 0x80 == 0 {
                // The tenth byte holds one bit.
                if i == 9 && *byte > 1 {
                    return None;
                }
                self.rest = &self.rest[i + 1..];
                return Some(number);
            }
        }
        None
    }

    /// Bytes written by [`put_bytes`].
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.take(len)
    }

    /// Text written by [`put_bytes`].
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_read(number in any::<u64>(), bytes in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            put(&mut out, number);
            put_bytes(&mut out, &bytes);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Some(number));
            prop_assert_eq!(reader.bytes(), Some(&bytes[..]));
            prop_assert!(reader.rest().is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in any::<Vec<u8>>()) {
            let mut reader = Reader::new(&bytes);
            while reader.varint().is_some() && reader.bytes().is_some() {}
        }
    }
}
