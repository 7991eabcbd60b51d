//! The audit trail: who did what and when, for whoever has to answer that.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    console::Desk,
    harness::{Home, Server, eventually},
};

fn audited() -> (Server, std::path::PathBuf) {
    let home = Home::new();
    let file = home.path().join("audit.ndjson");
    let server = home.set("audit.file", file.to_str().expect("UTF-8")).start();
    (server, file)
}

fn entries(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("the audit file is there");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

#[test]
fn every_change_says_who_what_and_when() {
    let (server, file) = audited();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/form?year=2026");
    amy.update("form", &json!({"longUrl": "https://example.com/new"})).assert_v1_status("an edit", 200);
    amy.update("form", &json!({"longUrl": "https://example.com/new"})).assert_v1_status("no change", 200);
    let answer = server
        .request("POST", "/api/v2/links/form/transfer")
        .key(&amy.key)
        .json(&json!({"owner": "ben@agency.gov.sg"}))
        .send();
    assert_eq!(answer.status, 200, "{answer:?}");
    let second = server.request("POST", "/api/v2/keys").key(&amy.key).json(&json!({"name": "nightly"})).send();
    assert_eq!(second.status, 201, "{second:?}");
    let second = second.json();
    let id = second["id"].as_str().expect("an id");
    assert_eq!(server.request("DELETE", format!("/api/v2/keys/{id}")).key(&amy.key).send().status, 204);
    assert_eq!(server.request("DELETE", format!("/api/v2/keys/{id}")).key(&amy.key).send().status, 204);
    server.follow("form");

    let entries = entries(&file);
    let events: Vec<&str> = entries.iter().map(|entry| entry["event"].as_str().expect("an event")).collect();
    let expected = ["key.created", "link.created", "link.changed", "link.transferred", "key.created", "key.revoked"];
    assert_eq!(events, expected, "one entry a change, none for what changed nothing, none for a visit");
    let key_id = amy.key.split('_').nth(1).expect("mlk_<id>_<secret>");
    assert_eq!(entries[0]["by"], "operator", "made by the command");
    assert_eq!(entries[0]["key"], key_id);
    assert_eq!(entries[0]["about"]["owner"], "amy@agency.gov.sg", "so the entries of this key have a name");
    for entry in &entries[1..] {
        assert_eq!(entry["by"], format!("key:{key_id}"), "{entry}");
    }
    for entry in &entries {
        assert_eq!(entry["outcome"], "done", "{entry}");
        let at = entry["at"].as_str().expect("a time");
        assert!(at.starts_with("20") && at.ends_with('Z'), "{at}");
    }
    assert_eq!(entries[1]["link"]["target_url"], "https://example.com/form?year=2026");
    assert_eq!(entries[2]["from"], json!({"target_url": "https://example.com/form?year=2026"}));
    assert_eq!(entries[2]["to"], json!({"target_url": "https://example.com/new"}));
    assert_eq!(entries[3]["to"], json!({"owner": "ben@agency.gov.sg"}));
    assert_eq!(entries[3]["code"], "form");
    let text = fs::read_to_string(&file).expect("the audit file is there");
    let secrets = [amy.key.as_str(), second["key"].as_str().expect("shown once")];
    for secret in secrets.map(|key| key.rsplit('_').next().expect("a secret")) {
        assert!(!text.contains(secret), "no secret in {text}");
    }
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o640, "not for everybody");
}

#[test]
fn a_file_that_was_rotated_away_is_begun_anew_at_sighup() {
    let (server, file) = audited();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("before", "https://example.com");
    let rotated = file.with_extension("1");
    fs::rename(&file, &rotated).expect("it can be moved");
    amy.creates("between", "https://example.com");
    server.signal(Signal::HUP);
    eventually("a new file", || file.exists().then_some(()));
    amy.creates("after", "https://example.com");
    let codes = |file: &Path| -> Vec<String> {
        entries(file).iter().filter_map(|entry| entry["code"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(codes(&rotated), ["before", "between"], "nothing is lost in between");
    assert_eq!(codes(&file), ["after"]);
}

#[test]
fn an_audit_file_that_cant_be_written_stops_the_start_and_later_no_officer() {
    let home = Home::new().set("audit.file", "/nowhere/audit.ndjson");
    home.run(&["serve"]).assert_code(1).assert_names(&["audit.file", "No such file"]);

    // A device that takes nothing, as a full disk.
    let server = Server::with(&[("audit.file", "/dev/full")]);
    server.expect_log("audit file");
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com");
    assert_eq!(server.metrics().sum("merlink_audit_failures_total"), 1.0);
}

#[test]
fn without_a_file_nothing_is_kept_and_a_hangup_ends_nothing() {
    let server = Server::start();
    server.signal(Signal::HUP);
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com");
    server.follow("form").assert_redirects("after SIGHUP", "https://example.com");
}

#[test]
fn who_logged_in_and_out_and_who_failed_to_is_written_down() {
    let home = Home::new().set("limits.otps_per_hour", "2");
    let file = home.path().join("audit.ndjson");
    let server = home.set("audit.file", file.to_str().expect("UTF-8")).start();
    let mut desk = Desk::of(&server, "amy@agency.gov.sg");
    desk.sees("/console/account");
    desk.sends("/console/logout", &[]);
    // A password that isn't the mailed one, a mailbox that has had its share, and somebody who is no officer.
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", "amy@agency.gov.sg")]);
    desk.sends("/console/login/password", &[("email", "amy@agency.gov.sg"), ("password", "no six digits")]);
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", "amy@agency.gov.sg")]);
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", "mallory@elsewhere.example")]);
    let mut second = Desk::of(&server, "ben@agency.gov.sg");
    second.sees("/console/account");
    second.sends("/console/logout-everywhere", &[]);

    let told: Vec<Value> = entries(&file)
        .into_iter()
        .map(|mut entry| {
            let at = entry.as_object_mut().expect("an object").shift_remove("at").expect("a time");
            assert!(at.as_str().is_some_and(|at| at.starts_with("20") && at.ends_with('Z')), "{at}");
            entry
        })
        .collect();
    let session = |event: &str, by: &str| json!({"event": event, "by": format!("session:{by}"), "outcome": "done"});
    let failed =
        |reason: &str| json!({"event": "login.failed", "by": "unknown", "outcome": "refused", "reason": reason});
    let about_amy = |mut entry: Value| {
        entry["email"] = json!("amy@agency.gov.sg");
        entry
    };
    let mut everywhere = session("session.ended", "ben@agency.gov.sg");
    everywhere["everywhere"] = json!(true);
    let expected = [
        session("session.began", "amy@agency.gov.sg"),
        session("session.ended", "amy@agency.gov.sg"),
        about_amy(failed("wrong_otp")),
        about_amy(failed("many_otps")),
        failed("not_an_officer"),
        session("session.began", "ben@agency.gov.sg"),
        everywhere,
    ];
    assert_eq!(told, expected);
    let text = fs::read_to_string(&file).expect("the audit file is there");
    assert!(!text.contains("mallory"), "whoever isn't an officer isn't named: {text}");
}
