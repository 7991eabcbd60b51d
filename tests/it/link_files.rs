//! `merlink link import` and `export`: what goes in comes out, again and again, and leads on without merlink.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{Read, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    harness::{Home, Server, eventually},
    redis_nodes::Cluster,
};

const HEADER: &str =
    "code,target_url,state,owner,description,contact_email,tags,forward_query,expires_at,created_at,clicks";

/// Rows as the export writes them: by owners, and by age.
fn all_sorts() -> String {
    [
        HEADER,
        "plain,https://example.com/a,active,amy@agency.gov.sg,,,,false,,2020-01-31T00:00:00Z,0",
        "'-odd-,\"https://example.com/?q=1,2\",inactive,amy@agency.gov.sg,\"'=1+1, \"\"税\"\"\",help@agency.gov.sg,Tax;gst_2026,true,2099-12-31T23:59:59.5Z,2026-01-31T23:59:59.123Z,0",
        "other,https://example.com/b,active,ben@agency.gov.sg,It's,,tax,true,,2021-06-01T00:00:00Z,0",
    ]
    .join("\n")
        + "\n"
}

fn export(home: &Home, arguments: &[&str]) -> String {
    let ran = home.run(&[&["link", "export"], arguments].concat());
    ran.assert_code(0);
    ran.stdout.clone()
}

#[test]
fn what_goes_in_comes_out_in_both_forms() {
    let home = Home::new();
    let file = home.write("links.csv", &all_sorts());
    let ran = home.run(&["link", "import", &file.display().to_string()]);
    ran.assert_code(0).assert_names(&["3 created", "0 unchanged", "0 refused"]);
    assert!(ran.stdout.is_empty(), "nothing was refused: {ran}");
    assert_eq!(export(&home, &[]), all_sorts());

    let ndjson = home.path().join("links.ndjson").display().to_string();
    assert_eq!(export(&home, &[&ndjson]), "", "a file was named");
    let other = Home::new();
    other.run(&["link", "import", &ndjson]).assert_code(0).assert_names(&["3 created"]);
    assert_eq!(export(&other, &["-"]), all_sorts());
    let amys = export(&other, &["--owner", "ben@agency.gov.sg", "--format", "ndjson"]);
    let link: Value = serde_json::from_str(&amys).expect("one JSON object");
    assert_eq!((&link["code"], &link["tags"], &link["expires_at"]), (&json!("other"), &json!(["tax"]), &Value::Null));
}

#[test]
fn links_are_there_as_soon_as_they_are_imported_and_belong_to_their_owners() {
    let server = Server::start();
    let amy = server.officer("amy@agency.gov.sg");
    assert_eq!(server.follow("plain").status, 404, "remembered as unknown");
    let file = server.home().write("links.csv", &all_sorts());
    server.home().run(&["link", "import", &file.display().to_string()]).assert_code(0);
    server.follow("plain").assert_redirects("plain", "https://example.com/a");
    assert_eq!(server.follow("-odd-").status, 410, "switched off");
    let listed = amy.list("").json();
    assert_eq!(listed["count"], 2, "{listed}");
    assert_eq!(listed["urls"][0]["createdAt"], "2026-01-31T23:59:59.123Z", "{listed}");
    assert_eq!(listed["urls"][1]["createdAt"], "2020-01-31T00:00:00.000Z", "{listed}");
    amy.sees_clicks("plain", 1);
    assert!(export(server.home(), &[]).contains("2020-01-31T00:00:00Z,1\n"), "clicks are exported");
}

#[test]
fn importing_again_changes_nothing_and_says_so() {
    let home = Home::new();
    let without_codes = "target_url,tags\nhttps://example.com/1,a\nhttps://example.com/2,\n";
    for file in [all_sorts(), without_codes.to_owned()] {
        let rows = file.lines().count() - 1;
        let path = home.write("links.csv", &file).display().to_string();
        let import = ["link", "import", &path, "--owner", "amy@agency.gov.sg"];
        home.run(&import).assert_code(0).assert_names(&[&format!("{rows} created")]);
        let before = export(&home, &[]);
        home.run(&import).assert_code(0).assert_names(&["0 created", &format!("{rows} unchanged")]);
        assert_eq!(export(&home, &[]), before);
    }
}

