//! TypeScript: interfaces, a union of all events, and an interface with a method for each.

use std::fmt::Write as _;

use super::model::{Body, Definition, Field, Model, Shape};
use super::names::{Names, is_hidden, pascal};

const HEAD: &str = "// Made by `quipu catalog generate`; what is changed here is lost.

/// An event as it is sent.
export interface CloudEvent<Type extends string = string, Data = unknown> {
  specversion: string;
  id: string;
  source: string;
  type: Type;
  subject?: string;
  time?: string;
  data?: Data;
  [attribute: string]: unknown;
}
";

pub fn write(model: &Model) -> String {
    let mut out = HEAD.to_owned();
    model.definitions.iter().for_each(|definition| define(&mut out, model, definition));
    out.push_str("\n/** The data of each type. */\nexport interface Events {\n");
    for event in &model.events {
        document(&mut out, "  ", event.description.as_deref());
        _ = writeln!(out, "  {}: {};", quoted(&event.name), shape_of(model, &event.data));
    }
    out.push_str("}\n\n/** An event of any of the types. */\nexport type Event = {\n  [Type in keyof Events]: CloudEvent<Type, Events[Type]> & { data: Events[Type] };\n}[keyof Events];\n");
    out.push_str("\n/** What is done about each event. */\nexport interface Handler {\n");
    let mut names = Names::of(&["onOther"]);
    let methods: Vec<String> =
        model.events.iter().map(|event| names.take(format!("on{}", pascal(&event.name)))).collect();
    for (event, method) in model.events.iter().zip(&methods) {
        document(&mut out, "  ", event.description.as_deref());
        let name = quoted(&event.name);
        _ = writeln!(out, "  {method}(event: Extract<Event, {{ type: {name} }}>): void | Promise<void>;");
    }
    out.push_str(
        "  /** An event of a type that is not here. */\n  onOther?(event: CloudEvent): void | Promise<void>;\n}\n",
    );
    out.push_str("\n/** Calls the method of an event. */\nexport async function dispatch(handler: Handler, event: CloudEvent): Promise<void> {\n  switch (event.type) {\n");
    for (event, method) in model.events.iter().zip(&methods) {
        let name = quoted(&event.name);
        if quipu_domain::type_version(&event.name).is_none() {
            _ = writeln!(out, "    case {}:", quoted(&format!("{}.v1", event.name)));
        }
        _ = writeln!(
            out,
            "    case {name}:\n      return handler.{method}(event as Extract<Event, {{ type: {name} }}>);"
        );
    }
    out.push_str("    default:\n      return handler.onOther?.(event);\n  }\n}\n");
    out
}

fn define(out: &mut String, model: &Model, definition: &Definition) {
    let ident = &definition.ident;
    out.push('\n');
    document(out, "", definition.description.as_deref());
    match &definition.body {
        Body::Alias(shape) => _ = writeln!(out, "export type {ident} = {};", shape_of(model, shape)),
        Body::Struct(fields) => {
            _ = writeln!(out, "export interface {ident} {{");
            fields.iter().for_each(|one| field(out, model, one));
            out.push_str("}\n");
        }
        Body::Enum(values) => {
            let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
            _ = writeln!(out, "export type {ident} = {};", values.join(" | "));
        }
        Body::Tagged { tag, variants } => {
            let variant = |(value, of): &(String, usize)| {
                format!("({{ {}: {} }} & {})", quoted(tag), quoted(value), model.definitions[*of].ident)
            };
            let variants: Vec<String> = variants.iter().map(variant).collect();
            _ = writeln!(out, "export type {ident} = {};", variants.join(" | "));
        }
    }
}

fn field(out: &mut String, model: &Model, field: &Field) {
    document(out, "  ", field.description.as_deref());
    let mark = if field.is_required { "" } else { "?" };
    _ = writeln!(out, "  {}{mark}: {};", quoted(&field.name), shape_of(model, &field.shape));
}

fn shape_of(model: &Model, shape: &Shape) -> String {
    match shape {
        Shape::Any => "unknown".to_owned(),
        Shape::Bool => "boolean".to_owned(),
        Shape::Integer | Shape::Number => "number".to_owned(),
        Shape::Text => "string".to_owned(),
        Shape::Constant(text) => quoted(text),
        Shape::List(of) => format!("({})[]", shape_of(model, of)),
        Shape::Map(of) => format!("{{ [key: string]: {} }}", shape_of(model, of)),
        Shape::Nullable(of) => format!("{} | null", shape_of(model, of)),
        Shape::Named(at) | Shape::Recursive(at) => model.definitions[*at].ident.clone(),
    }
}

/// A text as JSON writes it, which is a literal too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A text as a comment, which it cannot end.
fn document(out: &mut String, indent: &str, text: Option<&str>) {
    let Some(text) = text else { return };
    let text: String =
        text.chars().map(|c| if is_hidden(c) || "\u{2028}\u{2029}".contains(c) { ' ' } else { c }).collect();
    _ = writeln!(out, "{indent}/** {} */", text.replace("*/", "* /"));
}
