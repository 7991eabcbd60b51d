//! Who is at the other end: a browser, and perhaps an officer.
//!
//! A browser that comes without a secret of its own is given one, as a cookie that scripts can't read and other sites' forms don't bring
//! along. With https its name begins with `__Host-`, so that no neighbouring host can plant one. Login replaces the secret, so one that was
//! known before opens nothing. Login also leaves a ticket, a second cookie that outlives the session and opens nothing: it takes the browser
//! out of the limits that strangers share (`domain/known_browser.rs`).

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::{
        Method,
        header::{CLEAR_SITE_DATA, COOKIE, HeaderValue, SET_COOKIE},
    },
    web::Data,
};
use jiff::Timestamp;

use super::page::Error;
use crate::{
    auth,
    domain::{BrowserSecret, Email, KnownBrowserId, known_browser::KNOWN_FOR},
    languages::{Language, Part},
    metrics::AuthFailure,
    origin::Origin,
    state::App,
    store::{Actor, FoundSession, Session, StoreError},
};

/// A session's end is moved when that would move it by at least this: not every page costs a write.
const PROLONGED_BY_AT_LEAST: Duration = Duration::from_secs(60);

/// Where an officer begins.
pub const HOME: &str = "/console/links";

/// A browser, whether or not somebody is logged in with it.
pub struct Browser {
    pub secret: BrowserSecret,
    /// The ticket of a browser in which somebody has logged in before, as it was sent. Empty: none.
    ticket: String,
    /// In the language that it asks for.
    pub words: Arc<Language>,
    is_new: bool,
}

/// An officer who has logged in.
pub struct SignedIn {
    pub email: Email,
    pub is_admin: bool,
    pub since: Timestamp,
    /// In the language that the officer reads.
    pub words: Arc<Language>,
    secret: BrowserSecret,
}

/// Whom a page or a form is for.
pub trait Visitor: Sized {
    /// Finds them.
    fn recognise(app: &App, request: &HttpRequest) -> impl Future<Output = Result<Self, Error>>;

    fn secret(&self) -> &BrowserSecret;

    /// `None` for a stranger.
    fn officer(&self) -> Option<&Email>;
}

impl Browser {
    /// The browser's name among known ones, if `email` has logged in with it before.
    ///
    /// # Errors
    ///
    /// When the store can't be asked.
    pub async fn known_by(&self, app: &App, email: &Email) -> Result<Option<KnownBrowserId>, StoreError> {
        if self.ticket.is_empty() {
            return Ok(None);
        }
        Ok(app.service_key().await?.recognise(&self.ticket, email, Timestamp::now()))
    }

    /// Lets the browser keep its secret, if it came without.
    pub fn keep(&self, app: &App, response: &mut HttpResponse) {
        if self.is_new {
            set_cookie(app, response, Some(&self.secret));
        }
    }
}

impl Visitor for Browser {
    async fn recognise(app: &App, request: &HttpRequest) -> Result<Self, Error> {
        let words = words(app, request);
        let ticket = cookie_of(request, ticket_name(app)).unwrap_or_default().to_owned();
        Ok(match secret_of(app, request) {
            Some(secret) => Self { secret, ticket, words, is_new: false },
            None => Self { secret: BrowserSecret::random(), ticket, words, is_new: true },
        })
    }

    fn secret(&self) -> &BrowserSecret {
        &self.secret
    }

    fn officer(&self) -> Option<&Email> {
        None
    }
}

impl SignedIn {
    /// Begins a session under a new secret and gives it to the browser; the one it had before is worth nothing from then on. From now on the
    /// browser is a known one of this officer's.
    ///
    /// # Errors
    ///
    /// When the store can't be asked.
    pub async fn begin(
        app: &App,
        browser: &Browser,
        email: Email,
        response: &mut HttpResponse,
    ) -> Result<(), StoreError> {
        let secret = BrowserSecret::random();
        let now = Timestamp::now();
        let known = browser.known_by(app, &email).await?;
        let ticket = app.service_key().await?.ticket(&email, now, known);
        let session = Session { email, since: now };
        let life = app.config.console.session_idle.min(app.config.console.session_max);
        app.store.end_session(&browser.secret.session_id(), None).await?;
        Origin::note_session(secret.audit_id());
        app.store.begin_session(&secret.session_id(), &session, life).await?;
        set_cookie(app, response, Some(&secret));
        add_cookie(app, response, ticket_name(app), &ticket, Some(KNOWN_FOR));
        Ok(())
    }

    /// # Errors
    ///
    /// When the store can't be asked: the session goes on.
    pub async fn end(&self, app: &App, response: &mut HttpResponse) -> Result<(), StoreError> {
        app.store.end_session(&self.secret.session_id(), Some(&self.email)).await?;
        forget(app, response);
        Ok(())
    }

