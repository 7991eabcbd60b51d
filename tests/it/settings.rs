//! Settings: where they come from, and a start that stops at a mistake with all that is needed to mend it.

use crate::{
    harness::{CHROME, CURL, Home, Server, eventually},
    redis_server::RedisServer,
};

#[test]
fn a_bad_setting_in_the_file_stops_the_start_and_is_named_with_what_is_allowed() {
    for (file, names) in [
        (
            "[redirect]\ntransition_page = \"sometimes\"",
            &["redirect.transition_page", "first-visit", "always", "never"][..],
        ),
        ("[redirect]\nserve_stale_for = \"soon\"", &["redirect.serve_stale_for", "soon"]),
        ("[public]\nlisten = \"nowhere\"", &["public.listen", "nowhere"]),
        ("[public]\nbase_url = \"not a url\"", &["public.base_url", "not a url"]),
        ("[public]\nworkers = 0", &["public.workers"]),
        ("[public]\nworkers = \"many\"", &["public.workers"]),
        ("[public]\ntrusted_proxies = [\"everyone\"]", &["public.trusted_proxies", "everyone"]),
        ("[operator]\nlisten = 80", &["operator.listen"]),
        ("[redis]\nurl = \"http://example.com\"", &["redis.url", "redis://"]),
        ("[redis]\nallow_unsafe = \"perhaps\"", &["redis.allow_unsafe", "true", "false"]),
        ("[clicks]\ntimezone = \"Mars/Olympus\"", &["clicks.timezone", "Mars/Olympus"]),
        ("[clicks]\njournal_bytes_max = \"lots\"", &["clicks.journal_bytes_max", "lots"]),
        ("[limits]\napi_per_minute = -1", &["limits.api_per_minute"]),
        ("[limits]\nmisses_per_minute = \"few\"", &["limits.misses_per_minute"]),
        ("[officers]\nadmins = [\"nobody\"]", &["officers.admins", "nobody"]),
        ("[redirect]\ncolour = \"red\"", &["redirect.colour"]),
        ("[redirects]\ntransition_page = \"never\"", &["redirects"]),
        ("colour = \"red\"", &["colour"]),
    ] {
        // The file alone speaks here; what the harness sets in the environment would win over it.
        let home = ["public.listen", "operator.listen", "limits.api_per_minute", "limits.misses_per_minute"]
            .into_iter()
            .fold(Home::new(), Home::unset);
        let path = home.write("merlink.toml", file);
        let path = path.to_str().expect("the path is text");
        for command in ["serve", "check"] {
            let ran = home.run(&[command, "--config", path]);
            ran.assert_code(1).assert_names(&["merlink.toml"]).assert_names(names);
        }
    }
}

