//! Links as rows: what the batch and the export of API v2 and `merlink link import` and `export` read and write.
//!
//! | column | read | form |
//! |---|---|---|
//! | `code` | yes; empty: a random one | `iras-tax` |
//! | `target_url` | yes, required | `https://…` |
//! | `state` | yes; empty: `active` | `active`, `inactive` |
//! | `owner` | yes; in the API by administrators | e-mail address |
//! | `description` | yes | text |
//! | `contact_email` | yes | e-mail address |
//! | `tags` | yes | in CSV separated by `;`, in JSON a list |
//! | `forward_query` | yes; empty: `false` | `true`, `false` |
//! | `expires_at` | yes | RFC 3339; empty, in JSON `null`: never |
//! | `created_at` | by the import only | RFC 3339 |
//! | `clicks` | never: clicks are what merlink itself counted | number |
//!
//! A column that isn't read may be there, so that whatever was exported can be read again. CSV is RFC 4180's, UTF-8, with a header row.
//! [`read`] takes files apart, [`columns`] knows the exports of other shorteners, [`write`] puts links together. Nothing here knows files,
//! HTTP or Redis.

pub mod columns;
pub mod nginx;
pub mod read;
pub mod write;

use std::{borrow::Cow, fmt::Display, sync::Arc, time::Duration};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::domain::{
    Code, Description, Email, EmailDomains, LinkState, Tag, Tags, Target, TargetError, TargetRules,
    code::InvalidCode,
    email::InvalidEmail,
    link::{DESCRIPTION_CHARS_MAX, InvalidDescription, InvalidTag, TAG_BYTES_MAX, TAGS_MAX, TooManyTags},
};
use columns::Dialect;
use read::Record;

/// What separates tags in a cell.
pub const TAG_SEPARATOR: char = ';';

/// Links of one file are taken to be created in its order, so many in a millisecond, about as fast as an import is. With one time for all,
/// an index could hold them only in one piece, however many; two milliseconds' fill a part.
const IN_A_MILLISECOND: u64 = 60;

/// When the link of a row is created, of a file that is read at this time.
pub fn created_at(read_at: Timestamp, row: u64) -> Timestamp {
    read_at + Duration::from_millis(row / IN_A_MILLISECOND)
}

/// A column, in the order in which they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    Code,
    TargetUrl,
    State,
    Owner,
    Description,
    ContactEmail,
    Tags,
    ForwardQuery,
    ExpiresAt,
    CreatedAt,
    Clicks,
}

impl Field {
    pub const ALL: [Self; 11] = [
        Self::Code,
        Self::TargetUrl,
        Self::State,
        Self::Owner,
        Self::Description,
        Self::ContactEmail,
        Self::Tags,
        Self::ForwardQuery,
        Self::ExpiresAt,
        Self::CreatedAt,
        Self::Clicks,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::TargetUrl => "target_url",
            Self::State => "state",
            Self::Owner => "owner",
            Self::Description => "description",
            Self::ContactEmail => "contact_email",
            Self::Tags => "tags",
            Self::ForwardQuery => "forward_query",
            Self::ExpiresAt => "expires_at",
            Self::CreatedAt => "created_at",
            Self::Clicks => "clicks",
        }
    }
}

/// What a row says of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `None`: any that is free.
    pub code: Option<Code>,
    pub target: Target,
    pub state: LinkState,
    pub owner: Email,
    pub description: Description,
    pub contact_email: Option<Email>,
    pub tags: Tags,
    pub forward_query: bool,
    pub expires_at: Option<Timestamp>,
    /// `None`: the row doesn't say.
    pub created_at: Option<Timestamp>,
}

/// What is wrong with one cell of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `None`: the row as a whole.
    pub field: Option<Field>,
    pub wrong: Wrong,
}

