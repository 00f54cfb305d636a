//! TLS of clients: whose servers they believe, and the certificate that they show to a server that asks for one. As with
//! webhooks there is no way to believe everybody.

use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

/// What a client needs for TLS beside the authorities that its machine trusts.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    authorities: Vec<Certificate<'static>>,
    own: Option<ClientCert>,
}

impl ClientTls {
    /// Believes these authorities too.
    ///
    /// # Errors
    /// What was expected and what was found: the text has no certificates of authorities.
    pub fn believe(&mut self, pem: &[u8]) -> Result<(), String> {
        let expected = |found: &str| format!("expected certificates of authorities as PEM, found {found}");
        let more = certificates(pem).map_err(|found| expected(&found))?;
        for authority in more {
            // A client would pass over what it cannot read, and then believe nobody.
            RootCertStore::empty().add(authority.clone()).map_err(|error| expected(&error.to_string()))?;
            self.authorities.push(Certificate::from_der(&authority).to_owned());
        }
        Ok(())
    }

    /// Shows this certificate, which those behind it lead to an authority.
    ///
    /// # Errors
    /// What was expected and what was found. The key is not repeated.
    pub fn show(&mut self, certificates_pem: &[u8], key_pem: &[u8]) -> Result<(), String> {
        let chain = certificates(certificates_pem)
            .map_err(|found| format!("expected the certificate of the client as PEM, found {found}"))?;
        let expected = |found: &str| {
            format!("expected the private key of the client's certificate as PEM, without a password, found {found}")
        };
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| expected("none"))?;
        CertifiedKey::from_der(chain.clone(), key, &ring::default_provider())
            .map_err(|_| expected("another, or one of a kind that is not known"))?;
        let chain: Vec<_> = chain.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
        let key = PrivateKey::from_pem(key_pem).map_err(|_| expected("none"))?;
        self.own = Some(ClientCert::new_with_certs(&chain, key));
        Ok(())
    }

    /// For a server at this URL: one without TLS needs no authorities, and reading them takes a while.
    pub fn config(&self, url: &str) -> TlsConfig {
        let of_machine: &[Certificate<'static>] = if is_secure(url) { machine() } else { &[] };
        TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .root_certs(RootCerts::from(of_machine.iter().chain(&self.authorities).cloned()))
            .client_cert(self.own.clone())
            .build()
    }
}

/// Whether the URL is one of TLS. Then nothing is called without.
pub fn is_secure(url: &str) -> bool {
    url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

/// At least one certificate, or what there is instead. A parser would repeat lines of the text, which may hold a key.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(none) if none.is_empty() => Err("none".into()),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err("PEM that cannot be read".into()),
    }
}

/// The authorities that the machine trusts.
fn machine() -> &'static [Certificate<'static>] {
    static MACHINE: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs().certs;
        found.iter().map(|one| Certificate::from_der(one).to_owned()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    #[test]
    fn what_is_no_certificate_or_no_key_is_refused_in_words_that_do_not_show_it() {
        let made = || {
            let key = KeyPair::generate().unwrap();
            (CertificateParams::default().self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let ((certificate, key), (_, other)) = (made(), made());
        let broken = "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n";
        let mut tls = ClientTls::default();
        for pem in ["", "no pem", broken, &key, "-----BEGIN PRIVATE KEY-----aHVudGVyMg=="] {
            let said = tls.believe(pem.as_bytes()).unwrap_err();
            assert!(said.starts_with("expected certificates of authorities as PEM, found"), "{said}");
            assert!(!said.contains("aHV") && !said.contains("97, 72, 86"), "{said}");
        }
        for (certificate, key, part) in [
            ("", &key[..], "certificate of the client as PEM, found none"),
            (&certificate, "", "without a password, found none"),
            (&certificate, &other, "found another"),
            (broken, &key, "found another"),
        ] {
            let said = tls.show(certificate.as_bytes(), key.as_bytes()).unwrap_err();
            assert!(said.contains(part) && !said.contains("aHV"), "{part}: {said}");
        }
        tls.believe(certificate.as_bytes()).unwrap();
        tls.show(certificate.as_bytes(), key.as_bytes()).unwrap();
        let der = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let bytes = format!("{:?}", der.secret_der());
        let shown = format!("{tls:?} {:?}", tls.config("https://a"));
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    }

    #[test]
    fn a_url_of_tls_is_known_however_it_is_written() {
        for (url, is) in [("https://a", true), ("HTTPS://a", true), ("http://https:", false), ("", false), ("ä", false)]
        {
            assert_eq!(is_secure(url), is, "{url}");
        }
    }
}
