//! Several merlinks on one Redis: what an officer changes on one, citizens meet on all.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    harness::{Home, eventually},
    proxy::Proxy,
    redis_server::RedisServer,
};

#[test]
fn a_change_made_on_one_instance_is_followed_by_another_even_when_its_connections_die() {
    let redis = RedisServer::on_tcp();
    let proxy = Proxy::before(redis.address());
    let first = Home::new().set("redis.url", redis.url()).start();
    let second = Home::new().set("redis.url", proxy.url()).start();
    second.expect_log("redis");
    let amy = first.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/0");
    second.follow("form").assert_redirects("before", "https://example.com/0");

    let pass: fn(&Proxy) = |_| {};
    let faults = [("all is well", pass), ("connections die without a word", Proxy::black_hole), ("cut", Proxy::cut)];
    let mut edits = 0;
    for (about, fault) in faults.into_iter().cycle().take(9) {
        second.await_ready();
        edits += 1;
        let (old, new) = (format!("https://example.com/{}", edits - 1), format!("https://example.com/{edits}"));
        second.follow("form").assert_redirects("in memory", &old);
        fault(&proxy);
        amy.update("form", &json!({"longUrl": new})).assert_v1_status("edit", 200);
        eventually("the second instance follows", || {
            let answer = second.follow("form");
            assert!(answer.header("location").is_some_and(|to| to == old || to == new), "{about}: {answer:?}");
            (answer.header("location") == Some(&new)).then_some(())
        });
        for _ in 0..50 {
            second.follow("form").assert_redirects(about, &new);
        }
    }
    amy.switches("form", "INACTIVE");
    eventually("switched off there too", || (second.follow("form").status == 410).then_some(()));
}

#[test]
fn a_change_that_nobody_was_told_of_is_noticed_all_the_same() {
    let redis = RedisServer::start();
    let server = Home::new().set("redis.url", redis.url()).set("redirect.revalidate_after", "1s").start();
    let amy = server.officer("amy@agency.gov.sg");
    let codes = ["untold", "gone", "same"];
    for code in codes {
        amy.creates(code, "https://example.com/old");
        server.follow(code).assert_redirects("before", "https://example.com/old");
    }
    let mut silently = redis.connect().expect("Redis answers");
    let change = ["HSET", "l:{untold}", "t", "https://example.com/new", "v", "2"];
    redis::cmd(change[0]).arg(&change[1..]).exec(&mut silently).expect("Redis obeys");
    redis::cmd("DEL").arg("l:{gone}").exec(&mut silently).expect("Redis obeys");
    eventually("the change is followed", || {
        let answer = server.follow("untold");
        assert_eq!(answer.status, 302, "nobody has to wait for it: {answer:?}");
        (answer.header("location") == Some("https://example.com/new")).then_some(())
    });
    eventually("what isn't there any more is not followed", || (server.follow("gone").status == 404).then_some(()));
    let comparisons =
        || server.metrics().with("merlink_redis_command_duration_seconds_count", &[("operation", "revalidate")]);
    let (started, before) = (Instant::now(), comparisons());
    eventually("what is the same is compared again and again", || {
        server.follow("same").assert_redirects("the rest stays as it was", "https://example.com/old");
        (comparisons() >= before + 3.0).then_some(())
    });
    assert!(started.elapsed() >= Duration::from_secs(2), "after a second each time, and not with every visit");
}
