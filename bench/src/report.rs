//! The report: Markdown between two marks of a page, made of the raw results alone. Every cell in which a peer is ahead is
//! in bold and has a reason: that its answer means less, or what `reasons.toml` says. Nothing that was run is left out: what failed
//! says in how many rounds, and what was not run says why.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::chart::chart;
use crate::results::Results;
use crate::row::{ROWS, Row, about};
use crate::setting::{Acknowledged, Lack, QUIPU, Role, SETTINGS, Setting};
use crate::statistics::{Spread, ratios};
use crate::workload::{WORKLOADS, Workload};

/// Between these the page is the tool's.
const MARKS: [&str; 2] = ["<!-- peers: written by scripts/bench -->", "<!-- peers: end -->"];

/// The command line of a report.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The raw results
    results: PathBuf,
    /// Why peers are ahead where they are
    #[arg(long)]
    reasons: PathBuf,
    /// The page with the marks between which the report is written; without it, it is printed
    #[arg(long, requires = "chart")]
    page: Option<PathBuf>,
    /// Where the chart goes
    #[arg(long)]
    chart: Option<PathBuf>,
}

/// Reasons by row, or by workload for all of its rows, and setting, or system for all of its settings.
type Reasons = BTreeMap<String, BTreeMap<String, String>>;

/// Writes or prints it.
pub fn report(options: &Options) -> Result<()> {
    let results = Results::read(&options.results)?;
    let text = std::fs::read_to_string(&options.reasons).with_context(|| format!("{}", options.reasons.display()))?;
    let mut report =
        Report { results: &results, reasons: toml::from_str(&text)?, notes: Vec::new(), missing: Vec::new() };
    let drawn =
        options.chart.as_deref().map(|path| std::fs::write(path, chart(&results)).map(|()| path)).transpose()?;
    let written = report.write(drawn);
    for missing in &report.missing {
        eprintln!("no reason yet in {}: {missing}", options.reasons.display());
    }
    let Some(page) = &options.page else {
        print!("{written}");
        return Ok(());
    };
    ensure!(
        !results.commit.ends_with("-dirty"),
        "expected figures of what is committed, found those of {}: commit it, and run them again",
        results.commit
    );
    let old = std::fs::read_to_string(page).with_context(|| format!("{}", page.display()))?;
    let new =
        replaced(&old, &written).with_context(|| format!("expected the marks {MARKS:?} in {}", page.display()))?;
    std::fs::write(page, new).with_context(|| format!("{}", page.display()))
}

/// A page with another text between the marks; nothing if it has not got them.
fn replaced(page: &str, text: &str) -> Option<String> {
    let begin = page.find(MARKS[0])? + MARKS[0].len();
    let end = begin + page[begin..].find(MARKS[1])?;
    Some(format!("{}\n\n{}\n{}", &page[..begin], text.trim_end(), &page[end..]))
}

struct Report<'a> {
    results: &'a Results,
    reasons: Reasons,
    /// The reasons that stand below the table that is being written.
    notes: Vec<String>,
    /// The cells without one.
    missing: Vec<String>,
}

