//! A schema as the comparison walks it: references followed, what applies to one place of the data gathered, and
//! which fields are declared there. It refuses what it cannot follow; it does not validate.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::keyword::{Draft, Form, Place, is_schema, schemas_in, schemas_under};
use super::validator::Validator;
use super::work::{Work, size};

/// Schemas inside schemas, references followed. The libraries behind recurse; a hundred levels of an unoptimised
/// build fill a stack of 2 MiB, sixty-four take half of it.
const LEVELS_MAX: usize = 64;
/// Ways through references and combinators to say something of one value. A validator walks them all.
const WAYS_MAX: usize = 4096;
/// As many do not hurt where all ways are reported, and not only walked.
const TAME_WAYS_MAX: usize = 64;
/// Schemas that apply to one place; beyond, nothing is concluded.
const GATHERED_MAX: usize = WAYS_MAX;
/// What compiling and reading a document takes, in units of [`Work`] for each value of it.
const READ: usize = 4;

/// A schema document whose references can be followed.
pub(crate) struct Tree<'a> {
    pub(crate) root: &'a Value,
    pub(crate) draft: Draft,
    id: Option<&'a str>,
    /// A reference to the whole document, rather than to a definition.
    pub(crate) names_itself: bool,
    /// Whether all that is wrong with a value is gathered in little time: nothing is recursive, and few schemas apply
    /// to one value.
    pub(crate) is_tame: bool,
    /// What may still be looked at.
    pub(crate) work: Work,
    /// Compiled patterns of fields.
    patterns: RefCell<HashMap<String, Option<Validator>>>,
}

/// What is known of the place that a field or an item is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Located<'a> {
    /// All of them hold there.
    pub(crate) holds: Vec<&'a Value>,
    /// Those, and all that may hold there in some alternative: where fields are declared.
    pub(crate) declares: Vec<&'a Value>,
}

/// The fields that may be written at a place.
#[derive(Debug, Default)]
pub(crate) struct Declared<'a> {
    /// Whether any field may.
    pub(crate) open: bool,
    pub(crate) names: Vec<&'a str>,
    pub(crate) patterns: Vec<&'a str>,
}

/// The same address is the same schema: a document is not changed while it is compared.
pub(crate) fn address(value: &Value) -> usize {
    std::ptr::from_ref(value) as usize
}

impl<'a> Tree<'a> {
    /// A document, or why its references cannot be followed.
    pub(crate) fn new(root: &'a Value, work: &Work) -> Result<Self, String> {
        if !work.take(READ * size(root)) {
            return Err("the schemas are too large to be compared".to_owned());
        }
        let draft = match root.get("$schema").and_then(Value::as_str).map(|uri| uri.trim_end_matches('#')) {
            None | Some("https://json-schema.org/draft/2020-12/schema") => Draft::TwentyTwelve,
            Some("http://json-schema.org/draft-07/schema" | "https://json-schema.org/draft-07/schema") => Draft::Seven,
            Some(other) => return Err(format!("schemas of draft 7 and of 2020-12 are compared, found {other}")),
        };
        if !is_schema(root) {
            return Err("a schema is an object or a boolean".to_owned());
        }
        let id = root.get("$id").and_then(Value::as_str).map(|id| id.trim_end_matches('#'));
        let (work, patterns) = (work.clone(), RefCell::default());
        let mut tree = Tree { root, draft, id, names_itself: false, is_tame: true, work, patterns };
        tree.scan(root, true, 0)?;
        let mut measured = HashMap::new();
        tree.measure(root, 0, &mut measured)?;
        Ok(tree)
    }

    /// Refuses references that are not to a place in this document.
    fn scan(&mut self, schema: &'a Value, top: bool, depth: usize) -> Result<(), String> {
        let Value::Object(map) = schema else { return Ok(()) };
        if depth > 2 * LEVELS_MAX {
            return Err("the schema is nested too deep".to_owned());
        }
        for (keyword, value) in map {
            match keyword.as_str() {
                "$id" if !top => return Err("a schema inside another has a base URI of its own".to_owned()),
                "$anchor" | "$dynamicAnchor" | "$dynamicRef" | "$recursiveRef" => {
                    return Err(format!("{keyword} is not followed"));
                }
                "$ref" => {
                    let reference = value.as_str().unwrap_or_default();
                    match self.resolve(reference) {
                        Some(target) => self.names_itself |= address(target) == address(self.root),
                        None => return Err(format!("the reference {reference:?} leads nowhere in the schema")),
                    }
                }
                _ => {}
            }
            if let Some((_, form)) = schemas_under(keyword, value, self.draft) {
                schemas_in(form, value).into_iter().try_for_each(|each| self.scan(each, false, depth + 1))?;
            }
        }
        Ok(())
    }

