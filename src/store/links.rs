//! Links: create, find, change, and what they were before. Lists are in `list.rs`.

use std::{collections::HashMap, sync::LazyLock};

use jiff::Timestamp;
use redis::{RedisError, Value, cmd};

use super::{
    Actor, Store, StoreError, clicks,
    connect::trouble,
    connection::{Connection, Lua},
    index::{self, Entry},
    keys::{self, LINKS_CHANNEL, link_field},
    unless_damaged,
};
use crate::{
    domain::{Code, Description, Email, Link, LinkState, Source, Tag, Tags, Target},
    metrics::Operation,
};

pub(super) static CREATE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/create_link.lua")));
pub(super) static CHANGE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/change_link.lua")));

/// How often a change is tried again because another one was faster.
const RACES_MAX: usize = 8;

/// Changes of a link's past read in one go.
const HISTORY_AT_ONCE: u64 = 200;

/// What a new link is made of.
#[derive(Clone, Debug)]
pub struct NewLink {
    pub code: Code,
    pub target: Target,
    pub owner: Email,
    pub state: LinkState,
    pub description: Description,
    pub contact_email: Option<Email>,
    pub tags: Tags,
    pub source: Source,
    pub forward_query: bool,
    pub expires_at: Option<Timestamp>,
    pub at: Timestamp,
    pub by: Actor,
    /// Tells this creation from any other, so that one that is sent again finds what it created. Without spaces.
    pub mark: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    Yes(Link),
    /// By anyone, in any state, at any time.
    CodeTaken,
}

/// Whose links may be seen or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    Own(Email),
    Everybodys,
}

impl Reach {
    pub fn includes(&self, link: &Link) -> bool {
        match self {
            Self::Own(owner) => link.owner == *owner,
            Self::Everybodys => true,
        }
    }
}

/// What is to be different; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub target: Option<Target>,
    pub owner: Option<Email>,
    pub state: Option<LinkState>,
    pub description: Option<Description>,
    pub contact_email: Option<Option<Email>>,
    pub tags: Option<Tags>,
    pub forward_query: Option<bool>,
    pub expires_at: Option<Option<Timestamp>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// How the link is now, whether or not anything had to change.
    Yes(ListedLink),
    /// There is no such link, or it is somebody else's: the caller can't tell which.
    NotFound,
    /// The link isn't at the version that the change was meant for; this is how it is.
    Stale(ListedLink),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedLink {
    pub link: Link,
    pub clicks: u64,
}

/// A link as one change left it; the first is its creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// `version` and `updated_at` say which change, and when.
    pub link: Link,
    pub by: Actor,
}

impl Store {
    /// Creates a link, its history and its message to all caches in one write, unless the code was ever used.
    ///
    /// The indexes are written first: a crash in between leaves an entry without a link, which readers drop, rather than a link that its
    /// owner can't see.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: the link may or may not have been created. Sent again with the same `at`, `by` and `mark` it is found.
    pub async fn create_link(&self, new: &NewLink) -> Result<Created, StoreError> {
        let key = keys::link(new.code.as_str());
        let link = new.as_created();
        let marked = new.mark.is_some() || self.connector.is_cluster();
        let call = new.call(&link, marked);
        let created = self.ask(Operation::LinkWrite, async |redis| {
            // Asked first, so that an index is spared the entries of codes that are taken.
            if !marked && cmd("EXISTS").arg(&key).query_async::<bool>(redis).await? {
                return Ok(Created::CodeTaken);
            }
            index_link(redis, &link).await?;
            if redis.run::<bool>(&CREATE, &call).await? {
                return Ok(Created::Yes(link));
            }
            // Somebody was faster, perhaps the same officer: then the entry just written stands in the place of the other link's.
            let other = read_links(redis, std::slice::from_ref(&new.code)).await?.pop().map(unless_damaged);
            // Refused: then the entry stays, since a reader puts one where it belongs, but misses none.
            let other = other.transpose().map_err(|error| trouble(error.to_string()))?;
            drop_from_indexes(redis, &link, None).await?;
            if let Some(other) = other.flatten().flatten() {
                index_link(redis, &other).await?;
            }
            Ok(Created::CodeTaken)
        });
        let created = created.await;
        if !matches!(created, Ok(Created::CodeTaken)) {
            self.trail_created(&new.as_created(), &new.by, &created);
        }
        created
    }

