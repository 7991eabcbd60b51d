//! Everything that v2 refuses: RFC 9457 problem documents, each of a kind that has a name, a status and a page that explains it.
//!
//! A handler says what is wrong; the request's id, which every document tells, is put in by [`dress`], which also adds what every answer of
//! v2 carries.

use std::{fmt, time::Duration};

use actix_web::{
    Error, HttpMessage as _, HttpResponse, ResponseError,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{
            ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
            RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::Next,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::kind::Kind;
use crate::{
    admission::{Crowded, NoRoom},
    api::{self, body::BodyError, observe::RequestId},
    auth::AuthError,
    bulk::Refused,
    limits::Left,
    links::{CreateError, TransferError},
    store::StoreError,
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATE_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATE_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// After an outage's answer it is worth trying again in this long: Redis restarts in less.
const RETRY_AFTER_OUTAGE: Duration = Duration::from_secs(5);

/// Mistakes that are named in the answer to one request, or that one row may have in memory: ten times what an honest link can have.
const MISTAKES_MAX: usize = 100;
/// Of a mistake's place. Names of fields are the caller's.
const PLACE_BYTES_MAX: usize = 300;
/// Of what is wrong there, which may repeat what was sent; and of a problem as a whole.
const DETAIL_BYTES_MAX: usize = 1_000;

/// One mistake in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mistake {
    /// Where in the body: a JSON pointer (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/target_url")]
    pub pointer: Option<String>,
    /// Or which parameter or header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong, and what would be right.
    #[schema(example = "the address must begin with https:// in lower case")]
    pub detail: String,
}

impl Mistake {
    pub fn at(pointer: impl Into<String>, detail: impl fmt::Display) -> Self {
        let pointer = Some(shortened(pointer.into(), PLACE_BYTES_MAX));
        Self { pointer, parameter: None, detail: shortened(detail.to_string(), DETAIL_BYTES_MAX) }
    }

    pub fn of(parameter: impl Into<String>, detail: impl fmt::Display) -> Self {
        let parameter = Some(shortened(parameter.into(), PLACE_BYTES_MAX));
        Self { pointer: None, parameter, detail: shortened(detail.to_string(), DETAIL_BYTES_MAX) }
    }
}

/// Cuts off what is too long to be sent back, and shows that it did.
fn shortened(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Mistakes as they are found. The first are kept, all are counted.
#[derive(Clone, Debug, Default)]
pub struct Mistakes {
    named: Vec<Mistake>,
    found: usize,
}

impl Mistakes {
    pub fn push(&mut self, mistake: impl FnOnce() -> Mistake) {
        self.found += 1;
        if self.named.len() < MISTAKES_MAX {
            self.named.push(mistake());
        }
    }

    /// How many were found.
    pub fn found(&self) -> usize {
        self.found
    }

    pub fn is_empty(&self) -> bool {
        self.found == 0
    }
}

impl From<Vec<Mistake>> for Mistakes {
    fn from(mistakes: Vec<Mistake>) -> Self {
        let mut all = Self::default();
        for mistake in mistakes {
            all.push(|| mistake);
        }
        all
    }
}

/// A refusal.
#[derive(Clone, Debug)]
pub struct Problem {
    pub kind: Kind,
    detail: String,
    mistakes: Mistakes,
    retry_after: Option<Duration>,
    header: Option<Header>,
}

/// A header that belongs to a refusal.
#[derive(Clone, Copy, Debug)]
enum Header {
    Allow(&'static str),
    AcceptEncodingIdentity,
}

/// A problem document (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "/problems/validation",
    "title": "The request has mistakes",
    "status": 422,
    "detail": "1 mistake: /target_url",
    "request_id": "9Zv0qk3mT1xXo2aB",
    "errors": [{"pointer": "/target_url", "detail": "the address must begin with https:// in lower case"}]
}))]
pub struct ProblemBody {
    /// The path of a page that explains this kind of problem: the same on every host, so that programs can match on it.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    pub detail: String,
    /// What to tell the operators.
    pub request_id: String,
    /// Of a `validation`: the mistakes that were found; 100 at most, and in a batch 20 a row and 1,000 in all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Mistake>,
    /// How many more were found. Left out when `errors` has all.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub errors_omitted: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Problem {
    pub fn new(kind: Kind, detail: impl fmt::Display) -> Self {
        Self {
            kind,
            detail: shortened(detail.to_string(), DETAIL_BYTES_MAX),
            mistakes: Mistakes::default(),
            retry_after: None,
            header: None,
        }
    }

    /// All mistakes of a request. There must be one.
    pub fn mistakes(mistakes: impl Into<Mistakes>) -> Self {
        let mistakes = mistakes.into();
        let places: Vec<&str> = mistakes
            .named
            .iter()
            .filter_map(|mistake| mistake.pointer.as_deref().or(mistake.parameter.as_deref()))
            .map(|place| if place.is_empty() { "the whole body" } else { place })
            .take(5)
            .collect();
        let (count, s) = (mistakes.found, if mistakes.found == 1 { "" } else { "s" });
        let more = if count > places.len() { ", …" } else { "" };
        let detail = format!("{count} mistake{s}: {}{more}", places.join(", "));
        Self { mistakes, ..Self::new(Kind::Validation, detail) }
    }

