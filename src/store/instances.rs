//! Which instances count clicks, and which won't any more.
//!
//! Beside a link's counters stands, per instance, the journal position that they include. Where instances come and go with their disks, those
//! positions grow in number with each, so they must end. They may only when it is certain that nobody counts from them again: a journal whose
//! positions were forgotten would be counted a second time.
//!
//! What makes it certain: an instance that ends with every click counted says so (`ended`), and takes it back before it counts again
//! (`running`). `merlink check --repair` gives up the names of those that ended long ago (`retired`), in one step that the other two can't
//! get between, and only then drops their positions. If such an instance comes back after all, it finds its name given up, knows by that
//! that all its journal held was counted, and goes on under a new name. An instance that was killed and never came back keeps its
//! positions until `merlink journal drain` has counted its journal.
//!
//! Two merlinks with one name would take each other's clicks for counted: a data directory was
//! copied, as with a cloned machine. So each start is a [`Run`] with a random id, which the
//! journal's folder keeps as its lineage, and Redis has the id of the run that counts. A run may
//! take a name over from one of its own lineage that isn't alive. An earlier run in the same place
//! is dead, since the kernel gave its lock away: so a killed instance starts again at once. Any
//! other is asked: its answer is to remove the question, which it does within a second. If it
//! doesn't for [`PATIENCE`], it counts as dead: its machine lost power, or its disk was moved. A
//! run outside the lineage has counted with a copy, so that positions may mean other clicks than
//! this journal's.

use std::{
    collections::{BTreeMap, HashSet},
    sync::LazyLock,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use redis::cmd;

use super::{
    ClickStore, Store, StoreError,
    connection::Lua,
    keys::{self, click_field},
    unless_damaged,
};
use crate::metrics::Operation;

pub(super) static CLAIM: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/claim_instance.lua")));
pub(super) static RETIRE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/retire_instance.lua")));

/// What was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Names given up, now or before.
    pub instances: u64,
    pub positions: u64,
}

/// For an answer of a run that may be alive, and so many looks for it: a machine that stands still
/// makes none.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOKS_MIN: u32 = 20;
/// Losses of a race against another run. There is at most one for each run that starts.
const RACES_MAX: usize = 16;

/// One start of an instance.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: String,
    /// Different for each folder of each boot of each machine.
    pub place: String,
    /// Ids of the runs before it with the same journal.
    pub earlier: HashSet<String>,
}

/// A run that counts, or wants to.
pub struct Claimant {
    run: Run,
    /// True if nobody else can reach this Redis. Then another run is never alive.
    is_alone: bool,
    asked: Option<Asked>,
}

/// A run that may be alive.
struct Asked {
    run: String,
    since: Instant,
    looks: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This run counts under the name.
    Held,
    /// The name was given up after all its clicks were counted.
    GivenUp,
    /// Another run may be alive. Claim again.
    Asked,
    /// Another run counts with a copy of the journal.
    Rival,
    /// Another run has counted with a copy of the journal, and isn't alive.
    Diverged,
}

/// The next step about the note of an instance.
#[derive(Debug, PartialEq, Eq)]
enum Verdict<'a> {
    Settled(Claim),
    Take,
    /// The run with this id and place hasn't been asked.
    Ask(&'a str, &'a str),
    /// The run with this id hasn't answered.
    Wait(&'a str),
}

impl Run {
    fn is_heir_of(&self, id: &str) -> bool {
        self.id == id || self.earlier.contains(id)
    }

    fn note(&self) -> String {
        format!("running {} {}", self.id, self.place)
    }

