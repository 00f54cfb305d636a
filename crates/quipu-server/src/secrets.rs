//! The secrets that webhooks are signed with, of each subscription of a tenant that pushes, and calls of each saga. They are in one file of the
//! tenant, outside of its log, that only its owner may read; backups and exports do not have it.
//!
//! A secret is shown once, to whoever made it. Whether the subscription exists is not known here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use quipu_domain::Timestamp;
use quipu_engine::{Fault, Tenant};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::webhook::Secret;

/// How long webhooks are signed with the secret before too, milliseconds: a day, so that whoever replaces it at the
/// receiver need not do so at once, and one that leaked is not good for long.
pub const OVERLAP_MS: i64 = 24 * 60 * 60 * 1_000;
/// Secrets that a subscription has at most: each adds a signature of 48 bytes to every webhook. Another one ends the oldest.
const SECRETS_MAX: usize = 4;
/// What those of sagas are known by, before the name: no subscription has a name with it.
pub(crate) const OF_SAGA: &str = "sagas/";
/// The file.
const FILE: &str = "webhooks.json";
/// The form of the file that is written.
const FORMAT: u32 = 1;
/// What an entry takes in the file at most, bytes: room is made at once, so that no copy of a secret stays behind.
const ENTRY_BYTES: usize = 320;

/// The secrets of a tenant's subscriptions.
pub struct Secrets {
    tenant: Arc<Tenant>,
    kept: RwLock<Arc<All>>,
    /// Files are written one at a time; those who sign do not wait for it.
    changing: Mutex<()>,
}

type All = BTreeMap<String, Vec<Kept>>;

/// One secret; the newest of a subscription has no end.
#[derive(Clone, Serialize)]
struct Kept {
    id: u64,
    #[serde(serialize_with = "expose")]
    secret: Secret,
    made: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    subscriptions: &'a All,
}

#[derive(Deserialize)]
struct Found<'a> {
    format: u32,
    #[serde(borrow)]
    subscriptions: BTreeMap<String, Vec<FoundSecret<'a>>>,
}

#[derive(Deserialize)]
struct FoundSecret<'a> {
    id: u64,
    secret: &'a str,
    made: Timestamp,
    until: Option<Timestamp>,
}

/// What may be known of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretInfo {
    /// Its number in the subscription.
    pub id: u64,
    /// When it was made.
    pub made: Timestamp,
    /// Webhooks are signed with it until then; without end the newest.
    pub until: Option<Timestamp>,
}

