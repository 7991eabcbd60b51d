//! Following a short link: the hot path, read top to bottom.
//!
//! path → code → link → visitor → click recorded → answer. A link that is in memory is answered by [`at_once`], which awaits nothing and takes
//! no detour by the route table; whatever else can happen is [`follow`]'s, and all that it awaits is the look-up of a code that isn't in
//! memory. Nothing is logged. The clock is read on arrival, for the day and for the latency.

use std::{net::IpAddr, time::Instant};

use actix_web::{
    HttpRequest, HttpResponse,
    body::BoxBody,
    dev::RequestHead,
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
    web::{Data, ThinData},
};
use jiff::Timestamp;

use super::{
    fixed::{self, Page, X_ROBOTS_TAG},
    gone, preview, query, transition, visitor,
};
use crate::{
    cache::{CachedLink, Resolution},
    client,
    domain::code,
    head,
    metrics::{Outcome, Shortened},
    state::App,
    store::Lane,
};

/// The answer to a visit of a link that is in memory and known to be right. `None`: it takes more than that to tell.
pub fn at_once(request: &RequestHead, app: &App) -> Option<HttpResponse> {
    if !is_visit(request) {
        return None;
    }
    let arrived = Instant::now();
    let visit = code::visited(path_of(request)).filter(|visit| !visit.preview)?;
    if app.denied.contains(&visit.code) {
        return None;
    }
    let now = Timestamp::now();
    let link = app.cache.recall(&visit.code, arrived, |link| link.is_live(now))?;
    let (outcome, response) = go(request, app, &visit, &link, now);
    app.metrics.redirect(outcome, arrived.elapsed());
    Some(head::strip(&request.method, response))
}

/// The answer to any path that no route claims: a code, or nothing that exists.
pub async fn follow(request: &RequestHead, app: &App, lane: &Lane) -> HttpResponse {
    if !is_visit(request) {
        return fixed::answer(app, request, Page::MethodNotAllowed);
    }
    let arrived = Instant::now();
    let (outcome, response) = answer(request, app, lane).await;
    if let Some(outcome) = outcome {
        app.metrics.redirect(outcome, arrived.elapsed());
    }
    head::strip(&request.method, response)
}

/// [`follow`], for the route table.
pub async fn follow_stray(request: HttpRequest, app: Data<App>, lane: ThinData<Lane>) -> HttpResponse {
    follow(request.head(), &app, &lane).await
}

fn is_visit(request: &RequestHead) -> bool {
    matches!(request.method, Method::GET | Method::HEAD)
}

/// The path without its first slash.
fn path_of(request: &RequestHead) -> &str {
    let path = request.uri.path();
    path.strip_prefix('/').unwrap_or(path)
}

/// The answer, and the outcome it counts as; a preview is none.
async fn answer(request: &RequestHead, app: &App, lane: &Lane) -> (Option<Outcome>, HttpResponse) {
    let Some(visit) = code::visited(path_of(request)) else { return counted(unknown(request, app)) };
    if app.denied.contains(&visit.code) {
        return counted((Outcome::Gone, fixed::answer(app, request, Page::Gone)));
    }
    match app.cache.resolve(&visit.code, lane, || may_be_looked_up(request, app)).await {
        Resolution::Found(link) => {
            let now = Timestamp::now();
            if !link.is_live(now) {
                counted((Outcome::Gone, gone::answer(app, request, lane, &visit.code, &link).await))
            } else if visit.preview {
                preview::answer(app, request, lane, &visit.code, &link).await
            } else {
                counted(go(request, app, &visit, &link, now))
            }
        }
        Resolution::Unknown => counted(unknown(request, app)),
        Resolution::Unavailable => counted((Outcome::Unavailable, fixed::answer(app, request, Page::Unavailable))),
        Resolution::Refused => counted(limited(request, app)),
    }
}

fn counted((outcome, response): (Outcome, HttpResponse)) -> (Option<Outcome>, HttpResponse) {
    (Some(outcome), response)
}

/// Sends the visitor on, or shows where the link leads first. The click is on its way to the disk before the answer is to the visitor.
fn go(
    request: &RequestHead,
    app: &App,
    visit: &code::Visited<'_>,
    link: &CachedLink,
    now: Timestamp,
) -> (Outcome, HttpResponse) {
    let visitor = visitor::classify(&request.headers);
    let reworded = transition::is_reworded(app, request, visitor);
    if request.method == Method::GET && !reworded {
        app.clicks.record(&visit.code, visitor.click, now);
    }
    let (location, query) = lead(request, app, link);
    if reworded || transition::is_due(app.config.redirect.transition_page, visitor, &request.headers) {
        (Outcome::Transition, transition::answer(app, request, path_of(request), visit, visitor, &location, query))
    } else {
        (Outcome::Redirect, redirect(location))
    }
}

/// Returns where the visitor goes, and the query string that was forwarded there.
fn lead<'a>(request: &'a RequestHead, app: &App, link: &CachedLink) -> (HeaderValue, Option<&'a str>) {
    let target = link.location();
    let Some(query) = request.uri.query().filter(|_| link.forwards_query()) else { return (target, None) };
    match query::forward(&target, query) {
        Ok(forwarded) => (forwarded, Some(query)),
        Err(query::TooLong) => {
            app.metrics.head_shortened(Shortened::Query);
            (target, None)
        }
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

/// A visitor may guess so many codes a minute.
fn unknown(request: &RequestHead, app: &App) -> (Outcome, HttpResponse) {
    let allowed = app.misses.as_ref().is_none_or(|limit| guesser(request, app).is_none_or(|who| limit.allows(&who)));
    if allowed { (Outcome::NotFound, fixed::answer(app, request, Page::NotFound)) } else { limited(request, app) }
}

/// Whether Redis may be asked about a code of which nothing is known. For who has guessed too often, only as far as there is room for all
/// such visitors together: links in memory go on for them, and behind their address may be a whole office.
fn may_be_looked_up(request: &RequestHead, app: &App) -> bool {
    let exhausted =
        app.misses.as_ref().is_some_and(|limit| guesser(request, app).is_some_and(|who| limit.is_exhausted(&who)));
    !exhausted || app.lookups_for_guessers.allows(&())
}

fn guesser(request: &RequestHead, app: &App) -> Option<IpAddr> {
    client::address(request, &app.config.public.trusted_proxies).map(client::visitor)
}

fn limited(request: &RequestHead, app: &App) -> (Outcome, HttpResponse) {
    (Outcome::Limited, fixed::answer(app, request, Page::Limited))
}
