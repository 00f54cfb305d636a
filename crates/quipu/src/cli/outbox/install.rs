//! `quipu outbox install`: makes the tables, or prints what would.

use clap::Args;
use quipu_connect::outbox;

use super::super::exit::{Exit, Outcome};
use super::super::output::Out;
use super::{Where, failure, runtime};

#[derive(Debug, Args)]
pub struct Install {
    #[command(flatten)]
    place: Where,
    /// Print the SQL, for migrations of your own, and change nothing
    #[arg(long)]
    print: bool,
}

pub fn run(install: &Install, out: &mut Out) -> Outcome {
    if install.print {
        out.line(outbox::INSTALL.trim_end())?;
        return Ok(Exit::Ok);
    }
    let database = install.place.database()?;
    runtime()?.block_on(outbox::install(&database)).map_err(|reason| failure(&database, &reason))?;
    eprintln!("{database} has the tables of an outbox; next: quipu outbox relay");
    Ok(Exit::Ok)
}
