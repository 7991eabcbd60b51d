//! Failures that anybody can cause, as often as they like, in lines whose number they can't choose.
//!
//! The first of its kind in a minute is written at once. Those that repeat it are counted, and the count is a line of its own when the
//! minute is over. Thirty kinds a minute have lines; whatever comes beyond them is counted by its reason alone. So a minute has at most 30
//! lines, 30 counts, and a count for each reason, however many failures there were, and the counts together are all of them.

use std::{
    collections::HashMap,
    mem,
    time::{Duration, Instant},
};

const MINUTE: Duration = Duration::from_secs(60);
const KINDS_MAX: usize = 30;

/// Failures that are told apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    pub reason: &'static str,
    /// The officer whom it is about, if it can be one.
    pub email: Option<String>,
}

/// Failures that were counted and not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// Without an address: of several officers, or of nobody.
    pub failure: Failure,
    pub count: u64,
}

/// The failures of the current minute.
#[derive(Default)]
pub struct Failures {
    began: Option<Instant>,
    /// Each has a line already, and was repeated so often since.
    kinds: HashMap<Failure, u64>,
    others: HashMap<&'static str, u64>,
}

impl Failures {
    /// Counts a failure. Returns true when it is to be written.
    pub fn note(&mut self, failure: Failure, now: Instant) -> bool {
        self.began.get_or_insert(now);
        if let Some(count) = self.kinds.get_mut(&failure) {
            *count += 1;
            return false;
        }
        if self.kinds.len() < KINDS_MAX {
            self.kinds.insert(failure, 0);
            return true;
        }
        *self.others.entry(failure.reason).or_default() += 1;
        false
    }

    /// Ends the minute, if it is over: what was counted in it.
    pub fn due(&mut self, now: Instant) -> Vec<Repeated> {
        let is_over = self.began.is_some_and(|began| now.duration_since(began) >= MINUTE);
        if is_over { self.end() } else { Vec::new() }
    }

    /// Ends the minute.
    pub fn end(&mut self) -> Vec<Repeated> {
        let Self { kinds, others, .. } = mem::take(self);
        let kinds = kinds.into_iter().map(|(failure, count)| Repeated { failure, count });
        let others = others.into_iter().map(|(reason, count)| {
            let failure = Failure { reason, email: None };
            Repeated { failure, count }
        });
        kinds.chain(others).filter(|repeated| repeated.count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(email: &str) -> Failure {
        Failure { reason: "wrong_otp", email: Some(email.to_string()) }
    }

    #[test]
    fn the_first_is_written_and_the_others_are_counted_once_the_minute_is_over() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        assert!(failures.note(about("amy"), start));
        for _ in 0..1_000 {
            assert!(!failures.note(about("amy"), start));
        }
        assert!(failures.note(about("ben"), start), "another officer has a line of their own");
        assert_eq!(failures.due(start + Duration::from_millis(59_999)), []);
        assert_eq!(failures.due(start + MINUTE), [Repeated { failure: about("amy"), count: 1_000 }]);
        assert_eq!(failures.due(start + 3 * MINUTE), [], "once");
        assert!(failures.note(about("amy"), start + 3 * MINUTE), "a new minute has a new line");
    }

    #[test]
    fn a_flood_of_invented_officers_has_few_lines_and_none_is_lost() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let sent = 100_000_u64;
        let reasons = ["wrong_otp", "many_otps"];
        let written = (0..sent)
            .filter(|number| {
                let reason = reasons[usize::from(number % 2 == 0)];
                failures.note(Failure { reason, email: Some((number % 50_000).to_string()) }, start)
            })
            .count();
        assert_eq!(written, KINDS_MAX);
        let counted = failures.end();
        assert!(counted.len() <= KINDS_MAX + reasons.len(), "{} lines", counted.len());
        assert_eq!(counted.iter().map(|repeated| repeated.count).sum::<u64>() + written as u64, sent);
    }
}
