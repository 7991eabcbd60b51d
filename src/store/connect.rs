//! How connections to Redis are made: to one Redis by TCP, TLS or unix socket, merlink's own among them; to the primary that Sentinels
//! name; or to a Cluster.
//!
//! Every connection has `TCP_NODELAY` and a time-out for connecting and for each answer; nothing waits for a Redis that is away.

use std::{
    fs, io,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    RedisError, ServerErrorKind, TlsCertificates, io::tcp::TcpSettings,
};

use super::{
    StoreSettingsError,
    cluster::Cluster,
    connection::Connection,
    sentinel::Sentinels,
    subscription::{Hear, Subscription},
};
use crate::config::{Config, RedisUrl};

pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);

/// The socket of merlink's own Redis.
pub fn embedded_socket(config: &Config) -> PathBuf {
    config.data_dir.join("redis").join("redis.sock")
}

/// Opens connections, each time to whoever is primary then.
pub struct Connector {
    kind: Kind,
    doubts: AtomicU64,
}

enum Kind {
    One(Client),
    Sentinel(Sentinels),
    Cluster(Cluster),
}

impl Connector {
    /// Opens nothing.
    ///
    /// # Errors
    ///
    /// When the address isn't one that the Redis client understands, or a file that the settings name can't be used.
    pub fn new(config: &Config) -> Result<Self, StoreSettingsError> {
        let trust = Trust::read(config)?;
        let url_error = |error: RedisError| StoreSettingsError(format!("redis.url: {error}"));
        let kind = match &config.redis.url {
            None => Kind::One(trust.client(ConnectionAddr::Unix(embedded_socket(config))).map_err(url_error)?),
            Some(RedisUrl::One(url)) => Kind::One(trust.client(url.as_str()).map_err(url_error)?),
            Some(RedisUrl::Sentinel { sentinels, service }) => {
                Kind::Sentinel(Sentinels::new(sentinels.clone(), service.clone(), trust).map_err(url_error)?)
            }
            Some(RedisUrl::Cluster(hosts)) => Kind::Cluster(Cluster::new(hosts, trust).map_err(url_error)?),
        };
        Ok(Self { kind, doubts: AtomicU64::new(0) })
    }

    /// Where Redis is, without what opens it.
    pub fn place(&self) -> String {
        match &self.kind {
            Kind::One(client) => client.get_connection_info().addr().to_string(),
            Kind::Sentinel(sentinels) => sentinels.to_string(),
            Kind::Cluster(cluster) => cluster.to_string(),
        }
    }

    /// Then a command may be sent twice without its caller's knowing: a Cluster's client repeats what got no answer.
    pub fn is_cluster(&self) -> bool {
        match &self.kind {
            Kind::One(_) | Kind::Sentinel(_) => false,
            Kind::Cluster(_) => true,
        }
    }

    /// Opens a connection whose answers come within `response_time_max` or fail. Boxed: TLS takes some 15 kB, and most callers find a
    /// connection open.
    pub fn open(&self, response_time_max: Duration) -> BoxFuture<'_, Result<Connection, RedisError>> {
        let limits = limits(response_time_max);
        match &self.kind {
            Kind::One(client) => {
                async move { Ok(Connection::Node(client.get_multiplexed_async_connection_with_config(&limits).await?)) }
                    .boxed()
            }
            Kind::Sentinel(sentinels) => {
                async move { Ok(Connection::Node(sentinels.open(ProtocolVersion::RESP2, &limits).await?.connection)) }
                    .boxed()
            }
            Kind::Cluster(cluster) => {
                async move { Ok(Connection::Cluster(cluster.open(response_time_max).await?)) }.boxed()
            }
        }
    }

    /// Subscribes to `channel`; `hear` gets each message as it is read.
    pub fn subscribe<'c>(
        &'c self,
        channel: &'c str,
        hear: impl Hear,
    ) -> BoxFuture<'c, Result<Subscription<'c>, RedisError>> {
        match &self.kind {
            Kind::One(client) => Subscription::to_one(client, channel, hear).boxed(),
            Kind::Sentinel(sentinels) => Subscription::to_primary(sentinels, channel, hear).boxed(),
            Kind::Cluster(cluster) => Subscription::to_cluster(cluster.next_node(), channel, hear).boxed(),
        }
    }

    /// Says that whatever is open may lead to a primary that is none any more, or to one that went back in time.
    pub fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::Release);
    }

    /// How often that was said: a connection opened under a lower number is not to be used.
    pub fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::Acquire)
    }

    /// [`Self::doubt`], when `error` is such a primary's.
    pub fn doubt_if_demoted(&self, error: &RedisError) {
        if is_demoted(error) {
            self.doubt();
        }
    }
}

/// Whether this is what a replica says to a write.
pub fn is_demoted(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// The limits of a connection to one server.
pub fn limits(response_time_max: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIME_MAX))
        .set_response_timeout(Some(response_time_max))
}

/// Which authorities are believed to say who a Redis is.
#[derive(Clone)]
pub struct Trust(pub Option<TlsCertificates>);

impl Trust {
    fn read(config: &Config) -> Result<Self, StoreSettingsError> {
        let Some(ca_file) = &config.redis.tls_ca_file else { return Ok(Self(None)) };
        let unusable =
            |reason: String| StoreSettingsError(format!("redis.tls_ca_file: {}: {reason}", ca_file.display()));
        let root_cert = Some(fs::read(ca_file).map_err(|error| unusable(error.to_string()))?);
        let trust = Self(Some(TlsCertificates { client_tls: None, root_cert }));
        // Whether it holds certificates, before anything depends on it.
        trust.client("rediss://localhost").map_err(|error| unusable(error.to_string()))?;
        Ok(trust)
    }

    /// A client of one server. Opens nothing.
    pub fn client(&self, server: impl IntoConnectionInfo) -> Result<Client, RedisError> {
        let info = connection_info(server)?;
        match &self.0 {
            None => Client::open(info),
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
        }
    }
}

/// A client of the same server that speaks this version of the protocol.
pub fn speaking(protocol: ProtocolVersion, client: &Client) -> Result<Client, RedisError> {
    let info = client.get_connection_info().clone();
    let settings = info.redis_settings().clone().set_protocol(protocol);
    Client::open(info.set_redis_settings(settings))
}

pub fn connection_info(server: impl IntoConnectionInfo) -> Result<ConnectionInfo, RedisError> {
    Ok(server.into_connection_info()?.set_tcp_settings(tcp_settings()))
}

/// The client leaves `TCP_NODELAY` off.
pub fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// What is wrong with the way to Redis, in our words.
pub fn trouble(reason: String) -> RedisError {
    io::Error::other(reason).into()
}
