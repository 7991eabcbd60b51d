//! Sessions of the console.
//!
//! All of it ends by itself: each key carries its expiry in the command that writes it. A session is known by a hash of the browser's
//! secret. Logging out everywhere is one write too: it starts a new *generation* of the officer's sessions, and a session of another
//! generation is none.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use redis::{Value, cmd, from_redis_value};
use serde::{Deserialize, Serialize};

use super::{Actor, Store, StoreError, keys, officers::ask_suspended};
use crate::{domain::Email, metrics::Operation};

/// An officer who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub email: Email,
    pub since: Timestamp,
}

/// A session as a request finds it.
#[derive(Clone, Debug)]
pub struct FoundSession {
    pub session: Session,
    /// Until it ends by itself.
    pub left: Duration,
    pub is_suspended: bool,
}

/// What `session:{id}` holds, as JSON.
#[derive(Serialize, Deserialize)]
struct Kept {
    email: String,
    since_ms: i64,
    generation: String,
}

impl Store {
    /// Begins a session, and the officer's account when this is the first that is heard of them. It ends after `life`.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: the session may or may not have begun.
    pub async fn begin_session(&self, id: &str, session: &Session, life: Duration) -> Result<(), StoreError> {
        let since_ms = session.since.as_millisecond();
        let result = self
            .ask(Operation::SessionWrite, async |redis| {
                cmd("ZADD")
                    .arg(keys::ACCOUNTS)
                    .arg("NX")
                    .arg(since_ms)
                    .arg(session.email.as_str())
                    .exec_async(redis)
                    .await?;
                let generation: Option<String> =
                    cmd("GET").arg(keys::session_generation(&session.email)).query_async(redis).await?;
                let kept = Kept {
                    email: session.email.as_str().to_owned(),
                    since_ms,
                    generation: generation.unwrap_or_default(),
                };
                let text = serde_json::to_string(&kept).expect("texts and a number are JSON");
                cmd("SET").arg(keys::session(id)).arg(text).arg("PX").arg(ms(life)).exec_async(redis).await
            })
            .await;
        self.trail_session_began(session, &result);
        result
    }

    /// Reads a session that hasn't ended.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn find_session(&self, id: &str) -> Result<Option<FoundSession>, StoreError> {
        let key = keys::session(id);
        let found = self
            .ask(Operation::SessionRead, async |redis| {
                let asked = vec![cmd("GET").arg(&key).to_owned(), cmd("PTTL").arg(&key).to_owned()];
                let [text, left_ms] = <[Value; 2]>::try_from(redis.many(asked).await?).unwrap_or_default();
                let Some(text) = from_redis_value::<Option<String>>(text)? else { return Ok(None) };
                let left_ms: i64 = from_redis_value(left_ms)?;
                let Ok(kept) = serde_json::from_str::<Kept>(&text) else { return Ok(Some(Err(()))) };
                let email = Email::from_store(kept.email);
                let generation = cmd("GET").arg(keys::session_generation(&email)).to_owned();
                let answers: Vec<Option<String>> = redis.many(vec![generation, ask_suspended(&email)]).await?;
                let [generation, suspended] = <[_; 2]>::try_from(answers).unwrap_or_default();
                if generation.unwrap_or_default() != kept.generation {
                    return Ok(None);
                }
                Ok(Some(Ok((email, kept.since_ms, left_ms, suspended.is_some()))))
            })
            .await?;
        let Some(read) = found else { return Ok(None) };
        let corrupt = || StoreError::Corrupt("session: no session".to_owned());
        let (email, since_ms, left_ms, is_suspended) = read.map_err(|()| corrupt())?;
        let since = Timestamp::from_millisecond(since_ms).map_err(|_| corrupt())?;
        // Below 0: it has just ended.
        let left = u64::try_from(left_ms).ok().map(Duration::from_millis);
        Ok(left.map(|left| FoundSession { session: Session { email, since }, left, is_suspended }))
    }

    /// Lets a session go on for `life` from now; one that has ended meanwhile stays ended.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn prolong_session(&self, id: &str, life: Duration) -> Result<(), StoreError> {
        self.ask(Operation::SessionWrite, async |redis| {
            cmd("PEXPIRE").arg(keys::session(id)).arg(ms(life)).exec_async(redis).await
        })
        .await
    }

    /// Ends a session. `of`: who ends theirs; `None` when there may have been none, or this isn't for the trail.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: the session may go on.
    pub async fn end_session(&self, id: &str, of: Option<&Email>) -> Result<(), StoreError> {
        let key = keys::session(id);
        let result =
            self.ask(Operation::SessionWrite, async |redis| cmd("DEL").arg(&key).exec_async(redis).await).await;
        if let Some(email) = of {
            self.trail_session_ended(email, false, &Actor::Session(email.clone()), &result);
        }
        result
    }

    /// Ends all sessions of an officer, in every browser.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: they may go on.
    pub async fn end_all_sessions(&self, email: &Email, by: &Actor) -> Result<(), StoreError> {
        let generation = nanoid::nanoid!(12);
        let result = self
            .ask(Operation::SessionWrite, async |redis| {
                cmd("SET").arg(keys::session_generation(email)).arg(&generation).exec_async(redis).await
            })
            .await;
        self.trail_session_ended(email, true, by, &result);
        result
    }

    /// Returns those of the officers who have a session that began before the time beside them.
    /// Costs a SCAN of all keys.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn logged_in_before(&self, officers: &BTreeMap<Email, Timestamp>) -> Result<BTreeSet<Email>, StoreError> {
        let mut logged_in = BTreeSet::new();
        if officers.is_empty() {
            return Ok(logged_in);
        }
        let mut scan = self.scan(Operation::SessionRead, keys::session("*")).await?;
        while let Some(found) = scan.next(self).await? {
            let asked = found.iter().map(|key| cmd("GET").arg(key).to_owned()).collect();
            let texts: Vec<Option<String>> =
                self.ask(Operation::SessionRead, async |redis| redis.many(asked).await).await?;
            let kept = texts.into_iter().flatten().filter_map(|text| serde_json::from_str::<Kept>(&text).ok());
            let began_before = |kept: &Kept| {
                let (email, last) = officers.get_key_value(&Email::from_store(kept.email.clone()))?;
                (kept.since_ms <= last.as_millisecond()).then(|| email.clone())
            };
            for (email, kept) in kept.filter_map(|kept| Some((began_before(&kept)?, kept))) {
                let generation = keys::session_generation(&email);
                let generation: Option<String> = self
                    .ask(Operation::SessionRead, async |redis| cmd("GET").arg(&generation).query_async(redis).await)
                    .await?;
                // Absent: the empty generation.
                if generation.unwrap_or_default() == kept.generation {
                    logged_in.insert(email);
                }
            }
        }
        Ok(logged_in)
    }
}

pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("settings are at most ten years")
}
