//! Links that have been in memory for `redirect.revalidate_after` are compared with Redis when they are visited again, behind the visitor's
//! back.
//!
//! A message about a change can be lost in ways that no heartbeat shows, such as between two servers of a Cluster. A link that is asked for alone
//! costs as much as a miss, some 30 µs and Redis 20 (docs/benchmarks.md), and of 100,000 in use 1,700 fall due each second: so they are gathered
//! and asked for together.

use std::{
    mem,
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use super::{CachedLink, LinkCache, known};
use crate::store::{Lane, StoreError};

/// Due links are gathered for so long.
const GATHER: Duration = Duration::from_millis(100);
/// Asked for in one go: some 0.5 ms of Redis' time.
const AT_ONCE: usize = 250;

/// Links that are due, each once.
#[derive(Default)]
pub(super) struct Revalidation {
    due: Mutex<Vec<CachedLink>>,
    some_due: Notify,
}

impl Revalidation {
    /// Has a link compared soon, if it isn't already waiting for that.
    pub fn soon(&self, link: &CachedLink) {
        if link.begin_revalidation() {
            self.due.lock().unwrap_or_else(PoisonError::into_inner).push(link.clone());
            self.some_due.notify_one();
        }
    }

    async fn next(&self) -> Vec<CachedLink> {
        self.some_due.notified().await;
        sleep(GATHER).await;
        mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LinkCache {
    /// Compares links as they fall due, for ever.
    pub async fn keep_revalidating(&self, lane: Lane) {
        loop {
            let due = self.revalidation.next().await;
            for links in due.chunks(AT_ONCE) {
                self.revalidate_all(links, &lane).await;
                for link in links {
                    link.end_revalidation();
                }
            }
        }
    }

    /// What is still so is noted to be. The rest is loaded anew, one by one, as if it weren't in memory, so that a change that comes meanwhile
    /// is heeded.
    async fn revalidate_all(&self, links: &[CachedLink], lane: &Lane) {
        let asked_at_ms = self.clock_ms();
        if !self.is_worth_asking(asked_at_ms) {
            return;
        }
        let codes: Vec<&str> = links.iter().map(CachedLink::code).collect();
        let answers = match lane.resolve_all(&codes).await {
            Ok(answers) if answers.iter().any(|answer| !matches!(answer, Err(StoreError::Unavailable(_)))) => answers,
            Ok(_) | Err(_) => return self.note_failure(),
        };
        self.failures.store(0, Ordering::Relaxed);
        for (link, answer) in links.iter().zip(answers) {
            match answer {
                Ok(Some(resolved)) if known(&resolved) == link.known() => link.note_check(asked_at_ms),
                Ok(_) => {
                    self.load(link.code(), lane, asked_at_ms).await;
                }
                Err(error @ StoreError::Corrupt(_)) => self.report(&error),
                Err(StoreError::Unavailable(_)) => {}
            }
        }
    }
}
