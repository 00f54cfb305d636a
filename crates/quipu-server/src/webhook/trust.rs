//! Whose certificates are believed: those of the authorities that the machine trusts, and those that configuration adds.
//! There is no way to believe nobody's or everybody's.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Why a text is not the certificates of authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAuthorities {
    found: String,
}

impl fmt::Display for InvalidAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected certificates of authorities as PEM, found {}", self.found)
    }
}

impl std::error::Error for InvalidAuthorities {}

/// TLS 1.2 and 1.3 with the machine's authorities and these.
pub(crate) fn configuration(more_pem: Option<&[u8]>) -> Result<ClientConfig, InvalidAuthorities> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = more_pem {
        add(&mut roots, pem)?;
    }
    if roots.is_empty() {
        tracing::warn!(
            "expected certificates of authorities on this machine, found none: webhooks and identity providers over https will fail; \
             install the package ca-certificates, or name a file of them in SSL_CERT_FILE"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("the provider has ciphers for both versions");
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The authorities in a text, at least one.
pub(crate) fn authorities(pem: &[u8]) -> Result<RootCertStore, InvalidAuthorities> {
    let mut roots = RootCertStore::empty();
    add(&mut roots, pem)?;
    Ok(roots)
}

fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), InvalidAuthorities> {
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        // A parser would repeat lines of the text, which may hold a key.
        let added = certificate.map_err(|_| "PEM that cannot be read".to_owned());
        let added = added.and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(|found| InvalidAuthorities { found })?;
        count += 1;
    }
    if count == 0 { Err(InvalidAuthorities { found: "none".into() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_no_certificate_is_refused() {
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in [&b""[..], b"no pem", broken] {
            let error = configuration(Some(pem)).unwrap_err().to_string();
            assert!(error.starts_with("expected certificates"), "{error}");
        }
    }
}
