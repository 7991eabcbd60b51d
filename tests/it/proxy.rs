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

use crate::harness::Random;

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
    clock_ahead_days: AtomicI64,
    random: Random,
    connections: Mutex<Vec<Arc<Connection>>>,
    over: AtomicBool,
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
        thread::spawn(move || requests.pass_requests());
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
    fn pass_requests(&self) {
        self.pass(&self.merlink, &self.redis, |_| true);
    }

    fn pass_replies(&self, faults: &Faults) {
        self.pass(&self.redis, &self.merlink, |reply| {
            faults.tell_time(reply);
            faults.wait();
            !faults.swallows()
        });
    }

    /// Passes on what comes until one side closes, or something isn't let through.
    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream, lets_through: impl Fn(&mut [u8]) -> bool) {
        let mut bytes = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            if self.is_black_hole.load(Ordering::SeqCst) {
                continue;
            }
            if !lets_through(&mut bytes[..length]) || to.write_all(&bytes[..length]).is_err() {
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
