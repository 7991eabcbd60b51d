//! Settings that are valid alone and wrong together, and what `merlink check` says of a mail server
//! and a Redis that don't fit them.

use crate::{
    harness::{Home, Ran},
    redis_server::RedisServer,
    smtp_server::SmtpServer,
};

/// A setting and its value.
type Set = (&'static str, &'static str);

/// Settings that make Merlink public as it is meant to be: no finding is left that isn't about what
/// a case adds.
const PUBLIC: [Set; 3] = [
    ("public.base_url", "https://go.example"),
    ("public.trusted_proxies", "127.0.0.1"),
    ("smtp.url", "smtps://merlink:hunter2@mail.example"),
];

/// Each is narrow enough, and all of them are a sixteenth of all addresses.
const MANY_NETWORKS: &str = "127.0.0.1,16.0.0.0/8,18.0.0.0/8,20.0.0.0/8,22.0.0.0/8,24.0.0.0/8,26.0.0.0/8,28.0.0.0/8,30.0.0.0/8,\
     32.0.0.0/8,34.0.0.0/8,36.0.0.0/8,38.0.0.0/8,40.0.0.0/8,42.0.0.0/8,44.0.0.0/8,46.0.0.0/8";
const LISTEN: &str = "public.listen";
const OPERATOR: &str = "operator.listen";

/// Settings that Merlink can't start with, the setting that is named, and words of the reason.
const MISTAKES: [(&[Set], &str, &str); 13] = [
    (&[(LISTEN, "127.0.0.1:8080"), (OPERATOR, "127.0.0.1:8080")], OPERATOR, "taken by public.listen"),
    (&[(LISTEN, "0.0.0.0:8080"), (OPERATOR, "127.0.0.1:8080")], OPERATOR, "taken by public.listen"),
    (&[(LISTEN, "10.0.0.1:8080"), (OPERATOR, "0.0.0.0:8080")], OPERATOR, "taken by public.listen"),
    (&[(LISTEN, "[::]:8080"), (OPERATOR, "127.0.0.1:8080")], OPERATOR, "taken by public.listen"),
    (&[(LISTEN, "[::1]:8080"), (OPERATOR, "[::]:8080")], OPERATOR, "taken by public.listen"),
    (&[(LISTEN, "[::ffff:127.0.0.1]:8080"), (OPERATOR, "127.0.0.1:8080")], OPERATOR, "taken by public.listen"),
    (&[(LISTEN, "0.0.0.0:6379"), ("redis.url", "redis://localhost")], LISTEN, "taken by redis.url"),
    (&[(OPERATOR, "127.0.0.1:7000"), ("redis.url", "redis://127.0.0.1:7000/1")], OPERATOR, "taken by redis.url"),
    (&[(LISTEN, "10.0.0.1:7000"), ("redis.url", "redis://10.0.0.1:7000")], LISTEN, "taken by redis.url"),
    (&[(LISTEN, "[::]:7000"), ("redis.url", "redis://[::1]:7000")], LISTEN, "taken by redis.url"),
    (&[("public.base_url", "https://:hunter2@go.example")], "public.base_url", "isn't allowed"),
    (
        &[("audit.file", "/var/log/merlink.ndjson"), ("redirect.deny_file", "/var/log/../log/merlink.ndjson")],
        "audit.file",
        "is redirect.deny_file",
    ),
    (
        &[("audit.file", "/var/log/merlink.ndjson"), ("targets.blocked_file", "/var/log/merlink.ndjson")],
        "audit.file",
        "is targets.blocked_file",
    ),
];

