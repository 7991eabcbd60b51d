//! `merlink serve`: runs the service.

use std::mem;

use clap::Args;

use super::{Failure, Logged};
use crate::{config::Config, log, server};

/// Run the service until SIGTERM or SIGINT, then drain requests and clicks
#[derive(Args)]
#[command(
    after_help = "Example:\n  MERLINK_PUBLIC__BASE_URL=https://go.example merlink serve --config /etc/merlink/merlink.toml"
)]
pub struct Arguments {}

pub fn run(_: Arguments, config: Config) -> Result<(), Failure> {
    let log_is_json = log::start(&config.log);
    let system = actix_web::rt::System::new();
    let ended = system.block_on(server::serve(config));
    // All has ended by now but the system's look-ups of names, for which a drop would wait.
    mem::forget(system);
    ended.map_err(|error| {
        if log_is_json {
            // There stderr's lines are parsed, and a plain one would be lost: of all, that which somebody must see.
            tracing::error!("{error}");
            return Logged.into();
        }
        error.into()
    })
}
