//! Bringing the journal to Redis, each record once.
//!
//! Every 100 ms what is new is added up per code and sent. A script adds a code's counts and moves its position in one write, unless the
//! position says that they are in already. The more codes there were, the longer the next clicks are gathered, up to 0.6 s: a write costs the
//! same for one click of a code as for a hundred. A lost reply is harmless, since the same stretch sent again is refused and
//! answered with the position. What the counters include is known from Redis alone; this process keeps only, per code, where its last
//! flushed record ends (`ledger.rs`), to notice when Redis stands before it.
//!
//! Redis stands elsewhere than expected in three cases, and one repair (`flush/repair.rs`) serves all: after a restart (an earlier run's last
//! flush may be half in), after a batch of which a part got in, and after Redis went back in time (a failover to a replica that lagged). The code's
//! records behind its position are read from the journal and added. So that they can be, a segment is kept for
//! `clicks.journal_keep` after it was flushed; but new clicks come first when the disk bound is reached.
//!
//! Whenever Redis was away or may be another one, and once a minute, the positions of all codes in the kept journal are compared.
//!
//! A new run begins with what earlier ones left, a segment's worth at a time: which of its records Redis lacks is asked first. A new click
//! has to wait for that, since a position says that *everything* before it is in.
//!
//! A code whose counters hold what merlink didn't write keeps nobody else waiting. Its clicks stay pending (`flush/refused.rs`), are added within a
//! second once somebody has mended or removed the counters, and are lost, and said to be, when their segment leaves the disk before that.
//!
//! The journal's files are looked after by a thread of its own: neither a Redis that hangs nor a long repair may delay a sync.

mod refused;
mod repair;

use std::{
    collections::{HashMap, VecDeque},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use tokio::sync::watch;

use super::{
    FlushThread, Journal,
    ledger::{Batch, Ledger, PerCounter},
    segment::{SEGMENT_BYTES, segment_start},
    tally::{Calendar, Tally},
};
use crate::{
    metrics::Metrics,
    store::{ALL_LINKS, Claim, Claimant, ClickStore, Counter, Store, StoreError, Stretch},
};
use refused::{Refusals, Refused};

/// Clicks are gathered for so long when there are few of them.
const INTERVAL: Duration = Duration::from_millis(100);
/// For so much longer for each code in the last batch: some fifteen times what the code's write costs Redis, of which so little is then ours.
const INTERVAL_PER_CODE: Duration = Duration::from_micros(100);
/// And never for longer. A click is in the counters within a second: this, a batch, and room for a slow machine.
const INTERVAL_MAX: Duration = Duration::from_millis(600);
/// While Redis is away.
const RETRY: Duration = Duration::from_millis(250);
/// What power loss may cost.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks at whether the next segment is due.
const DISK_INTERVAL: Duration = Duration::from_millis(100);
/// Between two looks at counters that were damaged, or so many times as long as the last one took: each reads what was recorded since.
const REFUSED_INTERVAL: Duration = Duration::from_secs(1);
const REFUSED_PAUSE: u32 = 10;
const VERIFY_INTERVAL: Duration = Duration::from_secs(60);
/// A merlink with a copy of this data directory asks under its name, and waits for five times as
/// long.
const CLAIM_INTERVAL: Duration = Duration::from_secs(1);
/// At the most, lost clicks and a Redis that is away are logged this often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Of what earlier runs left, read at once: some 450,000 clicks, a fifth of a second.
const SLICE_BYTES: u64 = SEGMENT_BYTES;
/// When the oldest click that Redis doesn't have was made.
#[derive(Default)]
pub struct OldestPending(AtomicU32);

impl OldestPending {
    pub fn get(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at_s| *at_s != 0)
    }

    fn set(&self, at_s: u32) {
        self.0.store(at_s, Ordering::Relaxed);
    }
}

pub struct Settings {
    pub timezone: TimeZone,
    pub keep: Duration,
    pub oldest_pending: Arc<OldestPending>,
}

#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the click journal can't be read: {0}")]
    Journal(#[from] std::io::Error),
    #[error("waiting a few seconds for the answer of a merlink that may run with a copy of this data_dir")]
    Asked,
    #[error("Redis' click positions keep moving: is another merlink running with a copy of this data_dir?")]
    Unsettled,
    #[error(
        "Redis has counted clicks beyond the end of this click journal: an older copy of data_dir/journal was put back. Stop merlink, move \
         data_dir/journal away, and start it again; what came since the start would otherwise be taken for counted"
    )]
    Rewound,
}

