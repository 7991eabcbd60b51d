//! The subcommands: what they print where, and their exit codes.

use std::time::Duration;

use serde_json::Value;

use crate::{
    harness::{Home, Server, eventually},
    proxy::Proxy,
    redis_server::{RedisServer, free_address},
};

#[test]
fn key_create_prints_the_key_alone_on_stdout() {
    let server = Server::start();
    for arguments in [
        &["key", "create", "--owner", "amy@agency.gov.sg"][..],
        &["key", "create", "--owner", "amy@agency.gov.sg", "--name", "tax office", "--expires-in", "90d"],
        &["key", "create", "--owner", "amy@agency.gov.sg", "--scope", "links:read", "--scope", "stats:read"],
    ] {
        let ran = server.home().run(arguments);
        ran.assert_code(0);
        let key = ran.stdout.strip_suffix('\n').unwrap_or_else(|| panic!("ends in a line break: {ran}"));
        let parts: Vec<&str> = key.splitn(3, '_').collect();
        assert!(parts.len() == 3 && parts[0] == "mlk" && !key.contains(char::is_whitespace), "{ran}");
        // 256 bits: 43 characters of base64, more of anything plainer.
        assert!(parts[2].len() >= 43, "the secret is long enough: {} characters", parts[2].len());
        assert!(!ran.stderr.is_empty(), "words go to stderr: {ran}");
        assert!(!ran.stderr.contains(parts[2]), "the secret is said once");
        server.officer_with_key(key).list("").assert_v1_status("the key works at once", 200);
    }
    let log = server.log().join("\n");
    assert!(!log.contains("mlk_"), "no key is logged");
}

#[test]
fn key_create_refuses_what_no_officer_may_have() {
    let server = Server::with(&[("officers.admins", "boss@agency.gov.sg")]);
    for (arguments, word) in [
        (&["--owner", "amy@example.com"][..], "amy@example.com"),
        (&["--owner", "nobody"], "nobody"),
        (&["--owner", "amy@agency.gov.sg", "--scope", "links:burn"], "links:burn"),
        (&["--owner", "amy@agency.gov.sg", "--scope", "admin"], "admin"),
        (&["--owner", "amy@agency.gov.sg", "--expires-in", "someday"], "someday"),
        (&["--owner", "amy@agency.gov.sg", "--expires-in=-1d"], "-1d"),
    ] {
        let ran = server.home().run(&[&["key", "create"], arguments].concat());
        assert!([Some(1), Some(2)].contains(&ran.code), "{}: {ran}", ran.command);
        assert!(ran.stdout.is_empty(), "{}: no key: {ran}", ran.command);
        ran.assert_names(&[word]);
    }
    let boss = ["key", "create", "--owner", "boss@agency.gov.sg", "--scope", "admin", "--scope", "links:write"];
    server.home().run(&boss).assert_code(0);
}

