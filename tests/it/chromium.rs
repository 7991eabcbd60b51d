//! A real browser: one headless Chromium for all tests, a profile of its own for each [`Tab`].
//!
//! It is driven by its `DevTools` protocol over a pipe: file descriptors 3 and 4, messages that end in a zero byte. So no port can be taken, and
//! when the test run ends, however it ends, the pipe closes and Chromium goes with it.
//!
//! The browser believes to be on the real web. A tab's proxy is the server under test, which so answers as [`SITE`]; whatever a page
//! asks of an `https` address is answered here, with an empty page. Nothing leaves the machine.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::harness::{Home, PATIENCE, Server};

/// Where short links are, in the browser's eyes.
pub const SITE: &str = "http://go.example";

/// How wide the screens are that pages are tried on: the smallest phone (WCAG 2.2, 1.4.10), a tablet, a desk.
pub const WIDTHS: [u32; 3] = [320, 768, 1280];

/// Names a folder: pictures of the pages go there, for people to look at.
const PICTURES: &str = "MERLINK_TEST_PICTURES";

/// The shell waits for Chromium, so that its profile can go when it is gone.
const START: &str = r#"
profile=$(mktemp -d)
trap '' INT
"$0" --user-data-dir="$profile" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>"$profile/stderr"
rm -rf "$profile"
"#;

/// No sandbox, since tests may run as root in a container; nothing of the browser's own on the network.
const ARGUMENTS: [&str; 14] = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    // Otherwise pages at an http address may not use the clipboard and the like, which they may at https, where they really are.
    "--unsafely-treat-insecure-origin-as-secure=http://go.example",
];

const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

const AXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/node_modules/axe-core/axe.min.js");

/// Notes what has the focus now. `null` at the end of the page, else what is wrong with that, if anything.
const STOP: &str = r"(() => {
  const focused = document.activeElement;
  const {stops} = window;
  if (focused === document.body || focused === stops[0]) return null;
  // A date has the focus once for each of its parts.
  if (focused === stops.at(-1)) return stops.repeated++ < 10 ? '' : `${focused.outerHTML} keeps the focus`;
  stops.repeated = 0;
  if (stops.includes(focused)) return `${focused.outerHTML} has the focus again`;
  const box = focused.getBoundingClientRect();
  const style = getComputedStyle(focused);
  const before = stops.at(-1);
  stops.push(focused);
  if (!focused.matches(':focus-visible') || style.outlineStyle === 'none' || parseFloat(style.outlineWidth) < 2)
    return `${focused.outerHTML} has the focus unseen`;
  if (box.width < 1 || box.height < 1 || box.bottom <= 0 || box.top >= innerHeight || box.right <= 0 || box.left >= innerWidth)
    return `${focused.outerHTML} has the focus off the screen`;
  if (before) {
    const last = before.getBoundingClientRect();
    // Up is where another column begins.
    const isBeside = document.dir === 'rtl' ? box.right <= last.left : box.left >= last.right;
    if (box.bottom <= last.top && !isBeside) return `${focused.outerHTML} is above ${before.outerHTML} and comes after it`;
  }
  return '';
})()";

/// Controls that can be seen and never had the focus.
const NOT_REACHED: &str = r#"[...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
  .filter((control) => control.checkVisibility({visibilityProperty: true}) && control.type !== 'hidden' && !control.disabled)
  .filter((control) => !window.stops.includes(control)).map(({outerHTML}) => outerHTML)"#;

static CHROMIUM: LazyLock<Chromium> = LazyLock::new(Chromium::start);

/// A home whose server is the site that browsers know.
pub fn home() -> Home {
    Home::new().set("public.base_url", SITE)
}

struct Chromium {
    pipe: Mutex<ChildStdin>,
    next_id: AtomicU64,
    heard: Arc<Heard>,
    _shell: Child,
}

/// What the browser has said.
#[derive(Default)]
struct Heard {
    said: Mutex<Said>,
    news: Condvar,
}

#[derive(Default)]
struct Said {
    answers: HashMap<u64, Value>,
    /// By session.
    events: HashMap<String, Vec<Value>>,
    is_over: bool,
}

impl Chromium {
    fn start() -> Self {
        let finds = |program: &&&str| {
            Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", program]).status().is_ok_and(|s| s.success())
        };
        let program = PROGRAMS.iter().find(finds).expect("there is a Chromium: make test-all installs one");
        let mut shell = Command::new("sh")
            .args(["-c", START, program])
            .args(ARGUMENTS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell starts");
        let pipe = Mutex::new(shell.stdin.take().expect("is piped"));
        let mut answers = BufReader::new(shell.stdout.take().expect("is piped"));
        let heard = Arc::new(Heard::default());
        let listener = Arc::clone(&heard);
        thread::spawn(move || {
            let mut message = Vec::new();
            while answers.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                listener.take(serde_json::from_slice(&message).expect("Chromium speaks JSON"));
                message.clear();
            }
            lock(&listener.said).is_over = true;
            listener.news.notify_all();
        });
        Self { pipe, next_id: AtomicU64::new(1), heard, _shell: shell }
    }

