//! Who may use API v1: the key, its scopes, and the order in which a request is checked.

use serde_json::json;

use crate::harness::{Server, eventually};

#[test]
fn each_missing_or_wrong_key_is_refused_in_its_own_words() {
    let server = Server::start();
    let key = server.key("amy@agency.gov.sg");
    let missing = json!({"message": "Authorization header is missing"});
    let format = json!({"message": "Invalid authorization header format"});
    let invalid = json!({"message": "Invalid API Key"});
    let (id, secret) = key.strip_prefix("mlk_").and_then(|key| key.split_once('_')).expect("mlk_<id>_<secret>");
    let other_last = if key.ends_with('A') { "B" } else { "A" };
    let routes = [
        ("GET", "/api/v1/urls"),
        ("POST", "/api/v1/urls"),
        ("PATCH", "/api/v1/urls/abc"),
        ("POST", "/api/v1/admin/urls"),
        ("GET", "/api/v1"),
        ("GET", "/api/v1/nothing"),
        ("DELETE", "/api/v1/urls/abc"),
    ];
    for (method, path) in routes {
        let about = format!("{method} {path}");
        server.request(method, path).send().assert_v1(&about, 401, &missing);
        for header in [
            key.clone(),
            format!("bearer {key}"),
            format!("BEARER {key}"),
            format!("Basic {key}"),
            format!("Token {key}"),
            format!("Bearer\t{key}"),
            format!("Bearer:{key}"),
        ] {
            let answer = server.request(method, path).header("Authorization", &header).send();
            answer.assert_v1(&format!("{about} with {header:?}"), 401, &format);
        }
        for wrong in [
            "nonsense".to_owned(),
            "mlk_".to_owned(),
            "mlk__".to_owned(),
            "mlk_abc_def".to_owned(),
            format!("mlk_{id}_"),
            format!("mlk_{id}_{secret}x"),
            format!("mlk_{id}_{}", &secret[1..]),
            format!("{}{other_last}", &key[..key.len() - 1]),
            format!("mlk_unknown_{secret}"),
            key.to_uppercase(),
            "k".repeat(5_000),
        ] {
            let answer = server.request(method, path).key(&wrong).send();
            answer.assert_v1(&format!("{about} with the key {wrong:?}"), 401, &invalid);
        }
        for odd in ["Bearer".to_owned(), format!("Bearer  {key}"), String::new()] {
            let answer = server.request(method, path).header("Authorization", &odd).send();
            answer.assert_v1_status(&format!("{about} with {odd:?}"), 401);
        }
    }
}

#[test]
fn the_right_key_gets_anything_else_under_v1_answered_404() {
    let server = Server::start();
    let key = server.key("amy@agency.gov.sg");
    let not_found = json!({"message": "Resource not found."});
    for (method, path) in [
        ("GET", "/api/v1"),
        ("GET", "/api/v1/"),
        ("GET", "/api/v1/nothing"),
        ("GET", "/api/v1/urls/abc"),
        ("POST", "/api/v1/urls/abc"),
        ("DELETE", "/api/v1/urls/abc"),
        ("PUT", "/api/v1/urls"),
        ("PATCH", "/api/v1/urls"),
        ("DELETE", "/api/v1/urls"),
        ("OPTIONS", "/api/v1/urls"),
        ("PATCH", "/api/v1/urls/abc/def"),
        ("GET", "/api/v1/%ff"),
    ] {
        let answer = server.request(method, path).key(&key).send();
        answer.assert_v1(&format!("{method} {path}"), 404, &not_found);
    }
}

