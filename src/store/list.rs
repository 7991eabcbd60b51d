//! Lists of an owner's links: by page number for API v1, from one place on for all others.
//!
//! What a page costs is told in ARCHITECTURE.md. A filter for which there is no index looks through the owner's links from the page's
//! beginning on, and gives up after [`SEARCH_TIME_MAX`]: the page is then short, and says where to go on. What it reads for that stays in
//! memory (`outlines.rs`).

use std::{
    cmp::Ordering,
    collections::VecDeque,
    ops::Range,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use redis::cmd;

use super::{
    ListedLink, Store, StoreError,
    index::{Direction, Entry, Index, Settled, UNDER_WAY, Walk},
    keys,
    links::{Outline, read_clicks, read_links, read_outlines},
    unless_damaged,
};
use crate::{
    domain::{Code, Email, Link, LinkState, Tag, statistics::TagSums},
    metrics::Operation,
};

/// Links read in one pipeline: some 100 kB of answer, under a millisecond of Redis' time, so that others get their turn between.
const READ_AT_ONCE: usize = 500;

/// How often a page is read anew because entries of its index had to be mended. Each round mends what it found.
const REPAIRS_MAX: usize = 5;

/// How long links are looked through for one page. An officer waits no longer than this and a page's reading.
const SEARCH_TIME_MAX: Duration = Duration::from_millis(130);

/// Which of an owner's links. Pages are asked for by number. Ties go by code, ascending.
#[derive(Clone, Debug)]
pub struct ListQuery {
    pub limit: usize,
    pub offset: usize,
    pub order_by: OrderBy,
    pub descending: bool,
    pub filter: Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderBy {
    CreatedAt,
    Clicks,
}

/// What all links of a list have.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub search: Option<Search>,
    pub state: Option<LinkState>,
    /// All of them.
    pub tags: Vec<Tag>,
}

/// What a link has in its code or its target, each part of it somewhere, and where else it is looked for.
#[derive(Clone, Debug)]
pub struct Search {
    texts: Vec<String>,
    in_description: bool,
}

impl Search {
    /// For a text as it stands. `None` when there is nothing to look for.
    pub fn new(text: &str, in_description: bool) -> Option<Self> {
        Some(Self { texts: vec![text.to_lowercase()], in_description }).filter(|_| !text.is_empty())
    }

    /// For words in any order, in the description too. `None` when there are none.
    pub fn words(text: &str) -> Option<Self> {
        let texts: Vec<String> = text.to_lowercase().split_whitespace().map(str::to_owned).collect();
        Some(Self { texts, in_description: true }).filter(|search| !search.texts.is_empty())
    }

    fn finds(&self, code: &Code, outline: &Outline) -> bool {
        let is_in = |text: &String| {
            code.as_str().contains(text)
                || outline.target.contains(text)
                || (self.in_description && outline.description.contains(text))
        };
        self.texts.iter().all(is_in)
    }
}

#[derive(Clone, Debug)]
pub struct Page {
    pub links: Vec<ListedLink>,
    /// All that match, not only those on the page.
    pub count: usize,
}

/// Which of an owner's links, from one place on.
#[derive(Clone, Debug)]
pub struct BrowseQuery {
    pub limit: usize,
    pub sort: Sort,
    /// `None`: the first page.
    pub after: Option<Place>,
    pub filter: Filter,
}

/// Ties go by code: ascending, with the fewest clicks first descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    NewestFirst,
    OldestFirst,
    MostClicks,
    FewestClicks,
    Code,
}

/// A place in a sorted list: just behind the link with this code, which had this time of creation (ms) or number of clicks. The link
/// itself may have moved since, or left the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// 0 when the list is sorted by code.
    pub rank: i64,
    pub code: Code,
}

/// What a whole list is sorted by before a page of it can be told. By time, the index is sorted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RankBy {
    Clicks,
    Code,
}

