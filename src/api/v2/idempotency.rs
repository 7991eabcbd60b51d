//! `Idempotency-Key`: the same request twice has one effect and one answer, on whatever nodes, and when the first node dies in between.
//!
//! How that is kept is told in `store/idempotency.rs`. Here it is said what a repetition hears.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    body::MessageBody as _,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LOCATION},
    },
};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep, timeout};

use super::{
    call::Call,
    kind::Kind,
    problem::{Mistake, Problem},
};
use crate::{
    links::Attempt,
    store::{Answer, Begun, Held, Quota},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_BYTES_MAX: usize = 255;

/// A repetition that comes while the first is running waits for its answer, but not longer than this.
const WAIT_MAX: Duration = Duration::from_secs(2);
const WAIT_STEP: Duration = Duration::from_millis(20);
/// When it has waited in vain.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// For the work itself: well within the lease of the record.
const WORK_TIME_MAX: Duration = Duration::from_secs(10);

/// Headers that belong to the answer and not to its delivery.
const KEPT_HEADERS: [HeaderName; 3] = [CONTENT_TYPE, ETAG, LOCATION];

/// What is to be done with a request that may be a repetition.
pub enum Replay {
    /// It isn't to be repeated.
    Once,
    First(Held),
    Answered(Answer),
}

impl Replay {
    /// Finds out whether the request, with this body, was made before; waits a little for one that is running.
    ///
    /// # Errors
    ///
    /// When the key is none, belongs to another request, or the first is still running; and when the officer's kept answers take as much as
    /// they may.
    pub async fn begin<P>(call: &Call<P>, body: &[u8]) -> Result<Self, Problem> {
        let Some(header) = call.request.headers().get(&IDEMPOTENCY_KEY) else { return Ok(Self::Once) };
        // A tab is the one control that a header may have.
        let well_formed = |key: &&str| (1..=KEY_BYTES_MAX).contains(&key.len()) && !key.contains('\t');
        let key = header.to_str().ok().filter(well_formed).ok_or_else(|| {
            let detail = format!("must be a text of 1 to {KEY_BYTES_MAX} ASCII characters");
            Problem::mistakes(vec![Mistake::of("Idempotency-Key", detail)])
        })?;
        let fingerprint = fingerprint(call, body);
        let quota = Quota { officer: &call.officer().email, bytes_max: call.app.config.limits.kept_answers_bytes_max };
        let give_up = Instant::now() + WAIT_MAX;
        loop {
            let begun = call
                .app
                .store
                .begin_request(&call.officer().key_id, key, &fingerprint, quota, call.app.store.now())
                .await?;
            match begun {
                Begun::Mine(held) => return Ok(Self::First(held)),
                Begun::Answered(answer) => return Ok(Self::Answered(answer)),
                Begun::OfAnother => {
                    return Err(Problem::new(Kind::KeyReused, "the first request with this key was another one"));
                }
                Begun::OverQuota(wait) => {
                    let detail = "the answers that are kept for you take as much as they may; nothing was done";
                    return Err(Problem::new(Kind::IdempotencyQuota, detail).retry_after(wait));
                }
                Begun::Running if Instant::now() >= give_up => {
                    let detail = "the first request with this key hasn't been answered yet";
                    return Err(Problem::new(Kind::InProgress, detail).retry_after(RETRY_AFTER));
                }
                Begun::Running => sleep(WAIT_STEP).await,
            }
        }
    }

    /// Answers as before, or does the work and keeps its answer. An outage and damaged data are no
    /// answer: who repeats the request then has it done.
    ///
    /// # Errors
    ///
    /// What the work says.
    pub async fn answer<P>(
        self,
        call: &Call<P>,
        work: impl AsyncFnOnce(&Attempt) -> Result<HttpResponse, Problem>,
    ) -> Result<HttpResponse, Problem> {
        let held = match self {
            Self::Once => return work(&Attempt::once(&call.app)).await,
            Self::Answered(answer) => return replay(answer),
            Self::First(held) => held,
        };
        let attempt = Attempt::of(&call.app, &held);
        let late = || Err(Problem::new(Kind::Unavailable, "it took too long").retry_after(RETRY_AFTER));
        let result = timeout(WORK_TIME_MAX, work(&attempt)).await.unwrap_or_else(|_| late());
        let response = match result {
            Err(problem) if matches!(problem.kind, Kind::Unavailable | Kind::Damaged) => {
                let _ = call.app.store.leave_request(held).await;
                return Err(problem);
            }
            Err(problem) => problem.respond(&call.id()),
            Ok(response) => response,
        };
        let (response, answer) = copy(response)?;
        if let Err(error) = call.app.store.finish_request(held, answer).await {
            tracing::debug!("an answer couldn't be kept: {error}");
        }
        Ok(response)
    }

    /// As [`Self::answer`] for work whose answer holds a secret: a repetition hears that it is one.
    ///
    /// # Errors
    ///
    /// What the work says, and that there was an answer.
    pub async fn answer_once<P>(
        self,
        call: &Call<P>,
        work: impl AsyncFnOnce(&Attempt) -> Result<HttpResponse, Problem>,
    ) -> Result<HttpResponse, Problem> {
        let held = match self {
            Self::Once => return work(&Attempt::once(&call.app)).await,
            Self::Answered(_) => {
                return Err(Problem::new(Kind::NotReplayed, "the first answer held a secret that isn't kept"));
            }
            Self::First(held) => held,
        };
        match work(&Attempt::of(&call.app, &held)).await {
            Ok(response) => {
                let answer = Answer { status: response.status().as_u16(), headers: Vec::new(), body: None };
                call.app.store.finish_request(held, answer).await?;
                Ok(response)
            }
            // Nothing was made: the key is free for a better request.
            Err(problem) => {
                let _ = call.app.store.leave_request(held).await;
                Err(problem)
            }
        }
    }
}

/// Of everything that makes a request what it is.
fn fingerprint<P>(call: &Call<P>, body: &[u8]) -> String {
    let digest = Sha256::new()
        .chain_update(call.request.method().as_str())
        .chain_update(" ")
        .chain_update(call.request.uri().to_string())
        .chain_update("\n")
        .chain_update(body)
        .finalize();
    hex(&digest)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Takes an answer's copy.
fn copy(response: HttpResponse) -> Result<(HttpResponse, Answer), Problem> {
    let lost = || Problem::new(Kind::Unavailable, "the answer couldn't be kept");
    let (head, body) = response.into_parts();
    let body = body.try_into_bytes().map_err(|_| lost())?;
    let headers = KEPT_HEADERS
        .iter()
        .filter_map(|name| Some((name.as_str().to_owned(), head.headers().get(name)?.to_str().ok()?.to_owned())))
        .collect();
    let text = str::from_utf8(&body).map_err(|_| lost())?.to_owned();
    let answer = Answer { status: head.status().as_u16(), headers, body: Some(text) };
    Ok((head.set_body(body).map_into_boxed_body(), answer))
}

fn replay(answer: Answer) -> Result<HttpResponse, Problem> {
    let lost = || Problem::new(Kind::NotReplayed, "the first answer isn't kept");
    let mut response = HttpResponse::build(StatusCode::from_u16(answer.status).map_err(|_| lost())?);
    for (name, value) in &answer.headers {
        response.insert_header((name.as_str(), value.as_str()));
    }
    response.insert_header((REPLAYED, HeaderValue::from_static("true")));
    Ok(response.body(answer.body.ok_or_else(lost)?))
}
