//! Schemas of the store's types, and what turns the data of old versions when it is read.

use std::sync::Arc;

use quipu_domain::schema::{SchemaRules, SchemaVersion};
use quipu_engine::{CheckedSchema, NewSchema, Recorded, Registered, SchemaInfo, SchemasInfo, Upcaster, VerifiedSchema};
use serde_json::Value;

use crate::{Error, Quipu};

impl Quipu {
    /// Registers a version of the schema of a type. The same again is answered with what is there. A version that does not read what
    /// was written needs an upcaster: a jq expression, or a function of this process.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// use quipu::{Event, Filter, NewSchema, SchemaVersion, Start, Upcaster};
    /// use serde_json::json;
    ///
    /// let total = json!({"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]});
    /// quipu.register_schema("order.placed", NewSchema { text: total.to_string(), ..NewSchema::default() })?;
    /// quipu.publish(&Event::builder("1", "/shop", "order.placed").json(r#"{"total":9.5}"#).build()?)?;
    ///
    /// quipu.attach_upcaster("to-cents", |data| match data["total"].as_f64() {
    ///     Some(total) => Ok(json!({ "cents": (total * 100.0).round() as i64 })),
    ///     None => Err("expected a total".into()),
    /// });
    /// let cents = json!({"type": "object", "properties": {"cents": {"type": "integer"}}, "required": ["cents"]});
    /// let upcaster = Some(Upcaster::Function("to-cents".into()));
    /// quipu.register_schema("order.placed", NewSchema { text: cents.to_string(), upcaster, ..NewSchema::default() })?;
    ///
    /// let mut follower = quipu.follow(Filter::default(), Start::Beginning).in_version(SchemaVersion::Newest);
    /// let events = follower.next(1, std::time::Duration::ZERO)?;
    /// assert_eq!(events[0].event().kind(), "order.placed.v2");
    /// assert_eq!(events[0].event().data(), &quipu::Data::Json(r#"{"cents":950}"#.into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Schema`], or the disk failed.
    pub fn register_schema(&self, kind: &str, new: NewSchema) -> Result<Registered, Error> {
        Ok(self.tenant.register_schema(kind, new)?)
    }

    /// How a schema would go with what is there, without registering it.
    ///
    /// # Errors
    /// As [`Quipu::register_schema`].
    pub fn check_schema(&self, kind: &str, new: &NewSchema) -> Result<CheckedSchema, Error> {
        Ok(self.tenant.check_schema(kind, new)?)
    }

    /// A page of the types that have schemas or rules of their own, by their names: those after one, at most so many. Fewer where
    /// what is said of them is long. [`Quipu::schema`] gives the text of a version.
    pub fn schemas(&self, after: Option<&str>, limit: usize) -> SchemasInfo {
        self.tenant.schemas(after, limit)
    }

    /// One version of a schema.
    ///
    /// # Errors
    /// There is none.
    pub fn schema(&self, kind: &str, version: u32) -> Result<SchemaInfo, Error> {
        Ok(self.tenant.schema(kind, version)?)
    }

    /// What the schemas of a type are held to, or without one those of all types that have no rules of their own.
    ///
    /// # Errors
    /// The name is that of no type, or the disk failed.
    pub fn set_schema_rules(&self, kind: Option<&str>, rules: SchemaRules) -> Result<(), Error> {
        Ok(self.tenant.set_schema_rules(kind, rules)?)
    }

    /// Sets what makes the data of a version of that of the one before, or takes it away.
    ///
    /// # Errors
    /// [`Error::Schema`] if it does not turn all that is stored, or the disk failed.
    pub fn set_upcaster(&self, kind: &str, version: u32, upcaster: Option<Upcaster>) -> Result<SchemaInfo, Error> {
        Ok(self.tenant.set_upcaster(kind, version, upcaster)?.0)
    }

    /// Gives the name that upcasters have for a function. The log knows the name alone: attach it each time that the store is
    /// opened, before events are read in later versions. See [`Quipu::register_schema`].
    pub fn attach_upcaster(
        &self,
        name: &str,
        function: impl Fn(Value) -> Result<Value, String> + Send + Sync + 'static,
    ) {
        self.tenant.attach_upcaster(name, Arc::new(function));
    }

    /// An event in a version of its schema. What is stored stays as it is.
    ///
    /// # Errors
    /// [`Error::Schema`] if an upcaster fails on it.
    pub fn upcast(&self, recorded: Recorded, version: SchemaVersion) -> Result<Recorded, Error> {
        Ok(self.tenant.upcast(recorded, version)?)
    }

    /// Reads the stored events of a type behind a position as a version of it, some 100,000 at a time.
    ///
    /// # Errors
    /// There is no such schema, or the disk failed.
    pub fn verify_schema(&self, kind: &str, version: SchemaVersion, after: u64) -> Result<VerifiedSchema, Error> {
        Ok(self.tenant.verify_schema(kind, version, after)?)
    }
}
