//! How many requests a minute one key or one address may make, counted in this process.
//!
//! Each caller has a bucket that holds a burst and is refilled evenly. It is kept as one time, that at which it will be full again: the
//! generic cell rate algorithm, as ITU-T I.371 has it. The buckets lie in a cache of bounded size, so that a flood from a million addresses
//! takes no more memory than one from a hundred thousand: then the callers who were quiet for longest begin anew.

use std::{
    hash::Hash,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;

use crate::{client, domain::Email};

/// Between two sweeps that forget who has been quiet.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Callers that are remembered at once: some 12 MB of addresses.
const CALLERS_MAX: usize = 100_000;

const MINUTE: Duration = Duration::from_secs(60);

/// What a caller's bucket holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// When it is full.
    pub limit: u32,
    pub remaining: u32,
    /// Until it is full again.
    pub reset: Duration,
}

/// The limits of API requests: of each key, and of all keys of an officer together.
pub struct ApiLimits {
    of_keys: Option<PerMinute<String>>,
    of_officers: Option<PerMinute<Email>>,
}

/// A request over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{whose} may make {} requests a minute", left.limit)]
pub struct OverLimit {
    whose: &'static str,
    pub left: Left,
    /// Until there is a request left.
    pub wait: Duration,
}

impl ApiLimits {
    /// Requests a minute of a key and of an officer. 0: no limit.
    pub fn new(of_key: u32, of_officer: u32) -> Self {
        Self { of_keys: PerMinute::new(of_key), of_officers: PerMinute::new(of_officer) }
    }

    /// Takes one request from the key's bucket and from its officer's. Returns what is left in the emptier one, or `None` without limits.
    ///
    /// # Errors
    ///
    /// When either is empty. A key that is over its own limit takes nothing from the officer's other keys.
    pub fn take(&self, key_id: &String, officer: &Email) -> Result<Option<Left>, OverLimit> {
        let of_key = take_from(self.of_keys.as_ref(), key_id, "this key")?;
        let of_officer = take_from(self.of_officers.as_ref(), officer, "the keys of this officer together")?;
        Ok(of_key.into_iter().chain(of_officer).min_by_key(|left| left.remaining))
    }

    /// Forgets callers whose buckets are full again.
    pub fn sweep(&self) {
        if let Some(limit) = &self.of_keys {
            limit.sweep();
        }
        if let Some(limit) = &self.of_officers {
            limit.sweep();
        }
    }
}

fn take_from<K: Hash + Eq + Clone>(
    limit: Option<&PerMinute<K>>,
    caller: &K,
    whose: &'static str,
) -> Result<Option<Left>, OverLimit> {
    let Some(limit) = limit else { return Ok(None) };
    limit.take(caller).map(Some).map_err(|wait| OverLimit { whose, left: limit.none_left(), wait })
}

/// A bucket of requests a caller.
pub struct PerMinute<K> {
    /// When each caller's bucket is full again, in ns since `started`.
    full_at: Cache<K, Arc<AtomicU64>>,
    started: Instant,
    /// In which one request comes back into a bucket.
    refill_ns: u64,
    /// In which an empty bucket becomes full.
    fill_ns: u64,
}

impl<K: Hash + Eq + Clone> PerMinute<K> {
    /// Buckets of one minute's requests. `None` when `requests` is 0: no limit.
    pub fn new(requests: u32) -> Option<Self> {
        (requests > 0).then(|| Self::in_bursts(requests, requests))
    }

    /// So many a minute, and no more than `burst` at once; neither is 0.
    pub fn in_bursts(requests: u32, burst: u32) -> Self {
        let refill_ns = nanos(MINUTE) / u64::from(requests);
        Self {
            full_at: Cache::new(CALLERS_MAX),
            started: Instant::now(),
            refill_ns,
            fill_ns: refill_ns * u64::from(burst),
        }
    }

    /// Takes one request from the caller's bucket, if there is one left.
    pub fn allows(&self, caller: &K) -> bool {
        self.take(caller).is_ok()
    }

