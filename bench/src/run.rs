//! A run: rounds in which all systems take turns at each workload, every time on a fresh server in an empty folder. Which
//! system begins moves on with the round, and every second round goes backwards, so that none always comes after the same
//! other one. What one left to be written is on the disk before the next begins.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::disk;
use crate::peer::{Place, start};
use crate::results::{Cell, Found, Results};
use crate::setting::{Role, SETTINGS, Setting};
use crate::workload::{Size, WORKLOADS, Workload};

/// Threads of the clients' runtime, for every system alike. Some libraries start threads of their own beside it.
const CLIENT_THREADS: usize = 2;
/// A cell that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(600);

/// The command line of a run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The binary quipu
    #[arg(long)]
    quipu: PathBuf,
    /// What it was built from, as `git describe --always --dirty` says it
    #[arg(long)]
    commit: String,
    /// The folder that bench/install-peers has unpacked the peers into
    #[arg(long)]
    peers: PathBuf,
    /// Where the raw results go
    #[arg(long)]
    out: PathBuf,
    /// In which the servers keep their data while they run; on a real disk
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// How often each cell is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds a cell, to see that it works
    #[arg(long)]
    quick: bool,
    /// SETTING, /WORKLOAD or SETTING/WORKLOAD; may be repeated. The beginning of a name will do
    #[arg(long)]
    only: Vec<String>,
}

impl Options {
    fn includes(&self, setting: &Setting, workload: Workload) -> bool {
        let name = format!("{workload:?}").to_lowercase();
        let fits = |filter: &String| {
            let (system, what) = filter.split_once('/').unwrap_or((filter, ""));
            setting.name.starts_with(system) && name.starts_with(what)
        };
        self.only.is_empty() || self.only.iter().any(fits)
    }
}

/// Measures everything that is asked for.
pub fn run(options: &Options) -> Result<()> {
    let size = if options.quick { Size::QUICK } else { Size::FULL };
    let runtime = Builder::new_multi_thread().worker_threads(CLIENT_THREADS).enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            ended = rounds(options, size) => ended,
            // The servers are stopped with what they serve.
            () = asked_to_stop() => bail!("stopped; what was measured so far is in {}", options.out.display()),
        }
    })
}

async fn asked_to_stop() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn rounds(options: &Options, size: Size) -> Result<()> {
    let mut results = Results::begin(size, options.rounds, &options.commit);
    let begun = Instant::now();
    for round in 1..=options.rounds {
        for workload in WORKLOADS {
            for setting in turns(round).filter(|s| options.includes(s, workload) && s.lacks(workload).is_none()) {
                let found = match cell(options, setting, workload, size, &mut results).await {
                    Ok(figures) => figures,
                    Err(error) => Found::Failed(format!("{error:#}")),
                };
                say(round, setting, workload, &found, begun);
                results.cells.push(Cell { round, setting: setting.name.to_owned(), workload, found });
                results.write(&options.out)?;
            }
        }
    }
    if results.cells.is_empty() {
        bail!("expected --only to name something that there is, found {:?}", options.only);
    }
    Ok(())
}

/// The order of a round, which counts from 1.
fn turns(round: usize) -> impl Iterator<Item = &'static Setting> {
    let len = SETTINGS.len();
    let step = if round % 2 == 1 { 1 } else { len - 1 };
    (0..len).map(move |i| &SETTINGS[(round - 1 + i * step) % len])
}

async fn cell(
    options: &Options,
    setting: &Setting,
    workload: Workload,
    size: Size,
    results: &mut Results,
) -> Result<Found> {
    // Writing back what the last cell left would cost this one, and least where it was nothing.
    let flushed = tokio::process::Command::new("sync").status().await.context("sync")?;
    ensure!(flushed.success(), "sync failed: {flushed}");
    let folder = tempfile::Builder::new().prefix("quipu-bench-").tempdir_in(&options.folder)?;
    let absolute = |path: &Path| path.canonicalize().with_context(|| format!("{}", path.display()));
    let place =
        Place { peers: absolute(&options.peers)?, quipu: absolute(&options.quipu)?, folder: folder.path().to_owned() };
    if setting.role == Role::Reference {
        results.versions.insert(setting.name.to_owned(), disk::version());
        let measured = tokio::task::spawn_blocking(move || disk::run(workload, size, &place.folder)).await?;
        return Ok(Found::Figures(measured?));
    }
    let measured = async {
        let server = start(setting, place).await?;
        results.versions.insert(setting.name.to_owned(), server.running().version.clone());
        workload.run(&*server, size).await
    };
    let figures = tokio::time::timeout(PATIENCE, measured).await;
    Ok(Found::Figures(figures.with_context(|| format!("took more than {PATIENCE:?}"))??))
}

fn say(round: usize, setting: &Setting, workload: Workload, found: &Found, begun: Instant) {
    let elapsed = begun.elapsed().as_secs();
    eprint!("{elapsed:>5} s  round {round}  {:<18} {:<12}", setting.name, format!("{workload:?}").to_lowercase());
    match found {
        Found::Failed(why) => eprintln!(" FAILED: {why}"),
        Found::Figures(figures) => {
            for figure in figures {
                let name = figure.row.split_once('/').map_or("", |(_, case)| case);
                eprint!(" {name}={:.*}", usize::from(figure.value < 100.0) * 2, figure.value);
            }
            eprintln!();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_all_and_five_rounds_put_each_behind_several_others() {
        let rounds: Vec<Vec<&str>> = (1..=5).map(|round| turns(round).map(|setting| setting.name).collect()).collect();
        let first: std::collections::BTreeSet<_> = rounds.iter().map(|round| round[0]).collect();
        assert_eq!(first.len(), rounds.len(), "{rounds:?}");
        for name in SETTINGS.map(|setting| setting.name) {
            let before = rounds.iter().filter_map(|round| {
                let at = round.iter().position(|other| *other == name).expect("all have a turn");
                at.checked_sub(1).map(|at| round[at])
            });
            assert!(before.collect::<std::collections::BTreeSet<_>>().len() > 1, "{name}: {rounds:?}");
        }
    }
}
