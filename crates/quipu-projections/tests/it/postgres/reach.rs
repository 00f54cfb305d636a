//! How databases are reached: those that do not answer, passwords, and encryption.

use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quipu_connect::tls::{ClientConfig, Tls, trust_of_machine};
use quipu_domain::projection::Projection;
use quipu_projections::{Dial, Dialed, Dialing, NotDone, Phase, Projections, ReadModelRefusal};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::TcpStream;

use super::{in_postgres, orders_in_postgres};
use crate::cluster::Cluster;
use crate::support::{LONG, Shop, declared, orders, placed};

fn at(url: &str, password: Option<&str>) -> Projection {
    let mut value = serde_json::to_value(orders()).unwrap();
    value["store"] = match password {
        None => url.into(),
        Some(password) => serde_json::json!({ "postgres": url, "password": password }),
    };
    declared(value)
}

#[test]
fn a_database_that_cannot_be_reached_is_refused() {
    let shop = Shop::open();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for (url, said) in [
        (format!("postgres://shop@127.0.0.1:{port}/shop"), "no connection within 5000 ms"),
        ("postgres://shop@127.0.0.1:1/shop".to_owned(), "refused"),
        ("postgres://shop@nowhere.invalid/shop".to_owned(), "the database shop at nowhere.invalid:5432"),
    ] {
        let refused = shop.projections.apply(at(&url, Some("hunter2")));
        let Err(NotDone::Refused(ReadModelRefusal::Store { error })) = refused else { panic!("{refused:?}") };
        assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
    }
    assert!(shop.projections.list().is_empty());
}

#[test]
fn a_database_that_is_gone_is_waited_for_and_holds_nobody_else_up() {
    let (mut cluster, declaration) = orders_in_postgres();
    let shop = Shop::open();
    shop.projections.apply(declaration.clone()).unwrap();
    let mut other = serde_json::to_value(orders()).unwrap();
    other["projection"] = "in-sqlite".into();
    shop.projections.apply(declared(other)).unwrap();
    let second = Cluster::start_on_port(&[]);
    let mut third = serde_json::to_value(&declaration).unwrap();
    (third["projection"], third["store"]) = ("elsewhere".into(), second.url_of("shop").into());
    shop.projections.apply(declared(third)).unwrap();
    shop.publish_and_wait(&[placed(1)]);
    cluster.stop();
    for number in 2..6 {
        let position = shop.publish(&[placed(number)]);
        for name in ["in-sqlite", "elsewhere"] {
            shop.projections.wait(name, position, LONG).unwrap();
        }
    }
    let failing = shop.until("orders", |release| matches!(release.phase, Phase::Failing { .. }));
    let Phase::Failing { error } = failing.phase else { unreachable!() };
    assert!(error.starts_with("waiting for the database postgres at 127.0.0.1:"), "{error}");
    let asked = shop.projections.rows("orders", "orders", &quipu_projections::TableQuery::default());
    assert!(matches!(asked, Err(NotDone::Failed { .. })), "{asked:?}");
    // It says so after a restart too, and goes on when it is there again.
    let shop = shop.reopen();
    shop.until("orders", |release| matches!(release.phase, Phase::Failing { .. }));
    cluster.start_again();
    shop.projections.wait("orders", 5, LONG).unwrap();
    assert_eq!(shop.rows("orders", "orders").len(), 5);
}

/// A server with a user who needs a password.
fn with_password() -> Cluster {
    let cluster = Cluster::start_on_port(&[]);
    cluster.sql("create role careful login password 'hunter2'; grant create on database postgres to careful");
    let hba = cluster.folder.path().join("postgres/data/pg_hba.conf");
    std::fs::write(
        hba,
        "local all all trust\nhost all careful 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n",
    )
    .unwrap();
    cluster.sql("select pg_reload_conf()");
    // The server reads its files when it comes to it.
    let until = Instant::now() + LONG;
    let shop = Shop::open();
    while shop.projections.check(&at(&cluster.url_of("careful"), None)).is_ok() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(20));
    }
    cluster
}

