//! What all handlers share.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, OnceCell, Semaphore};

use crate::{
    admission::Admission,
    cache::LinkCache,
    clicks::Clicks,
    config::Config,
    console,
    domain::{Code, KnownBrowserId, Link, ServiceKey},
    languages::Language,
    limits::{ApiLimits, PerMinute, PerNetwork},
    mail::Mailer,
    metrics::Metrics,
    rankings::Rankings,
    redirect::{
        deny::DenyList,
        fixed::FixedPages,
        gone::GonePages,
        pages::{Frame, Look},
    },
    site::Site,
    store::{LinkEvents, Store, StoreError, Totals},
    targets::Targets,
    traces::Traces,
};

/// How long the landing page's totals are shown before they are counted again, at the least.
const TOTALS_FOR: Duration = Duration::from_secs(10);
/// Counting takes longer with each link: it may take this part of the time.
const TOTALS_TIME_SHARE: u32 = 100;

/// A hundred a second is plenty for the typing errors of an office behind one address, and nothing to Redis.
const LOOKUPS_FOR_GUESSERS_PER_MINUTE: u32 = 6_000;
const LOOKUPS_FOR_GUESSERS_AT_ONCE: u32 = 100;

/// Each takes some 400 bytes of Redis for an hour: 29 MB at this rate. Beyond it a flood could find out who gets no mail, at the price of ten mails
/// to whoever does.
const UNSENT_MAILS_PER_MINUTE: u32 = 1_200;

/// Each keeps one connection to Redis busy for a second.
const DIRECTORY_SEARCHES_AT_ONCE: usize = 2;

pub struct App {
    pub config: Config,
    pub metrics: Arc<Metrics>,
    pub store: Store,
    pub cache: Arc<LinkCache>,
    pub clicks: Clicks,
    pub denied: Arc<DenyList>,
    pub targets: Arc<Targets>,
    pub site: Site,
    pub look: Look,
    pub console_style: console::assets::Style,
    pub pages: FixedPages,
    pub gone_pages: GonePages,
    /// Places for what officers ask.
    pub admission: Admission,
    pub api_requests: ApiLimits,
    /// Visits of unknown codes by visitor. `None`: unlimited.
    pub misses: Option<PerMinute<IpAddr>>,
    /// Look-ups for all visitors together who are beyond that.
    pub lookups_for_guessers: PerMinute<()>,
    pub rankings: Arc<Rankings>,
    /// Logins by client address and network. `None`: unlimited.
    pub logins: Option<PerNetwork>,
    /// Logins by browsers in which the officer has logged in before. `None`: unlimited.
    pub known_logins: Option<PerMinute<KnownBrowserId>>,
    /// Mails that are counted although they aren't sent, so that no answer tells whether they are.
    pub unsent_mails: PerMinute<()>,
    service_key: OnceCell<ServiceKey>,
    pub mailer: Mailer,
    /// `None`: no traces are wanted.
    pub traces: Option<Traces>,
    /// Searches for words in everybody's links, of which few run at once.
    pub directory_searches: Semaphore,
    totals: Mutex<Counted>,
    stopping: AtomicBool,
    redis_is_refused: AtomicBool,
}

/// The totals as they were last counted, and when they are to be counted again.
#[derive(Default)]
struct Counted {
    due_at: Option<Instant>,
    totals: Option<Totals>,
}

