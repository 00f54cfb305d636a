//! A real disk that a test is asked about before some calls: it may refuse them, or let them wait.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use quipu_store::{DiskStorage, File, OpenMode, Storage};

/// A call that is about to be made.
pub enum Call<'c> {
    Open(&'c str, OpenMode),
    List(&'c str),
}

type Hook = Box<dyn Fn(Call<'_>) -> io::Result<()> + Send + Sync>;

pub struct Disk {
    disk: DiskStorage,
    hook: Hook,
}

impl Disk {
    pub fn hooked(
        folder: &Path,
        hook: impl Fn(Call<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Arc<dyn Storage> {
        Arc::new(Self { disk: DiskStorage::new(folder), hook: Box::new(hook) })
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl Storage for Disk {
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        (self.hook)(Call::Open(path, mode))?;
        self.disk.open(path, mode)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        (self.hook)(Call::List(dir))?;
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock(path)
    }

    fn display(&self, path: &str) -> String {
        self.disk.display(path)
    }
}
