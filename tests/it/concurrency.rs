//! Many at once: one code wanted by fifty, thousands of links made side by side.

use std::{
    collections::HashSet,
    sync::{Barrier, Mutex},
    thread,
};

use serde_json::{Value, json};

use crate::harness::{CURL, Server};

#[test]
fn of_fifty_clients_that_create_one_code_at_once_one_wins() {
    let server = Server::start();
    let officers: Vec<_> = (0..5).map(|number| server.officer(&format!("officer-{number}@agency.gov.sg"))).collect();
    for round in 0..3 {
        let code = format!("wanted-{round}");
        let start = Barrier::new(50);
        let answers = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for client in 0..50 {
                let (start, answers, code, officer) = (&start, &answers, &code, &officers[client % officers.len()]);
                scope.spawn(move || {
                    let target = format!("https://example.com/{client}");
                    start.wait();
                    let answer = officer.create(&json!({"shortUrl": code, "longUrl": target}));
                    answers.lock().expect("nobody panics with it").push((target, answer));
                });
            }
        });
        let answers = answers.into_inner().expect("nobody panicked with it");
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, answer)| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, 49), "{code}");
        let used = json!({"message": format!("Short link \"{code}\" is already used."), "type": "ShortUrlError"});
        for (target, answer) in lost {
            answer.assert_v1(target, 400, &used);
        }
        server.follow(&code).assert_redirects(&code, &won[0].0);
        let owners = officers.iter().filter(|officer| officer.codes("").contains(&code)).count();
        assert_eq!(owners, 1, "{code} has one owner");
    }
    assert_eq!(server.metrics().with("merlink_links_created_total", &[("source", "api")]), 3.0);
}

#[test]
fn two_thousand_links_made_by_sixteen_clients_are_all_listed_in_order_and_none_twice() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let created = Mutex::new(HashSet::new());
    thread::scope(|scope| {
        for client in 0..16 {
            let (server, amy, created) = (&server, &amy, &created);
            scope.spawn(move || {
                let mut connection = server.connect();
                for number in 0..125 {
                    // Half of the codes are chosen, half are drawn.
                    let target = format!("https://example.com/{client}/{number}");
                    let body = if number % 2 == 0 {
                        json!({"shortUrl": format!("c{client}-n{number}"), "longUrl": target})
                    } else {
                        json!({"longUrl": target})
                    };
                    let request = server.request("POST", "/api/v1/urls").key(&amy.key).json(&body);
                    connection.write(&request.bytes()).expect("sends");
                    let answer = connection.read_answer("POST").expect("is answered");
                    answer.assert_v1_status(&target, 200);
                    let code = answer.json()["shortUrl"].as_str().expect("a string").to_owned();
                    assert!(created.lock().expect("nobody panics with it").insert(code), "a code was given twice");
                }
            });
        }
    });
    let created = created.into_inner().expect("nobody panicked with it");
    assert_eq!(created.len(), 2_000);

    let mut listed: Vec<(String, String)> = Vec::new();
    for page in 0..5 {
        let answer = amy.list(&format!("limit=450&offset={}", page * 450));
        answer.assert_v1_status("a page", 200);
        let answer = answer.json();
        assert_eq!(answer["count"], 2_000);
        let text = |link: &Value, field: &str| link[field].as_str().expect("a string").to_owned();
        let links = answer["urls"].as_array().expect("urls is an array");
        assert_eq!(links.len(), if page < 4 { 450 } else { 200 }, "page {page}");
        listed.extend(links.iter().map(|link| (text(link, "createdAt"), text(link, "shortUrl"))));
    }
    let codes: HashSet<String> = listed.iter().map(|(_, code)| code.clone()).collect();
    assert_eq!(codes, created, "all there, none twice");
    let in_order =
        listed.windows(2).all(|pair| pair[0].0 > pair[1].0 || (pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1));
    assert!(in_order, "newest first, ties by code");
    assert_eq!(amy.codes("").len(), 1_000, "a list has at most 1,000");
}

#[test]
fn edits_of_one_link_at_once_leave_one_of_them_and_never_a_mixture() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/ACTIVE");
    thread::scope(|scope| {
        for client in 0..8 {
            let amy = &amy;
            scope.spawn(move || {
                for _ in 0..10 {
                    let state = if client % 2 == 0 { "ACTIVE" } else { "INACTIVE" };
                    let body = json!({"longUrl": format!("https://example.com/{state}"), "state": state});
                    let answer = amy.update("form", &body);
                    answer.assert_v1_status(state, 200);
                    assert_eq!(
                        (&answer.json()["longUrl"], &answer.json()["state"]),
                        (&body["longUrl"], &body["state"])
                    );
                }
            });
        }
    });
    let link = amy.link("form");
    let state = link["state"].as_str().expect("state is a string");
    assert_eq!(link["longUrl"], format!("https://example.com/{state}"));
    let status = server.get("/form").user_agent(CURL).send().status;
    assert_eq!(status, if state == "ACTIVE" { 302 } else { 410 }, "a visit sees what the list shows");
}
