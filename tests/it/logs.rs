//! The log: JSON when nobody watches, a line per API request, none per redirect, nothing secret or personal.

use serde_json::{Value, json};

use crate::harness::{CHROME, Server, eventually};

#[test]
fn an_api_request_logs_one_line_with_a_request_id_and_a_redirect_none() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/form");
    let is_request = |line: &String| {
        let fields: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        let names = fields.as_object().expect("a line is an object").keys();
        names.into_iter().any(|name| name.to_lowercase().replace(['.', '_'], "").contains("requestid"))
    };
    let request_lines = || server.log().iter().filter(|line| is_request(line)).count();
    eventually("creating is logged", || (request_lines() >= 1).then_some(()));
    let before = server.log().len();
    for _ in 0..20 {
        server.follow("form");
        server.follow("never-made");
        server.get("/form").user_agent(CHROME).send();
    }
    amy.list("");
    eventually("listing is logged", || (request_lines() >= 2).then_some(()));
    let lines = server.log();
    assert_eq!(lines.len(), before + 1, "one for the list, none for 60 visits:\n{}", lines[before..].join("\n"));
}

#[test]
fn nothing_secret_or_personal_is_logged() {
    let server = Server::start();
    let amy = server.officer("amy.tan@agency.gov.sg");
    amy.creates("form", "https://example.com/form?token=query-of-a-target");
    amy.update("form", &json!({"longUrl": "https://example.com/form?token=query-of-a-target-2"}));
    amy.list("searchText=text-that-was-sought");
    amy.create(&json!({"longUrl": "x-of-a-refused-target", "foo-field": 1}));
    server.get("/api/v1/urls").key("mlk_abcdef_a-secret-that-is-wrong").send();
    server.request("POST", "/api/v1/urls").body("application/json", "{broken-body").send();
    server.finish();
    let secret = amy.key.splitn(3, '_').nth(2).expect("a key is mlk_<id>_<secret>");
    for line in server.log() {
        for private in [
            secret,
            "amy.tan",
            "query-of-a-target",
            "text-that-was-sought",
            "x-of-a-refused-target",
            "a-secret-that-is-wrong",
            "broken-body",
        ] {
            assert!(!line.contains(private), "{private} is logged: {line}");
        }
    }
}

#[test]
fn each_line_of_the_log_carries_time_level_and_message() {
    let server = Server::start();
    server.officer("amy@agency.gov.sg").list("");
    server.finish();
    let lines = server.log();
    assert!(!lines.is_empty());
    for line in lines {
        let fields: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        for name in ["timestamp", "level", "message"] {
            assert!(fields[name].as_str().is_some_and(|text| !text.is_empty()), "no {name} in {line}");
        }
    }
}