    /// Reads a link with its total of clicks.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn find_link(&self, code: &Code) -> Result<Option<ListedLink>, StoreError> {
        let codes = [code.clone()];
        let mut found = self.ask(Operation::LinkRead, async |redis| read_links(redis, &codes).await).await?;
        let Some(link) = found.pop().transpose()?.flatten() else { return Ok(None) };
        let mut clicks = self.ask(Operation::LinkRead, async |redis| read_clicks(redis, &codes).await).await?;
        let clicks = clicks.pop().transpose()?.unwrap_or(0);
        Ok(Some(ListedLink { link, clicks }))
    }

    /// Changes a link, unless it is so already. The check of the owner, of the version and the change are one: nobody slips in between.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: the change may or may not have been made; making it again is harmless.
    pub async fn change_link(
        &self,
        code: &Code,
        reach: &Reach,
        change: &Change,
        expected_versions: Option<&[u64]>,
        at: Timestamp,
        by: &Actor,
    ) -> Result<Changed, StoreError> {
        for _ in 0..RACES_MAX {
            let Some(found) = self.find_link(code).await?.filter(|found| reach.includes(&found.link)) else {
                return Ok(Changed::NotFound);
            };
            if expected_versions.is_some_and(|versions| !versions.contains(&found.link.version)) {
                return Ok(Changed::Stale(found));
            }
            let Some(next) = change.apply(&found.link, at) else { return Ok(Changed::Yes(found)) };
            if self.write_change(&found.link, &next, at, by).await? {
                return Ok(Changed::Yes(ListedLink { link: next, clicks: found.clicks }));
            }
        }
        Err(StoreError::Unavailable(format!("{code} was changed by others {RACES_MAX} times in a row")))
    }

    /// Writes `next` over `link` if the store still holds `link`.
    ///
    /// The history has the nanoseconds of `at`, so that two windows of one officer, who change the same field in the same millisecond, aren't
    /// taken for one call that came twice.
    async fn write_change(&self, link: &Link, next: &Link, at: Timestamp, by: &Actor) -> Result<bool, StoreError> {
        let mut was = serde_json::Map::new();
        let mut changed: Vec<(&str, String)> = Vec::new();
        for ((field, old), (_, new)) in encode(link).into_iter().zip(encode(next)) {
            if old != new {
                was.insert(field.to_owned(), old.into());
                changed.push((field, new));
            }
        }
        let updated_ms = next.updated_at.as_millisecond();
        let ns = at.subsec_nanosecond() % 1_000_000;
        let history = serde_json::json!({ "by": by.to_store(), "at": updated_ms, "ns": ns, "was": was }).to_string();
        let mut call = CHANGE.call(keys::link(link.code.as_str()));
        call.arg(LINKS_CHANNEL).arg(keys::changed(&link.code, next.version)).arg(link.version);
        call.arg(link_field::history(next.version)).arg(&history);
        for (field, value) in &changed {
            call.arg(*field).arg(value);
        }
        call.arg(link_field::UPDATED).arg(updated_ms);
        call.arg(link_field::VERSION).arg(next.version);
        let moves = next.owner != link.owner || next.tags != link.tags;
        let written = self.ask(Operation::LinkWrite, async |redis| {
            if moves {
                index_link(redis, next).await?;
            }
            let written: bool = redis.run(&CHANGE, &call).await?;
            if written && moves {
                // Once more: a reader who came in between found an entry that disagreed with the link, and dropped it.
                index_link(redis, next).await?;
                drop_from_indexes(redis, link, Some(next)).await?;
            }
            Ok(written)
        });
        let written = written.await;
        // The message comes in a moment; who has changed a link finds it as it is now.
        self.outlines.changed(link.code.as_str());
        if !matches!(written, Ok(false)) {
            self.trail_changed(link, next, by, &written);
        }
        written
    }

    /// A link's past, newest first: how each change left it, from the change to version `upto` (`None`: the last) on, at most `limit`.
    /// `None` when there is no such link.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn link_history(
        &self,
        code: &Code,
        upto: Option<u64>,
        limit: usize,
    ) -> Result<Option<Vec<Revision>>, StoreError> {
        let mut revisions = Vec::new();
        let found = self
            .walk_back(code, |revision| {
                if upto.is_none_or(|version| revision.link.version <= version) {
                    revisions.push(revision);
                }
                revisions.len() < limit
            })
            .await?;
        Ok(found.then_some(revisions))
    }

    /// What a link was at a moment; `None` when it wasn't yet, or never was.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn link_at(&self, code: &Code, at: Timestamp) -> Result<Option<Revision>, StoreError> {
        let mut then = None;
        self.walk_back(code, |revision| {
            let reached = revision.link.updated_at <= at;
            if reached {
                then = Some(revision);
            }
            !reached
        })
        .await?;
        Ok(then)
    }

    /// Hands out a link's revisions, newest first, until there are no more or none is wanted; answers whether there is such a link.
    async fn walk_back(&self, code: &Code, mut wanted: impl FnMut(Revision) -> bool) -> Result<bool, StoreError> {
        let key = keys::link(code.as_str());
        let corrupt = |detail: &str| StoreError::Corrupt(format!("{key}: {detail}"));
        let mut names: Vec<String> = READ.iter().map(|field| (*field).to_owned()).collect();
        names.push(link_field::CREATED_BY.to_owned());
        let read = async |names: &[String]| -> Result<Vec<Option<String>>, StoreError> {
            self.ask(Operation::LinkRead, async |redis| cmd("HMGET").arg(&key).arg(names).query_async(redis).await)
                .await
                .map_err(|error| error.about(&key))
        };
        let values = read(&names).await?;
        let mut fields: HashMap<String, String> =
            names.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?))).collect();
        if !fields.contains_key(link_field::TARGET) {
            return Ok(false);
        }
        let creator = fields.get(link_field::CREATED_BY).map_or("", |by| by.split(' ').next().unwrap_or(by)).to_owned();
        let mut version = decode(code, |field| fields.get(field).map(String::as_str))?.version;
        while version > 1 {
            let oldest = version.saturating_sub(HISTORY_AT_ONCE).max(1) + 1;
            let names: Vec<String> = (oldest..=version).rev().map(link_field::history).collect();
            for change in read(&names).await? {
                let change = change.ok_or_else(|| corrupt("a change is missing from its history"))?;
                let change: StoredChange =
                    serde_json::from_str(&change).map_err(|_| corrupt("a change that can't be read"))?;
                fields.insert(link_field::VERSION.to_owned(), version.to_string());
                fields.insert(link_field::UPDATED.to_owned(), change.at.to_string());
                let link = decode(code, |field| fields.get(field).map(String::as_str))?;
                if !wanted(Revision { link, by: Actor::from_store(&change.by) }) {
                    return Ok(true);
                }
                fields.extend(change.was);
                version -= 1;
            }
        }
        fields.insert(link_field::VERSION.to_owned(), "1".to_owned());
        fields.remove(link_field::UPDATED);
        let link = decode(code, |field| fields.get(field).map(String::as_str))?;
        wanted(Revision { link, by: Actor::from_store(&creator) });
        Ok(true)
    }
}

