//! Logging in to the console by a one-time password, and all the ways that must not lead in.

use std::{fs, thread};

use crate::{
    console::{Desk, link_in, mails, password_in, wrong_password},
    harness::{Home, Server, eventually},
    http::Answer,
    redis_server::RedisServer,
    smtp_server::SmtpServer,
    tls,
};

const AMY: &str = "amy.tan@agency.gov.sg";

/// The key of the only login that is under way.
#[track_caller]
fn kept_key(redis: &mut redis::Connection) -> String {
    let keys: Vec<String> = redis::cmd("KEYS").arg("otp:{*").query(redis).expect("the keys");
    let [key] = keys.as_slice() else { panic!("one login is under way: {keys:?}") };
    key.clone()
}

/// The record that is kept of it.
#[track_caller]
fn kept_login(server: &Server) -> serde_json::Value {
    let mut redis = server.redis();
    let key = kept_key(&mut redis);
    let text: String = redis::cmd("GET").arg(key).query(&mut redis).expect("is kept");
    serde_json::from_str(&text).expect("is JSON")
}

/// Waits until the mail server has accepted so many mails, and what is in them is valid.
#[track_caller]
fn awaits_sent(server: &Server, mails: f64) {
    eventually("the mails are sent", || {
        (server.metrics().with("merlink_mails_total", &[("outcome", "sent")]) >= mails).then_some(())
    });
}

