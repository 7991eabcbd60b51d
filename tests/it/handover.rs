//! From one process to the next: ports stay open, links in memory redirect while Redis loads, and
//! the service manager knows how things are.

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use redis::{Commands as _, cmd, pipe};
use rustix::process::Signal;

use crate::{
    harness::{CURL, Home, Random, Server, eventually},
    http::{Connection, Request},
    load::{Pace, StopAtEnd, distribution},
    redis_server::{append_only_file, cut_tail, free_address, process_id, program, running_in, signal},
    runs::length_of_run,
    service_manager::ServiceManager,
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

const RESTARTS: &str = "MERLINK_TEST_RESTARTS";
const RESTART_LINKS: &str = "MERLINK_TEST_RESTART_LINKS";
const RESTART_RATE: &str = "MERLINK_TEST_RESTART_REDIRECTS_PER_SECOND";

/// Every visit of a hot link is redirected, through restarts of a node with its own Redis.
#[test]
fn a_restart_refuses_no_connection_and_fails_no_hot_link() {
    const VISITORS: u32 = 40;
    let restarts = length_of_run(RESTARTS, 2);
    let links = length_of_run(RESTART_LINKS, 2_000);
    let per_second = length_of_run(RESTART_RATE, 200);
    let manager = ServiceManager::new();
    let server = manager.manage(Home::new()).start();
    server.expect_log("redis");
    server.expect_log("clicks wait");
    let hot = hot_links(&server, 100);
    make_links(&server, &hot[0], links);
    let public = server.public_address();
    let visits = Visits::default();
    let mut loads = Vec::new();
    thread::scope(|scope| {
        let _stop = StopAtEnd(&visits.over);
        let random = Random::new();
        for number in 0..VISITORS {
            let (visits, hot, random) = (&visits, &hot, random.below(u64::MAX));
            let interval = Duration::from_secs(1) * VISITORS / u32::try_from(per_second).expect("is small");
            scope.spawn(move || visits.make(public, hot, number % 2 == 0, random as usize, interval));
        }
        for _ in 0..restarts {
            visits.await_more(per_second.cast_signed());
            assert_eq!(server.end_by(Signal::TERM), Some(0));
            manager.pass("public", &server);
            server.start_again_unready();
            assert_eq!(server.public_address(), public, "the same socket");
            let begun = Instant::now();
            server.await_ready();
            loads.push(begun.elapsed());
            visits.await_more(per_second.cast_signed());
        }
    });
    let failures = visits.failures.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), &failures[..failures.len().min(10)]);
    server.await_flushed();
    let (answered, repeated) = (visits.answered.load(Ordering::SeqCst), visits.repeated.load(Ordering::SeqCst));
    let first: i64 = hot.len().try_into().expect("is small");
    let counted: i64 = server.counters("*")["t"] - first;
    assert!(
        (answered..=answered + repeated).contains(&counted),
        "{answered} answered, {repeated} repeated, {counted} counted"
    );
    let mut took = visits.took.lock().unwrap_or_else(PoisonError::into_inner);
    took.sort_unstable();
    println!(
        "restarts: {restarts} of a node with its own Redis and {links} links at {per_second} redirects/s: {answered} answered, 0 failed, {repeated} \
         repeated because an idle connection was closed; {}; not ready after the start for {loads:.1?}",
        distribution(&took)
    );
}

#[derive(Default)]
struct Visits {
    over: AtomicBool,
    answered: AtomicI64,
    /// Requests sent on a kept connection just when it was closed. A client repeats them (RFC 9110,
    /// section 9.2.2).
    repeated: AtomicI64,
    failures: Mutex<Vec<String>>,
    took: Mutex<Vec<Duration>>,
}

impl Visits {
    /// One visitor's visits, on one connection or on a new one each time.
    fn make(&self, to: SocketAddr, codes: &[String], keeps: bool, first: usize, interval: Duration) {
        let mut pace = Pace::new(interval);
        let mut kept: Option<Connection> = None;
        for number in 0.. {
            pace.keep();
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let code = &codes[(first % codes.len() + number) % codes.len()];
            let request = Request::new(to, "GET", format!("/{code}")).user_agent(CURL).bytes();
            let begun = Instant::now();
            let visit =
                |connection: &mut Connection| connection.write(&request).and_then(|()| connection.read_answer("GET"));
            let mut answer = None;
            if let Some(mut connection) = kept.take() {
                match visit(&mut connection) {
                    Ok(answered) => answer = Some((connection, answered)),
                    Err(_) => drop(self.repeated.fetch_add(1, Ordering::SeqCst)),
                }
            }
            let answer = match answer {
                Some(answer) => Ok(answer),
                None => Connection::open(to).and_then(|mut connection| {
                    let answered = visit(&mut connection)?;
                    Ok((connection, answered))
                }),
            };
            match answer {
                Ok((connection, answer)) if answer.status == 302 => {
                    self.answered.fetch_add(1, Ordering::SeqCst);
                    self.took.lock().unwrap_or_else(PoisonError::into_inner).push(begun.elapsed());
                    let is_closed =
                        answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                    kept = Some(connection).filter(|_| keeps && !is_closed);
                }
                Ok((_, answer)) => self.fails(format!("{code}: {}", answer.status)),
                Err(error) => self.fails(format!("{code}: {error}")),
            }
        }
    }

