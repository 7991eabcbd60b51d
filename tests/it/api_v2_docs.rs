//! What people and programs read about API v2.

use serde_json::Value;

use crate::{harness::Server, http::attributes};

#[test]
fn the_documentation_names_every_operation_and_its_links_lead_somewhere() {
    let server = Server::start();
    let page = server.get("/api/v2/docs").send();
    page.assert_page("/api/v2/docs", 200);
    let html = page.text();
    let document: Value = server.get("/api/v2/openapi.json").send().json();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().expect("an object") {
        for method in item.as_object().expect("an object").keys() {
            let heading = format!("<code>{} /api/v2{path}</code>", method.to_uppercase());
            assert!(html.contains(&heading), "{heading} is missing");
        }
    }
    let anchors = attributes(&html, "id");
    for link in attributes(&html, "href") {
        match link.strip_prefix('#') {
            Some(anchor) => assert!(anchors.iter().any(|id| id == anchor), "{link} leads nowhere"),
            // The foot's way to the console leads to the login.
            None if link == "/console/" => assert_eq!(server.get(&link).send().status, 303, "{link}"),
            None if link.starts_with('/') => assert_eq!(server.get(&link).send().status, 200, "{link}"),
            None => {}
        }
    }
}

#[test]
fn the_type_of_a_problem_leads_to_a_page_that_explains_it() {
    let server = Server::start();
    let problem = server.get("/api/v2/links").send().json();
    let path = problem["type"].as_str().expect("a text");
    let page = server.get(path).send();
    page.assert_page(path, 200);
    assert!(page.text().contains(problem["title"].as_str().expect("a text")), "{}", page.text());
    server.get("/problems/none-of-ours").send().assert_page("an unknown one", 404);
}