pub struct Flusher {
    journal: Arc<Journal>,
    store: ClickStore,
    claimant: Claimant,
    /// The last successful claim.
    claimed: Option<Instant>,
    metrics: Arc<Metrics>,
    settings: Settings,
    calendar: Calendar,
    /// All records before it are in Redis, as far as it has told.
    flushed: u64,
    /// Where this run's records begin.
    this_run: u64,
    /// Clicks of this run read from the journal so far.
    read: u64,
    /// Clicks that earlier runs left and this one counted.
    left_by_earlier_runs: u64,
    ledger: Ledger,
    /// Clicks that damaged counters didn't take, oldest first.
    refused: Refusals,
    /// When to look whether they were mended.
    refused_due: Instant,
    /// When positions were compared, and in which [`ClickStore::session`]. `None`: they must be before the next batch.
    verified: Option<(Instant, u64)>,
    /// Flushed segments, by the time at which they were.
    kept: VecDeque<(u64, Instant)>,
    lost_logged: u64,
    loss_log: Seldom,
    segment_log: Seldom,
    away_log: Seldom,
    damage_log: Seldom,
    away_since: Option<Instant>,
    /// In the last batch.
    codes: u32,
}

/// Whether there is more to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Done,
    More,
}

/// Lets something be logged once in [`LOG_INTERVAL`].
#[derive(Default)]
struct Seldom(Option<Instant>);

impl Seldom {
    fn may_log(&mut self) -> bool {
        let due = self.0.is_none_or(|at| at.elapsed() >= LOG_INTERVAL);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

/// The life of the flushing thread.
pub fn run(
    journal: &Arc<Journal>,
    store: &Store,
    claimant: Claimant,
    metrics: Arc<Metrics>,
    settings: Settings,
    mut stop: watch::Receiver<bool>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("clicks stay in the journal: no runtime for the flushing thread: {error}");
            return;
        }
    };
    let store = store.clicks(&journal.name().instance);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (keep, over) = (settings.keep, &over);
        let chores = thread::Builder::new().name("clicks-disk".to_owned());
        match chores.spawn_scoped(scope, move || look_after_disk(journal, keep, over)) {
            Ok(chores) => {
                let flusher = Flusher::new(Arc::clone(journal), store, claimant, metrics, settings);
                runtime.block_on(flush_until(&mut stop, flusher));
                over.store(true, Ordering::Relaxed);
                chores.thread().unpark();
            }
            Err(error) => tracing::error!("clicks stay in the journal: no thread to look after its disk: {error}"),
        }
    });
    // Not dropped, which would wait until the system has found Redis' name, and it may take longer than anybody waits for an end.
    runtime.shutdown_background();
    if let Err(error) = journal.sync() {
        tracing::error!("the click journal can't be synced: {error}");
    }
}

async fn flush_until(stop: &mut watch::Receiver<bool>, mut flusher: Flusher) {
    while !*stop.borrow() {
        let pause = flusher.step().await;
        let _ = tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await;
    }
    flusher.drain().await;
}

/// Syncs the journal each second and makes its next segment ahead, until all is `over`.
fn look_after_disk(journal: &Journal, keep: Duration, over: &AtomicBool) {
    let mut sync_log = Seldom::default();
    let mut synced_at = Instant::now();
    while !over.load(Ordering::Relaxed) {
        journal.prepare(keep);
        if synced_at.elapsed() >= SYNC_INTERVAL {
            synced_at = Instant::now();
            if let Err(error) = journal.sync()
                && sync_log.may_log()
            {
                tracing::error!("the click journal can't be synced: {error}");
            }
        }
        thread::park_timeout(DISK_INTERVAL);
    }
}

impl Flusher {
    pub fn new(
        journal: Arc<Journal>,
        store: ClickStore,
        claimant: Claimant,
        metrics: Arc<Metrics>,
        settings: Settings,
    ) -> Self {
        let calendar = Calendar::new(settings.timezone.clone());
        Self {
            flushed: journal.start().max(journal.name().from),
            this_run: segment_start(journal.end()),
            read: 0,
            left_by_earlier_runs: 0,
            journal,
            store,
            claimant,
            claimed: None,
            metrics,
            settings,
            calendar,
            ledger: Ledger::default(),
            refused: Refusals::default(),
            refused_due: Instant::now(),
            verified: None,
            kept: VecDeque::new(),
            lost_logged: 0,
            loss_log: Seldom::default(),
            segment_log: Seldom::default(),
            away_log: Seldom::default(),
            damage_log: Seldom::default(),
            away_since: None,
            codes: 0,
        }
    }

