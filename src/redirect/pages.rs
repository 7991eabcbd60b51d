//! The citizens' pages: where a link goes, why it doesn't, and what to do next.
//!
//! Written for somebody in a hurry on a phone: one thing per page, short sentences, no page over 14 kB, nothing loaded from
//! elsewhere, everything but the countdown without JavaScript. The words are in `pages/*.html`; askama escapes whatever
//! is filled in. No page says anything about the request, so there is nothing in them that a visitor could have written.
//!
//! Headers, status and counting are the caller's, save for [`content_security_policy`], which follows from what is inlined here.

use std::{fmt, sync::LazyLock};

use askama::Template;
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::civil::Date;
use sha2::{Digest, Sha256};

use crate::{domain::Target, store::Totals};

/// The mark in a browser's tab.
pub const FAVICON: &str = include_str!("pages/favicon.svg");

/// In every page. A file of its own would cost each first visitor a second round trip.
const STYLE: &str = include_str!("pages/style.css");

/// The countdown. It reads where to go from the page's link, so that it is the same for all targets and can be allowed by its hash.
const SCRIPT: &str = include_str!("pages/transition.js");

/// From this length on an address may not fit its box on a phone (six lines of 33), so the box can be scrolled by keyboard.
const SCROLLS_FROM_BYTES: usize = 190;

/// How the service presents itself.
#[derive(Clone, Debug)]
pub struct Site {
    /// `Go.gov.sg`
    pub name: String,
    /// `https://go.gov.sg`
    pub base_url: String,
}

impl Site {
    /// What short links begin with, as people write it: `go.gov.sg`.
    fn host(&self) -> &str {
        let host = self.base_url.split_once("://").map_or(self.base_url.as_str(), |(_, host)| host);
        host.trim_end_matches('/')
    }
}

/// What anybody may know of an active link. It has no place for an officer's name or mailbox.
#[derive(Clone, Debug)]
pub struct Preview<'a> {
    pub short_url: String,
    pub target: &'a Target,
    /// The domain of the owner's e-mail address: `iras.gov.sg`.
    pub agency: &'a str,
    pub created_on: Date,
}

/// What the service is and how to check a link. `totals` is `None` when the store can't be asked: the numbers are left out.
pub fn landing(site: &Site, totals: Option<Totals>) -> String {
    #[derive(Template)]
    #[template(path = "landing.html")]
    struct Page<'a> {
        site: &'a Site,
        totals: Option<Numbers>,
    }
    struct Numbers {
        links: Grouped,
        clicks: Grouped,
        officers: Grouped,
    }
    let totals = totals.map(|Totals { links, clicks, officers }| Numbers {
        links: Grouped(links),
        clicks: Grouped(clicks),
        officers: Grouped(officers),
    });
    rendered(&Page { site, totals })
}

/// 200, before a person's first visit: shows where the link goes, and goes on after six seconds.
///
/// The seconds run only while the page is seen, and can be stopped (WCAG 2.2, 2.2.1). Without JavaScript a `<meta>` refresh goes on.
pub fn transition(site: &Site, target: &Target) -> String {
    #[derive(Template)]
    #[template(path = "transition.html")]
    struct Page<'a> {
        site: &'a Site,
        target: &'a Target,
    }
    rendered(&Page { site, target })
}

/// `/code+`: where the link goes and who owns it, without going there.
///
/// "Open the link" leads to the short link and not to its target: who goes on from here is a visit like any other.
pub fn preview(site: &Site, preview: &Preview<'_>) -> String {
    #[derive(Template)]
    #[template(path = "preview.html")]
    struct Page<'a> {
        site: &'a Site,
        preview: &'a Preview<'a>,
        created_on: String,
    }
    let created_on = preview.created_on.strftime("%-d %B %Y").to_string();
    rendered(&Page { site, preview, created_on })
}

/// 404: no link has this code.
pub fn not_found(site: &Site) -> String {
    #[derive(Template)]
    #[template(path = "not_found.html")]
    struct Page<'a> {
        site: &'a Site,
    }
    rendered(&Page { site })
}

/// 410: the link is switched off or expired.
pub fn gone(site: &Site) -> String {
    #[derive(Template)]
    #[template(path = "gone.html")]
    struct Page<'a> {
        site: &'a Site,
    }
    rendered(&Page { site })
}

/// 503: nobody can say now whether there is such a link.
pub fn unavailable(site: &Site) -> String {
    #[derive(Template)]
    #[template(path = "unavailable.html")]
    struct Page<'a> {
        site: &'a Site,
    }
    rendered(&Page { site })
}

/// 429: too many unknown codes from one address.
pub fn limited(site: &Site) -> String {
    #[derive(Template)]
    #[template(path = "limited.html")]
    struct Page<'a> {
        site: &'a Site,
    }
    rendered(&Page { site })
}

