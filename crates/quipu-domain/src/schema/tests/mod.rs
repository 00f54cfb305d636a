//! The rules of schemas, as tables and properties.

mod hostile;