    /// The height of a schema with its references followed, and the ways through it in place; an error if too many.
    fn measure(
        &mut self,
        schema: &'a Value,
        depth: usize,
        measured: &mut HashMap<usize, Option<(usize, usize)>>,
    ) -> Result<(usize, usize), String> {
        if depth > LEVELS_MAX {
            return Err(format!("schemas inside schemas are followed {LEVELS_MAX} levels deep"));
        }
        match measured.get(&address(schema)) {
            Some(Some((height, _))) if height + depth > LEVELS_MAX => {
                return Err(format!("schemas inside schemas are followed {LEVELS_MAX} levels deep"));
            }
            Some(Some(known)) => return Ok(*known),
            // Met again inside itself: a recursive schema. The data ends the recursion.
            Some(None) => {
                self.is_tame = false;
                return Ok((0, 1));
            }
            None => {}
        }
        measured.insert(address(schema), None);
        let (mut height, mut ways) = (0, 1_usize);
        for (same, child) in self.children(schema) {
            let (below, through) = self.measure(child, depth + 1, measured)?;
            height = height.max(below + 1);
            if same {
                ways = ways.saturating_add(through);
            }
        }
        if ways > WAYS_MAX {
            return Err(format!("more than {WAYS_MAX} schemas apply to one value"));
        }
        self.is_tame &= ways <= TAME_WAYS_MAX;
        measured.insert(address(schema), Some((height, ways)));
        Ok((height, ways))
    }

    /// The schemas directly in one, and the one that it refers to; whether they are about the same value.
    fn children(&self, schema: &'a Value) -> Vec<(bool, &'a Value)> {
        let Value::Object(map) = schema else { return Vec::new() };
        let mut children = Vec::new();
        children.extend(self.target(map).map(|target| (true, target)));
        if self.refers_only(map) {
            return children;
        }
        for (keyword, value) in map {
            match schemas_under(keyword, value, self.draft) {
                None | Some((Place::Definition, _)) => {}
                Some((place, form)) => {
                    let same = place != Place::Part;
                    children.extend(schemas_in(form, value).into_iter().map(|each| (same, each)));
                }
            }
        }
        children
    }

