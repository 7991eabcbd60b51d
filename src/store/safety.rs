//! Checks that Redis keeps what it acknowledged (nothing evicted, everything persisted), and can do what Merlink needs.
//!
//! Settings are read from INFO, since managed services often forbid CONFIG. Measured: with `allkeys-lru`, 3,136 of 20,000 acknowledged
//! records were dropped without a word; with `appendfsync everysec`, a kill of Redis lost acknowledged writes in 1 case of 6. Abilities
//! are tried, see `engine.rs`.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind, cmd};

use super::{
    LOADING, Store, StoreError,
    connection::Primary,
    engine::{Engine, Trial},
};
use crate::{config::Danger, metrics::Operation};

/// An estimate. Measured: from 26 MB a second, of commands, to 119, of a file that was just
/// rewritten.
const LOADED_BYTES_PER_S: u64 = 40_000_000;

/// What was found out about Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Safety {
    /// Name and version of each engine among the primaries, as `Valkey 9.1.2`.
    pub engines: Vec<String>,
    /// Reasons why links or clicks may be lost although acknowledged, or why Merlink can't work. Each says what to do.
    pub dangers: Vec<Found>,
    /// What weakens the promise without breaking it.
    pub weaknesses: Vec<String>,
    /// Settings of Redis that can't be read.
    pub unknown: Vec<String>,
    /// Functions that the engine lacks and Merlink does without.
    pub without: Vec<String>,
    /// Of all primaries together: what they use, and what they may use.
    pub memory_bytes: u64,
    pub memory_bytes_max: u64,
    pub file: File,
}

/// The files that Redis keeps its data in. Of several primaries: the sum of their bytes, and the
/// worst of the other fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Of the append-only file; 0 without one.
    pub bytes: u64,
    /// It is being written anew, or a snapshot is.
    pub is_rewriting: bool,
    /// The time that reading the file takes, by estimate. Primaries read theirs at the same time.
    pub loading: Duration,
    /// How long the last fork held everything up.
    pub fork: Duration,
    /// The last rewrite, snapshot or write failed.
    pub has_failed: bool,
}

impl File {
    fn of(field: impl Fn(&str) -> String) -> Self {
        let is = |names: [&str; 3], value: &str| names.iter().any(|name| field(name) == value);
        let bytes = field("aof_current_size").parse().unwrap_or_default();
        Self {
            bytes,
            loading: Duration::from_millis(bytes / (LOADED_BYTES_PER_S / 1000)),
            is_rewriting: is(["aof_rewrite_in_progress", "rdb_bgsave_in_progress", "aof_rewrite_scheduled"], "1"),
            fork: Duration::from_micros(field("latest_fork_usec").parse().unwrap_or_default()),
            has_failed: is(["aof_last_bgrewrite_status", "rdb_last_bgsave_status", "aof_last_write_status"], "err"),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            loading: self.loading.max(other.loading),
            is_rewriting: self.is_rewriting || other.is_rewriting,
            fork: self.fork.max(other.fork),
            has_failed: self.has_failed || other.has_failed,
        }
    }
}

/// A danger that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `None`: it can't be accepted.
    pub danger: Option<Danger>,
    pub reason: String,
}

impl Store {
    /// Reads the settings that the promises rest on, from every server that takes writes, and tries what a new one can do.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked, or still reads its data: until it is done it says that it persists nothing.
    pub async fn safety(&self) -> Result<Safety, StoreError> {
        let judged = self
            .ask(Operation::Ping, async |redis| {
                let mut judged = Vec::new();
                for primary in redis.primaries().await? {
                    let info: String = redis.ask_primary(&primary, cmd("INFO")).await?;
                    if field(&info, "loading") == "1" {
                        let loading = ErrorKind::Server(ServerErrorKind::BusyLoading);
                        return Err(RedisError::from((loading, LOADING)));
                    }
                    let ask_fsync = cmd("CONFIG").arg("GET").arg("appendfsync").to_owned();
                    // Forbidden by many managed services: then it isn't known, and INFO has to do.
                    let fsync: Option<Vec<String>> = redis.ask_primary(&primary, ask_fsync).await.ok();
                    let fsync = fsync.and_then(|pair| pair.into_iter().nth(1));
                    judged.push((judge(&info, fsync.as_deref()).at(&primary), server(&info)));
                }
                Ok(judged)
            })
            .await?;
        let (judged, mut servers): (Vec<Safety>, Vec<String>) = judged.into_iter().unzip();
        servers.sort_unstable();
        let safety = judged.into_iter().reduce(Safety::and).unwrap_or_default();
        let mut safety = safety.and_tried(self.try_engine(&servers.join(" ")).await?);
        match self.newer_schema().await {
            Ok(newer) => safety.dangers.extend(newer),
            Err(error) if safety.dangers.is_empty() => return Err(error),
            // The trial has named the right that is missing.
            Err(_) => {}
        }
        Ok(safety)
    }
}

