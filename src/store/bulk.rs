//! Many links at once: created from a file, and read one after the other until there are no more.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    fmt,
    hash::BuildHasher as _,
    sync::LazyLock,
};

use foldhash::quality::RandomState;
use redis::{Cmd, RedisError, Value, cmd, from_redis_value};

use super::{
    Filter, ListedLink, NewLink, Store, StoreError,
    connection::{Connection, Lua},
    index::{self, Addition, Direction, ENTRIES_AT_ONCE, Entry, Index, Walk},
    keys::{self, LINKS_CHANNEL, link_field},
    links::{CREATE, read_links},
    scan::KeyScan,
    unless_damaged,
};
use crate::{
    domain::{Code, Email, Link, Tag},
    metrics::Operation,
};

pub(super) static CREATE_MANY: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/create_links.lua")));

/// Links created in one exchange: some 20 ms of Redis' time, between whose calls officers and the flusher get their turn.
pub const LINKS_AT_ONCE: usize = 2000;

/// Links in one call of the script: half a millisecond in which nobody else is served.
const LINKS_IN_A_CALL: usize = 50;

/// Links read in one exchange.
const READ_AT_ONCE: usize = 500;

/// What became of one of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkCreated {
    Yes,
    /// There is a link with this code; it is left as it is.
    Existed(Box<Link>),
    /// What stands there can't be read, so nobody knows whether it is the same.
    Damaged,
}

impl Store {
    /// Creates links, at most [`LINKS_AT_ONCE`] of them, each as [`Store::create_link`] does; answers what became of each.
    ///
    /// Two things differ. Indexes are written last, since entries of links that were created long ago would be dropped by a reader who
    /// finds no link yet; so a crash can leave links that their owners don't see, until the same links are created again, which writes
    /// the entries of those that exist too. And nothing tells a repetition from another's creation: the caller compares.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: any of them may or may not have been created. Created again, those that were exist.
    pub async fn create_links(&self, new: &[NewLink]) -> Result<Vec<BulkCreated>, StoreError> {
        let links: Vec<Link> = new.iter().map(NewLink::as_created).collect();
        let create = async |redis: &mut Connection| {
            if redis.takes_transactions().await {
                let calls = new.chunks(LINKS_IN_A_CALL).zip(links.chunks(LINKS_IN_A_CALL)).map(call).collect();
                Ok(redis.run_many::<Vec<bool>>(&CREATE_MANY, calls).await?.concat())
            } else {
                let calls = new.iter().zip(&links).map(|(new, link)| new.call(link, None)).collect();
                redis.run_many(&CREATE, calls).await
            }
        };
        let created: Result<Vec<bool>, StoreError> = self.ask(Operation::LinkWrite, create).await;
        for (number, (new, link)) in new.iter().zip(&links).enumerate() {
            // When the answer was lost, it may have been any of them.
            if created.as_ref().map_or(true, |created| created[number]) {
                self.trail_created(link, &new.by, &created);
            }
        }
        let created = created?;
        let taken: Vec<Code> =
            links.iter().zip(&created).filter(|(_, created)| !**created).map(|(link, _)| link.code.clone()).collect();
        let mut existing = self.links_of(&taken).await?.into_iter();
        let became: Vec<BulkCreated> = created
            .into_iter()
            .map(|created| if created { BulkCreated::Yes } else { existing.next().unwrap_or(BulkCreated::Damaged) })
            .collect();
        let there = links.iter().zip(&became).filter_map(|(link, became)| match became {
            BulkCreated::Yes => Some(link),
            BulkCreated::Existed(existing) => Some(existing),
            BulkCreated::Damaged => None,
        });
        self.index_links(&there.collect::<Vec<_>>()).await?;
        Ok(became)
    }

