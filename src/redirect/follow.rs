//! Following a short link: the hot path, read top to bottom.
//!
//! path → code → link (memory, else Redis) → visitor → click recorded → answer. Nothing is logged, and nothing is awaited but the look-up of a
//! code that isn't in memory. The clock is read once on arrival and once for the latency.

use std::time::Instant;

use actix_web::{
    HttpRequest, HttpResponse,
    body::BoxBody,
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
    web::{Data, ThinData},
};
use jiff::Timestamp;

use super::{
    fixed::{Page, X_ROBOTS_TAG},
    preview, query, transition, visitor,
};
use crate::{
    cache::{CachedLink, Resolution},
    client,
    domain::{LinkState, code},
    head,
    metrics::Outcome,
    state::App,
    store::Lane,
};

/// Answers every path that no route claims: a code, or nothing that exists.
pub async fn follow(request: HttpRequest, app: Data<App>, lane: ThinData<Lane>) -> HttpResponse {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return app.pages.answer(Page::MethodNotAllowed);
    }
    let arrived = Instant::now();
    let (outcome, response) = answer(&request, &app, &lane).await;
    if let Some(outcome) = outcome {
        app.metrics.redirect(outcome, arrived.elapsed());
    }
    head::strip(request.method(), response)
}

/// The answer, and the outcome it counts as; a preview is none.
async fn answer(request: &HttpRequest, app: &App, lane: &Lane) -> (Option<Outcome>, HttpResponse) {
    let Some(visit) = code::visited(path_of(request)) else { return unknown(request, app) };
    if app.denied.contains(&visit.code) {
        return (Some(Outcome::Gone), app.pages.answer(Page::Gone));
    }
    let now = Timestamp::now();
    match app.cache.resolve(&visit.code, lane).await {
        Resolution::Found(link) if !is_live(&link, now) => (Some(Outcome::Gone), app.pages.answer(Page::Gone)),
        Resolution::Found(link) if visit.preview => preview::answer(app, lane, &visit.code, &link).await,
        Resolution::Found(link) => go(request, app, &visit, &link, now),
        Resolution::Unknown => unknown(request, app),
        Resolution::Unavailable => (Some(Outcome::Unavailable), app.pages.answer(Page::Unavailable)),
    }
}

/// The path without its first slash.
fn path_of(request: &HttpRequest) -> &str {
    let path = request.uri().path();
    path.strip_prefix('/').unwrap_or(path)
}

fn is_live(link: &CachedLink, now: Timestamp) -> bool {
    link.state == LinkState::Active && link.expires_at.is_none_or(|expiry| now < expiry)
}

/// Sends the visitor on, or shows where the link leads first. The click is on its way to the disk before the answer is to the visitor.
fn go(
    request: &HttpRequest,
    app: &App,
    visit: &code::Visited<'_>,
    link: &CachedLink,
    now: Timestamp,
) -> (Option<Outcome>, HttpResponse) {
    let visitor = visitor::classify(request.headers());
    if request.method() == Method::GET {
        app.clicks.record(&visit.code, visitor.click, now);
    }
    let location = match request.uri().query() {
        Some(query) if link.forward_query => query::forward(&link.location, query),
        _ => link.location.clone(),
    };
    if transition::is_due(app.config.redirect.transition_page, visitor, request.headers()) {
        (Some(Outcome::Transition), transition::answer(app, path_of(request), visit, visitor, &location))
    } else {
        (Some(Outcome::Redirect), redirect(location))
    }
}

/// The 302. Not a 301: browsers would keep it, so edits would go unseen and clicks uncounted.
fn redirect(location: HeaderValue) -> HttpResponse {
    let mut response = HttpResponse::with_body(StatusCode::FOUND, BoxBody::new(()));
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ROBOTS_TAG, HeaderValue::from_static("noindex"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// A visitor may guess so many codes a minute. Codes that exist are never limited.
fn unknown(request: &HttpRequest, app: &App) -> (Option<Outcome>, HttpResponse) {
    let allowed = app.misses.as_ref().is_none_or(|limit| {
        client::address(request, &app.config.public.trusted_proxies)
            .is_none_or(|address| limit.allows(&client::visitor(address)))
    });
    if allowed {
        (Some(Outcome::NotFound), app.pages.answer(Page::NotFound))
    } else {
        (Some(Outcome::Limited), app.pages.answer(Page::Limited))
    }
}
