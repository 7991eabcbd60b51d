//! The console by keyboard alone: every control is reached by Tab, in an order that makes sense and with the focus to be seen, and does by Enter
//! or Space what it does by a click. Where a test says so, without scripts too.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    api_v2::TARGET,
    chromium::{SITE, Tab, WIDTHS, home},
    console::{Desk, link_in, password_in, wrong_password},
    console_pages::{AMY, ROOT, assert_good_on_every_screen, servers, tab_of},
    harness::eventually,
    redis_server::RedisServer,
    smtp_server::SmtpServer,
};

#[test]
fn every_control_of_every_page_is_reached_in_order_and_seen() {
    let redis = RedisServer::start();
    let (server, office) = servers(&redis);
    let program = server.program(AMY);
    let about_all = json!({"code": "tax", "target_url": TARGET, "description": "Taxes", "tags": ["one", "two"]});
    program.creates(&about_all);
    program.creates(&json!({"code": "form", "target_url": TARGET}));
    server.officer(AMY).switches("form", "INACTIVE");
    let key = program.key.split('_').nth(1).expect("mlk_ID_SECRET");
    let revoke = format!("/console/keys/{key}/revoke");
    let others_links = format!("/console/links?owner={AMY}");
    let of_officers = [
        "/console/links",
        "/console/links?tag=one",
        "/console/links?q=nothing-like-it",
        "/console/create",
        "/console/links/tax?done=saved",
        "/console/links/form",
        "/console/links/tax/history",
        "/console/links/tax/statistics",
        "/console/links/tax/transfer",
        "/console/upload",
        "/console/directory",
        "/console/directory?q=iras",
        "/console/directory?owner=amy",
        "/console/keys",
        &revoke,
        "/console/account",
        "/console/nothing",
    ];
    let of_administrators =
        [others_links.as_str(), "/console/links/tax", "/console/create", "/console/directory?q=iras"];
    for (officer, pages) in [(AMY, &of_officers[..]), (ROOT, &of_administrators)] {
        let tab = tab_of(&server, &Desk::of(&office, officer));
        for page in pages {
            for width in WIDTHS {
                tab.is_wide(width);
                tab.opens(page);
                tab.assert_usable_by_keyboard(&format!("{page}, {officer}, {width} px"));
            }
        }
    }
    let tab = Tab::open(&server);
    tab.opens("/console/login");
    tab.assert_usable_by_keyboard("login");
}

#[test]
fn who_skips_the_menu_is_at_the_page() {
    let redis = RedisServer::start();
    let (server, office) = servers(&redis);
    let tab = tab_of(&server, &Desk::of(&office, AMY));
    tab.opens("/console/directory");
    tab.presses("Tab");
    assert_eq!(tab.evaluate("document.activeElement.innerText"), "Skip to the page");
    tab.presses("Enter");
    tab.presses("Tab");
    assert_eq!(tab.evaluate("document.activeElement.id"), "q");
}

