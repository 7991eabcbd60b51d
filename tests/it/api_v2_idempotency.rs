//! `Idempotency-Key`: a request that is sent again is done once and answered as before, whichever node answers and whatever died in between.

use std::{sync::Barrier, thread};

use redis::Commands as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    api_v2::{Program, TARGET},
    harness::{Home, Server, eventually},
    http::Answer,
    proxy::Proxy,
    redis_server::RedisServer,
};

#[track_caller]
fn post(program: &Program<'_>, path: &str, key: &str, body: &Value) -> Answer {
    program.request("POST", path).header("Idempotency-Key", key).json(body).send().conventional(key)
}

/// The answer without what belongs to its delivery.
fn essence(answer: &Answer) -> (u16, String, Option<String>, Option<String>, Option<String>) {
    let header = |name: &str| answer.header(name).map(str::to_owned);
    (answer.status, answer.text(), header("content-type"), header("etag"), header("location"))
}

fn two_nodes(redis: &RedisServer) -> [Server; 2] {
    [0, 1].map(|_| Home::new().set("redis.url", redis.url()).start())
}

#[test]
fn a_request_sent_again_is_answered_as_before_and_says_so() {
    let redis = RedisServer::start();
    let nodes = two_nodes(&redis);
    let amy = nodes[0].program("amy@agency.gov.sg");
    let elsewhere = nodes[1].program_with_key(&amy.key);
    amy.creates(&json!({"target_url": TARGET, "code": "taken"}));
    for (key, body, status) in [
        ("create", json!({"target_url": TARGET}), 201),
        ("refused", json!({"target_url": TARGET, "code": "taken"}), 409),
        ("mistaken", json!({"target_url": "x"}), 422),
    ] {
        let first = post(&amy, "/links", key, &body);
        assert_eq!((first.status, first.header("idempotency-replayed")), (status, None), "{key}");
        for program in [&amy, &elsewhere] {
            let again = post(program, "/links", key, &body);
            assert_eq!(again.header("idempotency-replayed"), Some("true"), "{key}");
            assert_eq!(essence(&again), essence(&first), "{key}");
        }
    }
    assert_eq!(amy.codes(&[]).len(), 2);
    let given = amy.creates(&json!({"target_url": TARGET, "code": "given"}));
    assert_eq!(given["version"], 1);
    nodes[0].knows("ben@agency.gov.sg");
    let body = json!({"owner": "ben@agency.gov.sg"});
    let first = post(&amy, "/links/given/transfer", "give", &body);
    first.assert_v2("transfer", 200);
    // The link isn't Amy's any more; that it was given is answered all the same.
    assert_eq!(essence(&post(&elsewhere, "/links/given/transfer", "give", &body)), essence(&first));
}

#[test]
fn a_key_belongs_to_one_request_of_one_api_key() {
    let server = Server::start();
    let [amy, ben] = ["amy", "ben"].map(|name| server.program(&format!("{name}@agency.gov.sg")));
    let body = json!({"target_url": TARGET});
    let first = post(&amy, "/links", "once", &body).assert_v2("the first", 201);
    let others = [
        ("/links", json!({"target_url": "https://example.com/other"})),
        ("/links", json!({"target_url": TARGET, "tags": []})),
        ("/links?x=1", body.clone()),
        ("/links/form/transfer", body.clone()),
        ("/keys", body.clone()),
    ];
    for (path, body) in others {
        post(&amy, path, "once", &body).assert_problem(path, 422, "idempotency-key-reused");
    }
    let bens = post(&ben, "/links", "once", &body).assert_v2("somebody else's key of the same name", 201);
    assert_ne!(bens["code"], first["code"]);
    let spare = server.program("amy@agency.gov.sg");
    assert_ne!(post(&spare, "/links", "once", &body).assert_v2("with another API key", 201)["code"], first["code"]);
    assert_eq!(amy.codes(&[]).len(), 2);
}

