//! Reading a request's body within bounds of size and time. What it means is for the API's version to say.

use std::time::Duration;

use actix_web::{HttpRequest, dev::Payload, http::header::CONTENT_LENGTH, web::BytesMut};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use crate::{
    admission::{Arrival, Crowded, NoRoom, STRANGER_BODY_BYTES_MAX, has_body, is_encoded},
    domain::Email,
};

/// Of a body that is refused, this much is read and dropped, so that its sender gets to read the answer.
const DROPPED_BYTES_MAX: usize = 1024 * 1024;
/// A body of 100 kB takes 4 s over a line of 200 kbit/s. The framework itself would wait for ever.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Each 32 kB that have arrived give a second more, so a batch of 4 MB may come over a line of 300 kbit/s. A sender that stops is given up after
/// [`TIME_MAX`] all the same.
const BYTES_A_SECOND_MIN: usize = 32 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body didn't arrive within {} s, and a second more for each 32 kB", TIME_MAX.as_secs())]
    TooSlow,
    /// It ends before its announced length, or a chunk is broken.
    #[error("the body is broken off")]
    Broken,
    #[error("the body has a Content-Encoding; send it without compression")]
    Encoded,
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

impl From<Crowded> for BodyError {
    fn from(crowded: Crowded) -> Self {
        Self::NoRoom(crowded.into())
    }
}

/// Refuses a compressed body: how much memory it takes shows only while it is unpacked.
///
/// # Errors
///
/// When it has a `Content-Encoding`.
pub fn refuse_encoded(request: &HttpRequest) -> Result<(), BodyError> {
    if is_encoded(request) { Err(BodyError::Encoded) } else { Ok(()) }
}

/// Reads an officer's body of at most `bytes_max`. While it arrives, the request has no place.
///
/// # Errors
///
/// When it is compressed, too large, too slow or broken off, or there is too much else to do.
pub async fn read(
    request: &HttpRequest,
    payload: Payload,
    bytes_max: usize,
    officer: &Email,
) -> Result<BytesMut, BodyError> {
    let body = read_keeping(request, payload, bytes_max, bytes_max, Some(officer)).await?;
    Ok(body.expect("all of it is kept"))
}

/// Reads the body of a sender without a good key: `None` when it is longer than such a sender's may be in memory. Then it is read on and
/// dropped, to answer as an officer would be answered when it is larger than `bytes_max`.
///
/// # Errors
///
/// As [`read`], but never for lack of memory: `None` then too.
pub async fn read_strangers(
    request: &HttpRequest,
    payload: Payload,
    bytes_max: usize,
) -> Result<Option<BytesMut>, BodyError> {
    match read_keeping(request, payload, bytes_max, STRANGER_BODY_BYTES_MAX, None).await {
        Err(BodyError::NoRoom(_)) => Ok(None),
        read => read,
    }
}

async fn read_keeping(
    request: &HttpRequest,
    payload: Payload,
    bytes_max: usize,
    kept_bytes_max: usize,
    officer: Option<&Email>,
) -> Result<Option<BytesMut>, BodyError> {
    refuse_encoded(request)?;
    if !has_body(request) {
        return Ok(Some(BytesMut::new()));
    }
    let announced = announced(request);
    // What is announced as too large is that, however slowly it comes.
    let refusal = announced.filter(|announced| *announced > bytes_max).map(|_| BodyError::TooLarge(bytes_max));
    let mut arrival = Arrival::begin(request, officer);
    let reading = Reading { announced, refusal, bytes_max, kept_bytes_max, arrival: &mut arrival };
    let body = reading.read(payload).await?;
    arrival.end().await?;
    Ok(body)
}

/// The time for a body of which so many bytes have arrived and are kept.
fn time_max(arrived: usize) -> Duration {
    TIME_MAX + Duration::from_secs((arrived / BYTES_A_SECOND_MIN) as u64)
}

fn announced(request: &HttpRequest) -> Option<usize> {
    request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok())
}

struct Reading<'a> {
    announced: Option<usize>,
    refusal: Option<BodyError>,
    bytes_max: usize,
    kept_bytes_max: usize,
    arrival: &'a mut Arrival,
}

impl Reading<'_> {
    async fn read(mut self, mut payload: Payload) -> Result<Option<BytesMut>, BodyError> {
        let mut body = Some(BytesMut::new());
        let (mut size, mut dropped) = (0_usize, 0_usize);
        let started = Instant::now();
        loop {
            let in_all = started + time_max(body.as_ref().map_or(0, BytesMut::len));
            let deadline = in_all.min(Instant::now() + TIME_MAX);
            let Ok(chunk) = timeout_at(deadline, payload.next()).await else {
                return Err(self.refusal.unwrap_or(BodyError::TooSlow));
            };
            let Some(chunk) = chunk else { break };
            let chunk = chunk.map_err(|_| BodyError::Broken)?;
            size += chunk.len();
            if size > self.bytes_max {
                self.refusal.get_or_insert(BodyError::TooLarge(self.bytes_max));
            }
            if self.refusal.is_some() || size > self.kept_bytes_max {
                body = None;
            }
            if let Some(kept) = &mut body {
                match self.arrival.takes(chunk.len()) {
                    Ok(()) => {
                        kept.extend_from_slice(&chunk);
                        continue;
                    }
                    Err(error) => {
                        self.refusal = Some(error.into());
                        body = None;
                    }
                }
            }
            dropped += chunk.len();
            let is_endless = self.announced.is_some_and(|announced| announced > self.bytes_max + DROPPED_BYTES_MAX);
            if dropped > DROPPED_BYTES_MAX || is_endless {
                break;
            }
        }
        self.refusal.map_or(Ok(body), Err)
    }
}
