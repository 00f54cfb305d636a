//! One request about a subscription, and what its answer means: data, trouble that may pass, or the end. Trying again is
//! decided elsewhere. Blocking.

use std::io::Read;
use std::time::{Duration, SystemTime};

use quipu_api::{Code, InvalidServerUrl, MEDIA_JSON, Problem, server_url};
use quipu_domain::WriteOnly;
use quipu_engine::SubscriptionRefusal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::http::header::RETRY_AFTER;
use ureq::{Body, RequestBuilder};

use crate::Error;
use crate::client_tls::{ClientTls, is_secure};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a request to be written, and for its answer to begin beyond the time that it was asked to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// For the rest of an answer: 4 MiB at 70 KiB/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer that is read. A pull ends after 4 MiB of events, each byte of which takes 6 at most as JSON (`\u0001`),
/// and 1,000 deliveries add less than 1 MiB.
const ANSWER_BYTES_MAX: u64 = 32 << 20;
/// Largest problem document that is read.
const PROBLEM_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    /// Without a slash at its end.
    url: String,
    key: Option<WriteOnly>,
    tls: ClientTls,
}

/// Why a request did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The same may succeed later, but not before this time.
    Passing { error: Error, after: Duration },
    /// The same would end the same.
    Lasting(Error),
}

impl Client {
    pub fn new(url: &str) -> Result<Self, Error> {
        let url = server_url(url)
            .map_err(|invalid| Error::Server { url: invalid.shown, reason: InvalidServerUrl::EXPECTED.to_owned() })?;
        let tls = ClientTls::default();
        Ok(Self { agent: Self::agent(url, &tls), url: url.to_owned(), key: None, tls })
    }

    fn agent(url: &str, tls: &ClientTls) -> ureq::Agent {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_request(Some(ANSWER_TIMEOUT))
            .timeout_send_body(Some(ANSWER_TIMEOUT))
            .timeout_recv_body(Some(BODY_TIMEOUT))
            .user_agent(concat!("quipu/", env!("CARGO_PKG_VERSION")))
            .https_only(is_secure(url))
            .tls_config(tls.config(url))
            .build();
        config.into()
    }

    /// The same server, with a key.
    pub fn with_key(&self, key: WriteOnly) -> Self {
        let (url, tls) = (self.url.clone(), self.tls.clone());
        Self { agent: self.agent.clone(), url, key: Some(key), tls }
    }

    /// The same server, with other TLS.
    pub fn with_tls(&self, change: impl FnOnce(&mut ClientTls) -> Result<(), String>) -> Result<Self, Error> {
        let mut tls = self.tls.clone();
        change(&mut tls).map_err(|reason| self.error(&reason))?;
        Ok(Self { agent: Self::agent(&self.url, &tls), url: self.url.clone(), key: self.key.clone(), tls })
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {}", key.expose())),
            None => request,
        }
    }

    /// A subscription; names are plain, see `is_subscription_name`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, Trouble> {
        let request = self.authorized(self.agent.get(format!("{}/v1/subscriptions/{name}", self.url)));
        self.read(name, request.config().timeout_recv_response(Some(ANSWER_TIMEOUT)).build().call())
    }

    /// Something of a subscription, from a server that may wait so long before it answers.
    pub fn post<T: DeserializeOwned>(
        &self,
        name: &str,
        what: &str,
        body: &impl Serialize,
        wait: Duration,
    ) -> Result<T, Trouble> {
        let bytes = serde_json::to_vec(body).map_err(|error| Trouble::Lasting(self.error(&error)))?;
        let url = format!("{}/v1/subscriptions/{name}/{what}", self.url);
        let request = self.authorized(self.agent.post(url)).header("content-type", MEDIA_JSON);
        let request = request.config().timeout_recv_response(Some(wait + ANSWER_TIMEOUT)).build();
        self.read(name, request.send(&bytes[..]))
    }

    /// An error of this server.
    pub fn error(&self, reason: &impl ToString) -> Error {
        Error::Server { url: self.url.clone(), reason: reason.to_string() }
    }

    /// What may pass at any time.
    pub fn passing(&self, reason: &impl ToString) -> Trouble {
        Trouble::Passing { error: self.error(reason), after: Duration::ZERO }
    }

    fn read<T: DeserializeOwned>(
        &self,
        name: &str,
        answered: Result<Response<Body>, ureq::Error>,
    ) -> Result<T, Trouble> {
        let answer = match answered {
            Ok(answer) if answer.status().is_success() => answer,
            Ok(answer) => return Err(self.refused(name, answer)),
            Err(error @ (ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
                return Err(Trouble::Lasting(self.error(&error)));
            }
            Err(error) => return Err(self.passing(&error)),
        };
        let bytes = answer.into_body().into_with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let bytes = bytes.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => Trouble::Lasting(self.error(&error)),
            error => self.passing(&error),
        })?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Trouble::Lasting(self.error(&format_args!("expected an answer of a quipu server, found {error}")))
        })
    }

    fn refused(&self, name: &str, answer: Response<Body>) -> Trouble {
        let status = answer.status();
        let after = answer.headers().get(RETRY_AFTER).and_then(|text| text.to_str().ok());
        let after = after.and_then(|text| retry_after(text, SystemTime::now())).unwrap_or_default();
        let mut bytes = Vec::new();
        // What cannot be read is no problem document: the status says enough.
        _ = answer.into_body().into_reader().take(PROBLEM_BYTES_MAX).read_to_end(&mut bytes);
        let problem: Option<Problem> = serde_json::from_slice(&bytes).ok();
        let error = match &problem {
            Some(problem) => self.error(problem),
            None => self.error(&format_args!("expected an answer of a quipu server, found status {status}")),
        };
        match status.as_u16() {
            404 if problem.is_some_and(|problem| problem.code() == Some(Code::SubscriptionNotFound)) => {
                Trouble::Lasting(Error::Subscription(SubscriptionRefusal::NotFound { name: name.to_owned() }))
            }
            408 | 425 | 429 | 500.. => Trouble::Passing { error, after },
            _ => Trouble::Lasting(error),
        }
    }
}