    #[track_caller]
    fn call(&self, session: Option<&str>, method: &str, parameters: &Value) -> Value {
        let id = self.send(session, method, parameters);
        let answer = self.heard.wait(method, |said| said.answers.remove(&id));
        assert!(answer.get("error").is_none(), "{method} {parameters}: {answer}");
        answer["result"].clone()
    }

    /// Asks without waiting for the answer.
    fn send(&self, session: Option<&str>, method: &str, parameters: &Value) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        lock(&self.pipe).write_all(&bytes).expect("Chromium listens");
        id
    }
}

impl Heard {
    fn take(&self, message: Value) {
        let mut said = lock(&self.said);
        if let Some(id) = message["id"].as_u64() {
            said.answers.insert(id, message);
        } else if let Some(session) = message["sessionId"].as_str() {
            if message["method"] == "Fetch.requestPaused" {
                let request = json!({
                    "requestId": message["params"]["requestId"],
                    "responseCode": 200,
                    "responseHeaders": [{"name": "Content-Type", "value": "text/html"}],
                    "body": BASE64_STANDARD.encode("<!DOCTYPE html><html lang=en><title>elsewhere</title>"),
                });
                CHROMIUM.send(Some(session), "Fetch.fulfillRequest", &request);
            }
            said.events.entry(session.to_owned()).or_default().push(message);
        }
        self.news.notify_all();
    }