/// Adds a link to the indexes that it belongs to, and its owner to the accounts.
async fn index_link(redis: &mut Connection, link: &Link) -> Result<(), RedisError> {
    note_owner(redis, link).await?;
    for index in indexes(link) {
        index::add(redis, &index, &[Entry::of(link)]).await?;
    }
    Ok(())
}

/// Makes a link's owner and tags known.
pub(super) async fn note_owner(redis: &mut Connection, link: &Link) -> Result<(), RedisError> {
    let mut account = cmd("ZADD");
    account.arg(keys::ACCOUNTS).arg("NX").arg(link.created_at.as_millisecond()).arg(link.owner.as_str());
    let mut commands = vec![account];
    if !link.tags.is_empty() {
        let mut tags = cmd("SADD");
        tags.arg(keys::tags(&link.owner)).arg(link.tags.iter().map(Tag::key).collect::<Vec<_>>());
        commands.push(tags);
    }
    redis.many::<Value>(commands).await?;
    Ok(())
}

/// Takes a link out of the indexes that it doesn't belong to any more.
async fn drop_from_indexes(redis: &mut Connection, link: &Link, now: Option<&Link>) -> Result<(), RedisError> {
    let kept = now.map(indexes).unwrap_or_default();
    for index in indexes(link).into_iter().filter(|index| !kept.contains(index)) {
        index::remove(redis, &index, &[Entry::of(link)]).await?;
    }
    Ok(())
}

