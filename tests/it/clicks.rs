//! Clicks: what counts, where it shows, and what is never kept.

use std::{fs, path::Path, thread};

use jiff::{Timestamp, civil::date, tz::TimeZone};
use serde_json::json;

use crate::harness::{CHROME, CURL, GOOGLEBOT, Home, Server};

#[test]
fn each_get_of_an_active_code_is_one_click() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/form");
    amy.creates("other", "https://example.com/other");
    assert_eq!(amy.clicks("form"), 0);
    for expected in 1..=5 {
        server.follow("form");
        amy.sees_clicks("form", expected);
    }
    for glued in ["FORM", "form.", "form%29", "form/", "form?utm=1"] {
        server.follow(glued);
    }
    amy.sees_clicks("form", 10);
    assert_eq!(amy.clicks("other"), 0, "a neighbour's clicks");
    let counters = server.counters("form");
    assert_eq!((counters.get("t"), counters.get("o")), (Some(&10), Some(&10)), "{counters:?}");
}

#[test]
fn an_inactive_link_answers_410_and_is_not_counted_nor_is_anything_else_but_a_visit() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    for code in ["live", "off", "expired"] {
        amy.creates(code, "https://example.com");
    }
    amy.switches("off", "INACTIVE");
    server.set_link_field("expired", "x", 1);
    for (method, path, status) in [
        ("HEAD", "/live", 302),
        ("GET", "/live+", 200),
        ("HEAD", "/live+", 200),
        ("POST", "/live", 405),
        ("OPTIONS", "/live", 405),
        ("GET", "/off", 410),
        ("GET", "/expired", 410),
        ("GET", "/never-made", 404),
        ("GET", "/live/more", 404),
        ("GET", "/", 200),
        ("GET", "/robots.txt", 200),
        ("GET", "/favicon.ico", 200),
        ("GET", "/api/v1/urls", 401),
    ] {
        for agent in [CURL, GOOGLEBOT] {
            let answer = server.request(method, path).user_agent(agent).send();
            assert_eq!(answer.status, status, "{method} {path}");
        }
    }
    assert_eq!(server.metrics().sum("merlink_clicks_recorded_total"), 0.0, "nothing was a click");

    server.follow("live");
    amy.sees_clicks("live", 1);
    assert_eq!(server.metrics().sum("merlink_clicks_recorded_total"), 1.0, "the visit was one");
    for code in ["off", "expired"] {
        assert_eq!(amy.clicks(code), 0, "{code}");
    }
}

#[test]
fn recorded_counts_everything_journaled_bots_and_prefetches_too() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/form");
    server.follow("form");
    server.get("/form").user_agent(CHROME).send();
    server.get("/form").user_agent(GOOGLEBOT).send();
    server.get("/form").user_agent(CHROME).header("Sec-Purpose", "prefetch").send();
    server.await_flushed();
    let metrics = server.metrics();
    assert_eq!(metrics.sum("merlink_clicks_recorded_total"), 4.0);
    assert_eq!(metrics.sum("merlink_clicks_flushed_total"), 4.0);
    let counters = server.counters("form");
    let kept = ["t", "b", "p", "d", "m", "a", "o"].map(|field| counters.get(field).copied().unwrap_or(0));
    assert_eq!(kept, [2, 1, 1, 1, 0, 0, 1], "{counters:?}");
    assert_eq!(amy.clicks("form"), 2);
}

#[test]
fn clicks_fall_on_the_day_and_hour_of_the_operators_time_zone() {
    // Singapore by default; the other two are never on the same day as each other.
    for zone in [None, Some("Pacific/Kiritimati"), Some("Pacific/Pago_Pago")] {
        let home = Home::new();
        let server = if let Some(zone) = zone { home.set("clicks.timezone", zone) } else { home }.start();
        server.officer("amy@agency.gov.sg").creates("form", "https://example.com/form");
        let zone = TimeZone::get(zone.unwrap_or("Asia/Singapore")).expect("the zone is known");
        let before = day_and_hour(&zone);
        server.follow("form");
        let after = day_and_hour(&zone);
        server.await_flushed();
        let counters = server.counters("form");
        let found = [&before, &after].into_iter().any(|(day, hour)| {
            counters.get(day) == Some(&1) && counters.get(hour) == Some(&1) && counters.get("t") == Some(&1)
        });
        assert!(found, "{zone:?}: {before:?} or {after:?} in {counters:?}");
        assert_eq!(counters.len(), 4, "total, device, one day, one hour of the week: {counters:?}");
    }
}

