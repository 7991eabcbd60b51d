//! What watches Merlink, checked with Prometheus' own tools: metrics, rules and their unit tests, the dashboard, and a runbook for each alert.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::harness::{CHROME, Server};

const RULES: &str = "deploy/prometheus/merlink.rules.yml";
const RULE_TESTS: [&str; 2] =
    ["deploy/prometheus/merlink.rules.test.yml", "deploy/prometheus/merlink.rules.days.test.yml"];
const DASHBOARD: &str = "deploy/grafana/merlink.json";

/// Of a busy server: 64 series are one histogram with three labels, so this leaves room for a few more, and none for a label that a
/// visitor can choose.
const SERIES_MAX: usize = 2_500;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs `promtool`, which must find nothing to say against it.
#[track_caller]
fn promtool(arguments: &[&str], input: &str) {
    let folder = tempfile::TempDir::new().expect("a temporary directory can be made");
    let stdin = folder.path().join("stdin");
    fs::write(&stdin, input).expect("the temporary directory can be written");
    let ran = Command::new("promtool")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(fs::File::open(&stdin).expect("was written"))
        .output()
        .expect("promtool runs: make test-all installs it");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "promtool {}:\n{out}\n{err}", arguments.join(" "));
    assert!(!err.contains("FAILED"), "promtool {}:\n{out}\n{err}", arguments.join(" "));
}

#[test]
fn prometheus_takes_the_configuration_and_the_rules() {
    promtool(&["check", "config", "deploy/prometheus/prometheus.yml"], "");
    promtool(&["check", "rules", "--lint-fatal", RULES], "");
}

#[test]
fn every_rule_does_what_its_unit_tests_say() {
    promtool(&["test", "rules", RULE_TESTS[0], RULE_TESTS[1]], "");
}

#[test]
fn every_alert_has_a_unit_test_in_which_it_calls_and_one_in_which_it_is_silent() {
    let tests = RULE_TESTS.map(text).concat();
    let checks: Vec<&str> = tests.split("alertname: ").skip(1).collect();
    for alert in alerts() {
        let of_this = checks.iter().filter(|check| check.lines().next() == Some(&alert.name));
        let is_silent = |check: &str| check.lines().nth(1).is_some_and(|line| line.trim() == "exp_alerts: []");
        let (silences, calls): (Vec<&str>, Vec<&str>) = of_this.partition(|check| is_silent(check));
        assert!(!calls.is_empty(), "{}: no test in which it calls", alert.name);
        assert!(!silences.is_empty(), "{}: no test in which it is silent", alert.name);
    }
}

#[test]
fn every_alert_says_how_grave_it_is_and_where_its_runbook_is() {
    let runbook = text("docs/operations.md");
    let anchors: BTreeSet<String> =
        runbook.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_lowercase).collect();
    let alerts = alerts();
    assert!(alerts.len() > 15, "{} alerts", alerts.len());
    for alert in &alerts {
        let name = &alert.name;
        assert!(["critical", "warning"].contains(&alert.field("severity")), "{name}: {}", alert.field("severity"));
        assert!(!alert.field("summary").is_empty(), "{name}: no summary");
        let (_, anchor) = alert.field("runbook_url").rsplit_once('#').expect("an anchor");
        assert_eq!(anchor.trim_end_matches('\''), name.to_lowercase(), "{name}: the anchor of its own section");
        assert!(anchors.contains(&name.to_lowercase()), "{name}: docs/operations.md has no section of this name");
        let section = runbook.split(&format!("### {name}\n")).nth(1).expect("was found above");
        let section = section.split("\n### ").next().expect("split gives one part at least");
        for part in ["**Means**", "**See**", "**Do**"] {
            assert!(section.contains(part), "{name}: its section doesn't say {part}");
        }
    }
    for section in runbook.lines().filter_map(|line| line.strip_prefix("### Merlink")) {
        assert!(alerts.iter().any(|alert| alert.name == format!("Merlink{section}")), "no alert Merlink{section}");
    }
}

#[test]
fn panels_that_the_runbook_names_are_on_the_dashboard() {
    let (runbook, dashboard) = (text("docs/operations.md"), text(DASHBOARD));
    let looks: Vec<&str> = runbook.split("**See**").skip(1).filter_map(|rest| rest.split("**Do**").next()).collect();
    let panels: Vec<&str> = looks
        .iter()
        .flat_map(|look| look.split('"').skip(1).step_by(2))
        .filter(|name| name.starts_with(|first: char| first.is_ascii_uppercase()))
        .collect();
    assert!(panels.len() > 10, "{panels:?}");
    for panel in panels {
        assert!(dashboard.contains(&format!("\"title\": \"{panel}\"")), "no panel {panel:?}");
    }
}

#[test]
fn what_rules_and_dashboard_name_is_there() {
    let server = busy_server();
    let metrics = server.metrics().0;
    let rules = text(RULES);
    let recorded: BTreeSet<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    let dashboard = queries();
    assert!(recorded.len() > 10 && dashboard.len() > 30, "{} records, {} queries", recorded.len(), dashboard.len());
    let named: BTreeSet<&str> = rules.lines().chain(dashboard.iter().map(String::as_str)).flat_map(names).collect();
    for name in &named {
        let is_there = || {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            metrics.contains(&format!("# TYPE {family} ")) || metrics.contains(&format!("# TYPE {name} "))
        };
        let known = if name.contains(':') { recorded.contains(name) } else { is_there() };
        assert!(known, "{name} is neither in /metrics nor recorded");
    }
    for name in ["merlink_redis_up", "merlink_clicks_lost_total", "job:merlink_redirects:rate5m"] {
        assert!(named.contains(name), "{name} isn't watched: {named:?}");
    }
    // Values that a query picks must be among those that the label has.
    for query in rules.lines().chain(dashboard.iter().map(String::as_str)) {
        for label in ["outcome", "result", "operation", "kind", "le"] {
            for value in picked(query, label) {
                assert!(metrics.contains(&format!("{label}=\"{value}\"")), "{label}={value} in {query}");
            }
        }
    }
}

