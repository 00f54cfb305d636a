//! YAML from a stranger, within limits.

use serde::de::DeserializeOwned;

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
    let options = serde_saphyr::options! { budget: budget };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}
