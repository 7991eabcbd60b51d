//! Creating many links from a file in the console, and taking all of them away as one: what is previewed, created once, and handed out.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Read as _},
    process::Command,
    thread,
};

use zip::ZipArchive;

use crate::{
    api_v2::TARGET,
    console::Desk,
    harness::{Home, Server},
    http::{Answer, unescaped},
    redis_server::RedisServer,
};

const AMY: &str = "amy@agency.gov.sg";
const BEN: &str = "ben@agency.gov.sg";

/// Uploads a file that can be looked at; answers the page's path and the preview.
#[track_caller]
fn previews(desk: &mut Desk<'_>, file: impl AsRef<[u8]>) -> (String, String) {
    desk.sees("/console/upload");
    let answer = desk.uploads("links.csv", file.as_ref());
    assert_eq!(answer.status, 303, "{}", answer.text());
    let path = answer.header("location").expect("a page").to_owned();
    let page = unescaped(&desk.sees(&path));
    (path, page)
}

/// Confirms the upload whose preview is open; answers the page that says what became of it.
#[track_caller]
fn confirms(desk: &mut Desk<'_>, path: &str) -> String {
    let answer = desk.sends(path, &[]);
    assert_eq!((answer.status, answer.header("location")), (303, Some(path)), "{}", answer.text());
    unescaped(&desk.sees(path))
}

/// Why a file is refused, which keeps the form on the page.
#[track_caller]
fn refusal(desk: &mut Desk<'_>, file: &[u8], status: u16) -> String {
    desk.sees("/console/upload");
    let answer = desk.uploads("links.csv", file);
    answer.assert_page("refused", status);
    let page = unescaped(&answer.text());
    assert!(page.contains("id=\"file\""), "{page}");
    let problem = page.split("role=\"alert\">").nth(1).and_then(|rest| rest.split('<').next());
    problem.expect("a problem").to_owned()
}

fn rows_of(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    let text = answer.text();
    text.strip_prefix('\u{feff}').expect("a byte order mark, for spreadsheets").lines().map(str::to_owned).collect()
}

fn codes_of(server: &Server, owner: &str) -> Vec<String> {
    let list = server.program(owner).get("/links?sort=code").assert_v2("links", 200);
    list["items"]
        .as_array()
        .expect("links")
        .iter()
        .map(|link| link["code"].as_str().expect("a code").to_owned())
        .collect()
}

#[test]
fn a_file_is_previewed_created_once_and_its_results_and_codes_are_handed_out() {
    let server = Server::start();
    server.officer(BEN).creates("taken", TARGET);
    let mut amy = Desk::of(&server, AMY);
    let file = format!(
        "\u{feff}Code;Target_URL;Description;Tags\r\nBulk-One;{TARGET};Eins;tax,gst\r\n;{TARGET};;\r\ntaken;{TARGET};;\r\n\r\n\
         bulk-one;{TARGET};;\r\nbulk-two;http://example.com;;\r\n"
    )
    .replace("tax,gst", "\"tax;gst\"");
    let (path, preview) = previews(&mut amy, &file);
    for part in ["2 links can be created", "3 rows have problems", "Nothing has been created yet", "a random name"] {
        assert!(preview.contains(part), "{part}: {preview}");
    }
    for (line, words) in
        [(4, "taken is taken"), (6, "An earlier row has the name bulk-one"), (7, "must begin with https://")]
    {
        let row = preview.split(&format!("<th scope=\"row\" class=\"number\">{line}</th>")).nth(1).expect("the line");
        assert!(row.split("</tr>").next().is_some_and(|row| row.contains(words)), "{line}: {row}");
    }
    assert_eq!(codes_of(&server, AMY), Vec::<String>::new(), "a preview creates nothing");
    let rows = rows_of(&amy.opens(&format!("{path}/rows.csv")));
    assert_eq!(rows[1], format!("2,can be created,,bulk-one,{TARGET},"));
    amy.opens(&format!("{path}/qr-svg.zip")).assert_page("no codes yet", 404);

    amy.sees(&path);
    let done = confirms(&mut amy, &path);
    assert!(done.contains("2 links were created") && done.contains("3 rows failed"), "{done}");
    let codes = codes_of(&server, AMY);
    assert_eq!(codes.len(), 2);
    server.follow("bulk-one").assert_redirects("a link of the file", TARGET);
    // Pressed again, and the page loaded again: nothing more.
    assert_eq!(confirms(&mut amy, &path), done);
    assert_eq!(codes_of(&server, AMY), codes);
    let link = server.program(AMY).get("/links/bulk-one").assert_v2("link", 200);
    assert_eq!(
        (&link["tags"][1], &link["description"], &link["source"]),
        (&"gst".into(), &"Eins".into(), &"bulk".into())
    );

    let rows = rows_of(&amy.opens(&format!("{path}/rows.csv")));
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[0], "line,status,short_url,code,target_url,error");
    assert_eq!(rows[1], format!("2,created,http://localhost:8080/bulk-one,bulk-one,{TARGET},"));
    assert_eq!(rows[3], format!("4,failed,,taken,{TARGET},the code taken is taken"));

    for (format, extension) in [("qr-svg.zip", "svg"), ("qr-png.zip", "png")] {
        let pictures = unpacked(&amy.opens(&format!("{path}/{format}")));
        let other =
            format!("0003-{}.{extension}", codes.iter().find(|code| *code != "bulk-one").expect("the random one"));
        let names: Vec<&String> = pictures.keys().collect();
        assert_eq!(names, [&format!("0002-bulk-one.{extension}"), &other], "named by line and code");
        let picture = &pictures[names[0]];
        if extension == "png" {
            let file = server.home().path().join("code.png");
            fs::write(&file, picture).expect("the temporary directory can be written");
            let read = Command::new("zbarimg")
                .args(["-q", "--raw"])
                .arg(&file)
                .output()
                .expect("zbarimg runs: make test-all installs it");
            assert_eq!(String::from_utf8_lossy(&read.stdout).trim(), "http://localhost:8080/bulk-one");
        } else {
            assert!(picture.starts_with(b"<svg"));
        }
    }
}

