//! Redis away, hanging and back: remembered links go on, nothing is reported as missing that merely can't be asked for.
//!
//! How fast a 503 comes is measured elsewhere; here it comes at all, and everything is well afterwards without a restart.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    harness::{CHROME, CURL, Home, Server, eventually},
    redis_server::RedisServer,
};

const TARGET: &str = "https://example.com/form";

/// How a Redis can be away.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Away {
    /// Its process died: connections break, new ones are refused.
    Killed,
    /// It hangs: connections stay open and nothing comes back.
    Frozen,
}

#[test]
fn while_redis_is_away_remembered_links_redirect_and_the_rest_says_come_back() {
    for away in [Away::Killed, Away::Frozen] {
        let mut redis = RedisServer::start();
        let server = server_on(&redis);
        let amy = server.officer("amy@agency.gov.sg");
        for code in ["cached", "uncached", "off"] {
            amy.creates(code, TARGET);
        }
        amy.switches("off", "INACTIVE");
        server.follow("cached").assert_redirects("before", TARGET);
        assert_eq!(server.follow("off").status, 410);
        amy.sees_clicks("cached", 1);

        take(&mut redis, away);
        let mut visits = 1;
        for _ in 0..20 {
            server.follow("cached").assert_redirects(&format!("{away:?}: a remembered link"), TARGET);
            visits += 1;
        }
        assert_eq!(server.follow("off").status, 410, "{away:?}: a remembered switch-off");
        server.get("/cached").user_agent(CHROME).send().assert_page("a remembered link in a browser", 200);
        visits += 1;
        for code in ["uncached", "never-made-before", "UNCACHED.", "uncached+"] {
            let answer = server.follow(code);
            answer.assert_page(&format!("{away:?}: {code}"), 503);
            answer.assert_retry_after(&format!("{away:?}: {code}"), 3_600);
        }
        let head = server.request("HEAD", "/uncached").user_agent(CURL).send();
        assert_eq!((head.status, head.body.len()), (503, 0), "{away:?}: HEAD");

        let unavailable = json!({"message": "Server error."});
        let link = json!({"shortUrl": "while-away", "longUrl": TARGET});
        for (about, answer) in [
            ("list", amy.list("")),
            ("create", amy.create(&link)),
            ("update", amy.update("cached", &json!({"state": "INACTIVE"}))),
            ("a key never seen", server.get("/api/v1/urls").key("mlk_abc_def0123456789").send()),
        ] {
            // A key that can't be looked up is never called wrong; one that can't be a key needs no looking up.
            if about == "a key never seen" && answer.status == 401 {
                continue;
            }
            answer.assert_v1(&format!("{away:?}: {about}"), 503, &unavailable);
            answer.assert_retry_after(&format!("{away:?}: {about}"), 3_600);
        }
        let malformed = server.request("POST", "/api/v1/urls").body("application/json", "{").send();
        assert_eq!(malformed.status, 400, "{away:?}: what needs no Redis is answered");
        let no_key = server.get("/api/v1/urls").send();
        assert_eq!(no_key.status, 401, "{away:?}: what needs no Redis is answered");

        eventually("/readyz says that Redis is away", || {
            (server.operator("/readyz").send().status == 503).then_some(())
        });
        assert_eq!(server.operator("/healthz").send().status, 200, "{away:?}: /healthz");
        eventually("what can't be checked with Redis is counted as stale", || {
            server.follow("cached").assert_redirects("a remembered link", TARGET);
            visits += 1;
            (server.metrics().with("merlink_link_cache_lookups_total", &[("result", "stale")]) >= 1.0).then_some(())
        });
        let metrics = server.metrics();
        assert_eq!(metrics.sum("merlink_redis_up"), 0.0, "{away:?}");
        assert!(metrics.with("merlink_redirects_total", &[("outcome", "unavailable")]) >= 3.0, "{away:?}");
        assert!(metrics.sum("merlink_clicks_pending") >= 1.0, "{away:?}: clicks wait");
        assert_eq!(metrics.sum("merlink_clicks_lost_total"), 0.0, "{away:?}");
        eventually("and grow old", || {
            (server.metrics().sum("merlink_clicks_oldest_pending_seconds") >= 1.0).then_some(())
        });

        give_back(&mut redis, away);
        server.await_ready();
        eventually("an uncached link redirects", || (server.follow("uncached").status == 302).then_some(()));
        eventually("the API works", || (amy.list("").status == 200).then_some(()));
        eventually("the metric says so", || (server.metrics().sum("merlink_redis_up") == 1.0).then_some(()));
        amy.sees_clicks("cached", visits);
        // A creation that was refused while Redis hung may not have happened later, unseen.
        if away == Away::Killed {
            assert_eq!(server.follow("while-away").status, 404, "{away:?}");
            assert_eq!(amy.link("cached")["state"], "ACTIVE", "{away:?}");
        }
    }
}

