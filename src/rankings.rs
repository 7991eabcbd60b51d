//! Owners' links by clicks and by code, for a few seconds: whoever pages through such a list has it sorted once.
//!
//! There is no index of them: clicks change all the time, and reading and sorting what 100,000 links have takes some tenths of a second. The
//! numbers that a list shows are always fresh. Its order by clicks may be as old as [`KEPT_FOR`].
//!
//! A link that is created or changed here is in its owner's next list. One that is changed
//! elsewhere is told by a message: an order by code is then forgotten at once, and one by clicks
//! after [`KEPT_AFTER_CHANGE`], for links of others change all the time too. While changes may go
//! untold, nothing is kept.

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
/// A ranking by clicks, once any link has changed.
const KEPT_AFTER_CHANGE: Duration = Duration::from_millis(500);
/// Links in all rankings together, some 60 bytes each.
const LINKS_MAX: usize = 1_000_000;

#[derive(Default)]
pub struct Rankings(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    rankings: HashMap<Key, Ranking>,
    changes: Changes,
    is_told: bool,
}

/// An owner and perhaps a tag.
type Key = (Email, Option<String>, RankBy);

/// Changes so far.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Changes {
    /// Of any link.
    all: u64,
    /// Of links that were changed here, and times at which changes may have gone untold.
    here: u64,
}

struct Ranking {
    at: Instant,
    /// Changes before it was begun.
    changes: Changes,
    ranked: Arc<[Candidate]>,
}

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
                Some(ranking) if kept.is_valid(rank_by, ranking) => return Ok(Arc::clone(&ranking.ranked)),
                Some(_) | None => kept.changes,
            }
        };
        let at = Instant::now();
        let ranked = store.rank_links(owner, filter, rank_by).await?;
        self.lock().keep(key, Ranking { at, changes, ranked: Arc::clone(&ranked) });
        Ok(ranked)
    }

    /// Notes that a link was created or changed, on whatever node.
    pub fn link_changed(&self) {
        self.lock().changes.all += 1;
    }

    /// Notes that a link was created or changed here. `owner`: whose it is now; `None`: unknown.
    pub fn link_changed_here(&self, owner: Option<&Email>) {
        let mut kept = self.lock();
        kept.changes.here += 1;
        // One that is being made may have read before the change, so the count keeps it from being
        // kept.
        kept.rankings.retain(|(of, _, _), _| owner.is_some_and(|owner| owner != of));
    }

    /// Notes whether all changes are told from now on.
    pub fn told(&self, is_told: bool) {
        let mut kept = self.lock();
        kept.changes.here += 1;
        kept.is_told = is_told;
        kept.rankings.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // No code under this lock leaves it half done when it panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_valid(&self, rank_by: RankBy, ranking: &Ranking) -> bool {
        let kept_for = match (ranking.changes.all == self.changes.all, rank_by) {
            (true, _) => KEPT_FOR,
            (false, RankBy::Clicks) => KEPT_AFTER_CHANGE,
            (false, RankBy::Code) => return false,
        };
        ranking.at.elapsed() < kept_for
    }

    fn keep(&mut self, key: Key, ranking: Ranking) {
        if !self.is_told || ranking.changes.here != self.changes.here {
            return;
        }
        self.rankings.retain(|_, ranking| ranking.at.elapsed() < KEPT_FOR);
        let links: usize = self.rankings.values().map(|ranking| ranking.ranked.len()).sum();
        if links + ranking.ranked.len() <= LINKS_MAX {
            self.rankings.insert(key, ranking);
        }
    }
}