    /// Where a reference leads.
    pub(crate) fn resolve(&self, reference: &str) -> Option<&'a Value> {
        let pointer = match self.id {
            Some(id) => reference.strip_prefix(id).unwrap_or(reference),
            None => reference,
        };
        let pointer = percent_decoded(pointer.strip_prefix('#')?)?;
        self.root.pointer(&pointer).filter(|target| is_schema(target))
    }

    /// What a schema refers to.
    pub(crate) fn target(&self, map: &Map<String, Value>) -> Option<&'a Value> {
        self.resolve(map.get("$ref")?.as_str()?)
    }

    /// In draft 7 a reference stands alone: what is beside it is not read.
    pub(crate) fn refers_only(&self, map: &Map<String, Value>) -> bool {
        self.draft == Draft::Seven && map.contains_key("$ref")
    }

    /// Schemas with those that hold wherever they do: references and `allOf` followed.
    pub(crate) fn holding(&self, schemas: &[&'a Value]) -> Vec<&'a Value> {
        self.gather(schemas, |keyword| keyword == "allOf")
    }

    /// Schemas with all that say something of the same value, in whichever alternative.
    pub(crate) fn declaring(&self, schemas: &[&'a Value]) -> Vec<&'a Value> {
        self.gather(schemas, |_| true)
    }

    fn gather(&self, schemas: &[&'a Value], follow: impl Fn(&str) -> bool) -> Vec<&'a Value> {
        let mut seen = HashSet::new();
        let mut gathered = Vec::new();
        let mut waiting: Vec<&'a Value> = schemas.iter().rev().copied().collect();
        while let Some(schema) = waiting.pop() {
            if gathered.len() >= GATHERED_MAX {
                self.work.give_up();
            }
            if !self.work.take(2) {
                break;
            }
            if !seen.insert(address(schema)) {
                continue;
            }
            let Value::Object(map) = schema else {
                gathered.push(schema);
                continue;
            };
            waiting.extend(self.target(map));
            if self.refers_only(map) {
                continue;
            }
            gathered.push(schema);
            for (keyword, value) in map.iter().filter(|(keyword, _)| follow(keyword)) {
                if let Some((Place::Same, form)) = schemas_under(keyword, value, self.draft) {
                    waiting.extend(schemas_in(form, value).into_iter().rev());
                }
            }
        }
        gathered
    }

    /// The place of a whole value.
    pub(crate) fn located(&self, holds: &[&'a Value], declares: &[&'a Value]) -> Located<'a> {
        Located { holds: self.holding(holds), declares: self.declaring(declares) }
    }

    /// The place of a field.
    pub(crate) fn field(&self, at: &Located<'a>, name: &str) -> Located<'a> {
        self.work.take(2 * (at.holds.len() + at.declares.len()));
        let holds: Vec<_> = at.holds.iter().flat_map(|schema| self.of_field(schema, name)).collect();
        let mut declares: Vec<_> = at.declares.iter().flat_map(|schema| self.of_field(schema, name)).collect();
        declares.extend(at.declares.iter().filter_map(|schema| schema.get("unevaluatedProperties")));
        self.located(&holds, &declares)
    }

    /// What one schema says of a field.
    pub(crate) fn of_field(&self, schema: &'a Value, name: &str) -> Vec<&'a Value> {
        let mut found: Vec<&'a Value> = schema.get("properties").and_then(|all| all.get(name)).into_iter().collect();
        if let Some(patterns) = schema.get("patternProperties").and_then(Value::as_object) {
            found.extend(patterns.iter().filter(|(pattern, _)| self.matches(pattern, name)).map(|(_, value)| value));
        }
        if found.is_empty() {
            found.extend(schema.get("additionalProperties"));
        }
        found
    }

    /// The place of an item.
    pub(crate) fn item(&self, at: &Located<'a>, index: usize) -> Located<'a> {
        self.work.take(at.holds.len() + at.declares.len());
        let holds: Vec<_> = at.holds.iter().filter_map(|schema| self.of_item(schema, index)).collect();
        let mut declares: Vec<_> = at.declares.iter().filter_map(|schema| self.of_item(schema, index)).collect();
        if !declares.is_empty() {
            declares.extend(at.declares.iter().filter_map(|schema| schema.get("contains")));
        }
        self.located(&holds, &declares)
    }

    /// What one schema says of an item.
    pub(crate) fn of_item(&self, schema: &'a Value, index: usize) -> Option<&'a Value> {
        let (prefix, rest) = match self.draft {
            Draft::TwentyTwelve => (schema.get("prefixItems"), schema.get("items")),
            Draft::Seven => match schema.get("items") {
                Some(list @ Value::Array(_)) => (Some(list), schema.get("additionalItems")),
                one => (None, one),
            },
        };
        prefix.and_then(|list| list.get(index)).or(rest)
    }

    /// How many items of a schema have a schema of their own.
    pub(crate) fn prefix_len(&self, schema: &Value) -> usize {
        let keyword = if self.draft == Draft::Seven { "items" } else { "prefixItems" };
        schema.get(keyword).and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// Which fields a place has.
    pub(crate) fn declared(&self, at: &Located<'a>) -> Declared<'a> {
        let mut declared = Declared { open: true, ..Declared::default() };
        let mut stated = false;
        for schema in &at.declares {
            let Value::Object(map) = schema else { continue };
            if self.work.is_spent() {
                break;
            }
            for keyword in ["additionalProperties", "unevaluatedProperties"] {
                stated |= map.get(keyword).is_some_and(|value| *value != Value::Bool(false));
            }
            let named = |keyword: &str| map.get(keyword).and_then(Value::as_object).into_iter().flat_map(Map::keys);
            declared.open &= !map.contains_key("properties") && !map.contains_key("patternProperties");
            declared.names.extend(named("properties").map(String::as_str));
            declared.patterns.extend(named("patternProperties").map(String::as_str));
            declared.names.extend(texts(map.get("required")));
            for keyword in ["dependentRequired", "dependencies"] {
                let lists = map.get(keyword).and_then(Value::as_object).into_iter().flatten();
                declared.names.extend(lists.flat_map(|(_, list)| texts(Some(list))));
            }
        }
        // Sorted below.
        self.work.take(at.declares.len() + 4 * (declared.names.len() + declared.patterns.len()));
        declared.open |= stated;
        declared.names.sort_unstable();
        declared.names.dedup();
        declared.patterns.sort_unstable();
        declared.patterns.dedup();
        declared
    }

    /// Whether a name matches the pattern of a field, as the validator matches it.
    pub(crate) fn matches(&self, pattern: &str, name: &str) -> bool {
        let mut patterns = self.patterns.borrow_mut();
        let compiled = patterns
            .entry(pattern.to_owned())
            .or_insert_with(|| Validator::new(&serde_json::json!({ "pattern": pattern }), &self.work).ok());
        compiled.as_ref().is_some_and(|pattern| pattern.accepts(&Value::String(name.to_owned())))
    }
}

/// The strings of a list.
pub(crate) fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The schemas of a keyword that holds a list of them.
pub(crate) fn listed<'a>(schema: &'a Value, keyword: &str) -> Vec<&'a Value> {
    schema.get(keyword).map(|list| schemas_in(Form::Many, list)).unwrap_or_default()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}
