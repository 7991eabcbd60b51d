//! `GET /api/v1/urls`: own links, searched, sorted and paged.

use serde_json::{Value, json};

use crate::{
    api_v1_create::invalid,
    harness::{Officer, Server},
};

#[test]
fn an_officer_lists_own_links_only() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let ben = server.officer("ben@agency.gov.sg");
    ben.list("").assert_v1("nothing yet", 200, &json!({"urls": [], "count": 0}));
    let link = amy.creates("amys", "https://example.com/amy");
    ben.creates("bens", "https://example.com/ben");
    amy.list("").assert_v1("one link", 200, &json!({"urls": [link], "count": 1}));
    assert_eq!(ben.codes(""), ["bens"]);
    let second_key = server.officer("Amy@Agency.gov.sg");
    assert_eq!(second_key.codes(""), ["amys"], "another key of the same officer");
}

#[test]
fn a_list_is_searched_filtered_sorted_and_paged() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let links = [
        ("tax-2026", "https://www.iras.gov.sg/Income-Tax"),
        ("park", "https://www.nparks.gov.sg/visit?q=50%25_off"),
        ("pool", "https://www.sport.gov.sg/Swim_Now"),
        ("zoo", "https://example.com/tax/zoo"),
        ("hawker", "https://example.com/food"),
    ];
    for (code, target) in links {
        amy.creates(code, target);
    }
    amy.switches("pool", "INACTIVE");
    amy.switches("zoo", "INACTIVE");
    for (code, clicks) in [("park", 3), ("zoo", 0), ("hawker", 1), ("tax-2026", 3)] {
        for _ in 0..clicks {
            server.follow(code);
        }
        amy.sees_clicks(code, clicks);
    }

    for (query, count, expected) in [
        ("orderBy=clicks", 5, &["park", "tax-2026", "hawker", "pool", "zoo"][..]),
        ("orderBy=clicks&sortDirection=desc", 5, &["park", "tax-2026", "hawker", "pool", "zoo"]),
        ("orderBy=clicks&sortDirection=asc", 5, &["pool", "zoo", "hawker", "park", "tax-2026"]),
        ("orderBy=clicks&limit=2", 5, &["park", "tax-2026"]),
        ("orderBy=clicks&limit=2&offset=1", 5, &["tax-2026", "hawker"]),
        ("orderBy=clicks&offset=4", 5, &["zoo"]),
        ("orderBy=clicks&offset=5", 5, &[]),
        ("offset=1000000", 5, &[]),
        ("limit=0", 5, &[]),
        ("limit=0&state=INACTIVE", 2, &[]),
        ("orderBy=clicks&limit=1000", 5, &["park", "tax-2026", "hawker", "pool", "zoo"]),
        ("orderBy=clicks&state=ACTIVE", 3, &["park", "tax-2026", "hawker"]),
        ("orderBy=clicks&state=INACTIVE", 2, &["pool", "zoo"]),
        ("orderBy=clicks&state=INACTIVE&searchText=zoo", 1, &["zoo"]),
        ("orderBy=clicks&isFile=false", 5, &["park", "tax-2026", "hawker", "pool", "zoo"]),
        ("isFile=true", 0, &[]),
        ("orderBy=clicks&searchText=", 5, &["park", "tax-2026", "hawker", "pool", "zoo"]),
        ("orderBy=clicks&searchText=tax", 2, &["tax-2026", "zoo"]),
        ("orderBy=clicks&searchText=TAX", 2, &["tax-2026", "zoo"]),
        ("orderBy=clicks&searchText=INCOME-tax", 1, &["tax-2026"]),
        ("searchText=swim_now", 1, &["pool"]),
        ("orderBy=clicks&searchText=_", 2, &["park", "pool"]),
        ("searchText=%25", 1, &["park"]),
        ("searchText=p%25k", 0, &[]),
        ("searchText=p__l", 0, &[]),
        ("searchText=gov.sg%2Fvisit%3Fq", 1, &["park"]),
        ("searchText=no+such+thing", 0, &[]),
        ("searchText=%F0%9F%98%80", 0, &[]),
        ("orderBy=clicks&searchText=tax&limit=1&offset=1", 2, &["zoo"]),
    ] {
        let answer = amy.list(query);
        answer.assert_v1_status(query, 200);
        assert_eq!(amy.codes(query), expected, "{query}");
        assert_eq!(answer.json()["count"], count, "{query}: count is of all that match");
    }
}

