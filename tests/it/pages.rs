//! Citizens' pages in a real browser: every page and state, in the languages and on the screens that people have.

use serde_json::json;

use crate::{
    chromium::{SITE, Tab, WIDTHS, home},
    harness::{Home, Server, eventually},
    http::Answer,
    redis_server::RedisServer,
};

const TARGET: &str = "https://www.iras.gov.sg/taxes/individual-income-tax/basics?year=2026&lang=en#how-to";

/// What browsers ask for, the language that they get, and a word of it.
const LANGUAGES: [(&str, &str, &str); 4] = [
    ("en-SG,en", "en", "Only government officers can make them."),
    ("zh-CN,zh", "zh-Hans", "政府短链接"),
    ("ms-MY,ms", "ms", "Pautan pendek daripada kerajaan"),
    ("ta-SG,ta", "ta", "அரசாங்கத்தின் குறுகிய இணைப்புகள்"),
];

/// A server with a link to follow, and one that is switched off.
fn site() -> Server {
    site_in(home())
}

fn site_in(home: Home) -> Server {
    let server = home.start();
    let amy = server.officer("amy@iras.gov.sg");
    amy.creates("iras-tax", TARGET);
    amy.creates("off", TARGET);
    amy.switches("off", "INACTIVE");
    server
}

#[test]
fn every_page_can_be_read_by_everybody_on_every_screen_in_every_language() {
    let server = site_in(home().set("redirect.transition_page", "always"));
    let tab = Tab::open(&server);
    let pages = [
        ("landing", "/"),
        ("transition", "/iras-tax"),
        ("preview", "/iras-tax+"),
        ("gone", "/off"),
        ("lost", "/never"),
    ];
    for (asked, language, words) in LANGUAGES {
        tab.speaks(asked);
        for (page, path) in pages {
            tab.opens(path);
            if page == "transition" {
                tab.evaluate("document.getElementById('stop').click()");
            }
            assert_eq!(tab.evaluate("document.documentElement.lang"), language, "{path}");
            for (width, scheme) in WIDTHS.into_iter().zip(["light", "dark", "light"]) {
                tab.is_wide(width);
                tab.likes(scheme);
                tab.assert_good(&format!("{page} in {language}, {width} px, {scheme}"));
                tab.pictured(&format!("{page}-{language}-{width}-{scheme}"));
            }
        }
        tab.opens("/");
        assert!(tab.reads("main").contains(words), "{language}: {}", tab.reads("main"));
    }
}

#[test]
fn the_pages_of_bad_days_can_be_read_by_everybody() {
    let mut redis = RedisServer::start();
    let server = site_in(home().set("redis.url", redis.url()).set("limits.misses_per_minute", "1"));
    let tab = Tab::open(&server);
    tab.opens("/never-made");
    tab.opens("/never-made-either");
    assert_eq!(tab.reads("h1"), "Too many tries");
    tab.assert_good("limited");

    // A form elsewhere: ours may not send any.
    tab.awaiting_load(|| drop(tab.call("Page.navigate", &json!({"url": "about:blank"}))));
    tab.awaiting_load(|| {
        tab.evaluate(&format!(
            "document.body.innerHTML = '<form method=post action=\"{SITE}/iras-tax\"></form>'; document.forms[0].submit()"
        ));
    });
    assert_eq!(tab.reads("h1"), "This link can only be opened");
    tab.assert_good("method not allowed");

    server.expect_log("redis");
    redis.kill();
    eventually("merlink notices", || (server.metrics().sum("merlink_redis_up") == 0.0).then_some(()));
    tab.opens("/not-in-memory");
    assert_eq!(tab.reads("h1"), "Please try again shortly");
    tab.assert_good("unavailable");
    tab.opens("/");
    tab.assert_good("the landing page without totals");
    redis.start_again();
    server.await_ready();
}