    /// As [`Self::allows`]; answers what is left.
    ///
    /// # Errors
    ///
    /// When there is none left: the time until there is.
    pub fn take(&self, caller: &K) -> Result<Left, Duration> {
        let now_ns = nanos(self.started.elapsed());
        let Ok(full_at) = self.full_at.get_or_insert_with(caller, || Ok::<_, std::convert::Infallible>(Arc::default()));
        let taken = full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at_ns| {
            self.wait_ns(full_at_ns, now_ns).is_none().then(|| full_at_ns.max(now_ns) + self.refill_ns)
        });
        match taken {
            Ok(full_at_ns) => Ok(self.left_of(full_at_ns.max(now_ns) + self.refill_ns - now_ns)),
            Err(full_at_ns) => Err(Duration::from_nanos(self.wait_ns(full_at_ns, now_ns).unwrap_or(0))),
        }
    }

    /// An empty bucket.
    pub fn none_left(&self) -> Left {
        self.left_of(self.fill_ns)
    }

    /// A bucket that will be full in so long.
    fn left_of(&self, full_after_ns: u64) -> Left {
        let requests = |ns: u64| u32::try_from(ns / self.refill_ns).unwrap_or(u32::MAX);
        Left {
            limit: requests(self.fill_ns),
            remaining: requests(self.fill_ns.saturating_sub(full_after_ns)),
            reset: Duration::from_nanos(full_after_ns),
        }
    }

    /// Whether the caller's bucket is empty. Takes nothing from it.
    pub fn is_exhausted(&self, caller: &K) -> bool {
        let now_ns = nanos(self.started.elapsed());
        self.full_at.get(caller).is_some_and(|full_at| self.wait_ns(full_at.load(Ordering::Relaxed), now_ns).is_some())
    }

    /// Forgets callers whose buckets are full again.
    pub fn sweep(&self) {
        let now_ns = nanos(self.started.elapsed());
        self.full_at.retain(|_, full_at| full_at.load(Ordering::Relaxed) > now_ns);
    }

    /// `None` when a bucket that will be full then has a request left now.
    fn wait_ns(&self, full_at_ns: u64, now_ns: u64) -> Option<u64> {
        let full_after_ns = full_at_ns.max(now_ns) - now_ns + self.refill_ns;
        full_after_ns.checked_sub(self.fill_ns).filter(|wait_ns| *wait_ns > 0)
    }
}

/// A limit for each client address that also bounds the networks around it, since one person may hold many: a provider gives a
/// household a /56 of IPv6, a company a /48, and a small hoster sells whole /24s of IPv4.
pub struct PerNetwork {
    /// An IPv4 address or an IPv6 /64.
    addresses: PerMinute<IpAddr>,
    /// Twice as much for an IPv6 /56.
    sites: PerMinute<IpAddr>,
    /// Four times as much for an IPv4 /24 or an IPv6 /48.
    networks: PerMinute<IpAddr>,
}

impl PerNetwork {
    /// `None` when `requests` is 0: no limit.
    pub fn new(requests: u32) -> Option<Self> {
        Some(Self {
            addresses: PerMinute::new(requests)?,
            sites: PerMinute::new(requests.saturating_mul(2))?,
            networks: PerMinute::new(requests.saturating_mul(4))?,
        })
    }

    /// Takes a request from each of a client's buckets.
    ///
    /// # Errors
    ///
    /// When one of them is empty: the time until it isn't. Wider networks then lose nothing.
    pub fn take(&self, client: IpAddr) -> Result<(), Duration> {
        self.addresses.take(&client::visitor(client))?;
        if client.is_ipv6() {
            self.sites.take(&client::network(client, 56))?;
        }
        self.networks.take(&client::widest_network(client))?;
        Ok(())
    }

