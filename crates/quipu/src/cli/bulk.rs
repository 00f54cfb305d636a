//! Many events from an [`Input`] to where they are recorded, a server or a folder, in portions: memory stays bounded,
//! progress is known, and what was recorded before a failure is known too. Repeating a load is safe: what is recorded
//! already is a duplicate.

use quipu::{Error, InvalidEvent, Published, Quipu, Refusal};
use quipu_api::{LineResult, MEDIA_LINES, Place, Problem, PublishResult, PublishSummary};
use serde_json::json;

use super::client::{Client, explain};
use super::exit::{Exit, Failure, Outcome};
use super::input::{Input, Item};
use super::output::{Format, Out};
use super::progress::Progress;

/// Events sent at once: the cost of a request does not show any more, and the answer is far below what the server
/// buffers for a client that reads only when it has sent everything (64 Ki results).
const PORTION_EVENTS: usize = 1_000;
/// Bytes sent at once, if that comes first.
const PORTION_BYTES: usize = 4 << 20;

/// Where events are recorded.
pub enum Target<'t> {
    Server(&'t Client),
    Folder(&'t Quipu),
}

/// What became of the events, and what standard output says of it.
#[derive(Debug, Default)]
struct Tally {
    recorded: u64,
    duplicates: u64,
    scheduled: u64,
    refusals: Vec<LineResult>,
    /// Refusals beyond those that are kept.
    refused: u64,
    /// Events that were not sent, since nobody but the server they come from can record them.
    skipped: u64,
}

/// Refusals kept for `-o json`; all are printed on standard error.
const REFUSALS_KEPT: usize = 10_000;

/// What is to be recorded of an event of the input; nothing to leave it out.
pub type Edit = fn(Item) -> Option<Item>;

/// Loads everything. Data: the counts, and with JSON the refusals. Standard error: every refusal, as it comes.
pub fn load(mut input: Input, target: &Target<'_>, edit: Edit, out: &mut Out) -> Outcome {
    let mut progress = Progress::new(input.bytes_total);
    let mut tally = Tally::default();
    let loaded = portions(&mut input, target, edit, &mut tally, &mut progress);
    progress.finish();
    if loaded.is_err() {
        eprintln!("{} before the failure below; repeating the load is safe", tally.sentence());
        loaded?;
    }
    if tally.skipped > 0 {
        eprintln!("{} skipped: events that a server recorded of its own accord (types below quipu.)", tally.skipped);
    }
    match out.format {
        Format::Table => out.line(&tally.sentence())?,
        Format::Json | Format::Ndjson => out.document(&json!({
            "recorded": tally.recorded,
            "duplicates": tally.duplicates,
            "scheduled": tally.scheduled,
            "refused": tally.refused,
            "skipped": tally.skipped,
            "refusals": tally.refusals,
        }))?,
    }
    Ok(if tally.refused == 0 { Exit::Ok } else { Exit::Failed })
}

fn portions(
    input: &mut Input,
    target: &Target<'_>,
    edit: Edit,
    tally: &mut Tally,
    progress: &mut Progress,
) -> Result<(), Failure> {
    loop {
        let mut portion = Vec::new();
        let mut bytes = 0;
        while portion.len() < PORTION_EVENTS && bytes < PORTION_BYTES {
            let Some(item) = input.next()? else { break };
            match edit(item) {
                Some(item) => {
                    bytes += item.json.len();
                    portion.push(item);
                }
                None => tally.skipped += 1,
            }
        }
        if portion.is_empty() {
            return Ok(());
        }
        let name = &input.name;
        let mut take = |index: usize, result: PublishResult| {
            let line = portion.get(index).map_or(0, |item| item.number);
            if let PublishResult::Refused { error } = &result {
                let problem = serde_json::to_value(error).unwrap_or_default();
                progress.say(&format!("{name}, line {line}: {}", explain(&problem)));
            }
            tally.count(LineResult { line, result });
        };
        match target {
            Target::Server(client) => to_server(client, &portion, &mut take)?,
            Target::Folder(quipu) => to_folder(quipu, &portion, &mut take)?,
        }
        progress
            .at(input.bytes_read, tally.recorded + tally.duplicates + tally.scheduled + tally.refused + tally.skipped);
    }
}

fn to_server(client: &Client, portion: &[Item], take: &mut dyn FnMut(usize, PublishResult)) -> Result<(), Failure> {
    let body: Vec<u8> = portion.iter().flat_map(|item| item.json.iter().chain(b"\n")).copied().collect();
    let answer = client.post("/v1/events", MEDIA_LINES, &body)?;
    let mut answered = 0;
    for line in client.lines(answer) {
        let line = line?;
        let unexpected = || Failure::failed(format!("expected a result from {}, found {line}", client.url));
        if let Ok(result) = serde_json::from_str::<LineResult>(&line) {
            answered += 1;
            let index = result.line.checked_sub(1).and_then(|index| usize::try_from(index).ok());
            take(index.ok_or_else(unexpected)?, result.result);
            continue;
        }
        let summary: PublishSummary = serde_json::from_str(&line).map_err(|_| unexpected())?;
        if let Some(problem) = summary.error {
            return Err(super::client::refused(&serde_json::to_value(problem).unwrap_or_default()));
        }
    }
    if answered == portion.len() {
        return Ok(());
    }
    let (url, sent) = (&client.url, portion.len());
    Err(Failure::new(
        Exit::Unreachable,
        format!("the answer of {url} broke off: expected {sent} results, found {answered}"),
    ))
}

fn to_folder(quipu: &Quipu, portion: &[Item], take: &mut dyn FnMut(usize, PublishResult)) -> Result<(), Failure> {
    let mut indexes = Vec::new();
    let mut events = Vec::new();
    for (index, item) in portion.iter().enumerate() {
        match quipu::parse_event(&item.json) {
            Ok(incoming) => {
                indexes.push(index);
                events.push(incoming);
            }
            Err(reason) => take(index, refused_invalid(&reason)),
        }
    }
    // One event over the size limit refuses the whole call, before anything is written: it is taken out, and the
    // others go again.
    let published = loop {
        match quipu.publish_incoming(&events) {
            Err(Error::Invalid { index, reason }) => {
                events.remove(index);
                take(indexes.remove(index), refused_invalid(&reason));
            }
            other => break other?,
        }
    };
    for (index, published) in indexes.into_iter().zip(published) {
        let place = |place: quipu::Place| Place { position: place.position, stream_version: place.stream_version };
        take(
            index,
            match published {
                Published::Recorded(at) => PublishResult::Recorded(place(at)),
                Published::Duplicate(at) => PublishResult::Duplicate(place(at)),
                Published::Scheduled(quipu::Scheduled { timer, due, is_duplicate }) => {
                    PublishResult::Scheduled(quipu_api::Scheduled {
                        timer,
                        due: due.to_string(),
                        duplicate: is_duplicate,
                    })
                }
                Published::Refused(refusal) => refused(&refusal),
            },
        );
    }
    Ok(())
}

fn refused_invalid(reason: &InvalidEvent) -> PublishResult {
    PublishResult::Refused { error: Problem::from(reason) }
}

fn refused(refusal: &Refusal) -> PublishResult {
    PublishResult::Refused { error: Problem::from(refusal) }
}

impl Tally {
    fn count(&mut self, line: LineResult) {
        match line.result {
            PublishResult::Recorded(_) => self.recorded += 1,
            PublishResult::Duplicate(_) => self.duplicates += 1,
            PublishResult::Scheduled(_) => self.scheduled += 1,
            PublishResult::Refused { .. } => {
                self.refused += 1;
                if self.refusals.len() < REFUSALS_KEPT {
                    self.refusals.push(line);
                }
            }
        }
    }

    fn sentence(&self) -> String {
        let scheduled = match self.scheduled {
            0 => String::new(),
            scheduled => format!("{scheduled} scheduled, "),
        };
        format!("{} recorded, {} duplicates, {scheduled}{} refused", self.recorded, self.duplicates, self.refused)
    }
}
