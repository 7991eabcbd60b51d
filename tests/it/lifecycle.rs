//! Starting, stopping, dying and coming back: nothing answered is lost, nothing is counted twice.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    thread,
};

use redis::Connection;
use rustix::process::Signal;
use serde_json::json;

use crate::{
    harness::{CURL, Home, Server, eventually},
    redis_server::RedisServer,
};

#[test]
fn sigterm_and_sigint_end_the_server_after_the_last_click_is_counted() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start();
        let amy = server.officer("amy@agency.gov.sg");
        let created = amy.creates("form", "https://example.com");
        for _ in 0..200 {
            server.follow("form");
        }
        assert_eq!(server.end_by(signal), Some(0), "{signal:?}: exit code");
        assert!(server.home().redis().is_err(), "{signal:?}: the embedded Redis ends too");
        server.start_again();
        let link = amy.link("form");
        assert_eq!(link["clicks"], 200, "{signal:?}: counted before the end");
        assert_eq!((&link["createdAt"], &link["longUrl"]), (&created["createdAt"], &created["longUrl"]));
        server.follow("form");
        amy.sees_clicks("form", 201);
    }
}

#[test]
fn sigterm_under_load_counts_each_answer_that_was_given() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com");
    let answered = under_load(&server, || assert_eq!(server.end_by(Signal::TERM), Some(0)));
    server.start_again();
    // A client whose connection was closed on its request may have been counted without having read its answer.
    assert_counted(&server, answered);
}

#[test]
fn a_request_in_flight_is_answered_before_the_end() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let body = json!({"shortUrl": "form", "longUrl": "https://example.com"}).to_string();
    let mut connection = server.connect();
    let head = format!(
        "POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        amy.key,
        body.len()
    );
    connection.write(head.as_bytes()).expect("sends");
    assert_eq!(connection.read_line().expect("the server asks for the body"), "HTTP/1.1 100 Continue");
    server.signal(Signal::TERM);
    connection.write(body.as_bytes()).expect("sends");
    let line = connection.read_line().expect("the blank line after 100 Continue");
    assert_eq!(line, "");
    let answer = connection.read_answer("POST").expect("the request in flight is answered");
    answer.assert_v1_status("a request in flight", 200);
    drop(connection);
    assert_eq!(server.await_end(), Some(0));
    server.start_again();
    assert_eq!(amy.codes(""), ["form"]);
}

#[test]
fn sigkill_under_load_loses_no_click_that_was_answered_and_counts_none_twice() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com");
    let mut answered = 0;
    for round in 0..3 {
        answered += under_load(&server, || assert_eq!(server.end_by(Signal::KILL), None));
        server.start_again();
        let counted = assert_counted(&server, answered);
        // From here on, what the kill left open is settled.
        answered = counted;
        let clicks = amy.clicks("form");
        assert_eq!(clicks, counted, "round {round}");
    }
}

/// Clients of [`under_load`]: each has at most one request on the way.
const CLIENTS: i64 = 8;

/// Follows `/form` from several clients, ends the server in the midst of it by `end`, and answers how many 302s the clients got.
#[track_caller]
fn under_load(server: &Server, end: impl FnOnce()) -> i64 {
    let answered = AtomicI64::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut connection = server.connect();
            let request = server.get("/form").user_agent(CURL).bytes();
            let answered = &answered;
            scope.spawn(move || {
                while connection.write(&request).is_ok() {
                    match connection.read_answer("GET") {
                        Ok(answer) => answer.assert_redirects("under load", "https://example.com"),
                        Err(_) => return,
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually("the load runs", || (answered.load(Ordering::Relaxed) > 1_000).then_some(()));
        end();
    });
    answered.into_inner()
}

/// Asserts that the counter of `/form` holds every answer, and beyond them at most the one request of each client that was cut off.
#[track_caller]
fn assert_counted(server: &Server, answered: i64) -> i64 {
    server.await_flushed();
    let counted = server.counters("form").get("t").copied().unwrap_or(0);
    assert!((answered..=answered + CLIENTS).contains(&counted), "{answered} answered, {counted} counted");
    counted
}

#[test]
fn a_redis_that_outlived_a_killed_merlink_is_adopted() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com");
    server.follow("form");
    let before = process_id(&mut server.redis());
    assert_eq!(server.end_by(Signal::KILL), None);
    server.start_again();
    let after = process_id(&mut server.redis());
    // Where the operating system ends a child with its parent, a new one runs on the same files.
    assert!(before == after || !is_alive(before), "two Redis processes on one directory: {before} and {after}");
    server.follow("form").assert_redirects("after the restart", "https://example.com");
    amy.sees_clicks("form", 2);
}

#[test]
fn a_redis_that_is_alive_on_the_socket_is_adopted() {
    let home = Home::new();
    let directory = home.data_dir().join("redis");
    std::fs::create_dir_all(&directory).expect("the directory can be made");
    let files = tempfile::TempDir::new().expect("a temporary directory can be made");
    let redis = RedisServer::on(files, directory.join("redis.sock"), &[]);
    let server = home.start();
    assert_eq!(process_id(&mut server.redis()), i64::from(redis.process_id()), "the one that was there");
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com");
    server.follow("form").assert_redirects("served", "https://example.com");
    amy.sees_clicks("form", 1);
}

#[test]
fn an_embedded_redis_that_dies_is_started_again_with_everything_in_it() {
    let server = Server::start();
    server.expect_log("redis");
    let amy = server.officer("amy@agency.gov.sg");
    for number in 0..20 {
        amy.creates(&format!("form-{number}"), "https://example.com");
    }
    server.follow("form-7").assert_redirects("before", "https://example.com");
    let before = amy.codes("");
    let mut visits = 1;
    for round in 1..=3 {
        let dead = process_id(&mut server.redis());
        kill(dead);
        for _ in 0..50 {
            server.follow("form-7").assert_redirects("a remembered link while Redis is away", "https://example.com");
            visits += 1;
        }
        eventually("another Redis runs", || {
            let mut redis = server.home().redis().ok()?;
            redis::cmd("PING").exec(&mut redis).ok()?;
            (process_id(&mut redis) != dead).then_some(())
        });
        server.await_ready();
        eventually("the API works", || (amy.list("").status == 200).then_some(()));
        assert_eq!(amy.codes(""), before, "round {round}: every link is there, in order");
        amy.sees_clicks("form-7", visits);
    }
}

fn process_id(redis: &mut Connection) -> i64 {
    let info: redis::InfoDict = redis::cmd("INFO").arg("server").query(redis).expect("Redis answers INFO");
    info.get("process_id").expect("INFO names the process")
}

fn kill(process: i64) {
    let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw).expect("is a process id");
    rustix::process::kill_process(process, Signal::KILL).expect("it can be killed");
}

fn is_alive(process: i64) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
