//! What a schema says of data, as far as languages have types for it. Whatever they have none for is any value: generated types never
//! refuse data that the schema accepts, but for integers beyond 64 bits and those that are written with a point.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::Registered;
use super::names::{Names, pascal};

/// Most values of an enum that has a type of its own.
const VALUES_MAX: usize = 200;
/// Deepest nesting of types: a schema has at most 64 levels, and each reference goes on from there.
const DEPTH_MAX: usize = 128;
/// Names that the generated code has itself.
const TAKEN: &[&str] = &[
    "Event",
    "Events",
    "Envelope",
    "Handler",
    "Malformed",
    "CloudEvent",
    "Value",
    "Vec",
    "Box",
    "Option",
    "String",
    "BTreeMap",
    "Self",
    "Result",
    "Some",
    "None",
    "Ok",
    "Err",
    "Default",
    "Clone",
    "Debug",
    "Promise",
    "Error",
    "Serialize",
    "Deserialize",
    "Empty",
    "Sized",
    "Record",
    "Array",
    "Object",
    "Number",
    "Boolean",
    "Date",
    "Map",
    "Set",
    "Symbol",
    "Function",
    "Extract",
    "Exclude",
    "Partial",
];

/// The types of all schemas.
pub struct Model {
    pub definitions: Vec<Definition>,
    pub events: Vec<EventType>,
}

/// An event type with its version.
pub struct EventType {
    /// As events have it.
    pub name: String,
    /// What it is called in code.
    pub ident: String,
    pub data: Shape,
    pub description: Option<String>,
}

/// A type with a name.
pub struct Definition {
    pub ident: String,
    pub description: Option<String>,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    Struct(Vec<Field>),
    /// One of these texts.
    Enum(Vec<String>),
    /// Objects that are told apart by a field; each with the text that it has there and its definition, which has not that field.
    Tagged {
        tag: String,
        variants: Vec<(String, usize)>,
    },
    /// Recursion that ended nowhere else.
    Alias(Shape),
}

#[derive(Debug)]
pub struct Field {
    /// As JSON has it.
    pub name: String,
    pub shape: Shape,
    pub is_required: bool,
    pub description: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Any,
    Bool,
    Integer,
    Number,
    Text,
    /// This text and no other.
    Constant(String),
    List(Box<Shape>),
    Map(Box<Shape>),
    Nullable(Box<Shape>),
    Named(usize),
    /// A definition that this is a part of.
    Recursive(usize),
}

impl Model {
    pub fn of(registered: &[Registered]) -> Self {
        let mut names = Names::of(TAKEN);
        let mut model = Self { definitions: Vec::new(), events: Vec::new() };
        let (mut idents, mut shared) = (Names::default(), HashMap::new());
        for Registered { name, schema, description } in registered {
            let ident = idents.take(pascal(name));
            let (model, names, shared) = (&mut model, &mut names, &mut shared);
            let mut reading = Reading { root: schema, model, names, shared, known: BTreeMap::new() };
            let data = reading.shape(schema, &ident, 0);
            reading.model.events.push(EventType { name: name.clone(), ident, data, description: description.clone() });
        }
        model
    }
}

impl Shape {
    /// Whether a definition is a part of it without another between.
    fn is_made_of(&self, definition: usize) -> bool {
        match self {
            Self::List(of) | Self::Map(of) | Self::Nullable(of) => of.is_made_of(definition),
            Self::Recursive(at) => *at == definition,
            _ => false,
        }
    }
}

/// One schema on its way into the model.
struct Reading<'r> {
    root: &'r Value,
    model: &'r mut Model,
    names: &'r mut Names,
    /// Definitions by the last part of their names and what they are: the same in the same field is one.
    shared: &'r mut HashMap<String, usize>,
    /// What references lead to; nothing yet for those that are being read, which have a definition if they are objects.
    known: BTreeMap<String, Option<Shape>>,
}