#[test]
fn the_codes_of_many_links_are_those_of_their_pages_logo_and_all() {
    let home = Home::new();
    let logo = home.write(
        "logo.svg",
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 36 36'><circle cx='18' cy='18' r='18' fill='#00664f'/></svg>",
    );
    for has_logo in [true, false] {
        let home = Home::new();
        let server = if has_logo { home.set("site.logo", logo.display().to_string()) } else { home }.start();
        let mut amy = Desk::of(&server, AMY);
        let (path, _) = previews(&mut amy, format!("code,target_url\ntax,{TARGET}\n"));
        confirms(&mut amy, &path);
        for extension in ["svg", "png"] {
            let pictures = unpacked(&amy.opens(&format!("{path}/qr-{extension}.zip")));
            let picture = amy.opens(&format!("/console/links/tax/qr.{extension}?size=1000&logo=1")).body;
            assert!(pictures[&format!("0002-tax.{extension}")] == picture, "{extension}");
            let plain = amy.opens(&format!("/console/links/tax/qr.{extension}?size=1000")).body;
            assert_eq!(plain != picture, has_logo, "{extension}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_cell_is_said_as_the_form_for_one_link_says_it() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    let many = (0..40).map(|number| format!("t{number}")).collect::<Vec<_>>().join(";");
    let long = "x".repeat(201);
    let file = format!(
        "code,target_url,description,contact_email,tags,expires_at,forward_query,state,owner\n\
         A b,http://x.sg,{long},help,a b,soon,maybe,on,x@evil.com\n\
         ,,,,{many},,,,ben\n\
         ,https://bit.ly/x,,,,,,,\n\
         ,https://127.0.0.1/,,,,,,,\n\
         ,http://localhost:8080/x,,,,,,,\n\
         \"never,closed\n"
    );
    let (_, preview) = previews(&mut amy, file);
    let last = preview.split("<th scope=\"row\" class=\"number\">7</th>").nth(1).expect("its line");
    for words in ["The row has a quotation mark that is never closed.", "Look at its quotation marks and separators"] {
        assert!(last.contains(words), "{last}");
    }
    let said: Vec<&str> = preview.split("<p class=\"what\"><strong>").skip(1).collect();
    let said: Vec<&str> = said.iter().filter_map(|rest| rest.split("</p>").next()).collect();
    assert_eq!(
        said,
        [
            "code</strong>: A name has 1 to 255 characters of a-z, 0-9 and -.",
            "target_url</strong>: The address must begin with https:// in lower case.",
            "state</strong>: This should be active or inactive.",
            "owner</strong>: Links are owned by officers only, and this address can’t log in here.",
            "description</strong>: A description is one line of at most 200 characters.",
            "contact_email</strong>: This isn’t an e-mail address. It should look like name@agency.example.",
            "tags</strong>: A tag has 1 to 25 characters of A-Z, a-z, 0-9, _ and -.",
            "forward_query</strong>: This should be true or false.",
            "expires_at</strong>: This isn’t a time. It should look like 2026-12-31T23:59:59+08:00.",
            "target_url</strong>: There is nothing in this cell.",
            "owner</strong>: This isn’t an e-mail address. It should look like name@agency.example.",
            "tags</strong>: A link has at most 10 tags.",
            "target_url</strong>: This address belongs to a link shortener, which hides where it leads. Use the address that it leads to.",
            "target_url</strong>: This address has an IP address in place of a website’s name. Use the name.",
            "target_url</strong>: The address must begin with https:// in lower case.",
        ]
    );
}

/// The files of a ZIP, by name.
#[track_caller]
fn unpacked(answer: &Answer) -> BTreeMap<String, Vec<u8>> {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/zip")));
    let mut archive = ZipArchive::new(Cursor::new(&answer.body)).expect("a ZIP");
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).expect("a file");
        let name = file.name().expect("a name").into_owned();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("it is whole");
        files.insert(name, bytes);
    }
    files
}

#[test]
fn ten_presses_at_once_over_two_nodes_create_each_link_once() {
    let redis = RedisServer::start();
    let servers = [(); 2].map(|()| Home::new().set("redis.url", redis.url()).start());
    let mut amy = Desk::of(&servers[0], AMY);
    let (path, _) = previews(&mut amy, format!("target_url\n{}", format!("{TARGET}\n").repeat(200)));
    let request = |server: &Server| {
        let cookies: Vec<String> = amy.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        server
            .request("POST", &path)
            .header("Cookie", cookies.join("; "))
            .body("application/x-www-form-urlencoded", format!("form_token={}", amy.token))
    };
    thread::scope(|scope| {
        for press in 0..10 {
            let request = request(&servers[press % 2]);
            scope.spawn(move || assert_eq!(request.send().status, 303));
        }
    });
    assert!(unescaped(&amy.sees(&path)).contains("200 links were created"));
    let export = servers[1].program(AMY).get("/export").text();
    assert_eq!(export.lines().count(), 200, "each once");
}

#[test]
fn a_file_that_cannot_be_read_is_refused_in_words_that_help() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    let utf16: Vec<u8> = b"\xff\xfe".iter().copied().chain("target_url\n".bytes().flat_map(|byte| [byte, 0])).collect();
    let rows = |count: usize| format!("target_url\n{}", format!("{TARGET}\n").repeat(count));
    for (file, words) in [
        (&b""[..], "has no rows"),
        (b"target_url\n", "has no rows"),
        (b"PK\x03\x04\x14\x00", "spreadsheet program"),
        (&utf16, "UTF-16"),
        (b"name,phone\na,b\n", "target_url is missing"),
        (b"target_url,code,code\nx,a,b\n", "The column code is there more than once"),
        (rows(1001).as_bytes(), "more than 1,000 rows"),
        (format!("target_url\n\"{}", "x\n".repeat(200_000)).as_bytes(), "never closed"),
    ] {
        let said = refusal(&mut amy, file, 422);
        assert!(said.contains(words), "{words}: {said}");
    }
    let limit = 2 * 1024 * 1024;
    let file = |bytes: usize| {
        let mut file = "target_url,note\n".to_owned();
        while file.len() < bytes {
            let row = format!("{TARGET},");
            let padding = (bytes - file.len()).min(4096) - row.len() - 1;
            file += &[row.as_str(), &"x".repeat(padding), "\n"].concat();
        }
        assert_eq!(file.len(), bytes);
        file
    };
    assert!(refusal(&mut amy, file(limit + 1).as_bytes(), 413).contains("at most 2 MB"));
    assert!(refusal(&mut amy, &vec![b'x'; 20 * 1024 * 1024], 413).contains("at most 2 MB"));
    previews(&mut amy, file(limit));
    let (_, preview) = previews(&mut amy, rows(1000));
    assert!(
        preview.contains("1000 links can be created") || preview.contains("1,000 links can be created"),
        "{preview}"
    );
    // Another encoding spoils its rows and no others.
    let (_, preview) = previews(&mut amy, b"target_url,description\nhttps://a.gov.sg,Stra\xdfe\nhttps://b.gov.sg,\n");
    assert!(preview.contains("One link can be created") && preview.contains("isn’t in UTF-8"), "{preview}");
}