impl Safety {
    /// The reasons that aren't among the accepted dangers: with one of them Merlink doesn't start.
    pub fn refused(&self, accepted: &[Danger]) -> Vec<String> {
        let is_accepted = |found: &&Found| found.danger.is_some_and(|danger| accepted.contains(&danger));
        self.dangers.iter().filter(|found| !is_accepted(found)).map(|found| found.reason.clone()).collect()
    }

    /// Says of which server of a Cluster this is.
    fn at(mut self, primary: &Primary) -> Self {
        if let Primary::OfCluster { host, port } = primary {
            let sentences = self.weaknesses.iter_mut().chain(&mut self.unknown);
            let reasons = self.dangers.iter_mut().map(|found| &mut found.reason).chain(sentences);
            for reason in reasons {
                reason.insert_str(0, &format!("{host}:{port}: "));
            }
        }
        self
    }

    fn and(mut self, other: Self) -> Self {
        self.engines.extend(other.engines);
        self.engines.sort_unstable();
        self.engines.dedup();
        self.dangers.extend(other.dangers);
        self.weaknesses.extend(other.weaknesses);
        self.unknown.extend(other.unknown);
        self.memory_bytes += other.memory_bytes;
        self.memory_bytes_max += other.memory_bytes_max;
        self.file = self.file.and(other.file);
        self
    }

    fn and_tried(mut self, tried: Trial) -> Self {
        let engines = self.engines.join(", ");
        if let Some(denied) = tried.denied.sentence() {
            self.dangers.push(Found { danger: None, reason: denied });
        }
        self.dangers.extend(tried.missing.into_iter().map(|missing| Found {
            danger: None,
            reason: format!(
                "{engines} lacks what Merlink needs. Give Merlink's user the rights in deploy/redis-acl.conf, or use Valkey, or Redis 7.0 or \
                 later. Failed: {missing}"
            ),
        }));
        self.weaknesses.extend(
            tried.untried.into_iter().map(|untried| format!("Redis couldn't be tried out at present: {untried}")),
        );
        self.without.extend(tried.without);
        self
    }
}

/// What INFO says of something; empty when nothing.
pub fn field<'a>(info: &'a str, name: &str) -> &'a str {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
}

/// Names a server and its program; another after each failover, restart and upgrade.
fn server(info: &str) -> String {
    format!("{}/{}", field(info, "run_id"), engine(info))
}

fn engine(info: &str) -> Engine {
    Engine::of(|name| field(info, name).to_owned())
}