/// Settings that Merlink starts with, the setting that is named as weak, and words of the reason.
const WEAKNESSES: [(&[Set], &str, &str); 74] = [
    (&[(OPERATOR, "0.0.0.0:8081")], OPERATOR, "on all networks"),
    (&[(OPERATOR, "[::]:8081")], OPERATOR, "on all networks"),
    (&[(OPERATOR, "203.0.113.7:8081")], OPERATOR, "is a public address"),
    (&[(OPERATOR, "[2001:db8::1]:8081")], OPERATOR, "is a public address"),
    (&[("public.base_url", "http://go.example")], "public.base_url", "in clear text"),
    (&[("public.base_url", "http://203.0.113.7:8080")], "public.base_url", "in clear text"),
    (&[("public.base_url", "https://go.example:80")], "public.base_url", "mixed up"),
    (&[("public.base_url", "http://go.example:443")], "public.base_url", "mixed up"),
    (
        &[("public.base_url", "http://localhost:9090"), (LISTEN, "127.0.0.1:8080")],
        "public.base_url",
        "but public.listen",
    ),
    (&[("public.trusted_proxies", "0.0.0.0/0")], "public.trusted_proxies", "0.0.0.0/0 takes in strangers"),
    (&[("public.trusted_proxies", "::/0,127.0.0.1")], "public.trusted_proxies", "::/0 takes in strangers"),
    (&[("public.trusted_proxies", "0.0.0.0/1,128.0.0.0/1")], "public.trusted_proxies", "0.0.0.0/1, 128.0.0.0/1"),
    (&[("public.trusted_proxies", "127.0.0.1,::ffff:0.0.0.0/96")], "public.trusted_proxies", "takes in strangers"),
    (
        &[("public.trusted_proxies", "127.0.0.1,0.0.0.0/6,4.0.0.0/6,8.0.0.0/6,12.0.0.0/6")],
        "public.trusted_proxies",
        "takes in strangers",
    ),
    (&[("public.trusted_proxies", MANY_NETWORKS)], "public.trusted_proxies", "takes in strangers"),
    (&[("public.trusted_proxies", "2000::/3,::1")], "public.trusted_proxies", "2000::/3 takes in strangers"),
    (&[("public.trusted_proxies", "")], "public.trusted_proxies", "all visitors count as one address"),
    (&[("public.trusted_proxies", "10.0.0.0/8")], "public.trusted_proxies", "none of them is on this machine"),
    (&[("officers.email_domains", "*.gov.sg,gov.sg")], "officers.email_domains", "gov.sg can't match"),
    (&[("officers.email_domains", "*")], "officers.email_domains", "anybody can be an officer"),
    (&[("officers.email_domains", "*.sg")], "officers.email_domains", "anybody can be an officer"),
    (&[("officers.email_domains", "*gov.sg")], "officers.email_domains", "anybody can be an officer"),
    (&[("officers.email_domains", "*@*.com")], "officers.email_domains", "anybody can be an officer"),
    (&[("officers.admins", "a@gov.sg,b@x.gov.sg")], "officers.admins", "a@gov.sg can't log in"),
    (
        &[("officers.email_domains", "*@x.gov.sg"), ("officers.admins", "a@y.gov.sg")],
        "officers.admins",
        "(environment MERLINK_OFFICERS__EMAIL_DOMAINS) doesn't match",
    ),
    (&[("overload.api_at_once", "17")], "overload.api_at_once", "the console may wait"),
    (&[("overload.bulk_at_once", "2")], "overload.bulk_at_once", "the console may wait"),
    (&[("redis.pool_size", "14")], "redis.pool_size", "is 14 and isn't below"),
    (&[("overload.body_bytes_max", "8MiB")], "overload.body_bytes_max", "all the memory for bodies"),
    (
        &[("overload.body_bytes_per_client_max", "65MiB")],
        "overload.body_bytes_per_client_max",
        "all the memory for bodies",
    ),
    (&[("console.session_idle", "13h")], "console.session_idle", "longer than console.session_max"),
    (&[("console.session_max", "1h")], "console.session_idle", "longer than console.session_max (environment"),
    (&[("redirect.serve_stale_for", "30s")], "redirect.serve_stale_for", "shorter than redirect.revalidate_after"),
    (&[("redirect.revalidate_after", "48h")], "redirect.serve_stale_for", "shorter than redirect.revalidate_after"),
    (
        &[("public.connections_max", "500"), ("public.connections_per_address_max", "501")],
        "public.connections_per_address_max",
        "one address can take all connections",
    ),
    (
        &[("limits.api_per_minute", "600"), ("limits.officer_per_minute", "599")],
        "limits.officer_per_minute",
        "has no effect",
    ),
    (
        &[("limits.api_per_minute", "0"), ("limits.officer_per_minute", "100")],
        "limits.officer_per_minute",
        "has no effect",
    ),
    (&[("redis.allow_unsafe", "eviction")], "redis.allow_unsafe", "has no effect"),
    (&[("redis.tls_ca_file", "/etc/ssl/ca.pem")], "redis.tls_ca_file", "redis.url isn't TLS"),
    (
        &[("redis.url", "redis://redis.example"), ("redis.tls_ca_file", "/etc/ssl/ca.pem")],
        "redis.tls_ca_file",
        "Write rediss:// there",
    ),
    (
        &[("redis.url", "redis-cluster://a,b"), ("redis.tls_ca_file", "/etc/ssl/ca.pem")],
        "redis.tls_ca_file",
        "isn't TLS",
    ),
    (&[("smtp.url", "")], "smtp.url", "nobody can log in"),
    (&[("smtp.url", ""), ("smtp.from", "go@go.example")], "smtp.from", "has no effect"),
    (&[("smtp.url", ""), ("smtp.tls_ca_file", "/etc/ssl/ca.pem")], "smtp.tls_ca_file", "has no effect"),
    (&[("smtp.url", "smtp://mail.example")], "smtp.url", "clear text"),
    (&[("smtp.url", "smtp://merlink@mail.example")], "smtp.url", "a user without a password"),
    (&[("smtp.url", "smtps://a:hunter2@mail.example:587")], "smtp.url", "port 587 begins in clear text"),
    (&[("smtp.url", "smtp://a:hunter2@mail.example:465")], "smtp.url", "port 465 begins with TLS"),
    (&[("smtp.url", "smtps://a:hunter2@mail.example/?tls=required")], "smtp.url", "has no effect"),
    (&[("smtp.url", "smtp://localhost"), ("smtp.tls_ca_file", "/nowhere")], "smtp.tls_ca_file", "without TLS"),
    (&[("public.base_url", "https://203.0.113.7")], "smtp.from", "isn't an address"),
    (&[("audit.addresses", "true")], "audit.addresses", "has no effect"),
    (&[("audit.disk_reserve", "2GiB")], "audit.disk_reserve", "has no effect"),
    (
        &[("targets.blocked_hosts", "a.example,b.example"), ("targets.allowed_hosts", "a.example")],
        "targets.allowed_hosts",
        "blocks: a.example",
    ),
    (&[("targets.allowed_hosts", "go.example")], "targets.allowed_hosts", "go.example has no effect"),
    (&[("traces.headers", "authorization=hunter2")], "traces.headers", "has no effect"),
    (
        &[("traces.otlp_url", "http://t.example/v1/traces"), ("traces.headers", "authorization=hunter2")],
        "traces.headers",
        "in clear text",
    ),
    (&[("officers.email_domains", "gov.sg")], "officers.email_domains", "gov.sg can't match an e-mail address"),
    (&[("officers.email_domains", "@gov.sg,*.gov.sg.")], "officers.email_domains", "@gov.sg, *.gov.sg. can't match"),
    (&[("officers.email_domains", "*@gov")], "officers.email_domains", "*@gov can't match"),
    (
        &[("traces.otlp_url", "https://t.example/v1/traces"), ("traces.headers", "Content-Length=5")],
        "traces.headers",
        "content-length can't be set",
    ),
    (
        &[(LISTEN, "127.0.0.1:7000"), ("redis.url", "redis-cluster://127.0.0.1:7000,127.0.0.1:7001")],
        LISTEN,
        "taken by redis.url",
    ),
    (&[(LISTEN, "0.0.0.0:2525"), ("smtp.url", "smtp://localhost:2525")], LISTEN, "taken by smtp.url"),
    (
        &[(OPERATOR, "127.0.0.1:4318"), ("traces.otlp_url", "http://localhost:4318/v1/traces")],
        OPERATOR,
        "taken by traces.otlp_url",
    ),
    (&[("public.trusted_proxies", "127.0.0.1,::/64")], "public.trusted_proxies", "::/64 takes in strangers"),
    (&[("public.stop_delay", "10d")], "public.stop_delay", "service managers kill"),
    (&[("overload.wait_max", "0s")], "overload.wait_max", "is refused"),
    (&[("overload.wait_max", "1h")], "overload.wait_max", "have given up"),
    (
        &[("redirect.serve_stale_for", "0s"), ("redirect.revalidate_after", "0s")],
        "redirect.serve_stale_for",
        "all redirects stop",
    ),
    (&[("redirect.serve_stale_for", "3650d")], "redirect.serve_stale_for", "although they were switched off"),
    (&[("redirect.revalidate_after", "25h")], "redirect.revalidate_after", "hardly ever"),
    (&[("clicks.journal_keep", "0s")], "clicks.journal_keep", "are lost"),
    (&[("clicks.journal_keep", "3650d")], "clicks.journal_keep", "until it fills"),
    (&[("console.session_max", "3650d")], "console.session_max", "for as long"),
];

