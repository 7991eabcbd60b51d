//! What all pages of the console share: the frame around them, their headers, and what they say when something goes wrong.

use std::{fmt, sync::Arc, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
};
use askama::Template;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::session::{self, Browser, HOME, SignedIn, Visitor as _};
use crate::{
    admission::{Crowded, NoRoom},
    languages::{Html, Language, Part},
    metrics::Shortened,
    site::Site,
    state::App,
    store::StoreError,
};

/// Everything from here and nothing inline: a script in a description can't run even if it were to get out of its quotes.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// After this long it is worth trying again: Redis restarts in less.
const RETRY_AFTER_OUTAGE_S: u64 = 5;

/// The login page.
pub const LOGIN: &str = "/console/login";

/// Bytes of the page that login returns to, percent-encoded: the longest head that has one stays within [`crate::head_size::HEAD_BYTES_MAX`].
const NEXT_BYTES_MAX: usize = 2_000;

/// A query parameter's value: letters, digits and these.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// The frame around a page.
pub struct Frame<'a> {
    pub site: &'a Site,
    /// The name of the style sheet.
    pub style: &'a str,
    pub words: &'a Language,
    /// `None`: nobody is logged in, so there is nothing to go to.
    pub officer: Option<&'a SignedIn>,
    /// For the forms on the page.
    pub token: String,
    pub at: Section,
}

/// The place in the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Links,
    Directory,
    Keys,
    Account,
    None,
}

impl<'a> Frame<'a> {
    pub fn of(app: &'a App, officer: &'a SignedIn, at: Section) -> Self {
        let token = officer.secret().form_token();
        Self {
            site: &app.site,
            style: &app.console_style.name,
            words: &officer.words,
            officer: Some(officer),
            token,
            at,
        }
    }

    pub fn of_browser(app: &'a App, browser: &'a Browser) -> Self {
        let token = browser.secret.form_token();
        Self {
            site: &app.site,
            style: &app.console_style.name,
            words: &browser.words,
            officer: None,
            token,
            at: Section::None,
        }
    }

    /// The languages that the console can be read in.
    pub fn languages(&self) -> Vec<&'a Arc<Language>> {
        self.site.languages.covering(Part::Console).collect()
    }
}

/// What goes wrong, each with a page of its own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `next`: the page that was asked for.
    #[error("nobody is logged in")]
    SignedOut { next: String },
    #[error("the form isn't from a page of ours")]
    ForeignForm,
    #[error("the form can't be read")]
    Malformed,
    #[error("the form is too large")]
    TooLarge,
    #[error("the form is compressed")]
    Encoded,
    #[error("the form took too long")]
    TooSlow,
    #[error("there is no such page, or it isn't theirs to see")]
    NotFound,
    #[error("the page takes {0} only")]
    MethodNotAllowed(&'static str),
    #[error("too many requests; wait {} s", .0.as_secs())]
    TooMany(Duration),
    #[error("too many forms are being sent at once from one address; wait {} s", .0.as_secs())]
    TooMuchAtOnce(Duration),
    #[error("as much is kept of the officer's uploads as may be; wait {} s", .0.as_secs())]
    OverQuota(Duration),
    #[error("as many are searching as can")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Crowded(#[from] Crowded),
}

