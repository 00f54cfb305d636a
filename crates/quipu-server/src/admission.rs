//! Who a request is from, and whether he may do what it asks for. Every request comes through here before its handler, which
//! is asked for what the catalogue says that its operation needs. What a grant is narrowed to, and what only a body tells (an
//! edited copy, a condition on a query), the handlers ask here as well.
//!
//! Whoever is not known learns nothing: a tenant that does not exist, a key that does not exist and a key with another
//! secret take the same way and get the same answer.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use quipu_api::catalogue::Needs;
use quipu_api::{Code, Operation, Problem};
use quipu_domain::access::{Narrowing, Token};
use quipu_domain::{Access, Event, Filter, Permission};
use quipu_engine::{Recorded, Shown, TENANT_SYSTEM};

use crate::home::Home;
use crate::{App, Host, body, problem, subscription};

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
}

/// A route's operation, and what is needed to let somebody in.
pub(crate) type Gate = (Arc<Host>, &'static Operation);

/// Lets a request through to its handler, with what the handler needs to serve it, or answers why not.
pub(crate) async fn admit(State((host, operation)): State<Gate>, mut request: Request, next: Next) -> Response {
    match admitted(&host, operation, &request) {
        Ok(app) => {
            if let Some(app) = app {
                request.extensions_mut().insert(app);
            }
            next.run(request).await
        }
        Err(refused) => {
            let peer = request.extensions().get::<Peer>().copied();
            body::linger(request.into_body());
            host.hold_back(&refused).await;
            if refused.code() == Some(Code::Unauthenticated)
                && let Some(Peer(address)) = peer
                && !host.attempts.failed(address.ip()).await
            {
                return problem::respond(&too_many());
            }
            problem::respond(&refused)
        }
    }
}

fn too_many() -> Problem {
    Problem::new(Code::TooManyAttempts, "expected a valid credential, found too many others from the same address")
}

fn admitted(host: &Arc<Host>, operation: &Operation, request: &Request) -> Result<Option<Arc<App>>, Problem> {
    if operation.needs == Needs::Nothing {
        return Ok(None);
    }
    let (home, caller) = identify(host, request.headers())?;
    let tenant = Arc::clone(&home.tenant);
    let mut app = App { host: Arc::clone(host), home, tenant, caller, entered: None };
    // Operators are not in the tenants that they operate: nothing that was done to one keeps them out.
    if operation.needs == Needs::Permission(Permission::Operate) {
        app.demand_operator()?;
        return Ok(Some(Arc::new(app)));
    }
    app.demand_open()?;
    match operation.needs {
        Needs::Nothing | Needs::Credential => {}
        Needs::Part(permission) => app.demand(permission)?,
        Needs::Permission(permission) if operation.path.contains("{name}") => {
            app.demand_for(permission, &subscription::name(request))?;
        }
        Needs::Permission(permission) => app.demand_whole(permission)?,
    }
    app.entered = Some(app.home.enter()?);
    Ok(Some(Arc::new(app)))
}

/// The tenant of a request, and who it is from.
fn identify(host: &Host, headers: &HeaderMap) -> Result<(Arc<Home>, Caller), Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) if PASSED_ON.iter().any(|name| headers.contains_key(*name)) => {
            return Err(unauthenticated("none, and a proxy has passed the request on"));
        }
        (None, _) => {
            let home = host.lets_anybody_in.then(|| host.homes.get(&host.anybodys)).flatten();
            return Ok((home.ok_or_else(|| unauthenticated("none"))?, Caller::Anybody));
        }
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(unauthenticated("two headers of this name")),
    };
    let scheme = |text: &str| text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
    let bearer = value.to_str().ok().filter(|text| scheme(text)).map(|text| text[7..].trim());
    let bearer = bearer.ok_or_else(|| unauthenticated("another scheme than Bearer"))?;
    let token = Token::parse(bearer).ok_or_else(|| unauthenticated("a text that is no key"))?;
    let home = host.homes.get(token.tenant);
    // Without such a tenant another is asked for a key that it has not, which takes as long.
    let (asked, id) = match &home {
        Some(home) => (&home.tenant, token.id),
        None => (&host.stand_in, ""),
    };
    let shown = asked.authenticate(id, &token.secret);
    match (home, shown) {
        (Some(home), Some(shown)) => Ok((home, Caller::Key(shown))),
        _ => Err(unauthenticated("one that is not valid here")),
    }
}