#[test]
fn a_bad_setting_in_the_environment_is_named_too() {
    for (setting, value, names) in [
        ("redirect.transition_page", "sometimes", &["TRANSITION_PAGE", "first-visit", "always", "never"][..]),
        ("clicks.timezone", "Mars/Olympus", &["TIMEZONE", "Mars/Olympus"]),
        ("redis.url", "http://example.com", &["URL", "redis://"]),
        ("redis.url", "redis://", &["MERLINK_REDIS__URL", "redis://h:6379/0"]),
        ("redis.url", "redis+unix://", &["MERLINK_REDIS__URL", "redis+unix:///run/redis.sock"]),
        ("officers.email_domains", "", &["MERLINK_OFFICERS__EMAIL_DOMAINS", "officers.email_domains", "*.gov.sg"]),
        ("redis.allow_unsafe", "perhaps", &["ALLOW_UNSAFE", "true", "false", "eviction", "no-persistence"]),
        ("redis.allow_unsafe", "eviction,fire", &["ALLOW_UNSAFE", "fire"]),
        ("public.listen", "nowhere", &["LISTEN", "nowhere"]),
        ("public.trusted_proxies", "127.0.0.1/33", &["TRUSTED_PROXIES", "127.0.0.1/33"]),
        ("limits.api_per_minute", "-1", &["API_PER_MINUTE"]),
        ("redirect.colour", "red", &["COLOUR"]),
        ("redirects.transition_page", "never", &["REDIRECTS"]),
    ] {
        let ran = Home::new().set(setting, value).run(&["serve"]);
        ran.assert_code(1);
        let upper = ran.stderr.to_uppercase();
        for name in names {
            assert!(upper.contains(&name.to_uppercase()), "{setting} = {value}: stderr doesn't name {name}; {ran}");
        }
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let home = Home::new().set("limits.api_per_minute", "several").set("clicks.timezone", "Mars/Olympus");
    let file = "[redirect]\ntransition_page = \"sometimes\"\ncolour = \"red\"\n[redis]\nurl = \"http://x\"\n[nonsense]\na = 1\n";
    let path = home.write("merlink.toml", file);
    let ran = home.run(&["serve", "--config", path.to_str().expect("the path is text")]);
    ran.assert_code(1);
    let upper = ran.stderr.to_uppercase();
    for name in ["TRANSITION_PAGE", "COLOUR", "REDIS", "NONSENSE", "API_PER_MINUTE", "TIMEZONE"] {
        assert!(upper.contains(name), "stderr doesn't name {name}; {ran}");
    }
}

#[test]
fn a_file_that_is_missing_or_is_no_toml_stops_the_start() {
    let home = Home::new();
    home.run(&["serve", "--config", "/nowhere/merlink.toml"]).assert_code(1).assert_names(&["/nowhere/merlink.toml"]);
    let path = home.write("broken.toml", "[redirect\ntransition_page = ");
    home.run(&["serve", "--config", path.to_str().expect("the path is text")])
        .assert_code(1)
        .assert_names(&["broken.toml"]);
}

#[test]
fn the_file_wins_over_the_default_and_the_environment_over_the_file() {
    let file = "[redirect]\ntransition_page = \"always\"\n[clicks]\ntimezone = \"Europe/Zurich\"\n";
    for (environment, second_visit) in [(None, 200), (Some("never"), 302)] {
        let home = Home::new();
        let path = home.write("merlink.toml", file);
        let home = if let Some(value) = environment { home.set("redirect.transition_page", value) } else { home };
        let server = home.start_with(&["--config", path.to_str().expect("the path is text")]);
        server.officer("amy@agency.gov.sg").creates("form", "https://example.com");
        let mut citizen = server.browser(CHROME);
        citizen.opens("/form");
        assert_eq!(citizen.opens("/form").status, second_visit, "{environment:?}");
    }
}

#[test]
fn the_file_in_the_repository_is_good_and_says_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/merlink.toml");
    let home = Home::new();
    home.run(&["check", "--config", path]).assert_code(0);
    let text = std::fs::read_to_string(path).expect("the file is there");
    for key in [
        "listen",
        "base_url",
        "workers",
        "trusted_proxies",
        "url",
        "data_dir",
        "email_domains",
        "admins",
        "transition_page",
        "serve_stale_for",
        "deny_file",
        "journal_bytes_max",
        "allow_unsafe",
        "timezone",
        "api_per_minute",
        "officer_per_minute",
        "misses_per_minute",
        "lookup_timeout",
    ] {
        assert!(text.contains(&format!("{key} =")), "config/merlink.toml doesn't hold {key}");
    }
}

#[test]
fn a_redis_of_ones_own_is_reached_by_unix_socket_and_by_tcp() {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port is free").port();
    let redis = RedisServer::with(&[("port", &port.to_string()), ("bind", "127.0.0.1")]);
    for url in [redis.url(), format!("redis://127.0.0.1:{port}"), format!("redis://127.0.0.1:{port}/0")] {
        let server = Home::new().set("redis.url", &url).start();
        let amy = server.officer("amy@agency.gov.sg");
        let answer = amy.create(&serde_json::json!({"longUrl": "https://example.com"}));
        answer.assert_v1_status(&url, 200);
        let code = answer.json()["shortUrl"].as_str().expect("shortUrl is a string").to_owned();
        server.follow(&code).assert_redirects(&url, "https://example.com");
        amy.sees_clicks(&code, 1);
        server.finish();
        assert!(redis.connect().is_some(), "{url}: a Redis that isn't ours goes on");
        assert!(!server.home().data_dir().join("redis/redis.sock").exists(), "{url}: none of our own is started");
    }
}

