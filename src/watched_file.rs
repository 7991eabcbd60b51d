//! Files of the operator's that are read again whenever they change, as a whole or not at all.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

/// A change takes effect within this, and the time to read the file.
const POLL: Duration = Duration::from_millis(500);

/// Mistakes that are named. A file of another kind, taken for a list, has one in each line.
const MISTAKES_NAMED_MAX: usize = 10;

/// A file that isn't used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("can't be read: {0}")]
    File(#[from] io::Error),
    /// One sentence for each line that can't be read. Never empty.
    #[error("{}", named(.0))]
    Lines(Vec<String>),
}

fn named(mistakes: &[String]) -> String {
    match mistakes.split_at_checked(MISTAKES_NAMED_MAX) {
        Some((first, more)) if !more.is_empty() => format!("{}; and {} more lines", first.join("; "), more.len()),
        _ => mistakes.join("; "),
    }
}

/// Reads a file of entries, one a line. Empty lines and the rest of a line from a `#` on are
/// skipped.
///
/// # Errors
///
/// When the file can't be read, or `entry` doesn't take one of its lines: half a list would leave
/// open what somebody meant to stop.
pub fn read_lines(path: &Path, mut entry: impl FnMut(&str) -> Result<(), String>) -> Result<(), Unusable> {
    // A comment in another encoding must not keep a list from being used.
    let bytes = fs::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut mistakes = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let written = line.split('#').next().unwrap_or_default().trim();
        if !written.is_empty()
            && let Err(reason) = entry(written)
        {
            mistakes.push(format!("line {}: {reason}", index + 1));
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(Unusable::Lines(mistakes)) }
}

/// Calls `load` whenever the file that `setting` names changes, for ever. `load` keeps what it had when it fails.
pub async fn keep_reading(setting: &str, path: &Path, load: impl Fn() -> Result<(), Unusable>) {
    // Nothing seen yet: it may have changed since it was loaded.
    let mut seen = None;
    loop {
        tokio::time::sleep(POLL).await;
        let now = fingerprint(path);
        if now == seen {
            continue;
        }
        match load() {
            Ok(()) => tracing::info!("read {setting}"),
            Err(error) => tracing::error!("{setting} {error}. The list from before stays in force"),
        }
        seen = now;
    }
}

/// Changes when the file does; also when a file of another size is moved there with the old one's time.
fn fingerprint(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
