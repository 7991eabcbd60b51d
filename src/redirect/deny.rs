//! The operator's emergency brake: a file of codes that answer 410 whatever Redis says.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{domain::Code, watched_file};

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
        let Denied { codes, mistakes } = Denied::read(path)?;
        for mistake in mistakes {
            tracing::warn!("redirect.deny_file: {mistake}");
        }
        self.replace(codes);
        Ok(())
    }

    /// Reads the file again whenever it changes. One that can't be read leaves what was read before.
    pub async fn keep_reading(&self, path: PathBuf) {
        watched_file::keep_reading("redirect.deny_file", &path, || self.load(&path)).await;
    }
}

/// What the file says.
#[derive(Default)]
pub struct Denied {
    pub codes: HashSet<Code>,
    /// Lines that deny nothing, for people.
    pub mistakes: Vec<String>,
}

impl Denied {
    /// # Errors
    ///
    /// When the file can't be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        // A comment in another encoding must not keep a code from being stopped.
        Ok(Self::parse(&String::from_utf8_lossy(&fs::read(path)?)))
    }

    /// One code a line, in any case; empty lines and what follows a `#` are skipped.
    fn parse(text: &str) -> Self {
        let mut denied = Self::default();
        for (index, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            match entry.to_ascii_lowercase().parse() {
                Ok(code) => {
                    denied.codes.insert(code);
                }
                Err(reason) => denied.mistakes.push(format!("line {} is no code and is skipped: {reason}", index + 1)),
            }
        }
        denied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_codes_one_a_line() {
        let list = DenyList::default();
        assert!(!list.contains("abc"));
        let denied = Denied::parse("# stolen\r\nABC \n\nx-1 # reported\nnot a code\n");
        assert!(denied.mistakes.len() == 1 && denied.mistakes[0].starts_with("line 5 "), "{:?}", denied.mistakes);
        list.replace(denied.codes);
        assert!(list.contains("abc") && list.contains("x-1"));
        assert!(!list.contains("not") && !list.contains("stolen"));
        list.replace(Denied::parse("").codes);
        assert!(!list.contains("abc"));
    }
}
