//! Lists, transfers and retries beside the links themselves, while many write at once: none may
//! contradict another.

use std::{
    collections::BTreeSet,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

use crate::{
    api_v2::Program,
    harness::{Home, Server, eventually},
    http::{Answer, Request},
    proxy::Proxy,
    redis_server::RedisServer,
    runs::length_of_run,
};

/// How often what went wrong often is tried: see `make test-histories`.
const ROUNDS: &str = "MERLINK_TEST_CONTRADICTIONS";

const AMY: &str = "amy@agency.gov.sg";
const BEN: &str = "ben@agency.gov.sg";
const CARA: &str = "cara@agency.gov.sg";

/// Ends the threads beside a test when it ends, also by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn distinct(codes: Vec<String>, about: &str) -> BTreeSet<String> {
    let count = codes.len();
    let distinct: BTreeSet<String> = codes.into_iter().collect();
    assert_eq!(distinct.len(), count, "{about}: a link comes twice");
    distinct
}

fn exported(officer: &Program) -> BTreeSet<String> {
    let answer = officer.request("GET", "/export").send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let code =
        |row: &str| serde_json::from_str::<Value>(row).expect("JSON")["code"].as_str().expect("a code").to_owned();
    distinct(answer.text().lines().map(code).collect(), "export")
}

fn listed(officer: &Program, sort: &str) -> BTreeSet<String> {
    distinct(officer.codes(&[("sort", sort), ("limit", "100")]), sort)
}

fn batch(officer: &Program, codes: &[String]) -> Request {
    let rows = codes.iter().map(|code| json!({"code": code, "target_url": "https://example.com/"}));
    officer.request("POST", "/batch").json(&Value::Array(rows.collect()))
}

fn creates_all(officer: &Program, codes: &[String]) {
    for some in codes.chunks(1000) {
        assert_eq!(batch(officer, some).send().json()["created"], some.len());
    }
}

fn transfer(officer: &Program, code: &str, to: &str, key: &str) -> Answer {
    let request = officer.request("POST", &format!("/links/{code}/transfer")).header("Idempotency-Key", key);
    request.json(&json!({"owner": to})).send()
}

fn creates(officer: &Program, code: &str) {
    officer.creates(&json!({"code": code, "target_url": "https://example.com/"}));
}

#[test]
fn a_creation_that_is_refused_hides_no_link() {
    let server = Server::start();
    let amy = server.program(AMY);
    let codes: Vec<String> = (0..150).map(|number| format!("form-{number}")).collect();
    creates_all(&amy, &codes);
    let all: BTreeSet<String> = codes.iter().cloned().collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !over.load(Ordering::Relaxed) {
                round += 1;
                // An export that is sent again.
                let again = batch(&amy, &codes).header("Idempotency-Key", format!("again-{round}")).send();
                assert_eq!(again.json()["failed"], 150, "{}", again.text());
            }
        });
        let _ends = Ends(&over);
        for round in 0..length_of_run(ROUNDS, 25) {
            assert_eq!(exported(&amy), all, "export {round}");
            assert_eq!(listed(&amy, "-created_at"), all, "list {round}");
        }
    });
}

#[test]
fn two_transfers_at_once_are_both_made_or_one_is_refused() {
    let server = Home::new().set("officers.admins", "root@agency.gov.sg").start();
    let (amy, admin) =
        (server.program(AMY), server.program_with_scopes("root@agency.gov.sg", "admin links:read links:write"));
    let (ben, cara) = (server.program(BEN), server.program(CARA));
    creates(&ben, "bens");
    creates(&cara, "caras");
    for round in 0..length_of_run(ROUNDS, 60) {
        let code = format!("moving-{round}");
        creates(&amy, &code);
        let start = Barrier::new(2);
        let give = |to: &str| {
            start.wait();
            transfer(&amy, &code, to, &format!("{round} to {to}"))
        };
        let (to_ben, to_cara) = thread::scope(|scope| {
            let to_ben = scope.spawn(|| give(BEN));
            let to_cara = scope.spawn(|| give(CARA));
            (to_ben.join().expect("no panic"), to_cara.join().expect("no panic"))
        });
        // By then the slower request's officer doesn't own the link.
        let mut statuses = [to_ben.status, to_cara.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 404], "round {round}: {} {}", to_ben.text(), to_cara.text());
        let owner = if to_ben.status == 200 { BEN } else { CARA };
        assert_eq!(admin.link(&code)["owner"], owner, "round {round}");
    }
}

