//! A link as the redirect needs it, in one block of memory: what is known of it, its code and its target behind one another.
//!
//! One block and not five (code, link, target and what they point with) takes a third less memory, and a redirect that finds it has met everything. The price
//! is that a `Location` is copied out of it. Which links are kept, and for how long they are believed, is `cache.rs`'s.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    str,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use actix_web::http::header::HeaderValue;
use bytes::Bytes;
use jiff::Timestamp;
use triomphe::ThinArc;

use crate::domain::{Code, Target};

/// Cheap to clone; clones are the same link. Compares and hashes as its code, so that a map can have it as its own key.
#[derive(Clone)]
pub struct CachedLink(ThinArc<Facts, u8>);

/// What is told of a link to be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known<'a> {
    pub target: &'a str,
    pub active: bool,
    pub expires_at: Option<Timestamp>,
    pub forward_query: bool,
    pub version: u64,
}

/// 32 bytes.
struct Facts {
    version: u64,
    /// When Redis was asked, not when it answered: what happened in between may be missing.
    checked_at_ms: AtomicU64,
    /// [`NEVER_EXPIRES`] when it doesn't.
    expires_at_ms: i64,
    /// Since the entry was made, about: workers overwrite one another's counts, which costs less than counting right.
    visits: AtomicU32,
    code_bytes: u8,
    active: bool,
    forward_query: bool,
    being_revalidated: AtomicBool,
}

const NEVER_EXPIRES: i64 = i64::MAX;

impl CachedLink {
    /// Besides code and target: the facts, the block's own counter and length, and what the allocator adds.
    pub const OVERHEAD_BYTES: usize = size_of::<Facts>() + 2 * size_of::<usize>() + 16;

    /// `None` when the target has bytes that no header may have: then no merlink wrote it.
    pub fn new(code: &Code, known: Known<'_>, checked_at_ms: u64) -> Option<Self> {
        let facts = Facts {
            version: known.version,
            checked_at_ms: AtomicU64::new(checked_at_ms),
            expires_at_ms: known.expires_at.map_or(NEVER_EXPIRES, Timestamp::as_millisecond),
            visits: AtomicU32::new(0),
            code_bytes: u8::try_from(code.as_str().len()).expect("a code has 255 bytes at most"),
            active: known.active,
            forward_query: known.forward_query,
            being_revalidated: AtomicBool::new(false),
        };
        let can_be_sent = known.target.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let text = [code.as_str().as_bytes(), known.target.as_bytes()].concat();
        can_be_sent.then(|| Self(ThinArc::from_header_and_slice(facts, &text)))
    }

    /// The same link, known to be so at another time.
    #[must_use]
    pub fn checked_again(&self, checked_at_ms: u64) -> Self {
        let facts = self.facts();
        let again = Facts {
            checked_at_ms: AtomicU64::new(checked_at_ms),
            visits: AtomicU32::new(self.visits()),
            being_revalidated: AtomicBool::new(false),
            version: facts.version,
            expires_at_ms: facts.expires_at_ms,
            code_bytes: facts.code_bytes,
            active: facts.active,
            forward_query: facts.forward_query,
        };
        Self(ThinArc::from_header_and_slice(again, self.text()))
    }

    pub fn code(&self) -> &str {
        str::from_utf8(self.code_bytes()).expect("made of a code")
    }

    fn code_bytes(&self) -> &[u8] {
        &self.text()[..usize::from(self.facts().code_bytes)]
    }

    fn target_bytes(&self) -> &[u8] {
        &self.text()[usize::from(self.facts().code_bytes)..]
    }

    /// The target, ready to be sent.
    #[expect(unsafe_code, reason = "checking each byte again for each visit is a quarter of what a redirect costs us")]
    pub fn location(&self) -> HeaderValue {
        let target = Bytes::copy_from_slice(self.target_bytes());
        // SAFETY: `new` made sure that every byte may stand in a header.
        unsafe { HeaderValue::from_maybe_shared_unchecked(target) }
    }

    /// Where the link leads, for pages.
    pub fn target(&self) -> Target {
        Target::from_store(self.known().target.to_owned())
    }

