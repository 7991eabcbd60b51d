//! Officers as the operator sees them: who has an account, and who is suspended.
//!
//! An address can be suspended before anybody has logged in with it. Every API call and every page of the console reads from Redis whether its officer
//! is suspended, so a suspension takes effect on all nodes at once. In a Cluster the answer lies with the officer's other keys: no server that is
//! away keeps everybody out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use redis::{Cmd, cmd};

use super::{Actor, Store, StoreError, keys};
use crate::{domain::Email, metrics::Operation};

/// Officers whose keys are counted in one exchange.
const OFFICERS_AT_ONCE: usize = 100;

/// An officer in the operator's list.
#[derive(Clone, Debug)]
pub struct ListedOfficer {
    pub email: Email,
    /// `None` for an address that was suspended before anybody used it.
    pub since: Option<Timestamp>,
    pub suspended_at: Option<Timestamp>,
    /// Working keys, and those that ended since the officer's keys were last listed.
    pub keys: usize,
    pub links: usize,
}

/// Asks when an officer was suspended. Absent when the officer isn't.
pub(super) fn ask_suspended(email: &Email) -> Cmd {
    cmd("GET").arg(keys::suspended(email)).to_owned()
}

impl Store {
    /// Returns whether an officer is suspended.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn is_suspended(&self, email: &Email) -> Result<bool, StoreError> {
        let asked = ask_suspended(email);
        let at: Option<i64> = self.ask(Operation::KeyRead, async |redis| asked.query_async(redis).await).await?;
        Ok(at.is_some())
    }

    /// Makes an officer known who isn't yet; `false` when they are.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: the officer may or may not be known.
    pub async fn invite_officer(&self, email: &Email, at: Timestamp, by: &Actor) -> Result<bool, StoreError> {
        let result = self
            .ask(Operation::KeyWrite, async |redis| {
                let mut add = cmd("ZADD");
                add.arg(keys::ACCOUNTS).arg("NX").arg(at.as_millisecond()).arg(email.as_str());
                add.query_async::<bool>(redis).await
            })
            .await;
        if !matches!(result, Ok(false)) {
            self.trail_officer("officer.invited", email, at, by, &result);
        }
        result
    }

    /// Suspends an officer; `false` when they already are.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: the officer may or may not be suspended.
    pub async fn suspend_officer(&self, email: &Email, at: Timestamp, by: &Actor) -> Result<bool, StoreError> {
        let result = self
            .ask(Operation::KeyWrite, async |redis| {
                // The list first: an entry without a suspension is passed over.
                let mut list = cmd("ZADD");
                list.arg(keys::SUSPENDED).arg("NX").arg(at.as_millisecond()).arg(email.as_str());
                list.exec_async(redis).await?;
                let mut set = cmd("SET");
                set.arg(keys::suspended(email)).arg(at.as_millisecond()).arg("NX");
                let set: Option<String> = set.query_async(redis).await?;
                Ok(set.is_some())
            })
            .await;
        if !matches!(result, Ok(false)) {
            self.trail_officer("officer.suspended", email, at, by, &result);
        }
        result
    }

    /// Ends a suspension; `false` when there is none.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: the suspension may or may not have ended.
    pub async fn restore_officer(&self, email: &Email, at: Timestamp, by: &Actor) -> Result<bool, StoreError> {
        let result = self
            .ask(Operation::KeyWrite, async |redis| {
                let ended: bool = cmd("DEL").arg(keys::suspended(email)).query_async(redis).await?;
                cmd("ZREM").arg(keys::SUSPENDED).arg(email.as_str()).exec_async(redis).await?;
                Ok(ended)
            })
            .await;
        if !matches!(result, Ok(false)) {
            self.trail_officer("officer.restored", email, at, by, &result);
        }
        result
    }

    /// Every officer with an account, and every suspended address, in alphabetical order.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn list_officers(&self) -> Result<Vec<ListedOfficer>, StoreError> {
        let accounts = self.officer_times(keys::ACCOUNTS).await?;
        let suspended = self.officer_times(keys::SUSPENDED).await?;
        let mut emails: Vec<Email> = accounts.keys().chain(suspended.keys()).cloned().collect();
        emails.sort_unstable();
        emails.dedup();
        let mut listed = Vec::with_capacity(emails.len());
        for emails in emails.chunks(OFFICERS_AT_ONCE) {
            let questions = |email| [cmd("SCARD").arg(keys::api_keys_of(email)).to_owned(), ask_suspended(email)];
            let asked = emails.iter().flat_map(questions).collect();
            let answers: Vec<Option<i64>> = self.ask(Operation::KeyRead, async |redis| redis.many(asked).await).await?;
            for (email, answers) in emails.iter().zip(answers.chunks(2)) {
                let since = accounts.get(email).copied();
                let suspended_at = answers.get(1).copied().flatten();
                if since.is_none() && suspended_at.is_none() {
                    continue;
                }
                listed.push(ListedOfficer {
                    email: email.clone(),
                    since,
                    suspended_at: suspended_at.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
                    keys: answers.first().copied().flatten().and_then(|keys| usize::try_from(keys).ok()).unwrap_or(0),
                    links: self.index_len(&[keys::owner(email)]).await?,
                });
            }
        }
        Ok(listed)
    }

    /// A sorted set of officers by time.
    async fn officer_times(&self, key: &str) -> Result<BTreeMap<Email, Timestamp>, StoreError> {
        let pairs: Vec<(String, i64)> = self
            .ask(Operation::KeyRead, async |redis| {
                cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES").query_async(redis).await
            })
            .await?;
        let corrupt = || StoreError::Corrupt(format!("{key}: a score that is no time"));
        let pair =
            |(email, ms)| Ok((Email::from_store(email), Timestamp::from_millisecond(ms).map_err(|_| corrupt())?));
        pairs.into_iter().map(pair).collect()
    }
}
