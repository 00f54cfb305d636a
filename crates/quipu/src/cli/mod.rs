//! The command line: noun, then verb. Data goes to standard output, everything else to standard error.

mod audit;
mod baseline;
mod bulk;
mod catalog;
mod client;
mod config;
mod confirm;
mod context;
mod count;
mod deadletter;
mod demo;
mod dev;
mod duration;
mod event;
mod exit;
mod filter;
mod folder;
mod host;
mod indent;
mod input;
mod key;
mod members;
mod operation;
mod outbox;
mod output;
mod paging;
mod pattern;
mod progress;
mod projection;
mod replay;
mod saga;
mod schedule;
mod schema;
mod secret;
mod serve;
mod sse;
mod store;
mod stream;
mod subscription;
mod tenant;
mod timer;
mod tls;

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use exit::{Exit, Failure, Outcome};
use output::{Format, Out};

/// An event store that starts with one command.
#[derive(Debug, Parser)]
#[command(name = "quipu", version, max_term_width = 100, after_long_help = Exit::table())]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
struct Global {
    /// The form of the data on standard output
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    output: Format,
    /// The server [default: QUIPU_URL, or the context in use, or http://127.0.0.1:7070]
    #[arg(long, global = true, value_name = "URL", conflicts_with = "context")]
    url: Option<String>,
    /// A named server; see `quipu context`
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// A file with the key to use [default: QUIPU_KEY_FILE, or the key itself in QUIPU_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A file with authorities to believe beside those of this machine, PEM [default: QUIPU_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A file with the certificate to show, PEM [default: QUIPU_CERTIFICATE_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    certificate_file: Option<PathBuf>,
    /// A file with its private key, PEM [default: QUIPU_CERTIFICATE_KEY_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    certificate_key_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a server to try things out
    Dev(dev::Dev),
    /// Start a server for production
    #[command(after_long_help = config::help())]
    Serve(serve::Serve),
    /// Publish, list, show, trace and follow events
    #[command(subcommand)]
    Event(event::EventCommand),
    /// Publish events later, and see and cancel what waits
    #[command(subcommand)]
    Timer(timer::TimerCommand),
    /// Publish events again and again, at times or at a rate
    #[command(subcommand)]
    Schedule(schedule::ScheduleCommand),
    /// Read and list streams
    #[command(subcommand)]
    Stream(stream::StreamCommand),
    /// Test event patterns
    #[command(subcommand)]
    Pattern(pattern::PatternCommand),
    /// Register, compare, check and propose schemas of event types
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    /// Relay events from an outbox in a PostgreSQL database, each once
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
    /// See event types, who publishes and who reads them; declare them
    Catalog(catalog::Catalog),
    /// Declare projections, ask their tables, and release changed ones
    #[command(subcommand)]
    Projection(projection::ProjectionCommand),
    /// Record what projections are, to hold them against it later
    #[command(subcommand)]
    Baseline(baseline::BaselineCommand),
    /// Declare sagas, see their instances and why they stand still, and intervene
    #[command(subcommand)]
    Saga(saga::SagaCommand),
    /// Declare rules: an event is published for another
    #[command(subcommand)]
    Rule(saga::RuleCommand),
    /// Declare expectations: an event has to follow another in time
    #[command(subcommand)]
    Expect(saga::ExpectCommand),
    /// Make, move and explain subscriptions; fetch and answer deliveries
    #[command(subcommand)]
    Subscription(subscription::SubscriptionCommand),
    /// See deliveries that were given up, and decide about them
    #[command(name = "deadletter", subcommand)]
    DeadLetter(deadletter::DeadLetterCommand),
    /// See how far operations on many dead letters and replays are, and cancel them
    #[command(subcommand)]
    Operation(operation::OperationCommand),
    /// Deliver events of the log once more, to a subscription, a shadow, a projection or a file
    Replay(Box<replay::Replay>),
    /// Make and revoke keys: who may call the server, and what each may do
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// See who administered a tenant and who was refused, and verify that nothing of it was changed
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Make, suspend, limit, export and delete tenants, as an operator
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Check, measure, copy and fill a data folder
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Name servers and choose one
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the OpenAPI document
    Openapi,
    /// Show what the exit codes mean
    #[command(long_about = Exit::table())]
    ExitCodes,
}

