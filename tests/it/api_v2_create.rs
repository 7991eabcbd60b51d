//! `POST /api/v2/links`: what a link may be made of, and every mistake at once.

use serde_json::{Value, json};

use crate::{
    api_v1_create::assert_is_timestamp,
    api_v2::TARGET,
    harness::{Home, Server},
};

#[test]
fn a_link_is_answered_whole_with_its_address_and_its_etag() {
    let server = Home::new().set("public.base_url", "https://go.example").start();
    let amy = server.program("Amy@Agency.gov.sg");
    let answer = amy.create(&json!({
        "target_url": TARGET, "code": "iras-tax", "description": " Income tax, 税 ", "contact_email": "Help@IRAS.gov.sg",
        "tags": ["Tax", "tax", "2026_q1"], "forward_query": true, "expires_at": "2126-01-31T23:59:59.1239+08:00"
    }));
    let mut link = answer.assert_v2("create", 201);
    assert_eq!(answer.header("location"), Some("https://go.example/api/v2/links/iras-tax"));
    assert_eq!(answer.header("etag"), Some("\"1\""));
    assert_is_timestamp(&link["created_at"]);
    assert_eq!(link["created_at"], link["updated_at"]);
    for time in ["created_at", "updated_at"] {
        link[time] = Value::Null;
    }
    let expected = json!({
        "code": "iras-tax", "short_url": "https://go.example/iras-tax", "target_url": TARGET, "state": "active",
        "owner": "amy@agency.gov.sg", "description": "Income tax, 税", "contact_email": "help@iras.gov.sg",
        "tags": ["Tax", "2026_q1"], "source": "api", "forward_query": true, "expires_at": "2126-01-31T15:59:59.123Z",
        "created_at": null, "updated_at": null, "version": 1, "clicks": 0
    });
    assert_eq!(link, expected);
    assert_eq!(amy.link("iras-tax"), answer.json(), "reading it answers the same");
}

#[test]
fn a_target_is_enough_and_null_is_as_good_as_nothing() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let nothing = json!({"target_url": TARGET, "code": null, "description": null, "contact_email": null, "tags": null,
        "forward_query": null, "expires_at": null, "owner": null});
    for body in [json!({"target_url": TARGET}), nothing] {
        let link = amy.creates(&body);
        let code = link["code"].as_str().expect("a string");
        let plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
        assert!(code.len() == 8 && code.chars().all(plain), "{code}");
        for (field, expected) in [
            ("description", json!("")),
            ("contact_email", json!(null)),
            ("tags", json!([])),
            ("forward_query", json!(false)),
            ("expires_at", json!(null)),
            ("owner", json!("amy@agency.gov.sg")),
        ] {
            assert_eq!(link[field], expected, "{field}");
        }
        server.follow(code).assert_redirects(code, TARGET);
    }
}

#[test]
fn each_field_has_its_limit() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let target = |length: usize| json!({"target_url": format!("{TARGET}/{}", "a".repeat(length - TARGET.len() - 1))});
    let with = |field: &str, value: Value| {
        let mut body = json!({"target_url": TARGET});
        body[field] = value;
        body
    };
    let code = |length: usize| with("code", json!("c".repeat(length)));
    let description = |length: usize| with("description", json!("税".repeat(length)));
    let tags = |count: usize| with("tags", (0..count).map(|number| format!("t{number}")).collect());
    let tag = |length: usize| with("tags", json!(["t".repeat(length)]));
    let contact = |length: usize| with("contact_email", json!(format!("{}@agency.gov.sg", "a".repeat(length))));
    for body in [
        target(2081),
        target(2082),
        code(1),
        code(254),
        code(255),
        description(0),
        description(199),
        description(200),
        tags(0),
        tags(9),
        tags(10),
        tag(1),
        tag(25),
        contact(63),
        contact(64),
        with("expires_at", json!("9999-12-30T21:59:59Z")),
    ] {
        amy.creates(&body);
    }
    for (body, place) in [
        (target(2083), "/target_url"),
        (code(0), "/code"),
        (code(256), "/code"),
        (description(201), "/description"),
        (tags(11), "/tags"),
        (with("tags", json!(vec!["t"; 11])), "/tags"),
        (tag(0), "/tags/0"),
        (tag(26), "/tags/0"),
        (contact(0), "/contact_email"),
        (contact(65), "/contact_email"),
    ] {
        amy.create(&body).assert_mistakes(&body.to_string(), &[place]);
    }
}