impl Sort {
    pub fn ranked_by(self) -> Option<RankBy> {
        match self {
            Self::NewestFirst | Self::OldestFirst => None,
            Self::MostClicks | Self::FewestClicks => Some(RankBy::Clicks),
            Self::Code => Some(RankBy::Code),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Browsed {
    pub links: Vec<ListedLink>,
    /// Where to go on; `None`: there are no more. A page may be short, even empty, and yet not the last.
    pub next: Option<Place>,
}

/// A link that may be on a page: its place in the list, and in the index that it was found in.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// As in [`Place`].
    rank: i64,
    entry: Entry,
}

/// What entries of an index lead to.
pub(super) struct Read {
    /// In the order of the entries; nothing where there is no link that belongs into the index.
    pub(super) links: Vec<Option<Link>>,
    /// Links that can't be read because their data are damaged.
    pub(super) damaged: Vec<Code>,
    /// Entries of the index that disagreed with the links.
    wrong: usize,
    pub(super) settled: Settled,
}

impl Store {
    /// An owner's links, one page of them, and how many match in all.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn list_links(&self, owner: &Email, query: &ListQuery) -> Result<Page, StoreError> {
        if query.filter.is_empty() && query.order_by == OrderBy::CreatedAt {
            self.list_by_index(owner, query).await
        } else {
            self.list_by_reading_all(owner, query).await
        }
    }

    async fn list_by_index(&self, owner: &Email, query: &ListQuery) -> Result<Page, StoreError> {
        let index = Index::of_all(owner);
        let direction = if query.descending { Direction::NewestFirst } else { Direction::OldestFirst };
        for _ in 0..REPAIRS_MAX {
            let (entries, count) = self.index_page(&index.key(), direction, query.offset, query.limit).await?;
            let read = self.read_entries(&index, &entries).await?;
            if read.wrong == 0 {
                let (links, _) = self.with_clicks(read.links.into_iter().flatten().collect()).await?;
                return Ok(Page { links, count: count.saturating_sub(read.damaged.len()) });
            }
        }
        // An index in such disorder is mended by reading all of it.
        self.list_by_reading_all(owner, query).await
    }

    async fn list_by_reading_all(&self, owner: &Email, query: &ListQuery) -> Result<Page, StoreError> {
        let index = Index::of_all(owner);
        let entries = self.index_all(&index.key()).await?;
        let read = self.read_entries(&index, &entries).await?;
        let matching =
            read.links.into_iter().flatten().filter(|link| query.filter.matches(&link.code, &Outline::of(link)));
        let (mut links, _) = self.with_clicks(matching.collect()).await?;
        links.sort_by(|a, b| {
            let order = match query.order_by {
                OrderBy::CreatedAt => a.link.created_at.cmp(&b.link.created_at),
                OrderBy::Clicks => a.clicks.cmp(&b.clicks),
            };
            let order = if query.descending { order.reverse() } else { order };
            order.then_with(|| a.link.code.cmp(&b.link.code))
        });
        // One whose entry was just put where it belongs may have been met in both places.
        links.dedup_by(|a, b| a.link.code == b.link.code);
        let count = links.len();
        let links = links.into_iter().skip(query.offset).take(query.limit).collect();
        Ok(Page { links, count })
    }

    /// An owner's links from one place on. `ranked` is what [`Store::rank_links`] answers for them, unless they are sorted by time.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn browse_links(
        &self,
        owner: &Email,
        query: &BrowseQuery,
        ranked: &Arc<[Candidate]>,
    ) -> Result<Browsed, StoreError> {
        let index = index_for(owner, &query.filter);
        let candidates = match query.sort {
            Sort::NewestFirst => Candidates::walk(&index.key(), Direction::NewestFirst, query.after.clone()),
            Sort::OldestFirst => Candidates::walk(&index.key(), Direction::OldestFirst, query.after.clone()),
            Sort::MostClicks | Sort::FewestClicks | Sort::Code => Candidates::ranked(ranked, query),
        };
        let started = Instant::now();
        let mut found: Vec<(Place, Link)> = Vec::new();
        let mut sifted = pin!(self.sifted(candidates, query));
        let next = loop {
            let Some((last, some)) = sifted.try_next().await? else { break None };
            let entries: Vec<Entry> = some.iter().map(|candidate| candidate.entry.clone()).collect();
            let read = self.read_entries(&index, &entries).await?;
            for (candidate, link) in some.iter().zip(read.links) {
                let matching = link.filter(|link| query.filter.matches(&link.code, &Outline::of(link)));
                let new = matching.filter(|link| found.iter().all(|(_, other)| other.code != link.code));
                found.extend(new.map(|link| (candidate.place(), link)));
            }
            if found.len() > query.limit {
                found.truncate(query.limit);
                break found.last().map(|(place, _)| place.clone());
            }
            if started.elapsed() >= SEARCH_TIME_MAX {
                break Some(last);
            }
        };
        let (links, _) = self.with_clicks(found.into_iter().map(|(_, link)| link).collect()).await?;
        Ok(Browsed { links, next })
    }

