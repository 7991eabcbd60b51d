//! The log's form and level: for people on a terminal, as JSON otherwise; always on stderr. The
//! level can be raised while the service runs.

use std::{
    io::{self, IsTerminal as _},
    sync::{Mutex, OnceLock, PoisonError},
};

use tracing::Level;
use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use crate::config::{Log, LogFormat};

/// Libraries say only what somebody must look at: at `info` some of them tell of every connection. `actix_http` calls each malformed
/// request an error, so anybody could fill the log: it says nothing.
const LIBRARIES: [&str; 4] = ["actix_server=warn", "actix_http=off", "actix_web=warn", "mio=warn"];

/// The level of a log that has been started, and the way to change it.
static LEVEL: OnceLock<Changeable> = OnceLock::new();

struct Changeable {
    set: Level,
    now: Mutex<Level>,
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Logs one level more: `debug` behind `info`, and nothing behind `trace`.
pub fn more() {
    change(|_, now| match now {
        Level::ERROR => Level::WARN,
        Level::WARN => Level::INFO,
        Level::INFO => Level::DEBUG,
        _ => Level::TRACE,
    });
}

/// Logs as `log.level` says again.
pub fn as_set() {
    change(|set, _| set);
}

fn change(to: impl FnOnce(Level, Level) -> Level) {
    let Some(level) = LEVEL.get() else { return };
    let mut now = level.now.lock().unwrap_or_else(PoisonError::into_inner);
    let before = *now;
    let new = to(level.set, before);
    *now = new;
    let say = || tracing::warn!("the log's level is {new} from now on; log.level is {}", level.set);
    // While it is more: the new level may leave this out.
    if new < before {
        say();
    }
    if level.filter.reload(filter(new)).is_ok() && new >= before {
        say();
    }
}

fn filter(level: Level) -> EnvFilter {
    let mut filter = EnvFilter::default().add_directive(level.into());
    for directive in LIBRARIES {
        filter = filter.add_directive(directive.parse().expect("a constant directive"));
    }
    filter
}

/// Starts the log for this process. Answers whether it is JSON.
pub fn start(settings: &Log) -> bool {
    let (filter, handle) = reload::Layer::new(filter(settings.level));
    let _ = LEVEL.set(Changeable { set: settings.level, now: Mutex::new(settings.level), filter: handle });
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
