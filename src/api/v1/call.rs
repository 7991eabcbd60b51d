//! The steps before every v1 handler, in the contract's order: the body is parsed, then the key is checked, then the limit.
//!
//! The key is looked up before the body is read, so that only an officer's body takes memory; its refusal waits until the body has been
//! judged. Of a body without a good key 4 kB are judged; a longer one counts as well-formed. One extractor does all of it, because extractors of their own would race one another for the first error.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload, http::header::CONTENT_TYPE, web::Data};
use serde_json::Value;

use super::{error::Error, validate};
use crate::{
    api::{body, observe::KeyId},
    auth::{self, Caller, Officer, Permission},
    state::App,
};

/// "100 kB", as the original's body parser counts.
const BODY_BYTES_MAX: usize = 102_400;

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
    body::refuse_encoded(request)?;
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let officer = match auth::authenticate(&app(request), request.headers()).await {
        Ok(officer) => officer,
        Err(refused) => {
            if let Some(bytes) = body::read_strangers(request, payload, BODY_BYTES_MAX).await? {
                validate::parse_body(content_type, &bytes)?;
            }
            return Err(refused.into());
        }
    };
    request.extensions_mut().insert(KeyId(officer.key_id.clone()));
    let bytes = body::read(request, payload, BODY_BYTES_MAX, &officer.email).await?;
    let body = validate::parse_body(content_type, &bytes)?;
    Ok((body, officer))
}

fn within_limit(app: &App, officer: &Officer) -> Result<(), Error> {
    let taken = app.api_requests.take(&officer.key_id, &officer.email);
    taken.map(|_| ()).map_err(|over| Error::TooManyRequests(over.wait))
}

fn app(request: &HttpRequest) -> Data<App> {
    request.app_data::<Data<App>>().expect("the server is built with its state").clone()
}
