//! The operator port: metrics by name, type and labels; health; readiness.

use std::{fs, io::Read as _};

use flate2::read::GzDecoder;
use serde_json::json;

use crate::{
    harness::{CHROME, CURL, Home, Server, eventually},
    http::Request,
    redis_server::RedisServer,
};

/// The contract's table: name, type, and the labels that every sample of it has.
const METRICS: [(&str, &str, &[&str]); 23] = [
    ("merlink_redirects_total", "counter", &["outcome"]),
    ("merlink_redirect_duration_seconds", "histogram", &["outcome"]),
    ("merlink_link_cache_lookups_total", "counter", &["result"]),
    ("merlink_link_cache_entries", "gauge", &[]),
    ("merlink_clicks_recorded_total", "counter", &[]),
    ("merlink_clicks_flushed_total", "counter", &[]),
    ("merlink_clicks_lost_total", "counter", &[]),
    ("merlink_clicks_pending", "gauge", &[]),
    ("merlink_clicks_oldest_pending_seconds", "gauge", &[]),
    ("merlink_click_flush_duration_seconds", "histogram", &[]),
    ("merlink_click_journal_bytes", "gauge", &[]),
    ("merlink_redis_up", "gauge", &[]),
    ("merlink_redis_command_duration_seconds", "histogram", &["operation"]),
    ("merlink_http_requests_total", "counter", &["api", "route", "method", "status"]),
    ("merlink_http_request_duration_seconds", "histogram", &["api", "route", "method", "status"]),
    ("merlink_links_created_total", "counter", &["source"]),
    ("merlink_auth_failures_total", "counter", &["kind"]),
    ("merlink_build_info", "gauge", &[]),
    ("process_cpu_seconds_total", "counter", &[]),
    ("process_open_fds", "gauge", &[]),
    ("process_max_fds", "gauge", &[]),
    ("process_resident_memory_bytes", "gauge", &[]),
    ("process_start_time_seconds", "gauge", &[]),
];

#[test]
fn every_metric_of_the_contract_is_there_with_its_type_and_labels() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("secret-code", "https://example.com/form");
    amy.creates("switched-off", "https://example.com/form");
    amy.switches("switched-off", "INACTIVE");
    server.get("/api/v1/urls").send();
    server.follow("secret-code");
    server.follow("secret-code");
    server.get("/secret-code").user_agent(CHROME).send();
    server.follow("never-made-code");
    server.follow("never-made-code");
    server.follow("switched-off");
    server.await_flushed();

    let answer = server.operator("/metrics").send();
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "Content-Type: {kind}");
    let metrics = server.metrics();
    for (name, kind, labels) in METRICS {
        assert_eq!(metrics.type_of(name), Some(kind), "{name}: type");
        let samples = if kind == "histogram" {
            assert!(!metrics.samples(&format!("{name}_sum")).is_empty(), "{name}: no sum");
            assert!(!metrics.samples(&format!("{name}_bucket")).is_empty(), "{name}: no bucket");
            metrics.samples(&format!("{name}_count"))
        } else {
            metrics.samples(name)
        };
        assert!(!samples.is_empty(), "{name}: no sample");
        for (found, _) in samples {
            for label in labels {
                assert!(found.contains_key(*label), "{name}: no label {label} in {found:?}");
            }
        }
    }

    for (outcome, count) in [("redirect", 2.0), ("transition", 1.0), ("not_found", 2.0), ("gone", 1.0)] {
        assert_eq!(metrics.with("merlink_redirects_total", &[("outcome", outcome)]), count, "{outcome}");
        let timed = metrics.with("merlink_redirect_duration_seconds_count", &[("outcome", outcome)]);
        assert_eq!(timed, count, "{outcome}: each is timed");
    }
    for result in ["hit", "miss", "negative"] {
        let count = metrics.with("merlink_link_cache_lookups_total", &[("result", result)]);
        assert!(count >= 1.0, "{result}: {count}");
    }
    for (name, value) in [
        ("merlink_redis_up", 1.0),
        ("merlink_clicks_recorded_total", 3.0),
        ("merlink_clicks_flushed_total", 3.0),
        ("merlink_clicks_pending", 0.0),
        ("merlink_clicks_lost_total", 0.0),
        ("merlink_clicks_oldest_pending_seconds", 0.0),
        ("merlink_build_info", 1.0),
    ] {
        assert_eq!(metrics.sum(name), value, "{name}");
    }
    assert!(metrics.sum("merlink_link_cache_entries") >= 1.0);
    assert!(metrics.sum("merlink_click_journal_bytes") >= 1.0);
    assert_eq!(metrics.with("merlink_links_created_total", &[("source", "api")]), 2.0);
    for (method, status, count) in [("POST", "200", 2.0), ("PATCH", "200", 1.0), ("GET", "401", 1.0)] {
        let labels = [("api", "v1"), ("method", method), ("status", status)];
        assert_eq!(metrics.with("merlink_http_requests_total", &labels), count, "{method} {status}");
    }
    assert!(!metrics.0.contains("-code") && !metrics.0.contains("switched-off"), "no code or raw path: {}", metrics.0);
}