/// The indexes that a link belongs to.
pub(super) fn indexes(link: &Link) -> Vec<String> {
    let tags = link.tags.iter().map(|tag| keys::tag(&link.owner, tag));
    std::iter::once(keys::owner(&link.owner)).chain(tags).collect()
}

impl NewLink {
    pub(super) fn as_created(&self) -> Link {
        // What Redis keeps are milliseconds: the answer to the creation is what every later answer will be.
        let at = to_millisecond(self.at);
        Link {
            code: self.code.clone(),
            target: self.target.clone(),
            owner: self.owner.clone(),
            state: self.state,
            description: self.description.clone(),
            contact_email: self.contact_email.clone(),
            tags: self.tags.clone(),
            source: self.source,
            forward_query: self.forward_query,
            expires_at: self.expires_at.map(to_millisecond),
            created_at: at,
            updated_at: at,
            version: 1,
        }
    }

    /// The call that creates it. `marked`: this call may come twice, and the second must not find the code taken by the first.
    pub(super) fn call(&self, link: &Link, marked: bool) -> redis::Cmd {
        let mut call = CREATE.call(keys::link(link.code.as_str()));
        call.arg(LINKS_CHANNEL).arg(keys::changed(&link.code, 1));
        call.arg(u8::from(marked)).arg(link.created_at.as_millisecond());
        call.arg(match &self.mark {
            Some(mark) => format!("{} {mark}", self.by.to_store()),
            None if marked => format!("{} {}", self.by.to_store(), self.at.subsec_nanosecond() % 1_000_000),
            None => self.by.to_store(),
        });
        for (field, value) in Self::said(link) {
            call.arg(field).arg(value);
        }
        call
    }

    /// What is kept of a new link besides when and by whom it was created: whatever isn't the default.
    fn said(link: &Link) -> impl Iterator<Item = (&'static str, String)> {
        let is_active = link.state == LinkState::Active;
        let is_default = move |field: &str, value: &str| value.is_empty() || (field == link_field::STATE && is_active);
        let source = (link.source != Source::Api).then(|| (link_field::SOURCE, link.source.as_str().to_owned()));
        encode(link).into_iter().filter(move |(field, value)| !is_default(field, value)).chain(source)
    }

    /// All fields of a new link.
    pub(super) fn fields(&self, link: &Link) -> Vec<(&'static str, String)> {
        let created = (link_field::CREATED, link.created_at.as_millisecond().to_string());
        [created, (link_field::CREATED_BY, self.by.to_store())].into_iter().chain(Self::said(link)).collect()
    }
}

