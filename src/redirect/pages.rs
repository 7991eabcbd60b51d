//! The citizens' pages: where a link goes, why it doesn't, and what to do next.
//!
//! Written for somebody in a hurry on a phone: one thing per page, short sentences, no page over 14 kB, nothing loaded from
//! elsewhere, everything but the countdown without JavaScript. What stands where is in `pages/*.html`, the words are in `languages/`;
//! whatever is filled in is escaped. No page says anything about the request, so there is nothing in them that a visitor could have written,
//! but for a query string that goes on to the target and so into the links to other languages.
//!
//! Headers, status and counting are the caller's, save for [`Look::policy`], which follows from what is inlined here.

use actix_web::http::header::HeaderValue;
use askama::Template;
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::civil::Date;
use sha2::{Digest, Sha256};

use crate::{
    domain::{Email, Target},
    languages::{Html, Language, PARAMETER},
    site::{Site, email_link},
    store::Totals,
};

/// In every page, below the colours. A file of its own would cost each first visitor a second round trip.
const STYLE: &str = include_str!("pages/style.css");

/// The countdown. It reads where to go from the page's link and what to say from its data, so that it is the same for all targets
/// and languages and can be allowed by its hash.
const SCRIPT: &str = include_str!("pages/transition.js");

/// How long a person is shown where a link goes. The template's refresh says it too.
const COUNTDOWN_S: u32 = 6;

/// From this length on an address may not fit its box on the smallest phone (six lines of 26), so the box can be scrolled by keyboard.
const SCROLLS_FROM_BYTES: usize = 150;

/// What all pages look like: made once from the site's colours.
pub struct Look {
    pub style: String,
    script: String,
    /// The value of `Content-Security-Policy` for all pages here: the style and the script that are inlined, and nothing else.
    pub policy: HeaderValue,
    /// By language.
    countdowns: Vec<Countdown>,
}

/// The countdown's sentences.
struct Countdown {
    first: Html<'static>,
    /// One for each second left, the last second's first, `|` between them.
    all: String,
}

impl Look {
    pub fn new(site: &Site) -> Self {
        let style = format!("{}{}", site.theme, compact(STYLE));
        let script = without_comments(SCRIPT);
        let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            hash(&style),
            hash(&script)
        );
        let policy = HeaderValue::from_str(&policy).expect("a hash in Base64 is ASCII");
        let countdowns = site.languages.offered().iter().map(|words| Countdown::new(words)).collect();
        Self { style, script, policy, countdowns }
    }
}

/// Our style sheet without comments and the white space that means nothing: it goes out with every page.
fn compact(style: &str) -> String {
    let rules: String = style.split("/*").map(|part| part.split_once("*/").map_or(part, |(_, rules)| rules)).collect();
    let line = rules.lines().map(str::trim).collect::<String>();
    [(" {", "{"), ("{ ", "{"), (" }", "}"), (";}", "}"), ("; ", ";"), (": ", ":"), (", ", ",")]
        .iter()
        .fold(line, |text, (loose, tight)| text.replace(loose, tight))
}

fn without_comments(script: &str) -> String {
    let lines = script.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

impl Countdown {
    fn new(words: &Language) -> Self {
        let left = |seconds: u32| words.transition_countdown(seconds);
        let all: Vec<String> = (1..=COUNTDOWN_S).map(|seconds| left(seconds).unmarked().to_string()).collect();
        Self { first: left(COUNTDOWN_S), all: all.join("|") }
    }
}

/// What every page is drawn with.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    pub site: &'a Site,
    pub look: &'a Look,
    pub words: &'a Language,
    /// What links to other languages keep of the visit's query string, `&` first.
    pub query: &'a str,
}

impl Frame<'_> {
    pub fn offers_languages(&self) -> bool {
        self.site.languages.offered().len() > 1
    }
}

/// What anybody may know of an active link. Of the officer it has a mailbox only when the officer gave one for this.
#[derive(Clone, Debug)]
pub struct Preview<'a> {
    pub short_url: String,
    pub target: &'a Target,
    /// The domain of the owner's e-mail address: `iras.gov.sg`.
    pub agency: &'a str,
    pub created_on: Date,
    /// The officer's description.
    pub purpose: Option<&'a str>,
    pub contact: Option<&'a Email>,
}

