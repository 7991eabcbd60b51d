//! The console in other languages than English: an operator brings one by a file, however little it says.

use crate::{
    console::{Desk, mails, password_in},
    harness::{Home, Server},
    http::attributes,
};

const AMY: &str = "amy.tan@agency.gov.sg";

const MAORI: &str = "\
login-title = Takiuru
keys-none = Kaore o kii.
keys-life-days-label = { $days } nga ra
console-moment = { $date } i te { $time }
problem-not-found-title = Kaore he wharangi
upload-problem-cell = Kei { $column }: { $detail }
upload-cell-flag = He pono, he teka ranei.
mail-password-subject = Kupuhipa o { $site }
mail-password-text = Ko te kupuhipa: { $password }
";

/// A server whose console is also in Māori, as far as the file goes.
fn server_with(console: &str) -> Server {
    let home = Home::new().set("site.languages", "en,mi").set("site.name", "Go");
    let folder = home.path().join("languages/mi");
    std::fs::create_dir_all(&folder).expect("the temporary directory can be written");
    std::fs::write(folder.join("citizens.ftl"), "language-name = Te reo\n").expect("it can be written");
    std::fs::write(folder.join("console.ftl"), console).expect("it can be written");
    let server = home.set("site.languages_dir", folder.parent().expect("mi").display().to_string()).start();
    server.expect_log("these messages are missing and stay in english");
    server
}

#[test]
fn an_officer_reads_the_console_in_a_language_that_the_operator_brought_and_the_rest_in_english() {
    let server = server_with(MAORI);
    let asking = |path: &str| server.get(path).header("Accept-Language", "mi").send();
    let page = asking("/console/login").text();
    assert!(page.contains("<html lang=\"mi\">") && page.contains("<h1>Takiuru</h1>"), "{page}");
    assert!(
        page.contains("We mail you a link and a one-time password."),
        "what the file lacks is said in English: {page}"
    );
    let lost = asking("/console/nothing");
    lost.assert_page("not found", 404);
    assert!(lost.text().contains("<h1>Kaore he wharangi</h1>"), "{}", lost.text());
    let english = server.get("/console/login").send().text();
    assert!(english.contains("<html lang=\"en\">") && english.contains("<h1>Log in</h1>"), "{english}");
}

#[test]
fn a_language_that_was_chosen_at_login_stays_and_is_that_of_the_mail() {
    let server = server_with(MAORI);
    let mut desk = Desk::at(&server);
    let page = desk.sees("/console/login?next=/console/keys");
    let maori = attributes(&page, "href").into_iter().find(|link| link.contains("page-lang=mi")).expect("a choice");
    assert_eq!(maori, "?page-lang=mi&next=/console/keys", "where the officer wanted to go isn't forgotten");
    let answer = desk.opens(&format!("/console/login{maori}"));
    assert_eq!(
        answer.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value).collect::<Vec<_>>(),
        ["lang=mi; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"]
    );
    assert_eq!(attributes(&answer.text(), "value"), [desk.token.as_str(), "/console/keys", ""]);

    desk.sends("/console/login", &[("email", AMY)]).assert_page("asking", 200);
    let password = desk.password_after(0);
    let mail = std::fs::read_to_string(&mails(&server)[0]).expect("a mail can be read");
    assert!(mail.contains("Subject: Kupuhipa o Go\r\n") && mail.contains("Ko te kupuhipa: "), "{mail}");
    assert_eq!(password_in(&mail), password);
    let answer = desk.sends("/console/login/password", &[("email", AMY), ("password", &password)]);
    assert_eq!(answer.status, 303, "{}", answer.text());
    let page = desk.sees("/console/keys");
    assert!(page.contains("Kaore o kii.") && page.contains(">30 nga ra</option>"), "{page}");
    assert!(desk.sees("/console/account").contains(" i te "), "dates are put together as the file says");
    assert!(desk.sees("/console/account?page-lang=en").contains("<html lang=\"en\">"));
    assert!(desk.sees("/console/keys").contains("You have no keys."));
}

#[test]
fn what_is_wrong_with_an_uploaded_row_is_said_in_the_officers_language() {
    let server = server_with(MAORI);
    let mut desk = Desk::of(&server, AMY);
    desk.sees("/console/upload?page-lang=mi");
    let answer = desk.uploads("links.csv", b"target_url,forward_query\nhttp://example.com,maybe\n");
    let path = answer.header("location").expect("a preview").to_owned();
    let preview = desk.sees(&path);
    assert!(preview.contains("Kei forward_query: He pono, he teka ranei."), "{preview}");
    let english = "<span lang=\"en\">The address must begin with https:// in lower case.</span>";
    assert!(preview.contains(&format!("Kei target_url: {english}")), "{preview}");
}

#[test]
fn languages_that_the_console_isnt_in_are_not_offered_there() {
    let server = Server::start();
    let page = server.get("/console/login").header("Accept-Language", "ms").send().text();
    assert!(page.contains("<html lang=\"en\">") && !page.contains("page-lang"), "{page}");
    let only = Home::new().set("site.languages", "ms").start();
    assert!(only.get("/console/login").send().text().contains("<html lang=\"en\">"));
}

#[test]
fn a_console_file_with_a_mistake_stops_the_start() {
    let home = Home::new();
    let folder = home.path().join("languages/ms");
    std::fs::create_dir_all(&folder).expect("the temporary directory can be written");
    std::fs::write(folder.join("console.ftl"), "keys-ends = Tamat { $dat }\n").expect("it can be written");
    let home = home.set("site.languages_dir", folder.parent().expect("ms").display().to_string());
    home.run(&["check"]).assert_code(1).assert_names(&["ms/console.ftl", "keys-ends", "$dat", "$date"]);
}
