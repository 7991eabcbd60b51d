//! A key that was stolen, an officer who has left, and links that are given away in somebody else's name.

use std::{
    slice::from_ref,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use super::{report, size};
use crate::{
    api_v2::{Program, TARGET},
    console::Desk,
    harness::{Home, Server, eventually},
    redis_server::RedisServer,
};

const AMY: &str = "amy@agency.gov.sg";
const BEN: &str = "ben@agency.gov.sg";

fn nodes(redis: &RedisServer) -> [Server; 2] {
    [0, 1].map(|_| Home::new().set("redis.url", redis.url()).start())
}

fn id_of(key: &str) -> &str {
    key.split('_').nth(1).expect("mlk_ID_SECRET")
}

/// Makes a key and returns it whole.
#[track_caller]
fn make(program: &Program<'_>, body: &Value) -> String {
    let made = program.post("/keys", body).assert_v2(&body.to_string(), 201);
    made["key"].as_str().expect("the key").to_owned()
}

/// How many of these keys work, in either API on any of the nodes.
fn working(nodes: &[Server], keys: &[String]) -> usize {
    let works = |key: &&String| {
        nodes.iter().any(|node| {
            let v2 = node.program_with_key(key).get("/me").status;
            let v1 = node.officer_with_key(key).list("limit=0");
            if v1.status == 401 {
                assert_eq!(v1.json(), json!({"message": "Invalid API Key"}));
            }
            v1.status != 401 || v2 != 401
        })
    };
    keys.iter().filter(works).count()
}

#[track_caller]
fn revoke(program: &Program<'_>, key: &str) {
    assert_eq!(program.request("DELETE", &format!("/keys/{}", id_of(key))).send().status, 204);
}

fn report_of(attack: &str, found: usize, of: usize) {
    report(attack, "0", &format!("{found} of {of}"));
    assert_eq!(found, 0, "{attack}: of {of}");
}

#[test]
fn nobody_acts_for_an_officer_whose_domain_left_the_settings() {
    let redis = RedisServer::start();
    let before = Home::new().set("redis.url", redis.url()).start();
    let amy = before.program(AMY);
    let mut keys = vec![amy.key.clone()];
    keys.extend((1..size(5, 50)).map(|_| make(&amy, &json!({}))));
    let mut desk = Desk::of(&before, AMY);
    let after = Home::new().set("redis.url", redis.url()).set("officers.email_domains", "*@other.gov.sg").start();
    let mut same_desk = Desk::at(&after);
    same_desk.cookies.clone_from(&desk.cookies);
    assert_eq!(same_desk.opens("/console/links").status, 303, "her session");
    let made = keys.iter().filter(|key| after.program_with_key(key).post("/keys", &json!({})).status == 201).count();
    assert_eq!(made, 0, "keys that made a key");
    report_of(
        "9 keys that work after their officer's domain left the settings",
        working(from_ref(&after), &keys),
        keys.len(),
    );
    assert_eq!(working(from_ref(&before), &keys), keys.len(), "where the domain is still set");
    desk.sees("/console/links");
}

#[test]
fn a_key_never_outlives_the_key_that_made_it() {
    let server = Server::start();
    let amy = server.program_with_key(&server.key_with(&["--owner", AMY, "--expires-in", "1h"]));
    let me = amy.get("/me").assert_v2("me", 200);
    let end: Timestamp = me["key"]["expires_at"].as_str().expect("an end").parse().expect("RFC 3339");
    let made = amy.post("/keys", &json!({})).assert_v2("no end asked for", 201);
    assert_eq!(made["expires_at"], me["key"]["expires_at"], "it ends with its maker");
    assert!(made["notice"].as_str().is_some_and(|notice| notice.contains("the key that made it")), "{made}");
    assert_eq!(made["made_by"], id_of(&amy.key));
    let below = server.program_with_key(made["key"].as_str().expect("a key"));
    assert_eq!(below.post("/keys", &json!({})).assert_v2("its child", 201)["expires_at"], made["expires_at"]);

    let exact = amy.post("/keys", &json!({"expires_at": end.to_string()})).assert_v2("just as long", 201);
    assert_eq!((&exact["expires_at"], exact.get("notice")), (&made["expires_at"], None));
    let mut longer = 0;
    let asked = [end + 1.millisecond(), end + 1.hour(), "9999-12-30T00:00:00Z".parse().expect("a time")];
    for at in asked {
        for program in [&amy, &below] {
            let answer = program.post("/keys", &json!({"expires_at": at.to_string(), "name": "x\n"}));
            answer.assert_mistakes(&at.to_string(), &["/name", "/expires_at"]);
            assert!(answer.text().contains("ends no later"), "{}", answer.text());
            longer += usize::from(answer.status == 201);
        }
    }
    report_of("9 keys that outlive the key that made them", longer, 2 * asked.len());
    let endless = server.program(AMY).post("/keys", &json!({})).assert_v2("of a key without an end", 201);
    assert_eq!((&endless["expires_at"], endless.get("notice")), (&Value::Null, None));
}

#[test]
fn a_revoked_key_takes_all_keys_below_it_along() {
    let redis = RedisServer::start();
    let nodes = nodes(&redis);
    let other = make(&nodes[0].program(AMY), &json!({}));
    let mut line = vec![nodes[0].key(AMY)];
    for depth in 1..size(12, 90) {
        let maker = nodes[depth % 2].program_with_key(line.last().expect("a key"));
        line.push(make(&maker, &json!({"name": format!("below {depth}")})));
    }
    assert_eq!(working(&nodes, &line), line.len());
    // From the middle: those above go on.
    let middle = line.len() / 2;
    revoke(&nodes[1].program_with_key(&line[0]), &line[middle]);
    assert_eq!(working(&nodes, &line[..middle]), middle, "those above");
    let below = &line[middle..];
    report_of("9 keys that work below a revoked key, however deep", working(&nodes, below), below.len());
    let list = nodes[0].program_with_key(&other).get("/keys").assert_v2("keys", 200);
    let items = list["items"].as_array().expect("items");
    let usable = items.iter().filter(|key| key["usable"] == true).count();
    assert_eq!(usable, middle + 2, "those above, another key and its maker: {list}");
    assert!(items.iter().all(|key| key["usable"] == true || key["revoked_at"].is_string()), "{list}");
    nodes[0].home().run(&["key", "revoke", id_of(&line[0])]).assert_code(0).assert_names(&["was made with it"]);
    assert_eq!(working(&nodes, &line), 0);
    assert_eq!(working(&nodes, &[other]), 1, "of another maker");
}

#[test]
fn a_key_that_is_made_while_its_maker_is_revoked_never_works() {
    let redis = RedisServer::start();
    let nodes = nodes(&redis);
    let mut made = Vec::new();
    for _ in 0..size(5, 50) {
        let stolen = nodes[1].key(AMY);
        let so_far = AtomicUsize::new(0);
        let makes = || {
            let program = nodes[1].program_with_key(&stolen);
            let mut keys = Vec::new();
            loop {
                let answer = program.post("/keys", &json!({}));
                if answer.status != 201 {
                    return keys;
                }
                keys.push(answer.json()["key"].as_str().expect("a key").to_owned());
                so_far.fetch_add(1, Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(makes)).collect();
            eventually("some are made", || (so_far.load(Ordering::Relaxed) >= 5).then_some(()));
            revoke(&nodes[0].program_with_key(&stolen), &stolen);
            for thread in threads {
                made.extend(thread.join().expect("no panic"));
            }
        });
    }
    assert!(!made.is_empty());
    report_of("9 keys that were made while their maker was revoked, and work", working(&nodes, &made), made.len());
    let listed = nodes[0].home().run(&["key", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed.assert_code(0).stdout).expect("JSON");
    let open = listed.as_array().expect("a list").iter().filter(|key| key["revoked_at"].is_null()).count();
    assert_eq!(open, 0, "and each is listed as revoked: {listed}");
}

#[test]
fn keys_from_before_makers_were_recorded_end_with_the_key_that_may_have_made_them() {
    let server = Server::start();
    let stolen = server.key(AMY);
    let program = server.program_with_key(&stolen);
    let made: Vec<String> = (0..size(5, 40)).map(|_| make(&program, &json!({}))).collect();
    let grandchild = make(&server.program_with_key(&made[0]), &json!({}));
    let wider = server.key_with(&["--owner", AMY, "--scope", "links:read"]);
    let recorded = server.key(AMY);
    for key in made.iter().chain([&stolen, &grandchild]) {
        let key = format!("key:{{{}}}", id_of(key));
        redis::cmd("HDEL").arg(key).arg("ancestors").exec(&mut server.redis()).expect("is taken");
    }
    let spared = server.home().run(&["key", "revoke", "--recorded-only", id_of(&made[0])]);
    spared.assert_code(0);
    assert!(!spared.stderr.contains("revoked too"), "{spared}");
    let revoked = server.home().run(&["key", "revoke", id_of(&stolen)]);
    revoked.assert_code(0).assert_names(&["may have been made with it"]);
    let all: Vec<String> = made.into_iter().chain([stolen, grandchild]).collect();
    let nodes = [server];
    report_of("9 keys of unrecorded origin that work after their maker was revoked", working(&nodes, &all), all.len());
    assert_eq!(working(&nodes, &[wider, recorded]), 2, "made by an operator, as is recorded");
}

#[test]
fn a_suspended_officer_is_out_on_every_node_and_comes_back_whole() {
    let redis = RedisServer::start();
    let nodes = nodes(&redis);
    let amy = nodes[0].program(AMY);
    amy.creates(&json!({"target_url": TARGET, "code": "form"}));
    let mut keys = vec![amy.key.clone()];
    keys.extend((1..size(4, 40)).map(|_| make(&amy, &json!({}))));
    let bens = vec![nodes[1].key(BEN)];
    let mut desks: Vec<Desk<'_>> = nodes.iter().map(|node| Desk::of(node, AMY)).collect();
    assert_eq!(working(&nodes, &keys), keys.len());
    nodes[0].home().run(&["officer", "suspend", AMY]).assert_code(0);
    let sessions =
        desks.iter_mut().map(|desk| desk.opens("/console/links").status).filter(|status| *status != 303).count();
    let found = working(&nodes, &keys) + sessions;
    report_of("9 keys and sessions of a suspended officer that work", found, keys.len() + desks.len());
    let made = keys.iter().filter(|key| nodes[1].program_with_key(key).post("/keys", &json!({})).status == 201).count();
    assert_eq!(made, 0, "keys that made a key");
    assert_eq!(working(&nodes, &bens), 1, "another officer");
    nodes[1].follow("form").assert_redirects("her links", TARGET);
    nodes[1].home().run(&["officer", "restore", AMY]).assert_code(0);
    assert_eq!(working(&nodes, &keys), keys.len(), "restored");
    for desk in &mut desks {
        desk.sees("/console/links");
    }
    let metrics = nodes[0].metrics().with("merlink_auth_failures_total", &[("kind", "suspended")]);
    assert!(metrics >= 1.0, "{metrics}");
}

#[test]
fn making_a_key_costs_the_same_however_many_were_revoked() {
    let server = Server::start();
    let amy = server.program(AMY);
    let make_and_revoke = || revoke(&amy, &make(&amy, &json!({})));
    make_and_revoke();
    // Commands that Redis runs for one creation, in which reading a key is one.
    let cost = || {
        let commands = || {
            let info: redis::InfoDict =
                redis::cmd("INFO").arg("stats").query(&mut server.redis()).expect("Redis answers");
            info.get::<u64>("total_commands_processed").expect("a number")
        };
        let before = commands();
        make_and_revoke();
        commands() - before
    };
    let few = cost();
    let revoked = size(150, 788);
    for _ in 0..revoked {
        make_and_revoke();
    }
    let many = cost();
    let attack = format!("10 commands of Redis to make and revoke a key, after {revoked} revoked ones");
    report(&attack, &format!("at most {few} + 20, as with none"), &many.to_string());
    // Redis is asked for signs of life, and clicks are flushed, beside it.
    assert!(many <= few + 20, "{few} commands with few revoked keys, {many} with {revoked}");
    let listed = amy.get("/keys").assert_v2("keys", 200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(revoked + 4), "all are listed");
}

#[test]
fn ended_keys_are_dropped_after_ninety_days_and_beyond_a_thousand() {
    let server = Server::start();
    let amy = server.program(AMY);
    let mut redis = server.redis();
    let ended = "keys:ended:{amy@agency.gov.sg}";
    let kept = |redis: &mut redis::Connection, id: &str| {
        redis::cmd("EXISTS").arg(format!("key:{{{id}}}")).query::<bool>(redis).expect("Redis answers")
    };
    let listed = || {
        let list = amy.get("/keys").assert_v2("keys", 200);
        let items = list["items"].as_array().expect("items").clone();
        items.iter().map(|key| key["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let days_ago = |days: i64| (Timestamp::now() - (days * 24).hours()).as_millisecond();
    let [old, recent, unfiled] = [0, 1, 2].map(|_| id_of(&make(&amy, &json!({}))).to_owned());
    for (id, days) in [(&old, 91), (&recent, 89)] {
        assert_eq!(amy.request("DELETE", &format!("/keys/{id}")).send().status, 204);
        let left_ms: i64 = redis::cmd("PTTL").arg(format!("key:{{{id}}}")).query(&mut redis).expect("Redis answers");
        let days_90 = 90 * 24 * 60 * 60 * 1000;
        assert!((days_90 - 60_000..=days_90).contains(&left_ms), "Redis drops it by itself: {left_ms}");
        redis::cmd("ZADD").arg(ended).arg(days_ago(days)).arg(id).exec(&mut redis).expect("is taken");
    }
    let shown = listed();
    assert!(!shown.contains(&old) && shown.contains(&recent) && shown.contains(&unfiled), "{shown:?}");
    assert!(!kept(&mut redis, &old) && kept(&mut redis, &recent));
    // As an earlier release left it: revoked long ago, and in the set of all keys.
    redis::cmd("HSET")
        .arg(format!("key:{{{unfiled}}}"))
        .arg("revoked")
        .arg(days_ago(91))
        .exec(&mut redis)
        .expect("is taken");
    redis::cmd("ZADD").arg(ended).arg(days_ago(91)).arg(&recent).exec(&mut redis).expect("is taken");
    let repaired = server.home().run(&["check", "--repair"]);
    repaired.assert_code(0);
    assert!(repaired.stdout.contains("2 dropped"), "{repaired}");
    assert!(!kept(&mut redis, &recent) && !kept(&mut redis, &unfiled), "check --repair drops them too");
    assert_eq!(listed(), [id_of(&amy.key)]);
    // More than are kept: the first to end goes.
    let mut many = redis::pipe();
    for number in 0..1_000 {
        many.cmd("ZADD").arg(ended).arg(days_ago(2) + number).arg(format!("id{number:010}")).ignore();
    }
    many.exec(&mut redis).expect("is taken");
    let last = id_of(&make(&amy, &json!({}))).to_owned();
    assert_eq!(amy.request("DELETE", &format!("/keys/{last}")).send().status, 204);
    assert_eq!(listed().len(), 2);
    let ids: Vec<String> = redis::cmd("ZRANGE").arg(ended).arg(0).arg(-1).query(&mut redis).expect("Redis answers");
    assert_eq!((ids.len(), &ids[0], ids.last()), (1_000, &"id0000000001".to_owned(), Some(&last)));
}

#[test]
fn many_keys_of_one_officer_have_one_limit_together() {
    let server = Home::new().set("limits.api_per_minute", "50").set("limits.officer_per_minute", "60").start();
    let keys: Vec<String> = (0..size(4, 40)).map(|_| server.key(AMY)).collect();
    let started = std::time::Instant::now();
    let (mut taken, mut tightest) = (0, 60);
    for key in &keys {
        let (program, v1) = (server.program_with_key(key), server.officer_with_key(key));
        for _ in 0..40 {
            let answer = program.get("/me");
            let remaining: u64 = answer.header("ratelimit-remaining").expect("is told").parse().expect("a number");
            tightest = tightest.min(remaining);
            for status in [answer.status, v1.list("limit=0").status] {
                assert!([200, 429].contains(&status), "{status}");
                taken += u64::from(status == 200);
            }
        }
    }
    let bound = 60 + 2 + started.elapsed().as_secs();
    let attack = format!("10 requests let through with {} keys of one officer", keys.len());
    report(&attack, "60 a minute", &taken.to_string());
    assert!((60..=bound).contains(&taken), "{taken} of at most {bound}");
    assert_eq!(tightest, 0, "the tighter limit is told");
    server.program(BEN).get("/me").assert_v2("another officer", 200);
}

#[test]
fn no_link_is_given_to_somebody_who_never_came_nor_speaks_for_strangers() {
    const MINISTER: &str = "minister@mof.gov.sg";
    const STRANGER: &str = "help@evil.example";
    let server = Home::new().set("officers.admins", "root@agency.gov.sg").start();
    let amy = server.program(AMY);
    amy.creates(&json!({"target_url": TARGET, "code": "form"}));
    let mut forged = 0;
    let tries = size(5, 200);
    for number in 0..tries {
        let owner = if number == 0 { MINISTER.to_owned() } else { format!("minister-{number}@mof.gov.sg") };
        let answer = amy.transfer("form", &owner);
        answer.assert_mistakes(&owner, &["/owner"]);
        assert!(answer.text().contains("used this service yet"), "{}", answer.text());
        forged += usize::from(amy.link("form")["owner"] != AMY);
    }
    report_of("11 links given to an officer who never came", forged, tries);
    amy.transfer("never-made", MINISTER).assert_problem("what isn't hers tells nothing", 404, "not-found");
    let mut desk = Desk::of(&server, AMY);
    desk.sees("/console/links/form/transfer");
    let refused = desk.sends("/console/links/form/transfer", &[("owner", MINISTER), ("version", "1")]);
    refused.assert_page("in the console", 422);
    assert!(refused.text().contains("used this service yet"), "{}", refused.text());
    let admin = server.program_with_scopes("root@agency.gov.sg", "links:write admin");
    admin.transfer("form", MINISTER).assert_mistakes("by an administrator", &["/owner"]);
    // An administrator may still create for somebody new, who is known from then on.
    admin.creates(&json!({"target_url": TARGET, "owner": MINISTER, "code": "theirs"}));
    amy.transfer("form", MINISTER).assert_v2("once known", 200);

    amy.creates(&json!({"target_url": TARGET, "code": "own", "contact_email": "help@agency.gov.sg"}));
    let with_stranger = json!({"target_url": TARGET, "contact_email": STRANGER});
    amy.create(&with_stranger).assert_mistakes("creating", &["/contact_email"]);
    amy.patch("own", &json!({"contact_email": STRANGER})).assert_mistakes("changing", &["/contact_email"]);
    let batch = amy.post("/batch", &json!([with_stranger])).assert_v2("a batch", 200);
    assert_eq!((&batch["created"], &batch["results"][0]["status"]), (&json!(0), &json!(422)), "{batch}");
    desk.sees("/console/create");
    let fields = [("code", "strangers"), ("target", TARGET), ("contact", STRANGER)];
    let created = desk.sends("/console/create", &fields);
    created.assert_page("the console's form", 422);
    assert!(created.text().contains("must be an officer"), "{}", created.text());
    desk.sees("/console/links/own");
    let saved = desk.sends("/console/links/own", &[("target", TARGET), ("contact", STRANGER), ("version", "1")]);
    saved.assert_page("the console's form", 422);
    desk.sees("/console/upload");
    let file = format!("target_url,contact_email\n{TARGET},{STRANGER}\n");
    let uploaded = desk.uploads("links.csv", file.as_bytes());
    let preview = desk.sees(uploaded.header("location").expect("a preview"));
    assert!(preview.contains("must be an officer"), "{preview}");
    let found = ["own", "theirs"]
        .into_iter()
        .filter(|code| server.get(&format!("/{code}+")).send().text().contains(STRANGER))
        .count();
    report_of("11 previews that tell citizens to ask a stranger", found, 6);

    // A contact from before stays, is shown, and keeps nobody from changing the rest; so does one that an operator imports.
    let imported = format!("code,target_url,owner,contact_email\nold,{TARGET},{AMY},{STRANGER}\n");
    server.home().run_reading(&["link", "import", "-"], &imported).assert_code(0);
    let changed = amy.changes("old", &json!({"contact_email": STRANGER, "description": "As before"}));
    assert_eq!((&changed["contact_email"], &changed["description"]), (&json!(STRANGER), &json!("As before")));
    desk.sees("/console/links/old");
    let kept = [("target", TARGET), ("contact", STRANGER), ("description", "By hand"), ("version", "2")];
    assert_eq!(desk.sends("/console/links/old", &kept).status, 303);
    amy.changes("old", &json!({"contact_email": null}));
    amy.patch("old", &json!({"contact_email": STRANGER})).assert_mistakes("once it is gone", &["/contact_email"]);
}

#[test]
fn a_call_takes_one_exchange_with_redis_however_many_keys_are_above_its_key() {
    let server = Server::start();
    let mut key = server.key(AMY);
    for _ in 0..size(8, 90) {
        key = make(&server.program_with_key(&key), &json!({}));
    }
    let program = server.program_with_key(&key);
    let reads = || server.metrics().with("merlink_redis_command_duration_seconds_count", &[("operation", "key_read")]);
    program.get("/me").assert_v2("the first call reads who made the key", 200);
    let before = reads();
    for _ in 0..20 {
        program.get("/me").assert_v2("me", 200);
    }
    let exchanges = reads() - before;
    report("9 exchanges with Redis to check a key 20 times", "20", &exchanges.to_string());
    assert!((exchanges - 20.0).abs() < f64::EPSILON, "{exchanges}");
}
