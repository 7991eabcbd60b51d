//! Addresses that a stranger would like an officer's link to lead to, and what else a text can do when it arrives somewhere.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{Value, json};

use super::report;
use crate::{
    harness::{CURL, Home, Server},
    redis_nodes::Cluster,
};

const AMY: &str = "amy@agency.gov.sg";

/// Below no public suffix, or one that no public DNS serves.
const SUFFIXES: [&str; 12] = [
    "a.onion",
    "a.svc",
    "kubernetes.default.svc",
    "1.0.0.10.in-addr.arpa",
    "a.arpa",
    "a.zzzz",
    "a.consul",
    "a.internal",
    "a.local",
    "a.corp",
    "a.alt",
    "a.invalid",
];
const STAND_INS: [&str; 16] = [
    "10.0.0.1.nip.io",
    "app.127.0.0.1.sslip.io",
    "a.lvh.me",
    "localtest.me",
    "a.vcap.me",
    "a.lacolhost.com",
    "127-0-0-1.org.uk",
    "a.fuf.me",
    "x.localhost.direct",
    "a.traefik.me",
    "7f000001.c0a80001.rbndr.us",
    "make-1.2.3.4-rebind-127.0.0.1-rr.1u.ms",
    "metadata.google.internal",
    "metadata.tencentyun.com",
    "169.254.169.254.unlisted.com",
    "app-192-168-0-1.unlisted.com",
];
/// WHATWG Fetch, "bad port", but for those that this list and `src/domain/lists/ports.txt` could have wrong in the same way.
const PORTS: [u16; 20] =
    [1, 7, 21, 22, 23, 25, 53, 69, 110, 137, 143, 389, 465, 587, 993, 2049, 5060, 6000, 6667, 10080];
const SHORTENERS: [&str; 57] = [
    "3.ly",
    "abre.ai",
    "acortar.link",
    "adfoc.us",
    "alturl.com",
    "b.link",
    "bc.vc",
    "bitly.ws",
    "bityl.co",
    "budurl.com",
    "clc.is",
    "cleanuri.com",
    "clickmeter.com",
    "da.gd",
    "dub.link",
    "dwz.cn",
    "exe.io",
    "fc.lc",
    "ffm.to",
    "geni.us",
    "goo.su",
    "gplinks.co",
    "grabify.link",
    "han.gl",
    "hubs.ly",
    "hyperurl.co",
    "iplogger.org",
    "kurzelinks.de",
    "lihi.cc",
    "linkvertise.com",
    "lnk.to",
    "lstu.fr",
    "me2.do",
    "n9.cl",
    "ouo.io",
    "ppt.cc",
    "pse.is",
    "pxlme.me",
    "qrs.ly",
    "replug.link",
    "reurl.cc",
    "sh.st",
    "short.cm",
    "shorturl.me",
    "shrtco.de",
    "smarturl.it",
    "snip.ly",
    "spoo.me",
    "suo.im",
    "switchy.io",
    "t2m.io",
    "tinyurl.mobi",
    "tr.ee",
    "u.nu",
    "urlr.me",
    "vk.cc",
    "zpr.io",
];
const TRACKERS: [&str; 16] = [
    "nam02.safelinks.protection.outlook.com",
    "urldefense.com",
    "l.facebook.com",
    "l.instagram.com",
    "out.reddit.com",
    "u1.ct.sendgrid.net",
    "mandrillapp.com",
    "r20.rs6.net",
    "ad.doubleclick.net",
    "www.googleadservices.com",
    "www.awin1.com",
    "click.linksynergy.com",
    "prf.hn",
    "x.app.link",
    "x.onelink.me",
    "href.li",
];

#[test]
fn no_address_that_stands_for_another_place_becomes_a_target() {
    let server = Server::start();
    let amy = server.program(AMY);
    let hosts = |hosts: &[&str]| hosts.iter().map(|host| format!("https://{host}/x")).collect::<Vec<_>>();
    let ports = PORTS.map(|port| format!("https://example.com:{port}/x")).to_vec();
    for (attack, targets) in [
        ("12 hosts below no known public suffix", hosts(&SUFFIXES)),
        ("12 hosts that stand for private addresses", hosts(&STAND_INS)),
        ("12 ports that browsers refuse", ports),
        ("12 shorteners", hosts(&SHORTENERS)),
        ("12 trackers", hosts(&TRACKERS)),
    ] {
        let rows: Vec<Value> = targets.iter().map(|target| json!({"target_url": target})).collect();
        let request =
            amy.request("POST", "/batch?dry_run=true").body("application/json", Value::from(rows).to_string());
        let answer = request.send().conventional(attack).assert_v2(attack, 200);
        let results = answer["results"].as_array().expect("a result for each");
        let is_refused = |result: &Value| {
            result["status"] == 422 && result["problem"]["errors"].as_array().is_some_and(|errors| errors.len() == 1)
        };
        let accepted: Vec<&String> =
            targets.iter().zip(results).filter(|(_, result)| !is_refused(result)).map(|(target, _)| target).collect();
        report(attack, "0 accepted", &format!("{} of {} accepted", accepted.len(), targets.len()));
        assert!(accepted.is_empty() && results.len() == targets.len(), "{attack}: {accepted:?}");
    }
}

