//! Who visits: people's browsers by device, people's tools, crawlers, and browsers that fetch ahead.

use crate::harness::{CHROME, CURL, GOOGLEBOT, IPAD, IPHONE, Server};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

#[test]
fn a_persons_browser_gets_the_page_first_and_counts_by_its_device() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let visitors = [
        ("chrome-windows", "d", CHROME),
        (
            "safari-mac",
            "d",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
        ),
        ("firefox-linux", "d", "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"),
        (
            "edge",
            "d",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
        ),
        ("iphone", "m", IPHONE),
        (
            "android",
            "m",
            "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
        ),
        (
            "samsung",
            "m",
            "Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S928B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/26.0 Chrome/122.0.0.0 Mobile Safari/537.36",
        ),
        ("firefox-android", "m", "Mozilla/5.0 (Android 15; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0"),
        (
            "in-facebook",
            "m",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/22B83 [FBAN/FBIOS;FBAV/487.0.0.35.109;FBDV/iPhone15,2]",
        ),
        ("ipad", "a", IPAD),
        (
            "android-tablet",
            "a",
            "Mozilla/5.0 (Linux; Android 14; SM-X910) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        ),
        (
            "television",
            "o",
            "Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) 94.0.4606.31/7.0 TV Safari/537.36",
        ),
    ];
    for (code, _, agent) in visitors {
        amy.creates(code, TARGET);
        server.get(&format!("/{code}")).user_agent(agent).send().assert_page(code, 200);
    }
    server.await_flushed();
    for (code, device, _) in visitors {
        let counters = server.counters(code);
        assert_eq!(counters.get("t"), Some(&1), "{code}: total in {counters:?}");
        assert_eq!(counters.get(device), Some(&1), "{code}: device {device} in {counters:?}");
        let devices: i64 = ["d", "m", "a", "o"].iter().filter_map(|device| counters.get(*device)).sum();
        assert_eq!(devices, 1, "{code}: one device in {counters:?}");
        assert!(!counters.contains_key("b") && !counters.contains_key("p"), "{code}: neither bot nor prefetch");
    }
}

#[test]
fn a_persons_tool_is_redirected_at_once_and_counts_as_others() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let tools = [("curl", Some(CURL)), ("wget", Some("Wget/1.21.4")), ("no-agent", None), ("empty-agent", Some(""))];
    for (code, agent) in tools {
        amy.creates(code, TARGET);
        let request = server.get(&format!("/{code}"));
        let request = if let Some(agent) = agent { request.user_agent(agent) } else { request };
        request.send().assert_redirects(code, TARGET);
    }
    server.await_flushed();
    for (code, _) in tools {
        let counters = server.counters(code);
        assert_eq!((counters.get("t"), counters.get("o")), (Some(&1), Some(&1)), "{code}: {counters:?}");
        assert!(!counters.contains_key("b"), "{code}: is no bot: {counters:?}");
    }
}

#[test]
fn crawlers_and_link_previews_are_redirected_at_once_and_counted_apart() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let robots = [
        ("googlebot", GOOGLEBOT),
        (
            "googlebot-phone",
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        ),
        (
            "bingbot",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
        ),
        ("facebook", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"),
        ("whatsapp", "WhatsApp/2.23.20.0 A"),
        ("slack", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"),
        ("telegram", "TelegramBot (like TwitterBot)"),
        ("twitter", "Twitterbot/1.0"),
        ("linkedin", "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)"),
        ("discord", "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"),
        ("requests", "python-requests/2.32.3"),
        ("go-client", "Go-http-client/1.1"),
    ];
    for (code, agent) in robots {
        amy.creates(code, TARGET);
        server.get(&format!("/{code}")).user_agent(agent).send().assert_redirects(code, TARGET);
    }
    server.await_flushed();
    for (code, _) in robots {
        let counters = server.counters(code);
        assert_eq!(counters.get("b"), Some(&1), "{code}: bots in {counters:?}");
        let people = ["t", "p", "d", "m", "a", "o"].iter().find(|field| counters.contains_key(**field));
        assert_eq!(people, None, "{code}: only a bot in {counters:?}");
        assert_eq!(amy.clicks(code), 0, "{code}: never inside the total");
    }
}

#[test]
fn a_browser_that_fetches_ahead_is_counted_apart() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let hints = [
        ("sec-purpose", "Sec-Purpose", "prefetch"),
        ("prerender", "Sec-Purpose", "prefetch;prerender"),
        ("anonymous", "Sec-Purpose", "prefetch;anonymous-client-ip"),
        ("purpose", "Purpose", "prefetch"),
    ];
    for (code, header, value) in hints {
        amy.creates(code, TARGET);
        let answer = server.get(&format!("/{code}")).user_agent(CHROME).header(header, value).send();
        assert!([200, 302].contains(&answer.status), "{code}: {}", answer.status);
    }
    server.await_flushed();
    for (code, ..) in hints {
        let counters = server.counters(code);
        assert_eq!(counters.get("p"), Some(&1), "{code}: prefetches in {counters:?}");
        let people = ["t", "b", "d", "m", "a", "o"].iter().find(|field| counters.contains_key(**field));
        assert_eq!(people, None, "{code}: only a prefetch in {counters:?}");
        assert_eq!(amy.clicks(code), 0, "{code}: never inside the total");
    }
}
