//! Tokens of identity providers (OpenID Connect, RFC 7519, RFC 9068): who is believed, and what a token lets its bearer do.
//!
//! A token is checked from its signature on once; while it is good and its key is the provider's, its text is known by its
//! hash. RFC 8725 is the list of what can go wrong.

mod algorithm;
mod claims;
mod fetch;
mod jwk;
mod keyring;
mod provider;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use quipu_domain::{Access, Timestamp};
use quipu_engine::Tenant;

use algorithm::Algorithm;
use fetch::Fetcher;
use jwk::Jwk;
use keyring::Keyring;
pub use provider::{InvalidProviders, Providers};
use provider::{Provider, Somebody};
use token::Token;
pub use token::{is_token, reads_token};

use crate::hash::{Hash, sha256};
use crate::webhook::InvalidAuthorities;

/// Most tokens that are remembered, of those that were shown lately; as many again of those before. One takes 1 KiB, and if it
/// is for one user what the patterns of its roles take.
const REMEMBERED_MAX: usize = 2_048;
/// Most sets of roles, by their tenants, whose patterns are kept ready.
const GRANTED_MAX: usize = 1_024;

/// Checks tokens.
pub struct Identity {
    believed: Vec<Believed>,
    remembered: Mutex<Remembered>,
}

/// A provider and its keys.
struct Believed {
    provider: Arc<Provider>,
    keyring: Arc<Keyring>,
    /// What roles together may do in a tenant, where that is not for one user only.
    granted: Mutex<HashMap<(String, Vec<String>), Access>>,
}

/// Tokens that were good, by the hashes of their texts. When `lately` is full it becomes `before`, and what that was is
/// forgotten.
#[derive(Default)]
struct Remembered {
    lately: HashMap<Hash, Arc<Verified>>,
    before: HashMap<Hash, Arc<Verified>>,
}

/// A token that was checked: who bears it, and what he may do.
pub struct Verified {
    issuer: String,
    subject: String,
    tenant: String,
    access: Access,
    until: Timestamp,
    key: Arc<Jwk>,
    keyring: Arc<Keyring>,
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotVerified {
    /// It is not valid here. Why, nobody is told.
    Wrong,
    /// The keys of its provider are not known, since it cannot be reached.
    Unreachable,
}

impl Identity {
    /// For these providers; within a runtime, in which they are asked for their keys.
    ///
    /// # Errors
    /// The machine's authorities cannot be read.
    pub fn new(providers: &Providers) -> Result<Self, InvalidAuthorities> {
        let mut believed = Vec::new();
        if !providers.is_empty() {
            let fetcher = Fetcher::new()?;
            believed.extend(providers.0.iter().map(|provider| Believed {
                provider: Arc::clone(provider),
                keyring: Keyring::new(provider.source.clone(), fetcher.clone()),
                granted: Mutex::default(),
            }));
        }
        Ok(Self { believed, remembered: Mutex::default() })
    }

    /// Gets the keys of all providers beside what goes on: the first request need not wait, and what is wrong with one is
    /// said when the server starts.
    pub fn warm_up(&self, now: Timestamp) {
        for believed in &self.believed {
            believed.keyring.current(now);
        }
    }

