//! Redis with replicas, watched over by Sentinels: failovers under load, without a restart of merlink.

use std::{
    iter::repeat_n,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    harness::{Home, Server, eventually},
    load::{self, Answered},
    redis_nodes::SentinelGroup,
    runs::{FAILOVERS, length_of_run},
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

fn server_on(group: &SentinelGroup) -> Server {
    let server = Home::new().set("redis.url", group.url()).start();
    for about in ["redis", "clicks wait in the journal"] {
        server.expect_log(about);
    }
    server
}

#[test]
fn redirects_go_on_and_clicks_stay_exact_through_failovers_of_every_kind() {
    let mut group = SentinelGroup::start();
    let (server, other) = (server_on(&group), server_on(&group));
    let (amy, maker) = (server.officer("amy@agency.gov.sg"), server.officer("maker@agency.gov.sg"));
    let answered = Answered::default();
    let codes = load::warm_links(&[&server, &other], &amy, 10, &answered);
    amy.creates("edited", TARGET);

    let failovers = length_of_run(FAILOVERS, 1) as usize;
    let started = Instant::now();
    let kinds = ["demoted", "frozen"].into_iter().chain(repeat_n("killed", failovers));
    for (number, kind) in kinds.enumerate() {
        let how = format!("{kind}-{number}");
        let old = group.primary();
        load::during(&server, &maker, &codes, &answered, || {
            match kind {
                "killed" => group.nodes[old].kill(),
                "demoted" => {
                    group.sentinels[0].ask::<()>(&["SENTINEL", "FAILOVER", "main"]).expect("the Sentinel agrees");
                }
                _ => group.nodes[old].freeze(),
            }
            eventually(&format!("{how}: the Sentinels name another primary"), || {
                (group.primary() != old).then_some(())
            });
            eventually(&format!("{how}: a new link redirects"), || {
                let code = format!("after-{how}");
                let answer = amy.create(&json!({"shortUrl": code, "longUrl": TARGET}));
                assert!([200, 400, 503].contains(&answer.status), "{how}: {} {}", answer.status, answer.text());
                (server.follow(&code).status == 302).then_some(())
            });
            // A frozen one goes on, believes itself to be the primary for some ten seconds more, and is then told otherwise.
            match kind {
                "frozen" => group.nodes[old].thaw(),
                "killed" if number > failovers => {}
                "killed" => group.nodes[old].start_again(),
                _ => {}
            }
            for number in 0..20 {
                let answer = amy.create(&json!({"shortUrl": format!("behind-{how}-{number}"), "longUrl": TARGET}));
                assert!([200, 503].contains(&answer.status), "{how}: {} {}", answer.status, answer.text());
            }
            group.await_replica();
        });
        server.await_ready();
        other.await_ready();
        // What the old primary acknowledged while it was one no more is gone, so an officer may have to say it again.
        let mut attempt = 0;
        eventually(&format!("{how}: both instances hear of an edit"), || {
            attempt += 1;
            let target = format!("{TARGET}?{how}-{attempt}");
            amy.update("edited", &json!({"longUrl": target}));
            let answers = [server.follow("edited"), other.follow("edited")];
            answers.iter().all(|answer| answer.header("location") == Some(&target)).then_some(())
        });
    }
    server.await_flushed();
    other.await_flushed();
    load::assert_clicks_are_exact(&amy, &answered);
    println!(
        "Sentinel: 1 primary demoted, 1 frozen, {failovers} killed: {answered}, in {} s",
        started.elapsed().as_secs()
    );
}

#[test]
fn nodes_answer_what_a_new_primary_says_that_lost_the_last_edits() {
    let mut group = SentinelGroup::start();
    let nodes = [server_on(&group), server_on(&group)];
    let amy = nodes[0].officer("amy@agency.gov.sg");
    let there = nodes[1].program_with_key(&amy.key);
    for code in ["edited", "off", "other"] {
        amy.creates(code, TARGET);
    }
    let leads = |code: &str| {
        nodes.each_ref().map(|node| {
            let answer = node.follow(code);
            (answer.status, answer.header("location").map(str::to_owned))
        })
    };
    let to = |target: &str| [(); 2].map(|()| (302, Some(target.to_owned())));
    let await_leads = |code: &str, expected: &[(u16, Option<String>); 2]| {
        eventually(&format!("{code}: {expected:?}"), || (leads(code) == *expected).then_some(()));
    };
    for code in ["edited", "off", "other"] {
        await_leads(code, &to(TARGET));
    }
    group.leave_replicas_behind();
    let lost = format!("{TARGET}?lost");
    amy.update("edited", &json!({"longUrl": lost})).assert_v1_status("an edit that will be lost", 200);
    amy.switches("off", "INACTIVE");
    amy.creates("born", TARGET);
    await_leads("edited", &to(&lost));
    await_leads("off", &[(); 2].map(|()| (410, None)));
    await_leads("born", &to(TARGET));
    assert_eq!(there.codes(&[("sort", "code")]), ["born", "edited", "off", "other"]);

    let old = group.primary();
    group.nodes[old].kill();
    group.let_replicas_catch_up();
    eventually("the Sentinels name another primary", || (group.primary() != old).then_some(()));
    let named = Instant::now();
    for code in ["edited", "off"] {
        await_leads(code, &to(TARGET));
    }
    await_leads("born", &[(); 2].map(|()| (404, None)));
    eventually("it is in no list either", || {
        let page = there.request("GET", "/links?sort=code").send();
        (page.status == 200 && !page.text().contains("born")).then_some(())
    });
    let took = named.elapsed();
    assert!(std::env::var_os(FAILOVERS).is_none() || took < Duration::from_secs(2), "{took:?}");

    // The same version as the edit that was lost.
    let new = format!("{TARGET}?new");
    eventually("an edit is taken", || (amy.update("edited", &json!({"longUrl": new})).status == 200).then_some(()));
    await_leads("edited", &to(&new));
    for code in ["off", "other"] {
        assert_eq!(leads(code), to(TARGET), "{code}, after an edit of another");
    }
    println!("Sentinel: a primary that lost edits is followed {} ms after it is named", took.as_millis());
}

#[test]
fn a_primary_that_still_reads_its_files_is_waited_for() {
    let mut group = SentinelGroup::start();
    let [server, later] = [0, 1].map(|_| server_on(&group));
    let amy = server.officer("amy@agency.gov.sg");
    for code in ["warm", "cold"] {
        amy.creates(code, TARGET);
    }
    server.follow("warm").assert_redirects("before", TARGET);
    server.await_flushed();
    later.end_by(Signal::TERM);
    group.be_patient();
    let primary = group.primary();
    let fill = "for number = 1, 150000 do redis.call('SET', 'filler:' .. number, number) end";
    group.nodes[primary].ask::<()>(&["EVAL", fill, "0"]).expect("the primary obeys");
    group.nodes[primary].kill();
    // In microseconds for each of them: a quarter of a minute, were it left at that.
    group.nodes[primary].begin_again(&["--key-load-delay", "100"]);
    let is_reading = || group.nodes[primary].info(&["INFO", "persistence"], "loading") == "1";
    eventually("the primary reads its files", || is_reading().then_some(()));
    later.start_again_unready();
    assert!(later.log().iter().any(|line| line.contains("starting without Redis") && line.contains("loading")));
    for _ in 0..20 {
        server.follow("warm").assert_redirects("a remembered link", TARGET);
        for node in [&server, &later] {
            let statuses = [node.operator("/readyz").send().status, node.follow("cold").status];
            assert_eq!(statuses, [503, 503], "nothing can be asked yet");
        }
        assert_eq!(amy.create(&json!({"shortUrl": "meanwhile", "longUrl": TARGET})).status, 503);
    }
    assert!(is_reading(), "all the while");
    group.nodes[primary].ask::<()>(&["CONFIG", "SET", "key-load-delay", "0"]).expect("the primary obeys");
    for node in [&server, &later] {
        node.await_ready();
        eventually("a link is asked for", || (node.follow("cold").status == 302).then_some(()));
    }
    assert_eq!(group.primary(), primary, "no other took its place");
    amy.sees_clicks("warm", 21);
}

#[test]
fn wrong_sentinels_services_and_passwords_are_named_without_the_password() {
    let group = SentinelGroup::start();
    let [right, wrong] = [group.url(), group.url().replace("m%2Fr:l%40nk", "hunter2")];
    for (url, reasons) in [
        (right.replace("/main", "/other"), ["knows no service called other", "redis.url"]),
        (wrong, ["the Sentinel at 127.0.0.1:", "redis.url"]),
        ("redis-sentinel://127.0.0.1:1,127.0.0.1:2/main".to_owned(), ["the Sentinel at 127.0.0.1:2", "redis.url"]),
    ] {
        let ran = Home::new().set("redis.url", url).run(&["check"]);
        ran.assert_code(1).assert_names(&reasons);
        for secret in ["hunter2", "m%2Fr", "m/r"] {
            assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(secret), "{ran}");
        }
    }
    let ran = Home::new().set("redis.url", right).run(&["check"]);
    ran.assert_code(0);
}
