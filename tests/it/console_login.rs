//! Logging in to the console by a one-time password, and all the ways that must not lead in.

use std::{fs, thread};

use crate::{
    console::{Desk, mails, password_in},
    harness::{Home, Server, eventually},
    redis_server::RedisServer,
    smtp_server::SmtpServer,
    tls,
};

const AMY: &str = "amy.tan@agency.gov.sg";

/// The one-time passwords of a mailbox as they are kept.
fn kept_otps(server: &Server, email: &str) -> serde_json::Value {
    let text: String = redis::cmd("GET").arg(format!("otp:{{{email}}}")).query(&mut server.redis()).expect("is kept");
    serde_json::from_str(&text).expect("is JSON")
}

/// Asks for a password and answers it.
#[track_caller]
fn ask(desk: &mut Desk<'_>, server: &Server, email: &str) -> String {
    let before = mails(server).len();
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", email)]).assert_page("asking", 200);
    desk.password_after(before)
}

#[test]
fn an_officer_logs_in_with_the_password_that_was_mailed_and_out_again() {
    let server = Server::start();
    let mut desk = Desk::at(&server);
    let first = desk.opens("/console/links");
    assert_eq!((first.status, first.header("location")), (303, Some("/console/login")));
    let page = desk.opens("/console/login");
    page.assert_page("login", 200);
    let cookie = page.header("set-cookie").expect("the browser gets a secret").to_owned();
    assert!(cookie.contains("; Path=/; HttpOnly; SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");
    for (header, part) in [
        ("content-security-policy", "script-src 'self'"),
        ("cache-control", "no-store"),
        ("referrer-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert!(page.header(header).is_some_and(|value| value.contains(part)), "{header}: {:?}", page.headers);
    }
    assert!(!page.header("content-security-policy").unwrap_or_default().contains("unsafe"));

    let password = ask(&mut desk, &server, "  Amy.Tan@Agency.gov.sg ");
    let mail = fs::read_to_string(&mails(&server)[0]).expect("a mail can be read");
    assert!(mail.contains(&format!("To: {AMY}\r\n")) && mail.contains("Subject: "), "{mail}");
    let spaced = format!(" {} {} ", &password[..3], &password[3..]);
    let answer = desk.sends("/console/login/password", &[("email", AMY), ("password", &spaced)]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/console/links")), "{}", answer.text());
    assert!(desk.sees("/console/account").contains(AMY));
    let again = desk.opens("/console/login?next=/console/account");
    assert_eq!((again.status, again.header("location")), (303, Some("/console/account")), "is in already");

    // A password works once.
    let mut other = Desk::at(&server);
    other.cookies.clone_from(&desk.cookies);
    desk.sees("/console/account");
    let before = desk.cookies.clone();
    assert_eq!(desk.sends("/console/logout", &[]).header("location"), Some("/console/login?done=out"));
    assert_eq!(desk.opens("/console/account").status, 303);
    desk.cookies = before;
    assert_eq!(desk.opens("/console/account").status, 303, "the old cookie opens nothing");
    assert!(server.metrics().with("merlink_http_requests_total", &[("api", "console")]) > 0.0);
}

#[test]
fn with_https_the_cookie_is_secure_and_of_this_host_alone() {
    let smtp = SmtpServer::start(None, "250 ok");
    let server = Home::new()
        .set("public.base_url", "https://go.example")
        .set("smtp.url", format!("smtp://{}", smtp.address))
        .start();
    let cookie = Desk::at(&server).opens("/console/login").header("set-cookie").expect("a secret").to_owned();
    assert!(cookie.starts_with("__Host-") && cookie.contains("; Secure") && !cookie.contains("Domain"), "{cookie}");
}

#[test]
fn three_wrong_guesses_end_a_password_and_guessing_at_once_gives_no_fourth() {
    let server = Server::start();
    let mut desk = Desk::at(&server);
    let password = ask(&mut desk, &server, AMY);
    let wrong = |number: usize| format!("{:06}", (password.parse::<usize>().expect("digits") + number) % 1_000_000);
    let token = desk.token.clone();
    let origin = format!("http://{}", server.public_address());
    thread::scope(|scope| {
        for number in 1..=30 {
            let guess = wrong(number);
            let request = desk
                .form("/console/login/password", &token, &[("email", AMY), ("password", &guess)])
                .header("Origin", &origin);
            scope.spawn(move || assert_eq!(request.send().status, 422));
        }
    });
    assert_eq!(kept_otps(&server, AMY)[0]["tries"], 3, "exactly three were tried");
    let answer = desk.sends("/console/login/password", &[("email", AMY), ("password", &password)]);
    assert_eq!(answer.status, 422, "the right one comes too late");

    // A new one works, after two wrong guesses.
    let password = ask(&mut desk, &server, AMY);
    let other = if password == "000000" { "000001" } else { "000000" };
    for _ in 0..2 {
        assert_eq!(desk.sends("/console/login/password", &[("email", AMY), ("password", other)]).status, 422);
    }
    assert_eq!(desk.sends("/console/login/password", &[("email", AMY), ("password", &password)]).status, 303);
    let failures = server.metrics().with("merlink_auth_failures_total", &[("kind", "wrong_otp")]);
    assert_eq!(failures, 33.0);
}

#[test]
fn a_password_lasts_five_minutes_whatever_is_tried_and_only_in_its_browser() {
    let server = Server::start();
    let mut desk = Desk::at(&server);
    let password = ask(&mut desk, &server, AMY);
    let mut thief = Desk::at(&server);
    thief.opens("/console/login");
    let stolen = thief.sends("/console/login/password", &[("email", AMY), ("password", &password)]);
    assert_eq!(stolen.status, 422, "read over a shoulder, it opens no other browser");
    assert_eq!(kept_otps(&server, AMY)[0]["tries"], 0, "nor does the try count against the officer");

    let key = format!("otp:{{{AMY}}}");
    let mut redis = server.redis();
    let life = |redis: &mut redis::Connection| redis::cmd("PEXPIRETIME").arg(&key).query::<i64>(redis).expect("a time");
    let before = life(&mut redis);
    let other = if password == "000000" { "000001" } else { "000000" };
    desk.sends("/console/login/password", &[("email", AMY), ("password", other)]);
    assert_eq!(life(&mut redis), before, "a wrong guess lengthens nothing");

    let mut otps = kept_otps(&server, AMY);
    otps[0]["at"] = (otps[0]["at"].as_i64().expect("a time") - 300_000).into();
    redis::cmd("SET").arg(&key).arg(otps.to_string()).arg("KEEPTTL").exec(&mut redis).expect("is taken");
    assert_eq!(desk.sends("/console/login/password", &[("email", AMY), ("password", &password)]).status, 422);
}

#[test]
fn any_address_gets_the_same_answer_but_only_officers_get_mail() {
    let server = Home::new().set("limits.otps_per_hour", "2").start();
    let page = |email: &str| {
        let mut desk = Desk::at(&server);
        desk.opens("/console/login");
        let token = desk.token.clone();
        let asked = desk.sends("/console/login", &[("email", email)]);
        asked.assert_page(email, 200);
        let guessed = desk.sends("/console/login/password", &[("email", email), ("password", "12345")]);
        assert_eq!(guessed.status, 422);
        [asked, guessed].map(|answer| answer.text().replace(email, "EMAIL").replace(&token, "TOKEN"))
    };
    let officer = page(AMY);
    assert_eq!(page("someone@example.com"), officer, "an outsider");
    assert_eq!(mails(&server).len(), 1);
    assert_eq!(page(AMY), officer);
    assert_eq!(page(AMY), officer, "a mailbox that has had its share");
    assert_eq!(mails(&server).len(), 2, "two an hour, as the setting says");
    let metrics = server.metrics();
    for kind in ["not_an_officer", "many_otps"] {
        assert_eq!(metrics.with("merlink_auth_failures_total", &[("kind", kind)]), 1.0, "{kind}");
    }
}

#[test]
fn what_is_no_address_is_refused_and_puts_nothing_into_a_mail() {
    let server = Server::start();
    let mut desk = Desk::at(&server);
    desk.opens("/console/login");
    for email in [
        "",
        "amy",
        "amy@agency.gov.sg\r\nBcc: eve@evil.example",
        "amy@agency.gov.sg\nSubject: hello",
        "amy@agency.gov.sg, eve@x.gov.sg",
        "amy@agency.gov.sg>\r\nRCPT TO:<eve@x.gov.sg",
        "\"><script>alert(1)</script>@x.gov.sg",
        "eve@x.gov.sg\0",
    ] {
        let answer = desk.sends("/console/login", &[("email", email)]);
        answer.assert_page(&format!("{email:?}"), 422);
        assert!(!answer.text().contains("<script>alert"), "{email:?} comes back as text");
    }
    assert!(mails(&server).is_empty());
}

#[test]
fn a_cookie_that_was_planted_before_login_opens_nothing_afterwards() {
    let server = Server::start();
    let mut eve = Desk::at(&server);
    eve.opens("/console/login");
    let planted = eve.cookies.clone();
    let mut amy = Desk::at(&server);
    amy.cookies.clone_from(&planted);
    amy.logs_in(AMY);
    assert_ne!(amy.cookies, planted, "login gives a new secret");
    assert_eq!(eve.opens("/console/account").status, 303, "the planted one is worth nothing");
    assert!(amy.sees("/console/account").contains(AMY));
    for invented in ["", "a", &"a".repeat(43), "../../x", "\u{e9}"] {
        let mut eve = Desk::at(&server);
        eve.cookies.push((planted[0].0.clone(), invented.to_owned()));
        assert_eq!(eve.opens("/console/account").status, 303, "{invented:?}");
    }
}

#[test]
fn a_form_from_elsewhere_or_without_its_token_changes_nothing() {
    let server = Server::start();
    let mut desk = Desk::of(&server, AMY);
    let mut other = Desk::of(&server, "ben@agency.gov.sg");
    other.sees("/console/account");
    desk.sees("/console/account");
    let token = desk.token.clone();
    let own = format!("http://{}", server.public_address());
    for (about, token, origin) in [
        ("no token", "", own.as_str()),
        ("another browser's token", other.token.as_str(), &own),
        ("another site", &token, "https://evil.example"),
        ("a sandboxed page", &token, "null"),
        ("a look-alike", &token, &format!("{own}.evil.example")),
        ("no origin and no token", "", ""),
    ] {
        let form = desk.form("/console/logout-everywhere", token, &[]);
        let answer = if origin.is_empty() { form.send() } else { form.header("Origin", origin).send() };
        answer.assert_page(about, 403);
    }
    assert!(desk.sees("/console/account").contains(AMY), "is still logged in");
    let login = Desk::at(&server).form("/console/login", "", &[("email", AMY)]).header("Origin", &own).send();
    assert_eq!(login.status, 403, "the login form too");
    let metrics = server.metrics();
    assert_eq!(metrics.with("merlink_auth_failures_total", &[("kind", "foreign_origin")]), 3.0);
    assert_eq!(metrics.with("merlink_auth_failures_total", &[("kind", "form_token")]), 4.0);
}

#[test]
fn logging_out_everywhere_ends_the_sessions_of_all_browsers_and_nobody_elses() {
    let server = Server::start();
    let mut office = Desk::of(&server, AMY);
    let mut home = Desk::of(&server, AMY);
    let mut ben = Desk::of(&server, "ben@agency.gov.sg");
    office.sees("/console/account");
    assert_eq!(office.sends("/console/logout-everywhere", &[]).status, 303);
    assert_eq!((office.opens("/console/account").status, home.opens("/console/account").status), (303, 303));
    ben.sees("/console/account");
    home.logs_in(AMY);
    home.sees("/console/account");
}

#[test]
fn a_session_ends_when_it_is_idle_and_when_it_is_old() {
    let server = Home::new().set("console.session_idle", "10m").set("console.session_max", "2h").start();
    let mut desk = Desk::of(&server, AMY);
    let mut redis = server.redis();
    let keys: Vec<String> = redis::cmd("KEYS").arg("session:{*").query(&mut redis).expect("the keys");
    let [key] = keys.as_slice() else { panic!("one session: {keys:?}") };
    let left_ms = |redis: &mut redis::Connection| redis::cmd("PTTL").arg(key).query::<i64>(redis).expect("a time");
    assert!((1..=600_000).contains(&left_ms(&mut redis)), "it ends by itself");
    redis::cmd("PEXPIRE").arg(key).arg(60_000).exec(&mut redis).expect("is taken");
    desk.sees("/console/account");
    assert!(left_ms(&mut redis) > 500_000, "a page prolongs it");

    let text: String = redis::cmd("GET").arg(key).query(&mut redis).expect("a session");
    let mut session: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let age = |session: &mut serde_json::Value, ms: i64| {
        session["since_ms"] = (session["since_ms"].as_i64().expect("a time") - ms).into();
        session.to_string()
    };
    redis::cmd("SET")
        .arg(key)
        .arg(age(&mut session, 7_080_000))
        .arg("PX")
        .arg(60_000)
        .exec(&mut redis)
        .expect("is taken");
    desk.sees("/console/account");
    assert!(left_ms(&mut redis) <= 120_000, "but never beyond its age");
    redis::cmd("SET").arg(key).arg(age(&mut session, 120_000)).arg("KEEPTTL").exec(&mut redis).expect("is taken");
    assert_eq!(desk.opens("/console/account").status, 303);
}

#[test]
fn while_redis_is_away_the_console_says_so_and_nobody_is_logged_out() {
    let redis = RedisServer::start();
    let server = Home::new().set("redis.url", redis.url()).start();
    let mut desk = Desk::of(&server, AMY);
    desk.sees("/console/account");
    let cookies = desk.cookies.clone();
    server.expect_log("redis");
    server.expect_log("store");
    redis.freeze();
    for answer in [desk.opens("/console/account"), desk.sends("/console/logout", &[])] {
        answer.assert_page("away", 503);
        answer.assert_retry_after("away", 60);
        assert_eq!(answer.header("set-cookie"), None);
        assert!(answer.text().contains("still logged in"));
    }
    redis.thaw();
    server.await_ready();
    assert_eq!(desk.cookies, cookies);
    eventually("the session goes on", || (desk.opens("/console/account").status == 200).then_some(()));
}

#[test]
fn login_leads_on_to_the_page_that_was_asked_for_and_never_to_another_site() {
    let server = Server::start();
    let asked = Desk::at(&server).opens("/console/account?x=1");
    assert_eq!(asked.header("location"), Some("/console/login?next=/console/account%3Fx%3D1"));
    for (next, location) in [
        ("/console/account?x=1", "/console/account?x=1"),
        ("//evil.example", "/console/links"),
        ("https://evil.example/console/", "/console/links"),
        ("/console/\\evil.example", "/console/links"),
    ] {
        let mut desk = Desk::at(&server);
        let password = ask(&mut desk, &server, AMY);
        let fields = [("email", AMY), ("password", password.as_str()), ("next", next)];
        assert_eq!(desk.sends("/console/login/password", &fields).header("location"), Some(location), "{next}");
    }
}

#[test]
fn too_many_logins_from_one_address_wait() {
    let server = Home::new().set("limits.logins_per_minute", "3").start();
    let mut desk = Desk::at(&server);
    desk.opens("/console/login");
    for _ in 0..3 {
        desk.sends("/console/login", &[("email", AMY)]).assert_page("within the limit", 200);
    }
    let answer = desk.sends("/console/login", &[("email", AMY)]);
    answer.assert_page("beyond", 429);
    answer.assert_retry_after("beyond", 60);
    assert_eq!(desk.sends("/console/login/password", &[("email", AMY), ("password", "1")]).status, 429);
}

#[test]
fn a_mail_server_gets_the_mail() {
    let smtp = SmtpServer::start(None, "250 ok");
    let server = Home::new()
        .set("smtp.url", format!("smtp://{}", smtp.address))
        .set("smtp.from", "go@agency.gov.sg")
        .set("site.name", "Go \"Ünïcode\" <x>")
        .start();
    let mut desk = Desk::at(&server);
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", AMY)]).assert_page("asking", 200);
    let mail = smtp.awaits_mail();
    assert_eq!((mail.from.as_str(), mail.to), ("<go@agency.gov.sg>", vec![format!("<{AMY}>")]));
    assert!(mail.text.contains("<go@agency.gov.sg>\r\n") && mail.text.is_ascii(), "{}", mail.text);
    assert_eq!(mail.login, None);
    let password = password_in(&mail.text);
    assert_eq!(desk.sends("/console/login/password", &[("email", AMY), ("password", &password)]).status, 303);
    assert!(!server.home().data_dir().join("outbox").exists(), "nothing is left lying about");
    server.finish();
    assert!(server.log().iter().all(|line| !line.contains(&password) && !line.contains(AMY)), "nor logged");
}

#[test]
fn a_mail_server_is_told_its_password_over_tls() {
    let (authority, tls) = tls::localhost();
    let smtp = SmtpServer::start(Some(tls), "250 ok");
    let home = Home::new();
    let authority = home.write("mail.pem", &authority);
    let url = format!("smtps://go:p%40ss@localhost:{}", smtp.address.port());
    let server = home.set("smtp.url", url).set("smtp.tls_ca_file", authority.display().to_string()).start();
    let mut desk = Desk::at(&server);
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", AMY)]).assert_page("asking", 200);
    let mail = smtp.awaits_mail();
    // "\0go\0p@ss" in base64.
    assert_eq!(mail.login.as_deref(), Some("AGdvAHBAc3M="));
    password_in(&mail.text);
}

#[test]
fn a_mail_that_is_refused_is_the_operators_to_see_and_nobody_elses() {
    let smtp = SmtpServer::start(None, "550 5.1.1 amy.tan@agency.gov.sg is not here");
    let server = Home::new().set("smtp.url", format!("smtp://{}", smtp.address)).start();
    server.expect_log("a mail couldn't be sent: the mail server answered 550");
    let mut desk = Desk::at(&server);
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", AMY)]).assert_page("the same page", 200);
    eventually("the failure is counted", || {
        (server.metrics().with("merlink_mails_total", &[("outcome", "failed")]) == 1.0).then_some(())
    });
    server.finish();
    assert!(server.log().iter().all(|line| !line.contains(AMY)), "no address in the log");
}

#[test]
fn a_mail_server_whose_name_is_never_found_holds_up_nobody_and_no_end() {
    let Some(home) = Home::new().set("smtp.url", "smtp://mail.example").where_names_are_never_found() else { return };
    let server = home.start();
    server.expect_log("a mail is dropped");
    let mut desk = Desk::at(&server);
    desk.opens("/console/login");
    let officer = server.officer("amy@agency.gov.sg");
    // More than may wait.
    for number in 0..220 {
        let email = format!("officer-{number}@agency.gov.sg");
        desk.sends("/console/login", &[("email", &email)]).assert_page("asking", 200);
    }
    assert!(server.metrics().with("merlink_mails_total", &[("outcome", "dropped")]) >= 1.0);
    officer.creates("form", "https://example.com/form");
    server.follow("form").assert_redirects("meanwhile", "https://example.com/form");
    officer.sees_clicks("form", 1);
    server.finish();
}

#[test]
fn without_a_mail_server_only_a_developers_machine_lets_anybody_in() {
    let server = Home::new().set("public.base_url", "https://go.example").start();
    let mut desk = Desk::at(&server);
    let page = desk.opens("/console/login");
    page.assert_page("login", 503);
    assert!(page.text().contains("mail isn’t set up"), "{}", page.text());
    assert!(!server.home().data_dir().join("outbox").exists());
}

#[test]
fn paths_and_methods_that_the_console_lacks_are_refused_as_pages() {
    let server = Server::start();
    for path in ["/console/nothing", "/console/assets/console-00000000.css", "/console/links/a/b/c"] {
        server.get(path).send().assert_page(path, 404);
    }
    for (method, path, allow) in [
        ("DELETE", "/console/login", "GET, HEAD, POST"),
        ("GET", "/console/logout", "POST"),
        ("POST", "/console", "GET, HEAD"),
    ] {
        let answer = server.request(method, path).send();
        answer.assert_page(path, 405);
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    let head = server.request("HEAD", "/console/login").send();
    assert_eq!((head.status, head.body.len()), (200, 0));
}
