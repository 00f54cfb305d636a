//! Whether the logs of a tenant's folder are what was written: its own and its trail. Every checksum, every number and the hash
//! chain from the first commit to the last, and that nothing is missing at the end: against the heads that stand beside the
//! logs, and against those that somebody kept elsewhere. Changes nothing, and may run beside a server.

use std::io::ErrorKind;

use quipu_store::{CheckReport, Fault, Storage, Tail, check_each};

use super::{AUDIT_FOLDER, Head, Heads};

/// Heads that somebody noted elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Of the log.
    pub log: Option<Head>,
    /// Of the trail.
    pub audit: Option<Head>,
}

/// What was found of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Of its log.
    pub log: VerifiedLog,
    /// Of its trail; nothing if nothing was ever audited.
    pub audit: Option<VerifiedLog>,
}

/// What was found of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifiedLog {
    /// Of its files.
    pub report: CheckReport,
    /// Where its sound part ends.
    pub head: Option<Head>,
    /// What is wrong, each with its place, the first place first.
    pub problems: Vec<String>,
}

impl Verified {
    /// Everything that is wrong.
    pub fn problems(&self) -> Vec<String> {
        self.log.problems.iter().chain(self.audit.iter().flat_map(|audit| &audit.problems)).cloned().collect()
    }
}

/// Verifies the folder of a tenant: what was there when a head was kept must be there still. `progress` is told the bytes read of
/// a log and all there are.
///
/// # Errors
/// A file cannot be read. What is read and wrong is in the report.
pub fn verify(
    storage: &dyn Storage,
    folder: &str,
    kept: Kept,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, Fault> {
    // Read first: the logs may go on while they are read.
    let (beside, damage) = match Heads::read(storage, folder) {
        Ok(heads) => (heads, None),
        Err(Fault::Damaged { path, detail, .. }) => (None, Some(format!("{path}: {detail}"))),
        Err(fault) => return Err(fault),
    };
    let log = verify_log(storage, folder, [beside.map(|heads| heads.log), kept.log], progress)?;
    let (trail, known) = (format!("{folder}/{AUDIT_FOLDER}"), [beside.map(|heads| heads.audit), kept.audit]);
    let mut audit = match storage.list(&format!("{trail}/log")) {
        Ok(_) => Some(verify_log(storage, &trail, known, progress)?),
        Err(e) if e.kind() == ErrorKind::NotFound => known.into_iter().flatten().next().map(|head| {
            let (path, number) = (storage.display(&trail), head.commit);
            let problems = vec![format!("{path}: expected a trail up to commit {number}, found none")];
            VerifiedLog { problems, ..VerifiedLog::default() }
        }),
        Err(e) => return Err(Fault::io("list", storage.display(&trail), e)),
    };
    if let Some(audit) = &mut audit
        && beside.is_none()
        && damage.is_none()
        && audit.report.events > 0
    {
        // They are written before the first act is.
        let path = storage.display(folder);
        audit.problems.push(format!("{path}: expected the file heads beside the logs, found none"));
    }
    if let Some(damage) = damage {
        audit.get_or_insert_default().problems.push(damage);
    }
    Ok(Verified { log, audit })
}

fn verify_log(
    storage: &dyn Storage,
    folder: &str,
    known: [Option<Head>; 2],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifiedLog, Fault> {
    let mut last = None;
    let mut others = Vec::new();
    let is_other = |head: Head| known.into_iter().flatten().find(|known| known.commit == head.commit && *known != head);
    // Before the first commit nothing is known that could differ.
    others.extend(is_other(Head { commit: 0, chain: [0; 32] }));
    let mut sound = |tail: &Tail| {
        let head = Head { commit: tail.number, chain: tail.chain };
        last = Some(head);
        others.extend(is_other(head));
    };
    let report = check_each(storage, folder, progress, &mut sound)?;
    let mut problems = report.problems.clone();
    let path = storage.display(&format!("{folder}/log"));
    problems.extend(others.iter().map(|known| {
        let number = known.commit;
        format!("{path}: commit {number}: the log up to it is another than the one that was there: expected {known}")
    }));
    let end = last.map_or(0, |head| head.commit);
    if report.problems.is_empty()
        && let Some(known) = known.into_iter().flatten().max_by_key(|known| known.commit)
        && known.commit > end
    {
        let from = end + 1;
        problems
            .push(format!("{path}: commits {from} to {} were there and are not: its end was cut off", known.commit));
    }
    Ok(VerifiedLog { report, head: last, problems })
}
