//! An officer's program that speaks API v2, and what every answer of that API owes whoever reads it.
//!
//! Each answer that comes this way is checked for the conventions, whatever its test is about.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    harness::Server,
    http::{Answer, Request, percent_encoded},
};

pub const TARGET: &str = "https://www.iras.gov.sg/taxes";

pub struct Program<'s> {
    server: &'s Server,
    pub key: String,
}

impl Server {
    /// A program with a key of this officer's that may do all but `admin`.
    #[track_caller]
    pub fn program(&self, owner: &str) -> Program<'_> {
        self.program_with_key(&self.key(owner))
    }

    /// One whose key has just these scopes, separated by spaces.
    #[track_caller]
    pub fn program_with_scopes(&self, owner: &str, scopes: &str) -> Program<'_> {
        let mut arguments = vec!["--owner", owner];
        for scope in scopes.split(' ') {
            arguments.extend(["--scope", scope]);
        }
        self.program_with_key(&self.key_with(&arguments))
    }

    pub fn program_with_key(&self, key: &str) -> Program<'_> {
        Program { server: self, key: key.to_owned() }
    }
}

impl Program<'_> {
    /// A request with the program's key, to be said more about.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str) -> Request {
        self.server.request(method, format!("/api/v2{path}")).key(&self.key)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send().conventional(path)
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path).json(body).send().conventional(path)
    }

    #[track_caller]
    pub fn create(&self, body: &Value) -> Answer {
        self.post("/links", body)
    }

    /// Creates a link that must succeed, and answers its JSON.
    #[track_caller]
    pub fn creates(&self, body: &Value) -> Value {
        self.create(body).assert_v2(&body.to_string(), 201)
    }

    #[track_caller]
    pub fn patch(&self, code: &str, body: &Value) -> Answer {
        let path = format!("/links/{code}");
        let request = self.request("PATCH", &path).body("application/merge-patch+json", body.to_string());
        request.send().conventional(&path)
    }

    /// Changes a link, which must succeed, and answers its JSON.
    #[track_caller]
    pub fn changes(&self, code: &str, body: &Value) -> Value {
        self.patch(code, body).assert_v2(&format!("{code}: {body}"), 200)
    }

    #[track_caller]
    pub fn transfer(&self, code: &str, to: &str) -> Answer {
        self.post(&format!("/links/{code}/transfer"), &json!({"owner": to}))
    }

    /// Makes the service know an officer, as if they had logged in once.
    #[track_caller]
    pub fn knows(&self, email: &str) {
        self.server.knows(email);
    }

    #[track_caller]
    pub fn link(&self, code: &str) -> Value {
        self.get(&format!("/links/{code}")).assert_v2(code, 200)
    }

    /// All codes of a list, from page to page.
    #[track_caller]
    pub fn codes(&self, parameters: &[(&str, &str)]) -> Vec<String> {
        let (mut codes, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.page(parameters, cursor.as_deref());
            codes.extend(codes_of(&page));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return codes,
            }
        }
    }

    /// One page of a list that must succeed.
    #[track_caller]
    pub fn page(&self, parameters: &[(&str, &str)], cursor: Option<&str>) -> Value {
        let query = query(parameters.iter().copied().chain(cursor.map(|cursor| ("cursor", cursor))));
        self.get(&format!("/links{query}")).assert_v2(&query, 200)
    }
}

pub fn codes_of(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap_or_else(|| panic!("items is an array: {page}"));
    items.iter().map(|link| link["code"].as_str().expect("code is a string").to_owned()).collect()
}

pub fn query<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    parameters.into_iter().fold(String::new(), |mut query, (name, value)| {
        let mark = if query.is_empty() { '?' } else { '&' };
        write!(query, "{mark}{name}={}", percent_encoded(value)).expect("writing to a String can't fail");
        query
    })
}

impl Answer {
    /// Checks what every answer of API v2 owes: an id, no caching, and when it refuses a whole problem document.
    #[track_caller]
    pub fn conventional(self, about: &str) -> Self {
        let id = self.header("x-request-id").unwrap_or_else(|| panic!("{about}: X-Request-Id"));
        assert!(!id.is_empty(), "{about}: X-Request-Id");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{about}: Cache-Control");
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{about}: X-Content-Type-Options");
        if self.status >= 400 && !self.body.is_empty() {
            assert_eq!(self.header("content-type"), Some("application/problem+json"), "{about}: {}", self.text());
            let problem = self.json();
            assert_eq!(problem["status"], self.status, "{about}: {problem}");
            // An answer that is repeated tells the id of the request that it was the answer to.
            if self.header("idempotency-replayed").is_none() {
                assert_eq!(problem["request_id"], id, "{about}: {problem}");
            }
            for text in ["type", "title", "detail"] {
                assert!(problem[text].as_str().is_some_and(|text| !text.is_empty()), "{about}: {text} in {problem}");
            }
        }
        if self.status >= 500 || self.status == 429 {
            // A quota of a day takes a day, the time-outs of everything else less than a minute.
            let is_of_a_day = self.text().contains("/problems/idempotency-quota");
            self.assert_retry_after(about, if is_of_a_day { 25 * 60 * 60 } else { 60 });
        }
        self
    }

    /// Asserts success, and answers the body.
    #[track_caller]
    pub fn assert_v2(&self, about: &str, status: u16) -> Value {
        assert_eq!(self.status, status, "{about}: status; the body is {}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"), "{about}: Content-Type");
        self.json()
    }

    /// Asserts a refusal of this kind, and answers its document.
    #[track_caller]
    pub fn assert_problem(&self, about: &str, status: u16, kind: &str) -> Value {
        assert_eq!(self.status, status, "{about}: status; the body is {}", self.text());
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{kind}"), "{about}: {problem}");
        problem
    }

    /// Asserts that just these places have mistakes, in this order.
    #[track_caller]
    pub fn assert_mistakes(&self, about: &str, places: &[&str]) {
        let problem = self.assert_problem(about, 422, "validation");
        let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("{about}: errors in {problem}"));
        let found: Vec<&str> = errors
            .iter()
            .map(|error| error["pointer"].as_str().or(error["parameter"].as_str()).expect("a place"))
            .collect();
        assert_eq!(found, places, "{about}: {problem}");
        for error in errors {
            assert!(error["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{about}: {error}");
        }
    }
}