    /// Candidates that may match, some at a time, and the last place that was looked at for them.
    fn sifted(
        &self,
        candidates: Candidates,
        query: &BrowseQuery,
    ) -> impl Stream<Item = Result<(Place, Vec<Candidate>), StoreError>> {
        let filter = &query.filter;
        // One more than the page holds shows whether there are more.
        let (at_once, under_way) = if filter.is_indexed() { (query.limit + 1, 1) } else { (READ_AT_ONCE, UNDER_WAY) };
        let chunks = stream::unfold(candidates, move |mut candidates| async move {
            let some = candidates.next(self, at_once).await;
            let is_last = some.as_ref().is_ok_and(Vec::is_empty);
            (!is_last).then_some((some, candidates))
        });
        let sift = move |some: Result<Vec<Candidate>, StoreError>| async move {
            let some = some?;
            let last = some.last().map(Candidate::place).expect("the last chunk is left out, and others aren't empty");
            let some = if filter.is_indexed() { some } else { self.sift(some, filter).await? };
            Ok((last, some))
        };
        chunks.map(sift).buffered(under_way)
    }

    /// All links of an owner that have the filter's first tag, if it has one: by clicks, most first, or by code. Costs the reading of the
    /// whole index, and by clicks one HGET a link.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked or holds what no merlink wrote.
    pub async fn rank_links(
        &self,
        owner: &Email,
        filter: &Filter,
        rank_by: RankBy,
    ) -> Result<Arc<[Candidate]>, StoreError> {
        let entries = self.index_all(&index_for(owner, filter).key()).await?;
        let mut ranked = Vec::with_capacity(entries.len());
        match rank_by {
            RankBy::Code => ranked.extend(entries.into_iter().map(|entry| Candidate { rank: 0, entry })),
            RankBy::Clicks => {
                let read = |chunk: &[Entry]| {
                    let codes: Vec<Code> = chunk.iter().map(|entry| entry.code.clone()).collect();
                    self.ask(Operation::LinkList, async move |redis| read_clicks(redis, &codes).await)
                };
                let chunks: Vec<_> = entries.chunks(READ_AT_ONCE).map(read).collect();
                let clicks: Vec<_> = stream::iter(chunks).buffered(UNDER_WAY).try_collect().await?;
                for (entry, clicks) in entries.into_iter().zip(clicks.into_iter().flatten()) {
                    // Damaged counters keep nobody from the others.
                    let clicks = unless_damaged(clicks)?.unwrap_or(0);
                    ranked.push(Candidate { rank: i64::try_from(clicks).unwrap_or(i64::MAX), entry });
                }
            }
        }
        ranked.sort_unstable_by(highest_first);
        Ok(ranked.into())
    }