    /// What [`Self::create_links`] would answer for these codes, without creating anything; `None`: it would be created.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn existing_links(&self, codes: &[Code]) -> Result<Vec<Option<BulkCreated>>, StoreError> {
        let found = self.ask(Operation::LinkRead, async |redis| read_links(redis, codes).await).await?;
        let existing = |link| match link {
            Ok(Some(link)) => Ok(Some(BulkCreated::Existed(Box::new(link)))),
            Ok(None) => Ok(None),
            Err(StoreError::Corrupt(_)) => Ok(Some(BulkCreated::Damaged)),
            Err(error @ StoreError::Unavailable(_)) => Err(error),
        };
        found.into_iter().map(existing).collect()
    }

    /// Reads the creator of each link, with the creation's mark, in the form of [`Actor::marked`].
    /// `None` when there is no such link or its data are damaged.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn creators_of(&self, codes: &[Code]) -> Result<Vec<Option<String>>, StoreError> {
        let read = |code: &Code| cmd("HGET").arg(keys::link(code.as_str())).arg(link_field::CREATED_BY).to_owned();
        let read: Vec<Cmd> = codes.iter().map(read).collect();
        let creators = self.ask(Operation::LinkRead, async |redis| redis.each(read).await).await?;
        let creator = |answer: Result<Value, RedisError>| {
            let creator = answer.and_then(|value| Ok(from_redis_value::<Option<String>>(value)?));
            Ok(unless_damaged(creator.map_err(StoreError::from))?.flatten())
        };
        creators.into_iter().map(creator).collect()
    }

    async fn links_of(&self, codes: &[Code]) -> Result<Vec<BulkCreated>, StoreError> {
        if codes.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.existing_links(codes).await?;
        Ok(found.into_iter().map(|found| found.unwrap_or(BulkCreated::Damaged)).collect())
    }

    /// Adds links to the indexes that they belong to, and their owners to the accounts.
    async fn index_links(&self, links: &[&Link]) -> Result<(), StoreError> {
        if links.is_empty() {
            return Ok(());
        }
        let mut entries: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for link in links {
            for index in Index::all_of(link) {
                entries.entry(index.key()).or_default().push(Entry::of(link));
            }
        }
        self.ask(Operation::LinkWrite, async |redis| note_owners(redis, links).await).await?;
        let additions: Vec<Addition> = entries
            .iter_mut()
            .flat_map(|(index, entries)| {
                entries.sort_unstable_by(|a, b| Direction::OldestFirst.compare(a, b));
                entries.chunks(ENTRIES_AT_ONCE).map(move |chunk| (index.as_str(), chunk))
            })
            .collect();
        self.ask(Operation::LinkWrite, async |redis| index::add_many(redis, &additions).await).await
    }

    /// All links of one owner, or of everybody, that match, some at a time: each owner's from the oldest on.
    pub fn walk_links(&self, owner: Option<Email>, filter: Filter) -> LinkWalk {
        let source = match owner {
            Some(owner) => Source::Owner(OwnerWalk::new(&owner)),
            None => Source::Everybody(Box::default()),
        };
        LinkWalk { store: self.clone(), source, filter, damaged: Damaged::default(), passed_over: Vec::new() }
    }
}

/// One call that creates a few links, none of which is where another server's are.
fn call((new, links): (&[NewLink], &[Link])) -> Cmd {
    let keys: Vec<String> = links.iter().map(|link| keys::link(link.code.as_str())).collect();
    let mut call = CREATE_MANY.call_with(&keys);
    call.arg(LINKS_CHANNEL);
    for (new, link) in new.iter().zip(links) {
        let fields = new.fields(link);
        call.arg(keys::changed(&link.code, 1)).arg(fields.len() * 2);
        for (field, value) in fields {
            call.arg(field).arg(value);
        }
    }
    call
}