#[test]
fn a_link_that_comes_back_stays_in_its_owners_list() {
    let server = Server::start();
    let (amy, ben) = (server.program(AMY), server.program(BEN));
    creates(&ben, "bens");
    let all: Vec<String> = (0..2000).map(|number| format!("form-{number}")).collect();
    creates_all(&amy, &all);
    let over = AtomicBool::new(false);
    let moved = &all[..60];
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let path = "/api/v1/urls?orderBy=clicks&sortDirection=desc&limit=10";
                    assert_eq!(server.get(path).key(&amy.key).send().status, 200);
                }
            });
        }
        let _ends = Ends(&over);
        for code in moved {
            assert_eq!(transfer(&amy, code, BEN, &format!("{code} away")).status, 200);
            assert_eq!(transfer(&ben, code, AMY, &format!("{code} back")).status, 200);
        }
    });
    let codes = exported(&amy);
    let lost: Vec<&String> = moved.iter().filter(|code| !codes.contains(*code)).collect();
    assert!(lost.is_empty(), "in nobody's list: {lost:?}");
    assert_eq!(codes.len(), 2000);
}

#[test]
fn a_transferred_links_tags_are_among_its_new_owners() {
    let server = Server::start();
    let (amy, ben) = (server.program(AMY), server.program(BEN));
    amy.creates(&json!({"code": "form", "target_url": "https://example.com/", "tags": ["Tax"]}));
    creates(&ben, "bens");
    assert_eq!(transfer(&amy, "form", BEN, "give").status, 200);
    let tags = |officer: &Program| officer.get("/tags").assert_v2("tags", 200)["items"].clone();
    assert_eq!(tags(&ben)[0]["tag"], "tax", "{}", tags(&ben));
    assert_eq!(tags(&amy), json!([]));
}

#[test]
fn many_officers_may_edit_one_link_at_once() {
    let server = Server::start();
    let amy = server.program(AMY);
    creates(&amy, "busy");
    thread::scope(|scope| {
        for client in 0..16 {
            let amy = &amy;
            scope.spawn(move || {
                for edit in 0..15 {
                    let body = json!({"description": format!("client {client}, edit {edit}")});
                    let answer = amy.patch("busy", &body);
                    assert_eq!(answer.status, 200, "client {client}, edit {edit}: {}", answer.text());
                    assert_eq!(answer.json()["description"], body["description"]);
                }
            });
        }
    });
    assert_eq!(amy.link("busy")["version"], 241, "each edit is a version");
}

#[test]
fn a_new_link_is_in_the_next_list_however_it_is_sorted() {
    let server = Server::start();
    let amy = server.program(AMY);
    for number in 0..10 {
        for sort in ["-created_at", "created_at", "-clicks", "clicks", "code"] {
            listed(&amy, sort);
            let code = format!("new-{number}-{}", sort.replace('-', "most").replace('_', "-"));
            creates(&amy, &code);
            assert!(listed(&amy, sort).contains(&code), "{sort}");
        }
    }
}