#[test]
fn the_body_is_judged_before_the_key_and_the_key_before_the_fields() {
    let server = Server::start();
    let malformed = json!({"message": "Bad Request. JSON is malformed"});
    let missing = json!({"message": "Authorization header is missing"});
    let too_large = json!({"message": "Request body is too large."});
    for (method, path) in [("POST", "/api/v1/urls"), ("PATCH", "/api/v1/urls/abc"), ("POST", "/api/v1/admin/urls")] {
        let request = || server.request(method, path);
        let about = format!("{method} {path}");
        request().body("application/json", "{").send().assert_v1(&about, 400, &malformed);
        request().body("application/json", "{").key("wrong").send().assert_v1(&about, 400, &malformed);
        request().body("application/json", " ".repeat(102_401)).send().assert_v1(&about, 413, &too_large);
        request().json(&json!({"foo": 1})).send().assert_v1(&about, 401, &missing);
        request().json(&json!([])).send().assert_v1(&about, 401, &missing);
    }
}

#[test]
fn a_key_works_at_once_and_a_revoked_one_no_more() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let spare = server.officer("amy@agency.gov.sg");
    amy.list("").assert_v1_status("first key", 200);
    spare.list("").assert_v1_status("second key", 200);
    let id = amy.key.split('_').nth(1).expect("a key is mlk_<id>_<secret>");
    server.home().run(&["key", "revoke", id]).assert_code(0);
    eventually("the revoked key is refused", || (amy.list("").status == 401).then_some(()));
    amy.list("").assert_v1("revoked", 401, &json!({"message": "Invalid API Key"}));
    spare.list("").assert_v1_status("the other key goes on", 200);
}

#[test]
fn an_expired_key_is_an_invalid_one() {
    let server = Server::start();
    let key = server.key_with(&["--owner", "amy@agency.gov.sg", "--expires-in", "2s"]);
    let amy = server.officer_with_key(&key);
    eventually("the key expires", || (amy.list("").status == 401).then_some(()));
    amy.list("").assert_v1("expired", 401, &json!({"message": "Invalid API Key"}));
    let long = server.key_with(&["--owner", "amy@agency.gov.sg", "--expires-in", "90d"]);
    server.officer_with_key(&long).list("").assert_v1_status("expires in 90 days", 200);
}

#[test]
fn a_key_does_only_what_its_scopes_say() {
    let server = Server::with(&[("officers.admins", "boss@agency.gov.sg")]);
    let link = json!({"shortUrl": "form", "longUrl": "https://example.com"});
    let reads = server.officer_with_key(&server.key_with(&["--owner", "amy@agency.gov.sg", "--scope", "links:read"]));
    let writes = server.officer_with_key(&server.key_with(&["--owner", "amy@agency.gov.sg", "--scope", "links:write"]));
    let both = server.officer_with_key(&server.key_with(&[
        "--owner",
        "amy@agency.gov.sg",
        "--scope",
        "links:read",
        "--scope",
        "links:write",
    ]));

    let refused = |answer: &crate::http::Answer, about: &str| {
        assert!([401, 403].contains(&answer.status), "{about}: {} {}", answer.status, answer.text());
        assert!(answer.json()["message"].is_string(), "{about}: {}", answer.text());
    };
    refused(&reads.create(&link), "creating with links:read");
    writes.create(&link).assert_v1_status("creating with links:write", 200);
    refused(&reads.update("form", &json!({"state": "INACTIVE"})), "changing with links:read");
    writes
        .update("form", &json!({"longUrl": "https://example.com/2"}))
        .assert_v1_status("changing with links:write", 200);
    refused(&writes.list(""), "listing with links:write");
    assert_eq!(reads.codes(""), ["form"], "listing with links:read");
    assert_eq!(both.codes(""), ["form"], "listing with both");
    both.switches("form", "INACTIVE");
}

#[test]
fn failed_attempts_are_counted_for_the_operator() {
    let server = Server::start();
    server.get("/api/v1/urls").send();
    server.get("/api/v1/urls").header("Authorization", "Basic x").send();
    server.get("/api/v1/urls").key("mlk_abc_def").send();
    let metrics = server.metrics();
    assert_eq!(metrics.sum("merlink_auth_failures_total"), 3.0, "{}", metrics.0);
    let kinds = metrics.samples("merlink_auth_failures_total");
    assert!(kinds.iter().all(|(labels, _)| labels.contains_key("kind")), "{kinds:?}");
}
