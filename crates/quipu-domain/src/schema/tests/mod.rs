//! The rules of schemas, as tables and properties.

mod diff;
mod hostile;
mod inference;
mod random;
mod references;
mod values;
mod webhooks;
