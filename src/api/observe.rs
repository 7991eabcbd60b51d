//! What an operator sees of a request to an API or the console: a request id, one log line, a count, a duration, and a span if traces are
//! wanted. Nothing secret, nobody's name. The audit trail learns here where the request comes from.

use std::time::{Duration, Instant};

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

use crate::{client, origin::Origin, state::App, traces::RequestSpan};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The id of the key that a request came with, for its log line.
#[derive(Clone)]
pub struct KeyId(pub String);

/// The id of a request, for answers that tell it in their body.
#[derive(Clone)]
pub struct RequestId(pub HeaderValue);

impl RequestId {
    pub fn as_str(&self) -> &str {
        text(&self.0)
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
    let route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let traces = app.as_ref().and_then(|app| app.traces.as_ref());
    let span = traces.and_then(|traces| traces.begin(traceparent(&request), method, &route, text(&id)));
    let address = app.as_ref().filter(|app| app.config.audit.addresses);
    let address = address.and_then(|app| client::address(request.head(), &app.config.public.trusted_proxies));
    let answer = Origin::of(address).around(next.call(request));
    let mut response = match &span {
        Some(span) => span.around(answer).await?,
        None => answer.await?,
    };
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
        duration_ms = milliseconds(duration),
        request.id = text(&id),
        key.id = key_id,
        trace_id = span.as_ref().map(RequestSpan::trace_id),
        "request"
    );
    if let Some(span) = span {
        span.end(status);
    }
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}

/// To the microsecond: most answers take less than a millisecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn traceparent(request: &ServiceRequest) -> Option<&str> {
    request.headers().get(TRACEPARENT)?.to_str().ok()
}

fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or_default()
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
