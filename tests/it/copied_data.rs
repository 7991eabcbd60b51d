//! A data directory that was copied, as with a cloned machine: two merlinks under one name, of
//! which each takes the other's clicks for counted.

use std::{fs, path::Path};

use rustix::process::Signal;

use crate::{
    harness::{Home, Server, eventually},
    proxy::Proxy,
    redis_server::RedisServer,
};

const TARGET: &str = "https://example.com/";

/// Copies a folder's files, and those of the folders in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("it can be listed") {
        let entry = entry.expect("it can be listed");
        let copied = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &copied);
        } else {
            fs::copy(entry.path(), copied).expect("a file can be copied");
        }
    }
}

fn visits(server: &Server, count: i64) {
    for _ in 0..count {
        server.follow("form").assert_redirects("a visit", TARGET);
    }
}

/// A server that has counted a click, and the key of its link's owner.
fn original(redis: &RedisServer) -> (Server, String) {
    let server = Home::new().set("redis.url", redis.url()).start();
    let key = server.key("amy@agency.gov.sg");
    let amy = server.officer_with_key(&key);
    amy.creates("form", TARGET);
    visits(&server, 1);
    amy.sees_clicks("form", 1);
    (server, key)
}

fn cloned(server: &Server, redis_url: String) -> Home {
    let home = Home::new().set("redis.url", redis_url);
    copy(&server.home().data_dir(), &home.data_dir());
    home
}

#[test]
fn a_copy_of_a_running_merlink_doesnt_start_and_one_that_was_killed_starts_again_at_once() {
    let redis = RedisServer::on_tcp();
    let (first, key) = original(&redis);
    let clone = cloned(&first, redis.url());
    let refused = clone.run(&["serve"]);
    refused.assert_code(1).assert_names(&["runs with a copy of", &clone.data_dir().display().to_string(), "remove"]);
    assert!(!refused.stderr.contains("listening"), "{refused}");
    let folder = clone.data_dir();
    let drained = first.home().run(&["journal", "drain", folder.to_str().expect("UTF-8")]);
    drained.assert_code(1).assert_names(&["runs with a copy of"]);

    visits(&first, 20);
    assert_eq!(first.end_by(Signal::KILL), None);
    first.start_again();
    visits(&first, 20);
    first.officer_with_key(&key).sees_clicks("form", 41);
    clone.run(&["serve"]).assert_code(1).assert_names(&["runs with a copy of"]);

    // Without the journal it is a node like any other.
    fs::rename(folder.join("journal"), folder.join("journal.copied")).expect("it can be moved");
    let clone = clone.start();
    visits(&clone, 100);
    visits(&first, 100);
    first.officer_with_key(&key).sees_clicks("form", 241);
}

#[test]
fn a_copy_takes_over_once_the_first_has_ended_and_the_first_then_goes_on_under_a_name_of_its_own() {
    let redis = RedisServer::on_tcp();
    let (first, key) = original(&redis);
    assert_eq!(first.end_by(Signal::TERM), Some(0));
    let moved = cloned(&first, redis.url()).start();
    visits(&moved, 10);
    moved.officer_with_key(&key).sees_clicks("form", 11);
    let refused = first.home().run(&["serve"]);
    refused.assert_code(1).assert_names(&["runs with a copy of"]);
    assert_eq!(moved.end_by(Signal::TERM), Some(0));

    first.expect_log("a copy of this data_dir");
    first.start_again();
    moved.start_again();
    visits(&first, 100);
    visits(&moved, 100);
    moved.officer_with_key(&key).sees_clicks("form", 211);
}

/// After a power cut the boot is another, so the same holds for a machine that comes back.
#[test]
fn the_disk_of_a_machine_that_crashed_is_counted_elsewhere_once_it_is_clear_that_the_machine_is_dead() {
    let mut redis = RedisServer::on_tcp();
    let (dead, key) = original(&redis);
    dead.expect_log("");
    redis.kill();
    visits(&dead, 50);
    assert_eq!(dead.end_by(Signal::KILL), None);
    redis.start_again();
    let heir = cloned(&dead, redis.url()).start();
    heir.officer_with_key(&key).sees_clicks("form", 51);
    visits(&heir, 50);
    heir.officer_with_key(&key).sees_clicks("form", 101);
    assert_eq!(heir.end_by(Signal::KILL), None);
    heir.start_again();
    visits(&heir, 50);
    heir.officer_with_key(&key).sees_clicks("form", 151);
}

