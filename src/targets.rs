//! Where links of this installation may lead: the lists that come with merlink, what the settings add to them and take off, and a file of the
//! operator's, so that a host which turns bad is blocked without a release or a restart.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    config::Config,
    domain::{HostNames, TargetRules},
    watched_file,
};

pub struct Targets {
    rules: RwLock<Arc<TargetRules>>,
}

/// `targets.blocked_file`: hosts, one a line.
pub struct BlockedFile {
    pub hosts: HostNames,
    /// Lines that block nothing, for people.
    pub mistakes: Vec<String>,
}

impl BlockedFile {
    /// # Errors
    ///
    /// When the file can't be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        // A comment in another encoding must not keep a host from being blocked.
        let (hosts, mistakes) = HostNames::parse(&String::from_utf8_lossy(&fs::read(path)?));
        Ok(Self { hosts, mistakes })
    }
}

impl Targets {
    /// Doesn't read `targets.blocked_file` yet.
    pub fn new(config: &Config) -> Self {
        Self { rules: RwLock::new(Arc::new(settings_alone(config))) }
    }

    /// The rules at this moment.
    pub fn rules(&self) -> Arc<TargetRules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads `targets.blocked_file` now.
    ///
    /// # Errors
    ///
    /// When it can't be read; then the rules stay as they are.
    pub fn load(&self, config: &Config) -> io::Result<()> {
        let rules = Arc::new(rules(config)?);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        Ok(())
    }

    /// Reads `targets.blocked_file` again whenever it changes, for ever.
    pub async fn keep_reading(&self, config: &Config, path: &Path) {
        watched_file::keep_reading("targets.blocked_file", path, || self.load(config)).await;
    }
}

fn settings_alone(config: &Config) -> TargetRules {
    TargetRules {
        own_host: config.public.base_url.host().to_owned(),
        blocked: config.targets.blocked_hosts.clone(),
        allowed: config.targets.allowed_hosts.clone(),
    }
}

/// The rules of the settings and of `targets.blocked_file`. Logs the file's mistakes.
///
/// # Errors
///
/// When `targets.blocked_file` can't be read.
pub fn rules(config: &Config) -> io::Result<TargetRules> {
    let mut rules = settings_alone(config);
    if let Some(path) = &config.targets.blocked_file {
        let BlockedFile { hosts, mistakes } = BlockedFile::read(path)?;
        rules.blocked.add(hosts);
        for mistake in mistakes {
            tracing::warn!("targets.blocked_file: {mistake}");
        }
    }
    Ok(rules)
}
