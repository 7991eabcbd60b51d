//! The list of an officer's links: searched, filtered, sorted, page by page.

use std::fmt::Write as _;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    web::{Data, Query},
};
use askama::Template;
use serde::Deserialize;

use super::State;
use crate::{
    console::{
        page::{Error, Frame, Section, html, query_value, shown_date},
        session::SignedIn,
    },
    domain::{Code, Email, LinkState, Tag, link::TAG_BYTES_MAX},
    export,
    languages::{Html, Language},
    links,
    rows::write::{Form, Writer},
    state::App,
    store::{BrowseQuery, Browsed, Filter, ListedLink, Place, Search, Sort},
};

const PAGE: usize = 25;

/// Characters of a search text.
const SEARCH_CHARS_MAX: usize = 200;

/// As the address names them.
const SORTS: [(&str, Sort); 5] = [
    ("newest", Sort::NewestFirst),
    ("oldest", Sort::OldestFirst),
    ("most", Sort::MostClicks),
    ("fewest", Sort::FewestClicks),
    ("code", Sort::Code),
];

/// What the list's address says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    q: String,
    tag: String,
    state: String,
    sort: String,
    after: String,
    done: String,
    code: String,
    format: String,
    owner: String,
}

#[derive(Template)]
#[template(path = "links/list.html")]
struct ListPage<'a> {
    frame: Frame<'a>,
    asked: &'a Asked,
    /// `None`: the officer who looks at it.
    owner: Option<&'a str>,
    sorts: [(&'static str, Html<'a>); 5],
    rows: Vec<Row>,
    is_filtered: bool,
    no_tag: Option<Html<'a>>,
    no_owner: Option<Html<'a>>,
    done: Option<Html<'static>>,
    next: Option<String>,
    first: String,
    /// The address of the list of all this owner's links, to which a filter can be added.
    all: String,
    /// The address of the whole list as a file, to which a format can be added.
    export: String,
}

/// A link in a list.
pub struct Row {
    pub code: String,
    pub short_url: String,
    pub target: String,
    pub description: String,
    pub tags: Vec<String>,
    pub state: State,
    pub clicks: Html<'static>,
    pub created: Html<'static>,
}

impl Row {
    pub fn of(app: &App, words: &Language, listed: &ListedLink) -> Self {
        let link = &listed.link;
        Self {
            code: link.code.to_string(),
            short_url: app.short_url(link.code.as_str()),
            target: link.target.to_string(),
            description: link.description.as_str().to_owned(),
            tags: link.tags.iter().map(Tag::to_string).collect(),
            state: State::of(link),
            clicks: words.list_clicks(words.number(listed.clicks), listed.clicks),
            created: shown_date(app, words, link.created_at),
        }
    }
}

/// `GET /console/links`.
pub async fn show(app: Data<App>, officer: SignedIn, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    let words = &officer.words;
    let (owner, tags) = (asked.owner(&officer), asked.tags());
    let (no_owner, no_tag) = (owner.is_none(), tags.is_none());
    let owner = owner.unwrap_or_else(|| officer.email.clone());
    let found = match tags.filter(|_| !no_owner) {
        Some(tags) => links::browse(&app, &owner, &asked.query(tags)).await?,
        None => Browsed { links: Vec::new(), next: None },
    };
    let rows: Vec<Row> = found.links.iter().map(|listed| Row::of(&app, words, listed)).collect();
    let other = (owner != officer.email).then(|| owner.to_string());
    let page = ListPage {
        frame: Frame::of(&app, &officer, Section::Links),
        asked: &asked,
        owner: other.as_deref(),
        sorts: SORTS.map(|(word, sort)| (word, name_of(sort, words))),
        no_tag: no_tag.then(|| words.fields_tag_mistake(TAG_BYTES_MAX)),
        no_owner: no_owner.then(|| words.console_no_email()),
        is_filtered: !(asked.q.is_empty() && asked.tag.is_empty() && asked.state.is_empty()),
        done: asked.done(&app, words),
        next: found
            .next
            .map(|place| format!("{}after={}~{}", asked.same_list("/console/links"), place.rank, place.code)),
        first: asked.same_list("/console/links"),
        all: match &other {
            Some(other) => format!("/console/links?owner={}&", query_value(other)),
            None => "/console/links?".to_owned(),
        },
        export: asked.same_list("/console/export"),
        rows,
    };
    Ok(html(StatusCode::OK, &page))
}