#[test]
fn no_spelling_overrides_a_parameter_of_the_officers() {
    let server = Server::start();
    let target = "https://example.com/pay?to=agency&items[]=1";
    server.program(AMY).creates(&json!({"target_url": target, "code": "pay", "forward_query": true}));
    let spellings = [
        "to",
        "TO",
        "tO",
        "%74o",
        "to[]",
        "to[0]",
        "to[a][b]",
        "to%5B%5D",
        "[to]",
        "%5Bto%5D",
        "to%20",
        "%20to",
        "+to",
        "to+",
        "to%00",
        "to%09",
        "to%0d%0a",
        "to.",
        ".to",
        "_to",
        "to%C2%A0",
        "x;to",
        "x=1;TO",
        "items",
        "ITEMS[]",
        "items%5B1%5D",
    ];
    let passed: Vec<&str> = spellings
        .into_iter()
        .filter(|name| {
            let answer = server.request("GET", format!("/pay?{name}=evil")).user_agent(CURL).send();
            answer.status != 302 || answer.header("location") != Some(target)
        })
        .collect();
    report(
        "13 spellings of an officer's own parameter",
        "0 forwarded",
        &format!("{} of {} forwarded", passed.len(), spellings.len()),
    );
    assert!(passed.is_empty(), "{passed:?}");
}

#[test]
fn no_cell_of_an_export_runs_in_a_spreadsheet_and_each_comes_back_as_it_was() {
    let server = Server::start();
    let amy = server.program(AMY);
    let formulas = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(1)",
        "＝1",
        "＋1",
        "－1",
        "＠SUM(1)",
        "a;=1+1",
        "a;＝1",
        "a;\"=1",
        "a; -1",
        "'=1",
        "a;'=1",
    ];
    for formula in formulas {
        amy.creates(&json!({"target_url": "https://example.com", "description": formula}));
    }
    let request = amy.request("GET", "/export").header("accept", "text/csv");
    let text = request.send().text();
    let runs = |cell: &str| cell.trim_matches(['"', ' ']).starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    // As a spreadsheet reads it whose separator is the comma, and as one does whose separator is the semicolon.
    let cells = text.split([',', ';', '\n']);
    let running: Vec<&str> = cells.filter(|cell| runs(cell)).collect();
    report("13 formulas in an export", "0 cells run", &format!("{} of {} run", running.len(), formulas.len()));
    assert!(running.is_empty(), "{running:?} in {text}");

    let file = text.lines().enumerate().map(|(index, line)| match index {
        0 => format!("{line}\n"),
        _ => format!("copy-{index},{}\n", line.split_once(',').expect("cells").1),
    });
    let file: String = file.collect();
    let answer = amy.request("POST", "/batch").body("text/csv", file).send().conventional("back");
    let created = answer.assert_v2("back", 200);
    let mut back: Vec<&str> = created["results"]
        .as_array()
        .expect("results")
        .iter()
        .filter_map(|result| result["link"]["description"].as_str())
        .collect();
    let mut sent = formulas.to_vec();
    back.sort_unstable();
    sent.sort_unstable();
    assert_eq!(back, sent, "{created}");
}

#[test]
fn no_mistake_in_the_settings_shows_a_password() {
    let files = [
        "[redis]\nurl = \"redis://merlink:hunter2@h",
        "[redis]\nurl = redis://merlink:hunter2@h",
        "[redis]\nurl = 'redis://merlink:hunter2@h'x",
        "[redis]\nurl = \"\"\nurl = \"redis://merlink:hunter2@h\"",
        "[redis\nurl = \"redis://merlink:hunter2@h\"",
        "[redis]\nurl = { password = \"hunter2\" }",
        "[redis]\nurl = \"redis://merlink:hunter2@h/x\"",
        "[redis]\nuri = \"redis://merlink:hunter2@h\"",
        "[smtp]\nurl = [\"smtps://merlink:hunter2@h\"]",
        "[smtp]\nurl = \"smtps://merlink:hunter2\\q@h\"",
        "[traces]\nheaders = [\"authorization=hunter2\"",
        "[public]\nbase_url = \"https://merlink:hunter2@go.example\"",
    ];
    let mut shown = Vec::new();
    for file in files {
        let home = Home::new();
        let path = home.write("merlink.toml", file).display().to_string();
        for command in ["check", "serve"] {
            let ran = home.run(&[command, "--config", &path]);
            ran.assert_code(1).assert_names(&["merlink.toml"]);
            if ran.stderr.contains("hunter2") || ran.stdout.contains("hunter2") {
                shown.push(ran.to_string());
            }
        }
    }
    for (setting, value) in [
        ("redis.url", "redis://merlink:hunter2@127.0.0.1:1"),
        ("redis.url", "redis-sentinel://merlink:hunter2@127.0.0.1:1/main"),
        ("redis.url", "redis-cluster://merlink:hunter2@127.0.0.1:1"),
        ("redis.url", "redis://merlink:hunter2@127.0.0.1:1/0/x"),
        ("smtp.url", "smtps://merlink:hunter2%zz@127.0.0.1:1/?x=y"),
        ("smtp.from", "smtps://merlink:hunter2@h"),
        ("public.listen", "redis://merlink:hunter2@h"),
    ] {
        let ran = Home::new().set(setting, value).run(&["check"]);
        if ran.stderr.contains("hunter2") || ran.stdout.contains("hunter2") {
            shown.push(ran.to_string());
        }
    }
    let tried = files.len() * 2 + 7;
    report("13 passwords in settings with a mistake", "0 shown", &format!("{} of {tried} shown", shown.len()));
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}