    /// Flushes some of what there is and looks after the segments; answers how long to pause.
    async fn step(&mut self) -> Duration {
        let started = Instant::now();
        let pause = match self.flush_some().await {
            Ok(progress) => {
                if let Some(since) = self.away_since.take() {
                    tracing::info!("clicks reach Redis again after {} s", since.elapsed().as_secs());
                    self.away_log = Seldom::default();
                }
                match progress {
                    Progress::Done => {
                        let interval = (INTERVAL + INTERVAL_PER_CODE * self.codes).min(INTERVAL_MAX);
                        interval.saturating_sub(started.elapsed())
                    }
                    Progress::More => Duration::ZERO,
                }
            }
            Err(error) => {
                self.away_since.get_or_insert_with(Instant::now);
                if self.away_log.may_log() {
                    tracing::warn!("clicks wait in the journal: {error}");
                }
                // Whatever was answered before is to be doubted: Redis may come back as it was some time ago.
                self.verified = None;
                RETRY
            }
        };
        self.remove_old_segments();
        self.log_losses();
        pause
    }

    /// The last clicks before the process ends.
    async fn drain(&mut self) {
        let give_up = Instant::now() + FlushThread::DRAIN_MAX;
        loop {
            match self.flush_some().await {
                Ok(Progress::Done) => break,
                Ok(Progress::More) if Instant::now() < give_up => {}
                Err(_) if Instant::now() < give_up => {
                    self.verified = None;
                    tokio::time::sleep(RETRY).await;
                }
                Ok(Progress::More) => {
                    tracing::warn!("clicks stay in the journal until the next start: there are many of them");
                    return;
                }
                Err(error) => {
                    tracing::warn!("clicks stay in the journal until the next start: {error}");
                    return;
                }
            }
        }
        match self.refused() {
            0 => tracing::info!("all clicks are in Redis"),
            refused => tracing::warn!("{refused} clicks stay in the journal: their counters in Redis are damaged"),
        }
        self.end().await;
    }

    /// Clicks that damaged counters didn't take.
    pub fn refused(&self) -> u64 {
        self.refused.clicks()
    }

    /// Says that this instance has ended with all its clicks in Redis, so that its positions needn't be kept for ever. Not said, they are.
    pub async fn end(&mut self) {
        if self.flushed < self.journal.end() || !self.refused.is_empty() {
            return;
        }
        if let Err(error) = self.claimant.end(&self.store, Timestamp::now()).await {
            tracing::info!("Redis wasn't told that this instance has ended: {error}");
        }
    }

    /// Brings everything that the journal has at this moment to Redis.
    pub async fn flush(&mut self) -> Result<(), FlushError> {
        let end = self.journal.end();
        while self.flush_some().await? == Progress::More && self.flushed < end {}
        Ok(())
    }

    /// Brings one slice or batch to Redis, after comparing positions if that is due.
    async fn flush_some(&mut self) -> Result<Progress, FlushError> {
        // What comes from now on is gathered for the next.
        let end = self.journal.end();
        self.note_oldest()?;
        let session = self.store.session();
        let is_unverified = self.verified.is_none_or(|(at, with)| with != session || at.elapsed() >= VERIFY_INTERVAL);
        if is_unverified || self.claimed.is_none_or(|at| at.elapsed() >= CLAIM_INTERVAL) {
            self.claim().await?;
        }
        if is_unverified {
            self.verify(self.ledger.counters()).await?;
            self.verified = Some((Instant::now(), session));
        }
        self.look_at_refused().await?;
        if self.flushed < self.this_run {
            self.flush_slice().await?;
        } else {
            self.flush_batch().await?;
        }
        if self.flushed < end {
            return Ok(Progress::More);
        }
        self.settings.oldest_pending.set(self.refused.oldest_s().unwrap_or(0));
        Ok(Progress::Done)
    }

    /// Claims the name under which this instance counts, and takes another if it can't be had. All
    /// clicks under a name that was given up are counted. With a rival, those of earlier runs are
    /// the rival's to count.
    async fn claim(&mut self) -> Result<(), FlushError> {
        loop {
            let why = match self.claimant.claim(&self.store).await? {
                Claim::Held => break,
                Claim::Asked => return Err(FlushError::Asked),
                why @ (Claim::GivenUp | Claim::Rival | Claim::Diverged) => why,
            };
            self.flushed = self.flushed.max(self.this_run);
            let name = self.journal.rename(self.flushed)?;
            self.store.rename(&name.instance);
            self.ledger.clear();
            self.give_up_refused(self.flushed);
            let name = name.instance;
            if why == Claim::GivenUp {
                tracing::info!("this instance's name in Redis was given up while it was away: it goes on as {name}");
            } else {
                tracing::warn!(
                    "another merlink counts, or has counted, with a copy of this data_dir: this one goes on as {name}, and leaves the clicks of \
                     earlier runs to the other"
                );
            }
        }
        self.claimed = Some(Instant::now());
        Ok(())
    }

