//! Where links of this installation may lead: the lists that come with merlink, what the settings add to them and take off, and a file of the
//! operator's, so that a host which turns bad is blocked without a release or a restart.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    config::Config,
    domain::{HostName, HostNames, TargetRules},
    watched_file::{self, Unusable},
};

pub struct Targets {
    rules: RwLock<Arc<TargetRules>>,
}

/// Reads `targets.blocked_file`: hosts, one a line.
///
/// # Errors
///
/// When the file, or one of its lines, can't be read.
pub fn read_blocked(path: &Path) -> Result<HostNames, Unusable> {
    let mut hosts = HostNames::default();
    watched_file::read_lines(path, |entry| {
        hosts.insert(HostName::pasted(entry).map_err(|reason| reason.to_string())?);
        Ok(())
    })?;
    Ok(hosts)
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
    /// When the file, or one of its lines, can't be read. The former rules stay in force.
    pub fn load(&self, config: &Config) -> Result<(), Unusable> {
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

/// Returns the rules of the settings and of `targets.blocked_file`.
///
/// # Errors
///
/// When `targets.blocked_file`, or one of its lines, can't be read.
pub fn rules(config: &Config) -> Result<TargetRules, Unusable> {
    let mut rules = settings_alone(config);
    if let Some(path) = &config.targets.blocked_file {
        rules.blocked.add(read_blocked(path)?);
    }
    Ok(rules)
}
