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
