//! The storage seam: the few things that the store asks of a disk. [`DiskStorage`] is the real one; the testkit has
//! one that crashes, tears and loses what was not synced.
//!
//! The contract is that of a POSIX file system: what was written is visible to reads at once, and survives a power
//! cut only after [`File::sync`] returned without error; a new, renamed or removed name survives only after
//! [`Storage::sync_dir`].

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A file that must not exist yet.
    CreateNew,
    /// The same, and nobody but its owner may read it.
    CreatePrivate,
}

/// A folder tree. Paths are relative to its root and separated by `/`.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Opens a file.
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// The names in a folder, files and folders, sorted. A folder that does not exist is `NotFound`.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// The same, and how long each file is. A disk may know without opening them one by one.
    fn list_lengths(&self, dir: &str) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for name in self.list(dir)? {
            match self.open(&format!("{dir}/{name}"), OpenMode::Read).and_then(|file| file.len()) {
                Ok(length) => files.push((name, length)),
                // It went away meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }
    /// Makes a folder and its parents; existing ones are fine.
    fn create_dir(&self, dir: &str) -> io::Result<()>;
    /// Renames a file, replacing an existing one.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Removes a folder with all that is in it; one that does not exist is fine. After a crash some of it may be left.
    fn remove_dir(&self, dir: &str) -> io::Result<()>;
    /// Makes the names in a folder durable; of the topmost one, also the names that lead to it.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Locks a file (made if missing) until the returned guard is dropped or the process ends. `WouldBlock` if
    /// another holds it.
    fn lock(&self, path: &str) -> io::Result<Box<dyn Send + Sync>>;
    /// The path as a user would type it, for messages.
    fn display(&self, path: &str) -> String;
    /// Where it is on a disk of this machine, for those that have files of their own kind there; nothing if it is on none.
    fn on_disk(&self, path: &str) -> Option<PathBuf> {
        let _ = path;
        None
    }
}

/// Makes the names that lead to a folder durable: a folder that was made just now is lost with all that is in it if they
/// are not.
pub(crate) fn sync_above(storage: &dyn Storage, folder: &str) -> Result<(), Fault> {
    let mut up = folder;
    while !up.is_empty() {
        up = up.rsplit_once('/').map_or("", |(parent, _)| parent);
        storage.sync_dir(up).map_err(|e| Fault::io("sync", storage.display(up), e))?;
    }
    Ok(())
}

/// An open file.
pub trait File: Send + Sync {
    /// Reads at an offset; fewer bytes than asked only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all the bytes at an offset, extending the file as needed.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything written so far durable (fdatasync).
    fn sync(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves room up to `len`; the file reads as zeros there. A disk that cannot do it may do nothing.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// The world failed: what was attempted, on what, and why it did not work.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The disk refused.
    Io {
        /// What was attempted, as a verb: "write", "sync".
        action: &'static str,
        /// The file or folder.
        path: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// No room is left: reads go on, appends are refused until there is room and the store is opened again.
    DiskFull {
        /// The file that could not grow.
        path: String,
    },
    /// Bytes that were acknowledged are not what was written. They are kept as they are.
    Damaged {
        /// The file.
        path: String,
        /// Where in the file, bytes.
        offset: u64,
        /// What is wrong and which positions are touched.
        detail: String,
    },
    /// An earlier failed write or sync: it is not known what reached the disk, so nothing more is appended until
    /// the store is opened again.
    Poisoned {
        /// The failure that began it.
        cause: String,
    },
    /// Another process has the data folder.
    Locked {
        /// The lock file.
        path: String,
    },
    /// Index runs cannot be written, and too many memtables wait for theirs. It is tried again by itself.
    Unindexed {
        /// The failure of the last try.
        cause: String,
    },
    /// Someone else appended to this log at the tail that was expected.
    Fenced {
        /// The commit number that was expected to be the last.
        expected: u64,
        /// The one that is.
        actual: u64,
    },
    /// A log has as many bytes as it may have: no events are taken, all else goes on.
    StorageQuota {
        /// How many that is.
        limit: u64,
    },
    /// Too much is waiting to be appended.
    Overloaded {
        /// Bytes that wait.
        waiting: usize,
        /// The limit.
        limit: usize,
    },
    /// A commit that no frame has room for was not written, nor was anything else.
    CommitTooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The store was closed.
    Closed,
    /// The folder is of a format that this version does not know.
    UnknownFormat {
        /// The file.
        path: String,
        /// What was found.
        found: String,
    },
}

impl Fault {
    /// Wraps an I/O error with what was attempted and where.
    pub fn io(action: &'static str, path: impl Into<String>, source: io::Error) -> Self {
        let path = path.into();
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::DiskFull { path };
        }
        Self::Io { action, path, source: Arc::new(source) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, source } => write!(f, "cannot {action} {path}: {source}{}", advice(source)),
            Self::DiskFull { path } => {
                write!(
                    f,
                    "no room left on the disk for {path}: the store is read-only; free some room, and restart if it stays so"
                )
            }
            Self::Damaged { path, offset, detail } => write!(
                f,
                "{path} is damaged at byte {offset}: {detail}. Nothing was changed; restore the file from a backup, or run `quipu store check`"
            ),
            Self::Poisoned { cause } => {
                write!(f, "appends are refused since an earlier failure ({cause}); reads go on, restart to recover")
            }
            Self::Unindexed { cause } => {
                write!(f, "appends are refused until index files can be written, which is tried again: {cause}")
            }
            Self::Locked { path } => {
                write!(f, "another process uses this data folder (it holds {path}); stop it or choose another folder")
            }
            Self::Fenced { expected, actual } => {
                write!(f, "another writer has this log: expected commit {expected} to be the last, found {actual}")
            }
            Self::Overloaded { waiting, limit } => {
                write!(f, "{waiting} bytes wait to be appended, the limit is {limit}; try again")
            }
            Self::StorageQuota { limit } => {
                write!(f, "the storage quota of {limit} bytes is used up: no more events are taken, reads go on")
            }
            Self::CommitTooLarge { bytes, limit } => {
                write!(f, "expected a commit of at most {limit} bytes, found one of {bytes}: nothing of it was written")
            }
            Self::Closed => f.write_str("the store is closed"),
            Self::UnknownFormat { path, found } => {
                write!(f, "{path}: expected a format that this version knows, found {found}; use a newer quipu")
            }
        }
    }
}

/// What to do about what the system said, where that is known.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; let the user that runs quipu read and write there, or choose another folder"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; mount its file system writable, or choose another folder",
        _ => "",
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A folder of the real file system.
#[derive(Debug, Clone)]
pub struct DiskStorage {
    root: PathBuf,
}

impl DiskStorage {
    /// A folder tree below `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

impl Storage for DiskStorage {
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::CreatePrivate => {
                options.write(true).create_new(true).mode(0o600);
            }
        }
        Ok(Arc::new(DiskFile { file: options.open(self.at(path))? }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.at(dir))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn list_lengths(&self, dir: &str) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.at(dir))? {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) => files.push((entry.file_name().to_string_lossy().into_owned(), metadata.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        files.sort();
        Ok(files)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        fs::create_dir_all(self.at(dir))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.at(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let folder = self.at(dir);
        fs::File::open(&folder)?.sync_all()?;
        if !dir.is_empty() {
            return Ok(());
        }
        for above in fs::canonicalize(&folder)?.ancestors().skip(1) {
            use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
            match fs::File::open(above).and_then(|above| above.sync_all()) {
                Ok(()) => {}
                // Nobody has made a folder where they may not look, or in what knows no sync: it was there before.
                Err(e) if matches!(e.kind(), PermissionDenied | InvalidInput | Unsupported | ReadOnlyFilesystem) => {
                    break;
                }
                Err(e) => return Err(io::Error::new(e.kind(), format!("{}, above it: {e}", above.display()))),
            }
        }
        Ok(())
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Send + Sync>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.at(path))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn display(&self, path: &str) -> String {
        let path: &Path = &self.at(path);
        path.display().to_string()
    }

    fn on_disk(&self, path: &str) -> Option<PathBuf> {
        Some(self.at(path))
    }
}

struct DiskFile {
    file: fs::File,
}

impl File for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        // posix_fallocate's emulation would write every block; file systems without fallocate simply grow instead.
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, len) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
