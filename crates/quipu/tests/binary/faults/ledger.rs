//! The ledger: what was acknowledged, and its comparison with what is there. What was acknowledged must be there, with
//! its position and content, and nothing must be there that nobody sent, in part, twice or with a gap before it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::load::{Connection, Sent};

/// Where the server says an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub position: u64,
    pub version: u64,
}

/// What must be in the store, and what was found in it so far.
#[derive(Clone, Default)]
pub struct Ledger {
    acknowledged: HashMap<String, Place>,
    /// Those of the acknowledged that were not looked for yet.
    unseen: Vec<String>,
    found: HashMap<String, Place>,
    versions: HashMap<String, u64>,
    /// Everything up to here was read.
    position: u64,
    /// Of whom there are events that no load has sent.
    other: Option<&'static str>,
}

impl Ledger {
    /// One of a log in which there are events of another source too. Of these only the place is checked.
    pub fn beside(source: &'static str) -> Self {
        Self { other: Some(source), ..Self::default() }
    }

    pub fn acknowledge(&mut self, sent: Sent, places: Vec<Place>) {
        for (index, place) in places.into_iter().enumerate() {
            let id = sent.id(index as u64);
            if let Some(found) = self.found.get(&id) {
                assert_eq!(*found, place, "{id} was found in one place and repeated into another");
            }
            let before = self.acknowledged.insert(id.clone(), place);
            assert!(before.is_none_or(|before| before == place), "{id} was acknowledged in two places");
            self.unseen.push(id);
        }
    }

    /// Events that were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Events that were found and that nobody was told about.
    pub fn unanswered(&self) -> Vec<&String> {
        self.found.keys().filter(|id| !self.acknowledged.contains_key(*id)).collect()
    }

    /// Reads what came since the last time.
    pub fn read(&mut self, address: &str) {
        let mut connection = Connection::open(address).unwrap();
        let mut appends: HashSet<Sent> = HashSet::new();
        loop {
            let from = self.position + 1;
            let page = connection.get(&format!("/v1/events?positionfrom={from}&limit=10000")).unwrap().ok();
            let events = page["events"].as_array().unwrap();
            if events.is_empty() {
                break;
            }
            for event in events {
                let append = self.find(event);
                appends.extend(append);
            }
        }
        for append in appends {
            let first = self.found[&append.id(0)].position;
            for index in 0..append.size() {
                let found = self.found.get(&append.id(index)).map(|place| place.position);
                assert_eq!(found, Some(first + index), "{append:?} is there in part");
            }
        }
        let is_lost = |id: &String| self.found.get(id) != self.acknowledged.get(id);
        let lost: Vec<String> = self.unseen.drain(..).filter(is_lost).collect();
        let mut places: Vec<u64> = lost.iter().map(|id| self.acknowledged[id].position).collect();
        places.sort_unstable();
        assert!(places.is_empty(), "acknowledged and not there: {lost:?} at {places:?}; {} were read", self.position);
    }

    /// Reads all of it from the beginning: nothing that was found before is gone or has become another.
    pub fn read_again(&mut self, address: &str) {
        let mut again = Self {
            unseen: self.acknowledged.keys().cloned().collect(),
            acknowledged: std::mem::take(&mut self.acknowledged),
            other: self.other,
            ..Self::default()
        };
        again.read(address);
        assert!(self.found.iter().all(|(id, place)| again.found.get(id) == Some(place)), "what was found has changed");
        *self = again;
    }

    /// Checks an event that was read; the append that it is of, if it is of one.
    fn find(&mut self, event: &Value) -> Option<Sent> {
        let id = event["id"].as_str().unwrap().to_owned();
        let (position, version) = (event["position"].as_u64().unwrap(), event["streamversion"].as_u64().unwrap());
        assert_eq!(position, self.position + 1, "a gap before {id}");
        self.position = position;
        let newest = self.versions.entry(event["subject"].as_str().unwrap().to_owned()).or_default();
        assert_eq!(version, *newest + 1, "a gap in the stream of {id}");
        *newest = version;
        if self.other.is_some_and(|source| event["source"] == source) {
            return None;
        }
        let (sent, index) = Sent::of_id(&id);
        let mut content = event.clone();
        for added in ["position", "streamversion", "recordedtime"] {
            content.as_object_mut().unwrap().remove(added);
        }
        assert_eq!(content, sent.event(index));
        let before = self.found.insert(id.clone(), Place { position, version });
        assert_eq!(before, None, "{id} was recorded twice");
        sent.is_append().then_some(sent)
    }
}
