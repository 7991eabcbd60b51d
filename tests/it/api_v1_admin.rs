//! `POST /api/v1/admin/urls`: an administrator creates links for others.

use serde_json::json;

use crate::{
    api_v1_create::invalid,
    harness::{Home, Server},
};

const TARGET: &str = "https://example.com/form";

fn server_with_a_boss() -> Server {
    Home::new().set("officers.admins", "Boss@Agency.gov.sg,second@agency.gov.sg").start()
}

#[test]
fn an_admin_creates_links_for_officers_known_and_new() {
    let server = server_with_a_boss();
    for email in ["boss@agency.gov.sg", "second@agency.gov.sg"] {
        let key = server.key(email);
        let word = email.split('@').next().expect("an address has a part before the @");
        let post = || server.request("POST", "/api/v1/admin/urls").key(&key);

        let code = format!("{word}-for-amy");
        let answer = post().json(&json!({"shortUrl": code, "longUrl": TARGET, "email": "amy@agency.gov.sg"})).send();
        answer.assert_v1_status(&code, 200);
        let link = answer.json();
        assert_eq!(link.as_object().map(serde_json::Map::len), Some(6), "six fields: {link}");
        assert_eq!((&link["shortUrl"], &link["state"]), (&json!(code), &json!("ACTIVE")));
        server.follow(&code).assert_redirects(&code, TARGET);

        let drawn = post().json(&json!({"longUrl": TARGET, "email": " BEN@Agency.GOV.SG\t"})).send();
        drawn.assert_v1_status("trimmed and lower-cased, code drawn", 200);
    }
    let amy = server.officer("amy@agency.gov.sg");
    assert_eq!(amy.codes("searchText=for-amy").len(), 2, "they are hers");
    amy.switches("boss-for-amy", "INACTIVE");
    assert_eq!(server.officer("ben@agency.gov.sg").codes("").len(), 2, "and his");
    let boss = server.officer("boss@agency.gov.sg");
    assert_eq!(boss.codes(""), Vec::<String>::new(), "not the admin's");
    let message = json!({"message": "Short link \"boss-for-amy\" not found for user."});
    boss.update("boss-for-amy", &json!({"state": "ACTIVE"})).assert_v1("not even to change", 403, &message);
}

#[test]
fn every_validation_problem_is_named() {
    let server = server_with_a_boss();
    let boss = server.officer("boss@agency.gov.sg");
    let not_listed = "Invalid email provided. Email domain is not whitelisted.";
    let post = |body: &serde_json::Value| server.request("POST", "/api/v1/admin/urls").key(&boss.key).json(body).send();
    for (body, message) in [
        (json!({}), "\"longUrl\" is required. \"email\" is required"),
        (json!({"longUrl": TARGET}), "\"email\" is required"),
        (json!({"email": "a@x.gov.sg"}), "\"longUrl\" is required"),
        (json!({"longUrl": TARGET, "email": ""}), "\"email\" is not allowed to be empty"),
        (json!({"longUrl": TARGET, "email": " \t "}), "\"email\" is not allowed to be empty"),
        (json!({"longUrl": TARGET, "email": 1}), "\"email\" must be a string"),
        (json!({"longUrl": TARGET, "email": null}), "\"email\" must be a string"),
        (json!({"longUrl": TARGET, "email": "a@x.gov.sg", "state": "ACTIVE"}), "\"state\" is not allowed"),
        (
            json!({"foo": 1, "email": 2, "longUrl": "x", "shortUrl": "A b"}),
            "Short URL format is invalid.. Only HTTPS URLs are allowed.. \"email\" must be a string. \"foo\" is not allowed",
        ),
        (
            json!({"longUrl": "https://x", "email": "a@example.com", "foo": 1}),
            "Long URL format is invalid.. Invalid email provided. Email domain is not whitelisted.. \"foo\" is not allowed",
        ),
        (json!([]), "\"value\" must be of type object"),
    ] {
        post(&body).assert_v1(&body.to_string(), 400, &invalid(message));
    }
    for email in [
        "a@gov.sg",
        "a@evilgov.sg",
        ".a@x.gov.sg",
        "a@example.com",
        "a@x.gov.sg.example.com",
        "a@x.gov.sg@example.com",
        "a@@x.gov.sg",
        "@x.gov.sg",
        "a@",
        "x.gov.sg",
        "nobody",
        "a b@x.gov.sg",
        "a@x gov.sg",
        "a@.gov.sg",
        "a@x..gov.sg",
        "a\u{0}@x.gov.sg",
        "a\r\nb@x.gov.sg",
    ] {
        let body = json!({"longUrl": TARGET, "email": email});
        post(&body).assert_v1(&format!("{email:?}"), 400, &invalid(not_listed));
    }
    for email in ["a@x.gov.sg", "A@X.GOV.SG", "a.b-c_d@deep.agency.gov.sg", "a+b@x.gov.sg"] {
        post(&json!({"longUrl": TARGET, "email": email})).assert_v1_status(email, 200);
    }
    let used = json!({"message": "Short link \"api\" is already used.", "type": "ShortUrlError"});
    post(&json!({"longUrl": TARGET, "email": "a@x.gov.sg", "shortUrl": "api"})).assert_v1("reserved", 400, &used);
}

#[test]
fn who_is_no_admin_is_unauthorized_before_anything_is_validated() {
    let server = server_with_a_boss();
    let amy = server.officer("amy@agency.gov.sg");
    let boss = server.officer("boss@agency.gov.sg");
    let unauthorized = json!({"message": "User is unauthorized"});
    let not_found = json!({"message": "Resource not found."});
    let whole = json!({"longUrl": TARGET, "email": "ben@agency.gov.sg", "shortUrl": "for-ben"});
    for body in [json!({}), json!([]), whole] {
        let answer = server.request("POST", "/api/v1/admin/urls").key(&amy.key).json(&body).send();
        answer.assert_v1(&body.to_string(), 401, &unauthorized);
    }
    for (method, path) in [
        ("GET", "/api/v1/admin/urls"),
        ("PATCH", "/api/v1/admin/urls/abc"),
        ("POST", "/api/v1/admin/nothing"),
        ("GET", "/api/v1/admin/x/y"),
    ] {
        let about = format!("{method} {path}");
        server.request(method, path).key(&amy.key).send().assert_v1(&about, 401, &unauthorized);
        server.request(method, path).key(&boss.key).send().assert_v1(&about, 404, &not_found);
        let no_key = json!({"message": "Authorization header is missing"});
        server.request(method, path).send().assert_v1(&about, 401, &no_key);
    }
    assert_eq!(server.follow("for-ben").status, 404, "nothing was created");
}

#[test]
fn the_operator_decides_whose_addresses_may_own_links() {
    let server = Home::new()
        .set("officers.admins", "boss@agency.gov.sg")
        .set("officers.email_domains", "*.gov.sg,*@town.example.org")
        .start();
    let key = server.key("boss@agency.gov.sg");
    for (email, status) in
        [("a@x.gov.sg", 200), ("a@town.example.org", 200), ("a@example.org", 400), ("a@x.town.example.org", 400)]
    {
        let body = json!({"longUrl": TARGET, "email": email});
        server.request("POST", "/api/v1/admin/urls").key(&key).json(&body).send().assert_v1_status(email, status);
    }
}
