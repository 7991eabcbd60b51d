//! The directory: what is found by which words, whom it says to ask, and what it never shows.

use serde_json::{Value, json};

use crate::{
    api_v2::TARGET,
    console::Desk,
    harness::{Home, Server},
    http::{attributes, unescaped},
};

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
    let server = Home::new().set("officers.admins", "root@agency.gov.sg").start();
    let root = server.program_with_key(&server.key_with(&[
        "--owner",
        "root@agency.gov.sg",
        "--scope",
        "links:write",
        "--scope",
        "admin",
    ]));
    let rows: Vec<Value> = (0..230)
        .map(|number| {
            let owner = format!("officer{number}@agency.gov.sg");
            json!({"code": format!("form-{number:03}"), "target_url": TARGET, "owner": owner, "description": "Same words"})
        })
        .collect();
    assert_eq!(root.post("/batch", &Value::from(rows)).assert_v2("batch", 200)["created"], 230);
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
