//! Many links in one go, for the batch of API v2 and the uploads of the console: the rules that lie between its rows.
//!
//! What a row says is read elsewhere, and each front has words of its own for what is wrong with one; so a row's mistake is whatever can be
//! made of the two that are found here.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{Stream, StreamExt as _, stream};

use crate::{
    domain::{Code, Link},
    links::{self, Attempt, CreateError, Wish},
    routes,
    state::App,
    store::{Actor, BulkCreated, StoreError},
};

/// Rows of one go: what `GoGovSG` allows a file.
pub const ROWS_MAX: usize = 1_000;

/// Creations under way at once: some, and a good part of the pool's connections for others.
const AT_ONCE: usize = 6;

/// Rows in a row that the store didn't take, after which the others aren't tried: one round may have met a hiccup, and each costs the time
/// that the store is given to answer. Minutes, if a thousand rows found out one after the other.
const FAILURES_MAX: usize = 2 * AT_ONCE;

/// Why a row that is fine by itself creates no link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("an earlier row has the code {0}")]
    Repeated(Code),
    #[error("the code {0} is taken")]
    Taken(Code),
}

/// Of two rows with one code the first has it.
pub fn refuse_repeated_codes<E: From<Refused>>(wishes: &mut [Result<Wish, E>]) {
    let mut seen: HashSet<Code> = HashSet::new();
    for wish in wishes {
        let code = wish.as_ref().ok().and_then(|wish| wish.code.clone());
        if let Some(code) = code.filter(|code| !seen.insert(code.clone())) {
            *wish = Err(Refused::Repeated(code).into());
        }
    }
}

/// Finds out, without creating anything, which codes can't be had. What this very attempt created before its node died isn't in its own way.
///
/// # Errors
///
/// When the store can't be asked.
pub async fn refuse_taken_codes<E: From<Refused>>(
    app: &App,
    wishes: &mut [Result<Wish, E>],
    attempt: &Attempt,
    by: &Actor,
) -> Result<(), StoreError> {
    let codes: Vec<Code> = wishes.iter().filter_map(|wish| wish.as_ref().ok()?.code.clone()).collect();
    let mut existing = app.store.existing_links(&codes).await?.into_iter();
    let mut marked = if attempt.is_repeated { app.store.creators_of(&codes).await? } else { Vec::new() }.into_iter();
    for (index, wish) in wishes.iter_mut().enumerate() {
        let Some(code) = wish.as_ref().ok().and_then(|wish| wish.code.clone()) else { continue };
        let creator = marked.next().flatten();
        let free = match existing.next().flatten() {
            None => !routes::is_reserved(&code),
            Some(BulkCreated::Existed(_)) => {
                creator.is_some_and(|creator| creator == by.marked(attempt.of_row(index).mark.as_deref()))
            }
            Some(BulkCreated::Yes | BulkCreated::Damaged) => false,
        };
        if !free {
            *wish = Err(Refused::Taken(code).into());
        }
    }
    Ok(())
}

/// Creates what is wished for, row by row in their order, and passes mistakes on. When the store has gone, the rest fails without waiting.
pub fn create<'a, E: From<CreateError> + 'a>(
    app: &'a App,
    wishes: Vec<Result<Wish, E>>,
    attempt: &'a Attempt,
    by: &'a Actor,
) -> impl Stream<Item = Result<Link, E>> + 'a {
    let failures = Arc::new(AtomicUsize::new(0));
    let created = wishes.into_iter().enumerate().map(move |(index, wish)| {
        let failures = Arc::clone(&failures);
        async move {
            let wish = wish?;
            if failures.load(Ordering::Relaxed) >= FAILURES_MAX {
                let away = StoreError::Unavailable("it didn't answer for the rows before".to_owned());
                return Err(CreateError::from(away).into());
            }
            let attempt = attempt.of_row(index);
            let created = links::create(app, wish, &attempt, by).await;
            match &created {
                Err(CreateError::Store(StoreError::Unavailable(_))) => _ = failures.fetch_add(1, Ordering::Relaxed),
                Ok(_) | Err(CreateError::CodeTaken(_) | CreateError::Store(StoreError::Corrupt(_))) => {
                    failures.store(0, Ordering::Relaxed);
                }
            }
            Ok(created?)
        }
    });
    stream::iter(created).buffered(AT_ONCE)
}
