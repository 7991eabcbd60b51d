//! Following a link: the 302 and the pages that stand in its place.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::{
    harness::{CURL, Server, eventually},
    http::attributes,
};

#[test]
fn an_active_link_answers_302_with_the_target_byte_for_byte() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let longest = format!("https://example.com/{}", "a".repeat(2082 - "https://example.com/".len()));
    let targets = [
        ("no-slash", "https://example.com"),
        ("slash", "https://example.com/"),
        ("query", "https://www.iras.gov.sg/taxes?year=2026&lang=en#top"),
        ("no-path", "https://example.com?a=1"),
        ("escapes", "https://example.com/%c3%A9%20x?q=%2f+%22"),
        ("marks", "https://example.com/it's;(a)*,b!/~c$&=@:"),
        ("port", "https://example.com:8443/x"),
        ("doubled", "https://example.com//a//b?x=https://other.example.org/"),
        ("longest", &longest),
    ];
    for (code, target) in targets {
        assert_eq!(amy.creates(code, target)["longUrl"], target, "{code}: answered as written");
    }
    for (code, target) in targets {
        let answer = server.follow(code);
        answer.assert_redirects(code, target);
        assert_eq!(answer.header("content-length"), Some("0"), "{code}: Content-Length");
        assert_eq!(answer.header("content-type"), None, "{code}: an empty body has no type");
    }
}

#[test]
fn a_target_that_parses_to_something_else_is_stored_as_parsed() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    for (code, written, stored) in [
        ("host-case", "https://WWW.Example.COM/A", "https://www.example.com/A"),
        ("default-port", "https://example.com:443/x", "https://example.com/x"),
        ("dots", "https://example.com/a/../b/./c", "https://example.com/b/c"),
        ("accents", "https://example.com/é?ü", "https://example.com/%C3%A9?%C3%BC"),
        ("quote", "https://example.com/a?b=\"c\"", "https://example.com/a?b=%22c%22"),
    ] {
        assert_eq!(amy.creates(code, written)["longUrl"], stored, "{code}");
        server.follow(code).assert_redirects(code, stored);
    }
}

#[test]
fn a_code_is_found_regardless_of_case_and_of_what_is_glued_to_its_end() {
    let server = Server::start();
    let target = "https://www.iras.gov.sg/taxes";
    server.officer("amy@agency.gov.sg").creates("iras-tax", target);
    for case in ["iras-tax", "IRAS-TAX", "Iras-Tax", "iRAS-tAX"] {
        server.follow(case).assert_redirects(case, target);
    }
    for glued in [".", ",", ";", ":", "!", "?", ")", "]", "'", "\""] {
        let encoded = format!("%{:02X}", glued.as_bytes()[0]);
        for end in [glued.to_owned(), encoded.clone(), encoded.to_lowercase(), glued.repeat(3), encoded.repeat(3)] {
            let path = format!("Iras-tax{end}");
            server.follow(&path).assert_redirects(&path, target);
        }
    }
    for end in ["/", ").", "%29%2E", "!?", ".%22", "/?utm=1", ".?utm=1", ")/", "/."] {
        let path = format!("iras-tax{end}");
        server.follow(&path).assert_redirects(&path, target);
    }
    for path in ["iras-tax//", "iras-tax/more", "iras-tax/./x", "iras_tax", "iras-tax.html", "iras%20tax", "iras-tax~"]
    {
        let answer = server.follow(path);
        answer.assert_page(path, 404);
    }
}

#[test]
fn the_visits_query_is_dropped_unless_the_link_forwards_it() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("keeps", "https://example.com/p?a=1#top");
    server.follow("keeps?a=2&b=3").assert_redirects("dropped", "https://example.com/p?a=1#top");

    // Target, then the visit's query and where it leads.
    let plain = "https://example.com/p";
    let with_query = "https://example.com/p?a=1";
    let with_fragment = "https://example.com/p?a=1#top";
    for (number, (target, query, expected)) in [
        (plain, "?b=3", "https://example.com/p?b=3"),
        (plain, "", plain),
        (with_query, "?b=3", "https://example.com/p?a=1&b=3"),
        (with_query, "?a=2", with_query),
        (with_query, "?a=2&b=3", "https://example.com/p?a=1&b=3"),
        (with_fragment, "?b=3&c=4", "https://example.com/p?a=1&b=3&c=4#top"),
        ("https://example.com/p#top", "?b=3", "https://example.com/p?b=3#top"),
    ]
    .into_iter()
    .enumerate()
    {
        let code = format!("forwards-{number}");
        amy.creates(&code, target);
        server.set_link_field(&code, "q", 1);
        let about = format!("{target} visited with {query:?}");
        server.follow(&format!("{code}{query}")).assert_redirects(&about, expected);
    }
}

