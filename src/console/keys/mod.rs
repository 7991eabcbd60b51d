//! An officer's API keys: made, shown once, listed with their last use, revoked.

use std::{cmp::Reverse, time::Duration};

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path, Query},
};
use askama::Template;
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    form::{Fields, Posted},
    page::{Error, Frame, Section, html, see_other, shown_date, shown_time},
    session::SignedIn,
};
use crate::{
    domain::{ApiKey, KeyName, Scope, Scopes, key::KEY_NAME_CHARS_MAX},
    keys::{self, CreateError, NewKey, Unrecorded},
    languages::{Html, Language},
    state::App,
    store::{Answer, Begun, Quota},
};

/// Days until a key ends, as offered; 0: never.
const LIVES: [u64; 4] = [30, 90, YEAR, 0];
const YEAR: u64 = 365;

/// Of revoked and of expired keys, the last ones. `merlink key list` and the API have the others.
const ENDED_SHOWN_MAX: usize = 50;

#[derive(Template)]
#[template(path = "keys/keys.html")]
struct KeysPage<'a> {
    frame: Frame<'a>,
    keys: Vec<Shown>,
    scopes: Vec<Offer<'a>>,
    lives: [(u64, Html<'a>); 4],
    filled: &'a Filled,
    name_chars_max: usize,
    mistake: Option<Html<'a>>,
    is_name_wrong: bool,
    is_scope_wrong: bool,
    /// A key that was just made, whole.
    made: Option<String>,
    done: &'a str,
    /// Tells this form from all others: sent twice, it makes one key.
    nonce: String,
    revoked: Vec<Shown>,
}

#[derive(Template)]
#[template(path = "keys/revoke.html")]
struct RevokePage<'a> {
    frame: Frame<'a>,
    key: Shown,
    /// Keys that are revoked with it.
    below: Vec<Shown>,
}

/// What the form holds: what it is offered with, or what was sent and is to be put right.
struct Filled {
    name: String,
    scopes: Vec<Scope>,
    days: u64,
}

/// What can be wrong with a form, and so which field it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    Name,
    NoScope,
    TooMany,
}

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    done: String,
}

struct Offer<'a> {
    word: &'static str,
    meaning: Html<'a>,
    is_ticked: bool,
}

struct Shown {
    id: String,
    name: String,
    scopes: String,
    created: Html<'static>,
    used: Option<Html<'static>>,
    expires: Option<Html<'static>>,
    is_usable: bool,
    revoked: Option<Html<'static>>,
}

/// `GET /console/keys`.
pub async fn show(app: Data<App>, officer: SignedIn, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    keys_page(&app, &officer, &Filled::default(), None, None, &asked.done).await
}

/// `POST /console/keys`. The key is in this answer and nowhere else, so the answer is no redirect; but the same form sent again, as by loading the
/// page again, makes no second key. A form that was changed since is another one.
pub async fn create(app: Data<App>, posted: Posted<SignedIn>) -> Result<HttpResponse, Error> {
    let Posted { by: officer, fields } = posted;
    let filled = Filled::read(&fields, &officer)?;
    let now = Timestamp::now();
    let mistake = match filled.wish(&officer, now) {
        Err(mistake) => mistake,
        Ok(new) => {
            let request = format!("key {} {} {} {}", fields.text("nonce"), new.scopes, filled.days, filled.name);
            let quota = Quota { officer: &officer.email, bytes_max: app.config.limits.kept_answers_bytes_max };
            let begun = app.store.begin_request(officer.email.as_str(), &request, "", quota, app.store.now()).await?;
            let held = match begun {
                Begun::Mine(held) => held,
                Begun::OverQuota(wait) => return Err(Error::OverQuota(wait)),
                Begun::Answered(_) | Begun::Running | Begun::OfAnother => {
                    return Ok(see_other("/console/keys?done=made"));
                }
            };
            match keys::create(&app.store, new, now, &officer.actor()).await {
                Ok((_, plain)) => {
                    let answer = Answer { status: StatusCode::OK.as_u16(), headers: Vec::new(), body: None };
                    app.store.finish_request(held, answer).await?;
                    return keys_page(&app, &officer, &Filled::default(), None, Some(plain.reveal()), "").await;
                }
                Err(CreateError::TooMany) => {
                    app.store.leave_request(held).await?;
                    Mistake::TooMany
                }
                Err(CreateError::Store(error)) => return Err(error.into()),
            }
        }
    };
    keys_page(&app, &officer, &filled, Some(mistake), None, "").await
}

/// `GET /console/keys/{id}/revoke`: asks first, since it can't be undone.
pub async fn ask_revoke(app: Data<App>, officer: SignedIn, id: Path<String>) -> Result<HttpResponse, Error> {
    let key = keys::find(&app.store, &officer.email, &id).await?.ok_or(Error::NotFound)?;
    let frame = Frame::of(&app, &officer, Section::Keys);
    let now = Timestamp::now();
    let shown = |key: &ApiKey| Shown::of(&app, &officer.words, key, now);
    let below = keys::below(&app.store, &key).await?.iter().map(shown).collect();
    Ok(html(StatusCode::OK, &RevokePage { frame, key: shown(&key), below }))
}

