//! Answers of publishing, written as JSON by hand: they are small, and at a hundred thousand events a second a
//! serializer that builds them from types costs more than the parsing of the events. A test holds them to the wire
//! types.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use quipu_api::{Code, MEDIA_JSON, Problem};
use quipu_domain::Refusal;
use quipu_engine::{Place, Published, Scheduled};

/// What became of one event.
#[derive(Debug)]
pub(crate) enum Outcome {
    Recorded(Place),
    Duplicate(Place),
    Scheduled(Scheduled),
    Refused(Box<Problem>),
}

impl From<Published> for Outcome {
    fn from(published: Published) -> Self {
        match published {
            Published::Recorded(place) => Self::Recorded(place),
            Published::Duplicate(place) => Self::Duplicate(place),
            Published::Scheduled(scheduled) => Self::Scheduled(scheduled),
            // Each event stands for itself here: which one of the engine's message it was says nothing to the client.
            Published::Refused(Refusal::IdConflict { position, .. }) => {
                let detail =
                    format!("expected the content recorded for this source and id at position {position}, found other");
                Self::from(Problem::new(Code::IdConflict, detail).with("position", position))
            }
            Published::Refused(Refusal::WaitsAlready { timer, .. }) => {
                let detail = format!(
                    "expected the content and time of the event with this source and id that waits for timer {timer}, found other"
                );
                Self::from(Problem::new(Code::IdConflict, detail).with("timer", timer))
            }
            Published::Refused(refusal) => Self::from(Problem::from(refusal)),
        }
    }
}

impl From<Problem> for Outcome {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

/// How many events met which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub recorded: u64,
    pub duplicates: u64,
    pub scheduled: u64,
    pub refused: u64,
}

impl Sums {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Recorded(_) => self.recorded += 1,
            Outcome::Duplicate(_) => self.duplicates += 1,
            Outcome::Scheduled(_) => self.scheduled += 1,
            Outcome::Refused(_) => self.refused += 1,
        }
    }

    /// The members of the sums, without braces.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"recorded\":");
        number(out, self.recorded);
        out.extend_from_slice(b",\"duplicates\":");
        number(out, self.duplicates);
        out.extend_from_slice(b",\"scheduled\":");
        number(out, self.scheduled);
        out.extend_from_slice(b",\"refused\":");
        number(out, self.refused);
    }
}

/// The answer to a publish of one event or a batch.
pub(crate) fn published(outcomes: &[Outcome]) -> Vec<u8> {
    let mut sums = Sums::default();
    outcomes.iter().for_each(|outcome| sums.add(outcome));
    let mut out = Vec::with_capacity(64 + 56 * outcomes.len());
    out.push(b'{');
    sums.write(&mut out);
    out.extend_from_slice(b",\"results\":[");
    for (index, outcome) in outcomes.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.push(b'{');
        result(&mut out, outcome);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

/// The members of one result, without braces.
pub(crate) fn result(out: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Outcome::Recorded(at) => {
            out.extend_from_slice(b"\"status\":\"recorded\",");
            place(out, at);
        }
        Outcome::Duplicate(at) => {
            out.extend_from_slice(b"\"status\":\"duplicate\",");
            place(out, at);
        }
        Outcome::Scheduled(scheduled) => {
            out.extend_from_slice(b"\"status\":\"scheduled\",\"timer\":");
            number(out, scheduled.timer);
            out.extend_from_slice(b",\"due\":");
            text(out, &scheduled.due.to_string());
            out.extend_from_slice(match scheduled.is_duplicate {
                true => b",\"duplicate\":true",
                false => b",\"duplicate\":false",
            });
        }
        Outcome::Refused(problem) => {
            out.extend_from_slice(b"\"status\":\"refused\",\"error\":");
            serde_json::to_writer(out, problem).expect("a problem is JSON and a Vec takes it");
        }
    }
}

/// The members of a place, without braces.
pub(crate) fn place(out: &mut Vec<u8>, place: &Place) {
    out.extend_from_slice(b"\"position\":");
    number(out, place.position);
    if let Some(version) = place.stream_version {
        out.extend_from_slice(b",\"streamversion\":");
        number(out, version);
    }
}

/// A text as a JSON string.
pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text is JSON and a Vec takes it");
}

/// A number in decimal.
pub(crate) fn number(out: &mut Vec<u8>, mut number: u64) {
    // 20 digits hold 2^64.
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A JSON answer.
pub(crate) fn json(body: Vec<u8>) -> Response {
    typed(MEDIA_JSON, body)
}

/// An answer of a media type.
pub(crate) fn typed(media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_api::PublishAnswer;

    #[test]
    fn what_is_written_by_hand_reads_as_the_wire_type_and_back() {
        let outcomes = [
            Outcome::Recorded(Place { position: 1, stream_version: Some(u64::MAX) }),
            Outcome::Duplicate(Place { position: 10, stream_version: None }),
            Outcome::Refused(Box::new(Problem::new(Code::IdConflict, "a \"quoted\" detail").with("index", 3))),
        ];
        let written = published(&outcomes);
        let answer: PublishAnswer = serde_json::from_slice(&written).unwrap();
        assert_eq!((answer.recorded, answer.duplicates, answer.refused), (1, 1, 1));
        assert_eq!(serde_json::to_vec(&answer).unwrap(), written);
    }
}
