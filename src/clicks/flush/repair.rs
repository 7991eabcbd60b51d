//! Where Redis stands elsewhere than it should: its positions compared, and what it lacks read from the journal and added.
//!
//! A counter's position says which of its records are in, so adding what lies behind it counts nothing twice, whatever happened to Redis.

use std::{collections::HashMap, ops::ControlFlow};

use super::{FlushError, Flusher};
use crate::{
    clicks::{ledger::PerCounter, segment::segment_start, tally::Tally},
    store::{ALL_LINKS, Counter, Stretch},
};

/// Rounds of a repair whose positions moved meanwhile, which only a Redis that goes back again and again brings about.
const REPAIRS_MAX: usize = 5;

impl Flusher {
    /// Compares where Redis stands with where it should, and adds what it lacks.
    pub(super) async fn verify(&mut self, counters: Vec<Counter>) -> Result<(), FlushError> {
        let positions = self.positions(&counters).await?;
        let behind =
            positions.into_iter().filter(|(counter, position)| *position < self.ledger.last(counter)).collect();
        let again = self.repair(behind, 0, self.flushed).await?.again();
        self.report_reapplied(again);
        Ok(())
    }

    /// Where these counters stand, without the damaged ones.
    pub(super) async fn positions(&mut self, counters: &[Counter]) -> Result<Vec<(Counter, u64)>, FlushError> {
        let positions = self.store.positions(counters).await?;
        let end = self.journal.end();
        if positions.iter().flatten().any(|position| *position > end) {
            return Err(FlushError::Rewound);
        }
        Ok(self.leave_out_damaged(counters.iter().cloned().zip(positions)))
    }

    /// Adds to each code what the journal has of it between its position and `up_to`. What lies before `from`, a record's end or a
    /// segment's start, is known to be in.
    pub(super) async fn repair(
        &mut self,
        mut positions: PerCounter<u64>,
        from: u64,
        up_to: u64,
    ) -> Result<Repaired, FlushError> {
        let (mut to_codes, mut to_all, mut damaged) = (Added::default(), Added::default(), Vec::new());
        let mut from = from;
        for _ in 0..REPAIRS_MAX {
            if positions.is_empty() {
                break;
            }
            let (stretches, clicks): (Vec<Stretch>, Vec<Added>) =
                self.read_behind(&positions, from, up_to)?.into_iter().unzip();
            let stands = self.store.apply(&stretches, up_to).await?;
            let counters: Vec<Counter> = stretches.into_iter().map(|stretch| stretch.counter).collect();
            for ((counter, clicks), position) in counters.iter().zip(clicks).zip(&stands) {
                match position {
                    None => damaged.push(counter.clone()),
                    Some(position) if *position != up_to => {}
                    Some(_) if *counter == ALL_LINKS => to_all.add(clicks),
                    Some(_) => {
                        let refused = self.refused.take(counter, up_to);
                        self.metrics.clicks.flushed.inc_by(refused);
                        to_codes.add(Added { again: clicks.again.saturating_sub(refused), ..clicks });
                    }
                }
            }
            let stands = self.leave_out_damaged(counters.into_iter().zip(stands));
            positions = stands.into_iter().filter(|(_, position)| *position != up_to).collect();
            // Whoever stands elsewhere now may have gone back to before it.
            from = 0;
        }
        if !positions.is_empty() {
            return Err(FlushError::Unsettled);
        }
        Ok(Repaired { to_codes, to_all, damaged })
    }

    pub(super) fn report_reapplied(&self, clicks: u64) {
        if clicks > 0 {
            self.metrics.clicks_reapplied.inc_by(clicks);
            tracing::warn!("Redis had gone back in time: applied {clicks} clicks again");
        }
    }

    /// The counters that stand somewhere. Those that don't are damaged: they are said, and the others go on.
    pub(super) fn leave_out_damaged(
        &mut self,
        stands: impl Iterator<Item = (Counter, Option<u64>)>,
    ) -> Vec<(Counter, u64)> {
        let mut whole = Vec::new();
        for (counter, position) in stands {
            match position {
                Some(position) => whole.push((counter, position)),
                None if self.damage_log.may_log() => {
                    tracing::error!(
                        "Redis holds what merlink didn't write: clicks:{{{counter}}}: its clicks wait until somebody mends or removes it"
                    );
                }
                None => {}
            }
        }
        whole
    }

    /// What the journal has of each code behind its position and `from`, and up to `up_to`.
    fn read_behind(
        &mut self,
        positions: &PerCounter<u64>,
        from: u64,
        up_to: u64,
    ) -> Result<Vec<(Stretch, Added)>, FlushError> {
        let mut tallies: PerCounter<(Tally, Added)> = HashMap::default();
        let from = from.max(self.journal.name().from);
        let first = positions.values().copied().min().unwrap_or(up_to);
        let (calendar, flushed) = (&mut self.calendar, self.flushed);
        self.journal.scan(from.max(segment_start(first)), |record| {
            if record.end > up_to {
                return ControlFlow::Break(());
            }
            for counter in [record.code, &ALL_LINKS] {
                if positions.get(counter).is_some_and(|position| record.end > *position) {
                    let (tally, added) = tallies.entry(counter.into()).or_default();
                    tally.add(record, calendar);
                    *(if record.end <= flushed { &mut added.again } else { &mut added.first }) += 1;
                }
            }
            ControlFlow::Continue(())
        })?;
        let stretch = |(counter, (tally, added)): (Counter, (Tally, Added))| {
            let position = positions[&counter];
            (Stretch { after: position, before: position, counts: tally.counts(), counter }, added)
        };
        Ok(tallies.into_iter().map(stretch).collect())
    }
}

/// What a repair came to: what was added to codes' counters and to those over all links, and the counters that turned out to be damaged.
pub struct Repaired {
    to_codes: Added,
    to_all: Added,
    pub damaged: Vec<Counter>,
}

impl Repaired {
    /// Clicks that were counted now, each once though it counts for its code and for all links; `refused` of them only for these.
    pub fn first(&self, refused: u64) -> u64 {
        self.to_codes.first.max(self.to_all.first.saturating_sub(refused))
    }

    pub fn again(&self) -> u64 {
        self.to_codes.again.max(self.to_all.again)
    }
}

/// Clicks that a repair added.
#[derive(Clone, Copy, Default)]
struct Added {
    /// Never flushed before.
    first: u64,
    /// Flushed before, and forgotten by Redis.
    again: u64,
}

impl Added {
    fn add(&mut self, more: Self) {
        self.first += more.first;
        self.again += more.again;
    }
}