fn check(settings: &[Set]) -> Ran {
    let home = PUBLIC.iter().chain(settings).fold(Home::new(), |home, (setting, value)| home.set(setting, *value));
    let ran = home.run(&["check", "--settings"]);
    assert!(!ran.stdout.contains("hunter2") && !ran.stderr.contains("hunter2"), "a secret is shown: {ran}");
    ran
}

fn weak_lines(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().filter_map(|line| line.strip_prefix("weak          ")).collect()
}

#[test]
fn settings_that_contradict_each_other_are_named_with_their_origin() {
    let sound = check(&[]);
    assert!(sound.assert_code(0).stdout.starts_with("settings      ok\n") && weak_lines(&sound).is_empty(), "{sound}");
    for (settings, named, reason) in MISTAKES {
        let ran = check(settings);
        ran.assert_code(1).assert_names(&[&format!("{named}: "), reason]);
    }
    for (settings, named, reason) in WEAKNESSES {
        let ran = check(settings);
        let is_named = |line: &str| line.contains(&format!("{named}: ")) && line.contains(reason);
        assert!(weak_lines(&ran).iter().any(|line| is_named(line)), "{settings:?}: {named}, {reason}: {ran}");
        if !settings.iter().any(|(_, value)| value.starts_with('/')) {
            ran.assert_code(0);
        }
    }
}