    /// Forgets clients whose buckets are full again.
    pub fn sweep(&self) {
        for limit in [&self.addresses, &self.sites, &self.networks] {
            limit.sweep();
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("64 bits of nanoseconds are 584 years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_a_bucket_of_their_own() {
        let limit = PerMinute::new(3).expect("a limit");
        for remaining in [2, 1, 0] {
            assert!(!limit.is_exhausted(&"a"));
            let left = limit.take(&"a").expect("one is left");
            assert_eq!((left.limit, left.remaining), (3, remaining));
            assert!(left.reset <= Duration::from_secs(60), "{left:?}");
        }
        assert!(limit.is_exhausted(&"a"));
        assert!(!limit.allows(&"a"));
        let wait = limit.take(&"a").expect_err("empty");
        assert!(wait <= Duration::from_secs(20), "{wait:?}");
        assert!(!limit.is_exhausted(&"b") && limit.allows(&"b"));
    }

    #[test]
    fn a_bucket_is_refilled_evenly_and_never_holds_more_than_its_burst() {
        let limit = PerMinute::<&str>::in_bursts(60, 10);
        let second = limit.refill_ns;
        // Full until ten were taken; then one comes back each second.
        let (now, empty) = (100 * second, 110 * second);
        assert_eq!(limit.wait_ns(0, now), None);
        assert_eq!(limit.wait_ns(empty - second, now), None, "the tenth");
        assert_eq!(limit.wait_ns(empty, now), Some(second), "the eleventh");
        assert_eq!(limit.wait_ns(empty, now + second - 1), Some(1));
        assert_eq!(limit.wait_ns(empty, now + second), None);
    }

    #[test]
    fn who_was_quiet_is_forgotten_and_a_flood_of_callers_is_bounded() {
        let limit = PerMinute::new(1).expect("a limit");
        for caller in 0..2 * CALLERS_MAX {
            assert!(limit.allows(&caller));
        }
        assert!(limit.full_at.len() <= CALLERS_MAX);
        let limit = PerMinute::new(1_000_000).expect("a limit");
        assert!(limit.allows(&"a"));
        while !limit.full_at.is_empty() {
            limit.sweep();
        }
    }

    #[test]
    fn an_officers_keys_have_a_bucket_each_and_one_together() {
        let (amy, ben) = ("amy@x.gov.sg", "ben@x.gov.sg");
        let limits = ApiLimits::new(2, 3);
        let take = |key: &str, officer: &str| {
            let taken = limits.take(&key.to_owned(), &Email::from_store(officer.to_owned()));
            taken.map(|left| left.map(|left| (left.limit, left.remaining))).map_err(|over| over.to_string())
        };
        assert_eq!(take("a", amy), Ok(Some((2, 1))));
        assert_eq!(take("a", amy), Ok(Some((2, 0))));
        for _ in 0..5 {
            assert_eq!(take("a", amy), Err("this key may make 2 requests a minute".to_owned()));
        }
        assert_eq!(take("b", amy), Ok(Some((3, 0))), "the tighter limit is told");
        let together = "the keys of this officer together may make 3 requests a minute";
        assert_eq!(take("b", amy), Err(together.to_owned()));
        assert_eq!(take("c", ben), Ok(Some((2, 1))), "another officer");
        let off = ApiLimits::new(0, 0);
        assert_eq!(off.take(&"a".to_owned(), &Email::from_store(amy.to_owned())), Ok(None));
    }

    #[test]
    fn who_has_many_addresses_has_little_more_than_who_has_one() {
        let allowed = |addresses: &mut dyn Iterator<Item = String>| {
            let limit = PerNetwork::new(10).expect("a limit");
            addresses.filter(|address| limit.take(address.parse().expect("an address")).is_ok()).count()
        };
        assert_eq!(allowed(&mut (0..1_000).map(|_| "192.0.2.1".to_owned())), 10, "one IPv4 address");
        assert_eq!(allowed(&mut (0..1_000).map(|number| format!("192.0.2.{}", number % 256))), 40, "an IPv4 /24");
        assert_eq!(allowed(&mut (0..1_000).map(|number| format!("2001:db8::{number:x}"))), 10, "an IPv6 /64");
        assert_eq!(
            allowed(&mut (0..1_000).map(|number| format!("2001:db8:0:{:x}::1", number % 256))),
            20,
            "an IPv6 /56"
        );
        assert_eq!(allowed(&mut (0..1_000).map(|number| format!("2001:db8:0:{number:x}::1"))), 40, "an IPv6 /48");
        assert_eq!(
            allowed(&mut (0..1_000).map(|number| format!("2001:db8:{number:x}::1"))),
            1_000,
            "neighbours each have their own"
        );
    }

    #[test]
    fn zero_is_no_limit() {
        assert!(PerMinute::<&str>::new(0).is_none());
        assert!(PerNetwork::new(0).is_none());
    }
}
