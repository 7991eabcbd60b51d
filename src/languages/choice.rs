//! Which language a visitor gets: what they chose here, else what their browser asks for, else the operator's first.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap, HeaderValue};

use super::{Language, Languages, Part};

/// In a query string: `?page-lang=ms` shows the page in Malay, and so from then on. A name that targets, to which query strings may be
/// forwarded, hardly use themselves.
pub const PARAMETER: &str = "page-lang";

/// The cookie that remembers the choice. It says nothing else about the visitor.
const COOKIE: &str = "lang";

/// The same cookie where the service has an `https` address: with this prefix no other host can set it (RFC 6265bis, 4.1.3.2).
const HOST_COOKIE: &str = "__Host-lang";

/// A year.
const COOKIE_FOR_S: u32 = 365 * 24 * 60 * 60;

/// How many wishes of an `Accept-Language` are read. People have a few; what goes on beyond that wants to keep us busy.
const WISHES_MAX: usize = 32;

/// The language of an answer.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    pub language: &'a Arc<Language>,
    /// The visitor has just chosen it, in place of another.
    pub is_new: bool,
}

impl Languages {
    pub fn choose(&self, part: Part, headers: &HeaderMap, query: Option<&str>) -> Choice<'_> {
        let asked = query.and_then(asked_for).and_then(|tag| self.exactly(part, tag));
        let kept = cookie(headers).and_then(|tag| self.exactly(part, tag));
        if let Some(language) = asked {
            return Choice { language, is_new: kept.is_none_or(|kept| kept.tag != language.tag) };
        }
        let accepted = || self.accepted(part, headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?);
        let language = kept.or_else(accepted).or_else(|| self.covering(part).next());
        Choice { language: language.expect("English covers every part"), is_new: false }
    }

    fn exactly(&self, part: Part, tag: &str) -> Option<&Arc<Language>> {
        self.covering(part).find(|language| language.tag == tag)
    }

    /// The best of `Accept-Language` (RFC 9110 §12.5.4): the highest weight wins, then what stands first.
    fn accepted(&self, part: Part, header: &str) -> Option<&Arc<Language>> {
        let mut best = None;
        let mut best_weight = 0;
        for item in header.split(',').take(WISHES_MAX) {
            let (range, parameters) = item.split_once(';').unwrap_or((item, ""));
            let weight = weight(parameters);
            if weight > best_weight
                && let Some(language) = self.matching(part, range.trim())
            {
                (best, best_weight) = (Some(language), weight);
            }
        }
        best
    }

    /// `ms-MY` is answered in `ms`, and `zh-TW` in `zh-Hant` if there is one, else in another Chinese.
    fn matching(&self, part: Part, range: &str) -> Option<&Arc<Language>> {
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let is_prefix = |tag: &str| {
            let rest = range.get(..tag.len()).filter(|start| same(start, tag)).map(|_| &range[tag.len()..]);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let script = chinese_script(range);
        let in_script = |language: &&Arc<Language>| script.is_some_and(|script| same(&language.tag, script));
        let primary = primary(range);
        self.covering(part)
            .filter(|language| is_prefix(&language.tag))
            .max_by_key(|language| language.tag.len())
            .or_else(|| self.covering(part).find(in_script))
            .or_else(|| self.covering(part).find(|language| same(self::primary(&language.tag), primary)))
            .or_else(|| self.covering(part).next().filter(|_| range == "*"))
    }
}

impl Choice<'_> {
    /// The cookie that keeps a new choice; `None` when there is nothing new to keep.
    pub fn cookie(&self, secure: bool) -> Option<HeaderValue> {
        let (name, secure) = if secure { (HOST_COOKIE, "; Secure") } else { (COOKIE, "") };
        let tag = &self.language.tag;
        let cookie = format!("{name}={tag}; Path=/; Max-Age={COOKIE_FOR_S}; HttpOnly; SameSite=Lax{secure}");
        self.is_new.then(|| HeaderValue::from_str(&cookie).expect("a language tag is letters, digits and hyphens"))
    }
}

/// The language that a query asks for, whether or not there is such a one.
fn asked_for(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix(PARAMETER)?.strip_prefix('='))
}

/// The remembered choice. The prefixed cookie wins: over `https` another host can set the plain one.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let named = |name: &str| {
        headers
            .get_all(header::COOKIE)
            .filter_map(|cookies| cookies.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .find_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('='))
    };
    named(HOST_COOKIE).or_else(|| named(COOKIE))
}

