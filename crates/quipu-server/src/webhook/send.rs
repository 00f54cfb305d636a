//! One call of one endpoint: what is sent, within which time, and what is read of the answer.
//!
//! Redirects are not followed: Standard Webhooks calls them failures, and each hop would be another address to check.
//! No proxy is used, whatever the environment says, since the address that is checked must be the endpoint's.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use quipu_domain::delivery::Failure;
use quipu_domain::{Event, PushMode, Stamp, Timestamp};

use super::connector::{Checked, Connector};
use super::message::{self, Message};
use super::{Addresses, Answer, Block, Endpoint, InvalidAuthorities, InvalidUrl, RefusedAddress, Resolver};
use super::{Secret, Transformed};
use super::{answer, sign, trust};

/// How much of an answer's body is kept.
const BODY_BYTES_MAX: usize = 512;
/// How much of an answer's body is read: a connection is used again when nothing is left on it, and a new one costs more
/// than a page of text that nobody wants.
const BODY_BYTES_READ_MAX: usize = 16 << 10;
/// Most bytes of an answer that is appended: a command leads to few events. With as many answers on their way as may be, 512, it
/// is half a gigabyte at the worst.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long an answer's body is waited for: the status has decided already.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may be idle before it is closed from this side. Many servers close after 5 s; a request that
/// crosses their close would be a failure.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Most idle connections that are kept to one endpoint.
const IDLE_MAX: usize = 256;
/// Most bytes of an answer's head, and of its body that are read at once.
const BUFFER_BYTES_MAX: usize = 64 << 10;

pub(super) const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("Quipu/", env!("CARGO_PKG_VERSION")));

/// What may be called, and how.
#[derive(Debug)]
pub struct Options {
    /// Blocks of addresses that may be called beside the public ones.
    pub allowed: Vec<Block>,
    /// Certificates of authorities, as PEM, that are trusted beside the machine's.
    pub authorities_pem: Option<Vec<u8>>,
    /// How names are turned into addresses.
    pub resolver: Resolver,
    /// How long a connection may take, TLS included. 10 seconds by default: the third try of TCP goes out after 3, the
    /// fourth after 7, and an endpoint that cannot be reached is to fail as such before the 15 s that one has to answer.
    pub connect_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let connect_timeout = Duration::from_secs(10);
        Self { allowed: Vec::new(), authorities_pem: None, resolver: Resolver::system(), connect_timeout }
    }
}

/// Sends events to endpoints. Connections are kept and used again, so one is enough for all subscriptions.
#[derive(Clone, Debug)]
pub struct Webhooks {
    client: Client<Connector, Full<Bytes>>,
    addresses: Arc<Addresses>,
}

/// One call: which event, where to, and what is said about it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Where to.
    pub endpoint: &'a Endpoint,
    /// The name of the subscription.
    pub subscription: &'a str,
    /// What the delivery is known by, the same for all its attempts: the webhook's id.
    pub idempotency_key: &'a str,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// The replay that it belongs to, if it does.
    pub replay: Option<u64>,
    /// The secrets that are valid, newest first. Without one nothing is signed.
    pub secrets: &'a [Secret],
    /// What time it is.
    pub now: Timestamp,
    /// How long the endpoint has to answer, from the look-up of its name to the head of its answer.
    pub timeout: Duration,
    /// How the event is written.
    pub mode: PushMode,
    /// The event.
    pub event: &'a Event<'a>,
    /// What the log added to it.
    pub stamp: Option<&'a Stamp>,
    /// What is sent instead of the event.
    pub transformed: Option<Transformed<'a>>,
}

/// Why an endpoint is not called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusedEndpoint {
    /// Its URL is none.
    Url(InvalidUrl),
    /// Its URL has an address that may not be called.
    Address(RefusedAddress),
}

impl fmt::Display for RefusedEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(refused) => refused.fmt(f),
            Self::Address(refused) => refused.fmt(f),
        }
    }
}

impl Error for RefusedEndpoint {}

impl Webhooks {
    /// Makes a sender. It connects to nobody yet.
    ///
    /// # Errors
    /// The certificates in the options are none.
    pub fn new(options: Options) -> Result<Self, InvalidAuthorities> {
        let tls = trust::configuration(options.authorities_pem.as_deref())?;
        let addresses = Arc::new(Addresses::new(options.allowed));
        let checked = Checked { addresses: Arc::clone(&addresses), resolver: options.resolver };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .http1_max_buf_size(BUFFER_BYTES_MAX)
            .build(Connector::new(checked, tls, options.connect_timeout));
        Ok(Self { client, addresses })
    }

    /// Reads the URL of an endpoint. An address in it is checked at once; where a name leads is seen at each
    /// connection.
    ///
    /// # Errors
    /// It is no URL that may be called, and why.
    pub fn endpoint(&self, url: &str) -> Result<Endpoint, RefusedEndpoint> {
        let endpoint = Endpoint::parse(url).map_err(RefusedEndpoint::Url)?;
        if let Some(address) = endpoint.address() {
            self.addresses.check(address).map_err(RefusedEndpoint::Address)?;
        }
        Ok(endpoint)
    }

    /// Calls an endpoint once.
    pub async fn send(&self, call: Call<'_>) -> Answer {
        match self.request(&call, call.request()).await {
            Err(failed) => failed,
            Ok((response, duration)) => {
                judge(response, call.now, duration, left(&call, duration).min(BODY_TIMEOUT)).await
            }
        }
    }

