//! The command line: one file per subcommand. 0 = done, 1 = failed, 2 = bad usage; errors in one line on stderr.

mod check;
mod journal;
mod key;
mod link;
mod manual;
mod officer;
mod progress;
mod restore;
mod serve;

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anstyle::AnsiColor;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::{
    config::Config,
    data_dir::{DataDirError, DataDirLock},
    metrics::Metrics,
    store::{Embedded, Store},
};

/// A government link shortener: redirects, click counts, and an API for officers.
#[derive(Parser)]
#[command(name = "merlink", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Example:\n  merlink serve\n  merlink key create --owner a@agency.gov.sg")]
struct Arguments {
    /// Settings file; without it the built-in defaults and the environment (MERLINK_…) apply
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Key(key::Arguments),
    Link(link::Arguments),
    Officer(officer::Arguments),
    Journal(journal::Arguments),
    Check(check::Arguments),
    Restore(restore::Arguments),
    /// Needs no settings.
    #[command(hide = true)]
    Manual(manual::Arguments),
}

/// What went wrong, for people: what and what to do.
type Failure = Box<dyn std::error::Error>;

/// A failure that the log has told already.
#[derive(Debug, thiserror::Error)]
#[error("the log says why")]
struct Logged;

/// Runs the command that this process was started with.
pub fn run() -> ExitCode {
    // clap prints help, version and usage errors itself, and ends with 0 or 2.
    let arguments = Arguments::parse();
    match obey(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is::<Logged>() => ExitCode::FAILURE,
        Err(failure) => {
            let red = AnsiColor::Red.on_default();
            for line in failure.to_string().lines() {
                anstream::eprintln!("{red}merlink:{red:#} {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn obey(arguments: Arguments) -> Result<(), Failure> {
    if let Command::Manual(arguments) = &arguments.command {
        return manual::run(arguments, Arguments::command());
    }
    let config = Config::load(arguments.config.as_deref()).map_err(|error| match &arguments.command {
        Command::Check(_) => check::refuse(error, check::print_weak),
        Command::Serve(_) => check::refuse(error, |_| {}),
        _ => error.into(),
    })?;
    match arguments.command {
        Command::Serve(arguments) => serve::run(arguments, config),
        Command::Key(arguments) => key::run(arguments, config),
        Command::Link(arguments) => link::run(arguments, config),
        Command::Officer(arguments) => officer::run(arguments, config),
        Command::Journal(arguments) => journal::run(arguments, config),
        Command::Check(arguments) => check::run(arguments, config),
        Command::Restore(arguments) => restore::run(arguments, config),
        Command::Manual(_) => Ok(()),
    }
}

/// Runs a command's work on a small runtime.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    // Not dropped, which would wait for names that the system still looks up for what was given up.
    runtime.shutdown_background();
    done
}

/// Opens the store for a command. When merlink runs its own Redis and no service is running, Redis is started for the command and
/// stopped behind it.
async fn with_store<T>(config: &Config, work: impl AsyncFnOnce(&Store) -> Result<T, Failure>) -> Result<T, Failure> {
    let store = Store::new(config, Metrics::new())?;
    if config.redis.url.is_some() {
        let place = store.place();
        store.ping().await.map_err(|error| match error {
            error if error.is_login_refused() => format!("{place}: {error}. Set both as that Redis has them"),
            error => format!("{error}. Start Redis at {place}, or set redis.url to where it is"),
        })?;
        store.enter().await?;
        return work(&store).await;
    }
    match DataDirLock::claim(&config.data_dir) {
        Ok(_lock) => {
            let mut embedded = Embedded::new(config, store.clone())?;
            embedded.start().await?;
            let result = match store.enter().await {
                Ok(()) => work(&store).await,
                Err(reason) => Err(reason.into()),
            };
            embedded.stop().await;
            result
        }
        // A service is running: its Redis is there, or will be in a moment.
        Err(DataDirError::InUse(_)) => {
            Embedded::wait(config, &store).await?;
            store.enter().await?;
            work(&store).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes to stdout; a reader that has gone is no failure.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