/// What can be wrong with a cell, in English; the console has words of its own for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Wrong {
    #[error("is required")]
    Missing,
    #[error("is required: no column says whose the link is, nor does --owner")]
    NoOwner,
    #[error("{InvalidCode}")]
    Code,
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("must be active or inactive")]
    State,
    #[error("{InvalidEmail}")]
    Email,
    #[error("is no officer's address: officers.email_domains doesn't allow it")]
    NoOfficer,
    #[error("must be an officer's address, since citizens are told to ask it: officers.email_domains doesn't allow it")]
    NoOfficersContact,
    #[error("{InvalidDescription}")]
    Description,
    #[error("{InvalidTag}")]
    Tag,
    #[error("{TooManyTags}")]
    TooManyTags,
    #[error("must be true or false")]
    Flag,
    #[error("must be a time before 9999-12-30, as 2026-01-31T23:59:59Z")]
    Time,
    #[error("lies in the future")]
    Future,
    #[error("lies before 1970")]
    TooEarly,
    /// What isn't read off the cell alone.
    #[error("{0}")]
    Other(String),
}

impl Display for Mistake {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.field {
            Some(field) => write!(formatter, "{}: {}", field.name(), self.wrong),
            None => self.wrong.fmt(formatter),
        }
    }
}

/// What all rows of a file are measured by.
#[derive(Clone, Debug)]
pub struct Rules {
    pub targets: Arc<TargetRules>,
    pub email_domains: EmailDomains,
    /// If set, anybody may be a contact. Only the operator's import: it brings in what another service had.
    pub any_contact: bool,
    /// Whose the links are that don't say it.
    pub owner: Option<Email>,
    pub now: Timestamp,
}

impl Rules {
    /// Reads a row of a file in `dialect`.
    ///
    /// # Errors
    ///
    /// Every mistake in it.
    pub fn read(&self, record: &Record, dialect: Dialect) -> Result<Row, Vec<Mistake>> {
        if let Some(broken) = &record.broken {
            return Err(vec![Mistake { field: None, wrong: Wrong::Other(broken.to_string()) }]);
        }
        let foreign = dialect != Dialect::Merlink;
        let mut cells = Cells { record, mistakes: Vec::new() };
        let code = cells.read(Field::Code, |text| {
            // Others tell `Abc` from `abc`. Here both lead to one link, so that is its code.
            let text = if foreign { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) };
            text.parse::<Code>().map_err(|_| Wrong::Code)
        });
        let target = cells.required(Field::TargetUrl, |text| Target::parse(text, &self.targets));
        let state = cells.read(Field::State, parse_state);
        let owner = match cells.read(Field::Owner, |text| self.parse_owner(text)).or_else(|| self.owner.clone()) {
            None if record.cell(Field::Owner).is_empty() => {
                cells.mistake(Field::Owner, Wrong::NoOwner);
                None
            }
            owner => owner,
        };
        let description = cells.read(Field::Description, |text| {
            let text = if foreign { Cow::Owned(shorten(text)) } else { Cow::Borrowed(text) };
            text.parse::<Description>().map_err(|_| Wrong::Description)
        });
        let contact_email = cells.read(Field::ContactEmail, |text| self.parse_contact(text));
        let tags = cells.read(Field::Tags, |text| if foreign { Ok(liken_tags(text)) } else { parse_tags(text) });
        let forward_query = cells.read(Field::ForwardQuery, parse_flag);
        let expires_at = cells.read(Field::ExpiresAt, parse_time);
        let created_at = match cells.read(Field::CreatedAt, |text| self.parse_past(text)) {
            // A date in whatever words another program writes is no reason to leave a link behind.
            None if foreign => {
                cells.mistakes.retain(|mistake| mistake.field != Some(Field::CreatedAt));
                None
            }
            created_at => created_at,
        };
        match (target, owner) {
            (Some(target), Some(owner)) if cells.mistakes.is_empty() => Ok(Row {
                code,
                target,
                state: state.unwrap_or(LinkState::Active),
                owner,
                description: description.unwrap_or_default(),
                contact_email,
                tags: tags.unwrap_or_default(),
                forward_query: forward_query.unwrap_or(false),
                expires_at,
                created_at,
            }),
            _ => Err(cells.mistakes),
        }
    }

    fn parse_owner(&self, text: &str) -> Result<Email, Wrong> {
        let email = parse_email(text)?;
        if self.email_domains.matches(&email) { Ok(email) } else { Err(Wrong::NoOfficer) }
    }

    fn parse_contact(&self, text: &str) -> Result<Email, Wrong> {
        let email = parse_email(text)?;
        let may_be = self.any_contact || self.email_domains.matches(&email);
        if may_be { Ok(email) } else { Err(Wrong::NoOfficersContact) }
    }

    fn parse_past(&self, text: &str) -> Result<Timestamp, Wrong> {
        let at = parse_time(text)?;
        if at > self.now {
            Err(Wrong::Future)
        } else if at < Timestamp::UNIX_EPOCH {
            Err(Wrong::TooEarly)
        } else {
            Ok(at)
        }
    }
}

