//! Links in memory: what makes a redirect cost no Redis, and go on without it.
//!
//! A change publishes its code and every instance drops it, normally within 10 ms. Messages can be lost, so an entry is *proven* only while
//! the subscription is alive and was so ever since the entry was checked. An unproven entry is checked with Redis before use, and served as
//! it is when Redis can't be asked, for up to `redirect.serve_stale_for` after it was last proven. A proven entry older than `redirect.revalidate_after` is
//! served, and checked in the background, many at once (`cache/revalidate.rs`).
//!
//! Versions order the changes of one run of Redis alone. A Redis that was restored, or a replica that took over, draws lost versions again, so
//! an entry checked before the subscription began is compared with Redis whatever its version, and Redis' latest answer wins.
//!
//! Concurrent misses of one code make one look-up; a load that a change overtook is not kept; look-ups in flight are bounded, and after some
//! that failed none is tried for a moment, so that a slow Redis costs one citizen its deadline and not all of them. Codes that don't exist are
//! remembered for 3 s, apart, so that a flood of guesses can't push links out.

mod link;
mod revalidate;

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quick_cache::{Weighter, sync::Cache};
use tokio::sync::watch;

use crate::{
    config,
    domain::{Code, LinkState},
    metrics::{CacheResult, Metrics},
    store::{Lane, Resolved, StoreError},
};

pub use link::{CachedLink, Known};
use revalidate::Revalidation;

/// How long a code is remembered not to exist. Its creation drops it at once; this bounds a lost message.
const UNKNOWN_FOR: Duration = Duration::from_secs(3);
/// Some 6 MB at most.
const UNKNOWN_MAX: usize = 65_536;
/// Look-ups under way at once in the process: at 100 µs each, more than Redis can answer.
const FLIGHTS_MAX: usize = 1024;
/// After so many look-ups in a row that failed, none is tried for this long. One alone may have met a hiccup.
const FAILURES_BEFORE_PAUSE: u32 = 5;
const PAUSE_AFTER_FAILURES: Duration = Duration::from_millis(250);
/// Between two lines of the log about damaged data.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// What the cache's own book-keeping takes for an entry: its slot, and its share of a table that is between half and seven eighths full.
const SLOT_BYTES: u64 = 48;
/// For the cache's first allocation, not a bound: a target of 87 bytes and a code of 8.
const TYPICAL_ENTRY_BYTES: u64 = 190;

/// The cache's clock begins here, so that what was checked before the process started has a time too. Three years.
const CLOCK_START_MS: u64 = 3 * 365 * 24 * 60 * 60 * 1000;

/// Past times of proof that are remembered: one more begins only when the subscription died and came back.
const PROOFS_MAX: usize = 100;

/// `proven_since` while the subscription is dead: later than any check.
const NEVER: u64 = u64::MAX;

/// What is known of a code.
#[derive(Clone, Debug)]
pub enum Resolution {
    Found(CachedLink),
    /// It never existed.
    Unknown,
    /// It isn't in memory and Redis can't be asked.
    Unavailable,
    /// It isn't in memory and Redis may not be asked.
    Refused,
}

pub struct LinkCache {
    /// Each by its own code.
    links: Cache<CachedLink, CachedLink, Weigh>,
    /// Until when the code counts as not existing, in ms of [`LinkCache::clock_ms`].
    unknown: Cache<Code, u64>,
    flights: Mutex<HashMap<Code, Flight>>,
    revalidation: Revalidation,
    /// Entries checked at or after this are proven, [`NEVER`] when none is.
    proven_since_ms: AtomicU64,
    /// The times before this one, the latest last.
    past_proofs: RwLock<Vec<RangeInclusive<u64>>>,
    failures: AtomicU32,
    paused_until_ms: AtomicU64,
    report_after_ms: AtomicU64,
    started: Instant,
    serve_stale_for_ms: u64,
    revalidate_after_ms: u64,
    metrics: Arc<Metrics>,
}