#[test]
fn newest_come_first_and_ties_go_by_code() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    for number in [7, 3, 9, 1, 5, 8, 2, 6, 4] {
        amy.creates(&format!("n{number}"), "https://example.com");
    }
    for (query, newest_first) in [
        ("", true),
        ("orderBy=createdAt", true),
        ("sortDirection=desc", true),
        ("orderBy=createdAt&sortDirection=asc", false),
    ] {
        let got = created_and_code(&amy, query);
        let mut expected = got.clone();
        expected.sort_by(|(time, code), (other_time, other_code)| {
            let by_time = if newest_first { other_time.cmp(time) } else { time.cmp(other_time) };
            by_time.then(code.cmp(other_code))
        });
        assert_eq!(got, expected, "{query:?}");
        assert_eq!(got.len(), 9, "{query:?}");
    }
    let all = created_and_code(&amy, "");
    let pages: Vec<_> =
        (0..5).flat_map(|page| created_and_code(&amy, &format!("limit=2&offset={}", page * 2))).collect();
    assert_eq!(pages, all, "pages join without gap or repetition");
}

#[track_caller]
fn created_and_code(officer: &Officer<'_>, query: &str) -> Vec<(String, String)> {
    let answer = officer.list(query);
    answer.assert_v1_status(query, 200);
    let text = |link: &Value, field: &str| link[field].as_str().expect("a string").to_owned();
    let answer = answer.json();
    let links = answer["urls"].as_array().expect("urls is an array");
    links.iter().map(|link| (text(link, "createdAt"), text(link, "shortUrl"))).collect()
}

#[test]
fn every_wrong_parameter_is_named() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    for (query, message) in [
        ("limit=many", "\"limit\" must be a number"),
        ("limit=", "\"limit\" must be a number"),
        ("limit=1.5", "\"limit\" must be an integer"),
        ("limit=1001", "\"limit\" must be less than or equal to 1000"),
        ("limit=-1", "\"limit\" must be larger than or equal to 0"),
        ("offset=many", "\"offset\" must be a number"),
        ("offset=", "\"offset\" must be a number"),
        ("offset=0.5", "\"offset\" must be an integer"),
        ("offset=-1", "\"offset\" must be larger than or equal to 0"),
        ("orderBy=code", "\"orderBy\" must be one of [createdAt, clicks]"),
        ("orderBy=createdat", "\"orderBy\" must be one of [createdAt, clicks]"),
        ("sortDirection=up", "\"sortDirection\" must be one of [desc, asc]"),
        ("sortDirection=DESC", "\"sortDirection\" must be one of [desc, asc]"),
        ("state=active", "\"state\" must be one of [ACTIVE, INACTIVE]"),
        ("state=any", "\"state\" must be one of [ACTIVE, INACTIVE]"),
        ("isFile=maybe", "\"isFile\" must be a boolean"),
        ("isFile=1", "\"isFile\" must be a boolean"),
        ("tags=tax", "\"tags\" is not allowed"),
        ("foo=1", "\"foo\" is not allowed"),
        ("limit=x&offset=y", "\"limit\" must be a number. \"offset\" must be a number"),
        ("limit=1001&tags=x", "\"limit\" must be less than or equal to 1000. \"tags\" is not allowed"),
    ] {
        amy.list(query).assert_v1(query, 400, &invalid(message));
    }
    for query in ["limit=999", "limit=1000", "limit=1", "offset=0"] {
        let answer = amy.list(query);
        answer.assert_v1(query, 200, &json!({"urls": [], "count": 0}));
    }
}
