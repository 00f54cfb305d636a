//! What is asked of schedules.

use super::{pairs, unknown, write_query};
use crate::Problem;
use crate::parameter::once;
use crate::schedule::{TICKS_TOLD_DEFAULT, TICKS_TOLD_MAX};

/// How a schedule is to be shown or applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScheduleRequest {
    /// How many ticks to come are told, if a number was given.
    pub ticks: Option<usize>,
    /// Nothing is to be changed; of an application.
    pub is_dry_run: bool,
}

impl ScheduleRequest {
    /// Reads the query string of an application.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn to_apply(query: &str) -> Result<Self, Problem> {
        Self::read(query, "dryrun or ticks", true)
    }

    /// Reads the query string of a look.
    ///
    /// # Errors
    /// As [`ScheduleRequest::to_apply`].
    pub fn to_show(query: &str) -> Result<Self, Problem> {
        Self::read(query, "ticks", false)
    }

    fn read(query: &str, known: &str, applies: bool) -> Result<Self, Problem> {
        let (mut ticks, mut dry_run) = (None, None);
        for (name, value) in pairs(query) {
            match (name.as_ref(), value.as_ref()) {
                ("ticks", value) => match value.parse() {
                    Ok(count) if (1..=TICKS_TOLD_MAX).contains(&count) => once(&name, &mut ticks, count)?,
                    _ => {
                        let expected = format!("a number from 1 to {TICKS_TOLD_MAX}");
                        return Err(Problem::parameter(&name, &expected, value));
                    }
                },
                ("dryrun", "true") if applies => once(&name, &mut dry_run, true)?,
                ("dryrun", "false") if applies => once(&name, &mut dry_run, false)?,
                ("dryrun", other) if applies => return Err(Problem::parameter(&name, "true or false", other)),
                _ => return Err(unknown(&name, known)),
            };
        }
        Ok(Self { ticks, is_dry_run: dry_run.unwrap_or(false) })
    }

    /// Writes a query string, without `?`.
    pub fn to_query(self) -> String {
        let dry_run = self.is_dry_run.then(|| ("dryrun", "true".to_owned()));
        write_query(dry_run.into_iter().chain(self.ticks.map(|ticks| ("ticks", ticks.to_string()))))
    }

    /// How many ticks to come are told.
    pub fn ticks(self) -> usize {
        self.ticks.unwrap_or(TICKS_TOLD_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        for request in [ScheduleRequest::default(), ScheduleRequest { ticks: Some(100), is_dry_run: true }] {
            assert_eq!(ScheduleRequest::to_apply(&request.to_query()), Ok(request));
        }
        assert_eq!(ScheduleRequest::to_show("ticks=7").unwrap().ticks(), 7);
        for query in ["ticks=0", "ticks=101", "ticks=x", "ticks=1&ticks=1", "dryrun=yes", "strict=true"] {
            assert!(ScheduleRequest::to_apply(query).is_err(), "{query}");
        }
        assert!(ScheduleRequest::to_show("dryrun=true").is_err());
    }
}
