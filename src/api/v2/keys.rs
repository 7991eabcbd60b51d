//! An officer's own API keys.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::LOCATION},
    web::Path,
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{Call, json},
    fields::Fields,
    idempotency::Replay,
    kind::Kind,
    link::{parse_time, time},
    problem::{Mistake, Problem, ProblemBody},
    texts::ScopeText,
};
use crate::{
    auth::{KeysWrite, Officer},
    domain::{ApiKey, KeyName, Scope, Scopes},
    keys::{self, CreateError, NewKey, Unrecorded},
};

/// What is known of a key; never its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyBody {
    #[schema(example = "wc9kqglk7rpa")]
    pub id: String,
    #[schema(example = "nightly import")]
    pub name: String,
    #[schema(value_type = Vec<ScopeText>, example = json!(["links:read", "links:write"]))]
    pub scopes: Vec<&'static str>,
    #[schema(format = DateTime, value_type = String)]
    pub created_at: String,
    #[schema(format = DateTime, value_type = Option<String>, required = true)]
    pub expires_at: Option<String>,
    /// To the minute.
    #[schema(format = DateTime, value_type = Option<String>, required = true)]
    pub last_used_at: Option<String>,
    #[schema(format = DateTime, value_type = Option<String>, required = true)]
    pub revoked_at: Option<String>,
    /// The key that made it, by its id. Revoking that key revokes this one. Null for a key from the console or your operator.
    #[schema(example = json!(null), required = true)]
    pub made_by: Option<String>,
    /// Whether it works: neither revoked nor expired.
    pub usable: bool,
}

