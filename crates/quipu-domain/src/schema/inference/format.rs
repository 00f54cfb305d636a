//! Which formats a text has. A format that is proposed is asserted afterwards, so the same checks decide, and where
//! they allow what nobody means by the name, more is asked for.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::schema::draft::Draft;
use crate::schema::validator::build;

/// The formats that are looked for, the narrower before the wider. As a set: bit 0 is the first.
pub(super) const FORMATS: [&str; 7] = ["date-time", "date", "uuid", "ipv4", "ipv6", "email", "uri"];
/// All of them.
pub(super) const ALL: u8 = (1 << FORMATS.len()) - 1;
/// Longest text that is looked at. Nothing longer is meant to be one of these, apart from URLs that proxies refuse.
const TEXT_BYTES_MAX: usize = 2_048;

/// Which of some formats a text has.
pub(super) fn formats(text: &str, candidates: u8) -> u8 {
    if candidates == 0 || text.len() > TEXT_BYTES_MAX {
        return 0;
    }
    let value = Value::from(text);
    let mut found = 0;
    for (bit, (name, engine)) in FORMATS.iter().zip(engines()).enumerate() {
        let bit = 1 << bit;
        if candidates & bit != 0 && is_plausible(name, text) && engine.is_valid(&value) {
            found |= bit;
        }
    }
    found
}

/// What is asked for beside the format's own rule, cheapest first: most texts have none.
fn is_plausible(format: &str, text: &str) -> bool {
    match format {
        // `a:b` is a URI by the letter, and in most data something else. A template is not one, but some that have
        // every expression empty look like it in one event and not in the next.
        "uri" => text.contains("://") && !text.contains(['{', '}']),
        "email" => text.contains('@') && text.is_ascii(),
        "ipv6" => text.contains(':'),
        "ipv4" => text.contains('.'),
        _ => text.contains('-'),
    }
}

fn engines() -> &'static [jsonschema::Validator] {
    static ENGINES: OnceLock<Vec<jsonschema::Validator>> = OnceLock::new();
    ENGINES.get_or_init(|| {
        let engine = |format| build(&json!({ "format": format }), Draft::Draft202012);
        FORMATS.iter().map(|format| engine(format).expect("a format alone compiles")).collect()
    })
}
