//! Traces: what a collector gets of officers' requests, what it never gets, and that nobody waits for it.

use std::{collections::BTreeMap, net::TcpListener};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    api_v2::TARGET,
    console::Desk,
    harness::{CHROME, CURL, Home, Server, eventually},
    otlp_collector::{Collector, Export, Span, answer, refusal},
    redis_server::{RedisServer, free_address},
    tls,
};

const CALLER: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLERS_SPAN: &str = "00f067aa0ba902b7";

fn traced(collector: &Collector) -> Home {
    Home::new().set("traces.otlp_url", collector.url())
}

fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn traceparent(flags: &str) -> String {
    format!("00-{CALLER}-{CALLERS_SPAN}-{flags}")
}

/// How many spans came to this end.
fn counted(server: &Server, outcome: &str) -> f64 {
    server.metrics().with("merlink_trace_spans_total", &[("outcome", outcome)])
}

#[test]
fn a_request_is_a_span_with_its_exchanges_with_redis_under_it() {
    let collector = Collector::start();
    let server = traced(&collector).set("public.base_url", "http://go.example:8080").start();
    let amy = server.program("amy@agency.gov.sg");
    let created = amy.create(&json!({"code": "form", "target_url": TARGET}));
    created.assert_v2("creating", 201);
    let span = collector.awaits("POST /api/v2/links");
    let request_id = created.header("x-request-id").expect("an id");
    let expected = [
        ("http.request.method", "POST"),
        ("http.route", "/api/v2/links"),
        ("http.response.status_code", "201"),
        ("url.scheme", "http"),
        ("server.address", "go.example"),
        ("server.port", "8080"),
        ("request.id", request_id),
    ];
    assert_eq!(span.attributes, attributes(&expected), "and nothing else");
    assert!(!span.failed && span.parent.is_empty(), "{span:?}");

    let exchanges = collector.children(&span);
    let names: Vec<&str> = exchanges.iter().map(|exchange| exchange.name.as_str()).collect();
    assert!(names.contains(&"key_read") && names.contains(&"link_write"), "{names:?}");
    for exchange in &exchanges {
        let expected = [("db.system.name", "redis"), ("db.operation.name", exchange.name.as_str())];
        assert_eq!(exchange.attributes, attributes(&expected), "and nothing else");
        assert!(!exchange.is_server && !exchange.failed && exchange.trace == span.trace, "{exchange:?}");
        assert!(span.started <= exchange.started && exchange.ended <= span.ended, "{exchange:?} is within {span:?}");
    }

    let export = collector.exports().remove(0);
    assert_eq!(export.request_line, "POST /v1/traces HTTP/1.1");
    assert_eq!(export.headers["content-type"], "application/x-protobuf");
    let resource = export.resource();
    assert_eq!((resource["service.name"].as_str(), resource["service.version"].as_str()), ("merlink", "0.1.0"));
    assert!(!resource["host.name"].is_empty() && resource.len() == 3, "{resource:?}");

    let line = request_lines(&server).into_iter().find(|line| line["request.id"] == request_id).expect("is logged");
    assert_eq!(line["trace_id"], span.trace, "the way from the log to the trace: {line}");
}

fn request_lines(server: &Server) -> Vec<Value> {
    let lines = server.log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    lines.filter(|line| line["message"] == "request").collect()
}

#[test]
fn both_apis_and_the_console_are_traced_by_the_pattern_of_their_routes_and_visits_are_not() {
    let collector = Collector::start();
    let server = traced(&collector).start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    amy.switches("form", "ACTIVE");
    let mut desk = Desk::of(&server, "amy@agency.gov.sg");
    desk.sees("/console/links/form");
    for visit in ["/form", "/form", "/FORM.", "/form+", "/never-made", "/", "/robots.txt", "/api/v2/docs"] {
        server.get(visit).user_agent(CURL).header("traceparent", traceparent("01")).send();
    }
    server.get("/form").user_agent(CHROME).header("traceparent", traceparent("01")).send();
    server.request("BREW", "/api/v2/links/form").send();
    server.finish();

    let mut names: Vec<String> =
        collector.spans().into_iter().filter(|span| span.is_server).map(|span| span.name).collect();
    names.sort();
    let expected = [
        "GET /console/links/{code}",
        "GET /console/login",
        "HTTP /api/v2/links/{code}",
        "PATCH /api/v1/urls/{shortUrl}",
        "POST /api/v1/urls",
        "POST /console/login",
        "POST /console/login/password",
    ];
    assert_eq!(names, expected);
    let strange = collector.awaits("HTTP /api/v2/links/{code}");
    assert_eq!(strange.attributes["http.request.method"], "_OTHER");
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.name != "resolve" && span.trace != CALLER), "{spans:?}");
    let ids: Vec<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let orphans: Vec<&Span> =
        spans.iter().filter(|span| !span.is_server && !ids.contains(&span.parent.as_str())).collect();
    assert!(orphans.is_empty(), "{orphans:?}");
}

