//! The origin of a request, for the audit trail: the session and the client's address.
//!
//! The store writes the trail where it changes something, far below whoever knows about connections and cookies. So the origin isn't passed
//! down as an argument of each call: it belongs to the task that answers the request, and is absent in any other.

use std::{cell::RefCell, net::IpAddr};

tokio::task_local! {
    static ORIGIN: Origin;
}

/// Parts that an entry doesn't name are `None`.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// `None` unless `audit.addresses` is on.
    pub address: Option<IpAddr>,
    /// An id of the console's session, which opens nothing.
    session: RefCell<Option<String>>,
}

impl Origin {
    pub fn of(address: Option<IpAddr>) -> Self {
        Self { address, session: RefCell::default() }
    }

    /// Answers a request whose origin this is.
    pub async fn around<T>(self, answer: impl Future<Output = T>) -> T {
        ORIGIN.scope(self, answer).await
    }

    /// Notes the session of the request at hand.
    pub fn note_session(id: String) {
        // Outside of a request there is nobody to be told.
        let _ = ORIGIN.try_with(|origin| origin.session.replace(Some(id)));
    }

    /// The address and session of the request at hand.
    pub fn at_hand() -> (Option<IpAddr>, Option<String>) {
        ORIGIN.try_with(|origin| (origin.address, origin.session.borrow().clone())).unwrap_or_default()
    }
}
