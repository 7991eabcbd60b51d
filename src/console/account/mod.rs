//! The officer's own page: who is logged in, since when, and how to end it.

use super::{
    page::{Error, Frame, Section, html, shown_time},
    session::SignedIn,
};
use crate::{languages::Html, state::App};
use actix_web::{HttpResponse, http::StatusCode, web::Data};
use askama::Template;

#[derive(Template)]
#[template(path = "account/account.html")]
struct AccountPage<'a> {
    frame: Frame<'a>,
    officer: &'a SignedIn,
    since: Html<'static>,
    /// What links to other languages keep.
    query: &'static str,
}

/// `GET /console/account`.
pub async fn show(app: Data<App>, officer: SignedIn) -> Result<HttpResponse, Error> {
    let since = shown_time(&app, &officer.words, officer.since);
    let frame = Frame::of(&app, &officer, Section::Account);
    Ok(html(StatusCode::OK, &AccountPage { frame, officer: &officer, since, query: "" }))
}