#[test]
fn a_callers_trace_is_continued_and_its_word_on_sampling_kept() {
    let collector = Collector::start();
    let server = traced(&collector).set("traces.sampled_share", "0").start();
    let amy = server.program("amy@agency.gov.sg");
    let ask = |path: &str, traceparent: &str| {
        let request = amy.request("GET", path).header("traceparent", traceparent);
        let answer = request.header("tracestate", "vendor=whose-it-is").send();
        assert_eq!(answer.status, 200, "{path}: {traceparent}");
    };
    ask("/me", &traceparent("00"));
    for malformed in ["", "x", "00-4bf9-01", &format!("00-{}-{CALLERS_SPAN}-01", "0".repeat(32)), "00-é-01"] {
        ask("/keys", malformed);
    }
    amy.get("/tags");
    ask("/links", &traceparent("01"));
    server.finish();

    let spans = collector.spans();
    let roots: Vec<&Span> = spans.iter().filter(|span| span.is_server).collect();
    assert_eq!(roots.len(), 1, "with a share of 0 only whom the caller samples: {roots:?}");
    assert_eq!((roots[0].name.as_str(), roots[0].parent.as_str()), ("GET /api/v2/links", CALLERS_SPAN));
    assert!(spans.len() > 1 && spans.iter().all(|span| span.trace == CALLER), "{spans:?}");
    assert!(spans.iter().all(|span| span.whole.trace_state.is_empty()), "{spans:?}");
    let traced: Vec<Value> = request_lines(&server).into_iter().filter(|line| line.get("trace_id").is_some()).collect();
    assert_eq!(traced.len(), 1, "{traced:?}");
    assert_eq!(traced[0]["trace_id"], CALLER);
}

#[test]
fn nothing_of_a_person_a_link_or_a_key_reaches_the_collector() {
    let collector = Collector::start();
    let server = traced(&collector).start();
    let amy = server.program("amy.tan@agency.gov.sg");
    let target = "https://www.example.com/of-a-target?token=in-a-query";
    amy.creates(
        &json!({"code": "code-of-a-link", "target_url": target, "tags": ["tag-of-a-link"], "description": "told-to-all"}),
    );
    amy.changes("code-of-a-link", &json!({"state": "inactive"}));
    amy.get("/links?q=sought-for&tag=tag-of-a-link");
    server.knows("ben.lim@agency.gov.sg");
    amy.transfer("code-of-a-link", "ben.lim@agency.gov.sg");
    amy.create(&json!({"code": "x-of-a-refused-link", "target_url": "refused-target"}));
    server.officer_with_key(&amy.key).list("searchText=sought-for");
    server.get("/api/v1/urls").key("mlk_abcdef_a-secret-that-is-wrong").send();
    server.get("/api/v2/path-that-is-not").key(&amy.key).user_agent("agent-of-a-person").send();
    let mut desk = Desk::of(&server, "ben.lim@agency.gov.sg");
    desk.sees("/console/links/code-of-a-link");
    desk.opens("/console/directory?q=sought-for");
    let fields = [("code", "made-at-a-desk"), ("target", "https://www.example.org/from-a-desk")];
    assert_eq!(desk.sends("/console/create", &fields).status, 303);
    server.finish();

    let spans = collector.spans();
    assert!(spans.iter().filter(|span| span.is_server).count() >= 14, "{spans:?}");
    let key: Vec<&str> = amy.key.splitn(3, '_').collect();
    let mut private = vec![
        key[1],
        key[2],
        "amy",
        "ben.lim",
        "agency",
        "of-a-",
        "www.example",
        "in-a-query",
        "told-to-all",
        "sought-for",
        "a-secret-that-is-wrong",
        "path-that-is-not",
        "at-a-desk",
        "127.0.0.1",
        "Mozilla",
        "Bearer",
    ];
    private.extend(desk.cookies.iter().map(|(_, value)| value.as_str()));
    for export in collector.exports() {
        let bytes = String::from_utf8_lossy(&export.body);
        for word in &private {
            assert!(!bytes.contains(word), "{word} in {:?}", export.spans());
        }
    }
}

