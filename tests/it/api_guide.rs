//! The examples of docs/api.md, run as they stand there.

use std::{fs, path::Path, process::Command};

use crate::harness::Server;

#[test]
fn every_example_of_the_guide_works() {
    let server = Server::start();
    let key = server.key("you@agency.gov.sg");
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let guide = fs::read_to_string(guide).expect("the guide is there");
    let mut run = Vec::new();
    for block in guide.split("\n```").skip(1).step_by(2) {
        let (language, example) = block.split_once('\n').expect("a fence ends its line");
        let (program, name, first) = match language {
            "sh" => ("bash", "example.sh", "set -euo pipefail\n"),
            "python" => ("python3", "example.py", ""),
            "js" => ("node", "example.mjs", ""),
            "text" => continue,
            other => panic!("{other:?} is no language of the guide's"),
        };
        let file = server.home().write(name, &format!("{first}{example}\n"));
        let mut command = Command::new(program);
        command.arg(&file).env("MERLINK_URL", format!("http://{}", server.public_address()));
        let output = command.env("MERLINK_API_KEY", &key).output().unwrap_or_else(|error| panic!("{program}: {error}"));
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{language}: {}\n{stdout}\n{stderr}", output.status);
        assert!(!stdout.is_empty(), "{language}: it says something");
        run.push(language.to_owned());
    }
    assert_eq!(run, ["sh", "python", "js"]);
    let codes = server.program_with_key(&key).codes(&[]);
    assert_eq!(codes.len(), 3, "each example made one link: {codes:?}");
    assert!(codes.iter().any(|code| code == "tax-2027"), "{codes:?}");
}
