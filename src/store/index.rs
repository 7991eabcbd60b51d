//! Indexes: codes in the order of their creation, a few bytes each, of any length.
//!
//! A sorted set of a million codes takes some 100 bytes an entry. Redis packs one of up to 128 entries into a flat block, where an entry
//! takes 17, so an index is many of those: parts, each with the codes created from one time on until the next part starts, and one
//! sorted set of those times. A part's scores count from its start, since Redis packs small numbers smaller. A part that is full is
//! followed by a new one when the new code is the latest of it, as nearly always, and split in halves otherwise. Codes of one
//! millisecond are never in two parts, so that within a part any order among them can be had.
//!
//! Indexes are hints: whoever reads one compares it with the links. What is written here is therefore several commands, each of which may
//! be lost or repeated.

use std::{cmp::Ordering, pin::pin, sync::LazyLock};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use redis::{Cmd, RedisError, cmd};

use super::{
    Store, StoreError,
    connection::{Connection, Lua},
    keys,
};
use crate::{
    domain::{Code, Link},
    metrics::Operation,
};

pub(super) static ADD: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/index_add.lua")));
pub(super) static REMOVE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/index_remove.lua")));

/// 120 entries of eight-letter codes fill the 2,048 bytes that the allocator gives; 128 would take 2,560. Redis' own bound is 128.
const PART_ENTRIES_MAX: usize = 120;

/// Codes older than the whole index, as an import brings, are given parts of up to this: 2^30 ms, 12 days, the most that stays small.
const PART_BEFORE_MS: i64 = 1 << 30;

/// Entries in one call: some 2 ms of Redis' time.
pub const ENTRIES_AT_ONCE: usize = 500;

/// Parts read in one pipeline: some 10,000 codes, a millisecond of Redis' time.
const PARTS_AT_ONCE: usize = 100;

