//! `merlink link`: links from a file, and into one.

mod export;
mod import;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Failure, block_on};
use crate::{config::Config, domain::Email};

/// Import and export links
#[derive(Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Example:\n  merlink link import links.csv --owner a@agency.gov.sg --dry-run\n  merlink link export links.csv"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create the links of a file; doing it again creates nothing twice
    ///
    /// CSV with a header row, or JSON objects one a line; what `merlink link export` writes, or an export of GoGovSG, Shlink, YOURLS, Kutt
    /// or Bitly, recognised by its columns. Each row that is refused is named on stdout, with its line and the reason; then the exit code
    /// is 1, and all other rows are in. A link that exists and is what the row says is unchanged; one that is anything else is refused.
    ///
    /// A contact may be any address, as another service may have had it. Elsewhere contacts must be officers' addresses.
    #[command(
        after_help = "Example:\n  merlink link import links.csv --owner a@agency.gov.sg --dry-run\n  merlink link import links.csv --owner a@agency.gov.sg >refused.txt"
    )]
    Import {
        /// The file; - is stdin
        file: PathBuf,
        /// Whose the links are that don't say it themselves
        #[arg(long, value_name = "EMAIL")]
        owner: Option<Email>,
        /// Say what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Name refused rows as JSON objects, one a line
        #[arg(long)]
        json: bool,
    },
    /// Write all links into a file, in the order of owners and creation
    ///
    /// What is written can be imported again. Cells that a spreadsheet would take for a formula have an apostrophe before them, which the
    /// import takes off. The format nginx-map is for the day when there is no Merlink any more: it leads visitors on without it.
    #[command(
        after_help = "Example:\n  merlink link export links.csv\n  merlink link export --format nginx-map /etc/nginx/conf.d/links.conf"
    )]
    Export {
        /// The file, which is replaced; - is stdout
        #[arg(default_value = "-")]
        file: PathBuf,
        /// Without it: what the file's name ends in, .ndjson or .jsonl, or else csv
        #[arg(long, value_enum)]
        format: Option<export::Format>,
        /// Only this officer's links
        #[arg(long, value_name = "EMAIL")]
        owner: Option<Email>,
    },
}

pub fn run(arguments: Arguments, config: Config) -> Result<(), Failure> {
    block_on(async move {
        match arguments.command {
            Command::Import { file, owner, dry_run, json } => {
                let how = import::How { dry_run, json };
                import::run(&config, &file, owner, how).await
            }
            Command::Export { file, format, owner } => export::run(&config, &file, format, owner).await,
        }
    })
}