    /// Whether a visitor who comes now is sent on.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.facts().active && now.as_millisecond() < self.facts().expires_at_ms
    }

    pub fn is_active(&self) -> bool {
        self.facts().active
    }

    pub fn expires_at(&self) -> Option<Timestamp> {
        Some(self.facts().expires_at_ms)
            .filter(|at_ms| *at_ms != NEVER_EXPIRES)
            .and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok())
    }

    /// Whether parameters of a visit are appended to the target's own.
    pub fn forwards_query(&self) -> bool {
        self.facts().forward_query
    }

    pub fn version(&self) -> u64 {
        self.facts().version
    }

    pub fn checked_at_ms(&self) -> u64 {
        self.facts().checked_at_ms.load(Ordering::Relaxed)
    }

    /// Notes that Redis, when it was asked at this time, had nothing else to say.
    pub fn note_check(&self, checked_at_ms: u64) {
        self.facts().checked_at_ms.fetch_max(checked_at_ms, Ordering::Relaxed);
    }

    /// What is known of it.
    pub fn known(&self) -> Known<'_> {
        Known {
            target: str::from_utf8(self.target_bytes()).expect("checked when the entry was made"),
            active: self.is_active(),
            expires_at: self.expires_at(),
            forward_query: self.forwards_query(),
            version: self.version(),
        }
    }

    pub fn visits(&self) -> u32 {
        self.facts().visits.load(Ordering::Relaxed)
    }

    pub fn set_visits(&self, visits: u32) {
        self.facts().visits.store(visits, Ordering::Relaxed);
    }

    pub fn note_visit(&self) {
        self.set_visits(self.visits().saturating_add(1));
    }

    /// Takes the duty to compare this entry with Redis; `false` when somebody has it.
    pub fn begin_revalidation(&self) -> bool {
        !self.facts().being_revalidated.swap(true, Ordering::Relaxed)
    }

    pub fn end_revalidation(&self) {
        self.facts().being_revalidated.store(false, Ordering::Relaxed);
    }

    /// Code and target together.
    pub fn text_bytes(&self) -> usize {
        self.text().len()
    }

    fn facts(&self) -> &Facts {
        &self.0.header.header
    }

    fn text(&self) -> &[u8] {
        &self.0.slice
    }
}

impl Borrow<[u8]> for CachedLink {
    fn borrow(&self) -> &[u8] {
        self.code_bytes()
    }
}

impl Hash for CachedLink {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.code_bytes().hash(state);
    }
}

impl PartialEq for CachedLink {
    fn eq(&self, other: &Self) -> bool {
        self.code_bytes() == other.code_bytes()
    }
}

impl Eq for CachedLink {}

impl fmt::Debug for CachedLink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at version {}", self.code(), self.version())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(target: &str, expires_at: Option<Timestamp>) -> Option<CachedLink> {
        let known = Known { target, active: true, expires_at, forward_query: true, version: 7 };
        CachedLink::new(&"a-code".parse().expect("a code"), known, 5)
    }

    #[test]
    fn what_goes_in_comes_out() {
        let expiry: Timestamp = "2026-12-31T16:00:00Z".parse().expect("a time");
        let link = link("https://example.com/?a=~b", Some(expiry)).expect("a link");
        for link in [&link, &link.checked_again(9)] {
            assert_eq!((link.code(), link.location().as_bytes()), ("a-code", &b"https://example.com/?a=~b"[..]));
            assert_eq!(link.target().to_string(), "https://example.com/?a=~b");
            assert_eq!((link.expires_at(), link.version()), (Some(expiry), 7));
            assert!(link.is_active() && link.forwards_query());
            assert!(link.is_live(Timestamp::UNIX_EPOCH) && !link.is_live(expiry));
        }
        assert_eq!((link.checked_at_ms(), link.checked_again(9).checked_at_ms()), (5, 9));
        for (at_ms, noted) in [(8, 8), (6, 8)] {
            link.note_check(at_ms);
            assert_eq!(link.checked_at_ms(), noted, "the latest check counts");
        }
    }

    #[test]
    fn a_target_that_no_header_may_have_makes_no_link() {
        for target in ["https://example.com/\r\nSet-Cookie: a=b", "https://example.com/é", "https://example.com/\0"] {
            assert!(link(target, None).is_none(), "{target:?}");
        }
        assert_eq!(link("https://example.com/", None).expect("a link").expires_at(), None);
    }

    #[test]
    fn one_is_checked_by_one_at_a_time() {
        let link = link("https://example.com/", None).expect("a link");
        assert!(link.begin_revalidation() && !link.begin_revalidation());
        link.end_revalidation();
        assert!(link.clone().begin_revalidation());
    }
}
