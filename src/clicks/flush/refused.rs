//! Clicks that damaged counters didn't take, by code and by segment: they wait until the counters are mended, or their segment is gone.

use std::collections::VecDeque;

use crate::{
    clicks::{ledger::PerCounter, segment::segment_start},
    store::Counter,
};

/// Of each code oldest first.
#[derive(Default)]
pub struct Refusals(PerCounter<VecDeque<Refused>>);

/// Clicks of one code in one segment that its counters didn't take.
#[derive(Clone, Copy, Default)]
pub struct Refused {
    /// Where the last of them ends.
    pub last: u64,
    pub clicks: u64,
    pub oldest_s: u32,
}

impl Refusals {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clicks(&self) -> u64 {
        self.0.values().flatten().map(|refused| refused.clicks).sum()
    }

    /// When the oldest of them was made.
    pub fn oldest_s(&self) -> Option<u32> {
        self.0.values().flatten().map(|refused| refused.oldest_s).min()
    }

    pub fn counters(&self) -> Vec<Counter> {
        self.0.keys().cloned().collect()
    }

    pub fn keep(&mut self, code: Counter, more: Refused) {
        let refused = self.0.entry(code).or_default();
        match refused.back_mut().filter(|refused| segment_start(refused.last) == segment_start(more.last)) {
            Some(refused) => {
                refused.last = more.last;
                refused.clicks += more.clicks;
            }
            None => refused.push_back(more),
        }
    }

    /// Takes those of a code up to `position` away; answers how many they were.
    pub fn take(&mut self, counter: &Counter, position: u64) -> u64 {
        let Some(refused) = self.0.get_mut(counter) else { return 0 };
        let mut clicks = 0;
        while let Some(first) = refused.front().filter(|first| first.last <= position) {
            clicks += first.clicks;
            refused.pop_front();
        }
        if refused.is_empty() {
            self.0.remove(counter);
        }
        clicks
    }

    /// The same of all codes.
    pub fn take_all(&mut self, position: u64) -> u64 {
        self.counters().iter().map(|counter| self.take(counter, position)).sum()
    }
}
