//! How events are shown to a reader: in which version of their schema, and with which form of data that is kept beside the log.

use quipu_domain::DataForm;
use quipu_domain::schema::SchemaVersion;

use super::{pairs, unknown};
use crate::Problem;
use crate::parameter::once;

/// The words of `data`.
pub const DATA_FORMS: &[&str] = &["reference", "resolved"];
/// The parameters, for a message.
const NAMES: &str = "schemaversion or data";

/// How events are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// In which version of their schema.
    pub version: SchemaVersion,
    /// How data that is kept beside the log is shown. In another version than the stored one it is always resolved.
    pub data: DataForm,
}

/// A view while its parameters are read.
#[derive(Default)]
pub(super) struct ViewSlots {
    version: Option<SchemaVersion>,
    data: Option<DataForm>,
}

impl ViewSlots {
    /// Sets one parameter; `false` if it is none of a view.
    pub fn accept(&mut self, name: &str, value: &str) -> Result<bool, Problem> {
        match name {
            "schemaversion" => {
                let version = SchemaVersion::parse(value);
                let problem = || Problem::parameter(name, "stored, newest or a version from 1", value);
                once(name, &mut self.version, version.ok_or_else(problem)?)
            }
            "data" => {
                let form = match value {
                    "reference" => DataForm::Reference,
                    "resolved" => DataForm::Resolved,
                    _ => return Err(Problem::parameter(name, "reference or resolved", value)),
                };
                once(name, &mut self.data, form)
            }
            _ => Ok(false),
        }
    }

    pub fn view(self) -> View {
        View { version: self.version.unwrap_or_default(), data: self.data.unwrap_or_default() }
    }
}

impl View {
    /// Whether events are shown as they are in the log.
    pub fn is_plain(&self) -> bool {
        self.version.is_stored() && self.data.is_reference()
    }

    /// Reads the query string of an event that is named elsewhere.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut slots = ViewSlots::default();
        for (name, value) in pairs(query) {
            if !slots.accept(&name, &value)? {
                return Err(unknown(&name, NAMES));
            }
        }
        Ok(slots.view())
    }

    /// The parameters; what is not said is not written.
    pub(super) fn pairs(self) -> impl Iterator<Item = (&'static str, String)> {
        let version = (!self.version.is_stored()).then(|| ("schemaversion", self.version.to_string()));
        let data = (!self.data.is_reference()).then(|| ("data", "resolved".to_owned()));
        version.into_iter().chain(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventRequest, ReadRequest, StreamRequest, TailRequest};

    #[test]
    fn every_reader_may_say_how_events_are_shown_and_once_only() {
        let view = View { version: SchemaVersion::At(2), data: DataForm::Resolved };
        let query = "schemaversion=2&data=resolved";
        assert_eq!(View::from_query(query), Ok(view));
        assert_eq!(View::from_query("schemaversion=stored").map(|view| view.is_plain()), Ok(true));
        assert_eq!(EventRequest::from_query(&format!("id=1&{query}&source=/s")).unwrap().view, view);
        assert_eq!(ReadRequest::from_query(&format!("{query}&type=a")).unwrap().to_query(), format!("type=a&{query}"));
        assert_eq!(StreamRequest::from_query(query).unwrap().to_query(), query);
        assert_eq!(TailRequest::from_query(query).unwrap().to_query(), format!("from=end&{query}"));
        for (name, queries) in [
            ("data", ["data=all", "data=", "data=resolved&data=resolved"]),
            ("schemaversion", ["schemaversion=0", "schemaversion=all", "schemaversion=1&schemaversion=1"]),
        ] {
            for query in queries {
                let found = [
                    View::from_query(query).err(),
                    EventRequest::from_query(query).err(),
                    ReadRequest::from_query(query).err(),
                    StreamRequest::from_query(query).err(),
                    TailRequest::from_query(query).err(),
                ];
                for problem in found {
                    assert_eq!(problem.unwrap().members["parameter"], name, "{query}");
                }
            }
        }
        assert_eq!(View::from_query("date=1").unwrap_err().members["parameter"], "date");
        assert_eq!(EventRequest::from_query("id=1").unwrap_err().members["parameter"], "source");
    }
}