/// How long a server asks to be left alone, in either form of RFC 9110, section 10.2.3: seconds, or a date by its own
/// clock. Nothing if it is neither.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than a number holds is as long as there is.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_may_hold_a_secret_is_refused_without_being_repeated() {
        let error = Client::new("http://ada:hunter2@quipu.internal").unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(said.contains("without user, password") && !said.contains("hunter"), "{said}");
        assert_eq!(Client::new("http://proxy/events/").unwrap().url, "http://proxy/events");
    }

    #[test]
    fn a_server_asks_to_be_left_alone_in_seconds_or_until_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:00 GMT").unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(37)),
            ("Sun Nov  6 08:49:37 1994", Some(37)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn an_answer_that_is_too_large_is_not_read_and_one_that_is_none_ends_it() {
        let read = |body: Vec<u8>| {
            let answer = Response::new(Body::builder().data(body));
            Client::new("http://a").unwrap().read::<Vec<u8>>("billing", Ok(answer))
        };
        // The limit itself is as far as is read.
        let blank = |size: u64| [vec![b' '; size as usize - 2], b"[]".to_vec()].concat();
        assert_eq!(read(blank(ANSWER_BYTES_MAX - 1)).unwrap(), [0; 0]);
        for other in [blank(ANSWER_BYTES_MAX), b"<html>".to_vec()] {
            assert!(matches!(read(other), Err(Trouble::Lasting(Error::Server { .. }))));
        }
    }

    fn refused(status: u16, retry_after: &str, body: &str) -> Trouble {
        let answer = Response::builder().status(status).header(RETRY_AFTER, retry_after);
        let answer = answer.body(Body::builder().data(body.to_owned())).unwrap();
        Client::new("http://a").unwrap().refused("billing", answer)
    }

    #[test]
    fn what_may_pass_is_told_from_what_lasts() {
        let problem = |code| serde_json::to_string(&Problem::new(code, "detail")).unwrap();
        for status in [408, 429, 500, 502, 503, 504, 507] {
            let Trouble::Passing { error, after } = refused(status, "7", "<html>") else { panic!("{status} passes") };
            assert_eq!(after, Duration::from_secs(7));
            assert!(error.to_string().contains(&status.to_string()), "{error}");
        }
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let Trouble::Passing { after, .. } = refused(503, &date, "") else { panic!() };
        assert!((90..=100).contains(&after.as_secs()), "{after:?}");
        let Trouble::Passing { error, after } = refused(503, "soon", &problem(Code::Overloaded)) else { panic!() };
        assert_eq!((after, error.to_string().contains("overloaded")), (Duration::ZERO, true));
        for (status, body) in [(301, String::new()), (401, String::new()), (404, problem(Code::RouteNotFound))] {
            assert!(matches!(refused(status, "7", &body), Trouble::Lasting(Error::Server { .. })), "{status}");
        }
        let gone = refused(404, "", &problem(Code::SubscriptionNotFound));
        assert!(matches!(gone, Trouble::Lasting(Error::Subscription(_))));
    }
}