    /// Ends all sessions of this officer.
    ///
    /// # Errors
    ///
    /// When the store can't be asked: they go on.
    pub async fn end_everywhere(&self, app: &App, response: &mut HttpResponse) -> Result<(), StoreError> {
        app.store.end_all_sessions(&self.email, &Actor::Session(self.email.clone())).await?;
        app.store.end_session(&self.secret.session_id(), None).await?;
        forget(app, response);
        Ok(())
    }
}

impl Visitor for SignedIn {
    async fn recognise(app: &App, request: &HttpRequest) -> Result<Self, Error> {
        let signed_out = || {
            // Only what a browser can show again is worth coming back to.
            // A request by way of a proxy may have the whole address (RFC 9112, 3.2.2).
            let asked = request.uri().path_and_query().filter(|_| *request.method() == Method::GET);
            let next = asked.map_or(HOME, |asked| asked.as_str()).to_owned();
            Error::SignedOut { next }
        };
        let secret = secret_of(app, request).ok_or_else(signed_out)?;
        let Some(session) = living_session(app, &secret).await? else {
            app.metrics.auth_failure(AuthFailure::NoSession);
            return Err(signed_out());
        };
        Origin::note_session(secret.audit_id());
        let is_admin = app.config.officers.admins.contains(&session.email);
        Ok(Self { email: session.email, is_admin, since: session.since, words: words(app, request), secret })
    }

    fn secret(&self) -> &BrowserSecret {
        &self.secret
    }

    fn officer(&self) -> Option<&Email> {
        Some(&self.email)
    }
}

/// The session of this browser, prolonged if need be. An officer who may not act has none.
async fn living_session(app: &App, secret: &BrowserSecret) -> Result<Option<Session>, StoreError> {
    let id = secret.session_id();
    let Some(FoundSession { session, left, is_suspended }) = app.store.find_session(&id).await? else {
        return Ok(None);
    };
    let now = Timestamp::now();
    let age = Duration::try_from(now.duration_since(session.since)).unwrap_or_default();
    let life = app.config.console.session_max.saturating_sub(age).min(app.config.console.session_idle);
    let may_act = auth::may_act(&app.config.officers, &session.email, is_suspended, None, now);
    if life.is_zero() || may_act.is_err() {
        return Ok(None);
    }
    if life >= left + PROLONGED_BY_AT_LEAST {
        app.store.prolong_session(&id, life).await?;
    }
    Ok(Some(session))
}

impl FromRequest for Browser {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        recognised(request)
    }
}

impl FromRequest for SignedIn {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        recognised(request)
    }
}

fn recognised<V: Visitor + 'static>(request: &HttpRequest) -> Pin<Box<dyn Future<Output = Result<V, Error>>>> {
    let request = request.clone();
    Box::pin(async move { V::recognise(&app(&request), &request).await })
}

pub fn app(request: &HttpRequest) -> Data<App> {
    request.app_data::<Data<App>>().expect("the server is built with its state").clone()
}

fn words(app: &App, request: &HttpRequest) -> Arc<Language> {
    Arc::clone(app.site.languages.choose(Part::Console, request.headers(), request.uri().query()).language)
}

fn cookie_name(app: &App) -> &'static str {
    if app.config.public.base_url.is_https() { "__Host-merlink" } else { "merlink" }
}

fn ticket_name(app: &App) -> &'static str {
    if app.config.public.base_url.is_https() { "__Host-merlink-known" } else { "merlink-known" }
}

fn secret_of(app: &App, request: &HttpRequest) -> Option<BrowserSecret> {
    cookie_of(request, cookie_name(app))?.parse().ok()
}

fn cookie_of<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    let headers = request.headers().get_all(COOKIE).filter_map(|value| value.to_str().ok());
    let mut pairs = headers.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// Takes the cookie away, and the pages that the browser still has in memory for its back button.
fn forget(app: &App, response: &mut HttpResponse) {
    set_cookie(app, response, None);
    response.headers_mut().insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\""));
}

/// `None` takes the cookie away. Without an age it ends with the browser; the session's own end is the store's.
fn set_cookie(app: &App, response: &mut HttpResponse, secret: Option<&BrowserSecret>) {
    let (value, age) = secret.map_or(("", Some(Duration::ZERO)), |secret| (secret.reveal(), None));
    add_cookie(app, response, cookie_name(app), value, age);
}

fn add_cookie(app: &App, response: &mut HttpResponse, name: &str, value: &str, age: Option<Duration>) {
    let age = age.map(|age| format!("; Max-Age={}", age.as_secs())).unwrap_or_default();
    let secure = if app.config.public.base_url.is_https() { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}");
    let cookie = HeaderValue::from_str(&cookie).expect("a cookie of letters, digits and signs");
    response.headers_mut().append(SET_COOKIE, cookie);
}
