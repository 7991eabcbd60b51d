//! `PATCH /api/v2/links/{code}`, its transfer to a colleague, and its history.

use serde_json::{Value, json};

use crate::{
    api_v2::{Program, TARGET},
    harness::{Home, Server},
};

/// A link about which everything is said.
fn full(program: &Program<'_>, code: &str) -> Value {
    program
        .creates(&json!({"target_url": TARGET, "code": code, "description": "Tax", "contact_email": "help@iras.gov.sg",
        "tags": ["tax", "gst"], "forward_query": true, "expires_at": "2126-01-01T00:00:00Z"}))
}

#[test]
fn what_a_patch_names_changes_null_empties_and_the_rest_stays() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let before = full(&amy, "form");
    let mut expected = before.clone();
    for (version, (field, sent, kept)) in [
        ("target_url", json!("https://example.com/new"), json!("https://example.com/new")),
        ("state", json!("inactive"), json!("inactive")),
        ("description", json!(null), json!("")),
        ("contact_email", json!(null), json!(null)),
        ("tags", json!(["one"]), json!(["one"])),
        ("tags", json!(null), json!([])),
        ("forward_query", json!(null), json!(false)),
        ("expires_at", json!(null), json!(null)),
        ("description", json!("New"), json!("New")),
    ]
    .into_iter()
    .enumerate()
    {
        let now = amy.changes("form", &json!({field: sent}));
        expected[field] = kept;
        expected["version"] = json!(version + 2);
        expected["updated_at"] = now["updated_at"].clone();
        assert_eq!(now, expected, "{field}");
    }
    assert_eq!(amy.link("form"), expected, "reading it answers the same");
}

#[test]
fn what_is_so_already_is_no_change() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let before = full(&amy, "form");
    let same = json!({"target_url": TARGET, "state": "active", "description": " Tax ", "tags": ["tax", "gst"]});
    for body in [json!({}), same] {
        assert_eq!(amy.changes("form", &body), before);
    }
    assert_eq!(history(&amy, "form").len(), 1);
}

#[test]
fn a_patch_finds_every_mistake_and_changes_nothing() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let before = full(&amy, "form");
    for (body, places) in [
        (json!([]), &[""][..]),
        (json!(null), &[""]),
        (json!({"target_url": null}), &["/target_url"]),
        (json!({"state": null}), &["/state"]),
        (json!({"state": "ACTIVE"}), &["/state"]),
        (json!({"state": true}), &["/state"]),
        (json!({"owner": "ben@agency.gov.sg"}), &["/owner"]),
        (json!({"code": "other"}), &["/code"]),
        (json!({"version": 7}), &["/version"]),
        (json!({"clicks": 7}), &["/clicks"]),
        (json!({"tags": [null]}), &["/tags/0"]),
        (
            json!({"target_url": "x", "state": "", "description": "a\nb", "tags": 1, "zoo": 1}),
            &["/target_url", "/state", "/description", "/tags", "/zoo"],
        ),
        (json!({"description": "good", "forward_query": 0}), &["/forward_query"]),
    ] {
        amy.patch("form", &body).assert_mistakes(&body.to_string(), places);
    }
    assert_eq!(amy.link("form"), before);
}

#[test]
fn if_match_lets_only_the_version_that_was_read_be_changed() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    full(&amy, "form");
    let patch = |if_match: &str, description: &str| {
        let request = amy.request("PATCH", "/links/form").header("If-Match", if_match);
        request.json(&json!({"description": description})).send().conventional(if_match)
    };
    let first = patch("\"1\"", "first");
    first.assert_v2("as it was read", 200);
    assert_eq!(first.header("etag"), Some("\"2\""));
    assert_eq!(amy.get("/links/form").header("etag"), Some("\"2\""));
    for stale in ["\"1\"", "\"3\"", "W/\"2\"", "\"2", "2", "\"x\"", ""] {
        let problem = patch(stale, "lost").assert_problem(stale, 412, "stale");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("\"2\"")), "{problem}");
    }
    patch("*", "second").assert_v2("any version", 200);
    patch("\"1\", \"3\"", "third").assert_v2("one of two versions", 200);
    patch("\"1\", \"3\"", "lost").assert_problem("neither of two", 412, "stale");
    let request = amy.request("POST", "/links/form/transfer").header("If-Match", "\"2\"");
    let refused = request.json(&json!({"owner": "ben@agency.gov.sg"})).send().conventional("transfer");
    refused.assert_problem("a stale transfer", 412, "stale");
    assert_eq!(amy.link("form")["description"], "third");
    let unknown = amy.request("PATCH", "/links/unknown").header("If-Match", "*").json(&json!({})).send();
    unknown.conventional("unknown").assert_problem("of what isn't there", 404, "not-found");
}