#[test]
fn links_are_filtered_and_exported_by_keyboard_alone() {
    let redis = RedisServer::start();
    let (server, office) = servers(&redis);
    let program = server.program(AMY);
    for number in 0..30 {
        program.creates(&json!({"code": format!("tax-{number:02}"), "target_url": TARGET}));
    }
    for code in ["tax-off", "form-off"] {
        program.creates(&json!({"code": code, "target_url": TARGET}));
        server.officer(AMY).switches(code, "INACTIVE");
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let desk = Desk::of(&office, AMY);
    for has_scripts in [true, false] {
        let tab = tab_of(&server, &desk);
        if !has_scripts {
            tab.has_no_scripts();
        }
        let downloads = folder.path().join(has_scripts.to_string());
        tab.keeps_downloads_in(&downloads);
        tab.opens("/console/links");
        presses_on(&tab, "[rel=next]");
        assert!(tab.reads("main").contains("tax-00"));
        tab.tabs_to("#q");
        tab.types("TAX-");
        tab.tabs_to("#state");
        tab.presses("ArrowDown");
        tab.presses("ArrowDown");
        tab.tabs_to("#sort");
        for _ in 0..4 {
            tab.presses("ArrowDown");
        }
        presses_on(&tab, "form button");
        assert_eq!(tab.address(), format!("{SITE}/console/links?q=TAX-&tag=&state=inactive&sort=code"));
        assert!(tab.reads(".rows").starts_with("tax-off"), "{}", tab.reads(".rows"));
        if has_scripts {
            assert_good_on_every_screen(&tab, "filtered");
        }
        for (link, file, lines) in [("csv", "links.csv", 2), ("ndjson", "links.ndjson", 1)] {
            tab.tabs_to(&format!("a[href$='format={link}']"));
            tab.presses("Enter");
            let text =
                eventually(file, || fs::read_to_string(downloads.join(file)).ok().filter(|text| !text.is_empty()));
            assert_eq!(text.lines().count(), lines, "{text}");
            assert!(text.contains("tax-off"), "{text}");
        }
    }
}

#[test]
fn a_colleagues_link_is_found_and_its_owner_asked_by_keyboard_alone() {
    let redis = RedisServer::start();
    let (server, office) = servers(&redis);
    let program = server.program("ben@agency.gov.sg");
    for number in 0..30 {
        program.creates(&json!({"code": format!("form-{number:02}"), "target_url": TARGET, "description": "Licences"}));
    }
    let desk = Desk::of(&office, AMY);
    for has_scripts in [true, false] {
        let tab = tab_of(&server, &desk);
        if !has_scripts {
            tab.has_no_scripts();
        }
        tab.opens("/console/links");
        presses_on(&tab, "nav a[href='/console/directory']");
        tab.tabs_to("#q");
        tab.types("licences iras");
        tab.awaiting_load(|| tab.presses("Enter"));
        assert_eq!(tab.evaluate("document.querySelectorAll('.rows > li').length"), 25);
        if has_scripts {
            assert_good_on_every_screen(&tab, "found-page");
            for key in ["Enter", " "] {
                tab.opens("/console/directory?q=licences");
                tab.tabs_to("button[data-copy]");
                tab.presses(key);
                tab.eventually("document.activeElement.innerText === 'Copied'");
            }
        }
        presses_on(&tab, "[rel=next]");
        assert_eq!(tab.evaluate("document.querySelectorAll('.rows > li').length"), 5);
        tab.tabs_to("a[href='mailto:ben@agency.gov.sg']");
        tab.tabs_to("#owner");
        tab.types("ben@agency");
        presses_on(&tab, "form button");
        assert!(tab.reads("#owner-error").contains("isn’t an e-mail address"));
        tab.tabs_to("#owner");
        tab.types("ben@agency.gov.sg");
        tab.awaiting_load(|| tab.presses("Enter"));
        presses_on(&tab, ".rows a");
        tab.arrives_at(&format!("{SITE}/form-"));
        assert!(tab.reads("h1").contains("Where this link goes"));
    }
}

#[test]
fn an_administrator_manages_anothers_links_by_keyboard_alone() {
    let redis = RedisServer::start();
    let (server, office) = servers(&redis);
    server.program(AMY).creates(&json!({"code": "tax", "target_url": TARGET}));
    let desk = Desk::of(&office, ROOT);
    let tab = tab_of(&server, &desk);
    tab.has_no_scripts();
    tab.opens("/console/links");
    tab.tabs_to("#owner");
    tab.types(AMY);
    tab.awaiting_load(|| tab.presses("Enter"));
    assert_eq!(tab.reads("h1"), format!("Links of {AMY}"));
    presses_on(&tab, ".rows a");
    assert!(tab.reads("main").contains(&format!("This link belongs to {AMY}")));
    tab.tabs_to("#description");
    tab.types("Taxes");
    tab.tabs_to("#forward_query");
    tab.presses(" ");
    presses_on(&tab, "form[action='/console/links/tax'] button");
    assert_eq!(tab.evaluate("[description.value, forward_query.checked]"), json!(["Taxes", true]));
    tab.tabs_to("button[value=off]");
    tab.awaiting_load(|| tab.presses(" "));
    assert_eq!(server.follow("tax").status, 410);
    server.knows("ben@agency.gov.sg");
    presses_on(&tab, "a[href$='/transfer']");
    tab.tabs_to("#owner");
    tab.types("ben@agency.gov.sg");
    tab.awaiting_load(|| tab.presses("Enter"));
    assert!(tab.reads("[role=status]").contains("belongs to its new owner now"));
    presses_on(&tab, "a[href='/console/create']");
    for (field, text) in [("#target", TARGET), ("#code", "for-ben"), ("#owner", "ben@agency.gov.sg")] {
        tab.tabs_to(field);
        tab.types(text);
    }
    tab.awaiting_load(|| tab.presses("Enter"));
    assert!(tab.reads("[role=status]").contains("The link works now"));
    let links = server.program("ben@agency.gov.sg").get("/links").assert_v2("links", 200);
    assert_eq!(links["items"].as_array().map(Vec::len), Some(2));
    presses_on(&tab, "nav a[href='/console/directory']");
    tab.tabs_to("#q");
    tab.types("for-ben");
    tab.awaiting_load(|| tab.presses("Enter"));
    presses_on(&tab, "a[href='/console/links/for-ben']");
    assert_eq!(tab.reads("h1"), "for-ben");
}

#[test]
fn a_key_is_made_and_revoked_by_keyboard_alone() {
    let redis = RedisServer::start();
    let (server, office) = servers(&redis);
    let tab = tab_of(&server, &Desk::of(&office, AMY));
    tab.opens("/console/keys");
    tab.tabs_to("#name");
    tab.types(&"n".repeat(90));
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
        tab.types(AMY);
        tab.awaiting_load(|| tab.presses("Enter"));
        looks_good("password");
        let password = password_in(&smtp.awaits_mail().text);
        // A mail that the server has accepted is valid from now on.
        eventually("the mail is sent", || {
            (server.metrics().with("merlink_mails_total", &[("outcome", "sent")]) == 1.0).then_some(())
        });
        for (typed, is_right) in [(wrong_password(&password), false), (password.as_str(), true)] {
            tab.tabs_to("#password");
            tab.types(typed);
            tab.awaiting_load(|| tab.presses("Enter"));
            if is_right {
                break;
            }
            looks_good("password-wrong");
        }
        assert_eq!(tab.address(), format!("{SITE}/console/keys"), "{}", tab.reads("main"));
    }
}

