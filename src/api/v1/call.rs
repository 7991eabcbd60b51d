//! What comes before every v1 handler, in the contract's order: the body is read and parsed, then the key is checked, then the limit.
//!
//! One extractor does all of it, because extractors of their own would race one another for the first error.

use std::{future::Future, pin::Pin, time::Duration};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest,
    dev::Payload,
    http::header::{CONTENT_LENGTH, CONTENT_TYPE},
    web::{BytesMut, Data},
};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::timeout;

use super::{error::Error, validate};
use crate::{
    api::observe::KeyId,
    auth::{self, Caller, Officer, Permission},
    state::App,
};

/// "100 kB", as the original's body parser counts.
const BODY_BYTES_MAX: usize = 102_400;
/// Of a body that is too large, this much is read and dropped, so that its sender gets to read the answer.
const DROPPED_BYTES_MAX: usize = 1024 * 1024;
/// A body of 100 kB takes 4 s over a line of 200 kbit/s. The framework itself would wait for ever.
const BODY_TIME_MAX: Duration = Duration::from_secs(5);

/// A parsed request of somebody who may make it.
pub struct Call<P> {
    /// An object or a list.
    pub body: Value,
    pub caller: Caller<P>,
}

/// A parsed request of somebody with a good key, to a route that doesn't exist.
pub struct Stray;

impl<P: Permission + 'static> FromRequest for Call<P> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let (body, officer) = enter(&request, payload).await?;
            let app = app(&request);
            let caller = officer.permit(&app)?;
            within_limit(&app, &caller.officer)?;
            Ok(Self { body, caller })
        })
    }
}

impl FromRequest for Stray {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let (_, officer) = enter(&request, payload).await?;
            let below_admin = request.path().starts_with("/api/v1/admin/") || request.path() == "/api/v1/admin";
            if below_admin && !officer.is_admin() {
                return Err(Error::NotAdmin);
            }
            within_limit(&app(&request), &officer)?;
            Ok(Self)
        })
    }
}

async fn enter(request: &HttpRequest, payload: Payload) -> Result<(Value, Officer), Error> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let bytes = timeout(BODY_TIME_MAX, read(request, payload)).await.map_err(|_| Error::BodyTooSlow)??;
    let body = validate::parse_body(content_type, &bytes)?;
    let officer = auth::authenticate(&app(request), request.headers()).await?;
    request.extensions_mut().insert(KeyId(officer.key_id.clone()));
    Ok((body, officer))
}

async fn read(request: &HttpRequest, mut payload: Payload) -> Result<BytesMut, Error> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut body = BytesMut::with_capacity(announced.unwrap_or(0).min(BODY_BYTES_MAX));
    let mut size = 0_usize;
    while let Some(chunk) = payload.next().await {
        // A body that ends before its announced length, or a broken chunk.
        let chunk = chunk.map_err(|_| Error::MalformedBody)?;
        size += chunk.len();
        if size <= BODY_BYTES_MAX {
            body.extend_from_slice(&chunk);
        } else if size > DROPPED_BYTES_MAX || announced.is_some_and(|announced| announced > DROPPED_BYTES_MAX) {
            break;
        }
    }
    if size > BODY_BYTES_MAX { Err(Error::BodyTooLarge) } else { Ok(body) }
}

fn within_limit(app: &App, officer: &Officer) -> Result<(), Error> {
    match &app.api_requests {
        Some(limit) => limit.take(&officer.key_id).map_err(Error::TooManyRequests),
        None => Ok(()),
    }
}

fn app(request: &HttpRequest) -> Data<App> {
    request.app_data::<Data<App>>().expect("the server is built with its state").clone()
}
