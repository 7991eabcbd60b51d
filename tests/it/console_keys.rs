//! API keys in the console: what its form gives and refuses, and how a key ends.

use serde_json::json;

use crate::{
    console::Desk,
    harness::{Home, Server},
    http::attributes,
};

const AMY: &str = "amy@agency.gov.sg";

/// Makes a key that must be made, and answers the page and the key.
#[track_caller]
fn makes(desk: &mut Desk<'_>, fields: &[(&str, &str)]) -> (String, String) {
    desk.sees("/console/keys");
    let answer = desk.sends("/console/keys", fields);
    answer.assert_page("the new key", 200);
    assert_eq!(answer.header("cache-control"), Some("no-store"), "a key lies in no cache");
    let page = answer.text();
    let key = page.split("class=\"key-once\">").nth(1).and_then(|rest| rest.split('<').next()).expect("the key");
    (page.clone(), key.to_owned())
}

fn id_of(key: &str) -> &str {
    key.split('_').nth(1).expect("mlk_ID_SECRET")
}

#[test]
fn a_key_of_the_console_does_what_was_ticked_and_no_more() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    let (_, key) = makes(&mut amy, &[("name", " nightly "), ("scope", "links:read"), ("days", "30")]);
    let program = server.program_with_key(&key);
    let me = program.get("/me").assert_v2("me", 200);
    assert_eq!((&me["officer"], &me["key"]["scopes"]), (&json!(AMY), &json!(["links:read"])));
    assert_eq!(me["key"]["name"], "nightly");
    let time = |name: &str| me["key"][name].as_str().expect("a time").parse::<jiff::Timestamp>().expect("RFC 3339");
    assert_eq!(time("expires_at").duration_since(time("created_at")).as_hours(), 30 * 24);
    let page = amy.sees("/console/keys");
    assert!(page.contains("nightly") && page.contains("Last used") && !page.contains(&key), "{page}");
    let (page, endless) = makes(&mut amy, &[("scope", "stats:read"), ("days", "0")]);
    assert!(page.contains("Never used") && page.contains("No end") && page.contains(id_of(&endless)), "{page}");
}

#[test]
fn only_administrators_are_offered_the_scope_of_administrators() {
    let server = Home::new().set("officers.admins", "root@agency.gov.sg").start();
    let fields = [("scope", "admin"), ("days", "30")];
    let mut amy = Desk::of(&server, AMY);
    assert!(!amy.sees("/console/keys").contains("value=\"admin\""));
    amy.sends("/console/keys", &fields).assert_page("a form of her own making", 400);
    assert!(amy.sees("/console/keys").contains("You have no keys"));
    let mut root = Desk::of(&server, "root@agency.gov.sg");
    assert!(root.sees("/console/keys").contains("value=\"admin\""));
    let (_, key) = makes(&mut root, &fields);
    assert_eq!(server.program_with_key(&key).get("/me").assert_v2("me", 200)["key"]["scopes"][0], "admin");
}

#[test]
fn a_mistake_makes_no_key_and_loses_nothing_that_was_filled_in() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    amy.sees("/console/keys");
    let long = "n".repeat(101);
    let answer = amy.sends("/console/keys", &[("name", &long), ("scope", "stats:read"), ("days", "365")]);
    answer.assert_page("a long name", 422);
    let page = answer.text();
    assert!(page.contains("aria-invalid=\"true\"") && page.contains(&format!("value=\"{long}\"")), "{page}");
    assert!(page.contains("value=\"stats:read\" checked") && page.contains("value=\"365\" selected"), "{page}");
    assert!(!page.contains("value=\"links:read\" checked"), "{page}");
    let answer = amy.sends("/console/keys", &[("name", "none"), ("days", "30")]);
    answer.assert_page("nothing ticked", 422);
    assert!(answer.text().contains("Tick at least one"));
    for fields in [
        &[("scope", "links:read"), ("days", "31")][..],
        &[("scope", "links:read"), ("days", "-1")],
        &[("scope", "links:read")],
        &[("scope", "links:delete"), ("days", "30")],
    ] {
        amy.sends("/console/keys", fields).assert_page(&format!("{fields:?}"), 400);
    }
    assert!(amy.sees("/console/keys").contains("You have no keys"));
}

#[test]
fn the_console_and_the_api_count_the_same_hundred_keys() {
    let server = Server::start();
    let program = server.program(AMY);
    for _ in 1..100 {
        program.post("/keys", &json!({})).assert_v2("a key", 201);
    }
    let mut amy = Desk::of(&server, AMY);
    amy.opens("/console/account");
    let answer = amy.sends("/console/keys", &[("scope", "links:read"), ("days", "30")]);
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("Revoke one"));
}

