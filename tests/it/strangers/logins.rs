//! Getting in by guessing, and keeping an officer out.

use std::{collections::BTreeSet, thread};

use super::{report, size};
use crate::{
    console::{Desk, mails, password_in, wrong_password},
    harness::{Home, Server},
};

const AMY: &str = "amy.tan@agency.gov.sg";

/// One guess of 32 to the power of 8 is right.
const PASSWORDS: f64 = 1_099_511_627_776.0;
/// Hours that a week may start.
const HOURS: f64 = 169.0;

/// A browser in an IPv6 /48 of its own, of the 65,536 in a /32.
fn stranger(server: &Server, number: usize) -> Desk<'_> {
    let mut desk = Desk::at(server);
    desk.from = Some(format!("2001:db8:{number:x}::1"));
    desk.opens("/console/login");
    desk
}

#[test]
fn guessing_from_ever_new_networks_at_ever_new_mailboxes_stops_at_the_budget() {
    const BUDGET: usize = 30;
    const AT_ONCE: usize = 8;
    let server = Home::new()
        .unset("limits.logins_per_minute")
        .unset("limits.otps_per_hour")
        .set("limits.wrong_otps_per_hour", BUDGET.to_string())
        .set("public.trusted_proxies", "127.0.0.0/8")
        .start();
    let mailboxes = size(80, 1_600);
    let guess = |number: usize| {
        let email = format!("officer-{number}@agency.gov.sg");
        let mut eve = stranger(&server, number);
        assert_eq!(eve.sends("/console/login", &[("email", &email)]).status, 200);
        for password in ["0000-0000", "0000-0001", "0000-0002", "0000-0003"] {
            let answer = eve.sends("/console/login/password", &[("email", &email), ("password", password)]);
            assert_eq!(answer.status, 422, "{password}");
        }
    };
    thread::scope(|scope| {
        for first in 0..AT_ONCE {
            let guess = &guess;
            scope.spawn(move || (first..mailboxes).step_by(AT_ONCE).for_each(guess));
        }
    });
    let mut redis = server.redis();
    let wrong: usize = redis::cmd("GET").arg("guesses").query(&mut redis).expect("a number");
    assert_eq!(wrong, BUDGET, "exactly, however many guess at once");
    let keys: Vec<String> = redis::cmd("KEYS").arg("otp:*").query(&mut redis).expect("the keys");
    let tries: u64 = keys
        .iter()
        .map(|key| {
            let text: String = redis::cmd("GET").arg(key).query(&mut redis).expect("is kept");
            let login: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
            login["tries"].as_u64().expect("a number")
        })
        .sum();
    assert_eq!(tries, BUDGET as u64, "no more were compared");
    let spent = server.metrics().with("merlink_auth_failures_total", &[("kind", "guesses_spent")]);
    assert!(spent > 0.0);
    // The setting's default and its greatest value.
    let chance = |per_hour: f64| HOURS * per_hour / PASSWORDS;
    assert!(chance(100_000.0) < 1e-4);
    report(
        "7 guessing at one-time passwords, a network and a mailbox each",
        "as many compared as limits.wrong_otps_per_hour; less than 1 in 10,000 a week",
        &format!(
            "{tries} of {} compared at a limit of {BUDGET}; {:.1e} a week at the default of 1,000, {:.1e} at most",
            4 * mailboxes,
            chance(1_000.0),
            chance(100_000.0)
        ),
    );

    // An officer gets in meanwhile.
    let mut amy = stranger(&server, mailboxes);
    let before = mails(&server).into_iter().collect::<BTreeSet<_>>();
    amy.sends("/console/login", &[("email", AMY)]).assert_page("asking", 200);
    let mail = mails(&server).into_iter().find(|mail| !before.contains(mail)).expect("a mail");
    let link = crate::console::link_in(&std::fs::read_to_string(mail).expect("a mail can be read"));
    amy.opens(&link);
    assert_eq!(amy.sends(&link, &[]).status, 303);
}

#[test]
fn one_providers_networks_are_told_to_wait() {
    let server = Home::new().unset("limits.logins_per_minute").set("public.trusted_proxies", "127.0.0.0/8").start();
    let requests = size(600, 20_000);
    let mut eve = stranger(&server, 0);
    let passed = (0..requests)
        .filter(|number| {
            // All in 2001:db8:5::/48, each in a /64 of its own.
            eve.from = Some(format!("2001:db8:5:{number:x}::1"));
            eve.sends("/console/login/password", &[("email", AMY), ("password", "0000-0000")]).status != 429
        })
        .count();
    // Four times 60 at once, and as many again each minute that the run takes.
    assert!(passed < requests / 2, "{passed} of {requests}");
    report("7 guesses out of one IPv6 /48", "240 a minute", &format!("{passed} of {requests} passed"));
}

#[test]
fn a_named_officer_is_not_locked_out_by_a_flood_of_requests_in_their_name() {
    let server = Home::new()
        .unset("limits.logins_per_minute")
        .unset("limits.otps_per_hour")
        .set("public.trusted_proxies", "127.0.0.0/8")
        .start();
    let mut amy = Desk::of(&server, AMY);
    amy.sees("/console/account");
    amy.sends("/console/logout", &[]);
    let requests = size(50, 2_000);
    for number in 0..requests {
        let email = if number % 2 == 0 { AMY.to_owned() } else { format!("amy.tan+{number}@agency.gov.sg") };
        stranger(&server, number).sends("/console/login", &[("email", &email)]);
    }
    let delivered = mails(&server).len() - 1;
    assert!(delivered <= 10, "{delivered} mails to one mailbox within an hour");
    amy.opens("/console/login");
    let before = mails(&server).len();
    amy.sends("/console/login", &[("email", AMY)]).assert_page("asking", 200);
    let password = password_in(&amy.mail_after(before));
    assert_ne!(password, wrong_password(&password));
    let answer = amy.sends("/console/login/password", &[("email", AMY), ("password", &password)]);
    assert_eq!(answer.status, 303);
    report(
        "8 login mails asked for in an officer's name, from a network each",
        "10 mails an hour; the officer logs in in a known browser",
        &format!("{delivered} mails of {requests} requests; the officer logged in"),
    );
}
