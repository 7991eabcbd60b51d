//! Requests that may be repeated: who is answering one, and what the answer was.
//!
//! The first to bring an `Idempotency-Key` writes a record with what the request's effects depend
//! on: a seed for whatever is drawn by chance, and for the mark by which a repetition knows what
//! was done. While it works it holds the record by a lease. A node that died in the middle leaves a
//! record whose lease runs out; who takes it over then does the same with the same seed, and finds
//! what was done already. The answer replaces the record's lease. Each step is one command that
//! compares and writes.
//!
//! Memory is bounded twice. A long answer is kept compressed, up to [`KEPT_BYTES_MAX`], and one beyond that isn't kept. And what is kept for
//! one officer is counted by the hour: a new request is refused before it begins when the last day's records take all that an officer may
//! have. A request that is repeated is never refused. One answer may exceed the quota for each request that was under way.

use std::{
    io::{Read as _, Write as _},
    sync::LazyLock,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use jiff::Timestamp;
use redis::cmd;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, connection::Lua, keys};
use crate::{domain::Email, metrics::Operation};

pub(super) static REPLACE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/replace.lua")));
pub(super) static KEEP: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/keep.lua")));
pub(super) static DROP: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/drop.lua")));

/// Of an answer's body, as it is kept. More than the answer to a thousand rows of the greatest length takes.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A shorter body is kept as it is: a record that a person can read is worth more than its half.
const COMPRESSED_FROM_BYTES: usize = 1024;
/// A longer body is compressed on a thread of its own: 1 MB takes some 10 ms.
const COMPRESSED_ASIDE_FROM_BYTES: usize = 64 * 1024;
/// Bounds what a record can be unpacked to. No answer is as long.
const UNPACKED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Memory that Redis needs for a record besides its text.
const RECORD_OVERHEAD_BYTES: usize = 200;
/// A record lives 24 hours, which touch 25 hours of the clock.
const HOURS_COUNTED: i64 = 25;
const HOUR_MS: i64 = 60 * 60 * 1000;

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

/// An answer as its record has it: with `body`, or with `deflated`, or when it isn't kept with neither. A release that doesn't know `deflated`
/// takes the answer for one that isn't kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeptAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<String>,
    /// The body by DEFLATE (RFC 1951), in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deflated: Option<String>,
}

/// Quota of kept answers for an officer.
#[derive(Clone, Copy, Debug)]
pub struct Quota<'a> {
    pub officer: &'a Email,
    pub bytes_max: u64,
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
    answer: Option<KeptAnswer>,
}

/// The right to answer a request.
#[derive(Clone, Debug)]
pub struct Held {
    officer: Email,
    key: String,
    /// The record as Redis has it.
    text: String,
    record: Record,
    is_repeated: bool,
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
    /// As much is kept for the officer as may be; after this time some of it is gone.
    OverQuota(Duration),
}

/// How far a request has come.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Nobody has begun it.
    None,
    /// Somebody is answering it, or has given up (`is_running` is false then).
    Begun {
        /// As [`Held::seed`].
        seed: String,
        is_running: bool,
    },
    Answered(Answer),
}

