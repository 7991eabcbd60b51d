//! Logging in by a mail with a link and a one-time password, and logging out.
//!
//! Whatever address is typed, the answer is the same page in the same words: only the mailbox shows whether a mail was sent, and a limit is
//! reached by any address alike. What is mailed works in the browser that asked for it and in no other. The link opens a page with a button, so
//! that a mail scanner that fetches it uses up nothing. `domain/otp.rs` has the arithmetic of guessing.
//!
//! Strangers share limits: by address and network, by mailbox, and on wrong guesses. A browser in which the officer has logged in before is
//! exempt from all of these and has limits of its own, so that strangers can't lock the officer out.

use std::{net::IpAddr, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{HeaderValue, RETRY_AFTER},
    },
    web::{Data, Path, Query},
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
    domain::{Email, KnownBrowserId, LinkSecret, OneTimePassword},
    keys,
    metrics::AuthFailure,
    state::App,
    store::{LoginFailure, MailTurn, PendingLogin, Proof, Tried},
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
    /// `None`: no limit.
    otps_per_hour: Option<u32>,
    /// True while passwords are accepted beside links.
    takes_password: bool,
    is_wrong: bool,
    /// True if an officer would have been sent a mail.
    is_sent: bool,
    /// Until the next mail can be asked for. `None`: at once.
    wait_minutes: Option<u64>,
}

#[derive(Template)]
#[template(path = "login/link.html")]
struct LinkPage<'a> {
    frame: Frame<'a>,
    path: &'a str,
    /// `None`: the link doesn't work in this browser.
    email: Option<&'a str>,
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

/// `POST /console/login`: mails a link and a password, if this is an officer's address.
pub async fn send_password(
    app: Data<App>,
    request: HttpRequest,
    posted: Posted<Browser>,
) -> Result<HttpResponse, Error> {
    let Posted { by: browser, fields } = posted;
    let (next, typed) = (fields.text("next"), fields.text("email"));
    let Ok(email) = typed.parse::<Email>() else {
        within_limit(&app, &request, None)?;
        return Ok(email_page(&app, &browser, next, typed, "", true));
    };
    let known = browser.known_by(&app, &email).await?;
    within_limit(&app, &request, known.as_ref())?;
    if !app.mailer.is_set_up() {
        return Ok(email_page(&app, &browser, next, typed, "", false));
    }
    let takes_password = takes_passwords(&app, known.as_ref()).await?;
    let address = client::address(request.head(), &app.config.public.trusted_proxies);
    let asker = Asker { browser: &browser, email: &email, known: known.as_ref(), address };
    let turn = issue(&app, &asker, next, takes_password).await?;
    let page = PasswordPage { takes_password, ..PasswordPage::new(&app, &browser, next, &email) };
    Ok(after_asking(page, turn))
}

/// `POST /console/login/password`: the password that was mailed.
pub async fn check_password(
    app: Data<App>,
    request: HttpRequest,
    posted: Posted<Browser>,
) -> Result<HttpResponse, Error> {
    let Posted { by: browser, fields } = posted;
    let next = fields.text("next");
    let Ok(email) = fields.text("email").parse::<Email>() else {
        within_limit(&app, &request, None)?;
        return Err(Error::Malformed);
    };
    let known = browser.known_by(&app, &email).await?;
    within_limit(&app, &request, known.as_ref())?;
    let page = PasswordPage { is_wrong: true, ..PasswordPage::new(&app, &browser, next, &email) };
    let guessed = match fields.text("password").parse::<OneTimePassword>() {
        Ok(otp) => guess(&app, &browser, &email, known.as_ref(), &otp).await?,
        Err(_) => Guessed::Wrong,
    };
    match guessed {
        Guessed::Right => {
            let mut response = see_other(local_page(next).unwrap_or(HOME));
            SignedIn::begin(&app, &browser, email, &mut response).await?;
            Ok(response)
        }
        Guessed::Wrong => {
            refused(&app, AuthFailure::WrongOtp, LoginFailure::WrongPassword, &email);
            Ok(html(StatusCode::UNPROCESSABLE_ENTITY, &page))
        }
        Guessed::NotLookedAt => {
            refused(&app, AuthFailure::GuessesSpent, LoginFailure::GuessesSpent, &email);
            let page = PasswordPage { takes_password: false, is_wrong: false, ..page };
            Ok(html(StatusCode::UNPROCESSABLE_ENTITY, &page))
        }
    }
}

/// `GET /console/login/link/{secret}`: a page with a button. Opening it uses up nothing.
pub async fn show_link(
    app: Data<App>,
    request: HttpRequest,
    browser: Browser,
    officer: Result<SignedIn, Error>,
    secret: Path<String>,
) -> Result<HttpResponse, Error> {
    match officer {
        Ok(_) => return Ok(see_other(HOME)),
        Err(Error::SignedOut { .. }) => {}
        Err(error) => return Err(error),
    }
    let Some(link) = OpenedLink::find(&app, &browser, &secret).await? else {
        return Ok(useless_link(&app, &browser));
    };
    let (frame, path) = (Frame::of_browser(&app, &browser), request.path());
    Ok(html(StatusCode::OK, &LinkPage { frame, path, email: Some(link.email.as_str()) }))
}

