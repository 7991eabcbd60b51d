//! `merlink serve`: runs the service.

use clap::Args;
use tokio::runtime::{Builder, LocalOptions};

use super::{Failure, Logged, check};
use crate::{config::Config, log, server, service_manager::Passed};

/// Run the service until SIGTERM or SIGINT, then drain requests and clicks
#[derive(Args)]
#[command(
    after_help = "Example:\n  MERLINK_PUBLIC__BASE_URL=https://go.example merlink serve --config /etc/merlink/merlink.toml"
)]
pub struct Arguments {}

pub fn run(_: Arguments, config: Config) -> Result<(), Failure> {
    let passed = Passed::take();
    let log_is_json = log::start(&config.log);
    let failed = |reason: String| {
        if log_is_json {
            // There stderr's lines are parsed, and a plain one would be lost: of all, that which
            // somebody must see.
            tracing::error!("{reason}");
            return Logged.into();
        }
        Failure::from(reason)
    };
    let found = check::Looked::at(&config);
    if !found.mistakes.is_empty() {
        return Err(failed(found.mistakes.join("\n")));
    }
    for weakness in found.weaknesses {
        tracing::warn!("a setting is weak: {weakness}");
    }
    // Not `actix_web::rt::System`: its workers keep a sender to the main thread in a thread-local.
    // A worker that ends after the main thread's thread-locals are gone drops the last sender,
    // which wakes a task through another thread-local that is gone already, and the process aborts.
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let ended = runtime.block_on(server::serve(config, passed));
    // A drop would wait for name lookups, the only work that is left.
    runtime.shutdown_background();
    ended.map_err(|error| failed(error.to_string()))
}
