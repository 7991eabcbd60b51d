//! Everything that docs/security.md and docs/security-asvs.md name exists: files, tests, settings, metrics, and each requirement once.
//!
//! In these documents a test is written as `module::name` below tests/it, or as `src/file.rs::name` when it stands beside the code.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const DOCUMENTS: [&str; 2] = ["docs/security.md", "docs/security-asvs.md"];

/// Requirements of levels 1 and 2 in ASVS 5.0.0, by chapter: 253 in all.
const REQUIREMENTS: [usize; 17] = [27, 11, 19, 10, 9, 35, 18, 7, 7, 29, 14, 9, 13, 9, 13, 16, 7];

const STATUSES: [&str; 4] = ["met", "partly", "not met", "n/a"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The texts between backquotes, with the document that it stands in.
fn quoted() -> Vec<(&'static str, String)> {
    let all = DOCUMENTS.into_iter().flat_map(|document| {
        let text = read(document);
        // Examples of commands stand between lines of three backquotes.
        let prose: String = text.split("```").step_by(2).collect();
        let found: Vec<_> = prose.split('`').skip(1).step_by(2).map(|quoted| (document, quoted.to_owned())).collect();
        found
    });
    all.collect()
}

fn is_path(text: &str) -> bool {
    let folders = ["src/", "tests/", "docs/", "deploy/", "config/", "scripts/", "benches/", "languages/"];
    let files = ["Cargo.toml", "Cargo.lock", "Dockerfile", "Makefile", "deny.toml", "clippy.toml", "SECURITY.md"];
    folders.iter().any(|folder| text.starts_with(folder)) || files.contains(&text)
}

/// The file that has the test, and its function's name.
fn test_of(text: &str) -> Option<(PathBuf, &str)> {
    let (place, name) = text.rsplit_once("::")?;
    let is_word =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if place.starts_with("src/") {
        return Some((place.into(), name));
    }
    let is_module = place.split("::").all(|part| !part.is_empty() && is_word(part));
    (is_module && is_word(name)).then(|| (format!("tests/it/{}.rs", place.replace("::", "/")).into(), name))
}

#[test]
fn every_file_that_the_security_documents_name_is_there() {
    let paths = quoted().into_iter().filter(|(_, text)| is_path(text) && !text.contains("::"));
    let missing: Vec<_> = paths.filter(|(_, path)| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for document in DOCUMENTS {
        let text = read(document);
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap_or_default()) {
            let is_here = link.is_empty() || link.starts_with("https://") || root().join("docs").join(link).exists();
            assert!(is_here, "{document}: {link}");
        }
    }
}

#[test]
fn every_test_that_the_security_documents_name_is_there() {
    let mut tests = 0;
    for (document, text) in quoted() {
        let Some((file, name)) = test_of(&text) else { continue };
        let code = read(&file);
        let function = code.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("{document}: no {text}"));
        let attributes = code[..function].rsplit("\n\n").next().unwrap_or_default();
        assert!(attributes.contains("#[test]"), "{document}: {text} is no test");
        tests += 1;
    }
    assert!(tests > 100, "only {tests} tests are named");
}

#[test]
fn every_setting_and_metric_that_the_security_documents_name_is_there() {
    let defaults: toml::Table = toml::from_str(&read("config/merlink.toml")).expect("the defaults are TOML");
    let metrics = read("src/metrics.rs");
    for (document, text) in quoted() {
        if let Some((section, key)) = text.split_once('.')
            && let Some(toml::Value::Table(settings)) = defaults.get(section)
        {
            assert!(settings.contains_key(key), "{document}: there is no setting {text}");
        }
        if text.starts_with("merlink_") && !text.contains(' ') {
            let name = text.split('{').next().unwrap_or_default();
            assert!(metrics.contains(&format!("\"{name}\"")), "{document}: there is no metric {name}");
        }
    }
}

#[test]
fn every_requirement_of_levels_1_and_2_has_a_row_with_a_status_and_a_reason() {
    let text = read("docs/security-asvs.md");
    let mut found = [0; REQUIREMENTS.len()];
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, level, requirement, status, reason] = cells[..] else { continue };
        let numbers: Option<Vec<usize>> = number.split('.').map(|part| part.parse().ok()).collect();
        let Some([chapter, _, _]) = numbers.as_deref() else { continue };
        assert!(seen.insert(number.to_owned()), "{number} is there twice");
        assert!(["1", "2"].contains(&level) && STATUSES.contains(&status), "{line}");
        assert!(!requirement.is_empty() && !reason.is_empty(), "{line}");
        found[chapter - 1] += 1;
    }
    assert_eq!(found, REQUIREMENTS);
}
