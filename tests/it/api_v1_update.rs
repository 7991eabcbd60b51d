//! `PATCH /api/v1/urls/{shortUrl}`: editing and switching own links.

use serde_json::json;

use crate::{
    api_v1_create::{assert_is_timestamp, invalid},
    harness::{Home, Server, eventually},
};

#[test]
fn an_owner_edits_the_target_and_switches_the_state() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let created = amy.creates("form", "https://example.com/1");
    for (change, target, state) in [
        (json!({"longUrl": "https://example.com/2"}), "https://example.com/2", "ACTIVE"),
        (json!({"state": "INACTIVE"}), "https://example.com/2", "INACTIVE"),
        (json!({"longUrl": "https://example.com/3"}), "https://example.com/3", "INACTIVE"),
        (json!({"longUrl": "https://example.com", "state": "ACTIVE"}), "https://example.com", "ACTIVE"),
    ] {
        let answer = amy.update("form", &change);
        answer.assert_v1_status(&change.to_string(), 200);
        let link = answer.json();
        assert_eq!((&link["longUrl"], &link["state"]), (&json!(target), &json!(state)), "{change}");
        assert_eq!(link["shortUrl"], "form");
        assert_eq!(link["createdAt"], created["createdAt"], "{change}: createdAt stays");
        assert_is_timestamp(&link["updatedAt"]);
        assert_eq!(link.as_object().map(serde_json::Map::len), Some(6), "{change}: six fields");
        assert_eq!(amy.link("form"), link, "{change}: the list shows the same");
    }
}

#[test]
fn an_edit_moves_updated_at_and_an_empty_one_changes_nothing() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let created = amy.creates("form", "https://example.com/1");
    for body in [json!({}), json!({"userId": 7}), json!({"shortUrl": "other"})] {
        amy.update("form", &body).assert_v1(&body.to_string(), 200, &created);
    }
    let nothing = server.request("PATCH", "/api/v1/urls/form").key(&amy.key).send();
    nothing.assert_v1("no body", 200, &created);
    let edited = eventually("the clock moves on by a millisecond", || {
        let link = amy.update("form", &json!({"longUrl": "https://example.com/2"})).json();
        let moved = link["updatedAt"].as_str() > created["updatedAt"].as_str();
        if !moved {
            amy.update("form", &json!({"longUrl": "https://example.com/1"}));
        }
        moved.then_some(link)
    });
    amy.update("form", &json!({})).assert_v1("empty again", 200, &edited);
}

#[test]
fn every_validation_problem_of_a_change_is_named() {
    let server = Home::new().set("public.base_url", "https://go.agency.gov.sg").start();
    let amy = server.officer("amy@agency.gov.sg");
    let created = amy.creates("form", "https://example.com/1");
    let one_of = "\"state\" must be one of [ACTIVE, INACTIVE]";
    let empty = format!("{one_of}. \"state\" is not allowed to be empty");
    let not_text = format!("{one_of}. \"state\" must be a string");
    let too_long = format!("https://example.com/{}", "a".repeat(2083 - "https://example.com/".len()));
    let several = format!("Only HTTPS URLs are allowed.. {one_of}. \"foo\" is not allowed");
    let several_more = format!("\"longUrl\" must be a string. {not_text}. \"b\" is not allowed. \"a\" is not allowed");
    for (body, message) in [
        (json!({"longUrl": ""}), "\"longUrl\" is not allowed to be empty"),
        (json!({"longUrl": null}), "\"longUrl\" must be a string"),
        (json!({"longUrl": 1}), "\"longUrl\" must be a string"),
        (json!({"longUrl": "http://example.com"}), "Only HTTPS URLs are allowed."),
        (json!({"longUrl": "https://x"}), "Long URL format is invalid."),
        (json!({"longUrl": too_long}), "Long URL format is invalid."),
        (json!({"longUrl": "https://go.agency.gov.sg/x"}), "Circular redirects are not allowed."),
        (json!({"longUrl": "https://bit.ly/x"}), "Creation of URLs to link shortener sites are not allowed."),
        (json!({"state": "active"}), one_of),
        (json!({"state": "DELETED"}), one_of),
        (json!({"state": " ACTIVE"}), one_of),
        (json!({"state": ""}), &empty),
        (json!({"state": null}), &not_text),
        (json!({"state": 1}), &not_text),
        (json!({"state": ["ACTIVE"]}), &not_text),
        (json!({"foo": 1}), "\"foo\" is not allowed"),
        (json!({"email": "a@x.gov.sg"}), "\"email\" is not allowed"),
        (json!({"tags": []}), "\"tags\" is not allowed"),
        (json!([]), "\"value\" must be of type object"),
        (json!({"state": "off", "foo": 1, "longUrl": "x"}), &several),
        (json!({"b": 1, "a": 1, "state": 0, "longUrl": 0}), &several_more),
        (json!({"longUrl": "https://example.com/2", "state": "x"}), one_of),
    ] {
        amy.update("form", &body).assert_v1(&body.to_string(), 400, &invalid(message));
    }
    assert_eq!(amy.link("form"), created, "nothing was changed");
}

#[test]
fn only_an_own_link_is_found_and_its_code_is_not_case_folded() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let ben = server.officer("ben@agency.gov.sg");
    let created = amy.creates("form", "https://example.com/1");
    let off = json!({"state": "INACTIVE"});
    for (about, officer, code) in [
        ("an unknown code", &amy, "never-made"),
        ("somebody else's link", &ben, "form"),
        ("its own code in capitals", &amy, "FORM"),
        ("a reserved word", &amy, "api"),
    ] {
        let message = json!({"message": format!("Short link \"{code}\" not found for user.")});
        officer.update(code, &off).assert_v1(about, 403, &message);
        officer.update(code, &json!({})).assert_v1(&format!("{about}, empty"), 403, &message);
    }
    let invalid_first = ben.update("form", &json!({"state": "off"}));
    invalid_first.assert_v1("validation first", 400, &invalid("\"state\" must be one of [ACTIVE, INACTIVE]"));
    assert_eq!(amy.link("form"), created, "nothing was changed");
    let elsewhere = amy.update("form", &json!({"shortUrl": "never-made", "longUrl": "https://example.com/2"}));
    elsewhere.assert_v1_status("the path's code replaces the body's", 200);
    assert_eq!(elsewhere.json()["shortUrl"], "form");
}
