//! Tickets: what a page in a browser opens a stream with, since neither `EventSource` nor `WebSocket` can send a header. A
//! page gets one with its credential and puts it into the URL; it is good for one stream within a minute, and the stream lives
//! as long as the credential does.
//!
//! They are in memory only, by their hashes: a server that was started again knows none, and pages ask for another.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::response::Response;
use quipu_api::key::TicketAnswer;
use quipu_api::{Code, Problem};
use quipu_domain::Timestamp;
use quipu_domain::access::KeySecret;
use zeroize::Zeroizing;

use crate::admission::Caller;
use crate::hash::{Hash, sha256};
use crate::subscription::json;
use crate::{App, problem};

/// The query parameter that holds one.
const PARAMETER: &str = "ticket";
/// What the text begins with, so that scanners of logs find it.
const PREFIX: &str = "qt_";
/// How long one is good: a page opens its stream at once.
const LIFE_MS: i64 = 60_000;
/// Most that one caller gets within that time: a server that gets them for its pages needs more than a page does.
const CALLER_MAX: usize = 500;
/// Most that all callers of a tenant get within that time. One takes some 300 bytes.
const TENANT_MAX: usize = 2_000;

/// Tickets that were given out within their time.
pub(crate) struct Tickets(Mutex<Given>);

#[derive(Default)]
struct Given {
    /// Those that nobody has used.
    unused: HashMap<Hash, Ticket>,
    /// All, oldest first.
    all: VecDeque<Noted>,
    /// How many of them are of each tenant, and of each caller.
    of_tenant: HashMap<Arc<str>, usize>,
    of_caller: HashMap<Arc<str>, usize>,
}

struct Ticket {
    tenant: Arc<str>,
    caller: Caller,
}

struct Noted {
    hash: Hash,
    until: Timestamp,
    tenant: Arc<str>,
    caller: Arc<str>,
}

/// Who asks for one.
struct Asker<'a> {
    tenant: &'a str,
    /// Who he is within it.
    name: &'a str,
    caller: Caller,
}

/// What a stream is opened with.
pub(crate) enum Shown<'q> {
    None,
    One(&'q str),
    Many,
}

impl Tickets {
    pub fn new() -> Self {
        Self(Mutex::default())
    }

    /// Gives one out. The limit, if there were too many.
    fn give(&self, asker: Asker<'_>, secret: &KeySecret, now: Timestamp) -> Result<Timestamp, usize> {
        let Asker { tenant, name, caller } = asker;
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given.forget(now);
        let name: Arc<str> = format!("{tenant} {name}").into();
        let (tenant, hash, until): (Arc<str>, _, _) = (tenant.into(), sha256(secret.bytes()), now.plus_ms(LIFE_MS));
        if given.of_tenant.get(&tenant).is_some_and(|count| *count >= TENANT_MAX) {
            return Err(TENANT_MAX);
        }
        if given.of_caller.get(&name).is_some_and(|count| *count >= CALLER_MAX) {
            return Err(CALLER_MAX);
        }
        *given.of_tenant.entry(Arc::clone(&tenant)).or_default() += 1;
        *given.of_caller.entry(Arc::clone(&name)).or_default() += 1;
        given.unused.insert(hash, Ticket { tenant: Arc::clone(&tenant), caller });
        given.all.push_back(Noted { hash, until, tenant, caller: name });
        Ok(until)
    }

    /// The tenant and the caller of a ticket, which is then used up.
    pub fn take(&self, text: &str, now: Timestamp) -> Option<(Arc<str>, Caller)> {
        let hash = sha256(KeySecret::from_hex(text.strip_prefix(PREFIX)?)?.bytes());
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given.forget(now);
        given.unused.remove(&hash).map(|ticket| (ticket.tenant, ticket.caller))
    }

    /// Those of a tenant that goes away are not good for the next of its name.
    pub fn withdraw(&self, tenant: &str) {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given.unused.retain(|_, ticket| &*ticket.tenant != tenant);
    }
}

impl Given {
    /// Forgets those whose time is over.
    fn forget(&mut self, now: Timestamp) {
        while let Some(Noted { hash, tenant, caller, .. }) = self.all.pop_front_if(|noted| noted.until <= now) {
            self.unused.remove(&hash);
            for (counts, name) in [(&mut self.of_tenant, tenant), (&mut self.of_caller, caller)] {
                if let Some(count) = counts.get_mut(&name) {
                    *count -= 1;
                    if *count == 0 {
                        counts.remove(&name);
                    }
                }
            }
        }
    }
}

pub(crate) async fn give(Extension(app): Extension<Arc<App>>) -> Response {
    problem::answer(run(&app))
}

fn run(app: &App) -> Result<Response, Problem> {
    let secret = KeySecret::made_by(|bytes| app.tenant.fill_random(bytes));
    let asker = Asker { tenant: &app.home.name, name: &app.caller.to_string(), caller: app.caller.clone() };
    let until = app.host.tickets.give(asker, &secret, app.tenant.now()).map_err(|limit| {
        let detail = format!("expected at most {limit} tickets within a minute, found more");
        Problem::new(Code::TooManyTickets, detail).with("limit", limit)
    })?;
    let ticket = Zeroizing::new(format!("{PREFIX}{}", *secret.hex()));
    Ok(json(&TicketAnswer { ticket: ticket.to_string(), expires: until.to_string() }))
}