/// What the service is and how to check a link. `totals` is `None` when the store can't be asked: the numbers are left out.
pub fn landing(frame: Frame<'_>, totals: Option<Totals>) -> String {
    #[derive(Template)]
    #[template(path = "landing.html")]
    struct Page<'a> {
        frame: Frame<'a>,
        totals: Option<Totals>,
        contact: Option<Html<'static>>,
    }
    rendered(&Page { frame, totals, contact: frame.site.contact_link() })
}

/// 200, before a person's first visit: shows where the link goes, and goes on after six seconds.
///
/// The seconds run only while the page is seen, and can be stopped (WCAG 2.2, 2.2.1). Without JavaScript a `<meta>` refresh goes on.
pub fn transition(frame: Frame<'_>, target: &Target) -> String {
    #[derive(Template)]
    #[template(path = "transition.html")]
    struct Page<'a> {
        frame: Frame<'a>,
        target: &'a Target,
        countdown: &'a Countdown,
    }
    rendered(&Page { frame, target, countdown: &frame.look.countdowns[frame.words.index] })
}

/// `/code+`: where the link goes and who owns it, without going there.
///
/// "Open the link" leads to the short link and not to its target: who goes on from here is a visit like any other.
pub fn preview(frame: Frame<'_>, preview: &Preview<'_>) -> String {
    #[derive(Template)]
    #[template(path = "preview.html")]
    struct Page<'a> {
        frame: Frame<'a>,
        preview: &'a Preview<'a>,
        target: &'a Target,
        created_on: Html<'static>,
        summary: Html<'static>,
        owner: Option<Html<'static>>,
        contact: Option<Html<'static>>,
    }
    let summary = frame.words.preview_summary(preview.agency, preview.target.registrable_domain(), &preview.short_url);
    rendered(&Page {
        frame,
        preview,
        target: preview.target,
        created_on: frame.words.day(preview.created_on),
        summary,
        owner: preview.contact.map(|email| email_link(email.as_str())),
        contact: frame.site.contact_link(),
    })
}

/// 404: no link has this code.
pub fn not_found(frame: Frame<'_>) -> String {
    #[derive(Template)]
    #[template(path = "not_found.html")]
    struct Page<'a> {
        frame: Frame<'a>,
    }
    rendered(&Page { frame })
}

/// 410: the link is switched off or expired. What its owner said that it was for, and whom to ask, when they did.
pub fn gone(frame: Frame<'_>, purpose: Option<&str>, contact: Option<&Email>) -> String {
    #[derive(Template)]
    #[template(path = "gone.html")]
    struct Page<'a> {
        frame: Frame<'a>,
        purpose: Option<&'a str>,
        contact: Option<Html<'static>>,
    }
    rendered(&Page { frame, purpose, contact: contact.map(|email| email_link(email.as_str())) })
}

/// 503: nobody can say now whether there is such a link.
pub fn unavailable(frame: Frame<'_>) -> String {
    #[derive(Template)]
    #[template(path = "unavailable.html")]
    struct Page<'a> {
        frame: Frame<'a>,
    }
    rendered(&Page { frame })
}

/// 429: too many unknown codes from one address.
pub fn limited(frame: Frame<'_>) -> String {
    #[derive(Template)]
    #[template(path = "limited.html")]
    struct Page<'a> {
        frame: Frame<'a>,
    }
    rendered(&Page { frame })
}

/// 405: something other than GET or HEAD.
pub fn method_not_allowed(frame: Frame<'_>) -> String {
    #[derive(Template)]
    #[template(path = "method_not_allowed.html")]
    struct Page<'a> {
        frame: Frame<'a>,
    }
    rendered(&Page { frame })
}

/// 400, or 431: a request that isn't HTTP, or whose address isn't one.
pub fn unreadable(frame: Frame<'_>) -> String {
    #[derive(Template)]
    #[template(path = "unreadable.html")]
    struct Page<'a> {
        frame: Frame<'a>,
    }
    rendered(&Page { frame })
}

