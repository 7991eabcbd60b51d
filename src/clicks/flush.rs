//! Bringing the journal to Redis, each record once.
//!
//! Every 100 ms what is new is added up per code and sent: one script call a code, which adds the counts and moves the code's position in
//! one write, unless the position says that they are in already. A lost reply is harmless, since the same stretch sent again is refused and
//! answered with the position. What the counters include is known from Redis alone; this process keeps only, per code, where its last
//! flushed record ends, to notice when Redis stands before it.
//!
//! Redis stands elsewhere than expected in three cases, and one repair serves all: after a restart (an earlier run's last flush may be
//! half in), after a batch of which a part got in, and after Redis went back in time (a failover to a replica that lagged). The code's
//! records behind its position are read from the journal and added. So that they can be, a segment is kept for
//! `clicks.journal_keep` after it was flushed; but new clicks come first when the disk bound is reached.
//!
//! At start, whenever Redis was away or may be another one, and once a minute, the positions of all codes in the kept journal are compared.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    FlushThread, Journal,
    segment::{Record, segment_start},
};
use crate::{
    domain::{Click, statistics},
    metrics::Metrics,
    store::{ClickStore, Counted, Store, StoreError, Stretch},
};

/// A click is in the counters within a second: this, a batch, and room for a slow machine.
const INTERVAL: Duration = Duration::from_millis(100);
/// While Redis is away.
const RETRY: Duration = Duration::from_millis(250);
/// What power loss may cost.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
const VERIFY_INTERVAL: Duration = Duration::from_secs(60);
/// At the most, lost clicks and a Redis that is away are logged this often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Journal bytes in one batch: some 115,000 clicks.
const BATCH_BYTES: u64 = 2 * 1024 * 1024;
/// Rounds of a repair whose positions moved meanwhile, which only a Redis that goes back again and again brings about.
const REPAIRS_MAX: usize = 5;

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
    #[error("Redis' click positions keep moving: is another merlink running with a copy of this data_dir?")]
    Unsettled,
    #[error(
        "Redis has counted clicks beyond the end of this click journal: an older copy of data_dir/journal was put back. Stop merlink, move \
         data_dir/journal away, and start it again; what came since the start would otherwise be taken for counted"
    )]
    Rewound,
}

/// A code's name, or `None` for the counters over all links.
type Counter = Option<Arc<str>>;

pub struct Flusher {
    journal: Arc<Journal>,
    store: ClickStore,
    metrics: Arc<Metrics>,
    settings: Settings,
    calendar: Calendar,
    /// All records before it are in Redis, as far as it has told.
    flushed: u64,
    /// Where the last flushed record of each code in the kept journal ends.
    last: HashMap<Counter, u64>,
    /// When positions were compared, and in which [`ClickStore::session`]. `None`: they must be before the next batch.
    verified: Option<(Instant, u64)>,
    /// What earlier runs left has been read, and then counted.
    earlier_runs_read: bool,
    earlier_runs_counted: bool,
    /// Flushed segments, by the time at which they were.
    kept: VecDeque<(u64, Instant)>,
    lost_logged: u64,
    loss_log: Seldom,
    segment_log: Seldom,
    away_log: Seldom,
    damage_log: Seldom,
    away_since: Option<Instant>,
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
    journal: Arc<Journal>,
    store: &Store,
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
    runtime.block_on(async {
        let store = store.clicks(journal.instance());
        let mut flusher = Flusher::new(journal, store, metrics, settings);
        let mut sync = SyncEverySecond::default();
        while !*stop.borrow() {
            let pause = flusher.step().await;
            sync.step(&flusher.journal);
            let _ = tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await;
        }
        flusher.drain().await;
    });
}

