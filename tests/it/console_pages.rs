//! The console's pages in a real browser: every page and state, on the screens that officers have.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    api_v2::TARGET,
    chromium::{SITE, Tab, WIDTHS, home},
    console::{Desk, password_in},
    harness::{Home, Server},
    redis_server::RedisServer,
    smtp_server::SmtpServer,
};

const AMY: &str = "amy.tan@agency.gov.sg";
const ROOT: &str = "root@agency.gov.sg";

/// The server that browsers know, and one beside it on the same Redis: mail lies in a folder only on a server that is for nobody else.
fn servers(redis: &RedisServer) -> (Server, Server) {
    let start = |home: Home| home.set("redis.url", redis.url()).set("officers.admins", ROOT).start();
    (start(home()), start(Home::new()))
}

/// A window in which the officer of this desk is logged in.
fn tab_of(server: &Server, desk: &Desk<'_>) -> Tab {
    let tab = Tab::open(server);
    for (name, value) in &desk.cookies {
        tab.call("Network.setCookie", &json!({"name": name, "value": value, "url": SITE, "httpOnly": true}));
    }
    tab
}

#[track_caller]
fn assert_good_on_every_screen(tab: &Tab, page: &str) {
    for (width, scheme) in WIDTHS.into_iter().zip(["light", "dark", "light"]) {
        tab.is_wide(width);
        tab.likes(scheme);
        tab.assert_good(&format!("{page}, {width} px, {scheme}"));
        tab.pictured(&format!("console-{page}-{width}-{scheme}"));
    }
}

#[test]
fn every_page_of_the_console_can_be_used_by_everybody_on_every_screen() {
    let redis = RedisServer::start();
    let (server, office) = servers(&redis);
    let program = server.program(AMY);
    let long = "x".repeat(60);
    program.creates(
        &json!({"code": "tax", "target_url": TARGET, "description": "Taxes", "contact_email": "help@x.gov.sg"}),
    );
    program
        .creates(&json!({"code": long, "target_url": format!("{TARGET}?{}", "q".repeat(500)), "tags": ["one", "two"]}));
    let key = program.key.split('_').nth(1).expect("mlk_ID_SECRET");
    let tab = Tab::open(&server);
    tab.opens("/console/login");
    assert_good_on_every_screen(&tab, "login-without-mail");
    let tab = tab_of(&server, &Desk::of(&office, AMY));
    for (page, path) in [
        ("account", "/console/account"),
        ("links", "/console/links"),
        ("create", "/console/create"),
        ("link", "/console/links/tax"),
        ("history", "/console/links/tax/history"),
        ("statistics", "/console/links/tax/statistics"),
        ("transfer", "/console/links/tax/transfer"),
        ("directory", "/console/directory"),
        ("found", "/console/directory?q=iras"),
        ("nothing-found", "/console/directory?q=nothing-like-it"),
        ("no-owner", "/console/directory?owner=amy"),
        ("keys", "/console/keys?done=revoked"),
        ("revoke", &format!("/console/keys/{key}/revoke")),
        ("not-found", "/console/nothing"),
    ] {
        tab.opens(path);
        assert_eq!(tab.address(), format!("{SITE}{path}"), "{page}");
        assert_good_on_every_screen(&tab, page);
    }
    let tab = tab_of(&server, &Desk::of(&office, ROOT));
    for (page, path) in [
        ("others-links", &*format!("/console/links?owner={AMY}")),
        ("others-link", "/console/links/tax"),
        ("create-for-others", "/console/create"),
        ("directory-for-administrators", "/console/directory?q=iras"),
    ] {
        tab.opens(path);
        assert_good_on_every_screen(&tab, page);
    }
}

