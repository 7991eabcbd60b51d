//! Body budget: the memory that request bodies may take while they arrive, shared so that no sender can take it all.
//!
//! Every byte of a body that is kept counts until the body is complete and its request has a place. Each officer, and each client address
//! that officers send from, may take one share of the budget. Strangers, who have shown neither key nor session, have a quarter of it
//! among all of them, and each of their addresses a sixteenth of that quarter. So strangers can exhaust only what is theirs: bodies of
//! officers keep at least three quarters.
//!
//! One lock guards all counts. It is taken once for each piece of a body, some kilobytes, and never on the way of a redirect. An entry
//! lives only as long as a body of its sender is arriving, so there are never more entries than open connections.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus::IntGauge;

use crate::domain::Email;

/// Of the whole budget, for all strangers together: 1 in this many bytes.
const STRANGERS_PART: usize = 4;
/// Of the strangers' part, for one address: 1 in this many bytes. With the default of 64 MiB that is 1 MiB, or 256 login forms of the
/// greatest size at once.
const STRANGER_PART: usize = 16;

pub struct BodyBudget {
    limits: Limits,
    taken: Mutex<Taken>,
    in_use: IntGauge,
}

/// In bytes.
struct Limits {
    total: usize,
    /// One officer, or one address of officers.
    share: usize,
    strangers: usize,
    /// One address of strangers.
    stranger: usize,
}

#[derive(Default)]
struct Taken {
    total: usize,
    strangers: usize,
    by: HashMap<Account, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Account {
    Officer(Email),
    Address(IpAddr),
    Stranger(IpAddr),
}

/// The sender of a body, as far as the head of its request shows.
#[derive(Clone, Debug)]
pub struct Sender {
    /// One IPv4 address or one /64. `None` on a unix socket: then nothing is counted by address.
    pub address: Option<IpAddr>,
    /// `None`: a stranger.
    pub officer: Option<Email>,
}

/// The limit that a body would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// The whole budget.
    Total,
    /// The part of all strangers.
    Strangers,
    /// The share of this sender.
    Sender,
}

/// Bytes taken for one body, given back when dropped.
pub struct BodyBytes {
    budget: Arc<BodyBudget>,
    accounts: Vec<Account>,
    is_strangers: bool,
    bytes: usize,
}

impl BodyBudget {
    pub fn new(total: usize, share: usize, in_use: IntGauge) -> Self {
        let strangers = total / STRANGERS_PART;
        let limits = Limits { total, share, strangers, stranger: strangers / STRANGER_PART };
        Self { limits, taken: Mutex::default(), in_use }
    }

    /// Begins a body, which takes nothing yet.
    pub fn begin(self: &Arc<Self>, sender: Sender) -> BodyBytes {
        let is_strangers = sender.officer.is_none();
        let of_address = if is_strangers { Account::Stranger } else { Account::Address };
        let accounts = sender.address.map(of_address).into_iter().chain(sender.officer.map(Account::Officer)).collect();
        BodyBytes { budget: Arc::clone(self), accounts, is_strangers, bytes: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, taken: &Taken) {
        self.in_use.set(i64::try_from(taken.total).unwrap_or(i64::MAX));
    }
}

impl BodyBytes {
    /// Takes more bytes, or none.
    ///
    /// # Errors
    ///
    /// When a limit would be exceeded.
    pub fn take(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let limits = &self.budget.limits;
        let mut taken = self.budget.lock();
        let of_sender = if self.is_strangers { limits.stranger } else { limits.share };
        let is_full = |account| taken.by.get(account).copied().unwrap_or(0) + bytes > of_sender;
        if self.accounts.iter().any(is_full) {
            return Err(Exhausted::Sender);
        }
        if self.is_strangers && taken.strangers + bytes > limits.strangers {
            return Err(Exhausted::Strangers);
        }
        if taken.total + bytes > limits.total {
            return Err(Exhausted::Total);
        }
        taken.total += bytes;
        if self.is_strangers {
            taken.strangers += bytes;
        }
        for account in &self.accounts {
            *taken.by.entry(account.clone()).or_default() += bytes;
        }
        self.bytes += bytes;
        self.budget.show(&taken);
        Ok(())
    }
}

impl Drop for BodyBytes {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut taken = self.budget.lock();
        taken.total -= self.bytes;
        if self.is_strangers {
            taken.strangers -= self.bytes;
        }
        for account in &self.accounts {
            if let Some(bytes) = taken.by.get_mut(account) {
                *bytes -= self.bytes;
                if *bytes == 0 {
                    taken.by.remove(account);
                }
            }
        }
        self.budget.show(&taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: usize = 64_000;
    const SHARE: usize = 10_000;

    fn budget() -> Arc<BodyBudget> {
        Arc::new(BodyBudget::new(TOTAL, SHARE, IntGauge::new("in_use", "bytes").expect("a name")))
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn stranger(last: u8) -> Sender {
        Sender { address: Some(address(last)), officer: None }
    }

    fn officer(name: &str, last: u8) -> Sender {
        Sender { address: Some(address(last)), officer: Some(format!("{name}@x.gov.sg").parse().expect("an address")) }
    }

    #[test]
    fn an_officer_and_an_address_each_have_one_share() {
        let budget = budget();
        let mut amy = budget.begin(officer("amy", 1));
        assert_eq!(amy.take(SHARE), Ok(()), "all of it");
        assert_eq!(amy.take(1), Err(Exhausted::Sender), "and not a byte more");
        assert_eq!(budget.begin(officer("amy", 2)).take(1), Err(Exhausted::Sender), "nor from elsewhere");
        assert_eq!(budget.begin(officer("ben", 1)).take(1), Err(Exhausted::Sender), "nor by a colleague beside her");
        let mut ben = budget.begin(officer("ben", 2));
        assert_eq!(ben.take(SHARE), Ok(()));
        drop(amy);
        assert_eq!(budget.begin(officer("amy", 1)).take(SHARE), Ok(()), "what is dropped is free again");
    }

    #[test]
    fn strangers_leave_three_quarters_to_officers() {
        let budget = budget();
        let mut held = Vec::new();
        for last in 0..16 {
            let mut body = budget.begin(stranger(last));
            assert_eq!(body.take(1_000), Ok(()));
            assert_eq!(body.take(1), Err(Exhausted::Sender), "an address has a sixteenth");
            held.push(body);
        }
        assert_eq!(budget.begin(stranger(99)).take(1), Err(Exhausted::Strangers));
        for number in 0..4 {
            let mut body = budget.begin(officer(&format!("amy{number}"), number));
            assert_eq!(body.take(SHARE), Ok(()), "at a stranger's address too");
            held.push(body);
        }
        let mut last = budget.begin(officer("zoe", 200));
        assert_eq!(last.take(8_001), Err(Exhausted::Total));
        assert_eq!(last.take(8_000), Ok(()));
        held.push(last);
        assert_eq!(budget.in_use.get(), 64_000);
        held.clear();
        assert_eq!(budget.in_use.get(), 0);
        let taken = budget.lock();
        assert_eq!((taken.total, taken.strangers, taken.by.len()), (0, 0, 0), "nothing is remembered of whom");
    }

    #[test]
    fn what_was_refused_takes_nothing() {
        let budget = budget();
        let mut body = budget.begin(officer("amy", 1));
        assert_eq!(body.take(SHARE + 1), Err(Exhausted::Sender));
        assert_eq!(budget.in_use.get(), 0);
        assert_eq!(body.take(SHARE), Ok(()));
    }
}