    /// Asks an endpoint once, and has what it answers, as far as that is a success. The command's stream has this version.
    pub async fn ask(&self, call: Call<'_>, stream_version: Option<u64>) -> (Answer, Bytes) {
        let mut request = call.request();
        if let Some(version) = stream_version {
            request.headers_mut().insert("quipu-stream-version", version.into());
        }
        let (response, duration) = match self.request(&call, request).await {
            Err(failed) => return (failed, Bytes::new()),
            Ok(answered) => answered,
        };
        let left = left(&call, duration);
        if !response.status().is_success() {
            return (judge(response, call.now, duration, left.min(BODY_TIMEOUT)).await, Bytes::new());
        }
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        match tokio::time::timeout(left, body.collect()).await {
            Ok(Ok(body)) => (Answer::Delivered { status, duration }, body.to_bytes()),
            read => {
                let error = match read {
                    Err(_) => format!("no whole answer within {} ms", call.timeout.as_millis()),
                    Ok(Err(error)) if error.is::<LengthLimitError>() => {
                        format!("expected an answer of at most {ANSWER_BYTES_MAX} bytes, found a longer one")
                    }
                    Ok(_) => format!("the connection to {} failed in the middle of the answer", call.endpoint),
                };
                let failure = Failure { status: Some(status), ..Failure::new(error) }.cut();
                (Answer::Failed { failure, duration, retry_after: None }, Bytes::new())
            }
        }
    }

    /// The head of the answer and how long it took, or what went wrong.
    async fn request(
        &self,
        call: &Call<'_>,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Duration), Answer> {
        let started = Instant::now();
        let answered = self.answered(request, call.endpoint, call.timeout).await;
        let duration = started.elapsed();
        let failed = |error| Answer::Failed { failure: Failure::new(error).cut(), duration, retry_after: None };
        answered.map(|response| (response, duration)).map_err(failed)
    }

    /// The head of the answer to a request, or what went wrong in words without the path of the URL.
    pub(super) async fn answered(
        &self,
        request: Request<Full<Bytes>>,
        endpoint: &Endpoint,
        timeout: Duration,
    ) -> Result<Response<Incoming>, String> {
        match tokio::time::timeout(timeout, self.client.request(request)).await {
            Err(_) => Err(format!("no answer within {} ms", timeout.as_millis())),
            Ok(Err(error)) => Err(in_words(&error, endpoint)),
            Ok(Ok(response)) => Ok(response),
        }
    }
}

/// What is left of the time that the endpoint has.
fn left(call: &Call<'_>, duration: Duration) -> Duration {
    call.timeout.saturating_sub(duration)
}

impl Call<'_> {
    fn request(&self) -> Request<Full<Bytes>> {
        let Message { mut headers, body } = match self.transformed {
            Some(outcome) => Message::of_outcome(self.event, self.stamp, outcome),
            None => Message::of_event(self.event, self.stamp, self.mode),
        };
        let id = message::webhook_id(self.idempotency_key);
        let seconds = self.now.0.div_euclid(1_000_000);
        if !self.secrets.is_empty() {
            headers.insert("webhook-signature", sign(self.secrets, &id, seconds, &body));
        }
        headers.insert("webhook-id", HeaderValue::try_from(id).expect("what a header cannot take is encoded"));
        headers.insert("webhook-timestamp", seconds.into());
        headers.insert("quipu-subscription", message::value(self.subscription));
        headers.insert("quipu-attempt", self.attempt.into());
        self.replay.into_iter().for_each(|replay| _ = headers.insert("quipu-replay", replay.into()));
        headers.insert(header::USER_AGENT, USER_AGENT);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.uri().clone();
        *request.headers_mut() = headers;
        request
    }
}

/// What an answer means.
async fn judge(response: Response<Incoming>, now: Timestamp, duration: Duration, timeout: Duration) -> Answer {
    let (head, body) = response.into_parts();
    // Read on success too, for the sake of the connection.
    let body = beginning(body, timeout).await;
    if head.status.is_success() {
        return Answer::Delivered { status: head.status.as_u16(), duration };
    }
    let mut failure = Failure::new(answer::reason(head.status));
    failure.status = Some(head.status.as_u16());
    failure.body = Some(String::from_utf8_lossy(&body).into_owned());
    let failure = failure.cut();
    if head.status == StatusCode::GONE {
        return Answer::Gone { failure, duration };
    }
    let answered = Timestamp(now.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)));
    Answer::Failed { failure, duration, retry_after: answer::retry_after(head.status, &head.headers, answered) }
}

/// The first [`BODY_BYTES_MAX`] of a body, or what comes of them in time. A connection with more on it than is read is
/// closed.
pub(super) async fn beginning(mut body: Incoming, timeout: Duration) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = async {
        let mut read = 0;
        while read < BODY_BYTES_READ_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            let data = frame.into_data().unwrap_or_default();
            read += data.len();
            bytes.extend_from_slice(&data[..data.len().min(BODY_BYTES_MAX - bytes.len())]);
        }
    };
    // Too late: what has come is what there is.
    let _ = tokio::time::timeout(timeout, reading).await;
    bytes
}

/// An error of the client and its causes, without the path of the URL.
pub(crate) fn in_words(error: &hyper_util::client::legacy::Error, endpoint: &Endpoint) -> String {
    let mut words = match error.is_connect() {
        true => format!("could not connect to {endpoint}"),
        false => format!("the connection to {endpoint} failed"),
    };
    let mut last = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors say what their cause says.
        if text != last {
            words.push_str(": ");
            words.push_str(&text);
        }
        last = text;
        cause = error.source();
    }
    words
}
