//! `quipu projection list` and `show`.

use quipu_api::projection::{ProjectionAnswer, ProjectionsAnswer, ReleaseBody, ReleaseState};

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out, escape};

const HEADER: [&str; 6] = ["NAME", "RELEASE", "STATE", "POSITION", "BEHIND", "BYTES"];

pub fn list(client: &Client, out: &mut Out) -> Outcome {
    let text = client.json("/v1/projections", &Query::new())?;
    let answer: ProjectionsAnswer = client.parse(&text)?;
    match out.format {
        Format::Json => out.json(&text)?,
        Format::Ndjson => answer.projections.iter().try_for_each(|projection| out.document(projection))?,
        Format::Table => out.table(&HEADER, &answer.projections.iter().flat_map(rows).collect::<Vec<_>>())?,
    }
    Ok(Exit::Ok)
}

pub fn run(text: &str, client: &Client, out: &mut Out) -> Outcome {
    let projection: ProjectionAnswer = client.parse(text)?;
    match out.format {
        Format::Json => out.json(text)?,
        Format::Ndjson => out.document(&projection)?,
        Format::Table => {
            out.table(&HEADER, &rows(&projection))?;
            out.flush()?;
            for release in &projection.releases {
                why(release);
            }
            for skipped in &projection.skipped {
                eprintln!("position {} is passed over: {}", skipped.position, escape(&skipped.reason));
            }
        }
    }
    Ok(Exit::Ok)
}

fn rows(projection: &ProjectionAnswer) -> Vec<Vec<String>> {
    let row = |release: &ReleaseBody| {
        let role = match release.release.cmp(&projection.live) {
            std::cmp::Ordering::Less => "before",
            std::cmp::Ordering::Equal => "live",
            std::cmp::Ordering::Greater => "next",
        };
        vec![
            projection.name.clone(),
            format!("{} ({role})", release.release),
            state(release),
            release.position.to_string(),
            release.behind.to_string(),
            release.bytes.to_string(),
        ]
    };
    projection.releases.iter().map(row).collect()
}

fn state(release: &ReleaseBody) -> String {
    let state = match release.state {
        ReleaseState::Following => "following",
        ReleaseState::Building => "building",
        ReleaseState::Stopped => "stopped",
        ReleaseState::Failing => "failing",
    };
    match (release.rate, release.eta_seconds) {
        (Some(rate), Some(eta)) => format!("{state}, {rate}/s, {eta} s to go"),
        _ => state.to_owned(),
    }
}

fn why(release: &ReleaseBody) {
    if let Some(failed) = &release.failed {
        eprintln!(
            "release {} cannot take in the event at position {}, {} {} of {}: {}",
            release.release,
            failed.position,
            escape(&failed.kind),
            escape(&failed.id),
            escape(&failed.source),
            escape(&failed.error)
        );
        if let Some(statement) = &failed.statement {
            eprintln!("  in: {}", escape(statement));
        }
    }
    if let Some(error) = &release.error {
        eprintln!("the database of release {} fails: {}", release.release, escape(error));
    }
}
