//! Reading a request's body within bounds of size and time. What it means is for the API's version to say.

use std::time::Duration;

use actix_web::{HttpRequest, dev::Payload, http::header::CONTENT_LENGTH, web::BytesMut};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::admission::{Arrival, Crowded};

/// Of a body that is refused, this much is read and dropped, so that its sender gets to read the answer.
const DROPPED_BYTES_MAX: usize = 1024 * 1024;
/// A body of 100 kB takes 4 s over a line of 200 kbit/s. The framework itself would wait for ever.
const TIME_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body didn't arrive within {} s", TIME_MAX.as_secs())]
    TooSlow,
    /// It ends before its announced length, or a chunk is broken.
    #[error("the body is broken off")]
    Broken,
    #[error(transparent)]
    Crowded(#[from] Crowded),
}

/// Reads a body of at most `bytes_max`. While it comes, the request has no place.
///
/// # Errors
///
/// When it is too large, too slow or broken off, or there is too much else to do.
pub async fn read(request: &HttpRequest, payload: Payload, bytes_max: usize) -> Result<BytesMut, BodyError> {
    let mut arrival = Arrival::begin(request);
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    // What is announced as too large is that, however slowly it comes.
    let refusal = announced.filter(|announced| *announced > bytes_max).map(|_| BodyError::TooLarge(bytes_max));
    let reading = read_all(payload, announced, refusal, bytes_max, &mut arrival);
    let body = timeout(TIME_MAX, reading).await.unwrap_or(Err(refusal.unwrap_or(BodyError::TooSlow)))?;
    arrival.end().await?;
    Ok(body)
}

async fn read_all(
    mut payload: Payload,
    announced: Option<usize>,
    mut refusal: Option<BodyError>,
    bytes_max: usize,
    arrival: &mut Arrival,
) -> Result<BytesMut, BodyError> {
    let mut body = BytesMut::new();
    let (mut size, mut dropped) = (0_usize, 0_usize);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        size += chunk.len();
        if refusal.is_none() {
            let taken = if size > bytes_max {
                Err(BodyError::TooLarge(bytes_max))
            } else {
                arrival.takes(chunk.len()).map_err(BodyError::from)
            };
            match taken {
                Ok(()) => {
                    body.extend_from_slice(&chunk);
                    continue;
                }
                Err(error) => refusal = Some(error),
            }
        }
        dropped += chunk.len();
        if dropped > DROPPED_BYTES_MAX || announced.is_some_and(|announced| announced > bytes_max + DROPPED_BYTES_MAX) {
            break;
        }
    }
    refusal.map_or(Ok(body), Err)
}
