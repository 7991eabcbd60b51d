//! Rebuilding what is derived from the links: the owners' indexes.

use jiff::Timestamp;
use redis::{cmd, pipe};

use super::{
    Store, StoreError,
    keys::{self, link_field},
};
use crate::{domain::Email, metrics::Operation};

/// Keys that Redis looks at in one step of the scan.
const SCAN_COUNT: usize = 1000;

/// What a repair found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    pub links: u64,
    pub added: u64,
    pub dropped: u64,
}

impl Store {
    /// Reads every link and makes the owners' indexes agree with them. Others may work meanwhile.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked; repairing again goes on.
    pub async fn repair_owner_indexes(&self) -> Result<Repaired, StoreError> {
        let mut repaired = Repaired::default();
        let mut cursor = 0_u64;
        loop {
            let (next, found): (u64, Vec<String>) = self
                .ask(Operation::LinkList, async |redis| {
                    let pattern = keys::link("*");
                    cmd("SCAN")
                        .arg(cursor)
                        .arg("MATCH")
                        .arg(pattern)
                        .arg("COUNT")
                        .arg(SCAN_COUNT)
                        .query_async(redis)
                        .await
                })
                .await?;
            let (links, added) = self.index(&found).await?;
            repaired.links += links;
            repaired.added += added;
            if next == 0 {
                break;
            }
            cursor = next;
        }
        for owner in self.officers().await? {
            repaired.dropped += self.drop_stale_entries(&owner, Timestamp::now()).await?;
        }
        Ok(repaired)
    }

    /// Adds the links of these keys to their owners' indexes; answers how many there were, and how many had been missing or wrong.
    async fn index(&self, link_keys: &[String]) -> Result<(u64, u64), StoreError> {
        if link_keys.is_empty() {
            return Ok((0, 0));
        }
        let fields: Vec<(Option<String>, Option<i64>)> = self
            .ask(Operation::LinkList, async |redis| {
                let mut reads = pipe();
                for key in link_keys {
                    reads.cmd("HMGET").arg(key).arg(link_field::OWNER).arg(link_field::CREATED);
                }
                reads.query_async(redis).await
            })
            .await?;
        let links: Vec<(&str, Email, i64)> = link_keys
            .iter()
            .zip(fields)
            .filter_map(|(key, (owner, created_ms))| {
                Some((keys::code_of_link(key)?, Email::from_store(owner?), created_ms?))
            })
            .collect();
        let added: Vec<u64> = self
            .ask(Operation::LinkWrite, async |redis| {
                let mut writes = pipe();
                for (code, owner, created_ms) in &links {
                    writes.cmd("ZADD").arg(keys::ACCOUNTS).arg("NX").arg(*created_ms).arg(owner.as_str()).ignore();
                    writes.cmd("ZADD").arg(keys::owner(owner)).arg("CH").arg(*created_ms).arg(*code);
                }
                if links.is_empty() { Ok(Vec::new()) } else { writes.query_async(redis).await }
            })
            .await?;
        Ok((links.len() as u64, added.iter().sum()))
    }
}
