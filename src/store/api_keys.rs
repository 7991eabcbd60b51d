//! API keys: found on each call, made, revoked, and dropped 90 days after they end.
//!
//! `keys:{email}` holds the ids of an officer's working keys, `keys:ended:{email}` those of ended keys. A key moves over when it is revoked; an
//! expired one when the officer's keys are next listed. Making a key therefore costs what the working keys cost, however many have ended.
//!
//! Each key holds the ids of the keys above it: its maker, the maker's maker and so on. It works only while all of them are there and unrevoked.
//! Calls check this, so a key that is made while its maker is being revoked never works. An officer owns all keys of such a line.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use quick_cache::sync::Cache;
use redis::{Cmd, FromRedisValue as _, RedisError, Value, cmd, from_redis_value};

use super::{
    Actor, Store, StoreError,
    connection::Connection,
    keys::{self, api_key_field},
    officers::ask_suspended,
};
use crate::{
    domain::{ApiKey, Email, KeyName, key::SecretHash},
    metrics::Operation,
};

/// How long an ended key stays listed.
pub const ENDED_KEPT_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Ended keys kept per officer. Beyond it the first to end is dropped early: a program could make and revoke millions within 90 days.
pub const ENDED_KEPT_MAX: usize = 1_000;

/// Keys read or written in one exchange.
const KEYS_AT_ONCE: usize = 200;

/// Entries of [`Relations`]: 2 MB when each key has a few ancestors.
pub(super) const RELATIONS_MAX: usize = 4_096;

/// A key as a call finds it.
#[derive(Clone, Debug)]
pub struct FoundKey {
    pub key: ApiKey,
    pub is_suspended: bool,
    /// A key above it is revoked or gone.
    pub is_cut_off: bool,
}

/// The facts of a key that never change and say what else a call has to read. A call for a known key takes one round trip instead of two.
pub(super) type Relations = Cache<Box<str>, Arc<Related>>;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Related {
    owner: Email,
    ancestors: Vec<String>,
}

impl Related {
    fn of(key: &ApiKey) -> Self {
        Self { owner: key.owner.clone(), ancestors: key.ancestors.clone().unwrap_or_default() }
    }

    /// Reads whether the owner is suspended, and each ancestor's state.
    fn questions(&self) -> Vec<Cmd> {
        [ask_suspended(&self.owner)].into_iter().chain(self.ancestors.iter().map(|id| ask_alive(id))).collect()
    }
}