#[test]
fn every_mistake_is_found_and_said_where_it_is() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    for (body, places) in [
        (json!({}), &["/target_url"][..]),
        (json!({"target_url": null}), &["/target_url"]),
        (json!({"target_url": 1}), &["/target_url"]),
        (json!({"target_url": ""}), &["/target_url"]),
        (json!({"target_url": [TARGET]}), &["/target_url"]),
        (json!([]), &[""]),
        (json!([{"target_url": TARGET}]), &[""]),
        (json!("text"), &[""]),
        (json!(null), &[""]),
        (json!({"target_url": TARGET, "clicks": 1}), &["/clicks"]),
        (json!({"target_url": TARGET, "Code": "a"}), &["/Code"]),
        (json!({"target_url": TARGET, "a/b~c": 1}), &["/a~1b~0c"]),
        (json!({"target_url": TARGET, "state": "inactive"}), &["/state"]),
        (json!({"target_url": TARGET, "code": "A b"}), &["/code"]),
        (json!({"target_url": TARGET, "code": 7}), &["/code"]),
        (json!({"target_url": TARGET, "description": "two\nlines"}), &["/description"]),
        (json!({"target_url": TARGET, "description": "\u{202e}x"}), &["/description"]),
        (json!({"target_url": TARGET, "contact_email": "help"}), &["/contact_email"]),
        (json!({"target_url": TARGET, "tags": "tax"}), &["/tags"]),
        (json!({"target_url": TARGET, "tags": ["a b", "tax", 7, "é"]}), &["/tags/0", "/tags/2", "/tags/3"]),
        (json!({"target_url": TARGET, "forward_query": "true"}), &["/forward_query"]),
        (json!({"target_url": TARGET, "expires_at": "2026-01-31"}), &["/expires_at"]),
        (json!({"target_url": TARGET, "expires_at": "2026-01-31T00:00:00"}), &["/expires_at"]),
        (json!({"target_url": TARGET, "expires_at": 1}), &["/expires_at"]),
        (json!({"target_url": TARGET, "owner": "ben"}), &["/owner"]),
        (
            json!({"target_url": "http://x", "code": "", "description": 1, "contact_email": "a", "tags": ["", 1],
                "forward_query": 1, "expires_at": "soon", "owner": "a", "zoo": 1, "bar": 2}),
            &[
                "/target_url",
                "/code",
                "/description",
                "/contact_email",
                "/tags/0",
                "/tags/1",
                "/forward_query",
                "/expires_at",
                "/owner",
                "/zoo",
                "/bar",
            ],
        ),
    ] {
        amy.create(&body).assert_mistakes(&body.to_string(), places);
    }
    assert_eq!(amy.codes(&[]), Vec::<String>::new(), "nothing was created");
}

#[test]
fn a_target_is_held_to_the_rules_of_v1() {
    let server = Home::new().set("public.base_url", "https://go.example.sg").start();
    let amy = server.program("amy@agency.gov.sg");
    for target in [
        "http://example.com",
        "HTTPS://example.com",
        "javascript:alert(1)",
        "https://x",
        "https://localhost/x",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://0x7f.1/",
        "https://good.gov.sg@evil.com/",
        "https://example.com:65536/",
        "https://a b.com",
        "https://bit.ly/x",
        "https://Bit.LY/x",
        "https://go.example.sg/x",
        "https://GO.example.sg:8443/x",
    ] {
        amy.create(&json!({"target_url": target})).assert_mistakes(target, &["/target_url"]);
    }
    for target in ["https://example.com/?u=bit.ly", "https://this.gd/", "https://example.com:8443/a?b=c#d"] {
        assert_eq!(amy.creates(&json!({"target_url": target}))["target_url"], target);
    }
}

