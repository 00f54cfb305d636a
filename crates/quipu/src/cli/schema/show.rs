//! `quipu schema show`: the versions of a type, or one with its text.

use clap::Args;
use quipu_api::schema::{SchemaLine, SchemaTypeAnswer};

use super::super::client::{Client, Query};
use super::super::count::counted;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::Named;
use super::rules::words;

const HEADER: [&str; 6] = ["VERSION", "NUMBER", "MADE", "OWNER", "DESCRIPTION", "DEPRECATED"];

#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    which: Named,
    /// One version, with its schema
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    version: Option<u32>,
    /// With the schemas that it refers to inside of it
    #[arg(long, requires = "version")]
    bundled: bool,
}

pub fn run(show: Show, client: &Client, out: &mut Out) -> Outcome {
    match show.version {
        Some(version) => {
            let query = if show.bundled { vec![("bundled", "true".to_owned())] } else { Query::new() };
            out.object(&client.json(&show.which.path(&format!("/versions/{version}")), &query)?)?;
            Ok(Exit::Ok)
        }
        None => all(&client.json(&show.which.path(""), &Query::new())?, client, out),
    }
}

fn all(text: &str, client: &Client, out: &mut Out) -> Outcome {
    if out.format != Format::Table {
        out.json(text)?;
        return Ok(Exit::Ok);
    }
    let kind: SchemaTypeAnswer = client.parse(text)?;
    out.table(&HEADER, &kind.versions.iter().map(row).collect::<Vec<_>>())?;
    out.flush()?;
    let [compatibility, enforcement, unknown] = words(kind.rules).map(|own| own.unwrap_or_else(|| "-".to_owned()));
    eprintln!("compatibility {compatibility}, enforcement {enforcement}, unknown {unknown}; - is as the tenant has it");
    eprintln!(
        "{} refused and {} marked since the server has the tenant open",
        counted(kind.refused, "event"),
        kind.marked
    );
    Ok(Exit::Ok)
}

fn row(version: &SchemaLine) -> Vec<String> {
    let SchemaLine { version, id, made, owner, description, deprecated, .. } = version.clone();
    let optional = [owner, description, deprecated].map(Option::unwrap_or_default);
    [version.to_string(), id.to_string(), made].into_iter().chain(optional).collect()
}
