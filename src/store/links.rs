//! Links: create, find, change, list.

use std::sync::LazyLock;

use jiff::Timestamp;
use redis::{RedisError, Value, cmd};

use super::{
    Actor, Store, StoreError,
    connection::{Connection, Lua},
    keys::{self, LINKS_CHANNEL, click_field, link_field},
};
use crate::{
    domain::{Code, Email, Link, LinkState, Source, Target},
    metrics::Operation,
};

static CREATE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/create_link.lua")));
static CHANGE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/change_link.lua")));

/// Links read in one pipeline: some 100 kB of answer, under a millisecond of Redis' time, so that others get their turn between.
const READ_AT_ONCE: usize = 500;

/// An index entry without a link is that of a link being created right now, unless it is this old.
const IN_CREATION_MS: i64 = 60_000;

/// How often a page is read anew because entries of its index had to be dropped. Each round drops what it found.
const REPAIRS_MAX: usize = 5;

/// How often a change is tried again because another one was faster.
const RACES_MAX: usize = 8;

/// What a new link is made of.
#[derive(Clone, Debug)]
pub struct NewLink {
    pub code: Code,
    pub target: Target,
    pub owner: Email,
    pub source: Source,
    pub at: Timestamp,
    pub by: Actor,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    Yes(Link),
    /// By anyone, in any state, at any time.
    CodeTaken,
}

/// What an owner wants to be different; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub target: Option<Target>,
    pub state: Option<LinkState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// How the link is now, whether or not anything had to change.
    Yes(ListedLink),
    /// There is no such link, or it is somebody else's: the caller can't tell which.
    NotFound,
}

