//! A Redis Cluster: failovers and slots that move under load, without a restart of merlink.

use std::{sync::atomic::Ordering, time::Instant};

use serde_json::json;

use crate::{
    harness::{Home, Officer, Server, eventually},
    load::{self, Answered},
    redis_nodes::Cluster,
    redis_server::RedisServer,
    runs::{FAILOVERS, length_of_run},
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

fn server_on(cluster: &Cluster) -> Server {
    let server = Home::new().set("redis.url", cluster.url()).start();
    for about in ["redis", "clicks wait in the journal"] {
        server.expect_log(about);
    }
    server
}

/// Edits of links in many slots reach another instance, which has the link in memory and listens to one node only.
fn assert_edits_are_heard(amy: &Officer<'_>, other: &Server, codes: &[String]) {
    for code in codes {
        other.follow(code).assert_redirects("before an edit", TARGET);
        for target in [format!("{TARGET}?edited"), TARGET.to_owned()] {
            amy.update(code, &json!({"longUrl": target})).assert_v1_status("edit", 200);
            eventually(&format!("another instance hears of an edit of {code}"), || {
                (other.follow(code).header("location") == Some(&target)).then_some(())
            });
        }
    }
}

#[test]
fn redirects_go_on_and_clicks_stay_exact_while_a_primary_dies_and_slots_move() {
    let mut cluster = Cluster::start();
    let (server, other) = (server_on(&cluster), server_on(&cluster));
    let (amy, maker) = (server.officer("amy@agency.gov.sg"), server.officer("maker@agency.gov.sg"));
    let answered = Answered::default();
    let codes = load::warm_links(&[&server, &other], &amy, 30, &answered);
    let edited: Vec<String> = (0..20).map(|number| format!("edited-{number}")).collect();
    for code in &edited {
        amy.creates(code, TARGET);
    }

    let failovers = length_of_run(FAILOVERS, 1) as usize;
    let started = Instant::now();
    for failover in 0..failovers {
        // The first node of redis.url to begin with: the one that the subscriptions begin with.
        let dead =
            (0..6).map(|node| (node + failover) % 6).find(|&node| cluster.is_primary(node)).expect("there are three");
        load::during(&server, &maker, &codes, &answered, || {
            cluster.nodes[dead].kill();
            for number in 0..30 {
                eventually("a link is created, whichever its slot", || {
                    let code = format!("after-failover-{failover}-{number}");
                    let answer = amy.create(&json!({"shortUrl": code, "longUrl": TARGET}));
                    let mine = answer.status == 400 && server.follow(&code).status == 302;
                    assert!([200, 503].contains(&answer.status) || mine, "{} {}", answer.status, answer.text());
                    (answer.status != 503).then_some(())
                });
            }
            cluster.nodes[dead].start_again();
            cluster.await_whole();
        });
    }
    assert_edits_are_heard(&amy, &other, &edited);

    let from = (1..6).find(|&node| cluster.is_primary(node)).expect("there are three");
    let to = (from + 1..6).find(|&node| cluster.is_primary(node)).expect("there are three");
    let refused = answered.refused.load(Ordering::Relaxed);
    load::during(&server, &maker, &codes, &answered, || {
        let arguments = [
            "reshard".to_owned(),
            cluster.nodes[from].address(),
            "--cluster-from".to_owned(),
            cluster.id(from),
            "--cluster-to".to_owned(),
            cluster.id(to),
            "--cluster-slots".to_owned(),
            "1000".to_owned(),
        ];
        Cluster::manage(&arguments);
    });
    assert_eq!(answered.refused.load(Ordering::Relaxed), refused, "while slots move, nothing is refused");
    cluster.await_whole();
    assert_edits_are_heard(&amy, &other, &edited);
    server.await_ready();
    other.await_ready();
    server.await_flushed();
    other.await_flushed();
    load::assert_clicks_are_exact(&amy, &answered);
    println!(
        "Cluster: {failovers} primaries killed, 1,000 slots moved: {answered}, in {} s",
        started.elapsed().as_secs()
    );
}

#[test]
fn a_cluster_that_is_away_as_a_whole_and_comes_back_costs_nobody_a_restart() {
    let mut cluster = Cluster::start();
    let server = server_on(&cluster);
    let amy = server.officer("amy@agency.gov.sg");
    let answered = Answered::default();
    let codes = load::warm_links(&[&server], &amy, 10, &answered);
    for node in &mut cluster.nodes {
        node.kill();
    }
    for code in codes.iter().cycle().take(100) {
        server.follow(code).assert_redirects("a link in memory", TARGET);
        answered.add(code, 1);
    }
    for number in 0..10 {
        assert_eq!(server.follow(&format!("never-seen-{number}")).status, 503);
        let answer = amy.create(&json!({"shortUrl": format!("while-away-{number}"), "longUrl": TARGET}));
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
    std::thread::sleep(std::time::Duration::from_secs(5));
    for node in &mut cluster.nodes {
        node.start_again();
    }
    cluster.await_whole();
    server.await_ready();
    eventually("links are created again", || {
        let answer = amy.create(&json!({"shortUrl": "after", "longUrl": TARGET}));
        ([200, 400].contains(&answer.status) && server.follow("after").status == 302).then_some(())
    });
    server.await_flushed();
    load::assert_clicks_are_exact(&amy, &answered);
}

/// How nodes of a Cluster can be away.
#[derive(Clone, Copy, Debug)]
enum Away {
    Killed,
    Frozen,
}

#[test]
fn slots_that_nobody_serves_take_nothing_from_links_of_the_others() {
    for away in [Away::Killed, Away::Frozen] {
        let mut cluster = Cluster::start();
        cluster.serve_in_part();
        let home = Home::new().set("redis.url", cluster.url()).set("redirect.revalidate_after", "1s");
        let server = home.set("redis.lookup_timeout", "500ms").start();
        for about in ["redis", "clicks wait in the journal"] {
            server.expect_log(about);
        }
        let amy = server.officer("amy@agency.gov.sg");
        let primaries: Vec<usize> = (0..6).filter(|&node| cluster.is_primary(node)).collect();
        let dead = [primaries[2], cluster.replica_of(primaries[2])];
        let codes: Vec<String> = (0..60).map(|number| format!("link-{number}")).collect();
        for code in &codes {
            amy.creates(code, TARGET);
        }
        let is_dead = |code: &&String| cluster.serves(dead[0], &format!("l:{{{code}}}"));
        let (of_the_dead, of_others): (Vec<&String>, Vec<&String>) = codes.iter().partition(is_dead);
        let (warm, cold) = of_others.split_at(of_others.len() / 2);
        let visit_all = || {
            for code in of_the_dead.iter().chain(warm) {
                assert_eq!(server.follow(code).status, 302, "{away:?}: {code} is in memory");
            }
        };
        visit_all();
        server.await_flushed();

        for node in dead {
            match away {
                Away::Killed => cluster.nodes[node].kill(),
                Away::Frozen => cluster.nodes[node].freeze(),
            }
        }
        eventually("the Cluster knows that slots are gone", || {
            (cluster.nodes[primaries[0]].info(&["CLUSTER", "INFO"], "cluster_slots_fail") != "0").then_some(())
        });
        server.await_ready();
        for (code, other) in warm.iter().zip(cold).take(4) {
            let (key, new) = (format!("l:{{{code}}}"), format!("{TARGET}?{code}"));
            let change = ["HSET", key.as_str(), "t", new.as_str(), "v", "2"];
            let told: usize =
                primaries[..2].iter().filter(|&&node| cluster.nodes[node].ask::<u8>(&change).is_ok()).count();
            assert_eq!(told, 1, "one node has it");
            eventually(&format!("{away:?}: a change to {code} that nobody was told of is noticed"), || {
                visit_all();
                (server.follow(code).header("location") == Some(&new)).then_some(())
            });
            eventually(&format!("{away:?}: {other}, which isn't in memory, is asked for"), || {
                let status = server.follow(other).status;
                assert!([302, 503].contains(&status), "{away:?}: {other} answers {status}");
                (status == 302).then_some(())
            });
        }

        for node in dead {
            match away {
                Away::Killed => cluster.nodes[node].start_again(),
                Away::Frozen => cluster.nodes[node].thaw(),
            }
        }
        cluster.await_whole();
        server.await_ready();
        server.await_flushed();
    }
}

#[test]
fn a_shard_that_is_restored_from_a_backup_is_obeyed() {
    let mut cluster = Cluster::start();
    // Or the whole Cluster would be away meanwhile, which is noticed anyway.
    cluster.serve_in_part();
    let server = server_on(&cluster);
    let amy = server.officer("amy@agency.gov.sg");
    let codes: Vec<String> = (0..30).map(|number| format!("link-{number}")).collect();
    for code in &codes {
        amy.creates(code, TARGET);
    }
    server.await_flushed();
    let primary = (0..6).rfind(|&node| cluster.is_primary(node)).expect("there are three");
    let shard = [primary, cluster.replica_of(primary)];
    let restored: Vec<&String> =
        codes.iter().filter(|code| cluster.serves(primary, &format!("l:{{{code}}}"))).collect();
    assert!(!restored.is_empty());
    let backups = shard.map(|node| cluster.nodes[node].back_up());
    for code in &codes {
        amy.update(code, &json!({"longUrl": format!("{TARGET}?edited")})).assert_v1_status("an edit", 200);
        server.follow(code).assert_redirects("edited", &format!("{TARGET}?edited"));
    }

    for node in shard {
        cluster.nodes[node].kill();
    }
    for (node, backup) in shard.into_iter().zip(&backups) {
        cluster.nodes[node].restore(backup);
        cluster.nodes[node].start_again();
    }
    cluster.await_whole();
    for code in restored {
        eventually(&format!("{code} leads where the backup says"), || {
            (server.follow(code).header("location") == Some(TARGET)).then_some(())
        });
    }
}

#[test]
fn a_creation_that_is_sent_twice_knows_itself() {
    let redis = RedisServer::start();
    let mut redis = redis.connect().expect("it answers");
    let mut create = |code: &str, may_come_again: u8, created: &str, creator: &str| -> i64 {
        redis::cmd("EVAL")
            .arg(include_str!("../../src/store/lua/create_link.lua"))
            .arg(1)
            .arg(format!("l:{{{code}}}"))
            .arg(&["merlink:links", code])
            .arg(may_come_again)
            .arg(&[created, creator, "t", TARGET])
            .query(&mut redis)
            .expect("the script runs")
    };
    assert_eq!([create("a", 1, "7", "mine 1"), create("a", 1, "8", "mine 1")], [7, 7], "again, a little later");
    assert_eq!([create("a", 1, "7", "other 1"), create("a", 1, "7", "mine 2")], [0, 0], "another one");
    assert_eq!([create("b", 0, "7", "mine"), create("b", 0, "7", "mine")], [7, 0], "two that can't be told apart");
}
