//! `quipu store check`: reads everything and changes nothing, so it may also run beside a server.

use std::path::PathBuf;

use clap::Args;
use quipu_engine::AUDIT_FOLDER;
use quipu_store::{CheckReport, DiskStorage, check};
use serde_json::{Value, json};

use super::super::count::counted;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::folder::tenants;
use super::super::output::{Format, Out};
use super::super::progress::Progress;

#[derive(Debug, Args)]
pub struct Check {
    /// The data folder
    folder: PathBuf,
    /// Only this tenant [default: all]
    #[arg(long)]
    tenant: Option<String>,
}

pub fn run(args: &Check, out: &mut Out) -> Outcome {
    let storage = DiskStorage::new(&args.folder);
    let mut reports = Vec::new();
    for tenant in chosen(tenants(&args.folder)?, args.tenant.as_deref())? {
        let has_trail = args.folder.join("tenants").join(&tenant).join(AUDIT_FOLDER).join("log").is_dir();
        let trail = has_trail.then(|| format!("{tenant}/{AUDIT_FOLDER}"));
        for name in [Some(tenant), trail].into_iter().flatten() {
            let mut progress = Progress::new(None);
            let report = check(&storage, &format!("tenants/{name}"), &mut |done, all| progress.at_bytes(done, all));
            progress.finish();
            reports.push((name, report?));
        }
    }
    show(&reports, out)
}

/// The tenants that are meant.
pub fn chosen(tenants: Vec<String>, only: Option<&str>) -> Result<Vec<String>, Failure> {
    match only {
        None => Ok(tenants),
        Some(name) if tenants.iter().any(|tenant| tenant == name) => Ok(vec![name.to_owned()]),
        Some(name) => {
            let message = format!("expected one of the tenants {}, found {name}", tenants.join(", "));
            Err(Failure::new(Exit::NotFound, message))
        }
    }
}

/// Prints what was found; the problems also on standard error.
pub fn show(reports: &[(String, CheckReport)], out: &mut Out) -> Outcome {
    match out.format {
        Format::Table => {
            let header = ["TENANT", "STATE", "EVENTS", "COMMITS", "SEGMENTS", "BYTES", "CACHES", "CHAIN"];
            out.table(&header, &reports.iter().map(row).collect::<Vec<_>>())?;
        }
        Format::Json => out.document(&Value::Array(reports.iter().map(entry).collect()))?,
        Format::Ndjson => reports.iter().map(entry).try_for_each(|entry| out.document(&entry))?,
    }
    out.flush()?;
    let mut is_sound = true;
    for (tenant, report) in reports {
        if let Some(torn) = &report.torn {
            eprintln!(
                "{tenant}: {} bytes at byte {} of {} are no whole commit: written when the process died, or being \
                 written now; the next start keeps them apart",
                torn.bytes, torn.offset, torn.path
            );
        }
        if report.orphans.0 > 0 {
            let (count, bytes) = report.orphans;
            eprintln!(
                "{tenant}: {} with {bytes} bytes that no event refers to: left by a crash, or of events that are being \
                 written now; they take room and do no harm",
                counted(count, "payload")
            );
        }
        for problem in &report.cache_problems {
            eprintln!("{tenant}: {problem}. No event is lost");
        }
        for problem in &report.problems {
            is_sound = false;
            eprintln!("{tenant}: {problem}");
        }
    }
    if is_sound {
        return Ok(Exit::Ok);
    }
    Err(Failure::new(Exit::Damaged, "the store is damaged; nothing was changed. Restore the named files from a backup"))
}

fn state(report: &CheckReport) -> &'static str {
    if report.problems.is_empty() { "sound" } else { "damaged" }
}

fn row((tenant, report): &(String, CheckReport)) -> Vec<String> {
    let numbers = [report.events, report.commits, report.segments, report.bytes, report.caches];
    let mut row = vec![tenant.clone(), state(report).to_owned()];
    row.extend(numbers.map(|number| number.to_string()));
    row.push(chain(report)[..16].to_owned());
    row
}

fn entry((tenant, report): &(String, CheckReport)) -> Value {
    json!({
        "tenant": tenant,
        "state": state(report),
        "events": report.events,
        "commits": report.commits,
        "segments": report.segments,
        "bytes": report.bytes,
        "caches": report.caches,
        "payloads": report.payloads,
        "orphans": {"payloads": report.orphans.0, "bytes": report.orphans.1},
        "chain": chain(report),
        "torn": report.torn.as_ref().map(|torn| json!({"path": torn.path, "offset": torn.offset, "bytes": torn.bytes})),
        "problems": report.problems,
        "cacheproblems": report.cache_problems,
    })
}

/// The hash after the last commit, in hexadecimal.
fn chain(report: &CheckReport) -> String {
    report.chain.iter().map(|byte| format!("{byte:02x}")).collect()
}