#[test]
fn an_officer_logs_in_by_the_link_in_the_mail_by_keyboard_alone() {
    let smtp = SmtpServer::start(None, "250 ok");
    let server = home()
        .set("smtp.url", format!("smtp://{}", smtp.address))
        .set("smtp.from", "go@agency.gov.sg")
        .set("limits.otps_per_hour", "4")
        .set("limits.wrong_otps_per_hour", "1")
        .start();
    let tab = Tab::open(&server);
    let asks_for_a_mail = |email: &str| {
        tab.opens("/console/login?next=/console/keys");
        tab.tabs_to("#email");
        tab.types(email);
        tab.awaiting_load(|| tab.presses("Enter"));
    };
    asks_for_a_mail(AMY);
    let first = smtp.awaits_mail().text;
    asks_for_a_mail(AMY);
    assert!(tab.reads("main").contains("next mail in 60 minutes"), "{}", tab.reads("main"));
    let link = link_in(&smtp.awaits_mail().text);
    assert_good_on_every_screen(&tab, "password-last");
    asks_for_a_mail(AMY);
    assert!(tab.reads("[role=alert]").contains("No mail was sent"));
    assert_good_on_every_screen(&tab, "password-not-sent");
    eventually("the mails are sent", || {
        (server.metrics().with("merlink_mails_total", &[("outcome", "sent")]) == 2.0).then_some(())
    });

    // The last mail counts, and after a wrong password of a stranger's only its link.
    tab.opens(&link_in(&first));
    assert!(tab.reads("main").contains("doesn’t work here"), "{}", tab.reads("main"));
    assert_good_on_every_screen(&tab, "login-link-useless");
    asks_for_a_mail(AMY);
    for _ in 0..2 {
        tab.tabs_to("#password");
        tab.types("0000-0000");
        tab.awaiting_load(|| tab.presses("Enter"));
    }
    assert!(tab.reads("[role=status]").contains("only the link in the mail"), "{}", tab.reads("main"));
    assert_good_on_every_screen(&tab, "password-link-only");
    tab.opens(&link);
    assert_good_on_every_screen(&tab, "login-link");
    tab.tabs_to("main button");
    tab.awaiting_load(|| tab.presses("Enter"));
    assert_eq!(tab.address(), format!("{SITE}/console/keys"), "{}", tab.reads("main"));
}
