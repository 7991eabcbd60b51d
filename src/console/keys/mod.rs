//! An officer's API keys: made, shown once, listed with their last use, revoked.

use std::time::Duration;

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
    keys::{self, CreateError, NewKey},
    state::App,
};

/// Days until a key ends, as offered; 0: never.
const LIVES: [(u64, &str); 4] = [(30, "30 days"), (90, "90 days"), (365, "One year"), (0, "Never")];

#[derive(Template)]
#[template(path = "keys/keys.html")]
struct KeysPage<'a> {
    frame: Frame<'a>,
    keys: Vec<Shown>,
    scopes: Vec<Offer>,
    lives: [(u64, &'static str); 4],
    filled: &'a Filled,
    name_chars_max: usize,
    mistake: Option<Mistake>,
    is_name_wrong: bool,
    is_scope_wrong: bool,
    /// A key that was just made, whole.
    made: Option<String>,
    was_revoked: bool,
}

#[derive(Template)]
#[template(path = "keys/revoke.html")]
struct RevokePage<'a> {
    frame: Frame<'a>,
    key: Shown,
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

struct Offer {
    word: &'static str,
    meaning: &'static str,
    is_ticked: bool,
}

struct Shown {
    id: String,
    name: String,
    scopes: String,
    created: String,
    used: Option<String>,
    expires: Option<String>,
    is_usable: bool,
}

/// `GET /console/keys`.
pub async fn show(app: Data<App>, officer: SignedIn, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    keys_page(&app, &officer, &Filled::default(), None, None, asked.done == "revoked").await
}

/// `POST /console/keys`. The key is in this answer and nowhere else, so the answer is no redirect.
pub async fn create(app: Data<App>, posted: Posted<SignedIn>) -> Result<HttpResponse, Error> {
    let Posted { by: officer, fields } = posted;
    let filled = Filled::read(&fields, &officer)?;
    let now = Timestamp::now();
    let mistake = match filled.wish(&officer, now) {
        Err(mistake) => mistake,
        Ok(new) => match keys::create(&app.store, new, now, &officer.actor()).await {
            Ok((_, plain)) => {
                return keys_page(&app, &officer, &Filled::default(), None, Some(plain.reveal()), false).await;
            }
            Err(CreateError::TooMany) => Mistake::TooMany,
            Err(CreateError::Store(error)) => return Err(error.into()),
        },
    };
    keys_page(&app, &officer, &filled, Some(mistake), None, false).await
}

/// `GET /console/keys/{id}/revoke`: asks first, since it can't be undone.
pub async fn ask_revoke(app: Data<App>, officer: SignedIn, id: Path<String>) -> Result<HttpResponse, Error> {
    let key = keys::find(&app.store, &officer.email, &id).await?.ok_or(Error::NotFound)?;
    let frame = Frame::of(&app, &officer, Section::Keys);
    Ok(html(StatusCode::OK, &RevokePage { frame, key: Shown::of(&app, &key, Timestamp::now()) }))
}

/// `POST /console/keys/{id}/revoke`.
pub async fn revoke(app: Data<App>, posted: Posted<SignedIn>, id: Path<String>) -> Result<HttpResponse, Error> {
    if !keys::revoke(&app.store, &posted.by.email, &id, &posted.by.actor()).await? {
        return Err(Error::NotFound);
    }
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
        let offered = |word: &str| offered(officer).map(|(scope, _)| scope).find(|scope| scope.as_str() == word);
        let scopes = fields.all("scope").map(offered).collect::<Option<Vec<Scope>>>().ok_or(Error::Malformed)?;
        let days = fields.text("days").parse::<u64>().ok().filter(|days| LIVES.iter().any(|(life, _)| life == days));
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
        Ok(NewKey { owner: officer.email.clone(), name, scopes, expires_at })
    }
}

impl Mistake {
    fn words(self) -> String {
        match self {
            Self::Name => format!("A name is one line of at most {KEY_NAME_CHARS_MAX} characters."),
            Self::NoScope => "Tick at least one thing that the key may do.".to_owned(),
            Self::TooMany => format!("You have {} keys that work. Revoke one that isn’t needed first.", keys::KEYS_MAX),
        }
    }
}

impl Shown {
    fn of(app: &App, key: &ApiKey, now: Timestamp) -> Self {
        Self {
            id: key.id.clone(),
            name: key.name.to_string(),
            scopes: key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(", "),
            created: shown_date(app, key.created_at),
            used: key.last_used_at.map(|at| shown_time(app, at)),
            expires: key.expires_at.map(|at| shown_date(app, at)),
            is_usable: key.is_usable(now),
        }
    }
}

/// What an officer may hand out, in words.
fn offered(officer: &SignedIn) -> impl Iterator<Item = (Scope, &'static str)> {
    let is_admin = officer.is_admin;
    Scope::ALL.into_iter().filter(move |scope| is_admin || *scope != Scope::Admin).map(|scope| {
        let meaning = match scope {
            Scope::LinksRead => "See your links",
            Scope::LinksWrite => "Create and change your links",
            Scope::StatsRead => "See clicks",
            Scope::KeysWrite => "See, create and revoke your keys",
            Scope::Admin => "Work on everybody’s links, as an administrator",
        };
        (scope, meaning)
    })
}

async fn keys_page(
    app: &App,
    officer: &SignedIn,
    filled: &Filled,
    mistake: Option<Mistake>,
    made: Option<String>,
    was_revoked: bool,
) -> Result<HttpResponse, Error> {
    let now = Timestamp::now();
    let mut keys = app.store.list_api_keys(Some(&officer.email)).await?;
    keys.retain(|key| key.revoked_at.is_none());
    keys.reverse();
    let page = KeysPage {
        frame: Frame::of(app, officer, Section::Keys),
        keys: keys.iter().map(|key| Shown::of(app, key, now)).collect(),
        scopes: offered(officer)
            .map(|(scope, meaning)| Offer { word: scope.as_str(), meaning, is_ticked: filled.scopes.contains(&scope) })
            .collect(),
        lives: LIVES,
        filled,
        name_chars_max: KEY_NAME_CHARS_MAX,
        mistake,
        is_name_wrong: mistake == Some(Mistake::Name),
        is_scope_wrong: mistake == Some(Mistake::NoScope),
        made,
        was_revoked,
    };
    Ok(html(if mistake.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page))
}
