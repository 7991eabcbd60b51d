//! Requests that are made to get a long answer head, over the whole route table.
//!
//! A reverse proxy keeps an answer's head in one buffer, 4 kB in nginx by default. A longer one counts as a failed node there.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::json;

use super::{report, size};
use crate::{
    behind_nginx::{Nginx, home, started},
    console::Desk,
    harness::{CHROME, CURL, Random, Server},
    http::{Answer, Connection, Request, percent_encoded},
    load::{Pace, StopAtEnd},
    redis_server::RedisServer,
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

/// The bound on every answer's head.
const HEAD_BYTES_MAX: usize = 3_500;

/// The route table, read as text: a route that is added there is attacked here.
const ROUTES: &str = include_str!("../../../src/routes.rs");

/// Lengths around the bounds that apply: a cookie's path, `next`, a forwarded query, the head itself, nginx's buffer, actix's.
const LENGTHS: [usize; 8] = [200, 900, 1_200, 2_000, 2_900, 3_500, 4_100, 16_000];

/// Short links of every kind, and codes that nobody made.
const LINKS: [&str; 10] =
    ["/form", "/FORM", "/form+", "/plain", "/plain+", "/off", "/longest", "/longest+", "/never-made", "/.well-known/x"];

/// Every path of the public port, with values for its parameters, and every kind of short link.
fn paths() -> Vec<String> {
    let routed = ROUTES.split("paths: &[").skip(1).filter_map(|rest| rest.split(']').next());
    let routed = routed.flat_map(|paths| paths.split('"').skip(1).step_by(2));
    let mut paths: Vec<String> = routed
        .map(|path| {
            ["{code}", "{shortUrl}", "{name}", "{id}", "{secret}", "{rest:.*}"]
                .iter()
                .fold(path.to_owned(), |path, parameter| path.replace(parameter, "form"))
        })
        .collect();
    assert!(paths.len() > 50 && paths.iter().all(|path| path.starts_with('/') && !path.contains('{')), "{paths:?}");
    paths.extend(LINKS.map(str::to_owned));
    paths
}

/// Ways to write `length` bytes into a request to `path`: its target, and headers.
fn long_requests(path: &str, length: usize) -> Vec<(String, Vec<(&'static str, String)>)> {
    let many = |unit: &str| unit.repeat(length / unit.len());
    let mut requests: Vec<(String, Vec<(&'static str, String)>)> = [
        format!("{path}?{}", many("=")),
        format!("{path}?{}", many("a=b&")),
        format!("{path}?page-lang=ms&gclid={}", many("x")),
        format!("{path}?q={}", many("%E2%9C%93")),
        format!("{path}?next=/console/links%3F{}", many("%3D")),
        format!("{path}?next={}", many("/console/a")),
        format!("{path}{}", many(".")),
        format!("{path}{}?page-lang=ms&x={}", many("%2E"), many("y")),
        format!("{path}/{}", many("a")),
        format!("{path}/{}", many("%3d%0d")),
        format!("http://{}.example{path}?{}", many("host"), many("&x=y")),
    ]
    .map(|target| (target, Vec::new()))
    .into();
    for (name, value) in [
        ("Cookie", format!("lang={0}; seen=1; merlink={0}; __Host-merlink={0}", many("l"))),
        ("Cookie", many("a=b; ")),
        ("Accept-Language", many("ms-MY;q=0.5, ")),
        ("Accept-Encoding", many("gzip, ")),
        ("User-Agent", format!("{CHROME} {}", many("x"))),
        ("X-Request-Id", many("r")),
        ("X-Forwarded-For", many("9.9.9.9, ")),
        ("X-Forwarded-Host", many("evil.example")),
        ("traceparent", many("0")),
        ("Origin", format!("https://{}", many("o"))),
        ("Referer", format!("https://example.com/{}", many("r"))),
        ("Authorization", format!("Bearer {}", many("k"))),
        ("Idempotency-Key", many("i")),
        ("If-Match", many("\"1\", ")),
        ("Range", format!("bytes={}", many("0-1,"))),
        ("Host", format!("{}.example", many("h"))),
    ] {
        requests.push((format!("{path}?page-lang=ms"), vec![(name, value)]));
    }
    requests
}

/// A connection to one server that is opened again whenever the server has closed it.
struct Attacker<'s> {
    server: &'s Server,
    connection: Connection,
    asked: usize,
    longest: usize,
}

impl<'s> Attacker<'s> {
    fn of(server: &'s Server) -> Self {
        Self { server, connection: server.connect(), asked: 0, longest: 0 }
    }

    /// Sends a request, and holds its answer to the bound. `None`: the server closed the connection without an answer.
    #[track_caller]
    fn asks(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Option<Answer> {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if headers.iter().all(|(name, _)| *name != "Host") {
            head += "Host: go.agency.gov.sg\r\n";
        }
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").expect("writing to a String can't fail");
        }
        if !matches!(method, "GET" | "HEAD") {
            head += "Content-Length: 0\r\n";
        }
        self.connection.write(format!("{head}\r\n").as_bytes()).ok();
        let answer = self.connection.read_answer(method).ok();
        let is_over = answer.as_ref().is_none_or(|answer| answer.header("connection") == Some("close"));
        if is_over || answer.as_ref().is_some_and(|answer| matches!(answer.status, 400 | 408 | 431)) {
            self.connection = self.server.connect();
        }
        if let Some(answer) = &answer {
            let about: String = head.chars().take(300).collect();
            assert!(
                answer.head_bytes <= HEAD_BYTES_MAX && answer.status < 500,
                "{}, {} bytes of head to {about}\n{:.500}",
                answer.status,
                answer.head_bytes,
                format!("{:?}", answer.headers)
            );
            self.longest = self.longest.max(answer.head_bytes);
        }
        self.asked += 1;
        answer
    }
}

/// A server with links of every kind; answers the key of their owner, who is an administrator.
fn server_with_links() -> (Server, String) {
    let server = Server::with(&[("officers.admins", "amy@agency.gov.sg"), ("limits.misses_per_minute", "0")]);
    let amy = server.program_with_scopes("amy@agency.gov.sg", "links:read links:write admin");
    let longest = format!("https://www.example.com/{}", "a".repeat(2_082 - 24));
    for link in [
        json!({"code": "form", "target_url": TARGET, "forward_query": true}),
        json!({"code": "plain", "target_url": TARGET, "contact_email": "help@agency.gov.sg"}),
        json!({"code": "off", "target_url": TARGET}),
        json!({"code": "longest", "target_url": longest, "forward_query": true}),
        json!({"code": "c".repeat(255), "target_url": TARGET, "forward_query": true}),
    ] {
        assert_eq!(amy.post("/links", &link).status, 201, "{link}");
    }
    let off = amy.request("PATCH", "/links/off").json(&json!({"state": "inactive"})).send();
    assert_eq!(off.status, 200, "{}", off.text());
    let key = amy.key;
    (server, key)
}

#[test]
fn nothing_that_a_visitor_sends_makes_an_answers_head_longer_than_3500_bytes() {
    let (server, key) = server_with_links();
    let desk = Desk::of(&server, "amy@agency.gov.sg");
    let cookie: Vec<String> = desk.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (bearer, cookie) = (format!("Bearer {key}"), cookie.join("; "));
    let callers: [Vec<(&str, &str)>; 4] = [
        vec![("User-Agent", CURL)],
        vec![("User-Agent", CHROME), ("Accept-Encoding", "gzip")],
        vec![("Authorization", &bearer), ("X-Request-Id", "an-id-of-the-callers")],
        vec![("User-Agent", CHROME), ("Cookie", &cookie)],
    ];
    let (paths, random) = (paths(), Random::new());
    let mut attacker = Attacker::of(&server);
    let mut attack = |method: &str, path: &str, length: usize, caller: &[(&str, &str)]| {
        for (target, headers) in long_requests(path, length) {
            let own = headers.iter().map(|(name, value)| (*name, value.as_str()));
            let own: Vec<_> = own.collect();
            let others = caller.iter().filter(|(name, _)| own.iter().all(|(other, _)| other != name));
            let headers: Vec<_> = others.copied().chain(own.iter().copied()).collect();
            attacker.asks(method, &target, &headers);
        }
    };
    // Each path once, and short links at each length; then more by chance.
    for path in &paths {
        let caller = &callers[random.below(callers.len() as u64) as usize];
        attack("GET", path, 4_100, caller);
    }
    for (path, length) in LINKS.iter().flat_map(|path| LENGTHS.map(|length| (path, length))) {
        for caller in &callers[..2] {
            attack("GET", path, length, caller);
        }
    }
    for _ in 0..size(20, 6_000) {
        let method = ["GET", "GET", "GET", "HEAD", "POST", "PATCH", "PUT"][random.below(7) as usize];
        let path = &paths[random.below(paths.len() as u64) as usize];
        let length = LENGTHS[random.below(LENGTHS.len() as u64) as usize] + random.below(200) as usize;
        let caller = &callers[random.below(callers.len() as u64) as usize];
        attack(method, path, length, caller);
    }
    let (asked, longest) = (attacker.asked, attacker.longest);
    assert!(longest > HEAD_BYTES_MAX / 2, "the attack makes heads long: {longest} bytes of {asked} answers");
    report(
        "1 answer heads over the whole route table",
        "3,500 bytes",
        &format!("longest {longest} bytes of {asked} requests"),
    );
}

#[test]
fn two_requests_a_second_for_long_heads_fail_no_visit_behind_nginx() {
    let visits = size(50, 250);
    let redis = RedisServer::start();
    let nodes = [started(home(&redis)), started(home(&redis))];
    let nginx = Nginx::before([nodes[0].public_address(), nodes[1].public_address()]);
    let amy = nodes[0].program("amy@agency.gov.sg");
    let link = json!({"code": "form", "target_url": TARGET, "forward_query": true});
    assert_eq!(amy.post("/links", &link).status, 201);
    let get = |path: &str, agent: &str| Request::new(nginx.site, "GET", path).user_agent(agent).send();
    let attacks = [
        (format!("/form?gclid={}", "x".repeat(5_000)), CURL),
        (format!("/console/links?{}", "=".repeat(1_200)), CURL),
        (format!("/form{}", ".".repeat(3_900)), CHROME),
    ];
    let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failed = thread::scope(|scope| {
        let _stop = StopAtEnd(&over);
        scope.spawn(|| {
            let mut pace = Pace::new(Duration::from_millis(500));
            for (path, agent) in attacks.iter().cycle() {
                pace.keep();
                if over.load(Ordering::Relaxed) {
                    break;
                }
                // Both nodes get each.
                let answers = [get(path, agent), get(path, agent)];
                assert!(answers.iter().all(|answer| answer.status < 400), "{:?}", answers.map(|answer| answer.status));
                sent.fetch_add(2, Ordering::Relaxed);
            }
        });
        let mut pace = Pace::new(Duration::from_millis(50));
        let visit = |_: &usize| {
            pace.keep();
            get("/form", CURL).header("location") != Some(TARGET)
        };
        (0..visits).filter(visit).count()
    });
    let sent = sent.into_inner();
    report(
        "1 requests for long answer heads beside visits through nginx",
        "no visit fails",
        &format!("{failed} of {visits} visits failed beside {sent} such requests"),
    );
    assert_eq!(failed, 0);
}

#[test]
fn a_query_that_is_too_long_to_forward_is_dropped_and_the_visit_works() {
    let (server, _) = server_with_links();
    let shortened = |part: &str| server.metrics().with("merlink_answer_heads_shortened_total", &[("part", part)]);
    let honest = format!("gclid={}&fbclid={}&utm_source=letter", "g".repeat(600), "f".repeat(600));
    let forwarded = |code: &str, query: &str| server.get(&format!("/{code}?{query}")).user_agent(CURL).send();
    forwarded("form", &honest).assert_redirects("campaign parameters", &format!("{TARGET}?{honest}"));
    assert_eq!(shortened("query"), 0.0);
    let fits = "x".repeat(3_000 - TARGET.len() - "?".len());
    forwarded("form", &fits).assert_redirects("the longest query that fits", &format!("{TARGET}?{fits}"));
    for (too_long, count) in [(format!("{fits}x"), 1.0), ("x".repeat(6_000), 2.0)] {
        forwarded("form", &too_long).assert_redirects("too long a query", TARGET);
        assert_eq!(shortened("query"), count);
    }
    // The page that is shown first leads to the same place.
    let page = server.get(&format!("/form?{fits}x")).user_agent(CHROME).send();
    page.assert_page("with too long a query", 200);
    assert!(page.text().contains(&format!("href=\"{TARGET}\"")) && !page.text().contains("xxxx"), "{}", page.text());
}

#[test]
fn a_path_that_is_too_long_for_a_cookie_gets_no_cookie_of_its_own() {
    let (server, _) = server_with_links();
    let cookies = |path: &str| -> Vec<String> {
        let answer = server.get(path).user_agent(CHROME).send();
        answer.assert_page(path, 200);
        answer.headers.into_iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value).collect()
    };
    let shortened = || server.metrics().with("merlink_answer_heads_shortened_total", &[("part", "cookie")]);
    let fits = format!("/form{}", ".".repeat(1_024 - "/form".len()));
    assert!(cookies(&fits)[1].contains(&format!("; Path={fits};")), "1,024 bytes: browsers take no longer path");
    assert_eq!(shortened(), 0.0);
    for (too_long, count) in [(format!("{fits}."), 1.0), (format!("/form{}", ".".repeat(3_900)), 2.0)] {
        let cookies = cookies(&too_long);
        assert!(cookies.len() == 1 && cookies[0].contains("; Path=/form;"), "{cookies:?}");
        assert_eq!(shortened(), count);
    }
}

#[test]
fn a_page_whose_address_is_too_long_to_come_back_to_leads_to_a_plain_login() {
    let (server, _) = server_with_links();
    let led_to = |path: &str| {
        let answer = server.get(path).send();
        (answer.status, answer.header("location").unwrap_or_default().to_owned())
    };
    let shortened = || server.metrics().with("merlink_answer_heads_shortened_total", &[("part", "next")]);
    let (status, location) = led_to("/console/links?q=tax");
    assert_eq!((status, &*location), (303, "/console/login?next=/console/links%3Fq%3Dtax"));
    assert_eq!(shortened(), 0.0);
    for (query, count) in [("=".repeat(1_200), 1.0), ("q=a&".repeat(2_000), 2.0)] {
        assert_eq!(led_to(&format!("/console/links?{query}")), (303, "/console/login".to_owned()));
        assert_eq!(shortened(), count);
    }
}

#[test]
fn a_list_whose_next_page_has_too_long_an_address_names_it_in_its_body_only() {
    let server = Server::with(&[("public.base_url", &format!("https://{}.gov.sg", ["go"; 60].join(".")))]);
    let program = server.program("amy@agency.gov.sg");
    let tags: Vec<String> = (0..10).map(|number| format!("tag-number-{number:0>14}")).collect();
    let description = "𝄞".repeat(200);
    for number in 0..2 {
        let code = format!("{number}-{}", "c".repeat(250));
        let link = json!({"code": code, "target_url": TARGET, "tags": tags, "description": description});
        assert_eq!(program.post("/links", &link).status, 201);
    }
    let by_tag = format!("&tag={}", tags.join("&tag="));
    let short = program.get(&format!("/links?limit=1{by_tag}"));
    assert!(short.header("link").is_some_and(|link| link.contains("rel=\"next\"")), "{:?}", short.headers);
    let long = program.request("GET", &format!("/links?limit=1&q={}{by_tag}", percent_encoded(&description))).send();
    assert_eq!((long.status, long.header("link")), (200, None), "{}", long.text());
    assert!(long.json()["next_cursor"].is_string(), "{}", long.text());
    assert_eq!(server.metrics().with("merlink_answer_heads_shortened_total", &[("part", "link")]), 1.0);
}

#[test]
fn a_target_in_redis_that_is_too_long_for_a_head_is_not_sent() {
    let (server, _) = server_with_links();
    server.expect_log("what merlink didn't write");
    redis::cmd("HSET")
        .arg("l:{plain}")
        .arg("t")
        .arg(format!("https://www.example.com/{}", "a".repeat(6_000)))
        .exec(&mut server.redis())
        .expect("Redis takes the field");
    for agent in [CURL, CHROME] {
        let answer = server.get("/plain").user_agent(agent).send();
        assert_eq!(answer.status, 503);
        assert!(answer.head_bytes <= HEAD_BYTES_MAX);
    }
}
