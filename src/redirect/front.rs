//! The front door: landing page, `robots.txt`, icon.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Path},
};

use super::{
    fixed::{self, Page},
    pages,
};
use crate::state::App;

/// Answers may be found by search engines' crawlers only to learn from their headers that they are not to be indexed.
const ROBOTS: &str = "User-agent: *\nDisallow: /api/\nDisallow: /console/\n";

/// What the service is, with live totals; without them while Redis is away.
pub async fn landing(app: Data<App>) -> HttpResponse {
    let totals = app.totals().await;
    let mut response = fixed::html(StatusCode::OK, pages::landing(&app.site, totals));
    response.headers_mut().remove(fixed::X_ROBOTS_TAG);
    response
}

pub async fn robots() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "public, max-age=86400"))
        .body(ROBOTS)
}

/// Browsers ask for this path whatever the page says. It has no fingerprint, so it is kept for a day only.
pub async fn favicon() -> HttpResponse {
    icon("public, max-age=86400")
}

/// `/assets/{name}`: names contain a fingerprint of what they name, so an answer is good for ever.
pub async fn asset(name: Path<String>, app: Data<App>, request: HttpRequest) -> HttpResponse {
    if *name == pages::favicon_name() && request.query_string().is_empty() {
        icon("public, max-age=31536000, immutable")
    } else {
        app.pages.answer(Page::NotFound)
    }
}

fn icon(cache_control: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "image/svg+xml"))
        .insert_header((header::CACHE_CONTROL, cache_control))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(pages::FAVICON)
}

pub async fn method_not_allowed(app: Data<App>) -> HttpResponse {
    app.pages.answer(Page::MethodNotAllowed)
}
