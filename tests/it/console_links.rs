//! Officers' tasks in the console, done by its forms as a browser without JavaScript does them.

use std::thread;

use crate::{
    console::Desk,
    harness::{CHROME, GOOGLEBOT, Server, eventually},
    http::{attributes, unescaped},
};

const AMY: &str = "amy@agency.gov.sg";
const BEN: &str = "ben@agency.gov.sg";
const TARGET: &str = "https://www.example.com/form";

/// Creates a link by the form.
#[track_caller]
fn creates(desk: &mut Desk<'_>, code: &str, fields: &[(&str, &str)]) {
    desk.sees("/console/create");
    let answer = desk.sends("/console/create", &[&[("code", code), ("target", TARGET)], fields].concat());
    let location = format!("/console/links/{code}?done=created");
    assert_eq!((answer.status, answer.header("location")), (303, Some(location.as_str())), "{}", answer.text());
}

/// The fields of a link's form as a browser sends them back.
#[track_caller]
fn form_of(desk: &mut Desk<'_>, code: &str) -> Vec<(String, String)> {
    let page = desk.sees(&format!("/console/links/{code}"));
    ["version", "target", "description", "contact", "tags", "expires"]
        .map(|name| (name.to_owned(), field(&page, name)))
        .to_vec()
}

fn field(page: &str, name: &str) -> String {
    let tag =
        page.split(&format!(" name=\"{name}\"")).nth(1).and_then(|rest| rest.split('>').next()).unwrap_or_default();
    let value = attributes(tag, "value").into_iter().next().unwrap_or_default();
    value.replace("&#60;", "<").replace("&#62;", ">")
}

/// Sends a link's form back with one field changed.
#[track_caller]
fn saves(desk: &mut Desk<'_>, code: &str, changed: &str, value: &str) -> u16 {
    let form = form_of(desk, code);
    let fields: Vec<(&str, &str)> =
        form.iter().map(|(name, kept)| (name.as_str(), if name == changed { value } else { kept.as_str() })).collect();
    desk.sends(&format!("/console/links/{code}"), &fields).status
}

#[test]
fn an_officer_creates_finds_edits_and_switches_a_link() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    assert!(amy.sees("/console/links").contains("You have no links yet"));
    let more = [
        ("description", "Tax & form"),
        ("contact", "Help@agency.gov.sg"),
        ("tags", "tax, forms"),
        ("expires", "2099-12-31T23:59"),
        ("forward_query", "1"),
    ];
    creates(&mut amy, "tax-form", &more);
    creates(&mut amy, "other", &[]);
    server.follow("tax-form").assert_redirects("at once", TARGET);
    let page = amy.sees("/console/links/tax-form?done=created");
    let shown = ["description", "contact", "tags", "expires"].map(|name| field(&page, name));
    assert_eq!(shown, ["Tax & form", "help@agency.gov.sg", "tax, forms", "2099-12-31T23:59"]);
    assert!(page.contains(" checked>"));

    for (query, finds) in [
        ("q=TAX-f", "tax-form"),
        ("q=tax+%26", "tax-form"),
        ("tag=forms", "tax-form"),
        ("q=other", "other"),
        ("sort=code", "other"),
    ] {
        let list = amy.sees(&format!("/console/links?{query}"));
        assert!(list.contains(&format!("/console/links/{finds}\"")), "{query}");
        assert_eq!(list.contains("/console/links/other\""), finds == "other", "{query}");
    }
    assert!(amy.sees("/console/links?q=nothing-like-it").contains("No link matches"));

    assert_eq!(saves(&mut amy, "tax-form", "target", "https://www.example.com/new"), 303);
    server.follow("tax-form").assert_redirects("after the edit", "https://www.example.com/new");
    amy.sees("/console/links/tax-form");
    assert_eq!(amy.sends("/console/links/tax-form/state", &[("state", "off")]).status, 303);
    assert_eq!(server.follow("tax-form").status, 410);
    assert!(amy.sees("/console/links?state=inactive").contains("/console/links/tax-form\""));
    amy.sees("/console/links/tax-form");
    assert_eq!(amy.sends("/console/links/tax-form/state", &[("state", "on")]).status, 303);
    server.follow("tax-form").assert_redirects("on again", "https://www.example.com/new");

    let history = unescaped(&amy.sees("/console/links/tax-form/history"));
    for part in [
        "You created the link",
        &format!("<del><bdi>{TARGET}</bdi></del>"),
        "<ins><bdi>https://www.example.com/new</bdi></ins>",
        "<ins><bdi>switched off</bdi></ins>",
    ] {
        assert!(history.contains(part), "{part} in {history}");
    }
    let created = server.metrics().with("merlink_links_created_total", &[("source", "console")]);
    assert_eq!(created, 2.0);
}

