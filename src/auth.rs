//! Authorization: from an `Authorization` header to an officer, and for keys and sessions alike the decision in [`may_act`].
//!
//! Permission is part of the type: a handler that takes a `Caller<LinksWrite>` can't be reached by a key that lacks the scope, and one that
//! forgot to ask has no officer to act for.

use std::marker::PhantomData;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use jiff::Timestamp;

use crate::{
    config::Officers,
    domain::{ApiKey, Email, PlainKey, Scope, key::LAST_USED_PRECISION},
    metrics::AuthFailure,
    state::App,
    store::{Actor, FoundKey, Reach, StoreError},
};

/// What a handler asks of its caller.
pub trait Permission {
    /// `None`: any key will do.
    const SCOPE: Option<Scope>;
    /// Only those named in `officers.admins`.
    const ADMIN: bool;
}

#[derive(Debug)]
pub struct LinksRead;
#[derive(Debug)]
pub struct LinksWrite;
/// Creating links for others.
#[derive(Debug)]
pub struct LinksWriteForAnyone;

#[derive(Debug)]
pub struct StatsRead;
#[derive(Debug)]
pub struct KeysWrite;
/// Nothing but a good key.
#[derive(Debug)]
pub struct Anything;

impl Permission for LinksRead {
    const SCOPE: Option<Scope> = Some(Scope::LinksRead);
    const ADMIN: bool = false;
}

impl Permission for LinksWrite {
    const SCOPE: Option<Scope> = Some(Scope::LinksWrite);
    const ADMIN: bool = false;
}

impl Permission for LinksWriteForAnyone {
    const SCOPE: Option<Scope> = Some(Scope::LinksWrite);
    const ADMIN: bool = true;
}

impl Permission for StatsRead {
    const SCOPE: Option<Scope> = Some(Scope::StatsRead);
    const ADMIN: bool = false;
}

impl Permission for KeysWrite {
    const SCOPE: Option<Scope> = Some(Scope::KeysWrite);
    const ADMIN: bool = false;
}

impl Permission for Anything {
    const SCOPE: Option<Scope> = None;
    const ADMIN: bool = false;
}

/// An officer who has shown a good key.
#[derive(Clone, Debug)]
pub struct Officer {
    pub email: Email,
    pub key_id: String,
    key: ApiKey,
    is_admin: bool,
}

/// An officer who may do what `P` says.
#[derive(Clone, Debug)]
pub struct Caller<P> {
    pub officer: Officer,
    permission: PhantomData<P>,
}

#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("there is no Authorization header")]
    MissingHeader,
    #[error("the Authorization header is not \"Bearer <key>\"")]
    MalformedHeader,
    #[error("the key is unknown, revoked or expired, or its officer may not use this service now")]
    InvalidKey,
    /// Answered like [`Self::InvalidKey`]; counted apart.
    #[error("the key is unknown, revoked or expired, or its officer may not use this service now")]
    Barred(Barred),
    #[error("the officer is not an admin")]
    NotAdmin,
    #[error("the key lacks the scope {}", .0.as_str())]
    MissingScope(Scope),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuthError {
    fn kind(&self) -> Option<AuthFailure> {
        match self {
            Self::MissingHeader => Some(AuthFailure::MissingHeader),
            Self::MalformedHeader => Some(AuthFailure::MalformedHeader),
            Self::InvalidKey | Self::Barred(Barred::KeyEnded) => Some(AuthFailure::InvalidKey),
            Self::Barred(Barred::NotAnOfficer) => Some(AuthFailure::NotAnOfficer),
            Self::Barred(Barred::Suspended) => Some(AuthFailure::Suspended),
            Self::NotAdmin => Some(AuthFailure::NotAdmin),
            Self::MissingScope(_) => Some(AuthFailure::MissingScope),
            Self::Store(_) => None,
        }
    }
}

/// Why nobody may act by a key or a session that was once good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// `officers.email_domains` doesn't allow the address, or no longer.
    NotAnOfficer,
    Suspended,
    /// The key, or one above it, is revoked, expired or gone.
    KeyEnded,
}