    /// Counts what earlier runs recorded and Redis lacks of one slice.
    async fn flush_slice(&mut self) -> Result<(), FlushError> {
        let slice = Slice::read(&self.journal, self.flushed, self.this_run)?;
        let counters: Vec<Counter> = slice.counters.keys().cloned().collect();
        let positions: PerCounter<u64> = self.positions(&counters).await?.into_iter().collect();
        let mut damaged: Vec<Counter> =
            counters.into_iter().filter(|counter| !positions.contains_key(counter)).collect();
        // Slices before this one are in, unless Redis has just forgotten them.
        let forgotten = positions.iter().any(|(counter, position)| *position < self.ledger.last(counter));
        let from = if forgotten { 0 } else { self.flushed };
        let behind = positions.into_iter().filter(|(counter, position)| *position < slice.counters[counter].last);
        let repaired = self.repair(behind.collect(), from, slice.end).await?;
        self.report_reapplied(repaired.again());
        damaged.extend_from_slice(&repaired.damaged);
        // The counters over all links are no click's only ones.
        damaged.retain(|counter| *counter != ALL_LINKS);
        let mut refused = 0;
        for code in damaged {
            let of_slice = slice.counters[&code];
            refused += of_slice.clicks;
            self.refused.keep(code, of_slice);
        }
        let clicks = repaired.first(refused);
        for (counter, of_slice) in slice.counters {
            self.ledger.note(counter, of_slice.last);
        }
        self.flushed = slice.end;
        self.left_by_earlier_runs += clicks;
        // What an earlier run recorded and didn't flush is this run's work: recorded = flushed + pending + lost.
        self.metrics.clicks.recorded.inc_by(clicks + refused);
        self.metrics.clicks.flushed.inc_by(clicks);
        if self.flushed >= self.this_run && self.left_by_earlier_runs > 0 {
            tracing::info!("counted {} clicks that an earlier run left in the journal", self.left_by_earlier_runs);
        }
        Ok(())
    }

