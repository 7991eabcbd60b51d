//! The last word of audit files on each link, key and officer.
//!
//! Every fact is a register: of two entries about it the later wins, by time and then by the link's
//! version. So files may come in any order, and memory holds one value for each fact, however long
//! the files are. Entries of one file with the same time and version count in the file's order.
//!
//! `unknown` is the outcome of a change whose answer was lost. It counts when it takes something
//! away, and doesn't when it gives something.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer};

use crate::domain::{Code, Email, LinkState};

/// The longest entries, creations of links with all fields at their limits, have less than a tenth
/// of it.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Unreadable lines that are named.
const UNREADABLE_NAMED_MAX: usize = 1_000;
/// Subtracted from the time of a creation. A request may be repeated for a day, and each repetition
/// has an entry, which must not undo the changes in between. The price: a link that was lost, and
/// made again within this time after it was switched off, is switched off.
const CREATION_REPEATED_FOR: SignedDuration = SignedDuration::from_hours(48);
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Final states by the files.
#[derive(Default)]
pub struct Trail {
    pub links: BTreeMap<Code, LinkFacts>,
    pub keys_created: BTreeSet<String>,
    pub keys_revoked: BTreeSet<String>,
    /// By mailbox, since a suspension is the whole mailbox's: the address of the last entry, and
    /// true if that suspended it.
    pub suspensions: BTreeMap<String, Register<(Email, bool)>>,
    pub invited: BTreeSet<Email>,
    /// Officers' last logout in all browsers.
    pub logouts_everywhere: BTreeMap<Email, Timestamp>,
    /// Logouts of a single browser.
    pub logouts: u64,
    pub unreadable: Vec<Unreadable>,
    /// Includes those beyond what is named.
    pub unreadable_count: u64,
}

/// Final values of a link's fields. A field that no entry names is empty.
#[derive(Default)]
pub struct LinkFacts {
    pub is_created: bool,
    pub state: Register<LinkState>,
    pub expires_at: Register<Option<Timestamp>>,
    pub target: Register<String>,
    pub owner: Register<String>,
}

/// A value and the time and version of the entry that set it.
pub struct Register<T>(Option<((Timestamp, u64), T)>);

/// A place in a file that counts for nothing.
pub struct Unreadable {
    pub path: PathBuf,
    pub line: u64,
    pub why: &'static str,
}

const NO_JSON: &str = "no JSON; the line is damaged";
const NO_ENTRY: &str = "no entry that this version of Merlink knows";
const TOO_LONG: &str = "longer than any entry";
const BREAKS_OFF: &str = "the file breaks off here; what follows can't be read";

#[derive(Deserialize)]
struct Entry {
    at: Timestamp,
    by: String,
    outcome: Outcome,
    #[serde(flatten)]
    event: Event,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Done,
    Unknown,
    Refused,
}

#[derive(Deserialize)]
#[serde(tag = "event")]
enum Event {
    #[serde(rename = "link.created")]
    Created { code: String, link: Fields },
    #[serde(rename = "link.changed", alias = "link.transferred")]
    Changed { code: String, version: u64, from: Fields, to: Fields },
    #[serde(rename = "key.created")]
    KeyCreated { key: String },
    #[serde(rename = "key.revoked")]
    KeyRevoked { key: String },
    #[serde(rename = "officer.invited")]
    Invited { officer: String },
    #[serde(rename = "officer.suspended")]
    Suspended { officer: String },
    #[serde(rename = "officer.restored")]
    Restored { officer: String },
    #[serde(rename = "session.ended")]
    SessionEnded {
        #[serde(default)]
        everywhere: bool,
        officer: Option<String>,
    },
    #[serde(rename = "session.began", alias = "login.failed")]
    Login {},
}

/// Fields of a link that an entry names.
#[derive(Deserialize)]
struct Fields {
    target_url: Option<String>,
    state: Option<State>,
    owner: Option<String>,
    /// `None` when the entry doesn't name it. `null` is an expiry, too: never.
    #[serde(default, deserialize_with = "named")]
    expires_at: Option<Expiry>,
}

#[derive(Clone, Copy, Deserialize)]
struct Expiry(Option<Timestamp>);

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Active,
    Inactive,
}

/// Tells `null` from a field that is absent.
fn named<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Expiry>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

impl Trail {
    /// Adds a file's entries, compressed by gzip or not. A file that breaks off counts up to there.
    ///
    /// # Errors
    ///
    /// When the file can't be opened.
    pub fn read(&mut self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut file = BufReader::new(file);
        if file.fill_buf()?.starts_with(&GZIP) {
            self.read_lines(path, BufReader::new(MultiGzDecoder::new(file)));
        } else {
            self.read_lines(path, file);
        }
        Ok(())
    }

