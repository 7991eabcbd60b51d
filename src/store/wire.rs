//! One multiplexed connection to Redis that is opened when it is needed and thrown away when it fails.
//!
//! The client's own reconnecting connection keeps one that died without a word: it takes a time-out for the answer's fault, and a login
//! that was refused once for the last word. Here whatever isn't an answer closes the connection, and the next who asks opens another.
//! Opening goes on when its first asker has given up, so that a slow handshake is there for the second.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use redis::RedisError;
use tokio::time::sleep;

use super::{
    StoreError,
    connect::{Connector, is_demoted},
    connection::Connection,
    measured,
};
use crate::metrics::{Metrics, Operation};

/// A Cluster's client mends itself when one node of many dies, and goes on with the others meanwhile. But when all are away it can go round
/// in circles, for as long as they are (redis 1.8.1: with 97 % of a core). So one that failed is thrown away too, so long afterwards: at once
/// would be a new connection to each node for each failure.
const CLUSTER_KEPT_FOR: Duration = Duration::from_secs(1);

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
    number: u64,
    /// [`Connector::doubts`] before it was opened.
    doubts: u64,
    connection: Opening,
    /// A Cluster's, soon to be thrown away.
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
                self.discard(open.number);
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
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.take_if(|open| open.doubts != doubts);
        open.get_or_insert_with(|| {
            let (connector, deadline) = (Arc::clone(&self.0.connector), self.0.deadline);
            let connection = async move { connector.open(deadline).await }.boxed().shared();
            tokio::spawn(connection.clone());
            let number = self.0.opened.fetch_add(1, Ordering::Relaxed) + 1;
            Arc::new(Open { number, doubts, connection, doomed: AtomicBool::new(false) })
        })
        .clone()
    }

    fn discard_after<T>(&self, result: &Result<T, StoreError>, used: Option<Arc<Open>>) {
        let (Err(StoreError::Unavailable(_)), Some(used)) = (result, used) else { return };
        if !matches!(used.connection.peek(), Some(Ok(Connection::Cluster(_)))) {
            self.discard(used.number);
        } else if !used.doomed.swap(true, Ordering::Relaxed) {
            let wire = self.clone();
            tokio::spawn(async move {
                sleep(CLUSTER_KEPT_FOR).await;
                wire.discard(used.number);
            });
        }
    }

    /// Throws a connection away, unless somebody has done so before.
    fn discard(&self, number: u64) {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.take_if(|open| open.number == number);
    }
}
