//! API keys: `mlk_<id>_<secret>`, recognisable to secret scanners.
//!
//! The id is public and names the key in lists and logs; the secret is shown once and kept only as a hash. A secret has 256 bits, so one
//! round of SHA-256 is enough: there is nothing to guess, hence nothing to slow down.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Email;

const PREFIX: &str = "mlk";
const ID_LENGTH: usize = 12;
/// 43 of 62 characters: 256.03 bits.
const SECRET_LENGTH: usize = 43;

/// Between two notes of a key's use. Keeping each would cost a write a request.
pub const LAST_USED_PRECISION: SignedDuration = SignedDuration::from_mins(1);

pub const KEY_NAME_CHARS_MAX: usize = 100;

const LOWER_ALPHANUMERIC: [char; 36] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm',
    'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z',
];
pub(super) const ALPHANUMERIC: [char; 62] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm',
    'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J',
    'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z',
];

/// A key as its holder sends it. Never printed by `Debug`, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainKey {
    id: String,
    secret: String,
}

/// What a key is for, in its owner's words: one line, perhaps empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyName(Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is one line of at most {KEY_NAME_CHARS_MAX} characters")]
pub struct InvalidKeyName;

/// SHA-256 of a key's secret.
#[derive(Clone, Debug)]
pub struct SecretHash([u8; 32]);

/// What is known of a key, its secret apart.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub id: String,
    pub hash: SecretHash,
    pub owner: Email,
    pub name: KeyName,
    pub scopes: Scopes,
    /// Ids of the keys above it: the first that an officer made by other means, then the key that this one made, and so on to its maker.
    /// Empty for a key that no key made. `None` for a key from before this was recorded.
    pub ancestors: Option<Vec<String>>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// To the minute.
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    LinksRead,
    LinksWrite,
    StatsRead,
    KeysWrite,
    /// Any owner's links; of use only to those who are named in `officers.admins`.
    Admin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key: keys look like mlk_<id>_<secret>")]
pub struct InvalidKey;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope \"{0}\"; scopes are links:read, links:write, stats:read, keys:write and admin")]
pub struct InvalidScope(String);

impl PlainKey {
    /// Draws a new key from the system's random generator.
    pub fn random() -> Self {
        Self {
            id: nanoid::nanoid!(ID_LENGTH, &LOWER_ALPHANUMERIC),
            secret: nanoid::nanoid!(SECRET_LENGTH, &ALPHANUMERIC),
        }
    }

    /// The same id with each draw from the same seed, and another secret each time.
    pub fn random_with_id_from(seed: &str) -> Self {
        let digest = Sha256::new().chain_update("key").chain_update(seed).finalize();
        let letter = |byte: &u8| LOWER_ALPHANUMERIC[usize::from(*byte) % LOWER_ALPHANUMERIC.len()];
        Self { id: digest.iter().take(ID_LENGTH).map(letter).collect(), ..Self::random() }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(&self.secret).into())
    }

    /// The whole key: to be shown to its holder once, and to nobody else.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}_{}_{}", self.id, self.secret)
    }
}

impl FromStr for PlainKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let mut parts = text.splitn(3, '_');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(PREFIX), Some(id), Some(secret))
                if id.len() == ID_LENGTH
                    && secret.len() == SECRET_LENGTH
                    && (id.bytes().chain(secret.bytes())).all(|byte| byte.is_ascii_alphanumeric()) =>
            {
                Ok(Self { id: id.to_owned(), secret: secret.to_owned() })
            }
            _ => Err(InvalidKey),
        }
    }
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}_{}_…", self.id)
    }
}

impl KeyName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes back what [`Self::as_str`] gave, without testing it again.
    pub fn from_store(text: String) -> Self {
        Self(text.into())
    }
}

impl FromStr for KeyName {
    type Err = InvalidKeyName;

