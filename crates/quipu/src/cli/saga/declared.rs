//! Sagas, rules and expectations that are declared: listed, shown and removed.

use quipu_api::saga::{DeclaredSaga, DeclaredSagas, RemovedSaga};

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out, escape};
use super::Kind;

const HEADER: [&str; 6] = ["NAME", "VERSION", "DECLARED", "OPEN", "INSTANCES", "BEHIND"];

pub fn list(kind: Kind, client: &Client, out: &mut Out) -> Outcome {
    let text = client.json(kind.route(), &Query::new())?;
    let all: DeclaredSagas = client.parse(&text)?;
    match out.format {
        Format::Json => out.json(&text)?,
        Format::Ndjson => all.declared.iter().try_for_each(|one| out.document(one))?,
        Format::Table => {
            out.table(&HEADER, &all.declared.iter().map(row).collect::<Vec<_>>())?;
            all.declared.first().into_iter().for_each(say_what_is_stuck);
            all.declared.iter().for_each(say_what_has_no_key);
        }
    }
    Ok(Exit::Ok)
}

pub fn show(kind: Kind, name: &str, client: &Client, out: &mut Out) -> Outcome {
    let text = client.json(&kind.path(name), &Query::new())?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => {
            let one: DeclaredSaga = client.parse(&text)?;
            out.table(&HEADER, &[row(&one)])?;
            say_what_is_stuck(&one);
            say_what_has_no_key(&one);
            if let Some(declaration) = &one.declaration {
                out.document(declaration)?;
            }
        }
    }
    Ok(Exit::Ok)
}

pub fn remove(kind: Kind, name: &str, client: &Client, out: &mut Out) -> Outcome {
    let text = client.delete(&kind.path(name))?;
    let RemovedSaga { removed } = client.parse(&text)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => out.line(&format!("{} {removed} was removed", kind.word()))?,
    }
    Ok(Exit::Ok)
}

/// It is the same for all of them: they follow the log together.
fn say_what_is_stuck(one: &DeclaredSaga) {
    if let Some(stuck) = &one.stuck {
        eprintln!("They do not go on: {}.", escape(stuck));
    }
}

fn say_what_has_no_key(one: &DeclaredSaga) {
    if let Some(position) = one.keyless {
        let name = escape(&one.name);
        eprintln!(
            "{name}: the event at position {position} began no instance: expected a text or number of 1 to 512 bytes where `key` looks."
        );
    }
}

fn row(one: &DeclaredSaga) -> Vec<String> {
    vec![
        one.name.clone(),
        one.version.to_string(),
        one.declared_time.clone(),
        one.open.to_string(),
        one.instances.to_string(),
        one.behind.to_string(),
    ]
}
