//! Engines that speak Redis' protocol: each is named, and nothing that Merlink needs of it is taken for granted.

use std::process::Command;

use serde_json::json;

use crate::{
    harness::{Home, Server, eventually},
    redis_nodes::Cluster,
    redis_server::{RedisServer, program},
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

fn server_on(redis: &RedisServer) -> Server {
    Home::new().set("redis.url", redis.url()).start()
}

/// A user with these rights, and the URL with which merlink is that user.
fn url_of_user(redis: &RedisServer, rights: &[&str]) -> String {
    let mut admin = redis.connect().expect("Redis answers");
    redis::cmd("ACL")
        .arg(&["SETUSER", "merlink", "on", ">secret"])
        .arg(rights)
        .exec(&mut admin)
        .expect("Redis makes the user");
    format!("{}?user=merlink&pass=secret", redis.url())
}

fn scratch_keys(redis: &mut redis::Connection) -> Vec<String> {
    redis::cmd("KEYS").arg("*probe*").query(redis).expect("Redis answers")
}

/// A Redis below 7.0: a real one, if the environment says where, or else one that says so of itself.
fn old_redis() -> RedisServer {
    match std::env::var_os("MERLINK_TEST_REDIS_6") {
        Some(program) => RedisServer::of(program.as_ref()),
        None => RedisServer::altered("7.0.15", "6.9.15"),
    }
}

#[test]
fn check_names_the_engine_by_its_own_version() {
    let output = Command::new(program()).arg("--version").output().expect("redis-server runs");
    // As `Valkey server v=9.1.2 sha=…`.
    let said = String::from_utf8(output.stdout).expect("is text");
    let name = said.split(' ').next().expect("begins with its name");
    let version = said.split(" v=").nth(1).and_then(|rest| rest.split(' ').next()).expect("has a version");
    let redis = RedisServer::start();
    for (home, place) in
        [(Home::new(), "merlink's own, in data_dir/redis"), (Home::new().set("redis.url", redis.url()), "redis.url")]
    {
        let ran = home.run(&["check"]);
        ran.assert_code(0);
        assert!(ran.stdout.contains(&format!("engine        {name} {version} ({place})")), "{ran}");
    }
}

#[test]
fn a_server_without_set_repl_is_worked_with() {
    let redis = RedisServer::altered("set_repl", "not_here");
    let (server, other) = (server_on(&redis), server_on(&redis));
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    other.follow("form").assert_redirects("created", TARGET);
    let edited = format!("{TARGET}?edited");
    amy.update("form", &json!({"longUrl": edited})).assert_v1_status("edit", 200);
    eventually("another instance hears of the edit", || {
        (other.follow("form").header("location") == Some(&edited)).then_some(())
    });
    let file =
        server.home().write("links.csv", &format!("code,target_url,owner\nimported,{TARGET},amy@agency.gov.sg\n"));
    let ran = server.home().run(&["link", "import", file.to_str().expect("the path is text")]);
    ran.assert_code(0);
    server.follow("imported").assert_redirects("imported", TARGET);
    let ran = server.home().run(&["check"]);
    ran.assert_code(0);
    assert!(ran.stdout.contains("without       redis.set_repl"), "{ran}");
}

#[test]
fn a_change_that_nobody_can_be_told_of_isnt_made() {
    let redis = RedisServer::start();
    let rights = ["~*", "&*", "+@all"];
    let server = Home::new().set("redis.url", url_of_user(&redis, &rights)).start();
    server.expect_log("redis");
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    url_of_user(&redis, &["-publish"]);
    let edit = json!({"longUrl": format!("{TARGET}?edited")});
    amy.update("form", &edit).assert_v1_status("an edit", 503);
    amy.create(&json!({"shortUrl": "other", "longUrl": TARGET})).assert_v1_status("a link", 503);
    url_of_user(&redis, &["+publish"]);
    let listed: Vec<String> = amy.codes("");
    assert_eq!(listed, ["form"], "what was answered 503 isn't there");
    let kept: String = redis::cmd("HGET")
        .arg(&["l:{form}", "t"])
        .query(&mut redis.connect().expect("Redis answers"))
        .expect("the link is there");
    assert_eq!(kept, TARGET);
    amy.update("form", &edit).assert_v1_status("the same edit", 200);
    server.follow("form").assert_redirects("edited", &format!("{TARGET}?edited"));
}

#[test]
fn what_is_missing_is_named_and_merlink_does_not_start() {
    let redis = RedisServer::start();
    let all = ["reset", "on", ">secret", "~*", "&*", "+@all"];
    for (denied, names) in [
        ("-zadd", &["index_add.lua", "zadd"][..]),
        ("-publish", &["create_link.lua", "change_link.lua"]),
        ("resetchannels", &["create_link.lua", "change_link.lua"]),
        ("-evalsha", &["EVALSHA", "evalsha"]),
        ("-eval", &["apply_clicks.lua", "try_otp.lua", "eval"]),
        ("-script|load", &["SCRIPT LOAD"]),
        ("-subscribe", &["SUBSCRIBE", "subscribe"]),
        ("-hsetnx", &["HSETNX"]),
    ] {
        let url = url_of_user(&redis, &[&all[..], &[denied]].concat());
        for accepted in ["false", "true"] {
            let home = Home::new().set("redis.url", &url).set("redis.allow_unsafe", accepted);
            for command in ["check", "serve"] {
                let ran = home.run(&[command]);
                ran.assert_code(1).assert_names(names);
            }
        }
    }
    let url = url_of_user(&redis, &["reset", "on", ">secret", "~l:*", "&*", "+@all"]);
    let ran = Home::new().set("redis.url", url).run(&["serve"]);
    ran.assert_code(1).assert_names(&["apply_clicks.lua", "accept_otp.lua", "index_add.lua"]);
    assert!(!ran.stderr.contains("change_link.lua"), "{ran}");
}

#[test]
fn a_trial_leaves_nothing_and_tells_nobody_anything() {
    let redis = RedisServer::start();
    let server = server_on(&redis);
    server.officer("amy@agency.gov.sg").creates("form", TARGET);
    server.follow("form").assert_redirects("before", TARGET);
    server.await_flushed();
    let mut admin = redis.connect().expect("Redis answers");
    let count = |admin: &mut redis::Connection| redis::cmd("DBSIZE").query::<u64>(admin).expect("Redis answers");
    let before = count(&mut admin);
    server.home().run(&["check"]).assert_code(0);
    assert_eq!((count(&mut admin), scratch_keys(&mut admin)), (before, Vec::new()));
}

#[test]
fn a_redis_that_is_full_keeps_no_node_from_starting() {
    let redis = RedisServer::start();
    let server = server_on(&redis);
    for about in ["redis", "oom", "clicks"] {
        server.expect_log(about);
    }
    server.officer("amy@agency.gov.sg").creates("form", TARGET);
    let limit = |bytes: &str| {
        let mut admin = redis.connect().expect("Redis answers");
        redis::cmd("CONFIG").arg(&["SET", "maxmemory", bytes]).exec(&mut admin).expect("Redis obeys");
    };
    limit("1");
    server.end_by(rustix::process::Signal::TERM);
    server.start_again_unready();
    server.follow("form").assert_redirects("Redis takes no writes", TARGET);
    let ran = server.home().run(&["check"]);
    ran.assert_code(0);
    assert!(ran.stdout.contains("tried out"), "{ran}");
    limit("0");
    server.await_flushed();
}

#[test]
fn each_primary_of_a_cluster_is_tried() {
    let cluster = Cluster::start();
    let home = Home::new().set("redis.url", cluster.url());
    home.run(&["check"]).assert_code(0);
    for node in &cluster.nodes {
        assert_eq!(node.ask::<Vec<String>>(&["KEYS", "*probe*"]).expect("the node answers"), Vec::<String>::new());
    }
    let primary = (0..6).find(|&node| cluster.is_primary(node)).expect("there are three");
    let node = &cluster.nodes[primary];
    node.ask::<()>(&["ACL", "SETUSER", "merlink", "-zadd"]).expect("the node obeys");
    let ran = home.run(&["check"]);
    ran.assert_code(1).assert_names(&[&node.address(), "index_add.lua"]);
    for (other, node) in cluster.nodes.iter().enumerate().filter(|(other, _)| *other != primary) {
        assert!(!ran.stderr.contains(&node.address()), "node {other} lacks nothing: {ran}");
    }
}

#[test]
fn redis_below_7_is_refused() {
    let redis = old_redis();
    for accepted in ["false", "true"] {
        let home = Home::new().set("redis.url", redis.url()).set("redis.allow_unsafe", accepted);
        for command in ["check", "serve"] {
            home.run(&[command]).assert_code(1).assert_names(&["Redis 6.", "too old", "7.0", "Valkey"]);
        }
    }
}

#[test]
fn an_embedded_redis_below_7_is_refused() {
    let Some(old) = std::env::var_os("MERLINK_TEST_REDIS_6") else {
        let redis = RedisServer::altered("7.0.15", "6.9.15");
        return assert_embedded_is_refused(redis.directory());
    };
    assert_embedded_is_refused(std::path::Path::new(&old).parent().expect("it is in a folder"));
}

fn assert_embedded_is_refused(folder: &std::path::Path) {
    let home = Home::new().environment("PATH", folder.to_str().expect("the path is text"));
    for command in ["check", "serve"] {
        home.run(&[command]).assert_code(1).assert_names(&["Redis 6.", "too old", "7.0", "Valkey"]);
    }
}
