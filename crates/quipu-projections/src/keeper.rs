//! Keeps the read models of a tenant's projections: one for each release, each with its own place in the log.

mod release;
mod sandbox;
#[cfg(feature = "postgres")]
mod sweep;
mod verify;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use quipu_domain::is_subscription_name;
use quipu_domain::projection::{InvalidProjection, Projection, ReadModelStore};
use quipu_engine::{CommitGuard, ProjectionInfo, ProjectionRefusal, Released, Tenant, WantedRelease};

use crate::compare::{Comparison, TableDigest};
use crate::pool::Pool;
#[cfg(feature = "postgres")]
use crate::postgres::Dial;
use crate::query::{Rows, SqlQuery, TableQuery};
use crate::refusal::{NotDone, ReadModelRefusal};
use crate::sqlite;
use crate::status::{ProjectionStatus, ReleaseStatus};
use crate::step::{Project, Source};
use crate::store::{Broken, Elsewhere, Model, Place, Reader, Wanted, check};
use release::Release;
pub use sandbox::VerifyProgress;

/// The folder of read models in that of a tenant.
const FOLDER: &str = "read-models";
/// The folder of those that are made by code, which the log does not know of.
const CODE_FOLDER: &str = "read-models-of-code";
/// Beside it, that of read models that are built to be looked at once.
const SANDBOX: &str = "sandbox";

/// Bytes of the log that become one transaction, about: large ones cost less an event, and are redone as a whole.
const BATCH_BYTES: usize = 2 << 20;

/// Threads of one tenant for read models in other people's databases: one that does not answer stops nobody else's.
const THREADS_ELSEWHERE: usize = 2;

type Key = (String, u64);

/// The projections of a tenant.
pub struct Projections {
    inner: Arc<Inner>,
    _wakes: CommitGuard,
}

struct Inner {
    tenant: Arc<Tenant>,
    folder: PathBuf,
    code_folder: PathBuf,
    /// There is a disk for them.
    has_disk: bool,
    /// Projections in code, by name.
    attached: Mutex<BTreeMap<String, Arc<dyn Project>>>,
    sandbox: PathBuf,
    /// How many were built there.
    sandboxes: AtomicU64,
    pool: Arc<Pool>,
    /// Its own threads for databases elsewhere, from when it has one; none if there could be none.
    pool_elsewhere: OnceLock<Option<Pool>>,
    /// How those are reached.
    elsewhere: Elsewhere,
    /// Replaced as a whole: whoever looks never waits for one that is closed.
    releases: Mutex<Arc<BTreeMap<Key, Arc<Release>>>>,
    /// Held by whoever replaces it.
    changing: Mutex<()>,
    /// Told whenever a read model has come further.
    progressed: Box<dyn Fn() + Send + Sync>,
    progress: Mutex<u64>,
    moved: Condvar,
    is_closed: AtomicBool,
}