#[test]
fn an_outage_of_redis_is_an_error_of_the_request_and_of_its_exchange() {
    let collector = Collector::start();
    let mut redis = RedisServer::start();
    let server = traced(&collector).set("redis.url", redis.url()).start();
    for announced in ["Redis is away", "can't be reached or didn't answer", "no answer"] {
        server.expect_log(announced);
    }
    let amy = server.program("amy@agency.gov.sg");
    amy.get("/nothing-there").assert_problem("a mistake of the caller's", 404, "not-found");
    let theirs = collector.awaits("GET /api/v2/{rest:.*}");
    assert!(!theirs.failed && !theirs.attributes.contains_key("error.type"), "no error of the service: {theirs:?}");

    redis.kill();
    assert_eq!(amy.get("/me").status, 503);
    let ours = collector.awaits("GET /api/v2/me");
    assert!(ours.failed, "{ours:?}");
    assert_eq!(
        (ours.attributes["http.response.status_code"].as_str(), ours.attributes["error.type"].as_str()),
        ("503", "503")
    );
    let exchanges = collector.children(&ours);
    let failed: Vec<&Span> = exchanges.iter().filter(|exchange| exchange.failed).collect();
    assert!(!failed.is_empty(), "{exchanges:?}");
    assert!(failed.iter().all(|exchange| exchange.attributes["error.type"] == "unavailable"), "{failed:?}");
    let told = |span: &Span| span.whole.status.as_ref().is_some_and(|status| !status.message.is_empty());
    assert!(!exchanges.iter().chain([&ours]).any(told), "what Redis said may name a key: {exchanges:?}");
    redis.start_again();
    server.await_ready();
}

#[test]
fn a_collector_is_reached_over_tls_with_its_headers_and_the_log_never_tells_them() {
    let (authority, tls) = tls::localhost();
    let collector = Collector::answering(&[answer(401, "")], Some(tls));
    let home = Home::new();
    let authority = home.write("collector.pem", &authority);
    let server = home
        .set("traces.otlp_url", format!("https://localhost:{}/v1/traces?key=in-the-address", collector.address.port()))
        .set("traces.tls_ca_file", authority.display().to_string())
        .set("traces.headers", "authorization=Bearer%20hunter2%2C, x-scope-orgid=links")
        .set("log.level", "trace")
        .start();
    server.expect_log("the collector answered 401");
    let amy = server.program("amy@agency.gov.sg");
    amy.get("/me");
    // What is refused for good isn't sent again.
    eventually("the refusal is counted", || (counted(&server, "failed") >= 2.0).then_some(()));
    amy.get("/tags");
    collector.awaits("GET /api/v2/tags");
    server.finish();
    let exports = collector.exports();
    assert_eq!(exports.iter().flat_map(Export::spans).filter(|span| span.name == "GET /api/v2/me").count(), 1);
    for export in exports {
        assert_eq!(export.request_line, "POST /v1/traces?key=in-the-address HTTP/1.1");
        assert_eq!(export.headers["authorization"], "Bearer hunter2,");
        assert_eq!(export.headers["x-scope-orgid"], "links");
    }
    for secret in ["hunter2", "in-the-address"] {
        let told: Vec<String> = server.log().into_iter().filter(|line| line.contains(secret)).collect();
        assert!(told.is_empty(), "{secret} in {told:?}");
    }
}

#[test]
fn a_collector_that_nobody_vouches_for_gets_nothing() {
    let (_, tls) = tls::localhost();
    let collector = Collector::answering(&[], Some(tls));
    let server = Home::new()
        .set("traces.otlp_url", format!("https://localhost:{}/v1/traces", collector.address.port()))
        .set("traces.headers", "authorization=hunter2")
        .start();
    server.expect_log("can't be exported");
    server.expect_log("the last traces are lost");
    server.program("amy@agency.gov.sg").get("/me");
    let warned = eventually("the failure is logged", || {
        server.log().into_iter().find(|line| line.contains("traces can't be exported"))
    });
    assert!(warned.contains("certificate"), "{warned}");
    server.finish();
    assert!(collector.exports().is_empty());
}

#[test]
fn what_a_collector_cannot_take_just_now_is_sent_again_and_what_it_refuses_is_counted() {
    let busy = answer(503, "Retry-After: 1\r\n");
    let collector = Collector::answering(&[busy, answer(200, ""), refusal(1)], None);
    let server = traced(&collector).start();
    server.expect_log("the collector answered 503");
    let amy = server.program("amy@agency.gov.sg");
    amy.get("/me");
    eventually("it is sent again", || (collector.exports().len() >= 2).then_some(()));
    let exports = collector.exports();
    assert_eq!(exports[0].body, exports[1].body, "the same");
    let spans = exports[1].spans().len() as f64;
    eventually("and counted once", || (counted(&server, "exported") == spans).then_some(()));
    assert_eq!((counted(&server, "failed"), counted(&server, "dropped")), (0.0, 0.0));

    amy.get("/tags");
    collector.awaits("GET /api/v2/tags");
    eventually("the refused one is counted", || (counted(&server, "failed") == 1.0).then_some(()));
    let warnings = server.log().iter().filter(|line| line.contains("traces can't be exported")).count();
    assert_eq!(warnings, 1, "one line a minute");
}

