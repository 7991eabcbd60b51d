//! Links: list, create, update; and create for others, by admins.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    call::{Call, Stray},
    error::{Error, json},
    validate::{self, Rules},
};
use crate::{
    auth::{LinksRead, LinksWrite, LinksWriteForAnyone, Officer},
    domain::{Code, Email, Link, LinkState, Source, Target},
    links::{self, Attempt, Wish},
    state::App,
    store::{Change, Changed, Filter, ListQuery, ListedLink, Reach, Search},
};

/// A link as v1 shows it: exactly these six fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UrlDto {
    short_url: String,
    long_url: String,
    state: &'static str,
    clicks: u64,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct ListDto {
    urls: Vec<UrlDto>,
    /// All that match, not only those on the page.
    count: usize,
}

/// `GET /api/v1/urls`
pub async fn list(call: Call<LinksRead>, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Error> {
    let wanted = validate::list(request.query_string())?;
    // There are no file links here: who asks for them gets none, who asks for the others gets all.
    if wanted.is_file == Some(true) {
        return Ok(json(StatusCode::OK, &ListDto { urls: Vec::new(), count: 0 }));
    }
    let query = ListQuery {
        limit: wanted.limit,
        offset: wanted.offset,
        order_by: wanted.order_by,
        descending: wanted.descending,
        filter: Filter { search: Search::new(&wanted.search_text, false), state: wanted.state, tags: Vec::new() },
    };
    let page = app.store.list_links(&call.caller.officer.email, &query).await?;
    let urls = page.links.iter().map(UrlDto::from).collect();
    Ok(json(StatusCode::OK, &ListDto { urls, count: page.count }))
}

/// `POST /api/v1/urls`
pub async fn create(call: Call<LinksWrite>, app: Data<App>) -> Result<HttpResponse, Error> {
    let wanted = validate::create(&call.body, &rules(&app))?;
    let officer = &call.caller.officer;
    create_for(&app, officer, wanted.code, wanted.target, officer.email.clone()).await
}

/// `POST /api/v1/admin/urls`
pub async fn create_for_anyone(call: Call<LinksWriteForAnyone>, app: Data<App>) -> Result<HttpResponse, Error> {
    let wanted = validate::admin_create(&call.body, &rules(&app))?;
    create_for(&app, &call.caller.officer, wanted.code, wanted.target, wanted.owner).await
}

/// `PATCH /api/v1/urls/{shortUrl}`
pub async fn update(call: Call<LinksWrite>, code: Path<String>, app: Data<App>) -> Result<HttpResponse, Error> {
    let wanted = validate::update(&call.body, &rules(&app))?;
    let officer = &call.caller.officer;
    // What is no code is nobody's link. Case counts here: the original doesn't fold it.
    let Ok(parsed) = code.parse::<Code>() else { return Err(Error::LinkNotFound(code.into_inner())) };
    let change = Change { target: wanted.target, state: wanted.state, ..Change::default() };
    let own = Reach::Own(officer.email.clone());
    match links::change(&app, &parsed, &own, &change, None, &officer.actor()).await? {
        Changed::Yes(listed) => Ok(json(StatusCode::OK, &UrlDto::from(&listed))),
        // Stale is what nobody who expects no version hears.
        Changed::NotFound | Changed::Stale(_) => Err(Error::LinkNotFound(code.into_inner())),
    }
}

/// Everything else below `/api/v1`.
pub async fn stray(_: Stray) -> Result<HttpResponse, Error> {
    Err(Error::UnknownRoute)
}

/// Everything else below `/api`: no version that is known here, so no key to check either.
pub async fn unknown_version() -> Result<HttpResponse, Error> {
    Err(Error::UnknownRoute)
}

async fn create_for(
    app: &App,
    officer: &Officer,
    code: Option<Code>,
    target: Target,
    owner: Email,
) -> Result<HttpResponse, Error> {
    let wish = Wish::plain(code, target, owner, Source::Api);
    let link = links::create(app, wish, &Attempt::once(app), &officer.actor()).await?;
    Ok(json(StatusCode::OK, &UrlDto::new(&link, 0)))
}

fn rules(app: &App) -> Rules<'_> {
    Rules { targets: app.targets.rules(), email_domains: &app.config.officers.email_domains }
}

impl UrlDto {
    fn new(link: &Link, clicks: u64) -> Self {
        Self {
            short_url: link.code.to_string(),
            long_url: link.target.to_string(),
            state: match link.state {
                LinkState::Active => "ACTIVE",
                LinkState::Inactive => "INACTIVE",
            },
            clicks,
            created_at: time(link.created_at),
            updated_at: time(link.updated_at),
        }
    }
}

impl From<&ListedLink> for UrlDto {
    fn from(listed: &ListedLink) -> Self {
        Self::new(&listed.link, listed.clicks)
    }
}

/// `2026-01-31T23:59:59.123Z`, as JavaScript writes it: always three decimals.
fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}
