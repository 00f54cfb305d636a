//! The records of schedules, and the fold of them. All are JSON, as a declaration is. Nothing here asks when a tick is: what became of
//! each is written, so that opening needs no rule.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::schedule::Schedule;
use quipu_store::{Record, RecordKind};
use serde::{Deserialize, Serialize};

/// A record of schedules.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ScheduleRecord {
    /// Declared, or declared anew.
    Declared {
        schedule: Box<Schedule>,
        at: Timestamp,
        /// What a rate without `from` is counted from.
        anchor: Timestamp,
        /// No tick until then is published by it.
        last: Timestamp,
        /// Whether it goes on where it was: ticks that came since the record was made are done with too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keeps_place: bool,
    },
    /// Nothing is published.
    Paused { schedule: String },
    /// It goes on with the ticks after this time.
    Resumed { schedule: String, at: Timestamp },
    /// All of it is gone.
    Removed { schedule: String },
    /// Ticks that have come; the events of those that were published are in this commit.
    Ticked { ticks: Vec<Ticked> },
}

/// What became of the ticks of a schedule.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ticked {
    pub schedule: String,
    /// The last of them.
    pub last: Timestamp,
    /// How many were published.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub published: u64,
    /// How many were dropped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// How many could not be published.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// How many were dropped since the last that was published.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
    /// The newest that was published, and the position of its event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<(Timestamp, u64)>,
    /// Why the last that was to be published was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TickError>,
}

/// Why a tick was not published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TickError {
    /// The time of the tick.
    pub tick: Timestamp,
    /// In words.
    pub reason: String,
}

/// Longest reason that is kept, bytes: what a schema or jq says may quote what it found.
const REASON_BYTES: usize = 1_000;

