//! The identity providers that are believed, as the operator of the server lists them, and what each may say: who is in which
//! tenant, and what a role may do there. What exists is valid.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use quipu_domain::{Access, Grant};
use quipu_engine::{TENANT_SYSTEM, Tenant};
use serde::Deserialize;

use super::claims::{self, ClaimPath, Claims};
use super::fetch::{Source, place};
use super::{Algorithm, Verified};

/// Most providers.
const PROVIDERS_MAX: usize = 64;
/// Most audiences of a provider, each up to as many bytes as a URL.
const AUDIENCES_MAX: usize = 16;
/// Most roles of a provider, and most tenants that are named by what it calls them.
const ROLES_MAX: usize = 64;
const TENANT_NAMES_MAX: usize = 10_000;

/// Identity providers, as configuration lists them.
#[derive(Clone, Debug, Default)]
pub struct Providers(pub(super) Vec<Arc<Provider>>);

/// Why a text is no list of identity providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidProviders {
    detail: String,
}

impl fmt::Display for InvalidProviders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for InvalidProviders {}

/// One provider for one use: those of its tokens that are for these audiences.
#[derive(Debug)]
pub(super) struct Provider {
    pub source: Source,
    pub audiences: Vec<String>,
    pub algorithms: Vec<Algorithm>,
    tenant: TenantRule,
    roles: ClaimPath,
    grants: BTreeMap<String, Vec<Grant>>,
    user: Option<ClaimPath>,
}

