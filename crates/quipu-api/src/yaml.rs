//! YAML from a stranger, within limits.

use serde::de::DeserializeOwned;

use crate::problem::read_json;
use crate::{Code, Problem};

/// Deepest nesting of a declaration.
const DEPTH_MAX: usize = 64;
/// Most values of one, those that aliases repeat included.
const NODES_MAX: usize = 20_000;
/// Most anchors and aliases of one.
const ALIASES_MAX: usize = 100;
/// Longest that is repeated of what is wrong with one, characters.
const REASON_CHARS_MAX: usize = 500;

/// How much there may be of a document, what aliases repeat included.
pub(crate) struct Limits {
    /// Deepest nesting.
    pub depth: usize,
    /// Most values.
    pub nodes: usize,
    /// Most anchors, and most aliases.
    pub aliases: usize,
}

/// Reads a document; the first line of what is wrong with it otherwise.
pub(crate) fn read<T: DeserializeOwned>(text: &str, limits: &Limits) -> Result<T, String> {
    let budget = serde_saphyr::budget! {
        max_depth: limits.depth,
        max_nodes: limits.nodes,
        max_events: 4 * limits.nodes,
        max_aliases: limits.aliases,
        max_anchors: limits.aliases,
    };
    // As YAML 1.2 has them: a member may be named n, y, no or on.
    let options = serde_saphyr::options! { budget: budget, strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// Reads what somebody declares, JSON or YAML.
///
/// # Errors
/// `malformed-json`, and what `invalid` makes of a text that is something else than what was expected.
pub(crate) fn declaration<T: DeserializeOwned>(
    bytes: &[u8],
    expected: &str,
    invalid: impl Fn(String) -> Problem,
) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("expected UTF-8, found other bytes".to_owned()))?;
    if text.trim_start().starts_with(['{', '[']) {
        return read_json(bytes, expected).map_err(|problem| match problem.code() {
            Some(Code::MalformedJson) => problem,
            _ => invalid(problem.detail),
        });
    }
    let limits = Limits { depth: DEPTH_MAX, nodes: NODES_MAX, aliases: ALIASES_MAX };
    read(text, &limits).map_err(|said| {
        let said: String = said.chars().take(REASON_CHARS_MAX).collect();
        invalid(format!("expected {expected}, found: {said}"))
    })
}
