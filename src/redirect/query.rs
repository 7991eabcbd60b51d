//! Handing the visit's query on to the target, for links that say `forward_query`.

use std::collections::HashSet;

use actix_web::http::header::HeaderValue;
use url::{Url, form_urlencoded};

use crate::{head_size::LOCATION_BYTES_MAX, languages::PARAMETER};

/// The target with the query would be longer than [`LOCATION_BYTES_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// Returns `target` with the parameters of `query` appended to its own and before its fragment. The target's own parameters win: a visitor
/// can't change what the officer has set. What can't be a URL or a header leaves the target as it is.
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
    let own: HashSet<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    let added: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !asks_for_language(pair))
        .filter(|pair| form_urlencoded::parse(pair.as_bytes()).next().is_none_or(|(name, _)| !own.contains(&*name)))
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

    proptest! {
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
