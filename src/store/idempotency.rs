//! Requests that may be repeated: who is answering one, and what the answer was.
//!
//! The first to bring an `Idempotency-Key` writes a record with what the request's effects depend on: its time, and a seed for whatever is
//! drawn by chance. While it works it holds the record by a lease. A node that died in the middle leaves a record whose lease runs out;
//! who takes it over then does the same with the same time and seed, and finds what was done already. The answer replaces the record's
//! lease. Each step is one command that compares and writes.

use std::{sync::LazyLock, time::Duration};

use jiff::Timestamp;
use redis::cmd;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, connection::Lua, keys};
use crate::metrics::Operation;

pub(super) static REPLACE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/replace.lua")));

/// How long an answer is kept.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a record is held without an answer. Longer than any request may take, nodes' clocks a little apart included.
const LEASE: Duration = Duration::from_secs(15);

/// 128 bits.
const SEED_LENGTH: usize = 22;

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// `None`: it held a secret.
    pub body: Option<String>,
}

/// A request that is being answered, or was.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    /// Of the whole request.
    fingerprint: String,
    /// Milliseconds since 1970.
    at: i64,
    seed: String,
    holder: String,
    /// Milliseconds since 1970.
    held_until: i64,
    answer: Option<Answer>,
}

/// The right to answer a request.
#[derive(Clone, Debug)]
pub struct Held {
    key: String,
    /// The record as Redis has it.
    text: String,
    record: Record,
}

#[derive(Clone, Debug)]
pub enum Begun {
    /// Answer it.
    Mine(Held),
    Answered(Answer),
    /// Somebody else is answering it.
    Running,
    /// The key belongs to a request with another fingerprint.
    OfAnother,
}

/// How far a request has come.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Nobody has begun it.
    None,
    /// Somebody is answering it, or has given up (`is_running` is false then). `at` is when it was first begun.
    Begun {
        at: Timestamp,
        is_running: bool,
    },
    Answered(Answer),
}

impl Held {
    /// When the request was first begun.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.record.at).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The same for all who answer this request, and known to nobody else.
    pub fn seed(&self) -> &str {
        &self.record.seed
    }
}

impl Store {
    /// Begins, or takes over, a request that `asker` named `key`; or answers what became of it.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn begin_request(
        &self,
        asker: &str,
        key: &str,
        fingerprint: &str,
        now: Timestamp,
    ) -> Result<Begun, StoreError> {
        let key = keys::idempotency(asker, key);
        let record = Record {
            fingerprint: fingerprint.to_owned(),
            at: now.as_millisecond(),
            seed: nanoid::nanoid!(SEED_LENGTH),
            holder: nanoid::nanoid!(),
            held_until: lease_from(now),
            answer: None,
        };
        let text = encode(&record);
        let found: Option<String> = self
            .ask(Operation::Idempotency, async |redis| {
                cmd("SET")
                    .arg(&key)
                    .arg(&text)
                    .arg("NX")
                    .arg("GET")
                    .arg("PX")
                    .arg(millis(KEPT_FOR))
                    .query_async(redis)
                    .await
            })
            .await?;
        // A Cluster's client may have sent it twice: then what was found is what was written.
        let Some(found) = found.filter(|found| *found != text) else {
            return Ok(Begun::Mine(Held { key, text, record }));
        };
        let old = decode(&found)?;
        if old.fingerprint != fingerprint {
            return Ok(Begun::OfAnother);
        }
        if let Some(answer) = old.answer {
            return Ok(Begun::Answered(answer));
        }
        if now.as_millisecond() < old.held_until {
            return Ok(Begun::Running);
        }
        let taken = Record { holder: record.holder, held_until: record.held_until, ..old };
        let held = Held { key, text: encode(&taken), record: taken };
        Ok(if self.replace(&held.key, &found, &held.text).await? { Begun::Mine(held) } else { Begun::Running })
    }

    /// What became of a request, without beginning it.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn request_progress(&self, asker: &str, key: &str, now: Timestamp) -> Result<Progress, StoreError> {
        let key = keys::idempotency(asker, key);
        let found: Option<String> =
            self.ask(Operation::Idempotency, async |redis| cmd("GET").arg(&key).query_async(redis).await).await?;
        let Some(found) = found else { return Ok(Progress::None) };
        let record = decode(&found)?;
        Ok(match record.answer {
            Some(answer) => Progress::Answered(answer),
            None => Progress::Begun {
                at: Timestamp::from_millisecond(record.at).unwrap_or(Timestamp::UNIX_EPOCH),
                is_running: now.as_millisecond() < record.held_until,
            },
        })
    }

    /// Keeps the answer for whoever repeats the request.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: then whoever repeats it does it again, with the same outcome.
    pub async fn finish_request(&self, held: Held, answer: Answer) -> Result<(), StoreError> {
        let text = encode(&Record { answer: Some(answer), ..held.record });
        self.replace(&held.key, &held.text, &text).await.map(|_| ())
    }

    /// Leaves the request to whoever repeats it, at once.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: then the lease has to run out.
    pub async fn leave_request(&self, held: Held) -> Result<(), StoreError> {
        let text = encode(&Record { held_until: 0, ..held.record });
        self.replace(&held.key, &held.text, &text).await.map(|_| ())
    }

    async fn replace(&self, key: &str, known: &str, new: &str) -> Result<bool, StoreError> {
        let mut call = REPLACE.call(key.to_owned());
        call.arg(known).arg(new);
        self.ask(Operation::Idempotency, async |redis| redis.run(&REPLACE, &call).await).await
    }
}

fn lease_from(now: Timestamp) -> i64 {
    now.as_millisecond() + millis(LEASE)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn decode(text: &str) -> Result<Record, StoreError> {
    serde_json::from_str(text)
        .map_err(|_| StoreError::Corrupt("a record of a repeatable request that can't be read".to_owned()))
}

fn encode(record: &Record) -> String {
    serde_json::to_string(record).expect("a record is made of text and numbers")
}