/// A new key. The only time that it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CreatedKey)]
pub struct CreatedKeyBody {
    #[serde(flatten)]
    pub about: KeyBody,
    /// The whole key. It isn't kept: keep it now.
    #[schema(example = "mlk_wc9kqglk7rpa_…")]
    pub key: String,
    /// Present when the key ends earlier than it would by itself: with the key that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ends with the key that made it")]
    pub notice: Option<&'static str>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeyList)]
pub struct KeyListBody {
    pub items: Vec<KeyBody>,
}

/// What a key is to be.
#[derive(Debug, ToSchema)]
#[schema(as = NewKey, example = json!({"name": "nightly import", "scopes": ["links:read", "links:write"]}))]
#[expect(dead_code, reason = "read by `read_key`, which finds every mistake; here it is described")]
pub struct NewKeyBody {
    #[schema(max_length = 100, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2066-\\u2069]*$")]
    name: Option<String>,
    /// At most those of the key that asks. Left out: all of its own but `admin`.
    #[schema(value_type = Option<Vec<ScopeText>>, min_items = 1)]
    scopes: Option<Vec<String>>,
    /// In the future, and no later than the end of the key that asks. Left out: when that key ends, or until either is revoked.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// List your keys.
///
/// Oldest first. Revoked and expired keys stay listed for 90 days, at most the last 1,000.
#[utoipa::path(get, path = "/keys", tag = "keys", security(("key" = ["keys:write"])), responses((status = 200, description = "Your keys", body = KeyListBody)))]
pub async fn list(call: Call<KeysWrite>) -> Result<HttpResponse, Problem> {
    let keys = call.app.store.list_api_keys(Some(&call.officer().email)).await?;
    Ok(json(StatusCode::OK, &KeyListBody { items: keys.iter().map(KeyBody::from).collect() }))
}

/// Create a key.
///
/// The answer holds the key, which is shown this once. The key ends with the key that makes it, and is revoked with it. With an Idempotency-Key a repetition makes no second key, and answers 409.
#[utoipa::path(
    post, path = "/keys", tag = "keys", request_body = NewKeyBody, security(("key" = ["keys:write"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "A repetition makes no second key, and isn't answered with the first", max_length = 255, pattern = "^[!-~]([ -~]{0,253}[!-~])?$")),
    responses(
        (status = 201, description = "Created", body = CreatedKeyBody, headers(("Location" = String))),
        (status = 409, description = "Made already by a request with this Idempotency-Key", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn create(mut call: Call<KeysWrite>) -> Result<HttpResponse, Problem> {
    let (body, bytes) = call.json().await?;
    let replay = Replay::begin(&call, &bytes).await?;
    replay
        .answer_once(&call, async |attempt| {
            let now = Timestamp::now();
            let new = read_key(Fields::new(body)?, call.officer(), now)?;
            let asked = new.expires_at;
            let (store, by) = (&call.app.store, call.officer().actor());
            let (key, plain) = match &attempt.seed {
                Some(seed) => keys::create_once(store, new, seed, now, &by).await?,
                None => keys::create(store, new, now, &by).await?,
            };
            let created = CreatedKeyBody {
                about: KeyBody::from(&key),
                key: plain.reveal(),
                notice: (key.expires_at != asked).then_some("ends with the key that made it"),
            };
            let mut response = json(StatusCode::CREATED, &created);
            let location = format!("{}/api/v2/keys/{}", call.app.config.public.base_url.as_str(), key.id);
            response.headers_mut().insert(LOCATION, location.parse().expect("an address is a header"));
            Ok(response)
        })
        .await
}

/// Revoke a key.
///
/// It ends at once, on every node, and with it every key that it made, those that these made, and so on. So do keys from before Merlink recorded
/// which key made them, if this one may have: by its scopes, and in the time of its use. Revoking it again changes nothing else.
#[utoipa::path(
    delete, path = "/keys/{id}", tag = "keys", security(("key" = ["keys:write"])),
    params(("id" = String, Path, description = "The key's id: the letters between mlk_ and the second _")),
    responses((status = 204, description = "Revoked"))
)]
pub async fn revoke(call: Call<KeysWrite>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let unknown = || Problem::new(Kind::NotFound, "you have no key with this id");
    let officer = call.officer();
    let key = keys::find(&call.app.store, &officer.email, &id).await?.ok_or_else(unknown)?;
    keys::revoke(&call.app.store, key, Unrecorded::Revoked, &officer.actor()).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn read_key(mut fields: Fields, officer: &Officer, now: Timestamp) -> Result<NewKey, Problem> {
    let own = &officer.key().scopes;
    let name = fields.text("name", str::parse::<KeyName>);
    let scopes = fields.texts("scopes", |text| match text.parse::<Scope>() {
        Err(error) => Err(error.to_string()),
        Ok(scope) if own.contains(scope) => Ok(scope),
        Ok(scope) => Err(format!("this key lacks {}, and can't hand it out", scope.as_str())),
    });
    let expires_at = fields.text("expires_at", |text| match parse_time(text) {
        Ok(at) if at <= now => Err("has passed already".to_owned()),
        Ok(at) => match officer.key().expires_at {
            Some(end) if at > end => {
                Err(format!("is later than the end of this key, {}: a key that it makes ends no later", time(end)))
            }
            _ => Ok(at),
        },
        Err(error) => Err(error),
    });
    let scopes = scopes.given().unwrap_or_else(|| own.iter().filter(|scope| *scope != Scope::Admin).collect());
    if scopes.is_empty() {
        fields.mistake("scopes", "must name one");
    }
    fields.finish(Some(NewKey {
        owner: officer.email.clone(),
        name: name.given().unwrap_or_default(),
        scopes: Scopes::new(scopes),
        expires_at: expires_at.given(),
        maker: Some(officer.key().clone()),
    }))
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::TooMany => Self::mistakes(vec![Mistake::at("", error)]),
            CreateError::Store(error) => error.into(),
        }
    }
}

impl From<&ApiKey> for KeyBody {
    fn from(key: &ApiKey) -> Self {
        Self {
            id: key.id.clone(),
            name: key.name.to_string(),
            scopes: key.scopes.iter().map(Scope::as_str).collect(),
            created_at: time(key.created_at),
            expires_at: key.expires_at.map(time),
            last_used_at: key.last_used_at.map(time),
            revoked_at: key.revoked_at.map(time),
            made_by: key.maker().map(str::to_owned),
            usable: key.is_usable(Timestamp::now()),
        }
    }
}
