//! Who may have made a request that a browser has sent. A page of any origin may have its browser send requests here,
//! and open a WebSocket, without reading an answer first; a page whose name is moved to this machine (DNS rebinding) may
//! read the answers too. So a request that does more than read is refused if its `Origin` is another than ours, and a
//! listener that only this machine reaches answers to names of this machine alone.
//!
//! Clients that are no browsers send no `Origin` and are not concerned. This is no authentication.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use axum::http::{Method, Request, header};
use quipu_api::{Code, Problem};

/// Most characters of a stranger's header that a refusal repeats.
const SHOWN_CHARS_MAX: usize = 200;

/// A name by which a proxy before the server is called, at any port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicHost(String);

impl FromStr for PublicHost {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        match !text.is_empty() && text.chars().all(is_name) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(()),
        }
    }
}

/// What a listener asks of every request.
#[derive(Clone, Debug)]
pub struct Gatekeeper {
    /// Whether only this machine reaches the listener. Then nobody calls it by a name of another, but for these.
    is_local: bool,
    /// Whether the listener speaks TLS. Then a page that came without it did not come from here.
    is_secure: bool,
    public: Arc<[PublicHost]>,
}

impl Gatekeeper {
    /// For a listener at this address, with TLS or without.
    pub fn of(address: IpAddr, public: &[PublicHost], is_secure: bool) -> Self {
        Self { is_local: address.to_canonical().is_loopback(), is_secure, public: public.into() }
    }

    /// Looks at the head of a request.
    ///
    /// # Errors
    /// `foreign-host`, `foreign-origin`.
    pub fn admit<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        let host = host(request);
        // Browsers always send one; health checks of proxies that speak HTTP/1.0 may not.
        let is_nameless = request.uri().authority().is_none() && !request.headers().contains_key(header::HOST);
        if self.is_local && !is_nameless && !host.is_some_and(|host| is_of_this_machine(host) || self.is_public(host)) {
            return Err(foreign_host(host));
        }
        if is_read(request) {
            return Ok(());
        }
        for origin in request.headers().get_all(header::ORIGIN) {
            if !origin.to_str().is_ok_and(|origin| self.is_ours(origin, host)) {
                return Err(self.foreign_origin(&String::from_utf8_lossy(origin.as_bytes()), host));
            }
        }
        Ok(())
    }

    /// Whether a page of this origin came from the server itself or from a proxy before it.
    fn is_ours(&self, origin: &str, host: Option<&str>) -> bool {
        // Whoever stands between a browser and port 80 of our name makes pages of that origin.
        let plain = origin.strip_prefix("http://").filter(|_| !self.is_secure);
        let authority = plain.or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| host.is_some_and(|host| is_own(origin, host)) || self.is_public(authority))
    }

    /// Whether the answer tells browsers to come by TLS alone from now on. Not where the host is a name of this machine, under
    /// which its user has other servers.
    pub(crate) fn demands_tls<B>(&self, request: &Request<B>) -> bool {
        self.is_secure && host(request).is_some_and(|host| !is_of_this_machine(host))
    }

    fn foreign_origin(&self, found: &str, host: Option<&str>) -> Problem {
        let host = host.map_or("the host of the request".to_owned(), shown);
        let scheme = if self.is_secure { "https" } else { "http" };
        let detail = format!("expected no Origin, or that of the server, {scheme}://{host}, found {}", shown(found));
        Problem::new(Code::ForeignOrigin, detail)
    }

    fn is_public(&self, authority: &str) -> bool {
        split(authority).is_some_and(|(host, _)| self.public.iter().any(|public| public.0.eq_ignore_ascii_case(host)))
    }
}

/// Whether it changes nothing: what a page of another origin gets for it, its browser does not show to it. A WebSocket
/// begins with a GET, and browsers show what comes on it to every page.
fn is_read<B>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && !request.headers().contains_key(header::UPGRADE)
}

/// What the client calls this server. In its absolute form the target goes before the header (RFC 9112, section 3.2.2);
/// of two headers neither is believed.
fn host<B>(request: &Request<B>) -> Option<&str> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str());
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}

