//! The operator's emergency brake: a file of codes that answer 410 whatever Redis says.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::domain::Code;

/// A code put into the file stops within this, and reading a file of 10,000 codes.
const POLL: Duration = Duration::from_millis(500);

#[derive(Default)]
pub struct DenyList {
    /// Spares the hot path the lock as long as nothing is denied, which is nearly always.
    any: AtomicBool,
    codes: RwLock<HashSet<Code>>,
}

impl DenyList {
    pub fn contains(&self, code: &str) -> bool {
        self.any.load(Ordering::Acquire) && self.codes.read().unwrap_or_else(PoisonError::into_inner).contains(code)
    }

    fn replace(&self, codes: HashSet<Code>) {
        let any = !codes.is_empty();
        *self.codes.write().unwrap_or_else(PoisonError::into_inner) = codes;
        self.any.store(any, Ordering::Release);
    }

    /// Reads the file now, so that the first visitor meets what it says.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn load(&self, path: &Path) -> io::Result<()> {
        // A comment in another encoding must not keep a code from being stopped.
        self.replace(parse(&String::from_utf8_lossy(&fs::read(path)?)));
        Ok(())
    }

    /// Reads the file again whenever it changes. One that can't be read leaves what was read before.
    pub async fn keep_reading(&self, path: PathBuf) {
        // Nothing seen yet: it may have changed since it was loaded.
        let mut seen = None;
        loop {
            tokio::time::sleep(POLL).await;
            let now = fingerprint(&path);
            if now == seen {
                continue;
            }
            match self.load(&path) {
                Ok(()) => tracing::info!("read redirect.deny_file"),
                Err(error) => tracing::error!("redirect.deny_file can't be read; what it said before holds: {error}"),
            }
            seen = now;
        }
    }
}

/// Changes when the file does; also when a file of another size is moved there with the old one's time.
fn fingerprint(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// One code a line, in any case; empty lines and what follows a `#` are skipped.
fn parse(text: &str) -> HashSet<Code> {
    let mut codes = HashSet::new();
    for line in text.lines() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        match entry.to_ascii_lowercase().parse() {
            Ok(code) => {
                codes.insert(code);
            }
            Err(reason) => tracing::warn!("redirect.deny_file: a line is no code and is skipped: {reason}"),
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_codes_one_a_line() {
        let list = DenyList::default();
        assert!(!list.contains("abc"));
        list.replace(parse("# stolen\r\nABC \n\nx-1 # reported\nnot a code\n"));
        assert!(list.contains("abc") && list.contains("x-1"));
        assert!(!list.contains("not") && !list.contains("stolen"));
        list.replace(parse(""));
        assert!(!list.contains("abc"));
    }
}
