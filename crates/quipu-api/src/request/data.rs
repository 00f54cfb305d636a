//! How data that is kept beside the log is to be shown.

use quipu_domain::DataForm;

use super::{EventKey, Pair, missing, pairs, unknown};
use crate::Problem;
use crate::parameter::once;

/// The words of `data`.
pub const DATA_FORMS: &[&str] = &["reference", "resolved"];

pub(super) fn data_form(name: &str, value: &str) -> Result<DataForm, Problem> {
    match value {
        "reference" => Ok(DataForm::Reference),
        "resolved" => Ok(DataForm::Resolved),
        _ => Err(Problem::parameter(name, "reference or resolved", value)),
    }
}

/// What is not said is not written.
pub(super) fn data_pair(form: DataForm) -> Option<(&'static str, String)> {
    (!form.is_reference()).then(|| ("data", "resolved".to_owned()))
}

/// Reads the query string of an event that is named elsewhere: how its data is to be shown.
///
/// # Errors
/// `invalid-parameter`, with the name of the parameter.
pub fn data_of(query: &str) -> Result<DataForm, Problem> {
    let (form, rest) = split(query)?;
    rest.first().map_or(Ok(form), |(name, _)| Err(unknown(name, "data")))
}

/// Reads the query string of an event that is named in it: which, and how its data is to be shown.
///
/// # Errors
/// As [`data_of`].
pub fn event_of(query: &str) -> Result<(EventKey, DataForm), Problem> {
    let (form, rest) = split(query)?;
    let (mut source, mut id) = (None, None);
    for (name, value) in rest {
        match name.as_ref() {
            "source" => once(&name, &mut source, value.into_owned())?,
            "id" => once(&name, &mut id, value.into_owned())?,
            _ => return Err(unknown(&name, "source, id or data")),
        };
    }
    let missing = |name: &'static str| move || missing(name);
    let key = EventKey { source: source.ok_or_else(missing("source"))?, id: id.ok_or_else(missing("id"))? };
    Ok((key, form))
}

fn split(query: &str) -> Result<(DataForm, Vec<Pair<'_>>), Problem> {
    let (mut form, mut rest) = (None, Vec::new());
    for (name, value) in pairs(query) {
        if name == "data" {
            once(&name, &mut form, data_form(&name, &value)?)?;
        } else {
            rest.push((name, value));
        }
    }
    Ok((form.unwrap_or_default(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReadRequest, StreamRequest, TailRequest};

    #[test]
    fn every_reader_may_ask_for_the_data_and_once_only() {
        assert_eq!(data_of("data=resolved"), Ok(DataForm::Resolved));
        assert_eq!(data_of(""), Ok(DataForm::Reference));
        assert_eq!(event_of("id=1&data=resolved&source=/s").unwrap().1, DataForm::Resolved);
        assert_eq!(ReadRequest::from_query("data=resolved&type=a").unwrap().to_query(), "type=a&data=resolved");
        assert_eq!(StreamRequest::from_query("data=resolved").unwrap().to_query(), "data=resolved");
        assert_eq!(TailRequest::from_query("data=resolved").unwrap().to_query(), "from=end&data=resolved");
        for query in ["data=all", "data=", "data=resolved&data=resolved"] {
            let found = [
                data_of(query).err(),
                event_of(query).err(),
                ReadRequest::from_query(query).err(),
                StreamRequest::from_query(query).err(),
                TailRequest::from_query(query).err(),
            ];
            for problem in found {
                assert_eq!(problem.unwrap().members["parameter"], "data", "{query}");
            }
        }
        assert_eq!(data_of("date=1").unwrap_err().members["parameter"], "date");
        assert_eq!(event_of("id=1").unwrap_err().members["parameter"], "source");
    }
}
