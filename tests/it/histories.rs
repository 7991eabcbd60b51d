//! Random histories of edits, backups, restores and restarts on two nodes: whatever happened, both answer what Redis says.
//!
//! A history is a list of steps over a few links that proptest draws, and shrinks when it finds a contradiction. Redis itself is the model: its
//! hash of a link is compared with what visitors are answered. `make test-histories` sets the number of histories.

use std::{collections::BTreeMap, fs};

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, TestCaseError, TestRunner},
};
use redis::cmd;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    harness::{Home, Server, eventually},
    redis_nodes::copy_files,
    redis_server::RedisServer,
    runs::length_of_run,
};

/// Histories of `make test-histories`; a few are enough for each run of the suite.
const HISTORIES: &str = "MERLINK_TEST_HISTORIES";
/// Links of one history, each with edits of its own between the same restores.
const LINKS: usize = 8;
const STEPS_MAX: usize = 24;

#[derive(Clone, Debug)]
enum Step {
    Edit {
        link: usize,
        node: usize,
        edit: Edit,
    },
    Visit {
        link: usize,
        node: usize,
    },
    /// Every link, on this node.
    VisitAll {
        node: usize,
    },
    Backup,
    /// To the last backup, if there is one.
    Restore,
    RestartNode {
        node: usize,
    },
}

#[derive(Clone, Debug)]
enum Edit {
    Target(u8),
    Off,
    On,
}

fn step() -> impl Strategy<Value = Step> {
    let edit = prop_oneof![3 => any::<u8>().prop_map(Edit::Target), 2 => Just(Edit::Off), 2 => Just(Edit::On)];
    prop_oneof![
        8 => (0..LINKS, 0..2_usize, edit).prop_map(|(link, node, edit)| Step::Edit { link, node, edit }),
        3 => (0..LINKS, 0..2_usize).prop_map(|(link, node)| Step::Visit { link, node }),
        3 => (0..2_usize).prop_map(|node| Step::VisitAll { node }),
        2 => Just(Step::Backup),
        2 => Just(Step::Restore),
        1 => (0..2_usize).prop_map(|node| Step::RestartNode { node }),
    ]
}

/// Two nodes on one Redis, with links of this history alone.
struct World {
    /// Before their Redis: what comes first ends first.
    nodes: Vec<Server>,
    redis: RedisServer,
    key: String,
    backup: Option<TempDir>,
    histories: usize,
}

impl World {
    fn new() -> Self {
        let redis = RedisServer::on_tcp();
        let nodes: Vec<Server> = (0..2)
            .map(|_| {
                let server = Home::new().set("redis.url", redis.url()).start();
                for about in ["Redis", "clicks", "redis"] {
                    server.expect_log(about);
                }
                server
            })
            .collect();
        // Kept through every restore: the first backup of a history has it.
        let key = nodes[0].key("amy@agency.gov.sg");
        Self { nodes, redis, key, backup: None, histories: 0 }
    }

    fn run(&mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        self.histories += 1;
        self.backup = None;
        for link in 0..LINKS {
            let body = json!({"shortUrl": self.code(link), "longUrl": target(0)});
            self.nodes[link % 2].officer_with_key(&self.key).create(&body).assert_v1_status("a new link", 200);
        }
        for step in steps {
            self.take(step)?;
        }
        self.compare()
    }

    fn code(&self, link: usize) -> String {
        format!("h{}-{link}", self.histories)
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Edit { link, node, edit } => {
                let body = match edit {
                    Edit::Target(number) => json!({"longUrl": target(*number)}),
                    Edit::Off => json!({"state": "INACTIVE"}),
                    Edit::On => json!({"state": "ACTIVE"}),
                };
                let code = self.code(*link);
                let officer = self.nodes[*node].officer_with_key(&self.key);
                eventually("the edit is taken", || (officer.update(&code, &body).status == 200).then_some(()));
            }
            Step::Visit { link, node } => {
                self.nodes[*node].follow(&self.code(*link));
            }
            Step::VisitAll { node } => {
                for link in 0..LINKS {
                    self.nodes[*node].follow(&self.code(link));
                }
            }
            Step::Backup => {
                let copy = TempDir::new().expect("a temporary directory can be made");
                copy_files(&self.redis.directory().join("appendonlydir"), copy.path());
                self.backup = Some(copy);
            }
            Step::Restore => {
                let Some(backup) = &self.backup else { return Ok(()) };
                self.redis.kill();
                let folder = self.redis.directory().join("appendonlydir");
                fs::remove_dir_all(&folder).expect("what was there is lost");
                copy_files(backup.path(), &folder);
                self.redis.start_again();
                self.nodes.iter().for_each(Server::await_ready);
                self.compare()?;
            }
            Step::RestartNode { node } => {
                self.nodes[*node].end_by(Signal::TERM);
                self.nodes[*node].start_again();
            }
        }
        Ok(())
    }

    /// Waits until both nodes answer what Redis says of each link; fails on the first that doesn't come round.
    fn compare(&self) -> Result<(), TestCaseError> {
        let mut redis = self.redis.connect().expect("Redis answers");
        for link in 0..LINKS {
            let code = self.code(link);
            let fields: BTreeMap<String, String> =
                cmd("HGETALL").arg(format!("l:{{{code}}}")).query(&mut redis).expect("Redis reads");
            let says = match fields.get("t") {
                None => (404, None),
                Some(_) if fields.get("s").is_some_and(|state| state == "0") => (410, None),
                Some(target) => (302, Some(target.clone())),
            };
            for node in &self.nodes {
                let mut last = None;
                let agrees = (0..400).any(|_| {
                    let answer = node.follow(&code);
                    let answered = (answer.status, answer.header("location").map(str::to_owned));
                    let agrees = answered == says;
                    last = Some(answered);
                    if !agrees {
                        std::thread::yield_now();
                    }
                    agrees
                });
                if !agrees {
                    return Err(TestCaseError::fail(format!("{code}: Redis has {says:?}, a node answers {last:?}")));
                }
            }
        }
        Ok(())
    }
}

fn target(number: u8) -> String {
    format!("https://www.iras.gov.sg/{number}")
}

#[test]
fn after_any_mix_of_edits_restores_and_restarts_every_node_answers_what_redis_says() {
    let histories = length_of_run(HISTORIES, 40);
    let cases = u32::try_from(histories.div_ceil(LINKS as u64)).expect("some thousands");
    let mut world = World::new();
    // The shortest history that ever contradicted Redis: versions of a lost edit are drawn again.
    let edit = |target| Step::Edit { link: 0, node: 0, edit: Edit::Target(target) };
    let first = [Step::Backup, edit(1), edit(2), Step::VisitAll { node: 0 }, Step::VisitAll { node: 1 }, Step::Restore];
    let switched_off = Step::Edit { link: 0, node: 1, edit: Edit::Off };
    world.run(&[first.as_slice(), &[switched_off]].concat()).expect("both nodes answer what Redis says");
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() });
    let world_of_runs = std::cell::RefCell::new(&mut world);
    let result = runner.run(&vec(step(), 1..STEPS_MAX), |steps| world_of_runs.borrow_mut().run(&steps));
    if let Err(found) = result {
        panic!("{found}");
    }
    println!("{} histories of links, {cases} of nodes: no answer contradicts Redis", cases as usize * LINKS);
}
