//! An officer's API keys: made, shown once, listed with their last use, revoked.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use askama::Template;
use jiff::Timestamp;

use super::{
    form::Posted,
    page::{Error, Frame, Section, html, see_other, shown_date, shown_time},
    session::SignedIn,
};
use crate::{
    domain::{ApiKey, PlainKey, Scope, Scopes},
    state::App,
};

const NAME_CHARS_MAX: usize = 60;

/// Days until a key ends, as offered; 0: never.
const LIVES: [(u64, &str); 4] = [(30, "30 days"), (90, "90 days"), (365, "One year"), (0, "Never")];

#[derive(Template)]
#[template(path = "keys/keys.html")]
struct KeysPage<'a> {
    frame: Frame<'a>,
    keys: Vec<Shown>,
    scopes: Vec<Offer>,
    lives: [(u64, &'static str); 4],
    name: &'a str,
    mistake: Option<&'a str>,
    /// A key that was just made, whole.
    made: Option<String>,
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
pub async fn show(app: Data<App>, officer: SignedIn) -> Result<HttpResponse, Error> {
    keys_page(&app, &officer, "", None, None).await
}

/// `POST /console/keys`. The key is in this answer and nowhere else, so the answer is no redirect.
pub async fn create(app: Data<App>, posted: Posted<SignedIn>) -> Result<HttpResponse, Error> {
    let Posted { by: officer, fields } = posted;
    let name = fields.text("name");
    if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return keys_page(&app, &officer, name, Some("A name is one line of at most 60 characters."), None).await;
    }
    let offered: Vec<Scope> = offered(&officer).map(|(scope, _)| scope).collect();
    let scopes: Vec<Scope> =
        fields.all("scope").filter_map(|word| word.parse().ok()).filter(|scope| offered.contains(scope)).collect();
    if scopes.is_empty() {
        return keys_page(&app, &officer, name, Some("Tick at least one thing that the key may do."), None).await;
    }
    let now = Timestamp::now();
    let days: u64 =
        fields.text("days").parse().ok().filter(|days| LIVES.iter().any(|(life, _)| life == days)).unwrap_or(90);
    let expires_at = (days > 0).then(|| now + Duration::from_secs(days * 24 * 60 * 60));
    let plain = PlainKey::random();
    let key = ApiKey {
        id: plain.id().to_owned(),
        hash: plain.hash(),
        owner: officer.email.clone(),
        name: name.to_owned(),
        scopes: Scopes::new(scopes),
        created_at: now,
        expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    app.store.create_api_key(&key).await?;
    keys_page(&app, &officer, "", None, Some(plain.reveal())).await
}

/// `POST /console/keys/{id}/revoke`.
pub async fn revoke(app: Data<App>, posted: Posted<SignedIn>, id: Path<String>) -> Result<HttpResponse, Error> {
    let key = app.store.find_api_key(&id).await?.filter(|key| key.owner == posted.by.email).ok_or(Error::NotFound)?;
    app.store.revoke_api_key(&key.id, Timestamp::now()).await?;
    Ok(see_other("/console/keys"))
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
    name: &str,
    mistake: Option<&str>,
    made: Option<String>,
) -> Result<HttpResponse, Error> {
    let now = Timestamp::now();
    let mut keys = app.store.list_api_keys(Some(&officer.email)).await?;
    keys.retain(|key| key.revoked_at.is_none());
    keys.reverse();
    let shown = |key: &ApiKey| Shown {
        id: key.id.clone(),
        name: key.name.clone(),
        scopes: key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(", "),
        created: shown_date(app, key.created_at),
        used: key.last_used_at.map(|at| shown_time(app, at)),
        expires: key.expires_at.map(|at| shown_date(app, at)),
        is_usable: key.is_usable(now),
    };
    let page = KeysPage {
        frame: Frame::of(app, officer, Section::Keys),
        keys: keys.iter().map(shown).collect(),
        scopes: offered(officer)
            .map(|(scope, meaning)| Offer {
                word: scope.as_str(),
                meaning,
                is_ticked: matches!(scope, Scope::LinksRead | Scope::LinksWrite),
            })
            .collect(),
        lives: LIVES,
        name,
        mistake,
        made,
    };
    Ok(html(if mistake.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page))
}
