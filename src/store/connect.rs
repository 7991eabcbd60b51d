//! How connections to Redis are made: one Redis by TCP, TLS or unix socket, or merlink's own.
//!
//! Every connection has `TCP_NODELAY` and a time-out for connecting and for each answer; nothing waits for a Redis that is away.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use deadpool_redis::{Manager, Pool, PoolConfig, Runtime, Timeouts};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError,
    TlsCertificates, io::tcp::TcpSettings,
};

use super::{DEADLINE, StoreSettingsError};
use crate::config::Config;

/// The socket of merlink's own Redis.
pub fn embedded_socket(config: &Config) -> PathBuf {
    config.data_dir.join("redis").join("redis.sock")
}

/// What single connections are opened with, and the control plane's pool. Opens none.
pub fn connect(config: &Config) -> Result<(Client, Pool), StoreSettingsError> {
    let url_error = |error: RedisError| StoreSettingsError(format!("redis.url: {error}"));
    let info = connection_info(config).map_err(url_error)?;
    let client = match &config.redis.tls_ca_file {
        None => Client::open(info).map_err(url_error)?,
        Some(path) => trusting(info, path)?,
    };
    let pool = pool(client.get_connection_info(), config.redis.pool_size)?;
    Ok((client, pool))
}

fn connection_info(config: &Config) -> Result<ConnectionInfo, RedisError> {
    let info = match &config.redis.url {
        Some(url) => url.as_str().into_connection_info()?,
        None => ConnectionAddr::Unix(embedded_socket(config)).into_connection_info()?,
    };
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// A client that trusts the authorities in this file, and no others.
fn trusting(info: ConnectionInfo, ca_file: &Path) -> Result<Client, StoreSettingsError> {
    let unusable = |reason: String| StoreSettingsError(format!("redis.tls_ca_file: {}: {reason}", ca_file.display()));
    let certificates = fs::read(ca_file).map_err(|error| unusable(error.to_string()))?;
    let tls = TlsCertificates { client_tls: None, root_cert: Some(certificates) };
    Client::build_with_tls(info, tls).map_err(|error| unusable(error.to_string()))
}

/// The control plane's pool. Its own time-outs wait for ever unless set.
fn pool(info: &ConnectionInfo, size: usize) -> Result<Pool, StoreSettingsError> {
    let connection = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(DEADLINE));
    let manager = Manager::new_with_config(info.clone(), connection)
        .map_err(|error| StoreSettingsError(format!("redis.url: {error}")))?;
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
        .map_err(|error| StoreSettingsError(error.to_string()))
}
