//! What the parts of a redirect take, one by one: `cargo bench --bench parts`.

#[path = "support/app.rs"]
mod app;

use std::time::Instant;

use actix_web::http::header::{HeaderMap, HeaderValue, USER_AGENT};
use divan::{Bencher, black_box};
use merlink::{
    clicks::Journal,
    domain::{Click, Device, code},
    redirect::visitor,
};

fn main() {
    visitor::warm_up();
    divan::main();
}

#[divan::bench(args = ["abc", "ABC.", "a-code-of-usual-length", "no code"])]
fn reading_a_code(path: &str) -> Option<code::Visited<'_>> {
    code::visited(black_box(path))
}

#[divan::bench]
fn class_of_a_browser_seen_before(bencher: Bencher) {
    let browser = headers(
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    );
    bencher.bench_local(|| visitor::classify(black_box(&browser)));
}

#[divan::bench]
fn class_of_a_browser_not_seen_before(bencher: Bencher) {
    let mut number = 0_u64;
    let browser = || {
        number += 1;
        headers(&format!(
            "Mozilla/5.0 (Linux; Android 10; {number}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"
        ))
    };
    bencher.with_inputs(browser).bench_local_refs(|browser| visitor::classify(black_box(browser)));
}

#[divan::bench]
fn link_in_memory(bencher: Bencher) {
    let folder = tempfile::tempdir().expect("a folder");
    let app = app::app(folder.path(), 1_000);
    let codes: Vec<String> = (0..1_000).map(app::code).collect();
    let (mut codes, now) = (codes.iter().cycle(), Instant::now());
    bencher.bench_local(|| app.cache.recall(codes.next().expect("endless"), now, |_| true));
}

#[divan::bench]
fn click_into_the_journal(bencher: Bencher) {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = Journal::open(folder.path(), u64::MAX).expect("a journal");
    bencher.bench_local(|| journal.append(black_box("link-000001"), Click::Person(Device::Mobile), 1_795_000_000));
}

fn headers(user_agent: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_str(user_agent).expect("a header"));
    headers
}
