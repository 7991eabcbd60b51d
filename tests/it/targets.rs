//! Where links may lead: each refusal in a sentence of its own, lists that an operator extends, and links from before a rule.

use serde_json::json;

use crate::{
    api_v2::TARGET,
    console::Desk,
    harness::{CURL, Home, Server, eventually},
    http::unescaped,
};

const AMY: &str = "amy@agency.gov.sg";

/// An address of each refused kind, words of API v2's sentence, and words of the console's.
const REFUSED: [(&str, &str, &str); 15] = [
    ("http://example.com", "must begin with https:// in lower case", "must begin with https:// in lower case"),
    (
        "https://example.com/a b",
        "has white space, a control character, < or > in it",
        "has a space, a control character",
    ),
    ("https://amy:pw@example.com", "a user name or a password before an @", "a user name or a password before an @"),
    ("https://10.0.0.1", "an IP address instead of a host name", "an IP address in place of a website’s name"),
    ("https://example.com:x", "isn't written as browsers read it", "isn’t written as browsers read it"),
    ("https://g\u{43e}v.sg", "mixes alphabets", "mixes alphabets"),
    ("https://localhost:8080/x", "is private or local", "is private or local"),
    ("https://printer.local", "is private or local", "is private or local"),
    ("https://a.onion", "is private or local", "is private or local"),
    ("https://kubernetes.default.svc", "ends in no known domain", "ends in no known domain"),
    ("https://example.com:6000", "browsers refuse to open port 6000", "Browsers refuse to open port 6000"),
    ("https://app.lvh.me", "stands for an address in a private network", "stands for an address in a private network"),
    ("https://spoo.me/x", "belongs to a link shortener", "belongs to a link shortener"),
    (
        "https://x.app.link/x",
        "belongs to a redirection or tracking service",
        "belongs to a redirection or tracking service",
    ),
    ("https://casino.example", "doesn't allow the host name as a target", "can’t be a target here"),
];

#[test]
fn each_refusal_says_in_its_own_words_what_is_wrong_and_what_to_do() {
    let server = Server::with(&[("targets.blocked_hosts", "casino.example")]);
    let amy = server.program(AMY);
    amy.creates(&json!({"target_url": TARGET, "code": "form"}));
    let mut desk = Desk::of(&server, AMY);
    desk.sees("/console/create");
    let too_long = format!("https://example.com/{}", "é".repeat(400));
    let refused = REFUSED.into_iter().chain([(too_long.as_str(), "longer than 2082 characters", "is too long")]);
    for (target, said, shown) in refused {
        for answer in [amy.create(&json!({"target_url": target})), amy.patch("form", &json!({"target_url": target}))] {
            let problem = answer.assert_problem(target, 422, "validation");
            let detail = problem["errors"][0]["detail"].as_str().unwrap_or_default();
            assert_eq!(problem["errors"].as_array().map(Vec::len), Some(1), "{problem}");
            let has_advice = detail.contains(": ") || target.starts_with("http:");
            assert!(detail.contains(said) && has_advice, "{target}: {detail}");
        }
        let page = desk.sends("/console/create", &[("code", ""), ("target", target)]);
        assert_eq!(page.status, 422, "{target}");
        assert!(unescaped(&page.text()).contains(shown), "{target}: {shown} isn't in {}", page.text());
    }
    assert_eq!(amy.link("form")["version"], 1, "nothing was changed");
}

#[test]
fn a_batch_an_upload_and_an_import_say_it_too() {
    let server = Server::start();
    let file = "code,target_url\na,https://kubernetes.default.svc\nb,https://example.com:25\nc,https://www.10-0-0-1.example.com\n";
    let expected =
        ["ends in no known domain", "browsers refuse to open port 25", "stands for an address in a private network"];

    let amy = server.program(AMY);
    let answer = amy.request("POST", "/batch").body("text/csv", file).send().conventional("batch");
    let batch = answer.assert_v2("batch", 200);
    for (index, words) in expected.into_iter().enumerate() {
        let detail = batch["results"][index]["problem"]["errors"][0]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(words), "{words}: {batch}");
    }

    let mut desk = Desk::of(&server, AMY);
    desk.sees("/console/upload");
    let path = desk.uploads("links.csv", file.as_bytes()).header("location").expect("a preview").to_owned();
    let preview = unescaped(&desk.sees(&path)).to_lowercase();
    assert!(expected.iter().all(|words| preview.contains(words)), "{preview}");

    let path = server.home().write("links.csv", file).display().to_string();
    let ran = server.home().run(&["link", "import", &path, "--owner", AMY]);
    ran.assert_code(1);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines.len() == 3 && lines.iter().zip(expected).all(|(line, words)| line.contains(words)), "{ran}");
}

#[test]
fn v1_keeps_its_words() {
    let server = Server::with(&[("targets.blocked_hosts", "casino.example")]);
    let amy = server.officer(AMY);
    for (target, _, _) in REFUSED {
        let message = match target {
            "http://example.com" => "Only HTTPS URLs are allowed.",
            "https://spoo.me/x" | "https://x.app.link/x" | "https://casino.example" => {
                "Creation of URLs to link shortener sites are not allowed."
            }
            _ => "Long URL format is invalid.",
        };
        let expected = json!({"message": format!("ValidationError: {message}")});
        amy.create(&json!({"longUrl": target})).assert_v1(target, 400, &expected);
    }
}

