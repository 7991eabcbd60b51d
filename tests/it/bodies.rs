//! Bodies of requests: whose is read, how much of it, and in which form.

use serde_json::json;

use crate::{
    console::Desk,
    harness::{Home, Server, eventually},
    http::Request,
};

const TARGET: &str = "https://example.com/form";

#[test]
fn of_a_v1_body_without_a_key_four_kilobytes_are_judged() {
    let server = Server::start();
    let malformed = json!({"message": "Bad Request. JSON is malformed"});
    let too_large = json!({"message": "Request body is too large."});
    let missing = json!({"message": "Authorization header is missing"});
    let invalid = json!({"message": "Invalid API Key"});
    let key = server.key("amy@agency.gov.sg");
    let text = |bytes: usize| format!("{{{}", " ".repeat(bytes - 1));
    let post = || server.request("POST", "/api/v1/urls");
    for (bytes, status, without, with_bad) in [
        (4_095, 400, &malformed, &malformed),
        (4_096, 400, &malformed, &malformed),
        (4_097, 401, &missing, &invalid),
        (102_400, 401, &missing, &invalid),
        (102_401, 413, &too_large, &too_large),
    ] {
        let about = format!("{bytes} bytes");
        post().body("application/json", text(bytes)).send().assert_v1(&about, status, without);
        post().body("application/json", text(bytes)).key("mlk_a_b").send().assert_v1(&about, status, with_bad);
        let chunked = format!(
            "POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
             {bytes:x}\r\n{}\r\n0\r\n\r\n",
            text(bytes)
        );
        let mut connection = server.connect();
        connection.write(chunked.as_bytes()).ok();
        connection.read_answer("POST").expect("is answered").assert_v1(&format!("{about} in chunks"), status, without);
        let (with_key, answer) = if bytes > 102_400 { (413, &too_large) } else { (400, &malformed) };
        post().body("application/json", text(bytes)).key(&key).send().assert_v1(&about, with_key, answer);
    }
}

#[test]
fn a_login_form_has_at_most_four_kilobytes_and_an_officers_form_more() {
    let server = Server::start();
    let mut desk = Desk::at(&server);
    desk.opens("/console/login").assert_page("login", 200);
    for (padding, status) in [(3_000, 200), (4_096, 413)] {
        let fields = [("email", "amy@agency.gov.sg"), ("next", &*"x".repeat(padding))];
        let answer = desk.form("/console/login", &desk.token, &fields).send();
        assert_eq!(answer.status, status, "{padding}: {}", answer.text());
    }
    let mut amys = Desk::of(&server, "amy@agency.gov.sg");
    amys.sees("/console/create");
    let target = format!("{TARGET}?{}", "x".repeat(1_900));
    let answer = amys.sends("/console/create", &[("target", &target), ("unused", &"x".repeat(8_000))]);
    assert_eq!(answer.status, 303, "{}", answer.text());
}

#[test]
fn a_compressed_body_is_refused_in_the_words_of_each_way_in() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let v1 = || server.request("POST", "/api/v1/urls").key(&amy.key).json(&json!({"longUrl": TARGET}));
    let v2 = || server.request("POST", "/api/v2/links").key(&amy.key).json(&json!({"target_url": TARGET}));
    let encoded = |request: Request, coding: &str| {
        let answer = request.header("Content-Encoding", coding).send();
        assert_eq!(answer.header("accept-encoding"), Some("identity"), "{coding}");
        answer
    };
    for coding in ["gzip", "GZIP", "br", "identity, gzip", "deflate", "x", ""] {
        let refused = json!({"message": "Request body must not be compressed."});
        encoded(v1(), coding).assert_v1(coding, 415, &refused);
        let keyless = server.request("POST", "/api/v1/urls").json(&json!({"longUrl": TARGET}));
        encoded(keyless, coding).assert_v1(&format!("{coding} without a key"), 415, &refused);
        encoded(v2(), coding).assert_problem(coding, 415, "unsupported-media-type");
        let batch = server.request("POST", "/api/v2/batch").key(&amy.key).json(&json!([{"target_url": TARGET}]));
        encoded(batch, coding).assert_problem(coding, 415, "unsupported-media-type");
        let desk = Desk::at(&server);
        let form = desk.form("/console/login", "", &[("email", "amy@agency.gov.sg")]);
        encoded(form, coding).assert_page(coding, 415);
    }
    let officers = Desk::of(&server, "amy@agency.gov.sg");
    encoded(officers.file_form("", "a.csv", b"target_url\n"), "gzip").assert_page("an upload", 415);
    v1().header("Content-Encoding", "identity").send().assert_v1_status("identity", 200);
    v2().header("Content-Encoding", "Identity").send().assert_v2("identity", 201);
    let bodiless = server.get("/api/v1/urls").key(&amy.key).header("Content-Encoding", "gzip").send();
    bodiless.assert_v1_status("without a body there is nothing to unpack", 200);
}

#[test]
fn one_officer_and_one_address_have_a_share_of_the_memory_for_bodies() {
    const MIB: usize = 1024 * 1024;
    let settings = [("overload.body_bytes_per_client_max", "6MiB"), ("public.trusted_proxies", "127.0.0.0/8")];
    let home = settings.into_iter().fold(Home::new(), |home, (name, value)| home.set(name, value));
    let server = home.start();
    let amy = server.officer("amy@agency.gov.sg");
    let ben = server.officer("ben@agency.gov.sg");
    let half_a_batch = |key: &str, address: &str| {
        let request = server.request("POST", "/api/v2/batch").key(key).header("X-Forwarded-For", address);
        let mut half = request.bytes();
        half.truncate(half.len() - 2);
        half.extend(format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", 5 * MIB).bytes());
        half.extend(vec![b' '; 5 * MIB - 1]);
        half
    };
    let mut unfinished = server.connect();
    unfinished.write(&half_a_batch(&amy.key, "203.0.113.1")).expect("is taken");
    eventually("its bytes are counted", || {
        (server.metrics().sum("merlink_body_bytes") >= (5 * MIB - 1) as f64).then_some(())
    });
    // Less than a share is left to Amy, from wherever she sends, and to whoever shares her address.
    for (key, address) in [(&amy.key, "203.0.113.2"), (&ben.key, "203.0.113.1")] {
        let batch = server.request("POST", "/api/v2/batch").key(key).header("X-Forwarded-For", address);
        let answer = batch.body("application/json", " ".repeat(2 * MIB)).send();
        answer.assert_problem(address, 429, "rate-limited");
        answer.assert_retry_after(address, 15);
    }
    let v1 = server.request("POST", "/api/v1/urls").key(&ben.key).header("X-Forwarded-For", "203.0.113.2");
    v1.json(&json!({"longUrl": TARGET})).send().assert_v1_status("others don't notice", 200);
    assert_eq!(server.metrics().with("merlink_bodies_refused_total", &[("limit", "sender")]), 2.0);
    assert_eq!(server.metrics().sum("merlink_requests_shed_total"), 0.0, "the service as a whole isn't overloaded");
    assert_eq!(unfinished.read_answer("POST").expect("is answered").status, 408);
    eventually("all of it is free again", || (server.metrics().sum("merlink_body_bytes") == 0.0).then_some(()));
}