impl Projections {
    /// Begins to keep the read models of a tenant in a folder in `folder`, which is its own. Without one, as of a store in memory, it keeps
    /// none. `progressed` is called whenever one has come further; it must be quick.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(
        tenant: Arc<Tenant>,
        folder: Option<&Path>,
        pool: Arc<Pool>,
        progressed: impl Fn() + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        #[cfg(feature = "postgres")]
        let elsewhere = Elsewhere::anywhere(Arc::clone(&tenant));
        #[cfg(not(feature = "postgres"))]
        let elsewhere = Elsewhere;
        Self::open_with(tenant, folder, pool, elsewhere, progressed)
    }

    /// As [`Projections::open`]; databases elsewhere are reached by `dial`.
    ///
    /// # Errors
    /// The folder cannot be made.
    #[cfg(feature = "postgres")]
    pub fn open_dialing(
        tenant: Arc<Tenant>,
        folder: Option<&Path>,
        pool: Arc<Pool>,
        dial: Arc<dyn Dial>,
        progressed: impl Fn() + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let elsewhere = Elsewhere::dialing(Arc::clone(&tenant), dial);
        Self::open_with(tenant, folder, pool, elsewhere, progressed)
    }

    fn open_with(
        tenant: Arc<Tenant>,
        folder: Option<&Path>,
        pool: Arc<Pool>,
        elsewhere: Elsewhere,
        progressed: impl Fn() + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let has_disk = folder.is_some();
        let folder = folder.unwrap_or(Path::new(""));
        let (folder, code_folder, sandbox) = (folder.join(FOLDER), folder.join(CODE_FOLDER), folder.join(SANDBOX));
        let inner = Arc::new(Inner {
            tenant,
            folder,
            code_folder,
            has_disk,
            attached: Mutex::default(),
            sandbox,
            sandboxes: AtomicU64::new(0),
            pool,
            pool_elsewhere: OnceLock::new(),
            elsewhere,
            releases: Mutex::default(),
            changing: Mutex::new(()),
            progressed: Box::new(progressed),
            progress: Mutex::new(0),
            moved: Condvar::new(),
            is_closed: AtomicBool::new(false),
        });
        inner.remove_strays()?;
        inner.follow_definitions()?;
        #[cfg(feature = "postgres")]
        inner.sweep_all();
        let woken = Arc::downgrade(&inner);
        let wakes = inner.tenant.on_commit(move |_| {
            if let Some(inner) = woken.upgrade() {
                inner.releases().values().for_each(|release| release.wake(&inner));
            }
        });
        Ok(Self { inner, _wakes: wakes })
    }

    /// Ends: what is on its way is finished, and the files are closed.
    pub fn close(&self) {
        self.inner.is_closed.store(true, Ordering::Relaxed);
        self.inner.releases().values().for_each(|release| release.close());
        // Who waits for a database there holds the tenant.
        if let Some(Some(pool)) = self.inner.pool_elsewhere.get() {
            pool.close();
        }
        self.inner.tell();
    }

    /// Declares a projection, after its SQL was tried: see [`Tenant::release_projection`].
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn apply(&self, mut declaration: Projection) -> Result<Released, NotDone> {
        self.check(&declaration)?;
        if self.inner.attached.lock().contains_key(&declaration.name) {
            return Err(ReadModelRefusal::Declared { name: declaration.name }.into());
        }
        self.needs_disk()?;
        #[cfg(feature = "postgres")]
        self.inner.elsewhere.keep_password(&mut declaration)?;
        #[cfg(not(feature = "postgres"))]
        forget_password(&mut declaration);
        let released = self.inner.tenant.release_projection(declaration)?;
        self.followed()?;
        Ok(released)
    }

    /// Looks whether a declaration can be one, and changes nothing.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn check(&self, declaration: &Projection) -> Result<(), NotDone> {
        declaration.check()?;
        Ok(check(declaration, &self.inner.elsewhere)?)
    }

    /// Keeps the read model of a projection in code. What another version of it made is removed, and built again by this one. It is not
    /// written down: whoever opens the store attaches it again.
    ///
    /// # Errors
    /// [`NotDone`]: the name belongs to a declared one, or the tables cannot be made.
    pub fn attach(&self, name: &str, code: impl Project) -> Result<(), NotDone> {
        if !is_subscription_name(name) {
            return Err(InvalidProjection::Name { found: name.chars().take(64).collect() }.into());
        }
        if self.inner.tenant.projection(name).is_some() {
            return Err(ReadModelRefusal::Declared { name: name.to_owned() }.into());
        }
        sqlite::Model::check_script(code.tables())?;
        self.needs_disk()?;
        let number = u64::from(code.version());
        self.inner
            .remove_others(&self.inner.code_folder.join(name), |of| of == number)
            .map_err(|error| self.failed(&error))?;
        self.inner.attached.lock().insert(name.to_owned(), Arc::new(code));
        self.followed()
    }

    /// Lets another release answer queries: the next one, which has to be as far as the log, or the one before.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn switch(&self, name: &str, to: WantedRelease) -> Result<u64, NotDone> {
        let mut expected = None;
        if to == WantedRelease::Next {
            let info = self.info(name)?;
            let next = info.next().ok_or_else(|| no_release(name, to))?;
            self.release(name, next)?.get_ready(&self.inner)?;
            // Somebody may declare another one meanwhile, which nobody has looked at.
            expected = Some(next);
        }
        let release = self.inner.tenant.switch_projection(name, to, expected)?;
        let releases = self.inner.releases();
        releases.iter().filter(|((other, _), _)| other == name).for_each(|(_, release)| release.show_anew());
        self.followed()?;
        Ok(release)
    }

    /// Gives up the release that is built beside the live one.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn drop_release(&self, name: &str) -> Result<u64, NotDone> {
        let release = self.inner.tenant.drop_release(name)?;
        self.followed()?;
        Ok(release)
    }

    /// Passes over an event, and goes on.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn skip(&self, name: &str, position: u64, reason: &str) -> Result<(), NotDone> {
        self.inner.tenant.skip_in_projection(name, position, reason)?;
        self.resume(name)
    }

    /// Tries once more what stands still.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn resume(&self, name: &str) -> Result<(), NotDone> {
        self.info(name)?;
        let releases = self.inner.releases();
        let of_name = releases.iter().filter(|((other, _), _)| other == name);
        of_name.for_each(|(_, release)| release.resume(&self.inner));
        Ok(())
    }

    /// Forgets a projection, and removes its read models.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn remove(&self, name: &str) -> Result<(), NotDone> {
        self.inner.tenant.remove_projection(name)?;
        self.followed()?;
        #[cfg(feature = "postgres")]
        self.inner.elsewhere.forget_passwords()?;
        Ok(())
    }

    /// How a projection is doing.
    ///
    /// # Errors
    /// There is none.
    pub fn status(&self, name: &str) -> Result<ProjectionStatus, NotDone> {
        Ok(self.inner.status(self.info(name)?))
    }

    /// How all projections are doing, by name.
    pub fn list(&self) -> Vec<ProjectionStatus> {
        self.inner.tenant.projections().into_iter().map(|info| self.inner.status(info)).collect()
    }

    /// The rows of a table of the live release.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn rows(&self, name: &str, table: &str, query: &TableQuery) -> Result<Rows, NotDone> {
        self.reader(name)?.rows(table, query)
    }

    /// What SQL gives of the live release.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn sql(&self, name: &str, query: &SqlQuery) -> Result<Rows, NotDone> {
        self.reader(name)?.sql(query)
    }

    /// Up to where the live release has taken events in, and why it stands still, if it does.
    ///
    /// # Errors
    /// There is none.
    pub fn position(&self, name: &str) -> Result<(u64, Option<String>), NotDone> {
        Ok(self.live(name)?.position())
    }

    /// Waits until the live release has taken in everything up to a position.
    ///
    /// # Errors
    /// [`ReadModelRefusal::NotYet`].
    pub fn wait(&self, name: &str, wanted: u64, timeout: Duration) -> Result<(), NotDone> {
        let until = Instant::now() + timeout;
        loop {
            let seen = *self.inner.progress.lock();
            let (position, stopped) = self.position(name)?;
            if position >= wanted {
                return Ok(());
            }
            let mut progress = self.inner.progress.lock();
            if *progress == seen && self.inner.moved.wait_until(&mut progress, until).timed_out() {
                return Err(ReadModelRefusal::NotYet { wanted, position, stopped }.into());
            }
        }
    }

    /// What each table of the live release is, in short, and behind which position.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn digests(&self, name: &str) -> Result<(u64, Vec<TableDigest>), NotDone> {
        self.live(name)?.digests(&self.inner)
    }

    /// What differs between the live release and the one that is to come after it.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn compare(&self, name: &str) -> Result<Comparison, NotDone> {
        let info = self.info(name)?;
        let next = info.next().ok_or_else(|| no_release(name, WantedRelease::Next))?;
        let (live, next) = (self.release(name, info.live)?, self.release(name, next)?);
        live.compare(&next, &self.inner)
    }

    fn reader(&self, name: &str) -> Result<Reader, NotDone> {
        let release = self.live(name)?;
        release.make(&self.inner)?;
        release.place.reader()
    }

    /// The release that answers.
    fn live(&self, name: &str) -> Result<Arc<Release>, NotDone> {
        let attached = self.inner.attached.lock().get(name).map(|code| u64::from(code.version()));
        match attached {
            Some(version) => self.release(name, version),
            None => self.release(name, self.info(name)?.live),
        }
    }

    fn info(&self, name: &str) -> Result<ProjectionInfo, NotDone> {
        let info = self.inner.tenant.projection(name);
        info.ok_or_else(|| ProjectionRefusal::NotFound { name: name.chars().take(300).collect() }.into())
    }

    /// Somebody else may be about to remove it.
    fn release(&self, name: &str, number: u64) -> Result<Arc<Release>, NotDone> {
        let found = self.inner.releases().get(&(name.to_owned(), number)).cloned();
        found.ok_or_else(|| ProjectionRefusal::NotFound { name: name.to_owned() }.into())
    }

    fn needs_disk(&self) -> Result<(), NotDone> {
        let no_disk = || std::io::Error::other("read models need a folder on a disk");
        self.inner.has_disk.then_some(()).ok_or_else(|| self.failed(&no_disk()))
    }

    fn followed(&self) -> Result<(), NotDone> {
        self.inner.follow_definitions().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> NotDone {
        NotDone::Failed { place: self.inner.folder.display().to_string(), error: error.to_string() }
    }
}