impl Store {
    /// Reads a key for a call that was made with it, usable or not, and what else decides whether it may act.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn find_key_for_call(&self, id: &str) -> Result<Option<FoundKey>, StoreError> {
        let known = self.key_relations.get(id);
        let expected = known.clone();
        let mut answers = self
            .ask(Operation::KeyRead, async |redis| {
                let more = expected.map(|related| related.questions()).unwrap_or_default();
                redis.many::<Value>([ask_key(id)].into_iter().chain(more).collect()).await
            })
            .await?
            .into_iter();
        let fields = answers.next().unwrap_or(Value::Nil);
        let Some(key) = read_key(id, &from_redis_value(fields).map_err(RedisError::from)?)? else { return Ok(None) };
        let related = Related::of(&key);
        let mut answers: Vec<Value> = answers.collect();
        if known.is_none_or(|known| *known != related) {
            answers = self.ask(Operation::KeyRead, async |redis| redis.many(related.questions()).await).await?;
            self.key_relations.insert(id.into(), Arc::new(related));
        }
        let mut answers = answers.into_iter();
        let is_suspended = !matches!(answers.next(), None | Some(Value::Nil));
        let mut is_cut_off = false;
        for answer in answers {
            is_cut_off |= !is_alive(answer)?;
        }
        Ok(Some(FoundKey { key, is_suspended, is_cut_off }))
    }

    /// Reads a key, usable or not.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn find_api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let asked = ask_key(id);
        read_key(id, &self.ask(Operation::KeyRead, async |redis| asked.query_async(redis).await).await?)
    }

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
            if let Some(ancestors) = &key.ancestors {
                write.arg(api_key_field::ANCESTORS).arg(ancestors.join(" "));
            }
            if let Some(expires_at) = key.expires_at {
                write.arg(api_key_field::EXPIRES).arg(expires_at.as_millisecond());
            }
            write.exec_async(redis).await
        });
        let created = created.await;
        self.trail_key_created(key, by, &created);
        created
    }

    /// Revokes keys of one officer for good. Revoking again keeps the first time.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: some may be revoked. Revoking again goes on.
    pub async fn revoke_api_keys(&self, revoked: &[ApiKey], at: Timestamp, by: &Actor) -> Result<(), StoreError> {
        for chunk in revoked.chunks(KEYS_AT_ONCE) {
            let write = |key: &ApiKey| {
                let mut write = cmd("HSETNX");
                write.arg(keys::api_key(&key.id)).arg(api_key_field::REVOKED).arg(at.as_millisecond());
                write
            };
            let writes = chunk.iter().map(write).collect();
            let done: Result<Vec<bool>, StoreError> =
                self.ask(Operation::KeyWrite, async |redis| redis.many(writes).await).await;
            for (index, key) in chunk.iter().enumerate() {
                // A key that was revoked before isn't revoked again.
                if done.as_ref().map_or(true, |done| done.get(index) == Some(&true)) {
                    self.trail_key_revoked(&key.id, at, by, &done);
                }
            }
            done?;
            let ended: Vec<(&ApiKey, Timestamp)> =
                chunk.iter().map(|key| (key, key.revoked_at.unwrap_or(at))).collect();
            self.ask(Operation::KeyWrite, async |redis| file_ended(redis, &ended).await).await?;
        }
        Ok(())
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

    /// The keys of one officer, or of all, oldest first: working ones, and those that ended within 90 days.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn list_api_keys(&self, owner: Option<&Email>) -> Result<Vec<ApiKey>, StoreError> {
        let owners = match owner {
            Some(owner) => vec![owner.clone()],
            None => self.officers().await?,
        };
        let now = Timestamp::now();
        let mut found = Vec::new();
        for owner in owners {
            // Keys that end in between are in both, or in the second only.
            let working = self.working_api_keys(&owner, now).await?;
            let ended = self
                .ask(Operation::KeyRead, async |redis| {
                    cmd("ZRANGE").arg(keys::ended_api_keys_of(&owner)).arg(0).arg(-1).query_async(redis).await
                })
                .await?;
            let ended = self.read_api_keys(ended).await?;
            let ids: HashSet<&str> = ended.iter().map(|key| key.id.as_str()).collect();
            found.extend(working.into_iter().filter(|key| !ids.contains(key.id.as_str())));
            found.extend(ended);
        }
        found.sort_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| a.id.cmp(&b.id)));
        Ok(found)
    }

    /// An officer's working keys, in no order. Files the others away, and drops those that ended long ago.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn working_api_keys(&self, owner: &Email, now: Timestamp) -> Result<Vec<ApiKey>, StoreError> {
        Ok(self.tidied(owner, now).await?.0)
    }

    /// Files away and drops the ended keys of all officers. Returns how many were dropped.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn tidy_api_keys(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut dropped = 0;
        for owner in self.officers().await? {
            dropped += self.tidied(&owner, now).await?.1;
        }
        Ok(dropped)
    }

    /// The working keys, and how many ended ones were dropped.
    async fn tidied(&self, owner: &Email, now: Timestamp) -> Result<(Vec<ApiKey>, u64), StoreError> {
        let ids = self
            .ask(Operation::KeyRead, async |redis| {
                cmd("SMEMBERS").arg(keys::api_keys_of(owner)).query_async(redis).await
            })
            .await?;
        let found = self.read_api_keys(ids).await?;
        let (working, ended): (Vec<ApiKey>, Vec<ApiKey>) =
            found.into_iter().partition(|key| key.ended_at(now).is_none());
        let (working, cut_off) = self.part_cut_off(working).await?;
        self.revoke_api_keys(&cut_off, now, &Actor::Unknown).await?;
        let ended: Vec<(&ApiKey, Timestamp)> = ended.iter().filter_map(|key| Some((key, key.ended_at(now)?))).collect();
        for chunk in ended.chunks(KEYS_AT_ONCE) {
            self.ask(Operation::KeyWrite, async |redis| file_ended(redis, chunk).await).await?;
        }
        Ok((working, self.drop_ended_keys(owner, now).await?))
    }

    /// Drops the keys of an officer that ended more than 90 days ago, and the first to end of too many. Returns how many there were.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    async fn drop_ended_keys(&self, owner: &Email, now: Timestamp) -> Result<u64, StoreError> {
        let ended = keys::ended_api_keys_of(owner);
        let too_old = (now - ENDED_KEPT_FOR).as_millisecond();
        let mut dropped = 0;
        loop {
            let (mut old, mut surplus) = (cmd("ZRANGE"), cmd("ZRANGE"));
            old.arg(&ended).arg("-inf").arg(too_old).arg("BYSCORE").arg("LIMIT").arg(0).arg(KEYS_AT_ONCE);
            // All but the last ENDED_KEPT_MAX, of which there are few at a time.
            surplus.arg(&ended).arg(0).arg(-1 - i64::try_from(ENDED_KEPT_MAX).expect("a small number"));
            let found: Vec<Vec<String>> =
                self.ask(Operation::KeyRead, async |redis| redis.many(vec![old, surplus]).await).await?;
            let ids: HashSet<String> = found.into_iter().flatten().take(KEYS_AT_ONCE).collect();
            if ids.is_empty() {
                return Ok(dropped);
            }
            dropped += ids.len() as u64;
            self.ask(Operation::KeyWrite, async |redis| {
                redis
                    .many::<Value>(ids.iter().map(|id| cmd("DEL").arg(keys::api_key(id)).to_owned()).collect())
                    .await?;
                // Last, so that a key whose dropping was cut short is dropped by the next listing.
                cmd("ZREM").arg(&ended).arg(Vec::from_iter(&ids)).exec_async(redis).await
            })
            .await?;
        }
    }

    async fn read_api_keys(&self, ids: Vec<String>) -> Result<Vec<ApiKey>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(KEYS_AT_ONCE) {
            let asked = chunk.iter().map(|id| ask_key(id)).collect();
            let all: Vec<HashMap<String, String>> =
                self.ask(Operation::KeyRead, async |redis| redis.many(asked).await).await?;
            for (id, fields) in chunk.iter().zip(all) {
                found.extend(read_key(id, &fields)?);
            }
        }
        Ok(found)
    }

    /// Parts unended keys from those that lost a key above them.
    async fn part_cut_off(&self, unended: Vec<ApiKey>) -> Result<(Vec<ApiKey>, Vec<ApiKey>), StoreError> {
        let ids: HashSet<&str> = unended.iter().map(|key| key.id.as_str()).collect();
        let ancestors: HashSet<&String> = unended.iter().flat_map(|key| key.ancestors.iter().flatten()).collect();
        let others: Vec<String> = ancestors.into_iter().filter(|id| !ids.contains(id.as_str())).cloned().collect();
        // Ended, as a rule. The index is a hint, so it isn't taken at its word for what can't be undone.
        let mut lost = HashSet::new();
        for chunk in others.chunks(KEYS_AT_ONCE) {
            let asked = chunk.iter().map(|id| ask_alive(id)).collect();
            let answers: Vec<Value> = self.ask(Operation::KeyRead, async |redis| redis.many(asked).await).await?;
            for (id, answer) in chunk.iter().zip(answers) {
                if !is_alive(answer)? {
                    lost.insert(id.clone());
                }
            }
        }
        Ok(unended.into_iter().partition(|key| !key.ancestors.iter().flatten().any(|id| lost.contains(id))))
    }
}