/// `POST /console/login/link/{secret}`: its button.
pub async fn open_link(
    app: Data<App>,
    request: HttpRequest,
    secret: Path<String>,
    posted: Posted<Browser>,
) -> Result<HttpResponse, Error> {
    let browser = posted.by;
    let link = OpenedLink::find(&app, &browser, &secret).await?;
    let known = match &link {
        Some(link) => browser.known_by(&app, &link.email).await?,
        None => None,
    };
    within_limit(&app, &request, known.as_ref())?;
    let tried = match &link {
        Some(link) => app.store.try_login(&browser.secret.browser_id(), Proof::Link, &link.hash).await?,
        None => Tried::NothingToTry,
    };
    match (link, tried) {
        (Some(link), Tried::Right) => {
            let mut response = see_other(local_page(&link.next).unwrap_or(HOME));
            SignedIn::begin(&app, &browser, link.email, &mut response).await?;
            Ok(response)
        }
        (_, Tried::Right | Tried::Wrong | Tried::NothingToTry) => {
            app.metrics.auth_failure(AuthFailure::WrongLink);
            Ok(useless_link(&app, &browser))
        }
    }
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

/// Somebody who asks for a mail.
struct Asker<'a> {
    browser: &'a Browser,
    email: &'a Email,
    /// `None`: the officer has not logged in with this browser.
    known: Option<&'a KnownBrowserId>,
    /// `None` on a unix socket.
    address: Option<IpAddr>,
}

/// Takes a mail from the asker's allowance, whoever that is, and sends it to an officer.
async fn issue(app: &App, asker: &Asker<'_>, next: &str, with_password: bool) -> Result<MailTurn, Error> {
    let email = asker.email;
    let refusal = why_no_mail(app, email).await?;
    let place = if refusal.is_none() { app.mailer.reserve(asker.known.is_some()) } else { None };
    let is_counted = place.is_some() || app.unsent_mails.allows(&());
    let turn = if is_counted { take_turn(app, asker).await? } else { MailTurn { is_granted: true, next_in: None } };
    if let Some((counted, written_down)) = refusal {
        refused(app, counted, written_down, email);
    } else if !turn.is_granted {
        refused(app, AuthFailure::ManyOtps, LoginFailure::ManyPasswords, email);
    } else if let Some(place) = place {
        let (secret, words) = (&asker.browser.secret, &asker.browser.words);
        let (otp, link) = (OneTimePassword::random(), LinkSecret::random());
        let login = PendingLogin {
            browser: secret.browser_id(),
            email: email.clone(),
            asked_at: Timestamp::now(),
            next: local_page(next).unwrap_or(HOME).to_owned(),
            code: with_password.then(|| secret.otp_hash(email, &otp)),
            link: secret.link_hash(email, &link),
        };
        let address = format!("{}/console/login/link/{}", app.config.public.base_url.as_str(), link.reveal());
        let text = if with_password {
            words.mail_password_text(address, otp.grouped())
        } else {
            words.mail_link_text(address)
        };
        place.send(&app.store, login, &words.mail_password_subject(), &format!("{text}\n")).await;
    }
    Ok(turn)
}

/// The reason why this address gets no mail. `None` when it gets one.
async fn why_no_mail(app: &App, email: &Email) -> Result<Option<(AuthFailure, LoginFailure)>, Error> {
    let officers = &app.config.officers;
    let is_anybody = officers.email_domains.matches(email)
        && (!officers.known_only || officers.admins.contains(email) || app.store.is_known_officer(email).await?);
    if !is_anybody {
        return Ok(Some((AuthFailure::NotAnOfficer, LoginFailure::NotAnOfficer)));
    }
    let is_suspended = app.store.is_suspended(email).await?;
    Ok(is_suspended.then_some((AuthFailure::Suspended, LoginFailure::Suspended)))
}

/// Takes a mail from the browser's own allowance if it is known; else from its network's share of the mailbox's, and from the mailbox's.
async fn take_turn(app: &App, asker: &Asker<'_>) -> Result<MailTurn, Error> {
    let per_hour = app.config.limits.otps_per_hour;
    if per_hour == 0 {
        return Ok(MailTurn { is_granted: true, next_in: None });
    }
    let (now, mailbox) = (Timestamp::now(), asker.email.mailbox());
    if let Some(browser) = asker.known {
        return Ok(app.store.take_mail(browser.as_str(), per_hour, now).await?);
    }
    let key = app.service_key().await?;
    let share = match asker.address {
        None => MailTurn { is_granted: true, next_in: None },
        Some(address) => {
            let network = client::widest_network(address).to_string();
            let name = key.name("share", &[mailbox.as_str(), network.as_str()]);
            app.store.take_mail(&name, per_hour.div_ceil(2), now).await?
        }
    };
    if !share.is_granted {
        return Ok(share);
    }
    let turn = app.store.take_mail(&key.name("mailbox", &[mailbox.as_str()]), per_hour, now).await?;
    // Whichever ends later.
    Ok(MailTurn { next_in: turn.next_in.max(share.next_in), ..turn })
}