    /// An owner's tags, in lower case, in alphabetical order. A tag that no link has any more is forgotten.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn tags_of(&self, owner: &Email) -> Result<Vec<Tag>, StoreError> {
        let key = keys::tags(owner);
        let names: Vec<String> =
            self.ask(Operation::LinkList, async |redis| cmd("SMEMBERS").arg(&key).query_async(redis).await).await?;
        let mut tags: Vec<Tag> = names.iter().filter_map(|name| name.parse().ok()).collect();
        tags.sort_by_key(Tag::key);
        let used: Vec<bool> = self
            .ask(Operation::LinkList, async |redis| {
                let used = |tag: &Tag| cmd("EXISTS").arg(keys::tag(owner, tag)).to_owned();
                redis.many(tags.iter().map(used).collect()).await
            })
            .await?;
        let mut used = used.into_iter();
        tags.retain(|_| used.next().unwrap_or(false));
        Ok(tags)
    }

    /// What the links with one tag come to. Costs one HGET a link.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn tag_sums(&self, owner: &Email, tag: &Tag) -> Result<TagSums, StoreError> {
        let filter = Filter { tags: vec![tag.clone()], ..Filter::default() };
        let ranked = self.rank_links(owner, &filter, RankBy::Clicks).await?;
        let clicks = ranked.iter().map(|candidate| candidate.rank.unsigned_abs()).sum();
        Ok(TagSums { links: ranked.len() as u64, clicks })
    }

    /// Leaves out candidates that don't match, by as little of each link as tells, from memory if it is there. What can't be told is left to [`Self::read_entries`].
    async fn sift(&self, candidates: Vec<Candidate>, filter: &Filter) -> Result<Vec<Candidate>, StoreError> {
        let known = candidates.iter().map(|candidate| self.outlines.get(&candidate.entry.code));
        let known: Vec<Option<Arc<Outline>>> = known.collect();
        let unknown = candidates.iter().zip(&known).filter(|(_, outline)| outline.is_none());
        let unknown: Vec<&Code> = unknown.map(|(candidate, _)| &candidate.entry.code).collect();
        let mut read = self.read_outlines(&unknown).await?.into_iter();
        let unclear_or_matching = |(candidate, outline): (Candidate, Option<Arc<Outline>>)| {
            let outline = outline.or_else(|| read.next().flatten());
            let matches = outline.is_none_or(|outline| filter.matches(&candidate.entry.code, &outline));
            matches.then_some(candidate)
        };
        Ok(candidates.into_iter().zip(known).filter_map(unclear_or_matching).collect())
    }

    /// The outlines of these codes from Redis, and into memory.
    async fn read_outlines(&self, codes: &[&Code]) -> Result<Vec<Option<Arc<Outline>>>, StoreError> {
        if codes.is_empty() {
            return Ok(Vec::new());
        }
        let before = self.outlines.before_reading();
        let read = self.ask(Operation::LinkList, async |redis| read_outlines(redis, codes).await).await?;
        let keep = |(code, outline): (&&Code, Result<Option<Outline>, StoreError>)| {
            let outline = unless_damaged(outline)?.flatten();
            Ok(outline.map(|outline| self.outlines.keep(code, outline, before)))
        };
        codes.iter().zip(read).map(keep).collect()
    }

    /// Reads the links of `entries`, and settles entries that disagree with theirs.
    pub(super) async fn read_entries(&self, index: &Index, entries: &[Entry]) -> Result<Read, StoreError> {
        let mut links = Vec::with_capacity(entries.len());
        let (mut wrong, mut damaged) = (Vec::new(), Vec::new());
        for chunk in entries.chunks(READ_AT_ONCE) {
            let codes: Vec<Code> = chunk.iter().map(|entry| entry.code.clone()).collect();
            let found = self.ask(Operation::LinkList, async |redis| read_links(redis, &codes).await).await?;
            for (entry, link) in chunk.iter().zip(found) {
                let link = match link {
                    Ok(link) => link.filter(|link| index.has(link)),
                    Err(error @ StoreError::Unavailable(_)) => return Err(error),
                    // One damaged link doesn't hide all the others from their owner.
                    Err(error @ StoreError::Corrupt(_)) => {
                        tracing::error!("left out of a list: {error}");
                        damaged.push(entry.code.clone());
                        links.push(None);
                        continue;
                    }
                };
                if link.as_ref().map(Entry::of).as_ref() != Some(entry) {
                    wrong.push(entry.clone());
                }
                links.push(link);
            }
        }
        let settled = self.index_settle(index, &wrong).await?;
        if !wrong.is_empty() {
            tracing::debug!(owner.domain = index.owner.domain(), "{} wrong entries: {settled:?}", wrong.len());
        }
        Ok(Read { links, damaged, wrong: wrong.len(), settled })
    }

    /// Adds the totals of their clicks to links. Links whose counters are damaged are left out, and named in the second list.
    pub(super) async fn with_clicks(&self, links: Vec<Link>) -> Result<(Vec<ListedLink>, Vec<Code>), StoreError> {
        let (mut listed, mut damaged) = (Vec::with_capacity(links.len()), Vec::new());
        for chunk in links.chunks(READ_AT_ONCE) {
            let codes: Vec<Code> = chunk.iter().map(|link| link.code.clone()).collect();
            let clicks = self.ask(Operation::LinkList, async |redis| read_clicks(redis, &codes).await).await?;
            for (link, clicks) in chunk.iter().zip(clicks) {
                match clicks {
                    Ok(clicks) => listed.push(ListedLink { link: link.clone(), clicks }),
                    Err(error @ StoreError::Unavailable(_)) => return Err(error),
                    Err(error @ StoreError::Corrupt(_)) => {
                        tracing::error!("left out of a list: {error}");
                        damaged.push(link.code.clone());
                    }
                }
            }
        }
        Ok((listed, damaged))
    }
}

