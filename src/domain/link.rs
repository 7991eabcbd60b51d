//! A link: a code, where it leads, who owns it, whether it is on.
//!
//! Links are never removed: a code once used never goes to anybody else.

use jiff::Timestamp;

use super::{Code, Email, Target};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub code: Code,
    pub target: Target,
    pub owner: Email,
    pub state: LinkState,
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

/// Whether the owner has the link switched on. Expiry is apart: an expired link stays `Active`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Active,
    Inactive,
}

/// The way by which a link came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Api,
    Console,
    Bulk,
    Import,
}

impl Source {
    pub const ALL: [Self; 4] = [Self::Api, Self::Console, Self::Bulk, Self::Import];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Console => "console",
            Self::Bulk => "bulk",
            Self::Import => "import",
        }
    }
}
