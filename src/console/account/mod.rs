//! The officer's own page: who is logged in, since when, and how to end it.

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use askama::Template;
use jiff::tz::TimeZone;

use super::{
    page::{Error, Frame, Section, html},
    session::SignedIn,
};
use crate::state::App;

#[derive(Template)]
#[template(path = "account/account.html")]
struct AccountPage<'a> {
    frame: Frame<'a>,
    officer: &'a SignedIn,
    since: String,
}

/// `GET /console/account`.
pub async fn show(app: Data<App>, officer: SignedIn) -> Result<HttpResponse, Error> {
    let since = officer.since.to_zoned(local(&app)).strftime("%-d %B %Y, %H:%M").to_string();
    let frame = Frame::of(&app, &officer, Section::Account);
    Ok(html(StatusCode::OK, &AccountPage { frame, officer: &officer, since }))
}

fn local(app: &App) -> TimeZone {
    app.config.clicks.timezone.clone()
}