/// The index with the fewest entries that has all links of a filter.
fn index_for(owner: &Email, filter: &Filter) -> Index {
    Index { owner: owner.clone(), tag: filter.tags.first().cloned() }
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        self.search.is_none() && self.state.is_none() && self.tags.is_empty()
    }

    /// Whether an index has exactly the links that match.
    fn is_indexed(&self) -> bool {
        self.search.is_none() && self.state.is_none() && self.tags.len() <= 1
    }

    pub(super) fn fits(&self, link: &Link) -> bool {
        self.is_empty() || self.matches(&link.code, &Outline::of(link))
    }

    fn matches(&self, code: &Code, outline: &Outline) -> bool {
        self.state.is_none_or(|state| state == outline.state)
            && self.tags.iter().all(|tag| outline.tags.contains(tag))
            && self.search.as_ref().is_none_or(|search| search.finds(code, outline))
    }
}

impl Candidate {
    fn place(&self) -> Place {
        Place { rank: self.rank, code: self.entry.code.clone() }
    }
}

/// Where a page's links come from.
enum Candidates {
    /// An index, read as far as it is needed.
    Walk { walk: Walk, read: VecDeque<Entry> },
    /// Those between two places of a ranking.
    Ranked { all: Arc<[Candidate]>, left: Range<usize>, from_the_end: bool },
}

impl Candidates {
    fn walk(index: &str, direction: Direction, after: Option<Place>) -> Self {
        let after = after.map(|place| Entry { created_ms: place.rank, code: place.code });
        Self::Walk { walk: Walk::new(index.to_owned(), direction, after), read: VecDeque::new() }
    }

    fn ranked(all: &Arc<[Candidate]>, query: &BrowseQuery) -> Self {
        let from_the_end = query.sort == Sort::FewestClicks;
        let left = match &query.after {
            None => 0..all.len(),
            Some(after) => {
                let after = Candidate { rank: after.rank, entry: Entry { created_ms: 0, code: after.code.clone() } };
                if from_the_end {
                    0..all.partition_point(|candidate| highest_first(candidate, &after).is_lt())
                } else {
                    all.partition_point(|candidate| highest_first(candidate, &after).is_le())..all.len()
                }
            }
        };
        Self::Ranked { all: Arc::clone(all), left, from_the_end }
    }

    /// The next ones, at most `count`; none when there are no more.
    async fn next(&mut self, store: &Store, count: usize) -> Result<Vec<Candidate>, StoreError> {
        Ok(match self {
            Self::Walk { walk, read } => {
                if read.is_empty() {
                    read.extend(walk.next(store).await?);
                }
                let some = read.drain(..count.min(read.len()));
                some.map(|entry| Candidate { rank: entry.created_ms, entry }).collect()
            }
            Self::Ranked { all, left, from_the_end } => {
                let count = count.min(left.len());
                if *from_the_end {
                    left.end -= count;
                    all[left.end..left.end + count].iter().rev().cloned().collect()
                } else {
                    left.start += count;
                    all[left.start - count..left.start].to_vec()
                }
            }
        })
    }
}

/// Those of one rank by code: where all have the same, the order is the code's.
fn highest_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.rank.cmp(&a.rank).then_with(|| a.entry.code.cmp(&b.entry.code))
}
