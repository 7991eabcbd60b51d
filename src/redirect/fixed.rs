//! Pages that say the same to every visitor: rendered once at start, sent from memory.
//!
//! In an outage or a flood these are what is sent most, so they cost no more than a redirect.

use actix_web::{
    HttpResponse,
    body::BoxBody,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};
use bytes::Bytes;

use super::pages::{self, Site};

/// Not to be shown by search engines.
pub const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// After this long it is worth trying again: Redis restarts in less.
const RETRY_AFTER_OUTAGE_S: &str = "5";
/// A bucket of a minute's visits has room again by then.
const RETRY_AFTER_LIMIT_S: &str = "60";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    NotFound,
    Gone,
    MethodNotAllowed,
    Limited,
    Unavailable,
}

pub struct FixedPages([Bytes; 5]);

impl FixedPages {
    pub fn new(site: &Site) -> Self {
        // In the order of `Page`.
        Self(
            [
                pages::not_found(site),
                pages::gone(site),
                pages::method_not_allowed(site),
                pages::limited(site),
                pages::unavailable(site),
            ]
            .map(Bytes::from),
        )
    }

    pub fn answer(&self, page: Page) -> HttpResponse {
        let mut response = html(page.status(), self.0[page as usize].clone());
        let headers = response.headers_mut();
        match page {
            Page::NotFound | Page::Gone => {}
            Page::MethodNotAllowed => insert(headers, header::ALLOW, "GET, HEAD"),
            Page::Limited => insert(headers, header::RETRY_AFTER, RETRY_AFTER_LIMIT_S),
            Page::Unavailable => insert(headers, header::RETRY_AFTER, RETRY_AFTER_OUTAGE_S),
        }
        response
    }
}

impl Page {
    fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Gone => StatusCode::GONE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Limited => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A page for citizens: never kept, never indexed, never framed, loading nothing from elsewhere.
pub fn html(status: StatusCode, body: impl Into<Bytes>) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, BoxBody::new(body.into()));
    let headers = response.headers_mut();
    insert(headers, header::CONTENT_TYPE, "text/html; charset=utf-8");
    insert(headers, header::CACHE_CONTROL, "no-store");
    insert(headers, header::CONTENT_SECURITY_POLICY, pages::content_security_policy());
    insert(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    insert(headers, X_ROBOTS_TAG, "noindex");
    insert(headers, header::REFERRER_POLICY, "no-referrer");
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
