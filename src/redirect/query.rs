//! Handing the visit's query on to the target, for links that say `forward_query`.

use std::collections::HashSet;

use actix_web::http::header::HeaderValue;
use url::{Url, form_urlencoded};

use crate::{head_size::LOCATION_BYTES_MAX, languages::PARAMETER};

/// The target with the query would be longer than [`LOCATION_BYTES_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// Returns `target` with the parameters of `query` appended to its own and before its fragment. The target's own parameters win: a visitor
/// can't change what the officer has set, in any spelling that a server may take for the same name (see [`same_name`]). What can't be a URL or a
/// header leaves the target as it is.
///
/// # Errors
///
/// When the result would be too long. Half of a query may mean something else than the whole, so none of it is kept.
pub fn forward(target: &HeaderValue, query: &str) -> Result<HeaderValue, TooLong> {
    // Before the work that a long query makes.
    if query.len() > LOCATION_BYTES_MAX {
        return Err(TooLong);
    }
    let forwarded = target.to_str().ok().and_then(|target| Url::parse(target).ok()).and_then(|url| merge(url, query));
    match forwarded {
        Some(forwarded) if forwarded.len() > LOCATION_BYTES_MAX => Err(TooLong),
        Some(forwarded) => Ok(forwarded),
        None => Ok(target.clone()),
    }
}

/// What links to other languages append to their own parameter: the rest of the query string, `&` first.
pub fn beside_language(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty() && !asks_for_language(pair));
    pairs.flat_map(|pair| ["&", pair]).collect()
}

/// The parameter is ours and no target's.
fn asks_for_language(pair: &str) -> bool {
    pair.strip_prefix(PARAMETER).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

fn merge(mut url: Url, query: &str) -> Option<HeaderValue> {
    let own: HashSet<String> = url.query().into_iter().flat_map(names).collect();
    let added: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !asks_for_language(pair))
        .filter(|pair| names(pair).all(|name| !own.contains(&name)))
        .collect();
    if added.is_empty() {
        return None;
    }
    let added = added.join("&");
    let merged = match url.query().filter(|query| !query.is_empty()) {
        Some(query) => format!("{query}&{added}"),
        None => added,
    };
    url.set_query(Some(&merged));
    HeaderValue::from_str(url.as_str()).ok()
}

/// The names of a query's parameters, as [`same_name`] spells them. Servers before HTML 5 also separate parameters by `;`.
fn names(query: &str) -> impl Iterator<Item = String> {
    let pairs = query.split(['&', ';']).filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        form_urlencoded::parse(pair.as_bytes()).next().map_or_else(String::new, |(name, _)| same_name(&name))
    })
}

