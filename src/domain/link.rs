//! A link: a code, where it leads, who owns it, whether it is on, and what officers say about it.
//!
//! Links are never removed: a code once used never goes to anybody else.

use std::{fmt, str::FromStr};

use jiff::Timestamp;

use super::{Code, Email, Target};

/// What `GoGovSG` allows.
pub const DESCRIPTION_CHARS_MAX: usize = 200;
pub const TAGS_MAX: usize = 10;
/// What `GoGovSG` allows.
pub const TAG_BYTES_MAX: usize = 25;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub code: Code,
    pub target: Target,
    pub owner: Email,
    pub state: LinkState,
    pub description: Description,
    /// Whom to ask about the link, when that isn't its owner.
    pub contact_email: Option<Email>,
    pub tags: Tags,
    pub source: Source,
    /// The visit's query string is appended to the target's.
    pub forward_query: bool,
    /// From then on the link answers 410.
    pub expires_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// 1 at creation, one more with each change.
    pub version: u64,
}

impl Link {
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expiry| expiry <= now)
    }
}

/// Whether the owner has the link switched on. Expiry is apart: an expired link stays `Active`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Active,
    Inactive,
}

impl LinkState {
    pub const ALL: [Self; 2] = [Self::Active, Self::Inactive];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }
}

/// The way by which a link came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Api,
    Console,
    Bulk,
    Import,
    /// A way that a later version has. No link is created with it.
    Other,
}

impl Source {
    /// All by which links are created.
    pub const ALL: [Self; 4] = [Self::Api, Self::Console, Self::Bulk, Self::Import];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Console => "console",
            Self::Bulk => "bulk",
            Self::Import => "import",
            Self::Other => "other",
        }
    }
}

/// One line about a link, for colleagues and for citizens who find it switched off. May be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description(Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a description is one line of at most {DESCRIPTION_CHARS_MAX} characters")]
pub struct InvalidDescription;

impl Description {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes back what [`Self::as_str`] gave, without testing it again.
    pub fn from_store(text: String) -> Self {
        Self(text.into())
    }
}

impl FromStr for Description {
    type Err = InvalidDescription;

    /// White space around it is dropped.
    fn from_str(text: &str) -> Result<Self, InvalidDescription> {
        let text = text.trim();
        // Line and paragraph separators break lines in a browser; the bidirectional controls make a text read as another.
        let unprintable = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let well_formed = text.chars().count() <= DESCRIPTION_CHARS_MAX && !text.chars().any(unprintable);
        if well_formed { Ok(Self(text.into())) } else { Err(InvalidDescription) }
    }
}

/// A word that groups links: `[A-Za-z0-9_-]`, 1 to 25 of them. Kept as written, compared without regard to case.
#[derive(Clone, Debug)]
pub struct Tag(Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag has 1 to {TAG_BYTES_MAX} characters of A-Z, a-z, 0-9, _ and -")]
pub struct InvalidTag;

impl Tag {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same for all spellings of a tag.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Tag {}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let well_formed = (1..=TAG_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if well_formed { Ok(Self(text.into())) } else { Err(InvalidTag) }
    }
}

/// A link's tags: at most ten, in the order in which they were given, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<Tag>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a link has at most {TAGS_MAX} tags")]
pub struct TooManyTags;

impl Tags {
    /// A tag that is there already, in whatever case, is left out.
    ///
    /// # Errors
    ///
    /// When more than ten are left.
    pub fn new(tags: impl IntoIterator<Item = Tag>) -> Result<Self, TooManyTags> {
        let mut kept: Vec<Tag> = Vec::new();
        for tag in tags {
            if !kept.contains(&tag) {
                kept.push(tag);
            }
        }
        if kept.len() <= TAGS_MAX { Ok(Self(kept)) } else { Err(TooManyTags) }
    }

    /// Takes back tags that were tested before; what is no tag is left out.
    pub fn from_store<'a>(tags: impl IntoIterator<Item = &'a str>) -> Self {
        Self(tags.into_iter().filter_map(|tag| tag.parse().ok()).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Tag> {
        self.0.iter()
    }

    pub fn contains(&self, tag: &Tag) -> bool {
        self.0.contains(tag)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_one_line_of_up_to_200_characters() {
        assert_eq!(
            "  Tax, 税 \t".parse::<Description>().map(|text| text.as_str().to_owned()),
            Ok("Tax, 税".to_owned())
        );
        assert_eq!("".parse::<Description>(), Ok(Description::default()));
        assert!("税".repeat(200).parse::<Description>().is_ok());
        for bad in ["税".repeat(201), "a\nb".to_owned(), "a\u{202e}b".to_owned(), "a\u{0}b".to_owned()] {
            assert_eq!(bad.parse::<Description>(), Err(InvalidDescription), "{bad:?}");
        }
    }

    #[test]
    fn tags_differ_by_more_than_case() {
        let tags = |texts: &[&str]| Tags::new(texts.iter().map(|text| text.parse().expect("a tag")));
        let kept = tags(&["Tax", "tax", "GST_2026"]).expect("two tags");
        assert_eq!(kept.iter().map(Tag::as_str).collect::<Vec<_>>(), ["Tax", "GST_2026"]);
        assert!(kept.contains(&"TAX".parse().expect("a tag")));
        let ten: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
        let ten: Vec<&str> = ten.iter().map(String::as_str).collect();
        assert!(tags(&ten).is_ok());
        assert_eq!(tags(&[&ten[..], &["t10"]].concat()), Err(TooManyTags));
    }

    #[test]
    fn a_tag_is_a_short_word() {
        assert!("a".repeat(25).parse::<Tag>().is_ok());
        for bad in ["", "a b", "a;b", "é", &"a".repeat(26)] {
            assert_eq!(bad.parse::<Tag>().map(|tag| tag.to_string()), Err(InvalidTag), "{bad}");
        }
    }
}