#[test]
fn key_list_shows_what_is_known_of_each_key_but_never_the_secret() {
    let server = Server::start();
    let keys = [
        server.key_with(&["--owner", "amy@agency.gov.sg", "--name", "tax-office"]),
        server.key_with(&["--owner", "Amy@Agency.GOV.SG"]),
        server.key_with(&["--owner", "ben@other.gov.sg", "--scope", "links:read"]),
    ];
    let id_and_secret = |key: &str| {
        let (id, secret) = key.strip_prefix("mlk_").and_then(|key| key.split_once('_')).expect("mlk_<id>_<secret>");
        (id.to_owned(), secret.to_owned())
    };
    let text = server.home().run(&["key", "list"]);
    let json = server.home().run(&["key", "list", "--json"]);
    for ran in [&text, &json] {
        ran.assert_code(0);
        for word in ["amy@agency.gov.sg", "ben@other.gov.sg", "tax-office", "links:read"] {
            assert!(ran.stdout.contains(word), "{word}: {ran}");
        }
        for key in &keys {
            let (id, secret) = id_and_secret(key);
            assert!(ran.stdout.contains(&id), "{id}: {ran}");
            assert!(!ran.stdout.contains(&secret) && !ran.stderr.contains(&secret), "a secret: {ran}");
        }
    }
    assert_eq!(listed(&json.stdout).len(), 3, "{json}");
    assert!(text.stdout.contains("LAST USED") && text.stdout.contains("never"), "{text}");
    server.get("/api/v2/me").key(&keys[2]).send().assert_v2("used", 200);
    let again = server.home().run(&["key", "list", "--json"]);
    let used: Vec<bool> =
        listed(&again.assert_code(0).stdout).iter().map(|key| !key["last_used_at"].is_null()).collect();
    assert_eq!(used, [false, false, true], "in the order in which they were made: {again}");

    let amys = server.home().run(&["key", "list", "--owner", "amy@agency.gov.sg", "--json"]);
    assert_eq!(listed(&amys.assert_code(0).stdout).len(), 2, "{amys}");
    assert!(!amys.stdout.contains("ben@other.gov.sg"), "{amys}");
    let nobodys = server.home().run(&["key", "list", "--owner", "nobody@agency.gov.sg", "--json"]);
    assert_eq!(listed(&nobodys.assert_code(0).stdout), Vec::<Value>::new(), "{nobodys}");
}

/// The keys of `--json`: one array, or one object a line.
fn listed(stdout: &str) -> Vec<Value> {
    if let Ok(Value::Array(keys)) = serde_json::from_str(stdout) {
        return keys;
    }
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
}

#[test]
fn key_revoke_ends_a_key_and_an_unknown_one_is_an_error() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    let id = amy.key.split('_').nth(1).expect("a key is mlk_<id>_<secret>");
    amy.list("").assert_v1_status("before", 200);
    server.home().run(&["key", "revoke", id]).assert_code(0);
    eventually("the key is refused", || (amy.list("").status == 401).then_some(()));

    let unknown = server.home().run(&["key", "revoke", "nosuchkey"]);
    unknown.assert_code(1).assert_names(&["nosuchkey"]);
    assert_eq!(unknown.stderr.trim_end().lines().count(), 1, "one line: {unknown}");
}

#[test]
fn keys_are_made_before_the_first_start_as_well() {
    let home = Home::new();
    let ran = home.run(&["key", "create", "--owner", "amy@agency.gov.sg"]);
    ran.assert_code(0);
    let server = home.start();
    server.officer_with_key(ran.stdout.trim_end()).creates("form", "https://example.com");
}

#[test]
fn check_says_what_it_found() {
    let server = Server::start();
    let beside = server.home().run(&["check"]);
    beside.assert_code(0);
    let said = format!("{}{}", beside.stdout, beside.stderr).to_lowercase();
    assert!(said.contains("redis"), "beside a running server: {beside}");
    server.finish();
    server.home().run(&["check"]).assert_code(0);
    assert!(server.home().redis().is_err(), "a check leaves no Redis behind");
}

/// The check that a service manager makes before each start: links in memory redirect without
/// Redis, so its absence is no reason to refuse.
#[test]
fn check_of_settings_alone_asks_no_redis() {
    let home = Home::new().set("redis.url", format!("redis://{}", free_address()));
    home.run(&["check"]).assert_code(1);
    let ran = home.run(&["check", "--settings"]);
    assert!(ran.assert_code(0).stdout.contains("settings      ok"), "{ran}");
    let home = home.set("redirect.deny_file", "/no/such/file");
    home.run(&["check", "--settings"]).assert_code(1).assert_names(&["redirect.deny_file", "/no/such/file"]);
    // An own Redis isn't started either.
    let home = Home::new();
    home.run(&["check", "--settings"]).assert_code(0);
    assert!(!home.data_dir().exists(), "nothing is made");
}

