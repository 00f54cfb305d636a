//! The input transformer of EventBridge: a text in which `<name>` stands for what a path found. A template that is JSON
//! makes JSON, whatever the values are; any other makes plain text.
//!
//! The template is taken apart once. What stands between the placeholders is copied, without the white space between
//! tokens where it is JSON.

mod parse;

use std::borrow::Cow;

use super::fault::InvalidTransform;
use super::path::{Effort, Path, members};
use super::{Format, OUTPUT_BYTES_MAX, TEMPLATE_CHARS_MAX, check_length, too_large};
use parse::Parsed;

/// As in AWS.
const PATHS_MAX: usize = 100;
/// As in AWS. Characters.
const NAME_CHARS_MAX: usize = 256;

/// A template that is ready to be filled.
#[derive(Debug)]
pub(super) struct Template {
    text: String,
    pieces: Vec<Piece>,
    /// What the pieces ask for, each once: a name may stand in a thousand places.
    sources: Vec<Source>,
    format: Format,
    subscription: String,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    /// Which of the sources.
    Value(usize, Place),
}

/// What a placeholder stands for.
#[derive(Debug)]
enum Source {
    Path(Path),
    SubscriptionName,
    IngestionTime,
    EventWithoutData,
    Event,
}

/// Where a placeholder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In JSON, as a value of its own.
    Alone,
    /// In JSON, inside a string.
    InString,
    /// In plain text.
    Plain,
}

impl Template {
    /// Checks names, paths and the text.
    ///
    /// # Errors
    /// Which member, why and where.
    pub fn compile(template: &quipu_domain::Template, subscription: &str) -> Result<Self, InvalidTransform> {
        let text = &template.template;
        let invalid = |(at, reason)| InvalidTransform::new("/transform/template/template", text, at, reason);
        check_paths(template)?;
        check_length(text, TEMPLATE_CHARS_MAX).map_err(invalid)?;
        let Parsed { pieces, format } = parse::parse(text).map_err(invalid)?;
        let source = |at: usize, name: &str| {
            let Some(path) = template.paths.get(name) else {
                return predefined(name).map_err(|reason| invalid((at, reason)));
            };
            Path::parse(path).map(Source::Path).map_err(|(at, reason)| invalid((at, reason)))
        };
        let (mut names, mut sources) = (Vec::new(), Vec::new());
        let pieces = pieces.into_iter().map(|piece| match piece {
            parse::Piece::Text(text) => Ok(Piece::Text(text)),
            parse::Piece::Name { at, name, place } => {
                if let Some(index) = names.iter().position(|known| *known == name) {
                    return Ok(Piece::Value(index, place));
                }
                sources.push(source(at, &name)?);
                names.push(name);
                Ok(Piece::Value(sources.len() - 1, place))
            }
        });
        let pieces = pieces.collect::<Result<_, _>>()?;
        Ok(Self { text: text.clone(), pieces, sources, format, subscription: subscription.to_owned() })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// The template, filled from this event.
    pub fn apply(&self, event: &str) -> Result<Vec<u8>, String> {
        let mut effort = Effort::default();
        let values = self.sources.iter().map(|source| self.value(source, event, &mut effort));
        let values: Vec<_> = values.collect::<Result<_, _>>()?;
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value(index, place) => write(&mut out, values[*index].as_deref(), *place),
            }
            if out.len() > OUTPUT_BYTES_MAX {
                return Err(too_large());
            }
        }
        Ok(out.into_bytes())
    }

    /// JSON text, or nothing.
    fn value<'a>(&self, source: &Source, event: &'a str, effort: &mut Effort) -> Result<Option<Cow<'a, str>>, String> {
        Ok(match source {
            Source::Path(path) => path.find(event, effort)?,
            Source::SubscriptionName => serde_json::to_string(&self.subscription).ok().map(Cow::Owned),
            Source::IngestionTime => {
                let mut members = members(event).into_iter();
                members.find(|(name, _)| name == "recordedtime").map(|(_, text)| Cow::Borrowed(text))
            }
            Source::EventWithoutData => Some(Cow::Owned(without_data(event))),
            Source::Event => Some(Cow::Borrowed(event)),
        })
    }
}

fn check_paths(template: &quipu_domain::Template) -> Result<(), InvalidTransform> {
    let paths = &template.paths;
    if paths.len() > PATHS_MAX {
        let reason = format!("expected at most {PATHS_MAX} paths, found {}", paths.len());
        return Err(InvalidTransform::new("/transform/template/paths", "", 0, reason));
    }
    for (name, path) in paths {
        let pointer = || format!("/transform/template/paths/{}", name.replace('~', "~0").replace('/', "~1"));
        check_length(name, NAME_CHARS_MAX)
            .map_err(|(at, reason)| InvalidTransform::new(pointer(), name, at, format!("the name: {reason}")))?;
        if let Some(at) = name.find(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))) {
            let reason = "the name: expected letters, digits, - and _";
            return Err(InvalidTransform::new(pointer(), name, at, reason));
        }
        Path::parse(path).map_err(|(at, reason)| InvalidTransform::new(pointer(), path, at, reason))?;
    }
    Ok(())
}

fn predefined(name: &str) -> Result<Source, String> {
    match name {
        "aws.events.rule-name" => Ok(Source::SubscriptionName),
        "aws.events.event.ingestion-time" => Ok(Source::IngestionTime),
        "aws.events.event" => Ok(Source::EventWithoutData),
        "aws.events.event.json" => Ok(Source::Event),
        "aws.events.rule-arn" => Err("a subscription has no ARN: expected <aws.events.rule-name>".into()),
        _ => Err(format!("expected a name of `paths`, found <{name}>; a plain < is written \\<")),
    }
}

/// The event without what `detail` names.
fn without_data(event: &str) -> String {
    let mut out = String::from("{");
    for (name, value) in members(event) {
        if name == "data" || name == "data_base64" {
            continue;
        }
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&serde_json::to_string(&name).unwrap_or_default());
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    out
}

/// Appends JSON text as its place asks for it.
fn write(out: &mut String, json: Option<&str>, place: Place) {
    match (json, place) {
        (Some(json), Place::Alone) => out.push_str(json),
        (Some(json), Place::InString) => write_unquoted(out, json),
        (Some(json), Place::Plain) => match serde_json::from_str::<Cow<'_, str>>(json) {
            Ok(text) => out.push_str(&text),
            Err(_) => out.push_str(json),
        },
        // The documents of AWS say only that the variable does not appear; this keeps the outcome JSON.
        (None, Place::Alone) => out.push_str("\"\""),
        (None, Place::InString | Place::Plain) => {}
    }
}

/// JSON text as a part of a JSON string: strings without their quotes, escapes as they are, no white space between
/// tokens, which might be line breaks.
fn write_unquoted(out: &mut String, json: &str) {
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => {
                in_string = !in_string;
                continue;
            }
            ' ' | '\n' | '\r' | '\t' if !in_string => continue,
            _ => {}
        }
        out.push(c);
    }
}