/// The cells of a row, and what is wrong with them so far.
struct Cells<'r> {
    record: &'r Record,
    mistakes: Vec<Mistake>,
}

impl Cells<'_> {
    fn mistake(&mut self, field: Field, wrong: impl Into<Wrong>) {
        self.mistakes.push(Mistake { field: Some(field), wrong: wrong.into() });
    }

    /// What `parse` makes of a cell; nothing of an empty one.
    fn read<T, E: Into<Wrong>>(&mut self, field: Field, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match Some(self.record.cell(field)).filter(|text| !text.is_empty()).map(parse)? {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistake(field, error);
                None
            }
        }
    }

    fn required<T, E: Into<Wrong>>(&mut self, field: Field, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        if self.record.cell(field).is_empty() {
            self.mistake(field, Wrong::Missing);
        }
        self.read(field, parse)
    }
}

fn parse_email(text: &str) -> Result<Email, Wrong> {
    text.parse().map_err(|_| Wrong::Email)
}

fn parse_state(text: &str) -> Result<LinkState, Wrong> {
    let found = LinkState::ALL.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(text));
    found.ok_or(Wrong::State)
}

pub fn parse_flag(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(Wrong::Flag),
    }
}

fn parse_tags(text: &str) -> Result<Tags, Wrong> {
    let tags: Result<Vec<Tag>, _> =
        text.split(TAG_SEPARATOR).map(str::trim).filter(|tag| !tag.is_empty()).map(str::parse).collect();
    Tags::new(tags.map_err(|_| Wrong::Tag)?).map_err(|_| Wrong::TooManyTags)
}

/// RFC 3339; without an offset, as `YYYY-MM-DD HH:MM:SS`, in UTC; or the seconds since 1970.
fn parse_time(text: &str) -> Result<Timestamp, Wrong> {
    let text = text.trim();
    let seconds = || Timestamp::from_second(text.parse().ok()?).ok();
    let civil = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    text.parse().ok().or_else(civil).or_else(seconds).ok_or(Wrong::Time)
}

/// The tags of another program, as like as ours can be: `Tax & GST` becomes `Tax-GST`.
fn liken_tags(text: &str) -> Tags {
    let words = text.split([TAG_SEPARATOR, '|', ',']).filter_map(|tag| {
        let is_ours = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let parts: Vec<&str> = tag.split(|c| !is_ours(c)).filter(|part| !part.is_empty()).collect();
        let mut word = parts.join("-");
        word.truncate(TAG_BYTES_MAX);
        word.parse::<Tag>().ok()
    });
    let mut kept: Vec<Tag> = Vec::new();
    for word in words {
        if kept.len() < TAGS_MAX && !kept.contains(&word) {
            kept.push(word);
        }
    }
    Tags::new(kept).unwrap_or_default()
}