#[test]
fn sound_settings_are_not_called_weak() {
    let cases: [&[Set]; 13] = [
        // Each of these can share its port with another server.
        &[(LISTEN, "127.0.0.2:7000"), ("redis.url", "redis://127.0.0.1:7000")],
        &[(LISTEN, "0.0.0.0:7000"), ("redis.url", "redis://10.0.0.1:7000")],
        &[(LISTEN, "0.0.0.0:7000"), ("redis.url", "redis://[::1]:7000")],
        &[("traces.otlp_url", "http://127.0.0.1:4318/v1/traces"), ("traces.headers", "host=traces.example")],
        &[(LISTEN, "127.0.0.1:8080"), (OPERATOR, "127.0.0.1:8081")],
        &[(LISTEN, "10.0.0.1:8080"), (OPERATOR, "127.0.0.1:8080")],
        &[("public.trusted_proxies", "10.0.0.0/8,fc00::/7,127.0.0.0/8")],
        &[("public.base_url", "http://localhost:8080"), (LISTEN, "127.0.0.1:8080")],
        &[("officers.email_domains", "*.gov.sg,*@town.example.org,a@x.org"), ("officers.admins", "a@x.org")],
        &[("console.session_idle", "12h")],
        &[("redis.pool_size", "15")],
        &[("smtp.url", "smtp://127.0.0.1:25")],
        &[("public.connections_max", "100"), ("public.connections_per_address_max", "100")],
    ];
    for settings in cases {
        let ran = check(settings);
        ran.assert_code(0);
        assert!(weak_lines(&ran).is_empty(), "{settings:?}: {ran}");
    }
}

