//! Logins that are under way: what a browser may log in with, and the limits on mails and on wrong guesses, over all nodes.
//!
//! A browser has one login under way: that of the last mail that was accepted for it. Each limit is a key of its own, so that a Cluster may keep
//! them on different nodes. A wrong guess is taken from the allowance before the password is looked at, and given back if it was right: so
//! guesses that come together never exceed it. Redis loses the last second of these counters when a replica without them becomes
//! the primary, as it loses anything else.

use std::{sync::LazyLock, time::Duration};

use jiff::Timestamp;
use redis::cmd;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, connection::Lua, keys, sessions::ms};
use crate::{
    domain::{
        Email, ServiceKey,
        otp::{OTP_LIFE, OTP_TRIES_MAX},
    },
    metrics::Operation,
};

pub(super) static TAKE_MAIL: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/take_mail.lua")));
pub(super) static ACCEPT_OTP: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/accept_otp.lua")));
pub(super) static TRY_OTP: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/try_otp.lua")));
pub(super) static TAKE_GUESS: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/take_guess.lua")));
pub(super) static RETURN_GUESS: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/return_guess.lua")));

/// In which mails and wrong guesses are counted.
const WINDOW: Duration = Duration::from_secs(3600);

/// A login that begins when its mail is accepted.
#[derive(Clone, Debug)]
pub struct PendingLogin {
    /// A hash of what the browser holds.
    pub browser: String,
    pub email: Email,
    pub asked_at: Timestamp,
    /// The page to go to.
    pub next: String,
    /// Hash of the one-time password. `None` when the mail has only the link.
    pub code: Option<String>,
    /// Hash of the link's secret.
    pub link: String,
}

/// The JSON in `otp:{browser}`. The scripts add `used` and `last`.
#[derive(Serialize, Deserialize)]
struct Kept {
    email: String,
    asked_ms: i64,
    next: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    link: String,
    tries: u32,
    #[serde(default, skip_serializing)]
    used: bool,
}

/// The login that a browser has under way.
#[derive(Clone, Debug)]
pub struct FoundLogin {
    pub email: Email,
    pub next: String,
    /// True if its password can be tried: it has one, and tries are left.
    pub takes_password: bool,
    link: String,
}

impl FoundLogin {
    /// True if `hash` is that of its link.
    pub fn has_link(&self, hash: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        self.link.as_bytes().ct_eq(hash.as_bytes()).into()
    }
}

/// The kinds of proof that a mail brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Password,
    Link,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    Right,
    Wrong,
    /// Nothing was compared: there is no such proof, it has expired, was used, or had its three tries.
    NothingToTry,
}

/// An answer to somebody who wants a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailTurn {
    pub is_granted: bool,
    /// Until another mail can be asked for. `None`: at once.
    pub next_in: Option<Duration>,
}

impl Store {
    /// The key that signs known browsers' tickets. The first call for a Redis makes it.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked, or holds what no merlink wrote.
    pub async fn service_key(&self) -> Result<ServiceKey, StoreError> {
        let text: String = self
            .ask(Operation::OtpWrite, async |redis| {
                let new = ServiceKey::random();
                cmd("SET").arg(keys::SERVICE_KEY).arg(new.reveal()).arg("NX").exec_async(redis).await?;
                cmd("GET").arg(keys::SERVICE_KEY).query_async(redis).await
            })
            .await?;
        ServiceKey::from_store(text).ok_or_else(|| StoreError::Corrupt(format!("{}: no key", keys::SERVICE_KEY)))
    }

    /// Takes a mail from the allowance of `name`: `most` within an hour.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: a mail may have been taken.
    pub async fn take_mail(&self, name: &str, most: u32, now: Timestamp) -> Result<MailTurn, StoreError> {
        let (is_granted, wait_ms): (bool, u64) = self
            .ask(Operation::OtpWrite, async |redis| {
                let mut call = TAKE_MAIL.call(keys::mails(name));
                call.arg(now.as_millisecond()).arg(ms(WINDOW)).arg(most).arg(nanoid::nanoid!(12));
                redis.run(&TAKE_MAIL, &call).await
            })
            .await?;
        Ok(MailTurn { is_granted, next_in: (wait_ms > 0).then(|| Duration::from_millis(wait_ms)) })
    }

