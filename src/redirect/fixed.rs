//! Pages that say the same to every visitor: rendered once per language at start, sent from memory.
//!
//! In an outage or a flood these are what is sent most, so they cost no more than a redirect.

use std::{io::Write as _, sync::Arc};

use actix_web::{
    HttpResponse,
    body::BoxBody,
    dev::RequestHead,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::pages::{self, Frame, Look};
use crate::{
    languages::{Choice, Language, Part},
    site::Site,
    state::App,
};

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

/// By language, and in the order of [`Page`].
pub struct FixedPages(Vec<[Prepared; 5]>);

/// A page as it is sent. Two fifths of the bytes are left when it is compressed, and it is compressed only once.
pub struct Prepared {
    plain: Bytes,
    gzip: Bytes,
}

impl FixedPages {
    pub fn new(site: &Site, look: &Look) -> Self {
        let in_language = |words: &Arc<Language>| {
            let frame = Frame { site, look, words, query: "" };
            let pages: [fn(Frame<'_>) -> String; 5] = [
                pages::not_found,
                |frame| pages::gone(frame, None, None),
                pages::method_not_allowed,
                pages::limited,
                pages::unavailable,
            ];
            pages.map(|page| Prepared::new(page(frame)))
        };
        Self(site.languages.offered().iter().map(in_language).collect())
    }
}

impl Prepared {
    pub fn new(page: String) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let gzip = encoder.write_all(page.as_bytes()).and_then(|()| encoder.finish());
        Self { gzip: gzip.expect("writing to memory doesn't fail").into(), plain: page.into() }
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

/// The page, in the visitor's language.
pub fn answer(app: &App, request: &RequestHead, page: Page) -> HttpResponse {
    let choice = language(app, request);
    let prepared = &app.pages.0[choice.language.index][page as usize];
    let mut response = prepared_html(app, request, choice, page.status(), prepared);
    let headers = response.headers_mut();
    match page {
        Page::NotFound | Page::Gone => {}
        Page::MethodNotAllowed => insert(headers, header::ALLOW, "GET, HEAD"),
        Page::Limited => insert(headers, header::RETRY_AFTER, RETRY_AFTER_LIMIT_S),
        Page::Unavailable => insert(headers, header::RETRY_AFTER, RETRY_AFTER_OUTAGE_S),
    }
    response
}

/// The page for a request that can't be read, so its language isn't known: in the first language offered. With it, its security policy.
pub fn unreadable(app: &App) -> (String, &HeaderValue) {
    (pages::unreadable(app.frame(&app.site.languages.offered()[0], "")), &app.look.policy)
}

/// The language that this visitor reads.
pub fn language<'a>(app: &'a App, request: &RequestHead) -> Choice<'a> {
    app.site.languages.choose(Part::Citizens, &request.headers, request.uri.query())
}

/// A page that was compressed before.
pub fn prepared_html(
    app: &App,
    request: &RequestHead,
    choice: Choice<'_>,
    status: StatusCode,
    page: &Prepared,
) -> HttpResponse {
    if takes_gzip(&request.headers) {
        let mut response = html(app, choice, status, page.gzip.clone());
        insert(response.headers_mut(), header::CONTENT_ENCODING, "gzip");
        response
    } else {
        html(app, choice, status, page.plain.clone())
    }
}

/// A page for citizens: never kept, never indexed, never framed, loading nothing from elsewhere.
pub fn html(app: &App, choice: Choice<'_>, status: StatusCode, body: impl Into<Bytes>) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, BoxBody::new(body.into()));
    let headers = response.headers_mut();
    insert(headers, header::CONTENT_TYPE, "text/html; charset=utf-8");
    insert(headers, header::CACHE_CONTROL, "no-store");
    insert(headers, header::VARY, "Accept-Language, Accept-Encoding, Cookie");
    headers.insert(header::CONTENT_SECURITY_POLICY, app.look.policy.clone());
    insert(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    insert(headers, X_ROBOTS_TAG, "noindex");
    insert(headers, header::REFERRER_POLICY, "no-referrer");
    if let Some(cookie) = choice.cookie(app.config.public.base_url.is_https()) {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

/// Whether `Accept-Encoding` names gzip, and doesn't refuse it.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| {
        accepted.split(',').any(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let refused =
                weight.trim().strip_prefix("q=").is_some_and(|weight| weight.trim_matches(['0', '.']).is_empty());
            name.trim().eq_ignore_ascii_case("gzip") && !refused
        })
    })
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