#[test]
fn all_mistakes_and_weaknesses_are_reported_at_once_with_file_and_line() {
    let home = Home::new().unset(LISTEN).unset(OPERATOR);
    home.write("deny.txt", "a b\n");
    let file = "[public]\nlisten = \"127.0.0.1:8080\"\n\n[operator]\nlisten = \"127.0.0.1:8080\"\n[officers]\nemail_domains = [\n\"gov.sg\",\n]\n";
    let path = home.write("merlink.toml", file).display().to_string();
    for command in ["serve", "check", "key"] {
        let arguments = if command == "key" { vec!["key", "list"] } else { vec![command] };
        let ran = home.run(&[&arguments[..], &["--config", &path]].concat());
        let operator = format!("{path}:5: operator.listen: ");
        ran.assert_code(1).assert_names(&[&operator, &format!("public.listen ({path}:2)")]);
        let domains = format!("{path}:7: officers.email_domains: ");
        assert_eq!(weak_lines(&ran).iter().any(|line| line.contains(&domains)), command == "check", "{ran}");
    }
    // A value that isn't allowed hides nothing else, and what it would contradict isn't guessed at.
    let home = Home::new()
        .set("console.session_idle", "a while")
        .set(LISTEN, "127.0.0.1:8080")
        .set(OPERATOR, "127.0.0.1:8080")
        .set("officers.email_domains", "gov.sg")
        .set("site.accent", "#7fb2e5")
        .set("site.dark_text", "pale")
        .set("site.logo", "/nowhere.svg")
        .set("site.icon", "/nowhere.png")
        .set("site.languages_dir", "/nowhere")
        .set("smtp.url", "smtps://mail.example")
        .set("smtp.tls_ca_file", "/nowhere.pem")
        .set("redirect.deny_file", "/nowhere.txt")
        .set("targets.blocked_file", "/nowhere.txt")
        .set("audit.addresses", "true");
    for command in ["check", "serve"] {
        let ran = home.run(&[command]);
        ran.assert_code(1).assert_names(&[
            "console.session_idle: \"a while\" isn't allowed",
            "taken by",
            "environment MERLINK_SITE__ACCENT: site.accent: can't be read on site.background",
            "site.dark_text: \"pale\" isn't allowed",
            "site.logo: /nowhere.svg",
            "site.icon: /nowhere.png",
            "site.languages_dir: /nowhere",
            "smtp.tls_ca_file",
            "redirect.deny_file",
            "targets.blocked_file",
        ]);
        assert_eq!(ran.stderr.lines().count(), 10, "{ran}");
        for weak in ["audit.addresses", "gov.sg can't match"] {
            assert_eq!(weak_lines(&ran).iter().any(|line| line.contains(weak)), command == "check", "{ran}");
        }
    }
    // Neither an empty list nor a file hides what the other says.
    let empty = Home::new().set("officers.email_domains", "").set("site.languages", "").set(LISTEN, "here");
    let ran = empty.set("redirect.deny_file", "/nowhere.txt").set("officers.admins", "a@x.gov.sg").run(&["check"]);
    ran.assert_code(1).assert_names(&[
        "environment MERLINK_OFFICERS__EMAIL_DOMAINS: officers.email_domains: is empty",
        "environment MERLINK_SITE__LANGUAGES: site.languages: is empty",
        "public.listen",
        "redirect.deny_file",
    ]);
    assert_eq!((ran.stderr.lines().count(), weak_lines(&ran).len()), (4, 0), "{ran}");
    // Merlink can't write where there is something else, or nothing.
    let home = Home::new();
    let file = home.write("file", "").display().to_string();
    let ran = home.set("data_dir", file).set("audit.file", "/nowhere/audit.ndjson").run(&["check", "--settings"]);
    ran.assert_code(1).assert_names(&[
        "data_dir: ",
        "isn't a folder",
        "audit.file: the folder /nowhere",
        "Make it first",
    ]);
    let ran = Home::new().set("data_dir", "./made-later").set("audit.file", "made-later/audit.ndjson");
    ran.run(&["check", "--settings"]).assert_code(0);
    let ran = Home::new().set("audit.file", "/tmp").run(&["check", "--settings"]);
    ran.assert_code(1).assert_names(&["audit.file: /tmp is a folder"]);
    // A short link of a host that isn't known can't be judged.
    let home = Home::new().set("public.base_url", "https://go.example/short");
    let path = home.write("deny.txt", "https://go.example/scam\n").display().to_string();
    let ran = home.set("redirect.deny_file", path).run(&["check"]);
    assert_eq!(ran.assert_code(1).stderr.lines().count(), 1, "{ran}");
    // A file that isn't a list shows no password.
    let home = Home::new();
    let path = home.write("deny.txt", "https://amy:hunter2@go.example/x\nhunter2://x\n").display().to_string();
    let ran = home.set("redirect.deny_file", path).run(&["check", "--settings"]);
    ran.assert_code(1).assert_names(&["line 1: go.example isn't the host", "line 2: a short link begins with http"]);
    assert!(!ran.stderr.contains("hunter2"), "{ran}");
    let unread = Home::new().set("public.base_url", "https://go.example");
    let ran = unread.run(&["check", "--config", "nowhere.toml"]);
    assert!(ran.assert_code(1).stderr.lines().count() == 1 && weak_lines(&ran).is_empty(), "{ran}");
    // Mistakes in files are reported together with a Redis that doesn't answer.
    let home = Home::new().set("redis.url", "redis://127.0.0.1:1").set("smtp.url", "smtps://mail.example");
    let missing = home.path().join("nowhere").display().to_string();
    let home = home
        .set("redirect.deny_file", missing.clone())
        .set("targets.blocked_file", missing.clone())
        .set("site.logo", missing.clone())
        .set("smtp.tls_ca_file", missing)
        .set("console.session_idle", "13h");
    let ran = home.run(&["check"]);
    ran.assert_code(1).assert_names(&[
        "redirect.deny_file",
        "targets.blocked_file",
        "site.logo",
        "smtp.tls_ca_file",
        "Start Redis at 127.0.0.1:1",
    ]);
    assert_eq!(weak_lines(&ran).len(), 1, "{ran}");
    home.run(&["serve"]).assert_code(1).assert_names(&["redirect.deny_file", "targets.blocked_file", "site.logo"]);
}

