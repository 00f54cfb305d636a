//! Time zones by their IANA names, from the data that this program was built with: the same answer on every machine. Daylight
//! saving time is a zone's business, what becomes of ticks then is the cron expression's (`cron.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::event::clip;

/// Longest name that is looked up; the longest that exists has 32 bytes.
const NAME_BYTES_MAX: usize = 64;

/// A time zone.
#[derive(Clone, Debug)]
pub struct Zone(pub(super) TimeZone);

/// Nobody knows a zone of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownZone {
    /// What was given.
    pub found: String,
    /// The name that it is nearest to, if it is near to one.
    pub nearest: Option<String>,
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The zone of a name such as `Europe/Berlin`, in whichever case it is written.
    ///
    /// It takes about 15 µs. All of one zone share its rules, which take 7 KB.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn parse(name: &str) -> Result<Self, UnknownZone> {
        let known = TimeZoneDatabase::bundled();
        // `Etc/Unknown` is a name, but of no zone.
        match known.get(name).ok().filter(|zone| name.len() <= NAME_BYTES_MAX && !zone.is_unknown()) {
            Some(zone) => Ok(Self(shared(zone))),
            None => Err(UnknownZone { found: clip(name).to_owned(), nearest: nearest(&known, name) }),
        }
    }

    /// Its name as the database writes it.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

/// The rules of a zone, kept once for all who ask: a tenant's 10,000 schedules would have 73 MB of copies. There are not more of
/// them than names in the database, since they are kept by the name as it is written there.
fn shared(zone: TimeZone) -> TimeZone {
    static ZONES: Mutex<BTreeMap<String, TimeZone>> = Mutex::new(BTreeMap::new());
    let Some(name) = zone.iana_name() else { return zone };
    let mut zones = ZONES.lock().unwrap_or_else(PoisonError::into_inner);
    if !zones.contains_key(name) {
        zones.insert(name.to_owned(), zone.clone());
    }
    zones[name].clone()
}

/// The name that somebody may have meant: of the whole, or of the city alone.
fn nearest(known: &TimeZoneDatabase, name: &str) -> Option<String> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let name = name.to_ascii_lowercase().replace(' ', "_");
    let distance = |known: &str| {
        let known = known.to_ascii_lowercase();
        let city = known.rsplit('/').next().unwrap_or_default();
        strsim::damerau_levenshtein(&name, &known).min(strsim::damerau_levenshtein(&name, city))
    };
    let (far, nearest) = known.available().map(|known| (distance(known.as_str()), known.to_string())).min()?;
    (far <= name.len() / 3).then_some(nearest)
}

impl fmt::Display for UnknownZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a time zone of the IANA database such as Europe/Berlin, found {:?}", self.found)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; is {nearest} meant?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UnknownZone {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_known_by_its_name_in_any_case() {
        for (name, known) in [
            ("Europe/Berlin", "Europe/Berlin"),
            ("america/NEW_YORK", "America/New_York"),
            ("utc", "UTC"),
            ("Etc/GMT+5", "Etc/GMT+5"),
            ("Asia/Calcutta", "Asia/Calcutta"),
        ] {
            assert_eq!(Zone::parse(name).unwrap().name(), known);
        }
    }

    #[test]
    fn an_unknown_zone_is_refused_with_the_name_that_may_have_been_meant() {
        for (name, nearest) in [
            ("Europe/Berlyn", Some("Europe/Berlin")),
            ("Berlin", Some("Europe/Berlin")),
            ("New York", Some("America/New_York")),
            ("America/NewYork", Some("America/New_York")),
            ("Kolkatta", Some("Asia/Kolkata")),
            ("Middle-earth/Hobbiton", None),
            ("../../etc/passwd", None),
            ("+02:00", None),
            ("", None),
        ] {
            let unknown = Zone::parse(name).unwrap_err();
            assert_eq!((unknown.found.as_str(), unknown.nearest.as_deref()), (name, nearest));
        }
        assert!(Zone::parse("Etc/Unknown").is_err());
        let text = Zone::parse("Europe/Berlyn").unwrap_err().to_string();
        assert!(text.ends_with("found \"Europe/Berlyn\"; is Europe/Berlin meant?"), "{text}");
        let long = Zone::parse(&"x".repeat(10_000)).unwrap_err();
        assert!(long.found.len() <= 80 && long.nearest.is_none());
    }
}
