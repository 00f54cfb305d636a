//! The public keys of a provider (RFC 7517, RFC 7518 section 6, RFC 8037). What is no key for signatures, or of a kind that
//! is not known here, is passed over: providers publish others beside.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value};

use super::Algorithm;

/// Most keys of a provider. The largest have about ten; a signature is tried with each that has the same id.
const KEYS_MAX: usize = 64;
/// Longest number of a key: 8,192 bits.
const NUMBER_BYTES_MAX: usize = 1_024;

/// One public key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Jwk {
    id: Option<String>,
    /// The one algorithm that it is for, if it says so.
    only: Option<Algorithm>,
    public: Public,
}

#[derive(Debug, PartialEq, Eq)]
enum Public {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point of P-256, uncompressed.
    P256(Vec<u8>),
    /// One of P-384.
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// What a provider publishes.
#[derive(Debug)]
pub(super) struct Jwks {
    keys: Vec<Arc<Jwk>>,
}

impl Jwks {
    /// Reads a set of keys; what is wrong with it otherwise.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let Ok(Value::Object(set)) = serde_json::from_slice(bytes) else {
            return Err("expected a JSON object with keys, found another text".to_owned());
        };
        let Some(Value::Array(all)) = set.get("keys") else {
            return Err("expected an array of keys, found none".to_owned());
        };
        if all.len() > KEYS_MAX {
            return Err(format!("expected at most {KEYS_MAX} keys, found {}", all.len()));
        }
        let keys: Vec<_> = all.iter().filter_map(|key| Jwk::read(key.as_object()?)).map(Arc::new).collect();
        if keys.is_empty() {
            return Err(format!(
                "expected a key for signatures (RSA, P-256, P-384 or Ed25519), found {} others",
                all.len()
            ));
        }
        Ok(Self { keys })
    }

    /// The keys that may have signed what says so in its header. Without an id there must be one only.
    pub fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<&Arc<Jwk>> {
        let fits = |key: &&Arc<Jwk>| key.fits(algorithm) && id.is_none_or(|id| key.id.as_deref() == Some(id));
        let found: Vec<_> = self.keys.iter().filter(fits).collect();
        if id.is_none() && found.len() > 1 { Vec::new() } else { found }
    }

    /// Whether this key is one of them.
    pub fn has(&self, key: &Arc<Jwk>) -> bool {
        self.keys.iter().any(|own| Arc::ptr_eq(own, key) || own == key)
    }
}

impl Jwk {
    fn read(key: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        if key.get("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let verifies = |ops: &Value| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify"));
        if !key.get("key_ops").is_none_or(verifies) {
            return None;
        }
        let bytes =
            |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok().filter(|bytes| bytes.len() <= NUMBER_BYTES_MAX);
        let point = |size: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            (x.len() == size && y.len() == size).then(|| [&[4], x.as_slice(), &y].concat())
        };
        let public = match (text("kty")?, text("crv")) {
            ("RSA", _) => Public::Rsa { n: without_zeros(bytes("n")?), e: without_zeros(bytes("e")?) },
            ("EC", Some("P-256")) => Public::P256(point(32)?),
            ("EC", Some("P-384")) => Public::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Public::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let id = text("kid").map(str::to_owned);
        let only = match key.get("alg") {
            None => None,
            Some(alg) => Some(Algorithm::parse(alg.as_str()?)?),
        };
        let key = Self { id, only, public };
        // One for an algorithm of another kind is good for none.
        Algorithm::ALL.iter().any(|algorithm| key.fits(*algorithm)).then_some(key)
    }

    /// Whether it is for this algorithm: what a header says decides nothing about how a key is used.
    fn fits(&self, algorithm: Algorithm) -> bool {
        let is_of_kind = match &self.public {
            Public::Rsa { .. } => algorithm.of_rsa().is_some(),
            Public::P256(_) => algorithm == Algorithm::Es256,
            Public::P384(_) => algorithm == Algorithm::Es384,
            Public::Ed25519(_) => algorithm == Algorithm::EdDsa,
        };
        is_of_kind && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether the signature was made with this key and this algorithm.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        let unparsed = |way: &'static dyn signature::VerificationAlgorithm, bytes: &[u8]| {
            UnparsedPublicKey::new(way, bytes).verify(message, signature)
        };
        let verified = match &self.public {
            Public::Rsa { n, e } => match algorithm.of_rsa() {
                Some(way) => RsaPublicKeyComponents { n, e }.verify(way, message, signature),
                None => return false,
            },
            Public::P256(point) => unparsed(&signature::ECDSA_P256_SHA256_FIXED, point),
            Public::P384(point) => unparsed(&signature::ECDSA_P384_SHA384_FIXED, point),
            Public::Ed25519(point) => unparsed(&signature::ED25519, point),
        };
        verified.is_ok()
    }
}

