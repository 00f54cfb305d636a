//! A disk in memory: what a store is opened on that leaves nothing behind. It does all that is asked of it, and forgets everything
//! with its last handle. The disk of the testkit, in memory as well, breaks; this one does not.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use crate::storage::{File, OpenMode, Storage};

/// A folder tree in memory. Clones are handles on the same one.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    tree: Arc<Mutex<Tree>>,
}

/// Paths, by their whole names. The root is always there.
#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<String, Arc<MemoryFile>>,
    folders: BTreeSet<String>,
    locks: BTreeSet<String>,
}

/// What was written of one file. Whoever has it open keeps it, as on a disk, when its name is gone.
#[derive(Debug, Default)]
struct MemoryFile {
    bytes: RwLock<Vec<u8>>,
}

struct LockGuard {
    tree: Weak<Mutex<Tree>>,
    path: String,
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if let Some(tree) = self.tree.upgrade() {
            tree.lock().locks.remove(&self.path);
        }
    }
}

impl Tree {
    fn has_folder(&self, folder: &str) -> bool {
        folder.is_empty() || self.folders.contains(folder)
    }

    /// Whether a name may be made there.
    fn expect_folder_of(&self, path: &str) -> io::Result<()> {
        if self.has_folder(parent(path)) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The names directly below a folder.
fn below<'a>(paths: impl Iterator<Item = &'a String>, folder: &str) -> Vec<String> {
    let name = |path: &'a String| path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name).to_owned();
    paths.filter(|path| parent(path) == folder).map(name).collect()
}

impl Storage for MemoryStorage {
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut tree = self.tree.lock();
        match mode {
            OpenMode::Read | OpenMode::ReadWrite => {
                let file = tree.files.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
                Ok(file)
            }
            OpenMode::CreateNew | OpenMode::CreatePrivate => {
                tree.expect_folder_of(path)?;
                if tree.files.contains_key(path) || tree.has_folder(path) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                let file = Arc::<MemoryFile>::default();
                tree.files.insert(path.to_owned(), Arc::clone(&file));
                Ok(file)
            }
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let tree = self.tree.lock();
        if !tree.has_folder(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut names = below(tree.files.keys(), dir);
        names.extend(below(tree.folders.iter(), dir));
        names.sort();
        Ok(names)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let mut tree = self.tree.lock();
        let all = || {
            std::iter::successors(Some(dir).filter(|dir| !dir.is_empty()), |at| {
                Some(parent(at)).filter(|above| !above.is_empty())
            })
        };
        if all().any(|at| tree.files.contains_key(at)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        tree.folders.extend(all().map(str::to_owned));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut tree = self.tree.lock();
        tree.expect_folder_of(to)?;
        let file = tree.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        tree.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let removed = self.tree.lock().files.remove(path);
        removed.map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        let mut tree = self.tree.lock();
        let inside = format!("{dir}/");
        tree.files.retain(|path, _| !path.starts_with(&inside));
        tree.folders.retain(|path| path != dir && !path.starts_with(&inside));
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        if self.tree.lock().has_folder(dir) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Send + Sync>> {
        let mut tree = self.tree.lock();
        tree.expect_folder_of(path)?;
        if !tree.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        tree.files.entry(path.to_owned()).or_default();
        Ok(Box::new(LockGuard { tree: Arc::downgrade(&self.tree), path: path.to_owned() }))
    }

    fn display(&self, path: &str) -> String {
        format!("memory:{path}")
    }
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes.read();
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Nothing, however far behind the end, makes no file longer.
        if bytes.is_empty() {
            return Ok(());
        }
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::StorageFull)?;
        let end = offset.checked_add(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        let mut all = self.bytes.write();
        if all.len() < end {
            all.resize(end, 0);
        }
        all[offset..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.read().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::StorageFull)?;
        self.bytes.write().resize(len, 0);
        Ok(())
    }

    /// Room in memory is taken when it is written: a segment reserves 256 MiB.
    fn allocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::DiskStorage;

    const PATHS: [&str; 8] = ["a", "a/b", "a/c", "a/b/c", "d", "d/e", "", "a/b/c/f"];

    #[derive(Clone, Debug)]
    enum Step {
        Open(usize, OpenMode),
        Write { path: usize, offset: u64, len: usize },
        SetLen(usize, u64),
        List(usize),
        CreateDir(usize),
        Rename(usize, usize),
        Remove(usize),
        RemoveDir(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let path = 0..PATHS.len();
        let mode = prop_oneof![
            Just(OpenMode::Read),
            Just(OpenMode::ReadWrite),
            Just(OpenMode::CreateNew),
            Just(OpenMode::CreatePrivate)
        ];
        let step = prop_oneof![
            3 => (path.clone(), mode).prop_map(|(path, mode)| Step::Open(path, mode)),
            3 => (path.clone(), 0..9u64, 0..9usize).prop_map(|(path, offset, len)| Step::Write { path, offset, len }),
            1 => (path.clone(), 0..9u64).prop_map(|(path, len)| Step::SetLen(path, len)),
            2 => path.clone().prop_map(Step::List),
            3 => path.clone().prop_map(Step::CreateDir),
            1 => (path.clone(), path.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
            1 => path.clone().prop_map(Step::Remove),
            1 => path.prop_map(Step::RemoveDir),
        ];
        proptest::collection::vec(step, 0..40)
    }

    /// What a step answers and what can be seen afterwards. Which error it is, is the system's; that there is one is the contract.
    fn take(storage: &dyn Storage, step: &Step) -> Option<(Vec<String>, Vec<u8>)> {
        let content = |file: Arc<dyn File>| {
            let mut bytes = vec![0; 64];
            let read = file.read_at(&mut bytes, 1).ok()?;
            bytes.truncate(read);
            bytes.push(u8::try_from(file.len().ok()?).ok()?);
            Some((Vec::new(), bytes))
        };
        let open = |path: usize| storage.open(PATHS[path], OpenMode::ReadWrite).ok();
        let nothing = |done: io::Result<()>| done.ok().map(|()| Default::default());
        match *step {
            Step::Open(path, mode) => content(storage.open(PATHS[path], mode).ok()?),
            Step::Write { path, offset, len } => {
                let file = open(path)?;
                file.write_at(&vec![7; len], offset).ok()?;
                content(file)
            }
            Step::SetLen(path, len) => {
                let file = open(path)?;
                file.set_len(len).ok()?;
                content(file)
            }
            Step::List(path) => Some((storage.list(PATHS[path]).ok()?, Vec::new())),
            Step::CreateDir(path) => nothing(storage.create_dir(PATHS[path])),
            Step::Rename(from, to) => nothing(storage.rename(PATHS[from], PATHS[to])),
            Step::Remove(path) => nothing(storage.remove(PATHS[path])),
            Step::RemoveDir(path) => nothing(storage.remove_dir(PATHS[path])),
        }
    }

    /// Steps whose outcome on a disk is not part of the contract: folders as files, and the root removed or renamed.
    fn is_in_contract(disk: &std::path::Path, step: &Step) -> bool {
        let is_dir = |path: usize| disk.join(PATHS[path]).is_dir();
        match *step {
            Step::Open(path, OpenMode::Read | OpenMode::ReadWrite)
            | Step::Write { path, .. }
            | Step::SetLen(path, _)
            | Step::Remove(path) => !is_dir(path),
            Step::Rename(from, to) => !is_dir(from) && !is_dir(to),
            Step::List(path) => is_dir(path) || !disk.join(PATHS[path]).exists(),
            Step::RemoveDir(path) => {
                let place = disk.join(PATHS[path]);
                !PATHS[path].is_empty() && !place.ancestors().any(std::path::Path::is_file)
            }
            Step::Open(..) | Step::CreateDir(_) => true,
        }
    }

    proptest! {
        #[test]
        fn it_answers_as_a_disk_does(steps in steps()) {
            let folder = tempfile::tempdir().unwrap();
            let (disk, memory) = (DiskStorage::new(folder.path()), MemoryStorage::default());
            for step in steps {
                if is_in_contract(folder.path(), &step) {
                    prop_assert_eq!(take(&memory, &step), take(&disk, &step), "{:?}", step);
                }
            }
        }
    }

    #[test]
    fn a_lock_is_held_until_it_is_dropped_and_an_open_file_outlives_its_name() {
        let memory = MemoryStorage::default();
        let held = memory.lock("lock").unwrap();
        assert_eq!(memory.lock("lock").err().unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        memory.lock("lock").unwrap();
        let file = memory.open("a", OpenMode::CreateNew).unwrap();
        file.write_at(b"kept", 0).unwrap();
        memory.remove("a").unwrap();
        let mut bytes = [0; 8];
        assert_eq!((file.read_at(&mut bytes, 0).unwrap(), &bytes[..4]), (4, &b"kept"[..]));
    }
}
