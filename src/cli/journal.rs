//! `merlink journal`: what is left in the click journal of an instance that won't come back.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Failure, block_on, print, with_store};
use crate::{clicks, config::Config, data_dir::DataDirLock, metrics::Metrics};

/// Apply the click journal of an instance that won't come back
#[derive(Args)]
#[command(arg_required_else_help = true, after_help = "Example:\n  merlink journal drain /mnt/old-node/data")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Count what the journal in DIR holds and Redis lacks; doing it again counts nothing twice
    #[command(after_help = "Example:\n  merlink journal drain /mnt/old-node/data --config /etc/merlink/merlink.toml")]
    Drain {
        /// The data directory of the instance, or the journal folder in it
        dir: PathBuf,
    },
}

pub fn run(arguments: Arguments, config: Config) -> Result<(), Failure> {
    let Command::Drain { dir } = arguments.command;
    block_on(async move { drain(&config, &dir).await })
}

async fn drain(config: &Config, dir: &Path) -> Result<(), Failure> {
    let (data_dir, journal) = locate(dir)?;
    if same_folder(&data_dir, &config.data_dir) {
        return Err(format!("{} is this instance's own: merlink serve counts it by itself", dir.display()).into());
    }
    // Held until the end: its instance must not come back meanwhile.
    let _lock = DataDirLock::claim(&data_dir)?;
    let metrics = Metrics::new();
    let counted = with_store(config, async |store| Ok(clicks::drain(config, &journal, store, &metrics).await?)).await?;
    print(&format!("counted {counted} clicks that Redis lacked; {} can be deleted", journal.display()));
    Ok(())
}

/// The data directory and the journal in it, whichever of the two was named.
fn locate(dir: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    let dir = std::path::absolute(dir)?;
    let inside = dir.join("journal");
    let (data_dir, journal) =
        if inside.is_dir() { (dir.clone(), inside) } else { (dir.parent().unwrap_or(&dir).to_owned(), dir.clone()) };
    if journal.join("instance").is_file() {
        Ok((data_dir, journal))
    } else {
        Err(format!("{}: there is no click journal: name a data_dir or the journal folder in one", dir.display())
            .into())
    }
}

fn same_folder(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}
