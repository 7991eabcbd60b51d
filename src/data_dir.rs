//! The data directory belongs to one running instance: a lock file holds that. And how much room its disk has.
//!
//! The lock is the kernel's (`flock`), so a killed process leaves none behind.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::Mode;

use crate::config;

/// Held as long as this value lives.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error(
        "{0} belongs to another merlink that is running: stop that one, or set data_dir to a folder of this one's own"
    )]
    InUse(PathBuf),
    #[error("{0} can't be used as data_dir: {1}")]
    Unusable(PathBuf, #[source] io::Error),
}

impl DataDirLock {
    /// Makes the folder if need be and claims it.
    ///
    /// # Errors
    ///
    /// When another process holds it, or it can't be made or written.
    pub fn claim(data_dir: &Path) -> Result<Self, DataDirError> {
        let unusable = |error| DataDirError::Unusable(data_dir.to_owned(), error);
        config::make_dir(data_dir).map_err(unusable)?;
        let file =
            File::options().create(true).truncate(false).write(true).open(data_dir.join("lock")).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(data_dir.to_owned())),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }
}

/// Makes whatever this process and its children create from now on private to its user, in a data directory that others may enter, too: links and
/// their clicks, officers' addresses in Redis' files, mails with one-time passwords.
pub fn keep_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// The disk that a data directory is on.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// Without what is set aside for root.
    pub free_bytes: u64,
    pub size_bytes: u64,
}

/// Asks the kernel about the disk of `data_dir`.
///
/// # Errors
///
/// When the kernel can't say.
pub fn disk(data_dir: &Path) -> io::Result<Disk> {
    let stat = rustix::fs::statvfs(data_dir)?;
    Ok(Disk { free_bytes: stat.f_bavail * stat.f_frsize, size_bytes: stat.f_blocks * stat.f_frsize })
}
