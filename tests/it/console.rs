//! An officer at a desk: a browser that keeps cookies, fills in the forms of the page before it, and reads its own mail.

use std::{fs, path::PathBuf};

use crate::{
    harness::{CHROME, Server, eventually},
    http::{Answer, Request, attributes, percent_encoded},
};

pub struct Desk<'s> {
    server: &'s Server,
    /// `name=value` of each cookie.
    pub cookies: Vec<(String, String)>,
    /// What the last page with a form had in it.
    pub token: String,
    /// The client's address that a trusted proxy would add.
    pub from: Option<String>,
}

impl<'s> Desk<'s> {
    pub fn at(server: &'s Server) -> Self {
        Self { server, cookies: Vec::new(), token: String::new(), from: None }
    }

    /// A desk at which `email` has logged in.
    #[track_caller]
    pub fn of(server: &'s Server, email: &str) -> Self {
        let mut desk = Self::at(server);
        desk.logs_in(email);
        desk
    }

    #[track_caller]
    pub fn logs_in(&mut self, email: &str) {
        let before = mails(self.server).len();
        self.opens("/console/login").assert_page("login", 200);
        self.sends("/console/login", &[("email", email)]).assert_page("the password's form", 200);
        let password = self.password_after(before);
        let answer = self.sends("/console/login/password", &[("email", email), ("password", &password)]);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/console/links")), "{}", answer.text());
        self.token = String::new();
    }

    /// The password in the mail that comes after so many.
    #[track_caller]
    pub fn password_after(&self, mails_before: usize) -> String {
        password_in(&self.mail_after(mails_before))
    }

    /// The mail that comes after so many.
    #[track_caller]
    pub fn mail_after(&self, mails_before: usize) -> String {
        let mail = eventually("the mail is in the outbox", || mails(self.server).into_iter().nth(mails_before));
        fs::read_to_string(mail).expect("a mail can be read")
    }

    #[track_caller]
    pub fn opens(&mut self, path: &str) -> Answer {
        let request = self.dressed(self.server.get(path));
        self.takes(request)
    }

    /// Opens a page that must be there.
    #[track_caller]
    pub fn sees(&mut self, path: &str) -> String {
        let answer = self.opens(path);
        answer.assert_page(path, 200);
        answer.text()
    }

    /// Sends a form with the token of the page before.
    #[track_caller]
    pub fn sends(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token.clone();
        self.sends_with_token(path, &token, fields)
    }

    #[track_caller]
    pub fn sends_with_token(&mut self, path: &str, token: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = format!("http://{}", self.server.public_address());
        let request = self.form(path, token, fields).header("Origin", origin);
        self.takes(request)
    }

    /// The form as it goes over the wire, without an origin.
    pub fn form(&self, path: &str, token: &str, fields: &[(&str, &str)]) -> Request {
        let pairs = [("form_token", token)].into_iter().chain(fields.iter().copied());
        let body: Vec<String> =
            pairs.map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value))).collect();
        self.dressed(self.server.request("POST", path)).body("application/x-www-form-urlencoded", body.join("&"))
    }

    /// Uploads a file with the token of the page before.
    #[track_caller]
    pub fn uploads(&mut self, name: &str, file: &[u8]) -> Answer {
        let token = self.token.clone();
        let origin = format!("http://{}", self.server.public_address());
        let request = self.file_form(&token, name, file).header("Origin", origin);
        self.takes(request)
    }

    /// The form with a file as it goes over the wire, without an origin.
    pub fn file_form(&self, token: &str, name: &str, file: &[u8]) -> Request {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"form_token\"\r\n\r\n{token}\r\n\
             --edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: text/csv\r\n\r\n"
        );
        let body = [head.as_bytes(), file, b"\r\n--edge--\r\n"].concat();
        self.dressed(self.server.request("POST", "/console/upload")).body("multipart/form-data; boundary=edge", body)
    }

    pub fn dressed(&self, request: Request) -> Request {
        let mut request = request.user_agent(CHROME).header("Accept", "text/html");
        if let Some(address) = &self.from {
            request = request.header("X-Forwarded-For", address.clone());
        }
        if self.cookies.is_empty() {
            return request;
        }
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request.header("Cookie", cookies.join("; "))
    }

    #[track_caller]
    fn takes(&mut self, request: Request) -> Answer {
        let answer = request.send();
        for (name, value) in &answer.headers {
            if name == "set-cookie" {
                let pair = value.split(';').next().unwrap_or_default();
                let (name, value) = pair.split_once('=').expect("a cookie has name and value");
                self.cookies.retain(|(kept, _)| kept != name);
                if !value.is_empty() {
                    self.cookies.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        if let Some(token) = token_in(&answer.text()) {
            self.token = token;
        }
        answer
    }
}

fn token_in(html: &str) -> Option<String> {
    let tag = html.split("name=\"form_token\"").nth(1)?.split('>').next()?;
    attributes(tag, "value").into_iter().next()
}

/// The mails in the outbox, oldest first.
pub fn mails(server: &Server) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(server.home().data_dir().join("outbox")) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("the outbox can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    paths.sort();
    paths
}

/// The path of the login link in a mail.
#[track_caller]
pub fn link_in(mail: &str) -> String {
    let words: Vec<&str> = mail.split_whitespace().filter(|word| word.contains("/console/login/link/")).collect();
    let [address] = words.as_slice() else { panic!("one link in:\n{mail}") };
    address[address.find("/console").expect("has just been found")..].to_owned()
}

/// A password that isn't this one.
pub fn wrong_password(right: &str) -> &'static str {
    if right == "0000-0000" { "0000-0001" } else { "0000-0000" }
}

/// The one-time password in a mail: two groups of four capitals and digits.
#[track_caller]
pub fn password_in(mail: &str) -> String {
    let is_group =
        |group: &str| group.len() == 4 && group.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let words = mail.split(|character: char| !character.is_ascii_alphanumeric() && character != '-');
    let is_password = |word: &&str| word.split_once('-').is_some_and(|(one, other)| is_group(one) && is_group(other));
    let found: Vec<&str> = words.filter(is_password).collect();
    assert_eq!(found.len(), 1, "one password, and nothing that looks like another, in:\n{mail}");
    found[0].to_owned()
}
