//! The subscription that tells a cache which links changed, and the heartbeat that tells whether it can be trusted.
//!
//! Pub/sub loses messages when a connection dies, silently when a network does. So the subscription is pinged every 250 ms over its own
//! connection: an answer proves that every message sent before it has arrived. One second without an answer and nothing is proven any more.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{
    Store, StoreError,
    keys::{self, LINKS_CHANNEL},
};

const HEARTBEAT: Duration = Duration::from_millis(250);
/// Silence after which the subscription counts as dead.
const SILENCE: Duration = Duration::from_secs(1);
/// Between attempts to subscribe anew. Redis back is noticed within this, and an attempt costs a refused connection.
const RETRY: Duration = Duration::from_millis(100);

/// Who wants to know. Calls come from one task, in order, and must not block.
pub trait LinkEvents {
    /// Redis answers and every change from now on will be told.
    fn connected(&self);
    /// `code` changed to `version`, or was created with it.
    fn changed(&self, code: &str, version: u64);
    /// Changes may go untold from now on; `reason` is for the log.
    fn disconnected(&self, reason: &str);
}

/// Watches for ever, subscribing again whenever the subscription is lost.
pub async fn watch(store: Store, events: impl LinkEvents) {
    let mut down = false;
    loop {
        let Err(reason) = subscribe(&store, &events, &mut down).await;
        if !down {
            down = true;
            events.disconnected(&reason.to_string());
        }
        sleep(RETRY).await;
    }
}

/// One subscription's life; ends only by its death.
async fn subscribe(
    store: &Store,
    events: &impl LinkEvents,
    down: &mut bool,
) -> Result<std::convert::Infallible, StoreError> {
    let connect = async {
        let mut pubsub = store.client.get_async_pubsub().await?;
        pubsub.subscribe(LINKS_CHANNEL).await?;
        Ok::<_, StoreError>(pubsub.split())
    };
    let silent = || StoreError::Unavailable(format!("no answer for {} ms", SILENCE.as_millis()));
    let (mut sink, mut messages) = timeout(SILENCE, connect).await.map_err(|_| silent())??;
    *down = false;
    events.connected();
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alive_at = Instant::now();
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => {
                    let text = String::from_utf8_lossy(message.get_payload_bytes());
                    let (code, version) = keys::parse_changed(&text);
                    events.changed(code, version);
                }
                None => return Err(StoreError::Unavailable("the subscription's connection was closed".to_owned())),
            },
            _ = heartbeat.tick() => {
                // Messages that are there are taken first: what the ping proves is all that was sent before it.
                match timeout(SILENCE.saturating_sub(alive_at.elapsed()), sink.ping::<redis::Value>()).await {
                    Ok(answer) => { answer?; alive_at = Instant::now(); }
                    Err(_) => return Err(silent()),
                }
            }
        }
    }
}
