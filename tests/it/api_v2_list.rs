//! `GET /api/v2/links`: each order, each filter, and pages that stay right while links come and go.

use std::collections::HashSet;

use serde_json::json;

use crate::{
    api_v2::{Program, TARGET, codes_of},
    harness::{Home, Server, eventually},
    redis_server::RedisServer,
};

const SORTS: [&str; 5] = ["-created_at", "created_at", "-clicks", "clicks", "code"];

#[track_caller]
fn create(program: &Program<'_>, code: &str, tags: &[&str]) {
    program.creates(&json!({"target_url": TARGET, "code": code, "tags": tags}));
}

#[test]
fn each_order_has_every_link_once_in_pages_of_any_size() {
    let server = Server::start();
    let (amy, v1) = (server.program("amy@agency.gov.sg"), server.officer("amy@agency.gov.sg"));
    // In neither alphabetical order nor that of their clicks.
    let mut made: Vec<(String, &str)> = Vec::new();
    for code in ["delta", "alpha", "echo", "charlie", "bravo"] {
        let link = amy.creates(&json!({"target_url": TARGET, "code": code}));
        made.push((link["created_at"].as_str().expect("a time").to_owned(), code));
    }
    // Two may have been made in one millisecond: then their codes decide.
    made.sort();
    let oldest_first: Vec<&str> = made.iter().map(|(_, code)| *code).collect();
    made.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let newest_first: Vec<&str> = made.iter().map(|(_, code)| *code).collect();
    for (code, clicks) in [("alpha", 2), ("bravo", 3), ("echo", 1)] {
        for _ in 0..clicks {
            server.follow(code);
        }
        v1.sees_clicks(code, clicks);
    }
    for (sort, expected) in [
        ("-created_at", &newest_first[..]),
        ("created_at", &oldest_first),
        ("-clicks", &["bravo", "alpha", "echo", "charlie", "delta"]),
        ("clicks", &["delta", "charlie", "echo", "alpha", "bravo"]),
        ("code", &["alpha", "bravo", "charlie", "delta", "echo"]),
    ] {
        for limit in ["1", "2", "4", "5", "6", "100"] {
            assert_eq!(amy.codes(&[("sort", sort), ("limit", limit)]), expected, "{sort}, {limit} a page");
        }
    }
    assert_eq!(amy.codes(&[]), newest_first, "newest first unless told otherwise");
}

#[test]
fn a_search_finds_links_as_they_are_now_whatever_it_read_before_and_whoever_changed_them() {
    let redis = RedisServer::start();
    let [here, there] = [0, 1].map(|_| Home::new().set("redis.url", redis.url()).start());
    let amy = here.program("amy@agency.gov.sg");
    let elsewhere = there.program_with_key(&amy.key);
    for first in [0, 600] {
        let row = |number| json!({"target_url": format!("{TARGET}/{number}"), "code": format!("form-{number}")});
        amy.post("/batch", &(first..first + 600).map(row).collect()).assert_v2("a batch", 200);
    }
    for program in [&amy, &elsewhere] {
        assert_eq!(program.codes(&[("q", "taxes/1100")]), ["form-1100"]);
        assert!(program.codes(&[("q", "spring")]).is_empty());
    }
    amy.changes("form-7", &json!({"description": "Spring", "tags": ["a", "b"], "state": "inactive"}));
    let finds: [&[(&str, &str)]; 3] = [&[("q", "spring")], &[("state", "inactive")], &[("tag", "a"), ("tag", "b")]];
    for parameters in finds {
        assert_eq!(amy.codes(parameters), ["form-7"], "at once, where it was changed: {parameters:?}");
        eventually("and elsewhere", || (elsewhere.codes(parameters) == ["form-7"]).then_some(()));
    }
    elsewhere.changes("form-7", &json!({"description": "Autumn", "state": "active"}));
    for parameters in [[("q", "spring")], [("state", "inactive")]] {
        assert!(elsewhere.codes(&parameters).is_empty());
        assert!(amy.codes(&parameters).is_empty(), "what memory says is compared with the link: {parameters:?}");
    }
    eventually("and found by its new words", || (amy.codes(&[("q", "autumn")]) == ["form-7"]).then_some(()));
    elsewhere.creates(&json!({"target_url": TARGET, "code": "winter"}));
    assert_eq!(amy.codes(&[("q", "winter")]), ["winter"]);
}

