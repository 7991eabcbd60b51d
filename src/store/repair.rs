//! Rebuilding what is derived from the links: the owners' indexes.

use std::collections::BTreeMap;

use redis::cmd;

use super::{
    Damaged, Store, StoreError,
    bulk::note_owners,
    index::{self, Entry, Index, Settled},
    keys,
    links::read_links,
};
use crate::{
    domain::{Code, Link, Tag},
    metrics::Operation,
};

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    pub links: u64,
    pub added: u64,
    pub dropped: u64,
    pub damaged: Damaged,
}

/// How far a repair is.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Links read so far.
    Links(u64),
    /// Officers whose indexes were compared, once all links were read.
    Officers { done: usize, of: usize },
}

impl Store {
    /// Reads every link and makes the owners' indexes agree with them. Others may work meanwhile.
    /// Calls `progress` after each step.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked; repairing again goes on.
    pub async fn repair_owner_indexes(&self, mut progress: impl FnMut(Step)) -> Result<Repaired, StoreError> {
        let mut repaired = Repaired::default();
        let mut scan = self.scan_links().await?;
        while let Some(codes) = scan.next(self).await? {
            self.index(codes, &mut repaired).await?;
            progress(Step::Links(repaired.links));
        }
        let officers = self.officers().await?;
        for (done, owner) in (1..).zip(&officers) {
            let tags = self.tags_of(owner).await?;
            let of_tags = tags.iter().map(|tag| Index::of_tag(owner, tag));
            for index in of_tags.chain([Index::of_all(owner)]) {
                let entries = self.index_all(&index.key()).await?;
                let settled = self.index_settle(&index, &entries).await?;
                repaired.added += settled.added;
                repaired.dropped += settled.removed;
            }
            progress(Step::Officers { done, of: officers.len() });
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

    /// Adds these links to their owners' indexes, and to `repaired` how many there were and how
    /// many had been missing or wrong.
    async fn index(&self, codes: Vec<Code>, repaired: &mut Repaired) -> Result<(), StoreError> {
        let (links, damaged) = self.links_as_they_are(codes).await?;
        repaired.links += links.len() as u64;
        repaired.damaged.add(damaged);
        let settled = self.index_as_linked(&links).await?;
        repaired.added += settled.added;
        repaired.dropped += settled.removed;
        Ok(())
    }

    /// The links with these codes, and the codes of those whose data are damaged.
    pub(super) async fn links_as_they_are(&self, codes: Vec<Code>) -> Result<(Vec<Link>, Vec<Code>), StoreError> {
        let (mut links, mut damaged) = (Vec::with_capacity(codes.len()), Vec::new());
        if codes.is_empty() {
            return Ok((links, damaged));
        }
        let found = self.ask(Operation::LinkList, async |redis| read_links(redis, &codes).await).await?;
        for (code, link) in codes.into_iter().zip(found) {
            match link {
                Ok(link) => links.extend(link),
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error @ StoreError::Corrupt(_)) => {
                    tracing::error!("left out: {error}");
                    damaged.push(code);
                }
            }
        }
        Ok((links, damaged))
    }

    /// Settles the entries of links in all indexes that they belong to, and makes their owners and
    /// tags known.
    pub(super) async fn index_as_linked(&self, links: &[Link]) -> Result<Settled, StoreError> {
        if links.is_empty() {
            return Ok(Settled::default());
        }
        let mut entries: BTreeMap<String, (Index, Vec<Entry>)> = BTreeMap::new();
        for link in links {
            for index in Index::all_of(link) {
                let (_, entries) = entries.entry(index.key()).or_insert((index, Vec::new()));
                entries.push(Entry::of(link));
            }
        }
        let links: Vec<&Link> = links.iter().collect();
        self.ask(Operation::LinkWrite, async |redis| note_owners(redis, &links).await).await?;
        let entries: Vec<(Index, Vec<Entry>)> = entries.into_values().collect();
        self.ask(Operation::LinkWrite, async |redis| index::settle_many(redis, &entries).await).await
    }
}