/// In which tenant somebody is.
#[derive(Debug)]
enum TenantRule {
    /// All in one.
    Named(String),
    /// In the one that the claim names, by its own name or by one of these.
    Claimed { claim: ClaimPath, names: Option<BTreeMap<String, String>> },
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    issuer: String,
    audiences: Vec<String>,
    jwks: Option<String>,
    algorithms: Option<Vec<Algorithm>>,
    tenant: WrittenTenant,
    roles: WrittenRoles,
    user: Option<ClaimPath>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTenant {
    name: Option<String>,
    claim: Option<ClaimPath>,
    names: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRoles {
    claim: ClaimPath,
    grants: BTreeMap<String, Vec<Grant>>,
}

impl Providers {
    /// Reads a list of providers, JSON.
    ///
    /// # Errors
    /// What was expected and what was found, and in which provider.
    pub fn from_json(text: &str) -> Result<Self, InvalidProviders> {
        let invalid = |detail| InvalidProviders { detail };
        let written: Vec<Written> = serde_json::from_str(text)
            .map_err(|error| invalid(format!("expected a JSON array of identity providers, found {error}")))?;
        if written.len() > PROVIDERS_MAX {
            return Err(invalid(format!("expected at most {PROVIDERS_MAX} providers, found {}", written.len())));
        }
        let mut all: Vec<Arc<Provider>> = Vec::new();
        for (index, written) in written.into_iter().enumerate() {
            let provider = Provider::check(written).map_err(|detail| invalid(format!("/{index}{detail}")))?;
            let is_shared = |other: &&Arc<Provider>| {
                other.source.issuer == provider.source.issuer
                    && other.audiences.iter().any(|audience| provider.audiences.contains(audience))
            };
            if all.iter().any(|other| is_shared(&other)) {
                let detail = "/audiences: expected others than the same issuer has above, found one of those";
                return Err(invalid(format!("/{index}{detail}")));
            }
            all.push(Arc::new(provider));
        }
        Ok(Self(all))
    }

    /// Whether nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Provider {
    /// Checks what was written; says which member is wrong, as a JSON pointer, and why.
    fn check(written: Written) -> Result<Self, String> {
        let Written { issuer, audiences, jwks, algorithms, tenant, roles, user } = written;
        place(&issuer).map_err(|detail| format!("/issuer: {detail}"))?;
        if issuer.contains('?') {
            return Err("/issuer: expected a URL without a query, found a ?".to_owned());
        }
        let is_fit = |audience: &String| (1..=2_048).contains(&audience.len());
        if !(1..=AUDIENCES_MAX).contains(&audiences.len()) || !audiences.iter().all(is_fit) {
            return Err(format!(
                "/audiences: expected 1 to {AUDIENCES_MAX} texts that aud may be, found {}",
                audiences.len()
            ));
        }
        let jwks = jwks.map(|url| place(&url)).transpose().map_err(|detail| format!("/jwks: {detail}"))?;
        let algorithms = algorithms.unwrap_or_else(|| Algorithm::ALL.to_vec());
        if algorithms.is_empty() {
            return Err("/algorithms: expected at least one, found none; without the member all are taken".to_owned());
        }
        let tenant = TenantRule::check(tenant).map_err(|detail| format!("/tenant: {detail}"))?;
        check_grants(&roles.grants, user.is_some())?;
        let WrittenRoles { claim: roles, grants } = roles;
        Ok(Self { source: Source { issuer, jwks }, audiences, algorithms, tenant, roles, grants, user })
    }

    /// What somebody with these roles may do in a tenant. A role that cannot be granted there gives nothing.
    pub fn access(&self, tenant: &Tenant, somebody: &Somebody) -> Access {
        let roles = somebody.roles.iter().filter_map(|role| self.grants.get(role));
        let granted = roles.filter(|grants| tenant.check_grants(grants).is_ok());
        let grants = granted.flatten().cloned().collect();
        Access::new(grants, somebody.user.as_deref()).unwrap_or_else(|_| Access::nothing())
    }

    /// Who a token is about, if it says all that is asked for.
    pub fn somebody(&self, claims: &Claims) -> Option<Somebody> {
        let subject = claims::name(claims.get("sub")?.as_str()?)?.to_owned();
        let user = match &self.user {
            None => None,
            Some(path) => Some(claims::name(path.text(claims)?)?.to_owned()),
        };
        let mut roles = self.roles.words(claims);
        roles.retain(|role| self.grants.contains_key(*role));
        roles.sort_unstable();
        roles.dedup();
        let roles = roles.into_iter().map(str::to_owned).collect();
        Some(Somebody { tenant: self.tenant.of(claims)?, subject, user, roles })
    }
}

/// What a provider says of somebody.
pub(super) struct Somebody {
    pub tenant: String,
    pub subject: String,
    pub user: Option<String>,
    /// His roles that are known here.
    pub roles: Vec<String>,
}

impl TenantRule {
    fn check(written: WrittenTenant) -> Result<Self, &'static str> {
        match (written.name, written.claim, written.names) {
            (Some(name), None, None) if !name.is_empty() => Ok(Self::Named(name)),
            (None, Some(claim), names) if names.as_ref().is_none_or(|names| names.len() <= TENANT_NAMES_MAX) => {
                Ok(Self::Claimed { claim, names })
            }
            (None, Some(_), _) => Err("expected at most 10000 names, found more"),
            _ => {
                Err("expected the name of a tenant, or a claim (and names, if it has others than ours), found neither \
                 or both")
            }
        }
    }

    fn of(&self, claims: &Claims) -> Option<String> {
        match self {
            Self::Named(name) => Some(name.clone()),
            // That of the operators is given by whoever writes the settings, never by a claim alone.
            Self::Claimed { claim, names: None } => {
                claim.text(claims).filter(|name| *name != TENANT_SYSTEM).map(str::to_owned)
            }
            Self::Claimed { claim, names: Some(names) } => names.get(claim.text(claims)?).cloned(),
        }
    }
}

/// That each role makes sense, and all together: somebody may have every one of them.
fn check_grants(roles: &BTreeMap<String, Vec<Grant>>, is_personal: bool) -> Result<(), String> {
    if !(1..=ROLES_MAX).contains(&roles.len()) {
        return Err(format!("/roles/grants: expected 1 to {ROLES_MAX} roles, found {}", roles.len()));
    }
    let user = is_personal.then_some("somebody");
    for (role, grants) in roles {
        if grants.is_empty() {
            return Err(format!("/roles/grants/{role}: expected at least one grant, found none"));
        }
        Access::new(grants.clone(), user).map_err(|invalid| format!("/roles/grants/{role}: {invalid}"))?;
    }
    let together = roles.values().flatten().cloned().collect();
    let invalid = |invalid| format!("/roles/grants: all roles together: {invalid}");
    Access::new(together, user).map(drop).map_err(invalid)
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.issuer(), self.subject())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn provider() -> Value {
        json!({
            "issuer": "https://login.example.com/realms/shop",
            "audiences": ["quipu"],
            "tenant": {"claim": "tenant"},
            "roles": {"claim": "realm_access.roles", "grants": {
                "reader": [{"permissions": ["read"]}],
                "admin": [{"permissions": ["administer", "read"]}],
            }},
        })
    }

    fn with(pointer: &str, value: Value) -> Value {
        let mut provider = provider();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        provider.pointer_mut(parent).unwrap()[name] = value;
        provider
    }

    fn read(providers: &[Value]) -> Result<Providers, String> {
        Providers::from_json(&json!(providers).to_string()).map_err(|invalid| invalid.to_string())
    }