#[test]
fn script_in_every_cell_and_in_the_files_name_is_shown_and_not_run_and_no_formula_comes_out() {
    let server = Server::start();
    let mut amy = Desk::of(&server, AMY);
    let evil = "\"<script>alert(1)</script>\"";
    let header =
        "code,target_url,state,owner,description,contact_email,tags,forward_query,expires_at,<script>alert(2)</script>";
    let file = format!(
        "{header}\n{}\nfine,{TARGET},,,{evil},,,,,{evil}\n=cmd|' /C calc'!A0,@SUM(1),,,,,,,,\n",
        [evil; 10].join(",")
    );
    amy.sees("/console/upload");
    let answer = amy.uploads("<script>alert(3)</script>.csv", file.as_bytes());
    assert_eq!(answer.status, 303, "{}", answer.text());
    let path = answer.header("location").expect("a page").to_owned();
    let raw = amy.sees(&path);
    confirms(&mut amy, &path);
    for page in [raw, amy.sees(&path), amy.sees("/console/links"), amy.sees("/console/links/fine")] {
        assert!(!page.contains("<script>alert"), "{page}");
    }
    let rows = amy.opens(&format!("{path}/rows.csv")).text();
    assert!(rows.contains("'=cmd|' /c calc'!a0") && rows.contains("'@SUM(1)"), "{rows}");
    for cell in rows.lines().flat_map(|row| row.split(',')) {
        assert!(!cell.trim_start_matches('"').starts_with(['=', '+', '-', '@']), "{cell} in {rows}");
    }
}