/// 405: something other than GET or HEAD.
pub fn method_not_allowed(site: &Site) -> String {
    #[derive(Template)]
    #[template(path = "method_not_allowed.html")]
    struct Page<'a> {
        site: &'a Site,
    }
    rendered(&Page { site })
}

/// The value of `Content-Security-Policy` for all pages here: the style and the script that are inlined, and nothing else.
pub fn content_security_policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
        let script = BASE64_STANDARD.encode(Sha256::digest(SCRIPT));
        format!(
            "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; img-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    });
    &POLICY
}

/// What [`FAVICON`] is called below `/assets/`: another mark gets another name, so that browsers may keep this one for a year.
pub fn favicon_name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let digest = Sha256::digest(FAVICON);
        format!("favicon-{:02x}{:02x}{:02x}{:02x}.svg", digest[0], digest[1], digest[2], digest[3])
    });
    &NAME
}

fn rendered(page: &impl Template) -> String {
    page.render().expect("writing to a String doesn't fail, nor does any value shown here")
}

/// A number with its thousands apart: `1,234,567`.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(3) {
                formatter.write_str(",")?;
            }
            write!(formatter, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: [&str; 6] = [
        r#"https://a.example/"><script>alert(1)</script>"#,
        "https://a.example/?q='onmouseover='alert(1)';//",
        "https://a.example/?a=1&amp;b=2&lt=3&copy=4",
        "https://a.example/</script></style></noscript><h1>",
        "https://a.example/{{ site.name }}/{% raw %}?;url=https://evil.example",
        "https://a.example/%3Cscript%3E?x=%00%22#;'\\`",
    ];

    fn site() -> Site {
        Site { name: "Go & <b>Co</b>".to_owned(), base_url: "https://go.example".to_owned() }
    }

    fn target(text: &str) -> Target {
        Target::from_store(text.to_owned())
    }

    fn preview_of(target: &Target) -> String {
        let short_url = "https://go.example/tax".to_owned();
        let created_on = jiff::civil::date(2026, 3, 4);
        preview(&site(), &Preview { short_url, target, agency: "tax.example", created_on })
    }

    fn all_pages() -> Vec<String> {
        let somewhere = target("https://www.example.com/a");
        vec![
            landing(&site(), Some(Totals { links: 1, clicks: 2, officers: 3 })),
            landing(&site(), None),
            transition(&site(), &somewhere),
            preview_of(&somewhere),
            not_found(&site()),
            gone(&site()),
            unavailable(&site()),
            limited(&site()),
            method_not_allowed(&site()),
        ]
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
            let page = transition(&site(), &target(hostile));
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
            assert_eq!(tags(&transition(&site(), &hostile)), tags(&transition(&site(), &plain)), "{hostile}");
            assert_eq!(tags(&preview_of(&hostile)), tags(&preview_of(&plain)), "{hostile}");
        }
    }

    #[test]
    fn the_policy_allows_what_is_inlined_and_nothing_else() {
        let policy = content_security_policy();
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
        for page in all_pages() {
            assert!(page.len() < 14_000, "{} bytes", page.len());
            for once in ["<html lang=\"en\">", "<h1>", "<main>", "name=\"viewport\"", "<title>"] {
                assert_eq!(page.matches(once).count(), 1, "{once} in {page}");
            }
            assert!(page.contains("Go &#38; &#60;b&#62;Co"), "the site's name is escaped");
            assert!(page.contains(favicon_name()));
        }
        let longest = format!("https://www.example.com/{}", "a".repeat(2_083 - 24));
        assert!(transition(&site(), &target(&longest)).len() < 14_000, "with the longest target too");
    }

    #[test]
    fn only_the_landing_page_may_be_indexed() {
        let indexed: Vec<bool> =
            all_pages().iter().map(|page| !page.contains(r#"name="robots" content="noindex""#)).collect();
        assert_eq!(indexed, [true, true, false, false, false, false, false, false, false]);
    }

    #[test]
    fn the_transition_page_names_the_registrable_domain() {
        let page = transition(&site(), &target("https://www.iras.gov.sg.evil.example/iras.gov.sg"));
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
        let page = landing(&site(), Some(totals));
        assert_eq!(between(&page, "<dd>", "</dd>"), ["999", "1,234,567", "1,000"]);
        assert!(!landing(&site(), None).contains("<dd>"));
    }

    #[test]
    fn numbers_are_grouped_in_thousands() {
        for (number, text) in
            [(0, "0"), (12, "12"), (123, "123"), (1_234, "1,234"), (u64::MAX, "18,446,744,073,709,551,615")]
        {
            assert_eq!(Grouped(number).to_string(), text);
        }
    }
}
