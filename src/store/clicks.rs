//! Click counters: adding a stretch of a journal to them, and asking how far they have come.
//!
//! One call of a script adds to the counters of many links, which takes Redis half the time that a call for each does; but not every Redis may be
//! sent such calls, see `Connection::takes_transactions`. The others get one for each link.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use redis::{Cmd, RedisError, Value, cmd, from_redis_value};
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::{
    Store, StoreError,
    connection::{Connection, Lua},
    keys::{self, class_field, click_field},
    wire::Wire,
};
use crate::{
    domain::{Click, Device},
    metrics::Operation,
};

/// For one pipeline. Longer than a citizen's or an officer's: nobody waits, and a stretch sent twice costs twice.
const DEADLINE: Duration = Duration::from_secs(5);

/// Counters in one pipeline, at 5 µs of Redis' time each. Officers get their turn between: Redis reads 16 kB of it at once, some 200 counters.
const COUNTERS_AT_ONCE: usize = 4000;
/// Counters in one call, during which Redis answers nobody else: some 0.2 ms.
const COUNTERS_IN_CALL: usize = 32;

pub(super) static APPLY: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/apply_clicks.lua")));

/// Whose clicks are counted: a link's code, or [`ALL_LINKS`]. Nearly all fit in without the heap.
pub type Counter = SmolStr;

/// The counters over all links, kept as those of one link are. It can't be a code.
pub const ALL_LINKS: Counter = SmolStr::new_static("*");

/// Clicks of one counter between two positions of the journal, added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub counter: Counter,
    /// The counters must stand between these two, both included: before `after` they lack clicks that this stretch doesn't hold, beyond
    /// `before` they include some that it does.
    pub after: u64,
    pub before: u64,
    pub counts: Counts,
}

/// Each thing once. Clicks of one moment have three as a rule: a class, a day, an hour of the week.
pub type Counts = SmallVec<[(Counted, u64); 4]>;

/// One thing that a click adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counted {
    Class(Click),
    /// Days since 1970-01-01 in the counting time zone.
    Day(i32),
    /// 0 to 167; 0 = Sunday's first hour.
    HourOfWeek(u8),
}

/// Where a code's counters stand; `None` when they aren't what a merlink wrote.
pub type Stands = Option<u64>;

/// The flusher's own connection, with this instance's name.
#[derive(Clone)]
pub struct ClickStore {
    wire: Wire,
    instance: String,
    position_field: String,
}

impl Store {
    /// Prepares the connection over which `instance` counts; it opens with its first use.
    pub fn clicks(&self, instance: &str) -> ClickStore {
        ClickStore {
            wire: Wire::new(Arc::clone(&self.connector), Arc::clone(&self.metrics), DEADLINE),
            instance: instance.to_owned(),
            position_field: click_field::position(instance),
        }
    }
}

impl ClickStore {
    /// Goes on under another name.
    pub fn rename(&mut self, instance: &str) {
        instance.clone_into(&mut self.instance);
        self.position_field = click_field::position(instance);
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Adds each stretch to its code's counters, which then stand at `position`, unless they aren't between `after` and `before`; answers where
    /// each stands. Repeating a call is harmless.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: any of the stretches may or may not be in. The next answer says.
    pub async fn apply(&self, stretches: &[Stretch], position: u64) -> Result<Vec<Stands>, StoreError> {
        let mut stands = vec![None; stretches.len()];
        for (chunk, stands) in stretches.chunks(COUNTERS_AT_ONCE).zip(stands.chunks_mut(COUNTERS_AT_ONCE)) {
            let mut alike: HashMap<(u64, &Counts), Vec<usize>, foldhash::fast::RandomState> = HashMap::default();
            for (index, stretch) in chunk.iter().enumerate() {
                alike.entry((stretch.before, &stretch.counts)).or_default().push(index);
            }
            let apply = async |redis: &mut Connection| {
                // Asked each time, since each time it may be another Redis.
                let in_call = if redis.takes_transactions().await { COUNTERS_IN_CALL } else { 1 };
                let (calls, indices): (Vec<Cmd>, Vec<&[usize]>) = alike
                    .values()
                    .flat_map(|indices| indices.chunks(in_call))
                    .map(|indices| (self.call(position, chunk, indices), indices))
                    .unzip();
                Ok((redis.run_many::<Vec<Stands>>(&APPLY, calls).await?, indices.concat()))
            };
            let (answers, indices) = self.wire.ask(Operation::ClickFlush, apply).await?;
            for (index, stand) in indices.into_iter().zip(answers.into_iter().flatten()) {
                stands[index] = stand;
            }
        }
        Ok(stands)
    }

    /// One call of the script for those of the stretches that have these `indices`, and are alike but for whose they are and where they begin.
    fn call(&self, position: u64, stretches: &[Stretch], indices: &[usize]) -> Cmd {
        let stretches = || indices.iter().map(|index| &stretches[*index]);
        let keys: Vec<String> = stretches().map(|stretch| keys::clicks(&stretch.counter)).collect();
        let mut call = APPLY.call_with(&keys);
        call.arg(&self.position_field).arg(position);
        if let Some(Stretch { before, counts, .. }) = stretches().next() {
            call.arg(counts.len());
            for (counted, increment) in counts {
                call.arg(field(*counted)).arg(*increment);
            }
            call.arg(*before);
        }
        for stretch in stretches() {
            call.arg(stretch.after);
        }
        call
    }

    /// Where each counter stands; 0 when it has nothing from this instance.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn positions(&self, counters: &[Counter]) -> Result<Vec<Stands>, StoreError> {
        let mut positions = Vec::with_capacity(counters.len());
        for chunk in counters.chunks(COUNTERS_AT_ONCE) {
            let read = |counter: &Counter| cmd("HGET").arg(keys::clicks(counter)).arg(&self.position_field).to_owned();
            let reads = async |redis: &mut Connection| redis.each(chunk.iter().map(read).collect()).await;
            for answer in self.wire.ask(Operation::ClickPositions, reads).await? {
                let position = answer.and_then(|value| Ok(from_redis_value::<Option<u64>>(value)?));
                positions.push(match position.map_err(StoreError::from) {
                    Ok(position) => Some(position.unwrap_or(0)),
                    Err(StoreError::Corrupt(_)) => None,
                    Err(error @ StoreError::Unavailable(_)) => return Err(error),
                });
            }
        }
        Ok(positions)
    }

    /// Changes whenever Redis may be another than before, and the positions with it.
    pub fn session(&self) -> u64 {
        self.wire.session()
    }
}

/// Asks for what [`total`] understands.
pub(super) fn ask_total(counter: &str) -> Cmd {
    let mut read = cmd("HMGET");
    read.arg(keys::clicks(counter));
    for device in Device::ALL {
        read.arg(class_field(Click::Person(device)));
    }
    read
}

/// All clicks of people.
pub(super) fn total(by_device: Value) -> Result<u64, RedisError> {
    let by_device: Vec<Option<u64>> = from_redis_value(by_device)?;
    Ok(by_device.into_iter().flatten().sum())
}

fn field(counted: Counted) -> String {
    match counted {
        Counted::Class(click) => class_field(click).to_owned(),
        Counted::Day(day) => click_field::day(day),
        Counted::HourOfWeek(hour) => click_field::hour_of_week(hour),
    }
}