#[test]
fn nobody_elses_link_can_be_seen_changed_or_told_from_none() {
    let server = Server::start();
    let [amy, ben] = ["amy", "ben"].map(|name| server.program(&format!("{name}@agency.gov.sg")));
    let before = full(&amy, "form");
    for code in ["form", "never-made", "No-Code!", "%E7%A8%8E"] {
        for (method, path, body) in [
            ("GET", "", None),
            ("HEAD", "", None),
            ("PATCH", "", Some(json!({"state": "inactive"}))),
            ("PATCH", "", Some(json!({"nonsense": 1}))),
            ("POST", "/transfer", Some(json!({"owner": "ben@agency.gov.sg"}))),
            ("GET", "/history", None),
            ("GET", "/history?at=2126-01-01T00:00:00Z", None),
        ] {
            let request = ben.request(method, &format!("/links/{code}{path}"));
            let request = if let Some(body) = &body { request.json(body) } else { request };
            let answer = request.send().conventional(code);
            assert_eq!(answer.status, 404, "{method} {code}{path}: {}", answer.text());
        }
    }
    assert_eq!(amy.link("form"), before);
}

#[test]
fn a_transferred_link_is_in_the_new_owners_lists_and_in_no_other() {
    let server = Home::new().set("officers.admins", "root@agency.gov.sg").start();
    let [amy, ben] = ["amy", "ben"].map(|name| server.program(&format!("{name}@agency.gov.sg")));
    full(&amy, "form");
    full(&amy, "kept");
    let link = amy.transfer("form", " Ben@Agency.gov.sg ").assert_v2("transfer", 200);
    assert_eq!((&link["owner"], &link["version"]), (&json!("ben@agency.gov.sg"), &json!(2)));
    for sort in ["-created_at", "created_at", "-clicks", "clicks", "code"] {
        for tag in [&[][..], &[("tag", "tax")], &[("tag", "GST"), ("tag", "tax")]] {
            let parameters = [&[("sort", sort)], tag].concat();
            assert_eq!(amy.codes(&parameters), ["kept"], "{parameters:?}");
            assert_eq!(ben.codes(&parameters), ["form"], "{parameters:?}");
        }
    }
    assert_eq!(amy.get("/links/form").status, 404, "it isn't Amy's any more");
    amy.transfer("form", "amy@agency.gov.sg").assert_problem("nor can she take it back", 404, "not-found");
    server.follow("form").assert_redirects("it leads where it led", TARGET);
    for (body, place) in [
        (json!({}), "/owner"),
        (json!({"owner": null}), "/owner"),
        (json!({"owner": "ben"}), "/owner"),
        (json!({"owner": "ben@elsewhere.example"}), "/owner"),
        (json!({"owner": "ben@agency.gov.sg", "state": "active"}), "/state"),
    ] {
        amy.post("/links/kept/transfer", &body).assert_mistakes(&body.to_string(), &[place]);
    }
    let admin = server.program_with_scopes("root@agency.gov.sg", "links:write admin");
    assert_eq!(admin.transfer("form", "amy@agency.gov.sg").assert_v2("by an admin", 200)["version"], 3);
    assert_eq!(amy.codes(&[("sort", "code")]), ["form", "kept"]);
}

#[test]
fn a_change_of_tags_moves_the_link_between_their_lists() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    full(&amy, "form");
    amy.changes("form", &json!({"tags": ["gst", "2027"]}));
    for (tag, codes) in [("tax", &[][..]), ("gst", &["form"]), ("2027", &["form"]), ("never", &[])] {
        assert_eq!(amy.codes(&[("tag", tag)]), codes, "{tag}");
    }
}