    fn read_lines(&mut self, path: &Path, mut lines: impl BufRead) {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let why = match next(&mut lines, &mut line) {
                Err(_) => Some(BREAKS_OFF),
                Ok(false) => return,
                Ok(true) if line.len() as u64 > LINE_BYTES_MAX => Some(TOO_LONG),
                Ok(true) => self.add(&line).err(),
            };
            let Some(why) = why else { continue };
            self.unreadable_count += 1;
            if self.unreadable.len() < UNREADABLE_NAMED_MAX {
                self.unreadable.push(Unreadable { path: path.to_owned(), line: number, why });
            }
            if why == BREAKS_OFF {
                return;
            }
        }
    }

    fn add(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let entry: Entry =
            serde_json::from_slice(line).map_err(|error| if error.is_data() { NO_ENTRY } else { NO_JSON })?;
        let Entry { at, by, outcome, event } = entry;
        if outcome == Outcome::Refused {
            return Ok(());
        }
        let is_done = outcome == Outcome::Done;
        let email = |text: &str| text.parse::<Email>().map_err(|_| NO_ENTRY);
        match event {
            Event::Created { code, link } => {
                let facts = self.links.entry(code.parse().map_err(|_| NO_ENTRY)?).or_default();
                facts.is_created = true;
                if is_done {
                    facts.set((at.saturating_sub(CREATION_REPEATED_FOR).unwrap_or(at), 1), link);
                }
            }
            Event::Changed { code, version, from, to } => {
                let facts = self.links.entry(code.parse().map_err(|_| NO_ENTRY)?).or_default();
                facts.set((at, version), if is_done { to } else { to.only_stricter_than(&from) });
            }
            Event::KeyCreated { key } => {
                self.keys_created.insert(key);
            }
            Event::KeyRevoked { key } => {
                self.keys_revoked.insert(key);
            }
            Event::Invited { officer } => {
                self.invited.insert(email(&officer)?);
            }
            Event::Suspended { officer } => {
                self.set_suspended(at, email(&officer)?, true);
            }
            Event::Restored { officer } => {
                let officer = email(&officer)?;
                if is_done {
                    self.set_suspended(at, officer, false);
                }
            }
            Event::SessionEnded { everywhere: true, officer } => {
                let officer = officer.as_deref().or_else(|| by.strip_prefix("session:")).ok_or(NO_ENTRY)?;
                let last = self.logouts_everywhere.entry(email(officer)?).or_insert(at);
                *last = at.max(*last);
            }
            Event::SessionEnded { everywhere: false, .. } => self.logouts += 1,
            Event::Login {} => {}
        }
        Ok(())
    }

    fn set_suspended(&mut self, at: Timestamp, officer: Email, is_suspended: bool) {
        self.suspensions.entry(officer.mailbox()).or_default().set((at, 0), (officer, is_suspended));
    }
}

impl LinkFacts {
    fn set(&mut self, order: (Timestamp, u64), fields: Fields) {
        let Fields { target_url, state, owner, expires_at } = fields;
        if let Some(state) = state {
            self.state.set(order, state.into());
        }
        if let Some(Expiry(expires_at)) = expires_at {
            self.expires_at.set(order, expires_at);
        }
        if let Some(target) = target_url {
            self.target.set(order, target);
        }
        if let Some(owner) = owner {
            self.owner.set(order, owner);
        }
    }
}

impl Fields {
    /// Drops what gives something, or may lead elsewhere.
    fn only_stricter_than(self, from: &Self) -> Self {
        let was = from.expires_at.and_then(|expiry| expiry.0);
        let is_earlier = |expiry: &Expiry| expiry.0.is_some_and(|at| was.is_none_or(|was| at < was));
        Self {
            target_url: None,
            owner: None,
            state: self.state.filter(|state| matches!(state, State::Inactive)),
            expires_at: self.expires_at.filter(is_earlier),
        }
    }
}

impl From<State> for LinkState {
    fn from(state: State) -> Self {
        match state {
            State::Active => Self::Active,
            State::Inactive => Self::Inactive,
        }
    }
}

impl<T> Register<T> {
    pub fn get(&self) -> Option<&T> {
        self.0.as_ref().map(|(_, value)| value)
    }

    fn set(&mut self, order: (Timestamp, u64), value: T) {
        if self.0.as_ref().is_none_or(|(last, _)| order >= *last) {
            self.0 = Some((order, value));
        }
    }
}

impl<T> Default for Register<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// Reads a line, or the beginning of one that is too long and skips the rest. Returns false at the
/// end.
fn next(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let read = lines.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', line)?;
    if line.len() as u64 > LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        lines.skip_until(b'\n')?;
    }
    Ok(read > 0)
}
