//! What the audit trail says of a change: who, when, what, and how it was before.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Actor, Store, StoreError};
use crate::domain::{ApiKey, Link, Scope, Tag};

/// A line of the trail.
#[derive(Serialize)]
struct Entry<'a> {
    at: String,
    event: &'static str,
    by: String,
    /// `unknown`: Redis' answer was lost on the way, and the change may have been made or not.
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

    fn trail<T>(&self, event: &'static str, at: Timestamp, by: &Actor, result: &Result<T, StoreError>, what: What<'_>) {
        let outcome = if result.is_ok() { "done" } else { "unknown" };
        self.audit.write(&Entry { at: format!("{at:.3}"), event, by: name(by), outcome, what });
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
