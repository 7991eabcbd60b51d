//! The audit trail: one line of JSON for each thing that somebody created, changed, gave away or revoked, in a file of its own.
//!
//! It is for whoever has to answer "who did that, and when?" without asking Redis, and is written where the store changes something, so
//! that no way in goes past it: either API, the console, a command. Each line is one `write` to a file opened for appending, so several
//! processes may share the file, and a line is whole or not there. It isn't synced: a power cut may cost its last seconds, as it may the
//! log's. A line that can't be written doesn't stop the change: it is counted, and logged once a minute.
//!
//! Failures are lines that strangers cause. [`failures`] bounds them to some 60 a minute, and they stop while the disk has less than
//! `audit.disk_reserve` free: what is left is for clicks and for what officers change.

pub mod failures;

use std::{
    fs::{File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus::IntCounter;
use rustix::fs::fstatvfs;
use serde::Serialize;

use self::failures::{Failure, Failures, Repeated};

const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Between two looks at the room on the disk.
const DISK_INTERVAL: Duration = Duration::from_secs(5);

/// Where the trail goes.
pub struct Audit {
    path: Option<PathBuf>,
    open: Mutex<Open>,
    disk_reserve_bytes: u64,
    counters: Counters,
}

/// Entries that the file lacks.
pub struct Counters {
    /// Entries that couldn't be written.
    pub failed: IntCounter,
    /// Failures that weren't written for lack of room.
    pub withheld: IntCounter,
}

#[derive(Default)]
struct Open {
    file: Option<File>,
    logged: Option<Instant>,
    failures: Failures,
    /// When the disk was looked at, and whether it had more than the reserve.
    disk: Option<(Instant, bool)>,
}

impl Audit {
    /// Opens the file, or none when there is no `path`: then nothing is kept.
    ///
    /// # Errors
    ///
    /// When the file can't be made or written.
    pub fn open(path: Option<&Path>, disk_reserve_bytes: u64, counters: Counters) -> io::Result<Self> {
        let open = Open { file: path.map(append_to).transpose()?, ..Open::default() };
        Ok(Self { path: path.map(Path::to_owned), open: Mutex::new(open), disk_reserve_bytes, counters })
    }

    /// Opens the file anew: what had its name may have been moved away. Until it can be opened the old one is written on.
    pub fn reopen(&self) {
        let Some(path) = &self.path else { return };
        match append_to(path) {
            Ok(file) => {
                let mut open = self.lock();
                (open.file, open.disk) = (Some(file), None);
                drop(open);
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
            self.counters.failed.inc();
            if open.logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
                open.logged = Some(Instant::now());
                tracing::error!("the audit file can't be written: {error}");
            }
        }
    }

    /// Counts a failure. Returns true when it is to be written, false when it repeats another or there is no room.
    pub fn note_failure(&self, failure: Failure) -> bool {
        let now = Instant::now();
        let mut open = self.lock();
        if open.file.is_none() {
            return false;
        }
        if self.has_room(&mut open, now) {
            return open.failures.note(failure, now);
        }
        self.withhold(&mut open, 1);
        false
    }

    /// Ends a minute that is over, or with `at_once` any: the failures that were counted in it and are to be written.
    pub fn repeated_failures(&self, at_once: bool) -> Vec<Repeated> {
        let now = Instant::now();
        let mut open = self.lock();
        let repeated = if at_once { open.failures.end() } else { open.failures.due(now) };
        if repeated.is_empty() || self.has_room(&mut open, now) {
            return repeated;
        }
        self.withhold(&mut open, repeated.iter().map(|repeated| repeated.count).sum());
        Vec::new()
    }

    fn withhold(&self, open: &mut Open, count: u64) {
        self.counters.withheld.inc_by(count);
        if open.logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            open.logged = Some(Instant::now());
            tracing::warn!(
                "failed logins aren't written to the audit file: its disk has less than audit.disk_reserve free"
            );
        }
    }

    /// Unknown room counts as room: then a write says what is wrong.
    fn has_room(&self, open: &mut Open, now: Instant) -> bool {
        if let Some((_, has_room)) = open.disk.filter(|(at, _)| now.duration_since(*at) < DISK_INTERVAL) {
            return has_room;
        }
        let disk = open.file.as_ref().and_then(|file| fstatvfs(file).ok());
        let has_room = disk.is_none_or(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= self.disk_reserve_bytes);
        open.disk = Some((now, has_room));
        has_room
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
