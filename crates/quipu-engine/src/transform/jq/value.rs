//! JSON as the evaluator holds it. Every value knows how many bytes and levels it would have written out, so that one
//! that shares its parts a thousandfold is as large as it looks, and none grows beyond the limits.

use std::rc::Rc;

use super::meter::{self, Stop};
use super::number::Number;
use super::object::Object;

/// Largest value, as JSON.
pub(super) const BYTES_MAX: usize = super::super::OUTPUT_BYTES_MAX;
/// Deepest value. Events have at most 101 levels.
pub(super) const DEPTH_MAX: usize = 128;
/// `null` and `true`; near enough for numbers, too.
const BYTES_OF_PLAIN: usize = 5;
/// Brackets or quotes.
const BYTES_AROUND: usize = 2;

/// A JSON value. Copies share their parts.
#[derive(Clone, Debug, Default)]
pub(super) enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    Text(Rc<str>),
    Array(Rc<Array>),
    Object(Rc<Object>),
}

/// What the operators fail with.
pub(super) type Error = jaq_core::Error<Value>;
pub(super) type Outcome = Result<Value, Error>;

/// Items, and what they add up to.
#[derive(Clone, Debug, Default)]
pub(super) struct Array {
    items: Vec<Value>,
    size: Size,
}

/// What a value would be, written out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub bytes: usize,
    pub depth: usize,
}

impl Size {
    /// What contains this, and a comma or a colon.
    pub fn add(&mut self, part: Size) {
        self.bytes = self.bytes.saturating_add(part.bytes).saturating_add(1);
        self.depth = self.depth.max(part.depth);
    }

    /// Whether an array or object of these parts may be. If not, the evaluation is stopped.
    pub fn fits(self) -> bool {
        if self.bytes > BYTES_MAX {
            meter::stop(Stop::Bytes);
        } else if self.depth >= DEPTH_MAX {
            meter::stop(Stop::Depth);
        } else {
            return true;
        }
        false
    }
}

/// The error of an evaluation that was stopped. Nobody gets to read it.
pub(super) fn stopped() -> Error {
    Error::new(Value::Null)
}

impl Array {
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    /// The items, copied where somebody else has them too.
    pub fn into_items(array: Rc<Self>) -> Result<Vec<Value>, Error> {
        match Rc::try_unwrap(array) {
            Ok(array) => Ok(array.items),
            Err(shared) if meter::copied_items(shared.items.len()) => Ok(shared.items.clone()),
            Err(_) => Err(stopped()),
        }
    }

    /// More items at the end.
    pub fn extend(array: Rc<Self>, more: &[Value]) -> Outcome {
        let copied = if Rc::strong_count(&array) > 1 { array.items.len() } else { 0 };
        if !meter::copied_items(copied + more.len()) {
            return Err(stopped());
        }
        let mut array = Rc::try_unwrap(array).unwrap_or_else(|shared| (*shared).clone());
        for item in more {
            array.size.add(item.size());
        }
        if !array.size.fits() {
            return Err(stopped());
        }
        array.items.extend_from_slice(more);
        Ok(Value::Array(Rc::new(array)))
    }
}

impl Value {
    /// An array; `null` where the evaluation is stopped since it is too large.
    pub fn array(items: Vec<Value>) -> Self {
        let mut size = Size { bytes: BYTES_AROUND, depth: 0 };
        items.iter().for_each(|item| size.add(item.size()));
        let is_counted = meter::copied_items(items.len());
        if size.fits() && is_counted { Self::Array(Rc::new(Array { items, size })) } else { Self::Null }
    }

    pub fn object(object: Object) -> Self {
        if object.size().fits() { Self::Object(Rc::new(object)) } else { Self::Null }
    }

    /// Text; `null` where the evaluation is stopped since it is too long.
    pub fn text(text: impl AsRef<str> + Into<Rc<str>>) -> Self {
        let size = Size { bytes: text.as_ref().len(), depth: 0 };
        let is_counted = meter::copied(size.bytes);
        if size.fits() && is_counted { Self::Text(text.into()) } else { Self::Null }
    }

    pub fn size(&self) -> Size {
        match self {
            Self::Null | Self::Bool(_) => Size { bytes: BYTES_OF_PLAIN, depth: 0 },
            Self::Number(number) => Size { bytes: number.bytes(), depth: 0 },
            Self::Text(text) => Size { bytes: text.len() + BYTES_AROUND, depth: 0 },
            Self::Array(array) => Size { depth: array.size.depth + 1, ..array.size },
            Self::Object(object) => Size { depth: object.size().depth + 1, ..object.size() },
        }
    }

    /// What jq calls its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    pub fn as_text(&self) -> Result<&Rc<str>, Error> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(Error::typ(self.clone(), "string")),
        }
    }
}
