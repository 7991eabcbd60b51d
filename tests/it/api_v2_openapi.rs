//! The `OpenAPI` document: what programs are generated from. That the service behaves as it says, `make test-api` tries.

use std::{collections::HashSet, fs, path::Path};

use serde_json::Value;

use crate::harness::{Home, Server};

const COMMITTED: &str = "docs/openapi.json";
const METHODS: [&str; 5] = ["get", "post", "patch", "delete", "put"];

/// The document of a service at the address that examples are of.
fn document() -> (Server, String) {
    let server = Home::new().set("public.base_url", "https://go.example").start();
    let answer = server.get("/api/v2/openapi.json").send().conventional("openapi.json");
    answer.assert_v2("to whoever asks", 200);
    (server, answer.text() + "\n")
}

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let (_server, served) = document();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
    if std::env::var_os("MERLINK_TEST_RENEW").is_some() {
        fs::write(&path, &served).expect("the document can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differing = committed.lines().zip(served.lines()).position(|(committed, served)| committed != served);
    let line = differing.unwrap_or_else(|| committed.lines().count().min(served.lines().count())) + 1;
    assert!(
        committed == served,
        "{COMMITTED} isn't what is served any more, from line {line} on. `make openapi` renews it: read the difference, for programs depend \
         on it, and commit it."
    );
}

#[test]
fn the_document_is_whole_and_every_operation_is_told_from_the_others() {
    let (_server, text) = document();
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "https://go.example/api/v2");
    assert_eq!(document["security"][0]["key"], serde_json::json!([]), "every operation wants a key");
    assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    assert_references_lead_somewhere(&document, &document);
    let mut names = HashSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in METHODS.iter().filter_map(|method| Some((method, item.get(method)?))) {
            let about = format!("{method} {path}");
            let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{about} has a name"));
            assert!(names.insert(name.to_owned()), "{about}: {name} is another's name");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{about}: summary");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            for segment in path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')) {
                let is_it = |parameter: &Value| parameter["name"] == segment && parameter["in"] == "path";
                assert!(parameters.iter().any(is_it), "{about}: {segment}");
            }
            for parameter in &parameters {
                assert!(parameter["description"].is_string(), "{about}: {parameter}");
            }
            for (status, response) in operation["responses"].as_object().expect("responses") {
                assert!(response["headers"]["X-Request-Id"].is_object(), "{about}: {status}");
                if status.starts_with(['4', '5']) {
                    let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                    assert!(schema.is_string(), "{about}: {status} is a problem: {response}");
                }
            }
            for status in ["401", "403", "429", "503"] {
                assert!(operation["responses"][status].is_object(), "{about}: {status}");
            }
        }
    }
}

#[track_caller]
fn assert_references_lead_somewhere(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').expect("within the document");
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            fields.values().for_each(|field| assert_references_lead_somewhere(document, field));
        }
        Value::Array(items) => items.iter().for_each(|item| assert_references_lead_somewhere(document, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