    fn fails(&self, failure: String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
    }

    fn await_more(&self, more: i64) {
        let enough = self.answered.load(Ordering::SeqCst) + more;
        eventually("visits are answered", || (self.answered.load(Ordering::SeqCst) >= enough).then_some(()));
    }
}

/// Links that are in memory.
fn hot_links(server: &Server, count: usize) -> Vec<String> {
    let amy = server.officer("amy@agency.gov.sg");
    let codes: Vec<String> = (0..count).map(|number| format!("hot-{number}")).collect();
    for code in &codes {
        amy.creates(code, TARGET);
        server.follow(code).assert_redirects("before", TARGET);
    }
    codes
}

/// Copies a link in Redis, so that there is much to load.
fn make_links(server: &Server, of: &str, count: u64) {
    let mut redis = server.redis();
    let fields: Vec<(String, String)> = redis.hgetall(format!("l:{{{of}}}")).expect("the link is there");
    for part in (0..count).collect::<Vec<_>>().chunks(10_000) {
        let mut copies = pipe();
        for number in part {
            copies.hset_multiple(format!("l:{{copy-{number}}}"), &fields).ignore();
        }
        copies.exec(&mut redis).expect("Redis takes the copies");
    }
}

/// A home whose Redis takes 200 µs to load a key, until [`let_load`]. Each thousand keys it answers
/// that it loads.
fn slow_to_load() -> Home {
    let home = Home::new();
    let server = program();
    let checker = server.with_file_name("redis-check-aof");
    for (name, program, slowly) in [("redis-server", server, "--key-load-delay 200"), ("redis-check-aof", checker, "")]
    {
        let script = home.write(name, &format!("#!/bin/sh\nexec {} \"$@\" {slowly}\n", program.display()));
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("the file is ours");
    }
    let path = format!("{}:{}", home.path().display(), std::env::var("PATH").expect("there is a PATH"));
    home.environment("PATH", &path)
}

/// Loaded after some 15 s, or at once after [`let_load`].
const SLOW_LINKS: u64 = 60_000;

/// Lets a Redis that loads slowly load at full speed.
fn let_load(server: &Server) {
    let mut redis = server.redis();
    cmd("CONFIG")
        .arg("SET")
        .arg("key-load-delay")
        .arg(0)
        .exec(&mut redis)
        .expect("Redis takes settings while it loads");
}

fn await_loading(server: &Server) {
    eventually("it says that Redis loads", || {
        let readiness = server.operator("/readyz").send();
        (readiness.status == 503 && readiness.text().contains("Redis reads its data")).then_some(())
    });
}

#[test]
fn a_node_whose_redis_loads_redirects_what_it_had_in_memory() {
    let server = slow_to_load().start();
    server.expect_log("clicks wait");
    let hot = hot_links(&server, 3);
    make_links(&server, &hot[0], SLOW_LINKS);
    assert_eq!(server.end_by(Signal::TERM), Some(0));
    server.start_again_unready();
    await_loading(&server);
    for code in &hot {
        server.follow(code).assert_redirects("while Redis loads", TARGET);
    }
    let_load(&server);
    server.await_ready();
    server.officer("amy@agency.gov.sg").sees_clicks(&hot[0], 2);
    server.follow("copy-7").assert_redirects("a link that wasn't in memory", TARGET);
}

#[test]
fn a_stop_while_redis_loads_ends_well() {
    let server = slow_to_load().start();
    for expected in ["clicks wait", "clicks stay"] {
        server.expect_log(expected);
    }
    let hot = hot_links(&server, 1);
    make_links(&server, &hot[0], SLOW_LINKS);
    assert_eq!(server.end_by(Signal::TERM), Some(0));
    server.start_again_unready();
    await_loading(&server);
    assert_eq!(server.end_by(Signal::TERM), Some(0));
    assert!(server.home().redis().is_err(), "its Redis ends too");
    server.start_again_unready();
    let_load(&server);
    server.await_ready();
    server.follow("copy-7").assert_redirects("nothing is lost", TARGET);
}