#[test]
fn a_collector_that_is_away_or_silent_costs_spans_and_nothing_else() {
    // Connections to it open, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    for address in [free_address(), silent.local_addr().expect("it listens")] {
        let server = Home::new().set("traces.otlp_url", format!("http://{address}/v1/traces")).start();
        server.expect_log("traces can't be exported");
        server.expect_log("the last traces are lost: the collector didn't take them within 2 s");
        let amy = server.program("amy@agency.gov.sg");
        // 512 are being sent, and 2,048 may wait.
        eventually("the queue is full", || {
            for _ in 0..100 {
                assert_eq!(amy.get("/me").status, 200, "{address}");
            }
            (counted(&server, "dropped") >= 1.0).then_some(())
        });
        amy.creates(&json!({"code": "form", "target_url": TARGET}));
        server.follow("form").assert_redirects("while the collector is away", TARGET);
        assert_eq!(counted(&server, "exported"), 0.0);
        server.finish();
        let log = server.log();
        assert!(log.iter().any(|line| line.contains("the last traces are lost")), "it gave up by itself: {log:?}");
    }
}

#[test]
fn a_collector_whose_name_is_never_found_holds_up_no_end() {
    let home = Home::new().set("traces.otlp_url", "http://collector.example/v1/traces");
    let Some(home) = home.where_names_are_never_found() else { return };
    let server = home.start();
    server.expect_log("the last traces are lost: the collector didn't take them within 2 s");
    server.program("amy@agency.gov.sg").get("/me").assert_v2("meanwhile", 200);
    server.finish();
    assert!(server.log().iter().any(|line| line.contains("the last traces are lost")), "{:?}", server.log());
}

#[test]
fn what_is_not_sent_yet_is_sent_before_the_end() {
    let collector = Collector::start();
    let server = traced(&collector).start();
    let amy = server.program("amy@agency.gov.sg");
    for _ in 0..20 {
        amy.get("/me");
    }
    assert_eq!(server.end_by(Signal::TERM), Some(0));
    let spans = collector.spans();
    assert_eq!(spans.iter().filter(|span| span.name == "GET /api/v2/me").count(), 20);
}

#[test]
fn without_an_address_no_collector_is_looked_for() {
    let collector = Collector::start();
    let address = collector.address;
    let server = Home::new()
        .environment("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"))
        .environment("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &collector.url())
        .environment("OTEL_TRACES_SAMPLER", "always_on")
        .start();
    let amy = server.program("amy@agency.gov.sg");
    let answer = amy.request("GET", "/me").header("traceparent", traceparent("01")).send();
    assert_eq!(answer.status, 200);
    assert_eq!(server.metrics().sum("merlink_trace_spans_total"), 0.0);
    server.finish();
    assert!(collector.exports().is_empty());
    let lines = request_lines(&server);
    assert!(lines.len() == 1 && lines[0].get("trace_id").is_none(), "{lines:?}");
}

#[test]
fn check_says_whether_the_collector_takes_traces() {
    let collector = Collector::answering(&[refusal(0), answer(403, "")], None);
    let home = traced(&collector).set("traces.sampled_share", "0.1").set("traces.headers", "authorization=hunter2");
    let ran = home.run(&["check"]);
    ran.assert_code(0);
    assert!(ran.stdout.contains(&format!("traces        {}, a share of 0.1\n", collector.url())), "{ran}");
    let ran = home.run(&["check"]);
    ran.assert_code(0);
    assert!(ran.stdout.contains("traces aren't taken") && ran.stdout.contains("answered 403"), "{ran}");
    assert!(!ran.to_string().contains("hunter2"), "{ran}");
    assert!(collector.spans().is_empty(), "it is asked without a span");
    assert_eq!(collector.exports()[0].headers["authorization"], "hunter2");

    let home = traced(&collector).set("traces.tls_ca_file", "/nowhere/ca.pem");
    for command in ["serve", "check"] {
        home.run(&[command]).assert_code(1).assert_names(&["traces.tls_ca_file", "/nowhere/ca.pem"]);
    }
    let home = Home::new().set("traces.otlp_url", "http://collector.example:4318").set("traces.headers", "hunter2");
    let ran = home.run(&["serve"]);
    ran.assert_code(1).assert_names(&["traces.otlp_url", "the path is missing", "traces.headers", "name=value"]);
    assert!(!ran.stderr.contains("hunter2"), "{ran}");
}
