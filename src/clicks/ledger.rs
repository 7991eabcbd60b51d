//! Which counters the kept journal has clicks of, how far this process has brought each, and what the batch at hand adds to them.
//!
//! Each click comes by here on its way to Redis, so that a look into one table, and nothing from the heap, is all that it costs: a counter's entry
//! says both where it stands and where in the batch its clicks are being added up. What is done with a batch is `flush.rs`'s.

use std::{collections::HashMap, ops::ControlFlow};

use indexmap::IndexMap;

use super::{
    Journal,
    tally::{Calendar, Tally},
};
use crate::store::{ALL_LINKS, Counter};

/// Journal bytes in one batch: some 115,000 clicks.
const BATCH_BYTES: u64 = 2 * 1024 * 1024;

/// Where the tally of a counter is to which the batch at hand adds nothing.
const NOWHERE: u32 = u32::MAX;

/// Codes get here only when there is a link, so nobody can choose them to collide, and the standard library's hash costs more than all else that
/// is done with a click here.
type Hasher = foldhash::fast::RandomState;

pub type PerCounter<V> = HashMap<Counter, V, Hasher>;

#[derive(Default)]
pub struct Ledger {
    counters: IndexMap<Counter, Standing, Hasher>,
    /// What the batch at hand adds, and the place in `counters` of what it is added to.
    tallies: Vec<(usize, Tally)>,
}

struct Standing {
    /// Where its last flushed record ends, 0 before the first.
    last: u64,
    /// Its place in `tallies`, or [`NOWHERE`].
    in_batch: u32,
}

/// Which part of the journal a batch is, and how many clicks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub start: u64,
    pub end: u64,
    pub clicks: u64,
}

