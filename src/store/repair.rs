//! Rebuilding what is derived from the links: the owners' indexes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use redis::cmd;

use super::{
    Damaged, Store, StoreError,
    connection::Primary,
    index::Entry,
    keys,
    links::{indexes, note_owner, read_links},
};
use crate::{
    domain::{Code, Tag},
    metrics::Operation,
};

/// Keys that Redis looks at in one step of the scan.
const SCAN_COUNT: usize = 1000;

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    pub links: u64,
    pub added: u64,
    pub dropped: u64,
    pub damaged: Damaged,
}

impl Store {
    /// Reads every link and makes the owners' indexes agree with them. Others may work meanwhile.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked; repairing again goes on.
    pub async fn repair_owner_indexes(&self) -> Result<Repaired, StoreError> {
        let mut repaired = Repaired::default();
        for primary in self.ask(Operation::LinkList, async |redis| redis.primaries().await).await? {
            self.index_links_of(&primary, &mut repaired).await?;
        }
        for owner in self.officers().await? {
            let tags = self.tags_of(&owner).await?;
            let indexes = tags.iter().map(|tag| keys::tag(&owner, tag)).chain([keys::owner(&owner)]);
            for index in indexes {
                repaired.dropped += self.drop_stale_entries(&owner, &index, Timestamp::now()).await?;
            }
        }
        Ok(repaired)
    }

    /// Moves the indexes that an earlier version named so that a Cluster couldn't write to them (see [`keys::renamed_indexes`]). The old ones go once
    /// their entries are in the new ones, so this may break off and begin again.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn move_renamed_indexes(&self) -> Result<(), StoreError> {
        for owner in self.officers().await?.into_iter().filter(|owner| !keys::renamed_indexes(owner, &[]).is_empty()) {
            let names: Vec<String> = self
                .ask(Operation::LinkList, async |redis| {
                    cmd("SMEMBERS").arg(keys::tags(&owner)).query_async(redis).await
                })
                .await?;
            let tags: Vec<Tag> = names.iter().filter_map(|name| name.parse().ok()).collect();
            for (old, new) in keys::renamed_indexes(&owner, &tags) {
                let entries = self.index_all(&old).await?;
                self.index_add(&new, &entries).await?;
                self.index_forget(&old).await?;
            }
        }
        Ok(())
    }

    /// Walks through one server's keys.
    async fn index_links_of(&self, primary: &Primary, repaired: &mut Repaired) -> Result<(), StoreError> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(keys::link("*")).arg("COUNT").arg(SCAN_COUNT);
            let (next, found): (u64, Vec<String>) =
                self.ask(Operation::LinkList, async |redis| redis.ask_primary(primary, scan).await).await?;
            self.index(&found, repaired).await?;
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Adds the links of these keys to their owners' indexes, and to `repaired` how many there were and how many had been missing or wrong.
    async fn index(&self, link_keys: &[String], repaired: &mut Repaired) -> Result<(), StoreError> {
        if link_keys.is_empty() {
            return Ok(());
        }
        let codes: Vec<Code> = link_keys.iter().filter_map(|key| keys::parse_code(keys::code_of_link(key)?)).collect();
        let found = self.ask(Operation::LinkList, async |redis| read_links(redis, &codes).await).await?;
        let mut entries: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for (code, link) in codes.into_iter().zip(found) {
            match link {
                Ok(Some(link)) => {
                    repaired.links += 1;
                    self.ask(Operation::LinkWrite, async |redis| note_owner(redis, &link).await).await?;
                    for index in indexes(&link) {
                        entries.entry(index).or_default().push(Entry::of(&link));
                    }
                }
                Ok(None) => {}
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error @ StoreError::Corrupt(_)) => {
                    tracing::error!("left out of the indexes: {error}");
                    repaired.damaged.add([code]);
                }
            }
        }
        for (index, entries) in entries {
            repaired.added += self.index_add(&index, &entries).await?;
        }
        Ok(())
    }
}
