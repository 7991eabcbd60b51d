//! A subscription, and what proves that it misses nothing.
//!
//! Messages and proofs come over one connection (RESP3 allows commands beside a subscription), and a message is handed on as it is read: so
//! when a proof's answer is there, everything that was published before it has been heard.
//!
//! What is proven depends on what may go wrong. One Redis: that it answers. A primary: also that it is one still, and that the Sentinels
//! name no other. A Cluster's node gets the messages of all nodes over the Cluster's own wires, so: that it sees a whole Cluster; and when
//! there was a failover, messages of the node that failed may be missing, which is told apart from a subscription that is lost.

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
    One,
    Primary {
        sentinels: &'c Sentinels,
        host: Host,
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
        Ok(Self { connection, closed, of: Of::One })
    }

    pub async fn to_primary(sentinels: &'c Sentinels, channel: &str, hear: impl Hear) -> Result<Self, RedisError> {
        let (closed, limits) = hearing(hear);
        let ToPrimary { host, mut connection } = sentinels.open(ProtocolVersion::RESP3, &limits).await?;
        connection.subscribe(channel).await?;
        Ok(Self { connection, closed, of: Of::Primary { sentinels, host } })
    }

    /// `node` may be any.
    pub async fn to_cluster(node: &Client, channel: &str, hear: impl Hear) -> Result<Self, RedisError> {
        let mut subscription = Self::to_one(node, channel, hear).await?;
        let epoch = cluster_epoch(&mut subscription.connection).await?;
        Ok(Self { of: Of::Cluster { epoch }, ..subscription })
    }

    /// Asks for a proof.
    pub async fn prove(&mut self) -> Result<Proof, RedisError> {
        match &mut self.of {
            Of::One => cmd("PING").exec_async(&mut self.connection).await?,
            Of::Primary { .. } => check_is_primary(&mut self.connection).await?,
            Of::Cluster { epoch } => {
                let now = cluster_epoch(&mut self.connection).await?;
                if std::mem::replace(epoch, now) != now {
                    return Ok(Proof::HeardFromNow);
                }
            }
        }
        Ok(Proof::Heard)
    }

    /// Resolves, with the reason, when it is known by other ways than a proof that the subscription is worth nothing any more.
    pub fn lost(&self) -> impl Future<Output = RedisError> + use<'c> {
        let closed = Arc::clone(&self.closed);
        let superseded = match &self.of {
            Of::Primary { sentinels, host } => Some((*sentinels, host.clone())),
            Of::One | Of::Cluster { .. } => None,
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

/// The Cluster's epoch, if the node sees a whole Cluster.
async fn cluster_epoch(node: &mut MultiplexedConnection) -> Result<u64, RedisError> {
    let info: String = cmd("CLUSTER").arg("INFO").query_async(node).await?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    match (field("cluster_state"), field("cluster_current_epoch").and_then(|epoch| epoch.parse().ok())) {
        (Some("ok"), Some(epoch)) => Ok(epoch),
        (state, _) => Err(trouble(format!("the Cluster's state is {}", state.unwrap_or("unknown")))),
    }
}