#[test]
fn revoking_asks_first_and_ends_the_key_at_once() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    let (_, key) = makes(&mut amy, &[("name", "old"), ("scope", "links:read"), ("days", "30")]);
    let path = format!("/console/keys/{}/revoke", id_of(&key));
    assert!(amy.sees(&path).contains("Revoke this key?"));
    server.program_with_key(&key).get("/me").assert_v2("asking ends nothing", 200);

    let mut ben = Desk::of(&server, "ben@agency.gov.sg");
    ben.opens(&path).assert_page("another officer's key", 404);
    ben.sees("/console/account");
    ben.sends(&path, &[]).assert_page("another officer's key", 404);
    amy.sends_with_token(&path, "", &[]).assert_page("without the form's token", 403);
    server.program_with_key(&key).get("/me").assert_v2("it works on", 200);

    amy.sees(&path);
    let answer = amy.sends(&path, &[]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/console/keys?done=revoked")));
    server.program_with_key(&key).get("/me").assert_problem("revoked", 401, "unauthorized");
    let page = amy.sees("/console/keys?done=revoked");
    let (works, revoked) = page.split_once("Revoked keys").expect("revoked keys are listed apart");
    assert!(works.contains("The key is revoked") && !works.contains(id_of(&key)), "{page}");
    assert!(revoked.contains(id_of(&key)) && revoked.contains("Revoked ") && !revoked.contains("/revoke\""), "{page}");
}

#[test]
fn a_form_that_is_sent_again_makes_no_second_key() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    let page = amy.sees("/console/keys");
    let tag = page.split("name=\"nonce\"").nth(1).and_then(|rest| rest.split('>').next()).expect("a nonce");
    let nonce = attributes(tag, "value").remove(0);
    let fields = [("nonce", nonce.as_str()), ("name", "once"), ("scope", "links:read"), ("days", "30")];
    let made = amy.sends("/console/keys", &fields);
    made.assert_page("the new key", 200);
    assert!(made.text().contains("key-once"));
    for _ in 0..2 {
        let again = amy.sends("/console/keys", &fields);
        assert_eq!((again.status, again.header("location")), (303, Some("/console/keys?done=made")));
    }
    let page = amy.sees("/console/keys?done=made");
    assert!(page.contains("created already") && page.matches(">once<").count() == 1, "{page}");
    // What was changed since is another form.
    let other = [("nonce", nonce.as_str()), ("name", "another"), ("scope", "links:read"), ("days", "30")];
    amy.sends("/console/keys", &other).assert_page("another key", 200);
}

#[test]
fn the_page_that_revokes_a_key_names_those_that_it_made() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    let (_, key) = makes(&mut amy, &[("name", "above"), ("scope", "keys:write"), ("days", "30")]);
    let path = format!("/console/keys/{}/revoke", id_of(&key));
    assert!(!amy.sees(&path).contains("They are revoked too"));
    let below = server.program_with_key(&key).post("/keys", &json!({"name": "below"})).assert_v2("made with it", 201);
    let below = below["key"].as_str().expect("a key");
    let page = amy.sees(&path);
    assert!(page.contains("They are revoked too") && page.contains("below") && page.contains(id_of(below)), "{page}");
    assert_eq!(amy.sends(&path, &[]).status, 303);
    server.program_with_key(below).get("/me").assert_problem("made with it", 401, "unauthorized");
}

#[test]
fn logging_out_everywhere_says_that_keys_go_on_and_revokes_them_if_asked() {
    let server = Server::start();
    let keys = [server.key(AMY), server.key(AMY)];
    let bens = server.key("ben@agency.gov.sg");
    let mut amy = Desk::of(&server, AMY);
    assert!(amy.sees("/console/account").contains("Your API keys go on working"));
    let answer = amy.sends("/console/logout-everywhere", &[]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/console/login?done=everywhere")));
    for key in &keys {
        server.program_with_key(key).get("/me").assert_v2("nobody asked for its end", 200);
    }
    amy.logs_in(AMY);
    amy.sees("/console/account");
    let answer = amy.sends("/console/logout-everywhere", &[("keys", "on")]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/console/login?done=everywhere-keys")));
    assert!(amy.sees("/console/login?done=everywhere-keys").contains("your API keys are revoked"));
    for key in &keys {
        server.program_with_key(key).get("/me").assert_problem("revoked", 401, "unauthorized");
    }
    server.program_with_key(&bens).get("/me").assert_v2("another officer's", 200);
}
