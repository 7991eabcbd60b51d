//! Indexes: codes in the order of their creation, a few bytes each, of any length.
//!
//! A sorted set of a million codes takes some 100 bytes an entry. Redis packs one of up to 128 entries into a flat block, where an entry
//! takes 17, so an index is many of those: parts, each with the codes created from one time on until the next part starts, and one
//! sorted set of those times. A part's scores count from its start, since Redis packs small numbers smaller. A part that is full is
//! followed by a new one when the new code is the latest of it, as nearly always, and split in halves otherwise. Codes of one
//! millisecond are never in two parts, so that within a part any order among them can be had.
//!
//! Indexes are hints: whoever reads one compares it with the links. Three rules keep them complete:
//! - The link is written first, its entries after it. Every writer adds what belongs, whoever else
//!   may have done so.
//! - An entry is removed only by [`settle`], which looks at the link in the moment of the removal.
//!   No reading from before and no clock counts.
//! - Whatever is missing all the same, because a node died between the two, is added by the check
//!   in the background (`tend.rs`).

use std::{cmp::Ordering, collections::BTreeSet, pin::pin, sync::LazyLock};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use redis::{Cmd, RedisError, Value, cmd, from_redis_value};

use super::{
    Store, StoreError,
    connection::{Connection, Lua},
    keys,
    links::read_links,
};
use crate::{
    domain::{Code, Email, Link, Tag},
    metrics::Operation,
};

pub(super) static ADD: LazyLock<Lua> =
    LazyLock::new(|| Lua::new(concat!(include_str!("lua/parts/index.lua"), include_str!("lua/index_add.lua"))));
pub(super) static SIZES: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/index_sizes.lua")));
pub(super) static SETTLE: LazyLock<Lua> =
    LazyLock::new(|| Lua::new(concat!(include_str!("lua/parts/index.lua"), include_str!("lua/index_settle.lua"))));

/// 120 entries of eight-letter codes fill the 2,048 bytes that the allocator gives; 128 would take 2,560. Redis' own bound is 128.
const PART_ENTRIES_MAX: usize = 120;

/// Codes older than the whole index, as an import brings, are given parts of up to this: 2^30 ms, 12 days, the most that stays small.
const PART_BEFORE_MS: i64 = 1 << 30;

/// Entries in one call: some 2 ms of Redis' time.
pub const ENTRIES_AT_ONCE: usize = 500;

/// Parts read in one pipeline: some 10,000 codes, a millisecond of Redis' time.
const PARTS_AT_ONCE: usize = 100;

/// Parts whose sizes are told by one call: half a millisecond of Redis' time.
const SIZES_AT_ONCE: usize = 1000;

/// Exchanges of one long list under way at once: Redis has the next one ready while the answer to one is being read.
pub const UNDER_WAY: usize = 3;

/// An index of an officer's links: of all, or of those with a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    pub owner: Email,
    pub tag: Option<Tag>,
}

impl Index {
    pub fn of_all(owner: &Email) -> Self {
        Self { owner: owner.clone(), tag: None }
    }

    pub fn of_tag(owner: &Email, tag: &Tag) -> Self {
        Self { owner: owner.clone(), tag: Some(tag.clone()) }
    }

    /// The indexes that a link belongs to.
    pub fn all_of(link: &Link) -> Vec<Self> {
        let tags = link.tags.iter().map(|tag| Self::of_tag(&link.owner, tag));
        std::iter::once(Self::of_all(&link.owner)).chain(tags).collect()
    }

    pub fn key(&self) -> String {
        match &self.tag {
            Some(tag) => keys::tag(&self.owner, tag),
            None => keys::owner(&self.owner),
        }
    }

    pub fn has(&self, link: &Link) -> bool {
        link.owner == self.owner && self.tag.as_ref().is_none_or(|tag| link.tags.contains(tag))
    }
}

/// Entries that [`settle`] changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    pub added: u64,
    pub removed: u64,
}