    /// The same mistakes and one more.
    #[must_use]
    pub fn and(self, mistake: Mistake) -> Self {
        let mut mistakes = self.mistakes;
        mistakes.push(|| mistake);
        Self::mistakes(mistakes)
    }

    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(Kind::NotFound, what)
    }

    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self { header: Some(Header::Allow(allow)), ..Self::new(Kind::MethodNotAllowed, format!("allowed: {allow}")) }
    }

    /// The document, as far as it is the same for every request.
    pub fn body(&self, request_id: &str) -> ProblemBody {
        self.body_naming(MISTAKES_MAX, request_id)
    }

    /// The document with so many mistakes at most.
    pub fn body_naming(&self, mistakes_max: usize, request_id: &str) -> ProblemBody {
        let errors: Vec<Mistake> = self.mistakes.named.iter().take(mistakes_max).cloned().collect();
        let errors_omitted = self.mistakes.found - errors.len();
        let more = if errors_omitted > 0 {
            format!("; \"errors\" names {} of them, and {errors_omitted} more were found", errors.len())
        } else {
            String::new()
        };
        ProblemBody {
            kind: format!("/problems/{}", self.kind.name()),
            title: self.kind.title().to_owned(),
            status: self.kind.status().as_u16(),
            detail: self.detail.clone() + &more,
            request_id: request_id.to_owned(),
            errors,
            errors_omitted,
        }
    }

    /// The whole answer.
    pub fn respond(&self, request_id: &str) -> HttpResponse {
        let mut response = HttpResponse::build(self.kind.status());
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: back too early is refused again.
            response.insert_header((RETRY_AFTER, wait.as_millis().div_ceil(1000).max(1).to_string()));
        }
        match self.header {
            None => {}
            Some(Header::Allow(allow)) => _ = response.insert_header((ALLOW, allow)),
            Some(Header::AcceptEncodingIdentity) => _ = response.insert_header((ACCEPT_ENCODING, "identity")),
        }
        if self.kind == Kind::Unauthorized {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        let body = self.body(request_id);
        response.body(serde_json::to_vec(&body).expect("a problem is made of text and numbers"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind.name(), self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    /// Never sent: [`dress`] knows the request, and makes the answer that is.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        HttpResponse::new(self.status_code())
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::MissingHeader | AuthError::MalformedHeader | AuthError::InvalidKey | AuthError::Barred(_) => {
                Self::new(Kind::Unauthorized, error)
            }
            AuthError::NotAdmin | AuthError::MissingScope(_) => Self::new(Kind::Forbidden, error),
            AuthError::Store(error) => error.into(),
        }
    }
}

impl From<TransferError> for Problem {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::UnknownOfficer | TransferError::SuspendedOfficer => {
                Self::mistakes(vec![Mistake::at("/owner", error)])
            }
            TransferError::Store(error) => error.into(),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let kind = match error {
            BodyError::NoRoom(NoRoom::Service(crowded)) => return crowded.into(),
            BodyError::NoRoom(NoRoom::Sender(wait)) => return Self::new(Kind::RateLimited, error).retry_after(wait),
            BodyError::Encoded => {
                // RFC 9110, section 15.5.16.
                let header = Some(Header::AcceptEncodingIdentity);
                return Self { header, ..Self::new(Kind::UnsupportedMediaType, error) };
            }
            BodyError::TooLarge(_) => Kind::BodyTooLarge,
            BodyError::TooSlow => Kind::BodyTimeout,
            BodyError::Broken => Kind::Malformed,
        };
        Self::new(kind, error)
    }
}

impl From<Crowded> for Problem {
    fn from(crowded: Crowded) -> Self {
        Self::new(Kind::Overloaded, crowded).retry_after(crowded.retry_after())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            // While Redis is away every request meets it; the watch has said so once already.
            StoreError::Unavailable(_) => tracing::debug!("{error}"),
            StoreError::Corrupt(_) => {
                tracing::error!("{error}");
                return Self::new(Kind::Damaged, "what the request asks for is stored, but its data are damaged");
            }
        }
        Self::new(
            Kind::Unavailable,
            "the store doesn't answer, so a change may or may not have been made; sent again with the same Idempotency-Key or If-Match, the \
             request settles it",
        )
        .retry_after(RETRY_AFTER_OUTAGE)
    }
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::CodeTaken(_) => Self::new(Kind::CodeTaken, error),
            CreateError::Store(error) => error.into(),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::new(Kind::CodeTaken, refused)
    }
}

/// What the caller's bucket held after this request, for the answer's header.
#[derive(Clone, Copy)]
pub struct RateLimit(pub Left);

/// Wraps the routes of v2: problems become whole, and every answer gets what all of them carry.
pub async fn dress(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
    let (request, mut response) = next.call(request).await?.into_parts();
    let problem = response.error().and_then(|error| error.as_error::<Problem>()).cloned();
    if let Some(problem) = problem {
        let id = request.extensions().get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default();
        response = problem.respond(&id);
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(api::CONTENT_SECURITY_POLICY));
    if let Some(RateLimit(left)) = request.extensions().get::<RateLimit>() {
        headers.insert(RATE_LIMIT, HeaderValue::from(left.limit));
        headers.insert(RATE_REMAINING, HeaderValue::from(left.remaining));
        headers.insert(RATE_RESET, HeaderValue::from(left.reset.as_millis().div_ceil(1000).min(60) as u64));
    }
    Ok(ServiceResponse::new(request, response))
}
