//! Reads a pattern: its fields, and the branches that its `$or`s multiply out to.

use std::collections::BTreeMap;

use super::invalid::{InvalidPattern, Place};
use super::matcher::Matcher;
use super::operator::{OPERATORS, matcher};
use super::tree::{Fault, Tree};
use super::{Branch, Field};
use crate::limits::*;

const FIELDS: &str = "an object with at least one field";

/// The fields of a text's pattern and its branches, each sorted by path.
pub(crate) fn parse(text: &str) -> Result<(Vec<Field>, Vec<Branch>), InvalidPattern> {
    let root = Place::Root;
    if text.len() > PATTERN_BYTES_MAX {
        let expected = format!("a pattern of at most {PATTERN_BYTES_MAX} bytes");
        return Err(root.refuse(expected, format!("{} bytes", text.len())));
    }
    let tree = Tree::parse(text, JSON_DEPTH_MAX).map_err(|fault| match fault {
        Fault::Malformed { line, column, reason } => {
            root.refuse("JSON", format!("an error at line {line}, column {column}: {reason}"))
        }
        Fault::TooDeep => root.refuse(format!("at most {JSON_DEPTH_MAX} levels"), "deeper nesting"),
    })?;
    let mut reader = Reader { fields: Vec::new(), branches: vec![Draft::new()], values: 0, searches: 0 };
    match &tree {
        Tree::Object(members) => reader.members(root, None, members, Context::Plain)?,
        other => return Err(root.refuse(FIELDS, other.kind())),
    }
    reader.finish()
}

/// A branch in the making: path → index of its field. A later entry for a path replaces the earlier one.
type Draft = BTreeMap<String, usize>;

struct Reader {
    fields: Vec<Field>,
    branches: Vec<Draft>,
    values: usize,
    searches: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Context {
    Plain,
    InsideOr,
}

impl Reader {
    fn members(
        &mut self,
        place: Place<'_>,
        path: Option<&str>,
        members: &[(String, Tree)],
        context: Context,
    ) -> Result<(), InvalidPattern> {
        if members.is_empty() {
            return Err(place.refuse(FIELDS, "an empty object"));
        }
        for (name, tree) in members {
            let at = Place::Name(&place, name);
            if name == "$or" {
                self.alternatives(at, path, tree)?;
                continue;
            }
            if context == Context::InsideOr && OPERATORS.contains(&name.as_str()) {
                return Err(at.refuse("a field's name: inside of $or no field has an operator's name", name.as_str()));
            }
            let inner = path.map_or_else(|| name.clone(), |path| format!("{path}.{name}"));
            match tree {
                Tree::Object(members) => self.members(at, Some(&inner), members, context)?,
                Tree::Array(values) => self.field(at, inner, values)?,
                other => return Err(at.refuse("a list of values or an object", other.kind())),
            }
        }
        Ok(())
    }

    fn field(&mut self, place: Place<'_>, path: String, trees: &[Tree]) -> Result<(), InvalidPattern> {
        if trees.is_empty() {
            return Err(place.refuse("a list with at least one value", "an empty list"));
        }
        let read = |(index, tree)| matcher(Place::Index(&place, index), tree);
        let values = trees.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        let field = Field::new(path, values);
        self.values += field.weight();
        if self.values > PATTERN_VALUES_MAX {
            return Err(place.refuse(format!("at most {PATTERN_VALUES_MAX} values in a pattern"), "more"));
        }
        self.searches += field.matchers.iter().map(Matcher::searches).sum::<usize>();
        if self.searches > PATTERN_SEARCHES_MAX {
            let expected = format!(
                "at most {PATTERN_SEARCHES_MAX} wildcards with text around or between stars, wildcards inside of \
                 anything-but, and texts whose case is ignored that are beyond ASCII or excluded beside one that is, \
                 in a pattern"
            );
            return Err(place.refuse(expected, "more"));
        }
        for branch in &mut self.branches {
            branch.insert(field.path.clone(), self.fields.len());
            if branch.len() > PATTERN_FIELDS_MAX {
                return Err(place.refuse(format!("at most {PATTERN_FIELDS_MAX} fields in a branch"), "more"));
            }
        }
        self.fields.push(field);
        Ok(())
    }

    fn alternatives(&mut self, place: Place<'_>, path: Option<&str>, tree: &Tree) -> Result<(), InvalidPattern> {
        const TWO: &str = "a list of at least two patterns";
        let alternatives = match tree {
            Tree::Array(alternatives) if alternatives.len() >= 2 => alternatives,
            Tree::Array(few) => return Err(place.refuse(TWO, format!("a list of {}", few.len()))),
            other => return Err(place.refuse(TWO, other.kind())),
        };
        let before = std::mem::take(&mut self.branches);
        let mut after = Vec::new();
        for (index, alternative) in alternatives.iter().enumerate() {
            let at = Place::Index(&place, index);
            let Tree::Object(members) = alternative else { return Err(at.refuse(FIELDS, alternative.kind())) };
            self.branches.clone_from(&before);
            self.members(at, path, members, Context::InsideOr)?;
            after.append(&mut self.branches);
            if after.len() > PATTERN_BRANCHES_MAX {
                let expected = format!("$or lists that multiply out to at most {PATTERN_BRANCHES_MAX} branches");
                return Err(place.refuse(expected, "more"));
            }
        }
        self.branches = after;
        Ok(())
    }

    fn finish(self) -> Result<(Vec<Field>, Vec<Branch>), InvalidPattern> {
        let weigh = |branch: &Draft| branch.values().map(|&field| self.fields[field].weight()).sum::<usize>();
        if self.branches.iter().map(weigh).sum::<usize>() > PATTERN_EXPANDED_MAX {
            let expected = format!("at most {PATTERN_EXPANDED_MAX} values once $or lists are multiplied out");
            return Err(Place::Root.refuse(expected, "more"));
        }
        // The map has them in the order of their paths.
        let branches = self.branches.into_iter().map(|branch| branch.into_values().map(|f| f as u32).collect());
        Ok((self.fields, branches.collect()))
    }
}