    fn somebody(provider: Value, claims: Value) -> Option<(String, usize, Option<String>)> {
        let providers = read(&[provider]).unwrap();
        let found = providers.0[0].somebody(claims.as_object().unwrap())?;
        assert_eq!(found.subject, "ada");
        Some((found.tenant, found.roles.len(), found.user))
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let role = |count: usize| -> Value {
            (0..count)
                .map(|n| (format!("r{n}"), json!([{"permissions":["read"]}])))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        for (provider, expected) in [
            (with("/issuer", json!("http://login.example.com")), "/0/issuer"),
            (with("/issuer", json!("login.example.com")), "/0/issuer"),
            (with("/issuer", json!("https://login.example.com/?a=b")), "/0/issuer"),
            (with("/jwks", json!("http://10.0.0.1/keys")), "/0/jwks"),
            (with("/jwks", json!("file:///etc/passwd")), "/0/jwks"),
            (with("/audiences", json!([])), "/0/audiences"),
            (with("/audiences", json!([""])), "/0/audiences"),
            (with("/algorithms", json!([])), "/0/algorithms"),
            (with("/algorithms", json!(["HS256"])), "HS256"),
            (with("/algorithms", json!(["none"])), "none"),
            (with("/tenant", json!({})), "/0/tenant"),
            (with("/tenant", json!({"name": "a", "claim": "b"})), "/0/tenant"),
            (with("/tenant", json!({"name": "a", "names": {}})), "/0/tenant"),
            (with("/tenant/claim", json!("a..b")), "expected a claim"),
            (with("/roles/grants", json!({})), "/0/roles/grants"),
            (with("/roles/grants/reader", json!([])), "/0/roles/grants/reader"),
            (
                with("/roles/grants/reader", json!([{"permissions":["read"],"subscriptions":["a"]}])),
                "/0/roles/grants/reader: /grants/0/subscriptions",
            ),
            (with("/roles/grants", role(17)), "all roles together"),
            (with("/user", json!("sub")), "/0/roles/grants/admin: /grants/0/permissions"),
            (with("/rolez", json!(1)), "rolez"),
        ] {
            let invalid = read(&[provider]).unwrap_err();
            assert!(invalid.contains(expected) && invalid.contains("expected "), "{expected}: {invalid}");
        }
        for text in ["", "{}", "[{}]", "[1]"] {
            assert!(Providers::from_json(text).unwrap_err().to_string().contains("expected a JSON array"), "{text}");
        }
    }

    #[test]
    fn the_example_of_the_documentation_is_valid() {
        let page = include_str!("../../../../docs/identity.md");
        let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert_eq!(Providers::from_json(example).unwrap().0[0].grants.len(), 2);
    }

    #[test]
    fn an_issuer_may_stand_twice_for_different_audiences() {
        assert!(read(&[provider(), with("/audiences", json!(["customers"]))]).is_ok());
        assert!(read(&[provider(), with("/audiences", json!(["a", "quipu"]))]).unwrap_err().contains("/1/audiences"));
        assert!(read(&[provider(), with("/issuer", json!("http://127.0.0.1:8080"))]).is_ok());
        assert!(read(&[]).unwrap().is_empty() && !read(&[provider()]).unwrap().is_empty());
    }

    #[test]
    fn a_tenant_is_that_of_the_claim_or_the_one_it_stands_for() {
        let claims = json!({"sub":"ada","tenant":"acme"});
        let tenant = |rule: Value| somebody(with("/tenant", rule), claims.clone()).map(|found| found.0);
        assert_eq!(tenant(json!({"claim":"tenant"})).as_deref(), Some("acme"));
        assert_eq!(tenant(json!({"claim":"tenant","names":{"acme":"a"}})).as_deref(), Some("a"));
        assert_eq!(tenant(json!({"claim":"tenant","names":{"beta":"b"}})), None);
        let operators = |rule: Value| {
            let claims = json!({"sub":"ada","tenant":"system"});
            somebody(with("/tenant", rule), claims).map(|found| found.0)
        };
        assert_eq!(operators(json!({"claim":"tenant"})), None, "a claim alone makes no operator");
        assert_eq!(operators(json!({"claim":"tenant","names":{"system":"system"}})).as_deref(), Some("system"));
        assert_eq!(tenant(json!({"claim":"other"})), None);
        assert_eq!(tenant(json!({"name":"fixed"})).as_deref(), Some("fixed"));
    }

    #[test]
    fn only_known_roles_count_and_each_once() {
        let found = |roles: Value| {
            somebody(provider(), json!({"sub":"ada","tenant":"t","realm_access":{"roles":roles}})).unwrap().1
        };
        for (roles, expected) in [
            (json!(["reader", "admin", "other", "reader"]), 2),
            (json!("reader offline_access"), 1),
            (json!(["Reader", "READER", "reader ", ""]), 0),
            (json!({"reader": true}), 0),
            (json!(7), 0),
            (json!(null), 0),
        ] {
            assert_eq!(found(roles.clone()), expected, "{roles}");
        }
        assert_eq!(somebody(provider(), json!({"sub":"ada","tenant":"t"})).unwrap().1, 0);
    }

    #[test]
    fn who_must_have_a_name_or_a_user_and_has_none_is_nobody() {
        let mut personal = with("/user", json!("preferred_username"));
        personal["roles"]["grants"] = json!({"reader":[{"permissions":["read"]}]});
        let claims = |user: Value| json!({"sub":"ada","tenant":"t","preferred_username":user});
        let found = somebody(personal.clone(), claims(json!("ada@example.com"))).unwrap();
        assert_eq!(found.2.as_deref(), Some("ada@example.com"));
        for user in [json!(null), json!(""), json!(7), json!({}), json!(["a", "b"]), json!("a\nb")] {
            assert!(somebody(personal.clone(), claims(user.clone())).is_none(), "{user}");
        }
        let providers = read(&[provider()]).unwrap();
        for sub in [json!(null), json!(""), json!(7), json!(["ada"])] {
            let claims = json!({"tenant":"t","sub":sub});
            assert!(providers.0[0].somebody(claims.as_object().unwrap()).is_none(), "{claims}");
        }
    }
}