/// A title of another program on one line, as much of it as fits.
fn shorten(text: &str) -> String {
    let line = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    line.collect::<Vec<_>>().join(" ").chars().take(DESCRIPTION_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use read::Reader;

    fn rules() -> Rules {
        Rules {
            targets: Arc::new(TargetRules { own_host: "go.agency.gov.sg".to_owned(), ..TargetRules::default() }),
            email_domains: EmailDomains::parse(&["*.gov.sg".to_owned()]).expect("globs"),
            any_contact: true,
            owner: Some("amy@agency.gov.sg".parse().expect("an address")),
            now: "2026-11-25T00:00:00Z".parse().expect("a time"),
        }
    }

    fn rows(file: &str) -> Vec<Result<Row, Vec<Mistake>>> {
        let mut reader = Reader::new(file.as_bytes()).expect("a file");
        let dialect = reader.dialect();
        std::iter::from_fn(|| reader.next().expect("can be read"))
            .map(|record| rules().read(&record, dialect))
            .collect()
    }

    fn row(file: &str) -> Row {
        rows(file).pop().expect("a row").unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
    }

    fn said(file: &str) -> Vec<String> {
        rows(file).pop().expect("a row").expect_err("is refused").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_row_that_says_nothing_more_is_an_active_link_of_the_owner_that_was_given() {
        let row = row("target_url\nhttps://example.com/a\n");
        assert_eq!((row.code, row.target.as_str()), (None, "https://example.com/a"));
        assert_eq!((row.state, row.owner.as_str()), (LinkState::Active, "amy@agency.gov.sg"));
        assert!(row.tags.is_empty() && !row.forward_query && row.expires_at.is_none() && row.created_at.is_none());
    }

    #[test]
    fn a_row_can_say_everything() {
        let row = row(
            "code,target_url,state,owner,description,contact_email,tags,forward_query,expires_at,created_at,clicks\n\
             a,https://example.com,inactive,Ben@X.gov.sg,\"one, two\",Help@x.gov.sg,tax;GST;tax,true,2027-01-01T00:00:00+08:00,\
             2020-02-29T12:00:00.123Z,12\n",
        );
        assert_eq!(row.code.as_ref().map(Code::as_str), Some("a"));
        assert_eq!((row.state, row.owner.as_str()), (LinkState::Inactive, "ben@x.gov.sg"));
        assert_eq!(
            (row.description.as_str(), row.contact_email.as_ref().map(Email::as_str)),
            ("one, two", Some("help@x.gov.sg"))
        );
        assert_eq!(row.tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["tax", "GST"]);
        assert!(row.forward_query);
        assert_eq!(row.expires_at.map(|at| at.to_string()).as_deref(), Some("2026-12-31T16:00:00Z"));
        assert_eq!(row.created_at.map(|at| at.to_string()).as_deref(), Some("2020-02-29T12:00:00.123Z"));
    }

    #[test]
    fn every_mistake_of_a_row_is_found() {
        assert_eq!(
            said(
                "code,target_url,state,owner,description,contact_email,tags,forward_query,expires_at,created_at\n\
                  A b,http://x,on,x@evil.com,\"a\u{7}\",y,a b,maybe,soon,2099-01-01T00:00:00Z\n"
            ),
            [
                "code: a code has 1 to 255 characters of a-z, 0-9 and -",
                "target_url: the address must begin with https:// in lower case",
                "state: must be active or inactive",
                "owner: is no officer's address: officers.email_domains doesn't allow it",
                "description: a description is one line of at most 200 characters",
                "contact_email: not an e-mail address of the form name@agency.example",
                "tags: a tag has 1 to 25 characters of A-Z, a-z, 0-9, _ and -",
                "forward_query: must be true or false",
                "expires_at: must be a time before 9999-12-30, as 2026-01-31T23:59:59Z",
                "created_at: lies in the future",
            ]
        );
        assert_eq!(said("code,target_url\nx,\n"), ["target_url: is required"]);
        let nobodys = Rules { owner: None, ..rules() };
        let record = Reader::new(&b"target_url\nhttps://example.com\n"[..]).expect("a file").next();
        let mistakes =
            nobodys.read(&record.expect("readable").expect("a row"), Dialect::Merlink).expect_err("no owner");
        assert_eq!(mistakes[0].field, Some(Field::Owner));
    }

    #[test]
    fn what_others_write_is_likened_to_ours() {
        let row = row("createdAt,domain,shortCode,shortUrl,longUrl,title,tags,visits\n\
             yesterday,s.test,AbC-1,https://s.test/AbC-1,https://example.com,\"Two\nlines\",Tax & GST|tax|über-long tag with many words,7\n");
        assert_eq!(row.code.as_ref().map(Code::as_str), Some("abc-1"));
        assert_eq!(row.description.as_str(), "Two lines");
        assert_eq!(
            row.tags.iter().map(Tag::as_str).collect::<Vec<_>>(),
            ["Tax-GST", "tax", "ber-long-tag-with-many-wo"]
        );
        assert_eq!(row.created_at, None);
    }

    #[test]
    fn times_come_in_several_forms() {
        let at = |text| parse_time(text).map(|at| at.to_string());
        for text in ["2026-01-31T23:59:59Z", "2026-02-01T07:59:59+08:00", "2026-01-31 23:59:59", "1769903999"] {
            assert_eq!(at(text).as_deref(), Ok("2026-01-31T23:59:59Z"), "{text}");
        }
        for text in ["", "soon", "2026-02-30T00:00:00Z", "9999999999999999"] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