impl Report<'_> {
    fn write(&mut self, chart: Option<&Path>) -> String {
        let mut out = String::new();
        self.write_head(&mut out);
        if let Some(name) = chart.and_then(Path::file_name) {
            let _ = writeln!(out, "![Quipu beside its peers]({})\n", name.display());
        }
        for workload in WORKLOADS {
            self.write_table(&mut out, workload);
        }
        out
    }

    fn write_head(&self, out: &mut String) {
        let Results { machine, size, rounds, commit, .. } = self.results;
        let _ = writeln!(
            out,
            "{} cores of {}, {} GB, {}. Servers and clients share them. Quipu is of commit {commit}. {rounds} rounds in which all take turns at each workload, \
             each time on a fresh server in an empty folder; a cell counts for {:.1} s. A figure is the median of the rounds. Behind it stands \
             how many times ahead of Quipu the peer is, the median and the range of the ratios within a round: below 1 Quipu is ahead. \
             **Bold**: the peer is ahead. *Failed in n of m*: of m rounds, the figure is of the others. Every system gets the same JSON; what it wants beside it (Quipu's envelope, a \
             subject, a stream and version) comes on top. Each is driven by the client library that Rust programs use for it, with its own tasks and \
             threads; Quipu has none yet, and is driven by a plain WebSocket or HTTP library, which costs its client less.\n",
            machine.cores,
            machine.processor,
            machine.memory_gb,
            machine.system,
            size.window.as_secs_f64(),
        );
        let _ = writeln!(out, "| | version | setting | an answer means |\n|---|---|---|---|");
        for setting in SETTINGS {
            let Some(version) = self.results.versions.get(setting.name) else { continue };
            let meaning = match setting.acknowledged {
                Acknowledged::Synced => "on disk",
                Acknowledged::Unsynced => "in memory",
            };
            let _ = writeln!(out, "| {} | {version} | {} | {meaning} |", setting.title, setting.means);
        }
        out.push('\n');
    }

    fn write_table(&mut self, out: &mut String, workload: Workload) {
        // Whoever failed, and be it Quipu: what was run is shown.
        if !self.results.cells.iter().any(|cell| cell.workload == workload) {
            return;
        }
        let rows: Vec<Row> = ROWS.iter().filter(|row| row.workload == workload).copied().collect();
        let (title, text) = about(workload);
        let heads: Vec<String> = rows.iter().map(|row| format!("{} ({})", row.title, row.unit)).collect();
        let _ =
            writeln!(out, "### {title}\n\n{text}\n\n| | {} |\n|---|{}", heads.join(" | "), "---|".repeat(rows.len()));
        self.notes.clear();
        for setting in &SETTINGS {
            let cells: Vec<String> = match setting.lacks(workload) {
                // Said once, and not in every column.
                Some(Lack::SameAs(why) | Lack::Unable(why)) => {
                    let rest = rows.len() - 1;
                    std::iter::once(why.to_owned()).chain(std::iter::repeat_n(String::new(), rest)).collect()
                }
                None => rows.iter().map(|row| self.cell(setting, row)).collect(),
            };
            let _ = writeln!(out, "| {} | {} |", setting.title, cells.join(" | "));
        }
        out.push('\n');
        if workload == Workload::Consume {
            write_deliveries(out);
        }
        for (i, note) in self.notes.iter().enumerate() {
            let _ = writeln!(out, "{}. {note}", i + 1);
        }
        if !self.notes.is_empty() {
            out.push('\n');
        }
    }

    fn cell(&mut self, setting: &Setting, row: &Row) -> String {
        let values = self.results.values(setting.name, row.name);
        let failed = self.results.failed(setting.name, row.workload);
        let Some(spread) = Spread::of(values.values().copied()) else {
            return match (self.results.ran(setting.name, row.workload), &failed) {
                (0, _) => "not run".to_owned(),
                (_, None) => "has none".to_owned(),
                (_, Some(failed)) => failed.clone(),
            };
        };
        let shown = self.measured(setting, row, &values, spread);
        failed.map_or_else(|| shown.clone(), |failed| format!("{shown}, *{failed}*"))
    }

    /// A figure, and how far ahead of Quipu it is.
    fn measured(&mut self, setting: &Setting, row: &Row, values: &BTreeMap<usize, f64>, spread: Spread) -> String {
        let figure = human(spread.median);
        if setting.name == QUIPU {
            return figure;
        }
        let Some(lead) = ratios(values, &self.results.values(QUIPU, row.name), |a, b| row.lead(a, b)) else {
            // Whoever did what Quipu could not is ahead of it.
            let has_failed =
                self.results.values(QUIPU, row.name).is_empty() && self.results.failed(QUIPU, row.workload).is_some();
            return if has_failed && setting.role == Role::Peer { format!("**{figure}**") } else { figure };
        };
        let text = format!("{figure}, {} ({} to {})", short(lead.median), short(lead.least), short(lead.most));
        // Quipu by another route is no peer, and a bare disk no system.
        if lead.median <= 1.0 || setting.role != Role::Peer {
            return text;
        }
        let within = if lead.least <= 1.0 { "; not in every round" } else { "" };
        format!("**{text}** [{}]", self.note(setting, row, within))
    }

    /// The number of a note below the table that says why this peer is ahead.
    fn note(&mut self, setting: &Setting, row: &Row, within: &str) -> usize {
        let reason = self.reason(setting, row).unwrap_or_else(|| {
            self.missing.push(format!("{} {}", row.name, setting.name));
            "not found out yet".to_owned()
        });
        let note = format!("{}: {reason}{within}.", setting.title);
        let at = self.notes.iter().position(|known| *known == note).unwrap_or_else(|| {
            self.notes.push(note);
            self.notes.len() - 1
        });
        at + 1
    }

    fn reason(&self, setting: &Setting, row: &Row) -> Option<String> {
        let workload = row.name.split('/').next().unwrap_or_default();
        let system = setting.name.split('-').next().unwrap_or_default();
        let written = [row.name, workload].into_iter().find_map(|what| {
            let of = self.reasons.get(what)?;
            of.get(setting.name).or_else(|| of.get(system))
        });
        let is_write = !matches!(row.workload, Workload::Consume | Workload::Million);
        let means_less = setting.acknowledged == Acknowledged::Unsynced && is_write;
        written.cloned().or_else(|| means_less.then(|| "its answer does not mean that the event is on disk".to_owned()))
    }
}

