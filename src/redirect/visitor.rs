//! Who is visiting, told from the request's headers: how the click is counted, and whether a page may be shown.
//!
//! The list of crawlers is somebody else's and kept: Crawlerdex, by way of the crate `iscrawl`. Here stand only the few
//! rules that a list can't hold, and the few names on which it errs. Of the crate, `crawler_info` alone is asked: its
//! `is_crawler` remembers verdicts by a string's address and edges, so two visitors whose headers lie in one reused
//! buffer can be given each other's.
//!
//! Asking the list takes 1 to 3 µs, and most visits bring a user agent that was seen a moment ago. So each worker thread
//! remembers the verdicts on the last [`REMEMBERED`] it met, and forgets all of them when there would be one more: no
//! locks, no book-keeping. A flood of invented user agents costs what asking costs.
//!
//! Nothing that is read here goes elsewhere: no address, no cookie, and the user agent never leaves this file. A tablet that
//! asks for desktop pages (an iPad does by default) can't be told from a desktop, and isn't.

use std::{cell::RefCell, collections::HashMap};

use actix_web::http::header::{HeaderMap, HeaderName, USER_AGENT};

use crate::domain::{Click, Device};

/// The text of a user agent that is looked at. Browsers inside apps send the longest, 300 to 400 bytes.
const USER_AGENT_BYTES_MAX: usize = 512;

/// The part of it that the list is asked about. The list confirms each of its literals by a regular expression over the whole
/// text, so a text made of one such literal (`www`, 170 times) costs the square of its length: 0.16 ms at 256 bytes, 0.86 ms at
/// 512. None of the 6,000 crawlers in `iscrawl`'s test set is missed for it.
const LISTED_BYTES_MAX: usize = 256;

/// Verdicts that a worker thread remembers: browsers froze their user agents, so that few differ. 0.6 MB when all are long.
const REMEMBERED: usize = 1_024;

const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const PURPOSE: HeaderName = HeaderName::from_static("purpose");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visitor {
    pub click: Click,
    /// A person looks at it, so a page may be shown. `false`: only the redirect itself is of use.
    pub is_browser: bool,
}

/// Tells the visitor from the headers of a `GET`. Never fails: what can't be read is a person's unknown tool.
///
/// A prefetching browser is counted as [`Click::Prefetch`] and still is a browser.
pub fn classify(headers: &HeaderMap) -> Visitor {
    let user_agent = headers.get(USER_AGENT).map_or(&b""[..], |value| value.as_bytes());
    let visitor = VERDICTS.with_borrow_mut(|verdicts| verdicts.of(user_agent));
    if is_prefetch(headers) { Visitor { click: Click::Prefetch, ..visitor } } else { visitor }
}

/// Builds the crawler list's automaton (0.1 s, 20 MB), so that the first visitor needn't wait for it. Blocks: call it from a thread
/// of its own while the service starts.
pub fn warm_up() {
    iscrawl::crawler_info("");
}

/// `Sec-Purpose: prefetch;prerender` (Fetch standard) or the older `Purpose: prefetch`.
fn is_prefetch(headers: &HeaderMap) -> bool {
    [&SEC_PURPOSE, &PURPOSE]
        .into_iter()
        .flat_map(|name| headers.get_all(name))
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([';', ',']))
        .any(|token| {
            let token = token.trim();
            token.eq_ignore_ascii_case("prefetch") || token.eq_ignore_ascii_case("prerender")
        })
}

thread_local! {
    static VERDICTS: RefCell<Verdicts> = RefCell::default();
}

/// The verdicts that one worker thread remembers, by the whole text. Hashed by foldhash, seeded at random: the standard library's hash of
/// 110 bytes costs more than all else here, and who finds texts that collide slows 1,024 of them.
#[derive(Default)]
struct Verdicts(HashMap<Box<[u8]>, Visitor, foldhash::fast::RandomState>);

impl Verdicts {
    fn of(&mut self, user_agent: &[u8]) -> Visitor {
        let user_agent = &user_agent[..user_agent.len().min(USER_AGENT_BYTES_MAX)];
        if let Some(visitor) = self.0.get(user_agent) {
            return *visitor;
        }
        let visitor = judge(&String::from_utf8_lossy(user_agent));
        if self.0.len() == REMEMBERED {
            self.0.clear();
        }
        self.0.insert(user_agent.into(), visitor);
        visitor
    }
}

