//! Where a relay takes events: a server, by the operations of its catalogue, or a folder in this process.

use quipu::{Append, Error, Fault, Quipu, Refusal};
use quipu_api::{AppendAnswer, AppendRequest, CheckpointAnswer, CheckpointBody, Problem};
use quipu_connect::outbox::{Done, NotTaken, Target};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::client::{Client, explain};
use super::super::exit::{Exit, Failure};

impl Target for Client {
    fn checkpoint(&mut self, source: &str) -> Result<u64, NotTaken> {
        let answer: CheckpointAnswer =
            self.taken(self.asked("/v1/checkpoints", &vec![("source", source.to_owned())]))?;
        Ok(answer.number.unwrap_or(0))
    }

    fn append(&mut self, events: &[&str], source: &str, number: u64) -> Result<Done, NotTaken> {
        let mut texts = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            let text = RawValue::from_string((*event).to_owned());
            texts.push(text.map_err(|error| NotTaken::Event { index, reason: error.to_string() })?);
        }
        let checkpoint = Some(CheckpointBody { source: source.to_owned(), number });
        let request = AppendRequest { events: texts, checkpoint, ..AppendRequest::default() };
        let answer: AppendAnswer = self.taken(self.sent("/v1/append", &request))?;
        Ok(if answer.duplicate { Done::Repeated } else { Done::Recorded })
    }
}

impl Client {
    fn taken<T: DeserializeOwned>(&self, answered: Result<(u16, String), Failure>) -> Result<T, NotTaken> {
        let (status, text) = answered.map_err(|failure| match failure {
            Failure::Said { exit: Exit::Unreachable, message } => NotTaken::Interrupted(message),
            Failure::Said { message, .. } => NotTaken::Refused(message),
            Failure::BrokenPipe => NotTaken::Interrupted("the connection broke off".into()),
        })?;
        let unexpected = || format!("expected an answer of a quipu server from {}, found status {status}", self.url);
        if (200..300).contains(&status) {
            return serde_json::from_str(&text).map_err(|_| NotTaken::Refused(unexpected()));
        }
        match serde_json::from_str::<Value>(&text) {
            Ok(problem) if problem.get("code").is_some() => Err(not_taken(&problem)),
            // A proxy between, whose server is away.
            _ if status >= 500 => Err(NotTaken::Interrupted(unexpected())),
            _ => Err(NotTaken::Refused(unexpected())),
        }
    }
}

/// A tenant of a data folder that this process has open.
pub struct Folder(pub Quipu);

impl Target for Folder {
    fn checkpoint(&mut self, source: &str) -> Result<u64, NotTaken> {
        Ok(self.0.checkpoint(source).unwrap_or(0))
    }

    fn append(&mut self, events: &[&str], source: &str, number: u64) -> Result<Done, NotTaken> {
        let mut parsed = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            let incoming = quipu::parse_event(event.as_bytes());
            let incoming = incoming.map_err(|invalid| NotTaken::Event { index, reason: invalid.to_string() })?;
            parsed.push(incoming.event.into_owned());
        }
        match self.0.append(Append::of(parsed).checkpoint(source, number)) {
            Ok(appended) => Ok(if appended.is_duplicate { Done::Repeated } else { Done::Recorded }),
            Err(Error::Invalid { index, reason }) => Err(NotTaken::Event { index, reason: reason.to_string() }),
            Err(Error::Refused(refusal)) => Err(refused(&refusal)),
            Err(Error::Fault(fault @ Fault::Overloaded { .. })) => Err(NotTaken::Interrupted(fault.to_string())),
            Err(other) => Err(NotTaken::Refused(other.to_string())),
        }
    }
}

fn refused(refusal: &Refusal) -> NotTaken {
    not_taken(&serde_json::to_value(Problem::from(refusal)).unwrap_or_default())
}

/// What a problem document means for a relay.
fn not_taken(problem: &Value) -> NotTaken {
    let reason = explain(problem);
    let index = problem["index"].as_u64().and_then(|index| usize::try_from(index).ok());
    match (problem["code"].as_str(), index) {
        (Some("checkpoint-behind"), _) => NotTaken::Behind,
        _ if problem["retryable"] == true => NotTaken::Interrupted(reason),
        (_, Some(index)) => NotTaken::Event { index, reason },
        (_, None) => NotTaken::Refused(reason),
    }
}