    /// `asked` is the id of the run that this one has asked, and `is_silent` true if there was time
    /// enough for an answer.
    fn judge<'a>(&self, note: &'a str, asked: Option<&str>, is_silent: bool) -> Verdict<'a> {
        let words: Vec<&str> = note.split(' ').collect();
        match words[..] {
            ["retired", ..] => Verdict::Settled(Claim::GivenUp),
            ["running", id, place] if id == self.id && place == self.place => Verdict::Settled(Claim::Held),
            ["running", id, place, ..] | ["ended", _, id, place] if place == self.place => {
                if self.is_heir_of(id) {
                    Verdict::Take
                } else {
                    Verdict::Settled(Claim::Diverged)
                }
            }
            ["ended", _, id, _] if !self.is_heir_of(id) => Verdict::Settled(Claim::Diverged),
            ["running", id, place] if asked != Some(id) => Verdict::Ask(id, place),
            ["running", _, _] => Verdict::Settled(Claim::Rival),
            ["running", id, _, _] if asked != Some(id) || !is_silent => Verdict::Wait(id),
            ["running", id, _, _] if !self.is_heir_of(id) => Verdict::Settled(Claim::Diverged),
            // Nothing, a run of this lineage that isn't alive, or a note of an earlier version,
            // which names no run.
            _ => Verdict::Take,
        }
    }
}

impl Claimant {
    pub fn new(run: Run, is_alone: bool) -> Self {
        Self { run, is_alone, asked: None }
    }

    /// Notes that this run counts under the name of `store`, if it may. Answers others who ask.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn claim(&mut self, store: &ClickStore) -> Result<Claim, StoreError> {
        for _ in 0..RACES_MAX {
            let note = store.note().await?.unwrap_or_default();
            let asked = self.asked.as_ref();
            let is_silent = asked.is_some_and(|asked| asked.looks >= LOOKS_MIN && asked.since.elapsed() >= PATIENCE);
            let new = match self.run.judge(&note, asked.map(|asked| asked.run.as_str()), is_silent) {
                Verdict::Settled(claim) if claim == Claim::Held || claim == Claim::GivenUp || !self.is_alone => {
                    self.asked = None;
                    return Ok(claim);
                }
                Verdict::Wait(other) if !self.is_alone => {
                    self.ask(other);
                    return Ok(Claim::Asked);
                }
                Verdict::Ask(other, place) if !self.is_alone => {
                    if store.replace_note(&note, &format!("running {other} {place} {}", self.run.id)).await? {
                        self.ask(other);
                        return Ok(Claim::Asked);
                    }
                    continue;
                }
                Verdict::Settled(_) | Verdict::Ask(..) | Verdict::Wait(_) | Verdict::Take => self.run.note(),
            };
            if store.replace_note(&note, &new).await? {
                self.asked = None;
                return Ok(Claim::Held);
            }
        }
        Ok(Claim::Asked)
    }

    fn ask(&mut self, other: &str) {
        match &mut self.asked {
            Some(asked) if asked.run == other => asked.looks += 1,
            asked => *asked = Some(Asked { run: other.to_owned(), since: Instant::now(), looks: 0 }),
        }
    }

    /// Notes that this run has ended, with all its clicks counted. Not noted if another run counts
    /// under the name.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn end(&mut self, store: &ClickStore, now: Timestamp) -> Result<(), StoreError> {
        if self.claim(store).await? == Claim::Held {
            let Run { id, place, .. } = &self.run;
            store.replace_note(&self.run.note(), &format!("ended {} {id} {place}", now.as_millisecond())).await?;
        }
        Ok(())
    }
}

impl ClickStore {
    async fn note(&self) -> Result<Option<String>, StoreError> {
        let read = cmd("HGET").arg(keys::INSTANCES).arg(self.instance()).to_owned();
        self.wire().ask(Operation::ClickPositions, async |redis| read.query_async(redis).await).await
    }

    /// False when there is another note than `old` by now.
    async fn replace_note(&self, old: &str, new: &str) -> Result<bool, StoreError> {
        let mut call = CLAIM.call(keys::INSTANCES.to_owned());
        call.arg(self.instance()).arg(old).arg(new);
        self.wire().ask(Operation::ClickPositions, async |redis| redis.run(&CLAIM, &call).await).await
    }
}