#[test]
fn an_outage_is_never_answered_as_not_found_and_nothing_of_it_is_remembered() {
    let mut redis = RedisServer::start();
    let server = server_on(&redis);
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    for round in 0..3 {
        redis.kill();
        for number in 0..10 {
            let status = server.follow(&format!("never-made-{round}-{number}")).status;
            assert_eq!(status, 503, "round {round}: unknown isn't the same as unreachable");
        }
        redis.start_again();
        eventually("unknown codes are unknown again", || {
            (server.follow(&format!("never-made-{round}-0")).status == 404).then_some(())
        });
        eventually("the API works", || (amy.list("").status == 200).then_some(()));
        amy.creates(&format!("never-made-{round}-1"), TARGET);
        // Each worker has a connection of its own to find again: until then a code may be unreachable, but never unknown.
        for code in ["form", &format!("never-made-{round}-1")] {
            eventually("what was made redirects", || match server.follow(code).status {
                302 => Some(()),
                503 => None,
                status => panic!("round {round}: {code} answers {status}"),
            });
        }
    }
}

#[test]
fn clicks_of_an_outage_survive_a_restart_in_the_midst_of_it() {
    for signal in [Signal::TERM, Signal::KILL] {
        let mut redis = RedisServer::start();
        let server = server_on(&redis);
        let amy = server.officer("amy@agency.gov.sg");
        amy.creates("form", TARGET);
        server.follow("form");
        amy.sees_clicks("form", 1);
        redis.kill();
        for _ in 0..100 {
            server.follow("form").assert_redirects("while Redis is away", TARGET);
        }
        server.end_by(signal);
        redis.start_again();
        server.start_again();
        amy.sees_clicks("form", 101);
        server.await_flushed();
        assert_eq!(amy.clicks("form"), 101, "{signal:?}: none twice");
    }
}

#[test]
fn an_edit_made_just_before_an_outage_holds_during_it() {
    let mut redis = RedisServer::start();
    let server = server_on(&redis);
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/old");
    server.follow("form").assert_redirects("before", "https://example.com/old");
    amy.update("form", &json!({"longUrl": "https://example.com/new"})).assert_v1_status("edit", 200);
    redis.kill();
    let answer = server.follow("form");
    assert!([302, 503].contains(&answer.status), "{}", answer.status);
    if answer.status == 302 {
        answer.assert_redirects("during", "https://example.com/new");
    }
    redis.start_again();
    server.await_ready();
    eventually("the edit is followed", || (server.follow("form").status == 302).then_some(()));
    server.follow("form").assert_redirects("after", "https://example.com/new");
}

