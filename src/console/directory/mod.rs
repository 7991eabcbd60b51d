//! The directory: any officer finds any link, and sees whom to ask about it.
//!
//! Three ways, of different cost. A link's name, or its whole address, is one look-up. An owner's links are that owner's list. Words are
//! looked for in the lists of all officers, one officer after the other, for a bounded time: then the page shows what was found so far and
//! says where to go on. Of all officers some are known at a time, and few searches run at once: the others wait their turn, and not for long.
//! There is no index of words: officers search seldom, and every creation of a link would pay for it.

use std::time::{Duration, Instant};

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Query},
};
use askama::Template;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    links::State,
    page::{Error, Frame, Section, html, query_value, shown_date},
    session::SignedIn,
};
use crate::{
    domain::{Code, Email, code},
    languages::{Html, Language},
    links,
    state::App,
    store::{self, BrowseQuery, Filter, ListedLink, Place, Sort},
};

const PAGE: usize = 25;

/// Characters of a search text.
const SEARCH_CHARS_MAX: usize = 200;

/// How long officers' lists are looked through for one page.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(1);

/// Officers who are read ahead.
const OFFICERS_AT_ONCE: usize = 100;

/// For searches in everybody's lists that are under way: twice what one may take.
const TURN_WAIT_MAX: Duration = Duration::from_secs(2);

/// What stands in a `mailto` address as it is. `?` and `&`, which an address may hold, would begin a copy to somebody else.
const MAILBOX: &AsciiSet = &NON_ALPHANUMERIC.remove(b'@').remove(b'.').remove(b'-').remove(b'_');

/// What the page's address says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    q: String,
    owner: String,
    after: String,
}

#[derive(Template)]
#[template(path = "directory/directory.html")]
struct DirectoryPage<'a> {
    frame: Frame<'a>,
    asked: &'a Asked,
    has_asked: bool,
    is_no_owner: bool,
    found: Vec<Found>,
    next: Option<String>,
}

struct Found {
    code: String,
    short_url: String,
    target: String,
    description: String,
    owner: String,
    ask: String,
    mailto: String,
    state: State,
    created: Html<'static>,
}

/// Where to go on: with this officer's list, and in it.
struct Onward {
    owner: Email,
    place: Option<Place>,
}

/// `GET /console/directory`.
pub async fn show(app: Data<App>, officer: SignedIn, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    let text: String = asked.q.trim().chars().take(SEARCH_CHARS_MAX).collect();
    let owner = Some(asked.owner.trim()).filter(|owner| !owner.is_empty());
    let onward = asked.onward()?;
    let (mut found, mut next) = (Vec::new(), None);
    let mut is_no_owner = false;
    match owner.map(str::parse::<Email>) {
        Some(Err(_)) => is_no_owner = true,
        Some(Ok(owner)) => {
            let after = onward.and_then(|onward| onward.place);
            let mut search = Search::new(&text, after);
            next = search.in_list_of(&app, &owner).await?;
            found = search.found;
        }
        None if text.is_empty() => {}
        None => {
            if let Some(listed) = named(&app, &text).await? {
                found.push(listed);
            }
            let (others, onward) = search_everybody(&app, &text, onward).await?;
            let is_other = |listed: &ListedLink| found.first().is_none_or(|named| named.link.code != listed.link.code);
            let others: Vec<ListedLink> = others.into_iter().filter(is_other).collect();
            // On later pages it was shown before.
            if !asked.after.is_empty() {
                found.clear();
            }
            found.extend(others);
            next = onward;
        }
    }
    let page = DirectoryPage {
        frame: Frame::of(&app, &officer, Section::Directory),
        asked: &asked,
        has_asked: owner.is_some() || !text.is_empty(),
        is_no_owner,
        found: found.iter().map(|listed| Found::of(&app, &officer.words, listed)).collect(),
        next: next.map(|onward| asked.page_after(&onward)),
    };
    Ok(html(StatusCode::OK, &page))
}

/// The link of this very name or address.
async fn named(app: &App, text: &str) -> Result<Option<ListedLink>, Error> {
    let text = text.to_ascii_lowercase();
    let without_scheme = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
    let name = without_scheme.strip_prefix(app.site.host.as_str()).unwrap_or(without_scheme).trim_start_matches('/');
    // As a visit reads it, with the `+` of a preview or the full stop that a mail glued to its end.
    let code = code::visited(name).and_then(|visited| visited.code.parse::<Code>().ok());
    match code {
        Some(code) => Ok(app.store.find_link(&code).await?),
        None => Ok(None),
    }
}