#[test]
fn a_page_has_fifty_links_and_says_where_the_next_is() {
    let server = Home::new().set("public.base_url", "https://go.example").start();
    let amy = server.program("amy@agency.gov.sg");
    for number in 0..101 {
        create(&amy, &format!("form-{number:03}"), &["a-b"]);
    }
    let first = amy.get("/links?tag=A-B&q=form");
    let page = first.assert_v2("the first page", 200);
    assert_eq!(codes_of(&page).len(), 50);
    let next = first.header("link").expect("a Link header");
    let address = next.strip_prefix("<https://go.example/api/v2").and_then(|rest| rest.split_once('>'));
    let (address, rel) = address.unwrap_or_else(|| panic!("{next}"));
    assert_eq!(rel, "; rel=\"next\"");
    let second = amy.get(address);
    let cursor = page["next_cursor"].as_str().expect("there is more");
    let same = amy.get(&format!("/links?tag=A-B&q=form&cursor={cursor}"));
    assert_eq!(second.json(), same.json(), "the header and next_cursor lead to the same page");
    assert!(codes_of(&second.json()).iter().all(|code| !codes_of(&page).contains(code)));
    let last = amy.get("/links?limit=100&sort=code").assert_v2("a hundred", 200);
    assert_eq!(codes_of(&last).len(), 100);
    let end =
        amy.get(&format!("/links?limit=100&sort=code&cursor={}", last["next_cursor"].as_str().expect("one more")));
    assert_eq!(codes_of(&end.assert_v2("the end", 200)), ["form-100"]);
    assert_eq!((&end.json()["next_cursor"], end.header("link")), (&json!(null), None));
}

#[test]
fn filters_narrow_the_list_and_go_together() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    for body in [
        json!({"target_url": "https://example.com/GST", "code": "one", "tags": ["Tax", "2026"]}),
        json!({"target_url": TARGET, "code": "gst-two", "tags": ["tax"]}),
        json!({"target_url": TARGET, "code": "three", "description": "About the ＧST? No: gSt 100%_", "tags": ["2026"]}),
        json!({"target_url": TARGET, "code": "four"}),
    ] {
        amy.creates(&body);
    }
    amy.changes("gst-two", &json!({"state": "inactive"}));
    for (parameters, expected) in [
        (&[("q", "gst")][..], &["gst-two", "one", "three"][..]),
        (&[("q", "GST")], &["gst-two", "one", "three"]),
        (&[("q", "100%_")], &["three"]),
        (&[("q", "%")], &["three"]),
        (&[("q", "*")], &[]),
        (&[("q", "")], &["four", "gst-two", "one", "three"]),
        (&[("q", "ＧST")], &["three"]),
        (&[("state", "inactive")], &["gst-two"]),
        (&[("state", "active")], &["four", "one", "three"]),
        (&[("tag", "TAX")], &["gst-two", "one"]),
        (&[("tag", "tax"), ("tag", "2026")], &["one"]),
        (&[("tag", "2026"), ("tag", "tax"), ("q", "gst"), ("state", "active")], &["one"]),
        (&[("tag", "tax"), ("state", "inactive"), ("q", "example")], &[]),
        (&[("tag", "nobody-has")], &[]),
        (&[("owner", "amy@agency.gov.sg")], &["four", "gst-two", "one", "three"]),
    ] {
        for sort in SORTS {
            let mut found = amy.codes(&[parameters, &[("sort", sort), ("limit", "1")]].concat());
            found.sort();
            assert_eq!(found, expected, "{parameters:?} by {sort}");
        }
    }
}

