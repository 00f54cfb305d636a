//! The type and the data of an event as a value of an enum of events.

use quipu_domain::schema::SchemaVersion;
use quipu_domain::{Data, Event, base_type, type_version};
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// The version of an event whose type names none.
const VERSION_UNSAID: u32 = 1;

/// The version that events of a type are read in: the newest that there is a variant for, unless there is one for this version.
pub(super) fn version_wanted(kind: &str, variants: &[&str]) -> SchemaVersion {
    if variants.iter().any(|variant| is_same_version(variant, kind)) {
        return SchemaVersion::Stored;
    }
    let same = variants.iter().filter(|variant| base_type(variant) == base_type(kind));
    same.map(|variant| version(variant)).max().map_or(SchemaVersion::Stored, SchemaVersion::At)
}

fn version(kind: &str) -> u32 {
    type_version(kind).unwrap_or(VERSION_UNSAID)
}

/// `order.placed` and `order.placed.v1` are the same.
fn is_same_version(variant: &str, kind: &str) -> bool {
    base_type(variant) == base_type(kind) && version(variant) == version(kind)
}

/// The variant for an event in the version that is wanted.
///
/// # Errors
/// What was expected and what was found, in words.
pub(crate) fn read<E: DeserializeOwned>(event: &Event<'_>, variants: &'static [&'static str]) -> Result<E, String> {
    let variant = variants.iter().find(|variant| is_same_version(variant, event.kind()));
    let variant = variant.ok_or_else(|| format!("expected one of {}, found {}", variants.join(", "), event.kind()))?;
    let data = match event.data() {
        Data::None => None,
        Data::Json(text) => Some(text.as_ref()),
        Data::Text(_) | Data::Binary(_) | Data::Payload(_) => {
            return Err(format!("expected data of JSON, found {}", event.data_content_type().unwrap_or("other data")));
        }
    };
    E::deserialize(Variant { name: variant, data }).map_err(|error| error.to_string())
}

/// A variant and what it holds, as an enum that serde derives wants it.
struct Variant<'de> {
    name: &'static str,
    data: Option<&'de str>,
}

impl<'de> Variant<'de> {
    /// The data; a variant without data holds `null`.
    fn content(&self) -> serde_json::Deserializer<serde_json::de::StrRead<'de>> {
        serde_json::Deserializer::from_str(self.data.unwrap_or("null"))
    }
}

impl<'de> Deserializer<'de> for Variant<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = serde_json::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Self::Error> {
        let name: StrDeserializer<'_, Self::Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = serde_json::Error;

    /// Data that somebody else has added says nothing to a variant that holds nothing.
    fn unit_variant(self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Self::Error> {
        seed.deserialize(&mut self.content())
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Self::Error> {
        self.content().deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.content().deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use super::super::shape::variants;
    use super::super::write;
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Happened {
        #[serde(rename = "order.placed.v2")]
        Placed { total: f64, lines: BTreeMap<u32, String> },
        #[serde(rename = "order.noted")]
        Noted(Option<String>),
        #[serde(rename = "order.moved")]
        Moved(u8, String),
        #[serde(rename = "order.shipped")]
        Shipped,
    }

    fn event(kind: &str, data: Option<&str>) -> Event<'static> {
        let builder = Event::builder("1", "/order", kind.to_owned());
        let builder = match data {
            Some(data) => builder.json(data.to_owned()),
            None => builder,
        };
        builder.build().unwrap()
    }

    #[test]
    fn every_kind_of_variant_is_read_as_it_was_written() {
        for happened in [
            Happened::Placed { total: 0.1, lines: BTreeMap::from([(7, "\"ü\"".into())]) },
            Happened::Noted(None),
            Happened::Noted(Some(String::new())),
            Happened::Moved(3, "x".into()),
            Happened::Shipped,
        ] {
            let (kind, data) = write(&happened).unwrap();
            let event = event(&kind, data.as_deref());
            assert_eq!(read::<Happened>(&event, variants::<Happened>()), Ok(happened), "{event:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_what_was_expected_and_found() {
        for (kind, data, said) in [
            (
                "order.paid",
                None,
                "expected one of order.placed.v2, order.noted, order.moved, order.shipped, found order.paid",
            ),
            ("order.placed", Some("{}"), "found order.placed"),
            ("order.placed.v3", Some("{}"), "found order.placed.v3"),
            ("order.placed.v2", Some("{}"), "missing field `total`"),
            ("order.moved", Some("[1]"), "invalid length 1"),
            ("order.moved", None, "invalid type: null"),
        ] {
            let error = read::<Happened>(&event(kind, data), variants::<Happened>()).unwrap_err();
            assert!(error.contains(said), "{kind}: {error}");
        }
        // A version that is not named is the first, and a variant that holds nothing reads any data.
        assert_eq!(read(&event("order.shipped.v1", Some("{}")), variants::<Happened>()), Ok(Happened::Shipped));
    }

    #[test]
    fn events_are_read_in_the_newest_version_that_there_is_a_variant_for() {
        use SchemaVersion::{At, Stored};
        for (kind, variants, wanted) in [
            ("a", &["a"][..], Stored),
            ("a.v1", &["a"], Stored),
            ("a", &["a.v1"], Stored),
            ("a", &["a.v2", "a.v3"], At(3)),
            ("a.v2", &["a.v2", "a.v3"], Stored),
            ("a.v4", &["a.v2", "a.v3"], At(3)),
            ("b", &["a.v2"], Stored),
        ] {
            assert_eq!(version_wanted(kind, variants), wanted, "{kind} {variants:?}");
        }
    }
}
