//! Many dead letters at once: previewed, confirmed by a person or `--yes`, and begun. What becomes of it then is told by
//! `quipu operation`.

use clap::Args;
use quipu_api::operation::{SelectBody, WorkBody};
use quipu_api::{PreviewAnswer, PreviewRequest};

use super::super::client::Client;
use super::super::confirm::Confirm;
use super::super::count::counted;
use super::super::exit::{Failure, Outcome};
use super::super::operation::{begin, progress, rate};
use super::super::output::{Format, Out};
use super::{FilterFlags, Id, list};

/// Which dead letters, and how it is done. All of these flags belong to `--all`.
#[derive(Clone, Debug, Args)]
pub struct Bulk {
    /// All that match the flags below, after a preview; tracked by `quipu operation`
    #[arg(long)]
    all: bool,
    /// Exactly these, their numbers separated by commas
    #[arg(long, value_name = "ID,…", value_delimiter = ',', requires = "all",
        conflicts_with_all = ["subscription", "kind", "fingerprint"])]
    ids: Vec<u64>,
    #[command(flatten)]
    filter: FilterFlags,
    /// At most so many a second
    #[arg(long, value_name = "N", requires = "all", value_parser = rate)]
    rate: Option<f64>,
    /// Wait until it ends, as `quipu operation watch` does
    #[arg(long, requires = "all")]
    wait: bool,
    #[command(flatten)]
    confirm: Confirm,
}

impl Bulk {
    /// The one that it is about, or none if it is about many. Flags that say nothing about one are refused.
    pub fn one(&self, id: Option<u64>) -> Result<Option<Id>, Failure> {
        if !self.all && (self.filter.is_given() || self.confirm.is_given()) {
            return Err(Failure::usage("--subscription, --type, --fingerprint and --yes need --all"));
        }
        Ok(id.map(|id| Id { id }))
    }

    /// Previews, asks, confirms, and waits if that is wanted. `verb` is what is asked: "redrive" or "discard".
    pub fn run(&self, verb: &str, work: WorkBody, client: &Client, out: &mut Out) -> Outcome {
        let body = PreviewRequest { work, select: self.select(), rate_per_second: self.rate };
        let preview: PreviewAnswer = client.parse(&client.send("/v1/operations", &body)?)?;
        self.show(&preview, out)?;
        let question = format!("{verb} {}", counted(preview.operation.total, "dead letter"));
        begin(preview.operation.id, self.confirm, &question, self.wait, client, out)
    }

    fn select(&self) -> SelectBody {
        if !self.ids.is_empty() {
            return SelectBody { ids: Some(self.ids.clone()), ..SelectBody::default() };
        }
        let FilterFlags { subscription, kind, fingerprint } = self.filter.clone();
        SelectBody { ids: None, subscription, kind, fingerprint }
    }

    /// The count and a sample; as data only if it stays at the preview, since standard output is one document.
    fn show(&self, preview: &PreviewAnswer, out: &mut Out) -> Result<(), Failure> {
        match out.format {
            Format::Table => {
                out.table(&list::HEADER, &preview.sample.iter().map(list::row).collect::<Vec<_>>())?;
                let total = counted(preview.operation.total, "dead letter");
                let shown = match preview.sample.len() {
                    1 => "the first is".to_owned(),
                    shown => format!("the first {shown} are"),
                };
                out.line(&format!("{total}; {shown} above"))?;
            }
            Format::Json | Format::Ndjson if !self.confirm.is_possible() => out.document(preview)?,
            Format::Json | Format::Ndjson => eprintln!("{}", progress(&preview.operation)),
        }
        out.flush()?;
        Ok(())
    }
}