/// A look-up under way, for those who wait for it.
#[derive(Clone)]
struct Flight {
    landed: watch::Receiver<Option<Resolution>>,
    /// The latest version that was announced meanwhile; 0 when none was. Also tells flights of one code apart.
    overtaken_by: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Weigh;

impl Weighter<CachedLink, CachedLink> for Weigh {
    fn weight(&self, link: &CachedLink, _: &CachedLink) -> u64 {
        (link.text_bytes() + CachedLink::OVERHEAD_BYTES) as u64 + SLOT_BYTES
    }
}

impl LinkCache {
    pub fn new(settings: &config::Redirect, metrics: Arc<Metrics>) -> Self {
        let typical = usize::try_from(settings.cache_bytes_max / TYPICAL_ENTRY_BYTES).unwrap_or(usize::MAX);
        Self {
            links: Cache::with_weighter(typical, settings.cache_bytes_max, Weigh),
            unknown: Cache::new(UNKNOWN_MAX),
            flights: Mutex::new(HashMap::new()),
            revalidation: Revalidation::default(),
            proven_since_ms: AtomicU64::new(NEVER),
            past_proofs: RwLock::default(),
            failures: AtomicU32::new(0),
            paused_until_ms: AtomicU64::new(0),
            report_after_ms: AtomicU64::new(0),
            started: Instant::now(),
            serve_stale_for_ms: millis(settings.serve_stale_for),
            revalidate_after_ms: millis(settings.revalidate_after),
            metrics,
        }
    }

    /// What `code`, in lower case, leads to, if that is in memory, `enough` to answer with, and Redis needn't or can't be asked: then nobody
    /// waits for anything.
    pub fn recall(&self, code: &str, now: Instant, enough: impl FnOnce(&CachedLink) -> bool) -> Option<CachedLink> {
        let link = self.links.get(code.as_bytes()).filter(|link| enough(link))?;
        let now_ms = self.clock_ms_at(now);
        if self.is_proven(&link) {
            Some(self.hit(link, now_ms))
        } else if !self.is_worth_asking(now_ms) && self.may_be_stale(&link, now_ms) {
            link.note_visit();
            self.metrics.cache_lookup(CacheResult::Stale);
            Some(link)
        } else {
            None
        }
    }

    /// Whether it was true so lately that it is served unproven when Redis can't be asked.
    fn may_be_stale(&self, link: &CachedLink, now_ms: u64) -> bool {
        let is_late = |at_ms: u64| now_ms.saturating_sub(at_ms) <= self.serve_stale_for_ms;
        is_late(link.checked_at_ms()) || is_late(self.true_at_ms(link, now_ms))
    }

    /// When it was last known to be true: as long as changes were told, or else when it was checked.
    fn true_at_ms(&self, link: &CachedLink, now_ms: u64) -> u64 {
        if self.is_proven(link) {
            return now_ms;
        }
        let checked_at_ms = link.checked_at_ms();
        let proofs = self.past_proofs.read().unwrap_or_else(PoisonError::into_inner);
        proofs.iter().find(|proof| proof.contains(&checked_at_ms)).map_or(checked_at_ms, |proof| *proof.end())
    }

    /// Changes to it were told ever since it was checked.
    fn is_proven(&self, link: &CachedLink) -> bool {
        link.checked_at_ms() >= self.proven_since_ms.load(Ordering::Acquire)
    }

    /// A proven link is visited.
    fn hit(&self, link: CachedLink, now_ms: u64) -> CachedLink {
        if now_ms.saturating_sub(link.checked_at_ms()) > self.revalidate_after_ms {
            self.revalidation.soon(&link);
        }
        link.note_visit();
        self.metrics.cache_lookup(CacheResult::Hit);
        link
    }

