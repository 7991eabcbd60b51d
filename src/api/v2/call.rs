//! What comes before every v2 handler: the key is checked, then its scope, then its limit. A body is read by the handler that wants one.

use std::{future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest, HttpResponse,
    dev::Payload,
    http::{
        StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, HeaderName},
    },
    web::{BytesMut, Data},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    kind::Kind,
    problem::{Problem, RateLimit},
};
use crate::{
    api::{
        body,
        observe::{KeyId, RequestId},
    },
    auth::{self, Caller, Officer, Permission},
    state::App,
};

/// Of a body that is one thing. Batches have a bound of their own.
pub const BODY_BYTES_MAX: usize = 102_400;

/// A request of somebody who may make it.
pub struct Call<P> {
    pub caller: Caller<P>,
    pub app: Data<App>,
    pub request: HttpRequest,
    payload: Payload,
}

impl<P: Permission + 'static> FromRequest for Call<P> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let app = app(&request);
            let officer = auth::authenticate(&app, request.headers()).await?;
            request.extensions_mut().insert(KeyId(officer.key_id.clone()));
            let limited = within_limit(&app, &officer, &request);
            let caller = officer.permit(&app)?;
            limited?;
            Ok(Self { caller, app, request, payload })
        })
    }
}

/// A request that no handler takes. Nothing is asked of its sender; a good key's minute is counted all the same, and its answer tells so.
pub struct Stray;

impl FromRequest for Stray {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let app = app(&request);
            if request.headers().contains_key(AUTHORIZATION)
                && let Ok(officer) = auth::authenticate(&app, request.headers()).await
            {
                request.extensions_mut().insert(KeyId(officer.key_id.clone()));
                within_limit(&app, &officer, &request)?;
            }
            Ok(Self)
        })
    }
}

impl<P> Call<P> {
    pub fn officer(&self) -> &Officer {
        &self.caller.officer
    }

    /// The request's id.
    pub fn id(&self) -> String {
        self.request.extensions().get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default()
    }

    pub fn header(&self, name: impl Into<HeaderName>) -> Option<&str> {
        self.headers(name).next()
    }

    /// Each of a header that may come several times.
    pub fn headers(&self, name: impl Into<HeaderName>) -> impl Iterator<Item = &str> {
        self.request.headers().get_all(name.into()).filter_map(|value| value.to_str().ok())
    }

    /// The media type of the body, in lower case, without its parameters; empty when it isn't said.
    pub fn media_type(&self) -> String {
        let header = self.header(CONTENT_TYPE).unwrap_or_default();
        header.split(';').next().unwrap_or(header).trim().to_ascii_lowercase()
    }

    /// Reads the body. A second reading finds nothing.
    ///
    /// # Errors
    ///
    /// When it is too large, too slow or broken off.
    pub async fn body(&mut self, bytes_max: usize) -> Result<BytesMut, Problem> {
        let payload = std::mem::replace(&mut self.payload, Payload::None);
        Ok(body::read(&self.request, payload, bytes_max, &self.caller.officer.email).await?)
    }

    /// Reads a body of JSON.
    ///
    /// # Errors
    ///
    /// When it can't be read or isn't JSON.
    pub async fn json(&mut self) -> Result<(Value, BytesMut), Problem> {
        let media_type = self.media_type();
        let is_json = matches!(&*media_type, "application/json" | "application/merge-patch+json");
        let bytes = self.body(BODY_BYTES_MAX).await?;
        if !is_json {
            return Err(Problem::new(Kind::UnsupportedMediaType, "send application/json"));
        }
        let value = serde_json::from_slice(&bytes)
            .map_err(|error| Problem::new(Kind::Malformed, format!("the body isn't JSON: {error}")))?;
        Ok((value, bytes))
    }

    /// The short link of a code.
    pub fn short_url(&self, code: &str) -> String {
        self.app.short_url(code)
    }
}

/// An answer of JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "application/json"))
        .body(serde_json::to_vec(body).expect("answers are plain structs of text and numbers"))
}

/// Everything below `/api/v2` that isn't there. Said to whoever asks: there is nothing to hide.
pub async fn unknown(_: Stray) -> Result<HttpResponse, Problem> {
    Err(Problem::not_found("there is nothing at this address; /api/v2/docs lists what there is"))
}

fn within_limit(app: &App, officer: &Officer, request: &HttpRequest) -> Result<(), Problem> {
    let taken = app.api_requests.take(&officer.key_id, &officer.email);
    if let Some(left) = taken.unwrap_or_else(|over| Some(over.left)) {
        request.extensions_mut().insert(RateLimit(left));
    }
    taken.map(|_| ()).map_err(|over| Problem::new(Kind::RateLimited, over).retry_after(over.wait))
}

pub fn app(request: &HttpRequest) -> Data<App> {
    request.app_data::<Data<App>>().expect("the server is built with its state").clone()
}