#[test]
fn a_code_that_was_ever_used_or_is_reserved_is_taken() {
    let server = Server::start();
    let [amy, ben] = ["amy", "ben"].map(|name| server.program(&format!("{name}@agency.gov.sg")));
    amy.creates(&json!({"target_url": TARGET, "code": "form"}));
    amy.changes("form", &json!({"state": "inactive"}));
    for code in ["form", "api", "assets", "console", "problems"] {
        for program in [&amy, &ben] {
            let refused = program.create(&json!({"target_url": TARGET, "code": code}));
            let problem = refused.assert_problem(code, 409, "code-taken");
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(code)), "{problem}");
        }
    }
}

#[test]
fn an_administrators_key_names_the_owner_and_others_may_not() {
    let server = Home::new().set("officers.admins", "root@agency.gov.sg").start();
    let admin = server.program_with_scopes("root@agency.gov.sg", "links:read links:write admin");
    let link = admin.creates(&json!({"target_url": TARGET, "code": "form", "owner": "Ben@agency.gov.sg"}));
    assert_eq!(link["owner"], "ben@agency.gov.sg");
    assert_eq!(server.program("ben@agency.gov.sg").codes(&[]), ["form"]);
    let body = json!({"target_url": TARGET, "owner": "ben@elsewhere.example"});
    admin.create(&body).assert_mistakes("who can't own links", &["/owner"]);
    // An administrator whose key lacks the scope is an officer as any other.
    let plain = server.program("root@agency.gov.sg");
    let body = json!({"target_url": TARGET, "owner": "ben@agency.gov.sg"});
    plain.create(&body).assert_problem("without the scope", 403, "forbidden");
    plain.creates(&json!({"target_url": TARGET, "owner": "root@agency.gov.sg"}));
    assert_eq!(plain.get("/links/form").status, 404);
}

#[test]
fn a_visit_is_forwarded_and_ends_as_the_link_says() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    amy.creates(&json!({"target_url": "https://example.com/a?x=1", "code": "with-query", "forward_query": true}));
    let answer = server.get("/with-query?y=2").user_agent(crate::harness::CURL).send();
    answer.assert_redirects("a query is taken along", "https://example.com/a?x=1&y=2");
    amy.changes("with-query", &json!({"forward_query": false}));
    let answer = server.get("/with-query?y=2").user_agent(crate::harness::CURL).send();
    answer.assert_redirects("and no longer", "https://example.com/a?x=1");

    let past = amy.creates(&json!({"target_url": TARGET, "code": "over", "expires_at": "2020-01-01T00:00:00Z"}));
    assert_eq!((&past["state"], &past["expired"]), (&json!("active"), &json!(true)));
    assert_eq!(server.follow("over").status, 410);
    let revived = amy.changes("over", &json!({"expires_at": "2126-01-01T00:00:00Z"}));
    assert_eq!(revived.get("expired"), None, "{revived}");
    server.follow("over").assert_redirects("its end was put off", TARGET);
}

#[test]
fn what_one_version_of_the_api_does_the_other_sees() {
    let server = Server::start();
    let (v1, v2) = (server.officer("amy@agency.gov.sg"), server.program("amy@agency.gov.sg"));
    v1.creates("one", TARGET);
    v2.creates(&json!({"target_url": TARGET, "code": "two"}));
    assert_eq!(v2.codes(&[("sort", "code")]), ["one", "two"]);
    assert_eq!(v1.codes("sortDirection=asc"), ["one", "two"]);
    let link = v2.changes("one", &json!({"target_url": "https://example.com/new", "state": "inactive"}));
    let same = v1.link("one");
    assert_eq!(same["longUrl"], link["target_url"]);
    assert_eq!(same["state"], "INACTIVE");
    assert_eq!((&same["createdAt"], &same["updatedAt"]), (&link["created_at"], &link["updated_at"]));
    v1.switches("one", "ACTIVE");
    let link = v2.link("one");
    assert_eq!((&link["state"], &link["version"]), (&json!("active"), &json!(3)));
    assert_eq!(link["updated_at"], v1.link("one")["updatedAt"]);
    for _ in 0..3 {
        server.follow("two");
    }
    v1.sees_clicks("two", 3);
    assert_eq!(v2.link("two")["clicks"], 3);
    v2.create(&json!({"target_url": TARGET, "code": "one"})).assert_problem("made by v1", 409, "code-taken");
    assert_eq!(v1.create(&json!({"longUrl": TARGET, "shortUrl": "two"})).status, 400);
}
