//! The preview: a `+` behind the code shows where a link goes instead of going there.

use crate::{
    harness::{CHROME, CURL, GOOGLEBOT, IPHONE, Server},
    http::unescaped,
};

const TARGET: &str = "https://www.iras.gov.sg/taxes?year=2026&lang=en";

#[test]
fn a_preview_shows_target_agency_and_date_and_is_never_counted() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let link = amy.creates("iras-tax", TARGET);
    let year = &link["createdAt"].as_str().expect("createdAt is a string")[..4];
    for path in ["/iras-tax+", "/IRAS-TAX+", "/iras-tax%2B", "/iras-tax%2b", "/iras-tax+.", "/iras-tax+?utm=1"] {
        for agent in [CURL, CHROME, IPHONE, GOOGLEBOT] {
            let answer = server.get(path).user_agent(agent).send();
            answer.assert_page(path, 200);
            assert_eq!(answer.header("location"), None, "{path}: goes nowhere");
            assert_eq!(answer.header("set-cookie"), None, "{path}: isn't a visit");
            let html = answer.text();
            assert!(unescaped(&html).contains(TARGET), "{path}: says where it goes: {html}");
            assert!(html.contains("agency.gov.sg"), "{path}: says which agency owns it: {html}");
            assert!(!html.contains("amy"), "{path}: names no person: {html}");
            assert!(html.contains(year), "{path}: says since when: {html}");
            assert!(!html.to_lowercase().contains("http-equiv=\"refresh\""), "{path}: doesn't go on by itself");
        }
    }
    assert_eq!(server.metrics().sum("merlink_clicks_recorded_total"), 0.0);
    server.follow("iras-tax");
    amy.sees_clicks("iras-tax", 1);
}

#[test]
fn a_browser_that_saw_only_the_preview_still_gets_the_page_on_its_first_visit() {
    let server = Server::start();
    server.officer("amy@agency.gov.sg").creates("iras-tax", TARGET);
    let mut citizen = server.browser(CHROME);
    citizen.opens("/iras-tax+").assert_page("preview", 200);
    citizen.opens("/iras-tax").assert_page("first visit", 200);
    citizen.opens("/iras-tax").assert_redirects("second visit", TARGET);
}

#[test]
fn the_preview_of_a_link_that_is_not_there_says_so() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("off", TARGET);
    amy.switches("off", "INACTIVE");
    for (path, status) in [("/never-made+", 404), ("/off+", 410), ("/off++", 404), ("/+", 404)] {
        let answer = server.get(path).user_agent(CURL).send();
        answer.assert_page(path, status);
        assert!(!answer.text().contains(TARGET), "{path}: doesn't lead on");
    }
}
