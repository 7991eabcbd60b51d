//! `POST /batch` and `GET /export`: many links in one request, and all of them in one answer.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    api_v2::{Program, TARGET},
    harness::{Home, Server, eventually},
    http::Answer,
    proxy::Proxy,
    redis_server::RedisServer,
};

const HEADER: &str =
    "code,target_url,state,owner,description,contact_email,tags,forward_query,expires_at,created_at,clicks";

#[track_caller]
fn batch(program: &Program<'_>, query: &str, media_type: &str, body: &str) -> Answer {
    let path = format!("/batch{query}");
    program.request("POST", &path).body(media_type, body).send().conventional(&path)
}

/// Row, status, and the code or the kind of the problem, of each result.
fn results(batch: &Value) -> Vec<(u64, u64, String)> {
    let results = batch["results"].as_array().unwrap_or_else(|| panic!("results in {batch}"));
    let said = |result: &Value| {
        let problem = result["problem"]["type"].as_str().map(|kind| kind.rsplit('/').next().unwrap_or(kind).to_owned());
        problem.or_else(|| result["link"]["code"].as_str().map(str::to_owned)).unwrap_or_default()
    };
    results
        .iter()
        .map(|result| {
            let number = |name: &str| result[name].as_u64().unwrap_or_else(|| panic!("{name} in {result}"));
            (number("row"), number("status"), said(result))
        })
        .collect()
}

fn row(row: u64, status: u64, said: &str) -> (u64, u64, String) {
    (row, status, said.to_owned())
}

#[test]
fn every_row_is_answered_in_its_place_in_each_of_three_forms() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    amy.creates(&json!({"target_url": TARGET, "code": "taken"}));
    let rows = |name: &str| {
        [
            json!({"target_url": TARGET, "code": format!("{name}-a"), "tags": ["tax", "GST"], "forward_query": true}),
            json!({"target_url": TARGET, "code": "taken"}),
            json!({"target_url": "http://example.com", "code": "A b"}),
            json!({"target_url": TARGET, "code": format!("{name}-a")}),
            json!({"target_url": TARGET, "code": format!("{name}-b"), "state": "inactive", "description": "=1, \"x\""}),
        ]
    };
    let array = Value::from(rows("json").to_vec()).to_string();
    let lines = rows("lines").map(|row| row.to_string()).join("\n");
    let lines = format!("\u{feff}{lines}\r\n\n\n");
    let csv = format!(
        "\u{feff}code,target_url,tags,forward_query,state,description\r\ncsv-a,{TARGET},tax;GST,true,,\r\ntaken,{TARGET},,,,\r\n\
         A b,http://example.com,,,,\r\ncsv-a,{TARGET},,,,\r\ncsv-b,{TARGET},,,inactive,\"'=1, \"\"x\"\"\"\r\n\r\n\r\n"
    );
    for (name, media_type, body) in
        [("json", "application/json", array), ("lines", "application/x-ndjson", lines), ("csv", "text/csv", csv)]
    {
        let answer = batch(&amy, "", media_type, &body).assert_v2(name, 200);
        assert_eq!((&answer["created"], &answer["failed"]), (&json!(2), &json!(3)), "{answer}");
        let (a, b) = (format!("{name}-a"), format!("{name}-b"));
        let expected = [
            row(1, 201, &a),
            row(2, 409, "code-taken"),
            row(3, 422, "validation"),
            row(4, 409, "code-taken"),
            row(5, 201, &b),
        ];
        assert_eq!(results(&answer), expected, "{name}");
        let mistakes: Vec<&Value> = answer["results"][2]["problem"]["errors"]
            .as_array()
            .expect("errors")
            .iter()
            .map(|e| &e["pointer"])
            .collect();
        assert_eq!(mistakes, ["/target_url", "/code"], "{name}");
        let first = amy.link(&a);
        assert_eq!(
            (&first["tags"], &first["forward_query"], &first["source"]),
            (&json!(["tax", "GST"]), &json!(true), &json!("bulk"))
        );
        assert_eq!(answer["results"][0]["link"], first, "{name}");
        let second = amy.link(&b);
        assert_eq!((&second["state"], &second["description"]), (&json!("inactive"), &json!("=1, \"x\"")), "{name}");
    }
    assert_eq!(server.metrics().with("merlink_links_created_total", &[("source", "bulk")]), 6.0);
}

