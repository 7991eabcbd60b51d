//! Starting, stopping, dying and coming back: nothing answered is lost, nothing is counted twice.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    thread,
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    harness::{Beginning, CURL, Home, PATIENCE, Server, eventually},
    http::Request,
    load::StopAtEnd,
    redis_server::{RedisServer, free_address, is_alive, process_id, running_in, signal},
};

#[test]
fn sigterm_and_sigint_end_the_server_after_the_last_click_is_counted() {
    for end in [Signal::TERM, Signal::INT] {
        let server = Server::start();
        let amy = server.officer("amy@agency.gov.sg");
        let created = amy.creates("form", "https://example.com");
        for _ in 0..200 {
            server.follow("form");
        }
        assert_eq!(server.end_by(end), Some(0), "{end:?}: exit code");
        assert!(server.home().redis().is_err(), "{end:?}: the embedded Redis ends too");
        server.start_again();
        let link = amy.link("form");
        assert_eq!(link["clicks"], 200, "{end:?}: counted before the end");
        assert_eq!((&link["createdAt"], &link["longUrl"]), (&created["createdAt"], &created["longUrl"]));
        server.follow("form");
        amy.sees_clicks("form", 201);
    }
}

/// The threads of an actix system each hold a sender to the main thread in a thread-local, and may
/// drop it when nothing is left to receive: an abort after the last click, which no number of stops
/// is sure to meet.
#[test]
fn no_thread_belongs_to_an_actix_system() {
    let server = Server::start();
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.process_id())).expect("its threads are listed");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let names: Vec<String> = names.collect();
    assert!(names.iter().any(|name| name.starts_with("actix-server")), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("actix-rt")), "{names:?}");
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
        signal(dead, Signal::KILL);
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

#[test]
fn an_adopted_redis_that_hangs_gets_no_second_server_beside_it() {
    let server = Server::start();
    server.expect_log("redis");
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com");
    assert_eq!(server.end_by(Signal::KILL), None);
    server.start_again();
    server.follow("form").assert_redirects("before", "https://example.com");
    let folder = server.home().data_dir().join("redis");
    let redis = process_id(&mut server.redis());
    assert_eq!(running_in(&folder), [redis]);

    signal(redis, Signal::STOP);
    let waiting = fill_backlog(&folder.join("redis.sock"));
    assert!(waiting.len() >= 500, "its queue took {} connections only", waiting.len());
    // A second of silence: merlink has looked ten times whether it is dead.
    eventually("merlink notices", || (server.metrics().sum("merlink_redis_up") == 0.0).then_some(()));
    for _ in 0..20 {
        server.follow("form").assert_redirects("a remembered link", "https://example.com");
        assert_eq!(running_in(&folder), [redis], "one server on one directory");
    }
    drop(waiting);
    signal(redis, Signal::CONT);
    server.await_ready();
    assert_eq!(running_in(&folder), [redis], "the same as before");
    amy.sees_clicks("form", 21);
    assert!(!server.log().iter().any(|line| line.contains("starting it again")), "it wasn't taken for dead");
}

/// Connections that nobody accepts, as many as the socket's queue takes.
fn fill_backlog(socket: &Path) -> Vec<std::os::unix::net::UnixStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let mut waiting = Vec::new();
        // Blocking, the one that doesn't fit would wait.
        while let Ok(stream) = tokio::net::UnixStream::connect(socket).await {
            waiting.push(stream.into_std().expect("it can be taken over"));
        }
        waiting
    })
}

/// Whether a moment of the start has come.
type HasCome<'t> = Box<dyn Fn(&Beginning) -> bool + 't>;