/// Runs the command that the process was started with.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no error. Whoever reads them may have enough.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    let mut out = Out::new(cli.global.output);
    let outcome = run(cli, &mut out).and_then(|exit| {
        out.flush()?;
        Ok(exit)
    });
    match outcome {
        Ok(exit) => exit,
        Err(Failure::BrokenPipe) => Exit::Ok,
        Err(Failure::Said { exit, message }) => {
            // What was printed before the failure is still data.
            let _ = out.flush();
            eprintln!("quipu: {message}");
            exit
        }
    }
}

fn run(cli: Cli, out: &mut Out) -> Outcome {
    let global = cli.global;
    match cli.command {
        Command::Dev(dev) => dev::run(dev),
        Command::Serve(serve) => serve::run(serve, out),
        Command::Event(command) => event::run(command, &global, out),
        Command::Timer(command) => timer::run(command, &global, out),
        Command::Schedule(command) => schedule::run(command, &global, out),
        Command::Stream(command) => stream::run(command, &global, out),
        Command::Pattern(command) => pattern::run(command, out),
        Command::Schema(command) => schema::run(command, &global, out),
        Command::Outbox(command) => outbox::run(command, &global, out),
        Command::Catalog(catalog) => catalog::run(catalog, &global, out),
        Command::Projection(command) => projection::run(command, &global, out),
        Command::Baseline(command) => baseline::run(command, &global, out),
        Command::Saga(command) => saga::run(command, &global, out),
        Command::Rule(command) => saga::run_rule(command, &global, out),
        Command::Expect(command) => saga::run_expect(command, &global, out),
        Command::Subscription(command) => subscription::run(command, &global, out),
        Command::DeadLetter(command) => deadletter::run(command, &global, out),
        Command::Operation(command) => operation::run(command, &global, out),
        Command::Replay(replay) => replay::run(*replay, &global, out),
        Command::Key(command) => key::run(command, &global, out),
        Command::Audit(command) => audit::run(command, &global, out),
        Command::Tenant(command) => tenant::run(command, &global, out),
        Command::Store(command) => store::run(command, &global, out),
        Command::Context(command) => context::run(command, out),
        Command::Completions { shell } => completions(shell, out),
        Command::Openapi => openapi(out),
        Command::ExitCodes => {
            out.line(Exit::table().trim_end())?;
            Ok(Exit::Ok)
        }
    }
}

/// Through a buffer, since the generator panics if it cannot write.
fn completions(shell: Shell, out: &mut Out) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "quipu", &mut script);
    io::Write::write_all(out, &script)?;
    Ok(Exit::Ok)
}

fn openapi(out: &mut Out) -> Outcome {
    out.document(&quipu_api::openapi())?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_pages_say_what_the_tables_say() {
        let page = include_str!("../../../../docs/command-line.md");
        for line in Exit::table().lines().skip(1) {
            let (code, meaning) = line.trim().split_once("  ").unwrap();
            assert!(page.contains(&format!("| {code} | {meaning} |")), "{line}");
        }
        let page = include_str!("../../../../docs/configuration.md");
        for config::Key { name, default, unit, reason, .. } in config::KEYS {
            assert!(page.contains(&format!("| `{name}` | `{default}` | {unit} | {reason} |")), "{name}");
        }
    }

    #[test]
    fn every_command_of_the_catalogue_is_there() {
        let cli = Cli::command();
        for command in quipu_api::OPERATIONS.iter().filter_map(|operation| operation.command) {
            let found = command.split(' ').try_fold(&cli, |noun, word| noun.find_subcommand(word));
            assert!(found.is_some(), "{command}");
        }
    }

    #[test]
    fn every_command_is_on_the_page() {
        let page = include_str!("../../../../docs/command-line.md");
        for noun in Cli::command().get_subcommands().filter(|noun| noun.get_name() != "exit-codes") {
            let name = format!("quipu {}", noun.get_name());
            assert!(page.contains(&name), "{name}");
            for verb in noun.get_subcommands() {
                assert!(page.contains(verb.get_name()), "{name} {}", verb.get_name());
            }
        }
    }
}
