//! `quipu audit …`: who administered a tenant and who was refused, and whether that is what was written.

mod list;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use quipu_api::{MEDIA_HTML, MEDIA_LINES};

use super::Global;
use super::client::{Client, Get, Query};
use super::event::client;
use super::exit::{Exit, Outcome};
use super::output::Out;
use super::store::Partial;

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List acts: what was administered or refused, by whom, from where
    List(list::List),
    /// Write everything about one subject, actor or correlation as one document, JSON or a page to print
    Report(Report),
    /// Write the whole trail as JSON lines with its hash chain
    Export(Target),
    /// Check the hash chain of a data folder or of an export, and that nothing is missing at its end
    Verify(verify::Verify),
}

/// Which acts: those that match all flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which acts")]
pub struct Question {
    /// What they were done to, such as keys/5f0c2a91d4e7b836
    #[arg(long)]
    subject: Option<String>,
    /// Who did them, such as key:5f0c2a91d4e7b836
    #[arg(long)]
    actor: Option<String>,
    /// The name of an operation, such as key.create
    #[arg(long)]
    operation: Option<String>,
    /// A business transaction, or a trace
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// How they ended: done, refused, failed, repeated or begun
    #[arg(long)]
    outcome: Option<String>,
    /// No earlier than this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    time_from: Option<String>,
    /// No later than this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    time_to: Option<String>,
}

/// Where to write to.
#[derive(Debug, Args)]
pub struct Target {
    /// Write to this file, which must not exist, instead of standard output; it is there once it is whole
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Report {
    #[command(flatten)]
    question: Question,
    /// What it is to be
    #[arg(long, value_enum, default_value = "json")]
    form: Form,
    #[command(flatten)]
    target: Target,
}

/// What a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A JSON document
    Json,
    /// A page to read and to print
    Html,
}

impl Question {
    fn query(&self) -> Query {
        let pairs = [
            ("subject", &self.subject),
            ("actor", &self.actor),
            ("operation", &self.operation),
            ("correlationid", &self.correlation_id),
            ("outcome", &self.outcome),
            ("timefrom", &self.time_from),
            ("timeto", &self.time_to),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

pub fn run(command: AuditCommand, global: &Global, out: &mut Out) -> Outcome {
    match command {
        AuditCommand::List(list) => list::run(list, &client(global)?, out),
        AuditCommand::Report(report) => {
            let media_type = if report.form == Form::Html { MEDIA_HTML } else { quipu_api::MEDIA_JSON };
            let query = report.question.query();
            write("/v1/audit/report", &query, media_type, &report.target, &client(global)?, out)
        }
        AuditCommand::Export(target) => {
            write("/v1/audit/export", &Query::new(), MEDIA_LINES, &target, &client(global)?, out)
        }
        AuditCommand::Verify(verify) => verify::run(&verify, out),
    }
}

/// Writes an answer as it comes.
fn write(path: &str, query: &Query, media_type: &str, target: &Target, client: &Client, out: &mut Out) -> Outcome {
    let answer = client.get(&Get { path, query, headers: &[("accept", media_type)] })?;
    let mut from = answer.into_body().into_reader();
    let broken = |error: std::io::Error| client.broken_off(&error);
    match &target.to {
        None => std::io::copy(&mut from, out).map_err(broken)?,
        Some(path) => Partial::write(path, |file| std::io::copy(&mut from, file).map_err(broken))?,
    };
    Ok(Exit::Ok)
}
