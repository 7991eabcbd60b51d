//! Walks through all keys of a pattern, by SCAN on each primary in turn.

use std::collections::VecDeque;

use redis::cmd;

use super::{Store, StoreError, connection::Primary};
use crate::metrics::Operation;

/// Keys that Redis examines per step.
const SCAN_COUNT: usize = 1000;

/// A key that exists throughout the walk is returned at least once, and perhaps more often.
pub struct KeyScan {
    operation: Operation,
    pattern: String,
    left: VecDeque<Primary>,
    cursor: u64,
}

impl KeyScan {
    /// Returns the next keys, perhaps none; `None` at the end.
    pub async fn next(&mut self, store: &Store) -> Result<Option<Vec<String>>, StoreError> {
        let Some(primary) = self.left.front() else { return Ok(None) };
        let mut scan = cmd("SCAN");
        scan.arg(self.cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(SCAN_COUNT);
        let (next, found): (u64, Vec<String>) =
            store.ask(self.operation, async |redis| redis.ask_primary(primary, scan).await).await?;
        self.cursor = next;
        if next == 0 {
            self.left.pop_front();
        }
        Ok(Some(found))
    }
}

impl Store {
    /// Begins a walk.
    pub(super) async fn scan(&self, operation: Operation, pattern: String) -> Result<KeyScan, StoreError> {
        let left = self.ask(operation, async |redis| redis.primaries().await).await?.into();
        Ok(KeyScan { operation, pattern, left, cursor: 0 })
    }
}
