//! Files and records that are not as merlink wrote them: what is whole goes on, and what isn't is named.

use std::fs;

use redis::cmd;
use rustix::process::Signal;
use serde_json::json;

use crate::{
    harness::{Home, Random, Server, eventually},
    redis_server::{RedisServer, append_only_file, cut_tail, process_id, running_in, signal},
};

const TARGET: &str = "https://example.com/form";

/// What is wrong with each of these links.
const DAMAGED: [&str; 5] = ["no-version", "no-hash", "no-header", "no-text", "no-expiry"];
const WHOLE: usize = 20;

/// Amy's whole links `whole-…` among the damaged ones, none of them ever visited.
fn server_with_damaged_links() -> (Server, String) {
    let server = Server::start();
    server.expect_log("holds what merlink didn't write");
    let amy = server.officer("amy@agency.gov.sg");
    for code in (0..WHOLE).map(|number| format!("whole-{number}")).chain(DAMAGED.map(str::to_owned)) {
        amy.creates(&code, TARGET);
    }
    let mut redis = server.redis();
    let commands: [&[&[u8]]; 6] = [
        &[b"HSET", b"l:{no-version}", b"v", b"abc"],
        &[b"DEL", b"l:{no-hash}"],
        &[b"SET", b"l:{no-hash}", b"text"],
        &[b"HSET", b"l:{no-header}", b"t", "https://example.com/\u{e4}".as_bytes()],
        &[b"HSET", b"l:{no-text}", b"t", b"https://example.com/\xff\xfe"],
        &[b"HSET", b"l:{no-expiry}", b"x", b"soon"],
    ];
    for words in commands {
        redis::Cmd::new().arg(words).exec(&mut redis).expect("Redis obeys");
    }
    let key = amy.key;
    (server, key)
}

#[test]
fn a_damaged_link_says_so_and_keeps_nobody_from_the_others() {
    let (server, _) = server_with_damaged_links();
    for code in DAMAGED {
        // More often than an outage takes to be believed: none must be.
        for _ in 0..6 {
            server.follow(code).assert_page(code, 503);
            server.follow(&format!("{code}+")).assert_page(code, 503);
        }
        let next = format!("whole-{}", DAMAGED.iter().position(|other| *other == code).expect("is one of them"));
        server.follow(&next).assert_redirects(&format!("a whole link after {code}"), TARGET);
        assert!(server.log().iter().any(|line| line.contains("didn't write")), "{code}: it is said");
    }
    assert_eq!(server.operator("/readyz").send().status, 200, "Redis is there");
}

#[test]
fn damaged_links_dont_hide_the_others_from_their_owner() {
    let (server, key) = server_with_damaged_links();
    let amy = server.officer_with_key(&key);
    for query in ["limit=100", "limit=100&searchText=whole", "limit=100&orderBy=clicks"] {
        let listed = amy.codes(query);
        assert_eq!(listed.iter().filter(|code| code.starts_with("whole-")).count(), WHOLE, "{query}: {listed:?}");
    }
}

#[test]
fn an_export_and_a_repair_that_leave_links_out_name_them_and_fail() {
    let (server, _) = server_with_damaged_links();
    let exported = server.home().run(&["link", "export"]);
    exported.assert_code(1).assert_names(&["the file lacks 4 links", "no-version", "no-hash", "no-text", "no-expiry"]);
    let rows = exported.stdout.lines().filter(|row| row.starts_with("whole-")).count();
    assert_eq!(rows, WHOLE, "the others are exported: {}", exported.stdout);
    let repaired = server.home().run(&["check", "--repair"]);
    repaired.assert_code(1).assert_names(&["4 links are in no list", "no-version", "no-hash", "no-text", "no-expiry"]);
}

#[test]
fn the_code_of_a_damaged_link_is_taken() {
    let (server, key) = server_with_damaged_links();
    for code in DAMAGED {
        let answer = server.officer_with_key(&key).create(&json!({"shortUrl": code, "longUrl": TARGET}));
        assert_eq!(answer.status, 400, "{code}: {}", answer.text());
    }
}

