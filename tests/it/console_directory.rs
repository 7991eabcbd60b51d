//! The directory: what is found by which words, whom it says to ask, and what it never shows.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    api_v2::TARGET,
    console::Desk,
    harness::{Home, Server},
    http::{Answer, attributes, unescaped},
    proxy::Proxy,
    redis_server::RedisServer,
};

const ROOT: &str = "root@agency.gov.sg";

/// A link for each of so many officers, `officer0@agency.gov.sg` and so on, made by an administrator.
#[track_caller]
fn many_officers_create(server: &Server, count: usize, about: impl Fn(usize) -> Value) {
    let rows: Vec<Value> = (0..count)
        .map(|number| {
            let mut row = about(number);
            row["target_url"] = TARGET.into();
            row["owner"] = format!("officer{number}@agency.gov.sg").into();
            row
        })
        .collect();
    let root = server.program_with_scopes(ROOT, "links:write admin");
    assert_eq!(root.post("/batch", &Value::from(rows)).assert_v2("batch", 200)["created"], count);
}

/// The codes on a page of the directory.
fn codes(page: &str) -> Vec<String> {
    let previews = attributes(page, "href").into_iter().filter_map(|href| href.strip_suffix('+').map(str::to_owned));
    let mut codes: Vec<String> = previews.filter_map(|link| link.rsplit('/').next().map(str::to_owned)).collect();
    codes.sort_unstable();
    codes
}

#[test]
fn all_words_must_occur_wherever_and_in_whatever_order() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    amy.creates(&json!({"code": "tax-form", "target_url": TARGET, "description": "Renewal of Licences"}));
    amy.creates(&json!({"code": "tax-office", "target_url": TARGET}));
    let mut ben = Desk::of(&server, "ben@agency.gov.sg");
    for (query, found) in [
        ("renewal+tax", &["tax-form"][..]),
        ("licences++IRAS.gov.sg", &["tax-form"]),
        ("iras.gov.sg+LICENCES+of", &["tax-form"]),
        ("tax+renewal+nothing", &[]),
        ("office+tax", &["tax-office"]),
        ("TAX-form%2B", &["tax-form"]),
        ("localhost:8080/tax-office.", &["tax-office"]),
        ("tax-form", &["tax-form"]),
    ] {
        assert_eq!(codes(&ben.sees(&format!("/console/directory?q={query}"))), found, "{query}");
    }
}

#[test]
fn an_address_of_odd_signs_is_asked_and_nobody_else_with_it() {
    let server = Server::start();
    let owner = "a?bcc=eve&x#%@agency.gov.sg";
    server.program(owner).creates(&json!({"code": "odd", "target_url": TARGET}));
    let page = Desk::of(&server, "ben@agency.gov.sg").sees("/console/directory?q=odd");
    let hrefs = attributes(&page, "href");
    let mail = hrefs.iter().find(|href| href.starts_with("mailto:")).expect("somebody to ask");
    assert_eq!(mail, "mailto:a%3Fbcc%3Deve%26x%23%25@agency.gov.sg");
}

#[test]
fn whom_to_ask_is_there_to_read_and_a_page_that_is_none_is_refused() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let help = "help@agency.gov.sg";
    amy.creates(&json!({"code": "form", "target_url": TARGET, "contact_email": help}));
    amy.creates(&json!({"code": "own", "target_url": TARGET}));
    let mut ben = Desk::of(&server, "ben@agency.gov.sg");
    let page = ben.sees("/console/directory?q=form");
    assert!(page.contains(&format!(">Contact: {help}<")) && page.contains(">Owner: amy@agency.gov.sg<"), "{page}");
    let page = ben.sees("/console/directory?q=own");
    assert!(page.contains(">Owner: amy@agency.gov.sg<") && !page.contains("Contact:"), "{page}");
    for after in
        ["nobody", "nobody@x.gov.sg", "amy@agency.gov.sg+1", "amy@agency.gov.sg+x+form", "amy@agency.gov.sg+1+!"]
    {
        ben.opens(&format!("/console/directory?q=form&after={after}")).assert_page(after, 404);
    }
}

#[test]
fn the_directory_shows_neither_clicks_nor_tags_and_only_to_officers() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    amy.creates(&json!({"code": "form", "target_url": TARGET, "tags": ["secret-project"]}));
    let page = Desk::of(&server, "ben@agency.gov.sg").sees("/console/directory?q=form");
    assert_eq!(codes(&page), ["form"]);
    assert!(
        page.contains("amy@agency.gov.sg") && !page.contains("secret-project") && !page.contains("clicks"),
        "{page}"
    );
    let stranger = server.get("/console/directory?q=form").send();
    assert_eq!(stranger.status, 303);
    assert!(stranger.header("location").is_some_and(|location| location.starts_with("/console/login?next=")));
}

#[test]
fn the_lists_of_all_officers_are_looked_through_however_many_there_are() {
    let server = Home::new().set("officers.admins", ROOT).start();
    many_officers_create(
        &server,
        230,
        |number| json!({"code": format!("form-{number:03}"), "description": "Same words"}),
    );
    let mut ben = Desk::of(&server, "ben@agency.gov.sg");
    let (mut found, mut page) = (Vec::new(), "/console/directory?q=words+same".to_owned());
    loop {
        let seen = ben.sees(&page);
        found.extend(codes(&seen));
        let links = attributes(&unescaped(&seen), "href");
        match links.into_iter().find(|href| href.contains("&after=") && !href.ends_with("&after=")) {
            Some(next) => page = next,
            None => break,
        }
    }
    found.sort_unstable();
    assert_eq!(found.len(), 230);
    assert_eq!((&*found[0], &*found[229]), ("form-000", "form-229"));
}

#[test]
fn when_too_many_search_the_last_are_told_to_come_again_and_lists_of_one_owner_go_on() {
    const SEARCHES: usize = 10;
    let redis = RedisServer::on_tcp();
    let proxy = Proxy::before(redis.address());
    let server = Home::new().set("redis.url", proxy.url()).set("officers.admins", ROOT).start();
    server.expect_log("redis");
    many_officers_create(&server, 30, |_| json!({}));
    let mut ben = Desk::of(&server, "ben@agency.gov.sg");
    // With every list some exchanges further away, a search that finds nothing takes all the time it may.
    proxy.delay(Duration::from_millis(100));
    let answers: Vec<Answer> = thread::scope(|scope| {
        let page = ben.dressed(server.get("/console/directory?q=nothing-like-it"));
        let searches: Vec<_> = (0..SEARCHES)
            .map(|_| {
                let page = page.clone();
                scope.spawn(move || page.send())
            })
            .collect();
        let list = ben.sees("/console/directory?owner=officer7@agency.gov.sg");
        assert_eq!(codes(&list).len(), 1, "an owner's list waits for no turn: {list}");
        searches.into_iter().map(|search| search.join().expect("is answered")).collect()
    });
    let (searched, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(searched.len() >= 2 && !refused.is_empty(), "{} searched", searched.len());
    for answer in searched {
        assert!(answer.text().contains("Nothing so far"), "{}", answer.text());
    }
    for answer in refused {
        answer.assert_page("too many are searching", 503);
        answer.assert_retry_after("too many are searching", 5);
        assert!(answer.text().contains("<h1>Many are searching just now</h1>"), "{}", answer.text());
    }
    proxy.delay(Duration::ZERO);
    ben.sees("/console/directory?q=nothing-like-it");
}
