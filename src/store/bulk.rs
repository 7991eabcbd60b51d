//! Many links at once: created from a file, and read one after the other until there are no more.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::LazyLock,
};

use jiff::Timestamp;
use redis::{Cmd, RedisError, Value, cmd};

use super::{
    Filter, ListedLink, NewLink, Store, StoreError,
    connection::{Connection, Lua},
    index::{self, Addition, Direction, ENTRIES_AT_ONCE, Entry, Walk},
    keys::{self, LINKS_CHANNEL},
    links::{CREATE, indexes, read_links},
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
                let calls = new.iter().zip(&links).map(|(new, link)| new.call(link, false)).collect();
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
        let mut owners: BTreeMap<&Email, (i64, Vec<String>)> = BTreeMap::new();
        for link in links {
            let created_ms = link.created_at.as_millisecond();
            let (first_ms, tags) = owners.entry(&link.owner).or_insert((created_ms, Vec::new()));
            *first_ms = created_ms.min(*first_ms);
            tags.extend(link.tags.iter().map(Tag::key));
            for index in indexes(link) {
                entries.entry(index).or_default().push(Entry::of(link));
            }
        }
        self.ask(Operation::LinkWrite, async |redis| note_owners(redis, owners).await).await?;
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
        let owners = match owner {
            Some(owner) => Owners::Known(VecDeque::from([owner])),
            None => Owners::All,
        };
        LinkWalk { store: self.clone(), owners, filter, walk: None, read: VecDeque::new(), damaged: Damaged::default() }
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

/// Makes owners and tags known: when the first link of each was created, and which tags it has.
async fn note_owners(redis: &mut Connection, owners: BTreeMap<&Email, (i64, Vec<String>)>) -> Result<(), RedisError> {
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

/// See [`Store::walk_links`]. Links that are created meanwhile may or may not be met.
pub struct LinkWalk {
    store: Store,
    owners: Owners,
    filter: Filter,
    walk: Option<(Email, Walk)>,
    read: VecDeque<Entry>,
    damaged: Damaged,
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

enum Owners {
    All,
    Known(VecDeque<Email>),
}

impl LinkWalk {
    /// The next links, at most 500; none when there are no more.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked. Asked again, it goes on where it was.
    pub async fn next(&mut self) -> Result<Vec<ListedLink>, StoreError> {
        loop {
            let Some(owner) = self.read_ahead().await? else { return Ok(Vec::new()) };
            let entries: Vec<Entry> = self.read.iter().take(READ_AT_ONCE).cloned().collect();
            let read = self.store.read_entries(&owner, &keys::owner(&owner), &entries, Timestamp::now()).await?;
            let matching = read.links.into_iter().flatten().filter(|link| self.filter.fits(link));
            let (links, without_clicks) = self.store.with_clicks(matching.collect()).await?;
            self.damaged.add(read.damaged.into_iter().chain(without_clicks));
            self.read.drain(..entries.len());
            if !links.is_empty() {
                return Ok(links);
            }
        }
    }

    /// Links that the walk has left out so far.
    pub fn damaged(&self) -> &Damaged {
        &self.damaged
    }

    /// Sees to it that there are entries, and answers whose they are; `None` when there are no more.
    async fn read_ahead(&mut self) -> Result<Option<Email>, StoreError> {
        loop {
            if let Some((owner, walk)) = &mut self.walk {
                if !self.read.is_empty() {
                    return Ok(Some(owner.clone()));
                }
                self.read.extend(walk.next(&self.store).await?);
                if self.read.is_empty() {
                    self.walk = None;
                }
                continue;
            }
            let Some(owner) = self.next_owner().await? else { return Ok(None) };
            let walk = Walk::new(keys::owner(&owner), Direction::OldestFirst, None);
            self.walk = Some((owner, walk));
        }
    }

    async fn next_owner(&mut self) -> Result<Option<Email>, StoreError> {
        if let Owners::All = self.owners {
            self.owners = Owners::Known(self.store.officers().await?.into());
        }
        match &mut self.owners {
            Owners::All => Ok(None),
            Owners::Known(left) => Ok(left.pop_front()),
        }
    }
}