impl Flusher {
    pub fn new(journal: Arc<Journal>, store: ClickStore, metrics: Arc<Metrics>, settings: Settings) -> Self {
        let calendar = Calendar::new(settings.timezone.clone());
        Self {
            flushed: segment_start(journal.end()),
            journal,
            store,
            metrics,
            settings,
            calendar,
            last: HashMap::new(),
            verified: None,
            earlier_runs_read: false,
            earlier_runs_counted: false,
            kept: VecDeque::new(),
            lost_logged: 0,
            loss_log: Seldom::default(),
            segment_log: Seldom::default(),
            away_log: Seldom::default(),
            damage_log: Seldom::default(),
            away_since: None,
        }
    }

    /// Flushes what there is and looks after the segments; answers how long to pause.
    async fn step(&mut self) -> Duration {
        let pause = match self.flush().await {
            Ok(()) => {
                if let Some(since) = self.away_since.take() {
                    tracing::info!("clicks reach Redis again after {} s", since.elapsed().as_secs());
                    self.away_log = Seldom::default();
                }
                INTERVAL
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
        self.look_after_segments();
        self.log_losses();
        pause
    }

    /// The last clicks before the process ends.
    async fn drain(&mut self) {
        let give_up = Instant::now() + FlushThread::DRAIN_MAX;
        loop {
            match self.flush().await {
                Ok(()) if self.flushed >= self.journal.end() => break,
                Ok(()) => {}
                Err(error) if Instant::now() >= give_up => {
                    tracing::warn!("clicks stay in the journal until the next start: {error}");
                    break;
                }
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
        if self.flushed >= self.journal.end() {
            tracing::info!("all clicks are in Redis");
        }
        if let Err(error) = self.journal.sync() {
            tracing::error!("the click journal can't be synced: {error}");
        }
    }

    /// Brings everything that the journal has at this moment to Redis.
    pub async fn flush(&mut self) -> Result<(), FlushError> {
        if !self.earlier_runs_read {
            self.read_earlier_runs()?;
            self.earlier_runs_read = true;
        }
        let session = self.store.session();
        if self.verified.is_none_or(|(at, with)| with != session || at.elapsed() >= VERIFY_INTERVAL) {
            self.verify().await?;
            self.verified = Some((Instant::now(), session));
        }
        let end = self.journal.end();
        while self.flushed < end {
            let started = Instant::now();
            let batch = Batch::read(&self.journal, &mut self.calendar, self.flushed)?;
            self.settings.oldest_pending.set(batch.oldest_s);
            if batch.clicks == 0 {
                self.flushed = end;
                break;
            }
            self.send(&batch).await?;
            self.flushed = batch.end;
            self.metrics.clicks.flushed.inc_by(batch.clicks);
            self.metrics.click_flush_duration.observe(started.elapsed().as_secs_f64());
        }
        self.settings.oldest_pending.set(0);
        Ok(())
    }

    /// Learns from what earlier runs left which codes it has and where their last records end. Whether Redis has them, [`Self::verify`] asks.
    fn read_earlier_runs(&mut self) -> Result<(), FlushError> {
        let this_run = self.flushed;
        let last = &mut self.last;
        self.journal.scan(self.journal.start(), |record| {
            if record.end > this_run {
                return ControlFlow::Break(());
            }
            note(last, record);
            ControlFlow::Continue(())
        })?;
        Ok(())
    }

    /// Compares where Redis stands with where it should, for every code in the kept journal, and adds what it lacks.
    async fn verify(&mut self) -> Result<(), FlushError> {
        let counters: Vec<Counter> = self.last.keys().cloned().collect();
        let positions = self.store.positions(&counters).await?;
        let end = self.journal.end();
        if positions.iter().flatten().any(|position| *position > end) {
            return Err(FlushError::Rewound);
        }
        let positions = self.leave_out_damaged(counters.into_iter().zip(positions));
        let behind: HashMap<Counter, u64> =
            positions.into_iter().filter(|(counter, position)| *position < self.last[counter]).collect();
        let repaired = if behind.is_empty() { 0 } else { self.repair(behind, self.flushed).await? };
        if !self.earlier_runs_counted {
            self.earlier_runs_counted = true;
            // What an earlier run recorded and didn't flush is this run's work: recorded = flushed + pending + lost.
            self.metrics.clicks.recorded.inc_by(repaired);
            self.metrics.clicks.flushed.inc_by(repaired);
            if repaired > 0 {
                tracing::info!("counted {repaired} clicks that an earlier run left in the journal");
            }
        } else if repaired > 0 {
            self.report_reapplied(repaired);
        }
        Ok(())
    }

    fn report_reapplied(&self, clicks: u64) {
        self.metrics.clicks_reapplied.inc_by(clicks);
        tracing::warn!("Redis had gone back in time: applied {clicks} clicks again");
    }

    /// Sends a batch, and mends the codes whose counters don't stand where it begins.
    async fn send(&mut self, batch: &Batch) -> Result<(), FlushError> {
        let stretches: Vec<Stretch> = batch
            .tallies
            .iter()
            .map(|(counter, tally)| Stretch {
                code: counter.clone(),
                after: self.last.get(counter).copied().unwrap_or(0),
                before: batch.start,
                position: batch.end,
                counts: tally.counts(),
            })
            .collect();
        let positions = self.store.apply(&stretches).await?;
        let stands = self.leave_out_damaged(stretches.into_iter().map(|stretch| stretch.code).zip(positions));
        let elsewhere: HashMap<Counter, u64> =
            stands.into_iter().filter(|(_, position)| *position != batch.end).collect();
        if !elsewhere.is_empty() {
            let again = self.repair(elsewhere, batch.end).await?;
            if again > 0 {
                self.report_reapplied(again);
            }
        }
        for (counter, tally) in &batch.tallies {
            self.last.insert(counter.clone(), tally.last);
        }
        Ok(())
    }

    /// The counters that stand somewhere. Those that don't are damaged: they are said, and the others go on. When somebody has mended or
    /// removed them, the next comparison adds what the kept journal has.
    fn leave_out_damaged(&mut self, stands: impl Iterator<Item = (Counter, Option<u64>)>) -> Vec<(Counter, u64)> {
        let mut whole = Vec::new();
        for (counter, position) in stands {
            match position {
                Some(position) => whole.push((counter, position)),
                None if self.damage_log.may_log() => {
                    let code = counter.as_deref().unwrap_or("*");
                    tracing::error!(
                        "Redis holds what merlink didn't write: clicks:{{{code}}}: its clicks aren't counted"
                    );
                }
                None => {}
            }
        }
        whole
    }

    /// Adds to each code what the journal has of it between its position and `up_to`; answers how many clicks of those had been flushed
    /// before.
    async fn repair(&mut self, mut positions: HashMap<Counter, u64>, up_to: u64) -> Result<u64, FlushError> {
        let mut again = 0;
        for _ in 0..REPAIRS_MAX {
            let (stretches, clicks) = self.read_behind(&positions, up_to)?;
            let stands = self.store.apply(&stretches).await?;
            let all = stretches.len();
            let stands = self.leave_out_damaged(stretches.into_iter().map(|stretch| stretch.code).zip(stands));
            // With damaged ones among them it isn't known how many were added: better none said than too many, minute by minute.
            again += if stands.len() == all { clicks } else { 0 };
            positions = stands.into_iter().filter(|(_, position)| *position != up_to).collect();
            if positions.is_empty() {
                return Ok(again);
            }
        }
        Err(FlushError::Unsettled)
    }

    /// What the journal has of each code behind its position and up to `up_to`, and how many clicks of those had been flushed before: each
    /// once, though it counts for its code and for all links.
    fn read_behind(
        &mut self,
        positions: &HashMap<Counter, u64>,
        up_to: u64,
    ) -> Result<(Vec<Stretch>, u64), FlushError> {
        let mut tallies: HashMap<Counter, Tally> = HashMap::new();
        let (mut for_codes, mut for_all) = (0, 0);
        let first = positions.values().copied().min().unwrap_or(up_to);
        let (calendar, flushed) = (&mut self.calendar, self.flushed);
        self.journal.scan(segment_start(first), |record| {
            if record.end > up_to {
                return ControlFlow::Break(());
            }
            let code: Counter = Some(record.code.into());
            for (counter, clicks) in [(code, &mut for_codes), (None, &mut for_all)] {
                if positions.get(&counter).is_some_and(|position| record.end > *position) {
                    *clicks += u64::from(record.end <= flushed);
                    tallies.entry(counter).or_default().add(record, calendar);
                }
            }
            ControlFlow::Continue(())
        })?;
        let stretches = tallies
            .into_iter()
            .map(|(counter, tally)| {
                let position = positions[&counter];
                Stretch { code: counter, after: position, before: position, position: up_to, counts: tally.counts() }
            })
            .collect();
        Ok((stretches, for_codes.max(for_all)))
    }

    /// Makes the next segment ahead, and removes those that were flushed long enough ago, or whose room is needed for new clicks.
    fn look_after_segments(&mut self) {
        // Only then is it certain that what lies before `flushed` is in Redis, or was.
        if self.earlier_runs_counted {
            let newest = self.kept.back().map(|(base, _)| *base);
            for base in self.journal.segments_before(self.flushed) {
                if newest.is_none_or(|newest| base > newest) {
                    self.kept.push_back((base, Instant::now()));
                }
            }
            while let Some((base, flushed_at)) = self.kept.front().copied() {
                if flushed_at.elapsed() < self.settings.keep && !self.journal.is_full() {
                    break;
                }
                if let Err(error) = self.journal.remove(base) {
                    if self.segment_log.may_log() {
                        tracing::warn!("a flushed segment of the click journal can't be removed: {error}");
                    }
                    break;
                }
                self.kept.pop_front();
                let start = self.journal.start();
                self.last.retain(|_, last| *last > start);
            }
        }
        self.journal.close_older_than(self.settings.keep);
        self.journal.prepare();
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

/// Syncs in a thread of the runtime's pool, one at a time: a slow disk must not keep clicks from Redis.
#[derive(Default)]
struct SyncEverySecond {
    running: Option<JoinHandle<()>>,
    started_at: Option<Instant>,
}

impl SyncEverySecond {
    fn step(&mut self, journal: &Arc<Journal>) {
        let due = self.started_at.is_none_or(|at| at.elapsed() >= SYNC_INTERVAL);
        let idle = self.running.as_ref().is_none_or(JoinHandle::is_finished);
        if due && idle {
            let journal = Arc::clone(journal);
            self.started_at = Some(Instant::now());
            self.running = Some(tokio::task::spawn_blocking(move || {
                if let Err(error) = journal.sync() {
                    tracing::error!("the click journal can't be synced: {error}");
                }
            }));
        }
    }
}

/// A stretch of the journal, added up.
struct Batch {
    start: u64,
    end: u64,
    clicks: u64,
    oldest_s: u32,
    tallies: HashMap<Counter, Tally>,
}

impl Batch {
    fn read(journal: &Journal, calendar: &mut Calendar, start: u64) -> Result<Self, FlushError> {
        let mut batch = Self { start, end: start, clicks: 0, oldest_s: 0, tallies: HashMap::new() };
        journal.scan(start, |record| {
            if batch.clicks == 0 {
                batch.oldest_s = record.at_s;
            }
            batch.end = record.end;
            batch.clicks += 1;
            batch.tallies.entry(Some(record.code.into())).or_default().add(record, calendar);
            batch.tallies.entry(None).or_default().add(record, calendar);
            if record.end - start < BATCH_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(batch)
    }
}

/// What some clicks of one code add up to.
#[derive(Default)]
struct Tally {
    /// Where the last of them ends.
    last: u64,
    counts: BTreeMap<Counted, u64>,
}

impl Tally {
    fn add(&mut self, record: Record<'_>, calendar: &mut Calendar) {
        self.last = record.end;
        let mut count = |counted| *self.counts.entry(counted).or_default() += 1;
        count(Counted::Class(record.click));
        match record.click {
            Click::Person(_) => {
                let (day, hour) = calendar.locate(record.at_s);
                count(Counted::Total);
                count(Counted::Day(day));
                count(Counted::HourOfWeek(hour));
            }
            Click::Bot | Click::Prefetch => {}
        }
    }

    fn counts(&self) -> Vec<(Counted, u64)> {
        self.counts.iter().map(|(counted, clicks)| (*counted, *clicks)).collect()
    }
}

/// Days and hours in the counting time zone. Every zone's offset is a multiple of a quarter of an hour, so one answer serves for that long.
struct Calendar {
    timezone: TimeZone,
    quarter: u32,
    located: (i32, u8),
}

impl Calendar {
    const QUARTER_S: u32 = 15 * 60;

    fn new(timezone: TimeZone) -> Self {
        let mut calendar = Self { timezone, quarter: 0, located: (0, 0) };
        calendar.located = calendar.compute(0);
        calendar
    }

    /// The day since 1970-01-01 and the hour of the week, 0 = Sunday's first.
    fn locate(&mut self, at_s: u32) -> (i32, u8) {
        let quarter = at_s / Self::QUARTER_S;
        if quarter != self.quarter {
            self.quarter = quarter;
            self.located = self.compute(at_s);
        }
        self.located
    }

    fn compute(&self, at_s: u32) -> (i32, u8) {
        let instant = Timestamp::from_second(i64::from(at_s)).expect("32 bits of seconds end in 2106");
        let local = self.timezone.to_datetime(instant);
        let day = statistics::number(local.date());
        let unsigned = |small: i8| u8::try_from(small).expect("0 to 6, and 0 to 23");
        (day, unsigned(local.weekday().to_sunday_zero_offset()) * 24 + unsigned(local.hour()))
    }
}

fn note(last: &mut HashMap<Counter, u64>, record: Record<'_>) {
    last.insert(Some(record.code.into()), record.end);
    last.insert(None, record.end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::Date;

    fn at(text: &str) -> u32 {
        u32::try_from(text.parse::<Timestamp>().expect("a time").as_second()).expect("32 bits")
    }

    fn calendar(zone: &str) -> Calendar {
        Calendar::new(TimeZone::get(zone).expect("a zone"))
    }

    #[test]
    fn clicks_count_for_the_day_and_hour_of_the_counting_time_zone() {
        let mut singapore = calendar("Asia/Singapore");
        // Monday, 23 November 2026, 00:30 there: still Sunday in UTC.
        assert_eq!(singapore.locate(at("2026-11-22T16:30:00Z")), (20_780, 24));
        assert_eq!(singapore.locate(at("2026-11-22T15:59:59Z")), (20_779, 23));
        assert_eq!(calendar("UTC").locate(at("1970-01-01T00:00:00Z")), (0, 4 * 24));
    }

    /// What a wall clock in `zone` shows: the day, the weekday (0 = Sunday) and the hour.
    fn shown(zone: &str, time: &str) -> (Date, u8, u8) {
        let (day, hour_of_week) = calendar(zone).locate(at(time));
        let date = Date::constant(1970, 1, 1) + jiff::Span::new().days(day);
        (date, hour_of_week / 24, hour_of_week % 24)
    }

    #[test]
    fn daylight_saving_time_and_half_hour_zones_are_right() {
        for (zone, time, date, weekday, hour) in [
            // On Sunday, 29 March 2026, London's 01:00 became 02:00: that day has no clicks between.
            ("Europe/London", "2026-03-28T23:59:59Z", (2026, 3, 28), 6, 23),
            ("Europe/London", "2026-03-29T00:00:00Z", (2026, 3, 29), 0, 0),
            ("Europe/London", "2026-03-29T00:59:59Z", (2026, 3, 29), 0, 0),
            ("Europe/London", "2026-03-29T01:00:00Z", (2026, 3, 29), 0, 2),
            // In summer its midnight is 23:00 in UTC.
            ("Europe/London", "2026-07-01T22:59:59Z", (2026, 7, 1), 3, 23),
            ("Europe/London", "2026-07-01T23:00:00Z", (2026, 7, 2), 4, 0),
            // On Sunday, 25 October 2026, 02:00 became 01:00: two hours count as one.
            ("Europe/London", "2026-10-25T00:59:59Z", (2026, 10, 25), 0, 1),
            ("Europe/London", "2026-10-25T01:00:00Z", (2026, 10, 25), 0, 1),
            ("Europe/London", "2026-10-25T02:00:00Z", (2026, 10, 25), 0, 2),
            ("Europe/London", "2026-10-25T23:59:59Z", (2026, 10, 25), 0, 23),
            ("Europe/London", "2026-10-26T00:00:00Z", (2026, 10, 26), 1, 0),
            // St. John's is three and a half hours behind UTC, and two and a half from 8 March to 1 November 2026.
            ("America/St_Johns", "2026-03-08T03:29:59Z", (2026, 3, 7), 6, 23),
            ("America/St_Johns", "2026-03-08T03:30:00Z", (2026, 3, 8), 0, 0),
            ("America/St_Johns", "2026-03-08T05:29:59Z", (2026, 3, 8), 0, 1),
            ("America/St_Johns", "2026-03-08T05:30:00Z", (2026, 3, 8), 0, 3),
            ("America/St_Johns", "2026-07-01T02:29:59Z", (2026, 6, 30), 2, 23),
            ("America/St_Johns", "2026-07-01T02:30:00Z", (2026, 7, 1), 3, 0),
            ("America/St_Johns", "2026-11-01T04:29:59Z", (2026, 11, 1), 0, 1),
            ("America/St_Johns", "2026-11-01T04:30:00Z", (2026, 11, 1), 0, 1),
            ("America/St_Johns", "2026-11-01T05:30:00Z", (2026, 11, 1), 0, 2),
            ("America/St_Johns", "2026-11-02T03:29:59Z", (2026, 11, 1), 0, 23),
            ("America/St_Johns", "2026-11-02T03:30:00Z", (2026, 11, 2), 1, 0),
        ] {
            let (year, month, day) = date;
            assert_eq!(shown(zone, time), (Date::constant(year, month, day), weekday, hour), "{time} in {zone}");
        }
    }

    #[test]
    fn a_calendar_that_was_asked_before_answers_as_a_new_one() {
        for zone in ["Europe/London", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"] {
            let mut kept = calendar(zone);
            // All of 2026, at odd minutes, so that quarters are left and met again at every second of them.
            for at_s in (at("2026-01-01T00:00:00Z")..at("2027-01-01T00:00:00Z")).step_by(431) {
                assert_eq!(kept.locate(at_s), kept.compute(at_s), "{at_s} in {zone}");
            }
        }
    }

    #[test]
    fn bots_and_prefetches_are_counted_apart() {
        let mut utc = calendar("UTC");
        let mut tally = Tally::default();
        for (end, click) in (1..).zip(Click::ALL) {
            tally.add(Record { end, code: "abc", click, at_s: 0 }, &mut utc);
        }
        let counts: BTreeMap<Counted, u64> = tally.counts().into_iter().collect();
        assert_eq!(tally.last, 6);
        assert_eq!(counts[&Counted::Total], 4);
        assert_eq!(counts[&Counted::Day(0)], 4);
        assert_eq!(counts[&Counted::Class(Click::Bot)], 1);
        assert_eq!(counts[&Counted::Class(Click::Prefetch)], 1);
    }
}
