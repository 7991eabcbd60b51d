//! Data that a later version has written, or a hand: no link that may be closed is open, and none
//! is left out without a word.

use std::collections::BTreeSet;

use redis::cmd;
use serde_json::json;

use crate::{
    harness::{Home, Server, eventually},
    proxy::Proxy,
    redis_server::RedisServer,
};

const TARGET: &str = "https://example.com/form";

/// The answer to a visitor of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visit {
    Redirect = 302,
    /// Switched off or expired.
    Gone = 410,
    /// It can't be read.
    Unknown = 503,
}

use Visit::{Gone, Redirect, Unknown};

/// Fields of a link with values that this version doesn't write.
const STRANGE: [(&str, &[u8], Visit); 48] = [
    ("s", b"2", Gone),
    ("s", b"00", Gone),
    ("s", b"on", Gone),
    ("s", b"-1", Gone),
    ("s", b"inactive", Gone),
    ("s", b"\xff", Unknown),
    ("s", b"1 ", Gone),
    ("s", b"01", Gone),
    ("x", b"soon", Unknown),
    ("x", b"-1", Gone),
    ("x", b"99999999999999999999", Unknown),
    ("x", b"1e13", Unknown),
    ("x", b"\xff", Unknown),
    ("x", b"0", Gone),
    ("t", b"", Unknown),
    ("t", b"\xff", Unknown),
    ("t", b"not an address", Unknown),
    ("t", b"javascript:alert(1)", Unknown),
    ("t", b"https://example.com/\r\nSet-Cookie: a=b", Unknown),
    ("v", b"abc", Unknown),
    ("v", b"-1", Unknown),
    ("v", b"1.5", Unknown),
    ("v", b"18446744073709551616", Unknown),
    ("q", b"2", Redirect),
    ("q", b"yes", Redirect),
    ("c", b"", Redirect),
    ("c", b"abc", Redirect),
    ("c", b"99999999999999999999", Redirect),
    ("u", b"abc", Redirect),
    ("u", b"99999999999999999999", Redirect),
    ("r", b"pigeon", Redirect),
    ("r", b"a b", Redirect),
    ("r", b"\xff", Redirect),
    ("g", b",", Redirect),
    ("g", b"a,,b", Redirect),
    ("g", b"two words", Redirect),
    ("g", b"\xff", Redirect),
    ("d", b"\xff", Redirect),
    ("d", b"two\nlines", Redirect),
    ("m", b"nobody", Redirect),
    ("m", b"\xff", Redirect),
    ("o", b"", Redirect),
    ("o", b"\xff", Redirect),
    ("b", b"later version:1", Redirect),
    ("b", b"\xff", Redirect),
    ("h2", b"{", Redirect),
    ("h2", b"{\"by\":\"later\",\"new\":[1]}", Redirect),
    ("zz", b"a field of a later version", Redirect),
];

fn code(number: usize) -> String {
    format!("strange-{number:02}")
}

