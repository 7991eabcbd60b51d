//! The log: JSON when nobody watches, a line per API request, none per redirect, nothing secret or personal.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    console::{Desk, password_in},
    harness::{CHROME, Home, Server, eventually},
    smtp_server::SmtpServer,
};

#[test]
fn an_api_request_logs_one_line_with_a_request_id_and_a_redirect_none() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/form");
    let is_request = |line: &String| {
        let fields: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        let names = fields.as_object().expect("a line is an object").keys();
        names.into_iter().any(|name| name.to_lowercase().replace(['.', '_'], "").contains("requestid"))
    };
    let request_lines = || server.log().iter().filter(|line| is_request(line)).count();
    eventually("creating is logged", || (request_lines() >= 1).then_some(()));
    let before = server.log().len();
    for _ in 0..20 {
        server.follow("form");
        server.follow("never-made");
        server.get("/form").user_agent(CHROME).send();
    }
    amy.list("");
    eventually("listing is logged", || (request_lines() >= 2).then_some(()));
    let lines = server.log();
    assert_eq!(lines.len(), before + 1, "one for the list, none for 60 visits:\n{}", lines[before..].join("\n"));
}

#[test]
fn nothing_secret_or_personal_is_logged_at_any_level() {
    for level in ["info", "trace"] {
        assert_nothing_private_at(level);
    }
}

fn assert_nothing_private_at(level: &str) {
    let server = Server::with(&[("log.level", level)]);
    server.get("/visited-code?visit=query-of-a-visit").user_agent("agent-of-a-visitor").send();
    let amy = server.officer("amy.tan@agency.gov.sg");
    amy.creates("form", "https://example.com/form?token=query-of-a-target");
    amy.update("form", &json!({"longUrl": "https://example.com/form?token=query-of-a-target-2"}));
    amy.list("searchText=text-that-was-sought");
    amy.create(&json!({"longUrl": "x-of-a-refused-target", "foo-field": 1}));
    server.get("/api/v1/urls").key("mlk_abcdef_a-secret-that-is-wrong").send();
    server.request("POST", "/api/v1/urls").body("application/json", "{broken-body").send();
    server.finish();
    let secret = amy.key.splitn(3, '_').nth(2).expect("a key is mlk_<id>_<secret>");
    for line in server.log() {
        for private in [
            secret,
            "amy.tan",
            "query-of-a-target",
            "text-that-was-sought",
            "x-of-a-refused-target",
            "a-secret-that-is-wrong",
            "broken-body",
            "visited-code",
            "query-of-a-visit",
            "agent-of-a-visitor",
        ] {
            assert!(!line.contains(private), "{level}: {private} is logged: {line}");
        }
    }
}

#[test]
fn a_login_by_mail_leaves_no_password_and_no_address_in_the_log_at_any_level() {
    let smtp = SmtpServer::start(None, "250 ok");
    let url = format!("smtp://go:secret-of-the-mail-server@{}", smtp.address);
    let server = Home::new().set("smtp.url", url).set("log.level", "trace").start();
    let mut desk = Desk::at(&server);
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", "amy.tan@agency.gov.sg")]).assert_page("asking", 200);
    let mail = smtp.awaits_mail();
    let login = mail.login.expect("Merlink logs in to the mail server");
    let password = password_in(&mail.text);
    server.finish();
    for line in server.log() {
        for private in [&login, &password, "secret-of-the-mail-server", "amy.tan"] {
            assert!(!line.contains(private), "{private} is logged: {line}");
        }
    }
}

#[test]
fn the_level_is_raised_and_set_back_while_the_service_runs() {
    let server = Server::start();
    server.expect_log("the log's level is");
    let amy = server.officer("amy@agency.gov.sg");
    let is_at = |level: &str| {
        let said = format!("the log's level is {level} from now on");
        eventually(level, || server.log().iter().any(|line| line.contains(&said)).then_some(()));
    };
    // An entry that isn't its owner's is worth a line to who looks for faults.
    let debugged = |code: &str| {
        amy.creates(code, "https://example.com/form");
        let link = format!("l:{{{code}}}");
        redis::cmd("HSET").arg(link).arg("o").arg("bob@agency.gov.sg").exec(&mut server.redis()).expect("Redis obeys");
        amy.list("");
        server.log().iter().filter(|line| line.contains("\"DEBUG\"")).count()
    };
    assert_eq!(debugged("one"), 0);
    server.signal(Signal::USR1);
    is_at("DEBUG");
    debugged("two");
    let is_debug = |line: &String| line.contains("\"DEBUG\"");
    eventually("more is logged", || server.log().iter().any(is_debug).then_some(()));
    server.signal(Signal::USR1);
    is_at("TRACE");
    server.signal(Signal::USR2);
    is_at("INFO");
    let before = debugged("three");
    assert_eq!(debugged("four"), before);
}

#[test]
fn the_time_that_a_request_took_has_fractions_of_a_millisecond() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    // One in a thousand takes whole milliseconds, to the microsecond.
    for _ in 0..20 {
        amy.list("");
    }
    eventually("all are logged", || {
        let durations: Vec<f64> = server
            .log()
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["duration_ms"].as_f64())
            .collect();
        (durations.len() >= 20 && durations.iter().any(|ms| ms.fract() != 0.0)).then_some(())
    });
}

#[test]
fn each_line_of_the_log_carries_time_level_and_message() {
    let server = Server::start();
    server.officer("amy@agency.gov.sg").list("");
    server.finish();
    let lines = server.log();
    assert!(!lines.is_empty());
    for line in lines {
        let fields: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        for name in ["timestamp", "level", "message"] {
            assert!(fields[name].as_str().is_some_and(|text| !text.is_empty()), "no {name} in {line}");
        }
    }
}
