//! A connection to a database, used by one thread at a time, which waits for each answer, and not for ever. What is sent has a time,
//! and what comes back a size: whoever answers there is not trusted.

use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use quipu_connect::tls::{Tls, trust_of_machine};
use quipu_domain::projection::{Encryption, PostgresUrl};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error};

use crate::store::Broken;
use crate::table::quoted;

/// How long a connection may take: the look-up of the name, TCP, TLS and the password.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long one statement may take. The same for an event in SQLite.
const STATEMENT_MAX_MS: u64 = 10_000;
/// How long an answer may take. The server ends what takes longer before that, unless it is frozen or gone.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(15);
/// How long what looks at all rows may take until the first of them is there: they are put in order before.
pub(super) const SCAN_MAX: Duration = Duration::from_secs(600);
/// Longest text that is taken of what a database says is wrong, characters.
const TEXT_CHARS_MAX: usize = 1_024;
/// Most bytes of an answer: a row, and what is read ahead of it.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A connection to a host.
pub struct Dialed {
    /// It.
    pub stream: TcpStream,
    /// Whether it goes over a public network, where nothing is sent that is not encrypted.
    pub is_public: bool,
}

/// A connection that is being made.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<Dialed>> + Send>>;

/// How the hosts of databases are reached. Whoever serves strangers checks the addresses here: the host is named by whoever declares a
/// projection.
pub trait Dial: Send + Sync {
    /// Connects to a host, a name or an address. Called and awaited on a runtime of tokio.
    fn dial(&self, host: &str, port: u16) -> Dialing;

    /// How connections are encrypted.
    fn tls(&self) -> Tls;
}

/// Reaches every host: the process belongs to whoever declares.
pub(super) struct Anywhere;

impl Dial for Anywhere {
    fn dial(&self, host: &str, port: u16) -> Dialing {
        let host = host.to_owned();
        Box::pin(async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            let is_public = is_public(stream.peer_addr()?.ip());
            Ok(Dialed { stream, is_public })
        })
    }

    fn tls(&self) -> Tls {
        static TRUST: LazyLock<Tls> = LazyLock::new(|| Tls(Arc::new(trust_of_machine())));
        TRUST.clone()
    }
}

fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !(address.is_loopback() || address.is_private() || address.is_link_local()),
        IpAddr::V6(address) => !(address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()),
    }
}

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// What the server says of what it was sent.
    Said { code: SqlState, text: String },
    /// The connection is of no use any more, or there is none.
    Lost(String),
}

impl Trouble {
    /// Whether it is the database's own fault, and not that of what it was told: it may go away by itself.
    pub fn is_of_store(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            // Connections, repeated transactions, resources, an operator, locks, the system, bugs; and rights, which are given by somebody.
            Self::Said { code, .. } => match code.code() {
                // A statement that takes too long does so again.
                "57014" => false,
                "25006" | "42501" | "55P03" => true,
                code => matches!(code.get(..2), Some("08" | "40" | "53" | "57" | "58" | "XX")),
            },
        }
    }

    pub fn is(&self, asked: &SqlState) -> bool {
        matches!(self, Self::Said { code, .. } if code == asked)
    }

    /// What is said to whoever wrote the statement.
    pub fn text(&self) -> String {
        match self {
            Self::Said { code, .. } if *code == SqlState::QUERY_CANCELED => {
                format!("it takes longer than {STATEMENT_MAX_MS} ms")
            }
            Self::Said { text, .. } | Self::Lost(text) => text.clone(),
        }
    }

    pub fn of(self, url: &PostgresUrl) -> Broken {
        Broken::saying(format!("waiting for {url}: {}", self.text()))
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let Some(said) = error.as_db_error() else {
            // The connection; its cause says more than the error itself, and no more than an address.
            let cause = error.source().map(|cause| format!(" ({cause})")).unwrap_or_default();
            return Self::Lost(format!("{error}{cause}"));
        };
        let detail = said.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        // As long as the database likes, and kept, shown and logged.
        let text = format!("{}{detail}", said.message()).chars().take(TEXT_CHARS_MAX).collect();
        Self::Said { code: said.code().clone(), text }
    }
}

/// A connection. It ends when it is dropped.
pub(super) struct Link {
    pub client: Client,
    /// Its own, on the thread that waits: no other has to be woken for an answer.
    runtime: Option<Runtime>,
    /// Bytes that it still takes.
    left: Arc<AtomicUsize>,
}

