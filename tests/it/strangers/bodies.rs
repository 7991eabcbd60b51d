//! Memory and disk that requests without a login, or with one key, may take.

use serde_json::json;

use super::{report, size};
use crate::{
    console::Desk,
    harness::{Home, Server, eventually},
    http::Connection,
};

const TARGET: &str = "https://example.com/form";

/// Begins bodies that never end, from one address: half of them login forms, half calls of API v1 without a key.
fn unfinished_bodies(server: &Server, count: usize, bytes: usize) -> Vec<Connection> {
    let begin = |index: usize| {
        let (path, kind) = match index % 2 {
            0 => ("/console/login", "application/x-www-form-urlencoded"),
            _ => ("/api/v1/urls", "application/json"),
        };
        let mut connection = server.connect();
        let length = bytes + 100;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        // Whoever is refused at once may find the connection closed.
        connection.write(&[head.as_bytes(), &vec![b'x'; bytes]].concat()).ok();
        connection
    };
    (0..count).map(begin).collect()
}

/// Logs in and creates links, from another address, by each way in. Answers how many requests were refused for lack of room.
fn officers_at_work(server: &Server, key: &str, desk: &mut Desk) -> usize {
    let login = server.get("/console/login").header("X-Forwarded-For", "198.51.100.7").send();
    assert_eq!(login.status, 200, "a page has no body to be refused");
    let v1 = server.request("POST", "/api/v1/urls").key(key).json(&json!({"longUrl": TARGET})).send();
    let v2 = server.request("POST", "/api/v2/links").key(key).json(&json!({"target_url": TARGET})).send();
    desk.opens("/console/login");
    let form = desk.sends("/console/login", &[("email", "ben@agency.gov.sg")]);
    [v1, v2, form].iter().filter(|answer| [429, 503].contains(&answer.status)).count()
}

#[test]
fn bodies_of_strangers_leave_officers_their_room() {
    let full = size(0, 1) == 1;
    let (budget, count) = if full { ("64MiB", 1_400) } else { ("8MiB", 200) };
    let home = Home::new().set("overload.body_bytes_max", budget).set("public.trusted_proxies", "127.0.0.0/8");
    let server = home.start();
    let amy = server.officer("amy@agency.gov.sg");
    let mut desk = Desk::at(&server);
    for bytes in [50_000, 4_000] {
        let attackers = unfinished_bodies(&server, count, bytes);
        let (mut refused, mut largest) = (0, 0.0_f64);
        for _ in 0..10 {
            refused += officers_at_work(&server, &amy.key, &mut desk);
            largest = largest.max(server.metrics().sum("merlink_body_bytes"));
        }
        let bound = if full { 1024 * 1024 } else { 128 * 1024 };
        let attack = format!("4 {count} unfinished bodies of {bytes} bytes without a login, from one address");
        report(&attack, "0 of 30 officers' requests refused", &format!("{refused} refused"));
        assert_eq!(refused, 0, "{attack}");
        report(&attack, &format!("{bound} bytes of memory"), &format!("{largest} bytes"));
        assert!(largest <= f64::from(bound), "{attack}: {largest} bytes");
        drop(attackers);
        eventually("their memory is free again", || (server.metrics().sum("merlink_body_bytes") == 0.0).then_some(()));
    }
    assert_eq!(server.metrics().sum("merlink_requests_shed_total"), 0.0);
}

