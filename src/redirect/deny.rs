//! The operator's emergency brake: a file of codes that answer 410 whatever Redis says.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    domain::{Code, code::visited},
    watched_file::{self, Unusable},
};

/// Characters of a bad line that its message shows.
const SHOWN_CHARS_MAX: usize = 60;

#[derive(Default)]
pub struct DenyList {
    /// Spares the hot path the lock as long as nothing is denied, which is nearly always.
    any: AtomicBool,
    codes: RwLock<HashSet<Code>>,
}

impl DenyList {
    pub fn contains(&self, code: &str) -> bool {
        self.any.load(Ordering::Acquire) && self.codes.read().unwrap_or_else(PoisonError::into_inner).contains(code)
    }

    fn replace(&self, codes: HashSet<Code>) {
        let any = !codes.is_empty();
        *self.codes.write().unwrap_or_else(PoisonError::into_inner) = codes;
        self.any.store(any, Ordering::Release);
    }

    /// Reads the file now, so that it applies to the first visitor.
    ///
    /// # Errors
    ///
    /// When the file, or one of its lines, can't be read. The former list stays in force.
    pub fn load(&self, path: &Path, own_host: &str) -> Result<(), Unusable> {
        self.replace(read(path, own_host)?);
        Ok(())
    }

    /// Reads the file again whenever it changes.
    pub async fn keep_reading(&self, path: PathBuf, own_host: String) {
        watched_file::keep_reading("redirect.deny_file", &path, || self.load(&path, &own_host)).await;
    }
}

/// Reads the codes of a deny file.
///
/// # Errors
///
/// When the file, or one of its lines, can't be read.
pub fn read(path: &Path, own_host: &str) -> Result<HashSet<Code>, Unusable> {
    let mut codes = HashSet::new();
    watched_file::read_lines(path, |entry| {
        codes.insert(code_of(entry, own_host)?);
        Ok(())
    })?;
    Ok(codes)
}

/// Reads a code, or a short link as it is pasted from a mail: with or without its scheme, in any
/// case, with the punctuation and the query that came along.
fn code_of(entry: &str, own_host: &str) -> Result<Code, String> {
    let entry = entry.trim_matches(['<', '>', '"', '\'', '(', ',', ';', ' ']);
    let entry = entry.split('?').next().unwrap_or_default();
    let (scheme, rest) = match entry.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", entry),
    };
    if !["", "http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err("a short link begins with http:// or https://".to_owned());
    }
    let (host, path) = match rest.split_once('/') {
        // A host name has a dot or follows a scheme. Otherwise the slash ends a code.
        Some((host, path)) if !scheme.is_empty() || !path.is_empty() => (host, path),
        _ if !scheme.is_empty() => return Err("there is no code in the address".to_owned()),
        _ => ("", rest),
    };
    let without_port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = without_port.map_or(host, |(name, _)| name);
    if !name.is_empty() && !name.trim_end_matches('.').eq_ignore_ascii_case(own_host) {
        // A user before the host may come with a password, and mistakes are logged.
        let host = name.rsplit_once('@').map_or(name, |(_, host)| host);
        let shown: String = host.chars().take(SHOWN_CHARS_MAX).collect();
        return Err(format!("{shown} isn't the host of public.base_url, {own_host}"));
    }
    let written = visited(path).map(|visited| visited.code);
    written.and_then(|code| code.parse().ok()).ok_or_else(|| {
        let shown: String = path.chars().take(SHOWN_CHARS_MAX).collect();
        format!("\"{shown}\" isn't a code. Write a code or a whole short link, one a line")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_names_codes_one_a_line() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let list = DenyList::default();
        let load = |text: &str| {
            std::fs::write(file.path(), text).expect("written");
            list.load(file.path(), "go.example")
        };
        assert!(!list.contains("abc"));
        load("\u{feff}# stolen\r\nABC \n\nx-1 # reported\n").expect("good");
        assert!(list.contains("abc") && list.contains("x-1") && !list.contains("stolen"));
        let error = load("new\nnot a code\n\nhttps://go.example/\n").expect_err("half read").to_string();
        assert!(error.starts_with("line 2: \"not a code\" isn't a code") && error.contains("; line 4: "), "{error}");
        assert!(list.contains("abc") && !list.contains("new"), "the former list stays in force");
        let error = load(&"?\n".repeat(1_000)).expect_err("no list").to_string();
        assert!(error.contains("line 10: ") && error.ends_with("; and 990 more lines"), "{error}");
        load("").expect("good");
        assert!(!list.contains("abc"));
    }

    #[test]
    fn a_pasted_short_link_is_its_code() {
        for pasted in [
            "fraud",
            "FRAUD.",
            "/fraud",
            "fraud/",
            "fraud+",
            "https://go.example/fraud",
            "HTTPS://Go.Example/Fraud",
            "http://go.example./fraud/",
            "https://go.example:443/fraud?utm_source=mail",
            "go.example/fraud.",
            "<https://go.example/fraud>",
            "\"https://go.example/fraud\",",
            "(https://go.example/fraud).",
        ] {
            assert_eq!(code_of(pasted, "go.example").as_ref().map(Code::as_str), Ok("fraud"), "{pasted}");
        }
        for bad in ["https://other.example/fraud", "other.example/fraud", "go.example", "https://go.example", "a/b/c"] {
            code_of(bad, "go.example").expect_err(bad);
        }
        for bad in ["ftp://go.example/fraud", "https://go.example/a/b", "https://go.example/", "a b", "*", "a_b", "://"]
        {
            code_of(bad, "go.example").expect_err(bad);
        }
        assert_eq!(code_of("http://[::1]:8080/form", "[::1]").as_ref().map(Code::as_str), Ok("form"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = code_of(&text, "go.example");
        }
    }
}
