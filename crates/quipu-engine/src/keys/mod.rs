//! The keys of a tenant: who may call it from outside, and what each may do. Records in the tenant's log; what is asked at
//! every request is in memory.
//!
//! The secret of a key leaves the engine once, when it is made. What is kept is its hash.

mod hash;
mod records;
mod refusal;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::{Mutex, RwLock};
use quipu_domain::access::{Fingerprint, InvalidGrant, KeySecret};
use quipu_domain::{Access, Grant, Permission, Timestamp};
use quipu_store::Fault;

use crate::subscriptions::NotDone;
use crate::tenant::Tenant;
use hash::SecretHash;
pub(crate) use records::FoldedKeys;
use records::{FoldedKey, FoldedSecret, KeyRecord};
pub use refusal::KeyRefusal;

/// Most keys of a tenant. Each is held in memory with its patterns, and stands in each snapshot.
pub const KEYS_MAX: usize = 1_000;
/// Longest name of a key, bytes.
const NAME_BYTES_MAX: usize = 128;
/// How far behind the log may be with when a key was used last, milliseconds. An hour tells whether somebody still needs it.
const USED_MS: i64 = 60 * 60 * 1_000;
/// Longest life of a key, and longest time that a secret is good after the next one was made, milliseconds: ten years.
const LIFE_MS_MAX: u64 = 10 * 365 * 24 * 60 * 60 * 1_000;

/// What a key is to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// Limits it to the events of one user.
    pub user: Option<String>,
    /// Binds it to a certificate: it is good on connections on which the client has shown that one.
    pub certificate: Option<Fingerprint>,
    /// How long it is good, milliseconds; until it is revoked without it.
    pub life_ms: Option<u64>,
}

/// A key, as everybody may see it who administers the tenant.
#[derive(Clone, Debug)]
pub struct KeyInfo {
    /// What it is called by in requests. Says nothing about its secret.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// The user whose events it is limited to.
    pub user: Option<String>,
    /// The certificate that it is bound to.
    pub certificate: Option<Fingerprint>,
    /// When it was made.
    pub made: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// Until when the secret before the newest is good, if it still is.
    pub rotating_until: Option<Timestamp>,
    /// When it was used last, as far as is known: after a restart up to an hour too early.
    pub used: Option<Timestamp>,
}

/// A key, and what it may do.
pub struct Key {
    id: String,
    /// What the log has of it.
    folded: FoldedKey,
    access: Access,
    life: Arc<Life>,
}

/// A key that somebody has shown, with the secret that he knows.
#[derive(Clone)]
pub struct Shown {
    key: Arc<Key>,
    hash: SecretHash,
}

/// What goes on with a key while some hold it, whatever is changed about it meanwhile.
struct Life {
    used: AtomicI64,
    is_revoked: AtomicBool,
}

/// The keys of a tenant in memory.
pub(crate) struct Keys {
    all: RwLock<HashMap<String, Arc<Key>>>,
    /// Serializes changes.
    changing: Mutex<()>,
}

impl Keys {
    pub fn new(folded: &FoldedKeys) -> Self {
        let key = |(id, key): (&String, &FoldedKey)| (id.clone(), Arc::new(Key::new(id, key.clone(), Life::of(key))));
        let all = folded.keys.iter().map(key).collect();
        Self { all: RwLock::new(all), changing: Mutex::new(()) }
    }

    fn get(&self, id: &str) -> Option<Arc<Key>> {
        self.all.read().get(id).cloned()
    }
}

impl Key {
    fn new(id: &str, folded: FoldedKey, life: Arc<Life>) -> Self {
        // A pattern of a newer version that this one does not understand allows nothing.
        let access = Access::new(folded.grants.clone(), folded.user.as_deref());
        let access = access.unwrap_or_else(|_| Access::nothing());
        Self { id: id.to_owned(), folded, access, life }
    }

    /// The same key, of which the log has something else; what it may do never changes.
    fn changed(&self, folded: FoldedKey) -> Self {
        Self { id: self.id.clone(), folded, access: self.access.clone(), life: Arc::clone(&self.life) }
    }

