//! The preview page, `/code+`: where a link leads, which agency owns it, since when, what for and whom to ask. Never counted.

use actix_web::{HttpResponse, dev::RequestHead, http::StatusCode};

use super::{
    fixed::{self, Page},
    pages,
};
use crate::{
    cache::CachedLink,
    metrics::Outcome,
    state::App,
    store::{Lane, StoreError},
};

/// Answers for a code that is known to be live. What the page tells besides isn't kept in memory, so Redis is asked.
pub async fn answer(
    app: &App,
    request: &RequestHead,
    lane: &Lane,
    code: &str,
    link: &CachedLink,
) -> (Option<Outcome>, HttpResponse) {
    match lane.describe(code).await {
        Ok(Some(described)) => {
            let preview = pages::Preview {
                short_url: app.short_url(code),
                target: &link.target(),
                agency: described.owner.domain(),
                created_on: described.created_at.to_zoned(app.config.clicks.timezone.clone()).date(),
                purpose: described.purpose(),
                contact: described.contact.as_ref(),
            };
            let choice = fixed::language(app, request);
            let page = pages::preview(app.frame(choice.language, ""), &preview);
            (None, fixed::html(app, choice, StatusCode::OK, page))
        }
        Ok(None) => (Some(Outcome::NotFound), fixed::answer(app, request, Page::NotFound)),
        Err(error) => {
            if let StoreError::Corrupt(_) = error {
                app.cache.report(&error);
            }
            (Some(Outcome::Unavailable), fixed::answer(app, request, Page::Unavailable))
        }
    }
}
