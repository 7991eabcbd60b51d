//! The secret that a browser holds for the console, and what is derived from it.
//!
//! Every browser that opens the console gets one, before anybody has logged in; login replaces it, so that a secret somebody else planted
//! never becomes a session. Everything else is derived from it by SHA-256, each with a word of its own in front, so that none tells another: the
//! session's id in the store and in the audit file, the token in forms, and the hashes of a one-time password and a login link. The secret itself
//! is kept nowhere but in the browser's cookie: a copy of the store opens no session and shows no password, however short it is.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Email, LinkSecret, OneTimePassword, key::ALPHANUMERIC};

/// 43 of 62 characters: 256.03 bits.
const LENGTH: usize = 43;

/// Never printed by `Debug`, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct BrowserSecret(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a browser's secret")]
pub struct InvalidSecret;

impl BrowserSecret {
    /// Draws a new one from the system's random generator.
    pub fn random() -> Self {
        Self(nanoid::nanoid!(LENGTH, &ALPHANUMERIC))
    }

    /// The cookie's value: for this browser, and for nobody else.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// By what the store knows the session.
    pub fn session_id(&self) -> String {
        self.derive("session", &[])
    }

    /// What every form of this browser carries: a page of another site can send a form here, but can't read this.
    pub fn form_token(&self) -> String {
        self.derive("form", &[])
    }

    /// Whether a form came from a page that this browser was given. In constant time.
    pub fn gave(&self, form_token: &str) -> bool {
        self.form_token().as_bytes().ct_eq(form_token.as_bytes()).into()
    }

    /// By what the store knows which browser asked for a one-time password.
    pub fn browser_id(&self) -> String {
        self.derive("browser", &[])
    }

    /// What is kept of a one-time password that was asked for by this browser.
    pub fn otp_hash(&self, email: &Email, otp: &OneTimePassword) -> String {
        self.derive("password", &[email.as_str(), otp.reveal()])
    }

    /// The hash that is kept of a login link that was asked for by this browser.
    pub fn link_hash(&self, email: &Email, link: &LinkSecret) -> String {
        self.derive("link", &[email.as_str(), link.reveal()])
    }

    /// The name of this session in the audit file: 64 bits, enough to tell sessions apart, and nothing to log in with.
    pub fn audit_id(&self) -> String {
        let mut id = self.derive("audit", &[]);
        id.truncate(16);
        id
    }

    fn derive(&self, purpose: &str, more: &[&str]) -> String {
        use fmt::Write as _;
        let mut digest = Sha256::new();
        for part in [purpose, &self.0].iter().chain(more) {
            digest.update(part);
            digest.update([0]);
        }
        digest.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl FromStr for BrowserSecret {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let well_formed = text.len() == LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if well_formed { Ok(Self(text.to_owned())) } else { Err(InvalidSecret) }
    }
}

impl fmt::Debug for BrowserSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BrowserSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_derived_differs_by_purpose_and_tells_nothing() {
        let secret = BrowserSecret::random();
        let email: Email = "a@x.gov.sg".parse().expect("an address");
        let otp = OneTimePassword::random();
        let link = LinkSecret::random();
        let derived = [
            secret.session_id(),
            secret.form_token(),
            secret.browser_id(),
            secret.otp_hash(&email, &otp),
            secret.link_hash(&email, &link),
        ];
        for (index, one) in derived.iter().enumerate() {
            assert_eq!(one.len(), 64);
            assert!(!derived[..index].contains(one));
            assert!(!one.contains(secret.reveal()));
        }
        let id = secret.audit_id();
        assert!(id.len() == 16 && derived.iter().all(|one| !one.contains(&id)));
        assert!(secret.gave(&secret.form_token()));
        assert!(!secret.gave("") && !BrowserSecret::random().gave(&secret.form_token()));
        assert_ne!(secret.otp_hash(&email, &otp), BrowserSecret::random().otp_hash(&email, &otp));
        assert!(!format!("{secret:?}").contains(secret.reveal()));
    }

    #[test]
    fn only_a_secret_is_read_back() {
        let secret = BrowserSecret::random();
        assert_eq!(secret.reveal().parse(), Ok(secret.clone()));
        for bad in ["", "a", &secret.reveal()[1..], &format!("{}a", secret.reveal()), &"é".repeat(22)] {
            assert_eq!(bad.parse::<BrowserSecret>(), Err(InvalidSecret), "{bad}");
        }
    }
}