impl App {
    pub fn new(
        config: Config,
        site: Site,
        metrics: Arc<Metrics>,
        store: Store,
        clicks: Clicks,
        mailer: Mailer,
        traces: Option<Traces>,
    ) -> Self {
        let look = Look::new(&site);
        Self {
            cache: Arc::new(LinkCache::new(&config.redirect, Arc::clone(&metrics))),
            denied: Arc::default(),
            targets: Arc::new(Targets::new(&config)),
            pages: FixedPages::new(&site, &look),
            gone_pages: GonePages::default(),
            look,
            console_style: console::assets::Style::new(&site),
            site,
            admission: Admission::new(&config.overload, &metrics),
            api_requests: ApiLimits::new(config.limits.api_per_minute, config.limits.officer_per_minute),
            misses: PerMinute::new(config.limits.misses_per_minute),
            lookups_for_guessers: PerMinute::in_bursts(LOOKUPS_FOR_GUESSERS_PER_MINUTE, LOOKUPS_FOR_GUESSERS_AT_ONCE),
            rankings: Arc::default(),
            logins: PerNetwork::new(config.limits.logins_per_minute),
            known_logins: PerMinute::new(config.limits.logins_per_minute),
            unsent_mails: PerMinute::in_bursts(UNSENT_MAILS_PER_MINUTE, UNSENT_MAILS_PER_MINUTE),
            service_key: OnceCell::new(),
            mailer,
            traces,
            directory_searches: Semaphore::new(DIRECTORY_SEARCHES_AT_ONCE),
            totals: Mutex::default(),
            stopping: AtomicBool::new(false),
            redis_is_refused: AtomicBool::new(false),
            config,
            metrics,
            store,
            clicks,
        }
    }

    /// The key that signs known browsers' tickets, read from Redis once.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn service_key(&self) -> Result<&ServiceKey, StoreError> {
        self.service_key.get_or_try_init(|| self.store.service_key()).await
    }

    /// A link as it is printed.
    pub fn short_url(&self, code: &str) -> String {
        format!("{}/{code}", self.config.public.base_url.as_str())
    }

    /// What a citizens' page is drawn with. Links to other languages take `query` along.
    pub fn frame<'a>(&'a self, words: &'a Language, query: &'a str) -> Frame<'a> {
        Frame { site: &self.site, look: &self.look, words, query }
    }

    /// Notes that this process created or changed a link. The message to all nodes comes back to this one too, but the answer to the officer
    /// may be faster.
    pub fn link_changed(&self, link: &Link) {
        self.cache.forget(link.code.as_str(), link.version);
        self.rankings.link_changed_here(Some(&link.owner));
    }

    /// Notes that this process may have changed a link: the answer of the store was lost.
    pub fn link_may_have_changed(&self, code: &Code) {
        self.cache.forget(code.as_str(), u64::MAX);
        self.rankings.link_changed_here(None);
    }

    /// Says that the process is about to end: from now on it isn't ready.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Records whether Redis has a fault that would keep this node from starting.
    pub fn refuse_redis(&self, is_refused: bool) {
        self.redis_is_refused.store(is_refused, Ordering::Relaxed);
    }

    pub fn is_redis_refused(&self) -> bool {
        self.redis_is_refused.load(Ordering::Relaxed)
    }

    /// The totals, ten seconds old, or some more when there are millions of links; older ones, or none, while Redis is away. Many visitors make one count.
    pub async fn totals(&self) -> Option<Totals> {
        let mut counted = self.totals.lock().await;
        let started = Instant::now();
        if counted.due_at.is_none_or(|at| at <= started) && self.cache.is_trusted() {
            match self.store.totals().await {
                Ok(totals) => counted.totals = Some(totals),
                Err(error) => tracing::debug!("totals can't be counted: {error}"),
            }
            counted.due_at = Some(Instant::now() + TOTALS_FOR.max(started.elapsed() * TOTALS_TIME_SHARE));
        }
        counted.totals
    }
}

/// Keeps what is in memory in step with the store.
pub struct CacheEvents {
    pub cache: Arc<LinkCache>,
    pub rankings: Arc<Rankings>,
    pub metrics: Arc<Metrics>,
}

impl LinkEvents for CacheEvents {
    fn connected(&self) {
        self.metrics.redis_up.set(1);
        self.cache.trust();
        self.rankings.told(true);
        tracing::info!("Redis answers");
    }

    fn changed(&self, code: &str, version: u64) {
        self.cache.forget(code, version);
        self.rankings.link_changed();
    }

    fn disconnected(&self, reason: &StoreError) {
        self.metrics.redis_up.set(0);
        self.cache.distrust();
        self.rankings.told(false);
        if reason.is_loading() {
            tracing::info!("Redis reads its data; links in memory redirect meanwhile");
        } else {
            tracing::warn!("Redis is away; links in memory go on redirecting: {reason}");
        }
    }
}
