//! A link's past as a timeline: when, who, and what was different before.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path, Query},
};
use askama::Template;
use serde::Deserialize;

use super::{Heading, Tab, own_link};
use crate::{
    console::{
        page::{Error, Frame, Section, html, shown_time},
        session::SignedIn,
    },
    domain::{Email, Link, LinkState, Tag},
    languages::{Html, Language},
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
    moments: Vec<Moment>,
    next: Option<u64>,
    is_first_page: bool,
}

struct Moment {
    at: Html<'static>,
    by: String,
    is_creation: bool,
    changes: Vec<Difference>,
}

struct Difference {
    label: &'static str,
    was: Option<String>,
    is: String,
}

/// `GET /console/links/{code}/history`.
pub async fn show(
    app: Data<App>,
    officer: SignedIn,
    code: Path<String>,
    asked: Query<Asked>,
) -> Result<HttpResponse, Error> {
    let link = own_link(&app, &officer, &code).await?.link;
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
        heading: Heading::of(&app, &link, Tab::History),
        moments: revisions.iter().take(PAGE).enumerate().map(moment).collect(),
        next: revisions.get(PAGE).map(|revision| revision.link.version),
        is_first_page: asked.upto.is_none(),
    };
    Ok(html(StatusCode::OK, &page))
}

fn who(officer: &SignedIn, actor: &Actor) -> String {
    match actor {
        Actor::Session(email) if *email == officer.email => "You".to_owned(),
        Actor::Session(email) => email.to_string(),
        Actor::ApiKey(id) => format!("API key {id}"),
        Actor::Operator => "The operator of this service".to_owned(),
        Actor::Unknown => "Somebody unknown".to_owned(),
    }
}

fn differences(app: &App, words: &Language, before: Option<&Link>, after: &Link) -> Vec<Difference> {
    type Show<'s> = (&'static str, &'s dyn Fn(&Link) -> String);
    let shown: [Show<'_>; 8] = [
        ("Leads to", &|link| link.target.to_string()),
        ("State", &|link| if link.state == LinkState::Active { "on" } else { "switched off" }.to_owned()),
        ("Owner", &|link| link.owner.to_string()),
        ("Description", &|link| link.description.as_str().to_owned()),
        ("Contact", &|link| link.contact_email.as_ref().map(Email::to_string).unwrap_or_default()),
        ("Tags", &|link| link.tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(", ")),
        ("Ends on", &|link| link.expires_at.map(|at| shown_time(app, words, at).to_string()).unwrap_or_default()),
        ("Hands on what stands behind ?", &|link| if link.forward_query { "yes" } else { "" }.to_owned()),
    ];
    let difference = |(label, show): Show<'_>| {
        let (was, is) = (before.map(show), show(after));
        (was.as_deref().unwrap_or_default() != is).then_some(Difference { label, was, is })
    };
    shown.into_iter().filter_map(difference).collect()
}
