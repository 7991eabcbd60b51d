//! Attacks by connections: answers that are never read, heads that never end, and places taken from everybody else.

// Metrics are floats, and counts are never negative.
#![allow(clippy::cast_sign_loss)]

use std::{
    io,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::{report, size};
use crate::{
    harness::{CURL, Home, Server, eventually},
    http::Connection,
    load::percentile,
};

const TARGET: &str = "https://example.com/form";

/// `GET /` as often as fits in what actix reads at once.
const PIPELINED: usize = 4_800;

fn visitor(number: usize) -> Ipv4Addr {
    let [.., third, fourth] = u32::try_from(number).expect("few visitors").to_be_bytes();
    Ipv4Addr::new(127, 1, third, fourth)
}

fn closed(server: &Server, reason: &str) -> usize {
    server.metrics().with("merlink_public_connections_closed_total", &[("reason", reason)]) as usize
}

fn open(server: &Server) -> usize {
    server.metrics().sum("merlink_public_connections") as usize
}

/// A number of /proc/PID/status, in bytes.
fn memory(server: &Server, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect("the field is there");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// Waits until the server has done all that it was asked: it uses less than a tenth of the processor.
fn await_idle(server: &Server) {
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.process_id())).expect("the server runs");
        let fields = stat.rsplit_once(") ").expect("a name in parentheses").1;
        let mut times = fields.split(' ').skip(11).map(|number| number.parse::<u64>().expect("a number"));
        times.next().expect("user time") + times.next().expect("system time")
    };
    let (mut since, mut last) = (Instant::now(), ticks());
    eventually("the server is idle", || {
        let now = ticks();
        if now > last + 2 {
            (since, last) = (Instant::now(), now);
        }
        (since.elapsed() > Duration::from_millis(300)).then_some(())
    });
}

/// One connection is one file, here and there.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("up to the maximum");
}