/// A password that nobody can use is not written down.
#[cfg(not(feature = "postgres"))]
fn forget_password(declaration: &mut Projection) {
    if let ReadModelStore::Postgres(url) = &mut declaration.store {
        url.password = None;
    }
}

fn no_release(name: &str, wanted: WantedRelease) -> NotDone {
    ProjectionRefusal::NoRelease { name: name.to_owned(), wanted }.into()
}

impl Drop for Projections {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    /// Keeps what the log says that is kept, and nothing else.
    fn follow_definitions(self: &Arc<Self>) -> std::io::Result<()> {
        if !self.has_disk {
            return Ok(());
        }
        // Held for all of it: two that change definitions end with what the later one saw.
        let _changing = self.changing.lock();
        let mut releases = BTreeMap::clone(&self.releases());
        let mut wanted = BTreeMap::new();
        for info in self.tenant.projections() {
            for (number, release) in info.releases {
                let place = self.place(&info.name, number, &release.declaration.store);
                wanted.insert((info.name.clone(), number), (Source::Declared(release.declaration), release.at, place));
            }
        }
        for (name, code) in self.attached.lock().iter() {
            let number = u64::from(code.version());
            let place = Place::File(self.code_folder.join(name).join(format!("{number}.sqlite")));
            wanted.insert((name.clone(), number), (Source::Code(Arc::clone(code)), self.tenant.now(), place));
        }
        let gone: Vec<Key> = releases.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
        let gone: Vec<Arc<Release>> = gone.iter().filter_map(|key| releases.remove(key)).collect();
        for ((name, number), (source, at, place)) in wanted {
            if releases.contains_key(&(name.clone(), number)) {
                continue;
            }
            if let Place::File(path) = &place
                && let Some(folder) = path.parent()
            {
                fs::create_dir_all(folder)?;
            }
            let release = Arc::new(Release::new(self, name.clone(), number, source, at, place));
            releases.insert((name, number), release);
        }
        let releases = Arc::new(releases);
        *self.releases.lock() = Arc::clone(&releases);
        releases.values().for_each(|release| release.wake(self));
        for release in gone {
            release.close();
            match &release.place {
                Place::File(_) => release.place.remove(),
                #[cfg(feature = "postgres")]
                Place::Schema(schema) => self.sweep(schema.projection().clone()),
            }
        }
        Ok(())
    }

