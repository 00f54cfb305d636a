//! Some rows of a read model that is being built, and the last event that changed each, as `sqlite/watch.rs` has it.

use blake3::Hash;
use quipu_engine::Since;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Statement};

use super::link::{ANSWER_MAX, Link, Trouble, within};
use super::parameter::Param;
use crate::compare::RowKey;
use crate::table::quoted;
use crate::value::Value;

/// Rows that are looked at.
pub(super) struct Watch(Vec<Watched>);

struct Watched {
    look: Statement,
    key: Vec<Value>,
    state: Option<Hash>,
    since: Option<Since>,
}

impl Watch {
    /// Takes the rows as they are before the first event.
    pub fn begin(link: &Link, schema: &str, rows: Vec<RowKey>) -> Result<Self, Trouble> {
        let watched = |RowKey { table, columns, values }: RowKey| {
            let prepare = |cast: &str| {
                let is = |(number, (column, value)): (usize, (&String, &Value))| match value {
                    Value::Null => format!("{} is null and ${}::text is null", quoted(column), number + 1),
                    _ => format!("{}{cast} = ${}", quoted(column), number + 1),
                };
                let is: Vec<String> = columns.iter().zip(&values).enumerate().map(is).collect();
                let sql = format!(
                    "select \"of quipu\"::text collate \"C\" from {}.{} \"of quipu\" where {} order by 1",
                    quoted(schema),
                    quoted(&table),
                    is.join(" and ")
                );
                link.ask(link.client.prepare(&sql))
            };
            let look = match prepare("") {
                // A type that knows nothing of equal.
                Err(trouble) if trouble.is(&SqlState::UNDEFINED_FUNCTION) => prepare("::text")?,
                prepared => prepared?,
            };
            let mut watched = Watched { look, key: values, state: None, since: None };
            watched.state = link.run(watched.look(&link.client))?;
            Ok(watched)
        };
        rows.into_iter().map(watched).collect::<Result<_, Trouble>>().map(Self)
    }

    /// Looks at the rows behind an event.
    pub async fn look(&mut self, client: &Client, position: u64, kind: &str) -> Result<(), Trouble> {
        for row in &mut self.0 {
            let state = row.look(client).await?;
            if state != row.state {
                row.state = state;
                row.since = Some(Since { position, kind: kind.to_owned() });
            }
        }
        Ok(())
    }

    /// The last event that changed each.
    pub fn end(self) -> Vec<Option<Since>> {
        self.0.into_iter().map(|row| row.since).collect()
    }
}

impl Watched {
    /// What the row is, and all that are alike where a table has no key; nothing if there is none.
    async fn look(&self, client: &Client) -> Result<Option<Hash>, Trouble> {
        let key: Vec<Param> = self.key.iter().map(Param::value).collect();
        let key: Vec<_> = key.iter().map(|param| param as &(dyn tokio_postgres::types::ToSql + Sync)).collect();
        let rows = within(ANSWER_MAX, client.query(&self.look, &key)).await?;
        let mut hasher = blake3::Hasher::new();
        for row in &rows {
            let text: &str = row.get(0);
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        Ok((!rows.is_empty()).then(|| hasher.finalize()))
    }
}
