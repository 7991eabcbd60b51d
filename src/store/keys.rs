//! The schema: every Redis key and field that merlink uses. Nothing else spells one.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `l:{code}` | hash | the link and its past, see [`link_field`] |
//! | `clicks:{code}` | hash | the link's counters, see [`click_field`], and per instance `@<instance>`: the journal position that they include |
//! | `clicks:{*}` | hash | the same over all links (`*` can't be a code) |
//! | `instances` | hash | per instance that counts clicks: `running <run> <place>`, perhaps with the run that asks for an answer, `ended <ms> <run> <place>` or `retired <ms>`, see `instances.rs`. Without run and place from an earlier version |
//! | `owner:{email}` | index | codes of an owner by creation time. A hint: the link's own owner is the truth, readers drop what disagrees |
//! | `tag:{email}:<tag>` | index | an owner's codes with that tag, in lower case. A hint, as above |
//! | `tags:{email}` | set | an owner's tags, in lower case. A hint, as above |
//! | `accounts` | sorted set | officers' e-mails by the time they were first seen, in ms |
//! | `session:suspended:{mailbox}` | string | when an officer was suspended, in ms, for all subaddresses of the mailbox. Absent: not suspended. Below `session:`, which Redis users that are in place may use |
//! | `session:suspended` | sorted set | suspended officers' e-mails by that time, for the operator's list. A hint, as above |
//! | `key:{id}` | hash, expires 90 days after the key's end | an API key, see [`api_key_field`]; never its secret |
//! | `keys:{email}` | set | ids of an officer's working keys, and of ended ones that aren't filed away yet. A hint, as above |
//! | `keys:ended:{email}` | sorted set | ids of an officer's revoked and expired keys by the time they ended, in ms. A hint, as above |
//! | `idempotency:{<asker>:<hash>}` | string, a day | a request that may be repeated, see `idempotency.rs` |
//! | `idempotency:index-check` | string, expires | which node checks the indexes at present, see `tend.rs`. Below `idempotency:`, which Redis users that are in place may use |
//! | `idempotency:index-check:damaged` | string, expires | the damaged links that its last pass met, as JSON, see `tend.rs` |
//! | `idempotency:of:{email}` | string, a day | bytes that such requests of an officer take, by the hour: `<hours since 1970>:<bytes>`, separated by spaces |
//! | `session:schema` | sorted set | `needed`: the number of the schema that a program must know, see `schema.rs`. Below `session:`, as above |
//! | `session:{id}` | string, expires | who is logged in, since when, and the generation of their sessions, as JSON; `id` is a hash of what the browser holds |
//! | `session:of:{email}` | string | the generation of an officer's sessions: those of any other are over. Absent: the empty one |
//! | `otp:{browser}` | string, expires | what a browser may log in with, see `logins.rs`; `browser` is a hash of what it holds |
//! | `mails:{name}` | string, expires | login mails within an hour, as JSON; `name` is a keyed hash of a mailbox, perhaps with a network, or a known browser's id |
//! | `guesses` | number, expires | wrong one-time passwords within an hour, over all browsers in which nobody logged in before |
//! | `service-key` | string | signs the tickets of browsers in which officers have logged in |
//! | `upload:{email}` | string, an hour | the file that an officer uploaded and hasn't confirmed, see `uploads.rs` |
//! | `…{!probe-…}` | any, for a moment | scratch keys of the engine's trial, see [`Scratch`] |
//! | `merlink:links` | channel | `<code> <version>` of each link that changed, one a line |
//!
//! In the names of indexes a `}` at the start of an address is `%7D`.
//! An index is a sorted set of the times at which its parts start, and a sorted set for each part, see `index.rs`.
//!
//! Braces are Redis Cluster hash tags. Field names of links and clicks are a letter or two, and a link's key begins with one: with millions of
//! links, names are what memory goes to.
//! A field whose value is the default is left out; a field that went back to its default holds an empty text or the default.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use crate::domain::{Click, Code, Device, Email, Tag};

pub const ACCOUNTS: &str = "accounts";
pub const SUSPENDED: &str = "session:suspended";
pub const SCHEMA: &str = "session:schema";
pub const SCHEMA_NEEDED: &str = "needed";
pub const INSTANCES: &str = "instances";
pub const GUESSES: &str = "guesses";
pub const SERVICE_KEY: &str = "service-key";
pub const INDEX_CHECK: &str = "idempotency:index-check";
pub const DAMAGED_LINKS: &str = "idempotency:index-check:damaged";
pub const LINKS_CHANNEL: &str = "merlink:links";

pub fn link(code: &str) -> String {
    format!("l:{{{code}}}")
}

/// The code in a link's key.
pub fn code_of_link(key: &str) -> Option<&str> {
    key.strip_prefix("l:{")?.strip_suffix('}')
}

pub fn clicks(code: &str) -> String {
    format!("clicks:{{{code}}}")
}

pub fn owner(email: &Email) -> String {
    format!("owner:{{{}}}", index_tag(email))
}

