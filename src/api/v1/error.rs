//! Everything that v1 refuses, with its status and its words.

use std::time::Duration;

use actix_web::{
    HttpResponse, ResponseError,
    body::BoxBody,
    http::{
        StatusCode,
        header::{
            ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
};
use serde::Serialize;

use super::validate::{self, Invalid};
use crate::{
    admission::{Crowded, NoRoom},
    api::{self, body},
    auth::AuthError,
    domain::Scope,
    links::CreateError,
    store::StoreError,
};

/// After an outage's answer it is worth trying again in this long: Redis restarts in less.
const RETRY_AFTER_OUTAGE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Bad Request. JSON is malformed")]
    MalformedBody,
    #[error("Request body is too large.")]
    BodyTooLarge,
    #[error("Request body took too long to arrive.")]
    BodyTooSlow,
    #[error("Request body must not be compressed.")]
    BodyEncoded,
    #[error("Authorization header is missing")]
    MissingAuthorization,
    #[error("Invalid authorization header format")]
    MalformedAuthorization,
    #[error("Invalid API Key")]
    InvalidKey,
    #[error("User is unauthorized")]
    NotAdmin,
    #[error("API key lacks the scope \"{}\".", .0.as_str())]
    MissingScope(Scope),
    #[error("Too many requests, please try again later.")]
    TooManyRequests(Duration),
    #[error("{0}")]
    Invalid(#[from] Invalid),
    #[error("Short link \"{0}\" is already used.")]
    CodeTaken(String),
    #[error("Short link \"{0}\" not found for user.")]
    LinkNotFound(String),
    #[error("Resource not found.")]
    UnknownRoute,
    #[error("Server error.")]
    Store(#[source] StoreError),
    /// There is too much to do: to the caller the same as a store that is away.
    #[error("Server error.")]
    Crowded(#[from] Crowded),
}

/// The body of every refusal.
#[derive(Serialize)]
struct Refusal<'a> {
    message: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

impl Error {
    fn kind(&self) -> Option<&'static str> {
        match self {
            Self::CodeTaken(_) => Some("ShortUrlError"),
            Self::MalformedBody
            | Self::BodyTooLarge
            | Self::BodyTooSlow
            | Self::BodyEncoded
            | Self::MissingAuthorization
            | Self::MalformedAuthorization
            | Self::InvalidKey
            | Self::NotAdmin
            | Self::MissingScope(_)
            | Self::TooManyRequests(_)
            | Self::Invalid(_)
            | Self::LinkNotFound(_)
            | Self::UnknownRoute
            | Self::Store(_)
            | Self::Crowded(_) => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests(wait) => Some(*wait),
            Self::Store(StoreError::Unavailable(_)) => Some(RETRY_AFTER_OUTAGE),
            Self::Crowded(crowded) => Some(crowded.retry_after()),
            Self::Store(StoreError::Corrupt(_))
            | Self::MalformedBody
            | Self::BodyTooLarge
            | Self::BodyTooSlow
            | Self::BodyEncoded
            | Self::MissingAuthorization
            | Self::MalformedAuthorization
            | Self::InvalidKey
            | Self::NotAdmin
            | Self::MissingScope(_)
            | Self::Invalid(_)
            | Self::CodeTaken(_)
            | Self::LinkNotFound(_)
            | Self::UnknownRoute => None,
        }
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::MalformedBody | Self::Invalid(_) | Self::CodeTaken(_) => StatusCode::BAD_REQUEST,
            Self::MissingAuthorization | Self::MalformedAuthorization | Self::InvalidKey | Self::NotAdmin => {
                StatusCode::UNAUTHORIZED
            }
            Self::MissingScope(_) | Self::LinkNotFound(_) => StatusCode::FORBIDDEN,
            Self::UnknownRoute => StatusCode::NOT_FOUND,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyEncoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Store(StoreError::Corrupt(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Store(StoreError::Unavailable(_)) | Self::Crowded(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        match self {
            // While Redis is away every request meets it; the watch has said so once already.
            Self::Store(error @ StoreError::Unavailable(_)) => tracing::debug!("{error}"),
            Self::Store(error @ StoreError::Corrupt(_)) => tracing::error!("{error}"),
            _ => {}
        }
        let mut response = json(self.status_code(), &Refusal { message: &self.to_string(), kind: self.kind() });
        if let Some(wait) = self.retry_after() {
            // Whole seconds, rounded up: back too early is refused again.
            let seconds = wait.as_millis().div_ceil(1000).max(1).to_string();
            response.headers_mut().insert(RETRY_AFTER, seconds.parse().expect("digits"));
        }
        if matches!(self, Self::BodyEncoded) {
            response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        response
    }
}

/// A v1 answer.
pub fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "application/json; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CONTENT_SECURITY_POLICY, api::CONTENT_SECURITY_POLICY))
        .body(serde_json::to_vec(body).expect("answers are plain structs of text and numbers"))
}

impl From<validate::BodyError> for Error {
    fn from(error: validate::BodyError) -> Self {
        match error {
            validate::BodyError::Malformed => Self::MalformedBody,
        }
    }
}

impl From<body::BodyError> for Error {
    fn from(error: body::BodyError) -> Self {
        match error {
            body::BodyError::TooLarge(_) => Self::BodyTooLarge,
            body::BodyError::TooSlow => Self::BodyTooSlow,
            body::BodyError::Broken => Self::MalformedBody,
            body::BodyError::Encoded => Self::BodyEncoded,
            body::BodyError::NoRoom(NoRoom::Service(crowded)) => Self::Crowded(crowded),
            body::BodyError::NoRoom(NoRoom::Sender(wait)) => Self::TooManyRequests(wait),
        }
    }
}

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::MissingHeader => Self::MissingAuthorization,
            AuthError::MalformedHeader => Self::MalformedAuthorization,
            AuthError::InvalidKey | AuthError::Barred(_) => Self::InvalidKey,
            AuthError::NotAdmin => Self::NotAdmin,
            AuthError::MissingScope(scope) => Self::MissingScope(scope),
            AuthError::Store(error) => Self::Store(error),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<CreateError> for Error {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::CodeTaken(code) => Self::CodeTaken(code.to_string()),
            CreateError::Store(error) => Self::Store(error),
        }
    }
}
