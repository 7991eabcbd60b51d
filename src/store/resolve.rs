//! The redirect path's own way to Redis: what a code leads to, one round trip, over a connection that the worker opened for itself.
//!
//! A multiplexed connection of the worker's own costs 19.5 µs CPU a request, one shared between workers 28.6, the pool 45.9.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use redis::aio::ConnectionManager;

use super::{
    Store, StoreError, connect,
    keys::{self, link_field},
    links::decode_state,
    measured,
};
use crate::{
    domain::{LinkState, Target},
    metrics::{Metrics, Operation},
};

/// For one look-up, a broken connection's reopening included. A citizen who meets a slow Redis waits this long at most, and hears
/// within 250 ms what is the matter; Redis itself, which syncs its file between reads, may well take 80 on a slow disk.
const DEADLINE: Duration = Duration::from_millis(150);

/// What a redirect needs to know of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub target: Target,
    pub state: LinkState,
    pub expires_at: Option<Timestamp>,
    pub forward_query: bool,
    pub version: u64,
}

/// One worker's connection for look-ups.
#[derive(Clone)]
pub struct Lane {
    connection: ConnectionManager,
    metrics: Arc<Metrics>,
}

impl Store {
    /// Prepares a connection that belongs to the calling thread's runtime; it opens with its first use.
    ///
    /// # Errors
    ///
    /// When the address isn't one that the Redis client understands.
    pub fn lane(&self) -> Result<Lane, StoreError> {
        let connection = ConnectionManager::new_lazy_with_config(self.client.clone(), connect::manager(DEADLINE))?;
        Ok(Lane { connection, metrics: Arc::clone(&self.metrics) })
    }
}

impl Lane {
    /// What `code`, in lower case, leads to; `None` when it never existed.
    ///
    /// # Errors
    ///
    /// When Redis doesn't answer within 150 ms, or holds what no merlink wrote.
    pub async fn resolve(&self, code: &str) -> Result<Option<Resolved>, StoreError> {
        let mut connection = self.connection.clone();
        let key = keys::link(code);
        let mut read = redis::cmd("HMGET");
        read.arg(&key).arg(&[
            link_field::TARGET,
            link_field::STATE,
            link_field::EXPIRES,
            link_field::FORWARD_QUERY,
            link_field::VERSION,
        ]);
        let ask = async {
            let fields: Fields = match read.query_async(&mut connection).await {
                // The first command after an outage only finds out that the connection is dead; the second goes over a new one.
                Err(error) if error.is_unrecoverable_error() => read.query_async(&mut connection).await?,
                result => result?,
            };
            Ok(fields)
        };
        decode(&key, measured(&self.metrics, Operation::Resolve, DEADLINE, ask).await?)
    }
}

type Fields = (Option<String>, Option<String>, Option<String>, Option<String>, Option<u64>);

fn decode(key: &str, fields: Fields) -> Result<Option<Resolved>, StoreError> {
    let (target, state, expires, forward_query, version) = fields;
    let Some(target) = target else { return Ok(None) };
    let expires_at = match expires.as_deref().filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(text.parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).ok_or_else(|| {
            StoreError::Corrupt { key: key.to_owned(), detail: "an expiry that is no time".to_owned() }
        })?),
    };
    Ok(Some(Resolved {
        target: Target::from_store(target),
        state: decode_state(state.as_deref()),
        expires_at,
        forward_query: forward_query.as_deref() == Some("1"),
        version: version.unwrap_or(1),
    }))
}
