//! Visitors who don't wait for one another: they arrive at random at a given rate (Poisson), whether or not the server keeps up, and each one's
//! time counts from when they arrived, not from when a connection was free to send. A generator that waits for an answer before it sends the next
//! request would leave out those who'd have come in the meantime, who are the ones that a slow server hurts.
//!
//! One thread, which never sleeps: it has a core of its own (shared with Redis where there are two), and a timer's 50 µs would be in the figures.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::visits::{Draw, Visit};

/// Times of answers, sorted.
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn percentile(&self, percent: f64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let index = ((self.0.len() as f64 * percent / 100.0) as usize).min(self.0.len() - 1);
        self.0[index]
    }
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    arrived: Instant,
}

/// For those who wait when no more arrive, because the server can't keep up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Visits the server for so long; panics when an answer isn't a 302.
pub fn visit(port: u16, visits: &[Visit], rate: f64, seconds: f64, connections: usize) -> Latencies {
    let mut free: Vec<Connection> = (0..connections).map(|_| connect(port)).collect();
    let mut busy: Vec<Connection> = Vec::new();
    let mut waiting: VecDeque<Instant> = VecDeque::new();
    let requests: Vec<String> = visits.iter().take(50_000).map(Visit::request).collect();
    let mut requests = requests.iter().cycle();
    let mut draw = Draw(3);
    let mut latencies = Vec::new();
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(seconds);
    let mut next = started;
    loop {
        let now = Instant::now();
        while next <= now && next < end {
            waiting.push_back(next);
            next += Duration::from_secs_f64(-draw.fraction().ln() / rate);
        }
        while !waiting.is_empty() && !free.is_empty() {
            let (Some(arrived), Some(mut connection)) = (waiting.pop_front(), free.pop()) else { break };
            connection.arrived = arrived;
            connection.stream.write_all(requests.next().expect("endless").as_bytes()).expect("sent");
            busy.push(connection);
        }
        let mut index = 0;
        while index < busy.len() {
            if busy[index].is_answered() {
                let connection = busy.swap_remove(index);
                latencies.push(connection.arrived.elapsed());
                free.push(connection);
            } else {
                index += 1;
            }
        }
        if next >= end && waiting.is_empty() && busy.is_empty() {
            break;
        }
        if now > end + PATIENCE {
            // Whoever still waits has waited for so long at least.
            latencies.extend(
                waiting
                    .iter()
                    .copied()
                    .chain(busy.iter().map(|connection| connection.arrived))
                    .map(|arrived| now - arrived),
            );
            break;
        }
    }
    latencies.sort_unstable();
    Latencies(latencies)
}

fn connect(port: u16) -> Connection {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    stream.set_nonblocking(true).expect("a socket");
    Connection { stream, received: Vec::with_capacity(1024), arrived: Instant::now() }
}

impl Connection {
    fn is_answered(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => panic!("the server closed a connection"),
            Ok(size) => self.received.extend_from_slice(&buffer[..size]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("a connection broke: {error}"),
        }
        let text = String::from_utf8_lossy(&self.received);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        assert!(head.starts_with("HTTP/1.1 302"), "{head}");
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.map_or(0, |(_, length)| length.parse().expect("a number"));
        let whole = body.len() >= length;
        if whole {
            self.received.clear();
        }
        whole
    }
}
