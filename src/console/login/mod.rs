//! Logging in by a one-time password that is mailed, and logging out.
//!
//! Whatever address is typed, the answer is the same page in the same words: only the mailbox tells whether a password was sent. A password is
//! bound to the browser that asked for it. So who guesses, guesses at a password of their own asking; each may be tried three times, and
//! a mailbox gets so many an hour.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Query},
};
use askama::Template;
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    form::Posted,
    page::{Error, Frame, LOGIN, html, local_page, query_value, see_other},
    session::{Browser, HOME, SignedIn},
};
use crate::{
    client,
    domain::{Email, OneTimePassword},
    keys,
    metrics::AuthFailure,
    state::App,
    store::LoginFailure,
};

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    next: String,
    #[serde(default)]
    done: String,
}

#[derive(Template)]
#[template(path = "login/email.html")]
struct EmailPage<'a> {
    frame: Frame<'a>,
    next: &'a str,
    /// What links to other languages keep.
    query: String,
    email: &'a str,
    done: &'a str,
    patterns: String,
    is_malformed: bool,
    has_mail: bool,
}

#[derive(Template)]
#[template(path = "login/password.html")]
struct PasswordPage<'a> {
    frame: Frame<'a>,
    next: &'a str,
    email: &'a str,
    /// `None`: as many as are asked for.
    otps_per_hour: Option<u32>,
    is_wrong: bool,
}

/// `GET /console/`, `GET /console`.
pub async fn front() -> HttpResponse {
    see_other(HOME)
}

