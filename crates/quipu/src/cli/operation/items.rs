//! `quipu operation items`. A table or a JSON document is one page and says how to go on; JSON lines are everything, page
//! by page, unless a limit is given.

use clap::Args;
use quipu_api::ItemsAnswer;
use quipu_api::operation::{ItemBody, ItemWord};

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::Id;

/// Lines in a table: what fits on a screen.
const TABLE_LINES: u64 = 20;
/// Items in a JSON document: the server's default.
const JSON_LINES: u64 = 100;
/// Items asked for at once when everything is listed.
const PAGE_LINES: u64 = 1_000;

const HEADER: [&str; 3] = ["NUMBER", "OUTCOME", "ERROR"];

#[derive(Clone, Copy, Debug, Args)]
pub struct Items {
    #[command(flatten)]
    id: Id,
    /// The first one, counted from 0
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// At most so many [default: 20 in a table, 100 in JSON, all in NDJSON]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

pub fn run(items: &Items, client: &Client, out: &mut Out) -> Outcome {
    let limit = items.limit.unwrap_or(match out.format {
        Format::Table => TABLE_LINES,
        Format::Json => JSON_LINES,
        Format::Ndjson => u64::MAX,
    });
    let mut whole = ItemsAnswer { items: Vec::new(), next: Some(items.from) };
    let mut read = 0;
    while let Some(from) = whole.next.filter(|_| read < limit) {
        let query: Query = vec![("from", from.to_string()), ("limit", (limit - read).min(PAGE_LINES).to_string())];
        let mut page: ItemsAnswer = client.parsed(&items.id.path("/items"), &query)?;
        read += page.items.len() as u64;
        whole.next = page.next;
        match out.format {
            Format::Ndjson => page.items.iter().try_for_each(|item| out.document(item))?,
            Format::Table | Format::Json => whole.items.append(&mut page.items),
        }
    }
    match out.format {
        Format::Ndjson => {}
        Format::Json => out.document(&whole)?,
        Format::Table => {
            out.table(&HEADER, &whole.items.iter().map(row).collect::<Vec<_>>())?;
            out.flush()?;
            if let Some(next) = whole.next {
                eprintln!("{} items, more follow: the same command with --from {next}", whole.items.len());
            }
        }
    }
    Ok(Exit::Ok)
}

fn row(item: &ItemBody) -> Vec<String> {
    let outcome = match item.outcome {
        ItemWord::Waiting => "waiting",
        ItemWord::Done => "done",
        ItemWord::Refused => "refused",
    };
    vec![item.id.to_string(), outcome.to_owned(), item.error.clone().unwrap_or_default()]
}
