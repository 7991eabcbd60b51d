//! The drill of docs/operations.md, "Backup and restore": everything that Redis had is lost, and comes back from a backup and the journal.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    harness::{Home, eventually},
    redis_server::RedisServer,
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

/// Makes an append-only file of the snapshot in this folder, as the page says: by a Redis that begins without one.
fn make_append_only_file(folder: &Path) {
    let socket = folder.join("helper.sock");
    let words = ["--port", "0", "--appendonly", "no", "--save", "", "--unixsocket"];
    let mut server = Command::new("redis-server");
    server.args(words).arg(&socket).arg("--dir").arg(folder).stdin(Stdio::null()).stdout(Stdio::null());
    let mut helper = server.spawn().expect("redis-server is installed");
    let url = format!("redis+unix://{}", socket.display());
    let mut redis = eventually("the helper has loaded the backup", || {
        let mut redis = redis::Client::open(url.as_str()).ok()?.get_connection().ok()?;
        redis::cmd("PING").exec(&mut redis).ok().map(|()| redis)
    });
    let set = redis::cmd("CONFIG").arg("SET").arg("appendonly").arg("yes").exec(&mut redis);
    set.expect("the helper takes the setting");
    eventually("the append-only file is written", || {
        let info: String = redis::cmd("INFO").arg("persistence").query(&mut redis).expect("the helper answers");
        let says = |line: &str| info.lines().any(|other| other == line);
        (says("aof_rewrite_in_progress:0") && says("aof_last_bgrewrite_status:ok")).then_some(())
    });
    // It ends without an answer.
    let _ = redis::cmd("SHUTDOWN").arg("NOSAVE").exec(&mut redis);
    helper.wait().expect("the helper ends");
}

#[test]
fn what_a_backup_has_comes_back_from_it_and_clicks_since_then_from_the_journal() {
    let mut redis = RedisServer::start();
    let server = Home::new().set("redis.url", redis.url()).start();
    for about in ["Redis", "clicks"] {
        server.expect_log(about);
    }
    let amy = server.officer("amy@agency.gov.sg");
    for code in ["form", "quiet", "off"] {
        amy.creates(code, TARGET);
    }
    amy.switches("off", "INACTIVE");
    for _ in 0..5 {
        server.follow("form").assert_redirects("before the backup", TARGET);
    }
    amy.sees_clicks("form", 5);
    let links = || server.home().run(&["link", "export"]).assert_code(0).stdout.clone();
    let links_then = links();
    let backup = server.home().path().join("backup.rdb");
    let socket = redis.url().replace("redis+unix://", "");
    let backed_up = Command::new("redis-cli").args(["-s", &socket, "--rdb"]).arg(&backup).output();
    assert!(backed_up.expect("redis-cli is installed").status.success());

    for _ in 0..7 {
        server.follow("form").assert_redirects("after the backup", TARGET);
    }
    server.follow("quiet").assert_redirects("after the backup", TARGET);
    amy.creates("later", TARGET);
    amy.sees_clicks("form", 12);
    redis.kill();
    let folder = redis.directory().to_owned();
    fs::remove_dir_all(folder.join("appendonlydir")).expect("all is lost");
    for _ in 0..3 {
        server.follow("form").assert_redirects("while there is no Redis", TARGET);
    }

    fs::copy(&backup, folder.join("dump.rdb")).expect("the backup can be copied");
    make_append_only_file(&folder);
    redis.start_again();
    server.home().run(&["check", "--repair"]).assert_code(0);
    server.await_ready();
    amy.sees_clicks("form", 15);
    amy.sees_clicks("quiet", 1);
    server.await_flushed();
    let counters = server.counters("form");
    assert_eq!((counters["t"], counters["o"]), (15, 15), "each click once: {counters:?}");
    assert_eq!(without_clicks(&links()), without_clicks(&links_then), "links as in the backup, and no others");
    assert_eq!(server.follow("off").status, 410);
    eventually("what was made after the backup is gone", || (server.follow("later").status == 404).then_some(()));
}

/// The rows of an export without their last column, which is the link's clicks.
fn without_clicks(export: &str) -> Vec<&str> {
    export.lines().map(|row| row.rsplit_once(',').expect("a row has columns").0).collect()
}
