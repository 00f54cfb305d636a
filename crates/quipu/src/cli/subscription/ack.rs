//! `quipu subscription ack`: what became of deliveries, of one named by its position and token, or of those that `pull`
//! printed.

use clap::Args;
use quipu_api::delivery::{ANSWERS_MAX, AnswerBody, AnswerOutcome, AnswerResult, Delivery};
use quipu_api::{AnswersAnswer, AnswersRequest};

use super::super::client::{Client, explain};
use super::super::duration::milliseconds;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::input::Input;
use super::super::output::{Format, Out};
use super::Named;
use super::pull::answer_to;

#[derive(Debug, Args)]
pub struct Ack {
    #[command(flatten)]
    which: Named,
    /// The position of the delivery
    #[arg(required_unless_present = "file", conflicts_with = "file", requires = "token")]
    position: Option<u64>,
    /// Its token
    #[arg(conflicts_with = "file")]
    token: Option<String>,
    /// The number of the dead letter that it was redriven from, if it was
    #[arg(long, value_name = "ID", requires = "position")]
    dead_letter: Option<u64>,
    /// The number of the replay that it belongs to, if it does
    #[arg(long, value_name = "ID", requires = "position", conflicts_with = "dead_letter")]
    replay: Option<u64>,
    /// Answer every delivery in a file of what pull printed, - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<String>,
    #[command(flatten)]
    what: What,
}

/// What became of it, if it was not processed.
#[derive(Debug, Args)]
#[command(next_help_heading = "If it was not processed")]
struct What {
    /// Try it again, as the retry policy says
    #[arg(long, group = "outcome")]
    nack: bool,
    /// Do not try it again: it becomes a dead letter
    #[arg(long, group = "outcome", id = "give_up")]
    give_up: bool,
    /// It was not tried: it goes back, with what came behind it in its key, and counts as no attempt
    #[arg(long, group = "outcome")]
    release: bool,
    /// It takes so much longer, from now on
    #[arg(long, group = "outcome", value_name = "DURATION", value_parser = milliseconds)]
    extend: Option<u64>,
    /// Try it again after so long
    #[arg(long, value_name = "DURATION", requires = "nack", value_parser = milliseconds)]
    delay: Option<u64>,
    /// What went wrong
    #[arg(long, value_name = "TEXT", conflicts_with = "extend")]
    error: Option<String>,
}

impl What {
    fn outcome(&self) -> Result<AnswerOutcome, Failure> {
        match (self.nack, self.give_up, self.extend) {
            (true, ..) => Ok(AnswerOutcome::Nack),
            (_, true, _) => Ok(AnswerOutcome::GiveUp),
            (.., Some(_)) => Ok(AnswerOutcome::Extend),
            _ if self.release && self.error.is_none() => Ok(AnswerOutcome::Release),
            _ if self.error.is_some() => Err(Failure::usage("--error: expected --nack or --give-up with it")),
            _ => Ok(AnswerOutcome::Ack),
        }
    }

    fn fill(&self, answer: &mut AnswerBody) {
        answer.delay_ms = self.delay;
        answer.ms = self.extend;
        answer.error.clone_from(&self.error);
    }
}

pub fn run(ack: Ack, client: &Client, out: &mut Out) -> Outcome {
    let outcome = ack.what.outcome()?;
    let mut answers = match &ack.file {
        Some(file) => from_file(file, outcome)?,
        None => vec![AnswerBody {
            position: ack.position.unwrap_or_default(),
            dead_letter: ack.dead_letter,
            replay: ack.replay,
            token: ack.token.unwrap_or_default(),
            outcome,
            delay_ms: None,
            ms: None,
            error: None,
        }],
    };
    answers.iter_mut().for_each(|answer| ack.what.fill(answer));
    // The last of a run first: one that goes back takes those behind it along.
    let is_release = outcome == AnswerOutcome::Release;
    if is_release {
        answers.reverse();
    }
    let mut answered = answer(&ack.which, answers, client)?;
    if is_release {
        answered.results.reverse();
    }
    match out.format {
        Format::Table => out.line(&format!("{} {}, {} refused", answered.done, word(outcome), answered.refused))?,
        Format::Json | Format::Ndjson => out.document(&answered)?,
    }
    Ok(refusals(&answered))
}

fn word(outcome: AnswerOutcome) -> &'static str {
    match outcome {
        AnswerOutcome::Ack => "acknowledged",
        AnswerOutcome::Nack => "to be tried again",
        AnswerOutcome::Extend => "extended",
        AnswerOutcome::GiveUp => "given up",
        AnswerOutcome::Release => "given back",
    }
}

/// Lines of `pull`.
fn from_file(path: &str, outcome: AnswerOutcome) -> Result<Vec<AnswerBody>, Failure> {
    let mut input = Input::open(path)?;
    let mut answers = Vec::new();
    while let Some(item) = input.next()? {
        let delivery: Delivery = serde_json::from_slice(&item.json).map_err(|error| {
            Failure::failed(format!("{}, line {}: expected a line of pull: {error}", input.name, item.number))
        })?;
        answers.push(answer_to(&delivery, outcome));
    }
    Ok(answers)
}

/// Sends answers, as many at once as one request takes.
pub fn answer(which: &Named, mut answers: Vec<AnswerBody>, client: &Client) -> Result<AnswersAnswer, Failure> {
    let mut all = AnswersAnswer::default();
    while !answers.is_empty() {
        let rest = answers.split_off(answers.len().min(ANSWERS_MAX));
        let body = AnswersRequest { answers: std::mem::replace(&mut answers, rest) };
        let AnswersAnswer { done, refused, results } = client.parse(&client.send(&which.path("/answers"), &body)?)?;
        for (answer, result) in body.answers.iter().zip(&results) {
            if let AnswerResult::Refused { error } = result {
                let problem = serde_json::to_value(error).unwrap_or_default();
                eprintln!("position {}: {}", answer.position, explain(&problem));
            }
        }
        all.done += done;
        all.refused += refused;
        all.results.extend(results);
    }
    Ok(all)
}

/// What a command ends with whose answers were taken or refused.
pub fn refusals(answered: &AnswersAnswer) -> Exit {
    if answered.refused == 0 { Exit::Ok } else { Exit::Failed }
}