#[test]
fn damaged_counters_of_one_link_leave_the_counting_of_the_others_alone() {
    let server = Server::start();
    server.expect_log("holds what merlink didn't write");
    let amy = server.officer("amy@agency.gov.sg");
    let damaged = ["no-hash", "no-number"];
    for code in ["no-hash", "no-number", "whole"] {
        amy.creates(code, TARGET);
    }
    cmd("SET").arg("clicks:{no-hash}").arg("text").exec(&mut server.redis()).expect("Redis obeys");
    cmd("HSET").arg("clicks:{no-number}").arg(&["o", "many"]).exec(&mut server.redis()).expect("Redis obeys");
    for visits in 1..=3 {
        for code in ["no-hash", "no-number", "whole"] {
            server.follow(code).assert_redirects("is followed", TARGET);
        }
        eventually("the whole one is counted", || (server.counters("whole").get("t") == Some(&visits)).then_some(()));
        eventually("and so are all of them", || (server.counters("*").get("t") == Some(&(visits * 3))).then_some(()));
        // The node knows a moment after Redis does.
        eventually("what isn't counted is pending, and the rest isn't", || {
            let metrics = server.metrics();
            let [pending, flushed] =
                ["merlink_clicks_pending", "merlink_clicks_flushed_total"].map(|name| metrics.sum(name));
            ((pending, flushed) == ((visits * 2) as f64, visits as f64)).then_some(())
        });
    }
    eventually("and grows old", || {
        (server.metrics().sum("merlink_clicks_oldest_pending_seconds") >= 1.0).then_some(())
    });
    for code in damaged {
        cmd("DEL").arg(format!("clicks:{{{code}}}")).exec(&mut server.redis()).expect("Redis obeys");
    }
    server.await_flushed();
    for code in damaged {
        assert_eq!(server.counters(code).get("t"), Some(&3), "{code}: counted when there is room for it");
    }
    assert!(!server.log().iter().any(|line| line.contains("back in time")), "nothing went back in time");
}

#[test]
fn clicks_that_damaged_counters_refused_outlast_the_process_and_a_drain_says_that_they_arent_counted() {
    let redis = RedisServer::start();
    let server = Home::new().set("redis.url", redis.url()).start();
    for about in ["holds what merlink didn't write", "damaged"] {
        server.expect_log(about);
    }
    let amy = server.officer("amy@agency.gov.sg");
    let mut direct = redis.connect().expect("Redis answers");
    let damaged = ["no-hash", "no-number"];
    for code in ["no-hash", "no-number", "whole"] {
        amy.creates(code, TARGET);
    }
    cmd("SET").arg("clicks:{no-hash}").arg("text").exec(&mut direct).expect("Redis obeys");
    cmd("HSET").arg("clicks:{no-number}").arg(&["o", "many"]).exec(&mut direct).expect("Redis obeys");
    for code in ["no-hash", "no-number", "whole"] {
        server.follow(code).assert_redirects("before the restart", TARGET);
        server.follow(code).assert_redirects("before the restart", TARGET);
    }
    amy.sees_clicks("whole", 2);
    let pending = || server.metrics().sum("merlink_clicks_pending");
    eventually("they are pending", || (pending() == 4.0).then_some(()));
    server.end_by(Signal::TERM);
    assert!(!server.log().iter().any(|line| line.contains("all clicks are in Redis")), "{:?}", server.log());

    server.start_again();
    eventually("they still are", || (pending() == 4.0).then_some(()));
    server.follow("whole").assert_redirects("the others go on", TARGET);
    amy.sees_clicks("whole", 3);
    server.end_by(Signal::TERM);
    let heir = Home::new().set("redis.url", redis.url());
    let folder = server.home().data_dir();
    let drain = || heir.run(&["journal", "drain", folder.to_str().expect("UTF-8")]);
    drain().assert_code(1).assert_names(&["4 clicks", "drain again"]);
    for code in damaged {
        cmd("DEL").arg(format!("clicks:{{{code}}}")).exec(&mut direct).expect("Redis obeys");
    }
    let drained = drain();
    drained.assert_code(0);
    assert!(drained.stdout.contains("counted 4 clicks"), "{drained}");
    server.start_again();
    for (code, clicks) in [("no-hash", 2), ("no-number", 2), ("whole", 3), ("*", 7)] {
        eventually(code, || (server.counters(code).get("t") == Some(&clicks)).then_some(()));
    }
    assert!(!server.log().iter().any(|line| line.contains("back in time")), "nothing went back in time");
}

#[test]
fn clicks_whose_journal_was_removed_are_said_to_be_lost() {
    let mut redis = RedisServer::start();
    let server = Home::new().set("redis.url", redis.url()).start();
    for about in ["redis", "clicks are lost"] {
        server.expect_log(about);
    }
    server.expect_lost_clicks();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    server.follow("form").assert_redirects("before", TARGET);
    server.await_flushed();
    redis.kill();
    for _ in 0..10 {
        server.follow("form").assert_redirects("while Redis is away", TARGET);
    }
    let journal = server.home().data_dir().join("journal");
    for file in fs::read_dir(&journal).expect("there is a journal") {
        let file = file.expect("a folder can be read").path();
        if file.extension().is_some_and(|extension| extension == "clicks") {
            fs::remove_file(file).expect("it can be removed");
        }
    }
    redis.start_again();
    server.await_ready();
    server.await_flushed();
    assert_eq!(server.metrics().sum("merlink_clicks_lost_total"), 10.0);
    assert_eq!(server.counters("form").get("t"), Some(&1));
}