#[test]
fn an_edit_that_is_repeated_after_a_lost_answer_is_recognised() {
    let server = Home::new().set("officers.admins", "root@agency.gov.sg").start();
    let (amy, admin) =
        (server.program(AMY), server.program_with_scopes("root@agency.gov.sg", "admin links:read links:write"));
    creates(&amy, "form");
    let etag = amy.get("/links/form").header("etag").expect("an ETag").to_owned();
    let edit = |officer: &Program, description: &str| {
        let request = officer.request("PATCH", "/links/form").header("If-Match", &etag);
        request.json(&json!({"description": description})).send()
    };
    let first = edit(&amy, "by Amy");
    assert_eq!(first.status, 200, "{}", first.text());
    // The answer got lost, and she sends it again.
    let again = edit(&amy, "by Amy");
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(again.json(), first.json());
    // Another edit on the same reading is stale, and so is the same by somebody else.
    assert_eq!(edit(&amy, "later").status, 412);
    assert_eq!(edit(&admin, "by Amy").status, 412);
}

#[test]
fn an_export_of_everybodys_links_has_each_once_while_they_change_hands() {
    let server = Home::new().set("officers.admins", "root@agency.gov.sg").start();
    let (amy, ben) = (server.program(AMY), server.program(BEN));
    let admin = server.program_with_scopes("root@agency.gov.sg", "links:read admin");
    creates(&ben, "bens");
    let codes: Vec<String> = (0..400).map(|number| format!("form-{number}")).collect();
    creates_all(&amy, &codes);
    let all: BTreeSet<String> = codes.iter().cloned().chain(["bens".to_owned()]).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for (round, code) in codes.iter().cycle().enumerate() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (from, to) = if (round / codes.len()).is_multiple_of(2) { (&amy, BEN) } else { (&ben, AMY) };
                assert_eq!(transfer(from, code, to, &format!("{round}")).status, 200);
            }
        });
        let _ends = Ends(&over);
        for _ in 0..20 {
            assert_eq!(exported(&admin), all);
        }
    });
}

#[test]
fn entries_that_got_lost_come_back_by_themselves() {
    let server = Home::new().set("redis.index_check_every", "100ms").start();
    let row = |number| format!("form-{number},https://example.com/,{AMY},tax,2025-01-01T00:00:{:02}Z", number % 60);
    let rows = (0..300).map(row).collect::<Vec<_>>().join("\n");
    let file = server.home().write("links.csv", &format!("code,target_url,owner,tags,created_at\n{rows}"));
    server.home().run(&["link", "import", &file.display().to_string()]).assert_code(0);
    let amy = server.program(AMY);
    let all = exported(&amy);
    assert_eq!(all.len(), 300);
    let mut redis = server.redis();
    // As after a shard of a Cluster fell back behind the others.
    let indexes: Vec<String> = redis::cmd("KEYS").arg("*:{amy@*").query(&mut redis).expect("Redis lists its keys");
    let indexes: Vec<&String> =
        indexes.iter().filter(|key| key.starts_with("owner:") || key.starts_with("tag")).collect();
    redis::cmd("DEL").arg(&indexes).exec(&mut redis).expect("Redis deletes them");
    eventually("the list is whole", || (exported(&amy) == all).then_some(()));
    eventually("so is the tag's", || (amy.codes(&[("tag", "tax"), ("limit", "100")]).len() == 300).then_some(()));
    let missing = || server.metrics().with("merlink_index_entries_settled_total", &[("was", "missing")]);
    assert_eq!(missing(), 600.0);
    server.expect_log("entries were missing from officers' lists");
}

