//! `quipu outbox relay`: runs a relay until it is told to stop, and again whenever the database or the server was away.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use quipu_connect::outbox::{NotRelayed, OnRefused, Relay as Relaying, Target, Until};
use tokio::signal::unix::{SignalKind, signal};

use super::super::Global;
use super::super::client::Client;
use super::super::config::Settings;
use super::super::context;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::folder::{TENANT_DEFAULT, open_existing};
use super::super::output::Out;
use super::target::Folder;
use super::{Where, failure, runtime};

/// A server that has not begun to answer an append after this is taken to be gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Between two tries while something is away: doubled from the first to the last.
const AGAIN_FIRST: Duration = Duration::from_millis(100);
const AGAIN_LAST: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct Relay {
    #[command(flatten)]
    place: Where,
    /// Move events that Quipu refuses to the table quipu_outbox_refused, and go on
    #[arg(long)]
    skip_refused: bool,
    /// End when the outbox is empty
    #[arg(long)]
    once: bool,
    /// Record in this data folder, which no server may use; without it the server records
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A tenant of the folder
    #[arg(long, default_value = TENANT_DEFAULT, requires = "data")]
    tenant: String,
    #[command(flatten)]
    settings: Settings,
}

pub fn run(relay: &Relay, global: &Global, out: &mut Out) -> Outcome {
    match &relay.data {
        None => {
            relay.settings.refuse()?;
            let (url, key) = (context::url(global)?, context::key(global)?);
            go(relay, Client::of_talker(url, key, &context::tls(global)?, SILENCE_MAX), out)
        }
        Some(folder) => {
            let quipu = open_existing(folder, &relay.tenant, &relay.settings)?;
            let exit = go(relay, Folder(quipu.clone()), out)?;
            quipu.close()?;
            Ok(exit)
        }
    }
}

fn go(relay: &Relay, target: impl Target, out: &mut Out) -> Outcome {
    let on_refused = if relay.skip_refused { OnRefused::SetAside } else { OnRefused::Stop };
    let until = if relay.once { Until::Empty } else { Until::Stopped };
    let mut relaying = Relaying::new(relay.place.database()?, target, on_refused);
    let ended = runtime()?.block_on(until_signal(&mut relaying, until));
    out.line(&format!("{} relayed, {} set aside", relaying.relayed, relaying.set_aside))?;
    ended.map(|()| Exit::Ok)
}

async fn until_signal<T: Target>(relaying: &mut Relaying<T>, until: Until) -> Result<(), Failure> {
    let failed = |error| Failure::failed(format!("cannot handle signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        // An append is no place to stop at: it is made to its end or not begun.
        ended = relay(relaying, until) => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

async fn relay<T: Target>(relaying: &mut Relaying<T>, until: Until) -> Result<(), Failure> {
    let mut again = AGAIN_FIRST;
    loop {
        let before = relaying.relayed;
        match relaying.run(until).await {
            Ok(()) => return Ok(()),
            // What was there once comes back; what never was is a mistyped URL.
            Err(NotRelayed::Interrupted(reason)) if relaying.has_connected => {
                if relaying.relayed > before {
                    again = AGAIN_FIRST;
                }
                eprintln!("{}: {reason}; again in {} ms", relaying.database(), again.as_millis());
                tokio::time::sleep(again).await;
                again = AGAIN_LAST.min(again * 2);
            }
            Err(reason) => return Err(failure(relaying.database(), &reason)),
        }
    }
}