impl TickError {
    pub(crate) fn new(tick: Timestamp, reason: &str) -> Self {
        Self { tick, reason: reason[..reason.floor_char_boundary(REASON_BYTES)].to_owned() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl ScheduleRecord {
    pub fn record(&self) -> Record {
        Record::new(RecordKind::Schedule, serde_json::to_vec(self).expect("it has no map with keys unknown"))
    }
}

/// A schedule as the log has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FoldedSchedule {
    /// Another one each time it is declared, paused or resumed: what was made for one is not taken for another.
    #[serde(with = "shared")]
    pub declaration: Arc<Schedule>,
    /// How often it was declared.
    pub version: u32,
    pub declared: Timestamp,
    pub anchor: Timestamp,
    /// The last tick that is done with. It goes back only to the time at which somebody has it begin anew: by a clock that was set
    /// back.
    pub last: Timestamp,
    pub published: u64,
    pub dropped: u64,
    pub refused: u64,
    pub missed: u64,
    pub newest: Option<(Timestamp, u64)>,
    pub error: Option<TickError>,
}

/// As what it holds.
mod shared {
    use super::{Arc, Deserialize, Schedule, Serialize};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(declaration: &Arc<Schedule>, serializer: S) -> Result<S::Ok, S::Error> {
        Schedule::serialize(declaration, serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Schedule>, D::Error> {
        Schedule::deserialize(deserializer).map(Arc::new)
    }
}

/// The schedules of a log, by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoldedSchedules {
    pub all: BTreeMap<String, FoldedSchedule>,
}

impl FoldedSchedules {
    /// Takes in a record. Nothing if it cannot be read.
    pub fn apply(&mut self, body: &[u8]) -> Option<()> {
        self.take(serde_json::from_slice(body).ok()?);
        Some(())
    }

    fn take(&mut self, record: ScheduleRecord) {
        match record {
            ScheduleRecord::Declared { schedule, at, anchor, last, keeps_place } => {
                let folded = match self.all.get(&schedule.name) {
                    Some(before) => FoldedSchedule {
                        declaration: Arc::from(schedule),
                        version: before.version.saturating_add(1),
                        declared: at,
                        anchor,
                        last: if keeps_place { before.last.max(last) } else { last },
                        error: None,
                        ..before.clone()
                    },
                    None => FoldedSchedule {
                        declaration: Arc::from(schedule),
                        version: 1,
                        declared: at,
                        anchor,
                        last,
                        published: 0,
                        dropped: 0,
                        refused: 0,
                        missed: 0,
                        newest: None,
                        error: None,
                    },
                };
                self.all.insert(folded.declaration.name.clone(), folded);
            }
            ScheduleRecord::Paused { schedule } => self.set_paused(&schedule, true),
            ScheduleRecord::Resumed { schedule, at } => {
                self.set_paused(&schedule, false);
                self.all.get_mut(&schedule).into_iter().for_each(|folded| folded.last = at);
            }
            ScheduleRecord::Removed { schedule } => _ = self.all.remove(&schedule),
            ScheduleRecord::Ticked { ticks } => ticks.iter().for_each(|ticked| self.tick(ticked)),
        }
    }

    fn set_paused(&mut self, name: &str, paused: bool) {
        if let Some(folded) = self.all.get_mut(name) {
            folded.declaration = Arc::new(Schedule { paused, ..Schedule::clone(&folded.declaration) });
        }
    }

    pub fn tick(&mut self, ticked: &Ticked) {
        let Some(folded) = self.all.get_mut(&ticked.schedule) else { return };
        folded.last = folded.last.max(ticked.last);
        folded.published = folded.published.saturating_add(ticked.published);
        folded.dropped = folded.dropped.saturating_add(ticked.dropped);
        folded.refused = folded.refused.saturating_add(ticked.refused);
        folded.missed = ticked.missed;
        folded.newest = ticked.newest.or(folded.newest);
        // What was only dropped says nothing of whether the next can be published.
        if ticked.published > 0 || ticked.error.is_some() {
            folded.error.clone_from(&ticked.error);
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let all: Vec<&FoldedSchedule> = self.all.values().collect();
        serde_json::to_vec(&all).expect("a list is JSON")
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let all: Vec<FoldedSchedule> = serde_json::from_slice(bytes).ok()?;
        let all = all.into_iter().map(|folded| (folded.declaration.name.clone(), folded)).collect();
        Some(Self { all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str, records: impl IntoIterator<Item = ScheduleRecord>) -> FoldedSchedules {
        let schedule = Box::new(serde_json::from_str(text).unwrap());
        let (at, keeps_place) = (Timestamp(5), false);
        let first = ScheduleRecord::Declared { schedule, at, anchor: at, last: at, keeps_place };
        let mut all = FoldedSchedules::default();
        [first].into_iter().chain(records).for_each(|record| all.apply(&record.record().body).unwrap());
        all
    }

    const TEXT: &str = r#"{"schedule":"s","every":"1h","event":{"type":"a.b","data":{"n": 1.10}}}"#;

    fn ticked(last: i64) -> Ticked {
        let schedule = "s".to_owned();
        let last = Timestamp(last);
        Ticked { schedule, last, published: 0, dropped: 0, refused: 0, missed: 0, newest: None, error: None }
    }

    #[test]
    fn schedules_are_read_back_from_a_snapshot() {
        let newest = Some((Timestamp(7), 3));
        let ticks = vec![Ticked { published: 2, dropped: 4, newest, ..ticked(7) }];
        let all = folded(TEXT, [ScheduleRecord::Ticked { ticks }]);
        let read = FoldedSchedules::decode(&all.encode()).unwrap();
        assert_eq!(read.encode(), all.encode());
        let one = &read.all["s"];
        assert_eq!((one.last, one.published, one.dropped, one.newest), (Timestamp(7), 2, 4, newest));
        assert_eq!(one.declaration.event.data.as_ref().unwrap().get(), "{\"n\": 1.10}", "to the byte");
        assert!(FoldedSchedules::decode(&all.encode()[1..]).is_none());
    }

    #[test]
    fn the_place_goes_back_only_where_it_is_not_kept() {
        let declared = |last, keeps_place| {
            let schedule = Box::new(serde_json::from_str(TEXT).unwrap());
            let (at, anchor, last) = (Timestamp(6), Timestamp(5), Timestamp(last));
            ScheduleRecord::Declared { schedule, at, anchor, last, keeps_place }
        };
        let (again, anew) = (|last| declared(last, true), |last| declared(last, false));
        let ticks = |last| ScheduleRecord::Ticked { ticks: vec![ticked(last)] };
        let resumed = |at| ScheduleRecord::Resumed { schedule: "s".into(), at: Timestamp(at) };
        for (records, last) in [
            (vec![ticks(20), again(10)], 20),
            (vec![ticks(20), ticks(10)], 20),
            (vec![ticks(20), anew(10)], 10),
            (vec![ticks(20), resumed(10)], 10),
            (vec![ticks(20), again(30)], 30),
            (vec![ticks(20), anew(30)], 30),
            (vec![ticks(20), resumed(30)], 30),
        ] {
            assert_eq!(folded(TEXT, records).all["s"].last, Timestamp(last));
        }
    }

    #[test]
    fn an_error_stays_until_a_tick_is_published_or_the_schedule_is_declared_anew() {
        let error = Some(TickError { tick: Timestamp(6), reason: "why".into() });
        let refused =
            || ScheduleRecord::Ticked { ticks: vec![Ticked { refused: 1, error: error.clone(), ..ticked(6) }] };
        let next =
            |published, dropped| ScheduleRecord::Ticked { ticks: vec![Ticked { published, dropped, ..ticked(7) }] };
        assert_eq!(folded(TEXT, [refused()]).all["s"].error, error);
        assert_eq!(folded(TEXT, [refused(), next(0, 1)]).all["s"].error, error);
        assert_eq!(folded(TEXT, [refused(), next(1, 0)]).all["s"].error, None);
    }
}
