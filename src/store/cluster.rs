//! A Redis Cluster: opening the client that knows its nodes and slots, and single nodes for subscriptions.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use redis::{
    Client, ConnectionInfo, RedisError,
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
};

use super::connect::{CONNECT_TIME_MAX, Trust, connection_info, tcp_settings};
use crate::config::Hosts;

/// How often the client sends a command again that was sent elsewhere or got no answer. A slot that moves takes one or two; a failover
/// takes longer than anybody should wait.
const REPEATS_MAX: u32 = 10;
/// Between two of those, from and to, in ms. The client's own wait from 1.3 s on.
const REPEAT_PAUSE_MS: (u64, u64) = (10, 100);

pub struct Cluster {
    hosts: Hosts,
    nodes: Vec<ConnectionInfo>,
    clients: Vec<Client>,
    trust: Trust,
    next: AtomicUsize,
}

impl Cluster {
    pub fn new(hosts: &Hosts, trust: Trust) -> Result<Self, RedisError> {
        let urls: Vec<String> = hosts.iter().map(|host| hosts.url(host)).collect();
        let cluster = Self {
            hosts: hosts.clone(),
            nodes: urls.iter().map(|url| connection_info(url.as_str())).collect::<Result<_, _>>()?,
            clients: urls.iter().map(|url| trust.client(url.as_str())).collect::<Result<_, _>>()?,
            trust,
            next: AtomicUsize::new(0),
        };
        cluster.client(CONNECT_TIME_MAX)?;
        Ok(cluster)
    }

    pub async fn open(&self, response_time_max: Duration) -> Result<ClusterConnection, RedisError> {
        self.client(response_time_max)?.get_async_connection().await
    }

    /// One of the nodes, each time another.
    pub fn next_node(&self) -> &Client {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        &self.clients[next % self.clients.len()]
    }

    fn client(&self, response_time_max: Duration) -> Result<ClusterClient, RedisError> {
        let mut builder = ClusterClientBuilder::new(self.nodes.clone())
            .connection_timeout(CONNECT_TIME_MAX)
            .response_timeout(response_time_max)
            .overall_response_timeout(Some(response_time_max))
            .retries(REPEATS_MAX)
            .min_retry_wait(REPEAT_PAUSE_MS.0)
            .max_retry_wait(REPEAT_PAUSE_MS.1)
            .tcp_settings(tcp_settings());
        if let Some(certificates) = self.trust.0.clone().filter(|_| self.hosts.tls()) {
            builder = builder.certs(certificates);
        }
        builder.build()
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the Redis Cluster of {}", self.hosts)
    }
}
