//! The console by keyboard alone: every control is reached by Tab, in an order that makes sense and with the focus to be seen, and does by Enter
//! or Space what it does by a click. Where a test says so, without scripts too.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    api_v2::TARGET,
    chromium::{SITE, Tab, home},
    console::{Desk, password_in},
    console_pages::{AMY, assert_good_on_every_screen, servers, tab_of},
    redis_server::RedisServer,
    smtp_server::SmtpServer,
};

#[test]
fn a_key_is_made_and_revoked_by_keyboard_alone() {
    let redis = RedisServer::start();
    let (server, office) = servers(&redis);
    let tab = tab_of(&server, &Desk::of(&office, AMY));
    tab.opens("/console/keys");
    tab.tabs_to("#name");
    tab.call("Input.insertText", &json!({"text": "n".repeat(90)}));
    tab.awaiting_load(|| tab.presses("Enter"));
    let key = tab.reads(".key-once");
    assert_good_on_every_screen(&tab, "made");
    assert_eq!(server.program_with_key(&key).get("/me").assert_v2("me", 200)["officer"], AMY);
    assert!(!tab.address().contains(&key), "a key stands in no address");
    tab.awaiting_load(|| {
        tab.call("Page.reload", &json!({}));
    });
    tab.arrives_at(&format!("{SITE}/console/keys?done=made"));
    assert!(tab.reads("[role=status]").contains("created already"), "loaded again, the form makes no second key");
    tab.opens("/console/keys");
    tab.tabs_to(".button.bad");
    tab.awaiting_load(|| tab.presses("Enter"));
    tab.tabs_to("main button");
    tab.awaiting_load(|| tab.presses("Enter"));
    tab.arrives_at(&format!("{SITE}/console/keys?done=revoked"));
    assert_good_on_every_screen(&tab, "revoked");
    server.program_with_key(&key).get("/me").assert_problem("revoked", 401, "unauthorized");
}

/// Puts a file into the field that has the focus, as the system's dialog would.
#[track_caller]
fn chooses(tab: &Tab, file: &Path) {
    tab.tabs_to("#file");
    let root = tab.call("DOM.getDocument", &json!({}))["root"]["nodeId"].clone();
    let field = tab.call("DOM.querySelector", &json!({"nodeId": root, "selector": "#file"}))["nodeId"].clone();
    tab.call("DOM.setFileInputFiles", &json!({"nodeId": field, "files": [file]}));
}

/// Goes on by the key that does it.
#[track_caller]
fn presses_on(tab: &Tab, selector: &str) {
    tab.tabs_to(selector);
    tab.awaiting_load(|| tab.presses("Enter"));
}

#[test]
fn many_links_are_created_from_a_file_by_keyboard_alone_and_without_scripts() {
    let redis = RedisServer::start();
    let (server, office) = servers(&redis);
    server.program("ben@agency.gov.sg").creates(&json!({"code": "taken", "target_url": TARGET}));
    let folder = tempfile::tempdir().expect("a temporary directory");
    let files = [
        ("unreadable.csv", "name,phone\na,b\n".to_owned()),
        ("links.csv", {
            let long = "x".repeat(90);
            format!(
                "code,target_url,owner,note\n{long},{TARGET}?{long}{long},,\ntaken,{TARGET},,\n,http://x,,\n,{TARGET},,\n"
            )
        }),
    ];
    for (name, text) in &files {
        fs::write(folder.path().join(name), text).expect("can be written");
    }
    let desk = Desk::of(&office, AMY);
    for has_scripts in [true, false] {
        let tab = tab_of(&server, &desk);
        let looks_good = |page: &str| {
            if has_scripts {
                assert_good_on_every_screen(&tab, page);
            }
        };
        if !has_scripts {
            tab.has_no_scripts();
        }
        tab.opens("/console/links");
        presses_on(&tab, "a[href='/console/upload']");
        looks_good("upload");
        chooses(&tab, &folder.path().join("unreadable.csv"));
        presses_on(&tab, "main button");
        assert!(tab.reads("[role=alert]").contains("target_url is missing"));
        looks_good("upload-refused");
        chooses(&tab, &folder.path().join("links.csv"));
        presses_on(&tab, "main button");
        let preview = tab.reads("main");
        assert!(preview.contains("Nothing has been created yet") && preview.contains("taken is taken"), "{preview}");
        looks_good("upload-preview");
        let path = tab.address();
        presses_on(&tab, "main button");
        assert_eq!(tab.address(), path);
        let done = tab.reads("[role=status]");
        // The second time around, the name is taken.
        assert!(done.contains(if has_scripts { "2 links were created" } else { "One link was created" }), "{done}");
        looks_good("upload-done");
        tab.awaiting_load(|| {
            tab.call("Page.reload", &json!({}));
        });
        assert_eq!(tab.reads("[role=status]"), done, "loaded again, nothing more is created");
        for selector in ["a[href$='rows.csv']", "a[href$='qr-svg.zip']", "a[href$='qr-png.zip']"] {
            tab.tabs_to(selector);
        }
        tab.opens("/console/upload/replaced");
        assert!(tab.reads("[role=alert]").contains("isn’t here any more"));
        looks_good("upload-gone");
    }
    let links = server.program(AMY).get("/links").assert_v2("links", 200);
    assert_eq!(links["items"].as_array().map(Vec::len), Some(3));
}

#[test]
fn an_officer_logs_in_by_keyboard_alone_and_without_scripts() {
    for has_scripts in [true, false] {
        let smtp = SmtpServer::start(None, "250 ok");
        let server =
            home().set("smtp.url", format!("smtp://{}", smtp.address)).set("smtp.from", "go@agency.gov.sg").start();
        let tab = Tab::open(&server);
        let looks_good = |page: &str| {
            if has_scripts {
                assert_good_on_every_screen(&tab, page);
            }
        };
        if !has_scripts {
            tab.has_no_scripts();
        }
        tab.opens("/console/keys");
        tab.arrives_at(&format!("{SITE}/console/login"));
        looks_good("login");
        tab.tabs_to("#email");
        tab.call("Input.insertText", &json!({"text": AMY}));
        tab.awaiting_load(|| tab.presses("Enter"));
        looks_good("password");
        let password = password_in(&smtp.awaits_mail().text);
        for (typed, is_right) in [("000000", password == "000000"), (password.as_str(), true)] {
            tab.tabs_to("#password");
            tab.call("Input.insertText", &json!({"text": typed}));
            tab.awaiting_load(|| tab.presses("Enter"));
            if is_right {
                break;
            }
            looks_good("password-wrong");
        }
        assert_eq!(tab.address(), format!("{SITE}/console/keys"), "{}", tab.reads("main"));
    }
}
