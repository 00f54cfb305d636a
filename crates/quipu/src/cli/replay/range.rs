//! The range of a replay to a file: its ends as positions, and which of its events are wanted. What the server refuses of a replay that
//! it does itself is refused here for the same reasons.

use quipu::SystemClock;
use quipu_api::{CURSOR_HEADER, MEDIA_LINES};
use quipu_domain::{Event, InvalidEvent, Pattern, Stamp, StartAt, Timestamp, parse_recorded};
use quipu_engine::Clock;

use super::super::client::{Client, Get};
use super::super::event::page;
use super::super::exit::Failure;
use super::super::progress::Progress;
use super::file::Asked;

/// The range. There is at least one position in it.
pub struct Range {
    /// The first position.
    pub from: u64,
    /// The last one.
    pub until: u64,
    pub pattern: Option<Pattern>,
}

/// One answer, read to its end: nothing stays open while somebody sleeps.
pub struct Lines {
    pub text: String,
    /// Where the next one begins, if there is one.
    pub cursor: Option<String>,
}

/// The log as it was when the range was asked for.
struct Log<'a> {
    newest: u64,
    client: &'a Client,
}

impl Range {
    /// The range that somebody wants, as it is now: events that are recorded meanwhile are not of it.
    pub fn of(asked: &Asked<'_>, client: &Client) -> Result<Self, Failure> {
        let pattern = asked.pattern.as_ref().map(|pattern| Pattern::parse(pattern.get())).transpose();
        let pattern = pattern.map_err(|invalid| Failure::usage(format!("--pattern: {invalid}")))?;
        let log = Log { newest: newest(client)?, client };
        let from = match &asked.from {
            Some(place) => log.before("--from", place)? + 1,
            None => 1,
        };
        let until = match &asked.until {
            // That event is the last one, not the first that is left out.
            Some(place @ StartAt::Position(_)) => (log.before("--until", place)? + 1).min(log.newest),
            Some(place) => log.before("--until", place)?,
            None => log.newest,
        };
        if from > until {
            return Err(Failure::failed(format!(
                "expected a range with an event in it, found the first position {from} and the last one {until}"
            )));
        }
        Ok(Self { from, until, pattern })
    }

    /// What a line says, and whether the pattern wants it.
    pub fn look<'l>(&self, line: &'l str) -> Result<(Event<'l>, Stamp, bool), InvalidEvent> {
        let (event, stamp) = parse_recorded(line)?;
        let is_wanted = self.pattern.as_ref().is_none_or(|pattern| pattern.matches_event(&event, Some(&stamp)));
        Ok((event, stamp, is_wanted))
    }

    /// Takes each event of the range that is wanted, from a position on, with the line that it is on.
    pub fn each(
        &self,
        from: u64,
        at_once: u64,
        client: &Client,
        mut take: impl FnMut(&Event<'_>, &Stamp, &str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if from > self.until {
            return Ok(());
        }
        let (all, mut cursor) = (self.until + 1 - from, None);
        let mut progress = Progress::of_events(None);
        loop {
            let lines = fetch(client, [from, self.until], at_once, cursor)?;
            for line in lines.text.split_terminator('\n') {
                let (event, stamp, is_wanted) = self.look(line).map_err(|invalid| no_event(&invalid))?;
                if is_wanted {
                    take(&event, &stamp, line)?;
                }
                progress.at_events((stamp.position + 1).saturating_sub(from), all);
            }
            cursor = lines.cursor;
            if cursor.is_none() {
                break;
            }
        }
        progress.finish();
        Ok(())
    }
}

/// Events from a position up to another, in order, at most so many; those of the next answer with the cursor of the last.
pub fn fetch(client: &Client, [from, until]: [u64; 2], limit: u64, cursor: Option<String>) -> Result<Lines, Failure> {
    let mut query = vec![
        ("direction", "forward".to_owned()),
        ("limit", limit.to_string()),
        ("positionfrom", from.to_string()),
        ("positionto", until.to_string()),
    ];
    query.extend(cursor.map(|cursor| ("cursor", cursor)));
    let answer = client.get(&Get { path: "/v1/events", query: &query, headers: &[("accept", MEDIA_LINES)] })?;
    let cursor = answer.headers().get(CURSOR_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Lines { text: client.read(answer)?, cursor })
}

pub fn no_event(invalid: &InvalidEvent) -> Failure {
    Failure::failed(format!("expected an event from the server: {invalid}"))
}

/// The newest position that there is.
fn newest(client: &Client) -> Result<u64, Failure> {
    let page: serde_json::Value = client.parsed("/v1/events", &vec![("limit", "1".to_owned())])?;
    page["position"].as_u64().ok_or_else(|| Failure::failed("expected a page with a position, found none"))
}

impl Log<'_> {
    /// The position before the first event that a place means, as the server finds it.
    fn before(&self, flag: &str, place: &StartAt) -> Result<u64, Failure> {
        let next = self.newest + 1;
        let refused =
            |expected: &str, found: &str| Failure::failed(format!("{flag}: expected {expected}, found {found}"));
        match place {
            StartAt::Beginning => Ok(0),
            StartAt::Now => Ok(self.newest),
            StartAt::Position(position) if (1..=next).contains(position) => Ok(position - 1),
            StartAt::Position(position) => Err(refused(&format!("a position of 1 to {next}"), &position.to_string())),
            StartAt::Time(text) => {
                let time =
                    Timestamp::parse(text).ok_or_else(|| refused("a time such as 2026-01-01T00:00:00Z", text))?;
                let before = self.newest_before(time)?;
                // Events to come would belong to the range, and nobody waits for them.
                if before == self.newest && time > SystemClock.now() {
                    return Err(refused("a time that has come", text));
                }
                Ok(before)
            }
        }
    }

    /// The position before the first event that was recorded at a time or later; the newest if none was. Recorded times never go
    /// back, so that a log of ten million events is asked two dozen times.
    fn newest_before(&self, time: Timestamp) -> Result<u64, Failure> {
        let (mut low, mut high, mut is_passed) = (1, self.newest + 1, false);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_from(middle)? {
                Some(stamp) if stamp.recorded_time < time => low = stamp.position + 1,
                found => {
                    is_passed |= found.is_some();
                    high = middle;
                }
            }
        }
        // Behind the last event that the credential may see there may be others.
        Ok(if is_passed { low - 1 } else { self.newest })
    }

    /// The first event from a position on that the credential may see.
    fn first_from(&self, position: u64) -> Result<Option<Stamp>, Failure> {
        let query = vec![
            ("direction", "forward".to_owned()),
            ("positionfrom", position.to_string()),
            ("positionto", self.newest.to_string()),
        ];
        let found = page(self.client, "/v1/events", &query, None, 1)?;
        let Some(event) = found.events.first() else { return Ok(None) };
        let (_, stamp) = parse_recorded(event.get()).map_err(|invalid| no_event(&invalid))?;
        Ok(Some(stamp))
    }
}
