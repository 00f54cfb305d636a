//! `quipu replay`: events of the log once more. To a subscription it is an operation of the server, which goes on without this
//! command; a projection is rebuilt in a sandbox, which is a verification; a file is written here.

mod file;
mod pace;
mod range;
mod standing;

use std::io;

use clap::Args;
use quipu_api::replay::{ReplayPreviewAnswer, ReplayRequest, ShadowBody, TypeCountBody};
use quipu_api::{OperationAnswer, replay::ReplayFailureBody};
use quipu_domain::StartAt;
use serde_json::value::RawValue;

use super::Global;
use super::client::Client;
use super::confirm::Confirm;
use super::count::counted;
use super::event::client;
use super::exit::{Exit, Failure, Outcome};
use super::operation::{ended, progress, watch};
use super::output::{Format, Out, escape};
use super::projection::verify;
use super::subscription::start::start_at;
use pace::Pace;

const TYPES: [&str; 2] = ["TYPE", "EVENTS"];
const FAILURES: [&str; 3] = ["POSITION", "TYPE", "PROBLEM"];

#[derive(Debug, Args)]
pub struct Replay {
    /// Where to: NAME or subscription:NAME, shadow:NAME, projection:NAME, or file:PATH
    #[arg(long, value_name = "TARGET", value_parser = target)]
    to: Target,
    /// With shadow: the subscription that it is made like, but for its endpoint
    #[arg(long, value_name = "NAME")]
    of: Option<String>,
    /// The first event: beginning, a position or a time
    #[arg(long, value_name = "START", value_parser = start_at)]
    from: Option<StartAt>,
    /// The last event: now, a position, or a time before which it was recorded
    #[arg(long, value_name = "END", value_parser = start_at)]
    until: Option<StartAt>,
    /// Which events: an EventBridge pattern, JSON or @FILE
    #[arg(long, value_name = "JSON")]
    pattern: Option<String>,
    /// Which events: of this type; given twice, of any of them
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "pattern")]
    types: Vec<String>,
    /// max, a rate such as 500/s, or a speed such as 1x [default: max]
    #[arg(long, value_name = "PACE", value_parser = pace::pace, default_value = "max", hide_default_value = true)]
    pace: Pace,
    /// Every event waits for the one before it, whatever the order of the subscription is
    #[arg(long)]
    strict: bool,
    /// Call the endpoint of the subscription, if it has one
    #[arg(long)]
    allow_webhooks: bool,
    /// Only count: for each type, and what schemas say
    #[arg(long)]
    dry_run: bool,
    /// Leave it to the server; `quipu operation watch` follows it
    #[arg(long)]
    detach: bool,
    /// With file: go on behind the last whole line that is there
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Subscription(String),
    Shadow(String),
    Projection(String),
    File(String),
}

fn target(text: &str) -> Result<Target, String> {
    let (kind, name) = text.split_once(':').unwrap_or(("subscription", text));
    let of = match kind {
        "subscription" => Target::Subscription,
        "shadow" => Target::Shadow,
        "projection" => Target::Projection,
        "file" => Target::File,
        _ => return Err("expected subscription:, shadow:, projection: or file: before the name".to_owned()),
    };
    if name.is_empty() { Err("expected a name, found none".to_owned()) } else { Ok(of(name.to_owned())) }
}

pub fn run(replay: Replay, global: &Global, out: &mut Out) -> Outcome {
    replay.check()?;
    let client = client(global)?;
    match &replay.to {
        Target::Projection(name) => verify::run(&verify::Verify::of(name.clone()), &client, out),
        Target::File(path) => {
            let (from, until) = (replay.from.clone(), replay.until.clone());
            let pattern = replay.pattern()?;
            let asked = file::Asked { path, from, until, pattern, pace: replay.pace, is_resumed: replay.resume };
            file::run(&asked, replay.dry_run, &client, out)
        }
        Target::Subscription(_) | Target::Shadow(_) => deliver(&replay, &client, out),
    }
}

impl Replay {
    /// A flag that means nothing for the target would be a wish that nobody hears.
    fn check(&self) -> Result<(), Failure> {
        let is = |kind: fn(&Target) -> bool| kind(&self.to);
        let to_file = is(|to| matches!(to, Target::File(_)));
        let to_shadow = is(|to| matches!(to, Target::Shadow(_)));
        let to_projection = is(|to| matches!(to, Target::Projection(_)));
        let is_narrowed =
            self.from.is_some() || self.until.is_some() || self.pattern.is_some() || !self.types.is_empty();
        if to_projection && (is_narrowed || self.pace != Pace::Max || self.dry_run) {
            let why = "a projection is rebuilt from the whole log, beside the one that answers, as fast as it goes: expected no \
                       --from, --until, --pattern, --type, --pace or --dry-run with projection:";
            return Err(Failure::usage(why));
        }
        for (flag, is_given, fits, target) in [
            ("--of", self.of.is_some(), to_shadow, "shadow:"),
            ("--resume", self.resume, to_file, "file:"),
            ("--strict", self.strict, !to_file && !to_projection, "a subscription"),
            ("--allow-webhooks", self.allow_webhooks, !to_file && !to_projection, "a subscription"),
            ("--detach", self.detach, !to_file && !to_projection, "a subscription"),
            ("--yes", self.confirm.is_given(), !to_file && !to_projection, "a subscription"),
        ] {
            if is_given && !fits {
                return Err(Failure::usage(format!("{flag}: expected it with {target}, found another target")));
            }
        }
        if self.resume && self.dry_run {
            return Err(Failure::usage("--resume: expected it without --dry-run, which counts the whole range"));
        }
        Ok(())
    }

