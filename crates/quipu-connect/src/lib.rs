//! Other people's systems: one module and one cargo feature each. What Quipu is to a module is a trait of that module, so
//! nothing here knows whether events go to a server or to a folder.

#[cfg(feature = "postgres")]
pub mod outbox;
#[cfg(feature = "postgres")]
pub mod tls;
