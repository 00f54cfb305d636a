//! A server of Quipu, from the outside: workers for its subscriptions. Everything else that a server does is for its HTTP
//! interface; nothing here opens a store.

mod call;
mod deliveries;
mod ending;
mod fetched;
mod persistence;

use std::sync::Arc;

use self::call::Client;
use self::deliveries::Deliveries;
use crate::{Error, Worker};
use quipu_domain::WriteOnly;

/// A server. Nothing is sent to it until a worker runs.
///
/// ```no_run
/// #[derive(serde::Deserialize)]
/// struct Order {
///     total: u64,
/// }
///
/// # async fn work() -> Result<(), quipu::Error> {
/// let worker = quipu::Remote::new("http://127.0.0.1:7070")?.worker("billing");
/// let worker = worker.on("order.placed", |delivery, order: Order| async move {
///     println!("charge {} once for {}", order.total, delivery.idempotency_key());
///     Ok(())
/// });
/// worker.on_trouble(|error| eprintln!("{error}; trying again")).run().await
/// # }
/// ```
///
/// **When the server is away** (it does not answer, breaks off, or says 408, 425, 429 or 5xx) the worker tries again:
/// after 100 ms, then twice as long each time up to 5 s, less up to half of it by chance; and not before a `Retry-After`,
/// up to a minute. Answers are tried until their deadline is over; the deliveries come again then, as after any crash. A
/// server that was started anew hands out what it had handed out before once more.
///
/// **Threads.** Each request has one, for as long as it takes: a worker has a long poll, answers, and the deadlines that it
/// moves, so about three. A worker that was stopped leaves its long poll behind, for at most 10 s, and what that
/// still brings is given back untried.
#[derive(Clone, Debug)]
pub struct Remote {
    client: Arc<Client>,
}

impl Remote {
    /// A server by its URL, with what stands before `/v1` if it is behind a proxy. One of `https` is believed if an authority
    /// that this machine trusts vouches for it, or one of [`Remote::with_authorities`].
    ///
    /// ```
    /// assert!(quipu::Remote::new("http://127.0.0.1:7070").is_ok());
    /// assert!(quipu::Remote::new("ftp://example.com").is_err());
    /// ```
    ///
    /// # Errors
    /// [`Error::Server`]: it is no such URL.
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self { client: Arc::new(Client::new(url)?) })
    }

    /// The same server, called with a key. It needs the permissions `consume` and `observe` for the subscription.
    ///
    /// ```
    /// let remote = quipu::Remote::new("http://127.0.0.1:7070")?.with_key("qp_default_…");
    /// assert!(!format!("{remote:?}").contains("qp_"));
    /// # Ok::<(), quipu::Error>(())
    /// ```
    #[must_use]
    pub fn with_key(self, key: &str) -> Self {
        Self { client: Arc::new(self.client.with_key(WriteOnly::from(key.to_owned()))) }
    }

    /// The same server, believed if one of these authorities vouches for it too: their certificates as PEM.
    ///
    /// # Errors
    /// [`Error::Server`]: there are none.
    pub fn with_authorities(self, pem: &[u8]) -> Result<Self, Error> {
        Ok(Self { client: Arc::new(self.client.with_tls(|tls| tls.believe(pem))?) })
    }

    /// The same server, which is shown a certificate if it asks for one: the certificate and those that lead from it to an
    /// authority, and its private key, as PEM. What a file of them holds later is not looked at.
    ///
    /// # Errors
    /// [`Error::Server`]: there is none, or the key is that of another.
    pub fn with_certificate(self, certificates_pem: &[u8], key_pem: &[u8]) -> Result<Self, Error> {
        Ok(Self { client: Arc::new(self.client.with_tls(|tls| tls.show(certificates_pem, key_pem))?) })
    }

    /// A worker that runs a handler for each delivery of a subscription, as `Quipu::worker` does in process: of one that
    /// transforms, a handler gets what the transformation made in the place of the event's data.
    pub fn worker(&self, subscription: &str) -> Worker {
        Worker::new(Arc::new(Deliveries::new(Arc::clone(&self.client), subscription)))
    }
}
