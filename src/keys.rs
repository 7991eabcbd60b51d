//! What officers do with their API keys, whichever API or page they do it through: the rules above the store.

use jiff::Timestamp;

use crate::{
    domain::{ApiKey, Email, KeyName, PlainKey, Scopes},
    store::{Actor, Store, StoreError},
};

/// Working keys of one officer. Two keys that are made at the same moment may both be the last.
pub const KEYS_MAX: usize = 100;

/// What a key is to be. That its scopes are the officer's to hand out is the caller's to see to: it knows by what right they ask.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub owner: Email,
    pub name: KeyName,
    pub scopes: Scopes,
    /// No later than the maker's. Left out, it is the maker's.
    pub expires_at: Option<Timestamp>,
    /// The key that makes it. `None` in the console and for the operator.
    pub maker: Option<ApiKey>,
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
    make(store, new, PlainKey::random(), now, by).await
}

/// As [`create`] for a request that may be repeated: a repetition with the same seed makes the same
/// key, with another secret, since nobody was told the first.
///
/// # Errors
///
/// When the officer has too many, or the store can't be asked.
pub async fn create_once(
    store: &Store,
    new: NewKey,
    seed: &str,
    now: Timestamp,
    by: &Actor,
) -> Result<(ApiKey, PlainKey), CreateError> {
    make(store, new, PlainKey::random_with_id_from(seed), now, by).await
}

async fn make(
    store: &Store,
    new: NewKey,
    plain: PlainKey,
    now: Timestamp,
    by: &Actor,
) -> Result<(ApiKey, PlainKey), CreateError> {
    let working = store.working_api_keys(&new.owner, now).await?;
    if working.iter().filter(|key| key.id != plain.id()).count() >= KEYS_MAX {
        return Err(CreateError::TooMany);
    }
    let key = new.with(&plain, now);
    store.create_api_key(&key, by).await?;
    Ok((key, plain))
}

impl NewKey {
    /// Draws the key. A key never outlives its maker.
    pub fn draw(self, now: Timestamp) -> (ApiKey, PlainKey) {
        let plain = PlainKey::random();
        (self.with(&plain, now), plain)
    }

    fn with(self, plain: &PlainKey, now: Timestamp) -> ApiKey {
        let makers_end = self.maker.as_ref().and_then(|maker| maker.expires_at);
        let ancestors = self.maker.map(|maker| [maker.ancestors.unwrap_or_default(), vec![maker.id]].concat());
        ApiKey {
            id: plain.id().to_owned(),
            hash: plain.hash(),
            owner: self.owner,
            name: self.name,
            scopes: self.scopes,
            ancestors: Some(ancestors.unwrap_or_default()),
            created_at: now,
            expires_at: self.expires_at.into_iter().chain(makers_end).min(),
            last_used_at: None,
            revoked_at: None,
        }
    }
}

/// The officer's key with this id; somebody else's is as good as none.
///
/// # Errors
///
/// When the store can't be asked.
pub async fn find(store: &Store, owner: &Email, id: &str) -> Result<Option<ApiKey>, StoreError> {
    Ok(store.find_api_key(id).await?.filter(|key| key.owner == *owner))
}

/// Which keys of unrecorded origin are revoked with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrecorded {
    /// Those that the key may have made.
    Revoked,
    Spared,
}

/// Revokes a key for good, and with it every key below it. Returns the others. They stop with the key: calls check the keys above theirs.
///
/// # Errors
///
/// When the store can't be asked: some may be revoked. Revoking again goes on.
pub async fn revoke(store: &Store, key: ApiKey, unrecorded: Unrecorded, by: &Actor) -> Result<Vec<ApiKey>, StoreError> {
    let now = Timestamp::now();
    let owner = key.owner.clone();
    let working = store.working_api_keys(&owner, now).await?;
    let mut ended = with_those_below(vec![key], working, unrecorded);
    store.revoke_api_keys(&ended, now, by).await?;
    // A key that one of them made meanwhile doesn't work, since calls check the keys above it. This files it away.
    store.working_api_keys(&owner, now).await?;
    Ok(ended.split_off(1))
}

/// The working keys that revoking `key` would revoke too.
///
/// # Errors
///
/// When the store can't be asked.
pub async fn below(store: &Store, key: &ApiKey) -> Result<Vec<ApiKey>, StoreError> {
    let working = store.working_api_keys(&key.owner, Timestamp::now()).await?;
    Ok(with_those_below(vec![key.clone()], working, Unrecorded::Revoked).split_off(1))
}

