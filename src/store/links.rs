//! Links: create, find, change, and what they were before. Lists are in `list.rs`.

use std::{collections::HashMap, sync::LazyLock};

use jiff::Timestamp;
use redis::{Cmd, FromRedisValue, RedisError, Value, cmd, from_redis_value};

use super::{
    Actor, Store, StoreError,
    bulk::note_owners,
    clicks,
    connection::{Connection, Lua},
    index::{self, Entry, Index},
    keys::{self, LINKS_CHANNEL, link_field},
};
use crate::{
    domain::{Code, Description, Email, Link, LinkState, Source, Tag, Tags, Target},
    metrics::Operation,
};

pub(super) static CREATE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/create_link.lua")));
pub(super) static CHANGE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/change_link.lua")));

/// Characters of a mark: 48 bits, beside a link and who writes it.
const MARK_LENGTH: usize = 8;

/// Of a link's last changes, those among which a request that is repeated, up to a day later, looks
/// for itself.
const REPEATED_CHANGES_SEARCHED: u64 = 1000;

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
    /// Tells this creation from any other of the same creator, so that one that is sent again finds
    /// what it created. Without spaces.
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
    /// The entries in the indexes follow in the same exchange. What cuts it in two leaves a link
    /// that its owner doesn't see until it is sent again or the check in the background comes by.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: the link may or may not have been created. Sent again with the
    /// same `by` and `mark` it is found.
    pub async fn create_link(&self, new: &NewLink) -> Result<Created, StoreError> {
        let link = new.as_created();
        // A Cluster's client repeats calls.
        let drawn = (new.mark.is_none() && self.connector.is_cluster()).then(|| nanoid::nanoid!(MARK_LENGTH));
        let call = new.call(&link, new.mark.as_deref().or(drawn.as_deref()));
        let created = self.ask(Operation::LinkWrite, async |redis| {
            // Asked first, so that a code that is taken makes no tag and no officer known.
            let taken = cmd("EXISTS").arg(keys::link(new.code.as_str())).query_async::<bool>(redis).await?;
            if taken && new.mark.is_none() {
                return Ok(Created::CodeTaken);
            }
            if !taken {
                note_owners(redis, &[&link]).await?;
            }
            let created_ms: i64 = write_and_settle(redis, &CREATE, &call, &link, &Index::all_of(&link)).await?;
            Ok(match Timestamp::from_millisecond(created_ms) {
                Ok(at) if created_ms != 0 => Created::Yes(Link { created_at: at, updated_at: at, ..link }),
                _ => Created::CodeTaken,
            })
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

    /// Changes a link, unless it is so already. The checks of the owner and of the version and the
    /// change are one: nobody slips in between, and changes of different fields are all made,
    /// however many are made at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: the change may or may not have been made. With a mark it is
    /// found when it is made again.
    pub async fn change_link(
        &self,
        code: &Code,
        reach: &Reach,
        change: &Change,
        expected_versions: Option<&[u64]>,
        attempt: &ChangeAttempt<'_>,
    ) -> Result<Changed, StoreError> {
        let codes = [code.clone()];
        let mut found = self.ask(Operation::LinkRead, async |redis| read_links(redis, &codes).await).await?;
        let Some(found) = found.pop().transpose()?.flatten() else { return Ok(Changed::NotFound) };
        let next = change.apply(&found, attempt.at);
        let call = attempt.call(&found, reach, change, expected_versions);
        let settled = next.as_ref().map_or_else(Vec::new, |next| moved(&found, next));
        let exchange = self.ask(Operation::LinkWrite, async |redis| {
            if let Some(next) = next.as_ref().filter(|_| !settled.is_empty()) {
                note_owners(redis, &[next]).await?;
            }
            let outcome: Option<Vec<Value>> = write_and_settle(redis, &CHANGE, &call, &found, &settled).await?;
            let clicks = read_clicks(redis, &codes).await?.pop();
            Ok((outcome, clicks))
        });
        let answered = exchange.await;
        // The message comes in a moment; who has changed a link finds it as it is now.
        self.outlines.changed(code.as_str());
        let (outcome, clicks) = match answered {
            Ok(answered) => answered,
            Err(error) => {
                let unknown: Result<(), StoreError> = Err(error);
                if let Some(next) = &next {
                    self.trail_changed(&found, next, attempt.by, &unknown);
                }
                return unknown.map(|()| Changed::NotFound);
            }
        };
        let Some(outcome) = outcome else { return Ok(Changed::NotFound) };
        let clicks = clicks.transpose()?.unwrap_or(0);
        let listed = |link| ListedLink { link, clicks };
        let outcome = Outcome::parse(code, outcome)?;
        match outcome.kind.as_str() {
            "changed" => {
                let Outcome { before, version, at_ms, .. } = outcome;
                let next = change.apply(&before, attempt.at).unwrap_or_else(|| before.clone());
                let updated_at = Timestamp::from_millisecond(at_ms).unwrap_or(next.updated_at);
                let next = Link { updated_at, version, ..next };
                self.trail_changed(&before, &next, attempt.by, &Ok(()));
                let left = moved(&before, &next).into_iter().filter(|index| !settled.contains(index));
                for index in left {
                    self.index_settle(&index, &[Entry::of(&next)]).await?;
                }
                Ok(Changed::Yes(listed(next)))
            }
            "same" => Ok(Changed::Yes(listed(outcome.before))),
            // As this change left it: it may have left the caller's reach by it.
            "came" => {
                let revision = self.link_history(code, Some(outcome.version), 1).await?.and_then(|mut past| past.pop());
                Ok(revision.map_or(Changed::NotFound, |revision| Changed::Yes(listed(revision.link))))
            }
            "stale" => {
                let is_own = change.apply(&outcome.before, attempt.at).is_none()
                    && expected_versions.is_some_and(|versions| versions.contains(&(outcome.version - 1)))
                    && self.last_change_was_by(code, attempt.by).await?;
                Ok(if is_own { Changed::Yes(listed(outcome.before)) } else { Changed::Stale(listed(outcome.before)) })
            }
            _ => Ok(Changed::NotFound),
        }
    }

    /// True if a link's last change was made by `by`: who sends a change again after a lost answer
    /// finds it made.
    async fn last_change_was_by(&self, code: &Code, by: &Actor) -> Result<bool, StoreError> {
        let last = self.link_history(code, None, 1).await?.and_then(|mut past| past.pop());
        Ok(last.is_some_and(|last| last.by == *by))
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

/// Runs a script that writes a link, and settles the link's entries in `indexes` after it, in one
/// exchange where scripts can see both: then nothing but the loss of half a message comes between.
async fn write_and_settle<T: FromRedisValue>(
    redis: &mut Connection,
    script: &Lua,
    call: &Cmd,
    link: &Link,
    indexes: &[Index],
) -> Result<T, RedisError> {
    let entry = [Entry::of(link)];
    if let Connection::Cluster(_) = redis {
        let written = redis.run(script, call).await?;
        for index in indexes {
            index::settle(redis, index, &entry).await?;
        }
        return Ok(written);
    }
    let settlements: Vec<Cmd> = indexes.iter().map(|index| index::settlement(index, &entry)).collect();
    let calls: Vec<(&Lua, &Cmd)> =
        std::iter::once((script, call)).chain(settlements.iter().map(|call| (&*index::SETTLE, call))).collect();
    let written = redis.run_in_order(&calls).await?.into_iter().next().unwrap_or(Value::Nil);
    Ok(from_redis_value(written)?)
}

/// The indexes that a change moves a link out of or into.
fn moved(before: &Link, after: &Link) -> Vec<Index> {
    if before.owner == after.owner && before.tags == after.tags {
        return Vec::new();
    }
    let mut all = Index::all_of(after);
    all.extend(Index::all_of(before));
    all.dedup();
    all
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

    /// The call that creates it. With a mark, which no other call of this creator has, it may come
    /// twice.
    pub(super) fn call(&self, link: &Link, mark: Option<&str>) -> redis::Cmd {
        let mut call = CREATE.call(keys::link(link.code.as_str()));
        call.arg(LINKS_CHANNEL).arg(keys::changed(&link.code, 1));
        call.arg(u8::from(mark.is_some())).arg(link.created_at.as_millisecond());
        call.arg(self.by.marked(mark));
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

/// One change's being made.
#[derive(Clone, Debug)]
pub struct ChangeAttempt<'a> {
    pub at: Timestamp,
    pub by: &'a Actor,
    /// Tells this change from any other; letters, digits, `_` and `-`.
    pub mark: String,
    /// The change may have been made before with this mark.
    pub is_repeated: bool,
}

impl<'a> ChangeAttempt<'a> {
    /// One that won't be made again.
    pub fn once(at: Timestamp, by: &'a Actor) -> Self {
        Self { at, by, mark: nanoid::nanoid!(MARK_LENGTH), is_repeated: false }
    }

    /// `found`: the link as it was when the attempt began.
    fn call(&self, found: &Link, reach: &Reach, change: &Change, expected_versions: Option<&[u64]>) -> Cmd {
        let code = found.code.as_str();
        let mut call = CHANGE.call(keys::link(code));
        call.arg(LINKS_CHANNEL).arg(code).arg(self.by.to_store()).arg(self.at.as_millisecond());
        // The call may be held up on its way, while a repetition makes the change and others
        // follow. All of them come after `found`.
        let searched = if self.is_repeated { REPEATED_CHANGES_SEARCHED } else { 0 };
        call.arg(&self.mark).arg(found.version.saturating_sub(searched) + 1);
        call.arg(match reach {
            Reach::Own(owner) => owner.as_str(),
            Reach::Everybodys => "",
        });
        let versions = expected_versions.map(|versions| {
            // None matches when the caller's were none.
            versions.iter().fold(",".to_owned(), |text, version| format!("{text}{version},"))
        });
        call.arg(versions.unwrap_or_default());
        for (field, value) in change.fields() {
            call.arg(field).arg(value);
        }
        call
    }
}

/// Answer of `change_link.lua`.
struct Outcome {
    kind: String,
    version: u64,
    at_ms: i64,
    before: Link,
}

impl Outcome {
    fn parse(code: &Code, answer: Vec<Value>) -> Result<Self, StoreError> {
        let mut answer = answer.into_iter();
        let mut next = || answer.next().unwrap_or(Value::Nil);
        let read = |error: redis::ParsingError| StoreError::from(RedisError::from(error));
        let kind = from_redis_value(next()).map_err(read)?;
        let version = from_redis_value(next()).map_err(read)?;
        let at_ms = from_redis_value(next()).map_err(read)?;
        let values: Vec<String> = answer.map(from_redis_value).collect::<Result<_, _>>().map_err(read)?;
        let value = |name: &str| values.get(READ.iter().position(|field| *field == name)?).map(String::as_str);
        Ok(Self { kind, version, at_ms, before: decode(code, value)? })
    }
}

impl Change {
    /// The fields that it sets, as they are kept. An empty text is the default.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let email = |email: &Option<Email>| email.as_ref().map_or(String::new(), Email::to_string);
        [
            self.target.as_ref().map(|target| (link_field::TARGET, target.as_str().to_owned())),
            self.owner.as_ref().map(|owner| (link_field::OWNER, owner.as_str().to_owned())),
            self.state.map(|state| (link_field::STATE, encode_state(state).to_owned())),
            self.description.as_ref().map(|text| (link_field::DESCRIPTION, text.as_str().to_owned())),
            self.contact_email.as_ref().map(|contact| (link_field::CONTACT, email(contact))),
            self.tags.as_ref().map(|tags| (link_field::TAGS, encode_tags(tags))),
            self.expires_at.map(|at| (link_field::EXPIRES, encode_expiry(at))),
            self.forward_query.map(|forward| (link_field::FORWARD_QUERY, encode_flag(forward).to_owned())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

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
    [
        (link_field::TARGET, link.target.as_str().to_owned()),
        (link_field::OWNER, link.owner.as_str().to_owned()),
        (link_field::STATE, encode_state(link.state).to_owned()),
        (link_field::DESCRIPTION, link.description.as_str().to_owned()),
        (link_field::CONTACT, link.contact_email.as_ref().map_or("", Email::as_str).to_owned()),
        (link_field::TAGS, encode_tags(&link.tags)),
        (link_field::EXPIRES, encode_expiry(link.expires_at)),
        (link_field::FORWARD_QUERY, encode_flag(link.forward_query).to_owned()),
    ]
}

fn encode_tags(tags: &Tags) -> String {
    tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(",")
}

fn encode_expiry(at: Option<Timestamp>) -> String {
    at.map(|at| at.as_millisecond().to_string()).unwrap_or_default()
}

fn encode_flag(flag: bool) -> &'static str {
    if flag { "1" } else { "" }
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
        target: text(link_field::TARGET)
            .and_then(|target| Target::if_followable(target.to_owned()))
            .ok_or_else(|| corrupt("no target that is a web address"))?,
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
