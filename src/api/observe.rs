//! What an operator sees of a request to an API or the console: a request id, one log line, a count and a duration. Nothing secret, nobody's name.

use std::time::Instant;

use actix_web::{
    Error, HttpMessage as _,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};

use crate::state::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The id of the key that a request came with, for its log line.
#[derive(Clone)]
pub struct KeyId(pub String);

/// The id of a request, for answers that tell it in their body.
#[derive(Clone)]
pub struct RequestId(pub HeaderValue);

impl RequestId {
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Wraps the routes of API v1.
pub async fn observe_v1(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    observe("v1", request, next).await
}

/// Wraps the routes of API v2.
pub async fn observe_v2(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    observe("v2", request, next).await
}

/// Wraps the routes of the console.
pub async fn observe_console(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    observe("console", request, next).await
}

async fn observe<B: MessageBody>(
    api: &'static str,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let started = Instant::now();
    let app = request.app_data::<Data<App>>().cloned();
    let id = request_id(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = method_label(request.method());
    let mut response = next.call(request).await?;
    let route = response.request().match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let duration = started.elapsed();
    let status = response.status().as_u16();
    if let Some(app) = app {
        app.metrics.http_request(api, &route, method, status, duration);
    }
    let key_id = response.request().extensions().get::<KeyId>().map(|key| key.0.clone());
    tracing::info!(
        http.method = method,
        http.route = route,
        http.status = status,
        duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        request.id = id.to_str().unwrap_or_default(),
        key.id = key_id,
        "request"
    );
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}

/// The caller's own id when it is harmless, else a new one.
fn request_id(request: &ServiceRequest) -> HeaderValue {
    let harmless = |value: &&HeaderValue| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&value.len())
            && value.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
    };
    request.headers().get(REQUEST_ID).filter(harmless).cloned().unwrap_or_else(|| {
        HeaderValue::from_str(&nanoid::nanoid!(16)).expect("nanoid's alphabet is letters, digits, _ and -")
    })
}

/// A caller can send any word as method; a label it becomes only when it is a known one.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