/// Makes owners and tags of links known: when the first link of each owner was created, and which
/// tags their links have.
pub(super) async fn note_owners(redis: &mut Connection, links: &[&Link]) -> Result<(), RedisError> {
    let mut owners: BTreeMap<&Email, (i64, Vec<String>)> = BTreeMap::new();
    for link in links {
        let created_ms = link.created_at.as_millisecond();
        let (first_ms, tags) = owners.entry(&link.owner).or_insert((created_ms, Vec::new()));
        *first_ms = created_ms.min(*first_ms);
        tags.extend(link.tags.iter().map(Tag::key));
    }
    let mut accounts = cmd("ZADD");
    accounts.arg(keys::ACCOUNTS).arg("NX");
    let mut commands = Vec::new();
    for (owner, (first_ms, mut tags)) in owners {
        accounts.arg(first_ms).arg(owner.as_str());
        tags.sort_unstable();
        tags.dedup();
        if !tags.is_empty() {
            commands.push(cmd("SADD").arg(keys::tags(owner)).arg(tags).to_owned());
        }
    }
    commands.push(accounts);
    redis.many::<Value>(commands).await?;
    Ok(())
}

/// See [`Store::walk_links`]. A link that is there all the time is met once, whoever's it becomes
/// meanwhile. One that is created meanwhile may or may not be met.
pub struct LinkWalk {
    store: Store,
    source: Source,
    filter: Filter,
    damaged: Damaged,
    passed_over: Vec<Code>,
}

enum Source {
    Owner(OwnerWalk),
    Everybody(Box<EverybodysWalk>),
}

struct OwnerWalk {
    index: Index,
    walk: Walk,
    read: VecDeque<Entry>,
}

/// Goes from owner to owner, and at last through all links for those that it hasn't met: they
/// changed hands meanwhile, or their entry got lost.
#[derive(Default)]
struct EverybodysWalk {
    /// `None` before the first step.
    owners: Option<VecDeque<Email>>,
    owner: Option<OwnerWalk>,
    scan: Option<LinkScan>,
    read: VecDeque<Code>,
    /// Hashes of the codes that were met, 8 bytes each. Of ten million links, one is taken for
    /// another with a chance of 1 in 400,000.
    met: HashSet<u64>,
    /// Those that were handed out last.
    handed: Vec<u64>,
    /// Seeded by chance, so that nobody can choose codes that are taken for each other.
    hashes: RandomState,
}

/// Links that were left out because their data are damaged: how many, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damaged {
    pub links: u64,
    pub first: Vec<Code>,
}

impl Damaged {
    /// As many as a person reads.
    const NAMED_MAX: usize = 20;

    pub(super) fn add(&mut self, codes: impl IntoIterator<Item = Code>) {
        for code in codes {
            self.links += 1;
            if self.first.len() < Self::NAMED_MAX {
                self.first.push(code);
            }
        }
    }
}

