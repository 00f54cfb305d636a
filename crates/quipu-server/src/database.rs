//! Connections to databases of read models. Who declares a projection names the host and sends SQL of his own: so the operator says which
//! hosts those may be, and none are if he says nothing.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use quipu_projections::tls::Tls;
use quipu_projections::{Dial, Dialed, Dialing};

use crate::webhook::{Addresses, Block, Checked, Resolver, trusted};

/// A host that has databases of read models: as it stands in their URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseHost {
    host: String,
    /// Any without one.
    port: Option<u16>,
}

/// Why a text is no host of databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDatabaseHost {
    found: String,
}

impl fmt::Display for InvalidDatabaseHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected a host, with a port or without, such as db.example, 127.0.0.1:5432 or [::1]:5432, found {}",
            self.found
        )
    }
}

impl std::error::Error for InvalidDatabaseHost {}

impl FromStr for DatabaseHost {
    type Err = InvalidDatabaseHost;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseHost> {
        let invalid = || InvalidDatabaseHost { found: text.chars().take(128).collect() };
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match bracketed {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(invalid)?)),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map(|port| port.parse().map_err(|_| invalid())).transpose()?;
        let is_one = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        match !host.is_empty() && host.chars().all(is_one) {
            true => Ok(Self { host: host.to_ascii_lowercase(), port }),
            false => Err(invalid()),
        }
    }
}

impl fmt::Display for DatabaseHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            None => f.write_str(&host),
            Some(port) => write!(f, "{host}:{port}"),
        }
    }
}

impl DatabaseHost {
    fn is(&self, host: &str, port: u16) -> bool {
        self.host.eq_ignore_ascii_case(host) && self.port.is_none_or(|only| only == port)
    }
}

/// How the hosts of databases are reached.
pub(crate) struct Databases {
    hosts: Vec<DatabaseHost>,
    checked: Checked,
    tls: OnceLock<Tls>,
}

impl Databases {
    /// On these hosts and no others.
    pub fn new(hosts: Vec<DatabaseHost>) -> Self {
        // Wherever their names lead: the operator vouches for them.
        let everywhere = ["0.0.0.0/0", "::/0"].map(|block| block.parse::<Block>().expect("it is a block"));
        let addresses = Arc::new(Addresses::new(everywhere.to_vec()));
        Self { hosts, checked: Checked { addresses, resolver: Resolver::system() }, tls: OnceLock::new() }
    }
}

impl Dial for Databases {
    fn dial(&self, host: &str, port: u16) -> Dialing {
        if !self.hosts.iter().any(|allowed| allowed.is(host, port)) {
            let refused = format!(
                "expected a host of database_allowed_hosts, found {host}; whoever runs the server says there which databases it connects to"
            );
            return Box::pin(async move { Err(io::Error::new(io::ErrorKind::PermissionDenied, refused)) });
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_as_it_is_written_and_allows_itself() {
        for (text, allows, refuses) in [
            ("db.example", ("DB.example", 5432), ("x.db.example", 5432)),
            ("db.example:5433", ("db.example", 5433), ("db.example", 5432)),
            ("127.0.0.1", ("127.0.0.1", 1), ("127.0.0.2", 1)),
            ("[::1]:5432", ("::1", 5432), ("::1", 5433)),
            ("[fd00::7]", ("fd00::7", 5432), ("fd00::8", 5432)),
        ] {
            let host: DatabaseHost = text.parse().unwrap();
            assert_eq!(host.to_string(), text);
            assert!(host.is(allows.0, allows.1) && !host.is(refuses.0, refuses.1), "{text}");
        }
        for text in ["", ":5432", "db.example:", "db.example:70000", "[::1", "[::1]5432", "a b", "user@db", "*"] {
            assert!(text.parse::<DatabaseHost>().is_err(), "{text}");
        }
    }
}
