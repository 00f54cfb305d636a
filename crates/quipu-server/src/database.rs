//! Connections to databases of read models. Who declares a projection names the host, as who subscribes names that of a webhook: the same
//! addresses may be connected to, and what was checked is what is connected to.

use std::io;
use std::sync::{Arc, OnceLock};

use quipu_projections::tls::Tls;
use quipu_projections::{Dial, Dialed, Dialing};

use crate::webhook::{Addresses, Block, Checked, Resolver, trusted};

/// How the hosts of databases are reached.
pub(crate) struct Databases {
    checked: Checked,
    tls: OnceLock<Tls>,
}

impl Databases {
    /// Public addresses, and those of these blocks.
    pub fn new(allowed: Vec<Block>) -> Self {
        let addresses = Arc::new(Addresses::new(allowed));
        Self { checked: Checked { addresses, resolver: Resolver::system() }, tls: OnceLock::new() }
    }
}

impl Dial for Databases {
    fn dial(&self, host: &str, port: u16) -> Dialing {
        // As in a URL.
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let checked = self.checked.clone();
        Box::pin(async move {
            let stream = checked.reach(&host, port).await.map_err(io::Error::other)?;
            let is_public = Addresses::default().check(stream.peer_addr()?.ip()).is_ok();
            Ok(Dialed { stream, is_public })
        })
    }

    fn tls(&self) -> Tls {
        // Read when it is first asked for: most servers have no such database.
        let trust = || trusted(None).expect("nothing was added to what the machine trusts");
        self.tls.get_or_init(|| Tls(Arc::new(trust()))).clone()
    }
}
