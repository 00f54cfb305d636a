//! The second projection, in code: what was paid on each day.

use quipu::projections::rusqlite::Connection;
use quipu::projections::{Project, Recorded};

/// What was paid on each day.
pub struct Revenue;

impl Project for Revenue {
    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &str {
        "create table revenue (day text primary key, orders integer, cents integer)"
    }

    fn apply(&self, tables: &Connection, event: &Recorded) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let paid = event.event();
        if paid.kind() != "OrderPaid" {
            return Ok(());
        }
        let quipu::Data::Json(data) = paid.data() else { return Err("expected data in an OrderPaid".into()) };
        let data: serde_json::Value = serde_json::from_str(data)?;
        let cents = data["cents"].as_i64().ok_or("expected cents in an OrderPaid")?;
        // When it was recorded: the time of day would be another whenever this is built again.
        let day = event.stamp.recorded_time.to_string()[..10].to_owned();
        let sql = "insert into revenue values (?, 1, ?)
                   on conflict do update set orders = orders + 1, cents = cents + excluded.cents";
        tables.prepare_cached(sql)?.execute((day, cents))?;
        Ok(())
    }
}
