//! The text of a key: `qp_<tenant>_<id>_<secret>`. The tenant and the id say which key it is, 16 hexadecimal digits; the
//! secret, 64 of them, is 256 bits of chance that are shown once. The prefix lets scanners of repositories find it.

use std::fmt;

use zeroize::Zeroizing;

/// What the text begins with.
pub const TOKEN_PREFIX: &str = "qp_";
/// Digits of an id.
const ID_DIGITS: usize = 16;
/// Bytes of a secret.
pub const SECRET_BYTES: usize = 32;

/// The secret of a key. Wiped when it is dropped, and never shown by `Debug`.
#[derive(Clone)]
pub struct KeySecret(Zeroizing<[u8; SECRET_BYTES]>);

/// A key as a client shows it. Whether there is one, and whether the secret is its own, is for the tenant to say.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The id of the key.
    pub id: &'a str,
    /// Its secret.
    pub secret: KeySecret,
}

impl KeySecret {
    /// A secret of these bytes, which chance has made.
    pub fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A secret of the bytes that are filled in, by chance.
    pub fn made_by(fill: impl FnOnce(&mut [u8; SECRET_BYTES])) -> Self {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        fill(&mut bytes);
        Self(bytes)
    }

    /// The bytes, to be hashed.
    pub fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// The text of the key with this secret: to be shown once, and to nobody else.
    pub fn token(&self, tenant: &str, id: &str) -> Zeroizing<String> {
        // Of the right size from the beginning: a text that grows leaves copies behind.
        let size = TOKEN_PREFIX.len() + tenant.len() + id.len() + 2 + 2 * SECRET_BYTES;
        let mut text = Zeroizing::new(String::with_capacity(size));
        for part in [TOKEN_PREFIX, tenant, "_", id, "_"] {
            text.push_str(part);
        }
        text.push_str(&self.hex());
        text
    }

    /// Its bytes as hexadecimal digits.
    pub fn hex(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(2 * SECRET_BYTES));
        for byte in *self.0 {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).expect("it is below 16"));
            }
        }
        text
    }

    /// Reads what [`KeySecret::hex`] has written; nothing if it is no such text.
    pub fn from_hex(digits: &str) -> Option<Self> {
        if digits.len() != 2 * SECRET_BYTES || !is_hex(digits) {
            return None;
        }
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let value = |digit: u8| if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 };
            *byte = value(pair[0]) << 4 | value(pair[1]);
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(…)")
    }
}

impl<'a> Token<'a> {
    /// Reads the text of a key; nothing if it is none.
    ///
    /// ```
    /// use quipu_domain::access::{KeySecret, Token};
    /// let text = KeySecret::new([7; 32]).token("acme", "00112233445566ff");
    /// let token = Token::parse(&text).unwrap();
    /// assert_eq!((token.tenant, token.id), ("acme", "00112233445566ff"));
    /// ```
    pub fn parse(text: &'a str) -> Option<Self> {
        // A tenant's name may have underscores, so what follows it is split off from the end.
        let mut parts = text.strip_prefix(TOKEN_PREFIX)?.rsplitn(3, '_');
        let (digits, id, tenant) = (parts.next()?, parts.next()?, parts.next()?);
        if id.len() != ID_DIGITS || !is_hex(id) || !(1..=64).contains(&tenant.len()) {
            return None;
        }
        Some(Self { tenant, id, secret: KeySecret::from_hex(digits)? })
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef";

    #[test]
    fn a_key_is_read_as_it_is_written_and_not_shown() {
        let bytes = std::array::from_fn(|at| (at * 37) as u8);
        for tenant in ["a", "acme_corp_2", "_", "x-y"] {
            let text = KeySecret::new(bytes).token(tenant, ID);
            let token = Token::parse(&text).unwrap();
            assert_eq!((token.tenant, token.id, token.secret.bytes()), (tenant, ID, &bytes));
            assert!(!format!("{token:?}").contains(&text[text.len() - 8..]));
        }
    }

    #[test]
    fn other_texts_are_no_keys() {
        let whole = KeySecret::new([10; 32]).token("acme", ID);
        assert!(whole.ends_with("0a0a"));
        let long = "a".repeat(65);
        for text in [
            "",
            "qp_",
            "qp___",
            &whole[1..],
            &whole[..whole.len() - 1],
            &format!("{}0", *whole),
            &whole.to_uppercase(),
            &whole.replace("0a0a", "0Aé"),
            &whole.replace("acme_", ""),
            &whole.replace("acme", ""),
            &whole.replace("acme", &long),
            &whole.replace(ID, "0123456789abcde"),
            &whole.replace(ID, "0123456789abcdeg"),
            &format!(" {}", *whole),
        ] {
            assert!(Token::parse(text).is_none(), "{text}");
        }
    }
}
