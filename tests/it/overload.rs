//! More to do than can be done: bulk gives way to the APIs, they to the console, and nothing to do with officers touches redirects.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::{Value, json};

use crate::{
    console::Desk,
    harness::{Home, Server, eventually},
    http::{Answer, Connection},
    redis_server::RedisServer,
};

const TARGET: &str = "https://example.com/form";

fn shed(server: &Server, class: &str) -> f64 {
    server.metrics().with("merlink_requests_shed_total", &[("class", class)])
}

fn in_flight(server: &Server, class: &str) -> f64 {
    server.metrics().with("merlink_requests_in_flight", &[("class", class)])
}

#[track_caller]
fn assert_overloaded(answer: &Answer, retry_after_max: u64) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["type"], "/problems/overloaded", "{problem}");
    assert!(problem["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{problem}");
    answer.assert_retry_after("overloaded", retry_after_max);
}

#[test]
fn while_batches_crowd_the_service_the_console_and_the_apis_answer_and_links_redirect() {
    let server = Home::new().set("overload.wait_max", "50ms").start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    let mut desk = Desk::of(&server, "ben@agency.gov.sg");
    let rows: Vec<Value> = (0..1000).map(|_| json!({"target_url": TARGET})).collect();
    let batch = server.request("POST", "/api/v2/batch").key(&amy.key).json(&Value::Array(rows));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let programs: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut refused = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let answer = batch.clone().send();
                        if answer.status != 200 {
                            refused.push(answer);
                        }
                    }
                    refused
                })
            })
            .collect();
        let others = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("batches are turned away", || (shed(&server, "bulk") >= 3.0).then_some(()));
            for _ in 0..5 {
                desk.sees("/console/links");
                amy.list("limit=1").assert_v1_status("v1", 200);
                assert_eq!(server.get("/api/v2/links/form").key(&amy.key).send().status, 200);
                server.follow("form").assert_redirects("meanwhile", TARGET);
            }
        }));
        over.store(true, Ordering::Relaxed);
        let refused: Vec<Answer> = programs.into_iter().flat_map(|program| program.join().expect("ends")).collect();
        others.expect("others are served");
        assert!(refused.len() >= 3, "{} refused", refused.len());
        for answer in &refused {
            assert_overloaded(answer, 15);
        }
        assert_eq!(shed(&server, "bulk"), f64::from(u32::try_from(refused.len()).expect("few")), "each is counted");
    });
    for class in ["console", "api"] {
        assert_eq!(shed(&server, class), 0.0, "{class}");
    }
    for class in ["console", "api", "bulk"] {
        assert_eq!(in_flight(&server, class), 0.0, "{class}: all places are free again");
    }
}

#[test]
fn each_class_is_turned_away_in_its_own_words_when_its_places_are_taken() {
    let redis = RedisServer::start();
    let home = Home::new().set("redis.url", redis.url()).set("overload.wait_max", "20ms");
    let home = home.set("overload.api_at_once", "1").set("overload.console_at_once", "1");
    let server = home.start();
    server.expect_log("redis");
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    let mut desk = Desk::of(&server, "amy@agency.gov.sg");
    server.follow("form").assert_redirects("before", TARGET);
    // Whoever asks Redis now stays in their place until they are told that it doesn't answer.
    redis.freeze();
    let (mut program, mut page) = (server.connect(), server.connect());
    program.write(&server.get("/api/v1/urls").key(&amy.key).bytes()).expect("sends");
    page.write(&desk.dressed(server.get("/console/links")).bytes()).expect("sends");
    eventually("both have their places", || {
        (in_flight(&server, "api") == 1.0 && in_flight(&server, "console") == 1.0).then_some(())
    });
    let v1 = server.get("/api/v1/urls").key(&amy.key).send();
    v1.assert_v1("v1", 503, &json!({"message": "Server error."}));
    v1.assert_retry_after("v1", 5);
    let v2 = server.get("/api/v2/me").key(&amy.key).send();
    // A machine that stood still for two seconds has the place free again, and Redis still away.
    if v2.json()["type"].as_str().is_some_and(|kind| kind.ends_with("/overloaded")) {
        assert_overloaded(&v2, 5);
    }
    let console = desk.opens("/console/account");
    console.assert_page("console", 503);
    console.assert_retry_after("console", 5);
    assert!(shed(&server, "api") >= 1.0);
    server.follow("form").assert_redirects("redirects know nothing of places", TARGET);
    for waiting in [&mut program, &mut page] {
        assert_eq!(waiting.read_answer("GET").expect("is answered").status, 503, "Redis doesn't answer");
    }
    redis.thaw();
    eventually("all is well again", || (amy.list("").status == 200).then_some(()));
    desk.sees("/console/account");
}

#[test]
fn clients_who_send_slowly_hold_no_place_and_keep_nobody_waiting() {
    const SLOW: usize = 100;
    let server = Home::new().set("overload.api_at_once", "1").set("overload.console_at_once", "1").start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    let mut desk = Desk::of(&server, "amy@agency.gov.sg");
    let head = "GET /form HTTP/1.1\r\nHost: x\r\nUser-Ag".to_owned();
    let body = |path: &str, more: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: 100\r\n\r\n{{\"target_url\":")
    };
    let key = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", amy.key);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let halves =
        [head, body("/api/v1/urls", &key), body("/api/v2/links", &key), body("/console/login", form), String::new()];
    let mut slow: Vec<(usize, Connection)> = Vec::new();
    for (kind, half) in halves.iter().enumerate() {
        for _ in 0..SLOW {
            let mut connection = server.connect();
            connection.write(half.as_bytes()).expect("sends");
            slow.push((kind, connection));
        }
    }
    eventually("all are connected", || {
        (server.metrics().sum("merlink_public_connections") >= (5 * SLOW) as f64).then_some(())
    });
    for _ in 0..5 {
        server.follow("form").assert_redirects("beside them", TARGET);
        amy.list("limit=1").assert_v1_status("v1", 200);
        assert_eq!(server.get("/api/v2/links/form").key(&amy.key).send().status, 200);
        desk.sees("/console/links");
    }
    for class in ["console", "api", "bulk"] {
        assert_eq!(shed(&server, class), 0.0, "{class}");
    }
    // Half a request is given up; silence isn't yet.
    for (kind, connection) in &mut slow {
        if *kind < 4 {
            assert_eq!(connection.read_answer("POST").expect("is answered").status, 408, "{}", halves[*kind]);
        }
    }
}

#[test]
fn bodies_that_nobody_finishes_take_bounded_memory_and_make_room_again() {
    const PART: usize = 1024 * 1024;
    let server = Home::new().set("overload.body_bytes_max", "8MiB").start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    let mut half = server.request("POST", "/api/v2/batch").key(&amy.key).bytes();
    half.truncate(half.len() - 2);
    half.extend(format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", 4 * PART).bytes());
    half.extend(vec![b' '; 4 * PART - 1]);
    // They fill the room but for two bytes.
    let mut unfinished = [server.connect(), server.connect()];
    for connection in &mut unfinished {
        connection.write(&half).expect("is taken");
    }
    let create = server.request("POST", "/api/v2/links").key(&amy.key).json(&json!({"target_url": TARGET}));
    let refused = eventually("there is no room", || Some(create.clone().send()).filter(|answer| answer.status == 503));
    assert_overloaded(&refused, 5);
    server.follow("form").assert_redirects("beside them", TARGET);
    for connection in &mut unfinished {
        assert_eq!(connection.read_answer("POST").expect("is answered").status, 408);
    }
    amy.creates("afterwards", TARGET);
}
