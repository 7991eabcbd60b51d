//! A subscription, and what proves that it misses nothing.
//!
//! Messages and proofs come over one connection (RESP3 allows commands beside a subscription), and a message is handed on as it is read: so
//! when a proof's answer is there, everything that was published before it has been heard.
//!
//! A proof depends on what may go wrong. One Redis: it answers, and its data still descend from the same history. A primary: the same, it is still a
//! primary, and the Sentinels name no other. A Cluster's node relays the messages of all nodes: it sees a whole Cluster, and no failover
//! happened. After a failover, or when a server's data were replaced, messages may be missing while the subscription lives on:
//! [`Proof::HeardFromNow`].

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use redis::{Client, Msg, ProtocolVersion, PushInfo, PushKind, RedisError, aio::MultiplexedConnection, cmd};
use tokio::{sync::Notify, time::sleep};

use super::{
    connect::{limits, speaking, trouble},
    sentinel::{Sentinels, ToPrimary, check_is_primary},
};
use crate::config::Host;

/// For subscribing and for each proof.
pub const SILENCE: Duration = Duration::from_secs(1);

/// Between two looks at whom the Sentinels name. A primary that was demoted says so itself; this finds one that was cut off from them.
const SENTINELS_POLL: Duration = Duration::from_secs(1);

/// Takes a message's text. Called while the connection is being read: it must not block.
pub trait Hear: Fn(&str) + Send + Sync + 'static {}
impl<F: Fn(&str) + Send + Sync + 'static> Hear for F {}

pub struct Subscription<'c> {
    connection: MultiplexedConnection,
    closed: Arc<Notify>,
    of: Of<'c>,
}

enum Of<'c> {
    One {
        /// `None` until the first proof.
        lineage: Option<String>,
    },
    Primary {
        sentinels: &'c Sentinels,
        host: Host,
        lineage: Option<String>,
    },
    /// The epoch grows with each failover.
    Cluster {
        epoch: u64,
    },
}

/// What a proof shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Every message that was published before it has been heard.
    Heard,
    /// From now on; some that were published before may be missing.
    HeardFromNow,
}

impl<'c> Subscription<'c> {
    pub async fn to_one(client: &Client, channel: &str, hear: impl Hear) -> Result<Self, RedisError> {
        let (closed, limits) = hearing(hear);
        let client = speaking(ProtocolVersion::RESP3, client)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&limits).await?;
        connection.subscribe(channel).await?;
        Ok(Self { connection, closed, of: Of::One { lineage: None } })
    }

    pub async fn to_primary(sentinels: &'c Sentinels, channel: &str, hear: impl Hear) -> Result<Self, RedisError> {
        let (closed, limits) = hearing(hear);
        let ToPrimary { host, mut connection } = sentinels.open(ProtocolVersion::RESP3, &limits).await?;
        connection.subscribe(channel).await?;
        Ok(Self { connection, closed, of: Of::Primary { sentinels, host, lineage: None } })
    }

    /// `node` may be any.
    pub async fn to_cluster(node: &Client, channel: &str, hear: impl Hear) -> Result<Self, RedisError> {
        let mut subscription = Self::to_one(node, channel, hear).await?;
        let epoch = cluster_epoch(&mut subscription.connection).await?;
        Ok(Self { of: Of::Cluster { epoch }, ..subscription })
    }

    /// Asks for a proof.
    pub async fn prove(&mut self) -> Result<Proof, RedisError> {
        let unchanged = match &mut self.of {
            Of::One { lineage } => descends_from(lineage, ask_lineage(&mut self.connection).await?),
            Of::Primary { lineage, .. } => {
                check_is_primary(&mut self.connection).await?;
                descends_from(lineage, ask_lineage(&mut self.connection).await?)
            }
            Of::Cluster { epoch } => {
                let now = cluster_epoch(&mut self.connection).await?;
                std::mem::replace(epoch, now) == now
            }
        };
        Ok(if unchanged { Proof::Heard } else { Proof::HeardFromNow })
    }

    /// Resolves, with the reason, when it is known by other ways than a proof that the subscription is worth nothing any more.
    pub fn lost(&self) -> impl Future<Output = RedisError> + use<'c> {
        let closed = Arc::clone(&self.closed);
        let superseded = match &self.of {
            Of::Primary { sentinels, host, .. } => Some((*sentinels, host.clone())),
            Of::One { .. } | Of::Cluster { .. } => None,
        };
        async move {
            tokio::select! {
                () = closed.notified() => trouble("the subscription's connection was closed".to_owned()),
                host = is_superseded(superseded) => trouble(format!("the Sentinels name another primary than {host}")),
            }
        }
    }
}

async fn is_superseded(primary: Option<(&Sentinels, Host)>) -> Host {
    let Some((sentinels, host)) = primary else { return pending().await };
    while !sentinels.is_superseded(&host).await {
        sleep(SENTINELS_POLL).await;
    }
    host
}

/// The settings of a connection that hands on what is published, and says when it was closed.
fn hearing(hear: impl Hear) -> (Arc<Notify>, redis::AsyncConnectionConfig) {
    let closed = Arc::new(Notify::new());
    let on_close = Arc::clone(&closed);
    let on_push = move |push: PushInfo| {
        match push.kind {
            PushKind::Message => {
                if let Some(message) = Msg::from_push_info(push) {
                    hear(&String::from_utf8_lossy(message.get_payload_bytes()));
                }
            }
            PushKind::Disconnection => on_close.notify_one(),
            // Nothing else is asked for.
            _ => {}
        }
        Ok::<(), Infallible>(())
    };
    (closed, limits(SILENCE).set_push_sender(on_push))
}

/// The lineage of a server's data: `master_replid` of INFO, a random id that changes when the server restarts, takes over, or replaces its
/// data by another server's. Empty on an engine that has none. Fails while the server loads its files.
async fn ask_lineage(server: &mut MultiplexedConnection) -> Result<String, RedisError> {
    let (info,): (String,) =
        redis::pipe().cmd("PING").ignore().cmd("INFO").arg("replication").query_async(server).await?;
    Ok(lineage_in(&info).to_owned())
}

/// The lineage in the answer to `INFO replication`.
pub fn lineage_in(info: &str) -> &str {
    info.lines().find_map(|line| line.strip_prefix("master_replid:")).unwrap_or_default().trim()
}

/// Remembers the lineage; answers whether it is the one before, or the first.
fn descends_from(known: &mut Option<String>, now: String) -> bool {
    let unchanged = known.as_ref().is_none_or(|known| *known == now);
    *known = Some(now);
    unchanged
}

/// The Cluster's epoch, if the node sees a whole Cluster.
async fn cluster_epoch(node: &mut MultiplexedConnection) -> Result<u64, RedisError> {
    let info: String = cmd("CLUSTER").arg("INFO").query_async(node).await?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    match (field("cluster_state"), field("cluster_current_epoch").and_then(|epoch| epoch.parse().ok())) {
        (Some("ok"), Some(epoch)) => Ok(epoch),
        (state, _) => Err(trouble(format!("the Cluster's state is {}", state.unwrap_or("unknown")))),
    }
}
