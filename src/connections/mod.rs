//! Connections of the public port, and the limits that keep a few strangers from taking all of them.
//!
//! Every connection is a [`Stream`]: it decides when actix may read the next request and how long a peer may take. [`Connections`] counts
//! connections by address and refuses those above `public.connections_per_address_max`. Above half of it, a connection is closed after its answer
//! instead of being kept, so people behind a shared address lose keep-alive before they lose service. Each worker keeps a tenth of its places free:
//! when fewer are left, every new connection evicts an idle one.
//!
//! Eviction is second chance (Corbató's clock): the hand passes over connections that were answered since its last visit and evicts the
//! first that wasn't, unless a request of it is being answered. A silent peer, half a head and a peer that doesn't read all count as
//! idle. So a place is only held by work, and work has time limits of its own.
//!
//! Connections of trusted proxies are exempt from both: one proxy's connections carry many visitors.

mod pulse;
mod refusal;
mod stream;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap, hash_map::Entry},
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    rc::{Rc, Weak},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use actix_http::{
    BoxedPayloadStream, ConnectionType, Payload, Request, Response,
    body::{BodySize, BoxBody, MessageBody},
    error::PayloadError,
    header::HeaderValue,
};
use bytes::Bytes;
use foldhash::fast::RandomState;
use ipnet::IpNet;
use tokio::net::TcpStream;

pub use self::{
    pulse::Pulse,
    stream::{HEAD_TIME_MAX, Stream, listen, prepare},
};
use crate::{
    client,
    config::Public,
    metrics::{ClosedConnection, Metrics},
};

/// Connections that the clock's hand passes per new connection. A full round takes fewer new connections than a worker has places free.
const EVICTION_STEPS_MAX: usize = 256;

/// Of an answer's body, what is copied at a time.
const BODY_PART_BYTES: usize = 16 * 1024;

/// State that all workers share.
pub struct Connections {
    /// `None` when the limit is disabled.
    per_address_max: Option<usize>,
    per_worker_max: usize,
    trusted: Vec<IpNet>,
    addresses: Mutex<HashMap<IpAddr, Arc<Address>, RandomState>>,
    /// Connections that workers took from the acceptor since the start.
    taken: AtomicU64,
    /// The page for requests that can't be read.
    page: refusal::Page,
    metrics: Arc<Metrics>,
}

/// An address with open connections: one IPv4 address, or one IPv6 network of 64 bits.
struct Address {
    ip: IpAddr,
    open: AtomicUsize,
}

impl Connections {
    /// `html` is the page for requests that can't be read, `policy` its `Content-Security-Policy`.
    pub fn new(settings: &Public, html: &str, policy: &HeaderValue, metrics: Arc<Metrics>) -> Self {
        Self {
            per_address_max: settings.connections_per_address_max,
            per_worker_max: settings.connections_per_worker_max(),
            trusted: settings.trusted_proxies.clone(),
            addresses: Mutex::default(),
            taken: AtomicU64::new(0),
            page: refusal::Page::new(html, policy),
            metrics,
        }
    }

    /// Connections that workers took from the acceptor since the start.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Counts one more connection of an address; `None` when it has as many as it may.
    fn enter(&self, ip: IpAddr, max: usize) -> Option<Arc<Address>> {
        let mut addresses = self.addresses();
        let address = match addresses.entry(ip) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(new) => Arc::clone(new.insert(Arc::new(Address { ip, open: AtomicUsize::new(0) }))),
        };
        if address.open.load(Ordering::Relaxed) >= max {
            return None;
        }
        address.open.fetch_add(1, Ordering::Relaxed);
        Some(address)
    }

    fn leave(&self, address: &Address) {
        let mut addresses = self.addresses();
        // Under the lock, so nobody enters between the last one's leaving and the entry's removal.
        if address.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            addresses.remove(&address.ip);
        }
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, Arc<Address>, RandomState>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connections of one worker.
pub struct Worker {
    all: Arc<Connections>,
    /// Trusted proxies' connections included.
    open: Cell<usize>,
    /// Connections that may be evicted, by age.
    evictable: RefCell<BTreeMap<u64, Weak<Connection>>>,
    next_number: Cell<u64>,
    /// The last connection that the clock's hand passed.
    hand: Cell<u64>,
}

impl Worker {
    pub fn new(all: Arc<Connections>) -> Rc<Self> {
        Rc::new(Self {
            all,
            open: Cell::new(0),
            evictable: RefCell::default(),
            next_number: Cell::new(0),
            hand: Cell::new(0),
        })
    }

    /// Takes a new connection, or `None` when its address has too many.
    pub fn admit(self: &Rc<Self>, io: TcpStream) -> Option<Stream> {
        self.all.taken.fetch_add(1, Ordering::Relaxed);
        // A peer that is gone already has no address.
        let ip = io.peer_addr().ok()?.ip().to_canonical();
        let is_trusted = self.all.trusted.iter().any(|network| network.contains(&ip));
        let address = match self.all.per_address_max {
            Some(max) if !is_trusted => match self.all.enter(client::visitor(ip), max) {
                Some(address) => Some(address),
                None => {
                    self.all.metrics.closed_connection(ClosedConnection::AddressLimit);
                    return None;
                }
            },
            _ => None,
        };
        let number = self.next_number.replace(self.next_number.get() + 1);
        let connection = Rc::new(Connection {
            worker: Rc::clone(self),
            number,
            address,
            work: Cell::new(Work::None),
            was_used: Cell::new(true),
            is_blocked: Cell::new(false),
            is_closing: Cell::new(false),
            had_long_head: Cell::new(false),
            wants_upgrade: Cell::new(false),
            waker: RefCell::default(),
        });
        self.open.set(self.open.get() + 1);
        self.all.metrics.public_connections.inc();
        if !is_trusted {
            if self.open.get() > self.all.per_worker_max - (self.all.per_worker_max / 10).max(1) {
                self.evict_one();
            }
            self.evictable.borrow_mut().insert(number, Rc::downgrade(&connection));
        }
        Some(Stream::new(io, connection))
    }

