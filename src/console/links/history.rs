//! A link's past as a timeline: when, who, and what was different before.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Query},
};
use askama::Template;
use serde::Deserialize;

use super::{Heading, OwnLink, Tab};
use crate::{
    console::{
        page::{Error, Frame, Section, html, shown_time},
        session::SignedIn,
    },
    domain::{Link, LinkState, Tag},
    languages::{Html, Language, escaped},
    state::App,
    store::{Actor, Revision},
};

const PAGE: usize = 30;

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    upto: Option<u64>,
}

#[derive(Template)]
#[template(path = "links/history.html")]
struct HistoryPage<'a> {
    frame: Frame<'a>,
    heading: Heading,
    moments: Vec<Moment<'a>>,
    next: Option<u64>,
    is_first_page: bool,
}

struct Moment<'a> {
    at: Html<'static>,
    by: Html<'a>,
    is_creation: bool,
    changes: Vec<Difference<'a>>,
}

struct Difference<'a> {
    label: Html<'a>,
    was: Option<Html<'a>>,
    is: Html<'a>,
}

/// `GET /console/links/{code}/history`.
pub async fn show(app: Data<App>, own: OwnLink, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    let OwnLink { officer, link } = own;
    // One more than the page holds: what the last one on it was made of.
    let revisions = app.store.link_history(&link.code, asked.upto, PAGE + 1).await?.ok_or(Error::NotFound)?;
    let moment = |(index, revision): (usize, &Revision)| {
        let before = revisions.get(index + 1);
        Moment {
            at: shown_time(&app, &officer.words, revision.link.updated_at),
            by: who(&officer, &revision.by),
            is_creation: revision.link.version == 1,
            changes: differences(&app, &officer.words, before.map(|before| &before.link), &revision.link),
        }
    };
    let page = HistoryPage {
        frame: Frame::of(&app, &officer, Section::Links),
        heading: Heading::of(&app, &officer, &link, Tab::History),
        moments: revisions.iter().take(PAGE).enumerate().map(moment).collect(),
        next: revisions.get(PAGE).map(|revision| revision.link.version),
        is_first_page: asked.upto.is_none(),
    };
    Ok(html(StatusCode::OK, &page))
}

fn who<'a>(officer: &'a SignedIn, actor: &Actor) -> Html<'a> {
    let words = &officer.words;
    match actor {
        Actor::Session(email) if *email == officer.email => words.history_you(),
        Actor::Session(email) => escaped(email.as_str()),
        Actor::ApiKey(id) => words.history_key(id),
        Actor::Operator => words.history_operator(),
        Actor::Unknown => words.history_unknown(),
    }
}

fn differences<'w>(app: &App, words: &'w Language, before: Option<&Link>, after: &Link) -> Vec<Difference<'w>> {
    type Show<'s, 'w> = (Html<'w>, &'s dyn Fn(&Link) -> Html<'w>);
    let nothing = || Html::trusted("");
    let shown: [Show<'_, 'w>; 8] = [
        (words.history_target(), &|link| escaped(link.target.as_str())),
        (words.history_state(), &|link| match link.state {
            LinkState::Active => words.history_on(),
            LinkState::Inactive => words.history_off(),
        }),
        (words.history_owner(), &|link| escaped(link.owner.as_str())),
        (words.history_description(), &|link| escaped(link.description.as_str())),
        (words.history_contact(), &|link| {
            link.contact_email.as_ref().map_or_else(nothing, |email| escaped(email.as_str()))
        }),
        (words.history_tags(), &|link| escaped(&link.tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(", "))),
        (words.history_expires(), &|link| link.expires_at.map_or_else(nothing, |at| shown_time(app, words, at))),
        (words.history_forward_query(), &|link| if link.forward_query { words.history_yes() } else { nothing() }),
    ];
    let difference = |(label, show): Show<'_, 'w>| {
        let (was, is) = (before.map(show), show(after));
        let is_other = was.as_ref().map_or("", Html::as_str) != is.as_str();
        is_other.then_some(Difference { label, was, is })
    };
    shown.into_iter().filter_map(difference).collect()
}
