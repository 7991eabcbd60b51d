//! What a short link is, in plain types: codes, targets, links, officers, keys.
//!
//! Pure: nothing here knows HTTP, Redis, files or the clock. Everything is parsed once, where it enters,
//! so that a function that takes a `Code` or a `Target` need not check it again.

pub mod click;
pub mod code;
pub mod colour;
pub mod email;
pub mod host_names;
pub mod key;
pub mod known_browser;
pub mod link;
pub mod otp;
pub mod session;
pub mod statistics;
pub mod target;

pub use click::{Click, Device};
pub use code::Code;
pub use colour::Colour;
pub use email::{Email, EmailDomains};
pub use host_names::{HostName, HostNames};
pub use key::{ApiKey, KeyName, PlainKey, Scope, Scopes};
pub use known_browser::{KnownBrowserId, ServiceKey};
pub use link::{Description, Link, LinkState, Source, Tag, Tags};
pub use otp::{LinkSecret, OneTimePassword};
pub use session::BrowserSecret;
pub use statistics::Statistics;
pub use target::{Target, TargetError, TargetRules};