impl Reading<'_> {
    fn shape(&mut self, schema: &Value, name: &str, depth: usize) -> Shape {
        let Value::Object(members) = schema else { return Shape::Any };
        if depth > DEPTH_MAX {
            return Shape::Any;
        }
        // What stands beside them holds too: a type of one of both would lose the fields of the other.
        let chooses = ["oneOf", "anyOf", "$ref"].iter().any(|word| members.contains_key(*word));
        if chooses && ["properties", "required", "allOf"].iter().any(|word| members.contains_key(*word)) {
            return Shape::Any;
        }
        if let Some(Value::String(reference)) = members.get("$ref") {
            return self.referred(reference, depth);
        }
        if let Some(only) = nullable_alternative(members) {
            return nullable(self.shape(only, name, depth + 1));
        }
        for word in ["oneOf", "anyOf"] {
            if let Some(Value::Array(alternatives)) = members.get(word) {
                return self.tagged(alternatives, name, depth).unwrap_or(Shape::Any);
            }
        }
        if ["allOf", "not", "if"].iter().any(|word| members.contains_key(*word)) {
            return Shape::Any;
        }
        if let Some(Value::String(text)) = members.get("const") {
            return Shape::Constant(text.clone());
        }
        if let Some(Value::Array(values)) = members.get("enum") {
            return self.one_of(values, name);
        }
        if members.contains_key("const") {
            return Shape::Any;
        }
        let (words, has_null) = words(members.get("type"));
        let shape = match words.as_slice() {
            ["boolean"] => Shape::Bool,
            ["integer"] => Shape::Integer,
            ["number"] | ["integer", "number"] | ["number", "integer"] => Shape::Number,
            ["string"] => Shape::Text,
            ["array"] => match members.get("items") {
                Some(items @ Value::Object(_)) if !members.contains_key("prefixItems") => {
                    Shape::List(Box::new(self.shape(items, &format!("{name}Item"), depth + 1)))
                }
                _ => Shape::List(Box::new(Shape::Any)),
            },
            ["object"] => self.object(members, name, depth),
            _ => return Shape::Any,
        };
        if has_null { nullable(shape) } else { shape }
    }

    fn object(&mut self, members: &Map<String, Value>, name: &str, depth: usize) -> Shape {
        match members.get("properties") {
            Some(Value::Object(properties)) if !properties.is_empty() => {
                let fields = self.fields(members, None, name, depth);
                Shape::Named(self.define(name, members, Body::Struct(fields)))
            }
            _ if members.contains_key("patternProperties") => Shape::Map(Box::new(Shape::Any)),
            _ => match members.get("additionalProperties") {
                Some(of @ Value::Object(_)) => Shape::Map(Box::new(self.shape(of, &format!("{name}Value"), depth + 1))),
                _ => Shape::Map(Box::new(Shape::Any)),
            },
        }
    }

    fn fields(&mut self, members: &Map<String, Value>, tag: Option<&str>, name: &str, depth: usize) -> Vec<Field> {
        let required: Vec<&str> =
            members.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let properties = members.get("properties").and_then(Value::as_object).into_iter().flatten();
        let properties: Vec<_> = properties.filter(|(field, _)| Some(field.as_str()) != tag).collect();
        let field = |(field, schema): (&String, &Value)| Field {
            shape: self.shape(schema, &format!("{name}.{}", pascal(field)), depth + 1),
            is_required: required.contains(&field.as_str()),
            description: text(schema.get("description")),
            name: field.clone(),
        };
        properties.into_iter().map(field).collect()
    }

    /// A definition of that body; dots in its name say what is inside of what.
    fn define(&mut self, name: &str, members: &Map<String, Value>, body: Body) -> usize {
        let description = text(members.get("description"));
        let last = name.rsplit('.').next().unwrap_or(name);
        let same = format!("{last} {description:?} {body:?}");
        if let Some(at) = self.shared.get(&same) {
            return *at;
        }
        let at = self.define_new(name, description, body);
        self.shared.insert(same, at);
        at
    }

    fn define_new(&mut self, name: &str, description: Option<String>, body: Body) -> usize {
        let ident = self.names.take(name.replace('.', ""));
        self.model.definitions.push(Definition { ident, description, body });
        self.model.definitions.len() - 1
    }

    /// A list of values: of texts, with or without null, it is a type of its own.
    fn one_of(&mut self, values: &[Value], name: &str) -> Shape {
        let mut texts: Vec<String> = values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let nulls = values.iter().filter(|value| value.is_null()).count();
        if texts.is_empty() || texts.len() > VALUES_MAX || texts.len() + nulls != values.len() {
            return Shape::Any;
        }
        texts.sort_unstable();
        texts.dedup();
        let at = self.define(name, &Map::new(), Body::Enum(texts));
        if nulls > 0 { nullable(Shape::Named(at)) } else { Shape::Named(at) }
    }

    /// Objects of which each has another text in the same field, which all must have.
    fn tagged(&mut self, alternatives: &[Value], name: &str, depth: usize) -> Option<Shape> {
        let objects: Vec<&Map<String, Value>> =
            alternatives.iter().map(|of| self.resolved(of)?.as_object()).collect::<Option<_>>()?;
        let is_object = |of: &&Map<String, Value>| {
            of.get("type").is_some_and(|kind| kind == "object")
                && !["oneOf", "anyOf", "allOf", "not", "if", "$ref"].iter().any(|word| of.contains_key(*word))
        };
        if objects.len() < 2 || !objects.iter().all(is_object) {
            return None;
        }
        let first = objects[0].get("properties")?.as_object()?;
        let tag = first.keys().find(|field| {
            let tags: Option<Vec<&str>> = objects.iter().map(|of| tag_of(of, field)).collect();
            tags.is_some_and(|mut tags| {
                tags.sort_unstable();
                tags.dedup();
                tags.len() == objects.len()
            })
        })?;
        let (tag, objects): (String, Vec<Map<String, Value>>) = (tag.clone(), objects.into_iter().cloned().collect());
        let mut variants = Vec::new();
        for of in objects {
            let value = tag_of(&of, &tag)?.to_owned();
            let variant_name = format!("{name}{}", pascal(&value));
            let fields = self.fields(&of, Some(&tag), &variant_name, depth + 1);
            variants.push((value, self.define(&variant_name, &of, Body::Struct(fields))));
        }
        Some(Shape::Named(self.define(name, &Map::new(), Body::Tagged { tag, variants })))
    }

    fn referred(&mut self, reference: &str, depth: usize) -> Shape {
        match self.known.get(reference) {
            Some(Some(shape)) => return shape.clone(),
            Some(None) => {
                // It is a part of itself: give it a name to be called by, which its reading fills in.
                let name = pascal(reference.rsplit('/').next().unwrap_or_default());
                let at = self.define_new(&name, None, Body::Alias(Shape::Any));
                self.known.insert(reference.to_owned(), Some(Shape::Recursive(at)));
                return Shape::Recursive(at);
            }
            None => {}
        }
        let Some(target) = self.root_pointer(reference) else { return Shape::Any };
        let name = pascal(reference.rsplit('/').next().unwrap_or_default());
        self.known.insert(reference.to_owned(), None);
        let shape = self.shape(&target, &name, depth + 1);
        // What is a part of itself without an object between has no type: it stays any value.
        if let Some(Some(Shape::Recursive(at))) = self.known.get(reference)
            && !shape.is_made_of(*at)
        {
            self.model.definitions[*at].body = Body::Alias(shape.clone());
        }
        self.known.insert(reference.to_owned(), Some(shape.clone()));
        shape
    }

    fn resolved<'v>(&'v self, schema: &'v Value) -> Option<&'v Value> {
        match schema.get("$ref") {
            Some(Value::String(reference)) => self.root.pointer(&pointer(reference)?),
            Some(_) => None,
            None => Some(schema),
        }
    }

    fn root_pointer(&self, reference: &str) -> Option<Value> {
        self.root.pointer(&pointer(reference)?).cloned()
    }
}

