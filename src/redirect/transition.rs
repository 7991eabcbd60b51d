//! The page between: shows a person where a short link leads before going there, the first time.

use actix_web::{
    HttpResponse,
    dev::RequestHead,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
};

use super::{fixed, pages, query, visitor::Visitor};
use crate::{
    config::TransitionPage,
    domain::{Click, Target, code::Visited},
    metrics::Shortened,
    state::App,
};

/// Says that this browser has seen the page for this code. It holds nothing else, and goes to no other path.
const SEEN: &str = "seen=1";

/// The same where the service has an `https` address: browsers take a name with this prefix over `https` only. `__Host-` would want `Path=/`.
const SECURE_SEEN: &str = "__Secure-seen=1";

/// 1,024: RFC 6265bis, section 5.6. A browser ignores a longer path and keeps the cookie for the whole site, so no link's page would be shown again.
const COOKIE_PATH_BYTES_MAX: usize = 1_024;

/// 90 days: long enough for a letter that lies about, short enough to be asked to look again some day.
const SEEN_FOR_S: u32 = 90 * 24 * 60 * 60;

/// Whether this visitor is shown the page. Programs never are: they couldn't read it.
pub fn is_due(setting: TransitionPage, visitor: Visitor, headers: &HeaderMap) -> bool {
    visitor.is_browser
        && match setting {
            TransitionPage::Never => false,
            TransitionPage::Always => true,
            TransitionPage::FirstVisit => !has_seen(headers),
        }
}

fn has_seen(headers: &HeaderMap) -> bool {
    headers.get_all(header::COOKIE).any(|cookies| {
        let mut each = cookies.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        each.any(|cookie| cookie == SEEN.as_bytes() || cookie == SECURE_SEEN.as_bytes())
    })
}

/// Whether a browser that has seen the page asks for it in another language. It sees it again, and that is no second click.
pub fn is_reworded(app: &App, request: &RequestHead, visitor: Visitor) -> bool {
    request.uri.query().is_some()
        && app.config.redirect.transition_page == TransitionPage::FirstVisit
        && visitor.is_browser
        && has_seen(&request.headers)
        && fixed::language(app, request).is_new
}

/// `path` is the visit's, without its first slash: a code, as written, with what is glued to it. `forwarded` is the query string that
/// went into `location`: links to other languages take it along.
pub fn answer(
    app: &App,
    request: &RequestHead,
    path: &str,
    visit: &Visited<'_>,
    visitor: Visitor,
    location: &HeaderValue,
    forwarded: Option<&str>,
) -> HttpResponse {
    let target = Target::from_store(location.to_str().expect("a location is made from ASCII text").to_owned());
    let choice = fixed::language(app, request);
    let query = forwarded.map(query::beside_language).unwrap_or_default();
    let page = pages::transition(app.frame(choice.language, &query), &target);
    let mut response = fixed::html(app, choice, StatusCode::OK, page);
    // A page fetched ahead was seen by nobody.
    if app.config.redirect.transition_page == TransitionPage::FirstVisit && visitor.click != Click::Prefetch {
        let is_https = app.config.public.base_url.is_https();
        set_cookie(&mut response, &visit.code, is_https);
        // A cookie's path knows upper and lower case and punctuation. Who follows `/ABC.` out of a message follows it so again.
        if *path != *visit.code && !path.contains(';') {
            if "/".len() + path.len() <= COOKIE_PATH_BYTES_MAX {
                set_cookie(&mut response, path, is_https);
            } else {
                app.metrics.head_shortened(Shortened::Cookie);
            }
        }
    }
    response
}

fn set_cookie(response: &mut HttpResponse, path: &str, is_https: bool) {
    let (seen, secure) = if is_https { (SECURE_SEEN, "; Secure") } else { (SEEN, "") };
    let cookie = format!("{seen}; Path=/{path}; Max-Age={SEEN_FOR_S}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}
