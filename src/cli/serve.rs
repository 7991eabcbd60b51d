//! `merlink serve`: runs the service.

use std::mem;

use clap::Args;

use super::Failure;
use crate::{config::Config, log, server};

/// Run the service until SIGTERM or SIGINT, then drain requests and clicks
#[derive(Args)]
#[command(
    after_help = "Example:\n  MERLINK_PUBLIC__BASE_URL=https://go.example merlink serve --config /etc/merlink/merlink.toml"
)]
pub struct Arguments {}

pub fn run(_: Arguments, config: Config) -> Result<(), Failure> {
    log::start(&config.log);
    let system = actix_web::rt::System::new();
    let ended = system.block_on(server::serve(config));
    // All has ended by now but the system's look-ups of names, for which a drop would wait.
    mem::forget(system);
    ended.map_err(|error| {
        // In the log as well: a service's stderr lines are parsed, and this is the one that somebody must see.
        tracing::error!("{error}");
        error.into()
    })
}