/// In thousandths. No weight is the highest, a malformed one none.
fn weight(parameters: &str) -> u32 {
    let Some(value) = parameters.trim().strip_prefix("q=") else { return 1000 };
    let (whole, decimals) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    if whole == "1" {
        return 1000;
    }
    if whole != "0" || decimals.len() > 3 {
        return 0;
    }
    format!("{decimals:0<3}").parse().unwrap_or(0)
}

fn primary(tag: &str) -> &str {
    tag.split('-').next().unwrap_or_default()
}

/// Browsers name Chinese by region; what is read there is the script.
fn chinese_script(range: &str) -> Option<&'static str> {
    let mut subtags = range.split('-');
    if !subtags.next()?.eq_ignore_ascii_case("zh") {
        return None;
    }
    let traditional =
        subtags.any(|subtag| ["hant", "tw", "hk", "mo"].iter().any(|known| subtag.eq_ignore_ascii_case(known)));
    Some(if traditional { "zh-Hant" } else { "zh-Hans" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn languages() -> Languages {
        let tags = ["en", "zh-Hans", "ms", "ta"].map(|tag| tag.parse().expect("a tag"));
        Languages::load(&tags, None, &[("site", "Go"), ("host", "go.example")]).expect("good")
    }

    fn headers(accept: &str, cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_str(accept).expect("a header"));
        headers.insert(header::COOKIE, HeaderValue::from_str(cookie).expect("a header"));
        headers
    }

    #[test]
    fn the_browsers_wish_is_met_as_well_as_can_be() {
        let languages = languages();
        for (accept, tag) in [
            ("", "en"),
            ("ms", "ms"),
            ("MS-my,en;q=0.9", "ms"),
            ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
            ("zh-TW", "zh-Hans"),
            ("zh-Hans-SG", "zh-Hans"),
            ("fr-FR, fr;q=0.9, ta;q=0.8, en;q=0.7", "ta"),
            ("en;q=0.2, ta;q=0.25", "ta"),
            ("ta;q=0, ms;q=0.001", "ms"),
            ("fr", "en"),
            ("*", "en"),
            ("ta;q=0", "en"),
            ("tamil, msx", "en"),
            ("ta;q=7, ms;q=0.1", "ms"),
            (",;q=,-,é", "en"),
        ] {
            let header = HeaderValue::from_bytes(accept.as_bytes()).expect("a header");
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, header);
            assert_eq!(languages.choose(Part::Citizens, &headers, None).language.tag, tag, "{accept}");
        }
    }

    #[test]
    fn traditional_chinese_is_preferred_where_it_is_read_and_offered() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("zh-Hant")).expect("made");
        std::fs::write(folder.path().join("zh-Hant/citizens.ftl"), "language-name = 繁體中文\n").expect("written");
        let tags = ["zh-Hans", "zh-Hant"].map(|tag| tag.parse().expect("a tag"));
        let languages = Languages::load(&tags, Some(folder.path()), &[("site", ""), ("host", "")]).expect("good");
        for (accept, tag) in [("zh-HK", "zh-Hant"), ("zh-Hant-TW", "zh-Hant"), ("zh-SG", "zh-Hans"), ("zh", "zh-Hans")]
        {
            assert_eq!(languages.choose(Part::Citizens, &headers(accept, ""), None).language.tag, tag, "{accept}");
        }
    }

    #[test]
    fn what_the_visitor_chose_wins_and_is_kept_once() {
        let languages = languages();
        let choose = |cookie: &str, query: Option<&str>| {
            let choice = languages.choose(Part::Citizens, &headers("ms", cookie), query);
            (choice.language.tag.clone(), choice.cookie(true).map(|cookie| cookie.to_str().expect("text").to_owned()))
        };
        assert_eq!(choose("seen=1; lang=ta", None), ("ta".to_owned(), None));
        assert_eq!(choose("lang=ta", Some("x=1&page-lang=ta")), ("ta".to_owned(), None), "nothing new");
        let (tag, cookie) = choose("lang=ta", Some("page-lang=en&x=1"));
        assert_eq!(tag, "en");
        assert_eq!(cookie.as_deref(), Some("__Host-lang=en; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax; Secure"));
        assert_eq!(
            choose("lang=ta; __Host-lang=en", None),
            ("en".to_owned(), None),
            "the plain one can be another host's"
        );
        for nonsense in ["page-lang=fr", "page-lang=", "page-lang", "page-lang=en%0d%0aX:y", "xpage-lang=en"] {
            assert_eq!(choose("lang=tax", Some(nonsense)), ("ms".to_owned(), None), "{nonsense}");
        }
    }
}
