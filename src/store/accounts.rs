//! Officers' accounts, their API keys, and the totals over all accounts.

use std::collections::HashMap;

use jiff::Timestamp;
use redis::{Value, cmd};

use super::{
    Actor, Store, StoreError,
    clicks::{self, ALL_LINKS},
    keys::{self, api_key_field},
};
use crate::{
    domain::{ApiKey, Email, KeyName, key::SecretHash},
    metrics::Operation,
};

/// What the service has grown to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    pub links: u64,
    /// By people; bots and prefetches apart.
    pub clicks: u64,
    pub officers: u64,
}

impl Store {
    /// Keeps a new key, and its owner's account when this is the first that is heard of them.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: the key may or may not have been kept.
    pub async fn create_api_key(&self, key: &ApiKey, by: &Actor) -> Result<(), StoreError> {
        let created_ms = key.created_at.as_millisecond();
        let created = self.ask(Operation::KeyWrite, async |redis| {
            let mut account = cmd("ZADD");
            account.arg(keys::ACCOUNTS).arg("NX").arg(created_ms).arg(key.owner.as_str());
            let mut index = cmd("SADD");
            index.arg(keys::api_keys_of(&key.owner)).arg(&key.id);
            redis.many::<Value>(vec![account, index]).await?;
            let mut write = cmd("HSET");
            write.arg(keys::api_key(&key.id));
            write.arg(api_key_field::HASH).arg(key.hash.to_hex());
            write.arg(api_key_field::OWNER).arg(key.owner.as_str());
            write.arg(api_key_field::NAME).arg(key.name.as_str());
            write.arg(api_key_field::SCOPES).arg(key.scopes.to_string());
            write.arg(api_key_field::CREATED).arg(created_ms);
            if let Some(expires_at) = key.expires_at {
                write.arg(api_key_field::EXPIRES).arg(expires_at.as_millisecond());
            }
            write.exec_async(redis).await
        });
        let created = created.await;
        self.trail_key_created(key, by, &created);
        created
    }

    /// Reads a key, usable or not.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn find_api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let key = keys::api_key(id);
        let fields: HashMap<String, String> =
            self.ask(Operation::KeyRead, async |redis| cmd("HGETALL").arg(&key).query_async(redis).await).await?;
        if fields.is_empty() {
            return Ok(None);
        }
        decode(id, &fields).map(Some).ok_or_else(|| StoreError::Corrupt(format!("{key}: a missing or odd field")))
    }

    /// Revokes a key for good; `false` when there is none of this id. Revoking twice keeps the first time.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn revoke_api_key(&self, id: &str, at: Timestamp, by: &Actor) -> Result<bool, StoreError> {
        if self.find_api_key(id).await?.is_none() {
            return Ok(false);
        }
        let revoked = self.ask(Operation::KeyWrite, async |redis| {
            let mut write = cmd("HSETNX");
            write.arg(keys::api_key(id)).arg(api_key_field::REVOKED).arg(at.as_millisecond());
            write.query_async::<bool>(redis).await
        });
        let revoked = revoked.await;
        // One that was revoked before isn't again.
        if !matches!(revoked, Ok(false)) {
            self.trail_key_revoked(id, at, by, &revoked);
        }
        revoked?;
        Ok(true)
    }

    /// Notes that a key was used. The caller sees to it that this isn't often.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn note_key_used(&self, id: &str, at: Timestamp) -> Result<(), StoreError> {
        self.ask(Operation::KeyWrite, async |redis| {
            cmd("HSET").arg(keys::api_key(id)).arg(api_key_field::USED).arg(at.as_millisecond()).exec_async(redis).await
        })
        .await
    }

    /// The keys of one officer, or of all, oldest first.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn list_api_keys(&self, owner: Option<&Email>) -> Result<Vec<ApiKey>, StoreError> {
        let owners = match owner {
            Some(owner) => vec![owner.clone()],
            None => self.officers().await?,
        };
        let mut found = Vec::new();
        for owner in owners {
            let ids: Vec<String> = self
                .ask(Operation::KeyRead, async |redis| {
                    cmd("SMEMBERS").arg(keys::api_keys_of(&owner)).query_async(redis).await
                })
                .await?;
            for id in ids {
                found.extend(self.find_api_key(&id).await?);
            }
        }
        found.sort_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| a.id.cmp(&b.id)));
        Ok(found)
    }

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

fn decode(id: &str, fields: &HashMap<String, String>) -> Option<ApiKey> {
    let time = |field: &str| match fields.get(field) {
        None => Some(None),
        Some(ms) => Some(Some(Timestamp::from_millisecond(ms.parse().ok()?).ok()?)),
    };
    Some(ApiKey {
        id: id.to_owned(),
        hash: SecretHash::from_hex(fields.get(api_key_field::HASH)?)?,
        owner: Email::from_store(fields.get(api_key_field::OWNER)?.clone()),
        name: KeyName::from_store(fields.get(api_key_field::NAME).cloned().unwrap_or_default()),
        scopes: fields.get(api_key_field::SCOPES)?.parse().ok()?,
        created_at: time(api_key_field::CREATED)??,
        expires_at: time(api_key_field::EXPIRES)?,
        last_used_at: time(api_key_field::USED)?,
        revoked_at: time(api_key_field::REVOKED)?,
    })
}
