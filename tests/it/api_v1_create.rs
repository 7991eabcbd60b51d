//! `POST /api/v1/urls`: the link that is made, and every refusal in the words of `GoGovSG`.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::harness::{Home, Server};

#[test]
fn a_created_link_is_answered_with_its_six_fields() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let answer = amy.create(&json!({"shortUrl": "iras-tax", "longUrl": "https://www.iras.gov.sg/taxes"}));
    answer.assert_v1_status("create", 200);
    let link = answer.json();
    let fields: HashSet<&str> = link.as_object().expect("a link is an object").keys().map(String::as_str).collect();
    assert_eq!(fields, HashSet::from(["shortUrl", "longUrl", "state", "clicks", "createdAt", "updatedAt"]));
    assert_eq!(link["shortUrl"], "iras-tax");
    assert_eq!(link["longUrl"], "https://www.iras.gov.sg/taxes");
    assert_eq!(link["state"], "ACTIVE");
    assert_eq!(link["clicks"], json!(0));
    assert_is_timestamp(&link["createdAt"]);
    assert_is_timestamp(&link["updatedAt"]);
    assert_eq!(link["createdAt"], link["updatedAt"]);
    assert_eq!(amy.link("iras-tax"), link, "the list shows the same");
}

/// `2026-01-31T23:59:59.123Z`: UTC, always three decimals.
#[track_caller]
pub fn assert_is_timestamp(value: &Value) {
    let text = value.as_str().unwrap_or_default();
    let shape: String =
        text.chars().map(|character| if character.is_ascii_digit() { '0' } else { character }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{value}");
    text.parse::<jiff::Timestamp>().expect("a time that exists");
}

#[test]
fn without_a_code_one_is_drawn_that_can_be_read_in_print() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let mut drawn = HashSet::new();
    for number in 0..40 {
        let target = format!("https://example.com/{number}");
        let answer = amy.create(&json!({"longUrl": target}));
        answer.assert_v1_status("create without shortUrl", 200);
        let link = answer.json();
        let code = link["shortUrl"].as_str().expect("shortUrl is a string").to_owned();
        let plain = code.chars().all(|character| character.is_ascii_lowercase() || character.is_ascii_digit());
        assert!(code.len() == 8 && plain && !code.contains(['0', 'o', '1', 'i', 'l']), "{code}");
        server.follow(&code).assert_redirects(&code, &target);
        drawn.insert(code);
    }
    assert_eq!(drawn.len(), 40, "each is new");
}

#[test]
fn every_validation_problem_is_named_in_gogovsgs_words() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let target = "https://example.com";
    for (body, message) in [
        (json!({}), "\"longUrl\" is required"),
        (json!({"shortUrl": "abc"}), "\"longUrl\" is required"),
        (json!({"longUrl": ""}), "\"longUrl\" is not allowed to be empty"),
        (json!({"longUrl": target, "shortUrl": ""}), "\"shortUrl\" is not allowed to be empty"),
        (json!({"longUrl": 1}), "\"longUrl\" must be a string"),
        (json!({"longUrl": null}), "\"longUrl\" must be a string"),
        (json!({"longUrl": true}), "\"longUrl\" must be a string"),
        (json!({"longUrl": {}}), "\"longUrl\" must be a string"),
        (json!({"longUrl": [target]}), "\"longUrl\" must be a string"),
        (json!({"longUrl": target, "shortUrl": 1}), "\"shortUrl\" must be a string"),
        (json!({"longUrl": target, "shortUrl": null}), "\"shortUrl\" must be a string"),
        (json!({"longUrl": target, "shortUrl": ["a"]}), "\"shortUrl\" must be a string"),
        (json!({"longUrl": target, "foo": 1}), "\"foo\" is not allowed"),
        (json!({"longUrl": target, "zoo": 1, "bar": null}), "\"zoo\" is not allowed. \"bar\" is not allowed"),
        (json!({"longUrl": target, "state": "ACTIVE"}), "\"state\" is not allowed"),
        (json!({"longUrl": target, "email": "a@x.gov.sg"}), "\"email\" is not allowed"),
        (json!({"longUrl": target, "LongUrl": target}), "\"LongUrl\" is not allowed"),
        (json!([]), "\"value\" must be of type object"),
        (json!([{"longUrl": target}]), "\"value\" must be of type object"),
        (
            json!({"shortUrl": "A b", "longUrl": "x", "foo": 1}),
            "Short URL format is invalid.. Only HTTPS URLs are allowed.. \"foo\" is not allowed",
        ),
        (
            json!({"foo": 1, "longUrl": "x", "shortUrl": "A b"}),
            "Short URL format is invalid.. Only HTTPS URLs are allowed.. \"foo\" is not allowed",
        ),
        (
            json!({"longUrl": 7, "shortUrl": "", "b": 1, "a": 2}),
            "\"shortUrl\" is not allowed to be empty. \"longUrl\" must be a string. \"b\" is not allowed. \"a\" is not allowed",
        ),
        (
            json!({"shortUrl": null, "foo": 1}),
            "\"shortUrl\" must be a string. \"longUrl\" is required. \"foo\" is not allowed",
        ),
    ] {
        amy.create(&body).assert_v1(&body.to_string(), 400, &invalid(message));
    }
    assert_eq!(amy.codes(""), Vec::<String>::new(), "nothing was created");
}