#[test]
fn the_countdown_counts_and_goes_on_and_the_second_visit_goes_there_at_once() {
    let server = site();
    let tab = Tab::open(&server);
    tab.opens("/iras-tax");
    assert_eq!(tab.reads("#timer"), "You will be taken there in 6 seconds.");
    assert_eq!(tab.reads(".domain"), "iras.gov.sg");
    tab.eventually("document.getElementById('timer').innerText === 'You will be taken there in 4 seconds.'");
    tab.arrives_at(TARGET);
    tab.assert_quiet("the transition page");

    tab.awaiting_load(|| {
        tab.evaluate(&format!("location.href = '{SITE}/iras-tax'"));
    });
    assert_eq!(tab.address(), TARGET, "at once");
    server.officer("amy@iras.gov.sg").sees_clicks("iras-tax", 2);
}

#[test]
fn without_scripts_every_page_says_what_it_has_to_and_the_transition_goes_on() {
    let server = site();
    let tab = Tab::open(&server);
    tab.has_no_scripts();
    for (path, words) in [
        ("/", "How to check a link"),
        ("/iras-tax+", "Owned by"),
        ("/off", "This link is switched off"),
        ("/never-made", "There is no such link"),
    ] {
        tab.opens(path);
        assert!(tab.reads("main").contains(words), "{path}");
    }
    tab.opens("/iras-tax");
    assert!(tab.reads("main").contains("You will be taken there in 6 seconds."));
    assert_eq!(
        tab.evaluate("getComputedStyle(document.getElementById('stop')).display"),
        "none",
        "nothing that needs one"
    );
    tab.arrives_at(TARGET);
    tab.assert_quiet("without scripts");
}

#[test]
fn the_keyboard_alone_stops_the_countdown_changes_the_language_and_goes_on() {
    let server = site();
    let tab = Tab::open(&server);
    tab.opens("/iras-tax");
    tab.tabs_to("#stop");
    tab.presses("Enter");
    assert_eq!(tab.reads("#stopped"), "The countdown is stopped. Nothing happens until you choose.");
    tab.assert_good("a stopped countdown");
    assert_eq!(tab.evaluate("document.activeElement.id"), "go", "the focus isn't lost with the button");
    assert_ne!(tab.evaluate("getComputedStyle(document.activeElement).outlineStyle"), "none", "the focus is seen");

    assert_eq!(tab.evaluate("document.querySelector('footer a[href^=\"/console\"]').innerText"), "For officers");
    tab.evaluate("document.activeElement.blur()");
    tab.tabs_to("a[lang=ms]");
    tab.awaiting_load(|| tab.presses("Enter"));
    assert_eq!(tab.reads("h1"), "Semak ke mana pautan ini menuju");
    tab.tabs_to("#go");
    tab.awaiting_load(|| tab.presses("Enter"));
    assert_eq!(tab.address(), TARGET);
}

#[test]
fn a_chosen_language_stays_and_choosing_it_is_no_second_click() {
    let server = site();
    let tab = Tab::open(&server);
    tab.opens("/iras-tax");
    tab.evaluate("document.getElementById('stop').click()");
    tab.awaiting_load(|| tab.clicks("a[lang=ta]"));
    assert_eq!(tab.reads("#timer"), "6 வினாடிகளில் அங்கே அழைத்துச் செல்லப்படுவீர்கள்.");
    tab.awaiting_load(|| tab.clicks("a[lang=zh-Hans]"));
    assert_eq!(tab.reads("#timer"), "6 秒后将自动前往。");
    tab.eventually("document.getElementById('timer').innerText === '5 秒后将自动前往。'");
    tab.opens("/");
    assert_eq!(tab.reads("h1"), "政府短链接");
    assert_eq!(tab.evaluate("document.querySelectorAll('a[lang=zh-Hans]').length"), 0, "no link to what one reads");
    let amy = server.officer("amy@iras.gov.sg");
    amy.sees_clicks("iras-tax", 1);
    tab.awaiting_load(|| tab.opens("/iras-tax"));
    assert_eq!(tab.address(), TARGET);
    amy.sees_clicks("iras-tax", 2);
}

