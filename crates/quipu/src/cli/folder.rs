//! A data folder on the command line: opened with the limits and windows of its server, and never made by a mistyped
//! path.

use std::fs;
use std::io;
use std::path::Path;

use quipu::Quipu;
use quipu_engine::{Act, Actor, Tenant, is_tenant_name};

use super::config::Settings;
use super::exit::{Exit, Failure};
use super::progress;

/// The tenant that is meant when none is named.
pub const TENANT_DEFAULT: &str = "default";

/// Opens a tenant of a folder that has data.
pub fn open_existing(folder: &Path, tenant: &str, settings: &Settings) -> Result<Quipu, Failure> {
    if !tenants(folder)?.iter().any(|name| name == tenant) {
        let message =
            format!("expected the tenant {tenant} in {}, found {}", folder.display(), tenants(folder)?.join(", "));
        return Err(Failure::new(Exit::NotFound, message));
    }
    open(folder, tenant, settings)
}

/// Opens a tenant of a folder, which is made if it does not exist.
pub fn open(folder: &Path, tenant: &str, settings: &Settings) -> Result<Quipu, Failure> {
    if !is_tenant_name(tenant) {
        return Err(Failure::usage(format!("--tenant: expected 1 to 64 of a-z, 0-9, - and _, found {tenant}")));
    }
    let options = settings.options()?;
    progress::saying(&opening(folder), || {
        let quipu = Quipu::open_with(folder, options)?;
        Ok(if tenant == TENANT_DEFAULT { quipu } else { quipu.tenant(tenant)? })
    })
}

/// An act of whoever has the data folder, for the trail of a tenant.
pub fn local_act(tenant: &Tenant, operation: &str, subject: &str) -> Act {
    // Who is at the machine is for the machine to say; a name in the environment is whatever somebody wrote there.
    tenant.act(operation, Actor { id: "local".into(), name: None }, subject)
}

/// What is said while a folder is opened: without caches the whole log is read.
pub fn opening(folder: &Path) -> String {
    format!("opening {}; without its index and snapshots that reads the whole log", folder.display())
}

/// The tenants of a folder, sorted.
pub fn tenants(folder: &Path) -> Result<Vec<String>, Failure> {
    let path = folder.join("tenants");
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            let message = format!("expected a data folder of quipu, found no tenants folder in {}", folder.display());
            Failure::new(Exit::NotFound, message)
        }
        _ => Failure::file("read", path.display(), &error),
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