impl Change {
    /// The link as it will be, or `None` when it is so already.
    fn apply(&self, link: &Link, at: Timestamp) -> Option<Link> {
        let wanted = self.clone();
        let mut next = Link {
            target: wanted.target.unwrap_or_else(|| link.target.clone()),
            owner: wanted.owner.unwrap_or_else(|| link.owner.clone()),
            state: wanted.state.unwrap_or(link.state),
            description: wanted.description.unwrap_or_else(|| link.description.clone()),
            contact_email: wanted.contact_email.unwrap_or_else(|| link.contact_email.clone()),
            tags: wanted.tags.unwrap_or_else(|| link.tags.clone()),
            forward_query: wanted.forward_query.unwrap_or(link.forward_query),
            expires_at: wanted.expires_at.map_or(link.expires_at, |expiry| expiry.map(to_millisecond)),
            ..link.clone()
        };
        // Compared as they are kept: tags in another case are a change.
        if encode(&next) == encode(link) {
            return None;
        }
        next.updated_at = to_millisecond(at).max(link.updated_at);
        next.version = link.version + 1;
        Some(next)
    }
}

/// What Redis keeps.
fn to_millisecond(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

/// A change as it is kept.
#[derive(serde::Deserialize)]
struct StoredChange {
    by: String,
    at: i64,
    was: HashMap<String, String>,
}

/// The fields that can change, as they are kept. An empty text is the default.
fn encode(link: &Link) -> [(&'static str, String); 8] {
    let tags: Vec<&str> = link.tags.iter().map(Tag::as_str).collect();
    [
        (link_field::TARGET, link.target.as_str().to_owned()),
        (link_field::OWNER, link.owner.as_str().to_owned()),
        (link_field::STATE, encode_state(link.state).to_owned()),
        (link_field::DESCRIPTION, link.description.as_str().to_owned()),
        (link_field::CONTACT, link.contact_email.as_ref().map_or("", Email::as_str).to_owned()),
        (link_field::TAGS, tags.join(",")),
        (link_field::EXPIRES, link.expires_at.map(|at| at.as_millisecond().to_string()).unwrap_or_default()),
        (link_field::FORWARD_QUERY, if link.forward_query { "1" } else { "" }.to_owned()),
    ]
}

/// All fields of a link but its past.
const READ: [&str; 12] = [
    link_field::TARGET,
    link_field::OWNER,
    link_field::STATE,
    link_field::DESCRIPTION,
    link_field::CONTACT,
    link_field::TAGS,
    link_field::EXPIRES,
    link_field::FORWARD_QUERY,
    link_field::CREATED,
    link_field::UPDATED,
    link_field::VERSION,
    link_field::SOURCE,
];

/// Makes a link of its fields.
fn decode<'a>(code: &Code, field: impl Fn(&str) -> Option<&'a str>) -> Result<Link, StoreError> {
    let corrupt = |detail: &str| StoreError::Corrupt(format!("{}: {detail}", keys::link(code.as_str())));
    let text = |name: &str| field(name).filter(|text| !text.is_empty());
    let time = |name: &str| match text(name) {
        None => Ok(None),
        Some(ms) => match ms.parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()) {
            Some(at) => Ok(Some(at)),
            None => Err(corrupt("a time that is none")),
        },
    };
    let source = match text(link_field::SOURCE) {
        None => Source::Api,
        Some(text) => Source::ALL.into_iter().find(|source| source.as_str() == text).unwrap_or(Source::Other),
    };
    let version = match text(link_field::VERSION) {
        None => 1,
        Some(version) => version.parse().map_err(|_| corrupt("a version that is no number"))?,
    };
    let created_at = time(link_field::CREATED)?.ok_or_else(|| corrupt("no time of creation"))?;
    Ok(Link {
        code: code.clone(),
        target: Target::from_store(text(link_field::TARGET).ok_or_else(|| corrupt("no target"))?.to_owned()),
        owner: Email::from_store(text(link_field::OWNER).ok_or_else(|| corrupt("no owner"))?.to_owned()),
        state: decode_state(text(link_field::STATE)),
        description: Description::from_store(text(link_field::DESCRIPTION).unwrap_or_default().to_owned()),
        contact_email: text(link_field::CONTACT).map(|email| Email::from_store(email.to_owned())),
        tags: Tags::from_store(text(link_field::TAGS).unwrap_or_default().split(',')),
        source,
        forward_query: text(link_field::FORWARD_QUERY) == Some("1"),
        expires_at: time(link_field::EXPIRES)?,
        created_at,
        updated_at: time(link_field::UPDATED)?.unwrap_or(created_at),
        version,
    })
}

