//! A JSON text as a tree that loses nothing a pattern could ask for: numbers keep their text, objects their order and
//! their repeated names. For patterns, which are small, and for tests; events are read by `set::walk`, which builds
//! nothing.

use serde_json::value::RawValue;

use super::string;

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Object(Vec<(String, Tree)>),
    Array(Vec<Tree>),
    String(String),
    /// The literal as it stands in the text.
    Number(String),
    Bool(bool),
    Null,
}

/// Why a text is not JSON that this module reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Not JSON, or something follows the value.
    Malformed { line: usize, column: usize, reason: String },
    /// Nested deeper than the limit that was given.
    TooDeep,
}

impl Tree {
    /// Reads a whole text, which may be nested up to `depth_max` levels.
    pub(crate) fn parse(text: &str, depth_max: usize) -> Result<Tree, Fault> {
        // serde_json checks the text and says where it fails; below, only JSON is left to read.
        serde_json::from_str::<&RawValue>(text).map_err(|error| {
            let message = error.to_string();
            let reason = message.split(" at line ").next().unwrap_or_default().to_owned();
            Fault::Malformed { line: error.line(), column: error.column(), reason }
        })?;
        let mut reader = Reader { text, at: 0, depth_left: depth_max };
        reader.value().ok_or(Fault::TooDeep)
    }

    /// What it is, for a message: "an object", "the number 3".
    pub(crate) fn kind(&self) -> String {
        match self {
            Tree::Object(_) => "an object".into(),
            Tree::Array(_) => "a list".into(),
            Tree::String(text) => format!("the string {:?}", crate::event::clip(text)),
            Tree::Number(text) => format!("the number {}", crate::event::clip(text)),
            Tree::Bool(flag) => flag.to_string(),
            Tree::Null => "null".into(),
        }
    }
}

/// Reads text that is known to be JSON. Nothing here can fail but the depth.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth_left: usize,
}

impl<'a> Reader<'a> {
    /// The next byte that is neither white space nor a separator.
    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(b']')
    }

    fn value(&mut self) -> Option<Tree> {
        Some(match self.peek() {
            b'{' => {
                self.deeper()?;
                let mut members = Vec::new();
                while self.peek() == b'"' {
                    let name = self.string();
                    members.push((name, self.value()?));
                }
                self.shallower();
                Tree::Object(members)
            }
            b'[' => {
                self.deeper()?;
                let mut elements = Vec::new();
                while self.peek() != b']' {
                    elements.push(self.value()?);
                }
                self.shallower();
                Tree::Array(elements)
            }
            b'"' => Tree::String(self.string()),
            _ => match self.literal() {
                "true" => Tree::Bool(true),
                "false" => Tree::Bool(false),
                "null" => Tree::Null,
                number => Tree::Number(number.to_owned()),
            },
        })
    }

    fn deeper(&mut self) -> Option<()> {
        self.depth_left = self.depth_left.checked_sub(1)?;
        self.at += 1;
        Some(())
    }

    fn shallower(&mut self) {
        self.depth_left += 1;
        self.at += 1;
    }

    fn string(&mut self) -> String {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut end = start;
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        self.at = end + 1;
        let mut decoded = Vec::new();
        string::decode(&bytes[start..end.min(bytes.len())], &mut decoded);
        String::from_utf8(decoded).expect("escapes of valid text decode to valid text")
    }

    fn literal(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        self.at += end.max(1);
        &rest[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        let tree = Tree::parse(r#" {"a": [1.0, -0, 1E400 ,"x\n\u00e9\\"], "a": {"": null}, "b":true} "#, 10).unwrap();
        let number = |text: &str| Tree::Number(text.into());
        let list = vec![number("1.0"), number("-0"), number("1E400"), Tree::String("x\né\\".into())];
        let inner = Tree::Object(vec![(String::new(), Tree::Null)]);
        let members = vec![("a".into(), Tree::Array(list)), ("a".into(), inner), ("b".into(), Tree::Bool(true))];
        assert_eq!(tree, Tree::Object(members));
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for text in ["", "{", "{\"a\":1,}", "[1 2]", "{} x", "\"\\d\"", "01", "nul"] {
            assert!(matches!(Tree::parse(text, 10), Err(Fault::Malformed { line: 1, .. })), "{text}");
        }
        assert_eq!(Tree::parse("[[[]]]", 2), Err(Fault::TooDeep));
        assert!(Tree::parse("[[],[[]]]", 3).is_ok());
    }
}