impl std::ops::AddAssign for Settled {
    fn add_assign(&mut self, more: Self) {
        self.added += more.added;
        self.removed += more.removed;
    }
}

/// An entry, and a place in an index: entries come by time, those of one millisecond by code, ascending either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub created_ms: i64,
    pub code: Code,
}

impl Entry {
    pub fn of(link: &Link) -> Self {
        Self { created_ms: link.created_at.as_millisecond(), code: link.code.clone() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    OldestFirst,
    NewestFirst,
}

impl Direction {
    pub fn compare(self, a: &Entry, b: &Entry) -> Ordering {
        let by_time = match self {
            Self::OldestFirst => a.created_ms.cmp(&b.created_ms),
            Self::NewestFirst => b.created_ms.cmp(&a.created_ms),
        };
        by_time.then_with(|| a.code.cmp(&b.code))
    }
}

/// Reads an index from one place on, a few parts at a time.
pub struct Walk {
    index: String,
    direction: Direction,
    /// Where the last part that was read starts.
    behind: Option<i64>,
    /// Entries up to and with this one have been read.
    after: Option<Entry>,
    parts_at_once: usize,
    ended: bool,
}

impl Walk {
    pub fn new(index: String, direction: Direction, after: Option<Entry>) -> Self {
        Self { index, direction, behind: None, after, parts_at_once: 2, ended: false }
    }

    /// The next entries, in order; none when there are no more. Reads two parts at first, and twice as many each time.
    pub async fn next(&mut self, store: &Store) -> Result<Vec<Entry>, StoreError> {
        while !self.ended {
            let (starts, first) = store.ask(Operation::LinkList, async |redis| self.next_starts(redis).await).await?;
            let Some(&last) = starts.last() else { break };
            self.ended = starts.len() < self.parts_at_once;
            self.parts_at_once = (self.parts_at_once * 2).min(PARTS_AT_ONCE * UNDER_WAY);
            self.behind = Some(last);
            let range = match self.direction {
                Direction::NewestFirst => Range { from: last.to_string(), to: first },
                // The last part may be split before it is read, and nothing comes after it.
                Direction::OldestFirst if self.ended => Range { from: first, to: "+inf".to_owned() },
                Direction::OldestFirst => Range { from: first, to: last.to_string() },
            };
            let mut entries = store.read_parts(&self.index, starts, &range).await?;
            // A part that was split meanwhile comes twice.
            if let Some(after) = &self.after {
                entries.retain(|entry| self.direction.compare(entry, after) == Ordering::Greater);
            }
            entries.sort_unstable_by(|a, b| self.direction.compare(a, b));
            entries.dedup();
            if let Some(last) = entries.last() {
                self.after = Some(last.clone());
                return Ok(entries);
            }
        }
        self.ended = true;
        Ok(Vec::new())
    }

    /// When the next parts start, and where the range of times begins, seen in the walk's
    /// direction, in which they were looked for.
    async fn next_starts(&self, redis: &mut Connection) -> Result<(Vec<i64>, String), RedisError> {
        let mut range = cmd("ZRANGE");
        range.arg(&self.index);
        let first = match (self.direction, self.behind, &self.after) {
            (_, Some(start), _) => format!("({start}"),
            (Direction::NewestFirst, None, Some(after)) => after.created_ms.to_string(),
            (Direction::NewestFirst, None, None) => "+inf".to_owned(),
            (Direction::OldestFirst, None, Some(after)) => self.start_of_part(redis, after).await?,
            (Direction::OldestFirst, None, None) => "-inf".to_owned(),
        };
        range.arg(&first);
        match self.direction {
            Direction::NewestFirst => range.arg(&["-inf", "BYSCORE", "REV"]),
            Direction::OldestFirst => range.arg(&["+inf", "BYSCORE"]),
        };
        Ok((range.arg("LIMIT").arg(0).arg(self.parts_at_once).query_async(redis).await?, first))
    }

    async fn start_of_part(&self, redis: &mut Connection, entry: &Entry) -> Result<String, RedisError> {
        let mut range = cmd("ZRANGE");
        range.arg(&self.index).arg(entry.created_ms).arg(&["-inf", "BYSCORE", "REV", "LIMIT", "0", "1"]);
        let start: Vec<String> = range.query_async(redis).await?;
        Ok(start.into_iter().next().unwrap_or_else(|| "-inf".to_owned()))
    }
}

impl Store {
    /// Adds entries; answers how many weren't there.
    pub(super) async fn index_add(&self, index: &str, entries: &[Entry]) -> Result<u64, StoreError> {
        let mut added = 0;
        for chunk in entries.chunks(ENTRIES_AT_ONCE) {
            added += self.ask(Operation::LinkWrite, async |redis| add(redis, index, chunk).await).await?;
        }
        Ok(added)
    }

    /// Makes entries agree with their links; see [`settle`].
    pub(super) async fn index_settle(&self, index: &Index, entries: &[Entry]) -> Result<Settled, StoreError> {
        let mut settled = Settled::default();
        for chunk in entries.chunks(ENTRIES_AT_ONCE) {
            settled += self.ask(Operation::LinkWrite, async |redis| settle(redis, index, chunk).await).await?;
        }
        Ok(settled)
    }

    /// How many entries indexes have in all. Costs one ZCARD for 120 of them.
    pub(super) async fn index_len(&self, indexes: &[String]) -> Result<usize, StoreError> {
        let mut len = 0;
        for chunk in indexes.chunks(ENTRIES_AT_ONCE) {
            let calls = chunk.iter().map(|index| sizes_call(index, "-inf")).collect();
            let found: Vec<Vec<i64>> =
                self.ask(Operation::LinkList, async |redis| redis.run_many(&SIZES, calls).await).await?;
            for (index, sizes) in chunk.iter().zip(found) {
                len += self.all_sizes(index, pairs(&sizes)).await?.iter().map(|(_, size)| size).sum::<usize>();
            }
        }
        Ok(len)
    }

    /// When each part starts and how many entries it has, oldest first. `sizes` is what the first
    /// call for them answered.
    async fn all_sizes(&self, index: &str, mut sizes: Vec<(i64, usize)>) -> Result<Vec<(i64, usize)>, StoreError> {
        let mut is_full = sizes.len() == SIZES_AT_ONCE;
        // The last part is counted again: it may have been split since.
        while is_full && let Some((last, _)) = sizes.pop() {
            let call = sizes_call(index, &last.to_string());
            let more: Vec<i64> = self.ask(Operation::LinkList, async |redis| redis.run(&SIZES, &call).await).await?;
            is_full = more.len() == 2 * SIZES_AT_ONCE;
            sizes.extend(pairs(&more));
        }
        Ok(sizes)
    }

    /// Deletes an index and its parts.
    pub(super) async fn index_forget(&self, index: &str) -> Result<(), StoreError> {
        let starts = self.part_starts(index).await?;
        let parts = starts.iter().map(|start| keys::index_part(index, *start));
        let forget: Vec<Cmd> = parts.chain([index.to_owned()]).map(|key| cmd("DEL").arg(key).to_owned()).collect();
        self.ask(Operation::LinkWrite, async |redis| redis.many::<u64>(forget).await.map(drop)).await
    }

    /// When each part starts, oldest first.
    async fn part_starts(&self, index: &str) -> Result<Vec<i64>, StoreError> {
        self.ask(Operation::LinkList, async |redis| cmd("ZRANGE").arg(index).arg(0).arg(-1).query_async(redis).await)
            .await
    }

    /// The entries from rank `offset` on, at most `limit`, and how many there are in all. Costs one ZCARD for 120 entries of the index, and
    /// the parts that the page lies in.
    pub(super) async fn index_page(
        &self,
        index: &str,
        direction: Direction,
        offset: usize,
        limit: usize,
    ) -> Result<(Vec<Entry>, usize), StoreError> {
        let call = sizes_call(index, "-inf");
        let first: Vec<i64> = self.ask(Operation::LinkList, async |redis| redis.run(&SIZES, &call).await).await?;
        let mut parts = self.all_sizes(index, pairs(&first)).await?;
        let count = parts.iter().map(|(_, size)| size).sum();
        if direction == Direction::NewestFirst {
            parts.reverse();
        }
        let mut skip = offset;
        let mut starts: Vec<i64> = Vec::new();
        let mut ahead = 0;
        for &(start, size) in &parts {
            if starts.is_empty() && skip >= size {
                skip -= size;
            } else if ahead < skip.saturating_add(limit) {
                ahead += size;
                starts.push(start);
            } else {
                break;
            }
        }
        let (Some(&oldest), Some(newest)) = (starts.iter().min(), starts.iter().max()) else {
            return Ok((Vec::new(), count));
        };
        let following = parts.iter().map(|(start, _)| start).filter(|start| *start > newest).min();
        let to = following.map_or_else(|| "+inf".to_owned(), |start| format!("({start}"));
        let mut entries = self.read_parts(index, starts, &Range { from: oldest.to_string(), to }).await?;
        entries.sort_unstable_by(|a, b| direction.compare(a, b));
        entries.dedup();
        let page: Vec<Entry> = entries.into_iter().skip(skip).take(limit).collect();
        // The index may have grown or shrunk since it was counted. A page that isn't full is the
        // last, and says how long it is by now.
        let behind_page = offset + page.len();
        let count = match page.len() {
            0 => count,
            full if full == limit => count.max(behind_page),
            _ => behind_page,
        };
        Ok((page, count))
    }

    /// All entries, the oldest first.
    pub(super) async fn index_all(&self, index: &str) -> Result<Vec<Entry>, StoreError> {
        let starts = self.part_starts(index).await?;
        let everything = Range { from: "-inf".to_owned(), to: "+inf".to_owned() };
        let mut entries = self.read_parts(index, starts, &everything).await?;
        entries.sort_unstable_by(|a, b| Direction::OldestFirst.compare(a, b));
        entries.dedup();
        Ok(entries)
    }

    /// The entries of the parts that start at these times, and of those that started in this range
    /// while they were read: a part that is split gives half of its entries to a new one. So an
    /// entry that stays is met, perhaps twice. In no order.
    async fn read_parts(&self, index: &str, mut starts: Vec<i64>, range: &Range) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::with_capacity(starts.len() * PART_ENTRIES_MAX);
        let mut known: BTreeSet<i64> = BTreeSet::new();
        while !starts.is_empty() {
            known.extend(&starts);
            // The last pipeline asks for the starts once more, so it goes when the others have been
            // answered.
            let unread = std::mem::take(&mut starts);
            let (last, others) = unread.split_at(unread.len().min(PARTS_AT_ONCE));
            let read =
                |chunk| self.ask(Operation::LinkList, async move |redis| read_parts(redis, index, chunk, None).await);
            let mut chunks = pin!(stream::iter(others.chunks(PARTS_AT_ONCE).map(read)).buffered(UNDER_WAY));
            while let Some((some, _)) = chunks.try_next().await? {
                entries.extend(some);
            }
            let (some, now) =
                self.ask(Operation::LinkList, async |redis| read_parts(redis, index, last, Some(range)).await).await?;
            entries.extend(some);
            starts = now.into_iter().filter(|start| !known.contains(start)).collect();
        }
        Ok(entries)
    }
}

/// Times in ms, as ZRANGE takes them: `(` excludes one.
struct Range {
    from: String,
    to: String,
}

fn sizes_call(index: &str, from: &str) -> Cmd {
    let mut call = SIZES.call(index.to_owned());
    call.arg(from).arg(SIZES_AT_ONCE);
    call
}

fn pairs(flat: &[i64]) -> Vec<(i64, usize)> {
    flat.chunks_exact(2).map(|pair| (pair[0], usize::try_from(pair[1]).unwrap_or(0))).collect()
}

/// Adds entries, at most [`ENTRIES_AT_ONCE`]; answers how many weren't there.
pub async fn add(redis: &mut Connection, index: &str, entries: &[Entry]) -> Result<u64, RedisError> {
    redis.run(&ADD, &addition(&[(index, entries)])).await
}

/// Adds entries to several indexes, at most [`ENTRIES_AT_ONCE`] to each; several in a call where Redis takes that.
pub async fn add_many(redis: &mut Connection, additions: &[Addition<'_>]) -> Result<(), RedisError> {
    let calls = if redis.takes_transactions().await {
        in_calls(additions).map(addition).collect()
    } else {
        additions.iter().map(|one| addition(std::slice::from_ref(one))).collect()
    };
    redis.run_many::<u64>(&ADD, calls).await?;
    Ok(())
}

/// An index, and what is to be added.
pub type Addition<'a> = (&'a str, &'a [Entry]);

/// As many together as have [`ENTRIES_AT_ONCE`] entries, or the one of which that is a part.
fn in_calls<'a>(additions: &'a [Addition<'a>]) -> impl Iterator<Item = &'a [Addition<'a>]> {
    let mut entries = 0;
    additions.chunk_by(move |(_, before), (_, next)| {
        entries += before.len();
        let together = entries + next.len() <= ENTRIES_AT_ONCE;
        if !together {
            entries = 0;
        }
        together
    })
}

fn addition(additions: &[Addition]) -> redis::Cmd {
    let indexes: Vec<String> = additions.iter().map(|(index, _)| (*index).to_owned()).collect();
    let mut call = ADD.call_with(&indexes);
    call.arg(PART_ENTRIES_MAX).arg(PART_BEFORE_MS);
    for (_, entries) in additions {
        call.arg(entries.len());
        for entry in *entries {
            call.arg(entry.created_ms).arg(entry.code.as_str());
        }
    }
    call
}

/// Makes entries of an index agree with their links as they are at that moment, at most
/// [`ENTRIES_AT_ONCE`] of them: adds those that are missing, and removes those that don't belong.
/// `entries` say where they may stand.
///
/// In a Cluster links and indexes are on different servers, so a script can't compare them. There
/// an entry is removed, the link is read again, and the entry is put back if it has come to belong
/// meanwhile.
pub async fn settle(redis: &mut Connection, index: &Index, entries: &[Entry]) -> Result<Settled, RedisError> {
    if let Connection::Cluster(_) = redis {
        return settle_in_cluster(redis, index, entries).await;
    }
    let (added, removed) = redis.run(&SETTLE, &settlement(index, entries)).await?;
    Ok(Settled { added, removed })
}

/// Settles entries of several indexes; in few exchanges where scripts can see both.
pub async fn settle_many(redis: &mut Connection, entries: &[(Index, Vec<Entry>)]) -> Result<Settled, RedisError> {
    let mut settled = Settled::default();
    let chunks = entries
        .iter()
        .flat_map(|(index, entries)| entries.chunks(ENTRIES_AT_ONCE).map(move |entries| (index, entries)));
    if let Connection::Cluster(_) = redis {
        for (index, entries) in chunks {
            settled += settle_in_cluster(redis, index, entries).await?;
        }
        return Ok(settled);
    }
    let calls = chunks.map(|(index, entries)| settlement(index, entries)).collect();
    for (added, removed) in redis.run_many(&SETTLE, calls).await? {
        settled += Settled { added, removed };
    }
    Ok(settled)
}

/// The call of [`settle`], where a script can see both.
pub fn settlement(index: &Index, entries: &[Entry]) -> Cmd {
    let links = entries.iter().map(|entry| keys::link(entry.code.as_str()));
    settlement_with(index, entries, &std::iter::once(index.key()).chain(links).collect::<Vec<_>>())
}

fn settlement_without_links(index: &Index, entries: &[Entry]) -> Cmd {
    settlement_with(index, entries, &[index.key()])
}

fn settlement_with(index: &Index, entries: &[Entry], keys: &[String]) -> Cmd {
    let mut call = SETTLE.call_with(keys);
    call.arg(PART_ENTRIES_MAX).arg(PART_BEFORE_MS).arg(index.owner.as_str());
    call.arg(index.tag.as_ref().map(Tag::key).unwrap_or_default());
    for entry in entries {
        call.arg(entry.created_ms).arg(entry.code.as_str());
    }
    call
}

async fn settle_in_cluster(redis: &mut Connection, index: &Index, entries: &[Entry]) -> Result<Settled, RedisError> {
    let (mut belonging, wrong) = belonging(redis, index, entries).await?;
    let mut settled = Settled::default();
    if !wrong.is_empty() {
        settled.removed = remove_in_cluster(redis, index, &wrong).await?;
        belonging.extend(self::belonging(redis, index, &wrong).await?.0);
    }
    if !belonging.is_empty() {
        settled.added = add(redis, &index.key(), &belonging).await?;
    }
    Ok(settled)
}

/// Where entries of these codes belong by their links, and which of those that are given don't.
/// An entry whose link can't be read stays as it is.
async fn belonging(
    redis: &mut Connection,
    index: &Index,
    entries: &[Entry],
) -> Result<(Vec<Entry>, Vec<Entry>), RedisError> {
    let codes: Vec<Code> = entries.iter().map(|entry| entry.code.clone()).collect();
    let (mut belonging, mut wrong) = (Vec::new(), Vec::new());
    for (entry, link) in entries.iter().zip(read_links(redis, &codes).await?) {
        let Ok(link) = link else { continue };
        let right = link.filter(|link| index.has(link)).map(|link| Entry::of(&link));
        if right.as_ref() != Some(entry) {
            wrong.push(entry.clone());
        }
        belonging.extend(right);
    }
    Ok((belonging, wrong))
}

async fn remove_in_cluster(redis: &mut Connection, index: &Index, entries: &[Entry]) -> Result<u64, RedisError> {
    let (_, removed): (u64, u64) = redis.run(&SETTLE, &settlement_without_links(index, entries)).await?;
    Ok(removed)
}

/// The entries of parts, and then when the parts start that are in a range, if that is asked too.
async fn read_parts(
    redis: &mut Connection,
    index: &str,
    starts: &[i64],
    range: Option<&Range>,
) -> Result<(Vec<Entry>, Vec<i64>), RedisError> {
    let read =
        |start: &i64| cmd("ZRANGE").arg(keys::index_part(index, *start)).arg(0).arg(-1).arg("WITHSCORES").to_owned();
    let starts_now =
        range.map(|range| cmd("ZRANGE").arg(index).arg(&range.from).arg(&range.to).arg("BYSCORE").to_owned());
    // An index and its parts are in one slot. In this order, whatever else goes on.
    let mut answers = redis.in_one_slot(starts.iter().map(read).chain(starts_now).collect()).await?;
    let starts_now: Vec<i64> = match range {
        Some(_) => from_redis_value(answers.pop().unwrap_or(Value::Nil).extract_error()?)?,
        None => Vec::new(),
    };
    let mut entries = Vec::with_capacity(starts.len() * PART_ENTRIES_MAX);
    for (start, part) in starts.iter().zip(answers) {
        let part: Vec<(String, i64)> = from_redis_value(part.extract_error()?)?;
        // Merlink writes nothing but codes.
        entries.extend(part.into_iter().filter_map(|(code, offset_ms)| {
            Some(Entry { created_ms: start + offset_ms, code: keys::parse_code(&code)? })
        }));
    }
    Ok((entries, starts_now))
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        collections::BTreeSet,
        path::Path,
        process::{Child, Command, Stdio},
    };

    use proptest::{prelude::*, test_runner::TestRunner};

    use super::*;
    use crate::{config::Config, metrics::Metrics};

    /// A redis-server of the test's own, ended with it.
    struct Redis {
        process: Child,
        _folder: tempfile::TempDir,
        store: Store,
    }

    impl Redis {
        fn start() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let socket = folder.path().join("s");
            let process = Command::new("redis-server")
                .args(["--port", "0", "--save", "", "--unixsocket"])
                .arg(&socket)
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server is installed");
            let settings = folder.path().join("merlink.toml");
            let url = format!("[redis]\nurl = \"redis+unix://{}\"\n", socket.display());
            std::fs::write(&settings, url).expect("a file");
            let config = Config::load(Some(Path::new(&settings))).expect("settings");
            let store = Store::new(&config, Metrics::new()).expect("a store");
            Self { process, _folder: folder, store }
        }
    }

    impl Drop for Redis {
        fn drop(&mut self) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(i64, u16),
        Remove(usize),
    }

    fn entry(created_ms: i64, code: u16) -> Entry {
        Entry { created_ms, code: format!("c{code}").parse().expect("a code") }
    }

    /// Times that come close together, as from many officers at once, in growing order, as usual, and from long ago, as an import's.
    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let time = prop_oneof![0..40_i64, 1_000..2_000_i64, -(1_i64 << 32)..0, 0..1_i64 << 41];
        let step = prop_oneof![
            9 => (time, any::<u16>()).prop_map(|(created_ms, code)| Step::Add(created_ms, code)),
            1 => any::<prop::sample::Index>().prop_map(|index| Step::Remove(index.index(1_000))),
        ];
        prop::collection::vec(step, 1..1_500)
    }