impl fmt::Display for Damaged {
    /// The first codes, and how many follow: "a, b and 3 more".
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.first.iter().map(Code::as_str).collect();
        formatter.write_str(&names.join(", "))?;
        match self.links - names.len() as u64 {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

impl LinkWalk {
    /// The next links, at most 500; none when there are no more.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked. Asked again, it goes on where it was.
    pub async fn next(&mut self) -> Result<Vec<ListedLink>, StoreError> {
        loop {
            let Some((links, damaged)) = self.source.next(&self.store).await? else { return Ok(Vec::new()) };
            let matching = links.into_iter().filter(|link| self.filter.fits(link)).collect();
            let (links, without_clicks) = self.store.with_clicks(matching).await?;
            self.source.passed();
            let passed_over: Vec<Code> = damaged.into_iter().chain(without_clicks).collect();
            self.damaged.add(passed_over.iter().cloned());
            self.passed_over.extend(passed_over);
            if !links.is_empty() {
                return Ok(links);
            }
        }
    }

    /// The links that were left out since this was last asked.
    pub fn take_passed_over(&mut self) -> Vec<Code> {
        std::mem::take(&mut self.passed_over)
    }

    /// Links that the walk has left out so far.
    pub fn damaged(&self) -> &Damaged {
        &self.damaged
    }
}

/// Links, and the codes of those that can't be read.
type Links = (Vec<Link>, Vec<Code>);

impl Source {
    /// The next links; the same again until [`Self::passed`] is called. `None` when there are no
    /// more.
    async fn next(&mut self, store: &Store) -> Result<Option<Links>, StoreError> {
        match self {
            Self::Owner(walk) => walk.next(store).await,
            Self::Everybody(walk) => walk.next(store).await,
        }
    }

    /// Notes that what [`Self::next`] answered last has been dealt with.
    fn passed(&mut self) {
        match self {
            Self::Owner(walk) => walk.passed(),
            Self::Everybody(walk) => walk.passed(),
        }
    }
}

impl OwnerWalk {
    fn new(owner: &Email) -> Self {
        let index = Index::of_all(owner);
        let walk = Walk::new(index.key(), Direction::OldestFirst, None);
        Self { index, walk, read: VecDeque::new() }
    }

    async fn next(&mut self, store: &Store) -> Result<Option<Links>, StoreError> {
        if self.read.is_empty() {
            self.read.extend(self.walk.next(store).await?);
        }
        if self.read.is_empty() {
            return Ok(None);
        }
        let entries: Vec<Entry> = self.read.iter().take(READ_AT_ONCE).cloned().collect();
        let read = store.read_entries(&self.index, &entries).await?;
        Ok(Some((read.links.into_iter().flatten().collect(), read.damaged)))
    }

    fn passed(&mut self) {
        self.read.drain(..self.read.len().min(READ_AT_ONCE));
    }
}

impl EverybodysWalk {
    async fn next(&mut self, store: &Store) -> Result<Option<Links>, StoreError> {
        loop {
            if let Some(walk) = &mut self.owner {
                let Some((mut links, mut damaged)) = walk.next(store).await? else {
                    self.owner = None;
                    continue;
                };
                links.retain(|link| !self.met.contains(&self.hashes.hash_one(link.code.as_str())));
                damaged.retain(|code| !self.met.contains(&self.hashes.hash_one(code.as_str())));
                self.hand(&links, &damaged);
                return Ok(Some((links, damaged)));
            }
            let owners = match &mut self.owners {
                Some(owners) => owners,
                None => self.owners.insert(store.officers().await?.into()),
            };
            if let Some(owner) = owners.pop_front() {
                self.owner = Some(OwnerWalk::new(&owner));
                continue;
            }
            let scan = match &mut self.scan {
                Some(scan) => scan,
                None => self.scan.insert(store.scan_links().await?),
            };
            while self.read.is_empty() {
                let Some(mut codes) = scan.next(store).await? else { return Ok(None) };
                // SCAN may name a key more than once.
                codes.sort_unstable();
                codes.dedup();
                let is_new = |code: &Code| !self.met.contains(&self.hashes.hash_one(code.as_str()));
                self.read.extend(codes.into_iter().filter(is_new));
            }
            let codes = self.read.iter().take(READ_AT_ONCE).cloned().collect();
            let (links, damaged) = store.links_as_they_are(codes).await?;
            self.hand(&links, &damaged);
            return Ok(Some((links, damaged)));
        }
    }

    fn hand(&mut self, links: &[Link], damaged: &[Code]) {
        let codes = links.iter().map(|link| &link.code).chain(damaged);
        self.handed = codes.map(|code| self.hashes.hash_one(code.as_str())).collect();
    }

    fn passed(&mut self) {
        self.met.extend(self.handed.drain(..));
        match &mut self.owner {
            Some(walk) => walk.passed(),
            None => drop(self.read.drain(..self.read.len().min(READ_AT_ONCE))),
        }
    }
}

/// Walks through all links' codes. A link that exists throughout the walk is met at least once.
pub(super) struct LinkScan(KeyScan);

impl LinkScan {
    /// Returns the next codes, perhaps none; `None` at the end.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Option<Vec<Code>>, StoreError> {
        let code = |key: &String| keys::parse_code(keys::code_of_link(key)?);
        Ok(self.0.next(store).await?.map(|keys| keys.iter().filter_map(code).collect()))
    }
}

impl Store {
    /// Begins a walk through all links' codes.
    pub(super) async fn scan_links(&self) -> Result<LinkScan, StoreError> {
        Ok(LinkScan(self.scan(Operation::LinkList, keys::link("*")).await?))
    }
}