#[test]
fn a_forwarded_query_cannot_leave_the_query() {
    let server = Server::start();
    server.officer("amy@agency.gov.sg").creates("form", "https://example.com/p#top");
    server.set_link_field("form", "q", 1);
    for query in ["?b=%0d%0aSet-Cookie:%20x=1", "?b=%23other", "?b=%00", "?b=%3Cscript%3E", "?b='%22", "?%ff=%fe"] {
        let answer = server.follow(&format!("form{query}"));
        assert_eq!(answer.status, 302, "{query}");
        let location = answer.header("location").expect("a 302 has a Location");
        assert!(location.starts_with("https://example.com/p?"), "{query}: {location}");
        assert!(location.ends_with("#top"), "{query}: {location}");
        assert_eq!(location.matches('#').count(), 1, "{query}: {location}");
        assert_eq!(answer.header("set-cookie"), None, "{query}");
    }
}

#[test]
fn head_answers_as_get_without_a_body() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("live", "https://example.com/live");
    amy.creates("ended", "https://example.com/ended");
    amy.switches("ended", "INACTIVE");
    let not_yet_asked_for = (0..5).map(|number| format!("/never-made-{number}"));
    for path in ["/live", "/ended", "/live+", "/"].map(str::to_owned).into_iter().chain(not_yet_asked_for) {
        let path = path.as_str();
        // Both on one connection: a body after the HEAD's head would be read as the next answer's first line.
        let mut connection = server.connect();
        let head = server.request("HEAD", path).user_agent(CURL);
        connection.write(&[head.bytes(), server.get(path).user_agent(CURL).bytes()].concat()).expect("sends");
        let head = connection.read_answer("HEAD").unwrap_or_else(|error| panic!("HEAD {path}: {error}"));
        let next = connection.read_answer("GET").unwrap_or_else(|error| panic!("after HEAD {path}: {error}"));
        assert_eq!(head.status, next.status, "{path}");
        for name in ["location", "cache-control", "x-robots-tag", "referrer-policy", "content-type"] {
            assert_eq!(head.header(name), next.header(name), "{path}: {name}");
        }
    }
}

#[test]
fn other_methods_on_a_code_answer_405_and_name_the_allowed_ones() {
    let server = Server::start();
    server.officer("amy@agency.gov.sg").creates("live", "https://example.com");
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"] {
        for path in ["/live", "/LIVE.", "/live+", "/never-made"] {
            let answer = server.request(method, path).user_agent(CURL).send();
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method} {path}");
            assert_eq!(answer.header("location"), None, "{method} {path}");
        }
    }
    assert_eq!(server.metrics().sum("merlink_clicks_recorded_total"), 0.0);
}

#[test]
fn a_code_that_never_existed_answers_404_with_a_page_that_says_what_to_do() {
    let server = Server::start();
    for path in ["/never-made", "/UPPER", "/a/b/c", "/%00", "/%ff%fe", "/a%2fb", "/.", "/+", "/-%2e%2e", "/x.php"] {
        server.get(path).user_agent(CURL).send().assert_page(path, 404);
    }
    let too_long = format!("/{}", "a".repeat(256));
    server.get(&too_long).user_agent(CURL).send().assert_page("256 characters", 404);
}

#[test]
fn an_inactive_link_answers_410_until_it_is_switched_on_again() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("event", "https://example.com/event");
    server.follow("event").assert_redirects("active", "https://example.com/event");
    amy.switches("event", "INACTIVE");
    let gone = server.follow("event");
    gone.assert_page("switched off", 410);
    assert_eq!(gone.header("location"), None);
    assert!(!gone.text().contains("https://example.com/event"), "the page of a dead link doesn't lead on");
    amy.switches("event", "ACTIVE");
    server.follow("event").assert_redirects("switched on again", "https://example.com/event");
}

#[test]
fn an_expired_link_answers_410() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    for (code, expires_ms) in [("long-gone", 1), ("far-off", 4_102_444_800_000_u64)] {
        amy.creates(code, "https://example.com/event");
        server.set_link_field(code, "x", expires_ms);
    }
    server.follow("long-gone").assert_page("expired in 1970", 410);
    server.get("/long-gone+").user_agent(CURL).send().assert_page("the preview of an expired link", 410);
    server.follow("far-off").assert_redirects("expires in 2100", "https://example.com/event");
}

