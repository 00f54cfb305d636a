//! Whether the logs of a tenant's folder are what was written: its own and its trail. Every checksum, every number and the hash
//! chain from the first commit to the last, and that nothing is missing at the end: against the heads that stand beside the
//! logs, and against those that somebody kept elsewhere. Changes nothing, and may run beside a server.

use std::io::ErrorKind;

use quipu_store::{CheckReport, Fault, Storage, Tail, check_each};

use super::{AUDIT_FOLDER, Head, Heads};

/// What was found of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Of its log.
    pub log: CheckReport,
    /// Of its trail; nothing if nothing was ever audited.
    pub audit: Option<CheckReport>,
    /// Where the sound parts of both end.
    pub heads: Heads,
    /// What is wrong, each with its place; the first place of each log first.
    pub problems: Vec<String>,
}

/// Verifies the folder of a tenant. `kept` are heads that were noted elsewhere before: what was there then must be there still.
/// `progress` is told the bytes read of a log and all there are.
///
/// # Errors
/// A file cannot be read. What is read and wrong is in the report.
pub fn verify(
    storage: &dyn Storage,
    folder: &str,
    kept: Heads,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, Fault> {
    let mut verified = Verified::default();
    let beside = match Heads::read(storage, folder) {
        Ok(heads) => heads,
        Err(Fault::Damaged { path, detail, .. }) => {
            verified.problems.push(format!("{path}: {detail}"));
            None
        }
        Err(fault) => return Err(fault),
    };
    let known = |of: fn(&Heads) -> Option<Head>| [beside.as_ref().and_then(of), of(&kept)];
    let (log, head) = verify_log(storage, folder, known(|heads| heads.log), &mut verified.problems, progress)?;
    (verified.log, verified.heads.log) = (log, head);
    let trail = format!("{folder}/{AUDIT_FOLDER}");
    match storage.list(&format!("{trail}/log")) {
        Ok(_) => {
            if beside.is_none() && verified.problems.is_empty() {
                let path = storage.display(folder);
                verified.problems.push(format!("{path}: expected the file heads beside the logs, found none"));
            }
            let known = known(|heads| heads.audit);
            let (audit, head) = verify_log(storage, &trail, known, &mut verified.problems, progress)?;
            (verified.audit, verified.heads.audit) = (Some(audit), head);
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {
            if let Some(head) = known(|heads| heads.audit).into_iter().flatten().next() {
                let path = storage.display(&trail);
                verified.problems.push(format!("{path}: expected a trail up to commit {}, found none", head.commit));
            }
        }
        Err(e) => return Err(Fault::io("list", storage.display(&trail), e)),
    }
    Ok(verified)
}

fn verify_log(
    storage: &dyn Storage,
    folder: &str,
    known: [Option<Head>; 2],
    problems: &mut Vec<String>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(CheckReport, Option<Head>), Fault> {
    let mut last = None;
    let mut others = Vec::new();
    let mut sound = |tail: &Tail| {
        let head = Head { commit: tail.number, chain: tail.chain };
        last = Some(head);
        others.extend(known.into_iter().flatten().filter(|known| known.commit == head.commit && *known != head));
    };
    let report = check_each(storage, folder, progress, &mut sound)?;
    problems.extend(report.problems.iter().cloned());
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
    Ok((report, last))
}