fn encode_state(state: LinkState) -> &'static str {
    match state {
        LinkState::Active => "1",
        LinkState::Inactive => "0",
    }
}

/// A state that this version doesn't know was written by a later one, which has its reasons not to say active: the link leads nowhere. A change of
/// other fields leaves it as it is.
pub(super) fn decode_state(text: Option<&str>) -> LinkState {
    match text {
        None | Some("" | "1") => LinkState::Active,
        Some(_) => LinkState::Inactive,
    }
}

/// The link of each code, `None` when it never existed. A damaged one is an error of its own.
pub(super) async fn read_links(
    redis: &mut Connection,
    codes: &[Code],
) -> Result<Vec<Result<Option<Link>, StoreError>>, RedisError> {
    let read = |code: &Code| cmd("HMGET").arg(keys::link(code.as_str())).arg(&READ).to_owned();
    let answers = redis.each(codes.iter().map(read).collect()).await?;
    let link = |(code, answer): (&Code, Result<Value, RedisError>)| {
        let values: Vec<Option<String>> = answer
            .and_then(|value| Ok(redis::from_redis_value(value)?))
            .map_err(|error| StoreError::from(error).about(&keys::link(code.as_str())))?;
        if values.first().is_none_or(Option::is_none) {
            return Ok(None);
        }
        let place = |name: &str| READ.iter().position(|field| *field == name);
        decode(code, |name| values.get(place(name)?)?.as_deref()).map(Some)
    };
    Ok(codes.iter().zip(answers).map(link).collect())
}

/// What of a link is looked through in a search, its texts in lower case.
pub(super) struct Outline {
    pub target: String,
    pub description: String,
    pub state: LinkState,
    pub tags: Tags,
}

impl Outline {
    pub fn of(link: &Link) -> Self {
        Self {
            target: link.target.as_str().to_ascii_lowercase(),
            description: link.description.as_str().to_lowercase(),
            state: link.state,
            tags: link.tags.clone(),
        }
    }
}

/// The outline of each code's link, `None` when it never existed. A damaged one is an error of its own.
pub(super) async fn read_outlines(
    redis: &mut Connection,
    codes: &[&Code],
) -> Result<Vec<Result<Option<Outline>, StoreError>>, RedisError> {
    let read = |code: &&Code| {
        let mut read = cmd("HMGET");
        read.arg(keys::link(code.as_str()));
        read.arg(link_field::TARGET).arg(link_field::DESCRIPTION).arg(link_field::STATE).arg(link_field::TAGS);
        read
    };
    let answers = redis.each(codes.iter().map(read).collect()).await?;
    let outline = |answer: Result<Value, RedisError>| {
        type Fields = (Option<String>, Option<String>, Option<String>, Option<String>);
        let (target, description, state, tags): Fields =
            answer.and_then(|value| Ok(redis::from_redis_value(value)?))?;
        let Some(mut target) = target else { return Ok(None) };
        target.make_ascii_lowercase();
        Ok(Some(Outline {
            target,
            description: description.unwrap_or_default().to_lowercase(),
            state: decode_state(state.as_deref()),
            tags: Tags::from_store(tags.as_deref().unwrap_or_default().split(',')),
        }))
    };
    Ok(answers.into_iter().map(outline).collect())
}

/// The total of each code's clicks.
pub(super) async fn read_clicks(
    redis: &mut Connection,
    codes: &[Code],
) -> Result<Vec<Result<u64, StoreError>>, RedisError> {
    let reads = codes.iter().map(|code| clicks::ask_total(code.as_str())).collect();
    let answers = redis.each(reads).await?;
    let total = |(code, answer): (&Code, Result<Value, RedisError>)| {
        let total = answer.and_then(clicks::total);
        total.map_err(|error| StoreError::from(error).about(&keys::clicks(code.as_str())))
    };
    Ok(codes.iter().zip(answers).map(total).collect())
}
