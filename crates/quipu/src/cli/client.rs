//! The HTTP client: a request, and an answer that is data or a problem document. Blocking.

use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quipu::client_tls::{ClientTls, is_secure};
use quipu_api::MEDIA_JSON;
use rustls::AlertDescription;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::http::Response;
use ureq::{Body, RequestBuilder};
use zeroize::Zeroizing;

use super::exit::{Exit, Failure};
use super::output::member;

/// Unreserved characters of RFC 3986 and the slash, which separates levels of a subject.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Long enough for a far server, short enough for a person who mistyped the address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub struct Client {
    agent: ureq::Agent,
    /// What stands in the header Authorization.
    credential: Option<Zeroizing<String>>,
    pub url: String,
}

/// Names and values of a query string.
pub type Query = Vec<(&'static str, String)>;

/// A GET that is being put together.
pub struct Get<'c> {
    pub path: &'c str,
    pub query: &'c Query,
    pub headers: &'c [(&'static str, &'c str)],
}

impl Client {
    pub fn new(url: String, key: Option<Zeroizing<String>>, tls: &ClientTls) -> Self {
        Self::of(url, key, tls, None)
    }

    /// For a server that always has something to say: one that has been silent for so long is taken to be gone.
    pub fn of_talker(url: String, key: Option<Zeroizing<String>>, tls: &ClientTls, silence_max: Duration) -> Self {
        Self::of(url, key, tls, Some(silence_max))
    }