#[test]
fn a_link_whose_target_is_refused_today_goes_on_and_its_other_fields_can_be_edited() {
    let server = Server::start();
    let amy = server.program(AMY);
    amy.creates(&json!({"target_url": TARGET, "code": "old"}));
    let old = "https://bit.ly/from-before";
    let mut redis = server.home().redis().expect("its Redis answers");
    redis::cmd("HSET").arg("l:{old}").arg("t").arg(old).exec(&mut redis).expect("is written");
    server.follow("old").assert_redirects("an old link", old);

    assert_eq!(amy.changes("old", &json!({"description": "By API"}))["target_url"], old);
    let mut desk = Desk::of(&server, AMY);
    desk.sees("/console/links/old");
    let form = [
        ("version", "2"),
        ("target", old),
        ("description", "By console"),
        ("contact", ""),
        ("tags", ""),
        ("expires", ""),
    ];
    assert_eq!(desk.sends("/console/links/old", &form).status, 303);
    assert_eq!(amy.link("old")["description"], "By console");
    let another = [
        ("version", "3"),
        ("target", "https://bit.ly/another"),
        ("description", ""),
        ("contact", ""),
        ("tags", ""),
        ("expires", ""),
    ];
    assert_eq!(desk.sends("/console/links/old", &another).status, 422);
    server.follow("old").assert_redirects("an edited old link", old);
}

#[test]
fn an_operator_extends_the_lists_without_a_restart() {
    let home = Home::new();
    let path = home.write("blocked.txt", "# ours\ncasino.example\n");
    let home = home.set("targets.blocked_file", path.to_str().expect("the path is text"));
    let server = home.set("targets.allowed_hosts", "agency.app.link,newtld").start();
    let amy = server.officer(AMY);
    let create = |target: &str| amy.create(&json!({"longUrl": target})).status;
    assert_eq!(create("https://www.casino.example/x"), 400);
    assert_eq!(create("https://app.link/x"), 400);
    for allowed in ["https://agency.app.link/x", "https://a.newtld/x", "https://bad.example/x"] {
        assert_eq!(create(allowed), 200, "{allowed}");
    }
    server.home().write("blocked.txt", "bad.example # reported\n*.no.host\n");
    server.expect_log("targets.blocked_file line 2: not a host name");
    eventually("the mistake is logged", || {
        server.log().iter().any(|line| line.contains("The list from before stays in force")).then_some(())
    });
    assert_eq!(create("https://www.casino.example/x"), 400, "half a list is none");
    server.home().write("blocked.txt", "https://Bad.example/and/more # reported\n");
    eventually("the file is read again", || (create("https://bad.example/x") == 400).then_some(()));
    assert_eq!(create("https://www.casino.example/x"), 200);
    std::fs::remove_file(server.home().path().join("blocked.txt")).expect("it was there");
    server.expect_log("targets.blocked_file can't be read");
    eventually("the loss is logged", || {
        server.log().iter().any(|line| line.contains("targets.blocked_file can't be read")).then_some(())
    });
    assert_eq!(create("https://bad.example/x"), 400, "what the file said holds");
}

#[test]
fn a_file_of_blocked_hosts_is_looked_at_by_check_and_one_that_is_missing_stops_the_start() {
    let home = Home::new();
    let path = home.write("blocked.txt", "casino.example\nhttps://bad.example\n").display().to_string();
    let home = home.set("targets.blocked_file", &path);
    let ran = home.run(&["check"]);
    assert!(ran.assert_code(0).stdout.contains("targets' hosts 2, by"), "{ran}");
    home.write("blocked.txt", "casino.example\n*.bad.example\n");
    for command in [&["check"][..], &["serve"], &["link", "import", "-", "--owner", AMY]] {
        home.run(command).assert_code(1).assert_names(&["targets.blocked_file", &path, "line 2: not a host name"]);
    }
    std::fs::remove_file(&path).expect("it was there");
    for command in [&["check"][..], &["serve"], &["link", "import", "-", "--owner", AMY]] {
        home.run(command).assert_code(1).assert_names(&["targets.blocked_file", &path]);
    }
}

#[test]
fn a_forwarded_query_leaves_the_targets_own_parameters_alone() {
    let server = Server::start();
    let amy = server.program(AMY);
    amy.creates(&json!({"target_url": "https://example.com/pay?to=agency", "code": "pay", "forward_query": true}));
    for query in ["to=evil", "TO=evil", "to[]=evil", "to%20=evil", "%74o=evil", "[to]=evil", "x=1;to=evil"] {
        let answer = server.request("GET", format!("/pay?{query}")).user_agent(CURL).send();
        answer.assert_redirects(query, "https://example.com/pay?to=agency");
    }
    let answer = server.request("GET", "/pay?utm_source=mail&to[]=evil&town=x").user_agent(CURL).send();
    answer.assert_redirects("others go along", "https://example.com/pay?to=agency&utm_source=mail&town=x");
}
