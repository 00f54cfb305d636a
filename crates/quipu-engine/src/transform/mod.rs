//! What a subscription delivers instead of the event: the part that a path names, a template filled from paths, or the
//! first output of a jq expression.
//!
//! A [`Transformer`] is compiled and checked once, when the subscription is made, and then applied to one event after
//! the other, on any thread. Applying it reads nothing but the event, takes bounded time and memory whatever a stranger
//! wrote, and does not panic: what fails is a [`TransformFault`], which ends in a dead letter. Delivering is not its
//! business. `docs/transformations.md` says how each kind behaves.

mod fault;
mod jq;
mod path;
mod template;

#[cfg(test)]
mod tests;

use quipu_domain::Transform;
use serde_json::value::RawValue;

pub use fault::{InvalidTransform, TransformFault};
pub(crate) use jq::{JQ_STEPS_MAX, Jq};
use path::Path;
use template::Template;

/// Largest outcome, and largest value on the way to it in jq: four times the largest event, unless that is configured
/// otherwise.
const OUTPUT_BYTES_MAX: usize = 4 << 20;
/// Longest expression: a path, a template (the limit of AWS), a jq expression. Characters.
const TEMPLATE_CHARS_MAX: usize = 8_192;
/// As in AWS. Characters.
const PATH_CHARS_MAX: usize = 256;
/// Compiling recurses once or twice a character at worst, so this bounds the stack that it needs. Characters.
const JQ_CHARS_MAX: usize = 4_096;

/// How an outcome is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// Text that is no JSON: only a template makes it.
    Text,
}

impl Format {
    /// The media type of the outcome.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

/// A transformation, checked and ready to be applied.
#[derive(Debug)]
pub struct Transformer(Kind);

#[derive(Debug)]
enum Kind {
    Path(Path),
    Template(Template),
    Jq(Jq),
}

impl Transformer {
    /// Checks a transformation and prepares it for the subscription of this name, which a template may ask for.
    ///
    /// ```
    /// use quipu_domain::Transform;
    /// use quipu_engine::transform::Transformer;
    ///
    /// let transformer = Transformer::compile(&Transform::Path("$.data.total".into()), "billing")?;
    /// let event = br#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","data":{"total":9.50}}"#;
    /// assert_eq!(transformer.apply(event).as_deref(), Ok(&b"9.50"[..]));
    /// # Ok::<(), quipu_engine::transform::InvalidTransform>(())
    /// ```
    ///
    /// # Errors
    /// Which member makes no sense, why, and where in its text.
    pub fn compile(transform: &Transform, subscription: &str) -> Result<Self, InvalidTransform> {
        Ok(Self(match transform {
            Transform::Path(text) => {
                let invalid = |(at, reason)| InvalidTransform::new("/transform/path", text, at, reason);
                Kind::Path(Path::parse(text).map_err(invalid)?)
            }
            Transform::Template(template) => Kind::Template(Template::compile(template, subscription)?),
            Transform::Jq(text) => {
                let invalid = |(at, reason)| InvalidTransform::new("/transform/jq", text, at, reason);
                Kind::Jq(Jq::compile(text).map_err(invalid)?)
            }
        }))
    }

    /// How the outcome is written. It does not depend on the event.
    pub fn format(&self) -> Format {
        match &self.0 {
            Kind::Template(template) => template.format(),
            Kind::Path(_) | Kind::Jq(_) => Format::Json,
        }
    }

    /// What is delivered instead of this event, given as JSON with its data inline.
    ///
    /// # Errors
    /// The expression and why it makes nothing of this event. It would not the next time either.
    pub fn apply(&self, event_json: &[u8]) -> Result<Vec<u8>, TransformFault> {
        let (expression, outcome) = match &self.0 {
            Kind::Path(path) => (path.text(), whole(event_json).and_then(|event| path.apply(event))),
            Kind::Template(template) => (template.text(), whole(event_json).and_then(|event| template.apply(event))),
            Kind::Jq(jq) => (jq.text(), whole(event_json).and_then(|event| jq.apply(event))),
        };
        let outcome =
            outcome.and_then(|bytes| if bytes.len() > OUTPUT_BYTES_MAX { Err(too_large()) } else { Ok(bytes) });
        outcome.map_err(|reason| TransformFault::new(expression, &reason))
    }
}

/// The event as text that is known to be JSON.
fn whole(event_json: &[u8]) -> Result<&str, String> {
    let event: &RawValue =
        serde_json::from_slice(event_json).map_err(|error| format!("expected the event as JSON: {error}"))?;
    Ok(event.get())
}

/// The refusal of an outcome beyond [`OUTPUT_BYTES_MAX`].
fn too_large() -> String {
    format!("expected an outcome of at most {OUTPUT_BYTES_MAX} bytes, found more")
}

/// Checks a length in characters. The place of a text that is too long is where it should have ended.
fn check_length(text: &str, chars_max: usize) -> Result<(), (usize, String)> {
    match text.char_indices().nth(chars_max) {
        _ if text.is_empty() => Err((0, "expected text, found none".into())),
        Some((at, _)) => Err((at, format!("expected at most {chars_max} characters, found {}", text.chars().count()))),
        None => Ok(()),
    }
}