#[test]
fn prometheus_understands_every_query_of_the_dashboard() {
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, query) in queries().iter().enumerate() {
        let query = query.replace("$__rate_interval", "5m").replace("$job", "merlink").replace("$instance", ".*");
        let _ = write!(rules, "      - record: query:{number}\n        expr: '{}'\n", query.replace('\'', "''"));
    }
    let folder = tempfile::TempDir::new().expect("a temporary directory can be made");
    let path = folder.path().join("dashboard.yml");
    fs::write(&path, rules).expect("the temporary directory can be written");
    promtool(&["check", "rules", path.to_str().expect("UTF-8")], "");
}

#[test]
fn promtool_has_nothing_against_the_metrics() {
    promtool(&["check", "metrics"], &busy_server().metrics().0);
}

#[test]
fn no_visitor_and_no_officer_can_make_the_metrics_grow() {
    let server = busy_server();
    let series = |server: &Server| server.metrics().0.lines().filter(|line| !line.starts_with('#')).count();
    let before = series(&server);
    let key = server.key("amy@agency.gov.sg");
    for number in 0..100 {
        server.follow(&format!("unknown-{number}"));
        server.get(&format!("/api/v1/urls?made-up-{number}=1")).key(&key).send();
        server.get(&format!("/api/v1/made-up-{number}/x")).key(&key).send();
        server.request(&format!("METHOD{number}"), "/api/v1/urls").key(&key).send();
        server.get("/api/v1/urls").key(&format!("mlk_{number}_x")).header("X-Request-Id", format!("{number}")).send();
        server.officer_with_key(&key).creates(&format!("code-{number}"), "https://example.com");
    }
    let after = series(&server);
    // Routes and statuses that nobody had asked for yet may appear once: one series a bucket.
    assert!(after - before < 200, "{before} series, then {after}");
    assert!(after < SERIES_MAX, "{after} series");
}

#[test]
fn the_buckets_tell_a_redirect_of_50_us_from_one_of_100_and_an_outage_of_2_s_from_one_that_never_ends() {
    let server = busy_server();
    let buckets: Vec<f64> = server
        .metrics()
        .samples("merlink_redirect_duration_seconds_bucket")
        .into_iter()
        .filter(|(labels, _)| labels["outcome"] == "redirect" && labels["le"] != "+Inf")
        .map(|(labels, _)| labels["le"].parse().expect("a number"))
        .collect();
    for bound in [0.000_05, 0.000_1, 0.05, 1.0, 2.0] {
        assert!(buckets.contains(&bound), "{bound} in {buckets:?}");
    }
    // The promise of 50 ms is kept or broken at the bound of a bucket, not somewhere within one.
    assert!(text(RULES).contains(r#"le="0.05""#));
}

/// One that has answered in every way that needs no fault.
fn busy_server() -> Server {
    let server = Server::with(&[("limits.misses_per_minute", "2")]);
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/form");
    amy.creates("off", "https://example.com/off");
    amy.switches("off", "INACTIVE");
    server.follow("form");
    server.follow("form");
    server.get("/form").user_agent(CHROME).send();
    server.follow("off");
    for _ in 0..4 {
        server.follow("never-made");
    }
    server.get("/api/v1/urls").send();
    server.get("/api/v1/urls").key("mlk_wrong_key").send();
    server.await_flushed();
    server
}

struct Alert {
    name: String,
    text: String,
}

impl Alert {
    fn field(&self, name: &str) -> &str {
        let lines = self.text.lines().map(str::trim);
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        values.next().unwrap_or_default()
    }
}

fn alerts() -> Vec<Alert> {
    let rules = text(RULES);
    let parts = rules.split("- alert: ").skip(1);
    parts.map(|part| Alert { name: part.lines().next().expect("a name").to_owned(), text: part.to_owned() }).collect()
}

/// Every query of the dashboard, its annotations' too.
fn queries() -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(query) = fields.get("expr").and_then(Value::as_str) {
                    found.push(query.to_owned());
                }
                fields.values().for_each(|value| collect(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).expect("the dashboard is JSON");
    let mut found = Vec::new();
    collect(&dashboard, &mut found);
    found
}

/// The metrics of ours, and those of the process, that a line of a query names.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split_once('#').map_or(line, |(code, _)| code);
    let words = code.split(|character: char| !character.is_ascii_alphanumeric() && !"_:".contains(character));
    words
        .filter(|word| ["merlink_", "process_", "job:"].iter().any(|prefix| word.starts_with(prefix)))
        .filter(|word| word.len() > "process_".len())
}

/// The values that a query picks, or leaves out, of a label.
fn picked(query: &str, label: &str) -> Vec<String> {
    let mut found = Vec::new();
    for operator in ["=~", "!~", "!=", "="] {
        for part in query.split(&format!("{label}{operator}\"")).skip(1) {
            let values = part.split('"').next().unwrap_or_default();
            found.extend(values.split('|').map(str::to_owned));
        }
    }
    found
}
