//! What the clients of a simulation ask for: few streams, tags and ids, so that they meet; conditions that hold and
//! conditions that do not; repeats of what is recorded, of what nobody was answered, and of the same id with another
//! content.

use quipu_domain::{
    Checkpoint, Condition, Event, Filter, Query, QueryItem, Range, StreamExpectation, Timestamp, TypeMatch, Value,
};

use crate::{Dice, Draft, Entry, Model, Operation, Proposal};

const TYPES: [&str; 7] =
    ["order.placed", "order.placed.v2", "order.paid", "order.line.added.v1", "stock.moved.v1", "user.joined", "ping"];
const SUBJECTS: [&str; 8] =
    ["order/1", "order/2", "order/3", "order/with a space", "stock/a", "stock/ü", "user/1", "user/2"];
const TAGS: [&str; 7] = ["c:1", "c:2", "c:3", "p:1", "p:2", "p:3", "rare:x"];
const SOURCES: [&str; 2] = ["/shop", "https://example.com/stock"];
const OUTSIDE: [&str; 2] = ["table/orders", "topic/0"];

/// Makes operations. What it knows of the store is what the model says.
#[derive(Debug)]
pub struct Workload {
    next_id: u64,
    /// Largest body of the usual event.
    data_bytes_max: u64,
}

impl Workload {
    /// A workload; the dice choose how large its events are.
    pub fn new(dice: &mut Dice) -> Self {
        Self { next_id: 0, data_bytes_max: *dice.pick(&[20, 100, 400]) }
    }

    /// What some client asks next.
    pub fn operation(&mut self, dice: &mut Dice, model: &Model, history: &[Entry]) -> Operation {
        match dice.below(100) {
            // A retry of the whole operation, as after a lost answer.
            0..12 if !history.is_empty() => {
                let recent = history.len().saturating_sub(20) as u64;
                let at = dice.between(recent, history.len() as u64 - 1) as usize;
                history[at].operation.clone()
            }
            0..50 => {
                let count = *dice.pick(&[1, 1, 1, 2, 5]);
                Operation::Publish((0..count).map(|_| self.draft(dice, model)).collect())
            }
            _ => Operation::Append(self.proposal(dice, model)),
        }
    }

    fn proposal(&mut self, dice: &mut Dice, model: &Model) -> Proposal {
        let count = *dice.pick(&[1, 1, 2, 3, 8]);
        let checkpoint = dice.chance(15).then(|| checkpoint(dice, model));
        let fewest = u64::from(checkpoint.is_none());
        Proposal {
            events: (0..count.max(fewest)).map(|_| self.draft(dice, model)).collect(),
            conditions: (0..*dice.pick(&[0, 1, 1, 2])).map(|_| condition(dice, model)).collect(),
            checkpoint,
        }
    }

    fn draft(&mut self, dice: &mut Dice, model: &Model) -> Draft {
        let known = &model.events;
        if !known.is_empty() && dice.chance(6) {
            return repeat(dice, &known[dice.clone().below(known.len() as u64) as usize].event);
        }
        self.next_id += 1;
        let event = self.event(dice);
        // Few clients claim a version; most of those are right unless another client came first.
        let claim = event.subject().filter(|_| dice.chance(5)).map(|subject| model.stream(subject).version + 1);
        let stream_version = claim.map(|version| if dice.chance(80) { version } else { version + 1 });
        Draft { event, stream_version }
    }

    fn event(&self, dice: &mut Dice) -> Event<'static> {
        let id = format!("e{}", self.next_id);
        let mut builder = Event::builder(id, *dice.pick(&SOURCES), *dice.pick(&TYPES));
        if dice.chance(80) {
            builder = builder.subject(*dice.pick(&SUBJECTS));
        }
        if dice.chance(30) {
            builder = builder.time(Timestamp(1_700_000_000_000_000 + dice.below(1_000) as i64 * 1_000).to_string());
        }
        let mut tags = TAGS.to_vec();
        dice.shuffle(&mut tags);
        for tag in tags.into_iter().take(*dice.pick(&[0, 0, 1, 2, 4])) {
            builder = builder.tag(tag);
        }
        if dice.chance(40) {
            builder = builder.correlation_id(format!("corr{}", dice.below(6)));
        }
        if dice.chance(30) {
            builder = builder.causation_id(format!("e{}", dice.between(1, self.next_id)));
        }
        for (name, values) in
            [("userid", ["u1", "u2"]), ("organizationid", ["o1", "o2"]), ("priority", ["low", "high"])]
        {
            if dice.chance(20) {
                builder = builder.attribute(name, Value::Text((*dice.pick(&values)).into()));
            }
        }
        let bytes = if dice.chance(3) { 2_500 } else { dice.below(self.data_bytes_max) };
        let event = builder.json(format!("{{\"n\":{},\"pad\":\"{}\"}}", self.next_id, "x".repeat(bytes as usize)));
        event.build().expect("the workload makes valid events")
    }
}

