//! `quipu store backup`: a consistent copy, also while a server writes, checked as it is read back.

use std::path::PathBuf;

use clap::Args;
use quipu_engine::{AUDIT_FOLDER, backup};
use quipu_store::DiskStorage;

use super::super::exit::Outcome;
use super::super::folder::tenants;
use super::super::output::Out;
use super::super::progress::Progress;
use super::check::{chosen, show};

#[derive(Debug, Args)]
pub struct Backup {
    /// The data folder
    folder: PathBuf,
    /// The folder of the copy, which must not hold one yet
    target: PathBuf,
    /// Only this tenant [default: all]
    #[arg(long)]
    tenant: Option<String>,
}

pub fn run(args: &Backup, out: &mut Out) -> Outcome {
    let (storage, target) = (DiskStorage::new(&args.folder), DiskStorage::new(&args.target));
    let mut reports = Vec::new();
    let mut bytes = 0;
    for tenant in chosen(tenants(&args.folder)?, args.tenant.as_deref())? {
        let mut progress = Progress::new(None);
        let folder = format!("tenants/{tenant}");
        let report = backup(&storage, &folder, &target, &mut |done, all| progress.at_bytes(done, all));
        progress.finish();
        let (log, audit) = report?;
        bytes += log.bytes + audit.as_ref().map_or(0, |audit| audit.bytes);
        let audit = audit.map(|audit| (format!("{tenant}/{AUDIT_FOLDER}"), audit.check));
        reports.push((tenant, log.check));
        reports.extend(audit);
    }
    eprintln!("{bytes} bytes copied to {}; the copy as it was read back:", args.target.display());
    show(&reports, out)
}