impl From<NoRoom> for Error {
    fn from(error: NoRoom) -> Self {
        match error {
            NoRoom::Service(crowded) => Self::Crowded(crowded),
            NoRoom::Sender(wait) => Self::TooMuchAtOnce(wait),
        }
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::SignedOut { .. } => StatusCode::SEE_OTHER,
            Self::ForeignForm => StatusCode::FORBIDDEN,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooMany(_) | Self::TooMuchAtOnce(_) | Self::OverQuota(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Store(_) | Self::Crowded(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Without a page and the way to the login: [`finish`] knows the site and adds them.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status_code());
        let headers = response.headers_mut();
        match self {
            Self::MethodNotAllowed(allowed) => insert(headers, header::ALLOW, allowed),
            Self::TooMany(wait) | Self::TooMuchAtOnce(wait) | Self::OverQuota(wait) => {
                insert(headers, header::RETRY_AFTER, &wait.as_secs().max(1).to_string());
            }
            Self::Busy | Self::Store(_) => insert(headers, header::RETRY_AFTER, &RETRY_AFTER_OUTAGE_S.to_string()),
            Self::Crowded(crowded) => {
                insert(headers, header::RETRY_AFTER, &crowded.retry_after().as_secs().to_string());
            }
            Self::Encoded => insert(headers, header::ACCEPT_ENCODING, "identity"),
            Self::SignedOut { .. }
            | Self::ForeignForm
            | Self::Malformed
            | Self::TooLarge
            | Self::TooSlow
            | Self::NotFound => {}
        }
        response
    }
}

impl Error {
    fn said<'w>(&self, words: &'w Language) -> Said<'w> {
        let said = |title, why, next| Said { title, why, next };
        let (unchanged, try_again) = (words.problem_unchanged(), Some(words.problem_try_again()));
        match self {
            Self::SignedOut { .. } => said(words.problem_signed_out_title(), words.problem_signed_out(), None),
            Self::ForeignForm => said(
                words.problem_foreign_form_title(),
                words.problem_foreign_form(),
                Some(words.problem_foreign_form_next()),
            ),
            Self::Malformed => said(words.problem_malformed_title(), unchanged, try_again),
            Self::TooLarge => said(words.problem_too_large_title(), unchanged, Some(words.problem_too_large_next())),
            Self::Encoded => said(words.problem_encoded_title(), unchanged, Some(words.problem_encoded_next())),
            Self::TooSlow => said(words.problem_too_slow_title(), words.problem_too_slow(), try_again),
            Self::NotFound => {
                said(words.problem_not_found_title(), words.problem_not_found(), Some(words.problem_not_found_next()))
            }
            Self::MethodNotAllowed(_) => said(words.problem_method_title(), unchanged, try_again),
            Self::TooMany(_) => {
                said(words.problem_too_many_title(), words.problem_too_many(), Some(words.problem_too_many_next()))
            }
            Self::TooMuchAtOnce(_) => {
                said(words.problem_flood_title(), words.problem_flood(), Some(words.problem_crowded_next()))
            }
            Self::OverQuota(_) => {
                said(words.problem_quota_title(), words.problem_quota(), Some(words.problem_quota_next()))
            }
            Self::Busy => said(words.problem_busy_title(), words.problem_busy(), Some(words.problem_busy_next())),
            Self::Store(_) => {
                said(words.problem_outage_title(), words.problem_outage(), Some(words.problem_outage_next()))
            }
            Self::Crowded(_) => {
                said(words.problem_crowded_title(), words.problem_crowded(), Some(words.problem_crowded_next()))
            }
        }
    }
}

/// What a page about a problem says.
struct Said<'w> {
    title: Html<'w>,
    why: Html<'w>,
    next: Option<Html<'w>>,
}

/// Wraps all routes of the console: gives every answer its headers, and every error its page.
pub async fn finish(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, actix_web::Error> {
    let response = next.call(request).await?;
    let (request, mut response) = response.into_parts();
    let app = session::app(&request);
    let choice = app.site.languages.choose(Part::Console, request.headers(), request.uri().query());
    let error = response.error().and_then(actix_web::Error::as_error::<Error>);
    if let Some(error) = error {
        if let Error::Store(error) = error {
            tracing::warn!("the console can't ask the store: {error}");
        }
        let login = if let Error::SignedOut { next } = error { Some(login_or_home(&app, next)) } else { None };
        let page = error_page(&app, choice.language, error);
        response = response.set_body(BoxBody::new(page));
        insert(response.headers_mut(), header::CONTENT_TYPE, HTML);
        if let Some(login) = login {
            insert(response.headers_mut(), header::LOCATION, &login);
        }
    }
    let headers = response.headers_mut();
    if !headers.contains_key(header::CACHE_CONTROL) {
        insert(headers, header::CACHE_CONTROL, "no-store");
        if let Some(cookie) = choice.cookie(app.config.public.base_url.is_https()) {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
    insert(headers, header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    insert(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    insert(headers, HeaderName::from_static("x-robots-tag"), "noindex");
    insert(headers, HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    // Not `no-referrer`: with it browsers hide a form's origin, which is what we check.
    insert(headers, header::REFERRER_POLICY, "same-origin");
    Ok(ServiceResponse::new(request, response))
}

const HTML: &str = "text/html; charset=utf-8";

fn error_page(app: &App, words: &Language, error: &Error) -> String {
    #[derive(Template)]
    #[template(path = "error.html")]
    struct Page<'a> {
        frame: Frame<'a>,
        said: Said<'a>,
        names_directory: bool,
    }
    let (site, style) = (&app.site, app.console_style.name.as_str());
    let frame = Frame { site, style, words, officer: None, token: String::new(), at: Section::None };
    rendered(&Page { frame, said: error.said(words), names_directory: matches!(error, Error::NotFound) })
}

pub fn html(status: StatusCode, page: &impl Template) -> HttpResponse {
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, HTML)).body(rendered(page))
}

/// After a form: another page, so that loading it again sends nothing twice.
pub fn see_other(location: &str) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::SEE_OTHER);
    insert(response.headers_mut(), header::LOCATION, location);
    response
}

fn rendered(page: &impl Template) -> String {
    page.render().expect("writing to a String doesn't fail, nor does any value shown here")
}

/// The address of a page to return to after login is too long for an answer's head.
#[derive(Debug, PartialEq, Eq)]
struct TooLong;

/// [`login_for`], without `next` when that is too long; then login leads to the home page.
fn login_or_home(app: &App, next: &str) -> String {
    login_for(next).unwrap_or_else(|TooLong| {
        app.metrics.head_shortened(Shortened::Next);
        LOGIN.to_owned()
    })
}

/// Returns the address of the login page that leads on to `next`, or to the home page when `next` isn't a page of the console.
///
/// # Errors
///
/// When `next` is longer than [`NEXT_BYTES_MAX`], percent-encoded.
fn login_for(next: &str) -> Result<String, TooLong> {
    if next == HOME {
        return Ok(LOGIN.to_owned());
    }
    let encoded = query_value(next).to_string();
    if encoded.len() > NEXT_BYTES_MAX {
        return Err(TooLong);
    }
    Ok(local_page(next).map_or_else(|| LOGIN.to_owned(), |_| format!("{LOGIN}?next={encoded}")))
}

/// Returns `next` if it is a page of the console and no browser takes it for another place.
pub fn local_page(next: &str) -> Option<&str> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~?=&%+".contains(&byte);
    let is_harmless = next.len() <= NEXT_BYTES_MAX && next.bytes().all(harmless);
    // Browsers read `%2e` as a dot: `/console/%2e%2e/x` is `/x`, which may be anybody's short link. What a decoded path looks like is what counts.
    let path = percent_decode_str(next.split('?').next().unwrap_or_default()).decode_utf8().ok()?;
    let stays = path.starts_with("/console/") && !["//", "..", "\\", "%"].iter().any(|part| path.contains(part));
    Some(next).filter(|_| is_harmless && stays)
}

