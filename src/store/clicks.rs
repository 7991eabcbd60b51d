//! Click counters: adding a stretch of a journal to them, and asking how far they have come.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use redis::cmd;

use super::{
    Store, StoreError,
    connection::{Connection, Lua},
    keys::{self, class_field, click_field},
    wire::Wire,
};
use crate::{domain::Click, metrics::Operation};

/// For one pipeline. Longer than a citizen's or an officer's: nobody waits, and a stretch sent twice costs twice.
const DEADLINE: Duration = Duration::from_secs(5);

/// Calls in one pipeline: some 5 ms of Redis' time, so that officers get their turn between.
const CALLS_AT_ONCE: usize = 500;

static APPLY: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/apply_clicks.lua")));

/// Clicks of one code between two positions of the journal, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// `None`: the counters over all links.
    pub code: Option<Arc<str>>,
    /// The counters must stand between these two, both included: before `after` they lack clicks that this stretch doesn't hold, beyond
    /// `before` they include some that it does.
    pub after: u64,
    pub before: u64,
    /// Where they stand when the stretch is in.
    pub position: u64,
    pub counts: Vec<(Counted, u64)>,
}

/// One thing that a click adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counted {
    Total,
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
    /// The same for another name.
    #[must_use]
    pub fn renamed(&self, instance: &str) -> Self {
        let position_field = click_field::position(instance);
        Self { wire: self.wire.clone(), instance: instance.to_owned(), position_field }
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Adds each stretch to its code's counters unless they aren't between `after` and `before`; answers where each then stands.
    /// Repeating a call is harmless.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked: any of the stretches may or may not be in. The next answer says.
    pub async fn apply(&self, stretches: &[Stretch]) -> Result<Vec<Stands>, StoreError> {
        let mut positions = Vec::with_capacity(stretches.len());
        for chunk in stretches.chunks(CALLS_AT_ONCE) {
            let call = |stretch: &Stretch| {
                let mut call = APPLY.call(key(stretch.code.as_deref()));
                call.arg(&self.position_field).arg(stretch.after).arg(stretch.before).arg(stretch.position);
                for (counted, increment) in &stretch.counts {
                    call.arg(field(*counted)).arg(*increment);
                }
                call
            };
            let calls =
                async |redis: &mut Connection| redis.run_many::<Stands>(&APPLY, chunk.iter().map(call).collect()).await;
            positions.extend(self.wire.ask(Operation::ClickFlush, calls).await?);
        }
        Ok(positions)
    }

    /// Where the counters of each code stand; 0 when they have nothing from this instance. `None` asks for those over all links.
    ///
    /// # Errors
    ///
    /// When Redis can't be asked.
    pub async fn positions(&self, codes: &[Option<Arc<str>>]) -> Result<Vec<Stands>, StoreError> {
        let mut positions = Vec::with_capacity(codes.len());
        for chunk in codes.chunks(CALLS_AT_ONCE) {
            let read =
                |code: &Option<Arc<str>>| cmd("HGET").arg(key(code.as_deref())).arg(&self.position_field).to_owned();
            let reads = async |redis: &mut Connection| redis.each(chunk.iter().map(read).collect()).await;
            for answer in self.wire.ask(Operation::ClickPositions, reads).await? {
                let position = answer.and_then(|value| Ok(redis::from_redis_value::<Option<u64>>(value)?));
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

fn key(code: Option<&str>) -> String {
    code.map_or_else(keys::all_clicks, keys::clicks)
}

fn field(counted: Counted) -> String {
    match counted {
        Counted::Total => click_field::TOTAL.to_owned(),
        Counted::Class(click) => class_field(click).to_owned(),
        Counted::Day(day) => click_field::day(day),
        Counted::HourOfWeek(hour) => click_field::hour_of_week(hour),
    }
}
