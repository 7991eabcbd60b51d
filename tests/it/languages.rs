//! Languages: which one a visitor gets, how they change it, and what an operator can add.

use crate::{
    harness::{CHROME, CURL, Home, IPHONE, Server, eventually},
    http::{Answer, attributes},
    redis_server::RedisServer,
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

fn language_of(answer: &Answer) -> String {
    attributes(&answer.text(), "lang").first().expect("a page says its language").clone()
}

/// A server with a link to follow and one that is switched off.
fn site_in(home: Home) -> Server {
    let server = home.start();
    let amy = server.officer("amy@iras.gov.sg");
    amy.creates("iras-tax", TARGET);
    amy.creates("off", TARGET);
    amy.switches("off", "INACTIVE");
    server
}

#[test]
fn every_page_comes_in_the_language_that_the_browser_asks_for() {
    let server = site_in(Home::new());
    for (asked, language) in [
        ("ms-MY,ms;q=0.9,en;q=0.8", "ms"),
        ("zh-CN,zh;q=0.9", "zh-Hans"),
        ("ta", "ta"),
        ("fr-FR,fr;q=0.9,ta;q=0.3,en;q=0.2", "ta"),
        ("de", "en"),
        ("", "en"),
    ] {
        for (path, status) in [("/", 200), ("/iras-tax", 200), ("/iras-tax+", 200), ("/off", 410), ("/never-made", 404)]
        {
            let answer = server.get(path).user_agent(CHROME).header("Accept-Language", asked).send();
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(language_of(&answer), language, "{path} for {asked:?}");
            assert_eq!(answer.header("vary"), Some("Accept-Language, Accept-Encoding, Cookie"), "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        }
        let answer = server.request("POST", "/iras-tax").header("Accept-Language", asked).send();
        assert_eq!((answer.status, language_of(&answer).as_str()), (405, language));
    }
}

#[test]
fn a_choice_is_kept_in_a_cookie_that_says_nothing_else() {
    let server = site_in(Home::new());
    for path in ["/?page-lang=ms", "/iras-tax+?page-lang=ms", "/off?x=1&page-lang=ms", "/never-made?page-lang=ms"] {
        let answer = server.get(path).user_agent(CHROME).header("Accept-Language", "ta").send();
        assert_eq!(language_of(&answer), "ms", "{path}");
        let cookie = answer.header("set-cookie").unwrap_or_else(|| panic!("{path}: no cookie"));
        assert_eq!(cookie, "lang=ms; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax", "{path}");
        let again = server.get("/").header("Accept-Language", "ta").header("Cookie", "lang=ms").send();
        assert_eq!((language_of(&again).as_str(), again.header("set-cookie")), ("ms", None), "nothing new");
    }
    for nonsense in ["fr", "", "ms%0d%0aX-Evil:%201", "../../etc", "MS"] {
        let answer = server.get(&format!("/?page-lang={nonsense}")).send();
        assert_eq!((language_of(&answer).as_str(), answer.header("set-cookie")), ("en", None), "{nonsense}");
    }
    let secure = Server::with(&[("public.base_url", "https://go.example")]);
    let cookie = secure.get("/?page-lang=ms").send().header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.ends_with("; Secure"), "{cookie}");
}

#[test]
fn another_language_of_the_transition_page_is_no_second_click_and_a_link_with_one_still_is_a_visit() {
    let server = site_in(Home::new());
    let mut citizen = server.browser(CHROME);
    assert_eq!(citizen.opens("/iras-tax").status, 200);
    assert_eq!(language_of(&citizen.opens("/iras-tax?page-lang=ms")), "ms");
    assert_eq!(language_of(&citizen.opens("/iras-tax?page-lang=en")), "en");
    let amy = server.officer("amy@iras.gov.sg");
    amy.sees_clicks("iras-tax", 1);
    citizen.opens("/iras-tax?page-lang=en").assert_redirects("nothing new: a visit", TARGET);
    citizen.opens("/iras-tax").assert_redirects("a visit", TARGET);
    amy.sees_clicks("iras-tax", 3);

    // Somebody passes the address on, language and all.
    let mut other = server.browser(IPHONE);
    let page = other.opens("/iras-tax?page-lang=ta");
    assert_eq!((page.status, language_of(&page).as_str()), (200, "ta"));
    other.opens("/iras-tax?page-lang=ta").assert_redirects("their second visit", TARGET);
    server.get("/iras-tax?page-lang=ta").user_agent(CURL).send().assert_redirects("a program", TARGET);
    amy.sees_clicks("iras-tax", 6);
}

#[test]
fn a_forwarded_query_survives_a_change_of_language_and_the_language_isnt_forwarded() {
    let server = site_in(Home::new());
    server.set_link_field("iras-tax", "q", 1);
    let mut citizen = server.browser(CHROME);
    let page = citizen.opens("/iras-tax?utm=1&name=%22%3E%3Cscript%3E");
    let links = attributes(&page.text(), "href");
    assert!(links.contains(&format!("{TARGET}?utm=1&name=%22%3E%3Cscript%3E")), "{links:?}");
    let malay = links.iter().find(|link| link.contains("page-lang=ms")).expect("a link to Malay");
    assert_eq!(malay, "?page-lang=ms&utm=1&name=%22%3E%3Cscript%3E");
    let page = citizen.opens(&format!("/iras-tax{malay}"));
    assert_eq!(language_of(&page), "ms");
    assert!(attributes(&page.text(), "href").contains(&format!("{TARGET}?utm=1&name=%22%3E%3Cscript%3E")));
}

#[test]
fn pages_that_are_the_same_for_all_come_compressed_to_whom_can_read_that() {
    let server = site_in(Home::new());
    for (path, status) in [("/never-made", 404), ("/off", 410)] {
        for (coding, compressed) in
            [("gzip, deflate, br", true), ("br;q=1, GZIP;q=0.5", true), ("gzip;q=0", false), ("br", false), ("", false)]
        {
            let answer = server.get(path).header("Accept-Encoding", coding).send();
            assert_eq!(answer.status, status);
            let about = format!("{path} for {coding:?}");
            assert_eq!(answer.header("content-encoding"), compressed.then_some("gzip"), "{about}");
            assert_eq!(answer.body.starts_with(&[0x1f, 0x8b]), compressed, "{about}");
        }
        let size = |coding: &str| server.get(path).header("Accept-Encoding", coding).send().body.len();
        assert!(size("gzip") * 2 < size(""), "{path}: {} of {}", size("gzip"), size(""));
    }
}

#[test]
fn a_link_that_is_off_says_what_it_was_for_and_whom_to_ask_and_follows_changes() {
    let mut redis = RedisServer::start();
    let server = site_in(Home::new().set("redis.url", redis.url()));
    let tell = |code: &str, description: &str, contact: &str| {
        redis::cmd("HSET")
            .arg(format!("l:{{{code}}}"))
            .arg(&[("d", description), ("m", contact)])
            .exec(&mut server.redis())
            .expect("Redis takes the fields");
    };
    tell("iras-tax", "Tax <guide> of 2026", "help@iras.gov.sg");
    let amy = server.officer("amy@iras.gov.sg");
    let preview = server.get("/iras-tax+").send();
    preview.assert_page("a preview", 200);
    assert!(preview.text().contains("Tax &#60;guide&#62; of 2026"), "{}", preview.text());
    assert!(attributes(&preview.text(), "href").contains(&"mailto:help@iras.gov.sg".to_owned()));

    amy.switches("iras-tax", "INACTIVE");
    for path in ["/iras-tax", "/iras-tax", "/IRAS-TAX.", "/iras-tax+"] {
        let gone = server.get(path).user_agent(CHROME).send();
        gone.assert_page(path, 410);
        let html = gone.text();
        assert!(html.contains("Tax &#60;guide&#62; of 2026") && !html.contains("amy"), "{path}: {html}");
        assert!(attributes(&html, "href").contains(&"mailto:help@iras.gov.sg".to_owned()), "{path}: {html}");
    }
    let malay = server.get("/iras-tax").header("Accept-Language", "ms").send();
    assert!(malay.text().contains("Tanya pemilik pautan di mana halaman itu sekarang"), "{}", malay.text());
    let quiet = server.get("/off").send().text();
    assert!(quiet.contains("Ask the agency") && !quiet.contains("mailto:"), "{quiet}");

    // A change is seen, since it makes another version of the link.
    tell("iras-tax", "Moved to the portal", "");
    amy.switches("iras-tax", "ACTIVE");
    amy.switches("iras-tax", "INACTIVE");
    eventually("the page follows the change", || {
        server.get("/iras-tax").send().text().contains("Moved to the portal").then_some(())
    });

    server.expect_log("redis");
    redis.kill();
    eventually("merlink notices", || (server.metrics().sum("merlink_redis_up") == 0.0).then_some(()));
    let remembered = server.get("/iras-tax").send();
    remembered.assert_page("while Redis is away", 410);
    assert!(remembered.text().contains("Moved to the portal"), "what was shown before is remembered");
    let quiet = server.get("/off").header("Accept-Language", "ta").send();
    assert_eq!((quiet.status, language_of(&quiet).as_str()), (410, "ta"), "one that nobody asked for in Tamil before");
    redis.start_again();
    server.await_ready();
}

#[test]
fn an_operators_folder_adds_a_language_and_changes_words() {
    let home = Home::new().set("site.languages", "mi,en").set("site.name", "Go & Co");
    let folder = home.path().join("languages");
    for (file, text) in [
        ("mi/citizens.ftl", "language-name = Te reo Māori\nnot-found-title = Kāore he hononga\n"),
        ("en/citizens.ftl", "not-found-title = No link here, says { $site }\n"),
    ] {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().expect("in a folder")).expect("it can be made");
        std::fs::write(path, text).expect("it can be written");
    }
    let home = home.set("site.languages_dir", folder.to_str().expect("the path is text"));
    home.run(&["check"]).assert_code(0);
    let server = home.start();
    server.expect_log("mi/citizens.ftl: these messages are missing and stay in english: check-arrival");
    let page = |accept: &str| server.get("/never-made").header("Accept-Language", accept).send().text();
    assert!(page("mi").contains("<h1>Kāore he hononga</h1>"), "{}", page("mi"));
    assert!(page("de").contains("lang=\"mi\""), "the first is for all others");
    assert!(page("en").contains("<h1>No link here, says Go &#38; Co</h1>"), "{}", page("en"));
    assert_eq!(attributes(&page("en"), "hreflang"), ["mi"], "only what is offered");
}

#[test]
fn what_would_show_something_broken_stops_the_start_and_is_named() {
    let home = Home::new();
    let folder = home.path().join("languages");
    std::fs::create_dir_all(folder.join("en")).expect("it can be made");
    std::fs::write(folder.join("en/citizens.ftl"), "gone-title = Gone\ngone-why = { $linc } is gone\n")
        .expect("written");
    std::fs::write(home.path().join("logo.gif"), "GIF89a").expect("written");
    std::fs::write(home.path().join("large.svg"), format!("<svg>{}</svg>", " ".repeat(65 * 1024))).expect("written");
    let path = |name: &str| home.path().join(name).display().to_string();
    for (setting, value, names) in [
        ("site.languages_dir", path("languages"), &["en/citizens.ftl", "gone-why", "$linc", "$site"][..]),
        ("site.languages_dir", path("langauges"), &["site.languages_dir", "langauges", "no such folder"]),
        ("site.languages", "en,ms,en".into(), &["site.languages", "en stands there twice"]),
        ("site.languages", "en,tlh".into(), &["tlh", "site.languages_dir", "citizens.ftl"]),
        ("site.languages", "en,not a tag".into(), &["site.languages", "not a tag"]),
        ("site.logo", path("logo.gif"), &["site.logo", "logo.gif", "SVG", "PNG"]),
        ("site.icon", path("nothing.svg"), &["site.icon", "nothing.svg", "can't be read"]),
        ("site.logo", path("large.svg"), &["site.logo", "large.svg", "65536"]),
        ("site.accent", "#ffd700".into(), &["site.accent", "site.background", "1.4", "4.5"]),
        ("site.dark_text", "#333333".into(), &["site.dark_text", "site.dark_background"]),
        ("site.footer_links", "Privacy".into(), &["site.footer_links", "Privacy="]),
        ("site.contact", "ftp://x".into(), &["site.contact", "ftp://x"]),
    ] {
        for command in ["serve", "check"] {
            let home = Home::new().set(setting, &value);
            home.run(&[command]).assert_code(1).assert_names(names);
        }
    }
}

#[test]
fn no_answer_allows_what_the_pages_dont_need() {
    let server = site_in(Home::new());
    for path in ["/", "/iras-tax", "/iras-tax+", "/off", "/never-made", "/favicon.ico"] {
        let answer = server.get(path).user_agent(CHROME).send();
        let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("{path}: no policy"));
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[test]
fn a_shared_page_is_shown_as_what_it_is() {
    let server = site_in(Home::new().set("public.base_url", "https://go.example").set("site.name", "Go"));
    let of = |path: &str, language: &str| {
        let html =
            server.get(path).user_agent("facebookexternalhit/1.1").header("Accept-Language", language).send().text();
        let contents = html.split("<meta property=\"og:").skip(1).map(|rest| {
            let (name, rest) = rest.split_once('"').expect("a name");
            (name.to_owned(), attributes(rest, "content").swap_remove(0))
        });
        contents.collect::<std::collections::BTreeMap<String, String>>()
    };
    let landing = of("/", "en");
    assert_eq!(landing["title"], "Short links from the government");
    assert_eq!((landing["site_name"].as_str(), landing["url"].as_str()), ("Go", "https://go.example/"));
    let picture = landing["image"].strip_prefix("https://go.example").expect("an address of ours").to_owned();
    assert_eq!(server.get(&picture).send().header("content-type"), Some("image/png"));
    let preview = of("/iras-tax+", "en");
    let expected = "https://go.example/iras-tax leads to iras.gov.sg. It is owned by iras.gov.sg.";
    assert_eq!(preview["description"], expected);
    assert_eq!(of("/iras-tax+", "ms")["title"], "Ke mana pautan ini menuju");
    // The short link itself sends them on, so that the target is shown as what it is.
    let shared = server.get("/iras-tax").user_agent("facebookexternalhit/1.1").send();
    shared.assert_redirects("a link preview", TARGET);
}