/// Which of an owner's links, in which order. Ties go by code, ascending.
#[derive(Clone, Debug)]
pub struct ListQuery {
    pub limit: usize,
    pub offset: usize,
    pub order_by: OrderBy,
    pub descending: bool,
    /// In lower case; part of the code or the target. Empty: any.
    pub search: String,
    pub state: Option<LinkState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderBy {
    CreatedAt,
    Clicks,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedLink {
    pub link: Link,
    pub clicks: u64,
}

#[derive(Clone, Debug)]
pub struct Page {
    pub links: Vec<ListedLink>,
    /// All that match, not only those on the page.
    pub count: usize,
}

/// Codes and times of creation in ms, as Redis gives them.
type RawEntries = Vec<(String, i64)>;

/// An entry of the owner's index.
#[derive(Clone, Debug)]
struct Entry {
    code: Code,
    created_ms: i64,
}

impl Store {
    /// Creates a link, its history and its message to all caches in one write, unless the code was ever used.
    ///
    /// The owner's index is written first: a crash in between leaves an entry without a link, which readers drop, rather than a link
    /// that its owner can't see.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: the link may or may not have been created.
    pub async fn create_link(&self, new: &NewLink) -> Result<Created, StoreError> {
        let key = keys::link(new.code.as_str());
        let created_ms = new.at.as_millisecond();
        // A Cluster's client may send the creation twice; the second must not find the code taken by the first.
        let marked = self.connector.is_cluster();
        self.ask(Operation::LinkWrite, async |redis| {
            let taken: bool = cmd("EXISTS").arg(&key).query_async(redis).await?;
            if taken {
                return Ok(Created::CodeTaken);
            }
            let mut account = cmd("ZADD");
            account.arg(keys::ACCOUNTS).arg("NX").arg(created_ms).arg(new.owner.as_str());
            let mut index = cmd("ZADD");
            index.arg(keys::owner(&new.owner)).arg("GT").arg(created_ms).arg(new.code.as_str());
            redis.many::<Value>(vec![account, index]).await?;
            let mut call = CREATE.call(key);
            call.arg(LINKS_CHANNEL).arg(keys::changed(&new.code, 1));
            call.arg(u8::from(marked)).arg(created_ms).arg(new.first_history(marked));
            call.arg(link_field::TARGET).arg(new.target.as_str());
            call.arg(link_field::OWNER).arg(new.owner.as_str());
            if new.source != Source::Api {
                call.arg(link_field::SOURCE).arg(new.source.as_str());
            }
            let created: bool = redis.run(&CREATE, &call).await?;
            if created { Ok(Created::Yes(new.as_created())) } else { Ok(Created::CodeTaken) }
        })
        .await
    }

    /// Reads a link with its total of clicks.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn find_link(&self, code: &Code) -> Result<Option<ListedLink>, StoreError> {
        let codes = [code.clone()];
        let mut found = self.ask(Operation::LinkRead, async |redis| read_links(redis, &codes).await).await?;
        found.pop().transpose()?.flatten().map(|raw| raw.decode(code)).transpose()
    }

    /// Changes an owner's link, unless it is so already. The check of the owner and the change are one: nobody slips in between.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: the change may or may not have been made; making it again is harmless.
    pub async fn change_link(
        &self,
        code: &Code,
        owner: &Email,
        change: &Change,
        at: Timestamp,
        by: &Actor,
    ) -> Result<Changed, StoreError> {
        for _ in 0..RACES_MAX {
            let Some(found) = self.find_link(code).await?.filter(|found| found.link.owner == *owner) else {
                return Ok(Changed::NotFound);
            };
            let Some(next) = change.apply(&found.link, at) else { return Ok(Changed::Yes(found)) };
            if self.write_change(&found.link, &next, by).await? {
                return Ok(Changed::Yes(ListedLink { link: next, clicks: found.clicks }));
            }
        }
        Err(StoreError::Unavailable(format!("{code} was changed by others {RACES_MAX} times in a row")))
    }

    /// Writes `next` over `link` if the store still holds `link`.
    async fn write_change(&self, link: &Link, next: &Link, by: &Actor) -> Result<bool, StoreError> {
        let mut was = serde_json::Map::new();
        let mut fields: Vec<(&str, String)> = Vec::new();
        if link.target != next.target {
            was.insert(link_field::TARGET.to_owned(), link.target.as_str().into());
            fields.push((link_field::TARGET, next.target.as_str().to_owned()));
        }
        if link.state != next.state {
            was.insert(link_field::STATE.to_owned(), encode_state(link.state).into());
            fields.push((link_field::STATE, encode_state(next.state).to_owned()));
        }
        let updated_ms = next.updated_at.as_millisecond();
        let history = serde_json::json!({ "by": by.to_string(), "at": updated_ms, "was": was }).to_string();
        self.ask(Operation::LinkWrite, async |redis| {
            let mut call = CHANGE.call(keys::link(link.code.as_str()));
            call.arg(LINKS_CHANNEL).arg(keys::changed(&link.code, next.version)).arg(link.version);
            for (field, value) in &fields {
                call.arg(*field).arg(value);
            }
            call.arg(link_field::UPDATED).arg(updated_ms);
            call.arg(link_field::VERSION).arg(next.version);
            call.arg(link_field::history(next.version)).arg(&history);
            redis.run(&CHANGE, &call).await
        })
        .await
    }

    /// An owner's links, one page of them, and how many match in all.
    ///
    /// Costs: in the order of creation and without a filter, what the page holds. Otherwise the owner's links are read once,
    /// [`READ_AT_ONCE`] at a time.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn list_links(&self, owner: &Email, query: &ListQuery, now: Timestamp) -> Result<Page, StoreError> {
        let filtered = !query.search.is_empty() || query.state.is_some();
        if filtered || query.order_by == OrderBy::Clicks {
            self.list_by_reading_all(owner, query, now).await
        } else {
            self.list_by_index(owner, query, now).await
        }
    }

