//! The page of a link that is switched off or expired: what it was for and whom to ask, which its owner may have said.
//!
//! The hot path keeps neither in memory, so Redis is asked, once for each version of the link: the page is kept, because a link that
//! was printed on a million letters may well be what everybody opens today. While Redis is away the page says the same for all links.

use std::sync::Arc;

use actix_web::{HttpResponse, dev::RequestHead, http::StatusCode};
use quick_cache::sync::Cache;

use super::{
    fixed::{self, Page, Prepared},
    pages,
};
use crate::{
    cache::CachedLink,
    languages::Language,
    state::App,
    store::{Lane, StoreError},
};

/// Pages in memory, of some 12 kB each.
const PAGES_MAX: usize = 500;

/// By code, version and language. `None`: the owner has said nothing.
pub struct GonePages(Cache<String, Option<Arc<Prepared>>>);

impl Default for GonePages {
    fn default() -> Self {
        Self(Cache::new(PAGES_MAX))
    }
}

/// Answers for a code that is known not to be live.
pub async fn answer(app: &App, request: &RequestHead, lane: &Lane, code: &str, link: &CachedLink) -> HttpResponse {
    let choice = fixed::language(app, request);
    let key = format!("{code} {} {}", link.version(), choice.language.index);
    let page = match app.gone_pages.0.get(&key) {
        Some(page) => page,
        None => {
            let Some(page) = told_by_owner(app, lane, code, choice.language).await else {
                return fixed::answer(app, request, Page::Gone);
            };
            app.gone_pages.0.insert(key, page.clone());
            page
        }
    };
    match page {
        Some(page) => fixed::prepared_html(app, request, choice, StatusCode::GONE, &page),
        None => fixed::answer(app, request, Page::Gone),
    }
}

/// The page with what the owner has said, if anything. `None`: nobody can say now.
async fn told_by_owner(app: &App, lane: &Lane, code: &str, words: &Language) -> Option<Option<Arc<Prepared>>> {
    if !app.cache.is_trusted() {
        return None;
    }
    match lane.describe(code).await {
        Ok(Some(described)) if described.purpose().is_some() || described.contact.is_some() => {
            let page = pages::gone(app.frame(words, ""), described.purpose(), described.contact.as_ref());
            Some(Some(Arc::new(Prepared::new(page))))
        }
        Ok(_) => Some(None),
        Err(error) => {
            if let StoreError::Corrupt(_) = error {
                app.cache.report(&error);
            }
            None
        }
    }
}