#[test]
fn no_strange_value_opens_a_link_and_none_hides_one_without_a_word() {
    let server = Home::new().set("redis.index_check_every", "100ms").start();
    server.expect_log("holds what merlink didn't write");
    let amy = server.program("amy@agency.gov.sg");
    let mut redis = server.redis();
    for (number, (field, value, _)) in STRANGE.iter().enumerate() {
        amy.creates(&json!({"code": code(number), "target_url": TARGET}));
        cmd("HSET").arg(format!("l:{{{}}}", code(number))).arg(field).arg(value).exec(&mut redis).expect("Redis obeys");
    }
    let all: BTreeSet<String> = (0..STRANGE.len()).map(code).collect();

    let wrong: Vec<String> = STRANGE
        .iter()
        .enumerate()
        .filter_map(|(number, (field, value, visit))| {
            let status = server.follow(&code(number)).status;
            let read = amy.request("GET", &format!("/links/{}", code(number))).send();
            let said = String::from_utf8_lossy(value);
            let is_said = read.status == 200 || (read.status == 500 && read.text().contains("/problems/damaged"));
            (status != *visit as u16 || !is_said)
                .then(|| format!("{field} {said:?}: {status} for {visit:?}, API {} {}", read.status, read.text()))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");

    let exported = server.home().run(&["link", "export"]);
    let rows = exported.stdout.lines().filter_map(|row| row.split(',').next());
    let in_rows: BTreeSet<String> = rows.filter(|code| all.contains(*code)).map(str::to_owned).collect();
    let left_out: Vec<&String> = all.difference(&in_rows).collect();
    assert!(!left_out.is_empty(), "some can't be read");
    exported.assert_code(1).assert_names(&[&format!("the file lacks {} links", left_out.len())]);
    let named: Vec<&str> = left_out.iter().take(20).map(|code| code.as_str()).collect();
    exported.assert_names(&named);

    for (accept, state) in [("text/csv", ",damaged,"), ("application/x-ndjson", "\"damaged\"")] {
        let sent = amy.request("GET", "/export").header("Accept", accept).send();
        assert_eq!(sent.status, 200);
        let text = sent.text();
        for code in &all {
            let row = text.lines().find(|row| row.contains(code.as_str()));
            // A link whose owner is another is in nobody's export but everybody's.
            let Some(row) = row else {
                assert!(
                    STRANGE
                        .iter()
                        .enumerate()
                        .any(|(number, (field, ..))| *field == "o" && *code == self::code(number)),
                    "{code}"
                );
                continue;
            };
            assert_eq!(row.contains(state), left_out.contains(&code), "{accept}: {row}");
        }
    }

    let said = format!("{} links are in no list", left_out.len());
    let more = format!("and {} more", left_out.len() - 20);
    let found = eventually("the check in the background has come by", || {
        let found = server.home().run(&["check"]);
        found.stderr.contains(&said).then_some(found)
    });
    found.assert_code(1).assert_names(&[&said, &more]);
    let repaired = server.home().run(&["check", "--repair"]);
    repaired.assert_code(1).assert_names(&[&said, &more]);
    assert_eq!(server.metrics().with("merlink_links_damaged", &[]), left_out.len() as f64);
}

#[test]
fn what_a_later_version_may_have_written_opens_no_link_and_hides_none() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    for code in ["state", "source"] {
        amy.creates(&json!({"code": code, "target_url": TARGET}));
    }
    let mut redis = server.redis();
    for (key, field, value) in [("l:{state}", "s", "2"), ("l:{source}", "r", "pigeon")] {
        cmd("HSET").arg(key).arg(field).arg(value).exec(&mut redis).expect("Redis obeys");
    }
    assert_eq!(server.follow("state").status, 410, "an unknown state is not active");
    server.follow("source").assert_redirects("an unknown source", TARGET);
    assert_eq!(
        (amy.link("state")["state"].as_str(), amy.link("source")["source"].as_str()),
        (Some("inactive"), Some("other"))
    );
    amy.changes("state", &json!({"description": "edited"}));
    let state: String = cmd("HGET").arg("l:{state}").arg("s").query(&mut redis).expect("Redis reads");
    assert_eq!(state, "2", "a change of something else leaves the state as it is");
    let exported = server.home().run(&["link", "export"]);
    assert_eq!(exported.assert_code(0).stdout.lines().count(), 3, "a header and both: {}", exported.stdout);
}

#[test]
fn data_of_a_newer_schema_are_refused_by_the_service_and_by_every_command() {
    let redis = RedisServer::on_tcp();
    let mut connection = redis.connect().expect("Redis answers");
    let server = Home::new().set("redis.url", redis.url()).start();
    let needed = |connection: &mut redis::Connection| -> Option<f64> {
        cmd("ZSCORE").arg("session:schema").arg("needed").query(connection).expect("Redis answers")
    };
    assert_eq!(needed(&mut connection), Some(1.0), "each start says what it needs");
    server.finish();
    let home = server.home();
    cmd("ZADD").arg("session:schema").arg(2).arg("needed").exec(&mut connection).expect("Redis obeys");
    let said = ["a newer Merlink has written these data", "schema 2", "knows 1", "Install the newer version again"];
    for arguments in [&["serve"][..], &["check"], &["link", "export"], &["key", "list", "--owner", "amy@agency.gov.sg"]]
    {
        home.run(arguments).assert_code(1).assert_names(&said);
    }
    assert_eq!(needed(&mut connection), Some(2.0), "a program that is too old changes nothing");
    cmd("SET").arg("session:schema").arg("2").exec(&mut connection).expect("Redis obeys");
    for command in ["serve", "check"] {
        home.run(&[command]).assert_code(1).assert_names(&["session:schema in Redis isn't what Merlink writes"]);
    }
}

#[test]
fn a_node_that_started_without_redis_isnt_ready_on_data_of_a_newer_schema() {
    let redis = RedisServer::on_tcp();
    let mut connection = redis.connect().expect("Redis answers");
    cmd("ZADD").arg("session:schema").arg(2).arg("needed").exec(&mut connection).expect("Redis obeys");
    let proxy = Proxy::before(redis.address());
    proxy.refuse(true);
    let server = Home::new().set("redis.url", proxy.url()).start_unready();
    for said in ["starting without Redis", "clicks wait", "Redis is away", "a newer Merlink has written these data"] {
        server.expect_log(said);
    }
    proxy.refuse(false);
    eventually("it is said", || {
        server.log().iter().any(|line| line.contains("a newer Merlink has written these data")).then_some(())
    });
    assert_eq!(server.operator("/readyz").send().status, 503);
}
