//! Who a request is from, and whether he may do what it asks for. Every request comes through here before its handler, which
//! is asked for what the catalogue says that its operation needs. What a grant is narrowed to, and what only a body tells (an
//! edited copy, a condition on a query), the handlers ask here as well.
//!
//! Whoever is not known learns nothing: a tenant that does not exist, a key that does not exist and a key with another
//! secret take the same way and get the same answer. So do tokens and tickets that are not valid, for whatever reason.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use quipu_api::catalogue::Needs;
use quipu_api::{Code, Operation, Problem};
use quipu_domain::access::{Fingerprint, Narrowing, TOKEN_PREFIX, Token};
use quipu_domain::{Access, Event, Filter, Permission};
use quipu_engine::{Actor, Fault, Recorded, Shown, TENANT_SYSTEM, Tenant};

use crate::audited::{self, Asked};
use crate::home::Home;
use crate::identity::{NotVerified, Verified};
use crate::{App, Host, authorization, body, problem, subscription, ticket};

/// What proxies add to a request that they pass on: it comes from anywhere, however near the proxy is.
const PASSED_ON: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// The address of whoever has sent a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub SocketAddr);

/// Who calls.
#[derive(Clone)]
pub(crate) enum Caller {
    /// Somebody on this machine without a credential, on a server that takes such.
    Anybody,
    /// The holder of a key.
    Key(Shown),
    /// The bearer of a token, for whom an identity provider vouches.
    Token(Arc<Verified>),
}

impl fmt::Display for Caller {
    /// Who it is, within his tenant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("anybody"),
            Self::Key(shown) => write!(f, "key:{}", shown.key().id()),
            Self::Token(verified) => write!(f, "token:{verified}"),
        }
    }
}

