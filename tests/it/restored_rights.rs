//! `merlink restore`: what was revoked, suspended and switched off after a backup, and works again
//! once the backup is back.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    console::Desk,
    harness::{Home, Ran, Server, eventually},
    redis_server::RedisServer,
};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

/// Two nodes with an audit file each, on one Redis that can be set back.
struct Service {
    nodes: [Server; 2],
    redis: RefCell<RedisServer>,
    backup: TempDir,
}

impl Service {
    fn new() -> Self {
        let redis = RedisServer::start();
        let nodes = [(); 2].map(|()| {
            let home = Home::new().set("redis.url", redis.url());
            let audit = home.path().join("audit.ndjson").display().to_string();
            let node = home.set("audit.file", audit).start();
            for about in ["Redis", "redis", "clicks"] {
                node.expect_log(about);
            }
            node
        });
        let backup = TempDir::new().expect("a temporary directory can be made");
        Self { nodes, redis: RefCell::new(redis), backup }
    }

    fn audit(&self, node: usize) -> PathBuf {
        self.nodes[node].home().path().join("audit.ndjson")
    }

    fn backs_up(&self) {
        copy_files(&self.redis.borrow().directory().join("appendonlydir"), self.backup.path());
    }

    /// Puts the backup in the place of all that Redis has.
    fn is_set_back(&self) {
        let mut redis = self.redis.borrow_mut();
        redis.kill();
        let folder = redis.directory().join("appendonlydir");
        fs::remove_dir_all(&folder).expect("what was there is lost");
        copy_files(self.backup.path(), &folder);
        redis.start_again();
        self.nodes.iter().for_each(Server::await_ready);
    }

    /// Runs `merlink restore` on the first node.
    #[track_caller]
    fn restores(&self, arguments: &[&str]) -> Ran {
        self.nodes[0].home().run(&[&["restore"], arguments].concat())
    }

    #[track_caller]
    fn runs(&self, arguments: &[&str]) {
        self.nodes[0].home().run(arguments).assert_code(0);
    }

