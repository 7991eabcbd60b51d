//! `/api/v2/keys` and `/api/v2/me`: what a key may do, who may make one, and when it ends.

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::{
    api_v2::{Program, TARGET},
    harness::{Home, Server, eventually},
    redis_server::RedisServer,
};

const USUAL: [&str; 4] = ["links:read", "links:write", "stats:read", "keys:write"];

/// Makes a key that must be made, and answers its JSON.
#[track_caller]
fn make(program: &Program<'_>, body: &Value) -> Value {
    let answer = program.post("/keys", body);
    let key = answer.assert_v2(&body.to_string(), 201);
    let id = key["id"].as_str().expect("an id");
    assert!(answer.header("location").is_some_and(|location| location.ends_with(&format!("/api/v2/keys/{id}"))));
    key
}

#[test]
fn a_key_is_shown_once_and_does_what_its_scopes_say() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let made =
        make(&amy, &json!({"name": " nightly ", "scopes": ["links:read"], "expires_at": "2126-01-01T00:00:00Z"}));
    let secret = made["key"].as_str().expect("the key").to_owned();
    let shape: Vec<usize> = secret.splitn(3, '_').map(str::len).collect();
    assert_eq!(shape, [3, 12, 43], "mlk_<id>_<256 bits>: {secret}");
    assert_eq!((&made["name"], &made["scopes"]), (&json!("nightly"), &json!(["links:read"])));
    assert_eq!((&made["expires_at"], &made["usable"]), (&json!("2126-01-01T00:00:00.000Z"), &json!(true)));
    let list = amy.get("/keys");
    assert!(!list.text().contains(&secret), "the secret isn't shown again");
    let keys = list.assert_v2("keys", 200);
    let ids: Vec<&str> = keys["items"].as_array().expect("items").iter().filter_map(|key| key["id"].as_str()).collect();
    let own = amy.key.split('_').nth(1).expect("an id");
    assert_eq!(ids, [own, made["id"].as_str().expect("an id")], "oldest first");

    let reader = server.program_with_key(&secret);
    assert_eq!(reader.codes(&[]), Vec::<String>::new());
    for (method, path, body, scope) in [
        ("POST", "/links", json!({"target_url": TARGET}), "links:write"),
        ("PATCH", "/links/form", json!({}), "links:write"),
        ("POST", "/links/form/transfer", json!({"owner": "b@x.gov.sg"}), "links:write"),
        ("GET", "/keys", json!(null), "keys:write"),
        ("POST", "/keys", json!({}), "keys:write"),
        ("DELETE", "/keys/abc", json!(null), "keys:write"),
    ] {
        let refused = reader.request(method, path).json(&body).send().conventional(path);
        let problem = refused.assert_problem(&format!("{method} {path}"), 403, "forbidden");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(scope)), "{problem}");
    }
    let writer = server.program_with_scopes("amy@agency.gov.sg", "links:write");
    writer.creates(&json!({"target_url": TARGET, "code": "form"}));
    for path in ["/links", "/links/form", "/links/form/history"] {
        writer.get(path).assert_problem(path, 403, "forbidden");
    }
    assert_eq!(reader.link("form")["code"], "form");
}

#[test]
fn me_says_whose_key_this_is_and_what_it_may() {
    let server = Home::new().set("officers.admins", "root@agency.gov.sg").set("limits.api_per_minute", "900").start();
    let amy = server.program("amy@agency.gov.sg");
    let me = amy.get("/me").assert_v2("me", 200);
    assert_eq!((&me["officer"], &me["admin"]), (&json!("amy@agency.gov.sg"), &json!(false)));
    assert_eq!((&me["key"]["scopes"], &me["key"]["usable"]), (&json!(USUAL), &json!(true)));
    assert_eq!(
        me["limits"],
        json!({"requests_per_minute": 900, "requests_per_minute_of_officer": 1200, "batch_rows": 1000, "body_bytes": 102_400})
    );
    // Any key may ask, whatever its scopes.
    let me = server.program_with_scopes("root@agency.gov.sg", "stats:read").get("/me").assert_v2("me", 200);
    assert_eq!((&me["officer"], &me["admin"]), (&json!("root@agency.gov.sg"), &json!(true)));
    assert_eq!(me["key"]["scopes"], json!(["stats:read"]));
}

#[test]
fn a_key_hands_out_only_what_it_has() {
    let server = Home::new().set("officers.admins", "root@agency.gov.sg").start();
    let amy = server.program_with_scopes("amy@agency.gov.sg", "links:read keys:write");
    assert_eq!(make(&amy, &json!({}))["scopes"], json!(["links:read", "keys:write"]));
    assert_eq!(make(&amy, &json!({"scopes": ["links:read", "links:read"]}))["scopes"], json!(["links:read"]));
    let admin = server.program_with_scopes("root@agency.gov.sg", "keys:write admin");
    assert_eq!(make(&admin, &json!({}))["scopes"], json!(["keys:write"]), "admin has to be asked for");
    assert_eq!(make(&admin, &json!({"scopes": ["admin"]}))["scopes"], json!(["admin"]));
    for (body, places) in [
        (json!({"scopes": ["links:write"]}), &["/scopes/0"][..]),
        (json!({"scopes": ["links:read", "admin", "links:delete", 1]}), &["/scopes/1", "/scopes/2", "/scopes/3"]),
        (json!({"scopes": []}), &["/scopes"]),
        (json!({"scopes": "links:read"}), &["/scopes"]),
        (json!({"name": "n".repeat(101)}), &["/name"]),
        (json!({"name": "two\nlines"}), &["/name"]),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), &["/expires_at"]),
        (json!({"expires_at": "90d"}), &["/expires_at"]),
        (json!({"owner": "ben@agency.gov.sg"}), &["/owner"]),
        (json!({"name": 1, "scopes": 1, "expires_at": 1, "zoo": 1}), &["/name", "/scopes", "/expires_at", "/zoo"]),
        (json!([]), &[""]),
    ] {
        amy.post("/keys", &body).assert_mistakes(&body.to_string(), places);
    }
    assert_eq!(make(&amy, &json!({"name": "税".repeat(100)}))["name"], "税".repeat(100));
}

