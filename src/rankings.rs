//! Owners' links by clicks, for a few seconds: whoever pages through a list sorted by clicks has it sorted once.
//!
//! Clicks change all the time, so there is no index of them; reading and sorting those of 100,000 links takes some tenths of a second. The
//! numbers that a list shows are always fresh: only its order may be as old as [`KEPT_FOR`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    domain::Email,
    store::{Candidate, Filter, Store, StoreError},
};

const KEPT_FOR: Duration = Duration::from_secs(10);
/// Links in all rankings together, some 60 bytes each.
const LINKS_MAX: usize = 1_000_000;

#[derive(Default)]
pub struct Rankings(Mutex<HashMap<Key, Ranking>>);

/// An owner and perhaps a tag.
type Key = (Email, Option<String>);

/// When it was made, and what it is.
type Ranking = (Instant, Arc<[Candidate]>);

impl Rankings {
    /// The links that [`Store::rank_links`] answers, at most some seconds old.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn of(&self, store: &Store, owner: &Email, filter: &Filter) -> Result<Arc<[Candidate]>, StoreError> {
        let key = (owner.clone(), filter.tags.first().map(crate::domain::Tag::key));
        if let Some(ranked) = self.kept(&key) {
            return Ok(ranked);
        }
        let ranked = store.rank_links(owner, filter).await?;
        self.keep(key, &ranked);
        Ok(ranked)
    }

    fn kept(&self, key: &Key) -> Option<Arc<[Candidate]>> {
        let rankings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, ranked) = rankings.get(key)?;
        (at.elapsed() < KEPT_FOR).then(|| Arc::clone(ranked))
    }

    fn keep(&self, key: Key, ranked: &Arc<[Candidate]>) {
        let mut rankings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rankings.retain(|_, (at, _)| at.elapsed() < KEPT_FOR);
        let links: usize = rankings.values().map(|(_, ranked)| ranked.len()).sum();
        if links + ranked.len() <= LINKS_MAX {
            rankings.insert(key, (Instant::now(), Arc::clone(ranked)));
        }
    }
}
