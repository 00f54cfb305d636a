//! The database of an outbox: a URL that is checked, and connections. Passwords are in no message: a database is named by
//! its host and name alone, and a URL that cannot be read is not repeated.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{AsyncMessage, Client, Config};

use super::relay::{NotRelayed, answered};
use crate::tls::{Tls, trust_of_machine};

/// Long enough for a far server, short enough for whoever mistyped its name.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that does not take what was sent to it for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A database, and how to reach it.
pub struct Database {
    config: Config,
    name: String,
}

/// A URL of a database that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidDatabase {
    /// It cannot be read. What it says is not repeated: there may be a password in it.
    Unreadable,
    /// It names no host.
    NoHost,
    /// It says which address a host has: who is connected to would not be who is named.
    Address,
}

/// A connection. It ends when it is dropped.
pub(super) struct Connected {
    client: Client,
    driver: JoinHandle<()>,
}

impl Database {
    /// The database of a URL. The password is for a URL that has none.
    ///
    /// # Errors
    /// [`InvalidDatabase`].
    pub fn of(url: &str, password: Option<&[u8]>) -> Result<Self, InvalidDatabase> {
        // The same here: a certificate is always held to the host.
        let url = url.replace("sslmode=verify-full", "sslmode=require");
        let mut config: Config = url.parse().map_err(|_| InvalidDatabase::Unreadable)?;
        if let (None, Some(password)) = (config.get_password(), password) {
            config.password(password);
        }
        config
            .keepalives_idle(SILENCE_MAX)
            .application_name("quipu outbox")
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(SILENCE_MAX);
        let first = config.get_hosts().first().map(host).ok_or(InvalidDatabase::NoHost)?;
        // The first @ ends what comes before the host: behind another one is the rest of a password.
        if config.get_hosts().iter().any(|one| host(one).contains('@')) {
            return Err(InvalidDatabase::Unreadable);
        }
        if !config.get_hostaddrs().is_empty() {
            return Err(InvalidDatabase::Address);
        }
        // Nobody stands between on one machine, where a server often has a certificate that nobody vouches for.
        let is_far = config.get_hosts().iter().any(|host| !is_here(host));
        if config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(if is_far { SslMode::Require } else { SslMode::Disable });
        }
        let name = format!("the database {} at {first}", config.get_dbname().unwrap_or("(that of the user)"));
        Ok(Self { config, name })
    }

    /// A connection, and who is told when something was put into the outbox.
    pub(super) async fn connect(&self) -> Result<(Connected, Arc<Notify>), NotRelayed> {
        let tls = Tls(Arc::new(trust_of_machine()));
        let (client, mut connection) = answered(self.config.connect(tls)).await?;
        let notified = Arc::new(Notify::new());
        let told = Arc::clone(&notified);
        let driver = tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(_) = message {
                    told.notify_one();
                }
            }
            // Whoever waits finds out that the connection has ended.
            told.notify_one();
        });
        Ok((Connected { client, driver }, notified))
    }
}

impl Connected {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Its name, for messages: without user and password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.name).finish()
    }
}

fn host(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
    }
}

impl fmt::Display for InvalidDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str(
                "expected a URL of a database such as postgres://user@localhost/shop, found one that cannot be read \
                 (it is not repeated here, since it may hold a password; write @ in a password as %40)",
            ),
            Self::NoHost => f.write_str("expected a host in the URL of the database, found none: add one"),
            Self::Address => f.write_str(
                "expected a host in the URL of the database and nothing else that says where it is, found hostaddr: leave it out",
            ),
        }
    }
}

impl std::error::Error for InvalidDatabase {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_no_message() {
        for url in ["postgres://shop:hunter2@localhost/shop", "host=/tmp user=shop password=hunter2 dbname=shop"] {
            let database = Database::of(url, None).unwrap();
            assert!(!format!("{database} {database:?}").contains("hunter2"));
            assert_eq!(database.config.get_password(), Some(&b"hunter2"[..]));
        }
        for url in [
            "postgres://shop:hunter2@[/shop",
            "postgres://shop:a@hunter2@localhost/shop",
            "postgres://shop:hunter2@localhost:port/shop",
            "host=a password=hunter2 nonsense=1",
            "postgres://shop:hunter2@far.example/shop?hostaddr=10.0.0.1",
            "password=hunter2",
        ] {
            let said = Database::of(url, None).unwrap_err();
            assert!(!format!("{said} {said:?}").contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn the_password_of_a_url_comes_before_the_other_one() {
        let password = |url: &str| Database::of(url, Some(b"other")).unwrap().config.get_password().map(<[u8]>::to_vec);
        assert_eq!(password("postgres://shop:own@localhost/shop"), Some(b"own".to_vec()));
        assert_eq!(password("postgres://shop@localhost/shop"), Some(b"other".to_vec()));
    }

    #[test]
    fn another_machine_is_reached_unencrypted_only_if_the_url_says_so() {
        let mode = |url: &str| Database::of(url, None).unwrap().config.get_ssl_mode();
        for near in ["localhost", "127.0.0.1", "%2Ftmp"] {
            assert_eq!(mode(&format!("postgres://shop@{near}/shop")), SslMode::Disable);
            assert_eq!(mode(&format!("postgres://shop@{near}/shop?sslmode=verify-full")), SslMode::Require);
        }
        let far = "postgres://shop@10.0.0.1/shop";
        assert_eq!(mode(far), SslMode::Require);
        assert_eq!(mode(&format!("{far}?sslmode=prefer")), SslMode::Require);
        assert_eq!(mode(&format!("{far}?sslmode=disable")), SslMode::Disable);
        assert_eq!(mode("postgres://shop@localhost,10.0.0.1/shop"), SslMode::Require);
    }

    #[test]
    fn an_address_beside_the_host_is_refused() {
        for url in ["postgres://shop@localhost/shop?hostaddr=10.0.0.1", "host=localhost hostaddr=10.0.0.1 user=shop"] {
            assert_eq!(Database::of(url, None).unwrap_err(), InvalidDatabase::Address);
        }
        // Not without a host either.
        assert!(Database::of("hostaddr=10.0.0.1 user=shop", None).is_err());
    }
}
