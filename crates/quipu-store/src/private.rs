//! Files that are nobody's business but their owner's, such as secrets: each is written whole, and only its owner may read
//! it. They lie beside the log, where no backup, export or check looks. What is in them is for whoever keeps them.

use std::io::ErrorKind;

use crate::snapshot::write_in_mode;
use crate::storage::{Fault, OpenMode, Storage};

/// Where they are in a tenant's folder.
const FOLDER: &str = "secrets";

/// Puts these bytes in the place of the file, durably: after a crash it holds them or what it held before.
///
/// # Errors
/// The disk refuses; the file is as it was.
pub fn write(storage: &dyn Storage, tenant: &str, name: &str, bytes: &[u8]) -> Result<(), Fault> {
    let folder = format!("{tenant}/{FOLDER}");
    write_in_mode(storage, &folder, &format!("{folder}/{name}"), bytes, OpenMode::CreatePrivate)?;
    // The folder may be new.
    storage.sync_dir(tenant).map_err(|e| Fault::io("sync", storage.display(tenant), e))
}

/// The bytes of a file; nothing if there is none.
///
/// # Errors
/// The disk refuses.
pub fn read(storage: &dyn Storage, tenant: &str, name: &str) -> Result<Option<Vec<u8>>, Fault> {
    let path = path(tenant, name);
    let fault = |action, e| Fault::io(action, storage.display(&path), e);
    let file = match storage.open(&path, OpenMode::Read) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|e| fault("open", e))?,
    };
    let length = file.len().map_err(|e| fault("read the length of", e))?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut bytes, 0).map_err(|e| fault("read", e))?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// The path of a file, as the storage knows it.
pub fn path(tenant: &str, name: &str) -> String {
    format!("{tenant}/{FOLDER}/{name}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::DiskStorage;

    #[test]
    fn what_was_written_last_is_read_back_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::new(folder.path());
        assert_eq!(read(&storage, "t", "a").unwrap(), None);
        for bytes in [&b"one"[..], b"twenty-two", b""] {
            write(&storage, "t", "a", bytes).unwrap();
            assert_eq!(read(&storage, "t", "a").unwrap().unwrap(), bytes);
            let mode = std::fs::metadata(folder.path().join(path("t", "a"))).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(folder.path().join("t/secrets")).unwrap().count(), 1);
    }
}