#[test]
fn when_the_journal_is_full_redirects_go_on_and_what_is_lost_is_said() {
    let mut redis = RedisServer::start();
    let server = Home::new().set("redis.url", redis.url()).set("clicks.journal_bytes_max", "16MiB").start();
    for about in ["redis", "journal", "lost"] {
        server.expect_log(about);
    }
    server.expect_lost_clicks();
    let amy = server.officer("amy@agency.gov.sg");
    // The longest code makes the longest records.
    let code = "a".repeat(255);
    amy.creates(&code, TARGET);
    server.follow(&code).assert_redirects("before", TARGET);
    redis.kill();
    let lost = || server.metrics().sum("merlink_clicks_lost_total");
    let answered = 1 + fill_the_journal(&server, &code);
    let metrics = server.metrics();
    let pending = metrics.sum("merlink_clicks_pending");
    assert_eq!(metrics.sum("merlink_clicks_recorded_total"), answered as f64, "every click is accounted for");
    assert_eq!(metrics.sum("merlink_clicks_flushed_total") + pending + lost(), answered as f64);
    assert!(metrics.sum("merlink_click_journal_bytes") <= 16.0 * 1024.0 * 1024.0, "the bound holds");
    let ready = server.operator("/readyz").send();
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("journal"), "says so: {}", ready.text());

    redis.start_again();
    server.await_ready();
    server.await_flushed();
    assert_eq!(server.counters(&code).get("t").copied(), Some(answered - lost() as i64), "what was kept is counted");
    let before = lost();
    eventually("there is room again", || {
        let lost_so_far = lost();
        server.follow(&code).assert_redirects("after", TARGET);
        (lost() == lost_so_far).then_some(())
    });
    assert!(lost() <= before + 100.0, "few are lost once Redis is back");
}

#[test]
fn a_journal_at_its_bound_is_no_obstacle_to_a_start() {
    let mut redis = RedisServer::start();
    let server = Home::new().set("redis.url", redis.url()).set("clicks.journal_bytes_max", "16MiB").start();
    for about in ["redis", "journal", "lost"] {
        server.expect_log(about);
    }
    server.expect_lost_clicks();
    let code = "a".repeat(255);
    server.officer("amy@agency.gov.sg").creates(&code, TARGET);
    server.follow(&code).assert_redirects("before", TARGET);
    server.await_flushed();
    redis.kill();
    let answered = 1 + fill_the_journal(&server, &code);
    let kept = answered - server.metrics().sum("merlink_clicks_lost_total") as i64;
    assert_eq!(server.end_by(Signal::KILL), None);

    server.start_again_unready();
    let ready = server.operator("/readyz").send();
    assert_eq!(ready.status, 503);
    assert!(ready.json()["dependencies"]["click_journal"]["status"] == "failed", "says so: {}", ready.text());
    redis.start_again();
    server.await_ready();
    eventually("what was kept is counted", || (server.counters(&code).get("t") == Some(&kept)).then_some(()));
    server.follow(&code).assert_redirects("after", TARGET);
    eventually("and goes on being counted", || (server.counters(&code).get("t") == Some(&(kept + 1))).then_some(()));
}

#[test]
fn how_long_a_remembered_answer_is_served_is_the_operators_choice() {
    let mut redis = RedisServer::start();
    let server = Home::new().set("redis.url", redis.url()).set("redirect.serve_stale_for", "1s").start();
    server.expect_log("redis");
    server.officer("amy@agency.gov.sg").creates("form", TARGET);
    server.follow("form").assert_redirects("before", TARGET);
    redis.kill();
    eventually("the remembered answer is no longer served", || (server.follow("form").status == 503).then_some(()));
    redis.start_again();
    eventually("it is asked for again", || (server.follow("form").status == 302).then_some(()));
    server.await_ready();
}

#[test]
fn how_long_an_answer_is_served_counts_from_when_redis_went_and_not_from_when_it_was_asked() {
    let serve_stale_for = Duration::from_secs(5);
    let mut redis = RedisServer::start();
    let server = Home::new().set("redis.url", redis.url()).set("redirect.serve_stale_for", "5s").start();
    server.expect_log("redis");
    server.officer("amy@agency.gov.sg").creates("form", TARGET);
    server.follow("form").assert_redirects("asked for once", TARGET);
    let asked = Instant::now();
    eventually("that was long ago", || (asked.elapsed() > serve_stale_for).then_some(()));
    redis.kill();
    eventually("Redis is away", || (server.operator("/readyz").send().status == 503).then_some(()));
    server.follow("form").assert_redirects("nobody has visited it meanwhile, but changes were told", TARGET);
    redis.start_again();
    server.await_ready();
}