    /// What `code`, in lower case, leads to. Awaits only when Redis must be asked, and then for its deadline at most. About a code of which
    /// nothing is known it is asked only if it `may_be_asked`.
    pub async fn resolve(&self, code: &str, lane: &Lane, may_be_asked: impl FnOnce() -> bool) -> Resolution {
        let now_ms = self.clock_ms();
        let Some(link) = self.links.get(code.as_bytes()) else {
            return self.resolve_missing(code, lane, now_ms, may_be_asked).await;
        };
        if self.is_proven(&link) {
            return Resolution::Found(self.hit(link, now_ms));
        }
        link.note_visit();
        self.resolve_unproven(code, link, lane, now_ms).await
    }

    async fn resolve_missing(
        &self,
        code: &str,
        lane: &Lane,
        now_ms: u64,
        may_be_asked: impl FnOnce() -> bool,
    ) -> Resolution {
        if self.unknown.get(code).is_some_and(|until_ms| now_ms < until_ms) {
            self.metrics.cache_lookup(CacheResult::Negative);
            return Resolution::Unknown;
        }
        self.metrics.cache_lookup(CacheResult::Miss);
        if self.is_worth_asking(now_ms) && !may_be_asked() {
            return Resolution::Refused;
        }
        self.load(code, lane, now_ms).await
    }

    async fn resolve_unproven(&self, code: &str, link: CachedLink, lane: &Lane, now_ms: u64) -> Resolution {
        match self.load(code, lane, now_ms).await {
            Resolution::Unavailable if self.may_be_stale(&link, now_ms) => {
                self.metrics.cache_lookup(CacheResult::Stale);
                Resolution::Found(link)
            }
            resolution => {
                self.metrics.cache_lookup(CacheResult::Miss);
                resolution
            }
        }
    }

    /// Asks Redis, together with everybody else who asks for the same code now, and keeps the answer.
    async fn load(&self, code: &str, lane: &Lane, now_ms: u64) -> Resolution {
        loop {
            if !self.is_worth_asking(now_ms) {
                return Resolution::Unavailable;
            }
            match self.board(code, now_ms) {
                Boarding::Pilot(takeoff) => {
                    let answer = lane.resolve(code).await;
                    return takeoff.land(answer);
                }
                Boarding::Passenger(mut flight) => {
                    let landed = flight.landed.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone());
                    if let Some(resolution) = landed {
                        return resolution;
                    }
                    // The pilot's visitor hung up before Redis answered: somebody else takes over.
                }
                Boarding::Full => return Resolution::Unavailable,
            }
        }
    }

    /// Whether Redis can be expected to answer.
    fn is_worth_asking(&self, now_ms: u64) -> bool {
        self.is_trusted() && now_ms >= self.paused_until_ms.load(Ordering::Relaxed)
    }