/// `GET /console/login`. Whoever is logged in already goes on.
pub async fn show(
    app: Data<App>,
    browser: Browser,
    officer: Result<SignedIn, Error>,
    asked: Query<Asked>,
) -> Result<HttpResponse, Error> {
    match officer {
        Ok(_) => return Ok(see_other(local_page(&asked.next).unwrap_or(HOME))),
        Err(Error::SignedOut { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(email_page(&app, &browser, &asked.next, "", &asked.done, false))
}

/// `POST /console/login`: mails a password, if this is an officer's address.
pub async fn send_password(
    app: Data<App>,
    request: HttpRequest,
    posted: Posted<Browser>,
) -> Result<HttpResponse, Error> {
    let Posted { by: browser, fields } = posted;
    within_limit(&app, &request)?;
    let next = fields.text("next");
    let typed = fields.text("email");
    let Ok(email) = typed.parse::<Email>() else {
        return Ok(email_page(&app, &browser, next, typed, "", true));
    };
    if !app.mailer.is_set_up() {
        return Ok(email_page(&app, &browser, next, typed, "", false));
    }
    issue(&app, &browser, &email).await?;
    Ok(password_page(&app, &browser, next, &email, false))
}

/// `POST /console/login/password`: the password that was mailed.
pub async fn check_password(
    app: Data<App>,
    request: HttpRequest,
    posted: Posted<Browser>,
) -> Result<HttpResponse, Error> {
    let Posted { by: browser, fields } = posted;
    within_limit(&app, &request)?;
    let next = fields.text("next");
    let Ok(email) = fields.text("email").parse::<Email>() else { return Err(Error::Malformed) };
    let is_right = match fields.text("password").parse::<OneTimePassword>() {
        Err(_) => false,
        Ok(otp) => {
            let hash = browser.secret.otp_hash(&email, &otp);
            app.store.try_otp(&email, &browser.secret.browser_id(), &hash, Timestamp::now()).await?
        }
    };
    if !is_right {
        refused(&app, AuthFailure::WrongOtp, LoginFailure::WrongPassword, &email);
        return Ok(password_page(&app, &browser, next, &email, true));
    }
    let mut response = see_other(local_page(next).unwrap_or(HOME));
    SignedIn::begin(&app, &browser.secret, email, &mut response).await?;
    Ok(response)
}

/// `GET /console/login/password`: the form is only ever the answer to an address.
pub async fn no_password_yet() -> HttpResponse {
    see_other(LOGIN)
}

/// `POST /console/logout`.
pub async fn log_out(app: Data<App>, posted: Posted<SignedIn>) -> Result<HttpResponse, Error> {
    let mut response = see_other("/console/login?done=out");
    posted.by.end(&app, &mut response).await?;
    Ok(response)
}

/// `POST /console/logout-everywhere`: ends all sessions, and revokes all API keys if that is ticked. The keys come first: should Redis go away in
/// between, the officer is still logged in and tries again.
pub async fn log_out_everywhere(app: Data<App>, posted: Posted<SignedIn>) -> Result<HttpResponse, Error> {
    let keys_too = posted.fields.is_ticked("keys");
    if keys_too {
        keys::revoke_all(&app.store, &posted.by.email, &posted.by.actor()).await?;
    }
    let mut response =
        see_other(if keys_too { "/console/login?done=everywhere-keys" } else { "/console/login?done=everywhere" });
    posted.by.end_everywhere(&app, &mut response).await?;
    Ok(response)
}

/// Notes and mails a password. For who may not log in, and for a mailbox that has had its share, nothing happens.
async fn issue(app: &App, browser: &Browser, email: &Email) -> Result<(), Error> {
    if !app.config.officers.email_domains.matches(email) {
        refused(app, AuthFailure::NotAnOfficer, LoginFailure::NotAnOfficer, email);
        return Ok(());
    }
    if app.store.is_suspended(email).await? {
        refused(app, AuthFailure::Suspended, LoginFailure::Suspended, email);
        return Ok(());
    }
    let otp = OneTimePassword::random();
    let hash = browser.secret.otp_hash(email, &otp);
    let per_hour = app.config.limits.otps_per_hour;
    if !app.store.issue_otp(email, &browser.secret.browser_id(), &hash, Timestamp::now(), per_hour).await? {
        refused(app, AuthFailure::ManyOtps, LoginFailure::ManyPasswords, email);
        return Ok(());
    }
    let console = format!("{}/console/", app.config.public.base_url.as_str());
    let text = browser.words.mail_password_text(console, otp.reveal());
    app.mailer.send(email, &browser.words.mail_password_subject(), &format!("{text}\n"));
    Ok(())
}

fn refused(app: &App, counted: AuthFailure, written_down: LoginFailure, email: &Email) {
    app.metrics.auth_failure(counted);
    app.store.trail_login_failed(written_down, email);
}

fn within_limit(app: &App, request: &HttpRequest) -> Result<(), Error> {
    let Some(limit) = &app.logins else { return Ok(()) };
    let Some(address) = client::address(request.head(), &app.config.public.trusted_proxies) else { return Ok(()) };
    match limit.take(&client::visitor(address)) {
        Ok(_) => Ok(()),
        Err(wait) => {
            app.metrics.auth_failure(AuthFailure::ManyLogins);
            Err(Error::TooMany(wait))
        }
    }
}

fn email_page(app: &App, browser: &Browser, next: &str, email: &str, done: &str, is_malformed: bool) -> HttpResponse {
    let has_mail = app.mailer.is_set_up();
    let page = EmailPage {
        frame: Frame::of_browser(app, browser),
        next,
        query: local_page(next).map(|next| format!("&next={}", query_value(next))).unwrap_or_default(),
        email,
        done,
        patterns: app.config.officers.email_domains.to_string(),
        is_malformed,
        has_mail,
    };
    let status = match (has_mail, is_malformed) {
        (false, _) => StatusCode::SERVICE_UNAVAILABLE,
        (true, true) => StatusCode::UNPROCESSABLE_ENTITY,
        (true, false) => StatusCode::OK,
    };
    let mut response = html(status, &page);
    browser.keep(app, &mut response);
    response
}

fn password_page(app: &App, browser: &Browser, next: &str, email: &Email, is_wrong: bool) -> HttpResponse {
    let page = PasswordPage {
        frame: Frame::of_browser(app, browser),
        next,
        email: email.as_str(),
        otps_per_hour: Some(app.config.limits.otps_per_hour).filter(|limit| *limit > 0),
        is_wrong,
    };
    html(if is_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page)
}