    fn answers(&self, code: &str, status: u16) {
        for node in &self.nodes {
            eventually("the node answers what Redis says", || (node.follow(code).status == status).then_some(()));
        }
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the temporary directory can be written");
    for entry in fs::read_dir(from).expect("is listed") {
        let entry = entry.expect("has a name");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("is copied");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn id_of(key: &str) -> &str {
    key.split('_').nth(1).expect("mlk_<id>_<secret>")
}

#[test]
fn what_was_taken_away_since_the_backup_is_taken_away_again() {
    let service = Service::new();
    let [amy, ben, cat] = ["amy", "ben", "cat"].map(|name| service.nodes[0].key(&format!("{name}@agency.gov.sg")));
    let leaked = service.nodes[0].key("amy@agency.gov.sg");
    for code in ["form", "off", "off-and-on", "shorter", "longer", "edited", "given"] {
        service.nodes[0].officer_with_key(&amy).creates(code, TARGET);
    }
    let amys = service.nodes[1].program_with_key(&amy);
    amys.changes("longer", &json!({"expires_at": "2097-01-01T00:00:00Z"}));
    let mut desk = Desk::of(&service.nodes[0], "amy@agency.gov.sg");
    let cookies = desk.cookies.clone();
    service.backs_up();

    desk.sees("/console/account");
    desk.sends("/console/logout-everywhere", &[]);
    service.runs(&["key", "revoke", "--recorded-only", id_of(&leaked)]);
    // A suspension is the whole mailbox's, whatever address of it was named.
    service.runs(&["officer", "suspend", "ben+work@agency.gov.sg"]);
    service.runs(&["officer", "suspend", "cat@agency.gov.sg"]);
    service.runs(&["officer", "restore", "cat@agency.gov.sg"]);
    service.runs(&["officer", "invite", "dan@agency.gov.sg"]);
    // Each node has a part of what was done, of one link too.
    service.nodes[1].officer_with_key(&amy).switches("off", "INACTIVE");
    service.nodes[1].officer_with_key(&amy).switches("off-and-on", "INACTIVE");
    service.nodes[0].officer_with_key(&amy).switches("off-and-on", "ACTIVE");
    amys.changes("shorter", &json!({"expires_at": "2096-01-01T00:00:00Z"}));
    amys.changes("longer", &json!({"expires_at": "2098-01-01T00:00:00Z"}));
    amys.changes("edited", &json!({"target_url": "https://www.iras.gov.sg/new"}));
    assert_eq!(amys.transfer("given", "cat@agency.gov.sg").status, 200);
    service.nodes[1].officer_with_key(&amy).creates("made-later", TARGET);
    let later = service.nodes[0].key("amy@agency.gov.sg");
    let [first, second] = [0, 1].map(|node| service.audit(node));
    // Kept from what the command itself writes.
    let kept = service.nodes[0].home().path().join("kept.ndjson");
    fs::copy(&first, &kept).expect("is copied");
    let files = [text(&kept), text(&second)];

    service.is_set_back();
    let acts = |key: &str| service.nodes[1].get("/api/v2/links").key(key).send().status;
    assert_eq!([&leaked, &ben, &cat].map(|key| acts(key)), [200; 3], "the backup has them");
    service.answers("off", 302);
    desk.cookies = cookies;
    assert_eq!(desk.opens("/console/account").status, 200, "and lets the session in");

    let would = service.restores(&["--dry-run", files[0], files[1]]);
    would.assert_code(0);
    assert_eq!([&leaked, &ben].map(|key| acts(key)), [200; 2], "tried only");
    service.answers("off", 302);
    let did = service.restores(&files);
    did.assert_code(0);
    assert_eq!(did.stdout, would.stdout, "a dry run prints the same");
    let expected = [
        "suspended     ben+work@agency.gov.sg".to_owned(),
        "logged out    amy@agency.gov.sg, in all browsers".to_owned(),
        format!("revoked       key {} of amy@agency.gov.sg", id_of(&leaked)),
        "switched off  off".to_owned(),
        "expires       shorter at 2096-01-01T00:00:00Z".to_owned(),
        "5 replayed, 0 in force already".to_owned(),
        "not restored: links made since the backup (1): made-later".to_owned(),
        "not restored: links with another target by the files (1): edited".to_owned(),
        "not restored: links with another owner by the files (1): given".to_owned(),
        "not restored: links whose expiry was moved out or removed since (1): longer".to_owned(),
        format!("not restored: keys made since the backup (1): {}", id_of(&later)),
        "not restored: invitations since the backup (1): dan@agency.gov.sg".to_owned(),
    ];
    assert_eq!(did.stdout.lines().collect::<Vec<_>>(), expected);

    assert_eq!([&leaked, &ben].map(|key| acts(key)), [401; 2], "revoked, and suspended");
    assert_eq!([&amy, &cat].map(|key| acts(key)), [200; 2], "the others work");
    assert_ne!(desk.opens("/console/account").status, 200, "the session is over");
    for (code, status) in [("off", 410), ("off-and-on", 302), ("form", 302), ("longer", 302)] {
        service.answers(code, status);
    }
    assert_eq!(amys.link("shorter")["expires_at"], "2096-01-01T00:00:00.000Z");
    assert_eq!(amys.link("longer")["expires_at"], "2097-01-01T00:00:00.000Z", "nothing is loosened");
    let history = amys.get("/links/off/history").json().to_string();
    assert!(history.contains("operator"), "{history}");

    let entries = fs::read_to_string(&first).expect("the audit file is there");
    let told: Vec<Value> = entries[fs::read_to_string(&kept).expect("is there").len()..]
        .lines()
        .map(|line| serde_json::from_str(line).expect("an entry"))
        .filter(|entry: &Value| entry["by"] == "operator")
        .collect();
    let events: Vec<&str> = told.iter().map(|entry| entry["event"].as_str().expect("an event")).collect();
    assert_eq!(events, ["officer.suspended", "session.ended", "key.revoked", "link.changed", "link.changed"]);
    assert_eq!(told[1]["officer"], "amy@agency.gov.sg", "whose sessions they were");

    let again = service.restores(&files);
    let sum = again.assert_code(0).stdout.lines().next().map(str::to_owned);
    assert_eq!(sum.as_deref(), Some("0 replayed, 5 in force already"), "{again}");
}

#[test]
fn rotated_and_damaged_files_are_read_as_far_as_they_go_and_what_cant_be_read_is_named() {
    let service = Service::new();
    let amy = service.nodes[0].key("amy@agency.gov.sg");
    for code in ["first", "second", "third"] {
        service.nodes[0].officer_with_key(&amy).creates(code, TARGET);
    }
    service.backs_up();
    service.nodes[0].officer_with_key(&amy).switches("first", "INACTIVE");
    let rotated = service.audit(0).with_extension("ndjson.2");
    fs::rename(service.audit(0), &rotated).expect("it can be moved");
    service.nodes[0].signal(Signal::HUP);
    eventually("a new file", || service.audit(0).exists().then_some(()));
    service.nodes[0].officer_with_key(&amy).switches("second", "INACTIVE");
    let compressed = service.audit(0).with_extension("ndjson.2.gz");
    let mut gzip = GzEncoder::new(File::create(&compressed).expect("is made"), Compression::default());
    gzip.write_all(&fs::read(&rotated).expect("is read")).and_then(|()| gzip.finish()).expect("is compressed");
    // A torn line, an event of a later version, one that is endless, and good ones behind them: a
    // creation that is repeated undoes nothing.
    let good = r#"{"at":"2099-01-01T00:00:00.000Z","event":"link.changed","by":"operator","outcome":"unknown","code":"third","version":2,"from":{"state":"active"},"to":{"state":"inactive"}}"#;
    let repeated = r#"{"at":"2099-01-01T20:00:00.000Z","event":"link.created","by":"operator","outcome":"done","code":"third","link":{"state":"active"}}"#;
    let later = good.replace("link.changed", "link.burned");
    let (torn, endless) = (&good[..60], "x".repeat(3 << 20));
    let damaged = service.nodes[0]
        .home()
        .write("damaged.ndjson", &format!("{torn}\n{later}\n{endless}\n\u{1b}\n{good}\n{repeated}"));
    let cut = service.nodes[0].home().path().join("cut.gz");
    let whole = fs::read(&compressed).expect("is read");
    fs::write(&cut, &whole[..whole.len() - 12]).expect("is written");
    service.is_set_back();

    let missing = service.restores(&[text(&compressed), "nowhere.ndjson"]);
    missing.assert_code(1).assert_names(&["nowhere.ndjson", "No such file"]);
    service.answers("first", 302);
    let live = service.audit(0);
    let did = service.restores(&[text(&cut), text(&damaged), text(&live), text(&compressed)]);
    did.assert_code(1).assert_names(&["damaged.ndjson:1: ", "damaged.ndjson:2: ", "damaged.ndjson:3: "]);
    did.assert_names(&["damaged.ndjson:4: ", "cut.gz:", "breaks off", "5 lines can't be read"]);
    for entry in [5, 6] {
        assert!(!did.stderr.contains(&format!("damaged.ndjson:{entry}")), "line {entry} is an entry: {did}");
    }
    for code in ["first", "second", "third"] {
        assert!(did.stdout.contains(&format!("switched off  {code}\n")), "{did}");
        service.answers(code, 410);
    }
}