#[test]
fn a_link_that_leads_nowhere_is_not_said_to_work() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    let says = |desk: &mut Desk<'_>, done: &str| {
        let page = unescaped(&desk.sees(&format!("/console/links/form?done={done}")));
        let notice = page.split("<p class=\"notice\" role=\"status\">").nth(1).and_then(|rest| rest.split('<').next());
        notice.unwrap_or_default().to_owned()
    };
    creates(&mut amy, "form", &[("expires", "2020-01-01T00:00")]);
    assert_eq!(server.follow("form").status, 410);
    let over = "But its end is past: visitors are led nowhere.";
    assert_eq!(says(&mut amy, "created"), format!("The link is created. {over}"));
    assert_eq!(says(&mut amy, "saved"), format!("Saved. {over}"));
    assert_eq!(says(&mut amy, "on"), format!("The link is switched on. {over}"));
    assert_eq!(saves(&mut amy, "form", "expires", ""), 303);
    server.follow("form").assert_redirects("without an end", TARGET);
    assert_eq!(says(&mut amy, "saved"), "Saved. Visitors go there from now on.");
    assert_eq!(amy.sends("/console/links/form/state", &[("state", "off")]).status, 303);
    assert_eq!(says(&mut amy, "saved"), "Saved. It is switched off: visitors are led nowhere until you switch it on.");
    assert!(says(&mut amy, "off").starts_with("The link is switched off. Visitors read that"));
    assert_eq!(says(&mut amy, "nonsense"), "");
}

#[test]
fn a_filter_that_no_link_can_meet_is_named_and_shows_and_exports_no_other_links() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    creates(&mut amy, "form", &[("tags", "tax")]);
    assert!(amy.sees("/console/links?tag=+tax+").contains("/console/links/form\""));
    let list = amy.sees("/console/links?tag=tax+office");
    assert!(list.contains("id=\"tag-error\">A tag has 1 to 25 characters"), "{list}");
    assert!(!list.contains("/console/links/form\"") && !list.contains("/console/export"), "{list}");
    amy.opens("/console/export?tag=tax+office").assert_page("no tag", 400);
}

#[test]
fn days_the_wrong_way_round_stay_as_they_were_typed() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    creates(&mut amy, "form", &[]);
    let answer = amy.opens("/console/links/form/statistics?from=2026-02-01&to=2026-01-01");
    answer.assert_page("backwards", 422);
    let page = answer.text();
    assert!(page.contains("The first day is after the last."), "{page}");
    assert_eq!(["from", "to"].map(|name| field(&page, name)), ["2026-02-01", "2026-01-01"]);
}

#[test]
fn an_address_that_cant_be_meant_is_no_page_and_says_so_on_one() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    creates(&mut amy, "form", &[]);
    for path in
        ["links/form/history?upto=x", "links/form/qr.png?size=large", "directory?q=a&q=b", "links?after=1&after=2"]
    {
        let answer = amy.opens(&format!("/console/{path}"));
        answer.assert_page(path, 404);
        assert!(answer.text().contains("<h1>There is no such page</h1>"), "{path}: {}", answer.text());
    }
}

#[test]
fn who_looks_for_anothers_link_is_a_press_from_the_directory() {
    let server = Server::start();
    server.officer(BEN).creates("bens", TARGET);
    let answer = Desk::of(&server, AMY).opens("/console/links/bens");
    answer.assert_page("another officer's", 404);
    assert!(attributes(&answer.text(), "href").contains(&"/console/directory".to_owned()), "{}", answer.text());
}

