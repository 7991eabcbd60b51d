//! Redis, the system of record: the only place that speaks to it. Typed calls in, domain values out.
//!
//! One logical change is one write command, checked and sent by one script, so that a change without its history can't exist, two
//! officers can't both get a code, and any call may be repeated. Every call has a deadline; an outage is an error, never "not found".
//! What the store doesn't do: decide who may do what, cache links (searches alone have a memory, `outlines.rs`), or retry.

mod accounts;
mod api_keys;
mod bulk;
mod clicks;
mod clock;
mod cluster;
mod connect;
mod connection;
mod embedded;
mod engine;
mod idempotency;
mod index;
mod instances;
mod keys;
mod links;
mod list;
mod logins;
mod officers;
mod outlines;
mod pool;
mod repair;
mod resolve;
mod safety;
mod scan;
mod schema;
mod sentinel;
mod sessions;
mod statistics;
mod subscription;
mod tend;
mod trail;
mod uploads;
mod watch;
mod wire;

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool::managed::PoolError;
use redis::{ErrorKind, RedisError};
use tokio::time::timeout;

use crate::{
    audit::Audit,
    config::Config,
    domain::Email,
    metrics::{Metrics, Operation},
    traces,
};
use connect::Connector;
use connection::Connection;
use engine::Trial;
use pool::Pool;
use wire::Wire;

pub use accounts::Totals;
pub use api_keys::{ENDED_KEPT_FOR, ENDED_KEPT_MAX, FoundKey};
pub use bulk::{BulkCreated, Damaged, LINKS_AT_ONCE, LinkWalk};
pub use clicks::{ALL_LINKS, ClickStore, Counted, Counter, Counts, Stretch};
pub use embedded::{Embedded, EmbeddedError, Phase};
pub use idempotency::{Answer, Begun, Held, Progress, Quota};
pub use index::Settled;
pub use instances::{Claim, Claimant, Retired, Run};
pub use links::{Change, ChangeAttempt, Changed, Created, ListedLink, NewLink, Reach, Revision};
pub use list::{BrowseQuery, Browsed, Candidate, Filter, ListQuery, OrderBy, Page, Place, RankBy, Search, Sort};
pub use logins::{MailTurn, PendingLogin, Proof, Tried};
pub use officers::ListedOfficer;
pub use repair::{Repaired, Step};
pub use resolve::{Described, Lane, Resolved};
pub use safety::{Found, Safety};
pub use sessions::{FoundSession, Session};
pub use trail::LoginFailure;
pub use uploads::{UPLOAD_KEPT_FOR, Upload};
pub use watch::{LinkEvents, watch};

/// For one exchange of the control plane, check-out from the pool included. Redis answers in well under a millisecond;
/// an officer is better told "try again" than kept waiting.
const DEADLINE: Duration = Duration::from_secs(2);

/// Redis can't be asked, or holds what no merlink wrote.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("Redis can't be reached or didn't answer: {0}")]
    Unavailable(String),
    #[error("Redis holds what merlink didn't write: {0}")]
    Corrupt(String),
}

/// The reason while Redis reads its data after a start: it takes connections, and refuses every
/// command that needs data.
const LOADING: &str = "it still reads its data from the disk";
const LOGIN_REFUSED: &str = "it refuses the user or the password in redis.url";

impl StoreError {
    /// True if Redis is there and will answer once it has read its data.
    pub fn is_loading(&self) -> bool {
        matches!(self, Self::Unavailable(reason) if reason == LOADING)
    }

    /// True if Redis is there, and wants another user or password.
    pub fn is_login_refused(&self) -> bool {
        matches!(self, Self::Unavailable(reason) if reason == LOGIN_REFUSED)
    }

    /// A word for it, that traces have.
    fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Corrupt(_) => "corrupt",
        }
    }

    /// The same, with the name of the key that holds what no merlink wrote.
    fn about(self, key: &str) -> Self {
        match self {
            Self::Corrupt(detail) => Self::Corrupt(format!("{key}: {detail}")),
            Self::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

/// `None` for what no merlink wrote, which keeps nobody from the rest. That Redis can't be asked stays an error: it is no absence.
fn unless_damaged<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(StoreError::Corrupt(_)) => Ok(None),
        Err(error @ StoreError::Unavailable(_)) => Err(error),
    }
}

/// Reads what the settings say of Redis, and the files that they name. Connects to nothing.
///
/// # Errors
///
/// When a setting can't be used.
pub fn check_settings(config: &Config) -> Result<(), StoreSettingsError> {
    Connector::new(config).map(drop)
}

/// The settings say of Redis what can't be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreSettingsError(String);

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        if error.code() == Some("LOADING") {
            return Self::Unavailable(LOADING.to_owned());
        }
        let is_login_refused =
            error.kind() == ErrorKind::AuthenticationFailed || matches!(error.code(), Some("WRONGPASS" | "NOAUTH"));
        if is_login_refused {
            return Self::Unavailable(LOGIN_REFUSED.to_owned());
        }
        // What can't be read as what it should be is `Parse` to the client: a version that is no number, a text that isn't UTF-8.
        let misread = matches!(error.kind(), ErrorKind::UnexpectedReturnType | ErrorKind::Parse)
            || error.code() == Some("WRONGTYPE");
        if misread { Self::Corrupt(error.to_string()) } else { Self::Unavailable(error.to_string()) }
    }
}

