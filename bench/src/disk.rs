//! The bare disk: what is appended, written to a file by this process, with a sync for as many events as the clients of a
//! workload would have on their way. It is what a system could reach if all else cost nothing; not a system, so it is in no
//! way a `Server`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::payload::Events;
use crate::row::ROWS;
use crate::workload::{BATCH, Figure, LARGE, SMALL, Size, Workload};

/// The figures of a workload, from a file in this folder.
pub fn run(workload: Workload, size: Size, folder: &Path) -> Result<Vec<Figure>> {
    let rows = ROWS.iter().filter(|row| row.workload == workload);
    rows.map(|row| measure(row.name, size, folder)).collect()
}

/// What is under it, as it calls itself.
pub fn version() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", release.trim())
}

/// The bytes of an event and the events of a sync, as the name of a row says.
fn load(row: &str) -> Option<(usize, usize)> {
    let mut parts = row.split('/');
    let (workload, bytes, clients) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    let clients = if clients == "in-flight" { crate::workload::IN_FLIGHT } else { clients.parse().ok()? };
    [SMALL, LARGE].contains(&bytes).then_some(())?;
    match workload {
        "append" => Some((bytes, clients)),
        "batch" => Some((bytes, clients * BATCH)),
        _ => None,
    }
}

/// Writes and syncs until the window is over; events a second of what was synced in it.
fn measure(row: &str, size: Size, folder: &Path) -> Result<Figure> {
    let Some((bytes, events)) = load(row) else { bail!("expected a row of appends, found {row}") };
    let path = folder.join("events");
    let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
    let mut made = Events::new(0, bytes);
    let from = Instant::now() + size.warm_up;
    let until = from + size.window;
    let mut done = 0_u64;
    let mut together = Vec::with_capacity(bytes * events);
    loop {
        together.clear();
        (0..events).for_each(|_| together.extend_from_slice(&made.make().data));
        append(&mut file, &together).with_context(|| format!("{}", path.display()))?;
        let now = Instant::now();
        if now >= until {
            break;
        }
        done += if now >= from { events as u64 } else { 0 };
    }
    // The next row begins with an empty file, as this one did.
    std::fs::remove_file(&path)?;
    Ok(Figure::new(row, done as f64 / size.window.as_secs_f64()))
}

fn append(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_how_many_events_share_a_sync() {
        let rows = ["append/256/1", "append/4096/64", "append/256/in-flight", "batch/256/1", "batch/4096/16"];
        let expected = [(256, 1), (4_096, 64), (256, 64), (256, 100), (4_096, 1_600)].map(Some);
        assert_eq!(rows.map(load), expected);
    }

    #[test]
    fn every_row_of_single_appends_and_batches_has_a_figure() {
        for row in ROWS {
            let is_write = matches!(row.workload, Workload::Append | Workload::Batch);
            assert_eq!(load(row.name).is_some(), is_write, "{}", row.name);
        }
    }
}
