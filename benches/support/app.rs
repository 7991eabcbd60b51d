//! All that `serve` has behind its port, in this process: links in memory, a journal on disk, and a Redis that is away.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use actix_web::web::Data;
use merlink::{
    cache::Known, clicks::Clicks, config::Config, domain::Code, mail::Mailer, metrics::Metrics, site::Site, state::App,
    store::Store,
};

/// An app with `links` links that are in memory and proven, their codes [`code`].
pub fn app(folder: &Path, links: usize) -> Data<App> {
    let file = folder.join("merlink.toml");
    let settings = format!("data_dir = '{}'\n[redis]\nurl = 'redis://127.0.0.1:1'\n", folder.display());
    fs::write(&file, settings).expect("written");
    let config = Config::load(Some(&file)).expect("settings");
    let site = Site::new(&config).expect("a site");
    let metrics = Metrics::new();
    let store = Store::new(&config, metrics.clone()).expect("a store");
    let (clicks, _flushing) =
        Clicks::start(Clicks::open(&config).expect("a journal"), &config, &store, &metrics).expect("a thread");
    let (mailer, _) = Mailer::new(&config, &metrics).expect("the default settings can be used");
    let app = Data::new(App::new(config, site, metrics, store, clicks, mailer, None));
    app.cache.trust();
    for number in 0..links {
        let known = Known { target: TARGET, active: true, expires_at: None, forward_query: false, version: 1 };
        let code: Code = code(number).parse().expect("a code");
        // What was checked in the millisecond from which on changes are told isn't proven yet.
        while app.cache.recall(code.as_str(), Instant::now(), |_| true).is_none() {
            assert!(app.cache.remember(&code, known, Duration::ZERO));
        }
    }
    app
}

pub fn code(number: usize) -> String {
    format!("link-{number:06}")
}

/// 87 bytes.
pub const TARGET: &str = "https://www.example.gov.sg/services/a-page-of-usual-length?language=en&from=your-letter";