    /// What it is called by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.folded.name
    }

    /// The certificate that the client has to show beside it.
    pub fn certificate(&self) -> Option<Fingerprint> {
        self.folded.certificate
    }

    /// What it may do.
    pub fn access(&self) -> &Access {
        &self.access
    }

    fn used(&self) -> Option<Timestamp> {
        Some(Timestamp(self.life.used.load(Ordering::Relaxed))).filter(|time| time.0 != i64::MIN)
    }

    fn is_good(&self, now: Timestamp) -> bool {
        !self.life.is_revoked.load(Ordering::Acquire) && self.folded.expires.is_none_or(|expires| now < expires)
    }

    /// Whether a secret is its own and is still good. Takes as long wherever it differs, and whichever it is.
    fn has(&self, hash: SecretHash, now: Timestamp) -> bool {
        let is_good = |known: &FoldedSecret| known.hash.is(hash) & known.until.is_none_or(|until| now < until);
        self.folded.secrets.iter().fold(false, |found, known| found | is_good(known))
    }

    fn info(&self, now: Timestamp) -> KeyInfo {
        let FoldedKey { name, grants, user, certificate, made, expires, secrets, .. } = self.folded.clone();
        let rotating_until = secrets.iter().filter_map(|secret| secret.until).max().filter(|until| now < *until);
        let (id, used) = (self.id.clone(), self.used());
        KeyInfo { id, name, grants, user, certificate, made, expires, rotating_until, used }
    }
}

impl Shown {
    /// The key as it was when it was shown.
    pub fn key(&self) -> &Key {
        &self.key
    }
}

impl Life {
    fn of(folded: &FoldedKey) -> Arc<Self> {
        let used = AtomicI64::new(folded.used.map_or(i64::MIN, |time| time.0));
        Arc::new(Self { used, is_revoked: AtomicBool::new(false) })
    }
}