#[test]
fn mistakes_are_named_at_their_fields_and_what_was_typed_stays() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    creates(&mut amy, "taken", &[]);
    amy.sees("/console/create");
    let typed = [
        ("code", "Not a code!"),
        ("target", "http://www.example.com"),
        ("description", "kept as typed"),
        ("contact", "nobody"),
        ("tags", "a b c d e f g h i j k"),
        ("expires", "soon"),
    ];
    let answer = amy.sends("/console/create", &typed);
    answer.assert_page("mistakes", 422);
    for name in ["code", "target", "contact", "tags", "expires"] {
        assert!(answer.text().contains(&format!("id=\"{name}-error\"")), "{name}");
    }
    assert!(
        !answer.text().contains("id=\"description-error\"") && field(&answer.text(), "description") == "kept as typed"
    );
    let taken = amy.sends("/console/create", &[("code", "TAKEN"), ("target", TARGET)]);
    assert_eq!(taken.status, 422);
    assert!(taken.text().contains("taken is taken"));
    for (code, words) in
        [("taken", "taken is taken. "), ("console", "console is taken. "), ("free-one", "free-one is free.")]
    {
        let answer = amy.opens(&format!("/console/availability?code={code}"));
        assert!(answer.status == 200 && answer.text().starts_with(words), "{code}: {}", answer.text());
    }
    let random = amy.sends("/console/create", &[("code", ""), ("target", TARGET)]);
    assert_eq!(random.status, 303);
}

#[test]
fn an_edit_on_a_stale_page_is_refused_kindly_and_may_be_saved_again() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    creates(&mut amy, "form", &[]);
    let old_form = form_of(&mut amy, "form");
    assert_eq!(saves(&mut amy, "form", "target", "https://www.example.com/window-1"), 303);
    let version = |form: &[(String, String)]| form[0].1.clone();
    let stale = [("version", version(&old_form)), ("target", "https://www.example.com/window-2".to_owned())];
    let stale: Vec<(&str, &str)> = stale.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = amy.sends("/console/links/form", &stale);
    answer.assert_page("stale", 409);
    let page = answer.text();
    assert!(page.contains("window-1") && field(&page, "target").ends_with("window-2"), "both are shown");
    server.follow("form").assert_redirects("nothing was overwritten", "https://www.example.com/window-1");
    let again = [("version", field(&page, "version")), ("target", field(&page, "target"))];
    let again: Vec<(&str, &str)> = again.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(amy.sends("/console/links/form", &again).status, 303);
    server.follow("form").assert_redirects("saved knowingly", "https://www.example.com/window-2");
}

#[test]
fn ten_windows_that_edit_at_once_lose_no_update() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    creates(&mut amy, "busy", &[]);
    let (cookies, server) = (amy.cookies.clone(), &server);
    thread::scope(|scope| {
        for window in 0..10 {
            let cookies = cookies.clone();
            scope.spawn(move || {
                let mut desk = Desk::at(server);
                desk.cookies = cookies;
                // Each adds its own tag to those that it saw, until it is taken.
                eventually("the edit is taken", || {
                    let form = form_of(&mut desk, "busy");
                    let tags = format!("{}, w{window}", form[4].1);
                    let fields: Vec<(&str, &str)> = form
                        .iter()
                        .map(|(name, kept)| (name.as_str(), if name == "tags" { tags.as_str() } else { kept.as_str() }))
                        .collect();
                    (desk.sends("/console/links/busy", &fields).status == 303).then_some(())
                });
            });
        }
    });
    let form = form_of(&mut amy, "busy");
    let mut tags: Vec<&str> = form[4].1.split(", ").collect();
    tags.sort_unstable();
    assert_eq!(tags, ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9"]);
}

