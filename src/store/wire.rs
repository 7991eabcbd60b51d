//! One multiplexed connection to Redis that is opened when it is needed and thrown away when it fails.
//!
//! The client's own reconnecting connection keeps one that died without a word: it takes a time-out for the answer's fault, and a login
//! that was refused once for the last word. Here whatever isn't an answer closes the connection, and the next who asks opens another.
//! Opening goes on when its first asker has given up, so that what takes longer than anybody waits is there for the second.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, join_all},
};
use redis::{Cmd, RedisError, Value};
use tokio::time::{sleep, timeout};

use super::{
    StoreError,
    connect::{Connector, is_demoted, trouble},
    connection::Connection,
    measured,
};
use crate::metrics::{Metrics, Operation};

/// A Cluster's client mends itself when one node of many dies, and goes on with the others meanwhile. But when all are away it can go round
/// in circles, for as long as they are (redis 1.8.1: with 97 % of a core). So one that failed is replaced too, so long afterwards: at once
/// would be a new connection to each node for each failure. It is used until the new one is open, which takes seconds while a node hangs.
const CLUSTER_KEPT_FOR: Duration = Duration::from_secs(1);

/// For opening a connection, all ways of finding who is to be asked included.
const OPENING_TIME_MAX: Duration = Duration::from_secs(10);

type Opening = Shared<BoxFuture<'static, Result<Connection, RedisError>>>;

/// Cheap to clone; all clones share the connection. It belongs to the runtime of whoever asks first.
#[derive(Clone)]
pub struct Wire(Arc<Inner>);

struct Inner {
    connector: Arc<Connector>,
    metrics: Arc<Metrics>,
    deadline: Duration,
    open: Mutex<Option<Arc<Open>>>,
    opened: AtomicU64,
}

struct Open {
    /// [`Connector::doubts`] before it was opened.
    doubts: u64,
    connection: Opening,
    /// A Cluster's, soon to be replaced.
    doomed: AtomicBool,
}

impl Wire {
    /// `deadline` is for one exchange, opening included.
    pub fn new(connector: Arc<Connector>, metrics: Arc<Metrics>, deadline: Duration) -> Self {
        let (open, opened) = (Mutex::new(None), AtomicU64::new(0));
        Self(Arc::new(Inner { connector, metrics, deadline, open, opened }))
    }

    /// Changes whenever Redis may be another than before: after a failover, or with a new connection.
    pub fn session(&self) -> u64 {
        self.0.opened.load(Ordering::Relaxed) + self.0.connector.doubts()
    }

