//! How databases elsewhere are reached: by whom, and with which password. Passwords are in one private file of the tenant, outside of its
//! log, each with the URL that it was given for, so that nobody gets it by naming another host.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use quipu_domain::projection::{PostgresUrl, Projection, ReadModelStore};
use quipu_engine::{Fault, Followed, Head, Tenant};
use serde::{Deserialize, Serialize};

use super::Projected;
use super::link::{Anywhere, Dial};
use crate::refusal::NotDone;

/// The file of passwords.
const FILE: &str = "databases.json";
/// The form of the file that is written.
const FORMAT: u32 = 1;

/// What is needed to reach databases elsewhere.
pub(crate) struct Elsewhere(Arc<Reach>);

pub(super) struct Reach {
    tenant: Arc<Tenant>,
    dial: Arc<dyn Dial>,
    owner: OnceLock<String>,
    /// Files are written one at a time.
    changing: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct Passwords {
    format: u32,
    /// By URLs.
    databases: BTreeMap<String, String>,
}

impl Elsewhere {
    /// Every host may be reached.
    pub fn anywhere(tenant: Arc<Tenant>) -> Self {
        Self::dialing(tenant, Arc::new(Anywhere))
    }

    pub fn dialing(tenant: Arc<Tenant>, dial: Arc<dyn Dial>) -> Self {
        Self(Arc::new(Reach { tenant, dial, owner: OnceLock::new(), changing: Mutex::default() }))
    }

    pub fn projection(&self, url: &PostgresUrl, name: &str) -> Projected {
        Projected { url: Arc::new(url.clone()), name: name.into(), reach: Arc::clone(&self.0) }
    }

    /// Takes the password out of a declaration, and keeps it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep_password(&self, declaration: &mut Projection) -> Result<(), NotDone> {
        let ReadModelStore::Postgres(url) = &mut declaration.store else { return Ok(()) };
        let Some(password) = url.password.take() else { return Ok(()) };
        self.change(|databases| {
            databases.insert(url.as_str().to_owned(), password.expose().to_owned()).as_deref()
                != Some(password.expose())
        })
    }

    /// Forgets the passwords of databases that no projection is in.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn forget_passwords(&self) -> Result<(), NotDone> {
        let all = self.0.tenant.projections();
        let releases = all.iter().flat_map(|info| info.releases.values());
        let urls: Vec<&str> = releases
            .filter_map(|release| match &release.declaration.store {
                ReadModelStore::Postgres(url) => Some(url.as_str()),
                ReadModelStore::Sqlite => None,
            })
            .collect();
        self.change(|databases| {
            let before = databases.len();
            databases.retain(|url, _| urls.contains(&url.as_str()));
            databases.len() < before
        })
    }

    /// Changes the file, if `change` says that there is something to write.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>) -> bool) -> Result<(), NotDone> {
        let failed = |fault: Fault| NotDone::Engine(fault.into());
        let _one = self.0.changing.lock();
        let mut databases = self.0.passwords().map_err(failed)?;
        if change(&mut databases) {
            let written = serde_json::to_vec(&Passwords { format: FORMAT, databases }).expect("it is plain data");
            self.0.tenant.write_private(FILE, &written).map_err(failed)?;
        }
        Ok(())
    }
}

impl Reach {
    pub fn dial(&self) -> &dyn Dial {
        self.dial.as_ref()
    }

    /// The password for a database: what came with the declaration, or what was kept.
    pub fn password(&self, url: &PostgresUrl) -> Option<String> {
        let given = url.password.as_ref().map(|password| password.expose().to_owned());
        // A file that cannot be read is as none: the database says that a password is missing.
        given.or_else(|| self.passwords().ok()?.remove(url.as_str()))
    }

    fn passwords(&self) -> Result<BTreeMap<String, String>, Fault> {
        let Some(bytes) = self.tenant.read_private(FILE)? else { return Ok(BTreeMap::new()) };
        let read: Option<Passwords> = serde_json::from_slice(&bytes).ok();
        // Nothing of it is repeated.
        let unreadable = || std::io::Error::other("expected passwords of databases, found something else");
        match read.filter(|read| read.format == FORMAT) {
            Some(read) => Ok(read.databases),
            None => Err(Fault::io("read", self.tenant.private_path(FILE), unreadable())),
        }
    }

    /// What tells the tenant's log from all others: the hash of its first commit. Nothing before that is there.
    pub fn owner(&self) -> Option<&str> {
        if self.owner.get().is_none() {
            let mut follower = self.tenant.follow_commits(Head::START);
            let Ok(Followed::Commits(commits)) = follower.next(self.tenant.head(), 1) else { return None };
            let first = blake3::hash(commits.first()?.head.to_string().as_bytes()).to_hex();
            drop(self.owner.set(first[..32].to_owned()));
        }
        self.owner.get().map(String::as_str)
    }
}