#[test]
fn nothing_in_the_data_directory_is_anybody_elses_to_read() {
    let home = Home::new();
    fs::create_dir(home.data_dir()).expect("made");
    fs::set_permissions(home.data_dir(), fs::Permissions::from_mode(0o755)).expect("as a package may make it");
    let server = home.start();
    server.officer(AMY).creates("form", "https://example.com");
    server.follow("form");
    crate::console::Desk::of(&server, AMY);
    server.await_flushed();
    server.finish();
    let mut files = Vec::new();
    collect(&server.home().data_dir(), &mut files);
    let names: Vec<String> = files.iter().map(|(path, _)| path.clone()).collect();
    for part in ["hot-links.ndjson", "outbox/", "lock", "redis/appendonlydir/"] {
        assert!(names.iter().any(|name| name.contains(part)), "{part} isn't in {names:?}");
    }
    let open: Vec<&(String, u32)> = files.iter().filter(|(_, mode)| mode & 0o077 != 0).collect();
    report("13 files in data_dir", "0 for others", &format!("{} of {} for others", open.len(), files.len()));
    assert!(open.is_empty(), "{open:?}");
}

fn collect(folder: &Path, files: &mut Vec<(String, u32)>) {
    for entry in fs::read_dir(folder).expect("can be read") {
        let entry = entry.expect("can be read");
        let about = entry.metadata().expect("is there");
        files.push((entry.path().display().to_string(), about.permissions().mode() & 0o777));
        if about.is_dir() {
            collect(&entry.path(), files);
        }
    }
}

#[test]
fn an_address_with_braces_is_an_officers_as_any_other_in_a_cluster() {
    let cluster = Cluster::start();
    let server = Home::new().set("redis.url", cluster.url()).start();
    for about in ["redis", "clicks wait in the journal"] {
        server.expect_log(about);
    }
    let addresses = [
        "}b@agency.gov.sg",
        "{}b@agency.gov.sg",
        "a}b@agency.gov.sg",
        "{a}b@agency.gov.sg",
        "}}@agency.gov.sg",
        "}{}@agency.gov.sg",
    ];
    let (mut refused, links) = (Vec::new(), 20);
    for (number, address) in addresses.into_iter().enumerate() {
        let officer = server.program(address);
        for link in 0..links {
            let code = format!("braces-{number}-{link}");
            let answer = officer.create(&json!({"target_url": "https://example.com", "code": code, "tags": ["tax"]}));
            if answer.status != 201 {
                refused.push(format!("{address}: {}", answer.text()));
            }
        }
        for filter in [&[][..], &[("tag", "tax")]] {
            let listed = officer.codes(filter).len();
            if listed != links {
                refused.push(format!("{address}: {listed} of {links} are listed"));
            }
        }
    }
    let tried = addresses.len() * links;
    report(
        "13 links of addresses with braces, in a Cluster",
        "0 refused",
        &format!("{} of {tried} refused", refused.len()),
    );
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn links_that_an_earlier_version_indexed_under_an_address_with_a_brace_are_found() {
    let server = Server::start();
    let address = "}b@agency.gov.sg";
    let officer = server.program(address);
    for link in 0..5 {
        officer.creates(&json!({"target_url": "https://example.com", "code": format!("old-{link}"), "tags": ["tax"]}));
    }
    let mut redis = server.home().redis().expect("its Redis answers");
    let names: Vec<String> = redis::cmd("KEYS").arg("*{%7D*").query(&mut redis).expect("are named");
    assert_eq!(names.len(), 4, "two indexes of one part: {names:?}");
    for name in &names {
        let old = name.replace("%7D", "}");
        redis::cmd("RENAME").arg(name).arg(&old).exec(&mut redis).expect("is renamed");
    }
    server.finish();
    server.start_again();
    let officer = server.program_with_key(&officer.key);
    crate::harness::eventually("the indexes have their new names", || (officer.codes(&[]).len() == 5).then_some(()));
    crate::harness::eventually("that of the tag too", || (officer.codes(&[("tag", "tax")]).len() == 5).then_some(()));
    let mut redis = server.home().redis().expect("its Redis answers");
    crate::harness::eventually("the old ones are gone", || {
        let old: Vec<String> = redis::cmd("KEYS").arg("*{}*").query(&mut redis).expect("are named");
        old.iter().all(|name| !name.starts_with("owner:") && !name.starts_with("tag:")).then_some(())
    });
}