/// The ticket in the query of a URL.
pub(crate) fn shown(uri: &Uri) -> Shown<'_> {
    let mut found = uri.query().unwrap_or_default().split('&').filter_map(ticket);
    match (found.next(), found.next()) {
        (None, _) => Shown::None,
        (Some(one), None) => Shown::One(one),
        _ => Shown::Many,
    }
}

/// The URL without it: it has done its work, and nothing behind is to write it anywhere.
pub(crate) fn without(uri: &Uri) -> Uri {
    let pairs = uri.query().unwrap_or_default().split('&');
    let kept: Vec<&str> = pairs.filter(|pair| !pair.is_empty() && ticket(pair).is_none()).collect();
    let path = uri.path();
    let text = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(text).ok();
    Uri::from_parts(parts).unwrap_or_default()
}

fn ticket(pair: &str) -> Option<&str> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (name == PARAMETER).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(number: usize) -> KeySecret {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
        KeySecret::new(bytes)
    }

    fn text(number: usize) -> String {
        format!("{PREFIX}{}", *secret(number).hex())
    }

    #[test]
    fn tickets_of_a_tenant_that_goes_away_are_good_for_nothing() {
        let tickets = Tickets::new();
        for (number, tenant) in ["a", "b"].into_iter().enumerate() {
            let asker = Asker { tenant, name: "somebody", caller: Caller::Anybody };
            tickets.give(asker, &secret(number), Timestamp(0)).unwrap();
        }
        tickets.withdraw("a");
        let is_good = |number: usize| tickets.take(&text(number), Timestamp(1)).is_some();
        assert_eq!((is_good(0), is_good(1)), (false, true));
    }

    #[test]
    fn a_ticket_is_good_once_and_for_a_minute() {
        let tickets = Tickets::new();
        for number in 0..3 {
            let asker = Asker { tenant: "a", name: "somebody", caller: Caller::Anybody };
            assert_eq!(tickets.give(asker, &secret(number), Timestamp(0)), Ok(Timestamp(60_000_000)));
        }
        assert!(tickets.take(&text(0), Timestamp(59_999_999)).is_some_and(|(tenant, _)| &*tenant == "a"));
        assert!(tickets.take(&text(0), Timestamp(59_999_999)).is_none());
        assert!(tickets.take(&text(1)[1..], Timestamp(0)).is_none() && tickets.take(&text(9), Timestamp(0)).is_none());
        assert!(tickets.take(&text(1), Timestamp(60_000_000)).is_none());
        let given = tickets.0.lock().unwrap();
        assert!(given.unused.is_empty() && given.all.is_empty());
        assert!(given.of_tenant.is_empty() && given.of_caller.is_empty());
    }

    #[test]
    fn a_flood_ends_at_a_limit_for_a_caller_and_for_a_tenant_whether_they_are_used_or_not() {
        let tickets = Tickets::new();
        let give = |tenant: &str, who: usize, number: usize, now: i64| {
            let asker = Asker { tenant, name: &format!("caller {who}"), caller: Caller::Anybody };
            tickets.give(asker, &secret(number), Timestamp(now)).map(drop)
        };
        for number in 0..CALLER_MAX {
            give("a", 0, number, 0).unwrap();
            assert!(tickets.take(&text(number), Timestamp(0)).is_some());
        }
        assert_eq!(give("a", 0, 10_000, 0), Err(CALLER_MAX));
        for number in CALLER_MAX..TENANT_MAX {
            give("a", number / CALLER_MAX, number, 0).unwrap();
        }
        assert_eq!(give("a", 9, 10_000, 0), Err(TENANT_MAX));
        // Neither another tenant nor a caller of the same name there is concerned.
        give("b", 0, 10_001, 0).unwrap();
        give("a", 0, 10_002, 60_000_000).unwrap();
        assert_eq!(tickets.0.lock().unwrap().unused.len(), 1);
    }

    #[test]
    fn it_is_taken_out_of_the_url() {
        for (url, expected) in [
            ("/v1/tail?ticket=qt_1", "/v1/tail"),
            ("/v1/tail?type=a.*&ticket=qt_1&from=start", "/v1/tail?type=a.*&from=start"),
            ("/v1/tail?ticket=1&ticket=2", "/v1/tail"),
            ("/v1/tail?ticket", "/v1/tail"),
            ("/v1/tail?tickets=1", "/v1/tail?tickets=1"),
            ("/v1/tail", "/v1/tail"),
            ("http://localhost:1/v1/tail?a=%26ticket&ticket=x", "http://localhost:1/v1/tail?a=%26ticket"),
        ] {
            assert_eq!(without(&url.parse().unwrap()).to_string(), expected, "{url}");
        }
        let shown = |url: &str| match shown(&url.parse().unwrap()) {
            Shown::None => "none".to_owned(),
            Shown::One(text) => text.to_owned(),
            Shown::Many => "many".to_owned(),
        };
        assert_eq!(
            ["/?a=ticket", "/?a=1&ticket=x", "/?ticket", "/?ticket=x&ticket=x"].map(shown),
            ["none", "x", "", "many"]
        );
    }
}