#[test]
fn a_page_with_all_that_it_needs_takes_less_than_14_kb_on_the_wire_and_one_round_trip() {
    let server = site();
    for (asked, language, _) in LANGUAGES {
        for path in ["/", "/iras-tax", "/iras-tax+", "/off", "/never-made"] {
            let tab = Tab::open(&server);
            tab.speaks(asked);
            tab.opens(path);
            let requests = tab.requests();
            let before_drawing = requests.iter().filter(|(kind, _)| kind != "Image" && kind != "Other").count();
            assert_eq!(before_drawing, 1, "{path} in {language}: {requests:?}");
            let icon = tab.evaluate("document.querySelector('link[rel=icon]').getAttribute('href')");
            let icon = server.get(icon.as_str().expect("a path")).send();
            let bytes = tab.bytes_received() + wire_bytes(&icon);
            assert!(bytes < 14_000.0, "{path} in {language}: {bytes} bytes");
        }
    }
}

/// Head and body.
fn wire_bytes(answer: &Answer) -> f64 {
    let head: usize = answer.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    (head + answer.body.len()) as f64
}

#[test]
fn a_language_from_right_to_left_turns_the_pages_round() {
    let home = home().set("redirect.transition_page", "always").set("site.languages", "ar,en");
    let folder = home.path().join("languages");
    std::fs::create_dir_all(folder.join("ar")).expect("the temporary directory can be written");
    std::fs::write(folder.join("ar/citizens.ftl"), include_str!("pages/ar.ftl")).expect("it can be written");
    let home = home.set("site.languages_dir", folder.to_str().expect("the path is text"));
    let server = site_in(home);
    let tab = Tab::open(&server);
    tab.speaks("ar-AE");
    for path in ["/", "/iras-tax", "/iras-tax+", "/off"] {
        tab.opens(path);
        assert_eq!(tab.evaluate("[document.documentElement.lang, document.dir]"), json!(["ar", "rtl"]), "{path}");
        for width in WIDTHS {
            tab.is_wide(width);
            tab.assert_good(&format!("{path} in Arabic, {width} px"));
        }
        tab.pictured(&format!("arabic{}", path.replace('/', "-")));
    }
    tab.opens("/iras-tax+");
    let goal = "getComputedStyle(document.querySelector('.goal'))";
    assert_eq!(
        tab.evaluate(&format!("[{goal}.borderRightWidth !== '0px', {goal}.borderLeftWidth]")),
        json!([true, "0px"])
    );
    assert_eq!(tab.reads(".domain"), "iras.gov.sg");
    let direction = "getComputedStyle(document.querySelector('.address')).direction";
    assert_eq!(tab.evaluate(direction), "ltr", "an address is read from left to right everywhere");
}

#[test]
fn another_country_looks_like_itself() {
    let home = home();
    let logo = home.write(
        "logo.svg",
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 120 36'><rect width='120' height='36' fill='#00664f'/></svg>",
    );
    let server = site_in(
        home.set("site.name", "go.aotearoa")
            .set("site.languages", "en")
            .set("site.logo", logo.to_str().expect("the path is text"))
            .set("site.contact", "https://help.aotearoa.example/report")
            .set(
                "site.footer_links",
                "Privacy=https://help.aotearoa.example/privacy,Accessibility=https://help.aotearoa.example/a11y",
            )
            .set("site.officers_link", "false")
            .set("site.accent", "#00664f")
            .set("site.dark_accent", "#7fd8c0"),
    );
    let tab = Tab::open(&server);
    for path in ["/", "/iras-tax+"] {
        tab.opens(path);
        for (width, scheme) in WIDTHS.into_iter().zip(["light", "dark", "light"]) {
            tab.is_wide(width);
            tab.likes(scheme);
            tab.assert_good(&format!("{path}, {width} px, {scheme}"));
        }
        assert_eq!(tab.reads(".brand"), "go.aotearoa");
        assert!(tab.reads("main").contains("report the link to us: https://help.aotearoa.example/report"), "{path}");
        assert!(tab.reads("footer").contains("Privacy") && !tab.reads("footer").contains("For officers"), "{path}");
        assert_eq!(tab.evaluate("document.querySelectorAll('nav').length"), 0, "one language: nothing to choose");
        assert_eq!(tab.evaluate("getComputedStyle(document.body).borderTopColor"), "rgb(0, 102, 79)");
        let loaded =
            "(({complete, naturalWidth}) => complete && naturalWidth > 0)(document.querySelector('.brand img'))";
        tab.eventually(loaded);
        tab.pictured(&format!("country{}", path.replace('/', "-")));
    }
}

