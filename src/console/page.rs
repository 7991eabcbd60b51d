//! What all pages of the console share: the frame around them, their headers, and what they say when something goes wrong.

use std::{fmt, time::Duration};

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
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::session::{self, HOME, SignedIn, Visitor as _};
use crate::{domain::BrowserSecret, site::Site, state::App, store::StoreError};

/// Everything from here and nothing inline: a script in a description can't run even if it were to get out of its quotes.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// After this long it is worth trying again: Redis restarts in less.
const RETRY_AFTER_OUTAGE_S: u64 = 5;

/// A query parameter's value: letters, digits and these.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// The frame around a page.
pub struct Frame<'a> {
    pub site: &'a Site,
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
        Self { site: &app.site, officer: Some(officer), token: officer.secret().form_token(), at }
    }

    pub fn of_browser(app: &'a App, secret: &BrowserSecret) -> Self {
        Self { site: &app.site, officer: None, token: secret.form_token(), at: Section::None }
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
    #[error("the form took too long")]
    TooSlow,
    #[error("there is no such page, or it isn't theirs to see")]
    NotFound,
    #[error("the page takes {0} only")]
    MethodNotAllowed(&'static str),
    #[error("too many requests; wait {} s", .0.as_secs())]
    TooMany(Duration),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::SignedOut { .. } => StatusCode::SEE_OTHER,
            Self::ForeignForm => StatusCode::FORBIDDEN,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Without a page: [`finish`] knows the site and adds it.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status_code());
        let headers = response.headers_mut();
        match self {
            Self::SignedOut { next } => insert(headers, header::LOCATION, &login_for(next)),
            Self::MethodNotAllowed(allowed) => insert(headers, header::ALLOW, allowed),
            Self::TooMany(wait) => insert(headers, header::RETRY_AFTER, &wait.as_secs().max(1).to_string()),
            Self::Store(_) => insert(headers, header::RETRY_AFTER, &RETRY_AFTER_OUTAGE_S.to_string()),
            Self::ForeignForm | Self::Malformed | Self::TooLarge | Self::TooSlow | Self::NotFound => {}
        }
        response
    }
}

impl Error {
    fn words(&self) -> Words {
        let words = |title, text, next| Words { title, text, next };
        match self {
            Self::SignedOut { .. } => words("Log in first", "This page is for officers who have logged in.", ""),
            Self::ForeignForm => words(
                "This form has expired",
                "Nothing was changed. The page was open since before you logged in, or another website sent this form in your name.",
                "Open the page again and fill in the form once more.",
            ),
            Self::Malformed => words("This form can’t be read", "Nothing was changed.", "Go back and try again."),
            Self::TooLarge => words("That is too much at once", "Nothing was changed.", "Go back and send less."),
            Self::TooSlow => words(
                "The form didn’t arrive in time",
                "Nothing was changed. Your connection may be slow.",
                "Go back and try again.",
            ),
            Self::NotFound => words(
                "There is no such page",
                "The address is mistyped, or what it leads to belongs to another officer.",
                "The directory shows whom to ask about a link.",
            ),
            Self::MethodNotAllowed(_) => {
                words("This page can’t be used so", "Nothing was changed.", "Go back and try again.")
            }
            Self::TooMany(_) => words(
                "Too many tries",
                "Many logins came from your network in a short time.",
                "Wait a minute, then try again.",
            ),
            Self::Store(_) => words(
                "Please try again shortly",
                "The console can’t reach its data just now. The fault is ours, and short links go on working. You are still logged in.",
                "Wait a moment, then load the page again. If you sent a form, look whether it took effect before you send it once more.",
            ),
        }
    }
}

struct Words {
    title: &'static str,
    text: &'static str,
    next: &'static str,
}

/// Wraps all routes of the console: gives every answer its headers, and every error its page.
pub async fn finish(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, actix_web::Error> {
    let response = next.call(request).await?;
    let (request, mut response) = response.into_parts();
    let error = response.error().and_then(actix_web::Error::as_error::<Error>);
    if let Some(error) = error {
        if let Error::Store(error) = error {
            tracing::warn!("the console can't ask the store: {error}");
        }
        let page = error_page(&session::app(&request).site, error);
        response = response.set_body(BoxBody::new(page));
        insert(response.headers_mut(), header::CONTENT_TYPE, HTML);
    }
    let headers = response.headers_mut();
    if !headers.contains_key(header::CACHE_CONTROL) {
        insert(headers, header::CACHE_CONTROL, "no-store");
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

fn error_page(site: &Site, error: &Error) -> String {
    #[derive(Template)]
    #[template(path = "error.html")]
    struct Page<'a> {
        frame: Frame<'a>,
        words: Words,
    }
    let frame = Frame { site, officer: None, token: String::new(), at: Section::None };
    rendered(&Page { frame, words: error.words() })
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

/// The login page, which leads on to `next`.
fn login_for(next: &str) -> String {
    match local_page(next) {
        Some(next) if next != HOME => format!("/console/login?next={}", query_value(next)),
        _ => "/console/login".to_owned(),
    }
}

/// A page of the console, and nothing that a browser could take for another place.
pub fn local_page(next: &str) -> Option<&str> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~?=&%+".contains(&byte);
    let local = next.starts_with("/console/") && next.len() <= 2000 && next.bytes().all(harmless);
    Some(next).filter(|_| local && !next.contains("//") && !next.contains(".."))
}

/// A number with its thousands apart: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `25 Nov 2026`, on the service's clock.
pub fn shown_date(app: &App, at: Timestamp) -> String {
    at.to_zoned(app.config.clicks.timezone.clone()).strftime("%-d %b %Y").to_string()
}

/// `25 Nov 2026, 14:05`, on the service's clock.
pub fn shown_time(app: &App, at: Timestamp) -> String {
    at.to_zoned(app.config.clicks.timezone.clone()).strftime("%-d %b %Y, %H:%M").to_string()
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
        ] {
            assert_eq!(local_page(bad), None, "{bad:?}");
        }
        assert_eq!(login_for("/console/keys?a=b"), "/console/login?next=/console/keys%3Fa%3Db");
        assert_eq!(login_for("//evil.example"), "/console/login");
    }
}