/// Exchanges of one long list under way at once: Redis has the next one ready while the answer to one is being read.
pub const UNDER_WAY: usize = 3;

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
            let starts = store.ask(Operation::LinkList, async |redis| self.next_starts(redis).await).await?;
            self.ended = starts.len() < self.parts_at_once;
            self.parts_at_once = (self.parts_at_once * 2).min(PARTS_AT_ONCE * UNDER_WAY);
            self.behind = starts.last().copied().or(self.behind);
            let mut entries = store.read_parts(&self.index, &starts).await?;
            // A part that was split meanwhile comes twice.
            if let Some(after) = &self.after {
                entries.retain(|entry| self.direction.compare(entry, after) == Ordering::Greater);
            }
            entries.sort_unstable_by(|a, b| self.direction.compare(a, b));
            if let Some(last) = entries.last() {
                self.after = Some(last.clone());
                return Ok(entries);
            }
        }
        Ok(Vec::new())
    }

    async fn next_starts(&self, redis: &mut Connection) -> Result<Vec<i64>, RedisError> {
        let mut range = cmd("ZRANGE");
        range.arg(&self.index);
        match self.direction {
            Direction::NewestFirst => {
                let place = self.after.as_ref().map(|after| after.created_ms.to_string());
                let first = self.behind.map(|start| format!("({start}")).or(place);
                range.arg(first.as_deref().unwrap_or("+inf")).arg(&["-inf", "BYSCORE", "REV"]);
            }
            Direction::OldestFirst => {
                let first = match (self.behind, &self.after) {
                    (Some(start), _) => format!("({start}"),
                    (None, Some(after)) => self.start_of_part(redis, after).await?,
                    (None, None) => "-inf".to_owned(),
                };
                range.arg(first).arg(&["+inf", "BYSCORE"]);
            }
        }
        range.arg("LIMIT").arg(0).arg(self.parts_at_once).query_async(redis).await
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

    pub(super) async fn index_remove(&self, index: &str, entries: &[Entry]) -> Result<(), StoreError> {
        for chunk in entries.chunks(ENTRIES_AT_ONCE) {
            self.ask(Operation::LinkWrite, async |redis| remove(redis, index, chunk).await).await?;
        }
        Ok(())
    }

    /// How many entries indexes have in all. Costs one ZCARD for 120 of them.
    pub(super) async fn index_len(&self, indexes: &[String]) -> Result<usize, StoreError> {
        let mut len = 0;
        for chunk in indexes.chunks(ENTRIES_AT_ONCE) {
            let starts: Vec<Vec<i64>> = self
                .ask(Operation::LinkList, async |redis| {
                    redis
                        .many(chunk.iter().map(|index| cmd("ZRANGE").arg(index).arg(0).arg(-1).to_owned()).collect())
                        .await
                })
                .await?;
            let parts: Vec<String> = chunk
                .iter()
                .zip(starts)
                .flat_map(|(index, starts)| starts.into_iter().map(move |start| keys::index_part(index, start)))
                .collect();
            len += self.part_sizes(&parts).await?.iter().sum::<usize>();
        }
        Ok(len)
    }

    async fn part_sizes(&self, parts: &[String]) -> Result<Vec<usize>, StoreError> {
        let mut sizes = Vec::with_capacity(parts.len());
        for chunk in parts.chunks(ENTRIES_AT_ONCE) {
            let size = |part: &String| cmd("ZCARD").arg(part).to_owned();
            let some: Vec<usize> =
                self.ask(Operation::LinkList, async |redis| redis.many(chunk.iter().map(size).collect()).await).await?;
            sizes.extend(some);
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
        let starts = self.part_starts(index).await?;
        let keys: Vec<String> = starts.iter().map(|start| keys::index_part(index, *start)).collect();
        let mut parts: Vec<(i64, usize)> = starts.into_iter().zip(self.part_sizes(&keys).await?).collect();
        let count = parts.iter().map(|(_, size)| size).sum();
        if direction == Direction::NewestFirst {
            parts.reverse();
        }
        let mut skip = offset;
        let mut starts = Vec::new();
        let mut ahead = 0;
        for (start, size) in parts {
            if starts.is_empty() && skip >= size {
                skip -= size;
            } else if ahead < skip.saturating_add(limit) {
                ahead += size;
                starts.push(start);
            } else {
                break;
            }
        }
        let mut entries = self.read_parts(index, &starts).await?;
        entries.sort_unstable_by(|a, b| direction.compare(a, b));
        Ok((entries.into_iter().skip(skip).take(limit).collect(), count))
    }

    /// All entries, oldest part first.
    pub(super) async fn index_all(&self, index: &str) -> Result<Vec<Entry>, StoreError> {
        let starts = self.part_starts(index).await?;
        self.read_parts(index, &starts).await
    }

    async fn read_parts(&self, index: &str, starts: &[i64]) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::with_capacity(starts.len() * PART_ENTRIES_MAX);
        let read = |chunk| self.ask(Operation::LinkList, async move |redis| read_parts(redis, index, chunk).await);
        let mut chunks = pin!(stream::iter(starts.chunks(PARTS_AT_ONCE).map(read)).buffered(UNDER_WAY));
        while let Some(parts) = chunks.try_next().await? {
            entries.extend(parts.into_iter().flatten());
        }
        Ok(entries)
    }
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

/// Takes entries out, at most [`ENTRIES_AT_ONCE`].
pub async fn remove(redis: &mut Connection, index: &str, entries: &[Entry]) -> Result<(), RedisError> {
    let mut call = REMOVE.call(index.to_owned());
    for entry in entries {
        call.arg(entry.created_ms).arg(entry.code.as_str());
    }
    redis.run(&REMOVE, &call).await
}

async fn read_parts(redis: &mut Connection, index: &str, starts: &[i64]) -> Result<Vec<Vec<Entry>>, RedisError> {
    let read =
        |start: &i64| cmd("ZRANGE").arg(keys::index_part(index, *start)).arg(0).arg(-1).arg("WITHSCORES").to_owned();
    let parts: Vec<Vec<(String, i64)>> = redis.many(starts.iter().map(read).collect()).await?;
    let entries = |(start, part): (&i64, Vec<(String, i64)>)| {
        part.into_iter()
            // What is no code was written by no merlink.
            .filter_map(|(code, offset_ms)| {
                Some(Entry { created_ms: start + offset_ms, code: keys::parse_code(&code)? })
            })
            .collect()
    };
    Ok(starts.iter().zip(parts).map(entries).collect())
}

#[cfg(test)]
mod tests {
    use std::{
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
        let number = std::cell::Cell::new(0);
        runner
            .run(&(steps(), any::<usize>(), 1..200_usize), |(steps, at, at_once)| {
                number.set(number.get() + 1);
                let index = format!("owner:{{{}}}", number.get());
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
                                    redis.store.index_remove(&index, &[gone]).await.expect("Redis answers");
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
}