impl Store {
    /// Gives up the names of instances that ended at `ended_before` or earlier, and drops their positions from all counters.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked; doing it again goes on.
    pub async fn retire_instances(&self, ended_before: Timestamp, now: Timestamp) -> Result<Retired, StoreError> {
        let read = cmd("HGETALL").arg(keys::INSTANCES).to_owned();
        let known: BTreeMap<String, String> =
            self.ask(Operation::LinkList, async |redis| read.query_async(redis).await).await?;
        let mut gone = Vec::new();
        for instance in known.into_keys() {
            let mut call = RETIRE.call(keys::INSTANCES.to_owned());
            call.arg(&instance).arg(ended_before.as_millisecond()).arg(now.as_millisecond());
            if self.ask(Operation::LinkWrite, async |redis| redis.run::<bool>(&RETIRE, &call).await).await? {
                gone.push(click_field::position(&instance));
            }
        }
        let mut positions = 0;
        if !gone.is_empty() {
            let mut scan = self.scan(Operation::LinkList, keys::clicks("*")).await?;
            while let Some(found) = scan.next(self).await? {
                positions += self.drop_positions(&found, &gone).await?;
            }
        }
        Ok(Retired { instances: gone.len() as u64, positions })
    }

    /// Drops positions from counters; returns how many there were.
    async fn drop_positions(&self, counters: &[String], fields: &[String]) -> Result<u64, StoreError> {
        let drops = counters.iter().map(|key| cmd("HDEL").arg(key).arg(fields).to_owned()).collect();
        let mut dropped = 0;
        for answer in self.ask(Operation::LinkWrite, async |redis| redis.each(drops).await).await? {
            let positions = answer.and_then(|value| Ok(redis::from_redis_value::<u64>(value)?));
            // Counters that merlink didn't write have no positions either.
            dropped += unless_damaged(positions.map_err(StoreError::from))?.unwrap_or(0);
        }
        Ok(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run { id: "new".into(), place: "here".into(), earlier: HashSet::from(["old".into()]) }
    }

    #[test]
    fn a_name_is_taken_over_from_nobody_who_may_be_alive_or_has_counted_with_a_copy() {
        let (held, rival) = (Verdict::Settled(Claim::Held), Verdict::Settled(Claim::Rival));
        let (given_up, diverged) = (Verdict::Settled(Claim::GivenUp), Verdict::Settled(Claim::Diverged));
        let notes = [
            ("", Verdict::Take),
            ("running", Verdict::Take),
            ("ended 5", Verdict::Take),
            ("retired 5", given_up),
            ("running new here", held),
            // Somebody asks: writing the note anew answers.
            ("running new here other", Verdict::Take),
            // Restored from a backup that an earlier run was in.
            ("running old here", Verdict::Take),
            // An older journal was put back in place.
            ("running foreign here", Verdict::Settled(Claim::Diverged)),
            ("ended 5 old there", Verdict::Take),
            ("ended 5 foreign here", Verdict::Settled(Claim::Diverged)),
            ("ended 5 foreign there", diverged),
            ("running old there", Verdict::Ask("old", "there")),
            ("running new there", Verdict::Ask("new", "there")),
            ("running foreign there", Verdict::Ask("foreign", "there")),
            ("running old there other", Verdict::Wait("old")),
        ];
        for (note, expected) in notes {
            assert_eq!(run().judge(note, None, false), expected, "{note}");
            assert_eq!(run().judge(note, Some("another"), true), expected, "another was asked: {note}");
        }
        assert_eq!(run().judge("running old there new", Some("old"), false), Verdict::Wait("old"));
        assert_eq!(run().judge("running old there", Some("old"), false), rival, "it has answered");
        assert_eq!(run().judge("running old there", Some("old"), true), rival, "late, but it has");
        assert_eq!(run().judge("running old there new", Some("old"), true), Verdict::Take, "it is dead");
        let foreign = run().judge("running foreign there new", Some("foreign"), true);
        assert_eq!(foreign, Verdict::Settled(Claim::Diverged), "dead too, but it has counted");
    }
}