#[test]
fn sigterm_is_heard_at_any_moment_of_the_start_and_leaves_no_redis_behind() {
    let home = Home::new();
    let data = home.data_dir();
    let folder = data.join("redis");
    let moments: [(&str, HasCome<'_>); 6] = [
        ("the data directory is claimed", Box::new(|_| data.join("lock").exists())),
        ("Redis is about to start", Box::new(|_| folder.join("redis.conf").exists())),
        ("Redis runs", Box::new(|_| !running_in(&folder).is_empty())),
        ("Redis listens", Box::new(|_| folder.join("redis.sock").exists())),
        ("the journal is open", Box::new(|_| data.join("journal/instance").exists())),
        ("it listens", Box::new(|beginning| beginning.log().contains("listening"))),
    ];
    for (about, has_come) in moments {
        for end in [Signal::TERM, Signal::INT] {
            std::fs::remove_dir_all(&data).ok();
            let mut beginning = home.begin();
            let deadline = std::time::Instant::now() + PATIENCE;
            // Looked at without a pause: some of these moments are short.
            while !has_come(&beginning) {
                assert!(!beginning.is_over(), "{about}: {}", beginning.log());
                assert!(std::time::Instant::now() < deadline, "never: {about}: {}", beginning.log());
            }
            assert_eq!(beginning.end_by(end), Some(0), "{end:?} when {about}: {}", beginning.log());
            eventually("Redis has ended", || running_in(&folder).is_empty().then_some(()));
        }
    }
    // What was begun and given up is no obstacle.
    let server = home.start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com");
    server.follow("form").assert_redirects("served", "https://example.com");
}

#[test]
fn a_redis_that_dies_while_merlink_drains_costs_no_click() {
    let server = Server::start();
    server.expect_log("redis");
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com");
    let mut visits = 0;
    for _ in 0..2 {
        server.follow("form").assert_redirects("in memory from here on", "https://example.com");
        server.await_flushed();
        let redis = process_id(&mut server.redis());
        // A Redis that hangs keeps the clicks waiting for the drain.
        signal(redis, Signal::STOP);
        for _ in 0..200 {
            server.follow("form").assert_redirects("while Redis hangs", "https://example.com");
        }
        visits += 201;
        let lines = server.log().len();
        server.signal(Signal::TERM);
        eventually("it stops", || server.log()[lines..].iter().any(|line| line.contains("stopping")).then_some(()));
        signal(redis, Signal::KILL);
        assert_eq!(server.await_end(), Some(0));
        let folder = server.home().data_dir().join("redis");
        eventually("Redis has ended", || running_in(&folder).is_empty().then_some(()));
        server.start_again();
        amy.sees_clicks("form", visits);
        server.await_flushed();
        assert_eq!(server.counters("form").get("t"), Some(&visits), "none twice");
    }
}

#[test]
fn a_restart_with_redis_alive_sends_nobody_away() {
    let redis = RedisServer::start();
    let address = free_address().to_string();
    let server = Home::new().set("redis.url", redis.url()).set("public.listen", &address).start();
    // On a busy machine its heartbeat may miss its turn; what is in memory redirects all the same.
    server.expect_log("redis is away");
    let amy = server.officer("amy@agency.gov.sg");
    for number in 0..3 {
        amy.creates(&format!("form-{number}"), "https://example.com");
    }
    let address = server.public_address();
    let (answered, over) = (AtomicI64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let _stop = StopAtEnd(&over);
        for number in 0..3 {
            let (answered, over) = (&answered, &over);
            let request = Request::new(address, "GET", format!("/form-{number}")).user_agent(CURL);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // Nobody listens in between: that is for the one who restarts, or the balancer, to bridge.
                    if let Ok(answer) = request.clone().try_send() {
                        answer.assert_redirects("around a restart", "https://example.com");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for end in [Signal::TERM, Signal::KILL, Signal::TERM] {
            let enough = answered.load(Ordering::Relaxed) + 200;
            eventually("the load runs", || (answered.load(Ordering::Relaxed) > enough).then_some(()));
            server.end_by(end);
            server.start_again();
        }
        let enough = answered.load(Ordering::Relaxed) + 200;
        eventually("the load runs", || (answered.load(Ordering::Relaxed) > enough).then_some(()));
    });
}