    /// One exchange, which may be sent twice: when the connection turns out to be dead, or to lead to no primary, it is repeated over a new
    /// one within the deadline.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked, or answers what can't be understood.
    pub async fn ask<T>(
        &self,
        operation: Operation,
        exchange: impl AsyncFn(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let mut used = None;
        let work = async {
            match self.attempt(&exchange, &mut used).await {
                Err(error) if self.is_worth_repeating(&error) => Ok(self.attempt(&exchange, &mut used).await?),
                result => Ok(result?),
            }
        };
        let result = measured(&self.0.metrics, operation, self.0.deadline, work).await;
        self.discard_after(&result, used);
        result
    }

    /// Commands that don't depend on each other, which may be sent twice; an answer for each. One server gets them in one exchange. To a Cluster
    /// each is an exchange with the deadline to itself, so that slots whose servers are away take nothing from the others.
    ///
    /// # Errors
    ///
    /// When none of them can be asked.
    pub async fn ask_each(
        &self,
        operation: Operation,
        commands: Vec<Cmd>,
    ) -> Result<Vec<Result<Value, StoreError>>, StoreError> {
        if self.0.connector.is_cluster() {
            let ask = async |command: &Cmd| self.ask(operation, async |redis| command.query_async(redis).await).await;
            return Ok(join_all(commands.iter().map(ask)).await);
        }
        let answers = self.ask(operation, async |redis| redis.each(commands.clone()).await).await?;
        Ok(answers.into_iter().map(|answer| Ok(answer?)).collect())
    }

    /// One exchange, not repeated here.
    ///
    /// # Errors
    ///
    /// As [`Self::ask`].
    pub async fn ask_once<T>(
        &self,
        operation: Operation,
        exchange: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let mut used = None;
        let work = async { Ok(self.attempt(exchange, &mut used).await?) };
        let result = measured(&self.0.metrics, operation, self.0.deadline, work).await;
        self.discard_after(&result, used);
        result
    }

    async fn attempt<T>(
        &self,
        exchange: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
        used: &mut Option<Arc<Open>>,
    ) -> Result<T, RedisError> {
        let open = used.insert(self.open());
        let result = async {
            let opened = match open.connection.peek() {
                Some(opened) => opened.clone(),
                None => open.connection.clone().await,
            };
            exchange(&mut opened?).await
        }
        .await;
        if let Err(error) = &result {
            self.0.connector.doubt_if_demoted(error);
            if self.is_worth_repeating(error) {
                self.discard(open);
            }
        }
        result
    }

    /// Whether the connection was at fault, and not what was asked nor Redis. A Cluster's client has repeated it by itself.
    fn is_worth_repeating(&self, error: &RedisError) -> bool {
        !self.0.connector.is_cluster() && (error.is_connection_dropped() || is_demoted(error))
    }

    /// The connection there is, or one that is being opened.
    fn open(&self) -> Arc<Open> {
        let doubts = self.0.connector.doubts();
        let mut open = self.lock();
        open.take_if(|open| open.doubts != doubts || matches!(open.connection.peek(), Some(Err(_))));
        open.get_or_insert_with(|| {
            self.0.opened.fetch_add(1, Ordering::Relaxed);
            self.begin_opening(doubts)
        })
        .clone()
    }

    /// Opens another connection, which goes on whether or not anybody waits for it.
    fn begin_opening(&self, doubts: u64) -> Arc<Open> {
        let (connector, deadline) = (Arc::clone(&self.0.connector), self.0.deadline);
        let open = async move {
            let opened = timeout(OPENING_TIME_MAX, connector.open(deadline)).await;
            opened.unwrap_or_else(|_| Err(trouble(format!("no connection within {} s", OPENING_TIME_MAX.as_secs()))))
        };
        let connection = open.boxed().shared();
        tokio::spawn(connection.clone());
        Arc::new(Open { doubts, connection, doomed: AtomicBool::new(false) })
    }

    fn discard_after<T>(&self, result: &Result<T, StoreError>, used: Option<Arc<Open>>) {
        let (Err(StoreError::Unavailable(_)), Some(used)) = (result, used) else { return };
        match used.connection.peek() {
            // It is still being opened.
            None => {}
            Some(Ok(Connection::Cluster(_))) => self.doom(used),
            Some(Ok(Connection::Node(_)) | Err(_)) => self.discard(&used),
        }
    }

    /// Has a Cluster's connection replaced, if that isn't under way.
    fn doom(&self, used: Arc<Open>) {
        if !used.doomed.swap(true, Ordering::Relaxed) {
            tokio::spawn(self.clone().replace(used));
        }
    }

    /// Throws a connection away, unless somebody has done so before.
    fn discard(&self, used: &Arc<Open>) {
        self.lock().take_if(|open| Arc::ptr_eq(open, used));
    }

    /// Puts another in the place of a connection as soon as it is open, or none if it can't be opened.
    async fn replace(self, used: Arc<Open>) {
        sleep(CLUSTER_KEPT_FOR).await;
        let next = self.begin_opening(self.0.connector.doubts());
        let is_open = next.connection.clone().await.is_ok();
        let mut open = self.lock();
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(open, &used)) {
            self.0.opened.fetch_add(1, Ordering::Relaxed);
            *open = is_open.then_some(next);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Open>>> {
        // No code under this lock leaves it half done when it panics.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
