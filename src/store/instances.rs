//! Which instances count clicks, and which won't any more.
//!
//! Beside a link's counters stands, per instance, the journal position that they include. Where instances come and go with their disks, those
//! positions grow in number with each, so they must end. They may only when it is certain that nobody counts from them again: a journal whose
//! positions were forgotten would be counted a second time.
//!
//! What makes it certain: an instance that ends with every click counted says so (`ended`), and takes it back before it counts again
//! (`running`). `merlink check --repair` gives up the names of those that ended long ago (`retired`), in one step that the other two can't
//! get between, and only then drops their positions. If such an instance comes back after all, it finds its name given up, knows by that
//! that all its journal held was counted, and goes on under a new name. An instance that was killed and never came back keeps its
//! positions until `merlink journal drain` has counted its journal.

use std::{collections::BTreeMap, sync::LazyLock};

use jiff::Timestamp;
use redis::cmd;

use super::{
    ClickStore, Store, StoreError,
    connection::Lua,
    keys::{self, click_field},
    unless_damaged,
};
use crate::metrics::Operation;

pub(super) static CLAIM: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/claim_instance.lua")));
pub(super) static RETIRE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/retire_instance.lua")));

/// What was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Names given up, now or before.
    pub instances: u64,
    pub positions: u64,
}

impl ClickStore {
    /// Says that this instance counts clicks; `false` when its name was given up.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn claim(&self) -> Result<bool, StoreError> {
        let mut call = CLAIM.call(keys::INSTANCES.to_owned());
        call.arg(self.instance());
        self.wire().ask(Operation::ClickPositions, async |redis| redis.run(&CLAIM, &call).await).await
    }

    /// Says that this instance has ended, with all its clicks counted.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn end(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut write = cmd("HSET");
        write.arg(keys::INSTANCES).arg(self.instance()).arg(format!("ended {}", now.as_millisecond()));
        self.wire().ask(Operation::ClickPositions, async |redis| write.exec_async(redis).await).await
    }
}

impl Store {
    /// Gives up the names of instances that ended at `ended_before` or earlier, and drops their positions from all counters.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked; doing it again goes on.
    pub async fn retire_instances(&self, ended_before: Timestamp, now: Timestamp) -> Result<Retired, StoreError> {
        let read = cmd("HGETALL").arg(keys::INSTANCES).to_owned();
        let known: BTreeMap<String, String> =
            self.ask(Operation::LinkList, async |redis| read.query_async(redis).await).await?;
        let mut gone = Vec::new();
        for instance in known.into_keys() {
            let mut call = RETIRE.call(keys::INSTANCES.to_owned());
            call.arg(&instance).arg(ended_before.as_millisecond()).arg(now.as_millisecond());
            if self.ask(Operation::LinkWrite, async |redis| redis.run::<bool>(&RETIRE, &call).await).await? {
                gone.push(click_field::position(&instance));
            }
        }
        let mut positions = 0;
        if !gone.is_empty() {
            let mut scan = self.scan(Operation::LinkList, keys::clicks("*")).await?;
            while let Some(found) = scan.next(self).await? {
                positions += self.drop_positions(&found, &gone).await?;
            }
        }
        Ok(Retired { instances: gone.len() as u64, positions })
    }

    /// Drops positions from counters; returns how many there were.
    async fn drop_positions(&self, counters: &[String], fields: &[String]) -> Result<u64, StoreError> {
        let drops = counters.iter().map(|key| cmd("HDEL").arg(key).arg(fields).to_owned()).collect();
        let mut dropped = 0;
        for answer in self.ask(Operation::LinkWrite, async |redis| redis.each(drops).await).await? {
            let positions = answer.and_then(|value| Ok(redis::from_redis_value::<u64>(value)?));
            // Counters that merlink didn't write have no positions either.
            dropped += unless_damaged(positions.map_err(StoreError::from))?.unwrap_or(0);
        }
        Ok(dropped)
    }
}
