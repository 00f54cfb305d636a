//! A file that is there under its name only when it is whole: until then it is `NAME.partial`, which is removed if the
//! writing fails. What a killed process leaves can so never be taken for a whole file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::super::exit::{Exit, Failure};

pub struct Partial {
    path: PathBuf,
    partial: PathBuf,
    to: BufWriter<File>,
    /// Kept apart from an error of standard output, for which a broken pipe is no error.
    error: Option<io::Error>,
    is_finished: bool,
}

impl Partial {
    /// Begins a file that must not exist.
    fn begin(path: &Path) -> Result<Self, Failure> {
        if path.try_exists().map_err(|error| Failure::file("write", path.display(), &error))? {
            return Err(exists(path));
        }
        let mut name = path.to_owned().into_os_string();
        name.push(".partial");
        let partial = PathBuf::from(name);
        let file =
            OpenOptions::new().write(true).create_new(true).open(&partial).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Failure::failed(format!(
                    "expected no {}: another process is writing it, or one that was killed has left it; then remove it",
                    partial.display()
                )),
                _ => Failure::file("write", partial.display(), &error),
            })?;
        let to = BufWriter::with_capacity(256 * 1024, file);
        Ok(Self { path: path.to_owned(), partial, to, error: None, is_finished: false })
    }

    /// Writes a file that must not exist, and gives it its name when it is whole.
    pub fn write<T>(path: &Path, write: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut file = Self::begin(path)?;
        let written = write(&mut file);
        // An error of the file says more than what the writing made of it.
        file.check()?;
        let written = written?;
        file.finish()?;
        Ok(written)
    }

    /// Whether everything could be written so far.
    fn check(&self) -> Result<(), Failure> {
        match &self.error {
            Some(error) => Err(Failure::file("write", self.path.display(), error)),
            None => Ok(()),
        }
    }

    /// Gives the file its name, which a file that has appeared meanwhile keeps: renaming would replace that.
    fn name(&self) -> io::Result<()> {
        match fs::hard_link(&self.partial, &self.path) {
            // A disk without links, such as FAT: as good as it gets there.
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
                if self.path.try_exists()? {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                fs::rename(&self.partial, &self.path)
            }
            linked => linked.and_then(|()| fs::remove_file(&self.partial)),
        }
    }

    /// Puts the file on the disk, and then under its name.
    fn finish(mut self) -> Result<(), Failure> {
        let on_disk = self.to.flush().and_then(|()| self.to.get_ref().sync_all());
        on_disk.and_then(|()| self.name()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.path),
            _ => Failure::file("write", self.path.display(), &error),
        })?;
        self.is_finished = true;
        sync_folder_of(&self.path)
    }
}

/// So that the name of a new file is on disk, too.
pub fn sync_folder_of(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Failure::file("sync", folder.display(), &error))
}

fn exists(path: &Path) -> Failure {
    Failure::new(Exit::Failed, format!("expected a file that does not exist yet, found {}", path.display()))
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.error = Some(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_finished {
            // Nothing more can be done about a file that cannot be removed either; the failure is told already.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_appears_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut partial = Partial::begin(&path).unwrap();
        partial.write_all(b"ours").unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(partial.finish().is_err());
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "what was written is removed");
    }

    #[test]
    fn a_file_has_its_name_when_it_is_whole_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut partial = Partial::begin(&path).unwrap();
        partial.write_all(b"ours").unwrap();
        assert!(!path.exists());
        assert!(partial.finish().is_ok());
        assert_eq!(fs::read(&path).unwrap(), b"ours");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
