//! Stops at random moments, under everything that strangers and officers send at once. Each must
//! end with exit code 0, leave no Redis behind and say nothing that isn't in the log's format, as a
//! panic's lines aren't.
//!
//! A thread that outlives the main thread by a moment may use what is gone; that moment comes once
//! in some hundred stops, so there are many.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    harness::{CHROME, CURL, Home, Random, Server, eventually},
    http::{Connection, Request},
    load::StopAtEnd,
    redis_server::{RedisServer, running_in},
    runs::length_of_run,
};

const STOPS: &str = "MERLINK_TEST_STOPS";
const STOPS_AT_ONCE: &str = "MERLINK_TEST_STOPS_AT_ONCE";

/// Stops of one installation, before it is made anew.
const ROUNDS: usize = 25;
const TARGET: &str = "https://example.com";

#[test]
fn a_stop_at_any_moment_ends_well() {
    let stops = usize::try_from(length_of_run(STOPS, 6)).expect("is small");
    let at_once = length_of_run(STOPS_AT_ONCE, 2);
    let (begun, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let during_start = AtomicUsize::new(0);
    thread::scope(|scope| {
        for installation in 0..at_once {
            let (begun, answered, during_start) = (&begun, &answered, &during_start);
            scope.spawn(move || {
                let random = Random::new();
                let redis = RedisServer::start();
                for installation in installation.. {
                    if begun.load(Ordering::SeqCst) >= stops {
                        return;
                    }
                    let home = Home::new();
                    // Two in three have a Redis of their own.
                    let home = if installation % 3 == 1 { home.set("redis.url", redis.url()) } else { home };
                    let server = home.start();
                    let key = server.key("amy@agency.gov.sg");
                    let code = format!("form-{}", random.below(1 << 40));
                    server.officer_with_key(&key).creates(&code, TARGET);
                    for _ in 0..ROUNDS {
                        if begun.fetch_add(1, Ordering::SeqCst) >= stops {
                            return;
                        }
                        answered.fetch_add(stop_under_load(&server, &key, &code, &random), Ordering::SeqCst);
                        if random.below(5) == 0 && begun.fetch_add(1, Ordering::SeqCst) < stops {
                            stop_while_starting(&server, &random);
                            during_start.fetch_add(1, Ordering::SeqCst);
                        }
                        server.start_again();
                    }
                }
            });
        }
    });
    println!(
        "stops: {stops}, {} of them during a start, {at_once} at once: exit code 0 each, no panic, no Redis left; {} requests answered meanwhile",
        during_start.into_inner(),
        answered.into_inner()
    );
}

/// Stops a server that is asked for everything; returns the answers.
fn stop_under_load(server: &Server, key: &str, code: &str, random: &Random) -> usize {
    let address = server.public_address();
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let signal = if random.below(4) == 0 { Signal::INT } else { Signal::TERM };
    let moment = random.below(300) as usize;
    let silent = (0..random.below(200)).filter_map(|_| Connection::open(address).ok()).collect::<Vec<_>>();
    let half = (0..random.below(2) * 3).filter_map(|number| half_request(address, key, number)).collect::<Vec<_>>();
    thread::scope(|scope| {
        let _stop = StopAtEnd(&over);
        let (over, answered) = (&over, &answered);
        let requests = [
            Request::new(address, "GET", format!("/{code}")).user_agent(CURL),
            Request::new(address, "GET", format!("/{code}")).user_agent(CHROME),
            Request::new(address, "GET", format!("/{code}+")).user_agent(CHROME),
            Request::new(address, "GET", "/api/v1/urls").key(key),
            Request::new(address, "GET", "/no-such-code").user_agent(CHROME),
        ];
        for request in requests {
            // Kept alive until the end, or a connection for each request.
            let is_kept = random.below(2) == 0;
            scope.spawn(move || {
                let request = request.bytes();
                let mut connection = None;
                while !over.load(Ordering::SeqCst) {
                    let Some(open) = connection.take().or_else(|| Connection::open(address).ok()) else { return };
                    let mut open: Connection = open;
                    if open.write(&request).and_then(|()| open.read_answer("GET")).is_ok() {
                        answered.fetch_add(1, Ordering::SeqCst);
                        connection = Some(open).filter(|_| is_kept);
                    }
                }
            });
        }
        scope.spawn(move || {
            for number in 0.. {
                let link = json!({"shortUrl": format!("made-{number}-{code}"), "longUrl": TARGET});
                let made = Request::new(address, "POST", "/api/v1/urls").key(key).json(&link).try_send();
                if over.load(Ordering::SeqCst) || made.is_err() {
                    return;
                }
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
        eventually("the load runs", || (answered.load(Ordering::SeqCst) >= moment).then_some(()));
        assert_eq!(server.end_by(signal), Some(0), "{signal:?}:\n{}", last_lines(server));
    });
    drop((silent, half));
    assert_ended(server);
    answered.into_inner()
}

/// Begins a request that never ends: a head, or a body that is waited for.
fn half_request(address: SocketAddr, key: &str, number: u64) -> Option<Connection> {
    let mut connection = Connection::open(address).ok()?;
    let head = match number % 3 {
        0 => "GET /form HTTP/1.1\r\nHost: x\r\n".to_owned(),
        1 => format!(
            "POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
        ),
        _ => "GET /form HTTP/1.1\r\nHost: x\r\n\r\nGET /for".to_owned(),
    };
    connection.write(head.as_bytes()).ok()?;
    Some(connection)
}

/// Stops a server after it wrote some bytes to its log.
fn stop_while_starting(server: &Server, random: &Random) {
    let moment = random.below(1_500) as usize;
    let mut beginning = server.home().begin();
    eventually("it starts", || {
        let log = beginning.log();
        (log.len() >= moment || log.contains("\"listening\"")).then_some(())
    });
    // Earlier than its first line, the signal ends it as it ends any program.
    let ended = beginning.end_by(Signal::TERM);
    let log = beginning.log();
    assert!(ended == Some(0) || (ended.is_none() && log.is_empty()), "{ended:?}, started: {log}");
    assert!(log.lines().all(|line| line.starts_with('{')), "each line is one of the log:\n{log}");
    let folder = server.home().data_dir().join("redis");
    eventually("its Redis has ended", || running_in(&folder).is_empty().then_some(()));
}

fn assert_ended(server: &Server) {
    let log = server.log();
    assert!(log.iter().all(|line| line.starts_with('{')), "each line is one of the log:\n{}", last_lines(server));
    let folder = server.home().data_dir().join("redis");
    assert!(running_in(&folder).is_empty(), "its Redis ends first:\n{}", last_lines(server));
}

fn last_lines(server: &Server) -> String {
    let log = server.log();
    log[log.len().saturating_sub(60)..].join("\n")
}
