//! What is asked of the catalog.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use quipu_domain::limits::PAGE_EVENTS_DEFAULT;

use super::page::{PageSlots, page_pairs};
use super::{pairs, unknown, write_query};
use crate::parameter::once;
use crate::{Cursor, Problem};

/// The first byte of a cursor, before the digest of its question and a name.
const CURSOR_VERSION: u8 = 2;

/// The findings that can be asked for.
pub(crate) const FINDINGS: &[&str] = &["unconsumed", "unpublished", "undeclared", "unseen"];

/// Which types to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogRequest {
    /// What their names begin with.
    pub prefix: String,
    /// What was found of them.
    pub finding: Option<String>,
    /// Most types on the page, if a number was given.
    pub limit: Option<usize>,
    /// The cursor of the page before.
    pub cursor: Option<String>,
}

impl CatalogRequest {
    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut request = Self::default();
        let mut prefix = None;
        for (name, value) in pairs(query) {
            let mut slots = PageSlots { direction: None, limit: &mut request.limit, cursor: &mut request.cursor };
            match name.as_ref() {
                "prefix" => once(&name, &mut prefix, value.into_owned())?,
                "finding" if FINDINGS.contains(&value.as_ref()) => {
                    once(&name, &mut request.finding, value.into_owned())?
                }
                "finding" => return Err(Problem::parameter("finding", &FINDINGS.join(", "), &value)),
                _ if slots.accept(&name, &value)? => true,
                _ => return Err(unknown(&name, "prefix, finding, limit or cursor")),
            };
        }
        request.prefix = prefix.unwrap_or_default();
        Ok(request)
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        let prefix = (!self.prefix.is_empty()).then(|| ("prefix", self.prefix.clone()));
        let finding = self.finding.clone().map(|finding| ("finding", finding));
        write_query(prefix.into_iter().chain(finding).chain(page_pairs(None, self.limit, self.cursor.as_deref())))
    }

    /// Most types on the page.
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE_EVENTS_DEFAULT)
    }

    /// The name after which the page begins.
    ///
    /// # Errors
    /// `invalid-cursor`.
    pub fn after(&self) -> Result<Option<String>, Problem> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let bytes = BASE64URL.decode(cursor).unwrap_or_default();
        let name = |rest: &[u8]| std::str::from_utf8(rest).ok().filter(|name| !name.is_empty()).map(str::to_owned);
        let read = bytes.strip_prefix(&[CURSOR_VERSION]).and_then(|bytes| bytes.split_first_chunk::<8>());
        let Some((question, name)) = read.and_then(|(question, rest)| Some((question, name(rest)?))) else {
            return Err(Cursor::unread());
        };
        match u64::from_le_bytes(*question) == self.question() {
            true => Ok(Some(name)),
            false => Err(Cursor::of_another()),
        }
    }

    /// A digest of what is asked for, without limit and cursor.
    fn question(&self) -> u64 {
        Cursor::digest(&format!("catalog?{}", Self { limit: None, cursor: None, ..self.clone() }.to_query()))
    }

    /// The cursor of the page that begins after this type.
    pub fn cursor_after(&self, name: &str) -> String {
        BASE64URL.encode([&[CURSOR_VERSION], &self.question().to_le_bytes()[..], name.as_bytes()].concat())
    }
}

/// What the names of the types begin with that are exported.
///
/// # Errors
/// `invalid-parameter`, with the name of the parameter.
pub fn catalog_prefix(query: &str) -> Result<String, Problem> {
    let mut prefix = None;
    for (name, value) in pairs(query) {
        match name.as_ref() {
            "prefix" => once(&name, &mut prefix, value.into_owned())?,
            _ => return Err(unknown(&name, "prefix")),
        };
    }
    Ok(prefix.unwrap_or_default())
}

/// Whether nothing is to be changed.
///
/// # Errors
/// `invalid-parameter`, with the name of the parameter.
pub fn dry_run(query: &str) -> Result<bool, Problem> {
    let mut asked = None;
    for (name, value) in pairs(query) {
        match (name.as_ref(), value.as_ref()) {
            ("dryrun", "true") => once(&name, &mut asked, true)?,
            ("dryrun", "false") => once(&name, &mut asked, false)?,
            ("dryrun", other) => return Err(Problem::parameter("dryrun", "true or false", other)),
            _ => return Err(unknown(&name, "dryrun")),
        };
    }
    Ok(asked.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn types_are_asked_for_by_what_they_begin_with_and_what_was_found() {
        let query = "prefix=order.&finding=unseen&limit=7&cursor=abc";
        assert_eq!(CatalogRequest::from_query(query).unwrap().to_query(), query);
        for query in ["finding=bad", "finding=unseen&finding=unseen", "direction=forward", "limit=0", "type=a"] {
            assert_eq!(CatalogRequest::from_query(query).unwrap_err().code(), Some(Code::InvalidParameter), "{query}");
        }
    }

    #[test]
    fn words_and_prefixes_are_read_and_nothing_else() {
        assert_eq!((dry_run(""), dry_run("dryrun=true"), dry_run("dryrun=false")), (Ok(false), Ok(true), Ok(false)));
        assert_eq!(catalog_prefix("prefix=a."), Ok("a.".to_owned()));
        for refused in [dry_run("dryrun=1"), dry_run("dryrun=true&dryrun=true"), dry_run("x=1")] {
            assert_eq!(refused.unwrap_err().code(), Some(Code::InvalidParameter));
        }
        assert!(catalog_prefix("prefix=a&prefix=b").is_err() && catalog_prefix("limit=1").is_err());
    }

    #[test]
    fn a_cursor_leads_on_after_a_name() {
        let asked = |query: &str| CatalogRequest::from_query(query).unwrap();
        let after =
            |query: &str, cursor: &str| CatalogRequest { cursor: Some(cursor.to_owned()), ..asked(query) }.after();
        let question = "prefix=order.&finding=unseen";
        let cursor = asked(question).cursor_after("order.ä");
        assert_eq!(after(question, &cursor), Ok(Some("order.ä".to_owned())));
        assert_eq!(after(&format!("{question}&limit=7"), &cursor), Ok(Some("order.ä".to_owned())));
        for other in ["", "prefix=order.", "finding=unseen", "prefix=order.&finding=undeclared"] {
            let refused = after(other, &cursor).unwrap_err();
            assert_eq!(refused.code(), Some(Code::InvalidCursor), "{other}");
            assert!(refused.detail.contains("another"), "{refused:?}");
        }
        let cut = &cursor[..12];
        for cursor in ["", "%", "b3JkZXI", "YWZ0ZXIgb3JkZXIucGFpZA", cut] {
            assert_eq!(after("", cursor).unwrap_err().code(), Some(Code::InvalidCursor), "{cursor}");
        }
    }
}
