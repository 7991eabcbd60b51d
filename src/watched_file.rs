//! A file of the operator's that is read again whenever it changes.

use std::{
    io,
    path::Path,
    time::{Duration, SystemTime},
};

/// A change takes effect within this, and the time to read the file.
const POLL: Duration = Duration::from_millis(500);

/// Calls `load` whenever the file that `setting` names changes, for ever. `load` keeps what it had when it fails.
pub async fn keep_reading(setting: &str, path: &Path, load: impl Fn() -> io::Result<()>) {
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
            Err(error) => tracing::error!("{setting} can't be read; what it said before holds: {error}"),
        }
        seen = now;
    }
}

/// Changes when the file does; also when a file of another size is moved there with the old one's time.
fn fingerprint(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
