//! Owners' links by clicks and by code, for a few seconds: whoever pages through such a list has it sorted once.
//!
//! There is no index of them: clicks change all the time, and reading and sorting what 100,000 links have takes some tenths of a second. The
//! numbers that a list shows are always fresh. Its order by clicks may be as old as [`KEPT_FOR`]; one by code is forgotten with the next
//! change of any link, so that a new link is where it belongs at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    domain::{Email, Tag},
    store::{Candidate, Filter, RankBy, Store, StoreError},
};

const KEPT_FOR: Duration = Duration::from_secs(10);
/// Links in all rankings together, some 60 bytes each.
const LINKS_MAX: usize = 1_000_000;

#[derive(Default)]
pub struct Rankings(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    rankings: HashMap<Key, Ranking>,
    /// Changes so far of any link.
    changes: u64,
}

/// An owner and perhaps a tag.
type Key = (Email, Option<String>, RankBy);

/// When it was made, and what it is.
type Ranking = (Instant, Arc<[Candidate]>);

impl Rankings {
    /// The links that [`Store::rank_links`] answers.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn of(
        &self,
        store: &Store,
        owner: &Email,
        filter: &Filter,
        rank_by: RankBy,
    ) -> Result<Arc<[Candidate]>, StoreError> {
        let key = (owner.clone(), filter.tags.first().map(Tag::key), rank_by);
        let changes = {
            let kept = self.lock();
            match kept.rankings.get(&key) {
                Some((at, ranked)) if at.elapsed() < KEPT_FOR => return Ok(Arc::clone(ranked)),
                Some(_) | None => kept.changes,
            }
        };
        let ranked = store.rank_links(owner, filter, rank_by).await?;
        self.lock().keep(key, &ranked, changes);
        Ok(ranked)
    }

    /// Notes that a link was created or changed.
    pub fn link_changed(&self) {
        let mut kept = self.lock();
        kept.changes += 1;
        if !kept.rankings.is_empty() {
            kept.rankings.retain(|(_, _, rank_by), _| *rank_by == RankBy::Clicks);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // No code under this lock leaves it half done when it panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Keeps a ranking that was begun when there had been so many changes.
    fn keep(&mut self, key: Key, ranked: &Arc<[Candidate]>, changes: u64) {
        if key.2 == RankBy::Code && changes != self.changes {
            return;
        }
        self.rankings.retain(|_, (at, _)| at.elapsed() < KEPT_FOR);
        let links: usize = self.rankings.values().map(|(_, ranked)| ranked.len()).sum();
        if links + ranked.len() <= LINKS_MAX {
            self.rankings.insert(key, (Instant::now(), Arc::clone(ranked)));
        }
    }
}