#[test]
fn an_unsafe_redis_stops_the_start_unless_the_operator_allows_it() {
    for (option, value, word) in [("maxmemory-policy", "allkeys-lru", "maxmemory"), ("appendonly", "no", "append")] {
        let redis = RedisServer::with(&[(option, value)]);
        let home = Home::new().set("redis.url", redis.url());
        for command in ["serve", "check"] {
            let ran = home.run(&[command]);
            ran.assert_code(1);
            assert!(ran.stderr.to_lowercase().contains(word), "{option} {value}: {ran}");
        }
        let server = home.set("redis.allow_unsafe", "true").start();
        server.expect_log("unsafe");
        server.expect_log(word);
        server.officer("amy@agency.gov.sg").creates("form", "https://example.com");
        server.follow("form").assert_redirects("served nevertheless", "https://example.com");
    }
}

#[test]
fn dangers_of_redis_are_accepted_one_by_one() {
    let (eviction, no_persistence) = (("maxmemory-policy", "allkeys-lru"), ("appendonly", "no"));
    let redis = RedisServer::with(&[eviction, no_persistence]);
    for accepted in ["eviction", "no-persistence", "failing-persistence"] {
        let ran = Home::new().set("redis.url", redis.url()).set("redis.allow_unsafe", accepted).run(&["serve"]);
        ran.assert_code(1);
        let refused: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("ERROR")).collect();
        for (danger, word) in [("eviction", "maxmemory-policy"), ("no-persistence", "appendonly")] {
            assert_eq!(refused.concat().contains(word), danger != accepted, "{accepted} is accepted: {ran}");
        }
    }
    let home = Home::new().set("redis.url", redis.url());
    let file = home.write("merlink.toml", "[redis]\nallow_unsafe = [\"eviction\", \"no-persistence\"]\n");
    let server = home.start_with(&["--config", file.to_str().expect("the path is text")]);
    for about in ["maxmemory-policy", "appendonly"] {
        server.expect_log(about);
    }
    assert_eq!(server.operator("/readyz").send().status, 200);
    let refused = server.home().run(&["check"]);
    refused.assert_code(1).assert_names(&["[\"eviction\"]", "[\"no-persistence\"]"]);
}

#[test]
fn without_a_redis_server_on_the_path_one_line_says_how_to_install_it() {
    for format in ["text", "json"] {
        let ran = Home::new().set("log.format", format).environment("PATH", "/nowhere").run(&["serve"]);
        ran.assert_code(1).assert_names(&["apt", "apk", "dnf", "brew", "redis"]);
        assert_eq!(ran.stderr.lines().count(), 1, "{format}: {ran}");
        assert_eq!(ran.stderr.starts_with('{'), format == "json", "{format}: {ran}");
    }
}

#[test]
fn a_redis_that_cannot_be_reached_is_named_by_check() {
    let home = Home::new().set("redis.url", "redis://127.0.0.1:1");
    let ran = home.run(&["check"]);
    ran.assert_code(1).assert_names(&["127.0.0.1:1"]);
}

#[test]
fn a_name_that_is_never_found_is_named_and_not_waited_for() {
    for url in ["redis://redis.example", "redis-sentinel://redis.example:26379/main", "redis-cluster://redis.example"] {
        let Some(home) = Home::new().set("redis.url", url).where_names_are_never_found() else { return };
        for command in [&["check"][..], &["key", "list"]] {
            home.run(command).assert_code(1).assert_names(&["redis.example"]);
        }
    }
    let home = Home::new().set("traces.otlp_url", "http://collector.example/v1/traces");
    let Some(home) = home.where_names_are_never_found() else { return };
    let ran = home.run(&["check"]);
    ran.assert_code(0);
    assert!(ran.stdout.contains("traces aren't taken: http://collector.example/v1/traces: no answer within"), "{ran}");
}

