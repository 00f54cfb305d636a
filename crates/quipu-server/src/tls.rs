//! TLS of the listener: what it proves itself with, and whose certificates it asks of clients. Both are handed in as PEM and
//! may be replaced while it serves: who connects from then on sees the new ones, open connections go on with the old ones.
//! Files, and when they change, are the business of whoever hands them in.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use quipu_domain::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroize as _;

use crate::patient::Patient;
use crate::transport::Transport;
use crate::webhook::InvalidAuthorities;
use crate::webhook::trust;

/// How long a client may take to read why its handshake failed.
const ALERT_TIME: Duration = Duration::from_secs(1);

/// What TLS is made of, as PEM.
#[derive(Clone, Copy)]
pub struct Identity<'p> {
    /// The certificate of the server, then those that lead from it to an authority.
    pub certificates: &'p [u8],
    /// The private key of the first of them.
    pub key: &'p [u8],
    /// Authorities of clients. With them nobody connects without a certificate that one of them vouches for.
    pub client_authorities: Option<&'p [u8]>,
}

/// The TLS of a listener. Clones are the same one.
#[derive(Clone)]
pub struct Tls(Arc<RwLock<Current>>);

struct Current {
    config: Arc<ServerConfig>,
    ends: Option<Timestamp>,
}

/// Why there is no TLS from a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidTls {
    /// The certificates are none.
    Certificates {
        /// What is there instead.
        found: String,
    },
    /// The key is none, or that of another certificate.
    Key {
        /// What is there instead.
        found: String,
    },
    /// The authorities of clients are none.
    ClientAuthorities(InvalidAuthorities),
}

impl fmt::Display for InvalidTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificates { found } => {
                write!(
                    f,
                    "expected the certificate of the server as PEM, and then those of who vouches for it, found {found}"
                )
            }
            Self::Key { found } => {
                write!(
                    f,
                    "expected the private key of the server's certificate as PEM, without a password, found {found}"
                )
            }
            Self::ClientAuthorities(invalid) => invalid.fmt(f),
        }
    }
}

impl std::error::Error for InvalidTls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(…)")
    }
}

impl Tls {
    /// TLS with this identity.
    ///
    /// # Errors
    /// A text is not what it has to be, or the key is that of another certificate.
    pub fn new(identity: Identity<'_>) -> Result<Self, InvalidTls> {
        Ok(Self(Arc::new(RwLock::new(Current::of(identity)?))))
    }

    /// Another identity for whoever connects from now on.
    ///
    /// # Errors
    /// As for [`Tls::new`]. The one before stays then.
    pub fn replace(&self, identity: Identity<'_>) -> Result<(), InvalidTls> {
        let current = Current::of(identity)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(())
    }

    /// When the certificate of the server ends, if it says so in a way that can be read.
    pub fn ends(&self) -> Option<Timestamp> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).ends
    }

    /// The handshake. There is no limit of time here.
    pub(crate) async fn accept(&self, stream: Patient) -> io::Result<Transport> {
        let config = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).config);
        match TlsAcceptor::from(config).accept(stream).into_fallible().await {
            Ok(stream) => Ok(Transport::Tls(Box::new(stream))),
            Err((error, stream)) => {
                let _ = tokio::time::timeout(ALERT_TIME, end(stream)).await;
                Err(error)
            }
        }
    }
}

/// Ends a connection on which the client may still be sending: with unread bytes it would be reset, and the client would
/// never see what was written last.
pub(crate) async fn end(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.shutdown().await?;
    let mut thrown_away = [0; 1024];
    while stream.read(&mut thrown_away).await? > 0 {}
    Ok(())
}

