//! Officers' accounts, and the totals over all of them.

use redis::cmd;

use super::{
    Store, StoreError,
    clicks::{self, ALL_LINKS},
    keys,
};
use crate::{domain::Email, metrics::Operation};

/// What the service has grown to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    pub links: u64,
    /// By people; bots and prefetches apart.
    pub clicks: u64,
    pub officers: u64,
}

impl Store {
    /// Everybody who ever owned a link or a key, or logged in; first seen, first named.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn officers(&self) -> Result<Vec<Email>, StoreError> {
        let emails: Vec<String> = self
            .ask(Operation::KeyRead, async |redis| {
                cmd("ZRANGE").arg(keys::ACCOUNTS).arg(0).arg(-1).query_async(redis).await
            })
            .await?;
        Ok(emails.into_iter().map(Email::from_store).collect())
    }

    /// Some of them, from a place in that order on; none when there are no more. Who comes in meanwhile may move others back, so that they are met
    /// twice, but passes nobody over.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn officers_from(&self, place: usize, count: usize) -> Result<Vec<Email>, StoreError> {
        let emails: Vec<String> = self
            .ask(Operation::KeyRead, async |redis| {
                let mut range = cmd("ZRANGE");
                range.arg(keys::ACCOUNTS).arg(place).arg(place + count - 1).query_async(redis).await
            })
            .await?;
        Ok(emails.into_iter().map(Email::from_store).collect())
    }

    /// An officer's place in that order; `None`: nobody has heard of them.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn place_of_officer(&self, email: &Email) -> Result<Option<usize>, StoreError> {
        self.ask(Operation::KeyRead, async |redis| {
            cmd("ZRANK").arg(keys::ACCOUNTS).arg(email.as_str()).query_async(redis).await
        })
        .await
    }

    /// Counts links, clicks and officers. Costs one ZCARD for each officer and each 120 links: the caller keeps the answer for a while.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        let officers = self.officers().await?;
        let links = self.index_len(&officers.iter().map(keys::owner).collect::<Vec<_>>()).await? as u64;
        let read = clicks::ask_total(&ALL_LINKS);
        let clicks = self.ask(Operation::Totals, async |redis| clicks::total(read.query_async(redis).await?)).await?;
        Ok(Totals { links, clicks, officers: officers.len() as u64 })
    }
}
