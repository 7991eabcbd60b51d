//! The transition page: what a person's browser sees before it goes on for the first time.

use crate::{
    harness::{CHROME, CURL, IPHONE, Server},
    http::{attributes, unescaped},
};

const TARGET: &str = "https://www.iras.gov.sg/taxes?year=2026&lang=en#how-to";

#[test]
fn the_first_visit_of_a_browser_shows_where_it_goes_and_the_second_goes_there() {
    let server = Server::start();
    server.officer("amy@agency.gov.sg").creates("iras-tax", TARGET);
    let mut citizen = server.browser(CHROME);

    let page = citizen.opens("/iras-tax");
    page.assert_page("first visit", 200);
    assert_eq!(page.header("location"), None);
    assert_eq!(page.header("cache-control"), Some("no-store"), "each visit is seen");
    let html = page.text();
    assert!(unescaped(&html).contains(TARGET), "shows the full address: {html}");
    assert!(html.contains("www.iras.gov.sg"), "shows the domain: {html}");
    assert!(attributes(&html, "href").contains(&TARGET.to_owned()), "has a plain link: {html}");
    assert!(html.contains("<noscript"), "goes on without scripts too: {html}");
    assert!(html.contains('6'), "says that it goes on after 6 s: {html}");
    let refresh = html.to_lowercase();
    assert!(refresh.contains("http-equiv=\"refresh\"") && refresh.contains("content=\"6;"), "goes on: {html}");

    citizen.opens("/iras-tax").assert_redirects("second visit", TARGET);
    citizen.opens("/iras-tax").assert_redirects("third visit", TARGET);
}

#[test]
fn the_cookie_is_scoped_to_the_codes_path_and_says_nothing_about_the_visitor() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    for code in ["iras-tax", "iras-tax-2", "iras"] {
        amy.creates(code, TARGET);
    }
    let cookie_of = |path: &str, agent: &str| {
        let answer = server.get(path).user_agent(agent).send();
        answer.header("set-cookie").unwrap_or_else(|| panic!("{path}: no cookie")).to_owned()
    };
    let cookie = cookie_of("/iras-tax", CHROME);
    let attributes: Vec<String> = cookie.split(';').skip(1).map(|part| part.trim().to_lowercase()).collect();
    assert!(attributes.contains(&"path=/iras-tax".to_owned()), "{cookie}");
    assert!(!attributes.iter().any(|attribute| attribute.starts_with("domain")), "{cookie}");
    assert_eq!(cookie, cookie_of("/iras-tax", IPHONE), "the same for everybody, so nobody can be told by it");

    let mut citizen = server.browser(CHROME);
    for code in ["/iras-tax", "/iras-tax-2", "/iras"] {
        assert_eq!(citizen.opens(code).status, 200, "{code}: seen for the first time");
    }
    for code in ["/iras-tax", "/iras-tax-2", "/iras", "/iras-tax?utm=1"] {
        assert_eq!(citizen.opens(code).status, 302, "{code}: seen before");
    }
}

#[test]
fn a_code_in_capitals_or_with_something_glued_to_it_is_shown_once_too() {
    let server = Server::start();
    server.officer("amy@agency.gov.sg").creates("iras-tax", TARGET);
    for (first, next) in [
        ("/IRAS-Tax", "/IRAS-Tax"),
        ("/iras-tax/", "/iras-tax/"),
        ("/iras-tax/", "/iras-tax"),
        // The cookie's scope is the code's path, without what was glued to it.
        ("/iras-tax.", "/iras-tax"),
        ("/iras-tax%2E", "/iras-tax"),
        ("/iras-tax?utm=1", "/iras-tax?utm=2"),
    ] {
        let mut citizen = server.browser(CHROME);
        assert_eq!(citizen.opens(first).status, 200, "{first}: first");
        citizen.opens(next).assert_redirects(&format!("{first}, then {next}"), TARGET);
    }
}

#[test]
fn another_browser_and_a_strange_cookie_see_the_page_again() {
    let server = Server::start();
    server.officer("amy@agency.gov.sg").creates("iras-tax", TARGET);
    server.browser(CHROME).opens("/iras-tax").assert_page("one browser", 200);
    server.browser(CHROME).opens("/iras-tax").assert_page("another", 200);
    for cookie in ["session=abc", "=", ";;;", "a=b; c=\"d", "\u{e9}=1"] {
        let answer = server.get("/iras-tax").user_agent(CHROME).header("Cookie", cookie).send();
        answer.assert_page(cookie, 200);
    }
}

#[test]
fn showing_the_page_is_one_click_and_the_next_visit_another() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("iras-tax", TARGET);
    let mut citizen = server.browser(IPHONE);
    assert_eq!(citizen.opens("/iras-tax").status, 200);
    amy.sees_clicks("iras-tax", 1);
    assert_eq!(citizen.opens("/iras-tax").status, 302);
    amy.sees_clicks("iras-tax", 2);

    let metrics = server.metrics();
    assert_eq!(metrics.with("merlink_redirects_total", &[("outcome", "transition")]), 1.0);
    assert_eq!(metrics.with("merlink_redirects_total", &[("outcome", "redirect")]), 1.0);
    assert_eq!(metrics.sum("merlink_clicks_recorded_total"), 2.0);
}

#[test]
fn a_head_of_a_browser_is_answered_as_its_get_and_not_counted() {
    let server = Server::start();
    server.officer("amy@agency.gov.sg").creates("iras-tax", TARGET);
    let head = server.request("HEAD", "/iras-tax").user_agent(CHROME).send();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(server.metrics().sum("merlink_clicks_recorded_total"), 0.0);
}

#[test]
fn the_operator_chooses_when_the_page_is_shown() {
    for (setting, first, second) in [("first-visit", 200, 302), ("always", 200, 200), ("never", 302, 302)] {
        let server = Server::with(&[("redirect.transition_page", setting)]);
        server.officer("amy@agency.gov.sg").creates("iras-tax", TARGET);
        let mut citizen = server.browser(CHROME);
        assert_eq!(citizen.opens("/iras-tax").status, first, "{setting}: first visit");
        assert_eq!(citizen.opens("/iras-tax").status, second, "{setting}: second visit");
        server.get("/iras-tax").user_agent(CURL).send().assert_redirects(setting, TARGET);
    }
}

#[test]
fn a_target_full_of_markup_is_shown_as_text() {
    let server = Server::start();
    let target = "https://example.com/it's;(a)?x=1&amp;y=&lt;b&gt;&quot;#'onclick=alert(1)";
    let stored = server.officer("amy@agency.gov.sg").creates("marks", target)["longUrl"].clone();
    let stored = stored.as_str().expect("longUrl is a string");
    let html = server.get("/marks").user_agent(CHROME).send().text();
    // Escaping must be undone exactly once to get the address back: `&amp;` in it stands as `&amp;amp;`.
    let escaped_once = stored.replace('&', "&amp;");
    let readings = ["'", "&#39;", "&#x27;"].map(|quote| escaped_once.replace('\'', quote));
    let numeric = ["'", "&#39;", "&#x27;"].map(|quote| stored.replace('&', "&#38;").replace('\'', quote));
    assert!(readings.iter().chain(&numeric).any(|reading| html.contains(reading)), "{stored} in {html}");
}
