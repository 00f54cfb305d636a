//! Where a field of the data is described in the text of a schema: `properties`, `items` and references within the text are
//! followed. A field that is not described there, or in ways that are not followed, is where its nearest parent is.

use serde_json::value::RawValue;

use super::super::members::Members;

/// References are followed so often in a row; more are a circle.
const REFERENCES_MAX: usize = 16;

/// A part of a text: lines and columns from 1, columns in characters, the end the first that is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
    pub end_line: usize,
    pub end_column: usize,
}

/// The place of a field: a JSON Pointer into the data, `*` for every item.
pub fn place(text: &str, pointer: &str) -> Option<Place> {
    let root: &RawValue = serde_json::from_str(text).ok()?;
    let mut at = root;
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        match child(followed(root, at), &name) {
            Some(found) => at = found,
            None => break,
        }
    }
    // A raw value is borrowed from the text, so the distance between them is where it stands.
    let start = (at.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let (line, column) = line_and_column(text.get(..start)?);
    let (end_line, end_column) = line_and_column(text.get(..start + at.get().len())?);
    Some(Place { line, column, end_line, end_column })
}

fn member<'t>(of: &'t RawValue, name: &str) -> Option<&'t RawValue> {
    let Members(members) = serde_json::from_str(of.get()).ok()?;
    members.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn child<'t>(schema: &'t RawValue, name: &str) -> Option<&'t RawValue> {
    let property = member(schema, "properties").and_then(|properties| member(properties, name));
    if name != "*" {
        return property;
    }
    property.or_else(|| member(schema, "items")).or_else(|| member(schema, "additionalProperties"))
}

/// What a schema refers to within the text, or itself.
fn followed<'t>(root: &'t RawValue, schema: &'t RawValue) -> &'t RawValue {
    let mut at = schema;
    for _ in 0..REFERENCES_MAX {
        match referred(root, at) {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

fn referred<'t>(root: &'t RawValue, schema: &'t RawValue) -> Option<&'t RawValue> {
    let target: String = serde_json::from_str(member(schema, "$ref")?.get()).ok()?;
    let pointer = target.strip_prefix("#/")?;
    pointer.split('/').try_fold(root, |at, token| member(at, &token.replace("~1", "/").replace("~0", "~")))
}

fn line_and_column(before: &str) -> (usize, usize) {
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\n{\n  \"properties\": {\"tötal\": {\"type\": \"number\"},\n    \"to\": {\"$ref\": \"#/$defs/to\"}\n  },\n  \"$defs\": {\"to\": {\"properties\": {\"a/b\": {\"items\": true}}}}\n}\n";

    #[test]
    fn a_field_is_where_the_text_describes_it_or_where_its_parent_is() {
        let found = |pointer: &str| place(TEXT, pointer).map(|at| (at.line, at.column, at.end_line, at.end_column));
        assert_eq!(found("/tötal"), Some((3, 27, 3, 45)));
        assert_eq!(found("/to"), Some((4, 11, 4, 33)));
        assert_eq!(found("/to/a~1b/*"), Some((6, 52, 6, 56)));
        assert_eq!(found("/to/a~1b/*/x"), found("/to/a~1b/*"));
        assert_eq!(found(""), Some((2, 1, 7, 2)));
        assert_eq!(found("/none"), found(""));
    }

    #[test]
    fn a_circle_of_references_ends() {
        let text = r##"{"properties":{"a":{"$ref":"#/properties/a"}}}"##;
        assert_eq!(place(text, "/a/b"), place(text, "/a"));
    }
}