#[test]
fn an_atomic_batch_that_the_store_breaks_off_is_no_success() {
    let redis = RedisServer::on_tcp();
    let proxy = Proxy::before(redis.address());
    let server = Home::new().set("redis.url", proxy.url()).start();
    let amy = server.program(AMY);
    let codes: Vec<String> = (0..1000).map(|number| format!("form-{number}")).collect();
    let mut eye = redis.connect().expect("Redis answers");
    let answer = thread::scope(|scope| {
        let rows = codes.iter().map(|code| json!({"code": code, "target_url": "https://example.com/"}));
        let request = amy.request("POST", "/batch?atomic=true").json(&Value::Array(rows.collect()));
        let answer = scope.spawn(|| request.send());
        eventually("some are created", || {
            let created: Vec<String> = redis::cmd("KEYS").arg("l:{form-*").query(&mut eye).expect("Redis answers");
            (!created.is_empty()).then_some(())
        });
        proxy.refuse(true);
        proxy.black_hole();
        answer.join().expect("no panic")
    });
    proxy.refuse(false);
    proxy.cut();
    let problem = answer.assert_problem("neither all nor nothing", 503, "unavailable");
    assert!(problem["detail"].as_str().expect("a detail").contains("of 1000 rows"), "{problem}");
    server.expect_log("redis");
}

#[test]
fn a_transfer_that_comes_late_and_was_repeated_is_not_made_again() {
    let redis = RedisServer::on_tcp();
    let proxy = Proxy::before(redis.address());
    let here = Home::new().set("redis.url", redis.url()).start();
    let there = Home::new().set("redis.url", proxy.url()).start();
    let (amy, ben) = (here.program(AMY), here.program(BEN));
    creates(&ben, "bens");
    creates(&amy, "form");
    proxy.hold_back(&["EVALSHA", "l:{form}"]);
    let unknown = transfer(&there.program_with_key(&amy.key), "form", BEN, "once");
    unknown.assert_problem("Redis has it not yet", 503, "unavailable");
    assert!(proxy.holds_back());
    assert_eq!(transfer(&amy, "form", BEN, "once").status, 200);
    assert_eq!(transfer(&ben, "form", AMY, "back").status, 200);
    for description in ["a", "b", "c"] {
        amy.changes("form", &json!({"description": description}));
    }
    proxy.let_go();
    let mut eye = redis.connect().expect("Redis answers");
    // When it answers a second time, it has read what was sent to it before the first.
    for _ in 0..2 {
        redis::cmd("PING").exec(&mut eye).expect("Redis answers");
    }
    let now = amy.link("form");
    assert_eq!((&now["owner"], &now["version"]), (&json!(AMY), &json!(6)), "{now}");
}

/// The time of a link's last change, in days from now.
fn days_from_now(link: &Value, field: &str) -> i64 {
    let at: jiff::Timestamp = link[field].as_str().expect("a time").parse().expect("RFC 3339");
    at.duration_since(jiff::Timestamp::now()).as_hours().div_euclid(24)
}

#[test]
fn links_are_dated_by_redis_and_no_wrong_clock_dates_what_comes_later() {
    let redis = RedisServer::on_tcp();
    let proxy = Proxy::before(redis.address());
    let right = Home::new().set("redis.url", redis.url()).start();
    // From where this node stands, Redis is 40 days ahead: its own clock is late.
    let wrong = Home::new().set("redis.url", proxy.url()).start();
    let key = right.key(AMY);
    let (here, there) = (right.program_with_key(&key), wrong.program_with_key(&key));
    let tell = |days: i64| {
        proxy.set_clock_ahead(days);
        eventually("it has noticed", || {
            let offset = wrong.metrics().sum("merlink_clock_offset_seconds");
            ((offset / 86_400.0 + days as f64).abs() < 0.1).then_some(())
        });
    };
    tell(40);
    creates(&there, "form");
    assert_eq!(days_from_now(&here.link("form"), "created_at"), 39);
    assert!(right.metrics().sum("merlink_clock_offset_seconds").abs() < 1.0);
    let edited = here.changes("form", &json!({"description": "by the right clock"}));
    assert!((-1..=0).contains(&days_from_now(&edited, "updated_at")), "{edited}");
    tell(-40);
    let edited = there.changes("form", &json!({"description": "by a late clock"}));
    assert_eq!(edited["version"], 3);
    tell(0);
    let edited = there.changes("form", &json!({"description": "mended"}));
    assert!((-1..=0).contains(&days_from_now(&edited, "updated_at")), "{edited}");
}