/// The links of all officers in which all words of the text occur, and where to go on.
async fn search_everybody(
    app: &App,
    text: &str,
    onward: Option<Onward>,
) -> Result<(Vec<ListedLink>, Option<Onward>), Error> {
    let turn = timeout(TURN_WAIT_MAX, app.directory_searches.acquire()).await.map_err(|_| Error::Busy)?;
    let _turn = turn.expect("nobody closes it");
    let (mut place, after) = match onward {
        None => (0, None),
        Some(Onward { owner, place }) => (app.store.place_of_officer(&owner).await?.ok_or(Error::NotFound)?, place),
    };
    let mut search = Search::new(text, after);
    loop {
        let owners = app.store.officers_from(place, OFFICERS_AT_ONCE).await?;
        if owners.is_empty() {
            return Ok((search.found, None));
        }
        for owner in &owners {
            if let Some(onward) = search.in_list_of(app, owner).await? {
                return Ok((search.found, Some(onward)));
            }
        }
        place += owners.len();
    }
}

/// What is looked for, for how long by now, and what was found.
struct Search {
    filter: Filter,
    started: Instant,
    /// Where to begin in the next list.
    after: Option<Place>,
    found: Vec<ListedLink>,
}

impl Search {
    fn new(text: &str, after: Option<Place>) -> Self {
        let filter = Filter { search: store::Search::words(text), ..Filter::default() };
        Self { filter, started: Instant::now(), after, found: Vec::new() }
    }

    /// Looks through an owner's list; answers where to go on when the page is full or its time is over.
    async fn in_list_of(&mut self, app: &App, owner: &Email) -> Result<Option<Onward>, Error> {
        loop {
            if self.found.len() >= PAGE || self.started.elapsed() > SEARCH_TIME_MAX {
                return Ok(Some(Onward { owner: owner.clone(), place: self.after.take() }));
            }
            let (limit, after, filter) = (PAGE - self.found.len(), self.after.take(), self.filter.clone());
            let query = BrowseQuery { limit, sort: Sort::NewestFirst, after, filter };
            let browsed = links::browse(app, owner, &query).await?;
            self.found.extend(browsed.links);
            match browsed.next {
                Some(place) => self.after = Some(place),
                None => return Ok(None),
            }
        }
    }
}

impl Asked {
    /// Written as owner, rank and code; none but the owner has a space in it or a sign but `-`.
    fn onward(&self) -> Result<Option<Onward>, Error> {
        let parts: Vec<&str> = self.after.split(' ').collect();
        Ok(match parts.as_slice() {
            [""] => None,
            [owner] => Some(Onward { owner: owner.parse().map_err(|_| Error::NotFound)?, place: None }),
            [owner, rank, code] => {
                let owner = owner.parse().map_err(|_| Error::NotFound)?;
                let code = code.parse().map_err(|_| Error::NotFound)?;
                Some(Onward { owner, place: Some(Place { rank: rank.parse().map_err(|_| Error::NotFound)?, code }) })
            }
            _ => return Err(Error::NotFound),
        })
    }

    fn page_after(&self, onward: &Onward) -> String {
        let place = onward.place.as_ref().map(|place| format!(" {} {}", place.rank, place.code)).unwrap_or_default();
        let after = format!("{}{place}", onward.owner);
        format!(
            "/console/directory?q={}&owner={}&after={}",
            query_value(&self.q),
            query_value(&self.owner),
            query_value(&after)
        )
    }
}

impl Found {
    fn of(app: &App, words: &Language, listed: &ListedLink) -> Self {
        let link = &listed.link;
        let ask = link.contact_email.as_ref().unwrap_or(&link.owner).to_string();
        Self {
            code: link.code.to_string(),
            short_url: app.short_url(link.code.as_str()),
            target: link.target.to_string(),
            description: link.description.as_str().to_owned(),
            owner: link.owner.to_string(),
            mailto: format!("mailto:{}", utf8_percent_encode(&ask, MAILBOX)),
            ask,
            state: State::of(link),
            created: shown_date(app, words, link.created_at),
        }
    }
}
