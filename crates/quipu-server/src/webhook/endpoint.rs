//! The URL of an endpoint, checked: `http` or `https`, a host, no user. It is shown without its path and query, since
//! those are where many receivers keep a token.
//!
//! It is no judge of where the host leads: that is found out anew for each connection.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;
use hyper::http::uri::Scheme;

/// Longest URL; proxies cut at about as much.
const URL_BYTES_MAX: usize = 2_048;

/// Where events are sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// Why a text is not the URL of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUrl {
    detail: String,
}

impl InvalidUrl {
    fn new(detail: impl fmt::Display) -> Self {
        Self { detail: detail.to_string() }
    }
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for InvalidUrl {}

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// Another scheme, a user, a fragment, no host, a host in other letters than ASCII, or no URL at all.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let refuse = |expected: &str, found: &str| Err(InvalidUrl::new(format!("expected {expected}, found {found}")));
        if url.len() > URL_BYTES_MAX {
            return refuse(&format!("a URL of at most {URL_BYTES_MAX} bytes"), &format!("{} bytes", url.len()));
        }
        if !url.bytes().all(|c| c.is_ascii_graphic()) {
            let expected = "a URL in ASCII without spaces (a host as punycode, a path percent-encoded)";
            return refuse(expected, "other characters");
        }
        if url.contains('#') {
            return refuse("a URL without a fragment", "a #");
        }
        let Ok(uri) = url.parse::<Uri>() else {
            return refuse("a URL such as https://example.com/events", "what is none");
        };
        if uri.scheme() != Some(&Scheme::HTTP) && uri.scheme() != Some(&Scheme::HTTPS) {
            return refuse("a URL that begins with https:// or http://", "another beginning");
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return refuse("a URL without user and password (the signature says who sends)", "an @ before the host");
        }
        let host = uri.host().unwrap_or_default();
        if !is_host(host) {
            return refuse("a host name, an IPv4 address or an IPv6 address in brackets", "another host");
        }
        let port = &authority[host.len()..];
        if !port.is_empty() && uri.port_u16().is_none_or(|port| port == 0) {
            return refuse("a port of 1 to 65535", "another");
        }
        Ok(Self(uri))
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }

    /// Scheme, host and port, the same for every way to write them: what answers together, and fails together.
    pub fn origin(&self) -> String {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let port = self.0.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        let name = || {
            let host = self.0.host().unwrap_or_default().to_ascii_lowercase();
            host.strip_suffix('.').map(str::to_owned).unwrap_or(host)
        };
        let host = match self.address().map(|address| address.to_canonical()) {
            None => name(),
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => format!("[{address}]"),
        };
        format!("{scheme}://{host}:{port}")
    }

    /// The address, where the URL has one instead of a name.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        literal(self.0.host()?)
    }
}

/// The address that a host is, if it is no name. Forms that only some resolvers know (`127.1`, `0x7f000001`) are names
/// here: what they resolve to is checked like everything else.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

fn is_host(host: &str) -> bool {
    if host.starts_with('[') {
        return literal(host).is_some();
    }
    let is_fit = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
    // A dot at the end says that the name is whole. With two there would be another origin than the URL's own.
    let mut labels = host.strip_suffix('.').unwrap_or(host).split('.');
    host.len() <= 253 && labels.all(|label| !label.is_empty()) && host.bytes().all(is_fit)
}

impl fmt::Display for Endpoint {
    /// Scheme, host and port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}", self.0.authority().map_or("", |authority| authority.as_str()))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_and_https_with_a_host_are_endpoints_and_shown_without_their_path() {
        for (url, shown) in [
            ("https://example.com/hooks/token?key=secret", "https://example.com"),
            ("HTTP://Example.com:8080", "http://Example.com:8080"),
            ("http://[2606:4700::1111]:80/", "http://[2606:4700::1111]:80"),
            ("https://xn--bcher-kva.example/a%20b", "https://xn--bcher-kva.example"),
            ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!((endpoint.to_string(), format!("{endpoint:?}")), (shown.into(), format!("Endpoint({shown})")));
        }
    }

    #[test]
    fn an_origin_is_the_same_however_it_is_written() {
        for (urls, origin) in [
            (&["https://a.example/x", "HTTPS://A.example:443/y?z", "https://a.example"][..], "https://a.example:443"),
            (&["http://a.example/", "http://A.EXAMPLE:80/x"], "http://a.example:80"),
            (&["http://[2606:4700::1111]:81/"], "http://[2606:4700::1111]:81"),
            (&["http://a.example./", "http://A.example.:80/"], "http://a.example:80"),
            (&["http://[2606:4700:0:0::1111]/", "http://[2606:4700::0.0.17.17]/"], "http://[2606:4700::1111]:80"),
            (&["http://1.1.1.1/", "http://[::ffff:1.1.1.1]/", "http://[::ffff:101:101]/"], "http://1.1.1.1:80"),
        ] {
            for url in urls {
                assert_eq!(Endpoint::parse(url).unwrap().origin(), origin, "{url}");
            }
        }
    }

    #[test]
    fn every_other_url_is_refused_with_a_reason_and_without_its_secrets() {
        let long = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX));
        for (url, reason) in [
            ("ftp://example.com/", "https://"),
            ("file:///etc/passwd", "a URL"),
            ("gopher://example.com/", "https://"),
            ("example.com/hooks", "a URL"),
            ("/hooks", "https://"),
            ("example.com", "https://"),
            ("", "a URL"),
            ("https://", "a URL"),
            ("https:///hooks", "a URL"),
            ("https://me:hunter2@example.com/", "without user"),
            ("https://hunter2@example.com/", "without user"),
            ("https://example.com\\@127.0.0.1/", "a URL"),
            ("https://example.com:443@127.0.0.1/", "without user"),
            ("https://@127.0.0.1/", "without user"),
            ("https://example.com%40127.0.0.1/", "a URL"),
            ("https://127.0.0.1%00.example.com/", "a URL"),
            ("https:///@127.0.0.1/", "a URL"),
            ("https:127.0.0.1/", "a URL"),
            ("https://[::ffff:127.0.0.1%25lo]/", "a host name"),
            ("https://[::1]x/", "port"),
            ("https://example.com/#part", "fragment"),
            ("https://bücher.example/", "punycode"),
            ("https://example.com/a b", "ASCII"),
            ("https://example.com/\r\nx: y", "ASCII"),
            ("https://example.com:0/", "port"),
            ("https://example.com:65536/", "port"),
            ("https://example.com:/", "port"),
            ("https://exa%6dple.com/", "a URL"),
            ("https://exam!ple.com/", "a host name"),
            ("https://[fe80::1%25eth0]/", "a host name"),
            ("https://./", "a host name"),
            ("https://example.com../", "a host name"),
            ("https://.example.com/", "a host name"),
            ("https://example..com/", "a host name"),
            ("https://[::1/", "a URL"),
            ("https://[10.0.0.1]/", "a host name"),
            (&long, "2048 bytes"),
        ] {
            let error = Endpoint::parse(url).expect_err(url).to_string();
            assert!(error.contains(reason) && error.starts_with("expected "), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