    /// Checks a token; with the tenants that are served, by their names.
    ///
    /// # Errors
    /// It is not believed. A tenant that is not served is no other reason than all the rest.
    pub async fn verify(
        &self,
        text: &str,
        now: Timestamp,
        tenants: impl Fn(&str) -> Option<Arc<Tenant>>,
    ) -> Result<Arc<Verified>, NotVerified> {
        if self.believed.is_empty() || text.len() > token::TOKEN_BYTES_MAX {
            return Err(NotVerified::Wrong);
        }
        let hash = sha256(text.as_bytes());
        let known = self.remembered().get(&hash);
        if let Some(known) = known.filter(|known| known.is_good(now) && tenants(&known.tenant).is_some()) {
            return Ok(known);
        }
        let token = Token::parse(text).ok_or(NotVerified::Wrong)?;
        let believed = self.of(&token).ok_or(NotVerified::Wrong)?;
        let until = claims::good_until(&token.claims, now).ok_or(NotVerified::Wrong)?;
        let key = believed.key_of(&token, now).await?;
        let provider = &believed.provider;
        let somebody = provider.somebody(&token.claims).ok_or(NotVerified::Wrong)?;
        let access = believed.access(&*tenants(&somebody.tenant).ok_or(NotVerified::Wrong)?, &somebody);
        let Somebody { tenant, subject, .. } = somebody;
        let (issuer, keyring) = (provider.source.issuer.clone(), Arc::clone(&believed.keyring));
        let verified = Arc::new(Verified { issuer, subject, tenant, access, until, key, keyring });
        self.remembered().put(hash, &verified);
        Ok(verified)
    }

    /// The provider that a token says it is from, for one of the audiences that it has here. Of two none is meant.
    fn of(&self, token: &Token<'_>) -> Option<&Believed> {
        let issuer = token.claims.get("iss")?.as_str()?;
        let is_meant = |believed: &&Believed| {
            believed.provider.source.issuer == issuer && claims::is_for(&token.claims, &believed.provider.audiences)
        };
        let mut meant = self.believed.iter().filter(is_meant);
        meant.next().filter(|_| meant.next().is_none())
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Believed {
    /// What somebody may do in a tenant. Patterns are made ready once for all who have the same roles.
    fn access(&self, tenant: &Tenant, somebody: &Somebody) -> Access {
        if somebody.user.is_some() {
            return self.provider.access(tenant, somebody);
        }
        let granted = || self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let roles = (somebody.tenant.clone(), somebody.roles.clone());
        if let Some(access) = granted().get(&roles) {
            return access.clone();
        }
        let access = self.provider.access(tenant, somebody);
        let mut granted = granted();
        if granted.len() >= GRANTED_MAX {
            granted.clear();
        }
        granted.insert(roles, access.clone());
        access
    }

    /// The key that a token was signed with, if it is one of the provider's. Where none has its id, the provider may have a
    /// new one.
    async fn key_of(&self, token: &Token<'_>, now: Timestamp) -> Result<Arc<Jwk>, NotVerified> {
        if !self.provider.algorithms.contains(&token.algorithm) {
            return Err(NotVerified::Wrong);
        }
        let mut was_renewed = false;
        loop {
            let keys = self.keyring.current(now);
            let candidates = keys.iter().flat_map(|keys| keys.candidates(token.key_id.as_deref(), token.algorithm));
            let candidates: Vec<_> = candidates.collect();
            if !candidates.is_empty() {
                let has_signed = |key: &&&Arc<Jwk>| key.verifies(token.algorithm, token.message, &token.signature);
                return candidates.iter().find(has_signed).map(|key| Arc::clone(key)).ok_or(NotVerified::Wrong);
            }
            if was_renewed {
                return Err(if keys.is_some() { NotVerified::Wrong } else { NotVerified::Unreachable });
            }
            self.keyring.renewed(now).await;
            was_renewed = true;
        }
    }
}

impl Remembered {
    fn get(&mut self, hash: &Hash) -> Option<Arc<Verified>> {
        if let Some(known) = self.lately.get(hash) {
            return Some(Arc::clone(known));
        }
        let known = self.before.remove(hash)?;
        self.put(*hash, &known);
        Some(known)
    }

    fn put(&mut self, hash: Hash, verified: &Arc<Verified>) {
        if self.lately.len() >= REMEMBERED_MAX {
            self.before = std::mem::take(&mut self.lately);
        }
        self.lately.insert(hash, Arc::clone(verified));
    }
}

impl Verified {
    /// The provider that vouches for him.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What the provider calls him.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The tenant that he is in.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// What he may do.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// When it ends.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Whether it is still good: for whoever holds a connection for long.
    pub fn is_good(&self, now: Timestamp) -> bool {
        now < self.until && self.keyring.has(&self.key, now)
    }
}
