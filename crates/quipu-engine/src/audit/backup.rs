//! A copy of a tenant with its trail. The heads are read first and written last: the copies of the logs hold at least what they
//! name.

use std::io::ErrorKind;

use quipu_store::{BackupReport, Fault, Storage};

use super::{AUDIT_FOLDER, Head, Heads};

/// Copies the logs of the tenant in `folder` to the same folder of another storage, durably, and checks the copies: of its log
/// and of its trail, if it has one. `progress` is told the bytes copied of a log and all there are, and then the same of those
/// read back.
///
/// # Errors
/// As [`quipu_store::backup`].
pub fn backup(
    storage: &dyn Storage,
    folder: &str,
    target: &dyn Storage,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(BackupReport, Option<BackupReport>), Fault> {
    let heads = Heads::read(storage, folder)?;
    let log = quipu_store::backup(storage, folder, target, progress)?;
    let trail = format!("{folder}/{AUDIT_FOLDER}");
    let audit = match storage.list(&format!("{trail}/log")) {
        Ok(_) => Some(quipu_store::backup(storage, &trail, target, progress)?),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(Fault::io("list", storage.display(&trail), e)),
    };
    // Those of the copies, if the trail was begun meanwhile.
    let head = |report: &BackupReport| Head { commit: report.check.commits, chain: report.check.chain };
    let begun = audit.as_ref().map(|audit| Heads { log: head(&log), audit: head(audit) });
    if let Some(heads) = heads.or(begun) {
        heads.write(target, folder)?;
    }
    Ok((log, audit))
}
