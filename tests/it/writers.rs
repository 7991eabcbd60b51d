//! Many writers and readers on three nodes, while messages are late and processes are killed and
//! frozen: no answer may contradict another.
//!
//! Redis is the model. Each link is tracked: which requests that may change it are under way, and
//! how Redis has it once none is. So for each list it is known which links stood still meanwhile,
//! and those must be in it once, as they are. A request whose outcome stays unknown leaves its link
//! uncertain until the end, when everything is quiet and each node must answer exactly what Redis
//! has.
//!
//! Each link keeps a log of what was asked and answered. A contradiction prints the seed and the
//! last lines of the link's log.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use redis::cmd;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    api_v2::query,
    harness::{GOOGLEBOT, Home, PATIENCE, Random, Server},
    http::{Answer, Request},
    proxy::Proxy,
    redis_server::RedisServer,
    runs::length_of_run,
};

/// Seeds of `make test-histories`, how long each runs, and the first of them.
const SEEDS: &str = "MERLINK_TEST_WRITERS_SEEDS";
const SECONDS: &str = "MERLINK_TEST_WRITERS_SECONDS";
const FIRST_SEED: &str = "MERLINK_TEST_WRITERS_FIRST_SEED";

const NODES: usize = 3;
const WRITERS: u64 = 8;
/// Requests of each writer in the short form.
const REQUESTS: usize = 9;
const READERS_OF_A_NODE: usize = 2;
const OFFICERS: [&str; 3] = ["amy@agency.gov.sg", "ben@agency.gov.sg", "cara@agency.gov.sg"];
const ROOT: &str = "root@agency.gov.sg";
const TAGS: [&str; 3] = ["gst", "park", "tax"];
const SORTS: [&str; 5] = ["-created_at", "created_at", "-clicks", "clicks", "code"];
/// Links from the beginning, of which the first are changed most often.
const LINKS: u64 = 450;
const LINKS_OF_SHORT_FORM: u64 = 240;
const HOT_LINKS: u64 = 8;
/// When there are as many, writers create no more. A list of v1 has 1,000.
const LINKS_MAX: usize = 1800;

const LATE_PERCENT: u64 = 3;
const LATE_MAX: Duration = Duration::from_millis(400);
const FREEZE_MAX_MS: u64 = 1200;
/// Rankings and redirects of other nodes follow within a second, or two after a lost connection.
/// The short form waits until no ranking is kept any more, so that it holds on a machine that
/// stands still.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(3);
const FOLLOWS_SURELY_WITHIN: Duration = Duration::from_secs(12);

/// A link as Redis has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fields {
    target: String,
    owner: String,
    is_active: bool,
    tags: BTreeSet<String>,
    description: String,
    version: u64,
}

impl Fields {
    /// `None`: there is no such link.
    fn read(redis: &mut redis::Connection, code: &str) -> Option<Self> {
        let mut read = cmd("HMGET");
        read.arg(format!("l:{{{code}}}")).arg(&["t", "o", "s", "g", "d", "v"]);
        let values: Vec<Option<String>> = read.query(redis).expect("Redis answers the test");
        let text = |at: usize| values[at].clone().unwrap_or_default();
        values[0].as_ref()?;
        let tags = text(3).split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        let version = text(5).parse().unwrap_or(1);
        let (target, owner, description) = (text(0), text(1), text(4));
        Some(Self { target, owner, is_active: text(2) != "0", tags, description, version })
    }

    /// The fields in an answer of API v2, or in a row of an export, which has no version.
    fn shown(link: &Value) -> Self {
        let text = |name: &str| link[name].as_str().unwrap_or_default().to_owned();
        Self {
            target: text("target_url"),
            owner: text("owner"),
            is_active: link["state"] == "active",
            tags: link["tags"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|tag| Some(tag.as_str()?.to_owned()))
                .collect(),
            description: text("description"),
            version: link["version"].as_u64().unwrap_or_default(),
        }
    }

    fn agrees_with(&self, shown: &Self) -> bool {
        let version = if shown.version == 0 { self.version } else { shown.version };
        *self == Self { version, ..shown.clone() }
    }
}

/// The effect of a request on a link.
#[derive(Clone, Debug)]
enum Edit {
    Create(Fields),
    Target(String),
    Description(String),
    Tags(BTreeSet<String>),
    Active(bool),
    Owner { from: String, to: String },
}

impl Edit {
    fn apply(&self, before: Option<&Fields>) -> Fields {
        let mut after = before.cloned().unwrap_or_default();
        match self.clone() {
            Self::Create(fields) => after = fields,
            Self::Target(target) => after.target = target,
            Self::Description(description) => after.description = description,
            Self::Tags(tags) => after.tags = tags,
            Self::Active(is_active) => after.is_active = is_active,
            Self::Owner { to, .. } => after.owner = to,
        }
        if before != Some(&after) {
            after.version = before.map_or(1, |before| before.version + 1);
        }
        after
    }

    fn body(&self) -> Value {
        match self {
            Self::Create(fields) => json!({"target_url": fields.target, "tags": fields.tags}),
            Self::Target(target) => json!({"target_url": target}),
            Self::Description(description) => json!({"description": description}),
            Self::Tags(tags) => json!({"tags": tags}),
            Self::Active(is_active) => json!({"state": if *is_active { "active" } else { "inactive" }}),
            Self::Owner { to, .. } => json!({"owner": to}),
        }
    }

    /// True if it is a change whatever the link was before, so that its version is its own.
    fn is_distinct(&self) -> bool {
        match self {
            Self::Target(_) | Self::Description(_) | Self::Owner { .. } => true,
            Self::Create(_) | Self::Tags(_) | Self::Active(_) => false,
        }
    }
}

/// A client's knowledge of its request.
#[derive(Clone, Debug)]
enum Outcome {
    /// At this version, by the answer of this node.
    Done { version: u64, node: usize },
    /// For good.
    Refused(u16),
    /// It may be done later too.
    Unknown,
}

struct Tracked {
    code: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests under way that may change it.
    under_way: usize,
    /// One is under way for ever.
    is_uncertain: bool,
    /// Begins and ends of requests.
    events: u64,
    /// As Redis had it when the last request had ended. `None` while that isn't known, and when
    /// there is no such link.
    fields: Option<Fields>,
    settled_at: Option<Instant>,
    /// The node that acknowledged the last change.
    acknowledged_by: Option<usize>,
    /// The highest version that was acknowledged.
    version: u64,
    /// Acknowledged changes by their versions.
    changes: BTreeMap<u64, Edit>,
    /// Transfers by whom from and to: acknowledged, and unknown.
    transfers: BTreeMap<(String, String), (usize, usize)>,
    log: Vec<String>,
}

impl State {
    fn is_still(&self) -> bool {
        self.under_way == 0 && !self.is_uncertain
    }
}

