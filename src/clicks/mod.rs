//! Counting clicks exactly once: recorded on this machine's disk before the answer leaves, brought to Redis afterwards.
//!
//! The mechanism is in two halves that meet in positions: `journal.rs` keeps what happened, `flush.rs` makes the counters include it,
//! each record once. A redirect calls [`Clicks::record`] and waits for nothing.

mod flush;
mod journal;
mod ledger;
mod runs;
mod segment;
mod tally;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::sleep};

use crate::{
    config::Config,
    domain::Click,
    metrics::Metrics,
    store::{Claim, Claimant, Store},
};

pub use flush::Flusher;
pub use journal::{Journal, JournalError};

/// Between two looks for the answer of a run that may be alive.
const ANSWER_POLL: Duration = Duration::from_millis(100);

/// Brings what the journal in `folder` holds and Redis lacks to Redis, and ends; answers how many clicks that were. The caller holds the
/// lock of the folder's data directory.
///
/// # Errors
///
/// When the journal can't be used or Redis can't be asked. What was counted until then stays counted, once.
pub async fn drain(config: &Config, folder: &Path, store: &Store, metrics: &Arc<Metrics>) -> Result<u64, DrainError> {
    let mut opened = Opened::new(config, folder, u64::MAX)?;
    opened.refuse_copy(store).await?;
    let Opened { journal, claimant } = opened;
    let settings = flush::Settings {
        timezone: config.clicks.timezone.clone(),
        keep: config.clicks.journal_keep,
        oldest_pending: Arc::default(),
    };
    let store = store.clicks(&journal.name().instance);
    let mut flusher = Flusher::new(journal, store, claimant, Arc::clone(metrics), settings);
    flusher.flush().await?;
    flusher.end().await;
    match flusher.refused() {
        0 => Ok(metrics.clicks.flushed.get()),
        refused => Err(DrainError::Damaged(refused)),
    }
}

/// Why a journal can't be drained.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Copied(#[from] Copied),
    #[error(transparent)]
    Flush(#[from] flush::FlushError),
    #[error(
        "{0} clicks aren't counted: Redis holds what merlink didn't write where their counters should be, which the log names. Mend or remove \
         that, drain again, and keep the folder until then"
    )]
    Damaged(u64),
}

/// Another merlink counts under this journal's name.
#[derive(Debug, thiserror::Error)]
#[error(
    "another merlink runs with a copy of {0}, and each would take the other's clicks for counted. If this machine was cloned, remove that folder \
     here: its clicks are the other's to count. If the service has moved here, stop the other one first"
)]
pub struct Copied(PathBuf);

/// A journal that is about to be counted.
pub struct Opened {
    journal: Arc<Journal>,
    claimant: Claimant,
}

impl Opened {
    /// Opens the journal in `folder`. The caller holds the data directory's lock.
    ///
    /// # Errors
    ///
    /// When the journal can't be used.
    pub fn new(config: &Config, folder: &Path, bytes_max: u64) -> Result<Self, JournalError> {
        let journal = Arc::new(Journal::open(folder, bytes_max)?);
        let run = runs::begin(journal.folder()).map_err(|error| JournalError::Unusable(folder.to_owned(), error))?;
        Ok(Self { journal, claimant: Claimant::new(run, config.redis.url.is_none()) })
    }

    /// Takes this journal's name from the run before, and fails if another merlink runs under it.
    /// Waits a few seconds for its answer unless the run before ended in order or on this machine
    /// since its boot. A Redis that can't be asked is no error: the flusher asks again.
    ///
    /// # Errors
    ///
    /// When this journal is a copy of one that is being counted.
    pub async fn refuse_copy(&mut self, store: &Store) -> Result<(), Copied> {
        let store = store.clicks(&self.journal.name().instance);
        loop {
            match self.claimant.claim(&store).await {
                Ok(Claim::Asked) => sleep(ANSWER_POLL).await,
                Ok(Claim::Rival) => return Err(Copied(self.journal.folder().to_owned())),
                Ok(Claim::Held | Claim::GivenUp | Claim::Diverged) | Err(_) => return Ok(()),
            }
        }
    }
}

/// Shared by all workers.
pub struct Clicks {
    journal: Arc<Journal>,
    metrics: Arc<Metrics>,
    oldest_pending: Arc<flush::OldestPending>,
}

/// The thread that brings clicks to Redis.
pub struct FlushThread {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

/// Why clicks can't be counted.
#[derive(Debug, thiserror::Error)]
pub enum ClicksError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Copied(#[from] Copied),
    #[error("the thread that flushes clicks can't be started: {0}")]
    Thread(#[source] std::io::Error),
}

impl Clicks {
    /// Opens this instance's journal.
    ///
    /// # Errors
    ///
    /// When the journal can't be used.
    pub fn open(config: &Config) -> Result<Opened, ClicksError> {
        Ok(Opened::new(config, &config.data_dir.join("journal"), config.clicks.journal_bytes_max)?)
    }

    /// Starts to bring a journal to Redis: what an earlier run left first.
    ///
    /// # Errors
    ///
    /// When the thread can't be started. That Redis is away is no error.
    pub fn start(
        opened: Opened,
        config: &Config,
        store: &Store,
        metrics: &Arc<Metrics>,
    ) -> Result<(Self, FlushThread), ClicksError> {
        let Opened { journal, claimant } = opened;
        let oldest_pending = Arc::new(flush::OldestPending::default());
        let (stop, stopped) = watch::channel(false);
        let settings = flush::Settings {
            timezone: config.clicks.timezone.clone(),
            keep: config.clicks.journal_keep,
            oldest_pending: Arc::clone(&oldest_pending),
        };
        let (for_thread, store, flush_metrics) = (Arc::clone(&journal), store.clone(), Arc::clone(metrics));
        let thread = std::thread::Builder::new()
            .name("clicks".to_owned())
            .spawn(move || flush::run(&for_thread, &store, claimant, flush_metrics, settings, stopped))
            .map_err(ClicksError::Thread)?;
        let clicks = Self { journal, metrics: Arc::clone(metrics), oldest_pending };
        Ok((clicks, FlushThread { stop, thread }))
    }

    /// Keeps a click of `code`, which is about to be answered.
    pub fn record(&self, code: &str, click: Click, at: Timestamp) {
        self.metrics.clicks.recorded.inc();
        if !self.journal.append(code, click, seconds(at)) {
            self.metrics.clicks.lost.inc();
        }
    }

    /// Whether the last click could not be kept.
    pub fn is_losing(&self) -> bool {
        self.journal.is_failing()
    }

    /// Brings the gauges up to date: for whoever is about to read them.
    pub fn observe(&self, now: Timestamp) {
        let oldest = if self.metrics.clicks.pending() == 0 { None } else { self.oldest_pending.get() };
        let age_s = oldest.map_or(0, |at_s| i64::from(seconds(now).saturating_sub(at_s)));
        self.metrics.clicks_oldest_pending_seconds.set(age_s);
        self.metrics.click_journal_bytes.set(i64::try_from(self.journal.bytes()).unwrap_or(i64::MAX));
    }
}

impl FlushThread {
    /// Time for the last clicks to reach Redis. What doesn't get there stays in the journal for the next start.
    pub const DRAIN_MAX: Duration = Duration::from_secs(10);

    /// Has the last clicks brought to Redis, then ends the thread. Blocks.
    pub fn drain(self) {
        let _ = self.stop.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the thread that flushes clicks panicked; the journal has what Redis lacks");
        }
    }
}

/// Since 1970, in 32 bits: good until 2106.
fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.as_second().max(0)).unwrap_or(u32::MAX)
}
