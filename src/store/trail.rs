//! What the audit trail says of a change: who, when, what, and how it was before; and of who came in, and went.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Actor, Session, Store, StoreError};
use crate::{
    audit::failures::{Failure, Repeated},
    domain::{ApiKey, Email, Link, Scope, Tag},
    origin::Origin,
};

/// A line of the trail.
#[derive(Serialize)]
struct Entry<'a> {
    at: String,
    event: &'static str,
    by: String,
    /// An id of the console's session that `by` acted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// The client's, where `audit.addresses` is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    /// `unknown`: Redis' answer was lost on the way, and the change may have been made or not. `refused`: a login that failed.
    outcome: &'static str,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    Created {
        code: &'a str,
        link: Value,
    },
    Changed {
        code: &'a str,
        version: u64,
        from: Map<String, Value>,
        to: Map<String, Value>,
    },
    Key {
        key: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        about: Option<Value>,
    },
    Officer {
        officer: &'a str,
    },
    Session {
        /// In all browsers.
        #[serde(skip_serializing_if = "Option::is_none")]
        everywhere: Option<bool>,
        /// The session's officer. `None` when `by` names the same.
        #[serde(skip_serializing_if = "Option::is_none")]
        officer: Option<&'a str>,
    },
    Login {
        reason: &'static str,
        /// Whose account it was about, if it can be one.
        #[serde(skip_serializing_if = "Option::is_none")]
        email: Option<&'a str>,
        /// Failures that this line stands for. `None`: one.
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    },
}

/// Why a login failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFailure {
    WrongPassword,
    /// No password was mailed, since no such address may log in.
    NotAnOfficer,
    /// No password was mailed, since the officer is suspended.
    Suspended,
    /// No password was mailed, since the mailbox has had its share.
    ManyPasswords,
    /// A password wasn't looked at, since the hour's wrong guesses are spent.
    GuessesSpent,
}

impl LoginFailure {
    fn word(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong_otp",
            Self::NotAnOfficer => "not_an_officer",
            Self::Suspended => "suspended",
            Self::ManyPasswords => "many_otps",
            Self::GuessesSpent => "guesses_spent",
        }
    }
}

impl Store {
    pub(super) fn trail_created<T>(&self, link: &Link, by: &Actor, result: &Result<T, StoreError>) {
        if self.audit.is_on() {
            let what = What::Created { code: link.code.as_str(), link: Value::Object(shown(link)) };
            self.trail("link.created", link.created_at, by, result, what);
        }
    }

    pub(super) fn trail_changed<T>(&self, from: &Link, to: &Link, by: &Actor, result: &Result<T, StoreError>) {
        if self.audit.is_on() {
            let event = if from.owner == to.owner { "link.changed" } else { "link.transferred" };
            let (mut before, mut after) = (shown(from), shown(to));
            let same: Vec<String> = before
                .iter()
                .filter(|(name, value)| after.get(*name) == Some(value))
                .map(|(name, _)| name.clone())
                .collect();
            for name in same {
                before.remove(&name);
                after.remove(&name);
            }
            let what = What::Changed { code: to.code.as_str(), version: to.version, from: before, to: after };
            self.trail(event, to.updated_at, by, result, what);
        }
    }

    pub(super) fn trail_key_created<T>(&self, key: &ApiKey, by: &Actor, result: &Result<T, StoreError>) {
        let about = json!({
            "owner": key.owner.as_str(),
            "name": key.name.as_str(),
            "scopes": key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(),
            "expires_at": key.expires_at,
        });
        self.trail("key.created", key.created_at, by, result, What::Key { key: &key.id, about: Some(about) });
    }

    pub(super) fn trail_key_revoked<T>(&self, id: &str, at: Timestamp, by: &Actor, result: &Result<T, StoreError>) {
        self.trail("key.revoked", at, by, result, What::Key { key: id, about: None });
    }

    pub(super) fn trail_officer<T>(
        &self,
        event: &'static str,
        officer: &Email,
        at: Timestamp,
        by: &Actor,
        result: &Result<T, StoreError>,
    ) {
        self.trail(event, at, by, result, What::Officer { officer: officer.as_str() });
    }

    pub(super) fn trail_session_began<T>(&self, session: &Session, result: &Result<T, StoreError>) {
        let by = Actor::Session(session.email.clone());
        self.trail("session.began", session.since, &by, result, What::Session { everywhere: None, officer: None });
    }

    pub(super) fn trail_session_ended<T>(
        &self,
        email: &Email,
        everywhere: bool,
        by: &Actor,
        result: &Result<T, StoreError>,
    ) {
        let everywhere = everywhere.then_some(true);
        let officer = (*by != Actor::Session(email.clone())).then_some(email.as_str());
        self.trail("session.ended", Timestamp::now(), by, result, What::Session { everywhere, officer });
    }

    /// Writes down a login that failed. What was typed is kept only when it is the address of somebody who could be an officer: they may
    /// want to know. Refusals by `limits.logins_per_minute` aren't for here. Those that repeat an earlier one of the same minute become one line.
    pub fn trail_login_failed(&self, failure: LoginFailure, email: &Email) {
        self.trail_repeated_failures(false);
        let reason = failure.word();
        let email = (failure != LoginFailure::NotAnOfficer).then_some(email.as_str());
        if self.audit.note_failure(Failure { reason, email: email.map(str::to_owned) }) {
            let (address, _) = Origin::at_hand();
            self.trail_failure(address, What::Login { reason, email, count: None });
        }
    }

    /// Writes down the failed logins that were counted in a minute that is over; with `at_once`, in the current one too.
    pub fn trail_repeated_failures(&self, at_once: bool) {
        for Repeated { failure: Failure { reason, email }, count } in self.audit.repeated_failures(at_once) {
            self.trail_failure(None, What::Login { reason, email: email.as_deref(), count: Some(count) });
        }
    }

    fn trail_failure(&self, address: Option<IpAddr>, what: What<'_>) {
        self.audit.write(&Entry {
            at: format!("{:.3}", Timestamp::now()),
            event: "login.failed",
            by: name(&Actor::Unknown),
            session: None,
            address,
            outcome: "refused",
            what,
        });
    }

    fn trail<T>(&self, event: &'static str, at: Timestamp, by: &Actor, result: &Result<T, StoreError>, what: What<'_>) {
        let outcome = if result.is_ok() { "done" } else { "unknown" };
        let (address, session) = Origin::at_hand();
        self.audit.write(&Entry { at: format!("{at:.3}"), event, by: name(by), session, address, outcome, what });
    }
}

/// A key by its id: whose it is, the entry of its creation says.
fn name(by: &Actor) -> String {
    match by {
        Actor::ApiKey(id) => format!("key:{id}"),
        Actor::Session(email) => format!("session:{email}"),
        Actor::Operator => "operator".to_owned(),
        Actor::Unknown => "unknown".to_owned(),
    }
}

/// What an officer says about a link, by API v2's names.
fn shown(link: &Link) -> Map<String, Value> {
    let about = json!({
        "target_url": link.target.as_str(),
        "state": link.state.as_str(),
        "owner": link.owner.as_str(),
        "description": link.description.as_str(),
        "contact_email": link.contact_email.as_ref().map(|email| email.as_str().to_owned()),
        "tags": link.tags.iter().map(Tag::as_str).collect::<Vec<_>>(),
        "forward_query": link.forward_query,
        "expires_at": link.expires_at,
        "source": link.source.as_str(),
    });
    match about {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
