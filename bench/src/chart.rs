//! The chart: one panel a figure that most readers ask for, one bar a system, drawn as SVG. Ranges are thin lines; what does
//! not mean on disk is pale, the bare disk gray.

use std::fmt::Write as _;

use crate::report::human;
use crate::results::Results;
use crate::row::{Better, ROWS, Row, about};
use crate::setting::{Acknowledged, Role, SETTINGS, Setting};
use crate::statistics::Spread;

/// Panels from left to right.
const COLUMNS: usize = 2;
const WIDTH: usize = 460;
const LABEL: usize = 130;
/// The longest bar; behind it stands its figure.
const BAR: f64 = 250.0;
const LINE: usize = 18;
const HEAD: usize = 44;
const ROWS_SHOWN: [&str; 8] = [
    "append/256/1",
    "append/256/in-flight",
    "append/256/64",
    "batch/256/1",
    "conditional/256",
    "consume/256",
    "latency/p99",
    "million/replay",
];

/// The SVG.
pub fn chart(results: &Results) -> String {
    let shown = ROWS_SHOWN.iter().filter_map(|name| ROWS.iter().find(|row| row.name == *name));
    let panels: Vec<_> = shown.map(|row| (row, bars(results, row))).filter(|(_, bars)| !bars.is_empty()).collect();
    let height = panels.iter().map(|(_, bars)| HEAD + LINE * bars.len() + 16).max().unwrap_or(HEAD);
    let (width, total) = (COLUMNS * WIDTH, panels.len().div_ceil(COLUMNS) * height + 10);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {total}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Quipu beside its peers</title>\n<rect width=\"{width}\" height=\"{total}\" fill=\"#ffffff\"/>\n"
    );
    for (i, (row, bars)) in panels.iter().enumerate() {
        let (x, y) = (i % COLUMNS * WIDTH, i / COLUMNS * height);
        let _ = writeln!(out, "<g transform=\"translate({x} {y})\">");
        panel(&mut out, results, row, bars);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

/// Who has a figure of this row.
fn bars(results: &Results, row: &Row) -> Vec<(Setting, Spread)> {
    let of = |setting: &Setting| {
        let spread = Spread::of(results.values(setting.name, row.name).into_values())?;
        Some((*setting, spread))
    };
    SETTINGS.iter().filter_map(of).collect()
}

/// What stands behind a bar.
fn label(results: &Results, setting: &Setting, row: &Row, median: f64) -> String {
    let failed = results.failed(setting.name, row.workload).map(|failed| format!(", {failed}"));
    format!("{}{}", human(median), failed.unwrap_or_default())
}

fn panel(out: &mut String, results: &Results, row: &Row, bars: &[(Setting, Spread)]) {
    let (title, _) = about(row.workload);
    let better = match row.better {
        Better::More => "more is better",
        Better::Less => "less is better",
    };
    let _ = writeln!(out, "<text x=\"8\" y=\"20\" font-weight=\"bold\">{title}: {}</text>", row.title);
    let _ = writeln!(out, "<text x=\"8\" y=\"36\" fill=\"#666666\">{}, {better}; pale: not on disk</text>", row.unit);
    let most = bars.iter().map(|(_, spread)| spread.most).fold(f64::MIN_POSITIVE, f64::max);
    for (i, (setting, spread)) in bars.iter().enumerate() {
        let (y, length) = (HEAD + i * LINE, |value: f64| value / most * BAR);
        let color = match (setting.role, setting.acknowledged) {
            (Role::Own, _) => "#b5532a",
            (Role::Reference, _) => "#8a8a8a",
            (Role::Peer, Acknowledged::Synced) => "#3d6b8e",
            (Role::Peer, Acknowledged::Unsynced) => "#c3d3df",
        };
        let (middle, from, to) = (y + 7, length(spread.least), length(spread.most));
        let start = LABEL as f64;
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABEL}\" y=\"{y}\" width=\"{:.1}\" height=\"13\" fill=\"{color}\"/>\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"#222222\"/>\
             <text x=\"{:.1}\" y=\"{}\">{}</text>",
            LABEL - 6,
            y + 11,
            setting.title,
            length(spread.median).max(1.0),
            start + from,
            start + to,
            start + to.max(1.0) + 6.0,
            y + 11,
            label(results, setting, row, spread.median),
        );
    }
}