#[track_caller]
fn assert_logs_in(answer: &Answer, to: &str) {
    assert_eq!((answer.status, answer.header("location")), (303, Some(to)), "{}", answer.text());
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
    let spaced = format!(" {} ", password.replace('-', " ").to_lowercase());
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
    let wrong = |number: usize| {
        let guess = format!("0000-00{number:02}");
        if guess == password { "ZZZZ-ZZZZ".to_owned() } else { guess }
    };
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
    assert_eq!(kept_login(&server)["tries"], 3, "exactly three were tried");
    let answer = desk.sends("/console/login/password", &[("email", AMY), ("password", &password)]);
    assert_eq!(answer.status, 422, "the right one comes too late");

    // A new one works, after two wrong guesses.
    let password = ask(&mut desk, &server, AMY);
    for _ in 0..2 {
        let wrong = wrong_password(&password);
        assert_eq!(desk.sends("/console/login/password", &[("email", AMY), ("password", wrong)]).status, 422);
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
    assert_eq!(kept_login(&server)["tries"], 0, "nor does the try count against the officer");

    let mut redis = server.redis();
    let key = kept_key(&mut redis);
    let life = |redis: &mut redis::Connection| redis::cmd("PEXPIRETIME").arg(&key).query::<i64>(redis).expect("a time");
    let before = life(&mut redis);
    desk.sends("/console/login/password", &[("email", AMY), ("password", wrong_password(&password))]);
    assert_eq!(life(&mut redis), before, "a wrong guess lengthens nothing");
    let left_ms: i64 = redis::cmd("PTTL").arg(&key).query(&mut redis).expect("a time");
    assert!((1..=300_000).contains(&left_ms), "{left_ms}");
    redis::cmd("PEXPIREAT").arg(&key).arg(before - 300_000).exec(&mut redis).expect("five minutes pass");
    assert_eq!(desk.sends("/console/login/password", &[("email", AMY), ("password", &password)]).status, 422);
}

#[test]
fn any_address_gets_the_same_answer_but_only_officers_get_mail() {
    for known_only in ["false", "true"] {
        let home = Home::new().set("limits.otps_per_hour", "3").set("officers.known_only", known_only);
        let server = home.set("officers.admins", AMY).start();
        let page = |email: &str| {
            let mut desk = Desk::at(&server);
            desk.opens("/console/login");
            let token = desk.token.clone();
            let asked = desk.sends("/console/login", &[("email", email)]);
            let guessed = desk.sends("/console/login/password", &[("email", email), ("password", "12345")]);
            assert_eq!(guessed.status, 422);
            let text = |answer: &Answer| answer.text().replace(email, "EMAIL").replace(&token, "TOKEN");
            (asked.status, text(&asked), text(&guessed))
        };
        let first = page(AMY);
        assert_eq!(first.0, 200);
        // This network's share: half of three, rounded up.
        let (second, third) = (page(AMY), page(AMY));
        assert_eq!((second.0, third.0), (200, 429));
        assert!(second.1.contains("You can ask for the next mail in 60 minutes."), "{}", second.1);
        assert!(third.1.contains("No mail was sent: too many"), "{}", third.1);
        let mut outsiders = vec!["someone@example.com"];
        if known_only == "true" {
            outsiders.push("never-seen@agency.gov.sg");
        }
        for outsider in &outsiders {
            assert_eq!([page(outsider), page(outsider), page(outsider)], [&first, &second, &third].map(Clone::clone));
        }
        assert_eq!(mails(&server).len(), 2, "as the setting says, and to officers alone");
        let metrics = server.metrics();
        let failures = |kind: &str| metrics.with("merlink_auth_failures_total", &[("kind", kind)]);
        assert_eq!((failures("many_otps"), failures("not_an_officer")), (1.0, 3.0 * outsiders.len() as f64));
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
    awaits_sent(&server, 1.0);
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
    eventually("the refusal is counted", || {
        (server.metrics().with("merlink_mails_total", &[("outcome", "refused")]) == 1.0).then_some(())
    });
    assert_eq!(server.metrics().with("merlink_mails_total", &[("outcome", "failed")]), 0.0, "a stranger calls nobody");
    server.finish();
    assert!(server.log().iter().all(|line| !line.contains(AMY)), "no address in the log");
}

#[test]
fn a_mail_server_that_refuses_merlink_itself_is_counted_as_a_failure() {
    for answer in ["535 5.7.8 wrong password", "554 5.7.1 client host rejected"] {
        let smtp = SmtpServer::start(None, answer);
        let server = Home::new().set("smtp.url", format!("smtp://{}", smtp.address)).start();
        server.expect_log("a mail couldn't be sent: the mail server answered 5");
        let mut desk = Desk::at(&server);
        desk.opens("/console/login");
        desk.sends("/console/login", &[("email", AMY)]).assert_page("asking", 200);
        eventually(answer, || {
            (server.metrics().with("merlink_mails_total", &[("outcome", "failed")]) == 1.0).then_some(())
        });
        assert_eq!(server.metrics().with("merlink_mails_total", &[("outcome", "refused")]), 0.0, "{answer}");
    }
}

#[test]
fn a_link_that_was_mailed_logs_in_once_and_in_its_browser_alone() {
    let server = Server::start();
    let mut desk = Desk::at(&server);
    desk.opens("/console/login?next=/console/account");
    desk.sends("/console/login", &[("email", AMY), ("next", "/console/account")]).assert_page("asking", 200);
    let link = link_in(&desk.mail_after(0));

    // A mail scanner fetches it, and even presses the button.
    let mut scanner = Desk::at(&server);
    let page = scanner.opens(&link);
    page.assert_page("another browser", 404);
    assert!(page.text().contains("only in the browser that asked for it") && !page.text().contains(AMY));
    scanner.opens("/console/login");
    scanner.sends(&link, &[]).assert_page("another browser", 404);
    assert_eq!(scanner.opens("/console/account").status, 303);

    for _ in 0..2 {
        let page = desk.opens(&link);
        page.assert_page("its browser", 200);
        assert!(page.text().contains(AMY), "says who logs in: {}", page.text());
    }
    assert_eq!(desk.opens("/console/account").status, 303, "opening it isn't logging in");
    desk.opens(&link);
    let foreign = desk.form(&link, "", &[]).send();
    assert_eq!(foreign.status, 403, "without the page's token");
    let mut again = Desk::at(&server);
    again.cookies.clone_from(&desk.cookies);
    again.opens(&link);
    assert_logs_in(&desk.sends(&link, &[]), "/console/account");
    assert!(desk.sees("/console/account").contains(AMY));
    again.sends(&link, &[]).assert_page("a second time", 404);
    assert_eq!(desk.opens(&link).header("location"), Some("/console/links"), "is in already");
    for invented in
        ["/console/login/link/a", "/console/login/link/%2e%2e%2fx", &format!("/console/login/link/{}", "a".repeat(22))]
    {
        Desk::at(&server).opens(invented).assert_page(invented, 404);
    }
}

#[test]
fn after_three_wrong_passwords_the_link_of_the_same_mail_still_works() {
    let server = Server::start();
    let mut desk = Desk::at(&server);
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", AMY)]);
    let mail = desk.mail_after(0);
    for _ in 0..4 {
        let wrong = wrong_password(&password_in(&mail));
        assert_eq!(desk.sends("/console/login/password", &[("email", AMY), ("password", wrong)]).status, 422);
    }
    desk.opens(&link_in(&mail));
    assert_logs_in(&desk.sends(&link_in(&mail), &[]), "/console/links");
}

#[test]
fn a_password_is_valid_only_once_the_mail_server_has_accepted_its_mail() {
    let smtp = SmtpServer::holding("250 ok");
    let server = Home::new().set("smtp.url", format!("smtp://{}", smtp.address)).start();
    let mut desk = Desk::at(&server);
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", AMY)]).assert_page("asking", 200);
    let mail = smtp.awaits_mail();
    let password = password_in(&mail.text);
    let fields = [("email", AMY), ("password", password.as_str())];
    assert_eq!(desk.sends("/console/login/password", &fields).status, 422, "not yet accepted");
    desk.opens(&link_in(&mail.text)).assert_page("not yet accepted", 404);
    smtp.release();
    awaits_sent(&server, 1.0);
    assert_logs_in(&desk.sends("/console/login/password", &fields), "/console/links");
}

#[test]
fn nobody_can_guess_at_a_password_whose_mail_was_refused() {
    let smtp = SmtpServer::start(None, "550 5.1.1 no such mailbox");
    let server = Home::new().set("smtp.url", format!("smtp://{}", smtp.address)).start();
    server.expect_log("a mail couldn't be sent: the mail server answered 550");
    let mut desk = Desk::at(&server);
    desk.opens("/console/login");
    desk.sends("/console/login", &[("email", "invented@agency.gov.sg")]).assert_page("asking", 200);
    eventually("the refusal is counted", || {
        (server.metrics().with("merlink_mails_total", &[("outcome", "refused")]) == 1.0).then_some(())
    });
    assert_eq!(server.metrics().with("merlink_mails_total", &[("outcome", "failed")]), 0.0, "a stranger calls nobody");
    let kept: Vec<String> = redis::cmd("KEYS").arg("otp:*").query(&mut server.redis()).expect("the keys");
    assert!(kept.is_empty(), "{kept:?}");
}

#[test]
fn when_wrong_guesses_are_spent_strangers_need_the_link_and_known_browsers_go_on() {
    let server = Home::new().set("limits.wrong_otps_per_hour", "4").start();
    let mut known = Desk::of(&server, AMY);
    known.sees("/console/account");
    known.sends("/console/logout", &[]);
    let asks = |desk: &mut Desk<'_>, email: &str| {
        let before = mails(&server).len();
        desk.opens("/console/login");
        let page = desk.sends("/console/login", &[("email", email)]);
        page.assert_page("asking", 200);
        (page.text(), desk.mail_after(before))
    };
    // One who asked before the guesses are spent.
    let mut early = Desk::at(&server);
    let (_, early_mail) = asks(&mut early, "early@agency.gov.sg");
    for number in 0..4 {
        let mut eve = Desk::at(&server);
        let (page, mail) = asks(&mut eve, &format!("officer-{number}@agency.gov.sg"));
        assert!(page.contains("name=\"password\""), "before they are spent: {page}");
        let wrong = wrong_password(&password_in(&mail));
        let email = format!("officer-{number}@agency.gov.sg");
        assert_eq!(eve.sends("/console/login/password", &[("email", &email), ("password", wrong)]).status, 422);
    }
    let right = password_in(&early_mail);
    let answer = early.sends("/console/login/password", &[("email", "early@agency.gov.sg"), ("password", &right)]);
    assert_eq!(answer.status, 422, "the right password isn't looked at either");
    assert!(answer.text().contains("only the link in the mail") && !answer.text().contains("name=\"password\""));
    let mut outsider = Desk::at(&server);
    outsider.opens("/console/login");
    let outsider = outsider.sends("/console/login", &[("email", "someone@example.com")]).text();
    assert!(outsider.contains("only the link in the mail"), "any address reads the same: {outsider}");

    // Nobody is locked out: the link in the mail that is there already, and in a new one.
    early.opens(&link_in(&early_mail));
    assert_logs_in(&early.sends(&link_in(&early_mail), &[]), "/console/links");
    let mut late = Desk::at(&server);
    let (page, mail) = asks(&mut late, "late@agency.gov.sg");
    assert!(!page.contains("name=\"password\""), "{page}");
    assert!(!mail.contains("password"), "the mail has no password: {mail}");
    late.opens(&link_in(&mail));
    assert_logs_in(&late.sends(&link_in(&mail), &[]), "/console/links");

    let (page, mail) = asks(&mut known, AMY);
    assert!(page.contains("name=\"password\""), "{page}");
    let password = password_in(&mail);
    let wrong = wrong_password(&password);
    assert_eq!(known.sends("/console/login/password", &[("email", AMY), ("password", wrong)]).status, 422);
    assert_logs_in(
        &known.sends("/console/login/password", &[("email", AMY), ("password", &password)]),
        "/console/links",
    );
    assert!(server.metrics().with("merlink_auth_failures_total", &[("kind", "guesses_spent")]) >= 1.0);
    let mut redis = server.redis();
    let left_ms: i64 = redis::cmd("PTTL").arg("guesses").query(&mut redis).expect("a time");
    assert!((1..=3_600_000).contains(&left_ms), "they come back within an hour: {left_ms}");
}

#[test]
fn right_passwords_and_guesses_at_nothing_spend_no_guesses() {
    let server = Home::new().set("limits.wrong_otps_per_hour", "1").start();
    for _ in 0..3 {
        Desk::of(&server, AMY);
        let mut nobody = Desk::at(&server);
        nobody.opens("/console/login");
        let guess = nobody.sends("/console/login/password", &[("email", AMY), ("password", "0000-0000")]);
        assert!(guess.text().contains("name=\"password\""), "{}", guess.text());
    }
    assert_eq!(server.metrics().with("merlink_auth_failures_total", &[("kind", "guesses_spent")]), 0.0);
}

#[test]
fn strangers_cannot_use_up_the_mails_of_a_browser_that_the_officer_has_logged_in_with() {
    let server = Home::new().set("limits.otps_per_hour", "10").set("limits.logins_per_minute", "30").start();
    let mut desk = Desk::of(&server, AMY);
    let ticket = desk.cookies.iter().find(|(name, _)| name == "merlink-known").expect("a ticket").clone();
    assert!(!ticket.1.contains("amy"), "{ticket:?}");
    desk.sees("/console/account");
    desk.sends("/console/logout", &[]);
    let mut strangers = Desk::at(&server);
    strangers.opens("/console/login");
    let statuses: Vec<u16> = (0..40).map(|_| strangers.sends("/console/login", &[("email", AMY)]).status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(mails(&server).len() <= 11, "one mailbox gets ten an hour, and Amy's own");
    desk.logs_in(AMY);
    desk.sees("/console/account");

    // The ticket is for its officer and as it was signed.
    let forged = [
        (ticket.1.clone(), "ben@agency.gov.sg"),
        (ticket.1.replacen('.', ".a", 1), AMY),
        (format!("{}0", ticket.1), AMY),
        ("..".to_owned(), AMY),
    ];
    for (value, email) in forged {
        let mut eve = Desk::at(&server);
        eve.cookies.push((ticket.0.clone(), value.clone()));
        eve.opens("/console/login").assert_page(&value, 200);
        assert_eq!(eve.sends("/console/login", &[("email", email)]).status, 429, "{value} for {email}");
    }
    desk.sees("/console/account");
    desk.sends("/console/logout", &[]);
    // Its own allowance has an end, too.
    desk.opens("/console/login");
    let statuses: Vec<u16> = (0..10).map(|_| desk.sends("/console/login", &[("email", AMY)]).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 9, "{statuses:?}");
}

#[test]
fn one_network_cannot_use_up_a_mailbox_and_subaddresses_are_one_mailbox() {
    let home = Home::new().set("public.trusted_proxies", "127.0.0.0/8").set("limits.otps_per_hour", "10");
    let server = home.start();
    let ask_from = |address: &str, email: &str| {
        let mut desk = Desk::at(&server);
        desk.from = Some(address.to_owned());
        desk.opens("/console/login");
        desk.sends("/console/login", &[("email", email)]).status
    };
    let statuses: Vec<u16> = (0..20)
        .map(|number| ask_from(&format!("198.51.100.{number}"), &format!("amy.tan+{number}@agency.gov.sg")))
        .collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5, "a network's half: {statuses:?}");
    assert_eq!(ask_from("203.0.113.1", AMY), 200, "the officer, from elsewhere");
    let statuses: Vec<u16> = (0..20)
        .map(|number| ask_from(&format!("2001:db8:{number:x}::1"), &format!("amy.tan+{number}@agency.gov.sg")))
        .collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 4, "ten in all: {statuses:?}");
    assert_eq!(mails(&server).len(), 10);
    assert_eq!(ask_from("203.0.113.1", "ben@agency.gov.sg"), 200, "others have their own");
}

#[test]
fn with_known_only_a_stranger_with_an_officers_domain_gets_no_mail_until_invited() {
    let server = Home::new().set("officers.known_only", "true").set("officers.admins", "root@agency.gov.sg").start();
    let is_mailed = |email: &str| {
        let before = mails(&server).len();
        let mut desk = Desk::at(&server);
        desk.opens("/console/login");
        desk.sends("/console/login", &[("email", email)]).assert_page(email, 200);
        mails(&server).len() > before
    };
    assert!(!is_mailed(AMY), "nobody has heard of them");
    assert!(is_mailed("root@agency.gov.sg"), "an administrator");
    server.home().run(&["officer", "invite", AMY]).assert_code(0);
    assert!(is_mailed(AMY), "invited");
    Desk::of(&server, AMY);
    server.officer("with-key@agency.gov.sg");
    assert!(is_mailed("with-key@agency.gov.sg"), "has a key");
    server.home().run(&["officer", "invite", "someone@example.com"]).assert_code(1).assert_names(&["email_domains"]);
    assert!(!is_mailed("someone@example.com"));
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