impl Tracked {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request under way.
struct Pending {
    link: Arc<Tracked>,
    edit: Edit,
    events: u64,
    before: Option<Fields>,
    /// The link stood still, so `before` is how it was, and what comes of the request is known
    /// beforehand.
    is_foreseen: bool,
}

struct Node {
    server: Server,
    proxy: Proxy,
    /// `None` while it is down.
    address: Mutex<Option<SocketAddr>>,
    /// When something was last done to it or to Redis.
    disturbed_at: Mutex<Instant>,
}

struct World {
    seed: u64,
    is_long: bool,
    nodes: Vec<Node>,
    redis: RedisServer,
    /// API keys of OFFICERS, and last of the administrator.
    keys: Vec<String>,
    links: RwLock<Vec<Arc<Tracked>>>,
    by_code: RwLock<BTreeMap<String, Arc<Tracked>>>,
    /// Keys that were made and not revoked, by their owners; `None`: nobody knows.
    made_keys: Mutex<BTreeMap<&'static str, Vec<Option<String>>>>,
    started: Instant,
    over: AtomicBool,
    writing: AtomicUsize,
    contradictions: Mutex<Vec<String>>,
    answers: AtomicUsize,
    counts: Mutex<BTreeMap<&'static str, usize>>,
}

/// A request that a client may have to send more than once.
struct Ask {
    /// The key that it brings: a place in [`World::keys`].
    officer: usize,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Ask {
    fn get(officer: usize, path: impl Into<String>) -> Self {
        Self { officer, method: "GET", path: path.into(), headers: Vec::new(), body: None }
    }

    fn with_body(officer: usize, method: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { officer, method, path: path.into(), headers: Vec::new(), body: Some(body) }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A link that stood still when a reading began.
struct Still {
    link: Arc<Tracked>,
    events: u64,
    fields: Fields,
    settled_at: Instant,
    acknowledged_by: Option<usize>,
}

impl Still {
    /// The link, unless it has moved since.
    fn now(&self) -> Option<MutexGuard<'_, State>> {
        Some(self.link.state()).filter(|state| state.events == self.events)
    }
}

impl World {
    fn start(seed: u64, is_long: bool) -> Self {
        let redis = RedisServer::on_tcp();
        let nodes: Vec<Node> = (0..NODES)
            .map(|_| {
                let proxy = Proxy::before(redis.address());
                let home = Home::new().set("officers.admins", ROOT).set("redis.index_check_every", "100ms");
                let server = home.set("redis.url", proxy.url()).start();
                for about in ["redis", "clicks", "missing from officers' lists", "journal", "instance"] {
                    server.expect_log(about);
                }
                let address = Mutex::new(Some(server.public_address()));
                Node { server, proxy, address, disturbed_at: Mutex::new(Instant::now()) }
            })
            .collect();
        let mut keys: Vec<String> = OFFICERS.iter().map(|officer| nodes[0].server.key(officer)).collect();
        let scopes = ["admin", "links:read", "links:write", "stats:read"].map(|scope| ["--scope", scope]).concat();
        keys.push(nodes[0].server.key_with(&[&["--owner", ROOT], scopes.as_slice()].concat()));
        Self {
            seed,
            is_long,
            nodes,
            redis,
            keys,
            links: RwLock::default(),
            by_code: RwLock::default(),
            made_keys: Mutex::default(),
            started: Instant::now(),
            over: AtomicBool::new(false),
            writing: AtomicUsize::new(WRITERS as usize),
            contradictions: Mutex::default(),
            answers: AtomicUsize::new(0),
            counts: Mutex::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn count(&self, what: &'static str, more: usize) {
        *lock(&self.counts).entry(what).or_default() += more;
    }

    fn contradiction(&self, about: &str, link: Option<(&str, &State)>) {
        let mut text = format!("{:.3} s: {about}", self.started.elapsed().as_secs_f64());
        if let Some((code, state)) = link {
            write!(text, "\n  {code}: {:?}", state.fields).expect("a text can be written to");
            for line in state.log.iter().rev().take(16).rev() {
                write!(text, "\n    {line}").expect("a text can be written to");
            }
        }
        lock(&self.contradictions).push(text);
        self.over.store(true, Ordering::SeqCst);
    }

    fn log(&self, state: &mut State, text: &str) {
        state.log.push(format!("{:.3} {text}", self.started.elapsed().as_secs_f64()));
    }

    fn track(&self, code: &str) -> Arc<Tracked> {
        let tracked = Arc::new(Tracked { code: code.to_owned(), state: Mutex::default() });
        let mut by_code = self.by_code.write().unwrap_or_else(PoisonError::into_inner);
        assert!(by_code.insert(code.to_owned(), Arc::clone(&tracked)).is_none(), "{code} is drawn once");
        self.links.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&tracked));
        tracked
    }

    fn tracked(&self) -> Vec<Arc<Tracked>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn request(&self, node: usize, ask: &Ask) -> io::Result<Request> {
        let down = || io::Error::new(io::ErrorKind::ConnectionRefused, "the node is down");
        let address = lock(&self.nodes[node].address).ok_or_else(down)?;
        let mut request = Request::new(address, ask.method, &ask.path).key(&self.keys[ask.officer]);
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        Ok(match &ask.body {
            Some(body) => request.json(body),
            None => request,
        })
    }

    fn send(&self, node: usize, ask: &Ask) -> io::Result<Answer> {
        let answer = self.request(node, ask)?.try_send()?;
        self.answers.fetch_add(1, Ordering::SeqCst);
        Ok(answer)
    }

    /// Repeats a request on any node until it is settled, as docs/api.md tells clients to. `None`:
    /// the client has given up.
    fn settle(&self, random: &Random, ask: &Ask) -> Option<(usize, Answer)> {
        // A node that died holds a request for 15 s; nobody waits for that in the short form.
        let patience = if self.is_long { 3 * PATIENCE } else { Duration::from_secs(2) };
        let give_up = Instant::now() + patience;
        loop {
            let node = any_node(random);
            if let Ok(answer) = self.send(node, ask)
                && answer.status != 503
                && !(answer.status == 409 && answer.text().contains("/problems/in-progress"))
            {
                return Some((node, answer));
            }
            if Instant::now() > give_up {
                if self.is_long {
                    self.contradiction(&format!("{} {} is never settled", ask.method, ask.path), None);
                }
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn begin(&self, link: &Arc<Tracked>, edit: Edit, how: &str) -> Pending {
        let mut state = link.state();
        let (before, is_foreseen) = (state.fields.clone(), state.is_still());
        state.under_way += 1;
        state.events += 1;
        self.log(&mut state, &format!("{how}: {edit:?}"));
        Pending { link: Arc::clone(link), edit, events: state.events, before, is_foreseen }
    }

    fn end(&self, redis: &mut redis::Connection, pending: Pending, outcome: &Outcome) {
        let Pending { link, edit, events, before, is_foreseen } = pending;
        let mut state = link.state();
        // Nobody else changed it meanwhile.
        let is_foreseen = is_foreseen && state.events == events;
        state.under_way -= 1;
        state.events += 1;
        self.log(&mut state, &format!("{outcome:?}: {edit:?}"));
        let mut wrong = None;
        if let Edit::Owner { from, to } = &edit {
            let (done, unknown) = state.transfers.entry((from.clone(), to.clone())).or_default();
            match outcome {
                Outcome::Done { .. } => *done += 1,
                Outcome::Unknown => *unknown += 1,
                Outcome::Refused(_) => {}
            }
        }
        match outcome {
            Outcome::Unknown => state.is_uncertain = true,
            Outcome::Refused(_) => {}
            Outcome::Done { version, .. } => {
                state.version = state.version.max(*version);
                if edit.is_distinct()
                    && let Some(other) = state.changes.insert(*version, edit.clone())
                {
                    wrong = Some(format!("two changes are acknowledged as version {version}: {other:?} and {edit:?}"));
                }
            }
        }
        if state.is_still() {
            state.fields = Fields::read(redis, &link.code);
            state.settled_at = Some(Instant::now());
            state.acknowledged_by = match outcome {
                Outcome::Done { node, .. } if is_foreseen => Some(*node),
                _ => None,
            };
            let has = state.fields.as_ref().map_or(0, |fields| fields.version);
            if has < state.version {
                wrong = Some(format!("version {} is acknowledged, Redis has {has}", state.version));
            }
        } else {
            state.fields = None;
        }
        match outcome {
            Outcome::Done { version, .. } if is_foreseen => {
                let expected = edit.apply(before.as_ref());
                if state.fields.as_ref() != Some(&expected) || expected.version != *version {
                    wrong = Some(format!("{edit:?} is acknowledged as version {version}, so {expected:?} is expected"));
                }
            }
            Outcome::Refused(status) if is_foreseen => {
                wrong =
                    Some(format!("{edit:?} of {before:?} is refused with {status} although nobody else changed it"));
            }
            Outcome::Done { .. } | Outcome::Refused(_) | Outcome::Unknown => {}
        }
        if let Some(wrong) = wrong {
            self.contradiction(&wrong, Some((&link.code, &state)));
        }
    }
}

fn any_node(random: &Random) -> usize {
    random.below(NODES as u64) as usize
}

/// The meaning of an answer to a request that isn't repeated.
fn outcome_of(answer: io::Result<(usize, Answer)>) -> Outcome {
    match answer {
        Ok((node, answer)) if answer.status < 300 => {
            Outcome::Done { version: answer.json()["version"].as_u64().expect("a version"), node }
        }
        Ok((_, answer)) if answer.status == 503 => Outcome::Unknown,
        Ok((_, answer)) => Outcome::Refused(answer.status),
        Err(_) => Outcome::Unknown,
    }
}

/// Somebody with requests of their own.
struct Writer<'w> {
    world: &'w World,
    redis: redis::Connection,
    random: Random,
    number: u64,
    /// Requests so far, which makes texts unlike any other.
    requests: usize,
}

impl<'w> Writer<'w> {
    fn new(world: &'w World, number: u64) -> Self {
        let random = Random::of_seed(world.seed.wrapping_mul(1000).wrapping_add(number));
        let redis = world.redis.connect().expect("Redis answers the test");
        Self { world, redis, random, number, requests: 0 }
    }

    fn write(&mut self, until: Option<Instant>) {
        let is_due = |writer: &Self| until.map_or(writer.requests < REQUESTS, |until| Instant::now() < until);
        while is_due(self) && !self.world.is_over() {
            self.requests += 1;
            self.ask();
        }
        self.world.writing.fetch_sub(1, Ordering::SeqCst);
    }

    fn ask(&mut self) {
        let may_create = self.world.tracked().len() < LINKS_MAX;
        match self.random.below(100) {
            0..4 if may_create => self.creates_one(true),
            4..7 if may_create => self.creates_one(false),
            7..11 if may_create => self.creates_many(true),
            11..13 if may_create => self.creates_many(false),
            13..14 if may_create => self.imports(),
            14..20 => self.sends_an_export_again(),
            20..22 => self.makes_a_key(),
            22..23 => self.revokes_a_key(),
            23..45 => self.transfers(),
            45..60 => self.edits_once(),
            _ => self.edits_what_it_read(),
        }
    }

    fn text(&self) -> String {
        format!("{}-{}", self.number, self.requests)
    }

    fn tags(&self) -> BTreeSet<String> {
        TAGS.iter().filter(|_| self.random.below(3) == 0).map(|tag| (*tag).to_owned()).collect()
    }

    fn any_officer(&self) -> usize {
        self.random.below(OFFICERS.len() as u64) as usize
    }

    /// A link, most often one that many change.
    fn any_link(&self) -> Arc<Tracked> {
        let links = self.world.tracked();
        let among = if self.random.below(4) == 0 { HOT_LINKS } else { links.len() as u64 };
        Arc::clone(&links[self.random.below(among) as usize])
    }

    /// The link's owner, as far as that is known.
    fn owner_of(&self, link: &Tracked) -> usize {
        let state = link.state();
        let owner =
            state.fields.as_ref().and_then(|fields| OFFICERS.iter().position(|officer| *officer == fields.owner));
        owner.unwrap_or_else(|| self.any_officer())
    }

    fn new_links(&self, officer: usize, count: u64) -> Vec<(String, Edit)> {
        let new = |row| {
            let code = format!("w{}-{row}", self.text());
            let target = format!("https://example.com/{code}");
            let owner = OFFICERS[officer].to_owned();
            let fields = Fields { target, owner, is_active: true, tags: self.tags(), version: 1, ..Fields::default() };
            (code, Edit::Create(fields))
        };
        (0..count).map(new).collect()
    }

    fn begin_all(&self, new: &[(String, Edit)], how: &str) -> Vec<Pending> {
        new.iter().map(|(code, edit)| self.world.begin(&self.world.track(code), edit.clone(), how)).collect()
    }

    fn creates_one(&mut self, is_keyed: bool) {
        let officer = self.any_officer();
        let new = self.new_links(officer, 1);
        let pending = self.begin_all(&new, "create");
        let ask = Ask::with_body(officer, "POST", "/api/v2/links", row(&new[0]));
        let outcome = self.outcome(ask, is_keyed);
        for pending in pending {
            self.world.end(&mut self.redis, pending, &outcome);
        }
    }

    /// Sends a request once, or with an `Idempotency-Key` until it is settled.
    fn outcome(&self, ask: Ask, is_keyed: bool) -> Outcome {
        if !is_keyed {
            let node = any_node(&self.random);
            return outcome_of(self.world.send(node, &ask).map(|answer| (node, answer)));
        }
        let ask = ask.header("Idempotency-Key", self.text());
        self.world.settle(&self.random, &ask).map_or(Outcome::Unknown, |settled| outcome_of(Ok(settled)))
    }

    fn creates_many(&mut self, is_keyed: bool) {
        let officer = self.any_officer();
        let new = self.new_links(officer, 2 + self.random.below(30));
        let pending = self.begin_all(&new, "batch");
        let ask = Ask::with_body(officer, "POST", "/api/v2/batch", new.iter().map(row).collect());
        let (node, answer) = if is_keyed {
            let ask = ask.header("Idempotency-Key", self.text());
            let settled = self.world.settle(&self.random, &ask);
            if self.random.below(3) == 0
                && let Some((_, first)) = &settled
                && let Some((_, again)) = self.world.settle(&self.random, &ask)
                && (first.status, first.json()) != (again.status, again.json())
            {
                self.world.contradiction(&format!("a batch is replayed otherwise: {}", again.text()), None);
            }
            settled.map_or((0, None), |(node, answer)| (node, Some(answer)))
        } else {
            let node = any_node(&self.random);
            (node, self.world.send(node, &ask).ok())
        };
        let results = answer.filter(|answer| answer.status == 200).map(|answer| answer.json()["results"].clone());
        for (place, pending) in pending.into_iter().enumerate() {
            let outcome = match results.as_ref().map(|results| &results[place]) {
                Some(row) if row["status"] == 201 => Outcome::Done { version: 1, node },
                Some(row) if row["status"] != 503 => Outcome::Refused(row["status"].as_u64().unwrap_or(0) as u16),
                _ => Outcome::Unknown,
            };
            self.world.end(&mut self.redis, pending, &outcome);
        }
    }

    /// Codes that are taken, which changes nothing, with or without a key of its own.
    fn sends_an_export_again(&mut self) {
        let officer = self.any_officer();
        let links = self.world.tracked();
        let first = self.random.below(links.len() as u64 - 20) as usize;
        let taken: Vec<String> = links[first..first + 20]
            .iter()
            .filter(|link| link.state().fields.is_some())
            .map(|link| link.code.clone())
            .collect();
        let rows: Value =
            taken.iter().map(|code| json!({"code": code, "target_url": "https://example.com/"})).collect();
        if taken.is_empty() {
            return;
        }
        let mut ask = Ask::with_body(officer, "POST", "/api/v2/batch", rows);
        if self.random.below(3) > 0 {
            ask = ask.header("Idempotency-Key", self.text());
        }
        let Some((_, answer)) = self.world.settle(&self.random, &ask) else { return };
        let body = answer.json();
        let statuses: Vec<u64> =
            body["results"].as_array().into_iter().flatten().filter_map(|row| row["status"].as_u64()).collect();
        if statuses.len() != taken.len() || statuses.iter().any(|status| ![409, 503].contains(status)) {
            self.world.contradiction(&format!("links are created that exist: {body}"), None);
        }
    }

    /// An import by the command, of links as old as those there are, so that parts of indexes are
    /// split.
    fn imports(&mut self) {
        let officer = self.any_officer();
        let new = self.new_links(officer, 60 + self.random.below(60));
        let pending = self.begin_all(&new, "import");
        let mut file = "code,target_url,owner,tags,created_at\n".to_owned();
        for (code, edit) in &new {
            let Edit::Create(fields) = edit else { unreachable!("they are new") };
            let tags = fields.tags.iter().cloned().collect::<Vec<_>>().join(";");
            let at = created_at(self.random.below(SPAN_S));
            writeln!(file, "{code},{},{},{tags},{at}", fields.target, fields.owner).expect("a text can be written to");
        }
        let node = any_node(&self.random);
        let home = self.world.nodes[node].server.home();
        let path = home.write(&format!("{}.csv", self.text()), &file);
        let ran = home.run(&["link", "import", &path.display().to_string()]);
        let outcome = if ran.code == Some(0) { Outcome::Done { version: 1, node } } else { Outcome::Unknown };
        for pending in pending {
            self.world.end(&mut self.redis, pending, &outcome);
        }
    }

    fn makes_a_key(&mut self) {
        let officer = self.any_officer();
        let ask = Ask::with_body(officer, "POST", "/api/v2/keys", json!({"name": self.text()}));
        let settled = self.world.settle(&self.random, &ask.header("Idempotency-Key", self.text()));
        let made = match settled {
            Some((_, answer)) if answer.status == 201 => answer.json()["id"].as_str().map(str::to_owned),
            // The answer is lost, with the secret; the key is there.
            Some((_, answer)) if answer.text().contains("/problems/not-replayed") => None,
            Some((_, answer)) => {
                return self.world.contradiction(&format!("a key is refused: {}", answer.text()), None);
            }
            None => {
                lock(&self.world.made_keys).entry("unknown").or_default().push(None);
                return;
            }
        };
        lock(&self.world.made_keys).entry(OFFICERS[officer]).or_default().push(made);
    }

    fn revokes_a_key(&mut self) {
        let officer = self.any_officer();
        let id = {
            let mut made = lock(&self.world.made_keys);
            let of_officer = made.entry(OFFICERS[officer]).or_default();
            let known = of_officer.iter().position(Option::is_some);
            known.and_then(|place| of_officer.swap_remove(place))
        };
        let Some(id) = id else { return };
        let ask = Ask { method: "DELETE", ..Ask::get(officer, format!("/api/v2/keys/{id}")) };
        match self.world.settle(&self.random, &ask) {
            Some((_, answer)) if [204, 404].contains(&answer.status) => {}
            Some((_, answer)) => self.world.contradiction(&format!("a key isn't revoked: {}", answer.text()), None),
            None => lock(&self.world.made_keys).entry("unknown").or_default().push(None),
        }
    }

    /// There, and often back at once.
    fn transfers(&mut self) {
        let link = self.any_link();
        let from = self.owner_of(&link);
        let to = (from + 1 + self.random.below(OFFICERS.len() as u64 - 1) as usize) % OFFICERS.len();
        self.transfer(&link, from, to);
        if self.random.below(2) == 0 {
            self.requests += 1;
            self.transfer(&link, to, from);
        }
    }

    fn transfer(&mut self, link: &Arc<Tracked>, from: usize, to: usize) {
        let edit = Edit::Owner { from: OFFICERS[from].to_owned(), to: OFFICERS[to].to_owned() };
        let path = format!("/api/v2/links/{}/transfer", link.code);
        let ask = Ask::with_body(from, "POST", path, edit.body());
        let pending = self.world.begin(link, edit, "transfer");
        // Its owner is a guess unless it stood still.
        let outcome = self.outcome(ask, true);
        self.end_guessed(pending, &outcome);
    }

    /// Ends a request whose asker may not have owned the link in the first place.
    fn end_guessed(&mut self, mut pending: Pending, outcome: &Outcome) {
        let is_owners = match (&pending.edit, &pending.before) {
            (Edit::Owner { from, .. }, Some(before)) => before.owner == *from,
            (_, before) => before.is_some(),
        };
        pending.is_foreseen &= is_owners || !matches!(outcome, Outcome::Refused(_));
        self.world.end(&mut self.redis, pending, outcome);
    }

    fn any_edit(&self) -> Edit {
        let text = self.text();
        match self.random.below(6) {
            0 => Edit::Target(format!("https://example.com/edited/{text}")),
            1 => Edit::Active(self.random.below(3) > 0),
            2..4 => Edit::Tags(self.tags()),
            _ => Edit::Description(text),
        }
    }

    /// An administrator's, who may edit all, without a condition.
    fn edits_once(&mut self) {
        let link = self.any_link();
        let edit = self.any_edit();
        let ask = Ask::with_body(OFFICERS.len(), "PATCH", format!("/api/v2/links/{}", link.code), edit.body());
        let pending = self.world.begin(&link, edit, "patch");
        let outcome = self.outcome(ask, false);
        self.end_of_what_exists(pending, &outcome);
    }

    /// With `If-Match`, repeated until it is settled.
    fn edits_what_it_read(&mut self) {
        let link = self.any_link();
        let path = format!("/api/v2/links/{}", link.code);
        let Some((_, read)) = self.world.settle(&self.random, &Ask::get(OFFICERS.len(), &path)) else { return };
        let Some(etag) = read.header("etag").map(str::to_owned) else { return };
        let edit = self.any_edit();
        let ask = Ask::with_body(OFFICERS.len(), "PATCH", path, edit.body()).header("If-Match", &etag);
        let mut pending = self.world.begin(&link, edit, &format!("patch of {etag}"));
        let settled = self.world.settle(&self.random, &ask);
        let outcome = settled.map_or(Outcome::Unknown, |settled| outcome_of(Ok(settled)));
        let is_stale = pending.before.as_ref().is_none_or(|before| format!("\"{}\"", before.version) != etag);
        pending.is_foreseen &= !(is_stale && matches!(outcome, Outcome::Refused(412)));
        self.end_of_what_exists(pending, &outcome);
    }

    /// Ends a request for a link that may not have been created.
    fn end_of_what_exists(&mut self, mut pending: Pending, outcome: &Outcome) {
        pending.is_foreseen &= pending.before.is_some() || !matches!(outcome, Outcome::Refused(404));
        self.world.end(&mut self.redis, pending, outcome);
    }
}

/// A row of a batch.
fn row((code, edit): &(String, Edit)) -> Value {
    let mut body = edit.body();
    body["code"] = json!(code);
    body
}

/// Links of the beginning and imports are created within so many seconds of a past day.
const SPAN_S: u64 = 3600;

fn created_at(second: u64) -> String {
    format!("2025-06-01T{:02}:{:02}:{:02}Z", 8 + second / 3600, second / 60 % 60, second % 60)
}

/// Reads lists, sums and links on one node while others write.
struct Reader<'w> {
    world: &'w World,
    node: usize,
    random: Random,
}

/// Links of a list as they came, by code.
type Listed = Vec<(String, Fields)>;

impl Reader<'_> {
    fn read(&self) {
        while self.world.writing.load(Ordering::SeqCst) > 0 && !self.world.is_over() {
            let officer = self.random.below(OFFICERS.len() as u64) as usize;
            // A reading that breaks off says nothing.
            let read = match self.random.below(16) {
                0..5 => self.lists(officer),
                5..7 => self.lists_by_v1(officer),
                7..9 => self.exports(officer),
                9 => self.exports_everybodys(),
                10..12 => self.sums_tags(officer),
                _ => self.reads_some(),
            };
            self.world.count(if read.is_some() { "readings" } else { "readings that broke off" }, 1);
            if read.is_none() {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// `None`: no answer, or one that says that Redis doesn't answer.
    fn get(&self, officer: usize, path: &str) -> Option<Answer> {
        let answer = self.world.send(self.node, &Ask::get(officer, path)).ok()?;
        if answer.status != 200 && answer.status != 503 {
            self.world.contradiction(&format!("{path}: {} {}", answer.status, answer.text()), None);
        }
        Some(answer).filter(|answer| answer.status == 200)
    }

    /// Links that stand still, and how many others there are.
    fn still(&self) -> (Vec<Still>, usize) {
        let links = self.world.tracked();
        let all = links.len();
        let still = |link: Arc<Tracked>| {
            // Its holder is about to change it.
            let state = link.state.try_lock().ok()?;
            let (fields, settled_at) = (state.fields.clone()?, state.settled_at?);
            let (events, acknowledged_by) = (state.events, state.acknowledged_by);
            let is_still = state.is_still();
            drop(state);
            is_still.then_some(Still { link, events, fields, settled_at, acknowledged_by })
        };
        let still: Vec<Still> = links.into_iter().filter_map(still).collect();
        let others = all - still.len();
        (still, others)
    }

    /// True if this node must know by now what became of the link.
    fn must_have_followed(&self, link: &Still) -> bool {
        let within = if self.world.is_long { FOLLOWS_WITHIN } else { FOLLOWS_SURELY_WITHIN };
        let disturbed_at = *lock(&self.world.nodes[self.node].disturbed_at);
        disturbed_at.max(link.settled_at).elapsed() > within
    }

    /// Compares a list with the links that stood still since before it was begun.
    fn compare(
        &self,
        about: &str,
        before: &[Still],
        listed: &Listed,
        belongs: impl Fn(&Fields) -> bool,
        must_be_right: impl Fn(&Still) -> bool,
    ) {
        let mut found: BTreeMap<&str, Vec<&Fields>> = BTreeMap::new();
        for (code, fields) in listed {
            found.entry(code).or_default().push(fields);
        }
        let mut compared = 0;
        for still in before.iter().filter(|still| must_be_right(still)) {
            let Some(state) = still.now() else { continue };
            compared += 1;
            let shown = found.get(still.link.code.as_str()).map_or(&[][..], Vec::as_slice);
            let about = format!("node {}, {about}", self.node);
            if shown.len() != usize::from(belongs(&still.fields)) {
                let text =
                    format!("{about}, of {}: a link that stood still is in it {} times", listed.len(), shown.len());
                self.world.contradiction(&text, Some((&still.link.code, &state)));
            } else if shown.iter().any(|shown| !still.fields.agrees_with(shown)) {
                let text = format!("{about}: a link that stood still is shown as {shown:?}");
                self.world.contradiction(&text, Some((&still.link.code, &state)));
            }
        }
        self.world.count("links compared in lists", compared);
        let by_code = self.world.by_code.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(code) = found.keys().find(|code| !by_code.contains_key(**code)) {
            self.world.contradiction(&format!("{about}: {code} was never created"), None);
        }
    }

    fn lists(&self, officer: usize) -> Option<()> {
        let sort = SORTS[self.random.below(SORTS.len() as u64) as usize];
        let limit = (20 + self.random.below(81)).to_string();
        let tag = Some(TAGS[self.random.below(TAGS.len() as u64) as usize]).filter(|_| self.random.below(3) == 0);
        let (before, _) = self.still();
        let (mut listed, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let parameters = [("sort", sort), ("limit", &limit)].into_iter().chain(tag.map(|tag| ("tag", tag)));
            let path = query(parameters.chain(cursor.as_deref().map(|cursor| ("cursor", cursor))));
            let page = self.get(officer, &format!("/api/v2/links{path}"))?.json();
            listed.extend(listed_in(page["items"].as_array().into_iter().flatten()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = Some(next.to_owned());
        }
        let is_ranked = !sort.ends_with("created_at");
        let must_be_right =
            |still: &Still| !is_ranked || self.must_have_followed(still) || still.acknowledged_by == Some(self.node);
        let about = format!("{}'s list by {sort} with tag {tag:?}", OFFICERS[officer]);
        let belongs =
            |fields: &Fields| fields.owner == OFFICERS[officer] && tag.is_none_or(|tag| fields.tags.contains(tag));
        self.compare(&about, &before, &listed, belongs, must_be_right);
        Some(())
    }

    fn lists_by_v1(&self, officer: usize) -> Option<()> {
        let order = ["createdAt", "clicks"][self.random.below(2) as usize];
        let direction = ["asc", "desc"][self.random.below(2) as usize];
        let (before, others) = self.still();
        let path = format!("/api/v1/urls?orderBy={order}&sortDirection={direction}");
        let page = self.get(officer, &path)?.json();
        let rows = page["urls"].as_array().expect("urls is an array");
        let own = |fields: &Fields| fields.owner == OFFICERS[officer];
        let about = format!("{}'s list in v1 by {order} {direction}", OFFICERS[officer]);
        let count = page["count"].as_u64().expect("a number") as usize;
        if count != rows.len() && count <= 1000 {
            self.world.contradiction(&format!("{about}: a count of {count} for {} links", rows.len()), None);
        }
        if count <= 1000 {
            // Fields that v1 doesn't show are taken to be right.
            let by_code: BTreeMap<&str, &Still> =
                before.iter().map(|still| (still.link.code.as_str(), still)).collect();
            let listed = rows.iter().map(|row| {
                let code = row["shortUrl"].as_str().expect("a code").to_owned();
                let known = by_code.get(code.as_str()).map(|still| still.fields.clone()).unwrap_or_default();
                let target = row["longUrl"].as_str().expect("a target").to_owned();
                (code, Fields { target, is_active: row["state"] == "ACTIVE", ..known })
            });
            self.compare(&about, &before, &listed.collect(), own, |_| true);
        }
        self.compare_count(&about, count, &before, others, own);
        Some(())
    }

    /// A count lies between the links that stood still and belong, and all that may belong.
    fn compare_count(
        &self,
        about: &str,
        count: usize,
        before: &[Still],
        others: usize,
        belongs: impl Fn(&Fields) -> bool,
    ) {
        let (mut least, mut moved) = (0, 0);
        for still in before {
            match still.now() {
                Some(_) => least += usize::from(belongs(&still.fields)),
                None => moved += 1,
            }
        }
        let new = self.world.tracked().len() - before.len() - others;
        let most = least + moved + others + new;
        if !(least..=most).contains(&count) {
            self.world.contradiction(&format!("node {}, {about}: {count}, not {least} to {most}", self.node), None);
        }
        self.world.count("counts compared", 1);
    }

    fn exports(&self, officer: usize) -> Option<()> {
        let (before, _) = self.still();
        let answer = self.get(officer, "/api/v2/export")?;
        let about = format!("{}'s export", OFFICERS[officer]);
        self.compare(&about, &before, &exported(&answer), |fields| fields.owner == OFFICERS[officer], |_| true);
        Some(())
    }

    fn exports_everybodys(&self) -> Option<()> {
        let (before, _) = self.still();
        let answer = self.get(OFFICERS.len(), "/api/v2/export")?;
        self.compare("everybody's export", &before, &exported(&answer), |_| true, |_| true);
        Some(())
    }

    fn sums_tags(&self, officer: usize) -> Option<()> {
        let (before, others) = self.still();
        let sums = self.get(officer, "/api/v2/tags")?.json();
        for tag in TAGS {
            let item = sums["items"].as_array().into_iter().flatten().find(|item| item["tag"] == tag);
            let count = item.and_then(|item| item["links"].as_u64()).unwrap_or(0) as usize;
            let belongs = |fields: &Fields| fields.owner == OFFICERS[officer] && fields.tags.contains(tag);
            self.compare_count(&format!("{}'s tag {tag}", OFFICERS[officer]), count, &before, others, belongs);
        }
        Some(())
    }

    /// Some links, and where they lead.
    fn reads_some(&self) -> Option<()> {
        let (still, _) = self.still();
        for _ in 0..20 {
            let Some(still) = still.get(self.random.below(still.len().max(1) as u64) as usize) else { return Some(()) };
            let code = &still.link.code;
            let shown = self.get(OFFICERS.len(), &format!("/api/v2/links/{code}"))?.json();
            self.agrees(still, still.fields.agrees_with(&Fields::shown(&shown)), &format!("shows {shown}"));
            let must_have_followed = self.must_have_followed(still);
            let address = (*lock(&self.world.nodes[self.node].address))?;
            let visit = Request::new(address, "GET", format!("/{code}")).user_agent(GOOGLEBOT).try_send().ok()?;
            let leads = (visit.status, visit.header("location"));
            let right = leads_to(&still.fields);
            if must_have_followed && visit.status != 503 {
                self.agrees(still, leads == right, &format!("leads to {leads:?}"));
            }
        }
        Some(())
    }

    fn agrees(&self, still: &Still, agrees: bool, answered: &str) {
        if let Some(state) = still.now() {
            self.world.count("links compared", 1);
            if !agrees {
                let text = format!("node {} {answered}, of a link that stood still", self.node);
                self.world.contradiction(&text, Some((&still.link.code, &state)));
            }
        }
    }
}

fn leads_to(fields: &Fields) -> (u16, Option<&str>) {
    if fields.is_active { (302, Some(fields.target.as_str())) } else { (410, None) }
}

fn listed_in<'a>(links: impl Iterator<Item = &'a Value>) -> Listed {
    links.map(|link| (link["code"].as_str().expect("a code").to_owned(), Fields::shown(link))).collect()
}

fn exported(answer: &Answer) -> Listed {
    let rows: Vec<Value> = answer.text().lines().map(|row| serde_json::from_str(row).expect("a whole row")).collect();
    listed_in(rows.iter())
}

impl World {
    fn make_links(&self) {
        let writer = Writer::new(self, 99);
        let mut redis = self.redis.connect().expect("Redis answers the test");
        let mut file = "code,target_url,owner,tags,created_at\n".to_owned();
        let mut pending = Vec::new();
        let links = if self.is_long { LINKS } else { LINKS_OF_SHORT_FORM };
        for number in 0..links {
            let code = format!("link-{number}");
            let owner = OFFICERS[(number % 3) as usize].to_owned();
            let (target, tags) = (format!("https://example.com/{code}"), writer.tags());
            let at = created_at(number * SPAN_S / links);
            let in_file = tags.iter().cloned().collect::<Vec<_>>().join(";");
            writeln!(file, "{code},{target},{owner},{in_file},{at}").expect("a text can be written to");
            let fields = Fields { target, owner, is_active: true, tags, version: 1, ..Fields::default() };
            pending.push(self.begin(&self.track(&code), Edit::Create(fields), "import"));
        }
        let home = self.nodes[0].server.home();
        let path = home.write("links.csv", &file);
        home.run(&["link", "import", &path.display().to_string()]).assert_code(0);
        for pending in pending {
            self.end(&mut redis, pending, &Outcome::Done { version: 1, node: 0 });
        }
    }

    fn disturbed(&self, node: Option<usize>) {
        for (number, of) in self.nodes.iter().enumerate() {
            if node.is_none_or(|node| node == number) {
                *lock(&of.disturbed_at) = Instant::now();
            }
        }
    }

    /// Waits until clients have been answered so often, or all writers are done.
    fn await_answers(&self, more: u64) {
        let enough = self.answers.load(Ordering::SeqCst) + more as usize;
        while self.answers.load(Ordering::SeqCst) < enough && self.writing.load(Ordering::SeqCst) > 0 && !self.is_over()
        {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn disturb(&self, random: &Random) {
        let between = if self.is_long { 400 } else { 100 };
        for round in 0.. {
            self.await_answers(between / 2 + random.below(between));
            if self.writing.load(Ordering::SeqCst) == 0 || self.is_over() {
                return;
            }
            let node = any_node(random);
            let fault = if self.is_long { random.below(5) } else { round % 5 };
            match fault {
                0 => self.freeze_node(node, random),
                1 => self.kill_node(node, random),
                2 => self.freeze_redis(random),
                3 => {
                    self.nodes[node].proxy.cut();
                    self.count("connections cut", 1);
                }
                _ => {
                    self.nodes[node].proxy.swallow(2);
                    self.await_answers(random.below(between));
                    self.nodes[node].proxy.swallow(0);
                    self.count("times of lost replies", 1);
                }
            }
            self.disturbed(Some(node).filter(|_| fault != 2));
        }
    }

    fn freeze_node(&self, node: usize, random: &Random) {
        self.count("nodes frozen", 1);
        self.disturbed(Some(node));
        self.nodes[node].server.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(random.below(FREEZE_MAX_MS)));
        self.nodes[node].server.signal(Signal::CONT);
    }

    fn freeze_redis(&self, random: &Random) {
        self.count("freezes of Redis", 1);
        self.disturbed(None);
        self.redis.freeze();
        // Sometimes for longer than a node waits.
        let longest = if self.is_long && random.below(3) == 0 { 3 * FREEZE_MAX_MS } else { FREEZE_MAX_MS };
        thread::sleep(Duration::from_millis(random.below(longest)));
        self.redis.thaw();
    }

    fn kill_node(&self, node: usize, random: &Random) {
        self.count("nodes killed", 1);
        let killed = &self.nodes[node];
        killed.server.end_by(Signal::KILL);
        *lock(&killed.address) = None;
        self.await_answers(random.below(100));
        killed.server.start_again_unready();
        *lock(&killed.address) = Some(killed.server.public_address());
    }

    fn run(&self) {
        self.make_links();
        for node in &self.nodes {
            node.proxy.be_late(LATE_PERCENT, LATE_MAX);
        }
        let until = self.is_long.then(|| Instant::now() + Duration::from_secs(length_of_run(SECONDS, 60)));
        let random = Random::of_seed(self.seed);
        thread::scope(|scope| {
            for number in 0..WRITERS {
                scope.spawn(move || Writer::new(self, number).write(until));
            }
            for reader in 0..NODES * READERS_OF_A_NODE {
                let random = Random::of_seed(self.seed.wrapping_mul(77).wrapping_add(reader as u64));
                scope.spawn(move || Reader { world: self, node: reader % NODES, random }.read());
            }
            self.disturb(&random);
        });
        self.nodes.iter().for_each(|node| node.proxy.be_late(0, Duration::ZERO));
    }

    /// When all is quiet, every node answers what Redis has.
    fn compare_all(&self) {
        self.nodes.iter().for_each(|node| node.server.await_ready());
        let quiet = Instant::now();
        let mut last = None;
        while !self.is_over() {
            last = self.difference();
            if last.is_none() || quiet.elapsed() > PATIENCE {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        match last {
            Some(difference) => self.contradiction(&format!("after {} s: {difference}", PATIENCE.as_secs()), None),
            None => self.count("ms until all nodes agreed", quiet.elapsed().as_millis() as usize),
        }
        let mut redis = self.redis.connect().expect("Redis answers the test");
        for link in self.tracked() {
            let fields: BTreeMap<String, String> =
                cmd("HGETALL").arg(format!("l:{{{}}}", link.code)).query(&mut redis).expect("Redis answers the test");
            let state = link.state();
            if let Some(wrong) = wrong_in_history(&state, &fields) {
                self.contradiction(&format!("{wrong}\n  {fields:?}"), Some((&link.code, &state)));
            }
        }
        let ran = self.nodes[0].server.home().run(&["check", "--repair"]);
        if ran.code != Some(0) || !ran.stdout.contains(" 0 index entries added, 0 dropped") {
            self.contradiction(&format!("a repair finds something: {ran}"), None);
        }
    }

    /// The first answer of any node that isn't what Redis has.
    fn difference(&self) -> Option<String> {
        let mut redis = self.redis.connect().expect("Redis answers the test");
        let links: BTreeMap<String, Fields> = self
            .tracked()
            .iter()
            .filter_map(|link| Some((link.code.clone(), Fields::read(&mut redis, &link.code)?)))
            .collect();
        let links = &links;
        thread::scope(|scope| {
            let compare = |node| scope.spawn(move || self.difference_on(node, links));
            let nodes: Vec<_> = (0..NODES).map(compare).collect();
            let mut differences = nodes.into_iter().map(|node| node.join().expect("no panic"));
            (0..NODES).find_map(|node| Some(format!("node {node}: {}", differences.next()??)))
        })
    }

    fn difference_on(&self, node: usize, links: &BTreeMap<String, Fields>) -> Option<String> {
        let get = |officer, path: &str| {
            let answer = self.send(node, &Ask::get(officer, path)).map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(answer) } else { Err(format!("{path}: {}", answer.status)) }
        };
        let compare = |about: &str, listed: &Listed, belongs: &dyn Fn(&Fields) -> bool| {
            let expected: Vec<&String> =
                links.iter().filter(|(_, fields)| belongs(fields)).map(|(code, _)| code).collect();
            let mut found: Vec<&String> = listed.iter().map(|(code, _)| code).collect();
            found.sort();
            if found != expected {
                let missing: Vec<_> = expected.iter().filter(|code| !found.contains(code)).take(5).collect();
                let more: Vec<_> = found.iter().filter(|code| !expected.contains(code)).take(5).collect();
                let (had, of) = (found.len(), expected.len());
                let logs = missing.iter().copied().chain(more.iter().copied()).take(1).map(|code| self.log_of(code));
                let logs: String = logs.collect();
                return Err(format!("{about}: {had} for {of}, without {missing:?}, with {more:?}{logs}"));
            }
            let wrong = listed.iter().find(|(code, shown)| !links[code].agrees_with(shown));
            wrong.map_or(Ok(()), |wrong| Err(format!("{about}: {wrong:?}")))
        };
        let compare_all = || -> Result<(), String> {
            for (officer, name) in OFFICERS.iter().enumerate() {
                let own = |fields: &Fields| fields.owner == *name;
                for (sort, tag) in
                    SORTS.iter().map(|sort| (*sort, None)).chain(TAGS.map(|tag| ("-created_at", Some(tag))))
                {
                    let (mut listed, mut cursor) = (Vec::new(), None::<String>);
                    loop {
                        let parameters =
                            [("sort", sort), ("limit", "100")].into_iter().chain(tag.map(|tag| ("tag", tag)));
                        let path = query(parameters.chain(cursor.as_deref().map(|cursor| ("cursor", cursor))));
                        let page = get(officer, &format!("/api/v2/links{path}"))?.json();
                        listed.extend(listed_in(page["items"].as_array().into_iter().flatten()));
                        let Some(next) = page["next_cursor"].as_str() else { break };
                        cursor = Some(next.to_owned());
                    }
                    let belongs =
                        |fields: &Fields| own(fields) && tag.is_none_or(|tag: &str| fields.tags.contains(tag));
                    compare(&format!("{name}'s list by {sort} with {tag:?}"), &listed, &belongs)?;
                }
                compare(&format!("{name}'s export"), &exported(&get(officer, "/api/v2/export")?), &own)?;
                let count = get(officer, "/api/v1/urls?limit=0")?.json()["count"].as_u64();
                let expected = links.values().filter(|fields| own(fields)).count() as u64;
                if count != Some(expected) {
                    return Err(format!("{name} has {expected} links, v1 counts {count:?}"));
                }
                let sums = get(officer, "/api/v2/tags")?.json();
                let sums: BTreeMap<&str, u64> = sums["items"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|item| Some((item["tag"].as_str()?, item["links"].as_u64()?)))
                    .collect();
                for tag in TAGS {
                    let of_tag = |fields: &&Fields| own(fields) && fields.tags.contains(tag);
                    let expected = links.values().filter(of_tag).count() as u64;
                    if sums.get(tag).copied().unwrap_or(0) != expected {
                        return Err(format!("{name} has {expected} links with {tag}, not {sums:?}"));
                    }
                }
            }
            compare("everybody's export", &exported(&get(OFFICERS.len(), "/api/v2/export")?), &|_| true)
        };
        compare_all().err().or_else(|| self.wrong_visit(node, links))
    }

    fn log_of(&self, code: &str) -> String {
        let link = self.tracked().into_iter().find(|link| link.code == code);
        link.map_or_else(String::new, |link| format!("\n  {code}:\n    {}", link.state().log.join("\n    ")))
    }

    fn wrong_visit(&self, node: usize, links: &BTreeMap<String, Fields>) -> Option<String> {
        let mut connection = self.nodes[node].server.connect();
        for (code, fields) in links {
            let visit = self.nodes[node].server.get(&format!("/{code}")).user_agent(GOOGLEBOT);
            let answered = connection.write(&visit.bytes()).and_then(|()| connection.read_answer("GET"));
            let visit = match answered {
                Ok(visit) => visit,
                Err(error) => return Some(format!("/{code}: {error}")),
            };
            let leads = (visit.status, visit.header("location"));
            if leads != leads_to(fields) {
                return Some(format!("/{code} leads to {leads:?}, Redis has {fields:?}"));
            }
        }
        None
    }

    fn compare_keys(&self) {
        let made = lock(&self.made_keys);
        if made.contains_key("unknown") {
            return;
        }
        for (officer, name) in OFFICERS.iter().enumerate() {
            let answer = self.send(0, &Ask::get(officer, "/api/v2/keys")).expect("the node answers");
            let keys = answer.json();
            let keys = keys["items"].as_array().into_iter().flatten().filter(|key| key["usable"] == true).count();
            let expected = 1 + made.get(name).map_or(0, Vec::len);
            if keys != expected {
                self.contradiction(&format!("{name} has {keys} keys, and made {expected}: {made:?}"), None);
            }
        }
    }
}

/// A contradiction between a link's history and what was acknowledged.
fn wrong_in_history(state: &State, fields: &BTreeMap<String, String>) -> Option<String> {
    let last: u64 = fields.get("v").map_or(1, |version| version.parse().expect("a number"));
    let was = |version: u64| -> BTreeMap<String, String> {
        let change = fields.get(&format!("h{version}")).expect("each change is in the history");
        let change: Value = serde_json::from_str(change).expect("JSON");
        serde_json::from_value(change["was"].clone()).expect("fields")
    };
    let mut now = fields.clone();
    let mut texts = BTreeSet::new();
    let mut transfers: BTreeMap<(String, String), usize> = BTreeMap::new();
    for version in (2..=last).rev() {
        let was = was(version);
        let text = |field: &str| now.get(field).cloned().unwrap_or_default();
        let is_there = match state.changes.get(&version) {
            Some(Edit::Target(target)) => was.contains_key("t") && text("t") == *target,
            Some(Edit::Description(description)) => was.contains_key("d") && text("d") == *description,
            Some(Edit::Owner { from, to }) => was.get("o") == Some(from) && text("o") == *to,
            None | Some(Edit::Create(_) | Edit::Tags(_) | Edit::Active(_)) => true,
        };
        if !is_there {
            return Some(format!("version {version} isn't what was acknowledged: {:?}", state.changes[&version]));
        }
        for field in ["t", "d"] {
            if was.contains_key(field) && !texts.insert(text(field)) {
                return Some(format!("version {version} is a change that was made before"));
            }
        }
        if let Some(from) = was.get("o") {
            *transfers.entry((from.clone(), text("o"))).or_default() += 1;
        }
        now.extend(was);
    }
    if let Some(version) = state.changes.keys().next_back().filter(|version| **version > last) {
        return Some(format!("version {version} is acknowledged and gone"));
    }
    let pairs: BTreeSet<&(String, String)> = transfers.keys().chain(state.transfers.keys()).collect();
    pairs.into_iter().find_map(|pair| {
        let (done, unknown) = state.transfers.get(pair).copied().unwrap_or_default();
        let made = transfers.get(pair).copied().unwrap_or_default();
        let is_right = (done..=done + unknown).contains(&made);
        (!is_right).then(|| format!("{made} transfers {pair:?}; {done} are acknowledged, and {unknown} unknown"))
    })
}

#[test]
fn no_answer_contradicts_another_while_many_write_on_three_nodes() {
    let is_long = std::env::var_os(SEEDS).is_some();
    let seeds = length_of_run(SEEDS, 1);
    let first = length_of_run(FIRST_SEED, 1);
    for seed in first..first + seeds {
        let world = World::start(seed, is_long);
        world.run();
        world.compare_all();
        world.compare_keys();
        let counts = lock(&world.counts).clone();
        let (answers, links) = (world.answers.load(Ordering::SeqCst), world.tracked().len());
        let uncertain = world.tracked().iter().filter(|link| link.state().is_uncertain).count();
        let took = world.started.elapsed().as_secs();
        println!(
            "seed {seed}: {answers} answers, {links} links, {uncertain} of them uncertain, {counts:?}, in {took} s"
        );
        let found = lock(&world.contradictions).clone();
        assert!(found.is_empty(), "seed {seed}: {} contradictions:\n{}", found.len(), found.join("\n"));
    }
}