/// What an acknowledgement is worth: the systems differ in it, and not as they do in appends.
fn write_deliveries(out: &mut String) {
    out.push_str("What an acknowledgement of a delivery means, and when it is on disk:\n\n");
    for setting in SETTINGS.iter().filter(|setting| !setting.delivered.is_empty()) {
        let _ = writeln!(out, "- {}: {}.", setting.title, setting.delivered);
    }
    out.push('\n');
}

/// With three digits or so, and a comma before each three of a large one.
pub fn human(value: f64) -> String {
    let digits = match value {
        v if v >= 10_000.0 => ((v / 100.0).round() * 100.0).to_string(),
        v if v >= 100.0 => v.round().to_string(),
        v if v >= 10.0 => return format!("{v:.1}"),
        v => return format!("{v:.2}"),
    };
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn short(ratio: f64) -> String {
    if ratio >= 10.0 { format!("{ratio:.0}") } else { format!("{ratio:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Cell, Found};
    use crate::workload::{Figure, Size};

    const ROW: &str = "append/256/1";

    /// Rounds of one row, by setting.
    fn results(values: &[(&str, [f64; 3])]) -> Results {
        let mut results = Results::begin(Size::QUICK, 3, "abc1234");
        for (setting, rounds) in values {
            results.versions.insert((*setting).to_owned(), "1".to_owned());
            for (round, value) in rounds.iter().enumerate() {
                let figure = Figure { row: ROW.to_owned(), value: *value, beside: BTreeMap::new() };
                let (setting, found) = ((*setting).to_owned(), Found::Figures(vec![figure]));
                results.cells.push(Cell { round: round + 1, setting, workload: Workload::Append, found });
            }
        }
        results
    }

    /// A round in which it did not work.
    fn fail(results: &mut Results, setting: &str, round: usize) {
        let found = |cell: &&mut Cell| cell.setting == setting && cell.round == round;
        let cell = results.cells.iter_mut().find(found).expect("a cell of that round");
        cell.found = Found::Failed("the server has closed".to_owned());
    }

    fn table(results: &Results, reasons: &str) -> (String, Vec<String>) {
        table_of(results, reasons, Workload::Append)
    }

    fn table_of(results: &Results, reasons: &str, workload: Workload) -> (String, Vec<String>) {
        let reasons = toml::from_str(reasons).expect("reasons");
        let mut report = Report { results, reasons, notes: Vec::new(), missing: Vec::new() };
        let mut out = String::new();
        report.write_table(&mut out, workload);
        (out, report.missing)
    }

    #[test]
    fn a_peer_that_is_ahead_is_in_bold_with_its_reason() {
        let results = results(&[("quipu", [100.0, 110.0, 90.0]), ("redis-synced", [200.0, 220.0, 180.0])]);
        let (text, missing) = table(&results, "[append]\nredis = \"one thread, no envelope\"");
        assert!(text.contains("| Redis, synced | **200, 2.00 (2.00 to 2.00)** [1] |"), "{text}");
        assert!(text.contains("1. Redis, synced: one thread, no envelope."), "{text}");
        assert!(missing.is_empty());
    }

    #[test]
    fn a_peer_that_is_ahead_for_no_known_reason_is_reported() {
        let results = results(&[("quipu", [100.0; 3]), ("umadb", [150.0, 90.0, 160.0])]);
        let (text, missing) = table(&results, "");
        assert!(text.contains("UmaDB: not found out yet; not in every round."), "{text}");
        assert_eq!(missing, ["append/256/1 umadb"]);
    }

    #[test]
    fn what_is_ahead_because_its_answer_means_less_says_so() {
        let results = results(&[("quipu", [100.0; 3]), ("jetstream", [400.0; 3])]);
        let (text, missing) = table(&results, "");
        assert!(text.contains("1. JetStream, default: its answer does not mean that the event is on disk."), "{text}");
        assert!(missing.is_empty());
    }

    #[test]
    fn a_peer_that_is_behind_is_not_in_bold() {
        let results = results(&[("quipu", [100.0; 3]), ("postgresql", [50.0; 3])]);
        let (text, _) = table(&results, "");
        assert!(text.contains("| PostgreSQL | 50.0, 0.50 (0.50 to 0.50) |"), "{text}");
    }

    #[test]
    fn a_cell_that_failed_in_some_rounds_says_in_how_many() {
        let mut results = results(&[("quipu", [100.0; 3]), ("umadb", [50.0; 3]), ("redis-synced", [200.0; 3])]);
        fail(&mut results, "umadb", 2);
        fail(&mut results, "redis-synced", 1);
        fail(&mut results, "redis-synced", 3);
        let (text, _) = table(&results, "[append]\nredis = \"one thread\"");
        assert!(text.contains("| UmaDB | 50.0, 0.50 (0.50 to 0.50), *failed in 1 of 3* |"), "{text}");
        assert!(text.contains("| Redis, synced | **200, 2.00 (2.00 to 2.00)** [1], *failed in 2 of 3* |"), "{text}");
    }

    #[test]
    fn a_table_stays_when_quipu_has_no_figure_of_it() {
        let mut results = results(&[("quipu", [100.0; 3]), ("umadb", [50.0; 3])]);
        (1..=3).for_each(|round| fail(&mut results, "quipu", round));
        let (text, _) = table(&results, "");
        assert!(text.contains("| Quipu | failed in 3 of 3 |"), "{text}");
        assert!(text.contains("| UmaDB | **50.0** |"), "{text}");
    }

    #[test]
    fn a_workload_that_nobody_was_asked_to_do_has_no_table() {
        let (text, _) = table_of(&results(&[("quipu", [100.0; 3])]), "", Workload::Million);
        assert_eq!(text, "");
    }

    #[test]
    fn a_bare_disk_that_is_ahead_is_nobodys_lead() {
        let results = results(&[("quipu", [100.0; 3]), ("disk", [300.0; 3])]);
        let (text, missing) = table(&results, "");
        assert!(text.contains("| Bare disk | 300, 3.00 (3.00 to 3.00) |"), "{text}");
        assert!(missing.is_empty());
    }

    #[test]
    fn a_setting_that_was_not_run_because_another_is_the_same_says_so() {
        let mut results = results(&[("quipu", [100.0; 3])]);
        results.cells[0].workload = Workload::Million;
        let (text, _) = table_of(&results, "", Workload::Million);
        assert!(text.contains("| JetStream, synced | as JetStream: the same files"), "{text}");
        for title in ["Redis, default", "RabbitMQ, classic"] {
            assert!(text.contains(&format!("| {title} | not run | not run | not run |")), "{text}");
        }
    }

    #[test]
    fn whoever_acknowledges_deliveries_says_what_that_means() {
        let mut results = results(&[("quipu", [100.0; 3])]);
        results.cells[0].workload = Workload::Consume;
        let (text, _) = table_of(&results, "", Workload::Consume);
        for setting in SETTINGS {
            let acknowledges = setting.lacks(Workload::Consume).is_none();
            assert_eq!(text.contains(&format!("- {}: ", setting.title)), acknowledges, "{}: {text}", setting.name);
        }
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("before\n{}\nold\n{}\nbehind\n", MARKS[0], MARKS[1]);
        let expected = format!("before\n{}\n\nnew\n{}\nbehind\n", MARKS[0], MARKS[1]);
        assert_eq!(replaced(&page, "new\n"), Some(expected));
        assert_eq!(replaced("a page without", "new"), None);
    }

    #[test]
    fn rates_have_three_digits_and_separators() {
        assert_eq!(
            [1_234_567.0, 10_060.0, 999.6, 12.34, 0.123].map(human),
            ["1,234,600", "10,100", "1,000", "12.3", "0.12"]
        );
    }
}