#[test]
fn a_password_in_the_redis_url_is_never_printed() {
    for url in ["redis://user:hunter2@127.0.0.1:1", "redis://:hunter2@127.0.0.1:1/0", "http://user:hunter2@example.com"]
    {
        let ran = Home::new().set("redis.url", url).run(&["check"]);
        ran.assert_code(1);
        assert!(!ran.stderr.contains("hunter2") && !ran.stdout.contains("hunter2"), "{url}: {ran}");
    }
}

#[test]
fn a_port_that_is_taken_stops_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it has an address").to_string();
    for setting in ["public.listen", "operator.listen"] {
        let home = Home::new().set(setting, &address);
        home.run(&["serve"]).assert_code(1).assert_names(&[&address]);
        assert!(home.redis().is_err(), "{setting}: the embedded Redis doesn't stay behind");
    }
}

#[test]
fn a_data_directory_belongs_to_one_running_instance() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com");
    let second = server.home().run(&["serve"]);
    second.assert_code(1);
    assert!(second.stderr.contains("data"), "says which directory: {second}");
    server.follow("form").assert_redirects("the first goes on", "https://example.com");
    amy.sees_clicks("form", 1);
}

#[test]
fn codes_in_the_deny_file_answer_410_and_the_file_is_read_again_when_it_changes() {
    let home = Home::new();
    let path = home.write("deny.txt", "scam\n\nfraud\n");
    let server = home.set("redirect.deny_file", path.to_str().expect("the path is text")).start();
    let amy = server.officer("amy@agency.gov.sg");
    for code in ["scam", "fraud", "form"] {
        amy.creates(code, "https://example.com");
    }
    let statuses = || ["scam", "FRAUD.", "form"].map(|code| server.follow(code).status);
    assert_eq!(statuses(), [410, 410, 302]);
    server.get("/scam+").user_agent(CURL).send().assert_page("a preview of a denied code", 410);

    server.expect_log("redirect.deny_file line 2: ");
    server.home().write("deny.txt", "form\ntwo words\n");
    eventually("the mistake is logged", || {
        server.log().iter().any(|line| line.contains("The list from before stays in force")).then_some(())
    });
    assert_eq!(statuses(), [410, 410, 302], "half a list is none");
    server.home().write("deny.txt", "http://localhost:8080/Form?from=mail\n");
    eventually("the file is read again", || (statuses() == [302, 302, 410]).then_some(()));
    server.home().write("deny.txt", "");
    eventually("an empty file denies nothing", || (statuses() == [302, 302, 302]).then_some(()));
}

#[test]
fn a_deny_file_is_looked_at_by_check_and_one_that_is_missing_stops_the_start() {
    let home = Home::new();
    let path = home.write("deny.txt", "scam\n# reported\nhttp://LOCALHOST:8080/Fraud.\n").display().to_string();
    let home = home.set("redirect.deny_file", &path);
    let ran = home.run(&["check"]);
    assert!(ran.assert_code(0).stdout.contains("codes 2, by"), "{ran}");
    home.write("deny.txt", "scam\nhttps://go.example/fraud\ntwo words\n");
    for command in [&["check"][..], &["check", "--settings"], &["serve"]] {
        let named = ["redirect.deny_file", &path, "line 2: go.example isn't the host", "line 3: ", "isn't a code"];
        home.run(command).assert_code(1).assert_names(&named);
    }
    std::fs::remove_file(&path).expect("it was there");
    for command in ["check", "serve"] {
        home.run(&[command]).assert_code(1).assert_names(&["redirect.deny_file", &path]);
    }
}

