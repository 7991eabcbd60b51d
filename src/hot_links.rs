//! The most used links on this machine's disk, so that an instance that starts while Redis is away has something to redirect.
//!
//! Written once a minute and at the end, to a file of its own that then takes the old one's place. Read once, at start, before anybody is
//! served: the links come in as they were, unproven, so they are checked with Redis before use as soon as there is one, and served as they
//! are while there is none, up to `redirect.serve_stale_for` after they were last known to be true.
//!
//! A line a link, in JSON. A file that can't be read or written costs warmth, never a start.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};

use crate::cache::{Known, LinkCache};

/// Some 15 MB with targets of 87 bytes: a second's work for a slow disk.
const LINKS_MAX: usize = 100_000;

const WRITE_INTERVAL: Duration = Duration::from_secs(60);

/// A link as it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    code: String,
    target: String,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    forward_query: bool,
    version: u64,
    checked_at: Timestamp,
}

/// Where an instance keeps them.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("hot-links.ndjson")
}

/// Fills the cache from the file; answers how many links that were. No file is no links.
///
/// # Errors
///
/// When the file is there and can't be read.
pub fn load(path: &Path, cache: &LinkCache, now: Timestamp) -> io::Result<usize> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file?,
    };
    let mut loaded = 0;
    for line in BufReader::new(file).lines() {
        // A line that isn't one of ours is left out; the rest is as good as ever.
        let Ok(kept) = serde_json::from_str::<Kept>(&line?) else { continue };
        let age = Duration::try_from(now.duration_since(kept.checked_at)).unwrap_or_default();
        let Ok(code) = kept.code.parse() else { continue };
        let known = Known {
            target: &kept.target,
            active: kept.active,
            expires_at: kept.expires_at,
            forward_query: kept.forward_query,
            version: kept.version,
        };
        loaded += usize::from(cache.remember(&code, known, age));
    }
    Ok(loaded)
}

/// Writes the most used links now.
///
/// # Errors
///
/// When the file can't be written; the old one stays.
pub fn save(path: &Path, cache: &LinkCache, now: Timestamp) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = BufWriter::new(File::create(&draft)?);
    for (link, age) in cache.most_used(LINKS_MAX) {
        let kept = Kept {
            code: link.code().to_owned(),
            target: link.target().to_string(),
            active: link.is_active(),
            expires_at: link.expires_at(),
            forward_query: link.forwards_query(),
            version: link.version(),
            checked_at: now.saturating_sub(age).unwrap_or(Timestamp::UNIX_EPOCH),
        };
        serde_json::to_writer(&mut file, &kept)?;
        file.write_all(b"\n")?;
    }
    file.into_inner()?.sync_all()?;
    fs::rename(&draft, path)
}

/// Writes them once a minute, for ever.
pub async fn keep_saving(path: PathBuf, cache: Arc<LinkCache>) {
    let mut ticks = interval(WRITE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once, when there is nothing new to write.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let (path, cache) = (path.clone(), Arc::clone(&cache));
        let saved = tokio::task::spawn_blocking(move || save(&path, &cache, Timestamp::now())).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!("the most used links can't be written to data_dir: {error}");
        }
    }
}
