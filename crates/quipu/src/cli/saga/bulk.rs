//! An act on many instances at once: previewed, confirmed by a person or `--yes`, and begun.

use clap::Args;
use quipu_api::intervention::{InterventionPreview, InterventionRequest, InterventionWork, SelectInstances};
use quipu_api::request::InstancesRequest;
use quipu_domain::saga::InstanceState;

use super::super::client::Client;
use super::super::confirm::Confirm;
use super::super::count::counted;
use super::super::exit::{Failure, Outcome};
use super::super::operation::{begin, progress, rate};
use super::super::output::{Format, Out};
use super::instances::{HEADER, Which, row};

/// Which instances, and how it is done. All of these flags belong to `--all`.
#[derive(Clone, Debug, Args)]
pub struct Bulk {
    /// All that match the flags below and that it fits, after a preview; tracked by `quipu operation`. Without a name or a key, sagas that
    /// no other saga began
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: Which,
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
    pub fn one(&self, number: Option<u64>) -> Result<Option<u64>, Failure> {
        let is_narrowed = self.which.clone().request() != InstancesRequest::default();
        if !self.all && (is_narrowed || self.confirm.is_given()) {
            return Err(Failure::usage("flags that say which instances, and --yes, need --all"));
        }
        Ok(number)
    }

    /// Previews, asks, confirms, and waits if that is wanted.
    pub fn run(self, work: InterventionWork, client: &Client, out: &mut Out) -> Outcome {
        let act = work.act.as_str();
        let body = InterventionRequest { work, select: select(self.which.request()), rate_per_second: self.rate };
        let preview: InterventionPreview = client.parse(&client.send("/v1/saga-operations", &body)?)?;
        show(&preview, self.confirm, out)?;
        let question = format!("{act} {}", counted(preview.operation.total, "instance"));
        begin(preview.operation.id, self.confirm, &question, self.wait, client, out)
    }
}

fn select(asked: InstancesRequest) -> SelectInstances {
    let InstancesRequest { saga, rule, expectation, states, key, search, older, stuck, .. } = asked;
    let is_asked = |word: &InstanceState| states.iter().any(|state| state == word.as_str());
    let states = InstanceState::ALL.into_iter().filter(is_asked).collect();
    SelectInstances { saga, rule, expectation, states, key, search, older, stuck }
}

/// The count and a sample; as data only if it stays at the preview, since standard output is one document.
fn show(preview: &InterventionPreview, confirm: Confirm, out: &mut Out) -> Result<(), Failure> {
    match out.format {
        Format::Table => {
            out.table(&HEADER, &preview.sample.iter().map(row).collect::<Vec<_>>())?;
            let total = counted(preview.operation.total, "instance");
            let shown = match preview.sample.len() {
                1 => "the first is".to_owned(),
                shown => format!("the first {shown} are"),
            };
            out.line(&format!("{total}; {shown} above"))?;
        }
        Format::Json | Format::Ndjson if !confirm.is_possible() => out.document(preview)?,
        Format::Json | Format::Ndjson => eprintln!("{}", progress(&preview.operation)),
    }
    out.flush()?;
    Ok(())
}
