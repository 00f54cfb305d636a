//! The server in this process: an open store, a listener, and a clean end on SIGINT or SIGTERM. `dev` and `serve`
//! differ only in what they say around it.

use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use quipu::Quipu;
use quipu_server::{Anybody, Providers, Server};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::config::Config;
use super::exit::{Exit, Failure, Outcome};
use super::folder::{TENANT_DEFAULT, opening};
use super::progress;
use super::tls::Watch;

/// A server that runs.
pub struct Host {
    runtime: Runtime,
    address: SocketAddr,
    is_secure: bool,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
    interrupt: Signal,
    terminate: Signal,
}

/// Why a host stops.
#[derive(Debug)]
pub enum Stopped {
    /// Somebody asked for it.
    Signal,
    /// The listener does not work any more.
    Server(io::Error),
}

/// Logs go to standard error, from the configured level on.
pub fn log(config: &Config) {
    // It fails only if a subscriber is set already, which then logs.
    let _ = tracing_subscriber::fmt().with_writer(io::stderr).with_target(false).with_max_level(config.log).try_init();
}

/// Connections, segments and index runs each hold a file open, and the usual soft limit of 1,024 is soon reached: a
/// segment that cannot be made stops all appends.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}

/// Reads whose tokens are taken.
pub fn providers(config: &Config) -> Result<Providers, Failure> {
    let Some(path) = &config.identity_providers else { return Ok(Providers::default()) };
    let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path.display(), &error))?;
    Providers::from_json(&text).map_err(|invalid| Failure::usage(format!("{}: {invalid}", path.display())))
}

/// Opens the store. An address that others can reach is refused before anything is touched, and where nobody is taken without
/// a credential there has to be one.
pub fn open(config: &Config, anybody: Anybody, providers: &Providers) -> Result<Quipu, Failure> {
    if !config.listen.ip().is_loopback() && config.tls.is_none() && !config.insecure_listen_anywhere {
        return Err(Failure::usage(format!(
            "listen: expected an address of this machine alone, such as 127.0.0.1:7070, or TLS, found {} without it: \
             whoever listens on the network would see keys and events. Give the server a certificate \
             (tls_certificate_file and tls_key_file), or let a proxy on this machine speak TLS for it (public_hosts). If it is \
             meant as it is, say quipu serve --insecure-listen-anywhere, or in any case --set insecure_listen_anywhere=true",
            config.listen
        )));
    }
    raise_file_limit();
    let quipu = progress::saying(&opening(&config.data), || Quipu::open_with(&config.data, config.options()))?;
    if let Some(torn) = quipu.torn_tail() {
        tracing::warn!(
            "the last stop was no clean one: {} bytes at the end of {} were no whole commit, and nothing says that they were acknowledged; they \
             were cut off and are kept in {}",
            torn.bytes,
            torn.path,
            torn.kept
        );
    }
    if anybody == Anybody::None
        && providers.is_empty()
        && let Err(failure) = has_keys(&quipu, config)
    {
        quipu.close()?;
        return Err(failure);
    }
    Ok(quipu)
}

/// Who is let in without a key: whoever is on this machine, if only this machine reaches the server. What a proxy passes on
/// comes from anywhere.
pub fn anybody(config: &Config) -> Anybody {
    let anybody = Anybody::OfThisMachine;
    match !config.needs_keys && anybody.is_let_in(config.listen.ip(), &config.public_hosts) {
        true => anybody,
        false => Anybody::None,
    }
}

/// Refuses to serve to those who would all be refused.
fn has_keys(quipu: &Quipu, config: &Config) -> Result<(), Failure> {
    let engine = quipu.engine();
    for name in engine.tenant_names()? {
        // What is wrong with one tenant is no reason to serve none.
        let Ok(tenant) = engine.tenant(&name) else { continue };
        let now = tenant.now();
        if tenant.keys().iter().any(|key| key.expires.is_none_or(|expires| now < expires)) {
            return Ok(());
        }
    }
    Err(Failure::usage(format!(
        "{}, so every request needs a key, and no tenant in {data} has one. Make the first: quipu key create admin --may \
         administer --data {data}",
        match config.listen.ip().is_loopback() {
            true if config.needs_keys => "needs_keys is set".to_owned(),
            true => "public_hosts: what a proxy passes on comes from anywhere".to_owned(),
            false => format!("listen: {} is reached by others than this machine", config.listen),
        },
        data = config.data.display()
    )))
}

