//! Limits that protect the service: unknown codes per address, API requests per key.

use std::time::Instant;

use serde_json::json;

use crate::harness::{CHROME, CURL, Server};

#[test]
fn who_asks_for_many_unknown_codes_is_told_to_wait_and_known_links_go_on() {
    let server = Server::with(&[("limits.misses_per_minute", "5")]);
    server.officer("amy@agency.gov.sg").creates("form", "https://example.com/form");
    let statuses: Vec<u16> = (0..12).map(|number| server.follow(&format!("guess-{number}")).status).collect();
    assert_eq!(statuses[..5], [404; 5], "within the limit: {statuses:?}");
    assert_eq!(statuses.last(), Some(&429), "beyond it: {statuses:?}");
    let limited = server.follow("guess-again");
    assert_eq!(limited.status, 429);
    limited.assert_retry_after("unknown codes", 60);
    assert!(limited.header("content-type").is_some_and(|kind| kind.starts_with("text/")), "{:?}", limited.headers);

    for _ in 0..3 {
        server.follow("form").assert_redirects("a known link", "https://example.com/form");
        server.get("/form").user_agent(CHROME).send().assert_page("a known link in a browser", 200);
        server.get("/form+").user_agent(CURL).send().assert_page("its preview", 200);
    }
    let metrics = server.metrics();
    let limited = metrics.with("merlink_redirects_total", &[("outcome", "limited")]);
    let not_found = metrics.with("merlink_redirects_total", &[("outcome", "not_found")]);
    assert!(limited >= 2.0 && not_found >= 5.0, "limited {limited}, not found {not_found}");
    assert_eq!(limited + not_found, 13.0, "each is one or the other");
}

#[test]
fn addresses_behind_a_trusted_proxy_are_limited_each_for_itself() {
    let server =
        Server::with(&[("limits.misses_per_minute", "3"), ("public.trusted_proxies", "127.0.0.0/8,10.0.0.0/8")]);
    let guess = |forwarded_for: &str| {
        server.get("/guess").header("X-Forwarded-For", forwarded_for).user_agent(CURL).send().status
    };
    for _ in 0..10 {
        guess("203.0.113.1");
    }
    assert_eq!(guess("203.0.113.1"), 429, "has guessed too often");
    assert_eq!(guess("203.0.113.2"), 404, "another address");
    assert_eq!(guess("198.51.100.9, 203.0.113.1"), 429, "what the client claims in front doesn't help");
    assert_eq!(guess("198.51.100.9, 203.0.113.1, 10.1.2.3"), 429, "trusted proxies in between are passed over");
    assert_eq!(guess("203.0.113.3, 10.1.2.3"), 404, "and the address before them counts");
}

#[test]
fn without_trusted_proxies_a_forwarded_address_is_not_believed() {
    let server = Server::with(&[("limits.misses_per_minute", "3")]);
    let statuses: Vec<u16> = (0..10)
        .map(|number| {
            let claimed = format!("203.0.113.{number}");
            server.get("/guess").header("X-Forwarded-For", claimed).user_agent(CURL).send().status
        })
        .collect();
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
}

#[test]
fn a_key_over_its_limit_is_told_to_wait_and_other_keys_go_on() {
    let server = Server::with(&[("limits.api_per_minute", "4")]);
    let amy = server.officer("amy@agency.gov.sg");
    let spare = server.officer("amy@agency.gov.sg");
    let answers: Vec<_> = (0..10).map(|_| amy.list("limit=1")).collect();
    for answer in &answers[..4] {
        answer.assert_v1_status("within the limit", 200);
    }
    let message = json!({"message": "Too many requests, please try again later."});
    let limited = answers.last().expect("ten were asked");
    limited.assert_v1("beyond it", 429, &message);
    limited.assert_retry_after("beyond it", 60);
    let create = amy.create(&json!({"shortUrl": "form", "longUrl": "https://example.com"}));
    create.assert_v1("creating counts too", 429, &message);
    spare.list("").assert_v1("another key", 200, &json!({"urls": [], "count": 0}));
    assert_eq!(server.follow("form").status, 404, "nothing was created");
}

#[test]
fn who_guesses_costs_redis_next_to_nothing() {
    const GUESSES: usize = 3_000;
    let server = Server::with(&[("limits.misses_per_minute", "60"), ("public.trusted_proxies", "127.0.0.0/8")]);
    let amy = server.officer("amy@agency.gov.sg");
    for number in 0..50 {
        amy.creates(&format!("form-{number}"), "https://example.com/form");
    }
    let before = lookups(&server);
    let started = Instant::now();
    let mut guesser = server.connect();
    for number in 0..GUESSES {
        guesser.write(&server.get(&format!("/guess-{number}")).user_agent(CURL).bytes()).expect("sends");
        let status = guesser.read_answer("GET").expect("is answered").status;
        assert!([404, 429].contains(&status), "{status}");
    }
    // Its own 60 a minute, and what there is for all who have none left: a hundred, and a hundred each second.
    let seconds = 1.0 + started.elapsed().as_secs_f64();
    let cost = lookups(&server) - before;
    assert!(cost <= 60.0 + seconds + 100.0 + 100.0 * seconds, "{GUESSES} guesses cost {cost} look-ups in {seconds} s");

    // Others' links are found as ever.
    for number in 0..50 {
        let visit = server.get(&format!("/form-{number}")).header("X-Forwarded-For", "203.0.113.7").user_agent(CURL);
        visit.send().assert_redirects("for somebody else", "https://example.com/form");
    }
}

/// How often the server has asked its Redis about a code.
fn lookups(server: &Server) -> f64 {
    server.metrics().with("merlink_redis_command_duration_seconds_count", &[("operation", "resolve")])
}