fn name_of(sort: Sort, words: &Language) -> Html<'_> {
    match sort {
        Sort::NewestFirst => words.list_newest_label(),
        Sort::OldestFirst => words.list_oldest_label(),
        Sort::MostClicks => words.list_most_clicks_label(),
        Sort::FewestClicks => words.list_fewest_clicks_label(),
        Sort::Code => words.list_by_name_label(),
    }
}

/// `GET /console/export`: all links of the list, not only a page of it, from the oldest on.
pub async fn export(app: Data<App>, officer: SignedIn, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    let form = if asked.format == Form::Json.extension() { Form::Json } else { Form::Csv };
    let writer = match form {
        Form::Csv => Writer::for_spreadsheets(),
        Form::Json => Writer::new(form),
    };
    let (Some(owner), Some(tags)) = (asked.owner(&officer), asked.tags()) else { return Err(Error::Malformed) };
    let walk = app.store.walk_links(Some(owner), asked.query(tags).filter);
    let links = export::stream(app, walk, writer).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, form.media_type()))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"links.{}\"", form.extension())))
        .streaming(links))
}

impl Asked {
    /// A state, an order or a place that can't be meant is left out: they come from our own pages.
    fn query(&self, tags: Vec<Tag>) -> BrowseQuery {
        let search: String = self.q.trim().chars().take(SEARCH_CHARS_MAX).collect();
        let filter = Filter {
            search: Search::new(&search, true),
            state: LinkState::ALL.into_iter().find(|state| state.as_str() == self.state),
            tags,
        };
        let sort = SORTS.iter().find(|(word, _)| *word == self.sort).map_or(Sort::NewestFirst, |(_, sort)| *sort);
        BrowseQuery { limit: PAGE, sort, after: self.after(), filter }
    }

    /// The tag that was typed, if any; `None` when it can't be one.
    fn tags(&self) -> Option<Vec<Tag>> {
        match self.tag.trim() {
            "" => Some(Vec::new()),
            tag => tag.parse().ok().map(|tag| vec![tag]),
        }
    }

    /// Whose list it is: the officer's own, unless an administrator asks for another's; `None` when what was typed is no address.
    fn owner(&self, officer: &SignedIn) -> Option<Email> {
        match self.owner.trim() {
            other if officer.is_admin && !other.is_empty() => other.parse().ok(),
            _ => Some(officer.email.clone()),
        }
    }

    /// A place is written as rank and code, neither of which has a `~`.
    fn after(&self) -> Option<Place> {
        let (rank, code) = self.after.split_once('~')?;
        Some(Place { rank: rank.parse().ok()?, code: code.parse().ok()? })
    }

    /// The address of this list's first page, or of the whole list elsewhere; more can be added to it.
    fn same_list(&self, path: &str) -> String {
        let mut address = format!("{path}?");
        for (name, value) in
            [("q", &self.q), ("tag", &self.tag), ("state", &self.state), ("sort", &self.sort), ("owner", &self.owner)]
        {
            if !value.is_empty() {
                let _ = write!(address, "{name}={}&", query_value(value));
            }
        }
        address
    }

    fn done(&self, app: &App, words: &Language) -> Option<Html<'static>> {
        let code: Code = self.code.parse().ok()?;
        match self.done.as_str() {
            "transferred" => Some(words.list_transferred(app.short_url(code.as_str()))),
            _ => None,
        }
    }
}