    async fn flush_batch(&mut self) -> Result<(), FlushError> {
        let started = Instant::now();
        let (end, kept) = self.journal.end_and_kept();
        let batch =
            if self.flushed < end { self.ledger.read(&self.journal, &mut self.calendar, self.flushed)? } else { None };
        let Some(batch) = batch else {
            self.flushed = end;
            self.codes = 0;
            self.give_up_missing(kept);
            return Ok(());
        };
        self.codes = u32::try_from(self.ledger.batch().len()).unwrap_or(u32::MAX);
        let refused = self.send(batch).await?;
        self.flushed = batch.end;
        self.read += batch.clicks;
        self.metrics.clicks.flushed.inc_by(batch.clicks - refused);
        self.metrics.click_flush_duration.observe(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// All that was kept has been read, but there was less: a segment was removed by hand or its file is damaged.
    fn give_up_missing(&mut self, kept: u64) {
        let missing = kept.saturating_sub(self.read);
        if missing > 0 {
            self.read = kept;
            self.metrics.clicks.lost.inc_by(missing);
            tracing::error!("{missing} clicks are lost: the click journal's files were removed or damaged");
            self.lost_logged += missing;
        }
    }

    /// Finds the oldest click that Redis lacks: for whoever watches its age.
    fn note_oldest(&self) -> Result<(), FlushError> {
        let unread_s = self.journal.first_behind(self.flushed.max(self.this_run))?;
        let oldest_s = self.refused.oldest_s().into_iter().chain(unread_s).min();
        self.settings.oldest_pending.set(oldest_s.unwrap_or(0));
        Ok(())
    }

    /// Damaged counters may have been mended.
    async fn look_at_refused(&mut self) -> Result<(), FlushError> {
        let started = Instant::now();
        if self.refused.is_empty() || started < self.refused_due {
            return Ok(());
        }
        let looked = self.verify(self.refused.counters()).await;
        self.refused_due = started + REFUSED_INTERVAL.max(started.elapsed() * REFUSED_PAUSE);
        looked
    }

    /// Sends a batch, and mends the codes whose counters don't stand where it begins. Answers how many clicks damaged counters refused.
    async fn send(&mut self, batch: Batch) -> Result<u64, FlushError> {
        let stretch = |(counter, last, tally): (&Counter, u64, &Tally)| Stretch {
            counter: counter.clone(),
            after: last,
            before: batch.start,
            counts: tally.counts(),
        };
        let stretches: Vec<Stretch> = self.ledger.batch().map(stretch).collect();
        let stands = self.store.apply(&stretches, batch.end).await?;
        let mut refused: Vec<Counter> = Vec::new();
        let elsewhere = stretches.into_iter().zip(stands).filter(|(_, stand)| *stand != Some(batch.end));
        let elsewhere: Vec<(Counter, Option<u64>)> =
            elsewhere.map(|(stretch, stand)| (stretch.counter, stand)).collect();
        refused.extend(elsewhere.iter().filter(|(_, stand)| stand.is_none()).map(|(counter, _)| counter.clone()));
        let elsewhere = self.leave_out_damaged(elsewhere.into_iter()).into_iter().collect();
        let repaired = self.repair(elsewhere, 0, batch.end).await?;
        self.report_reapplied(repaired.again());
        refused.extend(repaired.damaged);
        // The counters over all links are no click's only ones.
        let mut clicks = 0;
        for code in refused.into_iter().filter(|counter| *counter != ALL_LINKS) {
            let tally = self.ledger.in_batch(&code).expect("who refuses was sent something");
            let refused = Refused { last: tally.last, clicks: tally.clicks, oldest_s: tally.first_s };
            clicks += refused.clicks;
            self.refused.keep(code, refused);
        }
        self.ledger.settle_batch();
        Ok(clicks)
    }

    /// Removes the segments that were flushed long enough ago, or whose room is needed for new clicks.
    fn remove_old_segments(&mut self) {
        let newest = self.kept.back().map(|(base, _)| *base);
        for base in self.journal.segments_before(self.flushed) {
            if newest.is_none_or(|newest| base > newest) {
                self.kept.push_back((base, Instant::now()));
            }
        }
        let (mut made_room, mut removed) = (0, false);
        while let Some((base, flushed_at)) = self.kept.front().copied() {
            let is_old = flushed_at.elapsed() >= self.settings.keep;
            // Room for one new segment: the others may be needed when Redis goes back in time.
            if !is_old && (!self.journal.is_full() || made_room >= SEGMENT_BYTES) {
                break;
            }
            match self.journal.remove(base) {
                Ok(size) => made_room += if is_old { 0 } else { size },
                Err(error) => {
                    if self.segment_log.may_log() {
                        tracing::warn!("a flushed segment of the click journal can't be removed: {error}");
                    }
                    break;
                }
            }
            self.kept.pop_front();
            removed = true;
        }
        if removed {
            self.forget_before(self.journal.start());
        }
        if made_room > 0 {
            self.journal.retry_soon();
        }
    }

    /// What lies before `start` is on no disk any more.
    fn forget_before(&mut self, start: u64) {
        self.ledger.forget_before(start);
        self.give_up_refused(start);
    }

    /// Damaged counters won't be given their clicks before `position` any more.
    fn give_up_refused(&mut self, position: u64) {
        let lost = self.refused.take_all(position);
        if lost > 0 {
            self.metrics.clicks.lost.inc_by(lost);
            tracing::error!(
                "{lost} clicks are lost: their counters in Redis were damaged for longer than clicks.journal_keep"
            );
            self.lost_logged += lost;
        }
    }

    fn log_losses(&mut self) {
        let lost = self.metrics.clicks.lost.get();
        if lost > self.lost_logged && self.loss_log.may_log() {
            tracing::error!(
                "{} clicks could not be kept: the disk is full or clicks.journal_bytes_max is reached",
                lost - self.lost_logged
            );
            self.lost_logged = lost;
        }
    }
}

/// What a stretch of an earlier run has of each counter.
struct Slice {
    end: u64,
    /// All of them refused, should it come to that.
    counters: PerCounter<Refused>,
}

impl Slice {
    /// Reads on from `start`, where a record begins, and not beyond `this_run`.
    fn read(journal: &Journal, start: u64, this_run: u64) -> Result<Self, FlushError> {
        let mut slice = Self { end: this_run, counters: HashMap::default() };
        journal.scan(start, |record| {
            if record.end > this_run {
                return ControlFlow::Break(());
            }
            for counter in [record.code, &ALL_LINKS] {
                let all = slice.counters.entry(counter.into()).or_default();
                if all.clicks == 0 {
                    all.oldest_s = record.at_s;
                }
                all.last = record.end;
                all.clicks += 1;
            }
            if record.end - start < SLICE_BYTES {
                return ControlFlow::Continue(());
            }
            slice.end = record.end;
            ControlFlow::Break(())
        })?;
        Ok(slice)
    }
}
