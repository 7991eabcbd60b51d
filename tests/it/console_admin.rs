//! Administrators in the console: they see and manage everybody's links, as their keys with the scope `admin` do.

use crate::{
    api_v2::TARGET,
    console::Desk,
    harness::{Home, Server},
    http::unescaped,
};

const ROOT: &str = "root@agency.gov.sg";
const AMY: &str = "amy@agency.gov.sg";
const BEN: &str = "ben@agency.gov.sg";

fn server() -> Server {
    Home::new().set("officers.admins", ROOT).start()
}

#[test]
fn administrators_find_and_manage_the_links_of_others_and_the_history_says_who() {
    let server = server();
    server.officer(AMY).creates("amys", TARGET);
    server.officer(ROOT).creates("roots", TARGET);
    let mut root = Desk::of(&server, ROOT);
    let own = root.sees("/console/links");
    assert!(own.contains("/console/links/roots\"") && !own.contains("/console/links/amys\""), "{own}");
    let list = unescaped(&root.sees(&format!("/console/links?owner={AMY}")));
    assert!(list.contains(&format!("Links of {AMY}")) && list.contains("/console/links/amys\""), "{list}");
    assert!(!list.contains("/console/links/roots\""), "{list}");
    let nobodys = root.sees(&format!("/console/links?owner={BEN}"));
    assert!(nobodys.contains(&format!("<title>Links of {BEN} – ")), "{nobodys}");
    assert!(nobodys.contains("No link matches.") && !nobodys.contains("You have no links yet"), "{nobodys}");
    let mistyped = root.sees("/console/links?owner=amy");
    assert!(mistyped.contains("id=\"owner-error\"") && !mistyped.contains("/console/links/roots\""), "{mistyped}");
    root.opens("/console/export?owner=amy").assert_page("nobody's links", 400);
    assert_eq!(root.opens(&format!("/console/export?owner={AMY}&format=ndjson")).text().lines().count(), 1);
    assert!(root.sees("/console/directory?q=amys").contains("href=\"/console/links/amys\""));

    let page = unescaped(&root.sees("/console/links/amys"));
    assert!(page.contains(&format!("This link belongs to {AMY}")), "{page}");
    assert!(!root.sees("/console/links/roots").contains("This link belongs to"));
    assert_eq!(root.sends("/console/links/amys/state", &[("state", "off")]).status, 303);
    assert_eq!(server.follow("amys").status, 410);
    assert!(unescaped(&Desk::of(&server, AMY).sees("/console/links/amys/history")).contains(ROOT));

    server.knows(BEN);
    root.sees("/console/links/amys/transfer");
    let to_amy = root.sends("/console/links/amys/transfer", &[("owner", AMY), ("version", "2")]);
    to_amy.assert_page("she has it", 422);
    assert_eq!(root.sends("/console/links/amys/transfer", &[("owner", BEN), ("version", "2")]).status, 303);
    assert_eq!(server.officer(BEN).codes(""), ["amys"]);
}

#[test]
fn administrators_create_links_for_others_and_nobody_else_does() {
    let server = server();
    let fields = |owner| [("code", "for-ben"), ("target", TARGET), ("owner", owner)];
    let mut root = Desk::of(&server, ROOT);
    assert!(root.sees("/console/create").contains("name=\"owner\""));
    for nobody in ["ben", "ben@elsewhere.example"] {
        let answer = root.sends("/console/create", &fields(nobody));
        answer.assert_page(nobody, 422);
        assert!(answer.text().contains("id=\"owner-error\""), "{nobody}");
    }
    let mut amy = Desk::of(&server, AMY);
    assert!(!amy.sees("/console/create").contains("name=\"owner\""));
    amy.sends("/console/create", &fields(BEN)).assert_page("a form of her own making", 400);
    let list = amy.sees(&format!("/console/links?owner={BEN}"));
    assert!(!list.contains("name=\"owner\"") && !list.contains("Links of"), "{list}");
    root.sees("/console/create");
    assert_eq!(root.sends("/console/create", &fields(BEN)).status, 303);
    assert_eq!(server.officer(BEN).codes(""), ["for-ben"]);
    amy.opens("/console/links/for-ben").assert_page("another officer's link", 404);
    assert!(!amy.sees("/console/directory?q=for-ben").contains("href=\"/console/links/for-ben\""));
}
