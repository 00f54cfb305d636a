//! `quipu serve`: the production form of the server.

use std::path::PathBuf;

use clap::Args;

use super::config::{self, Config};
use super::exit::{Exit, Failure, Outcome};
use super::host;
use super::output::Out;
use super::tls::Watch;
use quipu_server::Anybody;

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    listening: Listening,
    /// Serve an address that is not of this machine alone without TLS
    #[arg(long)]
    insecure_listen_anywhere: bool,
    /// Show every setting, its value and where that came from, and end
    #[arg(long)]
    print_config: bool,
}

/// Flags that `dev` and `serve` share.
#[derive(Debug, Args)]
pub struct Listening {
    /// The data folder, made if it does not exist [default: quipu-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    #[command(flatten)]
    settings: config::Settings,
}

impl Listening {
    /// The raw configuration of all sources; and warnings.
    pub fn raw(&self, more: Vec<(String, String)>) -> Result<(config::Raw, Vec<String>), Failure> {
        let mut flags = Vec::new();
        flags.extend(self.data.iter().map(|data| ("data".to_owned(), data.to_string_lossy().into_owned())));
        flags.extend(self.listen.iter().map(|listen| ("listen".to_owned(), listen.clone())));
        flags.extend(more);
        self.settings.raw(flags)
    }
}

pub fn run(serve: Serve, out: &mut Out) -> Outcome {
    let more = serve.insecure_listen_anywhere.then(|| ("insecure_listen_anywhere".to_owned(), "true".to_owned()));
    let (raw, warnings) = serve.listening.raw(more.into_iter().collect())?;
    for warning in warnings {
        eprintln!("quipu: {warning}");
    }
    let config = Config::check(&raw)?;
    if serve.print_config {
        config::print(&raw, out)?;
        return Ok(Exit::Ok);
    }
    host::log(&config);
    let anybody = host::anybody(&config);
    let tls = config.tls.clone().map(Watch::begin).transpose()?;
    let asks_clients = tls.as_ref().is_some_and(Watch::asks_clients);
    let providers = host::providers(&config)?;
    let quipu = host::open(&config, anybody, &providers)?;
    let mut host = host::Host::start(&quipu, &config, anybody, providers, tls)?;
    tracing::info!("listening on {}://{}, data in {}", host.scheme(), host.address(), config.data.display());
    if asks_clients {
        tracing::info!("every client needs a certificate");
    }
    match anybody {
        Anybody::None => tracing::info!("every request needs a key or a token"),
        _ => tracing::info!("no keys needed: only this machine reaches the address"),
    }
    let stopped = host.wait();
    host.finish(&quipu, stopped)
}