/// One spelling for all names that some server takes for the same: letters and digits in lower case, up to the first bracket behind them.
///
/// PHP reads `k[]`, `k[x]` and ` k` as `k`, and `a.b` and `a b` as `a_b`; ASP.NET ignores case; Node's qs drops brackets around a name. Names that differ
/// in nothing else are rare, so dropping a harmless parameter costs less than passing on one that overrides the officer's.
fn same_name(name: &str) -> String {
    let plain = |text: &str| -> String {
        text.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let head = plain(name.split('[').next().unwrap_or_default());
    if head.is_empty() { plain(name) } else { head }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forwarded(target: &str, query: &str) -> String {
        let header = HeaderValue::from_str(target).expect("a header");
        forward(&header, query).expect("is short").to_str().expect("text").to_owned()
    }

    #[test]
    fn parameters_go_behind_the_targets_own_and_before_its_fragment() {
        for (target, query, expected) in [
            ("https://a.gov.sg/p", "x=1&y=2", "https://a.gov.sg/p?x=1&y=2"),
            ("https://a.gov.sg/p?k=v", "x=1", "https://a.gov.sg/p?k=v&x=1"),
            ("https://a.gov.sg/p?k=v#top", "x=1", "https://a.gov.sg/p?k=v&x=1#top"),
            ("https://a.gov.sg", "x", "https://a.gov.sg/?x"),
            ("https://a.gov.sg/p?", "x=1", "https://a.gov.sg/p?x=1"),
            ("https://a.gov.sg/p", "utm=%E2%9C%93+a", "https://a.gov.sg/p?utm=%E2%9C%93+a"),
        ] {
            assert_eq!(forwarded(target, query), expected);
        }
    }

    #[test]
    fn the_language_of_our_pages_is_no_targets_business() {
        assert_eq!(forwarded("https://a.gov.sg/p", "page-lang=ms&x=1"), "https://a.gov.sg/p?x=1");
        assert_eq!(forwarded("https://a.gov.sg/p", "page-lang=ms"), "https://a.gov.sg/p");
        assert_eq!(forwarded("https://a.gov.sg/p", "page-language=ms"), "https://a.gov.sg/p?page-language=ms");
        assert_eq!(beside_language("x=1&page-lang=ms&&y"), "&x=1&y");
        assert_eq!(beside_language("page-lang=ms"), "");
    }

    #[test]
    fn the_targets_own_parameters_win() {
        assert_eq!(forwarded("https://a.gov.sg/p?k=v", "k=evil&%6B=evil&x=1"), "https://a.gov.sg/p?k=v&x=1");
        assert_eq!(forwarded("https://a.gov.sg/p?k=v", "k=evil"), "https://a.gov.sg/p?k=v");
        assert_eq!(forwarded("https://a.gov.sg", "&&"), "https://a.gov.sg");
    }

    #[test]
    fn a_location_of_3000_bytes_is_the_longest() {
        let target = HeaderValue::from_static("https://a.gov.sg/p");
        let fits = "x".repeat(LOCATION_BYTES_MAX - target.len() - 1);
        assert_eq!(forward(&target, &fits).map(|location| location.len()), Ok(LOCATION_BYTES_MAX));
        for too_long in [format!("{fits}x"), "é".repeat(LOCATION_BYTES_MAX / 6), "&".repeat(LOCATION_BYTES_MAX + 1)] {
            assert_eq!(forward(&target, &too_long), Err(TooLong));
        }
    }

    #[test]
    fn no_spelling_of_the_targets_own_parameters_gets_past_them() {
        for query in [
            "K=evil",
            "%4b=evil",
            "k[]=evil",
            "k[0]=evil",
            "k[a][b]=evil",
            "k%5B%5D=evil",
            "[k]=evil",
            "%5Bk%5D=evil",
            "k%20=evil",
            "+k=evil",
            "k+=evil",
            "k%00=evil",
            "k%09=evil",
            "k.=evil",
            "_k=evil",
            "k%C2%A0=evil",
            "%E2%84%AA=evil",
            "k",
            "x=1;k=evil",
            "x;K[]",
        ] {
            assert_eq!(forwarded("https://a.gov.sg/p?k=v", query), "https://a.gov.sg/p?k=v", "{query}");
        }
        for (own, query) in
            [("a_b=v", "a.b=evil"), ("a_b=v", "a+b=evil"), ("k[]=v", "k=evil"), ("K=v", "k=evil"), ("x=1;k=v", "k=2")]
        {
            let target = format!("https://a.gov.sg/p?{own}");
            assert_eq!(forwarded(&target, query), target, "{query}");
        }
        for query in ["kk=1", "k2=1", "ak=1", "%E7%A8%8E=1", "x=k", "utm_source=k&gclid=1", "x=a%3Bk%3D1"] {
            assert_eq!(forwarded("https://a.gov.sg/p?k=v", query), format!("https://a.gov.sg/p?k=v&{query}"));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_forwarded_has_another_name_than_the_targets_own(
            own in "[a-zA-Z_.\\[\\]+]{1,6}",
            query in "([a-zA-Z_.;\\[\\]+%025BbD]{0,6}(=[a-z;=]{0,4})?&?){0,4}",
        ) {
            let target = Url::parse(&format!("https://a.gov.sg/?{own}=v")).expect("a URL");
            let before = target.query().expect("a query").to_owned();
            let after = Url::parse(&forwarded(target.as_str(), &query)).expect("a URL");
            let added = after.query().expect("a query").strip_prefix(&before).expect("the target's own come first").to_owned();
            let own: HashSet<String> = names(&before).collect();
            prop_assert!(names(&added).all(|name| !own.contains(&name)), "{} of {}", added, query);
        }

        #[test]
        fn no_query_can_change_where_the_visitor_goes(query in "\\PC{0,60}") {
            let before = Url::parse("https://a.gov.sg/p?k=v#top").expect("a URL");
            let after = Url::parse(&forwarded(before.as_str(), &query)).expect("a URL");
            prop_assert_eq!(after.host_str(), before.host_str());
            prop_assert_eq!(after.path(), before.path());
            prop_assert_eq!(after.fragment(), before.fragment());
            prop_assert!(after.query().expect("a query").starts_with("k=v"));
        }
    }
}