/// A route's operation, and what is needed to let somebody in.
pub(crate) type Gate = (Arc<Host>, &'static Operation);

/// Lets a request through to its handler, with what the handler needs to serve it, or answers why not.
pub(crate) async fn admit(State((host, operation)): State<Gate>, mut request: Request, next: Next) -> Response {
    if operation.needs == Needs::Nothing {
        return next.run(request).await;
    }
    let asked = Asked::of(operation, &request);
    let identified = identify(&host, operation, request.headers(), request.uri()).await;
    if operation.takes_ticket() {
        *request.uri_mut() = ticket::without(request.uri());
    }
    let known = identified.and_then(|(home, caller)| {
        let certified = demand_certificate(&caller, &request);
        match certified {
            Ok(()) => Ok((home, caller)),
            Err(problem) => {
                // The key is known, and somebody has it who should not.
                let (tenant, actor) = (Some(Arc::clone(&home.tenant)), caller.actor());
                Err(Unknown { tenant, actor, ..problem.into() })
            }
        }
    });
    let (home, caller) = match known {
        Ok(known) => known,
        Err(unknown) => return turn_away(&host, asked, unknown, request).await,
    };
    let tenant = Arc::clone(&home.tenant);
    let mut app = App { host, home, tenant, caller, asked, entered: None };
    if let Err(refused) = app.demand_entry(operation, &request) {
        audited::write_refusals(&app).await;
        body::linger(request.into_body());
        app.host.hold_back(&refused).await;
        return problem::respond(&refused);
    }
    let app = Arc::new(app);
    request.extensions_mut().insert(Arc::clone(&app));
    audited::serve(app, request, next).await
}

/// Somebody who has not said who he is, or not so that it could be believed. What he wanted is noted without waiting for the
/// disk, also where there is no such tenant: he must not learn that by the time it takes.
async fn turn_away(host: &Host, asked: Asked, unknown: Unknown, request: Request) -> Response {
    let Unknown { tenant, actor, problem } = unknown;
    asked.note_refusal(tenant.as_ref().unwrap_or(&host.stand_in), actor, &problem);
    let peer = request.extensions().get::<Peer>().copied();
    body::linger(request.into_body());
    match peer.filter(|_| problem.code() == Some(Code::Unauthenticated)) {
        Some(Peer(address)) if !host.attempts.failed(address.ip()).await => problem::respond(&too_many()),
        _ => problem::respond(&problem),
    }
}

fn too_many() -> Problem {
    Problem::new(Code::TooManyAttempts, "expected a valid credential, found too many others from the same address")
}

/// Who it is from is not known.
struct Unknown {
    /// The tenant that was asked, if there is one.
    tenant: Option<Arc<Tenant>>,
    actor: Actor,
    problem: Box<Problem>,
}

impl From<Problem> for Unknown {
    fn from(problem: Problem) -> Self {
        Self { tenant: None, actor: Actor::stranger(), problem: Box::new(problem) }
    }
}

/// The tenant of a request, and who it is from.
async fn identify(
    host: &Host,
    operation: &Operation,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<(Arc<Home>, Caller), Unknown> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let ticket = if operation.takes_ticket() { ticket::shown(uri) } else { ticket::Shown::None };
    let is_passed_on = || PASSED_ON.iter().any(|name| headers.contains_key(*name));
    let value = match (values.next(), values.next(), ticket) {
        (None, _, ticket::Shown::One(text)) => {
            return match of_ticket(host, text)? {
                // That of somebody without a credential says no more than none does.
                (_, Caller::Anybody) if is_passed_on() => Err(invalid().into()),
                found => Ok(found),
            };
        }
        (None, _, ticket::Shown::None) if is_passed_on() => {
            return Err(unauthenticated("none, and a proxy has passed the request on").into());
        }
        (None, _, ticket::Shown::None) => {
            // Operators are not in the tenants that they operate: nothing that was done to one keeps them out.
            let name = if is_operators(operation) { TENANT_SYSTEM } else { &host.anybodys };
            let home = host.lets_anybody_in.then(|| host.homes.get(name)).flatten();
            return Ok((home.ok_or_else(|| unauthenticated("none"))?, Caller::Anybody));
        }
        (Some(value), None, ticket::Shown::None) => value,
        (Some(_), Some(_), _) => return Err(unauthenticated("two headers of this name").into()),
        _ => return Err(unauthenticated("another one beside a ticket").into()),
    };
    let bearer = authorization::bearer(value).ok_or_else(|| unauthenticated("another scheme than Bearer"))?;
    if bearer.starts_with(TOKEN_PREFIX) { of_key(host, bearer) } else { of_token(host, bearer).await }
}

/// Whether it is done by whoever operates all tenants.
fn is_operators(operation: &Operation) -> bool {
    operation.needs == Needs::Permission(Permission::Operate)
}

/// The holder of a key.
fn of_key(host: &Host, text: &str) -> Result<(Arc<Home>, Caller), Unknown> {
    let token = Token::parse(text).ok_or_else(|| unauthenticated("a text that is no key"))?;
    let home = host.homes.get(token.tenant);
    // Without such a tenant another is asked for a key that it has not, which takes as long.
    let (asked, id) = match &home {
        Some(home) => (&home.tenant, token.id),
        None => (&host.stand_in, ""),
    };
    let Some(shown) = asked.authenticate(id, &token.secret) else {
        return Err(Unknown { tenant: home.map(|home| Arc::clone(&home.tenant)), ..invalid().into() });
    };
    match home {
        Some(home) => Ok((home, Caller::Key(shown))),
        None => Err(invalid().into()),
    }
}

/// The bearer of a token.
async fn of_token(host: &Host, text: &str) -> Result<(Arc<Home>, Caller), Unknown> {
    let tenants = |name: &str| host.homes.get(name).map(|home| Arc::clone(&home.tenant));
    match host.identity.verify(text, host.stand_in.now(), tenants).await {
        Ok(verified) => {
            let home = host.homes.get(verified.tenant()).ok_or_else(invalid)?;
            Ok((home, Caller::Token(verified)))
        }
        Err(NotVerified::Wrong) => Err(invalid().into()),
        Err(NotVerified::Unreachable) => {
            let detail =
                "expected keys of the identity provider to check the token with, found that it cannot be reached";
            Err(Problem::new(Code::ProviderUnreachable, detail).into())
        }
    }
}

/// Whoever got a ticket, if his credential is still good.
fn of_ticket(host: &Host, text: &str) -> Result<(Arc<Home>, Caller), Unknown> {
    let (tenant, caller) = host.tickets.take(text, host.stand_in.now()).ok_or_else(invalid)?;
    let home = host.homes.get(&tenant).ok_or_else(invalid)?;
    if caller.is_good(&home) { Ok((home, caller)) } else { Err(invalid().into()) }
}

fn invalid() -> Problem {
    unauthenticated("one that is not valid here")
}

/// That the connection has shown the certificate that a key is bound to. Whoever gets here has the key, so he is told.
fn demand_certificate(caller: &Caller, request: &Request) -> Result<(), Problem> {
    let Caller::Key(shown) = caller else { return Ok(()) };
    match shown.key().certificate() {
        Some(bound) if request.extensions().get::<Fingerprint>() != Some(&bound) => {
            Err(unauthenticated("one that is bound to a certificate, on a connection that has not shown it"))
        }
        _ => Ok(()),
    }
}

fn unauthenticated(found: &str) -> Problem {
    let detail = format!("expected a key or a token in the header Authorization, after Bearer, found {found}");
    Problem::new(Code::Unauthenticated, detail)
}

fn forbidden(permission: Permission, found: &str) -> Problem {
    let detail = format!("expected a credential with the permission {permission}, found {found}");
    Problem::new(Code::Forbidden, detail).with("permission", permission.as_str())
}

/// Whether somebody may publish an event, and cancel a timer that does.
pub(crate) fn may_publish(access: &Access, event: &Event<'_>) -> bool {
    // What a command has led to comes from there. Who could publish it would have answered before the handler did.
    let is_own = [SUBSCRIPTIONS, OWN].iter().any(|begin| event.source().starts_with(begin));
    access.may_publish(event) && (!is_own || access.has_whole(Permission::Publish))
}

impl Caller {
    /// Whether he is still who he was.
    fn is_good(&self, home: &Home) -> bool {
        match self {
            Self::Anybody => true,
            Self::Key(shown) => home.tenant.is_key_good(shown),
            Self::Token(verified) => verified.is_good(home.tenant.now()),
        }
    }
}

/// What the sources of answers to commands begin with.
pub(crate) const SUBSCRIPTIONS: &str = "/subscriptions/";
/// What the sources of events begin with that this server publishes itself: for sagas, rules, schedules, and
/// deliveries that were given up.
const OWN: &str = "/quipu/";

impl App {
    /// What the caller may do.
    pub(crate) fn access(&self) -> &Access {
        match &self.caller {
            Caller::Anybody => &self.host.everything,
            Caller::Key(shown) => shown.key().access(),
            Caller::Token(verified) => verified.access(),
        }
    }

    /// That the tenant takes the request, and what the catalogue says that its operation needs.
    fn demand_entry(&mut self, operation: &Operation, request: &Request) -> Result<(), Problem> {
        if is_operators(operation) {
            return self.demand_operator();
        }
        self.demand_open()?;
        self.demand_needs(operation, request)?;
        self.entered = Some(match operation.needs {
            Needs::Permission(Permission::Administer) => self.home.enter_to_administer(),
            _ => self.home.enter().or_else(|problem| self.refuse_act(operation, problem))?,
        });
        if operation.is_audited() && operation.needs != Needs::Permission(Permission::Administer) {
            self.home.count_act().or_else(|problem| self.refuse_act(operation, problem))?;
        }
        Ok(())
    }

    /// A refusal for a quota, which stands in the trail if it is of an act.
    fn refuse_act<T>(&self, operation: &Operation, problem: Problem) -> Result<T, Problem> {
        if operation.is_audited() { self.refuse(problem) } else { Err(problem) }
    }

    /// What the catalogue says that an operation needs.
    fn demand_needs(&self, operation: &Operation, request: &Request) -> Result<(), Problem> {
        match operation.needs {
            Needs::Nothing | Needs::Credential => Ok(()),
            Needs::Part(permission) => self.demand(permission),
            // Which of them it has to be, whoever looks at what it is about decides.
            Needs::Either(_, other) if self.access().has_whole(other) => Ok(()),
            Needs::Either(one, _) => self.demand_whole(one),
            Needs::Permission(permission) if operation.path.contains("{name}") => {
                self.demand_for(permission, &subscription::name(request))
            }
            Needs::Permission(permission) => self.demand_whole(permission),
        }
    }

    /// Whether the caller is still who he was: a connection may be held for longer than a key is good.
    pub(crate) fn demand_good(&self) -> Result<(), Problem> {
        if self.entered.is_some() {
            self.demand_open()?;
        }
        match self.caller.is_good(&self.home) {
            true => Ok(()),
            false => self.refuse(unauthenticated("one that was revoked or replaced, or whose time is over")),
        }
    }

    /// That the tenant is served. Only who has a valid credential of it learns that it is not.
    fn demand_open(&self) -> Result<(), Problem> {
        match self.home.is_closed() {
            false => Ok(()),
            true => {
                let detail = "expected a tenant that is served, found that it is suspended";
                self.refuse(Problem::new(Code::TenantSuspended, detail))
            }
        }
    }

    /// That the caller may operate tenants: with a credential of `system`, or as whoever is let in without one.
    fn demand_operator(&self) -> Result<(), Problem> {
        match &self.caller {
            Caller::Anybody => Ok(()),
            _ if self.home.name == TENANT_SYSTEM => self.demand_whole(Permission::Operate),
            _ => self.refuse(forbidden(Permission::Operate, &self.found())),
        }
    }

    /// The permission, however narrow it is: what it is narrowed to is looked at one by one.
    pub(crate) fn demand(&self, permission: Permission) -> Result<(), Problem> {
        if self.access().has(permission) { Ok(()) } else { self.refuse(forbidden(permission, &self.found())) }
    }

    /// The permission for everything.
    pub(crate) fn demand_whole(&self, permission: Permission) -> Result<(), Problem> {
        self.demand(permission)?;
        match self.access().has_whole(permission) {
            true => Ok(()),
            false => {
                let narrowed = match permission.narrowing() {
                    Narrowing::Events => "it for some events only",
                    _ => "it for some subscriptions only",
                };
                self.refuse(forbidden(permission, narrowed))
            }
        }
    }

    /// The permission for a subscription, whether or not there is one of that name: who may not ask does not learn it.
    pub(crate) fn demand_for(&self, permission: Permission, subscription: &str) -> Result<(), Problem> {
        self.demand(permission)?;
        match self.access().has_for(permission, subscription) {
            true => Ok(()),
            false => self.refuse(forbidden(permission, "it for other subscriptions only")),
        }
    }

    /// That an event may be published, here and by the caller.
    pub(crate) fn demand_publish(&self, event: &Event<'_>) -> Result<(), Problem> {
        self.demand_good()?;
        self.demand(Permission::Publish)?;
        self.demand_own_tenant(event)?;
        match may_publish(self.access(), event) {
            true => Ok(()),
            false => self.refuse(forbidden(Permission::Publish, "it for other events only")),
        }
    }

    /// That an event names no other tenant.
    pub(crate) fn demand_own_tenant(&self, event: &Event<'_>) -> Result<(), Problem> {
        match event.attribute("tenantid").filter(|tenant| *tenant != self.home.name) {
            None => Ok(()),
            Some(tenant) => {
                let tenant: String = tenant.chars().take(64).collect();
                let detail = format!("expected tenantid {} or none, found {tenant}", self.home.name);
                self.refuse(Problem::new(Code::ForeignTenant, detail))
            }
        }
    }

    /// A filter that takes only what the caller may see.
    pub(crate) fn visible(&self, filter: Filter) -> Filter {
        Filter { visible: self.access().visible().cloned(), ..filter }
    }

    /// Whether the caller may see an event. To who may not it is as if it were absent.
    /// Reads its payload if that depends on its data.
    pub(crate) fn sees(&self, recorded: &Recorded) -> Result<bool, Fault> {
        self.access().visible().map_or(Ok(true), |visible| self.tenant.shows(recorded, visible))
    }

    /// What the caller has instead of what he needs.
    fn found(&self) -> String {
        let mut words: Vec<&str> =
            self.access().grants().iter().flat_map(|grant| &grant.permissions).map(|one| one.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        if words.is_empty() { "none".into() } else { words.join(", ") }
    }
}
