//! Headers and cookies of answers: nothing in them can be turned against a visitor or an officer.

use crate::{
    console::Desk,
    harness::{CHROME, Home, Server},
    http::Answer,
    smtp_server::SmtpServer,
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";
const AMY: &str = "amy.tan@agency.gov.sg";

/// Loads nothing from elsewhere, is shown in no frame, and is taken for nothing but what it says it is.
#[track_caller]
fn assert_safe(path: &str, answer: &Answer) {
    let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("{path}: no policy"));
    let has = |directive: &str| policy.split(';').any(|found| found.trim() == directive);
    assert!(has("default-src 'none'") && has("frame-ancestors 'none'"), "{path}: {policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{path}: {policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    let content_type = answer.header("content-type").unwrap_or_else(|| panic!("{path}: no content type"));
    assert!(!content_type.starts_with("text/") || content_type.ends_with("charset=utf-8"), "{path}: {content_type}");
    assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
}

#[test]
fn every_answer_with_a_body_is_safe_to_open_by_itself() {
    let server = Server::start();
    let amy = server.officer(AMY);
    amy.creates("iras-tax", TARGET);
    amy.creates("off", TARGET);
    amy.switches("off", "INACTIVE");
    let landing = server.get("/").user_agent(CHROME).send().text();
    let icon = landing.split('"').find(|part| part.starts_with("/assets/icon-")).expect("an icon").to_owned();
    for path in [
        "/",
        "/robots.txt",
        "/favicon.ico",
        &icon,
        "/assets/none",
        "/iras-tax",
        "/iras-tax+",
        "/off",
        "/never-made",
        "/api",
        "/api/v1/urls",
        "/api/v1/none",
        "/api/v2/links",
        "/api/v2/links/iras-tax",
        "/api/v2/links/iras-tax/qr",
        "/api/v2/export",
        "/api/v2/openapi.json",
        "/api/v2/docs",
        "/api/v2/none",
        "/problems/validation",
        "/problems/none",
        "/console/login",
        "/console/none",
        "/console/assets/none",
    ] {
        for key in [None, Some(&amy.key)] {
            let request = server.get(path).user_agent(CHROME);
            let request = if let Some(key) = key { request.key(key) } else { request };
            assert_safe(path, &request.send());
            let posted = server.request("POST", path).user_agent(CHROME).send();
            assert_safe(&format!("POST {path}"), &posted);
        }
    }
    let mut desk = Desk::of(&server, AMY);
    for path in [
        "/console/links",
        "/console/links/iras-tax",
        "/console/links/iras-tax/qr.svg",
        "/console/links/iras-tax/clicks.csv",
        "/console/availability?code=x",
        "/console/export",
        "/console/upload/template.csv",
        "/console/directory",
        "/console/keys",
        "/console/account",
    ] {
        let answer = desk.opens(path);
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{path}");
        assert_safe(path, &answer);
    }
}

#[test]
fn with_https_every_cookie_is_secure_and_has_the_prefix_that_says_so() {
    let smtp = SmtpServer::start(None, "250 ok");
    let server = Home::new()
        .set("public.base_url", "https://go.example")
        .set("smtp.url", format!("smtp://{}", smtp.address))
        .start();
    server.officer(AMY).creates("iras-tax", TARGET);
    let cookies = |path: &str| -> Vec<String> {
        let answer = server.get(path).user_agent(CHROME).send();
        let set = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
        set.map(|(_, value)| value.clone()).collect()
    };
    for (path, names) in [
        ("/IRAS-Tax?page-lang=ms", &["__Host-lang=", "__Secure-seen=", "__Secure-seen="][..]),
        ("/console/login?page-lang=en", &["__Host-merlink=", "__Host-lang="]),
    ] {
        let set = cookies(path);
        assert_eq!(set.len(), names.len(), "{path}: {set:?}");
        for (cookie, name) in set.iter().zip(names) {
            assert!(cookie.starts_with(name), "{path}: {set:?}");
            let has = |attribute: &str| cookie.split("; ").any(|found| found == attribute);
            assert!(has("Secure") && has("HttpOnly") && has("SameSite=Lax") && !cookie.contains("Domain"), "{cookie}");
            assert!(!name.starts_with("__Host-") || has("Path=/"), "{cookie}: a browser drops it");
        }
    }
    let seen = |cookie: &str| server.get("/iras-tax").user_agent(CHROME).header("Cookie", cookie).send().status;
    assert_eq!((seen("a=b; __Secure-seen=1"), seen("__Secure-seen=2"), seen("x__Secure-seen=1")), (302, 200, 200));
    let in_language = |cookie: &str| server.get("/").header("Cookie", cookie).send().text();
    assert!(in_language("lang=ta; __Host-lang=ms").contains("<html lang=\"ms\""), "another host can set the first");
}

#[test]
fn logging_out_takes_the_pages_out_of_the_browsers_memory() {
    let server = Server::start();
    for path in ["/console/logout", "/console/logout-everywhere"] {
        let mut desk = Desk::of(&server, AMY);
        desk.sees("/console/account");
        let answer = desk.sends(path, &[]);
        assert_eq!((answer.status, answer.header("clear-site-data")), (303, Some("\"cache\"")), "{path}");
    }
}
