//! The Redis user that `deploy/redis-acl.conf` gives merlink: enough for all that merlink does, and little more.

use serde_json::json;

use crate::{
    console::{Desk, wrong_password},
    harness::{CHROME, GOOGLEBOT, Home},
    redis_nodes::{MERLINKS_PASSWORD, acl},
    redis_server::RedisServer,
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

/// A Redis with that user, and the user's URL.
fn redis_with_the_user() -> (RedisServer, String) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(file.path(), acl()).expect("it can be written");
    let redis = RedisServer::with(&[("include", file.path().to_str().expect("UTF-8"))]);
    let url =
        format!("{}?user=merlink&pass={}", redis.url(), MERLINKS_PASSWORD.replace('/', "%2F").replace('@', "%40"));
    (redis, url)
}

#[test]
fn merlink_does_all_it_does_as_the_least_privileged_user() {
    let (_redis, url) = redis_with_the_user();
    let server = Home::new().set("redis.url", url).set("limits.otps_per_hour", "10").start();
    let amy = server.officer("amy@agency.gov.sg");
    for code in ["form", "other"] {
        amy.creates(code, TARGET);
    }
    server.follow("form").assert_redirects("a tool", TARGET);
    server.get("/form").user_agent(CHROME).send().assert_page("a browser", 200);
    server.get("/form").user_agent(GOOGLEBOT).send().assert_redirects("a crawler", TARGET);
    assert_eq!(server.follow("never-made").status, 404);
    assert_eq!(server.follow("form+").status, 200);
    amy.sees_clicks("form", 2);
    amy.update("form", &json!({"longUrl": format!("{TARGET}?2")})).assert_v1_status("edit", 200);
    amy.switches("other", "INACTIVE");
    assert_eq!(server.follow("other").status, 410);
    for query in ["", "searchText=form", "orderBy=clicks", "limit=1&offset=1", "state=INACTIVE"] {
        amy.list(query).assert_v1_status(query, 200);
    }
    server.get("/").send().assert_page("totals", 200);
    server.home().run(&["key", "list"]).assert_code(0);
    server.home().run(&["officer", "invite", "ben@agency.gov.sg"]).assert_code(0);
    let mut desk = Desk::at(&server);
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", "ben@agency.gov.sg")]).assert_page("asking", 200);
    let password = desk.password_after(0);
    for (typed, status) in [(wrong_password(&password), 422), (&password, 303)] {
        let fields = [("email", "ben@agency.gov.sg"), ("password", typed)];
        assert_eq!(desk.sends("/console/login/password", &fields).status, status, "a password");
    }
    let id = amy.key.split('_').nth(1).expect("mlk_ID_SECRET").to_owned();
    server.home().run(&["key", "revoke", &id]).assert_code(0);
    amy.list("").assert_v1_status("a revoked key", 401);
    server.home().run(&["check", "--repair"]).assert_code(0);
    let entry = |event: &str, about: &str| {
        format!(
            r#"{{"at":"2099-01-01T00:00:00.000Z","event":"{event}","by":"session:ben@agency.gov.sg","outcome":"done",{about}}}"#
        )
    };
    let entries = [
        entry("session.ended", r#""everywhere":true"#),
        entry("officer.suspended", r#""officer":"ben@agency.gov.sg""#),
        entry("link.changed", r#""code":"form","version":9,"from":{"state":"active"},"to":{"state":"inactive"}"#),
    ];
    let audit = server.home().write("audit.ndjson", &entries.join("\n"));
    let restored = server.home().run(&["restore", audit.to_str().expect("UTF-8")]);
    assert!(restored.assert_code(0).stdout.contains("3 replayed"), "{restored}");
}

#[test]
fn that_user_may_not_touch_what_isnt_merlinks_nor_the_server() {
    let (_redis, url) = redis_with_the_user();
    let mut merlink = redis::Client::open(url).and_then(|client| client.get_connection()).expect("it may log in");
    for denied in [
        "GET other",
        "SET session other",
        "PUBLISH other x",
        "SUBSCRIBE other",
        "FLUSHALL",
        "FLUSHDB",
        "KEYS *",
        "CONFIG GET *",
        "CONFIG SET maxmemory 1",
        "SHUTDOWN NOSAVE",
        "REPLICAOF NO ONE",
        "MONITOR",
        "CLIENT LIST",
        "CLIENT KILL ID 1",
        "ACL LIST",
        "SCRIPT FLUSH",
        "FUNCTION FLUSH",
        "BLPOP l:{x} 1",
        "CLUSTER RESET",
    ] {
        let words: Vec<&str> = denied.split(' ').collect();
        let error = redis::cmd(words[0]).arg(&words[1..]).exec(&mut merlink).expect_err(denied);
        assert_eq!(error.code(), Some("NOPERM"), "{denied}: {error}");
    }
}
