//! Links that have been in memory for `redirect.revalidate_after` are compared with Redis when they are visited again, behind the visitor's
//! back.
//!
//! A message about a change can be lost in ways that no heartbeat shows, such as between two servers of a Cluster. A link that is asked for alone
//! costs as much as a miss, some 30 µs and Redis 20 (docs/benchmarks.md), and of 100,000 in use 1,700 fall due each second: so they are gathered
//! and asked for together.

use std::{
    collections::VecDeque,
    future::pending,
    mem,
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{CachedLink, LinkCache, known};
use crate::store::{Lane, StoreError};

/// Due links are gathered for so long.
const GATHER: Duration = Duration::from_millis(100);
/// Asked for in one go: some 0.5 ms of Redis' time.
const AT_ONCE: usize = 250;
/// How long a link waits that couldn't be compared. While a node of a Cluster hangs, its client looks for a way around with each question for it, and
/// holds up all others meanwhile.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Links that couldn't be compared, in the order in which they may fall due again.
type Failed = VecDeque<(Instant, CachedLink)>;

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

    /// Waits until some are due, or until the first that failed may fall due again.
    async fn next(&self, failed: &Failed) -> Vec<CachedLink> {
        tokio::select! {
            () = self.some_due.notified() => sleep(GATHER).await,
            () = first_is_over(failed) => {}
        }
        mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LinkCache {
    /// Compares links as they fall due, for ever.
    pub async fn keep_revalidating(&self, lane: Lane) {
        let mut failed = Failed::new();
        loop {
            let due = self.revalidation.next(&failed).await;
            let now = Instant::now();
            let over = failed.partition_point(|(until, _)| *until <= now);
            failed.drain(..over).for_each(|(_, link)| link.end_revalidation());
            for links in due.chunks(AT_ONCE) {
                let compared = self.revalidate_all(links, &lane).await;
                let until = Instant::now() + AGAIN_AFTER;
                for (link, compared) in links.iter().zip(compared) {
                    if compared {
                        link.end_revalidation();
                    } else {
                        failed.push_back((until, link.clone()));
                    }
                }
            }
        }
    }

    /// What is still so is noted to be. The rest is loaded anew, one by one, as if it weren't in memory, so that a change that comes meanwhile
    /// is heeded. Answers which of them Redis could tell of.
    async fn revalidate_all(&self, links: &[CachedLink], lane: &Lane) -> Vec<bool> {
        let none = || vec![false; links.len()];
        let asked_at_ms = self.clock_ms();
        if !self.is_worth_asking(asked_at_ms) {
            return none();
        }
        let codes: Vec<&str> = links.iter().map(CachedLink::code).collect();
        let answers = match lane.resolve_all(&codes).await {
            Ok(answers) if answers.iter().any(|answer| !matches!(answer, Err(StoreError::Unavailable(_)))) => answers,
            Ok(_) | Err(_) => {
                self.note_failure();
                return none();
            }
        };
        self.failures.store(0, Ordering::Relaxed);
        let mut compared = Vec::with_capacity(links.len());
        for (link, answer) in links.iter().zip(answers) {
            compared.push(!matches!(answer, Err(StoreError::Unavailable(_))));
            match answer {
                Ok(Some(resolved)) if known(&resolved) == link.known() => link.note_check(asked_at_ms),
                Ok(_) => {
                    self.load(link.code(), lane, asked_at_ms).await;
                }
                Err(error @ StoreError::Corrupt(_)) => self.report(&error),
                Err(StoreError::Unavailable(_)) => {}
            }
        }
        compared
    }
}

async fn first_is_over(failed: &Failed) {
    match failed.front() {
        Some((until, _)) => sleep_until(*until).await,
        None => pending().await,
    }
}