#[test]
fn a_link_that_is_remembered_still_expires_on_time() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("sale", "https://example.com/sale");
    let expires_ms = now_ms() + 3_000;
    server.set_link_field("sale", "x", expires_ms);
    let first = server.follow("sale");
    if now_ms() < expires_ms {
        first.assert_redirects("before the end", "https://example.com/sale");
    }
    eventually("the link expires", || (server.follow("sale").status == 410).then_some(()));
    assert!(now_ms() >= expires_ms, "it ended before its time");
}

#[test]
fn an_edit_works_at_once() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/0");
    for version in 1..30 {
        let target = format!("https://example.com/{version}");
        amy.update("form", &json!({"longUrl": target})).assert_v1_status("edit", 200);
        server.follow("form").assert_redirects("after the edit", &target);
    }
}

#[test]
fn a_code_that_was_asked_for_before_it_was_made_works_once_it_is() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    for number in 0..10 {
        let code = format!("soon-{number}");
        assert_eq!(server.follow(&code).status, 404);
        amy.creates(&code, "https://example.com/soon");
        server.follow(&code).assert_redirects("just created", "https://example.com/soon");
    }
}

#[test]
fn nothing_of_the_request_comes_back_unescaped() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("off", "https://example.com");
    amy.switches("off", "INACTIVE");
    let script = "<script>alert(1)</script>";
    for path in [
        format!("/{script}"),
        "/%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        format!("/off?{script}"),
        format!("/never-made?x=\"{script}"),
        format!("/off.\"'{script}"),
    ] {
        let answer = server
            .get(&path)
            .user_agent(script)
            .header("Referer", format!("https://example.com/{script}"))
            .header("X-Forwarded-Host", script)
            .send();
        assert!([400, 404, 410].contains(&answer.status), "{path}: {}", answer.status);
        assert!(!answer.text().contains("<script>alert"), "{path}: {}", answer.text());
    }
}

#[test]
fn the_landing_page_robots_and_icon_are_there_and_their_assets_are_kept_for_a_year() {
    let server = Server::start();
    server.officer("amy@agency.gov.sg").creates("one", "https://example.com/1");
    let landing = server.get("/").user_agent(CURL).send();
    landing.assert_page("the landing page", 200);

    let robots = server.get("/robots.txt").send();
    assert_eq!(robots.status, 200, "/robots.txt");
    assert!(robots.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "/robots.txt");
    assert!(robots.text().to_lowercase().contains("user-agent:"), "/robots.txt: {}", robots.text());

    let icon = server.get("/favicon.ico").send();
    assert_eq!(icon.status, 200, "/favicon.ico");
    assert!(icon.header("content-type").is_some_and(|kind| kind.starts_with("image/")), "/favicon.ico");
    assert!(!icon.body.is_empty(), "/favicon.ico");

    let html = landing.text();
    let addresses = [attributes(&html, "href"), attributes(&html, "src")].concat();
    for asset in addresses.iter().filter(|address| address.starts_with("/assets/")) {
        let answer = server.get(asset).send();
        assert_eq!(answer.status, 200, "{asset}");
        let caching = answer.header("cache-control").unwrap_or_default();
        assert!(caching.contains("max-age=31536000"), "{asset}: Cache-Control: {caching}");
    }
    for missing in ["/assets/", "/assets/never.css", "/assets/../robots.txt", "/assets/%2e%2e/Cargo.toml"] {
        assert_eq!(server.get(missing).send().status, 404, "{missing}");
    }
}

#[test]
fn the_landing_page_shows_live_totals() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let before = server.get("/").user_agent(CURL).send().text();
    for number in 0..7 {
        amy.creates(&format!("link-{number}"), "https://example.com");
    }
    for _ in 0..23 {
        server.follow("link-3");
    }
    eventually("the landing page changes with links and clicks", || {
        let page = server.get("/").user_agent(CURL).send().text();
        (page != before && page.contains('7') && page.contains("23")).then_some(())
    });
}

#[test]
fn the_first_word_of_every_public_route_is_reserved() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    for word in ["api", "console", "assets", "problems"] {
        let message = format!("Short link \"{word}\" is already used.");
        amy.create(&json!({"shortUrl": word, "longUrl": "https://example.com"})).assert_v1(
            word,
            400,
            &json!({"message": message, "type": "ShortUrlError"}),
        );
    }
}

fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since_1970.as_millis()).expect("the year is below 500 million")
}