    fn board(&self, code: &str, asked_at_ms: u64) -> Boarding<'_> {
        let mut flights = self.lock_flights();
        // Who comes after a change must not be told what was asked before it: such a flight is left to those who are on it.
        if let Some(flight) = flights.get(code).filter(|flight| flight.overtaken_by.load(Ordering::Relaxed) == 0) {
            return Boarding::Passenger(flight.clone());
        }
        let Some(code) = code.parse::<Code>().ok().filter(|_| flights.len() < FLIGHTS_MAX) else {
            return Boarding::Full;
        };
        let (land, landed) = watch::channel(None);
        let overtaken_by = Arc::new(AtomicU64::new(0));
        flights.insert(code.clone(), Flight { landed, overtaken_by: Arc::clone(&overtaken_by) });
        Boarding::Pilot(Takeoff { cache: self, code, asked_at_ms, land, overtaken_by })
    }

    /// Keeps what Redis said, unless `code` changed meanwhile. Holds the flights' lock, as a change does, so that one of the two comes first.
    fn keep(&self, flight: &Takeoff<'_>, answer: Result<Option<Resolved>, StoreError>) -> Resolution {
        let code = &flight.code;
        let mut flights = self.lock_flights();
        // A flight that another has replaced isn't told of changes any more, so nothing is known of its freshness.
        let replaced = !flights.get(code).is_some_and(|other| Arc::ptr_eq(&other.overtaken_by, &flight.overtaken_by));
        if !replaced {
            flights.remove(code);
        }
        let announced = if replaced { u64::MAX } else { flight.overtaken_by.load(Ordering::Relaxed) };
        if answer.is_ok() {
            self.failures.store(0, Ordering::Relaxed);
        }
        match answer {
            Ok(Some(resolved)) => self.keep_link(code, &resolved, flight.asked_at_ms, announced),
            Ok(None) => {
                if announced == 0 {
                    self.links.remove(code.as_str().as_bytes());
                    self.unknown.insert(code.clone(), flight.asked_at_ms + millis(UNKNOWN_FOR));
                }
                Resolution::Unknown
            }
            Err(error) => {
                match &error {
                    StoreError::Unavailable(_) => self.note_failure(),
                    StoreError::Corrupt(_) => self.report(&error),
                }
                Resolution::Unavailable
            }
        }
    }

    fn note_failure(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_BEFORE_PAUSE {
            self.failures.store(0, Ordering::Relaxed);
            self.paused_until_ms.store(self.clock_ms() + millis(PAUSE_AFTER_FAILURES), Ordering::Relaxed);
        }
    }

    fn keep_link(&self, code: &Code, resolved: &Resolved, asked_at_ms: u64, announced: u64) -> Resolution {
        let Some(link) = CachedLink::new(code, known(resolved), asked_at_ms) else {
            self.report(&StoreError::Corrupt(format!("link:{{{code}}}: a target that can't be sent as a header")));
            return Resolution::Unavailable;
        };
        if link.version() < announced {
            return Resolution::Found(link);
        }
        // The latest answer counts, also when its version is lower: a restored Redis, or a replica that took over, may lack changes and draw
        // their versions again (docs/adr/0011).
        if let Some(known) = self.links.peek(code.as_str().as_bytes()) {
            link.set_visits(known.visits());
        }
        self.unknown.remove(code);
        self.links.insert(link.clone(), link.clone());
        Resolution::Found(link)
    }

    /// Logs damaged data, once a minute at most: each visitor of the link meets it.
    pub fn report(&self, error: &StoreError) {
        let now_ms = self.clock_ms();
        let next_ms = self.report_after_ms.load(Ordering::Relaxed);
        let mine = now_ms >= next_ms
            && (self.report_after_ms)
                .compare_exchange(next_ms, now_ms + millis(REPORT_INTERVAL), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            tracing::error!("{error}");
        }
    }

    /// Forgets what is known of a code, unless that is the change to `version` already or a later one; so too of what is being loaded.
    pub fn forget(&self, code: &str, version: u64) {
        let flights = self.lock_flights();
        if let Some(flight) = flights.get(code) {
            flight.overtaken_by.fetch_max(version, Ordering::Relaxed);
        }
        // A message about a link's creation may come after its first visit: what that one found stays.
        self.links.remove_if(code.as_bytes(), |known| known.version() < version);
        self.unknown.remove(code);
    }

    /// From now on every change is told.
    pub fn trust(&self) {
        self.paused_until_ms.store(0, Ordering::Relaxed);
        // What was asked within this millisecond may have been asked before.
        self.prove_since(self.clock_ms() + 1);
    }

    /// From now on changes may go untold, and Redis isn't worth asking.
    pub fn distrust(&self) {
        self.prove_since(NEVER);
    }

    /// Ends the time of proof that there is, if there is one, and begins the next. Who finds a link unproven waits until it is known since when.
    fn prove_since(&self, since_ms: u64) {
        let mut proofs = self.past_proofs.write().unwrap_or_else(PoisonError::into_inner);
        let (before_ms, now_ms) = (self.proven_since_ms.swap(since_ms, Ordering::AcqRel), self.clock_ms());
        if before_ms > now_ms {
            return;
        }
        proofs.retain(|proof| now_ms.saturating_sub(*proof.end()) <= self.serve_stale_for_ms);
        if proofs.len() == PROOFS_MAX {
            proofs.remove(0);
        }
        proofs.push(before_ms..=now_ms);
    }

    /// Whether changes are being told.
    pub fn is_trusted(&self) -> bool {
        self.proven_since_ms.load(Ordering::Acquire) != NEVER
    }

    /// Takes in a link that was checked `age` ago, unproven, if that isn't too long ago to be served; answers whether it was taken.
    pub fn remember(&self, code: &Code, known: Known<'_>, age: Duration) -> bool {
        let age_ms = millis(age);
        if age_ms > self.serve_stale_for_ms {
            return false;
        }
        let Some(link) = CachedLink::new(code, known, self.clock_ms().saturating_sub(age_ms)) else { return false };
        link.note_visit();
        self.links.insert(link.clone(), link);
        true
    }

    /// The most used links and how long ago each was last known to be true, at most `count`. What was used long ago counts half as much each time.
    pub fn most_used(&self, count: usize) -> Vec<(CachedLink, Duration)> {
        let now_ms = self.clock_ms();
        let mut links: Vec<(u16, CachedLink)> = self
            .links
            .iter()
            .map(|(_, link)| {
                let visits = link.visits();
                link.set_visits(visits / 2);
                (visits, link)
            })
            .collect();
        if links.len() > count {
            links.select_nth_unstable_by(count, |a, b| b.0.cmp(&a.0));
            links.truncate(count);
        }
        let age = |link: &CachedLink| Duration::from_millis(now_ms.saturating_sub(self.true_at_ms(link, now_ms)));
        links.into_iter().map(|(_, link)| (link.clone(), age(&link))).collect()
    }

    /// Brings the gauges up to date: for whoever is about to read them.
    pub fn observe(&self) {
        self.metrics.cache_entries.set(i64::try_from(self.links.len()).unwrap_or(i64::MAX));
        self.metrics.cache_bytes.set(i64::try_from(self.links.weight()).unwrap_or(i64::MAX));
    }

    fn clock_ms(&self) -> u64 {
        self.clock_ms_at(Instant::now())
    }

    fn clock_ms_at(&self, now: Instant) -> u64 {
        CLOCK_START_MS + millis(now.duration_since(self.started))
    }

    fn lock_flights(&self) -> MutexGuard<'_, HashMap<Code, Flight>> {
        // No code under this lock leaves it half done when it panics.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Boarding<'a> {
    /// Nobody is asking: you do.
    Pilot(Takeoff<'a>),
    /// Somebody is: wait for the answer.
    Passenger(Flight),
    /// Too many are asking for other codes.
    Full,
}

/// The duty to land. Dropped without landing, because the visitor hung up, it leaves the flight to the next.
struct Takeoff<'a> {
    cache: &'a LinkCache,
    code: Code,
    asked_at_ms: u64,
    land: watch::Sender<Option<Resolution>>,
    overtaken_by: Arc<AtomicU64>,
}

impl Takeoff<'_> {
    fn land(self, answer: Result<Option<Resolved>, StoreError>) -> Resolution {
        let resolution = self.cache.keep(&self, answer);
        let _ = self.land.send(Some(resolution.clone()));
        resolution
    }
}

impl Drop for Takeoff<'_> {
    fn drop(&mut self) {
        let mut flights = self.cache.lock_flights();
        if flights.get(&self.code).is_some_and(|flight| Arc::ptr_eq(&flight.overtaken_by, &self.overtaken_by)) {
            flights.remove(&self.code);
        }
    }
}

fn known(resolved: &Resolved) -> Known<'_> {
    Known {
        target: resolved.target.as_str(),
        active: resolved.state == LinkState::Active,
        expires_at: resolved.expires_at,
        forward_query: resolved.forward_query,
        version: resolved.version,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
