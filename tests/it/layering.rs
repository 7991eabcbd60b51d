//! The imports that ARCHITECTURE.md rules out, read from the source: HTTP and Redis know nothing of each other.

use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn redis_is_named_only_in_the_store() {
    let named = |line: &str| names_crate(line, "redis") || names_crate(line, "deadpool");
    let found = lines_where(Path::new("src"), &|file, line| !file.starts_with("src/store") && named(line));
    assert!(found.is_empty(), "only src/store may name Redis:\n{}", found.join("\n"));
}

#[test]
fn actix_is_never_named_in_the_store_the_domain_or_the_clicks() {
    for folder in ["src/store", "src/domain", "src/clicks"] {
        let named = |_: &Path, line: &str| {
            ["actix_web", "actix_http", "actix_rt", "actix_service"].iter().any(|name| names_crate(line, name))
        };
        let found = lines_where(Path::new(folder), &named);
        assert!(found.is_empty(), "{folder} may not name actix:\n{}", found.join("\n"));
    }
}

#[test]
fn the_domain_depends_on_nothing_of_ours() {
    let others = [
        "store", "clicks", "redirect", "api", "operator", "auth", "state", "server", "config", "metrics", "cache",
        "routes",
    ];
    let named = |_: &Path, line: &str| others.iter().any(|module| line.contains(&format!("crate::{module}")));
    let found = lines_where(Path::new("src/domain"), &named);
    assert!(found.is_empty(), "src/domain stands alone:\n{}", found.join("\n"));
}

#[test]
fn the_store_depends_on_nothing_above_it() {
    let above = ["redirect", "api", "operator", "auth", "state", "server", "routes", "cli"];
    let named = |_: &Path, line: &str| above.iter().any(|module| line.contains(&format!("crate::{module}")));
    let found = lines_where(Path::new("src/store"), &named);
    assert!(found.is_empty(), "src/store lies below:\n{}", found.join("\n"));
}

/// `use redis`, `redis::x` and the like, but not `settings.redis` nor `my_redis::`.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + name.len()..];
        let starts_a_path =
            !before.is_some_and(|character| character.is_alphanumeric() || "_:.\"`".contains(character));
        let used = line.trim_start().starts_with("use ") && after.starts_with([';', ' ']);
        starts_a_path && (after.starts_with("::") || used)
    })
}

/// `file:line: text` of each line of code, comments left out, that `is_wrong`.
fn lines_where(folder: &Path, is_wrong: &dyn Fn(&Path, &str) -> bool) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(&root.join(folder), &mut files);
    assert!(!files.is_empty(), "there is source under {}", folder.display());
    let mut found = Vec::new();
    for path in files {
        let file = path.strip_prefix(root).expect("lies below the root").to_owned();
        let text = fs::read_to_string(&path).expect("the source can be read");
        for (number, line) in text.lines().enumerate() {
            if !line.trim_start().starts_with("//") && is_wrong(&file, line) {
                found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
