//! `quipu projection …`: one file a group of verbs. Declarations come from files, so that they live in a repository.

mod apply;
mod diff;
mod rows;
mod show;
pub mod verify;

use clap::{Args, Subcommand};
use quipu_api::projection::{DigestAnswer, DroppedAnswer, RemovedAnswer, SkippedBody, SwitchedAnswer};

use super::Global;
use super::client::{Client, encode};
use super::event::client;
use super::exit::{Exit, Outcome};
use super::output::{Format, Out};

#[derive(Debug, Subcommand)]
pub enum ProjectionCommand {
    /// Declare a projection; a changed one is built beside the one that answers
    Apply(apply::Apply),
    /// See whether a declaration could be applied; ends with 1 if not
    Check(apply::Check),
    /// List projections: how far each is, and which stands still
    List,
    /// Show a projection: its releases, and why one stands still
    Show(Named),
    /// Read rows of a table
    Rows(rows::Rows),
    /// Ask in SQL
    Sql(rows::Sql),
    /// Compare the next release with the one that answers; ends with 1 if something differs
    Diff(Named),
    /// Let the next release answer
    Switch(Named),
    /// Let the release answer that did before the last switch
    Revert(Named),
    /// Give up the next release
    Drop(Named),
    /// Pass over an event that cannot be taken in, and go on
    Skip(Skip),
    /// Try once more what stands still
    Resume(Named),
    /// Show the number of rows and a digest of each table
    Digest(Named),
    /// Rebuild it from the log and compare; ends with 1 if something differs, with 5 if the log was tampered with
    Verify(verify::Verify),
    /// List what verifications came to
    Verdicts(Named),
    /// Forget a projection and remove its read models
    Remove(Named),
}

/// Which projection.
#[derive(Debug, Args)]
pub struct Named {
    /// The projection
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
pub struct Skip {
    #[command(flatten)]
    which: Named,
    /// The position of the event
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    position: u64,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
}

impl Named {
    pub fn of(name: String) -> Self {
        Self { name }
    }

    /// Its route; `tail` is "" or begins with a slash.
    fn path(&self, tail: &str) -> String {
        format!("/v1/projections/{}{tail}", encode(&self.name))
    }
}

pub fn run(command: ProjectionCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match command {
        ProjectionCommand::Apply(apply) => apply::run(&apply, &client, out),
        ProjectionCommand::Check(check) => apply::check(&check, &client, out),
        ProjectionCommand::List => show::list(&client, out),
        ProjectionCommand::Show(which) => show::run(&client.json(&which.path(""), &Vec::new())?, &client, out),
        ProjectionCommand::Rows(rows) => rows::run(rows, &client, out),
        ProjectionCommand::Sql(sql) => rows::ask(sql, &client, out),
        ProjectionCommand::Diff(which) => diff::run(&which, &client, out),
        ProjectionCommand::Switch(which) => switch(&which, "/releases/switch", &client, out),
        ProjectionCommand::Revert(which) => switch(&which, "/releases/revert", &client, out),
        ProjectionCommand::Drop(which) => {
            let text = client.delete(&which.path("/releases/next"))?;
            let DroppedAnswer { dropped } = client.parse(&text)?;
            say(out, &text, &format!("release {dropped} of {} was given up", which.name))
        }
        ProjectionCommand::Skip(Skip { which, position, reason }) => {
            let text = client.send(&which.path("/skips"), &SkippedBody { position, reason })?;
            show::run(&text, &client, out)
        }
        ProjectionCommand::Resume(which) => show::run(&client.act(&which.path("/resume"))?, &client, out),
        ProjectionCommand::Digest(which) => {
            let text = client.json(&which.path("/releases/digest"), &Vec::new())?;
            let answer: DigestAnswer = client.parse(&text)?;
            match out.format {
                Format::Json => out.json(&text)?,
                Format::Ndjson => answer.tables.iter().try_for_each(|table| out.document(table))?,
                Format::Table => {
                    let row = |table: &quipu_api::projection::TableDigestBody| {
                        vec![table.table.clone(), table.rows.to_string(), table.digest.clone()]
                    };
                    out.table(&["TABLE", "ROWS", "DIGEST"], &answer.tables.iter().map(row).collect::<Vec<_>>())?;
                    out.flush()?;
                    eprintln!("at position {}", answer.position);
                }
            }
            Ok(Exit::Ok)
        }
        ProjectionCommand::Verify(verify) => verify::run(&verify, &client, out),
        ProjectionCommand::Verdicts(which) => verify::verdicts(&which, &client, out),
        ProjectionCommand::Remove(which) => {
            let text = client.delete(&which.path(""))?;
            let RemovedAnswer { removed } = client.parse(&text)?;
            say(out, &text, &format!("{removed} was removed"))
        }
    }
}

/// Lets another release answer: which one, the route says.
fn switch(which: &Named, tail: &str, client: &Client, out: &mut Out) -> Outcome {
    let text = client.act(&which.path(tail))?;
    let SwitchedAnswer { live } = client.parse(&text)?;
    say(out, &text, &format!("release {live} of {} answers", which.name))
}

fn say(out: &mut Out, text: &str, line: &str) -> Outcome {
    match out.format {
        Format::Json | Format::Ndjson => out.json(text)?,
        Format::Table => out.line(line)?,
    }
    Ok(Exit::Ok)
}