#[test]
fn each_refused_row_is_named_with_its_line_and_all_others_are_in() {
    let home = Home::new();
    home.run(&["link", "import", &home.write("first.csv", &all_sorts()).display().to_string()]).assert_code(0);
    let file = home.write(
        "links.csv",
        "code,target_url,owner,description\n\
         new,https://example.com/new,amy@agency.gov.sg,\"two\n lines\"\n\
         \n\
         Bad Code,http://example.com,nobody@evil.com,x\n\
         api,https://example.com,amy@agency.gov.sg,\n\
         plain,https://example.com/other,amy@agency.gov.sg,\n\
         a,https://example.com,amy@agency.gov.sg,,more\n\
         fine,https://example.com/fine,amy@agency.gov.sg,",
    );
    let path = file.display().to_string();
    let ran = home.run(&["link", "import", &path]);
    ran.assert_code(1).assert_names(&["6 rows", "1 created", "5 refused"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "line 2 (new): description: a description is one line of at most 200 characters",
            "line 5 (Bad Code): code: a code has 1 to 255 characters of a-z, 0-9 and -; target_url: the address must begin with https:// in \
             lower case; owner: is no officer's address: officers.email_domains doesn't allow it",
            "line 6 (api): code: is a word that the service needs",
            "line 7 (plain): code: is taken by a link with another target_url",
            "line 8 (a): has 5 cells, the header 4",
        ]
    );
    assert!(export(&home, &[]).contains("\nfine,"), "the last row is in");
    let again = home.run(&["link", "import", &path, "--json"]);
    again.assert_code(1).assert_names(&["1 unchanged", "5 refused"]);
    let first: Value = serde_json::from_str(again.stdout.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["row"], &first["line"], &first["code"]), (&json!(1), &json!(2), &json!("new")));
    assert_eq!(first["errors"][0]["field"], "description");
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let home = Home::new();
    home.run(&["link", "import", &home.write("first.csv", &all_sorts()).display().to_string()]).assert_code(0);
    let before = export(&home, &[]);
    let file = format!(
        "{}new,https://example.com,,amy@agency.gov.sg\nnew,https://example.com,,amy@agency.gov.sg",
        all_sorts()
    );
    let file = home.write("links.csv", &file).display().to_string();
    let ran = home.run(&["link", "import", &file, "--dry-run"]);
    ran.assert_code(1).assert_names(&["1 would be created", "3 unchanged", "1 would be refused"]);
    assert_eq!(ran.stdout, "line 6 (new): code: is that of an earlier row\n");
    assert_eq!(export(&home, &[]), before);
}