#[test]
fn a_dry_run_checks_without_creating() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    amy.creates(&json!({"target_url": TARGET, "code": "taken"}));
    let body = json!([
        {"target_url": TARGET, "code": "new"}, {"target_url": TARGET, "code": "taken"}, {"target_url": TARGET, "code": "api"},
        {"target_url": "x"}, {"target_url": TARGET}, {"target_url": TARGET, "code": "new"},
    ]);
    let answer = batch(&amy, "?dry_run=true", "application/json", &body.to_string()).assert_v2("dry run", 200);
    assert_eq!((&answer["created"], &answer["failed"]), (&json!(2), &json!(4)), "{answer}");
    let expected = [
        row(1, 201, ""),
        row(2, 409, "code-taken"),
        row(3, 409, "code-taken"),
        row(4, 422, "validation"),
        row(5, 201, ""),
        row(6, 409, "code-taken"),
    ];
    assert_eq!(results(&answer), expected);
    assert_eq!(amy.codes(&[]), ["taken"]);
}

#[test]
fn an_atomic_batch_is_created_whole_or_not_at_all() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    amy.creates(&json!({"target_url": TARGET, "code": "taken"}));
    for bad in [
        json!({"target_url": "x"}),
        json!({"target_url": TARGET, "code": "taken"}),
        json!({"target_url": TARGET, "code": "good"}),
    ] {
        let body = json!([{"target_url": TARGET, "code": "good"}, bad]).to_string();
        let answer = batch(&amy, "?atomic=true", "application/json", &body);
        let answer = answer.assert_problem(&body, 422, "batch-refused");
        assert_eq!((&answer["created"], &answer["failed"]), (&json!(0), &json!(2)), "{answer}");
        let found = results(&answer);
        assert_eq!(found[0], row(1, 422, "batch-refused"));
        assert!([row(2, 422, "validation"), row(2, 409, "code-taken")].contains(&found[1]), "{answer}");
        assert_eq!(amy.codes(&[]), ["taken"], "{body}");
    }
    let body = json!([{"target_url": TARGET, "code": "good"}, {"target_url": TARGET, "code": "better"}]).to_string();
    let answer = batch(&amy, "?atomic=true", "application/json", &body).assert_v2("all are good", 200);
    assert_eq!(results(&answer), [row(1, 201, "good"), row(2, 201, "better")]);
}

#[test]
fn a_batch_has_1_to_1000_rows_of_a_known_form() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let many = |count: usize| Value::from(vec![json!({"target_url": TARGET}); count]).to_string();
    let full = batch(&amy, "", "application/json", &many(1000)).assert_v2("1,000", 200);
    assert_eq!(full["created"], 1000);
    assert_eq!(full["results"].as_array().map(Vec::len), Some(1000));
    let csv = |columns: &str| format!("{columns}\nx,{TARGET}\n");
    for (about, media_type, body, status, kind) in [
        ("too many", "application/json", many(1001), 422, "validation"),
        ("none", "application/json", "[]".to_owned(), 422, "validation"),
        ("no array", "application/json", "{}".to_owned(), 422, "validation"),
        ("no JSON", "application/json", "[{]".to_owned(), 400, "malformed"),
        ("nothing", "text/csv", String::new(), 422, "validation"),
        ("a header alone", "text/csv", "target_url\n\n".to_owned(), 422, "validation"),
        ("no target", "text/csv", csv("code,url"), 422, "validation"),
        ("a column of nobody's", "text/csv", csv("codes,target_url"), 422, "validation"),
        ("a column twice", "text/csv", csv("target_url,Target_URL"), 422, "validation"),
        ("blank lines", "application/x-ndjson", "\n\n".to_owned(), 422, "validation"),
        ("another form", "text/plain", many(1), 415, "unsupported-media-type"),
        ("too large", "application/json", " ".repeat(5 * 1024 * 1024 + 1), 413, "body-too-large"),
    ] {
        batch(&amy, "", media_type, &body).assert_problem(about, status, kind);
    }
    let odd = batch(&amy, "", "application/x-ndjson", "nonsense\n[]\n{\"target_url\":1,\"foo\":2}\n")
        .assert_v2("odd rows", 200);
    assert_eq!(results(&odd), [row(1, 400, "malformed"), row(2, 422, "validation"), row(3, 422, "validation")]);
    let short =
        batch(&amy, "", "text/csv", &format!("code,target_url\na,{TARGET},more\n")).assert_v2("a long row", 200);
    assert_eq!(results(&short), [row(1, 400, "malformed")]);
    // As spreadsheets and Python write it.
    let flags =
        batch(&amy, "", "text/csv", &format!("target_url,forward_query\n{TARGET},True\n{TARGET},FALSE\n{TARGET},so\n"))
            .assert_v2("flags", 200);
    let forwards = |row: usize| flags["results"][row]["link"]["forward_query"].as_bool();
    assert_eq!((forwards(0), forwards(1), forwards(2)), (Some(true), Some(false), None), "{flags}");
    batch(&amy, "?dry_run=yes&atom=1", "application/json", &many(1))
        .assert_mistakes("parameters", &["dry_run", "atom"]);
}

