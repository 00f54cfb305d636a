//! The raw results: what was run, on which machine, and the figures of every cell, in one JSON file, so that the report can be
//! made again without a run.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::workload::{Figure, Size, Workload};

/// All that a run found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    /// Where it ran.
    pub machine: Machine,
    /// How much of everything.
    pub size: Size,
    /// How often.
    pub rounds: usize,
    /// What Quipu was built from, as `git describe` says it.
    pub commit: String,
    /// Version by setting.
    pub versions: BTreeMap<String, String>,
    /// In the order in which they ran.
    pub cells: Vec<Cell>,
}

/// The machine, as far as figures depend on it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The name of the processor.
    pub processor: String,
    /// Of it, as many as this process may use.
    pub cores: usize,
    /// In gigabytes.
    pub memory_gb: f64,
    /// Name and version.
    pub system: String,
}

/// One system at one workload, in one round.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The first is 1.
    pub round: usize,
    /// Its name.
    pub setting: String,
    /// At what.
    pub workload: Workload,
    /// What it found, or why it failed.
    pub found: Found,
}

/// What became of a cell.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    /// It was measured.
    Figures(Vec<Figure>),
    /// It was not.
    Failed(String),
}

impl Results {
    /// Of a run that begins on this machine.
    pub fn begin(size: Size, rounds: usize, commit: &str) -> Self {
        let commit = commit.to_owned();
        Self { machine: Machine::here(), size, rounds, commit, versions: BTreeMap::new(), cells: Vec::new() }
    }

    /// From a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}", path.display()))
    }

    /// Into a file, which is never half written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let new = path.with_extension("new");
        std::fs::write(&new, serde_json::to_string_pretty(self)?).with_context(|| format!("{}", new.display()))?;
        std::fs::rename(&new, path).with_context(|| format!("{}", path.display()))
    }

    /// The values of a row by round.
    pub fn values(&self, setting: &str, row: &str) -> BTreeMap<usize, f64> {
        let cells = self.cells.iter().filter(|cell| cell.setting == setting);
        let figures = cells.filter_map(|cell| match &cell.found {
            Found::Figures(figures) => figures.iter().find(|figure| figure.row == row).map(|f| (cell.round, f.value)),
            Found::Failed(_) => None,
        });
        figures.collect()
    }

    /// In how many rounds a system was asked to do a workload.
    pub fn ran(&self, setting: &str, workload: Workload) -> usize {
        self.cells(setting, workload).count()
    }

    /// In how many of them a system failed at it, in words; nothing if it never did.
    pub fn failed(&self, setting: &str, workload: Workload) -> Option<String> {
        let failed = self.cells(setting, workload).filter(|cell| matches!(cell.found, Found::Failed(_))).count();
        (failed > 0).then(|| format!("failed in {failed} of {}", self.ran(setting, workload)))
    }

    fn cells(&self, setting: &str, workload: Workload) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |cell| cell.setting == setting && cell.workload == workload)
    }
}

impl Machine {
    fn here() -> Self {
        let line = |path, prefix: &str| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let found = text.lines().find_map(|line| line.strip_prefix(prefix)).unwrap_or("unknown");
            found.trim_start_matches(['\t', ' ', ':']).trim_matches('"').to_owned()
        };
        let kilobytes: f64 = line("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0);
        Self {
            processor: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gb: (kilobytes * 1.024 / 1e6).round(),
            system: line("/etc/os-release", "PRETTY_NAME="),
        }
    }
}