#[test]
fn nobody_elses_upload_and_no_foreign_form_gets_through() {
    let server = Home::new().set("officers.admins", "root@agency.gov.sg").start();
    let mut amy = Desk::of(&server, AMY);
    let file = format!("code,target_url,owner\nmine,{TARGET},\nbens,{TARGET},{BEN}\n");
    let (path, preview) = previews(&mut amy, &file);
    assert!(preview.contains("Only administrators create links for others"), "{preview}");
    let mut ben = Desk::of(&server, BEN);
    ben.sees("/console/upload");
    for below in ["", "/rows.csv", "/qr-svg.zip"] {
        ben.opens(&format!("{path}{below}")).assert_page(below, 404);
    }
    ben.sends(&path, &[]).assert_page("another officer's upload", 404);
    amy.sends_with_token(&path, "", &[]).assert_page("without a token", 403);
    let stranger = server.get(&path).send();
    assert_eq!(stranger.status, 303, "nobody is logged in");
    let token = amy.token.clone();
    amy.file_form("", "links.csv", file.as_bytes()).send().assert_page("a file without a token", 403);
    let elsewhere = amy.file_form(&token, "links.csv", file.as_bytes()).header("Origin", "https://evil.example");
    elsewhere.send().assert_page("a file from another site", 403);
    server.request("POST", "/console/upload").body("text/csv", &file).send().assert_page("no form", 303);
    assert_eq!(codes_of(&server, AMY), Vec::<String>::new());

    // A newer file takes the older one's place.
    let (newer, _) = previews(&mut amy, &file);
    assert!(amy.opens(&path).text().contains("another one has taken its place"));
    confirms(&mut amy, &newer);
    assert_eq!(codes_of(&server, AMY), ["mine"]);
    let mut root = Desk::of(&server, "root@agency.gov.sg");
    let (path, _) = previews(&mut root, format!("code,target_url,owner\nfor-ben,{TARGET},{BEN}\n"));
    confirms(&mut root, &path);
    assert_eq!(codes_of(&server, BEN), ["for-ben"]);
}

#[test]
fn the_whole_list_comes_as_a_file_as_it_is_filtered() {
    let server = Server::start();
    let program = server.program(AMY);
    for code in 0..30 {
        let tag = if code < 27 { "old" } else { "new" };
        program.creates(&serde_json::json!({"code": format!("link-{code:02}"), "target_url": TARGET, "tags": [tag], "description": "=1"}));
    }
    server.officer(BEN).creates("bens", TARGET);
    let mut amy = Desk::of(&server, AMY);
    let page = amy.sees("/console/links?tag=old");
    let files: Vec<String> =
        crate::http::attributes(&page, "href").into_iter().filter(|href| href.starts_with("/console/export")).collect();
    assert_eq!(files, ["/console/export?tag=old&format=csv", "/console/export?tag=old&format=ndjson"]);
    let rows = rows_of(&amy.opens(&files[0]));
    assert_eq!(rows.len(), 1 + 27);
    assert!(rows[1].starts_with("link-00,") && rows[1].contains(",'=1,"), "{}", rows[1]);
    let lines = amy.opens(&files[1]);
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(lines.text().lines().count(), 27);
    for (query, count) in [("", 30), ("q=link-2", 10), ("q=nothing-like-it", 0), ("state=inactive", 0)] {
        assert_eq!(rows_of(&amy.opens(&format!("/console/export?{query}"))).len(), 1 + count, "{query}");
    }
    assert_eq!(server.get("/console/export").send().status, 303);
}