    fn pattern(&self) -> Result<Option<Box<RawValue>>, Failure> {
        let text = match self.pattern.as_deref() {
            None if self.types.is_empty() => return Ok(None),
            None => serde_json::json!({ "type": self.types }).to_string(),
            Some(text) => match text.strip_prefix('@') {
                None => text.to_owned(),
                Some(path) => std::fs::read_to_string(path)
                    .map_err(|error| Failure::failed(format!("{path}: cannot be read: {error}")))?,
            },
        };
        let expected = |error| Failure::usage(format!("--pattern: expected JSON: {error}"));
        serde_json::from_str(&text).map(Some).map_err(expected)
    }

    fn request(&self) -> Result<ReplayRequest, Failure> {
        let (to, shadow) = match &self.to {
            Target::Shadow(name) => (name, Some(ShadowBody { of: self.of.clone() })),
            Target::Subscription(name) | Target::Projection(name) | Target::File(name) => (name, None),
        };
        Ok(ReplayRequest {
            to: to.clone(),
            shadow,
            from: self.from.clone().unwrap_or(StartAt::Beginning),
            until: self.until.clone().unwrap_or(StartAt::Now),
            pattern: self.pattern()?,
            strict: self.strict,
            rate_per_second: self.pace.rate(),
            speed: self.pace.speed(),
            webhooks: self.allow_webhooks,
        })
    }
}

/// Previews, asks, confirms, and waits for the verdict.
fn deliver(replay: &Replay, client: &Client, out: &mut Out) -> Outcome {
    let preview: ReplayPreviewAnswer = client.parse(&client.send("/v1/replays", &replay.request()?)?)?;
    let id = preview.operation.id;
    let stays = replay.dry_run || !replay.confirm.is_possible();
    show(&preview, stays, out)?;
    // The preview is forgotten by itself; this is sooner.
    let until = &preview.confirm_before;
    let forget = || {
        if let Err(Failure::Said { message, .. }) = client.act(&format!("/v1/operations/{id}/cancel")) {
            eprintln!(
                "the preview, operation {id}, could not be taken back and stays for 15 minutes, until {until}: {message}; who \
                 may redrive for all subscriptions ends it sooner: quipu operation cancel {id}"
            );
        }
    };
    if replay.dry_run {
        forget();
        return Ok(Exit::Ok);
    }
    let OperationAnswer { total, .. } = preview.operation;
    let (Target::Subscription(name) | Target::Shadow(name) | Target::Projection(name) | Target::File(name)) =
        &replay.to;
    replay.confirm.ask(&format!("deliver {} to {name}", counted(total, "event"))).inspect_err(|_| forget())?;
    let begun: OperationAnswer = client.parse(&client.act(&format!("/v1/operations/{id}/confirm"))?)?;
    if !replay.detach {
        return ended(&watch(id, client)?, out);
    }
    match out.format {
        Format::Table => out.line(&format!("operation {id} begins; to follow it: quipu operation watch {id}"))?,
        Format::Json | Format::Ndjson => out.document(&begun)?,
    }
    Ok(Exit::Ok)
}

/// The counts; as data only if it stays at them, since standard output is one document.
fn show(preview: &ReplayPreviewAnswer, stays: bool, out: &mut Out) -> Result<(), Failure> {
    match out.format {
        Format::Table => {
            type_counts(&preview.types, preview.other_types, out)?;
            if preview.failing > 0 {
                let row = |of: &ReplayFailureBody| vec![of.position.to_string(), of.kind.clone(), escape(&of.detail)];
                out.table(&FAILURES, &preview.failures.iter().map(row).collect::<Vec<_>>())?;
                let failing = counted(preview.failing, "event");
                out.line(&format!("{failing} not as their schema wants them; the first are above"))?;
            }
            let endpoint = if preview.calls_endpoint { "; its endpoint is called" } else { "" };
            out.line(&format!("{} in all{endpoint}", counted(preview.operation.total, "event")))?;
        }
        Format::Json | Format::Ndjson if stays => out.document(preview)?,
        Format::Json | Format::Ndjson => eprintln!("{}", progress(&preview.operation)),
    }
    out.flush()?;
    Ok(())
}

/// The counts of types for people.
fn type_counts(types: &[TypeCountBody], others: u64, out: &mut Out) -> io::Result<()> {
    let row = |of: &TypeCountBody| vec![of.kind.clone(), of.events.to_string()];
    out.table(&TYPES, &types.iter().map(row).collect::<Vec<_>>())?;
    if others > 0 {
        out.line(&format!("{} of further types", counted(others, "event")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_name_or_says_what_it_is() {
        for (text, expected) in [
            ("billing", Target::Subscription("billing".into())),
            ("subscription:billing", Target::Subscription("billing".into())),
            ("shadow:b", Target::Shadow("b".into())),
            ("projection:orders", Target::Projection("orders".into())),
            ("file:/tmp/a:b", Target::File("/tmp/a:b".into())),
        ] {
            assert_eq!(target(text), Ok(expected), "{text}");
        }
        for text in ["", "shadow:", "queue:a"] {
            assert!(target(text).is_err(), "{text}");
        }
    }
}