/// Whether the host is `localhost`, a name below it (RFC 6761 keeps these for the machine itself) or a loopback address,
/// at any port.
fn is_of_this_machine(authority: &str) -> bool {
    let Some((host, _)) = split(authority) else { return false };
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback());
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return address.is_loopback();
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether a page of this origin came from the server itself. A proxy before it may speak TLS, so both schemes will do.
fn is_own(origin: &str, host: &str) -> bool {
    let (origin, port_default) = match (origin.strip_prefix("http://"), origin.strip_prefix("https://")) {
        (Some(authority), _) => (authority, "80"),
        (_, Some(authority)) => (authority, "443"),
        _ => return false,
    };
    let (Some((origin, origin_port)), Some((host, host_port))) = (split(origin), split(host)) else { return false };
    let or_default = |port| if str::is_empty(port) { port_default } else { port };
    origin.eq_ignore_ascii_case(host) && or_default(origin_port) == or_default(host_port)
}

/// Host and port; an address of IPv6 in its brackets, an empty port if there is none.
fn split(authority: &str) -> Option<(&str, &str)> {
    let end = match authority.starts_with('[') {
        true => authority.find(']')? + 1,
        false => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(end);
    let port = if rest.is_empty() { "" } else { rest.strip_prefix(':')? };
    (!host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some((host, port))
}

fn foreign_host(found: Option<&str>) -> Problem {
    let shown = found.map_or("more than one".to_owned(), shown);
    let detail = format!(
        "expected a Host that names this machine (localhost, 127.0.0.1, [::1]), since the server listens on it alone, or one of public_hosts, found {shown}"
    );
    Problem::new(Code::ForeignHost, detail)
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let request = Request::builder().method(method).uri(target);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
    }

    fn code(address: &str, request: &Request<()>) -> Option<Code> {
        Gatekeeper::of(address.parse().unwrap(), &["quipu.example".parse().unwrap()], false)
            .admit(request)
            .err()
            .and_then(|problem| problem.code())
    }

    #[test]
    fn a_local_listener_is_called_by_a_name_of_this_machine() {
        for host in [
            "localhost",
            "LocalHost:7070",
            "localhost.:1",
            "a.b.localhost:7070",
            "127.0.0.1:7070",
            "127.9.9.9",
            "[::1]:7070",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(code("127.0.0.1", &request("GET", "/", &[("host", host)])), None, "{host}");
            assert_eq!(code("::1", &request("GET", "/", &[("host", host)])), None, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:7070",
            "localhost.evil.example",
            "notlocalhost",
            "10.0.0.1",
            "128.0.0.1",
            "[::2]",
            "::1",
            "127.0.0.1.evil.example",
            "localhost:x",
            "[::1",
            "[::1]x",
            "",
            ":7070",
            "0.0.0.0",
        ] {
            let found = code("127.0.0.1", &request("GET", "/", &[("host", host)]));
            assert_eq!(found, Some(Code::ForeignHost), "{host}");
            assert_eq!(code("10.0.0.1", &request("POST", "/", &[("host", host)])), None, "{host}");
        }
    }

    #[test]
    fn a_host_is_said_once_and_the_target_goes_before_it() {
        let local = [("host", "localhost")];
        assert_eq!(code("::1", &request("GET", "/", &[])), None, "no browser leaves it out");
        assert_eq!(code("::1", &request("GET", "/", &[local[0], local[0]])), Some(Code::ForeignHost));
        assert_eq!(code("::1", &request("GET", "http://evil.example/", &local)), Some(Code::ForeignHost));
        assert_eq!(code("::1", &request("GET", "http://localhost:1/", &[("host", "evil.example")])), None);
    }

    #[test]
    fn a_proxy_passes_on_its_own_name_or_the_origin_of_its_page() {
        let proxied = [("host", "Quipu.Example:443"), ("origin", "https://quipu.example")];
        assert_eq!(code("127.0.0.1", &request("POST", "/", &proxied)), None);
        let rewritten = [("host", "127.0.0.1:7070"), ("origin", "https://quipu.example")];
        assert_eq!(code("127.0.0.1", &request("POST", "/", &rewritten)), None);
        let foreign = [("host", "127.0.0.1:7070"), ("origin", "https://quipu.example.evil")];
        assert_eq!(code("127.0.0.1", &request("POST", "/", &foreign)), Some(Code::ForeignOrigin));
        for wrong in ["", "a b", "https://x", "x:1", "*"] {
            assert!(wrong.parse::<PublicHost>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_page_of_another_origin_may_read_and_no_more() {
        for (host, origin, is_own) in [
            ("localhost:7070", "http://localhost:7070", true),
            ("localhost:7070", "http://LOCALHOST:7070", true),
            ("localhost", "http://localhost", true),
            ("localhost:80", "http://localhost", true),
            ("q.localhost", "https://q.localhost", true),
            ("[::1]:7070", "http://[::1]:7070", true),
            ("localhost:7070", "http://localhost", false),
            ("localhost:7070", "http://localhost:3000", false),
            ("localhost:7070", "http://127.0.0.1:7070", false),
            ("localhost:7070", "http://evil.example", false),
            ("localhost:7070", "http://localhost:7070.evil.example", false),
            ("localhost:7070", "null", false),
            ("localhost:7070", "", false),
            ("localhost:7070", "localhost:7070", false),
            ("localhost:7070", "file://localhost:7070", false),
        ] {
            let headers = [("host", host), ("origin", origin), ("upgrade", "websocket")];
            let refused = (!is_own).then_some(Code::ForeignOrigin);
            for address in ["127.0.0.1", "10.0.0.1"] {
                for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
                    let found = code(address, &request(method, "/v1/events", &headers[..2]));
                    assert_eq!(found, refused, "{method} {host} {origin}");
                }
                assert_eq!(code(address, &request("GET", "/v1/ws", &headers)), refused, "{host} {origin}");
                assert_eq!(code(address, &request("GET", "/v1/events", &headers[..2])), None);
                assert_eq!(code(address, &request("HEAD", "/v1/events", &headers[..2])), None);
            }
        }
    }

    #[test]
    fn over_tls_a_page_that_came_without_it_is_a_strangers() {
        let gatekeeper = Gatekeeper::of([10, 0, 0, 1].into(), &["proxy.example".parse().unwrap()], true);
        for (origin, is_ours) in [
            ("https://quipu.example", true),
            ("https://quipu.example:443", true),
            ("https://proxy.example", true),
            ("http://quipu.example", false),
            ("http://quipu.example:443", false),
            ("http://proxy.example", false),
            ("https://quipu.example:8443", false),
        ] {
            let headers = [("host", "quipu.example"), ("origin", origin)];
            assert_eq!(gatekeeper.admit(&request("POST", "/", &headers)).is_ok(), is_ours, "{origin}");
        }
    }

    #[test]
    fn browsers_are_told_to_come_by_tls_alone_unless_the_name_is_of_their_own_machine() {
        for (host, is_secure, is_told) in [
            ("quipu.example", true, true),
            ("quipu.example:7070", true, true),
            ("quipu.example", false, false),
            ("localhost:7070", true, false),
            ("a.localhost", true, false),
            ("127.0.0.1:7070", true, false),
        ] {
            let gatekeeper = Gatekeeper::of([10, 0, 0, 1].into(), &[], is_secure);
            assert_eq!(gatekeeper.demands_tls(&request("GET", "/", &[("host", host)])), is_told, "{host} {is_secure}");
        }
    }

    #[test]
    fn one_foreign_origin_among_others_is_enough() {
        let headers = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://evil.example")];
        assert_eq!(code("::1", &request("POST", "/", &headers)), Some(Code::ForeignOrigin));
        assert_eq!(code("10.0.0.1", &request("POST", "/", &headers[1..2])), Some(Code::ForeignOrigin));
    }
}