    async fn list_by_reading_all(&self, owner: &Email, query: &ListQuery, now: Timestamp) -> Result<Page, StoreError> {
        let entries = self.all_entries(owner).await?;
        let (mut links, stale) = self.read_entries(owner, &entries, now).await?;
        self.drop_entries(owner, &stale).await?;
        links.retain(|listed| query.matches(&listed.link));
        links.sort_by(|a, b| {
            let order = match query.order_by {
                OrderBy::CreatedAt => a.link.created_at.cmp(&b.link.created_at),
                OrderBy::Clicks => a.clicks.cmp(&b.clicks),
            };
            let order = if query.descending { order.reverse() } else { order };
            order.then_with(|| a.link.code.cmp(&b.link.code))
        });
        let count = links.len();
        let links = links.into_iter().skip(query.offset).take(query.limit).collect();
        Ok(Page { links, count })
    }

    async fn all_entries(&self, owner: &Email) -> Result<Vec<Entry>, StoreError> {
        self.ask(Operation::LinkList, async |redis| {
            let raw: RawEntries =
                cmd("ZRANGE").arg(keys::owner(owner)).arg(0).arg(-1).arg("WITHSCORES").query_async(redis).await?;
            Ok(to_entries(raw))
        })
        .await
    }

    /// Drops from an owner's index what the links don't agree with; answers how many entries that were.
    pub(super) async fn drop_stale_entries(&self, owner: &Email, now: Timestamp) -> Result<u64, StoreError> {
        let entries = self.all_entries(owner).await?;
        let (_, stale) = self.read_entries(owner, &entries, now).await?;
        self.drop_entries(owner, &stale).await?;
        Ok(stale.len() as u64)
    }

    async fn list_by_index(&self, owner: &Email, query: &ListQuery, now: Timestamp) -> Result<Page, StoreError> {
        for _ in 0..REPAIRS_MAX {
            let (entries, count) =
                self.ask(Operation::LinkList, async |redis| index_page(redis, owner, query).await).await?;
            let (links, stale) = self.read_entries(owner, &entries, now).await?;
            if stale.is_empty() {
                let in_creation = entries.len() - links.len();
                return Ok(Page { links, count: count.saturating_sub(in_creation) });
            }
            self.drop_entries(owner, &stale).await?;
        }
        // An index in such disorder is mended by reading all of it.
        self.list_by_reading_all(owner, query, now).await
    }

    /// Reads the links of `entries`, in their order, and names the entries that disagree with the links.
    async fn read_entries(
        &self,
        owner: &Email,
        entries: &[Entry],
        now: Timestamp,
    ) -> Result<(Vec<ListedLink>, Vec<Code>), StoreError> {
        let mut links = Vec::with_capacity(entries.len());
        let mut stale = Vec::new();
        for chunk in entries.chunks(READ_AT_ONCE) {
            let codes: Vec<Code> = chunk.iter().map(|entry| entry.code.clone()).collect();
            let found = self.ask(Operation::LinkList, async |redis| read_links(redis, &codes).await).await?;
            for (entry, raw) in chunk.iter().zip(found) {
                let listed = match raw.and_then(|raw| raw.map(|raw| raw.decode(&entry.code)).transpose()) {
                    Ok(listed) => listed,
                    Err(error @ StoreError::Unavailable(_)) => return Err(error),
                    // One damaged link doesn't hide all the others from their owner.
                    Err(error @ StoreError::Corrupt(_)) => {
                        tracing::error!("left out of a list: {error}");
                        continue;
                    }
                };
                match listed {
                    Some(listed) if listed.link.owner == *owner => links.push(listed),
                    None if now.as_millisecond() - entry.created_ms < IN_CREATION_MS => {}
                    Some(_) | None => stale.push(entry.code.clone()),
                }
            }
        }
        Ok((links, stale))
    }

    async fn drop_entries(&self, owner: &Email, codes: &[Code]) -> Result<(), StoreError> {
        for chunk in codes.chunks(READ_AT_ONCE) {
            let codes: Vec<&str> = chunk.iter().map(Code::as_str).collect();
            self.ask(Operation::LinkWrite, async |redis| {
                cmd("ZREM").arg(keys::owner(owner)).arg(codes).exec_async(redis).await
            })
            .await?;
        }
        Ok(())
    }
}

