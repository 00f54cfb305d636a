//! Beginning what was previewed: confirmed by a person or `--yes`. What becomes of it then is told by `quipu operation`.

use quipu_api::OperationAnswer;

use super::super::client::Client;
use super::super::confirm::Confirm;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::watch::{ended, watch};

/// Asks, confirms, and waits if that is wanted.
pub fn begin(id: u64, confirm: Confirm, question: &str, waits: bool, client: &Client, out: &mut Out) -> Outcome {
    if let Err(failure) = confirm.ask(question) {
        // The preview is forgotten by itself; this is sooner.
        let _ = client.act(&format!("/v1/operations/{id}/cancel"));
        return Err(failure);
    }
    let begun: OperationAnswer = client.parse(&client.act(&format!("/v1/operations/{id}/confirm"))?)?;
    if waits {
        return ended(&watch(id, client)?, out);
    }
    match out.format {
        Format::Table => out.line(&format!("operation {id} begins; to follow it: quipu operation watch {id}"))?,
        Format::Json | Format::Ndjson => out.document(&begun)?,
    }
    Ok(Exit::Ok)
}

/// A rate; NaN and infinity, which JSON does not have, would become none at all.
pub fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "expected a number above 0".to_owned())
}