#[test]
fn a_weakness_is_logged_at_the_start() {
    let server = Home::new().set("console.session_idle", "13h").start();
    let lines = server.log();
    assert!(lines.iter().any(|line| line.contains("WARN") && line.contains("console.session_idle")), "{lines:?}");
}

#[test]
fn print_shows_each_setting_with_its_origin_and_without_its_secrets() {
    let home = Home::new()
        .unset(LISTEN)
        .set("redis.url", "redis://merlink:hunter2@redis.example")
        .set("smtp.url", "smtps://merlink:hunter2@mail.example")
        .set("traces.otlp_url", "https://t.example/v1/traces?token=hunter2")
        .set("traces.headers", "authorization=Bearer%20hunter2, x-scope=hunter2")
        .set("site.footer_links", "Help=https://amy:hunter2@help.example/");
    let path = home.write("merlink.toml", "[public]\nlisten = \"127.0.0.1:9\"\n[redis]\npool_size = 20\n");
    let path = path.display().to_string();
    let ran = home.run(&["check", "--print", "--config", &path]);
    let printed = &ran.assert_code(0).stdout;
    assert!(!printed.contains("hunter2"), "{ran}");
    for line in [
        &format!("listen = \"127.0.0.1:9\"  # {path}:2"),
        &format!("pool_size = 20  # {path}:4"),
        "listen = \"127.0.0.1:0\"  # environment MERLINK_OPERATOR__LISTEN",
        "languages = [\"en\", \"zh-Hans\", \"ms\", \"ta\"]  # default",
        "url = \"redis://merlink:***@redis.example\"  # environment MERLINK_REDIS__URL",
        "url = \"smtps://merlink:***@mail.example\"  # environment MERLINK_SMTP__URL",
        "otlp_url = \"https://t.example/v1/traces?***\"  # environment MERLINK_TRACES__OTLP_URL",
        "headers = \"authorization=***, x-scope=***\"  # environment MERLINK_TRACES__HEADERS",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {ran}");
    }
    let defaults =
        include_str!("../../config/merlink.toml").lines().filter(|line| line.contains(" = ") && !line.starts_with('#'));
    assert_eq!(printed.matches("  # ").count(), defaults.count(), "{ran}");
    // No form of an address shows its password.
    for url in ["redis-sentinel://u:hunter2@a,b/main", "redis-cluster://:hunter2@a,b", "redis+unix:///s?pass=hunter2"] {
        let ran = Home::new().set("redis.url", url).set("site.name", "007").run(&["check", "--print"]);
        let printed = &ran.assert_code(0).stdout;
        assert!(!printed.contains("hunter2") && printed.contains("url = \"redis"), "{ran}");
        assert!(printed.contains("name = \"007\""), "a name stays one: {ran}");
    }
    // The output is a file of settings.
    let copy = home.write("printed.toml", printed).display().to_string();
    Home::new().run(&["check", "--print", "--config", &copy]).assert_code(0);
}