impl Held {
    /// True if the request was begun before, so that some of it may be done.
    pub fn is_repeated(&self) -> bool {
        self.is_repeated
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
        quota: Quota<'_>,
        now: Timestamp,
    ) -> Result<Begun, StoreError> {
        let officer = quota.officer.clone();
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
            let held = Held { officer, key, text, record, is_repeated: false };
            let bytes = held.text.len() + RECORD_OVERHEAD_BYTES;
            return match self.count_kept(quota.officer, bytes, Some(quota.bytes_max), now).await? {
                None => Ok(Begun::Mine(held)),
                Some(wait) => {
                    self.drop_request(&held).await?;
                    Ok(Begun::OverQuota(wait))
                }
            };
        };
        let old = decode(&found)?;
        if old.fingerprint != fingerprint {
            return Ok(Begun::OfAnother);
        }
        if let Some(answer) = old.answer {
            return Ok(Begun::Answered(unpack(answer).await?));
        }
        if now.as_millisecond() < old.held_until {
            return Ok(Begun::Running);
        }
        let taken = Record { holder: record.holder, held_until: record.held_until, ..old };
        let held = Held { officer, key, text: encode(&taken), record: taken, is_repeated: true };
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
            Some(answer) => Progress::Answered(unpack(answer).await?),
            None => Progress::Begun { is_running: now.as_millisecond() < record.held_until, seed: record.seed },
        })
    }

    /// Keeps the answer for whoever repeats the request.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: then whoever repeats it does it again, with the same outcome.
    pub async fn finish_request(&self, held: Held, answer: Answer) -> Result<(), StoreError> {
        let text = encode(&Record { answer: Some(pack(answer).await), ..held.record });
        self.replace(&held.key, &held.text, &text).await?;
        let more = text.len().saturating_sub(held.text.len());
        if let Err(error) = self.count_kept(&held.officer, more, None, self.now()).await {
            tracing::debug!("the bytes of a kept answer couldn't be counted: {error}");
        }
        Ok(())
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

    /// Counts bytes that are kept for an officer for a day. Returns the time to wait when they would exceed the quota: then they don't count.
    async fn count_kept(
        &self,
        officer: &Email,
        bytes: usize,
        quota: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<Duration>, StoreError> {
        let hour = now.as_millisecond() / HOUR_MS;
        let mut call = KEEP.call(keys::kept_bytes(officer));
        call.arg(hour).arg(bytes).arg(quota.unwrap_or(0)).arg(hour - HOURS_COUNTED + 1).arg(HOURS_COUNTED * HOUR_MS);
        let oldest: i64 = self.ask(Operation::Idempotency, async |redis| redis.run(&KEEP, &call).await).await?;
        let free_at_ms = (oldest + HOURS_COUNTED) * HOUR_MS;
        let wait = || Duration::from_millis(u64::try_from(free_at_ms - now.as_millisecond()).unwrap_or(0));
        Ok((oldest >= 0).then(wait))
    }

    /// Forgets a request of which nothing was done.
    async fn drop_request(&self, held: &Held) -> Result<(), StoreError> {
        let mut call = DROP.call(held.key.clone());
        call.arg(&held.text);
        self.ask(Operation::Idempotency, async |redis| redis.run::<()>(&DROP, &call).await).await
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

/// Compresses a long body, and leaves out one that is too long even so.
async fn pack(answer: Answer) -> KeptAnswer {
    let Answer { status, headers, body } = answer;
    let kept = |body, deflated| KeptAnswer { status, headers, body, deflated };
    match body {
        Some(body) if body.len() >= COMPRESSED_FROM_BYTES => {
            let deflated = aside(body.len(), move || deflate(&body)).await;
            kept(None, deflated.filter(|deflated| deflated.len() <= KEPT_BYTES_MAX))
        }
        body => kept(body, None),
    }
}

async fn unpack(answer: KeptAnswer) -> Result<Answer, StoreError> {
    let KeptAnswer { status, headers, body, deflated } = answer;
    let body = match deflated {
        None => body,
        Some(deflated) => {
            let inflated = aside(deflated.len(), move || inflate(&deflated)).await.flatten();
            Some(inflated.ok_or_else(|| StoreError::Corrupt("a kept answer that can't be unpacked".to_owned()))?)
        }
    };
    Ok(Answer { status, headers, body })
}

/// Does work on so many bytes where it keeps nobody waiting. `None` when its thread is gone.
async fn aside<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if bytes < COMPRESSED_ASIDE_FROM_BYTES {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}

fn deflate(text: &str) -> String {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    STANDARD.encode(written.expect("writing to memory doesn't fail"))
}

fn inflate(deflated: &str) -> Option<String> {
    let bytes = STANDARD.decode(deflated).ok()?;
    let mut text = String::new();
    DeflateDecoder::new(&*bytes).take(UNPACKED_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Answer { status: 200, headers, body: Some(body.to_owned()) }
    }

    #[tokio::test]
    async fn an_answer_is_unpacked_as_it_was_packed() {
        for length in [0, 1, 1_023, 1_024, 63_000, 1_000_000] {
            let answer = answer(&"{\"row\":1}".repeat(length / 9 + 1)[..length]);
            assert_eq!(unpack(pack(answer.clone()).await).await.expect("can be unpacked"), answer, "{length}");
        }
    }

    #[tokio::test]
    async fn a_long_answer_takes_a_fraction_of_its_length_and_one_that_is_too_long_nothing() {
        let row = r#"{"row":1,"status":201,"link":{"code":"abcdefgh","target_url":"https://example.com/form"}},"#;
        let kept = pack(answer(&row.repeat(10_000))).await;
        let bytes = kept.deflated.expect("is compressed").len();
        assert!(bytes < row.len() * 10_000 / 50, "{bytes} bytes");
        assert!(kept.body.is_none());
        let random: String = (0..KEPT_BYTES_MAX / 16).map(|_| nanoid::nanoid!(21)).collect();
        let kept = pack(answer(&random)).await;
        assert!(kept.body.is_none() && kept.deflated.is_none());
    }

    #[tokio::test]
    async fn what_the_release_before_kept_is_replayed() {
        let old = r#"{"fingerprint":"f","at":1,"seed":"s","holder":"h","held_until":2,
            "answer":{"status":201,"headers":[["etag","\"1\""]],"body":"{\"code\":\"form\"}"}}"#;
        let kept = decode(old).expect("can be read").answer.expect("was answered");
        let answer = unpack(kept).await.expect("isn't compressed");
        assert_eq!((answer.status, answer.body.as_deref()), (201, Some(r#"{"code":"form"}"#)));
    }
}
