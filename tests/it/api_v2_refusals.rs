//! How API v2 says no: problem documents for everything, limits, and what it does while Redis is away.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    api_v2::TARGET,
    harness::{Home, Server, eventually},
    redis_server::RedisServer,
};

/// Every address, with the methods that it takes.
const ADDRESSES: [(&str, &str); 9] = [
    ("/links", "GET, HEAD, POST"),
    ("/links/form", "GET, HEAD, PATCH"),
    ("/links/form/transfer", "POST"),
    ("/links/form/history", "GET, HEAD"),
    ("/keys", "GET, HEAD, POST"),
    ("/keys/abc", "DELETE"),
    ("/me", "GET, HEAD"),
    ("/openapi.json", "GET, HEAD"),
    ("/none", ""),
];

#[test]
fn a_method_that_an_address_doesnt_take_is_refused_with_those_that_it_does() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    for (path, allow) in ADDRESSES {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
            if allow.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let about = format!("{method} {path}");
            let answer = amy.request(method, path).send().conventional(&about);
            if allow.is_empty() {
                assert_eq!(answer.status, 404, "{about}");
                continue;
            }
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{about}");
            if method != "HEAD" {
                answer.assert_problem(&about, 405, "method-not-allowed");
            }
        }
    }
}

#[test]
fn what_isnt_there_is_a_problem_too() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    for path in [
        "",
        "/",
        "/none",
        "/links/",
        "/links/a/b",
        "/links/a/history/1",
        "/keys/a/b",
        "/link%00",
        "//links",
        "/LINKS",
        "/me/",
        "/%FF",
    ] {
        amy.get(path).assert_problem(path, 404, "not-found");
        let stranger = server.get(&format!("/api/v2{path}")).send().conventional(path);
        stranger.assert_problem(path, 404, "not-found");
    }
}

#[test]
fn without_a_good_key_nothing_is_told() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    amy.creates(&json!({"target_url": TARGET, "code": "form"}));
    let (head, last) = amy.key.split_at(amy.key.len() - 1);
    let other_last = if last == "a" { "b" } else { "a" };
    let unknown = format!("mlk_{}_{}", "a".repeat(12), "b".repeat(43));
    for header in [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(amy.key.clone()),
        Some(format!("Basic {}", amy.key)),
        Some(format!("bearer {}", amy.key)),
        Some(format!("Bearer  {}", amy.key)),
        Some(format!("Bearer {head}{other_last}")),
        Some(format!("Bearer {head}")),
        Some(format!("Bearer {unknown}")),
        Some("Bearer \u{7a0e}".to_owned()),
    ] {
        for (path, allow) in ADDRESSES {
            let method = allow.split(", ").next().unwrap_or_default();
            if path == "/openapi.json" || method.is_empty() {
                continue;
            }
            let request = server.request(method, format!("/api/v2{path}"));
            let request = header.iter().fold(request, |request, header| request.header("Authorization", header));
            let about = format!("{method} {path} with {header:?}");
            let answer = request.json(&json!({"target_url": TARGET})).send().conventional(&about);
            answer.assert_problem(&about, 401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{about}");
            assert_eq!(answer.header("ratelimit-limit"), None, "{about}");
        }
    }
}

#[test]
fn a_body_must_be_json_and_say_so() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let good = json!({"target_url": TARGET}).to_string();
    for body in ["", "{", "{\"target_url\":}", "nonsense", "{} {}", "{\"a\":\"\\ud800\"}", "\u{feff}{}"] {
        let answer = amy.request("POST", "/links").body("application/json", body).send().conventional(body);
        answer.assert_problem(body, 400, "malformed");
    }
    let not_utf8 = amy.request("POST", "/links").body("application/json", b"{\"target_url\":\"\xff\"}").send();
    not_utf8.conventional("not UTF-8").assert_problem("not UTF-8", 400, "malformed");
    let deep = "[".repeat(50_000);
    let answer = amy.request("POST", "/links").body("application/json", &deep).send().conventional("deep");
    answer.assert_problem("50,000 lists in one another", 400, "malformed");
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", "", "text/csv"]
    {
        let answer = amy.request("POST", "/links").body(kind, &good).send().conventional(kind);
        answer.assert_problem(kind, 415, "unsupported-media-type");
    }
    let untyped = amy.request("POST", "/links").untyped_body(&good).send().conventional("untyped");
    untyped.assert_problem("no type", 415, "unsupported-media-type");
    for kind in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
        amy.request("POST", "/links").body(kind, &good).send().conventional(kind).assert_v2(kind, 201);
    }
}

#[test]
fn a_body_over_its_limit_is_refused_and_its_sender_hears_so() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let body = |length: usize| {
        let bare = json!({"target_url": TARGET}).to_string();
        bare.clone() + &" ".repeat(length - bare.len())
    };
    for (length, status) in [(102_399, 201), (102_400, 201), (102_401, 413), (1_000_000, 413), (8_000_000, 413)] {
        let answer = amy.request("POST", "/links").body("application/json", body(length)).send();
        let answer = answer.conventional(&format!("{length} bytes"));
        assert_eq!(answer.status, status, "{length} bytes: {}", answer.text());
        if status == 413 {
            answer.assert_problem("too large", 413, "body-too-large");
        }
    }
    // What is announced needn't come first.
    for announced in ["102401", "999999999999"] {
        let head = amy.request("POST", "/links").header("Content-Length", announced);
        let mut slow = server.connect();
        slow.write(&head.header("Content-Type", "application/json").bytes()).expect("sends");
        slow.write(b"{\"target_url\":").expect("sends");
        let answer = slow.read_answer("POST").expect("is answered").conventional(announced);
        answer.assert_problem(announced, 413, "body-too-large");
    }
}