#[test]
fn a_key_has_up_to_255_characters() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let body = json!({"target_url": TARGET});
    for key in ["k", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "{a} b:c", &"k".repeat(254), &"k".repeat(255)] {
        post(&amy, "/links", key, &body).assert_v2(key, 201);
    }
    for key in ["", "é", "a\tb", &"k".repeat(256)] {
        post(&amy, "/links", key, &body).assert_mistakes(key, &["Idempotency-Key"]);
    }
    assert_eq!(amy.codes(&[]).len(), 5);
}

#[test]
fn what_is_kept_for_one_officer_is_bounded_and_beyond_it_nothing_is_done() {
    let server = Server::with(&[("limits.kept_answers_bytes_max", "1MiB")]);
    let amy = server.program("amy@agency.gov.sg");
    let ben = server.program("ben@agency.gov.sg");
    // Targets that can't be compressed much: an answer of some 700 kB.
    let rows: Vec<Value> =
        (0..400).map(|_| json!({"target_url": format!("{TARGET}/{}", nanoid::nanoid!(1_900))})).collect();
    let rows = Value::Array(rows);
    let small = json!({"target_url": TARGET});
    let first = post(&amy, "/batch", "batch 1", &rows);
    first.assert_v2("within the quota", 200);
    let mut used = 1;
    let refused = loop {
        used += 1;
        let answer = post(&amy, "/batch", &format!("batch {used}"), &rows);
        if answer.status != 200 {
            break answer;
        }
        assert!(used < 10, "the quota is never reached");
    };
    refused.assert_problem("over the quota", 429, "idempotency-quota");
    refused.assert_retry_after("over the quota", 25 * 60 * 60);
    let links = amy.codes(&[]).len();
    post(&amy, "/links", "another", &small).assert_problem("over the quota", 429, "idempotency-quota");
    assert_eq!(amy.codes(&[]).len(), links, "nothing was done");
    let spare = server.program("amy@agency.gov.sg");
    post(&spare, "/links", "another", &small).assert_problem("with another key of hers", 429, "idempotency-quota");
    // The records of refused requests aren't kept either.
    let mut redis = server.redis();
    let records: Vec<String> = redis.keys("idempotency:{*").expect("Redis answers");
    assert_eq!(records.len(), used - 1);
    let again = post(&amy, "/batch", "batch 1", &rows);
    assert_eq!((again.header("idempotency-replayed"), again.text()), (Some("true"), first.text()));
    amy.creates(&small);
    post(&ben, "/links", "another", &small).assert_v2("somebody else's", 201);
    // An upload is kept in the same way.
    let mut desk = crate::console::Desk::of(&server, "amy@agency.gov.sg");
    desk.sees("/console/upload");
    let preview = desk.uploads("a.csv", format!("target_url\n{TARGET}\n").as_bytes());
    let preview = preview.header("location").expect("a preview").to_owned();
    desk.sees(&preview);
    desk.sends(&preview, &[]).assert_page("over the quota", 429);
    // A day later the hours that count are others.
    let () = redis.set("idempotency:of:{amy@agency.gov.sg}", "1:1048576").expect("Redis answers");
    desk.sees(&preview);
    assert_eq!(desk.sends(&preview, &[]).status, 303);
    post(&amy, "/links", "another", &small).assert_v2("the next day", 201);
}