/// So many visits one after another, each over a connection of its own from an address of its own. Answers what each took, sorted.
fn visits(server: &Server, count: usize) -> Vec<Duration> {
    let mut took: Vec<Duration> = (0..count)
        .map(|number| {
            let began = Instant::now();
            let mut connection = Connection::open_from(Ipv4Addr::new(127, 2, 0, number as u8), server.public_address())
                .expect("a visitor connects");
            connection.write(&server.get("/form").user_agent(CURL).bytes()).expect("sends");
            connection.read_answer("GET").expect("is answered").assert_redirects("the next visitor", TARGET);
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    took
}

fn shown(took: &[Duration]) -> String {
    let [median, longest] = [50, 100].map(|percent| percentile(took, percent).as_secs_f64() * 1000.0);
    format!("median {median:.2} ms, longest {longest:.2} ms of {}", took.len())
}

fn with_link(home: Home) -> Server {
    let server = home.start();
    server.officer("amy@agency.gov.sg").creates("form", TARGET);
    server.follow("form").assert_redirects("before", TARGET);
    server
}

/// Connections that ask and never read, and what the server's memory grew by.
fn unread(server: &Server, request: &str, times: usize, connections: usize) -> (Vec<Connection>, usize) {
    let requests = request.repeat(times);
    // One that is read, so what the first of its kind takes isn't counted.
    let mut first = server.connect();
    first.write(request.as_bytes()).expect("sends");
    first.read_answer("GET").expect("is answered");
    await_idle(server);
    let before = memory(server, "VmRSS");
    let unread = (0..connections)
        .map(|_| {
            let mut connection = server.connect();
            connection.write(requests.as_bytes()).expect("the kernel takes it");
            connection
        })
        .collect();
    eventually("all are connected", || (open(server) >= connections).then_some(()));
    await_idle(server);
    (unread, memory(server, "VmHWM").saturating_sub(before))
}

#[test]
fn answers_that_nobody_reads_take_little_memory() {
    let connections = size(20, 300);
    raise_file_limit();
    for (about, path, times) in [
        // The page is made anew for each, so its handler is at work when the next request comes.
        ("the landing page", "/", PIPELINED),
        ("a redirect", "/form", PIPELINED),
        ("the largest file", "/api/v2/openapi.json", 1_000),
    ] {
        let server = with_link(Home::new());
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let (unread, grew) = unread(&server, &request, times, connections);
        let each = grew / connections / 1024;
        report(
            &format!("2 {connections} connections ask for {about} {times} times and never read"),
            "64 MB of memory in all (300 connections)",
            &format!("{:.1} MB, {each} kB each", grew as f64 / 1e6),
        );
        // So much besides: threads, pools and buffers that the first of anything takes.
        assert!(grew < 8_000_000 + connections * 180_000, "{about}: {grew} bytes");
        server.follow("form").assert_redirects("beside them", TARGET);
        drop(unread);
        eventually("all are closed", || (open(&server) <= 2).then_some(()));
    }
}

#[test]
fn who_does_not_read_is_closed() {
    let connections = size(3, 300);
    raise_file_limit();
    let server = with_link(Home::new());
    let began = Instant::now();
    let (unread, _) = unread(&server, "GET /api/v2/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", 500, connections);
    eventually("all are closed", || (closed(&server, "slow_reader") >= connections).then_some(()));
    report(
        &format!("2 {connections} connections never read: closed"),
        "15 s after the kernel took the last byte",
        &format!("all after {:.1} s", began.elapsed().as_secs_f64()),
    );
    eventually("their places are free", || (open(&server) <= 1).then_some(()));
    drop(unread);
}

#[test]
fn a_long_head_takes_no_memory_once_it_is_answered() {
    let connections = size(20, 300);
    raise_file_limit();
    let server = with_link(Home::new());
    await_idle(&server);
    let before = memory(&server, "VmRSS");
    let request = server.get("/form").user_agent(CURL).header("Cookie", "a".repeat(100_000)).bytes();
    let mut held = Vec::new();
    for _ in 0..connections {
        let mut connection = server.connect();
        connection.write(&request).expect("sends");
        connection.read_answer("GET").expect("is answered").assert_redirects("a long head", TARGET);
        connection.assert_closed("after a long head");
        held.push(connection);
    }
    assert_eq!(closed(&server, "long_request"), connections);
    await_idle(&server);
    let grew = memory(&server, "VmRSS").saturating_sub(before);
    report(
        &format!("2 {connections} connections each sent a head of 100 kB"),
        "20 MB once they are answered",
        &format!("{:.1} MB", grew as f64 / 1e6),
    );
    assert!(grew < 20_000_000, "{grew} bytes");
}

#[test]
fn a_head_that_trickles_is_given_up_also_when_it_is_the_second() {
    let server = with_link(Home::new());
    let began = Instant::now();
    let mut connection = server.connect();
    connection.write(&server.get("/form").user_agent(CURL).bytes()).expect("sends");
    connection.read_answer("GET").expect("is answered").assert_redirects("the first", TARGET);
    connection.write(b"GET /form HTTP/1.1\r\nHost: x\r\nX: ").expect("sends");
    let answer = eventually("the head is given up", || {
        // Each byte is sent when the last brought no answer for a while.
        connection.write(b"a").ok();
        connection.read_within(Duration::from_millis(100)).map(|answer| answer.expect("an answer, not an end"))
    });
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert_eq!(closed(&server, "slow_head"), 1);
    report(
        "3 a second request's head, a byte every 100 ms",
        "5 s",
        &format!("408 after {:.1} s", began.elapsed().as_secs_f64()),
    );
}

#[test]
fn an_address_gets_so_many_connections_and_no_more() {
    let server = with_link(Home::new().set("public.connections_per_address_max", "20"));
    let get = server.get("/form").user_agent(CURL).bytes();
    // An address that nobody else asks from, so connections that are only just closing count for another.
    let connect = || Connection::open_from(visitor(1), server.public_address()).expect("connects");
    // Up to half of them are kept.
    let mut kept: Vec<Connection> = (0..10).map(|_| connect()).collect();
    for _ in 0..3 {
        for connection in &mut kept {
            connection.write(&get).expect("sends");
            connection.read_answer("GET").expect("is answered").assert_redirects("kept", TARGET);
        }
    }
    // Sent is not yet flushed, and with one connection more the last of them might be closed instead.
    // A worker that answers somebody else is done with them.
    assert_eq!(visits(&server, 64).len(), 64);
    // The next ten are served, and closed after their answers.
    for _ in 0..30 {
        let mut connection = connect();
        connection.write(&get).expect("sends");
        connection.read_answer("GET").expect("is answered").assert_redirects("not kept", TARGET);
        connection.assert_closed("above half of the limit");
    }
    // A long answer, which takes several writes, comes whole.
    let mut connection = connect();
    connection.write(&server.get("/api/v2/openapi.json").bytes()).expect("sends");
    let document = connection.read_answer("GET").expect("is answered");
    assert!(document.json()["paths"].is_object(), "{} bytes", document.body.len());
    connection.assert_closed("after a long answer");
    eventually("each was closed", || (closed(&server, "address_share") == 31).then_some(()));
    // Those that ask nothing take the other ten places.
    eventually("only those that are kept are open", || (open(&server) == 10).then_some(()));
    let silent: Vec<Connection> = (0..10).map(|_| connect()).collect();
    eventually("all places are taken", || (open(&server) == 20).then_some(()));
    let mut refused = connect();
    assert!(refused.write(&get).and_then(|()| refused.read_answer("GET")).is_err(), "the twenty-first is refused");
    assert!(closed(&server, "address_limit") >= 1);
    let took = visits(&server, 5);
    assert_eq!(took.len(), 5, "other addresses are served");
    drop(silent);
    eventually("places are free again", || (open(&server) <= 10).then_some(()));
    let mut again = connect();
    again.write(&get).expect("sends");
    again.read_answer("GET").expect("is answered").assert_redirects("again", TARGET);
}

#[test]
fn a_trusted_proxy_may_have_any_number_of_connections() {
    let home = Home::new().set("public.connections_per_address_max", "10").set("public.trusted_proxies", "127.0.0.1");
    let server = with_link(home);
    let mut connections: Vec<Connection> = (0..50).map(|_| server.connect()).collect();
    for _ in 0..2 {
        for connection in &mut connections {
            connection.write(&server.get("/form").user_agent(CURL).bytes()).expect("sends");
            connection.read_answer("GET").expect("is answered").assert_redirects("by proxy", TARGET);
        }
    }
    for reason in ["address_limit", "address_share", "evicted"] {
        assert_eq!(closed(&server, reason), 0, "{reason}");
    }
}

#[test]
fn idle_connections_of_one_address_keep_nobody_out() {
    let connections = size(150, 10_050);
    raise_file_limit();
    let mut home = Home::new().unset("public.connections_per_address_max");
    if connections < 10_000 {
        home = home.set("public.connections_max", "100").set("public.connections_per_address_max", "40");
    }
    let server = with_link(home);
    let mut idle = Vec::new();
    for _ in 0..connections {
        let mut connection = server.connect();
        let asked = connection.write(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
        asked.and_then(|()| connection.read_answer("HEAD")).expect("each is answered");
        idle.push(connection);
    }
    let held = open(&server);
    let took = visits(&server, 20);
    report(
        &format!("3 {connections} idle connections of one address: the next visitor"),
        "10 ms",
        &format!("{}; {held} connections are held", shown(&took)),
    );
    assert!(held <= size(21, 501), "{held} are held");
    assert!(connections < 10_000 || percentile(&took, 50) < Duration::from_millis(10), "{}", shown(&took));
}

#[test]
fn idle_connections_of_many_addresses_make_room_for_the_next_visitor() {
    let (connections, addresses) = (size(300, 10_050), size(100, 5_000));
    raise_file_limit();
    let mut home = Home::new();
    if connections < 10_000 {
        home = home.set("public.connections_max", "100").set("public.workers", "2");
    }
    let server = with_link(home);
    let amy = server.officer("amy@agency.gov.sg");
    // A request that is being sent holds its place, whatever comes.
    let body = json!({"shortUrl": "slow", "longUrl": TARGET}).to_string();
    let mut at_work = None;
    let head = format!(
        "POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        amy.key,
        body.len()
    );
    let began = Instant::now();
    let mut attackers = Vec::new();
    for number in 0..connections {
        let mut connection =
            Connection::open_from(visitor(number % addresses), server.public_address()).expect("is accepted");
        match number % 3 {
            // Silent after one request, silent from the start, and silent in the middle of a head.
            0 => {
                let asked = connection.write(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
                asked.and_then(|()| connection.read_answer("HEAD")).expect("each is answered");
            }
            1 => {}
            _ => connection.write(b"GET /form HTTP/1.1\r\nHost:").expect("sends"),
        }
        attackers.push(connection);
        if number == connections / 2 {
            let mut connection = server.connect();
            connection.write(head.as_bytes()).expect("sends");
            assert_eq!(connection.read_line().expect("the server asks for the body"), "HTTP/1.1 100 Continue");
            at_work = Some(connection);
        }
    }
    let filled = began.elapsed();
    let took = visits(&server, 20);
    report(
        &format!("3 {connections} idle connections of {addresses} addresses: the next visitor"),
        "10 ms",
        &format!("{}; they came within {:.1} s", shown(&took), filled.as_secs_f64()),
    );
    assert!(closed(&server, "evicted") > 0, "some are evicted");
    assert!(open(&server) <= size(100, 10_000), "{} are open", open(&server));
    assert!(connections < 10_000 || percentile(&took, 50) < Duration::from_millis(10), "{}", shown(&took));
    if connections < 10_000 {
        let mut at_work = at_work.expect("came in the middle");
        at_work.write(body.as_bytes()).expect("sends");
        assert_eq!(at_work.read_line().expect("the blank line after 100 Continue"), "");
        at_work.read_answer("POST").expect("is answered").assert_v1_status("a request at work", 200);
    }
}

#[test]
fn places_are_not_held_by_those_who_do_not_read() {
    let server = with_link(Home::new().set("public.connections_max", "100").set("public.workers", "1"));
    let requests = "GET /api/v2/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    let unread: io::Result<Vec<Connection>> = (0..100)
        .map(|number| {
            let mut connection = Connection::open_from(visitor(number), server.public_address())?;
            connection.write(requests.as_bytes())?;
            Ok(connection)
        })
        .collect();
    let unread = unread.expect("all are accepted");
    let visitors = thread::scope(|scope| scope.spawn(|| visits(&server, 20)).join().expect("all are served"));
    assert_eq!(visitors.len(), 20);
    assert!(closed(&server, "evicted") > 0);
    drop(unread);
}
