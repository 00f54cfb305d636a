//! `quipu projection diff`: the next release held against the one that answers.

use quipu_api::projection::{ComparisonAnswer, DifferenceBody, TableComparisonBody};
use serde_json::{Map, Value};

use super::super::client::{Client, Query};
use super::super::count::counted;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out, text};
use super::Named;

const HEADER: [&str; 5] = ["TABLE", "LIVE ROWS", "NEXT ROWS", "DIFFERING", "COLUMNS"];

pub fn run(which: &Named, client: &Client, out: &mut Out) -> Outcome {
    let answer = client.json(&which.path("/releases/diff"), &Query::new())?;
    let compared: ComparisonAnswer = client.parse(&answer)?;
    match out.format {
        Format::Json => out.json(&answer)?,
        Format::Ndjson => compared.tables.iter().try_for_each(|table| out.document(table))?,
        Format::Table => {
            out.table(&HEADER, &compared.tables.iter().map(row).collect::<Vec<_>>())?;
            for table in &compared.tables {
                for difference in &table.differences {
                    out.line(&line(&table.table, difference))?;
                }
            }
            out.flush()?;
            let (live, next, position) = (compared.live, compared.next, compared.position);
            let differing: u64 = compared.tables.iter().map(|table| table.differing).sum();
            match compared.equal {
                true => eprintln!("releases {live} and {next} are the same at position {position}"),
                false => {
                    eprintln!("releases {live} and {next} differ at position {position}: {}", counted(differing, "row"))
                }
            }
        }
    }
    Ok(if compared.equal { Exit::Ok } else { Exit::Failed })
}

fn row(table: &TableComparisonBody) -> Vec<String> {
    let rows = |of: &Option<quipu_api::projection::TableDigestBody>| {
        of.as_ref().map_or("-".to_owned(), |of| of.rows.to_string())
    };
    let gone = table.columns_gone.iter().map(|column| format!("-{column}"));
    let columns: Vec<String> = gone.chain(table.columns_new.iter().map(|column| format!("+{column}"))).collect();
    vec![table.table.clone(), rows(&table.live), rows(&table.next), table.differing.to_string(), columns.join(" ")]
}

fn line(table: &str, difference: &DifferenceBody) -> String {
    let pairs = |row: &Map<String, Value>| {
        row.iter().map(|(column, value)| format!("{column}={}", text(value))).collect::<Vec<_>>().join(" ")
    };
    let key = pairs(&difference.key);
    match (&difference.live, &difference.next) {
        (Some(live), Some(next)) => format!("{table} {key}: {} -> {}", pairs(live), pairs(next)),
        (Some(_), None) => format!("{table} {key}: only in the live one"),
        (None, _) => format!("{table} {key}: only in the next one"),
    }
}
