//! `quipu projection rows` and `sql`: what a read model has.

use std::collections::BTreeMap;

use clap::Args;
use quipu_api::projection::{ROWS_DEFAULT, RowsAnswer, SqlRequest};
use quipu_api::request::RowsRequest;
use serde_json::{Map, Value};

use super::super::client::{Client, Query, encode};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Format, Out, text};
use super::Named;

/// What both wait for.
#[derive(Debug, Args)]
pub struct Wait {
    /// Wait until every event up to this position is in
    #[arg(long, value_name = "POSITION")]
    at_least: Option<u64>,
    /// How long to wait for that, milliseconds [default: 5000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=quipu_api::projection::WAIT_MS_MAX))]
    wait_ms: Option<u64>,
    /// At most so many rows [default: 100]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    limit: Option<u64>,
}

#[derive(Debug, Args)]
pub struct Rows {
    #[command(flatten)]
    which: Named,
    /// The table or view
    table: String,
    /// A filter such as status=shipped or total>=10; may be given several times
    #[arg(long = "where", value_name = "FILTER")]
    filters: Vec<String>,
    /// Columns with commas between them, - before one of which the greatest comes first
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    order: Vec<String>,
    #[command(flatten)]
    wait: Wait,
    /// Go on where an earlier page ended, with the same flags
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Args)]
pub struct Sql {
    #[command(flatten)]
    which: Named,
    /// One SELECT over its tables, with parameters such as :customer
    sql: String,
    /// What stands for a parameter: customer=c1; JSON if it is some
    #[arg(long = "param", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    #[command(flatten)]
    wait: Wait,
}

pub fn run(rows: Rows, client: &Client, out: &mut Out) -> Outcome {
    let Wait { at_least, wait_ms, limit } = rows.wait;
    let request = RowsRequest {
        filters: rows.filters,
        order: rows.order,
        limit: limit.map(|limit| limit as usize),
        cursor: rows.cursor,
        at_least,
        wait_ms,
    };
    let path = format!("{}?{}", rows.which.path(&format!("/{}", encode(&rows.table))), request.to_query());
    show(&client.json(&path, &Query::new())?, client, out)
}

pub fn ask(sql: Sql, client: &Client, out: &mut Out) -> Outcome {
    let parameter = |text: &String| {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("expected --param NAME=VALUE, found {text:?}")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        Ok((name.to_owned(), value))
    };
    let parameters: BTreeMap<_, _> = sql.parameters.iter().map(parameter).collect::<Result<_, Failure>>()?;
    let Wait { at_least, wait_ms, limit } = sql.wait;
    let limit = Some(limit.map_or(ROWS_DEFAULT, |limit| limit as usize));
    let request = SqlRequest { sql: sql.sql, parameters, limit, at_least, wait_ms };
    show(&client.send(&sql.which.path("/sql"), &request)?, client, out)
}

fn show(answer: &str, client: &Client, out: &mut Out) -> Outcome {
    let read: RowsAnswer = client.parse(answer)?;
    match out.format {
        Format::Json => out.json(answer)?,
        Format::Ndjson => read.rows.iter().try_for_each(|row| out.document(row))?,
        Format::Table => {
            let header: Vec<&str> = read.columns.iter().map(String::as_str).collect();
            let cells = |row: &Map<String, Value>| read.columns.iter().map(|column| text(&row[column])).collect();
            out.table(&header, &read.rows.iter().map(cells).collect::<Vec<Vec<String>>>())?;
            out.flush()?;
            eprintln!("at position {}", read.position);
            if read.more {
                eprintln!("there is more: ask for less, or with a higher --limit");
            }
            if let Some(cursor) = &read.cursor {
                eprintln!("there is more: --cursor {cursor}");
            }
        }
    }
    Ok(Exit::Ok)
}