#[test]
fn another_officers_link_is_as_good_as_none_whatever_address_is_tried() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    creates(&mut amy, "hers", &[]);
    let mut ben = Desk::of(&server, BEN);
    ben.sees("/console/account");
    for path in ["", "/history", "/statistics", "/transfer", "/clicks.csv", "/qr.svg", "/qr.png"] {
        for code in ["hers", "never-made", "%2e%2e", "NOT%20A%20CODE"] {
            assert_eq!(ben.opens(&format!("/console/links/{code}{path}")).status, 404, "{code}{path}");
        }
    }
    ben.sees("/console/account");
    for (path, fields) in [
        ("", &[("version", "1"), ("target", "https://evil.example/")][..]),
        ("/state", &[("state", "off")]),
        ("/transfer", &[("version", "1"), ("owner", BEN)]),
    ] {
        assert_eq!(ben.sends(&format!("/console/links/hers{path}"), fields).status, 404, "{path}");
        ben.sees("/console/account");
    }
    server.follow("hers").assert_redirects("unchanged", TARGET);
}

#[test]
fn a_link_is_given_to_another_officer() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    creates(&mut amy, "form", &[]);
    let page = amy.sees("/console/links/form/transfer");
    let version = field(&page, "version");
    for nobody in ["", "ben", AMY, "ben@example.com", BEN] {
        let answer = amy.sends("/console/links/form/transfer", &[("version", &version), ("owner", nobody)]);
        assert_eq!(answer.status, 422, "{nobody:?}");
    }
    let mut ben = Desk::of(&server, BEN);
    let answer = amy.sends("/console/links/form/transfer", &[("version", &version), ("owner", " Ben@agency.gov.sg")]);
    assert_eq!(answer.header("location"), Some("/console/links?done=transferred&code=form"));
    assert_eq!(amy.opens("/console/links/form").status, 404);
    assert!(ben.sees("/console/links").contains("/console/links/form\""));
    assert!(unescaped(&ben.sees("/console/links/form/history")).contains(AMY), "by whom it was given");
}

#[test]
fn clicks_are_shown_as_pictures_and_tables_with_bots_apart() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    creates(&mut amy, "form", &[]);
    for _ in 0..3 {
        server.follow("form");
    }
    server.get("/form").user_agent(GOOGLEBOT).send();
    server.get("/form").user_agent(CHROME).header("Sec-Purpose", "prefetch").send();
    server.await_flushed();
    let page = amy.sees("/console/links/form/statistics");
    let numbers: Vec<&str> = page.split("class=\"big\">").skip(1).filter_map(|rest| rest.split('<').next()).collect();
    assert_eq!(numbers, ["3", "1", "1"]);
    assert_eq!((page.matches("<svg class=\"chart").count(), page.matches("<table>").count()), (3, 3));
    assert!(!page.contains(" style="), "the policy allows no inline style");
    let csv = amy.opens("/console/links/form/clicks.csv?from=2026-01-01&to=2026-01-03");
    assert_eq!(csv.text(), "date,clicks\r\n2026-01-01,0\r\n2026-01-02,0\r\n2026-01-03,0\r\n");
    for bad in ["from=x", "from=2026-01-02&to=2026-01-01", "from=1000-01-01"] {
        assert_eq!(amy.opens(&format!("/console/links/form/statistics?{bad}")).status, 422, "{bad}");
    }
    amy.sees("/console/links/form/statistics?from=2026-01-01&to=2026-01-01");
}

