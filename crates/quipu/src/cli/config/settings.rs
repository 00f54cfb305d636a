//! The flags that say where the configuration comes from, of every command that opens a data folder by itself: it uses
//! the same limits and windows as the server of that folder.

use clap::Args;

use super::{Config, Raw, Sources};
use crate::cli::exit::Failure;

#[derive(Debug, Args)]
pub struct Settings {
    /// The configuration file [default: QUIPU_CONFIG, or quipu.toml if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// Any configuration key; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// The raw configuration of all sources, over which other flags win; and warnings.
    pub fn raw(&self, more: Vec<(String, String)>) -> Result<(Raw, Vec<String>), Failure> {
        let mut flags = Vec::new();
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(Failure::usage(format!("--set: expected KEY=VALUE, found {pair}")));
            };
            flags.push((key.to_owned(), value.to_owned()));
        }
        flags.extend(more);
        Sources::read(self.config.as_deref(), flags)?.merge()
    }

    /// A server has its own configuration: flags for one that is not opened here are a mistake.
    pub fn refuse(&self) -> Result<(), Failure> {
        match self.config.is_some() || !self.set.is_empty() {
            true => {
                Err(Failure::usage("--config and --set: expected a data folder to open, found that a server is asked"))
            }
            false => Ok(()),
        }
    }

    /// What an engine is given; warnings go to standard error.
    pub fn options(&self) -> Result<quipu::Options, Failure> {
        let (raw, warnings) = self.raw(Vec::new())?;
        for warning in warnings {
            eprintln!("quipu: {warning}");
        }
        Ok(Config::check(&raw)?.options())
    }
}