/// Revokes all keys of an officer. Returns how many there were.
///
/// # Errors
///
/// When the store can't be asked: some may be revoked. Revoking again goes on.
pub async fn revoke_all(store: &Store, owner: &Email, by: &Actor) -> Result<usize, StoreError> {
    let now = Timestamp::now();
    let working = store.working_api_keys(owner, now).await?;
    store.revoke_api_keys(&working, now, by).await?;
    Ok(working.len())
}

/// Adds to `ended` the keys that end with one of them, until there is none left to add.
fn with_those_below(mut ended: Vec<ApiKey>, mut working: Vec<ApiKey>, unrecorded: Unrecorded) -> Vec<ApiKey> {
    working.retain(|key| ended.iter().all(|other| other.id != key.id));
    let mut at = 0;
    while let Some(above) = ended.get(at).cloned() {
        let ends_too =
            |key: &mut ApiKey| key.is_below(&above) || unrecorded == Unrecorded::Revoked && key.may_be_made_by(&above);
        ended.extend(working.extract_if(.., ends_too));
        at += 1;
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Scope;

    fn key(second: i64, scopes: &[Scope], ancestors: Option<&[&ApiKey]>) -> ApiKey {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let new = NewKey {
            owner: Email::from_store("a@x.gov.sg".to_owned()),
            name: KeyName::default(),
            scopes: Scopes::new(scopes.iter().copied()),
            expires_at: None,
            maker: None,
        };
        let ancestors = ancestors.map(|ids| ids.iter().map(|key| key.id.clone()).collect());
        ApiKey { ancestors, last_used_at: Some(at(second + 1000)), ..new.draw(at(second)).0 }
    }

    #[test]
    fn a_key_ends_no_later_than_its_maker_and_knows_all_above_it() {
        let at = |second| Some(Timestamp::from_second(second).expect("a time"));
        let top = ApiKey { expires_at: at(100), ..key(0, &[Scope::KeysWrite], None) };
        for (asked, becomes) in [(None, at(100)), (at(99), at(99)), (at(100), at(100)), (at(101), at(100))] {
            let new = NewKey {
                owner: top.owner.clone(),
                name: KeyName::default(),
                scopes: top.scopes.clone(),
                expires_at: asked,
                maker: Some(top.clone()),
            };
            let (below, _) = new.clone().draw(Timestamp::UNIX_EPOCH);
            assert_eq!((below.expires_at, below.maker()), (becomes, Some(top.id.as_str())));
            let (lowest, _) = NewKey { maker: Some(below.clone()), ..new }.draw(Timestamp::UNIX_EPOCH);
            assert_eq!(lowest.ancestors, Some(vec![top.id.clone(), below.id.clone()]));
            assert!(lowest.is_below(&top) && lowest.is_below(&below) && !top.is_below(&lowest));
        }
    }

    #[test]
    fn with_a_key_end_those_below_it_and_those_that_it_may_have_made() {
        use Scope::{KeysWrite, LinksRead, StatsRead};
        let leaked = key(10, &[KeysWrite, LinksRead], None);
        let below = key(11, &[LinksRead], Some(&[&leaked]));
        let lowest = key(12, &[LinksRead], Some(&[&leaked, &below]));
        let perhaps = key(20, &[KeysWrite], None);
        let below_perhaps = key(30, &[KeysWrite], Some(&[&perhaps]));
        // Made when the leaked key had been out of use for long, but perhaps by one that it had made.
        let later = key(1_500, &[KeysWrite], None);
        // With more scopes, before it, by other means, or when neither had been used for long.
        let spared = [
            key(20, &[LinksRead, StatsRead], None),
            key(9, &[LinksRead], None),
            key(20, &[LinksRead], Some(&[])),
            key(5_000, &[LinksRead], None),
        ];
        let mut perhaps = perhaps;
        perhaps.last_used_at = later.last_used_at;
        let ended = |unrecorded| {
            let mut working = vec![&lowest, &later, &below_perhaps, &perhaps, &below, &leaked];
            working.extend(&spared);
            let ended = with_those_below(vec![leaked.clone()], working.into_iter().cloned().collect(), unrecorded);
            let mut ids: Vec<String> = ended.into_iter().map(|key| key.id).collect();
            ids.sort_unstable();
            ids
        };
        let ids = |keys: &[&ApiKey]| {
            let mut ids: Vec<String> = keys.iter().map(|key| key.id.clone()).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(ended(Unrecorded::Spared), ids(&[&leaked, &below, &lowest]));
        assert_eq!(ended(Unrecorded::Revoked), ids(&[&leaked, &below, &lowest, &perhaps, &below_perhaps, &later]));
    }
}