/// `25 November 2026`, on the service's clock.
pub fn shown_date(app: &App, words: &Language, at: Timestamp) -> Html<'static> {
    words.day(at.to_zoned(app.config.clicks.timezone.clone()).date())
}

/// `25 November 2026, 14:05`, on the service's clock.
pub fn shown_time(app: &App, words: &Language, at: Timestamp) -> Html<'static> {
    let local = at.to_zoned(app.config.clicks.timezone.clone());
    words.console_moment(words.day(local.date()), local.strftime("%H:%M").to_string())
}

pub fn query_value(text: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(text, QUERY_VALUE)
}

/// Sets a header to what our own words and percent-encoding make.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    headers.insert(name, HeaderValue::from_str(value).expect("printable ASCII by construction"));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    #[test]
    fn login_leads_on_to_pages_of_the_console_only() {
        for good in ["/console/links", "/console/links/iras-tax/edit?done=saved", "/console/directory?q=a%20b&page=2"] {
            assert_eq!(local_page(good), Some(good));
        }
        for bad in [
            "",
            "/",
            "//evil.example",
            "/console",
            "/console//evil.example",
            "https://evil.example/console/",
            "/console/../x",
            "/console/\\evil.example",
            "/console/a b",
            "/console/\r\nX: y",
            "/consolex/",
            "/console/é",
            "/console/%2e%2e/x",
            "/console/%2E./x",
            "/console/.%2e/%2e%2e/x",
            "/console/a/%2e%2e/../x",
            "/console/%252e%252e/x",
            "/console/%2f/evil.example",
            "/console/%5cevil.example",
            "/%63onsole/../x",
            "/console/%ff",
        ] {
            assert_eq!(local_page(bad), None, "{bad:?}");
        }
        assert_eq!(login_for("/console/keys?a=b"), Ok("/console/login?next=/console/keys%3Fa%3Db".to_owned()));
        assert_eq!(login_for("//evil.example"), Ok("/console/login".to_owned()));
    }

    #[test]
    fn login_leads_on_to_addresses_of_2000_bytes_at_most() {
        let page = |signs: usize| format!("/console/links?{}", "=".repeat(signs));
        let fits = (NEXT_BYTES_MAX - "/console/links%3F".len()) / "%3D".len();
        assert!(login_for(&page(fits)).is_ok_and(|login| login.contains("?next=")));
        assert_eq!(login_for(&page(fits + 1)), Err(TooLong));
    }

    proptest! {
        #[test]
        fn no_browser_takes_a_page_to_return_to_for_another_place(
            next in "/console/(\\.|%2[eEfF]|%5[cC]|/|\\\\|%25|x|\\?|#|\t){0,12}"
        ) {
            if let Some(page) = local_page(&next) {
                let led_to = Url::parse("https://go.example/console/login").and_then(|login| login.join(page)).expect("a URL");
                prop_assert_eq!(led_to.host_str(), Some("go.example"));
                prop_assert!(led_to.path().starts_with("/console/"), "{}", led_to);
            }
        }
    }
}
