//! `GET /api/v2/links/{code}/clicks`, `/tags` and `/links/{code}/qr`: what is counted of links, and how they are printed.

use std::{
    fs,
    process::{Command, Stdio},
};

use jiff::{ToSpan as _, Zoned};
use serde_json::{Value, json};

use crate::{
    api_v2::TARGET,
    harness::{CHROME, GOOGLEBOT, Home, IPHONE, Server},
};

fn today() -> jiff::civil::Date {
    Zoned::now().with_time_zone(jiff::tz::TimeZone::get("Asia/Singapore").expect("a zone")).date()
}

#[test]
fn clicks_are_told_by_day_hour_and_device_and_bots_apart() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    amy.creates(&json!({"target_url": TARGET, "code": "form"}));
    let before = today();
    for agent in [CHROME, CHROME, IPHONE, GOOGLEBOT] {
        assert!(server.get("/form").user_agent(agent).send().status < 400);
    }
    server.get("/form").user_agent(CHROME).header("Sec-Purpose", "prefetch").send();
    server.await_flushed();
    let clicks = amy.get("/links/form/clicks").assert_v2("clicks", 200);
    let after = today();
    assert_eq!([&clicks["total"], &clicks["bots"], &clicks["prefetches"]], [3, 1, 1], "{clicks}");
    assert_eq!(clicks["devices"], json!({"desktop": 2, "mobile": 1, "tablet": 0, "others": 0}));
    assert_eq!(clicks["timezone"], "Asia/Singapore");
    let daily = clicks["daily"].as_array().expect("days");
    assert_eq!(daily.len(), 7, "the last seven days: {clicks}");
    let of_day = |day: &Value| day["clicks"].as_u64().expect("a number");
    assert_eq!(daily.iter().map(of_day).sum::<u64>(), 3);
    if before == after {
        assert_eq!(daily[6], json!({"date": after.to_string(), "clicks": 3}));
    }
    let hours = clicks["weekday_hours"].as_array().expect("hours");
    assert_eq!(hours.iter().map(of_day).sum::<u64>(), 3, "{clicks}");
}

#[test]
fn a_range_of_days_has_every_one_of_them_and_mistakes_in_it_are_said() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    amy.creates(&json!({"target_url": TARGET, "code": "form"}));
    let days = |query: &str| amy.get(&format!("/links/form/clicks?{query}")).assert_v2(query, 200)["daily"].clone();
    let leap = days("from=2028-02-28&to=2028-03-01");
    assert_eq!(
        leap,
        json!([{"date": "2028-02-28", "clicks": 0}, {"date": "2028-02-29", "clicks": 0}, {"date": "2028-03-01", "clicks": 0}])
    );
    let today = today();
    let first = today.saturating_sub(3_652.days());
    assert_eq!(days(&format!("from={first}&to={today}")).as_array().map(Vec::len), Some(3_653));
    for (query, places) in [
        (format!("from={}&to={today}", first.saturating_sub(1.days())), &["from"][..]),
        ("from=2026-02-02&to=2026-02-01".to_owned(), &["from"]),
        ("from=2026-02-30&to=2026-2-1&of=x".to_owned(), &["from", "to", "of"]),
        ("from=2026-02-01T10:00:00".to_owned(), &["from"]),
    ] {
        amy.get(&format!("/links/form/clicks?{query}")).assert_mistakes(&query, places);
    }
}

#[test]
fn statistics_are_the_owners_and_need_their_scope() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    amy.creates(&json!({"target_url": TARGET, "code": "form", "tags": ["tax"]}));
    let ben = server.program("ben@agency.gov.sg");
    for path in ["/links/form/clicks", "/links/form/qr", "/links/none/clicks", "/links/NONE/qr"] {
        ben.get(path).assert_problem(path, 404, "not-found");
    }
    let reader = server.program_with_scopes("amy@agency.gov.sg", "links:read");
    for path in ["/links/form/clicks", "/tags"] {
        reader.get(path).assert_problem(path, 403, "forbidden");
    }
    assert_eq!(ben.get("/tags").assert_v2("tags", 200), json!({"items": []}));
}

#[test]
fn tags_are_summed_over_the_links_that_have_them_now() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    for (code, tags) in [("a", json!(["Tax", "gst"])), ("b", json!(["tax"])), ("c", json!([]))] {
        amy.creates(&json!({"target_url": TARGET, "code": code, "tags": tags}));
    }
    for code in ["a", "a", "b", "c"] {
        server.follow(code).assert_redirects(code, TARGET);
    }
    server.await_flushed();
    let sums = || amy.get("/tags").assert_v2("tags", 200)["items"].clone();
    assert_eq!(sums(), json!([{"tag": "gst", "links": 1, "clicks": 2}, {"tag": "tax", "links": 2, "clicks": 3}]));
    amy.changes("a", &json!({"tags": ["TAX"]}));
    assert_eq!(sums(), json!([{"tag": "tax", "links": 2, "clicks": 3}]));
    server.knows("ben@agency.gov.sg");
    amy.transfer("b", "ben@agency.gov.sg").assert_v2("transfer", 200);
    assert_eq!(sums(), json!([{"tag": "tax", "links": 1, "clicks": 2}]));
}

#[test]
fn a_qr_code_leads_to_the_short_link_whatever_it_looks_like() {
    let server = Home::new().set("public.base_url", "https://go.example").start();
    let amy = server.program("amy@agency.gov.sg");
    amy.creates(&json!({"target_url": TARGET, "code": "form"}));
    let folder = tempfile::tempdir().expect("a folder");
    for query in ["format=png", "format=png&size=200&margin=0&ecc=H&label=true", "format=png&size=2048&ecc=L&margin=32"]
    {
        let answer = amy.get(&format!("/links/form/qr?{query}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/png")), "{query}");
        let picture = folder.path().join("qr.png");
        fs::write(&picture, &answer.body).expect("a file");
        let read = Command::new("zbarimg").args(["-q", "--raw"]).arg(&picture).stderr(Stdio::null()).output();
        let read = read.expect("zbarimg runs: make test-all installs it").stdout;
        assert_eq!(String::from_utf8_lossy(&read).trim_end(), "https://go.example/form", "{query}");
    }
    let svg = amy.get("/links/form/qr");
    assert_eq!((svg.status, svg.header("content-type")), (200, Some("image/svg+xml")));
    assert!(svg.text().starts_with("<svg"), "{}", svg.text());
    for (query, places) in [
        ("format=gif&ecc=l&label=1", &["format", "ecc", "label"][..]),
        ("size=31", &["size"]),
        ("size=2049&margin=33&colour=red", &["size", "margin", "colour"]),
        ("logo=true", &["logo"]),
        ("format=png&size=32&margin=32", &["size"]),
    ] {
        amy.get(&format!("/links/form/qr?{query}")).assert_mistakes(query, places);
    }
}
