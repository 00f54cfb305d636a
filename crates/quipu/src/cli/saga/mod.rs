//! `quipu saga …`, `quipu rule …` and `quipu expect …`: what is declared, and its instances. Declarations come from files, so that they
//! live in a repository.

mod act;
mod apply;
mod bulk;
mod declared;
mod instance;
mod instances;
mod timeline;
mod what_if;

use clap::{Args, Subcommand};
use quipu_api::intervention::ActWord;

use super::Global;
use super::client::{Client, encode};
use super::event::client;
use super::exit::{Exit, Outcome};
use super::output::Out;
use super::secret::{self, SecretCommand};

#[derive(Debug, Subcommand)]
pub enum SagaCommand {
    /// Declare a saga, or change it: open instances go on with what they began with
    Apply(apply::Apply),
    /// List sagas and how many instances each has
    List,
    /// Show a saga and what was declared
    Show(Named),
    /// Forget a saga that has no open instances
    Remove(Named),
    /// Print a saga as a flowchart of Mermaid
    Diagram(Named),
    /// Say which instances would have ended otherwise with a changed saga; exit code 1 if any would, or nobody knows
    WhatIf(what_if::WhatIf),
    /// List instances: of sagas, rules and expectations, the newest first
    Instances(Box<instances::Instances>),
    /// Show an instance, what it waits for and what may be done to it
    Instance(instance::Numbered),
    /// Show what made an instance what it is
    Timeline(instance::Numbered),
    /// Say in sentences what an instance waits for
    Explain(instance::Numbered),
    /// Have an instance undo what it did, and end; or with --all many
    Cancel(Box<act::Act>),
    /// Stop an instance for a while, or with --all many
    Pause(Box<act::Act>),
    /// Let a paused instance go on, or with --all many
    Resume(Box<act::Act>),
    /// Try again what an instance asks about, or go on again from a step; or with --all many
    Retry(Box<act::Retry>),
    /// Go on without what an instance asks about, or with --all many
    Skip(Box<act::Decide>),
    /// Take what an instance asks about as done by hand, or with --all many
    Resolve(Box<act::Decide>),
    /// See or replace what calls of a saga are signed with
    #[command(subcommand)]
    Secret(SecretCommand),
}

#[derive(Debug, Subcommand)]
pub enum RuleCommand {
    /// Declare a rule, or change it
    Apply(apply::Apply),
    /// List rules
    List,
    /// Show a rule and what was declared
    Show(Named),
    /// Forget a rule
    Remove(Named),
}

#[derive(Debug, Subcommand)]
pub enum ExpectCommand {
    /// Declare an expectation, or change it
    Apply(apply::Apply),
    /// List expectations and how many instances each has
    List,
    /// Show an expectation and what was declared
    Show(Named),
    /// Forget an expectation that has no open instances
    Remove(Named),
}

/// Which saga, rule or expectation.
#[derive(Debug, Args)]
pub struct Named {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

/// Which of the three.
#[derive(Clone, Copy)]
pub enum Kind {
    Saga,
    Rule,
    Expectation,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Saga => "saga",
            Self::Rule => "rule",
            Self::Expectation => "expectation",
        }
    }

    /// The route of all of them.
    fn route(self) -> &'static str {
        match self {
            Self::Saga => "/v1/sagas",
            Self::Rule => "/v1/rules",
            Self::Expectation => "/v1/expectations",
        }
    }

    /// The route of one.
    fn path(self, name: &str) -> String {
        format!("{}/{}", self.route(), encode(name))
    }
}

pub fn run(command: SagaCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match command {
        SagaCommand::Apply(apply) => apply::run(&apply, Kind::Saga, &client, out),
        SagaCommand::List => declared::list(Kind::Saga, &client, out),
        SagaCommand::Show(which) => declared::show(Kind::Saga, &which.name, &client, out),
        SagaCommand::Remove(which) => declared::remove(Kind::Saga, &which.name, &client, out),
        SagaCommand::Diagram(which) => diagram(&which, &client, out),
        SagaCommand::WhatIf(what_if) => what_if::run(what_if, &client, out),
        SagaCommand::Instances(instances) => instances::run(*instances, &client, out),
        SagaCommand::Instance(which) => instance::run(which, &client, out),
        SagaCommand::Timeline(which) => timeline::run(which, &client, out),
        SagaCommand::Explain(which) => instance::explain(which, &client, out),
        SagaCommand::Cancel(act) => act::run(ActWord::Cancel, *act, &client, out),
        SagaCommand::Pause(act) => act::run(ActWord::Pause, *act, &client, out),
        SagaCommand::Resume(act) => act::run(ActWord::Resume, *act, &client, out),
        SagaCommand::Retry(retry) => act::retry(*retry, &client, out),
        SagaCommand::Skip(decide) => act::decide(ActWord::Skip, *decide, &client, out),
        SagaCommand::Secret(command) => secret::run(command, Kind::Saga.route(), &client, out),
        SagaCommand::Resolve(decide) => act::decide(ActWord::Resolve, *decide, &client, out),
    }
}

pub fn run_rule(command: RuleCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match command {
        RuleCommand::Apply(apply) => apply::run(&apply, Kind::Rule, &client, out),
        RuleCommand::List => declared::list(Kind::Rule, &client, out),
        RuleCommand::Show(which) => declared::show(Kind::Rule, &which.name, &client, out),
        RuleCommand::Remove(which) => declared::remove(Kind::Rule, &which.name, &client, out),
    }
}

pub fn run_expect(command: ExpectCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match command {
        ExpectCommand::Apply(apply) => apply::run(&apply, Kind::Expectation, &client, out),
        ExpectCommand::List => declared::list(Kind::Expectation, &client, out),
        ExpectCommand::Show(which) => declared::show(Kind::Expectation, &which.name, &client, out),
        ExpectCommand::Remove(which) => declared::remove(Kind::Expectation, &which.name, &client, out),
    }
}

fn diagram(which: &Named, client: &Client, out: &mut Out) -> Outcome {
    let path = format!("{}/diagram", Kind::Saga.path(&which.name));
    let answer = client.get(&super::client::Get { path: &path, query: &Vec::new(), headers: &[] })?;
    let chart = client.read(answer)?;
    out.line(chart.trim_end())?;
    Ok(Exit::Ok)
}