impl From<PoolError<RedisError>> for StoreError {
    fn from(error: PoolError<RedisError>) -> Self {
        match error {
            // What Redis, or the way to it, says; the pool's own words add nothing.
            PoolError::Backend(error) => error.into(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// Whose change it is: what the history says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// By its id. Whose key that is, the key says.
    ApiKey(String),
    /// An officer in the console.
    Session(Email),
    /// Whoever may run commands where merlink runs.
    Operator,
    /// Somebody whom this merlink doesn't know how to name.
    Unknown,
}

impl Actor {
    /// Short, since each link has it.
    fn to_store(&self) -> String {
        match self {
            Self::ApiKey(id) => format!("k{id}"),
            Self::Session(email) => format!("s{email}"),
            Self::Operator => "o".to_owned(),
            Self::Unknown => String::new(),
        }
    }

    /// The same with a mark, by which a creation that is sent twice knows itself.
    pub fn marked(&self, mark: Option<&str>) -> String {
        match mark {
            Some(mark) => format!("{} {mark}", self.to_store()),
            None => self.to_store(),
        }
    }

    fn from_store(text: &str) -> Self {
        match text.split_at_checked(1) {
            Some(("k", id)) => Self::ApiKey(id.to_owned()),
            Some(("s", email)) => Self::Session(Email::from_store(email.to_owned())),
            Some(("o", "")) => Self::Operator,
            _ => Self::Unknown,
        }
    }
}

/// A handle on Redis for the control plane, the flusher and the watch. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    connector: Arc<Connector>,
    control: Control,
    lookup_timeout: Duration,
    metrics: Arc<Metrics>,
    audit: Arc<Audit>,
    outlines: Arc<outlines::Outlines>,
    key_relations: Arc<api_keys::Relations>,
    /// Set by the watch.
    is_loading: Arc<AtomicBool>,
    clock: Arc<clock::Clock>,
    /// The servers that were tried last, and the result.
    tried: Arc<Mutex<Option<(String, Trial)>>>,
}

/// The control plane's way to Redis.
#[derive(Clone)]
enum Control {
    /// A connection for each exchange, so that a long list holds up nobody else's.
    Pool(Pool),
    /// A Cluster's: each has connections to all nodes, so one is shared.
    Shared(Wire),
}

impl Store {
    /// Prepares the connections that `config` describes; opens none.
    ///
    /// # Errors
    ///
    /// When the address isn't one that the Redis client understands, or a file that the settings name can't be used: the audit file too.
    pub fn new(config: &Config, metrics: Arc<Metrics>) -> Result<Self, StoreSettingsError> {
        let connector = Arc::new(Connector::new(config)?);
        let control = if connector.is_cluster() {
            Control::Shared(Wire::new(Arc::clone(&connector), Arc::clone(&metrics), DEADLINE))
        } else {
            Control::Pool(pool::pool(Arc::clone(&connector), config.redis.pool_size)?)
        };
        let audit =
            Audit::open(config.audit.file.as_deref(), config.audit.disk_reserve_bytes, metrics.audit_counters())
                .map_err(|error| StoreSettingsError(format!("audit.file can't be written: {error}")))?;
        let lookup_timeout = config.redis.lookup_timeout;
        let outlines = Arc::new(outlines::Outlines::new());
        let key_relations = Arc::new(api_keys::Relations::new(api_keys::RELATIONS_MAX));
        Ok(Self {
            connector,
            control,
            lookup_timeout,
            metrics,
            audit: Arc::new(audit),
            outlines,
            key_relations,
            is_loading: Arc::default(),
            clock: Arc::default(),
            tried: Arc::default(),
        })
    }

    /// True if Redis was reading its data when the watch last asked.
    pub fn is_loading(&self) -> bool {
        self.is_loading.load(Ordering::Relaxed)
    }

    /// Where changes are written down, for whoever has to open the file anew.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Where Redis is, without what opens it.
    pub fn place(&self) -> String {
        self.connector.place()
    }

    /// Asks Redis for a sign of life.
    ///
    /// # Errors
    ///
    /// When there is none within the deadline.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.ask(Operation::Ping, async |redis| redis::cmd("PING").query_async(redis).await).await
    }

    /// One exchange of the control plane, timed and bounded, and traced when it is for a request that is.
    async fn ask<T>(
        &self,
        operation: Operation,
        exchange: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let span = traces::exchange(operation);
        let result = self.ask_untraced(operation, exchange).await;
        if let Some(span) = span {
            span.end(result.as_ref().err().map(StoreError::kind));
        }
        result
    }

    async fn ask_untraced<T>(
        &self,
        operation: Operation,
        exchange: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let pool = match &self.control {
            Control::Pool(pool) => pool,
            Control::Shared(wire) => return wire.ask_once(operation, exchange).await,
        };
        let work = async {
            let mut pooled = pool.get().await?;
            let result = exchange(&mut pooled.connection).await;
            Ok(result.inspect_err(|error| self.connector.doubt_if_demoted(error))?)
        };
        measured(&self.metrics, operation, DEADLINE, work).await
    }
}

/// Runs `work` under a deadline and records how long it took, however it ended.
async fn measured<T>(
    metrics: &Metrics,
    operation: Operation,
    deadline: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let started = Instant::now();
    let result = timeout(deadline, work).await;
    metrics.redis_command(operation, started.elapsed());
    result.unwrap_or_else(|_| Err(StoreError::Unavailable(format!("no answer within {} ms", deadline.as_millis()))))
}
