//! The preview page, `/code+`: where a link leads, which agency owns it, since when. Never counted.

use actix_web::{HttpResponse, http::StatusCode};

use super::{
    fixed::{self, Page},
    pages,
};
use crate::{domain::Code, metrics::Outcome, state::App, store::StoreError};

/// Answers for a code that is known to be live. Owner and date aren't kept in memory, so Redis is asked.
pub async fn answer(app: &App, code: &str) -> (Option<Outcome>, HttpResponse) {
    let Ok(code) = code.parse::<Code>() else { return (Some(Outcome::NotFound), app.pages.answer(Page::NotFound)) };
    match app.store.find_link(&code).await {
        Ok(Some(found)) => {
            let link = found.link;
            let preview = pages::Preview {
                short_url: app.short_url(&link.code),
                target: &link.target,
                agency: link.owner.domain(),
                created_on: link.created_at.to_zoned(app.config.clicks.timezone.clone()).date(),
            };
            (None, fixed::html(StatusCode::OK, pages::preview(&app.site, &preview)))
        }
        Ok(None) => (Some(Outcome::NotFound), app.pages.answer(Page::NotFound)),
        Err(StoreError::Unavailable(_)) => (Some(Outcome::Unavailable), app.pages.answer(Page::Unavailable)),
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::error!("{error}");
            (Some(Outcome::Unavailable), app.pages.answer(Page::Unavailable))
        }
    }
}