/// The verdict on one user agent, whatever the other headers say.
fn judge(user_agent: &str) -> Visitor {
    if user_agent.trim().is_empty() || is_tool_of_a_person(user_agent) {
        Visitor { click: Click::Person(Device::Others), is_browser: false }
    } else if is_bot(user_agent) {
        Visitor { click: Click::Bot, is_browser: false }
    } else if is_office(user_agent) {
        Visitor { click: Click::Person(device_of(user_agent)), is_browser: false }
    } else if is_browser(user_agent) {
        Visitor { click: Click::Person(device_of(user_agent)), is_browser: true }
    } else {
        Visitor { click: Click::Person(Device::Others), is_browser: false }
    }
}

/// Command-line tools that people type a link into. The list calls curl and Wget HTTP libraries.
fn is_tool_of_a_person(user_agent: &str) -> bool {
    ["curl/", "Wget/"].iter().any(|tool| user_agent.starts_with(tool))
}

/// Word and Excel on Windows fetch a link that is clicked in a document, follow its redirects, and hand the
/// last address to the browser. So this is the person's click, and the only one, as long as
/// it gets the redirect: given a page, Office would open the short link a second time. Outlook's own fetches, which the list
/// names, are a mail's images.
fn is_office(user_agent: &str) -> bool {
    user_agent.contains("ms-office")
}

/// Crawlers, link previews and HTTP libraries.
fn is_bot(user_agent: &str) -> bool {
    names_itself_a_bot(user_agent) || is_platform_library(user_agent) || is_on_the_list(user_agent)
}

/// Words by which crawlers name themselves, in lower case. The list has names as they are written (`Googlebot/`, not `googlebot/`),
/// and new ones take time to get there.
const BOT_WORDS: [&str; 4] = ["bot", "crawler", "spider", "+http"];

/// Finds [`BOT_WORDS`], except in `CUBOT`, a maker of phones.
fn names_itself_a_bot(user_agent: &str) -> bool {
    let text = user_agent.to_ascii_lowercase().replace("cubot", "");
    BOT_WORDS.iter().any(|word| text.contains(word))
}

/// What HTTP libraries call themselves when the program that uses them gives no name, where the list has a gap.
const PLATFORM_LIBRARIES: [&str; 8] = [
    // Java's HttpURLConnection on Android; the list has okhttp, its successor.
    "Dalvik/",
    // dart:io, so every Flutter app.
    "Dart/",
    "Java-http-client/",
    // The `fetch` of Node.js; undici is its name when used as a library.
    "node",
    "undici",
    "Ruby",
    "Symfony HttpClient",
    "superagent/",
];

fn is_platform_library(user_agent: &str) -> bool {
    // Apps on Apple's systems put their own name first: `Notes/1 CFNetwork/1568.200.51 Darwin/24.1.0`.
    user_agent.contains(" CFNetwork/") || PLATFORM_LIBRARIES.iter().any(|library| user_agent.starts_with(library))
}

/// Parts of people's browsers that the list takes for a crawler, checked against `iscrawl` 1.2.1. They are taken out of a user agent
/// that begins as browsers do, and the list is asked about the rest: so a crawler that also bears one stays a crawler.
const NOT_CRAWLERS: [&str; 10] = [
    // Facebook's window on the web; the list has it among the link previews.
    "MetaIAB Facebook",
    // App identifiers in windows of Facebook's apps, `FBPN/com.facebook.orca`; the list has the bare `facebook`.
    "com.facebook.",
    // Windows of the messengers themselves. Their link previews don't begin with `Mozilla/`.
    "Viber",
    "WhatsApp",
    // Daum's app in Korea; the list means Daum's crawler.
    "DaumApps",
    "DaumDevice",
    // Sogou's browsers in China; the list means Sogou's spider.
    "SogouMobileBrowser",
    "SogouMSE",
    // A phone; the list means Topsy's crawler, which ended in 2015.
    "HTC Butterfly",
    "HTC_Butterfly",
];

