//! Which certificate a key is bound to: the SHA-256 of it as it goes over the wire (DER), as with the tokens of RFC 8705,
//! section 3.1. Says nothing that is secret: whoever shakes hands with a client sees its certificate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The SHA-256 of a certificate. Written as 64 hexadecimal digits; read also with colons between the bytes, as openssl
/// prints them.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "String"))]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidFingerprint;

impl fmt::Display for InvalidFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected the SHA-256 of a certificate, 64 hexadecimal digits, found another text")
    }
}

impl std::error::Error for InvalidFingerprint {}

impl From<[u8; 32]> for Fingerprint {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let digits: Vec<u8> = match text.len() {
            64 => text.bytes().collect(),
            95 => {
                let is_colon = |at: usize| at % 3 == 2;
                if text.bytes().enumerate().any(|(at, byte)| is_colon(at) != (byte == b':')) {
                    return Err(InvalidFingerprint);
                }
                text.bytes().filter(|byte| *byte != b':').collect()
            }
            _ => return Err(InvalidFingerprint),
        };
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(InvalidFingerprint);
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(hash))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = InvalidFingerprint;

    fn try_from(text: String) -> Result<Self, InvalidFingerprint> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_in_both_forms_and_written_in_one() {
        let written = "00ab01cd".repeat(8);
        let upper: Vec<String> =
            written.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect();
        for text in [written.clone(), upper.concat(), upper.join(":")] {
            let fingerprint: Fingerprint = text.parse().unwrap();
            assert_eq!(fingerprint.to_string(), written);
            assert_eq!(serde_json::to_string(&fingerprint).unwrap(), format!("\"{written}\""));
        }
        for wrong in [
            String::new(),
            "0".repeat(63),
            "g".repeat(64),
            "é".repeat(32),
            "0:".repeat(32),
            upper.join(";"),
            "0".repeat(95),
            format!("{}:", "00ab01cd".repeat(8)),
            [":"; 95].concat(),
        ] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(InvalidFingerprint), "{wrong}");
        }
    }
}