fn rendered(page: &impl Template) -> String {
    page.render().expect("writing to a String doesn't fail, nor does any value shown here")
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::config::Config;

    const HOSTILE: [&str; 6] = [
        r#"https://a.example/"><script>alert(1)</script>"#,
        "https://a.example/?q='onmouseover='alert(1)';//",
        "https://a.example/?a=1&amp;b=2&lt=3&copy=4",
        "https://a.example/</script></style></noscript><h1>",
        "https://a.example/{{ site.name }}/{% raw %}?;url=https://evil.example",
        "https://a.example/%3Cscript%3E?x=%00%22#;'\\`",
    ];

    fn site() -> &'static Site {
        static SITE: LazyLock<Site> = LazyLock::new(|| {
            let mut config = Config::load(None).expect("the defaults are good");
            config.site.name = "Go & <b>Co</b>".to_owned();
            Site::new(&config).expect("all files are built in")
        });
        &SITE
    }

    fn look() -> &'static Look {
        static LOOK: LazyLock<Look> = LazyLock::new(|| Look::new(site()));
        &LOOK
    }

    fn frame() -> Frame<'static> {
        frame_in(0)
    }

    fn frame_in(index: usize) -> Frame<'static> {
        Frame { site: site(), look: look(), words: &site().languages.offered()[index], query: "" }
    }

    fn target(text: &str) -> Target {
        Target::from_store(text.to_owned())
    }

    fn preview_in(frame: Frame<'_>, target: &Target, contact: Option<&Email>) -> String {
        let short_url = "https://go.example/tax".to_owned();
        let created_on = jiff::civil::date(2026, 3, 4);
        let purpose = Some("Taxes <for> all");
        preview(frame, &Preview { short_url, target, agency: "tax.example", created_on, purpose, contact })
    }

    fn preview_of(target: &Target) -> String {
        preview_in(frame(), target, None)
    }

    fn all_pages_in(frame: Frame<'_>) -> Vec<String> {
        let somewhere = target("https://www.example.com/a");
        let contact: Email = "help@tax.gov.sg".parse().expect("an address");
        vec![
            landing(frame, Some(Totals { links: 1, clicks: 2, officers: 3 })),
            landing(frame, None),
            transition(frame, &somewhere),
            preview_in(frame, &somewhere, None),
            preview_in(frame, &somewhere, Some(&contact)),
            not_found(frame),
            gone(frame, None, None),
            gone(frame, Some("Tax </dl> of 2025"), Some(&contact)),
            unavailable(frame),
            limited(frame),
            method_not_allowed(frame),
            unreadable(frame),
        ]
    }

    fn all_pages() -> Vec<String> {
        all_pages_in(frame())
    }

    /// Everything between `start` and the `end` that follows it, at each place where `start` stands.
    fn between<'a>(page: &'a str, start: &str, end: &str) -> Vec<&'a str> {
        page.split(start).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
    }

    /// Reads character references as a browser does; those that askama writes suffice.
    fn unescaped(text: &str) -> String {
        let characters = text.replace("&#34;", "\"").replace("&#39;", "'").replace("&#60;", "<").replace("&#62;", ">");
        characters.replace("&#38;", "&")
    }

    #[test]
    fn whatever_a_target_contains_the_visitor_is_sent_to_it_byte_for_byte() {
        for hostile in HOSTILE {
            let page = transition(frame(), &target(hostile));
            let link = between(&page, r#"id="go" href=""#, "\"")[0];
            assert_eq!(unescaped(link), hostile);
            let refresh = between(&page, r#"http-equiv="refresh" content="6;url="#, "\"")[0];
            assert_eq!(unescaped(refresh), hostile);
            let shown = between(between(&page, r#"<p class="address""#, "</p>")[0], ">", "<")[0];
            assert_eq!(unescaped(shown), hostile);
        }
    }

    #[test]
    fn a_target_never_becomes_markup() {
        let tags = |page: &str| page.matches('<').count();
        let plain = target("https://a.example/");
        for hostile in HOSTILE.map(target) {
            assert_eq!(tags(&transition(frame(), &hostile)), tags(&transition(frame(), &plain)), "{hostile}");
            assert_eq!(tags(&preview_of(&hostile)), tags(&preview_of(&plain)), "{hostile}");
        }
    }

    #[test]
    fn the_policy_allows_what_is_inlined_and_nothing_else() {
        let policy = look().policy.to_str().expect("text");
        for page in all_pages() {
            for (element, directive) in [("style", "style-src"), ("script", "script-src")] {
                for content in between(&page, &format!("<{element}>"), &format!("</{element}>")) {
                    let hash = BASE64_STANDARD.encode(Sha256::digest(content));
                    assert!(policy.contains(&format!("{directive} 'sha256-{hash}';")), "{element}");
                }
            }
            assert_eq!(page.matches("<style>").count(), 1);
            for forbidden in [" style=", " onclick=", " src=", "url(", "@import", "<script "] {
                assert!(!page.contains(forbidden), "{forbidden} in {page}");
            }
        }
        assert!(!policy.contains("unsafe"));
    }

    #[test]
    fn only_the_transition_page_has_a_script() {
        let with_script = all_pages().iter().filter(|page| page.contains("<script>")).count();
        assert_eq!(with_script, 1);
    }

    #[test]
    fn every_page_is_small_and_can_be_found_around_in() {
        for page in (0..4).flat_map(|index| all_pages_in(frame_in(index))) {
            assert!(page.len() < 14_000, "{} bytes", page.len());
            for once in ["<html lang=\"", "<h1>", "<main>", "name=\"viewport\"", "<title>"] {
                assert_eq!(page.matches(once).count(), 1, "{once} in {page}");
            }
            assert!(page.contains("Go &#38; &#60;b&#62;Co"), "the site's name is escaped");
            assert!(page.contains(&site().icon.path));
        }
        let longest = format!("https://www.example.com/{}", "a".repeat(2_083 - 24));
        assert!(transition(frame(), &target(&longest)).len() < 14_000, "with the longest target too");
    }

    #[test]
    fn only_the_landing_page_may_be_indexed() {
        let indexed: Vec<bool> =
            all_pages().iter().map(|page| !page.contains(r#"name="robots" content="noindex""#)).collect();
        assert_eq!(indexed, [true, true, false, false, false, false, false, false, false, false, false, false]);
    }

    #[test]
    fn the_transition_page_names_the_registrable_domain() {
        let page = transition(frame(), &target("https://www.iras.gov.sg.evil.example/iras.gov.sg"));
        assert_eq!(between(&page, r#"<p class="domain">"#, "<"), ["evil.example"]);
    }

    #[test]
    fn a_preview_says_where_who_and_since_when() {
        let page = preview_of(&target("https://www.example.com/a?b=c"));
        for part in ["https://www.example.com/a?b=c", "tax.example", "4 March 2026", "2026-03-04"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(
            page.contains(r#"href="https://go.example/tax""#),
            "it leads on by the short link, so that the visit is counted"
        );
    }

    #[test]
    fn the_landing_page_shows_totals_only_when_they_are_known() {
        let totals = Totals { links: 999, clicks: 1_234_567, officers: 1_000 };
        let page = landing(frame(), Some(totals));
        assert_eq!(between(&page, "<dd>", "</dd>"), ["999", "1,234,567", "1,000"]);
        assert!(!landing(frame(), None).contains("<dd>"));
    }

    #[test]
    fn whom_to_ask_and_what_it_was_for_are_said_when_the_owner_gave_them() {
        let contact: Email = "help@tax.gov.sg".parse().expect("an address");
        let page = gone(frame(), Some("Tax </dl> of 2025"), Some(&contact));
        assert!(page.contains("Tax &#60;/dl&#62; of 2025"), "{page}");
        assert!(page.contains(r#"now: <a href="mailto:help@tax.gov.sg">help@tax.gov.sg</a></p>"#), "{page}");
        let page = gone(frame(), None, None);
        assert!(page.contains("Ask the agency") && !page.contains("mailto:") && !page.contains("<dl>"), "{page}");
        let somewhere = target("https://www.example.com/a");
        assert!(preview_in(frame(), &somewhere, Some(&contact)).contains("mailto:help@tax.gov.sg"));
        assert!(preview_of(&somewhere).contains("Ask tax.example, by a phone number"));
    }

    #[test]
    fn every_page_can_be_read_in_every_other_language() {
        for page in all_pages() {
            let links = between(&page, r#"href="?page-lang="#, "\"");
            assert_eq!(links, ["zh-Hans", "ms", "ta"]);
            assert_eq!(page.matches("aria-current=\"true\"").count(), 1);
        }
    }

    #[test]
    fn the_countdown_is_in_the_pages_language() {
        let page = transition(frame_in(2), &target("https://www.example.com/a"));
        assert!(page.contains("dalam 6 saat.</p>") && page.contains("dalam 1 saat.|Anda"), "{page}");
    }
}