/// Outcome of a guess at a password.
enum Guessed {
    Right,
    Wrong,
    /// The hour's wrong guesses are spent.
    NotLookedAt,
}

/// Tries a password. A stranger's guess is taken from the hour's allowance before it is looked at.
async fn guess(
    app: &App,
    browser: &Browser,
    email: &Email,
    known: Option<&KnownBrowserId>,
    otp: &OneTimePassword,
) -> Result<Guessed, Error> {
    let (id, hash) = (browser.secret.browser_id(), browser.secret.otp_hash(email, otp));
    // A guess at nothing is no guess.
    let login = app.store.find_login(&id).await?;
    if !login.is_some_and(|login| login.takes_password && login.email == *email) {
        let is_taken = takes_passwords(app, known).await?;
        return Ok(if is_taken { Guessed::Wrong } else { Guessed::NotLookedAt });
    }
    let is_stranger = known.is_none();
    if is_stranger && !app.store.take_guess(app.config.limits.wrong_otps_per_hour).await? {
        return Ok(Guessed::NotLookedAt);
    }
    let tried = app.store.try_login(&id, Proof::Password, &hash).await?;
    if is_stranger && tried != Tried::Wrong {
        app.store.return_guess().await?;
    }
    Ok(if tried == Tried::Right { Guessed::Right } else { Guessed::Wrong })
}

/// True if passwords from such a browser are accepted.
async fn takes_passwords(app: &App, known: Option<&KnownBrowserId>) -> Result<bool, Error> {
    Ok(known.is_some() || !app.store.guesses_are_spent(app.config.limits.wrong_otps_per_hour).await?)
}

/// A link that works in this browser.
struct OpenedLink {
    email: Email,
    next: String,
    hash: String,
}

impl OpenedLink {
    async fn find(app: &App, browser: &Browser, secret: &str) -> Result<Option<Self>, Error> {
        let Ok(secret) = secret.parse::<LinkSecret>() else { return Ok(None) };
        let Some(login) = app.store.find_login(&browser.secret.browser_id()).await? else { return Ok(None) };
        let hash = browser.secret.link_hash(&login.email, &secret);
        Ok(login.has_link(&hash).then_some(Self { email: login.email, next: login.next, hash }))
    }
}

fn refused(app: &App, counted: AuthFailure, written_down: LoginFailure, email: &Email) {
    app.metrics.auth_failure(counted);
    app.store.trail_login_failed(written_down, email);
}

fn within_limit(app: &App, request: &HttpRequest, known: Option<&KnownBrowserId>) -> Result<(), Error> {
    let taken = match (known, client::address(request.head(), &app.config.public.trusted_proxies)) {
        (Some(browser), _) => app.known_logins.as_ref().map_or(Ok(()), |limit| limit.take(browser).map(|_| ())),
        (None, Some(address)) => app.logins.as_ref().map_or(Ok(()), |limit| limit.take(address)),
        (None, None) => Ok(()),
    };
    taken.map_err(|wait| {
        app.metrics.auth_failure(AuthFailure::ManyLogins);
        Error::TooMany(wait)
    })
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

impl<'a> PasswordPage<'a> {
    fn new(app: &'a App, browser: &'a Browser, next: &'a str, email: &'a Email) -> Self {
        Self {
            frame: Frame::of_browser(app, browser),
            next,
            email: email.as_str(),
            otps_per_hour: Some(app.config.limits.otps_per_hour).filter(|limit| *limit > 0),
            takes_password: true,
            is_wrong: false,
            is_sent: true,
            wait_minutes: None,
        }
    }
}

/// The page after somebody asked for a mail.
fn after_asking(page: PasswordPage<'_>, turn: MailTurn) -> HttpResponse {
    let wait = turn.next_in.unwrap_or(Duration::ZERO);
    let wait_minutes = turn.next_in.map(|wait| wait.as_secs().div_ceil(60).max(1));
    let page = PasswordPage { is_sent: turn.is_granted, wait_minutes, ..page };
    if turn.is_granted {
        return html(StatusCode::OK, &page);
    }
    let mut response = html(StatusCode::TOO_MANY_REQUESTS, &page);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    response
}

/// The page of a link that is another browser's, too old, or used. Which of these it is, nobody can tell by the link alone.
fn useless_link(app: &App, browser: &Browser) -> HttpResponse {
    let page = LinkPage { frame: Frame::of_browser(app, browser), path: "", email: None };
    let mut response = html(StatusCode::NOT_FOUND, &page);
    browser.keep(app, &mut response);
    response
}