impl NewLink {
    /// What the link's history begins with. `marked`: told apart from any other attempt of the same millisecond.
    fn first_history(&self, marked: bool) -> String {
        let mut history = serde_json::json!({ "by": self.by.to_string() });
        if marked {
            history["ns"] = (self.at.subsec_nanosecond() % 1_000_000).into();
        }
        history.to_string()
    }

    fn as_created(&self) -> Link {
        // What Redis keeps are milliseconds: the answer to the creation is what every later answer will be.
        let at = Timestamp::from_millisecond(self.at.as_millisecond()).unwrap_or(self.at);
        Link {
            code: self.code.clone(),
            target: self.target.clone(),
            owner: self.owner.clone(),
            state: LinkState::Active,
            source: self.source,
            forward_query: false,
            expires_at: None,
            created_at: at,
            updated_at: at,
            version: 1,
        }
    }
}

impl Change {
    /// The link as it will be, or `None` when it is so already.
    fn apply(&self, link: &Link, at: Timestamp) -> Option<Link> {
        let target = self.target.clone().unwrap_or_else(|| link.target.clone());
        let state = self.state.unwrap_or(link.state);
        if target == link.target && state == link.state {
            return None;
        }
        let updated_at = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at).max(link.updated_at);
        Some(Link { target, state, updated_at, version: link.version + 1, ..link.clone() })
    }
}

impl ListQuery {
    fn matches(&self, link: &Link) -> bool {
        self.state.is_none_or(|state| state == link.state)
            && (self.search.is_empty()
                || link.code.as_str().contains(&self.search)
                || link.target.as_str().to_ascii_lowercase().contains(&self.search))
    }
}

/// One page of the index in the order of creation, and the index's size.
///
/// Redis orders entries of one millisecond by code, ascending or descending with the scores; here codes always ascend. So the page's scores
/// are looked up first, then everything between them is read and sorted: the page and the rest of the milliseconds at its edges.
async fn index_page(
    redis: &mut Connection,
    owner: &Email,
    query: &ListQuery,
) -> Result<(Vec<Entry>, usize), RedisError> {
    let key = keys::owner(owner);
    let count: usize = cmd("ZCARD").arg(&key).query_async(redis).await?;
    let last_rank = query.offset.saturating_add(query.limit).min(count);
    if query.offset >= last_rank {
        return Ok((Vec::new(), count));
    }
    let edge = |rank: usize| {
        let mut edge = cmd("ZRANGE");
        edge.arg(&key).arg(rank).arg(rank);
        if query.descending {
            edge.arg("REV");
        }
        edge.arg("WITHSCORES");
        edge
    };
    let edges: Vec<RawEntries> = redis.many(vec![edge(query.offset), edge(last_rank - 1)]).await?;
    let scores = edges.iter().flatten().map(|(_, created_ms)| *created_ms);
    let (Some(low), Some(high)) = (scores.clone().min(), scores.max()) else { return Ok((Vec::new(), count)) };
    let mut range = cmd("ZRANGE");
    range.arg(&key).arg(low).arg(high).arg("BYSCORE").arg("WITHSCORES");
    let mut before = cmd("ZCOUNT");
    if query.descending {
        before.arg(&key).arg(format!("({high}")).arg("+inf");
    } else {
        before.arg(&key).arg("-inf").arg(format!("({low}"));
    }
    let answers: Vec<Value> = redis.many(vec![range, before]).await?;
    let (raw, before): (RawEntries, usize) = redis::from_redis_value(Value::Array(answers))?;
    let mut entries = to_entries(raw);
    if query.descending {
        entries.sort_by(|a, b| b.created_ms.cmp(&a.created_ms).then_with(|| a.code.cmp(&b.code)));
    }
    let skip = query.offset.saturating_sub(before);
    Ok((entries.into_iter().skip(skip).take(query.limit).collect(), count))
}

fn to_entries(raw: RawEntries) -> Vec<Entry> {
    raw.into_iter()
        .filter_map(|(code, created_ms)| Some(Entry { code: keys::parse_code(&code)?, created_ms }))
        .collect()
}

