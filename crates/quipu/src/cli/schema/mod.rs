//! `quipu schema …`: one file a verb. Schemas come from files and go to standard output as they are, so that they live in a
//! repository and are checked there.

mod check;
mod deprecate;
mod diff;
mod infer;
mod list;
mod place;
mod proposal;
mod register;
mod remove;
mod rules;
mod sarif;
mod show;
mod upcast;
mod verify;

use clap::{Args, Subcommand};

use super::Global;
use super::client::encode;
use super::event::client;
use super::exit::Outcome;
use super::output::Out;

#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// Register a version of the schema of a type; the same again changes nothing
    Register(Box<register::Register>),
    /// List types with their versions and rules, and how many events were refused
    List(list::List),
    /// Show the versions of a type, or one of them with its schema
    Show(show::Show),
    /// See what a version changed, field by field
    Diff(diff::Diff),
    /// See whether a schema could be registered; ends with 7 if not
    Check(Box<check::Check>),
    /// Say that nobody should begin with a version any more
    Deprecate(deprecate::Deprecate),
    /// Remove a version that no event has and no schema refers to
    Remove(Numbered),
    /// Show the rules of a type, or of the tenant, or change those that are named
    Rules(rules::Rules),
    /// Say how data of a version is made of that of the one before
    Upcast(upcast::Upcast),
    /// Read all stored events of a type as its newest version; ends with 1 if one cannot be
    Verify(verify::Verify),
    /// Propose a schema that fits all stored events of a type
    Infer(Named),
}

/// Which type.
#[derive(Debug, Args)]
pub struct Named {
    /// The type, without a version, such as order.placed
    #[arg(value_name = "TYPE")]
    kind: String,
}

/// Which version.
#[derive(Debug, Args)]
pub struct Numbered {
    #[command(flatten)]
    which: Named,
    /// The version
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    version: u32,
}

impl Named {
    /// Its route; `tail` is "" or begins with a slash.
    fn path(&self, tail: &str) -> String {
        format!("/v1/schemas/{}{tail}", encode(&self.kind))
    }
}

impl Numbered {
    fn path(&self, tail: &str) -> String {
        self.which.path(&format!("/versions/{}{tail}", self.version))
    }
}

pub fn run(command: SchemaCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match command {
        SchemaCommand::Register(register) => register::run(*register, &client, out),
        SchemaCommand::List(list) => list::run(list, &client, out),
        SchemaCommand::Show(show) => show::run(show, &client, out),
        SchemaCommand::Diff(diff) => diff::run(&diff, &client, out),
        SchemaCommand::Check(check) => check::run(*check, &client, out),
        SchemaCommand::Deprecate(deprecate) => deprecate::run(&deprecate, &client, out),
        SchemaCommand::Remove(which) => remove::run(&which, &client, out),
        SchemaCommand::Rules(rules) => rules::run(&rules, &client, out),
        SchemaCommand::Upcast(upcast) => upcast::run(&upcast, &client, out),
        SchemaCommand::Verify(verify) => verify::run(&verify, &client, out),
        SchemaCommand::Infer(which) => infer::run(&which, &client, out),
    }
}
