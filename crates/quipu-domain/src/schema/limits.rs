//! How much a schema may ask of whoever checks it, each with its reason. A schema beyond one of them is refused before
//! anything is compiled, so that a refusal costs no more than reading it.

/// What a schema is held to. The default is what the product uses; a test may take smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest text in bytes. The largest schema met in practice, of a whole configuration format, has some 200 KiB.
    pub bytes: usize,
    /// Deepest nesting of the text. A thread of 2 MiB compiles some 100 levels without optimisation.
    pub depth: usize,
    /// Most values in the text: objects, lists, and what is in them.
    pub nodes: usize,
    /// Most fields of one object. Whether one version covers another is compared field by field, in 7 ms for so many.
    pub properties: usize,
    /// Most values of one `enum`: two are compared value by value, 100,000 took 23 s and 1,000 take milliseconds.
    pub enum_values: usize,
    /// Most different patterns. Each may take half a MiB when it is compiled.
    pub patterns: usize,
    /// Most `if`s that apply to one value. Each doubles what is compared; eight took 1.5 s, so six take about 0.4 s.
    pub conditionals: usize,
    /// Most subschemas that one value and all that surround it are held against, see
    /// [`Document::cost`](super::Document::cost).
    pub cost: u64,
    /// Longest way through the schema and what it refers to, in subschemas: each level is compiled inside of the one
    /// before. The text's own depth fits.
    pub reach: usize,
    /// Longest way from subschema to subschema without going into a field or an item, where a schema is recursive:
    /// data is at most 100 levels deep and each level goes this way again.
    pub recursive_reach: usize,
    /// Most other documents that a document needs, directly or not.
    pub documents: usize,
    /// Longest chain of documents that refer to one another.
    pub document_depth: usize,
    /// Most values in the text and in all that it refers to.
    pub bundled_nodes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes: 256 * 1024,
            depth: 64,
            nodes: 20_000,
            properties: 1_000,
            enum_values: 1_000,
            patterns: 128,
            conditionals: 6,
            cost: 10_000,
            reach: 128,
            recursive_reach: 16,
            documents: 64,
            document_depth: 16,
            bundled_nodes: 40_000,
        }
    }
}