#[test]
fn what_is_no_list_is_refused_with_every_mistake() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    for number in 0..3 {
        create(&amy, &format!("form-{number}"), &[]);
    }
    let cursor = amy.page(&[("sort", "code"), ("limit", "1")], None)["next_cursor"].as_str().expect("more").to_owned();
    let long = "q=".to_owned() + &"a".repeat(201);
    let tags = (0..11).map(|number| format!("tag=t{number}")).collect::<Vec<_>>().join("&");
    for (query, places) in [
        ("limit=0", &["limit"][..]),
        ("limit=101", &["limit"]),
        ("limit=", &["limit"]),
        ("limit=%2B1", &["limit"]),
        ("limit=1.0", &["limit"]),
        ("limit=99999999999999999999", &["limit"]),
        ("limit=1&limit=2", &["limit"]),
        ("sort=name", &["sort"]),
        ("state=ACTIVE", &["state"]),
        ("tag=a%20b", &["tag"]),
        ("cursor=x", &["cursor"]),
        ("cursor=", &["cursor"]),
        ("owner=ben", &["owner"]),
        ("offset=5", &["offset"]),
        (&long, &["q"]),
        (&tags, &["tag"]),
        (&format!("cursor={cursor}"), &["cursor"]),
        ("limit=x&state=y&sort=z&zoo=1", &["state", "sort", "limit", "zoo"]),
    ] {
        amy.get(&format!("/links?{query}")).assert_mistakes(query, places);
    }
    assert_eq!(amy.get(&format!("/links?q={}", "a".repeat(200))).status, 200);
}

#[test]
fn a_cursor_skips_and_repeats_nothing_while_links_come_and_go() {
    let server = Server::start();
    let [amy, ben] = ["amy", "ben"].map(|name| server.program(&format!("{name}@agency.gov.sg")));
    for sort in SORTS {
        let tag = sort.trim_start_matches('-').replace('_', "-") + if sort.starts_with('-') { "-d" } else { "-a" };
        let code = |number: usize| format!("{tag}-{number:02}");
        for number in 0..40 {
            create(&amy, &code(number), &[&tag]);
        }
        let parameters = [("sort", sort), ("limit", "7"), ("tag", tag.as_str())];
        let (mut seen, mut cursor, mut turn) = (Vec::new(), None::<String>, 0);
        loop {
            let page = amy.page(&parameters, cursor.as_deref());
            seen.extend(codes_of(&page));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = Some(next.to_owned());
            // Between two pages a link is made, and the last one seen, at which the cursor stands, goes to somebody else.
            if turn < 4 {
                create(&amy, &format!("{tag}-new-{turn}"), &[&tag]);
                let last = seen.last().expect("a page had links");
                ben_takes(&amy, last);
            }
            turn += 1;
        }
        let unique: HashSet<&String> = seen.iter().collect();
        assert_eq!(unique.len(), seen.len(), "{sort}: none twice: {seen:?}");
        for number in 0..40 {
            assert!(seen.contains(&code(number)), "{sort}: {} is missing: {seen:?}", code(number));
        }
    }
    assert_eq!(ben.codes(&[]).len(), 4 * SORTS.len());
}

#[track_caller]
fn ben_takes(amy: &Program<'_>, code: &str) {
    amy.transfer(code, "ben@agency.gov.sg").assert_v2(code, 200);
}

#[test]
fn only_an_administrators_key_lists_the_links_of_others() {
    let server = Home::new().set("officers.admins", "root@agency.gov.sg").start();
    let amy = server.program("amy@agency.gov.sg");
    create(&amy, "form", &["tax"]);
    let admin = server.program_with_scopes("root@agency.gov.sg", "links:read admin");
    assert_eq!(admin.codes(&[]), Vec::<String>::new(), "their own, of which there are none");
    assert_eq!(admin.codes(&[("owner", "Amy@agency.gov.sg"), ("tag", "tax")]), ["form"]);
    assert_eq!(admin.link("form")["owner"], "amy@agency.gov.sg");
    // The scope alone makes nobody an administrator, nor the person without it. Such a key is left when an administrator resigns.
    let resigned = server.program("ben@agency.gov.sg");
    let id = resigned.key.split('_').nth(1).expect("mlk_<id>_<secret>");
    let scopes = redis::cmd("HSET").arg(format!("key:{{{id}}}")).arg("scopes").arg("links:read admin").to_owned();
    scopes.exec(&mut server.redis()).expect("Redis takes it");
    for program in [resigned, server.program("root@agency.gov.sg")] {
        program.get("/links?owner=amy%40agency.gov.sg").assert_problem("not an administrator's", 403, "forbidden");
        program.get("/links/form").assert_problem("nor read", 404, "not-found");
    }
}
