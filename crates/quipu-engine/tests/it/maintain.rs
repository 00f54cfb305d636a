//! Writing index runs and snapshots: what happens when the disk refuses one of them, and with many threads at it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use quipu_domain::{Direction, Filter};
use quipu_engine::{Fault, Options, Tenant, World};
use quipu_store::{DiskStorage, File, OpenMode, Storage};

use crate::support::*;

/// A disk that watches who writes snapshots, and may refuse them.
#[derive(Debug)]
struct Watched {
    disk: DiskStorage,
    refuses_snapshots: AtomicBool,
    writing: AtomicUsize,
    writing_most: AtomicUsize,
}

impl Watched {
    fn new(folder: &std::path::Path) -> Arc<Self> {
        let (disk, refuses_snapshots) = (DiskStorage::new(folder), AtomicBool::new(false));
        Arc::new(Self { disk, refuses_snapshots, writing: AtomicUsize::new(0), writing_most: AtomicUsize::new(0) })
    }
}

impl Storage for Watched {
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        if mode == OpenMode::CreateNew && path.contains("/snapshots/") {
            if self.refuses_snapshots.load(Ordering::Relaxed) {
                return Err(io::Error::other("no snapshots here"));
            }
            let writing = self.writing.fetch_add(1, Ordering::SeqCst) + 1;
            self.writing_most.fetch_max(writing, Ordering::SeqCst);
            // Whoever else may write one comes now.
            (0..100).for_each(|_| std::thread::yield_now());
        }
        self.disk.open(path, mode)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if from.contains("/snapshots/") {
            self.writing.fetch_sub(1, Ordering::SeqCst);
        }
        self.disk.rename(from, to)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
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

fn open_on(storage: &Arc<Watched>, options: Options) -> Arc<Tenant> {
    let storage = Arc::clone(storage) as Arc<dyn Storage>;
    let world = World { storage, clock: Arc::new(Hands::default()), random: Arc::new(Counter::default()) };
    Tenant::open(&world, "t", options).unwrap()
}

fn publish_all(tenant: &Arc<Tenant>, from: usize, to: usize) -> Result<(), Fault> {
    (from..to).try_for_each(|i| tenant.publish_wait(vec![prepare(tenant, &event(&i.to_string(), "s"))]).map(|_| ()))
}

fn readable(tenant: &Tenant) -> usize {
    tenant.read(&Filter::default(), Direction::Forward, None, 10_000).unwrap().events.len()
}

/// Snapshots are caches, and no memory waits for them.
#[test]
fn appends_go_on_when_snapshots_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Watched::new(folder.path());
    storage.refuses_snapshots.store(true, Ordering::Relaxed);
    let tenant = open_on(&storage, small());
    publish_all(&tenant, 0, 200).unwrap();
    let fault = tenant.maintain().unwrap_err();
    assert!(fault.to_string().contains("/snapshots/"), "{fault}");
    assert!(tenant.refuses_appends().is_none());
    publish_all(&tenant, 200, 400).unwrap();
    drop(tenant);
    let tenant = open_on(&storage, small());
    assert_eq!(readable(&tenant), 400);
    publish_all(&tenant, 400, 500).unwrap();
    storage.refuses_snapshots.store(false, Ordering::Relaxed);
    while tenant.maintain().unwrap() {}
    assert_eq!(storage.list("t/snapshots").unwrap().len(), 1);
}

#[test]
fn one_snapshot_is_written_at_a_time_however_many_threads_maintain() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Watched::new(folder.path());
    let tenant = open_on(&storage, Options { run_events: 2, ..small() });
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    tenant.maintain().unwrap();
                    std::thread::yield_now();
                }
            });
        }
        let published = publish_all(&tenant, 0, 600);
        is_done.store(true, Ordering::Relaxed);
        published.unwrap();
    });
    assert_eq!(storage.writing_most.load(Ordering::Relaxed), 1);
    assert!(tenant.refuses_appends().is_none());
    drop(tenant);
    assert_eq!(readable(&open_on(&storage, small())), 600);
}