fn judge(info: &str, fsync: Option<&str>) -> Safety {
    let field = |name: &str| field(info, name);
    let bytes = |name: &str| field(name).parse().ok().filter(|bytes| *bytes > 0);
    let engine = engine(info);
    let mut safety = Safety {
        engines: vec![engine.to_string()],
        memory_bytes: bytes("used_memory").unwrap_or_default(),
        memory_bytes_max: bytes("maxmemory").or_else(|| bytes("total_system_memory")).unwrap_or_default(),
        file: File::of(|name| field(name).to_owned()),
        ..Safety::default()
    };
    let mut found = |danger: Option<Danger>, reason: String| {
        let accept = danger.map(|danger| format!(", or start with redis.allow_unsafe = [\"{}\"].", danger.name()));
        safety.dangers.push(Found { danger, reason: reason + &accept.unwrap_or_else(|| ".".to_owned()) });
    };
    if engine.is_too_old() {
        found(None, format!("{engine} is too old. Upgrade it to Redis 7.0 or later, or to Valkey"));
    }
    let policy = field("maxmemory_policy");
    if !policy.is_empty() && policy != "noeviction" {
        found(
            Some(Danger::Eviction),
            format!("Redis may evict links: maxmemory-policy is {policy}. Set it to noeviction"),
        );
    }
    let is_persisted = field("aof_enabled") == "1";
    if !is_persisted {
        found(
            Some(Danger::NoPersistence),
            "Redis loses what it acknowledged when it stops: appendonly is off. Set it to yes".to_owned(),
        );
    }
    if field("aof_last_write_status") == "err" {
        found(
            Some(Danger::FailingPersistence),
            "Redis can't write its append-only file. See its log and its disk".to_owned(),
        );
    }
    if is_persisted && fsync.is_none() {
        safety.unknown.push(
            "appendfsync, since Merlink's user may not run CONFIG GET. Set it to always, or Redis may lose the last second of links when it dies."
                .to_owned(),
        );
    }
    if is_persisted && let Some(lazy) = fsync.filter(|fsync| *fsync != "always") {
        safety.weaknesses.push(format!(
            "Redis may lose the last second of links when it dies: appendfsync is {lazy}. Set it to always; redirects don't write to Redis."
        ));
    }
    safety
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: &str =
        "redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\naof_last_write_status:ok\r\n";

    #[test]
    fn the_shipped_settings_are_safe() {
        let safety = judge(SAFE, Some("always"));
        assert_eq!(safety, Safety { engines: vec!["Redis 7.0.15".to_owned()], ..Safety::default() });
        let silent = judge(SAFE, None);
        assert_eq!((silent.weaknesses.len(), silent.unknown.len()), (0, 1), "{silent:?}");
    }

    #[test]
    fn eviction_missing_persistence_and_a_broken_file_are_dangers() {
        for (from, to, danger) in [
            ("noeviction", "allkeys-lru", Danger::Eviction),
            ("noeviction", "volatile-ttl", Danger::Eviction),
            ("aof_enabled:1", "aof_enabled:0", Danger::NoPersistence),
            ("status:ok", "status:err", Danger::FailingPersistence),
        ] {
            let safety = judge(&SAFE.replace(from, to), Some("always"));
            assert_eq!(safety.refused(&[]).len(), 1, "{to}");
            assert_eq!(safety.refused(&[danger]).len(), 0, "{to}");
            let others: Vec<Danger> = [Danger::Eviction, Danger::NoPersistence, Danger::FailingPersistence]
                .into_iter()
                .filter(|other| *other != danger)
                .collect();
            assert_eq!(safety.refused(&others).len(), 1, "{to}");
        }
        assert_eq!(judge("redis_version:7\n", None).dangers.len(), 1);
    }

    #[test]
    fn a_redis_that_is_too_old_or_lacks_something_is_refused_whatever_is_accepted() {
        let all = [Danger::Eviction, Danger::NoPersistence, Danger::FailingPersistence];
        assert_eq!(judge(&SAFE.replace("7.0.15", "6.2.14"), None).refused(&all).len(), 1);
        let lacking = Trial { missing: vec!["change_link.lua: ERR".to_owned()], ..Trial::default() };
        assert_eq!(judge(SAFE, None).and_tried(lacking).refused(&all).len(), 1);
    }

    #[test]
    fn memory_is_bounded_by_maxmemory_or_else_by_the_machine() {
        let memory = |info: &str| {
            let safety = judge(info, None);
            (safety.memory_bytes, safety.memory_bytes_max)
        };
        assert_eq!(memory("used_memory:5\r\ntotal_system_memory:9\r\nmaxmemory:7\r\n"), (5, 7));
        assert_eq!(memory("used_memory:5\r\ntotal_system_memory:9\r\nmaxmemory:0\r\n"), (5, 9));
        let both = judge("used_memory:5\nmaxmemory:7\n", None).and(judge("used_memory:1\nmaxmemory:8\n", None));
        assert_eq!((both.memory_bytes, both.memory_bytes_max), (6, 15));
    }

    #[test]
    fn files_of_several_primaries_are_added_up_and_the_worst_is_told() {
        let of = |info: &str| judge(info, None).file;
        let well = of("aof_current_size:80000000\nlatest_fork_usec:1500\naof_last_write_status:ok\n");
        let expected = File {
            bytes: 80_000_000,
            loading: Duration::from_secs(2),
            fork: Duration::from_micros(1500),
            ..File::default()
        };
        assert_eq!(well, expected);
        for busy in ["aof_rewrite_in_progress:1", "aof_rewrite_scheduled:1", "rdb_bgsave_in_progress:1"] {
            assert!(of(busy).is_rewriting && !of(busy).has_failed, "{busy}");
        }
        for failed in ["aof_last_bgrewrite_status:err", "rdb_last_bgsave_status:err", "aof_last_write_status:err"] {
            assert!(of(failed).has_failed && !of(failed).is_rewriting, "{failed}");
        }
        let failed = of("aof_current_size:40000000\naof_last_bgrewrite_status:err\naof_rewrite_in_progress:1\n");
        let both = File { bytes: 120_000_000, has_failed: true, is_rewriting: true, ..expected };
        assert_eq!((well.and(failed), failed.and(well)), (both, both));
    }

    #[test]
    fn a_lazy_sync_is_a_weakness() {
        assert_eq!(judge(SAFE, Some("everysec")).weaknesses.len(), 1);
    }
}
