//! A TCP proxy between merlink and its Redis that does to connections what networks do.
//!
//! It knows nothing of Redis: a *reply* is what comes back in one piece. Two threads a connection; all end with the proxy.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::harness::{Random, eventually};

pub struct Proxy {
    address: SocketAddr,
    faults: Arc<Faults>,
}

/// What is done to connections. All off: everything passes.
struct Faults {
    redis: SocketAddr,
    refusing: AtomicBool,
    swallowed_percent: AtomicU64,
    delay_ms: AtomicU64,
    late_percent: AtomicU64,
    late_max_ms: AtomicU64,
    held_back: Mutex<HeldBack>,
    clock_ahead_days: AtomicI64,
    random: Random,
    connections: Mutex<Vec<Arc<Connection>>>,
    over: AtomicBool,
}

/// A request on its way to Redis that a test holds back.
#[derive(Default)]
enum HeldBack {
    #[default]
    None,
    /// It is the first that has all of these texts in it.
    Awaited(Vec<String>),
    Held,
    LetGo,
}

struct Connection {
    merlink: TcpStream,
    redis: TcpStream,
    /// Nothing that is sent arrives any more, and nobody is told.
    is_black_hole: AtomicBool,
}

impl Proxy {
    /// One before the Redis at this address.
    pub fn before(redis: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let faults = Arc::new(Faults {
            redis,
            refusing: AtomicBool::new(false),
            swallowed_percent: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
            late_percent: AtomicU64::new(0),
            late_max_ms: AtomicU64::new(0),
            held_back: Mutex::default(),
            clock_ahead_days: AtomicI64::new(0),
            random: Random::new(),
            connections: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&faults);
        thread::spawn(move || accept(&listener, &for_thread));
        Self { address, faults }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on nothing passes over the connections there are, in either direction, and they stay open. New ones work.
    pub fn black_hole(&self) {
        for connection in self.faults.connections().iter() {
            connection.is_black_hole.store(true, Ordering::SeqCst);
        }
    }

    /// Closes the connections there are. New ones work.
    pub fn cut(&self) {
        for connection in self.faults.connections().drain(..) {
            connection.close();
        }
    }

    /// Closes new connections as soon as they are made, or no longer.
    pub fn refuse(&self, refusing: bool) {
        self.faults.refusing.store(refusing, Ordering::SeqCst);
    }

    /// So many replies of a hundred are lost, each with its connection, after Redis has done what it was asked.
    pub fn swallow(&self, percent: u64) {
        self.faults.swallowed_percent.store(percent, Ordering::SeqCst);
    }

    /// Each reply comes this much later.
    pub fn delay(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).expect("a test is short");
        self.faults.delay_ms.store(delay_ms, Ordering::SeqCst);
    }

    /// Holds back so many messages of a hundred, in either direction, for up to `late_max`, as a
    /// retransmission does. What follows on the same connection waits too.
    pub fn be_late(&self, percent: u64, late_max: Duration) {
        let late_max_ms = u64::try_from(late_max.as_millis()).expect("a test is short");
        self.faults.late_max_ms.store(late_max_ms, Ordering::SeqCst);
        self.faults.late_percent.store(percent, Ordering::SeqCst);
    }

    /// Holds back the first request that has all of these texts in it, and what follows on its
    /// connection.
    pub fn hold_back(&self, texts: &[&str]) {
        *self.faults.held_back() = HeldBack::Awaited(texts.iter().map(|&text| text.to_owned()).collect());
    }

    /// True once the request has come that is to be held back.
    pub fn holds_back(&self) -> bool {
        matches!(*self.faults.held_back(), HeldBack::Held)
    }

    /// Sends the request on that was held back.
    pub fn let_go(&self) {
        *self.faults.held_back() = HeldBack::LetGo;
        eventually("it is sent on", || matches!(*self.faults.held_back(), HeldBack::None).then_some(()));
    }

    /// Redis says that it is so many days later than it is, or earlier.
    pub fn set_clock_ahead(&self, days: i64) {
        self.faults.clock_ahead_days.store(days, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.faults.over.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the thread that accepts.
        TcpStream::connect(self.address).ok();
    }
}

fn accept(listener: &TcpListener, faults: &Arc<Faults>) {
    for merlink in listener.incoming() {
        if faults.over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(merlink) = merlink else { continue };
        if faults.refusing.load(Ordering::SeqCst) {
            continue;
        }
        // A Redis that is away: whoever connected finds the connection closed.
        let Ok(redis) = TcpStream::connect(faults.redis) else { continue };
        for stream in [&merlink, &redis] {
            stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
        }
        let connection = Arc::new(Connection { merlink, redis, is_black_hole: AtomicBool::new(false) });
        faults.add(&connection);
        let (requests, replies) = (Arc::clone(&connection), connection);
        let for_requests = Arc::clone(faults);
        thread::spawn(move || requests.pass_requests(&for_requests));
        let faults = Arc::clone(faults);
        thread::spawn(move || replies.pass_replies(&faults));
    }
}

impl Faults {
    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the connection in mind, and no longer those whose threads have ended.
    fn add(&self, connection: &Arc<Connection>) {
        let mut connections = self.connections();
        connections.retain(|connection| Arc::strong_count(connection) > 1);
        connections.push(Arc::clone(connection));
    }

    fn swallows(&self) -> bool {
        self.random.below(100) < self.swallowed_percent.load(Ordering::SeqCst)
    }

    fn wait(&self) {
        match self.delay_ms.load(Ordering::SeqCst) {
            0 => {}
            delay_ms => thread::sleep(Duration::from_millis(delay_ms)),
        }
    }

    fn held_back(&self) -> MutexGuard<'_, HeldBack> {
        self.held_back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request to Redis, after it was held back if it is the one; answers whether it could
    /// be sent.
    fn deliver(&self, request: &[u8], mut redis: &TcpStream) -> bool {
        let has = |text: &String| request.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        let is_meant = |held: &HeldBack| matches!(held, HeldBack::Awaited(texts) if texts.iter().all(has));
        let is_held = {
            let mut held_back = self.held_back();
            let is_held = is_meant(&held_back);
            if is_held {
                *held_back = HeldBack::Held;
            }
            is_held
        };
        while is_held && matches!(*self.held_back(), HeldBack::Held) && !self.over.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        let sent = redis.write_all(request).is_ok();
        if is_held {
            *self.held_back() = HeldBack::None;
        }
        sent
    }

    fn hold_back_some(&self) {
        if self.random.below(100) < self.late_percent.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(self.random.below(self.late_max_ms.load(Ordering::SeqCst).max(1))));
        }
    }
}

