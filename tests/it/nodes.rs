//! Nodes that come and go: one that starts while Redis is away, and one that won't come back.

use crate::{
    harness::{Home, Server, eventually},
    redis_server::RedisServer,
};
use rustix::process::Signal;

const TARGET: &str = "https://www.iras.gov.sg/taxes";

fn server_on(redis: &RedisServer) -> Server {
    let server = Home::new().set("redis.url", redis.url()).start();
    for about in ["Redis", "clicks"] {
        server.expect_log(about);
    }
    server
}

#[test]
fn a_node_that_starts_while_redis_is_away_redirects_what_it_knew() {
    let mut redis = RedisServer::start();
    let server = server_on(&redis);
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    amy.creates("off", TARGET);
    amy.switches("off", "INACTIVE");
    server.follow("form").assert_redirects("before", TARGET);
    assert_eq!(server.follow("off").status, 410);
    server.end_by(Signal::TERM);
    redis.kill();
    server.start_again_unready();
    server.follow("form").assert_redirects("Redis away since before the start", TARGET);
    assert_eq!(server.follow("off").status, 410, "what was off stays off");
    assert_eq!(server.follow("never-seen").status, 503);
    redis.start_again();
    server.await_ready();
    amy.sees_clicks("form", 2);
    server.follow("form").assert_redirects("Redis is back", TARGET);
}

#[test]
fn a_node_that_starts_while_redis_reads_its_files_waits_for_it() {
    let mut redis = RedisServer::start();
    let server = server_on(&redis);
    server.officer("amy@agency.gov.sg").creates("form", TARGET);
    server.end_by(Signal::TERM);
    let mut many = redis::pipe();
    for number in 0..30_000 {
        many.cmd("SET").arg(format!("filler:{number}")).arg(number).ignore();
    }
    many.exec(&mut redis.connect().expect("Redis answers")).expect("Redis obeys");
    redis.kill();
    // In microseconds for each of them: half a minute, were it left at that.
    redis.set("key-load-delay", "1000");
    redis.begin_again();
    let mut reading = eventually("Redis reads", || {
        let mut reading = redis.connect()?;
        let info: redis::InfoDict = redis::cmd("INFO").query(&mut reading).ok()?;
        (info.get::<u8>("loading")? == 1).then_some(reading)
    });
    server.start_again_unready();
    assert_eq!(server.operator("/readyz").send().status, 503, "nothing can be asked yet");
    redis::cmd("CONFIG").arg(&["SET", "key-load-delay", "0"]).exec(&mut reading).expect("Redis obeys");
    server.await_ready();
    server.follow("form").assert_redirects("Redis has read its files", TARGET);
}

#[test]
fn what_was_kept_on_disk_is_checked_with_redis_before_it_is_used() {
    let redis = RedisServer::start();
    let server = server_on(&redis);
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/old");
    server.follow("form").assert_redirects("before", "https://example.com/old");
    server.end_by(Signal::TERM);
    let other = server_on(&redis);
    other.officer("amy@agency.gov.sg").update("form", &serde_json::json!({"longUrl": "https://example.com/new"}));
    server.start_again();
    server.follow("form").assert_redirects("edited elsewhere meanwhile", "https://example.com/new");
}

#[test]
fn a_redis_that_takes_over_older_data_under_a_living_connection_is_obeyed() {
    let (redis, older) = (RedisServer::on_tcp(), RedisServer::on_tcp());
    let replicate = |server: &RedisServer, of: &RedisServer| {
        let mut connection = server.connect().expect("Redis answers");
        let (host, port) = (of.address().ip().to_string(), of.address().port().to_string());
        redis::cmd("REPLICAOF").arg(host).arg(port).exec(&mut connection).expect("Redis obeys");
        eventually("all is copied", || {
            let info: redis::InfoDict = redis::cmd("INFO").arg("replication").query(&mut connection).ok()?;
            (info.get::<String>("master_link_status")? == "up").then_some(())
        });
        redis::cmd("REPLICAOF").arg(&["NO", "ONE"]).exec(&mut connection).expect("Redis obeys");
    };
    let server = server_on(&redis);
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", "https://example.com/old");
    amy.creates("off", TARGET);
    replicate(&older, &redis);
    amy.update("form", &serde_json::json!({"longUrl": "https://example.com/new"})).assert_v1_status("an edit", 200);
    amy.switches("off", "INACTIVE");
    server.follow("form").assert_redirects("before", "https://example.com/new");
    assert_eq!(server.follow("off").status, 410);

    replicate(&redis, &older);
    eventually("the older target is followed", || {
        (server.follow("form").header("location") == Some("https://example.com/old")).then_some(())
    });
    assert_eq!(server.follow("off").status, 302);
}

