//! `merlink officer`: who is listed, and what a suspension stops and gives back.

use std::fs;

use serde_json::{Value, json};

use crate::{
    console::{Desk, mails},
    harness::{Home, Server},
};

const AMY: &str = "amy@agency.gov.sg";
const BEN: &str = "ben@agency.gov.sg";

#[track_caller]
fn command(server: &Server, arguments: &[&str]) -> String {
    let ran = server.home().run(&[&["officer"], arguments].concat());
    ran.assert_code(0);
    ran.stdout
}

#[test]
fn a_suspended_officer_is_mailed_no_password_and_the_page_gives_nothing_away() {
    let server = Server::start();
    command(&server, &["suspend", AMY]);
    let mut desk = Desk::at(&server);
    desk.sees("/console/login");
    let amys = desk.sends("/console/login", &[("email", AMY)]);
    let bens = desk.sends("/console/login", &[("email", BEN)]);
    assert_eq!((amys.status, amys.text().replace(AMY, BEN)), (200, bens.text()), "the same page as for anybody");
    // Mails go out in order: one for her would have come first.
    desk.password_after(0);
    let mails = mails(&server);
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert!(fs::read_to_string(&mails[0]).expect("a mail can be read").contains(BEN));
    let refused = server.metrics().with("merlink_auth_failures_total", &[("kind", "suspended")]);
    assert!((refused - 1.0).abs() < f64::EPSILON, "{refused}");
    command(&server, &["restore", AMY]);
    Desk::of(&server, AMY).sees("/console/links");
}

#[test]
fn a_suspension_holds_for_every_subaddress_of_the_mailbox() {
    let server = Server::start();
    let subaddress = server.program("amy+x@agency.gov.sg");
    assert_eq!(subaddress.get("/me").status, 200);
    command(&server, &["suspend", AMY]);
    subaddress.get("/me").assert_problem("a key of a subaddress", 401, "unauthorized");
    let mut desk = Desk::at(&server);
    desk.sees("/console/login");
    desk.sends("/console/login", &[("email", "amy+y@agency.gov.sg")]);
    desk.sends("/console/login", &[("email", BEN)]);
    desk.password_after(0);
    let mails = mails(&server);
    assert_eq!(mails.len(), 1, "none to the subaddress: {mails:?}");
    assert!(fs::read_to_string(&mails[0]).expect("a mail can be read").contains(BEN));
    command(&server, &["restore", AMY]);
    assert_eq!(subaddress.get("/me").status, 200);
}

#[test]
fn nobody_gives_a_link_to_a_suspended_officer() {
    let server = Server::start();
    let ben = server.program(BEN);
    server.knows(AMY);
    ben.creates(&json!({"code": "form", "target_url": "https://example.com"}));
    command(&server, &["suspend", AMY]);
    ben.transfer("form", AMY).assert_mistakes("a suspended officer", &["/owner"]);
    assert_eq!(ben.link("form")["owner"], BEN);
    command(&server, &["restore", AMY]);
    assert_eq!(ben.transfer("form", AMY).status, 200);
}

#[test]
fn officers_are_listed_with_what_they_have() {
    let server = Home::new().set("officers.admins", BEN).start();
    let amy = server.officer(AMY);
    for code in ["form", "other"] {
        amy.creates(code, "https://example.com");
    }
    server.key(AMY);
    Desk::of(&server, BEN);
    command(&server, &["suspend", AMY]);
    command(&server, &["suspend", "carol@agency.gov.sg"]);
    let list: Value = serde_json::from_str(&command(&server, &["list", "--json"])).expect("JSON");
    let about = |index: usize| {
        let officer = &list[index];
        assert_eq!(officer["allowed"], true, "{officer}");
        ["email", "admin", "keys", "links"].map(|name| officer[name].clone())
    };
    assert_eq!(about(0), [json!(AMY), json!(false), json!(2), json!(2)]);
    assert_eq!(about(1), [json!(BEN), json!(true), json!(0), json!(0)]);
    assert_eq!(about(2), [json!("carol@agency.gov.sg"), json!(false), json!(0), json!(0)]);
    assert_eq!(list.as_array().map(Vec::len), Some(3), "{list}");
    let suspended = [0, 1, 2].map(|index| list[index]["suspended_at"].is_string());
    assert_eq!(suspended, [true, false, true]);
    assert!(list[0]["since"].is_string() && list[2]["since"].is_null(), "{list}");
    let text = command(&server, &["list"]);
    assert!(text.starts_with("OFFICER") && text.contains(AMY) && text.contains("suspended"), "{text}");
    server.home().run(&["officer", "restore", BEN]).assert_code(1).assert_names(&[BEN, "isn't suspended"]);
    let again = server.home().run(&["officer", "suspend", AMY]);
    again.assert_code(0).assert_names(&["already"]);
    server.home().run(&["officer", "suspend", "nobody"]).assert_code(2);
}