#[test]
fn what_the_tests_here_look_with_sees_a_page_that_is_bad() {
    let server = site();
    let tab = Tab::open(&server);
    tab.opens("/");
    assert!(tab.violations().is_empty());
    tab.evaluate("document.querySelector('main').innerHTML += '<img src=\"/favicon.ico\"><p id=pale>pale</p>'; 0");
    tab.evaluate("document.getElementById('pale').style.color = '#ccc'; 0");
    let broken: Vec<String> = tab.violations().iter().map(|found| found["id"].to_string()).collect();
    assert_eq!(broken, ["\"color-contrast\"", "\"image-alt\""]);
    tab.evaluate(
        "document.head.append(Object.assign(document.createElement('script'), {src: 'https://cdn.example/x.js'})); 0",
    );
    eventually("the policy's refusal stands in the console", || (!tab.complaints().is_empty()).then_some(()));
}

#[test]
fn the_longest_addresses_and_all_that_an_owner_can_say_fit_on_a_phone() {
    let server = site();
    let amy = server.officer("amy@iras.gov.sg");
    let long = format!("https://{}.{}.gov.sg/{}", "a".repeat(63), "b".repeat(63), "path/".repeat(300));
    let contact = "individual-income-tax-helpdesk@iras.gov.sg";
    let words = format!("{} ends", "Unabbreviated".repeat(15));
    let body = json!({"code": "long", "target_url": long, "description": words, "contact_email": contact});
    let link = server.request("POST", "/api/v2/links").key(&amy.key).json(&body).send();
    assert_eq!(link.status, 201, "{}", link.text());
    let tab = Tab::open(&server);
    for path in ["/long", "/long+"] {
        tab.opens(path);
        if path == "/long" {
            tab.evaluate("document.getElementById('stop').click()");
        }
        for width in WIDTHS {
            tab.is_wide(width);
            tab.assert_good(&format!("{path}, {width} px"));
        }
        tab.is_wide(WIDTHS[0]);
        let scrolls =
            "(({scrollHeight, clientHeight}) => scrollHeight > clientHeight)(document.querySelector('.address'))";
        assert_eq!(tab.evaluate(scrolls), true, "{path}: the address has a box that scrolls");
        tab.pictured(&format!("long{}", path.replace('/', "-")));
    }
    tab.tabs_to(".address");
    assert_eq!(tab.reads(".facts dd[dir=auto]"), words);
    amy.switches("long", "INACTIVE");
    eventually("it is off", || (server.follow("long").status == 410).then_some(()));
    tab.opens("/long");
    tab.assert_good("gone, with what its owner says");
    assert_eq!(tab.reads("dd"), words);
    assert!(tab.reads("main").contains(&format!("where to find the page now: {contact}")));
    tab.pictured("gone-with-contact");
}

#[test]
fn what_programmers_read_can_be_read_by_everybody_too() {
    let server = site();
    let tab = Tab::open(&server);
    for path in ["/api/v2/docs", "/problems/validation"] {
        tab.opens(path);
        for (width, scheme) in WIDTHS.into_iter().zip(["light", "dark", "light"]) {
            tab.is_wide(width);
            tab.likes(scheme);
            tab.assert_good(&format!("{path}, {width} px, {scheme}"));
            tab.pictured(&format!("programmers{}-{width}-{scheme}", path.replace('/', "-")));
        }
    }
}
