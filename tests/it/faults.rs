//! Connections that die without a word, replies that are lost, a Redis that goes back in time: clicks stay exact, and all is well again
//! without a restart. All of it under load, again and again, is in `runs.rs`.

use std::{thread, time::Duration};

use redis::cmd;
use rustix::process::Signal;

use crate::{
    harness::{CURL, Home, Server, eventually},
    proxy::Proxy,
    redis_server::RedisServer,
};

const TARGET: &str = "https://example.com/form";

fn server_behind(proxy: &Proxy) -> Server {
    let server = Home::new().set("redis.url", proxy.url()).start();
    server.expect_log("redis");
    server
}

#[test]
fn when_connections_die_without_a_word_new_ones_are_made() {
    let redis = RedisServer::on_tcp();
    let proxy = Proxy::before(redis.address());
    let server = server_behind(&proxy);
    let amy = server.officer("amy@agency.gov.sg");
    let mut visits = 0;
    for round in 0..2 {
        let (known, unknown) = (format!("known-{round}"), format!("unknown-{round}"));
        amy.creates(&known, TARGET);
        amy.creates(&unknown, TARGET);
        server.follow(&known).assert_redirects("before", TARGET);
        server.await_flushed();
        proxy.black_hole();
        server.follow(&known).assert_redirects("a remembered link", TARGET);
        eventually("a link that isn't remembered redirects", || (server.follow(&unknown).status == 302).then_some(()));
        eventually("the API works", || (amy.list("").status == 200).then_some(()));
        amy.sees_clicks(&known, 2);
        amy.sees_clicks(&unknown, 1);
        server.await_ready();
        visits += 3;
    }
    server.await_flushed();
    assert_eq!(server.counters("*").get("t"), Some(&visits), "over all links");
}

#[test]
fn a_redis_that_refuses_connections_for_a_while_or_is_slow_is_used_again() {
    let redis = RedisServer::on_tcp();
    let proxy = Proxy::before(redis.address());
    let server = Home::new().set("redis.url", proxy.url()).set("redis.lookup_timeout", "150ms").start();
    server.expect_log("redis");
    let amy = server.officer("amy@agency.gov.sg");
    for code in ["form", "other", "slow"] {
        amy.creates(code, TARGET);
    }
    eventually("a look-up is in time", || (server.follow("form").status == 302).then_some(()));

    proxy.refuse(true);
    proxy.cut();
    eventually("merlink notices", || (server.operator("/readyz").send().status == 503).then_some(()));
    server.follow("form").assert_redirects("a remembered link", TARGET);
    server.follow("other").assert_page("one that isn't", 503);
    proxy.refuse(false);
    server.await_ready();
    eventually("it is asked for again", || (server.follow("other").status == 302).then_some(()));

    // Slower than a visitor may be kept waiting, fast enough to be there.
    proxy.delay(Duration::from_millis(200));
    server.follow("form").assert_redirects("a remembered link", TARGET);
    server.follow("slow").assert_page("a look-up that takes too long", 503);
    amy.sees_clicks("form", 3);
    proxy.delay(Duration::ZERO);
    eventually("it is asked for again", || (server.follow("slow").status == 302).then_some(()));
    amy.sees_clicks("slow", 1);
}