#[test]
fn thirty_at_once_over_two_nodes_make_one_link_and_hear_the_same() {
    let redis = RedisServer::start();
    let nodes = two_nodes(&redis);
    let key = nodes[0].key("amy@agency.gov.sg");
    let body = json!({"target_url": TARGET, "tags": ["tax"]});
    let start = Barrier::new(30);
    let answers: Vec<Answer> = thread::scope(|scope| {
        let clients: Vec<_> = (0..30)
            .map(|client| {
                let (start, body, program) = (&start, &body, nodes[client % 2].program_with_key(&key));
                scope.spawn(move || {
                    start.wait();
                    // Who comes while the first is running may be told to come again.
                    eventually("an answer", || {
                        let answer = post(&program, "/links", "thirty", body);
                        (answer.status != 409).then_some(answer)
                    })
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("no client panics")).collect()
    });
    for answer in &answers {
        answer.assert_v2("each", 201);
        assert_eq!(essence(answer), essence(&answers[0]));
    }
    let replayed = answers.iter().filter(|answer| answer.header("idempotency-replayed") == Some("true")).count();
    assert_eq!(replayed, 29);
    let amy = nodes[0].program_with_key(&key);
    assert_eq!(amy.codes(&[]), [answers[0].json()["code"].as_str().expect("a code")]);
    assert_eq!(amy.codes(&[("tag", "tax")]).len(), 1);
}

/// The record of the one request with a key that Redis has.
fn record(redis: &mut redis::Connection) -> Option<(String, Value)> {
    let names: Vec<String> = redis.keys("idempotency:{*").expect("Redis lists its keys");
    let name = names.into_iter().next()?;
    let text: String = redis.get(&name).ok()?;
    Some((name, serde_json::from_str(&text).expect("a record is JSON")))
}

/// Rewrites the record of the one request with a key.
fn change_record(redis: &mut redis::Connection, change: impl FnOnce(&mut Value)) {
    let (name, mut record) = record(redis).expect("there is a record");
    change(&mut record);
    redis::cmd("SET").arg(name).arg(record.to_string()).arg("KEEPTTL").exec(redis).expect("Redis takes it");
}

/// Makes the lease of a record run out, as fifteen seconds would.
fn end_lease(redis: &mut redis::Connection) {
    change_record(redis, |record| {
        assert_eq!(record["answer"], Value::Null, "nobody has answered: {record}");
        record["held_until"] = json!(0);
    });
}

/// A node that dies when Redis has done what `began` sees, and before it hears of it; what the next node answers to the same request.
#[track_caller]
fn retried_after_death(
    path: &str,
    body: &Value,
    arrange: impl FnOnce(&Program<'_>),
    began: impl Fn(&mut redis::Connection) -> bool,
) -> (RedisServer, Server, String, Answer) {
    let redis = RedisServer::on_tcp();
    let proxy = Proxy::before(redis.address());
    let survivor = Home::new().set("redis.url", redis.url()).start();
    let dying = Home::new().set("redis.url", proxy.url()).start();
    for about in ["Redis", "clicks"] {
        dying.expect_log(about);
    }
    let key = survivor.key("amy@agency.gov.sg");
    arrange(&survivor.program_with_key(&key));
    // The key's last use is written by the survivor, so that this write isn't in the way.
    survivor.program_with_key(&key).get("/me");
    let mut eye = redis.connect().expect("Redis answers");
    // Each reply waits a little: between the write and the answer there is time to die.
    proxy.delay(std::time::Duration::from_millis(150));
    let target = dying.program_with_key(&key);
    let request = target.request("POST", path).header("Idempotency-Key", "again").json(body);
    thread::scope(|scope| {
        let lost = scope.spawn(|| request.clone().try_send());
        eventually("the node has begun", || began(&mut eye).then_some(()));
        assert_eq!(dying.end_by(Signal::KILL), None);
        assert!(lost.join().expect("no panic").is_err(), "the node died before it answered");
    });
    let heir = survivor.program_with_key(&key);
    let answer = post(&heir, path, "again", body);
    answer.assert_problem("while the dead node's lease runs", 409, "in-progress");
    answer.assert_retry_after("while the dead node's lease runs", 60);
    end_lease(&mut eye);
    let answer = post(&heir, path, "again", body);
    (redis, survivor, key, answer)
}

fn links(redis: &mut redis::Connection) -> Vec<String> {
    redis.keys("l:*").expect("Redis lists its keys")
}

#[test]
fn a_node_that_dies_between_writing_and_answering_leaves_one_link_that_the_next_finds() {
    let body = json!({"target_url": TARGET, "tags": ["tax"]});
    let (redis, survivor, key, answer) = retried_after_death("/links", &body, |_| (), |eye| !links(eye).is_empty());
    let link = answer.assert_v2("the retry", 201);
    let code = link["code"].as_str().expect("a code");
    let mut eye = redis.connect().expect("Redis answers");
    assert_eq!(links(&mut eye), [format!("l:{{{code}}}")], "the link that the dead node wrote, and no other");
    let amy = survivor.program_with_key(&key);
    assert_eq!(amy.codes(&[]), [code]);
    assert_eq!(amy.codes(&[("tag", "tax")]), [code]);
    assert_eq!(essence(&post(&amy, "/links", "again", &body)), essence(&answer), "from now on that is the answer");
    survivor.follow(code).assert_redirects("it leads", TARGET);
}

#[test]
fn a_node_that_dies_before_it_wrote_leaves_the_request_to_the_next() {
    let body = json!({"target_url": TARGET, "code": "form"});
    let (redis, survivor, key, answer) = retried_after_death("/links", &body, |_| (), |eye| record(eye).is_some());
    let link = answer.assert_v2("the retry", 201);
    let mut eye = redis.connect().expect("Redis answers");
    assert_eq!(links(&mut eye), ["l:{form}"]);
    assert_eq!(survivor.program_with_key(&key).link("form"), link);
}

#[test]
fn a_node_that_dies_in_a_transfer_has_given_the_link_once() {
    let body = json!({"owner": "ben@agency.gov.sg"});
    let arrange = |amy: &Program<'_>| {
        amy.creates(&json!({"target_url": TARGET, "code": "form"}));
        amy.knows("ben@agency.gov.sg");
    };
    let given = |eye: &mut redis::Connection| {
        let owner: Option<String> = eye.hget("l:{form}", "o").expect("Redis answers");
        owner.as_deref() == Some("ben@agency.gov.sg")
    };
    let (_redis, survivor, _, answer) = retried_after_death("/links/form/transfer", &body, arrange, given);
    let link = answer.assert_v2("the retry", 200);
    assert_eq!((&link["owner"], &link["version"]), (&json!("ben@agency.gov.sg"), &json!(2)));
    assert_eq!(survivor.program("ben@agency.gov.sg").codes(&[]), ["form"]);
}

/// Twenty rows, each second one with a code of its own choice.
fn twenty_rows() -> Value {
    let row = |number: usize| match number % 2 {
        0 => json!({"target_url": format!("{TARGET}/{number}"), "code": format!("row-{number}"), "tags": ["batch"]}),
        _ => json!({"target_url": format!("{TARGET}/{number}"), "tags": ["batch"]}),
    };
    (0..20).map(row).collect()
}

#[test]
fn a_batch_whose_node_dies_halfway_is_finished_by_the_next_and_nothing_is_there_twice() {
    for path in ["/batch", "/batch?atomic=true"] {
        let halfway = |eye: &mut redis::Connection| links(eye).len() > 3;
        let (redis, survivor, key, answer) = retried_after_death(path, &twenty_rows(), |_| (), halfway);
        let batch = answer.assert_v2(path, 200);
        assert_eq!((&batch["created"], &batch["failed"]), (&json!(20), &json!(0)), "{path}: {batch}");
        let mut answered: Vec<&str> =
            batch["results"].as_array().expect("rows").iter().filter_map(|row| row["link"]["code"].as_str()).collect();
        let mut eye = redis.connect().expect("Redis answers");
        assert_eq!(links(&mut eye).len(), 20, "{path}");
        let amy = survivor.program_with_key(&key);
        answered.sort_unstable();
        assert_eq!(amy.codes(&[("tag", "batch"), ("sort", "code")]), answered, "{path}");
        assert_eq!(essence(&post(&amy, path, "again", &twenty_rows())), essence(&answer), "{path}");
    }
}

#[test]
fn ten_identical_batches_at_once_over_two_nodes_are_one() {
    let redis = RedisServer::start();
    let nodes = two_nodes(&redis);
    let key = nodes[0].key("amy@agency.gov.sg");
    let (rows, start) = (twenty_rows(), Barrier::new(10));
    let answers: Vec<Answer> = thread::scope(|scope| {
        let clients: Vec<_> = (0..10)
            .map(|client| {
                let (start, rows, program) = (&start, &rows, nodes[client % 2].program_with_key(&key));
                scope.spawn(move || {
                    start.wait();
                    eventually("an answer", || {
                        let answer = post(&program, "/batch?atomic=true", "ten", rows);
                        (answer.status != 409).then_some(answer)
                    })
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("no client panics")).collect()
    });
    for answer in &answers {
        assert_eq!(answer.assert_v2("each", 200)["created"], 20);
        assert_eq!(essence(answer), essence(&answers[0]));
    }
    assert_eq!(nodes[0].program_with_key(&key).codes(&[]).len(), 20);
}

#[test]
fn atomic_batches_that_want_the_same_codes_share_them_out_and_none_is_lost_or_made_twice() {
    let redis = RedisServer::start();
    let nodes = two_nodes(&redis);
    let key = nodes[0].key("amy@agency.gov.sg");
    let start = Barrier::new(6);
    let answers: Vec<Answer> = thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|client| {
                let (start, program) = (&start, nodes[client % 2].program_with_key(&key));
                scope.spawn(move || {
                    let row = |number: usize| json!({"target_url": format!("{TARGET}/{client}"), "code": format!("c{number}")});
                    // Each begins elsewhere, so that they meet in the middle.
                    let rows: Value = (0..30).map(|number| row((number + 5 * client) % 30)).collect();
                    start.wait();
                    program.request("POST", "/batch?atomic=true").json(&rows).send().conventional("a batch")
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("no client panics")).collect()
    });
    let mut winners: Vec<(String, String)> = Vec::new();
    for answer in &answers {
        let batch = answer.json();
        let rows = batch["results"].as_array().expect("rows");
        assert_eq!(rows.len(), 30, "every row is answered");
        let created = rows.iter().filter(|row| row["status"] == 201);
        if answer.status == 422 {
            assert_eq!(created.count(), 0, "who is refused has created nothing: {batch}");
            continue;
        }
        assert_eq!(answer.status, 200);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        winners.extend(created.map(|row| (text(&row["link"]["code"]), text(&row["link"]["target_url"]))));
    }
    winners.sort();
    let amy = nodes[0].program_with_key(&key);
    let there =
        winners.iter().map(|(code, _)| (code.clone(), amy.link(code)["target_url"].as_str().map(str::to_owned)));
    assert!(there.zip(&winners).all(|((_, there), (_, target))| there.as_ref() == Some(target)), "{winners:?}");
    let mut codes: Vec<&String> = winners.iter().map(|(code, _)| code).collect();
    codes.dedup();
    assert_eq!((codes.len(), winners.len()), (30, 30), "each code is somebody's, once");
}

#[test]
fn a_key_that_was_made_is_not_made_again_nor_shown() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let body = json!({"name": "nightly"});
    let first = post(&amy, "/keys", "one-key", &body).assert_v2("the first", 201);
    let again = post(&amy, "/keys", "one-key", &body);
    again.assert_problem("the second", 409, "not-replayed");
    assert!(!again.text().contains(first["key"].as_str().expect("a key")));
    let keys = amy.get("/keys").assert_v2("keys", 200);
    assert_eq!(keys["items"].as_array().map(Vec::len), Some(2), "{keys}");
    let mut eye = server.redis();
    let (_, record) = record(&mut eye).expect("a record");
    assert!(!record.to_string().contains("mlk_"), "the secret isn't kept: {record}");
    // A refusal leaves the key free for a better request.
    post(&amy, "/keys", "second", &json!({"name": 1})).assert_mistakes("refused", &["/name"]);
    post(&amy, "/keys", "second", &json!({"name": 1})).assert_mistakes("refused again", &["/name"]);
}

/// Makes a request look as if its node had died after the work and before the answer was kept.
fn forget_answer(redis: &mut redis::Connection) {
    change_record(redis, |record| {
        assert_ne!(record["answer"], Value::Null, "it was answered: {record}");
        record["answer"] = Value::Null;
        record["held_until"] = json!(0);
    });
}

#[test]
fn a_transfer_whose_answer_was_lost_is_found_whatever_its_new_owner_has_done_since() {
    let server = Server::start();
    let (amy, ben) = (server.program("amy@agency.gov.sg"), server.program("ben@agency.gov.sg"));
    let body = json!({"owner": "ben@agency.gov.sg"});
    let mut redis = server.redis();
    ben.creates(&json!({"code": "bens", "target_url": TARGET}));
    amy.creates(&json!({"code": "form", "target_url": TARGET}));
    let first = post(&amy, "/links/form/transfer", "give", &body).assert_v2("the first", 200);
    forget_answer(&mut redis);
    for number in 0..5 {
        ben.changes("form", &json!({"description": format!("edit {number}")}));
    }
    let again = post(&amy, "/links/form/transfer", "give", &body);
    assert_eq!(again.assert_v2("after edits", 200), first);
    // Ben gives it back: the repetition must not take it from Amy once more.
    forget_answer(&mut redis);
    assert_eq!(ben.transfer("form", "amy@agency.gov.sg").status, 200);
    assert_eq!(post(&amy, "/links/form/transfer", "give", &body).assert_v2("given back", 200), first);
    assert_eq!(amy.link("form")["version"], 8, "nothing was done twice");
    // Nor does it matter that Ben may have no links any more.
    forget_answer(&mut redis);
    server.home().run(&["officer", "suspend", "ben@agency.gov.sg"]).assert_code(0);
    assert_eq!(post(&amy, "/links/form/transfer", "give", &body).assert_v2("suspended since", 200), first);
    let new = post(&amy, "/links/form/transfer", "give again", &body);
    assert_eq!((new.status, &amy.link("form")["version"]), (422, &json!(8)), "{}", new.text());
}

#[test]
fn a_key_whose_answer_was_lost_is_made_once() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let body = json!({"name": "nightly"});
    let first = post(&amy, "/keys", "one-key", &body).assert_v2("the first", 201);
    forget_answer(&mut server.redis());
    let again = post(&amy, "/keys", "one-key", &body).assert_v2("the second", 201);
    assert_eq!(again["id"], first["id"]);
    let keys = amy.get("/keys").assert_v2("keys", 200);
    assert_eq!(keys["items"].as_array().map(Vec::len), Some(2), "{keys}");
    let status = |key: &Value| server.program_with_key(key["key"].as_str().expect("a key")).get("/me").status;
    assert_eq!((status(&first), status(&again)), (401, 200), "nobody was told the first secret");
}

#[test]
fn a_link_that_a_repetition_creates_is_as_old_as_the_repetition() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    let body = json!({"code": "form", "target_url": TARGET});
    post(&amy, "/links", "once", &body).assert_v2("the first", 201);
    let mut redis = server.redis();
    forget_answer(&mut redis);
    // Begun an hour ago, and nothing was written.
    change_record(&mut redis, |begun| begun["at"] = json!(begun["at"].as_i64().expect("a time") - 3_600_000));
    redis::cmd("DEL").arg("l:{form}").exec(&mut redis).expect("Redis deletes it");
    amy.creates(&json!({"code": "other", "target_url": TARGET}));
    let link = post(&amy, "/links", "once", &body).assert_v2("the second", 201);
    assert!(link["created_at"].as_str() >= amy.link("other")["created_at"].as_str(), "{link}");
}

#[test]
fn answers_are_kept_for_a_day() {
    let server = Server::start();
    let amy = server.program("amy@agency.gov.sg");
    post(&amy, "/links", "day", &json!({"target_url": TARGET})).assert_v2("create", 201);
    let mut eye = server.redis();
    let (name, record) = record(&mut eye).expect("a record");
    assert!(record["answer"].is_object(), "{record}");
    let kept_s: i64 = eye.ttl(&name).expect("Redis answers");
    assert!((86_000..=86_400).contains(&kept_s), "{kept_s} s");
}
