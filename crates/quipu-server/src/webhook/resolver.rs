//! Names to addresses, as the machine does it. What becomes of the addresses is decided where they are connected to.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;

use crate::places::Places;

/// Look-ups that may be under way at once. Each takes a thread for as long as the name servers are silent, up to half a
/// minute, of some 500 that reads of the log use too. Shared by name: one whose name servers are silent has at most 8.
const LOOKUPS_MAX: usize = 64;

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// How names are turned into addresses.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(String) -> Lookup + Send + Sync>);

impl Resolver {
    /// As the machine does: its hosts file, its name servers.
    pub fn system() -> Self {
        Self::blocking(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }

    /// By a function that blocks its thread.
    fn blocking(lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        let (places, lookup) = (Places::new(LOOKUPS_MAX), Arc::new(lookup));
        Self::new(move |name| {
            let (places, lookup) = (places.clone(), Arc::clone(&lookup));
            async move {
                let place = places.take(&name.to_ascii_lowercase()).await;
                let lookup = tokio::task::spawn_blocking(move || {
                    // Held until the thread is free, also when nobody waits for the answer any more.
                    let _place = place;
                    lookup(&name)
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_name_that_hangs_leaves_look_ups_to_others() {
        let (release, hanging) = mpsc::channel::<()>();
        let (hanging, hung) = (Mutex::new(hanging), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&hung);
        let resolver = Resolver::blocking(move |name| {
            if name.eq_ignore_ascii_case("hangs.example") {
                count.fetch_add(1, Ordering::SeqCst);
                // Until the test is over.
                let _ = hanging.lock().map(|hanging| hanging.recv());
            }
            Ok(vec![Ipv4Addr::LOCALHOST.into()])
        });
        // More than there are places, and nobody waits for most of them any more.
        for n in 0..200 {
            let name = ["hangs.example", "Hangs.example"][n % 2];
            let lookup = tokio::spawn(resolver.addresses(name));
            tokio::task::yield_now().await;
            if n % 3 > 0 {
                lookup.abort();
            }
        }
        for _ in 0..100 {
            let found = tokio::time::timeout(std::time::Duration::from_secs(10), resolver.addresses("works.example"));
            assert_eq!(found.await.unwrap().unwrap(), [Ipv4Addr::LOCALHOST]);
        }
        let hung = hung.load(Ordering::SeqCst);
        drop(release);
        assert!(hung <= 8, "{hung}");
    }
}
