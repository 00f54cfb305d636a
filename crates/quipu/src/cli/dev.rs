//! `quipu dev`: a server to try things out, with a banner that says where everything is, and on request with data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use clap::Args;
use quipu::Quipu;

use super::config::Config;
use super::demo::{self, Trickle};
use super::exit::{Failure, Outcome};
use super::host::{self, Host};
use super::serve::Listening;
use super::tls::Watch;
use quipu_server::Anybody;

#[derive(Debug, Args)]
pub struct Dev {
    #[command(flatten)]
    listening: Listening,
    /// Load 329 GitHub webhook events, and place orders for as long as it runs
    #[arg(long)]
    demo: bool,
    /// Use a folder that is deleted at the end
    #[arg(long, conflicts_with = "data")]
    temporary: bool,
}

pub fn run(dev: Dev) -> Outcome {
    let temporary = if dev.temporary {
        let made = tempfile::Builder::new().prefix("quipu-").tempdir();
        Some(made.map_err(|error| Failure::file("make", "a temporary folder", &error))?)
    } else {
        None
    };
    let folder = temporary.iter().map(|folder| ("data".to_owned(), folder.path().to_string_lossy().into_owned()));
    let (raw, warnings) = dev.listening.raw(folder.collect())?;
    for warning in warnings {
        eprintln!("quipu: {warning}");
    }
    let config = Config::check(&raw)?;
    host::log(&config);
    // Whoever tries things out on an open address has been told what that means.
    let anybody = if config.insecure_listen_anywhere { Anybody::All } else { host::anybody(&config) };
    let tls = config.tls.clone().map(Watch::begin).transpose()?;
    let providers = host::providers(&config)?;
    let quipu = host::open(&config, anybody, &providers)?;
    let mut host = Host::start(&quipu, &config, anybody, providers, tls)?;
    banner(&host, &config.data, dev.temporary, anybody != Anybody::None);
    let trickle = if dev.demo { Some(start_demo(&quipu, &host)?) } else { None };
    eprintln!("Ctrl-C stops the server.");
    let stopped = host.wait();
    // The orders stop before the store closes, or the last one would fail.
    drop(trickle);
    let outcome = host.finish(&quipu, stopped);
    drop(temporary);
    outcome
}

fn start_demo(quipu: &Quipu, host: &Host) -> Result<Trickle, Failure> {
    let counts = demo::load(quipu)?;
    let trickle = Trickle::start(quipu.clone());
    let (recorded, duplicates) = (counts.recorded, counts.duplicates);
    eprintln!("  demo      329 GitHub events: {recorded} recorded, {duplicates} duplicates");
    eprintln!("            and an order about every two seconds, until it stops");
    eprintln!();
    try_next(host, &trickle.first_order_id());
    Ok(trickle)
}

fn banner(host: &Host, data: &Path, is_temporary: bool, takes_anybody: bool) {
    let address = here(host.address());
    let scheme = host.scheme();
    let url = format!("{scheme}://{address}");
    let socket = if scheme == "https" { "wss" } else { "ws" };
    let absolute = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let persistence =
        if is_temporary { "deleted when the server stops" } else { "kept: the next start goes on with it" };
    eprintln!("quipu {} is up, {}", env!("CARGO_PKG_VERSION"), openness(host.address(), takes_anybody));
    eprintln!();
    eprintln!("  API       {url}/v1/events");
    eprintln!("  OpenAPI   {url}/openapi.json");
    eprintln!("  tail      {url}/v1/tail (server-sent events)");
    eprintln!("  ws        {socket}://{address}/v1/ws (subprotocol cloudevents.json)");
    eprintln!("  health    {url}/health/ready");
    eprintln!("  data      {} ({persistence})", absolute.display());
}

/// Who may use a server that listens there.
fn openness(address: SocketAddr, takes_anybody: bool) -> String {
    if !takes_anybody {
        return "and every request needs a key".into();
    }
    if address.ip().is_loopback() {
        return "no credentials needed on this machine".into();
    }
    format!("without credentials: whoever reaches {address} may read and write everything")
}

/// Where it is reached on this machine, also if it listens on all addresses.
fn here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Commands that work as they stand, whichever way the binary was started.
fn try_next(host: &Host, order_id: &str) {
    let quipu = std::env::current_exe().map_or("quipu".into(), |path| short(&path));
    let url = format!("{}://{}", host.scheme(), here(host.address()));
    let flag = if url == super::context::URL_DEFAULT { String::new() } else { format!(" --url {url}") };
    eprintln!("Try, in another terminal:");
    eprintln!("  {quipu}{flag} event tail");
    eprintln!("  {quipu}{flag} event list --type 'com.github.issues.*'");
    eprintln!("  {quipu}{flag} stream read issues/1");
    eprintln!("  {quipu}{flag} event trace --source /shop --id {order_id}");
    eprintln!("  {quipu}{flag} store stats");
    eprintln!("  curl -N {url}/v1/tail");
    if host.scheme() == "https" {
        eprintln!(
            "Each with --ca-file FILE (curl: --cacert FILE) unless this machine trusts who vouches for the certificate,"
        );
        eprintln!("and with a name that stands in it.");
    }
    eprintln!();
}

/// The path of the binary as it would be typed in the current folder.
fn short(path: &Path) -> String {
    let relative =
        std::env::current_dir().ok().and_then(|folder| path.strip_prefix(folder).ok().map(Path::to_path_buf));
    relative.map_or_else(|| path.display().to_string(), |relative| format!("./{}", relative.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_does_not_promise_what_the_address_does_not_keep() {
        for (address, at, words) in [
            ("127.0.0.1:7070", "127.0.0.1:7070", "no credentials needed on this machine"),
            ("0.0.0.0:7070", "127.0.0.1:7070", "whoever reaches 0.0.0.0:7070 may read and write everything"),
            ("[::]:1", "[::1]:1", "whoever reaches [::]:1 may"),
            ("10.0.0.7:1", "10.0.0.7:1", "whoever reaches 10.0.0.7:1 may"),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(here(address).to_string(), at);
            assert!(openness(address, true).contains(words), "{}", openness(address, true));
            assert!(openness(address, false).contains("needs a key"));
        }
    }
}