#[test]
fn a_password_changed_for_a_while_stops_nothing_for_longer() {
    let redis = RedisServer::on_tcp();
    // This connection has said who it is; it stays.
    let mut operator = redis.connect().expect("Redis answers");
    let mut says = |words: &[&str]| {
        let (first, rest) = words.split_first().expect("a command");
        cmd(first).arg(rest).exec(&mut operator).expect("Redis obeys");
    };
    says(&["CONFIG", "SET", "requirepass", "agreed"]);
    let server = Home::new().set("redis.url", format!("redis://:agreed@{}", redis.address())).start();
    server.expect_log("redis");
    let amy = server.officer("amy@agency.gov.sg");
    for code in ["cached", "uncached"] {
        amy.creates(code, TARGET);
    }
    server.follow("cached").assert_redirects("before", TARGET);
    amy.sees_clicks("cached", 1);

    says(&["CONFIG", "SET", "requirepass", "changed"]);
    says(&["CLIENT", "KILL", "TYPE", "normal"]);
    says(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    eventually("merlink notices", || (server.metrics().sum("merlink_redis_up") == 0.0).then_some(()));
    for _ in 0..50 {
        server.follow("cached").assert_redirects("a remembered link", TARGET);
        assert_eq!(server.follow("uncached").status, 503);
    }
    assert_eq!(amy.list("").status, 503);
    // Whoever asks has been refused the login, not only cut off.
    eventually("the flusher was refused", || {
        server.log().iter().any(|line| line.contains("clicks wait in the journal")).then_some(())
    });
    assert_eq!(server.metrics().sum("merlink_clicks_pending"), 50.0);

    says(&["CONFIG", "SET", "requirepass", "agreed"]);
    server.await_ready();
    eventually("links resolve", || (server.follow("uncached").status == 302).then_some(()));
    eventually("the API works", || (amy.list("").status == 200).then_some(()));
    amy.sees_clicks("cached", 51);
}

#[test]
fn replies_lost_on_the_wire_count_no_click_twice_and_lose_none() {
    const CLICKS: usize = 2_000;
    const CLIENTS: usize = 4;
    let redis = RedisServer::on_tcp();
    let proxy = Proxy::before(redis.address());
    let server = server_behind(&proxy);
    let amy = server.officer("amy@agency.gov.sg");
    let codes: Vec<String> = (0..20).map(|number| format!("form-{number}")).collect();
    for code in &codes {
        amy.creates(code, TARGET);
        server.follow(code).assert_redirects("before", TARGET);
    }
    proxy.swallow(20);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, codes) = (&server, &codes);
            scope.spawn(move || {
                let mut connection = server.connect();
                for visit in 0..CLICKS / CLIENTS {
                    let code = &codes[(visit * CLIENTS + client) % codes.len()];
                    let request = server.get(&format!("/{code}")).user_agent(CURL).bytes();
                    connection.write(&request).expect("sends");
                    connection.read_answer("GET").expect("is answered").assert_redirects(code, TARGET);
                }
            });
        }
    });
    server.await_flushed();
    proxy.swallow(0);
    let each = i64::try_from(CLICKS / codes.len()).expect("is small") + 1;
    for code in &codes {
        assert_eq!(server.counters(code).get("t"), Some(&each), "{code}");
    }
    assert_eq!(server.counters("*").get("t"), Some(&(each * 20)), "over all links");
}

#[test]
fn when_redis_goes_back_in_time_its_counters_come_back_to_the_truth() {
    let redis = RedisServer::start();
    let server = Home::new().set("redis.url", redis.url()).start();
    server.expect_log("back in time");
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    amy.creates("other", TARGET);
    let visited = |visits: i64| {
        for _ in 0..visits {
            server.follow("form").assert_redirects("a visit", TARGET);
        }
        server.follow("other");
        server.await_flushed();
        let mut redis = redis.connect().expect("Redis answers");
        cmd("DUMP").arg("clicks:{form}").query::<Vec<u8>>(&mut redis).expect("is there")
    };
    // In one step: counters and position.
    let goes_back_to = |kept: &[u8]| {
        let mut redis = redis.connect().expect("Redis answers");
        cmd("RESTORE").arg("clicks:{form}").arg(0).arg(kept).arg("REPLACE").exec(&mut redis).expect("is put back");
    };
    let counted = || ["t", "o"].map(|name| server.counters("form").get(name).copied());

    let after_5 = visited(5);
    let after_12 = visited(7);
    assert_eq!(counted(), [Some(12); 2]);
    goes_back_to(&after_5);
    visited(1);
    eventually("the next click brings back what was lost", || (counted() == [Some(13); 2]).then_some(()));
    goes_back_to(&after_12);
    visited(1);
    eventually("and again", || (counted() == [Some(14); 2]).then_some(()));

    // Without another click, a start compares.
    for (end, kept) in [(Signal::TERM, &after_5), (Signal::KILL, &after_12)] {
        server.end_by(end);
        goes_back_to(kept);
        assert_ne!(counted(), [Some(14); 2], "{end:?}: it is gone");
        server.start_again();
        amy.sees_clicks("form", 14);
        server.await_flushed();
        assert_eq!(counted(), [Some(14); 2], "{end:?}: none twice");
    }
    assert_eq!(server.counters("*").get("t"), Some(&18), "over all links");
}
