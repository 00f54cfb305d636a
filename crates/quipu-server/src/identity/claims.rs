//! What a token says of somebody, and where in it that stands.

use quipu_domain::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The claims of a token, by their names.
pub(super) type Claims = Map<String, Value>;

/// How far the clocks of a provider and of this machine may be apart, milliseconds.
const LEEWAY_MS: i64 = 30_000;
/// Longest name of a subject or a user, bytes.
const NAME_BYTES_MAX: usize = 256;
/// The end of the year 9999, in seconds: later times are mistakes.
const SECONDS_MAX: f64 = 253_402_300_799.0;
/// Most members of a path.
const DEPTH_MAX: usize = 8;

/// Where a claim is: the names of members, one in another. As text `realm_access.roles`; where a name has a dot of its own,
/// an array of the names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct ClaimPath(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Names(Vec<String>),
}

impl TryFrom<Written> for ClaimPath {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let names: Vec<String> = match written {
            Written::Text(text) => text.split('.').map(str::to_owned).collect(),
            Written::Names(names) => names,
        };
        if !(1..=DEPTH_MAX).contains(&names.len()) || names.iter().any(String::is_empty) {
            return Err(format!(
                "expected a claim as text such as realm_access.roles, or as an array of 1 to {DEPTH_MAX} names, found {}",
                names.join(".").chars().take(100).collect::<String>()
            ));
        }
        Ok(Self(names))
    }
}

impl ClaimPath {
    fn find<'c>(&self, claims: &'c Claims) -> Option<&'c Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }

    /// The one text that is there; some providers write an array of one.
    pub fn text<'c>(&self, claims: &'c Claims) -> Option<&'c str> {
        match self.find(claims)? {
            Value::String(text) => Some(text),
            Value::Array(all) if all.len() == 1 => all[0].as_str(),
            _ => None,
        }
    }

    /// The words that are there: an array of texts, or one text with spaces between. What is no text says nothing.
    pub fn words<'c>(&self, claims: &'c Claims) -> Vec<&'c str> {
        match self.find(claims) {
            Some(Value::String(text)) => text.split_whitespace().collect(),
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

/// Whether it is for one of these: `aud` is a text or an array of them.
pub(super) fn is_for(claims: &Claims, audiences: &[String]) -> bool {
    let is_ours = |found: &Value| audiences.iter().any(|audience| found == audience.as_str());
    match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().all(Value::is_string) && all.iter().any(is_ours),
        Some(one) => is_ours(one),
        None => false,
    }
}

/// Until when it is good, if it is now. There must be an end.
pub(super) fn good_until(claims: &Claims, now: Timestamp) -> Option<Timestamp> {
    let until = time(claims.get("exp")?)?.plus_ms(LEEWAY_MS);
    let since = match claims.get("nbf") {
        None => None,
        Some(since) => Some(time(since)?.plus_ms(-LEEWAY_MS)),
    };
    (now < until && since.is_none_or(|since| since <= now)).then_some(until)
}

/// Who it is about: some name that is no whole page.
pub(super) fn name(text: &str) -> Option<&str> {
    let is_fit = (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    is_fit.then_some(text)
}

/// Seconds since 1970 (RFC 7519, section 2, NumericDate), with or without a fraction.
fn time(value: &Value) -> Option<Timestamp> {
    let seconds = value.as_f64().filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds))?;
    Some(Timestamp((seconds * 1e6) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    fn path(value: Value) -> ClaimPath {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_claim_is_found_by_its_path() {
        let claims = claims(json!({
            "tenant": "acme",
            "organization": ["acme"],
            "scope": "openid  events:read",
            "realm_access": {"roles": ["a", 7, null, "b"]},
            "https://quipu.example/roles": ["c"],
            "resource_access": {"my.app": {"roles": "d"}},
            "number": 7,
            "many": ["a", "b"],
        }));
        for (written, text, words) in [
            (json!("tenant"), Some("acme"), vec!["acme"]),
            (json!("organization"), Some("acme"), vec!["acme"]),
            (json!("scope"), Some("openid  events:read"), vec!["openid", "events:read"]),
            (json!("realm_access.roles"), None, vec!["a", "b"]),
            (json!(["https://quipu.example/roles"]), Some("c"), vec!["c"]),
            (json!(["resource_access", "my.app", "roles"]), Some("d"), vec!["d"]),
            (json!("resource_access.my.app.roles"), None, vec![]),
            (json!("number"), None, vec![]),
            (json!("many"), None, vec!["a", "b"]),
            (json!("realm_access"), None, vec![]),
            (json!("tenant.name"), None, vec![]),
            (json!("absent"), None, vec![]),
        ] {
            let path = path(written.clone());
            assert_eq!((path.text(&claims), path.words(&claims)), (text, words), "{written}");
        }
        for written in [json!(""), json!("a..b"), json!([]), json!([""]), json!(7), json!(vec!["a"; 9])] {
            assert!(serde_json::from_value::<ClaimPath>(written.clone()).is_err(), "{written}");
        }
    }

    #[test]
    fn it_is_for_those_whom_it_names() {
        let ours = ["quipu".to_owned(), "api://quipu".to_owned()];
        for (aud, expected) in [
            (json!("quipu"), true),
            (json!(["account", "api://quipu"]), true),
            (json!("quipu2"), false),
            (json!("Quipu"), false),
            (json!([]), false),
            (json!(["account"]), false),
            (json!(["quipu", 7]), false),
            (json!({"quipu": true}), false),
            (json!(null), false),
        ] {
            assert_eq!(is_for(&claims(json!({ "aud": aud })), &ours), expected, "{aud}");
        }
        assert!(!is_for(&Claims::new(), &ours));
    }

    #[test]
    fn it_is_good_between_its_times_and_a_little_around() {
        let now = Timestamp(1_000_000_000_000);
        for (times, expected) in [
            (json!({"exp": 1_000_001}), Some(1_000_031.0)),
            (json!({"exp": 1_000_000.5}), Some(1_000_030.5)),
            (json!({"exp": 999_971}), Some(1_000_001.0)),
            (json!({"exp": 999_970}), None),
            (json!({"exp": 1_000_001, "nbf": 1_000_030}), Some(1_000_031.0)),
            (json!({"exp": 1_000_001, "nbf": 1_000_031}), None),
            (json!({"exp": 1_000_001, "nbf": "1"}), None),
            (json!({"exp": 1_000_001, "nbf": null}), None),
            (json!({"exp": "1000001"}), None),
            (json!({"exp": null}), None),
            (json!({"exp": -1}), None),
            (json!({"exp": 1e300}), None),
            (json!({"exp": [1_000_001]}), None),
            (json!({"nbf": 1}), None),
        ] {
            let until = good_until(&claims(times.clone()), now).map(|until| until.0 as f64 / 1e6);
            assert_eq!(until, expected, "{times}");
        }
    }

    #[test]
    fn a_name_is_short_and_plain() {
        assert_eq!(name("auth0|5f7c"), Some("auth0|5f7c"));
        for text in ["", "a\nb", &"a".repeat(257)] {
            assert_eq!(name(text), None);
        }
    }
}