/// The names of the fields that a click at this moment adds to.
fn day_and_hour(zone: &TimeZone) -> (String, String) {
    let now = Timestamp::now().to_zoned(zone.clone());
    let day = (now.date() - date(1970, 1, 1)).get_days();
    let hour_of_week = i64::from(now.weekday().to_sunday_zero_offset()) * 24 + i64::from(now.hour());
    (day.to_string(), format!("w{hour_of_week}"))
}

#[test]
fn clicks_from_many_connections_are_all_there() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    for number in 0..4 {
        amy.creates(&format!("poster-{number}"), "https://example.com");
    }
    thread::scope(|scope| {
        for client in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let mut connection = server.connect();
                let path = format!("/poster-{}", client % 4);
                let visit = server.get(&path).user_agent(CURL).bytes();
                for _ in 0..25 {
                    // Ten at a time: a browser's HTTP pipelining, each a click.
                    connection.write(&visit.repeat(10)).expect("sends");
                    for _ in 0..10 {
                        let answer = connection.read_answer("GET").expect("is answered");
                        answer.assert_redirects(&path, "https://example.com");
                    }
                }
            });
        }
    });
    assert_eq!(server.metrics().sum("merlink_clicks_recorded_total"), 2_000.0);
    for number in 0..4 {
        amy.sees_clicks(&format!("poster-{number}"), 500);
    }
}

#[test]
fn clicks_stay_with_a_link_that_is_edited_or_switched_off() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/1");
    server.follow("form");
    amy.sees_clicks("form", 1);
    let edited = amy.update("form", &json!({"longUrl": "https://example.com/2"}));
    assert_eq!(edited.json()["clicks"], 1, "the answer to an edit shows them");
    server.follow("form");
    amy.sees_clicks("form", 2);
    let off = amy.update("form", &json!({"state": "INACTIVE"}));
    assert_eq!(off.json()["clicks"], 2);
}

#[test]
fn nothing_that_tells_visitors_apart_is_kept_anywhere() {
    let server = Server::with(&[("public.trusted_proxies", "127.0.0.0/8")]);
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/form");
    let traces =
        ["203.0.113.77", "cookie-of-a-citizen", "AgentOfACitizen", "referer-of-a-citizen", "query-of-a-citizen"];
    for browser in ["Mozilla/5.0 (Windows NT 10.0; Win64; x64) AgentOfACitizen", "AgentOfACitizen/1.0"] {
        let answer = server
            .get("/form?query-of-a-citizen=1")
            .user_agent(browser)
            .header("X-Forwarded-For", "203.0.113.77")
            .header("Cookie", "id=cookie-of-a-citizen")
            .header("Referer", "https://example.com/referer-of-a-citizen")
            .send();
        assert!([200, 302].contains(&answer.status));
    }
    server.await_flushed();
    // Redis' append-only file and the journal hold whatever was ever written.
    let mut files = 0;
    each_file(&server.home().data_dir(), &mut |path, bytes| {
        files += 1;
        let text = String::from_utf8_lossy(bytes);
        for trace in traces {
            assert!(!text.contains(trace), "{trace} is kept in {}", path.display());
        }
    });
    assert!(files >= 2, "the append-only file and the journal were looked at");
    for line in server.log() {
        assert!(!traces.iter().any(|trace| line.contains(trace)), "logged: {line}");
    }
}

fn each_file(directory: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            each_file(&path, look);
        } else if path.is_file() {
            look(&path, &fs::read(&path).expect("the file can be read"));
        }
    }
}