/// Decides who may act. Each API call, with its key, and each request to the console, with none, is decided here and nowhere else.
///
/// # Errors
///
/// Why they may not.
pub fn may_act(
    officers: &Officers,
    email: &Email,
    is_suspended: bool,
    key: Option<&FoundKey>,
    now: Timestamp,
) -> Result<(), Barred> {
    if !officers.email_domains.matches(email) {
        return Err(Barred::NotAnOfficer);
    }
    if is_suspended {
        return Err(Barred::Suspended);
    }
    if key.is_some_and(|found| found.is_cut_off || !found.key.is_usable(now)) {
        return Err(Barred::KeyEnded);
    }
    Ok(())
}

/// Finds the officer whose key the request carries.
///
/// # Errors
///
/// What is wrong with the header or the key; an outage is an outage, never a wrong key.
pub async fn authenticate(app: &App, headers: &HeaderMap) -> Result<Officer, AuthError> {
    count(app, find_officer(app, headers).await)
}

impl Officer {
    /// Who the history says made a change.
    pub fn actor(&self) -> Actor {
        Actor::ApiKey(self.key_id.clone())
    }

    /// Whether `officers.admins` names them. What they may do as such, their key says.
    pub fn is_admin(&self) -> bool {
        self.is_admin
    }

    /// Whose links they may see and change with this key.
    pub fn reach(&self) -> Reach {
        if self.is_admin && self.key.scopes.contains(Scope::Admin) {
            Reach::Everybodys
        } else {
            Reach::Own(self.email.clone())
        }
    }

    pub fn key(&self) -> &ApiKey {
        &self.key
    }

    /// Turns the officer into a caller who may do what `P` says.
    ///
    /// # Errors
    ///
    /// When they may not: first as a person, then by the key's scopes.
    pub fn permit<P: Permission>(self, app: &App) -> Result<Caller<P>, AuthError> {
        let permitted = match P::SCOPE {
            _ if P::ADMIN && !self.is_admin => Err(AuthError::NotAdmin),
            Some(scope) if !self.key.scopes.contains(scope) => Err(AuthError::MissingScope(scope)),
            Some(_) | None => Ok(Caller { officer: self, permission: PhantomData }),
        };
        count(app, permitted)
    }
}

async fn find_officer(app: &App, headers: &HeaderMap) -> Result<Officer, AuthError> {
    let header = headers.get(AUTHORIZATION).ok_or(AuthError::MissingHeader)?;
    let mut parts = header.as_bytes().split(|byte| *byte == b' ');
    let (Some(b"Bearer"), Some(key)) = (parts.next(), parts.next()) else { return Err(AuthError::MalformedHeader) };
    let plain: PlainKey = str::from_utf8(key).ok().and_then(|key| key.parse().ok()).ok_or(AuthError::InvalidKey)?;
    let found = app.store.find_key_for_call(plain.id()).await?.ok_or(AuthError::InvalidKey)?;
    // The hash first: nothing about a key is told to who doesn't hold it.
    if !found.key.hash.matches(&plain) {
        return Err(AuthError::InvalidKey);
    }
    may_act(&app.config.officers, &found.key.owner, found.is_suspended, Some(&found), Timestamp::now())
        .map_err(AuthError::Barred)?;
    let key = found.key;
    note_use(app, &key).await;
    let is_admin = app.config.officers.admins.contains(&key.owner);
    Ok(Officer { email: key.owner.clone(), key_id: key.id.clone(), key, is_admin })
}

/// Keeps when a key was last used, to the minute: a write for each request would cost more than most requests.
async fn note_use(app: &App, key: &ApiKey) {
    let now = Timestamp::now();
    let is_fresh = |at: Timestamp| now.duration_since(at) < LAST_USED_PRECISION;
    if key.last_used_at.is_some_and(is_fresh) {
        return;
    }
    if let Err(error) = app.store.note_key_used(&key.id, now).await {
        tracing::debug!("a key's use couldn't be noted: {error}");
    }
}

fn count<T>(app: &App, result: Result<T, AuthError>) -> Result<T, AuthError> {
    if let Some(kind) = result.as_ref().err().and_then(AuthError::kind) {
        app.metrics.auth_failure(kind);
    }
    result
}
