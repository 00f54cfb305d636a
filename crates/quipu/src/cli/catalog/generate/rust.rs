//! Rust: structs with serde, an enum of all events, and a trait with a method for each.

use std::fmt::Write as _;

use super::model::{Body, Definition, EventType, Field, Model, Shape};
use super::names::{Names, is_hidden, pascal, snake};

/// Words that are no names; those of the second list cannot be written as `r#self` either.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "union", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];
const NO_NAMES: &[&str] = &["self", "super", "crate"];

const HEAD: &str = "// Made by `quipu catalog generate`; what is changed here is lost.
#![allow(clippy::all, dead_code, unused_imports, non_camel_case_types)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
";

const TAIL: &str = "
/// What an event has beside its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    pub id: String,
    pub source: String,
    #[serde(rename = \"type\")]
    pub kind: String,
    #[serde(default, skip_serializing_if = \"Option::is_none\")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = \"Option::is_none\")]
    pub time: Option<String>,
}

/// Why an event did not reach its handler, or what the handler says.
#[derive(Debug)]
pub enum Malformed<E> {
    /// It is not what its type says.
    Event(serde_json::Error),
    /// The handler failed.
    Handler(E),
}

/// Calls the method of an event, a CloudEvent as JSON.
pub fn dispatch<H: Handler + ?Sized>(handler: &mut H, event: &Value) -> Result<(), Malformed<H::Error>> {
    let envelope = Envelope::deserialize(event).map_err(Malformed::Event)?;
    let data = event.get(\"data\").cloned().unwrap_or(Value::Null);
    let handled = match Event::read(&envelope.kind, data) {
        None => handler.on_other(&envelope, event),
        Some(Err(error)) => return Err(Malformed::Event(error)),
        Some(Ok(read)) => handler.on(&envelope, read),
    };
    handled.map_err(Malformed::Handler)
}
";

pub fn write(model: &Model) -> String {
    let mut out = HEAD.to_owned();
    for definition in &model.definitions {
        define(&mut out, model, definition);
    }
    let idents: Vec<String> = {
        let mut names = Names::of(&["Self"]);
        model.events.iter().map(|event| names.take(event.ident.clone())).collect()
    };
    events(&mut out, model, &idents);
    handler(&mut out, model, &idents);
    out.push_str(TAIL);
    out
}

fn define(out: &mut String, model: &Model, definition: &Definition) {
    let ident = &definition.ident;
    out.push('\n');
    document(out, "", definition.description.as_deref());
    match &definition.body {
        Body::Alias(shape) => _ = writeln!(out, "pub type {ident} = {};", shape_of(model, shape)),
        Body::Struct(fields) => {
            out.push_str("#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]\n");
            _ = writeln!(out, "pub struct {ident} {{");
            let mut names = Names::default();
            fields.iter().for_each(|one| field(out, model, one, &mut names));
            out.push_str("}\n");
        }
        Body::Enum(values) => {
            out.push_str(
                "#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]\n",
            );
            _ = writeln!(out, "pub enum {ident} {{");
            let mut names = Names::of(&["Self"]);
            for value in values {
                _ = writeln!(out, "    #[serde(rename = {value:?})]\n    {},", names.take(pascal(value)));
            }
            out.push_str("}\n");
        }
        Body::Tagged { tag, variants } => {
            _ = writeln!(out, "#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]\n#[serde(tag = {tag:?})]");
            _ = writeln!(out, "pub enum {ident} {{");
            let mut names = Names::of(&["Self"]);
            for (value, of) in variants {
                let of = &model.definitions[*of].ident;
                _ = writeln!(out, "    #[serde(rename = {value:?})]\n    {}(Box<{of}>),", names.take(pascal(value)));
            }
            out.push_str("}\n");
        }
    }
}

fn field(out: &mut String, model: &Model, field: &Field, names: &mut Names) {
    document(out, "    ", field.description.as_deref());
    let ident = names.take(identifier(&field.name));
    let mut attributes = Vec::new();
    if ident.trim_start_matches("r#") != field.name {
        attributes.push(format!("rename = {:?}", field.name));
    }
    let mut shape = shape_of(model, &field.shape);
    if !field.is_required {
        attributes.push("default, skip_serializing_if = \"Option::is_none\"".to_owned());
        if !matches!(field.shape, Shape::Nullable(_)) {
            shape = format!("Option<{shape}>");
        }
    }
    if !attributes.is_empty() {
        _ = writeln!(out, "    #[serde({})]", attributes.join(", "));
    }
    _ = writeln!(out, "    pub {ident}: {shape},");
}

fn shape_of(model: &Model, shape: &Shape) -> String {
    match shape {
        Shape::Any => "Value".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Integer => "i64".to_owned(),
        Shape::Number => "f64".to_owned(),
        Shape::Text | Shape::Constant(_) => "String".to_owned(),
        Shape::List(of) => format!("Vec<{}>", shape_of(model, of)),
        Shape::Map(of) => format!("BTreeMap<String, {}>", shape_of(model, of)),
        Shape::Nullable(of) => format!("Option<{}>", shape_of(model, of)),
        Shape::Named(at) => model.definitions[*at].ident.clone(),
        Shape::Recursive(at) => format!("Box<{}>", model.definitions[*at].ident),
    }
}

fn events(out: &mut String, model: &Model, idents: &[String]) {
    out.push_str("\n/// An event of any of the types. As JSON it has the members `type` and `data`.\n");
    out.push_str(
        "#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]\n#[serde(tag = \"type\", content = \"data\")]\n",
    );
    out.push_str("pub enum Event {\n");
    for (event, ident) in model.events.iter().zip(idents) {
        document(out, "    ", event.description.as_deref());
        let names: Vec<String> = names_of(event).iter().skip(1).map(|alias| format!(", alias = {alias:?}")).collect();
        _ = writeln!(out, "    #[serde(rename = {:?}{})]", event.name, names.concat());
        _ = writeln!(out, "    {ident}(Box<{}>),", shape_of(model, &event.data));
    }
    out.push_str("}\n\nimpl Event {\n    /// The type of the event.\n    pub fn kind(&self) -> &'static str {\n        match *self {\n");
    for (event, ident) in model.events.iter().zip(idents) {
        _ = writeln!(out, "            Self::{ident}(_) => {:?},", event.name);
    }
    out.push_str("        }\n    }\n\n    /// The data of an event of a type; nothing for a type that is not here.\n");
    out.push_str(
        "    pub fn read(kind: &str, data: Value) -> Option<serde_json::Result<Self>> {\n        Some(match kind {\n",
    );
    for (event, ident) in model.events.iter().zip(idents) {
        let names: Vec<String> = names_of(event).iter().map(|name| format!("{name:?}")).collect();
        _ = writeln!(
            out,
            "            {} => serde_json::from_value(data).map(|data| Self::{ident}(Box::new(data))),",
            names.join(" | ")
        );
    }
    out.push_str("            _ => return None,\n        })\n    }\n}\n");
}

fn handler(out: &mut String, model: &Model, idents: &[String]) {
    out.push_str("\n/// What is done about each event.\npub trait Handler {\n    type Error;\n");
    let mut names = Names::of(&["on", "on_other"]);
    let methods: Vec<String> =
        model.events.iter().map(|event| names.take(format!("on_{}", snake(&event.name)))).collect();
    for (event, method) in model.events.iter().zip(&methods) {
        out.push('\n');
        document(out, "    ", event.description.as_deref());
        let data = shape_of(model, &event.data);
        _ = writeln!(out, "    fn {method}(&mut self, envelope: &Envelope, data: {data}) -> Result<(), Self::Error>;");
    }
    out.push_str(
        "\n    /// An event of a type that is not here, whole.\n    fn on_other(&mut self, _envelope: &Envelope, _event: &Value) -> \
         Result<(), Self::Error> {\n        Ok(())\n    }\n\n    /// Calls the method of an event.\n    fn on(&mut self, envelope: \
         &Envelope, event: Event) -> Result<(), Self::Error> {\n        match event {\n",
    );
    for (ident, method) in idents.iter().zip(&methods) {
        _ = writeln!(out, "            Event::{ident}(data) => self.{method}(envelope, *data),");
    }
    out.push_str("        }\n    }\n}\n");
}

/// The names that events of a type have: one of version 1 may say so.
fn names_of(event: &EventType) -> Vec<String> {
    let unsaid = quipu_domain::type_version(&event.name).is_none();
    let said = unsaid.then(|| format!("{}.v1", event.name));
    std::iter::once(event.name.clone()).chain(said).collect()
}

fn identifier(name: &str) -> String {
    let ident = snake(name);
    match ident.as_str() {
        word if NO_NAMES.contains(&word) => format!("{word}_"),
        word if KEYWORDS.contains(&word) => format!("r#{word}"),
        _ => ident,
    }
}

/// A text as comments of documentation, each line by itself.
fn document(out: &mut String, indent: &str, text: Option<&str>) {
    for line in text.into_iter().flat_map(str::lines) {
        let line: String = line.chars().map(|c| if is_hidden(c) { ' ' } else { c }).collect();
        _ = writeln!(out, "{}", format!("{indent}/// {line}").trim_end());
    }
}