    /// Lets a browser log in with what was mailed for it, from now on and for [`OTP_LIFE`].
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: it may or may not.
    pub async fn accept_login(&self, login: &PendingLogin) -> Result<(), StoreError> {
        let kept = Kept {
            email: login.email.as_str().to_owned(),
            asked_ms: login.asked_at.as_millisecond(),
            next: login.next.clone(),
            code: login.code.clone(),
            link: login.link.clone(),
            tries: 0,
            used: false,
        };
        let text = serde_json::to_string(&kept).expect("texts and numbers are JSON");
        self.ask(Operation::OtpWrite, async |redis| {
            let mut call = ACCEPT_OTP.call(keys::otp(&login.browser));
            call.arg(&text).arg(ms(OTP_LIFE));
            redis.run(&ACCEPT_OTP, &call).await
        })
        .await
    }

    /// Reads the login that a browser has under way.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked, or holds what no merlink wrote.
    pub async fn find_login(&self, browser: &str) -> Result<Option<FoundLogin>, StoreError> {
        let key = keys::otp(browser);
        let text: Option<String> =
            self.ask(Operation::OtpWrite, async |redis| cmd("GET").arg(&key).query_async(redis).await).await?;
        let Some(text) = text else { return Ok(None) };
        let kept: Kept =
            serde_json::from_str(&text).map_err(|_| StoreError::Corrupt("otp: no login under way".to_owned()))?;
        let takes_password = kept.code.is_some() && kept.tries < OTP_TRIES_MAX;
        let found =
            FoundLogin { email: Email::from_store(kept.email), next: kept.next, takes_password, link: kept.link };
        Ok(Some(found).filter(|_| !kept.used))
    }

    /// Tries a password or a link. Right or wrong, a password's try is counted.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: the try may have been counted.
    pub async fn try_login(&self, browser: &str, proof: Proof, hash: &str) -> Result<Tried, StoreError> {
        let field = match proof {
            Proof::Password => "code",
            Proof::Link => "link",
        };
        let answer: u8 = self
            .ask(Operation::OtpWrite, async |redis| {
                let mut call = TRY_OTP.call(keys::otp(browser));
                call.arg(field).arg(hash).arg(OTP_TRIES_MAX).arg(nanoid::nanoid!(12));
                redis.run(&TRY_OTP, &call).await
            })
            .await?;
        Ok(match answer {
            1 => Tried::Right,
            0 => Tried::Wrong,
            _ => Tried::NothingToTry,
        })
    }

    /// Takes a guess from the hour's allowance of `most` wrong ones; `false` when they are spent.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: a guess may have been taken.
    pub async fn take_guess(&self, most: u32) -> Result<bool, StoreError> {
        self.ask(Operation::OtpWrite, async |redis| {
            let mut call = TAKE_GUESS.call(keys::GUESSES.to_owned());
            call.arg(most).arg(ms(WINDOW));
            redis.run(&TAKE_GUESS, &call).await
        })
        .await
    }

    /// Gives back a guess that wasn't a wrong one.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: then there may be one less for an hour.
    pub async fn return_guess(&self) -> Result<(), StoreError> {
        self.ask(Operation::OtpWrite, async |redis| {
            redis.run(&RETURN_GUESS, &RETURN_GUESS.call(keys::GUESSES.to_owned())).await
        })
        .await
    }

    /// True if the hour's wrong guesses are spent.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn guesses_are_spent(&self, most: u32) -> Result<bool, StoreError> {
        let wrong: Option<u32> =
            self.ask(Operation::OtpWrite, async |redis| cmd("GET").arg(keys::GUESSES).query_async(redis).await).await?;
        Ok(wrong.unwrap_or(0) >= most)
    }

    /// True if this officer has logged in, has been invited, or has owned a link or a key.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn is_known_officer(&self, email: &Email) -> Result<bool, StoreError> {
        Ok(self.place_of_officer(email).await?.is_some())
    }
}