    /// White space around it is dropped.
    fn from_str(text: &str) -> Result<Self, InvalidKeyName> {
        let well_formed = text.chars().count() <= KEY_NAME_CHARS_MAX && !text.chars().any(char::is_control);
        if well_formed { Ok(Self(text.trim().into())) } else { Err(InvalidKeyName) }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl SecretHash {
    /// Compares in constant time, so that a guess's success can't be measured byte by byte.
    pub fn matches(&self, key: &PlainKey) -> bool {
        self.0.ct_eq(&key.hash().0).into()
    }

    pub fn to_hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl ApiKey {
    /// True if it is neither revoked nor expired. Its owner and the keys above it also decide if it may act.
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.ended_at(now).is_none()
    }

    /// When it was revoked or expired, whichever came first. `None` while it is usable.
    pub fn ended_at(&self, now: Timestamp) -> Option<Timestamp> {
        let expired_at = self.expires_at.filter(|expiry| *expiry <= now);
        self.revoked_at.into_iter().chain(expired_at).min()
    }

    /// The key that made it.
    pub fn maker(&self) -> Option<&str> {
        self.ancestors.as_ref()?.last().map(String::as_str)
    }

    pub fn is_below(&self, other: &Self) -> bool {
        self.ancestors.iter().flatten().any(|id| *id == other.id)
    }

    /// True if `maker` can have made this key of the same owner, when who made it isn't recorded: by its scopes, and in its time.
    pub fn may_be_made_by(&self, maker: &Self) -> bool {
        let in_its_time = |last_used_at: Timestamp| {
            maker.created_at <= self.created_at && self.created_at < last_used_at + LAST_USED_PRECISION
        };
        self.ancestors.is_none()
            && self.id != maker.id
            && maker.scopes.contains(Scope::KeysWrite)
            && self.scopes.iter().all(|scope| maker.scopes.contains(scope))
            && maker.last_used_at.is_some_and(in_its_time)
    }
}

impl Scope {
    pub const ALL: [Self; 5] = [Self::LinksRead, Self::LinksWrite, Self::StatsRead, Self::KeysWrite, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::LinksRead => "links:read",
            Self::LinksWrite => "links:write",
            Self::StatsRead => "stats:read",
            Self::KeysWrite => "keys:write",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| InvalidScope(text.to_owned()))
    }
}

impl Scopes {
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }

    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }
}

impl Default for Scopes {
    /// All but `admin`.
    fn default() -> Self {
        Self::new(Scope::ALL.into_iter().filter(|scope| *scope != Scope::Admin))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|scope| scope.as_str()).collect();
        formatter.write_str(&names.join(" "))
    }
}

impl FromStr for Scopes {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        Ok(Self::new(text.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_as_it_was_shown() {
        let key = PlainKey::random();
        let shown = key.reveal();
        assert_eq!(shown.len(), 4 + 12 + 1 + 43);
        assert_eq!(shown.parse::<PlainKey>().as_ref(), Ok(&key));
        assert!(key.hash().matches(&key));
        assert!(!key.hash().matches(&PlainKey::random()));
        let stored = SecretHash::from_hex(&key.hash().to_hex()).expect("hexadecimal");
        assert!(stored.matches(&key));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let good = PlainKey::random().reveal();
        for bad in [
            "",
            "mlk",
            "mlk__",
            "mlk_a_b",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}x"),
            &good.replace("mlk_", "mlk-"),
        ] {
            assert_eq!(bad.parse::<PlainKey>(), Err(InvalidKey), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_never_shown_by_debug() {
        let key = PlainKey::random();
        assert!(!format!("{key:?}").contains(&key.secret));
    }

    #[test]
    fn a_key_ends_with_its_expiry_or_its_revocation() {
        let now = Timestamp::from_second(1000).expect("a time");
        let key = PlainKey::random();
        let fresh = ApiKey {
            id: key.id().to_owned(),
            hash: key.hash(),
            owner: Email::from_store("a@x.gov.sg".to_owned()),
            name: KeyName::default(),
            scopes: Scopes::default(),
            ancestors: Some(Vec::new()),
            created_at: now,
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
        };
        assert!(fresh.is_usable(now));
        assert!(!ApiKey { revoked_at: Some(now), ..fresh.clone() }.is_usable(now));
        assert!(!ApiKey { expires_at: Some(now), ..fresh.clone() }.is_usable(now));
        let later = Timestamp::from_second(1001).expect("a time");
        assert!(ApiKey { expires_at: Some(later), ..fresh }.is_usable(now));
    }

    #[test]
    fn a_name_is_one_line_of_a_hundred_characters() {
        assert_eq!(" nightly import ".parse::<KeyName>().map(|name| name.to_string()), Ok("nightly import".to_owned()));
        assert!("".parse::<KeyName>().is_ok() && "税".repeat(100).parse::<KeyName>().is_ok());
        for bad in ["two\nlines", "a\u{7f}", &"n".repeat(101)] {
            assert_eq!(bad.parse::<KeyName>(), Err(InvalidKeyName), "{bad:?}");
        }
    }

    #[test]
    fn scopes_are_read_and_written_in_one_order() {
        let scopes: Scopes = "stats:read links:read links:read".parse().expect("scopes");
        assert_eq!(scopes.to_string(), "links:read stats:read");
        assert!("links:delete".parse::<Scopes>().is_err());
        assert!(!Scopes::default().contains(Scope::Admin));
    }
}