#[test]
fn strange_methods_and_paths_make_no_new_labels() {
    let server = Server::start();
    let key = server.key("amy@agency.gov.sg");
    for (method, path) in [
        ("BREW", "/api/v1/urls"),
        ("GET", "/api/v1/strange-path"),
        ("STRANGE-METHOD", "/api/v1/strange-path/x"),
        ("GET", "/strange-path"),
    ] {
        let status = server.request(method, path).key(&key).send().status;
        assert!((400..500).contains(&status), "{method} {path}: {status}");
    }
    let metrics = server.metrics().0.to_lowercase();
    for strange in ["brew", "strange-method", "strange-path"] {
        assert!(!metrics.contains(strange), "{strange} in:\n{metrics}");
    }
}

#[test]
fn health_and_readiness_are_answered_on_the_operator_port_only() {
    let server = Server::start();
    assert_eq!(server.operator("/healthz").send().status, 200, "/healthz");
    let ready = server.operator("/readyz").send();
    assert_eq!(ready.status, 200, "/readyz");
    assert!(ready.header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "/readyz");
    let ready = ready.json();
    assert!(ready.is_object(), "{ready}");
    assert!(ready.to_string().to_lowercase().contains("redis"), "per dependency: {ready}");
    for path in ["/metrics", "/healthz", "/readyz"] {
        let public = server.get(path).user_agent(CURL).send();
        assert_eq!(public.status, 404, "{path} on the public port is a code like any other");
        assert!(!public.text().contains("merlink_"), "{path} on the public port");
    }
}

#[test]
fn the_operator_port_serves_nothing_else() {
    let server = Server::start();
    server.officer("amy@agency.gov.sg").creates("form", "https://example.com");
    for path in ["/", "/form", "/api/v1/urls", "/nothing", "/metrics/x", "/%ff", "/..%2fmetrics"] {
        assert_eq!(server.operator(path).send().status, 404, "{path}");
    }
    for path in ["/metrics", "/healthz", "/readyz"] {
        let answer = Request::new(server.operator_address(), "POST", path).json(&json!({})).send();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "POST {path}");
        // As some probes ask.
        let answer = Request::new(server.operator_address(), "HEAD", path).send();
        assert_eq!((answer.status, answer.text()), (200, String::new()), "HEAD {path}");
    }
}

#[test]
fn metrics_are_compressed_for_who_takes_that() {
    let server = Server::start();
    let plain = server.operator("/metrics").send();
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("Accept-Encoding")));
    for (accepted, is_compressed) in
        [("gzip", true), ("deflate, GZIP;q=0.5", true), ("gzip;q=0", false), ("br", false), ("x-gzip-no", false)]
    {
        let answer = server.operator("/metrics").header("Accept-Encoding", accepted).send();
        assert_eq!(answer.header("content-encoding") == Some("gzip"), is_compressed, "{accepted}");
        if is_compressed {
            let mut text = String::new();
            GzDecoder::new(&answer.body[..]).read_to_string(&mut text).expect("gzip");
            assert!(text.contains("merlink_build_info"), "{text}");
            assert!(answer.body.len() * 3 < plain.body.len(), "{} of {} bytes", answer.body.len(), plain.body.len());
        }
    }
}

#[test]
fn redis_files_and_the_build_are_told() {
    let server = Server::start();
    server.officer("amy@agency.gov.sg").creates("form", "https://example.com");
    server.finish();
    server.start_again();
    let metrics = server.metrics();
    let bytes = metrics.sum("merlink_redis_file_bytes");
    assert!(bytes > 0.0, "{}", metrics.0);
    assert!((metrics.sum("merlink_redis_loading_seconds") - bytes / 40e6).abs() < 0.01);
    assert_eq!(metrics.sum("merlink_redis_file_failed"), 0.0);
    let (labels, _) = &metrics.samples("merlink_build_info")[0];
    assert!(labels.contains_key("version") && labels.contains_key("commit"), "{labels:?}");
}

#[test]
fn a_snapshot_that_redis_could_not_save_and_the_last_fork_are_told() {
    let redis = RedisServer::start();
    let mut connection = redis.connect().expect("Redis answers");
    // A folder that isn't empty stands where the snapshot belongs.
    fs::create_dir_all(redis.directory().join("dump.rdb/full")).expect("the temporary directory can be written");
    redis::cmd("BGSAVE").exec(&mut connection).expect("Redis begins");
    eventually("Redis says that it failed", || {
        let info: String = redis::cmd("INFO").arg("persistence").query(&mut connection).ok()?;
        info.contains("rdb_last_bgsave_status:err").then_some(())
    });
    let server = Home::new().set("redis.url", redis.url()).start();
    let metrics = server.metrics();
    assert_eq!(metrics.sum("merlink_redis_file_failed"), 1.0);
    assert_eq!(metrics.sum("merlink_redis_unsafe"), 0.0, "what was acknowledged is in the append-only file");
    assert!(metrics.sum("merlink_redis_fork_seconds") > 0.0, "{}", metrics.0);
    assert_eq!(metrics.sum("merlink_redis_file_rewriting"), 0.0);
}

#[test]
fn sums_agree_at_any_moment() {
    let server = Server::start();
    server.officer("amy@agency.gov.sg").creates("form", "https://example.com");
    for _ in 0..50 {
        server.follow("form");
        // Four numbers of one scrape: pending is what was recorded and is neither flushed nor lost yet.
        let metrics = server.metrics();
        let known = metrics.sum("merlink_clicks_flushed_total")
            + metrics.sum("merlink_clicks_pending")
            + metrics.sum("merlink_clicks_lost_total");
        assert_eq!(metrics.sum("merlink_clicks_recorded_total"), known, "{}", metrics.0);
    }
}
