//! Rebuilding what is derived from the links: the owners' indexes.

use jiff::Timestamp;
use redis::{Value, cmd};

use super::{
    Store, StoreError,
    connection::Primary,
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
        for primary in self.ask(Operation::LinkList, async |redis| redis.primaries().await).await? {
            self.index_links_of(&primary, &mut repaired).await?;
        }
        for owner in self.officers().await? {
            repaired.dropped += self.drop_stale_entries(&owner, Timestamp::now()).await?;
        }
        Ok(repaired)
    }

    /// Walks through one server's keys.
    async fn index_links_of(&self, primary: &Primary, repaired: &mut Repaired) -> Result<(), StoreError> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(keys::link("*")).arg("COUNT").arg(SCAN_COUNT);
            let (next, found): (u64, Vec<String>) =
                self.ask(Operation::LinkList, async |redis| redis.ask_primary(primary, scan).await).await?;
            let (links, added) = self.index(&found).await?;
            repaired.links += links;
            repaired.added += added;
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Adds the links of these keys to their owners' indexes; answers how many there were, and how many had been missing or wrong.
    async fn index(&self, link_keys: &[String]) -> Result<(u64, u64), StoreError> {
        if link_keys.is_empty() {
            return Ok((0, 0));
        }
        let fields: Vec<(Option<String>, Option<i64>)> = self
            .ask(Operation::LinkList, async |redis| {
                let read = |key| cmd("HMGET").arg(key).arg(link_field::OWNER).arg(link_field::CREATED).to_owned();
                redis.many(link_keys.iter().map(read).collect()).await
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
                let mut accounts = Vec::with_capacity(links.len());
                let mut indexes = Vec::with_capacity(links.len());
                for (code, owner, created_ms) in &links {
                    let member = owner.as_str();
                    accounts.push(cmd("ZADD").arg(keys::ACCOUNTS).arg("NX").arg(*created_ms).arg(member).to_owned());
                    indexes.push(cmd("ZADD").arg(keys::owner(owner)).arg("CH").arg(*created_ms).arg(*code).to_owned());
                }
                redis.many::<Value>(accounts).await?;
                redis.many(indexes).await
            })
            .await?;
        Ok((links.len() as u64, added.iter().sum()))
    }
}