    async fn walked(store: &Store, index: &str, direction: Direction, after: Option<Entry>) -> Vec<Entry> {
        let mut walk = Walk::new(index.to_owned(), direction, after);
        let mut all = Vec::new();
        loop {
            let some = walk.next(store).await.expect("Redis answers");
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }

    async fn agrees(store: &Store, index: &str, model: &BTreeSet<(i64, String)>, at: usize) {
        let mut oldest: Vec<Entry> = model
            .iter()
            .map(|(created_ms, code)| Entry { created_ms: *created_ms, code: code.parse().expect("a code") })
            .collect();
        for direction in [Direction::OldestFirst, Direction::NewestFirst] {
            oldest.sort_by(|a, b| direction.compare(a, b));
            assert_eq!(walked(store, index, direction, None).await, oldest, "all, {direction:?}");
            let at = at % (oldest.len() + 1);
            let after = at.checked_sub(1).map(|last| oldest[last].clone());
            assert_eq!(walked(store, index, direction, after).await, oldest[at..], "behind {at}, {direction:?}");
            let page: Vec<Entry> = oldest.iter().skip(at).take(150).cloned().collect();
            let found = store.index_page(index, direction, at, 150).await.expect("Redis answers");
            assert_eq!(found, (page, oldest.len()), "from {at}, {direction:?}");
        }
        assert_eq!(store.index_len(&[index.to_owned()]).await.expect("Redis answers"), oldest.len());
    }

    #[test]
    fn an_index_holds_what_was_put_in_and_not_taken_out_in_order() {
        let redis = Redis::start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut runner = TestRunner::new(ProptestConfig { cases: 12, failure_persistence: None, ..Default::default() });
        while runtime.block_on(redis.store.ping()).is_err() {}
        let number = Cell::new(0);
        runner
            .run(&(steps(), any::<usize>(), 1..200_usize), |(steps, at, at_once)| {
                number.set(number.get() + 1);
                let index = format!("owner:{{o{}@agency.gov.sg}}", number.get());
                let mut model = BTreeSet::new();
                runtime.block_on(async {
                    let mut waiting = Vec::new();
                    for step in steps {
                        match step {
                            Step::Add(created_ms, code) => {
                                let new = entry(created_ms, code);
                                // One code, one time: what a link has.
                                if !model.iter().any(|(_, code)| *code == new.code.as_str()) {
                                    model.insert((created_ms, new.code.to_string()));
                                    waiting.push(new);
                                }
                            }
                            Step::Remove(place) => {
                                redis.store.index_add(&index, &waiting).await.expect("Redis answers");
                                waiting.clear();
                                if let Some((created_ms, code)) = model.iter().nth(place).cloned() {
                                    model.remove(&(created_ms, code.clone()));
                                    let gone = Entry { created_ms, code: code.parse().expect("a code") };
                                    let of: Email =
                                        format!("o{}@agency.gov.sg", number.get()).parse().expect("an address");
                                    // There is no such link, so its entry doesn't belong.
                                    let settled = redis.store.index_settle(&Index::of_all(&of), &[gone]).await;
                                    assert_eq!(settled.expect("Redis answers"), Settled { added: 0, removed: 1 });
                                }
                            }
                        }
                        if waiting.len() >= at_once {
                            let added = redis.store.index_add(&index, &waiting).await.expect("Redis answers");
                            assert_eq!(added, waiting.len() as u64, "all are new");
                            assert_eq!(
                                redis.store.index_add(&index, &waiting).await.expect("Redis answers"),
                                0,
                                "none is"
                            );
                            waiting.clear();
                        }
                    }
                    redis.store.index_add(&index, &waiting).await.expect("Redis answers");
                    agrees(&redis.store, &index, &model, at).await;
                });
                Ok(())
            })
            .expect("holds");
    }

    /// Adds entries between those that are there, so that parts are split, until it is told to end.
    async fn split_on(store: &Store, index: &str, ended: &Cell<bool>) {
        for code in (10_000..60_000_u16).take_while(|_| !ended.get()) {
            // Spread over all of them, and never at the time of one that stays.
            let created_ms = i64::from(code) * 7_919 % 200_000 * 10 + 5;
            store.index_add(index, &[entry(created_ms, code)]).await.expect("Redis answers");
        }
    }

    /// Reads an index in all ways, again and again, while entries are added to it.
    async fn read_on(store: &Store, index: &str, staying: &[Entry], ended: &Cell<bool>) {
        let missing_in = |met: &[Entry]| {
            let met: BTreeSet<&str> = met.iter().map(|entry| entry.code.as_str()).collect();
            staying.iter().filter(|entry| !met.contains(entry.code.as_str())).count()
        };
        let mut least = staying.len();
        for round in 0..150 {
            for direction in [Direction::OldestFirst, Direction::NewestFirst] {
                let met = walked(store, index, direction, None).await;
                assert!(met.is_sorted_by(|a, b| direction.compare(a, b).is_lt()), "in order, none twice");
                assert_eq!(missing_in(&met), 0, "walk {round}, {direction:?}");
            }
            let all = store.index_all(index).await.expect("Redis answers");
            assert_eq!(missing_in(&all), 0, "round {round}");
            // Entries are only added, so counts only grow.
            let count = store.index_len(&[index.to_owned()]).await.expect("Redis answers");
            let (page, paged) =
                store.index_page(index, Direction::NewestFirst, 0, usize::MAX).await.expect("Redis answers");
            assert!(least <= count && count <= paged, "{least}, {count}, {paged}");
            assert_eq!(page.len(), paged, "what is counted is what is there");
            least = paged;
        }
        ended.set(true);
    }

    #[test]
    fn entries_that_stay_are_met_and_counted_while_parts_are_split() {
        let redis = Redis::start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        while runtime.block_on(redis.store.ping()).is_err() {}
        let staying: Vec<Entry> = (0..2_000).map(|number| entry(i64::from(number) * 1_000, number)).collect();
        let index = "owner:{splitting}";
        let ended = Cell::new(false);
        runtime.block_on(async {
            redis.store.index_add(index, &staying).await.expect("Redis answers");
            let before = redis.store.part_starts(index).await.expect("Redis answers").len();
            futures_util::join!(
                read_on(&redis.store, index, &staying, &ended),
                split_on(&redis.store, index, &ended),
                split_on(&redis.store, index, &ended)
            );
            let after = redis.store.part_starts(index).await.expect("Redis answers").len();
            assert!(after > 2 * before, "{before} parts became {after}");
        });
    }
}
