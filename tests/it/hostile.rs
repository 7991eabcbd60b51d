//! Odd and hostile input: never a 5xx, a panic or a hang, and the server answers the next citizen as before.

use std::thread;

use serde_json::json;

use crate::{
    harness::{CHROME, CURL, Officer, Server, eventually},
    http::{Answer, Request, percent_encoded},
};

/// A server with one link that must still work when the attack is over.
struct Besieged {
    server: Server,
    key: String,
}

impl Besieged {
    fn start() -> Self {
        let server = Server::start();
        let key = server.key("amy@agency.gov.sg");
        server.officer_with_key(&key).creates("form", "https://example.com/form");
        // From here on the link is remembered: what is tried below is the attack, not Redis on a busy machine.
        server.follow("form").assert_redirects("before", "https://example.com/form");
        Self { server, key }
    }

    fn amy(&self) -> Officer<'_> {
        self.server.officer_with_key(&self.key)
    }

    #[track_caller]
    fn still_serves(&self, about: &str) {
        self.server.follow("form").assert_redirects(about, "https://example.com/form");
    }

    /// Sends bytes as they are and takes what comes: answers below 500, or a closed connection.
    #[track_caller]
    fn survives(&self, about: &str, bytes: &[u8]) -> Option<Answer> {
        let mut connection = self.server.connect();
        connection.write(bytes).ok();
        connection.close_sending().ok();
        let method = if bytes.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
        match connection.read_answer(method) {
            Ok(answer) => {
                assert!(answer.status < 500, "{about}: {} {}", answer.status, answer.text());
                Some(answer)
            }
            Err(error) => {
                assert!(!is_timeout(&error), "{about}: hangs");
                None
            }
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

#[track_caller]
fn assert_refused_or_answered(about: &str, request: Request) {
    match request.try_send() {
        Ok(answer) => assert!(answer.status < 500, "{about}: {} {}", answer.status, answer.text()),
        Err(error) => assert!(!is_timeout(&error), "{about}: hangs"),
    }
}

#[test]
fn paths_of_any_bytes_are_answered() {
    let besieged = Besieged::start();
    let every_byte: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![b'/', b'f', byte, b'x']).collect();
    let every_encoded: Vec<Vec<u8>> = (0..=255_u8).map(|byte| format!("/form%{byte:02x}x").into_bytes()).collect();
    let long = |length: usize| [b"/".to_vec(), vec![b'a'; length]].concat();
    let others: Vec<Vec<u8>> = [
        &b"/\xff\xfe"[..],
        b"/form\xff",
        b"/form%",
        b"/form%2",
        b"/form%zz",
        b"/form%00",
        b"/%00form",
        b"/form\x00",
        b"//",
        b"///",
        b"//form",
        b"/./form",
        b"/../form",
        b"/../../etc/passwd",
        b"/%2e%2e/%2e%2e/etc/passwd",
        b"/form;x=1",
        b"/form#x",
        b"/form?%ff=%00",
        b"/form?\xff",
        b"form",
        b"*",
        b"",
        b"http://example.com/form",
        b"http://[::1",
        b"https://form",
        b"/form%0d%0aX-Injected:%201",
        b"/api/v1/urls/%ff",
        b"/api/v1/urls/%00",
        b"/api/v1/urls?searchText=%ff",
        b"/api/v1/urls?%ff=1",
        b"/api/v1/urls?limit=1&limit=2",
        b"/api/v1/urls?limit=99999999999999999999999",
        b"/api/v1/urls?limit=1e400",
        b"/api/v1/urls?offset=18446744073709551616",
        b"/api/v1/urls?&&==&",
        b"/console/%ff",
        b"/assets/%ff",
        b"/problems/%ff",
    ]
    .iter()
    .map(|path| path.to_vec())
    .collect();
    let lengths = [255, 256, 1_000, 8_000, 60_000, 200_000].map(long);
    for path in every_byte.into_iter().chain(every_encoded).chain(others).chain(lengths) {
        for method in ["GET", "HEAD", "PATCH"] {
            let mut bytes =
                [method.as_bytes(), b" ", &path, b" HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8.5.0\r\n"].concat();
            bytes.extend(format!("Authorization: Bearer {}\r\n\r\n", besieged.key).as_bytes());
            let shown = String::from_utf8_lossy(&path[..path.len().min(60)]).into_owned();
            if let Some(answer) = besieged.survives(&format!("{method} {shown:?}"), &bytes) {
                assert_eq!(answer.header("x-injected"), None, "{shown:?}");
            }
        }
    }
    besieged.still_serves("after odd paths");
}

#[test]
fn headers_of_any_size_and_kind_are_answered_or_refused() {
    let besieged = Besieged::start();
    for (name, value) in [
        ("User-Agent", vec![b'a'; 64 * 1024]),
        ("User-Agent", vec![0xff; 100]),
        ("User-Agent", b"Mozilla/5.0 (\xff\xfe) \x80".to_vec()),
        ("User-Agent", "Mozilla/5.0 ".repeat(2_000).into_bytes()),
        ("Cookie", vec![b';'; 30_000]),
        ("Cookie", "a=b; ".repeat(5_000).into_bytes()),
        ("Cookie", vec![0xff; 100]),
        ("Authorization", vec![0xff; 100]),
        ("Authorization", [&b"Bearer "[..], &[0xff; 50]].concat()),
        ("Authorization", format!("Bearer {}", "k".repeat(60_000)).into_bytes()),
        ("X-Forwarded-For", b"not, an, address, \xff".to_vec()),
        ("X-Forwarded-For", "1.1.1.1, ".repeat(3_000).into_bytes()),
        ("Content-Type", vec![0xff; 100]),
        ("Content-Type", b"application/json; charset=\xff".to_vec()),
        ("Sec-Purpose", vec![0xff; 100]),
        ("Accept-Language", vec![b','; 30_000]),
        ("Host", vec![0xff; 10]),
        ("Host", b"evil.example/<script>".to_vec()),
        ("X-Request-Id", vec![0xff; 100]),
        ("X-Request-Id", vec![b'x'; 10_000]),
        ("Expect", b"100-continue".to_vec()),
        ("Upgrade", b"h2c".to_vec()),
        ("Range", b"bytes=0-".to_vec()),
        ("If-None-Match", b"*".to_vec()),
        ("Accept-Encoding", b"gzip, br, zstd, \xff".to_vec()),
    ] {
        for path in ["/form", "/never-made", "/form+", "/api/v1/urls"] {
            let about = format!("{name} of {} bytes on {path}", value.len());
            assert_refused_or_answered(&about, besieged.server.get(path).header(name, &value));
        }
    }
    let many =
        (0..2_000).fold(besieged.server.get("/form"), |request, number| request.header(&format!("X-{number}"), "1"));
    assert_refused_or_answered("2,000 headers", many);
    besieged.still_serves("after odd headers");
}

#[test]
fn bodies_that_are_deep_large_or_no_text_are_refused() {
    let besieged = Besieged::start();
    let deep_arrays = "[".repeat(10_000);
    let deep_objects = "{\"a\":".repeat(10_000);
    let closed_arrays = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_value = format!("{{\"longUrl\":{closed_arrays}}}");
    let deep_unknown =
        format!("{{\"longUrl\":\"https://example.com\",\"foo\":{}1{}}}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    let many_fields: String = (0..6_000).map(|number| format!("\"f{number}\":1")).collect::<Vec<_>>().join(",");
    let many_fields = format!("{{{many_fields},\"longUrl\":\"https://example.com\"}}");
    let long_text = format!("{{\"longUrl\":\"https://example.com/{}\"}}", "a".repeat(100_000));
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("10,000 arrays deep", deep_arrays.into()),
        ("10,000 objects deep", deep_objects.into()),
        ("10,000 closed arrays deep", closed_arrays.into()),
        ("a deep value", deep_value.into()),
        ("a deep unknown value", deep_unknown.into()),
        ("6,000 unknown fields", many_fields.into()),
        ("a target of 100,000 characters", long_text.into()),
        ("no UTF-8", b"{\"longUrl\":\"https://example.com/\xff\xfe\"}".to_vec()),
        ("no UTF-8 at all", vec![0xff; 1_000]),
        ("NULs", vec![0; 1_000]),
        ("UTF-16", b"\xff\xfe{\0}\0".to_vec()),
        ("half of a surrogate pair", br#"{"longUrl":"https://example.com/\ud800"}"#.to_vec()),
        ("a NUL in text", br#"{"longUrl":"https://example.com/\u0000"}"#.to_vec()),
        ("a NUL in a code", br#"{"longUrl":"https://x","shortUrl":"a\u0000b"}"#.to_vec()),
        ("a huge number", br#"{"longUrl":1e999999}"#.to_vec()),
        ("many digits", format!("{{\"longUrl\":{}}}", "9".repeat(50_000)).into_bytes()),
        ("1 MB", vec![b'['; 1_000_000]),
        ("a prototype", br#"{"__proto__":{"a":1},"constructor":1}"#.to_vec()),
    ];
    for (about, body) in bodies {
        for (method, path) in [
            ("POST", "/api/v1/urls"),
            ("PATCH", "/api/v1/urls/form"),
            ("POST", "/form"),
            ("POST", "/api/v1/admin/urls"),
        ] {
            let request = || besieged.server.request(method, path).body("application/json", &body);
            let about = format!("{about}: {method} {path}");
            for request in [request().key(&besieged.key), request()] {
                match request.try_send() {
                    Ok(answer) => {
                        assert!((400..500).contains(&answer.status), "{about}: {} {}", answer.status, answer.text());
                    }
                    Err(error) => assert!(!is_timeout(&error), "{about}: hangs"),
                }
            }
        }
    }
    assert_eq!(besieged.amy().link("form")["longUrl"], "https://example.com/form");
    besieged.still_serves("after odd bodies");
}

#[test]
fn no_input_puts_a_line_break_into_an_answers_head() {
    let besieged = Besieged::start();
    let amy = besieged.amy();
    for code in ["a\r\nSet-Cookie: x=1", "a%0d%0aSet-Cookie:%20x=1", "a\nb", "a\u{85}b", "a\u{2028}b"] {
        let answer = amy.create(&json!({"shortUrl": code, "longUrl": "https://example.com"}));
        answer.assert_v1_status(&format!("{code:?}"), 400);
        assert_eq!(answer.header("set-cookie"), None);
        let visit = besieged.server.get(&format!("/{}", percent_encoded(code))).user_agent(CHROME).send();
        assert_eq!((visit.status, visit.header("set-cookie")), (404, None), "{code:?}");
        let answer = amy.update(&percent_encoded(code), &json!({}));
        assert_eq!((answer.status, answer.header("set-cookie")), (403, None), "{code:?}");
    }
    for target in
        ["https://example.com/\r\nSet-Cookie: x=1", "https://example.com/\u{0}", "https://example.com/\u{7f}\u{1}"]
    {
        let answer = amy.create(&json!({"longUrl": target}));
        assert!([200, 400].contains(&answer.status), "{target:?}: {}", answer.status);
        if answer.status == 200 {
            let code = answer.json()["shortUrl"].as_str().expect("a string").to_owned();
            let location = besieged.server.follow(&code).header("location").expect("a 302 has it").to_owned();
            assert!(location.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{target:?}: {location:?}");
        }
    }
    besieged.still_serves("after line breaks");
}

#[test]
fn pipelined_requests_are_answered_one_by_one_in_order() {
    let besieged = Besieged::start();
    let amy = besieged.amy();
    for number in 0..20 {
        amy.creates(&format!("n{number}"), &format!("https://example.com/{number}"));
    }
    let mut connection = besieged.server.connect();
    let mut requests = Vec::new();
    for number in 0..20 {
        requests.extend(besieged.server.get(&format!("/n{number}")).user_agent(CURL).bytes());
        requests.extend(besieged.server.get("/never-made").user_agent(CURL).bytes());
        requests.extend(
            besieged.server.request("POST", "/api/v1/urls").key(&amy.key).json(&json!({"longUrl": "x"})).bytes(),
        );
    }
    connection.write(&requests).expect("sends");
    for number in 0..20 {
        let first = connection.read_answer("GET").expect("is answered");
        first.assert_redirects("pipelined", &format!("https://example.com/{number}"));
        assert_eq!(connection.read_answer("GET").expect("is answered").status, 404);
        assert_eq!(connection.read_answer("POST").expect("is answered").status, 400);
    }
    besieged.still_serves("after pipelining");
}

#[test]
fn requests_that_are_no_http_or_contradict_themselves_are_refused() {
    let besieged = Besieged::start();
    for (about, bytes) in [
        ("nothing", &b""[..]),
        ("line breaks", b"\r\n\r\n\r\n"),
        ("noise", b"\x00\x01\x02\xff\xfe"),
        ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("Redis' protocol", b"*1\r\n$8\r\nFLUSHALL\r\n"),
        ("HTTP/0.9", b"GET /form\r\n"),
        ("HTTP/1.0", b"GET /form HTTP/1.0\r\n\r\n"),
        ("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("HTTP/9.9", b"GET /form HTTP/9.9\r\nHost: x\r\n\r\n"),
        ("no Host", b"GET /form HTTP/1.1\r\n\r\n"),
        ("two Hosts", b"GET /form HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("CONNECT", b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"),
        ("a header without a colon", b"GET /form HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n"),
        ("a NUL in a header", b"GET /form HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n"),
        ("a folded header", b"GET /form HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"),
        ("two lengths", b"POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
        ("a negative length", b"POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
        ("an endless length", b"POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n{}"),
        ("length and chunks", b"POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a broken chunk", b"POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        ("an endless chunk", b"POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
        ("a GET with a body", b"GET /form HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"),
    ] {
        besieged.survives(about, bytes);
    }
    besieged.still_serves("after nonsense");
}

#[test]
fn a_request_line_that_cannot_be_read_gets_a_page() {
    let besieged = Besieged::start();
    for path in ["\"/form\"", "\"form\"", "/fo\u{e9}", "/\u{201c}form\u{201d}", "/<form>", "/form and more", ""] {
        for method in ["GET", "HEAD"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: {CHROME}\r\n\r\n");
            let mut connection = besieged.server.connect();
            connection.write(request.as_bytes()).expect("sends");
            // Whatever the method was, it wasn't read.
            let answer = connection.read_answer("GET").expect("is answered");
            answer.assert_page(path, 400);
            assert_eq!(answer.header("connection"), Some("close"), "{path}");
            for header in ["date", "content-security-policy", "x-content-type-options", "cache-control"] {
                assert!(answer.header(header).is_some(), "{path}: {header}");
            }
            connection.assert_closed(path);
        }
    }
    // These are addresses, and no link's.
    for path in ["/\"form\"x", "/fo|rm", "form", "*"] {
        let mut connection = besieged.server.connect();
        connection.write(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("sends");
        connection.read_answer("GET").expect("is answered").assert_page(path, 404);
    }
    let mut connection = besieged.server.connect();
    connection.write(&besieged.server.get("/form").user_agent(CURL).bytes()).expect("sends");
    connection
        .read_answer("GET")
        .expect("is answered")
        .assert_redirects("a request before", "https://example.com/form");
    connection.write(b"GET \"/form\" HTTP/1.1\r\nHost: x\r\n\r\n").expect("sends");
    connection.read_answer("GET").expect("is answered").assert_page("after another request", 400);
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(140_000));
    let answer = besieged.survives("a head of 140 kB", head.as_bytes());
    if let Some(answer) = answer {
        answer.assert_page("a head of 140 kB", 431);
    }
}

#[test]
fn pipelined_bodies_are_read_to_their_end_wherever_they_are_cut() {
    let besieged = Besieged::start();
    let key = &besieged.key;
    let create = |code: &str| {
        // Empty lines in a body end no head, and what looks like a request in it is none.
        let body = format!(
            "{{\"shortUrl\": \"{code}\",\r\n\r\n\n\n \"longUrl\": \"https://example.com/GET/HTTP/1.1\"\r\n\r\n}}"
        );
        let chunked = body.as_bytes().chunks(13).fold(String::new(), |chunked, chunk| {
            chunked + &format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk))
        });
        let head = format!(
            "POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        );
        [
            format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunked}0\r\n\r\n"),
        ]
    };
    let get = "GET /form HTTP/1.1\nHost: x\n\n".to_owned();
    let unknown = "GET /never-made HTTP/1.1\r\nHost: x\r\n\r\n".to_owned();
    for cut in [1, 2, 3, 7, 100, 1_000, 100_000] {
        let [sized, chunked] = create(&format!("cut-{cut}"));
        // The second creation is refused, since its code is taken: it was read as the first was.
        let all =
            [&get, &unknown, &sized, &get, &chunked, &unknown, &chunked, &sized, &get].map(String::as_str).concat();
        let mut connection = besieged.server.connect();
        for part in all.as_bytes().chunks(cut) {
            connection.write(part).expect("sends");
        }
        let statuses: Vec<u16> = (0..9).map(|_| connection.read_answer("GET").expect("is answered").status).collect();
        assert_eq!(statuses, [302, 404, 200, 302, 400, 404, 400, 400, 302], "cut into pieces of {cut}");
    }
}

#[test]
fn a_half_sent_request_is_given_up_and_holds_nobody_else_up() {
    let besieged = Besieged::start();
    let halves = [
        ("half a head", "GET /form HTTP/1.1\r\nHost: x\r\nUser-Ag".to_owned()),
        ("half a head after a whole one", "HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /form HTTP/1.1\r\nHost: x\r\nUser-Ag".to_owned()),
        (
            "half a body",
            format!(
                "POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{\"longUrl\":",
                besieged.key
            ),
        ),
        (
            "half a chunk",
            "POST /api/v1/urls HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{".to_owned(),
        ),
    ];
    thread::scope(|scope| {
        for (about, half) in &halves {
            let besieged = &besieged;
            scope.spawn(move || {
                // More of them than there are workers.
                let mut stalled: Vec<_> = (0..10).map(|_| besieged.server.connect()).collect();
                for connection in &mut stalled {
                    connection.write(half.as_bytes()).expect("sends");
                }
                besieged.still_serves(about);
                for connection in &mut stalled {
                    if half.starts_with("HEAD") {
                        assert_eq!(connection.read_answer("HEAD").expect("is answered").status, 200, "{about}");
                    }
                    match connection.read_answer("GET") {
                        Ok(answer) => assert!((400..500).contains(&answer.status), "{about}: {}", answer.status),
                        Err(error) => assert!(!is_timeout(&error), "{about}: is never given up"),
                    }
                }
            });
        }
    });
    besieged.still_serves("afterwards");
}

#[test]
fn visitors_who_hang_up_leave_nothing_behind() {
    let besieged = Besieged::start();
    for _ in 0..200 {
        let mut connection = besieged.server.connect();
        connection.write(&besieged.server.get("/form").user_agent(CURL).bytes()).ok();
    }
    besieged.still_serves("after 200 who didn't wait");
    let open = || besieged.server.metrics().sum("process_open_fds");
    eventually("their connections are closed", || (open() < 150.0).then_some(()));
}

#[test]
fn the_operator_port_bears_odd_input_too() {
    let besieged = Besieged::start();
    let address = besieged.server.operator_address();
    for path in [
        &b"/\xff"[..],
        b"/%ff",
        b"/%00",
        b"*",
        b"/metrics?%ff",
        b"/../metrics",
        &[b"/".to_vec(), vec![b'a'; 60_000]].concat(),
    ] {
        assert_refused_or_answered("the operator port", Request::new(address, "GET", path));
    }
    assert_refused_or_answered("64 kB", Request::new(address, "GET", "/metrics").header("A", vec![b'a'; 64 * 1024]));
    assert_eq!(besieged.server.operator("/healthz").send().status, 200);
    besieged.still_serves("afterwards");
}

#[test]
fn a_program_sends_long_bodies_one_after_the_other_over_one_connection() {
    let server = Server::start();
    let key = server.key("amy@agency.gov.sg");
    let mut connection = server.connect();
    // Above and below all buffers, and beyond what v1 reads; refused for what is in it, not for its length.
    for bytes in [100, 20_000, 90_000, 20_000, 300_000, 100, 20_000] {
        let body = format!("{{\"longUrl\":\"https://example.com\",\"{}\":1}}", "a".repeat(bytes));
        let request = server.request("POST", "/api/v1/urls").key(&key).body("application/json", body);
        connection.write(&request.bytes()).expect("the connection is open");
        let answer = connection.read_answer("POST").expect("each request is answered");
        assert_eq!(
            (answer.status, answer.header("connection")),
            (if bytes > 100_000 { 413 } else { 400 }, None),
            "{bytes}"
        );
    }
}

#[test]
fn a_request_for_an_upgrade_is_answered_and_the_end_of_its_connection_announced() {
    let server = Server::start();
    let key = server.key("amy@agency.gov.sg");
    for _ in 0..3 {
        let request = server.request("POST", "/api/v1/urls").key(&key).header("Connection", "Upgrade, HTTP2-Settings");
        let request = request.header("Upgrade", "h2c").header("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA");
        let answer = request.json(&serde_json::json!({"longUrl": "https://example.com"})).send();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{}", answer.text());
    }
}