#[test]
fn exports_of_other_shorteners_are_understood() {
    for (name, file, code, target, line) in [
        (
            "GoGovSG",
            "Short URL,Original URL,Status,Tags,Visits,Created At,Last Modified\n\
             tax,https://example.com/tax,INACTIVE,Tax;gst,12,2020-02-29T00:00:00.000Z,2021-01-01T00:00:00.000Z\n",
            "tax",
            "https://example.com/tax",
            ",inactive,amy@agency.gov.sg,,,Tax;gst,false,,2020-02-29T00:00:00Z,0\n",
        ),
        (
            "Shlink",
            "\"createdAt\",\"domain\",\"shortCode\",\"shortUrl\",\"longUrl\",\"title\",\"tags\",\"visits\"\n\
             \"2020-02-29T08:00:00+08:00\",\"s.test\",\"Tax\",\"https://s.test/Tax\",\"https://example.com/tax\",\"A title\",\"a b|c\",\"3\"\n",
            "tax",
            "https://example.com/tax",
            ",active,amy@agency.gov.sg,A title,,a-b;c,false,,2020-02-29T00:00:00Z,0\n",
        ),
        (
            "Shlink",
            "createdAt,title,shortUrl,longUrl,tags,visits\n\
             2020-02-29T08:00:00+08:00,,https://s.test/Tax,https://example.com/tax,,3\n",
            "tax",
            "https://example.com/tax",
            ",active,amy@agency.gov.sg,,,,false,,2020-02-29T00:00:00Z,0\n",
        ),
        (
            "YOURLS",
            "keyword,url,title,timestamp,ip,clicks\ntax,https://example.com/tax,Tax,2020-02-29 00:00:00,127.0.0.1,5\n",
            "tax",
            "https://example.com/tax",
            ",active,amy@agency.gov.sg,Tax,,,false,,2020-02-29T00:00:00Z,0\n",
        ),
        (
            "Kutt",
            "{\"address\":\"tax\",\"target\":\"https://example.com/tax\",\"description\":null,\"banned\":true,\
             \"created_at\":\"2020-02-29T00:00:00.000Z\",\"expire_in\":\"2099-01-01T00:00:00.000Z\",\"visit_count\":1}\n",
            "tax",
            "https://example.com/tax",
            ",inactive,amy@agency.gov.sg,,,,false,2099-01-01T00:00:00Z,2020-02-29T00:00:00Z,0\n",
        ),
        (
            "Bitly",
            "{\"created_at\":\"2020-02-29T00:00:00+0000\",\"id\":\"bit.ly/3AbC\",\"link\":\"https://bit.ly/3AbC\",\
             \"custom_bitlinks\":[\"https://bit.ly/Tax\"],\"long_url\":\"https://example.com/tax\",\"title\":\"Tax\",\
             \"archived\":true,\"tags\":[\"a b\"],\"deeplinks\":[],\"references\":{\"group\":\"x\"}}\n",
            "tax",
            "https://example.com/tax",
            ",inactive,amy@agency.gov.sg,Tax,,a-b,false,,2020-02-29T00:00:00Z,0\n",
        ),
        (
            "Bitly",
            "Link,Custom Link,Destination URL,Title,Created\n\
             https://bit.ly/3AbC,https://go.agency.gov.sg/Tax,https://example.com/tax,Tax,1582934400\n",
            "tax",
            "https://example.com/tax",
            ",active,amy@agency.gov.sg,Tax,,,false,,2020-02-29T00:00:00Z,0\n",
        ),
    ] {
        let home = Home::new();
        let path = home.write("links", file).display().to_string();
        let ran = home.run(&["link", "import", &path, "--owner", "amy@agency.gov.sg"]);
        ran.assert_code(0).assert_names(&[name, "1 created"]);
        assert_eq!(export(&home, &[]), format!("{HEADER}\n{code},{target}{line}"), "{name}");
    }
}

#[test]
fn what_is_no_file_of_links_is_refused_in_one_line() {
    let home = Home::new();
    let strange = home.write("strange.csv", "name,phone\nx,y\n").display().to_string();
    let empty = home.write("empty.csv", "").display().to_string();
    let open = home.write("open.csv", &format!("target_url\n\"{}", "x\n".repeat(200_000))).display().to_string();
    let twice = home.write("twice.csv", "target_url,code,Code\nhttps://example.com,a,b\n").display().to_string();
    let utf16 = home.path().join("utf16.csv").display().to_string();
    let bytes: Vec<u8> = "\u{feff}target_url\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&utf16, bytes).expect("the folder is there");
    let folder = home.path().display().to_string();
    for (file, word) in [
        (strange.as_str(), "name, phone"),
        (&empty, "no rows"),
        (&open, "quotation mark"),
        (&twice, "the column Code is there more than once"),
        (&utf16, "UTF-16"),
        (&folder, "directory"),
        ("nowhere.csv", "nowhere.csv"),
    ] {
        let ran = home.run(&["link", "import", file, "--owner", "amy@agency.gov.sg"]);
        ran.assert_code(1).assert_names(&[word]);
        let errors = ran.stderr.lines().filter(|line| line.starts_with("merlink:")).count();
        assert_eq!(errors, 1, "{file}: {ran}");
    }
    let ran = home.run(&["link", "import", &empty, "--owner", "amy@evil.com"]);
    ran.assert_code(1).assert_names(&["officers.email_domains"]);
    let ran = home.run(&["link", "export", "/nowhere/links.csv"]);
    ran.assert_code(1).assert_names(&["/nowhere/links.csv"]);
}