#[test]
fn a_language_from_right_to_left_turns_the_console_round_but_no_address() {
    let redis = RedisServer::start();
    let (_, office) = servers(&redis);
    let home = home().set("redis.url", redis.url()).set("site.languages", "ar,en");
    let folder = home.path().join("languages/ar");
    std::fs::create_dir_all(&folder).expect("the temporary directory can be written");
    for (file, text) in
        [("citizens.ftl", include_str!("pages/ar.ftl")), ("console.ftl", include_str!("pages/ar-console.ftl"))]
    {
        std::fs::write(folder.join(file), text).expect("it can be written");
    }
    let server = home.set("site.languages_dir", folder.parent().expect("ar").display().to_string()).start();
    server.expect_log("ar/console.ftl: these messages are missing and stay in english");
    let program = server.program(AMY);
    let about_all = json!({"code": "tax", "target_url": TARGET, "description": "دليل الضرائب", "tags": ["one"]});
    program.creates(&about_all);
    let tab = tab_of(&server, &Desk::of(&office, AMY));
    tab.speaks("ar-AE");
    for (page, path) in [
        ("links", "/console/links"),
        ("create", "/console/create"),
        ("link", "/console/links/tax"),
        ("history", "/console/links/tax/history"),
        ("statistics", "/console/links/tax/statistics"),
        ("found", "/console/directory?q=tax"),
        ("account", "/console/account"),
    ] {
        tab.opens(path);
        assert_eq!(tab.evaluate("[document.documentElement.lang, document.dir]"), json!(["ar", "rtl"]), "{page}");
        for width in WIDTHS {
            tab.is_wide(width);
            tab.assert_good(&format!("{page} in Arabic, {width} px"));
            tab.pictured(&format!("console-arabic-{page}-{width}"));
        }
    }
    tab.opens("/console/links/tax");
    assert_eq!(tab.reads(".tabs a[aria-current]"), "الإعدادات");
    let direction =
        |selector: &str| tab.evaluate(&format!("getComputedStyle(document.querySelector('{selector}')).direction"));
    for address in ["#target", "#contact", ".short-url .mono"] {
        assert_eq!(direction(address), "ltr", "{address} is read from left to right everywhere");
    }
    assert_eq!(direction("#description"), "rtl", "what an officer writes runs as its letters do");
}

#[test]
fn another_countrys_console_has_its_colours_and_its_logo_and_so_have_its_qr_codes() {
    let redis = RedisServer::start();
    let (_, office) = servers(&redis);
    let home = home().set("redis.url", redis.url());
    let logo = home.write(
        "logo.svg",
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 36 36'><circle cx='18' cy='18' r='18' fill='#00664f'/></svg>",
    );
    let server = home
        .set("site.logo", logo.display().to_string())
        .set("site.accent", "#00664f")
        .set("site.background", "#fffaf0")
        .set("site.dark_accent", "#7fd8c0")
        .set("site.dark_background", "#101010")
        .start();
    server.program(AMY).creates(&json!({"code": "tax", "target_url": TARGET}));
    let tab = tab_of(&server, &Desk::of(&office, AMY));
    for (page, path) in [
        ("links", "/console/links"),
        ("link", "/console/links/tax?done=saved"),
        ("statistics", "/console/links/tax/statistics?from=2026-02-01&to=2026-01-01"),
    ] {
        tab.opens(path);
        assert_good_on_every_screen(&tab, &format!("country-{page}"));
        tab.likes("light");
        assert_eq!(tab.evaluate("getComputedStyle(document.body).borderTopColor"), "rgb(0, 102, 79)", "{page}");
        tab.eventually("document.querySelector('.brand img').naturalWidth > 0");
    }
    assert_eq!(
        tab.evaluate("document.styleSheets[0].href.startsWith(location.origin + '/console/assets/console-')"),
        true,
        "the colours come in a file of ours"
    );
    let drawn = |query: &str| {
        tab.evaluate(&format!("fetch('/console/links/tax/qr.svg{query}').then((answer) => answer.text())")).to_string()
    };
    let (with, without) = (drawn("?logo=1"), drawn(""));
    assert!(with.contains("00664f") && !without.contains("00664f"), "the logo is drawn where it was asked for");
}

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
