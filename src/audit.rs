//! The audit trail: one line of JSON for each thing that somebody created, changed, gave away or revoked, in a file of its own.
//!
//! It is for whoever has to answer "who did that, and when?" without asking Redis, and is written where the store changes something, so
//! that no way in goes past it: either API, the console, a command. Each line is one `write` to a file opened for appending, so several
//! processes may share the file, and a line is whole or not there. It isn't synced: a power cut may cost its last seconds, as it may the
//! log's. A line that can't be written doesn't stop the change: it is counted, and logged once a minute.

use std::{
    fs::{File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus::IntCounter;
use serde::Serialize;

const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Where the trail goes.
pub struct Audit {
    path: Option<PathBuf>,
    open: Mutex<Open>,
    failures: IntCounter,
}

#[derive(Default)]
struct Open {
    file: Option<File>,
    logged: Option<Instant>,
}

impl Audit {
    /// Opens the file, or none when there is no `path`: then nothing is kept.
    ///
    /// # Errors
    ///
    /// When the file can't be made or written.
    pub fn open(path: Option<&Path>, failures: IntCounter) -> io::Result<Self> {
        let file = path.map(append_to).transpose()?;
        Ok(Self { path: path.map(Path::to_owned), open: Mutex::new(Open { file, logged: None }), failures })
    }

    /// Opens the file anew: what had its name may have been moved away. Until it can be opened the old one is written on.
    pub fn reopen(&self) {
        let Some(path) = &self.path else { return };
        match append_to(path) {
            Ok(file) => {
                self.lock().file = Some(file);
                tracing::info!("the audit file is open anew");
            }
            Err(error) => tracing::error!("the audit file can't be opened anew: {error}"),
        }
    }

    /// Whether there is a trail at all, so that nobody makes up an entry for nothing.
    pub fn is_on(&self) -> bool {
        self.path.is_some()
    }

    pub fn write(&self, entry: &impl Serialize) {
        let mut open = self.lock();
        let Some(file) = open.file.as_mut() else { return };
        let mut line = serde_json::to_vec(entry).expect("entries have names as keys and no maps that fail");
        line.push(b'\n');
        if let Err(error) = file.write_all(&line) {
            self.failures.inc();
            if open.logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
                open.logged = Some(Instant::now());
                tracing::error!("the audit file can't be written: {error}");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For its user to write, and for its group, such as a log shipper's, to read: whatever the process' umask is. A file that is there keeps its mode.
fn append_to(path: &Path) -> io::Result<File> {
    match File::options().append(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.set_permissions(Permissions::from_mode(0o640))?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => File::options().append(true).open(path),
        Err(error) => Err(error),
    }
}