fn unauthenticated(found: &str) -> Problem {
    let detail = format!("expected a key in the header Authorization, as Bearer qp_…, found {found}");
    Problem::new(Code::Unauthenticated, detail)
}

fn forbidden(permission: Permission, found: &str) -> Problem {
    let detail = format!("expected a credential with the permission {permission}, found {found}");
    Problem::new(Code::Forbidden, detail).with("permission", permission.as_str())
}

impl App {
    /// What the caller may do.
    pub(crate) fn access(&self) -> &Access {
        match &self.caller {
            Caller::Anybody => &self.host.everything,
            Caller::Key(shown) => shown.key().access(),
        }
    }

    /// Whether the caller is still who he was: a connection may be held for longer than a key is good.
    pub(crate) fn demand_good(&self) -> Result<(), Problem> {
        if self.entered.is_some() {
            self.demand_open()?;
        }
        match &self.caller {
            Caller::Key(shown) if !self.tenant.is_key_good(shown) => {
                Err(unauthenticated("one that was revoked or replaced, or whose time is over"))
            }
            _ => Ok(()),
        }
    }

    /// That the tenant is served. Only who has a valid credential of it learns that it is not.
    fn demand_open(&self) -> Result<(), Problem> {
        match self.home.is_closed() {
            false => Ok(()),
            true => {
                let detail = "expected a tenant that is served, found that it is suspended";
                Err(Problem::new(Code::TenantSuspended, detail))
            }
        }
    }

    /// That the caller may operate tenants: with a key of `system`, or as whoever is let in without one.
    fn demand_operator(&self) -> Result<(), Problem> {
        match &self.caller {
            Caller::Anybody => Ok(()),
            Caller::Key(_) if self.home.name == TENANT_SYSTEM => self.demand_whole(Permission::Operate),
            Caller::Key(_) => Err(forbidden(Permission::Operate, &self.found())),
        }
    }

    /// The permission, however narrow it is: what it is narrowed to is looked at one by one.
    pub(crate) fn demand(&self, permission: Permission) -> Result<(), Problem> {
        if self.access().has(permission) { Ok(()) } else { Err(forbidden(permission, &self.found())) }
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
                Err(forbidden(permission, narrowed))
            }
        }
    }

    /// The permission for a subscription, whether or not there is one of that name: who may not ask does not learn it.
    pub(crate) fn demand_for(&self, permission: Permission, subscription: &str) -> Result<(), Problem> {
        self.demand(permission)?;
        match self.access().has_for(permission, subscription) {
            true => Ok(()),
            false => Err(forbidden(permission, "it for other subscriptions only")),
        }
    }

    /// That an event may be published, here and by the caller.
    pub(crate) fn demand_publish(&self, event: &Event<'_>) -> Result<(), Problem> {
        self.demand_good()?;
        self.demand(Permission::Publish)?;
        self.demand_own_tenant(event)?;
        if !self.access().may_publish(event) {
            return Err(forbidden(Permission::Publish, "it for other events only"));
        }
        Ok(())
    }

    /// That an event names no other tenant.
    pub(crate) fn demand_own_tenant(&self, event: &Event<'_>) -> Result<(), Problem> {
        match event.attribute("tenantid").filter(|tenant| *tenant != self.home.name) {
            None => Ok(()),
            Some(tenant) => {
                let tenant: String = tenant.chars().take(64).collect();
                let detail = format!("expected tenantid {} or none, found {tenant}", self.home.name);
                Err(Problem::new(Code::ForeignTenant, detail))
            }
        }
    }

    /// A filter that takes only what the caller may see.
    pub(crate) fn visible(&self, filter: Filter) -> Filter {
        Filter { visible: self.access().visible().cloned(), ..filter }
    }

    /// Whether the caller may see an event. To who may not it is as if it were absent.
    pub(crate) fn sees(&self, recorded: &Recorded) -> bool {
        self.access().visible().is_none_or(|visible| visible.shows(&recorded.event(), Some(&recorded.stamp)))
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