/// The pointer of a reference, whose percent signs stand for bytes.
fn pointer(reference: &str) -> Option<String> {
    let rest = reference.strip_prefix('#')?;
    Some(percent_encoding::percent_decode_str(rest).decode_utf8_lossy().into_owned())
}

/// The text that a field of an object must have.
fn tag_of<'m>(members: &'m Map<String, Value>, field: &str) -> Option<&'m str> {
    let required = members.get("required")?.as_array()?;
    let schema = required.iter().any(|name| name == field).then(|| members.get("properties")?.get(field)).flatten()?;
    match (schema.get("const"), schema.get("enum").and_then(Value::as_array).map(Vec::as_slice)) {
        (Some(Value::String(text)), _) | (None, Some([Value::String(text)])) => Some(text),
        _ => None,
    }
}

/// The one alternative beside null.
fn nullable_alternative(members: &Map<String, Value>) -> Option<&Value> {
    let alternatives = ["oneOf", "anyOf"].iter().find_map(|word| members.get(*word)?.as_array())?;
    let is_null = |of: &&Value| of.get("type").is_some_and(|kind| kind == "null");
    match alternatives.as_slice() {
        [null, other] if is_null(&null) => Some(other),
        [other, null] if is_null(&null) => Some(other),
        _ => None,
    }
}

fn nullable(shape: Shape) -> Shape {
    match shape {
        Shape::Any | Shape::Nullable(_) => shape,
        shape => Shape::Nullable(Box::new(shape)),
    }
}

/// The words of `type`, and whether null is one.
fn words(kind: Option<&Value>) -> (Vec<&str>, bool) {
    let words: Vec<&str> = match kind {
        Some(Value::String(word)) => vec![word],
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let has_null = words.contains(&"null");
    (words.into_iter().filter(|word| *word != "null").collect(), has_null)
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}