    fn evict_one(&self) {
        let evictable = self.evictable.borrow();
        let from_hand = evictable.range(self.hand.get() + 1..).chain(evictable.iter());
        for (&number, connection) in from_hand.take(EVICTION_STEPS_MAX) {
            self.hand.set(number);
            if let Some(connection) = connection.upgrade()
                && connection.is_idle()
                && !connection.was_used.replace(false)
            {
                connection.close(ClosedConnection::Evicted);
                return;
            }
        }
    }
}

/// State shared by a connection's stream, its worker and the request that is being answered.
pub struct Connection {
    worker: Rc<Worker>,
    number: u64,
    /// `None` when its connections aren't limited.
    address: Option<Arc<Address>>,
    work: Cell<Work>,
    /// Set with each answer, cleared by the clock's hand.
    was_used: Cell<bool>,
    /// The kernel takes no more bytes for now.
    is_blocked: Cell<bool>,
    is_closing: Cell<bool>,
    had_long_head: Cell<bool>,
    wants_upgrade: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The work in progress for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// No request, or the head of one that isn't complete.
    None,
    /// A handler is at work, or an answer of several parts is on its way: nothing is read.
    Answering,
    /// A handler waits for more of the request's body.
    AwaitingBody,
}

impl Connection {
    /// True if the connection is closed after the answer: its address has too many, the request's head was long, or it asked for an upgrade that
    /// it doesn't get, after which actix reads no further request.
    fn ends_with_answer(&self) -> bool {
        self.had_long_head.get() || self.wants_upgrade.get() || self.is_crowded()
    }

    fn is_idle(&self) -> bool {
        (self.work.get() == Work::None || self.is_blocked.get()) && !self.is_closing.get()
    }

    /// True if its address has more than half of the connections it may have.
    fn is_crowded(&self) -> bool {
        let max = self.worker.all.per_address_max;
        max.zip(self.address.as_ref()).is_some_and(|(max, address)| address.open.load(Ordering::Relaxed) > max / 2)
    }

    /// Wakes the stream's task, which then sees an end of input.
    fn close(&self, reason: ClosedConnection) {
        self.count(reason);
        self.is_closing.set(true);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn count(&self, reason: ClosedConnection) {
        self.worker.all.metrics.closed_connection(reason);
    }

    fn remember(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let worker = &self.worker;
        worker.open.set(worker.open.get() - 1);
        worker.evictable.borrow_mut().remove(&self.number);
        worker.all.metrics.public_connections.dec();
        if let Some(address) = &self.address {
            worker.all.leave(address);
        }
    }
}

/// A request that isn't answered at once. Until it is, its connection reads nothing but the request's body, and only as fast as the handler does.
pub struct Serving(Option<Rc<Connection>>);

impl Serving {
    /// Begins with a request whose answer takes time. A request without a [`Stream`] below it, as in benchmarks, is served all the same.
    pub fn begin(request: &mut Request) -> Self {
        let connection = request.conn_data::<Rc<Connection>>().map(Rc::clone);
        if let Some(connection) = &connection {
            connection.work.set(Work::Answering);
            connection.wants_upgrade.set(request.head().upgrade());
            if !matches!(request.payload(), Payload::None) {
                let payload = request.take_payload();
                let body: BoxedPayloadStream = Box::pin(Body { payload, connection: Rc::clone(connection) });
                *request.payload() = Payload::Stream { payload: body };
            }
        }
        Self(connection)
    }

    /// Ends with the answer, or with the last part of a long or streamed one. Long answers are cut into parts: the dispatcher copies what it gets.
    pub fn end(self, mut response: Response<BoxBody>) -> Response<BoxBody> {
        if self.0.as_ref().is_some_and(|connection| connection.ends_with_answer()) {
            // Announced, or the client sends its next request into a closed connection.
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        match response.body().size() {
            BodySize::Stream => response.map_body(|_, body| BoxBody::new(Streamed { body, _serving: self })),
            BodySize::Sized(length) if length > BODY_PART_BYTES as u64 => {
                response.map_body(|_, body| match body.try_into_bytes() {
                    Ok(rest) => BoxBody::new(Parts { rest, _serving: self }),
                    Err(body) => BoxBody::new(Streamed { body, _serving: self }),
                })
            }
            BodySize::None | BodySize::Sized(_) => response,
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.work.set(Work::None);
        }
    }
}

/// A request's body, which notes when its handler waits for more.
struct Body {
    payload: Payload,
    connection: Rc<Connection>,
}

impl futures_util::Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.payload).poll_next(context);
        if self.connection.work.get() != Work::None {
            self.connection.work.set(if next.is_pending() { Work::AwaitingBody } else { Work::Answering });
        }
        next
    }
}

struct Parts {
    rest: Bytes,
    _serving: Serving,
}

impl MessageBody for Parts {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let length = self.rest.len().min(BODY_PART_BYTES);
        Poll::Ready((length > 0).then(|| Ok(self.rest.split_to(length))))
    }
}

struct Streamed {
    body: BoxBody,
    _serving: Serving,
}

impl MessageBody for Streamed {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
