//! A server as a process of this machine: started in a folder, stopped when it is dropped, and what it costs: processor time
//! and memory of it and of all that it started, and the bytes that its folder takes on disk. Knows no server in particular.

use std::collections::HashMap;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A server that has not ended so long after it was asked to is killed.
const PATIENCE: Duration = Duration::from_secs(20);
/// A look at whether something has changed, so often.
pub const LOOK: Duration = Duration::from_millis(20);

/// A running server, the leader of a process group of its own.
pub struct Process {
    child: Child,
    asks: Signal,
}

impl Process {
    /// Starts a program whose output goes to `said` in this folder, and which ends when it is asked by this signal.
    pub fn start(mut command: Command, folder: &Path, asks: Signal) -> Result<Self> {
        let said = File::create(folder.join("said")).with_context(|| format!("{}", folder.display()))?;
        command.process_group(0).stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Self { child, asks })
    }

    /// The process that was started; others may descend from it.
    fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails with what the server said if it has ended.
    pub fn check(&mut self, folder: &Path) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let said = std::fs::read_to_string(folder.join("said")).unwrap_or_default();
            bail!("expected a running server, found {status}: {said}");
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        let _ = kill_process(group, self.asks);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            thread::sleep(LOOK);
        }
        // What did not end, and what it left behind.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A server that answers. Dropping it stops it.
pub struct Running {
    /// The version, as it says itself.
    pub version: String,
    /// Where its data is.
    pub data: PathBuf,
    /// What was started, in the order of stopping.
    pub processes: Vec<Process>,
}

impl Running {
    /// Its processes; those that descend from them are found.
    pub fn ids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }
}

/// A port on which nobody listens now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// These processes and all that descend from them.
fn tree(roots: &[u32]) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = stat(id).and_then(|fields| fields[1].parse().ok()) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut all = roots.to_vec();
    let mut at = 0;
    while let Some(id) = all.get(at) {
        all.extend(children.remove(id).unwrap_or_default());
        at += 1;
    }
    all
}

/// The fields of `/proc/ID/stat` behind the name of the program, which may have blanks in it.
fn stat(id: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<String> = text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect();
    (fields.len() > 14).then_some(fields)
}

/// Seconds of processor time that these processes, their descendants and those that have ended used.
pub fn processor_seconds(roots: &[u32]) -> f64 {
    let ticks = |id| stat(id).map_or(0, |fields| fields[11..15].iter().flat_map(|field| field.parse::<u64>()).sum());
    tree(roots).into_iter().map(ticks).sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Bytes of memory that these processes and their descendants hold; what several share counts once.
pub fn memory_bytes(roots: &[u32]) -> u64 {
    let of = |id| {
        let text = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    tree(roots).into_iter().filter_map(of).sum::<u64>() * 1024
}

/// Bytes that the files of a folder take on disk, room that is reserved and not written yet included.
pub fn disk_bytes(folder: &Path) -> u64 {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        // Servers delete files while they are looked at.
        let Ok(found) = entry.path().symlink_metadata() else { continue };
        sum += found.blocks() * 512;
        if found.is_dir() {
            sum += disk_bytes(&entry.path());
        }
    }
    sum
}