#[test]
fn an_answer_names_twenty_mistakes_a_row_and_a_thousand_in_all_and_counts_the_others() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let row_with = |unknown: usize| {
        let mut row = json!({"target_url": TARGET});
        for number in 0..unknown {
            row[format!("u{number}")] = json!(1);
        }
        row
    };
    let mut rows: Vec<Value> = [19, 20, 21, 577].map(row_with).into();
    rows.extend(vec![row_with(30); 60]);
    let answer = batch(&amy, "?dry_run=true", "application/json", &Value::Array(rows).to_string());
    let answer = answer.assert_v2("a batch of mistakes", 200);
    let problem = |row: usize| &answer["results"][row - 1]["problem"];
    let named = |row: usize| problem(row)["errors"].as_array().map_or(0, Vec::len);
    for (row, errors, omitted) in [(1, 19, json!(null)), (2, 20, json!(null)), (3, 20, json!(1)), (4, 20, json!(557))] {
        assert_eq!((named(row), &problem(row)["errors_omitted"]), (errors, &omitted), "row {row}");
    }
    let detail = problem(4)["detail"].as_str().expect("a sentence");
    assert!(detail.starts_with("577 mistakes: ") && detail.contains("and 557 more"), "{detail}");
    assert_eq!((1..=64).map(named).sum::<usize>(), 1_000, "in all");
    // 79 of the first four rows, 46 rows of 20, and what is left of the thousand.
    assert_eq!((named(50), named(51), named(52)), (20, 1, 0));
    assert_eq!(problem(64)["errors_omitted"], 30);
}

#[test]
fn a_batch_sent_again_creates_nothing_twice() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let body = json!([{"target_url": TARGET}, {"target_url": TARGET, "code": "a"}, {"target_url": "x"}]).to_string();
    let send = || {
        let request =
            amy.request("POST", "/batch").header("Idempotency-Key", "k").body("application/json", body.clone());
        request.send().conventional("batch")
    };
    let first = send();
    let again = send();
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    assert_eq!(amy.codes(&[]).len(), 2);
}

#[test]
fn a_batch_and_an_export_ask_for_their_scopes() {
    let server = Server::start();
    let reader = server.program_with_scopes("amy@agency.gov.sg", "links:read");
    let writer = server.program_with_scopes("amy@agency.gov.sg", "links:write");
    let body = json!([{"target_url": TARGET}]).to_string();
    batch(&reader, "", "application/json", &body).assert_problem("reader", 403, "forbidden");
    writer.get("/export").assert_problem("writer", 403, "forbidden");
    let other = json!([{"target_url": TARGET, "owner": "ben@agency.gov.sg"}]).to_string();
    let answer = batch(&writer, "", "application/json", &other).assert_v2("somebody else's", 200);
    assert_eq!(results(&answer), [row(1, 403, "forbidden")]);
    reader.get("/export?limit=1").assert_mistakes("parameters", &["limit"]);
}