impl Tenant {
    /// Makes a key. Its secret is returned once and kept nowhere.
    ///
    /// # Errors
    /// [`KeyRefusal`] if it makes no sense or there are too many.
    pub fn create_key(self: &Arc<Self>, new: NewKey) -> Result<(KeyInfo, KeySecret), NotDone> {
        let NewKey { name, grants, user, certificate, life_ms } = new;
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
            return Err(KeyRefusal::InvalidName { limit: NAME_BYTES_MAX }.into());
        }
        if grants.is_empty() {
            return Err(KeyRefusal::NoGrants.into());
        }
        Access::new(grants.clone(), user.as_deref()).map_err(KeyRefusal::Invalid)?;
        self.check_grants(&grants).map_err(KeyRefusal::Invalid)?;
        let life_ms = life_ms.map(|ms| checked_ms("lifems", ms)).transpose()?;
        let now = self.now();
        let _one = self.keys.changing.lock();
        if self.keys.all.read().len() >= KEYS_MAX {
            return Err(KeyRefusal::TooMany { limit: KEYS_MAX }.into());
        }
        let (id, secret) = (self.key_id(), self.key_secret());
        let secrets = vec![FoldedSecret { hash: SecretHash::of(&secret), until: None }];
        let expires = life_ms.map(|ms| now.plus_ms(ms));
        let key = FoldedKey { name, grants, user, certificate, made: now, expires, secrets, used: None };
        self.write_records_wait(vec![KeyRecord::Made { id: id.clone(), key: key.clone() }.record()])?;
        let life = Life::of(&key);
        Ok((self.put_key(Key::new(&id, key, life)), secret))
    }

    /// Whether these may be granted in this tenant, to a key or to whom somebody else vouches for.
    ///
    /// # Errors
    /// [`InvalidGrant`] names the first that may not.
    pub fn check_grants(&self, grants: &[Grant]) -> Result<(), InvalidGrant> {
        let operates = grants.iter().position(|grant| grant.permissions.contains(&Permission::Operate));
        match operates.filter(|_| !self.is_system()) {
            None => Ok(()),
            Some(at) => {
                let pointer = format!("/grants/{at}/permissions");
                let detail = "expected permissions in this tenant, found operate, which is for all of them".to_owned();
                Err(InvalidGrant { pointer, detail })
            }
        }
    }

    /// Gives a key another secret. The one before is good for a while more, so that nobody is locked out meanwhile.
    ///
    /// # Errors
    /// [`KeyRefusal::NotFound`].
    pub fn rotate_key(self: &Arc<Self>, id: &str, keep_ms: u64) -> Result<(KeyInfo, KeySecret), NotDone> {
        // None at all is what somebody wants whose secret is known to others.
        let keep_ms = if keep_ms == 0 { 0 } else { checked_ms("keepms", keep_ms)? };
        let now = self.now();
        let _one = self.keys.changing.lock();
        let before = self.known_key(id)?;
        if !before.is_good(now) {
            return Err(KeyRefusal::NotFound { id: id.to_owned() }.into());
        }
        let secret = self.key_secret();
        let (hash, until) = (SecretHash::of(&secret), now.plus_ms(keep_ms));
        self.write_records_wait(vec![KeyRecord::Rotated { id: id.to_owned(), hash, time: now, until }.record()])?;
        let mut key = before.folded.clone();
        key.rotate(hash, now, until);
        Ok((self.put_key(before.changed(key)), secret))
    }

    /// Makes a key good for nothing, at once. If that cannot be written down, it is so until the next restart.
    ///
    /// # Errors
    /// [`KeyRefusal::NotFound`].
    pub fn revoke_key(self: &Arc<Self>, id: &str) -> Result<(), NotDone> {
        let _one = self.keys.changing.lock();
        self.known_key(id)?.life.is_revoked.store(true, Ordering::Release);
        // It stays to be revoked again until that is written down.
        self.write_records_wait(vec![KeyRecord::Revoked { id: id.to_owned() }.record()])?;
        self.keys.all.write().remove(id);
        Ok(())
    }

    /// All keys, by their ids.
    pub fn keys(&self) -> Vec<KeyInfo> {
        let now = self.now();
        let mut all: Vec<_> = self.keys.all.read().values().map(|key| key.info(now)).collect();
        all.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// One key.
    ///
    /// # Errors
    /// [`KeyRefusal::NotFound`].
    pub fn key(&self, id: &str) -> Result<KeyInfo, NotDone> {
        Ok(self.known_key(id)?.info(self.now()))
    }

    /// The key of that id, if the secret is its own and it is still good. Takes the same way, and the same time, whether
    /// there is none or its secret is another.
    pub fn authenticate(&self, id: &str, secret: &KeySecret) -> Option<Shown> {
        let (now, hash) = (self.now(), SecretHash::of(secret));
        let key = self.keys.get(id);
        let none = SecretHash::of_none();
        let is_known = key.as_ref().map_or_else(|| none.is(hash), |key| key.has(hash, now));
        let key = key.filter(|key| is_known && key.is_good(now))?;
        key.life.used.fetch_max(now.0, Ordering::Relaxed);
        Some(Shown { key, hash })
    }

    /// Whether a key that was shown is still good, and the secret that was shown with it: for whoever holds a connection for
    /// long.
    pub fn is_key_good(&self, shown: &Shown) -> bool {
        let now = self.now();
        let key = self.keys.get(&shown.key.id).filter(|key| key.is_good(now) && key.has(shown.hash, now));
        key.inspect(|key| _ = key.life.used.fetch_max(now.0, Ordering::Relaxed)).is_some()
    }

    /// Writes down when keys were used last, where the log is too far behind.
    pub(crate) fn note_key_uses(self: &Arc<Self>) -> Result<(), Fault> {
        let is_behind = |key: &Arc<Key>| {
            key.used().is_some_and(|used| key.folded.used.is_none_or(|noted| used >= noted.plus_ms(USED_MS)))
        };
        if !self.keys.all.read().values().any(is_behind) {
            return Ok(());
        }
        let _one = self.keys.changing.lock();
        let behind: Vec<Arc<Key>> = self.keys.all.read().values().filter(|key| is_behind(key)).cloned().collect();
        let records = behind.iter().filter_map(|key| Some(KeyRecord::Used { id: key.id.clone(), time: key.used()? }));
        self.write_records_wait(records.map(|record| record.record()).collect())?;
        for key in behind {
            let folded = FoldedKey { used: key.used(), ..key.folded.clone() };
            self.put_key(key.changed(folded));
        }
        Ok(())
    }

    fn known_key(&self, id: &str) -> Result<Arc<Key>, KeyRefusal> {
        self.keys.get(id).ok_or_else(|| KeyRefusal::NotFound { id: id.chars().take(64).collect() })
    }

    fn put_key(&self, key: Key) -> KeyInfo {
        let info = key.info(self.now());
        self.keys.all.write().insert(key.id.clone(), Arc::new(key));
        info
    }

    /// An id that no key has: one that is there is not to be overwritten, however unlikely it is to be met.
    fn key_id(&self) -> String {
        loop {
            let id = self.random_id();
            if self.keys.get(&id).is_none() {
                return id;
            }
        }
    }

    fn key_secret(&self) -> KeySecret {
        KeySecret::made_by(|bytes| self.world.random.fill(bytes))
    }
}

fn checked_ms(what: &'static str, ms: u64) -> Result<i64, KeyRefusal> {
    let is_life = (1..=LIFE_MS_MAX).contains(&ms);
    i64::try_from(ms).ok().filter(|_| is_life).ok_or(KeyRefusal::InvalidLife { what, ms, limit: LIFE_MS_MAX })
}

#[cfg(test)]
mod tests;