impl Link {
    /// Connects, with everything set that could make the same statement come out otherwise, and a schema as the only one that is looked in.
    pub fn open(url: &PostgresUrl, password: Option<&str>, dial: &dyn Dial, schema: &str) -> Result<Self, Trouble> {
        let lost = |error: io::Error| Trouble::Lost(error.to_string());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(lost)?;
        let left = Arc::new(AtomicUsize::new(ANSWER_BYTES_MAX));
        let (dialing, tls) = (dial.dial(&url.host, url.port), dial.tls().to(&url.host));
        let connecting = async {
            let Dialed { stream, is_public } = dialing.await.map_err(lost)?;
            stream.set_nodelay(true).map_err(lost)?;
            let is_here = stream.peer_addr().map_err(lost)?.ip().to_canonical().is_loopback();
            let mode = match url.encryption {
                Encryption::Required => SslMode::Require,
                Encryption::Preferred if is_public => SslMode::Require,
                // A server that nobody set up has a certificate that nobody vouches for, and nobody stands between.
                Encryption::Preferred if is_here => SslMode::Disable,
                Encryption::Preferred => SslMode::Prefer,
                Encryption::Never if is_public => {
                    let text = "expected an encrypted connection over a public network, found sslmode=disable";
                    return Err(Trouble::Lost(text.to_owned()));
                }
                Encryption::Never => SslMode::Disable,
            };
            let mut config = Config::new();
            config.user(&url.user).dbname(&url.database).application_name("quipu").ssl_mode(mode);
            if let Some(password) = password {
                config.password(password);
            }
            let stream = Measured { stream, left: Arc::clone(&left) };
            let (client, connection) = config.connect_raw(stream, tls).await?;
            // It ends with the runtime; whoever waits for an answer is told that there is none.
            drop(tokio::spawn(connection));
            client.batch_execute(&session(schema)).await?;
            Ok(client)
        };
        let late = || Trouble::Lost(format!("no connection within {} ms", CONNECT_MAX.as_millis()));
        let client = runtime.block_on(async { timeout(CONNECT_MAX, connecting).await.map_err(|_| late())? })?;
        Ok(Self { client, runtime: Some(runtime), left })
    }

    /// Does something, which sees to its own time.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.renew();
        let runtime = self.runtime.as_ref().expect("it is there until it is dropped");
        runtime.block_on(work)
    }

    /// Waits for an answer, so long.
    pub fn wait<T, E: Into<Trouble>>(
        &self,
        time: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Trouble> {
        self.run(within(time, work)).map_err(|trouble| match self.is_spent() {
            true => {
                let text = format!("an answer of more than {ANSWER_BYTES_MAX} bytes; ask for less");
                Trouble::Said { code: SqlState::PROGRAM_LIMIT_EXCEEDED, text }
            }
            false => trouble,
        })
    }

    /// Whether it got more than it takes, and has ended.
    pub fn is_spent(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Waits for the answer to something short.
    pub fn ask<T, E: Into<Trouble>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, Trouble> {
        self.wait(ANSWER_MAX, work)
    }

    /// What comes from now on is measured anew.
    pub fn renew(&self) {
        self.left.store(ANSWER_BYTES_MAX, Ordering::Relaxed);
    }
}

/// The outcome of something that may take so long.
pub(super) async fn within<T, E: Into<Trouble>>(
    time: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Trouble> {
    // Unpinned until here, so that callers need not know.
    let work = pin!(work);
    let late = || Trouble::Lost(format!("no answer within {} ms", time.as_millis()));
    timeout(time, work).await.map_err(|_| late())?.map_err(Into::into)
}

impl Drop for Link {
    fn drop(&mut self) {
        // Without waiting, so that it may be dropped anywhere.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What is set in a session. A crash of the database may take the newest transactions back, which costs nothing: the place in the log goes
/// back with them. The server gives up a connection whose other end is gone, so that the lock of a release becomes free.
fn session(schema: &str) -> String {
    format!(
        "set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set intervalstyle = 'iso_8601'; set bytea_output = 'hex';
         set standard_conforming_strings = on; set extra_float_digits = 1; set xmloption = 'content';
         set lc_monetary = 'C'; set lc_numeric = 'C'; set lc_time = 'C'; set default_text_search_config = 'pg_catalog.simple';
         set max_parallel_workers_per_gather = 0; set jit = off; set default_transaction_isolation = 'read committed';
         set synchronous_commit = off; set lock_timeout = 5000; set statement_timeout = {STATEMENT_MAX_MS};
         set idle_in_transaction_session_timeout = {}; set client_min_messages = 'warning';
         set tcp_keepalives_idle = 15; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3;
         set search_path = {}",
        SCAN_MAX.as_millis(),
        quoted(schema)
    )
}

/// A connection that gives no more bytes than are left.
struct Measured {
    stream: TcpStream,
    left: Arc<AtomicUsize>,
}

impl AsyncRead for Measured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        let left = self.left.load(Ordering::Relaxed).saturating_sub(read);
        self.left.store(left, Ordering::Relaxed);
        if left == 0 {
            return Poll::Ready(Err(io::Error::other(format!("an answer of more than {ANSWER_BYTES_MAX} bytes"))));
        }
        polled
    }
}

impl AsyncWrite for Measured {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