    /// Waits until `look` finds something in what was said.
    #[track_caller]
    fn wait<T>(&self, what: &str, mut look: impl FnMut(&mut Said) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut said = lock(&self.said);
        loop {
            if let Some(found) = look(&mut said) {
                return found;
            }
            assert!(!said.is_over, "Chromium ended before it answered: {what}");
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(left > Duration::ZERO, "Chromium doesn't answer within {} s: {what}", PATIENCE.as_secs());
            said = self.news.wait_timeout(said, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A window with a profile of its own: no cookie, nothing in its cache.
pub struct Tab {
    context: String,
    session: String,
}

impl Tab {
    #[track_caller]
    pub fn open(server: &Server) -> Self {
        let proxy = json!({"proxyServer": server.public_address().to_string(), "disposeOnDetach": true});
        let context = text(&CHROMIUM.call(None, "Target.createBrowserContext", &proxy)["browserContextId"]);
        let page = json!({"url": "about:blank", "browserContextId": context});
        let target = CHROMIUM.call(None, "Target.createTarget", &page)["targetId"].clone();
        let attach = json!({"targetId": target, "flatten": true});
        let session = text(&CHROMIUM.call(None, "Target.attachToTarget", &attach)["sessionId"]);
        let tab = Self { context, session };
        for domain in ["Page", "Network", "Runtime", "Log"] {
            tab.call(&format!("{domain}.enable"), &json!({}));
        }
        tab.call("Fetch.enable", &json!({"patterns": [{"urlPattern": "https://*"}]}));
        tab.is_wide(WIDTHS[0]);
        tab.speaks("en");
        tab
    }

    #[track_caller]
    pub fn call(&self, method: &str, parameters: &Value) -> Value {
        CHROMIUM.call(Some(&self.session), method, parameters)
    }

    // How the visitor is ------------------------------------------------------

    #[track_caller]
    pub fn is_wide(&self, width: u32) {
        let mobile = width < 700;
        let screen = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": mobile});
        self.call("Emulation.setDeviceMetricsOverride", &screen);
    }

    #[track_caller]
    pub fn likes(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// What the browser asks for by `Accept-Language`.
    #[track_caller]
    pub fn speaks(&self, languages: &str) {
        let agent = crate::harness::CHROME;
        self.call("Emulation.setUserAgentOverride", &json!({"userAgent": agent, "acceptLanguage": languages}));
    }

    #[track_caller]
    pub fn has_no_scripts(&self) {
        self.call("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    }

    // What the visitor does ---------------------------------------------------

    /// Opens a path of ours, and waits until the page is loaded.
    #[track_caller]
    pub fn opens(&self, path: &str) {
        self.awaiting_load(|| {
            let answer = self.call("Page.navigate", &json!({"url": format!("{SITE}{path}")}));
            assert!(answer.get("errorText").is_none(), "{path}: {answer}");
        });
    }

    /// Does what loads another page, and waits for it.
    #[track_caller]
    pub fn awaiting_load(&self, act: impl FnOnce()) {
        let before = self.events("Page.loadEventFired").len();
        act();
        CHROMIUM.heard.wait("the page is loaded", |said| (loads(said, &self.session) > before).then_some(()));
    }

    /// Presses a key: `Tab`, `Enter`, `Escape` …
    #[track_caller]
    pub fn presses(&self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "ArrowDown" => (40, ""),
            " " => (32, " "),
            other => panic!("no code is known for the key {other}"),
        };
        let mut press =
            json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
        self.call("Input.dispatchKeyEvent", &press);
        press["type"] = "keyUp".into();
        self.call("Input.dispatchKeyEvent", &press);
    }

    /// Presses Tab until the element that `selector` names has the focus.
    #[track_caller]
    pub fn tabs_to(&self, selector: &str) {
        for _ in 0..100 {
            self.presses("Tab");
            if self.evaluate(&format!("document.activeElement.matches({})", json!(selector))) == true {
                return;
            }
        }
        panic!("{selector} can't be reached by the Tab key");
    }

    /// Types into whatever has the focus.
    #[track_caller]
    pub fn types(&self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// Has files that are offered put into a folder, as they are named.
    #[track_caller]
    pub fn keeps_downloads_in(&self, folder: &Path) {
        let keep = json!({"behavior": "allow", "browserContextId": self.context, "downloadPath": folder});
        CHROMIUM.call(None, "Browser.setDownloadBehavior", &keep);
    }

    #[track_caller]
    pub fn clicks(&self, selector: &str) {
        let place = self.evaluate(&format!(
            "(() => {{ const found = document.querySelector({}); found.scrollIntoView({{block: 'center', behavior: 'instant'}}); \
             const box = found.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(selector)
        ));
        for event in ["mousePressed", "mouseReleased"] {
            let click = json!({"type": event, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &click);
        }
    }

    // What the visitor sees ---------------------------------------------------

    /// The value of an expression in the page; promises are awaited.
    #[track_caller]
    pub fn evaluate(&self, expression: &str) -> Value {
        let question = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &question);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The visible words of the first element that `selector` names.
    #[track_caller]
    pub fn reads(&self, selector: &str) -> String {
        text(&self.evaluate(&format!("document.querySelector({}).innerText", json!(selector))))
    }

    #[track_caller]
    pub fn address(&self) -> String {
        text(&self.evaluate("location.href"))
    }

    /// Waits until the visitor has come to an address that begins so.
    #[track_caller]
    pub fn arrives_at(&self, start: &str) {
        let came = |event: &Value| {
            let frame = &event["params"]["frame"];
            let address = frame["url"].as_str().unwrap_or_default().to_owned();
            let address = address + frame["urlFragment"].as_str().unwrap_or_default();
            frame.get("parentId").is_none() && address.starts_with(start)
        };
        CHROMIUM.heard.wait(&format!("arriving at {start}"), |said| {
            let mut events = said.events.get(&self.session)?.iter();
            events.rfind(|event| event["method"] == "Page.frameNavigated").filter(|event| came(event)).map(drop)
        });
    }

    /// Waits until an expression in the page is true.
    #[track_caller]
    pub fn eventually(&self, expression: &str) {
        crate::harness::eventually(expression, || (self.evaluate(expression) == true).then_some(()));
    }

    // What a tester asks ------------------------------------------------------

    /// Asserts what holds for every page: no violation of WCAG 2.2 A or AA that axe-core finds, nothing wider than the screen, not with
    /// letters twice as large either (1.4.4), no error in the console, nothing loaded from elsewhere.
    #[track_caller]
    pub fn assert_good(&self, about: &str) {
        let violations = self.violations();
        assert!(violations.is_empty(), "{about}: axe-core finds violations: {violations:#?}");
        for times in [2, 1] {
            self.call("Page.setFontSizes", &json!({"fontSizes": {"standard": 16 * times, "fixed": 13 * times}}));
            let overflow = self.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
            let fits = overflow.as_f64().is_some_and(|pixels| pixels <= 0.0);
            assert!(fits, "{about}: {overflow} px wider than the screen, with letters {times} times as large as usual");
        }
        self.assert_quiet(about);
    }

    /// Goes through a page that was just opened by Tab alone. Asserts that every control gets the focus, in an order that leads down the page, and that the focus is to be seen: outlined, and on the screen.
    #[track_caller]
    pub fn assert_usable_by_keyboard(&self, about: &str) {
        self.evaluate("window.stops = []; 0");
        loop {
            self.presses("Tab");
            let problem = self.evaluate(STOP);
            match problem.as_str() {
                None => break,
                Some(problem) => assert!(problem.is_empty(), "{about}: {problem}"),
            }
        }
        assert_eq!(self.evaluate(NOT_REACHED), json!([]), "{about}: can't be reached by Tab");
    }

    /// What axe-core finds: the rules that are broken, and where.
    #[track_caller]
    pub fn violations(&self) -> Vec<Value> {
        static SOURCE: LazyLock<String> = LazyLock::new(|| {
            let source = std::fs::read_to_string(AXE).expect("axe-core is there: make test-all installs it");
            // A page that has it already doesn't read it again.
            format!("if (!window.axe) {{ {source} }}; 0")
        });
        self.evaluate(&SOURCE);
        let found = self.evaluate(
            "axe.run(document, {resultTypes: ['violations'], runOnly: {type: 'tag', \
             values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']}}).then(({violations}) => \
             violations.map(({id, help, nodes}) => ({id, help, where: nodes.map(({failureSummary, html}) => [html, failureSummary])})))",
        );
        found.as_array().expect("a list of violations").clone()
    }

    #[track_caller]
    pub fn assert_quiet(&self, about: &str) {
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "{about}:\n{}", complaints.join("\n"));
    }

    /// What was wrong with this tab's pages so far: errors in the console, and what was loaded from elsewhere.
    pub fn complaints(&self) -> Vec<String> {
        let requests = self.requests();
        // A page that is answered with 404 is an error to the console.
        let is_page = |url: &Value| requests.iter().any(|(kind, page)| kind == "Document" && url == page.as_str());
        let is_error =
            |entry: &Value| entry["level"] == "error" && !(entry["source"] == "network" && is_page(&entry["url"]));
        let logged = self.events("Log.entryAdded").into_iter().map(|event| event["params"]["entry"].clone());
        let said =
            self.events("Runtime.consoleAPICalled").into_iter().filter(|event| event["params"]["type"] == "error");
        let is_foreign =
            |(kind, url): &&(String, String)| kind != "Document" && !url.starts_with(SITE) && !url.starts_with("data:");
        let mut complaints: Vec<String> = logged.filter(is_error).map(|entry| entry.to_string()).collect();
        complaints.extend(said.chain(self.events("Runtime.exceptionThrown")).map(|event| event.to_string()));
        complaints.extend(requests.iter().filter(is_foreign).map(|(kind, url)| format!("loads the {kind} {url}")));
        complaints
    }

    /// Kind and address of all requests so far: `Document`, `Stylesheet`, `Image` …
    pub fn requests(&self) -> Vec<(String, String)> {
        let sent = self.events("Network.requestWillBeSent");
        sent.iter().map(|event| (text(&event["params"]["type"]), text(&event["params"]["request"]["url"]))).collect()
    }

    /// What all answers so far took on the wire, heads included.
    pub fn bytes_received(&self) -> f64 {
        let finished = self.events("Network.loadingFinished");
        finished.iter().filter_map(|event| event["params"]["encodedDataLength"].as_f64()).sum()
    }

    fn events(&self, method: &str) -> Vec<Value> {
        let said = lock(&CHROMIUM.heard.said);
        let events = said.events.get(&self.session).into_iter().flatten();
        events.filter(|event| event["method"] == method).cloned().collect()
    }

    /// Takes a picture of the whole page, when somebody wants to look at it.
    #[track_caller]
    pub fn pictured(&self, name: &str) {
        let Some(folder) = std::env::var_os(PICTURES) else { return };
        let metrics = self.call("Page.getLayoutMetrics", &json!({}));
        let (page, screen) = (&metrics["cssContentSize"], &metrics["cssLayoutViewport"]);
        let what = if page["height"] == screen["clientHeight"] {
            // Clipped to what it is anyway, a page from right to left is shown beside its place (Chromium 156).
            json!({})
        } else {
            let clip = json!({"x": 0, "y": 0, "width": page["width"], "height": page["height"], "scale": 1});
            json!({"clip": clip, "captureBeyondViewport": true})
        };
        let picture = self.call("Page.captureScreenshot", &what);
        let bytes = BASE64_STANDARD.decode(text(&picture["data"])).expect("a picture is Base64");
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), bytes).expect("it can be written");
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        CHROMIUM.send(None, "Target.disposeBrowserContext", &json!({"browserContextId": self.context}));
        lock(&CHROMIUM.heard.said).events.remove(&self.session);
    }
}

fn loads(said: &Said, session: &str) -> usize {
    said.events.get(session).into_iter().flatten().filter(|event| event["method"] == "Page.loadEventFired").count()
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// A thread that panicked has failed its test already; the others may go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
