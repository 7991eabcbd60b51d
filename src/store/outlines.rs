//! What searches look through, kept in memory: reading it of 100,000 links takes Redis 0.2 s, comparing it a tenth of that.
//!
//! Only while the subscription lives that tells of changes (`watch.rs`): each message drops the link that it is about, and whatever
//! begins or ends the subscription drops everything; this process's own changes don't wait for their message. What was read before a change and comes after it isn't kept: any change in between
//! makes it suspect, whichever link it was of. So an outline is as old as a message's way, and a link that it speaks for is read again
//! before it is shown; one that it speaks against may be missing from a search for that long.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use quick_cache::{Weighter, sync::Cache};

use super::{keys, links::Outline};
use crate::domain::Code;

/// Some 200,000 links. It is taken only when officers search.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// With a code, a target and an entry in the cache.
const TYPICAL_BYTES: u64 = 320;
/// All but the texts: four of them, what counts references, and the cache's own.
const OVERHEAD_BYTES: u64 = 220;

pub struct Outlines {
    kept: Cache<Code, Arc<Outline>, Weigh>,
    /// Whether changes are told.
    told: AtomicBool,
    /// Changes told so far.
    changes: AtomicU64,
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Code, Arc<Outline>> for Weigh {
    fn weight(&self, code: &Code, outline: &Arc<Outline>) -> u64 {
        (code.as_str().len() + outline.target.len() + outline.description.len()) as u64 + OVERHEAD_BYTES
    }
}

impl Outlines {
    pub fn new() -> Self {
        let typical = usize::try_from(BYTES_MAX / TYPICAL_BYTES).unwrap_or(usize::MAX);
        Self {
            kept: Cache::with_weighter(typical, BYTES_MAX, Weigh),
            told: AtomicBool::new(false),
            changes: AtomicU64::new(0),
        }
    }

    pub fn get(&self, code: &Code) -> Option<Arc<Outline>> {
        self.kept.get(code)
    }

    /// To be asked before outlines are read that shall be kept; nothing when none may be.
    pub fn before_reading(&self) -> Option<u64> {
        self.told.load(Ordering::SeqCst).then(|| self.changes.load(Ordering::SeqCst))
    }

    /// Keeps an outline that was read after [`Self::before_reading`] said this.
    pub fn keep(&self, code: &Code, outline: Outline, before: Option<u64>) -> Arc<Outline> {
        let outline = Arc::new(outline);
        if before.is_some() && self.before_reading() == before {
            self.kept.insert(code.clone(), Arc::clone(&outline));
            // A change that is told from here on drops it itself.
            if self.before_reading() != before {
                self.kept.remove(code);
            }
        }
        outline
    }

    /// Hears of a link that changed.
    pub fn changed(&self, code: &str) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        match keys::parse_code(code) {
            Some(code) => {
                self.kept.remove(&code);
            }
            None => self.kept.clear(),
        }
    }

    /// Hears that from now on every change is told, or none for sure. What was told before may not have been all.
    pub fn subscribed(&self, told: bool) {
        self.told.store(told, Ordering::SeqCst);
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{LinkState, Tags};

    fn code() -> Code {
        "form".parse().expect("a code")
    }

    fn outline(target: &str) -> Outline {
        Outline {
            target: target.to_owned(),
            description: String::new(),
            state: LinkState::Active,
            tags: Tags::default(),
        }
    }

    fn kept(outlines: &Outlines) -> Option<String> {
        outlines.get(&code()).map(|outline| outline.target.clone())
    }

    #[test]
    fn an_outline_is_kept_until_its_link_changes_and_no_other() {
        let outlines = Outlines::new();
        outlines.subscribed(true);
        outlines.keep(&code(), outline("one"), outlines.before_reading());
        outlines.changed("other");
        assert_eq!(kept(&outlines).as_deref(), Some("one"));
        outlines.changed("form");
        assert_eq!(kept(&outlines), None);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let outlines = Outlines::new();
        outlines.subscribed(true);
        let before = outlines.before_reading();
        outlines.changed("form");
        assert_eq!(outlines.keep(&code(), outline("old"), before).target, "old", "who read it has it");
        assert_eq!(kept(&outlines), None);
    }

    #[test]
    fn nothing_is_kept_while_changes_may_go_untold() {
        let outlines = Outlines::new();
        outlines.keep(&code(), outline("early"), outlines.before_reading());
        assert_eq!(kept(&outlines), None, "nobody has subscribed yet");
        outlines.subscribed(true);
        let before = outlines.before_reading();
        outlines.keep(&code(), outline("one"), before);
        outlines.subscribed(false);
        assert_eq!(kept(&outlines), None);
        outlines.keep(&code(), outline("one"), before);
        outlines.subscribed(true);
        outlines.keep(&code(), outline("one"), before);
        assert_eq!(kept(&outlines), None, "read in another subscription's life");
    }
}