/// `POST /console/keys/{id}/revoke`.
pub async fn revoke(app: Data<App>, posted: Posted<SignedIn>, id: Path<String>) -> Result<HttpResponse, Error> {
    let key = keys::find(&app.store, &posted.by.email, &id).await?.ok_or(Error::NotFound)?;
    keys::revoke(&app.store, key, Unrecorded::Revoked, &posted.by.actor()).await?;
    Ok(see_other("/console/keys?done=revoked"))
}

impl Default for Filled {
    fn default() -> Self {
        Self { name: String::new(), scopes: vec![Scope::LinksRead, Scope::LinksWrite], days: 90 }
    }
}

impl Filled {
    /// What the form doesn't offer can't be chosen on it: whoever sends that has another form.
    fn read(fields: &Fields, officer: &SignedIn) -> Result<Self, Error> {
        let offered = |word: &str| offered(officer).find(|scope| scope.as_str() == word);
        let scopes = fields.all("scope").map(offered).collect::<Option<Vec<Scope>>>().ok_or(Error::Malformed)?;
        let days = fields.text("days").parse::<u64>().ok().filter(|days| LIVES.contains(days));
        Ok(Self { name: fields.text("name").to_owned(), scopes, days: days.ok_or(Error::Malformed)? })
    }

    fn wish(&self, officer: &SignedIn, now: Timestamp) -> Result<NewKey, Mistake> {
        let name = self.name.parse::<KeyName>().map_err(|_| Mistake::Name)?;
        if self.scopes.is_empty() {
            return Err(Mistake::NoScope);
        }
        let life = Duration::from_secs(self.days * 24 * 60 * 60);
        let expires_at = (self.days > 0).then(|| now + life);
        let scopes = Scopes::new(self.scopes.iter().copied());
        Ok(NewKey { owner: officer.email.clone(), name, scopes, expires_at, maker: None })
    }
}

impl Mistake {
    fn said(self, words: &Language) -> Html<'_> {
        match self {
            Self::Name => words.keys_name_mistake(KEY_NAME_CHARS_MAX),
            Self::NoScope => words.keys_scopes_mistake(),
            Self::TooMany => words.keys_too_many(keys::KEYS_MAX),
        }
    }
}

impl Shown {
    fn of(app: &App, words: &Language, key: &ApiKey, now: Timestamp) -> Self {
        Self {
            id: key.id.clone(),
            name: key.name.to_string(),
            scopes: key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(", "),
            created: shown_date(app, words, key.created_at),
            used: key.last_used_at.map(|at| shown_time(app, words, at)),
            expires: key.expires_at.map(|at| shown_date(app, words, at)),
            is_usable: key.is_usable(now),
            revoked: key.revoked_at.map(|at| shown_time(app, words, at)),
        }
    }
}

/// What an officer may hand out.
fn offered(officer: &SignedIn) -> impl Iterator<Item = Scope> {
    let is_admin = officer.is_admin;
    Scope::ALL.into_iter().filter(move |scope| is_admin || *scope != Scope::Admin)
}

fn meaning(scope: Scope, words: &Language) -> Html<'_> {
    match scope {
        Scope::LinksRead => words.keys_scope_links_read(),
        Scope::LinksWrite => words.keys_scope_links_write(),
        Scope::StatsRead => words.keys_scope_stats_read(),
        Scope::KeysWrite => words.keys_scope_keys_write(),
        Scope::Admin => words.keys_scope_admin(),
    }
}

fn life(days: u64, words: &Language) -> Html<'_> {
    match days {
        0 => words.keys_life_never_label(),
        YEAR => words.keys_life_year_label(),
        days => words.keys_life_days_label(days),
    }
}

async fn keys_page(
    app: &App,
    officer: &SignedIn,
    filled: &Filled,
    mistake: Option<Mistake>,
    made: Option<String>,
    done: &str,
) -> Result<HttpResponse, Error> {
    let (now, words) = (Timestamp::now(), &*officer.words);
    let mut keys = app.store.list_api_keys(Some(&officer.email)).await?;
    keys.reverse();
    let (mut revoked, keys): (Vec<ApiKey>, Vec<ApiKey>) = keys.into_iter().partition(|key| key.revoked_at.is_some());
    revoked.sort_by_key(|key| Reverse(key.revoked_at));
    revoked.truncate(ENDED_SHOWN_MAX);
    let (usable, mut expired): (Vec<ApiKey>, Vec<ApiKey>) = keys.into_iter().partition(|key| key.is_usable(now));
    expired.sort_by_key(|key| Reverse(key.expires_at));
    expired.truncate(ENDED_SHOWN_MAX);
    let page = KeysPage {
        frame: Frame::of(app, officer, Section::Keys),
        keys: usable.iter().chain(&expired).map(|key| Shown::of(app, words, key, now)).collect(),
        scopes: offered(officer)
            .map(|scope| Offer {
                word: scope.as_str(),
                meaning: meaning(scope, words),
                is_ticked: filled.scopes.contains(&scope),
            })
            .collect(),
        lives: LIVES.map(|days| (days, life(days, words))),
        filled,
        name_chars_max: KEY_NAME_CHARS_MAX,
        mistake: mistake.map(|mistake| mistake.said(words)),
        is_name_wrong: mistake == Some(Mistake::Name),
        is_scope_wrong: mistake == Some(Mistake::NoScope),
        made,
        done,
        nonce: nanoid::nanoid!(),
        revoked: revoked.iter().map(|key| Shown::of(app, &officer.words, key, now)).collect(),
    };
    Ok(html(if mistake.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page))
}
