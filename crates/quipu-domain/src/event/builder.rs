//! An event in the making. What comes out has passed every check (`check`).

use std::borrow::Cow;

use super::check::check;
use super::{Data, Event, InvalidEvent, Value};

/// An event in the making; [`EventBuilder::build`] checks it.
#[derive(Clone, Debug)]
pub struct EventBuilder<'a> {
    event: Event<'a>,
    tags: Vec<Cow<'a, str>>,
}

impl<'a> Event<'a> {
    /// Starts an event from the three attributes that identify and name it.
    pub fn builder(
        id: impl Into<Cow<'a, str>>,
        source: impl Into<Cow<'a, str>>,
        kind: impl Into<Cow<'a, str>>,
    ) -> EventBuilder<'a> {
        EventBuilder {
            event: Event {
                id: id.into(),
                source: source.into(),
                kind: kind.into(),
                subject: None,
                time: None,
                data_content_type: None,
                data_schema: None,
                attributes: Vec::new(),
                data: Data::None,
            },
            tags: Vec::new(),
        }
    }
}

impl<'a> EventBuilder<'a> {
    pub(crate) fn identified(mut self, id: Cow<'a, str>, source: Cow<'a, str>, kind: Cow<'a, str>) -> Self {
        (self.event.id, self.event.source, self.event.kind) = (id, source, kind);
        self
    }

    /// Sets `subject`, the stream.
    pub fn subject(mut self, subject: impl Into<Cow<'a, str>>) -> Self {
        self.event.subject = Some(subject.into());
        self
    }

    /// Sets `time`, an RFC 3339 date-time.
    pub fn time(mut self, time: impl Into<Cow<'a, str>>) -> Self {
        self.event.time = Some(time.into());
        self
    }

    /// Sets `datacontenttype`.
    pub fn data_content_type(mut self, media_type: impl Into<Cow<'a, str>>) -> Self {
        self.event.data_content_type = Some(media_type.into());
        self
    }

    /// Sets `dataschema`.
    pub fn data_schema(mut self, uri: impl Into<Cow<'a, str>>) -> Self {
        self.event.data_schema = Some(uri.into());
        self
    }

    /// Adds an extension attribute.
    pub fn attribute(mut self, name: impl Into<Cow<'a, str>>, value: Value<'a>) -> Self {
        self.event.attributes.push((name.into(), value));
        self
    }

    /// Sets `correlationid`.
    pub fn correlation_id(self, id: impl Into<Cow<'a, str>>) -> Self {
        self.attribute("correlationid", Value::Text(id.into()))
    }

    /// Sets `causationid`, the `id` of the event that caused this one.
    pub fn causation_id(self, id: impl Into<Cow<'a, str>>) -> Self {
        self.attribute("causationid", Value::Text(id.into()))
    }

    /// Adds one tag, `key:value`.
    pub fn tag(mut self, tag: impl Into<Cow<'a, str>>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Sets the data to the text of a JSON value.
    pub fn json(mut self, text: impl Into<Cow<'a, str>>) -> Self {
        self.event.data = Data::Json(text.into());
        self
    }

    /// Sets the data.
    pub fn data(mut self, data: Data<'a>) -> Self {
        self.event.data = data;
        self
    }

    /// Checks every attribute against its rule. JSON data is taken to be JSON: whoever parses it has checked that.
    pub fn build(mut self) -> Result<Event<'a>, InvalidEvent> {
        if !self.tags.is_empty() {
            self.event.attributes.push((Cow::Borrowed("tags"), Value::Text(Cow::Owned(self.tags.join(",")))));
        }
        self.event.attributes.sort_by(|a, b| a.0.cmp(&b.0));
        check(&self.event)?;
        Ok(self.event)
    }

    /// The event as it is. For decoding what was checked before it was written; everything else calls `build`.
    pub fn build_trusted(self) -> Event<'a> {
        self.event
    }
}