pub fn invalid(message: &str) -> Value {
    json!({"message": format!("ValidationError: {message}")})
}

#[test]
fn a_target_must_begin_with_lower_case_https() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    for target in [
        "x",
        "http://example.com",
        "HTTPS://example.com",
        "Https://example.com",
        " https://example.com",
        "\thttps://example.com",
        "\u{feff}https://example.com",
        "https:example.com",
        "https:/example.com",
        "https:\\\\example.com\\x",
        "//example.com",
        "ftp://example.com",
        "javascript:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "www.example.com",
    ] {
        amy.create(&json!({"longUrl": target})).assert_v1(target, 400, &invalid("Only HTTPS URLs are allowed."));
    }
}

#[test]
fn a_target_must_be_a_public_usable_address() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let too_long = format!("https://example.com/{}", "a".repeat(2083 - "https://example.com/".len()));
    assert_eq!(too_long.len(), 2083);
    for target in [
        "https://",
        "https:///",
        "https:///example.com",
        "https://?a=b",
        "https://x",
        "https://intranet/page",
        "https://localhost",
        "https://localhost:8080/x",
        "https://example.c",
        "https://example.",
        "https://.com",
        "https://a_b.com",
        "https://a.b_c.com/x",
        "https://example.com.",
        "https://example.com./x",
        "https://exa..mple.com",
        "https://example.com:65536",
        "https://example.com:99999/x",
        "https://example.com:port/",
        "https://example.com/a b",
        "https://example.com/a\tb",
        "https://example.com/a\nb",
        "https://example.com/a\r\nSet-Cookie: x=1",
        "https://example.com/a\u{a0}b",
        "https://example.com/a\u{2028}b",
        "https://example.com ",
        "https://exam ple.com",
        "https://example.com/\n",
        "https://example.com/<",
        "https://example.com/>",
        "https://example.com/<script>",
        "https://user:secret@example.com",
        "https://user@example.com/",
        "https://good.gov.sg@example.com/",
        "https://@example.com/",
        "https://1.2.3.4",
        "https://127.0.0.1:8080/x",
        "https://10.0.0.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://①②⑦.0.0.1/",
        "https://[::1]/",
        "https://[2001:db8::1]/x",
        "https://printer.local/",
        "https://app.localhost/",
        "https://db.internal/",
        &too_long,
    ] {
        amy.create(&json!({"longUrl": target})).assert_v1(target, 400, &invalid("Long URL format is invalid."));
    }
    for target in [
        &too_long[..2082],
        "https://example.com:65535/x",
        "https://example.sg",
        "https://a.b.c.d.example.com/x?y=z#f",
        "https://xn--r8jz45g.jp/",
        "https://1.example.com/",
        "https://example.com/user@example.com:80",
    ] {
        amy.create(&json!({"longUrl": target})).assert_v1_status(target, 200);
    }
}

