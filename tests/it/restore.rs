//! The drill of docs/operations.md, "Restore": everything that Redis had is lost, and comes back from a backup and the journals.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use redis::{Connection, cmd};

use crate::{
    harness::{CHROME, CURL, GOOGLEBOT, Home, IPAD, IPHONE, Server, eventually},
    redis_server::RedisServer,
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

/// Who visits, and the counter that they add to besides the total, of which only people are a part.
const VISITORS: [(&str, Option<&str>, &str); 6] = [
    (CURL, None, "o"),
    (CHROME, None, "d"),
    (IPHONE, None, "m"),
    (IPAD, None, "a"),
    (GOOGLEBOT, None, "b"),
    (CHROME, Some("prefetch"), "p"),
];

/// What visitors were answered: per code, and over all as `*`, what its counters have to be.
#[derive(Default)]
struct Answered(BTreeMap<String, BTreeMap<&'static str, i64>>);

impl Answered {
    /// So many visits of each kind, of one link after the other.
    #[track_caller]
    fn visit(&mut self, server: &Server, codes: &[String], times: usize) {
        for code in codes.iter().flat_map(|code| std::iter::repeat_n(code, times)) {
            for (agent, purpose, counter) in VISITORS {
                let mut visit = server.get(&format!("/{code}")).user_agent(agent);
                if let Some(purpose) = purpose {
                    visit = visit.header("Sec-Purpose", purpose);
                }
                let status = visit.send().status;
                assert!([200, 302].contains(&status), "{code} for {agent}: {status}");
                let is_person = !["b", "p"].contains(&counter);
                for code in [code, "*"] {
                    let counters = self.0.entry(code.to_owned()).or_default();
                    *counters.entry(counter).or_default() += 1;
                    *counters.entry("t").or_default() += i64::from(is_person);
                }
            }
        }
    }

    /// Compares every counter there is with the answers.
    #[track_caller]
    fn assert_counted(&self, server: &Server) {
        let mut redis = server.redis();
        let keys: Vec<String> = cmd("KEYS").arg("clicks:*").query(&mut redis).expect("Redis lists keys");
        let counted: BTreeMap<String, BTreeMap<String, i64>> = keys
            .iter()
            .map(|key| key.strip_prefix("clicks:{").and_then(|rest| rest.strip_suffix('}')).expect("names a code"))
            .map(|code| (code.to_owned(), server.counters(code)))
            .collect();
        let codes = |of: Vec<&String>| of.into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(codes(counted.keys().collect()), codes(self.0.keys().collect()), "counters of what was visited");
        for (code, counters) in &counted {
            // `t` and its like, `w<hour of the week>`, and days by their numbers.
            let (kinds, times): (BTreeMap<_, _>, BTreeMap<_, _>) =
                counters.iter().map(|(name, count)| (name.as_str(), *count)).partition(|(name, _)| name.len() == 1);
            assert_eq!(kinds, self.0[code], "{code}: by kind of visitor");
            let (hours, days): (BTreeMap<_, _>, BTreeMap<_, _>) =
                times.into_iter().partition(|(name, _)| name.starts_with('w'));
            for (about, counters) in [("by hour", hours), ("by day", days)] {
                assert_eq!(counters.values().sum::<i64>(), kinds["t"], "{code}: {about}: {counters:?}");
            }
        }
    }
}

/// All that a Redis has: each field, member or value by its key. For sorted sets the scores.
fn contents(redis: &mut Connection) -> BTreeMap<(String, String), String> {
    let keys: Vec<String> = cmd("KEYS").arg("*").query(redis).expect("Redis lists keys");
    let mut all = BTreeMap::new();
    for key in keys {
        let kind: String = cmd("TYPE").arg(&key).query(redis).expect("Redis knows the type");
        let pairs: Vec<(String, String)> = match kind.as_str() {
            "hash" => cmd("HGETALL").arg(&key).query(redis),
            "zset" => cmd("ZRANGE").arg(&key).arg(0).arg(-1).arg("WITHSCORES").query(redis),
            "set" => cmd("SMEMBERS")
                .arg(&key)
                .query(redis)
                .map(|members: Vec<String>| members.into_iter().map(|member| (member, String::new())).collect()),
            "string" => cmd("GET").arg(&key).query(redis).map(|value| vec![(String::new(), value)]),
            other => panic!("{key} is a {other}"),
        }
        .expect("Redis gives what it has");
        all.extend(pairs.into_iter().map(|(name, value)| ((key.clone(), name), value)));
    }
    all
}

/// Another Redis on the files of one that isn't running, where no Merlink finds it.
struct Helper {
    child: Child,
    redis: Connection,
}

impl Helper {
    fn on(folder: &Path, append_only: &str) -> Self {
        let socket = folder.join("helper.sock");
        let mut server = Command::new("redis-server");
        server.args(["--port", "0", "--appendonly", append_only, "--save", "", "--unixsocket"]).arg(&socket);
        let child = server.arg("--dir").arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let url = format!("redis+unix://{}", socket.display());
        let redis = eventually("the helper has loaded what it found", || {
            let mut redis = redis::Client::open(url.as_str()).ok()?.get_connection().ok()?;
            cmd("PING").exec(&mut redis).ok().map(|()| redis)
        });
        Self { child: child.expect("redis-server is installed"), redis }
    }

    fn shut_down(mut self) {
        // It ends without an answer.
        let _ = cmd("SHUTDOWN").arg("NOSAVE").exec(&mut self.redis);
        self.child.wait().expect("the helper ends");
    }
}

/// Makes an append-only file of the snapshot in this folder, as the page says: by a Redis that begins without one.
fn make_append_only_file(folder: &Path) {
    let mut helper = Helper::on(folder, "no");
    let set = cmd("CONFIG").arg("SET").arg("appendonly").arg("yes").exec(&mut helper.redis);
    set.expect("the helper takes the setting");
    eventually("the append-only file is written", || {
        let info: String = cmd("INFO").arg("persistence").query(&mut helper.redis).expect("the helper answers");
        let says = |line: &str| info.lines().any(|other| other == line);
        (says("aof_rewrite_in_progress:0") && says("aof_last_bgrewrite_status:ok")).then_some(())
    });
    helper.shut_down();
}

#[test]
fn what_a_backup_has_comes_back_from_it_and_clicks_since_then_from_the_journals() {
    let mut redis = RedisServer::start();
    let nodes = [(); 2].map(|()| Home::new().set("redis.url", redis.url()).start());
    for (node, about) in nodes.iter().flat_map(|node| [(node, "Redis"), (node, "clicks")]) {
        node.expect_log(about);
    }
    let [amy, ben] = ["amy", "ben"].map(|name| nodes[0].officer(&format!("{name}@agency.gov.sg")));
    let codes: Vec<String> = (0..12).map(|number| format!("form-{number}")).collect();
    for (code, officer) in codes.iter().zip([&amy, &ben].into_iter().cycle()) {
        officer.creates(code, TARGET);
    }
    for code in ["quiet", "off"] {
        amy.creates(code, TARGET);
    }
    amy.switches("off", "INACTIVE");
    let mut answered = Answered::default();
    answered.visit(&nodes[0], &codes, 2);
    answered.visit(&nodes[1], &codes[..6], 1);
    nodes.iter().for_each(Server::await_flushed);
    answered.assert_counted(&nodes[0]);

    let links = || nodes[0].home().run(&["link", "export"]).assert_code(0).stdout.clone();
    let links_then = links();
    let had = contents(&mut nodes[0].redis());
    let backup = nodes[0].home().path().join("backup.rdb");
    let socket = redis.url().replace("redis+unix://", "");
    let backed_up = Command::new("redis-cli").args(["-s", &socket, "--rdb"]).arg(&backup).output();
    assert!(backed_up.expect("redis-cli is installed").status.success());

    answered.visit(&nodes[0], &codes[3..9], 2);
    answered.visit(&nodes[1], &["quiet".to_owned()], 1);
    amy.creates("later", TARGET);
    nodes.iter().for_each(Server::await_flushed);
    answered.assert_counted(&nodes[0]);
    redis.kill();
    let folder = redis.directory().to_owned();
    fs::remove_dir_all(folder.join("appendonlydir")).expect("all is lost");
    for node in &nodes {
        // Each has these in memory.
        answered.visit(node, &codes[3..6], 1);
    }

    fs::copy(&backup, folder.join("dump.rdb")).expect("the backup can be copied");
    make_append_only_file(&folder);
    // What is restored, before any Merlink sees it.
    let mut helper = Helper::on(&folder, "yes");
    let restored = contents(&mut helper.redis);
    helper.shut_down();
    for (about, value) in had.iter().chain(&restored) {
        assert_eq!((had.get(about), restored.get(about)), (Some(value), Some(value)), "{about:?}: had, and restored");
    }
    let is_counter = |(key, name): &&(String, String)| key.starts_with("clicks:") && !name.starts_with('@');
    println!(
        "restored: {} fields of {} keys as the backup had them, {} counters among them",
        restored.len(),
        restored.keys().map(|(key, _)| key).collect::<std::collections::BTreeSet<_>>().len(),
        restored.keys().filter(is_counter).count()
    );

    redis.start_again();
    nodes[0].home().run(&["check", "--repair"]).assert_code(0);
    nodes.iter().for_each(Server::await_ready);
    let (code, clicks) = (&codes[3], answered.0[&codes[3]]["t"]);
    ben.sees_clicks(code, clicks);
    amy.sees_clicks("quiet", answered.0["quiet"]["t"]);
    nodes.iter().for_each(Server::await_flushed);
    eventually("all is counted again", || {
        (nodes[0].counters("*").get("t") == Some(&answered.0["*"]["t"])).then_some(())
    });
    answered.assert_counted(&nodes[0]);
    assert_eq!(without_clicks(&links()), without_clicks(&links_then), "links as in the backup, and no others");
    assert_eq!(nodes[0].follow("off").status, 410);
    eventually("what was made after the backup is gone", || (nodes[0].follow("later").status == 404).then_some(()));
}

/// The rows of an export without their last column, which is the link's clicks.
fn without_clicks(export: &str) -> Vec<&str> {
    export.lines().map(|row| row.rsplit_once(',').expect("a row has columns").0).collect()
}
