//! `quipu catalog …`: one file a verb.

mod declare;
mod export;
mod generate;
mod import;
mod list;

use clap::{Args, Subcommand};

use super::Global;
use super::client::encode;
use super::event::client;
use super::exit::{Exit, Outcome};
use super::output::{Format, Out};

/// Without a verb: the list.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Catalog {
    #[command(subcommand)]
    command: Option<CatalogCommand>,
    #[command(flatten)]
    list: list::List,
}

#[derive(Debug, Subcommand)]
enum CatalogCommand {
    /// List event types: who publishes and who reads them, and where that is not as it was declared
    List(list::List),
    /// Say what a type is, who is meant to publish it and who is meant to read it
    Declare(declare::Declare),
    /// Take back what was declared of a type
    Withdraw(Named),
    /// Write the catalog as an AsyncAPI document or as a flowchart
    Export(export::Export),
    /// Make types, schemas and declarations of an AsyncAPI document; ends with 1 if something was refused
    Import(import::Import),
    /// Write types of a language from the schemas, and where handlers of events begin
    Generate(generate::Generate),
}

/// Which type.
#[derive(Debug, Args)]
pub struct Named {
    /// The type, without a version, such as order.placed
    #[arg(value_name = "TYPE")]
    kind: String,
}

impl Named {
    fn path(&self) -> String {
        format!("/v1/catalog/types/{}", encode(&self.kind))
    }
}

pub fn run(catalog: Catalog, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match catalog.command.unwrap_or(CatalogCommand::List(catalog.list)) {
        CatalogCommand::List(list) => list::run(list, &client, out),
        CatalogCommand::Declare(declare) => declare::run(declare, &client, out),
        CatalogCommand::Export(export) => export::run(export, &client, out),
        CatalogCommand::Import(import) => import::run(&import, &client, out),
        CatalogCommand::Generate(generate) => generate::run(generate, &client, out),
        CatalogCommand::Withdraw(which) => {
            let text = client.delete(&which.path())?;
            match out.format {
                Format::Json | Format::Ndjson => out.json(&text)?,
                Format::Table => out.line(&format!("the declaration of {} was withdrawn", which.kind))?,
            }
            Ok(Exit::Ok)
        }
    }
}
