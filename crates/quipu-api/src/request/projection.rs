//! What is asked of a read model.

use quipu_domain::limits::QUERY_ITEMS_MAX;

use super::{pairs, unknown, write_query};
use crate::parameter::{number, once};
use crate::projection::{ROWS_DEFAULT, ROWS_MAX, WAIT_MS_DEFAULT, WAIT_MS_MAX};
use crate::{Code, Problem};

/// Rows of a table that are asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowsRequest {
    /// Filters, such as `status=shipped`.
    pub filters: Vec<String>,
    /// Columns to order by, with `-` before one of which the greatest comes first.
    pub order: Vec<String>,
    /// Most rows, if a number was given.
    pub limit: Option<usize>,
    /// The cursor of the page before.
    pub cursor: Option<String>,
    /// Wait until every event up to this position is in.
    pub at_least: Option<u64>,
    /// How long to wait for that, milliseconds.
    pub wait_ms: Option<u64>,
}

impl RowsRequest {
    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut request = Self::default();
        let mut order = None;
        for (name, value) in pairs(query) {
            match name.as_ref() {
                "where" if request.filters.len() < QUERY_ITEMS_MAX => {
                    request.filters.push(value.into_owned());
                    true
                }
                "where" => {
                    let detail = format!("expected where at most {QUERY_ITEMS_MAX} times, found more");
                    return Err(Problem::new(Code::InvalidParameter, detail).with("parameter", "where"));
                }
                "order" => once(&name, &mut order, value.into_owned())?,
                "limit" => match value.parse().ok().filter(|limit| (1..=ROWS_MAX).contains(limit)) {
                    Some(limit) => once(&name, &mut request.limit, limit)?,
                    None => return Err(Problem::parameter("limit", &format!("a number from 1 to {ROWS_MAX}"), &value)),
                },
                "cursor" => once(&name, &mut request.cursor, value.into_owned())?,
                "at_least" => once(&name, &mut request.at_least, number(&name, &value)?)?,
                "waitms" => match value.parse().ok().filter(|wait| *wait <= WAIT_MS_MAX) {
                    Some(wait) => once(&name, &mut request.wait_ms, wait)?,
                    None => return Err(Problem::parameter("waitms", &format!("a number up to {WAIT_MS_MAX}"), &value)),
                },
                _ => return Err(unknown(&name, "where, order, limit, cursor, at_least or waitms")),
            };
        }
        request.order = order.iter().flat_map(|order: &String| order.split(',')).map(str::to_owned).collect();
        Ok(request)
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        let filters = self.filters.iter().map(|filter| ("where", filter.clone()));
        let order = (!self.order.is_empty()).then(|| ("order", self.order.join(",")));
        let limit = self.limit.map(|limit| ("limit", limit.to_string()));
        let cursor = self.cursor.clone().map(|cursor| ("cursor", cursor));
        let at_least = self.at_least.map(|position| ("at_least", position.to_string()));
        let wait = self.wait_ms.map(|wait| ("waitms", wait.to_string()));
        write_query(filters.chain(order).chain(limit).chain(cursor).chain(at_least).chain(wait))
    }

    /// Most rows.
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(ROWS_DEFAULT)
    }

    /// How long to wait, milliseconds.
    pub fn wait_ms(&self) -> u64 {
        self.wait_ms.unwrap_or(WAIT_MS_DEFAULT)
    }
}

/// Reads the query string of a verification: what it is held against.
///
/// # Errors
/// `invalid-parameter`, with the name of the parameter.
pub fn baseline_asked(query: &str) -> Result<Option<String>, Problem> {
    let mut asked = None;
    for (name, value) in pairs(query) {
        match name.as_ref() {
            "baseline" => once(&name, &mut asked, value.into_owned())?,
            _ => return Err(unknown(&name, "baseline")),
        };
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_written_as_they_are_read() {
        let query =
            "where=status%3Dshipped&where=total%3E%3D10&order=customer%2C-total&limit=7&cursor=c&at_least=9&waitms=100";
        let request = RowsRequest::from_query(query).unwrap();
        assert_eq!(request.filters, ["status=shipped", "total>=10"]);
        assert_eq!(request.order, ["customer", "-total"]);
        assert_eq!(request.to_query(), query);
        for wrong in ["limit=0", "limit=1001", "waitms=30001", "at_least=x", "status=shipped", "limit=1&limit=2"] {
            assert_eq!(RowsRequest::from_query(wrong).unwrap_err().code, "invalid-parameter", "{wrong}");
        }
    }
}