#[test]
fn a_long_file_comes_in_and_out_whole_and_in_order() {
    let home = Home::new();
    let mut file = format!("{HEADER}\n");
    for number in 0..12_345 {
        let (minute, second) = (number / 60 % 60, number % 60);
        let hour = number / 3600;
        writeln!(file,
            "n{number},https://example.com/{number},active,amy@agency.gov.sg,,,,false,,2026-01-02T{hour:02}:{minute:02}:{second:02}Z,0"
        ).expect("a String takes everything");
    }
    let path = home.write("links.csv", &file).display().to_string();
    home.run(&["link", "import", &path]).assert_code(0).assert_names(&["12,345 created"]);
    let out = home.path().join("out.csv");
    home.run(&["link", "export", &out.display().to_string()]).assert_code(0).assert_names(&["12,345 links"]);
    assert!(fs::read_to_string(&out).expect("was written") == file, "byte for byte");
}

#[test]
fn a_file_comes_by_a_pipe_as_well() {
    let home = Home::new();
    let import = ["link", "import", "-", "--owner", "amy@agency.gov.sg"];
    home.run_reading(&import, &all_sorts()).assert_code(0).assert_names(&["3 created"]);
    assert_eq!(export(&home, &[]), all_sorts());
    assert_eq!(export(&home, &["-"]), all_sorts());
    let ran = home.run_reading(&import, "target_url\nhttps://example.com/c\nx\n");
    ran.assert_code(1).assert_names(&["1 created", "1 refused"]);
    assert!(ran.stdout.starts_with("line 3: target_url"), "{}", ran.stdout);
    home.run_reading(&import, "").assert_code(1).assert_names(&["there are no rows"]);
}

#[test]
fn links_without_a_date_are_as_old_as_the_import_in_the_order_of_the_file_sixty_by_sixty() {
    let home = Home::new();
    let codes: Vec<String> = (0..500).map(|number| format!("n{}", number * 7919 % 500)).collect();
    let rows: Vec<String> = codes.iter().map(|code| format!("{code},https://example.com/{code}")).collect();
    let path = home.write("links.csv", &format!("code,target_url\n{}\n", rows.join("\n"))).display().to_string();
    let import = ["link", "import", &path, "--owner", "amy@agency.gov.sg"];
    home.run(&import).assert_code(0).assert_names(&["500 created"]);
    let exported = export(&home, &[]);
    let listed: Vec<Vec<&str>> = exported.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let row = |code: &str| codes.iter().position(|other| other == code).expect("was in the file") + 1;
    let times: Vec<&str> = listed.iter().map(|cells| cells[9]).collect();
    let sixties: Vec<usize> = listed.iter().map(|cells| row(cells[0]) / 60).collect();
    assert_eq!(listed.len(), 500);
    assert!(sixties.is_sorted(), "the first sixty are the oldest: {sixties:?}");
    for (of_one, times) in sixties.windows(2).zip(times.windows(2)) {
        assert_eq!(of_one[0] == of_one[1], times[0] == times[1], "{times:?}");
    }
    home.run(&import).assert_code(0).assert_names(&["500 unchanged"]);
    assert_eq!(export(&home, &[]), exported, "the second import left everything as it was");
}

#[test]
fn a_cluster_takes_and_gives_them_as_well() {
    let cluster = Cluster::start();
    let home = Home::new().set("redis.url", cluster.url());
    let path = home.write("links.csv", &all_sorts()).display().to_string();
    eventually("the cluster takes links", || (home.run(&["link", "import", &path]).code == Some(0)).then_some(()));
    home.run(&["link", "import", &path]).assert_code(0).assert_names(&["3 unchanged"]);
    assert_eq!(export(&home, &[]), all_sorts());
}

