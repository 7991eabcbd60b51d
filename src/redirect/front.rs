//! The front door: landing page, `robots.txt`, icons and other files.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Path},
};

use super::{
    fixed::{self, Page},
    pages,
};
use crate::{assets::Asset, state::App};

/// Answers may be found by search engines' crawlers only to learn from their headers that they are not to be indexed.
const ROBOTS: &str = "User-agent: *\nDisallow: /api/\nDisallow: /console/\n";

/// What the service is, with live totals; without them while Redis is away.
pub async fn landing(request: HttpRequest, app: Data<App>) -> HttpResponse {
    let totals = app.totals().await;
    let choice = fixed::language(&app, request.head());
    let page = pages::landing(app.frame(choice.language, ""), totals);
    let mut response = fixed::html(&app, choice, StatusCode::OK, page);
    response.headers_mut().remove(fixed::X_ROBOTS_TAG);
    response
}

pub async fn robots() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "public, max-age=86400"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(ROBOTS)
}

/// Browsers ask for this path whatever the page says. It has no fingerprint, so it is kept for a day only.
pub async fn favicon(app: Data<App>) -> HttpResponse {
    file(&app.site.icon.asset, "public, max-age=86400")
}

/// `/assets/{name}`: names contain a fingerprint of what they name, so an answer is good for ever.
pub async fn asset(name: Path<String>, app: Data<App>, request: HttpRequest) -> HttpResponse {
    match app.site.assets.get(&name) {
        Some(asset) if request.query_string().is_empty() => file(asset, "public, max-age=31536000, immutable"),
        _ => fixed::answer(&app, request.head(), Page::NotFound),
    }
}

fn file(asset: &Asset, cache_control: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, asset.kind.media_type()))
        .insert_header((header::CACHE_CONTROL, cache_control))
        .insert_header((header::CONTENT_SECURITY_POLICY, asset.content_security_policy()))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(asset.content.clone())
}

pub async fn method_not_allowed(request: HttpRequest, app: Data<App>) -> HttpResponse {
    fixed::answer(&app, request.head(), Page::MethodNotAllowed)
}