impl Host {
    /// Listens and serves from now on, over TLS if there is any.
    pub fn start(
        quipu: &Quipu,
        config: &Config,
        anybody: Anybody,
        providers: Providers,
        watch: Option<Watch>,
    ) -> Result<Self, Failure> {
        let failed = |what: String| move |error: io::Error| Failure::failed(format!("cannot {what}: {error}"));
        let runtime = Runtime::new().map_err(failed("start threads".into()))?;
        let server = Server {
            body_bytes_max: config.body_bytes_max,
            event_bytes_max: config.event_bytes_max,
            request_memory_bytes_max: config.request_memory_bytes_max,
            connections_max: config.connections_max,
            header_timeout: config.header_timeout,
            idle_timeout: config.idle_timeout,
            body_timeout: config.body_idle_timeout,
            drain_timeout: config.drain_timeout,
            webhook_allowed: config.webhook_allowed_networks.clone(),
            database_hosts: config.database_allowed_hosts.clone(),
            public_hosts: config.public_hosts.clone(),
            tls: watch.as_ref().map(|watch| watch.tls.clone()),
            anybody,
            providers,
            ..Server::default()
        };
        let entered = runtime.enter();
        // Before the address is announced, so that a stop right after is a clean one.
        let interrupt = signal(SignalKind::interrupt()).map_err(failed("handle SIGINT".into()))?;
        let terminate = signal(SignalKind::terminate()).map_err(failed("handle SIGTERM".into()))?;
        let listening = failed(format!("listen on {} (choose another address with --listen)", config.listen));
        let listener = runtime.block_on(TcpListener::bind(config.listen)).map_err(listening)?;
        let address = listener.local_addr().map_err(failed("listen".into()))?;
        let (shutdown, asked) = oneshot::channel();
        let serving = runtime.spawn(server.serve(listener, Arc::clone(quipu.engine()), TENANT_DEFAULT, async {
            // A sender that is gone means the same.
            let _ = asked.await;
        }));
        drop(entered);
        let is_secure = watch.is_some();
        if let Some(watch) = watch {
            runtime.spawn(watch.run());
        }
        Ok(Self { runtime, address, is_secure, shutdown, serving, interrupt, terminate })
    }

    /// What its URLs begin with.
    pub fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }

    /// Where it listens; the port is the real one if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the server is to stop.
    pub fn wait(&mut self) -> Stopped {
        let Self { runtime, serving, interrupt, terminate, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => Stopped::Signal,
                _ = terminate.recv() => Stopped::Signal,
                ended = serving => Stopped::Server(match ended {
                    Ok(Err(error)) => error,
                    Ok(Ok(())) => io::Error::other("the server ended by itself"),
                    Err(error) => io::Error::other(error),
                }),
            }
        })
    }

    /// Lets requests that are under way finish, and closes the store. A second signal does not wait for requests.
    pub fn finish(self, quipu: &Quipu, stopped: Stopped) -> Outcome {
        let Self { runtime, shutdown, serving, mut interrupt, mut terminate, .. } = self;
        if let Stopped::Server(error) = stopped {
            quipu.close()?;
            return Err(Failure::failed(format!("the server failed: {error}")));
        }
        tracing::info!("stopping: requests that are under way may finish");
        drop(shutdown);
        runtime.block_on(async {
            tokio::select! {
                _ = serving => {}
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        quipu.close()?;
        tracing::info!("stopped");
        runtime.shutdown_background();
        Ok(Exit::Ok)
    }
}
