//! The text of a token: a JWS in its compact form (RFC 7515, section 7.1) whose payload is a JSON object (RFC 7519). Here
//! it is taken apart; nothing of it is believed yet.
//!
//! Of the header only `alg`, `kid`, `typ` and `crit` are looked at. A key, or a URL of one, that a header brings along
//! (`jwk`, `jku`, `x5c`, `x5u`) is the sender's, so it is never read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Algorithm;

/// Longest text of a token. Those with many groups in them have 8 KiB.
pub(super) const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Longest id of a key.
const KEY_ID_BYTES_MAX: usize = 256;

/// A token that was taken apart.
pub(super) struct Token<'t> {
    pub algorithm: Algorithm,
    pub key_id: Option<String>,
    pub claims: Map<String, Value>,
    /// What was signed.
    pub message: &'t [u8],
    pub signature: Vec<u8>,
}

impl<'t> Token<'t> {
    /// Takes a text apart; nothing if it is no signed token that could be checked here.
    pub fn parse(text: &'t str) -> Option<Self> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (message, signature) = text.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let mut header = object(header)?;
        // Extensions that a receiver must understand; none is understood.
        if header.contains_key("crit") || !header.get("typ").is_none_or(is_access_token) {
            return None;
        }
        let algorithm = Algorithm::parse(header.get("alg")?.as_str()?)?;
        let key_id = match header.remove("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= KEY_ID_BYTES_MAX => Some(id),
            Some(_) => return None,
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { algorithm, key_id, claims: object(claims)?, message: message.as_bytes(), signature })
    }
}

/// Whether a text looks like a token at all: three parts of base64url.
pub fn is_token(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= TOKEN_BYTES_MAX && text.split('.').count() == 3 && text.split('.').all(is_part)
}

/// Whether a token of these parts could be checked; for the fuzz targets, which could not find base64 by chance.
#[doc(hidden)]
pub fn reads_token(header: &[u8], claims: &[u8]) -> bool {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let text = format!("{header}.{claims}.c2ln");
    let read = Token::parse(&text);
    assert!(read.is_none() || is_token(&text), "what is read looks like a token");
    read.is_some_and(|token| token.signature == b"sig" && token.message.len() + 5 == text.len())
}

/// Whether the type is one of a token for access: those of other kinds (of a log-out, of security events) are signed with the
/// same keys (RFC 8725, section 3.11).
fn is_access_token(kind: &Value) -> bool {
    let is = |kind: &str| ["jwt", "at+jwt", "application/at+jwt"].iter().any(|known| kind.eq_ignore_ascii_case(known));
    kind.as_str().is_some_and(is)
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(header: &str, claims: &str) -> String {
        format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_taken_apart() {
        for header in [
            r#"{"alg":"ES256","kid":"k"}"#,
            r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#,
            r#"{"typ":"at+JWT","kid":"k","alg":"ES256","jku":"https://evil.example","x5c":["a"]}"#,
        ] {
            let whole = text(header, r#"{"sub":"ada"}"#);
            let token = Token::parse(&whole).expect(header);
            assert_eq!((token.algorithm, token.key_id.as_deref()), (Algorithm::Es256, Some("k")));
            assert_eq!((token.message.len() + 5, token.signature.as_slice()), (whole.len(), &[0, 0, 0][..]));
            assert!(token.claims["sub"] == "ada" && is_token(&whole));
        }
    }

    #[test]
    fn other_texts_are_none() {
        let good = r#"{"alg":"ES256"}"#;
        let whole = text(good, "{}");
        let deep = text(good, &("[".repeat(4_000) + &"]".repeat(4_000)));
        let long = text(good, &format!(r#"{{"a":"{}"}}"#, "x".repeat(TOKEN_BYTES_MAX)));
        for text in [
            "".to_owned(),
            "..".to_owned(),
            "a.b.c".to_owned(),
            text("[]", "{}"),
            text("{}", "{}"),
            text(r#"{"alg":"none"}"#, "{}"),
            text(r#"{"alg":"HS256"}"#, "{}"),
            text(r#"{"alg":["ES256"]}"#, "{}"),
            text(r#"{"alg":"ES256","kid":7}"#, "{}"),
            text(&format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(257)), "{}"),
            text(r#"{"alg":"ES256","crit":["exp"]}"#, "{}"),
            text(r#"{"alg":"ES256","crit":null}"#, "{}"),
            text(r#"{"alg":"ES256","typ":"logout+jwt"}"#, "{}"),
            text(r#"{"alg":"ES256","typ":7}"#, "{}"),
            text(good, "[]"),
            text(good, "\"x\""),
            text(good, "{"),
            format!("{whole}="),
            format!("{whole}.AAAA"),
            format!(" {whole}"),
            whole.replace(".AAAA", ".AA=="),
            whole.replace(".AAAA", ".AAB"),
            whole.replace(".AAAA", ""),
            whole.replace('.', ".."),
            deep,
            long,
        ] {
            assert!(Token::parse(&text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-zA-Z0-9_.=+ -]{0,60}", header in "\\PC{0,40}", claims in "\\PC{0,40}") {
            Token::parse(&text);
            let _ = Token::parse(&self::text(&header, &claims));
            is_token(&text);
        }
    }
}