#[test]
fn a_target_on_our_own_host_would_go_in_circles() {
    let server = Home::new().set("public.base_url", "https://go.agency.gov.sg").start();
    let amy = server.officer("amy@agency.gov.sg");
    let circular = invalid("Circular redirects are not allowed.");
    for target in [
        "https://go.agency.gov.sg",
        "https://go.agency.gov.sg/iras-tax?x=1",
        "https://GO.Agency.GOV.sg/x",
        "https://go.agency.gov.sg:8443/x",
        "https://go.agency.gov.sg:443",
    ] {
        amy.create(&json!({"longUrl": target})).assert_v1(target, 400, &circular);
    }
    for target in ["https://www.go.agency.gov.sg/", "https://agency.gov.sg/", "https://example.com/?u=go.agency.gov.sg"]
    {
        amy.create(&json!({"longUrl": target})).assert_v1_status(target, 200);
    }
}

#[test]
fn a_target_at_another_shortener_is_refused_by_its_host_name() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let refused = invalid("Creation of URLs to link shortener sites are not allowed.");
    for target in [
        "https://bit.ly/a",
        "https://Bit.ly/a",
        "https://BIT.LY:443/a",
        "https://www.bit.ly/a",
        "https://agency.bit.ly/a",
        "https://tinyurl.com/a",
        "https://rebrand.ly/a",
        "https://goo.gl/a",
        "https://tiny.cc/a",
        "https://lc.chat/a",
        "https://is.gd/a",
        "https://soo.gd/a",
        "https://s2r.co/a",
        "https://clicky.me/a",
        "https://bl.ink/a",
    ] {
        amy.create(&json!({"longUrl": target})).assert_v1(target, 400, &refused);
    }
    for target in [
        "https://this.gd/x",
        "https://example.com/?u=bit.ly",
        "https://example.com/bit.ly/https://bit.ly/a",
        "https://notbit.ly/",
        "https://bit.ly.example.com/",
    ] {
        amy.create(&json!({"longUrl": target})).assert_v1_status(target, 200);
    }
}

#[test]
fn a_code_is_lower_case_letters_digits_and_hyphens_up_to_255() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let longest = "a".repeat(255);
    for code in ["a", "0", "-", "--", "a-b-3", &longest] {
        amy.creates(code, "https://example.com/x");
        server.follow(code).assert_redirects(code, "https://example.com/x");
    }
    let too_long = "a".repeat(256);
    for code in [
        "A", "Abc", "a b", " a", "a ", "a_b", "a.b", "a/b", "a%20b", "é", "а", "１", "😀", "a\n", "a\r\nb", "a\0", "+",
        "a+", "a?b", "a#b", "../a", &too_long,
    ] {
        let body = json!({"shortUrl": code, "longUrl": "https://example.com/x"});
        amy.create(&body).assert_v1(&format!("{code:?}"), 400, &invalid("Short URL format is invalid."));
    }
}

#[test]
fn a_code_that_was_ever_used_is_used_for_good() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let ben = server.officer("ben@other.gov.sg");
    amy.creates("event", "https://example.com/amy");
    let used = json!({"message": "Short link \"event\" is already used.", "type": "ShortUrlError"});
    let again = json!({"shortUrl": "event", "longUrl": "https://example.com/again"});
    amy.create(&again).assert_v1("by its owner", 400, &used);
    ben.create(&again).assert_v1("by another", 400, &used);
    amy.switches("event", "INACTIVE");
    amy.create(&again).assert_v1("inactive, by its owner", 400, &used);
    ben.create(&again).assert_v1("inactive, by another", 400, &used);
    assert_eq!(amy.link("event")["longUrl"], "https://example.com/amy", "it stays as it was");
    assert_eq!(ben.codes(""), Vec::<String>::new());

    let both = json!({"shortUrl": "event", "longUrl": "x"});
    ben.create(&both).assert_v1("validation comes before", 400, &invalid("Only HTTPS URLs are allowed."));
}