#[test]
fn a_copy_that_started_without_redis_counts_under_a_name_of_its_own() {
    let redis = RedisServer::on_tcp();
    let (first, key) = original(&redis);
    let proxy = Proxy::before(redis.address());
    proxy.refuse(true);
    let clone = cloned(&first, proxy.url());
    // Kept by the first at its end or once a minute: what a node without Redis redirects.
    assert_eq!(first.end_by(Signal::TERM), Some(0));
    fs::copy(first.home().data_dir().join("hot-links.ndjson"), clone.data_dir().join("hot-links.ndjson"))
        .expect("is copied");
    first.start_again();
    let clone = clone.start_unready();
    for about in ["redis", "clicks wait", "a copy of this data_dir"] {
        clone.expect_log(about);
    }
    visits(&clone, 100);
    visits(&first, 100);
    first.officer_with_key(&key).sees_clicks("form", 101);
    proxy.refuse(false);
    clone.await_ready();
    eventually("it says so", || clone.log().iter().any(|line| line.contains("a copy of this data_dir")).then_some(()));
    clone.officer_with_key(&key).sees_clicks("form", 201);
    visits(&clone, 50);
    visits(&first, 50);
    first.officer_with_key(&key).sees_clicks("form", 301);
}

/// A run with the older journal begins at the position at which the lost one began, which is counted.
fn put_back_an_older_journal(redis_is_away: bool) {
    let mut redis = RedisServer::on_tcp();
    let (node, key) = original(&redis);
    assert_eq!(node.end_by(Signal::TERM), Some(0));
    let data_dir = node.home().data_dir();
    let kept = tempfile::tempdir().expect("a folder");
    copy(&data_dir.join("journal"), kept.path());
    node.start_again();
    visits(&node, 50);
    node.officer_with_key(&key).sees_clicks("form", 51);
    assert_eq!(node.end_by(Signal::TERM), Some(0));
    fs::remove_dir_all(data_dir.join("journal")).expect("removed");
    copy(kept.path(), &data_dir.join("journal"));
    for about in ["redis", "clicks wait", "links in memory", "a copy of this data_dir"] {
        node.expect_log(about);
    }
    if redis_is_away {
        redis.kill();
        node.start_again_unready();
        visits(&node, 200);
        redis.start_again();
        node.await_ready();
    } else {
        node.start_again();
        visits(&node, 200);
    }
    node.officer_with_key(&key).sees_clicks("form", 251);
}

#[test]
fn an_older_journal_put_back_in_place_loses_no_click() {
    put_back_an_older_journal(false);
}

#[test]
fn an_older_journal_put_back_in_place_while_redis_is_away_loses_no_click() {
    put_back_an_older_journal(true);
}

#[test]
fn a_run_that_stood_still_while_a_copy_took_over_loses_no_click() {
    let redis = RedisServer::on_tcp();
    let (first, key) = original(&redis);
    let clone = cloned(&first, redis.url());
    visits(&first, 20);
    first.officer_with_key(&key).sees_clicks("form", 21);
    first.expect_log("a copy of this data_dir");
    first.signal(Signal::STOP);
    let clone = clone.start();
    visits(&clone, 100);
    clone.officer_with_key(&key).sees_clicks("form", 121);
    first.signal(Signal::CONT);
    visits(&first, 100);
    visits(&clone, 100);
    clone.officer_with_key(&key).sees_clicks("form", 321);
}

#[test]
fn a_redis_put_back_to_before_the_last_starts_refuses_nobody_and_gets_all_clicks() {
    let redis = RedisServer::on_tcp();
    let (node, key) = original(&redis);
    let kept = |key: &str| {
        let mut redis = redis.connect().expect("Redis answers");
        redis::cmd("DUMP").arg(key).query::<Vec<u8>>(&mut redis).expect("is there")
    };
    let keys = ["instances", "clicks:{form}", "clicks:{*}"];
    let older = keys.map(kept);
    let goes_back = || {
        let mut redis = redis.connect().expect("Redis answers");
        for (key, kept) in keys.iter().zip(&older) {
            redis::cmd("RESTORE").arg(key).arg(0).arg(kept).arg("REPLACE").exec(&mut redis).expect("is put back");
        }
    };
    for (signal, sum) in [(Signal::TERM, 11), (Signal::KILL, 21)] {
        let _ = node.end_by(signal);
        node.start_again();
        visits(&node, 10);
        node.officer_with_key(&key).sees_clicks("form", sum);
    }
    let _ = node.end_by(Signal::KILL);
    goes_back();
    node.start_again();
    visits(&node, 10);
    node.officer_with_key(&key).sees_clicks("form", 31);

    // And moved elsewhere: the run in Redis is an earlier one of the same journal.
    let _ = node.end_by(Signal::KILL);
    goes_back();
    let moved = cloned(&node, redis.url()).start();
    visits(&moved, 10);
    moved.officer_with_key(&key).sees_clicks("form", 41);
}
