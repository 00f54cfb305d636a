//! A value of an enum of events as the type and the data of an event.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

/// The type and the JSON of the data; a variant that holds nothing has no data.
///
/// # Errors
/// It cannot be written as JSON, such as a map with keys that are no texts.
pub(crate) fn write<E: Serialize>(event: &E) -> Result<(String, Option<String>), String> {
    let text = serde_json::to_string(event).map_err(|error| error.to_string())?;
    if text.starts_with('"') {
        return Ok((serde_json::from_str(&text).map_err(|error| error.to_string())?, None));
    }
    let variant: Option<BTreeMap<Cow<'_, str>, &RawValue>> = serde_json::from_str(&text).ok();
    let one = variant.filter(|variant| variant.len() == 1).and_then(|mut variant| variant.pop_first());
    let (kind, data) = one.ok_or("expected a variant of an enum with derived Serialize, without tag and untagged")?;
    Ok((kind.into_owned(), Some(data.get().to_owned())))
}