#[test]
fn a_hundred_keys_are_enough() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let mut last = Value::Null;
    for _ in 1..100 {
        last = make(&amy, &json!({}));
    }
    amy.post("/keys", &json!({})).assert_mistakes("the 101st", &[""]);
    revoke(&amy, last["id"].as_str().expect("an id"));
    make(&amy, &json!({}));
}

#[track_caller]
fn revoke(program: &Program<'_>, id: &str) {
    let answer = program.request("DELETE", &format!("/keys/{id}")).send().conventional(id);
    assert_eq!((answer.status, answer.text().as_str()), (204, ""), "{id}");
}

#[test]
fn a_revoked_key_ends_at_once_on_every_node() {
    let redis = RedisServer::start();
    let nodes = [0, 1].map(|_| Home::new().set("redis.url", redis.url()).start());
    let amy = nodes[0].program("amy@agency.gov.sg");
    let made = make(&amy, &json!({}));
    let (id, secret) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a key"));
    for node in &nodes {
        node.program_with_key(secret).get("/me").assert_v2("while it is good", 200);
    }
    revoke(&amy, id);
    for node in &nodes {
        let answer = node.program_with_key(secret).get("/me");
        answer.assert_problem("revoked", 401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    revoke(&amy, id);
    let list = amy.get("/keys").assert_v2("keys", 200);
    let kept =
        list["items"].as_array().expect("items").iter().find(|key| key["id"] == id).expect("it stays in the list");
    assert!(kept["revoked_at"].is_string() && kept["usable"] == false, "{kept}");
    // A key can end itself; nobody can end another's.
    let ben = nodes[1].program("ben@agency.gov.sg");
    let own = amy.key.split('_').nth(1).expect("an id");
    for id in [own, "nobodys-key", "%00", "a%20b"] {
        let refused = ben.request("DELETE", &format!("/keys/{id}")).send().conventional(id);
        refused.assert_problem(id, 404, "not-found");
    }
    revoke(&amy, own);
    amy.get("/me").assert_problem("it has ended itself", 401, "unauthorized");
}

#[test]
fn a_key_ends_when_it_was_said_to() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let soon = Timestamp::now() + 1.second();
    let made = make(&amy, &json!({"expires_at": soon.to_string()}));
    let brief = server.program_with_key(made["key"].as_str().expect("a key"));
    eventually("the key's end", || (brief.get("/me").status == 401).then_some(()));
    assert!(Timestamp::now() >= soon, "not before its time");
    let list = amy.get("/keys").assert_v2("keys", 200);
    assert_eq!(list["items"][1]["usable"], false, "{list}");
}

#[test]
fn when_a_key_was_last_used_is_kept_to_the_minute() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let made = make(&amy, &json!({}));
    assert_eq!(made["last_used_at"], Value::Null);
    let id = made["id"].as_str().expect("an id").to_owned();
    let last_used = || {
        let list = amy.get("/keys").assert_v2("keys", 200);
        let items = list["items"].as_array().expect("items").clone();
        items.into_iter().find(|key| key["id"] == *id).expect("it is listed")["last_used_at"].clone()
    };
    let other = server.program_with_key(made["key"].as_str().expect("a key"));
    other.get("/me").assert_v2("its first use", 200);
    let first: Timestamp = last_used().as_str().expect("a time").parse().expect("RFC 3339");
    other.get("/me").assert_v2("used again at once", 200);
    let again: Timestamp = last_used().as_str().expect("a time").parse().expect("RFC 3339");
    assert!(again == first || again.duration_since(first).as_secs() >= 60, "written once a minute: {first}, {again}");
    // As if its last use had been long ago.
    redis::cmd("HSET")
        .arg(format!("key:{{{id}}}"))
        .arg("used")
        .arg(1_000)
        .exec(&mut server.redis())
        .expect("is written");
    let long_ago = last_used();
    other.get("/me").assert_v2("used after long", 200);
    assert_ne!(last_used(), long_ago);
}

#[test]
fn both_versions_take_the_same_keys() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let made = make(&amy, &json!({"scopes": ["links:read"]}));
    let v1 = server.officer_with_key(made["key"].as_str().expect("a key"));
    v1.list("").assert_v1_status("a list of v1", 200);
    revoke(&amy, made["id"].as_str().expect("an id"));
    v1.list("").assert_v1_status("revoked", 401);
}
