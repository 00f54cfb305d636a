//! `quipu subscription seek`: says what it would mean, asks, and only then goes on elsewhere.

use clap::Args;
use quipu_api::subscription::{SeekAnswer, SeekRequest};
use quipu_domain::StartAt;

use super::super::client::Client;
use super::super::confirm::Confirm;
use super::super::count::doing;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::Named;
use super::start::start_at;

#[derive(Debug, Args)]
pub struct Seek {
    #[command(flatten)]
    which: Named,
    /// The event to go on with: beginning, now, a position or a time
    #[arg(long, value_name = "START", value_parser = start_at)]
    to: StartAt,
    #[command(flatten)]
    confirm: Confirm,
}

pub fn run(seek: &Seek, client: &Client, out: &mut Out) -> Outcome {
    let path = seek.which.path("/seek");
    let body = SeekRequest { to: seek.to.clone(), preview: true };
    let preview: SeekAnswer = client.parse(&client.send(&path, &body)?)?;
    match out.format {
        Format::Table => out.line(&sentence(&preview))?,
        // What is on standard output is one document: the preview only if it stays at that.
        Format::Json | Format::Ndjson if !seek.confirm.is_possible() => out.document(&preview)?,
        Format::Json | Format::Ndjson => eprintln!("{}", sentence(&preview)),
    }
    out.flush()?;
    seek.confirm.ask(&format!("move {}", seek.which.name))?;
    let done: SeekAnswer = client.parse(&client.send(&path, &SeekRequest { preview: false, ..body })?)?;
    match out.format {
        Format::Table => out.line(&format!("{} goes on after position {}", seek.which.name, done.position))?,
        // A seek counts nothing; what was counted a moment ago is as good.
        Format::Json | Format::Ndjson => out.document(&SeekAnswer {
            again: done.again.or(preview.again),
            skipped: done.skipped.or(preview.skipped),
            forgotten: done.forgotten.or(preview.forgotten),
            ..done
        })?,
    }
    Ok(Exit::Ok)
}

fn sentence(preview: &SeekAnswer) -> String {
    let SeekAnswer { again: Some(again), skipped: Some(skipped), forgotten: Some(forgotten), .. } = preview else {
        return "which events come again is not known: its stored definition is not accepted any more; change it, or \
                go back to the version that wrote it"
            .to_owned();
    };
    format!(
        "{} again; {skipped} that nobody was handed never {}; {} forgotten",
        doing(*again, "event", ["comes", "come"]),
        if *skipped == 1 { "comes" } else { "come" },
        doing(*forgotten, "unfinished delivery", ["is", "are"])
    )
}