/// Kills merlink and its Redis, and returns the file that the next one loads.
fn kill_both(server: &Server) -> PathBuf {
    let redis = process_id(&mut server.redis());
    assert_eq!(server.end_by(Signal::KILL), None);
    signal(redis, Signal::KILL);
    let folder = server.home().data_dir().join("redis");
    eventually("Redis is dead", || running_in(&folder).is_empty().then_some(()));
    append_only_file(&folder)
}

#[test]
fn a_torn_file_that_is_found_after_a_long_load_is_mended() {
    let server = slow_to_load().start();
    for expected in ["clicks wait", "torn"] {
        server.expect_log(expected);
    }
    let hot = hot_links(&server, 1);
    make_links(&server, &hot[0], SLOW_LINKS);
    cut_tail(&kill_both(&server), 3);
    server.start_again_unready();
    await_loading(&server);
    let_load(&server);
    server.await_ready();
    server.follow("copy-7").assert_redirects("all but the last write is there", TARGET);
}

#[test]
fn a_file_that_turns_out_to_be_damaged_ends_the_service() {
    let server = slow_to_load().start();
    for expected in ["clicks wait", "clicks stay", "ended while starting"] {
        server.expect_log(expected);
    }
    let hot = hot_links(&server, 1);
    make_links(&server, &hot[0], SLOW_LINKS);
    let file = kill_both(&server);
    let mut bytes = std::fs::read(&file).expect("the file is there");
    let middle = bytes.len() * 3 / 4;
    bytes[middle..middle + 1_000].fill(b'x');
    std::fs::write(&file, bytes).expect("the file can be written");
    server.start_again_unready();
    let_load(&server);
    assert_eq!(server.await_end(), Some(1), "whoever started it is told");
    let said = |line: &String| line.contains("ended while starting") && line.contains("redis.log");
    eventually("the log says why", || server.log().iter().any(said).then_some(()));
}

#[test]
fn the_service_manager_hears_of_start_life_and_end() {
    let manager = ServiceManager::new();
    let server = manager.manage(Home::new().environment("WATCHDOG_USEC", "400000")).start();
    eventually("it is ready", || (manager.heard("READY=1") == 1).then_some(()));
    eventually("it is alive", || (manager.heard("WATCHDOG=1") >= 3).then_some(()));
    assert_eq!(manager.heard("STOPPING=1"), 0);
    assert_eq!(server.end_by(Signal::TERM), Some(0));
    eventually("it stops", || (manager.heard("STOPPING=1") == 1).then_some(()));
}

#[test]
fn a_killed_process_leaves_its_port_to_the_next() {
    let manager = ServiceManager::new();
    let server = manager.manage(Home::new()).start();
    let address = server.public_address();
    assert_eq!(server.end_by(Signal::KILL), None);
    let mut waiting = Connection::open(address).expect("the port is open though nobody is there");
    waiting.write(&Request::new(address, "GET", "/").bytes()).expect("sends");
    manager.pass("public", &server);
    server.start_again();
    assert_eq!(server.public_address(), address);
    waiting.read_answer("GET").expect("whoever came between two processes is answered").assert_page("between", 200);
    assert_eq!(manager.heard("FDNAME=public"), 2, "removed and stored once, by the first process");
}

#[test]
fn a_passed_socket_is_used_for_the_port_whose_address_it_has() {
    for setting in ["public.listen", "operator.listen"] {
        let manager = ServiceManager::new();
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = socket.local_addr().expect("is bound").to_string();
        let home = Home::new().set("public.listen", free_address().to_string()).set(setting, &address);
        let home = manager.manage(home);
        home.give(Some(socket.into()));
        // Bound a second time it would be taken.
        home.start().get("/").send().assert_page(setting, 200);
    }
}

#[test]
fn a_passed_socket_that_no_setting_names_is_given_back() {
    let manager = ServiceManager::new();
    let before = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = free_address();
    let home = Home::new().set("public.listen", address.to_string());
    let home = manager.manage(home.set("operator.listen", free_address().to_string()));
    home.give(Some(before.into()));
    let server = home.start();
    assert_eq!(server.public_address(), address, "the settings say where");
    let kept = eventually("the new one is kept", || manager.kept("public"));
    assert_eq!(TcpListener::from(kept).local_addr().expect("is bound"), address);
    eventually("both ports' old ones are let go", || (manager.heard("FDSTOREREMOVE=1") == 2).then_some(()));
}
