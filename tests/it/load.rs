//! Citizens and an officer who go on while a test breaks things, and what they were answered.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::json;

use crate::harness::{CURL, Officer, Server};

const TARGET: &str = "https://www.iras.gov.sg/taxes";

/// What was answered under load.
#[derive(Default)]
pub struct Answered {
    clicks: Mutex<BTreeMap<String, i64>>,
    /// Creations that were answered with 200, and with 503.
    pub created: AtomicUsize,
    pub refused: AtomicUsize,
}

impl Answered {
    /// The clicks on each code that were answered with a redirect.
    pub fn clicks(&self) -> BTreeMap<String, i64> {
        self.clicks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn add(&self, code: &str, clicks: i64) {
        *self.clicks.lock().unwrap_or_else(PoisonError::into_inner).entry(code.to_owned()).or_default() += clicks;
    }
}

/// While `work` goes on, two citizens follow `codes`, which every server has in memory, and must be redirected each time; and an officer
/// creates links, which may be refused with 503 for the time being and with nothing else.
pub fn during<T>(
    server: &Server,
    officer: &Officer<'_>,
    codes: &[String],
    answered: &Answered,
    work: impl FnOnce() -> T,
) -> T {
    let over = AtomicBool::new(false);
    let stop = Stop(&over);
    thread::scope(|scope| {
        for citizen in 0..2 {
            let over = &over;
            scope.spawn(move || {
                let mut connection = server.connect();
                let mut clicks = vec![0; codes.len()];
                for visit in citizen.. {
                    let which = visit % codes.len();
                    let request = server.get(&format!("/{}", codes[which])).user_agent(CURL);
                    connection.write(&request.bytes()).expect("sends");
                    connection.read_answer("GET").expect("is answered").assert_redirects("a link in memory", TARGET);
                    clicks[which] += 1;
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                }
                for (code, clicks) in codes.iter().zip(clicks) {
                    answered.add(code, clicks);
                }
            });
        }
        let over = &over;
        scope.spawn(move || {
            let first = answered.created.load(Ordering::Relaxed) + answered.refused.load(Ordering::Relaxed);
            for number in first.. {
                let answer =
                    officer.create(&json!({"shortUrl": format!("made-under-load-{number}"), "longUrl": TARGET}));
                match answer.status {
                    200 => answered.created.fetch_add(1, Ordering::Relaxed),
                    503 => {
                        answer.assert_retry_after("a creation that can't be made now", 3_600);
                        answered.refused.fetch_add(1, Ordering::Relaxed)
                    }
                    status => panic!("creating made-under-load-{number}: {status} {}", answer.text()),
                };
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let result = work();
        drop(stop);
        result
    })
}

/// Ends the load, also when the work panics.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Creates links that lead to the same place, and visits each on each server, so that all have them in memory.
pub fn warm_links(servers: &[&Server], officer: &Officer<'_>, count: usize, answered: &Answered) -> Vec<String> {
    let codes: Vec<String> = (0..count).map(|number| format!("warm-{number}")).collect();
    for code in &codes {
        officer.creates(code, TARGET);
        for server in servers {
            server.follow(code).assert_redirects("before", TARGET);
            answered.add(code, 1);
        }
    }
    codes
}

/// Compares each code's clicks in API v1 with the answers.
pub fn assert_clicks_are_exact(officer: &Officer<'_>, answered: &Answered) {
    for (code, clicks) in answered.clicks() {
        officer.sees_clicks(&code, clicks);
    }
}