/// The same event again: as it was, written anew, or with another content.
fn repeat(dice: &mut Dice, event: &Event<'static>) -> Draft {
    let text = match event.data() {
        quipu_domain::Data::Json(text) => text.to_string(),
        _ => String::from("null"),
    };
    let text = match dice.below(3) {
        0 => text,
        1 => text.replacen(':', " : ", 1),
        _ => format!("[{text}]"),
    };
    let mut builder = Event::builder(event.id().to_owned(), event.source().to_owned(), event.kind().to_owned());
    if let Some(subject) = event.subject() {
        builder = builder.subject(subject.to_owned());
    }
    for (name, value) in event.attributes() {
        builder = builder.attribute(name.clone(), value.clone());
    }
    let event = builder.json(text).build().expect("only the data differs");
    Draft { event, stream_version: None }
}

fn checkpoint(dice: &mut Dice, model: &Model) -> Checkpoint {
    let source = *dice.pick(&OUTSIDE);
    let recorded = model.checkpoints.get(source).copied().unwrap_or(0);
    let number = if dice.chance(80) { recorded + dice.between(1, 5) } else { recorded.saturating_sub(dice.below(3)) };
    Checkpoint { source: source.to_owned(), number }
}

fn condition(dice: &mut Dice, model: &Model) -> Condition {
    if dice.chance(60) {
        let stream = *dice.pick(&SUBJECTS);
        let version = model.stream(stream).version;
        let expected = match dice.below(10) {
            0..5 => StreamExpectation::Version(version),
            5 => StreamExpectation::Version(version + 1),
            6 => StreamExpectation::Version(version.saturating_sub(1)),
            7 => StreamExpectation::Exists,
            8 => StreamExpectation::DoesNotExist,
            _ => StreamExpectation::Any,
        };
        return Condition::Stream { stream: stream.to_owned(), expected };
    }
    let query = query(dice);
    let newest = model.newest_match(&query).unwrap_or(0);
    let position = match dice.below(3) {
        0 => newest,
        1 => newest.saturating_sub(1),
        _ => dice.between(newest, newest.max(model.events.len() as u64)),
    };
    Condition::NoneAfter { position, query }
}

fn query(dice: &mut Dice) -> Query {
    let some = |dice: &mut Dice, of: &[&str], counts: &[u64]| -> Vec<String> {
        (0..*dice.pick(counts)).map(|_| dice.pick(of).to_string()).collect()
    };
    let items = (0..*dice.pick(&[1, 1, 2]))
        .map(|_| {
            let mut item = QueryItem { types: some(dice, &TYPES, &[0, 1, 2]), tags: some(dice, &TAGS, &[0, 1, 2]) };
            if item.types.is_empty() && item.tags.is_empty() {
                item.tags.push("c:1".into());
            }
            item
        })
        .collect();
    Query { items }
}

/// Any filter, often of several parts.
pub fn filter(dice: &mut Dice, positions: u64) -> Filter {
    let mut filter = Filter::default();
    let parts = *dice.pick(&[0, 1, 1, 2, 3]);
    for _ in 0..parts {
        match dice.below(9) {
            0 => {
                filter.types.push(TypeMatch::parse(dice.pick::<&str>(&["order.*", "order.placed", "o*", "ping", "*"])))
            }
            1 => filter.types.push(TypeMatch::parse(dice.pick::<&str>(&TYPES))),
            2 => filter.subjects.push(dice.pick(&SUBJECTS).to_string()),
            3 => filter.sources.push(dice.pick(&SOURCES).to_string()),
            4 => filter.tags.push(dice.pick(&TAGS).to_string()),
            5 => filter.correlation_ids.push(format!("corr{}", dice.below(7))),
            6 => filter.user_ids.push("u1".into()),
            7 => {
                let from = dice.below(positions + 2);
                filter.positions = Range { from: Some(from), to: Some(from + dice.below(positions + 1)) };
            }
            _ => {
                let from = Timestamp(1_700_000_000_000_000 + dice.below(1_000) as i64 * 1_000);
                filter.time = Range { from: Some(from), to: dice.chance(50).then(|| from.plus_ms(300)) };
            }
        }
    }
    filter
}