    /// Removes files of releases that are kept no more: their removal was cut short.
    fn remove_strays(&self) -> std::io::Result<()> {
        if self.has_disk && self.sandbox.exists() {
            fs::remove_dir_all(&self.sandbox)?;
        }
        if !self.has_disk || !self.folder.exists() {
            return Ok(());
        }
        for folder in fs::read_dir(&self.folder)? {
            let folder = folder?.path();
            let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let Some(info) = self.tenant.projection(&name) else {
                fs::remove_dir_all(&folder)?;
                continue;
            };
            self.remove_others(&folder, |number| info.releases.contains_key(&number))?;
        }
        Ok(())
    }

    /// Removes the files of a folder of read models but those of the releases that are kept.
    fn remove_others(&self, folder: &Path, is_kept: impl Fn(u64) -> bool) -> std::io::Result<()> {
        if !folder.exists() {
            return Ok(());
        }
        for file in fs::read_dir(folder)? {
            let file = file?.path();
            let number = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('.').next());
            if !number.and_then(|number| number.parse().ok()).is_some_and(&is_kept) {
                fs::remove_file(&file)?;
            }
        }
        Ok(())
    }

    fn status(&self, info: ProjectionInfo) -> ProjectionStatus {
        let end = self.tenant.position();
        let found = self.releases();
        let of = |number: &u64| found.get(&(info.name.clone(), *number)).map(|release| release.status(end));
        let releases: Vec<ReleaseStatus> = info.releases.keys().filter_map(of).collect();
        ProjectionStatus { name: info.name, live: info.live, releases, skipped: info.skipped, end }
    }

    /// Opens a read model, or makes it.
    fn open_model(&self, place: &Place, source: &Source, wanted: Wanted) -> Result<Model, Broken> {
        place.open(source, self.tenant.quotas().storage_bytes.map(NonZeroU64::get), wanted)
    }

    /// Where the read model of a declared release is.
    fn place(&self, name: &str, number: u64, store: &ReadModelStore) -> Place {
        let file = || Place::File(self.folder.join(name).join(format!("{number}.sqlite")));
        match store {
            ReadModelStore::Sqlite => file(),
            #[cfg(feature = "postgres")]
            ReadModelStore::Postgres(url) => Place::Schema(self.elsewhere.projection(url, name).release(number)),
            // What declares one is refused by this build; one that another build took in is kept here meanwhile.
            #[cfg(not(feature = "postgres"))]
            ReadModelStore::Postgres(_) => file(),
        }
    }

    /// Where a read model is built that is looked at once: in the same kind of database.
    fn sandbox_place(&self, name: &str, number: u64, source: &Source) -> Result<Place, NotDone> {
        #[cfg(feature = "postgres")]
        if let Source::Declared(declaration) = source
            && let ReadModelStore::Postgres(url) = &declaration.store
        {
            return Ok(Place::Schema(self.elsewhere.projection(url, name).sandbox(number)));
        }
        let (_, _) = (name, source);
        let failed = |error: std::io::Error| NotDone::Failed {
            place: self.sandbox.display().to_string(),
            error: error.to_string(),
        };
        fs::create_dir_all(&self.sandbox).map_err(failed)?;
        Ok(Place::File(self.sandbox.join(format!("{number}.sqlite"))))
    }

    /// Threads that may wait for databases elsewhere.
    fn pool_for_elsewhere(&self) -> &Pool {
        let own = self.pool_elsewhere.get_or_init(|| Pool::new(THREADS_ELSEWHERE).ok());
        // Without threads of its own it has to share.
        own.as_ref().unwrap_or(&self.pool)
    }

    fn releases(&self) -> Arc<BTreeMap<Key, Arc<Release>>> {
        Arc::clone(&self.releases.lock())
    }

    /// Tells whoever waits for a read model.
    fn tell(&self) {
        *self.progress.lock() += 1;
        self.moved.notify_all();
        (self.progressed)();
    }
}