fn expose<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&secret.expose())
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Kept {
    fn is_valid(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn is(&self, secret: &Secret) -> bool {
        self.secret.expose() == secret.expose()
    }

    fn info(&self) -> SecretInfo {
        SecretInfo { id: self.id, made: self.made, until: self.until }
    }
}

impl Secrets {
    /// Reads those of a tenant.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was written. None of it is repeated.
    pub fn open(tenant: Arc<Tenant>) -> Result<Self, Fault> {
        let kept = match tenant.read_private(FILE)? {
            None => All::new(),
            Some(bytes) => read(&Zeroizing::new(bytes), || tenant.private_path(FILE))?,
        };
        Ok(Self { tenant, kept: RwLock::new(Arc::new(kept)), changing: Mutex::default() })
    }

    /// Those that webhooks of a subscription are signed with now, newest first.
    pub fn valid(&self, name: &str) -> Vec<Secret> {
        let now = self.tenant.now();
        let kept = self.kept();
        let of_name = kept.get(name).into_iter().flatten().rev();
        of_name.filter(|kept| kept.is_valid(now)).map(|kept| kept.secret.clone()).collect()
    }

    /// What may be known of them, newest first.
    pub fn list(&self, name: &str) -> Vec<SecretInfo> {
        let now = self.tenant.now();
        let kept = self.kept();
        kept.get(name).into_iter().flatten().rev().filter(|kept| kept.is_valid(now)).map(Kept::info).collect()
    }

    /// Whether it is the newest of a subscription.
    pub fn is_newest(&self, name: &str, secret: &Secret) -> bool {
        self.kept().get(name).and_then(|of_name| of_name.last()).is_some_and(|newest| newest.is(secret))
    }

    /// A new secret; made by chance if none is given. The one before is good for [`OVERLAP_MS`] more. The one that is the
    /// newest already changes nothing.
    ///
    /// # Errors
    /// The disk refuses; nothing was changed.
    pub fn rotate(&self, name: &str, given: Option<Secret>) -> Result<(SecretInfo, Secret), Fault> {
        self.change(|all, now| {
            let secret = given.unwrap_or_else(|| self.generate());
            let of_name = all.entry(name.to_owned()).or_default();
            if let Some(newest) = of_name.last().filter(|newest| newest.is(&secret)) {
                return (newest.info(), secret);
            }
            of_name.retain(|kept| kept.is_valid(now));
            of_name.iter_mut().for_each(|kept| kept.until = kept.until.or(Some(now.plus_ms(OVERLAP_MS))));
            let id = of_name.last().map_or(1, |newest| newest.id + 1);
            let kept = Kept { id, secret: secret.clone(), made: now, until: None };
            let info = kept.info();
            of_name.push(kept);
            let too_many = of_name.len().saturating_sub(SECRETS_MAX);
            of_name.drain(..too_many);
            (info, secret)
        })
    }

    /// The first secret of a subscription that is new: those of one with its name that was deleted are forgotten.
    ///
    /// # Errors
    /// As [`Secrets::rotate`].
    pub fn begin(&self, name: &str, given: Option<Secret>) -> Result<Secret, Fault> {
        self.change(|all, now| {
            let secret = given.unwrap_or_else(|| self.generate());
            all.insert(name.to_owned(), vec![Kept { id: 1, secret: secret.clone(), made: now, until: None }]);
            secret
        })
    }

    /// Forgets those of the subscriptions that are not there any more.
    ///
    /// # Errors
    /// As [`Secrets::rotate`].
    pub fn keep(&self, exists: impl Fn(&str) -> bool) -> Result<(), Fault> {
        if self.kept().keys().all(|name| exists(name)) {
            return Ok(());
        }
        self.change(|all, _| all.retain(|name, _| exists(name)))
    }

    fn generate(&self) -> Secret {
        let mut bytes = Zeroizing::new([0; 32]);
        self.tenant.fill_random(bytes.as_mut());
        Secret::generate(*bytes)
    }

    fn kept(&self) -> Arc<All> {
        Arc::clone(&self.kept.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Written first and then shown: what is signed with is on disk.
    fn change<T>(&self, change: impl FnOnce(&mut All, Timestamp) -> T) -> Result<T, Fault> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = All::clone(&self.kept());
        let outcome = change(&mut all, self.tenant.now());
        self.tenant.write_private(FILE, &write(&all))?;
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
        Ok(outcome)
    }
}

fn write(all: &All) -> Zeroizing<Vec<u8>> {
    let entries: usize = all.values().map(|of_name| 1 + of_name.len()).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 + entries * ENTRY_BYTES));
    serde_json::to_writer(&mut *bytes, &Written { format: FORMAT, subscriptions: all }).expect("it is plain data");
    bytes
}

/// The file of secrets, read and written again; for the fuzz targets.
#[doc(hidden)]
pub fn read_again(bytes: &[u8]) -> Option<Vec<u8>> {
    read(bytes, String::new).ok().map(|all| write(&all).to_vec())
}

fn read(bytes: &[u8], path: impl Fn() -> String) -> Result<All, Fault> {
    // What the parser would say may hold a part of a secret: only where it stopped is told.
    let damaged = |offset: usize| {
        let detail = "expected the secrets of webhooks, found something else".into();
        Fault::Damaged { path: path(), offset: offset as u64, detail }
    };
    let found: Found<'_> = serde_json::from_slice(bytes).map_err(|error| damaged(error.column().saturating_sub(1)))?;
    if found.format != FORMAT {
        return Err(Fault::UnknownFormat { path: path(), found: format!("format {}", found.format) });
    }
    let kept = |found: FoundSecret<'_>| {
        let secret = Secret::parse(found.secret).map_err(|_| damaged(0))?;
        Ok(Kept { id: found.id, secret, made: found.made, until: found.until })
    };
    let of_name = |(name, found): (String, Vec<FoundSecret<'_>>)| {
        Ok((name, found.into_iter().map(kept).collect::<Result<_, Fault>>()?))
    };
    found.subscriptions.into_iter().map(of_name).collect()
}