pub fn tag(email: &Email, tag: &Tag) -> String {
    format!("tag:{{{}}}:{}", index_tag(email), tag.key())
}

/// An address as the hash tag of an index. A Cluster reads a tag up to its first `}`, and takes an empty tag for none: then an index and its parts would
/// be on different servers, and no script could write to both. So a `}` at the start is percent-encoded. No address has an upper-case `D`, so none is
/// spelled like another.
fn index_tag(email: &Email) -> Cow<'_, str> {
    match email.as_str().strip_prefix('}') {
        Some(rest) => Cow::Owned(format!("%7D{rest}")),
        None => Cow::Borrowed(email.as_str()),
    }
}

/// The names that an earlier version gave to the indexes of an owner with these tags, with those that they have now. Empty for nearly everybody:
/// an address would have to begin with `}`.
pub fn renamed_indexes(email: &Email, used: &[Tag]) -> Vec<(String, String)> {
    if !email.as_str().starts_with('}') {
        return Vec::new();
    }
    let tags = used.iter().map(|used| (format!("tag:{{{email}}}:{}", used.key()), tag(email, used)));
    std::iter::once((format!("owner:{{{email}}}"), owner(email))).chain(tags).collect()
}

pub fn tags(email: &Email) -> String {
    format!("tags:{{{email}}}")
}

/// The part of an index that starts at this time, in ms.
pub fn index_part(index: &str, start_ms: i64) -> String {
    format!("{index}:{start_ms}")
}

pub fn api_key(id: &str) -> String {
    format!("key:{{{id}}}")
}

pub fn api_keys_of(email: &Email) -> String {
    format!("keys:{{{email}}}")
}

pub fn ended_api_keys_of(email: &Email) -> String {
    format!("keys:ended:{{{email}}}")
}

pub fn session(id: &str) -> String {
    format!("session:{{{id}}}")
}

pub fn session_generation(email: &Email) -> String {
    format!("session:of:{{{email}}}")
}

/// By mailbox: who is suspended doesn't come back with another subaddress.
pub fn suspended(email: &Email) -> String {
    format!("session:suspended:{{{}}}", email.mailbox())
}

pub fn upload(email: &Email) -> String {
    format!("upload:{{{email}}}")
}

pub fn otp(browser: &str) -> String {
    format!("otp:{{{browser}}}")
}

pub fn mails(name: &str) -> String {
    format!("mails:{{{name}}}")
}

/// Fields of `l:{code}`.
pub mod link_field {
    pub const TARGET: &str = "t";
    pub const OWNER: &str = "o";
    /// `0`: switched off.
    pub const STATE: &str = "s";
    pub const DESCRIPTION: &str = "d";
    /// Whom to ask, an e-mail address.
    pub const CONTACT: &str = "m";
    /// Separated by commas.
    pub const TAGS: &str = "g";
    /// Milliseconds since 1970, as all times here.
    pub const CREATED: &str = "c";
    /// Absent while nothing has changed since creation.
    pub const UPDATED: &str = "u";
    /// Absent: 1.
    pub const VERSION: &str = "v";
    /// Absent: `api`.
    pub const SOURCE: &str = "r";
    /// Absent or empty: never.
    pub const EXPIRES: &str = "x";
    /// `1`: the visit's query goes along.
    pub const FORWARD_QUERY: &str = "q";

    /// Who created it, see [`super::super::Actor`]; perhaps a space and a mark, by which a creation that is sent twice knows itself.
    pub const CREATED_BY: &str = "b";

    /// The change to `version`, from 2 on: JSON with `by` (who), `at` (when), `mark` (the change's
    /// id, by which a repetition finds it; absent from changes by earlier versions) and `was`
    /// (former values of the changed fields; an empty text: none). Old values, not new ones, so
    /// that a link that never changed isn't stored twice.
    pub fn history(version: u64) -> String {
        format!("h{version}")
    }
}

/// Fields of `clicks:{code}`: numbers in decimal. The total is the sum of the devices: a field of its own would make a sixth of what counting
/// costs Redis.
pub mod click_field {
    pub const BOTS: &str = "b";
    pub const PREFETCHES: &str = "p";
    pub const DESKTOP: &str = "d";
    pub const MOBILE: &str = "m";
    pub const TABLET: &str = "a";
    pub const OTHERS: &str = "o";

    /// A day's clicks: the field is the day's number since 1970-01-01 in `clicks.timezone`, which Redis packs into three bytes.
    pub fn day(days_since_1970: i32) -> String {
        days_since_1970.to_string()
    }

    /// Clicks of one hour of the week, 0 = Sunday's first.
    pub fn hour_of_week(hour: u8) -> String {
        format!("w{hour}")
    }

    /// Up to which byte of this instance's journal the counters include its clicks.
    pub fn position(instance: &str) -> String {
        format!("@{instance}")
    }
}