/// A link's fields as Redis gave them.
struct RawLink {
    target: String,
    owner: Option<String>,
    state: Option<String>,
    created: Option<i64>,
    updated: Option<i64>,
    version: Option<u64>,
    source: Option<String>,
    expires: Option<String>,
    forward_query: Option<String>,
    clicks: u64,
}

/// What is known of each code, `None` when it never existed. A damaged one is an error of its own.
async fn read_links(
    redis: &mut Connection,
    codes: &[Code],
) -> Result<Vec<Result<Option<RawLink>, StoreError>>, RedisError> {
    let mut reads = Vec::with_capacity(codes.len() * 2);
    for code in codes {
        let mut link = cmd("HMGET");
        link.arg(keys::link(code.as_str())).arg(&[
            link_field::TARGET,
            link_field::OWNER,
            link_field::STATE,
            link_field::CREATED,
            link_field::UPDATED,
            link_field::VERSION,
            link_field::SOURCE,
            link_field::EXPIRES,
            link_field::FORWARD_QUERY,
        ]);
        let mut clicks = cmd("HGET");
        clicks.arg(keys::clicks(code.as_str())).arg(click_field::TOTAL);
        reads.extend([link, clicks]);
    }
    let values = redis.each(reads).await?;
    let mut links = Vec::with_capacity(codes.len());
    let mut values = values.into_iter();
    for code in codes {
        let (Some(link), Some(clicks)) = (values.next(), values.next()) else { break };
        let raw = link.and_then(|link| RawLink::from_values(link, clicks?));
        links.push(raw.map_err(|error| StoreError::from(error).about(&keys::link(code.as_str()))));
    }
    Ok(links)
}

type RawFields = (
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<u64>,
    Option<String>,
    Option<String>,
    Option<String>,
);

impl RawLink {
    fn from_values(link: Value, clicks: Value) -> Result<Option<Self>, RedisError> {
        let (target, owner, state, created, updated, version, source, expires, forward_query): RawFields =
            redis::from_redis_value(link)?;
        let clicks: Option<u64> = redis::from_redis_value(clicks)?;
        Ok(target.map(|target| Self {
            target,
            owner,
            state,
            created,
            updated,
            version,
            source,
            expires,
            forward_query,
            clicks: clicks.unwrap_or(0),
        }))
    }

    fn decode(self, code: &Code) -> Result<ListedLink, StoreError> {
        let corrupt = |detail: &str| StoreError::Corrupt(format!("{}: {detail}", keys::link(code.as_str())));
        let created_ms = self.created.ok_or_else(|| corrupt("no time of creation"))?;
        let time = |ms: i64| Timestamp::from_millisecond(ms).map_err(|_| corrupt("a time out of range"));
        let expires_at = match self.expires.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => Some(time(text.parse().map_err(|_| corrupt("an expiry that is no number"))?)?),
            None => None,
        };
        let source = match self.source.as_deref() {
            None => Source::Api,
            Some(text) => Source::ALL
                .into_iter()
                .find(|source| source.as_str() == text)
                .ok_or_else(|| corrupt("an unknown source"))?,
        };
        let link = Link {
            code: code.clone(),
            target: Target::from_store(self.target),
            owner: Email::from_store(self.owner.ok_or_else(|| corrupt("no owner"))?),
            state: decode_state(self.state.as_deref()),
            source,
            forward_query: self.forward_query.as_deref() == Some("1"),
            expires_at,
            created_at: time(created_ms)?,
            updated_at: time(self.updated.unwrap_or(created_ms))?,
            version: self.version.unwrap_or(1),
        };
        Ok(ListedLink { link, clicks: self.clicks })
    }
}

fn encode_state(state: LinkState) -> &'static str {
    match state {
        LinkState::Active => "1",
        LinkState::Inactive => "0",
    }
}

pub(super) fn decode_state(text: Option<&str>) -> LinkState {
    if text == Some("0") { LinkState::Inactive } else { LinkState::Active }
}