/// An nginx of the test's own, on a unix socket.
struct Nginx {
    process: Child,
    socket: std::path::PathBuf,
}

impl Nginx {
    fn start(folder: &Path, map: &str) -> Self {
        let socket = folder.join("nginx.sock");
        let config = folder.join("nginx.conf");
        let text = format!(
            "daemon off; error_log stderr; pid {0}/nginx.pid; events {{}}\n\
             http {{ access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; \
             scgi_temp_path {0}/s; include {map};\n\
             server {{ listen unix:{1}; location / {{ if ($merlink_target) {{ return 302 $merlink_target; }} return 404; }} }} }}\n",
            folder.display(),
            socket.display()
        );
        fs::write(&config, text).expect("the folder can be written");
        let log = File::create(folder.join("nginx.log")).expect("the folder can be written");
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let process = Command::new("nginx")
            .env("PATH", path)
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nginx runs: make test-all installs it");
        let mut nginx = Self { process, socket };
        eventually("nginx listens", || {
            let ended = nginx.process.try_wait().expect("our child can be waited for");
            let log = || fs::read_to_string(folder.join("nginx.log")).unwrap_or_default();
            assert!(ended.is_none(), "nginx takes the map: {}", log());
            UnixStream::connect(&nginx.socket).ok()
        });
        nginx
    }

    /// Where a visit of this path is sent; `None`: nowhere.
    fn leads(&self, path: &str) -> Option<String> {
        let mut stream = UnixStream::connect(&self.socket).expect("nginx listens");
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answers");
        let header = answer.lines().find_map(|line| line.strip_prefix("Location: "));
        assert!(answer.starts_with(if header.is_some() { "HTTP/1.1 302" } else { "HTTP/1.1 404" }), "{answer}");
        header.map(str::to_owned)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM, on which the master ends its workers too.
        let master = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(master, rustix::process::Signal::TERM).ok();
        self.process.wait().ok();
    }
}

#[test]
fn an_nginx_with_the_exported_map_leads_where_merlink_led() {
    let home = Home::new();
    let targets = [
        ("plain", "https://example.com"),
        ("default", "https://example.com/a?b=$c;{d}&e=\\g#h'$i"),
        ("-", "https://example.com/%22%20?x=%24"),
    ];
    let mut file = "code,target_url,state,forward_query,expires_at\n".to_owned();
    for (code, target) in targets {
        writeln!(file, "{code},\"{target}\",,,").expect("a String takes everything");
    }
    file += "off,https://example.com,inactive,,\nold,https://example.com,,,2020-01-01T00:00:00Z\n";
    file += "with,https://example.com/p#f,,true,\nmore,https://example.com/p?a=1,,true,\n";
    let path = home.write("links.csv", &file).display().to_string();
    home.run(&["link", "import", &path, "--owner", "amy@agency.gov.sg"]).assert_code(0);
    let map = home.path().join("links.conf").display().to_string();
    home.run(&["link", "export", "--format", "nginx-map", &map]).assert_code(0);

    let nginx = Nginx::start(home.path(), &map);
    for (code, target) in targets {
        for path in [format!("/{code}"), format!("/{}", code.to_uppercase()), format!("/{code}).")] {
            assert_eq!(nginx.leads(&path).as_deref(), Some(target), "{path}");
        }
    }
    assert_eq!(nginx.leads("/plain?x=1").as_deref(), Some("https://example.com"), "it doesn't forward");
    assert_eq!(nginx.leads("/with?x=1").as_deref(), Some("https://example.com/p?x=1#f"));
    assert_eq!(nginx.leads("/with").as_deref(), Some("https://example.com/p#f"));
    assert_eq!(nginx.leads("/more?x=1").as_deref(), Some("https://example.com/p?a=1&x=1"));
    for path in ["/", "/off", "/old", "/never", "/hostnames", "/plain/more"] {
        assert_eq!(nginx.leads(path), None, "{path}");
    }
}
