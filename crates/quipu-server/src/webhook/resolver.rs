//! Names to addresses, as the machine does it. What becomes of the addresses is decided where they are connected to.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Look-ups that may be under way at once. Each takes a thread for as long as the name servers are silent, up to half a
/// minute, of some 500 that reads of the log use too.
const LOOKUPS_MAX: usize = 64;

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// How names are turned into addresses.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(String) -> Lookup + Send + Sync>);

impl Resolver {
    /// As the machine does: its hosts file, its name servers.
    pub fn system() -> Self {
        let permits = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self::new(move |name| {
            let permits = Arc::clone(&permits);
            async move {
                let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
                let lookup = tokio::task::spawn_blocking(move || {
                    // Held until the thread is free, also when nobody waits for the answer any more.
                    let _permit = permit;
                    Ok((name.as_str(), 0).to_socket_addrs()?.map(|address| address.ip()).collect())
                });
                lookup.await.map_err(io::Error::other)?
            }
        })
    }

    /// As a function says: a name service of one's own, or fixed answers.
    pub fn new<F>(lookup: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        Self(Arc::new(move |name| Box::pin(lookup(name))))
    }

    pub(super) fn addresses(&self, name: &str) -> Lookup {
        (self.0)(name.to_owned())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}
