//! How many requests a minute one key or one address may make, counted in this process.

use std::{hash::Hash, num::NonZeroU32, time::Duration};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

/// Between two sweeps that forget who has been quiet.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// A bucket of one minute's requests a caller, refilled evenly.
pub struct PerMinute<K: Hash + Eq + Clone>(DefaultKeyedRateLimiter<K>);

impl<K: Hash + Eq + Clone> PerMinute<K> {
    /// `None` when `requests` is 0: no limit.
    pub fn new(requests: u32) -> Option<Self> {
        Some(Self(RateLimiter::keyed(Quota::per_minute(NonZeroU32::new(requests)?))))
    }

    /// Takes one request from the caller's bucket, if there is one left.
    pub fn allows(&self, caller: &K) -> bool {
        self.0.check_key(caller).is_ok()
    }

    /// As [`Self::allows`]; when there is none left, how long until there is.
    ///
    /// # Errors
    ///
    /// The time to wait.
    pub fn take(&self, caller: &K) -> Result<(), Duration> {
        self.0.check_key(caller).map_err(|refusal| refusal.wait_time_from(DefaultClock::default().now()))
    }

    /// Forgets callers whose buckets are full again.
    pub fn sweep(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_a_bucket_of_their_own() {
        let limit = PerMinute::new(3).expect("a limit");
        for _ in 0..3 {
            assert!(limit.allows(&"a"));
        }
        assert!(!limit.allows(&"a"));
        let wait = limit.take(&"a").expect_err("empty");
        assert!(wait <= Duration::from_secs(20), "{wait:?}");
        assert!(limit.allows(&"b"));
    }

    #[test]
    fn zero_is_no_limit() {
        assert!(PerMinute::<&str>::new(0).is_none());
    }
}