#[test]
fn a_journal_that_lost_its_name_stops_the_start_and_counts_nothing_twice() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    for _ in 0..10 {
        server.follow("form").assert_redirects("before", TARGET);
    }
    amy.sees_clicks("form", 10);
    assert_eq!(server.end_by(Signal::TERM), Some(0));
    let file = server.home().data_dir().join("journal/instance");
    let name = fs::read(&file).expect("the journal has a name");
    let redis = server.home().data_dir().join("redis");
    for damaged in [Some(&b"\xff\xfe\x00"[..]), Some(b""), Some(b"two words"), None] {
        match damaged {
            Some(bytes) => fs::write(&file, bytes).expect("it can be written"),
            None => fs::remove_file(&file).expect("it can be removed"),
        }
        server.home().run(&["serve"]).assert_code(1).assert_names(&["journal"]);
        assert_eq!(running_in(&redis), [0; 0], "{damaged:?}: no Redis is left behind");
    }
    fs::write(&file, name).expect("it can be written");
    server.start_again();
    server.follow("form").assert_redirects("after", TARGET);
    amy.sees_clicks("form", 11);
    server.await_flushed();
    assert_eq!(amy.clicks("form"), 11, "none twice");
}

#[test]
fn only_a_redis_that_refuses_a_torn_file_is_sent_transactions() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    let file = append_only_file(&server.home().data_dir().join("redis"));
    let written = || String::from_utf8_lossy(&fs::read(&file).expect("Redis keeps it")).into_owned();
    server.follow("form");
    amy.sees_clicks("form", 1);
    let before = written();
    assert!(before.contains("MULTI") && before.contains("clicks:{form}"), "{before}");
    let mut redis = server.redis();
    let mut says = |words: &[&str]| redis::cmd(words[0]).arg(&words[1..]).exec(&mut redis).expect("Redis obeys");
    says(&["CONFIG", "SET", "aof-load-truncated", "yes"]);
    says(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    server.follow("form");
    amy.sees_clicks("form", 2);
    let after = written().split_off(before.len());
    assert!(after.contains("clicks:{form}") && !after.contains("MULTI"), "{after}");
    let file = server.home().write(
        "links.csv",
        "code,target_url,owner\na,https://a.gov.sg,amy@agency.gov.sg\nb,https://b.gov.sg,amy@agency.gov.sg\n",
    );
    server.home().run(&["link", "import", &file.display().to_string()]).assert_code(0);
    let after = written().split_off(before.len());
    assert!(after.contains("l:{a}") && after.contains("l:{b}"), "{after}");
    for transaction in after.split("MULTI").skip(1).filter_map(|text| text.split("EXEC").next()) {
        assert!(transaction.matches("l:{").count() < 2, "{transaction}");
    }
}

#[test]
fn a_torn_append_only_file_is_mended_and_what_it_lost_is_counted_again() {
    let server = Server::start();
    for about in ["redis", "torn"] {
        server.expect_log(about);
    }
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    let folder = server.home().data_dir().join("redis");
    let random = Random::new();
    let mut visits = 0;
    for _ in 0..4 {
        // Several writes of counters: the tail holds nothing else.
        for _ in 0..3 {
            server.follow("form").assert_redirects("before", TARGET);
            visits += 1;
            amy.sees_clicks("form", visits);
        }
        let redis = process_id(&mut server.redis());
        assert_eq!(server.end_by(Signal::KILL), None);
        signal(redis, Signal::KILL);
        eventually("Redis is dead", || running_in(&folder).is_empty().then_some(()));
        let bytes = 1 + random.below(200);
        println!("cut {bytes} bytes off");
        cut_tail(&append_only_file(&folder), bytes);
        let log = folder.join("redis.log");
        let mut text = fs::read(&log).expect("Redis keeps a log");
        text.push(0xff);
        fs::write(&log, text).expect("it can be written");

        server.start_again();
        server.follow("form").assert_redirects("after", TARGET);
        visits += 1;
        amy.sees_clicks("form", visits);
        server.await_flushed();
        assert_eq!(server.counters("form").get("t"), Some(&visits), "none twice; {bytes} bytes were cut off");
        assert_eq!(server.counters("*").get("t"), Some(&visits), "over all links; {bytes} bytes were cut off");
    }
}