impl Faults {
    /// Changes the time in an answer to INFO.
    fn tell_time(&self, reply: &mut [u8]) {
        const FIELD: &[u8] = b"server_time_usec:";
        const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;
        let days = self.clock_ahead_days.load(Ordering::SeqCst);
        let Some(at) = reply.windows(FIELD.len()).position(|bytes| bytes == FIELD).filter(|_| days != 0) else {
            return;
        };
        let digits = &mut reply[at + FIELD.len()..];
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let told: i64 = std::str::from_utf8(&digits[..length]).expect("digits").parse().expect("a number");
        let shifted = (told + days * DAY_US).to_string();
        assert_eq!(shifted.len(), length, "no digit more or less");
        digits[..length].copy_from_slice(shifted.as_bytes());
    }
}

impl Connection {
    fn pass_requests(&self, faults: &Faults) {
        self.pass(&self.merlink, |request| {
            faults.hold_back_some();
            faults.deliver(request, &self.redis)
        });
    }

    fn pass_replies(&self, faults: &Faults) {
        self.pass(&self.redis, |reply| {
            faults.tell_time(reply);
            faults.wait();
            faults.hold_back_some();
            !faults.swallows() && (&self.merlink).write_all(reply).is_ok()
        });
    }

    /// Delivers what comes until one side closes, or something can't be delivered.
    fn pass(&self, mut from: &TcpStream, deliver: impl Fn(&mut [u8]) -> bool) {
        let mut bytes = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            if self.is_black_hole.load(Ordering::SeqCst) {
                continue;
            }
            if !deliver(&mut bytes[..length]) {
                break;
            }
        }
        // What falls into a black hole says no goodbye either.
        if !self.is_black_hole.load(Ordering::SeqCst) {
            self.close();
        }
    }

    fn close(&self) {
        self.merlink.shutdown(Shutdown::Both).ok();
        self.redis.shutdown(Shutdown::Both).ok();
    }
}
