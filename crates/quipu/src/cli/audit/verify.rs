//! `quipu audit verify`: reads everything and changes nothing, so it may also run beside a server.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use quipu_engine::{Head, Kept, VerifiedLog, verify, verify_export};
use quipu_store::DiskStorage;
use serde_json::{Value, json};

use super::super::exit::{Exit, Failure, Outcome};
use super::super::folder::tenants;
use super::super::output::{Format, Out};
use super::super::progress::Progress;
use super::super::store::chosen;

const HEADER: [&str; 5] = ["TENANT", "LOG", "STATE", "EVENTS", "HEAD"];

#[derive(Debug, Args)]
pub struct Verify {
    /// A data folder, or a file that `quipu audit export` has written
    path: PathBuf,
    /// Only this tenant of a data folder [default: all]
    #[arg(long)]
    tenant: Option<String>,
    /// A head of the trail that was noted before, as an earlier verification or a report shows it: what was there must still be
    #[arg(long, value_name = "HEAD", value_parser = head)]
    head: Option<Head>,
    /// The same of the tenant's own log
    #[arg(long, value_name = "HEAD", value_parser = head)]
    log_head: Option<Head>,
}

/// What was found of a log.
struct Found {
    tenant: String,
    log: &'static str,
    events: u64,
    head: Option<Head>,
    is_sound: bool,
}

pub fn run(args: &Verify, out: &mut Out) -> Outcome {
    let (found, problems) = if args.path.is_dir() { of_folder(args)? } else { of_file(args)? };
    match out.format {
        Format::Table => out.table(&HEADER, &found.iter().map(row).collect::<Vec<_>>())?,
        Format::Json => out.document(&json!({
            "logs": found.iter().map(entry).collect::<Vec<_>>(),
            "sound": problems.is_empty(),
            "problems": problems,
        }))?,
        Format::Ndjson => found.iter().map(entry).try_for_each(|entry| out.document(&entry))?,
    }
    out.flush()?;
    problems.iter().for_each(|problem| eprintln!("{problem}"));
    match problems.is_empty() {
        true => Ok(Exit::Ok),
        false => Err(Failure::new(Exit::Damaged, "something is not what was written; nothing was changed here")),
    }
}

fn of_folder(args: &Verify) -> Result<(Vec<Found>, Vec<String>), Failure> {
    let storage = DiskStorage::new(&args.path);
    let kept = Kept { log: args.log_head, audit: args.head };
    let names = chosen(tenants(&args.path)?, args.tenant.as_deref())?;
    if kept != Kept::default() && names.len() != 1 {
        return Err(Failure::usage("expected --tenant beside a head, which is of one tenant"));
    }
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for tenant in names {
        let mut progress = Progress::new(None);
        let verified = verify(&storage, &format!("tenants/{tenant}"), kept, &mut |done, all| {
            progress.at_bytes(done, all);
        });
        progress.finish();
        let verified = verified?;
        problems.extend(verified.problems());
        let logs = [("events", Some(verified.log)), ("audit", verified.audit)];
        found.extend(logs.into_iter().filter_map(|(log, verified)| {
            let VerifiedLog { report, head, problems } = verified?;
            Some(Found { tenant: tenant.clone(), log, events: report.events, head, is_sound: problems.is_empty() })
        }));
    }
    Ok((found, problems))
}

fn of_file(args: &Verify) -> Result<(Vec<Found>, Vec<String>), Failure> {
    let failed = |error: std::io::Error| Failure::file("read", args.path.display(), &error);
    if let Some(flag) = args.tenant.as_ref().map(|_| "--tenant").or(args.log_head.map(|_| "--log-head")) {
        return Err(Failure::usage(format!("expected {flag} beside a data folder, found it beside a file")));
    }
    let verified = verify_export(BufReader::new(File::open(&args.path).map_err(failed)?), args.head).map_err(failed)?;
    let is_sound = verified.problem.is_none();
    let found =
        Found { tenant: verified.tenant, log: "audit", events: verified.events, head: Some(verified.head), is_sound };
    let place = |problem: String| format!("{}: {problem}", Path::display(&args.path));
    Ok((vec![found], verified.problem.map(place).into_iter().collect()))
}

fn head(text: &str) -> Result<Head, String> {
    Head::parse(text).ok_or_else(|| "expected a number, a colon and 64 hexadecimal digits".to_owned())
}

fn state(found: &Found) -> &'static str {
    if found.is_sound { "sound" } else { "broken" }
}

fn row(found: &Found) -> Vec<String> {
    let head = found.head.map(|head| head.to_string()).unwrap_or_default();
    vec![found.tenant.clone(), found.log.to_owned(), state(found).to_owned(), found.events.to_string(), head]
}

fn entry(found: &Found) -> Value {
    json!({
        "tenant": found.tenant,
        "log": found.log,
        "state": state(found),
        "events": found.events,
        "head": found.head,
    })
}