#[test]
fn a_test_mail_is_sent_and_the_mail_servers_answer_is_shown() {
    let smtp = SmtpServer::start(None, "250 yes");
    let home = Home::new().set("smtp.url", format!("smtp://{}", smtp.address));
    let ran = home.run(&["check", "--mail-to", "root@agency.gov.sg"]);
    assert!(ran.assert_code(0).stdout.contains("mail          the mail server answers 250"), "{ran}");
    let mail = smtp.awaits_mail();
    assert_eq!(mail.to, ["<root@agency.gov.sg>"]);
    assert!(mail.text.contains("can send mail"), "{}", mail.text);

    let smtp = SmtpServer::start(None, "550 5.1.1 no such mailbox");
    let home = Home::new().set("smtp.url", format!("smtp://{}", smtp.address));
    home.run(&["check", "--mail-to", "root@agency.gov.sg"])
        .assert_code(1)
        .assert_names(&["root@agency.gov.sg wasn't sent", "no such mailbox"]);
    let home = Home::new().set("smtp.url", "smtp://127.0.0.1:1");
    home.run(&["check", "--mail-to", "root@agency.gov.sg"]).assert_code(1).assert_names(&["wasn't sent", "refused"]);
    let home = Home::new().set("public.base_url", "https://go.example");
    home.run(&["check", "--mail-to", "root@agency.gov.sg"]).assert_code(1).assert_names(&["smtp.url is empty"]);
    assert!(Home::new().run(&["check", "--mail-to", "root"]).code == Some(2), "not an address");
}

#[test]
fn a_wrong_password_of_redis_is_called_that() {
    let redis = RedisServer::start();
    let mut connection = redis.connect().expect("it answers");
    redis::cmd("CONFIG").arg(&["SET", "requirepass", "right"]).exec(&mut connection).expect("it takes a password");
    for url in [redis.url(), format!("{}?pass=hunter2", redis.url()), format!("{}?user=who&pass=hunter2", redis.url())]
    {
        let ran = Home::new().set("redis.url", url).run(&["check"]);
        ran.assert_code(1).assert_names(&["it refuses the user or the password in redis.url"]);
        assert!(!ran.stderr.contains("Start Redis") && !ran.stderr.contains("hunter2"), "{ran}");
    }
}

#[test]
fn rights_that_an_acl_lacks_are_named_once_with_their_keys() {
    let acl = crate::redis_nodes::acl();
    for (from, to, named) in [
        (" ~mails:*", "", "lacks the rights ~mails:* for "),
        (" ~otp:* ~mails:*", "", "lacks the rights ~mails:*, ~otp:* for "),
        (" +script|load", "", "lacks the rights +script|load for SCRIPT LOAD. Load deploy/redis-acl.conf"),
        (" &merlink:*", " &other:*", "lacks the rights &merlink:"),
    ] {
        assert!(acl.contains(from), "{from}");
        let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        std::fs::write(file.path(), acl.replace(from, to)).expect("it can be written");
        let redis = RedisServer::with(&[("include", file.path().to_str().expect("UTF-8"))]);
        let password = crate::redis_nodes::MERLINKS_PASSWORD.replace('/', "%2F").replace('@', "%40");
        let ran = Home::new().set("redis.url", format!("{}?user=merlink&pass={password}", redis.url())).run(&["check"]);
        ran.assert_code(1).assert_names(&[named]);
        assert_eq!(ran.stderr.lines().count(), 1, "{from}: {ran}");
        assert!(ran.stdout.contains("not known     appendfsync"), "CONFIG is forbidden: {ran}");
    }
}

#[test]
fn colours_are_for_terminals_alone() {
    let ran = Home::new()
        .set("console.session_idle", "13h")
        .set("redirect.deny_file", "/nowhere")
        .run(&["check", "--settings"]);
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "{ran}");
    for (variable, value, coloured) in [("CLICOLOR_FORCE", "1", true), ("NO_COLOR", "1", false)] {
        let home = Home::new().set("console.session_idle", "13h").set("redirect.deny_file", "/nowhere");
        let ran = home.environment(variable, value).run(&["check", "--settings"]);
        assert_eq!(ran.stdout.contains('\u{1b}'), coloured, "{variable}: {ran}");
        assert_eq!(ran.stderr.contains('\u{1b}'), coloured, "{variable}: {ran}");
    }
}