/// Some providers write a zero before a number whose first bit is set.
fn without_zeros(bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ec(more: Value) -> Value {
        let number = URL_SAFE_NO_PAD.encode([7; 32]);
        let mut key = json!({"kty":"EC","crv":"P-256","x":number,"y":number,"kid":"a"});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key
    }

    fn parse(keys: Value) -> Result<Jwks, String> {
        Jwks::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn what_is_no_key_for_signatures_is_passed_over() {
        let bad = [
            json!({"use":"enc"}),
            json!({"use":7}),
            json!({"key_ops":["sign"]}),
            json!({"key_ops":"verify"}),
            json!({"alg":"HS256"}),
            json!({"alg":"RS256"}),
            json!({"alg":"ES384"}),
            json!({"alg":null}),
            json!({"crv":"P-521"}),
            json!({"crv":"P-384"}),
            json!({"kty":"oct","k":"AAAA"}),
            json!({"kty":"RSA"}),
            json!({"x":"A"}),
            json!({"x":7}),
            json!({"y":URL_SAFE_NO_PAD.encode([7; 33])}),
        ];
        for more in bad {
            assert!(parse(json!([ec(more.clone())])).is_err(), "{more}");
            let beside = parse(json!([ec(more.clone()), "key", ec(json!({"kid":"b"}))])).unwrap();
            assert_eq!(beside.keys.len(), 1, "{more}");
        }
        for more in [json!({"use":"sig"}), json!({"key_ops":["verify"]}), json!({"alg":"ES256"}), json!({"x5c":["?"]})]
        {
            assert_eq!(parse(json!([ec(more)])).unwrap().keys.len(), 1);
        }
    }

    #[test]
    fn what_is_no_set_of_keys_is_refused() {
        let many = vec![ec(json!({})); KEYS_MAX + 1];
        for text in ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]}", &json!({ "keys": many }).to_string()] {
            assert!(Jwks::parse(text.as_bytes()).unwrap_err().starts_with("expected "), "{text}");
        }
    }

    #[test]
    fn a_key_is_found_by_its_id_and_without_one_if_it_is_the_only_one() {
        let two = parse(json!([ec(json!({})), ec(json!({"kid":"b"}))])).unwrap();
        let count = |set: &Jwks, id, algorithm| set.candidates(id, algorithm).len();
        assert_eq!(count(&two, Some("a"), Algorithm::Es256), 1);
        assert_eq!(count(&two, Some("a"), Algorithm::Rs256), 0);
        assert_eq!(count(&two, Some("c"), Algorithm::Es256), 0);
        assert_eq!(count(&two, None, Algorithm::Es256), 0);
        let same = parse(json!([ec(json!({})), ec(json!({}))])).unwrap();
        assert_eq!(count(&same, Some("a"), Algorithm::Es256), 2);
        let one = parse(json!([ec(json!({}))])).unwrap();
        assert_eq!(count(&one, None, Algorithm::Es256), 1);
    }
}