#[test]
fn a_user_id_in_the_body_is_ignored_and_the_last_of_two_equal_fields_counts() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    for (number, user_id) in [json!(1), json!("somebody"), Value::Null, json!({})].into_iter().enumerate() {
        let body = json!({"userId": user_id, "shortUrl": format!("user-{number}"), "longUrl": "https://example.com"});
        amy.create(&body).assert_v1_status(&body.to_string(), 200);
    }
    assert_eq!(amy.codes("").len(), 4, "all are hers");
    let twice = r#"{"shortUrl":"twice","longUrl":"x","longUrl":"https://example.com/last"}"#;
    let answer = server.request("POST", "/api/v1/urls").key(&amy.key).body("application/json", twice).send();
    answer.assert_v1_status("a field that comes twice", 200);
    assert_eq!(answer.json()["longUrl"], "https://example.com/last");
}

#[test]
fn only_well_formed_json_objects_and_arrays_are_a_body() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let malformed = json!({"message": "Bad Request. JSON is malformed"});
    for body in [
        "{",
        "}",
        "[",
        "nope",
        "{\"longUrl\":}",
        "{'longUrl':'x'}",
        "{\"a\":1,}",
        "{}{}",
        "{} x",
        "\"text\"",
        "1",
        "-1.5",
        "true",
        "null",
        "NaN",
        " ",
        "\n",
        "{\"longUrl\":\"\\x\"}",
        "{\"longUrl\":\"a\nb\"}",
    ] {
        for path in ["/api/v1/urls", "/api/v1/admin/urls"] {
            let about = format!("{path} {body:?}");
            let with_key = server.request("POST", path).key(&amy.key).body("application/json", body).send();
            with_key.assert_v1(&about, 400, &malformed);
            let without = server.request("POST", path).body("application/json; charset=utf-8", body).send();
            without.assert_v1(&format!("{about} without a key"), 400, &malformed);
        }
        let patch = server.request("PATCH", "/api/v1/urls/abc").body("application/json", body).send();
        patch.assert_v1(&format!("PATCH {body:?}"), 400, &malformed);
    }
}

#[test]
fn no_body_or_another_content_type_is_taken_as_an_empty_object() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let required = invalid("\"longUrl\" is required");
    let whole = r#"{"longUrl":"https://example.com"}"#;
    let post = || server.request("POST", "/api/v1/urls").key(&amy.key);
    post().send().assert_v1("no body at all", 400, &required);
    post().untyped_body(whole).send().assert_v1("no content type", 400, &required);
    post().body("application/json", "").send().assert_v1("an empty body", 400, &required);
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "text/json",
        "nonsense",
    ] {
        for body in [whole, "{", "longUrl=https://example.com", "--x\r\n\r\n--x--\r\n"] {
            post().body(kind, body).send().assert_v1(&format!("{kind} {body:?}"), 400, &required);
        }
    }
    for kind in
        ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
    {
        post().body(kind, whole).send().assert_v1_status(kind, 200);
    }
}

#[test]
fn a_body_may_have_102_400_bytes_and_not_one_more() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let body_of = |bytes: usize| {
        let begin = r#"{"longUrl":"https://example.com""#;
        format!("{begin}{}}}", " ".repeat(bytes - begin.len() - 1))
    };
    let too_large = json!({"message": "Request body is too large."});
    let post = || server.request("POST", "/api/v1/urls");
    for bytes in [102_399, 102_400] {
        let body = body_of(bytes);
        assert_eq!(body.len(), bytes);
        post().key(&amy.key).body("application/json", &body).send().assert_v1_status(&format!("{bytes} bytes"), 200);
    }
    for bytes in [102_401, 200_000] {
        let body = body_of(bytes);
        let about = format!("{bytes} bytes");
        post().key(&amy.key).body("application/json", &body).send().assert_v1(&about, 413, &too_large);
        post().body("application/json", &body).send().assert_v1(&format!("{about} without a key"), 413, &too_large);
        let chunked = format!("{bytes:x}\r\n{body}\r\n0\r\n\r\n");
        let mut connection = server.connect();
        let head = "POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        connection.write(format!("{head}{chunked}").as_bytes()).ok();
        let answer = connection.read_answer("POST").expect("a chunked body is answered");
        answer.assert_v1(&format!("{about} in a chunk"), 413, &too_large);
    }
}