#[test]
fn what_redis_refuses_to_tell_of_one_link_is_neither_a_zero_nor_an_absence() {
    let redis = RedisServer::start();
    let server = server_on(&redis);
    let amy = server.program("amy@agency.gov.sg");
    for (code, clicks) in [("refused", 2), ("told", 1)] {
        amy.creates(&json!({"target_url": TARGET, "code": code, "tags": ["tax"]}));
        for _ in 0..clicks {
            server.follow(code).assert_redirects("before", TARGET);
        }
    }
    server.await_flushed();
    let may_read = |keys: &[&str]| {
        let user = redis::cmd("ACL").arg("SETUSER").arg("default").arg("resetkeys").arg(keys).to_owned();
        user.exec(&mut server.redis()).expect("Redis obeys");
    };
    may_read(&["~[^c]*", "~clicks:{[^r]*"]);
    for page in ["?sort=-clicks&limit=1", "?sort=clicks&limit=1", "?sort=-clicks&limit=1&tag=tax"] {
        amy.get(&format!("/links{page}")).assert_problem(page, 503, "unavailable");
    }
    may_read(&["~[^l]*", "~l:{[^r]*"]);
    for page in ["?q=told", "?state=active&sort=code", ""] {
        amy.get(&format!("/links{page}")).assert_problem(page, 503, "unavailable");
    }
    may_read(&["~*"]);
    assert_eq!(amy.codes(&[("sort", "-clicks"), ("limit", "1")]), ["refused", "told"]);
    assert_eq!(amy.codes(&[("q", "refused")]), ["refused"]);
}

/// Follows `code` until a click is lost; answers how often it was answered.
fn fill_the_journal(server: &Server, code: &str) -> i64 {
    let lost = || server.metrics().sum("merlink_clicks_lost_total");
    let answer_bytes = length_of_an_answer(server, code);
    let answered = AtomicI64::new(1);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = server.connect();
                let visits = server.get(&format!("/{code}")).user_agent(CURL).bytes().repeat(50);
                // 16 MiB hold some 60,000 such clicks; three times as many without a loss would mean that there is no bound.
                for round in 0.. {
                    assert!(round < 1_000, "nothing is lost after {} clicks", answered.load(Ordering::Relaxed));
                    if round % 50 == 0 && lost() > 0.0 {
                        return;
                    }
                    connection.write(&visits).expect("sends");
                    // Equal questions get answers of equal length: so each is found without the cost of parsing it.
                    let answers = connection.read_bytes(50 * answer_bytes).expect("is answered");
                    assert!(answers.chunks(answer_bytes).all(|answer| answer.starts_with(b"HTTP/1.1 302 ")));
                    answered.fetch_add(50, Ordering::Relaxed);
                }
            });
        }
    });
    answered.into_inner()
}

/// How many bytes the answer to a visit of `code` has: the same each time, as a date's length never changes.
fn length_of_an_answer(server: &Server, code: &str) -> usize {
    let mut connection = server.connect();
    let visit = server.get(&format!("/{code}")).user_agent(CURL);
    connection.write(&visit.bytes()).expect("sends");
    let mut length = 0;
    loop {
        let line = connection.read_line().expect("is answered");
        length += line.len() + "\r\n".len();
        if line.is_empty() {
            return length;
        }
    }
}

fn server_on(redis: &RedisServer) -> Server {
    let server = Home::new().set("redis.url", redis.url()).start();
    server.expect_log("redis");
    server
}

fn take(redis: &mut RedisServer, away: Away) {
    match away {
        Away::Killed => redis.kill(),
        Away::Frozen => redis.freeze(),
    }
}

fn give_back(redis: &mut RedisServer, away: Away) {
    match away {
        Away::Killed => redis.start_again(),
        Away::Frozen => redis.thaw(),
    }
}

#[test]
fn a_redis_whose_name_is_never_found_holds_up_no_end() {
    let Some(home) = Home::new().set("redis.url", "redis://redis.example").where_names_are_never_found() else {
        return;
    };
    let server = home.start_unready();
    for about in ["redis", "clicks"] {
        server.expect_log(about);
    }
    assert_eq!(server.follow("form").status, 503);
    assert_eq!(server.operator("/readyz").send().status, 503);
    assert_eq!(server.end_by(Signal::TERM), Some(0));
}