/// Moves ended keys to where they stay for a while, and lets Redis drop them after it. May be repeated.
async fn file_ended(redis: &mut Connection, ended: &[(&ApiKey, Timestamp)]) -> Result<(), RedisError> {
    let mut filed = Vec::with_capacity(2 * ended.len());
    for (key, at) in ended {
        let dropped_at = *at + ENDED_KEPT_FOR;
        filed.push(cmd("PEXPIREAT").arg(keys::api_key(&key.id)).arg(dropped_at.as_millisecond()).to_owned());
        let ended = keys::ended_api_keys_of(&key.owner);
        filed.push(cmd("ZADD").arg(ended).arg(at.as_millisecond()).arg(&key.id).to_owned());
    }
    redis.many::<Value>(filed).await?;
    let working = ended.iter().map(|(key, _)| cmd("SREM").arg(keys::api_keys_of(&key.owner)).arg(&key.id).to_owned());
    redis.many::<Value>(working.collect()).await?;
    Ok(())
}

fn ask_key(id: &str) -> Cmd {
    cmd("HGETALL").arg(keys::api_key(id)).to_owned()
}

/// Reads what [`is_alive`] takes.
fn ask_alive(id: &str) -> Cmd {
    cmd("HMGET").arg(keys::api_key(id)).arg(api_key_field::HASH).arg(api_key_field::REVOKED).to_owned()
}

/// True if a key is there and unrevoked. An expired one counts: the keys below it have expired too.
fn is_alive(answer: Value) -> Result<bool, StoreError> {
    let (hash, revoked) = <(Option<String>, Option<String>)>::from_redis_value(answer).map_err(RedisError::from)?;
    Ok(hash.is_some() && revoked.is_none())
}

/// `None` when there is no such key. The time of the last use alone makes none: it may have been noted while the key was dropped.
fn read_key(id: &str, fields: &HashMap<String, String>) -> Result<Option<ApiKey>, StoreError> {
    if !fields.contains_key(api_key_field::HASH) {
        return Ok(None);
    }
    let corrupt = || StoreError::Corrupt(format!("{}: a missing or odd field", keys::api_key(id)));
    decode(id, fields).map(Some).ok_or_else(corrupt)
}

fn decode(id: &str, fields: &HashMap<String, String>) -> Option<ApiKey> {
    let time = |field: &str| match fields.get(field) {
        None => Some(None),
        Some(ms) => Some(Some(Timestamp::from_millisecond(ms.parse().ok()?).ok()?)),
    };
    let ancestors = |text: &String| text.split(' ').filter(|id| !id.is_empty()).map(str::to_owned).collect();
    Some(ApiKey {
        id: id.to_owned(),
        hash: SecretHash::from_hex(fields.get(api_key_field::HASH)?)?,
        owner: Email::from_store(fields.get(api_key_field::OWNER)?.clone()),
        name: KeyName::from_store(fields.get(api_key_field::NAME).cloned().unwrap_or_default()),
        scopes: fields.get(api_key_field::SCOPES)?.parse().ok()?,
        ancestors: fields.get(api_key_field::ANCESTORS).map(ancestors),
        created_at: time(api_key_field::CREATED)??,
        expires_at: time(api_key_field::EXPIRES)?,
        last_used_at: time(api_key_field::USED)?,
        revoked_at: time(api_key_field::REVOKED)?,
    })
}
