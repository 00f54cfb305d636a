//! The questions of a reader, read from parameters and written to them: an unknown or repeated parameter is refused
//! rather than ignored, since a filter with a typing mistake would return too much.

mod audit;
mod catalog;
mod dead_letters;
mod event;
mod page;
mod projection;
mod read;
mod saga;
mod schedule;
mod schema;
mod tail;
mod timer;
mod view;

use std::borrow::Cow;

use crate::{Code, Problem};

pub use audit::AuditRequest;
pub(crate) use catalog::FINDINGS;
pub use catalog::{CatalogRequest, catalog_prefix, dry_run};
pub use dead_letters::DeadLettersRequest;
pub use event::{EventKey, EventRequest, checkpoint_source, confirmed};
pub use page::{PageRequest, Start, cursor_after};
pub use projection::{RowsRequest, baseline_asked};
pub use read::{ReadRequest, StreamRequest, StreamsRequest};
pub use saga::{ApplyRequest, InstancesRequest};
pub use schedule::ScheduleRequest;
pub use schema::{DiffRequest, VerifyRequest, bundled, version as schema_version};
pub use tail::{TailFrom, TailRequest};
pub use timer::timer_key;
pub use view::{DATA_FORMS, View};

pub(crate) use page::limit;

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

pub(crate) fn pairs(query: &str) -> impl Iterator<Item = Pair<'_>> {
    form_urlencoded::parse(query.as_bytes())
}

pub(crate) fn unknown(name: &str, known: &str) -> Problem {
    Problem::new(Code::InvalidParameter, format!("expected {known}, found {}", crate::problem::clip(name)))
        .with("parameter", name.chars().take(80).collect::<String>())
}

fn missing(name: &str) -> Problem {
    Problem::new(Code::InvalidParameter, format!("expected the parameter {name}, found none")).with("parameter", name)
}

fn write_query<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[cfg(test)]
mod tests {
    use quipu_domain::{Direction, Filter};

    use super::*;

    #[test]
    fn a_cursor_continues_its_own_question_only() {
        let first = ReadRequest::from_query("type=a.b&direction=backward").unwrap();
        let cursor = first.start().unwrap().cursor(7);
        let again = ReadRequest { cursor: Some(cursor), direction: None, ..first };
        let start = again.start().unwrap();
        assert_eq!((start.direction, start.from), (Direction::Backward, Some(7)));
        let turned = ReadRequest { direction: Some(Direction::Forward), ..again.clone() };
        assert_eq!(turned.start().unwrap_err().code, "invalid-cursor");
        let other = ReadRequest { filter: Filter::default(), ..again };
        assert_eq!(other.start().unwrap_err().code, "invalid-cursor");
    }

    #[test]
    fn requests_are_written_as_they_are_read() {
        let query = "type=a.b&direction=backward&limit=7&cursor=abc";
        assert_eq!(ReadRequest::from_query(query).unwrap().to_query(), query);
        let query = "fromversion=3&direction=forward&limit=7";
        assert_eq!(StreamRequest::from_query(query).unwrap().to_query(), query);
        let query = "prefix=order%2F&limit=7";
        assert_eq!(StreamsRequest::from_query(query).unwrap().to_query(), query);
        let query = "subject=keys%2F1&actor=key%3A1&operation=key.create&correlationid=c&outcome=done\
                     &timefrom=2026-01-01T00%3A00%3A00.000Z&timeto=2026-01-02T00%3A00%3A00.000Z&direction=backward&limit=7";
        assert_eq!(AuditRequest::from_query(query).unwrap().to_query(), query);
        let query = "tag=k%3Av&from=17";
        assert_eq!(TailRequest::from_query(query).unwrap().to_query(), query);
        let query = "source=%2Fshop&id=a+b";
        assert_eq!(EventKey::from_query(query).unwrap().to_query(), query);
    }

    #[test]
    fn a_last_event_id_wins_over_from() {
        let request = TailRequest::from_query("from=start&lastEventId=9").unwrap();
        assert_eq!(request.from.follow_after(100), Ok(9));
        assert_eq!(TailFrom::Position(5).follow_after(100), Ok(4));
        assert_eq!(TailFrom::End.follow_after(100), Ok(100));
    }

    #[test]
    fn a_tail_begins_at_most_at_the_next_position() {
        for (from, newest, expected) in [
            (TailFrom::Position(0), 0, Some(0)),
            (TailFrom::Position(1), 0, Some(0)),
            (TailFrom::Position(2), 0, None),
            (TailFrom::Position(101), 100, Some(100)),
            (TailFrom::Position(102), 100, None),
            (TailFrom::after("lastEventId", "100").unwrap(), 100, Some(100)),
            (TailFrom::after("lastEventId", "101").unwrap(), 100, None),
            (TailFrom::after("lastEventId", "18446744073709551615").unwrap(), 100, None),
        ] {
            let found = from.follow_after(newest);
            assert_eq!(found.as_ref().ok(), expected.as_ref(), "{from:?}");
            if let Err(problem) = found {
                assert_eq!(
                    (problem.code(), &problem.members["newest"]),
                    (Some(Code::PositionNotFound), &newest.into())
                );
            }
        }
    }

    #[test]
    fn a_cursor_beyond_the_end_is_refused() {
        let request = ReadRequest::default();
        let cursor = request.start().unwrap().cursor(8);
        let start = ReadRequest { cursor: Some(cursor), ..request }.start().unwrap();
        assert_eq!(start.within(8), Ok(()));
        let problem = start.within(7).unwrap_err();
        assert_eq!((problem.code(), &problem.members["newest"]), (Some(Code::InvalidCursor), &7.into()));
        let first = StreamRequest { from_version: Some(9), ..StreamRequest::default() }.start("s").unwrap();
        assert_eq!(first.within(7), Ok(()), "only a cursor says that there was something");
    }
}