#[test]
fn a_password_is_kept_beside_the_log_for_the_database_that_it_was_given_for() {
    let cluster = with_password();
    let shop = Shop::open();
    let url = cluster.url_of("careful");
    let refused = shop.projections.apply(at(&url, None)).unwrap_err().to_string();
    assert!(refused.contains("password"), "{refused}");
    let refused = shop.projections.apply(at(&url, Some("hunter3"))).unwrap_err().to_string();
    assert!(refused.contains("password") && !refused.contains("hunter3"), "{refused}");
    assert!(shop.projections.list().is_empty());

    shop.projections.apply(at(&url, Some("hunter2"))).unwrap();
    shop.publish_and_wait(&[placed(1)]);
    let shop = shop.reopen();
    shop.publish_and_wait(&[placed(2)]);
    assert_eq!(shop.rows("orders", "orders").len(), 2);
    // Declared again without it, it is the same declaration, and the password is still there.
    assert!(shop.projections.apply(at(&url, None)).unwrap().is_known);
    let status = format!("{:?}", shop.projections.status("orders").unwrap());
    assert!(!status.contains("hunter2"), "{status}");

    // Somebody who names another host does not get it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let thief = format!("postgres://careful@127.0.0.1:{}/postgres", listener.local_addr().unwrap().port());
    let asking = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut startup = [0; 1024];
        _ = stream.read(&mut startup).unwrap();
        // A password in clear text, please.
        stream.write_all(b"R\0\0\0\x08\0\0\0\x03").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    });
    let refused = shop.projections.apply(at(&thief, None)).unwrap_err().to_string();
    assert!(refused.contains("password"), "{refused}");
    assert!(!asking.join().unwrap().windows(7).any(|bytes| bytes == b"hunter2"));

    // In one file that its owner alone may read, until nobody needs it.
    let folder = shop.close();
    let holding = files_holding(folder.path(), b"hunter2");
    assert_eq!(holding.iter().map(|path| path.file_name().unwrap()).collect::<Vec<_>>(), ["databases.json"]);
    assert_eq!(std::fs::metadata(&holding[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let shop = Shop::open_in(folder);
    shop.projections.remove("orders").unwrap();
    assert!(files_holding(shop.folder.path(), b"hunter2").is_empty());
}

fn files_holding(folder: &Path, text: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_holding(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|window| window == text) {
            found.push(path);
        }
    }
    found
}

/// Believes in one authority, and takes this machine for the public network or not.
struct Believing {
    trust: ClientConfig,
    is_public: bool,
}

impl Dial for Believing {
    fn dial(&self, host: &str, port: u16) -> Dialing {
        let (host, is_public) = (host.to_owned(), self.is_public);
        Box::pin(async move {
            if host == "forbidden.example" {
                return Err(io::Error::other("expected a public address, found 10.0.0.1 (private)"));
            }
            Ok(Dialed { stream: TcpStream::connect(("127.0.0.1", port)).await?, is_public })
        })
    }

    fn tls(&self) -> Tls {
        Tls(Arc::new(self.trust.clone()))
    }
}

#[test]
fn connections_are_encrypted_and_the_certificate_is_that_of_the_host() {
    let (cluster, authority) = Cluster::start_encrypted("db.example");
    let plain = Cluster::start_on_port(&[]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let trusting = builder.with_root_certificates(roots).with_no_client_auth();

    let shop = Shop::open();
    let elsewhere = tempfile::TempDir::new().unwrap();
    let of = |trust: &ClientConfig, is_public| {
        let dial = Arc::new(Believing { trust: trust.clone(), is_public });
        let (tenant, pool) = (Arc::clone(&shop.tenant), Arc::clone(&shop.pool));
        Projections::open_dialing(tenant, Some(elsewhere.path()), pool, dial, || {}).unwrap()
    };
    let url = |cluster: &Cluster, host: &str, query: &str| cluster.url_of("shop").replace("127.0.0.1", host) + query;
    let refused = |projections: &Projections, url: String, said: &str| {
        let refused = projections.check(&at(&url, None));
        let Err(NotDone::Refused(ReadModelRefusal::Store { error })) = refused else { panic!("{url}: {refused:?}") };
        assert!(error.contains(said), "{url}: {error}");
    };
    let (public, private) = (of(&trusting, true), of(&trusting, false));
    for query in ["", "?sslmode=require", "?sslmode=verify-full"] {
        public.check(&at(&url(&cluster, "db.example", query), None)).unwrap();
        // Another host's, and of an authority that nobody knows.
        refused(&public, url(&cluster, "other.example", query), "certificate");
        refused(&of(&trust_of_machine(), true), url(&cluster, "db.example", query), "certificate");
        refused(&public, url(&plain, "db.example", query), "does not support TLS");
    }
    refused(&public, url(&plain, "db.example", "?sslmode=disable"), "sslmode=disable");
    refused(&private, url(&plain, "db.example", "?sslmode=require"), "does not support TLS");
    private.check(&at(&url(&plain, "db.example", ""), None)).unwrap();
    private.check(&at(&url(&plain, "db.example", "?sslmode=disable"), None)).unwrap();
    refused(&public, url(&cluster, "forbidden.example", ""), "(private)");
    // Encrypted all the way.
    let published = shop.publish(&[placed(1)]);
    public.apply(at(&url(&cluster, "db.example", ""), None)).unwrap();
    public.wait("orders", published, LONG).unwrap();
    let sql = "select bool_and(s.ssl) as encrypted from pg_stat_ssl s join pg_stat_activity a using (pid) where a.application_name = 'quipu'";
    assert_eq!(cluster.ask(sql), [serde_json::json!({"encrypted": true})]);
}

#[test]
fn a_declaration_of_the_documentation_is_the_same_in_both() {
    let cluster = Cluster::start_on_port(&[]);
    let shop = Shop::open();
    let sqlite = orders();
    let postgres = in_postgres(&sqlite, &cluster);
    assert_eq!((&sqlite.tables, &sqlite.on), (&postgres.tables, &postgres.on));
    shop.projections.check(&postgres).unwrap();
}
