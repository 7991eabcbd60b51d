//! One multiplexed connection to Redis that is opened when it is needed and thrown away when it fails.
//!
//! The client's own reconnecting connection keeps one that died without a word: it takes a time-out for the answer's fault, and a login
//! that was refused once for the last word. Here whatever isn't an answer closes the connection, and the next who asks opens another.
//! Opening goes on when its first asker has given up, so that a slow handshake is there for the second.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};

use super::{StoreError, measured};
use crate::metrics::{Metrics, Operation};

const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);

type Opening = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

/// Cheap to clone; all clones share the connection. It belongs to the runtime of whoever asks first.
#[derive(Clone)]
pub struct Wire(Arc<Inner>);

struct Inner {
    client: Client,
    config: AsyncConnectionConfig,
    metrics: Arc<Metrics>,
    deadline: Duration,
    open: Mutex<Option<Open>>,
    opened: AtomicU64,
}

#[derive(Clone)]
struct Open {
    number: u64,
    connection: Opening,
}

impl Wire {
    /// `deadline` is for one exchange, opening included.
    pub fn new(client: Client, metrics: Arc<Metrics>, deadline: Duration) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIME_MAX))
            .set_response_timeout(Some(deadline));
        let (open, opened) = (Mutex::new(None), AtomicU64::new(0));
        Self(Arc::new(Inner { client, config, metrics, deadline, open, opened }))
    }

    /// One exchange, which may be sent twice: when the connection turns out to be dead, it is repeated over a new one within the deadline.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked, or answers what can't be understood.
    pub async fn ask<T>(
        &self,
        operation: Operation,
        exchange: impl AsyncFn(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let mut used = 0;
        let work = async {
            let first = self.try_once(&exchange, &mut used).await;
            match first {
                Err(error) if error.is_connection_dropped() => Ok(self.try_once(&exchange, &mut used).await?),
                result => Ok(result?),
            }
        };
        let result = measured(&self.0.metrics, operation, self.0.deadline, work).await;
        if matches!(result, Err(StoreError::Unavailable(_))) {
            self.discard(used);
        }
        result
    }

    async fn try_once<T>(
        &self,
        exchange: &impl AsyncFn(&mut MultiplexedConnection) -> Result<T, RedisError>,
        used: &mut u64,
    ) -> Result<T, RedisError> {
        let open = self.open();
        *used = open.number;
        let result = async { exchange(&mut open.connection.await?).await }.await;
        if result.as_ref().is_err_and(RedisError::is_connection_dropped) {
            self.discard(*used);
        }
        result
    }

    /// The connection there is, or one that is being opened.
    fn open(&self) -> Open {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get_or_insert_with(|| {
            let (client, config) = (self.0.client.clone(), self.0.config.clone());
            let connection =
                async move { client.get_multiplexed_async_connection_with_config(&config).await }.boxed().shared();
            tokio::spawn(connection.clone());
            Open { number: self.0.opened.fetch_add(1, Ordering::Relaxed) + 1, connection }
        })
        .clone()
    }

    /// Throws a connection away, unless somebody has done so before.
    fn discard(&self, number: u64) {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|open| open.number == number) {
            *open = None;
        }
    }
}