#[test]
fn an_api_key_is_shown_once_and_revoked() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    amy.sees("/console/keys");
    let none = amy.sends("/console/keys", &[("name", "no scope"), ("days", "30")]);
    assert_eq!(none.status, 422);
    let fields = [("name", "Newsletter"), ("days", "30"), ("scope", "links:read"), ("scope", "links:write")];
    let made = amy.sends("/console/keys", &fields);
    made.assert_page("made", 200);
    let text = made.text();
    let key =
        text.split("class=\"key-once\">").nth(1).and_then(|rest| rest.split('<').next()).expect("the key").to_owned();
    let id = key.split('_').nth(1).expect("mlk_ID_SECRET").to_owned();
    server.officer_with_key(&key).creates("by-key", TARGET);
    let page = amy.sees("/console/keys");
    assert!(page.contains("Newsletter") && page.contains("links:read, links:write") && !page.contains(&key));
    let mut ben = Desk::of(&server, BEN);
    ben.sees("/console/account");
    assert_eq!(ben.sends(&format!("/console/keys/{id}/revoke"), &[]).status, 404);
    amy.sees("/console/keys");
    assert_eq!(amy.sends(&format!("/console/keys/{id}/revoke"), &[]).status, 303);
    server.officer_with_key(&key).list("").assert_v1_status("revoked", 401);
    let page = amy.sees("/console/keys");
    assert!(page.split("Revoked keys").next().is_some_and(|works| !works.contains("Newsletter")), "{page}");
}

#[test]
fn any_officer_finds_any_link_and_whom_to_ask() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    creates(&mut amy, "tax-form", &[("description", "Renewal of licences"), ("contact", "help@agency.gov.sg")]);
    creates(&mut amy, "tax-office", &[]);
    let mut ben = Desk::of(&server, BEN);
    for (query, finds) in [
        ("q=tax-form", &["tax-form"][..]),
        ("q=http%3A%2F%2Flocalhost%3A8080%2FTAX-form", &["tax-form"]),
        ("q=RENEWAL", &["tax-form"]),
        ("q=example.com%2Fform", &["tax-form", "tax-office"]),
        ("q=tax", &["tax-form", "tax-office"]),
        ("owner=amy%40agency.gov.sg", &["tax-form", "tax-office"]),
        ("owner=amy%40agency.gov.sg&q=office", &["tax-office"]),
        ("owner=ben%40agency.gov.sg", &[]),
        ("q=nothing-like-it", &[]),
        ("owner=nobody", &[]),
    ] {
        let page = ben.sees(&format!("/console/directory?{query}"));
        let mut found: Vec<&str> =
            ["tax-form", "tax-office"].into_iter().filter(|code| page.contains(&format!("/{code}+\""))).collect();
        found.sort_unstable();
        assert_eq!(found, finds, "{query}");
        assert_eq!(page.contains("mailto:help@agency.gov.sg"), found.contains(&"tax-form"), "{query}");
    }
    for number in 0..30 {
        creates(&mut amy, &format!("many-{number:02}"), &[]);
    }
    let page = ben.sees("/console/directory?q=many-");
    let next = attributes(page.split("class=\"pages\"").nth(1).expect("there is more"), "href")[0].clone();
    let rest = ben.sees(&next);
    let count = |page: &str| page.matches("class=\"title\"").count();
    assert_eq!((count(&page), count(&rest)), (25, 5));
}

#[test]
fn what_officers_write_is_shown_as_text_and_never_as_markup() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    let script = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}";
    creates(&mut amy, "form", &[("description", script)]);
    amy.sees("/console/create");
    let all = ["code", "target", "description", "contact", "tags", "expires"].map(|name| (name, script));
    let refused = amy.sends("/console/create", &all);
    let mut pages = vec![refused.text()];
    amy.sees("/console/keys");
    pages.push(amy.sends("/console/keys", &[("name", script), ("scope", "links:read"), ("days", "30")]).text());
    pages.push(amy.sends("/console/links/form/transfer", &[("owner", script)]).text());
    for path in [
        "/console/links",
        "/console/links/form",
        "/console/links/form/history",
        "/console/keys",
        "/console/directory?q=form",
        "/console/links?q=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E&tag=%22%3E%3Cscript%3E&state=%3Cscript%3E&sort=%3Cscript%3E&after=1~a",
        "/console/directory?q=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E&owner=%22%3E%3Cscript%3E",
        "/console/links/form/statistics?from=%3Cscript%3E",
        "/console/login?next=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E&done=%3Cscript%3E",
    ] {
        pages.push(amy.opens(path).text());
    }
    for page in pages {
        assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "{page}");
        assert!(!page.contains("<script>"), "{page}");
    }
    assert_eq!(field(&amy.sees("/console/links/form"), "description"), script);
}
