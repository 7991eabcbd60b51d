//! Makes a Rust method of every message that is worded in English, for `src/languages/mod.rs`.
//!
//! So a page that names a message which isn't there, or leaves one of its gaps open, doesn't compile; and a message that no page says is a
//! warning, since nobody calls its method. `links-clicks = { $clicks } clicks` becomes `links_clicks(clicks)`. What is to be filled in stands in
//! the alphabet's order, so that rewording a sentence can't exchange two values unseen.

use std::{collections::BTreeSet, env, fmt::Write as _, fs, path::Path, process::Command};

use fluent_syntax::{
    ast::{Entry, Expression, InlineExpression, Message, Pattern, PatternElement},
    parser,
};

const ENGLISH: [&str; 2] = ["languages/en/citizens.ftl", "languages/en/console.ftl"];

/// Filled in everywhere, by [`Site`](src/site.rs).
const CONSTANTS: [&str; 2] = ["site", "host"];

/// What a language says about itself is read when it is loaded.
const ABOUT_THE_LANGUAGE: &str = "language-";

/// What is mailed is plain text, not HTML.
const PLAIN: &str = "mail-";

fn main() {
    // Not MERLINK_…: Cargo sets it for `cargo run` and `cargo test` as well,
    // where that would be a setting.
    println!("cargo:rustc-env=BUILD_COMMIT={}", commit());
    let mut methods = String::new();
    let mut ids = BTreeSet::new();
    for path in ENGLISH {
        println!("cargo:rerun-if-changed={path}");
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let resource = parser::parse(text.as_str()).unwrap_or_else(|(_, errors)| panic!("{path}: {errors:?}"));
        for entry in &resource.body {
            let Entry::Message(message) = entry else { continue };
            assert!(ids.insert(message.id.name.to_owned()), "{path}: {} is there already", message.id.name);
            if !message.id.name.starts_with(ABOUT_THE_LANGUAGE) {
                methods.push_str(&method(message));
            }
        }
    }
    let folder = env::var("OUT_DIR").expect("cargo says where to build");
    let made = format!("impl Language {{\n{methods}}}\n");
    fs::write(Path::new(&folder).join("messages.rs"), made).expect("cargo's folder can be written");
}

fn method(message: &Message<&str>) -> String {
    let id = message.id.name;
    let pattern = message.value.as_ref().unwrap_or_else(|| panic!("{id} says nothing"));
    let (mut english, mut gaps) = (String::new(), BTreeSet::new());
    look(pattern, &mut english, &mut gaps);
    let name = id.replace('-', "_");
    let (mut parameters, mut values) = (String::new(), String::new());
    for gap in gaps.iter().filter(|gap| !CONSTANTS.contains(gap)) {
        write!(parameters, ", {gap}: impl Fill").expect("writing to a String doesn't fail");
        write!(values, "({gap:?}, {gap}.value()), ").expect("writing to a String doesn't fail");
    }
    let (answer, body) = if id.starts_with(PLAIN) {
        ("String", format!("self.plain({id:?}, &[{values}])"))
    } else if values.is_empty() {
        ("Html<'_>", format!("self.text({id:?})"))
    } else {
        ("Html<'static>", format!("self.fill({id:?}, &[{values}])"))
    };
    format!("    #[doc = {english:?}]\n    pub(crate) fn {name}(&self{parameters}) -> {answer} {{ {body} }}\n\n")
}

/// Notes what a message says, for whoever points at the method's name, and what is to be filled in.
fn look<'m>(pattern: &Pattern<&'m str>, english: &mut String, gaps: &mut BTreeSet<&'m str>) {
    for element in &pattern.elements {
        match element {
            PatternElement::TextElement { value } => english.push_str(value),
            PatternElement::Placeable { expression } => look_at(expression, english, gaps),
        }
    }
}

fn look_at<'m>(expression: &Expression<&'m str>, english: &mut String, gaps: &mut BTreeSet<&'m str>) {
    match expression {
        Expression::Inline(InlineExpression::VariableReference { id }) => {
            gaps.insert(id.name);
            write!(english, "{{ ${} }}", id.name).expect("writing to a String doesn't fail");
        }
        Expression::Inline(InlineExpression::StringLiteral { value }) => english.push_str(value),
        Expression::Inline(InlineExpression::Placeable { expression }) => look_at(expression, english, gaps),
        Expression::Inline(other) => panic!("a message may not have {other:?}"),
        Expression::Select { selector: InlineExpression::VariableReference { id }, variants } => {
            gaps.insert(id.name);
            for variant in variants {
                // The last variant, the default, is shown; the gaps are those of all.
                let mut words = String::new();
                look(&variant.value, &mut words, gaps);
                if variant.default {
                    english.push_str(&words);
                }
            }
        }
        Expression::Select { selector, .. } => panic!("a message may not choose by {selector:?}"),
    }
}

/// The commit that a release is built of: `MERLINK_COMMIT`, for builds without the repository, or
/// what git says. Other builds don't ask, or each commit would have everything compiled anew.
fn commit() -> String {
    println!("cargo:rerun-if-env-changed=MERLINK_COMMIT");
    if let Some(commit) = env::var("MERLINK_COMMIT").ok().filter(|commit| !commit.is_empty()) {
        return commit;
    }
    if env::var("PROFILE").as_deref() != Ok("release") {
        return "unknown".to_owned();
    }
    let git = |arguments: &[&str]| {
        let ran = Command::new("git").args(arguments).output().ok().filter(|ran| ran.status.success())?;
        Some(String::from_utf8_lossy(&ran.stdout).trim().to_owned())
    };
    for name in ["HEAD", "logs/HEAD"] {
        // Cargo takes a file that is missing for one that changes with each build.
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}
