//! How the log is written: for people on a terminal, as JSON otherwise; always on stderr.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::{Log, LogFormat};

/// Libraries say only what somebody must look at: at `info` some of them tell of every connection. `actix_http` calls each malformed
/// request an error, so anybody could fill the log: it says nothing.
const LIBRARIES: [&str; 4] = ["actix_server=warn", "actix_http=off", "actix_web=warn", "mio=warn"];

/// Starts the log for this process. Answers whether it is JSON.
pub fn start(settings: &Log) -> bool {
    let mut filter = EnvFilter::default().add_directive(settings.level.into());
    for directive in LIBRARIES {
        filter = filter.add_directive(directive.parse().expect("a constant directive"));
    }
    let json = match settings.format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry
            .with(
                tracing_subscriber::fmt::layer().json().flatten_event(true).with_target(false).with_writer(io::stderr),
            )
            .init();
    } else {
        let colours = io::stderr().is_terminal();
        registry
            .with(tracing_subscriber::fmt::layer().with_target(false).with_ansi(colours).with_writer(io::stderr))
            .init();
    }
    json
}