#[test]
fn a_batch_of_nothing_but_mistakes_gets_a_short_answer_that_takes_little_to_keep() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let rows = size(100, 1_000);
    let row: serde_json::Map<String, serde_json::Value> =
        (0..560).map(|number| (format!("u{number}"), json!(1))).collect();
    let batch = serde_json::Value::Array(vec![row.into(); rows]);
    let request =
        || server.request("POST", "/api/v2/batch").key(&amy.key).header("Idempotency-Key", "bomb").json(&batch);
    let answer = request().send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut redis = server.redis();
    let mut bytes_of = |pattern: &str| -> usize {
        let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query(&mut redis).expect("Redis answers");
        keys.iter().map(|key| redis::cmd("STRLEN").arg(key).query::<usize>(&mut redis).expect("Redis answers")).sum()
    };
    let kept = bytes_of("idempotency:{*");
    let attack = format!("5 a batch of {rows} rows with 561 mistakes each and an Idempotency-Key");
    report(&attack, "an answer of 1 MB", &format!("{} bytes", answer.body.len()));
    assert!(answer.body.len() <= 1_000_000, "{attack}: {} bytes", answer.body.len());
    report(&attack, "100 kB kept in Redis", &format!("{kept} bytes"));
    assert!(kept <= 100_000, "{attack}: {kept} bytes");
    let replayed = request().send();
    assert_eq!(replayed.header("idempotency-replayed"), Some("true"));
    assert_eq!(replayed.body, answer.body, "and is replayed to the byte");
}

#[test]
fn one_object_of_nothing_but_mistakes_gets_a_short_answer() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let fields: Vec<String> = (0..10_000).map(|number| format!("\"{number}\":1")).collect();
    let many = format!("{{{}}}", fields.join(","));
    let long = format!("{{\"{}\":1,\"tags\":[\"{}\"]}}", "~".repeat(90_000), "x".repeat(9_000));
    let mut longest = 0;
    for body in [many, long] {
        let answer = server.request("POST", "/api/v2/links").key(&amy.key).body("application/json", &body).send();
        answer.assert_problem("mistakes", 422, "validation");
        longest = longest.max(answer.body.len());
    }
    let query = "x=1&".repeat(1_000);
    let answer = server.get(&format!("/api/v2/links?{query}")).key(&amy.key).send();
    answer.assert_problem("parameters", 422, "validation");
    longest = longest.max(answer.body.len());
    report("5 100 kB of mistakes in one request", "an answer of 20 kB", &format!("{longest} bytes"));
    assert!(longest <= 20_000, "{longest} bytes");
}

#[test]
fn failed_logins_write_few_lines_to_the_audit_file_and_all_are_counted() {
    let home = Home::new();
    let file = home.path().join("audit.ndjson");
    let server = home.set("audit.file", file.to_str().expect("UTF-8")).start();
    let mut desk = Desk::at(&server);
    desk.opens("/console/login");
    let attempts = size(300, 20_000);
    for number in 0..attempts {
        // Wrong passwords for one officer and for as many invented ones, and addresses that nobody may log in with.
        let (path, email) = match number % 3 {
            0 => ("/console/login/password", "amy@agency.gov.sg".to_owned()),
            1 => ("/console/login/password", format!("invented{number}@agency.gov.sg")),
            _ => ("/console/login", format!("stranger{number}@elsewhere.example")),
        };
        let form = desk.form(path, &desk.token, &[("email", &email), ("password", "123456")]);
        form.send();
    }
    let failures = server.metrics();
    let failed: f64 = ["wrong_otp", "not_an_officer"]
        .iter()
        .map(|kind| failures.with("merlink_auth_failures_total", &[("kind", kind)]))
        .sum();
    assert_eq!(failed, attempts as f64);
    assert_eq!(server.end_by(rustix::process::Signal::TERM), Some(0));
    let text = std::fs::read_to_string(&file).expect("the audit file is there");
    let entries: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let counted: u64 = entries.iter().map(|entry| entry["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!(counted, attempts as u64, "each failure is in a line or in a count");
    // A minute has 62 lines at most here; the attack may touch two, and at full size more.
    let minutes = 2 + attempts / 5_000;
    let (lines, bound) = (entries.len(), 62 * minutes);
    let attack = format!("6 {attempts} failed logins for an officer, invented officers and others");
    report(&attack, &format!("{bound} lines in the audit file"), &format!("{lines} lines, {} bytes", text.len()));
    assert!(lines <= bound, "{attack}: {lines} lines");
}
