//! Certificates of a test: authorities, what they vouch for, and TLS that is made of it.

use std::net::SocketAddr;
use std::sync::Arc;

use quipu_server::{Identity, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::client::Client;
use crate::host::within;

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key, as PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        Self::named("authority of a test")
    }

    /// Who vouches for a certificate is looked up by name.
    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a name.
    pub fn issue(&self, name: &str) -> Issued {
        self.issue_until(name, 2100)
    }

    /// Good until that year begins.
    pub fn issue_until(&self, name: &str, year: i32) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 1, 1));
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }

    /// A client that believes this authority, and has a certificate or none.
    pub fn client(&self, own: Option<&Issued>) -> Caller {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_auth_cert(own.chain(), own.key_der()).unwrap(),
        };
        Caller(Arc::new(config))
    }
}

impl Issued {
    pub fn identity<'i>(&'i self, client_authorities: Option<&'i str>) -> Identity<'i> {
        let (certificates, key) = (self.certificate.as_bytes(), self.key.as_bytes());
        Identity { certificates, key, client_authorities: client_authorities.map(str::as_bytes) }
    }

    /// What a server of this crate has.
    pub fn tls(&self, client_authorities: Option<&Authority>) -> Tls {
        let authorities = client_authorities.map(Authority::pem);
        Tls::new(self.identity(authorities.as_deref())).unwrap()
    }

    /// What somebody else's server has.
    pub fn server_config(&self) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        builder.with_single_cert(self.chain(), self.key_der()).unwrap()
    }

    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.certificate.as_bytes()).map(Result::unwrap).collect()
    }

    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// What calls servers by TLS.
pub struct Caller(pub Arc<ClientConfig>);

impl Caller {
    /// The handshake, as far as the client knows: what the server thinks of its certificate it may learn later.
    pub async fn shake(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = within(TcpStream::connect(address)).await.unwrap();
        within(TlsConnector::from(Arc::clone(&self.0)).connect("localhost".try_into().unwrap(), stream)).await
    }

    pub async fn connect(&self, address: SocketAddr) -> Client {
        Client::over(self.shake(address).await.unwrap())
    }
}
