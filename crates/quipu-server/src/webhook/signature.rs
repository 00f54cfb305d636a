//! The signature of a webhook: an HMAC-SHA256 over id, timestamp and body, one for each secret that is valid, so that
//! a secret can be replaced without a gap.
//!
//! Source: Standard Webhooks 1.0.0, "Signature scheme" and "Webhook headers". Its asymmetric scheme (`v1a`) is not
//! offered: it needs a key pair, where this needs one secret that both sides know.

use std::fmt;

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use zeroize::Zeroizing;

/// What marks a text as a secret of this scheme.
const PREFIX: &str = "whsec_";
/// Fewest bytes of a secret: 192 bits.
const SECRET_BYTES_MIN: usize = 24;
/// Most bytes of a secret: 512 bits, the block of SHA-256.
const SECRET_BYTES_MAX: usize = 64;
/// Bytes of a secret that is made here: as many as the signature has.
const SECRET_BYTES: usize = 32;

/// What sender and receiver share. Its bytes are never shown by `Debug`, and are overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a text is no secret. It says what was found without repeating any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidSecret {
    /// It does not begin with `whsec_`.
    NoPrefix,
    /// What follows the prefix is no base64 with padding.
    NoBase64,
    /// It is too short or too long.
    Length {
        /// How many bytes it has, decoded.
        bytes: usize,
    },
}

impl fmt::Display for InvalidSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {PREFIX} and the base64 of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, found ")?;
        match self {
            Self::NoPrefix => write!(f, "a text that does not begin with {PREFIX}"),
            Self::NoBase64 => f.write_str("what is no base64 with padding (RFC 4648, section 4)"),
            Self::Length { bytes } => write!(f, "{bytes} bytes"),
        }
    }
}

impl std::error::Error for InvalidSecret {}

impl Secret {
    /// Reads a secret as it is written: `whsec_` and base64.
    ///
    /// # Errors
    /// [`InvalidSecret`] says what was expected and found, but never repeats the text.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidSecret::NoPrefix)?;
        let bytes = Zeroizing::new(BASE64.decode(encoded).map_err(|_| InvalidSecret::NoBase64)?);
        match bytes.len() {
            SECRET_BYTES_MIN..=SECRET_BYTES_MAX => Ok(Self(bytes)),
            length => Err(InvalidSecret::Length { bytes: length }),
        }
    }

    /// A secret of these bytes, which must be random.
    pub fn generate(random: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(random.to_vec()))
    }

    /// The secret as it is written, for its owner's eyes and for keeping; never for a log.
    pub fn expose(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + self.0.len().div_ceil(3) * 4));
        text.push_str(PREFIX);
        BASE64.encode_string(&self.0, &mut text);
        text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The value of `webhook-signature`: one signature for each secret, separated by spaces. Neither the id nor the
/// timestamp (seconds since 1970) may hold a dot, or the parts of what is signed could be told apart in two ways.
pub fn sign(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> HeaderValue {
    assert!(!id.contains('.'), "the id of a webhook holds a dot");
    let head = format!("{id}.{timestamp}.");
    let mut signatures = String::with_capacity(secrets.len() * 48);
    for secret in secrets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
        let mut context = hmac::Context::with_key(&key);
        context.update(head.as_bytes());
        context.update(body);
        if !signatures.is_empty() {
            signatures.push(' ');
        }
        signatures.push_str("v1,");
        BASE64.encode_string(context.sign(), &mut signatures);
    }
    HeaderValue::try_from(signatures).expect("base64, commas and spaces are fit for a header")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_published_vector_is_signed_as_published() {
        // From the tests of the reference libraries of Standard Webhooks.
        let secret = Secret::parse(SECRET).unwrap();
        let signed = sign(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_secret_has_its_signature() {
        let (old, new) = (Secret::parse(SECRET).unwrap(), Secret::generate([7; 32]));
        let one = |secret: &Secret| sign(std::slice::from_ref(secret), "a", 1, b"body").to_str().unwrap().to_owned();
        let both = sign(&[new.clone(), old.clone()], "a", 1, b"body");
        assert_eq!(both, format!("{} {}", one(&new), one(&old)));
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_repeated() {
        let of = |bytes: usize| format!("{PREFIX}{}", BASE64.encode(vec![0xA5; bytes]));
        for (text, expected) in [
            (of(23), InvalidSecret::Length { bytes: 23 }),
            (of(65), InvalidSecret::Length { bytes: 65 }),
            (PREFIX.to_owned(), InvalidSecret::Length { bytes: 0 }),
            (SECRET[PREFIX.len()..].to_owned(), InvalidSecret::NoPrefix),
            (String::new(), InvalidSecret::NoPrefix),
            (format!("{SECRET}*"), InvalidSecret::NoBase64),
            (of(25).trim_end_matches('=').to_owned(), InvalidSecret::NoBase64),
            (format!("{SECRET}\n"), InvalidSecret::NoBase64),
        ] {
            let error = Secret::parse(&text).unwrap_err();
            assert_eq!(error, expected);
            assert!(error.to_string().contains("24 to 64 bytes"), "{error}");
            assert!(!error.to_string().contains("paWlpaWl"), "{error}");
        }
        for bytes in [24, 64] {
            assert!(Secret::parse(&of(bytes)).is_ok());
        }
    }

    #[test]
    fn a_secret_is_shown_only_when_asked_for() {
        let secret = Secret::generate([0xA5; 32]);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        let again = Secret::parse(&secret.expose()).unwrap();
        assert_eq!(again.expose(), secret.expose());
    }
}
