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
    server.knows("ben@agency.gov.sg");
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
fn every_way_in_leads_past_the_trail() {
    const TARGET: &str = "https://example.com";
    let home = Home::new().set("officers.admins", "root@agency.gov.sg");
    let file = home.path().join("audit.ndjson");
    let server = home.set("audit.file", file.to_str().expect("UTF-8")).start();
    let id_of = |key: &str| key.split('_').nth(1).expect("mlk_<id>_<secret>").to_owned();
    let amy = server.officer("amy@agency.gov.sg");
    let program = server.program_with_key(&amy.key);
    let mut root = Desk::of(&server, "root@agency.gov.sg");
    let mut amys = Desk::of(&server, "amy@agency.gov.sg");
    let told_before = entries(&file).len();

    amy.creates("by-v1", TARGET);
    program.creates(&json!({"target_url": TARGET, "code": "by-v2"}));
    let rows = format!("code,target_url\nby-batch,{TARGET}\nby-v1,{TARGET}\n");
    let batch = program.request("POST", "/batch").body("text/csv", &rows).send();
    assert_eq!(batch.status, 200, "{batch:?}");
    root.sees("/console/create");
    let for_amy = [("code", "by-console"), ("target", TARGET), ("owner", "amy@agency.gov.sg")];
    assert_eq!(root.sends("/console/create", &for_amy).status, 303);
    amys.sees("/console/upload");
    let uploaded = amys.uploads("links.csv", rows.replace("by-batch", "by-upload").as_bytes());
    let preview = uploaded.header("location").expect("a preview").to_owned();
    amys.sees(&preview);
    assert_eq!(amys.sends(&preview, &[]).status, 303);
    let imported =
        format!("code,target_url,owner\nby-import,{TARGET},amy@agency.gov.sg\nby-v1,{TARGET},amy@agency.gov.sg\n");
    let imported = server.home().write("links.csv", &imported).display().to_string();
    for words in [
        &["link", "import", "--dry-run", &imported][..],
        &["link", "import", &imported],
        &["link", "import", &imported],
    ] {
        server.home().run(words).assert_code(0);
    }
    amy.switches("by-v1", "INACTIVE");
    program.changes("by-v2", &json!({"description": "A form"}));
    root.sees("/console/links/by-console");
    assert_eq!(root.sends("/console/links/by-console/state", &[("state", "off")]).status, 303);
    server.knows("ben@agency.gov.sg");
    root.sees("/console/links/by-console/transfer");
    let to_ben = [("owner", "ben@agency.gov.sg"), ("version", "2")];
    assert_eq!(root.sends("/console/links/by-console/transfer", &to_ben).status, 303);
    amys.sees("/console/keys");
    let made = amys.sends("/console/keys", &[("name", "once"), ("scope", "links:read"), ("days", "30")]).text();
    let of_console =
        id_of(made.split("class=\"key-once\">").nth(1).and_then(|rest| rest.split('<').next()).expect("a key"));
    let revoke = format!("/console/keys/{of_console}/revoke");
    amys.sees(&revoke);
    assert_eq!(amys.sends(&revoke, &[]).status, 303);
    server.home().run(&["key", "revoke", &id_of(&amy.key)]).assert_code(0);

    let told: Vec<_> = entries(&file)[told_before..]
        .iter()
        .map(|entry| {
            let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let about = [word("code"), word("key")].concat();
            format!("{} {about} by {}", word("event"), word("by"))
        })
        .collect();
    let key = format!("key:{}", id_of(&amy.key));
    let expected = [
        format!("link.created by-v1 by {key}"),
        format!("link.created by-v2 by {key}"),
        format!("link.created by-batch by {key}"),
        "link.created by-console by session:root@agency.gov.sg".to_owned(),
        "link.created by-upload by session:amy@agency.gov.sg".to_owned(),
        "link.created by-import by operator".to_owned(),
        format!("link.changed by-v1 by {key}"),
        format!("link.changed by-v2 by {key}"),
        "link.changed by-console by session:root@agency.gov.sg".to_owned(),
        "link.transferred by-console by session:root@agency.gov.sg".to_owned(),
        format!("key.created {of_console} by session:amy@agency.gov.sg"),
        format!("key.revoked {of_console} by session:amy@agency.gov.sg"),
        format!("key.revoked {} by operator", id_of(&amy.key)),
    ];
    assert_eq!(told, expected, "each change once, and nothing for what was there, taken or only tried");
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
    let home = Home::new().set("limits.otps_per_hour", "4");
    let file = home.path().join("audit.ndjson");
    let server = home.set("audit.file", file.to_str().expect("UTF-8")).start();
    let mut desk = Desk::of(&server, "amy@agency.gov.sg");
    desk.sees("/console/account");
    desk.sends("/console/logout", &[]);
    // A password that isn't the mailed one, a mailbox that has had its share, and somebody who is no officer. Not in a browser that is known.
    desk.cookies.clear();
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", "amy@agency.gov.sg")]);
    desk.sends("/console/login/password", &[("email", "amy@agency.gov.sg"), ("password", "no password")]);
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", "amy@agency.gov.sg")]);
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", "mallory@elsewhere.example")]);
    let mut second = Desk::of(&server, "ben@agency.gov.sg");
    second.sees("/console/account");
    second.sends("/console/logout-everywhere", &[]);

    let mut sessions = Vec::new();
    let told: Vec<Value> = entries(&file)
        .into_iter()
        .map(|mut entry| {
            let fields = entry.as_object_mut().expect("an object");
            let at = fields.shift_remove("at").expect("a time");
            assert!(at.as_str().is_some_and(|at| at.starts_with("20") && at.ends_with('Z')), "{at}");
            sessions.extend(fields.shift_remove("session").map(|id| id.as_str().expect("an id").to_owned()));
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
    let [began, ended, second_began, second_ended] = sessions.as_slice() else { panic!("two sessions: {sessions:?}") };
    assert!(began == ended && second_began == second_ended && began != second_began, "{sessions:?}");
}

#[test]
fn an_entry_names_its_session_and_by_a_setting_the_clients_address() {
    for addresses in ["false", "true"] {
        let home = Home::new().set("audit.addresses", addresses).set("public.trusted_proxies", "127.0.0.0/8");
        let file = home.path().join("audit.ndjson");
        let server = home.set("audit.file", file.to_str().expect("UTF-8")).start();
        let amy = server.officer("amy@agency.gov.sg");
        let mut desk = Desk::of(&server, "amy@agency.gov.sg");
        desk.sees("/console/create");
        desk.sends("/console/create", &[("code", "form"), ("target", "https://example.com")]);
        let create = server.request("POST", "/api/v2/links").key(&amy.key).header("X-Forwarded-For", "192.0.2.7");
        assert_eq!(create.json(&json!({"code": "by-key", "target_url": "https://example.com"})).send().status, 201);
        let mut stranger = Desk::at(&server);
        stranger.from = Some("2001:db8::7".to_owned());
        stranger.opens("/console/login");
        assert_eq!(stranger.sends("/console/login", &[("email", "mallory@elsewhere.example")]).status, 200);

        let entries = entries(&file);
        let [by_command, began, by_session, by_key, failed] = entries.as_slice() else { panic!("five: {entries:?}") };
        let session = began["session"].as_str().expect("an id of the session");
        assert_eq!(by_session["session"], session, "what was done in it can be found");
        for entry in [by_command, by_key, failed] {
            assert_eq!(entry["session"], Value::Null, "{entry}");
        }
        assert!(desk.cookies.iter().all(|(_, value)| !value.contains(session)), "it is no secret: {session}");
        let mut redis = server.redis();
        let keys: Vec<String> = redis::cmd("KEYS").arg("session:*").query(&mut redis).expect("the keys");
        assert!(keys.iter().all(|key| !key.contains(session)), "nor the name of one: {keys:?}");
        let found: Vec<&Value> = entries.iter().map(|entry| &entry["address"]).collect();
        let expected = match addresses {
            "true" => [Value::Null, json!("127.0.0.1"), json!("127.0.0.1"), json!("192.0.2.7"), json!("2001:db8::7")],
            _ => [const { Value::Null }; 5],
        };
        assert_eq!(found, expected.iter().collect::<Vec<_>>(), "audit.addresses = {addresses}");
    }
}

#[test]
fn an_invitation_is_written_down_once() {
    let home = Home::new();
    let file = home.path().join("audit.ndjson");
    let home = home.set("audit.file", file.to_str().expect("UTF-8"));
    for _ in 0..2 {
        home.run(&["officer", "invite", "amy@agency.gov.sg"]).assert_code(0);
    }
    let entries = entries(&file);
    let [entry] = entries.as_slice() else { panic!("one: {entries:?}") };
    let about = ["event", "by", "officer"].map(|name| entry[name].as_str().unwrap_or_default());
    assert_eq!(about, ["officer.invited", "operator", "amy@agency.gov.sg"]);
}

#[test]
fn failed_logins_leave_the_disks_reserve_to_clicks_and_changes() {
    let home = Home::new().set("audit.disk_reserve", "1TiB");
    let file = home.path().join("audit.ndjson");
    let server = home.set("audit.file", file.to_str().expect("UTF-8")).start();
    server.expect_log("audit.disk_reserve");
    let amy = server.officer("amy@agency.gov.sg");
    let mut desk = Desk::at(&server);
    for _ in 0..3 {
        desk.opens("/console/login");
        desk.sends("/console/login", &[("email", "mallory@elsewhere.example")]);
    }
    amy.creates("form", "https://example.com");
    let events: Vec<Value> = entries(&file).into_iter().map(|entry| entry["event"].clone()).collect();
    assert_eq!(events, ["key.created", "link.created"]);
    assert_eq!(server.metrics().sum("merlink_audit_withheld_total"), 3.0);
    assert_eq!(server.metrics().sum("merlink_audit_failures_total"), 0.0);
}

#[test]
fn failed_logins_that_repeat_one_of_the_same_minute_are_one_line_with_their_count() {
    let (server, file) = audited();
    let mut desk = Desk::at(&server);
    desk.opens("/console/login");
    for _ in 0..5 {
        desk.sends("/console/login/password", &[("email", "amy@agency.gov.sg"), ("password", "no digits")]);
    }
    assert_eq!(server.end_by(Signal::TERM), Some(0));
    let entries = entries(&file);
    let counts: Vec<Option<u64>> = entries.iter().map(|entry| entry["count"].as_u64()).collect();
    // The minute may end between two of them.
    assert_eq!(counts.iter().map(|count| count.unwrap_or(1)).sum::<u64>(), 5, "{entries:?}");
    assert!((2..=4).contains(&entries.len()), "{entries:?}");
    for entry in &entries {
        assert_eq!((&entry["reason"], &entry["email"]), (&json!("wrong_otp"), &json!("amy@agency.gov.sg")), "{entry}");
    }
}