#[test]
fn a_batch_whose_store_goes_is_answered_row_by_row_without_waiting_for_each() {
    let redis = RedisServer::on_tcp();
    let proxy = Proxy::before(redis.address());
    let server = Home::new().set("redis.url", proxy.url()).start();
    server.expect_log("redis");
    let amy = server.program("amy@agency.gov.sg");
    let rows = Value::from(vec![json!({"target_url": TARGET}); 1000]).to_string();
    // So that it is under way for long enough.
    proxy.delay(Duration::from_millis(10));
    let answer = thread::scope(|scope| {
        let sent = scope.spawn(|| batch(&amy, "", "application/json", &rows));
        let created = || server.metrics().with("merlink_links_created_total", &[("source", "bulk")]);
        // Six are under way at once, so with the seventh the first row is done.
        eventually("the first are created", || (created() >= 7.0).then_some(()));
        redis.freeze();
        // Within the client's patience; each row alone would take a second.
        sent.join().expect("is answered")
    });
    redis.thaw();
    let answer = answer.assert_v2("the store went", 200);
    let statuses: Vec<u64> = results(&answer).into_iter().map(|(_, status, _)| status).collect();
    assert_eq!((statuses.len(), statuses.first(), statuses.last()), (1000, Some(&201), Some(&503)));
    assert!(statuses.iter().all(|status| [201, 503].contains(status)), "{statuses:?}");
    server.await_ready();
}

#[test]
fn what_is_exported_can_be_sent_again_and_is_the_same() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let ben = server.program("ben@agency.gov.sg");
    ben.creates(&json!({"target_url": TARGET, "code": "bens"}));
    let many: Vec<Value> = (0..600).map(|number| json!({"target_url": TARGET, "code": format!("n{number}")})).collect();
    batch(&amy, "", "application/json", &Value::from(many).to_string()).assert_v2("many", 200);
    amy.creates(
        &json!({"target_url": "https://example.com/?a=1,2", "code": "-odd", "description": "@sum", "tags": ["a", "b"],
        "contact_email": "help@agency.gov.sg", "expires_at": "2099-01-01T00:00:00Z", "forward_query": true}),
    );
    amy.changes("-odd", &json!({"state": "inactive"}));
    server.follow("n0");
    server.await_flushed();

    let csv = amy.request("GET", "/export").header("Accept", "text/csv").send().conventional("csv");
    assert_eq!((csv.status, csv.header("content-type")), (200, Some("text/csv; charset=utf-8")));
    let text = csv.text();
    assert_eq!(text.lines().count(), 602, "601 links and a header: none of Ben's");
    assert_eq!(text.lines().next(), Some(HEADER));
    let odd = text.lines().last().expect("the youngest is last");
    assert!(
        odd.starts_with("'-odd,\"https://example.com/?a=1,2\",inactive,amy@agency.gov.sg,'@sum,help@agency.gov.sg,a;b,true,2099-01-01T00:00:00Z,2"),
        "{odd}"
    );
    assert!(text.lines().nth(1).is_some_and(|first| first.starts_with('n')), "{text}");
    let ndjson = amy.get("/export");
    assert_eq!(ndjson.header("content-type"), Some("application/x-ndjson"));
    let objects: Vec<Value> = ndjson.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(objects.len(), 601);
    assert_eq!(objects.iter().filter(|object| object["clicks"] == 1).count(), 1);

    // On another service the owner's key takes them all, but for naming an owner, which only administrators do.
    let other = Home::new().set("officers.admins", "amy@agency.gov.sg").start();
    let admin = other.program_with_scopes("amy@agency.gov.sg", "links:read links:write admin");
    let answer = batch(&admin, "", "text/csv", &text).assert_v2("sent again", 200);
    assert_eq!((&answer["created"], &answer["failed"]), (&json!(601), &json!(0)));
    let without_times = |text: &str| {
        let mut lines: Vec<String> =
            text.lines().map(|line| line.rsplitn(3, ',').last().unwrap_or(line).to_owned()).collect();
        lines.sort();
        lines
    };
    let again = admin.request("GET", "/export").header("Accept", "text/csv").send().text();
    assert_eq!(without_times(&again), without_times(&text));
}

#[test]
fn an_administrators_export_has_everybodys_links() {
    let server = Server::with(&[("officers.admins", "boss@agency.gov.sg")]);
    for name in ["amy", "ben"] {
        let program = server.program(&format!("{name}@agency.gov.sg"));
        program.creates(&json!({"target_url": TARGET, "code": name}));
    }
    let boss = server.program_with_scopes("boss@agency.gov.sg", "links:read admin");
    let codes: Vec<Value> = boss
        .get("/export")
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["code"].clone())
        .collect();
    assert_eq!(codes, ["amy", "ben"]);
    let nobody = server.program("cat@agency.gov.sg");
    assert_eq!(nobody.get("/export").text(), "");
    let csv = nobody.request("GET", "/export").header("Accept", "text/csv").send();
    assert_eq!(csv.text(), format!("{HEADER}\n"));
}