#[test]
fn a_body_that_doesnt_come_is_not_waited_for() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let head = amy.request("POST", "/links").header("Content-Length", "100").header("Content-Type", "application/json");
    let started = Instant::now();
    let mut slow = server.connect();
    slow.write(&head.bytes()).expect("sends");
    slow.write(b"{\"target_url\":").expect("sends");
    let answer = slow.read_answer("POST").expect("is answered").conventional("slow");
    answer.assert_problem("a body that stops", 408, "body-timeout");
    assert!(started.elapsed() >= Duration::from_secs(4), "it was given time");
}

#[test]
fn every_answer_to_a_key_says_what_is_left_of_its_minute() {
    let server = Server::with(&[("limits.api_per_minute", "5")]);
    let amy = server.program("amy@agency.gov.sg");
    let count = |answer: &crate::http::Answer, name: &str| {
        let text = answer.header(name).unwrap_or_else(|| panic!("{name} in {:?}", answer.headers));
        text.parse::<u64>().unwrap_or_else(|_| panic!("{name}: {text}"))
    };
    let mut limited = None;
    for (method, path) in
        [("GET", "/me"), ("GET", "/links/none"), ("POST", "/links"), ("PUT", "/links"), ("GET", "/nowhere")].repeat(3)
    {
        let answer = amy.request(method, path).send().conventional(path);
        let left = count(&answer, "ratelimit-remaining");
        assert_eq!(count(&answer, "ratelimit-limit"), 5);
        assert!((1..=60).contains(&count(&answer, "ratelimit-reset")));
        if answer.status == 429 {
            assert_eq!(left, 0);
            answer.assert_problem("too many", 429, "rate-limited");
            answer.assert_retry_after("too many", 12);
            limited = Some(answer);
            break;
        }
        assert!(left < 5, "this one is taken from the five: {left}");
    }
    assert!(limited.is_some(), "fifteen are too many");
    server.program("amy@agency.gov.sg").get("/me").assert_v2("another key", 200);
    let free = Server::start();
    assert_eq!(free.program("amy@agency.gov.sg").get("/me").header("ratelimit-limit"), None, "there is no limit");
}

#[test]
fn a_requests_id_is_taken_over_when_it_is_harmless() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    for id in ["abc", "01J-9:x_y.z", &"i".repeat(128)] {
        for path in ["/me", "/none", "/links/none"] {
            let answer = amy.request("GET", path).header("X-Request-Id", id).send().conventional(path);
            assert_eq!(answer.header("x-request-id"), Some(id), "{path}");
        }
    }
    let mut made = std::collections::HashSet::new();
    for id in ["", "a b", "a\tb", "<b>", "é", &"i".repeat(129)] {
        let answer = amy.request("GET", "/none").header("X-Request-Id", id).send().conventional(id);
        assert!(made.insert(answer.header("x-request-id").map(str::to_owned)), "a new one: {made:?}");
    }
    amy.request("GET", "/me").header("X-Request-Id", "find-me").send();
    let line = eventually("it is logged", || server.log().into_iter().find(|line| line.contains("find-me")));
    assert!(!line.contains("mlk_") && !line.contains("amy@"), "{line}");
}

#[test]
fn while_redis_is_away_everything_is_unavailable_and_nothing_a_wrong_key() {
    let mut redis = RedisServer::start();
    let server = Home::new().set("redis.url", redis.url()).start();
    for about in ["Redis", "clicks"] {
        server.expect_log(about);
    }
    let amy = server.program("amy@agency.gov.sg");
    amy.creates(&json!({"target_url": TARGET, "code": "form"}));
    redis.kill();
    for (path, allow) in ADDRESSES {
        let method = allow.split(", ").next().unwrap_or_default();
        if path == "/openapi.json" || method.is_empty() {
            continue;
        }
        let about = format!("{method} {path}");
        let request = amy.request(method, path).json(&json!({"target_url": TARGET})).header("Idempotency-Key", "one");
        request.send().conventional(&about).assert_problem(&about, 503, "unavailable");
    }
    amy.get("/none").assert_problem("what isn't there isn't there", 404, "not-found");
    let page = server.get("/problems/unavailable").send();
    for words in ["known yet", "take effect", "same Idempotency-Key", "same If-Match"] {
        assert!(page.text().contains(words), "the page says what to do, which needs no store: {words}");
    }
    redis.start_again();
    server.await_ready();
    assert_eq!(amy.link("form")["code"], "form");
    let request = amy.request("POST", "/links").json(&json!({"target_url": TARGET})).header("Idempotency-Key", "one");
    request.send().conventional("again").assert_v2("the same request once Redis is back", 201);
}

#[test]
fn head_answers_as_get_without_the_body() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    amy.creates(&json!({"target_url": TARGET, "code": "form"}));
    for path in ["/links", "/links/form", "/links/none", "/links/form/history", "/keys", "/me", "/openapi.json"] {
        let (get, head) = (amy.get(path), amy.request("HEAD", path).send().conventional(path));
        assert_eq!((head.status, head.header("etag"), head.body.len()), (get.status, get.header("etag"), 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}
