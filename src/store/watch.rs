//! The subscription that tells a cache which links changed, and the heartbeat that tells whether it can be trusted.
//!
//! Pub/sub loses messages when a connection dies, silently when a network does. So the subscription is asked for a proof every 250 ms over
//! its own connection (`subscription.rs`): an answer shows that every message sent before it has arrived. One second without an answer and
//! nothing is proven any more.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::pending,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use redis::cmd;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{
    Store, StoreError,
    connection::Primary,
    keys::{self, LINKS_CHANNEL},
    subscription::{Proof, SILENCE, lineage_in},
};
use crate::metrics::Operation;

const HEARTBEAT: Duration = Duration::from_millis(250);
/// Between attempts to subscribe anew. Redis back is noticed within this, and an attempt costs a refused connection.
const RETRY: Duration = Duration::from_millis(100);

/// Between two looks at the lineages of a Cluster's data.
const LINEAGE_POLL: Duration = Duration::from_secs(1);
const LINEAGE_POLL_IN_TROUBLE: Duration = Duration::from_secs(5);

/// The lineage of each primary's data, as [`lineage_in`] has it.
type Lineages = BTreeMap<Primary, String>;

/// Who wants to know. No call may block.
pub trait LinkEvents: Send + Sync + 'static {
    /// Redis answers and every change from now on will be told. Called again when one before may not have been.
    fn connected(&self);
    /// `code` changed to `version`, or was created with it.
    fn changed(&self, code: &str, version: u64);
    /// Changes may go untold from now on; `reason` is for the log.
    fn disconnected(&self, reason: &StoreError);
}

/// Watches for ever, subscribing again whenever the subscription is lost.
pub async fn watch(store: Store, events: impl LinkEvents) {
    let events = Arc::new(events);
    let mut down = false;
    loop {
        let Err(reason) = subscribe(&store, &events, &mut down).await;
        store.is_loading.store(reason.is_loading(), Ordering::Relaxed);
        if !down {
            down = true;
            // Whatever else is open leads to the same Redis.
            store.connector.doubt();
            store.outlines.subscribed(false);
            events.disconnected(&reason);
        }
        sleep(RETRY).await;
    }
}

/// One subscription's life; ends only by its death.
async fn subscribe(store: &Store, events: &Arc<impl LinkEvents>, down: &mut bool) -> Result<Infallible, StoreError> {
    let silent = || StoreError::Unavailable(format!("no answer for {} ms", SILENCE.as_millis()));
    let (told, outlines) = (Arc::clone(events), Arc::clone(&store.outlines));
    let hear = move |message: &str| {
        for (code, version) in keys::parse_changed(message) {
            outlines.changed(code);
            told.changed(code, version);
        }
    };
    let subscribing = store.connector.subscribe(LINKS_CHANNEL, hear);
    let mut subscription = timeout(SILENCE, subscribing).await.map_err(|_| silent())??;
    // A Redis that still reads its files takes subscriptions, and no reads or writes.
    timeout(SILENCE, subscription.prove()).await.map_err(|_| silent())??;
    *down = false;
    store.is_loading.store(false, Ordering::Relaxed);
    store.outlines.subscribed(true);
    events.connected();
    let mut lost = pin!(subscription.lost());
    let mut comparing = pin!(compare_lineages(store, events));
    let mut telling = pin!(store.keep_time());
    let mut proven_at = Instant::now();
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            reason = &mut lost => return Err(reason.into()),
            never = &mut comparing => match never {},
            never = &mut telling => match never {},
            _ = heartbeat.tick() => {
                let patience = SILENCE.saturating_sub(proven_at.elapsed());
                match timeout(patience, subscription.prove()).await.map_err(|_| silent())?? {
                    Proof::Heard => {}
                    Proof::HeardFromNow => resume(store, events),
                }
                proven_at = Instant::now();
            }
        }
    }
}

/// Begins a new period of proof whenever a server of a Cluster has other data than before: it was restarted or restored, which the Cluster's epoch
/// doesn't show. One Redis and a primary prove their lineage with each heartbeat. A server that is away is compared once it is back; until then
/// nothing changes for the links of its slots, which are served from memory.
async fn compare_lineages(store: &Store, events: &Arc<impl LinkEvents>) -> Infallible {
    if !store.connector.is_cluster() {
        return pending().await;
    }
    let mut known = Lineages::new();
    loop {
        // A server that hangs holds up the Cluster's client, so it isn't asked as often.
        let Ok(now) = store.lineages().await else {
            sleep(LINEAGE_POLL_IN_TROUBLE).await;
            continue;
        };
        let is_other =
            |(primary, lineage): (&Primary, &String)| known.get(primary).is_some_and(|known| known != lineage);
        if now.iter().any(is_other) {
            resume(store, events);
        }
        known.extend(now);
        sleep(LINEAGE_POLL).await;
    }
}

impl Store {
    /// The lineage of each primary's data.
    async fn lineages(&self) -> Result<Lineages, StoreError> {
        self.ask(Operation::Ping, async |redis| {
            let mut lineages = Lineages::new();
            for primary in redis.primaries().await? {
                let mut info = cmd("INFO");
                info.arg("replication");
                let info: String = redis.ask_primary(&primary, info).await?;
                lineages.insert(primary, lineage_in(&info).to_owned());
            }
            Ok(lineages)
        })
        .await
    }
}

/// Begins a new period of proof: changes before it may have gone untold, and open connections may lead to a server that isn't asked any more.
fn resume(store: &Store, events: &Arc<impl LinkEvents>) {
    store.connector.doubt();
    store.outlines.subscribed(true);
    events.connected();
}
