//! `merlink manual`: what the package has besides the program: the manual's pages and the shells'
//! completions.

use std::{fs, path::PathBuf};

use clap::{Args, Command};
use clap_complete::{Shell, generate_to};

use super::Failure;

/// Write the manual's pages and the completions of bash, zsh and fish into a folder
#[derive(Args)]
pub struct Arguments {
    /// The folder, which is made if it isn't there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub fn run(Arguments { folder }: &Arguments, mut program: Command) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut program, "merlink", folder)?;
    }
    clap_mangen::generate_to(without_help(program), folder)?;
    Ok(())
}

/// Without the subcommand `help` at every level, which would be a page of its own for each other
/// page.
fn without_help(program: Command) -> Command {
    program.disable_help_subcommand(true).mut_subcommands(without_help)
}