impl Ledger {
    /// Reads what the journal has behind `start`, as far as one batch goes, and adds it up. `None`: nothing.
    ///
    /// # Errors
    ///
    /// When the journal can't be read.
    pub fn read(&mut self, journal: &Journal, calendar: &mut Calendar, start: u64) -> std::io::Result<Option<Batch>> {
        self.leave_batch();
        let mut batch = Batch { start, end: start, clicks: 0 };
        let mut all = Tally::default();
        journal.scan(start, |record| {
            batch.end = record.end;
            batch.clicks += 1;
            all.add(record, calendar);
            self.tally(record.code).add(record, calendar);
            if record.end - start < BATCH_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if batch.clicks == 0 {
            return Ok(None);
        }
        *self.tally(&ALL_LINKS) = all;
        Ok(Some(batch))
    }

    /// What the batch at hand adds to a counter.
    fn tally(&mut self, counter: &str) -> &mut Tally {
        let place = self
            .counters
            .get_index_of(counter)
            .unwrap_or_else(|| self.counters.insert_full(counter.into(), Standing { last: 0, in_batch: NOWHERE }).0);
        let in_batch = &mut self.counters[place].in_batch;
        if *in_batch == NOWHERE {
            *in_batch = u32::try_from(self.tallies.len()).expect("a batch has no billions of clicks");
            self.tallies.push((place, Tally::default()));
        }
        &mut self.tallies[*in_batch as usize].1
    }

    /// Each counter of the batch at hand, where it stood before, and what is added.
    pub fn batch(&self) -> impl ExactSizeIterator<Item = (&Counter, u64, &Tally)> {
        self.tallies.iter().map(|(place, tally)| {
            let (counter, standing) = self.counters.get_index(*place).expect("nothing is forgotten within a batch");
            (counter, standing.last, tally)
        })
    }

    /// What the batch at hand adds to this counter, if anything.
    pub fn in_batch(&self, counter: &str) -> Option<&Tally> {
        let standing = self.counters.get(counter).filter(|standing| standing.in_batch != NOWHERE)?;
        Some(&self.tallies[standing.in_batch as usize].1)
    }

    /// The batch at hand is in Redis.
    pub fn settle_batch(&mut self) {
        for (place, tally) in self.tallies.drain(..) {
            self.counters[place] = Standing { last: tally.last, in_batch: NOWHERE };
        }
    }

    /// The batch at hand isn't in Redis, as far as is known: it will be read again.
    fn leave_batch(&mut self) {
        for (place, _) in self.tallies.drain(..) {
            self.counters[place].in_batch = NOWHERE;
        }
    }

    /// Where a counter's last flushed record ends; 0 when there is none.
    pub fn last(&self, counter: &str) -> u64 {
        self.counters.get(counter).map_or(0, |standing| standing.last)
    }

    /// Notes where a counter's last flushed record ends.
    pub fn note(&mut self, counter: Counter, last: u64) {
        self.counters.entry(counter).or_insert(Standing { last, in_batch: NOWHERE }).last = last;
    }

    /// All counters of which something was flushed.
    pub fn counters(&self) -> Vec<Counter> {
        let flushed = self.counters.iter().filter(|(_, standing)| standing.last > 0);
        flushed.map(|(counter, _)| counter.clone()).collect()
    }

    /// Forgets counters without a record behind `start`: what lies before it is on no disk any more.
    pub fn forget_before(&mut self, start: u64) {
        self.leave_batch();
        self.counters.retain(|_, standing| standing.last > start);
    }

    pub fn clear(&mut self) {
        self.tallies.clear();
        self.counters.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Click, Device};
    use jiff::tz::TimeZone;
    use std::collections::BTreeMap;

    /// A journal with clicks of these codes, and the ledger and calendar to read it with.
    fn journal(folder: &std::path::Path, codes: &[&str]) -> (Journal, Ledger, Calendar) {
        let journal = Journal::open(folder, u64::MAX).expect("a journal");
        record(&journal, codes);
        (journal, Ledger::default(), Calendar::new(TimeZone::UTC))
    }

    fn record(journal: &Journal, codes: &[&str]) {
        for code in codes {
            assert!(journal.append(code, Click::Person(Device::Mobile), 60));
        }
    }

    /// Where each counter stood before, and how many clicks are added.
    fn added(ledger: &Ledger) -> BTreeMap<String, (u64, u64)> {
        ledger.batch().map(|(counter, last, tally)| (counter.to_string(), (last, tally.clicks))).collect()
    }

    fn expected(counters: &[(&str, (u64, u64))]) -> BTreeMap<String, (u64, u64)> {
        counters.iter().map(|(counter, added)| ((*counter).to_owned(), *added)).collect()
    }

    #[test]
    fn a_batch_that_came_to_nothing_is_read_again_with_what_came_since() {
        let folder = tempfile::tempdir().expect("a folder");
        let (journal, mut ledger, mut calendar) = journal(folder.path(), &["a", "b", "a"]);
        let start = journal.start();
        let first = ledger.read(&journal, &mut calendar, start).expect("read").expect("clicks");
        assert_eq!((first.clicks, first.end), (3, journal.end()));
        assert_eq!(added(&ledger), expected(&[("*", (0, 3)), ("a", (0, 2)), ("b", (0, 1))]));
        record(&journal, &["c"]);
        ledger.forget_before(0);
        assert_eq!(ledger.counters(), Vec::<Counter>::new(), "nothing was flushed");
        let again = ledger.read(&journal, &mut calendar, start).expect("read").expect("clicks");
        assert_eq!(again.clicks, 4);
        assert_eq!(added(&ledger), expected(&[("*", (0, 4)), ("a", (0, 2)), ("b", (0, 1)), ("c", (0, 1))]));
        ledger.settle_batch();
        assert_eq!(ledger.last(&ALL_LINKS), journal.end());
        assert!(ledger.in_batch("a").is_none());
    }

    #[test]
    fn what_is_settled_is_where_the_next_batch_begins_until_it_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let (journal, mut ledger, mut calendar) = journal(folder.path(), &["a", "b"]);
        let first = ledger.read(&journal, &mut calendar, journal.start()).expect("read").expect("clicks");
        ledger.settle_batch();
        let (a, b) = (ledger.last("a"), ledger.last("b"));
        assert!(a < b && b == first.end);
        assert_eq!(ledger.read(&journal, &mut calendar, first.end).expect("read"), None, "there is no more");
        record(&journal, &["a"]);
        ledger.read(&journal, &mut calendar, first.end).expect("read").expect("clicks");
        assert_eq!(added(&ledger), expected(&[("*", (b, 1)), ("a", (a, 1))]));
        ledger.forget_before(a);
        assert_eq!((ledger.last("a"), ledger.last("b")), (0, b), "forgotten is what lies before");
        ledger.read(&journal, &mut calendar, first.end).expect("read").expect("clicks");
        assert_eq!(added(&ledger), expected(&[("*", (b, 1)), ("a", (0, 1))]));
    }
}