#[test]
fn a_file_of_kept_links_that_is_damaged_costs_nothing_but_warmth() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    server.follow("form").assert_redirects("before", TARGET);
    server.end_by(Signal::TERM);
    let kept = server.home().data_dir().join("hot-links.ndjson");
    let text = std::fs::read_to_string(&kept).expect("it was written at the end");
    assert!(text.contains(r#""code":"form""#), "{text}");
    std::fs::write(&kept, format!("{{\"code\":1}}\n\u{0}garbage\n{{\n{text}")).expect("a file can be written");
    server.start_again();
    server.follow("form").assert_redirects("after", TARGET);
}

#[test]
fn the_journal_of_a_node_that_wont_come_back_is_counted_once() {
    let mut redis = RedisServer::start();
    let lost = server_on(&redis);
    let amy = lost.officer("amy@agency.gov.sg");
    amy.creates("form", TARGET);
    lost.follow("form");
    amy.sees_clicks("form", 1);
    redis.kill();
    for _ in 0..50 {
        lost.follow("form").assert_redirects("while Redis is away", TARGET);
    }
    lost.end_by(Signal::KILL);
    redis.start_again();

    let heir = server_on(&redis);
    let amy = heir.officer("amy@agency.gov.sg");
    assert_eq!(amy.clicks("form"), 1);
    let folder = lost.home().data_dir();
    let drain = || heir.home().run(&["journal", "drain", folder.to_str().expect("UTF-8")]);
    let ran = drain();
    ran.assert_code(0);
    assert!(ran.stdout.contains("counted 50 clicks"), "{ran}");
    eventually("the drained clicks are seen", || (amy.clicks("form") == 51).then_some(()));
    let again = drain();
    again.assert_code(0);
    assert!(again.stdout.contains("counted 0 clicks"), "{again}");
    assert_eq!(amy.clicks("form"), 51);
}

#[test]
fn a_journal_that_is_in_use_or_isnt_one_is_not_drained() {
    let server = Server::start();
    let own = server.home().data_dir();
    server.home().run(&["journal", "drain", own.to_str().expect("UTF-8")]).assert_code(1).assert_names(&["own"]);
    let other = Home::new();
    let folder = own.to_str().expect("UTF-8");
    other.run(&["journal", "drain", folder]).assert_code(1).assert_names(&["another merlink"]);
    other.run(&["journal", "drain", "/nowhere"]).assert_code(1).assert_names(&["/nowhere", "no click journal"]);
    other.run(&["journal"]).assert_code(2);
}

#[test]
fn what_an_instance_left_beside_the_counters_is_dropped_when_it_is_gone_and_counts_nothing_twice_if_it_comes_back() {
    let redis = RedisServer::start();
    let gone = server_on(&redis);
    let amy = gone.officer("amy@agency.gov.sg");
    for code in ["form", "other"] {
        amy.creates(code, TARGET);
        for _ in 0..5 {
            gone.follow(code).assert_redirects("before", TARGET);
        }
    }
    gone.await_flushed();
    let stays = server_on(&redis);
    stays.follow("form").assert_redirects("on another instance", TARGET);
    stays.await_flushed();
    let positions = |code: &str| {
        let fields: Vec<String> =
            redis::cmd("HKEYS").arg(format!("clicks:{{{code}}}")).query(&mut stays.redis()).expect("Redis answers");
        fields.into_iter().filter(|field| field.starts_with('@')).count()
    };
    let repair = |gone_for: &str| {
        let ran = stays.home().run(&["check", "--repair", "--gone-for", gone_for]);
        ran.assert_code(0);
        ran.stdout
    };
    assert_eq!([positions("form"), positions("other")], [2, 1]);
    assert!(repair("0s").contains("instances 0, 0 positions"), "both run");
    assert_eq!(gone.end_by(Signal::KILL), None);
    assert!(repair("0s").contains("instances 0, 0 positions"), "one that was killed may have clicks left to count");
    gone.start_again();
    assert_eq!(gone.end_by(Signal::TERM), Some(0));
    assert!(repair("1h").contains("instances 0, 0 positions"), "it hasn't been gone for as long");
    assert!(repair("0s").contains("instances 1, 3 positions dropped"), "it ended with all counted");
    assert_eq!([positions("form"), positions("other")], [1, 0]);

    // It comes back after all, is killed, and comes back again.
    for visits in 1..=2 {
        gone.start_again();
        gone.follow("form").assert_redirects("back again", TARGET);
        gone.await_flushed();
        assert_eq!(gone.counters("form").get("t"), Some(&(6 + visits)), "none twice");
        assert_eq!(gone.counters("other").get("t"), Some(&5), "none twice");
        assert_eq!(gone.end_by(Signal::KILL), None);
    }
    assert_eq!(stays.counters("*").get("t"), Some(&13), "over all links");
    assert_eq!([positions("form"), positions("other")], [2, 0], "under one new name");
}