#[test]
fn check_repair_rebuilds_the_owners_lists() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    for number in 0..20 {
        amy.creates(&format!("form-{number}"), "https://example.com");
    }
    let before = amy.list("").json();
    let forgotten = redis::cmd("DEL").arg("owner:{amy@agency.gov.sg}").query::<i64>(&mut server.redis());
    assert_eq!(forgotten, Ok(1), "the list was there");
    server.home().run(&["check", "--repair"]).assert_code(0);
    assert_eq!(amy.list("").json(), before);
}

#[test]
fn check_repair_shows_on_a_terminal_how_far_it_is_and_nothing_in_a_file() {
    let redis = RedisServer::on_tcp();
    let proxy = Proxy::before(redis.address());
    let home = Home::new().set("redis.url", proxy.url());
    let rows: String =
        ["amy", "bob", "cat"].map(|name| format!("form-{name},https://example.com,{name}@agency.gov.sg\n")).concat();
    home.write("links.csv", &format!("code,target_url,owner\n{rows}"));
    home.run(&["link", "import", "links.csv"]).assert_code(0);
    let repaired = home.run(&["check", "--repair"]);
    repaired.assert_code(0);
    assert!(!repaired.stderr.contains('\r'), "{repaired}");

    // The line is shown once 200 ms are over, and each step takes two replies or more.
    proxy.delay(Duration::from_millis(110));
    let on_a_terminal = "script -qec \"$*\" /dev/null";
    let home = home.within(["sh", "-c", on_a_terminal, "sh"].map(str::to_owned).to_vec());
    let repaired = home.run(&["check", "--repair"]);
    repaired.assert_code(0);
    for shown in ["\r3 links, ", " 3 officers' lists, "] {
        assert!(repaired.stdout.contains(shown), "{shown}: {:?}", repaired.stdout);
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let home = Home::new();
    let commands: [&[&str]; 10] = [
        &["serve"],
        &["key"],
        &["key", "create"],
        &["key", "list"],
        &["key", "revoke"],
        &["link"],
        &["link", "import"],
        &["link", "export"],
        &["check"],
        &["restore"],
    ];
    for command in commands {
        let ran = home.run(&[command, &["--help"]].concat());
        ran.assert_code(0);
        assert!(ran.stdout.to_lowercase().contains("example"), "{}: has an example: {ran}", ran.command);
        assert!(ran.stdout.contains("merlink"), "{}: {ran}", ran.command);
        assert!(ran.stdout.contains("--config"), "{}: takes --config: {ran}", ran.command);
    }
    let all = home.run(&["--help"]);
    all.assert_code(0);
    for command in ["serve", "key", "check"] {
        assert!(all.stdout.contains(command), "{command}: {all}");
    }
    let version = home.run(&["--version"]);
    assert!(version.assert_code(0).stdout.starts_with("merlink "), "{version}");
}

#[test]
fn bad_usage_exits_2_and_says_how_it_is_used() {
    let home = Home::new();
    for arguments in [
        &[][..],
        &["fly"],
        &["serve", "--fast"],
        &["key"],
        &["key", "create"],
        &["key", "create", "--owner"],
        &["key", "revoke"],
        &["check", "extra"],
        &["restore"],
    ] {
        let ran = home.run(arguments);
        ran.assert_code(2);
        assert!(ran.stderr.contains("--help") || ran.stderr.contains("Usage"), "{}: {ran}", ran.command);
    }
}

#[test]
fn a_command_that_cannot_reach_redis_fails_in_one_line() {
    let home = Home::new().set("redis.url", "redis://127.0.0.1:1");
    for arguments in
        [&["key", "list"][..], &["key", "create", "--owner", "amy@agency.gov.sg"], &["key", "revoke", "abc"]]
    {
        let ran = home.run(arguments);
        ran.assert_code(1);
        assert!(ran.stdout.is_empty(), "{}: {ran}", ran.command);
        assert_eq!(ran.stderr.trim_end().lines().count(), 1, "{}: one line: {ran}", ran.command);
    }
}
