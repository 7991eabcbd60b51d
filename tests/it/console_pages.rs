//! The console's pages in a real browser: every page and state, on the screens that officers have.

use serde_json::json;

use crate::{
    api_v2::TARGET,
    chromium::{SITE, Tab, WIDTHS, home},
    console::Desk,
    harness::{Home, Server},
    redis_server::RedisServer,
};

pub const AMY: &str = "amy.tan@agency.gov.sg";
pub const ROOT: &str = "root@agency.gov.sg";

/// The server that browsers know, and one beside it on the same Redis: mail lies in a folder only on a server that is for nobody else.
pub fn servers(redis: &RedisServer) -> (Server, Server) {
    let start = |home: Home| home.set("redis.url", redis.url()).set("officers.admins", ROOT).start();
    (start(home()), start(Home::new()))
}

/// A window in which the officer of this desk is logged in.
pub fn tab_of(server: &Server, desk: &Desk<'_>) -> Tab {
    let tab = Tab::open(server);
    for (name, value) in &desk.cookies {
        tab.call("Network.setCookie", &json!({"name": name, "value": value, "url": SITE, "httpOnly": true}));
    }
    tab
}

#[track_caller]
pub fn assert_good_on_every_screen(tab: &Tab, page: &str) {
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

/// A server whose console is in Arabic, as far as these files go: of citizens' pages and of the console.
fn server_in_arabic(redis: &RedisServer, [citizens, console]: &[&str; 2]) -> Server {
    let home = home().set("redis.url", redis.url()).set("site.languages", "ar,en").set("officers.admins", ROOT);
    let folder = home.path().join("languages/ar");
    std::fs::create_dir_all(&folder).expect("the temporary directory can be written");
    std::fs::write(folder.join("citizens.ftl"), citizens).expect("it can be written");
    std::fs::write(folder.join("console.ftl"), console).expect("it can be written");
    let server = home.set("site.languages_dir", folder.parent().expect("ar").display().to_string()).start();
    server.expect_log("these messages are missing and stay in english");
    server
}

#[test]
fn a_language_from_right_to_left_turns_the_console_round_but_no_address() {
    let redis = RedisServer::start();
    let (_, office) = servers(&redis);
    let server = server_in_arabic(&redis, &[include_str!("pages/ar.ftl"), include_str!("pages/ar-console.ftl")]);
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

/// Sentences in Latin letters that a screen reader would read out as if they were Arabic.
const TAKEN_FOR_ARABIC: &str = r"(() => {
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const {data, parentElement} = texts.currentNode;
    const isSaid = !parentElement.closest('script, style') && /[a-z]{2,} [a-z]{2,}/i.test(data);
    if (isSaid && parentElement.closest('[lang]').lang !== 'en') found.push(data);
  }
  return found;
})()";