/// The field that a click of this class adds to; bots and prefetches are never in the total.
pub fn class_field(click: Click) -> &'static str {
    match click {
        Click::Person(Device::Desktop) => click_field::DESKTOP,
        Click::Person(Device::Mobile) => click_field::MOBILE,
        Click::Person(Device::Tablet) => click_field::TABLET,
        Click::Person(Device::Others) => click_field::OTHERS,
        Click::Bot => click_field::BOTS,
        Click::Prefetch => click_field::PREFETCHES,
    }
}

/// Fields of `key:{id}`.
pub mod api_key_field {
    /// SHA-256 of the secret, in hexadecimal.
    pub const HASH: &str = "hash";
    pub const OWNER: &str = "owner";
    pub const NAME: &str = "name";
    /// Separated by spaces.
    pub const SCOPES: &str = "scopes";
    pub const CREATED: &str = "created";
    /// Ids of the keys above it, separated by spaces, its maker last. Empty for a key that no key made. Absent for a key from before this was
    /// recorded.
    pub const ANCESTORS: &str = "ancestors";
    /// Absent: never.
    pub const EXPIRES: &str = "expires";
    /// Absent: not revoked.
    pub const REVOKED: &str = "revoked";
    /// Absent: never used. Written once a minute at most.
    pub const USED: &str = "used";
}

/// A request that `asker` named `key`. A hash of the name, since that may be anything.
pub fn idempotency(asker: &str, key: &str) -> String {
    let digest = Sha256::digest(key);
    let name = digest.iter().fold(String::with_capacity(64), |name, byte| name + &format!("{byte:02x}"));
    format!("idempotency:{{{asker}:{name}}}")
}

/// Bytes that an officer's kept answers take, by hour.
pub fn kept_bytes(email: &Email) -> String {
    format!("idempotency:of:{{{email}}}")
}

/// Keys for a trial of the engine, in one slot. They have the prefixes of real ones, so that whoever may write real ones may write these,
/// and a name that isn't a code's nor an address's: nothing takes them for real ones.
pub struct Scratch(String);

impl Scratch {
    pub fn new(mark: &str, number: u32) -> Self {
        Self(format!("{{!probe-{mark}-{number}}}"))
    }

    /// The slot of a Cluster that they are in.
    pub fn slot(&self) -> u16 {
        let tag = self.0.trim_matches(['{', '}']);
        crc16::State::<crc16::XMODEM>::calculate(tag.as_bytes()) % 16_384
    }

    pub fn link(&self) -> String {
        format!("l:{}", self.0)
    }

    pub fn other_link(&self) -> String {
        format!("l:{}:2", self.0)
    }

    pub fn third_link(&self) -> String {
        format!("l:{}:3", self.0)
    }

    pub fn clicks(&self) -> String {
        format!("clicks:{}", self.0)
    }

    pub fn index(&self) -> String {
        format!("owner:{}", self.0)
    }

    pub fn otp(&self) -> String {
        format!("otp:{}", self.0)
    }

    pub fn mails(&self) -> String {
        format!("mails:{}", self.0)
    }

    /// The real key would take a guess from others.
    pub fn guesses(&self) -> String {
        format!("mails:{}:guesses", self.0)
    }

    pub fn idempotency(&self) -> String {
        format!("idempotency:{}", self.0)
    }

    pub fn kept_bytes(&self) -> String {
        format!("idempotency:{}:kept", self.0)
    }

    /// The real key would show the trial to others.
    pub fn instances(&self) -> String {
        format!("idempotency:{}:instances", self.0)
    }

    pub fn hash(&self) -> String {
        format!("key:{}", self.0)
    }

    pub fn set(&self) -> String {
        format!("tags:{}", self.0)
    }

    pub fn sorted(&self) -> String {
        format!("tag:{}:sorted", self.0)
    }

    pub fn text(&self) -> String {
        format!("session:{}", self.0)
    }

    /// All of them, the parts of the index among them.
    pub fn all(&self) -> Vec<String> {
        let parts = [1, 2, 4].map(|start| index_part(&self.index(), start));
        [
            self.link(),
            self.other_link(),
            self.third_link(),
            self.clicks(),
            self.index(),
            self.otp(),
            self.mails(),
            self.guesses(),
            self.idempotency(),
            self.kept_bytes(),
            self.instances(),
            self.hash(),
            self.set(),
            self.sorted(),
            self.text(),
        ]
        .into_iter()
        .chain(parts)
        .collect()
    }
}

/// The message that a link changed to `version`.
pub fn changed(code: &Code, version: u64) -> String {
    format!("{code} {version}")
}

/// The codes and versions of such messages, one a line. Without a version that can be read, it is later than any.
pub fn parse_changed(messages: &str) -> impl Iterator<Item = (&str, u64)> {
    messages.lines().map(|message| {
        let (code, version) = message.split_once(' ').unwrap_or((message, ""));
        (code, version.parse().unwrap_or(u64::MAX))
    })
}

/// The code of an index entry; `None` for what no merlink wrote.
pub fn parse_code(text: &str) -> Option<Code> {
    text.parse().ok()
}