impl Current {
    fn of(identity: Identity<'_>) -> Result<Self, InvalidTls> {
        let chain = chain(identity.certificates)?;
        let ends = ends(&chain[0]);
        let certified = certified(chain, identity.key)?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has ciphers for both versions");
        let builder = match identity.client_authorities {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let roots = trust::authorities(pem).map_err(InvalidTls::ClientAuthorities)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("there is an authority"))
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if identity.client_authorities.is_some() {
            // A session that is taken up again asks for no certificate: one that has ended meanwhile would go on.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { config: Arc::new(config), ends })
    }
}

/// At least one certificate. What a parser says is not repeated here and below: it shows lines of the text, and a key may be
/// among them.
fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidTls> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(InvalidTls::Certificates { found: "none".into() }),
        Ok(chain) => Ok(chain),
        Err(_) => Err(InvalidTls::Certificates { found: "PEM that cannot be read".into() }),
    }
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &[u8]) -> Result<CertifiedKey, InvalidTls> {
    let of_key = |found: &str| InvalidTls::Key { found: found.to_owned() };
    let mut der = PrivateKeyDer::from_pem_slice(key).map_err(|_| of_key("none"))?;
    let key = any_supported_type(&der);
    der.zeroize();
    let key =
        key.map_err(|_| of_key("one of a kind that is not known (RSA, ECDSA P-256 and P-384, and Ed25519 are)"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => Err(of_key("that of another certificate")),
        Err(error) => Err(InvalidTls::Certificates { found: error.to_string() }),
    }
}

/// When a certificate ends. Nobody but the verifier reads the time, and it tells it to whoever comes too late; so it is asked
/// whether the certificate is good at the end of time, as its own authority.
fn ends(certificate: &CertificateDer<'static>) -> Option<Timestamp> {
    let mut itself = RootCertStore::empty();
    itself.add(certificate.clone()).ok()?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(itself), provider).build().ok()?;
    let name = ServerName::try_from("localhost").ok()?;
    let late = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    match verifier.verify_server_cert(certificate, &[], &name, &[], late) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(Timestamp(0).plus_ms(i64::try_from(not_after.as_secs()).ok()?.checked_mul(1_000)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    /// Certificate and key.
    fn made(params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn tls(certificates: &str, key: &str, client_authorities: Option<&str>) -> Result<Tls, InvalidTls> {
        let client_authorities = client_authorities.map(str::as_bytes);
        Tls::new(Identity { certificates: certificates.as_bytes(), key: key.as_bytes(), client_authorities })
    }

    #[test]
    fn what_is_no_identity_is_refused_in_words_that_do_not_show_the_key() {
        let (certificate, key) = made(CertificateParams::default());
        let (other, other_key) = made(CertificateParams::default());
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let broken_key = "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n";
        for (certificates, key, authorities, part) in [
            ("", &key[..], None, "certificate of the server as PEM, and then those of who vouches for it, found none"),
            (broken, &key, None, "certificate of the server"),
            (&key, &key, None, "found none"),
            ("-----BEGIN PRIVATE KEY-----aHVudGVyMg==", &key, None, "found PEM that cannot be read"),
            (&certificate, "", None, "private key of the server's certificate as PEM, without a password, found none"),
            (&certificate, &other, None, "found none"),
            (&certificate, broken_key, None, "of a kind that is not known"),
            (&certificate, &other_key, None, "found that of another certificate"),
            (&certificate, &key, Some(""), "certificates of authorities as PEM, found none"),
            (&certificate, &key, Some(broken), "certificates of authorities"),
        ] {
            let said = tls(certificates, key, authorities).unwrap_err().to_string();
            assert!(said.contains(part) && !said.contains("hunter2") && !said.contains("aHVu"), "{part}: {said}");
        }
        let both = format!("{certificate}{key}");
        let good = tls(&both, &both, Some(&other)).unwrap();
        assert_eq!(format!("{good:?}"), "Tls(…)");
    }

    #[test]
    fn the_end_of_a_certificate_is_known_whether_or_not_it_is_over() {
        for (year, text) in [(2001, "2001-02-03T00:00:00.000Z"), (2101, "2101-02-03T00:00:00.000Z")] {
            let mut params = CertificateParams::new(vec!["quipu.example".to_owned()]).unwrap();
            (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 2, 3));
            let (certificate, key) = made(params);
            let ends = tls(&certificate, &key, None).unwrap().ends();
            assert_eq!(ends.map(|ends| ends.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn an_identity_that_is_none_leaves_the_one_before() {
        let ending = |year| {
            let mut params = CertificateParams::default();
            params.not_after = date_time_ymd(year, 1, 1);
            made(params)
        };
        let ((first, first_key), (second, second_key)) = (ending(2050), ending(2060));
        let tls = tls(&first, &first_key, None).unwrap();
        let before = tls.ends();
        let replace = |certificates: &str, key: &str| {
            tls.replace(Identity {
                certificates: certificates.as_bytes(),
                key: key.as_bytes(),
                client_authorities: None,
            })
        };
        replace(&second, &first_key).unwrap_err();
        assert_eq!(tls.ends(), before);
        replace(&second, &second_key).unwrap();
        assert!(tls.ends() > before);
    }
}
