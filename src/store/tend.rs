//! The check in the background: it goes through all links, again and again, and adds what their
//! owners' indexes lack.
//!
//! Entries get lost where two writes are cut apart: a node dies between a link and its entries, or
//! in a Cluster the shard of an index falls back behind the shards of the links. Nothing else
//! notices that. One node at a time does it, at a pace that takes Redis about 3 % of a core: some
//! 1,000 links a second, with a tag each.
//!
//! Unlike `check --repair` it leaves alone what isn't derived from links: instances and damaged
//! values.

use std::time::{Duration, Instant};

use redis::cmd;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{
    Damaged, Store, StoreError,
    index::{ENTRIES_AT_ONCE, Index},
    keys,
};
use crate::{
    domain::{Code, Link},
    metrics::Operation,
};

/// Rest after each step, in durations of the step: so Redis works for the check 3 % of the time,
/// however fast it is.
const REST_PER_STEP: u32 = 30;
const LONGEST_REST: Duration = Duration::from_secs(5);
/// How long a node has the check without saying that it lives.
const LEASE: Duration = Duration::from_secs(60);
const RENEW_AFTER: Duration = Duration::from_secs(20);
/// Whoever changed a link this recently may not have come to its entries yet: that they are missing
/// is no news.
const SETTLING: Duration = Duration::from_secs(60);

/// A pass over ten million links takes some hours.
const DAMAGED_KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Links that a pass found damaged, as they are kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    links: u64,
    first: Vec<String>,
}

/// The right to check, as far as this node knows.
struct Turn {
    holder: String,
    renewed: Option<Instant>,
}

impl Store {
    /// Checks for ever, `rest` after one pass and before the first.
    pub async fn keep_tending(self, rest: Duration) {
        let mut turn = Turn { holder: nanoid::nanoid!(), renewed: None };
        loop {
            sleep(rest).await;
            if let Err(error) = self.tend(&mut turn).await {
                tracing::debug!("the check of indexes broke off: {error}");
            }
        }
    }

    /// One pass, if it is this node's turn, for as long as it is.
    async fn tend(&self, turn: &mut Turn) -> Result<(), StoreError> {
        let mut scan = self.scan_links().await?;
        let mut damaged = Damaged::default();
        loop {
            if !self.is_turn(turn).await? {
                return Ok(());
            }
            let began = Instant::now();
            let Some(codes) = scan.next(self).await? else { break };
            damaged.add(self.tend_links(codes).await?);
            rest_after(began.elapsed()).await;
        }
        self.keep_damaged(&damaged).await?;
        for owner in self.officers().await? {
            let tags = self.tags_of(&owner).await?;
            let of_tags = tags.iter().map(|tag| Index::of_tag(&owner, tag));
            for index in of_tags.chain([Index::of_all(&owner)]) {
                let entries = self.index_all(&index.key()).await?;
                for chunk in entries.chunks(ENTRIES_AT_ONCE) {
                    if !self.is_turn(turn).await? {
                        return Ok(());
                    }
                    let began = Instant::now();
                    let read = self.read_entries(&index, chunk).await?;
                    self.metrics.index_entries_settled(read.settled.added, read.settled.removed);
                    rest_after(began.elapsed()).await;
                }
            }
        }
        Ok(())
    }

    /// Settles the entries of links. Only those of links that nobody has changed lately are counted
    /// as missing; but the others are settled too, for whoever changed them may have died. Returns
    /// those that can't be read.
    async fn tend_links(&self, codes: Vec<Code>) -> Result<Vec<Code>, StoreError> {
        let now = self.now();
        let is_settling =
            |link: &Link| link.updated_at <= now && now.duration_since(link.updated_at).unsigned_abs() < SETTLING;
        let (links, damaged) = self.links_as_they_are(codes).await?;
        let (settling, settled): (Vec<Link>, Vec<Link>) = links.into_iter().partition(is_settling);
        self.index_as_linked(&settling).await?;
        let settled = self.index_as_linked(&settled).await?;
        self.metrics.index_entries_settled(settled.added, settled.removed);
        if settled.added > 0 {
            tracing::warn!("{} entries were missing from officers' lists; they are back", settled.added);
        }
        Ok(damaged)
    }

    /// Keeps which links a pass found damaged, for the operator's `check` and for the metric.
    async fn keep_damaged(&self, damaged: &Damaged) -> Result<(), StoreError> {
        self.metrics.links_damaged.set(damaged.links.try_into().unwrap_or(i64::MAX));
        let first = damaged.first.iter().map(|code| code.as_str().to_owned()).collect();
        let text = serde_json::to_string(&Kept { links: damaged.links, first }).expect("numbers and texts are JSON");
        let expires_ms = u64::try_from(DAMAGED_KEPT_FOR.as_millis()).unwrap_or(u64::MAX);
        self.ask(Operation::LinkList, async |redis| {
            cmd("SET").arg(keys::DAMAGED_LINKS).arg(&text).arg("PX").arg(expires_ms).query_async::<()>(redis).await
        })
        .await
    }

    /// Returns the links that the last pass found damaged, by whichever node, without those that it
    /// named and that have been mended since.
    pub async fn damaged_links(&self) -> Result<Damaged, StoreError> {
        let text: Option<String> = self
            .ask(Operation::LinkList, async |redis| cmd("GET").arg(keys::DAMAGED_LINKS).query_async(redis).await)
            .await?;
        let Some(kept) = text.and_then(|text| serde_json::from_str::<Kept>(&text).ok()) else {
            return Ok(Damaged::default());
        };
        let codes: Vec<Code> = kept.first.iter().filter_map(|code| keys::parse_code(code)).collect();
        let unnamed = kept.links.saturating_sub(codes.len() as u64);
        let (_, first) = self.links_as_they_are(codes).await?;
        Ok(Damaged { links: unnamed + first.len() as u64, first })
    }

    /// True while this node may check.
    async fn is_turn(&self, turn: &mut Turn) -> Result<bool, StoreError> {
        if turn.renewed.is_some_and(|at| at.elapsed() < RENEW_AFTER) {
            return Ok(true);
        }
        turn.renewed = None;
        let asked = Instant::now();
        let lease_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        let is_mine = self
            .ask(Operation::LinkList, async |redis| {
                let mut set = cmd("SET");
                set.arg(keys::INDEX_CHECK).arg(&turn.holder).arg("NX").arg("GET").arg("PX").arg(lease_ms);
                let held: Option<String> = set.query_async(redis).await?;
                match held {
                    None => Ok(true),
                    Some(holder) if holder == turn.holder => {
                        cmd("PEXPIRE").arg(keys::INDEX_CHECK).arg(lease_ms).query_async::<bool>(redis).await
                    }
                    Some(_) => Ok(false),
                }
            })
            .await?;
        if !is_mine {
            self.metrics.links_damaged.set(0);
        }
        turn.renewed = is_mine.then_some(asked);
        Ok(is_mine)
    }
}

async fn rest_after(step: Duration) {
    sleep((step * REST_PER_STEP).min(LONGEST_REST)).await;
}
