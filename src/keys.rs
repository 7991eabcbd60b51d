//! What officers do with their API keys, whichever API or page they do it through: the rules above the store.

use jiff::Timestamp;

use crate::{
    domain::{ApiKey, Email, KeyName, PlainKey, Scopes},
    store::{Actor, Store, StoreError},
};

/// Usable ones of one officer. More are forgotten ones. Two that are made at the same moment may both be the last.
pub const KEYS_MAX: usize = 100;

/// What a key is to be. That its scopes are the officer's to hand out is the caller's to see to: it knows by what right they ask.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub owner: Email,
    pub name: KeyName,
    pub scopes: Scopes,
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("you have {KEYS_MAX} usable keys: revoke one")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a key; the second is the whole of it, which nobody can be told again.
///
/// # Errors
///
/// When the officer has too many, or the store can't be asked.
pub async fn create(store: &Store, new: NewKey, now: Timestamp, by: &Actor) -> Result<(ApiKey, PlainKey), CreateError> {
    let existing = store.list_api_keys(Some(&new.owner)).await?;
    if existing.iter().filter(|key| key.is_usable(now)).count() >= KEYS_MAX {
        return Err(CreateError::TooMany);
    }
    let plain = PlainKey::random();
    let key = ApiKey {
        id: plain.id().to_owned(),
        hash: plain.hash(),
        owner: new.owner,
        name: new.name,
        scopes: new.scopes,
        created_at: now,
        expires_at: new.expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    store.create_api_key(&key, by).await?;
    Ok((key, plain))
}

/// The officer's key with this id; somebody else's is as good as none.
///
/// # Errors
///
/// When the store can't be asked.
pub async fn find(store: &Store, owner: &Email, id: &str) -> Result<Option<ApiKey>, StoreError> {
    Ok(store.find_api_key(id).await?.filter(|key| key.owner == *owner))
}

/// Ends the officer's key with this id at once and for good; answers whether they have one.
///
/// # Errors
///
/// When the store can't be asked.
pub async fn revoke(store: &Store, owner: &Email, id: &str, by: &Actor) -> Result<bool, StoreError> {
    if find(store, owner, id).await?.is_none() {
        return Ok(false);
    }
    store.revoke_api_key(id, Timestamp::now(), by).await
}
