//! What serde knows of a type without a value of it: the names of a struct's fields or of an enum's variants. It is what the
//! compiler tells of a state, and where the types of an aggregate's events come from.

use std::fmt;

use quipu_domain::base_type;
use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde::forward_to_deserialize_any;

/// The names that a derived `Deserialize` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Struct(&'static str, &'static [&'static str]),
    Enum(&'static str, &'static [&'static str]),
    Other,
}

/// What a type asks a deserializer for.
pub(super) fn shape<T: DeserializeOwned>() -> Shape {
    match T::deserialize(Asked) {
        Err(Told(shape)) => shape,
        // It asked for nothing.
        Ok(_) => Shape::Other,
    }
}

/// The names of an enum's variants: the types of events.
pub(crate) fn variants<E: DeserializeOwned>() -> &'static [&'static str] {
    match shape::<E>() {
        Shape::Enum(_, variants) => variants,
        found => panic!(
            "expected the events {} to be an enum with derived Serialize and Deserialize, without tag and untagged, found {found:?}",
            std::any::type_name::<E>()
        ),
    }
}

/// The type of a variant, without its version.
pub(super) fn base(variant: &str) -> String {
    base_type(variant).to_owned()
}

/// A deserializer that answers every question with what was asked.
struct Asked;

#[derive(Debug)]
struct Told(Shape);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Told {}

impl Error for Told {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(Shape::Other)
    }
}

impl<'de> Deserializer<'de> for Asked {
    type Error = Told;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Told> {
        Err(Told(Shape::Other))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Told> {
        Err(Told(Shape::Struct(name, fields)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Told> {
        Err(Told(Shape::Enum(name, variants)))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_tells_its_names() {
        #[derive(serde::Deserialize)]
        #[allow(dead_code)]
        struct State {
            total: u64,
            #[serde(rename = "Paid")]
            paid: bool,
        }
        #[derive(serde::Deserialize)]
        #[allow(dead_code)]
        enum Event {
            #[serde(rename = "a.b")]
            A {
                n: u8,
            },
            B,
        }
        #[derive(serde::Deserialize)]
        #[serde(tag = "type")]
        #[allow(dead_code)]
        enum Tagged {
            A,
        }
        assert_eq!(shape::<State>(), Shape::Struct("State", &["total", "Paid"]));
        assert_eq!(shape::<Event>(), Shape::Enum("Event", &["a.b", "B"]));
        assert_eq!(shape::<Vec<u8>>(), Shape::Other);
        assert_eq!(shape::<()>(), Shape::Other);
        assert!(std::panic::catch_unwind(variants::<Tagged>).is_err());
    }
}