#[test]
fn what_a_language_from_right_to_left_lacks_is_english_from_left_to_right() {
    let redis = RedisServer::start();
    let (_, office) = servers(&redis);
    let server = server_in_arabic(&redis, &["language-name = العربية\nlanguage-direction = rtl\n", "list-tag = وسم\n"]);
    let program = server.program(AMY);
    program.creates(&json!({"code": "tax", "target_url": TARGET, "description": "Taxes", "tags": ["one"]}));
    let key = program.key.split('_').nth(1).expect("mlk_ID_SECRET");
    let desk = Desk::of(&office, ROOT);
    let tab = tab_of(&server, &desk);
    tab.speaks("ar");
    tab.is_wide(WIDTHS[2]);
    for (page, path) in [
        ("links", "/console/links"),
        ("others-links", &*format!("/console/links?owner={AMY}")),
        ("create", "/console/create"),
        ("link", "/console/links/tax?done=saved"),
        ("history", "/console/links/tax/history"),
        ("statistics", "/console/links/tax/statistics"),
        ("transfer", "/console/links/tax/transfer"),
        ("upload", "/console/upload"),
        ("directory", "/console/directory"),
        ("found", "/console/directory?q=tax"),
        ("nothing-found", "/console/directory?q=nothing-like-it"),
        ("keys", "/console/keys?done=revoked"),
        ("revoke", &format!("/console/keys/{key}/revoke")),
        ("account", "/console/account"),
        ("not-found", "/console/nothing"),
        ("landing", "/"),
        ("preview", "/tax+"),
        ("transition", "/tax"),
        ("no-link", "/nothing"),
    ] {
        tab.opens(path);
        tab.evaluate("document.getElementById('stop')?.click()");
        tab.assert_good(&format!("{page} in next to no Arabic"));
        tab.pictured(&format!("console-lacking-{page}"));
        assert_eq!(tab.evaluate("document.dir"), "rtl", "{page}");
        let title = tab.evaluate("document.title");
        assert!(title.as_str().is_some_and(|title| !title.contains('<')), "{page}: {title}");
        let marked = "[...document.querySelectorAll('*')].flatMap((element) => [...element.attributes]) \
             .filter(({value}) => value.includes('<')).map(({name, value}) => `${name}: ${value}`)";
        assert_eq!(tab.evaluate(marked), json!([]), "{page}: attributes have no elements in them");
        assert_eq!(tab.evaluate(TAKEN_FOR_ARABIC), json!([]), "{page}: what is in English says so");
        let is_apart = "[...document.querySelectorAll('main :is(span, p)[lang=en]')].every(({textContent}) => \
             !textContent || textContent.startsWith('\\u2066') && textContent.endsWith('\\u2069'))";
        assert_eq!(tab.evaluate(is_apart), true, "{page}: and runs from left to right");
    }
    tab.opens("/console/directory");
    // From the first letter to the full stop, on one line; the signs around them aren't seen.
    let ends = "(() => { const words = document.querySelector('main > p span').firstChild; \
         const x = (at) => { const range = document.createRange(); range.setStart(words, at); range.setEnd(words, at + 1); \
         return range.getBoundingClientRect().x; }; return [words.data.at(-2), x(1) < x(words.length - 2)]; })()";
    assert_eq!(tab.evaluate(ends), json!([".", true]));
    tab.opens("/console/links");
    let languages = "['q', 'tag'].map((id) => document.querySelector(`label[for=${id}]`)) \
         .map((label) => (label.querySelector('[lang]') ?? label).closest('[lang]').lang)";
    assert_eq!(tab.evaluate(languages), json!(["en", "ar"]), "what it has is in Arabic");
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
fn what_a_script_says_is_in_the_language_that_it_has_and_says_which() {
    let redis = RedisServer::start();
    let (_, office) = servers(&redis);
    let server = server_in_arabic(&redis, &[include_str!("pages/ar.ftl"), "create-code-free = الاسم { $code } متاح.\n"]);
    server.program(AMY).creates(&json!({"code": "tax", "target_url": TARGET}));
    let tab = tab_of(&server, &Desk::of(&office, AMY));
    tab.speaks("ar");
    tab.opens("/console/create");
    let says = |code: &str, hint: &str, language: &str| {
        tab.evaluate("document.getElementById('code').value = ''; document.getElementById('code').focus(); 0");
        tab.types(code);
        tab.eventually(&format!("document.getElementById('availability').textContent.includes('{hint}')"));
        let spoken = "(({firstElementChild}) => firstElementChild ? firstElementChild.lang : 'ar')(document.getElementById('availability'))";
        assert_eq!(tab.evaluate(spoken), language, "{code}");
    };
    says("new", "متاح", "ar");
    says("tax", "is taken", "en");
    says("<b>a</b>", "A name has", "en");
    tab.assert_good("a name that can't be");

    tab.opens("/console/links");
    tab.tabs_to("button[data-copy]");
    let was = tab.evaluate("document.activeElement.innerHTML");
    tab.presses("Enter");
    tab.eventually("document.activeElement.querySelector('[lang=en]')?.textContent.includes('Copied')");
    assert_eq!(
        tab.evaluate("document.querySelector('[role=status]').textContent.includes('Copied')"),
        true,
        "it is read out"
    );
    tab.assert_good("a link that was copied");
    tab.eventually(&format!("document.activeElement.innerHTML === {was}"));

    // Somebody who was logged out meanwhile sees no login page in the place of the hint.
    let tab = tab_of(&office, &Desk::of(&office, AMY));
    tab.opens("/console/create");
    tab.call("Network.clearBrowserCookies", &json!({}));
    tab.evaluate("document.getElementById('code').focus(); 0");
    tab.types("new");
    tab.eventually("performance.getEntriesByType('resource').some(({name}) => name.includes('/console/availability'))");
    tab.evaluate("new Promise((resume) => requestAnimationFrame(() => requestAnimationFrame(() => resume(0))))");
    assert_eq!(tab.evaluate("document.getElementById('availability').textContent"), "");
}
