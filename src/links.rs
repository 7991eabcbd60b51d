//! What officers do to links, whichever API or page they do it through: the rules above the store.

use jiff::Timestamp;

use crate::{
    domain::{Code, Email, Link, Source, Target},
    routes,
    state::App,
    store::{Actor, Change, Changed, Created, NewLink, StoreError},
};

/// Draws of a random code. At ten million links each is free with 99.999 %.
const DRAWS_MAX: usize = 8;

/// What an officer asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// `None`: any that is free.
    pub code: Option<Code>,
    pub target: Target,
    pub owner: Email,
    pub source: Source,
}

#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// In use, once used, or reserved.
    #[error("the code {0} is taken")]
    CodeTaken(Code),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Creates a link, with the wished-for code or a random one.
///
/// # Errors
///
/// When the code can't be had, or the store can't be asked.
pub async fn create(app: &App, wish: Wish, by: &Actor) -> Result<Link, CreateError> {
    let draws = if wish.code.is_some() { 1 } else { DRAWS_MAX };
    let mut taken = None;
    for _ in 0..draws {
        let code = wish.code.clone().unwrap_or_else(Code::random);
        let new = NewLink {
            code: code.clone(),
            target: wish.target.clone(),
            owner: wish.owner.clone(),
            source: wish.source,
            at: Timestamp::now(),
            by: by.clone(),
        };
        if !routes::is_reserved(&code)
            && let Created::Yes(link) = app.store.create_link(&new).await?
        {
            // The message to all caches comes back to this one too, but the answer to the officer may be faster.
            app.cache.forget(code.as_str(), link.version);
            app.metrics.link_created(wish.source);
            return Ok(link);
        }
        taken = Some(code);
    }
    Err(CreateError::CodeTaken(taken.unwrap_or_else(Code::random)))
}

/// Changes an owner's link. What is so already is no change and leaves no trace.
///
/// # Errors
///
/// When the store can't be asked.
pub async fn change(app: &App, code: &Code, owner: &Email, change: &Change, by: &Actor) -> Result<Changed, StoreError> {
    let changed = app.store.change_link(code, owner, change, Timestamp::now(), by).await;
    let version = match &changed {
        Ok(Changed::Yes(listed)) => listed.link.version,
        Ok(Changed::NotFound) => return changed,
        // The change may have been made although its answer was lost.
        Err(_) => u64::MAX,
    };
    app.cache.forget(code.as_str(), version);
    changed
}
