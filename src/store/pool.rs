//! The control plane's connections to one Redis, or to the primary that Sentinels name. A Cluster's connection is shared instead.

use std::{sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{self, Metrics, PoolConfig, RecycleError, RecycleResult, Timeouts},
};
use redis::{RedisError, cmd};

use super::{
    DEADLINE, StoreSettingsError,
    connect::{CONNECT_TIME_MAX, Connector},
    connection::Connection,
};

pub type Pool = managed::Pool<Opener>;

/// Opens what is missing, and looks at what is there before it is used again.
pub struct Opener(Arc<Connector>);

pub struct Pooled {
    pub connection: Connection,
    /// [`Connector::doubts`] before it was opened.
    doubts: u64,
}

impl managed::Manager for Opener {
    type Type = Pooled;
    type Error = RedisError;

    async fn create(&self) -> Result<Pooled, RedisError> {
        let doubts = self.0.doubts();
        Ok(Pooled { connection: self.0.open(DEADLINE).await?, doubts })
    }

    async fn recycle(&self, pooled: &mut Pooled, _: &Metrics) -> RecycleResult<RedisError> {
        if pooled.doubts != self.0.doubts() {
            return Err(RecycleError::message("opened before a failover, perhaps"));
        }
        Ok(cmd("PING").exec_async(&mut pooled.connection).await?)
    }
}

/// Its own time-outs wait for ever unless set.
pub fn pool(connector: Arc<Connector>, size: usize) -> Result<Pool, StoreSettingsError> {
    let mut settings = PoolConfig::new(size);
    settings.timeouts =
        Timeouts { wait: Some(DEADLINE), create: Some(CONNECT_TIME_MAX), recycle: Some(Duration::from_millis(500)) };
    Pool::builder(Opener(connector))
        .config(settings)
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| StoreSettingsError(error.to_string()))
}