#[test]
fn a_code_in_the_deny_file_stops_and_goes_on_while_redis_is_away() {
    let mut redis = RedisServer::start();
    let home = Home::new().set("redis.url", redis.url());
    let path = home.write("deny.txt", "");
    let server = home.set("redirect.deny_file", path.to_str().expect("the path is text")).start();
    server.expect_log("redis");
    server.officer("amy@agency.gov.sg").creates("form", "https://example.com");
    server.follow("form").assert_redirects("before", "https://example.com");
    redis.kill();
    eventually("merlink notices", || (server.metrics().sum("merlink_redis_up") == 0.0).then_some(()));
    server.follow("form").assert_redirects("a remembered link", "https://example.com");
    for _ in 0..2 {
        server.home().write("deny.txt", "form\n");
        eventually("the file is read", || (server.follow("form").status == 410).then_some(()));
        server.home().write("deny.txt", "# form\n");
        eventually("and read again", || (server.follow("form").status == 302).then_some(()));
    }
    redis.start_again();
    server.await_ready();
}

#[test]
fn the_example_of_another_country_is_good_as_it_stands() {
    let guide = include_str!("../../docs/for-your-country.md");
    let block = |kind: &str| {
        let (_, rest) = guide.split_once(&format!("```{kind}\n")).unwrap_or_else(|| panic!("an example in {kind}"));
        rest.split("```").next().expect("text before the end").to_owned()
    };
    let home = Home::new();
    let place = home.path().display().to_string();
    std::fs::create_dir_all(home.path().join("languages/mi")).expect("the temporary directory can be written");
    home.write("languages/mi/citizens.ftl", &block("ftl"));
    home.write("logo.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>");
    std::fs::write(home.path().join("icon.png"), include_bytes!("../../assets/touch-icon.png"))
        .expect("it can be written");
    let file = home.write("merlink.toml", &block("toml").replace("/etc/merlink", &place));
    let file = file.to_str().expect("the path is text").to_owned();
    let ran = home.run(&["check", "--config", &file]);
    ran.assert_code(0);
    assert!(ran.stdout.contains("languages     en, mi"), "{ran}");
    let server = home.start_with(&["--config", &file]);
    server.expect_log("mi/citizens.ftl: these messages are missing");
    let page = server.get("/never-made").header("Accept-Language", "mi-NZ").send().text();
    assert!(page.contains("<h1>Kāore he hononga pērā</h1>") && page.contains("go.govt.nz"), "{page}");
}

#[test]
fn the_settings_of_the_debian_package_are_good_and_check_says_who_gets_mail() {
    let home = Home::new().unset("data_dir");
    let shipped = include_str!("../../deploy/debian/merlink.toml");
    let here = |text: &str| {
        let text = text.replace("/var/lib/merlink", &home.data_dir().display().to_string());
        let text = text.replace("/var/log/merlink", &home.path().display().to_string());
        home.write("merlink.toml", &text).display().to_string()
    };
    let says = |file: &str, mail: &str| {
        let ran = home.run(&["check", "--config", file]);
        ran.assert_code(0);
        let data_dir = format!("data_dir      {}\n", home.data_dir().display());
        assert!(ran.stdout.contains(&data_dir), "commands work where the service does: {ran}");
        assert!(ran.stdout.contains(&format!("mail          {mail}\n")), "{mail}: {ran}");
    };
    says(&here(shipped), "into data_dir/outbox, and the log");
    let public = shipped.replace("http://localhost:8080", "https://go.agency.gov.sg");
    says(&here(&public), "none, so nobody can log in to the console: smtp.url");
    let with_mail = public.replace("[smtp]", "[smtp]\nfrom = \"go@agency.gov.sg\"");
    let (before, after) = with_mail.rsplit_once("url = \"\"").expect("smtp.url is the last of its name");
    says(&here(&format!("{before}url = \"smtps://go:secret@mail.agency.gov.sg\"{after}")), "by mail.agency.gov.sg");
}