    fn of(url: String, key: Option<Zeroizing<String>>, tls: &ClientTls, silence_max: Option<Duration>) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(silence_max)
            .user_agent(concat!("quipu/", env!("CARGO_PKG_VERSION")))
            .https_only(is_secure(&url))
            .tls_config(tls.config(&url))
            .build();
        let credential = key.map(|key| Zeroizing::new(format!("Bearer {}", *key)));
        Self { agent: config.into(), credential, url }
    }

    fn with_key<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.credential {
            Some(credential) => request.header("authorization", credential.as_str()),
            None => request,
        }
    }

    /// A JSON document, as the text that came.
    pub fn json(&self, path: &str, query: &Query) -> Result<String, Failure> {
        let answer =
            self.get(&Get { path, query, headers: &[("accept", "application/json, application/cloudevents+json")] })?;
        self.read(answer)
    }

    /// A JSON document that is looked into.
    pub fn parsed<T: DeserializeOwned>(&self, path: &str, query: &Query) -> Result<T, Failure> {
        self.parse(&self.json(path, query)?)
    }

    /// A JSON document as what it says.
    pub fn parse<'t, T: Deserialize<'t>>(&self, text: &'t str) -> Result<T, Failure> {
        serde_json::from_str(text).map_err(|error| self.not_ours(&error.to_string()))
    }

    /// An answer of which the body is still to be read.
    pub fn get(&self, get: &Get<'_>) -> Result<Response<Body>, Failure> {
        let mut request = self.with_key(self.agent.get(format!("{}{}", self.url, get.path)));
        for (name, value) in get.query {
            request = request.query(*name, value);
        }
        for (name, value) in get.headers {
            request = request.header(*name, *value);
        }
        self.accepted(request.call().map_err(|error| self.failure(&error))?)
    }

    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Result<Response<Body>, Failure> {
        let request =
            self.with_key(self.agent.post(format!("{}{path}", self.url))).header("content-type", content_type);
        self.accepted(request.send(body).map_err(|error| self.failure(&error))?)
    }

    /// Posts a JSON document; the answer as the text that came.
    pub fn send(&self, path: &str, body: &impl Serialize) -> Result<String, Failure> {
        self.read(self.post(path, MEDIA_JSON, &document(body)?)?)
    }

    /// As [`Self::json`], with refusals: the status and the text that came, for those who decide by them.
    pub fn asked(&self, path: &str, query: &Query) -> Result<(u16, String), Failure> {
        let request = self.with_key(self.agent.get(format!("{}{path}", self.url)));
        let request = query.iter().fold(request, |request, (name, value)| request.query(*name, value));
        self.whole(request.call())
    }

    /// As [`Self::send`], with refusals.
    pub fn sent(&self, path: &str, body: &impl Serialize) -> Result<(u16, String), Failure> {
        let request = self.with_key(self.agent.post(format!("{}{path}", self.url))).header("content-type", MEDIA_JSON);
        self.whole(request.send(document(body)?.as_slice()))
    }

    fn whole(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<(u16, String), Failure> {
        let answer = answer.map_err(|error| self.failure(&error))?;
        Ok((answer.status().as_u16(), self.read(answer)?))
    }

    /// Puts a JSON document in the place of what was there; the answer as the text that came.
    pub fn put(&self, path: &str, body: &impl Serialize) -> Result<String, Failure> {
        let request = self.with_key(self.agent.put(format!("{}{path}", self.url))).header("content-type", MEDIA_JSON);
        let sent = request.send(document(body)?.as_slice());
        self.read(self.accepted(sent.map_err(|error| self.failure(&error))?)?)
    }

    /// As [`Self::put`], with refusals: the status and the text that came.
    pub fn placed(&self, path: &str, body: &impl Serialize) -> Result<(u16, String), Failure> {
        let request = self.with_key(self.agent.put(format!("{}{path}", self.url))).header("content-type", MEDIA_JSON);
        self.whole(request.send(document(body)?.as_slice()))
    }

    /// Posts to a route that says everything in its path.
    pub fn act(&self, path: &str) -> Result<String, Failure> {
        let sent = self.with_key(self.agent.post(format!("{}{path}", self.url))).send_empty();
        self.read(self.accepted(sent.map_err(|error| self.failure(&error))?)?)
    }

    pub fn delete(&self, path: &str) -> Result<String, Failure> {
        let sent = self.with_key(self.agent.delete(format!("{}{path}", self.url))).call();
        self.read(self.accepted(sent.map_err(|error| self.failure(&error))?)?)
    }

    /// The whole body.
    pub fn read(&self, answer: Response<Body>) -> Result<String, Failure> {
        let mut text = String::new();
        answer.into_body().into_reader().read_to_string(&mut text).map_err(|error| self.broken_off(&error))?;
        Ok(text)
    }

    /// The lines of the body, as they arrive.
    pub fn lines(&self, answer: Response<Body>) -> impl Iterator<Item = Result<String, Failure>> {
        let lines = BufReader::new(answer.into_body().into_reader()).lines();
        lines.map(|line| line.map_err(|error| self.broken_off(&error)))
    }

    pub fn broken_off(&self, error: &io::Error) -> Failure {
        Failure::new(Exit::Unreachable, format!("the answer of {} broke off: {error}", self.url))
    }

    fn accepted(&self, answer: Response<Body>) -> Result<Response<Body>, Failure> {
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let mut bytes = Vec::new();
        let read = answer.into_body().into_reader().take(1 << 20).read_to_end(&mut bytes);
        match (read, serde_json::from_slice::<Value>(&bytes)) {
            (Ok(_), Ok(problem)) if problem.get("code").is_some() => Err(refused(&problem)),
            _ => Err(self.not_ours(&format!("status {status}"))),
        }
    }

    fn not_ours(&self, found: &str) -> Failure {
        Failure::failed(format!("expected an answer of a quipu server from {}, found {found}", self.url))
    }

    fn failure(&self, error: &ureq::Error) -> Failure {
        let url = &self.url;
        let reason = match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => return Failure::usage(format!("{url}: {error}")),
            ureq::Error::Io(error) => match distrust(error) {
                Some(advice) => return Failure::new(Exit::Unreachable, format!("{url}: {error}; {advice}")),
                None => error.to_string(),
            },
            other => other.to_string(),
        };
        let message =
            format!("no server answers at {url} ({reason}); start one: quipu dev, or name another: --url URL");
        Failure::new(Exit::Unreachable, message)
    }
}

/// What to do if one of the two sides does not believe the other.
fn distrust(error: &io::Error) -> Option<&'static str> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(_) => {
            Some("name a file with the authority of the server's certificate: --ca-file FILE")
        }
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError,
        ) => Some("show it a certificate that it takes: --certificate-file FILE --certificate-key-file FILE"),
        _ => None,
    }
}

/// A body of JSON.
pub fn document(body: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(body).map_err(|error| Failure::failed(format!("cannot write the request: {error}")))
}

/// A problem document (RFC 9457) as a failure.
pub fn refused(problem: &Value) -> Failure {
    let exit = match (problem["status"].as_u64(), problem["code"].as_str()) {
        (_, Some("route-not-found")) => Exit::Failed,
        (Some(404), _) => Exit::NotFound,
        (_, Some("damaged")) => Exit::Damaged,
        _ => Exit::Failed,
    };
    Failure::new(exit, explain(problem))
}

/// What a problem document says, on one line.
pub fn explain(problem: &Value) -> String {
    format!("{} [{}]", member(problem, "detail"), member(problem, "code"))
}

/// A subject as a part of a path.
pub fn encode(subject: &str) -> String {
    utf8_percent_encode(subject, PATH).to_string()
}
