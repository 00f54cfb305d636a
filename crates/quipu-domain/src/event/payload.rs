//! Data that is kept beside the log: what an event says of it. The event then has the attribute `dataref` and no data, as a
//! middleware may do it that keeps what is too large for a message.
//!
//! Source: CloudEvents extension "Dataref (Claim Check Pattern)".

use std::borrow::Cow;
use std::fmt;

use super::{Data, Event, Value};

/// The attribute that says where the data is.
pub const DATAREF: &str = "dataref";
/// What every URI of a payload begins with. Only the server writes such a one.
const SCHEME: &str = "quipu:";

/// Data that is kept beside the log, by the hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Payload {
    /// BLAKE3 of the bytes.
    pub hash: [u8; 32],
    /// How many there are.
    pub bytes: u64,
    /// Which kind of data they are.
    pub form: PayloadForm,
}

/// Which kind of [`Data`] the bytes of a payload are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadForm {
    /// [`Data::Json`].
    Json,
    /// [`Data::Text`].
    Text,
    /// [`Data::Binary`].
    Binary,
}

/// How data that is kept beside the log is given to somebody who reads the event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum DataForm {
    /// As `dataref`: no data is read.
    #[default]
    Reference,
    /// As the data that was sent.
    Resolved,
}

impl DataForm {
    /// Whether this is what somebody gets who does not say.
    pub fn is_reference(&self) -> bool {
        *self == Self::Reference
    }
}

impl Payload {
    /// The data of these bytes; nothing if they cannot be such.
    pub fn data(self, bytes: Vec<u8>) -> Option<Data<'static>> {
        let text = |bytes| String::from_utf8(bytes).ok().map(Cow::Owned);
        Some(match self.form {
            PayloadForm::Json => Data::Json(text(bytes)?),
            PayloadForm::Text => Data::Text(text(bytes)?),
            PayloadForm::Binary => Data::Binary(Cow::Owned(bytes)),
        })
    }

    /// The hash as text: 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Payload {
    /// The URI in `dataref`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}payload/blake3/{}", self.hex())
    }
}

/// Whether a URI is one of those that only the server writes. Schemes know no case (RFC 3986, 3.1).
pub(super) fn is_reserved(uri: &str) -> bool {
    uri.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

impl Data<'_> {
    /// The bytes that could be kept beside the log, and which kind of data they are.
    pub fn bytes(&self) -> Option<(&[u8], PayloadForm)> {
        match self {
            Data::None | Data::Payload(_) => None,
            Data::Json(text) => Some((text.as_bytes(), PayloadForm::Json)),
            Data::Text(text) => Some((text.as_bytes(), PayloadForm::Text)),
            Data::Binary(bytes) => Some((bytes, PayloadForm::Binary)),
        }
    }
}

impl<'a> Event<'a> {
    /// What is kept of its data beside the log, if it is kept there.
    pub fn payload(&self) -> Option<Payload> {
        match self.data {
            Data::Payload(payload) => Some(payload),
            _ => None,
        }
    }

    /// The same event with its data kept beside the log.
    #[must_use]
    pub fn with_payload(self, payload: Payload) -> Self {
        let reference = Value::Text(Cow::Owned(payload.to_string()));
        Self { data: Data::Payload(payload), ..self.with_attribute(DATAREF, Some(reference)) }
    }

    /// The same event with the data that was kept beside the log.
    #[must_use]
    pub fn with_resolved(self, data: Data<'a>) -> Self {
        self.with_attribute(DATAREF, None).with_data(data)
    }

    /// The same event with other data; what its attributes say stays.
    #[must_use]
    pub fn with_data(self, data: Data<'a>) -> Self {
        Self { data, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(form: PayloadForm) -> Payload {
        Payload { hash: [0xAB; 32], bytes: 2, form }
    }

    #[test]
    fn an_event_is_what_it_was_once_its_data_is_back() {
        for data in [Data::Json("{}".into()), Data::Text("hi".into()), Data::Binary(Cow::Borrowed(b"\xFF\x00"))] {
            let event = Event::builder("1", "/s", "t").tag("a:1").attribute("zone", Value::Integer(1));
            let event = event.data(data.clone()).build().unwrap();
            let (bytes, form) = data.bytes().unwrap();
            let kept = event.clone().with_payload(payload(form));
            assert_eq!(kept.attribute(DATAREF), Some(&*format!("quipu:payload/blake3/{}", "ab".repeat(32))));
            assert_eq!((kept.payload(), kept.data().bytes()), (Some(payload(form)), None));
            assert_eq!(kept.with_resolved(payload(form).data(bytes.to_vec()).unwrap()), event);
        }
        assert_eq!(payload(PayloadForm::Json).data(vec![0xFF]), None);
    }

    #[test]
    fn only_the_server_refers_to_payloads() {
        for (uri, is_refused) in [
            ("quipu:payload/blake3/00", true),
            ("QUIPU:payload", true),
            ("quipu:", true),
            ("quipu", false),
            ("quipus:x", false),
            ("https://example.com/quipu:payload", false),
            ("ö", false),
        ] {
            let event = Event::builder("1", "/s", "t").attribute(DATAREF, Value::Text(uri.into())).build();
            assert_eq!(event.is_err(), is_refused, "{uri}: {event:?}");
        }
    }
}