fn is_on_the_list(user_agent: &str) -> bool {
    let user_agent = &*String::from_utf8_lossy(&user_agent.as_bytes()[..user_agent.len().min(LISTED_BYTES_MAX)]);
    if iscrawl::crawler_info(user_agent).is_none() {
        return false;
    }
    if !user_agent.starts_with("Mozilla/") || !has_any(user_agent, &NOT_CRAWLERS) {
        return true;
    }
    let rest = NOT_CRAWLERS.iter().fold(user_agent.to_owned(), |rest, part| rest.replace(part, ""));
    iscrawl::crawler_info(&rest).is_some()
}

/// How browsers begin that don't begin with `Mozilla/`.
const OTHER_BROWSERS: [&str; 11] =
    ["Opera/", "UCWEB/", "Midori/", "NetSurf/", "iCab/", "Lynx/", "Links ", "ELinks/", "w3m/", "BlackBerry", "Nokia"];

/// What a browser names beside `Mozilla/5.0`, which scripts send too: what it draws pages with.
const ENGINES: [&str; 10] = [
    "AppleWebKit/",
    "Gecko/",
    "like Gecko",
    "KHTML",
    "Trident/",
    "MSIE ",
    "Chrome/",
    "Firefox/",
    "Goanna/",
    "NetFront/",
];

fn is_browser(user_agent: &str) -> bool {
    OTHER_BROWSERS.iter().any(|browser| user_agent.starts_with(browser))
        || user_agent.starts_with("Mozilla/") && (has_any(user_agent, &ENGINES) || is_cut_after_system(user_agent))
}

/// Tools for privacy cut a browser's user agent down to `Mozilla/5.0 (Windows NT 10.0; Win64; x64)`. A script that names a system
/// names itself behind it.
fn is_cut_after_system(user_agent: &str) -> bool {
    user_agent.ends_with(')') && device_of(user_agent) != Device::Others
}

/// Screens that are neither desk, hand nor lap: televisions (`; AFT` is Amazon's), consoles, glasses, cars. First, as they
/// also name the system they are built on.
const OTHERS: [&str; 18] = [
    "SMART-TV",
    "SmartTV",
    "Smart TV",
    "SmartHub",
    "GoogleTV",
    "Google TV",
    "Android TV",
    "AppleTV",
    "HbbTV",
    "BRAVIA",
    "Web0S",
    "CrKey",
    "; AFT",
    "PlayStation",
    "Nintendo",
    "Xbox",
    "OculusBrowser",
    "Tesla/",
];

const TABLETS: [&str; 5] = ["iPad", "PlayBook", "Kindle", "Silk/", "Tablet"];

const MOBILES: [&str; 10] =
    ["iPhone", "iPod", "Mobile", "Opera Mini", "Opera Mobi", "Windows Phone", "KAIOS", "BlackBerry", "Symb", "MIDP"];

const DESKTOPS: [&str; 4] = ["Windows", "Macintosh", "X11", "CrOS"];

/// The kind of device, by the words that browsers have come to agree on. The order matters: an iPad says `Mobile`, a Windows
/// Phone says `Android`, a Kindle says `X11`.
fn device_of(user_agent: &str) -> Device {
    if has_any(user_agent, &OTHERS) {
        Device::Others
    } else if has_any(user_agent, &TABLETS) && !user_agent.contains("Tablet PC") {
        // `Tablet PC 2.0` stands in Internet Explorer on any Windows that can take a pen.
        Device::Tablet
    } else if has_any(user_agent, &MOBILES) {
        Device::Mobile
    } else if user_agent.contains("Android") {
        // Android's rule: a phone says `Mobile`, a tablet doesn't.
        Device::Tablet
    } else if has_any(user_agent, &DESKTOPS) {
        Device::Desktop
    } else {
        Device::Others
    }
}

