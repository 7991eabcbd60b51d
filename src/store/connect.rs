//! How connections to Redis are made: one Redis by TCP, TLS or unix socket, or merlink's own.
//!
//! Every connection has `TCP_NODELAY` and a time-out for connecting and for each answer; nothing waits for a Redis that is away.

use std::{path::PathBuf, time::Duration};

use deadpool_redis::{Manager, Pool, PoolConfig, Runtime, Timeouts};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, aio::ConnectionManagerConfig,
    io::tcp::TcpSettings,
};

use super::{DEADLINE, StoreError};
use crate::config::Config;

/// The socket of merlink's own Redis.
pub fn embedded_socket(config: &Config) -> PathBuf {
    config.data_dir.join("redis").join("redis.sock")
}

pub fn connection_info(config: &Config) -> Result<ConnectionInfo, StoreError> {
    let info = match &config.redis.url {
        Some(url) => url.as_str().into_connection_info()?,
        None => ConnectionAddr::Unix(embedded_socket(config)).into_connection_info()?,
    };
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// The control plane's pool. Its own time-outs wait for ever unless set.
pub fn pool(info: &ConnectionInfo, size: usize) -> Result<Pool, StoreError> {
    let connection = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(DEADLINE));
    let manager = Manager::new_with_config(info.clone(), connection)?;
    let mut settings = PoolConfig::new(size);
    settings.timeouts = Timeouts {
        wait: Some(DEADLINE),
        create: Some(Duration::from_secs(1)),
        recycle: Some(Duration::from_millis(500)),
    };
    Pool::builder(manager)
        .config(settings)
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

/// For a connection that reopens itself: a failed command starts one new attempt, the next command waits for that one, and nobody
/// retries behind the caller's back.
pub fn manager(response_timeout: Duration) -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(response_timeout))
}