#[test]
fn history_tells_every_change_newest_first_and_by_whom() {
    let server = Server::start();
    let [amy, ben] = ["amy", "ben"].map(|name| server.program(&format!("{name}@agency.gov.sg")));
    full(&amy, "form");
    amy.changes("form", &json!({"state": "inactive", "tags": ["gst"], "expires_at": null}));
    amy.transfer("form", "ben@agency.gov.sg").assert_v2("transfer", 200);
    ben.changes("form", &json!({"target_url": "https://example.com/new"}));
    let entries = history(&ben, "form");
    let key_id = |program: &Program<'_>| program.key.split('_').nth(1).expect("mlk_<id>_<secret>").to_owned();
    let told: Vec<_> = entries.iter().map(|entry| (entry["version"].clone(), entry["by"].clone())).collect();
    let by = |program| json!({"kind": "key", "key": key_id(program)});
    let expected = [(4, by(&ben)), (3, by(&amy)), (2, by(&amy)), (1, by(&amy))];
    assert_eq!(told, expected.map(|(version, by)| (json!(version), by)));
    assert_eq!(
        entries[0]["changes"],
        json!([{"field": "target_url", "from": TARGET, "to": "https://example.com/new"}])
    );
    assert_eq!(
        entries[1]["changes"],
        json!([{"field": "owner", "from": "amy@agency.gov.sg", "to": "ben@agency.gov.sg"}])
    );
    assert_eq!(
        entries[2]["changes"],
        json!([
            {"field": "state", "from": "active", "to": "inactive"},
            {"field": "tags", "from": ["tax", "gst"], "to": ["gst"]},
            {"field": "expires_at", "from": "2126-01-01T00:00:00.000Z", "to": null},
        ])
    );
    let created = entries[3]["changes"].as_array().expect("changes");
    assert!(created.iter().all(|change| change["from"].is_null()), "from nothing: {created:?}");
}

#[test]
fn history_comes_in_pages_and_answers_what_the_link_was_at_a_time() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let first = full(&amy, "form");
    for number in 0..249 {
        amy.changes("form", &json!({"description": format!("change {number}")}));
    }
    let page = amy.get("/links/form/history").assert_v2("the first page", 200);
    assert_eq!(page["items"].as_array().map(Vec::len), Some(50));
    let entries = history(&amy, "form");
    let versions: Vec<u64> = entries.iter().filter_map(|entry| entry["version"].as_u64()).collect();
    assert_eq!(versions, (1..=250).rev().collect::<Vec<_>>(), "each once, from page to page");

    let at = |time: &str| amy.get(&format!("/links/form/history?at={time}"));
    let then = at(first["created_at"].as_str().expect("a time")).assert_v2("when it was made", 200);
    // Several changes may share its millisecond: then the last of them is what the link was.
    let last_then = entries.iter().find(|entry| entry["at"] == first["created_at"]).expect("its creation");
    assert_eq!(then["link"]["version"], last_then["version"]);
    assert_eq!(then["link"].get("clicks"), None, "how often it was followed is no part of its past");
    let now = at("2126-01-01T00:00:00%2B08:00").assert_v2("from today on", 200);
    assert_eq!((&now["link"]["version"], &now["link"]["description"]), (&json!(250), &json!("change 248")));
    let plus = at("2126-01-01T00:00:00+08:00").assert_v2("with the plus as people write it", 200);
    assert_eq!(plus, now);
    at("2020-01-01T00:00:00Z").assert_problem("before it was made", 404, "not-found");
    for (query, places) in [
        ("at=yesterday", &["at"][..]),
        ("limit=0", &["limit"]),
        ("limit=101", &["limit"]),
        ("cursor=x", &["cursor"]),
        ("cursor=-1", &["cursor"]),
        ("at=2026-01-01T00:00:00Z&limit=5", &["at"]),
        ("page=2", &["page"]),
    ] {
        amy.get(&format!("/links/form/history?{query}")).assert_mistakes(query, places);
    }
}

/// A link's whole history, in pages of a hundred.
#[track_caller]
fn history(program: &Program<'_>, code: &str) -> Vec<Value> {
    let (mut entries, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = program.get(&format!("/links/{code}/history?limit=100{cursor}")).assert_v2(code, 200);
        entries.extend(page["items"].as_array().expect("items").clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return entries,
        }
    }
}