fn has_any(user_agent: &str, words: &[&str]) -> bool {
    words.iter().any(|word| user_agent.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn visit(headers: &[(&'static str, &str)]) -> Visitor {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        classify(&map)
    }

    fn visit_by(user_agent: &str) -> Visitor {
        visit(&[("user-agent", user_agent)])
    }

    fn person(device: Device) -> Visitor {
        Visitor { click: Click::Person(device), is_browser: true }
    }

    const TOOL: Visitor = Visitor { click: Click::Person(Device::Others), is_browser: false };
    const BOT: Visitor = Visitor { click: Click::Bot, is_browser: false };

    /// As browsers and apps send them, old and new, by their device.
    const PEOPLE: [(Device, &[&str]); 4] = [
        (
            Device::Desktop,
            &[
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
                "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
                "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
                "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)",
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 OPR/124.0.0.0",
                "Opera/9.80 (Windows NT 6.1; U; en) Presto/2.8.131 Version/11.11",
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 NetType/WIFI MicroMessenger/7.0.20.1781(0x6700143B) WindowsWechat(0x63090a13) XWEB/9129 Flue",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15 Epiphany/605.1.15",
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Slack/4.41.104 Chrome/130.0.6723.118 Electron/33.2.0 Safari/537.36",
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 Viber/22.1",
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:144.0) Gecko/20100101 Thunderbird/144.0",
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) WhatsApp/2.24.9 Chrome/120.0.0.0 Safari/537.36",
                "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; SLCC2; .NET CLR 2.0.50727; Tablet PC 2.0)",
                "Mozilla/5.0 (Windows NT 5.1; rv:60.9) Goanna/4.1 PaleMoon/28.5.0a1",
            ],
        ),
        (
            Device::Mobile,
            &[
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0.7444.77 Mobile/15E148 Safari/604.1",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
                "Mozilla/5.0 (iPod touch; CPU iPhone OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1.2 Mobile/15E148 Safari/604.1",
                "Mozilla/5.0 (Android 15; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/144.0 Mobile/15E148 Safari/605.1.15",
                "Mozilla/5.0 (Linux; Android 10; HD1913) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36 EdgA/142.0.0.0",
                "Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
                "Opera/9.80 (J2ME/MIDP; Opera Mini/9.80 (S60; SymbOS; Opera Mobi/23.348; U; en) Presto/2.5.25 Version/10.54",
                "Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16",
                "Mozilla/5.0 (Linux; U; Android 12; en-US; RMX3085 Build/SP1A.210812.016) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/100.0.4896.58 UCBrowser/13.6.2.1316 Mobile Safari/537.36",
                "UCWEB/2.0 (MIDP-2.0; U; Adr 4.4.2; en-US; Micromax_A065) U2/1.0.0 UCBrowser/10.7.0.636 U2/1.0.0 Mobile",
                "Mozilla/5.0 (Linux; Android 10; LIO-AL00; HMSCore 6.13.0.302) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.5735.196 HuaweiBrowser/15.0.4.312 Mobile Safari/537.36",
                "Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 Mobile HuaweiBrowser/5.0.4.300",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/520.0.0.38.101;FBBV/756351453;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBSV/18.5;FBSS/3;FBID/phone;FBLC/en_GB;FBOP/5;FBRV/760683563;IABMV/1]",
                "Mozilla/5.0 (Linux; Android 14; SM-A546E Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/141.0.7390.122 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/535.0.0.49.72;IABMV/1;]",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 LightSpeed [FBAN/MessengerLiteForiOS;FBAV/514.0.0.39.108;FBBV/744455;FBDV/iPhone15,2;FBMD/iPhone;FBSN/iOS;FBSV/18.5;FBSS/3;FBCR/;FBID/phone;FBLC/en;FBOP/0]",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/22F76 Instagram 390.0.0.28.85 (iPhone15,3; iOS 18_5; en_SG; en; scale=3.00; 1290x2796; IABMV/1; 766920174) NW/3",
                "Mozilla/5.0 (Linux; Android 15; CPH2557 Build/AP3A.240617.008; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/142.0.7444.142 Mobile Safari/537.36 Instagram 406.0.0.58.159 Android (35/15; 480dpi; 1080x2161; OPPO; CPH2557; OP5961L1; mt6835; en_US; 846515134; IABMV/1)",
                "Mozilla/5.0 (Linux; Android 14; SM-S901E Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/131.0.6778.135 Mobile Safari/537.36 Line/14.19.1/IAB",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Safari Line/14.15.0",
                "Mozilla/5.0 (Linux; Android 13; 2201116SG Build/TKQ1.221114.001; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 XWEB/1160117 MMWEBSDK/20240404 MMWEBID/8000 MicroMessenger/8.0.49.2600(0x2800313D) WeChat/arm64 Weixin NetType/WIFI Language/en ABI/arm64",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.50(0x1800323d) NetType/4G Language/en",
                "Mozilla/5.0 (Linux; Android 13; SM-A235F Build/TP1A.220624.014; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/119.0.6045.66 Mobile Safari/537.36 trill_320302 JsSdk/1.0 NetType/WIFI Channel/googleplay AppName/musical_ly app_version/32.3.2 ByteLocale/en ByteFullLocale/en Region/SG AppId/1180 Spark/1.4.8.3-bugfix AppVersion/32.3.2 BytedanceWebview/d8a21c6",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 musical_ly_32.1.0 JsSdk/2.0 NetType/WIFI Channel/App Store ByteLocale/en Region/SG RevealType/Dialog isDarkMode/0 WKWebView/1 BytedanceWebview/d8a21c6 FalconTag/4E3D",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) GSA/390.0.815440152 Mobile/15E148 Safari/604.1",
                "Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36 GSA/15.22.31.28.arm64",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Gmail/6.0.250101",
                "Mozilla/5.0 (Linux; Android 14; SM-S928B) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/131.0.6778.200 Mobile Safari/537.36 Telegram-Android/11.5.3 (Samsung SM-S928B; Android 14; SDK 34; HIGH)",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [LinkedInApp]/9.29.8962",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [Pinterest/iOS]",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 16_2_2 like Mac OS X) AppleWebKit/526.3.23 (KHTML, like Gecko) Version/16.2 Mobile/15E148 Snapchat/11.13.0.31 (like Safari/526.3, panda)",
                "Mozilla/5.0 (Linux; Android 13; Pixel 6 Build/TQ3A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/115.0.5790.138 Mobile Safari/537.36 Snapchat/12.44.0.37 (Pixel 6; Android 13#10164656#33; gzip; )",
                "Mozilla/5.0 (Linux; Android 14; SM-G991B Build/UP1A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/129.0.6668.70 Mobile Safari/537.36 TwitterAndroid",
                "Mozilla/5.0 (Linux; Android 12; CUBOT P50) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 DuckDuckGo/7 Safari/605.1.15",
                "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/125.0.0.0 Mobile DuckDuckGo/5 Safari/537.36",
                "Mozilla/5.0 (Linux; Android 11; CPH2025) AppleWebKit/537.36 (KHTML, like Gecko) Brave Chrome/89.0.4389.72 Mobile Safari/537.36",
                "Mozilla/5.0 (Linux; Android 13; SM-G781B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Mobile Safari/537.36 Ecosia android@119.0.6045.193",
                "Mozilla/5.0 (Mobile; Nokia 8110 4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5",
                "Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 950) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/52.0.2743.116 Mobile Safari/537.36 Edge/15.15254",
                "Mozilla/5.0 (compatible; MSIE 10.0; Windows Phone 8.0; Trident/6.0; IEMobile/10.0; ARM; Touch; NOKIA; Lumia 920)",
                "Mozilla/5.0 (BB10; Touch) AppleWebKit/537.10+ (KHTML, like Gecko) Version/10.0.9.2372 Mobile Safari/537.10+",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
                "Mozilla/5.0 (Linux; Android 13; SM-A127F Build/TP1A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/119.0.6045.163 Mobile Safari/537.36 [FB_IAB/Orca-Android;FBAV/433.0.0.33.104;]",
                "Mozilla/5.0 (Linux; Android 13; SM-S908E; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 GrabPax/5.300.0 (Android 13)",
                "BlackBerry9700/5.0.0.862 Profile/MIDP-2.1 Configuration/CLDC-1.1 VendorID/331",
                "Nokia6120c/3.70 (SymbianOS/9.2; U; Series60/3.1) Profile/MIDP-2.0 Configuration/CLDC-1.1",
                "Mozilla/5.0 (Linux; Android 16; Pixel 10 Pro XL Build/CP1A.260305.018; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/146.0.7680.174 Mobile Safari/537.36 MetaIAB Facebook",
                "Mozilla/5.0 (Linux; Android 13; SM-A536E Build/TP1A.220624.014; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/119.0.6045.66 Mobile Safari/537.36 [FBAN/Orca-Android;FBAV/433.0.0.33.104;FBPN/com.facebook.orca;FBLC/en_GB]",
                "Mozilla/5.0 (Linux; Android 5.0.2; HTC Butterfly s Build/LRX22G) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/68.0.3440.91 Mobile Safari/537.36",
                "Mozilla/5.0 (Linux; Android 13; SM-S908N; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/119.0.6045.66 Mobile Safari/537.36;DaumApps/8.5.1 DaumDevice/mobile",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1 SogouMSE,SogouMobileBrowser/16.2.0",
            ],
        ),
        (
            Device::Tablet,
            &[
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
                "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.7 Mobile/15E148 Safari/604.1",
                "Mozilla/5.0 (Android 14; Tablet; rv:144.0) Gecko/144.0 Firefox/144.0",
                "Mozilla/5.0 (Linux; Android 11; KFTRWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/118.2.5 like Chrome/118.0.5993.155 Safari/537.36",
                "Mozilla/5.0 (X11; U; Linux armv7l like Android; en-us) AppleWebKit/531.2+ (KHTML, like Gecko) Version/5.0 Safari/533.2+ Kindle/3.0+",
                "Mozilla/5.0 (PlayBook; U; RIM Tablet OS 2.1.0; en-US) AppleWebKit/536.2+ (KHTML, like Gecko) Version/7.2.1.0 Safari/536.2+",
                "Mozilla/5.0 (Linux; Android 8.1.0; Pixel C Build/OPM8.190605.005; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/85.0.4183.81 Safari/537.36 [Pinterest/Android]",
                "Mozilla/5.0 (Linux; Android 12; SM-T500) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
                "Mozilla/5.0 (Linux; Android 13; Nokia T21) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
            ],
        ),
        (
            Device::Others,
            &[
                "Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) 76.0.3809.146/6.0 TV Safari/537.36",
                "Mozilla/5.0 (SMART-TV; Linux; Tizen 5.0) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/2.2 Chrome/63.0.3239.84 TV Safari/537.36",
                "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/87.0.4280.88 Safari/537.36 WebAppManager",
                "Mozilla/5.0 (Linux; Android 12; BRAVIA 4K UR2 Build/STT2.230505.001) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36",
                "Mozilla/5.0 (Linux; Android 9; AFTMM Build/PS7633; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/110.0 Mobile Safari/537.36",
                "Mozilla/5.0 (CrKey armv7l 1.5.16041) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/31.0.1650.0 Safari/537.36",
                "Mozilla/5.0 (AppleTV; CPU OS 17_0 like Mac OS X) AppleWebKit/605.1.15",
                "Mozilla/5.0 (PlayStation; PlayStation 5/9.60) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15",
                "Mozilla/5.0 (PlayStation 4 11.00) AppleWebKit/605.1.15 (KHTML, like Gecko)",
                "Mozilla/5.0 (Nintendo Switch; WifiWebAuthApplet) AppleWebKit/609.4 (KHTML, like Gecko) NF/6.0.2.21.3 NintendoBrowser/5.1.0.22474",
                "Mozilla/5.0 (Nintendo WiiU) AppleWebKit/536.30 (KHTML, like Gecko) NX/3.0.4.2.12 NintendoBrowser/4.3.1.11264.US",
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0",
                "Mozilla/5.0 (Linux; Android 12; Quest 3) AppleWebKit/537.36 (KHTML, like Gecko) OculusBrowser/34.2 Chrome/126.0.6478.229 VR Safari/537.36",
                "Mozilla/5.0 (X11; GNU/Linux) AppleWebKit/537.36 (KHTML, like Gecko) Chromium/79.0.3945.130 Chrome/79.0.3945.130 Safari/537.36 Tesla/2022.12.3.2",
                "Lynx/2.9.0dev.12 libwww-FM/2.14 SSL-MM/1.4.1 OpenSSL/3.0.2",
                "w3m/0.5.3+git20230121",
                "Links (2.28; Linux x86_64; GNU C 12.2; text)",
                "ELinks/0.16.1.1 (textmode; Debian; Linux 6.1.0; 80x24-2)",
                "NetSurf/3.10 (Linux)",
            ],
        ),
    ];

    const BOTS: &[&str] = &[
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/142.0.7444.59 Safari/537.36",
        "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.7444.59 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Googlebot/2.1 (+http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; Google-InspectionTool/1.0;)",
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
        "Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like Gecko) BingPreview/1.0b",
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
        "WhatsApp/2.23.20.0 A",
        "WhatsApp/2.2443.9 W",
        "WhatsApp/2.24.9.78 i",
        "TelegramBot (like TwitterBot)",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "Twitterbot/1.0",
        "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
        "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
        "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
        "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
        "Mozilla/5.0 (compatible; DuckDuckBot-Https/1.1; https://duckduckgo.com/duckduckbot)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)",
        "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
        "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
        "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; https://zhanzhang.toutiao.com/)",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/110.0.0.0 Safari/537.36 Pinterestbot/1.0; +https://www.pinterest.com/bot.html",
        "Pinterest/0.2 (+https://www.pinterest.com/bot.html)",
        "Mozilla/5.0 (compatible; redditbot/1.0; +http://www.reddit.com/feedback)",
        "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 MicrosoftPreview/2.0 +https://aka.ms/MicrosoftPreview",
        "Viber/22.1.0",
        "Mozilla/5.0 (compatible; Embedly/0.2; +http://support.embed.ly/)",
        "Mozilla/5.0 (compatible; archive.org_bot +http://archive.org/details/archive.org_bot)",
        "CCBot/2.0 (https://commoncrawl.org/faq/)",
        "Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
        "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36 Chrome-Lighthouse",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1",
        "python-requests/2.32.3",
        "Python-urllib/3.11",
        "python-httpx/0.27.0",
        "Python/3.11 aiohttp/3.9.5",
        "Scrapy/2.11.2 (+https://scrapy.org)",
        "Go-http-client/1.1",
        "Go-http-client/2.0",
        "okhttp/4.12.0",
        "axios/1.7.7",
        "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
        "node-fetch",
        "node",
        "undici",
        "got (https://github.com/sindresorhus/got)",
        "superagent/8.0.9",
        "PostmanRuntime/7.42.0",
        "Java/17.0.12",
        "Java-http-client/17.0.12",
        "Apache-HttpClient/4.5.14 (Java/17.0.12)",
        "libwww-perl/6.72",
        "Ruby",
        "http.rb/5.2.0",
        "Faraday v2.9.0",
        "GuzzleHttp/7",
        "PHP/8.2.0",
        "Symfony HttpClient (Curl)",
        "reqwest/0.12.8",
        "ureq/2.10.0",
        "Dart/3.5 (dart:io)",
        "Dalvik/2.1.0 (Linux; U; Android 13; SM-A536E Build/TP1A.220624.014)",
        "MyApp/1 CFNetwork/1568.200.51 Darwin/24.1.0",
        "HTTPie/3.2.2",
        "ApacheBench/2.3",
        "Nmap Scripting Engine",
        "Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)",
        "Amazon CloudFront",
        "googlebot/2.1 (+http://www.googlebot.com/bot.html",
        "my-office-crawler 1.0",
        "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17928; Pro)",
        "Microsoft Office Word 2014",
        "Microsoft Office Existence Discovery",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X) Word/16.90.24101387",
        "snap URL Preview Service; bot; snapchat; https://developers.snap.com/robots",
        "Zoom.Bot",
        "Mattermost-Bot/1.1",
    ];

    #[test]
    fn browsers_of_all_kinds_are_people_on_their_device() {
        for (device, user_agents) in PEOPLE {
            for user_agent in user_agents {
                assert_eq!(visit_by(user_agent), person(device), "{user_agent}");
            }
        }
    }

    #[test]
    fn crawlers_link_previews_and_http_libraries_are_bots() {
        for user_agent in BOTS {
            assert_eq!(visit_by(user_agent), BOT, "{user_agent}");
        }
    }

    #[test]
    fn curl_wget_and_the_nameless_are_peoples_tools() {
        for user_agent in ["", " ", "curl/8.5.0", "Wget/1.21.4", "Wget/1.21 (linux-gnu)", "x", "MyTool 1.0"] {
            assert_eq!(visit_by(user_agent), TOOL, "{user_agent:?}");
        }
        assert_eq!(visit(&[]), TOOL, "no header at all");
    }

    #[test]
    fn scripts_that_only_say_mozilla_are_tools() {
        for user_agent in [
            "Mozilla/5.0",
            "Mozilla/4.0 (compatible;)",
            "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-SG) WindowsPowerShell/5.1.22621.4249",
            "Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.22631; en-US) PowerShell/7.4.6",
        ] {
            assert_eq!(visit_by(user_agent), TOOL, "{user_agent}");
        }
    }

    #[test]
    fn a_browser_whose_user_agent_was_cut_for_privacy_is_a_browser() {
        assert_eq!(visit_by("Mozilla/5.0 (Windows NT 10.0; Win64; x64)"), person(Device::Desktop));
        assert_eq!(visit_by("Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X)"), person(Device::Mobile));
    }

    #[test]
    fn a_link_clicked_in_word_is_a_persons_click_that_gets_the_redirect() {
        let word =
            "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; ms-office; MSOffice 16)";
        assert_eq!(visit_by(word), Visitor { click: Click::Person(Device::Desktop), is_browser: false });
        let outlook = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Trident/7.0; Microsoft Outlook 16.0.6001; ms-office; MSOffice 16)";
        assert_eq!(visit_by(outlook), BOT);
    }

    #[test]
    fn a_crawler_that_bears_an_apps_name_is_still_a_crawler() {
        let disguised =
            "Mozilla/5.0 (Linux; Android 13) AppleWebKit/537.36 WhatsApp/2.24 (KHTML, like Gecko) HeadlessChrome/120.0";
        assert_eq!(visit_by(disguised), BOT);
    }

    #[test]
    fn a_prefetch_is_counted_apart_and_comes_from_a_browser_still() {
        let chrome =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
        for (name, value) in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("sec-purpose", "prefetch; anonymous-client-ip"),
            ("sec-purpose", "prerender"),
            ("purpose", "prefetch"),
            ("purpose", "Prefetch"),
        ] {
            let prefetch = Visitor { click: Click::Prefetch, is_browser: true };
            assert_eq!(visit(&[("user-agent", chrome), (name, value)]), prefetch, "{name}: {value}");
        }
        for value in ["", "preview", "navigate", "no-prefetching"] {
            assert_eq!(visit(&[("user-agent", chrome), ("purpose", value)]), person(Device::Desktop), "{value:?}");
        }
        assert_eq!(visit(&[("purpose", "prefetch")]).click, Click::Prefetch, "without a user agent too");
        assert_eq!(visit_by(chrome), person(Device::Desktop), "the prefetch wasn't remembered for the user agent");
    }

    #[test]
    fn a_user_agent_that_is_not_utf_8_is_read_as_far_as_it_can_be() {
        let mut map = HeaderMap::new();
        for (bytes, expected) in [
            (&b"\xff\xfe\x80"[..], TOOL),
            (
                &b"Mozilla/5.0 (Linux; Android 9; caf\xe9) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36"
                    [..],
                person(Device::Mobile),
            ),
            (&b"\xe9bot/1.0"[..], BOT),
        ] {
            map.insert(USER_AGENT, HeaderValue::from_bytes(bytes).unwrap());
            assert_eq!(classify(&map), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn only_the_first_512_bytes_are_read() {
        let browser =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 ";
        let padded = |length: usize| format!("{browser}{}", "x".repeat(length - browser.len()));
        assert_eq!(visit_by(&format!("{}bot", padded(USER_AGENT_BYTES_MAX - 3))), BOT);
        assert_eq!(visit_by(&format!("{}bot", padded(USER_AGENT_BYTES_MAX - 2))), person(Device::Desktop));
        assert_eq!(
            visit_by(&format!("{}é", padded(USER_AGENT_BYTES_MAX - 1))),
            person(Device::Desktop),
            "cut within a character"
        );
        assert_eq!(visit_by(&"a".repeat(100_000)), TOOL);
    }

    #[test]
    fn a_remembered_verdict_is_the_same_verdict() {
        let many: Vec<String> = (0..4 * REMEMBERED)
            .map(|n| {
                if n % 2 == 0 {
                    format!("Mozilla/5.0 (iPad; {n}) AppleWebKit/605.1.15")
                } else {
                    format!("somebot/{n}")
                }
            })
            .collect();
        for _ in 0..2 {
            for (n, user_agent) in many.iter().enumerate() {
                let expected = if n % 2 == 0 { person(Device::Tablet) } else { BOT };
                assert_eq!(visit_by(user_agent), expected, "{user_agent}");
            }
        }
    }
}
