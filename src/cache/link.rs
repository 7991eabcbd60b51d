//! A link as the redirect needs it, in one block of memory: what is known of it, its code, its target and, if it has one, its expiry behind one
//! another.
//!
//! One block and not five (code, link, target and what they point with) takes a third less memory, and a redirect that finds it has met everything. The price
//! is that a `Location` is copied out of it. With a code of 8 letters and a target of 87 bytes it is 127 bytes, for which the allocator gives
//! 128; the next size is 160. Which links are kept, and for how long they are believed, is `cache.rs`'s.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    str,
    sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering},
};

use actix_web::http::header::HeaderValue;
use bytes::Bytes;
use jiff::Timestamp;
use triomphe::ThinArc;

use crate::{
    domain::{Code, Target},
    head_size::LOCATION_BYTES_MAX,
};

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

/// 16 bytes.
struct Facts {
    /// When Redis was asked, not when it answered: what happened in between may be missing.
    checked_at_ms: AtomicU64,
    /// A link has a field in Redis for each of its versions: it can't have as many as fit in here.
    version: u32,
    /// Since the entry was made, about: workers overwrite one another's counts, which costs less than counting right. Stays at what it can
    /// hold, which is 1,000 a second for a minute.
    visits: AtomicU16,
    code_bytes: u8,
    flags: AtomicU8,
}

/// What [`Facts::flags`] has. All but the last never change.
mod flag {
    pub const ACTIVE: u8 = 1;
    pub const FORWARDS_QUERY: u8 = 2;
    /// The block ends with its time, in ms.
    pub const EXPIRES: u8 = 4;
    pub const BEING_REVALIDATED: u8 = 8;
}

// A byte more, and a usual link takes 32 more.
const _: () = assert!(size_of::<Facts>() == 16);

const EXPIRY_BYTES: usize = size_of::<i64>();

impl CachedLink {
    /// Besides the text: the facts, the block's own counter and length, and what the allocator adds.
    pub const OVERHEAD_BYTES: usize = size_of::<Facts>() + 2 * size_of::<usize>() + 16;

    /// `None` when the target can't be sent: it has bytes that no header may have, or is too long for one. Then no merlink wrote it.
    pub fn new(code: &Code, known: Known<'_>, checked_at_ms: u64) -> Option<Self> {
        let flags = [
            (known.active, flag::ACTIVE),
            (known.forward_query, flag::FORWARDS_QUERY),
            (known.expires_at.is_some(), flag::EXPIRES),
        ];
        let facts = Facts {
            checked_at_ms: AtomicU64::new(checked_at_ms),
            version: u32::try_from(known.version).unwrap_or(u32::MAX),
            visits: AtomicU16::new(0),
            code_bytes: u8::try_from(code.as_str().len()).expect("a code has 255 bytes at most"),
            flags: AtomicU8::new(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum()),
        };
        let can_be_sent =
            known.target.len() <= LOCATION_BYTES_MAX && known.target.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let expiry = known.expires_at.map(|at| at.as_millisecond().to_ne_bytes());
        let text = [code.as_str().as_bytes(), known.target.as_bytes(), expiry.as_ref().map_or(&[], |at| at)].concat();
        can_be_sent.then(|| Self(ThinArc::from_header_and_slice(facts, &text)))
    }

    pub fn code(&self) -> &str {
        str::from_utf8(self.code_bytes()).expect("made of a code")
    }

    fn code_bytes(&self) -> &[u8] {
        &self.text()[..usize::from(self.facts().code_bytes)]
    }

    fn target_bytes(&self) -> &[u8] {
        let end = self.text().len() - if self.has(flag::EXPIRES) { EXPIRY_BYTES } else { 0 };
        &self.text()[usize::from(self.facts().code_bytes)..end]
    }

    fn expires_at_ms(&self) -> Option<i64> {
        let at_ms = self.text().last_chunk::<EXPIRY_BYTES>().filter(|_| self.has(flag::EXPIRES))?;
        Some(i64::from_ne_bytes(*at_ms))
    }

    fn has(&self, flag: u8) -> bool {
        self.facts().flags.load(Ordering::Relaxed) & flag != 0
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
        self.is_active() && self.expires_at_ms().is_none_or(|at_ms| now.as_millisecond() < at_ms)
    }

    pub fn is_active(&self) -> bool {
        self.has(flag::ACTIVE)
    }

    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at_ms().and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok())
    }

    /// Whether parameters of a visit are appended to the target's own.
    pub fn forwards_query(&self) -> bool {
        self.has(flag::FORWARDS_QUERY)
    }

    pub fn version(&self) -> u64 {
        self.facts().version.into()
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

    pub fn visits(&self) -> u16 {
        self.facts().visits.load(Ordering::Relaxed)
    }

    pub fn set_visits(&self, visits: u16) {
        self.facts().visits.store(visits, Ordering::Relaxed);
    }

    pub fn note_visit(&self) {
        self.set_visits(self.visits().saturating_add(1));
    }

    /// Takes the duty to compare this entry with Redis; `false` when somebody has it.
    pub fn begin_revalidation(&self) -> bool {
        self.facts().flags.fetch_or(flag::BEING_REVALIDATED, Ordering::Relaxed) & flag::BEING_REVALIDATED == 0
    }

    pub fn end_revalidation(&self) {
        self.facts().flags.fetch_and(!flag::BEING_REVALIDATED, Ordering::Relaxed);
    }

    /// Code, target and expiry together.
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
        assert_eq!((link.code(), link.location().as_bytes()), ("a-code", &b"https://example.com/?a=~b"[..]));
        assert_eq!(link.target().to_string(), "https://example.com/?a=~b");
        assert_eq!((link.expires_at(), link.version()), (Some(expiry), 7));
        assert!(link.is_active() && link.forwards_query());
        assert!(link.is_live(Timestamp::UNIX_EPOCH) && !link.is_live(expiry));
        assert_eq!(link.checked_at_ms(), 5);
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
